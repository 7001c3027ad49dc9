//! Rules about instances: one callout at a time, cleared and checked where that is due, and each given back once.

use super::time::is_for_test;
use super::*;
use crate::config::Keep;
use crate::event::InstanceState;

/// An instance.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) id: String,
    life: Life,
    /// The callout on it, other than a renewal.
    on: Option<Call>,
    is_renewed: bool,
    /// When it is to be renewed.
    renew_at: Duration,
    /// Its id counts: it was told, and provision has ended, or ids count one by one.
    counts: bool,
    is_told: bool,
    is_ready: bool,
    pub(super) probed_since: Option<Duration>,
    /// The last probe was no good, and there is time for another.
    is_probed_again: bool,
    is_dead: bool,
    /// Something has shown that it is dead, or may be.
    has_cause: bool,
    must_die: bool,
    needs_kill: bool,
    needs_check: bool,
    needs_fence: bool,
    is_collected: bool,
    /// No work is left for it, and it goes before the others.
    is_leaving: bool,
    has_failures: bool,
    /// It could not be told that it is kept.
    cannot_be_kept: bool,
    must_be_kept: bool,
    /// It may be dead: the others that lived when that was found.
    suspected: Option<Vec<usize>>,
    odd_ends: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Here,
    Leaving(u32),
    Gone,
    Kept,
    Left,
}

impl Place {
    pub(super) fn is_over(&self) -> bool {
        matches!(self.life, Life::Gone | Life::Kept | Life::Left)
    }

    /// Whether somebody else has to dispose of it when regatta gives up.
    pub(super) fn is_left(&self) -> bool {
        !matches!(self.life, Life::Gone | Life::Kept)
    }

    pub(super) fn is_dead(&self) -> bool {
        self.is_dead
    }

    /// Whether it can run tests, now or later.
    pub(super) fn is_alive(&self) -> bool {
        self.life == Life::Here && !self.is_dead && !self.is_leaving
    }
}

impl Place {
    /// Whether it is to be kept at the end.
    fn is_wanted(&self, keep: Keep) -> bool {
        !self.is_dead && (keep == Keep::Always || (keep == Keep::Failed && self.has_failures))
    }

    /// Whether it takes a worker at once.
    fn is_idle(&self) -> bool {
        self.is_alive() && self.on.is_none() && self.counts && self.is_ready
    }
}

impl Watch<'_> {
    fn offers(&self, upkeep: Upkeep) -> bool {
        self.given.rules.offers.contains(&upkeep)
    }

    pub(super) fn printed(&mut self, id: &str, counts: bool) {
        if self.places.iter().any(|place| place.id == id && !place.is_over()) {
            return;
        }
        self.places.push(Place {
            id: id.to_owned(),
            life: Life::Here,
            on: None,
            is_renewed: false,
            renew_at: self.now + self.given.rules.renew_every,
            counts,
            is_told: false,
            is_ready: !self.offers(Upkeep::Ready),
            probed_since: None,
            is_probed_again: false,
            is_dead: false,
            has_cause: false,
            must_die: false,
            needs_kill: false,
            needs_check: false,
            needs_fence: false,
            is_collected: false,
            is_leaving: false,
            has_failures: false,
            cannot_be_kept: false,
            must_be_kept: false,
            suspected: None,
            odd_ends: 0,
        });
    }

    pub(super) fn provisioned(&mut self, ending: &Ending) {
        self.came_short |= !ending.is_success() || self.places.len() < self.asked.0 + self.asked.1;
        for place in self.places.iter_mut().filter(|place| !place.counts) {
            place.counts = true;
            // It goes back as it came, and nobody is told more of it.
            place.is_dead |= !ending.is_success();
        }
    }

    pub(super) fn listed(&mut self, ending: &Ending) {
        if let Some(place) = self.places.iter_mut().find(|place| place.on == Some(Call::Listing)) {
            place.on = None;
            place.needs_kill |= !ending.is_success();
        }
    }

    /// A callout begins on an instance.
    pub(super) fn enter(&mut self, call: Call, instance: &Instance) -> Held {
        let is_in_run = self.goal == Some(Goal::Run);
        let others: Vec<usize> = self.living().filter(|place| *place != instance.index).collect();
        let must_clear = self.offers(Upkeep::Kill);
        let (keep, may_leave) = (self.given.rules.settings.keep, self.may_leave());
        let Some(place) = self.places.get_mut(instance.index) else { return Err(format!("there is no {instance:?}")) };
        let id = &place.id;
        holds!(*id == instance.id, "{instance:?} is {id}");
        holds!(place.life == Life::Here, "{call:?} begins on {id}, which is {:?}", place.life);
        if call == Call::Upkeep(Upkeep::Renew, instance.index) {
            holds!(!place.is_renewed, "{id} is renewed twice");
            place.is_renewed = true;
            return Ok(());
        }
        holds!(place.on.is_none(), "{call:?} begins on {id} beside {:?}", place.on);
        place.on = Some(call);
        match call {
            Call::Upkeep(Upkeep::Ready, _) => {
                holds!(place.counts && !place.is_ready, "{id} needs no probe");
                place.is_probed_again = false;
            }
            Call::Upkeep(Upkeep::Fence, _) => holds!(place.needs_fence, "{id} needs no fence"),
            Call::Upkeep(Upkeep::Collect, _) => {
                holds!(!(place.needs_kill && must_clear), "{id} is collected from while something may run there");
                holds!(!place.is_collected, "{id} is collected from twice");
                holds!(self.signals < 2, "{id} is collected from after the second signal");
                place.is_leaving |= may_leave;
                let is_time = self.goal == Some(Goal::Close) || place.is_dead || place.is_leaving;
                holds!(is_time, "{id} is collected from and does not leave");
            }
            Call::Upkeep(Upkeep::Keep, _) => {
                holds!(place.is_wanted(keep) && !is_in_run, "{id} is not to be kept");
            }
            Call::Upkeep(..) => {}
            Call::Listing | Call::Worker(_) => {
                holds!(place.counts && place.is_ready, "{call:?} begins on {id} before it is ready");
                holds!(!place.is_dead, "{call:?} begins on {id}, which is dead");
                holds!(!(place.needs_kill && must_clear), "{call:?} begins on {id} while something may run there");
                holds!(!place.needs_check, "{call:?} begins on {id}, which was not checked");
                let others = place.suspected.iter().flatten().filter(|place| others.contains(place));
                holds!(others.count() == 0, "{call:?} begins on {id}, which may be dead");
            }
            Call::Provision | Call::Dispose(_) => return Err(format!("{call:?} is on no instance")),
        }
        Ok(())
    }

    pub(super) fn living(&self) -> impl Iterator<Item = usize> {
        self.places.iter().enumerate().filter(|(_, place)| place.is_alive()).map(|(at, _)| at)
    }

    /// A worker leaves its instance.
    pub(super) fn left(&mut self, at: usize, ending: &Ending, account: &Account, was_told: bool) {
        let (checks, others) = (self.offers(Upkeep::Check), self.living().filter(|place| *place != at).collect());
        let was_stopping = self.was_stopping;
        let place = &mut self.places[at];
        place.on = None;
        place.has_failures |= !account.failed.is_empty();
        let is_cut = !account.missing.is_empty() && (!ending.is_success() || was_told);
        place.needs_kill |= is_cut || ending.limit.is_some();
        let is_odd = is_cut && !was_stopping && !is_for_test(ending) && !ending.is_success();
        place.odd_ends = if is_odd { place.odd_ends + 1 } else { 0 };
        place.needs_check = is_odd && checks;
        let is_suspected = is_odd && (!account.has_spoken || place.odd_ends > 1);
        place.has_cause |= is_suspected;
        place.suspected = (is_suspected && !checks).then_some(others);
    }

    /// What a worker on it came to is put down to a test.
    pub(super) fn exonerate(&mut self, at: usize) {
        let place = &mut self.places[at];
        (place.odd_ends, place.suspected, place.has_cause) = (0, None, false);
    }

    pub(super) fn fails_on(&mut self, at: usize) {
        self.places[at].has_failures = true;
    }

    pub(super) fn upkeep_ended(&mut self, upkeep: Upkeep, at: usize, ending: &Ending) {
        let (now, is_good, was_stopping) = (self.now, ending.is_success(), self.signals > 0);
        let (fences, rules) = (self.offers(Upkeep::Fence), &self.given.rules);
        let place = &mut self.places[at];
        if upkeep == Upkeep::Renew {
            (place.is_renewed, place.renew_at) = (false, now + rules.renew_every);
            return;
        }
        place.on = None;
        match upkeep {
            Upkeep::Ready if is_good => place.is_ready = true,
            Upkeep::Ready => {
                let until = place.probed_since.unwrap_or(now) + rules.settings.ready_limit;
                (place.is_probed_again, place.must_die) = (now < until, now >= until && !was_stopping);
                place.has_cause = true;
            }
            Upkeep::Check => {
                (place.needs_check, place.has_cause, place.suspected) = (false, !is_good, None);
                place.must_die = !is_good && !was_stopping;
            }
            Upkeep::Kill => {
                place.needs_kill = false;
                (place.must_die, place.needs_fence) = (!is_good, !is_good && fences);
                place.has_cause |= !is_good;
            }
            Upkeep::Fence => place.needs_fence = false,
            Upkeep::Collect => place.is_collected = true,
            Upkeep::Keep => (place.must_be_kept, place.cannot_be_kept) = (is_good, !is_good),
            Upkeep::Renew => {}
        }
    }

    pub(super) fn became(&mut self, instance: &Instance, state: &InstanceState) -> Held {
        let disposes = self.given.rules.disposes;
        let Some(place) = self.places.get_mut(instance.index) else { return Err(format!("there is no {instance:?}")) };
        let id = &place.id;
        holds!(*id == instance.id, "{instance:?} is {id}");
        match state {
            InstanceState::Provisioned => {
                holds!(!place.is_told, "{id} is told twice");
                place.is_told = true;
            }
            InstanceState::Ready => holds!(place.is_ready && place.counts, "{id} is not ready"),
            InstanceState::Dead { .. } => {
                holds!(!place.is_dead, "{id} dies twice");
                holds!(place.has_cause, "nothing has shown that {id} is dead");
                (place.is_dead, place.must_die) = (true, false);
            }
            InstanceState::Disposed if !disposes => {
                holds!(place.life == Life::Here && place.on.is_none(), "{id} is not ready to go");
                place.life = Life::Gone;
            }
            InstanceState::Disposed => holds!(place.life == Life::Gone, "{id} was not disposed of"),
            InstanceState::LeftBehind => holds!(place.life == Life::Left, "{id} is not left behind"),
            InstanceState::Kept { .. } => {}
        }
        Ok(())
    }

    pub(super) fn keep(&mut self, instance: &Instance) -> Held {
        let (offers, keep) = (self.offers(Upkeep::Keep), self.given.rules.settings.keep);
        let place = &mut self.places[instance.index];
        let is_right = place.is_wanted(keep) && place.must_be_kept == offers;
        holds!(is_right && place.life == Life::Here && place.on.is_none(), "{} is not to be kept", place.id);
        (place.life, place.must_be_kept) = (Life::Kept, false);
        Ok(())
    }

    pub(super) fn dispose(&mut self, number: u32, ids: &[String]) -> Held {
        holds!(self.given.rules.disposes, "there is no way to dispose of {ids:?}");
        holds!(number == self.disposals, "disposal {number} is not the next one");
        self.start(Call::Dispose(number), None)?;
        self.disposals += 1;
        holds!(!ids.is_empty() && ids.is_sorted(), "{ids:?} are not in order");
        let (kills, fetches) = (self.offers(Upkeep::Kill), self.offers(Upkeep::Collect) && self.signals < 2);
        let may_leave = self.may_leave();
        let mut is_last = false;
        for id in ids {
            let here = |place: &&mut Place| place.id == *id && !place.is_over();
            let Some(place) = self.places.iter_mut().find(here) else { return Err(format!("there is no {id}")) };
            holds!(place.life == Life::Here, "{id} is disposed of twice");
            holds!(place.on.is_none(), "{id} is disposed of while {:?} runs on it", place.on);
            holds!(!(kills && place.needs_kill), "{id} is disposed of while something may run there");
            holds!(!place.needs_fence, "{id} is disposed of without a fence");
            holds!(!fetches || place.is_collected, "{id} is disposed of before it was collected from");
            holds!(
                self.goal == Some(Goal::Close) || place.is_dead || place.is_leaving || may_leave,
                "{id} is disposed of too early"
            );
            place.life = Life::Leaving(number);
            is_last |= self.goal == Some(Goal::Close) && !place.is_dead && !place.is_leaving;
        }
        let keep = self.given.rules.settings.keep;
        let stays = |place: &&Place| place.life == Life::Here && !place.is_wanted(keep);
        let stays = self.places.iter().find(stays).filter(|_| is_last);
        holds!(stays.is_none(), "{stays:?} is not disposed of with the others");
        Ok(())
    }

    /// Whether an instance may go before the others.
    fn may_leave(&self) -> bool {
        let settings = &self.given.rules.settings;
        let is_wanted = settings.release_early && settings.keep == Keep::Never && self.goal == Some(Goal::Run);
        is_wanted && (self.signals > 0 || self.tests.nothing_waits())
    }

    pub(super) fn disposed(&mut self, number: u32, ending: &Ending) {
        self.a_disposal_failed |= !ending.is_success();
        for place in self.places.iter_mut().filter(|place| place.life == Life::Leaving(number)) {
            place.life = if ending.is_success() { Life::Gone } else { Life::Left };
        }
    }

    /// All was given back that is to be.
    pub(super) fn closed(&mut self, told: Option<&Vec<String>>) -> Held {
        holds!(self.calls.is_empty(), "{:?} still run", self.calls.keys());
        let keep = self.given.rules.settings.keep;
        for place in &self.places {
            holds!(place.is_over(), "{} is still there: {place:?}", place.id);
            let must_be_kept = place.is_wanted(keep) && !place.cannot_be_kept;
            holds!(!must_be_kept || place.life == Life::Kept, "{} was to be kept", place.id);
        }
        let mut left: Vec<&String> =
            self.places.iter().filter(|place| place.life == Life::Left).map(|place| &place.id).collect();
        left.sort();
        holds!(told.is_some() == self.a_disposal_failed, "a disposal that failed is to be told, and no other");
        holds!(told.is_none_or(|told| told.iter().eq(left)), "others are left behind");
        self.a_disposal_failed = false;
        Ok(())
    }

    /// Nobody idles while there is work that nobody has had.
    pub(super) fn check_idle(&self) -> Held {
        let is_making = self.calls.contains_key(&Call::Provision);
        let rules = &self.given.rules;
        let is_running = self.goal == Some(Goal::Run) && self.signals == 0 && self.tests.stopped.is_none();
        let has_hands = self.workers() < rules.concurrency;
        if is_running && has_hands && self.tests.has_new() && (!is_making || rules.settings.ids_streamed) {
            holds!(rules.provisions, "a process could run, and does not");
            let idle = self.places.iter().find(|place| place.is_idle());
            holds!(idle.is_none(), "{idle:?} idles");
        }
        Ok(())
    }

    pub(super) fn check_places(&self) -> Held {
        let is_active = self.goal.is_some();
        let renews = self.offers(Upkeep::Renew) && self.signals < 2;
        for place in &self.places {
            let id = &place.id;
            holds!(place.is_told, "{id} is not told");
            holds!(!place.must_die, "{id} is dead, and is not said to be");
            holds!(!place.must_be_kept, "{id} was told that it is kept, and is not");
            let is_held = place.life == Life::Here && place.counts;
            let is_due = is_active && renews && is_held && !place.is_renewed && place.renew_at <= self.now;
            holds!(!is_due, "{id} was to be renewed at {:?}", place.renew_at);
        }
        Ok(())
    }
}
