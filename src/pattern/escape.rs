//! What a backslash and a character stand for, outside of classes and inside; `_escape` and `_class_escape` of Python's
//! `re/_parser.py`.

use super::ast::{Node, Place};
use super::chars::{Category, Item, Set};
use super::error::{Construct, Fault, PatternError};
use super::parse::{Flags, Parser};
use super::reader::Token;

impl Parser<'_> {
    /// Outside of classes.
    pub(super) fn escape(&mut self, c: char, at: usize, flags: Flags) -> Result<Node, PatternError> {
        let ascii = flags.ascii;
        let place = match c {
            'A' => Some(Place::Start),
            'Z' => Some(Place::VeryEnd),
            'b' => Some(Place::WordBoundary { ascii }),
            'B' => Some(Place::NoWordBoundary { ascii }),
            _ => None,
        };
        if let Some(place) = place {
            return Ok(Node::Place(place));
        }
        if let Some(item) = category(c, ascii) {
            return Ok(Node::Set(Set { negated: false, items: vec![item], fold: flags.fold() }));
        }
        let code = match c {
            '0' => self.octal(c, 2, at)?,
            '1'..='9' => match self.number(c, at)? {
                Number::Character(code) => code,
                Number::Group(group) => {
                    return Ok(Node::Backreference { group, ignore_case: flags.ignore_case, at });
                }
            },
            _ => self.character(c, at)?,
        };
        Ok(Node::Set(Set::literal(code, flags.fold())))
    }

    /// Inside a class.
    pub(super) fn class_escape(&mut self, c: char, at: usize, flags: Flags) -> Result<Item, PatternError> {
        if let Some(item) = category(c, flags.ascii) {
            return Ok(item);
        }
        let code = match c {
            'b' => 0x08,
            '0'..='7' => self.octal(c, 2, at)?,
            _ => self.character(c, at)?,
        };
        Ok(Item::Range(code, code))
    }

    /// What means the same in both places.
    fn character(&mut self, c: char, at: usize) -> Result<u32, PatternError> {
        match c {
            'a' => Ok(0x07),
            'f' => Ok(0x0c),
            'n' => Ok(0x0a),
            'r' => Ok(0x0d),
            't' => Ok(0x09),
            'v' => Ok(0x0b),
            'x' => self.hexadecimal(c, 2, at),
            'u' => self.hexadecimal(c, 4, at),
            'U' => self.hexadecimal(c, 8, at),
            'N' => {
                if !self.reader.take('{')? {
                    return Err(self.reader.fault(Fault::NoBrace, self.reader.position()));
                }
                self.reader.take_name('}')?;
                Err(self.unsupported(Construct::NamedCharacter, at))
            }
            c if c.is_ascii_alphanumeric() => Err(self.reader.fault(Fault::BadEscape(format!(r"\{c}")), at)),
            c => Ok(c.into()),
        }
    }

    fn hexadecimal(&mut self, c: char, digits: usize, at: usize) -> Result<u32, PatternError> {
        let text = self.reader.take_while(digits, |c| c.is_ascii_hexdigit())?;
        let code = u32::from_str_radix(&text, 16).ok().filter(|_| text.len() == digits);
        let Some(code) = code else {
            return Err(self.reader.fault(Fault::ShortEscape(format!(r"\{c}{text}")), at));
        };
        if code > u32::from(char::MAX) {
            return Err(self.reader.fault(Fault::BadEscape(format!(r"\{c}{text}")), at));
        }
        Ok(code)
    }

    fn octal(&mut self, first: char, more: usize, at: usize) -> Result<u32, PatternError> {
        let text = format!("{first}{}", self.reader.take_while(more, |c| ('0'..='7').contains(&c))?);
        let code = u32::from_str_radix(&text, 8).ok().filter(|code| *code <= 0o377);
        code.ok_or_else(|| self.reader.fault(Fault::BigOctal(format!(r"\{text}")), at))
    }

    /// A group, or a character of three octal digits.
    fn number(&mut self, first: char, at: usize) -> Result<Number, PatternError> {
        let mut text = first.to_string();
        text += &self.reader.take_while(1, |c| c.is_ascii_digit())?;
        let is_octal = |c: char| ('0'..='7').contains(&c);
        if let Some(Token::Char(third)) = self.reader.peek()
            && text.len() == 2
            && text.chars().chain([third]).all(is_octal)
        {
            self.reader.next()?;
            text.push(third);
            let code = u32::from_str_radix(&text, 8).ok().filter(|code| *code <= 0o377);
            let big = || self.reader.fault(Fault::BigOctal(format!(r"\{text}")), at);
            return code.map(Number::Character).ok_or_else(big);
        }
        match text.parse::<usize>() {
            Ok(group) if group < self.groups.len() => {
                if self.groups[group].is_none() {
                    return Err(self.reader.fault(Fault::OpenGroup, at));
                }
                self.check_look_behind(group)?;
                Ok(Number::Group(group))
            }
            _ => Err(self.reader.fault(Fault::NoSuchGroup(text), at + 1)),
        }
    }
}

enum Number {
    Character(u32),
    Group(usize),
}

fn category(c: char, ascii: bool) -> Option<Item> {
    let category = match c.to_ascii_lowercase() {
        'd' => Category::Digit,
        's' => Category::Space,
        'w' => Category::Word,
        _ => return None,
    };
    Some(Item::Category { category, negated: c.is_ascii_uppercase(), ascii })
}
