//! The outside: what callouts do once they were started, and the runners that some of them are.

use std::collections::VecDeque;

use super::super::super::*;
use super::Tape;
use super::given::{Given, Habits};
use super::runner::{Did, Runner};
use crate::event::How;

/// All that runs, and what it knows.
#[derive(Debug, Default)]
pub(super) struct Outside {
    calls: BTreeMap<Call, Callout>,
    /// Instances on which nothing works any more.
    broken: BTreeSet<usize>,
    /// The ids that were printed.
    printed: Vec<String>,
    /// How often each test was run to its end in this round.
    pub(super) finished: BTreeMap<TestNumber, u32>,
}

/// A callout that runs.
#[derive(Debug)]
struct Callout {
    does: Does,
    /// It ends only when it is told to.
    hangs: bool,
    /// It does not end for TERM.
    ignores: bool,
    told: Option<Force>,
}

#[derive(Debug)]
enum Does {
    /// Prints these ids, and ends like this.
    Print(VecDeque<String>, How),
    Run(Box<Runner>),
    /// Ends like this.
    End(How),
}

impl Outside {
    /// Begin what the machine wants begun, and end what it wants ended.
    pub(super) fn perform(&mut self, action: &Action, given: &Given, tape: &mut Tape<'_>) {
        let habits = &given.habits;
        match action {
            Action::Provision(count) => {
                let ids = self.ids(*count, habits, tape);
                self.begin(Call::Provision, |how| Does::Print(ids, how), habits, tape);
            }
            Action::List(instance) => {
                let is_broken = instance.as_ref().is_some_and(|instance| self.broken.contains(&instance.index));
                let does = |how| Does::End(if is_broken { How::Exited(255) } else { how });
                self.begin(Call::Listing, does, habits, tape);
            }
            Action::Execute(worker, instance, batch) => {
                let runner = Runner::new(given, batch.clone(), instance.as_ref().map(|instance| instance.index));
                let calm = Habits { hangs: 0, ..plain(habits) };
                self.begin(Call::Worker(*worker), |_| Does::Run(Box::new(runner)), &calm, tape);
            }
            Action::Upkeep(upkeep, instance) => {
                let finds_out = matches!(upkeep, Upkeep::Check | Upkeep::Ready);
                let is_broken = finds_out && self.broken.contains(&instance.index);
                let does = |how| Does::End(if is_broken { How::Exited(1) } else { how });
                self.begin(Call::Upkeep(*upkeep, instance.index), does, habits, tape);
            }
            Action::Dispose(number, _) => self.begin(Call::Dispose(*number), Does::End, habits, tape),
            Action::End(call, force) => {
                if let Some(callout) = self.calls.get_mut(call) {
                    callout.told = Some(*force);
                }
            }
            Action::Done(Outcome::Abandoned(_)) => self.calls.clear(),
            _ => {}
        }
    }

    fn begin(&mut self, call: Call, does: impl FnOnce(How) -> Does, habits: &Habits, tape: &mut Tape<'_>) {
        let how = if tape.chance(habits.fails) { bad_end(tape) } else { How::Exited(0) };
        let (hangs, ignores) = (tape.chance(habits.hangs), tape.chance(habits.ignores));
        self.calls.insert(call, Callout { does: does(how), hangs, ignores, told: None });
    }

    /// What provision prints when it was asked for so many.
    fn ids(&mut self, count: usize, habits: &Habits, tape: &mut Tape<'_>) -> VecDeque<String> {
        let is_odd = tape.chance(habits.misprints);
        let count = if is_odd { tape.below(count + 3) } else { count };
        let mut ids = VecDeque::new();
        for _ in 0..count {
            let id = if is_odd && !self.printed.is_empty() && tape.chance(30) {
                self.printed[tape.below(self.printed.len())].clone()
            } else {
                format!("n{}", self.printed.len())
            };
            self.printed.push(id.clone());
            ids.push_back(id);
        }
        ids
    }

    /// Ids of instances that were kept by an earlier run.
    pub(super) fn kept(&mut self, count: usize) -> Vec<String> {
        self.printed.extend((0..count).map(|n| format!("n{n}")));
        self.printed.clone()
    }

    /// The calls that can do something.
    pub(super) fn able(&self) -> Vec<Call> {
        self.calls.iter().filter(|(_, callout)| callout.is_able()).map(|(call, _)| *call).collect()
    }

    /// Somebody from outside ends what hangs.
    pub(super) fn unhang(&mut self) -> bool {
        let Some(callout) = self.calls.values_mut().find(|callout| !callout.is_able()) else { return false };
        callout.told = Some(Force::Kill);
        true
    }

    /// Let one call do something, and say what the machine hears of it.
    pub(super) fn act(
        &mut self,
        call: Call,
        given: &Given,
        machine: &Supervisor,
        now: Duration,
        tape: &mut Tape<'_>,
    ) -> Option<Input> {
        let callout = self.calls.get_mut(&call)?;
        let ends = match callout.told {
            Some(Force::Kill) => Some(How::Signalled(9)),
            Some(_) if callout.hangs || (!callout.ignores && !tape.chance(40)) => {
                Some(tape.pick(&[How::Signalled(15), How::Exited(143), How::Exited(1), How::Exited(0)]))
            }
            _ => None,
        };
        let how = match (ends, &mut callout.does) {
            (Some(how), _) => how,
            (None, Does::Print(ids, how)) => match ids.pop_front() {
                Some(id) => return Some(Input::Printed(id)),
                None => how.clone(),
            },
            (None, Does::End(how)) => how.clone(),
            (None, Does::Run(runner)) => {
                let place = runner.place();
                if place.is_some() && tape.chance(given.habits.breaks) {
                    self.broken.extend(place);
                }
                let did = if place.is_some_and(|place| self.broken.contains(&place)) {
                    Did::End(How::Exited(255))
                } else {
                    runner.act(given, &mut self.finished, now, tape)
                };
                match did {
                    Did::End(how) => how,
                    Did::Hang => {
                        callout.hangs = true;
                        return None;
                    }
                    Did::Write if machine.listens() => {
                        let Call::Worker(worker) = call else { return None };
                        return Some(Input::Heard(worker, runner.heard()));
                    }
                    Did::Write => return None,
                }
            }
        };
        let callout = self.calls.remove(&call)?;
        let ending = Ending { limit: machine.limit(call), ..Ending::of(how) };
        Some(match (call, callout.does) {
            (Call::Worker(worker), Does::Run(runner)) => Input::WorkerEnded(worker, ending, runner.account()),
            _ => Input::Ended(call, ending),
        })
    }
}

impl Callout {
    fn is_able(&self) -> bool {
        match self.told {
            None => !self.hangs,
            Some(Force::Kill) => true,
            Some(_) => !(self.hangs && self.ignores),
        }
    }
}

/// A runner hangs in a test, or by an odd step.
fn plain(habits: &Habits) -> Habits {
    Habits { signals: Vec::new(), ..*habits }
}

/// An end that is no success, mostly.
pub(super) fn bad_end(tape: &mut Tape<'_>) -> How {
    let ends = [
        How::Exited(1),
        How::Exited(255),
        How::Signalled(9),
        How::Signalled(11),
        How::Exited(7),
        How::NotRun("so".into()),
    ];
    tape.pick(&ends)
}
