//! Callouts of a dead regatta that still run: found by what cannot be another's, and ended.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::timeout;

use crate::run::journal::Callout;
use crate::run::machine::{self, Handle, Process};
use crate::run::supervisor::Force;

/// TERM, and then KILL as often as more of it turns up.
const FORCES: [Force; 4] = [Force::Term, Force::Kill, Force::Kill, Force::Kill];

/// End what is left of these callouts of a run; give the numbers of those that ran. What is told to end has `grace` to
/// do so.
pub(super) async fn end(callouts: &BTreeMap<u64, Callout>, run_id: &str, grace: Duration) -> BTreeSet<u64> {
    let mut ended = BTreeSet::new();
    for force in FORCES {
        let left = find(callouts, run_id);
        if left.is_empty() {
            break;
        }
        for (number, handle) in &left {
            ended.insert(*number);
            handle.end(force);
        }
        let gone = async {
            for (_, handle) in left {
                handle.gone().await;
            }
        };
        // Who is not gone by then is told again, harder.
        let _ = timeout(grace, gone).await;
    }
    ended
}

/// The processes that are left, each with the number of its callout.
fn find(callouts: &BTreeMap<u64, Callout>, run_id: &str) -> Vec<(u64, Handle)> {
    if callouts.is_empty() {
        return Vec::new();
    }
    let processes = machine::processes();
    let mut left = Vec::new();
    for (number, callout) in callouts {
        for (pid, process) in belonging(callout, &processes, |pid| machine::has_variable(pid, "REGATTA_RUN_ID", run_id))
        {
            left.extend(Handle::of(pid, process).map(|handle| (*number, handle)));
        }
    }
    left
}

/// Those of the processes that belong to a callout.
fn belonging(
    callout: &Callout,
    processes: &BTreeMap<u32, Process>,
    is_of_run: impl Fn(u32) -> bool,
) -> Vec<(u32, Process)> {
    let leader = processes.get(&callout.pid).filter(|process| Some(process.start) == callout.start);
    // While a session has a member, no process gets its number; without its leader another may have it by now.
    let session = if callout.session { Some(callout.pid) } else { leader.map(|leader| leader.session) };
    let is_whole = callout.session && leader.is_some();
    let belongs = |pid: u32, process: &Process| {
        (leader.is_some() && pid == callout.pid) || (Some(process.session) == session && (is_whole || is_of_run(pid)))
    };
    let running = processes.iter().filter(|(pid, process)| !process.is_zombie && **pid != std::process::id());
    running.filter(|(pid, process)| belongs(**pid, process)).map(|(pid, process)| (*pid, *process)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(session: u32, start: u64) -> Process {
        Process { session, start, is_zombie: false }
    }

    #[track_caller]
    fn check(callout: (u32, Option<u64>, bool), of_run: &[u32], expected: &[u32]) {
        let (pid, start, session) = callout;
        let callout = Callout { key: "instance_execute".into(), pid, start, session };
        // 10 leads a session of 10, 11 and 12; 20's session has lost its leader; 30 is in the terminal's session 1.
        let zombie = Process { is_zombie: true, ..process(20, 7) };
        let all =
            [(10, (10, 5)), (11, (10, 6)), (12, (10, 6)), (21, (20, 8)), (22, (20, 9)), (30, (1, 5)), (31, (1, 5))];
        let mut processes: BTreeMap<u32, Process> = all.into_iter().map(|(pid, (s, t))| (pid, process(s, t))).collect();
        processes.insert(23, zombie);
        let found = belonging(&callout, &processes, |pid| of_run.contains(&pid));
        assert_eq!(found.into_iter().map(|(pid, _)| pid).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_process_belongs_by_its_start_or_by_its_session_and_environment() {
        check((10, Some(5), true), &[], &[10, 11, 12]);
        // The number is another's by now.
        check((10, Some(4), true), &[], &[]);
        check((10, Some(4), true), &[12], &[12]);
        check((10, None, true), &[], &[]);
        check((20, Some(3), true), &[], &[]);
        check((20, Some(3), true), &[22, 23, 30], &[22]);
        // In the terminal's session nobody belongs by the session alone.
        check((30, Some(5), false), &[], &[30]);
        check((30, Some(5), false), &[31], &[30, 31]);
        check((30, Some(4), false), &[31], &[]);
    }
}
