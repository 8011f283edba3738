//! Opens the storage of attachments that the configuration selects.

use std::sync::Arc;

use secrecy::ExposeSecret;

use crate::blob::{BlobStore, S3Keys, S3Place, S3Way, open_directory, open_s3};
use crate::config::{AttachmentDriver, AttachmentSettings, Settings};
use crate::fault::Fault;

pub(super) async fn open(settings: &Settings) -> Result<Arc<dyn BlobStore>, Fault> {
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
