//! Runners and instances that die, hang, or say nothing: every test gets one verdict, and it is the right one.

#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]

mod support;

use support::{Fifo, Sandbox};

/// Kills the runner.
const KILL: &str = "kill -9 $PPID\n";

/// Hangs until it is ended.
const HANG: &str = "exec sleep 600\n";

/// Does this the first time only.
fn once(what: &str, script: &str) -> String {
    format!("if mkdir \"$BOX/{what}\" 2>/dev/null; then\n{script}fi\n")
}

/// Tests `a` to `d`, each of which writes its name down.
fn four_tests() -> Sandbox {
    let sandbox = Sandbox::new();
    for id in ["a", "b", "c", "d"] {
        ran(&sandbox, id, "");
    }
    sandbox
}

/// A test that writes its name down, and does this.
fn ran(sandbox: &Sandbox, id: &str, script: &str) {
    sandbox.test(id, &format!("echo {id} >>\"$BOX/ran\"\n{script}"));
}

/// How often each test was begun.
fn begun(sandbox: &Sandbox) -> String {
    let mut names: Vec<String> = sandbox.read("ran").lines().map(str::to_owned).collect();
    names.sort();
    names.join("")
}

/// A callout that writes itself down and does this.
fn callout(sandbox: &mut Sandbox, verb: &str, script: &str) {
    // Not by its own name: `kill` is a word of the shell's.
    sandbox.script(&format!("bin/call-{verb}"), &format!("echo \"{verb} $*\" >>\"$BOX/log\"\n{script}"));
    sandbox.set(&format!("instance_{verb}"), &format!("call-{verb} $INSTANCE_ID"));
}

#[test]
fn a_test_that_kills_its_runner_is_found_and_the_others_run() {
    for schedule in ["static", "dynamic"] {
        let sandbox = four_tests();
        ran(&sandbox, "b", KILL);
        let run = sandbox.run("run --parallel --concurrency 1 .").args([format!("--schedule={schedule}")]);
        let outcome = run.exits(1);
        outcome.prints(&["FAIL: b\n", "crashed: it was in progress when its runner ended\nworker "]);
        outcome.prints(&["FAIL: process-returncode\n", "FAILED (id=0, failures=2"]);
        assert_eq!(begun(&sandbox), "abbcd", "{schedule}: only b runs twice");
        let mut failing = sandbox.failing();
        failing.sort();
        assert_eq!(failing, ["b", "process-returncode"]);
        // `last` shows the same.
        sandbox.run("last").exits(1).prints(&["FAIL: b\n", "crashed: it was in progress"]);
    }
}

#[test]
fn a_loss_that_is_made_good_fails_nothing_and_is_told() {
    let sandbox = four_tests();
    ran(&sandbox, "b", &format!("echo first words\n{}", once("killed", KILL)));
    let outcome = sandbox.run("run .").exits(0);
    outcome.prints(&["Ran 4 tests", "PASSED (id=0)\n"]);
    outcome.says(&["worker 0 on i1 gave no result for 3 of 4 tests: b, c, d (3 go out again)"]);
    assert_eq!(begun(&sandbox), "abbcd");
    assert!(sandbox.path("project/.testrepository/regatta/0.attempts").exists(), "what b said the first time is kept");
}

#[test]
fn both_attempts_are_one_test_to_a_reader_of_the_stream() {
    let sandbox = four_tests();
    ran(&sandbox, "b", &format!("echo words\n{}", once("killed", KILL)));
    let outcome = sandbox.run("run --subunit .").exits(0);
    let events = support::streams::events(outcome.bytes());
    let routes: std::collections::BTreeSet<_> =
        events.iter().filter(|e| e.id.as_deref() == Some("b")).map(|e| e.route.clone().unwrap()).collect();
    assert_eq!(routes.len(), 1, "{routes:?}");
    let names: Vec<String> = events
        .iter()
        .filter(|e| e.id.as_deref() == Some("b"))
        .filter_map(|e| e.file.as_ref().map(|file| file.name.to_string()))
        .collect();
    assert!(names.iter().any(|name| name.ends_with(" (attempt 2)")), "{names:?}");
    assert!(names.iter().any(|name| !name.contains("attempt")), "{names:?}");
}

#[test]
fn an_instance_without_a_word_is_replaced() {
    let sandbox = four_tests();
    sandbox.on("execute", "case $id$* in i1*--load-list*) exit 255;; esac\n");
    let outcome = sandbox.run("run --parallel").exits(0);
    outcome.prints(&["Ran 4 tests", "PASSED"]).says(&[
        "instance_execute failed",
        "exit status 255",
        "the instance may be gone",
    ]);
    assert_eq!(begun(&sandbox), "abcd");
    let log = sandbox.log();
    assert!(log.contains(&"dispose i1".to_owned()) && log.contains(&"provision 1".to_owned()), "{log:?}");
    assert_eq!(log.last().unwrap(), "dispose i2 i3");
}

#[test]
fn where_nothing_works_the_run_ends_and_nothing_is_left() {
    let sandbox = four_tests();
    sandbox.on("execute", "case $* in *--load-list*) exit 255;; esac\n");
    let outcome = sandbox.run("run --parallel").exits(1);
    outcome.prints(&[
        "FAIL: a\n",
        "FAIL: d\n",
        "FAIL: process-returncode\n",
        "lost: its runner ended before it began\n",
    ]);
    let disposed = sandbox
        .log()
        .iter()
        .filter(|line| line.starts_with("dispose"))
        .map(|l| l.split(' ').count() - 1)
        .sum::<usize>();
    let provisioned = sandbox.read("count").trim().parse::<usize>().unwrap();
    assert_eq!(disposed, provisioned);
}

#[test]
fn a_connection_that_is_lost_with_status_0_loses_nothing() {
    let sandbox = four_tests();
    // The first batch passes its first packets on, and then the connection is gone.
    let drop = "case $* in *--load-list*) \"$@\" | head -c 200; exit 0;; esac\n";
    sandbox.on("execute", &once("dropped", drop));
    let outcome = sandbox.run("run --parallel --concurrency 1 .").any();
    assert!(outcome.stdout().contains("subunit.parser") || outcome.stdout().contains("PASSED"), "{outcome}");
    let stored = sandbox.read("project/.testrepository/0");
    for id in ["a", "b", "c", "d"] {
        assert_eq!(stored.matches(&format!("\nsuccessful: {id}")).count(), 1, "{id} in {stored}");
    }
}

#[test]
fn tests_that_a_runner_leaves_out_get_another_chance() {
    let sandbox = four_tests();
    // It leaves c out each time, and b the first time.
    let leave = "case $* in *--load-list*) f=$(echo $files); grep -v c \"$f\" >\"$BOX/some\"; if mkdir \"$BOX/left\" 2>/dev/null; then grep -v b \"$BOX/some\" >\"$BOX/less\"; mv \"$BOX/less\" \"$BOX/some\"; fi; cp \"$BOX/some\" \"$f\";; esac\n";
    sandbox.on("execute", leave);
    for (option, status) in [("--not-run=warn", 0), ("--not-run=fail", 1)] {
        let run = sandbox.run("run --parallel --concurrency 1 .").args(["--schedule=dynamic", option]);
        let outcome = run.exits(status);
        outcome.says(&["1 not run"]);
        assert_eq!(outcome.stdout().contains("FAIL: c\n"), status == 1, "{outcome}");
        let _ = std::fs::remove_dir(sandbox.path("left"));
    }
    assert_eq!(begun(&sandbox), "aabbdd");
}

#[test]
fn a_test_that_takes_too_long_is_ended_and_its_mates_run() {
    let sandbox = four_tests();
    ran(&sandbox, "b", HANG);
    let outcome = sandbox.run("run . --test-timeout 0.3 --grace 5 --lost-limit 1").exits(1);
    outcome.prints(&["FAIL: b\n", "timed out: it took too long\n", "a test took longer than test_timeout, 0.3 s"]);
    outcome.prints(&["Ran 5 tests", "failures=2"]);
    assert_eq!(begun(&sandbox), "abcd");
}

#[test]
fn a_runner_that_says_nothing_is_ended() {
    let sandbox = four_tests();
    ran(&sandbox, "c", &once("hung", HANG));
    sandbox.run("run . --no-output-timeout 0.5").exits(0).says(&["it wrote nothing for no_output_timeout, 0.5 s"]);
    assert_eq!(begun(&sandbox), "abccd");
}

#[test]
fn a_runner_that_does_not_end_is_killed_after_the_grace() {
    let sandbox = four_tests();
    let mut sandbox = sandbox;
    sandbox.set("instance_execute", "exec execute $INSTANCE_ID $FILES -- $COMMAND");
    sandbox.on("execute", "case $* in *--load-list*) trap '' TERM; while :; do sleep 1; done;; esac\n");
    let outcome = sandbox.run("run . --no-output-timeout 0.2 --grace 0.2 --lost-limit 1").any();
    outcome.says(&["and was ended (killed by signal 9)"]);
}

#[test]
fn a_failed_test_that_passes_elsewhere_is_flaky() {
    let sandbox = four_tests();
    ran(&sandbox, "b", &once("failed", "echo too bad\nexit 1\n"));
    ran(&sandbox, "d", "exit 1\n");
    let outcome = sandbox.run("run --parallel --retries 2").exits(1);
    outcome.prints(&["Ran 4 tests", "failures=1", "FAIL: d\n"]);
    assert!(!outcome.stdout().contains("FAIL: b"), "{outcome}");
    outcome.says(&["flaky: b failed on i"]);
    assert_eq!(begun(&sandbox), "abbcddd");
    assert_eq!(sandbox.failing(), ["d"]);
    let lines = sandbox.log();
    let places: Vec<&str> = lines
        .iter()
        .filter(|l| l.contains("[b]") || l.contains(",b]") || l.contains("[b,") || l.contains(",b,"))
        .map(|l| l.split(' ').nth(1).unwrap())
        .collect();
    assert!(places.len() == 2 && places[0] != places[1], "on another instance: {lines:?}");
}

#[test]
fn the_run_stops_when_enough_has_failed() {
    let sandbox = four_tests();
    ran(&sandbox, "a", "exit 1\n");
    let [ready, _gate] = ["ready", "gate"].map(|name| Fifo::new(&sandbox, name));
    ran(&sandbox, "b", "echo here >\"$BOX/ready\"\nread x <\"$BOX/gate\"\n");
    let outcome = sandbox.run("run . --fail-fast").exits(1);
    drop(ready);
    outcome.prints(&["FAIL: a\n", "FAILED (id=0, failures=1)"]);
    assert!(!sandbox.read("ran").contains('d'));
    // It was a part: what failed before and did not run keeps its place.
    assert_eq!(sandbox.failing(), ["a"]);
}

#[test]
fn the_run_stops_when_its_time_is_over() {
    let sandbox = four_tests();
    ran(&sandbox, "b", HANG);
    let outcome = sandbox.run("run . --max-duration 1").exits(3);
    outcome.prints(&["INTERRUPTED (id=0)"]).says(&["max_duration, 1 s, is over"]);
    assert_eq!(sandbox.log().last().unwrap(), "dispose i1");
    assert!(sandbox.failing().is_empty());
}

#[test]
fn what_may_still_run_is_killed_then_checked_and_collected_from() {
    let mut sandbox = four_tests();
    ran(&sandbox, "b", &once("killed", KILL));
    callout(&mut sandbox, "kill", "");
    callout(&mut sandbox, "check", "");
    callout(&mut sandbox, "ready", "mkdir \"$BOX/up\" 2>/dev/null && exit 1\nexit 0\n");
    sandbox.script("bin/collect", "echo \"collect $1\" >>\"$BOX/log\"\necho logs >\"$2/log\"\n");
    sandbox.set("instance_collect", "collect $INSTANCE_ID $DEST");
    sandbox.run("run .").exits(0);
    let log: Vec<String> = sandbox.log().into_iter().map(|line| line.split(" [").next().unwrap().to_owned()).collect();
    assert_eq!(
        log,
        [
            "provision 1",
            "ready i1",
            "ready i1",
            "execute i1",
            "execute i1",
            "kill i1",
            "check i1",
            "execute i1",
            "execute i1",
            "collect i1",
            "dispose i1"
        ]
    );
    let collected = sandbox.path("project/.testrepository/regatta/collected");
    let run = std::fs::read_dir(collected).unwrap().next().unwrap().unwrap().path();
    assert_eq!(std::fs::read_to_string(run.join("i1/log")).unwrap(), "logs\n");
}

#[test]
fn an_instance_that_never_gets_ready_is_replaced() {
    let mut sandbox = four_tests();
    callout(&mut sandbox, "ready", "[ \"$1\" != i1 ]\n");
    sandbox.run("run . --ready-limit 0.3").exits(0);
    let log = sandbox.log();
    assert!(log.contains(&"dispose i1".to_owned()) && log.last().unwrap() == "dispose i2", "{log:?}");
}

#[test]
fn streamed_instances_work_while_others_are_made() {
    let sandbox = four_tests();
    let [ready, mut gate] = ["ready", "gate"].map(|name| Fifo::new(&sandbox, name));
    sandbox.on("provision", "echo i1\nread x <\"$BOX/gate\"\necho i2\nexit 0\n");
    ran(&sandbox, "a", "echo here >\"$BOX/ready\"\n");
    let run = sandbox.run("run --parallel --instance-ids streamed").spawn();
    // A test has run, though provision goes on.
    ready.wait();
    gate.open();
    run.exits(0);
    assert_eq!(sandbox.log().last().unwrap(), "dispose i1 i2");
}

#[test]
fn instances_are_given_back_early_where_that_is_wanted() {
    let sandbox = four_tests();
    let [ready, mut gate] = ["ready", "gate"].map(|name| Fifo::new(&sandbox, name));
    sandbox.on("dispose", "echo \"$*\" >\"$BOX/ready\"\n");
    ran(&sandbox, "d", "read x <\"$BOX/gate\"\n");
    let run = sandbox.run("run --parallel --instance-release early").spawn();
    let first = ready.wait();
    assert!(["i1", "i2"].contains(&first.as_str()), "{first}");
    gate.open();
    run.exits(0);
}

#[test]
fn a_kept_instance_can_be_used_again() {
    let sandbox = four_tests();
    ran(&sandbox, "b", "exit 1\n");
    let outcome = sandbox.run("run --parallel --keep failed").exits(1);
    let said = outcome.stderr();
    let id = if said.contains("i1 is kept until") { "i1" } else { "i2" };
    let other = if id == "i1" { "i2" } else { "i1" };
    let line = format!("to run b again there: regatta run --reuse={id} --keep=always '^b$'");
    outcome.says(&[&line, &format!("to give it back: regatta instances dispose {id}")]);
    assert_eq!(sandbox.log().last().unwrap(), &format!("dispose {other}"));
    std::fs::remove_file(sandbox.path("log")).unwrap();
    sandbox.run("run").args([&format!("--reuse={id}"), "--keep=always", "^b$"]).exits(1);
    let log = sandbox.log();
    assert!(log.iter().all(|line| line.starts_with(&format!("execute {id} "))), "{log:?}");
    sandbox.run("run --reuse").exits(1);
    assert_eq!(sandbox.log().last().unwrap(), &format!("dispose {id}"));
    sandbox.run("run --reuse=nobody").exits(3).says(&["no instance \"nobody\" is kept", "regatta instances list"]);
}

#[test]
fn a_pause_stops_all_that_runs() {
    let sandbox = four_tests();
    let [ready, mut gate] = ["ready", "gate"].map(|name| Fifo::new(&sandbox, name));
    ran(&sandbox, "a", "echo $PPID >\"$BOX/ready\"\nread x <\"$BOX/gate\"\n");
    let run = sandbox.run("run . --test-timeout 30").spawn();
    let runner = ready.wait();
    run.signal("TSTP");
    support::until_state(run.pid(), 'T');
    support::until_state(runner.parse().unwrap(), 'T');
    run.signal("CONT");
    gate.open();
    run.exits(0);
}
