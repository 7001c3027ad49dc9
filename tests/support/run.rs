//! The program in a sandbox: started, watched, signalled, and checked when it ended.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Instant;

use super::{LIMIT, Sandbox, fifo, in_thread};

/// A run of the program that is to be made.
#[must_use]
pub(crate) struct Run<'a> {
    sandbox: &'a Sandbox,
    args: Vec<OsString>,
    env: Vec<(String, OsString)>,
    stdin: Vec<u8>,
    stdout: Option<Stdio>,
    stderr: Option<Stdio>,
    left: bool,
}

impl<'a> Run<'a> {
    pub(super) fn new(sandbox: &'a Sandbox, args: Vec<OsString>) -> Self {
        Self { sandbox, args, env: Vec::new(), stdin: Vec::new(), stdout: None, stderr: None, left: false }
    }

    /// More arguments, as they are.
    pub(crate) fn args<S: Into<OsString>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn stdin(mut self, bytes: &[u8]) -> Self {
        self.stdin = bytes.to_vec();
        self
    }

    /// Its stdout goes here, not to the outcome.
    pub(crate) fn stdout(mut self, to: impl Into<Stdio>) -> Self {
        self.stdout = Some(to.into());
        self
    }

    /// The same for its stderr.
    pub(crate) fn stderr(mut self, to: impl Into<Stdio>) -> Self {
        self.stderr = Some(to.into());
        self
    }

    /// Processes may be left when it ends: the test ends them.
    pub(crate) fn leaves_processes(mut self) -> Self {
        self.left = true;
        self
    }

    #[track_caller]
    pub(crate) fn exits(self, status: i32) -> Outcome {
        self.spawn().exits(status)
    }

    #[track_caller]
    pub(crate) fn any(self) -> Outcome {
        self.spawn().finish()
    }

    /// Start it.
    #[track_caller]
    pub(crate) fn spawn(self) -> Running<'a> {
        let Self { sandbox, args, env, stdin, stdout, stderr, left } = self;
        static RUNS: AtomicUsize = AtomicUsize::new(0);
        let alive = sandbox.path(&format!("alive-{}", RUNS.fetch_add(1, Ordering::Relaxed)));
        fifo(&alive);
        let path = format!("{}:/usr/bin:/bin", sandbox.path("bin").display());
        let mut command = Command::new("/bin/sh");
        // All processes of the run inherit this descriptor: when the last of them ends, its reader sees the end.
        command.args(["-c", "exec 9>\"$1\"; shift; exec \"$@\"", "sh"]).arg(&alive);
        command.arg(env!("CARGO_BIN_EXE_regatta")).args(&args);
        command.current_dir(sandbox.path("project")).env_clear().env("BOX", sandbox.path(""));
        command.env("HOME", sandbox.path("home")).env("TMPDIR", sandbox.path("tmp")).env("PATH", path);
        command.env("TZ", "UTC").env("LANG", "C.UTF-8").envs(env);
        command.stdin(Stdio::piped()).stderr(stderr.unwrap_or_else(Stdio::piped));
        command.stdout(stdout.unwrap_or_else(Stdio::piped));
        let mut child = command.spawn().unwrap();
        // Our own copy of a pipe's end, if there is one.
        drop(command);
        let gone = in_thread(move || File::open(alive).unwrap().read_to_end(&mut Vec::new()).unwrap());
        let mut input = child.stdin.take().unwrap();
        // Who does not read it is not waited for.
        thread::spawn(move || drop(input.write_all(&stdin)));
        let stdout = child.stdout.take().map(Stream::new).unwrap_or_default();
        let stderr = child.stderr.take().map(Stream::new).unwrap_or_default();
        let words: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
        let what = format!("regatta {} (in {})", words.join(" "), sandbox.path("project").display());
        Running { sandbox, child, stdout, stderr, gone, left, what }
    }
}

/// One of the program's streams, as it comes; empty when somebody else has it.
#[derive(Default)]
struct Stream {
    chunks: Option<Receiver<Vec<u8>>>,
    seen: Vec<u8>,
}

impl Stream {
    fn new(mut from: impl Read + Send + 'static) -> Self {
        let (sender, chunks) = channel();
        thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(n @ 1..) = from.read(&mut buffer) {
                if sender.send(buffer[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { chunks: Some(chunks), seen: Vec::new() }
    }

    /// Wait until this is so, or the stream ends. False when it took too long.
    fn until(&mut self, mut is_enough: impl FnMut(&[u8]) -> bool) -> bool {
        let deadline = Instant::now() + LIMIT;
        while let Some(chunks) = &self.chunks
            && !is_enough(&self.seen)
        {
            match chunks.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(chunk) => self.seen.extend(chunk),
                Err(RecvTimeoutError::Disconnected) => self.chunks = None,
                Err(RecvTimeoutError::Timeout) => return false,
            }
        }
        true
    }
}

/// A run under way. Killed when the test fails.
pub(crate) struct Running<'a> {
    sandbox: &'a Sandbox,
    child: Child,
    stdout: Stream,
    stderr: Stream,
    gone: Receiver<usize>,
    left: bool,
    what: String,
}

impl Running<'_> {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Send a signal, as `INT`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        assert!(Command::new("/bin/kill").args(["-s", name, &pid]).status().unwrap().success(), "kill -s {name} {pid}");
    }
}

impl Running<'_> {
    /// Wait until stdout holds this.
    #[track_caller]
    pub(crate) fn shows(&mut self, text: &str) {
        self.stdout_until(|seen| find(seen, text.as_bytes()));
    }

    /// Wait until this is so of what stdout holds.
    #[track_caller]
    pub(crate) fn stdout_until(&mut self, mut is_enough: impl FnMut(&[u8]) -> bool) -> &[u8] {
        let in_time = self.stdout.until(&mut is_enough);
        let seen = &self.stdout.seen;
        assert!(in_time && is_enough(seen), "{} has shown only:\n{}", self.what, String::from_utf8_lossy(seen));
        seen
    }

    #[track_caller]
    pub(crate) fn exits(self, status: i32) -> Outcome {
        let outcome = self.finish();
        assert_eq!(outcome.status.code(), Some(status), "exit status of {outcome}");
        outcome
    }

    #[track_caller]
    pub(crate) fn dies_of(self, signal: i32) -> Outcome {
        let outcome = self.finish();
        assert_eq!(outcome.status.signal(), Some(signal), "signal that ended {outcome}");
        outcome
    }

    /// Wait for its end, and see that nothing is left.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Outcome {
        let ended = self.stderr.until(|_| false) && self.stdout.until(|_| false);
        let status = if ended { self.child.wait().unwrap() } else { ExitStatus::from_raw(9) };
        let [stdout, stderr] = [&mut self.stdout, &mut self.stderr].map(|stream| std::mem::take(&mut stream.seen));
        let outcome = Outcome { what: self.what.clone(), status, stdout, stderr };
        assert!(ended, "did not end in time: {outcome}");
        if !self.left {
            assert!(self.gone.recv_timeout(LIMIT).is_ok(), "a process is left after {outcome}");
        }
        let files = self.sandbox.temporary_files();
        assert!(files.is_empty(), "{files:?} are left after {outcome}");
        outcome
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // It has ended, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What became of a run.
pub(crate) struct Outcome {
    what: String,
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Outcome {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.stdout
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// See that stderr has all of these.
    #[track_caller]
    pub(crate) fn says(&self, words: &[&str]) -> &Self {
        for word in words {
            assert!(find(&self.stderr, word.as_bytes()), "stderr lacks {word:?}: {self}");
        }
        self
    }

    /// See that stdout has all of these.
    #[track_caller]
    pub(crate) fn prints(&self, words: &[&str]) -> &Self {
        for word in words {
            assert!(find(&self.stdout, word.as_bytes()), "stdout lacks {word:?}: {self}");
        }
        self
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, status, .. } = self;
        write!(f, "{what}\n{status}\n--- stdout\n{}\n--- stderr\n{}", self.stdout(), self.stderr())
    }
}

fn find(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}
