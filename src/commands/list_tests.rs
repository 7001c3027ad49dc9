//! `list-tests`: what the runner says there is, on an instance.

use super::run::text_listing;
use super::session::{Opening, close, execute, open_output, run_id};
use super::{Context, Exit};
use crate::cli::ListTests;
use crate::config::{Commands, Settings};
use crate::error::Error;
use crate::event::{RunEvent, Sink};
use crate::report::{Report, Text};
use crate::run::Session;
use crate::run::signals::Signals;
use crate::test_id::Filters;

pub(super) fn list_tests(context: &Context, args: &ListTests) -> Result<Exit, Error> {
    let config = context.config()?;
    let commands = Commands::from_config(&config)?;
    let settings = Settings::new(&config, &[])?;
    commands.require_listing(&commands.test_template(&args.selection.test_args))?;
    // testr lists without a repository, too.
    let _ = context.repository_to_show();
    let (stdout, stderr, abandon) = open_output();
    let sinks: Vec<Box<dyn Sink>> = vec![Box::new(Text::new(stdout, context.quiet)), Box::new(stderr)];
    let report = Report::new(sinks, config.filter_tags()?);
    execute(async {
        let signals = Signals::catch().map_err(Error::failure)?;
        // It needs no repository, and has no journal without one.
        let journal = context.repository().ok().map(|repository| repository.journal());
        let opening = Opening {
            concurrency: 1,
            settings: &settings,
            commands: &commands,
            test_args: &args.selection.test_args,
            run_id: &run_id(),
            journal: journal.as_deref(),
            reuse: None,
        };
        let mut session = opening.session(signals, report, abandon)?;
        let listed = list(&mut session, &args.selection.filters).await;
        close(session, listed).await
    })
}

async fn list(session: &mut Session, filters: &[String]) -> Result<Exit, Error> {
    let listing = session.list().await?;
    if let Some(error) = text_listing(&listing) {
        return Err(error);
    }
    let ids = match Filters::new(filters)? {
        Some(filters) => filters.apply(listing.ids)?,
        None => listing.ids,
    };
    let text: String = ids.iter().map(|id| format!("{id}\n")).collect();
    session.tell(RunEvent::Print { bytes: text.into() });
    Ok(Exit::Passed)
}
