//! `kill -9` of processes that hold jobs on eight queues, at random moments.

use std::collections::BTreeMap;

use tikkun::job::{JobRecord, JobState};

use super::fleet::{Fleet, Plan};
use super::place::{Place, size};

/// Each effect of a deletion leaves a line here, however often it happens.
const LEDGER: &str = "
    create table ledger (effect text not null, what text not null);
    create trigger ledger_marked after update of is_deleted on receipts
        when new.is_deleted and not old.is_deleted
        begin insert into ledger values ('receipt marked', new.id); end;
    create trigger ledger_dropped after delete on attachments
        begin insert into ledger values ('attachment dropped', old.id); end;
    create trigger ledger_condemned after insert on tikkun_cleanup_outbox
        begin insert into ledger values ('object condemned', new.key); end;";

#[tokio::test]
async fn killed_with_jobs_on_eight_queues_each_comes_back_in_time_and_nothing_happens_twice() {
    let plan = Plan { kills: size("KILLS", 4), seed: size("KILLS_SEED", 20_261_125) };
    let place = Place::keeping().await;
    place.ground.run(LEDGER).await;
    let mut chance = fastrand::Rng::with_seed(plan.seed);
    let mut fleet = Fleet::new(&plan, &place, 2).await;
    while fleet.kills < plan.kills {
        fleet.kill_one(&mut chance).await;
    }
    fleet.all_has_ended().await;
    let mut survivor = fleet.survivor().await;
    for (tenant, row) in &fleet.deletions {
        place.ground.becomes(&mut survivor, *row, "completed").await;
        let entry = place.job(&format!("row-{row}")).await.expect("the entry of a row");
        assert_eq!(
            (entry.state, entry.failures),
            (JobState::Finished, 0),
            "{tenant}: {entry:?}",
            tenant = tenant.id
        );
    }
    place.ground.drained(&mut survivor).await;
    for (tenant, row) in &fleet.deletions {
        place.ground.is_deleted(tenant, &place.ground.row(*row).await).await;
    }
    let twice = "select count(*) - count(distinct effect || ' ' || what) from ledger";
    assert_eq!(place.ground.number(twice).await, 0, "effects that happened twice");

    let mut ends: BTreeMap<&str, usize> = BTreeMap::new();
    for id in &fleet.jobs {
        let job = place.job(id).await.unwrap_or_else(|| panic!("job {id} is gone"));
        *ends.entry(end_by_policy(&job)).or_default() += 1;
    }
    println!(
        "kills: {}, seed: {}, jobs in hand then: {}, the longest wait of one: {:.1?}, looks at all registers: {}, \
         deletions: {}, plain jobs: {ends:?}",
        fleet.kills,
        plan.seed,
        fleet.in_hand,
        fleet.longest,
        fleet.looks,
        fleet.deletions.len()
    );
}

/// How the job ended, which must be as its policy has it.
fn end_by_policy(job: &JobRecord) -> &'static str {
    let once = job.id.as_str().starts_with("once");
    match job.state {
        JobState::Finished if once && job.attempt == 1 => "done at once, no retry left",
        JobState::Finished if !once && job.attempt == job.failures + 1 => match job.failures {
            0 => "done at once",
            _ => "done again after a death",
        },
        JobState::Failed if once && job.attempt == 1 => {
            let error = job.error.as_deref().unwrap_or_default();
            assert!(error.contains("died while it ran this job"), "{job:?}");
            "failed by a death, no retry left"
        }
        _ => panic!("it ended in another way than its policy says: {job:?}"),
    }
}
