//! Deletes up to a thousand keys in one request.

use std::collections::HashSet;

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::delete_objects::DeleteObjectsOutput;
use aws_sdk_s3::types::{Delete, DeletedObject, Error as KeyError, ObjectIdentifier};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest as _, Md5};

use super::patience::patiently;
use super::refusal::{Answer, Asked, answer, refuses_bulk};
use super::versions::Versions;
use crate::fault::{Fault, FaultKind};

/// Codes which mean that the object does not exist any more.
const GONE: [&str; 2] = ["NoSuchKey", "NoSuchVersion"];

/// The checksum that protects a bulk request. Amazon takes either; other stores take one, and some refuse a
/// request with both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checksum {
    /// `Content-MD5`, which older stores require.
    Md5,
    /// The SDK's default, in `x-amz-checksum-crc32`.
    Crc32,
}

impl Checksum {
    /// The checksum to try when a store refuses this one.
    pub(super) fn other(self) -> Self {
        match self {
            Self::Md5 => Self::Crc32,
            Self::Crc32 => Self::Md5,
        }
    }
}

/// The result of a bulk request.
pub(super) enum Bulk {
    /// Keys that still exist, each with the reason.
    Done(Vec<(String, Fault)>),
    /// The store refuses bulk requests; its error text.
    Refused(String),
}

/// Deletes the keys, all different, in one request. The answer must account for each: an answer that was cut
/// off, or comes from another server, may contain no error either.
pub(super) async fn delete(
    client: &Client,
    asked: &Asked<'_>,
    versions: &Versions,
    checksum: Checksum,
    keys: &[&str],
) -> Result<Bulk, Fault> {
    let request =
        request(keys).map_err(|error| Fault::new(FaultKind::Permanent, asked.what.clone()).because(error))?;
    let ask = || {
        let call = client.delete_objects().bucket(asked.bucket).delete(request.clone());
        call.customize()
            .mutate_request(move |request| {
                let digest = request.body().bytes().map(|body| BASE64.encode(Md5::digest(body)));
                if let (Checksum::Md5, Some(digest)) = (checksum, digest) {
                    let headers = request.headers_mut();
                    headers.remove("x-amz-checksum-crc32");
                    headers.remove("x-amz-sdk-checksum-algorithm");
                    headers.insert("content-md5", digest);
                }
            })
            .send()
    };
    match patiently(ask).await {
        Ok(output) => {
            learn(asked.bucket, versions, &output);
            let mut left = left(asked, keys, output.errors())?;
            left.extend(unanswered(asked, versions, keys, &output));
            Ok(Bulk::Done(left))
        }
        Err(error) => match answer(&error).filter(refuses_bulk) {
            Some(answer) => Ok(Bulk::Refused(asked.refused(&answer).chain())),
            None => Err(asked.fault(error)),
        },
    }
}

fn request(keys: &[&str]) -> Result<Delete, aws_sdk_s3::error::BuildError> {
    let objects: Result<Vec<_>, _> =
        keys.iter().map(|key| ObjectIdentifier::builder().key(*key).build()).collect();
    Delete::builder().set_objects(Some(objects?)).quiet(false).build()
}

fn learn(bucket: &str, versions: &Versions, output: &DeleteObjectsOutput) {
    if !output.deleted().is_empty() {
        let marked = output.deleted().iter().any(|object| object.delete_marker() == Some(true));
        versions.seen(bucket, marked);
    }
}

/// The keys that the answer does not mention, for a store that is known to list deleted keys (some never do).
/// If it mentions as many keys as requested, it may only spell them differently.
fn unanswered(
    asked: &Asked<'_>,
    versions: &Versions,
    keys: &[&str],
    output: &DeleteObjectsOutput,
) -> Vec<(String, Fault)> {
    let names = versions.names_deleted(!output.deleted().is_empty());
    if !names || output.deleted().len() + output.errors().len() >= keys.len() {
        return Vec::new();
    }
    let deleted = output.deleted().iter().filter_map(DeletedObject::key);
    let told: HashSet<&str> = deleted.chain(output.errors().iter().filter_map(KeyError::key)).collect();
    let text = |key: &str| format!("{}: the store's answer says nothing of `{key}`", asked.what);
    let silent = keys.iter().filter(|key| !told.contains(*key));
    silent.map(|key| ((*key).to_owned(), Fault::new(FaultKind::Retryable, text(key)))).collect()
}

/// The keys with an error. An error for a key that was not requested means that the answer cannot be trusted.
fn left(asked: &Asked<'_>, keys: &[&str], errors: &[KeyError]) -> Result<Vec<(String, Fault)>, Fault> {
    let known: HashSet<&str> = keys.iter().copied().collect();
    let mut left = Vec::new();
    for error in errors {
        let Some(key) = error.key().filter(|key| known.contains(key)) else {
            let text =
                format!("{}: the store names the key {:?}, which was not asked for", asked.what, error.key());
            return Err(Fault::new(FaultKind::Retryable, text));
        };
        let code = error.code().unwrap_or_default();
        if GONE.contains(&code) {
            continue;
        }
        let asked = Asked { what: format!("delete the object `{key}`"), ..asked.clone() };
        let answer = Answer { status: None, code, message: error.message().unwrap_or_default() };
        left.push((key.to_owned(), asked.refused(&answer)));
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(key: Option<&str>, code: &str) -> KeyError {
        KeyError::builder().set_key(key.map(str::to_owned)).code(code).message("m").build()
    }

    fn asked() -> Asked<'static> {
        Asked { what: "delete 2 objects".into(), bucket: "b", driver: "s3" }
    }

    #[test]
    fn a_key_that_is_not_there_is_gone_and_others_stay_with_their_reason() {
        let errors =
            [error(Some("a"), "NoSuchKey"), error(Some("b"), "AccessDenied"), error(Some("c"), "SlowDown")];
        let left = left(&asked(), &["a", "b", "c"], &errors).unwrap();
        let found: Vec<_> = left.iter().map(|(key, fault)| (key.as_str(), fault.kind())).collect();
        assert_eq!(found, [("b", FaultKind::Permanent), ("c", FaultKind::Unavailable)]);
        assert!(
            left[0]
                .1
                .chain()
                .starts_with("delete the object `b` in the bucket `b`: the store answers AccessDenied (m)")
        );
    }

    #[test]
    fn an_answer_about_other_keys_confirms_nothing() {
        for key in [None, Some("z")] {
            let fault = left(&asked(), &["a"], &[error(key, "AccessDenied")]).unwrap_err();
            assert_eq!(fault.kind(), FaultKind::Retryable);
        }
    }
}
