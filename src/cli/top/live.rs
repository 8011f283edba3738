//! The main loop: draws frames on events of the service, keys and timer ticks.

use std::io;
use std::time::{Duration, Instant};

use crossterm::event::EventStream;
use futures::StreamExt as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::super::advice::Advice;
use super::super::ending::Complaint;
use super::super::page;
use super::draw::Painter;
use super::link::{Link, News};
use super::screen::{Screen, meaning};
use super::state::{Step, View};
use crate::failpoint;

/// The most events that wait to be drawn; the service sends six sections per read of its state.
const UNSEEN: usize = 64;

/// Shows the service until the user leaves or the service refuses.
pub(super) async fn live(link: Link, mut view: View, interval: Duration) -> Result<(), Complaint> {
    let mut leave = Leave::listen().map_err(|error| no_screen(&error))?;
    let mut screen = Screen::open(Painter { colours: page::colours() }).map_err(|error| no_screen(&error))?;
    let (tell, mut news) = mpsc::channel(UNSEEN);
    let follows = actix_rt::spawn(link.clone().follow(tell.clone()));
    let mut keys = EventStream::new();
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ended = loop {
        let draw = tokio::select! {
            () = leave.asked() => break Ok(()),
            Some(heard) = news.recv() => {
                let answer = matches!(heard, News::Told(_) | News::Live | News::Away { .. });
                if let News::Refused(complaint) = heard {
                    break Err(complaint);
                }
                view.hear(heard, Instant::now());
                answer
            }
            event = keys.next() => match event {
                None => break Ok(()),
                Some(Err(error)) => break Err(no_screen(&error)),
                Some(Ok(event)) => {
                    let step = meaning(&event).map(|key| view.press(key, Instant::now()));
                    match step {
                        Some(Step::Quit) => break Ok(()),
                        Some(Step::Ask(change)) => {
                            let (link, tell) = (link.clone(), tell.clone());
                            // If the view has been closed, the answer is dropped.
                            actix_rt::spawn(async move { tell.send(News::Told(link.ask(&change).await)).await });
                        }
                        Some(Step::Stay) | None => {}
                    }
                    true
                }
            },
            _ = ticks.tick() => true,
        };
        if draw {
            failpoint::reach("top.frame");
            if let Err(error) = screen.draw(&view) {
                break Err(no_screen(&error));
            }
        }
    };
    follows.abort();
    ended
}

fn no_screen(error: &io::Error) -> Complaint {
    Complaint::failed(format!("cannot draw on this terminal: {error}"), Advice::NO_TERMINAL)
}

/// The signals that end the view. They are caught so that the terminal can be restored.
struct Leave([Signal; 4]);

impl Leave {
    fn listen() -> io::Result<Self> {
        let kinds =
            [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup(), SignalKind::quit()];
        let [term, int, hang_up, quit] = kinds.map(signal);
        Ok(Self([term?, int?, hang_up?, quit?]))
    }

    async fn asked(&mut self) {
        let Self([term, int, hang_up, quit]) = self;
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
            _ = hang_up.recv() => {}
            _ = quit.recv() => {}
        }
    }
}
