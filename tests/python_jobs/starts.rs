//! Starts of `tikkun run` that cannot succeed, each with its reason and what to try; or not yet.

use std::io::{Read as _, Write as _, copy};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::process::Signal;
use serde_json::json;

use super::ground::{ALL, Ground, Rq};

#[test]
fn a_start_without_redis_waits_for_it_and_says_so() {
    for rq in ALL {
        let mut ground = Ground::with_redis_that_can_go(rq);
        let job = ground.enqueue("default", "add", &json!([1, 2]), &json!({}));
        ground.redis.stop();
        let mut run = ground.run(&[], &ground.worker(&["default"]));
        ground.wait("the wait", &mut run, |_, run| run.log().contains("the start waits for redis"));
        assert!(
            run.log().contains("Error 2 connecting to") || run.log().contains("Error 111"),
            "{}",
            run.log()
        );
        ground.redis.start_again();
        assert_eq!(ground.result(&job, &mut run), "3", "{rq:?}");
    }
}

/// An address before Redis, as of a proxy: it answers everybody in these words and hangs up, until it leads to Redis.
struct Door {
    address: SocketAddr,
    is_open: Arc<AtomicBool>,
}

impl Door {
    fn before(redis: PathBuf, answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, is_open) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let opened = Arc::clone(&is_open);
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let server = opened.load(Ordering::Acquire).then(|| UnixStream::connect(&redis).unwrap());
                thread::spawn(move || match server {
                    Some(server) => lead(&stream, &server),
                    None => {
                        let _ = stream.read(&mut [0; 4096]);
                        let _ = stream.write_all(answer.as_bytes());
                    }
                });
            }
        });
        Self { address, is_open }
    }

    fn open(&self) {
        self.is_open.store(true, Ordering::Release);
    }
}

/// Carries both ways until both sides have ended.
fn lead(mut client: &TcpStream, mut server: &UnixStream) {
    thread::scope(|both| {
        both.spawn(|| {
            let _ = copy(&mut &*client, &mut &*server);
            let _ = server.shutdown(Shutdown::Both);
        });
        let _ = copy(&mut server, &mut client);
        let _ = client.shutdown(Shutdown::Both);
    });
}

/// A Redis that reads its data after a restart, is at its limit of clients or runs somebody's script; a proxy whose Redis
/// is away.
#[test]
fn a_start_at_a_redis_that_serves_nobody_now_waits_for_it() {
    let loading = "-LOADING Redis is loading the dataset in memory\r\n";
    let full = "-ERR max number of clients reached\r\n";
    let busy = "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n";
    let (closed, ended) = ("", "Connection closed by server");
    thread::scope(|threads| {
        for (rq, answer, told) in [
            (Rq::One, loading, "is loading the dataset"),
            (Rq::Two, loading, "is loading the dataset"),
            (Rq::Three, loading, "is loading the dataset"),
            (Rq::Three, full, "max number of clients"),
            (Rq::One, busy, "BUSY Redis is busy"),
            (Rq::Three, closed, ended),
        ] {
            threads.spawn(move || {
                let mut ground = Ground::new(rq);
                let job = ground.enqueue("default", "add", &json!([1, 2]), &json!({}));
                let door = Door::before(ground.redis.socket(), answer);
                let url = format!("redis://{}/0", door.address);
                let mut run = ground.run(&[], &ground.command(&["rq", "worker", "--url", &url, "default"]));
                ground.wait("the wait", &mut run, |_, run| run.log().contains("the start waits for redis"));
                assert!(run.log().contains(told), "{rq:?} {told}\n{}", run.log());
                door.open();
                assert_eq!(ground.result(&job, &mut run), "3", "{rq:?} {told}");
            });
        }
    });
}

#[test]
fn a_start_that_waits_leaves_at_a_signal() {
    let mut ground = Ground::new(Rq::Three);
    let nowhere = ground.command(&["rq", "worker", "-u", "redis://127.0.0.1:1/0", "default"]);
    let mut run = ground.run(&[], &nowhere);
    ground.wait("the wait", &mut run, |_, run| run.log().contains("the start waits for redis"));
    run.signal(Signal::TERM);
    assert!(run.ended().success(), "{}", run.log());
}

#[test]
fn a_worker_behind_sentinel_is_refused() {
    for rq in ALL {
        let ground = Ground::new(rq);
        let code = "import sys, redis, rq\nfrom redis.sentinel import Sentinel\n\
                    worker = rq.Worker(['default'], connection=redis.Redis.from_url(sys.argv[1]))\n\
                    worker.connection = Sentinel([('localhost', 1)]).master_for('main')\nworker.work()";
        let run = ground.run(&[], &ground.command(&["python", "-c", code, &ground.url()]));
        run.refuses(&[
            "cannot be served: the worker's connection goes through Redis Sentinel",
            "without `tikkun run --`",
        ]);
    }
}

#[test]
fn an_rq_that_is_too_old_is_refused() {
    let ground = Ground::new(Rq::One);
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("rq")).unwrap();
    let package = [
        ("__init__.py", "from .worker import Worker\n"),
        ("version.py", "VERSION = '1.10.1'\n"),
        (
            "worker.py",
            "class Worker:\n    def work(self, burst=False):\n        raise SystemExit('it works')\n",
        ),
    ];
    for (name, text) in package {
        std::fs::write(folder.path().join("rq").join(name), text).unwrap();
    }
    let path = folder.path().display().to_string();
    let command = ground.command(&["python", "-c", "import rq; rq.Worker().work()"]);
    let run = ground.run_with(&[], &command, &[("PYTHONPATH", &path)]);
    run.refuses(&[
        "cannot be served: rq 1.10.1 is outside the range that Tikkun knows: 1.16 and later, below 4",
    ]);
}

#[test]
fn a_python_that_is_too_old_is_refused() {
    let ground = Ground::new(Rq::Three);
    let code = "import sys, typing, dataclasses, redis\nsys.version_info = (3, 7, 9)\nimport rq.worker";
    let run = ground.run(&[], &ground.command(&["python", "-c", code]));
    run.refuses(&["cannot be served: Python 3.7 is too old: Tikkun runs jobs on Python 3.8 and later"]);
}

#[test]
fn a_command_that_never_starts_a_worker_is_given_up() {
    let ground = Ground::new(Rq::Three);
    let code = "import sys, time\nprint('still reading', file=sys.stderr, flush=True)\ntime.sleep(1000)";
    let options = ["--set", "python.boot_timeout=3s"];
    let run = ground.run(&options, &ground.command(&["python", "-c", code]));
    run.refuses(&["no worker of `", "` began to work within 3s: still reading", "python.boot_timeout=10m"]);
}

#[test]
fn a_command_that_is_none_or_fails_is_named_with_its_last_words() {
    let ground = Ground::new(Rq::Three);
    let none = ["no-such-command".to_owned(), "worker".to_owned()];
    ground.run(&[], &none).refuses(&["cannot start `no-such-command`", "the very command"]);
    let broken = ground.command(&["python", "-c", "import nothing_of_this_name"]);
    let last = "ModuleNotFoundError: No module named 'nothing_of_this_name'";
    ground.run(&[], &broken).refuses(&[last, "the same command without `tikkun run --`"]);
}

#[test]
fn settings_that_cannot_be_used_name_their_variables() {
    let ground = Ground::new(Rq::Three);
    let table = [
        ("TIKKUN_PYTHON__ISOLATION", "tight", "TIKKUN_PYTHON__ISOLATION"),
        ("TIKKUN_PYTHON__BOOT_TIMEOUT", "soon", "TIKKUN_PYTHON__BOOT_TIMEOUT"),
        ("TIKKUN_LOG__LEVEL", "loud", "TIKKUN_LOG__LEVEL"),
        ("TIKKUN_PYTHN__ISOLATION", "job", "did you mean TIKKUN_PYTHON__ISOLATION?"),
    ];
    for (name, value, expected) in table {
        let run = ground.run_with(&[], &ground.worker(&["default"]), &[(name, value)]);
        run.refuses(&["the configuration cannot be used", expected]);
    }
}

/// A service manager starts it again, unlike after 2: there may be room later.
#[test]
fn a_start_without_room_for_temporary_files_is_no_mistake_of_the_command() {
    let folder = tempfile::tempdir().unwrap();
    let mount = |words: &[&str]| Command::new(words[0]).args(&words[1..]).arg(folder.path()).status();
    let mounted = mount(&["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs"]);
    if !mounted.is_ok_and(|mounted| mounted.success()) {
        // Who may not mount has the unit test alone.
        return;
    }
    let filling = std::fs::write(folder.path().join("filling"), vec![0; 1 << 20]);
    let temporary = folder.path().display().to_string();
    let ground = Ground::new(Rq::Three);
    let command = ground.worker(&["default"]);
    let file = format!("[[python]]\ncommand = {command:?}\n");
    let environment = [("TMPDIR", temporary.as_str())];
    let runs = [ground.run_with(&[], &command, &environment), ground.serve(&file, &environment)];
    let ends = runs.map(|mut run| (run.ended().code(), run.log().contains("No space left on device")));
    mount(&["umount", "--lazy"]).unwrap();
    assert!(filling.is_err());
    assert_eq!(ends, [(Some(1), true), (Some(1), true)]);
}
