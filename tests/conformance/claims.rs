//! Claims beyond the checklist: each holds on some versions of RQ, with one test per version.

use libtest_mimic::Trial;

use crate::python::Version;

/// Its name, the versions that it holds on, and its check, which panics where it does not hold.
pub type Claim = (&'static str, &'static [Version], fn(Version));

/// The trials of these claims.
pub fn trials(claims: &'static [Claim]) -> impl Iterator<Item = Trial> {
    let trial = |&(name, _, check): &Claim, version: Version| {
        let name = format!("{name}::rq_{}", version.number().replace('.', "_"));
        Trial::test(name, move || {
            check(version);
            Ok(())
        })
    };
    claims.iter().flat_map(move |claim| claim.1.iter().map(move |version| trial(claim, *version)))
}
