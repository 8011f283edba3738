//! What processes write to their standard output and error, read by lines.

use std::io::ErrorKind;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::unix::pipe;
use tokio::sync::watch;
use tokio::task::coop::consume_budget;

/// The longest line that is handed on; a longer one comes in pieces of this length.
pub(super) const MAX_LINE: usize = 64 * 1024;

/// How much one read takes.
const READ_AT_ONCE: usize = 16 * 1024;

/// Which of the two a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// Its usual name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Takes the lines that a process writes.
pub trait OutputSink: Send + Sync {
    /// One line without its line feed, or a piece of a very long one. Bytes as they were written: they need not be
    /// UTF-8. Called from a task that reads the pipe, so it must not block for long; while it does, the process
    /// waits when its pipe is full.
    fn line(&self, stream: Stream, line: &[u8]);
}

/// Cuts bytes into lines.
#[derive(Debug, Default)]
struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    fn push(&mut self, mut bytes: &[u8], mut emit: impl FnMut(&[u8])) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, after) = bytes.split_at(end);
            self.extend(line, &mut emit);
            emit(&self.begun);
            self.begun.clear();
            bytes = after.get(1..).unwrap_or_default();
        }
        self.extend(bytes, &mut emit);
    }

    /// Adds a part of a line, and hands on what is too long.
    fn extend(&mut self, mut part: &[u8], emit: &mut impl FnMut(&[u8])) {
        while self.begun.len() + part.len() > MAX_LINE {
            let (first, rest) = part.split_at(MAX_LINE - self.begun.len());
            self.begun.extend_from_slice(first);
            emit(&self.begun);
            self.begun.clear();
            part = rest;
        }
        self.begun.extend_from_slice(part);
    }

    /// Hands on a last line that has no line feed.
    fn end(&mut self, mut emit: impl FnMut(&[u8])) {
        if !self.begun.is_empty() {
            emit(&self.begun);
            self.begun.clear();
        }
    }
}

/// Where the lines go at the moment.
type Target = Arc<Mutex<Arc<dyn OutputSink>>>;

/// The two pipes of a process, read by a task each until the process and all that inherited them have closed them.
pub(super) struct Output {
    target: Target,
    readers: [Reader; 2],
}

/// One pipe, and the task that reads it.
struct Reader {
    reading: Arc<Reading>,
    /// Turns true at the end of the pipe.
    ended: watch::Receiver<bool>,
}

impl Output {
    /// Begins to read both pipes. Needs a tokio runtime.
    pub(super) fn read(stdout: pipe::Receiver, stderr: pipe::Receiver, sink: Arc<dyn OutputSink>) -> Self {
        let target = Arc::new(Mutex::new(sink));
        let start = |pipe, stream| {
            let (end, ended) = watch::channel(false);
            let begun = Begun { lines: Lines::default(), buffer: vec![0; READ_AT_ONCE] };
            let reading =
                Arc::new(Reading { pipe, stream, begun: Mutex::new(begun), target: Arc::clone(&target) });
            let read = Arc::clone(&reading);
            tokio::spawn(async move {
                read.run().await;
                end.send_replace(true);
            });
            Reader { reading, ended }
        };
        let readers = [start(stdout, Stream::Stdout), start(stderr, Stream::Stderr)];
        Self { target, readers }
    }

    /// Lines go to `sink` from now on.
    pub(super) fn direct_to(&self, sink: Arc<dyn OutputSink>) {
        *self.target.lock() = sink;
    }

    /// Hands on all that is in the pipes when this is called, an unfinished line included.
    pub(super) fn sweep(&self) {
        for reader in &self.readers {
            reader.reading.sweep();
        }
    }

    /// Waits for the end of both pipes. Cancel safe.
    pub(super) async fn ended(&self) {
        for reader in &self.readers {
            let _ = reader.ended.clone().wait_for(|ended| *ended).await;
        }
    }
}

/// One pipe that is being read.
struct Reading {
    pipe: pipe::Receiver,
    stream: Stream,
    /// Held from a read until what was read is handed on, so that nothing is between the two when it is free.
    begun: Mutex<Begun>,
    target: Target,
}

struct Begun {
    lines: Lines,
    buffer: Vec<u8>,
}

impl Reading {
    async fn run(&self) {
        while self.pipe.readable().await.is_ok() && self.read_on() {
            // A pipe that is filled as fast as it is read would keep its thread.
            consume_budget().await;
        }
        self.end(&mut self.begun.lock());
    }

    /// Reads once; false at the end of the pipe.
    fn read_on(&self) -> bool {
        let mut begun = self.begun.lock();
        match self.pipe.try_read(&mut begun.buffer) {
            Ok(read) if read > 0 => self.push(&mut begun, read),
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Ok(_) | Err(_) => return false,
        }
        true
    }

    /// Takes what is in the pipe now, and no more: another process may go on to write.
    fn sweep(&self) {
        let mut begun = self.begun.lock();
        let mut left = rustix::io::ioctl_fionread(&self.pipe).unwrap_or(0);
        while left > 0 {
            match rustix::io::read(&self.pipe, begun.buffer.as_mut_slice()) {
                Ok(read) if read > 0 => {
                    self.push(&mut begun, read);
                    left = left.saturating_sub(read as u64);
                }
                Err(rustix::io::Errno::INTR) => {}
                Ok(_) | Err(_) => break,
            }
        }
        self.end(&mut begun);
    }

    /// Hands on the lines of the first `read` bytes in the buffer.
    fn push(&self, begun: &mut Begun, read: usize) {
        let sink = Arc::clone(&self.target.lock());
        let Begun { lines, buffer } = begun;
        lines.push(buffer.get(..read).unwrap_or_default(), |line| sink.line(self.stream, line));
    }

    fn end(&self, begun: &mut Begun) {
        let sink = Arc::clone(&self.target.lock());
        begun.lines.end(|line| sink.line(self.stream, line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines_of<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.push(piece, |line| found.push(line.to_vec()));
        }
        lines.end(|line| found.push(line.to_vec()));
        found
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_they_arrive(
            lines in proptest::collection::vec("[a-z]{0,40}", 0..20), cut in 1..50_usize,
        ) {
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let found = lines_of(text.as_bytes().chunks(cut));
            prop_assert_eq!(found, lines.iter().map(|line| line.as_bytes().to_vec()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn long_line_comes_in_pieces_and_loses_nothing() {
        let line = vec![b'x'; 2 * MAX_LINE + 5];
        let found = lines_of(line.chunks(1000));
        assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [MAX_LINE, MAX_LINE, 5]);
        let exact = [vec![b'y'; MAX_LINE], b"\nz".to_vec()].concat();
        assert_eq!(lines_of(exact.chunks(7)).iter().map(Vec::len).collect::<Vec<_>>(), [MAX_LINE, 1]);
    }
}
