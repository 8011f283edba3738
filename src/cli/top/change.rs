//! Changes that a user can request.

use std::fmt;

use super::super::page;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// `true` pauses, `false` resumes.
    pub pause: bool,
    pub target: Target,
}

/// What can be paused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A queue.
    Queue(String),
    /// A deletion.
    Deletion(i64),
}

impl Change {
    fn verb(&self) -> &'static str {
        if self.pause { "pause" } else { "resume" }
    }

    /// The path of the request, below `/api/v1`.
    pub(super) fn path(&self) -> [String; 3] {
        let (kind, name) = match &self.target {
            Target::Queue(name) => ("queues", name.clone()),
            Target::Deletion(id) => ("deletions", id.to_string()),
        };
        [kind.to_owned(), name, self.verb().to_owned()]
    }

    /// The message after the change.
    pub(super) fn done(&self) -> String {
        format!("{} {}", self.target, if self.pause { "is paused" } else { "goes on" })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb(), self.target)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queue(name) => write!(f, "queue {}", page::safe(name)),
            Self::Deletion(id) => write!(f, "deletion {id}"),
        }
    }
}
