//! Parses Server-Sent Events, as far as the service uses the format.

/// The longest event, in bytes; the sections of a busy service are much smaller.
const LONGEST: usize = 16 << 20;

/// An event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    /// The name of the section.
    pub name: String,
    /// The section as JSON.
    pub data: String,
}

/// Takes bytes as they arrive, and returns complete events.
#[derive(Debug, Default)]
pub(super) struct Events {
    rest: Vec<u8>,
    event: Event,
    id: Option<String>,
    last: Option<String>,
}

impl Events {
    /// The value for `Last-Event-ID`: the id of the last complete event, also of one without data.
    pub(super) fn last(&self) -> Option<&str> {
        self.last.as_deref()
    }

    /// The events that `bytes` complete.
    ///
    /// # Errors
    /// If an event exceeds [`LONGEST`]: then this is no event stream.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Vec<Event>, String> {
        self.rest.extend_from_slice(bytes);
        let mut whole = Vec::new();
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            whole.extend(self.line(line.trim_end_matches(['\n', '\r'])));
        }
        if self.rest.len() + self.event.data.len() > LONGEST {
            return Err("what it sends is no stream of events".to_owned());
        }
        Ok(whole)
    }

    fn line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            self.last = self.id.take().or_else(|| self.last.take());
            return (!event.data.is_empty()).then_some(event);
        }
        let (field, value) = line.split_once(':')?;
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.event.name),
            "data" => {
                if !self.event.data.is_empty() {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_whole_however_their_bytes_are_cut() {
        let text = "retry: 1500\n\nid: a.1\nevent: queues\ndata: [\"קבלות\"]\n\n: still here\n\nevent: tree\ndata: 1\ndata: 2\n\nid: a.2\n\nid: a.3\nevent: half\n";
        let (mut events, mut found) = (Events::default(), Vec::new());
        for byte in text.as_bytes() {
            found.extend(events.take(&[*byte]).unwrap());
        }
        let named: Vec<_> = found.iter().map(|event| (event.name.as_str(), event.data.as_str())).collect();
        assert_eq!(named, [("queues", "[\"קבלות\"]"), ("tree", "1\n2")]);
        assert_eq!(events.last(), Some("a.2"));
    }

    #[test]
    fn what_never_ends_is_refused() {
        let mut events = Events::default();
        assert!(events.take(&vec![b'x'; LONGEST + 1]).is_err());
    }
}
