//! Rules about time: what is over its limit is told to end, then killed, and the machine asks to be woken for it.

use super::*;
use crate::event::Limit;

/// A call that runs.
#[derive(Debug)]
pub(super) struct Going {
    pub(super) place: Option<usize>,
    /// When it has to be over.
    until: Option<Duration>,
    /// When it last wrote something, and since when its oldest test is in progress.
    heard: Duration,
    oldest: Option<Duration>,
    /// How many of its tests have failed so far.
    pub(super) failures: u64,
    pub(super) batch: Batch,
    /// Some of it was handed out before.
    pub(super) is_again: bool,
    /// When it was told to end.
    pub(super) term: Option<Duration>,
    pub(super) is_killed: bool,
    /// Whether it was told so for a limit; nothing where it may be either.
    is_over: Option<bool>,
}

impl Going {
    pub(super) fn new(place: Option<usize>, until: Option<Duration>, now: Duration) -> Self {
        Self {
            place,
            until,
            heard: now,
            oldest: None,
            failures: 0,
            batch: None,
            is_again: false,
            term: None,
            is_killed: false,
            is_over: Some(false),
        }
    }

    pub(super) fn is_told(&self) -> bool {
        self.term.is_some() || self.is_killed
    }

    /// When it is over its limit.
    fn deadline(&self, call: Call, settings: &Settings) -> Option<Duration> {
        let silence = settings.no_output_timeout.map(|limit| self.heard + limit);
        let test = settings.test_timeout.zip(self.oldest).map(|(limit, since)| since + limit);
        let of_worker = [silence, test].into_iter().flatten().filter(|_| matches!(call, Call::Worker(_)));
        self.until.into_iter().chain(of_worker).min()
    }
}

impl Watch<'_> {
    /// When a call that begins now has to be over.
    pub(super) fn limit(&mut self, call: Call) -> Option<Duration> {
        let (rules, now) = (&self.given.rules, self.now);
        let settings = &rules.settings;
        let limit = match call {
            Call::Listing | Call::Worker(_) => None,
            Call::Provision => settings.provision_limit,
            Call::Dispose(_) => settings.dispose_limit,
            Call::Upkeep(Upkeep::Check, _) => Some(settings.check_limit),
            Call::Upkeep(Upkeep::Kill | Upkeep::Fence, _) => Some(settings.kill_limit),
            Call::Upkeep(Upkeep::Collect, _) => Some(settings.collect_limit),
            Call::Upkeep(Upkeep::Renew | Upkeep::Keep, _) => Some(rules.renew_every),
            Call::Upkeep(Upkeep::Ready, place) => {
                // The limit is of all probes together, and each has a second.
                let since = *self.places[place].probed_since.get_or_insert(now);
                return Some((since + settings.ready_limit).max(now + Duration::from_secs(1)));
            }
        };
        limit.map(|limit| now + limit)
    }

    pub(super) fn heard(&mut self, worker: WorkerId, heard: Heard) {
        if let Some(going) = self.calls.get_mut(&Call::Worker(worker)) {
            (going.heard, going.oldest, going.failures) = (self.now, heard.oldest, heard.failures);
        }
    }

    /// The run is stopped from the moment at which it is over a limit.
    pub(super) fn look_for_stop(&mut self) {
        let settings = &self.given.rules.settings;
        if self.goal != Some(Goal::Run) || self.signals > 0 || self.tests.stopped.is_some() {
            return;
        }
        let undecided = if settings.retries > 0 { 0 } else { self.calls.values().map(|going| going.failures).sum() };
        let is_late = self.tests.run_until.is_some_and(|until| until <= self.now);
        if is_late || settings.max_fail.is_some_and(|max| self.tests.failures() + undecided >= max) {
            self.tests.stop(true);
        }
    }

    /// A call ends, and it is said whether that is for a limit.
    pub(super) fn leaves(&mut self, call: Call, ending: &Ending) -> Result<Option<Going>, String> {
        let Some(going) = self.calls.remove(&call) else { return Ok(None) };
        let is_over = ending.limit.is_some();
        holds!(going.is_over.is_none_or(|over| over == is_over), "{call:?} was ended for a limit: {is_over}");
        Ok(Some(going))
    }

    pub(super) fn check_time(&mut self, wake: Option<Duration>) -> Held {
        self.check_limits(wake)?;
        self.check_causes()?;
        self.check_ends()?;
        if self.goal == Some(Goal::Run) && self.signals == 0 && self.tests.stopped.is_none() {
            let until = self.tests.run_until;
            let is_woken = until.is_none_or(|until| wake.is_some_and(|wake| wake <= until));
            holds!(is_woken, "nobody looks whether the run takes too long");
        }
        Ok(())
    }

    /// What is over its limit is told to end, and killed after the grace; and the machine is woken for it.
    fn check_limits(&self, wake: Option<Duration>) -> Held {
        let settings = &self.given.rules.settings;
        for (call, going) in self.calls.iter().filter(|(_, going)| !going.is_killed) {
            let is_told_now = self.ended_now.iter().any(|(ended, _)| ended == call);
            let due = match going.term {
                Some(term) => term + settings.grace,
                None => match going.deadline(*call, settings) {
                    Some(deadline) => deadline,
                    None => continue,
                },
            };
            holds!(due > self.now || is_told_now, "{call:?} was to be ended at {due:?}");
            let is_woken = wake.is_some_and(|wake| wake <= due);
            holds!(is_woken || self.goal.is_none(), "nobody looks at {call:?} at {due:?}, but at {wake:?}");
        }
        Ok(())
    }

    /// Nothing is ended without a cause.
    fn check_causes(&mut self) -> Held {
        let settings = &self.given.rules.settings;
        for (call, force) in &self.ended_now {
            let is_to_end = self.is_to_end(*call);
            let Some(going) = self.calls.get_mut(call) else { continue };
            let is_late = going.deadline(*call, settings).is_some_and(|at| at <= self.now);
            let has_grace_passed = going.term.is_some_and(|term| term + settings.grace <= self.now);
            let has_cause = match force {
                Force::Kill => has_grace_passed || (self.signals >= 2 && !matches!(call, Call::Dispose(_))),
                _ => is_late || is_to_end,
            };
            if *force == Force::Term {
                going.is_over = (is_late != is_to_end).then_some(is_late);
            }
            holds!(has_cause, "{call:?} is told {force:?} without a cause");
        }
        Ok(())
    }

    /// After a signal, and when the run is stopped, all ends that would make something.
    fn check_ends(&self) -> Held {
        for (call, going) in &self.calls {
            let was_running = self.signal_met.contains(call);
            let is_renewal = matches!(call, Call::Upkeep(Upkeep::Renew, _));
            let must_end = self.is_to_end(*call) && (!is_renewal || was_running);
            holds!(!must_end || going.is_told(), "{call:?} goes on though all is to end");
            let must_die = was_running && self.signals == 2 && !matches!(call, Call::Dispose(_));
            holds!(!must_die || going.is_killed, "{call:?} lives on after the second signal");
        }
        Ok(())
    }

    fn is_to_end(&self, call: Call) -> bool {
        let is_stopped = self.tests.stopped.as_ref().is_some_and(|stop| stop.ends_workers);
        match call {
            Call::Provision | Call::Worker(_) | Call::Upkeep(Upkeep::Ready, _) => self.signals > 0 || is_stopped,
            Call::Listing | Call::Upkeep(Upkeep::Check | Upkeep::Renew, _) => self.signals > 0,
            Call::Dispose(_) | Call::Upkeep(..) => false,
        }
    }
}

/// Whether a worker was ended for a test that took too long.
pub(super) fn is_for_test(ending: &Ending) -> bool {
    matches!(ending.limit, Some(Limit::Test(_)))
}
