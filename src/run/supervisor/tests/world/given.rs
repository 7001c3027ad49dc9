//! What a history is given: the tests and what each is like, the rules, the rounds, and how the outside behaves.
//!
//! All of it is made of numbers, and zero is the plainest of each.

use std::sync::LazyLock;

use super::super::super::*;
use super::Tape;
use crate::config::{Keep, NotRun, Schedule};
use crate::schedule::partition;
use crate::test_id::{Groups, TestId};

/// How many numbers settings and habits are made of.
pub(super) const NUMBERS: usize = 64;

/// A letter in upper case is a group.
static GROUPS: LazyLock<Option<Groups>> = LazyLock::new(|| Groups::new("^[A-Z]").unwrap());

/// What a history is given.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) rules: Rules,
    pub(super) suite: Arc<Suite>,
    /// What each test is like.
    natures: Vec<Nature>,
    /// The first test of the same id, for each test.
    keys: Vec<TestNumber>,
    /// How many instances an earlier run kept.
    pub(super) adopted: usize,
    pub(super) lists: bool,
    pub(super) rounds: Vec<Round>,
    pub(super) habits: Habits,
}

/// How the tests of a round are handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Round {
    Dynamic,
    Static,
    /// The runner decides what there is.
    Serial,
}

/// What a test is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nature {
    Passes,
    Fails,
    /// Fails so often, and passes then.
    Flaky(u32),
    /// Its runner never speaks of it, as of those of a class that is skipped.
    Skipped,
    /// Its runner dies in it.
    Kills,
    /// Its runner dies before it says that it begins.
    KillsSilently,
    /// A runner that is handed it dies before it says anything.
    KillsAtStart,
    /// Its runner never comes back from it.
    Hangs,
    /// The same, and it does not say that it begins.
    HangsSilently,
}

/// How the outside behaves. Chances are in a hundred.
#[derive(Debug)]
pub(super) struct Habits {
    /// Instances are good and runners honest: each does what its tests are like, and nothing else goes wrong.
    pub(super) is_honest: bool,
    /// Runners say which test is in progress.
    pub(super) announces: bool,
    /// Runners exit 1 when a test failed.
    pub(super) tells_failure: bool,
    /// Runners do something odd, at each step.
    pub(super) odd: usize,
    /// Instances break, at each step of a runner.
    pub(super) breaks: usize,
    /// Other callouts fail.
    pub(super) fails: usize,
    /// Other callouts hang.
    pub(super) hangs: usize,
    /// What is told to end does not care.
    pub(super) ignores: usize,
    /// Provision prints something else than what it was asked for.
    pub(super) misprints: usize,
    /// Time passes though something could happen.
    pub(super) waits: usize,
    /// Signals come after so many steps.
    pub(super) signals: Vec<u64>,
}

impl Given {
    /// `numbers` are the settings and habits, `tests` two numbers for each test.
    pub(super) fn new(numbers: &[u32], tests: &[(u32, u32)]) -> Self {
        let mut draw = Tape::new(numbers);
        let habits = Habits::new(&mut draw);
        let concurrency = draw.pick(&[1, 2, 2, 3, 4, 7]);
        let mut settings = settings(&mut draw);
        if habits.is_honest {
            (settings.max_fail, settings.max_duration) = (None, None);
        }
        let provisions = draw.pick(&[true, true, true, true, false]);
        let rules = Rules {
            concurrency,
            provisions,
            disposes: provisions && !draw.chance(10),
            offers: offers(&mut draw),
            renew_every: seconds(draw.pick(&[20, 6, 3])),
            settings,
        };
        let rounds = draw.pick(&[1, 1, 1, 2, 3]);
        let kinds = [Round::Dynamic, Round::Dynamic, Round::Dynamic, Round::Static, Round::Static, Round::Serial];
        let rounds = (0..rounds).map(|_| draw.pick(&kinds)).collect();
        let adopted = if provisions { draw.pick(&[0, 0, 0, 1, 3]) } else { 0 };
        let lists = draw.pick(&[true, true, false]);

        let mut known: BTreeMap<TestId, (TestNumber, Nature)> = BTreeMap::new();
        let (mut ids, mut natures, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        for (number, (name, nature)) in (0..).zip(tests) {
            let id = TestId::from(&*name_of(*name));
            // An id that is listed twice is the same test twice.
            let (key, nature) =
                *known.entry(id.clone()).or_insert((number, nature_of(*nature, &rules.settings, &habits)));
            natures.push(nature);
            keys.push(key);
            ids.push(id);
        }
        let suite = Suite::new(ids, GROUPS.as_ref()).unwrap();
        Self { rules, suite: Arc::new(suite), natures, keys, adopted, lists, rounds, habits }
    }

    pub(super) fn work(&self, round: Round, is_last: bool) -> Work {
        let suite = &self.suite;
        let tests = match round {
            Round::Serial => return Work::new(None, is_last),
            _ if self.is_fixed(round) && self.rules.concurrency == 1 => Queue::fixed(vec![suite.tests().collect()]),
            Round::Dynamic => Queue::by_group(suite.grouped(suite.tests())),
            Round::Static => Queue::fixed(partition(suite, self.rules.concurrency, &Default::default())),
        };
        Work::new(Some((Arc::clone(suite), tests)), is_last)
    }

    /// Whether its batches are decided before.
    pub(super) fn is_fixed(&self, round: Round) -> bool {
        round != Round::Dynamic || self.rules.concurrency == 1
    }

    pub(super) fn nature(&self, test: TestNumber) -> Nature {
        self.natures[test as usize]
    }

    /// One number for all tests of an id.
    pub(super) fn key(&self, test: TestNumber) -> TestNumber {
        self.keys[test as usize]
    }

    pub(super) fn is_listed_twice(&self, test: TestNumber) -> bool {
        self.keys.iter().filter(|key| **key == self.key(test)).count() > 1
    }

    /// More steps than a history of so many drawn numbers can need.
    pub(super) fn most_steps(&self, drawn: usize) -> u64 {
        let settings = &self.rules.settings;
        let attempts = settings.lost_limit as usize + settings.retries as usize + 3;
        let instances =
            self.rules.concurrency + settings.replace_limit.unwrap_or(self.rules.concurrency) + self.adopted;
        let tests = self.suite.len() + 3 * instances;
        (200 + 10 * tests * attempts * self.rounds.len() + 40 * instances + 4 * drawn) as u64
    }
}

impl Habits {
    fn new(draw: &mut Tape<'_>) -> Self {
        let is_honest = draw.pick(&[true, false, false]);
        let announces = draw.pick(&[true, true, true, false]);
        let tells_failure = draw.pick(&[false, true]);
        let chances = [
            draw.pick(&[0, 0, 5, 20, 60]),
            draw.pick(&[0, 0, 1, 4]),
            draw.pick(&[0, 0, 10, 40]),
            draw.pick(&[0, 0, 10, 30]),
            draw.pick(&[0, 0, 50, 100]),
            draw.pick(&[0, 0, 20, 60]),
            draw.pick(&[0, 0, 5, 25]),
        ];
        let signals = draw.pick(&[0, 0, 0, 1, 1, 2, 3, 3]);
        let (mut at, mut times) = (0, Vec::new());
        for _ in 0..3 {
            at += draw.below(draw_range(times.len())) as u64;
            times.push(at);
        }
        times.truncate(if is_honest { 0 } else { signals });
        let [odd, breaks, fails, hangs, ignores, misprints, waits] = if is_honest { [0; 7] } else { chances };
        let signals = times;
        Self { is_honest, announces, tells_failure, odd, breaks, fails, hangs, ignores, misprints, waits, signals }
    }
}

/// The first signal comes anywhere, the others soon after.
fn draw_range(before: usize) -> usize {
    if before == 0 { 70 } else { 12 }
}

fn settings(draw: &mut Tape<'_>) -> Settings {
    let maybe = |number: u64| (number > 0).then(|| seconds(number));
    Settings {
        schedule: Schedule::Dynamic,
        lost_limit: draw.pick(&[2, 2, 1, 3]),
        replace_limit: draw.pick(&[None, None, Some(0), Some(1), Some(4)]),
        retries: draw.pick(&[0, 0, 1, 2]),
        test_timeout: maybe(draw.pick(&[0, 0, 0, 3, 6])),
        no_output_timeout: maybe(draw.pick(&[0, 0, 0, 4, 7])),
        max_duration: maybe(draw.pick(&[0, 0, 0, 5, 20])),
        max_fail: draw.pick(&[None, None, None, Some(1), Some(3)]),
        not_run: draw.pick(&[NotRun::Warn, NotRun::Fail]),
        ids_streamed: draw.pick(&[false, false, true]),
        release_early: draw.pick(&[false, false, true]),
        ready_limit: seconds(draw.pick(&[9, 4, 1])),
        check_limit: seconds(draw.pick(&[5, 2])),
        kill_limit: seconds(draw.pick(&[4, 2])),
        collect_limit: seconds(draw.pick(&[7, 2])),
        provision_limit: maybe(draw.pick(&[0, 0, 8, 3])),
        dispose_limit: maybe(draw.pick(&[10, 5, 0])),
        grace: seconds(draw.pick(&[3, 1, 0])),
        keep: draw.pick(&[Keep::Never, Keep::Never, Keep::Always, Keep::Failed]),
        ..Settings::default()
    }
}

fn offers(draw: &mut Tape<'_>) -> BTreeSet<Upkeep> {
    let mut offers: BTreeSet<Upkeep> = Upkeep::ALL.into_iter().filter(|_| draw.chance(40)).collect();
    // Both are the same callout.
    if offers.contains(&Upkeep::Renew) {
        offers.insert(Upkeep::Keep);
    } else {
        offers.remove(&Upkeep::Keep);
    }
    offers
}

/// A group has up to ten tests.
fn name_of(number: u32) -> String {
    let mut draw = Tape::new(std::slice::from_ref(&number));
    let number = draw.below(200);
    if number < 120 {
        format!("t{number}")
    } else {
        format!("{}{}", ["A", "B", "C", "D"][number % 4], (number - 120) / 8)
    }
}

fn nature_of(number: u32, settings: &Settings, habits: &Habits) -> Nature {
    let mut draw = Tape::new(std::slice::from_ref(&number));
    let nature = match draw.below(100) {
        0..70 => Nature::Passes,
        70..80 => Nature::Fails,
        80..82 => Nature::Flaky(1),
        82..84 => Nature::Flaky(2),
        84..88 => Nature::Skipped,
        88..92 if habits.announces => Nature::Kills,
        88..94 => Nature::KillsSilently,
        94..95 => Nature::KillsAtStart,
        95..98 if habits.announces => Nature::Hangs,
        _ => Nature::HangsSilently,
    };
    let is_ended = match nature {
        Nature::Hangs => settings.test_timeout.is_some() || settings.no_output_timeout.is_some(),
        Nature::HangsSilently => settings.no_output_timeout.is_some(),
        _ => true,
    };
    // Where nobody looks at the clock, it takes somebody from outside to end it.
    if habits.is_honest && !is_ended { Nature::Passes } else { nature }
}

pub(super) fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}
