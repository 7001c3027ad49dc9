//! Which characters are the same without regard to case: Python's rule, which is neither simple nor full case folding.
//!
//! A character matches when its lower case is that of one in the pattern, or shares its upper case with that
//! (`_EXTRA_CASES` in Python's `re/_casefix.py`: `ſ` is `s`, `ı` is `i`).

use std::collections::HashMap;
use std::sync::OnceLock;

/// Regard to case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fold {
    /// Characters are what they are.
    None,
    /// The flags `i` and `a`.
    Ascii,
    /// The flag `i`.
    Unicode,
}

/// No character beyond has a case, in any version of Unicode so far.
const CASED: u32 = 0x1_ffff;

/// Ranges with all that is the same as anything in them, in order and apart.
pub(super) fn fold(ranges: Vec<(u32, u32)>, fold: Fold) -> Vec<(u32, u32)> {
    let mut all = ranges.clone();
    for (from, to) in ranges {
        match fold {
            Fold::None => {}
            Fold::Ascii => {
                let cased = (from..=to.min(127)).filter_map(char::from_u32).filter(char::is_ascii_alphabetic);
                all.extend(cased.map(|c| (u32::from(c) ^ 0x20, u32::from(c) ^ 0x20)));
            }
            Fold::Unicode => {
                let same = (from..=to.min(CASED)).filter_map(|code| table().get(&code)).flatten();
                all.extend(same.map(|code| (*code, *code)));
            }
        }
    }
    merged(all)
}

/// The same ranges in order, none touching another.
pub(super) fn merged(mut ranges: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    ranges.sort_unstable();
    let mut merged: Vec<(u32, u32)> = Vec::new();
    for (from, to) in ranges {
        match merged.last_mut() {
            Some((_, end)) if from <= end.saturating_add(1) => *end = (*end).max(to),
            _ => merged.push((from, to)),
        }
    }
    merged
}

/// What `_PyUnicode_ToLowercase` says: of a lower case of several characters the first.
fn lower(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

/// For each character with a case, all that match it.
fn table() -> &'static HashMap<u32, Vec<u32>> {
    static TABLE: OnceLock<HashMap<u32, Vec<u32>>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let cased: Vec<char> = (0..=CASED)
            .filter_map(char::from_u32)
            .filter(|c| lower(*c) != *c || !c.to_uppercase().eq(std::iter::once(*c)))
            .collect();
        // The lower cases that share an upper case, which are joined to each other.
        let mut by_upper: HashMap<String, Vec<char>> = HashMap::new();
        for c in &cased {
            let lowers = by_upper.entry(c.to_uppercase().collect()).or_default();
            if !lowers.contains(&lower(*c)) {
                lowers.push(lower(*c));
            }
        }
        let mut joined: HashMap<char, Vec<char>> = HashMap::new();
        for lowers in by_upper.into_values() {
            for c in &lowers {
                joined.entry(*c).or_default().extend(&lowers);
            }
        }
        let mut by_lower: HashMap<char, Vec<u32>> = HashMap::new();
        for c in &cased {
            by_lower.entry(lower(*c)).or_default().push(u32::from(*c));
        }
        let same = |c: char| {
            let lowers = joined.get(&lower(c)).into_iter().flatten().copied().chain([lower(c)]);
            lowers.flat_map(|lower| by_lower.get(&lower).into_iter().flatten().copied()).collect()
        };
        cased.iter().map(|c| (u32::from(*c), same(*c))).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_is_disregarded_as_python_does() {
        let same =
            |c: char| fold(vec![(c.into(), c.into())], Fold::Unicode).into_iter().flat_map(|(from, to)| from..=to);
        let same = |c: char| same(c).filter_map(char::from_u32).collect::<String>();
        assert_eq!(same('a'), "Aa");
        assert_eq!(same('k'), "Kk\u{212a}");
        assert_eq!(same('s'), "Ssſ");
        assert_eq!(same('i'), "Iiİı");
        assert_eq!(same('σ'), "Σςσ");
        assert_eq!(same('ß'), "ßẞ");
        assert_eq!(same('1'), "1");
        assert_eq!(fold(vec![(0x61, 0x62)], Fold::Ascii), [(0x41, 0x42), (0x61, 0x62)]);
    }
}
