//! The three shell lines of `.testr.conf` as a source of instances.
//!
//! Besides the words that a line names (`$INSTANCE_ID` and so on), every callout finds the values in its environment,
//! where no shell has taken them apart: `REGATTA_COMMAND`, `REGATTA_FILES`, `REGATTA_INSTANCE_ID`, `_IDS`, `_COUNT`,
//! `_INDEX`, `REGATTA_RUN_ID`, and `REGATTA`, the program that runs.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;

use super::instances::{CommandLine, Instances};
use super::process::{ShellLine, Started, start};
use super::supervisor::{Instance, Upkeep};
use crate::config::Commands;
use crate::template::{DISPOSE, EXECUTE, PROVISION, Template, UPKEEP, Value, Values};

/// A command longer than this is in the environment only as a file: one string there may have 128 KiB (Linux).
const LONGEST_IN_ENVIRONMENT: usize = 100 * 1024;

/// The callouts.
#[derive(Debug)]
pub struct Callouts {
    provision: Option<Template>,
    execute: Option<Template>,
    dispose: Option<Template>,
    upkeep: BTreeMap<Upkeep, Template>,
    run_id: String,
    program: PathBuf,
}

impl Callouts {
    /// The callouts that are configured. `run_id` names this run among all; `program` is the one that runs.
    #[must_use]
    pub fn new(commands: &Commands, run_id: String, program: PathBuf) -> Self {
        let parse = |line: &Option<String>| line.as_deref().map(Template::parse);
        Self {
            provision: parse(&commands.instance_provision),
            execute: parse(&commands.instance_execute),
            dispose: parse(&commands.instance_dispose),
            upkeep: Upkeep::ALL
                .into_iter()
                .filter_map(|upkeep| Some((upkeep, Template::parse(commands.optional.get(upkeep.key())?))))
                .collect(),
            run_id,
            program,
        }
    }

    /// What every callout finds in its environment, and what this one does.
    fn env(&self, own: impl IntoIterator<Item = (&'static str, String)>) -> Vec<(&'static str, String)> {
        let program = self.program.to_string_lossy().into_owned();
        let mut env = vec![("REGATTA", program), ("REGATTA_RUN_ID", self.run_id.clone())];
        env.extend(own);
        env
    }

    fn dispose_line(&self, ids: &[String]) -> Option<String> {
        let words = Value::Words(ids.iter().map(String::as_str).collect());
        Some(self.dispose.as_ref()?.render(&Values::new(DISPOSE).with("INSTANCE_IDS", words)))
    }
}

impl Instances for Callouts {
    fn provisions(&self) -> bool {
        self.provision.is_some()
    }

    fn executes(&self) -> bool {
        self.execute.is_some()
    }

    fn pastes(&self) -> bool {
        let named = |template: &Template| template.mentions("COMMAND") || template.mentions("COMMAND_QUOTED");
        self.execute.as_ref().is_none_or(named)
    }

    fn disposes(&self) -> bool {
        self.dispose.is_some()
    }

    fn offers(&self, upkeep: Upkeep) -> bool {
        self.upkeep.contains_key(&upkeep)
    }

    fn provision(&mut self, count: usize) -> Started {
        let count = count.to_string();
        let values = Values::new(PROVISION).with("INSTANCE_COUNT", Value::Raw(&count));
        let line = self.provision.as_ref().map(|template| template.render(&values)).unwrap_or_default();
        let env = self.env([("REGATTA_INSTANCE_COUNT", count)]);
        // People type passphrases here.
        start(ShellLine { line, env, foreground: true })
    }

    fn execute(&mut self, on: Option<&Instance>, command: &CommandLine) -> Started {
        let file = command.id_file.as_ref().map(|path| path.to_string_lossy().into_owned());
        let mut env = Vec::new();
        if let Some(instance) = on {
            env.push(("REGATTA_INSTANCE_ID", instance.id.clone()));
            env.push(("REGATTA_INSTANCE_INDEX", instance.index.to_string()));
        }
        let (Some(template), Some(instance)) = (&self.execute, on) else {
            return start(ShellLine { line: command.line.clone(), env: self.env(env), foreground: false });
        };
        let values = Values::new(EXECUTE)
            .with("INSTANCE_ID", Value::word(&instance.id))
            .with("COMMAND", Value::Raw(&command.line))
            .with("COMMAND_QUOTED", Value::word(&command.line))
            .with("FILES", file.as_deref().map_or(Value::Absent, Value::word));
        let line = template.render(&values);
        env.push(("REGATTA_FILES", file.unwrap_or_default()));
        let mut held = None;
        if command.line.len() <= LONGEST_IN_ENVIRONMENT {
            env.push(("REGATTA_COMMAND", command.line.clone()));
        } else {
            match write_command(&command.line) {
                Ok(path) => {
                    env.push(("REGATTA_COMMAND_FILE", path.to_string_lossy().into_owned()));
                    held = Some(path);
                }
                Err(error) => return Started::not_run(line, &error),
            }
        }
        let mut started = start(ShellLine { line, env: self.env(env), foreground: false });
        let ended = started.ended;
        started.ended = Box::pin(async move {
            let how = ended.await;
            drop(held);
            how
        });
        started
    }

    fn upkeep(&mut self, upkeep: Upkeep, instance: &Instance) -> Started {
        let values = Values::new(UPKEEP).with("INSTANCE_ID", Value::word(&instance.id));
        let line = self.upkeep.get(&upkeep).map(|template| template.render(&values)).unwrap_or_default();
        let env = self.env([
            ("REGATTA_INSTANCE_ID", instance.id.clone()),
            ("REGATTA_INSTANCE_INDEX", instance.index.to_string()),
        ]);
        start(ShellLine { line, env, foreground: false })
    }

    fn dispose(&mut self, ids: &[String]) -> Started {
        let line = self.dispose_line(ids).unwrap_or_default();
        let env = self.env([("REGATTA_INSTANCE_IDS", ids.join(" "))]);
        start(ShellLine { line, env, foreground: false })
    }

    fn disposal(&self, ids: &[String]) -> Option<String> {
        self.dispose_line(ids)
    }
}

fn write_command(line: &str) -> io::Result<tempfile::TempPath> {
    let mut file = tempfile::Builder::new().prefix("regatta-command-").tempfile()?;
    file.write_all(line.as_bytes())?;
    Ok(file.into_temp_path())
}
