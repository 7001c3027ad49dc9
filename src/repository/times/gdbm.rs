//! Python's `dbm.gnu`: read, so that what testr has learnt is not learnt anew, and never written.
//!
//! Called by [`super::Times::read`] for ids that regatta has no times of its own for.

use std::path::Path;
use std::time::Duration;

use gdbm_native::{Error, OpenOptions};

use super::seconds;
use crate::repository::error::RepositoryError;
use crate::repository::id_table::IdTable;

/// How long a testr that writes to the database may hold it before that is an error.
const PATIENCE: Duration = Duration::from_secs(10);

/// Fill in the times of those ids that have none.
pub(super) fn fill(path: &Path, ids: &IdTable, times: &mut [Option<f64>]) -> Result<(), RepositoryError> {
    let mut read = || {
        let database = OpenOptions::new().lock_wait(PATIENCE).open(path)?;
        for (number, time) in (0..).zip(times.iter_mut()).filter(|(_, time)| time.is_none()) {
            let value: Option<Vec<u8>> = database.get(ids.id(number))?;
            *time = value.and_then(|value| seconds::parse(&value));
        }
        Ok(())
    };
    read().map_err(|source: Error| RepositoryError::Times {
        what: "read",
        path: path.to_owned(),
        locked: matches!(source, Error::Locked),
        source: source.into(),
    })
}
