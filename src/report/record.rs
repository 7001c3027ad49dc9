//! The record of a run: what happened in it, for whoever wants to know afterwards. `.testrepository/regatta/N.jsonl`.
//!
//! Lines of JSON, each an object that says in `record` what it tells of, in the order in which regatta learned of it. All
//! times are seconds since 1970 in UTC, to the microsecond: those of tests are their runners' where these gave any, all
//! others regatta's own. Strings are what they are, test ids too: nothing is left out or written in another way. A field
//! that has nothing to say is not there.
//!
//! | record | fields | meaning |
//! | --- | --- | --- |
//! | `run` | `format` (1), `run`, `at`, `retries` | the run begins; `run` is its name among all runs; `retries`: tests that fail may be run again |
//! | `callout` | `number`, `key`, `line`, `instance`, `at` | a callout of the key `key` begins |
//! | `callout_ended` | `number`, ending, `at` | it ended |
//! | `instance` | `id`, `state`, `why`, `until`, `at` | it is `provisioned`, `ready`, `dead` (`why`), `disposed`, `kept` (`until`) or `left_behind` |
//! | `worker` | `worker`, `instance`, `tests`, `at` | an execute callout begins, with these ids in this order; no `tests` where the runner decides |
//! | `worker_ended` | `worker`, ending, `at` | it ended |
//! | `test` | `id`, `verdict`, `flaky`, `worker`, `instance`, `start`, `stop`, `tags`, `files` | a test's outcome |
//! | `attempt` | as `test` | an attempt that did not decide, or had not yet: where nothing later does, its failure is told again as a `test` |
//! | `again` | `id`, `worker`, `at` | the worker gave no result for it, and it is handed out again |
//! | `not_run` | `tests` | workers ended well and never spoke of these, and nothing fails for it |
//! | `note` | `text` | what was said on stderr |
//! | `end` | `at`, `id`, `verdict`, `partial`, `tests`, `failures`, `skips`, `crashed`, `lost`, `timed_out`, `not_run`, `flaky`, `first`, `last` | the run is over and has the number `id`; `verdict` is `passed`, `failed` or `interrupted`; the counts are those of the summary; `first` and `last` are the earliest and latest time of tests |
//!
//! An ending is `status` (of an exit), `signal`, or `error` (why it could not be run); `limit`, the limit that it went
//! over; `stderr`, its last lines. A `verdict` of a test is `passed`, `skipped`, `failed`, `expected-failure`,
//! `unexpected-success`, `exists`, `crashed`, `lost`, `timed-out`, `not-run`, or `unfinished`: it began, and no more came.
//! `tags` are the runner's, `worker` the number of ours; of each of `files` there is the `name` and how many `bytes` it has.
//!
//! Callouts and instances of a command stand in the record of its first run, even if they came before it, and what comes
//! after a run, as the disposal, behind its `end`. The record of a later run of the same command begins with the
//! instances that are there. A run that regatta did not live to end has no `end`, and its last line may be cut off.
//!
//! While the run goes on the file is `RUN.jsonl`; whoever stores the run renames it. This sink comes after that one, reads
//! no clock, and keeps nothing of single tests. If it can't write, that is said at the end, and the run stands.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::event::{FinishedTest, InstanceState, Loss, Pause, RunEnd, RunEvent, Sink, SinkError, WorkerId};
use line::{Line, Time, ending, verdict};

mod line;

/// How much waits for the next pause at most, in bytes.
const BUFFER: usize = 1 << 17;

/// The sink.
#[derive(Debug)]
pub struct Record {
    path: PathBuf,
    /// The file of the run; of the last one, after that ended.
    file: Option<File>,
    /// The file has still its first name, and no test has ended.
    is_empty: bool,
    /// Lines that were not written yet.
    lines: Vec<u8>,
    /// The lines about each instance that is there.
    instances: Vec<(String, Vec<u8>)>,
    /// Where each worker of the run runs.
    places: Vec<Option<String>>,
    counts: Counts,
}

/// How many tests ended so.
#[derive(Debug, Default)]
struct Counts {
    crashed: u64,
    lost: u64,
    timed_out: u64,
    not_run: u64,
    flaky: u64,
}

impl Record {
    /// A record in this file, `RUN.jsonl`, which is made, with its directory, when a run begins.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: None,
            is_empty: false,
            lines: Vec::new(),
            instances: Vec::new(),
            places: Vec::new(),
            counts: Counts::default(),
        }
    }

    fn begin(&mut self, at: Time, retries: bool) -> io::Result<()> {
        // What came since the run before is in its record, and what came before the first run in this one.
        let is_first = self.file.is_none();
        self.flush()?;
        self.file = Some(create(&self.path)?);
        self.is_empty = true;
        let waiting = std::mem::take(&mut self.lines);
        (self.places, self.counts) = (Vec::new(), Counts::default());
        let run = self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        self.put(&Line::Run { format: 1, run: &run, at, retries });
        if is_first {
            self.lines.extend_from_slice(&waiting);
        } else {
            self.instances.iter().for_each(|(_, lines)| self.lines.extend_from_slice(lines));
        }
        Ok(())
    }

    fn put(&mut self, line: &Line<'_>) {
        put(&mut self.lines, line);
    }

    fn instance(&mut self, id: &str, state: &InstanceState, at: Time) {
        let (word, why, until, is_gone) = match state {
            InstanceState::Provisioned => ("provisioned", None, None, false),
            InstanceState::Ready => ("ready", None, None, false),
            InstanceState::Dead { why } => ("dead", Some(why.as_str()), None, false),
            InstanceState::Disposed => ("disposed", None, None, true),
            InstanceState::Kept { until } => ("kept", None, Some(Time(*until)), true),
            InstanceState::LeftBehind => ("left_behind", None, None, true),
        };
        let start = self.lines.len();
        self.put(&Line::Instance { id, state: word, why, until, at });
        let line = &self.lines[start..];
        let known = self.instances.iter().position(|(known, _)| known == id);
        match known {
            Some(known) if is_gone => drop(self.instances.remove(known)),
            Some(known) => self.instances[known].1.extend_from_slice(line),
            None if is_gone => {}
            None => self.instances.push((id.to_owned(), line.to_vec())),
        }
    }

    /// The end of a test or of an attempt at one.
    fn ended(&mut self, test: &FinishedTest, decides: bool) -> io::Result<()> {
        self.is_empty = false;
        let (tags, worker) = line::worker_of(&test.tags);
        let instance = worker.and_then(|worker| self.places.get(worker as usize)?.as_deref());
        let end = line::End {
            id: &test.id,
            verdict: verdict(test),
            flaky: test.flaky,
            worker,
            instance,
            start: Time(test.start),
            stop: test.stop.map(Time),
            tags,
            files: &test.attachments,
        };
        put(&mut self.lines, &if decides { Line::Test(end) } else { Line::Attempt(end) });
        if self.lines.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    /// To the system, not to the disk. Before the first run everything waits.
    fn flush(&mut self) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        if self.lines.is_empty() {
            return Ok(());
        }
        let written = file.write_all(&self.lines);
        self.lines.clear();
        written
    }

    fn cannot_write(&self, source: io::Error) -> SinkError {
        SinkError { what: format!("cannot write the record of the run, {}", self.path.display()), source }
    }
}

impl Sink for Record {
    fn event(&mut self, event: &RunEvent) -> Result<(), SinkError> {
        match event {
            RunEvent::RunStarted { at, retries } => {
                return self.begin(Time(*at), *retries).map_err(|error| self.cannot_write(error));
            }
            RunEvent::CalloutStarted { number, key, line, instance, at } => {
                let instance = instance.as_deref();
                self.put(&Line::Callout { number: *number, key, line, instance, at: Time(*at) });
            }
            RunEvent::CalloutEnded { number, ending: how, at } => {
                self.put(&Line::CalloutEnded { number: *number, ending: ending(how), at: Time(*at) });
            }
            RunEvent::Instance { id, state, at } => self.instance(id, state, Time(*at)),
            RunEvent::WorkerStarted { worker: WorkerId(worker), instance, tests, at } => {
                self.places.resize(self.places.len().max(*worker as usize + 1), None);
                self.places[*worker as usize].clone_from(instance);
                let (instance, tests) = (instance.as_deref(), tests.as_deref());
                self.put(&Line::Worker { worker: *worker, instance, tests, at: Time(*at) });
            }
            RunEvent::WorkerEnded { worker, ending: how, at } => {
                self.put(&Line::WorkerEnded { worker: worker.0, ending: ending(how), at: Time(*at) });
            }
            RunEvent::Again { id, worker, at, .. } => {
                self.put(&Line::Again { id, worker: worker.0, at: Time(*at) });
            }
            RunEvent::NotRun { tests } => {
                self.counts.not_run += tests.len() as u64;
                self.put(&Line::NotRun { tests });
            }
            RunEvent::Note { text } => self.put(&Line::Note { text }),
            _ => {}
        }
        Ok(())
    }

    fn test(&mut self, test: &FinishedTest) -> Result<(), SinkError> {
        self.counts.flaky += u64::from(test.flaky);
        match test.loss {
            Some(Loss::Crashed) => self.counts.crashed += 1,
            Some(Loss::Lost) => self.counts.lost += 1,
            Some(Loss::TimedOut) => self.counts.timed_out += 1,
            Some(Loss::NotRun) => self.counts.not_run += 1,
            None => {}
        }
        self.ended(test, true).map_err(|error| self.cannot_write(error))
    }

    fn attempt(&mut self, test: &FinishedTest) -> Result<(), SinkError> {
        self.ended(test, false).map_err(|error| self.cannot_write(error))
    }

    fn pause(&mut self, _: Pause) -> Result<(), SinkError> {
        self.flush().map_err(|error| self.cannot_write(error))
    }

    fn finish(&mut self, end: &mut RunEnd) -> Result<(), SinkError> {
        self.is_empty = false;
        let Counts { crashed, lost, timed_out, not_run, flaky } = self.counts;
        let line = Line::End {
            at: Time(end.at),
            id: end.id,
            verdict: match (end.counts.passed(), end.interrupted) {
                (false, _) => "failed",
                (true, true) => "interrupted",
                (true, false) => "passed",
            },
            partial: end.partial,
            tests: end.counts.tests,
            failures: end.counts.failures,
            skips: end.counts.skips,
            crashed,
            lost,
            timed_out,
            not_run,
            flaky,
            first: end.counts.first.map(Time),
            last: end.counts.last.map(Time),
        };
        self.put(&line);
        self.flush().map_err(|error| self.cannot_write(error))
    }
}

impl Drop for Record {
    /// A run that never was leaves nothing.
    fn drop(&mut self) {
        if self.is_empty {
            // Nobody is left to tell.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn put(lines: &mut Vec<u8>, line: &impl Serialize) {
    // Writing to memory cannot fail, and every key is a string.
    let _ = serde_json::to_writer(&mut *lines, line);
    lines.push(b'\n');
}

/// A new file that only its owner can read, in a directory that only its owner can look into.
fn create(path: &Path) -> io::Result<File> {
    if let Some(directory) = path.parent() {
        match DirBuilder::new().mode(0o700).create(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests;
