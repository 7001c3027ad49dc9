//! What a regatta that was killed left is found by the next one: results, callouts that still run, and instances.

#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]

mod support;

use std::fs;

use support::journals::{Session, edit, journal, names, said};
use support::{Fifo, Sandbox};

/// A project with a test, and what is there of a run that died: `i8` and `i10`, and the result of `a`.
fn after_a_death() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.test("a", "");
    drop(journal(&sandbox, "r1", &["i8", "i10"]));
    let v1 =
        "time: 2026-01-01 00:00:00.000000Z\ntest: a\ntime: 2026-01-01 00:00:01.000000Z\nfailure: a [ multipart\n]\n";
    sandbox.write("project/.testrepository/regatta/r1.v1", v1);
    sandbox
}

const RUN: [&str; 3] = ["provision 1", "execute i1 [] -- suite", "dispose i1"];

#[test]
fn a_run_sees_to_it_first() {
    let sandbox = after_a_death();
    let outcome = sandbox.run("run").exits(0);
    outcome.says(&[
        "regatta: the run r1 of 20",
        " was cut short: results recovered as run 0\n",
        ": disposed of i10 i8\n",
    ]);
    outcome.prints(&["PASSED (id=1)"]);
    sandbox.logged(&[&["dispose i10 i8"], &RUN[..]].concat());
    assert!(names(&sandbox).is_empty(), "{:?}", names(&sandbox));
    assert_eq!(sandbox.run("stats").exits(0).stderr(), "", "once");
}

#[test]
fn a_failing_test_of_a_run_that_died_is_run_again_by_failing() {
    let sandbox = after_a_death();
    sandbox.run("run --failing").exits(0).prints(&["Ran 1 test"]);
    assert_eq!(sandbox.log()[0], "dispose i10 i8");
}

#[test]
fn commands_that_only_show_recover_results_and_say_what_is_left() {
    let sandbox = after_a_death();
    for (n, command) in ["last", "failing", "stats", "slowest", "list-tests"].into_iter().enumerate() {
        let outcome = sandbox.run(command).any();
        assert_eq!(outcome.stderr().contains("results recovered as run 0"), n == 0, "{outcome}");
        outcome.says(&["i10 i8 are left behind by the run r1 of 20", "; `regatta instances gc` disposes of them\n"]);
    }
    assert_eq!(sandbox.failing(), ["a"]);
    assert!(!sandbox.log().contains(&"dispose i10 i8".to_owned()));
}

#[test]
fn a_load_sees_to_it_too() {
    let sandbox = after_a_death();
    sandbox.run("load").exits(0).says(&["results recovered as run 0", ": disposed of i10 i8\n"]);
    sandbox.logged(&["dispose i10 i8"]);
    assert!(names(&sandbox).is_empty());
}

#[test]
fn a_run_without_results_or_instances_leaves_no_trace() {
    let sandbox = Sandbox::new();
    drop(journal(&sandbox, "r1", &[]));
    sandbox.run("stats").exits(0).says(&[" was cut short: it left no results\n"]).prints(&["runs=0\n"]);
    assert!(names(&sandbox).is_empty());
}

#[test]
fn a_run_that_lives_is_left_alone() {
    let sandbox = Sandbox::new();
    sandbox.test("a", "");
    let mut session = Session::new("r1", "sleep 600");
    let mut live = journal(&sandbox, "r1", &["i8"]);
    live.callout_started(1, "instance_execute", session.pid, true).unwrap();
    for command in ["run", "load", "instances gc", "instances gc --force", "instances dispose --all"] {
        assert_eq!(sandbox.run(command).exits(0).stderr(), "", "{command}");
    }
    sandbox.logged(&RUN);
    assert!(session.is_running());
    assert_eq!(names(&sandbox), ["r1.jsonl", "r1.lease"]);
}

#[test]
fn a_callout_that_still_runs_is_ended_before_the_disposal() {
    let sandbox = Sandbox::new();
    let mut session = Session::new("r1", "trap exit TERM; sleep 600 & wait");
    // A shell that leads the session died; what it started goes on.
    let mut orphaned = Session::new("r1", "sleep 600 & exit");
    orphaned.lose_leader();
    let mut live = journal(&sandbox, "r1", &["i8"]);
    live.callout_started(1, "instance_execute", session.pid, true).unwrap();
    live.callout_started(2, "instance_execute", orphaned.pid, true).unwrap();
    drop(live);
    sandbox.run("instances gc").exits(0).says(&[": ended 2 callouts that still ran; disposed of i8\n"]);
    assert!(!session.is_running());
    assert!(members(orphaned.pid).is_empty());
}

/// The processes of a session.
fn members(session: u32) -> Vec<String> {
    let stats =
        fs::read_dir("/proc").unwrap().filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("stat")).ok());
    let is_member = |stat: &String| {
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[0] != "Z" && fields[3] == session.to_string()
    };
    stats.filter(is_member).collect()
}

#[test]
fn a_process_that_has_the_number_of_a_callout_by_chance_is_left_alone() {
    let sandbox = Sandbox::new();
    let mut session = Session::new("another-run", "sleep 600");
    let mut live = journal(&sandbox, "r1", &["i8"]);
    live.callout_started(1, "instance_execute", session.pid, true).unwrap();
    drop(live);
    edit(&sandbox, "r1", "\"start\":", "\"start\":1");
    sandbox.run("instances gc").exits(0);
    sandbox.logged(&["dispose i8"]);
    assert!(session.is_running());
}

#[test]
fn another_machines_are_reported_and_only_touched_by_force() {
    for (field, place) in [("host", ", on elsewhere;"), ("boot", ", from before this machine was started;")] {
        let sandbox = after_a_death();
        let here = said(&sandbox, "r1", field);
        edit(&sandbox, "r1", &here, &format!("\"{field}\":\"elsewhere\""));
        let says = [place, "`regatta instances gc --force` disposes of them\n"];
        sandbox.run("run").exits(0).says(&says);
        sandbox.run("instances gc").exits(3).says(&says).says(&["regatta: some instances are still there\n"]);
        sandbox.run("instances dispose i8").exits(3).says(&["--force disposes of it all the same"]);
        sandbox.logged(&RUN);
        // A restart does not touch results; another machine's run may go on.
        assert_eq!(sandbox.read("project/.testrepository/next-stream"), if field == "host" { "1\n" } else { "2\n" });
        sandbox.run("instances gc --force").exits(0).says(&[": disposed of i10 i8\n"]);
        assert_eq!(sandbox.read("project/.testrepository/next-stream"), "2\n");
        assert!(names(&sandbox).is_empty());
    }
}

#[test]
fn commands_that_begin_at_the_same_moment_see_to_it_once() {
    let sandbox = after_a_death();
    let commands: Vec<_> = (0..6).map(|_| sandbox.run("instances gc").spawn()).collect();
    let said: String = commands.into_iter().map(|command| command.exits(0).stderr()).collect();
    sandbox.logged(&["dispose i10 i8"]);
    assert_eq!(said.matches("results recovered").count(), 1, "{said}");
    assert_eq!(sandbox.read("project/.testrepository/next-stream"), "1\n");
}

#[test]
fn while_one_command_sees_to_it_another_goes_on() {
    let sandbox = after_a_death();
    let (begun, mut gate) = (Fifo::new(&sandbox, "begun"), Fifo::new(&sandbox, "gate"));
    sandbox.on("dispose", "case $* in *i8*) echo >\"$BOX/begun\"; read x <\"$BOX/gate\";; esac\n");
    let first = sandbox.run("load").spawn();
    begun.wait();
    assert_eq!(sandbox.run("run").exits(0).stderr(), "");
    gate.open();
    first.exits(0).says(&[": disposed of i10 i8\n"]);
    sandbox.logged(&[&["dispose i10 i8"], &RUN[..]].concat());
}

#[test]
fn a_regatta_that_is_killed_while_it_sees_to_it_is_followed_by_the_next() {
    let sandbox = after_a_death();
    let (begun, _gate) = (Fifo::new(&sandbox, "begun"), Fifo::new(&sandbox, "gate"));
    sandbox.on("dispose", "echo >\"$BOX/begun\"; read x <\"$BOX/gate\"\n");
    let first = sandbox.run("instances gc").leaves_processes().spawn();
    begun.wait();
    first.signal("KILL");
    first.dies_of(9);
    sandbox.on("dispose", "");
    // The disposal that still runs is ended, unless regatta died before it could note its number.
    sandbox.run("instances gc").exits(0).says(&["disposed of i10 i8\n"]);
    sandbox.logged(&["dispose i10 i8"; 2]);
    assert!(names(&sandbox).is_empty());
}

#[test]
fn a_signal_ends_it_and_the_next_goes_on() {
    let sandbox = after_a_death();
    let (begun, _gate) = (Fifo::new(&sandbox, "begun"), Fifo::new(&sandbox, "gate"));
    sandbox.on("dispose", "echo >\"$BOX/begun\"; read x <\"$BOX/gate\"\n");
    let first = sandbox.run("run").spawn();
    begun.wait();
    first.signal("INT");
    first.dies_of(2);
    sandbox.on("dispose", "");
    sandbox.run("run").exits(0).says(&[": disposed of i10 i8\n"]);
    sandbox.logged(&[&["dispose i10 i8"; 2], &RUN[..]].concat());
}

#[test]
fn what_cannot_be_given_back_is_said_tried_again_and_forgotten() {
    let sandbox = after_a_death();
    sandbox.on("dispose", "case $* in *i8*) echo the cloud is closed >&2; exit 6;; esac\n");
    let project = sandbox.path("project");
    let words = [
        "regatta: i10 i8 are still there, of the run r1 of 20",
        ": instance_dispose failed while disposing of what was left behind: exit status 6\n  line: dispose i10 i8\n",
        "  | the cloud is closed\n",
        &format!("\n  in: {}\n  hint: `regatta instances gc` tries again", project.display()),
    ];
    // It is no reason not to run tests.
    sandbox.run("run").exits(0).says(&words);
    sandbox.run("instances gc").exits(3).says(&words);
    sandbox.run("instances list").exits(0).prints(&["\ni8        orphan  r1  "]);
    sandbox.run("instances gc --forget").exits(0).says(&["regatta: i10 i8 are forgotten, and may still be there\n"]);
    assert_eq!(sandbox.run("instances").exits(0).stdout(), "");
    assert!(names(&sandbox).is_empty());
}

#[test]
fn ids_that_provision_printed_last_are_given_back() {
    use std::io::Write;
    let sandbox = Sandbox::new();
    let mut dead = journal(&sandbox, "r1", &[]);
    let (mut out, _) = dead.provision_output(0).unwrap();
    writeln!(out, "i5\ni6").unwrap();
    dead.instance("i5", 0).unwrap();
    drop(dead);
    sandbox.run("stats").exits(0).says(&["i5 i6 are left behind"]);
    sandbox.run("instances gc").exits(0);
    sandbox.logged(&["dispose i5 i6"]);
    assert!(names(&sandbox).is_empty());
}

#[test]
fn a_folder_that_is_not_ours_alone_is_not_used() {
    let sandbox = after_a_death();
    let folder = sandbox.path("project/.testrepository/regatta/journal");
    let elsewhere = sandbox.path("elsewhere");
    fs::rename(&folder, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &folder).unwrap();
    sandbox.run("stats").exits(0).says(&["/regatta/journal, which is no directory\n"]).prints(&["runs=0\n"]);
    sandbox.logged(&[]);
}
