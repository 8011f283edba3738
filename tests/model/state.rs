//! One deletion, its entry in the queue and the processes that carry it out, as small as they can be.
//!
//! The decisions about attempts are the service's own rules. What its statements and scripts decide about leases,
//! settlements and batches is written down here once more, and held against the engines by [`replay`](super::replay).

use std::collections::BTreeSet;

use chrono::DateTime;
use stateright::{Model, Property};
use tikkun::job::background::{BackgroundJob, Cursor, Move, Note, Status};
use tikkun::job::{BackgroundJobId, BusinessId, Progress};
use tikkun::store::attempt::{Decision, EndStep, Tracked, Trail, decide, end_step, is_newest};
use tikkun::store::{Begin, EndAttempt};

/// Receipts, each with an attachment and its object; a batch takes one.
pub const RECEIPTS: usize = 2;
/// Places for processes.
pub const PLACES: usize = 2;

/// How often what can go wrong goes wrong.
const FREEZES: u8 = 1;
const LOST_ANSWERS: u8 = 1;

/// Who holds the entry: a place, and how many processes were there before.
pub type Holder = (usize, u8);

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub enum Entry {
    Waits,
    Lent { execution: u8, to: Holder },
    Ended { by: u8 },
}

/// What a process is doing.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub enum Phase {
    Down,
    Idle,
    Fetched {
        execution: u8,
    },
    Running {
        execution: u8,
        attempt: u32,
    },
    /// Nothing is left to delete.
    Ending {
        execution: u8,
        attempt: u32,
    },
    Settling {
        execution: u8,
    },
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub enum Lease {
    Held,
    /// It ran out, and somebody has noticed.
    Over {
        while_frozen: bool,
    },
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub struct Process {
    /// How many were started in this place before.
    pub number: u8,
    pub phase: Phase,
    pub lease: Lease,
    pub frozen: bool,
}

/// The row of the deletion, as far as the rules look at it.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub struct Row {
    pub status: Status,
    pub attempt: u32,
    pub cursor: usize,
    barren: u32,
    start: Option<usize>,
    ended: Option<Status>,
}

/// A receipt with what belongs to it.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub struct Receipt {
    pub marked: u8,
    pub attachment: bool,
    pub condemned: bool,
    pub object: bool,
}

/// What must never happen.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrong {
    /// An earlier attempt wrote beside the newest one.
    LateWrite,
    /// An end counted although the entry was not this execution's.
    EndOfAnother,
    /// A process that was well lost what it had.
    Robbed,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub struct State {
    pub entry: Entry,
    pub executions: u8,
    pub processes: [Process; PLACES],
    pub row: Row,
    pub receipts: [Receipt; RECEIPTS],
    pub canceled: bool,
    pub wrongs: BTreeSet<Wrong>,
    crashes: u8,
    freezes: u8,
    lost_answers: u8,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub enum Action {
    Fetch(usize),
    Begin(usize),
    Batch(usize),
    End(usize),
    /// It is done, and nobody hears the answer.
    EndUnheard(usize),
    Settle(usize),
    SettleUnheard(usize),
    Crash(usize),
    Start(usize),
    Freeze(usize),
    Thaw(usize),
    /// The others notice that a lease has run out.
    LeaseOver(usize),
    Renew(usize),
    Rescue,
    /// The web application cancels.
    Cancel,
    RemoveObject(usize),
    Confirm(usize),
}

/// A check of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    Fence,
    Cancel,
    Lease,
    Settlement,
    Outbox,
}

/// With all checks, or without one.
#[derive(Clone, Copy, Debug)]
pub struct Deletion {
    pub without: Option<Check>,
    /// How many processes die.
    pub crashes: u8,
}

/// How an attempt of the model begins.
pub fn begin() -> Begin {
    Begin {
        id: BackgroundJobId(1),
        queue_job: "entry".into(),
        entry_at: None,
        stale_after: std::time::Duration::from_secs(120),
        max_barren: 3,
    }
}

impl Row {
    fn tracked(&self) -> Tracked {
        let note = Note {
            attempt: self.attempt,
            barren_attempts: self.barren,
            queue_job: Some("entry".into()),
            ..Note::default()
        };
        let done = i64::try_from(self.cursor).unwrap();
        let job = BackgroundJob {
            id: BackgroundJobId(1),
            business_id: BusinessId(1),
            requested_by_user_id: None,
            job_type: String::new(),
            status: self.status,
            progress: Progress { processed: done, ..Progress::default() },
            last_error: None,
            cursor: Cursor { last_id: done, ..Cursor::default() },
            created_at: None,
            updated_at: None,
            started_at: None,
            finished_at: None,
            heartbeat_at: None,
            note,
        };
        let start = self.start.map(|start| i64::try_from(start).unwrap());
        let trail =
            Trail { start_last_id: start, start_processed: start, ended: self.ended, ..Trail::default() };
        Tracked { job, trail }
    }
}

impl State {
    pub fn first() -> Self {
        let process = Process { number: 0, phase: Phase::Idle, lease: Lease::Held, frozen: false };
        let receipt = Receipt { marked: 0, attachment: true, condemned: false, object: true };
        Self {
            entry: Entry::Waits,
            executions: 0,
            processes: [process; PLACES],
            row: Row { status: Status::Queued, attempt: 0, cursor: 0, barren: 0, start: None, ended: None },
            receipts: [receipt; RECEIPTS],
            canceled: false,
            wrongs: BTreeSet::new(),
            crashes: 0,
            freezes: 0,
            lost_answers: 0,
        }
    }

    /// Whether the process that took the entry may be dead for all that the others know.
    fn is_orphaned(&self, (place, number): Holder) -> bool {
        let process = self.processes[place];
        process.number != number || process.phase == Phase::Down || process.lease != Lease::Held
    }

    /// Nothing is under way any more.
    pub fn is_over(&self) -> bool {
        matches!(self.entry, Entry::Ended { .. })
            && !self.row.status.is_active()
            && self.receipts.iter().all(|receipt| !receipt.condemned)
    }
}

impl Deletion {
    fn lacks(self, check: Check) -> bool {
        self.without == Some(check)
    }

    fn of_process(self, state: &State, place: usize, actions: &mut Vec<Action>) {
        let process = state.processes[place];
        if process.phase == Phase::Down {
            actions.push(Action::Start(place));
            return;
        }
        if state.crashes < self.crashes {
            actions.push(Action::Crash(place));
        }
        if process.lease == Lease::Held && (process.frozen || self.lacks(Check::Lease)) {
            actions.push(Action::LeaseOver(place));
        }
        if process.frozen {
            actions.push(Action::Thaw(place));
            return;
        }
        if state.freezes < FREEZES {
            actions.push(Action::Freeze(place));
        }
        if process.lease != Lease::Held {
            actions.push(Action::Renew(place));
        }
        let may_be_unheard = state.lost_answers < LOST_ANSWERS;
        match process.phase {
            Phase::Idle if state.entry == Entry::Waits && process.lease == Lease::Held => {
                actions.push(Action::Fetch(place));
            }
            Phase::Down | Phase::Idle => {}
            Phase::Fetched { .. } => actions.push(Action::Begin(place)),
            Phase::Running { .. } => actions.push(Action::Batch(place)),
            Phase::Ending { .. } => {
                actions.push(Action::End(place));
                actions.extend(may_be_unheard.then_some(Action::EndUnheard(place)));
            }
            Phase::Settling { .. } => {
                actions.push(Action::Settle(place));
                actions.extend(may_be_unheard.then_some(Action::SettleUnheard(place)));
            }
        }
    }

    fn begin(state: &mut State, place: usize, execution: u8) {
        let row = &mut state.row;
        state.processes[place].phase = Phase::Settling { execution };
        match decide(&row.tracked(), &begin(), DateTime::UNIX_EPOCH) {
            Decision::Start { attempt, barren } => {
                (row.status, row.attempt, row.barren) = (Status::Running, attempt, barren);
                (row.start, row.ended) = (Some(row.cursor), None);
                state.processes[place].phase = Phase::Running { execution, attempt };
            }
            Decision::Poison { barren, .. } => {
                (row.status, row.barren, row.ended) = (Status::Failed, barren, Some(Status::Failed));
            }
            Decision::Refuse(_) => {}
        }
    }

    fn batch(self, state: &mut State, place: usize, (execution, attempt): (u8, u32)) {
        let row = &mut state.row;
        let runs =
            row.status == Status::Running || (row.status == Status::Cancelled && self.lacks(Check::Cancel));
        let is_ours = runs && (is_newest(attempt, row.attempt) || self.lacks(Check::Fence));
        state.processes[place].phase = match state.receipts.get_mut(row.cursor) {
            _ if !is_ours => Phase::Settling { execution },
            None => Phase::Ending { execution, attempt },
            Some(receipt) => {
                if attempt != row.attempt {
                    state.wrongs.insert(Wrong::LateWrite);
                }
                receipt.marked += 1;
                receipt.attachment = false;
                receipt.condemned = !self.lacks(Check::Outbox);
                row.cursor += 1;
                row.barren = 0;
                Phase::Running { execution, attempt }
            }
        };
    }

    fn end(self, state: &mut State, (attempt, is_heard): (u32, bool), place: usize, execution: u8) {
        let row = &mut state.row;
        let mut seen = row.tracked();
        if self.lacks(Check::Cancel) && seen.job.status == Status::Cancelled {
            seen.job.status = Status::Running;
        }
        if self.lacks(Check::Fence) {
            seen.job.note.attempt = attempt;
        }
        if end_step(&seen, attempt, &EndAttempt::Completed) == EndStep::Apply {
            if attempt != row.attempt {
                state.wrongs.insert(Wrong::LateWrite);
            }
            (row.status, row.ended) = (Status::Completed, Some(Status::Completed));
        }
        if is_heard {
            state.processes[place].phase = Phase::Settling { execution };
        }
    }

    fn settle(self, state: &mut State, execution: u8) {
        let is_ours = matches!(state.entry, Entry::Lent { execution: lent, .. } if lent == execution);
        // A settlement that is repeated changes nothing.
        let is_repeated = state.entry == Entry::Ended { by: execution };
        if is_ours || (self.lacks(Check::Settlement) && !is_repeated) {
            state.entry = Entry::Ended { by: execution };
            if !is_ours {
                state.wrongs.insert(Wrong::EndOfAnother);
            }
        }
    }

    /// Takes the entry from whoever has it.
    fn rescue(state: &mut State) {
        if let Entry::Lent { to: (place, number), .. } = state.entry {
            let process = state.processes[place];
            let was_well = process.number == number && process.lease == Lease::Over { while_frozen: false };
            if was_well && process.phase != Phase::Down {
                state.wrongs.insert(Wrong::Robbed);
            }
            state.entry = Entry::Waits;
        }
    }

    /// A process takes its next step.
    fn goes_on(self, state: &mut State, place: usize, action: Action) {
        match (state.processes[place].phase, action) {
            (Phase::Fetched { execution }, _) => Self::begin(state, place, execution),
            (Phase::Running { execution, attempt }, _) => self.batch(state, place, (execution, attempt)),
            (Phase::Ending { execution, attempt }, _) => {
                let is_heard = matches!(action, Action::End(_));
                state.lost_answers += u8::from(!is_heard);
                self.end(state, (attempt, is_heard), place, execution);
            }
            (Phase::Settling { execution }, _) => {
                let is_heard = matches!(action, Action::Settle(_));
                state.lost_answers += u8::from(!is_heard);
                self.settle(state, execution);
                if is_heard {
                    state.processes[place].phase = Phase::Idle;
                }
            }
            (Phase::Down | Phase::Idle, _) => unreachable!("{action:?}"),
        }
    }
}

impl Model for Deletion {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::first()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for place in 0..PLACES {
            self.of_process(state, place, actions);
        }
        if matches!(state.entry, Entry::Lent { to, .. } if state.is_orphaned(to)) {
            actions.push(Action::Rescue);
        }
        // The web application cancels what has not ended.
        if Move::Cancel.allowed(state.row.status, None) {
            actions.push(Action::Cancel);
        }
        for (number, receipt) in state.receipts.iter().enumerate().filter(|(_, receipt)| receipt.condemned) {
            let next = if receipt.object { Action::RemoveObject(number) } else { Action::Confirm(number) };
            actions.push(next);
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::Fetch(place) => {
                state.executions += 1;
                let (execution, number) = (state.executions, state.processes[place].number);
                state.entry = Entry::Lent { execution, to: (place, number) };
                state.processes[place].phase = Phase::Fetched { execution };
            }
            Action::Crash(place) => {
                state.crashes += 1;
                (state.processes[place].phase, state.processes[place].frozen) = (Phase::Down, false);
            }
            Action::Start(place) => {
                let number = state.processes[place].number + 1;
                state.processes[place] =
                    Process { number, phase: Phase::Idle, lease: Lease::Held, frozen: false };
            }
            Action::Freeze(place) => {
                state.freezes += 1;
                state.processes[place].frozen = true;
            }
            Action::Thaw(place) => state.processes[place].frozen = false,
            Action::LeaseOver(place) => {
                let while_frozen = state.processes[place].frozen;
                state.processes[place].lease = Lease::Over { while_frozen };
            }
            Action::Renew(place) => state.processes[place].lease = Lease::Held,
            Action::Rescue => Self::rescue(&mut state),
            Action::Cancel => (state.row.status, state.canceled) = (Status::Cancelled, true),
            Action::RemoveObject(number) => state.receipts[number].object = false,
            Action::Confirm(number) => state.receipts[number].condemned = false,
            Action::Begin(place)
            | Action::Batch(place)
            | Action::End(place)
            | Action::EndUnheard(place)
            | Action::Settle(place)
            | Action::SettleUnheard(place) => self.goes_on(&mut state, place, action),
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no receipt is marked twice", |_, state: &State| {
                state.receipts.iter().all(|receipt| receipt.marked <= 1)
            }),
            Property::always("no object is left that nothing knows of", |_, state: &State| {
                state.receipts.iter().all(|one| one.attachment || one.condemned || !one.object)
            }),
            Property::always("no object goes before its attachment", |_, state: &State| {
                state.receipts.iter().all(|one| one.object || !one.attachment)
            }),
            Property::always("what is canceled stays so", |_, state: &State| {
                !state.canceled || state.row.status == Status::Cancelled
            }),
            Property::always("completed means all of it", |_, state: &State| {
                state.row.status != Status::Completed || state.receipts.iter().all(|one| one.marked == 1)
            }),
            Property::always("no attempt writes beside the next", |_, state: &State| {
                !state.wrongs.contains(&Wrong::LateWrite)
            }),
            Property::always("only who has the entry ends it", |_, state: &State| {
                !state.wrongs.contains(&Wrong::EndOfAnother)
            }),
            Property::always("nothing is taken from who is well", |_, state: &State| {
                !state.wrongs.contains(&Wrong::Robbed)
            }),
            Property::eventually("all comes to its end", |_, state: &State| state.is_over()),
        ]
    }

    fn within_boundary(&self, state: &State) -> bool {
        // Each loss brings one more execution. Without renewals there would be no end of losses.
        state.executions <= self.crashes + FREEZES + 2
    }
}
