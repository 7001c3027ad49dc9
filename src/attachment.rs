//! What a test attached, held until the test ends.
//!
//! A test's files come before its status and must be stored after it, so they wait here: in memory while all that
//! wait fit a budget, the largest in temporary files without a name when they do not. So memory never grows with
//! the bytes that pass through. [`crate::report`] fills these; sinks read them.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use bytestring::ByteString;

/// A file that a test attached.
#[derive(Debug)]
pub struct Attachment {
    /// Its name; unique within a test.
    pub name: ByteString,
    /// Its content type as the runner gave it, e.g. `text/plain;charset=utf8`.
    pub mime: Option<ByteString>,
    /// Its bytes.
    pub body: Body,
}

/// The bytes of an attachment, in memory or in a temporary file that has no name any more.
#[derive(Debug)]
pub struct Body(Place);

#[derive(Debug)]
enum Place {
    Memory(Vec<u8>),
    Spilled { file: File, len: u64 },
}

impl Default for Body {
    fn default() -> Self {
        Self(Place::Memory(Vec::new()))
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Place::Memory(bytes))
    }
}

impl Body {
    /// How many bytes it has.
    #[must_use]
    pub fn len(&self) -> u64 {
        match &self.0 {
            Place::Memory(bytes) => bytes.len() as u64,
            Place::Spilled { len, .. } => *len,
        }
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes of memory it takes.
    #[must_use]
    pub fn in_memory(&self) -> usize {
        match &self.0 {
            Place::Memory(bytes) => bytes.capacity(),
            Place::Spilled { .. } => 0,
        }
    }

    /// Add bytes at the end.
    ///
    /// # Errors
    /// When the temporary file cannot be written.
    pub fn append(&mut self, more: &[u8]) -> io::Result<()> {
        match &mut self.0 {
            Place::Memory(bytes) => bytes.extend_from_slice(more),
            Place::Spilled { file, len } => {
                file.seek(SeekFrom::End(0))?;
                file.write_all(more)?;
                *len += more.len() as u64;
            }
        }
        Ok(())
    }

    /// Move it out of memory.
    ///
    /// # Errors
    /// When no temporary file can be made or written; the bytes then stay where they are.
    pub fn spill(&mut self) -> io::Result<()> {
        if let Place::Memory(bytes) = &self.0 {
            let mut file = tempfile::tempfile()?;
            file.write_all(bytes)?;
            let len = bytes.len() as u64;
            self.0 = Place::Spilled { file, len };
        }
        Ok(())
    }

    /// Read it from its beginning.
    ///
    /// # Errors
    /// When the temporary file cannot be read.
    pub fn read(&self) -> io::Result<Box<dyn Read + '_>> {
        Ok(match &self.0 {
            Place::Memory(bytes) => Box::new(bytes.as_slice()),
            Place::Spilled { file, len } => {
                let mut file: &File = file;
                file.seek(SeekFrom::Start(0))?;
                Box::new(file.take(*len))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(body: &Body) -> String {
        let mut text = String::new();
        body.read().unwrap().read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn a_spilled_body_reads_as_it_was_and_grows_on() {
        let mut body = Body::default();
        body.append(b"one ").unwrap();
        body.spill().unwrap();
        assert_eq!((body.in_memory(), body.len()), (0, 4));
        assert_eq!(text(&body), "one ");
        body.append(b"two").unwrap();
        body.spill().unwrap();
        assert_eq!(text(&body), "one two");
        assert_eq!(text(&body), "one two", "a second reading begins at the start again");
    }
}
