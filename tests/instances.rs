//! `regatta instances`: what there is, a look into it, and giving it back.

#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]

mod support;

use regatta::run::journal::Journal;
use support::Sandbox;
use support::journals::{journal, names};

/// `live` is in use as long as the journal is held; `kept` is kept, for long; `left` could not be given back.
fn project() -> (Sandbox, Journal) {
    let sandbox = Sandbox::new();
    let mut old = journal(&sandbox, "r1", &["kept", "left"]);
    old.kept(&["kept".to_owned()], "2100-01-01T00:00:00Z".parse().unwrap()).unwrap();
    old.left_behind(&["left".to_owned()]).unwrap();
    old.close().unwrap();
    sandbox.on("dispose", "case $* in *left*) exit 1;; esac\n");
    let live = journal(&sandbox, "r2", &["live"]);
    (sandbox, live)
}

#[test]
fn the_list_has_all_with_their_states() {
    let (sandbox, _live) = project();
    let table = sandbox.run("instances list").exits(0).stdout();
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["Instance", "State", "Run", "Host", "Since", "Until"]);
    let row = |n: usize| rows[n][..3].to_vec();
    assert_eq!([row(2), row(3), row(4)], [["kept", "kept", "r1"], ["left", "orphan", "r1"], ["live", "live", "r2"]]);
    assert_eq!(rows[2][6..], ["2100-01-01", "00:00:00"]);
    assert_eq!((rows[3].len(), rows.len()), (6, 5));
    assert_eq!(sandbox.run("instances").exits(0).stdout(), table);

    let json = sandbox.run("instances list --json").exits(0).stdout();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let states: Vec<_> =
        json.as_array().unwrap().iter().map(|row| (&row["id"], &row["state"], &row["until"])).collect();
    assert_eq!(states[0], (&"kept".into(), &"kept".into(), &"2100-01-01T00:00:00Z".into()));
    assert_eq!(states[2], (&"live".into(), &"live".into(), &serde_json::Value::Null));
}

#[test]
fn without_instances_the_list_is_empty() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.run("instances list").exits(0).stdout(), "");
    assert_eq!(sandbox.run("instances list --json").exits(0).stdout(), "[]\n");
    Sandbox::bare().run("instances").exits(3);
}

#[test]
fn a_shell_has_the_terminal_and_the_exit_status() {
    let (sandbox, _live) = project();
    for id in ["live", "kept", "left"] {
        let outcome = sandbox.run(&format!("instances shell {id}")).stdin(b"typed\n").exits(7);
        let run = if id == "live" { "r2" } else { "r1" };
        assert_eq!(outcome.stdout(), format!("shell on {id} of {run}\ntyped\n"));
        assert_eq!(outcome.stderr(), "");
    }
    sandbox
        .run("instances shell other")
        .exits(3)
        .says(&["there is no instance \"other\"\n  hint: `regatta instances list`"]);
    sandbox.logged(&[]);
}

#[test]
fn a_command_arrives_as_it_was_typed() {
    let (sandbox, _live) = project();
    let words =
        ["instances", "exec", "kept", "--", "sh", "-c", "cat; echo \"$0 $REGATTA_INSTANCE_ID\"; exit 5", "a  b"];
    let outcome = sandbox.run("").args(words).stdin(b"in\n").exits(5);
    assert_eq!(outcome.stdout(), "in\na  b kept\n");
    sandbox.run("instances exec kept").exits(2);
}

#[test]
fn logs_are_fetched_to_where_was_typed() {
    let (sandbox, _live) = project();
    sandbox.run("instances collect live out/here").exits(0);
    assert_eq!(sandbox.read("project/out/here/log"), "logs of live\n");
}

#[test]
fn what_a_run_had_no_callout_for_is_said() {
    let sandbox = Sandbox::new();
    let about =
        regatta::run::journal::About { templates: Default::default(), ..support::journals::about(&sandbox, "r1") };
    let mut live = Journal::create(&sandbox.path("project/.testrepository/regatta/journal"), &about).unwrap();
    live.instance("i1", 0).unwrap();
    let outcome = sandbox.run("instances shell i1").exits(3);
    outcome.says(&["the run of i1 had no instance_shell\n  hint: set instance_shell in .testr.conf\n"]);
}

#[test]
fn those_in_use_are_not_given_back() {
    let (sandbox, live) = project();
    sandbox.run("instances dispose kept live").exits(3).says(&["live is in use by the run r2\n  hint: "]);
    sandbox.run("instances dispose nobody").exits(3).says(&["there is no instance \"nobody\""]);
    sandbox.run("instances dispose").exits(2);
    sandbox.logged(&[]);
    sandbox.run("instances dispose kept").exits(0).says(&[": disposed of kept\n"]);
    sandbox.logged(&["dispose kept"]);
    sandbox.run("instances dispose --all").exits(3);
    sandbox.on("dispose", "");
    sandbox.run("instances dispose --all").exits(0).says(&[": disposed of left\n"]);
    assert_eq!(names(&sandbox), ["r2.jsonl", "r2.lease"]);
    drop(live);
    sandbox.run("instances dispose live").exits(0).says(&["the run r2 of 20", ": disposed of live\n"]);
    assert!(names(&sandbox).is_empty());
}

#[test]
fn kept_ones_go_when_their_time_is_over() {
    let sandbox = Sandbox::new();
    let mut old = journal(&sandbox, "r1", &["short", "long"]);
    old.kept(&["short".to_owned()], "2001-01-01T00:00:00Z".parse().unwrap()).unwrap();
    old.kept(&["long".to_owned()], "2100-01-01T00:00:00Z".parse().unwrap()).unwrap();
    old.close().unwrap();
    assert_eq!(sandbox.run("instances gc").exits(0).stderr().matches("cut short").count(), 0);
    sandbox.logged(&["dispose short"]);
    sandbox.run("instances list").exits(0).prints(&["long      kept"]);
}
