//! Many small values of a large file, read or written with few calls: neighbours go together in one window.
//!
//! Knows nothing of what the values mean. Called by [`super::dumb`] only.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// The longest window, in bytes.
const LONGEST: u64 = 1 << 20;
/// Values with more than this between them, in bytes, are not neighbours: what lies between costs more than a call.
const GAP: u64 = 16 << 10;

/// Call `each` for every value of the file, in groups: with the values' range in `spans`, the position of the window
/// in the file, and the bytes of the window, fewer than the spans' where the file ends before.
///
/// `spans` are positions and ends in bytes, sorted by position, none longer than a window.
pub(super) fn read(
    file: &File,
    spans: &[Range<u64>],
    mut each: impl FnMut(Range<usize>, u64, &[u8]),
) -> io::Result<()> {
    let mut bytes = Vec::new();
    for group in (Groups { spans, next: 0 }) {
        let window = fill(file, spans, &group, &mut bytes)?;
        each(group, window.start, &bytes[..length(&window)]);
    }
    Ok(())
}

/// Write the file's values anew, in groups: `each` gets what [`read`] gives it and changes the bytes.
///
/// Beyond the end of the file the bytes are zeros; the file grows to the end of the last value.
pub(super) fn write(
    file: &File,
    spans: &[Range<u64>],
    mut each: impl FnMut(Range<usize>, u64, &mut [u8]),
) -> io::Result<()> {
    let mut bytes = Vec::new();
    for group in (Groups { spans, next: 0 }) {
        let window = fill(file, spans, &group, &mut bytes)?;
        bytes[length(&window)..].fill(0);
        each(group, window.start, &mut bytes);
        file.write_all_at(&bytes, window.start)?;
    }
    Ok(())
}

/// The values of one window after the other, as ranges of `spans`.
struct Groups<'s> {
    spans: &'s [Range<u64>],
    next: usize,
}

impl Iterator for Groups<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let first = self.spans.get(self.next)?;
        let start = self.next;
        let mut end = first.end;
        while let Some(span) = self.spans.get(self.next) {
            if span.start > end.saturating_add(GAP)
                || span.end > first.start.saturating_add(LONGEST) && self.next > start
            {
                break;
            }
            end = end.max(span.end);
            self.next += 1;
        }
        Some(start..self.next)
    }
}

/// Read a group's window into `bytes`, which gets the window's length; returns the part that the file had.
fn fill(file: &File, spans: &[Range<u64>], group: &Range<usize>, bytes: &mut Vec<u8>) -> io::Result<Range<u64>> {
    let start = spans[group.start].start;
    bytes.resize(length(&(start..end_of(spans, group))), 0);
    let mut had = 0;
    while had < bytes.len() {
        match file.read_at(&mut bytes[had..], start + had as u64) {
            Ok(0) => break,
            Ok(n) => had += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(start..start + had as u64)
}

fn end_of(spans: &[Range<u64>], group: &Range<usize>) -> u64 {
    spans[group.clone()].iter().map(|span| span.end).max().expect("a group is never empty")
}

fn length(range: &Range<u64>) -> usize {
    usize::try_from(range.end - range.start).expect("a window is short")
}
