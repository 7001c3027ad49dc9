//! Tests that are run more than once: what is shown, what is stored, and what is kept beside it.

#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]

mod support;

use std::fs;

use regatta::repository::Repository;
use support::streams::shown;
use support::{Fifo, Sandbox};

/// Fails when it is run for the first time.
const FLAKY: &str = "echo run >>\"$BOX/runs\"\n[ \"$(wc -l <\"$BOX/runs\")\" -gt 1 ]\n";

/// The lines of the last run's record, parsed, that tell of this.
fn record(sandbox: &Sandbox, run: u64, of: &str) -> Vec<serde_json::Value> {
    let text = sandbox.read(&format!("project/.testrepository/regatta/{run}.jsonl"));
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines.filter(|line| line["record"] == of).collect()
}

fn verdicts(sandbox: &Sandbox, run: u64, of: &str) -> Vec<String> {
    let word = |line: &serde_json::Value, field: &str| line[field].as_str().unwrap_or("-").to_owned();
    let lines = record(sandbox, run, of);
    lines.iter().map(|l| format!("{} {} {}", word(l, "id"), word(l, "verdict"), word(l, "instance"))).collect()
}

#[test]
fn a_flaky_test_passes_and_its_failure_is_kept() {
    let sandbox = Sandbox::new();
    sandbox.test("a", &format!("echo some output\n{FLAKY}"));
    sandbox.test("b", "");
    let outcome = sandbox.run("run --parallel --retries 1").exits(0);
    outcome.prints(&["Ran 2 tests", "PASSED (id=0)\n"]).says(&["regatta: flaky: a failed on i", " and passed on i"]);
    assert!(!outcome.stdout().contains("FAIL: a"), "{outcome}");
    assert!(sandbox.failing().is_empty());
    let attempts = fs::read(sandbox.path("project/.testrepository/regatta/0.attempts")).unwrap();
    let lines = shown(&attempts);
    assert!(lines.iter().any(|line| line.contains("stdout=\"some output\\n\"")), "{lines:#?}");
    assert!(lines.last().unwrap().starts_with("a fail "), "{lines:#?}");
    let mut tests = verdicts(&sandbox, 0, "test");
    tests.sort();
    assert!(tests[0].starts_with("a passed i") && tests[1].starts_with("b passed i"), "{tests:?}");
    assert_eq!(verdicts(&sandbox, 0, "attempt").len(), 1);
    assert_eq!(record(&sandbox, 0, "end")[0]["flaky"], 1);
}

#[test]
fn a_test_that_fails_each_time_has_failed_once() {
    let sandbox = Sandbox::new();
    sandbox.test("a", "echo boom; exit 3\n");
    let outcome = sandbox.run("run --parallel --retries 2").exits(1);
    outcome.prints(&["FAILED (id=0, failures=1)\n"]);
    assert_eq!(outcome.stdout().matches("FAIL: a\n").count(), 1, "{outcome}");
    assert_eq!(sandbox.failing(), ["a"]);
    assert_eq!((verdicts(&sandbox, 0, "attempt").len(), verdicts(&sandbox, 0, "test").len()), (3, 1));
}

#[test]
fn a_test_that_crashes_its_runner_says_so_and_where() {
    let sandbox = Sandbox::new();
    sandbox.test("a", "");
    sandbox.test("b", "kill -9 \"$PPID\"\n");
    let outcome = sandbox.run("run --parallel").exits(1);
    outcome.prints(&["FAIL: b\n", "reason: {{{\ncrashed: "]).says(&["regatta: crashed their runner (1): b\n"]);
    assert!(sandbox.failing().contains(&"b".to_owned()), "{outcome}");
    assert_eq!(verdicts(&sandbox, 0, "attempt").len(), 1, "the first attempt");
    let crashed = verdicts(&sandbox, 0, "test");
    assert!(crashed.iter().any(|line| line.starts_with("b crashed i")), "{crashed:?}");
    assert_eq!(record(&sandbox, 0, "end")[0]["crashed"], 1);
}

#[test]
fn the_record_has_callouts_instances_and_what_each_worker_was_handed() {
    let sandbox = Sandbox::new();
    sandbox.test("a", "");
    sandbox.run("run --parallel").exits(0);
    let keys: Vec<_> = record(&sandbox, 0, "callout").iter().map(|line| line["key"].to_string()).collect();
    assert_eq!(keys.first().unwrap(), "\"instance_provision\"");
    assert_eq!(keys.last().unwrap(), "\"instance_dispose\"");
    assert_eq!(record(&sandbox, 0, "callout_ended").len(), keys.len());
    let workers = record(&sandbox, 0, "worker");
    assert_eq!((workers.len(), workers[0]["tests"].to_string()), (1, "[\"a\"]".to_owned()));
    assert_eq!(record(&sandbox, 0, "end")[0]["verdict"], "passed");
    assert!(!record(&sandbox, 0, "instance").is_empty());
}

#[test]
fn a_record_that_somebody_took_away_stops_nothing() {
    let sandbox = Sandbox::new();
    sandbox.test("a", "rm -f \"$BOX\"/project/.testrepository/regatta/*.jsonl\n");
    sandbox.run("run").exits(0).prints(&["PASSED (id=0)\n"]);
    let repository = Repository::open(&sandbox.path("project")).unwrap();
    assert_eq!(repository.count().unwrap(), 1);
}

#[test]
fn what_came_before_regatta_was_killed_can_be_stored() {
    let sandbox = Sandbox::new();
    let mut gate = Fifo::new(&sandbox, "gate");
    sandbox.test("a", "");
    sandbox.test("b", "echo boom; exit 1\n");
    sandbox.test("c", "read x <\"$BOX/gate\"\n");
    let run = sandbox.run("run --subunit --retries 1 .").env("TMPDIR", sandbox.path("home")).leaves_processes();
    let mut run = run.spawn();
    // What is shown was written to the run's files before.
    run.stdout_until(|seen| shown(seen).iter().any(|line| line.starts_with("c inprogress ")));
    run.signal("KILL");
    run.dies_of(9);
    gate.open();

    let repository = Repository::open(&sandbox.path("project")).unwrap();
    let [left] = &repository.unfinished_runs().unwrap()[..] else { panic!("there is one run") };
    assert_eq!(repository.recover(left).unwrap(), Some(0));
    assert_eq!(sandbox.failing(), ["b"], "it would have been run again, and failed until then");
    sandbox.run("last").exits(1).prints(&["FAIL: b\n", "boom", "Ran 2 tests", "FAILED (id=0, failures=1)\n"]);
    assert_eq!(verdicts(&sandbox, 0, "test").len() + verdicts(&sandbox, 0, "attempt").len(), 2);
    assert!(repository.unfinished_runs().unwrap().is_empty());
}
