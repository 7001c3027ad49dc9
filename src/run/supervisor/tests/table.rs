//! Plays every row of the table on the page of [`super::super`], and compares what the machine does.
//!
//! A row is a run: what is given, what happens, step by step, and what follows from each step. `REGATTA_TEST_TABLE=print`
//! prints the rows as they would have to be.

use super::super::*;
use crate::event::How;
use crate::test_id::{Groups, TestId};

/// A run under way, in the words of the table.
struct Play {
    machine: Supervisor,
    suite: Arc<Suite>,
    now: Duration,
    batches: BTreeMap<WorkerId, Batch>,
    /// What is to be run after the listing.
    work: Option<Work>,
    /// When the machine wants to be woken.
    wake: Option<Duration>,
}

impl Play {
    /// `given`: settings as `key=value`, what is offered as `+kill`, `N instances` or `N processes`, and tests. Tests whose
    /// names begin with the same letter in upper case are a group. The instances are there, unless it begins with `listing`.
    fn new(given: &str) -> (Self, Vec<String>) {
        let mut settings = Settings { schedule: crate::config::Schedule::Static, ..Settings::default() };
        let mut ids = Vec::new();
        let (mut count, mut provisions, mut offers) = (1, true, BTreeSet::new());
        let (mut dynamic, mut serial, mut lists) = (false, false, false);
        let words: Vec<&str> = given.split([' ', ',']).filter(|word| !word.is_empty()).collect();
        for (n, word) in words.iter().enumerate() {
            match *word {
                "static" => {}
                "dynamic" => dynamic = true,
                "serial" => serial = true,
                "listing" => lists = true,
                "instance" | "instances" | "process" | "processes" => {
                    count = words[n - 1].parse().unwrap();
                    provisions = word.starts_with('i');
                }
                word if word.parse::<usize>().is_ok() => {}
                word => match (word.strip_prefix('+'), word.split_once('=')) {
                    (Some(name), _) => {
                        let key = format!("instance_{name}");
                        offers.extend(Upkeep::ALL.into_iter().filter(|upkeep| upkeep.key() == key));
                    }
                    (_, Some((key, value))) => {
                        let key = Settings::keys().find(|known| *known == key).unwrap();
                        settings.apply(&[(key, value.to_owned())]).unwrap();
                    }
                    _ => ids.push(TestId::from(word)),
                },
            }
        }
        let renew_every = Duration::from_secs(20);
        let rules = Rules { concurrency: count, provisions, disposes: true, offers, renew_every, settings };
        let suite = Arc::new(Suite::new(ids, Groups::new("[A-Z]").unwrap().as_ref()).unwrap());
        let mut machine = Supervisor::new(rules);
        let adopted = if provisions && !lists { count } else { 0 };
        machine.on(Input::Adopted((0..adopted).map(|n| format!("i{n}")).collect()), Duration::ZERO);
        let queue = if dynamic {
            Queue::by_group(suite.grouped(suite.tests()))
        } else {
            let mut batches = vec![Vec::new(); count];
            for (n, group) in suite.grouped(suite.tests()).into_iter().enumerate() {
                batches[n % count].extend(group);
            }
            Queue::fixed(batches)
        };
        let tests = (!serial).then(|| (Arc::clone(&suite), queue));
        let work = Some(Work::new(tests, true));
        let mut play = Self { machine, suite, now: Duration::ZERO, batches: BTreeMap::new(), work, wake: None };
        let begun = if lists { play.on(Input::List) } else { play.step("run") };
        (play, begun)
    }

    fn name(&self, test: TestNumber) -> &str {
        self.suite.id(test).as_str()
    }

    fn on(&mut self, input: Input) -> Vec<String> {
        let actions = self.machine.on(input, self.now);
        let mut said = Vec::new();
        for action in actions {
            said.extend(self.say(action));
        }
        said
    }

    fn say(&mut self, action: Action) -> Vec<String> {
        vec![match action {
            Action::WakeAt(at) => {
                self.wake = at;
                return vec![];
            }
            Action::Note(_) => return vec![],
            Action::Became(instance, InstanceState::Dead { .. }) => format!("{} is dead", instance.id),
            Action::Became(instance, InstanceState::LeftBehind) => format!("{} is left", instance.id),
            Action::Became(..) => return vec![],
            Action::Provision(count) => format!("provision {count}"),
            Action::List(on) => format!("list on {}", on.map_or("-".into(), |on| on.id)),
            Action::Execute(worker, on, batch) => {
                let names: Vec<&str> =
                    batch.iter().flat_map(|batch| batch.iter()).map(|test| self.name(*test)).collect();
                let place = on.map_or(String::new(), |on| format!(" on {}", on.id));
                let said =
                    format!("w{worker} gets {}{place}", if batch.is_some() { names.join(" ") } else { "all".into() });
                self.batches.insert(worker, batch);
                said
            }
            Action::Upkeep(upkeep, on) => {
                let verb = if upkeep == Upkeep::Keep { "keep" } else { &upkeep.key()["instance_".len()..] };
                format!("{verb} {}", on.id)
            }
            Action::Dispose(_, ids) => format!("dispose {}", ids.join(" ")),
            Action::End(call, force) => format!("{} {}", format!("{force:?}").to_uppercase(), Self::call_name(call)),
            Action::Returncode(worker) => format!("returncode of w{worker}"),
            Action::Settle(_, fates) => return fates.iter().map(|(test, fate)| self.fate(*test, *fate)).collect(),
            Action::GiveUp(tests) => {
                return tests.iter().map(|(test, _)| format!("{} lost", self.name(*test))).collect();
            }
            Action::Keep(instance) => format!("{} is kept", instance.id),
            Action::Done(Outcome::Ran(None) | Outcome::Closed) => "done".into(),
            Action::Done(Outcome::Ran(Some(stop))) => match stop {
                Stop::NoInstances(_, left) => format!("stopped: no instance, {left} left"),
                stop => format!("stopped: {stop:?}"),
            },
            Action::Done(Outcome::Listed(_)) => "listed".into(),
            Action::Done(Outcome::NoInstances(_)) => "no instance".into(),
            Action::Done(Outcome::ProvisionFailed(_)) => "provision failed".into(),
            Action::Done(Outcome::DisposalFailed(_, left)) => format!("left behind: {}", left.join(" ")),
            Action::Done(outcome) => format!("{outcome:?}").to_lowercase(),
        }]
    }

    fn fate(&self, test: TestNumber, fate: Fate) -> String {
        let fate = match fate {
            Fate::Again => "again",
            Fate::Fails(Loss::NotRun) => "fails as not run",
            Fate::Fails(loss) => loss.as_str(),
            Fate::Failed => "failed before",
            Fate::NotRun => "not run",
            Fate::Unknown => "unknown",
        };
        format!("{} {fate}", self.name(test))
    }

    fn call_name(call: Call) -> String {
        match call {
            Call::Worker(worker) => format!("w{worker}"),
            Call::Upkeep(upkeep, place) => format!("{} i{place}", &upkeep.key()["instance_".len()..]),
            other => format!("{other:?}").to_lowercase(),
        }
    }

    /// `w0: a. b! c~ exit 1`: worker 0 passed a, failed b, was in progress with c, and ended like this. `kill i0: exit 0`,
    /// `dispose 0: exit 0`, `provision: i1 exit 0`, `signal`, `5 s later`, `run`, `close`. `woken`: as late as it wants to be.
    fn step(&mut self, step: &str) -> Vec<String> {
        if let Some(time) = step.strip_suffix(" s later") {
            self.now += Duration::from_secs_f64(time.parse().unwrap());
            return self.on(Input::Tick);
        }
        let (who, rest) = match step {
            "signal" => return self.on(Input::Signal),
            "close" => return self.on(Input::Close),
            "run" => {
                let work = self.work.take().unwrap();
                return self.on(Input::Run(work));
            }
            "woken" => {
                let Some(wake) = self.wake.take() else { return vec!["never".to_owned()] };
                self.now = self.now.max(wake);
                return self.on(Input::Tick);
            }
            step => step.split_once(": ").unwrap_or_else(|| panic!("{step}")),
        };
        let words: Vec<&str> = rest.split(' ').collect();
        let ends = words.len() >= 2 && matches!(words[words.len() - 2], "exit" | "signal");
        let (said, number) = if ends { words.split_at(words.len() - 2) } else { (&*words, &[][..]) };
        if let Some(worker) = who.strip_prefix('w') {
            let worker = WorkerId(worker.parse().unwrap());
            return self.worker(worker, said, number);
        }
        let mut out = Vec::new();
        let call = match who.split(' ').collect::<Vec<_>>()[..] {
            ["provision"] => {
                for id in said {
                    out.extend(self.on(Input::Printed((*id).to_owned())));
                }
                if number.is_empty() {
                    return out;
                }
                Call::Provision
            }
            ["listing"] => Call::Listing,
            ["dispose", n] => Call::Dispose(n.parse().unwrap()),
            [verb, id] => {
                let upkeep = Upkeep::ALL.into_iter().find(|upkeep| upkeep.key().ends_with(verb));
                let upkeep = if verb == "keep" { Upkeep::Keep } else { upkeep.unwrap() };
                Call::Upkeep(upkeep, id[1..].parse().unwrap())
            }
            _ => panic!("{step}"),
        };
        let ending = self.ending(call, number);
        out.extend(self.on(Input::Ended(call, ending)));
        out
    }

    fn ending(&self, call: Call, words: &[&str]) -> Ending {
        let number = words[1].parse().unwrap();
        let how = if words[0] == "exit" { How::Exited(number) } else { How::Signalled(number) };
        Ending { limit: self.machine.limit(call), ..Ending::of(how) }
    }

    fn worker(&mut self, worker: WorkerId, said: &[&str], end: &[&str]) -> Vec<String> {
        let Some(batch) = self.batches.get(&worker).cloned() else { return vec!["there is no such worker".to_owned()] };
        let find = |name: &str| batch.iter().flat_map(|batch| batch.iter()).copied().find(|t| self.name(*t) == name);
        let mut account = Account {
            has_spoken: !said.is_empty(),
            handed_out: batch.as_ref().map_or(0, |b| b.len()),
            ..Account::default()
        };
        let (mut done, mut open) = (BTreeSet::new(), BTreeMap::new());
        for word in said {
            let (name, mark) = word.split_at(word.len() - 1);
            let test = find(name);
            account.results += usize::from(mark != "~");
            match mark {
                "~" => drop(test.map(|test| open.insert(test, self.now))),
                _ => done.extend(test),
            }
            if mark == "!" {
                account.failed.extend(test);
            }
        }
        let oldest = open.values().min().copied();
        if end.is_empty() {
            let failures = account.failed.len() as u64;
            return self.on(Input::Heard(worker, Heard { oldest, failures }));
        }
        let missing = batch.iter().flat_map(|batch| batch.iter()).filter(|test| !done.contains(test));
        if account.results < account.handed_out {
            account.missing = missing.map(|test| (*test, open.get(test).copied())).collect();
        }
        let ending = self.ending(Call::Worker(worker), end);
        self.on(Input::WorkerEnded(worker, ending, account))
    }
}

#[test]
fn every_row_of_the_page_is_what_the_machine_does() {
    let page = include_str!("../../supervisor.rs");
    let (_, table) = page.split_once("//! | rule |").unwrap();
    let rows = table.lines().skip(2).map_while(|line| line.strip_prefix("//! | ")).map(|line| {
        let cells: Vec<&str> = line.trim_end_matches(" |").split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 4, "{line}");
        cells
    });
    let mut wrong = Vec::new();
    let mut count = 0;
    for row in rows {
        let (mut play, begun) = Play::new(row[1]);
        let steps = std::iter::once(begun).chain(row[2].split("; ").map(|step| play.step(step)));
        let said: Vec<String> = steps.map(|said| if said.is_empty() { "-".into() } else { said.join(", ") }).collect();
        let said = said.join("; ");
        if said != row[3] {
            wrong.push(format!("//! | {} | {} | {} | {said} |", row[0], row[1], row[2]));
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "these rows should be:\n{}", wrong.join("\n"));
    assert!(count >= 40, "only {count} rows were found");
}
