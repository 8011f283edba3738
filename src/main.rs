//! The `tikkun` binary.

fn main() {}
