//! A stand-in for the Python side in tests: a script that speaks the frames and runs the code that a job carries.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::process::{Pid, test_kill_process};

use super::booting::boot_plan::{BootPlan, Start};
use super::output::{OutputSink, Stream};
use super::raw_job::RawJob;
use super::zygote::Zygote;

/// Longer than anything in a test takes.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// What the stand-in runs before it says hello is in `BEFORE`. A job's code may call `phase`, `result`, `say` and
/// `bye`; one that does not answer is answered for with what it left in `value`. What is in `before` runs before the job
/// begins. Where the variable `FULL` names a file that is there, no process can be forked.
const SCRIPT: &str = r#"
import array, fcntl, json, os, select, signal, socket, struct, subprocess, sys, time

def pack(kind, *fields):
    body = bytes([kind])
    for field in fields:
        if isinstance(field, (int, float)): field = str(field)
        if isinstance(field, (dict, list)): field = json.dumps(field)
        if isinstance(field, str): field = field.encode("utf-8", "surrogateescape")
        body += struct.pack("<I", len(field)) + field
    return struct.pack("<I", len(body)) + body

def unpack(body):
    fields, at = [], 1
    while at < len(body):
        (n,) = struct.unpack_from("<I", body, at)
        fields.append(body[at + 4:at + 4 + n])
        at += 4 + n
    return body[0], fields

def exactly(sock, n):
    got = bytearray()
    while len(got) < n:
        piece = sock.recv(min(n - len(got), 1 << 20))
        if not piece: os._exit(0)
        got += piece
    return bytes(got)

def read_frame(sock):
    return unpack(exactly(sock, struct.unpack("<I", exactly(sock, 4))[0]))

def say(kind, *fields):
    sock.sendall(pack(kind, *fields))

spoiled = []
def load(names):
    loaded, failed = [], {}
    for name in names:
        if name in sys.modules: continue
        if name == "deadly": os._exit(9)
        if name == "spoils": spoiled.append("late")
        if name in made_up:
            loaded.append(name)
            continue
        try:
            __import__(name)
            loaded.append(name)
        except ImportError as error:
            failed[name] = str(error)
    return loaded, failed

# Modules that a trial finds nothing wrong with.
made_up = ["spoils", "deadly"]

def try_out(names):
    for name in names:
        phase(name)
        if name == "crashes": os.kill(os.getpid(), signal.SIGSEGV)
        if name.startswith("threads"):
            say(54, {"left_out": {name: "it starts threads"}, "all": False})
            os._exit(0)
    failed = load([name for name in names if name not in made_up])[1]
    say(54, {"left_out": failed, "all": True})
    os._exit(0)

def phase(name, seconds=-1): say(49, name, seconds)
def bye(reason): say(51, reason)

answered = False
def result(payload=b"", outcome="ok", exc="", **more):
    global answered
    answered = True
    sys.stdout.flush(); sys.stderr.flush()
    say(50, dict({"outcome": outcome, "serializable": True, "none": False}, **more), payload, exc)

def child(mode, out, err):
    global answered
    os.setpgrp()
    line = os.open("/proc/self/fd/%d" % lifeline, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(line, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(line, 10, signal.SIGKILL)
    fcntl.fcntl(line, fcntl.F_SETFL, fcntl.fcntl(line, fcntl.F_GETFL) | os.O_ASYNC)
    os.dup2(out, 1); os.dup2(err, 2); os.close(out); os.close(err)
    control.close()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    exec(os.environ.get("BEFORE_READY", ""), globals())
    say(48, os.getpid())
    while True:
        kind, fields = read_frame(sock)
        if kind == 34: continue
        if kind == 35: try_out([field.decode() for field in fields])
        facts = fields[1] if kind == 33 else b""
        names = fields[2:6] if kind == 33 else fields[0:4]
        raw = fields[6:] if kind == 33 else fields[4:]
        job = dict(zip(raw[::2], raw[1::2]))
        space = dict(globals(), job=job, names=names, facts=facts, reason=fields[0] if kind == 33 else b"")
        answered = False
        if kind == 32:
            exec(job.get(b"before", b"").decode(), space)
            phase("running", 30)
        exec(job[b"code"].decode(), space)
        value = str(space.get("value", "")).encode()
        if kind == 33:
            say(52, {"error": value.decode() or None})
        elif not answered:
            result(value)
        phase("done")
        if mode == b"job":
            sys.stdout.flush(); sys.stderr.flush()
            os._exit(0)

control = socket.socket(fileno=int(os.environ.pop("TIKKUN_FD")))
lifeline = int(os.environ.pop("TIKKUN_LIFELINE"))
control.set_inheritable(False)
os.set_inheritable(lifeline, False)

spawned = os.environ.pop("TIKKUN_START", None) == "spawn"
queues = ["default"]

def main():
    global sock
    exec(os.environ.get("BEFORE", ""), globals())
    control.sendall(pack(16, {"shim": 1, "rq": "3.0.0", "pid": os.getpid(), "queues": queues}))
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    received, fds = b"", []
    while True:
        ready, _, _ = select.select([control, woken], [], [])
        if woken in ready: os.read(woken, 4096)
        while True:
            try: pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError: break
            if pid == 0: break
            use = {"maxrss": usage.ru_maxrss, "utime": usage.ru_utime, "stime": usage.ru_stime}
            control.sendall(pack(18, pid, status, use))
        if control not in ready: continue
        data, ancillary, _, _ = control.recvmsg(65536, socket.CMSG_LEN(3 * 4), 0x40000000)
        if not data: os._exit(0)
        for _, _, rights in ancillary:
            more = array.array("i"); more.frombytes(rights); fds += more
        received += data
        while len(received) >= 4:
            (n,) = struct.unpack_from("<I", received)
            if len(received) < 4 + n: break
            kind, fields = unpack(received[4:4 + n])
            received = received[4 + n:]
            if kind == 2:
                loaded, failed = load([field.decode() for field in fields])
                control.sendall(pack(21, {"loaded": loaded, "failed": failed, "threads": spoiled}))
            if kind == 1:
                mine, out, err = fds[:3]
                del fds[:3]
                sock = socket.socket(fileno=mine)
                if os.path.exists(os.environ.get("FULL", "")):
                    sock.close(); os.close(out); os.close(err)
                    control.sendall(pack(22, fields[0], "no room for another process"))
                    continue
                pid = 0 if spawned else os.fork()
                if pid == 0:
                    try: child(fields[1], out, err)
                    finally: sys.stderr.flush(); os._exit(1)
                sock.close(); os.close(out); os.close(err)
                control.sendall(pack(17, fields[0], pid))

main()
"#;

/// Keeps the lines that it is given.
#[derive(Default)]
pub(crate) struct Kept(Mutex<Vec<(Stream, String)>>);

impl OutputSink for Kept {
    fn line(&self, stream: Stream, line: &[u8]) {
        self.0.lock().push((stream, String::from_utf8_lossy(line).into_owned()));
    }
}

impl Kept {
    /// The lines of one stream so far.
    pub(crate) fn of(&self, stream: Stream) -> Vec<String> {
        self.0.lock().iter().filter(|(of, _)| *of == stream).map(|(_, line)| line.clone()).collect()
    }
}

/// The command that starts the stand-in.
pub(crate) fn command() -> Vec<OsString> {
    ["python3", "-m", "stand_in"].map(OsString::from).into()
}

/// The environment of this process, and more.
pub(crate) fn environment(more: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    let more = more.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    std::env::vars_os().chain(more).collect()
}

/// The shim's files in a test.
pub(crate) const SHIM: &[(&str, &str)] = &[("stand_in.py", SCRIPT)];

/// Boots the stand-in; `more` goes to its environment.
pub(crate) async fn boot_with(more: &[(&str, &str)]) -> (Zygote, Arc<Kept>) {
    boot_as(Start::Fork, more).await
}

/// The same with this start.
pub(super) async fn boot_as(start: Start, more: &[(&str, &str)]) -> (Zygote, Arc<Kept>) {
    let sink = Arc::new(Kept::default());
    let plan = BootPlan {
        command: &command(),
        shim: SHIM,
        environment: &environment(more),
        user: None,
        sink: Arc::<Kept>::clone(&sink),
        deadline: LONG,
        start,
        known: None,
    };
    let (zygote, hello) = Zygote::boot(plan).await.unwrap();
    assert_eq!((hello.shim, hello.queues.as_slice()), (1, &["default".to_owned()][..]));
    (zygote, sink)
}

/// A job that runs `code`.
pub(crate) fn job(code: &str) -> RawJob<'static> {
    RawJob {
        id: "job-1".to_owned(),
        queue: "default".to_owned(),
        execution: "execution-1".to_owned(),
        worker: "worker-1".to_owned(),
        hash: vec![(b"code".to_vec(), code.as_bytes().to_vec())].into(),
    }
}

/// Whether the process is there and runs; one that waits to be reaped does not.
pub(crate) fn runs(pid: u32) -> bool {
    let is_there = test_kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()).is_ok();
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    is_there && !status.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z')
}

/// Waits until `holds`, looking again and again.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < LONG, "waited in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
