//! What the tests of `callouts/local` stand on: a root of their own, and ways to run, await and look.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

pub(crate) const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/callouts/local");

/// A daemon in a session of its own with its files closed, its child, one in another session, and one without an environment.
pub(crate) const DAEMON: &str = "setsid sh -c 'exec <&- >&- 2>&-
    sleep 1000 & a=$!; setsid sleep 1000 & b=$!; env -i setsid sleep 1000 & c=$!
    echo $$ $a $b $c >\"$F\"; wait' &";

/// A directory with a root for instances; what still lives there is disposed of at the end.
pub(crate) struct Host {
    dir: tempfile::TempDir,
    shell: String,
}

impl Host {
    pub(crate) fn new() -> Self {
        Self::with_shell(&std::env::var("REGATTA_TEST_SH").unwrap_or_else(|_| "sh".into()))
    }

    pub(crate) fn with_shell(shell: &str) -> Self {
        // The root's name holds what a careless pattern or an unquoted word would trip over.
        Self { dir: tempfile::Builder::new().prefix("a b+(c)[d]$.*").tempdir().unwrap(), shell: shell.into() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.path("root")
    }

    /// The script's command line, in an environment without what an outer regatta may have set.
    pub(crate) fn callout(&self, args: &[&str]) -> Command {
        let mut words = self.shell.split(' ');
        let mut command = Command::new(words.next().unwrap());
        command.args(words).arg(SCRIPT).args(args);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("REGATTA") {
                command.env_remove(name);
            }
        }
        command.env("REGATTA_LOCAL_ROOT", self.root()).stdin(Stdio::null());
        command
    }

    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        expect(&mut self.callout(args), 0)
    }

    #[track_caller]
    pub(crate) fn provision(&self, count: usize) -> Vec<String> {
        let ids: Vec<_> = self.ok(&["provision", &count.to_string()]).lines().map(String::from).collect();
        assert_eq!(ids.len(), count, "{ids:?}");
        ids
    }

    #[track_caller]
    pub(crate) fn one(&self) -> String {
        self.provision(1).remove(0)
    }

    pub(crate) fn instance(&self, id: &str) -> PathBuf {
        self.root().join(id)
    }

    pub(crate) fn port(&self, id: &str) -> u16 {
        let ports = fs::read_to_string(self.instance(id).join("ports")).unwrap();
        ports.split(' ').next().unwrap().parse().unwrap()
    }

    /// The port blocks that are locked.
    pub(crate) fn locks(&self) -> Vec<String> {
        let names = fs::read_dir(self.root().join(".ports")).unwrap().map(|e| e.unwrap().file_name());
        names.map(|n| n.into_string().unwrap()).filter(|n| n.starts_with(|c: char| c.is_ascii_digit())).collect()
    }

    /// Starts `sh -c line` on the instance, and returns when the line has written to `"$F"`, with what it wrote.
    #[track_caller]
    pub(crate) fn start(&self, id: &str, line: &str) -> (Child, String) {
        let fifo = self.path(&format!("fifo-{id}"));
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let mut command = self.callout(&["execute", id, "--", "sh", "-c", line]);
        let child = command.env("F", &fifo).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let said = read_fifo(&fifo);
        fs::remove_file(fifo).unwrap();
        (child, said)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let Ok(entries) = fs::read_dir(self.root()) else { return };
        let names: Vec<_> = entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
        let ids: Vec<_> = names.iter().map(String::as_str).filter(|n| n.starts_with("local-")).collect();
        if !ids.is_empty() {
            let _ = self.callout(&[&["dispose"], &ids[..]].concat()).env("REGATTA_LOCAL_GRACE", "0").output();
        }
    }
}

pub(crate) fn describe(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    format!("{}\n--- stdout\n{out}\n--- stderr\n{err}", output.status)
}

/// Runs it, and returns its stdout.
#[track_caller]
pub(crate) fn expect(command: &mut Command, status: i32) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(status), "{command:?}: {}", describe(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs it, and returns its stderr; its stdout must be empty.
#[track_caller]
pub(crate) fn expect_error(command: &mut Command, status: i32) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(status), "{command:?}: {}", describe(&output));
    assert!(output.stdout.is_empty(), "{command:?}: {}", describe(&output));
    String::from_utf8(output.stderr).unwrap()
}

/// What is written to the FIFO, once all who write to it have closed it.
#[track_caller]
pub(crate) fn read_fifo(path: &Path) -> String {
    let (sender, receiver) = mpsc::channel();
    let own = path.to_owned();
    std::thread::spawn(move || sender.send(fs::read_to_string(own)));
    receiver.recv_timeout(Duration::from_secs(60)).expect("the command never wrote to its FIFO").unwrap()
}

/// Whether there is such a process; a zombie is none.
pub(crate) fn alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[track_caller]
pub(crate) fn assert_all_ended(pids: &str) {
    assert!(pids.split_whitespace().count() > 0);
    for pid in pids.split_whitespace() {
        assert!(!alive(pid), "{pid} of {pids:?} still runs");
    }
}

pub(crate) fn signal(name: &str, pid: u32) {
    assert!(Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap().success());
}

pub(crate) fn available(tool: &str) -> bool {
    Command::new("sh").args(["-c", "command -v \"$0\" >/dev/null", tool]).status().unwrap().success()
}

/// Says so on the test program's own stderr, which is not captured.
pub(crate) fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}
