//! The system's signals as a closed set.
//!
//! Only the loop reads them. [`Signals::none`] never says anything: for tests, and for programs that watch signals
//! themselves.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// A wish for an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupt {
    /// Ctrl-C, as a rule.
    Int,
    /// What a CI system or the machine's shutdown sends.
    Term,
    /// The terminal is gone.
    Hup,
}

impl Interrupt {
    /// The signal's number.
    #[must_use]
    pub fn number(self) -> i32 {
        let kind = match self {
            Self::Int => SignalKind::interrupt(),
            Self::Term => SignalKind::terminate(),
            Self::Hup => SignalKind::hangup(),
        };
        kind.as_raw_value()
    }
}

/// Where interrupts come from.
#[derive(Debug)]
pub struct Signals(Option<Handlers>);

#[derive(Debug)]
struct Handlers {
    int: Signal,
    term: Signal,
    hup: Signal,
}

impl Signals {
    /// From now on these signals do not end the process; they come out of [`Signals::next`].
    ///
    /// # Errors
    /// When a handler cannot be installed.
    pub fn catch() -> io::Result<Self> {
        Ok(Self(Some(Handlers {
            int: signal(SignalKind::interrupt())?,
            term: signal(SignalKind::terminate())?,
            hup: signal(SignalKind::hangup())?,
        })))
    }

    /// Signals keep their meaning, and nothing ever comes.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    /// The next one.
    pub async fn next(&mut self) -> Interrupt {
        let Some(Handlers { int, term, hup }) = &mut self.0 else { return std::future::pending().await };
        tokio::select! {
            Some(()) = int.recv() => Interrupt::Int,
            Some(()) = term.recv() => Interrupt::Term,
            Some(()) = hup.recv() => Interrupt::Hup,
            else => std::future::pending().await,
        }
    }
}
