//! `/api/v1/overview`, `/api/v1/tree`, `/api/v1/python`: snapshots of the board.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};

use super::details::{Details, ProblemDetails};
use crate::http::board::{Board, Snapshot, SupervisionTree};
use crate::http::python::PythonState;

/// Everything on the board: health, queues, workers, running jobs, deletions, actors
#[utoipa::path(get, path = "/api/v1/overview", tag = "board",
    responses((status = 200, body = Snapshot), (status = 401, body = ProblemDetails),
        (status = 503, body = ProblemDetails)))]
pub(super) async fn overview(board: web::Data<Board>) -> Result<HttpResponse, Details> {
    let snapshot = board.now().await.ok_or_else(closing)?;
    Ok(HttpResponse::Ok().json(&*snapshot))
}

/// The supervised actors of the process that answers
#[utoipa::path(get, path = "/api/v1/tree", tag = "board",
    responses((status = 200, body = SupervisionTree), (status = 401, body = ProblemDetails),
        (status = 503, body = ProblemDetails)))]
pub(super) async fn tree(board: web::Data<Board>) -> Result<HttpResponse, Details> {
    let snapshot = board.now().await.ok_or_else(closing)?;
    Ok(HttpResponse::Ok().json(&snapshot.tree))
}

/// The Python processes of the process that answers; null if it runs no Python jobs
#[utoipa::path(get, path = "/api/v1/python", tag = "board",
    responses((status = 200, body = Option<PythonState>), (status = 401, body = ProblemDetails),
        (status = 503, body = ProblemDetails)))]
pub(super) async fn python(board: web::Data<Board>) -> Result<HttpResponse, Details> {
    let snapshot = board.now().await.ok_or_else(closing)?;
    Ok(HttpResponse::Ok().json(&snapshot.python))
}

/// The response while the server closes.
pub(super) fn closing() -> Details {
    Details::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "unavailable",
        "this process is leaving; ask again in a moment",
    )
}
