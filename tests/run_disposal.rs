//! Every instance is given back, however a run goes wrong, and the message says what went wrong and what to do.

#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]

mod support;

use regatta::event::Status;
use support::Sandbox;
use support::streams::packet;

/// Two tests that pass.
fn two_tests() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.test("a", "");
    sandbox.test("b", "");
    sandbox
}

const LISTING: [&str; 3] = ["concurrency", "provision 2", "execute i1 [] -- suite --list"];

#[track_caller]
fn logged_after_listing(sandbox: &Sandbox, rest: &[&str]) {
    sandbox.logged_at_once(&[&LISTING, rest].concat());
}

/// Nothing was stored.
#[track_caller]
fn stored_nothing(sandbox: &Sandbox) {
    assert_eq!(sandbox.read("project/.testrepository/next-stream"), "0\n");
    let left = sandbox.path("project/.testrepository/regatta");
    let left: Vec<_> = left.read_dir().into_iter().flatten().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_str().unwrap().ends_with(".v1")), "{left:?}");
}

#[test]
fn a_failed_provision_gives_back_what_it_had_printed() {
    let sandbox = two_tests();
    sandbox.on("provision", "echo i7; echo i10; echo no quota left >&2; exit 4\n");
    sandbox.run("run --parallel").exits(3).says(&[
        "regatta: instance_provision failed while provisioning instances: exit status 4\n  line: provision 2\n  \
         last lines of its stderr:\n  | no quota left\n  hint: ",
    ]);
    sandbox.logged(&["concurrency", "provision 2", "dispose i10 i7"]);
    stored_nothing(&sandbox);
}

#[test]
fn a_provision_that_dies_of_a_signal_is_told_apart() {
    let mut sandbox = two_tests();
    sandbox.set("instance_provision", "exec provision $INSTANCE_COUNT");
    sandbox.on("provision", "printf i7; kill -9 $$\n");
    sandbox.run("run").exits(3).says(&[
        "instance_provision failed",
        ": killed by signal 9\n",
        "hint: something killed",
    ]);
    sandbox.logged(&["provision 1", "dispose i7"]);
}

#[test]
fn too_few_instances_are_asked_for_again() {
    let sandbox = two_tests();
    sandbox.on("provision", "set -- 1\n");
    sandbox.run("run --parallel").exits(0);
    sandbox.logged_at_once(&[
        "concurrency",
        "provision 2",
        "provision 1",
        "execute i1 [] -- suite --list",
        "execute i1 [a] -- suite --load-list IDS",
        "execute i2 [b] -- suite --load-list IDS",
        "dispose i1 i2",
    ]);
}

#[test]
fn too_many_instances_are_all_given_back() {
    let sandbox = two_tests();
    sandbox.on("provision", "set -- 4\n");
    sandbox.run("run --parallel").exits(0);
    assert_eq!(sandbox.log().last().unwrap(), "dispose i1 i2 i3 i4");
}

#[test]
fn an_id_that_is_printed_again_is_no_new_one() {
    let sandbox = two_tests();
    sandbox.on("provision", "echo same; echo same; exit\n");
    sandbox.run("run --parallel").exits(3).says(&[
        "regatta: instance_provision was asked for 1 more and printed no new id (there are 1)\n  line: provision 1\n  hint: it has to print",
    ]);
    sandbox.logged(&["concurrency", "provision 2", "provision 1", "dispose same"]);
    stored_nothing(&sandbox);
}

#[test]
fn an_empty_answer_ends_the_run() {
    let sandbox = two_tests();
    sandbox.on("provision", "exit\n");
    sandbox.run("run --parallel").exits(3).says(&["asked for 2 more and printed no new id (there are 0)"]);
    sandbox.logged(&["concurrency", "provision 2"]);
}

#[test]
fn a_failed_concurrency_callout_comes_before_any_instance() {
    let sandbox = two_tests();
    sandbox.on("concurrency", "echo nobody knows >&2; exit 5\n");
    sandbox.run("run --parallel").exits(3).says(&[
        "test_run_concurrency failed while asking how many to run at once: exit status 5\n  line: concurrency\n",
        "  | nobody knows\n",
        "  hint: run the line by itself to see what is wrong, then mend test_run_concurrency in .testr.conf\n",
    ]);
    sandbox.on("concurrency", "echo many; exit\n");
    sandbox
        .run("run --parallel")
        .exits(3)
        .says(&["has to print a number, and printed \"many\"\n  line: concurrency\n"]);
    sandbox.on("concurrency", "echo -2; exit\n");
    sandbox.run("run --parallel").exits(3).says(&["cannot run -2 at once", "mend test_run_concurrency"]);
    sandbox.logged(&["concurrency"; 3]);
}

#[test]
fn a_failed_listing_shows_what_it_wrote() {
    let sandbox = two_tests();
    sandbox.on("suite", "echo Traceback on stdout; echo 'no module named x' >&2; exit 3\n");
    let outcome = sandbox.run("run --parallel").exits(3);
    outcome.prints(&["--- stdout ---\nTraceback on stdout\n"]);
    outcome.says(&[
        "instance_execute failed while listing the tests: exit status 3\n  line: execute i1  -- suite --list \n",
        "  | no module named x\n  hint: run the line by itself to see what is wrong, then mend instance_execute",
    ]);
    logged_after_listing(&sandbox, &["dispose i1 i2"]);
    stored_nothing(&sandbox);
}

#[test]
fn without_an_execute_callout_the_test_command_is_to_blame() {
    let mut sandbox = two_tests();
    sandbox.unset("instance_execute");
    sandbox.on("suite", "exit 3\n");
    sandbox.run("run --parallel").exits(3).says(&["test_command failed while listing the tests: exit status 3\n"]);
    sandbox.logged(&["concurrency", "provision 2", "dispose i1 i2"]);
}

#[test]
fn a_listing_without_tests_is_an_error_unless_that_was_expected() {
    let sandbox = Sandbox::new();
    sandbox.run("run --parallel").exits(3).says(&["the listing has no tests\n  hint: ", "--no-tests=pass"]);
    logged_after_listing(&sandbox, &["dispose i1 i2"]);
    stored_nothing(&sandbox);
    sandbox.run("run --parallel --no-tests=pass").exits(0).prints(&["PASSED (id=0)\n"]);
    assert_eq!(sandbox.log().last().unwrap(), "dispose i3 i4");
}

#[test]
fn a_filter_that_finds_nothing_passes() {
    let sandbox = two_tests();
    sandbox.run("run nothing").exits(0).prints(&["PASSED (id=0)\n"]);
    sandbox.logged(&["provision 1", "execute i1 [] -- suite --list", "dispose i1"]);
}

#[test]
fn a_listing_of_text_is_named_as_such() {
    let sandbox = two_tests();
    sandbox.on("suite", "echo; echo 'test one'; echo 'test two'; exit\n");
    for line in ["run --parallel --concurrency 2", "list-tests"] {
        sandbox
            .run(line)
            .exits(3)
            .says(&["the listing has no tests, but text; it begins: \"test one\"\n  hint: ", "subunit v2"]);
    }
    sandbox.logged(&[
        "provision 2",
        "execute i1 [] -- suite --list",
        "dispose i1 i2",
        "provision 1",
        "execute i3 [] -- suite --list",
        "dispose i3",
    ]);
}

/// An execute callout that cannot start or dies on its way: what testr prints for it, and the message.
#[track_caller]
fn check_execute(line: &str, hook: &str, returncode: i32, said: &[&str]) {
    let mut sandbox = two_tests();
    sandbox.on("execute", hook);
    sandbox.set("instance_execute", line);
    let outcome = sandbox.run("run").exits(1);
    outcome.prints(&["FAIL: process-returncode\n", &format!("returncode {returncode}"), "FAILED (id=0, failures=1)\n"]);
    outcome.says(said).says(&["regatta: instance_execute failed while running tests: ", "\n  line: ", "\n  hint: "]);
    assert_eq!(sandbox.log().last().unwrap(), "dispose i1");
    assert_eq!(sandbox.failing(), ["process-returncode"]);
}

#[test]
fn an_execute_callout_that_does_not_get_as_far_as_the_tests() {
    let line = "execute $INSTANCE_ID $FILES -- $COMMAND";
    let missing = "/nonexistent/callout $INSTANCE_ID -- $COMMAND";
    check_execute(
        missing,
        "",
        127,
        &["exit status 127\n  line: /nonexistent/callout i1 -- suite  \n", "was not found: check its path"],
    );
    check_execute(
        "\"$BOX/project/.testr.conf\" $COMMAND",
        "",
        126,
        &["exit status 126\n", "is it missing `chmod +x`?"],
    );
    check_execute(line, "exit 255\n", 255, &["exit status 255\n", "ssh says 255"]);
    // Without `exec`, some shells stay and say 137.
    check_execute(
        &format!("exec {line}"),
        "echo going >&2; kill -9 $$\n",
        -9,
        &["killed by signal 9\n", "  | going\n", "out of memory"],
    );
    check_execute(&format!("exec {line}"), "kill -15 $$\n", -15, &["killed by signal 15\n"]);
}

#[test]
fn a_line_that_is_too_long_for_the_system_is_said_to_be() {
    let mut sandbox = Sandbox::new();
    let ids: Vec<String> = (0..3000).map(|n| format!("test.number.{n}.{}", "x".repeat(40))).collect();
    sandbox.write("project/list", ids.join("\n"));
    sandbox.set("test_command", "suite $IDLIST");
    let outcome = sandbox.run("run --load-list list").exits(3);
    outcome.says(&["3000 test ids make a command line of ", "name $IDFILE instead of $IDLIST"]);
    // With the ids known, it is found out before an instance is made.
    sandbox.logged(&[]);
}

#[test]
fn a_worker_that_ends_early_is_named_with_what_it_owes() {
    let sandbox = two_tests();
    sandbox.write("stream", packet("a", Status::Success));
    sandbox.on("suite", "case $* in *load-list*) cat \"$BOX/stream\"; exit \"$(cat \"$BOX/status\")\";; esac\n");
    sandbox.write("project/list", "a\nb\nc\n");
    for (status, exit) in [(0, 0), (2, 1)] {
        sandbox.write("status", status.to_string());
        sandbox
            .run("run --load-list list")
            .exits(exit)
            .says(&["regatta: ", " gave no result for 2 of 3 tests: b, c ("]);
    }
}

#[test]
fn only_the_last_lines_of_stderr_are_said_again() {
    let sandbox = two_tests();
    sandbox.on("provision", "seq 100 >&2; exit 1\n");
    let outcome = sandbox.run("run").exits(3);
    let (before, said) = outcome.stderr().split_once("regatta: ").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    assert_eq!(before.lines().count(), 100, "and all of it as it came: {before}");
    let quoted: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("  | ")).collect();
    assert_eq!((quoted.len(), quoted[0], quoted[19]), (20, "81", "100"));
}

#[test]
fn a_pattern_that_is_none_is_found_after_the_listing() {
    let sandbox = two_tests();
    sandbox.run("run a(b").exits(3).says(&["\"a(b\"", "hint: filters and group_regex are Python regular expressions"]);
    sandbox.logged(&["provision 1", "execute i1 [] -- suite --list", "dispose i1"]);
    stored_nothing(&sandbox);
}

#[test]
fn a_bad_group_regex_is_found_before_anything_is_called() {
    let mut sandbox = two_tests();
    sandbox.set("group_regex", "[");
    sandbox.run("run --parallel").exits(3).says(&["\"[\"", "hint: "]);
    sandbox.logged(&[]);
}

#[test]
fn a_run_that_cannot_be_stored_is_an_error_after_the_disposal() {
    let sandbox = two_tests();
    sandbox.write("project/.testrepository/next-stream", "junk\n");
    let outcome = sandbox.run("run --parallel").exits(3);
    outcome.says(&[
        "the run is not stored; its results are in ",
        "should hold the number of the next run and holds \"junk\\n\"",
    ]);
    logged_after_listing(
        &sandbox,
        &["execute i1 [a] -- suite --load-list IDS", "execute i2 [b] -- suite --load-list IDS", "dispose i1 i2"],
    );
    let said = outcome.stderr();
    let kept = said.split("its results are in ").nth(1).unwrap().split(": ").next().unwrap();
    let kept = std::fs::read_to_string(kept).unwrap();
    assert!(kept.contains("successful: a") && kept.contains("successful: b"), "{kept}");
}

#[test]
fn a_failed_disposal_is_an_error_and_the_results_are_stored() {
    let sandbox = two_tests();
    sandbox.on("dispose", "echo cloud is closed >&2; exit 6\n");
    let outcome = sandbox.run("run").exits(3);
    outcome.prints(&["Ran 2 tests", "PASSED (id=0)\n"]);
    outcome.says(&[
        "regatta: instance_dispose failed while disposing of the instances: exit status 6\n  line: dispose i1\n",
        "  | cloud is closed\n  hint: ",
    ]);
    sandbox.run("last").exits(0).prints(&["PASSED (id=0)\n"]);
    sandbox.test("b", "exit 1\n");
    sandbox.run("run").exits(3).prints(&["FAILED (id=1, failures=1"]);
    sandbox.run("run --subunit").exits(3);
    assert_eq!(sandbox.read("project/.testrepository/next-stream"), "3\n");
}

#[test]
fn both_errors_are_said_when_disposal_fails_too() {
    let sandbox = two_tests();
    sandbox.on("provision", "echo i7; exit 4\n");
    sandbox.on("dispose", "exit 6\n");
    sandbox.run("run").exits(3).says(&["instance_provision failed", "instance_dispose failed", "  line: dispose i7\n"]);
}

#[test]
fn a_test_that_began_and_never_ended_has_failed_and_the_instance_is_given_back() {
    let sandbox = Sandbox::new();
    sandbox.write("stream", [packet("a", Status::Success), packet("b", Status::InProgress)].concat());
    sandbox.on("suite", "cat \"$BOX/stream\"; kill -9 $$\n");
    sandbox.run("run").exits(1).prints(&["Ran 3 tests", "failures=2"]);
    assert_eq!(sandbox.failing(), ["process-returncode", "b"]);
    sandbox.logged(&["provision 1", "execute i1 [] -- suite", "dispose i1"]);
}

#[test]
fn what_forks_away_is_not_waited_for_by_the_run() {
    let sandbox = two_tests();
    let mut gate = support::Fifo::new(&sandbox, "gate");
    // It keeps the callout's stdout and stderr, as a daemon does that was started without care.
    sandbox.on("provision", "(read x <\"$BOX/gate\") &\n");
    sandbox.run("run").leaves_processes().exits(0);
    sandbox.logged(&["provision 1", "execute i1 [] -- suite", "dispose i1"]);
    gate.open();
}
