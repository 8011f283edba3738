//! The terminal, which is restored on every way out, and its keys.

use std::io;
use std::mem::ManuallyDrop;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::DefaultTerminal;

use super::draw::{Moment, Painter};
use super::state::{Key, View};

/// The screen while the view uses it. A panic restores it before its message is printed.
pub(super) struct Screen {
    /// Never dropped: its own `drop` would panic if the terminal is gone.
    terminal: ManuallyDrop<DefaultTerminal>,
    painter: Painter,
}

impl Screen {
    /// Switches the terminal to the view.
    pub(super) fn open(painter: Painter) -> io::Result<Self> {
        match ratatui::try_init() {
            Ok(terminal) => Ok(Self { terminal: ManuallyDrop::new(terminal), painter }),
            Err(error) => {
                // Initialisation may have been partly done; only the first error matters.
                let _ = ratatui::try_restore();
                Err(error)
            }
        }
    }

    pub(super) fn draw(&mut self, view: &View) -> io::Result<()> {
        let painter = &self.painter;
        let drawn = self.terminal.draw(|frame| {
            let area = frame.area();
            painter.draw(view, Moment::now(), area, frame.buffer_mut());
        });
        drawn.map(|_| ())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // The terminal may be gone; then there is nothing to restore.
        let _ = self.terminal.show_cursor();
        // After a panic the hook has restored the screen; restoring it again would draw over the message.
        if !std::thread::panicking() {
            let _ = ratatui::try_restore();
        }
    }
}

/// The meaning of a key. On a Hebrew layout the letters in the same places have the same meaning.
pub(super) fn meaning(event: &Event) -> Option<Key> {
    let Event::Key(KeyEvent { code, modifiers, kind: KeyEventKind::Press | KeyEventKind::Repeat, .. }) =
        event
    else {
        return None;
    };
    if modifiers.contains(KeyModifiers::CONTROL) {
        return matches!(code, KeyCode::Char('c' | 'C' | 'd')).then_some(Key::Quit);
    }
    Some(match code {
        KeyCode::Char('q' | 'Q' | '/') => Key::Quit,
        KeyCode::Esc => Key::Escape,
        KeyCode::Tab | KeyCode::Right | KeyCode::Char('l') => Key::NextPane,
        KeyCode::BackTab | KeyCode::Left | KeyCode::Char('h') => Key::PreviousPane,
        KeyCode::Up | KeyCode::Char('k') => Key::Up,
        KeyCode::Down | KeyCode::Char('j') => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home | KeyCode::Char('g') => Key::Home,
        KeyCode::End | KeyCode::Char('G') => Key::End,
        KeyCode::Char('p' | 'פ') => Key::Pause,
        KeyCode::Char('r' | 'ר') => Key::Resume,
        KeyCode::Char('y' | 'Y' | 'ט') => Key::Yes,
        KeyCode::Char('n' | 'N' | 'מ') => Key::No,
        KeyCode::Char('?') | KeyCode::F(1) => Key::Help,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(code: KeyCode, modifiers: KeyModifiers) -> Option<Key> {
        meaning(&Event::Key(KeyEvent::new(code, modifiers)))
    }

    #[test]
    fn keys_mean_what_the_help_says() {
        let plain = |code| key(code, KeyModifiers::NONE);
        assert_eq!(plain(KeyCode::Char('q')), Some(Key::Quit));
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Key::Quit));
        assert_eq!(plain(KeyCode::Char('c')), None);
        assert_eq!(key(KeyCode::Char('p'), KeyModifiers::CONTROL), None, "a slip pauses nothing");
        assert_eq!(plain(KeyCode::Char('פ')), Some(Key::Pause));
        assert_eq!(plain(KeyCode::Tab), Some(Key::NextPane));
        assert_eq!(plain(KeyCode::Char('?')), Some(Key::Help));
        assert_eq!(meaning(&Event::Resize(1, 1)), None);
    }
}
