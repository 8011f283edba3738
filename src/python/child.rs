//! A process that runs jobs.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::DropGuard;

use super::control::Lifeline;
use super::conversation::{Conversation, Heard};
use super::ending::Death;
use super::frame::FrameError;
use super::job_result::JobOutcome;
use super::killing::{Fate, Killer, kill_group};
use super::memory_watch::MemoryWatch;
use super::messages::{CallbackOrder, FromChild, Mode, Phase, ToChild};
use super::output::{Output, OutputSink};
use super::process_record::{ProcessRecord, ProcessState};
use super::ran::{Called, Ran};
use super::raw_job::RawJob;
use crate::fault::{Fault, FaultKind};

/// What a child is made of.
pub(super) struct Parts {
    pub(super) pid: u32,
    pub(super) mode: Mode,
    pub(super) socket: UnixStream,
    pub(super) fate: watch::Receiver<Fate>,
    pub(super) output: Output,
    pub(super) sink: Arc<dyn OutputSink>,
    pub(super) lifeline: Arc<Lifeline>,
    pub(super) hold: Option<DropGuard>,
}

/// A child that is ready for a job. Dropped, it is killed with its process group.
pub struct Child {
    pid: u32,
    mode: Mode,
    pub(super) talk: Conversation,
    record: Arc<ProcessRecord>,
    /// A job has begun and has not been answered: what the socket holds is not known.
    is_engaged: bool,
    /// All that it wrote for its last job has been handed on.
    is_rested: bool,
    /// Its last job failed: what that has started and left behind goes with it.
    has_failed: bool,
    lifeline: Arc<Lifeline>,
    begins_at_once: bool,
    /// Of one that was started: ends what stands between Tikkun and it.
    _hold: Option<DropGuard>,
}

impl Drop for Child {
    fn drop(&mut self) {
        self.talk.killer.kill();
    }
}

impl Child {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { pid, mode, socket, fate, output, sink, lifeline, hold } = parts;
        let record = Arc::new(ProcessRecord::new(pid, mode));
        let noted = (Arc::clone(&record), Arc::clone(&lifeline.register));
        let talk = Conversation::new(pid, socket, fate, (output, sink), noted);
        Self {
            pid,
            mode,
            talk,
            record,
            is_engaged: false,
            is_rested: true,
            has_failed: false,
            lifeline,
            begins_at_once: false,
            _hold: hold,
        }
    }

    /// Waits until it says that it is ready.
    pub(super) async fn ready(&mut self) -> Result<(), Fault> {
        let why = match self.talk.hear().await {
            Heard::Said(FromChild::Ready { begins_at_once, .. }) => {
                self.begins_at_once = begins_at_once;
                return Ok(());
            }
            Heard::Said(other) => format!("a python child began with {other:?}, not with READY"),
            Heard::Ended(death) => format!("a python child ended before it was ready: {}", death.words()),
        };
        Err(Fault::new(FaultKind::Unavailable, why))
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether a job begins when it is handed over. Else other code may run first, and the phase `running` says when it is over.
    #[must_use]
    pub fn begins_at_once(&self) -> bool {
        self.begins_at_once
    }

    /// Kills it from beside a run, such as when a deadline has passed: the run then returns [`Ran::Died`].
    #[must_use]
    pub fn killer(&self) -> Killer {
        self.talk.killer.clone()
    }

    /// Watches from beside a run that it has at most `limit` bytes for itself.
    #[must_use]
    pub fn memory_watch(&self, limit: u64) -> MemoryWatch {
        MemoryWatch::new(self.pid, self.record(), limit)
    }

    /// Whether it comes from there.
    pub(super) fn is_of(&self, lifeline: &Arc<Lifeline>) -> bool {
        Arc::ptr_eq(&self.lifeline, lifeline)
    }

    pub(super) fn record(&self) -> Arc<ProcessRecord> {
        Arc::clone(&self.record)
    }

    pub(super) fn fate(&self) -> watch::Receiver<Fate> {
        self.talk.fate()
    }

    /// Runs a job and waits for its end, however long that takes: the caller watches the deadline, which `on_phase`
    /// moves, and kills. What the child writes goes to `sink`, until it is at rest again ([`Child::rest`]) or has ended.
    ///
    /// Not cancel safe: dropped, it leaves a child that can only be dropped ([`Child::is_usable`] is false).
    pub async fn run(
        &mut self,
        job: &RawJob<'_>,
        sink: Arc<dyn OutputSink>,
        on_phase: &mut (dyn FnMut(Phase) + Send),
    ) -> Ran {
        if !self.rest().await {
            return Ran::Declined(self.bye().unwrap_or_else(|| "it takes no other job".to_owned()));
        }
        self.record.begin(&job.id);
        if let Err(death) = self.ask(ToChild::Job(job), sink).await {
            return Ran::Died(self.died(death));
        }
        loop {
            match self.talk.hear().await {
                Heard::Said(FromChild::Result(result)) => {
                    self.has_failed = result.attributes.outcome == JobOutcome::Failed;
                    self.answered();
                    return Ran::Answered(result);
                }
                Heard::Said(FromChild::Phase(phase)) => on_phase(phase),
                Heard::Said(_) => {}
                Heard::Ended(death) => {
                    // A child says that it leaves when it is done with a job, and so never within the next.
                    let declined = self.bye().filter(|_| !self.talk.killer.was_killed());
                    let death = self.died(death);
                    return declined.map_or(Ran::Died(death), Ran::Declined);
                }
            }
        }
    }

    fn died(&self, death: Death) -> Death {
        // What the job had started goes with it, however well its process has ended.
        kill_group(self.pid);
        self.record.end_job();
        death
    }

    /// Runs the callback of a job that ended elsewhere. The caller watches the deadline, as of a run.
    ///
    /// Not cancel safe, as [`Child::run`].
    pub async fn callback(
        &mut self,
        order: &CallbackOrder<'_>,
        sink: Arc<dyn OutputSink>,
        on_phase: &mut (dyn FnMut(Phase) + Send),
    ) -> Called {
        self.rest().await;
        self.record.begin(&order.job.id);
        if let Err(death) = self.ask(ToChild::Callback(order), sink).await {
            return Called::Died(self.died(death));
        }
        loop {
            match self.talk.hear().await {
                Heard::Said(FromChild::Called(error)) => {
                    self.answered();
                    return Called::Answered(error);
                }
                Heard::Said(FromChild::Phase(phase)) => on_phase(phase),
                Heard::Said(_) => {}
                Heard::Ended(death) => return Called::Died(self.died(death)),
            }
        }
    }

    /// Tells it whether the end of its job was written, for which a child whose result is `synchronous` waits.
    ///
    /// # Errors
    /// The child is gone.
    pub async fn settled(&mut self, was_written: bool) -> Result<(), Fault> {
        let told = self.talk.send(ToChild::Settled(was_written)).await;
        told.map_err(|e| {
            Fault::new(FaultKind::Unavailable, format!("tell python child {} the end", self.pid)).because(e)
        })
    }

    /// Waits until it is done with what followed its last answer, and says whether it will take another job. From then on,
    /// what it writes belongs to no job. A run does this first; done before, it costs the run no time. Cancel safe.
    pub async fn rest(&mut self) -> bool {
        if self.is_engaged || !self.talk.comes_to_rest().await || self.is_spent() {
            return false;
        }
        if !self.is_rested {
            self.talk.output.sweep();
            self.talk.direct_to_none();
            self.is_rested = true;
        }
        self.talk.is_open()
    }

    /// Whether it can take a job at once: it is not within a job, did not say that it leaves, and has not ended as
    /// far as can be seen without waiting.
    #[must_use]
    pub fn is_usable(&mut self) -> bool {
        self.talk.is_open() && self.talk.is_at_rest && !self.is_engaged && !self.is_spent()
    }

    /// Whether [`Child::rest`] has nothing to wait for.
    pub(super) fn is_rested(&self) -> bool {
        self.is_rested
    }

    /// A child of mode `job` runs one.
    fn is_spent(&self) -> bool {
        self.mode == Mode::Job && !self.is_rested
    }

    /// Why it said that it leaves.
    #[must_use]
    pub fn bye(&self) -> Option<String> {
        self.record.bye()
    }

    /// Lets it leave and waits for its end: it sees its socket close. After `grace` it is killed. What its last job
    /// has started and left behind is ended if that job failed; else it lives on, as under RQ.
    pub async fn finish(mut self, grace: Duration) -> Death {
        self.record.enter(ProcessState::Leaving);
        self.talk.close().await;
        let death = timeout(grace, async {
            loop {
                if let Heard::Ended(death) = self.talk.hear().await {
                    return death;
                }
            }
        });
        let death = match death.await {
            Ok(death) => death,
            Err(_) => {
                self.talk.killer.kill();
                self.talk.ended(None).await
            }
        };
        if self.has_failed {
            kill_group(self.pid);
        }
        death
    }

    /// Begins a conversation.
    async fn ask(&mut self, words: ToChild<'_>, sink: Arc<dyn OutputSink>) -> Result<(), Death> {
        (self.is_engaged, self.is_rested) = (true, false);
        self.talk.is_at_rest = false;
        self.talk.output.direct_to(sink);
        match self.talk.send(words).await {
            // It closed its socket: what it still said is read, and its end.
            Ok(()) | Err(FrameError::Connection(_)) => Ok(()),
            Err(e) => {
                self.talk.killer.kill();
                Err(self.talk.ended(Some(format!("the job could not be handed over: {e}"))).await)
            }
        }
    }

    /// Ends a conversation. All that was written until now has been handed on after this.
    fn answered(&mut self) {
        self.talk.output.sweep();
        self.record.end_job();
        self.is_engaged = false;
    }
}

#[cfg(test)]
mod tests {
    use super::super::conversation::REPORT_GRACE;
    use super::super::messages::CallbackReason;
    use super::super::messages::Mode::{Job, Warm};
    use super::super::output::Stream::{Stderr, Stdout};
    use super::super::stand_in::{Kept, LONG, boot_with, job, runs, until};
    use super::*;
    use rustix::process::{Pid, Signal, kill_process};

    async fn run(child: &mut Child, code: &str) -> (Ran, Arc<Kept>) {
        let sink = Arc::new(Kept::default());
        let ran = child.run(&job(code), Arc::<Kept>::clone(&sink), &mut |_| {}).await;
        (ran, sink)
    }

    fn payload(ran: Ran) -> String {
        match ran {
            Ran::Answered(result) => String::from_utf8(result.payload).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn death(ran: Ran) -> Death {
        match ran {
            Ran::Died(death) => death,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn job_is_run_answered_and_its_child_leaves() {
        let (zygote, _) = boot_with(&[]).await;
        let mut child = zygote.fork(Job, LONG).await.unwrap();
        let (pid, mut phases) = (child.pid(), Vec::new());
        let code = "phase('success callback', 60)\n\
                    value = [n.decode() for n in names] + [os.getpid(), os.environ.get('TIKKUN_FD')]\n\
                    result(str(value).encode(), synchronous=True)\n\
                    print(read_frame(sock)[1][0].decode(), flush=True)";
        let sink = Arc::new(Kept::default());
        let kept = Arc::<Kept>::clone(&sink);
        let ran = child.run(&job(code), kept, &mut |phase| phases.push((phase.name, phase.may_take))).await;
        assert_eq!(payload(ran), format!("['job-1', 'default', 'execution-1', 'worker-1', {pid}, None]"));
        let expected = [("running", 30), ("success callback", 60)];
        assert_eq!(phases, expected.map(|(name, s)| (name.to_owned(), Some(Duration::from_secs(s)))));
        child.settled(true).await.unwrap();
        assert!(matches!(run(&mut child, "value = 1").await.0, Ran::Declined(_)));
        let end = child.finish(LONG).await;
        assert!(end.is_clean() && !end.was_killed, "{end:?}");
        assert_eq!(sink.of(Stdout), ["ok"]);
        assert!(!runs(pid));
    }

    #[tokio::test]
    async fn segfault_is_told_in_the_words_of_rq_with_what_was_printed() {
        let (zygote, _) = boot_with(&[]).await;
        let mut child = zygote.fork(Job, LONG).await.unwrap();
        let code =
            "import ctypes\nprint('before', flush=True)\nos.write(2, b'no line feed')\nctypes.string_at(0)";
        let (ran, sink) = run(&mut child, code).await;
        let death = death(ran);
        let words = death.words();
        assert!(words.starts_with("Work-horse terminated unexpectedly; waitpid returned 1"), "{words}");
        assert!(
            words.contains("(signal 11); killed by signal 11 (SIGSEGV: an invalid memory access"),
            "{words}"
        );
        assert!(words.contains("; peak memory "), "{words}");
        assert!(!death.was_killed);
        assert_eq!(sink.of(Stdout), ["before"]);
        assert!(sink.of(Stderr)[0].starts_with("no line feed"), "{:?}", sink.of(Stderr));
    }

    #[tokio::test]
    async fn child_that_closes_its_socket_is_killed_and_named() {
        let (zygote, _) = boot_with(&[]).await;
        let mut child = zygote.fork(Job, LONG).await.unwrap();
        let pid = child.pid();
        let death = death(run(&mut child, "sock.close()\ntime.sleep(1000)").await.0);
        assert!(
            death.words().ends_with("it closed its connection to Tikkun without an answer"),
            "{}",
            death.words()
        );
        assert_eq!(death.exit.unwrap().status.signal(), Some(9));
        assert!(death.was_killed && !runs(pid));
    }

    #[tokio::test]
    async fn answer_that_is_none_ends_the_child_with_its_size() {
        let (zygote, _) = boot_with(&[]).await;
        let mut child = zygote.fork(Job, LONG).await.unwrap();
        let death = death(run(&mut child, "sock.sendall(b'\\xff' * 8)\ntime.sleep(1000)").await.0);
        let words = death.words();
        assert!(
            words.contains("its answer was none: a frame of 4294967295 bytes is larger than the"),
            "{words}"
        );
    }

    #[tokio::test]
    async fn every_line_is_under_its_own_job_though_the_child_goes_on() {
        let (zygote, _) = boot_with(&[]).await;
        let mut child = zygote.fork(Warm, LONG).await.unwrap();
        for round in ["a", "b", "c"] {
            let code = format!(
                "for n in range(10_000): print('{round}', n); print('{round}', n, file=sys.stderr)\n\
                 sys.stdout.write('{round} end')"
            );
            let (ran, sink) = run(&mut child, &code).await;
            assert_eq!(payload(ran), "");
            let expected: Vec<_> = (0..10_000).map(|n| format!("{round} {n}")).collect();
            assert_eq!(sink.of(Stderr), expected);
            let (last, lines) =
                sink.of(Stdout).split_last().map(|(last, rest)| (last.clone(), rest.to_vec())).unwrap();
            assert_eq!(lines, expected);
            assert_eq!(last, format!("{round} end"));
            assert!(child.rest().await && child.is_usable());
        }
        assert_eq!(child.record().row().jobs, 3);
    }

    #[tokio::test]
    async fn output_of_a_child_that_died_is_read_to_its_end() {
        let (zygote, _) = boot_with(&[]).await;
        let mut child = zygote.fork(Job, LONG).await.unwrap();
        let code = "for n in range(10_000): print(n)\nsys.stdout.flush()\nos._exit(7)";
        let (ran, sink) = run(&mut child, code).await;
        let words = death(ran).words();
        assert!(words.contains("waitpid returned 1792; left with exit code 7"), "{words}");
        assert_eq!(sink.of(Stdout).len(), 10_000);
    }

    #[tokio::test]
    async fn running_job_writes_its_stacks_when_it_is_asked() {
        let (zygote, _) = boot_with(&[]).await;
        let mut child = zygote.fork(Job, LONG).await.unwrap();
        let killer = child.killer();
        let code = "import faulthandler\nfaulthandler.register(signal.SIGUSR1, file=2)\n\
                    phase('registered')\ntime.sleep(1000)";
        let mut on_phase = move |phase: Phase| {
            if phase.name == "registered" {
                killer.ask_for_stacks();
            }
        };
        let sink = Arc::new(Kept::default());
        let endless = job(code);
        let run = child.run(&endless, Arc::<Kept>::clone(&sink), &mut on_phase);
        let stacks = until("the stacks", || {
            sink.of(Stderr).iter().any(|line| line.contains("most recent call first"))
        });
        tokio::select! {
            ran = run => panic!("{ran:?}"),
            () = stacks => {}
        }
    }

    #[tokio::test]
    async fn killer_ends_a_run_with_all_of_its_process_group() {
        let (zygote, _) = boot_with(&[]).await;
        let mut child = zygote.fork(Job, LONG).await.unwrap();
        let killer = child.killer();
        let left_behind = Arc::new(parking_lot::Mutex::new(0));
        let seen = Arc::clone(&left_behind);
        let code = "p = subprocess.Popen(['sleep', '1000'])\nphase(str(p.pid))\nwhile True: pass";
        let mut on_phase = move |phase: Phase| {
            if let Ok(pid) = phase.name.parse() {
                *seen.lock() = pid;
                killer.kill();
            }
        };
        let ran = child.run(&job(code), Arc::new(Kept::default()), &mut on_phase).await;
        let death = death(ran);
        assert!(death.was_killed && death.words().contains("SIGKILL) by Tikkun"), "{}", death.words());
        let left_behind = *left_behind.lock();
        until("the subprocess of the job is gone", || !runs(left_behind)).await;
    }

    #[tokio::test]
    async fn subprocess_that_holds_the_pipes_does_not_hold_up_the_end() {
        let (zygote, _) = boot_with(&[]).await;
        let mut child = zygote.fork(Job, LONG).await.unwrap();
        let code = "p = subprocess.Popen(['sleep', '1000'], close_fds=False)\nprint('said')\nvalue = p.pid";
        let (ran, sink) = run(&mut child, code).await;
        let left_behind: u32 = payload(ran).parse().unwrap();
        assert_eq!(sink.of(Stdout), ["said"]);
        assert!(child.finish(LONG).await.is_clean());
        // As under RQ, what a job starts and leaves behind lives on when the job ends well.
        assert!(runs(left_behind));
        super::super::killing::kill_tree(left_behind);
    }

    #[tokio::test]
    async fn what_a_failed_job_leaves_behind_goes_with_its_child() {
        let (zygote, _) = boot_with(&[]).await;
        for mode in [Job, Warm] {
            let mut child = zygote.fork(mode, LONG).await.unwrap();
            let code = "result(str(subprocess.Popen(['sleep', '1000']).pid).encode(), outcome='failed')";
            let left_behind: u32 = payload(run(&mut child, code).await.0).parse().unwrap();
            assert!(runs(left_behind));
            child.finish(LONG).await;
            until("it is gone, too", || !runs(left_behind)).await;
        }
    }

    #[tokio::test]
    async fn memory_is_watched_beside_the_run() {
        let (zygote, _) = boot_with(&[]).await;
        let mut child = zygote.fork(Job, LONG).await.unwrap();
        let (limit, killer) = (64 << 20, child.killer());
        let (watch, never) = (child.memory_watch(limit), child.memory_watch(1 << 40));
        let large = job("kept = b'x' * (96 << 20)\ntime.sleep(1000)");
        let mut on_phase = |_| {};
        let mut running = std::pin::pin!(child.run(&large, Arc::new(Kept::default()), &mut on_phase));
        let grown = tokio::select! {
            grown = watch.exceeded() => grown,
            _ = never.exceeded() => panic!("beyond a limit that was not reached"),
            ran = &mut running => panic!("{ran:?}"),
        };
        assert!(grown > limit, "{grown}");
        killer.kill();
        assert!(death(running.await).was_killed);
    }

    #[tokio::test]
    async fn warm_child_that_leaves_declines_the_next_job() {
        let (zygote, _) = boot_with(&[]).await;
        let mut child = zygote.fork(Warm, LONG).await.unwrap();
        assert_eq!(payload(run(&mut child, "result(b'last')\nbye('jobs')\nos._exit(0)").await.0), "last");
        let ran = run(&mut child, "value = 1").await.0;
        assert!(matches!(&ran, Ran::Declined(reason) if reason == "jobs"), "{ran:?}");
        assert!(!child.is_usable());
        assert_eq!(child.bye().unwrap(), "jobs");
    }

    #[tokio::test]
    async fn farewell_is_seen_at_rest() {
        let (zygote, _) = boot_with(&[]).await;
        let mut child = zygote.fork(Warm, LONG).await.unwrap();
        run(&mut child, "result(b'')\nbye('dirty: cwd')\ntime.sleep(1000)").await;
        assert!(!child.rest().await && !child.is_usable());
        assert_eq!(child.bye().unwrap(), "dirty: cwd");
    }

    #[tokio::test]
    async fn what_a_warm_child_writes_after_its_answer_is_still_of_that_job() {
        let (zygote, between) = boot_with(&[]).await;
        let mut child = zygote.fork(Warm, LONG).await.unwrap();
        let code = "result(b'')\nprint('from a handler', end='', flush=True)";
        let (_, sink) = run(&mut child, code).await;
        let (_, next) = run(&mut child, "print('next')").await;
        assert_eq!(
            (sink.of(Stdout), next.of(Stdout)),
            (vec!["from a handler".to_owned()], vec!["next".to_owned()])
        );
        assert_eq!(between.of(Stdout), Vec::<String>::new());
    }

    #[tokio::test]
    async fn twenty_segfaults_in_a_row_leave_no_process_and_no_pipe() {
        let (zygote, _) = boot_with(&[]).await;
        let (mut pids, mut pipes) = (Vec::new(), Vec::new());
        for _ in 0..20 {
            let mut child = zygote.fork(Job, LONG).await.unwrap();
            pids.push(child.pid());
            let code = "import ctypes\nfor fd in (1, 2): print(os.readlink('/proc/self/fd/%d' % fd), flush=True)\n\
                        ctypes.string_at(0)";
            let (ran, sink) = run(&mut child, code).await;
            assert_eq!(death(ran).exit.unwrap().status.signal(), Some(11));
            pipes.extend(sink.of(Stdout));
        }
        assert!(pids.iter().all(|pid| !runs(*pid)));
        assert_eq!(pipes.len(), 40);
        // Both ends of a pipe have one name.
        let is_open = |pipe: &String| {
            let files = std::fs::read_dir("/proc/self/fd").unwrap();
            files.flatten().any(|file| {
                std::fs::read_link(file.path()).is_ok_and(|link| link.as_os_str() == pipe.as_str())
            })
        };
        until("the pipes are closed", || !pipes.iter().any(is_open)).await;
    }

    #[tokio::test]
    async fn large_results_and_failures_come_back_byte_for_byte() {
        let (zygote, _) = boot_with(&[]).await;
        let mut child = zygote.fork(Job, LONG).await.unwrap();
        let code =
            "result(bytes(range(256)) * 80_000, 'failed', b'tb \\xff', result_ttl=500.0, synchronous=True)";
        let (Ran::Answered(result), _) = run(&mut child, code).await else { panic!() };
        assert_eq!(result.payload.len(), 20_480_000);
        assert!(result.payload.chunks(256).all(|chunk| chunk.iter().copied().eq(0..=255)));
        assert_eq!(
            (result.exc_string.as_slice(), result.attributes.result_ttl),
            (&b"tb \xff"[..], Some(500))
        );
        assert!(result.attributes.synchronous);
    }

    #[tokio::test]
    async fn large_job_reaches_the_child_whole() {
        let (zygote, _) = boot_with(&[]).await;
        let mut child = zygote.fork(Job, LONG).await.unwrap();
        let mut large = job("value = len(job[b'data'])");
        large.hash.to_mut().push((b"data".to_vec(), vec![7; 30_000_000]));
        let ran = child.run(&large, Arc::new(Kept::default()), &mut |_| {}).await;
        assert_eq!(payload(ran), "30000000");
    }

    #[tokio::test]
    async fn callback_is_told_how_the_process_died() {
        let (zygote, _) = boot_with(&[]).await;
        let mut first = zygote.fork(Job, LONG).await.unwrap();
        let death = death(run(&mut first, "os.kill(os.getpid(), 9)").await.0);
        assert!(death.words().contains("not by Tikkun"), "{}", death.words());
        let mut child = zygote.fork(Job, LONG).await.unwrap();
        let told = job("print('called'); value = reason.decode() + facts.decode()");
        let sink = Arc::new(Kept::default());
        let order = CallbackOrder { reason: CallbackReason::Killed, death: Some(&death), job: &told };
        let called = child.callback(&order, Arc::<Kept>::clone(&sink), &mut |_| {}).await;
        let Called::Answered(Some(text)) = called else { panic!("{called:?}") };
        assert!(
            text.starts_with(&format!(r#"killed{{"pid":{},"status":9,"maxrss":"#, first.pid())),
            "{text}"
        );
        child.finish(LONG).await;
        assert_eq!(sink.of(Stdout), ["called"]);
    }

    #[tokio::test]
    async fn child_that_does_not_leave_is_killed_after_the_grace() {
        let (zygote, _) = boot_with(&[]).await;
        let mut child = zygote.fork(Warm, LONG).await.unwrap();
        let pid = child.pid();
        run(&mut child, "result(b'')\ntime.sleep(1000)").await;
        let end = child.finish(Duration::from_millis(20)).await;
        assert!(end.was_killed && end.exit.is_some() && !runs(pid), "{end:?}");
    }

    #[tokio::test]
    async fn dropped_run_leaves_a_child_that_takes_no_other_job() {
        let (zygote, _) = boot_with(&[]).await;
        let mut child = zygote.fork(Warm, LONG).await.unwrap();
        let (begun, mut has_begun) = tokio::sync::mpsc::unbounded_channel();
        let mut on_phase = move |_| begun.send(()).unwrap();
        let hanging = job("time.sleep(1000)");
        tokio::select! {
            ran = child.run(&hanging, Arc::new(Kept::default()), &mut on_phase) => panic!("{ran:?}"),
            _ = has_begun.recv() => {}
        }
        assert!(!child.is_usable());
        let pid = child.pid();
        drop(child);
        until("the dropped child is gone", || !runs(pid)).await;
    }

    #[tokio::test]
    async fn what_a_job_started_goes_with_its_process_however_well_that_has_ended() {
        let (zygote, _) = boot_with(&[]).await;
        let mut child = zygote.fork(Job, LONG).await.unwrap();
        let code = "print(subprocess.Popen(['sleep', '1000']).pid, flush=True)\nos._exit(0)";
        let (ran, sink) = run(&mut child, code).await;
        assert!(death(ran).exit.unwrap().status.is_success());
        let started = sink.of(Stdout)[0].parse().unwrap();
        until("what it started has gone", || !runs(started)).await;
    }

    #[tokio::test]
    async fn a_process_whose_end_is_told_late_is_not_taken_for_one_that_hangs() {
        let (zygote, _) = boot_with(&[]).await;
        let mut child = zygote.fork(Job, LONG).await.unwrap();
        let parent = Pid::from_raw(i32::try_from(zygote.pid().unwrap()).unwrap()).unwrap();
        // As while it imports modules: it reaps nobody, for longer than an end usually takes to be told.
        kill_process(parent, Signal::STOP).unwrap();
        let goes_on = async {
            tokio::time::sleep(REPORT_GRACE + REPORT_GRACE / 4).await;
            kill_process(parent, Signal::CONT).unwrap();
        };
        let ((ran, _), ()) = tokio::join!(run(&mut child, "os._exit(3)"), goes_on);
        let death = death(ran);
        assert_eq!((death.was_killed, death.note.as_deref()), (false, None), "{death:?}");
        assert!(death.words().contains("left with exit code 3"), "{}", death.words());
    }
}
