//! The order in which what a dead regatta left is seen to.

use std::time::Duration;

use super::{Abandoned, Origin, remains};
use crate::run::GRACE;
use crate::run::error::CalloutFailure;
use crate::run::journal::record::Record;
use crate::run::journal::{JournalError, Standing, files};
use crate::run::signals::{Interrupt, Signals};

/// How long a disposal may take.
const DISPOSE_LIMIT: Duration = Duration::from_secs(10 * 60);

/// How long it may take to end what runs on an instance.
const KILL_LIMIT: Duration = Duration::from_secs(30);

/// Which instances are to be given back.
#[derive(Clone, Copy, Debug)]
pub enum Which<'a> {
    /// Those without a purpose: left behind, or kept for long enough.
    Due,
    /// All.
    All,
    /// Those with these ids.
    Named(&'a [String]),
}

/// What was done.
#[derive(Debug, Default)]
pub struct Cleaned {
    /// How many callouts still ran, and were ended.
    pub ended: usize,
    /// The instances that were given back.
    pub disposed: Vec<String>,
    /// Those that could not be: they are still in the journal.
    pub left: Vec<String>,
    /// Those for which there is no way to give them back: they are in no journal any more.
    pub dropped: Vec<String>,
    /// Why those are left that are.
    pub failure: Option<CalloutFailure>,
    /// What could not be recorded.
    pub troubles: Vec<JournalError>,
}

impl Abandoned {
    /// End the callouts that still run, take in what provision printed last, end what runs on the instances, and give
    /// them back: one disposal, with their ids sorted as text. A journal with nothing left in it goes.
    ///
    /// # Errors
    /// With the signal that came. What was done is recorded, and the rest is for the next one.
    pub async fn clean_up(&mut self, which: Which<'_>, signals: &mut Signals) -> Result<Cleaned, Interrupt> {
        let mut cleaned = Cleaned::default();
        // Those of another start of this machine are gone, and another machine's cannot be seen.
        if self.origin == Origin::Here {
            cleaned.ended = remains::end(&self.log.state.callouts, &self.header.run, GRACE).await.len();
        }
        let numbers: Vec<u64> = self.log.state.callouts.keys().copied().collect();
        for number in numbers {
            cleaned.troubles.extend(self.log.write(Record::Ended { number }).err());
        }
        self.take_printed(&mut cleaned.troubles);
        // Sorted as text, as every disposal.
        let ids: Vec<String> = self.chosen(&which).into_iter().collect();
        if !ids.is_empty() {
            self.take_away(&ids);
            self.kill(&ids, signals, &mut cleaned.troubles).await?;
            self.dispose(ids, signals, &mut cleaned).await?;
        }
        cleaned.troubles.extend(self.finish().err());
        Ok(cleaned)
    }

    /// Take ids in that provision printed and nobody told. Those that are due are disposed of, so that is what they are.
    fn take_printed(&mut self, troubles: &mut Vec<JournalError>) {
        let mut index = self.log.state.instances.values().map(|held| held.index + 1).max().unwrap_or(0);
        for (n, ids) in self.printed() {
            for id in ids {
                troubles.extend(self.log.write(Record::Instance { id, index, taken: None }).err());
                index += 1;
            }
            let file = self.log.state.provisions.get(&n).map(|output| output.file.clone()).unwrap_or_default();
            // Only when they are on disk can the file go.
            let recorded =
                self.log.record(Record::Provisioned { n }).and_then(|()| files::remove(&self.dir.join(file)));
            troubles.extend(recorded.err());
        }
    }

    /// Where a run took an instance over and died before the journal that it came from knew: there it is no more.
    fn take_away(&self, ids: &[String]) {
        for (id, held) in ids.iter().filter_map(|id| Some((id, self.log.state.instances.get(id)?))) {
            let Some(taken) = held.taken.as_ref().filter(|taken| files::is_name(&taken.run)) else { continue };
            let path = self.dir.join(format!("{}{}", taken.run, files::JOURNAL));
            let Some(mut giver) = Abandoned::take(&self.dir, &path) else { continue };
            if giver.log.state.instances.contains_key(id) {
                // If that cannot be written, the instance is disposed of twice, which does no harm.
                let _ = giver.give(vec![id.clone()], &self.header.run);
            }
        }
    }

    /// End what runs on those that were in use. A failure is no matter: they go now.
    async fn kill(
        &mut self,
        ids: &[String],
        signals: &mut Signals,
        troubles: &mut Vec<JournalError>,
    ) -> Result<(), Interrupt> {
        let lines = self.lines();
        let held = ids.iter().filter_map(|id| Some((id, self.log.state.instances.get(id)?)));
        let live = held.filter(|(_, held)| held.standing == Standing::Live);
        let shells = live.filter_map(|(id, held)| Some(lines.kill(id, held)?.in_shell())).collect();
        self.call("instance_kill", shells, KILL_LIMIT, signals, troubles).await?;
        Ok(())
    }

    async fn dispose(
        &mut self,
        ids: Vec<String>,
        signals: &mut Signals,
        cleaned: &mut Cleaned,
    ) -> Result<(), Interrupt> {
        let Some((line, shell)) = self.lines().dispose(&ids).map(|line| (line.text.clone(), line.in_shell())) else {
            cleaned.troubles.extend(self.log.record(Record::Disposed { ids: ids.clone() }).err());
            cleaned.dropped = ids;
            return Ok(());
        };
        let key = "instance_dispose";
        let endings = self.call(key, vec![shell], DISPOSE_LIMIT, signals, &mut cleaned.troubles).await?;
        let failed = endings.into_iter().find(|ending| !ending.is_success());
        match failed {
            None => {
                cleaned.troubles.extend(self.log.record(Record::Disposed { ids: ids.clone() }).err());
                cleaned.disposed = ids;
            }
            Some(ending) => {
                cleaned.troubles.extend(self.log.record(Record::Orphaned { ids: ids.clone() }).err());
                cleaned.left = ids;
                let purpose = "while disposing of what was left behind";
                cleaned.failure = Some(CalloutFailure { key, purpose, line, ending });
            }
        }
        Ok(())
    }
}
