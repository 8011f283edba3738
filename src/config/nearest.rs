//! Suggests a known name for an unknown one.

/// The least similarity for a suggestion, 0 to 1.
const ALIKE: f64 = 0.6;

/// The most similar candidate, if any is similar enough. One that `name` begins with is preferred.
pub(crate) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| {
            let likeness = strsim::normalized_damerau_levenshtein(name, candidate);
            (name.starts_with(candidate), likeness, candidate)
        })
        .filter(|(_, likeness, _)| *likeness >= ALIKE)
        .max_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)))
        .map(|(.., candidate)| candidate)
}
