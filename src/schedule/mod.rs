//! Which tests run together, and in which order they are handed out.  (pure)
//!
//! [`partition`] is testr's own way: one batch for each worker, decided before the run from recorded times. [`Queue`]
//! hands batches out, also those that have to go out again. Called by [`crate::commands`], which knows the times, and
//! by the supervisor, which knows who is free.

mod partition;
mod queue;

pub use partition::partition;
pub use queue::{Asker, Queue};

use std::collections::HashMap;

use crate::test_id::{Groups, IdError, TestId};

/// The place of a test in a [`Suite`], from 0. An id that is listed twice is two tests.
pub type TestNumber = u32;

/// The tests of a run, in the order in which they were listed, with their groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suite {
    ids: Vec<TestId>,
    groups: Vec<u32>,
}

impl Suite {
    /// Tests whose ids begin with the same match of `groups` are a group; without it each id is one, however often it
    /// is listed.
    ///
    /// # Errors
    /// When the pattern cannot be matched against an id.
    ///
    /// # Panics
    /// With more than 4 thousand million tests.
    pub fn new(ids: Vec<TestId>, groups: Option<&Groups>) -> Result<Self, IdError> {
        let mut numbers: HashMap<&str, u32> = HashMap::with_capacity(ids.len());
        let mut of = Vec::with_capacity(ids.len());
        for id in &ids {
            let key = groups.map_or(Ok(id.as_str()), |groups| groups.key(id))?;
            let next = u32::try_from(numbers.len()).expect("fewer than 2^32 tests");
            of.push(*numbers.entry(key).or_insert(next));
        }
        Ok(Self { groups: of, ids })
    }

    /// How many tests there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The id of a test.
    #[must_use]
    pub fn id(&self, test: TestNumber) -> &TestId {
        &self.ids[test as usize]
    }

    /// All ids, in order.
    #[must_use]
    pub fn ids(&self) -> &[TestId] {
        &self.ids
    }

    /// The group of a test: groups are numbered in the order of their first tests.
    #[must_use]
    pub fn group(&self, test: TestNumber) -> u32 {
        self.groups[test as usize]
    }

    /// All tests, in order.
    pub fn tests(&self) -> impl Iterator<Item = TestNumber> + use<> {
        0..u32::try_from(self.ids.len()).expect("fewer than 2^32 tests")
    }

    /// These tests by group, the groups in the order in which they first come, the tests of each in theirs.
    #[must_use]
    pub fn grouped(&self, tests: impl IntoIterator<Item = TestNumber>) -> Vec<Vec<TestNumber>> {
        let mut found: Vec<Vec<TestNumber>> = Vec::new();
        let mut places: HashMap<u32, usize> = HashMap::new();
        for test in tests {
            let place = *places.entry(self.group(test)).or_insert(found.len());
            if place == found.len() {
                found.push(Vec::new());
            }
            found[place].push(test);
        }
        found
    }
}
