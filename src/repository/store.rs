//! Putting a finished run into the repository: under one lock, with every file whole before it gets its name.
//!
//! Only `regatta/` ever holds what is not finished, so real testr can read the repository after a crash at any point.
//! Called by the inserter only.

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

/// Give the run in the file at `path` the next number and its name, and make `failing` of it and what failed before.
/// Returns the number. The caller holds the lock.
///
/// # Errors
/// When a file cannot be written; then the run is still where it was.
pub(super) fn store_run(
    repository: &Repository,
    _lock: &Lock,
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
    let mut prepare = || {
        write_failing(repository, file, tally, partial, &failing)?;
        write_next(&next, id + 1).map_err(RepositoryError::io("write", &next))?;
        file.sync_data().map_err(RepositoryError::io("write", path))
    };
    if let Err(error) = prepare() {
        // They take room that may be what is missing.
        for scratch in [&failing, &next] {
            let _ = fs::remove_file(scratch);
        }
        return Err(error);
    }

    rename(path, &repository.run_path(id))?;
    if let Err(error) = rename(&next, &repository.path("next-stream")) {
        // The number is still free for others. If this fails too, the run keeps the name it has.
        let _ = fs::rename(repository.run_path(id), path);
        return Err(error);
    }
    rename(&failing, &repository.path("failing"))?;
    Ok(id)
}

/// Write the times of the run. The caller holds the lock.
///
/// # Errors
/// When they cannot be written.
pub(super) fn store_times(repository: &Repository, _lock: &Lock, tally: &Tally) -> Result<(), RepositoryError> {
    Times::open(&repository.base).update(&tally.ids, &tally.seconds, &private_dir(repository)?)
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
fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

fn rename(from: &Path, to: &Path) -> Result<(), RepositoryError> {
    fs::rename(from, to).map_err(RepositoryError::io("write", to))
}
