//! What is kept and shown of a run.
//!
//! [`Report`] is the one sink that a run is handed. It puts each test's events together ([`OpenTests`]), counts
//! ([`crate::summary`]), and tells its own sinks in a fixed order: first whoever stores the run, then stdout, then
//! stderr. No sink reads a clock, and apart from `main` nothing else in the crate prints.

pub mod details;
mod open_tests;
mod packets;
mod stderr;
mod stdout;
pub mod table;
mod text;

pub use open_tests::OpenTests;
pub use packets::Packets;
pub use stderr::{Stderr, note};
pub use stdout::Stdout;
pub use text::Text;

use std::collections::BTreeSet;

use crate::event::{FinishedTest, Pause, RunEnd, RunEvent, Sink, SinkError};
use crate::summary::Summary;

/// All sinks of a command, over all its runs.
pub struct Report {
    sinks: Vec<Guarded>,
    filter_tags: BTreeSet<String>,
    open: OpenTests,
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
        Self { sinks, filter_tags, open: OpenTests::default(), summary }
    }

    fn tell(&mut self, mut what: impl FnMut(&mut dyn Sink) -> Result<(), SinkError>) {
        for sink in &mut self.sinks {
            sink.tell(&mut what);
        }
    }

    fn first_error(&mut self) -> Result<(), SinkError> {
        self.sinks.iter_mut().find_map(|sink| sink.failed.take()).map_or(Ok(()), Err)
    }

    /// The test that this event ended, if it ended one.
    fn ended_by(&mut self, event: &RunEvent) -> Option<FinishedTest> {
        match event {
            RunEvent::Test { event, at } => self.open.event(event, *at),
            RunEvent::Unfinished { id, route } => self.open.unfinished(id, route.as_ref()),
            _ => None,
        }
    }
}

impl Sink for Report {
    fn event(&mut self, event: &RunEvent) -> Result<(), SinkError> {
        if matches!(event, RunEvent::RunStarted { .. }) {
            self.open = OpenTests::default();
            self.summary = Summary::new(self.filter_tags.clone());
        }
        self.summary.event(event);
        self.tell(|sink| sink.event(event));
        if let Some(test) = self.ended_by(event) {
            self.summary.test(&test);
            self.tell(|sink| sink.test(&test));
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
        end.counts = self.summary.counts().clone();
        self.tell(|sink| sink.finish(end));
        if let Some(source) = self.open.take_trouble() {
            return Err(SinkError { what: "cannot keep what tests attached in a temporary file".into(), source });
        }
        self.first_error()
    }
}
