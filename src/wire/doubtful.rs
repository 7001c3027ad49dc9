//! The candidates of a stream that may be packets and are treated as text until their last byte is there.
//!
//! There can be as many as bytes in four megabytes of junk, so adding and settling one is cheap at any number. Called
//! by [`super::scan`] only.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// Candidates as positions of start and end, added in the order of their starts.
#[derive(Debug, Default)]
pub(super) struct Doubtful {
    by_end: BinaryHeap<Reverse<(u64, u64)>>,
    /// Starts and ends. Some were settled already: those that end no later than `settled`.
    by_start: VecDeque<(u64, u64)>,
    settled: u64,
}

impl Doubtful {
    pub(super) fn push(&mut self, start: u64, end: u64) {
        self.by_end.push(Reverse((end, start)));
        self.by_start.push_back((start, end));
    }

    /// Where the one that ends first ends.
    pub(super) fn next_end(&self) -> Option<u64> {
        self.by_end.peek().map(|Reverse((end, _))| *end)
    }

    /// Take out the one that ends first; of several, the one that began first.
    pub(super) fn pop(&mut self) -> Option<(u64, u64)> {
        let Reverse((end, start)) = self.by_end.pop()?;
        self.settled = end;
        Some((start, end))
    }

    /// Where the first of them begins. Between settling two that end together this may still name the second's start.
    pub(super) fn first_start(&mut self) -> Option<u64> {
        while self.by_start.front().is_some_and(|(_, end)| *end <= self.settled) {
            self.by_start.pop_front();
        }
        self.by_start.front().map(|(start, _)| *start)
    }

    /// Whether the one that begins at `start` is among them and was not taken out.
    pub(super) fn contains(&self, start: u64) -> bool {
        let found = self.by_start.binary_search_by_key(&start, |(start, _)| *start);
        found.is_ok_and(|index| self.by_start[index].1 > self.settled)
    }

    pub(super) fn clear(&mut self) {
        self.by_end.clear();
        self.by_start.clear();
    }
}
