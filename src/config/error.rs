//! Why a `.testr.conf` cannot be used: what the user is told, and what to do about it.
//!
//! Words only. Made by this room and, where a file cannot be read, by the caller that tried.

use std::io;
use std::path::{Path, PathBuf};

/// Why a `.testr.conf` cannot be used. Lines are counted from 1.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no such file; testr says `No .testr.conf config file`.
    #[error("no .testr.conf in {}", dir.display())]
    Missing {
        /// Where it was looked for.
        dir: PathBuf,
    },
    /// It is there and cannot be read. (testr takes it for missing.)
    #[error("cannot read the .testr.conf file {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// `UnicodeDecodeError` of Python.
    #[error("{}: line {line} is not UTF-8", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The line with the first bad byte.
        line: usize,
    },
    /// `MissingSectionHeaderError`: something other than a comment comes before the first `[section]`.
    #[error("{}: line {line}: {} stands before any section", path.display(), visible(text))]
    NoSection {
        /// The file.
        path: PathBuf,
        /// The first such line.
        line: usize,
        /// What is on it.
        text: String,
    },
    /// `DuplicateSectionError`. (`[DEFAULT]` may come several times.)
    #[error("{}: line {line}: section [{section}] is there already, on line {first}", path.display())]
    DuplicateSection {
        /// The file.
        path: PathBuf,
        /// The second header.
        line: usize,
        /// The section's name.
        section: String,
        /// The first header.
        first: usize,
    },
    /// `DuplicateOptionError`.
    #[error("{}: line {line}: option {key:?} of [{section}] is there already, on line {first}", path.display())]
    DuplicateOption {
        /// The file.
        path: PathBuf,
        /// The second option.
        line: usize,
        /// The section they are in.
        section: String,
        /// The key, in lower case.
        key: String,
        /// The first option.
        first: usize,
    },
    /// `ParsingError`: neither an option nor anything else.
    #[error("{}: line {line}: {text:?} is not an option", path.display())]
    NotAnOption {
        /// The file.
        path: PathBuf,
        /// The first such line.
        line: usize,
        /// What is on it.
        text: String,
    },
    /// `InterpolationSyntaxError`: a `%` followed by neither `%` nor `(name)s`.
    #[error("{}: line {line}: {} has a single \"%\" in it ({text:?})", path.display(), holder(within, key))]
    BadPercent {
        /// The file.
        path: PathBuf,
        /// The line with the `%`.
        line: usize,
        /// The key that was asked for.
        key: String,
        /// The key whose text has the `%`.
        within: String,
        /// The `%` and what follows it, cut short.
        text: String,
    },
    /// `InterpolationMissingOptionError`: `%(name)s` names no key of `[DEFAULT]`.
    #[error("{}: line {line}: {} refers to %({name})s, but there is no such key", path.display(), holder(within, key))]
    NoSuchKey {
        /// The file.
        path: PathBuf,
        /// The line with the reference.
        line: usize,
        /// The key that was asked for.
        key: String,
        /// The key whose text has the reference.
        within: String,
        /// The name in it.
        name: String,
    },
    /// `InterpolationDepthError`, mostly a key that refers to itself.
    #[error("{}: line {line}: {key} refers to other keys more than {limit} deep", path.display())]
    TooDeep {
        /// The file.
        path: PathBuf,
        /// The line of the key.
        line: usize,
        /// The key that was asked for.
        key: String,
        /// How deep it may go.
        limit: usize,
    },
    /// A key that has to be there is not.
    #[error("no {key} option present in .testr.conf ({}){}", path.display(), because(needed_by.as_ref()))]
    MissingKey {
        /// The file.
        path: PathBuf,
        /// The missing key.
        key: &'static str,
        /// The variable in `test_command` that needs it, and the line of `test_command`.
        needed_by: Option<(&'static str, usize)>,
    },
    /// A value is not what its option takes.
    #[error("{option} is {value:?}, but takes {expected}")]
    BadOption {
        /// The option.
        option: String,
        /// What it is.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// A value is not what its key takes.
    #[error("{place} is {value:?}, but takes {expected}")]
    BadValue {
        /// The file, line and key.
        place: String,
        /// What it is.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// The tests have to be listed first, and the test command cannot be told to.
    #[error("LISTOPT not configured in .testr.conf ({}): line {line}: test_command has no $LISTOPT", path.display())]
    NoListing {
        /// The file.
        path: PathBuf,
        /// The line of `test_command`.
        line: usize,
    },
}

impl ConfigError {
    /// The file `path` could not be read, because of `source`.
    #[must_use]
    pub fn unreadable(path: &Path, source: io::Error) -> Self {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        match source.kind() {
            io::ErrorKind::NotFound => Self::Missing { dir: dir.to_owned() },
            _ => Self::Unreadable { path: path.to_owned(), source },
        }
    }

    /// What the user may do about it, where there is something to say.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Missing { .. } => {
                "go to the directory that has it, name that with --here, or write one: it needs the line [DEFAULT] \
                 and below it test_command=..."
            }
            Self::Unreadable { .. } => return None,
            Self::NotUtf8 { .. } => "save the file as UTF-8",
            Self::NoSection { text, .. } if text.starts_with(BOM) => {
                "save the file as UTF-8 without a byte order mark; testr cannot read it either"
            }
            Self::NoSection { .. } => "begin the file with the line [DEFAULT]",
            Self::DuplicateSection { .. } => "join the two sections",
            Self::DuplicateOption { key, .. } => {
                return Some(format!("keep one of the two lines of {key}, or put # before the other"));
            }
            Self::NotAnOption { .. } => {
                "write key=value; a line that continues a value has to be indented deeper than its key"
            }
            Self::BadPercent { .. } => "write %% for a percent sign; %(name)s stands for the value of the key `name`",
            Self::NoSuchKey { name, .. } => {
                return Some(format!(
                    "add {name}=... to [DEFAULT], or write %%({name})s if the text is meant as it stands"
                ));
            }
            Self::TooDeep { .. } => "look for keys that refer to each other in a ring; write %% for a percent sign",
            Self::MissingKey { key: "test_command", .. } => {
                "add test_command=... below [DEFAULT]: the shell command that runs the tests and writes subunit v2"
            }
            Self::MissingKey { key: "test_id_option", .. } => "add for instance test_id_option=--load-list $IDFILE",
            Self::MissingKey { key: "test_list_option", .. } => "add for instance test_list_option=--list",
            Self::BadOption { .. } => "regatta run --help says what each option is for",
            Self::MissingKey { .. } | Self::BadValue { .. } => return None,
            Self::NoListing { .. } => {
                "put $LISTOPT into test_command and add test_list_option: running in parallel and filters need a list of the tests"
            }
        };
        Some(hint.to_owned())
    }
}

const BOM: char = '\u{feff}';

/// A line in quotes, but for one whose fault cannot be seen.
fn visible(text: &str) -> String {
    if text.starts_with(BOM) { "a byte order mark".to_owned() } else { format!("{text:?}") }
}

fn holder(within: &str, key: &str) -> String {
    if within == key { key.to_owned() } else { format!("{within} (which {key} is made from)") }
}

fn because(needed_by: Option<&(&str, usize)>) -> String {
    needed_by.map_or_else(String::new, |(variable, line)| format!(": line {line}: test_command names ${variable}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, kind: io::ErrorKind, expected: &str, hinted: bool) {
        let error = ConfigError::unreadable(Path::new(path), kind.into());
        assert_eq!((error.to_string().as_str(), error.hint().is_some()), (expected, hinted));
    }

    #[test]
    fn a_file_that_cannot_be_read() {
        check("/a/b/.testr.conf", io::ErrorKind::NotFound, "no .testr.conf in /a/b", true);
        check(".testr.conf", io::ErrorKind::NotFound, "no .testr.conf in .", true);
        check(
            "x/.testr.conf",
            io::ErrorKind::PermissionDenied,
            "cannot read the .testr.conf file x/.testr.conf",
            false,
        );
    }
}
