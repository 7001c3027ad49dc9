//! INT, TERM and HUP in every phase of a run: what is stored, what is given back, and what the process dies of.

#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]

mod support;

use std::time::Instant;

use regatta::event::Status;
use regatta::run::GRACE;
use support::streams::packet;
use support::{Fifo, Sandbox};

const SIGNALS: [(&str, i32); 3] = [("INT", 2), ("TERM", 15), ("HUP", 1)];

/// Says on `ready` that it is there, and waits for `gate`.
const WAIT: &str = "echo here >\"$BOX/ready\"\nread x <\"$BOX/gate\"\n";

/// Passes on whatever ends a session: says so on `ready` and stays.
const STUBBORN: &str = "trap 'echo signalled >\"$BOX/ready\"' TERM\necho here >\"$BOX/ready\"\n\
                        while [ -e \"$BOX/gate\" ]; do read x <\"$BOX/gate\"; done\n";

/// A sandbox with the two FIFOs that [`WAIT`] and [`STUBBORN`] use.
fn with_fifos() -> (Sandbox, Fifo, Fifo) {
    let mut sandbox = Sandbox::new();
    // No shell stands between that could end before the callout.
    sandbox.set("instance_execute", "exec execute $INSTANCE_ID $FILES -- $COMMAND");
    let [ready, gate] = ["ready", "gate"].map(|name| Fifo::new(&sandbox, name));
    (sandbox, ready, gate)
}

fn next_run(sandbox: &Sandbox) -> String {
    sandbox.read("project/.testrepository/next-stream")
}

#[test]
fn a_signal_while_instances_are_made() {
    for (name, number) in SIGNALS {
        let (sandbox, ready, _gate) = with_fifos();
        sandbox.on("provision", &format!("echo i7; echo i8; {WAIT}"));
        let run = sandbox.run("run --parallel").spawn();
        ready.wait();
        run.signal(name);
        run.dies_of(number).says(&["regatta: interrupted\n"]);
        sandbox.logged(&["concurrency", "provision 2", "dispose i7 i8"]);
        assert_eq!(next_run(&sandbox), "0\n");
    }
}

#[test]
fn a_signal_while_tests_are_listed() {
    for (name, number) in SIGNALS {
        let (sandbox, ready, _gate) = with_fifos();
        sandbox.on("suite", WAIT);
        let run = sandbox.run("run --parallel").spawn();
        ready.wait();
        run.signal(name);
        run.dies_of(number).says(&["regatta: interrupted\n"]);
        sandbox.logged(&["concurrency", "provision 2", "execute i1 [] -- suite --list", "dispose i1 i2"]);
        assert_eq!(next_run(&sandbox), "0\n");
    }
}

#[test]
fn a_signal_while_tests_run_stores_what_came_as_a_part() {
    for (name, number) in SIGNALS {
        let (sandbox, ready, _gate) = with_fifos();
        for id in ["a", "b", "c", "d"] {
            sandbox.test(id, if id == "d" { "" } else { "exit 1\n" });
        }
        sandbox.run("run").exits(1);
        assert_eq!(sandbox.failing(), ["a", "b", "c"]);
        sandbox.test("a", "");
        // It failed before, is begun and ended by regatta, and keeps its place; `c` does not come to it, nor does `d`.
        sandbox.test("b", WAIT);
        let run = sandbox.run("run").spawn();
        ready.wait();
        run.signal(name);
        let outcome = run.dies_of(number);
        outcome.says(&["regatta: interrupted\n"]).prints(&[
            "Ran 1 (-3) tests",
            "INTERRUPTED (id=1)\n",
            "running=dispose i2\n",
        ]);
        assert!(!outcome.stderr().contains("gave no result"), "{outcome}");
        assert_eq!(sandbox.failing(), ["b", "c"]);
        assert_eq!(sandbox.log()[3..], ["provision 1", "execute i2 [] -- suite", "dispose i2"]);
    }
}

#[test]
fn a_signal_ends_all_workers_and_starts_no_other() {
    let (sandbox, ready, _gate) = with_fifos();
    sandbox.test("a", WAIT);
    sandbox.test("b", WAIT);
    sandbox.test("c", WAIT);
    let run = sandbox.run("run --parallel --schedule static").spawn();
    ready.wait();
    ready.wait();
    run.signal("TERM");
    run.dies_of(15).prints(&["INTERRUPTED (id=0)\n"]);
    sandbox.logged_at_once(&[
        "concurrency",
        "provision 2",
        "execute i1 [] -- suite --list",
        "execute i1 [a,c] -- suite --load-list IDS",
        "execute i2 [b] -- suite --load-list IDS",
        "dispose i1 i2",
    ]);
    assert!(sandbox.failing().is_empty());
}

#[test]
fn a_signal_ends_the_rounds_that_would_follow() {
    for (option, rest) in [
        ("--isolated", &["execute i1 [] -- suite --list", "execute i1 [a] -- suite --load-list IDS"][..]),
        ("--until-failure", &["execute i1 [] -- suite"]),
    ] {
        let (sandbox, ready, _gate) = with_fifos();
        sandbox.test("a", WAIT);
        sandbox.test("b", "exit 1\n");
        let run = sandbox.run("run").args([option]).spawn();
        ready.wait();
        run.signal("INT");
        run.dies_of(2);
        sandbox.logged(&[&["provision 1"][..], rest, &["dispose i1"]].concat());
        assert_eq!(next_run(&sandbox), "1\n");
    }
}

#[test]
fn a_test_that_failed_before_the_signal_has_failed() {
    let (sandbox, ready, _gate) = with_fifos();
    sandbox.test("a", "echo too bad; exit 1\n");
    sandbox.test("b", WAIT);
    let run = sandbox.run("run --subunit").spawn();
    ready.wait();
    run.signal("INT");
    run.dies_of(2);
    assert_eq!(sandbox.failing(), ["a"]);
    sandbox.run("last").exits(1).prints(&["FAIL: a\n", "too bad"]);
}

#[test]
fn without_callouts_the_test_command_is_ended() {
    let (mut sandbox, ready, _gate) = with_fifos();
    for key in ["instance_provision", "instance_execute", "instance_dispose"] {
        sandbox.unset(key);
    }
    sandbox.test("a", WAIT);
    let run = sandbox.run("run").spawn();
    ready.wait();
    run.signal("TERM");
    run.dies_of(15);
}

#[test]
fn list_tests_gives_its_instance_back() {
    let (sandbox, ready, _gate) = with_fifos();
    sandbox.on("suite", WAIT);
    let run = sandbox.run("list-tests").spawn();
    ready.wait();
    run.signal("TERM");
    run.dies_of(15).says(&["regatta: interrupted\n"]);
    sandbox.logged(&["provision 1", "execute i1 [] -- suite --list", "dispose i1"]);
}

#[test]
fn what_a_runner_says_after_the_signal_still_counts() {
    let (sandbox, ready, _gate) = with_fifos();
    sandbox.write("begun", packet("a", Status::InProgress));
    sandbox.write("done", packet("a", Status::Fail));
    sandbox.on(
        "execute",
        &format!(
            "trap 'cat \"$BOX/done\"; exit 0' TERM\ncat \"$BOX/begun\"\n{}",
            WAIT.replace("read x", "while [ -e \"$BOX/gate\" ]; do read x") + "done\n"
        ),
    );
    let run = sandbox.run("run").spawn();
    ready.wait();
    run.signal("TERM");
    run.dies_of(15).prints(&["FAIL: a\n"]);
    assert_eq!(sandbox.failing(), ["a"]);
}

#[test]
fn a_runner_that_does_not_end_is_killed_after_the_grace() {
    let (sandbox, ready, _gate) = with_fifos();
    sandbox.on("execute", STUBBORN);
    let run = sandbox.run("run").spawn();
    assert_eq!(ready.wait(), "here");
    run.signal("TERM");
    assert_eq!(ready.wait(), "signalled");
    run.dies_of(15);
    sandbox.logged(&["provision 1", "execute i1 [] -- suite", "dispose i1"]);
}

#[test]
fn the_second_signal_kills_at_once() {
    // A machine that is busy elsewhere can make any one try take longer than the grace.
    let tries = (0..5).map(|_| {
        let (sandbox, ready, _gate) = with_fifos();
        sandbox.on("execute", STUBBORN);
        let run = sandbox.run("run").spawn();
        assert_eq!(ready.wait(), "here");
        let first = Instant::now();
        run.signal("INT");
        assert_eq!(ready.wait(), "signalled");
        run.signal("TERM");
        run.dies_of(2).prints(&["INTERRUPTED (id=0)\n"]);
        sandbox.logged(&["provision 1", "execute i1 [] -- suite", "dispose i1"]);
        first.elapsed()
    });
    assert!(tries.into_iter().any(|took| took < GRACE), "it waited for the grace each time");
}

#[test]
fn the_third_signal_gives_up_and_says_what_is_left() {
    let (sandbox, ready, mut gate) = with_fifos();
    sandbox.on("execute", STUBBORN);
    sandbox.on("dispose", &format!("trap '' TERM\n{WAIT}"));
    sandbox.on("provision", "echo i10 'i;2'; exit\n");
    let run = sandbox.run("run").leaves_processes().spawn();
    assert_eq!(ready.wait(), "here");
    run.signal("INT");
    assert_eq!(ready.wait(), "signalled");
    run.signal("INT");
    // The disposal has begun, so the second signal was seen.
    assert_eq!(ready.wait(), "here");
    run.signal("INT");
    let outcome = run.dies_of(2);
    outcome.says(&[
        "regatta: interrupted\n",
        "gave up; these instances are left behind: i10 i;2\n",
        "hint: dispose of them with: dispose i10 'i;2'\n",
    ]);
    gate.open();
    assert_eq!(next_run(&sandbox), "1\n");
}

#[test]
fn a_signal_during_the_disposal_lets_it_finish() {
    let (sandbox, ready, mut gate) = with_fifos();
    sandbox.test("a", "exit 1\n");
    sandbox.on("dispose", &format!("{WAIT}echo gone >>\"$BOX/log\"\n"));
    let run = sandbox.run("run").spawn();
    ready.wait();
    run.signal("TERM");
    gate.open();
    run.dies_of(15);
    sandbox.logged(&["provision 1", "execute i1 [] -- suite", "dispose i1", "gone"]);
    assert_eq!(sandbox.failing(), ["a"]);
}

#[test]
fn a_disposal_that_fails_after_a_signal_is_told() {
    let (sandbox, ready, _gate) = with_fifos();
    sandbox.test("a", WAIT);
    sandbox.on("dispose", "exit 6\n");
    let run = sandbox.run("run").spawn();
    ready.wait();
    run.signal("TERM");
    run.dies_of(15).says(&["regatta: interrupted\n", "instance_dispose failed", "exit status 6\n  line: dispose i1\n"]);
}

#[test]
fn a_signal_while_logs_are_collected_lets_that_finish_and_a_second_one_does_not() {
    // Two of a kind may become one on the way.
    for signals in [&["INT"][..], &["INT", "TERM"]] {
        let (mut sandbox, ready, mut gate) = with_fifos();
        sandbox.script("bin/fetch", &format!("{WAIT}echo fetched >>\"$BOX/log\"\n"));
        sandbox.set("instance_collect", "exec fetch $INSTANCE_ID $DEST");
        let run = sandbox.run("run").spawn();
        ready.wait();
        signals.iter().for_each(|signal| run.signal(signal));
        let is_only = signals.len() == 1;
        if is_only {
            gate.open();
        }
        // Which of two comes first is chance.
        run.finish().says(&["regatta: interrupted\n"]);
        let fetched: &[&str] = if is_only { &["fetched"] } else { &[] };
        sandbox.logged(&[&["provision 1", "execute i1 [] -- suite"][..], fetched, &["dispose i1"]].concat());
        assert_eq!(next_run(&sandbox), "1\n");
    }
}
