//! Programs whose clock is wrong, by libfaketime.

use std::fs;

/// Where Debian keeps the library, below the folder of each architecture.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// The variables of a program whose clock is ahead by so many seconds, or behind. Intervals stay right.
pub fn ahead(seconds: i64) -> [(&'static str, String); 3] {
    let folders = fs::read_dir("/usr/lib").unwrap().flatten();
    let library = folders
        .map(|folder| folder.path().join(LIBRARY))
        .find(|library| library.is_file())
        .expect("libfaketime: `tests/run` installs what the tests need");
    [
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME", format!("{seconds:+}s")),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ]
}
