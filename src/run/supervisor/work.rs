//! What was handed out, what came back, and what becomes of the rest.  (pure)

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::calls::Running;
use super::{Action, Batch, Fate, Stop, Supervisor};
use crate::config::NotRun;
use crate::event::{Ending, Limit, Loss, WorkerId};
use crate::merge::Account;
use crate::schedule::{Asker, Queue, Suite, TestNumber};

/// The tests of a run.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    suite: Arc<Suite>,
    queue: Queue,
    tests: Vec<Test>,
    /// A test that has cost so many runners is not run again.
    lost_limit: u32,
    pace: Pace,
    /// The one batch of a serial run waits.
    serial_waits: bool,
    /// Failed tests that are to be run again, and where they failed.
    retries: Vec<(TestNumber, Option<usize>)>,
    /// How many tests have failed for good.
    pub(super) failures: u64,
    /// How many batches in a row gave nothing.
    fruitless: usize,
    /// The last worker that lost a test for good by a bad end.
    pub(super) last_loss: Option<WorkerId>,
    /// Workers that ended badly with tests that failed, which may pass yet.
    undecided: Vec<BadEnd>,
    /// The bad ends that have been told, by instance and number.
    told: BTreeSet<(Option<usize>, i32)>,
}

/// A worker that ended badly though all its tests have a status.
#[derive(Debug)]
struct BadEnd {
    worker: WorkerId,
    place: Option<usize>,
    returncode: i32,
    failed: Vec<TestNumber>,
}

/// How long workers take to begin, and tests to run, over those that have ended.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    workers: u32,
    starting: Duration,
    tests: u32,
    running: Duration,
}

/// The part of a batch that starting its worker may take.
const STARTING: f64 = 0.1;

/// What is known of a test.
#[derive(Clone, Copy, Debug, Default)]
struct Test {
    /// The worker that had it last.
    worker: Option<WorkerId>,
    /// How many runners it has cost.
    charged: u32,
    /// How often it failed.
    failed: u32,
    /// It failed, and passed when it was run again.
    is_flaky: bool,
    /// A runner has ended well without a word of it.
    was_skipped: bool,
    /// The worker that had it last ended badly.
    had_bad_end: bool,
}

impl Ledger {
    pub(super) fn new(tests: Option<(Arc<Suite>, Queue)>, lost_limit: u32) -> Self {
        let serial_waits = tests.is_none();
        let (suite, queue) = tests.unwrap_or_default();
        Self { tests: vec![Test::default(); suite.len()], suite, queue, serial_waits, lost_limit, ..Self::default() }
    }

    /// Whether nothing waits to be handed out.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && !self.serial_waits
    }

    /// How many could work at once on what waits.
    pub(super) fn width(&self) -> usize {
        self.queue.width() + usize::from(self.serial_waits)
    }

    /// The next batch for this one.
    pub(super) fn take(&mut self, asker: Asker) -> Option<Batch> {
        if std::mem::take(&mut self.serial_waits) {
            return Some(None);
        }
        Some(Some(self.queue.take(asker)?.into()))
    }

    pub(super) fn hand_out(&mut self, worker: WorkerId, batch: Option<&[TestNumber]>) {
        for test in batch.unwrap_or_default() {
            self.tests[*test as usize].worker = Some(worker);
        }
    }

    /// Whether failed tests are to be run again.
    pub(super) fn has_retries(&self) -> bool {
        !self.retries.is_empty()
    }

    /// How many tests a batch should have.
    pub(super) fn least(&self) -> usize {
        let Pace { workers, starting, tests, running } = self.pace;
        if workers == 0 || tests == 0 {
            return 1;
        }
        let (start, test) = (starting.as_secs_f64() / f64::from(workers), running.as_secs_f64() / f64::from(tests));
        // More than there are, where tests take no time at all.
        (start * (1.0 - STARTING) / (test * STARTING)).ceil().max(1.0) as usize
    }

    /// A worker that began at `began` has ended now.
    fn learn(&mut self, began: Duration, now: Duration, account: &Account) {
        let done = account.handed_out - account.missing.len().min(account.handed_out);
        if let (Some(first), Ok(done @ 1..)) = (account.first, u32::try_from(done)) {
            self.pace.workers += 1;
            self.pace.starting += first.saturating_sub(began);
            self.pace.tests += done;
            self.pace.running += now.saturating_sub(first);
        }
    }

    /// Let tests that failed go out again. False when there are none.
    pub(super) fn queue_retries(&mut self) -> bool {
        let failed: BTreeMap<TestNumber, Option<usize>> = std::mem::take(&mut self.retries).into_iter().collect();
        let mut batches: BTreeMap<Option<usize>, Vec<Vec<TestNumber>>> = BTreeMap::new();
        for group in self.suite.grouped(failed.keys().copied()) {
            // Its tests may have failed at several places, and go out together all the same.
            let avoid = group.last().and_then(|test| failed[test]);
            batches.entry(avoid).or_default().push(group);
        }
        batches.into_iter().for_each(|(avoid, groups)| self.queue.again(&groups, avoid));
        !self.queue.is_empty()
    }

    /// Take everything out of the queue: tests that a worker had before, and how many none had.
    pub(super) fn give_up(&mut self) -> (Vec<(TestNumber, WorkerId)>, usize) {
        let unrun = usize::from(std::mem::take(&mut self.serial_waits));
        let waiting: Vec<TestNumber> = self.queue.drain().collect();
        let had: Vec<_> = waiting.iter().filter_map(|t| Some((*t, self.tests[*t as usize].worker?))).collect();
        // A test that failed and waits for another try has its verdict.
        let unrun = unrun + waiting.len() - had.len();
        let lost = had.into_iter().filter(|(test, _)| self.tests[*test as usize].failed == 0).collect();
        (lost, unrun)
    }

    /// A test that failed before has a verdict, whatever comes of running it again.
    fn fate(&self, test: TestNumber, fate: Fate) -> Fate {
        let has_failed = self.tests[test as usize].failed > 0;
        if has_failed && fate != Fate::Again { Fate::Failed } else { fate }
    }

    /// The last worker that had one of these and ended badly.
    pub(super) fn last_bad_end(&self, had: &[(TestNumber, WorkerId)]) -> Option<WorkerId> {
        had.iter().rev().find(|(test, _)| self.tests[*test as usize].had_bad_end).map(|(_, worker)| *worker)
    }

    /// Charge a test with a runner. True when it may not cost another one.
    fn charge(&mut self, test: TestNumber, limit: u32) -> bool {
        let test = &mut self.tests[test as usize];
        test.charged += 1;
        test.charged >= limit
    }
}

impl Supervisor {
    /// Judge what a worker left, and let go out again what has to.
    pub(super) fn settle(
        &mut self,
        worker: WorkerId,
        running: &Running,
        ending: &Ending,
        account: &Account,
        is_stopping: bool,
    ) {
        self.ledger.learn(running.began, self.now, account);
        self.count_failures(running, account, is_stopping);
        let fates = if is_stopping {
            account.missing.iter().map(|(test, _)| (*test, Fate::Unknown)).collect()
        } else {
            self.judge(worker, running, ending, account)
        };
        let is_convicted =
            fates.iter().any(|(_, fate)| matches!(fate, Fate::Failed | Fate::Fails(Loss::Crashed | Loss::TimedOut)));
        if let (true, Some(place)) = (is_convicted, running.place) {
            self.exonerate(place);
        }
        // With status 0 and all results it did its work, though something it left behind may have had to be ended.
        if !is_stopping && ending.returncode() != 0 && account.missing.is_empty() {
            let (place, returncode) = (running.place, ending.returncode());
            let end = BadEnd { worker, place, returncode, failed: account.failed.clone() };
            // It may have said no more than that tests failed, and those may pass yet.
            if self.rules.settings.retries > 0 && !end.failed.is_empty() {
                self.ledger.undecided.push(end);
            } else {
                self.tell_bad_end(&end);
            }
        }
        self.actions.push(Action::Settle(worker, fates));
        self.count_fruitless();
    }

    /// Once for each instance and status: with batches that are cut as they are asked for, a runner that ends badly
    /// because tests failed would do so for each batch.
    fn tell_bad_end(&mut self, end: &BadEnd) {
        if self.ledger.queue.is_fixed() || self.ledger.told.insert((end.place, end.returncode)) {
            self.actions.push(Action::Returncode(end.worker));
        }
    }

    /// Tell the bad ends that are decided only at the end of the run.
    pub(super) fn tell_bad_ends(&mut self) {
        for end in std::mem::take(&mut self.ledger.undecided) {
            if end.failed.iter().any(|test| !self.ledger.tests[*test as usize].is_flaky) {
                self.tell_bad_end(&end);
            }
        }
        if let Some(worker) = self.ledger.last_loss.take() {
            self.actions.push(Action::Returncode(worker));
        }
    }

    fn count_failures(&mut self, running: &Running, account: &Account, is_stopping: bool) {
        let place = running.place;
        for test in running.batch.iter().flat_map(|batch| batch.iter()) {
            let state = &mut self.ledger.tests[*test as usize];
            let has_passed = || {
                !account.failed.contains(test) && account.missing.binary_search_by_key(test, |(test, _)| *test).is_err()
            };
            state.is_flaky |= state.failed > 0 && has_passed();
        }
        let retries = if is_stopping || self.stop.is_some() { 0 } else { self.rules.settings.retries };
        for test in &account.failed {
            let state = &mut self.ledger.tests[*test as usize];
            state.failed += 1;
            if state.failed <= retries {
                self.ledger.retries.push((*test, place));
            } else {
                self.ledger.failures += 1;
            }
        }
    }

    fn judge(
        &mut self,
        worker: WorkerId,
        running: &Running,
        ending: &Ending,
        account: &Account,
    ) -> Vec<(TestNumber, Fate)> {
        let batch = running.batch.as_deref().unwrap_or_default();
        let missing = &account.missing;
        if missing.is_empty() {
            if !batch.is_empty() {
                self.ledger.fruitless = 0;
            }
            return vec![];
        }
        for (test, _) in missing {
            self.ledger.tests[*test as usize].had_bad_end = !ending.is_success();
        }
        let has_progress = missing.len() < batch.len();
        let is_clean = ending.is_success() && missing.iter().all(|(_, begun)| begun.is_none());
        let fates = if is_clean {
            self.skipped(running.place, missing)
        } else {
            self.cut_off(running.place, ending, missing, has_progress)
        };
        let fates = fates.into_iter().map(|(test, fate)| (test, self.ledger.fate(test, fate))).collect::<Vec<_>>();
        let is_concluded = fates.iter().any(|(_, fate)| *fate != Fate::Again);
        if has_progress || is_concluded || is_clean {
            self.ledger.fruitless = 0;
        } else {
            self.ledger.fruitless += 1;
        }
        for (_, fate) in &fates {
            self.ledger.failures += u64::from(matches!(fate, Fate::Fails(_) | Fate::Failed));
            if let Fate::Fails(loss) = fate {
                if let Some(place) = running.place {
                    self.slots[place].has_failures = true;
                }
                if *loss != Loss::NotRun && !ending.is_success() {
                    self.ledger.last_loss = Some(worker);
                }
            }
        }
        fates
    }

    /// A runner ended well without a word of these. Once more, unless it is testr's schedule.
    fn skipped(&mut self, place: Option<usize>, missing: &[(TestNumber, Option<Duration>)]) -> Vec<(TestNumber, Fate)> {
        let is_fixed = self.ledger.queue.is_fixed();
        let over = match self.rules.settings.not_run {
            NotRun::Warn => Fate::NotRun,
            NotRun::Fail => Fate::Fails(Loss::NotRun),
        };
        let mut again = Vec::new();
        let mut fates = Vec::new();
        for (test, _) in missing {
            let state = &mut self.ledger.tests[*test as usize];
            let fate = if is_fixed || state.was_skipped || self.stop.is_some() { over } else { Fate::Again };
            state.was_skipped = true;
            fates.push((*test, fate));
            if fate == Fate::Again {
                again.push(*test);
            }
        }
        let groups = self.ledger.suite.grouped(again);
        self.ledger.queue.again(&groups, place);
        fates
    }

    /// A runner, or its instance, went away with these.
    fn cut_off(
        &mut self,
        place: Option<usize>,
        ending: &Ending,
        missing: &[(TestNumber, Option<Duration>)],
        has_progress: bool,
    ) -> Vec<(TestNumber, Fate)> {
        // Where a test ran out of time, what ran beside it was cut short by us and is not charged.
        let expired = match ending.limit {
            Some(Limit::Test(limit)) => Some((self.now.saturating_sub(limit), Loss::TimedOut)),
            _ => None,
        };
        let first = missing.iter().filter_map(|(_, begun)| *begun).min();
        let is_charged = |begun: &Option<Duration>| match (expired, begun) {
            (Some((latest, _)), Some(begun)) => *begun <= latest || Some(*begun) == first,
            (_, begun) => begun.is_some(),
        };
        let loss = expired.map_or(Loss::Crashed, |(_, loss)| loss);
        let begun: BTreeSet<TestNumber> =
            missing.iter().filter(|(_, begun)| is_charged(begun)).map(|(test, _)| *test).collect();
        let groups = self.ledger.suite.grouped(missing.iter().map(|(test, _)| *test));
        let is_single = groups.len() == 1;
        // With nothing in progress and nothing done, it may be any of them: halves find out which. Once something
        // was done, or there is but one group, the next try is smaller by itself.
        let is_halved = begun.is_empty() && !has_progress && !is_single;
        let is_blamed = |test: &TestNumber| begun.contains(test) || (begun.is_empty() && !has_progress && is_single);

        let limit = self.ledger.lost_limit;
        let mut fates = Vec::new();
        let mut innocent = Vec::new();
        for group in groups {
            let suspects = group.iter().any(&is_blamed);
            let mut left = Vec::new();
            for test in group {
                let is_over = is_blamed(&test) && self.ledger.charge(test, limit) || self.stop.is_some();
                let loss = if begun.contains(&test) { loss } else { Loss::Lost };
                fates.push((test, if is_over { Fate::Fails(loss) } else { Fate::Again }));
                if !is_over {
                    left.push(test);
                }
            }
            if suspects {
                // By itself, so that it takes nobody along.
                self.ledger.queue.again(&[left], place);
            } else if !left.is_empty() {
                innocent.push(left);
            }
        }
        if is_halved {
            let (one, other) = innocent.split_at(innocent.len().div_ceil(2));
            self.ledger.queue.again(one, place);
            self.ledger.queue.again(other, place);
        } else {
            self.ledger.queue.give_back(innocent);
        }
        fates
    }

    /// Where nothing comes of anything, end it: three times for each instance, and then no more.
    fn count_fruitless(&mut self) {
        if self.ledger.fruitless >= 3 * self.rules.concurrency && self.stop.is_none() && !self.ledger.is_empty() {
            self.stop_run(Stop::Fruitless(self.ledger.fruitless, 0));
        }
    }
}
