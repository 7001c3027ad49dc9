//! One file for each command: what was typed becomes what is done.
//!
//! Commands join the rooms: they open the repository, read the configuration, choose the sinks, and hand all that to
//! [`crate::run`]. They print through [`crate::report`].

mod analyze;
mod concurrency;
mod failing;
mod help;
mod init;
mod instances;
mod last;
mod list_tests;
mod load;
mod quickstart;
mod recover;
mod run;
mod scripts;
mod session;
mod slowest;
mod stats;

use std::io;
use std::path::PathBuf;

use chrono::Utc;

use crate::cli::{self, Cli, Verb};
use crate::config::{Config, ConfigError};
use crate::error::{Error, Kind};
use crate::event::Counts;
use crate::event::{Pause, RunEnd, RunEvent, Sink, TestEvent};
use crate::report::Stdout;
use crate::repository::{Repository, RepositoryError};

/// How a command that did its work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Exit status 0.
    Passed,
    /// Exit status 1: a test failed.
    Failed,
    /// Exit status 3, as testr's: tests fail because of others (`--analyze-isolation`).
    Conflicts,
    /// A signal with this number ended it early, and all was put in order.
    Signalled(i32),
}

impl Exit {
    fn of(counts: &Counts) -> Self {
        if counts.passed() { Self::Passed } else { Self::Failed }
    }
}

/// What every command is told.
struct Context {
    /// Where `.testr.conf` and `.testrepository` are.
    here: PathBuf,
    quiet: bool,
}

/// Do what was typed.
///
/// # Errors
/// When it could not be done; what tests do is no error.
pub fn perform(cli: Cli) -> Result<Exit, Error> {
    // Whole, so that messages name files by their whole paths.
    let here = cli.global.here.or_else(|| std::env::current_dir().ok()).unwrap_or_else(|| ".".into());
    let context = Context { here, quiet: cli.global.quiet };
    let Some(verb) = cli.verb else { return help::help(None) };
    let superfluous = verb.superfluous();
    if !superfluous.is_empty() {
        let said = format!("unexpected arguments: {}", shell_words::join(superfluous));
        return Err(Error::new(Kind::Argument, said));
    }
    match verb {
        Verb::Commands(_) => help::commands(),
        Verb::Completions(args) => print_bytes(&cli::completions(args.shell)),
        Verb::Failing(args) => failing::failing(&context, &args),
        Verb::Help(args) => help::help(args.command.as_deref()),
        Verb::Init(_) => init::init(&context),
        Verb::Instances(args) => instances::instances(&context, &args),
        Verb::Last(args) => last::last(&context, &args),
        Verb::ListTests(args) => list_tests::list_tests(&context, &args),
        Verb::Load(args) => load::load(&context, &args),
        Verb::Man(_) => print_bytes(&cli::man().map_err(Error::failure)?),
        Verb::Quickstart(_) => quickstart::quickstart(),
        Verb::Run(args) => run::run(&context, &args),
        Verb::Scripts(args) => scripts::scripts(&args),
        Verb::Slowest(args) => slowest::slowest(&context, &args),
        Verb::Stats(_) => stats::stats(&context),
    }
}

impl Context {
    /// Read `.testr.conf`.
    fn config(&self) -> Result<Config, ConfigError> {
        let path = self.here.join(".testr.conf");
        match std::fs::read(&path) {
            Ok(text) => Config::parse(&text, &path),
            Err(source) => Err(ConfigError::unreadable(&path, source)),
        }
    }

    fn repository(&self) -> Result<Repository, RepositoryError> {
        Repository::open(&self.here)
    }

    /// Open the repository for a command that shows what is in it: with the results of runs that were cut short.
    fn repository_to_show(&self) -> Result<Repository, RepositoryError> {
        let repository = self.repository()?;
        recover::results_and_warning(&repository);
        Ok(repository)
    }

    /// Open the repository, or make it where that was asked for and there is none.
    fn repository_or_init(&self, force_init: bool) -> Result<Repository, RepositoryError> {
        match self.repository() {
            Err(RepositoryError::NotFound { .. }) if force_init => Repository::init(&self.here),
            other => other,
        }
    }
}

/// Print text, and let it be seen.
fn print(text: &str) -> Result<Exit, Error> {
    write_out(|out| out.text(text))
}

/// The same for what a program reads.
fn print_bytes(bytes: &[u8]) -> Result<Exit, Error> {
    write_out(|out| out.bytes(bytes))
}

fn write_out(write: impl FnOnce(&mut Stdout) -> io::Result<()>) -> Result<Exit, Error> {
    let mut out = Stdout::open();
    let written = write(&mut out).and_then(|()| out.flush());
    written.map_err(|error| Error::failure(format!("cannot write to standard output: {error}")))?;
    Ok(Exit::Passed)
}

/// Show a stored run: feed it to a sink as if it happened, and give its counts.
fn replay(
    events: impl Iterator<Item = io::Result<TestEvent>>,
    sink: &mut impl Sink,
    id: Option<u64>,
    previous: Option<Counts>,
) -> Result<Counts, Error> {
    let now = Utc::now();
    for event in events {
        let event = event.map_err(|error| Error::failure(format!("cannot read the stored run to its end: {error}")))?;
        let at = event.time.unwrap_or(now);
        sink.event(&RunEvent::Test { event, at })?;
    }
    let mut end = RunEnd { at: now, partial: false, interrupted: false, id, previous, counts: Counts::default() };
    sink.finish(&mut end)?;
    sink.pause(Pause::End)?;
    Ok(end.counts)
}

/// Show a stored run as a subunit stream.
fn stream(events: impl Iterator<Item = io::Result<TestEvent>>) -> Result<Exit, Error> {
    replay(events, &mut crate::report::Packets::new(Stdout::open()), None, None)?;
    Ok(Exit::Passed)
}
