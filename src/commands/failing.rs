//! `failing`: the tests that fail as far as is known.

use super::{Context, Exit, print, replay, stream};
use crate::cli::Failing;
use crate::error::Error;
use crate::report::{Report, Stdout, Text};

pub(super) fn failing(context: &Context, args: &Failing) -> Result<Exit, Error> {
    let repository = context.repository_to_show()?;
    if args.subunit {
        return stream(repository.failing()?);
    }
    if args.list {
        let ids = repository.failing_ids()?;
        print(&ids.iter().map(|id| format!("{id}\n")).collect::<String>())?;
        return Ok(if ids.is_empty() { Exit::Passed } else { Exit::Failed });
    }
    let filter_tags = context.config()?.filter_tags()?;
    let id = repository.latest_id()?;
    let text = Text::new(Stdout::open(), context.quiet);
    let mut report = Report::new(vec![Box::new(text)], filter_tags);
    let counts = replay(repository.failing()?, &mut report, Some(id), None)?;
    Ok(Exit::of(&counts))
}
