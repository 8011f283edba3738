//! The identity of one start of a process. It shows at once that a process of this host is dead, even if its
//! pid was given to another process.
//!
//! The mark names the boot of the host, the pid namespace (a container has its own) and the start time of the
//! process. If the system does not provide these, there is no mark, and no process is judged by it.

use std::fs;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// The mark of a live process in our pid namespace.
pub fn mark(pid: u32) -> Option<String> {
    Some(format!("{}/{}", here()?, started(pid)?))
}

/// Whether the process `pid`, which had this mark, is certainly dead.
pub fn is_gone(pid: u32, mark: &str) -> bool {
    let Some((place, start)) = mark.rsplit_once('/') else { return false };
    if here().as_deref() != Some(place) {
        return false;
    }
    match started(pid) {
        Some(now) => now != start,
        None => no_such_process(pid),
    }
}

/// Whether the process `pid`, which had this mark, certainly lives. Of another host or container nothing is known.
pub fn lives(pid: u32, mark: &str) -> bool {
    self::mark(pid).as_deref() == Some(mark)
}

/// The boot of this host and our pid namespace.
fn here() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let pids = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{}/{}", boot.trim(), pids.display()))
}

/// When `pid` started, in ticks since the boot; `None` if it does not exist or is hidden, and "ended" for a
/// zombie. Fields are those of proc_pid_stat(5), counted after the name, which may contain blanks and
/// brackets.
fn started(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    let state = fields.next()?;
    // The state is field 3, the start time field 22.
    let start = fields.nth(18)?;
    Some(if matches!(state, "Z" | "X") { "ended".to_owned() } else { start.to_owned() })
}

/// A process that /proc hides from us still answers to signal 0.
fn no_such_process(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid) == Err(Errno::SRCH))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn this_process_lives() {
        let pid = std::process::id();
        let mark = mark(pid).unwrap();
        assert!(!is_gone(pid, &mark) && lives(pid, &mark));
    }

    #[test]
    fn a_killed_process_is_gone_even_before_it_is_reaped() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let mark = mark(child.id()).unwrap();
        assert!(!is_gone(child.id(), &mark) && lives(child.id(), &mark));
        child.kill().unwrap();
        // A zombie, until it is waited for.
        while !is_gone(child.id(), &mark) {
            std::thread::yield_now();
        }
        assert!(!lives(child.id(), &mark));
        child.wait().unwrap();
        assert!(is_gone(child.id(), &mark) && !lives(child.id(), &mark));
    }

    #[test]
    fn another_process_with_the_same_number_is_not_the_same() {
        let pid = std::process::id();
        let older = format!("{}/{}", here().unwrap(), "1");
        assert!(is_gone(pid, &older) && !lives(pid, &older));
    }

    #[test]
    fn marks_of_other_boots_and_containers_judge_nobody() {
        for mark in ["another-boot/pid:[1]/77", "nonsense"] {
            for pid in [u32::MAX, std::process::id()] {
                assert!(!is_gone(pid, mark) && !lives(pid, mark), "{mark} of {pid}");
            }
        }
    }
}
