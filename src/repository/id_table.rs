//! A set of test ids, each known by a small number, in little more memory than the ids' own bytes.
//!
//! For a million ids two allocations instead of a million. Touches no file; the inserter, the list of failing
//! tests and `times.dbm` use it.

use std::hash::{BuildHasher, RandomState};

/// The number of an id in its table, counted from 0 in the order in which ids came.
pub(super) type Number = u32;

/// A place in the hash table: the id's number, and of its hash what tells most others apart without a look at them.
#[derive(Clone, Copy, Debug)]
struct Slot {
    number: Number,
    hash: u32,
}

const FREE: Slot = Slot { number: Number::MAX, hash: 0 };

impl Slot {
    fn is_free(self) -> bool {
        self.number == FREE.number
    }
}

/// The ids, their bytes one after the other, and a hash table of their numbers.
#[derive(Debug, Default)]
pub(super) struct IdTable {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    slots: Vec<Slot>,
    hasher: RandomState,
}

impl IdTable {
    /// How many ids there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The id with this number.
    pub(super) fn id(&self, number: Number) -> &[u8] {
        let n = number as usize;
        let start = if n == 0 { 0 } else { self.ends[n - 1] };
        &self.bytes[start..self.ends[n]]
    }

    /// The number of this id, if it is here.
    pub(super) fn find(&self, id: &[u8]) -> Option<Number> {
        if self.slots.is_empty() {
            return None;
        }
        let slot = self.slots[self.find_slot(id, self.hash(id))];
        (!slot.is_free()).then_some(slot.number)
    }

    /// The number of this id, which is put in if it is not here yet.
    pub(super) fn intern(&mut self, id: &[u8]) -> Number {
        // At most three quarters full, so that a search ends soon.
        if self.slots.len() <= self.len() + self.len() / 3 {
            self.grow();
        }
        let hash = self.hash(id);
        let slot = self.find_slot(id, hash);
        if self.slots[slot].is_free() {
            let number = Number::try_from(self.len()).expect("fewer than four thousand million tests");
            self.slots[slot] = Slot { number, hash };
            self.bytes.extend_from_slice(id);
            self.ends.push(self.bytes.len());
        }
        self.slots[slot].number
    }

    // A part of the hash is enough.
    fn hash(&self, id: &[u8]) -> u32 {
        self.hasher.hash_one(id) as u32
    }

    /// Where this id is, or where it would go.
    fn find_slot(&self, id: &[u8], hash: u32) -> usize {
        self.probe(hash, |slot| slot.hash == hash && self.id(slot.number) == id)
    }

    /// The first slot for this hash that is free or the one that is looked for.
    fn probe(&self, hash: u32, is_it: impl Fn(Slot) -> bool) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while !self.slots[at].is_free() && !is_it(self.slots[at]) {
            at = (at + 1) & mask;
        }
        at
    }

    fn grow(&mut self) {
        // A power of two, which the mask needs.
        let larger = vec![FREE; (self.slots.len() * 2).max(16)];
        for slot in std::mem::replace(&mut self.slots, larger) {
            if !slot.is_free() {
                let at = self.probe(slot.hash, |_| false);
                self.slots[at] = slot;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_keep_the_number_they_got() {
        let mut table = IdTable::default();
        assert_eq!(table.find(b"t0"), None);
        for round in 0..2 {
            for n in 0..1000_u32 {
                assert_eq!(table.intern(format!("t{n}").as_bytes()), n, "round {round}");
            }
        }
        assert_eq!(table.len(), 1000);
        assert_eq!((table.find(b"t999"), table.find(b"t1000"), table.find(b"")), (Some(999), None, None));
        assert_eq!((table.id(0), table.id(42)), (&b"t0"[..], &b"t42"[..]));
        assert_eq!(table.intern(b""), 1000);
        assert_eq!(table.id(1000), b"");
    }
}
