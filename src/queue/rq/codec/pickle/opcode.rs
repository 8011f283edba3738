//! The instructions, with Python's names.

/// The supported instructions, and those of protocols 0 to 3 that are refused by name.
macro_rules! opcodes {
    (understood { $($name:ident = $byte:literal,)* } refused { $($old:ident = $old_byte:literal: $why:literal,)* }) => {
        $(pub const $name: u8 = $byte;)*

        /// Why an instruction is not supported.
        pub fn refused(op: u8) -> String {
            match op {
                $($old_byte => format!("it uses {}: {}", stringify!($old), $why),)*
                _ => format!("0x{op:02x} is no instruction of a pickle"),
            }
        }
    };
}

opcodes! {
    understood {
    PROTO = 0x80, FRAME = 0x95, STOP = b'.', MARK = b'(',
    NONE = b'N', NEWTRUE = 0x88, NEWFALSE = 0x89,
    BININT = b'J', BININT1 = b'K', BININT2 = b'M', LONG1 = 0x8a, LONG4 = 0x8b, BINFLOAT = b'G',
    SHORT_BINUNICODE = 0x8c, BINUNICODE = b'X', BINUNICODE8 = 0x8d,
    SHORT_BINBYTES = b'C', BINBYTES = b'B', BINBYTES8 = 0x8e, BYTEARRAY8 = 0x96,
    EMPTY_LIST = b']', APPEND = b'a', APPENDS = b'e',
    EMPTY_TUPLE = b')', TUPLE1 = 0x85, TUPLE2 = 0x86, TUPLE3 = 0x87, TUPLE = b't',
    EMPTY_DICT = b'}', SETITEM = b's', SETITEMS = b'u',
    EMPTY_SET = 0x8f, ADDITEMS = 0x90, FROZENSET = 0x91,
    MEMOIZE = 0x94, BINPUT = b'q', LONG_BINPUT = b'r', BINGET = b'h', LONG_BINGET = b'j',
    GLOBAL = b'c', STACK_GLOBAL = 0x93, REDUCE = b'R', NEWOBJ = 0x81, NEWOBJ_EX = 0x92, BUILD = b'b',
    }
    refused {
    INT = b'I': "text of protocol 0",
    LONG = b'L': "text of protocol 0",
    FLOAT = b'F': "text of protocol 0",
    STRING = b'S': "text of protocol 0",
    UNICODE = b'V': "text of protocol 0",
    GET = b'g': "text of protocol 0",
    PUT = b'p': "text of protocol 0",
    INST = b'i': "an object of protocol 0",
    OBJ = b'o': "an object of protocol 1",
    LIST = b'l': "a list of protocol 0",
    DICT = b'd': "a dictionary of protocol 0",
    BINSTRING = b'T': "a byte string of Python 2, of which nobody knows whether it is text",
    SHORT_BINSTRING = b'U': "a byte string of Python 2, of which nobody knows whether it is text",
    POP = b'0': "Python writes it only for values that contain themselves",
    POP_MARK = b'1': "Python writes it only for values that contain themselves",
    DUP = b'2': "Python never writes it",
    PERSID = b'P': "an object outside the pickle (persistent id)",
    BINPERSID = b'Q': "an object outside the pickle (persistent id)",
    EXT1 = 0x82: "a class by number (extension code)",
    EXT2 = 0x83: "a class by number (extension code)",
    EXT4 = 0x84: "a class by number (extension code)",
    NEXT_BUFFER = 0x97: "a buffer outside the pickle",
    READONLY_BUFFER = 0x98: "a buffer outside the pickle",
    }
}
