//! The table of the module's page, line by line, then random histories against a small world of callouts.

use proptest::prelude::*;

use super::*;
use crate::event::How;
use crate::test_id::TestId;

const GRACE: Duration = Duration::from_secs(3);

fn machine(concurrency: usize) -> Supervisor {
    Supervisor::new(Rules { concurrency, provisions: true, disposes: true, grace: GRACE })
}

fn ending(status: i32) -> Ending {
    Ending::of(How::Exited(status))
}

fn batch(id: &str) -> Batch {
    Batch { tests: Some([TestId::from(id)].into()) }
}

fn on(supervisor: &mut Supervisor, input: Input) -> Vec<Action> {
    supervisor.on(input, Duration::ZERO)
}

/// Provision answers with these ids and this status.
fn answer(supervisor: &mut Supervisor, ids: &[&str], status: i32) -> Vec<Action> {
    for id in ids {
        assert!(on(supervisor, Input::Printed((*id).to_owned())).is_empty());
    }
    on(supervisor, Input::Ended(Call::Provision, ending(status)))
}

fn instance(id: &str, index: usize) -> Option<Instance> {
    Some(Instance { id: id.to_owned(), index })
}

fn listed(concurrency: usize, ids: &[&str]) -> Supervisor {
    let mut s = machine(concurrency);
    on(&mut s, Input::List);
    answer(&mut s, ids, 0);
    on(&mut s, Input::Ended(Call::Listing, ending(0)));
    s
}

#[test]
fn all_instances_are_there_before_the_listing_and_are_used_again() {
    let mut s = machine(2);
    assert_eq!(on(&mut s, Input::List), [Action::Provision(2)]);
    assert_eq!(answer(&mut s, &["a", "b"], 0), [Action::List(instance("a", 0))]);
    let done = on(&mut s, Input::Ended(Call::Listing, ending(0)));
    assert_eq!(done, [Action::Done(Outcome::Listed(ending(0)))]);
    let started = on(&mut s, Input::Run(vec![batch("x"), batch("y")]));
    let (w0, w1) = (WorkerId(0), WorkerId(1));
    let expected =
        [Action::Execute(w0, instance("a", 0), batch("x")), Action::Execute(w1, instance("b", 1), batch("y"))];
    assert_eq!(started, expected);
    assert_eq!(on(&mut s, Input::Ended(Call::Worker(w1), ending(1))), []);
    assert_eq!(on(&mut s, Input::Ended(Call::Worker(w0), ending(0))), [Action::Done(Outcome::Ran)]);
    assert_eq!(on(&mut s, Input::Close), [Action::Dispose(vec!["a".into(), "b".into()])]);
    let done = on(&mut s, Input::Ended(Call::Dispose, ending(0)));
    assert_eq!(done, [Action::Done(Outcome::Closed(Some(ending(0))))]);
}

#[test]
fn worker_numbers_begin_at_0_in_each_run() {
    let mut s = listed(1, &["a"]);
    for _ in 0..3 {
        let started = on(&mut s, Input::Run(vec![batch("x")]));
        assert_eq!(started, [Action::Execute(WorkerId(0), instance("a", 0), batch("x"))]);
        assert_eq!(on(&mut s, Input::Ended(Call::Worker(WorkerId(0)), ending(0))), [Action::Done(Outcome::Ran)]);
    }
}

#[test]
fn batches_beyond_the_instances_wait_for_one_to_get_free() {
    let mut s = listed(2, &["a", "b"]);
    let batches = ["x", "y", "z"].map(batch);
    assert_eq!(on(&mut s, Input::Run(batches.into())).len(), 2);
    let next = on(&mut s, Input::Ended(Call::Worker(WorkerId(1)), ending(0)));
    assert_eq!(next, [Action::Execute(WorkerId(2), instance("b", 1), batch("z"))]);
}

#[test]
fn provision_is_asked_again_for_the_rest_while_new_ids_come() {
    let mut s = machine(3);
    on(&mut s, Input::List);
    assert_eq!(answer(&mut s, &["a", "a"], 0), [Action::Provision(2)]);
    assert_eq!(answer(&mut s, &["a", "b"], 0), [Action::Provision(1)]);
    let done = answer(&mut s, &["b"], 0);
    assert_eq!(done, [Action::Done(Outcome::ProvisionedNothing { asked: 1, have: 2 })]);
    assert_eq!(on(&mut s, Input::Close), [Action::Dispose(vec!["a".into(), "b".into()])]);
}

#[test]
fn more_instances_than_asked_for_are_kept_and_disposed_of_as_text() {
    let mut s = machine(1);
    on(&mut s, Input::List);
    assert_eq!(answer(&mut s, &["n2", "n10"], 0), [Action::List(instance("n2", 0))]);
    on(&mut s, Input::Ended(Call::Listing, ending(0)));
    assert_eq!(on(&mut s, Input::Close), [Action::Dispose(vec!["n10".into(), "n2".into()])]);
}

#[test]
fn ids_printed_by_a_provision_that_then_fails_are_disposed_of() {
    let mut s = machine(2);
    on(&mut s, Input::List);
    assert_eq!(answer(&mut s, &["a"], 9), [Action::Done(Outcome::ProvisionFailed(ending(9)))]);
    assert_eq!(on(&mut s, Input::Close), [Action::Dispose(vec!["a".into()])]);
}

#[test]
fn without_instances_there_is_no_disposal() {
    let mut s = machine(2);
    on(&mut s, Input::List);
    answer(&mut s, &[], 1);
    assert_eq!(on(&mut s, Input::Close), [Action::Done(Outcome::Closed(None))]);
}

#[test]
fn ids_known_beforehand_need_no_more_instances_than_batches() {
    let mut s = machine(8);
    assert_eq!(on(&mut s, Input::Run(vec![batch("x"), batch("y")])), [Action::Provision(2)]);
    assert_eq!(answer(&mut s, &["a", "b"], 0).len(), 2);
    let mut s = machine(8);
    assert_eq!(on(&mut s, Input::Run(vec![])), [Action::Done(Outcome::Ran)], "nothing to run needs nothing");
}

#[test]
fn without_provisioning_the_plain_command_runs() {
    let mut s = Supervisor::new(Rules { concurrency: 2, provisions: false, disposes: true, grace: GRACE });
    assert_eq!(on(&mut s, Input::List), [Action::List(None)]);
    on(&mut s, Input::Ended(Call::Listing, ending(0)));
    assert_eq!(on(&mut s, Input::Run(["x", "y"].map(batch).into())).len(), 2);
    for n in 0..2 {
        on(&mut s, Input::Ended(Call::Worker(WorkerId(n)), ending(0)));
    }
    assert_eq!(on(&mut s, Input::Close), [Action::Done(Outcome::Closed(None))]);
}

#[test]
fn the_first_signal_ends_what_runs_and_still_disposes() {
    let mut s = listed(1, &["a"]);
    on(&mut s, Input::Run(["x", "y"].map(batch).into()));
    let worker = Call::Worker(WorkerId(0));
    assert_eq!(on(&mut s, Input::Signal), [Action::End(worker, Force::Term), Action::WakeAt(GRACE)]);
    assert_eq!(s.on(Input::Tick, GRACE / 2), []);
    assert_eq!(s.on(Input::Tick, GRACE), [Action::End(worker, Force::Kill)]);
    assert_eq!(s.on(Input::Tick, GRACE * 2), [], "killed once");
    assert_eq!(on(&mut s, Input::Ended(worker, ending(1))), [Action::Done(Outcome::Ran)], "y never starts");
    assert!(s.is_stopped());
    assert_eq!(on(&mut s, Input::Close), [Action::Dispose(vec!["a".into()])]);
    assert_eq!(on(&mut s, Input::Signal), [], "disposal goes on");
    let done = on(&mut s, Input::Ended(Call::Dispose, ending(0)));
    assert_eq!(done, [Action::Done(Outcome::Closed(Some(ending(0))))]);
}

#[test]
fn the_second_signal_kills_and_the_third_gives_up() {
    let mut s = listed(1, &["a"]);
    on(&mut s, Input::Run(vec![batch("x")]));
    on(&mut s, Input::Signal);
    assert_eq!(on(&mut s, Input::Signal), [Action::End(Call::Worker(WorkerId(0)), Force::Kill)]);
    assert_eq!(on(&mut s, Input::Signal), [Action::Done(Outcome::Abandoned(vec!["a".into()]))]);
}

#[test]
fn a_signal_during_provisioning_takes_what_was_printed() {
    let mut s = machine(2);
    on(&mut s, Input::List);
    on(&mut s, Input::Printed("a".into()));
    assert_eq!(on(&mut s, Input::Signal), [Action::End(Call::Provision, Force::Term), Action::WakeAt(GRACE)]);
    on(&mut s, Input::Printed("b".into()));
    let done = on(&mut s, Input::Ended(Call::Provision, ending(143)));
    assert_eq!(done, [Action::Done(Outcome::Interrupted)]);
    assert_eq!(on(&mut s, Input::Close), [Action::Dispose(vec!["a".into(), "b".into()])]);
}

/// One step of a random history: what the world does next.
#[derive(Clone, Debug)]
enum Step {
    /// The nth callout that runs ends with this status.
    End(usize, i32),
    /// Provision, if it runs, prints the id with this number.
    Print(u8),
    Signal,
    Tick,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (any::<usize>(), prop_oneof![4 => Just(0), 1 => Just(1)]).prop_map(|(n, status)| Step::End(n, status)),
        6 => (0u8..6).prop_map(Step::Print),
        1 => Just(Step::Signal),
        1 => Just(Step::Tick),
    ];
    proptest::collection::vec(step, 0..60)
}

/// The callouts that run, and what was ever provisioned and disposed of; checks each action.
#[derive(Default)]
struct World {
    running: Vec<(Call, Option<String>)>,
    printed: std::collections::BTreeSet<String>,
    disposed: Vec<String>,
    executed: usize,
    signals: usize,
    done: Option<Outcome>,
}

impl World {
    fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Provision(count) => self.start(Call::Provision, None, count > 0),
                Action::List(instance) => self.start(Call::Listing, instance, true),
                Action::Execute(worker, instance, _) => {
                    self.executed += 1;
                    self.start(Call::Worker(worker), instance, true);
                }
                Action::Dispose(ids) => {
                    assert!(self.running.is_empty(), "disposed of while something runs");
                    assert!(self.disposed.is_empty(), "disposed of twice");
                    self.disposed = ids;
                    self.running.push((Call::Dispose, None));
                }
                Action::End(call, _) => assert!(self.running.iter().any(|(c, _)| *c == call)),
                Action::WakeAt(_) => {}
                Action::Done(outcome) => assert!(self.done.replace(outcome).is_none(), "done twice"),
            }
        }
    }

    fn start(&mut self, call: Call, instance: Option<Instance>, sane: bool) {
        assert!(sane && self.signals == 0, "{call:?} started after a signal");
        let id = instance.map(|i| i.id);
        if let Some(id) = &id {
            assert!(self.printed.contains(id) && self.running.iter().all(|(_, used)| used.as_ref() != Some(id)));
        } else {
            assert_eq!(call, Call::Provision, "no instance");
        }
        self.running.push((call, id));
    }

    /// Feed steps until the goal is over, then end whatever still runs.
    fn drive(&mut self, s: &mut Supervisor, goal: Input, history: &mut impl Iterator<Item = Step>) -> Outcome {
        self.perform(s.on(goal, Duration::ZERO));
        while self.done.is_none() {
            let step = history.next().unwrap_or(Step::End(0, 0));
            let actions = match step {
                Step::End(n, status) if !self.running.is_empty() => {
                    let (call, _) = self.running.remove(n % self.running.len());
                    s.on(Input::Ended(call, ending(status)), Duration::ZERO)
                }
                Step::Print(n) if self.running.iter().any(|(c, _)| *c == Call::Provision) => {
                    self.printed.insert(format!("i{n}"));
                    s.on(Input::Printed(format!("i{n}")), Duration::ZERO)
                }
                // Two at most: the third gives up, and has a test of its own.
                Step::Signal if self.signals < 2 => {
                    self.signals += 1;
                    s.on(Input::Signal, Duration::ZERO)
                }
                Step::Tick => s.on(Input::Tick, GRACE * 9),
                _ => vec![],
            };
            self.perform(actions);
        }
        self.done.take().expect("the loop ends with it")
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_happens_each_instance_is_disposed_of_once(
        history in steps(), concurrency in 1usize..5, batches in 0usize..7, rounds in 1usize..3, lists: bool,
    ) {
        let mut s = machine(concurrency);
        let mut world = World::default();
        let mut history = history.into_iter();
        let mut going = !lists || matches!(world.drive(&mut s, Input::List, &mut history), Outcome::Listed(_));
        for _ in 0..rounds {
            if going {
                world.executed = 0;
                let work = (0..batches).map(|n| batch(&n.to_string())).collect();
                let outcome = world.drive(&mut s, Input::Run(work), &mut history);
                going = outcome == Outcome::Ran && !s.is_stopped();
                prop_assert!(!going || world.executed == batches, "a batch was not run");
            }
        }
        world.drive(&mut s, Input::Close, &mut history);
        let printed: Vec<String> = world.printed.into_iter().collect();
        prop_assert_eq!(world.disposed, printed);
    }
}
