//! How many run at once: the option, else the callout, else the machine's CPUs.

use nix::unistd::{SysconfVar, sysconf};

use crate::config::Config;
use crate::error::Error;
use crate::event::{RunEvent, Sink};
use crate::report::Stderr;
use crate::run::CalloutFailure;
use crate::run::process::{ShellLine, capture};
use crate::run::signals::{Interrupt, Signals};

/// The key of the callout.
const KEY: &str = "test_run_concurrency";

/// Decide. `asked` is the option's number; 0 is the same as none. A signal leaves it undecided.
pub(super) async fn decide(
    asked: i64,
    config: &Config,
    signals: &mut Signals,
) -> Result<Result<usize, Interrupt>, Error> {
    let mut number = asked;
    if number == 0
        && let Some(line) = config.get(KEY)?
    {
        match ask(line, signals).await? {
            Ok(answer) => number = answer,
            Err(interrupt) => return Ok(Err(interrupt)),
        }
    }
    if number == 0 {
        return Ok(Ok(cpus()));
    }
    usize::try_from(number).map(Ok).map_err(|_| {
        let hint = if asked == 0 {
            "mend test_run_concurrency in .testr.conf"
        } else {
            "give --concurrency a positive number"
        };
        Error::failure(format!("cannot run {number} at once")).hint(hint)
    })
}

async fn ask(line: String, signals: &mut Signals) -> Result<Result<i64, Interrupt>, Error> {
    let shell = ShellLine { line: line.clone(), env: vec![], gated: false, output: None, foreground: true };
    let said = match capture(shell, signals).await {
        Ok(said) => said,
        Err(interrupt) => return Ok(Err(interrupt)),
    };
    Stderr::open().event(&RunEvent::Stderr { bytes: said.stderr.into() })?;
    if !said.ending.is_success() {
        let purpose = "while asking how many to run at once";
        return Err(crate::run::RunError::from(CalloutFailure { key: KEY, purpose, line, ending: said.ending }).into());
    }
    let text = String::from_utf8_lossy(&said.stdout);
    // White space and a sign are fine, as for Python's int().
    text.trim().parse().map(Ok).map_err(|_| {
        Error::failure(format!("{KEY} has to print a number, and printed {:?}\n  line: {line}", text.trim()))
            .hint("let it print how many to run at once, or 0 for the number of CPUs")
    })
}

/// All CPUs of the machine that are on, as testr counts: affinity and control groups do not matter.
fn cpus() -> usize {
    let on = sysconf(SysconfVar::_NPROCESSORS_ONLN).ok().flatten();
    on.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0).unwrap_or(1)
}
