//! `init`: make a repository.

use super::{Context, Exit};
use crate::error::Error;
use crate::repository::Repository;

pub(super) fn init(context: &Context) -> Result<Exit, Error> {
    Repository::init(&context.here)?;
    Ok(Exit::Passed)
}
