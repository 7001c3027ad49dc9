//! One shell line as a process: started in a session of its own, read to the end, ended on demand.
//!
//! Knows nothing of tests or instances. [`super::callouts`] starts lines with [`start`]; the loop reads them through
//! [`attend`]. A source of instances that is no shell line makes its own [`Started`].

use std::collections::VecDeque;
use std::fs::File;
use std::future::Future;
use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use process_wrap::tokio::{CommandWrap, ProcessSession};
use tokio::io::{AsyncRead, AsyncReadExt, empty};
use tokio::time::{Instant, sleep, sleep_until};

use super::GRACE;
use super::follow::follow;
use super::signals::{Interrupt, Signals};
use super::supervisor::Force;
use crate::event::{Ending, How};

/// Something that was started for a callout: two streams of bytes, an end to wait for, a way to hasten it.
pub struct Started {
    /// What `running=` shows.
    pub line: String,
    /// The process that leads it, which is its session too unless it stays in the terminal's foreground.
    pub pid: Option<u32>,
    /// Whether it leads a session of its own.
    pub leads_session: bool,
    /// What it writes on stdout.
    pub stdout: Box<dyn AsyncRead + Send + Unpin>,
    /// What it writes on stderr.
    pub stderr: Box<dyn AsyncRead + Send + Unpin>,
    /// Where it waits to be written down before it does anything: lets it go on. Dropping it ends it.
    pub gate: Option<Gate>,
    /// Resolves when it ended.
    pub ended: Pin<Box<dyn Future<Output = How> + Send>>,
    /// Ends it. Called any number of times, also after it ended.
    pub end: Ender,
}

/// Ends something that was started.
pub type Ender = Box<dyn FnMut(Force) + Send>;

impl Started {
    /// Something that could not be started: it has ended already, with these words.
    #[must_use]
    pub fn not_run(line: String, why: &io::Error) -> Self {
        let how = How::NotRun(why.to_string());
        Self {
            line,
            pid: None,
            leads_session: false,
            gate: None,
            stdout: Box::new(empty()),
            stderr: Box::new(empty()),
            ended: Box::pin(std::future::ready(how)),
            end: Box::new(|_| ()),
        }
    }
}

/// A file that takes a stdout, and is read while it grows: open for writing, and its path.
pub type Output = (File, PathBuf);

/// A shell line to start.
#[derive(Debug)]
pub struct ShellLine {
    /// What `sh -c` gets.
    pub line: String,
    /// What is added to the environment.
    pub env: Vec<(&'static str, String)>,
    /// It waits to be let go ([`Started::gate`]).
    pub gated: bool,
    /// Where its stdout goes; a pipe if nothing is said.
    pub output: Option<Output>,
    /// Stay in the terminal's foreground group, if there is a terminal, so that a passphrase can be asked for.
    pub foreground: bool,
}

/// What a callout is told through its environment. None of it is inherited: regatta may run inside a callout of another
/// regatta.
pub(super) const OWN_VARIABLES: [&str; 12] = [
    "REGATTA",
    "REGATTA_COMMAND",
    "REGATTA_COMMAND_FILE",
    "REGATTA_DEST",
    "REGATTA_FILES",
    "REGATTA_INSTANCE_COUNT",
    "REGATTA_INSTANCE_ID",
    "REGATTA_INSTANCE_IDS",
    "REGATTA_INSTANCE_INDEX",
    "REGATTA_LEASE",
    "REGATTA_RUN_ID",
    "REGATTA_TTL",
];

/// Waits for a line on stdin, and becomes the shell that the line is for. Without one, who started it has died.
const GATE: &str = "read -r go || exit 125; exec /bin/sh -c \"$1\" </dev/null";

/// Something that was started waits behind it.
#[derive(Debug)]
pub struct Gate(File);

impl Gate {
    /// Let it go on.
    pub fn open(mut self) {
        // An error means that it has ended.
        let _ = self.0.write_all(b"\n");
    }
}

/// Start a shell line: stdin at its end, stdout and stderr ours to read.
#[must_use]
pub fn start(shell: ShellLine) -> Started {
    let ShellLine { line, env, gated, output, foreground } = shell;
    let (file, path) = output.unzip();
    let followed = path.as_deref().map(follow).transpose();
    let (follow, finish) = match followed {
        Ok(followed) => followed.unzip(),
        Err(error) => return Started::not_run(line, &error),
    };
    let session = !(foreground && io::IsTerminal::is_terminal(&io::stdin()));
    let mut command = CommandWrap::with_new("/bin/sh", |c| {
        for name in OWN_VARIABLES {
            c.env_remove(name);
        }
        c.arg("-c").envs(env).stderr(Stdio::piped());
        if gated {
            c.args([GATE, "/bin/sh", &line]).stdin(Stdio::piped());
        } else {
            c.arg(&line).stdin(Stdio::null());
        }
        c.stdout(file.map_or_else(Stdio::piped, Stdio::from));
    });
    if session {
        command.wrap(ProcessSession);
    }
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Started::not_run(line, &error),
    };
    let pid = child.id();
    let leader = pid.and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
    let group = Arc::new(Group { pid: leader, session, state: AtomicU8::new(RUNS) });
    let stdout: Box<dyn AsyncRead + Send + Unpin> = match follow {
        Some(follow) => Box::new(follow),
        None => Box::new(child.stdout().take().expect("it was asked for as a pipe")),
    };
    let stderr = child.stderr().take().expect("it was asked for as a pipe");
    let gate = child.stdin().take().and_then(|stdin| stdin.into_owned_fd().ok()).map(|stdin| Gate(stdin.into()));
    let ender = Arc::clone(&group);
    let ended = async move {
        let status = child.into_inner().wait().await;
        group.settle().await;
        if let Some(finish) = finish {
            group.linger().await;
            finish.finish();
        }
        status.map_or_else(|error| How::NotRun(error.to_string()), how)
    };
    let end = Box::new(move |force| ender.end(force));
    Started { line, pid, leads_session: session, gate, stdout, stderr: Box::new(stderr), ended: Box::pin(ended), end }
}

/// The processes of one shell line.
struct Group {
    pid: Option<Pid>,
    /// They have a session of their own, whose number is the shell's.
    session: bool,
    state: AtomicU8,
}

/// The states of a [`Group`], in the order in which they come.
const RUNS: u8 = 0;
const TERMINATED: u8 = 1;
const KILLED: u8 = 2;
const GONE: u8 = 3;

impl Group {
    fn end(&self, force: Force) {
        let (signal, state) = match force {
            Force::Term => (Signal::SIGTERM, TERMINATED),
            Force::Kill => (Signal::SIGKILL, KILLED),
            // A session without a terminal is not stopped by TSTP; those who catch it pass it on.
            Force::Suspend => (Signal::SIGTSTP, RUNS),
            Force::Stop => (Signal::SIGSTOP, RUNS),
            Force::Continue => (Signal::SIGCONT, RUNS),
        };
        // Once all is over, the number may be another's.
        if self.state.fetch_max(state, Ordering::Relaxed) < GONE {
            // An error means that it has just ended.
            let _ = self.signal(Some(signal));
        }
    }

    fn signal(&self, signal: Option<Signal>) -> nix::Result<()> {
        let Some(pid) = self.pid else { return Ok(()) };
        if self.session { killpg(pid, signal) } else { kill(pid, signal) }
    }

    /// The shell was waited for. What forked away and lives on is nobody's business, unless it was to be ended: a shell
    /// may die of TERM at once while its command traps it. As long as the group has a member, its number is not reused,
    /// so it can still get its KILL.
    async fn settle(&self) {
        while self.session && self.state.load(Ordering::Relaxed) == TERMINATED && self.signal(None).is_ok() {
            // Nothing tells of the end of a group that is not ours to wait for; the KILL bounds this.
            sleep(Duration::from_millis(20)).await;
        }
        self.state.store(GONE, Ordering::Relaxed);
    }

    /// A stdout that is a file has no end that is seen when the last who could write goes. So as with a pipe, those who
    /// were left behind get some time.
    async fn linger(&self) {
        let until = Instant::now() + LINGER;
        while self.session && self.signal(None).is_ok() && Instant::now() < until {
            sleep(Duration::from_millis(20)).await;
        }
    }
}

fn how(status: ExitStatus) -> How {
    match (status.code(), status.signal()) {
        (Some(code), _) => How::Exited(code),
        (None, Some(signal)) => How::Signalled(signal),
        (None, None) => How::NotRun(format!("an end that is neither a status nor a signal: {status}")),
    }
}

/// What becomes of the bytes of one stdout.
pub trait Intake: Send {
    /// Where the next bytes go.
    fn buffer(&mut self) -> &mut BytesMut;
    /// Bytes arrived in the buffer.
    fn arrived(&mut self);
    /// Nothing came for a second. Called only while [`Intake::is_waiting`].
    fn idle(&mut self) {}
    /// Whether a silence means anything.
    fn is_waiting(&self) -> bool {
        false
    }
    /// Nothing comes any more.
    fn ended(&mut self) {}
}

/// Where what was read goes: told after each read, and may make the reader wait.
pub trait Outflow<I>: Send {
    /// The intake has something new.
    fn stdout(&mut self, intake: &mut I) -> impl Future<Output = ()> + Send;
    /// These bytes came on stderr.
    fn stderr(&mut self, bytes: Bytes) -> impl Future<Output = ()> + Send;
}

/// How much is read at once. A pipe holds 64 KiB; more room lets large packets arrive whole.
const READ_SIZE: usize = 256 * 1024;

/// How long to go on reading after the end, where a process that forked away keeps the pipe open.
const LINGER: Duration = Duration::from_secs(3);

/// How much is read after that, at the most, from something that never stops writing: what the largest pipe holds.
const LINGERING: usize = 1024 * 1024;

/// How long a silence must be to mean something.
const SILENCE: Duration = Duration::from_secs(1);

/// Read both streams to their ends and wait for the end.
///
/// When the process has ended and something else keeps its streams open, what is there already is read and then
/// no more is waited for.
pub async fn attend<I: Intake>(started: Started, intake: &mut I, out: &mut impl Outflow<I>) -> Ending {
    let Started { mut stdout, mut stderr, mut ended, .. } = started;
    let mut errors = BytesMut::new();
    let mut tail = Tail::default();
    let (mut stdout_open, mut stderr_open) = (true, true);
    let mut end: Option<(How, Instant)> = None;
    let mut late = 0;
    while stdout_open || stderr_open || end.is_none() {
        let give_up = end.as_ref().map(|(_, at)| *at);
        if stdout_open {
            intake.buffer().reserve(READ_SIZE);
        }
        errors.reserve(READ_SIZE / 64);
        tokio::select! {
            biased;
            read = stdout.read_buf(intake.buffer()), if stdout_open => {
                stdout_open = matches!(read, Ok(n) if n > 0);
                if give_up.is_some_and(|at| at <= Instant::now()) {
                    late += read.unwrap_or(0);
                    stdout_open &= late <= LINGERING;
                }
                if stdout_open { intake.arrived() } else { intake.ended() }
                out.stdout(intake).await;
            }
            read = stderr.read_buf(&mut errors), if stderr_open => {
                stderr_open = matches!(read, Ok(n) if n > 0);
                let bytes = errors.split().freeze();
                tail.push(&bytes);
                out.stderr(bytes).await;
            }
            how = &mut ended, if end.is_none() => end = Some((how, Instant::now() + LINGER)),
            () = sleep_until(give_up.unwrap_or_else(Instant::now)), if give_up.is_some() => break,
            () = sleep(SILENCE), if stdout_open && intake.is_waiting() => {
                intake.idle();
                out.stdout(intake).await;
            }
        }
    }
    if stdout_open {
        intake.ended();
        out.stdout(intake).await;
    }
    let how = end.map_or_else(|| How::NotRun("its end was not seen".into()), |(how, _)| how);
    Ending { last_stderr: tail.lines(), ..Ending::of(how) }
}

/// What a callout said, all of it.
#[derive(Debug)]
pub struct Captured {
    /// Its stdout.
    pub stdout: Vec<u8>,
    /// Its stderr.
    pub stderr: Vec<u8>,
    /// How it ended.
    pub ending: Ending,
}

/// Run a shell line to its end and keep what it says: for callouts that say little.
///
/// # Errors
/// With the signal that came; the callout was ended.
pub async fn capture(shell: ShellLine, signals: &mut Signals) -> Result<Captured, Interrupt> {
    let mut stdout = Kept::default();
    let mut stderr = Kept::default();
    let mut started = start(shell);
    let mut end = std::mem::replace(&mut started.end, Box::new(|_| ()));
    let mut attended = Box::pin(attend(started, &mut stdout, &mut stderr));
    let ending = tokio::select! {
        ending = &mut attended => ending,
        interrupt = signals.end() => {
            end(Force::Term);
            tokio::select! {
                _ = &mut attended => {}
                _ = signals.end() => end(Force::Kill),
                () = sleep(GRACE) => end(Force::Kill),
            }
            return Err(interrupt);
        }
    };
    drop(attended);
    Ok(Captured { stdout: stdout.0.to_vec(), stderr: stderr.0.to_vec(), ending })
}

#[derive(Default)]
struct Kept(BytesMut);

impl Intake for Kept {
    fn buffer(&mut self) -> &mut BytesMut {
        &mut self.0
    }
    fn arrived(&mut self) {}
}

impl Outflow<Self> for Kept {
    async fn stdout(&mut self, _: &mut Self) {}
    async fn stderr(&mut self, bytes: Bytes) {
        self.0.extend_from_slice(&bytes);
    }
}

/// The last lines of a stream, bounded in number and length.
#[derive(Debug, Default)]
struct Tail {
    lines: VecDeque<Vec<u8>>,
    /// The last line has no end yet.
    open: bool,
}

impl Tail {
    const LINES: usize = 20;
    const LINE_LENGTH: usize = 2000;

    fn push(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            if !self.open {
                self.lines.push_back(Vec::new());
            }
            self.open = !piece.ends_with(b"\n");
            let line = self.lines.back_mut().expect("one was just pushed, or is open");
            let room = Self::LINE_LENGTH - line.len();
            line.extend_from_slice(&piece[..piece.len().min(room)]);
            if self.lines.len() > Self::LINES {
                self.lines.pop_front();
            }
        }
    }

    fn lines(self) -> Vec<String> {
        self.lines.iter().map(|line| String::from_utf8_lossy(line).trim_end_matches(['\n', '\r']).to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &str) -> (Vec<u8>, Ending) {
        run_and(line, |_| ())
    }

    fn run_and(line: &str, act: impl FnOnce(&mut Ender)) -> (Vec<u8>, Ending) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut started = start(ShellLine {
                line: line.into(),
                env: vec![("WHO", "me".into())],
                gated: true,
                output: None,
                foreground: false,
            });
            if let Some(gate) = started.gate.take() {
                gate.open();
            }
            act(&mut started.end);
            let mut stdout = Kept::default();
            let ending = attend(started, &mut stdout, &mut Kept::default()).await;
            (stdout.0.to_vec(), ending)
        })
    }

    #[test]
    fn streams_status_and_the_end_of_stderr() {
        let (out, ending) = run(r#"cat; echo "$WHO"; echo one >&2; seq 30 >&2; printf half >&2; exit 7"#);
        assert_eq!(out, b"me\n", "stdin is at its end");
        assert_eq!(ending.how, How::Exited(7));
        assert_eq!(ending.last_stderr.len(), 20);
        assert_eq!((&*ending.last_stderr[0], &*ending.last_stderr[19]), ("12", "half"));
        assert_eq!(run("kill -9 $$").1.how, How::Signalled(9));
    }

    #[test]
    fn a_process_that_forked_away_and_keeps_stdout_open_is_not_waited_for() {
        let began = std::time::Instant::now();
        let (out, ending) = run("echo result; sleep 60 & exit 0");
        assert_eq!((out.as_slice(), ending.how), (b"result\n".as_slice(), How::Exited(0)));
        assert!(began.elapsed() < Duration::from_secs(30), "it was waited for");
    }

    #[test]
    fn ending_reaches_the_whole_session() {
        let (_, ending) = run_and("sleep 60 | sleep 60", |end| end(Force::Kill));
        assert_eq!(ending.how, How::Signalled(9));
    }

    #[test]
    fn the_session_is_its_own() {
        // The sixth field of a process's stat is its session; the name before it has no blank here.
        let (out, _) = run("echo $$; cut -d' ' -f6 /proc/$$/stat");
        let out = String::from_utf8(out).unwrap();
        let numbers: Vec<&str> = out.split_whitespace().collect();
        assert_eq!(numbers[0], numbers[1], "the shell leads a session");
    }
}
