//! The ids of receipts that were there at a request, as ranges.
//!
//! Ids are not given out in the order in which receipts are committed: a sequence with a cache, an import with ids of
//! its own and a transaction that is still open bring lower ids later. Such ids are near the newest ones.

/// Of this many of the newest receipts the ids are noted.
pub(super) const IDS: i64 = 100_000;
/// The most ranges, since each batch reads and writes them.
pub(super) const RANGES: i64 = 500;
/// Below all ids.
const LOWEST: i64 = -i64::MAX;

/// The bounds of ranges, of which the highest comes first: ascending, the first id of each and the first one behind it.
/// The lowest range extends to all lower ids if there may be more of them than were looked at.
pub(super) fn bounds(ranges: &[(i64, i64)]) -> Vec<i64> {
    let ids: i64 = ranges.iter().map(|(first, last)| last - first + 1).sum();
    let all = ids < IDS && i64::try_from(ranges.len()).is_ok_and(|count| count < RANGES);
    let mut bounds: Vec<i64> = ranges.iter().rev().flat_map(|(first, last)| [*first, last + 1]).collect();
    if let Some(first) = bounds.first_mut().filter(|_| !all) {
        *first = LOWEST;
    }
    bounds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_listed_from_the_lowest() {
        assert_eq!(bounds(&[(7, 9), (5, 5), (1, 3)]), [1, 4, 5, 6, 7, 10]);
        assert!(bounds(&[]).is_empty());
    }

    #[test]
    fn lower_ids_than_were_looked_at_count_as_there() {
        let many: Vec<_> = (1..=RANGES).rev().map(|n| (n * 2, n * 2)).collect();
        assert_eq!(bounds(&many)[..3], [LOWEST, 3, 4]);
        assert_eq!(bounds(&many[1..])[..2], [2, 3], "these are all");
        assert_eq!(bounds(&[(1, IDS)]), [LOWEST, IDS + 1]);
    }
}
