//! What begins with a bracket: groups, looks, conditions, comments and flags; the bracket's part of `_parse`, and
//! `_parse_flags`, of Python's `re/_parser.py`.

use std::sync::OnceLock;

use super::ast::{Look, Node};
use super::error::{Construct, Fault, PatternError};
use super::parse::{Flags, Parser};
use super::reader::Token;
use super::shape;

impl Parser<'_> {
    /// A group whose bracket is at `at` and gone past. None where nothing is matched: comments, flags of the whole pattern.
    pub(super) fn group(
        &mut self,
        at: usize,
        flags: &mut Flags,
        depth: usize,
        first: bool,
    ) -> Result<Option<Node>, PatternError> {
        if !self.reader.take('?')? {
            return self.capture(None, at, *flags, depth).map(Some);
        }
        let Some(token) = self.reader.next()? else { return self.end() };
        match token {
            Token::Char('P') => self.python_group(at, *flags, depth).map(Some),
            Token::Char(':') => self.body(at, *flags, depth).map(|body| Some(Node::Group(None, Box::new(body)))),
            Token::Char('>') => self.body(at, *flags, depth).map(|body| Some(Node::Atomic(Box::new(body)))),
            Token::Char('#') => self.comment(at).map(|()| None),
            Token::Char(c @ ('=' | '!')) => self.look(false, c == '!', at, *flags, depth).map(Some),
            Token::Char('<') => match self.reader.next()? {
                None => self.end(),
                Some(Token::Char(c @ ('=' | '!'))) => self.look(true, c == '!', at, *flags, depth).map(Some),
                Some(token) => Err(self.unknown("?<", token, at)),
            },
            Token::Char('(') => self.conditional(at, *flags, depth).map(Some),
            Token::Char(c) if c == '-' || is_flag(c) => {
                let Some(scoped) = self.flags(c, *flags)? else {
                    if !first {
                        return Err(self.reader.fault(Fault::LateFlags, at));
                    }
                    *flags = self.global;
                    return Ok(None);
                };
                self.body(at, scoped, depth).map(|body| Some(Node::Group(None, Box::new(body))))
            }
            token => Err(self.unknown("?", token, at)),
        }
    }

    fn end<T>(&self) -> Result<T, PatternError> {
        Err(self.reader.fault(Fault::End, self.reader.position()))
    }

    fn unknown(&self, start: &str, token: Token, at: usize) -> PatternError {
        let mut text = start.to_owned();
        token.push_to(&mut text);
        self.reader.fault(Fault::UnknownGroup(text), at + 1)
    }

    /// What is in a group, and the bracket that closes it.
    fn body(&mut self, at: usize, flags: Flags, depth: usize) -> Result<Node, PatternError> {
        let body = self.alternatives(flags, depth + 1)?;
        self.close(at)?;
        Ok(body)
    }

    fn close(&mut self, at: usize) -> Result<(), PatternError> {
        if self.reader.take(')')? { Ok(()) } else { Err(self.reader.fault(Fault::UnclosedGroup, at)) }
    }

    fn capture(&mut self, name: Option<String>, at: usize, flags: Flags, depth: usize) -> Result<Node, PatternError> {
        let number = self.groups.len();
        self.groups.push(None);
        self.names.extend(name.map(|name| (name, number)));
        let body = self.body(at, flags, depth)?;
        self.groups[number] = Some(shape::width(&body, &self.groups));
        Ok(Node::Group(Some(number), Box::new(body)))
    }

    /// `(?P<name>..)` and `(?P=name)`
    fn python_group(&mut self, at: usize, flags: Flags, depth: usize) -> Result<Node, PatternError> {
        if self.reader.take('<')? {
            let place = self.reader.position();
            let name = self.reader.take_name('>')?;
            self.check_name(&name, place)?;
            if self.named(&name).is_some() {
                return Err(self.reader.fault(Fault::TwiceNamed(name), place));
            }
            return self.capture(Some(name), at, flags, depth);
        }
        if self.reader.take('=')? {
            let place = self.reader.position();
            let name = self.reader.take_name(')')?;
            self.check_name(&name, place)?;
            let Some(group) = self.named(&name) else {
                return Err(self.reader.fault(Fault::NoSuchName(name), place));
            };
            if self.groups[group].is_none() {
                return Err(self.reader.fault(Fault::OpenGroup, place));
            }
            self.check_look_behind(group)?;
            return Ok(Node::Backreference { group, ignore_case: flags.ignore_case, at });
        }
        match self.reader.next()? {
            None => self.end(),
            Some(token) => Err(self.unknown("?P", token, at)),
        }
    }

    fn check_name(&self, name: &str, at: usize) -> Result<(), PatternError> {
        if is_identifier(name) { Ok(()) } else { Err(self.reader.fault(Fault::BadName(name.to_owned()), at)) }
    }

    fn named(&self, name: &str) -> Option<usize> {
        self.names.iter().find(|(known, _)| known == name).map(|(_, group)| *group)
    }

    /// Whether a group may be referred to here, as to look-behinds.
    pub(super) fn check_look_behind(&self, group: usize) -> Result<(), PatternError> {
        let Some(groups) = self.look_behind else { return Ok(()) };
        if self.groups.get(group).is_none_or(Option::is_none) {
            return Err(self.reader.fault(Fault::OpenGroup, self.reader.position()));
        }
        if group >= groups {
            return Err(self.reader.fault(Fault::GroupInLookBehind, self.reader.position()));
        }
        Ok(())
    }

    fn comment(&mut self, at: usize) -> Result<(), PatternError> {
        loop {
            match self.reader.next()? {
                None => return Err(self.reader.fault(Fault::UnclosedComment, at)),
                Some(Token::Char(')')) => return Ok(()),
                Some(_) => {}
            }
        }
    }

    fn look(
        &mut self,
        behind: bool,
        negated: bool,
        at: usize,
        flags: Flags,
        depth: usize,
    ) -> Result<Node, PatternError> {
        let outer = self.look_behind;
        if behind && outer.is_none() {
            self.look_behind = Some(self.groups.len());
        }
        let body = self.alternatives(flags, depth + 1)?;
        self.look_behind = outer;
        self.close(at)?;
        if behind {
            self.behinds.push((at, shape::width(&body, &self.groups)));
        }
        Ok(Node::Look(Box::new(Look { behind, negated, body })))
    }

    /// `(?(1)yes|no)`
    fn conditional(&mut self, at: usize, flags: Flags, depth: usize) -> Result<Node, PatternError> {
        if depth > super::parse::DEEPEST {
            return Err(self.unsupported(Construct::Depth, at));
        }
        let place = self.reader.position();
        let name = self.reader.take_name(')')?;
        let group = if is_identifier(&name) {
            self.named(&name).ok_or_else(|| self.reader.fault(Fault::NoSuchName(name), place))?
        } else {
            self.condition_number(name, place)?
        };
        self.check_look_behind(group)?;
        // The engine takes a group to be there as soon as it has begun.
        if self.groups.get(group).is_some_and(Option::is_none) {
            self.refusals.push((Construct::ConditionInGroup, place));
        }
        let yes = Box::new(self.sequence(flags, depth + 1, false)?);
        let no = if self.reader.take('|')? { Some(Box::new(self.sequence(flags, depth + 1, false)?)) } else { None };
        if no.is_some() && self.reader.peek() == Some(Token::Char('|')) {
            return Err(self.reader.fault(Fault::ThirdBranch, self.reader.position()));
        }
        self.close(at)?;
        Ok(Node::Conditional { group, yes, no })
    }

    fn condition_number(&mut self, text: String, place: usize) -> Result<usize, PatternError> {
        if !text.chars().all(|c| c.is_ascii_digit()) {
            // What Python's `int` takes beside plain digits.
            let digits = |text: &str| text.chars().any(char::is_numeric);
            let bare = text.trim().trim_start_matches('+').split('_').all(|part| part.chars().all(char::is_numeric));
            return Err(if bare && digits(&text) {
                self.unsupported(Construct::ConditionNumber, place)
            } else {
                self.reader.fault(Fault::BadName(text), place)
            });
        }
        match text.parse::<usize>() {
            Ok(0) => Err(self.reader.fault(Fault::GroupZero, place)),
            Ok(group) if group < MOST_GROUPS => {
                self.conditions.push((group, place));
                Ok(group)
            }
            _ => Err(self.reader.fault(Fault::NoSuchGroup(text), place)),
        }
    }

    /// The flags of a group, `c` being the first. None where they are of the whole pattern, and have been set.
    fn flags(&mut self, mut c: char, outer: Flags) -> Result<Option<Flags>, PatternError> {
        let (mut on, mut off) = (String::new(), String::new());
        let here = |parser: &Self, fault: Fault| parser.reader.fault(fault, parser.reader.position());
        while !matches!(c, ')' | '-' | ':') {
            if c == 'L' {
                return Err(here(self, Fault::LocaleFlag));
            }
            on.push(c);
            if on.contains('a') && on.contains('u') {
                return Err(here(self, Fault::TypeFlags));
            }
            c = self.flag(Fault::UnclosedFlags, &[')', '-', ':'])?;
        }
        if c == ')' {
            if on.contains('t') {
                return Err(self.unsupported(Construct::TemplateFlag, self.reader.position() - 1));
            }
            self.explicit.0 |= on.contains('a');
            self.explicit.1 |= on.contains('u');
            if self.explicit == (true, true) {
                return Err(here(self, Fault::TypeFlags));
            }
            on.chars().for_each(|c| self.global.set(c, true));
            return Ok(None);
        }
        let before = |parser: &Self, fault: Fault| parser.reader.fault(fault, parser.reader.position() - 1);
        if on.contains('t') {
            return Err(before(self, Fault::GlobalFlag));
        }
        if c == '-' {
            c = self.flag(Fault::NoFlag, &[])?;
            while c != ':' {
                if matches!(c, 'a' | 'u' | 'L') {
                    return Err(here(self, Fault::TypeFlagOff));
                }
                off.push(c);
                c = self.flag(Fault::UnclosedFlags, &[':'])?;
            }
        }
        if off.contains('t') {
            return Err(before(self, Fault::GlobalFlag));
        }
        if on.chars().any(|c| off.contains(c)) {
            return Err(before(self, Fault::FlagOnAndOff));
        }
        let mut flags = outer;
        on.chars().for_each(|c| flags.set(c, true));
        off.chars().for_each(|c| flags.set(c, false));
        Ok(Some(flags))
    }

    /// The next flag, or one of these.
    fn flag(&mut self, missing: Fault, ends: &[char]) -> Result<char, PatternError> {
        let at = self.reader.position();
        match self.reader.next()? {
            Some(Token::Char(c)) if ends.contains(&c) || is_flag(c) => Ok(c),
            Some(Token::Char(c)) if c.is_alphabetic() => Err(self.reader.fault(Fault::UnknownFlag(c), at)),
            _ => Err(self.reader.fault(missing, at)),
        }
    }
}

impl Flags {
    fn set(&mut self, flag: char, on: bool) {
        match flag {
            'a' => self.ascii = on,
            'u' => self.ascii = !on,
            'i' => self.ignore_case = on,
            'm' => self.multiline = on,
            's' => self.dot_all = on,
            'x' => self.verbose = on,
            _ => {}
        }
    }
}

/// As many groups as Python can have, and more.
const MOST_GROUPS: usize = 0x3fff_ffff;

fn is_flag(c: char) -> bool {
    matches!(c, 'a' | 'i' | 'L' | 'm' | 's' | 't' | 'u' | 'x')
}

/// `str.isidentifier`
fn is_identifier(name: &str) -> bool {
    static IDENTIFIER: OnceLock<Option<fancy_regex::Regex>> = OnceLock::new();
    let rule = IDENTIFIER.get_or_init(|| fancy_regex::Regex::new(r"\A[\p{XID_Start}_]\p{XID_Continue}*\z").ok());
    rule.as_ref().is_some_and(|rule| rule.is_match(name).unwrap_or(false))
}
