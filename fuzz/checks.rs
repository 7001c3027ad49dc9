//! What must hold for any bytes; the fuzz targets and `tests/fuzz_seeds.rs` call the same functions.

use std::path::Path;

use regatta::config::{Commands, Config};
use regatta::event::{Stamp, TestEvent};
use regatta::template::{DISPOSE, Template, Value, Values};
use regatta::wire::v1::Reader;
use regatta::wire::{Item, Scanner, Within, encode, forward};

/// The scanner gives the same items however the bytes are cut, and what it calls a packet can be passed on.
///
/// The first byte says how the rest is cut.
pub fn v2(input: &[u8]) {
    let Some((cut, stream)) = input.split_first() else { return };
    let whole = scan(stream, stream.len().max(1), false);
    assert_eq!(scan(stream, usize::from(*cut) % 16 + 1, false), whole, "cut into pieces");
    scan(stream, usize::from(*cut) + 1, true);
    for item in whole {
        if let Item::Packet { event, .. } = item {
            check_event(&event);
        }
    }
}

fn scan(stream: &[u8], size: usize, idle: bool) -> Vec<Item> {
    let (mut scanner, mut out) = (Scanner::new(), Vec::new());
    for piece in stream.chunks(size) {
        scanner.feed(piece, &mut out);
        if idle {
            scanner.idle(&mut out);
            assert!(!scanner.is_waiting());
        }
    }
    scanner.finish(&mut out);
    assert!(scanner.buffer().is_empty(), "bytes were kept back");
    let mut joined: Vec<Item> = Vec::new();
    for item in out {
        match (joined.last_mut(), item) {
            (Some(Item::Text(last)), Item::Text(more)) => *last = [last.as_ref(), more.as_ref()].concat().into(),
            (_, item) => joined.push(item),
        }
    }
    joined
}

/// What is passed on reads as the same event with a route; so does what is encoded from the fields.
fn check_event(event: &TestEvent) {
    let mut event = event.clone();
    event.route = Some("7".into());
    let (mut passed, mut encoded) = (Vec::new(), Vec::new());
    forward(&mut passed, &event, Stamp::UNIX_EPOCH);
    event.time = event.time.or(Some(Stamp::UNIX_EPOCH));
    encode(&mut encoded, &event);
    for bytes in [passed, encoded] {
        let items = scan(&bytes, bytes.len(), false);
        let [Item::Packet { event: came, within: Within::Nothing }] = items.as_slice() else {
            panic!("{items:?} is not the one packet")
        };
        assert_eq!(TestEvent { packet: None, ..came.clone() }, TestEvent { packet: None, ..event.clone() });
    }
}

/// The reader of stored runs ends, gives bounded pieces, and closes each test that it opens.
pub fn v1(run: &[u8]) {
    let mut open = None;
    for event in Reader::new(run).flatten() {
        assert!(event.file.as_ref().is_none_or(|file| file.bytes.len() <= 65536));
        if event.status.is_some_and(|status| !status.is_final()) {
            assert_eq!(open, None, "begun within another");
            open = event.id;
        } else {
            assert_eq!(event.id, open, "an event of a test that has not begun");
            if event.status.is_some() {
                open = None;
            }
        }
    }
    assert_eq!(open, None, "left open");
}

/// Any text is read or refused, each value can be asked for, and the templates in it can be rendered.
pub fn config(text: &[u8]) {
    let Ok(config) = Config::parse(text, Path::new(".testr.conf")) else { return };
    for key in config.keys() {
        let Ok(Some(value)) = config.get(key) else { continue };
        let words = Values::new(DISPOSE).with("INSTANCE_IDS", Value::Words(vec!["n1", "it's \"two\""]));
        let _ = Template::parse(&value).render(&words);
    }
    let _ = Commands::from_config(&config);
}
