//! Every kind of line, as the page describes it.

use std::fs;
use std::time::Duration;

use super::*;
use crate::attachment::Attachment;
use crate::event;
use crate::event::{Ending, How, Limit, Stamp, Status};

struct Sandbox {
    dir: tempfile::TempDir,
    record: Record,
}

impl Sandbox {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let record = Record::new(dir.path().join("regatta/r1.jsonl"));
        Self { dir, record }
    }

    fn tell(&mut self, events: &[RunEvent]) {
        events.iter().for_each(|event| self.record.event(event).unwrap());
    }

    fn finish(&mut self, id: u64) {
        // As whoever stores the run does.
        let regatta = self.dir.path().join("regatta");
        fs::rename(regatta.join("r1.jsonl"), regatta.join(format!("{id}.jsonl"))).unwrap();
        let counts = event::Counts { tests: 3, failures: 1, skips: 0, first: Some(at(1)), last: Some(at(2)) };
        let mut end = RunEnd { at: at(9), partial: false, interrupted: false, id: Some(id), previous: None, counts };
        self.record.finish(&mut end).unwrap();
    }

    /// The lines of a file, each checked to be an object of its own.
    fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.dir.path().join("regatta").join(name)).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'));
        for line in text.lines() {
            assert!(serde_json::from_str::<serde_json::Value>(line).unwrap().is_object(), "{line}");
        }
        text.lines().map(str::to_owned).collect()
    }
}

fn at(seconds: i64) -> Stamp {
    Stamp::from_timestamp(1_767_225_600 + seconds, 123_456_789).unwrap()
}

fn instance(id: &str, state: InstanceState) -> RunEvent {
    RunEvent::Instance { id: id.into(), state, at: at(0) }
}

fn started(worker: u32, instance: Option<&str>, tests: Option<&[&str]>) -> RunEvent {
    RunEvent::WorkerStarted {
        worker: WorkerId(worker),
        instance: instance.map(str::to_owned),
        tests: tests.map(|tests| tests.iter().map(|id| (*id).into()).collect()),
        at: at(1),
    }
}

fn test(id: &str, status: Option<Status>, worker: u32) -> FinishedTest {
    FinishedTest {
        id: id.into(),
        status,
        tags: vec![WorkerId(worker).tag()],
        start: at(1),
        stop: status.map(|_| at(2)),
        ..FinishedTest::default()
    }
}

#[test]
fn each_kind_of_line_is_as_the_page_says() {
    let mut sandbox = Sandbox::new();
    let line = "provision \"2\"".to_owned();
    let ended = Ending {
        how: How::Signalled(9),
        last_stderr: vec!["oh".into()],
        limit: Some(Limit::Callout(Duration::from_secs(2))),
    };
    sandbox.tell(&[
        RunEvent::CalloutStarted { number: 0, key: "instance_provision", line, instance: None, at: at(0) },
        instance("i 1", InstanceState::Provisioned),
        RunEvent::CalloutEnded { number: 0, ending: Ending::of(How::Exited(0)), at: at(0) },
        RunEvent::RunStarted { at: at(0), retries: true },
        started(0, Some("i 1"), Some(&["a\n\"ü\"", "b"])),
        started(2, None, None),
        RunEvent::Again { id: "b".into(), route: None, worker: WorkerId(0), at: at(2) },
        RunEvent::NotRun { tests: vec!["c".into(), "d".into()] },
        RunEvent::Note { text: "said".into() },
        RunEvent::WorkerEnded { worker: WorkerId(0), ending: ended, at: at(3) },
        RunEvent::WorkerEnded { worker: WorkerId(2), ending: Ending::of(How::NotRun("gone".into())), at: at(3) },
    ]);
    let body = b"four".to_vec().into();
    let log = Attachment { name: "log".into(), mime: None, body };
    let tags = vec!["very slow".into(), WorkerId(0).tag()];
    let flaky =
        FinishedTest { tags, flaky: true, attachments: vec![log], ..test("a\n\"ü\"", Some(Status::Success), 0) };
    sandbox.record.attempt(&test("b", None, 0)).unwrap();
    sandbox.record.test(&flaky).unwrap();
    sandbox.record.test(&FinishedTest { loss: Some(Loss::NotRun), ..test("b", Some(Status::Fail), 2) }).unwrap();
    sandbox.finish(7);
    let t = |seconds: i64| format!("17672256{seconds:02}.123456");
    let expected = [
        format!(r#"{{"record":"run","format":1,"run":"r1","at":{},"retries":true}}"#, t(0)),
        format!(
            r#"{{"record":"callout","number":0,"key":"instance_provision","line":"provision \"2\"","at":{}}}"#,
            t(0)
        ),
        format!(r#"{{"record":"instance","id":"i 1","state":"provisioned","at":{}}}"#, t(0)),
        format!(r#"{{"record":"callout_ended","number":0,"status":0,"at":{}}}"#, t(0)),
        format!(r#"{{"record":"worker","worker":0,"instance":"i 1","tests":["a\n\"ü\"","b"],"at":{}}}"#, t(1)),
        format!(r#"{{"record":"worker","worker":2,"at":{}}}"#, t(1)),
        format!(r#"{{"record":"again","id":"b","worker":0,"at":{}}}"#, t(2)),
        r#"{"record":"not_run","tests":["c","d"]}"#.to_owned(),
        r#"{"record":"note","text":"said"}"#.to_owned(),
        format!(
            r#"{{"record":"worker_ended","worker":0,"signal":9,"limit":"it took longer than its limit, 2 s","stderr":["oh"],"at":{}}}"#,
            t(3)
        ),
        format!(r#"{{"record":"worker_ended","worker":2,"error":"gone","at":{}}}"#, t(3)),
        format!(
            r#"{{"record":"attempt","id":"b","verdict":"unfinished","worker":0,"instance":"i 1","start":{}}}"#,
            t(1)
        ),
        format!(
            r#"{{"record":"test","id":"a\n\"ü\"","verdict":"passed","flaky":true,"worker":0,"instance":"i 1","start":{},"stop":{},"tags":["very slow"],"files":[{{"name":"log","bytes":4}}]}}"#,
            t(1),
            t(2)
        ),
        format!(r#"{{"record":"test","id":"b","verdict":"not-run","worker":2,"start":{},"stop":{}}}"#, t(1), t(2)),
        format!(
            r#"{{"record":"end","at":{},"id":7,"verdict":"failed","partial":false,"tests":3,"failures":1,"skips":0,"crashed":0,"lost":0,"timed_out":0,"not_run":3,"flaky":1,"first":{},"last":{}}}"#,
            t(9),
            t(1),
            t(2)
        ),
    ];
    assert_eq!(sandbox.lines("7.jsonl"), expected);
}

#[test]
fn a_later_run_begins_with_the_instances_that_are_there() {
    let mut sandbox = Sandbox::new();
    sandbox.tell(&[
        instance("i1", InstanceState::Provisioned),
        instance("i2", InstanceState::Provisioned),
        RunEvent::RunStarted { at: at(1), retries: false },
        started(0, Some("i2"), Some(&["a"])),
        instance("i1", InstanceState::Dead { why: "no answer".into() }),
        instance("i1", InstanceState::Disposed),
        instance("i2", InstanceState::Ready),
    ]);
    sandbox.finish(0);
    sandbox.tell(&[RunEvent::Note { text: "between".into() }, RunEvent::RunStarted { at: at(5), retries: false }]);
    sandbox.record.test(&test("a", Some(Status::Skip), 0)).unwrap();
    sandbox.finish(1);
    sandbox.tell(&[instance("i2", InstanceState::Disposed)]);
    sandbox.record.pause(Pause::End).unwrap();

    let kinds = |name: &str| {
        let kind = |line: &String| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let words = ["record", "id", "state", "verdict"].map(|field| line[field].as_str().unwrap_or_default());
            words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
        };
        sandbox.lines(name).iter().map(kind).collect::<Vec<_>>()
    };
    let (first, second) = (kinds("0.jsonl"), kinds("1.jsonl"));
    assert_eq!(first[..3], ["run", "instance i1 provisioned", "instance i2 provisioned"]);
    assert_eq!(first[4..], ["instance i1 dead", "instance i1 disposed", "instance i2 ready", "end failed", "note"]);
    assert_eq!(
        second,
        ["run", "instance i2 provisioned", "instance i2 ready", "test a skipped", "end failed", "instance i2 disposed"]
    );
}

#[test]
fn what_came_can_be_read_at_each_pause() {
    let mut sandbox = Sandbox::new();
    sandbox.tell(&[RunEvent::RunStarted { at: at(1), retries: false }]);
    sandbox.record.test(&test("a", Some(Status::Success), 0)).unwrap();
    sandbox.record.pause(Pause::Idle).unwrap();
    assert_eq!(sandbox.lines("r1.jsonl").len(), 2);
}

#[test]
fn a_run_that_never_was_leaves_nothing() {
    for ended in [false, true] {
        let Sandbox { dir, mut record } = Sandbox::new();
        record.event(&RunEvent::RunStarted { at: at(1), retries: false }).unwrap();
        if ended {
            record.test(&test("a", None, 0)).unwrap();
        }
        record.pause(Pause::End).unwrap();
        drop(record);
        assert_eq!(dir.path().join("regatta/r1.jsonl").exists(), ended);
    }
}

#[test]
fn a_record_that_cannot_be_written_is_an_error_that_names_it() {
    let mut sandbox = Sandbox::new();
    fs::write(sandbox.dir.path().join("regatta"), "in the way").unwrap();
    let error = sandbox.record.event(&RunEvent::RunStarted { at: at(1), retries: false }).unwrap_err();
    assert!(
        error.to_string().contains("cannot write the record of the run, ") && error.to_string().ends_with("r1.jsonl")
    );
    fs::remove_file(sandbox.dir.path().join("regatta")).unwrap();
    // The next run of the command has another chance.
    sandbox.tell(&[RunEvent::RunStarted { at: at(2), retries: false }]);
    assert_eq!(sandbox.record.lines.iter().filter(|b| **b == b'\n').count(), 1);
}
