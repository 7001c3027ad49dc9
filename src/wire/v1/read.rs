//! Reads a stored run as the events that testr's `last --subunit` gives for it.
//!
//! Opens nothing and holds no attachment whole: its pieces are given out as they are read. Called by the commands that
//! look at stored runs, and by the repository when it needs what a run said.

use std::collections::VecDeque;
use std::io::{self, BufRead};

use bytestring::ByteString;

use super::lines::{Line, Lines};
use super::{END, PIECE, outcome_status};
use crate::event::{FileChunk, Stamp, Status, TestEvent};

/// The longest line that may be a directive: an escaped id is at most four times a packet.
const LONGEST: usize = 4 * crate::wire::MAX_PACKET;

/// The events of a stored run.
///
/// For each test: `inprogress`, then its files in pieces of at most 64 KiB, then its final status with the tags in
/// force; each with the last `time:` before it, if there was one. As for python-subunit, a line that is no directive, or
/// names another test than the one that is open, says nothing, and a test that is open at the end of the file failed,
/// with a `traceback` that says so (unlike there, with what is left of its files too). A last line without its end says
/// nothing, since it may have been cut. A string that is not UTF-8 is read as far as it is.
///
/// # Errors
/// When the file cannot be read, and that ends it. When a file's content type or the length of a chunk is garbled:
/// `InvalidData` with the offset of the line; asked for more, it goes on behind the `]` that ends the test's files,
/// with the outcome that the test has.
#[derive(Debug)]
pub struct Reader<R> {
    lines: Lines<R>,
    line: Vec<u8>,
    queue: VecDeque<io::Result<TestEvent>>,
    now: Option<Stamp>,
    tags: Vec<ByteString>,
    open: Option<Open>,
    ended: bool,
}

/// A test that has begun.
#[derive(Debug)]
struct Open {
    id: ByteString,
    /// The id as it stands in the file.
    name: Vec<u8>,
    tags: Vec<ByteString>,
    state: State,
}

/// Where in a test the reader is.
#[derive(Debug)]
enum State {
    /// Before its outcome.
    Begun,
    /// In the lines between ` [` and `]`.
    Text(Outcome, File),
    /// Between the files of ` [ multipart`.
    Files(Outcome),
    /// Before a chunk, or within one that has `left` bytes more.
    Chunk(Outcome, File, usize),
    /// Behind something garbled, looking for the end of the files.
    Lost(Outcome),
}

/// An outcome that was read, and the word for it.
#[derive(Clone, Debug)]
struct Outcome {
    status: Status,
    word: &'static str,
}

/// A file that is being read.
#[derive(Debug, Default)]
struct File {
    name: ByteString,
    mime: ByteString,
    /// Bytes not given out yet, at most [`PIECE`].
    piece: Vec<u8>,
}

impl<R: BufRead> Reader<R> {
    /// A reader of a run, from its start.
    pub fn new(from: R) -> Self {
        Self {
            lines: Lines::new(from),
            line: Vec::new(),
            queue: VecDeque::new(),
            now: None,
            tags: Vec::new(),
            open: None,
            ended: false,
        }
    }

    /// Read on by one line, or one piece of a file.
    fn step(&mut self) -> io::Result<()> {
        let Some(mut open) = self.open.take() else { return self.directive(None) };
        match std::mem::replace(&mut open.state, State::Begun) {
            State::Begun => self.directive(Some(open)),
            State::Text(outcome, file) => self.text(open, outcome, file),
            State::Files(outcome) => self.file(open, outcome),
            State::Chunk(outcome, file, 0) => self.chunk(open, outcome, file),
            State::Chunk(outcome, file, left) => self.bytes(open, outcome, file, left),
            State::Lost(outcome) => {
                match self.lines.line(&mut self.line, LONGEST)? {
                    Line::End => self.cut_off(&open, Some(&outcome)),
                    Line::Whole if self.line == END => self.close(&open, &outcome),
                    Line::Whole | Line::Rest | Line::Part => {
                        self.open = Some(Open { state: State::Lost(outcome), ..open });
                    }
                }
                Ok(())
            }
        }
    }

    /// Read a line outside of files.
    fn directive(&mut self, mut open: Option<Open>) -> io::Result<()> {
        match self.lines.line(&mut self.line, LONGEST)? {
            Line::End => {
                match &open {
                    Some(open) => self.cut_off(open, None),
                    None => self.ended = true,
                }
                return Ok(());
            }
            Line::Whole => {}
            Line::Rest | Line::Part => {
                self.open = open;
                return Ok(());
            }
        }
        let line = &self.line[..self.line.len() - 1];
        let blank = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
        let (word, rest) = line.split_at(blank);
        if word.is_empty() || rest.trim_ascii().is_empty() {
            self.open = open;
            return Ok(());
        }
        let rest = &rest[1..];
        let colons = word.iter().rev().take_while(|byte| **byte == b':').count();
        match &word[..word.len() - colons] {
            b"test" | b"testing" if open.is_none() => {
                let test = Open { id: string(rest), name: rest.to_vec(), tags: self.tags.clone(), state: State::Begun };
                self.queue.push_back(Ok(self.event(&test, Some(Status::InProgress))));
                open = Some(test);
            }
            b"time" => self.now = time(rest).or(self.now),
            b"tags" => {
                let tags = open.as_mut().map_or(&mut self.tags, |open| &mut open.tags);
                change(tags, &String::from_utf8_lossy(rest));
            }
            word => {
                if let Some(status) = outcome_status(word) {
                    let outcome = Outcome { status, word: label(word) };
                    open = open.and_then(|test| self.outcome(test, outcome));
                }
            }
        }
        self.open = open;
        Ok(())
    }

    /// An outcome was read, with the id and perhaps a bracket on the line: what of the test stays open.
    fn outcome(&mut self, mut open: Open, outcome: Outcome) -> Option<Open> {
        let start = self.line.iter().position(u8::is_ascii_whitespace).map_or(0, |at| at + 1);
        match self.line[start..self.line.len() - 1].strip_prefix(open.name.as_slice()) {
            Some(b"") => {
                self.close(&open, &outcome);
                return None;
            }
            Some(b" [") => {
                let (name, mime) = match outcome.status {
                    Status::Skip => ("reason", "text/plain"),
                    Status::Success => ("message", "text/plain"),
                    _ => ("traceback", "text/x-traceback; charset=\"utf8\""),
                };
                let file = File { name: name.into(), mime: mime.into(), piece: Vec::new() };
                open.state = State::Text(outcome, file);
            }
            Some(b" [ multipart") => open.state = State::Files(outcome),
            _ => {}
        }
        Some(open)
    }

    /// Read a line of an outcome's text.
    fn text(&mut self, mut open: Open, outcome: Outcome, mut file: File) -> io::Result<()> {
        let kind = self.lines.line(&mut self.line, PIECE)?;
        if kind == Line::End {
            self.give(&open, &mut file, true);
            self.cut_off(&open, Some(&outcome));
            return Ok(());
        }
        if kind == Line::Whole && self.line == END {
            self.give(&open, &mut file, true);
            self.close(&open, &outcome);
            return Ok(());
        }
        // A line that begins with the bracket is written with a blank before it.
        let skipped = usize::from(kind != Line::Rest && self.line.starts_with(b" ]"));
        if file.piece.len() + self.line.len() > PIECE {
            self.give(&open, &mut file, false);
        }
        file.piece.extend_from_slice(&self.line[skipped..]);
        open.state = State::Text(outcome, file);
        self.open = Some(open);
        Ok(())
    }

    /// Read the two lines before a file's chunks, or the end of the files.
    fn file(&mut self, mut open: Open, outcome: Outcome) -> io::Result<()> {
        let offset = self.lines.offset;
        let kind = self.lines.line(&mut self.line, LONGEST)?;
        if kind == Line::Whole && self.line == END {
            self.close(&open, &outcome);
            return Ok(());
        }
        let blank = self.line.iter().position(|byte| *byte == b' ');
        let (Line::Whole, Some(blank)) = (kind, blank) else {
            return self.garbled(open, outcome, kind, offset, "a content type");
        };
        let mime = string(&self.line[blank + 1..self.line.len() - 1]);
        let offset = self.lines.offset;
        match self.lines.line(&mut self.line, LONGEST)? {
            Line::Whole => {
                let name = string(&self.line[..self.line.len() - 1]);
                open.state = State::Chunk(outcome, File { name, mime, piece: Vec::new() }, 0);
                self.open = Some(open);
                Ok(())
            }
            kind => self.garbled(open, outcome, kind, offset, "a file's name"),
        }
    }

    /// Read the length of a chunk.
    fn chunk(&mut self, mut open: Open, outcome: Outcome, mut file: File) -> io::Result<()> {
        let offset = self.lines.offset;
        let kind = self.lines.line(&mut self.line, 32)?;
        let length = self.line.strip_suffix(b"\r\n").filter(|_| kind == Line::Whole).and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            // A sign would be taken too.
            let plain = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            usize::from_str_radix(digits, 16).ok().filter(|_| plain)
        });
        match length {
            Some(0) => {
                self.give(&open, &mut file, true);
                open.state = State::Files(outcome);
            }
            Some(length) => open.state = State::Chunk(outcome, file, length),
            None => {
                self.give(&open, &mut file, true);
                return self.garbled(open, outcome, kind, offset, "the length of a chunk");
            }
        }
        self.open = Some(open);
        Ok(())
    }

    /// Read bytes of a chunk.
    fn bytes(&mut self, mut open: Open, outcome: Outcome, mut file: File, left: usize) -> io::Result<()> {
        if file.piece.len() == PIECE {
            self.give(&open, &mut file, false);
        }
        let wanted = left.min(PIECE - file.piece.len());
        let read = self.lines.bytes(&mut file.piece, wanted)?;
        if read < wanted {
            self.give(&open, &mut file, true);
            self.cut_off(&open, Some(&outcome));
            return Ok(());
        }
        open.state = State::Chunk(outcome, file, left - read);
        self.open = Some(open);
        Ok(())
    }

    /// What stands at `offset` is not what should: an error, unless it is the end of the file.
    fn garbled(&mut self, open: Open, outcome: Outcome, kind: Line, offset: u64, what: &str) -> io::Result<()> {
        if kind == Line::End || (kind == Line::Part && self.lines.is_at_end()?) {
            self.cut_off(&open, Some(&outcome));
            return Ok(());
        }
        let error = format!("byte {offset} of the run, in the test {:?}: {what} is garbled", &*open.id);
        self.queue.push_back(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
        self.open = Some(Open { state: State::Lost(outcome), ..open });
        Ok(())
    }

    fn event(&self, open: &Open, status: Option<Status>) -> TestEvent {
        TestEvent { id: Some(open.id.clone()), status, runnable: true, time: self.now, ..TestEvent::default() }
    }

    fn give(&mut self, open: &Open, file: &mut File, eof: bool) {
        let bytes = std::mem::take(&mut file.piece).into();
        let chunk = FileChunk { name: file.name.clone(), mime: Some(file.mime.clone()), bytes, eof };
        let event = TestEvent { file: Some(chunk), ..self.event(open, None) };
        self.queue.push_back(Ok(event));
    }

    fn close(&mut self, open: &Open, outcome: &Outcome) {
        let event = TestEvent { tags: open.tags.clone(), ..self.event(open, Some(outcome.status)) };
        self.queue.push_back(Ok(event));
    }

    /// The file ended within a test: it failed, in python-subunit's words.
    fn cut_off(&mut self, open: &Open, outcome: Option<&Outcome>) {
        let place = outcome.map_or(String::new(), |outcome| format!("{} report of ", outcome.word));
        let text =
            format!("testtools.testresult.real._StringException: lost connection during {place}test '{}'\n", open.id);
        let mime = "text/x-traceback; charset=\"utf8\"; language=\"python\"".into();
        self.give(open, &mut File { name: "traceback".into(), mime, piece: text.into() }, true);
        self.close(open, &Outcome { status: Status::Fail, word: "failure" });
        self.ended = true;
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = io::Result<TestEvent>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Some(event);
            }
            if self.ended {
                return None;
            }
            if let Err(error) = self.step() {
                self.ended = true;
                return Some(Err(error));
            }
        }
    }
}

/// python-subunit's name for an outcome, in its words about a lost connection.
fn label(word: &[u8]) -> &'static str {
    match word {
        b"success" | b"successful" => "success",
        b"error" => "error",
        b"skip" => "skip",
        b"xfail" => "xfail",
        b"uxsuccess" => "uxsuccess",
        _ => "failure",
    }
}

/// Text as subunit v2 can hold it.
fn string(bytes: &[u8]) -> ByteString {
    String::from_utf8_lossy(bytes).replace('\0', "\u{FFFD}").into()
}

/// Add and take away tags, in that order whatever the words': `-c a b`.
fn change(tags: &mut Vec<ByteString>, words: &str) {
    for word in words.split_whitespace().filter(|word| !word.starts_with('-')) {
        let tag = string(word.as_bytes());
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    for gone in words.split_whitespace().filter_map(|word| word.strip_prefix('-')) {
        tags.retain(|tag| &**tag != gone);
    }
}

/// A time as testr writes it, or another ISO 8601 one; UTC unless it says otherwise.
fn time(text: &[u8]) -> Option<Stamp> {
    let text = std::str::from_utf8(text).ok()?.trim().replacen(' ', "T", 1);
    if let Ok(time) = chrono::DateTime::parse_from_rfc3339(&text) {
        return Some(time.to_utc());
    }
    chrono::NaiveDateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M:%S%.f").ok().map(|time| time.and_utc())
}
