//! Which attempt at a test decides, where tests that failed may be run again (`retries`).
//!
//! A test that failed is undecided and waits here; what it attached waits in one temporary file, so that memory does
//! not grow with it. A later attempt that passes decides, and the test is flaky; one that fails takes the place of the
//! one before; what waits at the end of the run has failed. A later attempt that was skipped or lost decides nothing:
//! the failure was a real one.
//!
//! Which outcome is a later attempt, and which is that of an id listed twice, is seen from the worker: one that was
//! handed only tests whose failure waits here was started to run them again. Used by [`super::Report`] only.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;

use bytestring::ByteString;

use crate::attachment::Shelf;
use crate::event::{FinishedTest, RunEvent, Status};
use crate::test_id::TestId;

/// Tests that regatta makes itself (as [`crate::report`] may not know the room that does): nobody can run them again.
const NOT_RUN_AGAIN: [&str; 2] = ["process-returncode", "subunit.parser"];

/// The tests of a run that failed and are undecided.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    may_retry: bool,
    /// In the order in which they failed first.
    waiting: BTreeMap<u64, Waiting>,
    turns: HashMap<ByteString, Vec<u64>>,
    next_turn: u64,
    /// The tags of the workers that run tests again.
    again: HashSet<ByteString>,
    /// Where each worker runs, by its tag.
    instances: HashMap<ByteString, String>,
    flaky: Vec<Flaky>,
    shelf: Shelf,
    trouble: Option<io::Error>,
}

#[derive(Debug)]
struct Waiting {
    /// The newest failure.
    test: FinishedTest,
    /// The tags of the workers on which it failed.
    failed_on: Vec<ByteString>,
}

/// A test that failed, and passed when it was run again.
#[derive(Debug)]
struct Flaky {
    id: ByteString,
    failed_on: Vec<ByteString>,
    passed_on: ByteString,
}

/// What the end of an attempt means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is the test's outcome.
    Decides,
    /// It failed, and is to be kept with [`Attempts::keep`].
    Waits,
    /// It changes nothing.
    Passes,
}

impl Attempts {
    /// Those of a run that begins.
    pub(super) fn new(may_retry: bool) -> Self {
        Self { may_retry, ..Self::default() }
    }

    /// Something happened that ends no test.
    pub(super) fn event(&mut self, event: &RunEvent) {
        let RunEvent::WorkerStarted { worker, instance, tests, .. } = event else { return };
        if let (true, Some(instance)) = (self.may_retry, instance) {
            self.instances.insert(worker.tag(), instance.clone());
        }
        if !self.waiting.is_empty() && tests.as_deref().is_some_and(|tests| self.are_waiting(tests)) {
            self.again.insert(worker.tag());
        }
    }

    /// Whether all of these wait, each as often.
    fn are_waiting(&self, tests: &[TestId]) -> bool {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        !tests.is_empty()
            && tests.iter().all(|id| {
                let count = counts.entry(id.as_str()).or_default();
                *count += 1;
                self.turns.get(id.as_str()).is_some_and(|turns| *count <= turns.len())
            })
    }

    /// What the end of this attempt means. One that passed and decides takes the failure before it out, and is flaky.
    pub(super) fn judge(&mut self, test: &mut FinishedTest) -> Fate {
        if !self.may_retry || test.status == Some(Status::Exists) || NOT_RUN_AGAIN.contains(&&*test.id) {
            return Fate::Decides;
        }
        let is_failure = test.status == Some(Status::Fail) && test.loss.is_none();
        let Some(turn) = self.failure_before(test) else {
            return if is_failure { Fate::Waits } else { Fate::Decides };
        };
        match test.status {
            Some(Status::Fail) if is_failure => Fate::Waits,
            Some(Status::Success | Status::UnexpectedSuccess | Status::ExpectedFail) => {
                test.flaky = true;
                self.pass(turn, worker_of(test));
                Fate::Decides
            }
            _ => Fate::Passes,
        }
    }

    /// The failure that this attempt comes after: of two tests with one id, the first that this worker did not run.
    fn failure_before(&self, test: &FinishedTest) -> Option<u64> {
        let worker = worker_of(test);
        if !self.again.contains(&worker) {
            return None;
        }
        let turns = self.turns.get(&test.id)?;
        turns.iter().copied().find(|turn| self.waiting[turn].failed_on.last() != Some(&worker))
    }

    fn pass(&mut self, turn: u64, passed_on: ByteString) {
        let Some(Waiting { test, failed_on }) = self.waiting.remove(&turn) else { return };
        if let Some(turns) = self.turns.get_mut(&test.id) {
            turns.retain(|other| *other != turn);
            if turns.is_empty() {
                self.turns.remove(&test.id);
            }
        }
        self.flaky.push(Flaky { id: test.id, failed_on, passed_on });
    }

    /// Keep a failure until it is decided.
    pub(super) fn keep(&mut self, mut test: FinishedTest) {
        for attachment in &mut test.attachments {
            if let Err(error) = attachment.body.shelve(&mut self.shelf) {
                // It stays in memory, or in the file that it has.
                self.trouble = Some(error);
            }
        }
        let worker = worker_of(&test);
        match self.failure_before(&test).and_then(|turn| self.waiting.get_mut(&turn)) {
            Some(waiting) => {
                waiting.test = test;
                waiting.failed_on.push(worker);
            }
            None => {
                let turn = self.next_turn;
                self.next_turn += 1;
                self.turns.entry(test.id.clone()).or_default().push(turn);
                self.waiting.insert(turn, Waiting { test, failed_on: vec![worker] });
            }
        }
    }

    /// The run is over: what waits has failed.
    pub(super) fn take_failed(&mut self) -> impl Iterator<Item = FinishedTest> + use<> {
        self.turns.clear();
        std::mem::take(&mut self.waiting).into_values().map(|waiting| waiting.test)
    }

    /// A line for each test that failed and then passed.
    pub(super) fn flaky(&self) -> impl ExactSizeIterator<Item = String> {
        self.flaky.iter().map(|flaky| {
            let failed: Vec<String> = flaky.failed_on.iter().map(|tag| self.place(tag)).collect();
            format!("flaky: {} failed {} and passed {}", flaky.id, failed.join(" and "), self.place(&flaky.passed_on))
        })
    }

    fn place(&self, tag: &ByteString) -> String {
        match self.instances.get(tag) {
            Some(instance) => format!("on {instance} ({tag})"),
            None => format!("in {tag}"),
        }
    }

    /// Why what failed tests attached could not be put on disk, if that happened. It was kept in memory.
    pub(super) fn take_trouble(&mut self) -> Option<io::Error> {
        self.trouble.take()
    }
}

/// The tag of the worker that a test ran in. It comes after those that the runner gave.
fn worker_of(test: &FinishedTest) -> ByteString {
    test.tags.last().cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attachment::Attachment;
    use crate::event::{Loss, Stamp, WorkerId};

    /// `a fail 3`: the id, the status (`crashed` for a loss) and the worker.
    fn test(line: &str) -> FinishedTest {
        let [id, status, worker]: [&str; 3] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let status = match status {
            "pass" => Status::Success,
            "skip" => Status::Skip,
            _ => Status::Fail,
        };
        let body = format!("log of {line}").into_bytes().into();
        FinishedTest {
            id: id.into(),
            status: Some(status),
            loss: line.contains("crashed").then_some(Loss::Crashed),
            tags: vec![format!("worker-{worker}").into()],
            attachments: vec![Attachment { name: "log".into(), mime: None, body }],
            ..FinishedTest::default()
        }
    }

    fn log(test: &FinishedTest) -> String {
        io::read_to_string(test.attachments[0].body.read().unwrap()).unwrap()
    }

    /// Lines are ends of tests, or `start 3 a b`: a worker and what it is handed. Compares what is decided, with `?`
    /// for what waits and `-` for what changes nothing; then what has failed at the end, and the flaky.
    #[track_caller]
    fn check(lines: &[&str], decided: &str, failed: &[&str], flaky: &[&str]) {
        let mut attempts = Attempts::new(true);
        let mut said = Vec::new();
        for line in lines {
            if let Some(started) = line.strip_prefix("start ") {
                let mut words = started.split(' ');
                let worker = WorkerId(words.next().unwrap().parse().unwrap());
                let tests = Some(words.map(TestId::from).collect());
                let instance = Some(format!("i{worker}"));
                attempts.event(&RunEvent::WorkerStarted { worker, instance, tests, at: Stamp::default() });
                continue;
            }
            let mut test = test(line);
            said.push(match attempts.judge(&mut test) {
                Fate::Decides => test.id.to_string(),
                Fate::Waits => {
                    attempts.keep(test);
                    "?".into()
                }
                Fate::Passes => "-".into(),
            });
        }
        assert_eq!(said.join(" "), decided);
        let logs: Vec<String> = attempts.take_failed().map(|test| log(&test)).collect();
        let expected: Vec<String> = failed.iter().map(|line| format!("log of {line}")).collect();
        assert_eq!(logs, expected);
        assert_eq!(attempts.flaky().collect::<Vec<_>>(), flaky);
        assert!(attempts.take_trouble().is_none());
    }

    #[test]
    fn a_pass_after_a_failure_decides_and_a_later_failure_takes_the_place() {
        check(
            &[
                "start 0 a b",
                "start 1 c d",
                "a fail 0",
                "c fail 1",
                "b fail 0",
                "d pass 1",
                "start 2 b a c",
                "b fail 2",
                "a pass 2",
                "c fail 2",
                "start 3 c b",
                "c pass 3",
                "b fail 3",
            ],
            "? ? ? d ? a ? c ?",
            &["b fail 3"],
            &[
                "flaky: a failed on i0 (worker-0) and passed on i2 (worker-2)",
                "flaky: c failed on i1 (worker-1) and on i2 (worker-2) and passed on i3 (worker-3)",
            ],
        );
    }

    #[test]
    fn a_skip_or_a_loss_after_a_failure_decides_nothing() {
        let lines = &["start 0 a b", "a fail 0", "b fail 0", "start 1 a b", "a skip 1", "b crashed 1"];
        check(lines, "? ? - -", &["a fail 0", "b fail 0"], &[]);
    }

    #[test]
    fn what_nobody_can_run_again_is_decided_at_once() {
        let lines = &["start 0 a", "process-returncode fail 0", "subunit.parser fail 0", "a crashed 0"];
        check(lines, "process-returncode subunit.parser a", &[], &[]);
    }

    #[test]
    fn an_id_listed_twice_is_two_tests() {
        check(&["start 0 a a", "a pass 0", "a pass 0"], "a a", &[], &[]);
        check(&["start 0 a a", "a fail 0", "a pass 0"], "? a", &["a fail 0"], &[]);
        check(&["start 0 a", "start 1 a b", "a fail 0", "a pass 1"], "? a", &["a fail 0"], &[]);
        check(
            &["start 0 a a", "a fail 0", "a fail 0", "start 1 a a", "a fail 1", "a pass 1"],
            "? ? ? a",
            &["a fail 1"],
            &["flaky: a failed on i0 (worker-0) and passed on i1 (worker-1)"],
        );
    }

    #[test]
    fn without_retries_every_end_decides() {
        let mut attempts = Attempts::new(false);
        assert_eq!(attempts.judge(&mut test("a fail 0")), Fate::Decides);
    }
}
