//! The templates of a run, taken out of a `Config` and checked as testr checks them before it runs anything.
//!
//! Renders nothing and runs nothing. Called by the commands that run tests.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Config, ConfigError};
use crate::template::Template;

/// The callouts that need not be there: `ready` probes whether an instance takes work, `check` whether it lives, `kill`
/// ends what runs on it, `collect` fetches its logs, `renew` tells it that it is still in use, `shell` is for a person,
/// `fence` turns its power off.
pub const OPTIONAL: [&str; 7] = [
    "instance_ready",
    "instance_check",
    "instance_kill",
    "instance_collect",
    "instance_renew",
    "instance_shell",
    "instance_fence",
];

/// The templates of a run: shell text after interpolation, with its variables.
///
/// Only keys that testr would ask for are looked at, so that a bad `%` in another one harms nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commands {
    /// The command that runs tests.
    pub test_command: String,
    /// What `$IDOPTION` stands for; none when `test_command` does not name it.
    pub test_id_option: Option<String>,
    /// What `$LISTOPT` stands for when listing; none when `test_command` does not name it.
    pub test_list_option: Option<String>,
    /// What `$IDLIST` stands for when no ids are known, raw; in a serial run its words are the ids.
    pub test_id_list_default: Option<String>,
    /// Tests whose ids begin with the same match belong together. An empty one is none.
    pub group_regex: Option<String>,
    /// The callout that makes instances.
    pub instance_provision: Option<String>,
    /// The callout that runs a command on an instance; none when there is no `instance_provision`, as testr then ignores it.
    pub instance_execute: Option<String>,
    /// The callout that gives instances back.
    pub instance_dispose: Option<String>,
    /// The optional callouts that are there, by their keys ([`OPTIONAL`]).
    pub optional: BTreeMap<&'static str, String>,
    path: PathBuf,
    /// The line of `test_command`.
    line: usize,
}

impl Commands {
    /// Take them out of a configuration.
    ///
    /// # Errors
    /// When `test_command`, or an option that it names, is missing, or one of them cannot be interpolated.
    pub fn from_config(config: &Config) -> Result<Self, ConfigError> {
        let missing = |key, needed_by| ConfigError::MissingKey { path: config.path().to_owned(), key, needed_by };
        let test_command = config.get("test_command")?.ok_or_else(|| missing("test_command", None))?;
        let line = config.line_of("test_command").unwrap_or(1);
        let template = Template::parse(&test_command);
        let named = |variable, key| {
            if !template.mentions(variable) {
                return Ok(None);
            }
            config.get(key)?.map(Some).ok_or_else(|| missing(key, Some((variable, line))))
        };
        let test_id_option = named("IDOPTION", "test_id_option")?;
        let test_list_option = named("LISTOPT", "test_list_option")?;
        let instance_provision = config.get("instance_provision")?;
        Ok(Self {
            test_command,
            test_id_option,
            test_list_option,
            test_id_list_default: config.get("test_id_list_default")?,
            group_regex: config.get("group_regex")?.filter(|regex| !regex.is_empty()),
            instance_execute: if instance_provision.is_some() { config.get("instance_execute")? } else { None },
            instance_provision,
            instance_dispose: config.get("instance_dispose")?,
            optional: OPTIONAL
                .iter()
                .filter_map(|key| Some(config.get(key).transpose()?.map(|line| (*key, line))))
                .collect::<Result<_, _>>()?,
            path: config.path().to_owned(),
            line,
        })
    }

    /// `test_command` with the arguments for the runner behind it. As in testr they are joined with spaces and not
    /// quoted, and a variable in one of them counts.
    #[must_use]
    pub fn test_template(&self, test_args: &[String]) -> Template {
        let mut line = self.test_command.clone();
        for arg in test_args {
            line.push(' ');
            line.push_str(arg);
        }
        Template::parse(&line)
    }

    /// Whether tests can be listed with this template; to be asked only when they have to be.
    ///
    /// # Errors
    /// When it does not name `$LISTOPT`.
    pub fn require_listing(&self, test_template: &Template) -> Result<(), ConfigError> {
        if test_template.mentions("LISTOPT") {
            return Ok(());
        }
        Err(ConfigError::NoListing { path: self.path.clone(), line: self.line })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn commands(text: &str) -> Result<Commands, ConfigError> {
        let text = format!("[DEFAULT]\n{text}");
        Commands::from_config(&Config::parse(text.as_bytes(), Path::new(".testr.conf")).unwrap())
    }

    #[track_caller]
    fn check_error(text: &str, expected: &str) {
        let error = commands(text).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert!(error.hint().is_some());
    }

    #[test]
    fn a_key_that_is_needed_is_there() {
        let missing = "option present in .testr.conf (.testr.conf)";
        check_error("", &format!("no test_command {missing}"));
        check_error(
            "\ntest_command=x $IDOPTION",
            &format!("no test_id_option {missing}: line 3: test_command names $IDOPTION"),
        );
        check_error(
            "test_command=$LISTOPT",
            &format!("no test_list_option {missing}: line 2: test_command names $LISTOPT"),
        );
        let plain = commands("test_command=x $IDOPTIONS ${LISTOPT}\ngroup_regex=\n").unwrap();
        assert_eq!((plain.test_id_option, plain.test_list_option, plain.group_regex), (None, None, None));
    }

    #[test]
    fn what_testr_would_not_ask_for_is_not_asked_for() {
        let bad =
            "test_id_option=%s\ntest_list_option=%s\ntest_run_concurrency=%s\ninstance_execute=%s\nfilter_tags=%s\n";
        assert!(commands(&format!("test_command=x\n{bad}")).is_ok());
        check_error(
            &format!("test_command=x\ninstance_provision=y\n{bad}"),
            ".testr.conf: line 7: instance_execute has a single \"%\" in it (\"%s\")",
        );
    }

    #[test]
    fn a_listing_needs_listopt() {
        let commands = commands("test_command=x").unwrap();
        let error = commands.require_listing(&commands.test_template(&["-v".to_owned()])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "LISTOPT not configured in .testr.conf (.testr.conf): line 2: test_command has no $LISTOPT"
        );
        commands.require_listing(&commands.test_template(&["$LISTOPT".to_owned()])).unwrap();
    }
}
