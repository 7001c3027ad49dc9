//! Makes what came from an instance safe to stand on a line: a line end in an id would be a result that never was.
//!
//! Called by [`super::write`] only; the true strings are in the run's record, so nothing undoes this.

use std::borrow::Cow;
use std::fmt::Write;

/// The string with control characters as `\xNN`.
pub(super) fn line(string: &str) -> Cow<'_, str> {
    escaped(string, |_| None)
}

/// An id, as it can stand behind `test: `.
///
/// python-subunit takes the rest of the line as it is, blanks at both ends and a last ` [` included, and compares it
/// whole. But a line with nothing but blanks is no directive to it, so an id of blanks gets its first one as `\x20`,
/// and an id of nothing is `(empty)`.
pub(super) fn id(id: &str) -> Cow<'_, str> {
    if id.is_empty() {
        Cow::Borrowed("(empty)")
    } else if id.bytes().all(|byte| byte == b' ') {
        Cow::Owned(format!("\\x20{}", &id[1..]))
    } else {
        line(id)
    }
}

/// A tag, as it can stand among others: blanks of any kind as `_`, and a `-` that would take a tag away too.
pub(super) fn tag(tag: &str) -> Cow<'_, str> {
    match tag.strip_prefix('-') {
        Some(rest) => Cow::Owned(format!("_{}", blanks(rest))),
        None => blanks(tag),
    }
}

fn blanks(string: &str) -> Cow<'_, str> {
    escaped(string, |character| character.is_whitespace().then_some('_'))
}

/// The string with control characters as `\xNN`, and other characters as `instead` says.
pub(super) fn escaped(string: &str, instead: impl Fn(char) -> Option<char>) -> Cow<'_, str> {
    if !string.chars().any(|character| character.is_control() || instead(character).is_some()) {
        return Cow::Borrowed(string);
    }
    let mut safe = String::with_capacity(string.len() + 8);
    for character in string.chars() {
        if character.is_control() {
            write!(safe, "\\x{:02x}", u32::from(character)).expect("writing to a string does not fail");
        } else {
            safe.push(instead(character).unwrap_or(character));
        }
    }
    Cow::Owned(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_line_cannot_hold_is_written_otherwise() {
        assert_eq!(id("a.b(1)"), "a.b(1)");
        assert_eq!(id("a\ntest: b"), "a\\x0atest: b");
        assert_eq!(id("a\u{85}\u{7f}\0é"), "a\\x85\\x7f\\x00é");
        assert_eq!(id(""), "(empty)");
        assert_eq!(id("  "), "\\x20 ");
        assert_eq!(id(" a [ multipart"), " a [ multipart");
        assert_eq!(tag("very slow\u{a0}x\t"), "very_slow_x\\x09");
        assert_eq!(tag("-slow"), "_slow");
    }
}
