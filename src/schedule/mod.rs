//! Which tests run together, and where.  (pure)
//!
//! [`partition`] is testr's own way: one batch for each worker, decided before the run from recorded times.
//! Called by [`crate::commands`]; the supervisor only hands out what is decided here.

mod partition;

pub use partition::partition;

use std::sync::Arc;

use crate::test_id::TestId;

/// The ids that one execute callout is given, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The ids; nothing when the runner itself decides what there is to run (a serial run).
    pub tests: Option<Arc<[TestId]>>,
}
