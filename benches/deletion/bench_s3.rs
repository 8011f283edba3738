//! The S3 server of the deletion benchmark: that of the tests, in a separate process and controlled line by
//! line, so that its time and memory are not counted as ours.

#[allow(dead_code, reason = "the benchmark makes no trouble")]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a server of the tests")]
#[path = "../../tests/servers/s3.rs"]
mod s3;

use std::io::{BufRead as _, Write as _, stdin, stdout};

use s3::S3Server;

fn main() -> std::io::Result<()> {
    let server = S3Server::start();
    let mut answers = stdout().lock();
    writeln!(answers, "{} {} {} {}", server.endpoint(), s3::BUCKET, s3::KEY_ID, s3::SECRET)?;
    answers.flush()?;
    for order in stdin().lock().lines() {
        let order = order?;
        match order.split_once(' ') {
            // The keys are in a file, one a line.
            Some(("fill", file)) => {
                std::fs::read_to_string(file)?.lines().for_each(|key| server.put(key));
                writeln!(answers, "filled")?;
            }
            _ if order == "count" => {
                writeln!(answers, "{} {}", server.requests().len(), server.keys().len())?
            }
            _ => writeln!(answers, "unknown order: {order}")?,
        }
        answers.flush()?;
    }
    Ok(())
}
