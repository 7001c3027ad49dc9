//! The thread on which sinks run, behind a channel that is bounded in bytes.
//!
//! The loop never blocks on a slow screen or disk: while the outlet is full it stops reading workers and goes on
//! serving everything else. Knows sinks only by their trait.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};

use crate::event::{Pause, RunEnd, RunEvent, Sink, SinkError};

/// How many bytes of events may wait.
const LIMIT: usize = 4 * 1024 * 1024;

enum Message {
    Events(Vec<RunEvent>, usize),
    Finish(RunEnd, oneshot::Sender<Result<RunEnd, SinkError>>),
    End(oneshot::Sender<Result<(), SinkError>>),
}

#[derive(Debug, Default)]
struct Level {
    waiting: AtomicUsize,
    fell: Notify,
}

/// The near end of the channel.
pub(super) struct Outlet {
    messages: Option<Sender<Message>>,
    level: Arc<Level>,
    thread: Option<JoinHandle<()>>,
}

impl Outlet {
    /// Start the thread.
    pub(super) fn new(sink: Box<dyn Sink>) -> Self {
        let (messages, inbox) = channel();
        let level = Arc::new(Level::default());
        let shared = Arc::clone(&level);
        let thread = thread::spawn(move || write(sink, &inbox, &shared));
        Self { messages: Some(messages), level, thread: Some(thread) }
    }

    /// Wait until there is room.
    pub(super) async fn room(&self) {
        loop {
            let fell = self.level.fell.notified();
            if self.level.waiting.load(Ordering::Acquire) < LIMIT {
                return;
            }
            fell.await;
        }
    }

    /// Hand events over, without waiting.
    pub(super) fn send(&self, events: Vec<RunEvent>) {
        if events.is_empty() {
            return;
        }
        let weight = events.iter().map(RunEvent::weight).sum();
        self.level.waiting.fetch_add(weight, Ordering::AcqRel);
        self.post(Message::Events(events, weight));
    }

    /// End the run in the sinks, after all that was sent.
    pub(super) fn finish(&self, end: RunEnd) -> impl Future<Output = Result<RunEnd, SinkError>> + use<> {
        let (reply, answer) = oneshot::channel();
        self.post(Message::Finish(end, reply));
        async { answer.await.expect("the thread answers before it ends") }
    }

    /// Let all that was sent be seen, for nothing more comes.
    pub(super) fn end(&self) -> impl Future<Output = Result<(), SinkError>> + use<> {
        let (reply, answer) = oneshot::channel();
        self.post(Message::End(reply));
        async { answer.await.expect("the thread answers before it ends") }
    }

    fn post(&self, message: Message) {
        let messages = self.messages.as_ref().expect("it is there until the outlet is dropped");
        // The thread ends only when this end is gone, or by a panic, which dropping the outlet passes on.
        let _ = messages.send(message);
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.messages = None;
        let result = self.thread.take().map(JoinHandle::join);
        if let Some(Err(panic)) = result
            && !thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

/// How long what was written may stay unseen, where it is written in blocks.
const OVERDUE: Duration = Duration::from_secs(5);

fn write(mut sink: Box<dyn Sink>, inbox: &Receiver<Message>, level: &Level) {
    let mut seen = Instant::now();
    loop {
        let message = inbox.try_recv().or_else(|_| {
            // A sink keeps its own first error and gives it at the end of the run.
            let _ = sink.pause(Pause::Idle);
            inbox.recv_timeout(OVERDUE.saturating_sub(seen.elapsed()))
        });
        if matches!(message, Err(RecvTimeoutError::Disconnected)) {
            break;
        }
        if seen.elapsed() >= OVERDUE {
            let _ = sink.pause(Pause::Overdue);
            seen = Instant::now();
        }
        match message {
            Ok(Message::Events(events, weight)) => {
                events.iter().for_each(|event| drop(sink.event(event)));
                level.waiting.fetch_sub(weight, Ordering::AcqRel);
                level.fell.notify_one();
            }
            Ok(Message::Finish(mut end, reply)) => {
                let result = sink.finish(&mut end);
                let _ = reply.send(result.map(|()| end));
            }
            Ok(Message::End(reply)) => drop(reply.send(sink.pause(Pause::End))),
            Err(_) => {}
        }
    }
    // For a session that was given up; there is nobody left to tell.
    let _ = sink.pause(Pause::End);
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    struct Slow(Arc<Mutex<Receiver<()>>>);

    impl Sink for Slow {
        fn event(&mut self, _: &RunEvent) -> Result<(), SinkError> {
            self.0.lock().unwrap().recv().unwrap();
            Ok(())
        }
    }

    #[test]
    fn a_stalled_sink_leaves_no_room_until_it_goes_on() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (go, gate) = channel();
        let outlet = Outlet::new(Box::new(Slow(Arc::new(Mutex::new(gate)))));
        runtime.block_on(async {
            outlet.room().await;
            for _ in 0..2 {
                outlet.send(vec![RunEvent::Stdout { bytes: vec![0; LIMIT].into() }]);
            }
            let mut room = Box::pin(outlet.room());
            tokio::select! {
                biased;
                () = &mut room => panic!("there is no room"),
                () = std::future::ready(()) => {}
            }
            go.send(()).unwrap();
            go.send(()).unwrap();
            room.await;
        });
    }
}
