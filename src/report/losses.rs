//! The tests of a run that no runner gave an outcome, for the short list at its end.
//!
//! Keeps how many there are and the first few ids. Used by [`super::Report`] only.

use bytestring::ByteString;

use crate::event::{FinishedTest, Loss, RunEvent};

/// How many of each kind are named.
const NAMED: usize = 5;

/// The kinds, in the order in which they are told, each with the words for it.
const KINDS: [(Loss, &str); 4] = [
    (Loss::Crashed, "crashed their runner"),
    (Loss::TimedOut, "timed out"),
    (Loss::Lost, "lost"),
    (Loss::NotRun, "not run"),
];

/// The tests, by kind.
#[derive(Debug, Default)]
pub(super) struct Losses([Kind; KINDS.len()]);

#[derive(Debug, Default)]
struct Kind {
    count: usize,
    first: Vec<ByteString>,
}

impl Losses {
    /// Something happened: tests may have been named that were not run, and do not fail for it.
    pub(super) fn event(&mut self, event: &RunEvent) {
        if let RunEvent::NotRun { tests } = event {
            tests.iter().for_each(|id| self.add(Loss::NotRun, || id.as_str().into()));
        }
    }

    /// A test ended.
    pub(super) fn test(&mut self, test: &FinishedTest) {
        if let Some(loss) = test.loss {
            self.add(loss, || test.id.clone());
        }
    }

    fn add(&mut self, loss: Loss, id: impl FnOnce() -> ByteString) {
        let Some(kind) = KINDS.iter().position(|(kind, _)| *kind == loss) else { return };
        let kind = &mut self.0[kind];
        kind.count += 1;
        if kind.first.len() < NAMED {
            kind.first.push(id());
        }
    }

    /// A line for each kind that there is.
    pub(super) fn lines(&self) -> Vec<String> {
        let there = KINDS.iter().zip(&self.0).filter(|(_, kind)| kind.count > 0);
        there
            .map(|((_, words), Kind { count, first })| {
                let named: Vec<&str> = first.iter().map(|id| &**id).collect();
                let more = match count - named.len() {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                format!("{words} ({count}): {}{more}", named.join(", "))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_few_of_each_kind_are_named() {
        let mut losses = Losses::default();
        assert!(losses.lines().is_empty());
        let test = |id: &str, loss| FinishedTest { id: id.into(), loss, ..FinishedTest::default() };
        for (id, loss) in
            [("l", Some(Loss::Lost)), ("a", None), ("c1", Some(Loss::Crashed)), ("c2", Some(Loss::Crashed))]
        {
            losses.test(&test(id, loss));
        }
        losses.event(&RunEvent::NotRun { tests: (0..6).map(|n| format!("n{n}").as_str().into()).collect() });
        losses.test(&test("n6", Some(Loss::NotRun)));
        losses.test(&test("t", Some(Loss::TimedOut)));
        assert_eq!(
            losses.lines(),
            [
                "crashed their runner (2): c1, c2",
                "timed out (1): t",
                "lost (1): l",
                "not run (7): n0, n1, n2, n3, n4 and 2 more"
            ]
        );
    }
}
