//! The state of the view and the effect of keys: decisions only, without terminal and network.

use std::time::{Duration, Instant};

use super::board::Board;
use super::change::{Change, Target};
use super::link::News;

/// How long a message stays in the last line.
const NOTICE: Duration = Duration::from_secs(8);

/// A part of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pane {
    /// The queues.
    Queues,
    /// Jobs in progress.
    Running,
    /// Python processes; only shown if there are any.
    Python,
    /// Deletions.
    Deletions,
    /// Supervised actors.
    Actors,
}

impl Pane {
    /// From top to bottom.
    pub(super) const ALL: [Self; 5] =
        [Self::Queues, Self::Running, Self::Python, Self::Deletions, Self::Actors];

    /// Its index from the top.
    pub(super) fn place(self) -> usize {
        Self::ALL.iter().position(|pane| *pane == self).unwrap_or_default()
    }

    fn step(self, by: usize) -> Self {
        let next = Self::ALL.into_iter().cycle().nth(self.place() + by);
        next.unwrap_or(self)
    }
}

/// The meaning of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Quit,
    /// Closes a question or the help, else leaves.
    Escape,
    /// The next or previous pane.
    NextPane,
    PreviousPane,
    /// Moves in the rows of the pane.
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    /// Pauses or resumes the chosen queue or deletion.
    Pause,
    Resume,
    /// Answers to a question.
    Yes,
    No,
    Help,
}

/// The effect of a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Draw again.
    Stay,
    /// Leave.
    Quit,
    /// Request this change from the service.
    Ask(Change),
}

/// The state of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Nothing has been received yet.
    Opening,
    /// The connection is open.
    Live,
    /// The connection broke at `since`; the next attempt is at `again`.
    Away { why: String, since: Instant, again: Instant },
}

#[derive(Debug)]
pub(super) struct View {
    /// The address of the service.
    pub base: String,
    /// The last received state.
    pub board: Board,
    /// The state of the connection.
    pub line: Line,
    /// The pane that has the focus.
    pub pane: Pane,
    /// The chosen row of each pane.
    pub rows: [usize; Pane::ALL.len()],
    /// The change that waits for a confirmation.
    pub question: Option<Change>,
    /// Whether the help is shown.
    pub help: bool,
    notice: Option<(String, Instant)>,
}

impl View {
    pub(super) fn new(base: String) -> Self {
        Self {
            base,
            board: Board::default(),
            line: Line::Opening,
            pane: Pane::Queues,
            rows: [0; Pane::ALL.len()],
            question: None,
            help: false,
            notice: None,
        }
    }

    /// Whether the pane is on the screen.
    pub(super) fn shows(&self, pane: Pane) -> bool {
        pane != Pane::Python || self.board.python.is_some()
    }

    /// Moves the focus to the next pane that is shown, in steps of `by`.
    fn move_focus(&mut self, by: usize) {
        self.pane = self.pane.step(by);
        if !self.shows(self.pane) {
            self.pane = self.pane.step(by);
        }
    }

    /// Applies a message. An unreadable section is reported, and its old content stays.
    pub(super) fn hear(&mut self, news: News, now: Instant) {
        match news {
            News::Live => self.line = Line::Live,
            News::Away { why, again } => {
                let since = match &self.line {
                    Line::Away { since, .. } => *since,
                    Line::Opening | Line::Live => now,
                };
                self.line = Line::Away { why, since, again: now + again };
                self.question = None;
            }
            News::Section { name, data } => {
                if let Err(error) = self.board.take(&name, &data) {
                    self.say(format!("the section `{name}` cannot be read: {error}"), now);
                }
                self.hold_rows();
            }
            News::Told(Ok(text) | Err(text)) => self.say(text, now),
            News::Refused(_) => {}
        }
    }

    /// The last message, while it is fresh.
    pub(super) fn notice(&self, now: Instant) -> Option<&str> {
        let fresh = |(_, at): &&(String, Instant)| now.saturating_duration_since(*at) < NOTICE;
        self.notice.as_ref().filter(fresh).map(|(text, _)| text.as_str())
    }

    /// Applies a key.
    pub(super) fn press(&mut self, key: Key, now: Instant) -> Step {
        self.notice = None;
        if key == Key::Quit {
            return Step::Quit;
        }
        if let Some(change) = self.question.take() {
            match key {
                Key::Yes => return Step::Ask(change),
                Key::No | Key::Escape => self.say("nothing was changed".to_owned(), now),
                _ => self.question = Some(change),
            }
            return Step::Stay;
        }
        if std::mem::replace(&mut self.help, false) {
            return Step::Stay;
        }
        match key {
            Key::Escape => return Step::Quit,
            Key::NextPane => self.move_focus(1),
            Key::PreviousPane => self.move_focus(Pane::ALL.len() - 1),
            Key::Help => self.help = true,
            Key::Pause | Key::Resume => self.wish(key == Key::Pause, now),
            _ => self.walk(key),
        }
        Step::Stay
    }

    /// The number of rows of a pane.
    pub(super) fn count(&self, pane: Pane) -> usize {
        match pane {
            Pane::Queues => self.board.queues.len(),
            Pane::Running => self.board.running.len(),
            Pane::Python => self.board.python.as_ref().map_or(0, |python| python.processes.len()),
            Pane::Deletions => self.board.deletions.len(),
            Pane::Actors => self.board.tree.children.len(),
        }
    }

    fn say(&mut self, text: String, now: Instant) {
        self.notice = Some((text, now));
    }

    fn walk(&mut self, key: Key) {
        const PAGE: usize = 10;
        let last = self.count(self.pane).saturating_sub(1);
        if let Some(row) = self.rows.get_mut(self.pane.place()) {
            *row = match key {
                Key::Up => row.saturating_sub(1),
                Key::Down => *row + 1,
                Key::PageUp => row.saturating_sub(PAGE),
                Key::PageDown => *row + PAGE,
                Key::Home => 0,
                Key::End => last,
                _ => *row,
            }
            .min(last);
        }
    }

    /// Keeps the chosen rows within lists that became shorter.
    fn hold_rows(&mut self) {
        for pane in Pane::ALL {
            let last = self.count(pane).saturating_sub(1);
            if let Some(row) = self.rows.get_mut(pane.place()) {
                *row = (*row).min(last);
            }
        }
    }

    /// Asks for a confirmation, or says why the change is not possible.
    fn wish(&mut self, pause: bool, now: Instant) {
        match self.chosen(pause) {
            Ok(target) => self.question = Some(Change { pause, target }),
            Err(why) => self.say(why, now),
        }
    }

    /// The target of the change, or why it is not possible.
    fn chosen(&self, pause: bool) -> Result<Target, String> {
        let row = self.rows.get(self.pane.place()).copied().unwrap_or_default();
        let target = match self.pane {
            Pane::Queues => {
                self.board.queues.get(row).map(|queue| (Target::Queue(queue.name.clone()), queue.paused))
            }
            Pane::Deletions => match self.board.deletions.get(row) {
                Some(deletion) if !deletion.is_active() => {
                    let (id, status) = (deletion.job_id, &deletion.status);
                    let verb = if pause { "pause" } else { "resume" };
                    return Err(format!("deletion {id} is {status}; there is nothing to {verb}"));
                }
                deletion => deletion.map(|deletion| {
                    (Target::Deletion(deletion.job_id), deletion.paused_by.as_deref() == Some("person"))
                }),
            },
            Pane::Running | Pane::Python | Pane::Actors => {
                return Err("queues and deletions can be paused; Tab goes to them".to_owned());
            }
        };
        let (target, paused) = target.ok_or_else(|| "there is nothing here to pause".to_owned())?;
        if self.line != Line::Live {
            return Err("the service is away; nothing can be changed now".to_owned());
        }
        if self.board.overview.process.read_only {
            return Err("this service only shows: `http.read_only` is set".to_owned());
        }
        match (pause, paused) {
            (true, true) => Err(format!("{target} is paused already; r resumes it")),
            (false, false) => Err(format!("{target} is not paused")),
            _ => Ok(target),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> (View, Instant) {
        let (mut view, now) = (View::new("http://here".into()), Instant::now());
        let queues = r#"[{"name":"high"},{"name":"דואר","paused":true}]"#;
        let deletions = r#"[{"job_id":28,"status":"running"},{"job_id":27,"status":"completed"}]"#;
        view.hear(News::Live, now);
        for (name, data) in [("queues", queues), ("deletions", deletions)] {
            view.hear(News::Section { name: name.into(), data: data.into() }, now);
        }
        (view, now)
    }

    fn press(view: &mut View, now: Instant, keys: &[Key]) -> Vec<Step> {
        keys.iter().map(|key| view.press(*key, now)).collect()
    }

    #[test]
    fn a_queue_is_paused_only_after_a_yes_and_by_the_name_that_was_shown() {
        let (mut view, now) = view();
        assert_eq!(view.press(Key::Pause, now), Step::Stay);
        assert_eq!(view.question.as_ref().unwrap().to_string(), "pause queue high");
        view.hear(News::Section { name: "queues".into(), data: r#"[{"name":"other"}]"#.into() }, now);
        let Step::Ask(change) = view.press(Key::Yes, now) else { panic!("not asked") };
        assert_eq!(change.path(), ["queues", "high", "pause"]);
        assert_eq!(change.done(), "queue high is paused");
    }

    #[test]
    fn a_no_and_an_escape_change_nothing_and_stay() {
        for key in [Key::No, Key::Escape] {
            let (mut view, now) = view();
            assert_eq!(
                press(&mut view, now, &[Key::Pause, Key::Down, key]),
                [Step::Stay, Step::Stay, Step::Stay]
            );
            assert_eq!((view.question.clone(), view.notice(now)), (None, Some("nothing was changed")));
            assert_eq!(view.notice(now + NOTICE), None);
        }
    }

    #[test]
    fn what_cannot_be_changed_says_why() {
        let said = |keys: &[Key], change: fn(&mut View)| {
            let (mut view, now) = view();
            change(&mut view);
            press(&mut view, now, keys);
            assert_eq!(view.question, None, "{keys:?}");
            view.notice(now).unwrap().to_owned()
        };
        let nothing: fn(&mut View) = |_| {};
        assert!(said(&[Key::Resume], nothing).contains("high is not paused"));
        assert!(said(&[Key::Down, Key::Pause], nothing).contains("דואר is paused already"));
        assert!(said(&[Key::NextPane, Key::Pause], nothing).contains("queues and deletions"));
        assert!(
            said(&[Key::NextPane, Key::NextPane, Key::End, Key::Pause], nothing).contains("is completed")
        );
        let read_only: fn(&mut View) = |view| view.board.overview.process.read_only = true;
        assert!(said(&[Key::Pause], read_only).contains("http.read_only"));
        let away: fn(&mut View) = |view| {
            view.hear(News::Away { why: "gone".into(), again: Duration::ZERO }, Instant::now());
        };
        assert!(said(&[Key::Pause], away).contains("is away"));
    }

    #[test]
    fn quit_leaves_from_everywhere_and_escape_closes_what_is_open_first() {
        let (mut view, now) = view();
        assert_eq!(
            press(&mut view, now, &[Key::Help, Key::Escape, Key::Escape]),
            [Step::Stay, Step::Stay, Step::Quit]
        );
        assert_eq!(press(&mut view, now, &[Key::Pause, Key::Quit]), [Step::Stay, Step::Quit]);
    }

    #[test]
    fn rows_stay_within_their_list_even_when_it_shrinks() {
        let (mut view, now) = view();
        press(&mut view, now, &[Key::PageDown]);
        assert_eq!(view.rows[0], 1);
        view.hear(News::Section { name: "queues".into(), data: "[]".into() }, now);
        assert_eq!(view.rows[0], 0);
        press(&mut view, now, &[Key::Down, Key::End, Key::Up, Key::PreviousPane]);
        assert_eq!((view.rows[0], view.pane), (0, Pane::Actors));
    }

    #[test]
    fn an_outage_is_counted_from_its_beginning_and_ends_by_itself() {
        let (mut view, now) = view();
        let away = || News::Away { why: "connection refused".into(), again: Duration::from_secs(1) };
        view.hear(away(), now);
        view.hear(away(), now + Duration::from_secs(5));
        let Line::Away { since, again, .. } = &view.line else { panic!("{:?}", view.line) };
        assert_eq!((*since, *again), (now, now + Duration::from_secs(6)));
        assert_eq!(view.board.queues.len(), 2, "what was known stays on the screen");
        view.hear(News::Live, now);
        assert_eq!(view.line, Line::Live);
    }

    #[test]
    fn a_section_that_cannot_be_read_is_told() {
        let (mut view, now) = view();
        view.hear(News::Section { name: "queues".into(), data: "rain".into() }, now);
        assert!(view.notice(now).unwrap().contains("`queues` cannot be read"));
        assert_eq!(view.board.queues.len(), 2);
    }
}
