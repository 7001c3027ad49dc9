//! Ends before the end: signals, and limits of the whole run.  (pure)

use super::slots::{Slot, State};
use super::{Action, Call, Goal, Outcome, Stop, Supervisor, Upkeep};

impl Stop {
    /// Whether workers are ended for it.
    pub(super) fn ends_workers(&self) -> bool {
        matches!(self, Self::Signal | Self::Failures(_) | Self::Duration(_))
    }
}

impl Supervisor {
    /// Whether nothing is to be made any more, nor asked whether it could be used.
    pub(super) fn starts_nothing(&self) -> bool {
        self.signals > 0 || self.goal == Goal::Close || (self.goal == Goal::Run && self.stop.is_some())
    }

    pub(super) fn signal(&mut self) {
        self.signals = self.signals.saturating_add(1);
        match self.signals {
            1 => {
                self.ledger.give_up();
                self.end_calls(may_be_ended);
            }
            // The way out stays open: what disposes of instances is not touched.
            2 => self.kill_calls(|call| !matches!(call, Call::Dispose(_))),
            _ => {
                // Also those that were to be disposed of before, in vain.
                let is_left = |slot: &&Slot| !matches!(slot.state, State::Gone | State::Kept);
                let left = self.slots.iter().filter(is_left).map(|slot| slot.instance.id.clone()).collect();
                // Whatever still ends is nobody's any more.
                self.slots.clear();
                self.calls.clear();
                self.failed_disposal = None;
                self.done(Outcome::Abandoned(left));
            }
        }
    }

    /// Hand nothing out any more. What waits has a verdict if a worker had it before, and none otherwise.
    pub(super) fn stop_run(&mut self, why: Stop) {
        if self.stop.is_some() || self.signals > 0 || self.goal != Goal::Run {
            return;
        }
        let (had, unrun) = self.ledger.give_up();
        let why = match why {
            Stop::Signal => Stop::Signal,
            Stop::Failures(_) => Stop::Failures(had.len() + unrun),
            Stop::Duration(_) => Stop::Duration(had.len() + unrun),
            Stop::Fruitless(batches, _) => Stop::Fruitless(batches, unrun),
            Stop::NoInstances(why, _) => Stop::NoInstances(why, unrun),
        };
        if why.ends_workers() {
            self.end_calls(|call| matches!(call, Call::Worker(_) | Call::Provision | Call::Upkeep(Upkeep::Ready, _)));
        } else if !had.is_empty() {
            self.ledger.last_loss = self.ledger.last_bad_end(&had).or(self.ledger.last_loss);
            self.ledger.failures += had.len() as u64;
            self.actions.push(Action::GiveUp(had));
        }
        self.stop = Some(why);
    }
}

/// Whether the first signal ends it: all that makes something, nothing that puts something in order.
fn may_be_ended(call: Call) -> bool {
    match call {
        Call::Provision | Call::Listing | Call::Worker(_) => true,
        Call::Upkeep(upkeep, _) => matches!(upkeep, Upkeep::Ready | Upkeep::Check | Upkeep::Renew),
        Call::Dispose(_) => false,
    }
}
