//! What Tikkun, a zygote and its children say to each other, as types over frames.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ending::{Death, Exit, Usage, WaitStatus};
use super::fields::Fields;
use super::frame::{Frame, FrameError, encode};
use super::hello::Hello;
use super::job_result::JobResult;
use super::preload::{Preloaded, Trial};
use super::raw_job::RawJob;

/// How a child is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// One child for each job, as RQ has it.
    Job,
    /// One child runs many jobs.
    Warm,
}

impl Mode {
    /// The word on the wire and in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Warm => "warm",
        }
    }
}

/// When a warm child leaves by itself; what is `None` is without limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ChildLimits {
    /// After so many jobs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jobs: Option<u64>,
    /// After so many seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<f64>,
    /// When its own memory has grown by so many bytes since its first job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_growth: Option<u64>,
}

impl ChildLimits {
    /// The same for one child: up to a tenth more or less, so that children that were forked together do not all
    /// leave together.
    #[must_use]
    pub fn scattered(self) -> Self {
        let factor = 0.9 + fastrand::f64() * 0.2;
        let jobs = self.jobs.map(|jobs| ((jobs as f64 * factor).round() as u64).max(1));
        Self { jobs, lifetime: self.lifetime.map(|lifetime| lifetime * factor), ..self }
    }
}

/// What Tikkun asks of a zygote.
#[derive(Clone, Debug, PartialEq)]
pub enum ToZygote {
    /// Fork a child; its socket, standard output and error travel with the first byte.
    Fork {
        /// Number of the request, repeated in the answer.
        serial: u64,
        /// How the child will be used.
        mode: Mode,
        /// When it leaves by itself.
        limits: ChildLimits,
    },
    /// Import these modules, so that children have them.
    Preload(Vec<String>),
}

impl ToZygote {
    /// The frame's bytes.
    ///
    /// # Errors
    /// A frame that would be too large.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        match self {
            Self::Fork { serial, mode, limits } => {
                let (serial, limits) = (serial.to_string(), serde_json::json!(limits).to_string());
                let fields = [serial.as_bytes(), mode.as_str().as_bytes(), limits.as_bytes()];
                // A child without limits is asked for as the protocol had it first.
                encode(1, if limits == "{}" { fields.get(..2).unwrap_or_default() } else { &fields })
            }
            Self::Preload(modules) => encode(2, &modules.iter().map(String::as_bytes).collect::<Vec<_>>()),
        }
    }
}

/// What a zygote says.
#[derive(Debug)]
pub enum FromZygote {
    /// The command has reached its worker: what was captured.
    Hello(Box<Hello>),
    /// A child was forked.
    Forked {
        /// Number of the request.
        serial: u64,
        /// The child's process id.
        pid: u32,
    },
    /// A child could not be forked.
    Unforked {
        /// Number of the request.
        serial: u64,
        /// Why, as the system has it.
        why: String,
    },
    /// A child has ended and was reaped.
    Exit {
        /// The child's process id.
        pid: u32,
        /// How it ended.
        exit: Exit,
    },
    /// The modules that it was asked to import are there, as far as they can be.
    Preloaded(Box<Preloaded>),
    /// Something that a person should know.
    Warning(String),
    /// Why this worker cannot be served; the zygote leaves.
    Refused(String),
}

impl FromZygote {
    /// Reads what a frame says.
    ///
    /// # Errors
    /// [`FrameError::NotUnderstood`] with what was expected.
    pub fn decode(frame: &Frame) -> Result<Self, FrameError> {
        let fields = Fields(frame);
        match frame.kind {
            16 => Ok(Self::Hello(Box::new(fields.json(0, "the worker that was captured")?))),
            17 => Ok(Self::Forked { serial: fields.number(0, "a serial")?, pid: fields.pid(1)? }),
            18 => {
                let status = WaitStatus::from_raw(fields.number(1, "a wait status")?);
                let usage: Usage = fields.json(2, "what the process used")?;
                Ok(Self::Exit { pid: fields.pid(0)?, exit: Exit { status, usage } })
            }
            19 => Ok(Self::Warning(fields.text(0))),
            20 => Ok(Self::Refused(fields.text(0))),
            21 => Ok(Self::Preloaded(Box::new(fields.json(0, "what came of imports")?))),
            22 => Ok(Self::Unforked { serial: fields.number(0, "a serial")?, why: fields.text(1) }),
            _ => Err(fields.wrong("HELLO, FORKED, EXIT, WARNING, REFUSED, PRELOADED or UNFORKED")),
        }
    }
}

/// Why a callback is to be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallbackReason {
    /// A person stopped the job.
    Stopped,
    /// The process that ran the job died.
    Killed,
    /// The job was found without a worker.
    Abandoned,
}

impl CallbackReason {
    fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Killed => "killed",
            Self::Abandoned => "abandoned",
        }
    }
}

/// The callback of a job that ended elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct CallbackOrder<'a> {
    /// Why it is to be run.
    pub reason: CallbackReason,
    /// The death of the process that ran the job, where there was one.
    pub death: Option<&'a Death>,
    /// The job.
    pub job: &'a RawJob<'a>,
}

/// What Tikkun asks of a child.
#[derive(Clone, Copy, Debug)]
pub enum ToChild<'a> {
    /// Run this job.
    Job(&'a RawJob<'a>),
    /// Run the callback of a job that ended elsewhere.
    Callback(&'a CallbackOrder<'a>),
    /// Whether the end of the job was written; `false` when the attempt was no longer ours.
    Settled(bool),
    /// Try to import these modules, say which must not be imported before a fork, and leave.
    Try(&'a [String]),
}

impl ToChild<'_> {
    /// The frame's bytes.
    ///
    /// # Errors
    /// A frame that would be too large.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        match self {
            Self::Job(job) => encode(32, &job.fields()),
            Self::Callback(CallbackOrder { reason, death, job }) => {
                let facts = death.map_or_else(|| "{}".to_owned(), Death::facts);
                let mut fields = vec![reason.as_str().as_bytes(), facts.as_bytes()];
                fields.extend(job.fields());
                encode(33, &fields)
            }
            Self::Settled(true) => encode(34, &[b"ok"]),
            Self::Settled(false) => encode(34, &[b"lost"]),
            Self::Try(modules) => encode(35, &modules.iter().map(String::as_bytes).collect::<Vec<_>>()),
        }
    }
}

/// A part of a job that the child has entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    /// Its name: `running`, `success callback`, `failure callback`, `exception handlers`, `webhooks`, `done`.
    pub name: String,
    /// How long it may take from now; `None` is without limit.
    pub may_take: Option<Duration>,
}

/// What a child says.
#[derive(Debug)]
pub enum FromChild {
    /// It can take a job.
    Ready {
        /// Its process id as it sees it itself.
        pid: u32,
        /// Its jobs begin as soon as they are handed over: nothing but RQ's own code runs before them.
        begins_at_once: bool,
    },
    /// It entered a part of the job.
    Phase(Phase),
    /// How the job ended.
    Result(Box<JobResult>),
    /// It leaves by itself, and why.
    Bye(String),
    /// The callback has run; the traceback if it failed.
    Called(Option<String>),
    /// Names of the modules that its last job has imported.
    Imported(Vec<String>),
    /// What came of a trial of modules.
    Tried(Trial),
}

/// The answer to a callback.
#[derive(Deserialize)]
struct CalledFacts {
    #[serde(default)]
    error: Option<String>,
}

impl FromChild {
    /// Reads what a frame says.
    ///
    /// # Errors
    /// [`FrameError::NotUnderstood`] with what was expected.
    pub fn decode(frame: Frame) -> Result<Self, FrameError> {
        let fields = Fields(&frame);
        match frame.kind {
            48 => Ok(Self::Ready { pid: fields.pid(0)?, begins_at_once: fields.text(1) == "at once" }),
            49 => {
                let seconds: f64 = fields.number(1, "seconds")?;
                let may_take = Duration::try_from_secs_f64(seconds).ok();
                Ok(Self::Phase(Phase { name: fields.text(0), may_take }))
            }
            50 => {
                let attributes = fields.json(0, "the attributes of a result")?;
                let mut fields = frame.fields.into_iter().skip(1);
                let (payload, exc_string) =
                    (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
                let mut changed = Vec::new();
                while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
                    changed.push((String::from_utf8_lossy(&name).into_owned(), value));
                }
                Ok(Self::Result(Box::new(JobResult { attributes, payload, exc_string, changed })))
            }
            51 => Ok(Self::Bye(fields.text(0))),
            52 => Ok(Self::Called(fields.json::<CalledFacts>(0, "an answer to a callback")?.error)),
            53 => Ok(Self::Imported((0..frame.fields.len()).map(|at| fields.text(at)).collect())),
            54 => Ok(Self::Tried(fields.json(0, "what came of a trial of modules")?)),
            _ => Err(fields.wrong("READY, PHASE, RESULT, BYE, CALLED, IMPORTED or TRIED")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, fields: &[&[u8]]) -> Frame {
        Frame { kind, fields: fields.iter().map(|field| field.to_vec()).collect() }
    }

    #[test]
    fn fork_and_preload_are_written_as_the_shim_reads_them() {
        let fork = ToZygote::Fork { serial: 17, mode: Mode::Warm, limits: ChildLimits::default() };
        assert_eq!(fork.encode().unwrap(), b"\x0f\0\0\0\x01\x02\0\0\x0017\x04\0\0\0warm");
        let limits = ChildLimits { jobs: Some(100), ..ChildLimits::default() };
        let fork = ToZygote::Fork { serial: 17, mode: Mode::Warm, limits }.encode().unwrap();
        assert!(fork.ends_with(br#"{"jobs":100}"#));
        let preload = ToZygote::Preload(vec!["json".to_owned()]).encode().unwrap();
        assert_eq!(preload, b"\x09\0\0\0\x02\x04\0\0\0json");
    }

    #[test]
    fn limits_differ_from_child_to_child_by_a_tenth_at_most() {
        let limits = ChildLimits { jobs: Some(1000), lifetime: Some(100.0), memory_growth: Some(7) };
        let many: Vec<_> = (0..200).map(|_| limits.scattered()).collect();
        assert!(many.iter().all(|one| (900..=1100).contains(&one.jobs.unwrap())));
        assert!(many.iter().all(|one| (90.0..=110.0).contains(&one.lifetime.unwrap())));
        assert!(many.iter().any(|one| one.jobs != many[0].jobs), "all the same");
        assert_eq!(many[0].memory_growth, Some(7));
        assert_eq!(ChildLimits { jobs: Some(1), ..limits }.scattered().jobs, Some(1));
        assert_eq!(ChildLimits::default().scattered(), ChildLimits::default());
    }

    #[test]
    fn exit_carries_status_and_usage() {
        let exit = frame(18, &[b"4711", b"139", br#"{"maxrss": 2048, "utime": 0.5, "stime": 0.25}"#]);
        let FromZygote::Exit { pid, exit } = FromZygote::decode(&exit).unwrap() else { panic!() };
        assert_eq!((pid, exit.status.signal(), exit.usage.maxrss), (4711, Some(11), 2048));
    }

    #[test]
    fn pids_that_would_mean_other_processes_are_refused() {
        for pid in ["0", "1", "-1", "4294967295", "x", ""] {
            let error = FromChild::decode(frame(48, &[pid.as_bytes()])).unwrap_err();
            assert!(error.to_string().contains("expected a process id"), "{error}");
        }
    }

    #[test]
    fn phase_without_limit_is_minus_one() {
        for (seconds, may_take) in [("-1", None), ("2.5", Some(Duration::from_millis(2500))), ("nan", None)] {
            let phase = FromChild::decode(frame(49, &[b"running", seconds.as_bytes()])).unwrap();
            let FromChild::Phase(phase) = phase else { panic!() };
            assert_eq!((phase.name.as_str(), phase.may_take), ("running", may_take));
        }
    }

    #[test]
    fn result_keeps_its_bytes_as_they_are() {
        let said = frame(
            50,
            &[
                br#"{"outcome": "failed", "serializable": true, "none": false}"#,
                b"\x80\xff",
                b"tb\xed\xb3",
                b"meta",
                b"\x80\x04",
            ],
        );
        let FromChild::Result(result) = FromChild::decode(said).unwrap() else { panic!() };
        assert_eq!(
            (result.payload.as_slice(), result.exc_string.as_slice()),
            (&b"\x80\xff"[..], &b"tb\xed\xb3"[..])
        );
        assert_eq!(result.changed, [("meta".to_owned(), b"\x80\x04".to_vec())]);
    }

    #[test]
    fn unknown_kind_says_what_was_expected() {
        let error = FromChild::decode(frame(99, &[])).unwrap_err().to_string();
        assert_eq!(
            error,
            "a frame of kind 99 is not understood: expected READY, PHASE, RESULT, BYE, CALLED, IMPORTED or TRIED"
        );
    }

    #[test]
    fn what_came_of_imports_is_read_with_what_they_brought() {
        let said = br#"{"loaded": ["a"], "failed": {"b": "no"}, "threads": ["t"], "connections": [], "libraries": {}}"#;
        let FromZygote::Preloaded(told) = FromZygote::decode(&frame(21, &[said])).unwrap() else { panic!() };
        assert_eq!((told.loaded.as_slice(), told.failed["b"].as_str()), (&["a".to_owned()][..], "no"));
        assert_eq!(told.hazards.names(), ["t"]);
        let FromChild::Imported(names) = FromChild::decode(frame(53, &[b"a", b"a.b"])).unwrap() else {
            panic!()
        };
        assert_eq!(names, ["a", "a.b"]);
        let said = frame(54, &[br#"{"left_out": {"b": "no"}, "all": false}"#]);
        let FromChild::Tried(trial) = FromChild::decode(said).unwrap() else { panic!() };
        assert!(!trial.is_whole && trial.left_out["b"] == "no");
        let asked = ToChild::Try(&["json".to_owned()]).encode().unwrap();
        assert_eq!(asked, b"\x09\0\0\0\x23\x04\0\0\0json");
    }

    #[test]
    fn callback_without_a_death_has_empty_facts() {
        let job = RawJob {
            id: "a".to_owned(),
            hash: vec![(b"data".to_vec(), vec![0])].into(),
            ..RawJob::default()
        };
        let order = CallbackOrder { reason: CallbackReason::Stopped, death: None, job: &job };
        let said = ToChild::Callback(&order);
        let expected = encode(33, &[b"stopped", b"{}", b"a", b"", b"", b"", b"data", b"\0"]).unwrap();
        assert_eq!(said.encode().unwrap(), expected);
    }
}
