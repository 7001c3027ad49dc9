//! The callouts of a run as its journal has them: its own lines, in its directory, with its environment.

use std::path::Path;
use std::process::Command;

use super::Abandoned;
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
    env: Vec<(&'static str, String)>,
}

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
        self.line("instance_dispose", &values, vec![("REGATTA_INSTANCE_IDS", ids.join(" "))])
    }

    /// The line that ends what runs on an instance.
    #[must_use]
    pub fn kill(self, id: &str, held: &Held) -> Option<Line<'a>> {
        self.line("instance_kill", &upkeep(id), self.about(id, held))
    }

    /// The line that gives a person a shell on an instance.
    #[must_use]
    pub fn shell(self, id: &str, held: &Held) -> Option<Line<'a>> {
        self.line("instance_shell", &upkeep(id), self.about(id, held))
    }

    /// The line that fetches the logs of an instance.
    #[must_use]
    pub fn collect(self, id: &str, held: &Held, dest: &str) -> Option<Line<'a>> {
        let mut env = self.about(id, held);
        env.push(("REGATTA_DEST", dest.to_owned()));
        self.line("instance_collect", &upkeep(id).with("DEST", Value::word(dest)), env)
    }

    /// The line that runs a command on an instance.
    #[must_use]
    pub fn execute(self, id: &str, held: &Held, command: &str) -> Option<Line<'a>> {
        let values = Values::new(EXECUTE)
            .with("INSTANCE_ID", Value::word(id))
            .with("COMMAND", Value::Raw(command))
            .with("COMMAND_QUOTED", Value::word(command));
        let mut env = self.about(id, held);
        env.push(("REGATTA_FILES", String::new()));
        if command.len() <= LONGEST_IN_ENVIRONMENT {
            env.push(("REGATTA_COMMAND", command.to_owned()));
        }
        self.line("instance_execute", &values, env)
    }

    fn line(self, key: &'static str, values: &Values<'_>, own: Vec<(&'static str, String)>) -> Option<Line<'a>> {
        let text = Template::parse(self.header.templates.get(key)?).render(values);
        let program = self.header.program.to_string_lossy().into_owned();
        let mut env = vec![("REGATTA", program), ("REGATTA_RUN_ID", self.header.run.clone())];
        env.extend(own);
        Some(Line { key, text, header: self.header, env })
    }

    fn about(self, id: &str, held: &Held) -> Vec<(&'static str, String)> {
        let lease = self.dir.join(&held.lease).to_string_lossy().into_owned();
        vec![
            ("REGATTA_INSTANCE_ID", id.to_owned()),
            ("REGATTA_INSTANCE_INDEX", held.index.to_string()),
            ("REGATTA_LEASE", lease),
        ]
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
        ShellLine { line, env, output: None, foreground: false }
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
