//! The file of a run, written in large pieces. When it cannot be written any more it can be moved elsewhere.
//!
//! Called by [`super::Inserter`] only.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

/// How much waits for the next flush at most, in bytes.
pub(super) const BUFFER: usize = 1 << 18;

/// A file that is written in large pieces, and what waits to be.
#[derive(Debug)]
pub(super) struct Out {
    pub(super) file: File,
    buffer: Vec<u8>,
    written: u64,
}

impl Out {
    pub(super) fn new(file: File) -> Self {
        Self { file, buffer: Vec::with_capacity(BUFFER), written: 0 }
    }

    /// How many bytes it has, waiting ones too.
    pub(super) fn position(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Go on in another file, which gets what this one had before `end`.
    pub(super) fn move_to(&mut self, mut file: File, end: u64) -> io::Result<()> {
        let in_file = end.min(self.written);
        let mut buffer = vec![0; 1 << 16];
        let mut done = 0;
        while done < in_file {
            let n = usize::try_from(in_file - done).unwrap_or(usize::MAX).min(buffer.len());
            self.file.read_exact_at(&mut buffer[..n], done)?;
            file.write_all(&buffer[..n])?;
            done += n as u64;
        }
        self.buffer.truncate(usize::try_from(end - in_file).unwrap_or(usize::MAX));
        (self.file, self.written) = (file, in_file);
        Ok(())
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + bytes.len() > BUFFER {
            self.flush()?;
        }
        if bytes.len() >= BUFFER {
            let n = self.file.write(bytes)?;
            self.written += n as u64;
            return Ok(n);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    /// To the system, not to the disk.
    fn flush(&mut self) -> io::Result<()> {
        let mut done = 0;
        let result = loop {
            if done == self.buffer.len() {
                break Ok(());
            }
            match self.file.write(&self.buffer[done..]) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        // What was written before an error must not be written again.
        self.buffer.drain(..done);
        self.written += done as u64;
        result
    }
}
