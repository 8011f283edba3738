//! The terminal, given back as it was on every way out, and its keys.

use std::io;
use std::mem::ManuallyDrop;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::DefaultTerminal;

use super::draw::{Moment, Painter};
use super::state::{Key, View};

/// The screen while the view has it. A panic gives it back, too, before it is told.
pub(super) struct Screen {
    /// Its own end would tell a terminal that has gone away that it has, and die of that.
    terminal: ManuallyDrop<DefaultTerminal>,
    painter: Painter,
}

impl Screen {
    /// Takes the terminal.
    pub(super) fn open(painter: Painter) -> io::Result<Self> {
        match ratatui::try_init() {
            Ok(terminal) => Ok(Self { terminal: ManuallyDrop::new(terminal), painter }),
            Err(error) => {
                // Some of the way may have been gone already; the error that matters is the first one.
                let _ = ratatui::try_restore();
                Err(error)
            }
        }
    }

    /// Draws the view.
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
        // A terminal that has gone away wants nothing back.
        let _ = self.terminal.show_cursor();
        // A panic has given the screen back before it was told; once more would draw over what it told.
        if !std::thread::panicking() {
            let _ = ratatui::try_restore();
        }
    }
}

/// What a key asks for; a Hebrew layout says the same by the letters in the same places.
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
