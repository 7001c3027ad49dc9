//! Which tests fail now, in testr's order, and where the record of each is: what the file `failing` is made from.
//!
//! A test keeps its place for as long as it fails and comes last when it fails again. Attachments stay on disk: what
//! is kept here of a record is where it is. Used by the inserter during a run and by [`super::store`] at its end.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::id_table::{IdTable, Number};

/// Where the record of a failing test is, in bytes from the start of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the file of the present run.
    Run(Range<u64>),
    /// In the `failing` file that there was before.
    Before(Range<u64>),
    /// It was cut off there, so that only the id is known.
    Lost,
}

/// The failing tests.
#[derive(Debug, Default)]
pub(super) struct Failing {
    by_turn: BTreeMap<u64, (Number, Place)>,
    turns: HashMap<Number, u64>,
    next_turn: u64,
}

impl Failing {
    /// The test failed: its record replaces an older one where that is, or comes last.
    pub(super) fn fail(&mut self, test: Number, place: Place) {
        let turn = *self.turns.entry(test).or_insert(self.next_turn);
        self.next_turn += 1;
        self.by_turn.insert(turn, (test, place));
    }

    /// The test ended otherwise.
    pub(super) fn pass(&mut self, test: Number) {
        if let Some(turn) = self.turns.remove(&test) {
            self.by_turn.remove(&turn);
        }
    }

    /// Put the tests of `later`, in their order, on top of these.
    pub(super) fn extend(&mut self, later: &Self) {
        for (test, place) in later.by_turn.values() {
            self.fail(*test, place.clone());
        }
    }

    /// Write the records to `out`, copied from the file of the run and the one before.
    pub(super) fn write(
        &self,
        ids: &IdTable,
        run: &File,
        before: Option<&File>,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let mut records = self.by_turn.values().peekable();
        while let Some((test, place)) = records.next() {
            let (file, mut range) = match place {
                Place::Run(range) => (Some(run), range.clone()),
                Place::Before(range) => (before, range.clone()),
                Place::Lost => {
                    let id = ids.id(*test);
                    for part in [b"test: ", id, b"\nfailure: ", id, b" [ multipart\n]\n"] {
                        out.write_all(part)?;
                    }
                    continue;
                }
            };
            // Records that lie one after the other are copied as one.
            while let Some((_, next)) = records.peek() {
                match (place, next) {
                    (Place::Run(_), Place::Run(next)) | (Place::Before(_), Place::Before(next))
                        if next.start == range.end =>
                    {
                        range.end = next.end;
                        records.next();
                    }
                    _ => break,
                }
            }
            copy(file.ok_or(io::ErrorKind::NotFound)?, range, out)?;
        }
        Ok(())
    }
}

/// Copy bytes, a piece at a time, without moving the file's own position.
fn copy(file: &File, mut range: Range<u64>, out: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; usize::try_from(range.end - range.start).unwrap_or(usize::MAX).min(1 << 16)];
    while range.start < range.end {
        let n = usize::try_from(range.end - range.start).unwrap_or(usize::MAX).min(buffer.len());
        file.read_exact_at(&mut buffer[..n], range.start)?;
        out.write_all(&buffer[..n])?;
        range.start += n as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &str) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content.as_bytes()).unwrap();
        file
    }

    fn written(failing: &Failing, run: &str, before: &str) -> String {
        let mut ids = IdTable::default();
        for id in ["a", "b", "c", "d"] {
            ids.intern(id.as_bytes());
        }
        let mut out = Vec::new();
        failing.write(&ids, &file(run), Some(&file(before)), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_test_keeps_its_place_while_it_fails_and_comes_last_when_it_fails_again() {
        let mut failing = Failing::default();
        failing.fail(0, Place::Run(0..1));
        failing.fail(1, Place::Run(1..2));
        failing.fail(2, Place::Run(2..3));
        failing.fail(0, Place::Run(3..4));
        failing.pass(1);
        failing.pass(3);
        assert_eq!(written(&failing, "0123456", ""), "32");
        failing.fail(1, Place::Run(5..6));
        assert_eq!(written(&failing, "0123456", ""), "325");
    }

    #[test]
    fn what_fails_now_is_put_on_top_of_what_failed_before() {
        let mut failing = Failing::default();
        failing.fail(0, Place::Before(0..2));
        failing.fail(1, Place::Before(2..4));
        failing.fail(2, Place::Lost);
        let mut now = Failing::default();
        now.fail(3, Place::Run(0..2));
        now.fail(1, Place::Run(2..4));
        failing.extend(&now);
        assert_eq!(written(&failing, "DDBB", "aabb"), "aaBBtest: c\nfailure: c [ multipart\n]\nDD");
    }

    #[test]
    fn a_record_longer_than_the_buffer_is_copied_whole() {
        let run = "0123456789".repeat(20_000);
        let mut failing = Failing::default();
        failing.fail(0, Place::Run(5..100_000));
        failing.fail(1, Place::Run(100_000..199_995));
        assert_eq!(written(&failing, &run, ""), run[5..199_995]);
    }
}
