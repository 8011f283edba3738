//! Which keys are taken at all, and which fit into a bulk request.

use crate::blob::key_path::RESERVED;
use crate::fault::{Fault, FaultKind};

/// S3 takes keys of at most so many bytes.
const LONGEST: usize = 1024;

/// Refuses what no store takes, so that a key means the same everywhere: relative, `/` between parts,
/// no part empty, `.`, `..` or the store's own; no backslash, no NUL.
pub(super) fn check(key: &str) -> Result<(), Fault> {
    let fits = |part: &str| {
        !matches!(part, "" | "." | "..") && !part.starts_with(RESERVED) && !part.contains(['\\', '\0'])
    };
    if !key.split('/').all(fits) {
        let why = "expected a relative path without empty parts, `.`, `..`, backslash or NUL";
        return Err(Fault::new(FaultKind::Permanent, format!("refuse the key {key:?}: {why}")));
    }
    if key.len() > LONGEST {
        let why = format!("it has {} bytes, S3 takes at most {LONGEST}", key.len());
        return Err(Fault::new(FaultKind::Permanent, format!("refuse the key {key:?}: {why}")));
    }
    Ok(())
}

/// Whether XML carries the key as it is. A bulk request is XML, which has no way to write most control
/// characters and changes some others on the way; in a URL every character has its place.
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
