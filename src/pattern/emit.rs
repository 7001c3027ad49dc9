//! A tree becomes a pattern for fancy-regex that means the same.
//!
//! It uses few of the engine's words, and no flags, names or blanks: groups that nothing refers to are not captured, so
//! that what has neither references nor looks goes to the engine that never goes back.

use super::ast::{Kind, Node, Parsed, Place, Repeat, Width};
use super::chars;
use super::error::Construct;
use super::shape::{is_empty_last, width};

/// What the translation is to be tried on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Haystack {
    /// ASCII without a line end, and not empty. There `$` and `\b` mean what they mean to the engine, and sets are small.
    Plain,
    /// Anything.
    Any,
}

impl Haystack {
    /// Whether a translation for this kind is to be tried on a text.
    pub(super) fn takes(self, text: &str) -> bool {
        self == Self::Any || text.is_ascii() && !text.is_empty() && !text.contains('\n')
    }
}

/// What cannot be translated, and where it is.
pub(super) type Refusal = (Construct, usize);

/// Translate.
///
/// # Errors
/// When the engine would match something else.
pub(super) fn emit(parsed: &Parsed, haystack: Haystack) -> Result<String, Refusal> {
    let (mut referenced, mut conditions) = (Vec::new(), Vec::new());
    references(&parsed.root, &mut referenced, &mut conditions);
    referenced.extend(&conditions);
    referenced.sort_unstable();
    referenced.dedup();
    let mut emitter = Emitter { groups: &parsed.groups, haystack, referenced, conditions, out: String::new() };
    emitter.write(&parsed.root)?;
    Ok(emitter.out)
}

/// The parts that a node is made of.
fn children(node: &Node) -> Vec<&Node> {
    match node {
        Node::Set(_) | Node::Place(_) | Node::Backreference { .. } => Vec::new(),
        Node::Group(_, body) | Node::Atomic(body) => vec![body],
        Node::Concat(parts) | Node::Alternation(parts) => parts.iter().collect(),
        Node::Repeat(repeat) => vec![&repeat.body],
        Node::Look(look) => vec![&look.body],
        Node::Conditional { yes, no, .. } => std::iter::once(yes).chain(no).map(|branch| &**branch).collect(),
    }
}

/// The groups that are referred to, and those that are conditions.
fn references(node: &Node, referenced: &mut Vec<usize>, conditions: &mut Vec<usize>) {
    match node {
        Node::Backreference { group, .. } => referenced.push(*group),
        Node::Conditional { group, .. } => conditions.push(*group),
        _ => {}
    }
    children(node).into_iter().for_each(|child| references(child, referenced, conditions));
}

struct Emitter<'p> {
    groups: &'p [Option<Width>],
    haystack: Haystack,
    /// The groups that something refers to, in order: only they are captured, and counted anew.
    referenced: Vec<usize>,
    conditions: Vec<usize>,
    out: String,
}

impl Emitter<'_> {
    /// Write a node where bars at its top do no harm.
    fn write(&mut self, node: &Node) -> Result<(), Refusal> {
        match node {
            Node::Set(set) if self.haystack == Haystack::Plain => set.write_ascii(&mut self.out),
            Node::Set(set) => set.write(&mut self.out),
            Node::Place(place) => self.place(*place),
            Node::Group(number, body) if self.number(*number).is_some() => {
                // The engine takes one way past a group, and no other, unless it sees that the group matters: it does so by a
                // backreference, and not by a condition, but for a look inside.
                let is_condition = number.is_some_and(|number| self.conditions.contains(&number));
                self.bracket(if is_condition { "((?=)" } else { "(" }, body)?;
            }
            Node::Group(_, body) => self.write(body)?,
            Node::Concat(parts) => parts.iter().try_for_each(|part| self.part(part))?,
            Node::Alternation(parts) => {
                for (n, part) in parts.iter().enumerate() {
                    self.out.push_str(if n > 0 { "|" } else { "" });
                    self.part(part)?;
                }
            }
            Node::Repeat(repeat) => self.repeat(repeat)?,
            Node::Atomic(body) => self.bracket("(?>", body)?,
            Node::Look(look) => {
                let open = match (look.behind, look.negated) {
                    (false, false) => "(?=",
                    (false, true) => "(?!",
                    (true, false) => "(?<=",
                    (true, true) => "(?<!",
                };
                // The engine goes back into a look for another way, which Python does not: to be seen by its groups only.
                if !look.negated && self.captures(&look.body) {
                    self.out.push_str(open);
                    self.bracket("(?>", &look.body)?;
                    self.out.push(')');
                } else {
                    self.bracket(open, &look.body)?;
                }
            }
            Node::Backreference { ignore_case: true, at, .. } => return Err((Construct::CaselessBackreference, *at)),
            Node::Backreference { group, .. } => {
                let number = self.number(Some(*group)).unwrap_or_default();
                // In brackets, lest a digit follows.
                self.out.push_str(&format!(r"(?:\{number})"));
            }
            Node::Conditional { group, yes, no } => self.conditional(*group, yes, no.as_deref())?,
        }
        Ok(())
    }

    /// Write a node among others.
    fn part(&mut self, node: &Node) -> Result<(), Refusal> {
        match node {
            Node::Group(number, body) if self.number(*number).is_none() => self.part(body),
            Node::Alternation(_) => self.bracket("(?:", node),
            _ => self.write(node),
        }
    }

    /// Write a node that is to be repeated.
    fn atom(&mut self, node: &Node) -> Result<(), Refusal> {
        match node {
            Node::Set(_) | Node::Atomic(_) => self.write(node),
            Node::Group(number, _) if self.number(*number).is_some() => self.write(node),
            Node::Group(_, body) => self.atom(body),
            _ => self.bracket("(?:", node),
        }
    }

    /// Write an alternation or anything else within brackets.
    fn bracket(&mut self, open: &str, body: &Node) -> Result<(), Refusal> {
        self.out.push_str(open);
        self.write(body)?;
        self.out.push(')');
        Ok(())
    }

    /// The number of a group for the engine, where it is captured.
    fn number(&self, group: Option<usize>) -> Option<usize> {
        group.and_then(|group| self.referenced.binary_search(&group).ok()).map(|n| n + 1)
    }

    fn place(&mut self, place: Place) {
        let plain = self.haystack == Haystack::Plain;
        match place {
            Place::Start => self.out.push_str(r"\A"),
            Place::LineStart => self.out.push_str(if plain { r"\A" } else { "(?m:^)" }),
            Place::End => self.out.push_str(if plain { r"\z" } else { r"(?=\n?\z)" }),
            Place::LineEnd => self.out.push_str(if plain { r"\z" } else { "(?m:$)" }),
            Place::VeryEnd => self.out.push_str(r"\z"),
            Place::WordBoundary { .. } if plain => self.out.push_str(r"\b"),
            Place::NoWordBoundary { .. } if plain => self.out.push_str(r"\B"),
            // The engine's words have marks and joiners in them.
            Place::WordBoundary { ascii } => {
                let w = chars::word(ascii);
                self.out.push_str(&format!("(?:(?<=[{w}])(?![{w}])|(?<![{w}])(?=[{w}]))"));
            }
            // In an empty text there is neither a boundary nor none, up to Python 3.13.
            Place::NoWordBoundary { ascii } => {
                let w = chars::word(ascii);
                self.out.push_str(&format!(r"(?:(?!\A\z)(?:(?<=[{w}])(?=[{w}])|(?<![{w}])(?![{w}])))"));
            }
        }
    }

    fn repeat(&mut self, repeat: &Repeat) -> Result<(), Refusal> {
        let Repeat { least, most, kind, body, at } = repeat;
        let (narrowest, widest) = width(body, self.groups);
        if *most == Some(0) {
            // Never tried, and yet groups that something refers to are counted.
            if !self.captures(body) {
                return Ok(());
            }
            return self.alternatives_with_nothing("(?!)", body, Kind::Greedy);
        }
        if widest == 0 {
            // A place is there once or as often as one likes.
            return match least {
                0 => self.alternatives_with_nothing("", body, *kind),
                _ => self.part(body),
            };
        }
        let open_ended = *most != Some(1) && *most != Some(*least);
        if narrowest == 0 && open_ended && *kind != Kind::Possessive && !is_empty_last(body, self.groups) {
            return Err((Construct::EmptyRepeat, *at));
        }
        if narrowest == 0 && *most != Some(1) && self.captures(body) {
            return Err((Construct::GroupInEmptyRepeat, *at));
        }
        if *kind == Kind::Possessive {
            // Each turn keeps what it has, as Python has it.
            self.out.push_str("(?>");
            self.bracket("(?>", body)?;
        } else {
            self.atom(body)?;
        }
        match (least, most) {
            (0, None) => self.out.push('*'),
            (1, None) => self.out.push('+'),
            (0, Some(1)) => self.out.push('?'),
            (least, None) => self.out.push_str(&format!("{{{least},}}")),
            (least, Some(most)) if least == most => self.out.push_str(&format!("{{{least}}}")),
            (least, Some(most)) => self.out.push_str(&format!("{{{least},{most}}}")),
        }
        match kind {
            Kind::Greedy => {}
            Kind::Lazy if *most == Some(*least) => {}
            Kind::Lazy => self.out.push('?'),
            Kind::Possessive => self.out.push(')'),
        }
        Ok(())
    }

    fn alternatives_with_nothing(&mut self, before: &str, body: &Node, kind: Kind) -> Result<(), Refusal> {
        self.out.push_str(match kind {
            Kind::Greedy => "(?:",
            Kind::Lazy => "(?:|",
            Kind::Possessive => "(?>",
        });
        self.out.push_str(before);
        self.part(body)?;
        self.out.push_str(if kind == Kind::Lazy { ")" } else { "|)" });
        Ok(())
    }

    /// Whether a group within is referred to, from wherever.
    fn captures(&self, node: &Node) -> bool {
        matches!(node, Node::Group(number, _) if self.number(*number).is_some())
            || children(node).into_iter().any(|child| self.captures(child))
    }

    fn conditional(&mut self, group: usize, yes: &Node, no: Option<&Node>) -> Result<(), Refusal> {
        // Not the engine's own condition, which leaves its mark on an atomic group around it (fancy-regex 0.20): the bare one
        // only has to hold.
        let number = self.number(Some(group)).unwrap_or_default();
        self.out.push_str(&format!("(?:(?({number}))"));
        self.part(yes)?;
        self.out.push_str(&format!("|(?!(?({number})))"));
        no.map_or(Ok(()), |no| self.part(no))?;
        self.out.push(')');
        Ok(())
    }
}
