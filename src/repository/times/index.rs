//! The lines of a `dbm.dumb` index (`times.dbm.dir`): `'key', (position, size)`.  (pure)
//!
//! Called by [`super::dumb`] only.

use std::io::Write;

use super::literal;

/// Where a value is in the data file, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) position: u64,
    pub(super) size: u64,
}

impl Place {
    /// Where it ends; beyond any file if the numbers are absurd.
    pub(super) fn end(self) -> u64 {
        self.position.saturating_add(self.size)
    }
}

/// Read a line: its key goes to `key`, which is emptied first. Nothing when it is not such a line.
pub(super) fn read_line(line: &[u8], key: &mut Vec<u8>) -> Option<Place> {
    key.clear();
    let pair = literal::read(line, key)?.trim_ascii().strip_prefix(b",")?;
    let pair = pair.trim_ascii().strip_prefix(b"(")?.strip_suffix(b")")?;
    let (position, size) = std::str::from_utf8(pair).ok()?.split_once(',')?;
    Some(Place { position: position.trim().parse().ok()?, size: size.trim().parse().ok()? })
}

/// Write a line, its end too.
pub(super) fn write_line(key: &[u8], place: Place, out: &mut Vec<u8>) {
    literal::write(key, out);
    writeln!(out, ", ({}, {})", place.position, place.size).expect("memory takes all");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &[u8], expect: Option<(&[u8], u64, u64)>) {
        let mut key = b"old".to_vec();
        let place = read_line(line, &mut key);
        assert_eq!(place.map(|p| (&*key, p.position, p.size)), expect, "{}", line.escape_ascii());
    }

    #[test]
    fn lines_are_read_and_written_as_python_does() {
        check(b"'a.b', (512, 4)", Some((b"a.b", 512, 4)));
        check(b"\"it's\", (0, 3)\r\n", Some((b"it's", 0, 3)));
        check(b"'a' , ( 0,3 ) ", Some((b"a", 0, 3)));
        let mut line = vec![];
        write_line("ó".as_bytes(), Place { position: 1024, size: 5 }, &mut line);
        assert_eq!(line, b"'\xc3\xb3', (1024, 5)\n");
        check(&line, Some(("ó".as_bytes(), 1024, 5)));
    }

    #[test]
    fn what_is_cut_off_or_garbage_is_no_line() {
        let line = b"'a.b', (512, 4)";
        for end in 0..line.len() {
            check(&line[..end], None);
        }
        for bad in [&b"junk"[..], b"'a' (0, 3)", b"'a', (-1, 3)", b"'a', (0, 3, 4)", b"'a', (99999999999999999999, 1)"]
        {
            check(bad, None);
        }
    }
}
