//! Progress bars and small charts as text.

/// Eighths of a cell, the thinnest first.
const EIGHTHS: [char; 7] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉'];
/// The heights of a chart, the lowest first.
const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A bar of `width` cells that shows the share `done` of `total`; empty if `total` is 0.
pub(super) fn bar(done: i64, total: i64, width: usize) -> String {
    let share = if total > 0 { (done as f64 / total as f64).clamp(0.0, 1.0) } else { 0.0 };
    let eighths = (share * width as f64 * 8.0).floor() as usize;
    let part = (eighths % 8).checked_sub(1).and_then(|part| EIGHTHS.get(part));
    let (full, partly) = (eighths / 8, part.into_iter());
    let drawn = std::iter::repeat_n('█', full).chain(partly.copied());
    drawn.chain(std::iter::repeat('░')).take(width).collect()
}

/// The newest `width` values as heights relative to the highest.
pub(super) fn spark(values: &[u64], width: usize) -> String {
    let newest = values.get(values.len().saturating_sub(width)..).unwrap_or_default();
    let highest = newest.iter().copied().max().unwrap_or(0).max(1);
    let height = |value: &u64| {
        let place = (*value as f64 / highest as f64 * (HEIGHTS.len() - 1) as f64).round() as usize;
        HEIGHTS.get(place).copied().unwrap_or('█')
    };
    newest.iter().map(height).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_wide_as_it_should_be_and_full_only_at_the_end() {
        assert_eq!(bar(0, 100, 4), "░░░░");
        assert_eq!(bar(50, 100, 4), "██░░");
        assert_eq!(bar(60, 100, 4), "██▍░");
        assert_eq!(bar(999, 1000, 4), "███▉");
        assert_eq!(bar(1000, 1000, 4), "████");
        for (done, total) in [(-1, 5), (9, 5), (3, 0), (3, -3)] {
            assert_eq!(bar(done, total, 10).chars().count(), 10, "{done}/{total}");
        }
    }

    #[test]
    fn a_chart_shows_the_newest_values() {
        assert_eq!(spark(&[9, 0, 1, 7], 3), "▁▂█");
        assert_eq!(spark(&[0, 0], 9), "▁▁");
        assert_eq!(spark(&[], 9), "");
    }
}
