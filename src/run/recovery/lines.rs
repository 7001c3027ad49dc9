//! The callouts of a run as its journal has them: its own lines, in its directory, with its environment.

use std::path::Path;
use std::process::Command;

use super::Abandoned;
use crate::run::TTL;
use crate::run::journal::files::LEASE;
use crate::run::journal::{Header, Held, environment};
use crate::run::process::ShellLine;
use crate::template::{DISPOSE, EXECUTE, Template, UPKEEP, Value, Values};

/// A command longer than this does not fit into one string of the environment (Linux: 128 KiB).
const LONGEST_IN_ENVIRONMENT: usize = 100 * 1024;

/// The environment of a callout, as text for its shell: a command line can be read by everybody on the machine.
const ENVIRONMENT: &str = "REGATTA_RECORDED_ENVIRONMENT";

/// Makes the callouts of one run.
#[derive(Clone, Copy, Debug)]
pub struct Lines<'a> {
    header: &'a Header,
    /// Where its journal is.
    dir: &'a Path,
}

/// A callout, ready to be run.
#[derive(Debug)]
pub struct Line<'a> {
    /// The key that it comes from.
    pub key: &'static str,
    /// The shell line.
    pub text: String,
    header: &'a Header,
    env: Vec<Variable>,
}

/// A variable of the environment.
type Variable = (&'static str, String);

impl Abandoned {
    pub(super) fn lines(&self) -> Lines<'_> {
        Lines::new(&self.header, &self.dir)
    }
}

impl<'a> Lines<'a> {
    /// The callouts of the run with this header, whose journal is in this folder.
    #[must_use]
    pub fn new(header: &'a Header, dir: &'a Path) -> Self {
        Self { header, dir }
    }

    /// The line that gives instances back; nothing when there is none.
    #[must_use]
    pub fn dispose(self, ids: &[String]) -> Option<Line<'a>> {
        let words = Value::Words(ids.iter().map(String::as_str).collect());
        let values = Values::new(DISPOSE).with("INSTANCE_IDS", words);
        let own = format!("{}{LEASE}", self.header.run);
        self.line("instance_dispose", &values, &own, vec![("REGATTA_INSTANCE_IDS", ids.join(" "))])
    }

    /// The line that ends what runs on an instance.
    #[must_use]
    pub fn kill(self, id: &str, held: &Held) -> Option<Line<'a>> {
        self.line_on((id, held), "instance_kill", &upkeep(id), vec![])
    }

    /// The line that gives a person a shell on an instance.
    #[must_use]
    pub fn shell(self, id: &str, held: &Held) -> Option<Line<'a>> {
        self.line_on((id, held), "instance_shell", &upkeep(id), vec![])
    }

    /// The line that fetches the logs of an instance.
    #[must_use]
    pub fn collect(self, id: &str, held: &Held, dest: &str) -> Option<Line<'a>> {
        let values = upkeep(id).with("DEST", Value::word(dest));
        self.line_on((id, held), "instance_collect", &values, vec![("REGATTA_DEST", dest.to_owned())])
    }

    /// The line that runs a command on an instance.
    #[must_use]
    pub fn execute(self, id: &str, held: &Held, command: &str) -> Option<Line<'a>> {
        let values = Values::new(EXECUTE)
            .with("INSTANCE_ID", Value::word(id))
            .with("COMMAND", Value::Raw(command))
            .with("COMMAND_QUOTED", Value::word(command));
        let mut own = vec![("REGATTA_FILES", String::new())];
        if command.len() <= LONGEST_IN_ENVIRONMENT {
            own.push(("REGATTA_COMMAND", command.to_owned()));
        }
        self.line_on((id, held), "instance_execute", &values, own)
    }

    fn line_on(
        self,
        (id, held): (&str, &Held),
        key: &'static str,
        values: &Values<'_>,
        mut own: Vec<Variable>,
    ) -> Option<Line<'a>> {
        own.push(("REGATTA_INSTANCE_ID", id.to_owned()));
        own.push(("REGATTA_INSTANCE_INDEX", held.index.to_string()));
        self.line(key, values, &held.lease, own)
    }

    fn line(self, key: &'static str, values: &Values<'_>, lease: &str, own: Vec<Variable>) -> Option<Line<'a>> {
        let text = Template::parse(self.header.templates.get(key)?).render(values);
        let mut env = vec![
            ("REGATTA", self.header.program.to_string_lossy().into_owned()),
            ("REGATTA_LEASE", self.dir.join(lease).to_string_lossy().into_owned()),
            ("REGATTA_RUN_ID", self.header.run.clone()),
            ("REGATTA_TTL", TTL.as_secs().to_string()),
        ];
        env.extend(own);
        Some(Line { key, text, header: self.header, env })
    }
}

fn upkeep(id: &str) -> Values<'_> {
    Values::new(UPKEEP).with("INSTANCE_ID", Value::word(id))
}

impl Line<'_> {
    /// For [`crate::run::process::start`], which starts lines where regatta is, with the environment that it has.
    pub(super) fn in_shell(&self) -> ShellLine {
        let directory = self.header.directory.to_string_lossy();
        let mut environment = String::new();
        for (name, value) in &self.header.env {
            environment += &format!("export {name}={}\n", shell_words::quote(value));
        }
        for name in environment_to_drop(self.header) {
            environment += &format!("unset {name}\n");
        }
        let line = format!(
            "cd -- {} || exit\neval \"${ENVIRONMENT}\"\nunset {ENVIRONMENT}\n{}",
            shell_words::quote(&directory),
            self.text
        );
        let mut env = self.env.clone();
        env.push((ENVIRONMENT, environment));
        ShellLine { line, env, gated: false, output: None, foreground: false }
    }

    /// For a person at a terminal: with the streams that regatta has.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(&self.text).current_dir(&self.header.directory);
        for name in environment_to_drop(self.header) {
            command.env_remove(name);
        }
        command.envs(&self.header.env).envs(self.env.iter().map(|(name, value)| (*name, value)));
        command
    }
}

/// What is in the environment here that the run's callouts did not find in it.
fn environment_to_drop(header: &Header) -> impl Iterator<Item = String> {
    environment().into_keys().filter(|name| !header.env.contains_key(name))
}
