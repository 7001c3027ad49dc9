//! Sessions as commands open and close them: the configured callouts, with a journal where there is a repository.

use std::future::Future;
use std::path::Path;

use chrono::Utc;

use super::Exit;
use crate::config::{Commands, Settings};
use crate::error::Error;
use crate::event::RunEvent;
use crate::report::{Report, Stderr, Stdout};
use crate::run::callouts::{Callouts, Surroundings};
use crate::run::journal::{About, Journal};
use crate::run::recovery::{Reusable, reusable};
use crate::run::signals::Signals;
use crate::run::test_command::TestCommand;
use crate::run::{Session, Setup};

/// Gives up whoever reads stdout and stderr and has stalled.
pub(super) type Abandon = Box<dyn Fn() + Send>;

/// stdout and stderr, for a session.
pub(super) fn open_output() -> (Stdout, Stderr, Abandon) {
    let (mut stdout, mut stderr) = (Stdout::open(), Stderr::open());
    let (end_stdout, end_stderr) = (stdout.abandoner(), stderr.abandoner());
    let abandon = move || {
        end_stdout();
        end_stderr();
    };
    (stdout, stderr, Box::new(abandon))
}

/// A name for this run that no other has, here or on another machine.
pub(super) fn run_id() -> String {
    format!("{}-{}", Utc::now().format("%Y%m%dT%H%M%S%6fZ"), std::process::id())
}

/// Run a future that starts processes and reads them.
pub(super) fn execute<T>(future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::failure)?;
    runtime.block_on(future)
}

/// What a session is opened with.
pub(super) struct Opening<'a> {
    pub(super) concurrency: usize,
    pub(super) settings: &'a Settings,
    pub(super) commands: &'a Commands,
    pub(super) test_args: &'a [String],
    pub(super) run_id: &'a str,
    /// Where journals are; nothing without a repository.
    pub(super) journal: Option<&'a Path>,
    /// Kept instances are used before others are made: the one of this id, or, where that is empty, any.
    pub(super) reuse: Option<&'a str>,
}

impl Opening<'_> {
    /// A session on the configured callouts.
    pub(super) fn session(self, signals: Signals, report: Report, abandon: Abandon) -> Result<Session, Error> {
        let program = std::env::current_exe().map_err(Error::failure)?;
        let about = About::new(self.run_id, &program, self.commands);
        // Before there is a journal, which would be left behind.
        let mut reuse = self.reusable(&about)?;
        let created = self.journal.map(|dir| Journal::create(dir, &about)).transpose();
        let (journal, trouble) = match created {
            Ok(journal) => (journal, None),
            Err(error) => (None, Some(error)),
        };
        if journal.is_none() {
            reuse.clear();
        }
        let collected = self.journal.and_then(Path::parent).unwrap_or(Path::new(".testrepository/regatta"));
        let surroundings = Surroundings {
            run_id: self.run_id.to_owned(),
            program,
            lease: journal.as_ref().map(|journal| journal.lease().to_path_buf()),
            collection: collected.join("collected").join(self.run_id),
            keep_for: self.settings.keep_for,
        };
        let session = Session::new(Setup {
            concurrency: self.concurrency,
            settings: self.settings.clone(),
            instances: Box::new(Callouts::new(self.commands, surroundings)),
            command: TestCommand::new(self.commands, self.test_args),
            signals,
            sink: Box::new(report),
            abandon,
            journal,
            reuse,
        });
        if let (Some(error), true) = (trouble, self.commands.instance_provision.is_some()) {
            let text = format!("{error}; should regatta die, instances are left behind");
            session.tell(RunEvent::Note { text });
        }
        Ok(session)
    }

    /// The kept instances that are to be used before others are made.
    fn reusable(&self, about: &About) -> Result<Vec<Reusable>, Error> {
        let (Some(id), Some(dir)) = (self.reuse, self.journal) else { return Ok(Vec::new()) };
        let mut kept = reusable(dir, about).map_err(Error::failure)?;
        kept.retain(|kept| id.is_empty() || kept.id == id);
        if kept.is_empty() && !id.is_empty() {
            let said = format!("no instance {id:?} is kept by a run with these callouts");
            return Err(Error::failure(said).hint("see which there are: regatta instances list"));
        }
        kept.truncate(self.concurrency);
        Ok(kept)
    }
}

/// Give the instances back, whatever came before, and say how it all ended.
pub(super) async fn close(mut session: Session, result: Result<Exit, Error>) -> Result<Exit, Error> {
    let closed = session.close().await.map_err(Error::from);
    if let Some(interrupt) = session.interrupt() {
        let errors = [result.err(), closed.err()].into_iter().flatten().filter(|error| !error.is_interruption());
        // Through the session, whose stderr can be given up when nobody reads it.
        for text in std::iter::once("interrupted".to_owned()).chain(errors.map(|error| error.to_string())) {
            session.tell(RunEvent::Note { text });
        }
        return Ok(Exit::Signalled(interrupt.number()));
    }
    // What waits for the sinks is written before anything else is said.
    drop(session);
    match (result, closed) {
        (Ok(exit), closed) => closed.map(|()| exit),
        (Err(error), closed) => Err(error.and(closed.err())),
    }
}
