//! The end of a worker: what it left is counted, judged by the supervisor, and told.

use std::collections::BTreeMap;

use chrono::Utc;

use super::error::CalloutFailure;
use super::supervisor::{Fate, Input};
use super::{Running, Session};
use crate::config::Keep;
use crate::event::{Ending, How, Loss, RunEvent, WorkerId};
use crate::merge::Account;
use crate::schedule::TestNumber;
use crate::test_id::TestId;

/// A worker that has ended: what its tests may fail for.
pub(super) struct LostWorker {
    pub(super) failure: CalloutFailure,
    /// The instance, if there are instances.
    place: Option<String>,
    account: Account,
    /// How many tests it was handed.
    tests: usize,
}

impl Session {
    pub(super) fn worker_ended(&mut self, worker: WorkerId, running: Running, ending: Ending) -> Input {
        let account = self.merge.account(worker);
        let failure = self.failure(running.key, "while running tests", ending.clone());
        let place = running.instance.map(|instance| instance.id);
        if let Some(place) = place.as_ref().filter(|_| self.settings.keep != Keep::Never) {
            let failed = account.failed.iter().map(|test| self.suite.id(*test).clone());
            let shown = self.failed_on.entry(place.clone()).or_default();
            shown.extend(failed.take(SHOWN - SHOWN.min(shown.len())));
        }
        let told = account.clone();
        self.lost.insert(worker, LostWorker { failure, place, account, tests: running.tests });
        Input::WorkerEnded(worker, ending, told)
    }

    /// Tell what becomes of the tests that a worker left.
    pub(super) fn settle(&mut self, worker: WorkerId, fates: &[(TestNumber, Fate)]) {
        let Some(lost) = self.lost.get(&worker) else { return };
        let is_stopping = self.supervisor.is_stopping();
        let (now, mut events) = (Utc::now(), Vec::new());
        if !is_stopping {
            events.extend(self.explain(worker, lost, fates).map(|text| RunEvent::Note { text }));
        }
        let mut not_run = Vec::new();
        for (test, fate) in fates {
            let handed = (*test, self.suite.id(*test));
            match fate {
                // What was attached belongs to an attempt that decides nothing.
                Fate::Again | Fate::Failed => self.merge.again(worker, handed, now, &mut events),
                Fate::Fails(loss) => {
                    let why = (*loss, lost.reason(worker, *loss));
                    self.merge.lose(worker, handed, why, now, &mut events);
                }
                Fate::NotRun => not_run.push(handed.1.clone()),
                Fate::Unknown => {}
            }
        }
        if !not_run.is_empty() {
            events.push(RunEvent::NotRun { tests: not_run });
        }
        self.merge.close(worker, is_stopping, &mut events);
        let ending = lost.failure.ending.clone();
        events.push(RunEvent::WorkerEnded { worker, ending: ending.clone(), at: now });
        self.outlet.send(events);
        // Only what may have to be told later is kept.
        if fates.is_empty() && ending.is_success() {
            self.lost.remove(&worker);
        }
    }

    /// These tests fail, as nobody is left to run them.
    pub(super) fn give_up(&mut self, tests: &[(TestNumber, WorkerId)]) {
        let mut events = Vec::new();
        for (test, worker) in tests {
            let reason = self.lost.get(worker).map(|lost| lost.reason(*worker, Loss::Lost)).unwrap_or_default();
            let handed = (*test, self.suite.id(*test));
            self.merge.lose(*worker, handed, (Loss::Lost, reason), Utc::now(), &mut events);
        }
        self.outlet.send(events);
    }

    /// What to say of a worker that did not do its part. A runner says "tests failed" by its exit status too, and
    /// of that there is nothing to say.
    fn explain(&self, worker: WorkerId, lost: &LostWorker, fates: &[(TestNumber, Fate)]) -> Option<String> {
        let LostWorker { failure, account, tests, .. } = lost;
        let ending = &failure.ending;
        let is_done = ending.how == How::Exited(0) && fates.is_empty();
        let odd = !is_done && (ending.limit.is_some() || !matches!(ending.how, How::Exited(status) if status < 126));
        let silent = account.results == 0 && !ending.is_success();
        let mut text = Vec::new();
        if odd || silent || (!ending.is_success() && !fates.is_empty()) {
            text.push(format!("{failure}\n  hint: {}", failure.hint()));
        }
        if !fates.is_empty() {
            let ids: Vec<&TestId> = fates.iter().map(|(test, _)| self.suite.id(*test)).collect();
            let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
            for (_, fate) in fates {
                *counts.entry(fate.words()).or_default() += 1;
            }
            let counts: Vec<String> = counts.iter().map(|(words, count)| format!("{count} {words}")).collect();
            text.push(format!(
                "{} gave no result for {} of {tests} tests: {} ({})",
                lost.name(worker),
                fates.len(),
                some(&ids),
                counts.join(", ")
            ));
        }
        (!text.is_empty()).then(|| text.join("\n"))
    }
}

impl Fate {
    /// What to say of so many tests.
    fn words(self) -> &'static str {
        match self {
            Self::Again => "go out again",
            Self::Fails(loss) => loss.as_str(),
            Self::Failed => "failed before",
            Self::NotRun => "not run",
            Self::Unknown => "stopped",
        }
    }
}

impl LostWorker {
    fn name(&self, worker: WorkerId) -> String {
        self.place.as_ref().map_or_else(|| format!("worker {worker}"), |place| format!("worker {worker} on {place}"))
    }

    /// Why a test fails that no runner called failed.
    fn reason(&self, worker: WorkerId, loss: Loss) -> String {
        let what = match loss {
            Loss::Crashed => "it was in progress when its runner ended",
            Loss::Lost => "its runner ended before it began",
            Loss::TimedOut => "it took too long",
            Loss::NotRun => "its runner never spoke of it",
        };
        let mut text = format!(
            "{}: {what}\n{}: {}\n  line: {}",
            loss.as_str(),
            self.name(worker),
            self.failure.ending,
            self.failure.line
        );
        for said in &self.failure.ending.last_stderr {
            text += &format!("\n  | {said}");
        }
        text
    }
}

/// How many of many ids are named.
const SHOWN: usize = 5;

/// The first few of many ids.
fn some(ids: &[&TestId]) -> String {
    let mut text = ids.iter().take(SHOWN).map(|id| id.as_str()).collect::<Vec<_>>().join(", ");
    if ids.len() > SHOWN {
        text += &format!(" and {} more", ids.len() - SHOWN);
    }
    text
}
