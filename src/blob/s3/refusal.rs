//! Converts a store's error answers to a [`Fault`] with advice.

use std::time::Duration;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::fault::{Fault, FaultKind};

/// The most characters of the store's own text.
const WORDS: usize = 300;

/// Codes that mean throttling, whatever their status.
const THROTTLES: [&str; 6] = [
    "SlowDown",
    "TooManyRequests",
    "TooManyRequestsException",
    "Throttling",
    "RequestLimitExceeded",
    "ServiceUnavailable",
];

/// A call, its bucket, and the prefix of its settings.
#[derive(Clone, Debug)]
pub(super) struct Asked<'a> {
    /// The action, such as "write the object `7/a.pdf`".
    pub(super) what: String,
    /// The bucket.
    pub(super) bucket: &'a str,
    /// `r2` or `s3`.
    pub(super) driver: &'a str,
}

/// The content of an error answer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Answer<'a> {
    /// The status; `None` for the error of one key among many.
    pub(super) status: Option<u16>,
    /// The code.
    pub(super) code: &'a str,
    /// The message.
    pub(super) message: &'a str,
}

/// The content of a refusal; `None` if no readable answer came.
pub(super) fn answer<E: ProvideErrorMetadata>(error: &SdkError<E>) -> Option<Answer<'_>> {
    let SdkError::ServiceError(refused) = error else { return None };
    Some(Answer {
        status: Some(refused.raw().status().as_u16()),
        code: refused.err().code().unwrap_or_default(),
        message: refused.err().message().unwrap_or_default(),
    })
}

/// Whether the store is throttling.
pub(super) fn is_throttled<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    let status = error.raw_response().map(|raw| raw.status().as_u16());
    let code = answer(error).map_or("", |answer| answer.code);
    matches!(status, Some(429 | 503)) || THROTTLES.contains(&code)
}

/// How long the store asks to wait, if it says so in seconds.
pub(super) fn retry_after<E>(error: &SdkError<E>) -> Option<Duration> {
    let seconds = error.raw_response()?.headers().get("retry-after")?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

impl Asked<'_> {
    /// The fault of a call that failed.
    pub(super) fn fault<E>(&self, error: SdkError<E>) -> Fault
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        if let Some(answer) = answer(&error) {
            let fault = self.refused(&answer);
            // Proxies have limits of their own, in size and in time.
            return if matches!(answer.status, Some(413 | 504)) { fault.at_a_limit() } else { fault };
        }
        let context = self.context();
        match error {
            SdkError::ConstructionFailure(_) => Fault::new(
                FaultKind::Permanent,
                format!(
                    "{context}: the request cannot be made; see the bucket's name and {}",
                    self.setting("endpoint")
                ),
            ),
            SdkError::DispatchFailure(ref failure) if failure.is_user() || failure.is_other() => {
                // Without credentials no request is sent; a role that cannot be assumed now may work later.
                Fault::new(
                    FaultKind::Unavailable,
                    format!("{context}: nothing was sent; {}", self.credentials()),
                )
            }
            SdkError::DispatchFailure(_) => Fault::new(
                FaultKind::Unavailable,
                format!(
                    "{context}: the store cannot be reached; see {} and the network",
                    self.setting("endpoint")
                ),
            ),
            SdkError::TimeoutError(_) => {
                Fault::new(FaultKind::Unavailable, format!("{context}: no answer in time")).at_a_limit()
            }
            _ => Fault::new(FaultKind::Unavailable, context),
        }
        .because(error)
    }

    /// The fault of an answer.
    pub(super) fn refused(&self, answer: &Answer<'_>) -> Fault {
        let (kind, advice) = self.verdict(answer);
        let status = answer.status.map_or_else(String::new, |status| format!(" {status}"));
        let code = if answer.code.is_empty() { String::new() } else { format!(" {}", answer.code) };
        let words: String = answer.message.chars().filter(|c| !c.is_control()).take(WORDS).collect();
        let words = if words.is_empty() { words } else { format!(" ({words})") };
        let advice = if advice.is_empty() { advice } else { format!(": {advice}") };
        Fault::new(kind, format!("{}: the store answers{status}{code}{words}{advice}", self.context()))
    }

    fn context(&self) -> String {
        format!("{} in the bucket `{}`", self.what, self.bucket)
    }

    fn setting(&self, name: &str) -> String {
        format!("`attachments.{}_{name}`", self.driver)
    }

    fn credentials(&self) -> String {
        format!("see {} and {}", self.setting("access_key_id"), self.setting("secret_access_key"))
    }

    /// The kind of refusal, and advice for the operator.
    fn verdict(&self, answer: &Answer<'_>) -> (FaultKind, String) {
        use FaultKind::{Permanent, Retryable, Unavailable};
        if is_locked(answer) {
            let advice =
                "an object lock or a retention rule keeps it; it goes once that has run out or is lifted";
            return (Permanent, advice.to_owned());
        }
        let advice = match answer.code {
            "NoSuchBucket" => format!("there is no such bucket; correct {}", self.setting("bucket")),
            "InvalidAccessKeyId"
            | "InvalidToken"
            | "NotSignedUp"
            | "Unauthorized"
            | "TokenRefreshRequired" => {
                format!("the store does not know the access key; {}", self.credentials())
            }
            "ExpiredToken" => format!("the access key has run out; {}", self.credentials()),
            "SignatureDoesNotMatch" => {
                format!(
                    "the secret does not belong to the access key; correct {}",
                    self.setting("secret_access_key")
                )
            }
            "RequestTimeTooSkewed" => {
                "this machine's clock is wrong; set it, and keep it right (NTP)".to_owned()
            }
            "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException" => {
                match self.driver {
                    "s3" => format!(
                        "the bucket lies elsewhere; correct {} or {}",
                        self.setting("region"),
                        self.setting("endpoint")
                    ),
                    _ => format!("the bucket lies elsewhere; correct {}", self.setting("endpoint")),
                }
            }
            code if THROTTLES.contains(&code) => return (Unavailable, String::new()),
            "InternalError" | "OperationAborted" | "RequestTimeout" => return (Retryable, String::new()),
            code => return self.by_status(answer.status, code),
        };
        (Permanent, advice)
    }

    fn by_status(&self, status: Option<u16>, code: &str) -> (FaultKind, String) {
        match (status, code) {
            (_, "AccessDenied") | (Some(403), _) => {
                let advice = "the access key may not do that; it needs s3:DeleteObject, and for the self-test \
                              s3:PutObject and s3:ListBucket";
                (FaultKind::Permanent, advice.to_owned())
            }
            (Some(401), _) => (
                FaultKind::Permanent,
                format!("the store does not know the access key; {}", self.credentials()),
            ),
            (Some(301 | 307 | 308), _) => (
                FaultKind::Permanent,
                format!("the bucket lies elsewhere; correct {}", self.setting("endpoint")),
            ),
            (Some(408 | 429 | 500..=599), _) => (FaultKind::Unavailable, String::new()),
            // An error of one key without a code, or an unreadable answer to the whole call.
            (None | Some(200..=299), "") => (FaultKind::Retryable, String::new()),
            _ => (FaultKind::Permanent, String::new()),
        }
    }
}

/// Whether a lock protects the object: S3's object lock, R2's bucket locks, other stores' retention.
fn is_locked(answer: &Answer<'_>) -> bool {
    let text = format!("{} {}", answer.code, answer.message).to_ascii_lowercase();
    let refused = matches!(answer.status, None | Some(400 | 403 | 409));
    let words =
        ["object lock", "objectlock", "retention", "legal hold", "activehold", "event-based hold", "worm"];
    refused && words.iter().any(|word| text.contains(word))
}

/// Whether the store refuses this way of deleting, so that another way may work.
pub(super) fn refuses_bulk(answer: &Answer<'_>) -> bool {
    let code_says = matches!(
        answer.code,
        "NotImplemented"
            | "InvalidArgument"
            | "NotSupported"
            | "MethodNotAllowed"
            | "MalformedXML"
            | "MissingContentMD5"
            | "InvalidDigest"
            | "BadDigest"
            | "XAmzContentChecksumMismatch"
    );
    let message = answer.message.to_ascii_lowercase();
    let checksum =
        answer.code == "InvalidRequest" && (message.contains("checksum") || message.contains("md5"));
    matches!(answer.status, Some(405 | 501)) || code_says || checksum
}

/// Codes that concern every key alike.
const OF_ALL_KEYS: [&str; 13] = [
    "NoSuchBucket",
    "InvalidBucketName",
    "InvalidAccessKeyId",
    "InvalidToken",
    "NotSignedUp",
    "Unauthorized",
    "TokenRefreshRequired",
    "ExpiredToken",
    "SignatureDoesNotMatch",
    "RequestTimeTooSkewed",
    "PermanentRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
];

/// Whether the refusal to delete one object may concern only its key. Stores have codes of their own for objects
/// that they keep, so this holds of all codes but those that are known to concern every key alike.
pub(super) fn is_about_the_key(answer: &Answer<'_>) -> bool {
    let of_all = answer.code.is_empty()
        || OF_ALL_KEYS.contains(&answer.code)
        || THROTTLES.contains(&answer.code)
        || matches!(answer.code, "OperationAborted" | "RequestTimeout");
    is_locked(answer) || (matches!(answer.status, Some(400 | 403 | 404 | 409 | 412 | 422 | 423)) && !of_all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(driver: &str, status: u16, code: &str, message: &str) -> (FaultKind, String) {
        let asked = Asked { what: "delete 2 objects".into(), bucket: "b", driver };
        let fault = asked.refused(&Answer { status: Some(status), code, message });
        (fault.kind(), fault.chain())
    }

    #[test]
    fn every_refusal_says_what_to_do() {
        let table = [
            (404, "NoSuchBucket", "", FaultKind::Permanent, "correct `attachments.r2_bucket`"),
            (403, "InvalidAccessKeyId", "", FaultKind::Permanent, "see `attachments.r2_access_key_id`"),
            (401, "Unauthorized", "", FaultKind::Permanent, "see `attachments.r2_access_key_id`"),
            (
                403,
                "SignatureDoesNotMatch",
                "",
                FaultKind::Permanent,
                "correct `attachments.r2_secret_access_key`",
            ),
            (403, "RequestTimeTooSkewed", "", FaultKind::Permanent, "clock is wrong; set it"),
            (403, "AccessDenied", "", FaultKind::Permanent, "needs s3:DeleteObject"),
            (403, "", "", FaultKind::Permanent, "needs s3:DeleteObject"),
            (403, "AccessDenied", "blocked by a policy", FaultKind::Permanent, "needs s3:DeleteObject"),
            (403, "AccessDenied", "blocked by Object Lock", FaultKind::Permanent, "retention rule keeps it"),
            (403, "ObjectLockedByBucketPolicy", "", FaultKind::Permanent, "retention rule keeps it"),
            (403, "ObjectUnderActiveHold", "", FaultKind::Permanent, "retention rule keeps it"),
            (301, "PermanentRedirect", "", FaultKind::Permanent, "correct `attachments.r2_endpoint`"),
            (429, "", "", FaultKind::Unavailable, "answers 429"),
            (503, "SlowDown", "reduce your rate", FaultKind::Unavailable, "503 SlowDown (reduce your rate)"),
            (500, "InternalError", "", FaultKind::Retryable, "500 InternalError"),
            (502, "", "", FaultKind::Unavailable, "answers 502"),
            (400, "Weird", "", FaultKind::Permanent, "400 Weird"),
        ];
        for (status, code, message, kind, words) in table {
            let (found, text) = verdict("r2", status, code, message);
            assert_eq!(found, kind, "{text}");
            assert!(text.starts_with("delete 2 objects in the bucket `b`: the store answers"), "{text}");
            assert!(text.contains(words), "expected `{words}` in: {text}");
        }
        assert!(verdict("s3", 400, "AuthorizationHeaderMalformed", "").1.contains("`attachments.s3_region`"));
    }

    #[test]
    fn only_a_refusal_of_the_way_leads_to_single_deletes() {
        let table = [
            (501, "NotImplemented", "", true),
            (400, "InvalidArgument", "Invalid argument.", true),
            (405, "", "", true),
            (400, "MalformedXML", "", true),
            (400, "InvalidRequest", "Missing required header for this request: Content-MD5", true),
            (400, "InvalidRequest", "the moon is full", false),
            (403, "AccessDenied", "", false),
            (503, "SlowDown", "", false),
        ];
        for (status, code, message, expected) in table {
            let answer = Answer { status: Some(status), code, message };
            assert_eq!(refuses_bulk(&answer), expected, "{answer:?}");
        }
    }

    #[test]
    fn a_single_refusal_is_the_keys_unless_it_concerns_all() {
        let table = [
            (403, "AccessDenied", true),
            (403, "ObjectUnderActiveHold", true),
            (400, "InvalidObjectName", true),
            (403, "", false),
            (403, "SignatureDoesNotMatch", false),
            (404, "NoSuchBucket", false),
            (409, "OperationAborted", false),
            (503, "Weird", false),
            (400, "RequestTimeout", false),
        ];
        for (status, code, expected) in table {
            let answer = Answer { status: Some(status), code, message: "" };
            assert_eq!(is_about_the_key(&answer), expected, "{answer:?}");
        }
    }
}
