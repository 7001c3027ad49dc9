//! stderr: what callouts write there, and what regatta itself has to say beside testr's words.

use std::io::{self, Write};

use crate::event::{RunEvent, Sink, SinkError};

/// What begins each line of regatta's own.
const PREFIX: &str = "regatta: ";

/// The sink. A stderr that cannot be written to is no error: there is nowhere left to say so.
#[derive(Debug, Default)]
pub struct Stderr;

impl Sink for Stderr {
    fn event(&mut self, event: &RunEvent) -> Result<(), SinkError> {
        match event {
            RunEvent::Stderr { bytes } => {
                let _ = io::stderr().write_all(bytes);
            }
            RunEvent::Note { text } => note(text),
            _ => {}
        }
        Ok(())
    }
}

/// Say something on stderr, in lines of our own.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{PREFIX}{text}");
}
