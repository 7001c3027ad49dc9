//! Where in the shell's grammar the end of a line of text is, and how a word is written there so that it arrives as it is.
//!
//! Reads as much of POSIX sh as that takes and no more; knows nothing of templates. Called by `template` alone.
//!
//! Not understood, so that words behind them may be quoted for the wrong place: here documents with quotes in them, `$'..'`
//! (no part of sh until 2024), `case` patterns with an unpaired `)` inside `$(..)`, quotes in a pattern such as
//! `"${x#'*'}"`. Arithmetic is read as commands.

use std::borrow::Cow;

/// The state of a shell that has read some text.
#[derive(Debug, Clone)]
pub(super) struct Shell {
    /// The open quotes and expansions, outermost first; the first is the command line itself and stays.
    places: Vec<Place>,
    /// Right behind a backslash that takes the next character.
    escaped: bool,
    /// Right behind a `$` that is neither quoted nor part of what is in `places` yet.
    dollar: bool,
    backticks: Option<Box<Backticks>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Bare words: the line itself, or the inside of `$(..)`, with the number of `(` that are open in it.
    Bare { parens: u32, word: Word },
    /// `'..'`
    Single,
    /// `".."`
    Double,
    /// `${..}`, within double quotes or not.
    Braces { quoted: bool },
}

/// How much of a word there is, since `#` begins a comment only where a word may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    None,
    Begun,
    Comment,
}

/// Inside of backticks a shell of its own reads what is left after one more level of backslashes was taken away.
#[derive(Debug, Clone)]
struct Backticks {
    inner: Shell,
    /// Right behind a backslash of the outer level.
    escaped: bool,
    /// They stand within double quotes, where `\"` loses its backslash as well.
    quoted: bool,
}

const LINE: Place = Place::Bare { parens: 0, word: Word::None };

impl Default for Shell {
    fn default() -> Self {
        Self { places: vec![LINE], escaped: false, dollar: false, backticks: None }
    }
}

impl Shell {
    /// Go on over some text.
    pub(super) fn read(&mut self, text: &str) {
        text.chars().for_each(|c| self.next(c));
    }

    /// How a word is written at this place.
    pub(super) fn quote<'w>(&self, word: &'w str) -> Cow<'w, str> {
        if is_safe(word) { Cow::Borrowed(word) } else { Cow::Owned(self.quote_unsafe(word)) }
    }

    fn quote_unsafe(&self, word: &str) -> String {
        if let Some(backticks) = &self.backticks {
            return backticks.quote(word);
        }
        match self.place() {
            // Nothing is an argument there, but a line end would end the comment and make the rest a command.
            Place::Bare { word: Word::Comment, .. } => word.replace(['\n', '\r'], " "),
            Place::Bare { .. } | Place::Braces { quoted: false } => self.quote_bare(word),
            Place::Single => word.replace('\'', r"'\''"),
            Place::Double | Place::Braces { quoted: true } => self.quote_double(word),
        }
    }

    fn quote_bare(&self, word: &str) -> String {
        if !self.escaped && !self.dollar {
            return in_quotes(word);
        }
        let mut rest = word.chars();
        match rest.next() {
            // The backslash must not take the quote, and `$'` is a quote of its own in some shells.
            Some(first) if first != '\n' => {
                let backslash = if self.escaped { "" } else { "\\" };
                let rest = rest.as_str();
                let rest = if rest.is_empty() || is_safe(rest) { rest.to_owned() } else { in_quotes(rest) };
                format!("{backslash}{first}{rest}")
            }
            // A backslash and a line end are nothing.
            _ if self.escaped => format!("\n{}", in_quotes(word)),
            _ => format!("\"\"{}", in_quotes(word)),
        }
    }

    fn quote_double(&self, word: &str) -> String {
        let mut text = String::with_capacity(word.len() + 8);
        if self.escaped {
            // Before a letter the backslash would stand for itself, so it does before all.
            text.push('\\');
        } else if self.dollar {
            // Lest the word be taken for the name of a variable.
            text.push_str("\"\"");
        }
        for c in word.chars() {
            let closes = c == '}' && self.place() != Place::Double;
            if matches!(c, '\\' | '$' | '`' | '"') || closes {
                text.push('\\');
            }
            text.push(c);
        }
        text
    }

    fn place(&self) -> Place {
        self.places.last().copied().unwrap_or(LINE)
    }

    fn next(&mut self, c: char) {
        if let Some(backticks) = &mut self.backticks {
            if backticks.next(c) {
                self.backticks = None;
            }
            return;
        }
        let dollar = std::mem::take(&mut self.dollar);
        if std::mem::take(&mut self.escaped) {
            if c != '\n' {
                self.begin_word();
            }
            return;
        }
        match self.place() {
            Place::Single if c == '\'' => self.leave(),
            Place::Single => {}
            Place::Bare { parens, word: Word::Comment } => {
                if c == '\n' {
                    self.replace(Place::Bare { parens, word: Word::None });
                }
            }
            Place::Double if c == '"' => self.leave(),
            Place::Braces { .. } if c == '}' => self.leave(),
            place => self.next_expanded(place, dollar, c),
        }
    }

    /// A character where the shell looks for expansions.
    fn next_expanded(&mut self, place: Place, dollar: bool, c: char) {
        let quoted = matches!(place, Place::Double | Place::Braces { quoted: true });
        match c {
            '\\' => self.escaped = true,
            '$' => {
                self.begin_word();
                // `$$` is whole.
                self.dollar = !dollar;
            }
            '`' => {
                self.begin_word();
                self.backticks = Some(Box::new(Backticks { inner: Self::default(), escaped: false, quoted }));
            }
            '(' if dollar => self.places.push(LINE),
            '{' if dollar => self.places.push(Place::Braces { quoted }),
            '"' if place != Place::Double => {
                self.begin_word();
                self.places.push(Place::Double);
            }
            '\'' if !quoted => {
                self.begin_word();
                self.places.push(Place::Single);
            }
            _ => {
                if let Place::Bare { parens, word } = place {
                    self.next_bare(parens, word, c);
                }
            }
        }
    }

    fn next_bare(&mut self, parens: u32, word: Word, c: char) {
        let (parens, word) = match c {
            '(' => (parens + 1, Word::None),
            ')' if parens > 0 => (parens - 1, Word::None),
            ')' if self.places.len() > 1 => return self.leave(),
            ')' | ' ' | '\t' | '\n' | ';' | '&' | '|' | '<' | '>' => (parens, Word::None),
            '#' if word == Word::None => (parens, Word::Comment),
            _ => (parens, Word::Begun),
        };
        self.replace(Place::Bare { parens, word });
    }

    fn begin_word(&mut self) {
        if let Place::Bare { parens, .. } = self.place() {
            self.replace(Place::Bare { parens, word: Word::Begun });
        }
    }

    fn replace(&mut self, place: Place) {
        if let Some(last) = self.places.last_mut() {
            *last = place;
        }
    }

    /// Out of a quote or an expansion; the line itself is never left.
    fn leave(&mut self) {
        if self.places.len() > 1 {
            self.places.pop();
        }
    }
}

impl Backticks {
    /// One more character; whether it was the closing backtick.
    fn next(&mut self, c: char) -> bool {
        if std::mem::take(&mut self.escaped) {
            let taken = matches!(c, '$' | '`' | '\\') || (self.quoted && c == '"');
            if !taken {
                self.inner.next('\\');
            }
            self.inner.next(c);
            return false;
        }
        match c {
            '`' => return true,
            '\\' => self.escaped = true,
            _ => self.inner.next(c),
        }
        false
    }

    fn quote(&self, word: &str) -> String {
        let mut text = String::new();
        let mut inner = Cow::Borrowed(&self.inner);
        if self.escaped {
            // The second half of a backslash for the inner shell.
            text.push('\\');
            inner.to_mut().next('\\');
        }
        for c in inner.quote_unsafe(word).chars() {
            if matches!(c, '\\' | '`' | '$') {
                text.push('\\');
            }
            text.push(c);
        }
        text
    }
}

/// A word in the quotes that it needs as a bare word, and in some at any rate.
fn in_quotes(word: &str) -> String {
    match shell_words::quote(word) {
        // The crate counts as safe what is not so in every shell and at every place, such as `{a,b}`.
        Cow::Borrowed(plain) => format!("'{plain}'"),
        Cow::Owned(quoted) => quoted,
    }
}

/// Whether a word is one at any place of any shell line, just as it is.
///
/// Letters, digits and signs of other alphabets are safe, their blanks are not. `~` stands for a home directory at the
/// start, and after `:` and `=` in assignments.
fn is_safe(word: &str) -> bool {
    let mut before = None;
    for c in word.chars() {
        let safe = match c {
            '_' | '-' | '.' | '/' | ',' | ':' | '@' | '+' | '=' | '%' => true,
            '#' | '!' | '^' => before.is_some(),
            '~' => !matches!(before, None | Some(':' | '=')),
            _ if c.is_ascii() => c.is_ascii_alphanumeric(),
            _ => !c.is_whitespace() && !c.is_control(),
        };
        if !safe {
            return false;
        }
        before = Some(c);
    }
    before.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The place after a text, as a letter: bare, commented, single, double, braces in quotes or not, backticks.
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let mut shell = Shell::default();
        shell.read(text);
        let mut places = String::new();
        let mut shell = &shell;
        loop {
            places.extend(shell.places.iter().map(|place| match place {
                Place::Bare { word: Word::Comment, .. } => '#',
                Place::Bare { .. } => 'b',
                Place::Single => 's',
                Place::Double => 'd',
                Place::Braces { quoted: true } => 'Q',
                Place::Braces { quoted: false } => 'B',
            }));
            let Some(backticks) = &shell.backticks else { break };
            places.push('`');
            shell = &backticks.inner;
        }
        assert_eq!(places, expected, "{text:?}");
    }

    #[test]
    fn places() {
        check("a 'b' \"c\" $(d) `e` ${f} # g\n", "b");
        check("a'b\"`$(", "bs");
        check("\"a'$(b '", "bdbs");
        check("\"$(a (b) \"", "bdbd");
        check("$((1 + (2))) $(( 3", "bb");
        check("a\\'b\\\"c\\`\\$(d)", "b");
        check("\"\\\"a", "bd");
        check("${a:-'b}c'} '", "bs");
        check("${a:-'", "bBs");
        check("\"${a:-'", "bdQ");
        check("a#b ${#c} $# a\\\n#d", "b");
        check("a;#b'", "#");
        check("(a)#b'", "#");
        check("$(a # b)' ", "b#");
        check("`a # b` '", "bs");
        check("`a \\`b '", "b`b`bs");
        check("\"`a \\\"b", "bd`bd");
        check("`a \\\\' b", "b`b");
        check("$$(a '", "bs");
    }
}
