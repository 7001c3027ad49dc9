//! The journal of a run: what has to be given back, and what has to be ended, should regatta die.
//!
//! One file for each run, `RUN.jsonl`, in a folder that only its user can look into. It is there, and under an exclusive
//! lock, for as long as its regatta lives: it is made under another name, `RUN.0.new`, and gets its own once it is locked
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
pub(in crate::run) mod log;
pub(in crate::run) mod record;
mod state;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use chrono::Utc;

pub use error::JournalError;
use files::{JOURNAL, UNBORN};
use log::{Log, json};
use record::{FORMAT, Record};
pub use record::{Header, Taken};
pub use state::{Callout, Held, Standing, State};

use super::machine;
use super::process::OWN_VARIABLES;
use super::recovery::Reusable;
use crate::config::Commands;
use crate::event::Stamp;

/// How often a journal is begun anew, where others clean the folder up at the same moment.
const ATTEMPTS: usize = 20;

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
    /// Of a run that only stores what others ran.
    #[must_use]
    pub fn without_callouts(run_id: &str) -> Self {
        Self {
            run_id: run_id.to_owned(),
            directory: std::env::current_dir().unwrap_or_else(|_| ".".into()),
            program: std::env::current_exe().unwrap_or_default(),
            templates: BTreeMap::new(),
            env: BTreeMap::new(),
        }
    }

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

/// The variables whose names begin with `REGATTA_` and that callouts get as they are, where a shell can name them. What
/// regatta tells each callout itself is none of them, nor is what it writes to its own log.
pub(in crate::run) fn environment() -> BTreeMap<String, String> {
    let is_own = |name: &str| name == "REGATTA_LOG" || OWN_VARIABLES.contains(&name);
    let is_named = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let text =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    text.filter(|(name, _)| name.starts_with("REGATTA_") && is_named(name) && !is_own(name)).collect()
}

/// The journal of a run that lives: open, and locked.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    run_id: String,
    lease: PathBuf,
    log: Log,
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
        let (unborn, mut file) = locked(&dir, &about.run_id)?;
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
        let log = Log::new(path, file, State::new(&about.run_id));
        let journal = Self { dir, run_id: about.run_id.clone(), lease, log };
        if let Err(error) = journal.renew() {
            let _ = files::remove(&journal.log.path);
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
        self.log.record(Record::Provision { n, file: name })?;
        Ok((file, path))
    }

    /// The call is over and each of its ids has been told ([`Journal::instance`]): what it printed is not needed
    /// any more.
    ///
    /// # Errors
    /// When it cannot be written, or the file not be removed.
    pub fn provision_done(&mut self, n: u32) -> Result<(), JournalError> {
        self.log.write(Record::Provisioned { n })?;
        files::remove(&self.dir.join(files::provision_name(&self.run_id, n)))
    }

    /// An instance is there. To be told before anything is done with it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn instance(&mut self, id: &str, index: usize) -> Result<(), JournalError> {
        self.log.record(Record::Instance { id: id.to_owned(), index, taken: None })
    }

    /// Take over an instance that another run kept: from now on this run has it, and no other one.
    ///
    /// # Errors
    /// When it cannot be written; then it is nobody's yet, or this run's, but never lost.
    pub fn adopt(&mut self, kept: Reusable, index: usize) -> Result<(), JournalError> {
        let taken = Taken { run: kept.run().to_owned(), lease: kept.lease().to_owned() };
        self.log.record(Record::Instance { id: kept.id.clone(), index, taken: Some(taken) })?;
        kept.give(&self.run_id)
    }

    /// A callout was started: its number, which no other has, its key, and the process that leads it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn callout_started(&mut self, number: u64, key: &str, pid: u32, own_session: bool) -> Result<(), JournalError> {
        self.log.write(Record::started(number, key, pid, own_session))
    }

    /// It ended.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn callout_ended(&mut self, number: u64) -> Result<(), JournalError> {
        self.log.write(Record::Ended { number })
    }

    /// These instances were given back.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn disposed(&mut self, ids: &[String]) -> Result<(), JournalError> {
        self.log.record(Record::Disposed { ids: ids.to_vec() })
    }

    /// These instances could not be given back.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn left_behind(&mut self, ids: &[String]) -> Result<(), JournalError> {
        self.log.record(Record::Orphaned { ids: ids.to_vec() })
    }

    /// These instances stay until then: so does the journal, and their leases are good for so long.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn kept(&mut self, ids: &[String], until: Stamp) -> Result<(), JournalError> {
        let mut by_lease: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for id in ids {
            let Some(held) = self.log.state.instances.get(id) else { continue };
            by_lease.entry(held.lease.clone()).or_default().push(id.clone());
        }
        for (lease, ids) in by_lease {
            self.log.write(Record::Kept { ids, until, lease })?;
        }
        self.log.sync()?;
        self.renew().map_err(JournalError::io("write", &self.lease))
    }

    /// The file whose time of modification says until when instances are in use: whole, as they are told it.
    #[must_use]
    pub fn lease(&self) -> &Path {
        &self.lease
    }

    /// The instances are in use now. The lease of those that are kept stays good for as long as they are, and that of
    /// those that were taken over for as long as it was.
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
        let touched = self.log.state.leases().into_iter().map(|(name, kept)| {
            let (path, until) = (self.dir.join(name), until.max(kept.unwrap_or(until)));
            if path == self.lease { files::touch(&path, until) } else { files::touch_shared(&path, until) }
        });
        touched.fold(Ok(()), Result::and)
    }

    /// What the journal says now.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.log.state
    }

    /// The run is over. Without an instance in it the journal goes, and all its files with it. Otherwise it stays, for
    /// whoever looks for what is left.
    ///
    /// # Errors
    /// When it cannot be written, or a file not be removed.
    pub fn close(mut self) -> Result<(), JournalError> {
        if self.log.state.instances.is_empty() {
            return self.log.remove(&self.dir, &self.run_id);
        }
        self.log.record(Record::Closed)?;
        self.renew().map_err(JournalError::io("write", &self.lease))?;
        log::sweep(&self.dir)
    }
}

/// Make a file that is locked. Another command that cleans up may get the lock of one before us, and remove it.
fn locked(dir: &Path, run_id: &str) -> Result<(PathBuf, File), JournalError> {
    let mut last = JournalError::BadName(run_id.to_owned());
    for attempt in 0..ATTEMPTS {
        let path = dir.join(format!("{run_id}.{attempt}{UNBORN}"));
        match files::create(&path) {
            Ok(file) if file.try_lock().is_ok() && files::is_still(&path, &file) => return Ok((path, file)),
            Ok(_) => last = JournalError::io("lock", &path)(io::ErrorKind::WouldBlock.into()),
            Err(error) => last = JournalError::io("create", &path)(error),
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests;
