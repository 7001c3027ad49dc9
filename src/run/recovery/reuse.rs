//! Instances that a run kept, for another run.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::Utc;

use super::{Abandoned, Origin, abandoned};
use crate::event::Stamp;
use crate::run::journal::record::Record;
use crate::run::journal::{About, JournalError, Standing};

/// An instance that was kept and that nobody else can take for as long as this lives.
#[derive(Debug)]
pub struct Reusable {
    /// Its id.
    pub id: String,
    /// Until when it was to be kept.
    pub until: Stamp,
    run: String,
    lease: String,
    /// Shared by all instances of its run.
    journal: Arc<Mutex<Abandoned>>,
}

/// The instances that are kept, by runs on this machine with the same callouts in the same directory, those first that
/// have been there for longest. Those that are not taken over ([`super::super::journal::Journal::adopt`]) stay as they
/// are.
///
/// # Errors
/// When the folder is not only ours.
pub fn reusable(dir: &Path, about: &About) -> Result<Vec<Reusable>, JournalError> {
    let now = Utc::now();
    let mut found = Vec::new();
    let fits = |journal: &Abandoned| {
        let header = &journal.header;
        let same =
            (&header.directory, &header.templates, &header.env) == (&about.directory, &about.templates, &about.env);
        journal.origin == Origin::Here && !journal.was_cut_short() && same
    };
    for journal in abandoned(dir)?.into_iter().filter(fits) {
        let (run, instances) = (journal.header.run.clone(), journal.log.state.instances.clone());
        let journal = Arc::new(Mutex::new(journal));
        for (id, held) in instances {
            if let Standing::Kept(until) = held.standing
                && until > now
            {
                let (run, journal) = (run.clone(), Arc::clone(&journal));
                found.push((held.since, held.index, Reusable { id, until, run, lease: held.lease, journal }));
            }
        }
    }
    found.sort_by_key(|(since, index, _)| (*since, *index));
    Ok(found.into_iter().map(|(.., reusable)| reusable).collect())
}

impl Reusable {
    /// The run that has kept it.
    #[must_use]
    pub fn run(&self) -> &str {
        &self.run
    }

    /// The name of its lease.
    pub(in crate::run) fn lease(&self) -> &str {
        &self.lease
    }

    /// It is another run's now.
    pub(in crate::run) fn give(self, to: &str) -> Result<(), JournalError> {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        journal.give(vec![self.id.clone()], to)
    }
}

impl Abandoned {
    /// These are another run's now.
    pub(super) fn give(&mut self, ids: Vec<String>, to: &str) -> Result<(), JournalError> {
        self.log.record(Record::Given { ids, to: to.to_owned() })?;
        self.finish()
    }
}
