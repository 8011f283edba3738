//! Random graphs of receipts and attachments, against a model that looks at everything at once.

use std::collections::{BTreeMap, BTreeSet};

use tikkun::job::BusinessId;

use crate::rig::{OTHER, Rig, TENANT};

struct Attachment {
    tenant: BusinessId,
    purpose: &'static str,
    path: Option<String>,
}

struct Receipt {
    tenant: BusinessId,
    points_to: [Option<i64>; 2],
    live: bool,
    refuses: bool,
}

struct Graph {
    attachments: BTreeMap<i64, Attachment>,
    receipts: BTreeMap<i64, Receipt>,
}

const PURPOSES: [&str; 5] =
    ["receipt_source", "receipt_source", "receipt_preview", "receipt_preview", "contract"];

fn graph(dice: &mut fastrand::Rng) -> Graph {
    let mut graph = Graph { attachments: BTreeMap::new(), receipts: BTreeMap::new() };
    let tenant = |dice: &mut fastrand::Rng| if dice.u8(..4) == 0 { OTHER } else { TENANT };
    let attachments = dice.i64(1..=20);
    for id in 1..=attachments {
        let path = match dice.u8(..10) {
            0 => None,
            1 => Some(String::new()),
            2 => Some("one/key".to_owned()),
            _ => Some(format!("key/{id}")),
        };
        let purpose = PURPOSES[dice.usize(..PURPOSES.len())];
        graph.attachments.insert(id, Attachment { tenant: tenant(dice), purpose, path });
    }
    for id in 1..=dice.i64(1..=30) {
        let mut pointer = || dice.bool().then(|| dice.i64(1..=attachments));
        let points_to = [pointer(), pointer()];
        let (live, refuses) = (dice.u8(..5) > 0, dice.u8(..12) == 0);
        graph.receipts.insert(id, Receipt { tenant: tenant(dice), points_to, live, refuses });
    }
    graph
}

impl Graph {
    fn covered<'a>(&'a self, id: &i64, upper: i64) -> Option<&'a Receipt> {
        self.receipts.get(id).filter(|r| r.tenant == TENANT && r.live && *id <= upper)
    }

    /// Attachments that the whole deletion takes: pointed to by a receipt that goes, by none that stays,
    /// and by no dead one that cannot be changed, for its foreign key would have to become null.
    fn condemned(&self, upper: i64) -> BTreeSet<i64> {
        let goes = |id: &i64| self.covered(id, upper).is_some_and(|receipt| !receipt.refuses);
        let points = |receipt: &Receipt, id: i64| receipt.points_to.contains(&Some(id));
        let wanted = |(id, a): &(&i64, &Attachment)| {
            let path_shared = a.path.as_deref().is_some_and(|path| !path.is_empty())
                && self.attachments.iter().any(|(other, b)| other != *id && b.path == a.path);
            a.tenant == TENANT
                && a.purpose != "contract"
                && !path_shared
                && self.receipts.iter().any(|(r, receipt)| goes(r) && points(receipt, **id))
                && !self.receipts.iter().any(|(r, receipt)| receipt.live && !goes(r) && points(receipt, **id))
                && !self.receipts.values().any(|r| !r.live && r.refuses && points(r, **id))
        };
        self.attachments.iter().filter(wanted).map(|(id, _)| *id).collect()
    }

    async fn write(&self, rig: &Rig) {
        let text =
            |path: &Option<String>| path.as_ref().map_or("null".to_owned(), |path| format!("'{path}'"));
        let number = |id: Option<i64>| id.map_or("null".to_owned(), |id| id.to_string());
        let mut sql = String::from(
            "delete from receipts; delete from attachments; delete from background_jobs;
             delete from tikkun_cleanup_outbox;",
        );
        for (id, Attachment { tenant, purpose, path }) in &self.attachments {
            sql += &format!(
                "insert into attachments (id, business_id, purpose, storage_path)
                 values ({id}, {tenant}, '{purpose}', {});",
                text(path)
            );
        }
        for (id, receipt) in &self.receipts {
            sql += &format!(
                "insert into receipts (id, business_id, attachment_id, preview_attachment_id, is_deleted,
                 vendor_name, created_at) values ({id}, {}, {}, {}, {}, '{}', null);",
                receipt.tenant,
                number(receipt.points_to[0]),
                number(receipt.points_to[1]),
                !receipt.live,
                if receipt.refuses { "sealed" } else { "" }
            );
        }
        rig.run(&sql).await;
    }
}

pub async fn random_graphs_end_as_the_model_says(rig: &Rig) {
    rig.raw.refuse("update", "receipts", "old.vendor_name = 'sealed' and new.is_deleted").await;
    for seed in 0..60 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let graph = graph(&mut dice);
        graph.write(rig).await;
        let job = rig.started().await;
        let upper = job.cursor.upper_id.unwrap();
        let batches = rig.delete_all(&job, dice.u32(1..=12)).await;

        let condemned = graph.condemned(upper);
        let left: BTreeSet<i64> = rig.attachments().await.into_iter().collect();
        let all: BTreeSet<i64> = graph.attachments.keys().copied().collect();
        assert_eq!(&all - &left, condemned, "attachments, seed {seed}");
        for (id, receipt) in &graph.receipts {
            let gone = !receipt.live || graph.covered(id, upper).is_some_and(|receipt| !receipt.refuses);
            assert_eq!(rig.live(receipt.tenant).await.contains(id), !gone, "receipt {id}, seed {seed}");
        }
        let torn = "select count(*) from receipts r where is_deleted is not true and (
            (attachment_id is not null and attachment_id not in (select id from attachments)) or
            (preview_attachment_id is not null and preview_attachment_id not in (select id from attachments)))";
        assert_eq!(rig.number(torn).await, 0, "no live receipt lost its attachment, seed {seed}");
        for (id, receipt) in graph.receipts.iter().filter(|(_, receipt)| receipt.live) {
            let now =
                format!("select attachment_id from receipts where id = {id} and is_deleted is not true");
            for attachment in rig.raw.numbers(&now).await {
                assert_eq!(attachment, receipt.points_to[0], "live receipt {id}, seed {seed}");
            }
        }
        let covered: Vec<_> = graph.receipts.keys().filter_map(|id| graph.covered(id, upper)).collect();
        let progress = rig.get(job.id).await.progress;
        let refused = covered.iter().filter(|receipt| receipt.refuses).count() as i64;
        assert_eq!((progress.processed, progress.failed), (covered.len() as i64, refused), "seed {seed}");
        let objects = condemned
            .iter()
            .filter(|id| graph.attachments[id].path.as_deref().is_some_and(|path| !path.is_empty()))
            .count();
        assert_eq!(batches.iter().map(|batch| batch.condemned.len()).sum::<usize>(), objects, "seed {seed}");
        rig.set(job.id, "status = 'completed'").await;
    }
}
