//! Times in SQLAlchemy's form for SQLite: UTC text, `2026-01-28 19:00:00.000000`.

use chrono::{DateTime, NaiveDateTime, Utc};

/// The creation time of a receipt in the one form that sorts by time. A time with a zone is converted to UTC,
/// to the millisecond. Anything that SQLite does not parse as a date, such as seconds of a clock or an
/// unknown zone, is null and counts as missing.
macro_rules! made {
    () => {
        "case when created_at not glob '[0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]*' then null
            when created_at glob '*:*[+-][0-9]*' and created_at not glob '*+00:00'
            then strftime('%Y-%m-%d %H:%M:%f000', created_at)
            else replace(rtrim(replace(created_at, 'T', ' '), 'Z'), '+00:00', '') end"
    };
}
pub(super) use made;

/// The condition that a receipt is not dated later than `until`, or later than `beyond` if that is not null;
/// `undated` decides about those without a time.
macro_rules! dated {
    ($until:literal, $undated:literal, $beyond:literal) => {
        concat!(
            "coalesce(",
            $crate::store::sqlite::moment::made!(),
            " <= ",
            $until,
            " or ifnull(",
            $crate::store::sqlite::moment::made!(),
            " > ",
            $beyond,
            ", 0), ",
            $undated,
            ")"
        )
    };
}
pub(super) use dated;

/// The text for a time.
pub(super) fn to_text(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S%.6f").to_string()
}

/// The time in a text. The fraction is optional, the separator may be `T`, and `Z` or `+00:00` may follow.
/// `None` if the text has another form.
pub(super) fn parse(text: &str) -> Option<DateTime<Utc>> {
    let plain = text.trim().replace('T', " ");
    let plain = plain.strip_suffix('Z').or_else(|| plain.strip_suffix("+00:00")).unwrap_or(&plain);
    NaiveDateTime::parse_from_str(plain, "%Y-%m-%d %H:%M:%S%.f").ok().map(|at| at.and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_in_use_reads_as_the_same_time() {
        let expected = parse("2026-01-28 19:00:00.000000").unwrap();
        for text in [
            "2026-01-28 19:00:00",
            "2026-01-28T19:00:00",
            "2026-01-28T19:00:00.0Z",
            "2026-01-28 19:00:00+00:00",
        ] {
            assert_eq!(parse(text), Some(expected), "{text}");
        }
        assert_eq!(to_text(expected), "2026-01-28 19:00:00.000000");
        assert_eq!(parse("yesterday"), None);
    }

    #[test]
    fn text_sorts_as_time_does() {
        let [early, late] = ["2026-01-28 19:00:00.9", "2026-01-28 19:00:01"].map(|text| parse(text).unwrap());
        assert!(to_text(early) < to_text(late));
    }
}
