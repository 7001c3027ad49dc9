//! The shell lines of `.testr.conf` as a source of instances.
//!
//! Besides the words that a line names (`$INSTANCE_ID` and so on), every callout finds the values in its environment,
//! where no shell has taken them apart: `REGATTA_COMMAND`, `REGATTA_FILES`, `REGATTA_INSTANCE_ID`, `_IDS`, `_COUNT`,
//! `_INDEX`, `REGATTA_DEST`, `REGATTA_RUN_ID`, `REGATTA_LEASE` and `REGATTA_TTL`, and `REGATTA`, the program that runs.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::TTL;
use super::instances::{CommandLine, Instances};
use super::process::{Output, ShellLine, Started, start};
use super::supervisor::{Instance, Upkeep};
use crate::config::Commands;
use crate::template::{DISPOSE, EXECUTE, PROVISION, Template, UPKEEP, Value, Values};

/// A command longer than this is in the environment only as a file: one string there may have 128 KiB (Linux).
const LONGEST_IN_ENVIRONMENT: usize = 100 * 1024;

/// What all callouts of a run are told.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The name of the run, that no other has.
    pub run_id: String,
    /// The program that runs.
    pub program: PathBuf,
    /// The file whose time of modification says that the instances are in use; nothing where it could not be made.
    pub lease: Option<PathBuf>,
    /// Where `instance_collect` puts what it fetches: a directory for each instance in it.
    pub collection: PathBuf,
    /// How long instances are kept.
    pub keep_for: Duration,
}

/// The callouts.
#[derive(Debug)]
pub struct Callouts {
    provision: Option<Template>,
    execute: Option<Template>,
    dispose: Option<Template>,
    upkeep: BTreeMap<Upkeep, Template>,
    has_shell: bool,
    /// Callouts wait until they are written down in the journal.
    is_gated: bool,
    surroundings: Surroundings,
    /// The leases of instances of earlier runs, by their ids.
    adopted: BTreeMap<String, PathBuf>,
}

type Variable = (&'static str, String);

impl Callouts {
    /// The callouts that are configured.
    #[must_use]
    pub fn new(commands: &Commands, surroundings: Surroundings) -> Self {
        let parse = |line: &Option<String>| line.as_deref().map(Template::parse);
        let optional = |upkeep: Upkeep| Some((upkeep, Template::parse(commands.optional.get(upkeep.key())?)));
        Self {
            provision: parse(&commands.instance_provision),
            execute: parse(&commands.instance_execute),
            dispose: parse(&commands.instance_dispose),
            upkeep: Upkeep::ALL.into_iter().filter_map(optional).collect(),
            has_shell: commands.optional.contains_key("instance_shell"),
            is_gated: surroundings.lease.is_some(),
            surroundings,
            adopted: BTreeMap::new(),
        }
    }

    /// What every callout finds in its environment, and what this one does.
    fn env(&self, on: Option<&Instance>, own: impl IntoIterator<Item = Variable>) -> Vec<Variable> {
        let Surroundings { run_id, program, lease, .. } = &self.surroundings;
        let mut env = vec![
            ("REGATTA", program.to_string_lossy().into_owned()),
            ("REGATTA_RUN_ID", run_id.clone()),
            ("REGATTA_TTL", TTL.as_secs().to_string()),
        ];
        let lease = on.and_then(|instance| self.adopted.get(&instance.id)).or(lease.as_ref());
        env.extend(lease.map(|lease| ("REGATTA_LEASE", lease.to_string_lossy().into_owned())));
        if let Some(instance) = on {
            env.push(("REGATTA_INSTANCE_ID", instance.id.clone()));
            env.push(("REGATTA_INSTANCE_INDEX", instance.index.to_string()));
        }
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

    fn has_shell(&self) -> bool {
        self.has_shell
    }

    fn provision(&mut self, count: usize, output: Option<Output>) -> Started {
        let count = count.to_string();
        let values = Values::new(PROVISION).with("INSTANCE_COUNT", Value::Raw(&count));
        let line = self.provision.as_ref().map(|template| template.render(&values)).unwrap_or_default();
        let env = self.env(None, [("REGATTA_INSTANCE_COUNT", count)]);
        // People type passphrases here.
        start(ShellLine { line, env, gated: self.is_gated, output, foreground: true })
    }

    fn execute(&mut self, on: Option<&Instance>, command: &CommandLine) -> Started {
        let (Some(template), Some(instance)) = (&self.execute, on) else {
            let env = self.env(on, []);
            return start(ShellLine {
                line: command.line.clone(),
                env,
                gated: self.is_gated,
                output: None,
                foreground: false,
            });
        };
        let file = command.id_file.as_ref().map(|path| path.to_string_lossy().into_owned());
        let values = Values::new(EXECUTE)
            .with("INSTANCE_ID", Value::word(&instance.id))
            .with("COMMAND", Value::Raw(&command.line))
            .with("COMMAND_QUOTED", Value::word(&command.line))
            .with("FILES", file.as_deref().map_or(Value::Absent, Value::word));
        let line = template.render(&values);
        let mut env = self.env(on, [("REGATTA_FILES", file.unwrap_or_default())]);
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
        let mut started = start(ShellLine { line, env, gated: self.is_gated, output: None, foreground: false });
        let ended = started.ended;
        started.ended = Box::pin(async move {
            let how = ended.await;
            drop(held);
            how
        });
        started
    }

    fn adopt(&mut self, id: &str, lease: PathBuf) {
        self.adopted.insert(id.to_owned(), lease);
    }

    fn upkeep(&mut self, upkeep: Upkeep, instance: &Instance) -> Started {
        let mut values = Values::new(UPKEEP).with("INSTANCE_ID", Value::word(&instance.id));
        let mut env = self.env(Some(instance), []);
        let dest = self.surroundings.collection.join(file_name(&instance.id)).to_string_lossy().into_owned();
        match upkeep {
            Upkeep::Collect => {
                if let Err(error) = make_private(Path::new(&dest)) {
                    return Started::not_run(format!("the directory {dest}"), &error);
                }
                values = values.with("DEST", Value::word(&dest));
                env.push(("REGATTA_DEST", dest.clone()));
            }
            Upkeep::Keep => {
                env.retain(|(name, _)| *name != "REGATTA_TTL");
                env.push(("REGATTA_TTL", self.surroundings.keep_for.as_secs().to_string()));
            }
            Upkeep::Ready | Upkeep::Check | Upkeep::Kill | Upkeep::Fence | Upkeep::Renew => {}
        }
        let line = self.upkeep.get(&upkeep).map(|template| template.render(&values)).unwrap_or_default();
        start(ShellLine { line, env, gated: self.is_gated, output: None, foreground: false })
    }

    fn dispose(&mut self, ids: &[String]) -> Started {
        let line = self.dispose_line(ids).unwrap_or_default();
        let env = self.env(None, [("REGATTA_INSTANCE_IDS", ids.join(" "))]);
        start(ShellLine { line, env, gated: self.is_gated, output: None, foreground: false })
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

fn make_private(dir: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// The id of an instance as the name of a file, which no other id has: letters, digits, `-`, `_` and dots that do not
/// come first stay, any other byte is `%` and two digits.
fn file_name(id: &str) -> String {
    let is_plain = |(n, b): (usize, u8)| b.is_ascii_alphanumeric() || b"-_".contains(&b) || (b == b'.' && n > 0);
    id.bytes()
        .enumerate()
        .map(|(n, b)| if is_plain((n, b)) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_becomes_a_name_that_leaves_no_directory() {
        for (id, name) in [("node-1.a", "node-1.a"), ("..", "%2E."), ("../x", "%2E.%2Fx"), ("i;ü", "i%3B%C3%BC")] {
            assert_eq!(file_name(id), name);
        }
    }
}
