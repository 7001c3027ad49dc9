//! Many workers' streams into one stream of events.  (pure)
//!
//! Each worker's packets get its tag (`worker-N`) and route code (`N`, or `N/` before a route that is there already),
//! as in testr. What testr adds itself is added here: the failed tests `subunit.parser` for a damaged packet and
//! `process-returncode` for a runner that ended badly, and the end of tests that began and never ended. What was
//! handed out is counted against what came back.
//!
//! Called by the loop of [`crate::run`], and by `load` with streams that are files.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use bytestring::ByteString;

use crate::event::{Ending, FileChunk, RunEvent, Stamp, Status, TestEvent, WorkerId};
use crate::test_id::TestId;
use crate::wire::{Damage, Item};

/// testr's name for the failure of a runner that ended badly.
pub const PROCESS_RETURNCODE: &str = "process-returncode";

/// testr's name for the failure that stands for a damaged packet.
pub const SUBUNIT_PARSER: &str = "subunit.parser";

/// The streams of the workers that run.
#[derive(Debug, Default)]
pub struct Merge {
    workers: BTreeMap<WorkerId, Stream>,
}

#[derive(Debug)]
struct Stream {
    tag: ByteString,
    route: ByteString,
    /// Tests with events and without a final status, and the order in which they came.
    open: HashMap<(ByteString, Option<ByteString>), u64>,
    opened: u64,
    /// How often each id that was handed out must still get a final status; nothing in a serial run.
    owed: Option<HashMap<TestId, u32>>,
    handed_out: usize,
    finals: usize,
}

/// What a worker that ended left behind.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// How many tests it was handed.
    pub handed_out: usize,
    /// How many final statuses came.
    pub results: usize,
    /// Those without a final status, each as often as it is missing; none when as many tests came back as went
    /// out, whatever they were called.
    pub missing: Vec<TestId>,
}

impl Merge {
    /// A worker begins, with these tests; nothing when the runner decides.
    pub fn start(&mut self, worker: WorkerId, tests: Option<&[TestId]>) {
        let owed = tests.map(|tests| {
            let mut owed = HashMap::with_capacity(tests.len());
            for id in tests {
                *owed.entry(id.clone()).or_insert(0) += 1;
            }
            owed
        });
        let stream = Stream {
            tag: worker.tag(),
            route: worker.to_string().into(),
            open: HashMap::new(),
            opened: 0,
            owed,
            handed_out: tests.map_or(0, <[_]>::len),
            finals: 0,
        };
        self.workers.insert(worker, stream);
    }

    /// Something came from a worker at `now`.
    pub fn item(&mut self, worker: WorkerId, item: Item, now: Stamp, out: &mut Vec<RunEvent>) {
        let Some(stream) = self.workers.get_mut(&worker) else { return };
        match item {
            Item::Packet { event, inside_damage } if inside_damage && !stream.was_handed_out(&event) => {
                // An attachment can hold a whole stream, and the tests in it are not ours.
                out.extend(event.packet.map(|bytes| RunEvent::Text { worker, bytes, at: now }));
            }
            Item::Packet { event, .. } => out.push(stream.pass(event, now)),
            Item::Damaged { bytes, why } => {
                for event in damage(bytes, &why) {
                    out.push(stream.pass(event, now));
                }
            }
            Item::Text(bytes) => out.push(RunEvent::Text { worker, bytes, at: now }),
        }
    }

    /// A worker ended. With `stopped`, regatta ended it: what is missing is nobody's failure.
    pub fn end(
        &mut self,
        worker: WorkerId,
        ending: &Ending,
        stopped: bool,
        now: Stamp,
        out: &mut Vec<RunEvent>,
    ) -> Account {
        let Some(mut stream) = self.workers.remove(&worker) else { return Account::default() };
        if stopped {
            return Account::default();
        }
        let account = stream.account();
        if !ending.is_success() {
            out.push(stream.pass(returncode(ending), now));
        }
        let mut open: Vec<_> = stream.open.drain().collect();
        open.sort_by_key(|(_, n)| *n);
        out.extend(open.into_iter().map(|((id, route), _)| RunEvent::Unfinished { id, route }));
        account
    }
}

impl Stream {
    fn was_handed_out(&self, event: &TestEvent) -> bool {
        let (Some(owed), Some(id)) = (&self.owed, &event.id) else { return false };
        owed.contains_key(&**id)
    }

    fn pass(&mut self, mut event: TestEvent, now: Stamp) -> RunEvent {
        event.worker_tag = Some(self.tag.clone());
        event.route = Some(match event.route {
            None => self.route.clone(),
            Some(inner) => format!("{}/{inner}", self.route).into(),
        });
        if let Some(id) = &event.id {
            let key = (id.clone(), event.route.clone());
            if event.status.is_some_and(Status::is_final) {
                self.open.remove(&key);
                if event.status != Some(Status::Exists) {
                    self.settle(id);
                }
            } else {
                let n = self.opened;
                self.open.entry(key).or_insert(n);
                self.opened += 1;
            }
        }
        let at = event.time.unwrap_or(now);
        RunEvent::Test { event, at }
    }

    fn settle(&mut self, id: &ByteString) {
        self.finals += 1;
        if let Some(owed) = self.owed.as_mut().and_then(|owed| owed.get_mut(&**id)) {
            *owed = owed.saturating_sub(1);
        }
    }

    fn account(&self) -> Account {
        let mut missing = Vec::new();
        if self.finals < self.handed_out {
            for (id, count) in self.owed.iter().flatten() {
                missing.extend(std::iter::repeat_n(id.clone(), *count as usize));
            }
            missing.sort();
        }
        Account { handed_out: self.handed_out, results: self.finals, missing }
    }
}

fn text_file(name: &'static str, text: String) -> FileChunk {
    let mime = Some(ByteString::from_static("text/plain;charset=utf8"));
    FileChunk { name: ByteString::from_static(name), mime, bytes: text.into(), eof: true }
}

fn returncode(ending: &Ending) -> TestEvent {
    TestEvent {
        id: Some(ByteString::from_static(PROCESS_RETURNCODE)),
        status: Some(Status::Fail),
        file: Some(text_file("traceback", format!("returncode {}", ending.returncode()))),
        runnable: true,
        ..TestEvent::default()
    }
}

fn damage(bytes: Bytes, why: &Damage) -> [TestEvent; 2] {
    let id = Some(ByteString::from_static(SUBUNIT_PARSER));
    let data = FileChunk {
        name: ByteString::from_static("Packet data"),
        mime: Some(ByteString::from_static("application/octet-stream")),
        bytes,
        eof: true,
    };
    let reason = text_file("Parser Error", why.to_string());
    [
        TestEvent { id: id.clone(), file: Some(data), runnable: true, ..TestEvent::default() },
        TestEvent { id, status: Some(Status::Fail), file: Some(reason), runnable: true, ..TestEvent::default() },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::How;

    fn packet(id: &str, status: Status) -> Item {
        let event = TestEvent { id: Some(id.into()), status: Some(status), ..TestEvent::default() };
        Item::Packet { event, inside_damage: false }
    }

    fn ending(how: How) -> Ending {
        Ending::of(how)
    }

    /// Feed one worker that was handed `tests` (`-` is a serial run) and ended like this; a line for each event.
    fn check(tests: &str, items: Vec<Item>, how: How, stopped: bool, expected: &[&str]) -> Account {
        let tests: Option<Vec<TestId>> = (tests != "-").then(|| tests.split_whitespace().map(Into::into).collect());
        let mut merge = Merge::default();
        let mut out = Vec::new();
        let worker = WorkerId(3);
        merge.start(worker, tests.as_deref());
        for item in items {
            merge.item(worker, item, Stamp::default(), &mut out);
        }
        let account = merge.end(worker, &ending(how), stopped, Stamp::default(), &mut out);
        let lines: Vec<String> = out.iter().map(line).collect();
        assert_eq!(lines, expected);
        account
    }

    fn line(event: &RunEvent) -> String {
        match event {
            RunEvent::Test { event: e, .. } => {
                let tags: Vec<&str> = e.all_tags().map(|t| &**t).collect();
                let status = e.status.map_or("-", Status::as_str);
                let id = e.id.as_deref().unwrap_or("-");
                format!("{id} {status} {} {}", tags.join(","), e.route.as_deref().unwrap_or("-"))
            }
            RunEvent::Text { bytes, .. } => format!("text {}", bytes.len()),
            RunEvent::Unfinished { id, route } => format!("unfinished {id} {}", route.as_deref().unwrap_or("-")),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn packets_get_the_workers_tag_and_route() {
        let mut nested = packet("b", Status::Success);
        if let Item::Packet { event, .. } = &mut nested {
            event.route = Some("x".into());
            event.tags = vec!["slow".into()];
        }
        let items = vec![packet("a", Status::Success), nested, Item::Text("hi".into())];
        let account = check(
            "a b",
            items,
            How::Exited(0),
            false,
            &["a success worker-3 3", "b success slow,worker-3 3/x", "text 2"],
        );
        assert_eq!(account, Account { handed_out: 2, results: 2, missing: vec![] });
    }

    #[test]
    fn a_runner_that_dies_leaves_what_began_unfinished_and_what_did_not_missing() {
        let items = vec![packet("a", Status::Success), packet("b", Status::InProgress)];
        let account = check(
            "a b c",
            items,
            How::Signalled(9),
            false,
            &[
                "a success worker-3 3",
                "b inprogress worker-3 3",
                "process-returncode fail worker-3 3",
                "unfinished b 3",
            ],
        );
        assert_eq!(account.missing, ["b", "c"].map(TestId::from));
    }

    #[test]
    fn what_regatta_ended_itself_fails_nothing() {
        let items = vec![packet("b", Status::InProgress)];
        let account = check("b c", items, How::Signalled(15), true, &["b inprogress worker-3 3"]);
        assert!(account.missing.is_empty());
    }

    #[test]
    fn ids_that_the_runner_calls_otherwise_are_not_missing() {
        let items = vec![packet("x.a", Status::Success), packet("x.b", Status::Skip)];
        let account = check("a b", items, How::Exited(0), false, &["x.a success worker-3 3", "x.b skip worker-3 3"]);
        assert!(account.missing.is_empty());
    }

    #[test]
    fn an_id_listed_twice_is_owed_twice() {
        let account =
            check("a a", vec![packet("a", Status::Success)], How::Exited(0), false, &["a success worker-3 3"]);
        assert_eq!(account.missing, ["a"].map(TestId::from));
    }

    #[test]
    fn a_packet_inside_a_damaged_one_counts_only_when_it_was_handed_out() {
        let inside = |id: &str| {
            let Item::Packet { mut event, .. } = packet(id, Status::Success) else { unreachable!() };
            event.packet = Some("packet".into());
            Item::Packet { event, inside_damage: true }
        };
        check("a", vec![inside("a"), inside("x")], How::Exited(0), false, &["a success worker-3 3", "text 6"]);
        check("-", vec![inside("a")], How::Exited(0), false, &["text 6"]);
    }
}
