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
pub mod process;
mod reading;
pub mod recovery;
pub mod signals;
pub mod supervisor;
pub mod test_command;

pub use error::{CalloutFailure, RunError};
pub use reading::Listing;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use chrono::Utc;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, sleep_until};

use self::instances::{CommandLine, Instances};
use self::outlet::Outlet;
use self::process::{Ender, Started};
use self::reading::{Happening, attend_to};
use self::signals::{Interrupt, Signals};
use self::supervisor::{Action, Call, Input, Instance, Outcome, Rules, Supervisor};
use self::test_command::TestCommand;
use crate::event::Counts;
use crate::event::{Ending, How, RunEnd, RunEvent, Sink, WorkerId};
use crate::merge::{Account, Merge};
use crate::schedule::Batch;
use crate::test_id::{TestId, format_list};

/// From TERM to KILL.
pub const GRACE: Duration = Duration::from_secs(3);

/// How many messages of callouts may wait for the loop. Each holds what one read brought, or completed: at most a
/// packet and a read.
const INBOX: usize = 4;

/// Instances, and the runs that are made on them. To be closed with [`Session::close`], whatever happened.
pub struct Session {
    supervisor: Supervisor,
    instances: Box<dyn Instances>,
    command: TestCommand,
    signals: Signals,
    outlet: Outlet,
    merge: Merge,
    calls: BTreeMap<Call, Running>,
    outbox: Sender<(Call, Happening)>,
    inbox: Receiver<(Call, Happening)>,
    listing: Listing,
    /// The line of the callout that ended last, for its error.
    last_line: String,
    interrupt: Option<Interrupt>,
    began: Instant,
    wake_at: Option<Instant>,
}

/// A callout that runs.
struct Running {
    line: String,
    end: Ender,
    instance: Option<Instance>,
    /// Held for as long as the command may read its file.
    _command: Option<CommandLine>,
}

impl Session {
    /// A session without instances yet. `concurrency` is how many instances, or processes, run tests at once.
    #[must_use]
    pub fn new(
        concurrency: usize,
        instances: Box<dyn Instances>,
        command: TestCommand,
        signals: Signals,
        sink: Box<dyn Sink>,
    ) -> Self {
        let rules =
            Rules { concurrency, provisions: instances.provisions(), disposes: instances.disposes(), grace: GRACE };
        let (outbox, inbox) = channel(INBOX);
        Self {
            supervisor: Supervisor::new(rules),
            instances,
            command,
            signals,
            outlet: Outlet::new(sink),
            merge: Merge::default(),
            calls: BTreeMap::new(),
            outbox,
            inbox,
            listing: Listing::default(),
            last_line: String::new(),
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

    /// Run batches, each by a worker of its own, and end the run in the sinks.
    ///
    /// A run that a signal ended early is stored as a partial one.
    ///
    /// # Errors
    /// When nothing could be run, so that there is nothing to store; when ids cannot be handed to a runner; when
    /// results could not be kept or shown.
    pub async fn run(&mut self, batches: Vec<Batch>, partial: bool) -> Result<RunEnd, RunError> {
        // Ids that cannot be handed over are found out here, before anything is started.
        for tests in batches.iter().filter_map(|batch| batch.tests.as_deref()) {
            format_list(tests)?;
            if self.instances.pastes() {
                let too_long = |bytes| RunError::LineTooLong { tests: tests.len(), bytes };
                self.command.check_length(tests).map_err(too_long)?;
            }
        }
        self.merge = Merge::default();
        self.tell(RunEvent::RunStarted { at: Utc::now(), retries: false });
        match self.drive(Input::Run(batches)).await {
            Outcome::Ran => {}
            other => return Err(self.not_reached(other)),
        }
        let interrupted = self.supervisor.is_stopped();
        let partial = partial || interrupted;
        let end = RunEnd { at: Utc::now(), partial, interrupted, id: None, previous: None, counts: Counts::default() };
        Ok(self.outlet.finish(end).await?)
    }

    /// Give all instances back, and let all that was told be seen.
    ///
    /// # Errors
    /// When the disposal failed, or was given up; when the last words could not be shown.
    pub async fn close(&mut self) -> Result<(), RunError> {
        let closed = match self.drive(Input::Close).await {
            Outcome::Closed(Some(ending)) if !ending.is_success() => {
                Err(self.failure("instance_dispose", "while disposing of the instances", ending).into())
            }
            Outcome::Closed(_) => Ok(()),
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
                RunError::ProvisionedNothing { line: self.last_line.clone(), asked, have }
            }
            Outcome::Abandoned(ids) => {
                let disposal = self.instances.disposal(&ids);
                RunError::Abandoned { ids, disposal }
            }
            // The others are what their goals are asked for, and do not come here.
            Outcome::Interrupted | Outcome::Listed(_) | Outcome::Ran | Outcome::Closed(_) => RunError::Interrupted,
        }
    }

    fn failure(&self, key: &'static str, purpose: &'static str, ending: Ending) -> CalloutFailure {
        CalloutFailure { key, purpose, line: self.last_line.clone(), ending }
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
                for action in self.supervisor.on(input, now) {
                    match action {
                        Action::Done(outcome) => return outcome,
                        action => self.perform(action),
                    }
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

    fn perform(&mut self, action: Action) {
        match action {
            Action::Provision(count) => {
                let started = self.instances.provision(count);
                self.attend(Call::Provision, started, None, None);
            }
            Action::List(instance) => {
                let command = self.command.listing();
                let started = self.instances.execute(instance.as_ref(), &command);
                self.attend(Call::Listing, started, instance, Some(command));
            }
            Action::Execute(worker, instance, batch) => self.execute(worker, instance, &batch),
            Action::Dispose(ids) => {
                let started = self.instances.dispose(&ids);
                self.attend(Call::Dispose, started, None, None);
            }
            Action::End(call, force) => {
                if let Some(running) = self.calls.get_mut(&call) {
                    (running.end)(force);
                }
            }
            Action::WakeAt(at) => self.wake_at = Some(self.began + at),
            Action::Done(_) => {}
        }
    }

    fn execute(&mut self, worker: WorkerId, instance: Option<Instance>, batch: &Batch) {
        let tests = batch.tests.as_deref();
        self.merge.start(worker, tests);
        self.tell(RunEvent::WorkerStarted {
            worker,
            instance: instance.as_ref().map(|instance| instance.id.clone()),
            tests: batch.tests.clone(),
            at: Utc::now(),
        });
        let call = Call::Worker(worker);
        match self.command.running(tests) {
            Ok(command) => {
                let started = self.instances.execute(instance.as_ref(), &command);
                self.attend(call, started, instance, Some(command));
            }
            Err(error) => {
                let started = Started::not_run("the list of test ids for $IDFILE".into(), &error);
                self.attend(call, started, instance, None);
            }
        }
    }

    fn attend(&mut self, call: Call, mut started: Started, instance: Option<Instance>, command: Option<CommandLine>) {
        self.tell(RunEvent::Running { line: started.line.clone() });
        let end = std::mem::replace(&mut started.end, Box::new(|_| ()));
        let running = Running { line: started.line.clone(), end, instance, _command: command };
        self.calls.insert(call, running);
        tokio::spawn(attend_to(call, started, self.outbox.clone()));
    }

    fn happened(&mut self, call: Call, happening: Happening) -> Vec<Input> {
        match happening {
            Happening::Items(items) => {
                let Call::Worker(worker) = call else { return vec![] };
                let now = Utc::now();
                let mut events = Vec::with_capacity(items.len());
                for item in items {
                    self.merge.item(worker, item, now, &mut events);
                }
                self.outlet.send(events);
                vec![]
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
                vec![]
            }
            Happening::Ended(ending) => {
                let running = self.calls.remove(&call);
                self.last_line = running.as_ref().map(|running| running.line.clone()).unwrap_or_default();
                if let (Call::Worker(worker), Some(running)) = (call, running) {
                    self.worker_ended(worker, &running, &ending);
                }
                vec![Input::Ended(call, ending)]
            }
        }
    }

    fn worker_ended(&mut self, worker: WorkerId, running: &Running, ending: &Ending) {
        let stopped = self.supervisor.is_stopped();
        let mut events = Vec::new();
        let account = self.merge.end(worker, ending, stopped, Utc::now(), &mut events);
        if !stopped {
            events.extend(self.explain(worker, running, ending, &account).map(|text| RunEvent::Note { text }));
        }
        events.push(RunEvent::WorkerEnded { worker, ending: ending.clone(), at: Utc::now() });
        self.outlet.send(events);
    }

    /// What to say of a worker that did not do its part. A runner says "tests failed" by its exit status too, and
    /// of that there is nothing to say.
    fn explain(&self, worker: WorkerId, running: &Running, ending: &Ending, account: &Account) -> Option<String> {
        let odd = !matches!(ending.how, How::Exited(status) if status < 126);
        let silent = account.results == 0 && !ending.is_success();
        let mut text = Vec::new();
        if odd || silent || (!ending.is_success() && !account.missing.is_empty()) {
            let failure = self.failure(self.execute_key(), "while running tests", ending.clone());
            text.push(format!("{failure}\n  hint: {}", failure.hint()));
        }
        if !account.missing.is_empty() {
            let place = running.instance.as_ref().map_or(String::new(), |instance| format!(" on {}", instance.id));
            let Account { handed_out, missing, .. } = account;
            text.push(format!(
                "worker {worker}{place} gave no result for {} of {handed_out} tests: {}",
                missing.len(),
                some(missing)
            ));
        }
        (!text.is_empty()).then(|| text.join("\n"))
    }
}

/// The first few of many ids.
fn some(ids: &[TestId]) -> String {
    const SHOWN: usize = 5;
    let mut text = ids.iter().take(SHOWN).map(TestId::as_str).collect::<Vec<_>>().join(", ");
    if ids.len() > SHOWN {
        text += &format!(" and {} more", ids.len() - SHOWN);
    }
    text
}
