//! Random graphs of receipts and attachments, compared with a simple model that checks everything at once.

use std::collections::{BTreeMap, BTreeSet};

use tikkun::job::BusinessId;
use tikkun::store::Kept;

use super::rig::{OTHER, Rig, TENANT, target};

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

    fn points(&self, id: i64, which: impl Fn(i64, &Receipt) -> bool) -> bool {
        self.receipts.iter().any(|(r, receipt)| receipt.points_to.contains(&Some(id)) && which(*r, receipt))
    }

    /// All attachments with the path of this one, itself among them.
    fn sharing(&self, id: i64) -> Vec<i64> {
        let path = self.attachments[&id].path.as_deref().filter(|path| !path.is_empty());
        let of_path =
            |(other, a): &(&i64, &Attachment)| **other == id || (path.is_some() && a.path.as_deref() == path);
        self.attachments.iter().filter(of_path).map(|(id, _)| *id).collect()
    }

    /// Whether nothing but a path that it shares may keep this attachment once `goes` tells which receipts go: a
    /// deleted receipt points to it, and no live one.
    fn is_free(&self, id: i64, goes: impl Fn(i64) -> bool) -> bool {
        let a = &self.attachments[&id];
        a.tenant == TENANT
            && a.purpose != "contract"
            && self.points(id, |r, receipt| !receipt.live || goes(r))
            && !self.points(id, |r, receipt| receipt.live && !goes(r))
    }

    /// Attachments that the whole deletion takes: free like all that share their path, one of which a receipt that
    /// goes points to; but none that a dead receipt points to which cannot be changed, for its foreign key would have
    /// to become null.
    fn condemned(&self, upper: i64) -> BTreeSet<i64> {
        let goes = |id: i64| self.covered(&id, upper).is_some_and(|receipt| !receipt.refuses);
        let taken = |id: &i64| {
            let sharing = self.sharing(*id);
            sharing.iter().all(|one| self.is_free(*one, goes))
                && sharing.iter().any(|one| self.points(*one, |r, _| goes(r)))
                && !self.points(*id, |_, receipt| !receipt.live && receipt.refuses)
        };
        self.attachments.keys().copied().filter(taken).collect()
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
                "insert into attachments (id, business_id, purpose, storage_path, file_size)
                 values ({id}, {tenant}, '{purpose}', {}, {id} * 7);",
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
        let keys: BTreeSet<_> = condemned
            .iter()
            .filter(|id| graph.sharing(**id).iter().all(|one| condemned.contains(one)))
            .filter_map(|id| graph.attachments[id].path.as_deref().filter(|path| !path.is_empty()))
            .collect();
        let objects = keys.len();
        assert_eq!(batches.iter().map(|batch| batch.condemned.len()).sum::<usize>(), objects, "seed {seed}");
        rig.set(job.id, "status = 'completed'").await;
    }
}

/// Why each attachment of receipts that go would stay, one by one.
fn kept(graph: &Graph, listed: &BTreeSet<i64>) -> BTreeMap<Kept, u64> {
    let mut kept = BTreeMap::new();
    for (id, a) in &graph.attachments {
        let of = |r: &&Receipt| r.live && r.points_to.contains(&Some(*id));
        let holders: Vec<_> = graph.receipts.values().filter(of).collect();
        if !holders.iter().any(|r| r.tenant == TENANT) {
            continue;
        }
        let goes = |r: i64| graph.receipts[&r].live && graph.receipts[&r].tenant == TENANT;
        let stays = |one: &i64| one != id && (!graph.is_free(*one, goes) || listed.contains(one));
        let path_of_another = graph.sharing(*id).iter().any(stays);
        let reason = if a.tenant != TENANT {
            Kept::OtherBusiness
        } else if a.purpose == "contract" {
            Kept::ForeignPurpose
        } else if holders.iter().any(|r| r.tenant != TENANT) {
            Kept::LiveReceipt
        } else if path_of_another {
            Kept::SharedPath
        } else if listed.contains(id) {
            Kept::Reference("quotes.file".into())
        } else {
            continue;
        };
        *kept.entry(reason).or_default() += 1;
    }
    kept
}

pub async fn a_plan_says_what_the_deletion_then_does(rig: &Rig) {
    rig.run("create table quotes (file integer references attachments (id))").await;
    for seed in 0..60 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let mut graph = graph(&mut dice);
        graph.receipts.values_mut().for_each(|receipt| receipt.refuses = false);
        rig.run("delete from quotes").await;
        graph.write(rig).await;
        let listed: BTreeSet<i64> = graph.attachments.keys().copied().filter(|_| dice.u8(..6) == 0).collect();
        for id in &listed {
            rig.run(&format!("insert into quotes values ({id})")).await;
        }
        let look = async || rig.store.receipts.plan(TENANT, &target()).await.unwrap();
        let plan = look().await;
        assert_eq!(look().await, plan, "a look changes nothing, seed {seed}");
        assert_eq!(plan.kept, kept(&graph, &listed).into_iter().collect::<Vec<_>>(), "seed {seed}");

        let before = rig.attachments().await.len() as u64;
        let job = rig.started().await;
        let batches = rig.delete_all(&job, dice.u32(1..=12)).await;
        let deleted: u64 = batches.iter().map(|batch| u64::from(batch.deleted)).sum();
        let objects: u64 = batches.iter().map(|batch| batch.condemned.len() as u64).sum();
        let bytes = rig.number("select coalesce(sum(bytes), 0) from tikkun_cleanup_outbox").await;
        let gone = before - rig.attachments().await.len() as u64;
        assert_eq!(
            (plan.receipts, plan.attachments, plan.objects, plan.bytes),
            (deleted, gone, objects, bytes as u64),
            "seed {seed}"
        );
        let nothing = look().await;
        assert_eq!((nothing.receipts, nothing.attachments, nothing.kept), (0, 0, vec![]), "seed {seed}");
        rig.set(job.id, "status = 'completed'").await;
    }
}

pub async fn a_plan_knows_how_fast_the_tenant_was_last(rig: &Rig) {
    rig.seed(3).await;
    let rate = async || rig.store.receipts.plan(TENANT, &target()).await.unwrap().last_rate;
    assert_eq!(rate().await, None);
    let id = rig.web_row().await;
    let times = "started_at = '2026-01-28 19:00:00', finished_at = '2026-01-28T19:01:40'";
    rig.set(id, &format!("status = 'completed', processed = 500, {times}")).await;
    assert!((rate().await.unwrap() - 5.0).abs() < 0.01);
}
