//! `help`, of a command or in general, and `commands`, which lists them.

use super::{Exit, print};
use crate::cli;
use crate::error::{Error, Kind};
use crate::report::table;

pub(super) fn help(command: Option<&str>) -> Result<Exit, Error> {
    let unknown = || {
        let said = format!("there is no command {:?}", command.unwrap_or_default());
        Error::new(Kind::Usage, said).hint("`regatta commands` lists them")
    };
    print(&cli::help(command).ok_or_else(unknown)?)
}

pub(super) fn commands() -> Result<Exit, Error> {
    let heading = vec!["command".to_owned(), "description".to_owned()];
    let rows = cli::commands().into_iter().map(|(name, about)| vec![name, about]);
    print(&table::format(&std::iter::once(heading).chain(rows).collect::<Vec<_>>()))
}
