//! What can be said of a part of a pattern without matching it: how wide it is, and when it chooses to be empty.

use super::ast::{Kind, Node, Repeat, Width};

/// More characters than anything can have; Python's `MAXWIDTH`.
const MOST: u64 = u64::MAX;

/// The least and the most characters that a part takes; Python's `getwidth`, which decides what a look-behind may be.
pub(super) fn width(node: &Node, groups: &[Option<Width>]) -> Width {
    match node {
        Node::Set(_) => (1, 1),
        Node::Place(_) | Node::Look(_) => (0, 0),
        Node::Group(_, body) | Node::Atomic(body) => width(body, groups),
        Node::Concat(parts) => parts
            .iter()
            .map(|part| width(part, groups))
            .fold((0, 0), |(least, most), (l, m)| (least.saturating_add(l), most.saturating_add(m))),
        Node::Alternation(parts) => either(parts.iter().map(|part| width(part, groups))),
        Node::Repeat(repeat) => {
            let (least, most) = width(&repeat.body, groups);
            let times = |width: u64, times: Option<u32>| match times {
                Some(times) => width.saturating_mul(times.into()),
                None if width == 0 => 0,
                None => MOST,
            };
            (times(least, Some(repeat.least)), times(most, repeat.most))
        }
        // One that is still open is referred to only by a condition, which takes nothing by itself.
        Node::Backreference { group, .. } => groups.get(*group).copied().flatten().unwrap_or((0, MOST)),
        Node::Conditional { yes, no, .. } => {
            either([width(yes, groups), no.as_ref().map_or((0, 0), |no| width(no, groups))])
        }
    }
}

fn either(widths: impl IntoIterator<Item = Width>) -> Width {
    let (mut least, mut most) = (MOST, 0);
    for (l, m) in widths {
        (least, most) = (least.min(l), most.max(m));
    }
    (least, most)
}

/// Whether a part, where it can be empty, is so only when nothing else will do.
///
/// A repeat of such a part means the same to Python, which leaves the repeat after an empty turn, and to an engine that
/// tries the next way of matching instead: there is none.
pub(super) fn is_empty_last(node: &Node, groups: &[Option<Width>]) -> bool {
    let (least, most) = width(node, groups);
    if least > 0 || most == 0 {
        return true;
    }
    match node {
        // These match in one way.
        Node::Set(_) | Node::Place(_) | Node::Look(_) | Node::Backreference { .. } | Node::Atomic(_) => true,
        Node::Group(_, body) => is_empty_last(body, groups),
        Node::Concat(parts) => parts.iter().all(|part| is_empty_last(part, groups)),
        Node::Alternation(parts) => {
            let can_be_empty = |part: &&Node| width(part, groups).0 == 0;
            let from_first_empty = parts.iter().skip_while(|part| !can_be_empty(part));
            from_first_empty.clone().take(1).all(|part| is_empty_last(part, groups))
                && from_first_empty.skip(1).all(|part| width(part, groups).1 == 0)
        }
        Node::Conditional { yes, no, .. } => {
            is_empty_last(yes, groups) && no.as_ref().is_none_or(|no| is_empty_last(no, groups))
        }
        Node::Repeat(repeat) => {
            let Repeat { least, most, kind, body, .. } = &**repeat;
            match kind {
                Kind::Greedy => is_empty_last(body, groups),
                Kind::Lazy => *most == Some(*least) && is_empty_last(body, groups),
                Kind::Possessive => true,
            }
        }
    }
}
