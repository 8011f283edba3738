//! Opens the storage of attachments that the configuration selects. A folder on a disk that hangs, as a network disk
//! does whose server is gone, takes as long as the disk.

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::start_error::{OpenError, nothing_at, opened, opened_calmly};
use crate::blob::{BlobStore, S3Keys, S3Place, S3Way, is_directory, open_directory, open_s3};
use crate::config::{AttachmentDriver, AttachmentSettings, Settings};
use crate::fault::Fault;

/// Opens it, for at most `limit`.
///
/// # Errors
/// Says why it cannot be opened.
pub async fn open_attachments(settings: &Settings, limit: Duration) -> Result<Arc<dyn BlobStore>, OpenError> {
    opened("the attachments", None, limit, calmly(settings)).await.map_err(|error| of_file(error, settings))
}

/// Opens it, however long that takes.
pub(super) async fn open(settings: &Settings) -> Result<Arc<dyn BlobStore>, OpenError> {
    let failed = |fault| of_file(OpenError::new("the attachments", fault), settings);
    calmly(settings).await.map_err(failed)
}

/// Opens it, and makes no folder that is not there.
pub(super) async fn found(settings: &Settings) -> Result<Arc<dyn BlobStore>, Fault> {
    let folder = &settings.attachments.folder;
    if is_folder(settings) && !is_directory(folder).await? {
        return Err(nothing_at(folder));
    }
    calmly(settings).await
}

fn of_file(error: OpenError, settings: &Settings) -> OpenError {
    error.of_a_file(is_folder(settings))
}

fn is_folder(settings: &Settings) -> bool {
    matches!(settings.attachments.driver, AttachmentDriver::Local)
}

async fn calmly(settings: &Settings) -> Result<Arc<dyn BlobStore>, Fault> {
    opened_calmly(chosen(settings)).await
}

async fn chosen(settings: &Settings) -> Result<Arc<dyn BlobStore>, Fault> {
    let attachments = &settings.attachments;
    match &attachments.driver {
        AttachmentDriver::Local => open_directory(&attachments.folder).await,
        AttachmentDriver::R2 => open_s3(S3Place { way: way(settings), ..r2_place(attachments) }).await,
        AttachmentDriver::S3 => open_s3(S3Place { way: way(settings), ..s3_place(attachments) }).await,
    }
}

fn r2_place(AttachmentSettings { r2, .. }: &AttachmentSettings) -> S3Place {
    S3Place {
        driver: "r2",
        bucket: r2.bucket.clone(),
        // R2 has one region.
        region: Some("auto".to_owned()),
        endpoint: Some(r2.endpoint()),
        path_style: true,
        keys: Some(S3Keys {
            id: r2.access_key_id.clone(),
            secret: r2.secret_access_key.clone(),
            token: None,
        }),
        way: S3Way::default(),
    }
}

fn s3_place(AttachmentSettings { s3, .. }: &AttachmentSettings) -> S3Place {
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let has_keys = !s3.access_key_id.expose_secret().is_empty();
    let has_token = !s3.session_token.expose_secret().is_empty();
    let keys = has_keys.then(|| S3Keys {
        id: s3.access_key_id.clone(),
        secret: s3.secret_access_key.clone(),
        token: has_token.then(|| s3.session_token.clone()),
    });
    S3Place {
        driver: "s3",
        bucket: s3.bucket.clone(),
        region: given(&s3.region),
        endpoint: given(&s3.endpoint),
        path_style: s3.path_style,
        keys,
        way: S3Way::default(),
    }
}

fn way(settings: &Settings) -> S3Way {
    S3Way { ca_file: settings.tls.ca_file.clone(), proxy: settings.attachments.proxy.clone() }
}
