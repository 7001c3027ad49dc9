//! `instances`: those that are in use, kept or left behind, for a person to look at and to give back.
//!
//! What is done with an instance is done as its run did: with the lines of its journal, in its directory.

use std::os::unix::process::CommandExt;
use std::path::Path;

use serde::Serialize;

use super::recover::{self, Reach, local};
use super::{Context, Exit, print};
use crate::cli::{Instances, InstancesVerb};
use crate::error::Error;
use crate::event::Stamp;
use crate::report::table;
use crate::repository::Repository;
use crate::run::journal::{Header, Held, Standing};
use crate::run::recovery::{self, Line, Lines, Origin, Which};
use crate::run::signals::Signals;

pub(super) fn instances(context: &Context, args: &Instances) -> Result<Exit, Error> {
    let repository = context.repository()?;
    recover::results(&repository);
    match &args.verb {
        None => list(&repository, false),
        Some(InstancesVerb::List { json }) => list(&repository, *json),
        // What a person wants to look into is not given back first.
        Some(InstancesVerb::Shell { id }) => {
            become_line(&repository, id, "instance_shell", |lines, held| lines.shell(id, held))
        }
        Some(InstancesVerb::Exec { id, command }) => {
            let command = shell_words::join(command);
            become_line(&repository, id, "instance_execute", |lines, held| lines.execute(id, held, &command))
        }
        Some(InstancesVerb::Collect { id, dest }) => collect(&repository, id, dest),
        Some(InstancesVerb::Dispose { ids, all, force }) => dispose(&repository, ids, *all, *force),
        Some(InstancesVerb::Gc { force, forget }) => {
            clean_up(&repository, Reach { which: Which::Due, force: *force, forget: *forget })
        }
    }
}

/// An instance and its run.
struct Found {
    id: String,
    held: Held,
    header: Header,
    /// Where its regatta was; nothing while that lives, or another one is giving instances back right now.
    origin: Option<Origin>,
}

impl Found {
    /// One that nobody uses, gave back, or said to keep is an orphan, whatever its journal says.
    fn state(&self) -> &'static str {
        match self.held.standing {
            Standing::Live if self.origin.is_none() => "live",
            Standing::Live | Standing::Orphan => "orphan",
            Standing::Kept(_) => "kept",
        }
    }

    fn until(&self) -> Option<Stamp> {
        match self.held.standing {
            Standing::Kept(until) => Some(until),
            Standing::Live | Standing::Orphan => None,
        }
    }
}

/// All instances, the oldest runs' first.
fn find(repository: &Repository) -> Vec<Found> {
    let dead = recover::find(repository);
    let dead: Vec<_> = dead.iter().map(|dead| (&dead.header().run, dead.origin())).collect();
    let mut found = Vec::new();
    for (header, state) in recovery::all(&repository.journal()) {
        let origin = dead.iter().find(|(run, _)| **run == header.run).map(|(_, origin)| *origin);
        let mut instances: Vec<_> = state.instances.into_iter().collect();
        instances.sort_by_key(|(_, held)| held.index);
        found.extend(instances.into_iter().map(|(id, held)| Found { id, held, header: header.clone(), origin }));
    }
    found
}

fn list(repository: &Repository, json: bool) -> Result<Exit, Error> {
    if let exit @ Exit::Signalled(_) = clean_up_what_is_due(repository)? {
        return Ok(exit);
    }
    let found = find(repository);
    if json {
        let rows: Vec<_> = found.iter().map(Row::of).collect();
        return print(&(serde_json::to_string_pretty(&rows).map_err(Error::failure)? + "\n"));
    }
    if found.is_empty() {
        return Ok(Exit::Passed);
    }
    let heading = ["Instance", "State", "Run", "Host", "Since", "Until"].map(str::to_owned).to_vec();
    let rows = found.iter().map(|found| {
        vec![
            found.id.clone(),
            found.state().to_owned(),
            found.header.run.clone(),
            found.header.host.clone(),
            local(found.held.since),
            found.until().map(local).unwrap_or_default(),
        ]
    });
    let table = table::format(&std::iter::once(heading).chain(rows).collect::<Vec<_>>());
    print(&table.lines().map(|line| format!("{}\n", line.trim_end())).collect::<String>())
}

/// What a program is told of an instance.
#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    state: &'static str,
    run: &'a str,
    host: &'a str,
    since: Stamp,
    until: Option<Stamp>,
}

impl<'a> Row<'a> {
    fn of(found: &'a Found) -> Self {
        let Found { id, held, header, .. } = found;
        Self { id, state: found.state(), run: &header.run, host: &header.host, since: held.since, until: found.until() }
    }
}

fn collect(repository: &Repository, id: &str, dest: &Path) -> Result<Exit, Error> {
    let unusable = |error| Error::failure(format!("cannot make the directory {}: {error}", dest.display()));
    // The line runs in the directory of its run, not here.
    let dest = std::path::absolute(dest).map_err(unusable)?;
    std::fs::create_dir_all(&dest).map_err(unusable)?;
    let name = dest.to_string_lossy();
    become_line(repository, id, "instance_collect", |lines, held| lines.collect(id, held, &name))
}

/// Become the callout: it has the terminal, the signals and the exit status as if it had been typed.
fn become_line(
    repository: &Repository,
    id: &str,
    key: &'static str,
    line: impl for<'l> FnOnce(Lines<'l>, &Held) -> Option<Line<'l>>,
) -> Result<Exit, Error> {
    // Names may come again; the last run with such an instance is what is meant.
    let found = find(repository).into_iter().rfind(|found| found.id == id).ok_or_else(|| unknown(id))?;
    let dir = repository.journal();
    let line = line(Lines::new(&found.header, &dir), &found.held).ok_or_else(|| {
        Error::failure(format!("the run of {id} had no {key}")).hint(format!("set {key} in .testr.conf"))
    })?;
    let directory = &found.header.directory;
    if !directory.is_dir() {
        return Err(Error::failure(format!("the directory of its run is not there: {}", directory.display())));
    }
    let error = line.command().exec();
    Err(Error::failure(format!("cannot run {key}: {error}\n  line: {}", line.text)))
}

fn unknown(id: &str) -> Error {
    Error::failure(format!("there is no instance {id:?}")).hint("`regatta instances list` shows those that there are")
}

fn dispose(repository: &Repository, ids: &[String], all: bool, force: bool) -> Result<Exit, Error> {
    if all {
        return clean_up(repository, Reach { which: Which::All, force, forget: false });
    }
    let found = find(repository);
    for id in ids {
        let of_id: Vec<_> = found.iter().filter(|found| found.id == *id).collect();
        if of_id.is_empty() {
            return Err(unknown(id));
        }
        if let Some(used) = of_id.iter().find(|found| found.origin.is_none()) {
            return Err(Error::failure(format!("{id} is in use by the run {}", used.header.run))
                .hint("it is given back when that run ends"));
        }
        if let Some(far) = of_id.iter().find(|found| found.origin != Some(Origin::Here) && !force) {
            let host = &far.header.host;
            return Err(Error::failure(format!("{id} was left by {host}, or by this machine before it was started"))
                .hint("--force disposes of it all the same"));
        }
    }
    clean_up(repository, Reach { which: Which::Named(ids), force, forget: false })
}

fn clean_up_what_is_due(repository: &Repository) -> Result<Exit, Error> {
    super::session::execute(async {
        let mut signals = Signals::catch().map_err(Error::failure)?;
        let cleaned = recover::clean_up(repository, Reach::DUE, &mut signals).await;
        Ok(cleaned.map_or_else(|interrupt| Exit::Signalled(interrupt.number()), |_| Exit::Passed))
    })
}

fn clean_up(repository: &Repository, reach: Reach<'_>) -> Result<Exit, Error> {
    super::session::execute(async {
        let mut signals = Signals::catch().map_err(Error::failure)?;
        match recover::clean_up(repository, reach, &mut signals).await {
            Err(interrupt) => Ok(Exit::Signalled(interrupt.number())),
            Ok(true) => Ok(Exit::Passed),
            Ok(false) => Err(Error::failure("some instances are still there")),
        }
    })
}
