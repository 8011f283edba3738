//! What is to be done to many jobs, as the request says.

use serde::Deserialize;
use utoipa::ToSchema;

/// What is to be done to many jobs.
#[derive(Deserialize, ToSchema)]
pub(super) struct BulkRequest {
    /// `retry` or `cancel`.
    #[schema(example = "retry", pattern = "^(retry|cancel)$")]
    pub action: String,
    /// Only of this queue.
    pub queue: Option<String>,
    /// Only in this state; without it those that the action suits.
    #[schema(pattern = "^(queued|scheduled|started|finished|failed|canceled)?$")]
    pub state: Option<String>,
    /// Only of this function.
    pub function: Option<String>,
    /// Only those whose id or function contains this text.
    pub search: Option<String>,
    /// These and no others; then the filter says nothing.
    #[serde(default)]
    pub ids: Vec<String>,
    /// What the answer before gave; with it jobs are changed. The filter must be the same, or these the ids that came
    /// with it.
    pub confirm: Option<String>,
}
