//! A pattern as a tree. Flags are already applied: a leaf says all there is to know about it.

use super::chars::Set;

/// A part of a pattern.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// One character of these.
    Set(Set),
    /// A place, not a character.
    Place(Place),
    /// Brackets: with the number of the group where it is one that can be referred to.
    Group(Option<usize>, Box<Node>),
    Concat(Vec<Node>),
    Alternation(Vec<Node>),
    Repeat(Box<Repeat>),
    Atomic(Box<Node>),
    Look(Box<Look>),
    Backreference {
        group: usize,
        ignore_case: bool,
        at: usize,
    },
    /// `(?(1)yes|no)`
    Conditional {
        group: usize,
        yes: Box<Node>,
        no: Option<Box<Node>>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Start,
    LineStart,
    /// Also before a line end that is the last character.
    End,
    LineEnd,
    VeryEnd,
    WordBoundary {
        ascii: bool,
    },
    NoWordBoundary {
        ascii: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Greedy,
    Lazy,
    Possessive,
}

#[derive(Clone, Debug)]
pub(super) struct Repeat {
    pub(super) least: u32,
    /// None is without end.
    pub(super) most: Option<u32>,
    pub(super) kind: Kind,
    pub(super) body: Node,
    /// Where the `*` is.
    pub(super) at: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) behind: bool,
    pub(super) negated: bool,
    pub(super) body: Node,
}

/// What was parsed: the tree and what its groups are like.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) root: Node,
    /// The least and the most characters that a group takes, by its number; 0 is not used.
    pub(super) groups: Vec<Option<Width>>,
}

/// The least and the most characters that something takes.
pub(super) type Width = (u64, u64);
