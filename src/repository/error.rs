//! What can go wrong with a repository, each with the file it went wrong on, and what to do about it.
//!
//! Every part of the room makes these; [`crate::commands`] shows them.

use std::io;
use std::path::{Path, PathBuf};

/// Why a repository cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// There is none.
    #[error("no repository found in {}", here.display())]
    NotFound {
        /// The directory, as it was typed.
        here: PathBuf,
    },
    /// There is one already, where one was to be made.
    #[error("there is a repository already: {}: File exists", path.display())]
    Exists {
        /// The `.testrepository` directory.
        path: PathBuf,
    },
    /// It is of a format that nobody knows.
    #[error("{} holds {content:?}, and the only known format is \"1\\n\"", path.display())]
    Format {
        /// The file `format`.
        path: PathBuf,
        /// What is in it.
        content: String,
    },
    /// `next-stream` has no number in it.
    #[error("{} should hold the number of the next run and holds {content:?}", path.display())]
    NextStream {
        /// The file `next-stream`.
        path: PathBuf,
        /// What is in it.
        content: String,
    },
    /// No run was stored yet.
    #[error("No tests in repository")]
    Empty {
        /// The `.testrepository` directory.
        path: PathBuf,
    },
    /// No run was stored under this number.
    #[error("no such run: {} does not exist", path.display())]
    NoSuchRun {
        /// The file that it would be in.
        path: PathBuf,
    },
    /// The database of times cannot be read or written.
    #[error("cannot {what} {}", path.display())]
    Times {
        /// What was tried: `read` or `write`.
        what: &'static str,
        /// The database.
        path: PathBuf,
        /// Another program had it, for longer than regatta waits.
        locked: bool,
        /// What the library for its format said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The system said no.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried: `read`, `write`, ...
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl RepositoryError {
    /// What to do about it, if that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { .. } => Some("create one with `regatta init`".to_owned()),
            Self::Exists { .. } => Some("it can be used as it is".to_owned()),
            Self::Format { path, .. } | Self::NextStream { path, .. } => Some(format!(
                "mend the file, or move {} away and create a new repository with `regatta init`",
                path.parent().unwrap_or(path).display()
            )),
            Self::Empty { .. } => Some("run some tests first: `regatta run`".to_owned()),
            Self::NoSuchRun { path } => Some(format!(
                "{} says that there should be such a run; the next `regatta run` stores one",
                path.with_file_name("next-stream").display()
            )),
            Self::Times { locked: true, .. } => {
                Some("another program holds it: try again when that has ended; nothing in it was changed".to_owned())
            }
            Self::Times { path, .. } => Some(format!(
                "if it is damaged, move {} away: the next run begins new times; nothing in it was changed",
                path.display()
            )),
            Self::Io { .. } => None,
        }
    }

    /// For `map_err`: what was tried, on which file.
    pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, path: path.to_owned(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_file_and_say_what_to_do() {
        let path = PathBuf::from("r/.testrepository/next-stream");
        for (error, words, hint) in [
            (RepositoryError::NotFound { here: "r".into() }, "no repository found in r", "regatta init"),
            (
                RepositoryError::NextStream { path: path.clone(), content: "x\n".into() },
                r#"next-stream should hold the number of the next run and holds "x\n""#,
                "move r/.testrepository away",
            ),
            (RepositoryError::Empty { path: "r".into() }, "No tests in repository", "regatta run"),
            (
                RepositoryError::NoSuchRun { path: path.with_file_name("7") },
                "no such run: r/.testrepository/7",
                "r/.testrepository/next-stream",
            ),
        ] {
            assert!(error.to_string().contains(words), "{error}");
            assert!(error.hint().unwrap().contains(hint), "{:?}", error.hint());
        }
    }
}
