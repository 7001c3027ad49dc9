//! testr's static split: one batch a worker, from recorded times, groups never divided.  (pure)
//!
//! The result is testr's own to the last id, since people compare runs by their `worker-N`:
//! groups whose tests all have a time go first, longest first, each to the worker with the least time so far, then
//! with the fewest tests; groups with some times follow in the same way; groups without any are dealt out in turn,
//! beginning with the first worker, in the order of the listing.

use std::collections::{HashMap, HashSet};

use super::{Suite, TestNumber};
use crate::test_id::TestId;

/// A group, by the order in which its first test was listed.
struct Group {
    tests: Vec<TestNumber>,
    /// Seconds, over those of its tests that have a time.
    seconds: f64,
    /// Whether each of its tests has a time.
    complete: bool,
}

/// Split a suite over `workers` batches; some may be empty. `times` are seconds.
#[must_use]
pub fn partition(suite: &Suite, workers: usize, times: &HashMap<TestId, f64>) -> Vec<Vec<TestNumber>> {
    let mut timed = Vec::new();
    let mut partial = Vec::new();
    let mut unknown = Vec::new();
    for group in gather(suite, times) {
        // A group that is timed in part at 0 s counts as unknown, as in testr.
        match group {
            Group { complete: true, .. } => timed.push(group),
            Group { seconds, .. } if seconds != 0.0 => partial.push(group),
            _ => unknown.push(group),
        }
    }
    let mut batches = vec![Vec::new(); workers];
    let mut loads: Vec<Load> = (0..workers).map(|worker| Load { seconds: 0.0, tests: 0, worker }).collect();
    for mut queue in [timed, partial] {
        queue.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        for group in queue {
            let least = &mut loads[0];
            least.seconds += group.seconds;
            least.tests += group.tests.len();
            batches[least.worker].extend(group.tests);
            settle(&mut loads);
        }
    }
    for (n, group) in unknown.into_iter().enumerate() {
        batches[n % workers].extend(group.tests);
    }
    batches
}

struct Load {
    seconds: f64,
    tests: usize,
    worker: usize,
}

/// Move the first worker, which just got heavier, behind all that are lighter now.
///
/// The others are in order already, so this is testr's stable sort without sorting all of them for each group.
fn settle(loads: &mut [Load]) {
    let mut at = 0;
    while at + 1 < loads.len() {
        let (moved, next) = (&loads[at], &loads[at + 1]);
        let order = next.seconds.total_cmp(&moved.seconds).then(next.tests.cmp(&moved.tests));
        if order.is_ge() {
            break;
        }
        loads.swap(at, at + 1);
        at += 1;
    }
}

fn gather(suite: &Suite, times: &HashMap<TestId, f64>) -> Vec<Group> {
    let mut counted = HashSet::new();
    let groups = suite.grouped(suite.tests()).into_iter().map(|tests| {
        let mut group = Group { tests, seconds: 0.0, complete: true };
        for id in group.tests.iter().map(|test| suite.id(*test)) {
            // An id that is listed twice runs twice, and its time counts once.
            if counted.insert(id) {
                match times.get(id) {
                    Some(seconds) => group.seconds += seconds,
                    None => group.complete = false,
                }
            }
        }
        group
    });
    groups.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_id::Groups;

    /// Ids as `name` or `name=seconds`, split over `workers`; the batches come back as one line each.
    fn check(listed: &str, workers: usize, group_regex: &str, expected: &[&str]) {
        let mut times = HashMap::new();
        let mut ids = Vec::new();
        for word in listed.split_whitespace() {
            let (name, seconds) = word.split_once('=').map_or((word, None), |(n, s)| (n, Some(s)));
            ids.push(TestId::from(name));
            if let Some(seconds) = seconds {
                times.insert(TestId::from(name), seconds.parse().unwrap());
            }
        }
        let groups = Groups::new(group_regex).unwrap();
        let suite = Suite::new(ids, groups.as_ref()).unwrap();
        let name = |test: &TestNumber| suite.id(*test).as_str();
        let batches = partition(&suite, workers, &times);
        let lines: Vec<String> = batches.iter().map(|b| b.iter().map(name).collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(lines, expected, "{listed}");
    }

    // The expected splits were read off real testr 0.0.22.
    #[test]
    fn splits_are_those_of_testr() {
        check("t0 t1 t2 t3 t4 t5 t6", 3, "", &["t0 t3 t6", "t1 t4", "t2 t5"]);
        check("a=1 b=8 c=5 d=3.5 e=2", 2, "", &["b e", "c d a"]);
        check("a=1 b=8 c=5 d=3.5 e=2", 3, "", &["b", "c a", "d e"]);
        check("u1 a=4 u2 b=2 c=1 u3 u4", 2, "", &["a u1 u3", "b c u2 u4"]);
        check("a b a c", 2, "", &["a a c", "b"]);
        check("a=0 b=0 c=0", 2, "", &["a", "b c"]);
    }

    #[test]
    fn groups_are_never_divided_and_keep_the_order_of_the_listing() {
        let listed = "m.Case.one m.Case.two x.m.Case.p other.1 m.Case.three y.m.Case.q other.2 x.m.Case.r";
        let expected = ["m.Case.one m.Case.two m.Case.three other.1 other.2", "x.m.Case.p x.m.Case.r y.m.Case.q"];
        check(listed, 2, r"([^\.]+\.)+Case", &expected);
    }

    #[test]
    fn a_group_with_some_times_comes_after_those_with_all() {
        check("a.1=9 a.2 b.1=1 b.2=1 c.1", 2, r"[a-z]\.", &["b.1 b.2 c.1", "a.1 a.2"]);
    }

    proptest::proptest! {
        #[test]
        fn every_listed_id_is_in_exactly_one_batch(
            names in proptest::collection::vec("[a-d]\\.[0-9]", 0..60), workers in 1usize..9, timed in 0u8..10,
        ) {
            let ids: Vec<TestId> = names.iter().map(|n| n.as_str().into()).collect();
            let times = ids.iter().filter(|id| id.as_str().as_bytes()[2] - b'0' < timed).map(|id| (id.clone(), 1.5)).collect();
            let groups = Groups::new(r"[a-d]\.").unwrap();
            let suite = Suite::new(ids, groups.as_ref()).unwrap();
            let batches = partition(&suite, workers, &times);
            let mut dealt: Vec<TestNumber> = batches.iter().flatten().copied().collect();
            dealt.sort_unstable();
            assert_eq!(dealt, suite.tests().collect::<Vec<_>>());
            for letter in ["a", "b", "c", "d"] {
                let holders = batches.iter().filter(|b| b.iter().any(|test| suite.id(*test).as_str().starts_with(letter))).count();
                assert!(holders <= 1, "group {letter} was divided");
            }
        }
    }
}
