//! `times.dbm`: how long each test took when it last ran.
//!
//! testr leaves the choice of the format to Python's `dbm`, so there are several. This file finds out which one there
//! is, as Python's `whichdb` does; [`dumb`] is the one that is read and written, and made where there is none, since
//! every Python 3 opens it. Called by [`super::Repository`] and its inserter; takes no lock.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::error::RepositoryError;
use super::id_table::IdTable;

mod dumb;
mod index;
mod literal;
mod seconds;
mod windows;

/// The formats of Python's `dbm` that regatta leaves alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `dbm.gnu`.
    Gnu,
    /// `dbm.ndbm`, as itself or on Berkeley DB.
    Ndbm,
    /// `dbm.sqlite3` of Python 3.13.
    Sqlite3,
    /// None that Python knows.
    Unknown,
}

/// `times.dbm` is there, in a format that regatta neither reads nor writes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} is {}, so no times of tests are read from it or written to it",
    path.display(),
    match format {
        Format::Gnu => "in the format of Python's dbm.gnu",
        Format::Ndbm => "in the format of Python's dbm.ndbm",
        Format::Sqlite3 => "in the format of Python's dbm.sqlite3",
        Format::Unknown => "in no known format",
    }
)]
pub struct UnsupportedTimes {
    /// The file.
    pub path: PathBuf,
    /// Its format.
    pub format: Format,
}

/// The times of tests, opened.
#[derive(Debug)]
pub(super) struct Times(dumb::Dumb);

impl Times {
    /// The times that are, or could be, in the repository at `base`.
    ///
    /// # Errors
    /// When they are in a format that is left alone. Nothing is created or changed yet.
    pub(super) fn open(base: &Path) -> Result<Self, UnsupportedTimes> {
        let name = base.join("times.dbm");
        match find_format(&name) {
            None => Ok(Self(dumb::Dumb::new(&name))),
            Some((path, format)) => Err(UnsupportedTimes { path, format }),
        }
    }

    /// The seconds of each of these ids, in their order.
    ///
    /// # Errors
    /// When a file that is there cannot be read.
    pub(super) fn read(&self, ids: &IdTable) -> Result<Vec<Option<f64>>, RepositoryError> {
        self.0.read(ids)
    }

    /// Set the seconds of each of these ids, but for those where there are none. `scratch` is a directory for
    /// temporary files, on the same file system. The caller holds the repository's lock.
    ///
    /// # Errors
    /// When a file cannot be written. The times are then as they were.
    pub(super) fn update(&self, ids: &IdTable, seconds: &[Option<f64>], scratch: &Path) -> Result<(), RepositoryError> {
        self.0.update(ids, seconds, scratch)
    }
}

/// The format that Python's `whichdb` would see, looking in its order; nothing for dumb and where there is none.
fn find_format(name: &Path) -> Option<(PathBuf, Format)> {
    let with = |suffix: &str| {
        let mut path = name.as_os_str().to_owned();
        path.push(suffix);
        PathBuf::from(path)
    };
    let opens = |path: &Path| File::open(path).is_ok();
    if opens(&with(".pag")) && opens(&with(".dir")) {
        return Some((with(".pag"), Format::Ndbm));
    }
    if opens(&with(".db")) {
        return Some((with(".db"), Format::Ndbm));
    }
    if with(".dat").exists() && with(".dir").exists() && is_dumb_index(&with(".dir")) {
        return None;
    }
    let mut start = Vec::new();
    File::open(name).ok()?.take(16).read_to_end(&mut start).ok()?;
    let format = if start == b"SQLite format 3\0" {
        Format::Sqlite3
    } else if start.first_chunk().is_some_and(|magic| is_gdbm(u32::from_ne_bytes(*magic))) {
        Format::Gnu
    } else {
        Format::Unknown
    };
    Some((name.to_owned(), format))
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

    fn check(files: &[(&str, &[u8])], expect: Option<(&str, Format)>) {
        let dir = tempfile::tempdir().unwrap();
        for (suffix, content) in files {
            std::fs::write(dir.path().join(format!("times.dbm{suffix}")), content).unwrap();
        }
        let found = Times::open(dir.path()).err();
        let expect = expect
            .map(|(suffix, format)| UnsupportedTimes { path: dir.path().join(format!("times.dbm{suffix}")), format });
        assert_eq!(found, expect, "{files:?}");
    }

    #[test]
    fn the_format_is_found_in_the_order_of_whichdb() {
        let gnu = 0x1357_9ace_u32.to_ne_bytes();
        check(&[], None);
        check(&[(".dat", b""), (".dir", b"")], None);
        check(&[(".dat", b"1.0"), (".dir", b"'a', (0, 3)\n"), ("", &gnu)], None);
        check(&[(".dat", b"1.0"), (".dir", b"\"'\", (0, 3)\n")], None);
        check(&[(".pag", b""), (".dir", b""), (".dat", b"")], Some((".pag", Format::Ndbm)));
        check(&[(".db", b"x"), (".dir", b""), (".dat", b"")], Some((".db", Format::Ndbm)));
        check(&[("", &gnu)], Some(("", Format::Gnu)));
        check(&[("", &gnu), (".dir", b"x"), (".dat", b"")], Some(("", Format::Gnu)));
        check(&[("", b"SQLite format 3\0and more")], Some(("", Format::Sqlite3)));
        check(&[("", b"")], Some(("", Format::Unknown)));
        // What Python would begin anew on, or refuse, is dumb's to make sense of.
        check(&[(".dat", b"1.0")], None);
        check(&[(".dir", b"'a', (0, 3)\n")], None);
        check(&[(".dir", b"junk"), (".dat", b"")], None);
    }

    #[test]
    fn what_is_not_supported_says_so_in_one_line() {
        let times = UnsupportedTimes { path: "r/times.dbm.db".into(), format: Format::Ndbm };
        assert_eq!(
            times.to_string(),
            "r/times.dbm.db is in the format of Python's dbm.ndbm, so no times of tests are read from it or written to it"
        );
    }
}
