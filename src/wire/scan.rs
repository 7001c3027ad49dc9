//! Finds the packets in a stream that may also hold text, junk, and what was left of packets.
//!
//! A byte B3 with a possible version and length begins a *candidate*. It is *in sync* at the start of the stream, where
//! a packet ended (a damaged one too), and after a line end; anywhere else it is *doubtful*.
//!
//! - In sync, its bytes are waited for. If the CRC is right it is a packet, otherwise it is damaged: that is told once
//!   for the range that it claimed, and scanning goes on one byte further. Within that range a line end does not put
//!   anything in sync, and nothing is called damaged again, since a reader like python-subunit's skips it whole.
//! - Doubtful, it hides nothing. Scanning goes on behind it, and it becomes a packet when its last byte comes with a
//!   right CRC before another packet was accepted within its range. Text from its first byte on is held until then.
//! - A candidate in sync whose bytes do not come becomes doubtful by [`Scanner::idle`].
//!
//! A right CRC settles it: such bytes were meant as a packet, and when their fields are malformed they are damaged and
//! nothing is looked for inside. What comes out depends on the bytes alone, not on how they were cut into reads (a run
//! of text may be cut differently), as long as `idle` is not called. The scanner reads nothing itself and knows no
//! clock; the reader of each worker's stdout calls it.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::crc::Marks;
use super::doubtful::Doubtful;
use super::packet::{self, CRC_SIZE, Damage, Start};
use super::{MAX_PACKET, SIGNATURE};
use crate::event::TestEvent;

/// How many bytes of a character can stand before its last one.
const BEFORE: usize = 3;

/// What a stream is made of. Each byte is in one of these; only packets found inside damage come twice, and the first
/// byte of one that stands within a character.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nearly every item is the large variant")]
pub enum Item {
    /// An intact packet: its CRC is right and every field well-formed.
    Packet {
        /// The event it makes. Its strings and bytes are slices of the buffer that was read into.
        event: TestEvent,
        /// What it stands in, which it may have been a part of.
        within: Within,
    },
    /// What looked like a packet, where one could be, and is none: testr's failure `subunit.parser`.
    Damaged {
        /// What it claimed, at most [`MAX_PACKET`] bytes. They do not come as text again.
        bytes: Bytes,
        /// What is wrong with it.
        why: Damage,
    },
    /// Bytes that are no packet, in pieces of any size.
    Text(Bytes),
}

/// What a packet stands in. Attachments can hold packets, so one within another that did not come whole may have been a
/// part of that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Within {
    /// In nothing: it is a packet of the stream.
    Nothing,
    /// In the range that a doubtful candidate claims whose bytes had not all come.
    Doubt,
    /// In the range that a candidate in sync claimed whose bytes did not come, and which may have been no packet at all.
    Unfinished,
    /// In the range that a damaged packet claimed.
    Damage,
}

/// Takes the bytes of one stream, in any pieces, and gives its items, in the order of their first bytes.
#[derive(Debug, Default)]
pub struct Scanner {
    /// Bytes whose meaning was not given out yet.
    buffer: BytesMut,
    /// The position in the stream of the first byte in `buffer`. All positions count from the start of the stream.
    base: u64,
    /// The bytes of text before `base`, at most [`BEFORE`]; none when a packet ended there.
    before: Vec<u8>,
    /// Every candidate before this was looked at.
    at: u64,
    /// Where the last packet ended.
    synced: u64,
    /// Where the range of the last damaged packet ends.
    damage_end: u64,
    /// The range that candidates in sync claimed whose bytes did not come.
    unfinished: (u64, u64),
    /// Bytes before this were given out in a [`Item::Damaged`].
    told: u64,
    /// Candidates in sync that begin before this have waited long enough.
    patience_ended: u64,
    /// Where the first candidate begins that was in sync and became doubtful by waiting. It may be settled by now.
    stalled: Option<u64>,
    doubtful: Doubtful,
    marks: Marks,
    /// What was found between `base` and `at`.
    found: VecDeque<Found>,
}

/// Something found in the buffer and not given out yet.
#[derive(Debug)]
enum Found {
    Packet { start: u64, end: u64, within: Within },
    Damaged { start: u64, end: u64, told: Box<Told> },
}

/// What is told of damage; apart, since it is rare and would make every [`Found`] large.
#[derive(Debug)]
struct Told {
    bytes: Bytes,
    why: Damage,
    /// What [`Scanner::damage_end`] was before, in case this turns out to be a part of a packet.
    damage_end_before: u64,
}

impl Found {
    fn start(&self) -> u64 {
        match self {
            Self::Packet { start, .. } | Self::Damaged { start, .. } => *start,
        }
    }
}

impl Scanner {
    /// A scanner at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Where the stream's next bytes are to be appended; then call [`Scanner::scan`]. Nothing else may be done to it.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Append `bytes` and scan.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<Item>) {
        self.buffer.extend_from_slice(bytes);
        self.scan(out);
    }

    /// Add to `out` what the bytes in the buffer say.
    pub fn scan(&mut self, out: &mut Vec<Item>) {
        self.look(false);
        self.release(out);
    }

    /// A second has passed without a byte: what waits in sync becomes doubtful, and hides nothing any more.
    pub fn idle(&mut self, out: &mut Vec<Item>) {
        if self.is_waiting() {
            self.stalled = self.still_stalled().or(Some(self.at));
            self.patience_ended = self.end();
            self.scan(out);
        }
    }

    /// Whether a candidate in sync waits for its bytes, so that [`Scanner::idle`] could change something.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.at < self.end() && self.at >= self.patience_ended && self.is_in_sync(self.at)
    }

    /// The stream has ended: what is incomplete hides nothing any more.
    ///
    /// A stream that ends within a candidate in sync, with no packet in what there is of it, was cut off: that is damage
    /// too, a short read for python-subunit and a failed `subunit.parser` for testr.
    pub fn finish(&mut self, out: &mut Vec<Item>) {
        let cut = self.still_stalled().or_else(|| self.is_waiting().then_some(self.at));
        self.look(true);
        self.doubtful.clear();
        let is_last = |start: &u64| self.synced <= *start && self.found.back().is_none_or(|f| f.start() < *start);
        if let Some(start) = cut.filter(is_last) {
            let bytes = Bytes::copy_from_slice(&self.buffer[self.index(start)..]);
            let why = Damage::CutOff { got: bytes.len() };
            let told = Box::new(Told { bytes, why, damage_end_before: self.damage_end });
            self.found.push_back(Found::Damaged { start, end: self.end(), told });
        }
        self.release(out);
    }

    /// The position behind the last byte in the buffer.
    fn end(&self) -> u64 {
        self.base + self.buffer.len() as u64
    }

    fn index(&self, position: u64) -> usize {
        (position - self.base) as usize
    }

    fn is_in_sync(&self, start: u64) -> bool {
        if start == self.synced || start == self.damage_end {
            return true;
        }
        let before = if start == self.base { self.before.last() } else { self.buffer.get(self.index(start) - 1) };
        start > self.damage_end && before == Some(&b'\n')
    }

    /// The candidate that stalled, if nothing has settled it.
    fn still_stalled(&self) -> Option<u64> {
        let unsettled = |start| self.doubtful.contains(start) || (start == self.at && start < self.end());
        self.stalled.filter(|start| unsettled(*start))
    }

    /// Look at every candidate that can be settled, or be put among the doubtful ones.
    ///
    /// Whatever ends first is settled first; of two that end together, the one that began first.
    fn look(&mut self, finishing: bool) {
        let end = self.end();
        while self.at < end || self.doubtful.next_end().is_some_and(|due| due <= end) {
            let due = self.doubtful.next_end().unwrap_or(u64::MAX);
            let (from, limit) = (self.index(self.at), self.index(end.min(due)));
            let Some(skipped) = self.buffer[from..limit].iter().position(|byte| *byte == SIGNATURE) else {
                self.at = end.min(due);
                if due <= end {
                    self.settle_doubtful();
                }
                continue;
            };
            self.at += skipped as u64;
            match packet::start(&self.buffer[from + skipped..]) {
                Start::Impossible => self.at += 1,
                Start::Short if due <= end => self.settle_doubtful(),
                Start::Short if finishing => self.at += 1,
                Start::Short => break,
                Start::Length(length) => {
                    let stop = self.at + length as u64;
                    let in_sync = self.is_in_sync(self.at);
                    if in_sync && due <= stop.min(end) {
                        self.settle_doubtful();
                    } else if in_sync && stop <= end {
                        self.settle_in_sync(stop);
                    } else if finishing && stop > end {
                        self.leave(in_sync, stop);
                        self.at += 1;
                    } else if in_sync && self.at >= self.patience_ended {
                        break;
                    } else {
                        self.leave(in_sync, stop);
                        self.doubtful.push(self.at, stop);
                        self.at += 1;
                    }
                }
            }
        }
    }

    /// The candidate at `at` is not waited for any more. What is found within it may have been a part of it.
    fn leave(&mut self, in_sync: bool, stop: u64) {
        if in_sync {
            let (start, end) = self.unfinished;
            self.unfinished = if self.at < end { (start, end.max(stop)) } else { (self.at, stop) };
        }
    }

    fn within(&mut self, start: u64) -> Within {
        let (from, to) = self.unfinished;
        if start < self.damage_end {
            Within::Damage
        } else if from < start && start < to {
            Within::Unfinished
        } else if self.doubtful.first_start().is_some_and(|first| first < start) {
            Within::Doubt
        } else {
            Within::Nothing
        }
    }

    /// Settle the doubtful candidate that ends first, whose bytes are all there.
    fn settle_doubtful(&mut self) {
        if let Some((start, end)) = self.doubtful.pop()
            && self.check_in_parts(start, end)
        {
            self.accept(start, end);
        }
    }

    /// Settle the candidate in sync that begins at `at`, whose bytes up to `end` are all there.
    fn settle_in_sync(&mut self, end: u64) {
        let start = self.at;
        let inside_damage = start < self.damage_end;
        // Ranges outside damage do not overlap, so each byte is hashed once; those inside may, so they go by the marks.
        if inside_damage {
            if self.check_in_parts(start, end) {
                self.accept(start, end);
            } else {
                self.at += 1;
            }
            return;
        }
        let claimed = &self.buffer[self.index(start)..self.index(end)];
        let stored = packet::stored_crc(claimed);
        let computed = crc32fast::hash(&claimed[..claimed.len() - CRC_SIZE]);
        if stored == computed {
            self.accept(start, end);
        } else {
            let told = Told {
                bytes: Bytes::copy_from_slice(claimed),
                why: Damage::Checksum { stored, computed },
                damage_end_before: self.damage_end,
            };
            self.found.push_back(Found::Damaged { start, end, told: Box::new(told) });
            self.damage_end = end;
            self.at += 1;
        }
    }

    fn check_in_parts(&mut self, start: u64, end: u64) -> bool {
        let stored = packet::stored_crc(&self.buffer[..self.index(end)]);
        stored == self.marks.range(&self.buffer, self.base, start, end - CRC_SIZE as u64)
    }

    /// From `start` to `end` is a packet: no other candidate that has begun can be one.
    fn accept(&mut self, start: u64, end: u64) {
        // What was called damaged within it was a part of it.
        while let Some(Found::Damaged { start: within, told, .. }) = self.found.back()
            && *within >= start
        {
            self.damage_end = told.damage_end_before;
            self.found.pop_back();
        }
        let within = self.within(start);
        self.found.push_back(Found::Packet { start, end, within });
        self.doubtful.clear();
        self.stalled = None;
        self.synced = end;
        self.at = end;
    }

    /// Give out all that is certain: everything before the first candidate that still waits or is doubtful.
    fn release(&mut self, out: &mut Vec<Item>) {
        let upto = self.doubtful.first_start().unwrap_or(u64::MAX).min(self.at);
        if upto == self.base {
            return;
        }
        let length = self.index(upto);
        // Splitting shares the allocation, so packets are slices of it.
        let bytes = self.buffer.split_to(length).freeze();
        let base = self.base;
        let slice = |start: u64, end: u64| bytes.slice((start - base) as usize..(end - base) as usize);
        out.reserve(self.found.len());
        let mut given = base;
        let mut told = self.told;
        let text = |from: u64, to: u64, told: u64, out: &mut Vec<Item>| {
            let from = from.max(told);
            if from < to {
                out.push(Item::Text(slice(from, to)));
            }
        };
        while self.found.front().is_some_and(|found| found.start() < upto) {
            match self.found.pop_front().expect("the front was looked at") {
                Found::Packet { start, end, within } => {
                    // A packet's first byte that ends a character as well is told as text too, as testr does.
                    let before = if given == base { self.before.as_slice() } else { &[] };
                    let since = &bytes[(given - base) as usize..=(start - base) as usize];
                    text(given, start + u64::from(ends_character(before, since)), told, out);
                    given = end;
                    out.push(match packet::decode(slice(start, end)) {
                        Ok(event) => Item::Packet { event, within },
                        Err(why) => Item::Damaged { bytes: slice(start, end), why },
                    });
                }
                Found::Damaged { start, end, told: damage } => {
                    text(given, start, told, out);
                    given = start;
                    told = end;
                    out.push(Item::Damaged { bytes: damage.bytes, why: damage.why });
                }
            }
        }
        text(given, upto, told, out);
        self.told = told;
        if given > base {
            // A packet's bytes are no characters.
            self.before.clear();
        }
        let since = &bytes[(given - base) as usize..];
        self.before.extend_from_slice(&since[since.len().saturating_sub(BEFORE)..]);
        self.before.drain(..self.before.len().saturating_sub(BEFORE));
        self.base = upto;
        self.marks.forget(upto);
    }
}

/// Whether the last byte ends a character of UTF-8 that earlier ones began, perhaps ones before these.
fn ends_character(before: &[u8], bytes: &[u8]) -> bool {
    let within = &bytes[bytes.len().saturating_sub(BEFORE + 1)..];
    let previous = if let [.., previous, _] = within { Some(previous) } else { before.last() };
    if previous.is_none_or(u8::is_ascii) {
        return false;
    }
    let mut last = [before, within].concat();
    last.drain(..last.len().saturating_sub(BEFORE + 1));
    let is_one = |from: usize| std::str::from_utf8(&last[from..]).is_ok_and(|text| text.chars().count() == 1);
    (0..last.len().saturating_sub(1)).any(is_one)
}

const _: () = assert!(MAX_PACKET == 0x3F_FFFF, "packet::start takes lengths of at most three bytes");
