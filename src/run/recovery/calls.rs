//! Callouts of a dead run, run to their ends: several at once, within a limit, and recorded while they run.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::Abandoned;
use crate::event::{Ending, How, Limit};
use crate::run::GRACE;
use crate::run::journal::JournalError;
use crate::run::journal::record::Record;
use crate::run::process::{Intake, Outflow, ShellLine, attend, start};
use crate::run::signals::{Interrupt, Signals};
use crate::run::supervisor::Force;

/// How many run at once.
const AT_ONCE: usize = 16;

impl Abandoned {
    /// Run callouts with this key, each within the limit, and give how each ended, in their order. What cannot be
    /// recorded goes to `troubles`.
    ///
    /// # Errors
    /// With the signal that came; what ran was ended.
    pub(super) async fn call(
        &mut self,
        key: &'static str,
        lines: Vec<ShellLine>,
        limit: Duration,
        signals: &mut Signals,
        troubles: &mut Vec<JournalError>,
    ) -> Result<Vec<Ending>, Interrupt> {
        let mut endings = Vec::new();
        let mut lines = lines.into_iter().peekable();
        while lines.peek().is_some() {
            let some: Vec<_> = lines.by_ref().take(AT_ONCE).collect();
            endings.extend(self.call_some(key, some, limit, signals, troubles).await?);
        }
        Ok(endings)
    }

    async fn call_some(
        &mut self,
        key: &'static str,
        lines: Vec<ShellLine>,
        limit: Duration,
        signals: &mut Signals,
        troubles: &mut Vec<JournalError>,
    ) -> Result<Vec<Ending>, Interrupt> {
        let first = self.log.state.callouts.keys().last().map_or(0, |last| last + 1);
        let mut endings: Vec<_> =
            lines.iter().map(|_| Ending::of(How::NotRun("its end was not seen".into()))).collect();
        let (mut tasks, mut enders) = (JoinSet::new(), Vec::new());
        for ((number, at), line) in (first..).zip(0..).zip(lines) {
            let mut started = start(line);
            enders.push(std::mem::replace(&mut started.end, Box::new(|_| ())));
            if let Some(pid) = started.pid {
                troubles.extend(self.log.write(Record::started(number, key, pid, true)).err());
            }
            tasks.spawn(async move {
                let ending = attend(started, &mut Discarded::default(), &mut Discarded::default()).await;
                (number, at, ending)
            });
        }
        let (mut overdue, mut interrupt, mut wake_at) = (None, None, Instant::now() + limit);
        let mut harder = |force: Force| enders.iter_mut().for_each(|end| end(force));
        loop {
            tokio::select! {
                biased;
                ended = tasks.join_next() => match ended {
                    None => break,
                    Some(Err(_)) => {}
                    Some(Ok((number, at, ending))) => {
                        let at: usize = at;
                        endings[at] = Ending { limit: overdue, ..ending };
                        troubles.extend(self.log.write(Record::Ended { number }).err());
                    }
                },
                signal = signals.end() => {
                    harder(if interrupt.is_some() { Force::Kill } else { Force::Term });
                    interrupt.get_or_insert(signal);
                    wake_at = Instant::now() + GRACE;
                }
                () = sleep_until(wake_at) => {
                    let is_told = interrupt.is_some() || overdue.is_some();
                    harder(if is_told { Force::Kill } else { Force::Term });
                    if interrupt.is_none() {
                        overdue = Some(Limit::Callout(limit));
                    }
                    wake_at = Instant::now() + GRACE;
                }
            }
        }
        interrupt.map_or(Ok(endings), Err)
    }
}

/// What these callouts write is nobody's; the last lines of their stderr are kept elsewhere.
#[derive(Default)]
struct Discarded(BytesMut);

impl Intake for Discarded {
    fn buffer(&mut self) -> &mut BytesMut {
        &mut self.0
    }
    fn arrived(&mut self) {
        self.0.clear();
    }
}

impl Outflow<Self> for Discarded {
    async fn stdout(&mut self, _: &mut Self) {}
    async fn stderr(&mut self, _: Bytes) {}
}
