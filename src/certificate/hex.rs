//! Bytes as hexadecimal digits, in which hashes, keys and signatures are written.

/// The digits, in lower case.
pub(super) fn encode(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes; `None` unless the text is `N` bytes of digits in lower case, the one way to write them.
pub(super) fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    let is_digit = |digit: &u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    if digits.len() != 2 * N || !digits.iter().all(is_digit) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_read_in_the_one_way_in_which_they_are_written() {
        assert_eq!(encode([0, 10, 255]), "000aff");
        assert_eq!(decode("000aff"), Some([0, 10, 255]));
        for bad in ["000AFF", "00aff", "000aff00", "+0000f", "0x0aff", "é00ff", ""] {
            assert_eq!(decode::<3>(bad), None, "{bad}");
        }
    }
}
