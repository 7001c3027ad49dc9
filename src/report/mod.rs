//! What is kept and shown of a run.
//!
//! [`Report`] is the one sink that a run is handed. It puts each test's events together ([`OpenTests`]), finds the attempt
//! that decides (`attempts`), counts ([`crate::summary`]), and tells its own sinks in a fixed order: first whoever stores
//! the run, then stdout, then stderr. No sink reads a clock, and apart from `main` nothing else in the crate prints.

mod attempts;
pub mod details;
mod losses;
mod open_tests;
mod packets;
mod record;
mod stderr;
mod stdout;
mod stream;
pub mod table;
mod text;
mod visible;

pub use open_tests::OpenTests;
pub use packets::Packets;
pub use record::Record;
pub use stderr::{Stderr, note};
pub use stdout::Stdout;
pub use text::Text;

use std::collections::BTreeSet;

use attempts::{Attempts, Fate};
use losses::Losses;

use crate::event::{FinishedTest, Pause, RunEnd, RunEvent, Sink, SinkError};
use crate::summary::Summary;

/// How many flaky tests are named at the end of a run.
const MOST_FLAKY: usize = 20;

/// All sinks of a command, over all its runs.
pub struct Report {
    sinks: Vec<Guarded>,
    filter_tags: BTreeSet<String>,
    open: OpenTests,
    attempts: Attempts,
    losses: Losses,
    summary: Summary,
}

/// A sink, and what it failed at first. After that it is told nothing more.
struct Guarded {
    sink: Box<dyn Sink>,
    failed: Option<SinkError>,
}

impl Guarded {
    fn tell(&mut self, what: impl FnOnce(&mut dyn Sink) -> Result<(), SinkError>) {
        if self.failed.is_none() {
            self.failed = what(&mut *self.sink).err();
        }
    }
}

impl Report {
    /// A report to these sinks, in this order. `filter_tags` is the configuration's.
    #[must_use]
    pub fn new(sinks: Vec<Box<dyn Sink>>, filter_tags: BTreeSet<String>) -> Self {
        let sinks = sinks.into_iter().map(|sink| Guarded { sink, failed: None }).collect();
        let summary = Summary::new(filter_tags.clone());
        let (open, attempts, losses) = Default::default();
        Self { sinks, filter_tags, open, attempts, losses, summary }
    }

    fn tell(&mut self, mut what: impl FnMut(&mut dyn Sink) -> Result<(), SinkError>) {
        for sink in &mut self.sinks {
            sink.tell(&mut what);
        }
    }

    fn first_error(&mut self) -> Result<(), SinkError> {
        self.sinks.iter_mut().find_map(|sink| sink.failed.take()).map_or(Ok(()), Err)
    }

    /// The attempt that this event ended, if it ended one.
    fn ended_by(&mut self, event: &RunEvent) -> Option<FinishedTest> {
        match event {
            RunEvent::Test { event, at } => self.open.event(event, *at),
            RunEvent::Unfinished { id, route } => self.open.unfinished(id, route.as_ref()),
            _ => None,
        }
    }

    fn ended(&mut self, mut test: FinishedTest) {
        match self.attempts.judge(&mut test) {
            Fate::Decides => self.decided(&test),
            Fate::Passes => self.tell(|sink| sink.attempt(&test)),
            Fate::Waits => {
                self.tell(|sink| sink.attempt(&test));
                self.attempts.keep(test);
            }
        }
    }

    fn decided(&mut self, test: &FinishedTest) {
        self.summary.test(test);
        self.losses.test(test);
        self.tell(|sink| sink.test(test));
    }

    /// What is to be said of single tests at the end of the run.
    fn last_words(&self) -> Vec<String> {
        let mut lines = self.losses.lines();
        let flaky = self.attempts.flaky();
        let more = flaky.len().saturating_sub(MOST_FLAKY);
        lines.extend(flaky.take(MOST_FLAKY));
        if more > 0 {
            lines.push(format!("flaky: and {more} more"));
        }
        lines
    }
}

impl Sink for Report {
    fn event(&mut self, event: &RunEvent) -> Result<(), SinkError> {
        if let RunEvent::RunStarted { retries, .. } = event {
            self.open = OpenTests::default();
            self.attempts = Attempts::new(*retries);
            self.losses = Losses::default();
            self.summary = Summary::new(self.filter_tags.clone());
        }
        self.summary.event(event);
        self.attempts.event(event);
        self.losses.event(event);
        self.tell(|sink| sink.event(event));
        match event {
            RunEvent::Again { id, route, .. } => {
                if let Some(test) = self.open.unfinished(id, route.as_ref()) {
                    self.tell(|sink| sink.attempt(&test));
                }
            }
            event => {
                if let Some(test) = self.ended_by(event) {
                    self.ended(test);
                }
            }
        }
        Ok(())
    }

    /// At the end, gives the first error that any of the sinks had since the last run ended.
    fn pause(&mut self, pause: Pause) -> Result<(), SinkError> {
        self.tell(|sink| sink.pause(pause));
        if pause == Pause::End { self.first_error() } else { Ok(()) }
    }

    /// Ends the run in each sink. Gives the first error that any of them had since the run began.
    fn finish(&mut self, end: &mut RunEnd) -> Result<(), SinkError> {
        for test in self.attempts.take_failed() {
            self.decided(&test);
        }
        let lines = self.last_words();
        if !lines.is_empty() {
            // On a terminal, after the failures before it.
            self.tell(|sink| sink.pause(Pause::Idle));
        }
        for text in lines {
            let note = RunEvent::Note { text };
            self.tell(|sink| sink.event(&note));
        }
        end.counts = self.summary.counts().clone();
        self.tell(|sink| sink.finish(end));
        if let Some(source) = self.open.take_trouble().or_else(|| self.attempts.take_trouble()) {
            return Err(SinkError { what: "cannot keep what tests attached in a temporary file".into(), source });
        }
        self.first_error()
    }
}

#[cfg(test)]
mod tests;
