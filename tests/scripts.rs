//! `regatta scripts`, the test runner for executable files, by itself.

#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use support::run::Outcome;
use support::streams::shown;
use support::{Fifo, Sandbox};

/// What it wrote, a line for each packet.
#[track_caller]
fn packets(outcome: &Outcome) -> Vec<String> {
    assert_eq!(outcome.stderr(), "");
    shown(outcome.bytes())
}

#[track_caller]
fn listed(sandbox: &Sandbox, line: &str) -> Vec<String> {
    packets(&sandbox.run(line).exits(0))
}

#[test]
fn a_listing_has_what_can_be_executed_in_the_order_of_ids() {
    let sandbox = Sandbox::bare();
    sandbox.test("b/two", "");
    sandbox.test("b/deep/er", "");
    sandbox.test("a", "");
    sandbox.test("B", "");
    sandbox.test("with blank", "");
    sandbox.test(".hidden", "");
    sandbox.test(".git/hooks/sample", "");
    sandbox.write("tests/README", "no test");
    sandbox.write("tests/b/data.sh", "#!/bin/sh\n");
    assert_eq!(
        listed(&sandbox, "scripts --list ../tests"),
        ["B exists", "a exists", "b/deep/er exists", "b/two exists", "with blank exists"]
    );
    assert_eq!(listed(&sandbox, "scripts --list ../tests/b"), ["deep/er exists", "two exists"]);
    assert_eq!(listed(&sandbox, "scripts ../tests/a --list"), ["a exists"]);
    assert_eq!(listed(&sandbox, "scripts --list ../tests/README"), [""; 0]);
}

#[test]
fn links_are_followed_but_not_in_circles() {
    let sandbox = Sandbox::bare();
    sandbox.test("a", "");
    fs::create_dir(sandbox.path("tests/sub")).unwrap();
    symlink("..", sandbox.path("tests/sub/up")).unwrap();
    symlink("../a", sandbox.path("tests/sub/b")).unwrap();
    symlink("nowhere", sandbox.path("tests/dangling")).unwrap();
    assert_eq!(listed(&sandbox, "scripts --list ../tests"), ["a exists", "sub/b exists"]);
}

#[test]
fn a_list_decides_what_runs_and_in_which_order() {
    let sandbox = Sandbox::bare();
    for id in ["a", "b", "c"] {
        sandbox.test(id, "");
    }
    sandbox.write("project/list", "c\ngone\na\n");
    let lines = listed(&sandbox, "scripts ../tests --load-list list");
    assert_eq!(lines, ["c inprogress", "c success", "a inprogress", "a success"]);
    assert_eq!(listed(&sandbox, "scripts ../tests --load-list list --list"), ["c exists", "a exists"]);
    sandbox.write("project/list", "");
    assert_eq!(listed(&sandbox, "scripts ../tests --load-list list"), [""; 0], "an empty list is none of them");
    sandbox.run("scripts ../tests --load-list nowhere").exits(3).says(&["cannot read the list of tests nowhere"]);
}

#[test]
fn an_exit_status_or_a_signal_is_a_verdict() {
    for (body, expected) in [
        ("exit 0\n", &["t success"][..]),
        ("exit 77\n", &["t skip"]),
        ("exit 1\n", &["t traceback=\"exit status 1\"", "t fail"]),
        ("exit 99\n", &["t traceback=\"exit status 99\"", "t fail"]),
        ("kill -9 $$\n", &["t traceback=\"killed by signal 9\"", "t fail"]),
        ("kill -15 $$\n", &["t traceback=\"killed by signal 15\"", "t fail"]),
        ("echo out\nexit 77\n", &["t stdout=\"out\\n\"", "t skip"]),
        ("printf err >&2; exit 3\n", &["t stderr=\"err\"", "t traceback=\"exit status 3\"", "t fail"]),
    ] {
        let sandbox = Sandbox::bare();
        sandbox.test("t", body);
        assert_eq!(listed(&sandbox, "scripts ../tests"), [&["t inprogress"], expected].concat(), "{body}");
    }
}

#[test]
fn a_file_that_cannot_be_run_has_failed() {
    let sandbox = Sandbox::bare();
    sandbox.write("tests/bad", "#!/nonexistent/interpreter\n");
    sandbox.write("tests/binary", [0, 1, 2, 3]);
    for name in ["bad", "binary"] {
        fs::set_permissions(sandbox.path("tests").join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let lines = listed(&sandbox, "scripts ../tests");
    assert_eq!(lines.len(), 6, "{lines:?}");
    assert!(lines[1].starts_with("bad traceback=\"cannot be run: No such file"), "{lines:?}");
    assert!(lines[4].starts_with("binary traceback=\"cannot be run: Exec format error"), "{lines:?}");
    assert_eq!([&*lines[2], &*lines[5]], ["bad fail", "binary fail"]);
}

#[test]
fn output_comes_while_the_test_runs() {
    let sandbox = Sandbox::bare();
    let mut gate = Fifo::new(&sandbox, "gate");
    sandbox.test("t", "printf 'step 1'\nread x <\"$BOX/gate\"\necho ', done'\n");
    let mut run = sandbox.run("scripts ../tests").spawn();
    run.stdout_until(|seen| shown(seen) == ["t inprogress", "t stdout=\"step 1\""]);
    gate.open();
    let lines = packets(&run.exits(0));
    assert_eq!(lines, ["t inprogress", "t stdout=\"step 1\"", "t stdout=\", done\\n\"", "t success"]);
}

#[test]
fn a_test_has_an_empty_stdin_and_the_callers_directory() {
    let sandbox = Sandbox::bare();
    sandbox.test(
        "t",
        "cat\n[ \"$PWD\" -ef \"$BOX/project\" ] || [ \"$(pwd -P)\" = \"$(cd \"$BOX/project\" && pwd -P)\" ]\n",
    );
    assert_eq!(
        packets(&sandbox.run("scripts ../tests").stdin(b"not for tests").exits(0)),
        ["t inprogress", "t success"]
    );
}

#[test]
fn what_a_test_leaves_in_the_background_is_not_waited_for() {
    let sandbox = Sandbox::bare();
    let mut gate = Fifo::new(&sandbox, "gate");
    sandbox.test("a", "echo here\n(read x <\"$BOX/gate\") &\n");
    sandbox.test("b", "");
    let outcome = sandbox.run("scripts ../tests").leaves_processes().exits(0);
    assert_eq!(packets(&outcome), ["a inprogress", "a stdout=\"here\\n\"", "a success", "b inprogress", "b success"]);
    gate.open();
}

#[test]
fn much_output_is_all_there() {
    let sandbox = Sandbox::bare();
    sandbox.test("t", "head -c 3000000 /dev/zero | tr '\\0' x\nhead -c 1000000 /dev/zero | tr '\\0' y >&2\n");
    let outcome = sandbox.run("scripts ../tests").exits(0);
    let bytes = |byte: u8| outcome.bytes().iter().filter(|b| **b == byte).count();
    assert!(bytes(b'x') >= 3_000_000 && bytes(b'y') >= 1_000_000, "{} {}", bytes(b'x'), bytes(b'y'));
    assert_eq!(packets(&outcome).last().unwrap(), "t success");
}

#[test]
fn two_files_for_one_id_are_refused() {
    let sandbox = Sandbox::bare();
    sandbox.test("one/same", "");
    sandbox.test("two/same", "");
    let outcome = sandbox.run("scripts ../tests/one ../tests/two").exits(3);
    outcome.says(&[
        "../tests/one/same and ../tests/two/same would both be the test same\n  hint: give a directory above both\n",
    ]);
    assert_eq!(outcome.stdout(), "");
    assert_eq!(listed(&sandbox, "scripts --list ../tests"), ["one/same exists", "two/same exists"]);
}

#[test]
fn a_path_that_is_not_there_is_named() {
    let outcome = Sandbox::bare().run("scripts ../tests nowhere").exits(3);
    outcome.says(&["cannot look for tests in nowhere: No such file"]);
}

#[test]
fn a_name_that_cannot_be_an_id_is_named() {
    let sandbox = Sandbox::bare();
    sandbox.test("line\nend", "");
    sandbox
        .run("scripts ../tests")
        .exits(3)
        .says(&["cannot be a test id: it is not UTF-8, or has a line end\n  hint: rename it"]);
}
