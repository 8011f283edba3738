//! The Python side has tests of its own, which drive it as Tikkun does.

use std::path::Path;
use std::process::Command;

use super::ground::Rq;

fn passes(rq: Rq) {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/tests/run.py");
    let ran = Command::new("python3").arg(tests).arg(rq.program("python")).output().unwrap();
    let [out, err] = [&ran.stdout, &ran.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(ran.status.success(), "{out}\n{err}");
    assert!(err.contains("\nRan ") && !err.contains("\nRan 0 "), "{out}\n{err}");
}

#[test]
fn python_side_passes_its_tests_on_rq_1() {
    passes(Rq::One);
}

#[test]
fn python_side_passes_its_tests_on_rq_2() {
    passes(Rq::Two);
}

#[test]
fn python_side_passes_its_tests_on_rq_3() {
    passes(Rq::Three);
}
