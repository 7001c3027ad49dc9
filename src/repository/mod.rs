//! The `.testrepository` directory, exactly as testr writes and reads it: `format`, `next-stream`, a file for each run,
//! `failing` and `times.dbm`.
//!
//! What is regatta's own is under `regatta/` in it and nowhere else. Prints nothing and reads no clock: times come in
//! events. Nothing here is created before something is stored, so a repository that cannot be written can be read.
//! [`crate::commands`] opens repositories and reads them; a run stores itself through an [`Inserter`].

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use crate::event::{Counts, FinishedTest, RunEvent, Stamp, Status, TestEvent};
use crate::summary::Summary;
use crate::test_id::TestId;
use crate::wire::v1;
use id_table::IdTable;
use records::Records;
use times::Times;

mod attempts;
mod error;
mod failing;
mod home;
mod id_table;
mod inserter;
mod records;
mod recovery;
#[cfg(test)]
mod sandbox;
mod store;
mod tally;
mod times;

pub use error::RepositoryError;
pub use inserter::Inserter;
pub use times::{Format, UnsupportedTimes};

/// How many runs are read for times that are not to be had otherwise: a bound to the work, and some partial runs.
const RUNS_FOR_TIMES: u64 = 3;

/// A repository of test runs.
#[derive(Clone, Debug)]
pub struct Repository {
    base: PathBuf,
}

impl Repository {
    /// Make a repository in the directory `here`, where `~` is a home.
    ///
    /// # Errors
    /// When there is one already, or the directory cannot be written.
    pub fn init(here: &Path) -> Result<Self, RepositoryError> {
        let repository = Self { base: home::expand(here).join(".testrepository") };
        let base = &repository.base;
        fs::create_dir(base).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => RepositoryError::Exists { path: base.clone() },
            _ => RepositoryError::io("create", base)(error),
        })?;
        let (next, format) = (repository.path("next-stream"), repository.path("format"));
        store::write_next(&next, 0).map_err(RepositoryError::io("write", &next))?;
        // Last, since this is what makes it a repository.
        fs::write(&format, "1\n").map_err(RepositoryError::io("write", &format))?;
        Ok(repository)
    }

    /// Open the repository in the directory `here`, where `~` is a home.
    ///
    /// # Errors
    /// When there is none, or it is of another format.
    pub fn open(here: &Path) -> Result<Self, RepositoryError> {
        let repository = Self { base: home::expand(here).join(".testrepository") };
        let path = repository.path("format");
        let content = fs::read(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => RepositoryError::NotFound { here: here.to_owned() },
            _ => RepositoryError::io("read", &path)(error),
        })?;
        if content != b"1\n" {
            return Err(RepositoryError::Format { path, content: String::from_utf8_lossy(&content).into_owned() });
        }
        Ok(repository)
    }

    /// Where the journals of runs are that live, or died. Nobody makes it before it is needed.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.path("regatta").join("journal")
    }

    /// How many runs were stored: the number of the next one.
    ///
    /// # Errors
    /// When `next-stream` cannot be read or has no such number in it.
    pub fn count(&self) -> Result<u64, RepositoryError> {
        let path = self.path("next-stream");
        let content = fs::read(&path).map_err(RepositoryError::io("read", &path))?;
        let content = String::from_utf8_lossy(&content);
        // White space and a sign are fine for Python's `int`.
        content.trim().parse().map_err(|_| RepositoryError::NextStream { path, content: content.clone().into_owned() })
    }

    /// The number of the run that was stored last.
    ///
    /// # Errors
    /// When there is none, or as [`Repository::count`].
    pub fn latest_id(&self) -> Result<u64, RepositoryError> {
        self.count()?.checked_sub(1).ok_or_else(|| RepositoryError::Empty { path: self.base.clone() })
    }

    /// The events of a stored run.
    ///
    /// # Errors
    /// When there is no such run or its file cannot be opened.
    pub fn run(&self, id: u64) -> Result<Events, RepositoryError> {
        let path = self.run_path(id);
        let file = open_if_there(&path)?.ok_or(RepositoryError::NoSuchRun { path })?;
        Ok(Events::new(Some(file)))
    }

    /// The events of the tests that fail now. No file is no such tests.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn failing(&self) -> Result<Events, RepositoryError> {
        open_if_there(&self.path("failing")).map(Events::new)
    }

    /// The ids of the tests that fail now, in the order of the file, each once.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn failing_ids(&self) -> Result<Vec<TestId>, RepositoryError> {
        let path = self.path("failing");
        let Some(file) = open_if_there(&path)? else { return Ok(Vec::new()) };
        let (mut seen, mut ids) = (IdTable::default(), Vec::new());
        for record in Records::new(BufReader::new(file)) {
            let record = record.map_err(RepositoryError::io("read", &path))?;
            if record.is_failure && seen.find(&record.id).is_none() {
                seen.intern(&record.id);
                ids.push(TestId::from(&*String::from_utf8_lossy(&record.id)));
            }
        }
        Ok(ids)
    }

    /// The counts of a stored run, for the differences in the next one's summary. As testr does, without regard to
    /// `filter_tags`.
    ///
    /// # Errors
    /// As [`Repository::run`], and when the file cannot be read to its end.
    pub fn counts(&self, id: u64) -> Result<Counts, RepositoryError> {
        let mut summary = Summary::default();
        self.read_run(id, |event| {
            if let Some(at) = event.time {
                summary.event(&RunEvent::Test { event: TestEvent::default(), at });
            }
            if event.id.is_some() && event.status.is_some_and(Status::is_final) {
                summary.test(&outcome(event.status));
            }
        })?;
        Ok(summary.counts().clone())
    }

    /// How long tests took when they last ran, in seconds; those that are not known are left out. Where `times.dbm` is
    /// in a format that is not written, the latest runs tell what is not known otherwise.
    ///
    /// # Errors
    /// When the files are there and cannot be read.
    pub fn times(&self, ids: &[TestId]) -> Result<HashMap<TestId, f64>, RepositoryError> {
        let mut table = IdTable::default();
        for id in ids {
            table.intern(id.as_str().as_bytes());
        }
        let times = Times::open(&self.base);
        let mut seconds = times.read(&table)?;
        if times.unsupported().is_some() {
            self.fill_times_from_runs(&table, &mut seconds)?;
        }
        let seconds_of = |id: &TestId| seconds[table.find(id.as_str().as_bytes())? as usize];
        Ok(ids.iter().filter_map(|id| Some((id.clone(), seconds_of(id)?))).collect())
    }

    /// Whether `times.dbm` is in a format that is not written: something that the user should be told, until the first
    /// run has stored its times beside it.
    #[must_use]
    pub fn unsupported_times(&self) -> Option<UnsupportedTimes> {
        let times = Times::open(&self.base);
        times.unsupported().filter(|_| !times.has_begun()).cloned()
    }

    /// A sink that stores runs. `run` is a name for them that no other regatta has; it becomes part of a file's name.
    #[must_use]
    pub fn inserter(&self, run: &str) -> Inserter {
        Inserter::new(self.clone(), run)
    }

    /// Where the record of the run with this name is written; it is renamed when the run is stored. `run` as in
    /// [`Repository::inserter`].
    #[must_use]
    pub fn record_path(&self, run: &str) -> PathBuf {
        store::file_of(self, run, "jsonl")
    }

    /// Fill in what the latest runs know of ids that have no time yet. A run that is missing knows nothing.
    fn fill_times_from_runs(&self, ids: &IdTable, seconds: &mut [Option<f64>]) -> Result<(), RepositoryError> {
        let count = self.count()?;
        let mut left = seconds.iter().filter(|time| time.is_none()).count();
        for run in (count.saturating_sub(RUNS_FOR_TIMES)..count).rev().filter(|run| self.run_path(*run).exists()) {
            if left == 0 {
                break;
            }
            // v1 text has one test at a time.
            let mut start: Option<Stamp> = None;
            let mut found = HashMap::new();
            self.read_run(run, |event| match event.status {
                Some(Status::InProgress) => start = event.time,
                Some(_) => {
                    let number = event.id.as_ref().and_then(|id| ids.find(id.as_bytes()));
                    let took = event.time.zip(start.take()).map(|(stop, start)| (stop - start).as_seconds_f64());
                    if let (Some(number), Some(took)) = (number, took) {
                        found.insert(number, took);
                    }
                }
                None => {}
            })?;
            for (number, took) in found {
                let time = &mut seconds[number as usize];
                if time.is_none() {
                    *time = Some(took);
                    left -= 1;
                }
            }
        }
        Ok(())
    }

    fn read_run(&self, id: u64, mut each: impl FnMut(&TestEvent)) -> Result<(), RepositoryError> {
        for event in self.run(id)? {
            each(&event.map_err(RepositoryError::io("read", &self.run_path(id)))?);
        }
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.base.join(name)
    }

    fn run_path(&self, id: u64) -> PathBuf {
        self.path(&id.to_string())
    }
}

/// The events of stored v1 text, read as they are asked for.
pub struct Events(Option<v1::Reader<BufReader<File>>>);

impl Events {
    fn new(file: Option<File>) -> Self {
        Self(file.map(|file| v1::Reader::new(BufReader::with_capacity(1 << 16, file))))
    }
}

impl Iterator for Events {
    type Item = io::Result<TestEvent>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.as_mut()?.next()
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

/// A test of which only the outcome counts.
fn outcome(status: Option<Status>) -> FinishedTest {
    FinishedTest { status, ..FinishedTest::default() }
}

fn open_if_there(path: &Path) -> Result<Option<File>, RepositoryError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(RepositoryError::io("read", path)(error)),
    }
}

#[cfg(test)]
mod tests;
