//! What a dead regatta left: found through its journal, ended, and given back.
//!
//! A journal whose lock can be taken has no regatta any more ([`super::journal`]). Whoever has the lock sees to what is
//! in it, and nobody else, for as long as the [`Abandoned`] lives. Each step is recorded when it is done, so that a
//! regatta that dies on the way is no worse than one that did not begin.
//!
//! Nothing is ended by its number alone: a process is what the journal means when it began at the same moment, or is in
//! the session that such a process leads, or is in the session of that number and has the run's id in its environment;
//! and it is signalled through a handle that no other process can get. What is not found so: a callout that a regatta
//! started in the moment in which it was killed, before its number was in the journal; it is left to its own end.
//!
//! Results are the repository's; [`crate::run`] knows nothing of them. Who recovered them says so
//! ([`Abandoned::results_are_safe`]).

mod calls;
mod cleaning;
mod lines;
mod remains;
mod reuse;

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use chrono::Utc;

pub use cleaning::{Cleaned, Which};
pub use lines::{Line, Lines};
pub use reuse::{Reusable, reusable};

use super::journal::files::{self, UNBORN};
use super::journal::log::{self, Log};
use super::journal::record::Record;
use super::journal::{Header, JournalError, Standing, State};
use super::machine;
use super::reading::printed_ids;

/// Where the regatta of a journal ran, seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// On this machine, since it was started: its processes may be there.
    Here,
    /// On this machine, before it was started: its processes are gone, its instances may be there.
    OtherBoot,
    /// On another machine, which may see its processes, and perhaps does not see our locks.
    OtherHost,
}

/// A journal whose regatta is gone. It is ours for as long as this lives.
#[derive(Debug)]
pub struct Abandoned {
    dir: PathBuf,
    header: Header,
    origin: Origin,
    log: Log,
}

/// The journals in a folder whose regattas are gone; those that another command sees to are not among them. Remains of
/// journals that never were are cleaned up.
///
/// # Errors
/// When the folder is not only ours.
pub fn abandoned(dir: &Path) -> Result<Vec<Abandoned>, JournalError> {
    match files::check_dir(dir) {
        // Nobody can look into another user's, and need not.
        Err(JournalError::Io { source, .. })
            if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) =>
        {
            return Ok(Vec::new());
        }
        checked => checked?,
    }
    tidy_up(dir);
    Ok(files::journals(dir).iter().filter_map(|path| Abandoned::take(dir, path)).collect())
}

/// Remove what is left of journals that never were, and leases that no instance has. What cannot be removed stays.
fn tidy_up(dir: &Path) {
    for name in files::names(dir).iter().filter(|name| name.ends_with(UNBORN)) {
        let path = dir.join(name);
        if let Ok(Some(file)) = files::open(&path)
            && file.try_lock().is_ok()
            && files::is_still(&path, &file)
        {
            let _ = files::remove(&path);
        }
    }
    let _ = log::sweep(dir);
}

/// What all journals in a folder say, and whether their runs live: there is a regatta that has the lock.
#[must_use]
pub fn all(dir: &Path) -> Vec<(Header, State)> {
    files::journals(dir).iter().filter_map(|path| log::read(path)).collect()
}

impl Abandoned {
    fn take(dir: &Path, path: &Path) -> Option<Self> {
        let taken = Log::take(path).inspect_err(|error| tracing::warn!("cannot read {}: {error}", path.display()));
        let (header, log) = taken.ok()??;
        // A copy is not the journal of its run.
        let is_own = path.file_stem().is_some_and(|stem| *stem == *header.run);
        let origin = match (header.host == machine::host(), header.boot == machine::boot()) {
            (true, true) => Origin::Here,
            (true, false) => Origin::OtherBoot,
            (false, _) => Origin::OtherHost,
        };
        is_own.then(|| Self { dir: dir.to_owned(), header, origin, log })
    }

    /// What it says of its run.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What it says is there.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.log.state
    }

    /// Where its regatta ran.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Whether its run ended before its time, and nobody has looked for its results yet.
    #[must_use]
    pub fn was_cut_short(&self) -> bool {
        !self.log.state.is_closed
    }

    /// The results of the run are in the repository, or there are none. A journal without anything else in it goes.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn results_are_safe(&mut self) -> Result<(), JournalError> {
        self.log.record(Record::Closed)?;
        self.finish()
    }

    /// The instances that are left without a purpose, as far as is known: those that nobody gave back or said to keep,
    /// and those that were kept for long enough.
    #[must_use]
    pub fn due(&self) -> BTreeSet<String> {
        let mut ids = self.chosen(&Which::Due);
        ids.extend(self.printed().into_iter().flat_map(|(_, ids)| ids));
        ids
    }

    fn chosen(&self, which: &Which<'_>) -> BTreeSet<String> {
        let now = Utc::now();
        let is_chosen = |id: &str, standing| match which {
            Which::Due => !matches!(standing, Standing::Kept(until) if until > now),
            Which::All => true,
            Which::Named(ids) => ids.iter().any(|named| named == id),
        };
        let instances = self.log.state.instances.iter();
        instances.filter(|(id, held)| is_chosen(id, held.standing)).map(|(id, _)| id.clone()).collect()
    }

    /// What provision printed that was never told, by the numbers of its calls.
    fn printed(&self) -> Vec<(u32, Vec<String>)> {
        let outputs = self.log.state.provisions.iter();
        let own = outputs.filter(|(_, output)| files::is_provision_of(&self.header.run, &output.file));
        own.map(|(n, output)| {
            let mut bytes = Vec::new();
            // A file that is not there has nothing in it.
            if let Ok(Some(mut file)) = files::open(&self.dir.join(&output.file)) {
                let _ = file.read_to_end(&mut bytes);
            }
            let ids = printed_ids(&bytes).into_iter().filter(|id| !output.told.contains(id)).collect();
            (*n, ids)
        })
        .collect()
    }

    /// Drop instances from the journal, whatever has become of them.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn forget(&mut self, ids: &[String]) -> Result<(), JournalError> {
        self.log.record(Record::Disposed { ids: ids.to_vec() })?;
        self.finish()
    }

    /// Remove what has nothing left to say.
    fn finish(&self) -> Result<(), JournalError> {
        let state = &self.log.state;
        let is_over = state.is_closed && state.instances.is_empty() && state.provisions.is_empty();
        if is_over && state.callouts.is_empty() { self.log.remove(&self.dir, &self.header.run) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
