//! Random events, for the tests of the wire.

use proptest::collection::vec;
use proptest::prelude::*;
use regatta::event::{FileChunk, Stamp, Status, TestEvent};

/// An event that never was a packet, with any of its fields.
pub(crate) fn event() -> impl Strategy<Value = TestEvent> {
    let text = || "[ -~éó³日]{0,12}";
    let status = prop::option::of(prop::sample::select(vec![
        Status::Exists,
        Status::InProgress,
        Status::Success,
        Status::UnexpectedSuccess,
        Status::Skip,
        Status::Fail,
        Status::ExpectedFail,
    ]));
    let time = prop::option::of((0..=u32::MAX, 0..1_000_000_000u32));
    let file = prop::option::of((text(), prop::option::of(text()), vec(any::<u8>(), 0..200), any::<bool>()));
    (prop::option::of(text()), status, vec(text(), 0..4), file, any::<bool>(), prop::option::of(text()), time).prop_map(
        |(id, status, tags, file, runnable, route, time)| TestEvent {
            id: id.map(Into::into),
            status,
            tags: tags.into_iter().map(Into::into).collect(),
            worker_tag: None,
            file: file.map(|(name, mime, bytes, eof)| FileChunk {
                name: name.into(),
                mime: mime.map(Into::into),
                bytes: bytes.into(),
                eof,
            }),
            runnable,
            route: route.map(Into::into),
            time: time.map(|(seconds, nanos)| Stamp::from_timestamp(i64::from(seconds), nanos).unwrap()),
            loss: None,
            packet: None,
        },
    )
}
