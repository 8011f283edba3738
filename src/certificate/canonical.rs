//! The canonical form of JSON (RFC 8785), and its hash.

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::hex;

/// A value that has no canonical form.
#[derive(Debug, thiserror::Error)]
#[error("a value has no canonical JSON: {0}")]
pub struct CanonicalError(#[from] serde_json::Error);

/// The only text of a value: keys in order, no blanks, numbers as ECMAScript writes them.
pub(super) fn canonical(value: &impl Serialize) -> Result<String, CanonicalError> {
    Ok(serde_json_canonicalizer::to_string(value)?)
}

/// The SHA-256 of a text, in hexadecimal digits.
pub(super) fn hash(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn canonical_of(text: &str) -> String {
        canonical(&serde_json::from_str::<Value>(text).unwrap()).unwrap()
    }

    /// RFC 8785, sections 3.2.2 to 3.2.4.
    #[test]
    fn the_example_of_the_rfc_has_its_canonical_form_byte_for_byte() {
        let given = r#"{
            "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
            "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
            "literals": [null, true, false]
        }"#;
        let expected = concat!(
            r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"#,
            r#""string":"€$\u000f\nA'B\"\\\\\"/"}"#
        );
        assert_eq!(canonical_of(given), expected);
        assert!(expected.contains("\"string\":\"\u{20ac}$"));
    }

    /// RFC 8785, section 3.2.3: keys are in the order of their UTF-16 code units.
    #[test]
    fn keys_are_in_the_order_of_the_rfc() {
        let given = r#"{
            "\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh",
            "1": "One", "\ud83d\ude00": "Emoji: Grinning Face", "\u0080": "Control", "\u00f6": "Latin Small Letter O With Diaeresis"
        }"#;
        let sorted = canonical_of(given);
        let at = |word: &str| sorted.find(word).unwrap_or_else(|| panic!("{word} in {sorted}"));
        let words = ["Carriage", "One", "Control", "Latin", "Euro", "Emoji", "Hebrew"];
        assert!(words.windows(2).all(|pair| at(pair[0]) < at(pair[1])), "{sorted}");
    }

    /// RFC 8785, appendix B: the bits of numbers, and their texts.
    #[test]
    fn numbers_are_written_as_in_the_table_of_the_rfc() {
        let table = [
            (0x0000_0000_0000_0000_u64, "0"),
            (0x8000_0000_0000_0000, "0"),
            (0x0000_0000_0000_0001, "5e-324"),
            (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
            (0x4340_0000_0000_0000, "9007199254740992"),
            (0x4430_0000_0000_0000, "295147905179352830000"),
            (0x44b5_2d02_c7e1_4af6, "1e+23"),
            (0x444b_1ae4_d6e2_ef50, "1e+21"),
            (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
            (0x41b3_de43_5555_5553, "333333333.3333332"),
            (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
            (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
        ];
        for (bits, text) in table {
            assert_eq!(canonical(&f64::from_bits(bits)).unwrap(), text, "{bits:x}");
        }
        assert!(canonical(&f64::NAN).is_err());
    }

    #[test]
    fn the_hash_is_that_of_the_standard() {
        assert_eq!(hash("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
