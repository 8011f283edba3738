//! The example of a worker with its own jobs: the jobs are tested here, and the built program is run.

#[path = "../examples/own_worker/jobs.rs"]
mod jobs;

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use jobs::{ReadDocument, SendReminder};
use tikkun::config::{Settings, Sources};
use tikkun::job::{Completion, Job, JobContext, JobResult};
use tikkun::runtime::{Service, ServiceBuilder, StartError};
use tokio::process::Command;

const DEADLINE: Duration = Duration::from_secs(60);

/// Where `cargo test` builds examples: beside the folder of the tests.
fn example() -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.push("examples/own_worker");
    assert!(
        path.is_file(),
        "{} is not there: cargo build --locked --features failpoints --example own_worker",
        path.display()
    );
    path
}

#[tokio::test]
async fn example_runs_its_jobs_retries_one_shows_progress_and_leaves() {
    let mut command = Command::new(example());
    command.env_clear().stdin(Stdio::null()).kill_on_drop(true);
    let ended = tokio::time::timeout(DEADLINE, command.output()).await.expect("waited for the example");
    let ended = ended.unwrap();
    let said = String::from_utf8(ended.stdout).unwrap();
    assert!(ended.status.success(), "{said} {}", String::from_utf8_lossy(&ended.stderr));
    for line in [
        "reminder-27: finished after 2 attempts, 1 failed: {\"sent_to\":\"dana@example.com\",\"attempt\":2}\n",
        "document-1: finished after 1 attempts, 0 failed: {\"pages\":10}\n",
        "Drained\n",
    ] {
        assert!(said.contains(line), "no `{line}` in {said}");
    }
    let progress = said.lines().filter(|line| line.starts_with("document-1: ") && line.ends_with(" %"));
    assert!(progress.count() >= 1, "{said}");
}

/// Called like a job of Tikkun's.
struct Impostor;
impl Job for Impostor {
    const NAME: &'static str = "tikkun.noop";
    type Args = ();
    async fn run(&self, (): (), _: &JobContext) -> JobResult {
        Ok(Completion::done())
    }
}

async fn refused(folder: &std::path::Path, with: impl FnOnce(ServiceBuilder) -> ServiceBuilder) -> String {
    let data = folder.join("data").display().to_string();
    let sources = Sources::none().set("service.data", data).set("http.enabled", "false");
    let settings = Settings::load(&sources).unwrap().settings;
    let started = with(Service::builder(settings)).start().await;
    let Err(error @ StartError::Kinds(_)) = started else { panic!("two kinds of one name were taken") };
    error.to_string()
}

#[actix_rt::test]
async fn two_kinds_of_one_name_stop_the_start_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let twice = refused(folder.path(), |builder| builder.with(ReadDocument).with(ReadDocument)).await;
    for word in ["shop.jobs.read_document", "jobs::ReadDocument and"] {
        assert!(twice.contains(word), "{twice}");
    }
    let builder = |builder: ServiceBuilder| builder.with(SendReminder::default()).with(Impostor);
    let ours = refused(folder.path(), builder).await;
    for word in ["`tikkun.noop`", "diagnostics::Noop", "own_worker::Impostor"] {
        assert!(ours.contains(word), "{ours}");
    }
    assert!(!folder.path().join("data").exists());
}
