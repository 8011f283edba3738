//! Under systemd: the notifications of the service, received on the test's own socket, and the unit file.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::python_jobs::ground::Rq;
use rustix::process::{Pid, Signal, kill_process};
use tikkun::cli::USAGE;
use tikkun::config::{Settings, Sources};
use tikkun::queue::open_embedded;

/// Only a failing test waits so long.
const DEADLINE: Duration = Duration::from_secs(60);
/// The patience that the service is told of.
const WATCHDOG: Duration = Duration::from_millis(200);
/// Ten times that: nobody who is well is silent for so long.
const SILENCE: Duration = Duration::from_secs(2);

/// `tikkun serve` and the socket it talks to; killed when dropped.
struct Unit {
    folder: tempfile::TempDir,
    socket: UnixDatagram,
    child: Child,
}

impl Drop for Unit {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Unit {
    fn start(environment: &[(&str, &str)]) -> Self {
        Self::start_with("", environment)
    }

    /// With a file of settings.
    fn start_with(file: &str, environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tikkun"));
        command.args(["serve", "--port", "0", "--set", "rescuer.interval=100ms"]);
        command.arg("--data").arg(folder.path().join("data")).env_clear();
        let config = folder.path().join("settings.toml");
        fs::write(&config, file).unwrap();
        command.arg("--config").arg(config);
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
        command.envs(environment.iter().copied()).current_dir(folder.path());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { folder, socket, child }
    }

    /// The next thing it says; none when it is silent for `patience`.
    fn says(&self, patience: Duration) -> Option<String> {
        let mut buffer = [0; 1024];
        self.socket.set_read_timeout(Some(patience)).unwrap();
        match self.socket.recv(&mut buffer) {
            Ok(length) => Some(String::from_utf8(buffer[..length].to_vec()).unwrap().trim().to_owned()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Listens until it says `word`; everything it said before.
    fn until(&self, word: &str) -> Vec<String> {
        let (began, mut before) = (Instant::now(), Vec::new());
        loop {
            match self.says(DEADLINE.saturating_sub(began.elapsed()).max(Duration::from_millis(1))) {
                Some(said) if said == word => return before,
                Some(said) => before.push(said),
                None => {}
            }
            assert!(began.elapsed() < DEADLINE, "waited in vain for {word}; it said {before:?}");
        }
    }
}

#[tokio::test]
async fn systemd_hears_ready_with_the_first_lease_then_life_then_stopping() {
    let mut unit = Unit::start(&[]);
    assert_eq!(unit.until("READY=1"), Vec::<String>::new(), "nothing is said before");
    let broker = open_embedded(&unit.folder.path().join("data")).await.unwrap();
    let live: Vec<_> = broker.processes().await.unwrap().iter().map(|process| process.pid).collect();
    assert_eq!(live, [unit.child.id()], "whoever is ready holds a lease");
    for _ in 0..3 {
        assert_eq!(unit.until("WATCHDOG=1"), Vec::<String>::new());
    }
    kill_process(Pid::from_raw(unit.child.id().try_into().unwrap()).unwrap(), Signal::TERM).unwrap();
    let before = unit.until("STOPPING=1");
    assert!(before.iter().all(|said| said == "WATCHDOG=1"), "{before:?}");
    let began = Instant::now();
    let ended = loop {
        if let Some(status) = unit.child.try_wait().unwrap() {
            break status;
        }
        assert!(began.elapsed() < DEADLINE, "waited in vain for the service to leave");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(ended.code(), Some(0));
}

#[cfg(feature = "failpoints")]
#[test]
fn signs_of_life_end_when_the_control_plane_hangs() {
    let mut unit = Unit::start(&[("FAILPOINTS", "rescuer.tick=20*off->pause")]);
    unit.until("READY=1");
    let began = Instant::now();
    let mut signs = 0;
    while let Some(said) = unit.says(SILENCE) {
        assert_eq!(said, "WATCHDOG=1");
        assert!(began.elapsed() < DEADLINE, "waited in vain for the signs of life to end");
        signs += 1;
    }
    assert!(signs > 0, "it was alive before");
    assert_eq!(unit.child.try_wait().unwrap(), None, "the process is still there, and says nothing");
}

#[test]
fn process_that_is_not_watched_still_says_ready() {
    let unit = Unit::start(&[("WATCHDOG_USEC", "0")]);
    unit.until("READY=1");
}

#[test]
fn a_python_worker_that_waits_for_redis_has_the_start_extended_again_and_again() {
    let rq = Rq::Three.program("rq").display().to_string();
    let file =
        format!("[[python]]\ncommand = [\"{rq}\", \"worker\", \"-u\", \"unix:///nowhere.sock\", \"high\"]\n");
    let unit = Unit::start_with(&file, &[("REDIS_URL", "unix:///nowhere.sock")]);
    for _ in 0..3 {
        let said = unit.says(DEADLINE).expect("it asks for more time");
        assert!(said.starts_with("EXTEND_TIMEOUT_USEC="), "{said}");
    }
}

fn unit_file() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/tikkun.service")).unwrap()
}

/// Every value of a key of the unit.
fn all(key: &str) -> Vec<String> {
    let text = unit_file();
    let lines = text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    lines.map(str::to_owned).collect()
}

fn one(key: &str) -> String {
    let [value] = all(key).try_into().unwrap_or_else(|all| panic!("{key}: {all:?}"));
    value
}

#[test]
fn unit_runs_a_command_of_the_binary_and_waits_for_its_word() {
    let exec = one("ExecStart");
    let (binary, command) = exec.split_once(' ').unwrap();
    assert!(binary.ends_with("/tikkun") && Path::new(binary).is_absolute(), "{binary}");
    let help = Command::new(env!("CARGO_BIN_EXE_tikkun")).args([command, "--help"]).output().unwrap();
    assert!(help.status.success(), "`tikkun {command}` is no command");
    assert_eq!((one("Type").as_str(), one("NotifyAccess").as_str()), ("notify", "main"));
    assert_eq!(one("RestartPreventExitStatus"), USAGE.to_string());
    assert_eq!((one("Restart").as_str(), one("KillSignal").as_str()), ("always", "SIGTERM"));
    assert_ne!(one("User"), "root");
}

#[test]
fn unit_gives_the_service_time_to_drain_and_settings_it_understands() {
    let env = all("Environment")
        .iter()
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let settings = Settings::load(&Sources { env, ..Sources::none() }).unwrap().settings;
    assert_eq!(settings.service.data, Path::new("/var/lib").join(one("StateDirectory")));
    assert_eq!(one("WorkingDirectory"), format!("/etc/{}", one("ConfigurationDirectory")));
    let span = |key| humantime::parse_duration(&one(key)).unwrap();
    let stop_actors = Duration::from_secs(10);
    assert!(span("TimeoutStopSec") > settings.service.drain_timeout + stop_actors);
    assert!(span("WatchdogSec") >= Duration::from_secs(10), "a busy machine is no hang");
}

#[test]
fn unit_is_one_that_systemd_takes_where_it_can_be_asked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tikkun.service");
    let text = unit_file().replace("/usr/local/bin/tikkun", env!("CARGO_BIN_EXE_tikkun"));
    fs::write(&file, text).unwrap();
    match Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&file).output() {
        Ok(asked) => {
            let said = String::from_utf8_lossy(&asked.stderr);
            assert!(asked.status.success() && !said.contains("tikkun.service:"), "{said}");
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
    }
}
