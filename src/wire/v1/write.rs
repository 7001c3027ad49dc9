//! Writes a finished test as testr stores it.
//!
//! Opens nothing and holds no attachment whole. Called by the report that stores runs.

use std::borrow::Cow;
use std::io::{self, Read, Write};

use chrono::{Datelike, Duration, Timelike};

use super::{END, PIECE, escape, mime, outcome_word};
use crate::attachment::Attachment;
use crate::event::{FinishedTest, Stamp, Status};

/// Write `test`, byte for byte as testr would for the same events.
///
/// Its times are rounded to the microsecond, its files sorted by name, and empty files left out, all as testr does. A
/// test that merely exists is not stored. What cannot stand on a line is escaped: see `escape`. Files are read and
/// written in chunks of 64 KiB (testr's chunks are as long as the pieces that came).
///
/// # Errors
/// When an attachment cannot be read, or `out` not be written.
pub fn write_test(out: &mut impl Write, test: &FinishedTest) -> io::Result<()> {
    if test.status == Some(Status::Exists) {
        return Ok(());
    }
    let id = escape::id(&test.id);
    let tags: Vec<Cow<'_, str>> = test.tags.iter().filter(|tag| !tag.is_empty()).map(|tag| escape::tag(tag)).collect();
    write_time(out, test.start)?;
    write_tags(out, &tags, "")?;
    writeln!(out, "test: {id}")?;
    if let (Some(_), Some(stop)) = (test.status, test.stop) {
        write_time(out, stop)?;
    }
    writeln!(out, "{}: {id} [ multipart", outcome_word(test.status))?;
    let mut files: Vec<&Attachment> = test.attachments.iter().filter(|file| !file.body.is_empty()).collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    for file in files {
        writeln!(out, "Content-Type: {}", mime::content_type(file.mime.as_deref()))?;
        writeln!(out, "{}", escape::line(&file.name))?;
        write_chunks(out, file)?;
    }
    out.write_all(END)?;
    write_tags(out, &tags, "-")
}

fn write_time(out: &mut impl Write, at: Stamp) -> io::Result<()> {
    // Python's `timedelta` rounds half a microsecond to the even one.
    let (micros, rest) = (at.timestamp_subsec_micros(), at.timestamp_subsec_nanos() % 1000);
    let up = rest > 500 || (rest == 500 && micros % 2 == 1);
    let at = if up { at + Duration::nanoseconds(i64::from(1000 - rest)) } else { at };
    let (date, time) = (at.date_naive(), at.time());
    writeln!(
        out,
        "time: {:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:06}Z",
        date.year(),
        date.month(),
        date.day(),
        time.hour(),
        time.minute(),
        time.second(),
        // A leap second is written as the last moment of the second before.
        at.timestamp_subsec_micros().min(999_999),
    )
}

fn write_tags(out: &mut impl Write, tags: &[Cow<'_, str>], sign: &str) -> io::Result<()> {
    if tags.is_empty() {
        return Ok(());
    }
    write!(out, "tags:")?;
    for tag in tags {
        write!(out, " {sign}{tag}")?;
    }
    writeln!(out)
}

fn write_chunks(out: &mut impl Write, file: &Attachment) -> io::Result<()> {
    let mut body = file.body.read()?;
    let mut chunk = Vec::with_capacity(PIECE.min(usize::try_from(file.body.len()).unwrap_or(PIECE)));
    loop {
        chunk.clear();
        body.by_ref().take(PIECE as u64).read_to_end(&mut chunk)?;
        if chunk.is_empty() {
            return out.write_all(b"0\r\n");
        }
        write!(out, "{:X}\r\n", chunk.len())?;
        out.write_all(&chunk)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(nanos: u32) -> Stamp {
        Stamp::from_timestamp(1_600_000_000, nanos).unwrap()
    }

    fn file(name: &str, mime: Option<&str>, bytes: &[u8]) -> Attachment {
        Attachment { name: name.into(), mime: mime.map(Into::into), body: bytes.to_vec().into() }
    }

    fn written(test: &FinishedTest) -> String {
        let mut out = Vec::new();
        write_test(&mut out, test).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn test(id: &str, status: Option<Status>) -> FinishedTest {
        FinishedTest {
            id: id.into(),
            status,
            start: stamp(0),
            stop: Some(stamp(250_000_000)),
            ..FinishedTest::default()
        }
    }

    #[test]
    fn a_test_is_written_as_testr_does() {
        let mut failed = test("a.1", Some(Status::Fail));
        failed.tags = vec!["slow".into(), "worker-0".into()];
        failed.attachments = vec![
            file("z", None, b"x"),
            file("empty", None, b""),
            file("log", Some("text/plain;charset=utf8"), b"line 1\nline 2\n"),
        ];
        let expected = "time: 2020-09-13 12:26:40.000000Z\ntags: slow worker-0\ntest: a.1\n\
            time: 2020-09-13 12:26:40.250000Z\nfailure: a.1 [ multipart\n\
            Content-Type: text/plain;charset=utf8\nlog\nE\r\nline 1\nline 2\n0\r\n\
            Content-Type: application/octet-stream\nz\n1\r\nx0\r\n]\ntags: -slow -worker-0\n";
        assert_eq!(written(&failed), expected);
    }

    #[test]
    fn outcomes_have_testrs_words() {
        for (status, word) in [
            (Status::Success, "successful"),
            (Status::Skip, "skip"),
            (Status::ExpectedFail, "xfail"),
            (Status::UnexpectedSuccess, "uxsuccess"),
        ] {
            let text = written(&test("a", Some(status)));
            assert!(text.ends_with(&format!("250000Z\n{word}: a [ multipart\n]\n")), "{text}");
        }
        assert_eq!(written(&test("a", Some(Status::Exists))), "");
    }

    #[test]
    fn a_test_without_an_end_failed_and_has_one_time() {
        let unfinished = FinishedTest { stop: None, ..test("a", None) };
        assert_eq!(written(&unfinished), "time: 2020-09-13 12:26:40.000000Z\ntest: a\nfailure: a [ multipart\n]\n");
    }

    #[test]
    fn a_line_end_in_an_id_writes_no_result() {
        let text = written(&test("a\nsuccess: b", Some(Status::Success)));
        assert!(text.contains("\ntest: a\\x0asuccess: b\n"), "{text}");
    }

    #[test]
    fn times_are_rounded_as_python_does() {
        for (nanos, expected) in
            [(1499, "000001"), (1500, "000002"), (2500, "000002"), (2501, "000003"), (999_999_999, "000000")]
        {
            let mut out = Vec::new();
            write_time(&mut out, stamp(nanos)).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert!(text.ends_with(&format!(".{expected}Z\n")), "{nanos}: {text}");
        }
    }
}
