//! The faults of execute: what still comes through, how it ends, and what goes on running.

use std::fs;
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};

use regatta::event::Status::{InProgress, Success};

use crate::SEEDS;
use crate::bench::Bench;
use crate::host::{alive, assert_all_ended, describe, read_fifo};
use crate::support::streams::{attached, packet, shown};

const TESTS: [&str; 4] = ["a", "b", "c", "d"];

/// The packets of a runner: three for each test, one of them large.
fn packets() -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    for (test, size) in TESTS.iter().zip([10, 100, 20_000, 500]) {
        packets.push(packet(test, InProgress));
        // Bytes that begin packets are among them.
        packets.push(attached(test, "log", (0..size).map(|n| (n % 251) as u8).collect()));
        packets.push(packet(test, Success));
    }
    packets
}

/// A bench for one fault, with an instance, a list of tests and a stream.
struct Broken {
    bench: Bench,
    id: String,
    packets: Vec<Vec<u8>>,
    stream: Vec<u8>,
}

impl Broken {
    fn new(fault: &str, seed: u32) -> Self {
        Self::with(fault, seed, packets())
    }

    fn with(fault: &str, seed: u32, packets: Vec<Vec<u8>>) -> Self {
        let bench = Bench::new().set("FAULTS", fault).set("SEED", &seed.to_string()).set("PAUSE", "1000");
        let (id, stream) = (bench.host.one(), packets.concat());
        fs::write(bench.host.path("ids"), TESTS.join("\n")).unwrap();
        fs::write(bench.host.path("stream"), &stream).unwrap();
        Self { bench, id, packets, stream }
    }

    /// Starts a shell line; `$S` there is the file with the stream.
    fn command(&self, line: &str) -> Command {
        let [ids, stream] = ["ids", "stream"].map(|name| self.bench.host.path(name).to_str().unwrap().to_owned());
        let mut command = self.bench.chaos(&["execute", &self.id, &ids, "--", "sh", "-c", line]);
        // The leader of a group, as under regatta.
        command.env("S", stream).process_group(0).stderr(Stdio::null());
        command
    }

    /// What comes of the stream, with a command that then waits for ever; it has ended too.
    #[track_caller]
    fn cut(&self) -> (Vec<u8>, ExitStatus) {
        let fifo = self.bench.host.path("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let mut command = self.command("echo $$ >\"$F\"; cat \"$S\"; exec sleep 1000 >&-");
        let child = command.env("F", &fifo).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let pid = read_fifo(&fifo);
        let output = child.wait_with_output().unwrap();
        assert_all_ended(&pid);
        assert_eq!(self.bench.log().len(), 1, "{}", describe(&output));
        (output.stdout, output.status)
    }

    /// What comes of the stream, with a command that ends with status 3.
    #[track_caller]
    fn whole(&self) -> Vec<u8> {
        let output = self.command("cat \"$S\"; exit 3").output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
        assert_eq!(self.bench.log().len(), 1, "{}", describe(&output));
        output.stdout
    }

    #[track_caller]
    fn number(&self, name: &str) -> usize {
        self.bench.detail(name).parse().unwrap()
    }

    #[track_caller]
    fn ended_as_drawn(&self, status: ExitStatus) {
        match &*self.bench.detail("ending") {
            "KILL" => assert_eq!(status.signal(), Some(9)),
            number => assert_eq!(status.code().unwrap().to_string(), number),
        }
    }
}

#[test]
fn die_before_does_not_begin_the_command() {
    for seed in SEEDS {
        let broken = Broken::new("die-before", seed);
        let output = broken.command("touch \"$HOME/begun\"").output().unwrap();
        broken.ended_as_drawn(output.status);
        assert!(!broken.bench.host.instance(&broken.id).join("home/begun").exists());
        assert_eq!(output.stdout, b"");
    }
}

#[test]
fn die_between_ends_behind_a_packet() {
    for seed in SEEDS {
        let broken = Broken::new("die-between", seed);
        let (out, status) = broken.cut();
        broken.ended_as_drawn(status);
        assert!(out == broken.packets[..broken.number("packets")].concat());
    }
}

#[test]
fn die_inside_ends_within_a_packet() {
    for seed in SEEDS {
        let broken = Broken::new("die-inside", seed);
        let (out, status) = broken.cut();
        broken.ended_as_drawn(status);
        let whole = broken.number("packets");
        let [least, most] = [whole, whole + 1].map(|n| broken.packets[..n].concat().len());
        assert!((least + 1..most).contains(&out.len()) && broken.stream.starts_with(&out));
    }
}

#[test]
fn die_in_test_ends_behind_the_beginning_of_a_test() {
    for seed in SEEDS {
        let broken = Broken::new("die-in-test", seed);
        let (out, status) = broken.cut();
        broken.ended_as_drawn(status);
        assert!(out == broken.packets[..3 * (broken.number("test") - 1) + 1].concat());
    }
}

#[test]
fn lengths_of_every_size_are_read() {
    // Numbers of one to three bytes, and more packets than are ever asked for.
    let attachment = |size| attached("a", "log", vec![0xb3; size]);
    let packets = [0, 30, 60, 16_000, 16_400, 1, 1, 1].map(attachment).to_vec();
    // Neither is a packet, though one begins as if it were.
    let text = b"text \xb3\x20\x00\x03 and more\n".to_vec();
    let stream = [vec![packet("a", InProgress)], packets, vec![packet("a", Success)]].concat();
    for seed in SEEDS {
        let broken = Broken::with("die-between", seed, stream.clone());
        let (out, _) = broken.cut();
        assert!(out == stream[..broken.number("packets")].concat());
        let broken = Broken::with("die-between", seed, [std::slice::from_ref(&text), &stream[..]].concat());
        let (out, _) = broken.cut();
        let count = broken.number("packets");
        let text: &[u8] = if count == 0 { &[] } else { &text };
        assert!(out == [text, &stream[..count].concat()].concat());
    }
}

#[test]
fn a_lost_connection_has_any_status() {
    for seed in SEEDS {
        for (fault, code) in [("drop-0", 0), ("drop-1", 1), ("drop-255", 255)] {
            let broken = Broken::new(fault, seed);
            let (out, status) = broken.cut();
            assert_eq!(status.code(), Some(code));
            assert!(out == broken.stream[..broken.number("bytes")]);
        }
    }
}

#[test]
fn instance_dies_is_a_power_cut() {
    for seed in SEEDS {
        let broken = Broken::new("instance-dies", seed);
        let (out, status) = broken.cut();
        broken.ended_as_drawn(status);
        assert!(out == broken.stream[..broken.number("bytes")]);
        assert_eq!(fs::read_to_string(broken.bench.host.instance(&broken.id).join("state")).unwrap(), "dead\n");
    }
}

#[test]
fn drop_left_running_leaves_the_command_running() {
    let broken = Broken::new("drop-left-running", 1);
    let fifo = broken.bench.host.path("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    // It is still read: more than a pipe holds.
    let line = "cat \"$S\"; head -c 300000 /dev/zero; echo $$ >\"$F\"; exec sleep 1000";
    let output = broken.command(line).env("F", &fifo).output().unwrap();
    assert_eq!(output.status.code(), Some(255));
    assert!(output.stdout == broken.stream[..broken.number("bytes")]);
    let pid = read_fifo(&fifo);
    assert!(alive(pid.trim()));
    broken.bench.host.ok(&["kill", &broken.id]);
    assert_all_ended(&pid);
}

#[test]
fn garble_changes_bytes_of_one_packet() {
    for seed in SEEDS {
        let broken = Broken::new("garble", seed);
        let out = broken.whole();
        let packets = broken.number("packets");
        assert_eq!(out.len(), broken.stream.len());
        let changed: Vec<_> = (0..out.len()).filter(|at| out[*at] != broken.stream[*at]).collect();
        let [start, end] = [packets, packets + 1].map(|n| broken.packets[..n].concat().len());
        assert!((1..=3).contains(&changed.len()), "{changed:?}");
        assert!(changed.iter().all(|at| (start..end).contains(at)), "{changed:?} are not in {start}..{end}");
    }
}

#[test]
fn truncate_cuts_the_last_result() {
    for seed in SEEDS {
        let broken = Broken::with("truncate", seed, [packets(), vec![attached("x", "more", vec![7])]].concat());
        let out = broken.whole();
        let whole = broken.packets[..3 * TESTS.len()].concat();
        assert!(out == whole[..whole.len() - broken.number("bytes")]);
    }
}

#[test]
fn chatter_is_text_between_packets() {
    for seed in SEEDS {
        let broken = Broken::new("chatter", seed);
        let (expected, mut lines) = (shown(&broken.stream), shown(&broken.whole()));
        lines.retain(|line| !line.starts_with("text \"chaos: "));
        assert_eq!(lines, expected);
    }
}

#[test]
fn stay_open_holds_stdout() {
    let broken = Broken::new("stay-open", 1);
    let mut child = broken.command("cat \"$S\"; exit 3").stdout(Stdio::piped()).spawn().unwrap();
    let mut out = vec![0; broken.stream.len()];
    child.stdout.as_mut().unwrap().read_exact(&mut out).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(3));
    assert!(out == broken.stream);
    // Somebody is left in the group, who holds stdout and nothing else.
    end_group("KILL", &child);
    assert_eq!(child.stdout.unwrap().read(&mut out).unwrap(), 0);
}

/// Signals the group that the child leads.
#[track_caller]
fn end_group(name: &str, child: &Child) {
    let status = Command::new("kill").args([&format!("-{name}"), "--", &format!("-{}", child.id())]).status();
    assert!(status.unwrap().success());
}

#[test]
fn hang_lasts_until_it_is_killed() {
    for seed in SEEDS {
        let broken = Broken::new("hang", seed);
        let mut child = broken.command("cat \"$S\"").stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        // One of them is there for certain when the line in the log is.
        let mut first = vec![0; 1];
        stdout.read_exact(&mut first).unwrap();
        let mut out = vec![0; broken.number("bytes") - 1];
        stdout.read_exact(&mut out).unwrap();
        assert!([first, out].concat() == broken.stream[..broken.number("bytes")]);
        assert!(child.try_wait().unwrap().is_none());
        end_group(if seed % 2 == 0 { "TERM" } else { "KILL" }, &child);
        assert!(child.wait().unwrap().signal().is_some());
        let mut rest = Vec::new();
        stdout.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"", "it hung no longer");
    }
}

#[test]
fn ending_the_group_ends_all_of_it() {
    for fault in ["die-inside", "hang", "drop-255", "garble", "truncate", "chatter", "instance-dies"] {
        for name in ["TERM", "KILL"] {
            let broken = Broken::new(fault, 1);
            let fifo = broken.bench.host.path("fifo");
            assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
            // Before anything was written.
            let line = "echo $$ >\"$F\"; exec sleep 1000";
            let child = broken.command(line).env("F", &fifo).stdout(Stdio::piped()).spawn().unwrap();
            let pid = read_fifo(&fifo);
            end_group(name, &child);
            // At its end all who had it open are gone.
            let output = child.wait_with_output();
            broken.bench.host.ok(&["kill", &broken.id]);
            assert_all_ended(&pid);
            assert_eq!(output.unwrap().stdout, b"");
        }
    }
}
