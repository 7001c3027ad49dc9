//! The repository against real testr and Python's own `dbm.dumb`: each reads what the other wrote.
//!
//! testr is `REGATTA_TEST_TESTR` or the one on `PATH`, Python is `REGATTA_TEST_PYTHON` or `python3`, with `subunit`.
//! Where they are missing the tests are skipped, and say so; in CI (`CI` set) that is a failure.

#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use regatta::attachment::Attachment;
use regatta::event::Counts;
use regatta::event::{FinishedTest, RunEnd, Sink, Stamp, Status};
use regatta::repository::Repository;
use regatta::test_id::TestId;

/// A directory with a `.testr.conf` and perhaps a repository, and the real programs.
struct Sandbox {
    dir: tempfile::TempDir,
    testr: OsString,
    python: OsString,
}

impl Sandbox {
    /// Nothing where there is no real testr.
    fn new() -> Option<Self> {
        let program = |variable: &str, name: &str| std::env::var_os(variable).unwrap_or_else(|| name.into());
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".testr.conf"), "[DEFAULT]\ntest_command=true\n").unwrap();
        let testr = program("REGATTA_TEST_TESTR", "testr");
        let python = program("REGATTA_TEST_PYTHON", "python3");
        let works = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
        let missing = if !works(Command::new(&testr).arg("--version")) {
            "testr"
        } else if !works(Command::new(&python).args(["-c", "import subunit.v2, dbm.dumb"])) {
            "python3 with subunit"
        } else {
            return Some(Self { dir, testr, python });
        };
        assert!(std::env::var_os("CI").is_none(), "{missing} is needed for this test in CI");
        // Past the test harness, which keeps what a passing test prints.
        let _ = writeln!(std::io::stderr(), "SKIPPED: {missing} is not there, so nothing is compared with it");
        None
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(".testrepository").join(name)
    }

    /// What testr prints, and its exit status.
    #[track_caller]
    fn testr(&self, args: &[&str], stdin: &[u8]) -> (String, i32) {
        self.call(Command::new(&self.testr).args(args), stdin)
    }

    /// What a Python program prints that must end well.
    #[track_caller]
    fn python(&self, program: &str) -> String {
        let (output, status) = self.call(Command::new(&self.python).args(["-c", program]), b"");
        assert_eq!(status, 0, "{output}");
        output
    }

    #[track_caller]
    fn call(&self, command: &mut Command, stdin: &[u8]) -> (String, i32) {
        let command =
            command.current_dir(&self.dir).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(stdin).unwrap();
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!stderr.contains("Traceback"), "{stderr}");
        (String::from_utf8(output.stdout).unwrap() + &stderr, output.status.code().unwrap())
    }

    /// A subunit v2 stream of tests, made by Python's own library from specs as in [`test`].
    fn stream(&self, specs: &[&str]) -> Vec<u8> {
        let program = format!(
            r#"
import sys, datetime
from subunit.v2 import StreamResultToBytes
out = StreamResultToBytes(sys.stdout.buffer)
at = datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)
ends = {{'!': 'fail', '*': 'uxsuccess', '-': 'skip', '?': None}}
for spec in {specs:?}:
    id, status = (spec[:-1], ends[spec[-1]]) if spec[-1] in ends else (spec, 'success')
    out.status(test_id=id, test_status='inprogress', timestamp=at, test_tags=set(['a', 'b']))
    at += datetime.timedelta(milliseconds=250)
    body = 'test: x\nfailure: %s\n]\n' % id
    out.status(test_id=id, file_name='log', file_bytes=body.encode(), mime_type='text/plain;charset=utf8', timestamp=at)
    if status:
        out.status(test_id=id, test_status=status, timestamp=at, test_tags=set(['a', 'b']))
"#
        );
        let output = Command::new(&self.python).args(["-c", &program]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn load(&self, specs: &[&str], partial: bool) {
        let args: &[&str] = if partial { &["load", "--partial"] } else { &["load"] };
        let (output, status) = self.testr(args, &self.stream(specs));
        assert!(status < 2, "{output}");
    }

    fn open(&self) -> Repository {
        Repository::open(self.dir.path()).unwrap()
    }

    /// Store a run as regatta does; its number.
    fn insert(&self, specs: &[&str], partial: bool) -> u64 {
        let mut inserter = self.open().inserter("run");
        for (spec, n) in specs.iter().zip(0..) {
            inserter.test(&test(spec, n)).unwrap();
        }
        let mut end = RunEnd {
            at: Stamp::default(),
            partial,
            interrupted: false,
            id: None,
            previous: None,
            counts: Counts::default(),
        };
        inserter.finish(&mut end).unwrap();
        end.id.unwrap()
    }

    fn failing(&self) -> Vec<String> {
        self.open().failing_ids().unwrap().iter().map(ToString::to_string).collect()
    }

    fn testr_failing(&self) -> Vec<String> {
        self.testr(&["failing", "--list"], b"").0.lines().map(str::to_owned).collect()
    }
}

/// The `n`th test of a run: `a` passes, `a!` fails, `a*` passes unexpectedly, `a-` is skipped, `a?` never ends.
fn test(spec: &str, n: i64) -> FinishedTest {
    let (id, status) = match spec.chars().last() {
        Some('!') => (&spec[..spec.len() - 1], Some(Status::Fail)),
        Some('*') => (&spec[..spec.len() - 1], Some(Status::UnexpectedSuccess)),
        Some('-') => (&spec[..spec.len() - 1], Some(Status::Skip)),
        Some('?') => (&spec[..spec.len() - 1], None),
        _ => (spec, Some(Status::Success)),
    };
    let at = |quarters| Stamp::from_timestamp_millis(1_704_067_200_000 + 250 * quarters).unwrap();
    let body = format!("test: x\nfailure: {id}\n]\n").into_bytes();
    let mime = Some("text/plain;charset=utf8".into());
    FinishedTest {
        id: id.into(),
        status,
        tags: vec!["worker-0".into(), "slow".into()],
        start: at(n),
        stop: status.map(|_| at(n + 1)),
        attachments: vec![Attachment { name: "log".into(), mime, body: body.into() }],
        ..FinishedTest::default()
    }
}

const RUN: &[&str] = &["m.a", "m.b!", "m.ü c!", "m.it's", "m.s-", "m.u*", "m.hung?"];

#[test]
fn real_testr_reads_what_regatta_wrote() {
    let Some(sandbox) = Sandbox::new() else { return };
    Repository::init(sandbox.dir.path()).unwrap();
    assert_eq!(sandbox.insert(RUN, false), 0);
    let (last, status) = sandbox.testr(&["last"], b"");
    assert!(last.contains("Ran 7 tests in") && last.contains("FAILED (id=0, failures=3, skips=1)"), "{last}");
    assert!(last.contains("FAIL: m.ü c\n") && last.contains("failure: m.b\n]"), "{last}");
    assert_eq!(status, 1);
    assert_eq!(sandbox.testr_failing(), ["m.b", "m.ü c", "m.hung"]);
    let (slowest, _) = sandbox.testr(&["slowest", "--all"], b"");
    assert_eq!(slowest.matches(" 0.250").count(), 6, "{slowest}");
    assert_eq!(sandbox.testr(&["stats"], b"").0.trim(), "runs=1");

    assert_eq!(sandbox.insert(&["m.b", "m.new!"], true), 1);
    let (last, _) = sandbox.testr(&["last"], b"");
    assert!(last.contains("Ran 2 (-5) tests") && last.contains("FAILED (id=1, failures=1 (-2))"), "{last}");
    assert_eq!(sandbox.testr_failing(), ["m.ü c", "m.hung", "m.new"]);
    assert_eq!(sandbox.insert(&[], false), 2);
    assert!(sandbox.testr(&["last"], b"").0.contains("PASSED (id=2)"));
    assert_eq!(sandbox.testr_failing(), [""; 0]);
}

#[test]
fn regatta_reads_what_real_testr_wrote() {
    let Some(sandbox) = Sandbox::new() else { return };
    sandbox.testr(&["init"], b"");
    let repository = sandbox.open();
    assert_eq!(repository.count().unwrap(), 0);
    sandbox.load(RUN, false);
    assert_eq!(repository.latest_id().unwrap(), 0);
    let counts = repository.counts(0).unwrap();
    assert_eq!((counts.tests, counts.failures, counts.skips), (7, 3, 1));
    assert_eq!(counts.elapsed().unwrap().num_milliseconds(), 1500);
    assert_eq!(sandbox.failing(), sandbox.testr_failing());
    let ids: Vec<TestId> = ["m.a", "m.ü c", "m.it's", "m.none"].map(TestId::from).to_vec();
    let times = repository.times(&ids).unwrap();
    assert_eq!((times.len(), times[&ids[0]], times[&ids[1]], times[&ids[2]]), (3, 0.25, 0.25, 0.25));
    let finals =
        repository.run(0).unwrap().filter(|event| event.as_ref().unwrap().status.is_some_and(Status::is_final));
    assert_eq!(finals.count(), 7);
}

/// The same runs, each stored by testr or regatta in turn, end with the same failing tests in the same order.
#[test]
fn both_write_one_repository_by_turns() {
    let Some(sandbox) = Sandbox::new() else { return };
    let Some(theirs) = Sandbox::new() else { return };
    sandbox.testr(&["init"], b"");
    theirs.testr(&["init"], b"");
    let runs: [(&[&str], bool); 6] = [
        (&["a!", "b!", "c!", "d!"], false),
        (&["new!", "c!", "b", "x*"], true),
        (&["a", "a!", "c!", "c", "e?"], true),
        (&["d!", "f!", "g-"], true),
        (&["d", "f!", "f", "f!", "h!"], true),
        (&["z!", "y!", "z", "z!"], false),
    ];
    for turn in 0..2 {
        for (n, (specs, partial)) in runs.iter().enumerate() {
            if n % 2 == turn {
                sandbox.insert(specs, *partial);
            } else {
                sandbox.load(specs, *partial);
            }
            theirs.load(specs, *partial);
            let failing = theirs.testr_failing();
            assert_eq!(sandbox.failing(), failing, "turn {turn}, after run {n}");
            assert_eq!(sandbox.testr_failing(), failing, "turn {turn}, after run {n}");
            let (ours, _) = sandbox.testr(&["failing"], b"");
            assert_eq!(ours.matches("failure: ").count(), failing.len(), "each with its log: {ours}");
        }
    }
    let mut names: Vec<_> =
        fs::read_dir(sandbox.path("")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.parse::<u64>().is_err());
    names.sort();
    let dumb = ["times.dbm.bak", "times.dbm.dat", "times.dbm.dir"];
    if names.iter().any(|name| name == dumb[2]) {
        assert_eq!(names, [&["failing", "format", "next-stream", "regatta"][..], &dumb].concat());
    }
}

/// Python and regatta change the same `dbm.dumb` by turns, and both read the same from it.
#[test]
fn both_change_one_file_of_times_by_turns() {
    let Some(sandbox) = Sandbox::new() else { return };
    let repository = Repository::init(sandbox.dir.path()).unwrap();
    let update = |times: &[(String, f64)]| {
        let items: String = times.iter().map(|(id, time)| format!("db[{id:?}] = str({time:?})\n")).collect();
        sandbox.python(&format!(
            "import dbm.dumb\ndb = dbm.dumb.open('.testrepository/times.dbm', 'c')\n{items}db.close()"
        ));
    };
    let mut model = std::collections::BTreeMap::new();
    let mut seed = 1_u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for round in 0..16 {
        let mut times = Vec::new();
        for _ in 0..random(12) {
            let id = format!("t{} 'ó\\àí\"", random(20));
            let time = [0.0, 1e-5, 1e-6, 123.25, 99_999_999.5][usize::try_from(random(5)).unwrap()] + random(3) as f64;
            times.push((id, time));
        }
        if round % 2 == 0 {
            update(&times);
        } else {
            let mut inserter = repository.inserter("run");
            for (id, time) in &times {
                let mut test = test(id, 0);
                test.stop = Some(test.start + chrono::TimeDelta::nanoseconds((time * 1e9).round() as i64));
                inserter.test(&test).unwrap();
            }
            let mut end = RunEnd {
                at: Stamp::default(),
                partial: true,
                interrupted: false,
                id: None,
                previous: None,
                counts: Counts::default(),
            };
            inserter.finish(&mut end).unwrap();
        }
        model.extend(times.into_iter().map(|(id, time)| (TestId::from(&*id), time)));
        let ids: Vec<TestId> = model.keys().cloned().collect();
        assert_eq!(repository.times(&ids).unwrap().into_iter().collect::<std::collections::BTreeMap<_, _>>(), model);
        if round % 5 != 0 {
            continue;
        }
        let expect: Vec<String> = model.iter().map(|(id, time)| format!("{id}={time:?}")).collect();
        let read = sandbox.python(
            "import dbm.dumb, sys\ndb = dbm.dumb.open('.testrepository/times.dbm', 'r')\n\
             lines = sorted(k + b'=' + repr(float(v)).encode() for k, v in db.items())\n\
             sys.stdout.buffer.write(b'\\n'.join(lines))",
        );
        let read: Vec<String> = read.split('\n').map(str::to_owned).collect();
        let number = |line: &String| line.rsplit_once('=').map(|(id, t)| (id.to_owned(), t.parse::<f64>().unwrap()));
        assert_eq!(read.iter().map(number).collect::<Vec<_>>(), expect.iter().map(number).collect::<Vec<_>>());
    }
}

#[test]
fn a_damaged_repository_is_refused_where_testr_refuses_it() {
    let Some(sandbox) = Sandbox::new() else { return };
    Repository::init(sandbox.dir.path()).unwrap();
    for (name, content) in [("next-stream", "junk\n"), ("next-stream", "5\n"), ("format", "2\n")] {
        fs::write(sandbox.path(name), content).unwrap();
        assert_eq!(sandbox.testr(&["last"], b"").1, 3, "{name} {content:?}");
        let ours = Repository::open(sandbox.dir.path()).and_then(|r| r.run(r.latest_id()?).map(drop));
        assert!(ours.is_err(), "{name} {content:?}");
    }
    let nowhere = Path::new("/no/such/place");
    assert!(sandbox.testr(&["-d/no/such/place", "last"], b"").0.contains("No repository found"));
    assert!(Repository::open(nowhere).unwrap_err().to_string().contains("no repository found"));
}
