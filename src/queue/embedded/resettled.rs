//! Settlements that are repeated because their answer was lost: they took effect the first time, and get the
//! answer of that time.

use serde::Serialize;

use crate::job::JobState;

use super::database::{Database, SLACK, now};
use super::row::batch;
use crate::queue::delivery::{Disposition, Settled, Settlement};

/// For how long it is told how a delivery gave its job back, in milliseconds.
const KEPT: i64 = 600_000;

/// The mark that identifies the settlement of a job that goes on, in its row and apart from it.
pub fn mark(one: &Settlement) -> String {
    let verdict = match &one.verdict {
        Disposition::Ack { .. } => "ack",
        Disposition::RetryAt { .. } => "retry",
        Disposition::RunAgain { .. } => "again",
        Disposition::Exhaust { .. } => "exhaust",
        Disposition::Discard { .. } => "bury",
        Disposition::Stop { .. } => "stop",
        Disposition::Forward { .. } => "forward",
        Disposition::Release { .. } => "back",
        Disposition::Rescue => "rescue",
    };
    format!("{} {verdict}", one.execution)
}

/// A settlement that did not count now.
#[derive(Serialize)]
struct Refused<'a> {
    job: &'a str,
    execution: &'a str,
    mark: String,
    /// The job's state if it counted before; null if the mark alone decides.
    state: Option<&'static str>,
    stopped: bool,
}

/// Forgets settlements that nobody will ask for any more.
pub async fn forget(database: &Database) -> Result<(), sqlx::Error> {
    // A time in the future was written before the clock was set back.
    let (first, last) = (now() - KEPT, now() + SLACK);
    // Most calls find nothing, and take no lock.
    let any: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM tikkun_told WHERE told_at < ?1 OR told_at > ?2)")
            .bind(first)
            .bind(last)
            .fetch_one(database.readers())
            .await?;
    if any {
        let drop = sqlx::query("DELETE FROM tikkun_told WHERE told_at < ?1 OR told_at > ?2");
        drop.bind(first).bind(last).execute(database.writer()?).await?;
    }
    Ok(())
}

/// Corrects the answers to settlements that had counted before; `again` marks those asked for before.
pub async fn put_right(
    database: &Database,
    settlements: &[Settlement],
    again: &[bool],
    answers: &mut [Settled],
) -> Result<(), sqlx::Error> {
    // A settlement without an earlier call did not count: others ended the job.
    let again = answers.iter().zip(again).enumerate();
    let again = again.filter(|(_, (answer, again))| **answer == Settled::NotOurs && **again);
    let places: Vec<usize> = again.map(|(at, _)| at).collect();
    if places.is_empty() {
        return Ok(());
    }
    let refused: Vec<_> = places.iter().filter_map(|at| settlements.get(*at)).map(refused).collect();
    // In the order of the batch: whether the job is gone, and whether this settlement counted.
    let found: Vec<(bool, bool)> = sqlx::query_as(
        // Who took our job after us began more than its first attempt, so one without that has its id alone.
        "SELECT job.id IS NULL OR (job.attempt < 2 AND job.execution IS NOT given.value ->> 'execution'),
                coalesce(job.settled = given.value ->> 'mark', 0)
                OR EXISTS (SELECT 1 FROM tikkun_told WHERE mark = given.value ->> 'mark')
                OR coalesce(job.execution = given.value ->> 'execution' AND job.state = given.value ->> 'state'
                            AND job.stopped = given.value ->> 'stopped', 0)
         FROM json_each(?1) AS given LEFT JOIN tikkun_jobs AS job ON job.id = given.value ->> 'job'
         ORDER BY given.key",
    )
    .bind(batch(&refused)?)
    .fetch_all(database.readers())
    .await?;
    for (at, (is_gone, counted)) in places.into_iter().zip(found) {
        let was_dropped = is_gone && settlements.get(at).is_some_and(|one| one.verdict.drops());
        if let Some(answer) = answers.get_mut(at).filter(|_| counted || was_dropped) {
            *answer = Settled::Done;
        }
    }
    Ok(())
}

fn refused(one: &Settlement) -> Refused<'_> {
    let state = match &one.verdict {
        Disposition::Ack { .. } => Some(JobState::Finished.as_str()),
        Disposition::Discard { .. } | Disposition::Exhaust { .. } | Disposition::Stop { .. } => {
            Some(JobState::Failed.as_str())
        }
        _ => None,
    };
    Refused {
        job: one.job.as_str(),
        execution: one.execution.as_str(),
        mark: mark(one),
        state,
        stopped: matches!(one.verdict, Disposition::Stop { .. }),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::super::lending;
    use super::*;
    use crate::job::{Limit, QueueEnd, RetryAsked};

    fn settlement(verdict: Disposition) -> Settlement {
        Settlement {
            job: "a".into(),
            queue: "q".into(),
            execution: "e".into(),
            verdict,
            remark: None,
            verbatim: None,
        }
    }

    async fn lent(database: &Database) {
        for statement in [
            "DELETE FROM tikkun_jobs",
            "INSERT INTO tikkun_jobs (id, queue, kind, args, state, created_at, meta, execution, process)
             VALUES ('a', 'q', 'k', '{}', 'started', 0, '{}', 'e', 'p')",
        ] {
            sqlx::query(statement).execute(database.writer().unwrap()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn an_end_whose_answer_was_lost_counts_when_it_is_told_again() {
        let here = tempfile::tempdir().unwrap();
        let database = super::super::database::open(here.path()).await.unwrap();
        let (long, zero) = (Limit::Never, Limit::After(Duration::ZERO));
        let error = || "no".to_owned();
        for verdict in [
            Disposition::Ack { result: json!(1), keep: long },
            Disposition::Ack { result: json!(1), keep: zero },
            Disposition::Discard { error: error(), keep: long },
            Disposition::Stop { error: error(), keep: long },
            Disposition::RetryAt { delay: Duration::ZERO, error: error() },
            Disposition::RunAgain { delay: Duration::ZERO, asked: RetryAsked::at_most(1), keep: long },
            Disposition::Exhaust { asked: RetryAsked::at_most(1), keep: long },
            Disposition::Release { end: QueueEnd::Head },
            Disposition::Forward { queue: "other".into() },
        ] {
            lent(&database).await;
            let (one, others) = ([settlement(verdict)], [settlement(Disposition::Rescue)]);
            assert_eq!(lending::settle(&database, &one).await.unwrap(), [Settled::Done]);
            // The answer of this call was lost.
            for (told, expected) in [(&one, Settled::Done), (&others, Settled::NotOurs)] {
                let mut answers = lending::settle(&database, told).await.unwrap();
                put_right(&database, told, &[true], &mut answers).await.unwrap();
                assert_eq!(answers, [expected], "{:?} after {:?}", told[0].verdict, one[0].verdict);
            }
            let mut answers = vec![Settled::NotOurs];
            put_right(&database, &one, &[false], &mut answers).await.unwrap();
            assert_eq!(answers, [Settled::NotOurs], "others may have ended it just so");
        }
    }

    async fn run(database: &Database, statement: &'static str) {
        sqlx::query(statement).execute(database.writer().unwrap()).await.unwrap();
    }

    async fn told_again(database: &Database, one: Settlement) -> Settled {
        let mut answers = vec![Settled::NotOurs];
        put_right(database, &[one], &[true], &mut answers).await.unwrap();
        answers.remove(0)
    }

    #[tokio::test]
    async fn an_end_whose_answer_was_lost_counts_also_when_others_have_taken_and_dropped_the_job_since() {
        let here = tempfile::tempdir().unwrap();
        let database = super::super::database::open(here.path()).await.unwrap();
        let retry = || settlement(Disposition::RetryAt { delay: Duration::ZERO, error: "no".to_owned() });
        lent(&database).await;
        lending::settle(&database, &[retry()]).await.unwrap();
        run(&database, "DELETE FROM tikkun_jobs").await;
        forget(&database).await.unwrap();
        assert_eq!(told_again(&database, retry()).await, Settled::Done);
        assert_eq!(told_again(&database, settlement(Disposition::Rescue)).await, Settled::NotOurs);
        run(&database, "UPDATE tikkun_told SET told_at = told_at - 600001").await;
        forget(&database).await.unwrap();
        assert_eq!(told_again(&database, retry()).await, Settled::NotOurs, "nothing is kept for ever");
    }

    #[tokio::test]
    async fn an_end_whose_answer_was_lost_counts_also_when_its_id_was_put_in_again_since() {
        let here = tempfile::tempdir().unwrap();
        let database = super::super::database::open(here.path()).await.unwrap();
        let drops = || Disposition::Ack { result: json!(1), keep: Limit::After(Duration::ZERO) };
        for (now_there, expected) in [
            ("UPDATE tikkun_jobs SET state = 'queued', execution = NULL", Settled::Done),
            ("UPDATE tikkun_jobs SET attempt = 1, execution = 'another'", Settled::Done),
            // Ours has been rescued.
            ("UPDATE tikkun_jobs SET state = 'queued', attempt = 1", Settled::NotOurs),
            ("UPDATE tikkun_jobs SET attempt = 2, execution = 'another'", Settled::NotOurs),
        ] {
            lent(&database).await;
            run(&database, now_there).await;
            assert_eq!(told_again(&database, settlement(drops())).await, expected, "{now_there}");
        }
    }
}
