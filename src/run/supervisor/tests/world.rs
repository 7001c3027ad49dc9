//! Random histories: a world that answers the machine as callouts, users and clocks may, and the rules that hold whatever
//! happens ([`watch`]).
//!
//! A history is what it is [`given`] and a tape of numbers, from which the world draws what happens next. A tape that is
//! used up gives zeros, and zero is always the most harmless thing: everything goes on and ends well. So a history with
//! a shorter tape and smaller numbers is a simpler one, and proptest finds the simplest that breaks a rule.
//!
//! `REGATTA_TEST_STEPS` says how many steps to try in all (default 200000), `REGATTA_TEST_SEED` where to begin.

use proptest::collection::vec;
use proptest::prelude::{Strategy, any};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use super::super::*;

mod given;
mod outside;
mod runner;
mod watch;

use given::{Given, NUMBERS, Round, seconds};
use outside::Outside;
use watch::Watch;

/// Numbers, one after the other.
#[derive(Debug)]
struct Tape<'t> {
    numbers: &'t [u32],
}

impl<'t> Tape<'t> {
    fn new(numbers: &'t [u32]) -> Self {
        Self { numbers }
    }

    /// A number below this one.
    fn below(&mut self, end: usize) -> usize {
        let number = self.numbers.split_off_first().copied().unwrap_or(0);
        usize::try_from((u64::from(number) * end as u64) >> 32).expect("it is below a usize")
    }

    /// True so often in a hundred times.
    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) >= 100 - percent
    }

    /// One of these; the first is the most harmless.
    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }
}

/// After so many ticks of the clock somebody ends what hangs, where there is no limit.
const PATIENCE: u32 = 20;

/// A history under way.
struct World<'g> {
    given: &'g Given,
    tape: Tape<'g>,
    machine: Supervisor,
    outside: Outside,
    watch: Watch<'g>,
    now: Duration,
    /// When the machine wants to be woken.
    wake: Option<Duration>,
    steps: u64,
    most_steps: u64,
    signals: u64,
    /// How often nothing but the clock has moved on, in a row.
    idle: u32,
    /// What happened, for people; only where somebody will read it.
    story: Option<Vec<String>>,
}

impl<'g> World<'g> {
    fn new(given: &'g Given, tape: &'g [u32], is_told: bool) -> Self {
        Self {
            given,
            most_steps: given.most_steps(tape.len()),
            tape: Tape::new(tape),
            machine: Supervisor::new(given.rules.clone()),
            outside: Outside::default(),
            watch: Watch::new(given),
            now: Duration::ZERO,
            wake: None,
            steps: 0,
            signals: 0,
            idle: 0,
            story: is_told.then(Vec::new),
        }
    }

    /// All goals of a session, one after the other.
    fn play(&mut self) -> Result<(), String> {
        if self.given.adopted > 0 {
            let ids = self.outside.kept(self.given.adopted);
            self.feed(Input::Adopted(ids), None)?;
        }
        if !self.given.lists || matches!(self.reach(Input::List, None)?, Outcome::Listed(how) if how.is_success()) {
            for (n, round) in (1..).zip(&self.given.rounds) {
                self.outside.finished.clear();
                let work = self.given.work(*round, n == self.given.rounds.len());
                if self.reach(Input::Run(work), Some(*round))? != Outcome::Ran(None) {
                    break;
                }
            }
        }
        self.reach(Input::Close, None).map(drop)
    }

    /// Pursue a goal until it is over.
    fn reach(&mut self, goal: Input, round: Option<Round>) -> Result<Outcome, String> {
        if self.tape.chance(self.given.habits.waits) {
            self.now += seconds(self.tape.below(6) as u64);
        }
        if let Some(signal) = self.signal()
            && let Some(outcome) = self.feed(signal, None)?
        {
            return Ok(outcome);
        }
        let mut input = Some(goal);
        loop {
            if let Some(input) = input
                && let Some(outcome) = self.feed(input, round)?
            {
                return Ok(outcome);
            }
            input = self.next()?;
        }
    }

    fn signal(&mut self) -> Option<Input> {
        let is_due = self.given.habits.signals.get(self.signals as usize).is_some_and(|at| *at <= self.steps);
        is_due.then(|| {
            self.signals += 1;
            Input::Signal
        })
    }

    /// What happens next, if the machine hears of it.
    fn next(&mut self) -> Result<Option<Input>, String> {
        if let Some(signal) = self.signal() {
            return Ok(Some(signal));
        }
        if self.wake.is_some_and(|wake| wake <= self.now) {
            self.wake = None;
            return Ok(Some(Input::Tick));
        }
        let able = self.outside.able();
        if self.idle > PATIENCE && self.outside.unhang() {
            self.idle = 0;
            return Ok(None);
        }
        let waits = self.tape.chance(self.given.habits.waits);
        if !able.is_empty() && !waits {
            let call = able[self.tape.below(able.len())];
            return Ok(self.outside.act(call, self.given, &self.machine, self.now, &mut self.tape));
        }
        match self.wake {
            // A while, and not up to the moment.
            Some(wake) if !able.is_empty() && self.tape.chance(50) => self.now += (wake - self.now) / 3,
            // No sleep ends to the moment.
            Some(wake) => self.now = wake + Duration::from_millis(self.tape.below(20) as u64),
            None if !able.is_empty() => self.now += seconds(self.tape.below(4) as u64),
            None if self.outside.unhang() => {}
            None => return Err("nothing more will ever happen".to_owned()),
        }
        Ok(None)
    }

    /// One step of the machine. Gives the outcome, if the goal is over.
    fn feed(&mut self, input: Input, round: Option<Round>) -> Result<Option<Outcome>, String> {
        self.steps += 1;
        if self.steps > self.most_steps {
            return Err(format!("it has not ended after {} steps", self.steps));
        }
        if let Some(story) = &mut self.story {
            story.push(format!("{:>7.3} s  {input:?}", self.now.as_secs_f64()));
        }
        match input {
            Input::Tick => self.idle += 1,
            Input::Ended(Call::Upkeep(Upkeep::Renew, _), _) => {}
            _ => self.idle = 0,
        }
        self.watch.told(&input, round, self.now)?;
        let mut outcome = None;
        for action in self.machine.on(input, self.now) {
            if let Some(story) = &mut self.story {
                story.push(format!("               -> {action:?}"));
            }
            self.watch.says(&action)?;
            self.outside.perform(&action, self.given, &mut self.tape);
            match action {
                Action::WakeAt(at) => self.wake = at,
                Action::Done(done) => outcome = Some(done),
                _ => {}
            }
        }
        self.watch.step_ends(self.wake)?;
        Ok(outcome)
    }
}

/// The numbers that a history is made of: settings and habits, tests, and what happens.
type Numbers = (Vec<u32>, Vec<(u32, u32)>, Vec<u32>);

fn numbers() -> impl Strategy<Value = Numbers> {
    (vec(any::<u32>(), NUMBERS), vec(any::<(u32, u32)>(), 0..40), vec(any::<u32>(), 0..1500))
}

/// Play the history of a seed, and if it breaks a rule, tell the simplest that does. Gives the number of steps.
fn history(seed: u64) -> u64 {
    let config = Config { cases: 1, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let steps = std::cell::Cell::new(0);
    let played = runner.run(&numbers(), |(numbers, tests, tape): Numbers| {
        let given = Given::new(&numbers, &tests);
        let mut world = World::new(&given, &tape, false);
        let held = world.play();
        steps.set(world.steps);
        held.map_err(TestCaseError::fail)
    });
    if let Err(TestError::Fail(_, (numbers, tests, tape))) = played {
        let given = Given::new(&numbers, &tests);
        let mut world = World::new(&given, &tape, true);
        let play = std::panic::AssertUnwindSafe(|| world.play());
        let why = std::panic::catch_unwind(play).unwrap_or_else(|_| Err("the machine panics".to_owned()));
        let story = world.story.unwrap_or_default().join("\n");
        panic!(
            "{given:#?}\n{story}\n{}\nREGATTA_TEST_SEED={seed} cargo test --lib supervisor::tests::world",
            why.expect_err("it did before")
        );
    }
    steps.get()
}

fn number_from_env(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

#[test]
#[expect(clippy::print_stdout, reason = "whoever runs it for long wants to know how long that was")]
fn the_rules_hold_in_every_history() {
    let first = number_from_env("REGATTA_TEST_SEED", 1);
    let wanted = number_from_env("REGATTA_TEST_STEPS", 200_000);
    let (mut seed, mut steps) = (first, 0);
    while steps < wanted {
        steps += history(seed);
        seed += 1;
    }
    println!("{steps} steps, seeds {first} to {}", seed - 1);
}
