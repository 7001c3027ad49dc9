//! Tests that are under way, with what came for them so far, until each is whole.
//!
//! testr's rules for putting events together: a test is known by its id and route code; a file's type is that of its
//! first piece with bytes; pieces without bytes leave no trace; the tags of the last event that had any count.
//! Files wait in memory while all that wait fit [`BUDGET`], the largest on disk when they do not.

use std::collections::HashMap;
use std::io;

use bytestring::ByteString;

use crate::attachment::{Attachment, Body};
use crate::event::{FileChunk, FinishedTest, Loss, Stamp, Status, TestEvent};

/// How many bytes of files of open tests stay in memory, all together.
pub(super) const BUDGET: usize = 8 * 1024 * 1024;

type Key = (ByteString, Option<ByteString>);

/// The tests that have begun and not ended.
#[derive(Debug, Default)]
pub struct OpenTests {
    open: HashMap<Key, Open>,
    in_memory: usize,
    trouble: Option<io::Error>,
}

#[derive(Debug)]
struct Open {
    start: Stamp,
    tags: Vec<ByteString>,
    attachments: Vec<Attachment>,
}

impl OpenTests {
    /// Take an event in. Gives the test, when this was its end.
    pub fn event(&mut self, event: &TestEvent, at: Stamp) -> Option<FinishedTest> {
        let id = event.id.as_ref()?;
        let key = (id.clone(), event.route.clone());
        let open = self.open.entry(key).or_insert_with(|| Open { start: at, tags: vec![], attachments: vec![] });
        if !event.tags.is_empty() || event.worker_tag.is_some() {
            open.tags = event.all_tags().cloned().collect();
        }
        if let Some(chunk) = event.file.as_ref().filter(|chunk| !chunk.bytes.is_empty()) {
            match open.attach(chunk) {
                Ok(more) => self.in_memory += more,
                Err(error) => self.trouble = Some(error),
            }
        }
        let Some(status) = event.status.filter(|status| status.is_final()) else {
            self.make_room();
            return None;
        };
        self.close(id, event.route.as_ref(), Some(status), event.loss, Some(at))
    }

    /// Why files could not be put on disk, or not whole, if that happened since the last call. No test's status is
    /// lost by it.
    pub fn take_trouble(&mut self) -> Option<io::Error> {
        self.trouble.take()
    }

    /// No status will come for this attempt any more. Gives what came.
    pub fn unfinished(&mut self, id: &ByteString, route: Option<&ByteString>) -> Option<FinishedTest> {
        self.close(id, route, None, None, None)
    }

    fn close(
        &mut self,
        id: &ByteString,
        route: Option<&ByteString>,
        status: Option<Status>,
        loss: Option<Loss>,
        stop: Option<Stamp>,
    ) -> Option<FinishedTest> {
        let ((id, _), open) = self.open.remove_entry(&(id.clone(), route.cloned()))?;
        let Open { start, tags, attachments } = open;
        self.in_memory -= attachments.iter().map(|a| a.body.in_memory()).sum::<usize>();
        Some(FinishedTest { id, route: route.cloned(), status, loss, flaky: false, tags, start, stop, attachments })
    }

    /// Where the disk takes nothing more, files stay in memory.
    fn make_room(&mut self) {
        while self.in_memory > BUDGET && self.trouble.is_none() {
            let bodies = self.open.values_mut().flat_map(|open| &mut open.attachments).map(|a| &mut a.body);
            let Some(largest) = bodies.max_by_key(|body| body.in_memory()) else { return };
            let size = largest.in_memory();
            match largest.spill() {
                Ok(()) => self.in_memory -= size,
                Err(error) => self.trouble = Some(error),
            }
        }
    }
}

impl Open {
    /// Add a piece to its file. Gives by how much more memory is taken.
    fn attach(&mut self, chunk: &FileChunk) -> io::Result<usize> {
        let at = self.attachments.iter().position(|a| a.name == chunk.name).unwrap_or_else(|| {
            let body = Body::default();
            self.attachments.push(Attachment { name: chunk.name.clone(), mime: chunk.mime.clone(), body });
            self.attachments.len() - 1
        });
        let body = &mut self.attachments[at].body;
        let before = body.in_memory();
        body.append(&chunk.bytes)?;
        Ok(body.in_memory() - before)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn event(id: &str, status: Option<Status>, file: Option<(&str, &[u8])>) -> TestEvent {
        let file = file.map(|(name, bytes)| FileChunk {
            name: name.into(),
            mime: Some("text/plain".into()),
            bytes: bytes.to_vec().into(),
            eof: false,
        });
        TestEvent { id: Some(id.into()), status, file, ..TestEvent::default() }
    }

    fn read(body: &Body) -> Vec<u8> {
        let mut bytes = Vec::new();
        body.read().unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn pieces_of_a_file_are_put_together_and_empty_ones_leave_no_trace() {
        let mut open = OpenTests::default();
        let at = Stamp::default();
        for file in [("log", &b"one "[..]), ("none", b""), ("log", b"two"), ("other", b"x")] {
            assert!(open.event(&event("t", None, Some(file)), at).is_none());
        }
        let test = open.event(&event("t", Some(Status::Fail), Some(("last", b"z"))), at).unwrap();
        let files: Vec<(&str, Vec<u8>)> = test.attachments.iter().map(|a| (&*a.name, read(&a.body))).collect();
        assert_eq!(files, [("log", b"one two".to_vec()), ("other", b"x".to_vec()), ("last", b"z".to_vec())]);
        assert_eq!(open.in_memory, 0);
    }

    #[test]
    fn tests_are_known_by_id_and_route() {
        let mut open = OpenTests::default();
        let mut other = event("t", Some(Status::InProgress), None);
        other.route = Some("1".into());
        let at = |s| Stamp::from_timestamp(s, 0).unwrap();
        open.event(&event("t", Some(Status::InProgress), None), at(1));
        open.event(&other, at(2));
        let test = open.event(&event("t", Some(Status::Success), None), at(5)).unwrap();
        assert_eq!((test.start, test.stop), (at(1), Some(at(5))));
        let test = open.unfinished(&"t".into(), Some(&"1".into())).unwrap();
        assert_eq!((test.status, test.start, test.stop), (None, at(2), None));
        assert!(open.unfinished(&"t".into(), Some(&"1".into())).is_none());
    }

    #[test]
    fn files_beyond_the_budget_go_to_disk_the_largest_first() {
        let mut open = OpenTests::default();
        let at = Stamp::default();
        let big = vec![b'b'; BUDGET / 2];
        open.event(&event("small", None, Some(("log", b"s"))), at);
        for _ in 0..5 {
            open.event(&event("big", None, Some(("log", &big))), at);
            assert!(open.in_memory <= BUDGET);
        }
        let test = open.event(&event("big", Some(Status::Success), None), at).unwrap();
        assert_eq!(test.attachments[0].body.in_memory(), 0, "it was put on disk");
        assert_eq!(read(&test.attachments[0].body).len(), 5 * big.len());
        let test = open.event(&event("small", Some(Status::Success), None), at).unwrap();
        assert!(test.attachments[0].body.in_memory() > 0, "the small one was not");
    }
}
