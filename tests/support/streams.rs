//! subunit v2 for the fakes to write, and a short form of what the program wrote.

use regatta::event::{FileChunk, Status, TestEvent};
use regatta::wire::{Item, Scanner, encode};

/// A packet of a test's status.
pub(crate) fn packet(id: &str, status: Status) -> Vec<u8> {
    let event = TestEvent { id: Some(id.into()), status: Some(status), runnable: true, ..TestEvent::default() };
    encoded(&event)
}

/// A packet, or several, of a file that a test attached.
pub(crate) fn attached(id: &str, name: &str, bytes: Vec<u8>) -> Vec<u8> {
    let file = FileChunk { name: name.into(), mime: None, bytes: bytes.into(), eof: false };
    encoded(&TestEvent { id: Some(id.into()), file: Some(file), runnable: true, ..TestEvent::default() })
}

fn encoded(event: &TestEvent) -> Vec<u8> {
    let mut packet = Vec::new();
    encode(&mut packet, event);
    packet
}

/// A line for each packet, its words parted by blanks: id, status, `route=`, `tags=`, `NAME="bytes"` of a file. Text
/// between packets is a line `text "..."`.
pub(crate) fn shown(stream: &[u8]) -> Vec<String> {
    let (mut scanner, mut items) = (Scanner::new(), Vec::new());
    scanner.feed(stream, &mut items);
    scanner.finish(&mut items);
    let mut lines: Vec<String> = Vec::new();
    let mut text = Vec::new();
    for item in items {
        match item {
            Item::Text(bytes) => text.extend_from_slice(&bytes),
            Item::Damaged { bytes, .. } => lines.push(format!("damaged {}", bytes.len())),
            Item::Packet { event, .. } => {
                flush(&mut text, &mut lines);
                lines.push(line(&event));
            }
        }
    }
    flush(&mut text, &mut lines);
    lines
}

/// The packets alone.
pub(crate) fn events(stream: &[u8]) -> Vec<TestEvent> {
    let (mut scanner, mut items) = (Scanner::new(), Vec::new());
    scanner.feed(stream, &mut items);
    scanner.finish(&mut items);
    let packets = items.into_iter().filter_map(|item| match item {
        Item::Packet { event, .. } => Some(event),
        Item::Text(_) | Item::Damaged { .. } => None,
    });
    packets.collect()
}

fn flush(text: &mut Vec<u8>, lines: &mut Vec<String>) {
    if !text.is_empty() {
        lines.push(format!("text {:?}", String::from_utf8_lossy(&std::mem::take(text))));
    }
}

fn line(event: &TestEvent) -> String {
    let mut words: Vec<String> = event.id.iter().map(ToString::to_string).collect();
    words.extend(event.status.map(|status| status.as_str().to_owned()));
    words.extend(event.route.as_ref().map(|route| format!("route={route}")));
    let tags: Vec<&str> = event.all_tags().map(|tag| &**tag).collect();
    words.extend((!tags.is_empty()).then(|| format!("tags={}", tags.join(","))));
    words.extend(event.file.as_ref().map(|f| format!("{}={:?}", f.name, String::from_utf8_lossy(&f.bytes))));
    words.join(" ")
}
