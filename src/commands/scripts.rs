//! `scripts`: a test runner for executable files, which speaks subunit v2.
//!
//! Each executable file below the given paths is a test, its id the path below. Exit status 0 passes, 77 skips,
//! anything else fails; stdout and stderr are attached as they come. The runner's own exit status is 0 whatever the
//! tests did: the stream says it.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use chrono::Utc;

use super::Exit;
use super::run::read_list;
use crate::cli::Scripts;
use crate::error::Error;
use crate::event::{FileChunk, Status, TestEvent};
use crate::report::Stdout;
use crate::test_id::TestId;
use crate::wire;

/// The exit status that says a test was skipped, as for automake.
const SKIP: i32 = 77;

pub(super) fn scripts(args: &Scripts) -> Result<Exit, Error> {
    let tests = find(&args.paths)?;
    let mut out = Emitter(Stdout::open());
    let chosen: Vec<TestId> = match &args.load_list {
        None => tests.keys().cloned().collect(),
        Some(path) => read_list(path)?,
    };
    for id in chosen {
        // A list may name tests that are gone; whoever wrote it is told by their absence.
        let Some(path) = tests.get(&id) else { continue };
        if args.list {
            out.emit(&id, TestEvent { status: Some(Status::Exists), ..TestEvent::default() })?;
        } else {
            run(&id, path, &mut out)?;
        }
    }
    Ok(Exit::Passed)
}

/// The tests below these paths, by id.
fn find(paths: &[PathBuf]) -> Result<BTreeMap<TestId, PathBuf>, Error> {
    let mut tests = BTreeMap::new();
    for path in paths {
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        walk(path, &mut seen, &mut found)
            .map_err(|e| Error::failure(format!("cannot look for tests in {}: {e}", path.display())))?;
        for file in found {
            let below = file.strip_prefix(path).ok().filter(|below| !below.as_os_str().is_empty());
            let name = below.or_else(|| file.file_name().map(Path::new)).unwrap_or(&file);
            let Some(name) = name.to_str().filter(|name| !name.contains('\n')) else {
                let said = format!("{} cannot be a test id: it is not UTF-8, or has a line end", file.display());
                return Err(Error::failure(said).hint("rename it, or take its executable bit away"));
            };
            if let Some(other) = tests.insert(TestId::from(name), file.clone()) {
                let said = format!("{} and {} would both be the test {name}", other.display(), file.display());
                return Err(Error::failure(said).hint("give a directory above both"));
            }
        }
    }
    Ok(tests)
}

/// Gather executable files, also behind links; what begins with a dot is passed over, as for `ls`.
fn walk(path: &Path, seen: &mut HashSet<PathBuf>, found: &mut Vec<PathBuf>) -> io::Result<()> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_dir() {
        if metadata.is_file() && metadata.permissions().mode() & 0o111 != 0 {
            found.push(path.to_owned());
        }
        return Ok(());
    }
    // A link to a directory above would have no end.
    if !seen.insert(fs::canonicalize(path)?) {
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let dangling = fs::metadata(entry.path()).is_err();
        if !entry.file_name().as_encoded_bytes().starts_with(b".") && !dangling {
            walk(&entry.path(), seen, found)?;
        }
    }
    Ok(())
}

/// Run one test and tell of it while it runs.
fn run(id: &TestId, path: &Path, out: &mut Emitter) -> Result<(), Error> {
    out.emit(id, TestEvent { status: Some(Status::InProgress), ..TestEvent::default() })?;
    // A path without a slash would be looked for in PATH.
    let program = Path::new(".").join(path);
    let spawned = Command::new(program).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return out.end(id, Status::Fail, Some(format!("cannot be run: {error}"))),
    };
    // Bounded, so that a slow reader holds the test back.
    let (pieces, inbox) = sync_channel(4);
    let streams: [(&str, Option<Box<dyn Read + Send>>); 2] = [
        ("stdout", child.stdout.take().map(|s| Box::new(s) as _)),
        ("stderr", child.stderr.take().map(|s| Box::new(s) as _)),
    ];
    for (name, stream) in streams {
        let pieces = pieces.clone();
        stream.map(|stream| thread::spawn(move || read(name, stream, &pieces)));
    }
    thread::spawn(move || pieces.send(Piece::Ended(child.wait())));
    let mut ended: Option<(ExitStatus, Instant)> = None;
    let mut late = 0;
    loop {
        // What the test left running may hold its streams open, and write on them, for ever.
        let piece = match &ended {
            None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some((_, deadline)) => inbox.recv_timeout(deadline.saturating_duration_since(Instant::now()).max(LAST)),
        };
        match piece {
            Ok(Piece::Output(name, bytes)) => {
                if ended.as_ref().is_some_and(|(_, deadline)| *deadline < Instant::now()) {
                    late += bytes.len();
                }
                out.attach(id, name, bytes)?;
                if late > LATE {
                    break;
                }
            }
            Ok(Piece::Ended(status)) => ended = Some((status.map_err(Error::failure)?, Instant::now() + LINGER)),
            Err(_) => break,
        }
    }
    let (status, _) = ended.expect("its end is sent before the last sender goes");
    let (status, why) = judge(status);
    out.end(id, status, why)
}

/// How long after the test's end more output is waited for.
const LINGER: Duration = Duration::from_millis(500);

/// How long each further piece may take then.
const LAST: Duration = Duration::from_millis(50);

/// How many bytes are read then, at the most: what a large pipe holds.
const LATE: usize = 1024 * 1024;

/// What comes of a test that runs.
enum Piece {
    Output(&'static str, Vec<u8>),
    Ended(io::Result<ExitStatus>),
}

fn read(name: &'static str, mut stream: impl Read, pieces: &SyncSender<Piece>) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(n) if pieces.send(Piece::Output(name, buffer[..n].to_vec())).is_err() => return,
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return,
            _ => {}
        }
    }
}

fn judge(status: ExitStatus) -> (Status, Option<String>) {
    match (status.code(), status.signal()) {
        (Some(0), _) => (Status::Success, None),
        (Some(SKIP), _) => (Status::Skip, None),
        (Some(code), _) => (Status::Fail, Some(format!("exit status {code}"))),
        (None, signal) => (Status::Fail, Some(format!("killed by signal {}", signal.unwrap_or_default()))),
    }
}

/// Writes events, each seen at once.
struct Emitter(Stdout);

impl Emitter {
    fn emit(&mut self, id: &TestId, event: TestEvent) -> Result<(), Error> {
        let time = (event.status != Some(Status::Exists)).then(Utc::now);
        let event = TestEvent { id: Some(id.as_str().into()), runnable: true, time, ..event };
        let mut packet = Vec::new();
        wire::encode(&mut packet, &event);
        self.0.bytes(&packet).and_then(|()| self.0.flush()).map_err(Error::failure)
    }

    fn attach(&mut self, id: &TestId, name: &str, bytes: Vec<u8>) -> Result<(), Error> {
        let mime = Some("text/plain;charset=utf8".into());
        let file = FileChunk { name: name.into(), mime, bytes: bytes.into(), eof: false };
        self.emit(id, TestEvent { file: Some(file), ..TestEvent::default() })
    }

    fn end(&mut self, id: &TestId, status: Status, why: Option<String>) -> Result<(), Error> {
        if let Some(why) = why {
            self.attach(id, "traceback", why.into_bytes())?;
        }
        self.emit(id, TestEvent { status: Some(status), ..TestEvent::default() })
    }
}
