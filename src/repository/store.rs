//! Putting a finished run into the repository: under one lock, with every file whole before it gets its name.
//!
//! Only `regatta/` ever holds what is not finished, so real testr can read the repository after a crash at any point.
//! A run's number is written down in `regatta/RUN.number` before its file is renamed, and that goes away when all is
//! done: so whoever finds it knows what is left to do ([`super::recovery`]). Called by the inserter and by recovery.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::Repository;
use super::error::RepositoryError;
use super::failing::{Failing, Place};
use super::records::Records;
use super::tally::Tally;
use super::times::Times;

/// What goes with the results of a run, by the ends of the files' names: attempts that did not decide, and the record.
pub(super) const COMPANIONS: [&str; 2] = ["attempts", "jsonl"];

/// The repository's lock, held until it is dropped.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "closing it gives the lock back")] File);

impl Lock {
    /// Wait for the lock and take it.
    pub(super) fn take(repository: &Repository) -> Result<Self, RepositoryError> {
        let path = private_dir(repository)?.join("lock");
        let file = create_private(&path).map_err(RepositoryError::io("open", &path))?;
        file.lock().map_err(RepositoryError::io("lock", &path))?;
        Ok(Self(file))
    }
}

/// The directory for what is regatta's own, made if it is not there. Only its owner can look into it.
pub(super) fn private_dir(repository: &Repository) -> Result<PathBuf, RepositoryError> {
    let dir = repository.path("regatta");
    match DirBuilder::new().mode(0o700).create(&dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(RepositoryError::io("create", &dir)(error)),
        _ => Ok(dir),
    }
}

/// A file of the run in `regatta/`, by the end of its name: `v1`, `number`, or one of [`COMPANIONS`].
pub(super) fn file_of(repository: &Repository, run: &str, end: &str) -> PathBuf {
    repository.path("regatta").join(format!("{run}.{end}"))
}

/// Give the run in the file at `path` the next number and its name, and make `failing` of it and what failed before.
/// Returns the number. The caller holds the lock, and goes on with [`store_times`].
///
/// # Errors
/// When a file cannot be written; then the run is still where it was.
pub(super) fn store_run(
    repository: &Repository,
    _lock: &Lock,
    run: &str,
    (path, file): (&Path, &File),
    tally: &mut Tally,
    partial: bool,
) -> Result<u64, RepositoryError> {
    let private = private_dir(repository)?;
    let mut id = repository.count()?;
    // A run whose number was never counted: regatta died between two renames. It is not lost, and this one comes after it.
    while repository.run_path(id).exists() {
        id += 1;
    }
    // All that takes space on the disk comes before the first rename.
    let (failing, next) = (private.join("failing.new"), private.join("next-stream.new"));
    let number = file_of(repository, run, "number");
    let mut prepare = || {
        write_failing(repository, file, tally, partial, &failing)?;
        write_next(&next, id + 1).map_err(RepositoryError::io("write", &next))?;
        file.sync_data().map_err(RepositoryError::io("write", path))?;
        let kind = if partial { "partial" } else { "full" };
        fs::write(&number, format!("{id} {kind}\n")).map_err(RepositoryError::io("write", &number))
    };
    if let Err(error) = prepare() {
        // They take room that may be what is missing.
        for scratch in [&failing, &next, &number] {
            let _ = fs::remove_file(scratch);
        }
        return Err(error);
    }

    rename(path, &repository.run_path(id))?;
    if let Err(error) = rename(&next, &repository.path("next-stream")) {
        // The number is still free for others. If this fails too, the run keeps the name it has.
        if fs::rename(repository.run_path(id), path).is_ok() {
            let _ = fs::remove_file(&number);
        }
        return Err(error);
    }
    rename(&failing, &repository.path("failing"))?;
    for end in COMPANIONS {
        // What is there under this number belongs to a run that somebody took away.
        let _ = fs::remove_file(file_of(repository, &id.to_string(), end));
    }
    name_companions(repository, run, id)?;
    Ok(id)
}

/// What the file `RUN.number` says: the number, and whether the run is a partial one. Nothing when it is not there, or
/// not whole.
pub(super) fn read_number(repository: &Repository, run: &str) -> Option<(u64, bool)> {
    let text = fs::read_to_string(file_of(repository, run, "number")).ok()?;
    let (id, kind) = text.strip_suffix('\n')?.split_once(' ')?;
    Some((id.parse().ok()?, kind == "partial"))
}

/// Do again what [`store_run`] does after it gave the run its name, in case it came no further. The caller holds the lock.
///
/// # Errors
/// As [`store_run`].
pub(super) fn store_rest(
    repository: &Repository,
    lock: &Lock,
    run: &str,
    (id, partial): (u64, bool),
    tally: &mut Tally,
) -> Result<(), RepositoryError> {
    let private = private_dir(repository)?;
    let (path, count) = (repository.run_path(id), repository.count()?);
    if count <= id {
        let next = private.join("next-stream.new");
        write_next(&next, id + 1).map_err(RepositoryError::io("write", &next))?;
        rename(&next, &repository.path("next-stream"))?;
    }
    // What a later run found out is newer.
    if count <= id + 1 {
        let file = File::open(&path).map_err(RepositoryError::io("read", &path))?;
        let failing = private.join("failing.new");
        write_failing(repository, &file, tally, partial, &failing)?;
        rename(&failing, &repository.path("failing"))?;
    }
    name_companions(repository, run, id)?;
    if count <= id + 1 { store_times(repository, lock, run, tally) } else { forget_number(repository, run) }
}

/// Write the times of the run, after which it is all stored. The caller holds the lock.
///
/// # Errors
/// When they cannot be written.
pub(super) fn store_times(
    repository: &Repository,
    _lock: &Lock,
    run: &str,
    tally: &Tally,
) -> Result<(), RepositoryError> {
    let stored = Times::open(&repository.base).update(&tally.ids, &tally.seconds, &private_dir(repository)?);
    stored.and(forget_number(repository, run))
}

fn forget_number(repository: &Repository, run: &str) -> Result<(), RepositoryError> {
    let number = file_of(repository, run, "number");
    fs::remove_file(&number).map_err(RepositoryError::io("remove", &number))
}

fn name_companions(repository: &Repository, run: &str, id: u64) -> Result<(), RepositoryError> {
    for end in COMPANIONS {
        let (from, to) = (file_of(repository, run, end), file_of(repository, &id.to_string(), end));
        match fs::rename(&from, &to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(RepositoryError::io("write", &to)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn write_failing(
    repository: &Repository,
    run: &File,
    tally: &mut Tally,
    partial: bool,
    to: &Path,
) -> Result<(), RepositoryError> {
    let old_path = repository.path("failing");
    let (mut failing, mut before) = (Failing::default(), None);
    if partial && let Some(file) = super::open_if_there(&old_path)? {
        failing = read_before(&file, tally).map_err(RepositoryError::io("read", &old_path))?;
        before = Some(file);
    }
    failing.extend(&tally.failing);
    let write = || {
        let mut out = BufWriter::new(create_private(to)?);
        failing.write(&tally.ids, run, before.as_ref(), &mut out)?;
        let out = out.into_inner()?;
        // An empty file, which is what most runs leave, is as empty without it.
        if out.metadata()?.len() > 0 { out.sync_data() } else { Ok(()) }
    };
    write().map_err(RepositoryError::io("write", to))
}

/// What failed before, without what this run has another outcome for.
fn read_before(file: &File, tally: &mut Tally) -> io::Result<Failing> {
    let mut failing = Failing::default();
    for record in Records::new(BufReader::with_capacity(1 << 16, file)) {
        let record = record?;
        let test = tally.number_of_written(&record.id);
        if tally.has_passed(test) || !record.is_failure {
            failing.pass(test);
        } else {
            failing.fail(test, if record.is_cut { Place::Lost } else { Place::Before(record.range) });
        }
    }
    Ok(failing)
}

/// Write the file `next-stream`, under another name.
pub(super) fn write_next(path: &Path, id: u64) -> io::Result<()> {
    let mut file = File::create(path)?;
    writeln!(file, "{id}")?;
    file.sync_data()
}

/// Create a file, or make it empty, that only its owner can read, as testr's runs are.
pub(super) fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

fn rename(from: &Path, to: &Path) -> Result<(), RepositoryError> {
    fs::rename(from, to).map_err(RepositoryError::io("write", to))
}
