//! One subunit v2 packet: how long it says it is, where its fields lie, and the event it makes.
//!
//! A packet is `B3`, flags, length, then whichever of time, id, tags, MIME type, file, route code the flags announce,
//! and the CRC-32 of all before it (subunit's README, "Version 2"). Every bound is checked, nothing is copied; the
//! CRC is the caller's business. Called by [`super::scan`] and [`super::forward`].

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use bytestring::ByteString;

use super::{SIGNATURE, number};
use crate::event::{FileChunk, Stamp, Status, TestEvent};

pub(super) const HAS_ID: u16 = 0x0800;
pub(super) const HAS_ROUTE: u16 = 0x0400;
pub(super) const HAS_TIME: u16 = 0x0200;
pub(super) const RUNNABLE: u16 = 0x0100;
pub(super) const HAS_TAGS: u16 = 0x0080;
pub(super) const HAS_FILE: u16 = 0x0040;
pub(super) const HAS_MIME: u16 = 0x0020;
pub(super) const EOF: u16 = 0x0010;
pub(super) const STATUS: u16 = 0x0007;
pub(super) const VERSION: u16 = 0x2000;

/// The CRC at the end.
pub(super) const CRC_SIZE: usize = 4;

/// Why something that looked like a packet is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The bytes are not those that the sender summed up.
    #[error("wrong checksum: the packet says {stored:#010x} and its bytes give {computed:#010x}")]
    Checksum {
        /// The CRC-32 at its end.
        stored: u32,
        /// The CRC-32 of what comes before.
        computed: u32,
    },
    /// The stream ended within it.
    #[error("cut off: the stream ended after {got} bytes of it")]
    CutOff {
        /// How many came.
        got: usize,
    },
    /// A field, or its length, goes on past the end of the packet.
    #[error("its {field} goes on past the end of the packet, from byte {at}")]
    PastEnd {
        /// Which.
        field: Field,
        /// Where it begins in the packet.
        at: usize,
    },
    /// A string is not UTF-8.
    #[error("its {field} is not UTF-8, at byte {at}")]
    NotUtf8 {
        /// Which.
        field: Field,
        /// Where it begins in the packet.
        at: usize,
    },
    /// A string has a NUL in it, which subunit forbids.
    #[error("its {field} has a NUL in it, at byte {at}")]
    Nul {
        /// Which.
        field: Field,
        /// Where it begins in the packet.
        at: usize,
    },
    /// A second has no so many nanoseconds.
    #[error("its time has {nanoseconds} nanoseconds in a second")]
    Nanoseconds {
        /// How many it says.
        nanoseconds: u32,
    },
}

/// A field of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// When it happened.
    Time,
    /// The test's id.
    Id,
    /// How many tags there are, or one of them.
    Tags,
    /// The content type of a file.
    Mime,
    /// The name of a file.
    FileName,
    /// The bytes of a file.
    FileBytes,
    /// The way to the source.
    Route,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Time => "time",
            Self::Id => "test id",
            Self::Tags => "list of tags",
            Self::Mime => "content type",
            Self::FileName => "file name",
            Self::FileBytes => "file content",
            Self::Route => "route code",
        })
    }
}

/// What the first bytes of a candidate say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// No packet begins so: the version is not 2, or the length has four bytes or leaves no room for itself and a CRC.
    Impossible,
    /// Too few bytes to tell.
    Short,
    /// A packet of so many bytes in all may begin here.
    Length(usize),
}

/// What begins at the first of `bytes`, which is a [`SIGNATURE`].
///
/// Bit 3 of the flags is reserved and says nothing: python-subunit ignores it.
pub(super) fn start(bytes: &[u8]) -> Start {
    debug_assert_eq!(bytes.first(), Some(&SIGNATURE));
    match bytes.get(1) {
        None => return Start::Short,
        Some(flags) if flags >> 4 != 2 => return Start::Impossible,
        Some(_) => {}
    }
    match bytes.get(3) {
        None => return Start::Short,
        Some(first) if first >> 6 == 3 => return Start::Impossible,
        Some(_) => {}
    }
    match number::read(&bytes[3..]) {
        None => Start::Short,
        Some((length, size)) if (length as usize) < 3 + size + CRC_SIZE => Start::Impossible,
        Some((length, _)) => Start::Length(length as usize),
    }
}

/// The CRC that stands at the end of `packet`.
pub(super) fn stored_crc(packet: &[u8]) -> u32 {
    let tail = packet.last_chunk::<CRC_SIZE>().expect("a packet has at least eight bytes");
    u32::from_be_bytes(*tail)
}

/// Where the fields of a packet lie, as ranges of its bytes.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) flags: u16,
    pub(super) time: Option<(u32, u32)>,
    pub(super) id: Option<Range<usize>>,
    /// How many tags, and where the first one's length stands.
    tags: (usize, usize),
    pub(super) mime: Option<Range<usize>>,
    pub(super) file: Option<(Range<usize>, Range<usize>)>,
    pub(super) route: Option<Range<usize>>,
    /// What comes between the last field and the CRC; python-subunit lets it be.
    pub(super) rest: Range<usize>,
}

impl Layout {
    /// Find the fields of a whole packet, whose [`start`] was a length. Strings are not looked at.
    pub(super) fn of(packet: &[u8]) -> Result<Self, Damage> {
        let body = &packet[..packet.len() - CRC_SIZE];
        let flags = u16::from_be_bytes([body[1], body[2]]);
        let (_, size) = number::read(&body[3..]).expect("the length was read before");
        let mut cursor = Cursor { body, at: 3 + size };
        let when = |flag: u16| flags & flag != 0;

        let time = if when(HAS_TIME) { Some(cursor.time()?) } else { None };
        let id = if when(HAS_ID) { Some(cursor.string(Field::Id)?) } else { None };
        let tags = if when(HAS_TAGS) {
            let count = cursor.number(Field::Tags)?;
            let first = cursor.at;
            for _ in 0..count {
                cursor.string(Field::Tags)?;
            }
            (count, first)
        } else {
            (0, 0)
        };
        let mime = if when(HAS_MIME) { Some(cursor.string(Field::Mime)?) } else { None };
        let file = if when(HAS_FILE) {
            Some((cursor.string(Field::FileName)?, cursor.string(Field::FileBytes)?))
        } else {
            None
        };
        let route = if when(HAS_ROUTE) { Some(cursor.string(Field::Route)?) } else { None };
        let rest = cursor.at..body.len();
        Ok(Self { flags, time, id, tags, mime, file, route, rest })
    }
}

/// The event that a whole packet with a right CRC makes. Its strings and bytes are slices of `packet`.
///
/// A MIME type without a file is in the packet only: an event has no place for it, and [`super::forward`] keeps it.
pub(super) fn decode(packet: Bytes) -> Result<TestEvent, Damage> {
    let layout = Layout::of(&packet)?;
    let string = |range: &Range<usize>, field| string(&packet, range, field);
    let id = layout.id.as_ref().map(|range| string(range, Field::Id)).transpose()?;
    let mut tags = Vec::new();
    let (count, first) = layout.tags;
    if count > 0 {
        tags.reserve_exact(count);
        let mut cursor = Cursor { body: &packet, at: first };
        for _ in 0..count {
            tags.push(string(&cursor.string(Field::Tags)?, Field::Tags)?);
        }
    }
    let mime = layout.mime.as_ref().map(|range| string(range, Field::Mime)).transpose()?;
    let file = match &layout.file {
        Some((name, bytes)) => Some(FileChunk {
            name: string(name, Field::FileName)?,
            mime,
            bytes: packet.slice(bytes.clone()),
            eof: layout.flags & EOF != 0,
        }),
        None => None,
    };
    let route = layout.route.as_ref().map(|range| string(range, Field::Route)).transpose()?;
    Ok(TestEvent {
        id,
        status: status(layout.flags),
        tags,
        worker_tag: None,
        file,
        runnable: layout.flags & RUNNABLE != 0,
        route,
        time: layout.time.map(stamp),
        loss: None,
        packet: Some(packet),
    })
}

fn string(packet: &Bytes, range: &Range<usize>, field: Field) -> Result<ByteString, Damage> {
    if packet[range.clone()].contains(&0) {
        return Err(Damage::Nul { field, at: range.start });
    }
    ByteString::try_from(packet.slice(range.clone())).map_err(|_| Damage::NotUtf8 { field, at: range.start })
}

fn status(flags: u16) -> Option<Status> {
    match flags & STATUS {
        1 => Some(Status::Exists),
        2 => Some(Status::InProgress),
        3 => Some(Status::Success),
        4 => Some(Status::UnexpectedSuccess),
        5 => Some(Status::Skip),
        6 => Some(Status::Fail),
        7 => Some(Status::ExpectedFail),
        _ => None,
    }
}

fn stamp((seconds, nanoseconds): (u32, u32)) -> Stamp {
    Stamp::from_timestamp(i64::from(seconds), nanoseconds)
        .expect("32 bits of seconds and less than a second are in range")
}

/// A place in a packet's body, moving from field to field.
struct Cursor<'a> {
    body: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn number(&mut self, field: Field) -> Result<usize, Damage> {
        let (value, size) = number::read(&self.body[self.at..]).ok_or(Damage::PastEnd { field, at: self.at })?;
        self.at += size;
        Ok(value as usize)
    }

    fn string(&mut self, field: Field) -> Result<Range<usize>, Damage> {
        let at = self.at;
        let length = self.number(field)?;
        let range = self.at..self.at + length;
        if range.end > self.body.len() {
            return Err(Damage::PastEnd { field, at });
        }
        self.at = range.end;
        Ok(range)
    }

    fn time(&mut self) -> Result<(u32, u32), Damage> {
        let field = Field::Time;
        let seconds = self.body[self.at..].first_chunk::<4>().ok_or(Damage::PastEnd { field, at: self.at })?;
        self.at += seconds.len();
        let nanoseconds = self.number(field)? as u32;
        if nanoseconds >= 1_000_000_000 {
            return Err(Damage::Nanoseconds { nanoseconds });
        }
        Ok((u32::from_be_bytes(*seconds), nanoseconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet with these flags and this body, and a right CRC.
    fn packet(flags: u16, body: &[u8]) -> Bytes {
        let mut out = vec![SIGNATURE];
        out.extend((VERSION | flags).to_be_bytes());
        number::put(&mut out, 8 + body.len());
        out.extend(body);
        let crc = crc32fast::hash(&out);
        out.extend(crc.to_be_bytes());
        Bytes::from(out)
    }

    fn damage(flags: u16, body: &[u8]) -> String {
        decode(packet(flags, body)).unwrap_err().to_string()
    }

    #[test]
    fn malformed_fields_are_named() {
        assert_eq!(damage(HAS_ID, b"\x05abc"), "its test id goes on past the end of the packet, from byte 4");
        assert_eq!(damage(HAS_ID, b""), "its test id goes on past the end of the packet, from byte 4");
        assert_eq!(damage(HAS_ID, b"\x02a\xC3"), "its test id is not UTF-8, at byte 5");
        assert_eq!(damage(HAS_ID, b"\x02a\0"), "its test id has a NUL in it, at byte 5");
        assert_eq!(damage(HAS_TAGS, b"\x02\x01a"), "its list of tags goes on past the end of the packet, from byte 7");
        assert_eq!(damage(HAS_TIME, b"\0\0\0"), "its time goes on past the end of the packet, from byte 4");
        assert_eq!(damage(HAS_TIME, b"\0\0\0\0\xFF\xFF\xFF\xFF"), "its time has 1073741823 nanoseconds in a second");
        assert_eq!(damage(HAS_FILE, b"\x01n\x09x"), "its file content goes on past the end of the packet, from byte 6");
        assert_eq!(
            damage(HAS_TAGS, b"\xFF\xFF\xFF\xFF"),
            "its list of tags goes on past the end of the packet, from byte 8"
        );
    }

    #[test]
    fn bytes_after_the_last_field_are_let_be() {
        let event = decode(packet(HAS_ID | 3, b"\x01aextra")).unwrap();
        assert_eq!((event.id, event.status), (Some("a".into()), Some(Status::Success)));
    }

    #[test]
    fn what_cannot_begin_a_packet_is_told_from_what_may() {
        assert_eq!(start(&[0xB3]), Start::Short);
        assert_eq!(start(&[0xB3, 0x28, 0x03]), Start::Short);
        assert_eq!(start(&[0xB3, 0x28, 0x03, 0x80]), Start::Short);
        assert_eq!(start(&[0xB3, 0x38]), Start::Impossible);
        assert_eq!(start(&[0xB3, 0x28, 0x03, 0x07]), Start::Impossible);
        assert_eq!(start(&[0xB3, 0x28, 0x03, 0x08]), Start::Length(8));
        assert_eq!(start(&[0xB3, 0x28, 0x03, 0x40, 0x08]), Start::Impossible);
        assert_eq!(start(&[0xB3, 0x28, 0x03, 0x40, 0x09]), Start::Length(9));
        assert_eq!(start(&[0xB3, 0x28, 0x03, 0xC0]), Start::Impossible);
    }
}
