//! Reports what happened to each job that a command should change.

use serde_json::{Value, json};

use super::super::advice::Advice;
use super::super::ending::{Complaint, hint};
use super::super::{FAILED, page};
use crate::operations::Refusal;

/// Collects the results: one object for a single given id, else a list.
pub(super) struct Told {
    json: bool,
    single: bool,
    answers: Vec<Value>,
    left: usize,
    hints: Vec<Advice>,
}

impl Told {
    /// `single`: the command is about one given job.
    pub(super) fn new(json: bool, single: bool) -> Self {
        Self { json, single, answers: Vec::new(), left: 0, hints: Vec::new() }
    }

    /// Reports a changed job: `facts` as JSON or `text`.
    pub(super) fn done(&mut self, facts: Value, text: &str) {
        if self.json {
            self.answers.push(facts);
        } else {
            page::line(text);
        }
    }

    /// Reports a job that was left unchanged. Each hint is printed once, at the end.
    pub(super) fn left(&mut self, id: &str, why: Complaint) {
        self.left += 1;
        let Some((why, next)) = why.parts() else { return };
        page::note(&why);
        if !self.single {
            self.answers.push(json!({ "id": id, "error": why }));
        }
        if !self.hints.contains(&next) {
            self.hints.push(next);
        }
    }

    /// Reports a refusal; the other jobs may still be changed. An unavailable back end ends the command.
    pub(super) fn refused(&mut self, id: &str, refusal: Refusal) -> Result<(), Complaint> {
        if let Refusal::Unavailable { fault, .. } = refusal {
            return Err(fault.into());
        }
        self.left(id, refusal.into());
        Ok(())
    }

    /// Prints the hints and the JSON; an error if any job was left unchanged.
    pub(super) fn end(mut self) -> Result<(), Complaint> {
        self.hints.iter().for_each(hint);
        if self.json && !self.single {
            page::json(&Value::Array(self.answers));
        } else if self.json
            && let Some(answer) = self.answers.pop()
        {
            page::json(&answer);
        }
        if self.left > 0 { Err(Complaint::said(FAILED)) } else { Ok(()) }
    }
}
