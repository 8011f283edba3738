//! The hints of the command line: what to do next after each error.

use std::borrow::Cow;
use std::fmt;

use crate::fault::FaultKind;
use crate::operations::{DeletionAction, JobAction, Refusal};
use crate::python::BootError;
use crate::runtime::{OpenError, StartError};

/// The next step after an error: a command to type, or something to check. No hint exists outside this file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Advice(Cow<'static, str>);

impl Advice {
    /// After: there is no such job.
    pub(super) const LIST_JOBS: Self = Self::says(
        "`tikkun jobs list` shows what is there; `--data FOLDER` looks elsewhere; ended jobs are dropped in time",
    );
    /// After: no job matches the filters.
    pub(super) const FEWER_FILTERS: Self = Self::says(
        "`tikkun jobs list` without filters shows what is there, `tikkun enqueue FUNCTION` adds a job",
    );
    /// After: there is no such deletion.
    pub(super) const LIST_DELETIONS: Self = Self::says(
        "`tikkun top` shows the deletions, `tikkun jobs list` the queues; `--data FOLDER` looks elsewhere",
    );
    /// After: the queue's name may be misspelt.
    pub(super) const LIST_QUEUES: Self = Self::says(
        "`tikkun queues list` shows those there are; `worker.known_queues` names those that are to come",
    );
    /// After: the row belongs to the application.
    pub(super) const BY_THE_APPLICATION: Self = Self::says("change it where it was made, in the application");
    /// After: objects stay in the outbox.
    pub(super) const LIST_OUTBOX: Self =
        Self::says("`tikkun outbox list` shows what is there and why it stays");
    /// After: a deletion has no certificate.
    pub(super) const CERTIFICATE_LATER: Self = Self::says(
        "it has one soon after it has ended, while a service runs; `tikkun top` shows the deletions",
    );
    /// After: a file of certificates cannot be read.
    pub(super) const EXPORT_CERTIFICATES: Self =
        Self::says("`tikkun certificate export > FILE` writes all of them, `certificate show ID --json` one");
    /// After: certificates are not as they were issued.
    pub(super) const OTHER_COPY: Self = Self::says(
        "another copy of the file, or `tikkun certificate export` from a backup; compare what differs",
    );
    /// After: a back end cannot be reached.
    pub(super) const DOCTOR: Self = Self::says(
        "`tikkun doctor` says what does not answer and what to do; jobs wait and go on by themselves",
    );
    /// After: a transient fault.
    pub(super) const AGAIN: Self = Self::says("the same command once more; if it stays, `tikkun doctor`");
    /// After: a back end refuses permanently.
    pub(super) const CHECK_SETTINGS: Self = Self::says(
        "`tikkun config` shows what is meant and where it was set, `tikkun selftest` tries it step by step",
    );
    /// After: a local file is missing or cannot be used.
    pub(super) const CHECK_DATA: Self = Self::says(
        "`--data FOLDER` names the service's data folder, where this user must be able to read and write; `tikkun \
                 serve` makes what is missing there, `tikkun doctor` looks closer",
    );
    /// After: the database lacks its tables.
    pub(super) const CHECK_DATABASE: Self = Self::says(
        "`tikkun config` shows which database is meant; `tikkun migrate` makes the tables of Tikkun in it, and \
                 `tikkun migrate --with-application-tables` an empty trial database",
    );
    /// After: the configuration cannot be used.
    pub(super) const READ_REFERENCE: Self = Self::says(
        "`tikkun config --reference` explains every key; `tikkun config` shows what is in force once it can be read",
    );
    /// After: the service's address is unknown.
    pub(super) const GIVE_URL: Self = Self::says(
        "`--url http://HOST:PORT` says where the service is; its log names the address at the start",
    );
    /// After: the service does not answer.
    pub(super) const START_SERVICE: Self = Self::says(
        "`tikkun serve` starts it; `--url http://HOST:PORT` names another place; `tikkun doctor` looks without it",
    );
    /// After: the service answers with an error.
    pub(super) const LOOK_AT_HEALTH: Self =
        Self::says("`tikkun doctor` says what is wrong; `tikkun health --json` shows the whole answer");
    /// After: no secret is set.
    pub(super) const GIVE_SECRET: Self = Self::says(
        "`INTERNAL_SECRET=… tikkun …` with the secret of the service, or `tikkun doctor`, which needs none",
    );
    /// After: the secret is wrong.
    pub(super) const CORRECT_SECRET: Self = Self::says(
        "set INTERNAL_SECRET to the secret of the service; `tikkun config` shows where the one in use came from",
    );
    /// After: the process that answers does not serve the page.
    pub(super) const ASK_A_WINDOW: Self = Self::says(
        "`--url` of a process with SERVICE_ROLE `all` or `api`; `tikkun doctor` works beside every role",
    );
    /// After: the answer cannot be parsed.
    pub(super) const SAME_VERSION: Self = Self::says(
        "compare `tikkun --version` with that of the service; `tikkun top --json` shows the answer",
    );
    /// After: the command needs a terminal.
    pub(super) const NO_TERMINAL: Self = Self::says(
        "`tikkun top --once` prints one frame; `tikkun health --json` and `tikkun jobs list` are for programs",
    );
    /// After: the port is taken or not allowed.
    pub(super) const OTHER_PORT: Self = Self::says(
        "`tikkun serve --port N` with a free one (0 takes any), or end what has it: `ss -ltnp` names it",
    );
    /// After: the operating system refuses.
    pub(super) const CHECK_SYSTEM: Self =
        Self::says("limits and permissions of this user; `tikkun selftest` tries everything step by step");
    /// After: two jobs have the same name.
    pub(super) const RENAME_KIND: Self = Self::says("give one of the two another name");
    /// After: the temporary folder is full or not writable.
    pub(super) const OTHER_TEMPORARY: Self =
        Self::says("`TMPDIR=FOLDER tikkun demo` with a folder that has room and may be written to");
    /// After: the demonstration found a difference.
    pub(super) const REPORT_DEMO: Self =
        Self::says("`tikkun demo --keep` leaves the data for a look; its log says what it did");

    /// After: Python processes cannot run as another user.
    const OTHER_USER: Self =
        Self::says("a user of this machine in `python.user`, and Tikkun started by root");
    /// After: the worker's command cannot be started.
    const CHECK_COMMAND: Self = Self::says(
        "put `tikkun run --` in front of the very command that starts the worker today, such as `rq worker high default`",
    );
    /// After: the worker's command ended before its worker began.
    const TRY_COMMAND_ALONE: Self = Self::says(
        "the same command without `tikkun run --`: it has to come as far as an RQ worker that waits for jobs",
    );
    /// After: no worker began to work in time.
    const LONGER_BOOT: Self = Self::says(
        "the same command without `tikkun run --` shows what it waits for; `--set python.boot_timeout=10m` gives it longer",
    );
    /// After: the captured worker cannot be served.
    const KEEP_RQ: Self = Self::says(
        "the same command without `tikkun run --` serves these queues as before; `docs/migrating-from-rq.md` says what is \
         served",
    );
    /// After: what is to be imported ahead of jobs cannot be.
    const FEWER_MODULES: Self = Self::says(
        "leave out of `python.preload` what does not end; jobs import it by themselves, and `learned` finds what helps",
    );
    /// After: workers are configured, and a command is given.
    pub(super) const SERVE_OR_RUN: Self =
        Self::says("`tikkun serve` with this file, or `--config` with another one");
    /// After: the operating system has no such processes.
    const ON_LINUX: Self = Self::says("`tikkun run` in a container or on a machine with Linux");

    const fn says(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// After: the list has more pages; `flags` select the next one.
    pub(super) fn next_page(flags: impl fmt::Display) -> Self {
        Self(Cow::Owned(format!("`tikkun jobs list {flags}` shows the next ones")))
    }

    /// The hint to show the job.
    pub(super) fn show_job(id: impl fmt::Display) -> Self {
        let id = quoted(&id.to_string());
        Self(Cow::Owned(format!("`tikkun jobs show {id}` shows it")))
    }

    /// The hint to cancel this job instead.
    pub(super) fn cancel_job(id: impl fmt::Display) -> Self {
        let id = quoted(&id.to_string());
        Self(Cow::Owned(format!("`tikkun jobs cancel {id}`")))
    }

    /// The hint to request again what a deletion left undone.
    pub(super) fn retry_deletion(id: impl fmt::Display) -> Self {
        let id = quoted(&id.to_string());
        Self(Cow::Owned(format!(
            "`tikkun jobs show {id}` says what happened; `tikkun jobs retry {id}` requests what it left"
        )))
    }

    /// The hint to request only the rows that a deletion could not change.
    fn retry_rows(id: impl fmt::Display) -> Self {
        let id = quoted(&id.to_string());
        Self(Cow::Owned(format!(
            "`tikkun jobs show {id}` shows it; `tikkun jobs retry {id} --failed-rows` requests the rows that it could not \
             change, once it has ended"
        )))
    }

    /// The hint to follow a job that is still active.
    pub(super) fn watch_deletion(id: impl fmt::Display) -> Self {
        let id = quoted(&id.to_string());
        Self(Cow::Owned(format!("`tikkun watch {id}` follows it to its end")))
    }

    /// The hint to read the command's help.
    pub(super) fn help(command: &str) -> Self {
        Self(Cow::Owned(format!("`tikkun {command} --help` shows how it is called")))
    }

    /// After: the job's id is taken.
    pub(super) fn other_id(id: impl fmt::Display) -> Self {
        let id = quoted(&id.to_string());
        Self(Cow::Owned(format!(
            "`tikkun jobs show {id}` shows the one that is there; give another --id, or none"
        )))
    }

    /// After: the folder does not exist.
    pub(super) fn make_folder(folder: impl fmt::Display) -> Self {
        let folder = quoted(&folder.to_string());
        Self(Cow::Owned(format!("`mkdir -p {folder}`, or name a folder that is there")))
    }

    /// The hint after a fault of a back end.
    pub(super) fn of_fault(kind: FaultKind) -> Self {
        match kind {
            FaultKind::Unavailable => Self::DOCTOR,
            FaultKind::Retryable => Self::AGAIN,
            FaultKind::Permanent => Self::CHECK_SETTINGS,
        }
    }

    /// The hint after a refused operation.
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

    /// The hint after a back end could not be opened.
    pub(super) fn of_open(error: &OpenError) -> Self {
        match (error.is_local(), error.is_outage(), error.is_database()) {
            (true, ..) => Self::CHECK_DATA,
            (false, true, _) => Self::DOCTOR,
            (false, false, true) => Self::CHECK_DATABASE,
            (false, false, false) => Self::CHECK_SETTINGS,
        }
    }

    /// The hint after a worker's command could not be captured.
    pub(super) fn of_boot(error: &BootError) -> Self {
        match error {
            BootError::Unsupported => Self::ON_LINUX,
            BootError::NoCommand => Self::help("run"),
            BootError::User { .. } => Self::OTHER_USER,
            BootError::Preparing { .. } => Self::CHECK_SYSTEM,
            BootError::Starting { .. } => Self::CHECK_COMMAND,
            BootError::Ended { .. } | BootError::Changed { .. } => Self::TRY_COMMAND_ALONE,
            BootError::Silent { .. } => Self::LONGER_BOOT,
            BootError::Refused { .. } => Self::KEEP_RQ,
            BootError::Preloading { .. } => Self::FEWER_MODULES,
            BootError::Protocol { .. } => Self::KEEP_RQ,
        }
    }

    /// The hint after the service did not start.
    pub(super) fn of_start(error: &StartError) -> Self {
        match error {
            StartError::Open(error) => Self::of_open(error),
            StartError::Listen { .. } => Self::OTHER_PORT,
            StartError::Kinds(_) => Self::RENAME_KIND,
            StartError::Deletions(_) => Self::READ_REFERENCE,
            StartError::Python(error) => error.boot().map_or(Self::READ_REFERENCE, Self::of_boot),
            StartError::Left(_) | StartError::System(_) | StartError::Actors(_) => Self::CHECK_SYSTEM,
        }
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The word, in quotes if a shell needs them.
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
