//! regatta and python-subunit agree on valid streams, both ways, and on stored runs.
//!
//! Needs a Python with python-subunit and testtools: `REGATTA_TEST_PYTHON`, else `python3`. Without one the tests say
//! that they were skipped; where `CI` is set, that is a failure.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stderr, reason = "a skipped test must be seen")]

mod wire_events;

use std::io::Write;
use std::process::{Command, Stdio};

use chrono::{SubsecRound, TimeZone, Utc};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use regatta::attachment::Attachment;
use regatta::event::{FileChunk, FinishedTest, Status, TestEvent};
use regatta::wire::v1::{Reader, write_test};
use regatta::wire::{Item, Scanner, encode};
use wire_events::event;

/// One line an event: its fields in hex or `-`, then flags. Reads a v2 stream, lines, or a v1 run on stdin.
const SCRIPT: &str = r#"
import datetime, io, sys
import subunit, testtools
from subunit.v2 import ByteStreamToStreamResult, StreamResultToBytes

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
MICRO = datetime.timedelta(microseconds=1)

def hexed(value):
    if value is None:
        return "-"
    return "=" + (value.encode() if isinstance(value, str) else bytes(value)).hex()

def unhexed(word):
    return None if word == "-" else bytes.fromhex(word[1:]).decode()

class Lines(testtools.StreamResult):
    def status(self, test_id=None, test_status=None, test_tags=None, runnable=True, file_name=None, file_bytes=None,
               eof=False, mime_type=None, route_code=None, timestamp=None):
        tags = ",".join(sorted(hexed(tag) for tag in test_tags or ()))
        time = "-" if timestamp is None else str((timestamp - EPOCH) // MICRO)
        print(hexed(test_id), test_status or "-", tags or "-", int(runnable), hexed(file_name), hexed(file_bytes),
              int(eof), hexed(mime_type), hexed(route_code), time)

mode, stdin, stdout = sys.argv[1], sys.stdin.buffer, sys.stdout.buffer
if mode == "decode":
    ByteStreamToStreamResult(stdin).run(Lines())
elif mode == "encode":
    result = StreamResultToBytes(stdout)
    for line in stdin.read().decode().splitlines():
        id, status, tags, runnable, name, content, eof, mime, route, time = line.split(" ")
        result.status(
            test_id=unhexed(id), test_status=None if status == "-" else status,
            test_tags=None if tags == "-" else {unhexed(tag) for tag in tags.split(",")}, runnable=runnable == "1",
            file_name=unhexed(name), file_bytes=None if content == "-" else bytes.fromhex(content[1:]), eof=eof == "1",
            mime_type=unhexed(mime), route_code=unhexed(route),
            timestamp=None if time == "-" else EPOCH + int(time) * MICRO)
elif mode == "read-run":
    result = testtools.ExtendedToStreamDecorator(Lines())
    result.startTestRun()
    subunit.ProtocolTestCase(stdin, passthrough=io.BytesIO()).run(result)
    result.stopTestRun()
elif mode == "write-run":
    result = testtools.StreamToExtendedDecorator(subunit.TestProtocolClient(stdout))
    result.startTestRun()
    ByteStreamToStreamResult(stdin).run(result)
    result.stopTestRun()
"#;

/// What the script makes of `input`; nothing when there is no python-subunit.
fn python(mode: &str, input: &[u8]) -> Option<Vec<u8>> {
    let python = std::env::var("REGATTA_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
    let there = Command::new(&python).args(["-c", "import subunit, testtools"]).stderr(Stdio::null()).status();
    if !there.is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("CI").is_none(), "{python} has no python-subunit and testtools");
        eprintln!("SKIPPED: {python} has no python-subunit and testtools; set REGATTA_TEST_PYTHON to one that has");
        return None;
    }
    let mut child =
        Command::new(&python).args(["-c", SCRIPT, mode]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "python {mode} ended with {}", output.status);
    Some(output.stdout)
}

fn hexed(text: Option<&[u8]>) -> String {
    text.map_or("-".into(), |text| {
        text.iter().fold(String::from("="), |mut hex, byte| {
            hex += &format!("{byte:02x}");
            hex
        })
    })
}

/// The same line as the script's.
fn line(event: &TestEvent) -> String {
    let file = event.file.as_ref();
    let mut tags: Vec<String> = event.tags.iter().map(|tag| hexed(Some(tag.as_bytes()))).collect();
    tags.sort_unstable();
    tags.dedup();
    let words = [
        hexed(event.id.as_ref().map(|id| id.as_bytes().as_ref())),
        event.status.map_or("-", Status::as_str).into(),
        if tags.is_empty() { "-".into() } else { tags.join(",") },
        u8::from(event.runnable).to_string(),
        hexed(file.map(|file| file.name.as_bytes().as_ref())),
        hexed(file.map(|file| file.bytes.as_ref())),
        u8::from(file.is_some_and(|file| file.eof)).to_string(),
        hexed(file.and_then(|file| file.mime.as_ref()).map(|mime| mime.as_bytes().as_ref())),
        hexed(event.route.as_ref().map(|route| route.as_bytes().as_ref())),
        event.time.map_or("-".into(), |time| time.timestamp_micros().to_string()),
    ];
    words.join(" ")
}

/// The same values at each run of the tests.
fn some<S: Strategy>(strategy: S) -> S::Value {
    strategy.new_tree(&mut TestRunner::deterministic()).unwrap().current()
}

/// Events that Python can say as well: times to the microsecond, no empty content type.
fn events() -> Vec<TestEvent> {
    let mut events = some(vec(event(), 2000));
    for event in &mut events {
        event.time = event.time.map(|time| time.trunc_subsecs(6));
        if let Some(file) = &mut event.file {
            file.mime = file.mime.take().filter(|mime| !mime.is_empty());
        }
    }
    events
}

fn scan(stream: &[u8]) -> Vec<TestEvent> {
    let (mut scanner, mut out) = (Scanner::new(), Vec::new());
    scanner.feed(stream, &mut out);
    scanner.finish(&mut out);
    let events = out.into_iter().map(|item| match item {
        Item::Packet { event, .. } => event,
        other => panic!("not a clean stream: {other:?}"),
    });
    events.collect()
}

#[track_caller]
fn check_lines(python: &[u8], ours: impl IntoIterator<Item = String>) {
    let python = std::str::from_utf8(python).unwrap();
    let mut count = 0;
    for (n, (theirs, ours)) in python.lines().zip(ours).enumerate() {
        assert_eq!(theirs, ours, "event {n}");
        count += 1;
    }
    assert_eq!(count, python.lines().count(), "there are fewer of ours");
}

#[test]
fn python_reads_what_we_write() {
    let events = events();
    let mut stream = Vec::new();
    for event in &events {
        encode(&mut stream, event);
    }
    if let Some(lines) = python("decode", &stream) {
        check_lines(&lines, events.iter().map(line));
    }
}

#[test]
fn we_read_what_python_writes() {
    let lines: Vec<String> = events().iter().map(line).collect();
    if let Some(stream) = python("encode", lines.join("\n").as_bytes()) {
        let events = scan(&stream);
        check_lines(lines.join("\n").as_bytes(), events.iter().map(line));
        // And what both write is the same to the byte, but for the order of tags.
        let mut ours = Vec::new();
        for event in &events {
            encode(&mut ours, &TestEvent { packet: None, ..event.clone() });
        }
        assert!(ours == stream, "the streams differ");
    }
}

/// Tests as they come from a runner, with strings made of `characters`.
///
/// Files are ASCII, since testtools fails on text that is not what its content type says.
fn tests(characters: &str) -> Vec<FinishedTest> {
    let status = prop::sample::select(vec![
        Status::Success,
        Status::UnexpectedSuccess,
        Status::Skip,
        Status::Fail,
        Status::ExpectedFail,
    ]);
    let mime = prop::option::of(prop::sample::select(vec![
        "text/plain;charset=utf8",
        "text/x-traceback; charset=\"utf8\"; language=\"python\"",
        "text/x-traceback;charset=\"utf8\",language=\"python\"",
        "Application/JSON",
        "nonsense",
        "image/png; q=0.5; b=x y",
    ]));
    let text = || prop::string::string_regex(&format!("{characters}{{1,8}}")).unwrap();
    let files = prop::collection::btree_map(text(), (mime, vec(0..0x80u8, 0..100)), 0..4);
    let tags = prop::collection::btree_set("[a-z]{1,4}", 0..3);
    let times = (0..4_000_000_000u32, 0..1_000_000_000u32, 0..1_000_000_000u32);
    let test = (text(), status, tags, times, files).prop_map(|(id, status, tags, (seconds, begun, ended), files)| {
        let stamp = |nanos| Utc.timestamp_opt(i64::from(seconds), nanos).unwrap();
        let attachments = files.into_iter().map(|(name, (mime, bytes))| Attachment {
            name: name.into(),
            mime: mime.map(Into::into),
            body: bytes.into(),
        });
        FinishedTest {
            id: id.into(),
            status: Some(status),
            tags: tags.into_iter().map(Into::into).collect(),
            start: stamp(begun),
            stop: Some(stamp(ended)),
            attachments: attachments.collect(),
            ..FinishedTest::default()
        }
    });
    some(vec(test, 300))
}

/// The events that such a test came in.
fn events_of(test: &FinishedTest) -> Vec<TestEvent> {
    let event = |status| TestEvent { id: Some(test.id.clone()), status, runnable: true, ..TestEvent::default() };
    let mut events = vec![TestEvent { time: Some(test.start), ..event(Some(Status::InProgress)) }];
    for file in &test.attachments {
        let mut bytes = Vec::new();
        file.body.read().unwrap().read_to_end(&mut bytes).unwrap();
        let chunk = FileChunk { name: file.name.clone(), mime: file.mime.clone(), bytes: bytes.into(), eof: true };
        events.push(TestEvent { file: Some(chunk), ..event(None) });
    }
    events.push(TestEvent { tags: test.tags.clone(), time: test.stop, ..event(test.status) });
    events
}

/// The lines of a run, those with tags with the tags sorted: Python's come in any order.
fn lines_with_sorted_tags(run: &[u8]) -> Vec<Vec<u8>> {
    let lines = run.split_inclusive(|byte| *byte == b'\n').map(|line| match line.strip_prefix(b"tags: ") {
        None => line.to_vec(),
        Some(tags) => {
            let mut tags: Vec<&[u8]> = tags.trim_ascii().split(|byte| *byte == b' ').collect();
            tags.sort_unstable();
            [b"tags: ".to_vec(), tags.join(&b' '), b"\n".to_vec()].concat()
        }
    });
    lines.collect()
}

#[test]
fn a_run_is_stored_as_testr_does_to_the_byte() {
    let tests = tests("[ -~é日]");
    let (mut stream, mut ours) = (Vec::new(), Vec::new());
    for test in tests.iter().filter(|test| !test.id.trim().is_empty()) {
        for event in events_of(test) {
            encode(&mut stream, &event);
        }
        write_test(&mut ours, test).unwrap();
    }
    if let Some(run) = python("write-run", &stream) {
        let (theirs, ours) = (lines_with_sorted_tags(&run), lines_with_sorted_tags(&ours));
        for (n, (theirs, ours)) in theirs.iter().zip(&ours).enumerate() {
            assert_eq!(theirs.escape_ascii().to_string(), ours.escape_ascii().to_string(), "line {n}");
        }
        assert_eq!(theirs.len(), ours.len());
    }
}

/// Both readers' events for a run.
#[track_caller]
fn check_run(run: &[u8]) {
    if let Some(lines) = python("read-run", run) {
        let events: Vec<TestEvent> = Reader::new(run).map(Result::unwrap).collect();
        check_lines(&lines, events.iter().map(line));
        assert_eq!(events.len(), lines.iter().filter(|byte| **byte == b'\n').count());
    }
}

#[test]
fn python_reads_the_runs_we_store() {
    let mut run = Vec::new();
    for mut test in tests("[ -~é日\n\t\u{0}\u{7f}\u{85}\u{a0}]") {
        test.tags.push("with blank".into());
        test.tags.push("-taken\naway".into());
        write_test(&mut run, &test).unwrap();
    }
    for id in ["", " ", "\n", " lead", "trail ", "a [", "a [ multipart", "]", "test: a", ":", "\u{2028}", "a\r"] {
        let mut test = tests("[a-z]").swap_remove(0);
        test.id = id.into();
        test.attachments.push(Attachment {
            name: id.into(),
            mime: Some(format!("{id}/{id};x={id}/").into()),
            body: b"]\nsuccess: a\n".to_vec().into(),
        });
        write_test(&mut run, &test).unwrap();
    }
    let unfinished = FinishedTest { status: None, stop: None, ..tests("[a-z]").swap_remove(0) };
    write_test(&mut run, &unfinished).unwrap();
    check_run(&run);
    let begun = |event: &TestEvent| event.status == Some(Status::InProgress);
    let count = Reader::new(run.as_slice()).map(Result::unwrap).filter(begun).count();
    assert_eq!(count, 300 + 12 + 1);
}

#[test]
fn we_read_runs_of_others_as_python_does() {
    let time = "time: 2020-01-01 00:00:00.5Z\n";
    for run in [
        "test: a\nsuccess: a\n",
        "testing a\nsuccessful a\ntest: b\nerror: b\n",
        "tags: g h\ntest: a\ntags: t -g\nsuccess: a\ntest: b\nsuccess: b\ntags: -h x -x\ntest: c\nskip: c\n",
        "test: a\nfailure: a [\none\n ]two\n ] \n]\ntest: b\nskip: b [\nwhy\n]\ntest: c\nsuccess: c [\n]\n",
        "test: a\nxfail: a [\n]\ntest: b\nuxsuccess: b [ multipart\nContent-Type: a/b\nn\n0\r\n]\n",
        "noise\n test: a\ntest:\ntest: \nsuccess: a\ntest: a\ntest: b\nfailure: b\nnoise\n\nsuccess: a\n",
        "test: a\nprogress: +3\nprogress: push\ntime: 2021-01-01T00:00:00+02:00\nsuccess: a\n",
        "test: a\nfailure: a [ multipart\nContent-Type: a/b\nn\n3\r\nabc2\r\n]\n0\r\nContent-Type: c/d\nm\n1\r\n\n0\r\n]\n",
        "test: a\n",
        "test: a\nsuccess: a",
        "test: a\nerror: a [ multipart\n",
        "test: a\nuxsuccess: a [ multipart\nContent-Type: a/b\n",
    ] {
        check_run(format!("{time}{run}").as_bytes());
    }
}
