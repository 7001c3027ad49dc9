//! The rules that hold in every history, checked at each step.
//!
//! It sees what the machine is told and what it says, and knows nothing else of it. What it says of calls and of the
//! whole run stands here; of instances, tests and time in the files below.

use super::super::super::*;
use super::given::{Given, Round};

mod places;
mod tests;
mod time;

use places::Place;
use tests::Tests;
use time::Going;

/// What is wrong, if a rule is broken.
pub(super) type Held = Result<(), String>;

/// Break off unless this holds.
macro_rules! holds {
    ($holds:expr, $($why:tt)+) => {
        if !$holds {
            return Err(format!($($why)+));
        }
    };
}
use holds;

/// What is known of a history so far.
pub(super) struct Watch<'g> {
    given: &'g Given,
    now: Duration,
    goal: Option<Goal>,
    signals: u32,
    calls: BTreeMap<Call, Going>,
    places: Vec<Place>,
    tests: Tests,
    /// What was told to end in this step.
    ended_now: Vec<(Call, Force)>,
    /// The outcome that was told in this step.
    outcome: Option<Outcome>,
    disposals: u32,
    a_disposal_failed: bool,
    /// What ran when the signal came that this step is about.
    signal_met: Vec<Call>,
    /// Whether the run had been stopped, or a signal had come, before this step.
    was_stopping: bool,
    /// How the call ended that this step is about.
    ending: Option<(Call, Ending)>,
    /// How many instances were asked for in place of others, at least, and at most.
    replaced: (usize, usize),
    /// What provision was asked for, and how many instances there were then.
    asked: (usize, usize),
    /// Provision once gave less than it was asked for.
    came_short: bool,
}

impl<'g> Watch<'g> {
    pub(super) fn new(given: &'g Given) -> Self {
        Self {
            given,
            now: Duration::ZERO,
            goal: None,
            signals: 0,
            calls: BTreeMap::new(),
            places: Vec::new(),
            tests: Tests::default(),
            ended_now: Vec::new(),
            outcome: None,
            disposals: 0,
            a_disposal_failed: false,
            signal_met: Vec::new(),
            was_stopping: false,
            ending: None,
            replaced: (0, 0),
            asked: (0, 0),
            came_short: false,
        }
    }

    /// The machine is about to be told this.
    pub(super) fn told(&mut self, input: &Input, round: Option<Round>, now: Duration) -> Held {
        (self.now, self.outcome, self.ending) = (now, None, None);
        self.ended_now.clear();
        self.signal_met.clear();
        self.was_stopping = self.signals > 0 || self.tests.stopped.as_ref().is_some_and(|stop| stop.ends_workers);
        match input {
            Input::Adopted(ids) => ids.iter().for_each(|id| self.printed(id, true)),
            Input::Printed(id) => self.printed(id, self.given.rules.settings.ids_streamed),
            Input::List => self.goal = Some(Goal::List),
            Input::Run(work) => {
                self.goal = Some(Goal::Run);
                self.tests = Tests::new(self.given, round.expect("a run has one"), work.is_last, now);
            }
            Input::Close => self.goal = Some(Goal::Close),
            Input::Heard(worker, heard) => self.heard(*worker, *heard),
            Input::WorkerEnded(worker, ending, account) => self.worker_ended(*worker, ending, account)?,
            Input::Ended(call, ending) => self.ended(*call, ending)?,
            Input::Signal => {
                self.signals += 1;
                self.signal_met.extend(self.calls.keys());
            }
            Input::Tick => {}
        }
        // A worker that ended is judged first.
        if !matches!(input, Input::WorkerEnded(..)) {
            self.look_for_stop();
        }
        Ok(())
    }

    /// The machine says this.
    pub(super) fn says(&mut self, action: &Action) -> Held {
        let was_over = self.outcome.is_some();
        match action {
            Action::Provision(count) => self.provision(*count)?,
            Action::List(instance) => {
                holds!(self.goal == Some(Goal::List), "there is nothing to list for");
                self.start(Call::Listing, instance.as_ref())?;
            }
            Action::Execute(worker, instance, batch) => {
                holds!(self.goal == Some(Goal::Run), "there is no run");
                self.start(Call::Worker(*worker), instance.as_ref())?;
                self.handed_out(*worker, batch)?;
            }
            Action::Upkeep(upkeep, instance) => {
                holds!(self.given.rules.offers.contains(upkeep), "there is no {}", upkeep.key());
                self.start(Call::Upkeep(*upkeep, instance.index), Some(instance))?;
            }
            Action::Dispose(number, ids) => self.dispose(*number, ids)?,
            Action::End(call, force) => self.end(*call, *force)?,
            Action::Returncode(worker) => self.returncode(*worker)?,
            Action::Settle(worker, fates) => self.settle(*worker, fates)?,
            Action::GiveUp(tests) => self.give_up(tests)?,
            Action::Became(instance, state) => self.became(instance, state)?,
            Action::Keep(instance) => self.keep(instance)?,
            Action::Note(_) | Action::WakeAt(_) => return Ok(()),
            Action::Done(outcome) => {
                self.look_for_stop();
                self.outcome = Some(outcome.clone());
                self.done(outcome)?;
                self.goal = None;
            }
        }
        holds!(!was_over, "it goes on after the goal is over");
        Ok(())
    }

    /// Nothing more comes in this step; the machine is to be woken then.
    pub(super) fn step_ends(&mut self, wake: Option<Duration>) -> Held {
        self.look_for_stop();
        self.check_tests()?;
        self.check_places()?;
        self.check_idle()?;
        self.check_time(wake)?;
        let is_stalled = self.goal.is_some() && self.calls.is_empty() && wake.is_none();
        holds!(!is_stalled, "nothing runs, and nobody will look again");
        Ok(())
    }

    /// A call begins.
    fn start(&mut self, call: Call, instance: Option<&Instance>) -> Held {
        holds!(self.goal.is_some(), "{call:?} begins without a goal");
        holds!(!self.calls.contains_key(&call), "{call:?} runs already");
        let is_new_work = match call {
            Call::Provision | Call::Listing | Call::Worker(_) => true,
            Call::Upkeep(upkeep, _) => matches!(upkeep, Upkeep::Ready | Upkeep::Check),
            Call::Dispose(_) => false,
        };
        if is_new_work {
            holds!(self.signals == 0, "{call:?} begins after a signal");
            holds!(
                self.tests.stopped.is_none() || self.goal != Some(Goal::Run),
                "{call:?} begins though the run was stopped"
            );
            holds!(self.goal != Some(Goal::Close), "{call:?} begins though nothing is to be done any more");
        }
        // Until it is disposed of, an instance must not take regatta for dead.
        let is_renewal = matches!(call, Call::Upkeep(Upkeep::Renew, _));
        holds!(!is_renewal || self.signals < 2, "{call:?} begins after the second signal");
        if let Some(instance) = instance {
            self.enter(call, instance)?;
        } else if matches!(call, Call::Listing | Call::Worker(_)) {
            holds!(!self.given.rules.provisions, "{call:?} has no instance");
        }
        let until = self.limit(call);
        let place = instance.map(|instance| instance.index);
        self.calls.insert(call, Going::new(place, until, self.now));
        Ok(())
    }

    fn provision(&mut self, count: usize) -> Held {
        self.start(Call::Provision, None)?;
        holds!(count > 0, "no instance is asked for");
        holds!(self.given.rules.provisions, "instances are asked for where there are none");
        let rules = &self.given.rules;
        if self.places.iter().any(Place::is_dead) {
            self.replaced.1 += count;
        }
        // What is missing to the concurrency is no replacement.
        if self.places.len() + count > rules.concurrency {
            self.replaced.0 += count;
            let limit = rules.settings.replace_limit.unwrap_or(rules.concurrency);
            holds!(self.replaced.0 <= limit, "{} instances were replaced", self.replaced.0);
            let alive = self.places.iter().filter(|place| place.is_alive()).count();
            holds!(alive + count <= rules.concurrency, "{count} more than {alive} living instances are asked for");
        }
        self.asked = (count, self.places.len());
        Ok(())
    }

    /// How many workers run.
    fn workers(&self) -> usize {
        self.calls.keys().filter(|call| matches!(call, Call::Worker(_))).count()
    }

    /// A call is told to end.
    fn end(&mut self, call: Call, force: Force) -> Held {
        let Some(going) = self.calls.get_mut(&call) else { return Err(format!("{call:?} is ended and does not run")) };
        match force {
            Force::Term => {
                holds!(going.term.is_none() && !going.is_killed, "{call:?} is told to end twice");
                going.term = Some(self.now);
            }
            Force::Kill => {
                holds!(!going.is_killed, "{call:?} is killed twice");
                going.is_killed = true;
            }
            other => return Err(format!("{call:?} is told {other:?}")),
        }
        self.ended_now.push((call, force));
        Ok(())
    }

    fn ended(&mut self, call: Call, ending: &Ending) -> Held {
        if self.leaves(call, ending)?.is_none() {
            return Ok(());
        }
        self.ending = Some((call, ending.clone()));
        match call {
            Call::Provision => self.provisioned(ending),
            Call::Listing => self.listed(ending),
            Call::Upkeep(upkeep, place) => self.upkeep_ended(upkeep, place, ending),
            Call::Dispose(number) => self.disposed(number, ending),
            Call::Worker(_) => {}
        }
        Ok(())
    }

    fn done(&mut self, outcome: &Outcome) -> Held {
        let Some(goal) = self.goal else {
            let is_third = self.signals >= 3 && matches!(outcome, Outcome::Abandoned(_));
            holds!(is_third, "there is no goal to be over");
            return self.abandoned(outcome);
        };
        let ending = |call| self.ending.as_ref().filter(|(ended, _)| *ended == call).map(|(_, ending)| ending);
        match (goal, outcome) {
            (_, Outcome::Abandoned(_)) => self.abandoned(outcome),
            (Goal::List | Goal::Run, Outcome::ProvisionFailed(how)) => {
                holds!(ending(Call::Provision) == Some(how) && !how.is_success(), "no provision ended so");
                self.nothing_runs()
            }
            (Goal::List | Goal::Run, Outcome::ProvisionedNothing { asked, have }) => {
                let is_told = self.asked == (*asked, *have) && *have == self.places.len();
                holds!(ending(Call::Provision).is_some_and(Ending::is_success) && is_told, "it is not so");
                self.nothing_runs()
            }
            (Goal::List | Goal::Run, Outcome::NoInstances(_)) => {
                self.no_instance()?;
                self.nothing_runs()
            }
            (Goal::List | Goal::Run, Outcome::Interrupted) => {
                holds!(self.signals > 0, "no signal came");
                self.nothing_runs()
            }
            (Goal::List, Outcome::Listed(how)) => {
                holds!(ending(Call::Listing) == Some(how) && self.signals == 0, "no listing ended so");
                Ok(())
            }
            (Goal::Run, Outcome::Ran(stop)) => {
                self.nothing_runs()?;
                self.ran(stop.as_ref())
            }
            (Goal::Close, Outcome::Closed) => self.closed(None),
            (Goal::Close, Outcome::DisposalFailed(_, left)) => self.closed(Some(left)),
            _ => Err(format!("{outcome:?} is no outcome of {goal:?}")),
        }
    }

    /// No instance is left, and none can be had.
    fn no_instance(&self) -> Held {
        let rules = &self.given.rules;
        holds!(!self.places.iter().any(Place::is_alive), "there is an instance");
        let limit = rules.settings.replace_limit.unwrap_or(rules.concurrency);
        holds!(self.replaced.1 >= limit || self.came_short, "{} of {limit} instances were replaced", self.replaced.1);
        Ok(())
    }

    /// Neither listing nor worker outlives its goal.
    fn nothing_runs(&self) -> Held {
        let runs = self.calls.keys().find(|call| matches!(call, Call::Worker(_) | Call::Listing));
        holds!(runs.is_none(), "{runs:?} still runs");
        Ok(())
    }

    /// The third signal: what was not given back is told, and nobody asks for anything any more.
    fn abandoned(&mut self, outcome: &Outcome) -> Held {
        let Outcome::Abandoned(left) = outcome else { return Ok(()) };
        holds!(self.signals >= 3, "there were {} signals", self.signals);
        let here: Vec<&String> = self.places.iter().filter(|place| place.is_left()).map(|place| &place.id).collect();
        holds!(left.iter().eq(here), "others are left behind");
        self.places.clear();
        self.calls.clear();
        self.a_disposal_failed = false;
        Ok(())
    }
}
