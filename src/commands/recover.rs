//! What commands do first: see to runs whose regatta is gone.
//!
//! Every command that opens the repository recovers the results of such runs ([`results`]), since they are part of what
//! it shows. `run`, `load` and `instances` also end what still runs and give instances back ([`clean_up`]); the others
//! say that there is something to give back ([`results_and_warning`]). Nothing here makes a command fail: what goes
//! wrong is said.

use chrono::Local;

use crate::error::Error;
use crate::event::Stamp;
use crate::report::note;
use crate::repository::Repository;
use crate::run::journal::{Header, JournalError};
use crate::run::recovery::{Abandoned, Cleaned, Origin, Which, abandoned};
use crate::run::signals::{Interrupt, Signals};

/// How far to go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach<'a> {
    /// Which instances are given back.
    pub(super) which: Which<'a>,
    /// Also those of other machines, and of this one before it was started.
    pub(super) force: bool,
    /// What cannot be given back is given up.
    pub(super) forget: bool,
}

impl Reach<'_> {
    /// What nobody has to ask for.
    pub(super) const DUE: Self = Self { which: Which::Due, force: false, forget: false };
}

/// Store the results of runs that were cut short.
pub(super) fn results(repository: &Repository) {
    for mut dead in find(repository) {
        recover(repository, &mut dead, false);
    }
}

/// The same, and say which instances are left.
pub(super) fn results_and_warning(repository: &Repository) {
    for mut dead in find(repository) {
        recover(repository, &mut dead, false);
        warn(&dead);
    }
}

/// End what still runs, and give instances back. Results are stored before, by [`results`]. False when something is left
/// that should not be.
///
/// # Errors
/// With the signal that came.
pub(super) async fn clean_up(
    repository: &Repository,
    reach: Reach<'_>,
    signals: &mut Signals,
) -> Result<bool, Interrupt> {
    let mut is_clean = true;
    for mut dead in find(repository) {
        if dead.origin() == Origin::Here || reach.force {
            recover(repository, &mut dead, reach.force);
            let cleaned = dead.clean_up(reach.which, signals).await?;
            is_clean &= cleaned.left.is_empty() || reach.forget;
            tell(&dead, &cleaned);
            if reach.forget && !cleaned.left.is_empty() {
                complain(dead.forget(&cleaned.left).err().as_slice());
                note(&format!("{} forgotten, and may still be there", are(&cleaned.left)));
            }
        } else {
            is_clean &= dead.due().is_empty();
            warn(&dead);
        }
    }
    Ok(is_clean)
}

/// [`results`] and [`clean_up`], for a command that has no other use for signals: one ends it as ever, and what it has
/// not got round to is for the next command.
pub(super) fn all(repository: &Repository) -> Result<(), Error> {
    results(repository);
    super::session::execute(async {
        // No signal comes out of none.
        let _ = clean_up(repository, Reach::DUE, &mut Signals::none()).await;
        Ok(())
    })
}

/// Dead runs; none where there is no way to know.
pub(super) fn find(repository: &Repository) -> Vec<Abandoned> {
    abandoned(&repository.journal()).unwrap_or_else(|error| {
        note(&error.to_string());
        Vec::new()
    })
}

/// Store the results of a run that was cut short. Another machine's may not be dead, for all we know.
fn recover(repository: &Repository, dead: &mut Abandoned, force: bool) {
    if !dead.was_cut_short() || (dead.origin() == Origin::OtherHost && !force) {
        return;
    }
    let what = match repository.recover(&dead.header().run) {
        Ok(Some(id)) => format!("results recovered as run {id}"),
        Ok(None) => "it left no results".to_owned(),
        Err(error) => {
            note(&format!("{} was cut short: {}", name(dead.header()), Error::from(error)));
            return;
        }
    };
    note(&format!("{} was cut short: {what}", name(dead.header())));
    complain(dead.results_are_safe().err().as_slice());
}

/// Say what was done.
fn tell(dead: &Abandoned, cleaned: &Cleaned) {
    let mut done = Vec::new();
    match cleaned.ended {
        0 => {}
        1 => done.push("ended a callout that still ran".to_owned()),
        n => done.push(format!("ended {n} callouts that still ran")),
    }
    if !cleaned.disposed.is_empty() {
        done.push(format!("disposed of {}", cleaned.disposed.join(" ")));
    }
    if !cleaned.dropped.is_empty() {
        done.push(format!("there is no instance_dispose for {}", cleaned.dropped.join(" ")));
    }
    if !done.is_empty() {
        note(&format!("{}: {}", name(dead.header()), done.join("; ")));
    }
    if let Some(failure) = &cleaned.failure {
        note(&format!(
            "{} still there, of {}: {failure}\n  in: {}\n  hint: `regatta instances gc` tries again, \
             `regatta instances gc --forget` gives them up",
            are(&cleaned.left),
            name(dead.header()),
            dead.header().directory.display(),
        ));
    }
    complain(&cleaned.troubles);
}

/// Say what is left.
fn warn(dead: &Abandoned) {
    let left: Vec<String> = dead.due().into_iter().collect();
    if left.is_empty() {
        return;
    }
    let (place, option) = match dead.origin() {
        Origin::Here => (String::new(), ""),
        Origin::OtherBoot => (", from before this machine was started".to_owned(), " --force"),
        Origin::OtherHost => (format!(", on {}", dead.header().host), " --force"),
    };
    note(&format!(
        "{} left behind by {}{place}; `regatta instances gc{option}` disposes of {}",
        are(&left),
        name(dead.header()),
        if left.len() == 1 { "it" } else { "them" },
    ));
}

fn complain(errors: &[JournalError]) {
    for error in errors {
        note(&error.to_string());
    }
}

/// `the run 20260301T100000000000Z-77 of 2026-03-01 11:00:00`
fn name(header: &Header) -> String {
    format!("the run {} of {}", header.run, local(header.at))
}

/// A moment as people here write it.
pub(super) fn local(at: Stamp) -> String {
    at.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S").to_string()
}

/// `i1 i2 are`
fn are(ids: &[String]) -> String {
    format!("{} {}", ids.join(" "), if ids.len() == 1 { "is" } else { "are" })
}
