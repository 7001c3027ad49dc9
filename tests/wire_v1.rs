//! Stored runs: what is written comes back, and what others wrote, or broke, is read.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write;

use proptest::collection::vec;
use proptest::prelude::*;
use regatta::attachment::{Attachment, Body};
use regatta::event::{FinishedTest, Stamp, Status};
use regatta::wire::v1::{Reader, write_test};

/// One line an event: `id status tags`, `id file mime "bytes"` with `+` before a piece that is not the last.
fn shown(run: &[u8]) -> String {
    let mut out = String::new();
    for event in Reader::new(run) {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                writeln!(out, "! {error}").unwrap();
                continue;
            }
        };
        write!(out, "{}", event.id.unwrap()).unwrap();
        if let Some(status) = event.status {
            write!(out, " {}", status.as_str()).unwrap();
        }
        if let Some(file) = event.file {
            let more = if file.eof { "" } else { "+" };
            write!(out, " {more}{} {} {:?}", file.name, file.mime.unwrap(), file.bytes).unwrap();
        }
        for tag in event.tags {
            write!(out, " #{tag}").unwrap();
        }
        if let Some(time) = event.time {
            write!(out, " {}", time.format("%T%.6f")).unwrap();
        }
        out.push('\n');
    }
    out
}

#[track_caller]
fn check(run: &str, expected: &str) {
    assert_eq!(shown(run.as_bytes()), expected);
}

#[test]
fn a_run_of_testrs_is_read() {
    let run = "time: 2020-09-13 12:26:40.000000Z\ntags: slow worker-0\ntest: a.1\ntime: 2020-09-13 12:26:40.250000Z\n\
        failure: a.1 [ multipart\nContent-Type: text/plain;charset=utf8\nlog\nE\r\nline 1\nline 2\n0\r\n]\n\
        tags: -slow -worker-0\ntest: b\nsuccessful: b [ multipart\n]\n";
    check(
        run,
        "a.1 inprogress 12:26:40.000000\n\
         a.1 log text/plain;charset=utf8 b\"line 1\\nline 2\\n\" 12:26:40.250000\n\
         a.1 fail #slow #worker-0 12:26:40.250000\n\
         b inprogress 12:26:40.250000\nb success 12:26:40.250000\n",
    );
}

#[test]
fn every_spelling_is_read() {
    check("test: a\nsuccess: a\n", "a inprogress\na success\n");
    check("testing a\nsuccessful a\n", "a inprogress\na success\n");
    check("test a b\nerror a b\n", "a b inprogress\na b fail\n");
    check("test: a\nxfail: a\ntest: a\nuxsuccess: a\n", "a inprogress\na xfail\na inprogress\na uxsuccess\n");
    check("progress: +3\ntest: a\nprogress: pop\nskip: a\n", "a inprogress\na skip\n");
    check("test:  a \nsuccess:  a \n", " a  inprogress\n a  success\n");
}

#[test]
fn simple_details_are_read() {
    let trace = "text/x-traceback; charset=\"utf8\"";
    check(
        "test: a\nfailure: a [\none\n ]two\n ] \n]\n",
        &format!("a inprogress\na traceback {trace} b\"one\\n]two\\n] \\n\"\na fail\n"),
    );
    check("test: a\nskip: a [\nwhy\n]\n", "a inprogress\na reason text/plain b\"why\\n\"\na skip\n");
    check("test: a\nsuccess: a [\n]\n", "a inprogress\na message text/plain b\"\"\na success\n");
}

#[test]
fn what_is_no_directive_says_nothing() {
    check(
        "noise\n test: a\ntest:\ntest: \nsuccess: a\ntest: a\ntest: b\nfailure: b\nnoise\nsuccess: a\n",
        "a inprogress\na success\n",
    );
    check("time: not a time\ntest: a\nsuccess: a\n", "a inprogress\na success\n");
    check("", "");
}

#[test]
fn times_of_other_writers_are_read() {
    for time in ["2020-01-01T02:00:00+02:00", "2020-01-01 00:00:00Z", "2020-01-01 00:00:00", "2020-01-01T00:00:00.0"] {
        check(&format!("time: {time}\ntest: a\nskip: a\n"), "a inprogress 00:00:00.000000\na skip 00:00:00.000000\n");
    }
}

#[test]
fn tags_inside_a_test_end_with_it() {
    check(
        "tags: g h\ntest: a\ntags: t -g\nsuccess: a\ntest: b\nsuccess: b\ntags: -h x -x\ntest: c\nsuccess: c\n",
        "a inprogress\na success #h #t\nb inprogress\nb success #g #h\nc inprogress\nc success #g\n",
    );
}

#[test]
fn a_test_that_was_cut_off_failed() {
    let trace = "traceback text/x-traceback; charset=\"utf8\"; language=\"python\"";
    let lost = |place: &str| {
        format!(
            "a {trace} b\"testtools.testresult.real._StringException: lost connection during {place}test 'a'\\n\"\na fail\n"
        )
    };
    let whole = "test: a\nfailure: a [ multipart\nContent-Type: a/b\nlog\n3\r\nabc0\r\n]\n";
    for (cut, before, place) in [
        ("test: a\n", "", ""),
        ("test: a\nfailure", "", ""),
        ("test: a\nfailure: a [ multipart\nContent-T", "", "failure report of "),
        ("test: a\nfailure: a [ multipart\nContent-Type: a/b\nlog", "", "failure report of "),
        ("test: a\nfailure: a [ multipart\nContent-Type: a/b\nlog\n3", "a log a/b b\"\"\n", "failure report of "),
        (
            "test: a\nfailure: a [ multipart\nContent-Type: a/b\nlog\n3\r\nab",
            "a log a/b b\"ab\"\n",
            "failure report of ",
        ),
        (
            "test: a\nfailure: a [ multipart\nContent-Type: a/b\nlog\n3\r\nabc0\r\n]",
            "a log a/b b\"abc\"\n",
            "failure report of ",
        ),
    ] {
        assert!(whole.starts_with(cut));
        check(cut, &format!("a inprogress\n{before}{}", lost(place)));
    }
    check(
        "test: a\nskip: a [\nwhy\n",
        &format!("a inprogress\na reason text/plain b\"why\\n\"\n{}", lost("skip report of ")),
    );
    check("test: a\nsuccess: a", &format!("a inprogress\n{}", lost("")));
}

#[test]
fn what_is_garbled_is_an_error_and_the_rest_is_read() {
    let rest = "]\ntest: b\nsuccess: b\n";
    check(
        &format!("test: a\nskip: a [ multipart\nContent-Type: a/b\nlog\nXYZ\r\nabc0\r\n{rest}"),
        "a inprogress\na log a/b b\"\"\n! byte 50 of the run, in the test \"a\": the length of a chunk is garbled\n\
         a skip\nb inprogress\nb success\n",
    );
    check(
        &format!("test: a\nskip: a [ multipart\nnonsense\n{rest}"),
        "a inprogress\n! byte 28 of the run, in the test \"a\": a content type is garbled\n\
         a skip\nb inprogress\nb success\n",
    );
    for length in ["+3", "-1", "", " 3", "3 ", "FFFFFFFFFFFFFFFFF"] {
        let run = format!("test: a\nskip: a [ multipart\nContent-Type: a/b\nlog\n{length}\r\nabc0\r\n{rest}");
        assert!(shown(run.as_bytes()).contains("the length of a chunk is garbled"), "{length:?}");
    }
}

#[test]
fn an_attachment_is_never_whole_in_memory() {
    let big: Vec<u8> = (0..1_000_000u32).map(|n| (n % 253) as u8).collect();
    let mut run = Vec::new();
    let file = Attachment { name: "big".into(), mime: None, body: Body::from(big.clone()) };
    write_test(&mut run, &test("a", Some(Status::Fail), vec![file])).unwrap();
    let files: Vec<_> = Reader::new(run.as_slice()).filter_map(|event| event.unwrap().file).collect();
    assert!(files.iter().all(|file| file.bytes.len() <= 65536));
    assert_eq!(files.iter().filter(|file| file.eof).count(), 1);
    assert!(files.iter().flat_map(|file| file.bytes.clone()).eq(big));
}

fn test(id: &str, status: Option<Status>, attachments: Vec<Attachment>) -> FinishedTest {
    let start = Stamp::from_timestamp(1_600_000_000, 0).unwrap();
    FinishedTest {
        id: id.into(),
        status,
        tags: vec!["worker-0".into()],
        start,
        stop: Some(start),
        attachments,
        ..FinishedTest::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn no_bytes_make_the_reader_panic(run in vec(any::<u8>(), 0..300)) {
        for event in Reader::new(run.as_slice()) {
            drop(event);
        }
    }

    #[test]
    fn no_lines_make_the_reader_panic(
        run in vec(prop::sample::select(vec![
            "test: a\n", "success: a\n", "skip: a [ multipart\n", "failure: a [\n", "]\n", " ]x\n", "Content-Type: a/b\n",
            "log\n", "3\r\n", "abc", "0\r\n", "tags: a -b\n", "time: 2020-01-01 00:00:00Z\n", "x\n", "\u{b3}", "]",
        ]), 0..30),
        small in 1..20usize,
    ) {
        let run = run.concat();
        // The result does not depend on how the file is read.
        let slowly = std::io::BufReader::with_capacity(small, run.as_bytes());
        let events: Vec<_> = Reader::new(slowly).map(|event| event.map_err(|error| error.to_string())).collect();
        let at_once: Vec<_> = Reader::new(run.as_bytes()).map(|event| event.map_err(|error| error.to_string())).collect();
        prop_assert_eq!(events, at_once);
    }

    #[test]
    fn what_is_written_is_read(
        id in "[ -~é\n\t]{1,10}",
        status in prop::sample::select(vec![None, Some(Status::Success), Some(Status::Fail), Some(Status::Skip),
            Some(Status::ExpectedFail), Some(Status::UnexpectedSuccess)]),
        files in vec(("[ -~\n]{0,6}", prop::option::of("[ -~\n]{0,20}"), vec(any::<u8>(), 0..50)), 0..3),
    ) {
        let attachments = files.iter().map(|(name, mime, bytes)| Attachment {
            name: name.as_str().into(),
            mime: mime.as_deref().map(Into::into),
            body: bytes.clone().into(),
        });
        let mut run = Vec::new();
        write_test(&mut run, &test(&id, status, attachments.collect())).unwrap();
        let events: Vec<_> = Reader::new(run.as_slice()).map(Result::unwrap).collect();
        prop_assert_eq!(events[0].status, Some(Status::InProgress));
        prop_assert_eq!(events.last().unwrap().status, status.or(Some(Status::Fail)));
        prop_assert_eq!(&events.last().unwrap().tags, &["worker-0"]);
        let mut sent: Vec<&Vec<u8>> = files.iter().map(|(_, _, bytes)| bytes).filter(|bytes| !bytes.is_empty()).collect();
        let read: Vec<_> = events.iter().filter_map(|event| event.file.clone()).collect();
        let mut came: Vec<Vec<u8>> = read.iter().map(|file| file.bytes.to_vec()).collect();
        sent.sort();
        came.sort();
        prop_assert_eq!(came.iter().collect::<Vec<_>>(), sent);
        if !id.contains(['\n', '\t']) && !id.trim().is_empty() {
            prop_assert!(events.iter().all(|event| event.id.as_deref() == Some(id.as_str())));
        }
    }
}
