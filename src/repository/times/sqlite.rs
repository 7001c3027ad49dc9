//! Python's `dbm.sqlite3` (3.13): a table `Dict` with a key and a value in each row, both of them bytes.
//!
//! All times of a run are one transaction, so that nobody sees a half of them and a crash loses none that were there.
//! The journal stays in the mode that Python chose. Creates no database. Called by [`super`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, TransactionBehavior};

use super::seconds;
use crate::repository::error::RepositoryError;
use crate::repository::id_table::{IdTable, Number};

/// How long another program may hold the database before that is an error. Tests wait for it to be one.
const PATIENCE: Duration = Duration::from_millis(if cfg!(test) { 100 } else { 10_000 });
/// The database's cache, in KiB. Ids are written in order, so that it need not hold the whole index.
const CACHE: i64 = 16 << 10;
/// The table as Python makes it. A database without it is one that Python had opened and not yet written to.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS Dict (key BLOB UNIQUE NOT NULL, value BLOB NOT NULL)";

/// A database, which is there.
#[derive(Debug)]
pub(super) struct Sqlite {
    path: PathBuf,
}

impl Sqlite {
    /// The one in this file.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// See [`super::Times::read`].
    pub(super) fn read(&self, ids: &IdTable) -> Result<Vec<Option<f64>>, RepositoryError> {
        match read(&self.path, OpenFlags::SQLITE_OPEN_READ_WRITE, ids) {
            // Python's journal needs a second file, which cannot be made in a directory that is only read. Where no
            // journal is left the database is whole without it.
            Err(error) if code(&error) == Some(ErrorCode::CannotOpen) && !self.has_journal() => {
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
                read(&immutable(&self.path), flags, ids)
            }
            result => result,
        }
        .map_err(|source| self.error("read", source))
    }

    /// See [`super::Times::update`].
    pub(super) fn update(&self, ids: &IdTable, times: &[Option<f64>]) -> Result<(), RepositoryError> {
        let mut numbers: Vec<Number> =
            (0..).zip(times).filter(|(_, time)| time.is_some()).map(|(number, _)| number).collect();
        if numbers.is_empty() {
            return Ok(());
        }
        numbers.sort_unstable_by_key(|number| ids.id(*number));
        let write = || {
            let mut database = open(&self.path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            let transaction = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute(TABLE, ())?;
            // Not Python's REPLACE: a row that stays where it is leaves the index alone.
            let mut put = transaction.prepare(
                "INSERT INTO Dict (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            )?;
            for number in numbers {
                let seconds = times[number as usize].expect("only ids with a time are left");
                put.execute((ids.id(number), seconds::format(seconds).as_bytes()))?;
            }
            drop(put);
            transaction.commit()?;
            database.close().map_err(|(_, error)| error)
        };
        write().map_err(|source| self.error("write", source))
    }

    fn has_journal(&self) -> bool {
        ["-wal", "-journal"].iter().any(|suffix| {
            let journal = super::with_suffix(&self.path, suffix);
            std::fs::metadata(journal).is_ok_and(|metadata| metadata.len() > 0)
        })
    }

    fn error(&self, what: &'static str, source: rusqlite::Error) -> RepositoryError {
        let locked = matches!(code(&source), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked));
        RepositoryError::Times { what, path: self.path.clone(), locked, source: source.into() }
    }
}

fn open(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let database = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    database.busy_timeout(PATIENCE)?;
    database.pragma_update(None, "cache_size", -CACHE)?;
    Ok(database)
}

fn read(path: &Path, flags: OpenFlags, ids: &IdTable) -> rusqlite::Result<Vec<Option<f64>>> {
    let database = open(path, flags)?;
    let mut times = vec![None; ids.len()];
    let has_table = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'Dict'";
    if database.query_row(has_table, (), |_| Ok(())).optional()?.is_none() {
        return Ok(times);
    }
    let pages: i64 = database.pragma_query_value(None, "page_count", |row| row.get(0))?;
    // To look an id up costs about as much as to read a page in passing.
    if i64::try_from(ids.len()).is_ok_and(|ids| ids < pages) {
        let mut find = database.prepare("SELECT value FROM Dict WHERE key = ?1")?;
        for (number, time) in (0..).zip(&mut times) {
            let parse = |row: &rusqlite::Row<'_>| Ok(seconds::parse(bytes(row, 0)?));
            *time = find.query_row([ids.id(number)], parse).optional()?.flatten();
        }
    } else {
        let mut all = database.prepare("SELECT key, value FROM Dict")?;
        let mut rows = all.query(())?;
        while let Some(row) = rows.next()? {
            if let Some(number) = ids.find(bytes(row, 0)?) {
                times[number as usize] = seconds::parse(bytes(row, 1)?);
            }
        }
    }
    Ok(times)
}

/// Bytes, or text that another program put there.
fn bytes<'r>(row: &'r rusqlite::Row<'_>, column: usize) -> rusqlite::Result<&'r [u8]> {
    row.get_ref(column).map(|value| value.as_bytes_or_null().ok().flatten().unwrap_or_default())
}

/// The name by which a database is opened that nobody changes.
fn immutable(path: &Path) -> PathBuf {
    let mut uri = "file:".to_owned();
    for byte in std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' => uri.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => uri.push(char::from(*byte)),
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    (uri + "?immutable=1").into()
}

fn code(error: &rusqlite::Error) -> Option<ErrorCode> {
    error.sqlite_error_code()
}

#[cfg(test)]
mod tests;
