//! Strings as Python's `repr` writes them and its `ast.literal_eval` reads them, one byte a character (Latin-1).
//! (pure)
//!
//! The lines of a `dbm.dumb` index hold their keys so: the bytes of a key, taken as Latin-1 characters, in the file's
//! own Latin-1. Called by [`super::dumb`] only.

/// Write `bytes` as `repr(bytes.decode("latin-1"))` would, in Latin-1.
pub(super) fn write(bytes: &[u8], out: &mut Vec<u8>) {
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { b'"' } else { b'\'' };
    out.push(quote);
    for &byte in bytes {
        match byte {
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\\' => out.extend_from_slice(b"\\\\"),
            _ if byte == quote => out.extend_from_slice(&[b'\\', quote]),
            // What Python does not call printable: controls, the no-break space and the soft hyphen.
            0..=0x1f | 0x7f..=0xa0 | 0xad => {
                let digit = |n: u8| b"0123456789abcdef"[usize::from(n)];
                out.extend_from_slice(&[b'\\', b'x', digit(byte >> 4), digit(byte & 15)]);
            }
            _ => out.push(byte),
        }
    }
    out.push(quote);
}

/// Read a literal at the start of `text`: its bytes go to `out`, what follows it is returned.
///
/// Nothing when there is none, when it does not end, or when it has a character beyond Latin-1.
pub(super) fn read<'t>(text: &'t [u8], out: &mut Vec<u8>) -> Option<&'t [u8]> {
    let (&quote, mut rest) = text.split_first()?;
    if quote != b'\'' && quote != b'"' {
        return None;
    }
    loop {
        let plain = rest.iter().position(|&b| b == quote || b == b'\\')?;
        out.extend_from_slice(&rest[..plain]);
        if rest[plain] == quote {
            return Some(&rest[plain + 1..]);
        }
        rest = read_escape(&rest[plain + 1..], out)?;
    }
}

/// Read what follows a backslash.
fn read_escape<'t>(text: &'t [u8], out: &mut Vec<u8>) -> Option<&'t [u8]> {
    let (&letter, rest) = text.split_first()?;
    let (byte, used) = match letter {
        b'n' => (b'\n', 0),
        b't' => (b'\t', 0),
        b'r' => (b'\r', 0),
        b'a' => (0x07, 0),
        b'b' => (0x08, 0),
        b'f' => (0x0c, 0),
        b'v' => (0x0b, 0),
        b'\\' | b'\'' | b'"' => (letter, 0),
        b'x' => (number(rest.get(..2)?, 16)?, 2),
        b'u' => (number(rest.get(..4)?, 16)?, 4),
        b'U' => (number(rest.get(..8)?, 16)?, 8),
        b'0'..=b'7' => {
            let digits = text.iter().take(3).take_while(|b| (b'0'..=b'7').contains(b)).count();
            (number(&text[..digits], 8)?, digits - 1)
        }
        // Python keeps the backslash before a letter that means nothing.
        _ => {
            out.push(b'\\');
            (letter, 0)
        }
    };
    out.push(byte);
    Some(&rest[used..])
}

fn number(digits: &[u8], radix: u32) -> Option<u8> {
    // `from_str_radix` takes a sign, an escape does not.
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u8::try_from(u32::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(bytes: &[u8], literal: &[u8]) {
        let mut out = vec![];
        write(bytes, &mut out);
        assert_eq!(out, literal, "{}", literal.escape_ascii());
        check_read(literal, Some(bytes));
    }

    fn check_read(literal: &[u8], bytes: Option<&[u8]>) {
        let mut out = vec![];
        let rest = read(literal, &mut out);
        assert_eq!(rest.map(|_| &*out), bytes, "{}", literal.escape_ascii());
    }

    #[test]
    fn it_is_python_s_repr() {
        check(b"a.b", b"'a.b'");
        check(b"", b"''");
        check(b"it's", br#""it's""#);
        check(br#"it's "so""#, br#"'it\'s "so"'"#);
        check(b"a\\\t\n\r\0\x1b\x7f", br"'a\\\t\n\r\x00\x1b\x7f'");
        check("ü ó".as_bytes(), b"'\xc3\xbc \xc3\xb3'");
        check("à\u{2028}".as_bytes(), b"'\xc3\\xa0\xe2\\x80\xa8'");
        check(b"\xad\xff", b"'\\xad\xff'");
    }

    #[test]
    fn other_ways_of_writing_are_read_and_what_is_none_is_not() {
        check_read(br"'\a\b\f\v\0\101\x41\u00e9\q'", Some(b"\x07\x08\x0c\x0b\0AA\xe9\\q"));
        for bad in [&b""[..], b"a", b"'a", b"'a\\", br"'\x4'", br"'\x+4'", br"'\u20ac'", br"'\777'", br#"'a""#] {
            check_read(bad, None);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(bytes: Vec<u8>, after: Vec<u8>) {
            let mut text = vec![];
            write(&bytes, &mut text);
            prop_assert!(!text.contains(&b'\n') && !text.contains(&b'\r'));
            text.extend_from_slice(&after);
            let mut back = vec![];
            prop_assert_eq!(read(&text, &mut back), Some(&*after));
            prop_assert_eq!(back, bytes);
        }

        #[test]
        fn no_text_makes_it_panic(text: Vec<u8>) {
            read(&text, &mut vec![]);
            read(&[b"'", &*text].concat(), &mut vec![]);
        }
    }
}
