//! Identifiers, each with its own type, so that one cannot be used as another.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl<T: AsRef<str>> From<T> for $name {
            fn from(text: T) -> Self {
                Self(Arc::from(text.as_ref()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

text_id!(
    /// The id of a job in its queue; a UUID unless the enqueuer chose its own.
    JobId
);
text_id!(
    /// The name of a queue, for example `maintenance`.
    QueueName
);
text_id!(
    /// The stable name of a kind of job: RQ's dotted function name on the wire.
    KindName
);
text_id!(
    /// One delivery of one job to one process. Settling a job requires it; an outdated one is rejected.
    ExecutionId
);
text_id!(
    /// One start of a process; after a restart on the same host it is another process.
    ProcessId
);
number_id!(
    /// The id of a row in `background_jobs`.
    BackgroundJobId
);
number_id!(
    /// The tenant.
    BusinessId
);
number_id!(
    /// The id of a row in `receipts`.
    ReceiptId
);

impl QueueName {
    /// Whether a queue may have this name: it must fit into a list and into a line of a log.
    #[must_use]
    pub fn accepts(name: &str) -> bool {
        !name.is_empty() && !name.contains(|c: char| c == ',' || c.is_control())
    }
}

impl KindName {
    /// Stands for the name where none can be read.
    pub const UNREADABLE: &str = "(unreadable)";

    /// Whether it is a name, and does not [stand for one](Self::UNREADABLE).
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.as_str() != Self::UNREADABLE
    }

    /// The part after the last dot: `a.b.c` can also be called `c`.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.rsplit('.').next().unwrap_or(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_name_is_the_last_part() {
        assert_eq!(KindName::from("server.jobs.delete").short(), "delete");
        assert_eq!(KindName::from("delete").short(), "delete");
    }

    #[test]
    fn ids_serialise_as_their_bare_value() {
        assert_eq!(serde_json::to_string(&JobId::from("a")).unwrap(), "\"a\"");
        assert_eq!(serde_json::to_string(&BackgroundJobId(27)).unwrap(), "27");
    }
}
