//! `stats`: how many runs there are.

use super::{Context, Exit, print};
use crate::error::Error;

pub(super) fn stats(context: &Context) -> Result<Exit, Error> {
    print(&format!("runs={}\n", context.repository_to_show()?.count()?))
}
