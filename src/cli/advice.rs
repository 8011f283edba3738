//! What to do next: the one place where every error of the command line gets its hint.

use std::borrow::Cow;
use std::fmt;

use crate::fault::FaultKind;
use crate::operations::{DeletionAction, JobAction, Refusal};
use crate::runtime::{OpenError, StartError};

/// The next step after an error: a command to type, or what to look at. There are no others than these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Advice(Cow<'static, str>);

impl Advice {
    /// There is no such job.
    pub(super) const LIST_JOBS: Self = Self::says(
        "`tikkun jobs list` shows what is there; `--data FOLDER` looks elsewhere; ended jobs are dropped in time",
    );
    /// A filter has let nothing through.
    pub(super) const FEWER_FILTERS: Self = Self::says(
        "`tikkun jobs list` without filters shows what is there, `tikkun enqueue FUNCTION` adds a job",
    );
    /// There is no such deletion.
    pub(super) const LIST_DELETIONS: Self = Self::says(
        "`tikkun top` shows the deletions, `tikkun jobs list` the queues; `--data FOLDER` looks elsewhere",
    );
    /// The queue's name may be a slip.
    pub(super) const LIST_QUEUES: Self = Self::says(
        "`tikkun queues list` shows those there are; `worker.known_queues` names those that are to come",
    );
    /// It is not ours to change.
    pub(super) const BY_THE_APPLICATION: Self = Self::says("change it where it was made, in the application");
    /// See what the outbox has.
    pub(super) const LIST_OUTBOX: Self =
        Self::says("`tikkun outbox list` shows what is there and why it stays");
    /// A back end is out of reach.
    pub(super) const DOCTOR: Self = Self::says(
        "`tikkun doctor` says what does not answer and what to do; jobs wait and go on by themselves",
    );
    /// It was bad luck.
    pub(super) const AGAIN: Self = Self::says("the same command once more; if it stays, `tikkun doctor`");
    /// A back end says no for good.
    pub(super) const CHECK_SETTINGS: Self = Self::says(
        "`tikkun config` shows what is meant and where it was set, `tikkun selftest` tries it step by step",
    );
    /// A local file is not there, or cannot be used.
    pub(super) const CHECK_DATA: Self = Self::says(
        "`--data FOLDER` names the service's data folder, where this user must be able to read and write; `tikkun \
                 serve` makes what is missing there, `tikkun doctor` looks closer",
    );
    /// A database without what belongs in it.
    pub(super) const CHECK_DATABASE: Self = Self::says(
        "`tikkun config` shows which database is meant; `tikkun migrate` makes the tables of Tikkun in it, and \
                 `tikkun migrate --with-application-tables` an empty trial database",
    );
    /// The configuration cannot be used.
    pub(super) const READ_REFERENCE: Self = Self::says(
        "`tikkun config --reference` explains every key; `tikkun config` shows what is in force once it can be read",
    );
    /// The address is not known.
    pub(super) const GIVE_URL: Self = Self::says(
        "`--url http://HOST:PORT` says where the service is; its log names the address at the start",
    );
    /// Nobody answers there.
    pub(super) const START_SERVICE: Self = Self::says(
        "`tikkun serve` starts it; `--url http://HOST:PORT` names another place; `tikkun doctor` looks without it",
    );
    /// It answers, and says no.
    pub(super) const LOOK_AT_HEALTH: Self =
        Self::says("`tikkun doctor` says what is wrong; `tikkun health --json` shows the whole answer");
    /// No secret is set.
    pub(super) const GIVE_SECRET: Self = Self::says(
        "`INTERNAL_SECRET=… tikkun …` with the secret of the service, or `tikkun doctor`, which needs none",
    );
    /// The secret is another.
    pub(super) const CORRECT_SECRET: Self = Self::says(
        "set INTERNAL_SECRET to the secret of the service; `tikkun config` shows where the one in use came from",
    );
    /// The process that answers has no HTTP server.
    pub(super) const ASK_A_WINDOW: Self = Self::says(
        "`--url` of a process with SERVICE_ROLE `all` or `api`; `tikkun doctor` works beside every role",
    );
    /// The answer is not understood.
    pub(super) const SAME_VERSION: Self = Self::says(
        "compare `tikkun --version` with that of the service; `tikkun top --json` shows the answer",
    );
    /// A screen is needed.
    pub(super) const NO_TERMINAL: Self = Self::says(
        "`tikkun top --once` prints one frame; `tikkun health --json` and `tikkun jobs list` are for programs",
    );
    /// The port is taken or not allowed.
    pub(super) const OTHER_PORT: Self = Self::says(
        "`tikkun serve --port N` with a free one (0 takes any), or end what has it: `ss -ltnp` names it",
    );
    /// The operating system refuses.
    pub(super) const CHECK_SYSTEM: Self =
        Self::says("limits and permissions of this user; `tikkun selftest` tries everything step by step");
    /// Two jobs of one name.
    pub(super) const RENAME_KIND: Self = Self::says("give one of the two another name");
    /// The place for temporary files is full or closed.
    pub(super) const OTHER_TEMPORARY: Self =
        Self::says("`TMPDIR=FOLDER tikkun demo` with a folder that has room and may be written to");
    /// The demonstration found something that should not be.
    pub(super) const REPORT_DEMO: Self =
        Self::says("`tikkun demo --keep` leaves the data for a look; its log says what it did");

    const fn says(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// The list goes on, with these flags.
    pub(super) fn next_page(flags: impl fmt::Display) -> Self {
        Self(Cow::Owned(format!("`tikkun jobs list {flags}` shows the next ones")))
    }

    /// The job is there: look at it.
    pub(super) fn show_job(id: impl fmt::Display) -> Self {
        let id = quoted(&id.to_string());
        Self(Cow::Owned(format!("`tikkun jobs show {id}` shows it")))
    }

    /// Change this job instead.
    pub(super) fn cancel_job(id: impl fmt::Display) -> Self {
        let id = quoted(&id.to_string());
        Self(Cow::Owned(format!("`tikkun jobs cancel {id}`")))
    }

    /// What a deletion left can be requested anew.
    pub(super) fn retry_deletion(id: impl fmt::Display) -> Self {
        let id = quoted(&id.to_string());
        Self(Cow::Owned(format!(
            "`tikkun jobs show {id}` says what happened; `tikkun jobs retry {id}` requests what it left"
        )))
    }

    /// Nothing but the rows that a deletion could not change can be requested anew.
    fn retry_rows(id: impl fmt::Display) -> Self {
        let id = quoted(&id.to_string());
        Self(Cow::Owned(format!(
            "`tikkun jobs show {id}` shows it; `tikkun jobs retry {id} --failed-rows` requests the rows that it could not \
             change, once it has ended"
        )))
    }

    /// The job moves by itself.
    pub(super) fn watch_deletion(id: impl fmt::Display) -> Self {
        let id = quoted(&id.to_string());
        Self(Cow::Owned(format!("`tikkun watch {id}` follows it to its end")))
    }

    /// The command line does not say what is meant.
    pub(super) fn help(command: &str) -> Self {
        Self(Cow::Owned(format!("`tikkun {command} --help` shows how it is called")))
    }

    /// The job's id is taken.
    pub(super) fn other_id(id: impl fmt::Display) -> Self {
        let id = quoted(&id.to_string());
        Self(Cow::Owned(format!(
            "`tikkun jobs show {id}` shows the one that is there; give another --id, or none"
        )))
    }

    /// A folder that is not there.
    pub(super) fn make_folder(folder: impl fmt::Display) -> Self {
        let folder = quoted(&folder.to_string());
        Self(Cow::Owned(format!("`mkdir -p {folder}`, or name a folder that is there")))
    }

    /// After a fault of a back end.
    pub(super) fn of_fault(kind: FaultKind) -> Self {
        match kind {
            FaultKind::Unavailable => Self::DOCTOR,
            FaultKind::Retryable => Self::AGAIN,
            FaultKind::Permanent => Self::CHECK_SETTINGS,
        }
    }

    /// After something was refused.
    pub(super) fn of_refusal(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::NoDeletion { job_type: Some(_), .. }
            | Refusal::Forbidden { .. }
            | Refusal::ReadOnly(_) => Self::BY_THE_APPLICATION,
            Refusal::NoDeletion { .. } => Self::LIST_DELETIONS,
            Refusal::DeletionIs { id, action: DeletionAction::Retry, .. } => Self::retry_rows(id),
            Refusal::DeletionIs { id, action: DeletionAction::RetryFailedRows, .. } => {
                Self::watch_deletion(id)
            }
            Refusal::DeletionIs { id, .. } => Self::show_job(id),
            Refusal::NoJob(_) => Self::LIST_JOBS,
            Refusal::JobIs { id, .. } | Refusal::Duplicate { holder: id, .. } => Self::show_job(id),
            Refusal::Carries { deletion, status, action, .. } => match (action, status) {
                (JobAction::Cancel, _) => Self::cancel_job(deletion),
                (JobAction::Retry, Some(status)) if status.is_active() => Self::watch_deletion(deletion),
                (JobAction::Retry, _) => Self::retry_deletion(deletion),
                (JobAction::Stop, _) => Self::show_job(deletion),
            },
            Refusal::NoQueue { .. } => Self::LIST_QUEUES,
            Refusal::TooOften { .. } | Refusal::NotHeard(_) => Self::AGAIN,
            Refusal::Unavailable { fault, .. } => Self::of_fault(fault.kind()),
        }
    }

    /// After a back end could not be opened.
    pub(super) fn of_open(error: &OpenError) -> Self {
        match (error.is_local(), error.is_outage(), error.is_database()) {
            (true, ..) => Self::CHECK_DATA,
            (false, true, _) => Self::DOCTOR,
            (false, false, true) => Self::CHECK_DATABASE,
            (false, false, false) => Self::CHECK_SETTINGS,
        }
    }

    /// After the service did not start.
    pub(super) fn of_start(error: &StartError) -> Self {
        match error {
            StartError::Open(error) => Self::of_open(error),
            StartError::Listen { .. } => Self::OTHER_PORT,
            StartError::Kinds(_) => Self::RENAME_KIND,
            StartError::Left(_) | StartError::System(_) | StartError::Actors(_) => Self::CHECK_SYSTEM,
        }
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A word as a shell takes it for one.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_can_be_typed_as_it_is_told() {
        assert_eq!(Advice::show_job("a-b_1").to_string(), "`tikkun jobs show a-b_1` shows it");
        assert_eq!(
            Advice::show_job("it's me; rm").to_string(),
            "`tikkun jobs show 'it'\\''s me; rm'` shows it"
        );
        assert_eq!(quoted("דואר"), "דואר");
        assert_eq!(quoted(""), "''");
    }
}
