//! What is said, and returned to the shell, when regatta could not do what it was asked to.
//!
//! The only place that knows every room's errors: each room says what failed, this adds what to do about it and the
//! exit status.

use std::error::Error as StdError;
use std::fmt;

use crate::config::ConfigError;
use crate::event::SinkError;
use crate::repository::RepositoryError;
use crate::run::RunError;
use crate::run::supervisor::Stop;
use crate::test_id::IdError;

/// What kind of error it is, which is its exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 1, as in testr: an argument too much, or a file to load that is not there.
    Argument,
    /// 2: an option or a command that there is none of.
    Usage,
    /// 3: regatta could not do it.
    Failure,
}

impl Kind {
    /// The exit status.
    #[must_use]
    pub fn exit_status(self) -> u8 {
        match self {
            Self::Argument => 1,
            Self::Usage => 2,
            Self::Failure => 3,
        }
    }
}

/// An error on its way to the user.
#[derive(Debug)]
pub struct Error {
    /// Decides the exit status.
    pub kind: Kind,
    source: Box<dyn StdError + Send + Sync>,
    hint: Option<String>,
    /// What went wrong as well, later.
    also: Option<Box<Error>>,
}

impl Error {
    /// An error of this kind.
    pub fn new(kind: Kind, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { kind, source: source.into(), hint: None, also: None }
    }

    /// Something that regatta could not do.
    pub fn failure(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(Kind::Failure, source)
    }

    /// Say what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Whether it only says that a signal came.
    #[must_use]
    pub fn is_interruption(&self) -> bool {
        matches!(self.source.downcast_ref(), Some(RunError::Interrupted))
    }

    /// Another error came after this one.
    #[must_use]
    pub fn and(mut self, other: Option<Self>) -> Self {
        let mut last = &mut self.also;
        while let Some(error) = last {
            last = &mut error.also;
        }
        *last = other.map(Box::new);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.source)?;
        let mut said = self.source.to_string();
        let mut cause = self.source.source();
        while let Some(error) = cause {
            // Errors that only pass another on say the same twice.
            let text = error.to_string();
            if !said.ends_with(&text) {
                write!(f, ": {text}")?;
                said = text;
            }
            cause = error.source();
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        if let Some(also) = &self.also {
            write!(f, "\n{also}")?;
        }
        Ok(())
    }
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        let hint = error.hint();
        let kind = if matches!(error, ConfigError::BadOption { .. }) { Kind::Usage } else { Kind::Failure };
        Self { hint, ..Self::new(kind, error) }
    }
}

impl From<RepositoryError> for Error {
    fn from(error: RepositoryError) -> Self {
        let hint = error.hint();
        Self { hint, ..Self::failure(error) }
    }
}

impl From<IdError> for Error {
    fn from(error: IdError) -> Self {
        let hint = match &error {
            IdError::Pattern { .. } => {
                Some("filters and group_regex are Python regular expressions; quote them for the shell")
            }
            IdError::LineEnd { .. } => Some("use $IDLIST in test_id_option for such ids"),
            IdError::Match { .. } => Some("a repeat within a repeat can be matched in too many ways; write it as one"),
            IdError::NotUtf8 { .. } => None,
        };
        Self { hint: hint.map(str::to_owned), ..Self::failure(error) }
    }
}

impl From<SinkError> for Error {
    fn from(error: SinkError) -> Self {
        Self::failure(error)
    }
}

impl From<RunError> for Error {
    fn from(error: RunError) -> Self {
        let hint = match error {
            RunError::Ids(error) => return error.into(),
            RunError::Sink(error) => return error.into(),
            RunError::Callout(ref failure) => Some(failure.hint()),
            RunError::ProvisionedNothing { .. } => {
                Some("it has to print the ids of new instances on its stdout, with blanks or line ends between".into())
            }
            RunError::Abandoned { ref disposal, .. } => {
                disposal.as_ref().map(|line| format!("dispose of them with: {line}"))
            }
            RunError::LineTooLong { .. } => {
                Some("name $IDFILE instead of $IDLIST: a file with the ids, one a line, has no such limit".into())
            }
            RunError::LeftBehind { ref failure, ref ids } => {
                Some(format!("{}; what may be left: {}", failure.hint(), ids.join(" ")))
            }
            RunError::NoInstances { .. } => {
                Some("see what instance_execute says for it; replace_limit is how many may be replaced".into())
            }
            RunError::Incomplete { stop: Stop::Duration(_), .. } => Some("give it more time: --max-duration".into()),
            RunError::Incomplete { .. } => {
                Some("the notes above say how its workers ended; `regatta run --failing` runs what failed".into())
            }
            RunError::Journal(_) => Some("the run itself is stored; `regatta instances` lists what is left".into()),
            RunError::Interrupted => None,
        };
        Self { hint, ..Self::failure(error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_hints_and_later_errors_are_said_once_each() {
        let source = std::io::Error::new(std::io::ErrorKind::NotFound, "no such file");
        let error = SinkError { what: "cannot write x".into(), source };
        let later = Error::failure("disposal failed");
        let error = Error::from(error).hint("make room").and(Some(later));
        assert_eq!(error.to_string(), "cannot write x: no such file\n  hint: make room\ndisposal failed");
    }
}
