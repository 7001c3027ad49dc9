//! A runner: goes through its batch, and keeps the account as [`crate::merge`] does.

use std::collections::VecDeque;

use super::super::super::*;
use super::Tape;
use super::given::{Given, Nature};
use super::outside::bad_end;
use crate::event::How;

/// A runner with a batch, or one that runs everything.
#[derive(Debug)]
pub(super) struct Runner {
    place: Option<usize>,
    batch: Batch,
    /// What it has not come to yet.
    todo: VecDeque<TestNumber>,
    /// The test that it is busy with.
    current: Option<TestNumber>,
    /// The batch by id: the tests of each, and how many of them have a final status.
    owed: BTreeMap<TestNumber, (Vec<TestNumber>, usize)>,
    /// When the tests in progress began, by id.
    open: BTreeMap<TestNumber, Duration>,
    has_spoken: bool,
    finals: usize,
    failures: u64,
    failed: Vec<TestNumber>,
}

/// What it did.
#[derive(Debug)]
pub(super) enum Did {
    /// It wrote something, or nothing.
    Write,
    Hang,
    End(How),
}

impl Runner {
    pub(super) fn new(given: &Given, batch: Batch, place: Option<usize>) -> Self {
        let mut owed: BTreeMap<TestNumber, (Vec<TestNumber>, usize)> = BTreeMap::new();
        for test in batch.iter().flat_map(|batch| batch.iter()) {
            owed.entry(given.key(*test)).or_default().0.push(*test);
        }
        let todo = match &batch {
            Some(batch) => batch.iter().copied().collect(),
            None => given.suite.tests().collect(),
        };
        Self {
            place,
            batch,
            todo,
            current: None,
            owed,
            open: BTreeMap::new(),
            has_spoken: false,
            finals: 0,
            failures: 0,
            failed: Vec::new(),
        }
    }

    pub(super) fn place(&self) -> Option<usize> {
        self.place
    }

    pub(super) fn heard(&self) -> Heard {
        Heard { oldest: self.open.values().min().copied(), failures: self.failures }
    }

    pub(super) fn account(&self) -> Account {
        let handed_out = self.batch.as_ref().map_or(0, |batch| batch.len());
        let mut missing = Vec::new();
        if self.finals < handed_out {
            for (key, (tests, settled)) in &self.owed {
                let mut begun = self.open.get(key).copied();
                missing.extend(tests.iter().skip(*settled).map(|test| (*test, begun.take())));
            }
            missing.sort_unstable();
        }
        let (has_spoken, results, failed) = (self.has_spoken, self.finals, self.failed.clone());
        Account { has_spoken, first: None, handed_out, results, missing, failed }
    }

    /// Go on a little.
    pub(super) fn act(
        &mut self,
        given: &Given,
        finished: &mut BTreeMap<TestNumber, u32>,
        now: Duration,
        tape: &mut Tape<'_>,
    ) -> Did {
        if tape.chance(given.habits.odd) {
            return self.act_oddly(given, now, tape);
        }
        if self.finals == 0 && self.todo.iter().any(|test| given.nature(*test) == Nature::KillsAtStart) {
            return Did::End(How::Exited(1));
        }
        if let Some(test) = self.current.take() {
            return self.finish(given, test, finished);
        }
        while let Some(test) = self.todo.pop_front() {
            match given.nature(test) {
                Nature::Skipped => continue,
                Nature::KillsSilently => return Did::End(How::Signalled(11)),
                Nature::HangsSilently => return Did::Hang,
                _ => {}
            }
            self.current = Some(test);
            if given.habits.announces {
                self.begin(given.key(test), now);
            }
            return Did::Write;
        }
        let status = i32::from(given.habits.tells_failure && self.failures > 0);
        Did::End(How::Exited(status))
    }

    fn finish(&mut self, given: &Given, test: TestNumber, finished: &mut BTreeMap<TestNumber, u32>) -> Did {
        let key = given.key(test);
        let before = finished.entry(key).or_default();
        let fails = match given.nature(test) {
            Nature::Kills => return Did::End(How::Signalled(6)),
            Nature::Hangs => return Did::Hang,
            Nature::Fails => true,
            Nature::Flaky(times) => *before < times,
            _ => false,
        };
        *before += 1;
        self.end(Some(key), fails)
    }

    fn begin(&mut self, key: TestNumber, now: Duration) {
        self.has_spoken = true;
        self.open.entry(key).or_insert(now);
    }

    /// A final status, of this id or of one that nobody handed out.
    fn end(&mut self, key: Option<TestNumber>, fails: bool) -> Did {
        self.has_spoken = true;
        self.finals += 1;
        self.failures += u64::from(fails);
        if let Some(key) = key {
            self.open.remove(&key);
            if let Some((tests, settled)) = self.owed.get_mut(&key)
                && let Some(test) = tests.get(*settled)
            {
                *settled += 1;
                self.failed.extend(fails.then_some(*test));
            }
        }
        Did::Write
    }

    fn act_oddly(&mut self, given: &Given, now: Duration, tape: &mut Tape<'_>) -> Did {
        match tape.below(9) {
            0 => Did::End(bad_end(tape)),
            1 => Did::End(How::Exited(0)),
            // Leaves a test out, or says nothing more of it.
            2 => {
                self.current.take().or_else(|| self.todo.pop_front());
                Did::Write
            }
            // Begins another beside what is in progress, or begins again.
            3 => {
                self.any(tape).into_iter().for_each(|key| self.begin(key, now));
                Did::Write
            }
            // Ends one that is in progress or not, also one that has its status.
            4 => {
                let key = self.any(tape);
                self.todo.retain(|test| Some(given.key(*test)) != key);
                self.end(key, tape.chance(50))
            }
            5 => self.end(None, tape.chance(50)),
            6 => {
                self.todo.rotate_left(tape.below(self.todo.len() + 1));
                Did::Write
            }
            7 => Did::Hang,
            // A line on stderr, or a packet that says nothing.
            _ => {
                self.has_spoken |= tape.chance(50);
                Did::Write
            }
        }
    }

    fn any(&self, tape: &mut Tape<'_>) -> Option<TestNumber> {
        let ids: Vec<TestNumber> = self.owed.keys().copied().collect();
        (!ids.is_empty()).then(|| ids[tape.below(ids.len())])
    }
}
