//! `/api/v1/events`: sends the board as it changes, as Server-Sent Events.
//!
//! Each event is one section of the board and replaces the previous version, so a slow viewer can skip
//! versions and gets only the newest. The sections of one read are followed by its id. A browser sends it
//! back as `Last-Event-ID`, and gets the sections that have changed since.

use std::collections::VecDeque;
use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::web::{self, Bytes};
use actix_web::{HttpRequest, HttpResponse};
use futures::{Stream, stream};
use tokio::sync::watch;

use super::auth::{ApiUser, Auth};
use super::details::{Details, ProblemDetails};
use crate::http::board::{Board, Posted};

/// At least this often something is sent, so that proxies keep the connection and a dead one is noticed.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// The most open streams.
const VIEWERS: usize = 1000;
/// How long a browser waits before it reconnects, in milliseconds.
const COME_BACK: &str = "retry: 1500\n\n";

/// The state of one viewer's stream.
struct Viewer {
    board: web::Data<Board>,
    posted: watch::Receiver<Posted>,
    seen: u64,
    waiting: VecDeque<Bytes>,
    user: ApiUser,
    auth: web::Data<Auth>,
}

/// The board as it changes: events named after its sections, each with the section as JSON
#[utoipa::path(get, path = "/api/v1/events", tag = "board",
    params(("Last-Event-ID" = Option<String>, Header, description = "The id of the last event seen: only sections that changed since are sent")),
    responses((status = 200, body = String, content_type = "text/event-stream"),
        (status = 401, body = ProblemDetails), (status = 503, body = ProblemDetails)))]
pub(super) async fn events(
    (board, auth): (web::Data<Board>, web::Data<Auth>),
    user: ApiUser,
    request: HttpRequest,
) -> Result<HttpResponse, Details> {
    if board.viewers() >= VIEWERS {
        let message = "too many people look at this service now; close a page, or come back later";
        return Err(Details::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_viewers", message));
    }
    let mut posted = board.look();
    let last = request.headers().get("Last-Event-ID").and_then(|id| id.to_str().ok());
    let (seen, missed) = {
        let newest = posted.borrow_and_update();
        (newest.look, board.since(&newest, last))
    };
    let waiting = [Bytes::from_static(COME_BACK.as_bytes()), missed];
    let waiting = waiting.into_iter().filter(|bytes| !bytes.is_empty()).collect();
    let viewer = Viewer { board: web::Data::clone(&board), posted, seen, waiting, user, auth };
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(changes(viewer)))
}

fn changes(viewer: Viewer) -> impl Stream<Item = Result<Bytes, actix_web::Error>> {
    stream::unfold(viewer, async |mut viewer| {
        let next = viewer.next().await?;
        Some((Ok(next), viewer))
    })
}

impl Viewer {
    /// The next bytes; `None` when the session has ended or the server closes.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.waiting.pop_front() {
                return Some(bytes);
            }
            let changed = tokio::time::timeout(HEARTBEAT, self.posted.changed()).await;
            if self.board.is_closed() || !self.auth.still_knows(&self.user).await {
                return None;
            }
            match changed {
                Ok(changed) => changed.ok()?,
                Err(_) => return Some(Bytes::from_static(b": still here\n\n")),
            }
            let newest = self.posted.borrow_and_update();
            let in_turn = newest.look == self.seen + 1;
            let bytes = if in_turn { newest.changes.clone() } else { self.board.later(&newest, self.seen) };
            self.seen = newest.look;
            drop(newest);
            if !bytes.is_empty() {
                self.waiting.push_back(bytes);
            }
        }
    }
}
