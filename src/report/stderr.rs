//! stderr: what callouts write there, and what regatta itself has to say beside testr's words.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use super::stream::Stream;
use super::visible::visible;
use crate::event::{RunEvent, Sink, SinkError};

/// What begins each line of regatta's own.
const PREFIX: &str = "regatta: ";

/// The sink. A stderr that cannot be written to is no error: there is nowhere left to say so.
#[derive(Debug)]
pub struct Stderr {
    /// Nothing where the process has no stderr.
    out: Option<Stream>,
}

impl Stderr {
    /// The process's stderr.
    #[must_use]
    pub fn open() -> Self {
        Self { out: Stream::of(io::stderr().as_fd()).ok() }
    }

    /// What gives its reader up, as [`super::Stdout::abandoner`].
    pub fn abandoner(&mut self) -> impl Fn() + Send + use<> {
        let abandon = self.out.as_mut().and_then(|out| out.abandoner().ok());
        move || abandon.iter().for_each(|abandon| abandon())
    }

    fn write(&mut self, bytes: &[u8]) {
        let _ = self.out.as_mut().map(|out| out.write_all(bytes));
    }
}

impl Sink for Stderr {
    fn event(&mut self, event: &RunEvent) -> Result<(), SinkError> {
        match event {
            RunEvent::Stderr { bytes } => self.write(bytes),
            RunEvent::Note { text } => self.write(line(text).as_bytes()),
            _ => {}
        }
        Ok(())
    }
}

/// Say something on stderr, in lines of our own.
pub fn note(text: &str) {
    let _ = io::stderr().write_all(line(text).as_bytes());
}

fn line(text: &str) -> String {
    let text = if io::stderr().is_terminal() { visible(text) } else { text.into() };
    format!("{PREFIX}{text}\n")
}
