//! Rules about tests: each is handed out to one worker at a time, and ends with one verdict.

use super::time::is_for_test;
use super::*;
use crate::config::NotRun;
use crate::event::Loss;

use super::super::given::Nature;

/// The tests of a run.
#[derive(Debug, Default)]
pub(super) struct Tests {
    round: Option<Round>,
    is_last: bool,
    tests: Vec<Test>,
    retries: u32,
    workers: u32,
    /// When the run has to be over.
    pub(super) run_until: Option<Duration>,
    pub(super) stopped: Option<Stopped>,
    /// The worker that ended in this step, and is to be settled.
    left: Option<Left>,
    /// The workers that ended badly.
    bad_ends: BTreeMap<WorkerId, BadEnd>,
    /// Those of which testr's failure was told.
    returncodes: BTreeSet<WorkerId>,
    /// Tests were lost for good by a bad end.
    owes_returncode: bool,
    /// How many workers in a row gave nothing, and the most so far.
    fruitless: usize,
    most_fruitless: usize,
}

/// How a worker ended badly.
#[derive(Debug)]
struct BadEnd {
    at: (Option<usize>, i32),
    /// All its tests have a status; these failed.
    failed: Option<Vec<TestNumber>>,
}

/// The run was stopped.
#[derive(Debug)]
pub(super) struct Stopped {
    /// Its workers are told to end.
    pub(super) ends_workers: bool,
    /// How many tests waited then.
    waiting: usize,
}

#[derive(Clone, Debug, Default)]
struct Test {
    worker: Option<WorkerId>,
    was_out: bool,
    verdict: Option<Verdict>,
    /// How often it failed.
    failed: u32,
    /// How often it was surely to blame for a bad end, and how often it may have been.
    charged: u32,
    suspected: u32,
    /// It was in progress when a runner died that was not ended by regatta.
    was_in_progress: bool,
    /// A runner has ended well without a word of it.
    was_skipped: bool,
    /// It failed before, and was lost when it was run again.
    failure_stands: bool,
    /// Where it came to grief last, and is to go no more while there is another place.
    avoid: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    Failed,
    Lost(Loss),
    NotRun,
}

/// A worker that has ended.
#[derive(Debug)]
struct Left {
    worker: WorkerId,
    place: Option<usize>,
    ending: Ending,
    account: Account,
    /// A runner died, or its instance, and not because regatta wanted it.
    is_bad: bool,
    /// It ended well without a word of some.
    is_clean: bool,
}

impl Tests {
    pub(super) fn new(given: &Given, round: Round, is_last: bool, now: Duration) -> Self {
        let settings = &given.rules.settings;
        let count = if round == Round::Serial { 0 } else { given.suite.len() };
        Self {
            round: Some(round),
            is_last,
            tests: vec![Test::default(); count],
            retries: settings.retries,
            run_until: settings.max_duration.map(|limit| now + limit),
            ..Self::default()
        }
    }

    /// How many tests have failed for good.
    pub(super) fn failures(&self) -> u64 {
        let of = |test: &Test| {
            let by_runner = test.failed.saturating_sub(self.retries);
            u64::from(by_runner) + u64::from(test.failure_stands || matches!(test.verdict, Some(Verdict::Lost(_))))
        };
        self.tests.iter().map(of).sum()
    }

    pub(super) fn stop(&mut self, ends_workers: bool) {
        let waits = |test: &&Test| test.worker.is_none() && test.verdict.is_none();
        let waiting = self.tests.iter().filter(waits).count();
        self.stopped = Some(Stopped { ends_workers, waiting });
    }

    /// Whether there is a test that no worker has had.
    pub(super) fn has_new(&self) -> bool {
        self.tests.iter().any(|test| !test.was_out) || (self.round == Some(Round::Serial) && self.workers == 0)
    }

    /// Whether no test waits to be handed out; the last run of all.
    pub(super) fn nothing_waits(&self) -> bool {
        let waits = |test: &Test| test.worker.is_none() && test.verdict.is_none();
        self.is_last && (self.stopped.is_some() || !self.tests.iter().any(waits))
    }
}

impl Watch<'_> {
    pub(super) fn handed_out(&mut self, worker: WorkerId, batch: &Batch) -> Held {
        holds!(worker == WorkerId(self.tests.workers), "{worker:?} is not the next worker");
        self.tests.workers += 1;
        let workers = self.workers();
        holds!(workers <= self.given.rules.concurrency, "{workers} workers run at once");
        let round = self.tests.round.expect("there is a run");
        holds!(batch.is_none() == (round == Round::Serial), "{worker:?} is handed {batch:?}");
        let Some(tests) = batch else {
            holds!(self.tests.workers == 1, "a serial run has a second worker");
            return Ok(());
        };
        holds!(!tests.is_empty(), "a worker is handed nothing");
        let is_in_order = self.given.is_fixed(round) || tests.is_sorted();
        holds!(is_in_order, "{tests:?} are not in the order of the listing");
        let group = |test: &TestNumber| self.given.suite.group(*test);
        let groups: BTreeSet<u32> = tests.iter().map(group).collect();
        for going in self.calls.values() {
            let split = going.batch.iter().flat_map(|batch| batch.iter()).find(|test| groups.contains(&group(test)));
            holds!(split.is_none(), "the group of test {split:?} is split over two workers");
        }
        self.check_place(worker, tests)?;
        self.check_whole(&groups, tests)?;
        let is_again = tests.iter().any(|test| self.tests.tests[*test as usize].was_out);
        let first = self.calls.values().any(|going| going.batch.is_some() && !going.is_again);
        let is_early = is_again && self.given.is_fixed(round) && (first || self.tests.has_new());
        holds!(!is_early, "{tests:?} go out again before the other batches have ended");
        for number in tests.iter() {
            let test = &mut self.tests.tests[*number as usize];
            holds!(test.worker.is_none(), "test {number} is handed out twice at once");
            let is_retry = test.verdict == Some(Verdict::Failed) && test.failed <= self.tests.retries;
            holds!(test.verdict.is_none() || is_retry, "test {number} is handed out and is {:?}", test.verdict);
            (test.worker, test.was_out) = (Some(worker), true);
        }
        let going = self.calls.get_mut(&Call::Worker(worker)).expect("it was just started");
        (going.batch, going.is_again) = (Some(Arc::clone(tests)), is_again);
        Ok(())
    }

    /// Nothing of these groups stays behind.
    fn check_whole(&self, groups: &BTreeSet<u32>, batch: &[TestNumber]) -> Held {
        let waits = |test: &Test| test.worker.is_none() && test.verdict.is_none();
        let others = (0..).zip(&self.tests.tests).filter(|(number, test)| waits(test) && !batch.contains(number));
        let mut others = others.filter(|(number, _)| groups.contains(&self.given.suite.group(*number)));
        let other = others.next().map(|(number, _)| number);
        holds!(other.is_none(), "the group of test {other:?} is divided");
        Ok(())
    }

    /// What came to grief goes elsewhere, if there is another place.
    fn check_place(&self, worker: WorkerId, tests: &[TestNumber]) -> Held {
        let place = self.calls.get(&Call::Worker(worker)).and_then(|going| going.place);
        let is_avoided = place.is_some() && tests.iter().all(|test| self.tests.tests[*test as usize].avoid == place);
        let others = self.living().filter(|other| Some(*other) != place).count();
        holds!(!is_avoided || others == 0, "{tests:?} go where they were lost, and there are {others} other places");
        Ok(())
    }

    pub(super) fn worker_ended(&mut self, worker: WorkerId, ending: &Ending, account: &Account) -> Held {
        let Some(going) = self.leaves(Call::Worker(worker), ending)? else { return Ok(()) };
        if let Some(place) = going.place {
            self.left(place, ending, account, going.is_told());
        }
        for number in going.batch.iter().flat_map(|batch| batch.iter()) {
            let test = &mut self.tests.tests[*number as usize];
            holds!(test.worker.take() == Some(worker), "{worker:?} has test {number} of another");
            let is_missing = account.missing.iter().any(|(missing, _)| missing == number);
            if account.failed.contains(number) {
                test.failed += 1;
                (test.verdict, test.avoid) = (Some(Verdict::Failed), going.place);
            } else if !is_missing {
                test.verdict = Some(Verdict::Passed);
            }
        }
        let in_progress = account.missing.iter().any(|(_, begun)| begun.is_some());
        let is_bad = !account.missing.is_empty() && !self.was_stopping && (!ending.is_success() || in_progress);
        let is_clean = ending.is_success() && !in_progress;
        let is_whole = account.missing.is_empty() && !self.was_stopping;
        // With all results and status 0, what was ended is only what it left behind.
        if !ending.is_success() && (!is_whole || ending.returncode() != 0) {
            let failed = is_whole.then(|| account.failed.clone());
            self.tests.bad_ends.insert(worker, BadEnd { at: (going.place, ending.returncode()), failed });
        }
        if is_bad {
            self.blame(going.place, ending, account);
        }
        self.tests.left = Some(Left {
            worker,
            place: going.place,
            ending: ending.clone(),
            account: account.clone(),
            is_bad,
            is_clean,
        });
        Ok(())
    }

    /// Who is to blame, or may be, for the end of a runner.
    fn blame(&mut self, place: Option<usize>, ending: &Ending, account: &Account) {
        let groups: BTreeSet<u32> = account.missing.iter().map(|(test, _)| self.given.suite.group(*test)).collect();
        let nothing_begun = account.missing.iter().all(|(_, begun)| begun.is_none());
        let has_progress = account.missing.len() < account.handed_out;
        let is_alone = nothing_begun && !has_progress && groups.len() == 1;
        let limit = self.given.rules.settings.test_timeout.filter(|_| is_for_test(ending));
        let oldest = account.missing.iter().filter_map(|(_, begun)| *begun).min();
        for (number, begun) in &account.missing {
            let test = &mut self.tests.tests[*number as usize];
            let is_late = limit.is_none_or(|limit| begun.is_some_and(|begun| begun + limit <= self.now));
            test.suspected += u32::from((begun.is_some() && (is_late || *begun == oldest)) || is_alone);
            let is_charged = (begun.is_some() && is_late) || is_alone;
            test.charged += u32::from(is_charged);
            // Of several groups with nothing begun, it may be any.
            test.avoid = place.filter(|_| is_charged || (nothing_begun && !has_progress));
            test.was_in_progress |= begun.is_some();
        }
    }

    pub(super) fn settle(&mut self, worker: WorkerId, fates: &[(TestNumber, Fate)]) -> Held {
        let Some(left) = self.tests.left.take() else { return Err(format!("{worker:?} has not ended")) };
        holds!(left.worker == worker, "{worker:?} has not ended");
        let told: BTreeSet<TestNumber> = fates.iter().map(|(test, _)| *test).collect();
        let missing: BTreeSet<TestNumber> = left.account.missing.iter().map(|(test, _)| *test).collect();
        holds!(told == missing && fates.len() == missing.len(), "the fates are not of {missing:?}");
        let mut is_convicted = false;
        for (number, fate) in fates {
            let begun = left.account.missing.iter().any(|(missing, begun)| missing == number && begun.is_some());
            self.check_fate(*number, *fate, &left, begun).map_err(|why| format!("test {number}: {why}"))?;
            is_convicted |= matches!(fate, Fate::Failed | Fate::Fails(Loss::Crashed | Loss::TimedOut));
            if let (Fate::Fails(_), Some(place)) = (fate, left.place) {
                self.fails_on(place);
            }
        }
        if let (true, Some(place)) = (is_convicted, left.place) {
            self.exonerate(place);
        }
        self.count_fruitless(&left, fates)?;
        self.look_for_stop();
        Ok(())
    }

    /// A run in which nothing comes of anything ends.
    fn count_fruitless(&mut self, left: &Left, fates: &[(TestNumber, Fate)]) -> Held {
        let has_progress = left.account.missing.len() < left.account.handed_out;
        let is_concluded = fates.iter().any(|(_, fate)| matches!(fate, Fate::Failed | Fate::Fails(_) | Fate::NotRun));
        if has_progress || is_concluded || left.is_clean {
            self.tests.fruitless = 0;
        } else if left.is_bad {
            self.tests.fruitless += 1;
        }
        let count = self.tests.fruitless;
        self.tests.most_fruitless = self.tests.most_fruitless.max(count);
        let most = 3 * self.places.len().max(self.given.rules.concurrency);
        holds!(count <= most, "{count} workers in a row gave nothing");
        Ok(())
    }

    fn check_fate(&mut self, number: TestNumber, fate: Fate, left: &Left, begun: bool) -> Held {
        let settings = &self.given.rules.settings;
        let is_fixed = self.given.is_fixed(self.tests.round.expect("there is a run"));
        let is_stopped = self.tests.stopped.is_some();
        let test = &mut self.tests.tests[number as usize];
        let is_unknown = matches!(fate, Fate::Unknown);
        holds!(is_unknown == self.was_stopping, "{fate:?}, and regatta stopped it: {}", self.was_stopping);
        let was_skipped = test.was_skipped;
        test.was_skipped |= left.is_clean;
        if left.is_clean {
            test.avoid = left.place;
        }
        match fate {
            Fate::Unknown => return Ok(()),
            Fate::Failed => {
                let is_spent = test.suspected >= settings.lost_limit || (left.is_clean && (is_fixed || was_skipped));
                holds!(test.verdict == Some(Verdict::Failed), "it has no failure that could stand");
                test.failure_stands = true;
                holds!(is_spent || is_stopped, "{fate:?}, but it has cost {} runners", test.suspected);
            }
            Fate::Again if left.is_clean => {
                holds!(!is_fixed && !was_skipped, "it is left out twice, and goes out again");
            }
            Fate::Again => holds!(test.charged < settings.lost_limit, "it has cost {} runners", test.charged),
            Fate::NotRun | Fate::Fails(Loss::NotRun) => {
                let is_wanted = (settings.not_run == NotRun::Fail) == (fate != Fate::NotRun);
                holds!(left.is_clean && is_wanted, "{fate:?} after {}", left.ending);
                holds!(is_fixed || was_skipped || is_stopped, "it was left out but once");
            }
            Fate::Fails(loss) => {
                holds!(left.is_bad, "{fate:?} after {}", left.ending);
                let is_spent = test.suspected >= settings.lost_limit;
                holds!(is_spent || is_stopped, "{fate:?}, but it has cost {} runners", test.suspected);
                let is_loss = match loss {
                    Loss::Crashed => begun && !is_for_test(&left.ending),
                    Loss::TimedOut => begun && is_for_test(&left.ending),
                    Loss::Lost => true,
                    Loss::NotRun => false,
                };
                holds!(is_loss, "{fate:?}, and it was in progress: {begun}");
                self.tests.owes_returncode |= !left.ending.is_success();
            }
        }
        holds!(fate != Fate::Again || !is_stopped, "it goes out again though the run was stopped");
        match fate {
            Fate::Fails(loss) => test.verdict = Some(Verdict::Lost(loss)),
            // A test that failed before has failed.
            Fate::NotRun => test.verdict = test.verdict.or(Some(Verdict::NotRun)),
            Fate::Again | Fate::Unknown | Fate::Failed => {}
        }
        Ok(())
    }

    pub(super) fn give_up(&mut self, tests: &[(TestNumber, WorkerId)]) -> Held {
        for (number, worker) in tests {
            let test = &mut self.tests.tests[*number as usize];
            let waits = test.worker.is_none() && test.verdict.is_none() && test.was_out;
            holds!(waits, "test {number} is given up and does not wait");
            test.verdict = Some(Verdict::Lost(Loss::Lost));
            self.tests.owes_returncode |= self.tests.bad_ends.contains_key(worker) && tests.len() == 1;
        }
        if self.tests.stopped.is_none() {
            self.tests.stop(false);
        }
        Ok(())
    }

    pub(super) fn returncode(&mut self, worker: WorkerId) -> Held {
        holds!(self.tests.bad_ends.contains_key(&worker), "{worker:?} did not end badly");
        holds!(self.tests.returncodes.insert(worker), "{worker:?} fails twice");
        Ok(())
    }

    /// Every worker that ended is settled in the same step.
    pub(super) fn check_tests(&self) -> Held {
        let left = self.tests.left.as_ref();
        holds!(left.is_none(), "{left:?} is not settled");
        Ok(())
    }

    /// The run is over.
    pub(super) fn ran(&mut self, stop: Option<&Stop>) -> Held {
        let tests = &self.tests;
        let (signals, stopped) = (self.signals > 0, tests.stopped.as_ref());
        let max_fail = self.given.rules.settings.max_fail;
        let has_waiting = |count: usize| stopped.is_some_and(|stopped| stopped.waiting == count);
        let serial = usize::from(tests.round == Some(Round::Serial) && tests.workers == 0);
        let unrun = tests.tests.iter().filter(|test| !test.was_out).count() + serial;
        let is_right = match stop {
            None => !signals && stopped.is_none(),
            Some(Stop::Signal) => signals,
            Some(Stop::Failures(count)) => !signals && max_fail.is_some() && has_waiting(count - serial),
            Some(Stop::Duration(count)) => {
                !signals && tests.run_until.is_some_and(|until| until <= self.now) && has_waiting(count - serial)
            }
            Some(Stop::Fruitless(batches, count)) => {
                !signals && *count == unrun && *batches >= 3 && *batches <= tests.most_fruitless
            }
            Some(Stop::NoInstances(_, count)) => {
                self.no_instance()?;
                !signals && *count == unrun
            }
        };
        holds!(is_right, "the run is not over as {stop:?}: {stopped:?}, {unrun} were not run");
        self.check_returncodes()?;
        for (number, test) in tests.tests.iter().enumerate() {
            holds!(test.worker.is_none(), "test {number} is still out");
            match stop {
                None => holds!(test.verdict.is_some(), "test {number} has no verdict"),
                Some(Stop::Fruitless(..) | Stop::NoInstances(..)) => {
                    holds!(test.verdict.is_some() || !test.was_out, "test {number} has no verdict");
                }
                Some(Stop::Signal | Stop::Failures(_) | Stop::Duration(_)) => {}
            }
            let is_failed = test.verdict == Some(Verdict::Failed) && stop.is_none();
            let was_retried = test.failed > tests.retries || test.was_skipped || test.failure_stands;
            holds!(!is_failed || was_retried, "test {number} failed and was not run again");
            holds!(test.failed <= tests.retries + 1, "test {number} failed {} times", test.failed);
            let is_crashed = test.verdict == Some(Verdict::Lost(Loss::Crashed));
            holds!(!is_crashed || test.was_in_progress, "test {number} was never in progress when its runner died");
        }
        if self.given.habits.is_honest && stop.is_none() {
            self.check_truth()?;
        }
        Ok(())
    }

    /// testr's failure `process-returncode` is told of the workers that it is owed to, and of no others.
    fn check_returncodes(&self) -> Held {
        let tests = &self.tests;
        let is_fixed = self.given.is_fixed(tests.round.expect("there is a run"));
        let is_flaky = |test: &TestNumber| tests.tests[*test as usize].verdict == Some(Verdict::Passed);
        let mut for_losses = 0;
        for (worker, end) in &tests.bad_ends {
            let is_told = tests.returncodes.contains(worker);
            let Some(failed) = &end.failed else {
                for_losses += usize::from(is_told);
                continue;
            };
            // It may have said no more than that tests failed, which passed then.
            let is_owed = tests.retries == 0 || failed.is_empty() || !failed.iter().all(is_flaky);
            let same = tests.bad_ends.iter().filter(|(_, other)| other.at == end.at && other.failed.is_some());
            let told = same.filter(|(worker, _)| tests.returncodes.contains(worker)).count();
            holds!(is_owed || !is_told, "{worker:?} fails for tests that passed");
            let is_right = !is_owed || if is_fixed { is_told } else { told == 1 };
            holds!(is_right, "{worker:?} ended badly, and {told} of its like have failed for it");
        }
        holds!(for_losses <= 1, "{for_losses} workers fail for lost tests");
        holds!(for_losses == 1 || !tests.owes_returncode, "tests were lost, and no worker has failed for it");
        Ok(())
    }

    /// Instances are good and runners honest: the verdicts are what the tests are like.
    fn check_truth(&self) -> Held {
        let given = self.given;
        let is_silent = |nature| matches!(nature, Nature::KillsSilently | Nature::KillsAtStart | Nature::HangsSilently);
        let silent: BTreeSet<u32> = given
            .suite
            .tests()
            .filter(|test| is_silent(given.nature(*test)))
            .map(|test| given.suite.group(test))
            .collect();
        for (number, test) in (0..).zip(&self.tests.tests) {
            let Some(verdict) = test.verdict else { return Err(format!("test {number} has no verdict")) };
            let nature = given.nature(number);
            // Who of its group it was that said nothing cannot be told.
            if silent.contains(&given.suite.group(number)) && !is_silent(nature) {
                continue;
            }
            let is_true = match nature {
                Nature::Passes => verdict == Verdict::Passed,
                Nature::Fails => verdict == Verdict::Failed,
                Nature::Flaky(_) if given.is_listed_twice(number) => true,
                Nature::Flaky(times) if times <= self.tests.retries => verdict == Verdict::Passed,
                Nature::Flaky(_) => verdict == Verdict::Failed,
                Nature::Skipped => matches!(verdict, Verdict::NotRun | Verdict::Lost(Loss::NotRun)),
                Nature::Kills => verdict == Verdict::Lost(Loss::Crashed),
                Nature::KillsSilently | Nature::KillsAtStart | Nature::HangsSilently => {
                    matches!(verdict, Verdict::Lost(_))
                }
                Nature::Hangs => matches!(verdict, Verdict::Lost(Loss::Crashed | Loss::TimedOut)),
            };
            holds!(is_true, "test {number} is {nature:?}, and its verdict is {verdict:?}");
        }
        Ok(())
    }
}
