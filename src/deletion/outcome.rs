//! The outcome of a deletion with no receipts left: a pure rule.

use crate::job::Progress;
use crate::job::background::Cursor;
use crate::store::SetAside;

/// Hidden receipts cannot be deleted, nor counted.
const HIDDEN: &str = "a policy of row security on receipts may hide some from the role of this service, and hidden ones \
    are not deleted; `tikkun doctor` names it";

/// Whether all, some or none of the requested receipts were deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All of it.
    All,
    /// Some; the text says what is missing, and the first reason.
    Some(String),
    /// Nothing; the text says why.
    Nothing(String),
}

impl Outcome {
    /// Decides from the row's counters, the first live receipt that was set aside, what the cursor says was
    /// left alone, found in addition and kept, and whether the database may have `hidden` receipts.
    pub(super) fn of(
        progress: &Progress,
        set_aside: Option<&SetAside>,
        cursor: &Cursor,
        hidden: bool,
    ) -> Self {
        let Progress { total, processed, succeeded, failed } = *progress;
        let mut missing = Vec::new();
        // Receipts that an earlier job counted as failed were deleted or set aside by the last sweep.
        if let Some(SetAside { receipt, reason }) = set_aside {
            missing.push(format!(
                "{failed} of {total} receipts could not be deleted; the first, receipt {receipt}: {reason}"
            ));
        }
        if total > processed {
            missing.push(format!(
                "{} of {total} receipts that were counted at the start were not found: deleted by others meanwhile, hidden \
                 by a policy of row security, or given another creation time; a new request covers those that are still \
                 there",
                total - processed
            ));
        }
        if let Some(more) = cursor.uncounted {
            missing.push(format!(
                "{more} more receipts were found than were counted at the start: they came with ids and creation times of \
                 before the request, as from a business that was merged into this one, or were put back"
            ));
        }
        if let Some(kept) = &cursor.attachments_kept {
            missing.push(format!(
                "{} attachments of deleted receipts were not cleaned up, and their objects are still there: {}",
                kept.count, kept.reason
            ));
        }
        missing.extend(cursor.left.as_ref().map(ToString::to_string));
        if hidden {
            missing.push(HIDDEN.to_owned());
        }
        if (total > 0 || hidden) && succeeded <= 0 {
            missing.insert(0, format!("none of {total} receipts was deleted"));
            return Self::Nothing(missing.join("; "));
        }
        if missing.is_empty() { Self::All } else { Self::Some(missing.join("; ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::ReceiptId;
    use crate::job::background::{AttachmentsKept, LeftAlone};

    fn progress(total: i64, succeeded: i64, failed: i64) -> Progress {
        Progress { total, processed: succeeded + failed, succeeded, failed }
    }

    fn sealed() -> SetAside {
        SetAside { receipt: ReceiptId(3), reason: "this row is sealed".into() }
    }

    #[test]
    fn all_is_all_and_leaves_nothing_to_say() {
        assert_eq!(Outcome::of(&progress(300, 300, 0), None, &Cursor::default(), false), Outcome::All);
        assert_eq!(
            Outcome::of(&progress(0, 0, 0), None, &Cursor::default(), false),
            Outcome::All,
            "nothing was asked for"
        );
    }

    #[test]
    fn some_says_how_many_are_missing_and_the_first_reason() {
        let text = "50 of 500 receipts could not be deleted; the first, receipt 3: this row is sealed";
        let outcome = Outcome::of(&progress(500, 450, 50), Some(&sealed()), &Cursor::default(), false);
        assert_eq!(outcome, Outcome::Some(text.into()));
        let Outcome::Some(text) = Outcome::of(&progress(300, 200, 0), None, &Cursor::default(), false) else {
            panic!()
        };
        assert!(text.starts_with("100 of 300 receipts that were counted"), "{text}");
        assert!(
            text.contains("given another creation time; a new request covers those that are still there")
        );
        let merged = Cursor { uncounted: Some(20), ..Cursor::default() };
        let Outcome::Some(text) = Outcome::of(&progress(40, 40, 0), None, &merged, false) else { panic!() };
        assert!(text.starts_with("20 more receipts were found than were counted at the start"), "{text}");
        let kept = AttachmentsKept { count: 7, reason: "a guard".into() };
        let left = LeftAlone { receipts: 2, because: "because they came later".into() };
        let cursor = Cursor { attachments_kept: Some(kept), left: Some(left), ..Cursor::default() };
        let Outcome::Some(text) = Outcome::of(&progress(9, 9, 0), None, &cursor, false) else { panic!() };
        assert_eq!(
            text,
            "7 attachments of deleted receipts were not cleaned up, and their objects are still there: a guard; 2 receipts were left alone \
             because they came later; a new request covers them"
        );
    }

    #[test]
    fn receipts_that_may_be_hidden_are_never_all() {
        let Outcome::Some(text) = Outcome::of(&progress(8, 8, 0), None, &Cursor::default(), true) else {
            panic!()
        };
        assert!(text.starts_with("a policy of row security on receipts may hide some"), "{text}");
        let Outcome::Nothing(text) = Outcome::of(&progress(0, 0, 0), None, &Cursor::default(), true) else {
            panic!()
        };
        assert!(text.starts_with("none of 0 receipts was deleted; a policy"), "{text}");
    }

    #[test]
    fn nothing_is_a_failure_with_its_first_reason() {
        let Outcome::Nothing(text) =
            Outcome::of(&progress(300, 0, 300), Some(&sealed()), &Cursor::default(), false)
        else {
            panic!()
        };
        assert!(text.starts_with("none of 300 receipts was deleted; 300 of 300"), "{text}");
        assert!(text.ends_with("receipt 3: this row is sealed"), "{text}");
        assert!(matches!(
            Outcome::of(&progress(300, 0, 0), None, &Cursor::default(), false),
            Outcome::Nothing(_)
        ));
    }
}
