//! The request to change many jobs.

use serde::Deserialize;
use utoipa::ToSchema;

/// The request to change many jobs.
#[derive(Deserialize, ToSchema)]
pub(super) struct BulkRequest {
    /// `retry` or `cancel`.
    #[schema(example = "retry", pattern = "^(retry|cancel)$")]
    pub action: String,
    /// Only jobs of this queue.
    pub queue: Option<String>,
    /// Only jobs in this state; by default all states that the action applies to.
    #[schema(pattern = "^(queued|scheduled|started|finished|failed|canceled)?$")]
    pub state: Option<String>,
    /// Only jobs of this function.
    pub function: Option<String>,
    /// Only jobs whose id or function contains this text.
    pub search: Option<String>,
    /// Exactly these jobs; then the filter is ignored.
    #[serde(default)]
    pub ids: Vec<String>,
    /// The value from the previous response; with it jobs are changed. The filter must be the same, or these
    /// the ids that came with it.
    pub confirm: Option<String>,
}
