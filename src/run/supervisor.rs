//! Every rule about instances, batches and signals, as a state machine.  (pure)
//!
//! [`Supervisor::on`] takes what happened and says what to do. It starts no process and reads no clock: the loop in
//! [`super::Session`] performs the actions and feeds what comes of them back in, so the rules can be tried with random
//! histories and without a process.
//!
//! The caller has one *goal* at a time; each ends with one [`Action::Done`].
//!
//! | goal | needs | then | is over when |
//! | --- | --- | --- | --- |
//! | [`Input::List`] | all instances | the listing on one of them | the listing ended |
//! | [`Input::Run`] | an instance for each batch, at most the concurrency | a worker for each batch, the next batch as an instance gets free | no batch waits and no worker runs |
//! | [`Input::Close`] | nothing runs | one disposal with all instances, whatever happened | it ended, or there is nothing to dispose of |
//!
//! Whatever the goal: while instances are missing, provision is called for the number missing, again and again while
//! new ids come; an answer without a new one, or a failed one, ends the goal. An instance is used by one callout at a
//! time and given back after each use. Signals: the first lets nothing start any more and ends what runs (TERM, after
//! the grace KILL), the second kills at once, the third gives up. Only the third leaves an instance behind.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::event::{Ending, WorkerId};
use crate::schedule::Batch;

/// A callout, or the plain command where there are no instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// `instance_provision`.
    Provision,
    /// The test command with its list option, on an instance.
    Listing,
    /// The test command on an instance, with one batch.
    Worker(WorkerId),
    /// `instance_dispose`.
    Dispose,
}

/// What is done for one instance, beside running tests on it. All of it is optional.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Upkeep {
    /// `instance_ready`: does it take work by now?
    Ready,
    /// `instance_check`: does it still live?
    Check,
    /// `instance_kill`: end what runs there.
    Kill,
    /// `instance_collect`: fetch its logs.
    Collect,
    /// `instance_renew`: it is still in use. The only one that may run beside another callout on the instance.
    Renew,
    /// `instance_fence`: turn its power off.
    Fence,
}

impl Upkeep {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Ready, Self::Check, Self::Kill, Self::Collect, Self::Renew, Self::Fence];

    /// The key in `.testr.conf`.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Ready => "instance_ready",
            Self::Check => "instance_check",
            Self::Kill => "instance_kill",
            Self::Collect => "instance_collect",
            Self::Renew => "instance_renew",
            Self::Fence => "instance_fence",
        }
    }
}

/// Where a callout runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// As provision printed it.
    pub id: String,
    /// Its place in the order of provisioning, from 0.
    pub index: usize,
}

/// Something happened.
#[derive(Debug)]
pub enum Input {
    /// The caller wants the listing.
    List,
    /// The caller wants these batches run, each by a worker of its own.
    Run(Vec<Batch>),
    /// The caller wants nothing more: everything is to be given back.
    Close,
    /// Provision printed this id.
    Printed(String),
    /// A callout ended, and all its output has been read.
    Ended(Call, Ending),
    /// The user, or the system, wants an end.
    Signal,
    /// The time asked for with [`Action::WakeAt`] has come, or some other moment passed.
    Tick,
}

/// How hard to end something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// TERM, to the whole session.
    Term,
    /// KILL, to the whole session.
    Kill,
}

/// Something to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask for this many instances.
    Provision(usize),
    /// List the tests.
    List(Option<Instance>),
    /// Run a batch.
    Execute(WorkerId, Option<Instance>, Batch),
    /// Give these instances back.
    Dispose(Vec<String>),
    /// End a callout that runs.
    End(Call, Force),
    /// Come back with a [`Input::Tick`] at this time, counted as `now` is.
    WakeAt(Duration),
    /// The goal is over.
    Done(Outcome),
}

/// How a goal ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The listing ended like this.
    Listed(Ending),
    /// Each batch had its worker, or a signal came.
    Ran,
    /// Instances were disposed of like this; nothing when there was nothing to dispose of.
    Closed(Option<Ending>),
    /// Provision failed.
    ProvisionFailed(Ending),
    /// Provision succeeded and printed no id that was not there before.
    ProvisionedNothing {
        /// How many were asked for.
        asked: usize,
        /// How many there are.
        have: usize,
    },
    /// A signal came before the goal was reached.
    Interrupted,
    /// The third signal: these instances are left behind.
    Abandoned(Vec<String>),
}

/// What the machine is told once.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How many instances, or processes.
    pub concurrency: usize,
    /// Whether instances are provisioned at all.
    pub provisions: bool,
    /// Whether there is a way to dispose of them.
    pub disposes: bool,
    /// From TERM to KILL.
    pub grace: Duration,
}

#[derive(Debug, PartialEq, Eq)]
enum Goal {
    None,
    List,
    Run,
    Close,
}

#[derive(Debug)]
struct Slot {
    instance: Instance,
    user: Option<Call>,
}

/// The state machine.
#[derive(Debug)]
pub struct Supervisor {
    rules: Rules,
    goal: Goal,
    slots: Vec<Slot>,
    /// What runs, and since a signal: when it is killed.
    running: BTreeMap<Call, Option<Duration>>,
    /// Batches that wait for an instance.
    waiting: VecDeque<Batch>,
    workers_started: u32,
    /// How many were asked for in the provision call that runs, and how many there were before.
    asked: usize,
    had: usize,
    signals: u8,
}

impl Supervisor {
    /// A machine at rest, without instances.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            goal: Goal::None,
            slots: Vec::new(),
            running: BTreeMap::new(),
            waiting: VecDeque::new(),
            workers_started: 0,
            asked: 0,
            had: 0,
            signals: 0,
        }
    }

    /// Whether a signal has come.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.signals > 0
    }

    /// The instances there are, in the order of provisioning.
    pub fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.slots.iter().map(|slot| &slot.instance)
    }

    /// Something happened at `now`, a time since any fixed moment that never goes back.
    pub fn on(&mut self, input: Input, now: Duration) -> Vec<Action> {
        let mut actions = Vec::new();
        match input {
            Input::List => self.goal = Goal::List,
            Input::Run(batches) => {
                self.goal = Goal::Run;
                self.waiting = batches.into();
                self.workers_started = 0;
            }
            Input::Close => self.goal = Goal::Close,
            Input::Printed(id) => self.admit(id),
            Input::Ended(call, ending) => self.ended(call, ending, &mut actions),
            Input::Signal => self.signal(now, &mut actions),
            Input::Tick => self.kill_overdue(now, &mut actions),
        }
        if !actions.iter().any(|a| matches!(a, Action::Done(_))) {
            self.advance(&mut actions);
        }
        actions
    }

    fn admit(&mut self, id: String) {
        if self.slots.iter().all(|slot| slot.instance.id != id) {
            let index = self.slots.len();
            self.slots.push(Slot { instance: Instance { id, index }, user: None });
        }
    }

    fn ended(&mut self, call: Call, ending: Ending, actions: &mut Vec<Action>) {
        self.running.remove(&call);
        for slot in &mut self.slots {
            if slot.user == Some(call) {
                slot.user = None;
            }
        }
        match call {
            // A goal that a signal stopped is over as interrupted, however its callout ended.
            Call::Provision | Call::Listing if self.is_stopped() => {}
            Call::Provision if !ending.is_success() => self.done(Outcome::ProvisionFailed(ending), actions),
            Call::Provision if self.slots.len() == self.had => {
                self.done(Outcome::ProvisionedNothing { asked: self.asked, have: self.had }, actions);
            }
            Call::Listing => self.done(Outcome::Listed(ending), actions),
            Call::Dispose => {
                self.slots.clear();
                self.done(Outcome::Closed(Some(ending)), actions);
            }
            Call::Provision | Call::Worker(_) => {}
        }
    }

    fn signal(&mut self, now: Duration, actions: &mut Vec<Action>) {
        self.signals = self.signals.saturating_add(1);
        self.waiting.clear();
        match self.signals {
            1 => {
                let kill_at = now + self.rules.grace;
                for (call, kill) in self.running.iter_mut().filter(|(call, _)| **call != Call::Dispose) {
                    actions.push(Action::End(*call, Force::Term));
                    *kill = Some(kill_at);
                }
                if !actions.is_empty() {
                    actions.push(Action::WakeAt(kill_at));
                }
            }
            2 => self.kill_overdue(Duration::MAX, actions),
            _ => {
                let left = self.slots.drain(..).map(|slot| slot.instance.id).collect();
                self.done(Outcome::Abandoned(left), actions);
            }
        }
    }

    fn kill_overdue(&mut self, now: Duration, actions: &mut Vec<Action>) {
        for (call, kill) in &mut self.running {
            if kill.is_some_and(|at| at <= now) {
                actions.push(Action::End(*call, Force::Kill));
                *kill = None;
            }
        }
    }

    fn done(&mut self, outcome: Outcome, actions: &mut Vec<Action>) {
        self.goal = Goal::None;
        actions.push(Action::Done(outcome));
    }

    /// Start what can be started for the goal, or say that it is over.
    fn advance(&mut self, actions: &mut Vec<Action>) {
        let idle = self.running.is_empty();
        match self.goal {
            Goal::None => {}
            Goal::Close if !idle => {}
            Goal::Close => self.dispose(actions),
            Goal::List if self.is_stopped() => {
                if idle {
                    self.done(Outcome::Interrupted, actions);
                }
            }
            Goal::List => {
                if idle && !self.provision(self.rules.concurrency, actions) {
                    let instance = self.take(Call::Listing);
                    self.running.insert(Call::Listing, None);
                    actions.push(Action::List(instance));
                }
            }
            Goal::Run => self.advance_run(actions),
        }
    }

    fn advance_run(&mut self, actions: &mut Vec<Action>) {
        if !self.waiting.is_empty() && !self.running.contains_key(&Call::Provision) {
            let wanted = self.waiting.len().min(self.rules.concurrency);
            // Only at the start: later on, instances get free.
            if self.workers_started > 0 || !self.provision(wanted, actions) {
                self.start_workers(actions);
            }
        }
        if self.waiting.is_empty() && self.running.is_empty() {
            let started = self.workers_started > 0;
            let outcome = if self.is_stopped() && !started { Outcome::Interrupted } else { Outcome::Ran };
            self.done(outcome, actions);
        }
    }

    fn start_workers(&mut self, actions: &mut Vec<Action>) {
        while self.running.len() < self.rules.concurrency {
            if self.rules.provisions && self.slots.iter().all(|slot| slot.user.is_some()) {
                return;
            }
            let Some(batch) = self.waiting.pop_front() else { return };
            let worker = WorkerId(self.workers_started);
            self.workers_started += 1;
            let call = Call::Worker(worker);
            let instance = self.take(call);
            self.running.insert(call, None);
            actions.push(Action::Execute(worker, instance, batch));
        }
    }

    /// Ask for what is missing to `wanted`. False when nothing is.
    fn provision(&mut self, wanted: usize, actions: &mut Vec<Action>) -> bool {
        self.had = self.slots.len();
        self.asked = wanted.saturating_sub(self.had);
        let missing = self.rules.provisions && self.asked > 0;
        if missing {
            self.running.insert(Call::Provision, None);
            actions.push(Action::Provision(self.asked));
        }
        missing
    }

    /// The first instance that nobody uses.
    fn take(&mut self, call: Call) -> Option<Instance> {
        let slot = self.slots.iter_mut().find(|slot| slot.user.is_none())?;
        slot.user = Some(call);
        Some(slot.instance.clone())
    }

    fn dispose(&mut self, actions: &mut Vec<Action>) {
        if self.slots.is_empty() || !self.rules.disposes {
            return self.done(Outcome::Closed(None), actions);
        }
        let mut ids: Vec<String> = self.slots.iter().map(|slot| slot.instance.id.clone()).collect();
        // Sorted as text, as testr does: n10 before n2.
        ids.sort();
        self.running.insert(Call::Dispose, None);
        actions.push(Action::Dispose(ids));
    }
}

#[cfg(test)]
mod tests;
