//! `last`: show the last run again.

use super::{Context, Exit, replay, stream};
use crate::cli::Last;
use crate::error::Error;
use crate::report::{Report, Stdout, Text};

pub(super) fn last(context: &Context, args: &Last) -> Result<Exit, Error> {
    let repository = context.repository_to_show()?;
    let id = repository.latest_id()?;
    let run = repository.run(id)?;
    if args.subunit {
        return stream(run);
    }
    let filter_tags = context.config()?.filter_tags()?;
    let previous = id.checked_sub(1).and_then(|previous| repository.counts(previous).ok());
    let text = Text::new(Stdout::open(), context.quiet);
    let counts = replay(run, &mut Report::new(vec![Box::new(text)], filter_tags), Some(id), previous)?;
    Ok(Exit::of(&counts))
}
