//! How a process ended, in RQ's words and in words that a person understands.

use serde::{Deserialize, Serialize};

/// What a process used, as `wait4` reports it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Peak memory in KiB.
    pub maxrss: u64,
    /// Seconds of computing in the process.
    pub utime: f64,
    /// Seconds of computing in the kernel.
    pub stime: f64,
}

/// A wait status as the operating system encodes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct WaitStatus(i32);

impl WaitStatus {
    /// The status that `waitpid` returned.
    #[must_use]
    pub fn from_raw(raw: i32) -> Self {
        Self(raw)
    }

    /// The number as RQ writes it.
    #[must_use]
    pub fn raw(self) -> i32 {
        self.0
    }

    /// The signal that ended the process.
    #[must_use]
    pub fn signal(self) -> Option<i32> {
        Some(self.0 & 0x7f).filter(|signal| (1..0x7f).contains(signal))
    }

    /// The code that the process left with.
    #[must_use]
    pub fn code(self) -> Option<i32> {
        (self.0 & 0x7f == 0).then_some((self.0 >> 8) & 0xff)
    }

    /// Whether it left by itself with code 0.
    #[must_use]
    pub fn is_success(self) -> bool {
        self.code() == Some(0)
    }

    /// In words: `killed by signal 11 (SIGSEGV: an invalid memory access, or a stack that grew too large)`, `left with exit code 1`.
    #[must_use]
    pub fn words(self) -> String {
        match (self.signal(), self.code()) {
            (Some(signal), _) => match signal_words(signal) {
                Some(words) => format!("killed by signal {signal} ({words})"),
                None => format!("killed by signal {signal}"),
            },
            (None, Some(code)) => format!("left with exit code {code}"),
            (None, None) => format!("ended with status {}", self.0),
        }
    }
}

/// A signal's name and what it usually means. Numbers are Linux'.
fn signal_words(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP: the terminal went away",
        2 => "SIGINT: interrupted",
        3 => "SIGQUIT: asked to quit",
        4 => "SIGILL: an illegal instruction",
        6 => "SIGABRT: the process aborted itself",
        7 => "SIGBUS: memory that could not be reached",
        8 => "SIGFPE: an arithmetic error",
        9 => "SIGKILL",
        10 => "SIGUSR1",
        11 => "SIGSEGV: an invalid memory access, or a stack that grew too large",
        12 => "SIGUSR2",
        13 => "SIGPIPE: a write to a closed pipe",
        14 => "SIGALRM: a timer that nobody handled",
        15 => "SIGTERM: asked to end",
        24 => "SIGXCPU: the limit of computing time",
        25 => "SIGXFSZ: the limit of file size",
        31 => "SIGSYS: a system call that is not allowed",
        _ => return None,
    })
}

/// The end of a process that was reaped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exit {
    /// How it ended.
    pub status: WaitStatus,
    /// What it used.
    pub usage: Usage,
}

/// The end of a child.
#[derive(Clone, Debug, PartialEq)]
pub struct Death {
    /// Its process id.
    pub pid: u32,
    /// How it ended; `None` if nobody could see it, because its zygote was gone.
    pub exit: Option<Exit>,
    /// Whether Tikkun killed it.
    pub was_killed: bool,
    /// Whether the kernel killed processes for lack of memory meanwhile, where it says so.
    pub lacked_memory: Option<bool>,
    /// What else is known, such as an answer that was no answer.
    pub note: Option<String>,
}

impl Death {
    /// Whether it left by itself with code 0.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.exit.is_some_and(|exit| exit.status.is_success())
    }

    /// The text that a job fails with: RQ's own words, then what they mean.
    #[must_use]
    pub fn words(&self) -> String {
        let mut text = "Work-horse terminated unexpectedly; ".to_owned();
        if let Some(Exit { status, usage }) = self.exit {
            let signal = status.signal().map(|signal| format!(" (signal {signal})")).unwrap_or_default();
            text.push_str(&format!("waitpid returned {}{signal}; {}", status.raw(), status.words()));
            text.push_str(&self.by_whom(status));
            if usage.maxrss > 0 {
                text.push_str(&format!("; peak memory {} MiB", usage.maxrss.div_ceil(1024)));
            }
        } else {
            text.push_str("how is not known, for the process that reaps it was gone");
        }
        if let Some(note) = &self.note {
            text.push_str("; ");
            text.push_str(note);
        }
        text
    }

    /// Who ended it, where the status alone does not say that.
    fn by_whom(&self, status: WaitStatus) -> String {
        match (status.signal(), status.code(), self.lacked_memory) {
            _ if self.was_killed => " by Tikkun".to_owned(),
            (Some(9), _, Some(true)) => "; the kernel killed it for lack of memory".to_owned(),
            (Some(9), _, Some(false)) => {
                ", neither by Tikkun nor by the kernel for lack of memory".to_owned()
            }
            (Some(9), _, None) => ", not by Tikkun: often the kernel, for lack of memory".to_owned(),
            (None, Some(code), _) => format!(" without an answer, as after os._exit({code})"),
            _ => String::new(),
        }
    }

    /// What a callback is given about it, as JSON.
    pub(super) fn facts(&self) -> String {
        let words = self.words();
        let Some(Exit { status, usage }) = self.exit else {
            return serde_json::json!({ "words": words }).to_string();
        };
        let (pid, status, maxrss) = (self.pid, status.raw(), usage.maxrss);
        let facts = serde_json::json!({
            "pid": pid, "status": status, "maxrss": maxrss, "utime": usage.utime, "stime": usage.stime,
            "words": words,
        });
        facts.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn death(status: i32, maxrss: u64) -> Death {
        let usage = Usage { maxrss, ..Usage::default() };
        let exit = Some(Exit { status: WaitStatus::from_raw(status), usage });
        Death { pid: 42, exit, was_killed: false, lacked_memory: None, note: None }
    }

    #[test]
    fn death_begins_with_the_words_of_rq() {
        assert_eq!(
            death(139, 125_000).words(),
            "Work-horse terminated unexpectedly; waitpid returned 139 (signal 11); \
             killed by signal 11 (SIGSEGV: an invalid memory access, or a stack that grew too large); \
             peak memory 123 MiB"
        );
        assert_eq!(
            death(256, 0).words(),
            "Work-horse terminated unexpectedly; waitpid returned 256; \
             left with exit code 1 without an answer, as after os._exit(1)"
        );
    }

    #[test]
    fn process_that_left_with_success_is_told_to_have_given_no_answer() {
        assert_eq!(
            death(0, 0).words(),
            "Work-horse terminated unexpectedly; waitpid returned 0; \
             left with exit code 0 without an answer, as after os._exit(0)"
        );
    }

    #[test]
    fn kernel_that_counts_is_believed() {
        let said = |lacked_memory| Death { lacked_memory: Some(lacked_memory), ..death(9, 2048) }.words();
        let begin = "Work-horse terminated unexpectedly; waitpid returned 9 (signal 9); \
                     killed by signal 9 (SIGKILL)";
        let lacked = format!("{begin}; the kernel killed it for lack of memory; peak memory 2 MiB");
        assert_eq!(said(true), lacked);
        let other =
            format!("{begin}, neither by Tikkun nor by the kernel for lack of memory; peak memory 2 MiB");
        assert_eq!(said(false), other);
        let segfault = Death { lacked_memory: Some(true), ..death(11, 0) }.words();
        assert!(!segfault.contains("lack"), "{segfault}");
    }

    #[test]
    fn sigkill_says_whether_it_was_tikkun() {
        assert!(
            death(9, 0).words().ends_with(
                "killed by signal 9 (SIGKILL), not by Tikkun: often the kernel, for lack of memory"
            )
        );
        let ours = Death { was_killed: true, ..death(9, 0) };
        assert!(ours.words().ends_with("killed by signal 9 (SIGKILL) by Tikkun"), "{}", ours.words());
    }

    #[test]
    fn facts_are_those_that_a_callback_reads() {
        let facts = death(9, 7).facts();
        let numbers =
            r#"{"pid":42,"status":9,"maxrss":7,"utime":0.0,"stime":0.0,"words":"Work-horse terminated"#;
        assert!(facts.starts_with(numbers), "{facts}");
        let facts = Death { exit: None, ..death(9, 7) }.facts();
        assert!(
            facts.starts_with(r#"{"words":"Work-horse terminated unexpectedly; how is not known"#),
            "{facts}"
        );
    }
}
