//! The CRC-32 of many overlapping ranges of one stream, without hashing any byte more than a few times.
//!
//! Bytes that merely look like the start of a packet may claim four megabytes each and stand six bytes apart. So the
//! running CRC is noted at fixed marks, and the CRC of a range follows from the notes at its two ends: for bytes A
//! and then B, `crc(AB) = shift(crc(A), len B) ^ crc(B)`, where `shift` appends zero bytes to a CRC. Hashing itself is
//! crc32fast's. Called by [`super::scan`] for what is in doubt; what is in order is hashed directly.

use crc32fast::Hasher;

/// Bytes between two marks.
const STEP: u64 = 512;

/// Running CRCs of a stream, at every multiple of [`STEP`] within the bytes that are still held.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// The position of the first mark.
    first: u64,
    /// `crcs[k]` is the running CRC at `first + k * STEP`, from wherever it began.
    crcs: Vec<u32>,
}

impl Marks {
    /// The CRC of the stream from `from` to `to`, both of which lie in `bytes`, which begins at position `base`.
    pub(super) fn range(&mut self, bytes: &[u8], base: u64, from: u64, to: u64) -> u32 {
        let at = |position: u64| (position - base) as usize;
        let (head, tail) = (from.next_multiple_of(STEP), to - to % STEP);
        if tail <= head {
            return crc32fast::hash(&bytes[at(from)..at(to)]);
        }
        self.extend(bytes, base, head, tail);
        let mark = |position: u64| self.crcs[((position - self.first) / STEP) as usize];
        let before = crc32fast::hash(&bytes[at(from)..at(head)]);
        let upto = shift(before ^ mark(head), ((tail - head) / STEP) as usize) ^ mark(tail);
        update(upto, &bytes[at(tail)..at(to)])
    }

    /// Make sure that there are marks from `head` to `tail`.
    fn extend(&mut self, bytes: &[u8], base: u64, head: u64, tail: u64) {
        let end = self.first + self.crcs.len() as u64 * STEP;
        if self.crcs.is_empty() || head < self.first || head > end {
            self.first = head;
            self.crcs.clear();
            self.crcs.push(0);
        }
        let mut last = self.first + (self.crcs.len() as u64 - 1) * STEP;
        let mut crc = *self.crcs.last().expect("there is always one mark");
        while last < tail {
            let start = (last - base) as usize;
            crc = update(crc, &bytes[start..start + STEP as usize]);
            self.crcs.push(crc);
            last += STEP;
        }
    }

    /// Forget the marks before `base`: their bytes are gone. The last mark stays, for the run to go on from.
    pub(super) fn forget(&mut self, base: u64) {
        let gone = base.saturating_sub(self.first) / STEP;
        // Rarely, since what stays is moved.
        if gone >= 4096 {
            let gone = (gone as usize).min(self.crcs.len());
            self.crcs.drain(..gone);
            self.first += gone as u64 * STEP;
        }
    }
}

fn update(crc: u32, bytes: &[u8]) -> u32 {
    let mut hasher = Hasher::new_with_initial(crc);
    hasher.update(bytes);
    hasher.finalize()
}

/// `crc` with `steps` times [`STEP`] zero bytes appended.
fn shift(crc: u32, steps: usize) -> u32 {
    let mut hasher = Hasher::new_with_initial(crc);
    hasher.combine(&Hasher::new_with_initial_len(0, steps as u64 * STEP));
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_the_crc_of_its_bytes() {
        let bytes: Vec<u8> = (0..40_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let mut marks = Marks::default();
        let base = 1000;
        for (from, to) in [(0, 0), (0, 10), (5, 30_000), (700, 2000), (24, 40_000), (1, 39_999), (20_000, 20_600)] {
            let crc = marks.range(&bytes, base, base + from as u64, base + to as u64);
            assert_eq!(crc, crc32fast::hash(&bytes[from..to]), "{from}..{to}");
        }
        let mut marks = Marks::default();
        marks.range(&bytes, base, base + 20_000, base + 30_000);
        let crc = marks.range(&bytes, base, base + 100, base + 35_000);
        assert_eq!(crc, crc32fast::hash(&bytes[100..35_000]), "a range that begins before the first mark");
    }
}
