//! What the scanner makes of streams, clean and not: byte strings that other readers panic on or lose packets at, and
//! properties over random streams.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod wire_events;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use regatta::event::{FileChunk, TestEvent};
use regatta::wire::{Item, MAX_PACKET, Scanner, Within, encode};
use wire_events::event;

/// An intact packet that has an id, `good`, and is a success.
const GOOD: &str = "b328030d04676f6f648845af18";

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// What came out, in a line: `P:id`, `p:id` inside damage, `D5` damaged and its size, `T5` text and its size.
fn shown(items: &[Item]) -> String {
    let words = joined(items.to_vec()).into_iter().map(|item| match item {
        Item::Packet { event, within } => {
            let mark = match within {
                Within::Nothing | Within::Doubt => 'P',
                Within::Unfinished => 'u',
                Within::Damage => 'p',
            };
            format!("{mark}:{}", event.id.unwrap_or_default())
        }
        Item::Damaged { bytes, .. } => format!("D{}", bytes.len()),
        Item::Text(bytes) => format!("T{}", bytes.len()),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The items with adjacent text put together.
fn joined(items: Vec<Item>) -> Vec<Item> {
    let mut out: Vec<Item> = Vec::new();
    for item in items {
        match (out.last_mut(), item) {
            (Some(Item::Text(last)), Item::Text(more)) => *last = [last.as_ref(), &more].concat().into(),
            (_, item) => out.push(item),
        }
    }
    out
}

fn scan(stream: &[u8]) -> Vec<Item> {
    let (mut scanner, mut out) = (Scanner::new(), Vec::new());
    scanner.feed(stream, &mut out);
    scanner.finish(&mut out);
    out
}

#[track_caller]
fn check(stream: &[u8], expected: &str) {
    assert_eq!(shown(&scan(stream)), expected, "in one piece");
    let (mut scanner, mut out) = (Scanner::new(), Vec::new());
    for byte in stream {
        scanner.feed(&[*byte], &mut out);
    }
    scanner.finish(&mut out);
    assert_eq!(shown(&out), expected, "byte by byte");
}

fn good(times: usize) -> Vec<u8> {
    hex(GOOD).repeat(times)
}

fn packet(id: &str, bytes: &[u8]) -> Vec<u8> {
    let file = FileChunk { name: "f".into(), mime: None, bytes: Bytes::copy_from_slice(bytes), eof: true };
    let mut out = Vec::new();
    encode(&mut out, &TestEvent { id: Some(id.into()), file: Some(file), ..TestEvent::default() });
    out
}

#[test]
fn a_bad_checksum_is_damage() {
    check(&hex("b328030803616263"), "D8");
}

#[test]
fn a_length_without_room_for_a_checksum_is_text() {
    check(&hex("b3200304"), "T4");
}

#[test]
fn malformed_fields_are_damage() {
    check(&hex("b322170963876edc32"), "D9");
}

#[test]
fn a_flipped_bit_is_damage() {
    check(&hex("b328030904676f6f648845af18"), "D9 T4");
}

#[test]
fn text_that_looks_like_a_packet_takes_none_with_it() {
    let per_second = hex("c2b320706572207365636f6e640a");
    let good = good(5);
    check(&[per_second, good].concat(), "T14 P:good P:good P:good P:good P:good");
}

#[test]
fn what_surrounds_damage_is_kept() {
    let damaged = hex("b329200a00000000deadbeef");
    check(&[good(1), damaged, good(2)].concat(), "P:good D10 T2 P:good P:good");
}

#[test]
fn what_stands_inside_damage_is_told_to() {
    check(&[good(1), hex("b3290328"), good(4)].concat(), "P:good D40 p:good p:good p:good P:good");
}

#[test]
fn a_packet_behind_damage_is_in_sync() {
    // Its attachment holds packets, which would be found first if it were in doubt.
    let outer = packet("outer", &good(3));
    check(&[hex("b329030a00000000dead"), outer].concat(), "D10 P:outer");
}

#[test]
fn a_claim_of_megabytes_hides_nothing_for_longer_than_a_second() {
    let (mut scanner, mut out) = (Scanner::new(), Vec::new());
    scanner.feed(&hex("b32903bfffff"), &mut out);
    scanner.feed(&good(3), &mut out);
    assert_eq!((shown(&out).as_str(), scanner.is_waiting()), ("", true));
    scanner.idle(&mut out);
    assert_eq!((shown(&out).as_str(), scanner.is_waiting()), ("T6 u:good u:good u:good", false));
    scanner.feed(&good(1), &mut out);
    assert_eq!(shown(&out), "T6 u:good u:good u:good u:good");
    scanner.finish(&mut out);
    assert_eq!(shown(&out), "T6 u:good u:good u:good u:good");
}

#[test]
fn a_claim_of_megabytes_hides_nothing_at_the_end() {
    check(&[hex("b32903bfffff"), good(3)].concat(), "T6 u:good u:good u:good");
}

#[test]
fn a_packet_that_stalled_is_one_when_it_comes_after_all() {
    let whole = packet("slow", b"line\n\xb3\x28\x03\x08....\n and more");
    for cut in 1..whole.len() {
        let (mut scanner, mut out) = (Scanner::new(), Vec::new());
        scanner.feed(&whole[..cut], &mut out);
        assert!(scanner.is_waiting(), "cut at {cut}");
        scanner.idle(&mut out);
        assert!(!scanner.is_waiting(), "cut at {cut}");
        scanner.feed(&whole[cut..], &mut out);
        assert_eq!(shown(&out), "P:slow", "cut at {cut}");
        scanner.feed(&good(1), &mut out);
        scanner.finish(&mut out);
        assert_eq!(shown(&out), "P:slow P:good", "cut at {cut}");
    }
}

#[test]
fn a_stream_cut_within_a_packet_is_damaged() {
    let stream = [good(1), packet("cut", b"content")].concat();
    for (cut, idle) in (14..stream.len()).flat_map(|cut| [(cut, false), (cut, true)]) {
        let (mut scanner, mut out) = (Scanner::new(), Vec::new());
        scanner.feed(&stream[..cut], &mut out);
        if idle {
            scanner.idle(&mut out);
        }
        scanner.finish(&mut out);
        assert_eq!(shown(&out), format!("P:good D{}", cut - 13));
    }
}

#[test]
fn a_stall_that_came_to_nothing_is_no_cut() {
    for (more, last) in
        [(&b"x and more\n"[..], "T12"), (b"\x28\x03\x08....\n", "D8 T1"), (b"\x28\x03\x08....\n\xb3\x28x", "D8 T1 D3")]
    {
        let (mut scanner, mut out) = (Scanner::new(), Vec::new());
        scanner.feed(b"\xb3", &mut out);
        scanner.idle(&mut out);
        scanner.feed(more, &mut out);
        scanner.finish(&mut out);
        assert_eq!(shown(&joined(out)), last, "{more:x?}");
    }
}

#[test]
fn a_byte_that_ends_a_character_and_begins_a_packet_is_both() {
    check(&[hex("e697"), good(1)].concat(), "T3 P:good");
    check(&[hex("97"), good(1)].concat(), "T1 P:good");
    // A checksum may end as if it began a character.
    let packets = (0..).map(|n| packet(&n.to_string(), b""));
    let before = packets.into_iter().find(|packet| matches!(packet.last(), Some(0xe1..=0xec))).unwrap();
    let items = scan(&[before.as_slice(), &hex("80"), &good(1)].concat());
    assert!(matches!(&items[..], [Item::Packet { .. }, Item::Text(text), Item::Packet { .. }] if text.len() == 1));
    let (mut scanner, mut out) = (Scanner::new(), Vec::new());
    scanner.feed(&[before.as_slice(), &hex("80")].concat(), &mut out);
    scanner.feed(&good(1), &mut out);
    assert_eq!(out, items);
}

#[test]
fn a_packet_behind_half_a_line_is_one() {
    check(&[b"half a line".to_vec(), good(2), b"\n".to_vec(), good(1)].concat(), "T11 P:good P:good T1 P:good");
}

#[test]
fn what_looks_damaged_within_a_packet_is_a_part_of_it() {
    let inner = b"\n\xb3\x28\x03\x08....\n\xb3\x28\x03\x30 and more that is not here";
    check(&[b"no line end".to_vec(), packet("outer", inner), good(1)].concat(), "T11 P:outer P:good");
}

#[test]
fn text_is_held_by_what_is_doubtful_and_packets_are_not() {
    let (mut scanner, mut out) = (Scanner::new(), Vec::new());
    // 60 bytes are claimed, in the middle of a line.
    scanner.feed(b"a line \xb3\x28\x03\x3c and more\n", &mut out);
    assert_eq!(shown(&out), "T7");
    scanner.feed(&good(1), &mut out);
    assert_eq!(shown(&out), "T21 P:good");
}

#[test]
fn fields_are_slices_of_what_was_read() {
    let mut scanner = Scanner::new();
    let stream = packet("an-id", b"content");
    scanner.buffer().extend_from_slice(&stream);
    let within = scanner.buffer().as_ptr_range();
    let mut out = Vec::new();
    scanner.scan(&mut out);
    let Some(Item::Packet { event, .. }) = out.first() else { panic!("no packet in {out:?}") };
    let file = event.file.as_ref().unwrap();
    assert!(within.contains(&event.id.as_ref().unwrap().as_ptr()) && within.contains(&file.bytes.as_ptr()));
    assert_eq!(event.packet.as_deref(), Some(stream.as_slice()));
}

#[test]
fn many_false_starts_are_scanned_once() {
    for junk in
        [&b"\xb3\x20\x00\xbf\xff\xff"[..], b"\n\xb3\x2b\x0b\xbf\xff\xff", b"\xb3\x2b\xbf\xff\xff", b"\xb3\x20\x00\x80"]
    {
        let stream = [junk.repeat((1 << 20) / junk.len()), b"\n".to_vec(), good(2)].concat();
        let out = scan(&stream);
        let good = out.iter().filter(|item| matches!(item, Item::Packet { .. })).count();
        assert_eq!(good, 2, "after {junk:x?}");
        // Damaged ranges do not overlap.
        let damaged = out.iter().map(|item| if let Item::Damaged { bytes, .. } = item { bytes.len() } else { 0 });
        assert!(damaged.sum::<usize>() <= stream.len(), "after {junk:x?}");
    }
}

#[test]
fn the_longest_packet_there_is_goes_through() {
    let whole = packet("long", &vec![0xB3; MAX_PACKET - 20]);
    assert_eq!(whole.len(), MAX_PACKET);
    let (mut scanner, mut out) = (Scanner::new(), Vec::new());
    for piece in whole.chunks(1 << 16) {
        scanner.feed(piece, &mut out);
    }
    assert_eq!(shown(&out), "P:long");
}

/// A piece of a stream: a packet (true), or junk of a kind that makes trouble.
type Piece = (bool, Vec<u8>);

fn piece() -> impl Strategy<Value = Piece> {
    let junk = prop_oneof![
        vec(any::<u8>(), 0..30),
        vec(prop::sample::select(b"\n\xb3\xb3\xb3\x28\x03\x08\x0d\x40".to_vec()), 0..30),
        "[ -~\nó³]{0,30}".prop_map(String::into_bytes),
    ];
    prop_oneof![
        junk.prop_map(|bytes| (false, bytes)),
        event().prop_map(|event| {
            let mut out = Vec::new();
            encode(&mut out, &event);
            (true, out)
        }),
    ]
}

fn stream(pieces: &[Piece]) -> Vec<u8> {
    pieces.iter().flat_map(|(_, bytes)| bytes.clone()).collect()
}

fn scan_cut(stream: &[u8], cuts: &[prop::sample::Index], idle: bool) -> Vec<Item> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    cuts.push(stream.len());
    cuts.sort_unstable();
    let (mut scanner, mut out, mut from) = (Scanner::new(), Vec::new(), 0);
    for cut in cuts {
        scanner.feed(&stream[from..cut], &mut out);
        if idle {
            scanner.idle(&mut out);
            assert!(!scanner.is_waiting());
        }
        from = cut;
    }
    scanner.finish(&mut out);
    joined(out)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn an_event_comes_back_as_it_went(event in event()) {
        let mut bytes = Vec::new();
        encode(&mut bytes, &event);
        let event = TestEvent { packet: Some(bytes.clone().into()), ..event };
        prop_assert_eq!(scan(&bytes), [Item::Packet { event, within: Within::Nothing }]);
    }

    #[test]
    fn the_result_does_not_depend_on_the_cuts(
        pieces in vec(piece(), 0..12),
        cuts in vec(any::<prop::sample::Index>(), 0..20),
        end in any::<prop::sample::Index>(),
    ) {
        let stream = stream(&pieces);
        let stream = &stream[..stream.len() - end.index(stream.len() + 1) / 4];
        prop_assert_eq!(scan_cut(stream, &cuts, false), scan_cut(stream, &[], false));
    }

    #[test]
    fn no_bytes_make_it_panic(
        stream in vec(any::<u8>(), 0..400),
        cuts in vec(any::<prop::sample::Index>(), 0..6),
        idle in any::<bool>(),
    ) {
        scan_cut(&stream, &cuts, idle);
    }

    #[test]
    fn every_packet_between_junk_survives(pieces in vec(piece(), 0..12)) {
        let stream = stream(&pieces);
        let items = scan(&stream);
        let came: Vec<&[u8]> = items.iter().filter_map(|item| match item {
            Item::Packet { event, .. } => event.packet.as_deref(),
            Item::Damaged { .. } | Item::Text(_) => None,
        }).collect();
        let sent = pieces.iter().filter(|(packet, _)| *packet).map(|(_, bytes)| bytes.as_slice());
        prop_assert_eq!(came, sent.collect::<Vec<_>>());
    }

    #[test]
    fn without_damage_every_byte_comes_once(pieces in vec(piece(), 0..12)) {
        let stream = stream(&pieces);
        let items = scan(&stream);
        if !items.iter().any(|item| matches!(item, Item::Damaged { .. })) {
            let mut at = 0;
            for item in &items {
                let bytes = match item {
                    Item::Packet { event, .. } => event.packet.clone().unwrap(),
                    Item::Text(bytes) | Item::Damaged { bytes, .. } => bytes.clone(),
                };
                // A packet's first byte may have ended a character, and was text too.
                let shares = matches!(item, Item::Packet { .. }) && !stream[at..].starts_with(&bytes);
                at -= usize::from(shares);
                prop_assert!(stream[at..].starts_with(&bytes));
                at += bytes.len();
            }
            prop_assert_eq!(at, stream.len());
        }
    }
}
