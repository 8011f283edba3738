//! Inputs that are made of real ones by small changes at random. One that a reader does not bear is kept, and read again in
//! every later run.
//!
//! `FUZZ_CASES=…` sets how many each target reads.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestError, TestRunner};

/// Enough to notice a reader that has become careless, in a second or two.
const CASES: u32 = 400;

/// Reads these inputs, those that were kept under this name, and changed ones. `read` panics if an input is not read as it
/// should be.
pub fn fuzz(name: &str, inputs: impl IntoIterator<Item = Vec<u8>>, read: impl Fn(&[u8])) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/inputs").join(name);
    let kept =
        fs::read_dir(&folder).into_iter().flatten().map(|file| fs::read(file.unwrap().path()).unwrap());
    let inputs: Vec<_> = inputs.into_iter().chain(kept).collect();
    inputs.iter().for_each(|input| read(input));

    let config = Config { cases: cases(), failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&changed(inputs), |input| {
        read(&input);
        Ok(())
    });
    let Err(TestError::Fail(reason, input)) = outcome else { return outcome.unwrap() };
    fs::create_dir_all(&folder).unwrap();
    let mut hasher = DefaultHasher::new();
    input.hash(&mut hasher);
    let file = folder.join(format!("{:016x}", hasher.finish()));
    fs::write(&file, &input).unwrap();
    panic!("{reason}\nthe input is kept in {}:\n{}", file.display(), input.escape_ascii());
}

/// Up to five places of an input are taken away, filled, or both.
fn changed(inputs: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<Index>(), 0..8_usize, vec(any::<u8>(), 0..6));
    (select(inputs), vec(change, 1..6)).prop_map(|(mut input, changes)| {
        for (place, taken, filled) in changes {
            let from = place.index(input.len() + 1);
            let to = input.len().min(from + taken);
            input.splice(from..to, filled);
        }
        input
    })
}

#[expect(clippy::disallowed_methods, reason = "the size of a test is no setting of the service")]
fn cases() -> u32 {
    std::env::var("FUZZ_CASES").map_or(CASES, |cases| cases.parse().unwrap())
}
