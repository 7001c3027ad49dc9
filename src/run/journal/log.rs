//! The file of a journal, open and locked, and what it says.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use chrono::Utc;

use super::record::{Line, Record};
use super::{Header, JournalError, State, files};

/// A journal's file. Its lock goes when this does.
#[derive(Debug)]
pub(in crate::run) struct Log {
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(in crate::run) state: State,
    /// What could not be written yet: the rest of a line, and lines.
    pub(super) unwritten: Vec<u8>,
}

impl Log {
    /// Of a journal that was just begun.
    pub(super) fn new(path: PathBuf, file: File, state: State) -> Self {
        Self { path, file, state, unwritten: Vec::new() }
    }

    /// A journal that somebody left. Nothing when its regatta lives, or another one sees to it, or when it is none.
    pub(in crate::run) fn take(path: &Path) -> io::Result<Option<(Header, Self)>> {
        let Some(mut file) = files::open(path)? else { return Ok(None) };
        // Who had the lock may have removed the file.
        if file.try_lock().is_err() || !files::is_still(path, &file) {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let Some((header, state)) = State::read(&bytes) else { return Ok(None) };
        let unwritten = if bytes.ends_with(b"\n") { Vec::new() } else { b"\n".to_vec() };
        Ok(Some((header, Self { path: path.to_owned(), file, state, unwritten })))
    }

    pub(in crate::run) fn write(&mut self, record: Record) -> Result<(), JournalError> {
        let line = Line { at: Utc::now(), record };
        self.unwritten.extend(json(&line));
        self.state.apply(line);
        while !self.unwritten.is_empty() {
            match self.file.write(&self.unwritten) {
                Ok(0) => return Err(JournalError::io("write", &self.path)(io::ErrorKind::WriteZero.into())),
                // What was written is written, so the rest of a line follows its beginning.
                Ok(n) => drop(self.unwritten.drain(..n)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(JournalError::io("write", &self.path)(error)),
            }
        }
        Ok(())
    }

    pub(in crate::run) fn sync(&self) -> Result<(), JournalError> {
        self.file.sync_data().map_err(JournalError::io("write", &self.path))
    }

    /// Write a record, and have it on disk.
    pub(in crate::run) fn record(&mut self, record: Record) -> Result<(), JournalError> {
        self.write(record)?;
        self.sync()
    }

    /// Remove all files of the run: what provision printed, the journal, and its lease unless an instance still has it
    /// that another run took over. Others see the journal go, or all of it.
    pub(in crate::run) fn remove(&self, dir: &Path, run_id: &str) -> Result<(), JournalError> {
        for name in files::names(dir).iter().filter(|name| files::is_provision_of(run_id, name)) {
            files::remove(&dir.join(name))?;
        }
        files::remove(&self.path)?;
        sweep(dir)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // Not only by closing the file: a process that another thread is starting has a copy of the descriptor.
        let _ = self.file.unlock();
    }
}

/// A line.
pub(super) fn json(value: &impl serde::Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).expect("it has no map with keys that are no text");
    line.push(b'\n');
    line
}

/// Remove leases that no instance has: their run has no journal, and no other run took an instance over from it.
pub(in crate::run) fn sweep(dir: &Path) -> Result<(), JournalError> {
    // In this order: what is taken over is in its new journal before it is not in its old one.
    let unowned: Vec<String> = files::names(dir)
        .into_iter()
        .filter(|name| {
            let run = name.strip_suffix(files::LEASE);
            run.is_some_and(|run| dir.join(format!("{run}{}", files::JOURNAL)).symlink_metadata().is_err())
        })
        .collect();
    if unowned.is_empty() {
        return Ok(());
    }
    let journals: Vec<State> =
        files::journals(dir).iter().filter_map(|path| read(path)).map(|(_, state)| state).collect();
    for name in unowned {
        if !journals.iter().any(|state| state.instances.values().any(|held| held.lease == name)) {
            files::remove(&dir.join(name))?;
        }
    }
    Ok(())
}

/// What a journal says now, whoever has its lock.
pub(in crate::run) fn read(path: &Path) -> Option<(Header, State)> {
    let mut bytes = Vec::new();
    files::open(path).ok()??.read_to_end(&mut bytes).ok()?;
    State::read(&bytes)
}
