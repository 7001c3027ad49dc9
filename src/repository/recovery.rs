//! What a regatta that died left in `regatta/` becomes a stored run: no result that came is lost.
//!
//! The results are in `RUN.v1`, whose last record may have been cut off, and, where tests that failed were to be run
//! again, in `RUN.attempts`. Both are read to their ends, `RUN.v1` is made whole in place, and from there on it is stored
//! as any run ([`super::store`]). Each step can be done twice, so it does not matter where this was interrupted; and as
//! all of it is under the repository's lock, two at once make one run. Whether that regatta is dead is for the caller to
//! know: one that lives must not lose its files.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::attempts::read_failures;
use super::error::RepositoryError;
use super::failing::Place;
use super::inserter::written_id;
use super::records::{Record, Records};
use super::store::{self, COMPANIONS, Lock, file_of};
use super::tally::Tally;
use super::{Repository, open_if_there};
use crate::event::{FinishedTest, Status};
use crate::wire::v1;

/// The ends of the names of the files that a run has before it is stored.
const ENDS: [&str; 4] = ["v1", "number", COMPANIONS[0], COMPANIONS[1]];

impl Repository {
    /// The runs that have files and are not stored: those that go on now, and those whose regatta is dead.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn unfinished_runs(&self) -> Result<Vec<String>, RepositoryError> {
        let dir = self.path("regatta");
        let unreadable = |error| RepositoryError::io("read", &dir)(error);
        let entries = match fs::read_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
            entries => entries.map_err(unreadable)?,
        };
        let mut runs = BTreeSet::new();
        for entry in entries {
            let name = entry.map_err(unreadable)?.file_name();
            let Some((run, end)) = name.to_str().and_then(|name| name.rsplit_once('.')) else { continue };
            // `7.attempts` belongs to the stored run 7.
            if ENDS.contains(&end) && !run.is_empty() && !run.bytes().all(|b| b.is_ascii_digit()) {
                runs.insert(run.to_owned());
            }
        }
        Ok(runs.into_iter().collect())
    }

    /// Store what is there of the run with this name, whose regatta is dead, as a partial run. Gives its number, or
    /// nothing when it had no results, or is stored.
    ///
    /// # Errors
    /// When it cannot be read or stored; then it stays as it is, for another time.
    pub fn recover(&self, run: &str) -> Result<Option<u64>, RepositoryError> {
        let is_there = || ENDS.iter().any(|end| file_of(self, run, end).exists());
        if !is_there() {
            return Ok(None);
        }
        let lock = Lock::take(self)?;
        let path = file_of(self, run, "v1");
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.recover_rest(run, &lock),
            Err(error) => return Err(RepositoryError::io("open", &path)(error)),
        };
        // The number was not given: the file still has this name.
        remove(&file_of(self, run, "number"))?;
        mend(&file).map_err(RepositoryError::io("mend", &path))?;
        let mut tally = read_results(&file).map_err(RepositoryError::io("read", &path))?;
        self.add_undecided(run, (&path, &file), &mut tally)?;
        if tally.ids.len() == 0 {
            self.remove_all(run)?;
            return Ok(None);
        }
        let id = store::store_run(self, &lock, run, (&path, &file), &mut tally, true)?;
        store::store_times(self, &lock, run, &tally)?;
        Ok(Some(id))
    }

    /// The results are stored under a number, or there were none.
    fn recover_rest(&self, run: &str, lock: &Lock) -> Result<Option<u64>, RepositoryError> {
        let numbered = store::read_number(self, run).filter(|(id, _)| self.run_path(*id).exists());
        let Some((id, partial)) = numbered else {
            self.remove_all(run)?;
            return Ok(None);
        };
        let path = self.run_path(id);
        let file = File::open(&path).map_err(RepositoryError::io("read", &path))?;
        let mut tally = read_results(&file).map_err(RepositoryError::io("read", &path))?;
        store::store_rest(self, lock, run, (id, partial), &mut tally)?;
        Ok(Some(id))
    }

    /// Tests that failed, were to be run again and have no outcome: the last failure is their outcome.
    fn add_undecided(&self, run: &str, (path, file): (&Path, &File), tally: &mut Tally) -> Result<(), RepositoryError> {
        let attempts = file_of(self, run, "attempts");
        let Some(mut from) = open_if_there(&attempts)? else { return Ok(()) };
        let unreadable = |error| RepositoryError::io("read", &attempts)(error);
        let mut last: HashMap<_, u64> = HashMap::new();
        let mut n = 0;
        read_failures(&from, |test| {
            last.insert(written(&test), n);
            n += 1;
            Ok(())
        })
        .map_err(unreadable)?;
        last.retain(|id, _| tally.ids.find(id).is_none());
        if last.is_empty() {
            return Ok(());
        }

        let unwritable = |error| RepositoryError::io("write", path)(error);
        let mut end = { file }.seek(SeekFrom::End(0)).map_err(unwritable)?;
        from.rewind().map_err(unreadable)?;
        n = 0;
        read_failures(&from, |test| {
            if last.get(&written(&test)) == Some(&n) {
                let mut out = BufWriter::new(file);
                v1::write_test(&mut out, &test)?;
                out.flush()?;
                drop(out);
                let start = std::mem::replace(&mut end, { file }.stream_position()?);
                tally.count(&test, written_id(&test.id), Place::Run(start..end));
            }
            n += 1;
            Ok(())
        })
        .map_err(unwritable)
    }

    fn remove_all(&self, run: &str) -> Result<(), RepositoryError> {
        // The results last: what is there without them is taken for the rest of a stored run.
        ENDS.iter().rev().try_for_each(|end| remove(&file_of(self, run, end)))
    }
}

fn remove(path: &Path) -> Result<(), RepositoryError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(RepositoryError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// The id as it stands in a record.
fn written(test: &FinishedTest) -> Vec<u8> {
    written_id(&test.id).unwrap_or_else(|| test.id.as_bytes().to_vec())
}

/// Take away what is behind the last whole record.
fn mend(file: &File) -> io::Result<()> {
    let mut last = None;
    for record in Records::new(BufReader::with_capacity(1 << 16, From { file, at: 0 })) {
        last = Some(record?).filter(|record| !record.is_cut).or(last);
    }
    let end = last.as_ref().map_or(0, |record| record.range.end);
    if file.metadata()?.len() != end {
        file.set_len(end)?;
    }
    last.map_or(Ok(()), |last| end_tags(file, &last))
}

/// The line that takes a record's tags back comes after its outcome and may be missing: without it they would be those
/// of all records that follow.
fn end_tags(file: &File, last: &Record) -> io::Result<()> {
    let head = BufReader::new(From { file, at: last.range.start }).take(last.range.end - last.range.start);
    for line in head.split(b'\n') {
        let line = line?;
        if line.starts_with(b"test: ") {
            break;
        }
        if let Some(tags) = line.strip_prefix(b"tags: ") {
            let mut expected = b"tags:".to_vec();
            for tag in tags.split(|b| *b == b' ') {
                expected.extend_from_slice(b" -");
                expected.extend_from_slice(tag);
            }
            expected.push(b'\n');
            let mut end = vec![0; expected.len()];
            let is_there = last.range.end >= end.len() as u64
                && file.read_exact_at(&mut end, last.range.end - expected.len() as u64).is_ok()
                && end == expected;
            return if is_there { Ok(()) } else { file.write_all_at(&expected, last.range.end) };
        }
    }
    Ok(())
}

/// What the records of a file of whole ones say.
fn read_results(file: &File) -> io::Result<Tally> {
    let mut tally = Tally::default();
    let mut events = v1::Reader::new(BufReader::with_capacity(1 << 16, From { file, at: 0 }));
    for record in Records::new(BufReader::with_capacity(1 << 16, From { file, at: 0 })) {
        let record = record?;
        let id = String::from_utf8_lossy(&record.id).into_owned().into();
        let mut test = FinishedTest { id, ..FinishedTest::default() };
        for event in events.by_ref() {
            let event = event?;
            match event.status {
                Some(Status::InProgress) => test.start = event.time.unwrap_or_default(),
                Some(status) => {
                    test.status = Some(if record.is_failure { Status::Fail } else { status });
                    // One that never ended was written with one time only.
                    test.stop = event.time.filter(|stop| !record.is_failure || *stop != test.start);
                    break;
                }
                None => {}
            }
        }
        tally.count(&test, None, Place::Run(record.range));
    }
    Ok(tally)
}

/// A file from here to its end, without moving its position.
struct From<'a> {
    file: &'a File,
    at: u64,
}

impl Read for From<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
