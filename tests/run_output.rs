//! When what is written can be seen, and how much memory it takes on its way.

#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]

mod support;

use std::fs;
use std::io::{Read, pipe};

use regatta::event::Status;
use support::streams::{attached, packet, shown};
use support::{Fifo, Sandbox};

/// A runner that writes the packets in `begin`, waits, and writes those in `end`.
const TWO_PARTS: &str = "cat \"$BOX/begin\"\nread x <\"$BOX/gate\"\ncat \"$BOX/end\"\nexit 0\n";

fn two_parts() -> (Sandbox, Fifo) {
    let sandbox = Sandbox::new();
    sandbox.write("begin", packet("a", Status::InProgress));
    sandbox.write("end", packet("a", Status::Fail));
    sandbox.on("suite", TWO_PARTS);
    let gate = Fifo::new(&sandbox, "gate");
    (sandbox, gate)
}

#[test]
fn a_packet_is_passed_on_when_it_comes() {
    let (sandbox, mut gate) = two_parts();
    let mut run = sandbox.run("run --subunit").spawn();
    // The runner waits for the gate, which opens only when its first packet has been seen.
    run.stdout_until(|seen| shown(seen).iter().any(|line| line == "a inprogress route=0 tags=worker-0"));
    gate.open();
    let outcome = run.exits(0);
    assert_eq!(
        shown(outcome.bytes()),
        [
            "text \"running=provision 1\\nrunning=execute i1  -- suite  \\n\"",
            "a inprogress route=0 tags=worker-0",
            "a fail route=0 tags=worker-0",
            "text \"running=dispose i1\\n\"",
        ]
    );
    assert_eq!(sandbox.failing(), ["a"]);
}

#[test]
fn a_piece_of_a_packet_and_text_are_passed_on_too() {
    let (sandbox, mut gate) = two_parts();
    let big = attached("a", "log", vec![b'x'; 100_000]);
    let (first, rest) = big.split_at(70_000);
    sandbox.write("begin", [b"hello\n", first].concat());
    sandbox.write("end", [rest, &packet("a", Status::Success)].concat());
    let mut run = sandbox.run("run --subunit").spawn();
    run.stdout_until(|seen| shown(seen).iter().any(|line| line == "route=0 tags=worker-0 stdout=\"hello\\n\""));
    gate.open();
    let outcome = run.exits(0);
    let lines = shown(outcome.bytes());
    let log = format!("a route=0 tags=worker-0 log={:?}", "x".repeat(100_000));
    assert!(lines.contains(&log) && lines.contains(&"a success route=0 tags=worker-0".to_owned()), "{}", lines.len());
}

#[test]
fn the_streams_of_two_workers_are_one() {
    let sandbox = Sandbox::new();
    sandbox.test("a", "echo from a\n");
    sandbox.test("b", "echo from b >&2; exit 77\n");
    let outcome = sandbox.run("run --subunit --parallel").exits(0);
    let lines = shown(outcome.bytes());
    for expected in [
        "a inprogress route=0 tags=worker-0",
        "a route=0 tags=worker-0 stdout=\"from a\\n\"",
        "a success route=0 tags=worker-0",
        "b inprogress route=1 tags=worker-1",
        "b route=1 tags=worker-1 stderr=\"from b\\n\"",
        "b skip route=1 tags=worker-1",
    ] {
        assert_eq!(lines.iter().filter(|line| *line == expected).count(), 1, "{expected} in {lines:#?}");
    }
    assert!(!lines.iter().any(|line| line.starts_with("damaged")), "{lines:#?}");
    // What it printed can be loaded again.
    let other = Sandbox::new();
    other.run("load").stdin(outcome.bytes()).exits(0).prints(&["Ran 2 tests", "PASSED (id=0, skips=1)\n"]);
}

#[test]
fn a_reader_who_has_gone_stops_nothing() {
    for line in ["run", "run --subunit"] {
        let (sandbox, mut gate) = two_parts();
        sandbox.on("suite", "cat \"$BOX/begin\"\nread x <\"$BOX/gate\"\nfor i in 1 2 3 4 5; do cat \"$BOX/big\"; done\ncat \"$BOX/end\"; exit 0\n");
        sandbox.write("big", attached("a", "log", vec![b'x'; 300_000]));
        let (mut reader, writer) = pipe().unwrap();
        let run = sandbox.run(line).stdout(writer).spawn();
        if line == "run --subunit" {
            assert_eq!(reader.read(&mut [0; 1]).unwrap(), 1);
        }
        drop(reader);
        gate.open();
        let outcome = run.exits(i32::from(line == "run"));
        assert_eq!(outcome.stderr(), "", "{line}");
        sandbox.logged(&["provision 1", "execute i1 [] -- suite", "dispose i1"]);
        assert_eq!(sandbox.failing(), ["a"]);
    }
}

/// A runner that writes far more than a pipe takes, says so, and goes on when it is told to end.
const MUCH: &str = "trap 'echo signalled >\"$BOX/ready\"' TERM\ncat \"$BOX/begin\"\n\
    for i in 1 2 3 4 5; do cat \"$BOX/big\"; done\ncat \"$BOX/end\"\necho here >\"$BOX/ready\"\n\
    while [ -e \"$BOX/gate\" ]; do read x <\"$BOX/gate\"; done\n";

#[test]
fn a_reader_who_has_stalled_is_given_up_at_the_second_signal() {
    // Not read on stdout, or not on stderr.
    for on_stderr in [false, true] {
        let (sandbox, _gate) = two_parts();
        let ready = Fifo::new(&sandbox, "ready");
        let much = if on_stderr { MUCH.replace("\"$BOX/big\"", "\"$BOX/big\" >&2") } else { MUCH.to_owned() };
        sandbox.on("suite", &much);
        sandbox.write("big", attached("a", "log", vec![b'x'; 300_000]));
        let (reader, writer) = pipe().unwrap();
        let run = sandbox.run("run --subunit");
        let run = if on_stderr { run.stderr(writer) } else { run.stdout(writer) }.spawn();
        assert_eq!(ready.wait(), "here");
        run.signal("TERM");
        assert_eq!(ready.wait(), "signalled");
        run.signal("TERM");
        run.dies_of(15);
        drop(reader);
        assert_eq!(sandbox.log().last().unwrap(), "dispose i1");
        assert_eq!(sandbox.failing(), ["a"], "stderr: {on_stderr}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_stdout_is_reported_and_stops_nothing() {
    for line in ["run", "run --subunit"] {
        let sandbox = Sandbox::new();
        sandbox.test("a", "exit 1\n");
        sandbox.test("b", "");
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let outcome = sandbox.run(line).stdout(full).exits(3);
        outcome.says(&["to standard output", "No space left"]);
        sandbox.logged(&["provision 1", "execute i1 [] -- suite", "dispose i1"]);
        assert_eq!(sandbox.failing(), ["a"], "{line}");
    }
}

#[test]
fn text_for_a_pipe_is_written_in_blocks() {
    let sandbox = Sandbox::new();
    sandbox.test("a", "exit 1\n");
    // What disposal prints is not held back, so it comes before the text that still waits.
    sandbox.on("dispose", "echo all gone\n");
    let outcome = sandbox.run("run").exits(1);
    let stdout = outcome.stdout();
    assert!(stdout.starts_with("all gone\nrunning=provision 1\nrunning=execute i1"), "{outcome}");
    assert!(stdout.ends_with("FAILED (id=0, failures=1)\nrunning=dispose i1\n"), "{outcome}");
}

#[test]
fn text_for_a_pipe_does_not_wait_for_ever() {
    let (sandbox, mut gate) = two_parts();
    let mut run = sandbox.run("run").spawn();
    // Nothing happens any more until this was seen.
    run.shows("running=execute i1  -- suite  \n");
    gate.open();
    run.exits(1).prints(&["FAIL: a\n", "FAILED (id=0, failures=1)\n"]);
}

#[test]
fn quiet_leaves_out_the_summary_and_nothing_else() {
    let sandbox = Sandbox::new();
    sandbox.test("a", "exit 1\n");
    let outcome = sandbox.run("run -q").exits(1);
    outcome.prints(&["running=provision 1\n", "FAIL: a\n", "exit status 1\n", "running=dispose i1\n"]);
    assert!(!outcome.stdout().contains("FAILED"), "{outcome}");
}

#[test]
fn what_callouts_say_on_stderr_comes_through_and_stdout_is_kept_apart() {
    let sandbox = Sandbox::new();
    sandbox.test("a", "");
    sandbox.on("provision", "echo booting >&2\n");
    sandbox.on("suite", "echo warming up >&2; echo chatter\n");
    sandbox.on("dispose", "echo tearing down >&2\n");
    let outcome = sandbox.run("run").exits(0);
    assert_eq!(outcome.stderr(), "booting\nwarming up\ntearing down\n");
    assert!(!outcome.stdout().contains("chatter"), "{outcome}");
}

/// The most memory that a process has had, in kB.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A run of 256 MiB in packets of `size` bytes: what the program took at its most, seen when all of it was stored.
fn peak_of(line: &str, file: &dyn Fn(Vec<u8>) -> Vec<u8>, size: usize) -> u64 {
    let sandbox = Sandbox::new();
    let (ready, mut gate) = (Fifo::new(&sandbox, "ready"), Fifo::new(&sandbox, "gate"));
    // Lines, as a log has.
    let log: Vec<u8> = b"a line of a log that never ends\n".iter().copied().cycle().take(size).collect();
    sandbox.write("begin", packet("a", Status::InProgress));
    sandbox.write("file", file(log));
    sandbox.write("end", packet("a", Status::Success));
    let times = (256 << 20) / size;
    sandbox.on(
        "suite",
        &format!("cat \"$BOX/begin\"; for i in $(seq {times}); do cat \"$BOX/file\"; done; cat \"$BOX/end\"; exit 0\n"),
    );
    sandbox.on("dispose", "echo here >\"$BOX/ready\"\nread x <\"$BOX/gate\"\n");
    let null = fs::File::options().write(true).open("/dev/null").unwrap();
    let run = sandbox.run(line).stdout(null).spawn();
    ready.wait();
    let peak = peak(run.pid());
    gate.open();
    run.exits(0);
    peak
}

#[cfg(target_os = "linux")]
#[test]
fn memory_does_not_grow_with_what_passes_through() {
    let of_a_test = |log| attached("a", "log", log);
    let as_text = |log| log;
    // The queues hold a bounded number of packets, and so take most with the largest that there can be.
    let (most, most_with_the_largest) = (64 * 1024, 192 * 1024);
    for (what, line, file, size, most) in [
        ("an attachment", "run", &of_a_test as &dyn Fn(Vec<u8>) -> Vec<u8>, 1 << 20, most),
        ("text between packets", "run", &as_text, 1 << 20, most),
        ("the largest packets, passed on", "run --subunit", &of_a_test, 4 << 20, most_with_the_largest),
    ] {
        let peak = peak_of(line, file, size);
        assert!(peak < most, "{what}: {peak} kB");
    }
}
