//! When a run cannot be stored: where its results are kept, and what a person can do with them.
//!
//! Results go to the system's directory for temporary files when the repository takes none. A run that only lacks a
//! number goes into the repository itself, under a name that says what it is. Called by [`super::Inserter`] only.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::event::SinkError;
use crate::repository::Repository;
use crate::repository::error::RepositoryError;

/// What went wrong, and the way out.
#[derive(Debug, thiserror::Error)]
#[error("{said}\n  hint: {hint}")]
struct Unstored {
    said: String,
    hint: String,
}

/// A file for results that the repository does not take, which only its owner can read. It outlives the process.
pub(super) fn create_elsewhere(name: &str) -> io::Result<(File, PathBuf)> {
    let prefix = format!("regatta-{}-", name.trim_end_matches(".v1"));
    tempfile::Builder::new().prefix(&prefix).suffix(".v1").tempfile()?.keep().map_err(|error| error.error)
}

/// The error of a run whose results are all in the file at `path`.
pub(super) fn keep(repository: &Repository, path: &Path, partial: bool, error: &RepositoryError) -> SinkError {
    let path = if is_about_number(repository, error) { in_sight(repository, path) } else { path.to_owned() };
    if !path.exists() {
        // It has its number already, and what came after that failed.
        let what = format!("the run is not stored as it should be; its results are in {}", repository.base.display());
        return cannot_store(what, error, None);
    }
    let what = format!("the run is not stored; its results are in {}", path.display());
    cannot_store(what, error, Some(way_out(repository, &path, partial)))
}

/// An error that says what is not stored, why, and perhaps what to do.
pub(super) fn cannot_store(what: String, error: &RepositoryError, hint: Option<String>) -> SinkError {
    let mut said = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    // The kind lets the caller tell a full disk from others.
    let kind = match error {
        RepositoryError::Io { source, .. } => source.kind(),
        _ => io::ErrorKind::Other,
    };
    let source = match hint.or_else(|| error.hint()) {
        Some(hint) => io::Error::new(kind, Unstored { said, hint }),
        None => io::Error::new(kind, said),
    };
    SinkError { what, source }
}

fn is_about_number(repository: &Repository, error: &RepositoryError) -> bool {
    match error {
        RepositoryError::NextStream { .. } => true,
        RepositoryError::Io { what: "read", path, .. } => *path == repository.path("next-stream"),
        _ => false,
    }
}

/// Put the file where a person looks, beside the stored runs. Where that fails it stays.
fn in_sight(repository: &Repository, path: &Path) -> PathBuf {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return path.to_owned() };
    let to = repository.path(&format!("unstored-{name}"));
    match fs::rename(path, &to) {
        Ok(()) => to,
        Err(_) => path.to_owned(),
    }
}

/// How to make the file a run by hand: what the numbers are is looked up, since that is the hard part.
fn way_out(repository: &Repository, path: &Path, partial: bool) -> String {
    let id = free_number(repository);
    let quoted = |path: &Path| shell_words::quote(&path.to_string_lossy()).into_owned();
    format!(
        "when that is mended, this makes it run {id}: mv {} {} && echo {} > {}\n\
         \x20       and this brings what fails and the times up to date: regatta last --subunit | regatta load{}",
        quoted(path),
        quoted(&repository.run_path(id)),
        id + 1,
        quoted(&repository.path("next-stream")),
        if partial { " --partial" } else { "" },
    )
}

/// The number after the highest that is used or counted.
fn free_number(repository: &Repository) -> u64 {
    let names = fs::read_dir(&repository.base).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let used = names.filter_map(|name| name.to_str()?.parse::<u64>().ok()).max();
    used.map_or(0, |highest| highest + 1).max(repository.count().unwrap_or(0))
}
