//! Test ids: one, lists of them (as files), filters over them and the groups they fall into.
//!
//! Touches no file: reading and writing bytes is the caller's.

use std::fmt;
use std::sync::Arc;

use crate::pattern::{self, Anchor, PatternError};

/// The name of a test, as its runner lists it. Cheap to copy.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TestId(Arc<str>);

impl TestId {
    /// The name itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for TestId {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

impl std::borrow::Borrow<str> for TestId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for TestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a list of ids, or a pattern over ids, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdError {
    /// A list is read as UTF-8.
    #[error("line {line} is not UTF-8")]
    NotUtf8 {
        /// Counted from 1.
        line: usize,
    },
    /// A list has one id a line, so such an id cannot be in it.
    #[error("the test id {id:?} has a line end in it, so it cannot stand in a list of one id a line ($IDFILE)")]
    LineEnd {
        /// The id.
        id: TestId,
    },
    /// The pattern is not a regular expression, or not one of regatta's.
    #[error("the pattern {pattern:?} cannot be used")]
    Pattern {
        /// As the user wrote it.
        pattern: String,
        /// What is wrong with it, and where.
        #[source]
        source: PatternError,
    },
    /// Matching took too long, or too much.
    #[error("the pattern {pattern:?} cannot be matched against the test id {id:?}")]
    Match {
        /// As the user wrote it.
        pattern: String,
        /// The id it was tried on.
        id: String,
        /// What went wrong.
        #[source]
        source: Box<fancy_regex::Error>,
    },
}

/// Read a list of ids, one a line: white space around an id and empty lines are dropped, an id that comes again as well.
///
/// As testr's `--load-list`, but for the order, which testr loses.
///
/// # Errors
/// When a line is not UTF-8.
pub fn parse_list(bytes: &[u8]) -> Result<Vec<TestId>, IdError> {
    let mut seen = std::collections::HashSet::new();
    let mut ids = Vec::new();
    for (n, line) in bytes.split(|b| *b == b'\n').enumerate() {
        let line = std::str::from_utf8(line).map_err(|_| IdError::NotUtf8 { line: n + 1 })?;
        let id = TestId::from(line.trim());
        if !id.as_str().is_empty() && seen.insert(id.clone()) {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// Write a list of ids, one a line, a line end after the last one too: what `$IDFILE` names.
///
/// # Errors
/// When an id has a line end in it.
pub fn format_list(ids: &[TestId]) -> Result<Vec<u8>, IdError> {
    let mut list = Vec::with_capacity(ids.iter().map(|id| id.as_str().len() + 1).sum());
    for id in ids {
        if id.as_str().contains('\n') {
            return Err(IdError::LineEnd { id: id.clone() });
        }
        list.extend_from_slice(id.as_str().as_bytes());
        list.push(b'\n');
    }
    Ok(list)
}

/// A regular expression over test ids.
#[derive(Debug)]
struct Pattern {
    written: String,
    compiled: pattern::Pattern,
}

impl Pattern {
    fn new(written: &str, anchor: Anchor) -> Result<Self, IdError> {
        match pattern::Pattern::new(written, anchor) {
            Ok(compiled) => Ok(Self { written: written.to_owned(), compiled }),
            Err(source) => Err(IdError::Pattern { pattern: written.to_owned(), source }),
        }
    }

    fn find<'t>(&self, id: &'t str) -> Result<Option<&'t str>, IdError> {
        let failed = |source| IdError::Match { pattern: self.written.clone(), id: id.to_owned(), source };
        self.compiled.find(id).map_err(failed)
    }
}

/// The filters of a command line: an id is in when any of them is found anywhere in it (`re.search`).
#[derive(Debug)]
pub struct Filters(Vec<Pattern>);

impl TestId {
    /// A filter that only this id passes.
    #[must_use]
    pub fn filter(&self) -> String {
        let mut filter = "^".to_owned();
        for c in self.as_str().chars() {
            if c.is_ascii_punctuation() && c != '_' {
                filter.push('\\');
            }
            filter.push(c);
        }
        filter + "$"
    }
}

impl Filters {
    /// Compile them; nothing when none were given, which is not the same as one that lets everything through.
    ///
    /// # Errors
    /// When one is not a regular expression.
    pub fn new(patterns: &[String]) -> Result<Option<Self>, IdError> {
        if patterns.is_empty() {
            return Ok(None);
        }
        let compiled = patterns.iter().map(|p| Pattern::new(p, Anchor::Anywhere)).collect::<Result<_, _>>()?;
        Ok(Some(Self(compiled)))
    }

    /// The ids that are in, in their order.
    ///
    /// # Errors
    /// When a pattern cannot be matched against an id.
    pub fn apply(&self, ids: Vec<TestId>) -> Result<Vec<TestId>, IdError> {
        let mut kept = Vec::new();
        for id in ids {
            if self.admits(&id)? {
                kept.push(id);
            }
        }
        Ok(kept)
    }

    fn admits(&self, id: &TestId) -> Result<bool, IdError> {
        for pattern in &self.0 {
            if pattern.find(id.as_str())?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// `group_regex`: tests whose ids begin with the same match belong together and run on one worker.
#[derive(Debug)]
pub struct Groups(Pattern);

impl Groups {
    /// Compile it. An empty one is the same as none, as in testr.
    ///
    /// # Errors
    /// When it is not a regular expression.
    pub fn new(pattern: &str) -> Result<Option<Self>, IdError> {
        if pattern.is_empty() { Ok(None) } else { Pattern::new(pattern, Anchor::Start).map(|p| Some(Self(p))) }
    }

    /// The group of an id: what `re.match` finds, all of it (`group(0)`); the id itself where that is nothing.
    ///
    /// # Errors
    /// When the pattern cannot be matched against the id.
    pub fn key<'t>(&self, id: &'t TestId) -> Result<&'t str, IdError> {
        let found = self.0.find(id.as_str())?;
        Ok(found.filter(|key| !key.is_empty()).unwrap_or(id.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(names: &[&str]) -> Vec<TestId> {
        names.iter().map(|n| TestId::from(*n)).collect()
    }

    #[test]
    fn a_list_is_read_without_blanks_and_doubles_in_its_order() {
        assert_eq!(parse_list(b"c.5\n\n  a.1  \nb.3\r\nb.3").unwrap(), ids(&["c.5", "a.1", "b.3"]));
        assert_eq!(parse_list(b"").unwrap(), ids(&[]));
        assert_eq!(parse_list(b"a\n\xff\n").unwrap_err().to_string(), "line 2 is not UTF-8");
    }

    #[test]
    fn a_list_is_written_with_a_line_end_after_each() {
        assert_eq!(format_list(&ids(&["a b", "ü"])).unwrap(), "a b\nü\n".as_bytes());
        let error = format_list(&ids(&["a\nb"])).unwrap_err().to_string();
        assert!(error.contains(r"a\nb") && error.contains("$IDFILE"), "{error}");
    }

    #[test]
    fn filters_search_and_any_of_them_will_do() {
        let filters = |p: &[&str]| Filters::new(&p.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()).unwrap();
        let all = ids(&["api.one", "api.two_slow", "web.one", "db.one"]);
        let pick = |p: &[&str]| filters(p).unwrap().apply(all.clone()).unwrap();
        assert_eq!(pick(&["one$"]), ids(&["api.one", "web.one", "db.one"]));
        assert_eq!(pick(&["slow", "^db"]), ids(&["api.two_slow", "db.one"]));
        assert_eq!(pick(&[r"(?!.*slow)(^api\.)"]), ids(&["api.one"]));
        assert!(pick(&["nothing"]).is_empty());
        assert!(filters(&[]).is_none());
        assert!(Filters::new(&["(".to_owned()]).unwrap_err().to_string().contains("\"(\""));
    }

    #[test]
    fn an_id_that_cannot_be_matched_is_an_error_and_not_out() {
        let filters = Filters::new(&[r"^(?:(a)|a)+b\1$".to_owned()]).unwrap().unwrap();
        let id = "a".repeat(40) + "b";
        let error = filters.apply(ids(&[&id])).unwrap_err().to_string();
        assert!(error.contains(&id), "{error}");
    }

    #[test]
    fn a_group_is_the_whole_match_at_the_start() {
        let groups = Groups::new(r"([^\.]+\.)+Case").unwrap().unwrap();
        let key = |id: &str| groups.key(&TestId::from(id)).unwrap().to_owned();
        assert_eq!(key("m.Case.one"), "m.Case");
        assert_eq!(key("other.1"), "other.1");
        assert_eq!(Groups::new("x|b").unwrap().unwrap().key(&TestId::from("ab")).unwrap(), "ab");
        assert_eq!(Groups::new("x*").unwrap().unwrap().key(&TestId::from("ab")).unwrap(), "ab", "an empty match");
        assert!(Groups::new("").unwrap().is_none());
    }
}
