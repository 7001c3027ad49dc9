//! `test_command`, rendered for a listing or for a list of tests.
//!
//! Writes the file that `$IDFILE` names. Starts nothing.

use std::io::{self, Write};

use super::instances::CommandLine;
use crate::config::Commands;
use crate::template::{TEST_COMMAND, Template, Value, Values};
use crate::test_id::{TestId, format_list};

/// One argument of a program, its end included, may have this many bytes (Linux, `MAX_ARG_STRLEN`); the line is one of
/// `sh -c`.
const LONGEST_LINE: usize = 128 * 1024;

/// The command that lists and runs tests.
#[derive(Debug)]
pub struct TestCommand {
    template: Template,
    id_option: Option<Template>,
    list_option: String,
    /// What `$IDLIST` is while listing.
    id_list_default: Option<String>,
}

impl TestCommand {
    /// The configured command, with arguments for the runner behind it.
    #[must_use]
    pub fn new(commands: &Commands, test_args: &[String]) -> Self {
        Self {
            template: commands.test_template(test_args),
            id_option: commands.test_id_option.as_deref().map(Template::parse),
            list_option: commands.test_list_option.clone().unwrap_or_default(),
            id_list_default: commands.test_id_list_default.clone(),
        }
    }

    /// The command that lists the tests.
    #[must_use]
    pub fn listing(&self) -> CommandLine {
        let mut values = Values::new(TEST_COMMAND).with("LISTOPT", Value::Raw(&self.list_option));
        if let Some(ids) = &self.id_list_default {
            values = values.with("IDLIST", Value::Raw(ids));
        }
        CommandLine { line: self.template.render(&values), id_file: None }
    }

    /// Whether ids become a part of the command line.
    #[must_use]
    pub fn pastes(&self) -> bool {
        let lists = |template: &Template| template.mentions("IDLIST");
        lists(&self.template) || self.id_option.as_ref().is_some_and(lists)
    }

    /// Whether a shell can be started with these tests in its line, where `$IDLIST` puts them there.
    ///
    /// # Errors
    /// With the length of the line, in bytes, when it is too long.
    pub fn check_length(&self, tests: &[TestId]) -> Result<(), usize> {
        if !self.pastes() {
            return Ok(());
        }
        let values = Values::new(TEST_COMMAND).with("IDLIST", id_words(tests));
        let option = self.id_option.as_ref().map(|option| Value::Nested(option, &values));
        let line = self
            .template
            .render(&option.map_or_else(|| values.clone(), |option| values.clone().with("IDOPTION", option)));
        if line.len() < LONGEST_LINE { Ok(()) } else { Err(line.len()) }
    }

    /// The command that runs these tests, or all that the runner knows.
    ///
    /// # Errors
    /// When the file of ids cannot be written.
    pub fn running(&self, tests: Option<&[TestId]>) -> io::Result<CommandLine> {
        let Some(tests) = tests else {
            return Ok(CommandLine { line: self.template.render(&Values::new(TEST_COMMAND)), id_file: None });
        };
        let list = format_list(tests).map_err(io::Error::other)?;
        let mut file = tempfile::Builder::new().prefix("regatta-ids-").tempfile()?;
        file.write_all(&list)?;
        let path = file.into_temp_path();
        let name = path.to_string_lossy();
        let values = Values::new(TEST_COMMAND).with("IDFILE", Value::word(&name)).with("IDLIST", id_words(tests));
        let option = self.id_option.as_ref().map(|option| Value::Nested(option, &values));
        let line = self.template.render(&match option {
            Some(option) => values.clone().with("IDOPTION", option),
            None => values.clone(),
        });
        Ok(CommandLine { line, id_file: Some(path) })
    }
}

fn id_words(tests: &[TestId]) -> Value<'_> {
    Value::Words(tests.iter().map(TestId::as_str).collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn command(text: &str, args: &[&str]) -> TestCommand {
        let text = format!("[DEFAULT]\n{text}");
        let config = Config::parse(text.as_bytes(), Path::new(".testr.conf")).unwrap();
        let args: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
        TestCommand::new(&Commands::from_config(&config).unwrap(), &args)
    }

    const RUNNER: &str = "test_command=runner $LISTOPT $IDOPTION\n\
                          test_id_option=--load-list $IDFILE\ntest_list_option=--list\n";

    #[test]
    fn variables_without_a_value_leave_their_blanks() {
        let command = command(RUNNER, &["--level=3", "x"]);
        assert_eq!(command.listing().line, "runner --list  --level=3 x");
        assert_eq!(command.running(None).unwrap().line, "runner   --level=3 x");
    }

    #[test]
    fn the_file_of_ids_is_there_as_long_as_the_command() {
        let rendered = command(RUNNER, &[]).running(Some(&["a b", "ü"].map(TestId::from))).unwrap();
        let path = rendered.id_file.as_ref().unwrap().to_path_buf();
        assert_eq!(rendered.line, format!("runner  --load-list {}", path.display()));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a b\nü\n");
        drop(rendered);
        assert!(!path.exists());
    }

    #[test]
    fn a_line_that_no_shell_takes_is_known_beforehand() {
        let text = "test_command=runner $IDOPTION\ntest_id_option=$IDLIST\n";
        let ids = |count| vec![TestId::from("a.test.with.a.name.of.thirty.nine.bytes"); count];
        assert_eq!(command(text, &[]).check_length(&ids(3000)), Ok(()));
        assert_eq!(command(text, &[]).check_length(&ids(4000)), Err(4000 * 40 + 6));
        assert_eq!(command(RUNNER, &[]).check_length(&ids(4000)), Ok(()));
    }

    #[test]
    fn a_list_of_ids_in_the_line() {
        let text = "test_command=runner $LISTOPT $IDLIST\ntest_list_option=--list\ntest_id_list_default=all of\n";
        let command = command(text, &[]);
        assert_eq!(command.listing().line, "runner --list all of");
        assert_eq!(command.running(Some(&["a", "b c"].map(TestId::from))).unwrap().line, "runner  a 'b c'");
        assert_eq!(command.running(None).unwrap().line, "runner  ");
    }
}
