//! Events of regatta's own, as subunit v2.
//!
//! Reads no clock: an event without a time stays without one. Called by the commands that print streams they did not
//! get from a worker, and by [`super::forward`] for events that never were a packet.

use subunit::serialize::Serializable;
use subunit::types::event::Event;
use subunit::types::teststatus::TestStatus;

use super::forward::{Parts, new_worker_tag, put_parts};
use crate::event::{Status, TestEvent};

/// Write `event` as one packet, or as several when a file's bytes do not fit one.
///
/// A time before 1970 or after 2106 cannot be said in subunit v2 and is left out. An event whose strings alone do not
/// fit a packet (an id of megabytes, from a foreign file) is written with each of them cut short.
pub fn encode(out: &mut Vec<u8>, event: &TestEvent) {
    // The crate writes a file's bytes one by one, so files are left to our own writer, which copies them at once.
    if event.file.is_none()
        && let Some(small) = small_event(event)
    {
        let start = out.len();
        if small.serialize(out).is_ok() {
            return;
        }
        out.truncate(start);
    }
    put_parts(out, &Parts::of_event(event, event.time));
}

/// The same event in the words of the crate `subunit`; nothing when it has no way to say it.
fn small_event(event: &TestEvent) -> Option<Event> {
    let mut small = Event::new(status(event.status)).build();
    small.test_id = event.id.as_deref().map(str::to_owned);
    if let Some(time) = event.time {
        small.timestamp = Some(time.try_into().ok()?);
    }
    let tags: Vec<String> = event.tags.iter().chain(new_worker_tag(event)).map(ToString::to_string).collect();
    small.tags = (!tags.is_empty()).then_some(tags);
    small.route_code = event.route.as_deref().map(str::to_owned);
    small.runnable = event.runnable;
    Some(small)
}

fn status(status: Option<Status>) -> TestStatus {
    match status {
        None => TestStatus::Undefined,
        Some(Status::Exists) => TestStatus::Enumeration,
        Some(Status::InProgress) => TestStatus::InProgress,
        Some(Status::Success) => TestStatus::Success,
        Some(Status::UnexpectedSuccess) => TestStatus::UnexpectedSuccess,
        Some(Status::Skip) => TestStatus::Skipped,
        Some(Status::Fail) => TestStatus::Failed,
        Some(Status::ExpectedFail) => TestStatus::ExpectedFailure,
    }
}
