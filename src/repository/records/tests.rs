//! Texts as data, and random ones.

use super::*;
use proptest::prelude::*;

/// What the splitter says of a text: each record's id, `F` for a failure and `-` if not, `!` when cut, and its bytes.
fn split(text: &[u8]) -> Vec<(String, String)> {
    Records::new(text)
        .map(|record| {
            let record = record.unwrap();
            let marks =
                format!("{}{}", if record.is_failure { "F" } else { "-" }, if record.is_cut { "!" } else { "" });
            let range = usize::try_from(record.range.start).unwrap()..usize::try_from(record.range.end).unwrap();
            let id = String::from_utf8(record.id).unwrap();
            (format!("{id} {marks}"), String::from_utf8_lossy(&text[range]).into_owned())
        })
        .collect()
}

/// The records, put together, must be the whole text, each in its place.
fn check(records: &[(&str, &str)]) {
    let text: String = records.iter().map(|(_, bytes)| *bytes).collect();
    let expect: Vec<_> = records.iter().map(|(head, bytes)| ((*head).to_owned(), (*bytes).to_owned())).collect();
    assert_eq!(split(text.as_bytes()), expect);
}

#[test]
fn records_as_testr_writes_them() {
    check(&[
        (
            "a.fail F",
            "time: 2024-01-01 00:00:01.000000Z\ntags: worker-0 x\ntest: a.fail\ntime: 2024-01-01 00:00:02.000000Z\n\
             failure: a.fail [ multipart\nContent-Type: text/plain;charset=utf8\ntraceback\n\
             2E\r\ntest: b\nsuccess: b\nfailure: a.fail\n]\ntags: -x\n0\r\n]\ntags: -worker-0 -x\n",
        ),
        ("a.ok -", "time: 2024-01-01 00:00:02.000000Z\ntest: a.ok\nsuccessful: a.ok [ multipart\n]\n"),
        ("a.x -", "tags: worker-0\ntest: a.x\nxfail: a.x\ntags: b -a -worker-0\n"),
        ("a.ip F", "tags: b\ntest: a.ip\nfailure: a.ip [ multipart\n]\n"),
    ]);
}

#[test]
fn records_as_others_write_them() {
    check(&[
        ("a F", "noise\n\nprogress: +2\ntesting a\ntags: inner\nnoise: a\nerror: a [\n ]\nfailure: a\n]\ntags: -t\n"),
        ("b c -", "test: b c\nfailure: b\nsuccess: b c [\n]\n"),
        ("d -", "test: d\nuxsuccess d\n"),
        ("e -", "\ntest: e\nskip: e [ multipart\nContent-Type: text/plain\nreason\n3\r\nwhy0\r\n]\n"),
    ]);
    // A last line without its end may have been cut.
    assert_eq!(split(b"test: a\nerror: a\ntags: -"), [("a F".to_owned(), "test: a\nerror: a\n".to_owned())]);
    assert_eq!(split(b"test: a\nsuccess: a"), [("a F!".to_owned(), "test: a\n".to_owned())]);
    assert_eq!(split(b"test: a"), []);
    assert_eq!(split(b""), []);
    assert_eq!(split(b"noise\ntest: \ntest:\n test: a\n"), []);
}

#[test]
fn a_record_without_an_end_takes_the_rest() {
    for cut in [
        "test: b\n",
        "test: b\nfailure: b [\ntest: c\nfailure: c\n",
        "test: b\nfailure: b [ multipart\nContent-Type: text/plain\n",
        "test: b\nsuccess: b [ multipart\nContent-Type: text/plain\nx\nFFFFFFFFFFFFFFFF\r\n]\ntest: c\nfailure: c\n",
        "test: b\nsuccess: b [ multipart\nContent-Type: text/plain\nx\nnothing\r\n]\ntest: c\nfailure: c\n",
        "test: b\nsuccess: b [ multipart\nContent-Type: text/plain\nx\n3\nabc0\r\n]\n",
    ] {
        check(&[("a -", "test: a\nsuccess: a\n"), ("b F!", cut)]);
    }
}

/// Random bytes in which what a splitter could stumble on is frequent.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let piece =
        prop::sample::select(vec![&b"]\n"[..], b"test: a\n", b"failure: a\n", b"tags: -a\n", b"0\r\n", b"\n", b"\xff"]);
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

prop_compose! {
    fn records()(
        id in "[ab]{1,2}( \\[)?",
        word in prop::sample::select(vec!["failure", "error", "success", "skip", "xfail"]),
        bodies in prop::collection::vec(prop::collection::vec(bodies(), 0..3), 0..3),
        has_time: bool,
        has_tags: bool,
    ) -> (String, bool, Vec<u8>) {
        let mut text = Vec::new();
        if has_time {
            text.extend_from_slice(b"time: 2024-01-01 00:00:01.000000Z\n");
        }
        if has_tags {
            text.extend_from_slice(b"tags: a b\n");
        }
        text.extend_from_slice(format!("test: {id}\n{word}: {id} [ multipart\n").as_bytes());
        for chunks in bodies {
            text.extend_from_slice(b"Content-Type: text/plain\n]\n");
            for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
                text.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
                text.extend_from_slice(chunk);
            }
            text.extend_from_slice(b"0\r\n");
        }
        text.extend_from_slice(b"]\n");
        if has_tags {
            text.extend_from_slice(b"tags: -a -b\n");
        }
        (id, word == "failure" || word == "error", text)
    }
}

proptest! {
    #[test]
    fn random_records_are_found_in_a_text_of_them(records in prop::collection::vec(records(), 0..6)) {
        let text: Vec<u8> = records.iter().flat_map(|(_, _, bytes)| bytes.clone()).collect();
        let found: Vec<Record> = Records::new(&*text).map(Result::unwrap).collect();
        let mut at = 0;
        let expect: Vec<Record> = records.into_iter().map(|(id, is_failure, bytes)| {
            let range = at..at + bytes.len() as u64;
            at = range.end;
            Record { id: id.into_bytes(), is_failure, is_cut: false, range }
        }).collect();
        prop_assert_eq!(found, expect);
    }

    #[test]
    fn records_of_any_text_follow_each_other(pieces in prop::collection::vec(
        prop_oneof![
            records().prop_map(|(_, _, text)| text),
            bodies(),
            Just(b"test: a\nfailure: a [ multipart\nT\nn\n".to_vec()),
            any::<Vec<u8>>(),
        ],
        0..6,
    )) {
        let text = pieces.concat();
        let mut at = 0;
        for record in Records::new(&*text) {
            let range = record.unwrap().range;
            prop_assert_eq!(range.start, at);
            prop_assert!(range.end > at && range.end <= text.len() as u64);
            at = range.end;
        }
    }
}
