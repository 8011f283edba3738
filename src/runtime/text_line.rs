//! Log lines in text mode: the message first, unchanged, then the fields.

use std::fmt;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use crate::user_log::USER_LOG;

/// `2026-01-28T19:00:00.000000Z  INFO 🔨 JOB PICKED queue='maintenance' … job.attempt=1`
pub(super) struct TextLine;

impl<S, N> FormatEvent<S, N> for TextLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut facts = Facts::default();
        event.record(&mut facts);
        SystemTime.format_time(&mut line)?;
        let level = *event.metadata().level();
        match colour(level).filter(|_| line.has_ansi_escapes()) {
            Some(colour) => write!(line, " \x1b[{colour}m{level:>5}\x1b[0m")?,
            None => write!(line, " {level:>5}")?,
        }
        if !facts.message.is_empty() {
            write!(line, " {}", facts.message)?;
        }
        if event.metadata().target() == USER_LOG {
            return writeln!(line);
        }
        line.write_str(&facts.fields)?;
        for span in ctx.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            let extensions = span.extensions();
            match extensions.get::<FormattedFields<N>>() {
                Some(fields) if !fields.is_empty() => write!(line, " {fields}")?,
                _ => {}
            }
        }
        writeln!(line)
    }
}

/// The parts of an event, with control characters escaped.
#[derive(Default)]
pub(super) struct Facts {
    pub(super) message: String,
    pub(super) fields: String,
}

impl Visit for Facts {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = one_line(&format!("{value:?}"));
        if field.name() == "message" {
            self.message = text;
        } else {
            self.fields.push_str(&format!(" {}={text}", field.name()));
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_debug(field, &format_args!("{:?}", value.to_string()));
    }
}

/// Writes a field of a span.
pub(super) fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    write!(writer, "{}={}", field.name(), one_line(&format!("{value:?}")))
}

/// Escapes line ends and other control characters, so that names from outside can neither forge a line nor
/// control a terminal.
fn one_line(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { safe.extend(c.escape_default()) } else { safe.push(c) }
    }
    safe
}

/// The ANSI code of the level's colour; `DEBUG` and `TRACE` have none.
fn colour(level: Level) -> Option<u8> {
    match level {
        Level::ERROR => Some(31),
        Level::WARN => Some(33),
        Level::INFO => Some(32),
        _ => None,
    }
}
