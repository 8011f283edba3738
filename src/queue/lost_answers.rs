//! Settlements whose answer was lost: who asks again is answered as the first time, and nobody else is.

use std::collections::HashSet;

use parking_lot::Mutex;

use super::delivery::Settlement;
use crate::job::ExecutionId;

/// Executions that were asked to be settled, in calls that ended without an answer.
#[derive(Debug, Default)]
pub struct LostAnswers(Mutex<HashSet<ExecutionId>>);

/// A call that is under way. Dropped without an answer, it leaves its settlements unanswered.
#[derive(Debug)]
pub struct Asking<'a> {
    lost_answers: &'a LostAnswers,
    settlements: &'a [Settlement],
    /// Of each settlement, whether an earlier call was left without an answer.
    pub again: Vec<bool>,
    is_answered: bool,
}

impl LostAnswers {
    /// A call begins. One that is under way at the same time is another's, and no earlier one.
    pub fn ask<'a>(&'a self, settlements: &'a [Settlement]) -> Asking<'a> {
        let lost = self.0.lock();
        let again = settlements.iter().map(|one| lost.contains(&one.execution)).collect();
        drop(lost);
        Asking { lost_answers: self, settlements, again, is_answered: false }
    }
}

impl Asking<'_> {
    /// The answer has come.
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
