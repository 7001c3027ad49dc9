//! The run as testr tells it on stdout, line for line: `running=` lines, failures as they happen, the summary.

use chrono::TimeDelta;

use super::details;
use super::stdout::Stdout;
use crate::event::{FinishedTest, Pause, RunEnd, RunEvent, Sink, SinkError, Status};

/// The sink.
#[derive(Debug)]
pub struct Text {
    out: Stdout,
    /// `-q`: no summary, and nothing else less.
    quiet: bool,
}

impl Text {
    /// Text on this stdout.
    #[must_use]
    pub fn new(out: Stdout, quiet: bool) -> Self {
        Self { out, quiet }
    }
}

impl Sink for Text {
    fn event(&mut self, event: &RunEvent) -> Result<(), SinkError> {
        match event {
            RunEvent::Running { line } => self.out.text(&running(line)),
            RunEvent::Print { bytes } => self.out.bytes(bytes),
            RunEvent::Stdout { bytes } => self.out.pass(bytes),
            _ => Ok(()),
        }
        .map_err(cannot_print)
    }

    fn test(&mut self, test: &FinishedTest) -> Result<(), SinkError> {
        // A test that never ended counts as failed, and testr shows nothing of it here.
        if test.status != Some(Status::Fail) {
            return Ok(());
        }
        details::format(&test.attachments)
            .and_then(|details| self.out.text(&failure(test, &details)))
            .map_err(cannot_print)
    }

    fn pause(&mut self, pause: Pause) -> Result<(), SinkError> {
        // As testr's, text for a file or a pipe is written in blocks; but not for ever.
        if pause == Pause::Idle && !self.out.is_terminal() {
            return Ok(());
        }
        self.out.flush().map_err(cannot_print)
    }

    fn finish(&mut self, end: &mut RunEnd) -> Result<(), SinkError> {
        if !self.quiet {
            self.out.text(&summary(end)).map_err(cannot_print)?;
        }
        Ok(())
    }
}

fn cannot_print(source: std::io::Error) -> SinkError {
    SinkError { what: "cannot write to standard output".into(), source }
}

/// The line before a callout.
#[must_use]
pub(super) fn running(line: &str) -> String {
    format!("running={line}\n")
}

fn failure(test: &FinishedTest, details: &str) -> String {
    let tags: Vec<&str> = test.tags.iter().map(|tag| &**tag).collect();
    let tags = if tags.is_empty() { String::new() } else { format!("tags: {}\n", tags.join(" ")) };
    format!("{}\nFAIL: {}\n{tags}{}\n{details}", "=".repeat(70), test.id, "-".repeat(70))
}

/// The last two lines. Differences are against the run before; skips have none.
///
/// A run that a signal ended neither passed nor failed: testr has no word for it, as it counts what ran as failed.
fn summary(end: &RunEnd) -> String {
    let RunEnd { counts, id, previous, .. } = end;
    let previous = previous.as_ref();
    let mut text = String::new();
    if counts.tests != 0 {
        let delta = previous.map_or(0, |previous| counts.tests - previous.tests);
        text += &format!("Ran {}{} tests", counts.tests, count_delta(delta));
    }
    if let Some(time) = nonzero(counts.elapsed()) {
        let before = previous.and_then(|previous| nonzero(previous.elapsed()));
        let delta = nonzero(before.map(|before| time - before));
        let delta = delta.map_or(String::new(), |delta| format!(" ({:+.3}s)", seconds(delta)));
        text += if text.is_empty() { "Ran tests" } else { "" };
        text += &format!(" in {:.3}s{delta}", seconds(time));
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text += match (counts.passed(), end.interrupted) {
        (false, _) => "FAILED",
        (true, true) => "INTERRUPTED",
        (true, false) => "PASSED",
    };
    let mut values: Vec<String> = id.iter().map(|id| format!("id={id}")).collect();
    if counts.failures > 0 {
        let before = previous.map_or(counts.failures, |previous| previous.failures);
        let delta = i64::try_from(counts.failures).unwrap_or(i64::MAX) - i64::try_from(before).unwrap_or(i64::MAX);
        values.push(format!("failures={}{}", counts.failures, count_delta(delta)));
    }
    if counts.skips > 0 {
        values.push(format!("skips={}", counts.skips));
    }
    if !values.is_empty() {
        text += &format!(" ({})", values.join(", "));
    }
    text + "\n"
}

fn count_delta(delta: i64) -> String {
    if delta == 0 { String::new() } else { format!(" ({delta:+})") }
}

fn nonzero(time: Option<TimeDelta>) -> Option<TimeDelta> {
    time.filter(|time| !time.is_zero())
}

fn seconds(time: TimeDelta) -> f64 {
    // Microseconds, as testr has; exact up to 285 years.
    time.num_microseconds().map_or(f64::NAN, |us| us as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Counts, Stamp};

    fn counts(tests: i64, failures: u64, skips: u64, ms: i64) -> Counts {
        let at = |ms| Stamp::from_timestamp_millis(ms);
        Counts { tests, failures, skips, first: at(0), last: at(ms) }
    }

    fn end(counts: &Counts, previous: Option<&Counts>) -> RunEnd {
        let (counts, previous) = (counts.clone(), previous.cloned());
        RunEnd { at: Stamp::default(), partial: false, interrupted: false, id: Some(1), previous, counts }
    }

    fn check(now: &Counts, previous: Option<&Counts>, expected: &str) {
        assert_eq!(summary(&end(now, previous)), expected);
    }

    #[test]
    fn an_interrupted_run_did_not_pass() {
        let shown = |failures| summary(&RunEnd { interrupted: true, ..end(&counts(2, failures, 0, 0), None) });
        assert_eq!(shown(0), "Ran 2 tests\nINTERRUPTED (id=1)\n");
        assert_eq!(shown(1), "Ran 2 tests\nFAILED (id=1, failures=1)\n");
    }

    #[test]
    fn summaries_are_those_of_testr() {
        check(&counts(5, 1, 1, 1250), None, "Ran 5 tests in 1.250s\nFAILED (id=1, failures=1, skips=1)\n");
        let before = counts(3, 1, 0, 750);
        check(
            &counts(4, 2, 1, 1750),
            Some(&before),
            "Ran 4 (+1) tests in 1.750s (+1.000s)\nFAILED (id=1, failures=2 (+1), skips=1)\n",
        );
        check(&counts(1, 0, 0, 250), Some(&before), "Ran 1 (-2) tests in 0.250s (-0.500s)\nPASSED (id=1)\n");
        check(&counts(3, 1, 0, 750), Some(&before), "Ran 3 tests in 0.750s\nFAILED (id=1, failures=1)\n");
        check(&Counts::default(), None, "PASSED (id=1)\n");
        check(&counts(0, 0, 0, 2000), None, "Ran tests in 2.000s\nPASSED (id=1)\n");
        check(&counts(2, 0, 0, 0), None, "Ran 2 tests\nPASSED (id=1)\n");
    }
}
