//! `run`: decide what is to run, in which rounds, and run it on instances.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use super::analyze::analyze;
use super::recover::{self, Reach};
use super::session::{Abandon, Opening, execute, open_output, run_id};
use super::{Context, Exit, concurrency};
use crate::cli::Run;
use crate::config::{Commands, Config, NoTests, Schedule, Settings};
use crate::error::Error;
use crate::event::{RunEvent, Sink};
use crate::report::{Packets, Record, Report, Text};
use crate::repository::Repository;
use crate::run::signals::Signals;
use crate::run::supervisor::Work;
use crate::run::{Listing, Session};
use crate::schedule::{Queue, Suite, partition};
use crate::test_id::{Filters, Groups, TestId, parse_list};

pub(super) fn run(context: &Context, args: &Run) -> Result<Exit, Error> {
    // A mistyped option is found before anything is looked at.
    let options = args.settings.said();
    Settings::default().apply(&options)?;
    let repository = context.repository_or_init(args.force_init)?;
    recover::results(&repository);
    let known = known_ids(&repository, args)?;
    let config = context.config()?;
    let commands = Commands::from_config(&config)?;
    let settings = Settings { schedule: usual_schedule(), ..Settings::default() }.with(&config, &options)?;
    let groups = commands.group_regex.as_deref().map(Groups::new).transpose()?.flatten();
    let run_id = run_id();
    let (report, abandon) = report(context, args, &repository, &config, &run_id)?;
    let journal_dir = repository.journal();
    execute(async {
        let mut signals = Signals::catch().map_err(Error::failure)?;
        if let Err(interrupt) = recover::clean_up(&repository, Reach::DUE, &mut signals).await {
            return Ok(Exit::Signalled(interrupt.number()));
        }
        let decided =
            if args.parallel { concurrency::decide(args.concurrency, &config, &mut signals).await? } else { Ok(1) };
        let concurrency = match decided {
            Ok(concurrency) => concurrency,
            Err(interrupt) => return Ok(Exit::Signalled(interrupt.number())),
        };
        let selection = Selection {
            args,
            settings: &settings,
            commands: &commands,
            repository: &repository,
            groups,
            known,
            concurrency,
        };
        selection.require_listing()?;
        let opening = Opening {
            concurrency,
            settings: &settings,
            commands: &commands,
            test_args: &args.selection.test_args,
            run_id: &run_id,
            journal: Some(&journal_dir),
            reuse: args.reuse.as_deref(),
        };
        let mut session = opening.session(signals, report, abandon)?;
        if let Some(times) = repository.unsupported_times() {
            session.tell(RunEvent::Note { text: times.to_string() });
        }
        let result = selection.run(&mut session).await;
        super::session::close(session, result).await
    })
}

/// Who types `testr` wants testr's own split.
fn usual_schedule() -> Schedule {
    let program = std::env::args_os().next().unwrap_or_default();
    if Path::new(&program).file_name() == Some(OsStr::new("testr")) { Schedule::Static } else { Schedule::Dynamic }
}

/// The report of a run, and what gives up whoever reads stdout and stderr and has stalled.
fn report(
    context: &Context,
    args: &Run,
    repository: &Repository,
    config: &Config,
    run_id: &str,
) -> Result<(Report, Abandon), Error> {
    let (stdout, stderr, abandon) = open_output();
    let out: Box<dyn Sink> =
        if args.subunit { Box::new(Packets::new(stdout)) } else { Box::new(Text::new(stdout, context.quiet)) };
    // The record comes after what stores the run and gives it its number.
    let record = Record::new(repository.record_path(run_id));
    let sinks: Vec<Box<dyn Sink>> =
        vec![Box::new(repository.inserter(run_id)), out, Box::new(stderr), Box::new(record)];
    Ok((Report::new(sinks, config.filter_tags()?), abandon))
}

/// The ids that need no listing: those that fail, those in a file, or, with both, those in both.
fn known_ids(repository: &Repository, args: &Run) -> Result<Option<Vec<TestId>>, Error> {
    let failing = (args.failing || args.analyze_isolation).then(|| repository.failing_ids()).transpose()?;
    let Some(path) = &args.load_list else { return Ok(failing) };
    let listed = read_list(path)?;
    Ok(Some(match failing {
        None => listed,
        Some(failing) => {
            let failing: HashSet<TestId> = failing.into_iter().collect();
            listed.into_iter().filter(|id| failing.contains(id)).collect()
        }
    }))
}

/// Read a file with one id a line.
pub(super) fn read_list(path: &Path) -> Result<Vec<TestId>, Error> {
    let unreadable = |error: &dyn std::error::Error| {
        Error::failure(format!("cannot read the list of tests {}: {error}", path.display()))
    };
    let bytes = std::fs::read(path).map_err(|error| unreadable(&error))?;
    parse_list(&bytes).map_err(|error| unreadable(&error))
}

/// Which tests, and in which rounds.
struct Selection<'a> {
    args: &'a Run,
    settings: &'a Settings,
    commands: &'a Commands,
    repository: &'a Repository,
    groups: Option<Groups>,
    known: Option<Vec<TestId>>,
    concurrency: usize,
}

impl Selection<'_> {
    /// Whether the runner has to be asked which tests there are. A serial run of all tests lets it decide.
    fn needs_listing(&self) -> bool {
        let filtered = !self.args.selection.filters.is_empty();
        self.known.is_none() && (self.concurrency > 1 || filtered || self.args.isolated)
    }

    /// Found out before instances are made for nothing.
    fn require_listing(&self) -> Result<(), Error> {
        if self.needs_listing() {
            self.commands.require_listing(&self.commands.test_template(&self.args.selection.test_args))?;
        }
        Ok(())
    }

    async fn run(mut self, session: &mut Session) -> Result<Exit, Error> {
        let ids = self.ids(session).await?;
        if self.args.analyze_isolation {
            return analyze(session, self.repository, ids.unwrap_or_default()).await;
        }
        let partial = self.args.partial || self.args.failing || self.args.isolated;
        let mut exit = Exit::Passed;
        loop {
            // Each time anew, as in testr: by now there are times of the round before.
            let rounds = self.rounds(ids.clone())?;
            let is_empty = rounds.iter().all(|work| work.tests.as_ref().is_some_and(|(_, queue)| queue.is_empty()));
            for round in rounds {
                let end = session.run(round, partial).await?;
                if Exit::of(&end.counts) == Exit::Failed {
                    exit = Exit::Failed;
                }
                if session.interrupt().is_some() || (self.args.until_failure && exit == Exit::Failed) {
                    return Ok(self.status(exit));
                }
            }
            // Without a test no round will ever fail.
            if !self.args.until_failure || is_empty {
                return Ok(self.status(exit));
            }
        }
    }

    /// With `--subunit` the stream says what failed.
    fn status(&self, exit: Exit) -> Exit {
        if self.args.subunit { Exit::Passed } else { exit }
    }

    /// Whether the ids are the words of `test_id_list_default`: arguments of the runner, as a rule, and no tests.
    fn ids_are_defaults(&self) -> bool {
        !self.args.failing && self.args.load_list.is_none() && !self.needs_listing()
    }

    /// The ids to run; nothing when the runner decides.
    async fn ids(&mut self, session: &mut Session) -> Result<Option<Vec<TestId>>, Error> {
        let ids = match self.known.take() {
            Some(known) => known,
            None if self.needs_listing() => self.listed(session).await?,
            None => match &self.commands.test_id_list_default {
                Some(ids) if !ids.is_empty() => ids.split_whitespace().map(TestId::from).collect(),
                _ => return Ok(None),
            },
        };
        // Only now, as in testr: a bad pattern is found after the listing.
        Ok(Some(match Filters::new(&self.args.selection.filters)? {
            Some(filters) => filters.apply(ids)?,
            None => ids,
        }))
    }

    async fn listed(&self, session: &mut Session) -> Result<Vec<TestId>, Error> {
        let listing = session.list().await?;
        let filtered = !self.args.selection.filters.is_empty();
        if listing.ids.is_empty() && !filtered && self.settings.no_tests == NoTests::Fail {
            return Err(text_listing(&listing).unwrap_or_else(|| {
                Error::failure("the listing has no tests").hint("if that is as it should be, say --no-tests=pass")
            }));
        }
        Ok(listing.ids)
    }

    /// The work of each round.
    fn rounds(&self, ids: Option<Vec<TestId>>) -> Result<Vec<Work>, Error> {
        let is_last = !self.args.until_failure;
        let Some(ids) = ids else { return Ok(vec![Work::new(None, is_last)]) };
        if self.args.isolated {
            let count = ids.len();
            let work = |(n, id)| one_batch(vec![id], is_last && n + 1 == count);
            return ids.into_iter().enumerate().map(work).collect();
        }
        let suite = Suite::new(ids, self.groups.as_ref())?;
        let queue = match self.settings.schedule {
            Schedule::Dynamic if self.concurrency == 1 => Queue::whole(suite.grouped(suite.tests())),
            Schedule::Dynamic => Queue::by_group(suite.grouped(suite.tests())),
            Schedule::Static if self.concurrency == 1 => Queue::fixed(vec![suite.tests().collect()]),
            Schedule::Static => {
                let times = self.repository.times(suite.ids())?;
                Queue::fixed(partition(&suite, self.concurrency, &times))
            }
        };
        let is_accounted = !self.ids_are_defaults();
        Ok(vec![Work { is_accounted, ..Work::new(Some((Arc::new(suite), queue)), is_last) }])
    }
}

/// One run, on one worker, in this order.
pub(super) fn one_batch(ids: Vec<TestId>, is_last: bool) -> Result<Work, Error> {
    let suite = Suite::new(ids, None)?;
    let queue = Queue::fixed(vec![suite.tests().collect()]);
    Ok(Work::new(Some((Arc::new(suite), queue)), is_last))
}

/// What is wrong with a listing that is no subunit, but lines.
pub(super) fn text_listing(listing: &Listing) -> Option<Error> {
    let text = listing.text();
    let first = text.trim().lines().next()?;
    listing.ids.is_empty().then(|| {
        Error::failure(format!("the listing has no tests, but text; it begins: {first:?}"))
            .hint("the test command has to list its tests as a subunit v2 stream")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Verb, typed};

    fn said(line: &str) -> Vec<(&'static str, String)> {
        match typed(line).verb {
            Some(Verb::Run(run)) => run.settings.said(),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn every_setting_has_an_option() {
        let words = Settings::keys().map(|key| format!(" --{}=1", key.replace('_', "-")));
        let mut all = said(&format!("run{}", words.collect::<String>()));
        all.sort();
        let mut keys: Vec<_> = Settings::keys().map(|key| (key, "1".to_owned())).collect();
        keys.sort();
        assert_eq!(all, keys);
        assert_eq!(said("run --fail-fast"), [("max_fail", "1".to_owned())]);
    }
}
