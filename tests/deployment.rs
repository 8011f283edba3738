//! Checks the deployment files against the program: their settings are valid, their probes exist, and the
//! time for a shutdown is sufficient.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tikkun::config::{
    AttachmentDriver, BrokerEngine, Loaded, LogFormat, Role, Settings, Sources, StoreEngine,
};

/// What the actors may take to stop after the drain, as the Dockerfile tells its readers.
const ACTORS: Duration = Duration::from_secs(10);

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)
}

/// The documents of a file.
fn documents(name: &str) -> Vec<Value> {
    let text = fs::read_to_string(shipped(name)).unwrap();
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn kind<'a>(documents: &'a [Value], kind: &str) -> &'a Value {
    let found = documents.iter().find(|document| document["kind"] == kind);
    found.unwrap_or_else(|| panic!("no {kind}"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn words(value: &Value) -> Vec<&str> {
    value.as_array().unwrap_or_else(|| panic!("{value} is no list")).iter().map(text).collect()
}

/// What a variable has where it comes from outside.
fn outside(name: &str) -> &'static str {
    match name {
        "REDIS_URL" => "rediss://:secret@redis.example:6379/0",
        "DATABASE_URL" => "postgresql+psycopg2://app:secret@db.example/app",
        "INTERNAL_SECRET" => "a-secret-of-some-length-or-other",
        "R2_ACCOUNT_ID" => "0123456789abcdef0123456789abcdef",
        "R2_BUCKET_NAME" => "attachments",
        "R2_ACCESS_KEY_ID" => "id",
        "R2_SECRET_ACCESS_KEY" => "key",
        other => panic!("{other} comes from outside, and this test does not know it"),
    }
}

/// The production file under an environment. A variable of ours that is misspelt stops the load.
fn load(env: &BTreeMap<String, String>) -> Loaded {
    let sources = Sources {
        file: Some(shipped("production.toml")),
        env: env.clone().into_iter().collect(),
        flags: Vec::new(),
    };
    Settings::load(&sources).unwrap_or_else(|error| panic!("{error}"))
}

/// Each command line is one of the program's.
fn understands(command: &[&str]) {
    let tikkun = Command::new(env!("CARGO_BIN_EXE_tikkun")).args(command).arg("--help").output().unwrap();
    assert!(tikkun.status.success(), "`tikkun {}` is no command", command.join(" "));
}

fn container_env(container: &Value) -> BTreeMap<String, String> {
    let variables = container["env"].as_array().unwrap().iter().map(|variable| {
        let name = text(&variable["name"]);
        let from = &variable["valueFrom"]["secretKeyRef"]["key"];
        let value = if from.is_null() { text(&variable["value"]) } else { outside(text(from)) };
        assert!(from.is_null() || from == name, "{name} comes from the key {from}");
        (name.to_owned(), value.to_owned())
    });
    variables.collect()
}

/// The file that TIKKUN_CONFIG names lies where something is mounted.
fn config_is_mounted(env: &BTreeMap<String, String>, mounts: &[String]) {
    let config = Path::new(&env["TIKKUN_CONFIG"]);
    assert!(
        mounts.iter().any(|mount| config.starts_with(mount)),
        "{} is in none of {mounts:?}",
        config.display()
    );
}

#[test]
fn production_file_is_a_worker_that_is_probed_from_outside() {
    let names = ["REDIS_URL", "DATABASE_URL", "INTERNAL_SECRET"];
    let loaded = load(&names.iter().map(|name| ((*name).to_owned(), outside(name).to_owned())).collect());
    let settings = &loaded.settings;
    assert_eq!(settings.service.role, Role::Worker);
    assert_eq!(settings.log.format, LogFormat::Json);
    assert_eq!(settings.http.address().to_string(), "[::]:8080");
    assert!(settings.worker.listens_to("maintenance") && settings.worker.queues.len() == 1);
    assert!(!settings.store.migrate);
}

#[test]
fn lines_that_the_production_file_offers_are_understood() {
    let offered = fs::read_to_string(shipped("production.toml")).unwrap();
    let mut taken = 0;
    let lines = offered.lines().map(|line| match line.strip_prefix('#') {
        Some(setting) if setting.starts_with(|first: char| first.is_ascii_lowercase()) => {
            taken += 1;
            setting
        }
        _ => line,
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tikkun.toml");
    fs::write(&file, lines.collect::<Vec<_>>().join("\n")).unwrap();
    let env = vec![("INTERNAL_SECRET".to_owned(), outside("INTERNAL_SECRET").to_owned())];
    let settings = Settings::load(&Sources { file: Some(file), env, flags: Vec::new() }).unwrap().settings;
    assert_eq!(taken, 2);
    assert!(!settings.deletion.storage_delete);
}

#[test]
fn pod_is_configured_probed_and_given_its_time() {
    let documents = documents("kubernetes.yaml");
    let pod = &kind(&documents, "Deployment")["spec"]["template"];
    let (container, migrate) = (&pod["spec"]["containers"][0], &pod["spec"]["initContainers"][0]);
    for container in [container, migrate] {
        understands(&words(&container["args"]));
        let mounts = container["volumeMounts"].as_array().unwrap();
        let mounts: Vec<_> = mounts.iter().map(|mount| text(&mount["mountPath"]).to_owned()).collect();
        config_is_mounted(&container_env(container), &mounts);
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    }
    let settings = load(&container_env(container)).settings;
    assert!(matches!(settings.broker.engine, BrokerEngine::Redis(_)));
    assert!(matches!(settings.store.engine, StoreEngine::Postgres(_)));
    assert_eq!(settings.attachments.driver, AttachmentDriver::R2);
    load(&container_env(migrate));

    for (probe, path) in
        [("startupProbe", "/startupz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")]
    {
        assert_eq!(container[probe]["httpGet"]["path"], path, "{probe}");
        assert_eq!(container[probe]["httpGet"]["port"], container["ports"][0]["name"], "{probe}");
    }
    assert_eq!(container["ports"][0]["containerPort"], settings.http.port);
    let annotations = &pod["metadata"]["annotations"];
    assert_eq!((&annotations["prometheus.io/scrape"], settings.http.metrics), (&"true".into(), true));
    assert_eq!(annotations["prometheus.io/port"], settings.http.port.to_string());
    assert_eq!(annotations["prometheus.io/path"], "/metrics");

    let pre_stop = container["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap();
    let grace = Duration::from_secs(pod["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap());
    assert!(grace > Duration::from_secs(pre_stop) + settings.service.drain_timeout + ACTORS, "{grace:?}");

    let user = pod["spec"]["securityContext"]["runAsUser"].as_u64().unwrap();
    let image = fs::read_to_string(shipped("../Dockerfile")).unwrap();
    assert!(image.contains(&format!("\nUSER {user}:")), "the image's user is not {user}");
}

#[test]
fn every_selector_finds_the_pods() {
    let documents = documents("kubernetes.yaml");
    let deployment = &kind(&documents, "Deployment")["spec"];
    let labels = &deployment["template"]["metadata"]["labels"];
    assert!(labels.is_object());
    assert_eq!(&deployment["selector"]["matchLabels"], labels);
    assert_eq!(&kind(&documents, "Service")["spec"]["selector"], labels);
    let budget = &kind(&documents, "PodDisruptionBudget")["spec"];
    assert_eq!(&budget["selector"]["matchLabels"], labels);
    assert!(
        budget["minAvailable"].as_u64().unwrap() < deployment["replicas"].as_u64().unwrap(),
        "no node could drain"
    );
}

#[test]
fn composed_service_is_configured_and_given_its_time() {
    let compose = documents("compose.yaml").remove(0);
    let services = &compose["services"];
    for name in ["tikkun", "migrate"] {
        let service = &services[name];
        understands(&words(&service["command"]));
        let env: BTreeMap<_, _> = service["environment"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| {
                let value = text(value);
                let value = if value.starts_with("${") { outside(name) } else { value };
                (name.clone(), value.to_owned())
            })
            .collect();
        let mounts: Vec<_> = words(&service["volumes"])
            .iter()
            .map(|mount| mount.split(':').nth(1).unwrap().to_owned())
            .collect();
        config_is_mounted(&env, &mounts);
        let settings = load(&env).settings;
        assert!(matches!(settings.broker.engine, BrokerEngine::Redis(_)));
        assert!(matches!(settings.store.engine, StoreEngine::Postgres(_)));
        assert_eq!(settings.attachments.driver, AttachmentDriver::S3);
        for host in [&env["REDIS_URL"], &env["DATABASE_URL"], &env["TIKKUN_ATTACHMENTS__S3_ENDPOINT"]] {
            let host =
                host.rsplit(['/', '@']).find(|part| part.contains(':')).unwrap().split(':').next().unwrap();
            assert!(services.get(host).is_some(), "nothing here is called {host}");
        }
    }
    let grace = humantime::parse_duration(text(&services["tikkun"]["stop_grace_period"])).unwrap();
    let settings =
        load(&BTreeMap::from([("INTERNAL_SECRET".into(), outside("INTERNAL_SECRET").into())])).settings;
    assert!(grace > settings.service.drain_timeout + ACTORS, "{grace:?}");
    for (name, service) in services.as_object().unwrap() {
        for other in service["depends_on"].as_object().into_iter().flatten().map(|(other, _)| other) {
            assert!(services.get(other).is_some(), "{name} waits for {other}, which is not there");
        }
    }
}
