//! regatta killed in the middle of a run, at several places, and what the next command finds.

#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]

mod support;

use support::journals::names;
use support::streams::shown;
use support::{Fifo, Sandbox};

/// Two tests: `a` fails at once, `b` says that it has begun and goes on.
fn two_tests() -> (Sandbox, Fifo, Fifo) {
    let sandbox = Sandbox::new();
    sandbox.test("a", "exit 1");
    sandbox.test("b", "echo >\"$BOX/begun\"; read x <\"$BOX/gate\"");
    let (begun, gate) = (Fifo::new(&sandbox, "begun"), Fifo::new(&sandbox, "gate"));
    (sandbox, begun, gate)
}

#[test]
fn killed_while_tests_run() {
    let (sandbox, begun, _gate) = two_tests();
    let mut killed = sandbox.run("run --subunit").leaves_processes().spawn();
    begun.wait();
    // What is on stdout is in the repository.
    killed.stdout_until(|seen| shown(seen).iter().any(|line| line.starts_with("a fail ")));
    killed.signal("KILL");
    killed.dies_of(9);
    assert_eq!(names(&sandbox).len(), 2, "{:?}", names(&sandbox));
    sandbox.run("last").exits(1).says(&["was cut short: results recovered as run 0", "i1 is left behind"]);
    assert_eq!(sandbox.failing(), ["a"]);
    sandbox.test("b", "");
    sandbox.run("run").exits(1).says(&[": ended a callout that still ran; disposed of i1\n"]);
    let log = sandbox.log();
    assert_eq!(log[..3], ["provision 1", "execute i1 [] -- suite", "dispose i1"]);
    assert_eq!(log.last().unwrap(), "dispose i2");
    assert!(names(&sandbox).is_empty(), "{:?}", names(&sandbox));
}

#[test]
fn killed_while_instances_are_made() {
    let (sandbox, begun, mut gate) = two_tests();
    // It goes on when regatta is gone, and makes another one before it ends.
    sandbox.on(
        "provision",
        "case $1 in 3) echo i7; echo >\"$BOX/begun\"; read x <\"$BOX/gate\"; echo i8; echo >\"$BOX/begun\"; exit;; esac\n",
    );
    let killed = sandbox.run("run --parallel --concurrency 3").leaves_processes().spawn();
    begun.wait();
    killed.signal("KILL");
    killed.dies_of(9);
    gate.open();
    begun.wait();
    sandbox.run("instances gc").exits(0).says(&["it left no results", "disposed of i7 i8\n"]);
    sandbox.logged(&["provision 3", "dispose i7 i8"]);
    assert!(names(&sandbox).is_empty(), "{:?}", names(&sandbox));
}

#[test]
fn killed_while_instances_are_given_back() {
    let (sandbox, begun, mut gate) = two_tests();
    gate.open();
    sandbox.on("dispose", "echo >\"$BOX/begun\"; read x <\"$BOX/gate\"\n");
    let killed = sandbox.run("run").leaves_processes().spawn();
    begun.wait();
    begun.wait();
    killed.signal("KILL");
    killed.dies_of(9);
    sandbox.on("dispose", "");
    assert_eq!(sandbox.failing(), ["a"], "the run was stored");
    // The disposal that still runs is ended, unless regatta died before it could note its number.
    sandbox.run("instances gc").exits(0).says(&["disposed of i1\n"]);
    sandbox.logged(&["provision 1", "execute i1 [] -- suite", "dispose i1", "dispose i1"]);
    assert_eq!(sandbox.read("project/.testrepository/next-stream"), "1\n", "and not again");
}

#[test]
fn a_run_that_ends_well_leaves_nothing_in_the_journal() {
    let (sandbox, _begun, mut gate) = two_tests();
    gate.open();
    assert_eq!(sandbox.run("run").exits(1).stderr(), "");
    assert!(names(&sandbox).is_empty(), "{:?}", names(&sandbox));
    sandbox.on("dispose", "exit 1\n");
    gate.open();
    sandbox.run("run").exits(3);
    sandbox.run("instances list").exits(0).prints(&["i2        orphan"]);
    sandbox.on("dispose", "");
    sandbox.run("instances gc").exits(0).says(&["disposed of i2"]);
}
