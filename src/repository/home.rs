//! `~` at the start of a path, as Python's `os.path.expanduser` takes it. A user who is not known, or has no home,
//! leaves the path as it is.
//!
//! Called when a repository is opened or made; reads the environment and the list of users, no other file.

use std::env;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The path with `~` or `~user` at its start replaced by the home of the user.
pub(super) fn expand(path: &Path) -> PathBuf {
    expand_with(path, |user| match user {
        "" => env::home_dir(),
        user => nix::unistd::User::from_name(user).ok().flatten().map(|user| user.dir),
    })
}

fn expand_with(path: &Path, home_of: impl Fn(&str) -> Option<PathBuf>) -> PathBuf {
    let Some(tail) = path.as_os_str().as_bytes().strip_prefix(b"~") else { return path.to_owned() };
    let (user, rest) = tail.split_at(tail.iter().position(|b| *b == b'/').unwrap_or(tail.len()));
    let Some(home) = std::str::from_utf8(user).ok().and_then(home_of) else { return path.to_owned() };
    let mut bytes = home.into_os_string().into_encoded_bytes();
    while bytes.last() == Some(&b'/') {
        bytes.pop();
    }
    bytes.extend_from_slice(rest);
    let expanded = if bytes.is_empty() { b"/" } else { &*bytes };
    PathBuf::from(OsStr::from_bytes(expanded))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tilde_is_expanded_as_python_does() {
        let home = |user: &str| match user {
            "" => Some(PathBuf::from("/home/me/")),
            "root" => Some(PathBuf::from("/")),
            _ => None,
        };
        for (path, expanded) in [
            (".", "."),
            ("", ""),
            ("~", "/home/me"),
            ("~/", "/home/me/"),
            ("~/a b", "/home/me/a b"),
            ("~root", "/"),
            ("~root/x", "/x"),
            ("~nobody-here/x", "~nobody-here/x"),
            ("a/~", "a/~"),
        ] {
            assert_eq!(expand_with(Path::new(path), home), Path::new(expanded), "{path}");
        }
    }
}
