//! A pseudo-terminal: shows what a program draws on it, and sends keys.

use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::process::Child;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use pty_process::Size;
use pty_process::blocking::{Command, Pty, open};

use super::working_folder::{PATIENCE, SECRET, WorkingFolder};

/// A terminal with a program in it.
pub struct Terminal {
    pub child: Child,
    pty: Arc<Pty>,
    seen: Arc<Mutex<Seen>>,
}

struct Seen {
    screen: vt100::Parser,
    bytes: Vec<u8>,
}

impl Terminal {
    /// Starts a program in a terminal of `rows` by `columns`.
    pub fn start(
        folder: &WorkingFolder,
        (rows, columns): (u16, u16),
        argv: &[&str],
        env: &[(&str, &str)],
    ) -> Self {
        let (pty, pts) = open().unwrap();
        pty.resize(Size::new(rows, columns)).unwrap();
        let command = Command::new(argv[0])
            .args(&argv[1..])
            .env_clear()
            .envs([("TERM", "xterm-256color"), ("PATH", "/usr/bin:/bin"), ("INTERNAL_SECRET", SECRET)])
            .envs(env.iter().copied())
            .current_dir(folder.path());
        let child = command.spawn(pts).unwrap();
        let some = |number| NonZeroU16::new(number).unwrap();
        let screen = vt100::Parser::new(some(rows), some(columns), 0);
        let seen = Arc::new(Mutex::new(Seen { screen, bytes: Vec::new() }));
        let pty = Arc::new(pty);
        let (from, to) = (Arc::clone(&pty), Arc::clone(&seen));
        std::thread::spawn(move || {
            let mut some = [0; 4096];
            // The end of the program is an error here, not an end of file.
            while let Ok(count @ 1..) = (&*from).read(&mut some) {
                let mut seen = to.lock();
                seen.screen.process(&some[..count]);
                seen.bytes.extend_from_slice(&some[..count]);
            }
        });
        Self { child, pty, seen }
    }

    pub fn press(&self, keys: &str) {
        (&*self.pty).write_all(keys.as_bytes()).unwrap();
    }

    pub fn resize(&self, rows: u16, columns: u16) {
        let some = |number| NonZeroU16::new(number).unwrap();
        self.seen.lock().screen.set_size(some(rows), some(columns));
        self.pty.resize(Size::new(rows, columns)).unwrap();
    }

    /// What a person sees.
    pub fn text(&self) -> String {
        self.seen.lock().screen.screen().contents()
    }

    /// All that was ever sent to the terminal.
    pub fn bytes(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().bytes).into_owned()
    }

    /// Whether it looks as a terminal does in which nothing runs.
    pub fn is_restored(&self) -> bool {
        let seen = self.seen.lock();
        !seen.screen.screen().alternate_screen() && !seen.screen.screen().hide_cursor()
    }

    /// Waits until what is seen is good.
    #[track_caller]
    pub fn until<T>(&self, what: &str, good: impl Fn(&str) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            let text = self.text();
            if let Some(found) = good(&text) {
                return found;
            }
            assert!(Instant::now() < end, "waited in vain for {what}; the screen shows:\n{text}");
            std::thread::yield_now();
        }
    }

    /// Waits until these words are seen.
    #[track_caller]
    pub fn until_seen(&self, words: &str) {
        self.until(words, |text| text.contains(words).then_some(()));
    }

    /// The exit code, and everything that is seen when the program has gone.
    pub fn ended(mut self) -> (Option<i32>, Self) {
        let code = self.child.wait().unwrap().code();
        (code, self)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
