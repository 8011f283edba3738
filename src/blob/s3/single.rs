//! Deletes keys one by one, several at a time: for keys that XML cannot contain, and for stores that refuse
//! bulk requests.

use aws_sdk_s3::Client;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::key;
use super::patience::patiently;
use super::refusal::{Asked, answer, is_about_the_key};
use super::versions::Versions;
use crate::fault::Fault;

/// The number of concurrent requests.
const AT_A_TIME: usize = 16;

/// Deletes each key; returns those that still exist. A fault that is not about one key ends the call.
pub(super) async fn delete(
    client: &Client,
    asked: &Asked<'_>,
    versions: &Versions,
    keys: &[&str],
) -> Result<Vec<(String, Fault)>, Fault> {
    let calls: Vec<_> = keys.iter().map(|key| delete_one(client, asked, versions, key)).collect();
    let left: Vec<Option<(String, Fault)>> =
        stream::iter(calls).buffer_unordered(AT_A_TIME).try_collect().await?;
    Ok(left.into_iter().flatten().collect())
}

async fn delete_one(
    client: &Client,
    asked: &Asked<'_>,
    versions: &Versions,
    key: &str,
) -> Result<Option<(String, Fault)>, Fault> {
    if let Err(fault) = key::check_for_url(key) {
        return Ok(Some((key.to_owned(), fault)));
    }
    let asked = Asked { what: format!("delete the object {key:?}"), ..asked.clone() };
    let error = match patiently(|| client.delete_object().bucket(asked.bucket).key(key).send()).await {
        Ok(output) => {
            versions.seen(asked.bucket, output.delete_marker() == Some(true));
            return Ok(None);
        }
        Err(error) => error,
    };
    let (is_gone, of_key) = answer(&error)
        .map_or((false, false), |answer| (answer.code == "NoSuchKey", is_about_the_key(&answer)));
    match asked.fault(error) {
        _ if is_gone => Ok(None),
        fault if of_key => Ok(Some((key.to_owned(), fault))),
        fault => Err(fault),
    }
}
