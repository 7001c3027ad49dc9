//! Many workers' streams into one stream of events.  (pure)
//!
//! Each worker's packets get its tag (`worker-N`) and route code (`N`, or `N/` before a route that is there already),
//! as in testr. What testr adds itself is added here: the failed tests `subunit.parser` for a damaged packet and
//! `process-returncode` for a runner that ended badly, and the end of tests that began and never ended. What was
//! handed out is counted against what came back, and further attempts at a test are made to look like one test.
//!
//! Called by the loop of [`crate::run`], and by `load` with streams that are files.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;

use crate::event::{Ending, FileChunk, Loss, RunEvent, Stamp, Status, TestEvent, WorkerId};
use crate::test_id::TestId;
use crate::wire::{Damage, Item, Within};

/// testr's name for the failure of a runner that ended badly.
pub const PROCESS_RETURNCODE: &str = "process-returncode";

/// testr's name for the failure that stands for a damaged packet.
pub const SUBUNIT_PARSER: &str = "subunit.parser";

/// The streams of the workers that run, and what is known of tests that run more than once.
#[derive(Debug, Default)]
pub struct Merge {
    workers: BTreeMap<WorkerId, Stream>,
    /// The tests of which an attempt was cut off: what the next one keeps.
    cut: HashMap<u32, Cut>,
}

/// What a further attempt keeps, so that a reader who goes by route code and id sees one test.
#[derive(Clone, Debug)]
struct Cut {
    /// The route code of the worker that had the first attempt.
    route: ByteString,
    /// Which attempt the next one is, from 2.
    attempt: u32,
}

/// A test that a worker is handed: its number in the run, and its id.
pub type Handed<'a> = (u32, &'a TestId);

#[derive(Debug)]
struct Stream {
    tag: ByteString,
    route: ByteString,
    /// Tests with events and without a final status.
    open: HashMap<Key, Opened>,
    opened: u64,
    /// What was handed out; nothing in a serial run.
    owed: Option<HashMap<TestId, Owed>>,
    handed_out: usize,
    finals: usize,
    failed: Vec<u32>,
    failures: u64,
    first: Option<Duration>,
    /// A packet was damaged.
    is_damaged: bool,
}

type Key = (ByteString, Option<ByteString>);

/// A test in progress.
#[derive(Debug)]
struct Opened {
    /// Its place in the order of opening.
    n: u64,
    since: Duration,
}

/// An id that was handed out, as often as it was.
#[derive(Debug)]
struct Owed {
    first: u32,
    more: Vec<u32>,
    /// How many final statuses came.
    settled: usize,
    cut: Option<Cut>,
}

impl Owed {
    fn nth(&self, n: usize) -> Option<u32> {
        if n == 0 { Some(self.first) } else { self.more.get(n - 1).copied() }
    }

    fn missing(&self) -> impl Iterator<Item = u32> {
        (self.settled..=self.more.len()).filter_map(|n| self.nth(n))
    }
}

/// What a worker left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Whether it wrote a packet at all.
    pub has_spoken: bool,
    /// When its first packet came.
    pub first: Option<Duration>,
    /// How many tests it was handed.
    pub handed_out: usize,
    /// How many final statuses came.
    pub results: usize,
    /// The numbers of tests without a final status, in order, and for those in progress when they began. None when as
    /// many tests came back as went out, whatever they were called.
    pub missing: Vec<(u32, Option<Duration>)>,
    /// The numbers of tests that failed.
    pub failed: Vec<u32>,
}

impl Merge {
    /// A worker begins, with these tests; nothing when the runner decides.
    pub fn start(&mut self, worker: WorkerId, tests: Option<&[Handed<'_>]>) {
        let mut handed_out = 0;
        let owed = tests.map(|tests| {
            // testr hands its own failures out again, and no runner knows them.
            let is_real = |id: &TestId| ![PROCESS_RETURNCODE, SUBUNIT_PARSER].contains(&id.as_str());
            handed_out = tests.iter().filter(|(_, id)| is_real(id)).count();
            let mut owed: HashMap<TestId, Owed> = HashMap::with_capacity(tests.len());
            for &(number, id) in tests.iter().filter(|(_, id)| is_real(id)) {
                match owed.get_mut(id) {
                    Some(owed) => owed.more.push(number),
                    None => {
                        let cut = self.cut.get(&number).cloned();
                        owed.insert(id.clone(), Owed { first: number, more: Vec::new(), settled: 0, cut });
                    }
                }
            }
            owed
        });
        let stream = Stream {
            tag: worker.tag(),
            route: worker.to_string().into(),
            open: HashMap::new(),
            opened: 0,
            owed,
            handed_out,
            finals: 0,
            failed: Vec::new(),
            failures: 0,
            first: None,
            is_damaged: false,
        };
        self.workers.insert(worker, stream);
    }

    /// Something came from a worker at `now`; `clock` is the same moment, counted so that it never goes back.
    pub fn item(&mut self, worker: WorkerId, item: Item, now: Stamp, clock: Duration, out: &mut Vec<RunEvent>) {
        let Some(stream) = self.workers.get_mut(&worker) else { return };
        match item {
            Item::Packet { event, within } if stream.is_foreign(&event, within) => {
                out.extend(event.packet.map(|bytes| RunEvent::Text { worker, bytes, at: now }));
            }
            Item::Packet { event, within } => {
                stream.first.get_or_insert(clock);
                // What may be a part of an attachment makes up for nothing that is missing.
                let may_count = within == Within::Nothing || stream.is_owed(&event);
                let finals = stream.finals;
                out.push(stream.pass(event, now, clock));
                if !may_count {
                    stream.finals = finals;
                }
            }
            Item::Damaged { bytes, why } => {
                // It stands for no test's result: what was in it may be just what is missing.
                stream.is_damaged = true;
                let finals = stream.finals;
                out.extend(damage(bytes, &why).map(|event| stream.pass(event, now, clock)));
                stream.finals = finals;
            }
            Item::Text(bytes) => out.push(RunEvent::Text { worker, bytes, at: now }),
        }
    }

    /// When the oldest test in progress on a worker began, and how many tests have failed there.
    #[must_use]
    pub fn heard(&self, worker: WorkerId) -> (Option<Duration>, u64) {
        let Some(stream) = self.workers.get(&worker) else { return (None, 0) };
        (stream.open.values().map(|opened| opened.since).min(), stream.failures)
    }

    /// What a worker that ended left behind. It is to be closed then.
    #[must_use]
    pub fn account(&self, worker: WorkerId) -> Account {
        self.workers.get(&worker).map(Stream::account).unwrap_or_default()
    }

    /// A runner failed by its exit status: testr's failed test `process-returncode`.
    pub fn returncode(worker: WorkerId, ending: &Ending, now: Stamp, out: &mut Vec<RunEvent>) {
        let text = format!("returncode {}", ending.returncode());
        out.push(failure(worker, worker.to_string().into(), PROCESS_RETURNCODE.into(), ("traceback", text), None, now));
    }

    /// A test goes out again. If it was in progress, that was an attempt, and its next one keeps its route code.
    pub fn again(&mut self, worker: WorkerId, (number, id): Handed<'_>, now: Stamp, out: &mut Vec<RunEvent>) {
        let Some(stream) = self.workers.get_mut(&worker) else { return };
        let open = stream.close_all(id);
        if open.is_empty() {
            return;
        }
        let cut = self.cut.entry(number).or_insert_with(|| Cut { route: stream.route.clone(), attempt: 1 });
        cut.attempt += 1;
        out.extend(open.into_iter().map(|(id, route)| RunEvent::Again { id, route, worker, at: now }));
    }

    /// A test fails that no runner called failed; `reason` says what is known.
    pub fn lose(
        &mut self,
        worker: WorkerId,
        (number, id): Handed<'_>,
        (loss, reason): (Loss, String),
        now: Stamp,
        out: &mut Vec<RunEvent>,
    ) {
        let base: ByteString = self.cut.remove(&number).map_or_else(|| worker.to_string().into(), |cut| cut.route);
        let open = self.workers.get_mut(&worker).map(|stream| stream.close_all(id)).unwrap_or_default();
        // It fails where it was in progress, so that what was attached belongs to it.
        let mut open = open.into_iter();
        let route = open.next().and_then(|(_, route)| route).unwrap_or(base);
        out.extend(open.map(|(id, route)| RunEvent::Again { id, route, worker, at: now }));
        out.push(failure(worker, route, id.as_str().into(), ("reason", reason), Some(loss), now));
    }

    /// A worker is over: what began and never ended is unfinished, unless regatta stopped it.
    pub fn close(&mut self, worker: WorkerId, is_stopped: bool, out: &mut Vec<RunEvent>) {
        let Some(mut stream) = self.workers.remove(&worker) else { return };
        for number in
            stream.owed.iter().flatten().flat_map(|(_, owed)| (0..owed.settled).map(|n| owed.nth(n))).flatten()
        {
            // It has its status. If it runs once more, that is another story.
            self.cut.remove(&number);
        }
        if is_stopped {
            return;
        }
        let mut open: Vec<_> = stream.open.drain().collect();
        open.sort_by_key(|(_, opened)| opened.n);
        out.extend(open.into_iter().map(|((id, route), _)| RunEvent::Unfinished { id, route }));
    }
}

impl Stream {
    fn is_owed(&self, event: &TestEvent) -> bool {
        let owed = self.owed.as_ref().zip(event.id.as_ref());
        owed.is_some_and(|(owed, id)| owed.contains_key(&**id))
    }

    /// Whether it may come from an attachment, which can hold a whole stream: the tests in it are not ours. Where a
    /// damaged packet was said to end cannot be trusted, so from there on only what was handed out is believed.
    fn is_foreign(&self, event: &TestEvent, within: Within) -> bool {
        match (&self.owed, &event.id) {
            (Some(_), Some(_)) => {
                (matches!(within, Within::Unfinished | Within::Damage) || self.is_damaged) && !self.is_owed(event)
            }
            // Where the runner decides, nobody knows its tests, and what was never a packet must hide none.
            _ => within == Within::Damage,
        }
    }

    fn pass(&mut self, mut event: TestEvent, now: Stamp, clock: Duration) -> RunEvent {
        event.worker_tag = Some(self.tag.clone());
        let owed = event.id.as_ref().and_then(|id| self.owed.as_mut()?.get_mut(&**id));
        let cut = owed.as_ref().and_then(|owed| owed.cut.as_ref());
        event.route = Some(match (&event.route, cut) {
            (None, None) => self.route.clone(),
            (None, Some(cut)) => cut.route.clone(),
            (Some(inner), None) => format!("{}/{inner}", self.route).into(),
            (Some(inner), Some(cut)) => format!("{}/{inner}", cut.route).into(),
        });
        if let (Some(cut), Some(file)) = (cut, &mut event.file) {
            file.name = format!("{} (attempt {})", file.name, cut.attempt).into();
            // Its bytes are those of another name.
            event.packet = None;
        }
        if let Some(id) = &event.id {
            let key = (id.clone(), event.route.clone());
            match event.status.filter(|status| status.is_final()) {
                None => {
                    let n = self.opened;
                    self.open.entry(key).or_insert(Opened { n, since: clock });
                    self.opened += 1;
                }
                Some(status) => {
                    self.open.remove(&key);
                    if status != Status::Exists {
                        self.finals += 1;
                        let number = owed.and_then(|owed| {
                            let number = owed.nth(owed.settled)?;
                            owed.settled += 1;
                            Some(number)
                        });
                        if status == Status::Fail {
                            self.failures += 1;
                            self.failed.extend(number);
                        }
                    }
                }
            }
        }
        let at = event.time.unwrap_or(now);
        RunEvent::Test { event, at }
    }

    /// Forget that this test is in progress, on whatever routes it is, in the order in which they came.
    fn close_all(&mut self, id: &TestId) -> Vec<Key> {
        let mut found: Vec<(u64, Key)> = self
            .open
            .iter()
            .filter(|((open, _), _)| **open == *id.as_str())
            .map(|(key, o)| (o.n, key.clone()))
            .collect();
        found.sort();
        for (_, key) in &found {
            self.open.remove(key);
        }
        found.into_iter().map(|(_, key)| key).collect()
    }

    fn account(&self) -> Account {
        let mut missing = Vec::new();
        let mut open: HashMap<&str, Duration> = HashMap::new();
        for ((id, _), opened) in &self.open {
            let since = open.entry(id).or_insert(opened.since);
            *since = (*since).min(opened.since);
        }
        // Names that nobody knows may be other names of what was handed out; but what is in progress has not come.
        let is_short = |owed: &HashMap<TestId, Owed>| {
            self.finals < self.handed_out
                || owed.iter().any(|(id, owed)| owed.nth(owed.settled).is_some() && open.contains_key(id.as_str()))
        };
        if self.owed.as_ref().is_some_and(is_short) {
            for (id, owed) in self.owed.iter().flatten() {
                let mut begun = open.get(id.as_str()).copied();
                // Of several with this id, one is in progress.
                missing.extend(owed.missing().map(|number| (number, begun.take())));
            }
            missing.sort_unstable();
        }
        Account {
            has_spoken: self.first.is_some(),
            first: self.first,
            handed_out: self.handed_out,
            results: self.finals,
            missing,
            failed: self.failed.clone(),
        }
    }
}

fn failure(
    worker: WorkerId,
    route: ByteString,
    id: ByteString,
    (name, text): (&'static str, String),
    loss: Option<Loss>,
    now: Stamp,
) -> RunEvent {
    let event = TestEvent {
        id: Some(id),
        status: Some(Status::Fail),
        worker_tag: Some(worker.tag()),
        file: Some(text_file(name, text)),
        runnable: true,
        route: Some(route),
        loss,
        ..TestEvent::default()
    };
    RunEvent::Test { event, at: now }
}

fn text_file(name: &'static str, text: String) -> FileChunk {
    let mime = Some(ByteString::from_static("text/plain;charset=utf8"));
    FileChunk { name: ByteString::from_static(name), mime, bytes: text.into(), eof: true }
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
        Item::Packet { event, within: Within::Nothing }
    }

    /// Feed one worker that was handed `tests` (`-` is a serial run) and then closed; a line for each event.
    fn check(tests: &str, items: Vec<Item>, is_stopped: bool, expected: &[&str]) -> Account {
        let mut merge = Merge::default();
        let account = feed(&mut merge, WorkerId(3), tests, items, |_, out| assert_eq!(lines(out), expected));
        let mut out = Vec::new();
        merge.close(WorkerId(3), is_stopped, &mut out);
        assert_eq!(lines(&out), [""; 0]);
        account
    }

    fn lines(out: &[RunEvent]) -> Vec<String> {
        out.iter().map(line).collect()
    }

    fn feed(
        merge: &mut Merge,
        worker: WorkerId,
        tests: &str,
        items: Vec<Item>,
        then: impl FnOnce(&mut Merge, &[RunEvent]),
    ) -> Account {
        let ids: Vec<TestId> = tests.split_whitespace().map(Into::into).collect();
        let handed: Vec<Handed<'_>> = (0..).zip(&ids).collect();
        merge.start(worker, (tests != "-").then_some(&*handed));
        let mut out = Vec::new();
        for (n, item) in items.into_iter().enumerate() {
            merge.item(worker, item, Stamp::default(), Duration::from_secs(n as u64), &mut out);
        }
        then(merge, &out);
        merge.account(worker)
    }

    fn line(event: &RunEvent) -> String {
        match event {
            RunEvent::Test { event: e, .. } => {
                let tags: Vec<&str> = e.all_tags().map(|t| &**t).collect();
                let status = e.status.map_or("-", Status::as_str);
                let id = e.id.as_deref().unwrap_or("-");
                let file = e.file.as_ref().map_or(String::new(), |file| format!(" {}", file.name));
                format!("{id} {status} {} {}{file}", tags.join(","), e.route.as_deref().unwrap_or("-"))
            }
            RunEvent::Text { bytes, .. } => format!("text {}", bytes.len()),
            RunEvent::Unfinished { id, route } => format!("unfinished {id} {}", route.as_deref().unwrap_or("-")),
            RunEvent::Again { id, route, worker, .. } => {
                format!("again {id} {} {}", route.as_deref().unwrap_or("-"), worker.tag())
            }
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
        let expected = ["a success worker-3 3", "b success slow,worker-3 3/x", "text 2"];
        let account = check("a b", items, false, &expected);
        assert_eq!((account.handed_out, account.results, account.missing), (2, 2, vec![]));
    }

    #[test]
    fn what_is_missing_is_told_apart_by_what_was_in_progress() {
        let mut merge = Merge::default();
        let items = ["a", "b"].map(|id| packet(id, Status::InProgress)).into_iter();
        let items = items.chain([packet("a", Status::Fail)]).collect();
        let account = feed(&mut merge, WorkerId(0), "a b c", items, |_, _| ());
        assert_eq!(account.missing, [(1, Some(Duration::from_secs(1))), (2, None)]);
        assert_eq!((account.failed, account.has_spoken), (vec![0], true));
        assert_eq!(merge.heard(WorkerId(0)), (Some(Duration::from_secs(1)), 1));
    }

    #[test]
    fn what_never_ended_is_unfinished_unless_regatta_stopped_it() {
        for (is_stopped, expected) in [(false, &["unfinished b 0"][..]), (true, &[])] {
            let mut merge = Merge::default();
            feed(&mut merge, WorkerId(0), "-", vec![packet("b", Status::InProgress)], |_, _| ());
            let mut out = Vec::new();
            merge.close(WorkerId(0), is_stopped, &mut out);
            assert_eq!(lines(&out), expected);
        }
    }

    #[test]
    fn a_second_attempt_keeps_the_route_of_the_first_for_that_test_alone() {
        let (a, b) = (TestId::from("a"), TestId::from("b"));
        let (mut merge, mut out) = (Merge::default(), Vec::new());
        feed(&mut merge, WorkerId(0), "a b", vec![packet("a", Status::InProgress)], |_, _| ());
        merge.again(WorkerId(0), (0, &a), Stamp::default(), &mut out);
        merge.again(WorkerId(0), (1, &b), Stamp::default(), &mut out);
        merge.close(WorkerId(0), false, &mut out);
        assert_eq!(lines(&out), ["again a 0 worker-0"], "b was not begun, and nothing of a is left");

        let mut log = packet("a", Status::InProgress);
        if let Item::Packet { event, .. } = &mut log {
            event.file = Some(text_file("log", "x".into()));
        }
        let items = vec![log, packet("a", Status::Success), packet("b", Status::Success)];
        feed(&mut merge, WorkerId(4), "a b", items, |_, out| {
            let expected = ["a inprogress worker-4 0 log (attempt 2)", "a success worker-4 0", "b success worker-4 4"];
            assert_eq!(lines(out), expected);
        });
        merge.close(WorkerId(4), false, &mut out);
        feed(&mut merge, WorkerId(5), "a", vec![packet("a", Status::Success)], |_, out| {
            assert_eq!(lines(out), ["a success worker-5 5"], "a retry is another test to a reader");
        });
    }

    #[test]
    fn what_is_lost_fails_on_the_route_that_it_had() {
        let a = TestId::from("a");
        let (mut merge, mut out) = (Merge::default(), Vec::new());
        for worker in [WorkerId(0), WorkerId(1)] {
            feed(&mut merge, worker, "a", vec![packet("a", Status::InProgress)], |_, _| ());
            if worker == WorkerId(0) {
                merge.again(worker, (0, &a), Stamp::default(), &mut out);
            } else {
                merge.lose(worker, (0, &a), (Loss::Crashed, "so".into()), Stamp::default(), &mut out);
            }
            merge.close(worker, false, &mut out);
        }
        let died = Ending::of(How::Signalled(9));
        Merge::returncode(WorkerId(1), &died, Stamp::default(), &mut out);
        let expected =
            ["again a 0 worker-0", "a fail worker-1 0 reason", "process-returncode fail worker-1 1 traceback"];
        assert_eq!(lines(&out), expected);
    }

    #[test]
    fn ids_that_the_runner_calls_otherwise_are_not_missing() {
        let items = vec![packet("x.a", Status::Success), packet("x.b", Status::Skip)];
        let account = check("a b", items, false, &["x.a success worker-3 3", "x.b skip worker-3 3"]);
        assert!(account.missing.is_empty());
    }

    #[test]
    fn an_id_listed_twice_is_owed_twice() {
        let account = check("a a", vec![packet("a", Status::Success)], false, &["a success worker-3 3"]);
        assert_eq!(account.missing, [(1, None)]);
    }

    #[test]
    fn a_packet_inside_a_damaged_one_counts_only_when_it_was_handed_out() {
        let inside = |id: &str| {
            let Item::Packet { mut event, .. } = packet(id, Status::Success) else { unreachable!() };
            event.packet = Some("packet".into());
            Item::Packet { event, within: Within::Damage }
        };
        check("a", vec![inside("a"), inside("x")], false, &["a success worker-3 3", "text 6"]);
        check("-", vec![inside("a")], false, &["text 6"]);
    }

    #[test]
    fn behind_a_damaged_packet_only_what_was_handed_out_is_believed() {
        let damaged = || Item::Damaged { bytes: "x".into(), why: Damage::CutOff { got: 1 } };
        let items = || vec![damaged(), packet("x", Status::Success), packet("a", Status::Success)];
        for (handed, x) in [("a", 0), ("-", 1)] {
            feed(&mut Merge::default(), WorkerId(3), handed, items(), |_, out| {
                assert_eq!(lines(out).iter().filter(|line| line.starts_with("x success")).count(), x, "{handed}");
                assert!(lines(out).contains(&"a success worker-3 3".to_owned()));
            });
        }
    }

    #[test]
    fn a_test_in_progress_is_so_on_any_route_and_whatever_else_came() {
        let a = TestId::from("a");
        let mut begun = packet("a", Status::InProgress);
        if let Item::Packet { event, .. } = &mut begun {
            event.route = Some("x".into());
        }
        let items = vec![begun, packet("setUpClass", Status::Fail), packet("tearDown", Status::Fail)];
        let (mut merge, mut out) = (Merge::default(), Vec::new());
        let account = feed(&mut merge, WorkerId(0), "a b process-returncode", items, |_, _| ());
        assert_eq!(account.missing, [(0, Some(Duration::ZERO)), (1, None)]);
        merge.again(WorkerId(0), (0, &a), Stamp::default(), &mut out);
        assert_eq!(lines(&out), ["again a 0/x worker-0"]);
    }
}
