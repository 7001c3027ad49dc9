//! What a test attached, held until the test ends.
//!
//! A test's files come before its status and must be stored after it, so they wait here: in memory while all that
//! wait fit a budget, the largest in temporary files without a name when they do not. So memory never grows with
//! the bytes that pass through. [`crate::report`] fills these; sinks read them.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

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
    Shelved { file: Arc<File>, start: u64, len: u64 },
}

/// One temporary file for bodies that are whole and have to wait for long. It has no name, and each body goes to its
/// end, so that thousands of them take one file descriptor.
#[derive(Debug, Default)]
pub struct Shelf {
    file: Option<Arc<File>>,
    len: u64,
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
            Place::Spilled { len, .. } | Place::Shelved { len, .. } => *len,
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
            Place::Spilled { .. } | Place::Shelved { .. } => 0,
        }
    }

    /// Add bytes at the end.
    ///
    /// # Errors
    /// When the temporary file cannot be written, or the body was shelved, which only a whole one is.
    pub fn append(&mut self, more: &[u8]) -> io::Result<()> {
        match &mut self.0 {
            Place::Memory(bytes) => bytes.extend_from_slice(more),
            Place::Spilled { file, len } => {
                file.seek(SeekFrom::End(0))?;
                file.write_all(more)?;
                *len += more.len() as u64;
            }
            Place::Shelved { .. } => return Err(io::ErrorKind::Unsupported.into()),
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

    /// Move it to a shelf, out of memory or of a file of its own.
    ///
    /// # Errors
    /// When no temporary file can be made or written, or its own not be read; it then stays as it is.
    pub fn shelve(&mut self, shelf: &mut Shelf) -> io::Result<()> {
        if matches!(self.0, Place::Shelved { .. }) || self.is_empty() {
            return Ok(());
        }
        let file = match &shelf.file {
            Some(file) => Arc::clone(file),
            None => Arc::clone(shelf.file.insert(Arc::new(tempfile::tempfile()?))),
        };
        // What is beyond the shelf's length is what failed before.
        (&*file).seek(SeekFrom::Start(shelf.len))?;
        let len = io::copy(&mut self.read()?, &mut &*file)?;
        self.0 = Place::Shelved { file, start: shelf.len, len };
        shelf.len += len;
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
            Place::Shelved { file, start, len } => Box::new(Stretch { file, at: *start, end: start + len }),
        })
    }
}

/// A stretch of a file, read without moving the file's own position.
struct Stretch<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Read for Stretch<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read_at(&mut buffer[..left], self.at)?;
        self.at += read as u64;
        Ok(read)
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
    #[test]
    fn bodies_on_a_shelf_are_read_as_they_were() {
        let mut shelf = Shelf::default();
        let mut bodies: Vec<Body> = ["one", "", "three"].map(|text| Body::from(text.as_bytes().to_vec())).into();
        bodies[2].spill().unwrap();
        for body in &mut bodies {
            body.shelve(&mut shelf).unwrap();
            body.shelve(&mut shelf).unwrap();
        }
        assert_eq!(bodies.iter().map(text).collect::<Vec<_>>(), ["one", "", "three"]);
        assert_eq!((bodies[0].in_memory(), bodies[2].in_memory(), shelf.len), (0, 0, 8));
        assert_eq!(text(&bodies[0]), "one", "a second reading begins at the start again");
        assert!(bodies[0].append(b"more").is_err());
    }
}
