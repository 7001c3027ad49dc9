//! The closed vocabulary of what happens in a run, and [`Sink`], which is told of it.
//!
//! Events carry their time: nothing that receives one reads a clock, so a recorded run replays exactly.
//! This file knows no file, no process and no format; [`crate::wire`] makes events from bytes and bytes from
//! events, [`crate::merge`] puts the workers' events into one stream, and [`crate::report`] shows and keeps them.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;

use crate::attachment::Attachment;
use crate::test_id::TestId;

/// A moment, in UTC, to the nanosecond.
pub type Stamp = chrono::DateTime<chrono::Utc>;

/// The status of a test in an event (subunit v2, "Test status").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    /// The test is there: what a listing says.
    Exists,
    /// The test has begun.
    InProgress,
    /// It passed.
    Success,
    /// It was expected to fail and passed. No failure for testr.
    UnexpectedSuccess,
    /// It was not run, on purpose.
    Skip,
    /// It failed.
    Fail,
    /// It failed, as expected.
    ExpectedFail,
}

impl Status {
    /// Whether this ends the test. `Exists` does: a test that is said to exist is not running.
    #[must_use]
    pub fn is_final(self) -> bool {
        self != Self::InProgress
    }

    /// subunit's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exists => "exists",
            Self::InProgress => "inprogress",
            Self::Success => "success",
            Self::UnexpectedSuccess => "uxsuccess",
            Self::Skip => "skip",
            Self::Fail => "fail",
            Self::ExpectedFail => "xfail",
        }
    }
}

/// A piece of a file that a test (or, without an id, the runner) attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChunk {
    /// The file's name; pieces with one name belong together, in order.
    pub name: ByteString,
    /// What is in it, e.g. `text/plain;charset=utf8`. Only the first piece's counts.
    pub mime: Option<ByteString>,
    /// The bytes of this piece, perhaps none.
    pub bytes: Bytes,
    /// No further piece comes.
    pub eof: bool,
}

/// One event about one test, or, without an id, about a runner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TestEvent {
    /// Which test.
    pub id: Option<ByteString>,
    /// Its new status, if the event says one.
    pub status: Option<Status>,
    /// The runner's own tags, in the order of the packet.
    pub tags: Vec<ByteString>,
    /// The tag of the worker that it came through (`worker-3`), once merged.
    pub worker_tag: Option<ByteString>,
    /// A piece of a file.
    pub file: Option<FileChunk>,
    /// False for tests that cannot be run by their id alone.
    pub runnable: bool,
    /// The way to the source of the event: worker numbers, joined with `/`.
    pub route: Option<ByteString>,
    /// When, if the runner said so.
    pub time: Option<Stamp>,
    /// Set where no runner said that the test failed, and why regatta says so.
    pub loss: Option<Loss>,
    /// The packet that it was read from, whole, for those who pass it on.
    pub packet: Option<Bytes>,
}

impl TestEvent {
    /// The runner's tags and the worker's.
    pub fn all_tags(&self) -> impl Iterator<Item = &ByteString> {
        self.tags.iter().chain(&self.worker_tag)
    }
}

/// Why a test failed that no runner called failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Loss {
    /// It was in progress each time when its runner ended: it crashed it, as far as can be known.
    Crashed,
    /// Its runners ended before it was in progress, or its instances went away.
    Lost,
    /// It took longer than `test_timeout` each time.
    TimedOut,
    /// Its runners ended well and never spoke of it (`not_run=fail`).
    NotRun,
}

impl Loss {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Crashed => "crashed",
            Self::Lost => "lost",
            Self::TimedOut => "timed out",
            Self::NotRun => "not run",
        }
    }
}

/// One execute callout, numbered in the order of start, from 0 in each run.
///
/// Its number is the `worker-N` tag and the route code, as testr's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u32);

impl WorkerId {
    /// The tag that all its tests get: `worker-3`.
    #[must_use]
    pub fn tag(self) -> ByteString {
        format!("worker-{}", self.0).into()
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a callout ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The way it ended.
    pub how: How,
    /// The last lines of its stderr, at most twenty, oldest first.
    pub last_stderr: Vec<String>,
    /// The limit that it went over, where regatta ended it for that.
    pub limit: Option<Limit>,
}

/// A limit in time, for which regatta ends a callout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// A test took longer (`test_timeout`).
    Test(Duration),
    /// Nothing was written for so long (`no_output_timeout`).
    Silence(Duration),
    /// The callout took longer (`dispose_limit` and the like).
    Callout(Duration),
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Test(limit) => write!(f, "a test took longer than test_timeout, {} s", limit.as_secs_f64()),
            Self::Silence(limit) => {
                write!(f, "it wrote nothing for no_output_timeout, {} s", limit.as_secs_f64())
            }
            Self::Callout(limit) => write!(f, "it took longer than its limit, {} s", limit.as_secs_f64()),
        }
    }
}

/// The way in which a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// With this exit status.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
    /// It could not be started, or not be waited for: the system's words.
    NotRun(String),
}

impl Ending {
    /// An end of this kind, with nothing else to say of it.
    #[must_use]
    pub fn of(how: How) -> Self {
        Self { how, last_stderr: Vec::new(), limit: None }
    }

    /// Whether it ended with exit status 0, by itself.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.how == How::Exited(0) && self.limit.is_none()
    }

    /// The number that testr prints for it: the exit status, or the signal's number below zero.
    ///
    /// What could not even be started counts as 127, as a shell would say.
    #[must_use]
    pub fn returncode(&self) -> i32 {
        match self.how {
            How::Exited(status) => status,
            How::Signalled(signal) => -signal,
            How::NotRun(_) => 127,
        }
    }
}

impl fmt::Display for Ending {
    /// `exit status 7`, and why regatta ended it, if it did.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.limit {
            Some(limit) => write!(f, "{limit}, and was ended ({})", self.how),
            None => self.how.fmt(f),
        }
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) => write!(f, "exit status {status}"),
            Self::Signalled(signal) => write!(f, "killed by signal {signal}"),
            Self::NotRun(why) => write!(f, "could not be run: {why}"),
        }
    }
}

/// What happens in a run, in the order in which it happens.
#[derive(Clone, Debug)]
pub enum RunEvent {
    /// A shell line is about to be started; testr's `running=`.
    Running {
        /// The line, exact to the space.
        line: String,
    },
    /// A run begins. A command may make several, one after the other (`--until-failure`, `--isolated`).
    RunStarted {
        /// When.
        at: Stamp,
        /// A test that failed may be run again (`retries`), so that its failure decides nothing yet.
        retries: bool,
    },
    /// A callout begins. The shell line itself was told by [`RunEvent::Running`].
    CalloutStarted {
        /// Its number among all callouts of the command, from 0.
        number: u64,
        /// The key that it comes from: `instance_provision`; `test_command` where there are no instances.
        key: &'static str,
        /// The shell line.
        line: String,
        /// The instance that it is for, if it is for one.
        instance: Option<String>,
        /// When.
        at: Stamp,
    },
    /// A callout ended, and all that it wrote has been read.
    CalloutEnded {
        /// Its number.
        number: u64,
        /// How it ended.
        ending: Ending,
        /// When.
        at: Stamp,
    },
    /// Something became of an instance.
    Instance {
        /// As provision printed it.
        id: String,
        /// What became of it.
        state: InstanceState,
        /// When.
        at: Stamp,
    },
    /// A worker begins.
    WorkerStarted {
        /// Its number.
        worker: WorkerId,
        /// The instance it runs on, if there are instances.
        instance: Option<String>,
        /// What it was handed, in order; nothing in a serial run, where the runner decides.
        tests: Option<Arc<[TestId]>>,
        /// When.
        at: Stamp,
    },
    /// A packet came, or an event that stands for one (`process-returncode`, `subunit.parser`).
    Test {
        /// The event, with the worker's tag and route code.
        event: TestEvent,
        /// The event's own time, else when it came.
        at: Stamp,
    },
    /// Bytes that are no packet came on a worker's stdout.
    Text {
        /// Whose stdout.
        worker: WorkerId,
        /// The bytes.
        bytes: Bytes,
        /// When they came.
        at: Stamp,
    },
    /// A test had begun, or something was attached to it, and no status will come any more.
    Unfinished {
        /// Which test.
        id: ByteString,
        /// Its route code.
        route: Option<ByteString>,
    },
    /// An attempt at a test ended without a final status, and it is handed out again. What was attached belongs to that
    /// attempt and to no later one.
    Again {
        /// Which test.
        id: ByteString,
        /// The route code of the attempt, which the next one keeps.
        route: Option<ByteString>,
        /// On which worker.
        worker: WorkerId,
        /// When.
        at: Stamp,
    },
    /// A worker ended with exit status 0, as did the one before, and neither gave a status for these tests, each as
    /// often as it was handed out; nothing fails for it (`not_run=warn`).
    NotRun {
        /// The tests.
        tests: Vec<TestId>,
    },
    /// A worker ended, and all that it wrote has been read.
    WorkerEnded {
        /// Its number.
        worker: WorkerId,
        /// How it ended.
        ending: Ending,
        /// When.
        at: Stamp,
    },
    /// What the command itself has to print.
    Print {
        /// The bytes, as they are to be seen.
        bytes: Bytes,
    },
    /// A callout wrote this on its stdout, and it is the user's to see (`instance_dispose`).
    Stdout {
        /// The bytes, as they came.
        bytes: Bytes,
    },
    /// A callout wrote this on its stderr.
    Stderr {
        /// The bytes, as they came.
        bytes: Bytes,
    },
    /// Something that the user should know and that changes no verdict.
    Note {
        /// One or more lines, without the last one's end.
        text: String,
    },
}

impl RunEvent {
    /// About how many bytes of memory it holds, for bounding what is under way.
    #[must_use]
    pub fn weight(&self) -> usize {
        let held = match self {
            Self::Test { event, .. } => {
                event.packet.as_ref().map_or_else(|| event.file.as_ref().map_or(0, |f| f.bytes.len()), Bytes::len)
            }
            Self::Text { bytes, .. } | Self::Print { bytes } | Self::Stdout { bytes } | Self::Stderr { bytes } => {
                bytes.len()
            }
            _ => 0,
        };
        held + size_of::<Self>()
    }
}

/// What becomes of an instance, in the order in which it can happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstanceState {
    /// Provision printed its id, or it was kept by an earlier run (`--reuse`).
    Provisioned,
    /// It takes work: what `instance_ready` says, where that is asked.
    Ready,
    /// It takes no more work.
    Dead {
        /// In words.
        why: String,
    },
    /// It was given back.
    Disposed,
    /// It was not given back, and nothing disposes of it before this time (`--keep`).
    Kept {
        /// When it may be disposed of.
        until: Stamp,
    },
    /// Its disposal failed, or was given up.
    LeftBehind,
}

/// A test that has ended, or will never end, with all that came for it.
#[derive(Debug, Default)]
pub struct FinishedTest {
    /// Which test.
    pub id: ByteString,
    /// Its route code.
    pub route: Option<ByteString>,
    /// Its final status; nothing when it never got one, which is a failure.
    pub status: Option<Status>,
    /// Why it failed, where no runner said so.
    pub loss: Option<Loss>,
    /// It passed when it was run again, after it had failed (`retries`).
    pub flaky: bool,
    /// The tags of the last event that had any, the worker's among them.
    pub tags: Vec<ByteString>,
    /// The time of its first event.
    pub start: Stamp,
    /// The time of its last event; nothing when it never ended.
    pub stop: Option<Stamp>,
    /// What was attached, in the order of first sight.
    pub attachments: Vec<Attachment>,
}

impl FinishedTest {
    /// Whether testr counts it as failed: it failed, or it began and never ended.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        matches!(self.status, None | Some(Status::Fail))
    }
}

/// What became of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tests that ran. Those with a tag in `filter_tags` are taken out unless they failed; this may fall below
    /// zero as testr's does, when a filtered test reported twice.
    pub tests: i64,
    /// Tests that failed, or began and never ended.
    pub failures: u64,
    /// Tests that were skipped.
    pub skips: u64,
    /// The earliest time seen in any event.
    pub first: Option<Stamp>,
    /// The latest time seen in any event.
    pub last: Option<Stamp>,
}

impl Counts {
    /// Whether the run passed: no test failed. Unexpected successes are none of testr's failures.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.failures == 0
    }

    /// From the earliest to the latest time seen, over all workers; nothing when no event had a time.
    #[must_use]
    pub fn elapsed(&self) -> Option<chrono::TimeDelta> {
        Some(self.last? - self.first?)
    }
}

/// The end of a run, handed to each sink in turn; the one that stores the run fills in the rest.
#[derive(Debug)]
pub struct RunEnd {
    /// When it ended.
    pub at: Stamp,
    /// The run was a part of the whole: tests that are not in it keep their place among the failing ones.
    pub partial: bool,
    /// A signal, or its limit in time, ended it before all was run.
    pub interrupted: bool,
    /// The number that it was stored under.
    pub id: Option<u64>,
    /// The counts of the run before, for the differences in the summary.
    pub previous: Option<Counts>,
    /// What became of this run.
    pub counts: Counts,
}

/// Why a sink is told to let what it wrote be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// No event is waiting.
    Idle,
    /// Some seconds have passed.
    Overdue,
    /// Nothing comes any more.
    End,
}

/// Something that is told of a run: a store, a screen, a stream.
///
/// Sinks run on one thread of their own, in a fixed order, and may block.
pub trait Sink: Send {
    /// Something happened.
    ///
    /// # Errors
    /// When it could not be kept or shown. The run goes on; the error is reported at its end.
    fn event(&mut self, event: &RunEvent) -> Result<(), SinkError>;

    /// A test ended, with all that came for it: the attempt that decides. Called after the event that ended it.
    ///
    /// # Errors
    /// As [`Sink::event`].
    fn test(&mut self, _test: &FinishedTest) -> Result<(), SinkError> {
        Ok(())
    }

    /// An attempt at a test ended, and another one decides: it failed and may be run again, or its runner went away.
    ///
    /// # Errors
    /// As [`Sink::event`].
    fn attempt(&mut self, _test: &FinishedTest) -> Result<(), SinkError> {
        Ok(())
    }

    /// A pause: what was written may have to be seen now.
    ///
    /// # Errors
    /// As [`Sink::event`].
    fn pause(&mut self, _pause: Pause) -> Result<(), SinkError> {
        Ok(())
    }

    /// The run is over.
    ///
    /// # Errors
    /// As [`Sink::event`].
    fn finish(&mut self, _end: &mut RunEnd) -> Result<(), SinkError> {
        Ok(())
    }
}

/// A sink could not do its part.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct SinkError {
    /// What it could not do, with the file's name: `cannot write .testrepository/regatta/x.v1`.
    pub what: String,
    /// Why.
    #[source]
    pub source: io::Error,
}
