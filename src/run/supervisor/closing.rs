//! Giving instances back, or keeping them.  (pure)

use super::slots::State;
use super::{Action, Call, Outcome, Supervisor, Upkeep};
use crate::config::Keep;
use crate::event::{Ending, InstanceState};

impl Supervisor {
    /// Take an instance as far as its disposal, and, where it leaves by itself, dispose of it.
    pub(super) fn wind_up(&mut self, place: usize) {
        use State::{Dead, Idle, New, Used, Waiting};
        let slot = &self.slots[place];
        // What provision has printed may not be whole before it ends.
        if !matches!(slot.state, New | Waiting(_) | Idle | Used | Dead) {
            return;
        }
        if slot.must_kill && self.offers(Upkeep::Kill) {
            return self.upkeep(Upkeep::Kill, place);
        }
        if !slot.is_collected && self.offers(Upkeep::Collect) && self.signals < 2 {
            return self.upkeep(Upkeep::Collect, place);
        }
        self.slots[place].state = State::WoundUp;
        if self.slots[place].is_leaving {
            self.dispose(vec![place]);
        }
    }

    pub(super) fn advance_close(&mut self) {
        for place in 0..self.slots.len() {
            self.wind_up(place);
        }
        let is_up = |state| matches!(state, State::WoundUp | State::Gone | State::Kept | State::LeftBehind);
        if !self.calls.is_empty() || !self.slots.iter().all(|slot| is_up(slot.state)) {
            return;
        }
        let left: Vec<usize> =
            (0..self.slots.len()).filter(|place| self.slots[*place].state == State::WoundUp).collect();
        if left.is_empty() {
            return self.closed();
        }
        let (keep, dispose): (Vec<usize>, Vec<usize>) = left.into_iter().partition(|place| self.is_kept(*place));
        for place in keep {
            if self.offers(Upkeep::Keep) {
                self.upkeep(Upkeep::Keep, place);
            } else {
                self.kept(place, Ok(()));
            }
        }
        if !dispose.is_empty() {
            self.dispose(dispose);
        }
        if self.calls.is_empty() {
            self.closed();
        }
    }

    fn is_kept(&self, place: usize) -> bool {
        let slot = &self.slots[place];
        let wanted = match self.rules.settings.keep {
            Keep::Always => true,
            Keep::Failed => slot.has_failures,
            Keep::Never => false,
        };
        wanted && slot.doom.is_none()
    }

    /// An instance is kept; or could not be told so, and is disposed of then.
    pub(super) fn kept(&mut self, place: usize, told: Result<(), String>) {
        if let Err(why) = told {
            let id = self.slots[place].instance.id.clone();
            self.actions.push(Action::Note(format!("{id} cannot be kept: {why}")));
            self.slots[place].state = State::WoundUp;
            self.slots[place].doom = Some(why);
            return;
        }
        self.slots[place].state = State::Kept;
        self.actions.push(Action::Keep(self.slots[place].instance.clone()));
    }

    fn dispose(&mut self, places: Vec<usize>) {
        if !self.rules.disposes {
            for place in places {
                self.slots[place].state = State::Gone;
                self.became(place, InstanceState::Disposed);
            }
            return;
        }
        let number = self.disposals;
        self.disposals += 1;
        let mut ids: Vec<String> = places.iter().map(|place| self.slots[*place].instance.id.clone()).collect();
        // Sorted as text, as testr does: n10 before n2.
        ids.sort();
        for place in places {
            self.slots[place].state = State::Leaving(number);
        }
        self.start(Call::Dispose(number), None, None);
        self.actions.push(Action::Dispose(number, ids));
    }

    pub(super) fn disposed(&mut self, number: u32, ending: Ending) {
        let (state, became) = if ending.is_success() {
            (State::Gone, InstanceState::Disposed)
        } else {
            (State::LeftBehind, InstanceState::LeftBehind)
        };
        for place in 0..self.slots.len() {
            if self.slots[place].state == State::Leaving(number) {
                self.slots[place].state = state;
                self.became(place, became.clone());
            }
        }
        if !ending.is_success() {
            self.failed_disposal.get_or_insert(ending);
        }
    }

    fn closed(&mut self) {
        let left = self.slots.iter().filter(|slot| slot.state == State::LeftBehind);
        let mut left: Vec<String> = left.map(|slot| slot.instance.id.clone()).collect();
        left.sort();
        match self.failed_disposal.take() {
            Some(ending) => self.done(Outcome::DisposalFailed(ending, left)),
            None => self.done(Outcome::Closed),
        }
    }
}
