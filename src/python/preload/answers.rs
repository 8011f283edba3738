//! What Python processes say of modules that they were asked to import.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::hazards::Hazards;

/// What came of an order to import modules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Preloaded {
    /// The modules that were imported by their name; others came along with them, or were there.
    pub loaded: Vec<String>,
    /// Why others could not be imported: the last line of the error.
    pub failed: BTreeMap<String, String>,
    /// What the imports have brought that its children get only a part of.
    #[serde(flatten)]
    pub hazards: Hazards,
}

/// What came of a trial of modules in a process that ended with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Trial {
    /// The modules that must not be imported before a fork, each with the reason.
    pub left_out: BTreeMap<String, String>,
    /// Whether all were tried; else none that come after those that were left out.
    #[serde(rename = "all")]
    pub is_whole: bool,
}
