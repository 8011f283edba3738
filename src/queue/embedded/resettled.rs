//! Settlements that are repeated because their answer was lost: they took effect the first time, and get the
//! answer of that time.

use serde::Serialize;

use crate::job::JobState;

use super::database::Database;
use super::row::batch;
use crate::queue::delivery::{Disposition, Settled, Settlement};

/// The mark in the row of a waiting job that identifies its last settlement.
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
        "SELECT job.id IS NULL,
                coalesce(job.settled = given.value ->> 'mark', 0)
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
}
