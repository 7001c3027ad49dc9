//! Attempts at tests that did not decide, or have not yet, with their output: `regatta/N.attempts`, subunit v2.
//!
//! Each stands there in one piece, in the order in which they ended: `inprogress`, its files, and its status if it got
//! one, with the tags that it had. Its route code is the number of its worker, so that two attempts at a test are never
//! taken for one. Written by the inserter while the run goes on, as `regatta/RUN.attempts`; read by recovery.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use bytestring::ByteString;

use crate::attachment::{Attachment, Body};
use crate::event::{FileChunk, FinishedTest, Stamp, Status, TestEvent};
use crate::wire::{self, Item, Scanner, Within};

/// How much of an attachment is in a packet.
const PIECE: u64 = 64 * 1024;

/// How much waits for the next flush at most, and how much is read at once, in bytes.
const BUFFER: usize = 1 << 18;

/// How much of an attachment stays in memory when it is read.
const IN_MEMORY: usize = 1 << 20;

/// The file of a run.
#[derive(Debug)]
pub(super) struct AttemptsFile {
    file: File,
    buffer: Vec<u8>,
}

impl AttemptsFile {
    /// A new file, that only its owner can read.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        Ok(Self { file, buffer: Vec::new() })
    }

    /// Add an attempt.
    pub(super) fn write(&mut self, test: &FinishedTest) -> io::Result<()> {
        let about = TestEvent {
            id: Some(test.id.clone()),
            tags: test.tags.clone(),
            runnable: true,
            route: worker_of(test).or_else(|| test.route.clone()),
            ..TestEvent::default()
        };
        let start = Some(test.start);
        wire::encode(&mut self.buffer, &TestEvent { status: Some(Status::InProgress), time: start, ..about.clone() });
        for attachment in &test.attachments {
            let mut left = attachment.body.len();
            let mut body = attachment.body.read()?;
            while left > 0 {
                let mut bytes = Vec::new();
                let read = body.by_ref().take(PIECE).read_to_end(&mut bytes)? as u64;
                left = if read == 0 { 0 } else { left.saturating_sub(read) };
                let (name, mime) = (attachment.name.clone(), attachment.mime.clone());
                let file = Some(FileChunk { name, mime, bytes: bytes.into(), eof: left == 0 });
                wire::encode(&mut self.buffer, &TestEvent { file, ..about.clone() });
                if self.buffer.len() >= BUFFER {
                    self.flush()?;
                }
            }
        }
        if test.status.is_some() {
            wire::encode(&mut self.buffer, &TestEvent { status: test.status, time: test.stop, ..about });
        }
        Ok(())
    }

    /// To the system, not to the disk.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let written = self.file.write_all(&self.buffer);
        self.buffer.clear();
        written
    }

    /// To the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// The number of the worker that a test ran in, from its tag, which comes after those that the runner gave.
fn worker_of(test: &FinishedTest) -> Option<ByteString> {
    let number = test.tags.last()?.strip_prefix("worker-")?;
    Some(number.into())
}

/// Read the attempts that failed, in order. What was cut off at the end is none.
pub(super) fn read_failures(
    mut input: impl Read,
    mut each: impl FnMut(FinishedTest) -> io::Result<()>,
) -> io::Result<()> {
    let (mut scanner, mut items) = (Scanner::new(), Vec::new());
    let mut buffer = vec![0; BUFFER];
    let mut open = FinishedTest::default();
    loop {
        let read = match input.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        match read {
            0 => scanner.finish(&mut items),
            read => scanner.feed(&buffer[..read], &mut items),
        }
        for item in items.drain(..) {
            if let Item::Packet { event, within: Within::Nothing } = item
                && let Some(test) = take_in(&mut open, event)?
            {
                each(test)?;
            }
        }
        if read == 0 {
            return Ok(());
        }
    }
}

/// Take an event in. Gives the attempt if this was its end and it failed.
fn take_in(open: &mut FinishedTest, event: TestEvent) -> io::Result<Option<FinishedTest>> {
    let Some(id) = event.id else { return Ok(None) };
    if event.status == Some(Status::InProgress) {
        let start = event.time.unwrap_or_default();
        *open = FinishedTest { id, route: event.route, tags: event.tags, start, ..FinishedTest::default() };
    } else if id == open.id
        && let Some(file) = event.file
    {
        attach(open, file)?;
    } else if id == open.id && event.status.is_some() {
        let stop: Option<Stamp> = event.time;
        let test = FinishedTest { status: event.status, stop, ..std::mem::take(open) };
        return Ok(test.is_failure().then_some(test));
    }
    Ok(None)
}

fn attach(open: &mut FinishedTest, file: FileChunk) -> io::Result<()> {
    let at = open.attachments.iter().position(|attachment| attachment.name == file.name).unwrap_or_else(|| {
        open.attachments.push(Attachment { name: file.name, mime: file.mime, body: Body::default() });
        open.attachments.len() - 1
    });
    let body = &mut open.attachments[at].body;
    body.append(&file.bytes)?;
    if body.in_memory() > IN_MEMORY { body.spill() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(id: &str, status: Option<Status>, worker: u32, log: &[u8]) -> FinishedTest {
        let at = |s| Stamp::from_timestamp(s, 0).unwrap();
        FinishedTest {
            id: id.into(),
            status,
            tags: vec!["slow".into(), format!("worker-{worker}").into()],
            start: at(100),
            stop: status.map(|_| at(101)),
            attachments: vec![Attachment {
                name: "log".into(),
                mime: Some("text/plain".into()),
                body: log.to_vec().into(),
            }],
            ..FinishedTest::default()
        }
    }

    fn written(tests: &[FinishedTest]) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.attempts");
        let mut file = AttemptsFile::create(&path).unwrap();
        for test in tests {
            file.write(test).unwrap();
        }
        file.flush().unwrap();
        std::fs::read(path).unwrap()
    }

    fn failures(stream: &[u8]) -> Vec<FinishedTest> {
        let mut found = Vec::new();
        read_failures(stream, |test| {
            found.push(test);
            Ok(())
        })
        .unwrap();
        found
    }

    fn log(test: &FinishedTest) -> Vec<u8> {
        let mut bytes = Vec::new();
        test.attachments[0].body.read().unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn failures_are_read_as_they_were_written_wherever_the_end_was_cut_off() {
        let large = vec![b'Q'; 3 * IN_MEMORY + 5];
        let tests = [
            test("cut short", None, 0, b"x"),
            test("a", Some(Status::Fail), 0, b"log of a"),
            test("large", Some(Status::Fail), 2, &large),
        ];
        let stream = written(&tests);
        let found = failures(&stream);
        assert_eq!(found.len(), 2);
        let a = &found[0];
        assert_eq!((&*a.id, a.status, a.start, a.stop), ("a", tests[1].status, tests[1].start, tests[1].stop));
        assert_eq!((a.tags.clone(), a.route.as_deref(), log(a)), (tests[1].tags.clone(), Some("0"), log(&tests[1])));
        assert!(log(&found[1]) == large && found[1].attachments[0].body.in_memory() == 0);

        let small = written(&tests[..2]);
        for end in 0..small.len() {
            assert!(failures(&small[..end]).is_empty(), "{end}");
        }
    }
}
