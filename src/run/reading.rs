//! What each callout's stdout means, turned into messages for the loop.
//!
//! One task attends each callout ([`attend_to`]); all send into one bounded channel, so a loop that stops receiving
//! stops the tasks, then the pipes, then the instances.

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc::Sender;

use super::process::{Intake, Outflow, Started, attend};
use super::supervisor::{Call, Upkeep};
use crate::event::{Ending, Status};
use crate::test_id::TestId;
use crate::wire::{Item, Scanner};

/// What the tasks tell the loop.
#[derive(Debug)]
pub(super) enum Happening {
    /// A worker's stdout brought these.
    Items(Vec<Item>),
    /// Provision printed these ids.
    Printed(Vec<String>),
    /// The listing, as far as it came.
    Listed(Listing),
    /// Bytes for the user's stdout.
    Stdout(Bytes),
    /// Bytes for the user's stderr.
    Stderr(Bytes),
    /// It is over; nothing more comes from this call.
    Ended(Ending),
}

/// What a listing said.
#[derive(Debug, Default)]
pub struct Listing {
    /// The ids of tests that exist, in order, each as often as it was said.
    pub ids: Vec<TestId>,
    /// Files that came beside them, and text between the packets as `stdout`: shown when the listing fails.
    pub files: Vec<(String, Vec<u8>)>,
}

/// How much of a listing's text and files is kept.
const KEPT: usize = 1024 * 1024;

impl Listing {
    fn item(&mut self, item: Item) {
        match item {
            Item::Packet { event, .. } => {
                if let (Some(Status::Exists), Some(id)) = (event.status, &event.id) {
                    self.ids.push(TestId::from(&**id));
                }
                if let Some(file) = event.file {
                    self.keep(&file.name, &file.bytes);
                }
            }
            Item::Text(bytes) => self.keep("stdout", &bytes),
            Item::Damaged { .. } => {}
        }
    }

    fn keep(&mut self, name: &str, bytes: &[u8]) {
        if self.files.last().is_none_or(|(last, _)| last != name) {
            self.files.push((name.to_owned(), Vec::new()));
        }
        let held: usize = self.files.iter().map(|(_, bytes)| bytes.len()).sum();
        let (_, file) = self.files.last_mut().expect("one was just pushed, or is there");
        file.extend_from_slice(&bytes[..bytes.len().min(KEPT.saturating_sub(held))]);
    }

    /// The text between the packets.
    #[must_use]
    pub fn text(&self) -> String {
        let text = self.files.iter().filter(|(name, _)| name == "stdout").map(|(_, bytes)| bytes.as_slice());
        String::from_utf8_lossy(&text.collect::<Vec<_>>().concat()).into_owned()
    }
}

/// Read a callout to its end, telling the loop.
pub(super) async fn attend_to(call: Call, started: Started, outbox: Sender<(Call, Happening)>) {
    let mut flow = Flow { call, outbox, is_silent: false };
    let ending = match call {
        Call::Provision => attend(started, &mut Words::default(), &mut flow).await,
        Call::Worker(_) => attend(started, &mut Packets::default(), &mut flow).await,
        Call::Dispose(_) => attend(started, &mut Passed::default(), &mut flow).await,
        Call::Upkeep(upkeep, _) => {
            // A probe may fail many times before it is good.
            flow.is_silent = matches!(upkeep, Upkeep::Ready | Upkeep::Check | Upkeep::Renew);
            attend(started, &mut Ignored::default(), &mut flow).await
        }
        Call::Listing => {
            let mut packets = Enumeration::default();
            let ending = attend(started, &mut packets, &mut flow).await;
            flow.send(Happening::Listed(packets.listing)).await;
            ending
        }
    };
    flow.send(Happening::Ended(ending)).await;
}

struct Flow {
    call: Call,
    /// Its stderr is nobody's.
    is_silent: bool,
    outbox: Sender<(Call, Happening)>,
}

impl Flow {
    async fn send(&self, happening: Happening) {
        // The loop is gone only when the program gave up (the third signal).
        let _ = self.outbox.send((self.call, happening)).await;
    }
}

impl<I: Reading> Outflow<I> for Flow {
    async fn stdout(&mut self, intake: &mut I) {
        if let Some(happening) = intake.take() {
            self.send(happening).await;
        }
    }

    async fn stderr(&mut self, bytes: Bytes) {
        if !bytes.is_empty() && !self.is_silent {
            self.send(Happening::Stderr(bytes)).await;
        }
    }
}

/// An intake that makes messages.
trait Reading: Intake {
    fn take(&mut self) -> Option<Happening>;
}

/// A worker's stdout: subunit, and text between.
#[derive(Default)]
struct Packets {
    scanner: Scanner,
    items: Vec<Item>,
}

impl Intake for Packets {
    fn buffer(&mut self) -> &mut BytesMut {
        self.scanner.buffer()
    }
    fn arrived(&mut self) {
        self.scanner.scan(&mut self.items);
    }
    fn idle(&mut self) {
        self.scanner.idle(&mut self.items);
    }
    fn is_waiting(&self) -> bool {
        self.scanner.is_waiting()
    }
    fn ended(&mut self) {
        self.scanner.finish(&mut self.items);
    }
}

impl Reading for Packets {
    fn take(&mut self) -> Option<Happening> {
        (!self.items.is_empty()).then(|| Happening::Items(std::mem::take(&mut self.items)))
    }
}

/// A listing's stdout: the same, and only what exists counts.
#[derive(Default)]
struct Enumeration {
    packets: Packets,
    listing: Listing,
}

impl Enumeration {
    fn gather(&mut self) {
        self.packets.items.drain(..).for_each(|item| self.listing.item(item));
    }
}

impl Intake for Enumeration {
    fn buffer(&mut self) -> &mut BytesMut {
        self.packets.buffer()
    }
    fn arrived(&mut self) {
        self.packets.arrived();
        self.gather();
    }
    fn ended(&mut self) {
        self.packets.ended();
        self.gather();
    }
}

impl Reading for Enumeration {
    fn take(&mut self) -> Option<Happening> {
        None
    }
}

/// What Python's `bytes.split` takes for white space, and so testr.
fn is_space(byte: &u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ')
}

/// Provision's stdout: words, which are ids, with any white space between.
#[derive(Default)]
struct Words {
    buffer: BytesMut,
    ids: Vec<String>,
}

impl Words {
    /// Bytes that are no UTF-8 are kept as what they can be read as, so that the id is at least disposed of.
    fn split(&mut self, until: usize) {
        let text = self.buffer.split_to(until);
        let text = String::from_utf8_lossy(&text);
        let words = text.split(|c| u8::try_from(c).is_ok_and(|b| is_space(&b))).filter(|word| !word.is_empty());
        self.ids.extend(words.map(str::to_owned));
    }
}

/// The ids in what provision printed, all of it.
pub(super) fn printed_ids(bytes: &[u8]) -> Vec<String> {
    let mut words = Words::default();
    words.buffer.extend_from_slice(bytes);
    words.ended();
    words.ids
}

impl Intake for Words {
    fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }
    fn arrived(&mut self) {
        // The last word may go on.
        let complete = self.buffer.iter().rposition(is_space).map_or(0, |at| at + 1);
        self.split(complete);
    }
    fn ended(&mut self) {
        self.split(self.buffer.len());
    }
}

impl Reading for Words {
    fn take(&mut self) -> Option<Happening> {
        (!self.ids.is_empty()).then(|| Happening::Printed(std::mem::take(&mut self.ids)))
    }
}

/// Disposal's stdout: the user's, as it is.
#[derive(Default)]
struct Passed(BytesMut);

impl Intake for Passed {
    fn buffer(&mut self) -> &mut BytesMut {
        &mut self.0
    }
    fn arrived(&mut self) {}
}

impl Reading for Passed {
    fn take(&mut self) -> Option<Happening> {
        (!self.0.is_empty()).then(|| Happening::Stdout(self.0.split().freeze()))
    }
}

/// The stdout of what writes nothing that counts.
#[derive(Default)]
struct Ignored(BytesMut);

impl Intake for Ignored {
    fn buffer(&mut self) -> &mut BytesMut {
        &mut self.0
    }
    fn arrived(&mut self) {
        self.0.clear();
    }
}

impl Reading for Ignored {
    fn take(&mut self) -> Option<Happening> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Within;

    fn words(chunks: &[&[u8]]) -> Vec<String> {
        let mut words = Words::default();
        for chunk in chunks {
            words.buffer().extend_from_slice(chunk);
            words.arrived();
        }
        words.ended();
        words.ids
    }

    #[test]
    fn ids_are_words_however_they_come() {
        assert_eq!(words(&[b"n3 n1\tn2\r\n\n ", b"n4"]), ["n3", "n1", "n2", "n4"]);
        assert_eq!(words(&[b"no", b"de", b"-1\nno", b"de-2"]), ["node-1", "node-2"]);
        assert_eq!(words(&["nœ\u{a0}x\u{b}y".as_bytes()]), ["nœ\u{a0}x", "y"], "only ASCII's white space");
        assert_eq!(words(&[b" \n"]), [""; 0]);
    }

    #[test]
    fn a_listing_keeps_what_exists_and_what_else_was_said() {
        let mut listing = Listing::default();
        listing.item(Item::Text("Discovering".into()));
        listing.item(Item::Text("...\n".into()));
        let event = |id: &str, status| crate::event::TestEvent {
            id: Some(id.into()),
            status: Some(status),
            ..Default::default()
        };
        for event in [event("a", Status::Exists), event("b", Status::Success), event("a", Status::Exists)] {
            listing.item(Item::Packet { event, within: Within::Nothing });
        }
        assert_eq!(listing.ids, ["a", "a"].map(TestId::from));
        assert_eq!(listing.text(), "Discovering...\n");
    }
}
