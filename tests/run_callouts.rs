//! Which callouts are called, in which order and with what: the log of the fakes as a whole, and their environment.

#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]

mod support;

use std::fs;

use regatta::event::Status;
use support::streams::packet;
use support::{Fifo, Sandbox};

/// Two tests that pass and one that fails.
fn three_tests() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.test("a", "exit 0\n");
    sandbox.test("b", "exit 1\n");
    sandbox.test("c", "exit 0\n");
    sandbox
}

/// Three tests, of which `b` has failed in a run before; the fakes have forgotten that run.
fn b_has_failed() -> Sandbox {
    let sandbox = three_tests();
    sandbox.run("run").exits(1);
    fs::remove_file(sandbox.path("log")).unwrap();
    fs::remove_file(sandbox.path("count")).unwrap();
    sandbox
}

#[test]
fn a_parallel_run_asks_for_its_size_provisions_lists_executes_and_disposes() {
    let sandbox = three_tests();
    sandbox.run("run --parallel --schedule static").exits(1).prints(&["\nRan 3 tests", "FAILED (id=0, failures=1)\n"]);
    sandbox.logged_at_once(&[
        "concurrency",
        "provision 2",
        "execute i1 [] -- suite --list",
        "execute i1 [a,c] -- suite --load-list IDS",
        "execute i2 [b] -- suite --load-list IDS",
        "dispose i1 i2",
    ]);
}

#[test]
fn a_number_on_the_command_line_asks_nobody() {
    let sandbox = three_tests();
    sandbox.on("provision", "");
    sandbox.run("run --parallel --concurrency 1").exits(1);
    sandbox.logged(&["provision 1", "execute i1 [] -- suite", "dispose i1"]);
}

#[test]
fn a_serial_run_of_all_tests_lists_nothing_and_hands_nothing_out() {
    let sandbox = three_tests();
    sandbox.run("run").exits(1);
    sandbox.logged(&["provision 1", "execute i1 [] -- suite", "dispose i1"]);
}

#[test]
fn a_filter_forces_a_listing_and_runs_on_the_same_instance() {
    let sandbox = three_tests();
    sandbox.run("run [ac]").exits(0);
    sandbox.logged(&[
        "provision 1",
        "execute i1 [] -- suite --list",
        "execute i1 [a,c] -- suite --load-list IDS",
        "dispose i1",
    ]);
}

#[test]
fn what_failed_is_run_again_without_a_listing() {
    let sandbox = b_has_failed();
    sandbox.run("run --failing").exits(1);
    sandbox.logged(&["provision 1", "execute i1 [b] -- suite --load-list IDS", "dispose i1"]);
}

#[test]
fn a_list_is_run_in_its_order_without_a_listing() {
    let sandbox = three_tests();
    sandbox.write("project/list", "c\na\n");
    sandbox.run("run --load-list list").exits(0);
    sandbox.logged(&["provision 1", "execute i1 [c,a] -- suite --load-list IDS", "dispose i1"]);
}

#[test]
fn ids_that_are_known_need_no_more_instances_than_they_fill() {
    let sandbox = b_has_failed();
    sandbox.run("run --failing --parallel --concurrency 3").exits(1);
    sandbox.logged(&["provision 1", "execute i1 [b] -- suite --load-list IDS", "dispose i1"]);
}

#[test]
fn a_listing_needs_all_instances_however_few_tests_there_are() {
    let sandbox = Sandbox::new();
    sandbox.test("only", "");
    sandbox.run("run --parallel").exits(0);
    sandbox.logged(&[
        "concurrency",
        "provision 2",
        "execute i1 [] -- suite --list",
        "execute i1 [only] -- suite --load-list IDS",
        "dispose i1 i2",
    ]);
}

#[test]
fn isolated_tests_share_the_instance_and_one_disposal() {
    let sandbox = three_tests();
    sandbox.run("run --isolated").exits(1);
    sandbox.logged(&[
        "provision 1",
        "execute i1 [] -- suite --list",
        "execute i1 [a] -- suite --load-list IDS",
        "execute i1 [b] -- suite --load-list IDS",
        "execute i1 [c] -- suite --load-list IDS",
        "dispose i1",
    ]);
}

#[test]
fn runs_until_a_failure_share_instances_and_one_disposal() {
    let sandbox = Sandbox::new();
    sandbox.test("a", "");
    sandbox.test("b", "echo >>\"$BOX/runs\"\n[ \"$(wc -l <\"$BOX/runs\")\" -lt 2 ]\n");
    sandbox.run("run --until-failure --parallel").exits(1).prints(&["PASSED (id=0)", "FAILED (id=1"]);
    let executes = ["execute i1 [a] -- suite --load-list IDS", "execute i2 [b] -- suite --load-list IDS"];
    let mut log = sandbox.log();
    assert_eq!(log.pop().as_deref(), Some("dispose i1 i2"));
    assert_eq!(log.drain(..3).collect::<Vec<_>>(), ["concurrency", "provision 2", "execute i1 [] -- suite --list"]);
    assert_eq!(log.len(), 4, "two runs on two instances: {log:?}");
    // From the second run on, how long tests took decides who gets which.
    log[..2].sort();
    assert_eq!(log[..2], executes);
}

#[test]
fn listing_tests_is_a_run_of_one_instance() {
    let sandbox = three_tests();
    let outcome = sandbox.run("list-tests").exits(0);
    outcome.prints(&["running=execute i1  -- suite --list \n", "\na\nb\nc\n"]);
    sandbox.logged(&["provision 1", "execute i1 [] -- suite --list", "dispose i1"]);
}

#[test]
fn what_does_not_run_tests_calls_nobody() {
    let sandbox = b_has_failed();
    for (line, status) in [("failing", 1), ("last", 1), ("slowest", 0), ("stats", 0), ("help", 0), ("commands", 0)] {
        sandbox.run(line).exits(status);
    }
    sandbox.logged(&[]);
}

#[test]
fn disposal_comes_after_the_last_worker_has_ended_and_sorts_ids_as_text() {
    let sandbox = three_tests();
    sandbox.on("provision", "echo n10 n2; exit\n");
    sandbox.on("execute", "case $* in *load-list*) \"$@\"; echo \"ended $id\" >>\"$BOX/log\"; exit;; esac\n");
    sandbox.run("run --parallel").exits(1);
    let log = sandbox.log();
    let place = |line: &str| log.iter().position(|l| l == line).unwrap();
    assert!(place("dispose n10 n2") > place("ended n2").max(place("ended n10")), "{log:?}");
    assert_eq!(log.last().unwrap(), "dispose n10 n2");
}

#[test]
fn without_a_callout_it_is_not_called() {
    let mut sandbox = three_tests();
    sandbox.unset("instance_dispose");
    sandbox.run("run").exits(1);
    sandbox.unset("instance_execute");
    sandbox.run("run").exits(1);
    sandbox.unset("instance_provision");
    sandbox.run("run").exits(1);
    sandbox.logged(&["provision 1", "execute i1 [] -- suite", "provision 1"]);
}

#[test]
fn the_environment_says_what_the_line_says() {
    let sandbox = three_tests();
    sandbox.on("provision", "env | grep ^REGATTA >\"$BOX/env-provision\"; cat >>\"$BOX/stdin\"\n");
    sandbox.on("execute", "env | grep ^REGATTA >\"$BOX/env-$id\"; cat >>\"$BOX/stdin\"\n[ -z \"$REGATTA_FILES\" ] || cmp \"$REGATTA_FILES\" $files\n");
    sandbox.on("dispose", "env | grep ^REGATTA >\"$BOX/env-dispose\"; cat >>\"$BOX/stdin\"\n");
    sandbox.run("run --parallel").stdin(b"for regatta alone").exits(1);
    let env = |name: &str| -> Vec<(String, String)> {
        let text = sandbox.read(&format!("env-{name}"));
        let mut pairs: Vec<_> = text.lines().map(|line| line.split_once('=').unwrap()).collect();
        pairs.sort();
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    let names = |env: &[(String, String)]| env.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>().join(" ");
    let get = |env: &[(String, String)], name: &str| env.iter().find(|(n, _)| n == name).unwrap().1.clone();
    let [provision, first, second, dispose] = ["provision", "i1", "i2", "dispose"].map(env);
    assert_eq!(names(&provision), "REGATTA REGATTA_INSTANCE_COUNT REGATTA_LEASE REGATTA_RUN_ID REGATTA_TTL");
    assert_eq!(get(&provision, "REGATTA_INSTANCE_COUNT"), "2");
    assert_eq!(
        names(&second),
        "REGATTA REGATTA_COMMAND REGATTA_FILES REGATTA_INSTANCE_ID REGATTA_INSTANCE_INDEX REGATTA_LEASE REGATTA_RUN_ID \
         REGATTA_TTL"
    );
    assert_eq!(
        (get(&first, "REGATTA_INSTANCE_ID").as_str(), get(&first, "REGATTA_INSTANCE_INDEX").as_str()),
        ("i1", "0")
    );
    assert_eq!(
        (get(&second, "REGATTA_INSTANCE_ID").as_str(), get(&second, "REGATTA_INSTANCE_INDEX").as_str()),
        ("i2", "1")
    );
    assert_eq!(get(&second, "REGATTA_COMMAND"), format!("suite  --load-list {}", get(&second, "REGATTA_FILES")));
    assert_eq!(names(&dispose), "REGATTA REGATTA_INSTANCE_IDS REGATTA_LEASE REGATTA_RUN_ID REGATTA_TTL");
    assert_eq!(get(&dispose, "REGATTA_INSTANCE_IDS"), "i1 i2");
    for env in [&first, &second, &dispose] {
        assert_eq!(get(env, "REGATTA_RUN_ID"), get(&provision, "REGATTA_RUN_ID"), "one run, one name");
        assert_eq!(get(env, "REGATTA"), env!("CARGO_BIN_EXE_regatta"));
    }
    assert_eq!(sandbox.read("stdin"), "", "stdin of each is at its end");
}

#[test]
fn each_run_has_its_own_name() {
    let sandbox = three_tests();
    sandbox.on("provision", "echo \"$REGATTA_RUN_ID\" >>\"$BOX/names\"\n");
    sandbox.run("run").exits(1);
    sandbox.run("run").exits(1);
    let names = sandbox.read("names");
    let names: Vec<&str> = names.lines().collect();
    assert!(names.len() == 2 && names[0] != names[1], "{names:?}");
}

#[test]
fn the_command_is_one_string_in_the_environment_with_all_its_lines_and_pipes() {
    let mut sandbox = Sandbox::new();
    sandbox.write("stream", packet("t", Status::Success));
    // Inserted as it is, the pipe would be outside of the instance.
    sandbox.set(
        "test_command",
        "WHERE=\"$INSIDE\" sh -c 'echo \"$WHERE\" >\"$BOX/where\"' | true\n  cat \"$BOX/stream\" |\n  cat",
    );
    sandbox.set("instance_execute", "inside $INSTANCE_ID");
    sandbox.script(
        "bin/inside",
        "printf %s \"$REGATTA_COMMAND\" >\"$BOX/command\"\nINSIDE=yes sh -c \"$REGATTA_COMMAND\"\n",
    );
    sandbox.run("run").exits(0).prints(&["Ran 1 tests"]);
    assert_eq!(
        sandbox.read("command"),
        "WHERE=\"$INSIDE\" sh -c 'echo \"$WHERE\" >\"$BOX/where\"' | true\ncat \"$BOX/stream\" |\ncat"
    );
    assert_eq!(sandbox.read("where"), "yes\n");
}

#[test]
fn a_quoted_command_arrives_as_one_argument() {
    let mut sandbox = three_tests();
    sandbox.set("instance_execute", "inside $INSTANCE_ID $COMMAND_QUOTED");
    sandbox.set("test_command", "echo \"it's $LISTOPT\" >/dev/null; suite $LISTOPT $IDOPTION");
    sandbox.script("bin/inside", "echo $# >\"$BOX/arguments\"\nsh -c \"$2\"\n");
    sandbox.run("run b").exits(1).prints(&["Ran 1 tests"]);
    assert_eq!(sandbox.read("arguments"), "2\n");
}

#[test]
fn a_long_command_is_in_a_file() {
    let mut sandbox = Sandbox::new();
    let ids: Vec<String> = (0..3000).map(|n| format!("test.number.{n}.{}", "x".repeat(40))).collect();
    sandbox.write("project/list", ids.join("\n"));
    sandbox.set("test_command", "run-all $IDLIST");
    sandbox.set("instance_execute", "inside $INSTANCE_ID");
    sandbox.script(
        "bin/inside",
        "echo \"${REGATTA_COMMAND-none} $REGATTA_COMMAND_FILE\" >\"$BOX/said\"\ncat \"$REGATTA_COMMAND_FILE\" >\"$BOX/command\"\n",
    );
    sandbox.run("run --load-list list").exits(0);
    assert_eq!(sandbox.read("command"), format!("run-all {}", ids.join(" ")));
    let said = sandbox.read("said");
    let file = said.strip_prefix("none ").unwrap().trim_end();
    assert!(file.starts_with(sandbox.path("tmp").to_str().unwrap()) && !fs::exists(file).unwrap(), "{said}");
}

#[test]
fn ids_with_signs_of_the_shell_arrive_as_they_were_printed() {
    let mut sandbox = Sandbox::new();
    let ids = ["$(touch${IFS}$BOX/evil)", "a;b", "back\\slash", "it's", "`x`", "st*r", "~"];
    sandbox.write("ids", ids.join("\n"));
    sandbox.on("provision", "cat \"$BOX/ids\"; exit\n");
    for id in ids {
        sandbox.test(&format!("test-{}", ids.iter().position(|i| *i == id).unwrap()), "");
    }
    let number = ids.len();
    sandbox.set("instance_execute", "inside $INSTANCE_ID \"$INSTANCE_ID\" '$INSTANCE_ID' -- $COMMAND");
    sandbox.set("instance_dispose", "away $INSTANCE_IDS");
    sandbox.script(
        "bin/inside",
        "[ \"$1\" = \"$2\" ] && [ \"$1\" = \"$3\" ] && [ \"$1\" = \"$REGATTA_INSTANCE_ID\" ] || exit 9\n\
         printf '%s\\n' \"$1\" >>\"$BOX/seen\"\nshift 4\nexec \"$@\"\n",
    );
    sandbox.script(
        "bin/away",
        "printf '%s\\n' \"$@\" >\"$BOX/away\"\nprintf %s \"$REGATTA_INSTANCE_IDS\" >\"$BOX/away-env\"\n",
    );
    sandbox.run(&format!("run --parallel --concurrency {number}")).exits(0).prints(&["Ran 7 tests"]);
    let mut seen: Vec<String> = sandbox.read("seen").lines().skip(1).map(str::to_owned).collect();
    seen.sort();
    let mut sorted = ids;
    sorted.sort_unstable();
    assert_eq!(seen, sorted);
    assert_eq!(sandbox.read("away").lines().collect::<Vec<_>>(), sorted);
    assert_eq!(sandbox.read("away-env"), sorted.join(" "));
    assert!(!sandbox.path("evil").exists());
}

#[test]
fn two_runs_at_once_in_one_repository_are_both_stored() {
    let sandbox = Sandbox::new();
    let (ready, mut gate) = (Fifo::new(&sandbox, "ready"), Fifo::new(&sandbox, "gate"));
    sandbox.test("a", "echo here >\"$BOX/ready\"\nread x <\"$BOX/gate\"\n");
    let runs = [sandbox.run("run").spawn(), sandbox.run("run").spawn()];
    for _ in &runs {
        ready.wait();
    }
    runs.iter().for_each(|_| gate.open());
    for run in runs {
        run.exits(0).prints(&["Ran 1 tests", "PASSED (id="]);
    }
    assert_eq!(sandbox.read("project/.testrepository/next-stream"), "2\n");
}
