//! Tests the API against its own description with schemathesis: a service with data in every state gets valid
//! and invalid calls of every operation.

use crate::service::ground;
use crate::service::process;
mod states;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use serde_json::Value;
use tikkun::job::JobState;

use self::ground::Ground;
use self::process::{SECRET, Service};

/// Longer than schemathesis may take, several times over.
const PATIENCE: Duration = Duration::from_secs(900);
/// The same cases each time, so many for one operation and phase, and commands that can be repeated as they are told.
const OPTIONS: &str = "--seed 6 --max-examples 40 --workers 1 --generation-database none --request-timeout 20 \
     --report ndjson --output-sanitize false --no-color";
/// Has no end, and so a reader of its own: `stream.py`.
const STREAM: &str = "/api/v1/events";

/// A program of the environment that `tests/run` makes.
fn program(name: &str) -> PathBuf {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("openapi/bin").join(name);
    assert!(program.is_file(), "{} is missing: `tests/run` installs what the tests need", program.display());
    program
}

fn script(name: &str) -> String {
    format!("{}/tests/openapi/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A file of the last run, kept for whoever wants to look.
fn report(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("openapi-report");
    std::fs::create_dir_all(&folder).unwrap();
    folder.join(name)
}

async fn run(name: &str, args: &[&str], known: &Value) -> Output {
    let running = tokio::process::Command::new(program(name))
        .args(args)
        .current_dir(report(""))
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("PYTHONPATH", script(""))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("TIKKUN_OPENAPI_SECRET", SECRET)
        .env("TIKKUN_OPENAPI_KNOWN", known.to_string())
        .kill_on_drop(true)
        .output();
    let done = tokio::time::timeout(PATIENCE, running).await;
    done.unwrap_or_else(|_| panic!("{name} {args:?} took longer than {PATIENCE:?}")).unwrap()
}

fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// How often each operation gave which answer, as the report tells.
fn answers(report: &str) -> BTreeMap<String, BTreeMap<u64, usize>> {
    let mut answers: BTreeMap<String, BTreeMap<u64, usize>> = BTreeMap::new();
    for line in report.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let recorder = &event["ScenarioFinished"]["recorder"];
        for (case, told) in recorder["interactions"].as_object().into_iter().flatten() {
            let made = &recorder["cases"][case]["value"];
            let label = format!("{} {}", made["method"].as_str().unwrap(), made["path"].as_str().unwrap());
            if let Some(status) = told["response"]["status_code"].as_u64() {
                *answers.entry(label).or_default().entry(status).or_default() += 1;
            }
        }
    }
    answers
}

/// Every operation of the description as `GET /path`, with what is said of it.
fn operations(document: &Value) -> BTreeMap<String, &Value> {
    let mut found = BTreeMap::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, told) in item.as_object().unwrap() {
            found.insert(format!("{} {path}", method.to_uppercase()), told);
        }
    }
    found
}

fn document(service: &Service) -> Value {
    service.get("/api/v1/openapi.json").expect(200).json()
}

#[tokio::test]
async fn every_operation_answers_as_it_is_described() {
    let ground = Ground::new().await;
    let (service, known) = states::every_state(&ground).await;
    let document = document(&service);
    // Read from a file, or the address of the description itself would be left out.
    let (file, report) = (report("description.json"), report("events.ndjson"));
    std::fs::write(&file, document.to_string()).unwrap();
    let url = format!("http://{}", service.address);
    let secret = format!("X-Internal-Secret: {SECRET}");
    let mut args = vec!["run", file.to_str().unwrap(), "--url", &url, "--header", &secret];
    args.extend(["--exclude-path", STREAM, "--report-ndjson-path", report.to_str().unwrap()]);
    args.extend(OPTIONS.split_whitespace());
    let done = run("schemathesis", &args, &known).await;
    let said = words(&done);
    assert!(done.status.success(), "{said}\nthe log's end:\n{}", service.process.tail());
    let stream = run("python", &[&script("stream.py"), &url], &known).await;
    assert!(stream.status.success(), "{}", words(&stream));

    let answers = answers(&std::fs::read_to_string(&report).unwrap());
    let operations = operations(&document);
    for operation in operations.keys().filter(|operation| !operation.ends_with(STREAM)) {
        let answers =
            answers.get(operation).unwrap_or_else(|| panic!("{operation} was never called: {said}"));
        println!("{operation}: {answers:?}");
        let went_well = answers.keys().any(|status| (200..300).contains(status));
        assert!(went_well, "{operation} never did what it is for: {answers:?}");
        // A business that asks for deletions too often is another matter.
        let limited = answers.contains_key(&429) && operation != "POST /api/v1/tenants/{id}/deletion";
        assert!(!limited, "{operation} was not listened to: {answers:?}");
    }
}

#[tokio::test]
async fn each_operation_has_a_name_of_its_own_and_filters_name_every_state() {
    let ground = Ground::new().await;
    let service = ground.service().start().await;
    let document = document(&service);
    let mut names = BTreeMap::new();
    for (operation, told) in operations(&document) {
        let name = told["operationId"].as_str().unwrap().to_owned();
        let other = names.insert(name.clone(), operation.clone());
        assert_eq!(other, None, "{name} is {operation}, too");
    }
    assert!(names.contains_key("post_jobs_id_cancel"), "{names:?}");
    let states = format!("^({})?$", JobState::ALL.map(JobState::as_str).join("|"));
    let wish = &document["components"]["schemas"]["BulkRequest"]["properties"]["state"]["pattern"];
    let parameters = document["paths"]["/api/v1/jobs"]["get"]["parameters"].as_array().unwrap();
    let state = parameters.iter().find(|parameter| parameter["name"] == "state").unwrap();
    assert_eq!((wish, &state["schema"]["pattern"]), (&states.clone().into(), &states.into()));
}
