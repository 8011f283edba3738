//! Log lines in JSON, one object per line. The event's fields are next to its message, and `span` contains
//! the fields of all spans around it, so that the job's id is always in the same place.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatFields as _, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// `{"timestamp":"…","level":"INFO","message":"…",…,"target":"…","span":{"name":"attempt","job.id":"…",…}}`
pub(super) struct JsonLine;

impl<S> FormatEvent<S, JsonFields> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, JsonFields>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        line.write_str("{\"timestamp\":\"")?;
        SystemTime.format_time(&mut line)?;
        write!(line, "\",\"level\":\"{}\"", event.metadata().level())?;
        let mut fields = String::new();
        ctx.format_fields(Writer::new(&mut fields), event)?;
        add(&mut line, &fields)?;
        write!(line, ",\"target\":\"{}\"", event.metadata().target())?;
        let spans = || ctx.event_scope().into_iter().flat_map(|scope| scope.from_root());
        if let Some(innermost) = spans().last() {
            write!(line, ",\"span\":{{\"name\":\"{}\"", innermost.name())?;
            for span in spans() {
                if let Some(fields) = span.extensions().get::<FormattedFields<JsonFields>>() {
                    add(&mut line, fields)?;
                }
            }
            line.write_char('}')?;
        }
        line.write_str("}\n")
    }
}

/// Adds the fields of an object to the one that is being written.
fn add(line: &mut Writer<'_>, object: &str) -> fmt::Result {
    let inner = object.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default();
    if inner.is_empty() { Ok(()) } else { write!(line, ",{inner}") }
}
