//! What to do next: the one place where every error of the command line gets its hint.

use std::fmt;

use crate::fault::FaultKind;
use crate::runtime::{OpenError, StartError};

/// The next step after an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Advice {
    /// There is no such job.
    ListJobs,
    /// The queue's name may be a slip.
    ListQueues(String),
    /// A filter has let nothing through.
    FewerFilters,
    /// The list goes on, with these flags.
    NextPage(String),
    /// There is no such deletion.
    ListDeletions,
    /// The job is there: look at it.
    ShowJob(String),
    /// Change this job instead.
    CancelJob(String),
    /// What a deletion left can be requested anew.
    RetryDeletion(String),
    /// The job moves by itself.
    WatchDeletion(String),
    /// It is not ours to change.
    ByTheApplication,
    /// See what the outbox has.
    ListOutbox,
    /// A back end is out of reach.
    Doctor,
    /// It was bad luck.
    Again,
    /// A back end says no for good.
    CheckSettings,
    /// A local file is not there, or cannot be used.
    CheckData,
    /// A database without what belongs in it.
    CheckDatabase,
    /// The configuration cannot be used.
    ReadReference,
    /// The address is not known.
    GiveUrl,
    /// Nobody answers there.
    StartService,
    /// It answers, and says no.
    LookAtHealth,
    /// No secret is set.
    GiveSecret,
    /// The secret is another.
    CorrectSecret,
    /// The process that answers has no window.
    AskAWindow,
    /// The answer is not understood.
    SameVersion,
    /// A screen is needed.
    NoTerminal,
    /// The port is taken or not allowed.
    OtherPort,
    /// The operating system refuses.
    CheckSystem,
    /// Two jobs of one name.
    RenameKind,
    /// The command line does not say what is meant.
    Help(&'static str),
    /// The job's id is taken.
    OtherId(String),
    /// A folder that is not there.
    MakeFolder(String),
    /// The place for temporary files is full or closed.
    OtherTemporary,
    /// The demonstration found something that should not be.
    ReportDemo,
}

impl Advice {
    /// After a fault of a back end.
    pub(super) fn of_fault(kind: FaultKind) -> Self {
        match kind {
            FaultKind::Unavailable => Self::Doctor,
            FaultKind::Retryable => Self::Again,
            FaultKind::Permanent => Self::CheckSettings,
        }
    }

    /// After a back end could not be opened.
    pub(super) fn of_open(error: &OpenError) -> Self {
        match (error.is_local(), error.is_outage(), error.is_database()) {
            (true, ..) => Self::CheckData,
            (false, true, _) => Self::Doctor,
            (false, false, true) => Self::CheckDatabase,
            (false, false, false) => Self::CheckSettings,
        }
    }

    /// After the service did not start.
    pub(super) fn of_start(error: &StartError) -> Self {
        match error {
            StartError::Open(error) => Self::of_open(error),
            StartError::Listen { .. } => Self::OtherPort,
            StartError::Kinds(_) => Self::RenameKind,
            StartError::Left(_) | StartError::System(_) | StartError::Actors(_) => Self::CheckSystem,
        }
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::ShowJob(id) => return write!(f, "`tikkun jobs show {id}` shows it"),
            Self::ListQueues(name) => {
                return write!(
                    f,
                    "`tikkun queues list` shows those there are; `tikkun queues resume {name}` undoes it"
                );
            }
            Self::NextPage(flags) => return write!(f, "`tikkun jobs list {flags}` shows the next ones"),
            Self::CancelJob(id) => return write!(f, "`tikkun jobs cancel {id}`"),
            Self::RetryDeletion(id) => {
                return write!(
                    f,
                    "`tikkun jobs show {id}` says what happened; `tikkun jobs retry {id}` requests what it left"
                );
            }
            Self::WatchDeletion(id) => return write!(f, "`tikkun watch {id}` follows it to its end"),
            Self::Help(command) => return write!(f, "`tikkun {command} --help` shows how it is called"),
            Self::OtherId(id) => {
                return write!(
                    f,
                    "`tikkun jobs show {id}` shows the one that is there; give another --id, or none"
                );
            }
            Self::MakeFolder(folder) => {
                return write!(f, "`mkdir -p {folder}`, or name a folder that is there");
            }
            Self::ListJobs => {
                "`tikkun jobs list` shows what is there; `--data FOLDER` looks elsewhere; ended jobs are dropped in time"
            }
            Self::FewerFilters => {
                "`tikkun jobs list` without filters shows what is there, `tikkun enqueue FUNCTION` adds a job"
            }
            Self::ListDeletions => {
                "`tikkun top` shows the deletions, `tikkun jobs list` the queues; `--data FOLDER` looks elsewhere"
            }
            Self::ByTheApplication => "change it where it was made, in the application",
            Self::ListOutbox => "`tikkun outbox list` shows what is there and why it stays",
            Self::Doctor => {
                "`tikkun doctor` says what does not answer and what to do; jobs wait and go on by themselves"
            }
            Self::Again => "the same command once more; if it stays, `tikkun doctor`",
            Self::CheckSettings => {
                "`tikkun config` shows what is meant and where it was set, `tikkun selftest` tries it step by step"
            }
            Self::CheckData => {
                "`--data FOLDER` names the service's data folder, where this user must be able to read and write; `tikkun \
                 serve` makes what is missing there, `tikkun doctor` looks closer"
            }
            Self::CheckDatabase => {
                "`tikkun config` shows which database is meant; `tikkun migrate` makes the tables of Tikkun in it, and \
                 `tikkun migrate --with-application-tables` an empty trial database"
            }
            Self::ReadReference => {
                "`tikkun config --reference` explains every key; `tikkun config` shows what is in force once it can be read"
            }
            Self::GiveUrl => {
                "`--url http://HOST:PORT` says where the service is; its log names the address at the start"
            }
            Self::StartService => {
                "`tikkun serve` starts it; `--url http://HOST:PORT` names another place; `tikkun doctor` looks without it"
            }
            Self::LookAtHealth => {
                "`tikkun doctor` says what is wrong; `tikkun health --json` shows the whole answer"
            }
            Self::GiveSecret => {
                "`INTERNAL_SECRET=… tikkun …` with the secret of the service, or `tikkun doctor`, which needs none"
            }
            Self::CorrectSecret => {
                "set INTERNAL_SECRET to the secret of the service; `tikkun config` shows where the one in use came from"
            }
            Self::AskAWindow => {
                "`--url` of a process with SERVICE_ROLE `all` or `api`; `tikkun doctor` works beside every role"
            }
            Self::SameVersion => {
                "compare `tikkun --version` with that of the service; `tikkun top --json` shows the answer"
            }
            Self::NoTerminal => {
                "`tikkun top --once` prints one frame; `tikkun health --json` and `tikkun jobs list` are for programs"
            }
            Self::OtherPort => {
                "`tikkun serve --port N` with a free one (0 takes any), or end what has it: `ss -ltnp` names it"
            }
            Self::CheckSystem => {
                "limits and permissions of this user; `tikkun selftest` tries everything step by step"
            }
            Self::RenameKind => "give one of the two another name",
            Self::OtherTemporary => {
                "`TMPDIR=FOLDER tikkun demo` with a folder that has room and may be written to"
            }
            Self::ReportDemo => "`tikkun demo --keep` leaves the data for a look; its log says what it did",
        };
        f.write_str(text)
    }
}
