//! What stands in the way of a job's process is told and waited out, or kept from the others.

use std::fs;
use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::ground::{Ground, Rq, all_gone, descendants, strike};
use super::numbers;

/// The first process in which the job of [`Ground::enqueue`]'s `keeps_on` ran.
fn first_run(folder: &Path) -> Option<i32> {
    fs::read_to_string(folder.join("runs")).ok()?.lines().next()?.parse().ok()
}

#[test]
fn a_system_without_room_for_another_process_is_told_and_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let full = folder.path().join("full");
    fs::write(&full, "").unwrap();
    let mut ground = Ground::new(Rq::Three);
    let job = ground.enqueue("default", "add", &json!([1, 2]), &json!({}));
    let code = format!(
        "import os\nfrom redis import Redis\nfrom rq import Worker\nfork = os.fork\n\
         def limited():\n    if os.path.exists({full:?}): raise BlockingIOError(11, 'too many processes')\n    \
         return fork()\nos.fork = limited\n\
         Worker(['default'], connection=Redis.from_url(os.environ['APP_REDIS'])).work()"
    );
    let mut run = ground.run(&[], &ground.command(&["python", "-c", &code]));
    let told = "a python child could not be forked: [Errno 11] too many processes";
    ground.wait("the reason", &mut run, |_, run| run.log().contains(told));
    fs::remove_file(&full).unwrap();
    assert_eq!(ground.result(&job, &mut run), "3");
}

#[test]
fn a_module_that_spoils_the_next_process_is_left_out_of_the_one_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let spoils = folder.path().join("spoils");
    // No trial shows it: only the process that forks is a child of Tikkun.
    let code = format!(
        "import os, threading\nwith open('/proc/%d/comm' % os.getppid()) as file: parent = file.read().strip()\n\
         if os.path.exists({spoils:?}) and parent == 'tikkun':\n    \
         threading.Thread(target=threading.Event().wait, daemon=True, name='spoiler').start()\n\
         def run(): return [os.getpid(), os.getppid()]\n"
    );
    fs::write(folder.path().join("moody.py"), code).unwrap();
    let mut ground = Ground::new(Rq::Three);
    let application = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python_jobs/app");
    let path = format!("{}:{}", folder.path().display(), application.display());
    let mut run = ground.run_with(&[], &ground.worker(&["default"]), &[("PYTHONPATH", &path)]);
    let zygote = |ground: &mut Ground, run: &mut super::ground::Run| {
        let job = ground.enqueue("default", "moody.run", &json!([]), &json!({}));
        numbers(&ground.result(&job, run))[1]
    };
    let first = zygote(&mut ground, &mut run);
    let preload = |answer: &Value| answer["workers"][0]["preload"].clone();
    let has = |list: &Value| list.to_string().contains("moody");
    run.get_until("/api/v1/python", |answer| {
        answer.status == 200 && has(&preload(&answer.json())["modules"])
    });
    fs::write(&spoils, "").unwrap();
    run.signal(Signal::HUP);
    ground.wait("another process", &mut run, |_, run| run.log().matches("is ready to fork").count() == 2);
    let mut second = first;
    while second == first {
        second = zygote(&mut ground, &mut run);
    }
    assert_eq!(fs::read_dir(format!("/proc/{second}/task")).unwrap().count(), 1, "it has no other thread");
    // The figures that are shown are a little older.
    let told = run.get_until("/api/v1/python", |answer| has(&preload(&answer.json())["left_out"])).json();
    assert!(preload(&told)["left_out"].to_string().contains("spoiler"), "{told}");
    assert!(!has(&preload(&told)["modules"]), "{told}");
}

#[test]
fn what_is_called_for_a_stopped_job_waits_for_a_process_as_jobs_do() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken");
    let mut ground = Ground::new(Rq::Three);
    let args = json!([folder.path()]);
    let job = ground.enqueue("default", "keeps_on", &args, &json!({ "callbacks": true }));
    let mut run = ground.run(&[], &ground.breakable(&broken, "default"));
    ground.wait("the job", &mut run, |_, _| first_run(folder.path()).is_some());
    let busy = first_run(folder.path()).unwrap();
    fs::write(&broken, "").unwrap();
    for pid in descendants(run.pid()).into_iter().filter(|pid| *pid != busy) {
        strike(pid, Signal::KILL);
    }
    let waits = "the python worker cannot be started; jobs wait";
    ground.wait("the worker to be away", &mut run, |_, run| run.log().contains(waits));
    ground.stop(&job);
    all_gone(&[busy]);
    fs::remove_file(&broken).unwrap();
    ground.until(&job, "stopped", &mut run);
    assert_eq!(ground.look(&job)["called"], "stopped", "{}", run.log());
}

#[test]
fn processes_of_another_user_get_none_of_tikkun_s_own_variables() {
    let ground = Ground::new(Rq::Three);
    let code = "import os\nshim = ('TIKKUN_FD', 'TIKKUN_LIFELINE')\n\
        own = [name for name in os.environ if name.startswith('TIKKUN_') or name == 'INTERNAL_SECRET']\n\
        print('own:', sorted(set(own) - set(shim)), flush=True)";
    let command = ground.command(&["python", "-c", code]);
    let told = |options: &[&str]| {
        let mut run = ground.run(options, &command);
        assert_eq!(run.ended().code(), Some(2), "it starts no worker");
        run.stdout().lines().find(|line| line.starts_with("own:")).map(str::to_owned).unwrap()
    };
    assert_eq!(told(&[]), "own: ['INTERNAL_SECRET', 'TIKKUN_WORKER__FETCH_PATIENCE']");
    // Whoever runs the tests; as for any other user.
    let user = std::process::Command::new("id").arg("-un").output().unwrap().stdout;
    let user = format!("python.user={}", String::from_utf8(user).unwrap().trim());
    assert_eq!(told(&["--set", &user]), "own: []");
}
