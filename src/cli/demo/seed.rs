//! Writes the made-up data in chunks: first the files as the web application would, then the rows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::plan::{ARRIVALS, Group, NEIGHBOURS, Plan, Rows, content};
use crate::cli::advice::Advice;
use crate::cli::ending::Complaint;
use crate::store::{TrialAttachment, TrialData, TrialReceipt};

/// Receipts per chunk: enough to be fast, few enough to need little memory.
const CHUNK: usize = 2000;

/// What has been written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seeded {
    /// Receipts by label.
    pub receipts: BTreeMap<&'static str, u64>,
    /// Attachments by group.
    pub attachments: BTreeMap<Group, u64>,
    /// How many attachments the other tenant's receipts point to.
    pub pointed: u64,
    /// The number of files.
    pub files: u64,
}

/// The receipts that arrived while the deletion ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Arrived {
    /// Receipts with a file of their own.
    pub own: u64,
    /// Receipts that point to an attachment of the request and arrived before its batch.
    pub in_time: u64,
}

/// Writes the made-up data.
pub(super) struct Seeder<'a> {
    pub plan: Plan,
    pub trial: &'a dyn TrialData,
    /// The folder for the files.
    pub root: PathBuf,
}

impl Seeder<'_> {
    /// Writes the data that exists before the request. `tell` gets the number of receipts written so far.
    pub(super) async fn seed(&self, mut tell: impl FnMut(u64)) -> Result<Seeded, Complaint> {
        let (mut seeded, mut done) = (Seeded::default(), 0);
        let plan = self.plan;
        let requested = (1..=plan.receipts).map(|i| plan.requested(i));
        let mut all = requested.chain((1..=plan.neighbours()).map(|j| plan.neighbour(j)));
        loop {
            let chunk: Vec<Rows> = all.by_ref().take(CHUNK).collect();
            if chunk.is_empty() {
                return Ok(seeded);
            }
            done += chunk.len() as u64;
            let written = self.write(chunk).await?;
            if written.refused > 0 {
                let text = format!("{} trial receipts were not inserted", written.refused);
                return Err(Complaint::failed(text, Advice::REPORT_DEMO));
            }
            seeded.add(&written);
            tell(done);
        }
    }

    /// Writes the receipts that arrive while the deletion runs. First those that point to the request's
    /// attachments, because they must arrive before the batch of these.
    pub(super) async fn arrive(&self) -> Result<Arrived, Complaint> {
        let in_time = self.trial.insert_receipts(&self.plan.latecomers()).await?;
        self.write((1..=ARRIVALS).map(|k| self.plan.arrival(k)).collect()).await?;
        Ok(Arrived { own: ARRIVALS.unsigned_abs(), in_time })
    }

    async fn write(&self, chunk: Vec<Rows>) -> Result<Written, Complaint> {
        let (mut receipts, mut attachments) = (Vec::new(), Vec::new());
        for rows in chunk {
            receipts.extend(rows.receipts);
            attachments.extend(rows.attachments);
        }
        let mut groups = BTreeMap::new();
        for (group, _) in &attachments {
            *groups.entry(*group).or_default() += 1;
        }
        let rows: Vec<TrialAttachment> = attachments.into_iter().map(|(_, row)| row).collect();
        let files: BTreeMap<String, i64> =
            rows.iter().map(|row| (row.storage_path.clone(), row.id)).collect();
        let (root, count) = (self.root.clone(), files.len() as u64);
        let written = tokio::task::spawn_blocking(move || write_files(&root, &files)).await;
        written.map_err(|lost| {
            Complaint::failed(format!("writing trial files was cut short: {lost}"), Advice::AGAIN)
        })??;
        self.trial.insert_attachments(&rows).await?;
        let inserted = self.trial.insert_receipts(&receipts).await?;
        let refused = (receipts.len() as u64).saturating_sub(inserted);
        Ok(Written { receipts, groups, files: count, refused })
    }
}

/// What one chunk has written.
struct Written {
    receipts: Vec<TrialReceipt>,
    groups: BTreeMap<Group, u64>,
    files: u64,
    refused: u64,
}

impl Seeded {
    fn add(&mut self, written: &Written) {
        for receipt in &written.receipts {
            *self.receipts.entry(receipt.label).or_default() += 1;
            if receipt.label == NEIGHBOURS {
                let pointed = [receipt.attachment_id, receipt.preview_attachment_id];
                self.pointed += pointed.iter().flatten().count() as u64;
            }
        }
        for (group, count) in &written.groups {
            *self.attachments.entry(*group).or_default() += count;
        }
        self.files += written.files;
    }
}

fn write_files(root: &Path, files: &BTreeMap<String, i64>) -> Result<(), Complaint> {
    let failed = |path: &Path, error: std::io::Error| {
        let text = format!("cannot write the trial file {}: {error}", path.display());
        Complaint::failed(text, Advice::OTHER_TEMPORARY)
    };
    let mut folders = BTreeSet::new();
    for (key, id) in files {
        let path = root.join(key);
        if let Some(folder) = path.parent().filter(|folder| !folders.contains(*folder)) {
            std::fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
            folders.insert(folder.to_owned());
        }
        std::fs::write(&path, content(*id)).map_err(|error| failed(&path, error))?;
    }
    Ok(())
}
