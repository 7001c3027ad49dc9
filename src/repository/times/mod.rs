//! `times.dbm`: how long each test took when it last ran.
//!
//! testr leaves the choice of the format to Python's `dbm`, so there are several. This file finds out which one there
//! is, as Python's `whichdb` does. [`dumb`] and [`sqlite`] are read and written, and dumb is made where there is none,
//! since every Python 3 opens it. The others are left as they are: [`gdbm`] is read, and regatta's own times are kept
//! beside them, in `regatta/`, as dumb. Called by [`super::Repository`] and its inserter; takes no lock.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::error::RepositoryError;
use super::id_table::IdTable;

mod dumb;
mod gdbm;
mod index;
mod literal;
mod seconds;
mod sqlite;
mod windows;

/// The formats of Python's `dbm` that regatta does not write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `dbm.gnu`, which is read.
    Gnu,
    /// `dbm.ndbm`, as itself or on Berkeley DB.
    Ndbm,
    /// None that Python 3 knows; Python 2 made Berkeley DB files under this name.
    Unknown,
}

/// `times.dbm` is there, in a format that regatta does not write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} is {}: times of tests are kept in {} instead",
    path.display(),
    match format {
        Format::Gnu => "in the format of Python's dbm.gnu, which regatta reads and does not write",
        Format::Ndbm => "in the format of Python's dbm.ndbm, which regatta does not read",
        Format::Unknown => "in a format that neither Python 3 nor regatta knows",
    },
    instead.display()
)]
pub struct UnsupportedTimes {
    /// The file.
    pub path: PathBuf,
    /// Its format.
    pub format: Format,
    /// Where regatta keeps times instead: a name to which Python's `dbm.dumb` adds suffixes.
    pub instead: PathBuf,
}

/// The times of tests, opened.
#[derive(Debug)]
pub(super) struct Times(Kind);

#[derive(Debug)]
enum Kind {
    Dumb(dumb::Dumb),
    Sqlite(sqlite::Sqlite),
    /// What is there is not written, and ours are beside it.
    Beside(dumb::Dumb, UnsupportedTimes),
}

impl Times {
    /// The times that are, or could be, in the repository at `base`. Nothing is created or changed yet.
    pub(super) fn open(base: &Path) -> Self {
        let name = base.join("times.dbm");
        Self(match find_format(&name) {
            None => Kind::Dumb(dumb::Dumb::new(&name)),
            Some((path, Found::Sqlite3)) => Kind::Sqlite(sqlite::Sqlite::new(path)),
            Some((path, Found::Other(format))) => {
                let instead = base.join("regatta").join("times.dbm");
                Kind::Beside(dumb::Dumb::new(&instead), UnsupportedTimes { path, format, instead })
            }
        })
    }

    /// Whether the file that is there is not written, so that it may lack what is in the stored runs.
    pub(super) fn unsupported(&self) -> Option<&UnsupportedTimes> {
        match &self.0 {
            Kind::Beside(_, theirs) => Some(theirs),
            Kind::Dumb(_) | Kind::Sqlite(_) => None,
        }
    }

    /// Whether a run's times were put into the files that regatta writes.
    pub(super) fn has_begun(&self) -> bool {
        match &self.0 {
            Kind::Dumb(dumb) | Kind::Beside(dumb, _) => dumb.exists(),
            Kind::Sqlite(_) => true,
        }
    }

    /// The seconds of each of these ids, in their order.
    ///
    /// # Errors
    /// When a file that is there cannot be read.
    pub(super) fn read(&self, ids: &IdTable) -> Result<Vec<Option<f64>>, RepositoryError> {
        match &self.0 {
            Kind::Dumb(dumb) => dumb.read(ids),
            Kind::Sqlite(sqlite) => sqlite.read(ids),
            Kind::Beside(ours, theirs) => {
                let mut times = ours.read(ids)?;
                if theirs.format == Format::Gnu {
                    gdbm::fill(&theirs.path, ids, &mut times)?;
                }
                Ok(times)
            }
        }
    }

    /// Set the seconds of each of these ids, but for those where there are none. `scratch` is a directory for
    /// temporary files, on the same file system. The caller holds the repository's lock.
    ///
    /// # Errors
    /// When a file cannot be written. The times are then as they were.
    pub(super) fn update(&self, ids: &IdTable, seconds: &[Option<f64>], scratch: &Path) -> Result<(), RepositoryError> {
        match &self.0 {
            Kind::Dumb(dumb) | Kind::Beside(dumb, _) => dumb.update(ids, seconds, scratch),
            Kind::Sqlite(sqlite) => sqlite.update(ids, seconds),
        }
    }
}

/// What there is, other than dumb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Sqlite3,
    Other(Format),
}

/// The format that Python's `whichdb` would see, looking in its order; nothing for dumb and where there is none.
fn find_format(name: &Path) -> Option<(PathBuf, Found)> {
    let with = |suffix: &str| with_suffix(name, suffix);
    let opens = |path: &Path| File::open(path).is_ok();
    if opens(&with(".pag")) && opens(&with(".dir")) {
        return Some((with(".pag"), Found::Other(Format::Ndbm)));
    }
    if opens(&with(".db")) {
        return Some((with(".db"), Found::Other(Format::Ndbm)));
    }
    if with(".dat").exists() && with(".dir").exists() && is_dumb_index(&with(".dir")) {
        return None;
    }
    let mut start = Vec::new();
    File::open(name).ok()?.take(16).read_to_end(&mut start).ok()?;
    let found = if start == b"SQLite format 3\0" {
        Found::Sqlite3
    } else if start.first_chunk().is_some_and(|magic| is_gdbm(u32::from_ne_bytes(*magic))) {
        Found::Other(Format::Gnu)
    } else {
        Found::Other(Format::Unknown)
    };
    Some((name.to_owned(), found))
}

/// The path with more at the end of its name.
fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

fn is_dumb_index(path: &Path) -> bool {
    let mut first = Vec::new();
    let read = File::open(path).and_then(|file| file.take(1).read_to_end(&mut first));
    read.is_ok() && matches!(*first, [] | [b'\'' | b'"'])
}

/// gdbm's magic numbers, as `whichdb` lists them.
fn is_gdbm(magic: u32) -> bool {
    matches!(magic, 0x1357_9acd..=0x1357_9acf)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[(&str, &[u8])], expect: Option<(&str, Found)>) {
        let dir = tempfile::tempdir().unwrap();
        for (suffix, content) in files {
            std::fs::write(dir.path().join(format!("times.dbm{suffix}")), content).unwrap();
        }
        let found = find_format(&dir.path().join("times.dbm"));
        let expect = expect.map(|(suffix, found)| (dir.path().join(format!("times.dbm{suffix}")), found));
        assert_eq!(found, expect, "{files:?}");
    }

    #[test]
    fn the_format_is_found_in_the_order_of_whichdb() {
        let gnu = 0x1357_9ace_u32.to_ne_bytes();
        let other = |suffix, format| Some((suffix, Found::Other(format)));
        check(&[], None);
        check(&[(".dat", b""), (".dir", b"")], None);
        check(&[(".dat", b"1.0"), (".dir", b"'a', (0, 3)\n"), ("", &gnu)], None);
        check(&[(".dat", b"1.0"), (".dir", b"\"'\", (0, 3)\n")], None);
        check(&[(".pag", b""), (".dir", b""), (".dat", b"")], other(".pag", Format::Ndbm));
        check(&[(".db", b"x"), (".dir", b""), (".dat", b"")], other(".db", Format::Ndbm));
        check(&[("", &gnu)], other("", Format::Gnu));
        check(&[("", &gnu), (".dir", b"x"), (".dat", b"")], other("", Format::Gnu));
        check(&[("", b"SQLite format 3\0and more")], Some(("", Found::Sqlite3)));
        check(&[("", b"")], other("", Format::Unknown));
        // What Python would begin anew on, or refuse, is dumb's to make sense of.
        check(&[(".dat", b"1.0")], None);
        check(&[(".dir", b"'a', (0, 3)\n")], None);
        check(&[(".dir", b"junk"), (".dat", b"")], None);
    }

    #[test]
    fn what_is_not_written_says_in_one_line_where_times_go() {
        for (format, words) in [
            (Format::Ndbm, "dbm.ndbm, which regatta does not read"),
            (Format::Gnu, "dbm.gnu, which regatta reads and does not write"),
            (Format::Unknown, "neither Python 3 nor regatta knows"),
        ] {
            let times = UnsupportedTimes { path: "r/t".into(), format, instead: "r/regatta/times.dbm".into() };
            let text = times.to_string();
            assert!(text.starts_with("r/t is in ") && text.contains(words), "{text}");
            assert!(text.ends_with("are kept in r/regatta/times.dbm instead") && !text.contains('\n'), "{text}");
        }
    }
}
