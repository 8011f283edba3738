//! Settlements whose answer was lost: only a repeated request gets the answer of the first one.

use std::collections::HashSet;

use parking_lot::Mutex;

use super::delivery::Settlement;
use crate::job::ExecutionId;

/// Executions whose settlement was requested in calls that ended without an answer.
#[derive(Debug, Default)]
pub struct LostAnswers(Mutex<HashSet<ExecutionId>>);

/// A running call. If dropped without an answer, its settlements count as unanswered.
#[derive(Debug)]
pub struct Asking<'a> {
    lost_answers: &'a LostAnswers,
    settlements: &'a [Settlement],
    /// For each settlement, whether an earlier call got no answer.
    pub again: Vec<bool>,
    is_answered: bool,
}

impl LostAnswers {
    /// Begins a call. A concurrent call does not count as an earlier one.
    pub fn ask<'a>(&'a self, settlements: &'a [Settlement]) -> Asking<'a> {
        let lost = self.0.lock();
        let again = settlements.iter().map(|one| lost.contains(&one.execution)).collect();
        drop(lost);
        Asking { lost_answers: self, settlements, again, is_answered: false }
    }
}

impl Asking<'_> {
    /// The answer was received.
    pub fn answered(mut self) {
        self.is_answered = true;
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let mut lost = self.lost_answers.0.lock();
        for one in self.settlements {
            if self.is_answered {
                lost.remove(&one.execution);
            } else {
                lost.insert(one.execution.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Disposition;

    #[test]
    fn only_a_call_that_ended_without_an_answer_is_an_earlier_one() {
        let one = Settlement {
            job: "a".into(),
            queue: "q".into(),
            execution: "e".into(),
            verdict: Disposition::Rescue,
            remark: None,
            verbatim: None,
        };
        let (lost, one) = (LostAnswers::default(), [one]);
        let (first, beside) = (lost.ask(&one), lost.ask(&one));
        assert_eq!((&first.again, &beside.again), (&vec![false], &vec![false]), "both are under way");
        drop(first);
        let again = lost.ask(&one);
        assert_eq!(again.again, [true]);
        again.answered();
        assert_eq!(lost.ask(&one).again, [false]);
    }
}
