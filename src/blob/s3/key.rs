//! Checks which keys are accepted, and which fit into a bulk request.

use crate::blob::key_path::RESERVED;
use crate::fault::{Fault, FaultKind};

/// The longest key that S3 accepts, in bytes.
const LONGEST: usize = 1024;

/// Refuses keys that no bucket can hold, and the store's reserved names. For S3 a key is text, so empty
/// parts, `.` and `..` are allowed.
pub(super) fn check(key: &str) -> Result<(), Fault> {
    if key.is_empty() || key.contains('\0') {
        return Err(refused(key, "expected text without NUL"));
    }
    if key.split('/').any(|part| part.starts_with(RESERVED)) {
        return Err(refused(key, &format!("names that begin with `{RESERVED}` are the store's own")));
    }
    if key.len() > LONGEST {
        let bytes = key.len();
        return Err(refused(key, &format!("it has {bytes} bytes, S3 takes at most {LONGEST}")));
    }
    Ok(())
}

/// Also refuses keys that a URL cannot carry: on the way `.` and `..` may be resolved, and then it names
/// another object.
pub(super) fn check_for_url(key: &str) -> Result<(), Fault> {
    check(key)?;
    if key.split('/').any(|part| matches!(part, "." | "..")) {
        return Err(refused(key, "with the parts `.` or `..` it can only be deleted in bulk"));
    }
    Ok(())
}

fn refused(key: &str, why: &str) -> Fault {
    Fault::new(FaultKind::Permanent, format!("refuse the key {key:?}: {why}"))
}

/// Whether XML can carry the key unchanged. A bulk request is XML, which cannot represent most control
/// characters and changes some others; a URL can encode every character.
pub(super) fn fits_into_xml(key: &str) -> bool {
    !key.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{FFFE}' | '\u{FFFF}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_keys_are_refused_by_bytes_not_by_characters() {
        check(&"k".repeat(LONGEST)).unwrap();
        check(&"ק".repeat(LONGEST / 2)).unwrap();
        assert!(check(&"ק".repeat(LONGEST / 2 + 1)).unwrap_err().to_string().contains("1026 bytes"));
    }

    #[test]
    fn keys_that_xml_would_change_go_one_by_one() {
        for key in
            ["7/a\tb", "7/a\rb", "7/a\nb", "7/\u{1}", "7/\u{7f}", "7/\u{85}", "7/\u{2028}", "7/\u{FFFF}"]
        {
            assert!(check(key).is_ok() && !fits_into_xml(key), "{key:?}");
        }
        for key in ["7/קבלה.pdf", "7/<&>\"'", "7/ a ", "7/🧾", "7/e\u{301}"] {
            assert!(fits_into_xml(key), "{key:?}");
        }
    }
}
