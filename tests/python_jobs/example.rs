//! The wheel as Python people install it, and with it the example application.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};
use serde_json::Value;

use crate::service::client::try_call;

/// Only a failing test waits so long.
const DEADLINE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn example(name: &str) -> PathBuf {
    root().join("examples/python_app").join(name)
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What `tests/run` installs for these tests.
fn installed(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packaging").join(name);
    assert!(path.exists(), "{} is missing: `tests/run` installs what the tests need", path.display());
    path
}

/// The search path for programs with one more folder in front.
#[allow(clippy::disallowed_methods, reason = "a test starts programs as a shell would")]
fn with_first(folder: &Path) -> String {
    format!("{}:{}", folder.display(), std::env::var("PATH").unwrap())
}

fn done(command: &mut Command) -> String {
    let ran = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let [out, err] = [&ran.stdout, &ran.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    assert!(ran.status.success(), "{command:?}\n{out}\n{err}");
    out
}

/// The wheel of the program under test: maturin makes it as for a release, but compiles nothing.
fn wheel(folder: &Path) -> PathBuf {
    done(
        Command::new(installed("bin/maturin"))
            .args(["build", "--profile", "dev", "--out"])
            .arg(folder)
            .current_dir(root())
            .env_remove("CARGO")
            .env("PATH", with_first(&root().join("tests/python_jobs/packaging")))
            .env("TIKKUN_TEST_CARGO", env!("CARGO"))
            .env("TIKKUN_TEST_PROGRAM", env!("CARGO_BIN_EXE_tikkun")),
    );
    let mut made = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let wheel = made.next().unwrap();
    assert_eq!(made.next(), None, "one wheel is for every Python");
    wheel
}

/// An environment of Python without any package but pip.
fn empty_environment(folder: &Path) -> impl Fn(&str) -> Command {
    done(Command::new("python3").args(["-m", "venv"]).arg(folder));
    let programs = folder.join("bin");
    move |name| Command::new(programs.join(name))
}

/// The application, started by its one command. Ended when dropped.
struct Application {
    process: Child,
    log: tempfile::NamedTempFile,
}

impl Application {
    fn start(programs: &Path, temporary: &Path) -> Self {
        let log = tempfile::NamedTempFile::new().unwrap();
        let output = || Stdio::from(log.as_file().try_clone().unwrap());
        let process = Command::new(example("run"))
            .env("PATH", with_first(programs))
            .env("TMPDIR", temporary)
            .env("PORT", "0")
            .env("TIKKUN_HTTP__PORT", "0")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdout(output())
            .stderr(output())
            .process_group(0)
            .spawn()
            .unwrap();
        Self { process, log }
    }

    fn log(&self) -> String {
        let mut text = String::new();
        self.log.reopen().unwrap().read_to_string(&mut text).unwrap();
        text
    }

    /// What is found, once it is there.
    #[allow(clippy::disallowed_methods, reason = "no actor lives on a thread of a test")]
    fn until<T>(&mut self, what: &str, mut find: impl FnMut(&mut Self) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = find(self) {
                return found;
            }
            let ended = self.process.try_wait().unwrap();
            assert!(ended.is_none(), "it ended with {ended:?} before {what}:\n{}", self.log());
            assert!(began.elapsed() < DEADLINE, "waited in vain for {what}:\n{}", self.log());
            std::thread::sleep(LOOK);
        }
    }

    /// The address that a server says it has, after these words.
    fn address(&mut self, words: &str) -> SocketAddr {
        self.until(words, |this| {
            let log = this.log();
            let after = log.split_once(words)?.1;
            let end = after.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':')?;
            after[..end].parse().ok()
        })
    }

    fn ended(&mut self) -> ExitStatus {
        self.until("its end", |this| this.process.try_wait().unwrap())
    }
}

impl Drop for Application {
    #[allow(clippy::disallowed_methods, reason = "no actor lives on a thread of a test")]
    fn drop(&mut self) {
        let pid = Pid::from_child(&self.process);
        let began = Instant::now();
        let mut signal = Signal::TERM;
        while self.process.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = kill_process(pid, signal);
            if began.elapsed() > DEADLINE {
                signal = Signal::KILL;
            }
            std::thread::sleep(LOOK);
        }
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

/// The shop's jobs by the names of their functions.
fn jobs(shop: SocketAddr) -> BTreeMap<String, Value> {
    let answer = try_call(shop, "GET", "/jobs", &[]).unwrap().expect(200).json();
    let name = |job: &Value| job["function"].as_str().unwrap().trim_start_matches("jobs.").to_owned();
    answer.as_array().unwrap().iter().map(|job| (name(job), job.clone())).collect()
}

#[test]
fn the_wheel_is_installed_by_pip_and_runs_the_example_application() {
    let folder = tempfile::tempdir().unwrap();
    let [wheels, environment, temporary] =
        ["wheels", "environment", "temporary"].map(|name| folder.path().join(name));
    for folder in [&wheels, &temporary] {
        fs::create_dir(folder).unwrap();
    }
    let wheel = wheel(&wheels);
    let in_environment = empty_environment(&environment);
    let pip = |arguments: &[&str]| {
        let mut pip = in_environment("pip");
        pip.args(["--disable-pip-version-check", "install", "--quiet", "--no-index"]).args(arguments);
        done(&mut pip)
    };
    pip(&[wheel.to_str().unwrap()]);
    let version = done(in_environment("tikkun").arg("--version"));
    assert_eq!(version.trim(), concat!("tikkun ", env!("CARGO_PKG_VERSION")));
    assert_is_described_as_in_the_manifest(&wheel, &environment);

    let packages = installed("python_app");
    pip(&[
        "--find-links",
        packages.to_str().unwrap(),
        "--requirement",
        example("requirements.txt").to_str().unwrap(),
    ]);
    let mut application = Application::start(&environment.join("bin"), &temporary);
    let shop = application.address("Running on http://");
    assert_keeps_its_promises(&mut application, shop);
    let page = application.address(" address=\"");
    // An image's health check, where other programs' variables say what they like.
    let url = format!("http://{page}");
    done(in_environment("tikkun").args(["health", "--url", &url]).env("DATABASE_URL", "the application's"));

    kill_process(Pid::from_child(&application.process), Signal::TERM).unwrap();
    assert!(application.ended().success(), "{}", application.log());
    assert!(application.log().contains("tikkun has left"), "{}", application.log());
    assert!(test_kill_process_group(Pid::from_child(&application.process)).is_err(), "a process is left");
    let left = fs::read_dir(&temporary).unwrap().map(|one| one.unwrap().path());
    assert_eq!(left.collect::<Vec<_>>(), Vec::<PathBuf>::new(), "nothing is left behind");
}

fn assert_is_described_as_in_the_manifest(wheel: &Path, environment: &Path) {
    let name = wheel.file_name().unwrap().to_str().unwrap();
    let expected = concat!("tikkun-", env!("CARGO_PKG_VERSION"), "-py3-none-manylinux_");
    assert!(name.starts_with(expected), "{name} is not for every Python 3");
    let packages = fs::read_dir(environment.join("lib")).unwrap().next().unwrap().unwrap().path();
    let information =
        packages.join(concat!("site-packages/tikkun-", env!("CARGO_PKG_VERSION"), ".dist-info"));
    let metadata = text(&information.join("METADATA"));
    for line in [
        "Name: tikkun",
        "Requires-Python: >=3.8",
        concat!("Summary: ", env!("CARGO_PKG_DESCRIPTION")),
        concat!("License-Expression: ", env!("CARGO_PKG_LICENSE")),
        "License-File: LICENSE-APACHE",
        "License-File: LICENSE-MIT",
    ] {
        assert!(metadata.lines().any(|found| found == line), "no `{line}` in {metadata}");
    }
    assert!(metadata.contains(&text(&root().join(env!("CARGO_PKG_README")))), "its readme is another one");
    assert!(!metadata.contains("Requires-Dist"), "it needs no other package");
}

/// Presses each of the shop's buttons and looks on until all jobs have ended.
fn assert_keeps_its_promises(application: &mut Application, shop: SocketAddr) {
    let page = try_call(shop, "GET", "/", &[]).unwrap().expect(200);
    for button in ["import", "receipt", "card", "reminder"] {
        assert!(page.body.contains(&format!("value=\"{button}\"")), "{}", page.body);
        try_call(shop, "POST", &format!("/jobs/{button}"), &[]).unwrap().expect(202);
    }
    let (mut bar, mut retried) = (Vec::new(), false);
    let ended = application.until("the ends of all jobs", |_| {
        let jobs = jobs(shop);
        bar.extend(jobs["import_products"]["progress"].as_f64());
        let card = &jobs["charge_card"];
        retried |= card["status"] == "scheduled" && card["runs"].as_u64() > Some(0);
        let has_ended = |job: &Value| job["status"] == "finished" || job["status"] == "failed";
        jobs.values().all(has_ended).then_some(jobs)
    });
    for (job, result) in [
        ("send_receipt", "receipt of order 27 sent"),
        ("import_products", "50 products imported"),
        ("remind", "reminded of order 27"),
    ] {
        assert_eq!(ended[job]["status"], "finished", "{ended:?}");
        assert_eq!(ended[job]["result"], result);
    }
    let card = &ended["charge_card"];
    assert_eq!((&card["status"], &card["runs"]), (&"failed".into(), &3.into()), "{card}");
    assert_eq!(card["error"], "jobs.Declined: the bank declines order 27");
    assert!(retried, "nobody saw it wait for its next attempt");
    assert!(ended["remind"]["waited"].as_f64().unwrap() >= 3.0, "{ended:?}");
    bar.dedup();
    assert!(bar.is_sorted() && bar.len() > 2 && bar.last() == Some(&1.0), "its bar moves: {bar:?}");
}

#[test]
fn every_way_to_start_the_example_has_the_same_command_and_finds_its_files() {
    let compose: Value = serde_saphyr::from_str(&text(&example("compose.yaml"))).unwrap();
    let command = compose["services"]["worker"]["command"].as_str().unwrap();
    let worker = command.strip_prefix("tikkun ").unwrap();
    assert!(worker.starts_with("run -- rq worker "), "{command}");
    assert!(text(&example("run")).contains(worker), "`run` starts another worker");
    for service in ["web", "worker"] {
        let build = &compose["services"][service]["build"];
        let context = root().join("examples/python_app").join(build["context"].as_str().unwrap());
        assert_eq!(context.canonicalize().unwrap(), root().canonicalize().unwrap());
        assert!(context.join(build["dockerfile"].as_str().unwrap()).is_file(), "{build}");
    }
    let dockerfile = text(&example("Dockerfile"));
    let image = text(&root().join("Dockerfile"));
    let toolchain = |file: &str| file.lines().find(|line| line.starts_with("FROM rust:")).map(first_words);
    assert_eq!(toolchain(&dockerfile), toolchain(&image), "one toolchain builds both");
    for copy in dockerfile.lines().filter_map(|line| line.strip_prefix("COPY ")) {
        let source = copy.split(' ').next().unwrap();
        assert!(root().join(source).exists(), "COPY {copy}: it is not there");
    }
    let lines = text(&example("README.md")).lines().count();
    assert!(lines <= 60, "the example's README has {lines} lines");
}

/// An instruction's word and image.
fn first_words(line: &str) -> String {
    line.split(' ').take(2).collect::<Vec<_>>().join(" ")
}
