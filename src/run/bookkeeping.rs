//! The journal as the loop keeps it: told of everything, and never in its way.
//!
//! Where there is no journal, or it cannot be written, the run goes on: the first trouble is given to the caller, who
//! tells it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::journal::{Journal, JournalError};
use super::process::Output;
use super::recovery::Reusable;
use crate::event::{InstanceState, Stamp};

/// How often the lease is renewed.
const RENEWAL: Duration = Duration::from_secs(10);

/// The journal of a session, if it has one.
pub(super) struct Bookkeeping {
    journal: Option<Journal>,
    provisions: u32,
    renew_at: Instant,
    /// Trouble was told: once is enough.
    is_troubled: bool,
    /// Instances whose end has to be written, by how they ended, until [`Bookkeeping::flush`].
    ended: BTreeMap<bool, Vec<String>>,
    trouble: Option<JournalError>,
}

impl Bookkeeping {
    pub(super) fn new(journal: Option<Journal>) -> Self {
        Self {
            journal,
            provisions: 0,
            renew_at: Instant::now() + RENEWAL,
            is_troubled: false,
            ended: BTreeMap::new(),
            trouble: None,
        }
    }

    /// What went wrong since the last call, if nothing was told before.
    pub(super) fn trouble(&mut self) -> Option<String> {
        let trouble = self.trouble.take().filter(|_| !self.is_troubled)?;
        self.is_troubled = true;
        Some(format!("{trouble}; should regatta die now, instances may be left behind"))
    }

    fn write<T>(&mut self, write: impl FnOnce(&mut Journal) -> Result<T, JournalError>) -> Option<T> {
        let result = write(self.journal.as_mut()?);
        result.map_err(|error| self.trouble = Some(error)).ok()
    }

    /// Take over instances of an earlier run: those that could be, as their ids and leases.
    pub(super) fn adopt(&mut self, kept: Vec<Reusable>) -> Vec<(String, PathBuf)> {
        let mut adopted = Vec::new();
        for reusable in kept {
            let Some(journal) = &self.journal else { break };
            let dir = journal.lease().parent().map(PathBuf::from).unwrap_or_default();
            let (id, lease) = (reusable.id.clone(), dir.join(reusable.lease()));
            let index = adopted.len();
            if self.write(|journal| journal.adopt(reusable, index)).is_some() {
                adopted.push((id, lease));
            }
        }
        adopted
    }

    /// A file for what provision prints.
    pub(super) fn provision_begins(&mut self) -> Option<Output> {
        self.provisions += 1;
        let number = self.provisions;
        self.write(|journal| journal.provision_output(number))
    }

    /// All that it printed has been taken in.
    pub(super) fn provision_ended(&mut self) {
        let number = self.provisions;
        self.write(|journal| journal.provision_done(number));
    }

    pub(super) fn callout_started(&mut self, number: u64, key: &str, pid: Option<u32>, leads_session: bool) {
        if let Some(pid) = pid {
            self.write(|journal| journal.callout_started(number, key, pid, leads_session));
        }
    }

    pub(super) fn callout_ended(&mut self, number: u64) {
        self.write(|journal| journal.callout_ended(number));
    }

    pub(super) fn became(&mut self, id: &str, index: usize, state: &InstanceState) {
        match state {
            InstanceState::Provisioned => drop(self.write(|journal| {
                if journal.state().instances.contains_key(id) { Ok(()) } else { journal.instance(id, index) }
            })),
            InstanceState::Disposed => self.ended.entry(true).or_default().push(id.to_owned()),
            InstanceState::LeftBehind => self.ended.entry(false).or_default().push(id.to_owned()),
            InstanceState::Kept { until } => self.kept(id, *until),
            InstanceState::Ready | InstanceState::Dead { .. } => {}
        }
    }

    fn kept(&mut self, id: &str, until: Stamp) {
        self.write(|journal| journal.kept(&[id.to_owned()], until));
    }

    /// Write what ended: one line, and one wait for the disk, for all that one disposal disposed of.
    pub(super) fn flush(&mut self) {
        for (is_gone, ids) in std::mem::take(&mut self.ended) {
            self.write(|journal| if is_gone { journal.disposed(&ids) } else { journal.left_behind(&ids) });
        }
    }

    /// Wait until the lease is due, and renew it.
    pub(super) async fn lease_is_due(&self) {
        if self.journal.is_none() {
            return std::future::pending().await;
        }
        sleep_until(self.renew_at).await;
    }

    pub(super) fn renew(&mut self) {
        self.renew_at = Instant::now() + RENEWAL;
        let lease = self.journal.as_ref().map(|journal| journal.lease().to_path_buf()).unwrap_or_default();
        self.write(|journal| journal.renew().map_err(JournalError::io("write", &lease)));
    }

    /// The session is over: without an instance that stays, the journal goes.
    ///
    /// # Errors
    /// When it cannot be written, or removed.
    pub(super) fn close(&mut self) -> Result<(), JournalError> {
        self.journal.take().map_or(Ok(()), Journal::close)
    }
}
