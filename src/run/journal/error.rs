//! Why the journal could not be kept.

use std::io;
use std::path::{Path, PathBuf};

/// A journal that cannot be kept. What was to be written is kept in memory and written with the next record, so a
/// caller can say this and go on.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A file could not be dealt with.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was to be done with it.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The directory, or a file in it, is not only ours.
    #[error("the journal is to be kept in {}, which {why}", path.display())]
    NotPrivate {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A name that can be no file's.
    #[error("{0:?} cannot name a run")]
    BadName(String),
    /// There is a journal of this run.
    #[error("there is a journal of this run already: {}", path.display())]
    Exists {
        /// Which file.
        path: PathBuf,
    },
}

impl JournalError {
    /// For `map_err`.
    pub(in crate::run) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}
