//! `run --analyze-isolation`: which test makes another one fail.
//!
//! As testr does it: each failing test is run by itself; one that then passes was made to fail by a test that ran before
//! it on the same worker of the last run, which is found by halving. Beyond testr it says how far it is, keeps what it
//! has found when it is interrupted, and tells when it takes more than one other test.

use std::collections::HashMap;
use std::ops::Range;

use super::Exit;
use super::run::one_batch;
use crate::error::Error;
use crate::event::{RunEnd, RunEvent, Status};
use crate::report::table;
use crate::repository::Repository;
use crate::run::Session;
use crate::run::supervisor::Work;
use crate::test_id::TestId;

/// testr's words for a test that nothing was found for.
const UNKNOWN: &str = "unknown - no conflicts";

/// Analyse these failing tests.
pub(super) async fn analyze(
    session: &mut Session,
    repository: &Repository,
    failing: Vec<TestId>,
) -> Result<Exit, Error> {
    let order = Order::of(repository)?;
    let mut analysis = Analysis { session, repository };
    let spurious = analysis.spurious(failing).await?;
    let mut found = Vec::new();
    for (n, id) in spurious.iter().enumerate() {
        let before = order.before(id);
        let progress = format!("{id} ({} of {}) passes by itself", n + 1, spurious.len());
        analysis.say(format!("{progress}; {} tests ran before it", before.len()));
        // Interrupted: what was found so far still counts.
        let Some(cause) = analysis.cause(id, &before).await? else { break };
        found.push([id.to_string(), cause]);
    }
    if analysis.session.interrupt().is_some() {
        analysis.say(format!("interrupted with {} of {} analysed", found.len(), spurious.len()));
    }
    if found.is_empty() {
        return Ok(Exit::Passed);
    }
    let heading = ["failing test".to_owned(), "caused by test".to_owned()];
    let rows: Vec<Vec<String>> = std::iter::once(heading).chain(found).map(Vec::from).collect();
    session.tell(RunEvent::Print { bytes: table::format(&rows).into() });
    Ok(Exit::Conflicts)
}

struct Analysis<'a> {
    session: &'a mut Session,
    repository: &'a Repository,
}

impl Analysis<'_> {
    fn say(&self, text: String) {
        self.session.tell(RunEvent::Note { text });
    }

    /// Those that pass by themselves.
    async fn spurious(&mut self, failing: Vec<TestId>) -> Result<Vec<TestId>, Error> {
        let mut spurious = Vec::new();
        for id in failing {
            let end = self.run(vec![id.clone()]).await?;
            if self.session.interrupt().is_some() {
                break;
            }
            if end.counts.passed() && self.has_result(&end, &id)? {
                spurious.push(id);
            }
        }
        Ok(spurious)
    }

    /// Whether this test is in this run. One that is gone did not pass; one with a tag of `filter_tags` did, though it is
    /// not counted.
    fn has_result(&self, end: &RunEnd, id: &TestId) -> Result<bool, Error> {
        let Some(run) = end.id else { return Ok(false) };
        for event in self.repository.run(run)? {
            let event = event.map_err(Error::failure)?;
            if event.id.as_deref() == Some(id.as_str()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What makes `id` fail, among the tests before it; nothing when a signal came.
    async fn cause(&mut self, id: &TestId, before: &[TestId]) -> Result<Option<String>, Error> {
        let mut bisection = Bisection::new(before.len());
        while let Some(range) = bisection.next() {
            self.say(format!("{id}: trying {} of {} tests before it", range.len(), bisection.width()));
            let Some(fails) = self.fails_after(id, &before[range]).await? else { return Ok(None) };
            bisection.answer(fails);
        }
        if let Some(at) = bisection.found {
            return Ok(Some(before[at].to_string()));
        }
        // Neither half alone: all of them together?
        if before.len() < 2 {
            return Ok(Some(UNKNOWN.to_owned()));
        }
        self.say(format!("{id}: trying all {} tests before it", before.len()));
        let Some(fails) = self.fails_after(id, before).await? else { return Ok(None) };
        let several = format!("several of the {} tests before it, together", before.len());
        Ok(Some(if fails { several } else { UNKNOWN.to_owned() }))
    }

    /// Whether `id` fails when these ran before it; nothing when a signal came.
    async fn fails_after(&mut self, id: &TestId, before: &[TestId]) -> Result<Option<bool>, Error> {
        let ids = before.iter().chain([id]).cloned().collect();
        self.run(ids).await?;
        if self.session.interrupt().is_some() {
            return Ok(None);
        }
        Ok(Some(self.repository.failing_ids()?.contains(id)))
    }

    /// One run, on one worker, in this order; stored as a partial one.
    async fn run(&mut self, ids: Vec<TestId>) -> Result<RunEnd, Error> {
        // A test that crashes its runner here has shown what it was to show.
        let work = Work { lost_limit: Some(1), ..one_batch(ids, false)? };
        Ok(self.session.run(work, true).await?)
    }
}

/// The tests of the last run, by worker, in the order in which they ended.
struct Order(HashMap<String, Vec<TestId>>);

impl Order {
    fn of(repository: &Repository) -> Result<Self, Error> {
        let mut workers: HashMap<String, Vec<TestId>> = HashMap::new();
        for event in repository.run(repository.latest_id()?)? {
            let event = event.map_err(Error::failure)?;
            if !event.status.is_some_and(Status::is_final) {
                continue;
            }
            let Some(id) = &event.id else { continue };
            let tags = event.tags.iter().filter(|tag| tag.starts_with("worker-"));
            for worker in tags.map(ToString::to_string) {
                workers.entry(worker).or_default().push(TestId::from(&**id));
            }
        }
        Ok(Self(workers))
    }

    /// What ran before this test where it ran.
    fn before(&self, id: &TestId) -> Vec<TestId> {
        let ran = self.0.values().filter_map(|tests| {
            let at = tests.iter().position(|test| test == id)?;
            Some(&tests[..at])
        });
        ran.flatten().cloned().collect()
    }
}

/// testr's search for one cause among candidates, by halving.
struct Bisection {
    left: Range<usize>,
    found: Option<usize>,
}

impl Bisection {
    fn new(candidates: usize) -> Self {
        Self { left: 0..candidates, found: None }
    }

    /// How many candidates are left.
    fn width(&self) -> usize {
        self.left.len()
    }

    /// Which to try next; nothing when there is nothing left to try.
    fn next(&self) -> Option<Range<usize>> {
        let half = self.left.len().div_ceil(2);
        (half > 0).then(|| self.left.start..self.left.start + half)
    }

    /// Whether the last ones tried made the test fail.
    fn answer(&mut self, fails: bool) {
        let Some(tried) = self.next() else { return };
        if self.left.len() == 1 {
            self.found = fails.then_some(tried.start);
            self.left = tried.end..tried.end;
        } else if fails {
            self.left.end = tried.end;
        } else {
            self.left.start = tried.end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Search for `cause` among `candidates`: what is found, and the ranges that were tried.
    fn search(candidates: usize, cause: impl Fn(&Range<usize>) -> bool) -> (Option<usize>, Vec<Range<usize>>) {
        let mut bisection = Bisection::new(candidates);
        let mut tried = Vec::new();
        while let Some(range) = bisection.next() {
            bisection.answer(cause(&range));
            tried.push(range);
        }
        (bisection.found, tried)
    }

    #[test]
    fn every_single_cause_is_found_in_a_logarithm_of_steps() {
        for candidates in 1usize..70 {
            for cause in 0..candidates {
                let (found, tried) = search(candidates, |range| range.contains(&cause));
                assert_eq!(found, Some(cause));
                assert!(tried.len() <= candidates.next_power_of_two().ilog2() as usize + 1);
            }
        }
    }

    #[test]
    fn ranges_are_tried_as_testr_tries_them() {
        assert_eq!(search(3, |range| range.contains(&1)), (Some(1), vec![0..2, 0..1, 1..2]));
    }

    #[test]
    fn two_causes_together_are_not_found_one_by_one() {
        assert_eq!(search(8, |range| range.contains(&0) && range.contains(&7)).0, None);
        assert_eq!(search(0, |_| true), (None, vec![]));
    }
}
