//! What once was wrong: each test is a way in which a run went astray.

#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]

mod support;

use std::fs;

use regatta::event::Status;
use support::streams::packet;
use support::{Fifo, Sandbox};

/// testr: `FAIL: subunit.parser`, `Short read`, exit status 1.
#[test]
fn a_stream_that_is_cut_off_is_a_failure() {
    let sandbox = Sandbox::new();
    let mut stream = [packet("a", Status::Success), packet("b", Status::Success)].concat();
    stream.truncate(stream.len() - 3);
    sandbox.write("stream", &stream);
    sandbox.on("suite", "cat \"$BOX/stream\"; exit 0\n");
    sandbox.run("run").exits(1).prints(&["FAIL: subunit.parser"]);
    sandbox.run("load").stdin(&stream).exits(1).prints(&["FAIL: subunit.parser"]);
}

/// The shell of the line ends on TERM and is waited for; what it started does not, and gets no KILL any more.
#[test]
fn what_outlives_the_shell_of_its_line_is_killed_too() {
    let sandbox = Sandbox::new();
    let (ready, _gate) = (Fifo::new(&sandbox, "ready"), Fifo::new(&sandbox, "gate"));
    sandbox.on("execute", "trap '' TERM\necho here >\"$BOX/ready\"\nread x <\"$BOX/gate\"\n");
    // Two commands, so that every shell stays.
    let mut sandbox = sandbox;
    sandbox.set("instance_execute", "execute $INSTANCE_ID $FILES -- $COMMAND; exit $?");
    let run = sandbox.run("run").spawn();
    ready.wait();
    run.signal("TERM");
    run.dies_of(15);
}

#[test]
fn a_stdout_that_takes_no_text_is_an_error() {
    let sandbox = Sandbox::new();
    sandbox.test("a", "");
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    sandbox.run("run").stdout(full).exits(3).says(&["cannot write to standard output: No space left on device"]);
}

/// Signals are caught only when instances are about to be made.
#[test]
fn a_signal_ends_the_concurrency_callout_too() {
    let sandbox = Sandbox::new();
    let (ready, _gate) = (Fifo::new(&sandbox, "ready"), Fifo::new(&sandbox, "gate"));
    sandbox.on("concurrency", "echo here >\"$BOX/ready\"\nread x <\"$BOX/gate\"\n");
    let run = sandbox.run("run --parallel").spawn();
    ready.wait();
    run.signal("TERM");
    run.dies_of(15);
}

/// A run inside of an execute callout of another: the outer one's variables are not its own.
#[test]
fn the_environment_of_an_outer_run_is_not_passed_on() {
    let sandbox = Sandbox::new();
    sandbox.test("a", "");
    sandbox.on("provision", "env | grep ^REGATTA_ | sort >\"$BOX/env-provision\"\n");
    sandbox.on("execute", "env | grep ^REGATTA_ | sort >\"$BOX/env-execute\"\n");
    let run = sandbox.run("run").env("REGATTA_COMMAND_FILE", "/outer").env("REGATTA_INSTANCE_IDS", "outer");
    run.env("REGATTA_INSTANCE_ID", "outer").exits(0);
    for name in ["env-provision", "env-execute"] {
        assert!(!sandbox.read(name).contains("outer"), "{name}:\n{}", sandbox.read(name));
    }
}

/// Its end is waited for by a silence, which never comes.
#[test]
fn a_background_process_that_goes_on_writing_does_not_hold_scripts_up() {
    let sandbox = Sandbox::bare();
    let (ready, mut gate) = (Fifo::new(&sandbox, "ready"), Fifo::new(&sandbox, "gate"));
    sandbox.test(
        "a",
        "(while [ ! -e \"$BOX/stop\" ]; do echo tick; sleep 0.1; done; echo gone >\"$BOX/ready\"; read x <\"$BOX/gate\") &\n",
    );
    let mut run = sandbox.run("scripts ../tests").leaves_processes().spawn();
    let seen = run.stdout_until(|seen| {
        let lines = support::streams::shown(seen);
        lines.iter().any(|line| line == "a success") || lines.len() > 100
    });
    let ended = support::streams::shown(seen).iter().any(|line| line == "a success");
    sandbox.write("stop", "");
    ready.wait();
    gate.open();
    run.exits(0);
    assert!(ended, "the test ended ten seconds ago");
}
