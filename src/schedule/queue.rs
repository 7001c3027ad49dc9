//! What waits to be handed out, and what the next worker gets.  (pure)
//!
//! Two ways to begin: [`Queue::fixed`] has batches that were decided before (testr's), [`Queue::by_group`] cuts batches off
//! as they are asked for, large ones first, so that instances end together. What comes back after a worker died goes
//! out again after all that is new. Groups are never divided.

use std::collections::VecDeque;

use super::TestNumber;

/// The queue.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    /// Batches that are as they are, or groups that batches are made of.
    new: VecDeque<Vec<TestNumber>>,
    is_fixed: bool,
    /// All groups are one batch.
    is_whole: bool,
    /// The size of the batches of the last round, once it has begun.
    last_share: usize,
    again: VecDeque<Again>,
}

/// A batch that goes out again.
#[derive(Clone, Debug)]
struct Again {
    tests: Vec<TestNumber>,
    /// The place where it must not go as long as there is another.
    avoid: Option<usize>,
}

/// Who asks for a batch.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    /// Which instance, if there are instances.
    pub place: Option<usize>,
    /// Whether there is another one that will ask, now or later.
    pub has_others: bool,
    /// How many there are in all.
    pub hands: usize,
    /// Whether a worker runs.
    pub others_run: bool,
    /// How many tests a batch should have, so that starting its worker is a small part of it.
    pub least: usize,
}

impl Queue {
    /// Batches that are handed out as they are; empty ones are left out.
    #[must_use]
    pub fn fixed(batches: Vec<Vec<TestNumber>>) -> Self {
        let new = batches.into_iter().filter(|batch| !batch.is_empty()).collect();
        Self { new, is_fixed: true, ..Self::default() }
    }

    /// Groups that are handed out in batches, in this order.
    #[must_use]
    pub fn by_group(groups: Vec<Vec<TestNumber>>) -> Self {
        Self { new: groups.into(), ..Self::default() }
    }

    /// Groups that are handed out together, where there is but one who asks.
    #[must_use]
    pub fn whole(groups: Vec<Vec<TestNumber>>) -> Self {
        Self { new: groups.into(), is_whole: true, ..Self::default() }
    }

    /// Whether its batches were decided before.
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        self.is_fixed
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.new.is_empty() && self.again.is_empty()
    }

    /// How many could be busy at once with what waits.
    #[must_use]
    pub fn width(&self) -> usize {
        self.new.len() + self.again.len()
    }

    /// Everything that waits.
    pub fn drain(&mut self) -> impl Iterator<Item = TestNumber> {
        let again = self.again.drain(..).map(|again| again.tests);
        self.new.drain(..).chain(again).flatten()
    }

    /// The next batch for this asker, if there is one that it may have.
    pub fn take(&mut self, asker: Asker) -> Option<Vec<TestNumber>> {
        if let Some(first) = self.new.pop_front() {
            return Some(if self.is_fixed { first } else { self.cut(first, asker) });
        }
        // testr's batches are one for each worker; what goes out again waits until they have ended.
        if self.is_fixed && asker.others_run {
            return None;
        }
        let may_have = |again: &Again| !asker.has_others || asker.place.is_none() || again.avoid != asker.place;
        let at = self.again.iter().position(may_have)?;
        self.again.remove(at).map(|again| again.tests)
    }

    /// Groups that were not begun come back as if they had never been out.
    pub fn give_back(&mut self, groups: Vec<Vec<TestNumber>>) {
        if self.is_fixed {
            self.push_again(groups.concat(), None);
        } else {
            groups.into_iter().rev().for_each(|group| self.new.push_front(group));
        }
    }

    /// These groups go out again together, elsewhere if possible.
    pub fn again(&mut self, groups: &[Vec<TestNumber>], avoid: Option<usize>) {
        self.push_again(groups.concat(), avoid);
    }

    fn push_again(&mut self, mut tests: Vec<TestNumber>, avoid: Option<usize>) {
        if !self.is_fixed {
            // The order of the listing; groups may be interleaved in it.
            tests.sort_unstable();
        }
        if !tests.is_empty() {
            self.again.push_back(Again { tests, avoid });
        }
    }

    /// A batch of half of what is a fair share of the rest, beginning with this group; more, up to that share, where
    /// starting a worker takes long.
    fn cut(&mut self, first: Vec<TestNumber>, asker: Asker) -> Vec<TestNumber> {
        let hands = asker.hands.max(1);
        let left = first.len() + self.new.iter().map(Vec::len).sum::<usize>();
        let fair = left.div_ceil(hands);
        if self.last_share == 0 && asker.least >= fair {
            // One more round: each who asks gets as much, where shares of what is then left would make many rounds.
            self.last_share = fair;
        }
        let share = match self.last_share {
            _ if self.is_whole => left,
            0 => fair.div_ceil(2).max(asker.least),
            last => last,
        };
        let mut batch = first;
        while let Some(group) = self.new.front()
            && batch.len() + group.len() <= share
        {
            batch.extend(self.new.pop_front().into_iter().flatten());
        }
        // The order of the listing; groups may be interleaved in it.
        batch.sort_unstable();
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALONE: Asker = Asker { place: None, has_others: false, hands: 2, others_run: false, least: 1 };

    fn singles(n: u32) -> Vec<Vec<TestNumber>> {
        (0..n).map(|test| vec![test]).collect()
    }

    #[test]
    fn batches_get_smaller_and_have_everything_once() {
        let mut queue = Queue::by_group(singles(40));
        let mut sizes = Vec::new();
        let mut out = Vec::new();
        while let Some(batch) = queue.take(ALONE) {
            sizes.push(batch.len());
            out.extend(batch);
        }
        assert_eq!(sizes, [10, 8, 6, 4, 3, 3, 2, 1, 1, 1, 1]);
        assert_eq!(out, (0..40).collect::<Vec<_>>());
    }

    #[test]
    fn where_a_start_takes_long_the_rest_is_dealt_out_at_once() {
        let mut queue = Queue::by_group(singles(40));
        let slow = Asker { least: 1000, ..ALONE };
        let sizes = [ALONE, slow, slow].map(|asker| queue.take(asker).unwrap().len());
        assert_eq!((sizes, queue.is_empty()), ([10, 15, 15], true));
    }

    #[test]
    fn groups_stay_whole_and_in_the_order_of_the_listing() {
        let mut queue = Queue::by_group(vec![vec![0, 3, 4], vec![1], vec![2], vec![5]]);
        assert_eq!(queue.take(Asker { hands: 1, ..ALONE }).unwrap(), [0, 3, 4]);
        assert_eq!(queue.take(Asker { hands: 1, ..ALONE }).unwrap(), [1, 2]);
    }

    #[test]
    fn what_goes_out_again_goes_elsewhere_if_there_is_another_place() {
        let mut queue = Queue::by_group(vec![]);
        queue.again(&[vec![7]], Some(0));
        let here = Asker { place: Some(0), has_others: true, ..ALONE };
        assert_eq!(queue.take(here), None);
        assert_eq!(queue.take(Asker { place: Some(1), ..here }), Some(vec![7]));
        queue.again(&[vec![7]], Some(0));
        assert_eq!(queue.take(Asker { has_others: false, ..here }), Some(vec![7]));
    }

    #[test]
    fn fixed_batches_are_as_they_are_and_the_rest_waits_for_them() {
        let mut queue = Queue::fixed(vec![vec![2, 0], vec![], vec![1]]);
        assert_eq!((queue.take(ALONE), queue.width()), (Some(vec![2, 0]), 1));
        queue.give_back(vec![vec![2], vec![0]]);
        let while_others_run = Asker { others_run: true, ..ALONE };
        assert_eq!(queue.take(while_others_run), Some(vec![1]));
        assert_eq!(queue.take(while_others_run), None);
        assert_eq!(queue.take(ALONE), Some(vec![2, 0]));
        assert!(queue.is_empty());
    }
}
