//! What cannot be done: exit status, what is said, and that it is said before anything is called or stored.

#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use support::Sandbox;

/// Run in a project with this configuration: the exit status, what is said, and no callout was called.
#[track_caller]
fn check(config: &str, line: &str, status: i32, words: &[&str]) {
    let sandbox = Sandbox::new();
    sandbox.write("project/.testr.conf", config);
    let outcome = sandbox.run(line).exits(status);
    outcome.says(words);
    assert_eq!(outcome.stdout(), "", "{line}");
    sandbox.logged(&[]);
    assert_eq!(sandbox.read("project/.testrepository/next-stream"), "0\n");
}

const GOOD: &str = "[DEFAULT]\ntest_command=suite $LISTOPT $IDOPTION\ntest_id_option=--load-list $IDFILE\n\
                    test_list_option=--list\n";

#[test]
fn a_configuration_that_cannot_be_used() {
    for line in ["run", "run --parallel", "list-tests"] {
        let run = |config: &str, words: &[&str]| check(config, line, 3, words);
        run("", &["no test_command option present in .testr.conf", "hint: add test_command="]);
        run(
            "test_command=x\n",
            &[".testr.conf: line 1: \"test_command=x\" stands before any section", "hint: begin the file"],
        );
        run(
            "[DEFAULT]\ntest_command=x $IDOPTION\n",
            &[
                "no test_id_option option present",
                "line 2: test_command names $IDOPTION",
                "hint: add for instance test_id_option",
            ],
        );
        run("[DEFAULT]\ntest_command=$LISTOPT\n", &["no test_list_option option", "hint: "]);
        run(
            &format!("{GOOD}test_command=y\n"),
            &[
                ".testr.conf: line 5: option \"test_command\" of [DEFAULT] is there already, on line 2",
                "hint: keep one of the two",
            ],
        );
        run("[DEFAULT]\ntest_command=50% x\n", &["line 2: test_command has a single \"%\" in it", "hint: write %%"]);
        run("[DEFAULT]\ntest_command=%(what)s\n", &["refers to %(what)s, but there is no such key", "hint: "]);
        run("[DEFAULT]\nnot an option\n", &["line 2: \"not an option\" is not an option", "hint: "]);
    }
}

#[test]
fn a_listing_that_cannot_be_asked_for() {
    for line in ["list-tests", "run --parallel", "run filter", "run --isolated"] {
        check(
            "[DEFAULT]\ntest_command=suite\n",
            line,
            3,
            &["LISTOPT not configured", "line 2: test_command has no $LISTOPT", "hint: "],
        );
    }
}

#[test]
fn a_configuration_that_is_not_there_or_cannot_be_read() {
    let sandbox = Sandbox::new();
    let config = sandbox.path("project/.testr.conf");
    fs::remove_file(&config).unwrap();
    sandbox.run("run").exits(3).says(&["no .testr.conf in /", "/project\n", "hint: "]);
    fs::create_dir(&config).unwrap();
    sandbox.run("run").exits(3).says(&["cannot read the .testr.conf file /", "/project/.testr.conf: Is a directory"]);
    fs::remove_dir(&config).unwrap();
    fs::write(&config, b"[DEFAULT]\ntest_command=\xff\n").unwrap();
    sandbox.run("run").exits(3).says(&["line 2 is not UTF-8", "hint: save the file as UTF-8"]);
    fs::set_permissions(&config, fs::Permissions::from_mode(0o000)).unwrap();
    // The superuser reads it all the same.
    if fs::read(&config).is_err() {
        sandbox.run("run").exits(3).says(&["cannot read the .testr.conf file ./.testr.conf: Permission denied"]);
    }
}

#[test]
fn numbers_patterns_and_lists_that_are_none() {
    let run = |line: &str, words: &[&str]| check(GOOD, line, 3, words);
    run("run --parallel --concurrency=-1", &["cannot run -1 at once\n  hint: give --concurrency a positive number\n"]);
    run("run --load-list nowhere", &["cannot read the list of tests nowhere: No such file"]);
    check(&format!("{GOOD}group_regex=(\n"), "run --parallel", 3, &["\"(\"", "hint: filters and group_regex"]);
    let sandbox = Sandbox::new();
    sandbox.write("project/list", b"a\n\xff\n");
    sandbox.run("run --load-list list").exits(3).says(&["cannot read the list of tests list: line 2 is not UTF-8"]);
    sandbox.logged(&[]);
}

#[test]
fn a_value_that_an_option_does_not_take() {
    let outcome = Sandbox::bare().run("run --schedule later").exits(2);
    outcome.says(&["--schedule is \"later\", but takes static or dynamic", "run --help"]);
}

#[test]
fn options_and_commands_that_there_are_none_of() {
    for line in ["run --nonsense", "nonsense", "run --concurrency many", "last --list", "scripts"] {
        let word = line.split_whitespace().last().unwrap();
        let outcome = Sandbox::bare().run(line).exits(2);
        assert!(outcome.stderr().starts_with("error: "), "{outcome}");
        outcome.says(&["--help", if word == "scripts" { "PATH" } else { word }]);
    }
}

#[test]
fn arguments_that_are_too_many() {
    let sandbox = Sandbox::new();
    for line in ["init it", "stats it", "last it", "failing it", "slowest it", "commands it"] {
        sandbox.run(line).exits(1).says(&["regatta: unexpected arguments: it\n"]);
    }
    sandbox.run("run a -- b -- it").exits(1).says(&["unexpected arguments: -- it\n"]);
    sandbox.logged(&[]);
}

#[test]
fn a_repository_that_is_not_there() {
    let mut sandbox = Sandbox::bare();
    sandbox.set("test_run_concurrency", "concurrency");
    for line in ["run", "run --parallel", "last", "failing", "slowest", "stats", "load"] {
        sandbox
            .run(line)
            .exits(3)
            .says(&["regatta: no repository found in /", "/project\n  hint: create one with `regatta init`\n"]);
    }
    sandbox.run("-d sub run").exits(3).says(&["no repository found in sub\n"]);
    sandbox.logged(&[]);
    sandbox.test("a", "");
    sandbox.run("run --force-init").exits(0).prints(&["PASSED (id=0)\n"]);
    sandbox.run("init").exits(3).says(&["there is a repository already: /", "/project/.testrepository: File exists"]);
}

#[test]
fn a_repository_that_is_empty_or_of_another_kind() {
    let sandbox = Sandbox::new();
    sandbox.run("last").exits(3).says(&["No tests in repository\n  hint: run some tests first"]);
    sandbox.write("project/.testrepository/format", "2\n");
    for line in ["run", "last", "stats"] {
        sandbox
            .run(line)
            .exits(3)
            .says(&["/format holds \"2\\n\", and the only known format is \"1\\n\"\n  hint: mend the file"]);
    }
    sandbox.logged(&[]);
}

#[test]
fn a_stream_to_load_that_is_not_there() {
    let sandbox = Sandbox::new();
    sandbox.run("load nowhere").exits(1).says(&["nowhere", "No such file"]);
    assert_eq!(sandbox.read("project/.testrepository/next-stream"), "0\n");
}

#[test]
fn another_directory_is_named_and_callouts_run_in_this_one() {
    let sandbox = Sandbox::new();
    fs::rename(sandbox.path("project"), sandbox.path("there")).unwrap();
    fs::create_dir(sandbox.path("project")).unwrap();
    sandbox.test("a", "pwd\nexit 1\n");
    let here = fs::canonicalize(sandbox.path("project")).unwrap();
    sandbox.run("run --here ../there").exits(1).prints(&[here.to_str().unwrap(), "FAILED (id=0, failures=1)\n"]);
    assert!(!sandbox.path("project/.testrepository").exists());
}

#[test]
fn a_stdout_that_takes_nothing_is_an_error_and_the_run_is_stored() {
    let sandbox = Sandbox::new();
    sandbox.test("a", "");
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    sandbox
        .run("run --subunit")
        .stdout(full)
        .exits(3)
        .says(&["cannot write the stream to standard output: No space left on device"]);
    sandbox.logged(&["provision 1", "execute i1 [] -- suite", "dispose i1"]);
    assert_eq!(sandbox.read("project/.testrepository/next-stream"), "1\n");
}
