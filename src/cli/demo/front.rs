//! What the web application's own front does: asks over HTTP, for a tenant and a person.

use std::time::Duration;

use awc::{Client, ClientRequest};
use serde_json::Value;

use super::plan::{TENANT, USER};
use crate::cli::advice::Advice;
use crate::cli::ending::Complaint;

/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// A caller of the service.
pub(super) struct Front {
    client: Client,
    base: String,
    secret: String,
}

impl Front {
    pub(super) fn new(base: String, secret: String) -> Self {
        Self { client: Client::builder().timeout(PATIENCE).finish(), base, secret }
    }

    /// Asks to delete everything; the answer is the background job's id.
    pub(super) async fn delete_all(&self) -> Result<i64, Complaint> {
        let path = "/api/receipts/delete_all";
        let (status, body) = self.send(self.client.post(self.url(path)), path).await?;
        match (status, body.get("job_id").and_then(Value::as_i64)) {
            (202, Some(id)) => Ok(id),
            _ => {
                let text = format!("POST {path} answered {status}, expected 202: {body}");
                Err(Complaint::failed(text, Advice::REPORT_DEMO))
            }
        }
    }

    /// A background job as the application's pages see it.
    pub(super) async fn job(&self, id: i64) -> Result<Value, Complaint> {
        let path = format!("/api/receipts/jobs/{id}");
        match self.send(self.client.get(self.url(&path)), &path).await? {
            (200, body) => Ok(body),
            (status, body) => {
                let text = format!("GET {path} answered {status}, expected 200: {body}");
                Err(Complaint::failed(text, Advice::REPORT_DEMO))
            }
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    async fn send(&self, request: ClientRequest, path: &str) -> Result<(u16, Value), Complaint> {
        let request = request
            .insert_header(("X-Internal-Secret", self.secret.as_str()))
            .insert_header(("X-Business-Id", TENANT.to_string()))
            .insert_header(("X-User-Id", USER.to_string()))
            .insert_header(("X-User-Role", "owner"));
        let mut answer = request.send().await.map_err(|error| {
            Complaint::failed(format!("no answer to {path}: {error}"), Advice::REPORT_DEMO)
        })?;
        let body = answer.json::<Value>().await;
        let body = body.map_err(|error| {
            Complaint::failed(format!("no JSON in the answer to {path}: {error}"), Advice::REPORT_DEMO)
        })?;
        Ok((answer.status().as_u16(), body))
    }
}
