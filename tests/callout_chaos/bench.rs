//! What the tests of `callouts/chaos` stand on: a root for instances, a directory for its state, its settings.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::host::{Host, SCRIPT, expect};

pub(crate) const CHAOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/callouts/chaos");

pub(crate) struct Bench {
    pub(crate) host: Host,
    shell: String,
    settings: Vec<(String, String)>,
}

impl Bench {
    /// Every call is broken, with seed 1.
    pub(crate) fn new() -> Self {
        Self::with_shell(&std::env::var("REGATTA_TEST_SH").unwrap_or_else(|_| "sh".into()))
    }

    pub(crate) fn with_shell(shell: &str) -> Self {
        let bench = Self { host: Host::with_shell(shell), shell: shell.into(), settings: Vec::new() };
        bench.set("RATE", "100").set("CALLOUT", SCRIPT)
    }

    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.push((format!("REGATTA_CHAOS_{name}"), value.into()));
        self
    }

    pub(crate) fn chaos(&self, args: &[&str]) -> Command {
        let mut words = self.shell.split(' ');
        let mut command = self.host.callout(&[]);
        let mut own = Command::new(words.next().unwrap());
        own.args(words).arg(CHAOS).args(args).stdin(std::process::Stdio::null());
        // The same environment: without what an outer regatta may have set.
        for (name, value) in command.env("REGATTA_CHAOS_DIR", self.state("")).get_envs() {
            match value {
                Some(value) => own.env(name, value),
                None => own.env_remove(name),
            };
        }
        own.envs(self.settings.iter().map(|(name, value)| (name, value)));
        own
    }

    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        expect(&mut self.chaos(args), 0)
    }

    /// A file of its state.
    pub(crate) fn state(&self, name: &str) -> PathBuf {
        self.host.path("state").join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.state(name)).unwrap_or_default()
    }

    /// The lines of its log.
    pub(crate) fn log(&self) -> Vec<String> {
        self.read("log").lines().map(String::from).collect()
    }

    /// The number behind `NAME=` in the last line of the log.
    #[track_caller]
    pub(crate) fn detail(&self, name: &str) -> String {
        let log = self.log();
        let word =
            log.last().and_then(|line| line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('=')));
        word.unwrap_or_else(|| panic!("no {name}= in the last of {log:?}")).to_owned()
    }
}
