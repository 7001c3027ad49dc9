//! Storing a run while it happens: each finished test goes to a file of the run as one record, in one piece.
//!
//! The file is `regatta/RUN.v1` and becomes the run's own at the end. If that end never comes, or storing fails, it
//! stays with all results that came. Prints nothing, reads no clock. Made by [`super::Repository::inserter`], called
//! on the thread of the sinks.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bytestring::ByteString;

use super::Repository;
use super::error::RepositoryError;
use super::failing::Place;
use super::records::Records;
use super::store::{self, Lock};
use super::tally::Tally;
use crate::event::{FinishedTest, Pause, RunEnd, RunEvent, Sink, SinkError, Stamp, Status};
use crate::wire::v1;

/// How much waits for the next flush at most, in bytes.
const BUFFER: usize = 1 << 18;

/// The sink that stores a run. After the end of one run it is ready for the next.
#[derive(Debug)]
pub struct Inserter {
    repository: Repository,
    name: String,
    run: Option<Run>,
    /// Writing failed once, so what is in the file is not the whole run.
    is_broken: bool,
}

/// The run that is being stored.
#[derive(Debug)]
struct Run {
    out: Out,
    path: PathBuf,
    tally: Tally,
}

impl Inserter {
    pub(super) fn new(repository: Repository, run: &str) -> Self {
        Self { repository, name: format!("{run}.v1"), run: None, is_broken: false }
    }

    /// The file of the run, which is created if this is its first test.
    fn begin(&mut self) -> Result<&mut Run, SinkError> {
        if self.run.is_none() {
            let begin = || {
                let path = store::private_dir(&self.repository)?.join(&self.name);
                let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
                let file = file.map_err(RepositoryError::io("create", &path))?;
                Ok(Run { out: Out::new(file), path, tally: Tally::default() })
            };
            match begin() {
                Ok(run) => self.run = Some(run),
                Err(error) => {
                    self.is_broken = true;
                    return Err(cannot_store("no result of this run is stored".to_owned(), error));
                }
            }
        }
        Ok(self.run.as_mut().expect("it was just made"))
    }

    /// Nothing that comes later makes the file whole again. Results already in it stay.
    fn give_up(&mut self, error: io::Error) -> SinkError {
        self.is_broken = true;
        let path = self.run.as_ref().map_or_else(|| self.repository.path("regatta"), |run| run.path.clone());
        SinkError { what: format!("cannot write {}; the results before this are in it", path.display()), source: error }
    }

    fn store(&self, run: &mut Run, end: &mut RunEnd) -> Result<(), SinkError> {
        let lock = Lock::take(&self.repository).and_then(|lock| {
            let file = (&*run.path, &run.out.file);
            let id = store::store_run(&self.repository, &lock, file, &mut run.tally, end.partial)?;
            end.id = Some(id);
            Ok(lock)
        });
        let times = match lock {
            Ok(lock) => store::store_times(&self.repository, &lock, &run.tally),
            Err(error) => return Err(cannot_store(results_in(&run.path, &self.repository), error)),
        };
        // Without the lock: the run before does not change any more.
        end.previous = end.id.and_then(|id| id.checked_sub(1)).and_then(|id| self.repository.counts(id).ok());
        times.map_err(|error| cannot_store("the run is stored, but how long its tests took is not".to_owned(), error))
    }
}

impl Sink for Inserter {
    fn event(&mut self, _event: &RunEvent) -> Result<(), SinkError> {
        Ok(())
    }

    fn test(&mut self, test: &FinishedTest) -> Result<(), SinkError> {
        // testr does not store what was only listed.
        if test.status == Some(Status::Exists) || self.is_broken {
            return Ok(());
        }
        let run = self.begin()?;
        let start = run.out.position();
        match v1::write_test(&mut run.out, test) {
            Ok(()) => {
                let place = Place::Run(start..run.out.position());
                run.tally.count(test, written_id(&test.id), place);
                Ok(())
            }
            Err(error) => Err(self.give_up(error)),
        }
    }

    fn pause(&mut self, _: Pause) -> Result<(), SinkError> {
        match &mut self.run {
            Some(run) if !self.is_broken => run.out.flush().map_err(|error| self.give_up(error)),
            _ => Ok(()),
        }
    }

    fn finish(&mut self, end: &mut RunEnd) -> Result<(), SinkError> {
        if !self.is_broken {
            // A run without a test is stored too.
            self.begin()?;
            self.pause(Pause::Idle)?;
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
            let is_written = run.out.flush().is_ok();
            if is_written && run.out.position() == 0 {
                // Nobody is left to tell, and an empty file does no harm.
                let _ = fs::remove_file(&run.path);
            }
        }
    }
}

/// The id as it stands in a record, if that is not the id itself: what a line cannot hold is written in another way.
fn written_id(id: &ByteString) -> Option<Vec<u8>> {
    let is_plain = |b: u8| b == b' ' || b.is_ascii_graphic() && b != b'\\';
    if id.bytes().all(is_plain) && !id.trim().is_empty() {
        return None;
    }
    let at = Stamp::default();
    let test = FinishedTest { id: id.clone(), status: None, tags: vec![], start: at, stop: None, attachments: vec![] };
    let mut record = Vec::new();
    v1::write_test(&mut record, &test).ok()?;
    let record = Records::new(&*record).next()?.ok()?;
    (record.id != **id.as_bytes()).then_some(record.id)
}

/// Where the results are after storing failed: in the run's file, unless that has its number already.
fn results_in(path: &Path, repository: &Repository) -> String {
    let path = if path.exists() { path.display() } else { repository.base.display() };
    format!("the run is not stored; its results are in {path}")
}

fn cannot_store(what: String, error: RepositoryError) -> SinkError {
    // The kind lets the caller tell a full disk from others.
    let kind = match &error {
        RepositoryError::Io { source, .. } => source.kind(),
        _ => io::ErrorKind::Other,
    };
    SinkError { what, source: io::Error::new(kind, error) }
}

/// A file that is written in large pieces, and what waits to be.
#[derive(Debug)]
struct Out {
    file: File,
    buffer: Vec<u8>,
    written: u64,
}

impl Out {
    fn new(file: File) -> Self {
        Self { file, buffer: Vec::with_capacity(BUFFER), written: 0 }
    }

    /// How many bytes it has, waiting ones too.
    fn position(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + bytes.len() > BUFFER {
            self.flush()?;
        }
        if bytes.len() >= BUFFER {
            let n = self.file.write(bytes)?;
            self.written += n as u64;
            return Ok(n);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    /// To the system, not to the disk.
    fn flush(&mut self) -> io::Result<()> {
        let mut done = 0;
        let result = loop {
            if done == self.buffer.len() {
                break Ok(());
            }
            match self.file.write(&self.buffer[done..]) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        // What was written before an error must not be written again.
        self.buffer.drain(..done);
        self.written += done as u64;
        result
    }
}

#[cfg(test)]
mod tests;
