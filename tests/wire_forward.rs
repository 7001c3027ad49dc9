//! What is passed on is what came, but for what was to be changed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod wire_events;

use bytes::Bytes;
use proptest::prelude::*;
use regatta::event::{FileChunk, Stamp, Status, TestEvent};
use regatta::wire::{Item, MAX_PACKET, Scanner, Within, encode, forward};
use wire_events::event;

fn read(stream: &[u8]) -> Vec<TestEvent> {
    let (mut scanner, mut out) = (Scanner::new(), Vec::new());
    scanner.feed(stream, &mut out);
    scanner.finish(&mut out);
    let events = out.into_iter().map(|item| match item {
        Item::Packet { event, within: Within::Nothing } => event,
        other => panic!("not a clean stream: {other:?}"),
    });
    events.collect()
}

/// Encode and read back, so that the event is one that came in a packet.
fn received(event: &TestEvent) -> TestEvent {
    let mut out = Vec::new();
    encode(&mut out, event);
    read(&out).remove(0)
}

fn forwarded(event: &TestEvent) -> Vec<TestEvent> {
    let mut out = Vec::new();
    forward(&mut out, event, at());
    read(&out)
}

fn at() -> Stamp {
    Stamp::from_timestamp(1_600_000_000, 5).unwrap()
}

fn with_file(size: usize) -> TestEvent {
    let bytes: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
    let file = FileChunk { name: "log".into(), mime: Some("text/plain".into()), bytes: bytes.into(), eof: true };
    TestEvent {
        id: Some("a.b".into()),
        status: Some(Status::Fail),
        tags: vec!["slow".into()],
        file: Some(file),
        runnable: true,
        ..TestEvent::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn every_field_is_kept(event in event(), worker in prop::option::of(0..9u32), route in prop::option::of("[0-9/]{0,5}")) {
        let mut sent = received(&event);
        sent.worker_tag = worker.map(|n| format!("worker-{n}").into());
        sent.route = route.map(Into::into);
        let came = forwarded(&sent).remove(0);
        let expected = TestEvent {
            tags: sent.all_tags().cloned().collect(),
            worker_tag: None,
            time: event.time.or(Some(at())),
            packet: came.packet.clone(),
            ..sent
        };
        prop_assert_eq!(came, expected);
    }

    #[test]
    fn an_event_of_ours_goes_the_same_way(event in event()) {
        let (mut ours, mut packets) = (Vec::new(), Vec::new());
        forward(&mut ours, &event, at());
        forward(&mut packets, &received(&event), at());
        prop_assert_eq!(ours, packets);
    }
}

#[test]
fn what_regatta_does_not_know_goes_on() {
    // A content type and an end without a file, the reserved bit, and bytes behind the last field.
    let mut packet = vec![0xB3, 0x28, 0x3B, 19];
    packet.extend(b"\x01a\x01xextra!!");
    packet.truncate(15);
    let crc = crc32fast::hash(&packet);
    packet.extend(crc.to_be_bytes());
    let mut event = read(&packet).remove(0);
    event.worker_tag = Some("w".into());
    let mut out = Vec::new();
    forward(&mut out, &event, at());
    let mut expected = vec![0xB3, 0x2A, 0xBB, 27];
    expected.extend(b"\x5f\x5e\x10\0\x05\x01a\x01\x01w\x01xextra!!");
    expected.truncate(23);
    expected.extend(crc32fast::hash(&expected).to_be_bytes());
    assert_eq!(out, expected);
}

#[test]
fn a_tag_that_is_there_is_not_added() {
    let mut event = received(&TestEvent { tags: vec!["worker-0".into()], ..TestEvent::default() });
    event.worker_tag = Some("worker-0".into());
    assert_eq!(forwarded(&event)[0].tags, ["worker-0"]);
}

#[track_caller]
fn check_pieces(sent: &TestEvent, pieces: &[TestEvent], expected: usize) {
    assert_eq!(pieces.len(), expected);
    let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.file.as_ref().unwrap().bytes.clone()).collect();
    assert!(bytes == sent.file.as_ref().unwrap().bytes, "the bytes differ");
    let (last, others) = pieces.split_last().unwrap();
    assert_eq!((last.status, last.file.as_ref().unwrap().eof), (sent.status, true));
    for piece in others {
        assert_eq!((piece.status, piece.file.as_ref().unwrap().eof), (None, false));
        assert_eq!((&piece.id, &piece.route, piece.runnable), (&sent.id, &sent.route, sent.runnable));
    }
}

#[test]
fn a_packet_that_grows_too_long_is_split() {
    let mut event = received(&with_file(MAX_PACKET - 40));
    event.route = Some("12/345".into());
    event.worker_tag = Some("worker-12".into());
    check_pieces(&event, &forwarded(&event), 2);
}

#[test]
fn a_file_of_ours_is_split() {
    let event = with_file(3 * MAX_PACKET);
    let mut out = Vec::new();
    encode(&mut out, &event);
    check_pieces(&event, &read(&out), 4);
}

#[test]
fn what_cannot_be_split_goes_on_as_it_came() {
    let long = "x".repeat(MAX_PACKET - 13);
    let mut event = received(&TestEvent { id: Some(long.into()), ..TestEvent::default() });
    event.worker_tag = Some("worker-12".into());
    assert_eq!(forwarded(&event)[0].packet, event.packet);
}

#[test]
fn an_id_of_ours_that_fits_no_packet_is_cut_short() {
    let event =
        TestEvent { id: Some("é".repeat(MAX_PACKET).into()), status: Some(Status::Fail), ..TestEvent::default() };
    let mut out = Vec::new();
    encode(&mut out, &event);
    let came = read(&out).remove(0);
    assert_eq!(came.status, event.status);
    assert!(came.id.unwrap().starts_with("éééé"));
}

#[test]
fn a_packet_that_is_none_is_encoded_from_the_fields() {
    for junk in [&b""[..], b"\xb3", b"\xb3\x28\x03\x08", b"junk and more junk"] {
        let event = TestEvent { id: Some("a".into()), packet: Some(Bytes::from_static(junk)), ..TestEvent::default() };
        let came = forwarded(&event).remove(0);
        assert_eq!((came.id, came.time), (event.id, Some(at())));
    }
}
