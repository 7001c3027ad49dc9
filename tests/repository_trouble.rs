//! Old and odd repositories, and runs that cannot be stored, through the program: nothing is lost, and each error says
//! what is wrong, where the results are and what to do.
//!
//! A directory that cannot be written and a full disk are mounts in a namespace of their own, since root may write
//! anywhere. Where none can be made the test is skipped, and says so; for root in CI (`CI` set) that is a failure.

#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use regatta::event::{FileChunk, Stamp, Status, TestEvent};
use regatta::repository::Repository;
use regatta::test_id::TestId;
use regatta::wire::encode;

const REGATTA: &str = env!("CARGO_BIN_EXE_regatta");

/// A directory with a `.testr.conf`, a repository and a place for temporary files.
struct Sandbox(tempfile::TempDir);

/// Files of a repository: their names and what is in them.
type Files<'a> = &'a [(&'a str, &'a [u8])];

/// What a command printed, and its exit status.
struct Ended {
    stdout: String,
    stderr: String,
    status: i32,
}

impl Sandbox {
    /// Without a repository.
    fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".testr.conf"), "[DEFAULT]\ntest_command=true\n").unwrap();
        fs::create_dir(dir.path().join("tmp")).unwrap();
        Self(dir)
    }

    fn new() -> Self {
        let sandbox = Self::empty();
        Repository::init(sandbox.0.path()).unwrap();
        sandbox
    }

    /// With these files in the repository.
    fn with(files: Files) -> Self {
        let sandbox = Self::empty();
        fs::create_dir(sandbox.path("")).unwrap();
        for (name, content) in files {
            fs::write(sandbox.path(name), content).unwrap();
        }
        sandbox
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(".testrepository").join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// The names in a directory of the sandbox, sorted.
    fn names(&self, dir: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.0.path().join(dir)) else { return vec![] };
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn repository(&self) -> Repository {
        Repository::open(self.0.path()).unwrap()
    }

    fn failing(&self) -> Vec<String> {
        self.repository().failing_ids().unwrap().iter().map(ToString::to_string).collect()
    }

    fn time(&self, id: &str) -> Option<f64> {
        self.repository().times(&[TestId::from(id)]).unwrap().into_values().next()
    }

    /// A shell that knows `regatta`.
    fn shell(&self, script: &str) -> Command {
        let path = format!("{}:{}", Path::new(REGATTA).parent().unwrap().display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(&self.0).env("PATH", path).env("TMPDIR", self.0.path().join("tmp"));
        command
    }

    #[track_caller]
    fn sh(&self, script: &str, stdin: &[u8]) -> Ended {
        ended(start(&mut self.shell(script), stdin).wait_with_output().unwrap())
    }

    /// The same in a namespace of its own, where it may mount; nothing where there is none.
    #[track_caller]
    fn sh_with_mounts(&self, script: &str, stdin: &[u8]) -> Option<Ended> {
        let unshare = ["-m", "-rm"].into_iter().find(|flags| {
            let probe = ["unshare", flags, "mount", "-t", "tmpfs", "probe", "tmp"].join(" ");
            self.shell(&probe).output().is_ok_and(|output| output.status.success())
        });
        let Some(flags) = unshare else {
            let is_root = self.shell("id -u").output().is_ok_and(|output| output.stdout == b"0\n");
            assert!(std::env::var_os("CI").is_none() || !is_root, "root has to be able to mount in CI");
            // Past the test harness, which keeps what a passing test prints.
            let _ = writeln!(std::io::stderr(), "SKIPPED: no namespace to mount in");
            return None;
        };
        Some(self.sh(&format!("exec unshare {flags} sh -ec {}", shell_words::quote(script)), stdin))
    }
}

fn start(command: &mut Command, stdin: &[u8]) -> Child {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A child that has ended need not read it.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    child
}

fn ended(output: Output) -> Ended {
    Ended {
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        status: output.status.code().unwrap_or(-1),
    }
}

/// A subunit stream: `a` passes and `a!` fails, with a log of this many bytes, after a quarter of a second.
fn stream(specs: &[&str], log: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for spec in specs {
        let id = spec.trim_end_matches('!');
        let status = if *spec == id { Status::Success } else { Status::Fail };
        let mut say = |status, millis: i64, file| {
            let time = Stamp::from_timestamp_millis(1_704_067_200_000 + millis);
            encode(
                &mut out,
                &TestEvent { id: Some(id.into()), status, time, file, runnable: true, ..Default::default() },
            );
        };
        say(Some(Status::InProgress), 0, None);
        if log > 0 {
            let mime = Some("text/plain;charset=utf8".into());
            let file = FileChunk { name: "log".into(), mime, bytes: vec![b'Q'; log].into(), eof: true };
            say(None, 0, Some(file));
        }
        say(Some(status), 250, None);
    }
    out
}

/// A run as all versions of testr write it; tags are in another order with each Python.
const RUN: &str = "time: 2014-03-01 12:00:00.250000Z\ntags: worker-0 slow\ntest: m.a\n\
    time: 2014-03-01 12:00:00.750000Z\nsuccessful: m.a [ multipart\n]\ntags: -worker-0 -slow\n\
    time: 2014-03-01 12:00:00.750000Z\ntags: slow worker-0\ntest: m.f\n\
    time: 2014-03-01 12:00:01.250000Z\nfailure: m.f [ multipart\nContent-Type: text/x-traceback;charset=utf8\n\
    traceback\nE\r\nTraceback:\nno\n0\r\n]\ntags: -slow -worker-0\n\
    time: 2014-03-01 12:00:01.250000Z\ntags: worker-0\ntest: m.ü (x,y)\n\
    time: 2014-03-01 12:00:01.750000Z\nskip: m.ü (x,y) [ multipart\nContent-Type: text/plain;charset=utf8\n\
    reason\n8\r\nnot here0\r\n]\ntags: -worker-0\n\
    time: 2014-03-01 12:00:01.750000Z\ntags: worker-0\ntest: m.hung\nfailure: m.hung [ multipart\n]\ntags: -worker-0\n";
/// `failing` as testr writes it after that run.
const FAILING: &str = "time: 2014-03-01 12:00:00.750000Z\ntags: slow worker-0\ntest: m.f\n\
    time: 2014-03-01 12:00:01.250000Z\nfailure: m.f [ multipart\nContent-Type: text/x-traceback;charset=utf8\n\
    traceback\nE\r\nTraceback:\nno\n0\r\n]\ntags: -slow -worker-0\n\
    time: 2014-03-01 12:00:01.750000Z\ntags: worker-0\ntest: m.hung\nfailure: m.hung [ multipart\n]\ntags: -worker-0\n";

/// What testr 0.0.18 to 0.0.22 leave, under Pythons 2 and 3: only the times differ, and Python 2's may be Berkeley DB.
#[test]
fn what_old_testrs_left_is_read_and_added_to() {
    // Python 2 escapes what is not ASCII in a dumb index, Python 3 does not. 0.0.18 and 0.0.19 time what is only
    // listed (m.e) as well.
    let python_2 = "'m.\\xc3\\xbc (x,y)', (0, 3)\n'm.a', (512, 3)\n'm.e', (1024, 3)\n'm.f', (1536, 3)\n";
    let python_3 = "'m.a', (512, 3)\n'm.f', (1536, 3)\n'm.ü (x,y)', (0, 3)\n";
    let mut values = [0; 1536 + 3];
    for at in [0, 512, 1024, 1536] {
        values[at..at + 3].copy_from_slice(b"0.5");
    }
    // The head of a Berkeley DB hash, which Python 2 makes where it has bsddb.
    let berkeley = [&[0; 12][..], &0x0006_1561_u32.to_ne_bytes(), &[9, 0, 0, 0]].concat();
    let kept: &[(Files, &str)] = &[
        (&[("times.dbm.dat", &values), ("times.dbm.dir", python_2.as_bytes())], ""),
        (&[("times.dbm.dat", &values), ("times.dbm.dir", python_3.as_bytes()), ("times.dbm.bak", b"")], ""),
        (&[("times.dbm", &berkeley)], "a format that neither Python 3 nor regatta knows"),
        (&[], ""),
    ];
    for (times, note) in kept {
        let files: Files =
            &[("format", b"1\n"), ("next-stream", b"1\n"), ("0", RUN.as_bytes()), ("failing", FAILING.as_bytes())];
        let sandbox = Sandbox::with(&[files, times].concat());
        let last = sandbox.sh("regatta last", b"");
        assert!(
            last.stdout.ends_with("Ran 4 tests in 1.500s\nFAILED (id=0, failures=2, skips=1)\n"),
            "{}",
            last.stdout
        );
        assert_eq!(sandbox.failing(), ["m.f", "m.hung"]);
        let known = if times.is_empty() { None } else { Some(0.5) };
        assert_eq!([sandbox.time("m.a"), sandbox.time("m.ü (x,y)")], [known, known], "{note}");

        let run = sandbox.sh("regatta run", b"");
        assert_eq!((run.status, run.stderr.contains(note)), (0, true), "{}", run.stderr);
        let loaded = sandbox.sh("regatta load --partial", &stream(&["m.f", "m.new!"], 0));
        assert_eq!((loaded.status, &*loaded.stderr), (1, ""), "{}", loaded.stdout);
        assert_eq!((sandbox.time("m.new"), sandbox.time("m.f")), (Some(0.25), Some(0.25)), "{note}");
        for (name, content) in times.iter().filter(|(name, _)| *name == "times.dbm") {
            assert_eq!(fs::read(sandbox.path(name)).unwrap(), *content, "it stays as it is");
        }
        assert_eq!(sandbox.read("next-stream"), "3\n");
    }
}

/// However much of a run is there, what is there is shown, and a test that was cut is a failure.
#[test]
fn a_truncated_run_is_read_as_far_as_it_goes() {
    for end in (0..RUN.len()).filter(|end| RUN.is_char_boundary(*end)) {
        let files: Files = &[("format", b"1\n"), ("next-stream", b"1\n"), ("0", &RUN.as_bytes()[..end])];
        let sandbox = Sandbox::with(files);
        let counts = sandbox.repository().counts(0).unwrap();
        let begun = RUN[..end].matches("\ntest: m.").count();
        assert!(counts.tests as usize <= begun && counts.tests as usize + 1 >= begun, "cut at {end}: {counts:?}");
    }
    let cut = RUN.find("Traceback").unwrap();
    let files: Files = &[("format", b"1\n"), ("next-stream", b"1\n"), ("0", &RUN.as_bytes()[..cut])];
    let sandbox = Sandbox::with(files);
    let last = sandbox.sh("regatta last", b"");
    assert_eq!(last.status, 1, "{}{}", last.stdout, last.stderr);
    assert!(last.stdout.contains("FAIL: m.f\n"), "{}", last.stdout);
    assert_eq!(sandbox.sh("regatta load", &stream(&["m.a"], 0)).status, 0);
}

#[test]
fn a_missing_run_is_an_error_that_names_it_and_the_next_run_is_stored() {
    let sandbox = Sandbox::with(&[("format", b"1\n"), ("next-stream", b"5\n"), ("3", RUN.as_bytes())]);
    let last = sandbox.sh("regatta last", b"");
    assert_eq!((last.status, &*last.stdout), (3, ""));
    assert!(
        last.stderr.contains("no such run: ") && last.stderr.contains(".testrepository/4 does not"),
        "{}",
        last.stderr
    );
    let loaded = sandbox.sh("regatta load", &stream(&["m.a"], 0));
    assert_eq!((&*loaded.stdout, loaded.status), ("Ran 1 tests in 0.250s\nPASSED (id=5)\n", 0), "{}", loaded.stderr);
    assert_eq!(sandbox.sh("regatta last", b"").status, 0);
}

/// The two commands of the hint do what it says.
#[test]
fn with_a_garbled_next_stream_the_hint_s_commands_store_the_run() {
    let sandbox = Sandbox::new();
    sandbox.sh("regatta load", &stream(&["m.old!", "m.a!"], 0));
    fs::write(sandbox.path("next-stream"), "\0\0").unwrap();
    let loaded = sandbox.sh("regatta load --partial", &stream(&["m.a", "m.b!"], 9));
    assert_eq!(loaded.status, 3);
    assert!(loaded.stdout.contains("FAIL: m.b\n"), "shown all the same: {}", loaded.stdout);
    let unstored = sandbox.names(".testrepository").into_iter().find(|name| name.starts_with("unstored-")).unwrap();
    assert!(sandbox.read(&unstored).contains("failure: m.b"));
    for words in ["the run is not stored; its results are in ", &unstored, "next-stream should hold the number"] {
        assert!(loaded.stderr.contains(words), "{words}: {}", loaded.stderr);
    }
    assert_eq!(sandbox.failing(), ["m.old", "m.a"]);

    let commands: Vec<&str> = loaded
        .stderr
        .lines()
        .filter_map(|line| line.split_once("makes it run 1: ").or_else(|| line.split_once("up to date: ")))
        .map(|(_, command)| command)
        .collect();
    assert_eq!(commands.len(), 2, "{}", loaded.stderr);
    let first = sandbox.sh(commands[0], b"");
    assert_eq!((first.status, &*first.stderr), (0, ""));
    let last = sandbox.sh("regatta last", b"");
    assert!(last.stdout.ends_with("FAILED (id=1, failures=1 (-1))\n"), "{}", last.stdout);
    let second = sandbox.sh(commands[1], b"");
    assert!(second.stdout.ends_with("FAILED (id=2, failures=1)\n"), "{}{}", second.stdout, second.stderr);
    assert_eq!(sandbox.failing(), ["m.old", "m.b"]);
    assert_eq!(sandbox.time("m.b"), Some(0.25));
}

#[test]
fn when_the_repository_cannot_be_written_the_results_are_kept_elsewhere() {
    let sandbox = Sandbox::new();
    sandbox.sh("regatta load", &stream(&["m.old!"], 0));
    let read_only = "mount --bind .testrepository .testrepository && mount -o remount,bind,ro .testrepository\n";
    let Some(loaded) = sandbox.sh_with_mounts(&format!("{read_only} regatta load"), &stream(&["m.a", "m.b!"], 9))
    else {
        return;
    };
    assert_eq!(loaded.status, 3, "{}{}", loaded.stdout, loaded.stderr);
    assert!(loaded.stdout.contains("FAIL: m.b\n"), "{}", loaded.stdout);
    assert!(loaded.stderr.contains("Read-only file system") && loaded.stderr.contains("hint: "), "{}", loaded.stderr);
    let kept = sandbox.names("tmp");
    assert!(kept.len() == 1 && loaded.stderr.contains(&*kept[0]), "{kept:?} {}", loaded.stderr);
    let text = fs::read_to_string(sandbox.0.path().join("tmp").join(&kept[0])).unwrap();
    assert!(text.contains("successful: m.a") && text.contains("failure: m.b"), "{text}");
    assert_eq!((&*sandbox.read("next-stream"), sandbox.failing()), ("1\n", vec!["m.old".to_owned()]));

    let all = "regatta last; regatta failing; regatta slowest; regatta stats";
    let read = sandbox.sh_with_mounts(&format!("{read_only} set +e; {all}"), b"").unwrap();
    assert_eq!(read.stderr, "", "what is there can be read");
    assert!(read.stdout.contains("m.old    0.250\n") && read.stdout.ends_with("runs=1\n"), "{}", read.stdout);
}

/// Times of Python 3.13 have a journal, which reading would have to make.
#[test]
fn a_database_of_times_is_read_where_nothing_can_be_written() {
    let sandbox = Sandbox::new();
    let database = rusqlite::Connection::open(sandbox.path("times.dbm")).unwrap();
    database.pragma_update(None, "journal_mode", "wal").unwrap();
    database.execute("CREATE TABLE Dict (key BLOB UNIQUE NOT NULL, value BLOB NOT NULL)", ()).unwrap();
    drop(database);
    assert_eq!(sandbox.sh("regatta load", &stream(&["m.a"], 0)).stderr, "");
    let script =
        "mount --bind .testrepository .testrepository && mount -o remount,bind,ro .testrepository\n regatta slowest";
    let Some(slowest) = sandbox.sh_with_mounts(script, b"") else { return };
    assert!(slowest.stdout.contains("m.a      0.250\n"), "{}{}", slowest.stdout, slowest.stderr);
}

#[test]
fn on_a_full_disk_nothing_is_lost() {
    // In the first case the file of the run does not fit, in the second only what is made from it.
    for (log, place) in [(60_000, "tmp"), (15_000, ".testrepository/regatta")] {
        let sandbox = Sandbox::new();
        sandbox.sh("regatta load", &stream(&["m.old!"], 0));
        let script = "cp -a .testrepository full && mkdir small && mount -t tmpfs -o size=96k none small\n\
                      cp -a .testrepository small/ && cp .testr.conf small/\n\
                      code=0; regatta -d \"$PWD/small\" load || code=$?\n\
                      rm -r .testrepository/* && cp -a small/.testrepository/. .testrepository/; exit $code";
        let Some(loaded) = sandbox.sh_with_mounts(script, &stream(&["m.a!", "m.b!", "m.c!"], log)) else { return };
        assert_eq!(loaded.status, 3, "{}", loaded.stderr);
        assert!(loaded.stderr.contains("No space left on device"), "{}", loaded.stderr);
        let kept: Vec<_> = sandbox.names(place).into_iter().filter(|name| name.ends_with(".v1")).collect();
        assert!(kept.len() == 1 && loaded.stderr.contains(&*kept[0]), "{place}: {kept:?} {}", loaded.stderr);
        let text = fs::read_to_string(sandbox.0.path().join(place).join(&kept[0])).unwrap();
        assert_eq!((text.matches("\nfailure: m.").count(), text.matches('Q').count()), (3, 3 * log));
        assert_eq!((&*sandbox.read("next-stream"), sandbox.failing()), ("1\n", vec!["m.old".to_owned()]));
        assert!(!sandbox.names(".testrepository/regatta").iter().any(|name| name.ends_with(".new")));
    }
}

/// A limit on the length of files stops every file, so that some results are lost: the error says which are not.
#[test]
fn where_no_file_may_grow_the_error_says_what_is_kept() {
    let sandbox = Sandbox::new();
    let limited = "trap '' XFSZ; ulimit -f 64; exec regatta load";
    let loaded = sandbox.sh(limited, &stream(&["m.a", "m.b!"], 400_000));
    assert_eq!(loaded.status, 3, "{}", loaded.stderr);
    assert!(loaded.stderr.contains("the results before this are in it"), "{}", loaded.stderr);
    assert!(loaded.stderr.contains("File too large"), "{}", loaded.stderr);
    assert_eq!(sandbox.read("next-stream"), "0\n");
    assert_eq!(sandbox.sh("regatta load", &stream(&["m.a", "m.b!"], 400_000)).status, 1);
}

/// Each run gets a number of its own, `failing` is that of the last, and no time is lost.
#[test]
fn two_processes_at_once_store_all_runs() {
    let sandbox = Sandbox::new();
    let rounds = 50;
    for round in 0..rounds {
        let children = ["left", "right"].map(|side| {
            let ids = [format!("{side}.{round}!"), format!("{side}.ok"), format!("{side}.always!")];
            start(&mut sandbox.shell("exec regatta load"), &stream(&ids.each_ref().map(|id| &**id), 100))
        });
        for child in children {
            let ended = ended(child.wait_with_output().unwrap());
            assert_eq!((ended.status, &*ended.stderr), (1, ""), "{}", ended.stdout);
        }
    }
    let repository = sandbox.repository();
    assert_eq!(repository.count().unwrap(), 2 * rounds);
    let mut first_ids: Vec<String> = (0..2 * rounds)
        .map(|run| {
            let mut events = repository.run(run).unwrap().map(Result::unwrap);
            let ids: Vec<String> =
                events.by_ref().filter_map(|e| e.status?.is_final().then(|| e.id.unwrap().to_string())).collect();
            assert_eq!(ids.len(), 3, "run {run}");
            ids[0].clone()
        })
        .collect();
    let (last, _) = first_ids.last().unwrap().split_once('.').unwrap();
    assert_eq!(sandbox.failing(), [first_ids.last().unwrap().clone(), format!("{last}.always")]);
    first_ids.sort();
    first_ids.dedup();
    assert_eq!(first_ids.len() as u64, 2 * rounds, "no run is there twice");
    for id in first_ids.iter().map(|id| &**id).chain(["left.ok", "right.ok", "left.always"]) {
        assert_eq!(sandbox.time(id), Some(0.25), "{id}");
    }
    let mut ours: Vec<String> =
        (0..2 * rounds).map(|run| format!("{run}.jsonl")).chain(["journal", "lock"].map(Into::into)).collect();
    ours.sort();
    assert_eq!(sandbox.names(".testrepository/regatta"), ours);
}
