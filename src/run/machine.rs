//! Which machine this is, since when it runs, and which process is which.
//!
//! Where the system has no `/proc`, machines have no boot id and processes no start: nothing is then taken for what it
//! may not be.

use std::collections::BTreeMap;
use std::fs;

pub(in crate::run) use handle::Handle;

/// This machine's name.
pub(in crate::run) fn host() -> String {
    nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// What no other start of this machine has, nor any other machine.
pub(in crate::run) fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

/// What the system says of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::run) struct Process {
    /// The number of its session.
    pub(in crate::run) session: u32,
    /// When it began, in ticks since the machine's start. No later process has both its number and its start.
    pub(in crate::run) start: u64,
    /// It has ended, and waits for its parent to notice.
    pub(in crate::run) is_zombie: bool,
}

/// The process with this number, if there is one.
pub(in crate::run) fn process(pid: u32) -> Option<Process> {
    parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// All processes that are there, by their numbers.
pub(in crate::run) fn processes() -> BTreeMap<u32, Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    numbers.filter_map(|pid| Some((pid, process(pid)?))).collect()
}

/// Whether this variable had this value when the process began; false for another user's.
pub(in crate::run) fn has_variable(pid: u32, name: &str, value: &str) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|b| *b == 0).any(|entry| entry == format!("{name}={value}").as_bytes())
}

fn parse(stat: &[u8]) -> Option<Process> {
    // The name of the program is in parentheses, and may hold any byte, parentheses too.
    let end = stat.iter().rposition(|b| *b == b')')?;
    let fields: Vec<&str> = std::str::from_utf8(&stat[end + 1..]).ok()?.split_whitespace().collect();
    // The first of these is the third of the page proc(5).
    let field = |n: usize| fields.get(n - 3).copied();
    Some(Process {
        session: field(6)?.parse().ok()?,
        start: field(22)?.parse().ok()?,
        is_zombie: matches!(field(3)?, "Z" | "X"),
    })
}

#[cfg(target_os = "linux")]
mod handle {
    use std::os::fd::OwnedFd;

    use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
    use tokio::net::unix::pipe::Receiver;

    use super::{Process, process};
    use crate::run::supervisor::Force;

    /// A hold on a process: what is done through it is done to that process, also when its number is another's.
    #[derive(Debug)]
    pub(in crate::run) struct Handle(OwnedFd);

    impl Handle {
        /// A hold on the process with this number, if it is the one that is meant.
        pub(in crate::run) fn of(pid: u32, meant: Process) -> Option<Self> {
            let handle = pidfd_open(Pid::from_raw(i32::try_from(pid).ok()?)?, PidfdFlags::empty()).ok()?;
            // Only now does the number stay with it.
            (process(pid)?.start == meant.start).then_some(Self(handle))
        }

        /// Signal it.
        pub(in crate::run) fn end(&self, force: Force) {
            let signal = match force {
                Force::Term => Signal::TERM,
                Force::Kill => Signal::KILL,
                Force::Suspend => Signal::TSTP,
                Force::Stop => Signal::STOP,
                Force::Continue => Signal::CONT,
            };
            // An error means that it has just ended.
            let _ = pidfd_send_signal(&self.0, signal);
        }

        /// Wait until it has ended.
        pub(in crate::run) async fn gone(self) {
            // Such a descriptor can be read when its process has ended, which is all that is asked for.
            if let Ok(end) = Receiver::from_owned_fd_unchecked(self.0) {
                let _ = end.readable().await;
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod handle {
    use super::Process;
    use crate::run::supervisor::Force;

    /// There is none, and nothing is found that one would be asked for.
    #[derive(Debug)]
    pub(in crate::run) enum Handle {}

    impl Handle {
        pub(in crate::run) fn of(_: u32, _: Process) -> Option<Self> {
            None
        }

        pub(in crate::run) fn end(&self, _: Force) {}

        pub(in crate::run) async fn gone(self) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_blanks_is_passed_over() {
        let stat = b"77 (a) (b c) S 1 70 70 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 2 3\n";
        assert_eq!(parse(stat), Some(Process { session: 70, start: 4242, is_zombie: false }));
        assert_eq!(parse(b"77 (a"), None);
        assert_eq!(parse(b"77 (a) S 1"), None);
    }

    #[test]
    fn this_process_is_there() {
        let this = process(std::process::id()).unwrap();
        assert!(this.start > 0 && !this.is_zombie);
        assert!(!boot().is_empty());
    }
}
