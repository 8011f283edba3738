//! `tikkun.*`: jobs for testing the service, some of which misbehave on purpose.
//!
//! They are registered only if `diagnostics.enabled` is set, because anyone who may enqueue jobs could block
//! a slot with them.

use std::hint::{black_box, spin_loop};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::json;

use crate::job::exact::Exact;
use crate::job::{
    Args, ArgsError, BoxedJob, Completion, Job, JobContext, JobError, JobResult, JobSettings, Progress,
    QueueEnd, Registry, RetryAsked, StopReason,
};

/// The steps of a sleep, each of which is reported as progress.
const SLEEP_STEPS: u32 = 20;

/// Registers all of them.
pub(super) fn register(registry: Registry) -> Registry {
    registry.with(Noop).with_boxed(Arc::new(Echo)).with(Sleep).with(Fail).with(Again).with(Panic).with(Spin)
}

/// Does nothing, successfully.
struct Noop;

impl Job for Noop {
    const NAME: &'static str = "tikkun.noop";
    type Args = ();

    async fn run(&self, (): (), _: &JobContext) -> JobResult {
        Ok(Completion::done())
    }
}

/// Returns its arguments unchanged: any number of them, by position and by name.
pub struct Echo;

impl Echo {
    /// The function name for enqueueing.
    pub const NAME: &'static str = "tikkun.echo";
}

impl BoxedJob for Echo {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn settings(&self) -> JobSettings {
        JobSettings::default()
    }

    fn known_as(&self, _: &Args) -> Result<Option<String>, ArgsError> {
        Ok(None)
    }

    fn run<'a>(&'a self, args: &'a Args, _: &'a JobContext) -> BoxFuture<'a, JobResult> {
        Box::pin(async move {
            // Names that look like a tag are escaped and stay names.
            let named = Exact::of_object(&args.named).map_err(JobError::permanent)?.into_value();
            Ok(Completion::Finished(json!({ "positional": args.positional, "named": named })))
        })
    }

    fn failed<'a>(&'a self, _: &'a Args, _: &'a JobError, _: &'a JobContext) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }
}

/// Sleeps, and reports its progress.
struct Sleep;

#[derive(Deserialize)]
struct SleepArgs {
    seconds: f64,
    /// Never checks whether it should stop.
    #[serde(default)]
    deaf: bool,
}

impl Job for Sleep {
    const NAME: &'static str = "tikkun.sleep";
    const PARAMETERS: &'static [&'static str] = &["seconds", "deaf"];
    type Args = SleepArgs;

    async fn run(&self, SleepArgs { seconds, deaf }: SleepArgs, ctx: &JobContext) -> JobResult {
        let whole = span(seconds)?;
        for step in 1..=SLEEP_STEPS {
            let slept = if deaf {
                tokio::time::sleep(whole / SLEEP_STEPS).await;
                Ok(())
            } else {
                ctx.sleep(whole / SLEEP_STEPS).await
            };
            match slept {
                Ok(()) => {}
                Err(StopReason::Draining) => return Ok(Completion::Continue(QueueEnd::Head)),
                Err(reason) => return Err(reason.error()),
            }
            let (total, done) = (i64::from(SLEEP_STEPS), i64::from(step));
            ctx.report(Progress { total, processed: done, succeeded: done, failed: 0 });
        }
        Ok(Completion::Finished(json!({ "slept": seconds })))
    }
}

fn span(seconds: f64) -> Result<Duration, JobError> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|error| JobError::permanent(format!("cannot take {seconds} seconds: {error}")))
}

/// Fails with a message.
struct Fail;

#[derive(Deserialize)]
struct FailArgs {
    #[serde(default)]
    message: String,
    /// Fails for good, whatever retries are left.
    #[serde(default)]
    permanent: bool,
}

impl Job for Fail {
    const NAME: &'static str = "tikkun.fail";
    const PARAMETERS: &'static [&'static str] = &["message", "permanent"];
    type Args = FailArgs;

    async fn run(&self, FailArgs { message, permanent }: FailArgs, _: &JobContext) -> JobResult {
        Err(if permanent { JobError::permanent(message) } else { JobError::retryable(message) })
    }
}

/// Asks to be run again, as an RQ function does that returns `Retry`.
struct Again;

#[derive(Deserialize)]
struct AgainArgs {
    /// So often.
    max: u32,
    /// Seconds before each.
    #[serde(default)]
    interval: Vec<f64>,
    #[serde(default)]
    at_front: bool,
    /// The attempt that ends well; none: never.
    #[serde(default)]
    until: Option<u32>,
}

impl Job for Again {
    const NAME: &'static str = "tikkun.again";
    const PARAMETERS: &'static [&'static str] = &["max", "interval", "at_front", "until"];
    type Args = AgainArgs;

    async fn run(&self, args: AgainArgs, ctx: &JobContext) -> JobResult {
        if args.until.is_some_and(|until| ctx.attempt >= until) {
            return Ok(Completion::Finished(json!({ "attempts": ctx.attempt })));
        }
        let intervals = args.interval.into_iter().map(span).collect::<Result<_, _>>()?;
        Ok(Completion::Retry(RetryAsked { max: args.max, intervals, at_front: args.at_front }))
    }
}

/// Panics with a message.
struct Panic;

#[derive(Deserialize)]
struct PanicArgs {
    #[serde(default)]
    message: String,
}

impl Job for Panic {
    const NAME: &'static str = "tikkun.panic";
    const PARAMETERS: &'static [&'static str] = &["message"];
    type Args = PanicArgs;

    #[expect(clippy::panic, reason = "this is what it is for")]
    async fn run(&self, PanicArgs { message }: PanicArgs, _: &JobContext) -> JobResult {
        panic!("{message}")
    }
}

/// Computes without ever yielding, so that it keeps its thread.
struct Spin;

#[derive(Deserialize)]
struct SpinArgs {
    /// It ends after this many seconds; `None`: never.
    #[serde(default)]
    seconds: Option<f64>,
}

impl Job for Spin {
    const NAME: &'static str = "tikkun.spin";
    const PARAMETERS: &'static [&'static str] = &["seconds"];
    type Args = SpinArgs;

    async fn run(&self, SpinArgs { seconds }: SpinArgs, _: &JobContext) -> JobResult {
        let bound = seconds.map(span).transpose()?;
        let (began, mut turns) = (Instant::now(), 0_u64);
        while bound.is_none_or(|bound| began.elapsed() < bound) {
            turns = black_box(turns.wrapping_add(1));
            spin_loop();
        }
        Ok(Completion::Finished(json!({ "turns": turns })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Rehearsal;

    async fn run(kind: &str, args: Args, alone: &Rehearsal) -> JobResult {
        let registry = register(Registry::default());
        registry.find(&kind.into()).unwrap().run(&args, &alone.context(kind)).await
    }

    fn args(positional: serde_json::Value, named: serde_json::Value) -> Args {
        serde_json::from_value(json!({ "positional": positional, "named": named })).unwrap()
    }

    #[actix_rt::test]
    async fn echo_returns_positions_and_names_together() {
        let given = args(json!([1, "ק"]), json!({ "a": null }));
        let back = run("tikkun.echo", given.clone(), &Rehearsal::new()).await;
        assert_eq!(back, Ok(Completion::Finished(serde_json::to_value(given).unwrap())));
    }

    #[actix_rt::test]
    async fn echo_keeps_what_json_cannot_hold() {
        let given =
            args(json!([{ "$tuple": [{ "$int": "99999999999999999999" }] }]), json!({ "$uuid": "x" }));
        let back = run("tikkun.echo", given.clone(), &Arc::default()).await;
        assert_eq!(
            back,
            Ok(Completion::Finished(json!({
                "positional": given.positional,
                "named": { "$dict": [["$uuid", "x"]] },
            })))
        );
    }

    #[actix_rt::test]
    async fn sleeper_tells_each_step_and_stops_when_asked() {
        let alone = Rehearsal::new();
        let slept = run("tikkun.sleep", args(json!([3600]), json!({})), &alone).await;
        assert_eq!(slept, Ok(Completion::Finished(json!({ "slept": 3600.0 }))));
        let told: Vec<_> = alone.reported().iter().map(|progress| progress.processed).collect();
        assert_eq!(told, (1..=20).collect::<Vec<_>>());
        let drained = Rehearsal::new().stop_after(Duration::ZERO, StopReason::Draining);
        let stopped = run("tikkun.sleep", args(json!([3600]), json!({})), &drained).await;
        assert_eq!(stopped, Ok(Completion::Continue(QueueEnd::Head)));
        let deaf =
            run("tikkun.sleep", args(json!([]), json!({ "seconds": 0, "deaf": true })), &drained).await;
        assert!(matches!(deaf, Ok(Completion::Finished(_))), "{deaf:?}");
    }

    #[actix_rt::test]
    async fn failures_are_as_permanent_as_asked() {
        let again = run("tikkun.fail", args(json!(["no"]), json!({})), &Rehearsal::new()).await;
        assert_eq!(again, Err(JobError::retryable("no")));
        let never = run("tikkun.fail", args(json!(["no", true]), json!({})), &Rehearsal::new()).await;
        assert_eq!(never, Err(JobError::permanent("no")));
    }

    #[actix_rt::test]
    async fn bounded_spin_ends() {
        let ended = run("tikkun.spin", args(json!([0.001]), json!({})), &Rehearsal::new()).await;
        assert!(matches!(ended, Ok(Completion::Finished(_))), "{ended:?}");
    }

    #[test]
    fn all_of_them_begin_with_the_products_name() {
        let registry = register(Registry::default());
        assert!(registry.names().all(|name| name.starts_with("tikkun.")), "{registry:?}");
    }

    #[test]
    fn time_that_cannot_pass_is_refused() {
        assert!(span(-1.0).is_err() && span(f64::NAN).is_err());
        assert_eq!(span(0.5), Ok(Duration::from_millis(500)));
    }
}
