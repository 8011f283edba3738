//! Loads and checks the settings.

use super::contradictions;
use super::keys::Keys;
use super::layers::{Entry, Origin};
use super::problem::{ConfigError, Warning};
use super::reader::Reader;
use super::sections::traces::TraceSettings;
use super::settings::Settings;
use super::sources::Sources;

/// Valid settings, and the warnings about them.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// The caller logs each of them once.
    pub warnings: Vec<Warning>,
}

impl Settings {
    /// Reads and checks all settings.
    ///
    /// # Errors
    /// Lists every unknown key, unusable value and contradiction.
    pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
        let keys = Keys::from_manual().map_err(|problem| ConfigError::new(vec![problem]))?;
        let (layers, problems) = sources.layers(&keys);
        let mut reader = Reader::new(&keys, &layers, &sources.env, problems);
        let mut settings = Self::read(&mut reader);
        contradictions::check(&settings, &mut reader);
        settings.traces = TraceSettings::read(&sources.env, &mut reader.warnings);
        if reader.problems.is_empty() {
            settings.entries = reader.entries;
            Ok(Loaded { settings, warnings: reader.warnings })
        } else {
            Err(ConfigError::new(reader.problems))
        }
    }
}

impl Loaded {
    /// Every key with its value and origin, in the order of `config/default.toml`.
    #[must_use]
    pub fn effective(&self) -> &[Entry] {
        &self.settings.entries
    }

    /// Where the value of a key came from.
    #[must_use]
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        self.settings.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.origin)
    }
}
