//! Which machine this is, since when it runs, and which process is which.
//!
//! Where the system has no `/proc`, machines have no boot id and processes no start: nothing is then taken for what it
//! may not be.

use std::fs;

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
