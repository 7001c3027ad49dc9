//! Lines, and counted bytes, of a file that may have lines of any length.
//!
//! Called by [`super::read`] only.

use std::io::{self, BufRead};

/// What was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Up to and with a line end.
    Whole,
    /// The rest of a line whose start was given as `Part`, with the line end.
    Rest,
    /// As much as was asked for, or all there was before the end; no line end.
    Part,
    /// Nothing: the end of the file.
    End,
}

/// A reader that knows where it is.
#[derive(Debug)]
pub(super) struct Lines<R> {
    from: R,
    /// How many bytes were read.
    pub(super) offset: u64,
    within: bool,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(from: R) -> Self {
        Self { from, offset: 0, within: false }
    }

    /// Read up to a line end into `line`, at most `most` bytes.
    pub(super) fn line(&mut self, line: &mut Vec<u8>, most: usize) -> io::Result<Line> {
        line.clear();
        let within = std::mem::replace(&mut self.within, true);
        loop {
            let wanted = most - line.len();
            let end = self.some(line, wanted, |bytes| bytes.iter().position(|byte| *byte == b'\n').map(|at| at + 1))?;
            if line.last() == Some(&b'\n') {
                self.within = false;
                return Ok(if within { Line::Rest } else { Line::Whole });
            }
            if line.is_empty() {
                return Ok(Line::End);
            }
            if end || line.len() == most {
                return Ok(Line::Part);
            }
        }
    }

    /// Append `count` bytes to `bytes`, fewer only at the end of the file. A line begins behind them.
    pub(super) fn bytes(&mut self, bytes: &mut Vec<u8>, count: usize) -> io::Result<usize> {
        self.within = false;
        let start = bytes.len();
        while bytes.len() - start < count {
            if self.some(bytes, count - (bytes.len() - start), |_| None)? {
                break;
            }
        }
        Ok(bytes.len() - start)
    }

    /// Whether nothing more comes.
    pub(super) fn is_at_end(&mut self) -> io::Result<bool> {
        Ok(self.from.fill_buf()?.is_empty())
    }

    /// Append what is there, at most `most` bytes and at most what `upto` says. Whether that was the end.
    fn some(&mut self, out: &mut Vec<u8>, most: usize, upto: impl Fn(&[u8]) -> Option<usize>) -> io::Result<bool> {
        let there = loop {
            match self.from.fill_buf() {
                Ok(there) => break there,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        };
        let end = there.is_empty();
        let mut taken = &there[..there.len().min(most)];
        if let Some(count) = upto(taken) {
            taken = &taken[..count];
        }
        out.extend_from_slice(taken);
        let count = taken.len();
        self.from.consume(count);
        self.offset += count as u64;
        Ok(end)
    }
}
