//! How log lines are written: on standard error, because standard output is for the results of commands.
//!
//! Text mode writes the message first, unchanged, then its fields and those of the spans; control characters
//! are escaped, so that one event is always one line. Lines to [`USER_LOG`](crate::user_log::USER_LOG) have
//! no fields. JSON mode writes one object per line, with all fields of every event.

use std::io::{IsTerminal, stderr};

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
#[cfg(feature = "opentelemetry")]
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::{MakeWriter, format};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

#[cfg(feature = "opentelemetry")]
use super::export::Exporter;
use super::job_lines::JobLinesLayer;
use super::json_line::JsonLine;
use super::text_line::{TextLine, write_field};
use crate::config::{LogFormat, LogLevel, LogSettings};
use crate::job_log::JobLog;

/// Why logging cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter is not a list of directives.
    #[error("`log.filter` is `{filter}`, expected directives such as `info,tikkun::queue=debug`")]
    Filter {
        /// The given filter.
        filter: String,
        /// The error of the parser.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// Logging has already been set up in this process.
    #[error("log lines are written by something else in this process already")]
    AlreadySet(#[source] tracing::subscriber::SetGlobalDefaultError),
}

/// Crates that log a lot at `info`; only their warnings are written.
const QUIET: [&str; 9] =
    ["actix_http", "actix_server", "actix_web", "aws_", "h2", "hyper", "opentelemetry", "rustls", "sqlx"];

/// Sets up logging for the whole process.
///
/// # Errors
/// If the filter cannot be parsed, or logging has already been set up in this process.
pub fn init(settings: &LogSettings) -> Result<(), LoggingError> {
    JobLog::of_process().keep(settings.job_lines);
    let subscriber = subscriber(settings, stderr, stderr().is_terminal())?;
    tracing::subscriber::set_global_default(subscriber).map_err(LoggingError::AlreadySet)
}

/// The same, and exports spans up to the level of the lines, but at least those at `info`.
///
/// # Errors
/// If the filter cannot be parsed, or logging has already been set up in this process.
#[cfg(feature = "opentelemetry")]
pub fn init_with_export(settings: &LogSettings, exporter: &Exporter) -> Result<(), LoggingError> {
    let most = most(settings.level).max(LevelFilter::INFO);
    let lines = lines(settings.format, stderr, stderr().is_terminal()).with_filter(filter(settings)?);
    let kept = job_lines(settings).map(|kept| filter(settings).map(|filter| kept.with_filter(filter)));
    let subscriber =
        Registry::default().with(exporter.layer(most, &QUIET)).with(lines).with(kept.transpose()?);
    JobLog::of_process().keep(settings.job_lines);
    tracing::subscriber::set_global_default(subscriber).map_err(LoggingError::AlreadySet)
}

/// The level up to which lines are written.
#[cfg(feature = "opentelemetry")]
fn most(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Trace => LevelFilter::TRACE,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Error | LogLevel::Critical => LevelFilter::ERROR,
    }
}

/// The subscriber of [`init`], with any writer and with or without colours.
///
/// # Errors
/// If the filter cannot be parsed.
pub fn subscriber<W>(
    settings: &LogSettings,
    writer: W,
    colours: bool,
) -> Result<Box<dyn Subscriber + Send + Sync>, LoggingError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = lines(settings.format, writer, colours);
    Ok(Box::new(Registry::default().with(filter(settings)?).with(lines).with(job_lines(settings))))
}

/// The layer that keeps the newest lines of each job, if it is enabled.
fn job_lines(settings: &LogSettings) -> Option<JobLinesLayer> {
    (settings.job_lines.lines > 0).then(|| JobLinesLayer(JobLog::of_process()))
}

/// The layer that writes the lines.
fn lines<S, W>(format: LogFormat, writer: W, colours: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(colours);
    match format {
        LogFormat::Text => {
            Box::new(layer.fmt_fields(format::debug_fn(write_field).delimited(" ")).event_format(TextLine))
        }
        LogFormat::Json => Box::new(layer.fmt_fields(format::JsonFields::new()).event_format(JsonLine)),
    }
}

fn filter(settings: &LogSettings) -> Result<EnvFilter, LoggingError> {
    let directives = settings.filter.clone().unwrap_or_else(|| directives(settings.level));
    EnvFilter::builder()
        .with_regex(false)
        .parse(&directives)
        .map_err(|source| LoggingError::Filter { filter: directives, source })
}

fn directives(level: LogLevel) -> String {
    let (level, quiet) = match level {
        LogLevel::Trace => ("trace", "warn"),
        LogLevel::Debug => ("debug", "warn"),
        LogLevel::Info => ("info", "warn"),
        LogLevel::Warning => ("warn", "warn"),
        LogLevel::Error | LogLevel::Critical => ("error", "error"),
    };
    QUIET.iter().fold(level.to_owned(), |text, name| format!("{text},{name}={quiet}"))
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tracing::subscriber::with_default;

    use super::*;
    use crate::user_log::USER_LOG;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn settings(format: LogFormat, level: LogLevel, filter: Option<&str>) -> LogSettings {
        LogSettings {
            level,
            format,
            filter: filter.map(str::to_owned),
            job_lines: crate::job_log::JobLogBounds { lines: 0, bytes: 0 },
        }
    }

    fn logged(settings: &LogSettings, work: impl FnOnce()) -> Vec<String> {
        let lines = Lines::default();
        let writer = lines.clone();
        with_default(subscriber(settings, move || writer.clone(), false).unwrap(), work);
        let bytes = lines.0.lock().clone();
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }

    fn without_time(line: &str) -> &str {
        line.split_once(' ').unwrap().1
    }

    const PICKED: &str = "🔨 JOB PICKED queue='maintenance' job_id=27 function=delete_receipts_batch_job";
    const LIMIT: &str = "⏱️ Runtime limit reached (300s) - pausing job";

    #[test]
    fn text_lines_carry_the_message_letter_for_letter_and_fields_after_it() {
        let lines = logged(&settings(LogFormat::Text, LogLevel::Info, None), || {
            let span = tracing::info_span!("job", job.id = %"a-1", job.attempt = 2);
            let _in = span.enter();
            tracing::info!(queue.name = "maintenance", duration_ms = 5, "{PICKED}");
            tracing::warn!("{LIMIT}");
        });
        assert_eq!(
            without_time(&lines[0]),
            format!(" INFO {PICKED} queue.name=\"maintenance\" duration_ms=5 job.id=a-1 job.attempt=2")
        );
        assert_eq!(without_time(&lines[1]), format!(" WARN {LIMIT} job.id=a-1 job.attempt=2"));
    }

    #[test]
    fn lines_that_people_know_by_heart_stay_without_the_fields_of_their_span() {
        let speak = || {
            let span = tracing::info_span!("attempt", job.id = %"a-1");
            let _in = span.enter();
            tracing::info!(target: USER_LOG, { queue.name = "maintenance" }, "{PICKED}");
        };
        let text = logged(&settings(LogFormat::Text, LogLevel::Info, None), speak);
        assert_eq!(without_time(&text[0]), format!(" INFO {PICKED}"));
        let json = logged(&settings(LogFormat::Json, LogLevel::Info, None), speak);
        let line: serde_json::Value = serde_json::from_str(&json[0]).unwrap();
        assert_eq!((&line["queue.name"], &line["span"]["job.id"]), (&"maintenance".into(), &"a-1".into()));
    }

    #[test]
    fn json_lines_carry_the_fields_of_all_spans_around_them() {
        let lines = logged(&settings(LogFormat::Json, LogLevel::Info, None), || {
            let outer =
                tracing::info_span!("attempt", job.id = %"a \"quoted\" id", trace.id = tracing::field::Empty);
            let _outer = outer.enter();
            let inner = tracing::info_span!("batch", limit = 50);
            let _inner = inner.enter();
            outer.record("trace.id", "4bf9");
            tracing::warn!("no fields");
        });
        let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!((&line["level"], &line["message"]), (&"WARN".into(), &"no fields".into()));
        assert_eq!(line["target"], module_path!());
        let expected = serde_json::json!({
            "name": "batch", "job.id": "a \"quoted\" id", "trace.id": "4bf9", "limit": 50,
        });
        assert_eq!(line["span"], expected);
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'), "{line}");
    }

    #[test]
    fn json_lines_carry_the_same_facts_as_fields() {
        let lines = logged(&settings(LogFormat::Json, LogLevel::Info, None), || {
            let span = tracing::info_span!("job", job.id = %"a-1");
            let _in = span.enter();
            tracing::info!(queue.name = "maintenance", duration_ms = 5, "{PICKED}");
        });
        let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(line["message"], PICKED);
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["queue.name"], "maintenance");
        assert_eq!(line["duration_ms"], 5);
        assert_eq!(line["span"]["job.id"], "a-1");
    }

    #[test]
    fn one_event_is_one_line_whatever_it_holds() {
        let lines = logged(&settings(LogFormat::Text, LogLevel::Info, None), || {
            let error: &dyn std::error::Error = &io::Error::other("a\nb");
            let span = tracing::info_span!("s", name = %"x\ny");
            let _in = span.enter();
            tracing::info!(error, kind = %"c\r\nd", "e\nf\x1b[2J");
        });
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_eq!(without_time(&lines[0]), " INFO e\\nf\\u{1b}[2J error=\"a\\nb\" kind=c\\r\\nd name=x\\ny");
    }

    #[test]
    fn levels_cut_and_chatty_crates_are_kept_quiet() {
        let speak = || {
            tracing::debug!("debug");
            tracing::info!(target: "sqlx::query", "select");
            tracing::warn!("warn");
            tracing::error!("error");
        };
        let count = |level, filter| logged(&settings(LogFormat::Text, level, filter), speak).len();
        assert_eq!(count(LogLevel::Debug, None), 3);
        assert_eq!(count(LogLevel::Info, None), 2);
        assert_eq!(count(LogLevel::Critical, None), 1);
        assert_eq!(count(LogLevel::Critical, Some("trace")), 4, "a filter takes the level's place");
    }

    #[test]
    fn a_broken_filter_is_named() {
        let error = subscriber(&settings(LogFormat::Text, LogLevel::Info, Some("a=b=c")), stderr, false)
            .err()
            .unwrap();
        assert!(error.to_string().starts_with("`log.filter` is `a=b=c`, expected"), "{error}");
    }
}
