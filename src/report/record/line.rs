//! The lines of a record, as they are written: the page of [`super`] says what they mean.

use bytestring::ByteString;
use serde::ser::{Serialize, SerializeSeq, Serializer};

use crate::attachment::Attachment;
use crate::event::{Ending, FinishedTest, How, Stamp, Status};
use crate::test_id::TestId;

/// A line.
#[derive(serde::Serialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub(super) enum Line<'a> {
    Run {
        format: u32,
        run: &'a str,
        at: Time,
        retries: bool,
    },
    Callout {
        number: u64,
        key: &'a str,
        line: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        instance: Option<&'a str>,
        at: Time,
    },
    CalloutEnded {
        number: u64,
        #[serde(flatten)]
        ending: EndingFields<'a>,
        at: Time,
    },
    Instance {
        id: &'a str,
        state: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        until: Option<Time>,
        at: Time,
    },
    Worker {
        worker: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        instance: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none", serialize_with = "some_ids")]
        tests: Option<&'a [TestId]>,
        at: Time,
    },
    WorkerEnded {
        worker: u32,
        #[serde(flatten)]
        ending: EndingFields<'a>,
        at: Time,
    },
    Test(End<'a>),
    Attempt(End<'a>),
    Again {
        id: &'a str,
        worker: u32,
        at: Time,
    },
    NotRun {
        #[serde(serialize_with = "ids")]
        tests: &'a [TestId],
    },
    Note {
        text: &'a str,
    },
    End {
        at: Time,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        verdict: &'a str,
        partial: bool,
        tests: i64,
        failures: u64,
        skips: u64,
        crashed: u64,
        lost: u64,
        timed_out: u64,
        not_run: u64,
        flaky: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        first: Option<Time>,
        #[serde(skip_serializing_if = "Option::is_none")]
        last: Option<Time>,
    },
}

/// The end of a test, or of an attempt at one.
#[derive(serde::Serialize)]
pub(super) struct End<'a> {
    pub(super) id: &'a str,
    pub(super) verdict: &'a str,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) flaky: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) worker: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) instance: Option<&'a str>,
    pub(super) start: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stop: Option<Time>,
    #[serde(skip_serializing_if = "<[_]>::is_empty", serialize_with = "strings")]
    pub(super) tags: &'a [ByteString],
    #[serde(skip_serializing_if = "<[_]>::is_empty", serialize_with = "files")]
    pub(super) files: &'a [Attachment],
}

/// How a callout ended.
#[derive(serde::Serialize)]
pub(super) struct EndingFields<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stderr: &'a [String],
}

/// A moment: seconds since 1970, to the microsecond.
#[derive(Clone, Copy)]
pub(super) struct Time(pub(super) Stamp);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Exact to the microsecond for this century and many more.
        serializer.serialize_f64(self.0.timestamp_micros() as f64 / 1e6)
    }
}

/// The fields of an ending.
pub(super) fn ending(ending: &Ending) -> EndingFields<'_> {
    let (status, signal, error) = match &ending.how {
        How::Exited(status) => (Some(*status), None, None),
        How::Signalled(signal) => (None, Some(*signal), None),
        How::NotRun(why) => (None, None, Some(why.as_str())),
    };
    EndingFields { status, signal, error, limit: ending.limit.map(|l| l.to_string()), stderr: &ending.last_stderr }
}

/// The word for how a test ended.
pub(super) fn verdict(test: &FinishedTest) -> &'static str {
    use crate::event::Loss;
    match (test.loss, test.status) {
        (Some(Loss::Crashed), _) => "crashed",
        (Some(Loss::Lost), _) => "lost",
        (Some(Loss::TimedOut), _) => "timed-out",
        (Some(Loss::NotRun), _) => "not-run",
        (None, None | Some(Status::InProgress)) => "unfinished",
        (None, Some(Status::Exists)) => "exists",
        (None, Some(Status::Success)) => "passed",
        (None, Some(Status::UnexpectedSuccess)) => "unexpected-success",
        (None, Some(Status::Skip)) => "skipped",
        (None, Some(Status::Fail)) => "failed",
        (None, Some(Status::ExpectedFail)) => "expected-failure",
    }
}

/// The runner's tags, and the number of the worker, whose tag comes after them.
pub(super) fn worker_of(tags: &[ByteString]) -> (&[ByteString], Option<u32>) {
    let number = |tag: &ByteString| tag.strip_prefix("worker-")?.parse().ok();
    match tags.split_last().map(|(last, before)| (before, number(last))) {
        Some((before, Some(worker))) => (before, Some(worker)),
        _ => (tags, None),
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_false(flag: &bool) -> bool {
    !flag
}

fn ids<S: Serializer>(ids: &[TestId], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(ids.iter().map(TestId::as_str))
}

fn some_ids<S: Serializer>(tests: &Option<&[TestId]>, serializer: S) -> Result<S::Ok, S::Error> {
    ids(tests.unwrap_or_default(), serializer)
}

fn strings<S: Serializer>(strings: &[ByteString], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(strings.iter().map(|string| &**string))
}

fn files<S: Serializer>(files: &[Attachment], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(serde::Serialize)]
    struct File<'a> {
        name: &'a str,
        bytes: u64,
    }
    let mut list = serializer.serialize_seq(Some(files.len()))?;
    for file in files {
        list.serialize_element(&File { name: &file.name, bytes: file.body.len() })?;
    }
    list.end()
}
