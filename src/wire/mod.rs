//! Bytes to events and events to bytes: subunit v2 from and to runners, subunit v1 text in stored runs.  (pure)
//!
//! What comes from an instance is hostile until it was checked here: every bound, every length, every string. Nothing
//! in this room opens, waits or reads a clock; it is handed bytes and gives events back, or the other way round.
//!
//! - [`Scanner`] finds packets in a stream that may hold anything, and makes [`TestEvent`]s of them without a copy;
//! - [`forward`] writes an event's own packet again, with other tags and another route code;
//! - [`encode`] writes an event of ours;
//! - [`v1`] is the text in which testr keeps runs.
//!
//! [`TestEvent`]: crate::event::TestEvent

mod crc;
mod doubtful;
mod encode;
mod forward;
mod number;
mod packet;
mod scan;
pub mod v1;

pub use encode::encode;
pub use forward::forward;
pub use packet::{Damage, Field};
pub use scan::{Item, Scanner, Within};

/// The byte that every v2 packet begins with.
pub const SIGNATURE: u8 = 0xB3;

/// The longest packet there can be, in bytes: a length has at most three bytes (subunit v2, "Packet length").
pub const MAX_PACKET: usize = 0x3F_FFFF;
