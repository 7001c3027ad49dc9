//! What the end-to-end tests share: a [`Sandbox`] with fakes of all callouts, and the program in it ([`Run`]).
//!
//! Every run is checked for what it may never leave behind: a process, or a file in the directory for temporary ones.
//! Nothing here sleeps. A fake that has to wait does so on a [`Fifo`], and whatever a test waits for has [`LIMIT`].

#![allow(dead_code, reason = "each test uses a part")]

pub(crate) mod journals;
pub(crate) mod run;
pub(crate) mod streams;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use run::Run;

/// How long anything may take that a test waits for. Far more than it needs, so that a slow machine is no failure.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Each fake writes a line into the log, does what the test put into `on-NAME`, then its own part.
const FAKES: &[(&str, &str)] = &[
    ("concurrency", "echo concurrency >>\"$BOX/log\"\nhook\necho 2\n"),
    (
        "provision",
        "echo \"provision $*\" >>\"$BOX/log\"\nhook\n\
         n=$(cat \"$BOX/count\" 2>/dev/null || echo 0)\n\
         for _ in $(seq \"$1\"); do n=$((n+1)); echo \"i$n\"; done\necho \"$n\" >\"$BOX/count\"\n",
    ),
    (
        // The log has what the files hold.
        "execute",
        "id=$1; shift; files=; said=\n\
         while [ \"$1\" != -- ]; do files=\"$files $1\"; said=\"$said $(paste -sd, \"$1\")\"; shift; done; shift\n\
         echo \"execute $id [${said# }] -- $*\" >>\"$BOX/log\"\nhook\nexec \"$@\"\n",
    ),
    ("dispose", "echo \"dispose $*\" >>\"$BOX/log\"\nhook\n"),
    ("suite", "hook\nexec \"$REGATTA\" scripts \"$BOX/tests\" \"$@\"\n"),
];

const CONFIG: &[(&str, &str)] = &[
    ("test_command", "suite $LISTOPT $IDOPTION"),
    ("test_id_option", "--load-list $IDFILE"),
    ("test_list_option", "--list"),
    ("test_run_concurrency", "concurrency"),
    ("instance_provision", "provision $INSTANCE_COUNT"),
    ("instance_execute", "execute $INSTANCE_ID $FILES -- $COMMAND"),
    ("instance_dispose", "dispose $INSTANCE_IDS"),
];

/// A directory of its own for a test: a project with a repository, tests that are scripts, fakes, and nothing of the
/// machine's but the system's programs.
pub(crate) struct Sandbox {
    root: tempfile::TempDir,
    config: Vec<(String, String)>,
}

impl Sandbox {
    /// A project without tests, whose callouts are the fakes.
    pub(crate) fn new() -> Self {
        let sandbox = Self::bare();
        sandbox.write_config();
        sandbox.run("init").exits(0);
        sandbox
    }

    /// No configuration and no repository.
    pub(crate) fn bare() -> Self {
        let root = tempfile::Builder::new().prefix("regatta-e2e-").tempdir().unwrap();
        let config = CONFIG.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let sandbox = Self { root, config };
        for directory in ["project", "home", "tmp", "bin", "tests"] {
            fs::create_dir(sandbox.path(directory)).unwrap();
        }
        for (name, body) in FAKES {
            let hook = format!("if [ -e \"$BOX/on-{name}\" ]; then . \"$BOX/on-{name}\"; fi\n");
            sandbox.script(&format!("bin/{name}"), &body.replace("hook\n", &hook));
        }
        sandbox
    }

    /// A path in the sandbox; scripts know the sandbox as `$BOX`.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    #[track_caller]
    pub(crate) fn read(&self, name: &str) -> String {
        let bytes = fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        String::from_utf8(bytes).unwrap()
    }

    /// An executable sh script.
    pub(crate) fn script(&self, name: &str, body: &str) {
        self.write(name, format!("#!/bin/sh\n{body}"));
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A test of the suite.
    pub(crate) fn test(&self, id: &str, body: &str) {
        self.script(&format!("tests/{id}"), body);
    }

    /// What a fake does before its own part, with its arguments; `exit` keeps it from its own part.
    pub(crate) fn on(&self, fake: &str, script: &str) {
        self.write(&format!("on-{fake}"), script);
    }

    /// Set a key of the configuration.
    pub(crate) fn set(&mut self, key: &str, value: &str) {
        self.unset(key);
        self.config.push((key.to_owned(), value.to_owned()));
        self.write_config();
    }

    pub(crate) fn unset(&mut self, key: &str) {
        self.config.retain(|(k, _)| k != key);
        self.write_config();
    }

    fn write_config(&self) {
        let lines: String = self.config.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        self.write("project/.testr.conf", format!("[DEFAULT]\n{lines}"));
    }

    /// The lines that the fakes wrote, names of id files shown as `IDS`.
    pub(crate) fn log(&self) -> Vec<String> {
        let ids = self.path("tmp/regatta-ids-");
        let ids = ids.to_str().unwrap();
        let word = |word: &str| if word.starts_with(ids) { "IDS".to_owned() } else { word.to_owned() };
        let log = fs::read_to_string(self.path("log")).unwrap_or_default();
        log.lines().map(|line| line.split(' ').map(word).collect::<Vec<_>>().join(" ")).collect()
    }

    /// Compare the whole log.
    #[track_caller]
    pub(crate) fn logged(&self, expected: &[&str]) {
        assert_eq!(self.log(), expected);
    }

    /// Compare the whole log, in which neighbouring lines that hand tests out were written at once: they stand sorted.
    #[track_caller]
    pub(crate) fn logged_at_once(&self, expected: &[&str]) {
        let mut log = self.log();
        log.chunk_by_mut(|a, b| a.contains("--load-list") && b.contains("--load-list")).for_each(<[_]>::sort);
        assert_eq!(log, expected);
    }

    /// The program, with these arguments, apart at blanks.
    pub(crate) fn run(&self, args: &str) -> Run<'_> {
        let args = args.split_whitespace().map(OsString::from).collect();
        Run::new(self, args)
    }

    /// The ids that `failing --list` gives.
    #[track_caller]
    pub(crate) fn failing(&self) -> Vec<String> {
        self.run("failing --list").any().stdout().lines().map(str::to_owned).collect()
    }

    /// What is in the directory for temporary files.
    pub(crate) fn temporary_files(&self) -> Vec<PathBuf> {
        fs::read_dir(self.path("tmp")).unwrap().map(|entry| entry.unwrap().path()).collect()
    }
}

/// A named pipe in the sandbox: how a test and the scripts wait for each other. The test holds both ends, so neither
/// side blocks when it opens it, and a script that waits when the test fails sees its end.
pub(crate) struct Fifo(File);

impl Fifo {
    pub(crate) fn new(sandbox: &Sandbox, name: &str) -> Self {
        let path = sandbox.path(name);
        fifo(&path);
        Self(File::options().read(true).write(true).open(path).unwrap())
    }

    /// Let whoever does `read x <FIFO` go on.
    pub(crate) fn open(&mut self) {
        self.0.write_all(b"\n").unwrap();
    }

    /// Wait for a line, `echo x >FIFO`. Lines are waited for one at a time.
    #[track_caller]
    pub(crate) fn wait(&self) -> String {
        let file = self.0.try_clone().unwrap();
        let line = in_thread(move || {
            let mut line = String::new();
            // A line that follows at once would be swallowed by a larger buffer.
            BufReader::with_capacity(1, file).read_line(&mut line).map(|_| line)
        });
        line.recv_timeout(LIMIT).expect("nobody wrote into the FIFO").unwrap().trim_end().to_owned()
    }
}

/// Wait until a process is in this state (`T` is stopped), as the third field of its `stat` has it.
#[track_caller]
pub(crate) fn until_state(pid: u32, state: char) {
    let deadline = Instant::now() + LIMIT;
    loop {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        if stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(state)) {
            return;
        }
        assert!(Instant::now() < deadline, "process {pid} is not in state {state}: {stat}");
        // Nothing tells of a process that stops but to its parent.
        thread::yield_now();
    }
}

/// Make a FIFO.
fn fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success(), "mkfifo {}", path.display());
}

/// Do something that may block; its result comes through the channel.
fn in_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
    let (sender, receiver) = channel();
    thread::spawn(move || drop(sender.send(work())));
    receiver
}
