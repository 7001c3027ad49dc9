//! Passes an event on as subunit v2: its own packet again, with only tags, route code, time, length and CRC made new.
//!
//! So whatever a runner says that regatta does not know goes on as it was, and the bytes of a file are copied once.
//! Reads no clock: the time for packets without one is handed in. Called by the report that writes `--subunit`.

use bytes::Bytes;
use bytestring::ByteString;

use super::packet::{self, EOF, HAS_FILE, HAS_ID, HAS_MIME, HAS_ROUTE, HAS_TAGS, HAS_TIME, RUNNABLE, STATUS, VERSION};
use super::packet::{Layout, Start};
use super::{MAX_PACKET, SIGNATURE, encode, number};
use crate::event::{Stamp, Status, TestEvent};

/// Write `event` as one packet, or as several when it got too long for one.
///
/// Tags, worker tag and route code are the event's, all else is its packet's; an event that never was a packet goes
/// through [`encode`]. A time stamp is the packet's own, else `at`. Of several packets each has a piece of the file,
/// and only the last has the status and the end of the file. A packet that has no file to split and leaves no room for
/// what is added goes on just as it came.
pub fn forward(out: &mut Vec<u8>, event: &TestEvent, at: Stamp) {
    let whole =
        |packet: &&Bytes| packet.first() == Some(&SIGNATURE) && packet::start(packet) == Start::Length(packet.len());
    if let Some(packet) = event.packet.as_ref().filter(whole)
        && let Ok(layout) = Layout::of(packet)
    {
        if !Parts::of_packet(packet, &layout, event, at).put(out) {
            out.extend_from_slice(packet);
        }
    } else {
        let time = event.time.or(Some(at));
        encode(out, &TestEvent { time, ..event.clone() });
    }
}

/// Write what `parts` says, with its strings cut short if they do not fit a packet.
pub(super) fn put_parts(out: &mut Vec<u8>, parts: &Parts<'_>) {
    if !parts.put(out) {
        let written = parts.cut_short().put(out);
        debug_assert!(written, "strings of a megabyte in all fit a packet");
    }
}

/// The fields of a packet to be written. Strings are without their lengths.
#[derive(Clone, Debug)]
pub(super) struct Parts<'a> {
    /// Status, runnable, end of file, and the reserved bit; which fields there are is added when writing.
    flags: u16,
    time: Option<(u32, u32)>,
    id: Option<&'a [u8]>,
    tags: &'a [ByteString],
    worker_tag: Option<&'a ByteString>,
    mime: Option<&'a [u8]>,
    file: Option<(&'a [u8], &'a [u8])>,
    route: Option<&'a [u8]>,
    rest: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of_packet(packet: &'a [u8], layout: &Layout, event: &'a TestEvent, at: Stamp) -> Self {
        let fields = HAS_ID | HAS_ROUTE | HAS_TIME | HAS_TAGS | HAS_FILE | HAS_MIME;
        Self {
            flags: layout.flags & !fields,
            time: layout.time.or_else(|| time(at)),
            id: layout.id.clone().map(|range| &packet[range]),
            mime: layout.mime.clone().map(|range| &packet[range]),
            file: layout.file.clone().map(|(name, bytes)| (&packet[name], &packet[bytes])),
            rest: &packet[layout.rest.clone()],
            ..Self::of_event(event, None)
        }
    }

    /// The fields of an event as they are, without looking at the packet it may have been.
    pub(super) fn of_event(event: &'a TestEvent, at: Option<Stamp>) -> Self {
        let file = event.file.as_ref();
        let runnable = if event.runnable { RUNNABLE } else { 0 };
        let eof = if file.is_some_and(|file| file.eof) { EOF } else { 0 };
        Self {
            flags: VERSION | runnable | eof | status(event.status),
            time: at.and_then(time),
            id: event.id.as_deref().map(str::as_bytes),
            tags: &event.tags,
            worker_tag: new_worker_tag(event),
            mime: file.and_then(|file| file.mime.as_deref()).map(str::as_bytes),
            file: file.map(|file| (file.name.as_bytes().as_ref(), file.bytes.as_ref())),
            route: event.route.as_deref().map(str::as_bytes),
            rest: &[],
        }
    }

    /// The same with no tags but the worker's, and with strings that leave room for a file.
    fn cut_short(&self) -> Self {
        Self {
            id: self.id.map(|id| cut(id, MAX_PACKET / 4)),
            tags: &[],
            mime: self.mime.map(|mime| cut(mime, MAX_PACKET / 16)),
            file: self.file.map(|(name, bytes)| (cut(name, MAX_PACKET / 16), bytes)),
            route: self.route.map(|route| cut(route, MAX_PACKET / 16)),
            rest: &[],
            ..self.clone()
        }
    }

    fn all_tags(&self) -> impl Iterator<Item = &'a ByteString> {
        self.tags.iter().chain(self.worker_tag)
    }

    /// Write it, in as many packets as it takes. False, and nothing is written, when even many cannot hold it.
    fn put(&self, out: &mut Vec<u8>) -> bool {
        let content = self.file.map_or(0, |(_, bytes)| bytes.len());
        let around = self.size() - content;
        if self.size() + 3 <= MAX_PACKET {
            self.put_one(out);
            return true;
        }
        // A piece of a file is worth a packet of its own only when there is room for more than a few bytes.
        let Some(room) = (MAX_PACKET - 3).checked_sub(around).filter(|room| *room >= MAX_PACKET / 64) else {
            return false;
        };
        let Some((name, mut bytes)) = self.file else { return false };
        while bytes.len() > room {
            let (piece, more) = bytes.split_at(room);
            let flags = self.flags & !(STATUS | EOF);
            Self { flags, file: Some((name, piece)), rest: &[], ..self.clone() }.put_one(out);
            bytes = more;
        }
        Self { file: Some((name, bytes)), ..self.clone() }.put_one(out);
        true
    }

    /// The size of the packet without its length.
    fn size(&self) -> usize {
        let string = |bytes: &[u8]| number::size(bytes.len()) + bytes.len();
        let mut size = 1 + 2 + 4 + self.rest.len();
        size += self.time.map_or(0, |(_, nanoseconds)| 4 + number::size(nanoseconds as usize));
        let tags = self.all_tags().count();
        if tags > 0 {
            size += number::size(tags) + self.all_tags().map(|tag| string(tag.as_ref())).sum::<usize>();
        }
        size += [self.id, self.mime, self.route].into_iter().flatten().map(string).sum::<usize>();
        size + self.file.map_or(0, |(name, bytes)| string(name) + string(bytes))
    }

    fn put_one(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let size = self.size();
        // The length counts itself.
        let length_size = (1..=3).find(|bytes| number::size(size + bytes) <= *bytes).expect("checked by the caller");
        out.reserve(size + length_size);
        let tags = self.all_tags().count();
        out.push(SIGNATURE);
        out.extend_from_slice(&(self.flags | self.fields(tags)).to_be_bytes());
        number::put_sized(out, size + length_size, length_size);
        if let Some((seconds, nanoseconds)) = self.time {
            out.extend_from_slice(&seconds.to_be_bytes());
            number::put(out, nanoseconds as usize);
        }
        put_string(out, self.id);
        if tags > 0 {
            number::put(out, tags);
            for tag in self.all_tags() {
                put_string(out, Some(tag.as_ref()));
            }
        }
        put_string(out, self.mime);
        put_string(out, self.file.map(|(name, _)| name));
        put_string(out, self.file.map(|(_, bytes)| bytes));
        put_string(out, self.route);
        out.extend_from_slice(self.rest);
        let crc = crc32fast::hash(&out[start..]);
        out.extend_from_slice(&crc.to_be_bytes());
    }

    fn fields(&self, tags: usize) -> u16 {
        let flag = |there: bool, flag: u16| if there { flag } else { 0 };
        flag(self.time.is_some(), HAS_TIME)
            | flag(self.id.is_some(), HAS_ID)
            | flag(tags > 0, HAS_TAGS)
            | flag(self.mime.is_some(), HAS_MIME)
            | flag(self.file.is_some(), HAS_FILE)
            | flag(self.route.is_some(), HAS_ROUTE)
    }
}

/// The worker's tag, unless the packet has it already, as one that went through another regatta may.
pub(super) fn new_worker_tag(event: &TestEvent) -> Option<&ByteString> {
    event.worker_tag.as_ref().filter(|tag| !event.tags.contains(tag))
}

fn put_string(out: &mut Vec<u8>, string: Option<&[u8]>) {
    if let Some(bytes) = string {
        number::put(out, bytes.len());
        out.extend_from_slice(bytes);
    }
}

/// Seconds and nanoseconds; nothing when 32 bits cannot say the seconds since 1970.
fn time(at: Stamp) -> Option<(u32, u32)> {
    let seconds = u32::try_from(at.timestamp()).ok()?;
    // A leap second has more than a second's nanoseconds, which no reader takes.
    Some((seconds, at.timestamp_subsec_nanos().min(999_999_999)))
}

fn status(status: Option<Status>) -> u16 {
    match status {
        None => 0,
        Some(Status::Exists) => 1,
        Some(Status::InProgress) => 2,
        Some(Status::Success) => 3,
        Some(Status::UnexpectedSuccess) => 4,
        Some(Status::Skip) => 5,
        Some(Status::Fail) => 6,
        Some(Status::ExpectedFail) => 7,
    }
}

/// The start of a UTF-8 string, at most `most` bytes and no character cut in two.
fn cut(string: &[u8], most: usize) -> &[u8] {
    let mut end = most.min(string.len());
    while end < string.len() && end > 0 && string[end] & 0xC0 == 0x80 {
        end -= 1;
    }
    &string[..end]
}
