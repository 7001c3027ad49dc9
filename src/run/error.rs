//! Why a run could not be carried out. What tests do is no error.

use std::fmt;
use std::time::Duration;

use super::journal::JournalError;
use super::supervisor::Stop;
use crate::event::{Ending, How, SinkError};
use crate::test_id::IdError;

/// A goal was not reached.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A callout failed.
    #[error(transparent)]
    Callout(Box<CalloutFailure>),
    /// Provision succeeded without an id that was not there before.
    #[error("instance_provision was asked for {asked} more and printed no new id (there are {have})\n  line: {line}")]
    ProvisionedNothing {
        /// The shell line.
        line: String,
        /// How many were asked for.
        asked: usize,
        /// How many there are.
        have: usize,
    },
    /// The third signal.
    #[error("gave up; these instances are left behind: {}", ids.join(" "))]
    Abandoned {
        /// Their ids.
        ids: Vec<String>,
        /// The line that disposes of them.
        disposal: Option<String>,
    },
    /// A disposal failed.
    #[error("{failure}")]
    LeftBehind {
        /// The disposal.
        failure: Box<CalloutFailure>,
        /// What it was to dispose of.
        ids: Vec<String>,
    },
    /// All instances died, and no more may be made in their place.
    #[error("no instance is left to run tests on; the last one is dead: {why}")]
    NoInstances {
        /// Why the last one is dead.
        why: String,
    },
    /// The run is stored as a part, since it was not run to its end.
    #[error("{}", incomplete(stop, *limit))]
    Incomplete {
        /// Why it ended.
        stop: Stop,
        /// `max_duration`.
        limit: Option<Duration>,
    },
    /// A signal came before there was anything to store.
    #[error("interrupted")]
    Interrupted,
    /// What has to be put in order should regatta die could not be written down, or is still written down.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Results could not be kept or shown.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The ids cannot be handed to the runner.
    #[error(transparent)]
    Ids(#[from] IdError),
    /// The ids do not fit into the line of a shell.
    #[error("{tests} test ids make a command line of {bytes} bytes, which is more than a program can be started with")]
    LineTooLong {
        /// How many ids.
        tests: usize,
        /// How long the line is.
        bytes: usize,
    },
}

impl From<CalloutFailure> for RunError {
    fn from(failure: CalloutFailure) -> Self {
        Self::Callout(Box::new(failure))
    }
}

fn incomplete(stop: &Stop, limit: Option<Duration>) -> String {
    let seconds = limit.unwrap_or_default().as_secs_f64();
    match stop {
        Stop::Duration(left) => format!("max_duration, {seconds} s, is over; {left} tests were not begun"),
        Stop::Fruitless(batches, left) => {
            format!("stopped after {batches} batches in a row without a result; {left} tests were not begun")
        }
        Stop::NoInstances(why, left) => {
            format!("no instance is left, and {left} tests were not begun; the last one is dead: {why}")
        }
        // These are no errors.
        Stop::Signal | Stop::Failures(_) => String::new(),
    }
}

/// A callout that failed: which, how, and what it said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct CalloutFailure {
    /// The key in `.testr.conf` that it comes from.
    pub key: &'static str,
    /// What it was for, as in "while listing the tests".
    pub purpose: &'static str,
    /// The shell line.
    pub line: String,
    /// How it ended.
    pub ending: Ending,
}

impl fmt::Display for CalloutFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, purpose, line, ending } = self;
        write!(f, "{key} failed {purpose}: {ending}\n  line: {line}")?;
        if !ending.last_stderr.is_empty() {
            f.write_str("\n  last lines of its stderr:")?;
            for said in &ending.last_stderr {
                write!(f, "\n  | {said}")?;
            }
        }
        Ok(())
    }
}

impl CalloutFailure {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        let key = self.key;
        match &self.ending.how {
            How::Exited(126) => {
                format!("a program in {key} is there but cannot be executed: is it missing `chmod +x`?")
            }
            How::Exited(127) => format!("a program in {key} was not found: check its path, and PATH where it runs"),
            How::Exited(255) if key == "instance_execute" => {
                "ssh says 255 when the connection failed; the instance may be gone".to_owned()
            }
            // 137 is a shell's word for it.
            How::Signalled(9) | How::Exited(137) => {
                "something killed it: out of memory, or a time limit of the system?".to_owned()
            }
            How::NotRun(_) => "the system could not start /bin/sh for it".to_owned(),
            _ => format!("run the line by itself to see what is wrong, then mend {key} in .testr.conf"),
        }
    }
}
