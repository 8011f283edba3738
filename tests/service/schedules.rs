//! Schedules of the configuration file, checked at the start.

use super::ground::{FUNCTION, Ground};

#[tokio::test]
async fn schedule_of_a_function_that_nobody_here_has_is_named_at_the_start() {
    let ground = Ground::new().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tikkun.toml");
    let schedule = |name: &str, function: &str| {
        format!(
            "[[schedule]]\nname = \"{name}\"\ncron = \"@yearly\"\nfunction = \"{function}\"\nqueue = \"maintenance\"\n"
        )
    };
    std::fs::write(&file, schedule("weekly", "shop.report") + &schedule("ours", FUNCTION)).unwrap();
    let with_file =
        |role| ground.service().set("TIKKUN_CONFIG", file.to_str().unwrap()).set("SERVICE_ROLE", role);
    let mut service = with_file("all").start().await;
    let line = service.says("schedule `weekly` calls `shop.report`").await;
    assert!(line.contains("WARN") && line.contains("queue `maintenance`"), "{line}");
    assert!(service.lines("schedule `ours`").is_empty());
    assert_eq!(service.terminate().await, Some(0));

    let mut keeps_no_time = with_file("api").start().await;
    assert_eq!(keeps_no_time.terminate().await, Some(0));
    assert!(keeps_no_time.lines("schedule `weekly`").is_empty(), "that is for those who enqueue it");
}
