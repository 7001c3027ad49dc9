//! The callouts that run, and their limits in time: TERM when one is over, KILL after the grace.  (pure)

use std::time::Duration;

use super::{Action, Batch, Call, Force, Heard, Stop, Supervisor, Upkeep};
use crate::event::{Ending, InstanceState, Limit, WorkerId};
use crate::merge::Account;

/// How long the last probe of an instance may take at least.
const LAST_PROBE: Duration = Duration::from_secs(1);

/// A callout that runs.
#[derive(Debug, Default)]
pub(super) struct Running {
    /// The instance that it is for.
    pub(super) place: Option<usize>,
    /// What a worker was handed.
    pub(super) batch: Batch,
    /// When it began.
    pub(super) began: Duration,
    /// How many of its tests have failed so far.
    pub(super) failures: u64,
    /// When it has to be over, whatever it does.
    until: Option<(Duration, Limit)>,
    /// When it last wrote something, and when its oldest test in progress began.
    heard: Duration,
    oldest: Option<Duration>,
    /// It was told to end: when it is killed, unless it was.
    kill_at: Option<Duration>,
    /// It is to be left alone: it was told to end, or to end at once.
    is_ending: bool,
    /// The limit for which it was told to end.
    pub(super) over: Option<Limit>,
}

impl Supervisor {
    /// Note that a callout starts.
    pub(super) fn start(&mut self, call: Call, place: Option<usize>, batch: Batch) {
        let until = self.limit_of(call, place).map(|limit| (self.now + limit, Limit::Callout(limit)));
        let running = Running { place, batch, until, began: self.now, heard: self.now, ..Running::default() };
        self.calls.insert(call, running);
    }

    fn limit_of(&self, call: Call, place: Option<usize>) -> Option<Duration> {
        let settings = &self.rules.settings;
        match call {
            Call::Provision => settings.provision_limit,
            Call::Listing | Call::Worker(_) => None,
            Call::Dispose(_) => settings.dispose_limit,
            Call::Upkeep(upkeep, _) => Some(match upkeep {
                Upkeep::Ready => {
                    let until = place.and_then(|place| self.slots[place].ready_until);
                    // The last probe gets a chance as well.
                    until.map_or(settings.ready_limit, |until| until.saturating_sub(self.now).max(LAST_PROBE))
                }
                Upkeep::Check => settings.check_limit,
                Upkeep::Kill | Upkeep::Fence => settings.kill_limit,
                Upkeep::Collect => settings.collect_limit,
                Upkeep::Renew | Upkeep::Keep => self.rules.renew_every,
            }),
        }
    }

    /// Whether a worker runs.
    pub(super) fn workers_run(&self) -> usize {
        self.calls.keys().filter(|call| matches!(call, Call::Worker(_))).count()
    }

    pub(super) fn heard(&mut self, worker: WorkerId, heard: Heard) {
        if let Some(running) = self.calls.get_mut(&Call::Worker(worker)) {
            running.heard = self.now;
            running.oldest = heard.oldest;
            running.failures = heard.failures;
        }
    }

    /// End what has taken too long, and kill what does not end.
    pub(super) fn enforce_limits(&mut self) {
        let (now, grace) = (self.now, self.rules.settings.grace);
        let mut due = Vec::new();
        for (call, running) in &mut self.calls {
            if running.kill_at.is_some_and(|at| at <= now) {
                running.kill_at = None;
                due.push(Action::End(*call, Force::Kill));
            } else if !running.is_ending
                && let Some((at, limit)) = running.deadline(&self.rules.settings, *call)
                && at <= now
            {
                (running.is_ending, running.over, running.kill_at) = (true, Some(limit), Some(now + grace));
                due.push(Action::End(*call, Force::Term));
            }
        }
        self.actions.append(&mut due);
        self.enforce_run_limits();
    }

    /// Tell these callouts to end.
    pub(super) fn end_calls(&mut self, which: impl Fn(Call) -> bool) {
        let kill_at = self.now + self.rules.settings.grace;
        for (call, running) in self.calls.iter_mut().filter(|(call, running)| which(**call) && !running.is_ending) {
            (running.is_ending, running.kill_at) = (true, Some(kill_at));
            self.actions.push(Action::End(*call, Force::Term));
        }
    }

    /// Kill these callouts, without a grace.
    pub(super) fn kill_calls(&mut self, which: impl Fn(Call) -> bool) {
        for (call, running) in self.calls.iter_mut().filter(|(call, _)| which(**call)) {
            if !running.is_ending || running.kill_at.is_some() {
                self.actions.push(Action::End(*call, Force::Kill));
            }
            (running.is_ending, running.kill_at) = (true, None);
        }
    }

    /// When to look again, if nothing happens.
    pub(super) fn next_wake(&self) -> Option<Duration> {
        let calls = self.calls.iter().filter_map(|(call, running)| {
            let deadline = running.deadline(&self.rules.settings, *call).filter(|_| !running.is_ending);
            running.kill_at.or(deadline.map(|(at, _)| at))
        });
        // What is over would be asked for again and again, and nothing that comes after it.
        let run = self.run_until.filter(|_| self.goal == super::Goal::Run && !self.starts_nothing());
        calls.chain(self.slots_wake()).chain(run).min()
    }

    /// A callout other than a worker ended.
    pub(super) fn ended(&mut self, call: Call, ending: Ending) {
        // What was given up still ends.
        let Some(Running { place, .. }) = self.calls.remove(&call) else { return };
        match call {
            Call::Provision => self.provisioned(ending),
            Call::Listing => self.listed(place, ending),
            Call::Upkeep(upkeep, place) => self.tended(upkeep, place, &ending),
            Call::Dispose(number) => self.disposed(number, ending),
            Call::Worker(_) => {}
        }
    }

    pub(super) fn worker_ended(&mut self, worker: WorkerId, ending: &Ending, account: &Account) {
        let Some(running) = self.calls.remove(&Call::Worker(worker)) else { return };
        let is_stopping = self.is_stopping();
        if let Some(place) = running.place {
            self.release(place, ending, account);
        }
        self.settle(worker, &running, ending, account, is_stopping);
    }

    /// How many tests have failed for good.
    fn failures(&self) -> u64 {
        let undecided = if self.rules.settings.retries > 0 { 0 } else { self.calls.values().map(|r| r.failures).sum() };
        self.ledger.failures + undecided
    }

    fn enforce_run_limits(&mut self) {
        if self.goal != super::Goal::Run || self.stop.is_some() {
            return;
        }
        if self.run_until.is_some_and(|until| until <= self.now) {
            self.stop_run(Stop::Duration(0));
        } else if self.rules.settings.max_fail.is_some_and(|max| self.failures() >= max) {
            self.stop_run(Stop::Failures(0));
        }
    }

    /// Tell what became of an instance.
    pub(super) fn became(&mut self, place: usize, state: InstanceState) {
        self.actions.push(Action::Became(self.slots[place].instance.clone(), state));
    }
}

impl Running {
    /// The first of its limits.
    fn deadline(&self, settings: &crate::config::Settings, call: Call) -> Option<(Duration, Limit)> {
        let mut limits = vec![];
        limits.extend(self.until);
        if matches!(call, Call::Worker(_)) {
            limits.extend(settings.no_output_timeout.map(|limit| (self.heard + limit, Limit::Silence(limit))));
            let test = settings.test_timeout.zip(self.oldest);
            limits.extend(test.map(|(limit, since)| (since + limit, Limit::Test(limit))));
        }
        limits.into_iter().min_by_key(|(at, _)| *at)
    }
}
