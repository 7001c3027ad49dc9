//! What the sinks of a report are told, and in which order.

use std::io::Read;
use std::sync::{Arc, Mutex};

use super::*;
use crate::event::{Counts, FileChunk, Loss, Stamp, Status, TestEvent, WorkerId};

/// Writes down what it is told.
#[derive(Clone, Default)]
struct Witness(Arc<Mutex<Vec<String>>>);

impl Witness {
    fn say(&self, line: String) -> Result<(), SinkError> {
        self.0.lock().unwrap().push(line);
        Ok(())
    }

    fn ended(&self, what: &str, test: &FinishedTest) -> Result<(), SinkError> {
        let mut line = format!("{what} {} {}", test.id, test.status.map_or("-", Status::as_str));
        line += &test.loss.map_or(String::new(), |loss| format!(" ({})", loss.as_str()));
        line += &format!(" from {}", test.start.timestamp());
        for tag in &test.tags {
            line += &format!(" {tag}");
        }
        for attachment in &test.attachments {
            let mut text = String::new();
            attachment.body.read().unwrap().read_to_string(&mut text).unwrap();
            line += &format!(" {}={text}", attachment.name);
        }
        self.say(line)
    }
}

impl Sink for Witness {
    fn event(&mut self, event: &RunEvent) -> Result<(), SinkError> {
        match event {
            RunEvent::Note { text } => self.say(format!("note {text}")),
            _ => Ok(()),
        }
    }

    fn test(&mut self, test: &FinishedTest) -> Result<(), SinkError> {
        self.ended("test", test)
    }

    fn attempt(&mut self, test: &FinishedTest) -> Result<(), SinkError> {
        self.ended("attempt", test)
    }

    fn finish(&mut self, end: &mut RunEnd) -> Result<(), SinkError> {
        self.say(format!("end {} {} {}", end.counts.tests, end.counts.failures, end.counts.skips))
    }
}

fn at(seconds: i64) -> Stamp {
    Stamp::from_timestamp(seconds, 0).unwrap()
}

fn end() -> RunEnd {
    let at = Stamp::default();
    RunEnd { at, partial: false, interrupted: false, id: None, previous: None, counts: Counts::default() }
}

/// An event of a test on a worker whose route is `0`: a status, and perhaps a log.
fn event(id: &str, status: Status, worker: u32, log: &str, seconds: i64) -> RunEvent {
    let file = (!log.is_empty()).then(|| FileChunk {
        name: "log".into(),
        mime: None,
        bytes: log.to_owned().into(),
        eof: true,
    });
    let event = TestEvent {
        id: Some(id.into()),
        status: Some(status),
        worker_tag: Some(WorkerId(worker).tag()),
        route: Some("0".into()),
        file,
        ..TestEvent::default()
    };
    RunEvent::Test { event, at: at(seconds) }
}

fn started(worker: u32, tests: &[&str]) -> RunEvent {
    let tests = Some(tests.iter().map(|id| (*id).into()).collect());
    RunEvent::WorkerStarted { worker: WorkerId(worker), instance: Some(format!("i{worker}")), tests, at: at(0) }
}

#[track_caller]
fn check(retries: bool, events: &[RunEvent], expected: &[&str]) {
    let witness = Witness::default();
    let mut report = Report::new(vec![Box::new(witness.clone())], BTreeSet::new());
    report.event(&RunEvent::RunStarted { at: at(0), retries }).unwrap();
    events.iter().for_each(|event| report.event(event).unwrap());
    report.finish(&mut end()).unwrap();
    assert_eq!(*witness.0.lock().unwrap(), expected);
}

#[test]
fn an_attempt_that_was_cut_short_keeps_what_came_for_it_and_the_next_begins_afresh() {
    let again = |id: &str| RunEvent::Again { id: id.into(), route: Some("0".into()), worker: WorkerId(0), at: at(5) };
    check(
        false,
        &[
            started(0, &["a", "b"]),
            event("a", Status::InProgress, 0, "first", 1),
            again("a"),
            again("b"),
            started(1, &["a", "b"]),
            event("a", Status::InProgress, 1, "second", 7),
            event("a", Status::Success, 1, "", 8),
            event("b", Status::Skip, 1, "", 9),
        ],
        &[
            "attempt a - from 1 worker-0 log=first",
            "test a success from 7 worker-1 log=second",
            "test b skip from 9 worker-1",
            "end 2 0 1",
        ],
    );
}

#[test]
fn a_test_that_is_given_up_has_failed_and_says_why() {
    let RunEvent::Test { mut event, at } = event("a", Status::Fail, 0, "", 3) else { unreachable!() };
    event.loss = Some(Loss::Crashed);
    for retries in [false, true] {
        let lost = RunEvent::Test { event: event.clone(), at };
        let expected = ["test a fail (crashed) from 3 worker-0", "note crashed their runner (1): a", "end 1 1 0"];
        check(retries, &[started(0, &["a"]), lost], &expected);
    }
}

#[test]
fn with_retries_a_failure_is_told_when_it_is_decided_and_counted_once() {
    check(
        true,
        &[
            started(0, &["a", "b", "c"]),
            event("a", Status::Fail, 0, "a1", 1),
            event("b", Status::Fail, 0, "b1", 2),
            event("c", Status::Success, 0, "", 3),
            started(1, &["a", "b"]),
            event("a", Status::Fail, 1, "a2", 4),
            event("b", Status::Success, 1, "b2", 5),
        ],
        &[
            "attempt a fail from 1 worker-0 log=a1",
            "attempt b fail from 2 worker-0 log=b1",
            "test c success from 3 worker-0",
            "attempt a fail from 4 worker-1 log=a2",
            "test b success from 5 worker-1 log=b2",
            "test a fail from 4 worker-1 log=a2",
            "note flaky: b failed on i0 (worker-0) and passed on i1 (worker-1)",
            "end 3 1 0",
        ],
    );
}

#[test]
fn many_flaky_tests_are_not_all_named() {
    let ids: Vec<String> = (0..MOST_FLAKY + 2).map(|n| format!("t{n}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let mut events = vec![started(0, &ids)];
    events.extend(ids.iter().map(|id| event(id, Status::Fail, 0, "", 1)));
    events.push(started(1, &ids));
    events.extend(ids.iter().map(|id| event(id, Status::Success, 1, "", 2)));
    let witness = Witness::default();
    let mut report = Report::new(vec![Box::new(witness.clone())], BTreeSet::new());
    report.event(&RunEvent::RunStarted { at: at(0), retries: true }).unwrap();
    events.iter().for_each(|event| report.event(event).unwrap());
    report.finish(&mut end()).unwrap();
    let lines = witness.0.lock().unwrap();
    assert_eq!(lines.iter().filter(|line| line.starts_with("note flaky: t")).count(), MOST_FLAKY);
    assert!(lines.contains(&"note flaky: and 2 more".to_owned()), "{lines:?}");
}
