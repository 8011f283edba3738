//! A bucket as a blob store.
//!
//! Keys are deleted in bulk, with the checksum that the store accepts. If it refuses both, keys are deleted
//! one by one for an hour, then bulk is tried again. Opening sends no request, so that an outage does not
//! prevent a start.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use parking_lot::Mutex;

use super::bulk::{self, Bulk, Checksum};
use super::key;
use super::patience::patiently;
use super::place::S3Place;
use super::refusal::Asked;
use super::single;
use super::versions::Versions;
use crate::blob::key_path::RESERVED;
use crate::blob::{BlobStore, BlobTarget, KeyFault};
use crate::fault::{Fault, FaultKind};

/// The most keys that S3 takes in one request.
const MAX_KEYS: usize = 1000;
/// The most keys per call if each needs its own request: they must be done within the caller's deadline.
const MAX_SINGLE: usize = 100;
/// The time after a refusal during which no bulk requests are sent.
const REFUSAL: Duration = Duration::from_secs(3600);
/// The most keys in one page of an S3 listing.
const PAGE: usize = 1000;

/// A bucket, and what is known about it.
pub(in crate::blob) struct Bucket {
    client: Client,
    place: S3Place,
    target: BlobTarget,
    versions: Versions,
    /// The checksum for the first bulk request.
    checksum: Mutex<Checksum>,
    /// When and with which text the store refused bulk requests.
    bulk_refused: Mutex<Option<(Instant, String)>>,
}

impl Bucket {
    /// Opens the bucket without a request.
    pub(in crate::blob) async fn open(place: S3Place) -> Result<Self, Fault> {
        let client = place.client().await?;
        let target = BlobTarget { driver: place.driver.to_owned(), bucket: place.bucket.clone() };
        Ok(Self {
            client,
            place,
            target,
            versions: Versions::default(),
            checksum: Mutex::new(Checksum::Md5),
            bulk_refused: Mutex::new(None),
        })
    }

    fn asked(&self, what: impl Into<String>) -> Asked<'_> {
        Asked { what: what.into(), bucket: &self.place.bucket, driver: self.place.driver }
    }

    fn takes_bulk(&self) -> bool {
        self.bulk_refusal().is_none()
    }

    /// Deletes keys in bulk, or one by one if the store refuses that.
    async fn delete_many(&self, keys: &[&str]) -> Result<Vec<(String, Fault)>, Fault> {
        let what = match keys {
            [] => return Ok(Vec::new()),
            [key] => format!("delete the object {key:?}"),
            _ => format!("delete {} objects", keys.len()),
        };
        let asked = self.asked(what);
        if self.takes_bulk() {
            match self.delete_in_bulk(&asked, keys).await? {
                Bulk::Done(left) => return Ok(left),
                Bulk::Refused(words) => {
                    tracing::warn!(
                        error = words,
                        "the store takes no bulk deletions; objects go one by one for an hour"
                    );
                    *self.bulk_refused.lock() = Some((Instant::now(), words));
                }
            }
        }
        single::delete(&self.client, &asked, &self.versions, keys).await
    }

    /// Deletes in bulk, with one checksum or the other.
    async fn delete_in_bulk(&self, asked: &Asked<'_>, keys: &[&str]) -> Result<Bulk, Fault> {
        let first = *self.checksum.lock();
        let mut refusals = Vec::new();
        for checksum in [first, first.other()] {
            match bulk::delete(&self.client, asked, &self.versions, checksum, keys).await? {
                Bulk::Done(left) => {
                    *self.checksum.lock() = checksum;
                    return Ok(Bulk::Done(left));
                }
                Bulk::Refused(words) => refusals.push(format!("with {checksum:?}: {words}")),
            }
        }
        Ok(Bulk::Refused(refusals.join("; ")))
    }

    async fn write(&self, key: &str, content: &[u8]) -> Result<(), Fault> {
        let asked = self.asked(format!("write the object {key:?}"));
        let put = || {
            let body = ByteStream::from(content.to_owned());
            self.client.put_object().bucket(asked.bucket).key(key).body(body).send()
        };
        let output = patiently(put).await.map_err(|error| asked.fault(error))?;
        self.versions.seen(asked.bucket, output.version_id().is_some_and(|id| id != "null"));
        Ok(())
    }
}

#[async_trait]
impl BlobStore for Bucket {
    fn target(&self) -> &BlobTarget {
        &self.target
    }

    fn max_keys(&self) -> usize {
        if self.takes_bulk() { MAX_KEYS } else { MAX_SINGLE }
    }

    fn bulk_refusal(&self) -> Option<String> {
        let refused = self.bulk_refused.lock();
        refused.as_ref().filter(|(at, _)| at.elapsed() < REFUSAL).map(|(_, words)| words.clone())
    }

    async fn put(&self, key: &str, content: &[u8]) -> Result<(), Fault> {
        key::check_for_url(key)?;
        self.write(key, content).await
    }

    async fn size(&self, key: &str) -> Result<Option<u64>, Fault> {
        key::check_for_url(key)?;
        let asked = self.asked(format!("look at the object {key:?}"));
        match patiently(|| self.client.head_object().bucket(asked.bucket).key(key).send()).await {
            Ok(found) => Ok(Some(found.content_length().unwrap_or_default().unsigned_abs())),
            Err(error) if error.raw_response().is_some_and(|raw| raw.status().as_u16() == 404) => Ok(None),
            Err(error) => Err(asked.fault(error)),
        }
    }

    async fn delete(&self, keys: &[String]) -> Result<Vec<KeyFault>, Fault> {
        if keys.len() > MAX_KEYS {
            let text = format!("delete {} objects in one call: at most {MAX_KEYS} are taken", keys.len());
            return Err(Fault::new(FaultKind::Permanent, text));
        }
        let mut faults = Vec::new();
        let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, key) in keys.iter().enumerate() {
            match key::check(key) {
                Ok(()) => places.entry(key).or_default().push(index),
                Err(fault) => faults.push(KeyFault { index, fault }),
            }
        }
        let (many, odd): (HashSet<&str>, HashSet<&str>) =
            places.keys().partition(|key| key::fits_into_xml(key));
        let many: Vec<&str> = many.into_iter().collect();
        let odd: Vec<&str> = odd.into_iter().collect();
        let mut left = self.delete_many(&many).await?;
        let asked = self.asked("delete objects");
        left.extend(single::delete(&self.client, &asked, &self.versions, &odd).await?);
        for (key, fault) in left {
            let indices = places.get(key.as_str()).into_iter().flatten();
            faults.extend(
                indices.map(|index| KeyFault {
                    index: *index,
                    fault: Fault::new(fault.kind(), fault.to_string()),
                }),
            );
        }
        faults.sort_by_key(|fault| fault.index);
        Ok(faults)
    }

    async fn list(&self, prefix: &str, max: usize) -> Result<Vec<String>, Fault> {
        let asked = self.asked(format!("list objects under {prefix:?}"));
        let mut found: Vec<String> = Vec::new();
        while found.len() < max {
            let page = i32::try_from(PAGE.min(max - found.len())).unwrap_or(i32::MAX);
            let list = || {
                let call = self.client.list_objects_v2().bucket(asked.bucket).prefix(prefix).max_keys(page);
                call.set_start_after(found.last().cloned()).send()
            };
            let output = patiently(list).await.map_err(|error| asked.fault(error))?;
            let before = found.len();
            found.extend(output.contents().iter().filter_map(|object| object.key().map(str::to_owned)));
            if output.is_truncated() != Some(true) || found.len() == before {
                break;
            }
        }
        Ok(found)
    }

    async fn check(&self) -> Result<(), Fault> {
        let key = format!("{RESERVED}check/{}", uuid::Uuid::new_v4().simple());
        self.write(&key, b"tikkun").await?;
        let left = self.delete_many(&[&key]).await?;
        left.into_iter().next().map_or(Ok(()), |(_, fault)| Err(fault))
    }
}
