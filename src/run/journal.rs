//! The journal of a run: what has to be given back, and what has to be ended, should regatta die.
//!
//! One file for each run, `RUN.jsonl`, in a folder that only its user can look into. It is there, and under an exclusive
//! lock, for as long as its regatta lives: it is made under another name, `RUN.new`, and gets its own once it is locked
//! and its first line is on disk. So whoever gets the lock of a `RUN.jsonl` knows that its regatta is gone.
//! [`super::recovery`] is who does. Beside it are `RUN.lease` ([`Journal::lease`]) and, while provision runs,
//! `RUN.provision-N`, which holds what it printed.
//!
//! The file is a log of lines of JSON, each an object. The first is about the run:
//!
//! ```json
//! {"format":1,"at":"2026-03-01T10:00:00Z","run":"20260301T100000000000Z-77","host":"box","boot":"...",
//!  "directory":"/home/me/project","program":"/usr/bin/regatta",
//!  "templates":{"instance_dispose":"dispose $INSTANCE_IDS"},"env":{"REGATTA_LOCAL_ROOT":"/srv"}}
//! ```
//!
//! `templates` has the callouts that recovery and `regatta instances` may need, `env` what callouts had in their
//! environment from outside under names that begin with `REGATTA_`; no other value is ever recorded. Every other line
//! says that something happened, `at` which moment, and which `record` it is:
//!
//! | record | fields | on disk before the call returns | meaning |
//! | --- | --- | --- | --- |
//! | `provision` | `n`, `file` | yes | provision call `n` begins; its stdout is in `file` |
//! | `provisioned` | `n` | | it is over, and all its ids are here |
//! | `instance` | `id`, `index`, `taken` | yes | an instance is there; `taken`: the `run` that had kept it, and its `lease` |
//! | `started` | `number`, `key`, `pid`, `start`, `session` | | a callout runs; `start` is when its leader began (`/proc/PID/stat`), `session`: it leads one |
//! | `ended` | `number` | | it ended |
//! | `disposed` | `ids` | yes | these were given back |
//! | `orphaned` | `ids` | yes | these could not be given back |
//! | `kept` | `ids`, `until`, `lease` | yes | these stay until then |
//! | `given` | `ids`, `to` | yes | these were taken over by another run |
//! | `closed` | | yes | the run ended in good order, and something stays |
//!
//! A reader passes over lines that it cannot read, and records that it does not know. What could not be written, as the
//! disk was full, is written before the next record.

mod error;
pub(in crate::run) mod files;
mod record;
mod state;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use chrono::Utc;

pub use error::JournalError;
use files::{JOURNAL, UNBORN};
use record::{FORMAT, Line, Record};
pub use record::{Header, Taken};
pub use state::{Callout, Held, Standing, State};

use super::machine;
use crate::config::Commands;
use crate::event::Stamp;

/// How often a journal is begun anew, where others clean the folder up at the same moment.
const ATTEMPTS: usize = 100;

/// What a journal says of its run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The run's id, of letters, digits, `-`, `_` and `.` only.
    pub run_id: String,
    /// Where callouts run.
    pub directory: PathBuf,
    /// The program that runs.
    pub program: PathBuf,
    /// The callouts' templates, by their keys.
    pub templates: BTreeMap<String, String>,
    /// What callouts find in the environment from outside, as far as it has to do with regatta.
    pub env: BTreeMap<String, String>,
}

impl About {
    /// Of a run of these commands, in the current directory.
    #[must_use]
    pub fn new(run_id: &str, program: &Path, commands: &Commands) -> Self {
        let named =
            [("instance_execute", &commands.instance_execute), ("instance_dispose", &commands.instance_dispose)];
        let named = named.into_iter().filter_map(|(key, line)| Some((key, line.as_ref()?)));
        let optional = commands.optional.iter().map(|(key, line)| (*key, line));
        Self {
            run_id: run_id.to_owned(),
            directory: std::env::current_dir().unwrap_or_else(|_| ".".into()),
            program: program.to_owned(),
            templates: named.chain(optional).map(|(key, line)| (key.to_owned(), line.clone())).collect(),
            env: environment(),
        }
    }
}

/// What regatta itself tells each callout; what stands there from outside does not reach them.
const OWN: [&str; 12] = [
    "REGATTA",
    "REGATTA_COMMAND",
    "REGATTA_COMMAND_FILE",
    "REGATTA_DEST",
    "REGATTA_FILES",
    "REGATTA_INSTANCE_COUNT",
    "REGATTA_INSTANCE_ID",
    "REGATTA_INSTANCE_IDS",
    "REGATTA_INSTANCE_INDEX",
    "REGATTA_LEASE",
    "REGATTA_RUN_ID",
    "REGATTA_TTL",
];

/// The variables whose names begin with `REGATTA_` and that callouts get as they are.
pub(in crate::run) fn environment() -> BTreeMap<String, String> {
    let text =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    text.filter(|(name, _)| name.starts_with("REGATTA_") && !OWN.contains(&name.as_str())).collect()
}

/// The journal of a run that lives: open, and locked.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    run_id: String,
    path: PathBuf,
    lease: PathBuf,
    file: File,
    state: State,
    /// What could not be written yet: the rest of a line, and lines.
    unwritten: Vec<u8>,
}

impl Journal {
    /// Begin the journal of a run, in a folder that is made if it is not there.
    ///
    /// # Errors
    /// When the folder is not only ours, or cannot be written.
    pub fn create(dir: &Path, about: &About) -> Result<Self, JournalError> {
        if !files::is_name(&about.run_id) {
            return Err(JournalError::BadName(about.run_id.clone()));
        }
        let dir = files::private_dir(dir)?;
        let path = dir.join(format!("{}{JOURNAL}", about.run_id));
        let state = State::new(&about.run_id);
        let unborn = dir.join(format!("{}{UNBORN}", about.run_id));
        let mut file = locked(&unborn)?;
        let About { run_id, directory, program, templates, env } = about.clone();
        let (host, boot) = (machine::host(), machine::boot());
        let header =
            Header { format: FORMAT, at: Utc::now(), run: run_id, host, boot, directory, program, templates, env };
        let written = file.write_all(&json(&header)).and_then(|()| file.sync_data());
        let renamed = written.map_err(JournalError::io("write", &unborn)).and_then(|()| {
            if path.symlink_metadata().is_ok() {
                return Err(JournalError::Exists { path: path.clone() });
            }
            std::fs::rename(&unborn, &path).map_err(JournalError::io("create", &path))
        });
        if let Err(error) = renamed {
            let _ = files::remove(&unborn);
            return Err(error);
        }
        files::sync_dir(&dir)?;
        let lease = dir.join(format!("{}{}", about.run_id, files::LEASE));
        let journal = Self { dir, run_id: about.run_id.clone(), path, lease, file, state, unwritten: Vec::new() };
        if let Err(error) = journal.renew() {
            let _ = files::remove(&journal.path);
            return Err(JournalError::io("write", &journal.lease)(error));
        }
        Ok(journal)
    }

    /// Provision call number `n` is about to begin: a file for its stdout, which is read as it grows
    /// ([`super::follow`]), and its path.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn provision_output(&mut self, n: u32) -> Result<(File, PathBuf), JournalError> {
        let name = files::provision_name(&self.run_id, n);
        let path = self.dir.join(&name);
        let file = files::create(&path).map_err(JournalError::io("create", &path))?;
        files::sync_dir(&self.dir)?;
        self.write(Record::Provision { n, file: name })?;
        self.sync()?;
        Ok((file, path))
    }

    /// The call is over and each of its ids has been told ([`Journal::instance`]): what it printed is not needed
    /// any more.
    ///
    /// # Errors
    /// When it cannot be written, or the file not be removed.
    pub fn provision_done(&mut self, n: u32) -> Result<(), JournalError> {
        self.write(Record::Provisioned { n })?;
        files::remove(&self.dir.join(files::provision_name(&self.run_id, n)))
    }

    /// An instance is there. To be told before anything is done with it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn instance(&mut self, id: &str, index: usize) -> Result<(), JournalError> {
        self.write(Record::Instance { id: id.to_owned(), index, taken: None })?;
        self.sync()
    }

    /// A callout was started: its number, which no other has, its key, and the process that leads it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn callout_started(&mut self, number: u64, key: &str, pid: u32, own_session: bool) -> Result<(), JournalError> {
        let start = machine::process(pid).map(|process| process.start);
        self.write(Record::Started { number, key: key.to_owned(), pid, start, session: own_session })
    }

    /// It ended.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn callout_ended(&mut self, number: u64) -> Result<(), JournalError> {
        self.write(Record::Ended { number })
    }

    /// These instances were given back.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn disposed(&mut self, ids: &[String]) -> Result<(), JournalError> {
        self.write(Record::Disposed { ids: ids.to_vec() })?;
        self.sync()
    }

    /// These instances could not be given back.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn left_behind(&mut self, ids: &[String]) -> Result<(), JournalError> {
        self.write(Record::Orphaned { ids: ids.to_vec() })?;
        self.sync()
    }

    /// These instances stay until then: so does the journal, and their leases are good for so long.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn kept(&mut self, ids: &[String], until: Stamp) -> Result<(), JournalError> {
        let mut by_lease: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for id in ids {
            let Some(held) = self.state.instances.get(id) else { continue };
            by_lease.entry(held.lease.clone()).or_default().push(id.clone());
        }
        for (lease, ids) in by_lease {
            self.write(Record::Kept { ids, until, lease })?;
        }
        self.sync()?;
        self.renew().map_err(JournalError::io("write", &self.lease))
    }

    /// The file whose time of modification says until when instances are in use: whole, as they are told it.
    #[must_use]
    pub fn lease(&self) -> &Path {
        &self.lease
    }

    /// The instances are in use now. The lease of those that are kept stays good for as long as they are.
    ///
    /// # Errors
    /// When a lease cannot be written; the others are.
    pub fn renew(&self) -> io::Result<()> {
        self.renew_until(Utc::now())
    }

    /// The instances are in use until then.
    ///
    /// # Errors
    /// As [`Journal::renew`].
    pub fn renew_until(&self, until: Stamp) -> io::Result<()> {
        let leases = self.state.leases();
        let touched =
            leases.iter().map(|(name, kept)| files::touch(&self.dir.join(name), until.max(kept.unwrap_or(until))));
        touched.fold(Ok(()), Result::and)
    }

    /// What the journal says now.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The run is over. Without an instance in it the journal goes, and all its files with it. Otherwise it stays, for
    /// whoever looks for what is left.
    ///
    /// # Errors
    /// When it cannot be written, or a file not be removed.
    pub fn close(mut self) -> Result<(), JournalError> {
        if !self.state.instances.is_empty() {
            self.write(Record::Closed)?;
            self.sync()?;
            return self.renew().map_err(JournalError::io("write", &self.lease));
        }
        self.remove()
    }

    /// Remove all its files, itself last, so that a journal that is there knows all that is left.
    fn remove(&self) -> Result<(), JournalError> {
        for name in self.state.provisions.values().filter(|name| files::is_provision_of(&self.run_id, name)) {
            files::remove(&self.dir.join(name))?;
        }
        files::remove(&self.lease)?;
        files::remove(&self.path)
    }

    fn write(&mut self, record: Record) -> Result<(), JournalError> {
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

    fn sync(&self) -> Result<(), JournalError> {
        self.file.sync_data().map_err(JournalError::io("write", &self.path))
    }
}

/// A line.
fn json(value: &impl serde::Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).expect("it has no map with keys that are no text");
    line.push(b'\n');
    line
}

/// Make a file, and lock it before anybody who cleans up does.
fn locked(path: &Path) -> Result<File, JournalError> {
    let mut last = io::ErrorKind::WouldBlock.into();
    for _ in 0..ATTEMPTS {
        match files::create(path) {
            Ok(file) if file.try_lock().is_ok() && files::is_still(path, &file) => return Ok(file),
            Ok(_) => {}
            Err(error) => {
                let is_there = error.kind() == io::ErrorKind::AlreadyExists;
                last = error;
                if !is_there {
                    break;
                }
            }
        }
    }
    Err(JournalError::io("create", path)(last))
}

#[cfg(test)]
mod tests;
