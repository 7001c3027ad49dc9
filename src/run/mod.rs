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

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, sleep_until};

use self::instances::{CommandLine, Instances};
use self::outlet::Outlet;
use self::process::Ender;
use self::reading::Happening;
use self::settling::LostWorker;
use self::signals::{Interrupt, Signals};
use self::supervisor::{Action, Call, Heard, Input, Instance, Outcome, Rules, Stop, Supervisor, Upkeep, Work};
use self::test_command::TestCommand;
use crate::config::Settings;
use crate::event::{Counts, Ending, RunEnd, RunEvent, Sink, WorkerId};
use crate::merge::Merge;
use crate::schedule::{Asker, Suite};
use crate::test_id::format_list;

/// From TERM to KILL, for callouts outside of a session.
pub const GRACE: Duration = Duration::from_secs(3);

/// How long an instance lives on without a sign of life from regatta (`REGATTA_TTL`).
pub const TTL: Duration = Duration::from_secs(60);

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
    calls: BTreeMap<Call, Running>,
    /// How many callouts have been started.
    started: u64,
    /// Workers that ended with tests that may yet fail for it.
    lost: BTreeMap<WorkerId, LostWorker>,
    outbox: Sender<(Call, Happening)>,
    inbox: Receiver<(Call, Happening)>,
    listing: Listing,
    /// The lines of the callouts that ended last, for their errors.
    last_lines: BTreeMap<&'static str, String>,
    interrupt: Option<Interrupt>,
    began: Instant,
    wake_at: Option<Instant>,
}

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
        let Setup { concurrency, settings, instances, command, signals, sink } = setup;
        let rules = Rules {
            concurrency,
            provisions: instances.provisions(),
            disposes: instances.disposes(),
            offers: Upkeep::ALL.into_iter().filter(|upkeep| instances.offers(*upkeep)).collect(),
            renew_every: TTL / 3,
            settings: settings.clone(),
        };
        let (outbox, inbox) = channel(INBOX);
        Self {
            supervisor: Supervisor::new(rules),
            settings,
            concurrency,
            instances,
            command,
            signals,
            outlet: Outlet::new(sink),
            merge: Merge::default(),
            suite: Arc::default(),
            calls: BTreeMap::new(),
            started: 0,
            lost: BTreeMap::new(),
            outbox,
            inbox,
            listing: Listing::default(),
            last_lines: BTreeMap::new(),
            interrupt: None,
            began: Instant::now(),
            wake_at: None,
        }
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
        self.suite = work.tests.as_ref().map(|(suite, _)| Arc::clone(suite)).unwrap_or_default();
        self.tell(RunEvent::RunStarted { at: Utc::now(), retries: self.settings.retries > 0 });
        let stop = match self.drive(Input::Run(work)).await {
            Outcome::Ran(stop) => stop,
            other => return Err(self.not_reached(other)),
        };
        let interrupted = matches!(stop, Some(Stop::Signal | Stop::Duration(_)));
        let partial = partial || stop.is_some();
        let end = RunEnd { at: Utc::now(), partial, interrupted, id: None, previous: None, counts: Counts::default() };
        let end = self.outlet.finish(end).await?;
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
            let asker = Asker { place: None, has_others: false, hands: self.concurrency, others_run: false };
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
                Err(RunError::LeftBehind { failure, ids: left })
            }
            Outcome::Closed => Ok(()),
            other => Err(self.not_reached(other)),
        };
        let shown = self.outlet.end().await;
        closed?;
        Ok(shown?)
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
            interrupt = self.signals.next() => inputs.push_front(self.interrupted(interrupt)),
            () = std::future::ready(()) => {}
        }
        loop {
            while let Some(input) = inputs.pop_front() {
                let now = self.began.elapsed();
                let mut outcome = None;
                for action in self.supervisor.on(input, now) {
                    match action {
                        Action::Done(done) => outcome = Some(done),
                        action => self.perform(action),
                    }
                }
                if let Some(outcome) = outcome {
                    return outcome;
                }
            }
            inputs.extend(self.next().await);
        }
    }

    /// Wait for the next thing to happen.
    async fn next(&mut self) -> Vec<Input> {
        let Self { signals, outlet, inbox, wake_at, .. } = self;
        tokio::select! {
            biased;
            interrupt = signals.next() => vec![self.interrupted(interrupt)],
            () = sleep_until(wake_at.unwrap_or_else(Instant::now)), if wake_at.is_some() => {
                self.wake_at = None;
                vec![Input::Tick]
            }
            happening = async { outlet.room().await; inbox.recv().await } => match happening {
                Some((call, happening)) => self.happened(call, happening),
                None => vec![],
            },
        }
    }

    fn interrupted(&mut self, interrupt: Interrupt) -> Input {
        self.interrupt.get_or_insert(interrupt);
        Input::Signal
    }

    fn happened(&mut self, call: Call, happening: Happening) -> Vec<Input> {
        match happening {
            Happening::Items(items) => {
                let Call::Worker(worker) = call else { return vec![] };
                let (now, clock) = (Utc::now(), self.began.elapsed());
                let mut events = Vec::with_capacity(items.len());
                for item in items {
                    self.merge.item(worker, item, now, clock, &mut events);
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
        let ended = RunEvent::CalloutEnded { number: running.number, ending: ending.clone(), at: Utc::now() };
        self.last_lines.insert(running.key, running.line.clone());
        self.tell(ended);
        match call {
            Call::Worker(worker) => vec![self.worker_ended(worker, running, ending)],
            call => vec![Input::Ended(call, ending)],
        }
    }
}
