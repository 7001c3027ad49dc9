//! Running tests on instances.
//!
//! [`Session`] is the one loop: it owns the [`supervisor`], performs its actions, and feeds back what comes of them.
//! Everything that takes time is awaited here and nowhere else in the crate; every rule is in the supervisor. A
//! session is handed a source of instances and a sink, and never asks what they are.
//!
//! ```text
//! Session::list, ::run, ::close
//!        |  goal                      signals, timer
//!        v                                 |
//!    supervisor <------------- Input ------+---- Happening <-- reading (a task for each callout) <-- process
//!        |                                           |
//!        +-- Action --> instances (start, end)       +--> merge --> outlet (a thread) --> sinks
//! ```

mod bookkeeping;
pub mod callouts;
mod error;
pub mod follow;
pub mod instances;
pub mod journal;
mod machine;
mod outlet;
mod performing;
pub mod process;
mod reading;
pub mod recovery;
mod settling;
pub mod signals;
pub mod supervisor;
pub mod test_command;

pub use error::{CalloutFailure, RunError};
pub use reading::Listing;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, sleep_until};

use self::bookkeeping::Bookkeeping;
use self::instances::{CommandLine, Instances};
use self::journal::Journal;
use self::outlet::Outlet;
use self::process::Ender;
use self::reading::Happening;
use self::recovery::Reusable;
use self::settling::LostWorker;
use self::signals::{Interrupt, Signals, Wish};
use self::supervisor::{Action, Call, Force, Heard, Input, Instance, Outcome, Rules, Stop, Supervisor, Upkeep, Work};
use self::test_command::TestCommand;
use crate::config::Settings;
use crate::event::{Counts, Ending, RunEnd, RunEvent, Sink, WorkerId};
use crate::merge::Merge;
use crate::schedule::{Asker, Suite};
use crate::test_id::{TestId, format_list};

/// From TERM to KILL, for callouts outside of a session.
pub const GRACE: Duration = Duration::from_secs(3);

/// How long an instance lives on without a sign of life from regatta (`REGATTA_TTL`).
pub const TTL: Duration = Duration::from_secs(60);

/// How long callouts have to pass TSTP on.
const SUSPENSION: Duration = Duration::from_millis(100);

/// How many messages of callouts may wait for the loop. Each holds what one read brought, or completed: at most a
/// packet and a read.
const INBOX: usize = 4;

/// What a session is made of.
pub struct Setup {
    /// How many instances, or processes, run tests at once.
    pub concurrency: usize,
    /// How runs are carried out.
    pub settings: Settings,
    /// Where instances come from.
    pub instances: Box<dyn Instances>,
    /// The command that lists and runs tests.
    pub command: TestCommand,
    /// Where signals come from.
    pub signals: Signals,
    /// What is told of everything.
    pub sink: Box<dyn Sink>,
    /// Gives up whoever reads what the sink prints, and has stalled. Called at most once.
    pub abandon: Box<dyn Fn() + Send>,
    /// Where everything is written down that has to be put in order should regatta die.
    pub journal: Option<Journal>,
    /// Instances that an earlier run kept: used before others are made.
    pub reuse: Vec<Reusable>,
}

/// Instances, and the runs that are made on them. To be closed with [`Session::close`], whatever happened.
pub struct Session {
    supervisor: Supervisor,
    settings: Settings,
    concurrency: usize,
    instances: Box<dyn Instances>,
    command: TestCommand,
    signals: Signals,
    outlet: Outlet,
    merge: Merge,
    /// The tests of the run.
    suite: Arc<Suite>,
    /// What comes back is counted against what goes out.
    is_accounted: bool,
    calls: BTreeMap<Call, Running>,
    /// The instances on which a worker of this run was started.
    shown: BTreeSet<String>,
    /// How many callouts have been started.
    started: u64,
    /// Workers that ended with tests that may yet fail for it.
    lost: BTreeMap<WorkerId, LostWorker>,
    outbox: Sender<(Call, Happening)>,
    inbox: Receiver<(Call, Happening)>,
    listing: Listing,
    /// The lines of the callouts that ended last, for their errors.
    last_lines: BTreeMap<&'static str, String>,
    /// The first tests that failed on each instance, where instances may be kept.
    failed_on: BTreeMap<String, Vec<TestId>>,
    /// Whether a person can be given a shell on an instance.
    has_shell: bool,
    interrupt: Option<Interrupt>,
    books: Bookkeeping,
    abandon: Box<dyn Fn() + Send>,
    /// When readers that have stalled are given up.
    abandon_at: Option<Instant>,
    began: Instant,
    wake_at: Option<Instant>,
}

/// How long after the first signal a reader that has stalled is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// A callout that runs.
struct Running {
    number: u64,
    key: &'static str,
    line: String,
    end: Ender,
    instance: Option<Instance>,
    /// How many tests a worker was handed.
    tests: usize,
    /// Held for as long as the command may read its file.
    _command: Option<CommandLine>,
}

impl Session {
    /// A session without instances yet.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let Setup { concurrency, settings, mut instances, command, signals, sink, abandon, journal, reuse } = setup;
        let mut books = Bookkeeping::new(journal);
        let adopted = books.adopt(reuse);
        let ids = adopted.iter().map(|(id, _)| id.clone()).collect();
        adopted.into_iter().for_each(|(id, lease)| instances.adopt(&id, lease));
        let rules = Rules {
            concurrency,
            provisions: instances.provisions(),
            disposes: instances.disposes(),
            offers: Upkeep::ALL.into_iter().filter(|upkeep| instances.offers(*upkeep)).collect(),
            renew_every: TTL / 3,
            settings: settings.clone(),
        };
        let has_shell = instances.has_shell();
        let (outbox, inbox) = channel(INBOX);
        let mut session = Self {
            supervisor: Supervisor::new(rules),
            settings,
            concurrency,
            instances,
            command,
            signals,
            outlet: Outlet::new(sink),
            merge: Merge::default(),
            suite: Arc::default(),
            is_accounted: true,
            calls: BTreeMap::new(),
            shown: BTreeSet::new(),
            started: 0,
            lost: BTreeMap::new(),
            outbox,
            inbox,
            listing: Listing::default(),
            last_lines: BTreeMap::new(),
            failed_on: BTreeMap::new(),
            has_shell,
            interrupt: None,
            books,
            abandon,
            abandon_at: None,
            began: Instant::now(),
            wake_at: None,
        };
        session.feed(Input::Adopted(ids));
        session
    }

    /// The first signal that came, if one did.
    #[must_use]
    pub fn interrupt(&self) -> Option<Interrupt> {
        self.interrupt
    }

    /// Tell the sinks something.
    pub fn tell(&self, event: RunEvent) {
        self.outlet.send(vec![event]);
    }

    /// List the tests, on an instance.
    ///
    /// # Errors
    /// When there is no instance to list them on, when the listing failed, or a signal came. What a failed listing
    /// wrote was shown, as testr shows it.
    pub async fn list(&mut self) -> Result<Listing, RunError> {
        self.listing = Listing::default();
        let outcome = self.drive(Input::List).await;
        let ending = match outcome {
            Outcome::Listed(ending) => ending,
            other => return Err(self.not_reached(other)),
        };
        if ending.is_success() {
            return Ok(std::mem::take(&mut self.listing));
        }
        for (name, bytes) in self.listing.files.drain(..) {
            self.outlet.send(vec![
                RunEvent::Print { bytes: format!("--- {name} ---\n").into() },
                RunEvent::Print { bytes: bytes.into() },
            ]);
        }
        Err(self.failure(self.execute_key(), "while listing the tests", ending).into())
    }

    /// Run tests, and end the run in the sinks.
    ///
    /// A run that was ended early is stored as a partial one.
    ///
    /// # Errors
    /// When nothing could be run, so that there is nothing to store; when ids cannot be handed to a runner; when
    /// results could not be kept or shown; when the run was stored and is not whole, but for a signal or `max_fail`.
    pub async fn run(&mut self, work: Work, partial: bool) -> Result<RunEnd, RunError> {
        self.check(&work)?;
        self.merge = Merge::default();
        self.lost.clear();
        self.shown.clear();
        self.is_accounted = work.is_accounted;
        self.suite = work.tests.as_ref().map(|(suite, _)| Arc::clone(suite)).unwrap_or_default();
        self.tell(RunEvent::RunStarted { at: Utc::now(), retries: self.settings.retries > 0 });
        let stop = match self.drive(Input::Run(work)).await {
            Outcome::Ran(stop) => stop,
            other => return Err(self.not_reached(other)),
        };
        let interrupted = matches!(stop, Some(Stop::Signal | Stop::Duration(_)));
        let partial = partial || stop.is_some();
        let end = RunEnd { at: Utc::now(), partial, interrupted, id: None, previous: None, counts: Counts::default() };
        let answer = self.outlet.finish(end);
        let end = self.patiently(answer).await?;
        match stop {
            Some(stop @ (Stop::Duration(_) | Stop::Fruitless(..) | Stop::NoInstances(..))) => {
                Err(RunError::Incomplete { stop, limit: self.settings.max_duration })
            }
            _ => Ok(end),
        }
    }

    /// Ids that cannot be handed over are found out here, before anything is started.
    fn check(&self, work: &Work) -> Result<(), RunError> {
        let Some((suite, queue)) = &work.tests else { return Ok(()) };
        format_list(suite.ids())?;
        if self.instances.pastes() && self.command.pastes() {
            let mut queue = queue.clone();
            let asker = Asker { place: None, has_others: false, hands: self.concurrency, others_run: false, least: 1 };
            while let Some(batch) = queue.take(asker) {
                let ids: Vec<_> = batch.iter().map(|test| suite.id(*test).clone()).collect();
                let too_long = |bytes| RunError::LineTooLong { tests: ids.len(), bytes };
                self.command.check_length(&ids).map_err(too_long)?;
            }
        }
        Ok(())
    }

    /// Give all instances back, and let all that was told be seen.
    ///
    /// # Errors
    /// When a disposal failed, or was given up; when the last words could not be shown.
    pub async fn close(&mut self) -> Result<(), RunError> {
        let closed = match self.drive(Input::Close).await {
            Outcome::DisposalFailed(ending, left) => {
                let failure = self.failure("instance_dispose", "while disposing of the instances", ending);
                Err(RunError::LeftBehind { failure: Box::new(failure), ids: left })
            }
            Outcome::Closed => Ok(()),
            other => Err(self.not_reached(other)),
        };
        let answer = self.outlet.end();
        let shown = self.patiently(answer).await;
        let booked = self.books.close();
        closed?;
        shown?;
        Ok(booked?)
    }

    /// Wait for the sinks, and serve signals and the lease meanwhile.
    async fn patiently<T>(&mut self, answer: impl Future<Output = T>) -> T {
        let mut answer = pin!(answer);
        loop {
            let input = tokio::select! {
                biased;
                answer = &mut answer => return answer,
                input = self.attention() => input,
            };
            // Nothing runs, so that a signal starts nothing and ends nothing; it is counted.
            input.into_iter().for_each(|input| drop(self.feed(input)));
        }
    }

    /// Hand something to the supervisor, and do what it says. Gives the outcome, if the goal is over.
    fn feed(&mut self, input: Input) -> Option<Outcome> {
        let now = self.began.elapsed();
        let mut outcome = None;
        for action in self.supervisor.on(input, now) {
            match action {
                Action::Done(done) => outcome = Some(done),
                action => self.perform(action),
            }
        }
        self.books.flush();
        if let Some(text) = self.books.trouble() {
            self.tell(RunEvent::Note { text });
        }
        outcome
    }

    fn not_reached(&self, outcome: Outcome) -> RunError {
        match outcome {
            Outcome::ProvisionFailed(ending) => {
                self.failure("instance_provision", "while provisioning instances", ending).into()
            }
            Outcome::ProvisionedNothing { asked, have } => {
                let line = self.last_lines.get("instance_provision").cloned().unwrap_or_default();
                RunError::ProvisionedNothing { line, asked, have }
            }
            Outcome::NoInstances(why) => RunError::NoInstances { why },
            Outcome::Abandoned(ids) => {
                let disposal = self.instances.disposal(&ids);
                RunError::Abandoned { ids, disposal }
            }
            // The others are what their goals are asked for, and do not come here.
            Outcome::Interrupted
            | Outcome::Listed(_)
            | Outcome::Ran(_)
            | Outcome::Closed
            | Outcome::DisposalFailed(..) => RunError::Interrupted,
        }
    }

    fn failure(&self, key: &'static str, purpose: &'static str, ending: Ending) -> CalloutFailure {
        let line = self.last_lines.get(key).cloned().unwrap_or_default();
        CalloutFailure { key, purpose, line, ending }
    }

    fn execute_key(&self) -> &'static str {
        if self.instances.executes() { "instance_execute" } else { "test_command" }
    }

    /// The loop: until the goal is over.
    async fn drive(&mut self, goal: Input) -> Outcome {
        let mut inputs = VecDeque::from([goal]);
        // A signal that came between two goals goes first, so that nothing starts after it.
        tokio::select! {
            biased;
            wish = self.signals.next() => inputs.extend(self.wished(wish)),
            () = std::future::ready(()) => {}
        }
        inputs.rotate_left(inputs.len() - 1);
        loop {
            while let Some(input) = inputs.pop_front() {
                if let Some(outcome) = self.feed(input) {
                    return outcome;
                }
            }
            inputs.extend(self.next().await);
        }
    }

    /// Wait for the next thing to happen.
    async fn next(&mut self) -> Vec<Input> {
        let Self { signals, outlet, inbox, wake_at, books, abandon_at, .. } = self;
        tokio::select! {
            biased;
            wish = signals.next() => self.wished(wish).into_iter().collect(),
            () = at(*abandon_at) => {
                self.give_up_readers();
                vec![]
            }
            () = at(*wake_at) => {
                self.wake_at = None;
                vec![Input::Tick]
            }
            () = books.lease_is_due() => {
                self.books.renew();
                vec![]
            }
            happening = async { outlet.room().await; inbox.recv().await } => match happening {
                Some((call, happening)) => self.happened(call, happening),
                None => vec![],
            },
        }
    }

    /// The same while nothing runs.
    async fn attention(&mut self) -> Option<Input> {
        let Self { signals, books, abandon_at, .. } = self;
        tokio::select! {
            biased;
            wish = signals.next() => self.wished(wish),
            () = at(*abandon_at) => {
                self.give_up_readers();
                None
            }
            () = books.lease_is_due() => {
                self.books.renew();
                None
            }
        }
    }

    fn wished(&mut self, wish: Wish) -> Option<Input> {
        match wish {
            Wish::End(interrupt) => {
                if self.interrupt.is_none() {
                    self.interrupt = Some(interrupt);
                    self.abandon_at = Some(Instant::now() + PATIENCE);
                } else {
                    self.give_up_readers();
                }
                Some(Input::Signal)
            }
            Wish::Pause => {
                self.pause();
                None
            }
        }
    }

    fn give_up_readers(&mut self) {
        self.abandon_at = None;
        (self.abandon)();
    }

    /// Stop all that runs, and this process; when it goes on, so does all, and no time has passed.
    fn pause(&mut self) {
        let stopped = Instant::now();
        self.force(Force::Suspend);
        // Who catches it has to pass it on before it is stopped itself.
        std::thread::sleep(SUSPENSION);
        self.force(Force::Stop);
        signals::stop_self();
        self.force(Force::Continue);
        let pause = stopped.elapsed();
        self.began += pause;
        self.wake_at = self.wake_at.map(|at| at + pause);
        self.books.renew();
    }

    fn force(&mut self, force: Force) {
        self.calls.values_mut().for_each(|running| (running.end)(force));
    }

    fn happened(&mut self, call: Call, happening: Happening) -> Vec<Input> {
        match happening {
            Happening::Items(items) => {
                let Call::Worker(worker) = call else { return vec![] };
                let clock = self.began.elapsed();
                let mut events = Vec::with_capacity(items.len());
                for item in items {
                    // Each anew, as in testr: a run whose packets have no times took some time all the same.
                    self.merge.item(worker, item, Utc::now(), clock, &mut events);
                }
                self.outlet.send(events);
                self.heard(call)
            }
            Happening::Printed(ids) => ids.into_iter().map(Input::Printed).collect(),
            Happening::Listed(listing) => {
                self.listing = listing;
                vec![]
            }
            Happening::Stdout(bytes) => {
                self.tell(RunEvent::Stdout { bytes });
                vec![]
            }
            Happening::Stderr(bytes) => {
                self.tell(RunEvent::Stderr { bytes });
                self.heard(call)
            }
            Happening::Ended(ending) => self.ended(call, ending),
        }
    }

    /// What the supervisor has to know of a worker that wrote something.
    fn heard(&self, call: Call) -> Vec<Input> {
        let Call::Worker(worker) = call else { return vec![] };
        if !self.supervisor.listens() {
            return vec![];
        }
        let (oldest, failures) = self.merge.heard(worker);
        vec![Input::Heard(worker, Heard { oldest, failures })]
    }

    fn ended(&mut self, call: Call, mut ending: Ending) -> Vec<Input> {
        ending.limit = self.supervisor.limit(call);
        let Some(running) = self.calls.remove(&call) else { return vec![] };
        self.books.callout_ended(running.number);
        if call == Call::Provision {
            self.books.provision_ended();
        }
        let ended = RunEvent::CalloutEnded { number: running.number, ending: ending.clone(), at: Utc::now() };
        self.last_lines.insert(running.key, running.line.clone());
        self.tell(ended);
        match call {
            Call::Worker(worker) => vec![self.worker_ended(worker, running, ending)],
            call => vec![Input::Ended(call, ending)],
        }
    }
}

/// Wait until then; for ever, if there is no such time.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
