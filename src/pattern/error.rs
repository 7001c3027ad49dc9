//! What can be wrong with a pattern, and where.

/// Why a pattern cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PatternError {
    /// Python would not take it either.
    #[error("{fault}, at {place}")]
    Syntax {
        /// What is wrong.
        fault: Fault,
        /// Where.
        place: Place,
    },
    /// Python takes it; regatta does not, rather than match something else.
    #[error("regatta has no {construct}, at {place}")]
    Unsupported {
        /// What Python has beyond this.
        construct: Construct,
        /// Where.
        place: Place,
    },
    /// Its translation is too large or too deep for the engine.
    #[error("it is too much for regatta's engine")]
    TooMuch(#[source] Box<fancy_regex::Error>),
}

impl PatternError {
    pub(super) fn syntax(fault: Fault, text: &[char], at: usize) -> Self {
        Self::Syntax { fault, place: Place::new(text, at) }
    }

    pub(super) fn unsupported(construct: Construct, pattern: &str, at: usize) -> Self {
        Self::Unsupported { construct, place: Place::new(&pattern.chars().collect::<Vec<_>>(), at) }
    }
}

/// A place in a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// In characters from 0, as Python counts.
    pub position: usize,
    /// Line and column from 1, in a pattern of several lines.
    pub line: Option<(usize, usize)>,
}

impl Place {
    fn new(text: &[char], position: usize) -> Self {
        let before = &text[..position.min(text.len())];
        let lines = before.iter().filter(|c| **c == '\n').count();
        let column = before.iter().rev().take_while(|c| **c != '\n').count();
        Self { position, line: text.contains(&'\n').then_some((lines + 1, column + 1)) }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "position {}", self.position)?;
        match self.line {
            Some((line, column)) => write!(f, " (line {line}, column {column})"),
            None => Ok(()),
        }
    }
}

/// What Python's `re` has and regatta has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Construct {
    /// Would need the names of all characters.
    #[error(r"\N{{name of a character}} (write the character itself, or \u and its number)")]
    NamedCharacter,
    /// Deprecated in Python, and gone since.
    #[error("flag t")]
    TemplateFlag,
    /// `(?( 1)..)`, `(?(+1)..)`: deprecated in Python, and an error since.
    #[error("number of a group that is not written in plain digits")]
    ConditionNumber,
    /// `((?(1)a|b))`
    #[error("condition on a group inside of that group")]
    ConditionInGroup,
    /// What is the same but for its case is not the same to Python and the engine outside of ASCII.
    #[error("backreference without regard to case")]
    CaselessBackreference,
    /// Python goes on after an empty turn where other engines try the next alternative.
    #[error("repeat of what prefers to be empty, such as (|a)* or (a*?)+")]
    EmptyRepeat,
    /// What such a group holds differs between engines.
    #[error("reference to a group inside a repeat of what can be empty")]
    GroupInEmptyRepeat,
    /// Deeper than any that is written by hand.
    #[error("groups nested this deep")]
    Depth,
}

/// What is wrong with a pattern, to Python as well.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// `a\`
    #[error("there is nothing after this backslash")]
    LoneBackslash,
    /// `\q`
    #[error("there is no escape {0}")]
    BadEscape(String),
    /// `\x1`
    #[error("the escape {0} needs more digits")]
    ShortEscape(String),
    /// `\400`
    #[error(r"the octal escape {0} is above \377")]
    BigOctal(String),
    /// `\N` alone.
    #[error(r"\N needs a name in {{}}")]
    NoBrace,
    /// `[a`
    #[error("this [ is never closed")]
    UnclosedClass,
    /// `[b-a]`
    #[error("{0} is not a range of characters")]
    BadRange(String),
    /// `*a`
    #[error("there is nothing to repeat")]
    NothingToRepeat,
    /// `a**`
    #[error("a repeat of a repeat needs a group")]
    MultipleRepeat,
    /// `a{2,1}`
    #[error("the most is less than the least of this repeat")]
    CrossedRepeat,
    /// `a{4294967295}`
    #[error("this repeat is too large a number")]
    BigRepeat,
    /// `(a`
    #[error("this ( is never closed")]
    UnclosedGroup,
    /// `(?#a`
    #[error("this comment is never closed")]
    UnclosedComment,
    /// `a)`
    #[error("this ) closes nothing")]
    Unbalanced,
    /// `(?`
    #[error("the pattern ends where a group begins")]
    End,
    /// `(?%`
    #[error("there is no group that begins with ({0}")]
    UnknownGroup(String),
    /// `(?P<>a)`
    #[error("a name is missing")]
    NoName,
    /// `(?P<a`
    #[error("this name is not ended by {0}")]
    UnclosedName(char),
    /// `(?P<1>a)`
    #[error("{0:?} cannot be the name of a group")]
    BadName(String),
    /// `(?P=a)`
    #[error("there is no group named {0:?} before this")]
    NoSuchName(String),
    /// `(?P<a>)(?P<a>)`
    #[error("there are two groups named {0:?}")]
    TwiceNamed(String),
    /// `\1`
    #[error("there is no group {0}")]
    NoSuchGroup(String),
    /// `(?(0)a)`
    #[error("groups are counted from 1")]
    GroupZero,
    /// `(\1)`
    #[error("a group cannot be referred to from inside it")]
    OpenGroup,
    /// `(?<=(a)\1)`
    #[error("a group cannot be referred to from the look-behind that it is in")]
    GroupInLookBehind,
    /// `(a)(?(1)b|c|d)`
    #[error("a condition has two branches at most")]
    ThirdBranch,
    /// `(?<=a*)`
    #[error("a look-behind has to be of one length")]
    LookBehindWidth,
    /// `a(?i)`
    #[error("flags for the whole pattern have to stand at its start")]
    LateFlags,
    /// `(?iz)`
    #[error("there is no flag {0:?}")]
    UnknownFlag(char),
    /// `(?i`
    #[error("flags have to be ended by : or )")]
    UnclosedFlags,
    /// `(?-:a)`
    #[error("a flag is missing")]
    NoFlag,
    /// `(?L)`
    #[error("the flag L is for bytes only")]
    LocaleFlag,
    /// `(?au)`
    #[error("the flags a and u exclude each other")]
    TypeFlags,
    /// `(?-a:b)`
    #[error("the flags a, u and L cannot be turned off")]
    TypeFlagOff,
    /// `(?t:b)`
    #[error("the flag t is for the whole pattern only")]
    GlobalFlag,
    /// `(?i-i:a)`
    #[error("a flag cannot be turned on and off at once")]
    FlagOnAndOff,
}
