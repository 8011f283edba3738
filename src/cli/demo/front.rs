//! A client in place of the web application's front end: calls the service for a tenant and a user.

use std::time::Duration;

use serde_json::Value;

use super::plan::{TENANT, USER};
use crate::cli::advice::Advice;
use crate::cli::client::{Answer, Client, Header};
use crate::cli::ending::Complaint;
use crate::cli::page;

/// The time limit of one call.
const PATIENCE: Duration = Duration::from_secs(15);

/// A caller of the service.
pub(super) struct Front {
    client: Client,
    base: String,
    secret: String,
}

impl Front {
    pub(super) fn new(base: String, secret: String) -> Self {
        Self { client: Client::new(), base, secret }
    }

    /// Requests the deletion of all receipts, and returns the id of the background job.
    pub(super) async fn delete_all(&self) -> Result<i64, Complaint> {
        let path = "/api/receipts/delete_all";
        let (status, body) =
            self.exchange(path, async |url, headers| self.client.post(url, headers).await).await?;
        match (status, body.get("job_id").and_then(Value::as_i64)) {
            (202, Some(id)) => Ok(id),
            _ => {
                let text = format!("POST {path} answered {status}, expected 202: {body}");
                Err(Complaint::failed(text, Advice::REPORT_DEMO))
            }
        }
    }

    /// Reads a background job as the application's pages do.
    pub(super) async fn job(&self, id: i64) -> Result<Value, Complaint> {
        let path = format!("/api/receipts/jobs/{id}");
        match self.exchange(&path, async |url, headers| self.client.get(url, headers).await).await? {
            (200, body) => Ok(body),
            (status, body) => {
                let text = format!("GET {path} answered {status}, expected 200: {body}");
                Err(Complaint::failed(text, Advice::REPORT_DEMO))
            }
        }
    }

    /// Calls the service as the tenant's owner, and returns the status and the JSON body.
    async fn exchange(
        &self,
        path: &str,
        ask: impl AsyncFnOnce(&str, &[Header<'_>]) -> Result<Answer, String>,
    ) -> Result<(u16, Value), Complaint> {
        let (tenant, user) = (TENANT.to_string(), USER.to_string());
        let headers = [
            ("X-Internal-Secret", self.secret.as_str()),
            ("X-Business-Id", &tenant),
            ("X-User-Id", &user),
            ("X-User-Role", "owner"),
        ];
        let exchange = async {
            let answer = ask(&format!("{}{path}", self.base), &headers).await?;
            Ok((answer.status, answer.json().await?))
        };
        let answered = tokio::time::timeout(PATIENCE, exchange).await;
        answered.unwrap_or_else(|_| Err(page::late(PATIENCE))).map_err(|error: String| {
            Complaint::failed(format!("no answer to {path}: {error}"), Advice::REPORT_DEMO)
        })
    }
}
