//! `times.dbm` in each format that a Python here can make: what regatta reads from it, what it writes, and that Python
//! reads its own as before.
//!
//! Pythons are `REGATTA_TEST_PYTHON` and those that Debian and others install. A format that none of them has is
//! skipped, and says so: no Python has them all.

#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use regatta::event::{Counts, FinishedTest, RunEnd, Sink, Stamp, Status};
use regatta::repository::{Format, Repository};
use regatta::test_id::TestId;

/// A repository whose `times.dbm` is made by one of Python's modules.
struct Sandbox {
    dir: tempfile::TempDir,
    python: OsString,
    module: &'static str,
}

impl Sandbox {
    /// Nothing where no Python has the module.
    fn new(module: &'static str) -> Option<Self> {
        let pythons = std::env::var_os("REGATTA_TEST_PYTHON")
            .into_iter()
            .chain(["python3", "/usr/bin/python3", "python3.13", "python3.14"].map(OsString::from));
        let has_module = |python: &OsString| {
            let import = format!("import {module}");
            Command::new(python).args(["-c", &import]).output().is_ok_and(|output| output.status.success())
        };
        let Some(python) = pythons.into_iter().find(has_module) else {
            // Past the test harness, which keeps what a passing test prints.
            let _ = writeln!(std::io::stderr(), "SKIPPED: no Python here has {module}");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        Repository::init(dir.path()).unwrap();
        Some(Self { dir, python, module })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(".testrepository").join(name)
    }

    fn repository(&self) -> Repository {
        Repository::open(self.dir.path()).unwrap()
    }

    /// What a program prints that has the times in `db`.
    #[track_caller]
    fn python(&self, name: &str, program: &str) -> String {
        let text = format!(
            "import sys, {0}\ndb = {0}.open({1:?}, 'c')\n{program}\ndb.close()\n",
            self.module,
            self.path(name).to_str().unwrap()
        );
        let output = Command::new(&self.python).args(["-c", &text]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// testr's way: strings, which the module encodes.
    #[track_caller]
    fn python_sets(&self, times: &[(&str, f64)]) {
        let set: String = times.iter().map(|(id, time)| format!("db[{id:?}] = str({time:?})\n")).collect();
        self.python("times.dbm", &set);
    }

    #[track_caller]
    fn python_gets(&self, name: &str) -> BTreeMap<String, String> {
        let printed = self.python(name, "for k in db.keys(): sys.stdout.buffer.write(k + b'=' + db[k] + b'\\n')");
        printed.lines().map(|line| line.rsplit_once('=').unwrap()).map(|(k, v)| (k.into(), v.into())).collect()
    }

    /// Store a run in which tests took this long.
    fn run(&self, times: &[(&str, f64)]) {
        let mut inserter = self.repository().inserter("run");
        for (id, seconds) in times {
            let start = Stamp::from_timestamp(1_704_067_200, 0).unwrap();
            let stop = Some(start + chrono::TimeDelta::microseconds((seconds * 1e6).round() as i64));
            let status = Some(Status::Success);
            let test = FinishedTest { id: (*id).into(), status, start, stop, ..FinishedTest::default() };
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

    fn times(&self, ids: &[&str]) -> Vec<Option<f64>> {
        let ids: Vec<TestId> = ids.iter().map(|id| TestId::from(*id)).collect();
        let times = self.repository().times(&ids).unwrap();
        ids.iter().map(|id| times.get(id).copied()).collect()
    }
}

const IDS: [&str; 5] = ["m.a", "m.it's \"so\"", "m.ü (ó=1)", "m.new", "m.none"];

#[test]
fn dumb_and_sqlite3_are_read_and_written_by_turns() {
    for module in ["dbm.dumb", "dbm.sqlite3"] {
        let Some(sandbox) = Sandbox::new(module) else { continue };
        assert_eq!(sandbox.times(&IDS), [None; 5]);
        sandbox.python_sets(&[(IDS[0], 1.5), (IDS[1], 2e-6), (IDS[2], 100_000.25)]);
        assert!(sandbox.repository().unsupported_times().is_none(), "{module}");
        assert_eq!(sandbox.times(&IDS), [Some(1.5), Some(2e-6), Some(100_000.25), None, None]);
        sandbox.run(&[(IDS[3], 0.5), (IDS[1], 0.25)]);
        let expect = [(IDS[0], "1.5"), (IDS[1], "0.25"), (IDS[2], "100000.25"), (IDS[3], "0.5")];
        let expect: BTreeMap<String, String> = expect.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        assert_eq!(sandbox.python_gets("times.dbm"), expect, "{module}");
        sandbox.python_sets(&[(IDS[3], 7.0), (IDS[0], 0.0)]);
        assert_eq!(sandbox.times(&IDS), [Some(0.0), Some(0.25), Some(100_000.25), Some(7.0), None], "{module}");
        let ours = fs::read_dir(sandbox.path("regatta")).unwrap().count();
        assert_eq!(ours, 1, "{module}: only the lock");
        let theirs = fs::read_dir(sandbox.path("")).unwrap().map(|entry| entry.unwrap().file_name());
        let mut theirs: Vec<String> = theirs.map(|name| name.into_string().unwrap()).collect();
        theirs.retain(|name| name.starts_with("times.dbm"));
        theirs.sort();
        match module {
            "dbm.sqlite3" => assert_eq!(theirs, ["times.dbm"], "no journal is left"),
            _ => assert_eq!(theirs, ["times.dbm.bak", "times.dbm.dat", "times.dbm.dir"]),
        }
    }
}

#[test]
fn gdbm_and_ndbm_stay_as_they_are_and_regatta_keeps_its_own_beside_them() {
    for (module, format) in [("dbm.gnu", Format::Gnu), ("dbm.ndbm", Format::Ndbm)] {
        let Some(sandbox) = Sandbox::new(module) else { continue };
        sandbox.python_sets(&[(IDS[0], 1.5), (IDS[1], 2e-6), (IDS[2], 100_000.25)]);
        let told = sandbox.repository().unsupported_times().unwrap();
        assert_eq!(told.format, format);
        let theirs = fs::read(&told.path).unwrap();
        let known = match format {
            Format::Gnu => [Some(1.5), Some(2e-6), Some(100_000.25), None, None],
            Format::Ndbm | Format::Unknown => [None; 5],
        };
        assert_eq!(sandbox.times(&IDS), known, "{module}");

        sandbox.run(&[(IDS[3], 0.5), (IDS[1], 0.25)]);
        assert_eq!(sandbox.times(&IDS), [known[0], Some(0.25), known[2], Some(0.5), None], "{module}");
        assert_eq!(fs::read(&told.path).unwrap(), theirs, "{module}: unchanged");
        assert!(sandbox.repository().unsupported_times().is_none(), "{module}: it was said once");
        // Whatever Python there is reads ours.
        let dumb = Sandbox { dir: sandbox.dir, python: sandbox.python, module: "dbm.dumb" };
        assert_eq!(dumb.python_gets("regatta/times.dbm").len(), 2, "{module}");
    }
}

/// Many ids, so that a database has pages of every kind.
#[test]
fn every_id_of_many_is_found() {
    for module in ["dbm.dumb", "dbm.gnu", "dbm.sqlite3"] {
        let Some(sandbox) = Sandbox::new(module) else { continue };
        let names: Vec<String> = (0..3000).map(|n| format!("package.module.TestClass.test_number_{n}")).collect();
        sandbox.python(
            "times.dbm",
            "for n in range(3000): db['package.module.TestClass.test_number_%d' % n] = str(float(n))",
        );
        let names: Vec<&str> = names.iter().map(|name| &**name).collect();
        let expect: Vec<Option<f64>> = (0..3000).map(|n| Some(f64::from(n))).collect();
        assert_eq!(sandbox.times(&names), expect, "{module}");
        assert_eq!(sandbox.times(&names[2997..]), expect[2997..], "{module}");
    }
}

/// The user is told once, in one line, by a run; then times are there.
#[test]
fn a_run_says_once_where_times_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    Repository::init(dir.path()).unwrap();
    fs::write(dir.path().join(".testr.conf"), "[DEFAULT]\ntest_command=true\n").unwrap();
    fs::write(dir.path().join(".testrepository/times.dbm.db"), "theirs").unwrap();
    for (round, lines) in [(0, 1), (1, 0)] {
        let output = Command::new(env!("CARGO_BIN_EXE_regatta"))
            .arg("run")
            .current_dir(&dir)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{stderr}");
        assert_eq!(stderr.lines().count(), lines, "round {round}: {stderr}");
        assert_eq!(stderr.matches(".testrepository/regatta/times.dbm instead").count(), lines, "{stderr}");
    }
}
