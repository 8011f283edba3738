//! Tests that we read Python's bytes, and Python reads ours.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{bytes, hex, read, table};
use crate::job::exact::Exact;
use crate::queue::rq::codec::pickle;

#[test]
fn every_pickle_of_the_fixture_is_read_or_refused_by_name() {
    let mut seen = 0;
    for line in include_str!("../../../../../tests/rq/pickles.tsv").lines() {
        let [protocol, name, expected, payload] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let result = read(&bytes(payload));
        match expected.strip_prefix('!') {
            Some(part) => {
                let told = result.unwrap_err().to_string();
                assert!(told.contains(part), "{name}, protocol {protocol}: {told}");
            }
            None => {
                let value = result.unwrap_or_else(|told| panic!("{name}, protocol {protocol}: {told}"));
                let expected: Value = serde_json::from_str(expected).unwrap();
                assert_eq!(value.into_value(), expected, "{name}, protocol {protocol}");
            }
        }
        seen += 1;
    }
    assert!(seen > 250, "{seen} pickles");
}

#[test]
fn every_value_of_the_table_reads_back_as_written() {
    for (name, value) in table() {
        let exact = Exact::of(&value).unwrap();
        let again = read(&pickle::write(&exact)).unwrap_or_else(|told| panic!("{name}: {told}"));
        assert_eq!(again.into_value().to_string(), value.to_string(), "{name}");
    }
}

#[test]
fn a_zone_that_is_looked_up_by_its_name_reads_back_as_written() {
    let value = serde_json::json!({
        "$datetime": ["2026-06-01T12:00:00+03:00", { "zone": ["dateutil.file", "Asia/Jerusalem"] }]
    });
    let again = read(&pickle::write(&Exact::of(&value).unwrap())).unwrap();
    assert_eq!(again.into_value(), value);
}

/// Python's reading of our pickles: the values with their types, and Python's own pickles of them.
fn ask_python(payloads: &str) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rq/pickles.py");
    let mut python = Command::new("python3")
        .args([script, "check"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3 is needed; tests/run installs it");
    let mut input = python.stdin.take().unwrap();
    let payloads = payloads.to_owned();
    let writer = std::thread::spawn(move || input.write_all(payloads.as_bytes()));
    let output = python.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn python_reads_what_we_write_and_we_read_what_it_writes() {
    let mut table = table();
    table.insert("many".to_owned(), (0..3000).collect());
    table.insert("long".to_owned(), ["x".repeat(70_000), "ק".repeat(200)].into_iter().collect());
    table.insert("huge".to_owned(), serde_json::json!({ "$int": "7".repeat(4000) }));
    table.insert("fold".to_owned(), serde_json::json!({ "$time": ["01:30:00", { "fold": true }] }));
    let payloads = table.values().map(|value| hex(&pickle::write(&Exact::of(value).unwrap())) + "\n");
    let answer = ask_python(&payloads.collect::<String>());
    assert_eq!(answer.lines().count(), table.len());
    for ((name, value), line) in table.iter().zip(answer.lines()) {
        let (seen, pickles) = line.split_once('\t').unwrap();
        let seen: Value = serde_json::from_str(seen).unwrap();
        assert_eq!(seen.to_string(), value.to_string(), "{name}: what python saw");
        for (place, payload) in pickles.split('\t').enumerate() {
            // Python's protocols 2 and 3 lose the fold.
            if name == "fold" && place < 2 {
                continue;
            }
            let read = read(&bytes(payload)).unwrap_or_else(|told| panic!("{name}: {told}"));
            assert_eq!(read.into_value().to_string(), value.to_string(), "{name}, protocol {}", place + 2);
        }
    }
}
