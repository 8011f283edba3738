//! What became of each job that a command was to change.

use serde_json::{Value, json};

use super::super::advice::Advice;
use super::super::ending::{Complaint, hint};
use super::super::{FAILED, page};
use crate::operations::Refusal;

/// Collects the answers; a single job that was named is answered alone, several as a list.
pub(super) struct Told {
    json: bool,
    single: bool,
    answers: Vec<Value>,
    left: usize,
    hints: Vec<Advice>,
}

impl Told {
    /// For a command about one named job (`single`) or about several.
    pub(super) fn new(json: bool, single: bool) -> Self {
        Self { json, single, answers: Vec::new(), left: 0, hints: Vec::new() }
    }

    /// It was changed; `facts` is what programs read, `text` what people read.
    pub(super) fn done(&mut self, facts: Value, text: &str) {
        if self.json {
            self.answers.push(facts);
        } else {
            page::line(text);
        }
    }

    /// It was left as it is; what to do next is said at the end, the same only once.
    pub(super) fn left(&mut self, id: &str, why: Complaint) {
        self.left += 1;
        let Some((why, next)) = why.parts() else { return };
        eprintln!("tikkun: {}", page::safe(&why));
        if !self.single {
            self.answers.push(json!({ "id": id, "error": why }));
        }
        if !self.hints.contains(&next) {
            self.hints.push(next);
        }
    }

    /// It was refused, and the others may still be changed; without the back end none can.
    pub(super) fn refused(&mut self, id: &str, refusal: Refusal) -> Result<(), Complaint> {
        if let Refusal::Unavailable { fault, .. } = refusal {
            return Err(fault.into());
        }
        self.left(id, refusal.into());
        Ok(())
    }

    /// The end: a complaint when any was left as it was.
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
