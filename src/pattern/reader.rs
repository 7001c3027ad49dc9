//! A pattern as tokens: single characters, a backslash together with what follows it. No meaning yet.
//!
//! After `Tokenizer` of Python's `re/_parser.py`, of which also the positions in messages follow.

use super::error::{Fault, PatternError};

/// What is read next: a character, or a backslash and a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// One that stands for itself, or is special.
    Char(char),
    /// The one behind a backslash.
    Escape(char),
}

impl Token {
    /// How many characters of the pattern it is.
    pub(super) fn len(self) -> usize {
        match self {
            Self::Char(_) => 1,
            Self::Escape(_) => 2,
        }
    }

    /// As it is written.
    pub(super) fn push_to(self, text: &mut String) {
        match self {
            Self::Char(c) => text.push(c),
            Self::Escape(c) => text.extend(['\\', c]),
        }
    }
}

/// Reads one pattern.
pub(super) struct Reader {
    text: Vec<char>,
    /// Where the next token begins, in characters.
    at: usize,
}

impl Reader {
    /// Begin at the beginning. Whether that is a lone backslash is for [`Self::check_end`] to say.
    pub(super) fn new(pattern: &str) -> Self {
        Self { text: pattern.chars().collect(), at: 0 }
    }

    /// An error at a place in the pattern.
    pub(super) fn fault(&self, fault: Fault, at: usize) -> PatternError {
        PatternError::syntax(fault, &self.text, at)
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn seek(&mut self, at: usize) {
        self.at = at;
    }

    /// The next token, which stays. A lone backslash at the end is none: [`Self::check_end`] tells.
    pub(super) fn peek(&self) -> Option<Token> {
        match *self.text.get(self.at)? {
            '\\' => self.text.get(self.at + 1).map(|c| Token::Escape(*c)),
            c => Some(Token::Char(c)),
        }
    }

    /// The next token.
    ///
    /// # Errors
    /// When what comes after it is a lone backslash at the end: Python looks one token ahead.
    pub(super) fn next(&mut self) -> Result<Option<Token>, PatternError> {
        let token = self.peek();
        self.at += token.map_or(0, Token::len);
        self.check_end()?;
        Ok(token)
    }

    /// # Errors
    /// When all that is left is a backslash.
    pub(super) fn check_end(&self) -> Result<(), PatternError> {
        if self.at + 1 == self.text.len() && self.text[self.at] == '\\' {
            return Err(self.fault(Fault::LoneBackslash, self.at));
        }
        Ok(())
    }

    /// Whether this character is next; if so, go past it.
    pub(super) fn take(&mut self, c: char) -> Result<bool, PatternError> {
        let found = self.peek() == Some(Token::Char(c));
        if found {
            self.next()?;
        }
        Ok(found)
    }

    /// The characters that are next as long as they are wanted, at most so many.
    pub(super) fn take_while(&mut self, most: usize, wanted: fn(char) -> bool) -> Result<String, PatternError> {
        let mut taken = String::new();
        while let Some(Token::Char(c)) = self.peek().filter(|_| taken.len() < most) {
            if !wanted(c) {
                break;
            }
            taken.push(c);
            self.next()?;
        }
        Ok(taken)
    }

    /// A name up to this character, which is gone past.
    ///
    /// # Errors
    /// When there is no name, or no such character.
    pub(super) fn take_name(&mut self, end: char) -> Result<String, PatternError> {
        let (start, mut name) = (self.at, String::new());
        loop {
            let Some(token) = self.next()? else {
                let fault = if name.is_empty() { Fault::NoName } else { Fault::UnclosedName(end) };
                return Err(self.fault(fault, start));
            };
            if token != Token::Char(end) {
                token.push_to(&mut name);
            } else if name.is_empty() {
                return Err(self.fault(Fault::NoName, start));
            } else {
                return Ok(name);
            }
        }
    }
}
