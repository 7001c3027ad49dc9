//! The journal's folder and the files in it: private to the user, never reached through a symlink, named after their run.

use std::fs::{self, DirBuilder, File, FileTimes, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::geteuid;

use super::JournalError;
use crate::event::Stamp;

/// What a journal's name ends in.
pub(in crate::run) const JOURNAL: &str = ".jsonl";
/// What a lease's name ends in.
pub(in crate::run) const LEASE: &str = ".lease";
/// What the name of a journal ends in that is being made.
pub(in crate::run) const UNBORN: &str = ".new";

/// The file that provision's call number `n` of a run writes its stdout to.
pub(in crate::run) fn provision_name(run_id: &str, n: u32) -> String {
    format!("{run_id}.provision-{n}")
}

/// Whether a file with this name is what provision printed for this run.
pub(in crate::run) fn is_provision_of(run_id: &str, name: &str) -> bool {
    name.strip_prefix(run_id).is_some_and(|rest| rest.starts_with(".provision-"))
}

/// Whether this can be a part of a file's name, and is nothing else.
pub(in crate::run) fn is_name(name: &str) -> bool {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && name.len() <= 200 && !name.starts_with('.') && name.chars().all(is_safe)
}

/// The folder, made if it is not there; whole, so that it can be told to others. Only its owner can look into it.
///
/// # Errors
/// When it cannot be made, is a symlink, or another user's.
pub(super) fn private_dir(dir: &Path) -> Result<PathBuf, JournalError> {
    let dir = std::path::absolute(dir).map_err(JournalError::io("find", dir))?;
    DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(JournalError::io("create", &dir))?;
    check_dir(&dir)?;
    Ok(dir)
}

/// Whether the folder is ours alone. One that others may look into, as a copied one may be, is closed to them.
///
/// # Errors
/// When it is a symlink, or another user's.
pub(in crate::run) fn check_dir(dir: &Path) -> Result<(), JournalError> {
    let found = fs::symlink_metadata(dir).map_err(JournalError::io("read", dir))?;
    let refuse = |why| Err(JournalError::NotPrivate { path: dir.to_owned(), why });
    if !found.is_dir() {
        return refuse("is no directory");
    }
    // To root nobody's directory is closed, and a container's root often works for the owner of the project.
    if found.uid() != geteuid().as_raw() && !geteuid().is_root() {
        return refuse("belongs to another user");
    }
    if found.mode() & 0o077 != 0 {
        fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(JournalError::io("close to others", dir))?;
    }
    Ok(())
}

/// The names in the folder, in their order; none when there is no folder.
pub(in crate::run) fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).filter(|name| is_name(name)).collect();
    names.sort();
    names
}

/// The journals in the folder, oldest first where runs are named after their time.
pub(in crate::run) fn journals(dir: &Path) -> Vec<PathBuf> {
    names(dir).iter().filter(|name| name.ends_with(JOURNAL)).map(|name| dir.join(name)).collect()
}

/// Make a file that is not there yet; what is written goes to its end.
pub(in crate::run) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(path)
}

/// Open a file of ours that is there, for reading and for writing at its end. Nothing when it is no file, or another
/// user's: what it says would be done in our name.
pub(in crate::run) fn open(path: &Path) -> io::Result<Option<File>> {
    // Without waiting: a FIFO's other end may never come.
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let file = OpenOptions::new().read(true).append(true).custom_flags(flags).open(path)?;
    let found = file.metadata()?;
    Ok((found.is_file() && found.uid() == geteuid().as_raw()).then_some(file))
}

/// Whether the name still stands for this file, which may have been removed or exchanged since it was opened.
pub(in crate::run) fn is_still(path: &Path, file: &File) -> bool {
    let (Ok(named), Ok(opened)) = (fs::symlink_metadata(path), file.metadata()) else { return false };
    (named.dev(), named.ino()) == (opened.dev(), opened.ino())
}

/// Let a name outlive a loss of power.
pub(in crate::run) fn sync_dir(dir: &Path) -> Result<(), JournalError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(JournalError::io("write", dir))
}

/// Remove a file that may be gone already.
pub(in crate::run) fn remove(path: &Path) -> Result<(), JournalError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(JournalError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Say in a lease that it is good from this moment on. It is made if it is not there.
pub(super) fn touch(path: &Path, at: Stamp) -> io::Result<()> {
    lease(path)?.set_times(FileTimes::new().set_modified(at.into()))
}

/// The same of a lease that is not ours alone: others' time is not cut short.
pub(super) fn touch_shared(path: &Path, at: Stamp) -> io::Result<()> {
    let lease = lease(path)?;
    let at = lease.metadata()?.modified()?.max(at.into());
    lease.set_times(FileTimes::new().set_modified(at))
}

fn lease(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600).custom_flags(OFlag::O_NOFOLLOW.bits()).open(path)
}
