//! The instances: from the id that provision prints to the disposal.  (pure)
//!
//! The states of one and what leads from one to the next stand in the table of [`super`].

use std::time::Duration;

use super::{Action, Call, Instance, Supervisor, Upkeep};
use crate::event::{Ending, InstanceState, Limit};
use crate::merge::Account;

/// Where an instance is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Its id was printed; provision has not ended, and its ids count at its end.
    Printed,
    /// It is there, and whether it takes work is not known.
    New,
    /// `instance_ready` failed; it is asked again at this time.
    Waiting(Duration),
    /// It takes work.
    Idle,
    /// A worker on it ended; it may have to be cleared and checked.
    Used,
    /// A callout runs on it.
    Busy,
    /// It takes no more work.
    Dead,
    /// It is as it is to be when it is disposed of.
    WoundUp,
    /// It is being disposed of by the callout of this number.
    Leaving(u32),
    /// It was disposed of.
    Gone,
    /// It is kept.
    Kept,
    /// Its disposal failed.
    LeftBehind,
}

/// An instance.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) instance: Instance,
    pub(super) state: State,
    /// When it has to be ready.
    pub(super) ready_until: Option<Duration>,
    /// How long the next pause between two probes is.
    pause: Duration,
    /// Something may still run on it.
    pub(super) must_kill: bool,
    /// A worker ended in such a way that it may be dead.
    must_check: bool,
    /// How many workers in a row ended in such a way.
    odd_ends: u32,
    /// Why it is believed to be dead, without proof.
    suspected: Option<&'static str>,
    /// Why it is dead.
    pub(super) doom: Option<String>,
    /// It has been collected from.
    pub(super) is_collected: bool,
    /// It is disposed of by itself, before the others.
    pub(super) is_leaving: bool,
    /// A test failed on it.
    pub(super) has_failures: bool,
    /// When `instance_renew` is due.
    renew_at: Duration,
    /// `instance_renew` runs.
    is_renewed: bool,
}

/// The first pause between two probes, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

impl Slot {
    /// Whether it takes work, now or later, as far as is known.
    pub(super) fn is_alive(&self) -> bool {
        use State::{Busy, Idle, New, Printed, Used, Waiting};
        !self.is_leaving && self.doom.is_none() && matches!(self.state, Printed | New | Waiting(_) | Idle | Used | Busy)
    }

    /// Whether it is gone, or kept, or given up.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Gone | State::Kept | State::LeftBehind)
    }
}

impl Supervisor {
    /// The instances that are not gone, in the order of provisioning.
    pub fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.slots.iter().filter(|slot| !slot.is_over()).map(|slot| &slot.instance)
    }

    pub(super) fn admit(&mut self, id: String, state: State) {
        if self.slots.iter().any(|slot| slot.instance.id == id && !slot.is_over()) {
            return;
        }
        let instance = Instance { id, index: self.slots.len() };
        self.slots.push(Slot {
            instance,
            state,
            ready_until: None,
            pause: PAUSE.0,
            must_kill: false,
            must_check: false,
            odd_ends: 0,
            suspected: None,
            doom: None,
            is_collected: false,
            is_leaving: false,
            has_failures: false,
            renew_at: self.now + self.rules.renew_every,
            is_renewed: false,
        });
        self.became(self.slots.len() - 1, InstanceState::Provisioned);
    }

    pub(super) fn offers(&self, upkeep: Upkeep) -> bool {
        self.rules.offers.contains(&upkeep)
    }

    /// Do something for an instance.
    pub(super) fn upkeep(&mut self, upkeep: Upkeep, place: usize) {
        if upkeep == Upkeep::Renew {
            self.slots[place].is_renewed = true;
        } else {
            self.slots[place].state = State::Busy;
        }
        self.start(Call::Upkeep(upkeep, place), Some(place), None);
        self.actions.push(Action::Upkeep(upkeep, self.slots[place].instance.clone()));
    }

    /// The first instance that takes work now and that this holds for.
    pub(super) fn idle(&self) -> impl Iterator<Item = usize> + use<> {
        let idle: Vec<usize> = (0..self.slots.len()).filter(|place| self.slots[*place].state == State::Idle).collect();
        idle.into_iter()
    }

    pub(super) fn alive(&self) -> usize {
        self.slots.iter().filter(|slot| slot.is_alive()).count()
    }

    /// What its last worker came to is put down to a test.
    pub(super) fn exonerate(&mut self, place: usize) {
        let slot = &mut self.slots[place];
        (slot.odd_ends, slot.suspected) = (0, None);
    }

    /// A worker left its instance.
    pub(super) fn release(&mut self, place: usize, ending: &Ending, account: &Account) {
        // A test that takes too long is no fault of the instance.
        let is_cut = !account.missing.is_empty() && (!ending.is_success() || self.is_stopping());
        let is_odd = is_cut && !self.is_stopping() && !matches!(ending.limit, Some(Limit::Test(_)));
        let slot = &mut self.slots[place];
        slot.state = State::Used;
        slot.must_kill |= is_cut || ending.limit.is_some();
        slot.has_failures |= !account.failed.is_empty();
        slot.odd_ends = if is_odd { slot.odd_ends + 1 } else { 0 };
        slot.must_check = is_odd;
        slot.suspected = match (is_odd, account.has_spoken, slot.odd_ends) {
            (true, false, _) => Some("a worker on it ended without a word"),
            (true, true, 2..) => Some("two workers on it in a row came to a bad end"),
            _ => None,
        };
    }

    /// Take every instance as far as it goes by itself.
    pub(super) fn tend(&mut self) {
        for place in 0..self.slots.len() {
            self.renew(place);
            let slot = &self.slots[place];
            match slot.state {
                _ if slot.is_leaving => self.wind_up(place),
                _ if self.starts_nothing() => {}
                State::New => self.probe(place),
                State::Waiting(at) if at <= self.now => self.probe(place),
                State::Used => self.look_after(place),
                _ => {}
            }
        }
    }

    fn probe(&mut self, place: usize) {
        if !self.offers(Upkeep::Ready) {
            return self.ready(place);
        }
        let until = self.now + self.rules.settings.ready_limit;
        self.slots[place].ready_until.get_or_insert(until);
        self.upkeep(Upkeep::Ready, place);
    }

    fn ready(&mut self, place: usize) {
        self.slots[place].state = State::Idle;
        self.became(place, InstanceState::Ready);
    }

    /// Clear an instance that was used, and see whether it lives.
    fn look_after(&mut self, place: usize) {
        let slot = &self.slots[place];
        if slot.doom.is_some() {
            self.slots[place].state = State::Dead;
        } else if slot.must_kill && self.offers(Upkeep::Kill) {
            self.upkeep(Upkeep::Kill, place);
        } else if slot.must_check && self.offers(Upkeep::Check) {
            self.upkeep(Upkeep::Check, place);
        } else if let Some(why) = slot.suspected
            // A last instance that may be dead is better than none: what it does is judged by itself.
            && (self.may_replace() || self.alive() > 1)
        {
            self.doom(place, why.to_owned());
        } else {
            self.slots[place].state = State::Idle;
        }
    }

    /// It is dead.
    pub(super) fn doom(&mut self, place: usize, why: String) {
        let slot = &mut self.slots[place];
        slot.state = State::Dead;
        slot.doom = Some(why.clone());
        self.became(place, InstanceState::Dead { why });
    }

    /// Something that was done for an instance ended.
    pub(super) fn tended(&mut self, upkeep: Upkeep, place: usize, ending: &Ending) {
        let (now, is_good) = (self.now, ending.is_success());
        let failed = || format!("{} failed: {ending}", upkeep.key());
        let slot = &mut self.slots[place];
        match upkeep {
            Upkeep::Renew => {
                slot.is_renewed = false;
                slot.renew_at = now + self.rules.renew_every;
            }
            Upkeep::Ready if is_good => self.ready(place),
            Upkeep::Ready => {
                let until = slot.ready_until.unwrap_or(now);
                if now < until && self.signals == 0 {
                    slot.state = State::Waiting((now + slot.pause).min(until));
                    slot.pause = (2 * slot.pause).min(PAUSE.1);
                } else {
                    self.doom(place, failed());
                }
            }
            Upkeep::Check => {
                (slot.must_check, slot.state) = (false, State::Used);
                // It was asked, and lives.
                slot.suspected = None;
                if !is_good && self.signals == 0 {
                    self.doom(place, failed());
                }
            }
            Upkeep::Kill => {
                (slot.must_kill, slot.state) = (false, State::Used);
                if !is_good {
                    self.actions.push(Action::Note(format!("{}: {}", self.slots[place].instance.id, failed())));
                    self.doom(place, failed());
                    if self.offers(Upkeep::Fence) {
                        self.upkeep(Upkeep::Fence, place);
                    }
                }
            }
            Upkeep::Fence => slot.state = State::Dead,
            Upkeep::Collect => {
                (slot.is_collected, slot.state) = (true, State::Used);
                if !is_good {
                    self.actions.push(Action::Note(format!("{}: {}", self.slots[place].instance.id, failed())));
                }
            }
            Upkeep::Keep => self.kept(place, is_good.then_some(()).ok_or_else(failed)),
        }
    }

    fn renew(&mut self, place: usize) {
        let slot = &self.slots[place];
        let is_due = slot.renew_at <= self.now && !slot.is_renewed;
        if is_due && self.offers(Upkeep::Renew) && self.renews(place) {
            self.upkeep(Upkeep::Renew, place);
        }
    }

    fn renews(&self, place: usize) -> bool {
        let slot = &self.slots[place];
        self.signals < 2 && !slot.is_over() && !matches!(slot.state, State::Leaving(_) | State::Printed)
    }

    /// When one of the instances is to be looked at again.
    pub(super) fn slots_wake(&self) -> impl Iterator<Item = Duration> {
        let renews = self.offers(Upkeep::Renew);
        self.slots.iter().enumerate().filter_map(move |(place, slot)| {
            let probe = match slot.state {
                State::Waiting(at) if !self.starts_nothing() => Some(at),
                _ => None,
            };
            let renew = (renews && !slot.is_renewed && self.renews(place)).then_some(slot.renew_at);
            probe.into_iter().chain(renew).min()
        })
    }
}
