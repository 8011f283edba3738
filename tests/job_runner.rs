//! How a runner handles each way in which a job can end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use actix::{Actor, Addr};
use serde_json::{Value, json};
use tikkun::job::{
    Args, ArgsError, Callback, Callbacks, Completion, Job, JobChanges, JobContext, JobError, JobRecord,
    JobResult, JobSettings, Limit, NewJob, OrphanPolicy, Progress, QueueEnd, Registry, Retries, RetryAsked,
    RetryPolicy, Verbatim,
};
use tikkun::queue::{Delivery, Disposition, Settlement};
use tikkun::worker::{Blamed, EndLost, Fence, JobRunner, Loss, RunJob, Running, StopForDrain};
use tokio::sync::Semaphore;
use tracing::Span;

const DEADLINE: Duration = Duration::from_secs(20);
/// Longer than any test waits: a job that ends after it was not stopped.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// Returns its argument.
struct Echo;
impl Job for Echo {
    const NAME: &'static str = "tests.echo";
    type Args = (Value,);
    async fn run(&self, (value,): (Value,), ctx: &JobContext) -> JobResult {
        ctx.report(Progress { total: 1, processed: 1, succeeded: 1, failed: 0 });
        Ok(Completion::Finished(value))
    }
}

/// Panics while it works.
struct Panics;
impl Job for Panics {
    const NAME: &'static str = "tests.panics";
    type Args = ();
    fn settings(&self) -> JobSettings {
        JobSettings { retry: RetryPolicy::exponential(1), ..JobSettings::default() }
    }
    async fn run(&self, (): (), _: &JobContext) -> JobResult {
        panic!("no such luck")
    }
}

/// Stops when it is asked to, and checkpoints.
struct Polite;
impl Job for Polite {
    const NAME: &'static str = "tests.polite";
    type Args = ();
    async fn run(&self, (): (), ctx: &JobContext) -> JobResult {
        match ctx.sleep(FOR_EVER).await {
            Err(_) => Ok(Completion::Continue(QueueEnd::Tail)),
            Ok(()) => Ok(Completion::done()),
        }
    }
}

/// Never looks whether it should stop.
struct Deaf;
impl Job for Deaf {
    const NAME: &'static str = "tests.deaf";
    type Args = ();
    async fn run(&self, (): (), _: &JobContext) -> JobResult {
        tokio::time::sleep(FOR_EVER).await;
        Ok(Completion::done())
    }
}

/// As deaf, and what it holds panics when it is dropped.
struct Bomb;
impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("in a destructor")
    }
}
impl Job for Bomb {
    const NAME: &'static str = "tests.bomb";
    type Args = ();
    fn settings(&self) -> JobSettings {
        JobSettings { orphan: OrphanPolicy::RunAgain { at_most: 9 }, ..JobSettings::default() }
    }
    async fn run(&self, (): (), ctx: &JobContext) -> JobResult {
        let _bomb = Bomb;
        Deaf.run((), ctx).await
    }
}

/// Fails, and never ends what it does then.
struct Lingers;
impl Job for Lingers {
    const NAME: &'static str = "tests.lingers";
    type Args = ();
    fn settings(&self) -> JobSettings {
        JobSettings { failed_timeout: Duration::from_millis(50), ..JobSettings::default() }
    }
    async fn run(&self, (): (), _: &JobContext) -> JobResult {
        Err(JobError::permanent("it cannot be"))
    }
    async fn failed(&self, (): (), _: &JobError, _: &JobContext) {
        std::future::pending().await
    }
}

/// Cannot even say how it wants to be treated.
struct Unsettled;
impl Job for Unsettled {
    const NAME: &'static str = "tests.unsettled";
    type Args = ();
    fn settings(&self) -> JobSettings {
        panic!("no settings")
    }
    async fn run(&self, (): (), _: &JobContext) -> JobResult {
        Ok(Completion::done())
    }
}

/// As deaf, but what it has done is not lost.
struct Resuming;
impl Job for Resuming {
    const NAME: &'static str = "tests.resuming";
    type Args = ();
    fn settings(&self) -> JobSettings {
        JobSettings { orphan: OrphanPolicy::RunAgain { at_most: 1 }, ..JobSettings::default() }
    }
    async fn run(&self, (): (), ctx: &JobContext) -> JobResult {
        Deaf.run((), ctx).await
    }
}

/// Waits for something out of its hands, for longer than its own time limit.
struct Patient;
impl Job for Patient {
    const NAME: &'static str = "tests.patient";
    type Args = ();
    fn settings(&self) -> JobSettings {
        JobSettings { timeout: Limit::After(Duration::from_secs(1)), ..JobSettings::default() }
    }
    async fn run(&self, (): (), ctx: &JobContext) -> JobResult {
        ctx.without_clock(tokio::time::sleep(Duration::from_millis(1500))).await;
        Ok(Completion::done())
    }
}

/// Is in another language, and ends as it is told.
struct Foreign;
impl Job for Foreign {
    const NAME: &'static str = "tests.foreign";
    type Args = (String,);
    async fn run(&self, (end,): (String,), _: &JobContext) -> JobResult {
        let changes = JobChanges {
            result_ttl: Some(Limit::Never),
            failure_ttl: Some(Limit::Never),
            retries_left: Some(1),
            ..JobChanges::default()
        };
        let words = |payload, traceback| Verbatim { payload, traceback, changes, ..Verbatim::default() };
        match &*end {
            "finished" => Ok(Completion::in_own_words(None, words(Some(vec![1, 2, 3]), None))),
            "retry" => Ok(Completion::in_own_words(Some(RetryAsked::at_most(2)), words(Some(vec![4]), None))),
            text => Err(JobError::in_own_words(words(None, Some(text.to_owned())))),
        }
    }
}

/// Fails for good, and hears of it.
struct Hopeless(Arc<AtomicU32>);
impl Job for Hopeless {
    const NAME: &'static str = "tests.hopeless";
    type Args = ();
    async fn run(&self, (): (), _: &JobContext) -> JobResult {
        Err(JobError::permanent("it cannot be"))
    }
    async fn failed(&self, (): (), error: &JobError, _: &JobContext) {
        assert_eq!(error.message, "it cannot be");
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

type Calls = Arc<parking_lot::Mutex<Vec<(String, Value)>>>;

/// A callback that notes how it was called.
struct Called(Calls);
impl Job for Called {
    const NAME: &'static str = "tests.called";
    type Args = (String, Value);
    async fn run(&self, call: (String, Value), _: &JobContext) -> JobResult {
        self.0.lock().push(call);
        Ok(Completion::done())
    }
}

/// A callback that fails, whatever it is called with.
struct Objects;
impl Job for Objects {
    const NAME: &'static str = "tests.objects";
    type Args = (String, Value);
    async fn run(&self, _: (String, Value), _: &JobContext) -> JobResult {
        Err(JobError::retryable("it objects"))
    }
}

/// A job whose enqueuer named functions for its end; an empty name is none.
fn calling(job: JobRecord, success: &str, failure: &str, stopped: &str) -> JobRecord {
    let callback = |name: &str| {
        let timeout = Duration::from_secs(1);
        (!name.is_empty()).then(|| Callback { function: name.into(), timeout })
    };
    let callbacks =
        Callbacks { success: callback(success), failure: callback(failure), stopped: callback(stopped) };
    JobRecord { callbacks, ..job }
}

struct Bench {
    runner: Addr<JobRunner>,
    running: Running,
    told: Arc<AtomicU32>,
    calls: Calls,
}

fn bench() -> Bench {
    bench_behind(Fence::default())
}

fn bench_behind(fence: Fence) -> Bench {
    let told = Arc::new(AtomicU32::new(0));
    let calls = Calls::default();
    let hopeless = Hopeless(Arc::clone(&told));
    let registry =
        Registry::default().with(Echo).with(Panics).with(Polite).with(Deaf).with(Patient).with(hopeless);
    let registry = registry.with(Foreign).with(Resuming).with(Called(Arc::clone(&calls))).with(Objects);
    let running = Running::default();
    let runner =
        JobRunner::new(Arc::new(registry), Duration::from_millis(100), running.clone()).behind(fence).start();
    Bench { runner, running, told, calls }
}

fn record(kind: &str, args: &[Value]) -> JobRecord {
    JobRecord::of(NewJob::new("j", "q", kind, Args::positional(args.iter().cloned())), chrono::Utc::now())
}

impl Bench {
    async fn run(&self, job: JobRecord) -> Disposition {
        self.end_of(job).await.verdict
    }

    async fn end_of(&self, job: JobRecord) -> Settlement {
        let delivery = Arc::new(Delivery { job, execution: "e".into(), hash: None });
        let ended =
            tokio::time::timeout(DEADLINE, self.runner.send(RunJob { delivery, span: Span::none() })).await;
        ended.expect("waited for the job to end").unwrap()
    }

    /// Asks it to drain as soon as the job is in hand.
    async fn run_until_drained(&self, job: JobRecord) -> Disposition {
        let stop = async {
            self.busy().await;
            self.runner.send(StopForDrain).await.unwrap();
        };
        futures::join!(self.run(job), stop).0
    }

    /// Waits until the runner has a job in hand.
    async fn busy(&self) {
        let busy = async {
            while self.running.list().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, busy).await.expect("waited for a job to be in hand");
    }
}

fn buried(verdict: Disposition) -> String {
    match verdict {
        Disposition::Discard { error, .. } => error,
        other => panic!("expected a burial, got {other:?}"),
    }
}

#[actix_rt::test]
async fn code_in_another_language_ends_in_its_own_words_and_by_what_it_changed() {
    let bench = bench();
    let job = |end: &str| calling(record("tests.foreign", &[json!(end)]), "tests.called", "tests.called", "");
    let ended = bench.end_of(job("finished")).await;
    assert!(matches!(ended.verdict, Disposition::Ack { keep: Limit::Never, .. }), "{ended:?}");
    assert_eq!(ended.verbatim.unwrap().payload, Some(vec![1, 2, 3]));
    let ended = bench.end_of(job("Traceback\nValueError: no\n")).await;
    let verdict = Disposition::RetryAt { delay: Duration::ZERO, error: "ValueError: no".into() };
    assert_eq!(ended.verdict, verdict, "it gave itself a retry");
    assert_eq!(ended.verbatim.unwrap().traceback.as_deref(), Some("Traceback\nValueError: no\n"));
    let again = bench.end_of(job("retry")).await;
    let verdict =
        Disposition::RunAgain { delay: Duration::ZERO, asked: RetryAsked::at_most(2), keep: Limit::Never };
    assert_eq!((again.verdict, again.verbatim.unwrap().payload.clone()), (verdict, Some(vec![4])));
    let last = bench.end_of(JobRecord { retries_asked: 2, ..job("retry") }).await;
    assert!(matches!(last.verdict, Disposition::Exhaust { keep: Limit::Never, .. }), "{last:?}");
    assert_eq!(*bench.calls.lock(), [], "it has called its callbacks itself");
    assert_eq!(last.remark, None);
}

#[actix_rt::test]
async fn a_result_is_kept_as_long_as_the_job_says() {
    let job = JobRecord { result_ttl: Some(Limit::Never), ..record("echo", &[json!({"a": [1]})]) };
    let verdict = bench().run(job).await;
    assert_eq!(verdict, Disposition::Ack { result: json!({"a": [1]}), keep: Limit::Never });
}

#[actix_rt::test]
async fn panicking_job_leaves_the_runner_alive() {
    let bench = bench();
    match bench.run(record("tests.panics", &[])).await {
        Disposition::RetryAt { error, delay } => {
            assert!(error.contains("no such luck") && error.contains("tests/job_runner.rs:"), "{error}");
            assert!(delay > Duration::ZERO);
        }
        other => panic!("expected a retry, got {other:?}"),
    }
    let again = JobRecord { failures: 1, ..record("tests.panics", &[]) };
    assert!(buried(bench.run(again).await).contains("no such luck"));
    assert!(matches!(bench.run(record("tests.echo", &[json!(1)])).await, Disposition::Ack { .. }));
    assert!(bench.running.list().is_empty(), "nothing is in hand any more");
}

#[actix_rt::test]
async fn unknown_function_fails_with_a_list_of_what_is_registered() {
    let job = JobRecord {
        retries: Some(Retries { left: 5, intervals: vec![] }),
        ..record("server.jobs.nobody", &[])
    };
    let error = buried(bench().run(job).await);
    assert!(error.contains("`server.jobs.nobody`") && error.contains("tests.deaf, tests.echo"), "{error}");
}

#[actix_rt::test]
async fn arguments_that_cannot_be_read_fail_with_what_was_expected() {
    let bench = bench();
    let error = buried(bench.run(record("tests.echo", &[json!(1), json!(2)])).await);
    assert!(error.contains("(1, 2)") && error.contains("registered: "), "{error}");
    let garbled = Err(ArgsError::undecodable("\\x80\\x05…", "it is cut off"));
    let error = buried(bench.run(JobRecord { args: garbled, ..record("tests.echo", &[]) }).await);
    assert!(error.contains("it is cut off"), "{error}");
}

#[actix_rt::test]
async fn job_that_ignores_its_timeout_is_dropped_and_fails_in_rqs_words() {
    let timeout = Some(Limit::After(Duration::from_secs(1)));
    let error = buried(bench().run(JobRecord { timeout, ..record("tests.deaf", &[]) }).await);
    assert_eq!(error, "Task exceeded maximum timeout value (1 seconds)");
}

#[actix_rt::test]
async fn polite_job_that_ran_out_of_time_has_failed_all_the_same() {
    let timeout = Some(Limit::After(Duration::from_millis(50)));
    let error = buried(bench().run(JobRecord { timeout, ..record("tests.polite", &[]) }).await);
    assert!(error.contains("exceeded maximum timeout"), "{error}");
}

#[actix_rt::test]
async fn waiting_for_an_outage_is_not_counted_as_time() {
    assert!(matches!(bench().run(record("tests.patient", &[])).await, Disposition::Ack { .. }));
}

#[actix_rt::test]
async fn drain_lets_a_polite_job_checkpoint_and_gives_back_one_that_can_resume() {
    for (kind, end) in [("tests.polite", QueueEnd::Tail), ("tests.resuming", QueueEnd::Head)] {
        assert_eq!(
            bench().run_until_drained(record(kind, &[])).await,
            Disposition::Release { end },
            "{kind}"
        );
    }
}

#[actix_rt::test]
async fn drain_cuts_a_deaf_job_off_as_a_failed_attempt_when_its_grace_is_over() {
    let error = buried(bench().run_until_drained(record("tests.deaf", &[])).await);
    let words = "its process had to leave, and the job did not end within the 100ms that it was left";
    assert_eq!(error, words);
    let retries = Some(Retries { left: 1, intervals: Vec::new() });
    let job = JobRecord { retries, ..record("tests.deaf", &[]) };
    let verdict = bench().run_until_drained(job).await;
    assert_eq!(verdict, Disposition::RetryAt { delay: Duration::ZERO, error: words.into() });
}

#[actix_rt::test]
async fn job_that_comes_during_a_drain_is_asked_to_stop_at_once() {
    let bench = bench();
    bench.runner.send(StopForDrain).await.unwrap();
    assert_eq!(bench.run(record("tests.polite", &[])).await, Disposition::Release { end: QueueEnd::Tail });
}

#[actix_rt::test]
async fn kind_hears_once_that_its_job_has_failed_for_good() {
    let bench = bench();
    assert_eq!(buried(bench.run(record("tests.hopeless", &[])).await), "it cannot be");
    assert_eq!(bench.told.load(Ordering::SeqCst), 1);
}

#[actix_rt::test]
async fn behind_a_fallen_fence_no_job_begins_and_no_kind_is_told() {
    let fence = Fence::default();
    let bench = bench_behind(fence.clone());
    fence.fall(Blamed::new());
    for kind in ["tests.echo", "tests.hopeless"] {
        assert_eq!(
            bench.run(record(kind, &[])).await,
            Disposition::Release { end: QueueEnd::Head },
            "{kind}"
        );
    }
    assert_eq!(bench.told.load(Ordering::SeqCst), 0);
}

#[actix_rt::test]
async fn fence_that_falls_under_a_job_takes_its_next_turn_away() {
    let fence = Fence::default();
    let bench = bench_behind(fence.clone());
    let fall = async {
        bench.busy().await;
        fence.fall(Blamed::new());
        bench.runner.send(StopForDrain).await.unwrap();
    };
    let (verdict, ()) = futures::join!(bench.run(record("tests.polite", &[])), fall);
    assert_eq!(
        verdict,
        Disposition::Release { end: QueueEnd::Head },
        "not the tail, where the job itself goes"
    );
}

#[actix_rt::test]
async fn a_destructor_that_panics_in_a_job_out_of_time_harms_nobody_else() {
    let registry = Registry::default().with(Bomb).with(Echo);
    let runner = JobRunner::new(Arc::new(registry), Duration::ZERO, Running::default()).start();
    let run = async |job| {
        let delivery = Arc::new(Delivery { job, execution: "e".into(), hash: None });
        let ended = runner.send(RunJob { delivery, span: Span::none() });
        tokio::time::timeout(DEADLINE, ended).await.expect("waited for an end").unwrap().verdict
    };
    let timeout = Some(Limit::After(Duration::from_millis(50)));
    let error = buried(run(JobRecord { timeout, ..record("tests.bomb", &[]) }).await);
    assert!(error.contains("exceeded maximum timeout"), "{error}");
    assert!(matches!(run(record("tests.echo", &[json!(1)])).await, Disposition::Ack { .. }));
}

#[actix_rt::test]
async fn a_kind_that_panics_before_its_job_begins_fails_that_job() {
    let registry = Registry::default().with(Unsettled);
    let runner = JobRunner::new(Arc::new(registry), Duration::ZERO, Running::default()).start();
    let delivery =
        Arc::new(Delivery { job: record("tests.unsettled", &[]), execution: "e".into(), hash: None });
    let ended = runner.send(RunJob { delivery, span: Span::none() }).await.unwrap();
    let error = buried(ended.verdict);
    assert!(error.contains("panicked before it began") && error.contains("no settings"), "{error}");
}

#[actix_rt::test]
async fn a_kind_has_its_time_and_no_more_for_what_it_does_after_a_failure() {
    let registry = Registry::default().with(Lingers);
    let runner = JobRunner::new(Arc::new(registry), Duration::ZERO, Running::default()).start();
    let delivery =
        Arc::new(Delivery { job: record("tests.lingers", &[]), execution: "e".into(), hash: None });
    let ended = runner.send(RunJob { delivery, span: Span::none() });
    let ended = tokio::time::timeout(DEADLINE, ended).await.expect("waited for an end").unwrap();
    assert_eq!(buried(ended.verdict), "it cannot be");
}

#[actix_rt::test]
async fn a_job_that_lost_its_runner_ends_as_if_its_process_had_died() {
    let bench = bench();
    let lost = async |job: JobRecord| {
        let (delivery, loss) = (Arc::new(Delivery { job, execution: "e".into(), hash: None }), Loss::Runner);
        let asked = EndLost { delivery, loss, tell: true, span: Span::none() };
        bench.runner.send(asked).await.unwrap().verdict
    };
    assert_eq!(lost(record("tests.resuming", &[])).await, Disposition::Rescue);
    let error = buried(lost(JobRecord { orphaned: 1, ..record("tests.resuming", &[]) }).await);
    assert!(error.contains("the runner of this job broke under it"), "{error}");
    assert!(buried(lost(record("tests.echo", &[json!(1)])).await).contains("broke under it"));
    assert!(matches!(lost(record("tests.panics", &[])).await, Disposition::RetryAt { .. }));
}

#[actix_rt::test]
async fn stuck_job_fails_by_its_policy_in_rqs_words() {
    let bench = bench();
    for (failures, retried) in [(0, true), (1, false)] {
        let job = JobRecord { failures, ..record("tests.panics", &[]) };
        let delivery = Arc::new(Delivery { job, execution: "e".into(), hash: None });
        let ended = bench
            .runner
            .send(EndLost { delivery, loss: Loss::Thread, tell: true, span: Span::none() })
            .await
            .unwrap();
        let (error, again) = match ended.verdict {
            Disposition::RetryAt { error, .. } => (error, true),
            other => (buried(other), false),
        };
        assert_eq!(again, retried);
        let words = "Task exceeded maximum timeout value (180 seconds); its code never yielded";
        assert!(error.starts_with(words), "{error}");
    }
}

#[actix_rt::test]
async fn callbacks_are_called_with_the_id_and_what_came_of_the_job() {
    let bench = bench();
    let good = calling(record("tests.echo", &[json!({ "a": 1 })]), "tests.called", "tests.objects", "");
    assert!(matches!(bench.run(good).await, Disposition::Ack { .. }));
    let bad = calling(record("tests.hopeless", &[]), "tests.objects", "tests.called", "");
    assert_eq!(buried(bench.run(bad).await), "it cannot be");
    let stranger = calling(record("tests.nobody", &[]), "", "called", "");
    assert!(buried(bench.run(stranger).await).contains("unknown function"));
    let calls = bench.calls.lock();
    assert_eq!(calls[..2], [("j".into(), json!({ "a": 1 })), ("j".into(), json!("it cannot be"))]);
    assert!(calls[2].1.as_str().unwrap().contains("tests.nobody"), "{calls:?}");
}

#[actix_rt::test]
async fn a_failure_callback_is_called_for_an_attempt_that_is_tried_again() {
    let bench = bench();
    let verdict = bench.run(calling(record("tests.panics", &[]), "", "tests.called", "")).await;
    assert!(matches!(verdict, Disposition::RetryAt { .. }), "{verdict:?}");
    assert_eq!(bench.calls.lock().len(), 1);
}

#[actix_rt::test]
async fn a_success_callback_that_fails_fails_the_job_and_is_told_to_the_other() {
    let bench = bench();
    let job = calling(record("tests.echo", &[json!(1)]), "tests.objects", "tests.called", "");
    let error = buried(bench.run(job).await);
    assert_eq!(error, "callback `tests.objects`: it objects");
    assert_eq!(*bench.calls.lock(), [("j".to_owned(), json!(error))]);
}

#[actix_rt::test]
async fn a_failure_callback_that_fails_takes_the_place_of_the_error() {
    let job = calling(record("tests.hopeless", &[]), "", "tests.objects", "");
    assert_eq!(buried(bench().run(job).await), "callback `tests.objects`: it objects");
}

#[actix_rt::test]
async fn a_callback_that_takes_too_long_has_failed() {
    let slow = Registry::default().with(Echo).with(Sleeps);
    let runner = JobRunner::new(Arc::new(slow), Duration::from_millis(100), Running::default()).start();
    let job = calling(record("tests.echo", &[json!(1)]), "tests.sleeps", "", "");
    let delivery = Arc::new(Delivery { job, execution: "e".into(), hash: None });
    let ended = tokio::time::timeout(DEADLINE, runner.send(RunJob { delivery, span: Span::none() }))
        .await
        .unwrap()
        .unwrap();
    let error = buried(ended.verdict);
    assert_eq!(error, "callback `tests.sleeps`: Task exceeded maximum timeout value (1 seconds)");
}

#[actix_rt::test]
async fn nobody_hears_of_a_stuck_job_once_what_was_called_for_it_held_a_thread_too() {
    let bench = bench();
    for (tell, calls) in [(true, 1), (false, 1)] {
        let job = calling(record("tests.hopeless", &[]), "", "tests.called", "");
        let delivery = Arc::new(Delivery { job, execution: "e".into(), hash: None });
        let ended = bench
            .runner
            .send(EndLost { delivery, loss: Loss::Thread, tell, span: Span::none() })
            .await
            .unwrap();
        assert!(buried(ended.verdict).contains("its code never yielded"));
        assert_eq!(bench.calls.lock().len(), calls, "told: {tell}");
    }
}

/// A callback that does not end, and says when it has begun.
struct Endless(Arc<Semaphore>);
impl Job for Endless {
    const NAME: &'static str = "tests.endless";
    type Args = (String, Value);
    async fn run(&self, _: (String, Value), _: &JobContext) -> JobResult {
        self.0.add_permits(1);
        std::future::pending().await
    }
}

/// Runs a job with that callback at each end, and drains: as soon as it is called or, `early`, as soon as the job
/// is in hand.
async fn drained(early: bool, job: JobRecord) -> Settlement {
    let (called, running) = (Arc::new(Semaphore::new(0)), Running::default());
    let registry = Registry::default().with(Echo).with(Deaf).with(Endless(Arc::clone(&called)));
    let runner = JobRunner::new(Arc::new(registry), Duration::from_millis(100), running.clone()).start();
    let mut job = calling(job, "tests.endless", "tests.endless", "");
    for callback in [&mut job.callbacks.success, &mut job.callbacks.failure].into_iter().flatten() {
        callback.timeout = FOR_EVER;
    }
    let delivery = Arc::new(Delivery { job, execution: "e".into(), hash: None });
    let ended = runner.send(RunJob { delivery, span: Span::none() });
    let stop = async {
        while early && running.list().is_empty() {
            tokio::task::yield_now().await;
        }
        if !early {
            called.acquire().await.unwrap().forget();
        }
        runner.send(StopForDrain).await.unwrap();
    };
    let both = tokio::time::timeout(DEADLINE, async { futures::join!(ended, stop).0 }).await;
    both.expect("waited for the job to end").unwrap()
}

#[actix_rt::test]
async fn drain_does_not_wait_for_the_callback_of_a_job_that_has_ended_well() {
    let ended = drained(false, record("tests.echo", &[json!(1)])).await;
    assert!(matches!(ended.verdict, Disposition::Ack { .. }), "{ended:?}");
    let remark = ended.remark.expect("a remark");
    assert!(remark.contains("`tests.endless`") && remark.contains("process had to leave"), "{remark}");
}

#[actix_rt::test]
async fn drain_does_not_wait_for_the_callback_of_a_job_that_it_cut_off() {
    let ended = drained(true, record("tests.deaf", &[])).await;
    let error = buried(ended.verdict);
    assert!(error.starts_with("its process had to leave, and the job did not end"), "{error}");
    assert!(ended.remark.expect("a remark").contains("`tests.endless`"));
}

#[actix_rt::test]
async fn drain_does_not_wait_for_the_callback_of_a_job_that_ran_out_of_time() {
    let timeout = Some(Limit::After(Duration::from_millis(1)));
    let ended = drained(false, JobRecord { timeout, ..record("tests.deaf", &[]) }).await;
    assert!(buried(ended.verdict).contains("exceeded maximum timeout"));
}

/// A callback that does not end.
struct Sleeps;
impl Job for Sleeps {
    const NAME: &'static str = "tests.sleeps";
    type Args = (String, Value);
    async fn run(&self, _: (String, Value), ctx: &JobContext) -> JobResult {
        ctx.sleep(FOR_EVER).await.map_err(|reason| reason.error())?;
        Ok(Completion::done())
    }
}

#[actix_rt::test]
async fn a_callback_nobody_registered_leaves_the_end_as_it_is_and_is_noted() {
    let ended = bench().end_of(calling(record("tests.echo", &[json!(1)]), "app.thanks", "", "")).await;
    assert!(matches!(ended.verdict, Disposition::Ack { .. }), "{ended:?}");
    let remark = ended.remark.unwrap();
    assert_eq!(remark, "the callback `app.thanks` is not registered here and was not called");
    let plain = bench().end_of(record("tests.echo", &[json!(1)])).await;
    assert_eq!(plain.remark, None);
}
