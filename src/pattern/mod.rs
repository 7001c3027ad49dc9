//! `(pure)` Python's regular expressions (`re`, as of 3.11): read as Python reads them, matched by fancy-regex.
//!
//! A pattern is parsed after Python's own parser (`re/_parser.py`), with its faults and their positions, into a tree, and
//! the tree is written anew for the engine, so that nothing depends on how alike the two languages look. What the engine
//! would match differently is refused by name: [`Construct`] is the whole list.
//!
//! It is written twice: nearly all texts are ASCII in one line, where `\b`, `$` and `\w` are what the engine takes them to
//! be and everyday patterns are matched without ever going back.
//!
//! Knows nothing of tests: [`crate::test_id`] calls it, with ids as the texts.

mod ast;
mod chars;
mod emit;
mod error;
mod escape;
mod fold;
mod group;
mod parse;
mod reader;
mod shape;
#[cfg(test)]
mod tests;

pub use error::{Construct, Fault, PatternError, Place};

use emit::{Haystack, emit};
use fancy_regex::{Regex, RegexBuilder};

/// Where in a text a match may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// Anywhere: `re.search`.
    Anywhere,
    /// At the start only: `re.match`.
    Start,
}

/// A compiled pattern.
#[derive(Debug)]
pub struct Pattern {
    /// For nearly all texts: fast, as it need not know of other letters and of line ends.
    plain: Regex,
    /// For the others, where its translation is another.
    any: Option<Regex>,
}

/// How often the engine may go back in one text before it gives up: less than a second.
const BACKTRACK_LIMIT: usize = 10_000_000;

impl Pattern {
    /// Compile a pattern.
    ///
    /// # Errors
    /// When Python would not take it, or regatta cannot.
    pub fn new(written: &str, anchor: Anchor) -> Result<Self, PatternError> {
        let parsed = parse::parse(written)?;
        let compile = |haystack| -> Result<(Regex, String), PatternError> {
            let text = emit(&parsed, haystack).map_err(|(what, at)| PatternError::unsupported(what, written, at))?;
            let text = match anchor {
                Anchor::Anywhere => text,
                Anchor::Start => format!(r"\A(?:{text})"),
            };
            let regex = RegexBuilder::new(&text).backtrack_limit(BACKTRACK_LIMIT).build();
            regex.map(|regex| (regex, text)).map_err(|e| PatternError::TooMuch(Box::new(e)))
        };
        let (plain, plain_text) = compile(Haystack::Plain)?;
        let (any, any_text) = compile(Haystack::Any)?;
        Ok(Self { plain, any: (plain_text != any_text).then_some(any) })
    }

    /// What is found in a text, all of it (`group(0)`).
    ///
    /// # Errors
    /// When the engine gives up.
    pub fn find<'t>(&self, text: &'t str) -> Result<Option<&'t str>, Box<fancy_regex::Error>> {
        let regex = self.any.as_ref().filter(|_| !Haystack::Plain.takes(text)).unwrap_or(&self.plain);
        regex.find(text).map(|found| found.map(|m| m.as_str())).map_err(Box::new)
    }
}
