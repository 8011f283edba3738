//! The name that was probably meant by one that is unknown.

/// How alike two names must be before one is suggested for the other, 0 to 1.
const ALIKE: f64 = 0.6;

/// The candidate that is most like `name`, if one is like it at all; first of all one that `name` only adds to.
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
