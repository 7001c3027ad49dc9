//! Provisioning, the listing, and handing batches out.  (pure)

use super::slots::State;
use super::work::Ledger;
use super::{Action, Call, Goal, Outcome, Stop, Supervisor, Work};
use crate::config::Keep;
use crate::event::{Ending, WorkerId};
use crate::schedule::Asker;

impl Supervisor {
    pub(super) fn begin(&mut self, work: Work) {
        self.goal = Goal::Run;
        self.is_last = work.is_last;
        self.workers_started = 0;
        self.run_until = self.rules.settings.max_duration.map(|limit| self.now + limit);
        self.ledger = Ledger::new(work.tests, work.lost_limit.unwrap_or(self.rules.settings.lost_limit));
        if self.signals == 0 {
            self.stop = None;
        }
    }

    // --- provisioning

    pub(super) fn printed(&mut self, id: String) {
        let streamed = self.rules.settings.ids_streamed;
        self.admit(id, if streamed { State::New } else { State::Printed });
    }

    pub(super) fn provisioned(&mut self, ending: Ending) {
        let has_failed = !ending.is_success();
        for place in 0..self.slots.len() {
            if self.slots[place].state == State::Printed {
                self.slots[place].state = State::New;
                if has_failed {
                    // It goes back as it came.
                    self.slots[place].state = State::Dead;
                    self.slots[place].doom = Some("its provisioning failed".to_owned());
                }
            }
        }
        // A goal that a signal stopped is over as interrupted, however its callout ended.
        if self.signals > 0 || matches!(self.goal, Goal::None | Goal::Close) {
            return;
        }
        let is_empty = self.slots.len() == self.provision.had;
        let is_used = self.workers_started > 0 || self.calls.contains_key(&Call::Listing);
        let is_late = self.provision.replaces || is_used;
        if is_late {
            if has_failed || is_empty {
                let how = if has_failed { format!("failed: {ending}") } else { "printed no new id".to_owned() };
                self.provision.gave_up = true;
                self.actions.push(Action::Note(format!("instance_provision {how}; going on with what there is")));
            }
        } else if has_failed {
            self.done(Outcome::ProvisionFailed(ending));
        } else if is_empty {
            self.done(Outcome::ProvisionedNothing { asked: self.provision.asked, have: self.slots.len() });
        }
    }

    /// Whether another instance may be made in the place of a dead one.
    pub(super) fn may_replace(&self) -> bool {
        let limit = self.rules.settings.replace_limit.unwrap_or(self.rules.concurrency);
        self.rules.provisions && self.stop.is_none() && self.signals == 0 && self.provision.replaced < limit
    }

    /// Whether it may, and there is work that nobody else is free to do.
    pub(super) fn can_replace(&self) -> bool {
        let waits = match self.goal {
            Goal::Run => self.ledger.width() > self.idle().count() && self.alive() < self.rules.concurrency,
            Goal::List => self.alive() == 0,
            Goal::None | Goal::Close => false,
        };
        waits && self.may_replace()
    }

    /// Ask for instances that are missing to `wanted`, or for new ones in place of dead ones. True while what is asked
    /// for has to be waited for.
    fn provision(&mut self, wanted: usize) -> bool {
        if !self.rules.provisions {
            return false;
        }
        let goes_on = self.rules.settings.ids_streamed && self.idle().next().is_some();
        if self.calls.contains_key(&Call::Provision) {
            return !(self.provision.replaces || goes_on);
        }
        let missing = wanted.saturating_sub(self.slots.len());
        let dead = self.slots.iter().filter(|slot| slot.doom.is_some()).count();
        let unreplaced = dead.saturating_sub(self.provision.replaced);
        let may_ask = self.workers_started == 0 || self.rules.settings.ids_streamed;
        if missing > 0 && may_ask && !self.provision.gave_up {
            self.ask_for(missing, false);
        } else if unreplaced > 0 && self.can_replace() {
            let limit = self.rules.settings.replace_limit.unwrap_or(self.rules.concurrency);
            let lacking = self.rules.concurrency.saturating_sub(self.alive());
            let count = unreplaced.min(limit - self.provision.replaced).min(lacking);
            self.provision.replaced += count;
            let dead = self.slots.iter_mut().filter(|slot| slot.doom.is_some() && !slot.is_over() && !slot.is_leaving);
            dead.take(count).for_each(|slot| slot.is_leaving = true);
            self.tend();
            self.ask_for(count, true);
            return false;
        } else {
            return false;
        }
        !goes_on
    }

    fn ask_for(&mut self, count: usize, replaces: bool) {
        let provision = &mut self.provision;
        (provision.asked, provision.had, provision.replaces) = (count, self.slots.len(), replaces);
        self.start(Call::Provision, None, None);
        self.actions.push(Action::Provision(count));
    }

    /// Whether no instance takes work, now or later; and why the last one died.
    fn all_dead(&self) -> Option<String> {
        let none = self.rules.provisions && self.alive() == 0 && !self.calls.contains_key(&Call::Provision);
        let why = || self.slots.iter().rev().find_map(|slot| slot.doom.clone()).unwrap_or_default();
        none.then(why)
    }

    // --- the listing

    pub(super) fn advance_list(&mut self) {
        let is_listing = self.calls.contains_key(&Call::Listing);
        if self.signals > 0 {
            if !is_listing && !self.calls.contains_key(&Call::Provision) {
                self.done(Outcome::Interrupted);
            }
            return;
        }
        if is_listing || self.provision(self.rules.concurrency) {
            return;
        }
        let place = self.idle().next();
        if place.is_some() || !self.rules.provisions {
            if let Some(place) = place {
                self.slots[place].state = State::Busy;
            }
            self.start(Call::Listing, place, None);
            self.actions.push(Action::List(place.map(|place| self.slots[place].instance.clone())));
        } else if let Some(why) = self.all_dead() {
            self.done(Outcome::NoInstances(why));
        }
    }

    pub(super) fn listed(&mut self, place: Option<usize>, ending: Ending) {
        if let Some(place) = place {
            let slot = &mut self.slots[place];
            slot.state = State::Used;
            slot.must_kill |= !ending.is_success();
        }
        if self.signals == 0 {
            self.done(Outcome::Listed(ending));
        }
    }

    // --- the run

    pub(super) fn advance_run(&mut self) {
        if self.stop.is_none() && self.signals == 0 && !self.ledger.is_empty() {
            let wanted = self.ledger.width().min(self.rules.concurrency);
            if !self.provision(wanted) {
                self.start_workers();
            }
            if self.workers_run() == 0
                && !self.ledger.is_empty()
                && let Some(why) = self.all_dead()
            {
                self.stop_run(Stop::NoInstances(why, 0));
            }
        }
        if self.workers_run() > 0 {
            self.release_early();
            return;
        }
        if self.stop.is_none() && self.signals == 0 && !self.ledger.is_empty() {
            return;
        }
        if self.stop.is_none() && self.signals == 0 && self.ledger.queue_retries() {
            return self.advance_run();
        }
        self.finish_run();
    }

    fn finish_run(&mut self) {
        let stop = if self.signals > 0 { Some(Stop::Signal) } else { self.stop.clone() };
        if stop == Some(Stop::Signal) && self.workers_started == 0 {
            // What is being provisioned may still print ids, which nobody else would dispose of.
            if !self.calls.contains_key(&Call::Provision) {
                self.done(Outcome::Interrupted);
            }
            return;
        }
        self.tell_bad_ends();
        if let (Some(Stop::NoInstances(why, _)), 0) = (&stop, self.workers_started) {
            let why = why.clone();
            return self.done(Outcome::NoInstances(why));
        }
        self.done(Outcome::Ran(stop));
    }

    fn start_workers(&mut self) {
        if !self.rules.provisions {
            while self.workers_run() < self.rules.concurrency && self.start_worker(None) {}
            return;
        }
        for place in self.idle() {
            if self.workers_run() >= self.rules.concurrency {
                return;
            }
            self.start_worker(Some(place));
        }
    }

    /// Give back instances that will find no work, where that is wanted.
    fn release_early(&mut self) {
        let settings = &self.rules.settings;
        let is_wanted = settings.release_early && self.is_last && settings.keep == Keep::Never;
        if is_wanted && self.ledger.is_empty() && !self.ledger.has_retries() {
            for place in self.idle() {
                self.slots[place].is_leaving = true;
                self.wind_up(place);
            }
        }
    }

    fn start_worker(&mut self, place: Option<usize>) -> bool {
        let has_others = place.is_some() && self.alive() > 1;
        let running = self.workers_run();
        let asker = Asker {
            place,
            has_others,
            hands: self.rules.concurrency,
            others_run: running > 0,
            least: self.ledger.least(),
        };
        let Some(batch) = self.ledger.take(asker) else { return false };
        let worker = WorkerId(self.workers_started);
        self.workers_started += 1;
        self.ledger.hand_out(worker, batch.as_deref());
        if let Some(place) = place {
            self.slots[place].state = State::Busy;
        }
        self.start(Call::Worker(worker), place, batch.clone());
        let instance = place.map(|place| self.slots[place].instance.clone());
        self.actions.push(Action::Execute(worker, instance, batch));
        true
    }
}
