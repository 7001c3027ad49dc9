//! Where the record of each test is in a file of subunit v1 text, so that records can be copied as they are.
//!
//! Follows the text only as far as it must: which test, whether it failed, where it ends. What is in an attachment is
//! passed over by its length, since it may hold anything. Opens no file; used for `failing`, which testr may have
//! written. [`crate::wire::v1`] is what reads a run's events.

use std::io::{self, BufRead};
use std::ops::Range;

/// The record of one test.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// The test's id as it is written there.
    pub(super) id: Vec<u8>,
    /// Whether its outcome is a failure, or is missing.
    pub(super) is_failure: bool,
    /// The end of the record is missing, or what should be it cannot be made sense of.
    pub(super) is_cut: bool,
    /// Its bytes: from the time and tags before it to the line that takes the tags back.
    pub(super) range: Range<u64>,
}

/// The records of a text, in order. After one that is cut no other comes.
pub(super) struct Records<R> {
    input: R,
    /// The line that was read last, with its end.
    line: Vec<u8>,
    /// The line belongs to the next record.
    is_held: bool,
    /// How much was read, in bytes, the held line too.
    position: u64,
}

/// What an outcome line begins.
enum Details {
    None,
    Simple,
    Multipart,
}

impl<R: BufRead> Records<R> {
    /// The records of what `input` gives.
    pub(super) fn new(input: R) -> Self {
        Self { input, line: Vec::new(), is_held: false, position: 0 }
    }

    fn read_record(&mut self) -> io::Result<Option<Record>> {
        let start = self.position - if self.is_held { self.line.len() as u64 } else { 0 };
        let id = loop {
            if !self.read_line()? {
                return Ok(None);
            }
            if let Some((b"test" | b"testing", id)) = directive(&self.line) {
                break id.to_vec();
            }
        };
        let outcome = self.read_outcome(&id)?;
        if outcome.is_some() {
            while self.read_line()? {
                if !takes_tags_back(&self.line) {
                    self.is_held = true;
                    break;
                }
            }
        } else {
            // What follows can't be told apart from the record any more.
            while self.read_line()? {}
        }
        let end = self.position - if self.is_held { self.line.len() as u64 } else { 0 };
        let is_failure = outcome.unwrap_or(true);
        Ok(Some(Record { id, is_failure, is_cut: outcome.is_none(), range: start..end }))
    }

    /// Read to the end of the outcome: whether it is a failure, or nothing if it has no end.
    fn read_outcome(&mut self, id: &[u8]) -> io::Result<Option<bool>> {
        loop {
            if !self.read_line()? {
                return Ok(None);
            }
            let Some((word, rest)) = directive(&self.line) else { continue };
            let is_failure = match word {
                b"failure" | b"error" => true,
                b"success" | b"successful" | b"skip" | b"xfail" | b"uxsuccess" => false,
                _ => continue,
            };
            // A line about another test is that test's output.
            let details = match rest.strip_prefix(id) {
                Some(b"") => Details::None,
                Some(b" [") => Details::Simple,
                Some(b" [ multipart") => Details::Multipart,
                _ => continue,
            };
            let has_end = match details {
                Details::None => true,
                Details::Simple => self.skip_simple()?,
                Details::Multipart => self.skip_multipart()?,
            };
            return Ok(has_end.then_some(is_failure));
        }
    }

    fn skip_simple(&mut self) -> io::Result<bool> {
        while self.read_line()? {
            if self.line == b"]\n" {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn skip_multipart(&mut self) -> io::Result<bool> {
        loop {
            // The content type, or the end.
            if !self.read_line()? {
                return Ok(false);
            }
            if self.line == b"]\n" {
                return Ok(true);
            }
            // The name.
            if !self.read_line()? {
                return Ok(false);
            }
            loop {
                if !self.read_line()? {
                    return Ok(false);
                }
                match chunk_length(&self.line) {
                    None => return Ok(false),
                    Some(0) => break,
                    Some(length) => {
                        if !self.skip(length)? {
                            return Ok(false);
                        }
                    }
                }
            }
        }
    }

    /// Read the next line, or take the held one; false at the end of the text. A last line without its end is none:
    /// it may have been cut, and nothing could be put after it.
    fn read_line(&mut self) -> io::Result<bool> {
        if std::mem::take(&mut self.is_held) {
            return Ok(true);
        }
        self.line.clear();
        let n = self.input.read_until(b'\n', &mut self.line)?;
        let is_whole = self.line.ends_with(b"\n");
        if is_whole {
            self.position += n as u64;
        }
        Ok(is_whole)
    }

    /// Pass over bytes; false when there were fewer.
    fn skip(&mut self, mut length: u64) -> io::Result<bool> {
        while length > 0 {
            let there = self.input.fill_buf()?.len();
            if there == 0 {
                return Ok(false);
            }
            let n = usize::try_from(length).unwrap_or(usize::MAX).min(there);
            self.input.consume(n);
            self.position += n as u64;
            length -= n as u64;
        }
        Ok(true)
    }
}

impl<R: BufRead> Iterator for Records<R> {
    type Item = io::Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read_record().transpose()
    }
}

/// The word that a line begins with, without its colon, and what comes after it, without the line's end.
fn directive(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = line.iter().position(|b| is_space(*b))?;
    let rest = &line[end..];
    if end == 0 || rest.iter().all(|b| is_space(*b)) {
        return None;
    }
    let colons = line[..end].iter().rev().take_while(|b| **b == b':').count();
    let rest = rest[1..].strip_suffix(b"\n").unwrap_or(&rest[1..]);
    Some((&line[..end - colons], rest))
}

/// White space for Python's `bytes.split`.
fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

/// Whether this is the line after a test that ends the tags set before it. testr mixes its words when a tag holds a
/// space, so one of them is enough.
fn takes_tags_back(line: &[u8]) -> bool {
    matches!(directive(line), Some((b"tags", tags)) if tags.split(|b| is_space(*b)).any(|tag| tag.starts_with(b"-")))
}

/// The length in a chunk's header, `1A\r\n`.
fn chunk_length(line: &[u8]) -> Option<u64> {
    let digits = line.strip_suffix(b"\r\n")?;
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests;
