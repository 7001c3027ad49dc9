//! Templates: shell lines with variables, `python -m subunit.run $IDOPTION`, parsed once, rendered for `sh -c`.  (pure)
//!
//! Runs nothing and looks nothing up: every value is handed in. Called by `config` (which variables are named?) and by
//! whoever renders the line of a command or callout.
//!
//! What testr does with plain text replacement is kept, byte for byte, where it works: variables are replaced within any
//! quotes, in comments, after a backslash (`\$IDFILE` is `\` and the path) and after another dollar (`$$IDFILE` is `$` and
//! the path); `${IDFILE}` is the shell's. Two things are better here: a name ends where it ends (`$INSTANCE_IDS` is not
//! `$INSTANCE_ID` and an `S`), and a word that the shell would take apart is quoted as its place demands (`shell`).

mod shell;

use shell::Shell;

/// What a test command, and the `test_id_option` inside it, may name.
pub const TEST_COMMAND: &[&str] = &["IDOPTION", "IDFILE", "IDLIST", "LISTOPT"];
/// What `instance_execute` may name. `COMMAND_QUOTED`, the command as one shell word, is not known to testr.
pub const EXECUTE: &[&str] = &["INSTANCE_ID", "COMMAND", "COMMAND_QUOTED", "FILES"];
/// What `instance_provision` may name.
pub const PROVISION: &[&str] = &["INSTANCE_COUNT"];
/// What `instance_dispose` may name.
pub const DISPOSE: &[&str] = &["INSTANCE_IDS"];

/// What the optional callouts may name; `DEST` is for `instance_collect` alone.
pub const UPKEEP: &[&str] = &["INSTANCE_ID", "DEST"];

/// A shell line with variables in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// `$NAME`, without the dollar.
    Variable(String),
}

impl Template {
    /// Take a line apart. A variable is `$` and the longest run of ASCII letters, digits and `_` that begins with no digit.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            let after = &rest[dollar + 1..];
            let length = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
            let name = &after[..length];
            if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
                plain.push_str(&rest[..=dollar]);
                rest = after;
                continue;
            }
            plain.push_str(&rest[..dollar]);
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::Variable(name.to_owned()));
            rest = &after[length..];
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Self { pieces }
    }

    /// The variables, in their order, the shell's among them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Variable(name) => Some(name.as_str()),
        })
    }

    /// Whether `$name` is in it.
    #[must_use]
    pub fn mentions(&self, name: &str) -> bool {
        self.names().any(|n| n == name)
    }

    /// The line for `sh -c`. Variables that the use does not know stay as they are, for the shell.
    #[must_use]
    pub fn render(&self, values: &Values<'_>) -> String {
        let mut line = Line::default();
        line.template(self, values);
        line.text
    }
}

/// What a variable stands for.
#[derive(Debug, Clone)]
pub enum Value<'a> {
    /// Nothing: a name that testr knows and has no value for, such as `$IDFILE` in a run of all tests.
    Absent,
    /// Shell text, inserted as it is.
    Raw(&'a str),
    /// Ids or paths, each of which is to arrive as it is: quoted where it has to be, with a space between. None at all are
    /// nothing, an empty one is `''`.
    Words(Vec<&'a str>),
    /// A template of its own, rendered in its place: `test_id_option` in `$IDOPTION`.
    Nested(&'a Template, &'a Values<'a>),
}

impl<'a> Value<'a> {
    /// One id, path or command that is to arrive as one argument.
    #[must_use]
    pub fn word(word: &'a str) -> Self {
        Self::Words(vec![word])
    }
}

/// The variables of one use of a template, and what they stand for.
#[derive(Debug, Clone)]
pub struct Values<'a> {
    known: &'static [&'static str],
    given: Vec<(&'static str, Value<'a>)>,
}

impl<'a> Values<'a> {
    /// All names in `known` ([`TEST_COMMAND`] ..) stand for nothing; all others are the shell's.
    #[must_use]
    pub fn new(known: &'static [&'static str]) -> Self {
        Self { known, given: Vec::new() }
    }

    /// Give a known name its value. A later value takes the place of an earlier one.
    ///
    /// # Panics
    /// When the name is not one of `known`: the caller has mixed up two uses.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: Value<'a>) -> Self {
        assert!(self.known.contains(&name), "${name} is none of {:?}", self.known);
        self.given.retain(|(n, _)| *n != name);
        self.given.push((name, value));
        self
    }

    /// None for the shell's own variables.
    fn get(&self, name: &str) -> Option<&Value<'a>> {
        let given = self.given.iter().find(|(n, _)| *n == name).map(|(_, value)| value);
        given.or_else(|| self.known.contains(&name).then_some(&Value::Absent))
    }
}

/// A line as far as it is rendered, and where in the shell's grammar its end is.
#[derive(Default)]
struct Line {
    text: String,
    shell: Shell,
}

impl Line {
    fn template(&mut self, template: &Template, values: &Values<'_>) {
        for piece in &template.pieces {
            match piece {
                Piece::Text(text) => self.raw(text),
                Piece::Variable(name) => match values.get(name) {
                    Some(value) => self.value(value),
                    None => {
                        self.raw("$");
                        self.raw(name);
                    }
                },
            }
        }
    }

    fn value(&mut self, value: &Value<'_>) {
        match value {
            Value::Absent => {}
            Value::Raw(text) => self.raw(text),
            Value::Nested(template, values) => self.template(template, values),
            Value::Words(words) => {
                for (n, word) in words.iter().enumerate() {
                    if n > 0 {
                        self.raw(" ");
                    }
                    let quoted = self.shell.quote(word);
                    self.raw(&quoted);
                }
            }
        }
    }

    fn raw(&mut self, text: &str) {
        self.shell.read(text);
        self.text.push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        Template::parse(text).names().map(str::to_owned).collect()
    }

    fn render_list(text: &str, words: &[&str]) -> String {
        let values = Values::new(TEST_COMMAND).with("IDLIST", Value::Words(words.to_vec()));
        Template::parse(text).render(&values)
    }

    /// `$IDLIST` is `o'k` and a safe word.
    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(render_list(text, &["o'k", "m.T.x"]), expected);
    }

    #[test]
    fn a_name_is_as_long_as_it_can_be() {
        assert_eq!(names("$A_1b-$INSTANCE_IDS${X}$1$$B\\$C'$_'$é$"), ["A_1b", "INSTANCE_IDS", "B", "C", "_"]);
        assert!(Template::parse("x $LISTOPT").mentions("LISTOPT"));
        assert!(!Template::parse("x $LISTOPTS ${LISTOPT}").mentions("LISTOPT"));
    }

    #[test]
    fn known_names_are_replaced_and_all_others_are_the_shells() {
        let values = Values::new(EXECUTE)
            .with("INSTANCE_ID", Value::word("n 1"))
            .with("COMMAND", Value::Raw("a && b $FILES"))
            .with("COMMAND_QUOTED", Value::word("a && b $FILES"));
        let template = Template::parse(
            "x $INSTANCE_ID $INSTANCE_IDS ${FILES} <$FILES> $COMMAND; $COMMAND_QUOTED $IDFILE $HOME $1 $$ $",
        );
        let line = "x 'n 1' $INSTANCE_IDS ${FILES} <> a && b $FILES; 'a && b $FILES' $IDFILE $HOME $1 $$ $";
        assert_eq!(template.render(&values), line);
    }

    #[test]
    fn a_nested_template_is_rendered_in_its_place() {
        let inner = Values::new(TEST_COMMAND).with("IDFILE", Value::word("/tmp/a b"));
        let option = Template::parse("--load-list $IDFILE$IDOPTION");
        let values = Values::new(TEST_COMMAND).with("IDOPTION", Value::Nested(&option, &inner));
        assert_eq!(Template::parse("run $IDOPTION").render(&values), "run --load-list '/tmp/a b'");
        assert_eq!(Template::parse("ssh h \"run $IDOPTION\"").render(&values), "ssh h \"run --load-list /tmp/a b\"");
        assert_eq!(Template::parse("ssh h 'run $IDOPTION'").render(&values), "ssh h 'run --load-list /tmp/a b'");
    }

    #[test]
    fn a_word_is_quoted_as_its_place_demands() {
        check("x $IDLIST", r"x 'o'\''k' m.T.x");
        check("x \"$IDLIST\"", "x \"o'k m.T.x\"");
        check("x '$IDLIST'", r"x 'o'\''k m.T.x'");
        check("x \"$(y $IDLIST)\" $IDLIST", r#"x "$(y 'o'\''k' m.T.x)" 'o'\''k' m.T.x"#);
        check("x `y $IDLIST`", r"x `y 'o'\\''k' m.T.x`");
        check("x # don't\ny $IDLIST", "x # don't\ny 'o'\\''k' m.T.x");
        check("x a#b' $IDLIST'", r"x a#b' o'\''k m.T.x'");
        check("x \\' $IDLIST", r"x \' 'o'\''k' m.T.x");
        check("x \\$IDLIST", r"x \o''\''k' m.T.x");
        check("x \"\\$IDLIST\"", r#"x "\\o'k m.T.x""#);
    }

    #[test]
    fn no_words_are_nothing_and_an_empty_one_is_a_word() {
        assert_eq!(render_list("x $IDLIST y", &[]), "x  y");
        assert_eq!(render_list("x $IDLIST y", &["", "a"]), "x '' a y");
        assert_eq!(render_list("x \"$IDLIST\"", &[""]), "x \"\"");
    }

    #[test]
    fn what_is_safe_is_inserted_as_it_is() {
        for word in ["node-1", "a.b:c/d@e,f=g%h+i~", "a#b^c!", "tëst_日本"] {
            for place in
                ["x $IDLIST", "x \"$IDLIST\"", "x '$IDLIST'", "x `$IDLIST`", "x \\$IDLIST", "x $$IDLIST", "#$IDLIST"]
            {
                assert_eq!(render_list(place, &[word]), place.replace("$IDLIST", word));
            }
        }
        for word in ["~", "~a", "#", "a:~b", "a=~b", "!", "^a", "a\u{a0}b", "{a,b}", "a*", "[a]", "a\tb", "a\rb"] {
            assert_eq!(render_list("$IDLIST", &[word]), format!("'{word}'"));
        }
    }
}
