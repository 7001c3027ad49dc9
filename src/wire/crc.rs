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

/// `crc` with `steps` times [`STEP`] zero bytes appended, for at most [`MAX_PACKET`](super::MAX_PACKET) bytes.
///
/// crc32fast's `combine` does the same with a multiplication for each bit of the length; that is ten times as long.
fn shift(crc: u32, steps: usize) -> u32 {
    multiply(multiply(crc, FINE[steps % FINE.len()]), COARSE[steps / FINE.len()])
}

/// What appending 0, 1, 2 .. steps multiplies a CRC by.
static FINE: [u32; 96] = powers(STEP_FACTOR);
/// The same for 0, 96, 192 .. steps.
static COARSE: [u32; 96] = powers(multiply(FINE[95], STEP_FACTOR));
/// What appending one step multiplies a CRC by: x to the power of its number of bits.
const STEP_FACTOR: u32 = {
    let mut factor = X;
    let mut bits = 1;
    while bits < 8 * STEP {
        factor = multiply(factor, factor);
        bits *= 2;
    }
    factor
};

/// The polynomials 1 and x, in CRC-32's order of bits: the highest is the constant term.
const ONE: u32 = 1 << 31;
const X: u32 = 1 << 30;

const fn powers<const N: usize>(factor: u32) -> [u32; N] {
    let mut powers = [ONE; N];
    let mut n = 1;
    while n < N {
        powers[n] = multiply(powers[n - 1], factor);
        n += 1;
    }
    powers
}

/// The product of two polynomials over the field of two elements, modulo the one of CRC-32.
const fn multiply(a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    let mut bit = 0;
    while bit < 32 {
        product ^= b & ((a << bit) as i32 >> 31) as u32;
        // Times x: what falls out below comes back as the polynomial.
        b = b >> 1 ^ (0xEDB8_8320 & (b & 1).wrapping_neg());
        bit += 1;
    }
    product
}

const _: () = assert!(STEP.is_power_of_two() && super::MAX_PACKET as u64 / STEP < (FINE.len() * COARSE.len()) as u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shifting_is_what_combining_does() {
        for steps in [0, 1, 2, 95, 96, 97, 1000, super::super::MAX_PACKET / STEP as usize] {
            let mut hasher = Hasher::new_with_initial(0x1234_5678);
            hasher.combine(&Hasher::new_with_initial_len(0, steps as u64 * STEP));
            assert_eq!(shift(0x1234_5678, steps), hasher.finalize(), "{steps} steps");
        }
    }

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
