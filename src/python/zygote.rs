//! Where children come from: a process that has imported the application and forks them, or starts of the command.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::DropGuard;

use super::booting::boot::{Booted, Launch};
use super::booting::boot_error::BootError;
use super::booting::boot_plan::{BootPlan, Start};
use super::booting::spawner::{Spawner, watch_over};
use super::child::{Child, Parts};
use super::control::{Control, Lifeline, Order, Register, Waiting, ZygoteEnd, serve, write_order};
use super::hello::Hello;
use super::killing::Fate;
use super::messages::{ChildLimits, Mode, ToZygote};
use super::output::{Output, OutputSink};
use super::preload::{Imported, Preloaded};
use super::sockets::{output_pipe, socket_pair};
use crate::fault::{Fault, FaultKind};

/// A zygote that has said hello, or what starts the command for each child in its place. Clones are handles of the
/// same.
///
/// It ends when all handles and all its children are dropped: to renew it, boot another and drop this one; children
/// that run go on to their end. Its tasks and those of its children belong to the tokio runtime that booted it.
#[derive(Clone)]
pub struct Zygote {
    lifeline: Arc<Lifeline>,
    sink: Arc<dyn OutputSink>,
    maker: Maker,
}

/// Who makes a child.
#[derive(Clone)]
enum Maker {
    /// The process of this id forks it.
    Fork(u32),
    /// The command is started.
    Spawn(Arc<Spawner>),
}

/// Tikkun's ends of what it shares with a child.
struct Ends {
    socket: UnixStream,
    output: Output,
}

impl Zygote {
    /// Starts a command, and waits until its worker is about to work.
    ///
    /// Cancel safe: dropped, it leaves no process behind; the same holds for an error.
    ///
    /// # Errors
    /// The command cannot be started, ends or is silent before its worker begins, or its worker is one that cannot be
    /// served. On other systems than Linux always.
    pub async fn boot(plan: BootPlan<'_>) -> Result<(Self, Hello), BootError> {
        let (launch, ground) = Launch::prepare(&plan)?;
        let register = Arc::new(Register::default());
        let booted = launch.boot(&register).await?;
        let hello = booted.hello.clone();
        let (lifeline, maker) = match plan.start {
            Start::Fork => {
                let Booted { frames, writer, process, .. } = booted;
                let control = Control { frames, writer, register, ground };
                (serve(control, process.end()), Maker::Fork(hello.pid))
            }
            Start::Spawn => {
                let spawner = Spawner::new(launch, booted);
                let lifeline = Lifeline::without_zygote(register, spawner.gone(), ground);
                (lifeline, Maker::Spawn(Arc::new(spawner)))
            }
        };
        Ok((Self { lifeline: Arc::new(lifeline), sink: plan.sink, maker }, hello))
    }

    /// The process id of what forks, as it reported it; `None` where nothing is forked.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        match self.maker {
            Maker::Fork(pid) => Some(pid),
            Maker::Spawn(_) => None,
        }
    }

    /// What it has warned of, oldest first; at most 64.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.lifeline.register.warnings()
    }

    /// Whether it is gone.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.lifeline.gone.borrow().is_some()
    }

    /// Waits for its end, which is only reported once its process has ended. Cancel safe.
    pub async fn gone(&self) -> ZygoteEnd {
        let mut gone = self.lifeline.gone.clone();
        let end = gone.wait_for(Option::is_some).await.ok().and_then(|end| end.clone());
        end.unwrap_or(ZygoteEnd { words: "it is not watched any more".to_owned(), last_line: None })
    }

    /// Whether that child is its.
    pub(super) fn is_parent_of(&self, child: &Child) -> bool {
        child.is_of(&self.lifeline)
    }

    /// Counts children of it that were reaped; changes with each.
    pub(super) fn reaped(&self) -> watch::Receiver<u64> {
        self.lifeline.register.reaped.subscribe()
    }

    /// The modules that jobs of its children have imported; changes with each new one.
    pub(super) fn imported(&self) -> watch::Receiver<Imported> {
        self.lifeline.register.imported.subscribe()
    }

    /// Has these modules imported, so that children forked later have them. Until that is done it forks none.
    ///
    /// # Errors
    /// The zygote is gone.
    pub async fn preload(&self, modules: Vec<String>) -> Result<Preloaded, Fault> {
        let (tell, told) = oneshot::channel();
        self.lifeline.register.expect_imports(tell);
        let order = Order { message: ToZygote::Preload(modules), descriptors: None };
        if !self.lifeline.order(order).await {
            return Err(self.is_away());
        }
        told.await.map_err(|_| self.is_away())
    }

    /// Makes a child, and waits until it is ready for a job.
    ///
    /// Cancel safe: a child that nobody takes is killed.
    ///
    /// # Errors
    /// The zygote is gone or cannot fork, the command could not be started, the child died or was not ready within
    /// `deadline` after its fork, or after the command's own deadline. [`FaultKind::Unavailable`] always:
    /// another try may work, with another zygote if this one is gone.
    pub async fn fork(&self, mode: Mode, deadline: Duration) -> Result<Child, Fault> {
        self.fork_limited(mode, ChildLimits::default(), deadline).await
    }

    /// Makes a child that leaves by itself at `limits`. Else as [`Zygote::fork`].
    ///
    /// # Errors
    /// As [`Zygote::fork`].
    pub async fn fork_limited(
        &self,
        mode: Mode,
        limits: ChildLimits,
        deadline: Duration,
    ) -> Result<Child, Fault> {
        let serial = self.lifeline.next_serial();
        let message = ToZygote::Fork { serial, mode, limits };
        let (made, from) = match &self.maker {
            Maker::Fork(_) => (timeout(deadline, self.fork_one(serial, mode, message)).await, "fork"),
            Maker::Spawn(spawner) => {
                let process = spawner.process(&self.lifeline.register).await?;
                (timeout(deadline, self.adopt(process, mode, message)).await, "start")
            }
        };
        made.unwrap_or_else(|_| {
            self.lifeline.register.forget(serial);
            let within = humantime::format_duration(deadline);
            let text = format!("a python child was not ready within {within} after its {from}");
            Err(Fault::new(FaultKind::Unavailable, text))
        })
    }

    /// Has the zygote fork a child.
    async fn fork_one(&self, serial: u64, mode: Mode, message: ToZygote) -> Result<Child, Fault> {
        let (ends, order) = self.ends(message)?;
        let (tell, told) = oneshot::channel();
        let (fate, watched) = watch::channel(Fate::Running);
        self.lifeline.register.expect(serial, Waiting { tell, fate });
        if !self.lifeline.order(order).await {
            self.lifeline.register.forget(serial);
            return Err(self.is_away());
        }
        let pid = told.await.map_err(|_| self.is_away())?.map_err(|why| {
            let text = format!("a python child could not be forked: {why}");
            Fault::new(FaultKind::Unavailable, text)
        })?;
        self.ready((pid, None), mode, ends, watched).await
    }

    /// Has a process that was started for it become a child.
    async fn adopt(&self, process: Booted, mode: Mode, message: ToZygote) -> Result<Child, Fault> {
        let Booted { mut writer, process, hello, .. } = process;
        let (ends, order) = self.ends(message)?;
        let (fate, watched) = watch::channel(Fate::Running);
        let hold = watch_over(process, hello.pid, fate, Arc::clone(&self.lifeline.register));
        let told = write_order(&mut writer, &order).await;
        told.map_err(|e| Fault::new(FaultKind::Unavailable, "give a process its job").because(e))?;
        // Its copies of the child's ends would hold them open.
        drop(order);
        self.ready((hello.pid, Some(hold)), mode, ends, watched).await
    }

    /// The socket and pipes of a child, and an order that takes the other ends to it.
    fn ends(&self, message: ToZygote) -> Result<(Ends, Order), Fault> {
        let unable =
            |e| Fault::new(FaultKind::Unavailable, "make the socket and pipes of a child").because(e);
        let (socket, its_socket) = socket_pair().map_err(unable)?;
        let (stdout, its_stdout) = output_pipe().map_err(unable)?;
        let (stderr, its_stderr) = output_pipe().map_err(unable)?;
        let output = Output::read(stdout, stderr, Arc::clone(&self.sink));
        let descriptors = Some([its_socket, its_stdout, its_stderr]);
        Ok((Ends { socket, output }, Order { message, descriptors }))
    }

    async fn ready(
        &self,
        (pid, hold): (u32, Option<DropGuard>),
        mode: Mode,
        Ends { socket, output }: Ends,
        fate: watch::Receiver<Fate>,
    ) -> Result<Child, Fault> {
        let (lifeline, sink) = (Arc::clone(&self.lifeline), Arc::clone(&self.sink));
        let mut child = Child::new(Parts { pid, mode, socket, fate, output, sink, lifeline, hold });
        child.ready().await?;
        Ok(child)
    }

    /// Why there are no more children.
    pub(super) fn is_away(&self) -> Fault {
        let text = match (&self.maker, self.lifeline.gone.borrow().as_ref()) {
            (Maker::Fork(pid), _) => format!("the zygote (pid {pid}) is gone: it forks no more children"),
            (Maker::Spawn(_), Some(end)) => format!("no python process can be started: {}", end.words),
            (Maker::Spawn(_), None) => "only a zygote imports modules ahead of its children".to_owned(),
        };
        Fault::new(FaultKind::Unavailable, text)
    }
}

#[cfg(test)]
mod tests {
    use super::super::killing::kill_tree;
    use super::super::ran::Ran;
    use super::super::stand_in::{Kept, LONG, SHIM, boot_with, command, environment, job, runs, until};
    use super::*;
    use crate::fault::causes;
    use std::ffi::OsString;

    /// Boots in vain; the error in words, and the command's processes that said their pid on standard output.
    async fn fails(command: &[&str], before: &str, deadline: Duration) -> String {
        fails_as(None, command, before, deadline).await
    }

    async fn fails_as(user: Option<&str>, command: &[&str], before: &str, deadline: Duration) -> String {
        let command: Vec<OsString> = command.iter().map(OsString::from).collect();
        let sink = Arc::new(Kept::default());
        let plan = BootPlan {
            command: &command,
            shim: SHIM,
            environment: &environment(&[("BEFORE", before)]),
            user,
            sink: Arc::<Kept>::clone(&sink),
            deadline,
            start: Start::Fork,
            known: None,
        };
        let Err(error) = Zygote::boot(plan).await else { panic!("it has booted") };
        for pid in sink.of(super::super::output::Stream::Stdout) {
            until("nothing of the command is left", || !runs(pid.parse().unwrap())).await;
        }
        causes(&error)
    }

    const STAND_IN: [&str; 3] = ["python3", "-m", "stand_in"];

    #[tokio::test]
    async fn command_that_is_not_there_is_named() {
        let error = fails(&["no-such-worker", "secret-argument"], "", LONG).await;
        assert!(error.starts_with("cannot start `no-such-worker`: "), "{error}");
        assert!(!error.contains("secret-argument"));
        assert_eq!(fails(&[], "", LONG).await, "no command is given to start the python worker with");
    }

    #[tokio::test]
    async fn import_error_is_told_by_its_last_line() {
        let error = fails(&STAND_IN, "import no_such_module", LONG).await;
        assert_eq!(
            error,
            "`python3` ended before its worker began to work: left with exit code 1: \
             ModuleNotFoundError: No module named 'no_such_module'"
        );
    }

    #[tokio::test]
    async fn command_that_ends_without_a_word_is_told_with_its_status() {
        assert_eq!(
            fails(&["true"], "", LONG).await,
            "`true` ended before its worker began to work: left with exit code 0"
        );
        let error = fails(&STAND_IN, "os.kill(os.getpid(), signal.SIGKILL)", LONG).await;
        assert_eq!(error, "`python3` ended before its worker began to work: killed by signal 9 (SIGKILL)");
    }

    #[tokio::test]
    async fn command_that_never_works_is_given_up_and_killed_with_its_subprocesses() {
        let before = "print(os.getpid(), flush=True)\n\
                      print(subprocess.Popen(['sleep', '1000']).pid, flush=True)\n\
                      print('still connecting', file=sys.stderr, flush=True)\ntime.sleep(1000)";
        let error = fails(&STAND_IN, before, Duration::from_secs(6)).await;
        assert_eq!(error, "no worker of `python3` began to work within 6s: still connecting");
    }

    #[tokio::test]
    async fn refusal_is_given_as_it_was_said() {
        let before = "control.sendall(pack(20, 'rq 1.10 is too old'))\nos._exit(2)";
        assert_eq!(fails(&STAND_IN, before, LONG).await, "`python3` cannot be served: rq 1.10 is too old");
    }

    #[tokio::test]
    async fn greeting_that_is_none_is_told() {
        let error = fails(&STAND_IN, "control.sendall(pack(16, 'x'))\ntime.sleep(1000)", LONG).await;
        assert!(
            error.starts_with("`python3` cannot be understood: a frame of kind 16 is not understood"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn environment_and_output_of_the_command_are_as_planned() {
        let before = "print(os.environ['PYTHONPATH'])\nprint(os.environ['PYTHONFAULTHANDLER'])\n\
                      print(os.getpgrp() == os.getppid() or os.getpgrp() == os.getpid())\nsys.stdout.flush()";
        let (zygote, sink) = boot_with(&[("BEFORE", before), ("PYTHONPATH", "/somewhere")]).await;
        until("the lines", || sink.of(super::super::output::Stream::Stdout).len() == 3).await;
        let lines = sink.of(super::super::output::Stream::Stdout);
        assert!(lines[0].ends_with(":/somewhere") && lines[0].contains("tikkun-python-"), "{lines:?}");
        assert_eq!(lines[1..], ["1", "True"]);
        assert!(runs(zygote.pid().unwrap()));
    }

    #[tokio::test]
    async fn running_job_ends_though_its_zygote_was_killed() {
        let (zygote, _) = boot_with(&[]).await;
        let folder = tempfile::tempdir().unwrap();
        let go = folder.path().join("go");
        let mut child = zygote.fork(Mode::Job, LONG).await.unwrap();
        let pid = child.pid();
        let waiting = job(&format!("while not os.path.exists({go:?}): time.sleep(0.01)\nvalue = 'done'"));
        let (begun, mut has_begun) = tokio::sync::mpsc::unbounded_channel();
        let mut on_phase = move |_| begun.send(()).unwrap();
        let run = child.run(&waiting, Arc::new(Kept::default()), &mut on_phase);
        let kill = async {
            has_begun.recv().await.unwrap();
            kill_tree(zygote.pid().unwrap());
            let end = zygote.gone().await;
            assert!(end.words.starts_with("killed by signal 9"), "{end:?}");
            std::fs::write(&go, "").unwrap();
        };
        let (ran, ()) = tokio::join!(run, kill);
        let Ran::Answered(result) = ran else { panic!("{ran:?}") };
        assert_eq!(result.payload, b"done");
        let error = zygote.fork(Mode::Job, LONG).await.err().unwrap();
        assert_eq!(
            error.to_string(),
            format!("the zygote (pid {}) is gone: it forks no more children", zygote.pid().unwrap())
        );
        let end = child.finish(LONG).await;
        assert!(!end.was_killed, "{end:?}");
        until("the child is gone", || !runs(pid)).await;
    }

    #[tokio::test]
    async fn death_without_a_zygote_is_seen_and_said_to_be_unknown() {
        let (zygote, _) = boot_with(&[]).await;
        let mut child = zygote.fork(Mode::Job, LONG).await.unwrap();
        kill_tree(zygote.pid().unwrap());
        zygote.gone().await;
        let ran = child.run(&job("os._exit(3)"), Arc::new(Kept::default()), &mut |_| {}).await;
        let Ran::Died(death) = ran else { panic!("{ran:?}") };
        assert!(
            death.words().contains("how is not known, for the process that reaps it was gone"),
            "{}",
            death.words()
        );
    }

    #[tokio::test]
    async fn nothing_is_left_when_everything_is_dropped() {
        let (zygote, _) = boot_with(&[]).await;
        let idle = zygote.fork(Mode::Warm, LONG).await.unwrap();
        let mut busy = zygote.fork(Mode::Job, LONG).await.unwrap();
        let pids = [zygote.pid().unwrap(), idle.pid(), busy.pid()];
        let (begun, mut has_begun) = tokio::sync::mpsc::unbounded_channel();
        let mut on_phase = move |_| begun.send(()).unwrap();
        let endless = job("while True: pass");
        tokio::select! {
            ran = busy.run(&endless, Arc::new(Kept::default()), &mut on_phase) => panic!("{ran:?}"),
            _ = has_begun.recv() => {}
        }
        assert!(pids.iter().all(|pid| runs(*pid)));
        // The zygote lives as long as a child of it.
        drop(zygote);
        drop(idle);
        until("the idle child is gone", || !runs(pids[1])).await;
        assert!(runs(pids[0]) && runs(pids[2]));
        drop(busy);
        until("no process is left", || pids.iter().all(|pid| !runs(*pid))).await;
    }

    #[tokio::test]
    async fn zygote_that_does_not_leave_is_killed() {
        let before = "os._exit = lambda code: time.sleep(1000)";
        let (zygote, _) = boot_with(&[("BEFORE", before)]).await;
        let pid = zygote.pid().unwrap();
        drop(zygote);
        until("the zygote is gone", || !runs(pid)).await;
    }

    #[tokio::test]
    async fn processes_run_as_the_user_that_is_asked_for() {
        let refused = fails_as(Some("no such user"), &STAND_IN, "", LONG).await;
        assert!(
            refused.ends_with("`no such user` (`python.user`): there is no user of this name"),
            "{refused}"
        );
        if !nix::unistd::geteuid().is_root() {
            let refused = fails_as(Some("root"), &STAND_IN, "", LONG).await;
            assert!(refused.contains("only root may start processes of another user"), "{refused}");
            return;
        }
        let sink = Arc::new(Kept::default());
        let plan = BootPlan {
            command: &command(),
            shim: SHIM,
            environment: &environment(&[]),
            user: Some("nobody"),
            sink,
            deadline: LONG,
            start: Start::Fork,
            known: None,
        };
        let (zygote, _) = Zygote::boot(plan).await.unwrap();
        let mut child = zygote.fork(Mode::Job, LONG).await.unwrap();
        let code = "value = '%s %s %s' % (os.getresuid(), os.getgroups(), os.environ['USER'])";
        let ran = child.run(&job(code), Arc::new(Kept::default()), &mut |_| {}).await;
        let Ran::Answered(result) = ran else { panic!("{ran:?}") };
        let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap().uid;
        let told = format!("({nobody}, {nobody}, {nobody}) [] nobody");
        assert_eq!(String::from_utf8(result.payload).unwrap(), told);
        let mut busy = zygote.fork(Mode::Job, LONG).await.unwrap();
        let pid = busy.pid();
        let sleeping = job("time.sleep(1000)");
        let mut on_phase = |_| {};
        let run = busy.run(&sleeping, Arc::new(Kept::default()), &mut on_phase);
        tokio::select! {
            ran = run => panic!("{ran:?}"),
            () = until("it runs", || runs(pid)) => {}
        }
        drop((child, busy, zygote));
        until("none of them is left", || !runs(pid)).await;
    }

    #[tokio::test]
    async fn boot_that_is_dropped_leaves_nothing() {
        let sink = Arc::new(Kept::default());
        let plan = BootPlan {
            command: &command(),
            shim: SHIM,
            environment: &environment(&[("BEFORE", "print(os.getpid(), flush=True)\ntime.sleep(1000)")]),
            user: None,
            sink: Arc::<Kept>::clone(&sink),
            deadline: LONG,
            start: Start::Fork,
            known: None,
        };
        let lines = || sink.of(super::super::output::Stream::Stdout);
        tokio::select! {
            _ = Zygote::boot(plan) => panic!("it has booted"),
            () = until("the pid of the command", || !lines().is_empty()) => {}
        }
        let pid = lines()[0].parse().unwrap();
        until("the command is gone", || !runs(pid)).await;
    }

    #[tokio::test]
    async fn child_that_is_not_ready_in_time_or_dies_first_is_an_error() {
        let (zygote, _) = boot_with(&[("BEFORE_READY", "time.sleep(1000)")]).await;
        let error = zygote.fork(Mode::Job, Duration::from_millis(300)).await.err().unwrap();
        assert_eq!(error.to_string(), "a python child was not ready within 300ms after its fork");
        let (zygote, _) = boot_with(&[("BEFORE_READY", "os._exit(5)")]).await;
        let error = zygote.fork(Mode::Job, LONG).await.err().unwrap();
        assert!(error.to_string().contains("ended before it was ready: "), "{error}");
        assert!(error.to_string().contains("exit code 5") && error.is_retryable(), "{error}");
    }

    #[tokio::test]
    async fn many_children_at_once_each_get_their_own_sockets() {
        let (zygote, _) = boot_with(&[]).await;
        let forks = (0..12).map(|_| zygote.fork(Mode::Job, LONG));
        let mut children: Vec<_> = futures::future::try_join_all(forks).await.unwrap();
        for child in &mut children {
            let ran = child.run(&job("value = os.getpid()"), Arc::new(Kept::default()), &mut |_| {}).await;
            let Ran::Answered(result) = ran else { panic!("{ran:?}") };
            assert_eq!(result.payload, child.pid().to_string().into_bytes());
        }
    }

    #[tokio::test]
    async fn what_came_of_a_preload_is_its_answer() {
        let (zygote, _) = boot_with(&[]).await;
        let told = zygote.preload(vec!["colorsys".to_owned(), "no_such_module".to_owned()]).await.unwrap();
        assert_eq!(told.loaded, ["colorsys"]);
        assert_eq!(told.failed["no_such_module"], "No module named 'no_such_module'");
        kill_tree(zygote.pid().unwrap());
        assert!(zygote.preload(vec!["json".to_owned()]).await.is_err());
    }

    #[tokio::test]
    async fn no_other_process_inherits_a_descriptor() {
        let descriptors = || {
            let listed = std::process::Command::new("ls").arg("/proc/self/fd").output().unwrap();
            String::from_utf8(listed.stdout).unwrap()
        };
        let before = descriptors();
        let (zygote, _) = boot_with(&[]).await;
        let _child = zygote.fork(Mode::Job, LONG).await.unwrap();
        assert_eq!(descriptors(), before);
    }
}
