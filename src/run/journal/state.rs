//! What the lines of a journal come to: the instances that are there, and what runs.
//!
//! The writer keeps one beside its file, a reader makes one from a file; both through [`State::apply`].

use std::collections::{BTreeMap, BTreeSet};

use super::files::{LEASE, is_name};
use super::record::{Header, Line, Record, Taken};
use crate::event::Stamp;

/// What a journal says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The name of the run's own lease.
    lease: String,
    /// The instances that are there, by their ids.
    pub instances: BTreeMap<String, Held>,
    /// The callouts that run, by their numbers.
    pub callouts: BTreeMap<u64, Callout>,
    /// The calls of provision whose ids are not all here.
    pub provisions: BTreeMap<u32, Output>,
    /// The run ended in good order.
    pub is_closed: bool,
}

/// An instance that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its place in the order of provisioning.
    pub index: usize,
    /// Since when it is in this journal.
    pub since: Stamp,
    /// What is to become of it.
    pub standing: Standing,
    /// Where it was taken over from, if it was.
    pub taken: Option<Taken>,
    /// The name of its lease.
    pub lease: String,
}

/// What is to become of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is in use.
    Live,
    /// It is for a person to look at, until then.
    Kept(Stamp),
    /// It could not be given back.
    Orphan,
}

/// What a call of provision prints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// The name of the file that has it.
    pub file: String,
    /// The ids that were told since the call began.
    pub told: BTreeSet<String>,
}

/// A callout that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callout {
    /// The key that it comes from.
    pub key: String,
    /// The process that leads it.
    pub pid: u32,
    /// When that began, as the system counts it; a later process with the same number has another.
    pub start: Option<u64>,
    /// It leads a session, with its own number.
    pub session: bool,
}

impl State {
    /// Of a journal that was just begun.
    pub(super) fn new(run_id: &str) -> Self {
        Self {
            lease: format!("{run_id}{LEASE}"),
            instances: BTreeMap::new(),
            callouts: BTreeMap::new(),
            provisions: BTreeMap::new(),
            is_closed: false,
        }
    }

    /// Read a journal. A line that cannot be read is passed over: it was cut short, or is of a newer version. Nothing
    /// when that is the first.
    pub fn read(bytes: &[u8]) -> Option<(Header, Self)> {
        let mut lines = bytes.split(|b| *b == b'\n');
        let header: Header = serde_json::from_slice(lines.next()?).ok().filter(|h: &Header| is_name(&h.run))?;
        let mut state = Self::new(&header.run);
        for line in lines.filter_map(|line| serde_json::from_slice::<Line>(line).ok()) {
            state.apply(line);
        }
        Some((header, state))
    }

    pub(super) fn apply(&mut self, Line { at, record }: Line) {
        match record {
            Record::Provision { n, file } => {
                self.provisions.insert(n, Output { file, told: BTreeSet::new() });
            }
            Record::Provisioned { n } => drop(self.provisions.remove(&n)),
            Record::Instance { id, index, taken } => {
                // It becomes part of a path.
                let taken = taken.filter(|taken| is_name(&taken.lease) && taken.lease.ends_with(LEASE));
                let lease = taken.as_ref().map_or_else(|| self.lease.clone(), |taken| taken.lease.clone());
                for output in self.provisions.values_mut() {
                    output.told.insert(id.clone());
                }
                self.instances.insert(id, Held { index, since: at, standing: Standing::Live, taken, lease });
            }
            Record::Started { number, key, pid, start, session } => {
                self.callouts.insert(number, Callout { key, pid, start, session });
            }
            Record::Ended { number } => drop(self.callouts.remove(&number)),
            Record::Disposed { ids } | Record::Given { ids, .. } => {
                for id in &ids {
                    self.instances.remove(id);
                }
            }
            Record::Orphaned { ids } => self.stand(&ids, Standing::Orphan),
            Record::Kept { ids, until, .. } => self.stand(&ids, Standing::Kept(until)),
            Record::Closed => self.is_closed = true,
            Record::Unknown => {}
        }
    }

    fn stand(&mut self, ids: &[String], standing: Standing) {
        for id in ids {
            if let Some(held) = self.instances.get_mut(id) {
                held.standing = standing;
            }
        }
    }

    /// The names of all leases that are to be renewed, and until when they are to be good at least: those of the kept
    /// instances for as long as these are kept.
    pub(super) fn leases(&self) -> BTreeMap<&str, Option<Stamp>> {
        let mut leases = BTreeMap::from([(&*self.lease, None)]);
        for held in self.instances.values() {
            let until = match held.standing {
                Standing::Kept(until) => Some(until),
                Standing::Live | Standing::Orphan => None,
            };
            let lease = leases.entry(&*held.lease).or_default();
            *lease = until.max(*lease);
        }
        leases
    }
}
