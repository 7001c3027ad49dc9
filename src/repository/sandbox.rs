//! A repository for tests to store runs in, and tests that ended.

use std::fs;
use std::path::PathBuf;

use super::Repository;
use crate::attachment::Attachment;
use crate::event::{Counts, FinishedTest, RunEnd, Sink, Stamp, Status};

/// A repository of its own.
pub(super) struct Sandbox {
    dir: tempfile::TempDir,
    pub(super) repository: Repository,
}

impl Sandbox {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let repository = Repository::init(dir.path()).unwrap();
        Self { dir, repository }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(".testrepository").join(name)
    }

    pub(super) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// The names in a directory of the repository, sorted.
    pub(super) fn names(&self, dir: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(dir)) else { return vec![] };
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Store a run of these tests: `a` passes, `a!` fails, `a?` never ended.
    pub(super) fn run(&self, tests: &[&str], partial: bool) -> RunEnd {
        let mut inserter = self.repository.inserter("run");
        for spec in tests {
            inserter.test(&test(spec)).unwrap();
        }
        let mut end = end(partial);
        inserter.finish(&mut end).unwrap();
        end
    }

    pub(super) fn failing(&self) -> Vec<String> {
        self.repository.failing_ids().unwrap().iter().map(ToString::to_string).collect()
    }
}

/// A test of a quarter of a second with a log: `a` passes, `a!` fails, `a?` never ended, `a=` is only listed, `a*` passed
/// against expectation.
pub(super) fn test(spec: &str) -> FinishedTest {
    let (id, status) = match spec.split_at(spec.len() - 1) {
        (id, "!") => (id, Some(Status::Fail)),
        (id, "?") => (id, None),
        (id, "=") => (id, Some(Status::Exists)),
        (id, "*") => (id, Some(Status::UnexpectedSuccess)),
        _ => (spec, Some(Status::Success)),
    };
    let body = format!("test: other\nfailure: {id}\n]\n").into_bytes();
    FinishedTest {
        id: id.into(),
        status,
        tags: vec!["worker-0".into()],
        start: Stamp::from_timestamp(100, 1_999).unwrap(),
        stop: status.map(|_| Stamp::from_timestamp(100, 250_002_400).unwrap()),
        attachments: vec![Attachment { name: "log".into(), mime: Some("text/plain".into()), body: body.into() }],
        ..FinishedTest::default()
    }
}

/// The end of a run.
pub(super) fn end(partial: bool) -> RunEnd {
    RunEnd { at: Stamp::default(), partial, interrupted: false, id: None, previous: None, counts: Counts::default() }
}
