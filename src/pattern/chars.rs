//! Sets of characters: what Python means by `\w`, by a class, and by "without regard to case".
//!
//! Written out in full for the engine, so that nothing depends on what the engine takes a word or a case to be.

use super::fold::{Fold, fold};

/// A set of characters as a pattern has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Set {
    pub(super) negated: bool,
    pub(super) items: Vec<Item>,
    pub(super) fold: Fold,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// Code points from, to: surrogates as well, which Python has in patterns and no id has.
    Range(u32, u32),
    Category {
        category: Category,
        negated: bool,
        ascii: bool,
    },
}

/// `\d`, `\s`, `\w`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Category {
    Digit,
    Space,
    Word,
}

impl Category {
    /// `str.isdecimal`, `str.isspace`, and `str.isalnum` or `_`.
    fn unicode(self) -> &'static str {
        match self {
            Self::Digit => r"\p{Nd}",
            // The separators of ASCII are white space to Python, and not to Unicode.
            Self::Space => r"\s\x{1C}-\x{1F}",
            // Neither marks nor joiners, which Unicode counts as parts of words.
            Self::Word => r"\p{L}\p{N}_",
        }
    }

    /// The same in ASCII, as a bit for each character: with the flag `a`, and for haystacks of ASCII.
    fn ascii(self, by_flag: bool) -> u128 {
        let is_in = |c: u8| match self {
            Self::Digit => c.is_ascii_digit(),
            // `\s` of the flag `a` has not the separators.
            Self::Space => c == b' ' || (b'\t'..=b'\r').contains(&c) || !by_flag && (0x1c..=0x1f).contains(&c),
            Self::Word => c.is_ascii_alphanumeric() || c == b'_',
        };
        (0..128).filter(|c| is_in(*c)).map(|c| 1 << c).sum()
    }
}

/// The characters of words, as the inside of a class.
pub(super) fn word(ascii: bool) -> &'static str {
    if ascii { "0-9A-Z_a-z" } else { Category::Word.unicode() }
}

impl Set {
    /// This one character.
    pub(super) fn literal(code: u32, fold: Fold) -> Self {
        Self { negated: false, items: vec![Item::Range(code, code)], fold }
    }

    fn ranges(&self) -> Vec<(u32, u32)> {
        let ranges = self.items.iter().filter_map(|item| match *item {
            Item::Range(from, to) => Some((from, to)),
            Item::Category { .. } => None,
        });
        fold(ranges.collect(), self.fold)
    }

    /// Write it for haystacks of any kind.
    pub(super) fn write(&self, out: &mut String) {
        let ranges = without_surrogates(self.ranges());
        let categories = || {
            self.items.iter().filter_map(|item| match *item {
                Item::Category { category, negated, ascii } => Some((category, negated, ascii)),
                Item::Range(..) => None,
            })
        };
        if let ([(from, to)], false, None) = (&ranges[..], self.negated, categories().next())
            && from == to
        {
            return write_char(*from, out);
        }
        if ranges.is_empty() && categories().next().is_none() {
            return out.push_str(if self.negated { "(?s:.)" } else { NOTHING });
        }
        out.push_str(if self.negated { "[^" } else { "[" });
        for (category, negated, ascii) in categories() {
            out.push_str(if negated { "[^" } else { "" });
            if ascii {
                bits(category.ascii(true)).into_iter().for_each(|range| write_range(range, out));
            } else {
                out.push_str(category.unicode());
            }
            out.push_str(if negated { "]" } else { "" });
        }
        ranges.into_iter().for_each(|range| write_range(range, out));
        out.push(']');
    }

    /// Write it for haystacks of ASCII without a line end.
    pub(super) fn write_ascii(&self, out: &mut String) {
        let mut mask = self.ranges().into_iter().filter(|(from, _)| *from < 128).fold(0_u128, |mask, (from, to)| {
            let upto = |n: u32| if n >= 128 { u128::MAX } else { (1 << n) - 1 };
            mask | upto(to + 1) & !upto(from)
        });
        for item in &self.items {
            if let Item::Category { category, negated, ascii } = *item {
                let within = category.ascii(ascii);
                mask |= if negated { !within } else { within };
            }
        }
        mask = if self.negated { !mask } else { mask };
        let ranges = bits(mask);
        // With or without the line end, which such a haystack has not.
        if mask | 1 << b'\n' == u128::MAX {
            return out.push_str("(?s:.)");
        }
        match &ranges[..] {
            [] => out.push_str(NOTHING),
            [(from, to)] if from == to => write_char(*from, out),
            _ => {
                out.push('[');
                ranges.into_iter().for_each(|range| write_range(range, out));
                out.push(']');
            }
        }
    }
}

/// A class that has no character.
const NOTHING: &str = r"[^\s\S]";

/// The runs of bits that are set.
fn bits(mask: u128) -> Vec<(u32, u32)> {
    super::fold::merged((0..128).filter(|c| mask >> c & 1 == 1).map(|c| (c, c)).collect())
}

/// What of these ranges an id can have.
fn without_surrogates(ranges: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    let cut = |(from, to): (u32, u32)| [(from, to.min(0xd7ff)), (from.max(0xe000), to)];
    let valid = |(from, to): &(u32, u32)| from <= to;
    ranges.into_iter().flat_map(cut).filter(valid).collect()
}

fn write_range((from, to): (u32, u32), out: &mut String) {
    write_char(from, out);
    if to > from {
        out.push('-');
        write_char(to, out);
    }
}

/// Nothing but letters and digits can be taken for anything else.
fn write_char(code: u32, out: &mut String) {
    match char::from_u32(code) {
        Some(c) if c.is_ascii_alphanumeric() => out.push(c),
        _ => out.push_str(&format!(r"\x{{{code:X}}}")),
    }
}
