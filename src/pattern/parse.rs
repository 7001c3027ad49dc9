//! A pattern becomes a tree: alternatives, what follows what, repeats and classes. Groups and flags are in [`super::group`],
//! escapes in [`super::escape`].
//!
//! After `_parse_sub` and `_parse` of Python 3.11's `re/_parser.py`, fault for fault and position for position.

use super::ast::{Kind, Node, Parsed, Place, Repeat, Width};
use super::chars::{Item, Set};
use super::error::{Construct, Fault, PatternError};
use super::fold::Fold;
use super::reader::{Reader, Token};

/// The flags that are in force somewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags {
    pub(super) ascii: bool,
    pub(super) ignore_case: bool,
    pub(super) multiline: bool,
    pub(super) dot_all: bool,
    pub(super) verbose: bool,
}

impl Flags {
    pub(super) fn fold(self) -> Fold {
        match (self.ignore_case, self.ascii) {
            (false, _) => Fold::None,
            (true, true) => Fold::Ascii,
            (true, false) => Fold::Unicode,
        }
    }
}

/// Deeper than this is not read on, lest the stack ends. The engine has a limit of its own below this.
pub(super) const DEEPEST: usize = 100;

/// From this on a repeat is too large; Python's `MAXREPEAT`.
const MOST_REPEATS: u64 = u32::MAX as u64;

pub(super) struct Parser<'p> {
    pattern: &'p str,
    pub(super) reader: Reader,
    /// Of the whole pattern.
    pub(super) global: Flags,
    /// By number, and None while open. There is no group 0.
    pub(super) groups: Vec<Option<Width>>,
    pub(super) names: Vec<(String, usize)>,
    /// How many groups there were when the outermost look-behind began.
    pub(super) look_behind: Option<usize>,
    /// The groups of conditions, which may come later, and where.
    pub(super) conditions: Vec<(usize, usize)>,
    /// Where look-behinds are, and how wide.
    pub(super) behinds: Vec<(usize, Width)>,
    /// What is fine with Python: said only where nothing is wrong with the pattern.
    pub(super) refusals: Vec<(Construct, usize)>,
    /// Whether the flags `a` and `u` were given for the whole pattern.
    pub(super) explicit: (bool, bool),
}

/// Read a pattern.
///
/// # Errors
/// When Python would not take it; when it has what regatta has not.
pub(super) fn parse(pattern: &str) -> Result<Parsed, PatternError> {
    let mut parser = Parser {
        pattern,
        reader: Reader::new(pattern),
        global: Flags::default(),
        groups: vec![None],
        names: Vec::new(),
        look_behind: None,
        conditions: Vec::new(),
        behinds: Vec::new(),
        refusals: Vec::new(),
        explicit: (false, false),
    };
    parser.reader.check_end()?;
    let root = parser.alternatives(Flags::default(), 0)?;
    if parser.reader.peek().is_some() {
        return Err(parser.reader.fault(Fault::Unbalanced, parser.reader.position()));
    }
    if let Some((group, at)) = parser.conditions.iter().find(|(group, _)| *group >= parser.groups.len()) {
        return Err(parser.reader.fault(Fault::NoSuchGroup(group.to_string()), *at));
    }
    if let Some((at, _)) = parser.behinds.iter().find(|(_, (least, most))| least != most) {
        return Err(parser.reader.fault(Fault::LookBehindWidth, *at));
    }
    if let Some((construct, at)) = parser.refusals.first() {
        return Err(parser.unsupported(*construct, *at));
    }
    Ok(Parsed { root, groups: parser.groups })
}

impl Parser<'_> {
    pub(super) fn unsupported(&self, construct: Construct, at: usize) -> PatternError {
        PatternError::unsupported(construct, self.pattern, at)
    }

    /// `a|b|c`, up to a bracket that closes or the end.
    pub(super) fn alternatives(&mut self, mut flags: Flags, depth: usize) -> Result<Node, PatternError> {
        if depth > DEEPEST {
            return Err(self.unsupported(Construct::Depth, self.reader.position()));
        }
        let mut found = vec![self.sequence(flags, depth, depth == 0)?];
        while self.reader.take('|')? {
            if depth == 0 {
                flags = self.global;
            }
            found.push(self.sequence(flags, depth, false)?);
        }
        Ok(if found.len() == 1 { found.remove(0) } else { Node::Alternation(found) })
    }

    /// What follows each other. `first`: flags for the whole pattern may be here.
    pub(super) fn sequence(&mut self, mut flags: Flags, depth: usize, first: bool) -> Result<Node, PatternError> {
        let mut parts: Vec<Node> = Vec::new();
        while let Some(token) = self.reader.peek() {
            if matches!(token, Token::Char('|' | ')')) {
                break;
            }
            let at = self.reader.position();
            self.reader.next()?;
            match token {
                Token::Char(' ' | '\t'..='\r') if flags.verbose => {}
                Token::Char('#') if flags.verbose => self.skip_line()?,
                Token::Escape(c) => {
                    let node = self.escape(c, at, flags)?;
                    parts.push(node);
                }
                Token::Char('[') => {
                    let set = self.class(at, flags)?;
                    parts.push(Node::Set(set));
                }
                Token::Char(c @ ('*' | '+' | '?' | '{')) => match self.times(c)? {
                    None => parts.push(Node::Set(Set::literal('{'.into(), flags.fold()))),
                    Some(times) => {
                        let repeat = self.repeat(parts.pop(), times, at)?;
                        parts.push(repeat);
                    }
                },
                Token::Char('.') => {
                    let line_end = Item::Range('\n'.into(), '\n'.into());
                    let items = if flags.dot_all { Vec::new() } else { vec![line_end] };
                    parts.push(Node::Set(Set { negated: true, items, fold: Fold::None }));
                }
                Token::Char('(') => {
                    if let Some(node) = self.group(at, &mut flags, depth, first && parts.is_empty())? {
                        parts.push(node);
                    }
                }
                Token::Char('^') => {
                    parts.push(Node::Place(if flags.multiline { Place::LineStart } else { Place::Start }));
                }
                Token::Char('$') => {
                    parts.push(Node::Place(if flags.multiline { Place::LineEnd } else { Place::End }));
                }
                Token::Char(c) => parts.push(Node::Set(Set::literal(c.into(), flags.fold()))),
            }
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Node::Concat(parts) })
    }

    /// A comment of verbose patterns.
    fn skip_line(&mut self) -> Result<(), PatternError> {
        while self.reader.next()?.is_some_and(|token| token != Token::Char('\n')) {}
        Ok(())
    }

    /// How often to repeat; None where a `{` is only that.
    fn times(&mut self, c: char) -> Result<Option<(u32, Option<u32>)>, PatternError> {
        match c {
            '?' => return Ok(Some((0, Some(1)))),
            '*' => return Ok(Some((0, None))),
            '+' => return Ok(Some((1, None))),
            _ => {}
        }
        let here = self.reader.position();
        let digits = |c: char| c.is_ascii_digit();
        let least = self.reader.take_while(usize::MAX, digits)?;
        let most = if self.reader.take(',')? { Some(self.reader.take_while(usize::MAX, digits)?) } else { None };
        if least.is_empty() && most.is_none() || !self.reader.take('}')? {
            self.reader.seek(here);
            return Ok(None);
        }
        let most = most.unwrap_or_else(|| least.clone());
        let number = |text: &str| match text.parse::<u64>() {
            Ok(number) if number < MOST_REPEATS => Ok(u32::try_from(number).unwrap_or(u32::MAX)),
            _ => Err(self.reader.fault(Fault::BigRepeat, here - 1)),
        };
        let least = if least.is_empty() { 0 } else { number(&least)? };
        let most = if most.is_empty() { None } else { Some(number(&most)?) };
        if most.is_some_and(|most| most < least) {
            return Err(self.reader.fault(Fault::CrossedRepeat, here));
        }
        Ok(Some((least, most)))
    }

    fn repeat(
        &mut self,
        body: Option<Node>,
        (least, most): (u32, Option<u32>),
        at: usize,
    ) -> Result<Node, PatternError> {
        let body = match body {
            None | Some(Node::Place(_)) => return Err(self.reader.fault(Fault::NothingToRepeat, at)),
            Some(Node::Repeat(_)) => return Err(self.reader.fault(Fault::MultipleRepeat, at)),
            Some(body) => body,
        };
        let kind = if self.reader.take('?')? {
            Kind::Lazy
        } else if self.reader.take('+')? {
            Kind::Possessive
        } else {
            Kind::Greedy
        };
        Ok(Node::Repeat(Box::new(Repeat { least, most, kind, body, at })))
    }

    /// `[...]`, whose bracket is at `at`. A `]` is an ordinary character where it is the first.
    fn class(&mut self, at: usize, flags: Flags) -> Result<Set, PatternError> {
        let negated = self.reader.take('^')?;
        let mut items = Vec::new();
        loop {
            let first = self.class_token(at)?;
            if first == Token::Char(']') && !items.is_empty() {
                break;
            }
            let from = self.class_item(first, flags)?;
            if !self.reader.take('-')? {
                items.push(from);
                continue;
            }
            let last = self.class_token(at)?;
            if last == Token::Char(']') {
                items.extend([from, Item::Range('-'.into(), '-'.into())]);
                break;
            }
            let to = self.class_item(last, flags)?;
            match (from, to) {
                (Item::Range(from, _), Item::Range(to, _)) if from <= to => items.push(Item::Range(from, to)),
                _ => {
                    let mut range = String::new();
                    first.push_to(&mut range);
                    range.push('-');
                    last.push_to(&mut range);
                    let place = self.reader.position() - first.len() - 1 - last.len();
                    return Err(self.reader.fault(Fault::BadRange(range), place));
                }
            }
        }
        Ok(Set { negated, items, fold: flags.fold() })
    }

    fn class_token(&mut self, at: usize) -> Result<Token, PatternError> {
        self.reader.next()?.ok_or_else(|| self.reader.fault(Fault::UnclosedClass, at))
    }

    fn class_item(&mut self, token: Token, flags: Flags) -> Result<Item, PatternError> {
        match token {
            Token::Char(c) => Ok(Item::Range(c.into(), c.into())),
            Token::Escape(c) => self.class_escape(c, self.reader.position() - token.len(), flags),
        }
    }
}
