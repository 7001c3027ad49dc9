//! `--subunit`: each packet goes to stdout when it arrives, as it came but for tags, route code and time.
//!
//! testr's `running=` lines stand as text between the packets; there is no summary.

use super::stdout::Stdout;
use crate::event::{FileChunk, Pause, RunEvent, Sink, SinkError, TestEvent, WorkerId};
use crate::wire;

/// The sink.
#[derive(Debug)]
pub struct Packets {
    out: Stdout,
    packet: Vec<u8>,
}

impl Packets {
    /// Packets on this stdout.
    #[must_use]
    pub fn new(out: Stdout) -> Self {
        Self { out, packet: Vec::new() }
    }
}

impl Sink for Packets {
    fn event(&mut self, event: &RunEvent) -> Result<(), SinkError> {
        self.packet.clear();
        match event {
            RunEvent::Test { event, at } => wire::forward(&mut self.packet, event, *at),
            RunEvent::Text { worker, bytes, at } => wire::forward(&mut self.packet, &text(*worker, bytes), *at),
            RunEvent::Running { line } => self.packet.extend_from_slice(super::text::running(line).as_bytes()),
            RunEvent::Print { bytes } | RunEvent::Stdout { bytes } => self.packet.extend_from_slice(bytes),
            _ => return Ok(()),
        }
        self.out.bytes(&self.packet).map_err(cannot_print)
    }

    fn pause(&mut self, _: Pause) -> Result<(), SinkError> {
        self.out.flush().map_err(cannot_print)
    }
}

/// What a runner wrote between its packets, as testr passes it on: the file `stdout` of its route.
fn text(worker: WorkerId, bytes: &bytes::Bytes) -> TestEvent {
    let file = FileChunk { name: "stdout".into(), mime: None, bytes: bytes.clone(), eof: false };
    TestEvent {
        file: Some(file),
        runnable: true,
        worker_tag: Some(worker.tag()),
        route: Some(worker.to_string().into()),
        ..TestEvent::default()
    }
}

fn cannot_print(source: std::io::Error) -> SinkError {
    SinkError { what: "cannot write the stream to standard output".into(), source }
}
