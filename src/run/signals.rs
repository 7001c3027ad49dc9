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

/// Something that the user, or the system, wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// An end.
    End(Interrupt),
    /// A pause, until CONT comes.
    Pause,
}

/// Where wishes come from.
#[derive(Debug)]
pub struct Signals(Option<Handlers>);

/// Those that are caught.
#[derive(Debug)]
struct Handlers {
    int: Option<Signal>,
    term: Option<Signal>,
    hup: Option<Signal>,
    tstp: Option<Signal>,
}

impl Signals {
    /// From now on these signals do not end the process; they come out of [`Signals::next`].
    ///
    /// One that was ignored when the process began, as HUP is under `nohup`, stays ignored.
    ///
    /// # Errors
    /// When a handler cannot be installed.
    pub fn catch() -> io::Result<Self> {
        let ignored = ignored();
        let catch = |kind: SignalKind| {
            let is_ignored = ignored & (1 << (kind.as_raw_value() - 1)) != 0;
            (!is_ignored).then(|| signal(kind)).transpose()
        };
        Ok(Self(Some(Handlers {
            int: catch(SignalKind::interrupt())?,
            term: catch(SignalKind::terminate())?,
            hup: catch(SignalKind::hangup())?,
            tstp: catch(SignalKind::from_raw(nix::sys::signal::Signal::SIGTSTP as i32))?,
        })))
    }

    /// Signals keep their meaning, and nothing ever comes.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    /// The next one.
    pub async fn next(&mut self) -> Wish {
        let Some(Handlers { int, term, hup, tstp }) = &mut self.0 else { return std::future::pending().await };
        tokio::select! {
            () = receive(int) => Wish::End(Interrupt::Int),
            () = receive(term) => Wish::End(Interrupt::Term),
            () = receive(hup) => Wish::End(Interrupt::Hup),
            () = receive(tstp) => Wish::Pause,
        }
    }

    /// The next wish for an end. What else comes has its usual effect.
    pub async fn end(&mut self) -> Interrupt {
        loop {
            match self.next().await {
                Wish::End(interrupt) => return interrupt,
                Wish::Pause => stop_self(),
            }
        }
    }
}

/// Stop this process, as TSTP would have. Returns when it goes on.
pub(super) fn stop_self() {
    // An error means that it goes on at once.
    let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP);
}

async fn receive(signal: &mut Option<Signal>) {
    if let Some(signal) = signal
        && signal.recv().await.is_some()
    {
        return;
    }
    std::future::pending::<()>().await;
}

/// The signals that this process ignores, a bit for each; none where the system does not say.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
