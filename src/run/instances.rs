//! A source of instances, as the loop sees it.
//!
//! [`super::callouts::Callouts`] makes one of the shell lines in `.testr.conf`; a program may bring its own.

use std::path::PathBuf;

use super::process::{Output, Started};
use super::supervisor::{Instance, Upkeep};

/// The command line of a runner, and the files it needs.
#[derive(Debug)]
pub struct CommandLine {
    /// What a shell on the instance is to run.
    pub line: String,
    /// The file of test ids that the line names. It is removed when this is dropped.
    pub id_file: Option<tempfile::TempPath>,
}

/// Where instances come from.
///
/// Each method starts something and returns at once; what cannot be started is [`Started::not_run`].
pub trait Instances: Send {
    /// Whether instances are provisioned at all. If not, commands are run as they are.
    fn provisions(&self) -> bool;

    /// Whether instances can be given back.
    fn disposes(&self) -> bool;

    /// Whether this can be done for an instance. What is not offered is not asked for.
    fn offers(&self, upkeep: Upkeep) -> bool;

    /// Whether a person can be given a shell on an instance.
    fn has_shell(&self) -> bool;

    /// Make this many more instances: their ids come on stdout, with any white space between. What is printed goes
    /// through this file if it can, where it is found should regatta die.
    fn provision(&mut self, count: usize, output: Option<Output>) -> Started;

    /// Run a command on an instance: its stdout is the command's, byte for byte, and its end the command's.
    fn execute(&mut self, on: Option<&Instance>, command: &CommandLine) -> Started;

    /// Whether [`Instances::execute`] is a callout; if not, it runs the command as it is.
    fn executes(&self) -> bool;

    /// Whether a command becomes a part of a shell's line, whose length the system bounds.
    fn pastes(&self) -> bool;

    /// These instances were made by an earlier run, and know this file as their lease.
    fn adopt(&mut self, id: &str, lease: PathBuf);

    /// Do this for an instance. What it writes on stdout is nobody's; it succeeds with exit status 0.
    fn upkeep(&mut self, upkeep: Upkeep, instance: &Instance) -> Started;

    /// Give these instances back.
    fn dispose(&mut self, ids: &[String]) -> Started;

    /// What a person can type to give these instances back.
    fn disposal(&self, ids: &[String]) -> Option<String>;
}
