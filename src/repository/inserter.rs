//! Storing a run while it happens: each finished test goes to a file of the run as one record, in one piece.
//!
//! The file is `regatta/RUN.v1` and becomes the run's own at the end. If that end never comes, or storing fails, it
//! stays with all results that came; if it cannot be written, the results go on elsewhere ([`unstored`]) and the end
//! says so. Attempts that do not decide go to `regatta/RUN.attempts`, which is there only when `RUN.v1` is. What came is
//! with the system at each pause, and on the disk about a second later. Prints nothing, reads no clock. Made by
//! [`super::Repository::inserter`], called on the thread of the sinks.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use bytestring::ByteString;
use chrono::TimeDelta;

use super::Repository;
use super::attempts::AttemptsFile;
use super::error::RepositoryError;
use super::failing::Place;
use super::records::Records;
use super::store::{self, Lock};
use super::tally::Tally;
use crate::event::{FinishedTest, Pause, RunEnd, RunEvent, Sink, SinkError, Stamp, Status};
use crate::wire::v1;
use out::Out;

mod out;
mod unstored;

/// How long a result may be with the system only, and be lost when the machine loses its power.
const SYNCED_AFTER: TimeDelta = TimeDelta::seconds(1);

/// The sink that stores a run. After the end of one run it is ready for the next.
#[derive(Debug)]
pub struct Inserter {
    repository: Repository,
    name: String,
    run: Option<Run>,
    /// Writing failed, elsewhere too, so what is in the file is not the whole run.
    is_broken: bool,
    /// The latest time that was seen, and what it was when results were put on the disk last. Runners' clocks differ,
    /// and none of them has to be right: nothing depends on it but how soon results are safe.
    now: Stamp,
    synced: Stamp,
}

/// The run that is being stored.
#[derive(Debug)]
struct Run {
    out: Out,
    path: PathBuf,
    tally: Tally,
    /// Why the file is not in the repository.
    trouble: Option<RepositoryError>,
    attempts: Option<AttemptsFile>,
    /// Why attempts are not kept, or not all.
    attempts_trouble: Option<RepositoryError>,
    /// Something was written that may not be on the disk.
    is_dirty: bool,
}

impl Inserter {
    pub(super) fn new(repository: Repository, run: &str) -> Self {
        let (now, synced) = (Stamp::MIN_UTC, Stamp::MIN_UTC);
        Self { repository, name: run.to_owned(), run: None, is_broken: false, now, synced }
    }

    /// The file of the run, which is created if this is its first test.
    fn begin(&mut self) -> Result<&mut Run, SinkError> {
        if self.run.is_none() {
            let create = || {
                store::private_dir(&self.repository)?;
                let path = store::file_of(&self.repository, &self.name, "v1");
                let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
                Ok((file.map_err(RepositoryError::io("create", &path))?, path))
            };
            let ((file, path), trouble) = match create() {
                Ok(made) => (made, None),
                Err(error) => match unstored::create_elsewhere(&self.name) {
                    Ok(made) => (made, Some(error)),
                    Err(_) => {
                        self.is_broken = true;
                        let what = "no result of this run is stored".to_owned();
                        return Err(unstored::cannot_store(what, &error, None));
                    }
                },
            };
            self.run = Some(Run {
                out: Out::new(file),
                path,
                tally: Tally::default(),
                trouble,
                attempts: None,
                attempts_trouble: None,
                is_dirty: false,
            });
        }
        Ok(self.run.as_mut().expect("it was just made"))
    }

    /// The file could not be written after `end`: go on elsewhere, with the results before that.
    fn go_elsewhere(&mut self, error: io::Error, end: u64) -> Result<(), SinkError> {
        let run = self.run.as_mut().expect("it was being written");
        let moved = match run.trouble {
            // It is elsewhere.
            Some(_) => Err(()),
            None => unstored::create_elsewhere(&self.name)
                .and_then(|(file, path)| match run.out.move_to(file, end) {
                    Ok(()) => Ok(path),
                    Err(error) => fs::remove_file(&path).and(Err(error)),
                })
                .map_err(drop),
        };
        match moved {
            Ok(path) => {
                let old = std::mem::replace(&mut run.path, path);
                // All of it is in the new one. If it can't be removed there are two.
                let _ = fs::remove_file(&old);
                run.trouble = Some(RepositoryError::io("write", &old)(error));
                Ok(())
            }
            // Nothing that comes later makes the file whole again. Results already in it stay.
            Err(()) => {
                self.is_broken = true;
                let what = format!("cannot write {}; the results before this are in it", run.path.display());
                Err(SinkError { what, source: error })
            }
        }
    }

    /// Write what waits to the files, here or elsewhere.
    fn flush(&mut self) -> Result<(), SinkError> {
        let Some(run) = &mut self.run else { return Ok(()) };
        if let Some(attempts) = &mut run.attempts
            && let Err(error) = attempts.flush()
        {
            run.give_attempts_up(&self.repository, &self.name, error);
        }
        let Err(error) = run.out.flush() else { return Ok(()) };
        let end = run.out.position();
        self.go_elsewhere(error, end)?;
        self.flush()
    }

    /// Put what was flushed on the disk, if it is time for that.
    fn sync(&mut self, is_overdue: bool) -> Result<(), SinkError> {
        let is_time = is_overdue || self.now - self.synced >= SYNCED_AFTER;
        let Some(run) = self.run.as_mut().filter(|run| run.is_dirty && is_time) else { return Ok(()) };
        (run.is_dirty, self.synced) = (false, self.now);
        if let Some(Err(error)) = run.attempts.as_ref().map(AttemptsFile::sync) {
            run.give_attempts_up(&self.repository, &self.name, error);
        }
        // The system tells it once, so it can't wait for the end of the run.
        let Err(error) = run.out.file.sync_data() else { return Ok(()) };
        let end = run.out.position();
        self.go_elsewhere(error, end)
    }

    fn store(&self, run: &mut Run, end: &mut RunEnd) -> Result<(), SinkError> {
        if let Some(error) = run.trouble.take() {
            return Err(unstored::keep(&self.repository, &run.path, end.partial, &error));
        }
        let lock = Lock::take(&self.repository).and_then(|lock| {
            let file = (&*run.path, &run.out.file);
            let id = store::store_run(&self.repository, &lock, &self.name, file, &mut run.tally, end.partial)?;
            end.id = Some(id);
            Ok(lock)
        });
        let times = match lock {
            Ok(lock) => store::store_times(&self.repository, &lock, &self.name, &run.tally),
            Err(error) => return Err(unstored::keep(&self.repository, &run.path, end.partial, &error)),
        };
        // Without the lock: the run before does not change any more.
        end.previous = end.id.and_then(|id| id.checked_sub(1)).and_then(|id| self.repository.counts(id).ok());
        times.map_err(|error| {
            let what = "the run is stored, but how long its tests took is not".to_owned();
            unstored::cannot_store(what, &error, None)
        })?;
        run.attempts_trouble.take().map_or(Ok(()), |error| {
            let what = "the run is stored, but not all attempts that did not decide are".to_owned();
            Err(unstored::cannot_store(what, &error, None))
        })
    }
}

impl Run {
    fn give_attempts_up(&mut self, repository: &Repository, name: &str, error: io::Error) {
        let path = store::file_of(repository, name, "attempts");
        self.attempts = None;
        self.attempts_trouble = Some(RepositoryError::io("write", &path)(error));
    }
}

impl Sink for Inserter {
    fn event(&mut self, event: &RunEvent) -> Result<(), SinkError> {
        match event {
            RunEvent::RunStarted { at, .. } => (self.now, self.synced) = (*at, *at),
            RunEvent::Test { at, .. } | RunEvent::Text { at, .. } => self.now = self.now.max(*at),
            _ => {}
        }
        Ok(())
    }

    fn test(&mut self, test: &FinishedTest) -> Result<(), SinkError> {
        // testr does not store what was only listed.
        if test.status == Some(Status::Exists) || self.is_broken {
            return Ok(());
        }
        loop {
            let run = self.begin()?;
            let start = run.out.position();
            match v1::write_test(&mut run.out, test) {
                Ok(()) => {
                    let place = Place::Run(start..run.out.position());
                    run.tally.count(test, written_id(&test.id), place);
                    run.is_dirty = true;
                    return Ok(());
                }
                // Elsewhere, and again; when that fails too it is an error.
                Err(error) => self.go_elsewhere(error, start)?,
            }
        }
    }

    fn attempt(&mut self, test: &FinishedTest) -> Result<(), SinkError> {
        if self.is_broken {
            return Ok(());
        }
        let run = self.begin()?;
        if run.attempts_trouble.is_some() || run.trouble.is_some() {
            return Ok(());
        }
        run.is_dirty = true;
        let path = store::file_of(&self.repository, &self.name, "attempts");
        let run = self.run.as_mut().expect("it was begun");
        let written = match &mut run.attempts {
            Some(attempts) => attempts.write(test),
            none => AttemptsFile::create(&path).and_then(|file| none.insert(file).write(test)),
        };
        if let Err(error) = written {
            run.give_attempts_up(&self.repository, &self.name, error);
        }
        Ok(())
    }

    fn pause(&mut self, pause: Pause) -> Result<(), SinkError> {
        if self.is_broken {
            return Ok(());
        }
        self.flush()?;
        self.sync(pause == Pause::Overdue)
    }

    fn finish(&mut self, end: &mut RunEnd) -> Result<(), SinkError> {
        if !self.is_broken {
            // A run without a test is stored too.
            self.begin()?;
            self.flush()?;
        }
        let is_broken = std::mem::take(&mut self.is_broken);
        match self.run.take() {
            Some(mut run) if !is_broken => self.store(&mut run, end),
            run => {
                let place = run.map(|run| format!("; its results so far are in {}", run.path.display()));
                let what = format!("the run is not stored{}", place.unwrap_or_default());
                Err(SinkError { what, source: io::Error::other("writing its results failed before") })
            }
        }
    }
}

impl Drop for Inserter {
    /// A run that was never finished stays as it is, for whoever recovers it; without any result it goes.
    fn drop(&mut self) {
        if let Some(run) = &mut self.run {
            let _ = run.attempts.as_mut().map(AttemptsFile::flush);
            let is_written = run.out.flush().is_ok();
            if is_written && run.out.position() == 0 && run.attempts.is_none() && run.attempts_trouble.is_none() {
                // Nobody is left to tell, and an empty file does no harm.
                let _ = fs::remove_file(&run.path);
            }
        }
    }
}

/// The id as it stands in a record, if that is not the id itself: what a line cannot hold is written in another way.
pub(super) fn written_id(id: &ByteString) -> Option<Vec<u8>> {
    let is_plain = |b: u8| b == b' ' || b.is_ascii_graphic() && b != b'\\';
    if id.bytes().all(is_plain) && !id.trim().is_empty() {
        return None;
    }
    let test = FinishedTest { id: id.clone(), ..FinishedTest::default() };
    let mut record = Vec::new();
    v1::write_test(&mut record, &test).ok()?;
    let record = Records::new(&*record).next()?.ok()?;
    (record.id != **id.as_bytes()).then_some(record.id)
}

#[cfg(test)]
mod tests;
