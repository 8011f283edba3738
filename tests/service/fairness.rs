//! Fifty tenants, one of them huge: small ones do not wait for it.

use super::ground::Ground;

const HUGE: i64 = 5_000;
const SMALL: i64 = 20;

/// What had become of the huge deletion whenever another one completed.
const WITNESS: &str = "
    create table witness (job integer not null, status text not null, processed integer not null, attempt integer not null);
    create trigger witness_ends after update of status on background_jobs
        when new.status = 'completed' and new.id <> 1
        begin
            insert into witness select new.id, j.status, j.processed, n.attempt
            from background_jobs j join tikkun_background_jobs n on n.background_job_id = j.id where j.id = 1;
        end;";

#[tokio::test]
async fn forty_nine_small_tenants_do_not_wait_for_a_huge_one() {
    let ground = Ground::new().await;
    let mut tenants = vec![ground.tenant(10, HUGE).await];
    for number in 2..=50 {
        tenants.push(ground.tenant(number * 10, SMALL).await);
    }
    ground.run(WITNESS).await;
    let mut rows = Vec::new();
    for tenant in &tenants {
        let row = ground.plain_row(tenant).await;
        ground.enqueue(&format!("entry-{row}"), row).await;
        rows.push(row);
    }
    assert_eq!(rows[0], 1, "the huge one is first in its queue");

    // A run ends after one batch, and there is one slot: order alone decides.
    let start = ground.service().set("TIKKUN_WORKER__SLOTS", "1").set("TIKKUN_DELETION__BATCH", "100");
    let mut service = start.set("TIKKUN_DELETION__RUNTIME_LIMIT", "1ms").start().await;
    let huge = ground.becomes(&mut service, rows[0], "completed").await;
    ground.drained(&mut service).await;

    assert_eq!(ground.number("select count(*) from witness").await, 49, "each small one has completed once");
    let unfair = "select count(*) from witness where (status, processed, attempt) <> ('paused', 100, 1)";
    assert_eq!(
        ground.number(unfair).await,
        0,
        "the huge one had its second turn before a small one had its first"
    );
    assert_eq!(huge.attempt, HUGE / 100 + 1, "one batch a turn, and one to see that nothing is left");
    let entry = ground.carrier_ended(&mut service, rows[0]).await;
    assert_eq!((entry.state.as_str(), entry.failures, entry.orphaned), ("finished", 0, 0));
    for (tenant, row) in tenants.iter().zip(&rows) {
        ground.is_deleted(tenant, &ground.row(*row).await).await;
    }
}
