//! Malicious payloads: each is refused with one sentence, quickly, and with little memory.

use super::read;
use crate::queue::rq::codec::{Limits, decode_call, pickle, zlib};

/// A pickle of protocol 4 from parts.
fn program(parts: &[&[u8]]) -> Vec<u8> {
    [&b"\x80\x04"[..], &parts.concat(), b"."].concat()
}

fn told(payload: &[u8]) -> String {
    let told = read(payload).unwrap_err().to_string();
    assert!(told.len() < 400, "{told}");
    told
}

#[test]
fn doubling_lists_do_not_multiply() {
    // Each level contains the previous one twice: 2^60 values at the end, in 400 bytes.
    let mut body = b"]\x94".to_vec();
    for level in 0..60_u8 {
        body.extend([b']', 0x94, b'(', b'h', level, b'h', level, b'e']);
    }
    // The inner lists stay on the stack; the tuple contains all of them.
    let bomb = program(&[b"(", &body, b"t"]);
    let said = told(&bomb);
    assert!(said.contains("values") || said.contains("memory"), "{said}");
}

#[test]
fn repeated_text_is_paid_for_each_time() {
    let limits = Limits { memory: 4 << 20, ..Limits::default() };
    let told = |parts: &[&[u8]]| {
        let refused = pickle::read(&program(parts), &limits).unwrap_err().refusal.to_string();
        assert!(refused.contains("more than 4194304 bytes of memory"), "{refused}");
    };
    let text = vec![b'x'; 1 << 16];
    let length = u32::try_from(text.len()).unwrap().to_le_bytes();
    told(&[b"(X", &length, &text, b"\x94", &b"h\x00".repeat(1000), b"t"]);
    // The same with constructors that copy.
    for make in [&b"c_codecs\nencode\n"[..], b"cbuiltins\nbytearray\n"] {
        let call = [make, b"h\x00\x8c\x06latin1\x86R"].concat().repeat(1000);
        told(&[b"(X", &length, &text, b"\x94", &call, b"t"]);
    }
    let list = [&b"]\x94("[..], &b"N".repeat(20_000), b"e"].concat();
    told(&[b"(", &list, &b"cbuiltins\nset\nh\x00\x85R".repeat(1000), b"t"]);
    let name = [
        b"cdatetime\ntimezone\ncdatetime\ntimedelta\n(K\x00K\x00K\x00tRX\x10\x27\0\0",
        &b"n".repeat(10_000)[..],
    ]
    .concat();
    let times = b"cdatetime\ntime\nC\x06\0\0\0\0\0\0h\x00\x86R".repeat(1000);
    told(&[b"(", &name, b"\x86R\x94", &times, b"t"]);
}

#[test]
fn values_that_contain_themselves_are_told() {
    for ring in [&b"]\x94h\x00a"[..], b"}\x94\x8c\x01ah\x00s", b"]\x94h\x00\x85a", b"]\x94]\x94h\x00ah\x01aa"]
    {
        assert!(told(&program(&[ring])).contains("contains itself"), "{ring:?}");
    }
}

#[test]
fn deep_nesting_is_told_and_does_not_overflow() {
    let deep = [&b"]".repeat(1_000_000)[..], &b"a".repeat(999_999)].concat();
    let limits = Limits { values: 10_000_000, memory: 1 << 30, ..Limits::default() };
    let said = pickle::read(&program(&[&deep]), &limits).unwrap_err().refusal.to_string();
    assert!(said.contains("100 levels"), "{said}");
    let tuples = [&b")"[..], &b"\x85".repeat(1_000_000)].concat();
    let said = pickle::read(&program(&[&tuples]), &limits).unwrap_err().refusal.to_string();
    assert!(said.contains("100 levels"), "{said}");
}

#[test]
fn announced_lengths_are_not_believed() {
    for (op, length) in [
        (b'X', &u32::MAX.to_le_bytes()[..]),
        (0x8d, &u64::MAX.to_le_bytes()),
        (b'B', &u32::MAX.to_le_bytes()),
        (0x8e, &(1_u64 << 40).to_le_bytes()),
        (0x96, &u64::MAX.to_le_bytes()),
        (0x8b, &i32::MAX.to_le_bytes()),
        (0x95, &u64::MAX.to_le_bytes()),
    ] {
        assert!(told(&program(&[&[op], length])).contains("announced"), "{op:02x}");
    }
    assert!(told(&program(&[b"\x8b", &(-1_i32).to_le_bytes()])).contains("-1 bytes"));
}

#[test]
fn huge_integers_are_told() {
    let digits = vec![0x7f_u8; 1 << 20];
    let length = u32::try_from(digits.len()).unwrap().to_le_bytes();
    assert!(told(&program(&[b"\x8b", &length, &digits])).contains("int of 1048576 bytes"));
}

#[test]
fn a_flood_of_anything_is_bounded() {
    for flood in [&b"("[..], b"N", b"]", b"N\x94", b"N\x940", b"h\x00"] {
        let body = flood.repeat((8 << 20) / flood.len());
        let _ = told(&program(&[b"N\x94", &body]));
    }
    let mut sparse = b"N".to_vec();
    for place in 0..600_000_u32 {
        sparse.push(b'r');
        sparse.extend(place.wrapping_mul(7_919).to_le_bytes());
    }
    assert!(told(&program(&[&sparse])).contains("values"));
}

#[test]
fn one_huge_tuple_of_arguments_is_not_walked_at_each_call() {
    let many = [&b"("[..], &b"N".repeat(100_000), b"t\x94"].concat();
    let calls = b"cdatetime\ndate\nh\x00R".repeat(100_000);
    assert!(told(&program(&[b"(", &many, &calls, b"t"])).contains("`date` is called"));
}

#[test]
fn what_is_no_plain_value_is_refused_by_name() {
    for (body, part) in [
        (&b"cos\nsystem\n\x8c\x02ls\x85R"[..], "`os.system`"),
        (b"\x8c\x08builtins\x8c\x04eval\x93", "`builtins.eval`"),
        (b"cbuiltins\ngetattr\n", "`builtins.getattr`"),
        (b"cdatetime\ndatetime\n", "it holds `datetime.datetime`"),
        (b"cbuiltins\nlist\n)R", "`list` is called"),
        (b"cuuid\nUUID\n)\x81", "unfinished UUID"),
        (b"cuuid\nUUID\n)\x81}b", "no number"),
        (b"cdatetime\ndate\n)\x81", "`date` is made"),
        (b"]}b", "a list is given attributes"),
        (b"Pid\n", "persistent id"),
        (b"\x82\x01", "extension code"),
        (b"I5\n", "INT"),
        (b"U\x01a", "byte string of Python 2"),
        (b"0", "POP"),
        (b"\xff", "no instruction"),
        (b"]a", "takes a value where there is none"),
        (b"(a", "takes a value where there is none"),
        (b"e", "did not begin"),
        (b"h\x05", "before it came"),
        (b"NN", "more or less than one"),
        (b"", "more or less than one"),
        (b"}(K", "cut off"),
        (b"}(Nu", "key without a value"),
        (b"}]Ns", "key that Python would not take"),
        (b"\x8f(]\x90", "item that Python would not take"),
        (b"NNa", "None cannot be added to"),
        (b"cdatetime\ndate\nC\x04\x00\x00\x01\x01\x85R", "`date` is called"),
        (b"cdatetime\ndatetime\nC\x0a\x07\xea\x0d\x02\x03\x04\x05\x00\x00\x06\x85R", "`datetime` is called"),
        (b"cdecimal\nDecimal\n\x8c\x031,5\x85R", "`Decimal` is called"),
    ] {
        let said = told(&program(&[body]));
        assert!(said.contains(part), "{body:?}: {said}");
    }
    assert!(told(b"\x80\x06N.").contains("protocol 6"));
    assert!(told(b"\x80\x01N.").contains("protocol 1"));
    assert!(told(b"N.").contains("protocol 2 or later"));
}

#[test]
fn a_class_in_a_call_is_told_with_the_function() {
    let call = program(&[b"(\x8c\x08pkg.func", b"N\x8c\x03app\x8c\x04User\x93)\x81\x85}t"]);
    let failed = decode_call(&zlib::compress(&call), &Limits::default()).unwrap_err();
    assert_eq!(failed.kind, Some("pkg.func".into()));
    let said = failed.to_string();
    assert!(said.contains("of `pkg.func`") && said.contains("`app.User`"), "{said}");
}

#[test]
fn a_zlib_bomb_is_not_expanded() {
    let bomb = zlib::compress(&vec![b'N'; 100 << 20]);
    let said = decode_call(&bomb, &Limits::default()).unwrap_err().to_string();
    assert!(said.contains("longer than 16777216 bytes"), "{said}");
}
