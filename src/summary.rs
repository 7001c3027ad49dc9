//! The fold of a run's events into counts and a verdict, as testr's summary counts.  (pure)
//!
//! Fed by [`crate::report`] with every event and every finished test; it keeps nothing of single tests.

use std::collections::BTreeSet;

use crate::event::{Counts, FinishedTest, RunEvent, Status};

/// The fold.
#[derive(Debug, Default)]
pub struct Summary {
    counts: Counts,
    filter_tags: BTreeSet<String>,
}

impl Summary {
    /// A fold that takes tests with one of these tags out of the count (`filter_tags`).
    #[must_use]
    pub fn new(filter_tags: BTreeSet<String>) -> Self {
        Self { counts: Counts::default(), filter_tags }
    }

    /// Take an event's time into account.
    pub fn event(&mut self, event: &RunEvent) {
        let (RunEvent::Test { at, .. } | RunEvent::Text { at, .. }) = event else { return };
        let counts = &mut self.counts;
        counts.first = Some(counts.first.map_or(*at, |first| first.min(*at)));
        counts.last = Some(counts.last.map_or(*at, |last| last.max(*at)));
    }

    /// Count a test that ended, or never will.
    pub fn test(&mut self, test: &FinishedTest) {
        if test.status == Some(Status::Exists) {
            return;
        }
        self.counts.tests += 1;
        if test.is_failure() {
            self.counts.failures += 1;
        } else if test.tags.iter().any(|tag| self.filter_tags.contains(&**tag)) {
            self.counts.tests -= 1;
        }
        if test.status == Some(Status::Skip) {
            self.counts.skips += 1;
        }
    }

    /// The counts so far.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::event::Stamp;

    fn test(status: Option<Status>, tags: &[&str]) -> FinishedTest {
        FinishedTest {
            id: "t".into(),
            status,
            tags: tags.iter().map(|t| (*t).into()).collect(),
            ..FinishedTest::default()
        }
    }

    #[test]
    fn filtered_tests_count_only_when_they_fail() {
        let mut summary = Summary::new(BTreeSet::from(["layer".to_owned()]));
        for (status, tags) in [
            (Some(Status::Success), &["slow"][..]),
            (Some(Status::Success), &["layer"]),
            (Some(Status::Skip), &["layer"]),
            (Some(Status::Fail), &["layer"]),
            (None, &[]),
            (Some(Status::Exists), &[]),
            (Some(Status::UnexpectedSuccess), &[]),
        ] {
            summary.test(&test(status, tags));
        }
        let counts = summary.counts();
        assert_eq!((counts.tests, counts.failures, counts.skips), (4, 2, 1));
        assert!(!counts.passed());
    }

    #[test]
    fn time_goes_from_the_earliest_to_the_latest_in_any_order() {
        let mut summary = Summary::default();
        let at = |s| Stamp::from_timestamp(s, 0).unwrap();
        for s in [5, 3, 9] {
            summary.event(&RunEvent::Text { worker: crate::event::WorkerId(0), bytes: "x".into(), at: at(s) });
        }
        assert_eq!(summary.counts().elapsed(), Some(TimeDelta::seconds(6)));
        assert!(summary.counts().passed());
    }
}
