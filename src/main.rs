//! The `tikkun` binary.

fn main() -> std::process::ExitCode {
    tikkun::cli::main()
}
