//! Decides when condemned objects are deleted while batches run: pure rules; the caller passes the time.
//!
//! The lane is only in memory. What it loses is still in the outbox, reserved for a minute; then the Rescuer
//! deletes it. So nothing waits here much longer than [`GATHER`].

use std::time::Duration;

use tokio::time::Instant;

use crate::job::Backoff;
use crate::store::Condemned;

/// The number of concurrent calls to the storage.
const CALLS: usize = 4;
/// The number of objects in the lane at which the next batch waits: four full calls of S3.
const OUTSTANDING: usize = 4000;
/// The longest time that an object waits for a full call; well below the outbox's reservation of a minute.
const GATHER: Duration = Duration::from_secs(10);

/// The lane of one deletion.
#[derive(Debug)]
pub(super) struct CleanUpLane {
    /// Whether objects wait until a call is full; if not, they are deleted at once.
    gather: bool,
    /// The waiting objects, the oldest first.
    gathered: Vec<Condemned>,
    /// Since when the oldest has waited.
    since: Option<Instant>,
    /// Whether to delete the objects now, even if a call is not full.
    hurry: bool,
    /// The number of running calls, and of their objects.
    calls: usize,
    calling: usize,
    /// The number of objects being returned to the outbox.
    giving_back: usize,
    /// The outage of the storage, if its last call failed.
    outage: Option<Outage>,
}

/// The storage cannot be reached.
#[derive(Debug)]
struct Outage {
    failures: u32,
    until: Instant,
    error: String,
}

/// The next step.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// Ask the storage to delete these.
    Call(Vec<Condemned>),
    /// Return these to the outbox with this error, because the storage cannot be reached.
    GiveBack(Vec<Condemned>, String),
    /// Nothing, until a call ends, objects arrive, or this time.
    Wait(Option<Instant>),
}

impl CleanUpLane {
    /// An empty lane.
    pub(super) fn new(gather: bool) -> Self {
        Self {
            gather,
            gathered: Vec::new(),
            since: None,
            hurry: false,
            calls: 0,
            calling: 0,
            giving_back: 0,
            outage: None,
        }
    }

    /// Adds the objects of a committed batch.
    pub(super) fn take_in(&mut self, condemned: Vec<Condemned>, now: Instant) {
        if !condemned.is_empty() {
            self.gathered.extend(condemned);
            self.since.get_or_insert(now);
        }
    }

    /// Deletes the gathered objects now.
    pub(super) fn hurry(&mut self) {
        self.hurry = true;
    }

    /// The next step; a call takes at most `max_keys`. During an outage only one call at a time tests the
    /// storage, after a growing pause, because all others would only delay batches.
    pub(super) fn next(&mut self, max_keys: usize, now: Instant) -> Next {
        let Some(since) = self.since else {
            self.hurry &= self.calls > 0;
            return Next::Wait(None);
        };
        if let Some(outage) = self.outage.as_ref().filter(|outage| now < outage.until || self.calls > 0) {
            let error = outage.error.clone();
            self.since = None;
            self.giving_back += self.gathered.len();
            return Next::GiveBack(std::mem::take(&mut self.gathered), error);
        }
        if self.calls >= CALLS {
            return Next::Wait(None);
        }
        let ripe = since + GATHER;
        if self.gather && !self.hurry && self.gathered.len() < max_keys && now < ripe {
            return Next::Wait(Some(ripe));
        }
        let later = self.gathered.split_off(max_keys.max(1).min(self.gathered.len()));
        let going = std::mem::replace(&mut self.gathered, later);
        self.since = (!self.gathered.is_empty()).then_some(now);
        self.calls += 1;
        self.calling += going.len();
        Next::Call(going)
    }

    /// A call for this many objects ended, with an error if the storage rejected it.
    pub(super) fn ended(&mut self, objects: usize, error: Option<String>, now: Instant) {
        self.calls = self.calls.saturating_sub(1);
        self.calling = self.calling.saturating_sub(objects);
        match error {
            Some(error) => self.out_of_reach(error, now),
            None => self.outage = None,
        }
    }

    /// This many objects were returned to the outbox.
    pub(super) fn given_back(&mut self, objects: usize) {
        self.giving_back = self.giving_back.saturating_sub(objects);
    }

    /// The storage rejected a call, or delays batches. Calls that fail together count once.
    pub(super) fn out_of_reach(&mut self, error: String, now: Instant) {
        if self.outage.as_ref().is_some_and(|outage| now < outage.until) {
            return;
        }
        let failures = self.outage.take().map_or(0, |outage| outage.failures).saturating_add(1);
        let until = now + Backoff::BATCH.plain(failures);
        self.outage = Some(Outage { failures, until, error });
    }

    /// Whether another batch may run. During an outage, hanging calls do not delay batches.
    pub(super) fn has_room(&self) -> bool {
        let waiting = self.gathered.len() + self.giving_back;
        match self.outage {
            Some(_) => waiting < OUTSTANDING,
            None => waiting + self.calling < OUTSTANDING,
        }
    }

    /// Whether the lane is empty.
    pub(super) fn is_empty(&self) -> bool {
        self.gathered.is_empty() && self.calls == 0 && self.giving_back == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(count: usize) -> Vec<Condemned> {
        (1..).take(count).map(|id| Condemned { id, key: id.to_string() }).collect()
    }

    fn called(next: Next) -> usize {
        match next {
            Next::Call(objects) => objects.len(),
            other => panic!("expected a call, got {other:?}"),
        }
    }

    #[test]
    fn without_gathering_each_batch_goes_at_once() {
        let (mut lane, now) = (CleanUpLane::new(false), Instant::now());
        assert_eq!(lane.next(1000, now), Next::Wait(None));
        for count in [83, 90] {
            lane.take_in(objects(count), now);
            assert_eq!(called(lane.next(1000, now)), count);
            assert_eq!(lane.next(1000, now), Next::Wait(None));
        }
        assert!(!lane.is_empty());
        lane.ended(83, None, now);
        lane.ended(90, None, now);
        assert!(lane.is_empty());
    }

    #[test]
    fn gathered_objects_go_when_a_call_is_full_or_they_have_waited_or_are_hurried() {
        let (mut lane, now) = (CleanUpLane::new(true), Instant::now());
        lane.take_in(objects(600), now);
        assert_eq!(lane.next(1000, now), Next::Wait(Some(now + GATHER)));
        lane.take_in(objects(600), now + Duration::from_secs(1));
        assert_eq!(called(lane.next(1000, now)), 1000);
        let later = now + GATHER + Duration::from_secs(1);
        assert_eq!(called(lane.next(1000, later)), 200);
        lane.take_in(objects(1), later);
        assert_eq!(lane.next(1000, later), Next::Wait(Some(later + GATHER)));
        lane.hurry();
        assert_eq!(called(lane.next(1000, later)), 1);
        lane.ended(1000, None, later);
        lane.ended(200, None, later);
        lane.ended(1, None, later);
        assert_eq!(lane.next(1000, later), Next::Wait(None));
        lane.take_in(objects(1), later);
        assert_eq!(lane.next(1000, later), Next::Wait(Some(later + GATHER)), "the hurry is over");
    }

    #[test]
    fn calls_and_memory_are_bounded() {
        let (mut lane, now) = (CleanUpLane::new(false), Instant::now());
        for _ in 0..CALLS {
            assert!(lane.has_room());
            lane.take_in(objects(1000), now);
            called(lane.next(1000, now));
        }
        assert!(!lane.has_room());
        lane.take_in(objects(90), now);
        assert_eq!(lane.next(1000, now), Next::Wait(None));
        lane.ended(1000, None, now);
        assert!(lane.has_room());
        assert_eq!(called(lane.next(1000, now)), 90);
    }

    #[test]
    fn during_an_outage_objects_go_back_and_one_call_at_a_time_probes() {
        let (mut lane, now) = (CleanUpLane::new(true), Instant::now());
        for _ in 0..3 {
            lane.take_in(objects(1000), now);
            called(lane.next(1000, now));
        }
        for _ in 0..3 {
            lane.ended(1000, Some("no answer".into()), now);
        }
        lane.take_in(objects(90), now);
        assert_eq!(lane.next(1000, now), Next::GiveBack(objects(90), "no answer".into()));
        assert!(!lane.is_empty());
        lane.given_back(90);
        assert!(lane.is_empty());
        // The three failures counted once: a delay of two seconds.
        let later = now + Duration::from_secs(2);
        lane.take_in(objects(1000), later);
        assert_eq!(called(lane.next(1000, later)), 1000);
        lane.take_in(objects(1000), later);
        assert!(matches!(lane.next(1000, later), Next::GiveBack(..)));
        lane.given_back(1000);
        lane.ended(1000, Some("no answer".into()), later);
        lane.take_in(objects(1000), later);
        assert!(
            matches!(lane.next(1000, later + Duration::from_secs(3)), Next::GiveBack(..)),
            "four seconds"
        );
        lane.given_back(1000);
        let later = later + Duration::from_secs(4);
        lane.take_in(objects(1000), later);
        called(lane.next(1000, later));
        lane.ended(1000, None, later);
        lane.take_in(objects(2000), later);
        assert_eq!((called(lane.next(1000, later)), called(lane.next(1000, later))), (1000, 1000));
    }

    #[test]
    fn storage_that_hangs_does_not_hold_up_rows() {
        let (mut lane, now) = (CleanUpLane::new(true), Instant::now());
        lane.take_in(objects(4000), now);
        for _ in 0..4 {
            called(lane.next(1000, now));
        }
        assert!(!lane.has_room());
        lane.out_of_reach("no answer so far".into(), now);
        assert!(lane.has_room());
        lane.take_in(objects(1000), now);
        let much_later = now + Duration::from_secs(60);
        assert!(matches!(lane.next(1000, much_later), Next::GiveBack(..)), "four calls hang still");
    }
}
