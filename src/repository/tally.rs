//! What is kept of each test of a run until its end: its id, how long it took, how it ended.
//!
//! Filled by the inserter, used up by [`super::store`]. Touches no file.

use std::collections::HashMap;

use super::failing::{Failing, Place};
use super::id_table::{IdTable, Number};
use crate::event::{FinishedTest, Stamp};

/// The tests of a run, each id once.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Their true ids.
    pub(super) ids: IdTable,
    /// How long each took when it last ended, in seconds.
    pub(super) seconds: Vec<Option<f64>>,
    /// Those whose last outcome is a failure.
    pub(super) failing: Failing,
    /// Whether each ever ended without a failure.
    has_passed: Vec<bool>,
    /// The tests whose id is written in another way, by that.
    written: HashMap<Box<[u8]>, Number>,
}

impl Tally {
    /// A test ended, and its record is at `place`, with the id as `written` if that is another.
    pub(super) fn count(&mut self, test: &FinishedTest, written: Option<Vec<u8>>, place: Place) {
        let number = self.ids.intern(test.id.as_bytes());
        let n = number as usize;
        self.seconds.resize(self.ids.len(), None);
        self.has_passed.resize(self.ids.len(), false);
        if let Some(stop) = test.stop {
            // Exact for less than 285 years.
            let seconds = (micros(stop) - micros(test.start)) as f64 / 1e6;
            self.seconds[n] = Some(seconds);
        }
        if test.is_failure() {
            self.failing.fail(number, place);
        } else {
            self.failing.pass(number);
            self.has_passed[n] = true;
        }
        if let Some(written) = written {
            self.written.insert(written.into(), number);
        }
    }

    /// The number of the test whose id is written so in a record; a new one if it is not of this run.
    pub(super) fn number_of_written(&mut self, id: &[u8]) -> Number {
        match self.written.get(id) {
            Some(number) => *number,
            None => {
                let number = self.ids.intern(id);
                self.seconds.resize(self.ids.len(), None);
                number
            }
        }
    }

    /// Whether this run has seen the test end without a failure.
    pub(super) fn has_passed(&self, test: Number) -> bool {
        self.has_passed.get(test as usize).is_some_and(|passed| *passed)
    }
}

/// Microseconds since 1970, rounded as Python's `timedelta` does it for subunit's times: a half to the even one.
fn micros(at: Stamp) -> i64 {
    let (micros, rest) = (at.timestamp_micros(), at.timestamp_subsec_nanos() % 1000);
    micros + i64::from(rest > 500 || rest == 500 && micros % 2 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_as_python_does() {
        for (nanos, expect) in [(1_499, 1), (1_500, 2), (2_500, 2), (2_501, 3), (-500, 0), (-501, -1), (-1_500, -2)] {
            assert_eq!(micros(Stamp::from_timestamp_nanos(nanos)), expect, "{nanos}");
        }
    }
}
