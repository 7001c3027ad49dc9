//! `slowest`: the tests of the last run that take longest, as far as times are recorded.

use super::{Context, Exit, print};
use crate::cli::Slowest;
use crate::error::Error;
use crate::event::Status;
use crate::report::table;
use crate::test_id::TestId;

/// How many are shown unless all are asked for.
const SHOWN: usize = 10;

pub(super) fn slowest(context: &Context, args: &Slowest) -> Result<Exit, Error> {
    let repository = context.repository_to_show()?;
    let mut ids = Vec::new();
    for event in repository.run(repository.latest_id()?)? {
        let event = event.map_err(Error::failure)?;
        ids.extend(event.id.filter(|_| event.status.is_some_and(Status::is_final)).map(|id| TestId::from(&*id)));
    }
    let mut times: Vec<_> = repository.times(&ids)?.into_iter().collect();
    times.sort_by(|(a_id, a), (b_id, b)| b.total_cmp(a).then_with(|| a_id.cmp(b_id)));
    if !args.all {
        times.truncate(SHOWN);
    }
    let Some((_, longest)) = times.first() else { return Ok(Exit::Passed) };
    let width = format!("{longest:.3}").len();
    let heading = vec!["Test id".to_owned(), "Runtime (s)".to_owned()];
    let rows = times.iter().map(|(id, seconds)| vec![id.to_string(), format!("{seconds:width$.3}")]);
    print(&table::format(&std::iter::once(heading).chain(rows).collect::<Vec<_>>()))
}
