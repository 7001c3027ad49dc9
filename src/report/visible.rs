//! Text for a terminal that may hold anything: what a terminal would act on is made visible.
//!
//! Test ids and what tests write are not ours. Used by the sinks that print.

use std::borrow::Cow;

/// The text with control characters, but for line ends and tabs, and marks of direction as `\u{1b}`.
pub(super) fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unsafe(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

fn is_unsafe(c: char) -> bool {
    c.is_control() && c != '\n' && c != '\t' || is_bidirectional(c)
}

/// Marks that change the order in which a terminal shows what follows.
fn is_bidirectional(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_nothing_to_act_on() {
        assert_eq!(visible("a\tü\nb"), "a\tü\nb");
        assert_eq!(visible("a\u{1b}[2J\r\u{202e}b\u{9b}"), "a\\u{1b}[2J\\r\\u{202e}b\\u{9b}");
    }
}
