//! The program's own stdout: everything that testr would print there goes through here.
//!
//! Written in blocks until [`Stdout::flush`]; a reader who has gone away ends the output quietly, as for any filter, while
//! the run itself goes on. A reader who has stalled can be given up.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::AsFd;

use super::stream::Stream;
use super::visible::visible;

/// Where results are printed.
#[derive(Debug)]
pub struct Stdout {
    /// Nothing once the reader has gone.
    out: Option<BufWriter<Stream>>,
    /// A terminal acts on control characters, and what is printed is not ours.
    terminal: bool,
}

impl Stdout {
    /// The process's stdout. Without one, what is written goes nowhere.
    #[must_use]
    pub fn open() -> Self {
        // Not `io::stdout()`: it looks for line ends in what is binary.
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        let stream = Stream::of(stdout.as_fd());
        Self { out: stream.ok().map(|stream| BufWriter::with_capacity(64 * 1024, stream)), terminal }
    }

    /// What gives the reader up, from any thread and at any time: nothing waits for stdout any more, and what would have
    /// to is dropped, with all that follows. A file is no such reader.
    pub fn abandoner(&mut self) -> impl Fn() + Send + use<> {
        // Where the means are lacking (no descriptor is left), waiting goes on as for any program.
        let abandon = self.out.as_mut().and_then(|out| out.get_mut().abandoner().ok());
        move || abandon.iter().for_each(|abandon| abandon())
    }

    /// Write text that may hold anything: on a terminal, control characters are made visible.
    ///
    /// # Errors
    /// When stdout cannot be written to, but for a reader who has gone.
    pub fn text(&mut self, text: &str) -> io::Result<()> {
        if self.terminal { self.bytes(visible(text).as_bytes()) } else { self.bytes(text.as_bytes()) }
    }

    /// Write bytes as they are.
    ///
    /// # Errors
    /// As [`Stdout::text`].
    pub fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.attempt(|out| out.write_all(bytes))
    }

    /// Pass on what a callout wrote on its stdout. It does not wait for what is buffered: it might as well have been
    /// written by the callout itself, as under testr.
    ///
    /// # Errors
    /// As [`Stdout::text`].
    pub fn pass(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.terminal {
            self.flush()?;
        }
        self.attempt(|out| out.get_mut().write_all(bytes))
    }

    /// Whether a person is looking.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Let what was written be seen.
    ///
    /// # Errors
    /// As [`Stdout::text`].
    pub fn flush(&mut self) -> io::Result<()> {
        self.attempt(Write::flush)
    }

    fn attempt(&mut self, write: impl FnOnce(&mut BufWriter<Stream>) -> io::Result<()>) -> io::Result<()> {
        let Some(out) = &mut self.out else { return Ok(()) };
        match write(out) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                // What is still buffered is for nobody; dropping it in the usual way would try to write it.
                if let Some(out) = self.out.take() {
                    let _ = out.into_parts();
                }
                Ok(())
            }
            other => other,
        }
    }
}
