//! What the supervisor decides, done: callouts are started and ended, events are told.

use chrono::{TimeDelta, Utc};

use super::process::Started;
use super::reading::attend_to;
use super::supervisor::{Action, Batch, Call, Instance};
use super::{Running, Session};
use crate::event::{InstanceState, RunEvent, Stamp, WorkerId};
use crate::merge::{Handed, Merge};
use crate::run::instances::CommandLine;
use crate::test_id::TestId;

impl Session {
    pub(super) fn perform(&mut self, action: Action) {
        match action {
            Action::Provision(count) => {
                let output = self.books.provision_begins();
                let started = self.instances.provision(count, output);
                self.attend(Call::Provision, started, None, None);
            }
            Action::List(instance) => {
                let command = self.command.listing();
                let started = self.instances.execute(instance.as_ref(), &command);
                self.attend(Call::Listing, started, instance, Some(command));
            }
            Action::Execute(worker, instance, batch) => self.execute(worker, instance, &batch),
            Action::Upkeep(upkeep, instance) => {
                let started = self.instances.upkeep(upkeep, &instance);
                self.attend(Call::Upkeep(upkeep, instance.index), started, Some(instance), None);
            }
            Action::Dispose(number, ids) => {
                let started = self.instances.dispose(&ids);
                self.attend(Call::Dispose(number), started, None, None);
            }
            Action::End(call, force) => {
                if let Some(running) = self.calls.get_mut(&call) {
                    (running.end)(force);
                }
            }
            Action::Returncode(worker) => self.returncode(worker),
            Action::Settle(worker, fates) => self.settle(worker, &fates),
            Action::GiveUp(tests) => self.give_up(&tests),
            Action::Became(instance, state) => {
                self.books.became(&instance.id, instance.index, &state);
                self.tell(RunEvent::Instance { id: instance.id, state, at: Utc::now() });
            }
            Action::Keep(instance) => self.keep(instance),
            Action::Note(text) => self.tell(RunEvent::Note { text }),
            Action::WakeAt(at) => self.wake_at = at.map(|at| self.began + at),
            Action::Done(_) => {}
        }
    }

    fn execute(&mut self, worker: WorkerId, instance: Option<Instance>, batch: &Batch) {
        let suite = self.suite.clone();
        let ids: Option<Vec<TestId>> = batch.as_ref().map(|batch| batch.iter().map(|t| suite.id(*t).clone()).collect());
        let handed: Option<Vec<Handed<'_>>> =
            batch.as_ref().map(|batch| batch.iter().map(|test| (*test, suite.id(*test))).collect());
        self.merge.start(worker, handed.as_deref().filter(|_| self.is_accounted));
        self.tell(RunEvent::WorkerStarted {
            worker,
            instance: instance.as_ref().map(|instance| instance.id.clone()),
            tests: ids.as_ref().map(|ids| ids.as_slice().into()),
            at: Utc::now(),
        });
        let call = Call::Worker(worker);
        match self.command.running(ids.as_deref()) {
            Ok(command) => {
                let started = self.instances.execute(instance.as_ref(), &command);
                self.attend(call, started, instance, Some(command));
            }
            Err(error) => {
                let started = Started::not_run("the list of test ids for $IDFILE".into(), &error);
                self.attend(call, started, instance, None);
            }
        }
        if let Some(running) = self.calls.get_mut(&call) {
            running.tests = ids.map_or(0, |ids| ids.len());
        }
    }

    fn attend(&mut self, call: Call, mut started: Started, instance: Option<Instance>, command: Option<CommandLine>) {
        let number = self.started;
        self.started += 1;
        let (key, line) = (self.key(call), started.line.clone());
        if self.is_shown(call, instance.as_ref()) {
            self.tell(RunEvent::Running { line: line.clone() });
        }
        let told = instance.as_ref().map(|instance| instance.id.clone());
        self.tell(RunEvent::CalloutStarted { number, key, line: line.clone(), instance: told, at: Utc::now() });
        self.books.callout_started(number, key, started.pid, started.leads_session);
        // Only now: what nobody has written down nobody would end.
        if let Some(gate) = started.gate.take() {
            gate.open();
        }
        let end = std::mem::replace(&mut started.end, Box::new(|_| ()));
        let running = Running { number, key, line, end, instance, tests: 0, _command: command };
        self.calls.insert(call, running);
        tokio::spawn(attend_to(call, started, self.outbox.clone()));
    }

    /// Whether testr would print the line: it has one worker for each instance, and no other callouts.
    fn is_shown(&mut self, call: Call, on: Option<&Instance>) -> bool {
        match (call, on) {
            (Call::Upkeep(..), _) => false,
            (Call::Worker(_), Some(instance)) => self.shown.insert(instance.id.clone()),
            (Call::Worker(WorkerId(number)), None) => number as usize <= self.concurrency.saturating_sub(1),
            _ => true,
        }
    }

    fn key(&self, call: Call) -> &'static str {
        match call {
            Call::Provision => "instance_provision",
            Call::Listing | Call::Worker(_) => self.execute_key(),
            Call::Upkeep(upkeep, _) => upkeep.key(),
            Call::Dispose(_) => "instance_dispose",
        }
    }

    fn returncode(&mut self, worker: WorkerId) {
        let Some(lost) = self.lost.get(&worker) else { return };
        let mut events = Vec::new();
        Merge::returncode(worker, &lost.failure.ending, Utc::now(), &mut events);
        self.outlet.send(events);
    }

    fn keep(&mut self, instance: Instance) {
        // A time that no calendar has is never.
        let keep_for = TimeDelta::from_std(self.settings.keep_for).ok();
        let until = keep_for.and_then(|time| Utc::now().checked_add_signed(time)).unwrap_or(Stamp::MAX_UTC);
        let text = self.ways_in(&instance.id, until);
        self.perform(Action::Became(instance, InstanceState::Kept { until }));
        self.tell(RunEvent::Note { text });
    }

    /// What a person can type to see an instance that is kept.
    fn ways_in(&self, id: &str, until: Stamp) -> String {
        let word = shell_words::quote(id);
        let mut text = format!("{id} is kept until {}", until.format("%Y-%m-%d %H:%M:%S UTC"));
        if self.has_shell {
            text += &format!("\n  to get in: regatta instances shell {word}");
        }
        for test in self.failed_on.get(id).into_iter().flatten() {
            let filter = test.filter();
            let filter = shell_words::quote(&filter);
            text += &format!("\n  to run {test} again there: regatta run --reuse={word} --keep=always {filter}");
        }
        text + &format!("\n  to give it back: regatta instances dispose {word}")
    }
}
