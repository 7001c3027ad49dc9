//! `load`: streams from files or standard input, stored as if they had been run.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use chrono::Utc;

use super::session::run_id;
use super::{Context, Exit, recover};
use crate::cli::Load;
use crate::error::{Error, Kind};
use crate::event::Counts;
use crate::event::{Pause, RunEnd, RunEvent, Sink, WorkerId};
use crate::merge::Merge;
use crate::report::{Packets, Record, Report, Stderr, Stdout, Text};
use crate::run::journal::{About, Journal};
use crate::wire::{Item, Scanner};

/// How much is read at once.
const READ_SIZE: usize = 256 * 1024;

pub(super) fn load(context: &Context, args: &Load) -> Result<Exit, Error> {
    let streams = args.streams.iter().map(|path| open(path)).collect::<Result<Vec<_>, _>>()?;
    let repository = context.repository_or_init(args.force_init)?;
    recover::all(&repository)?;
    let out: Box<dyn Sink> = if args.subunit {
        Box::new(Packets::new(Stdout::open()))
    } else {
        Box::new(Text::new(Stdout::open(), context.quiet))
    };
    let filter_tags = if args.subunit { Default::default() } else { context.config()?.filter_tags()? };
    let run = run_id();
    // Says that its results are being written: should we die, another command stores them.
    let journal = Journal::create(&repository.journal(), &About::without_callouts(&run)).ok();
    let record = Record::new(repository.record_path(&run));
    let sinks: Vec<Box<dyn Sink>> =
        vec![Box::new(repository.inserter(&run)), out, Box::new(Stderr::open()), Box::new(record)];
    let mut report = Report::new(sinks, filter_tags);
    report.event(&RunEvent::RunStarted { at: Utc::now(), retries: false })?;
    let mut merge = Merge::default();
    if args.streams.is_empty() {
        load_stream(WorkerId(0), io::stdin().lock(), &mut merge, &mut report)?;
    }
    for (n, (path, stream)) in (0..).zip(args.streams.iter().zip(streams)) {
        load_stream(WorkerId(n), stream, &mut merge, &mut report)
            .map_err(|e| e.hint(format!("in {}", path.display())))?;
    }
    let mut end = RunEnd {
        at: Utc::now(),
        partial: args.partial,
        interrupted: false,
        id: None,
        previous: None,
        counts: Counts::default(),
    };
    report.finish(&mut end)?;
    report.pause(Pause::End)?;
    journal.map_or(Ok(()), Journal::close).map_err(Error::failure)?;
    Ok(if args.subunit { Exit::Passed } else { Exit::of(&end.counts) })
}

fn open(path: &Path) -> Result<File, Error> {
    File::open(path).map_err(|error| Error::new(Kind::Argument, format!("cannot read {}: {error}", path.display())))
}

/// A stream is a worker of its own. The end of its file is its end, and a good one.
fn load_stream(worker: WorkerId, mut stream: impl Read, merge: &mut Merge, report: &mut Report) -> Result<(), Error> {
    let mut scanner = Scanner::new();
    let mut items = Vec::new();
    let mut buffer = vec![0; READ_SIZE];
    merge.start(worker, None);
    loop {
        let read = match stream.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read.map_err(Error::failure)?,
        };
        if read == 0 {
            break;
        }
        scanner.feed(&buffer[..read], &mut items);
        pass(worker, &mut items, merge, report)?;
        report.pause(Pause::Idle)?;
    }
    scanner.finish(&mut items);
    pass(worker, &mut items, merge, report)?;
    let mut events = Vec::new();
    merge.close(worker, false, &mut events);
    events.iter().try_for_each(|event| report.event(event))?;
    Ok(())
}

fn pass(worker: WorkerId, items: &mut Vec<Item>, merge: &mut Merge, report: &mut Report) -> Result<(), Error> {
    let mut events = Vec::with_capacity(items.len());
    for item in items.drain(..) {
        // Nothing here takes too long.
        merge.item(worker, item, Utc::now(), Duration::ZERO, &mut events);
    }
    events.iter().try_for_each(|event| report.event(event))?;
    Ok(())
}
