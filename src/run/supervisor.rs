//! Every rule about instances, batches, losses, limits and signals, as a state machine.  (pure)
//!
//! [`Supervisor::on`] takes what happened and says what to do. It starts no process and reads no clock: the loop in
//! [`super::Session`] performs the actions and feeds what comes of them back in, so the rules can be tried with random
//! histories and without a process.
//!
//! # What there is
//!
//! The caller has one *goal* at a time; each ends with one [`Action::Done`].
//!
//! | goal | needs | then | is over when |
//! | --- | --- | --- | --- |
//! | [`Input::List`] | all instances that can run tests | the listing on one of them | the listing ended |
//! | [`Input::Run`] | an instance for each batch, at most the concurrency | a worker for each batch, the next batch as an instance gets free | nothing waits and no worker runs |
//! | [`Input::Close`] | nothing runs | instances are killed on and collected from, and disposed of together | it ended, or there is nothing to dispose of |
//!
//! An *instance* is printed, new, waiting for `instance_ready`, idle, busy, used, dead, wound up, leaving, and at last gone,
//! kept or left behind (`slots::State`). A *test* waits, is handed out, and has a verdict, or waits again (`work`). A *call*
//! runs, was told to end, or was killed (`calls`).
//!
//! # The rules
//!
//! Each row is a run, and is played in the tests: what is given; what happens, step by step; what the machine does at each
//! step. `a.` passed, `a!` failed, `a~` was in progress. `w0` is the first worker, `i0` the first instance.
//!
//! | rule | given | happens | so |
//! | --- | --- | --- | --- |
//! | all came | static 1 instance, a b | w0: a. b. exit 0 | w0 gets a b on i0; done |
//! | a bad end adds testr's failure | static 1 instance, a b | w0: a. b! exit 1 | w0 gets a b on i0; returncode of w0, done |
//! | once for each instance and status | dynamic 1 instance, a b | w0: a! exit 1; w1: b! exit 1 | w0 gets a on i0; returncode of w0, w1 gets b on i0; done |
//! | a serial run is testr's | serial 1 instance | w0: exit 1 | w0 gets all on i0; returncode of w0, done |
//! | an unknown id counts | static 1 instance, a b | w0: x. y. exit 0 | w0 gets a b on i0; done |
//! | nothing is said of some: once more | dynamic 1 instance, a b | w0: exit 0; w1: b. exit 0; w2: exit 0 | w0 gets a on i0; a again, w1 gets b on i0; w2 gets a on i0; a not run, done |
//! | elsewhere if possible | dynamic 2 instances, a b | w0: exit 0; w1: b. exit 0; w2: exit 0 | w0 gets a on i0, w1 gets b on i1; a again; w2 gets a on i1; a not run, done |
//! | or not, in testr's schedule | static 1 instance, a b | w0: a. exit 0 | w0 gets a b on i0; b not run, done |
//! | not_run=fail | static not_run=fail 1 instance, a b | w0: a. exit 0 | w0 gets a b on i0; b fails as not run, done |
//! | a runner dies in a test | static 1 instance, a b c | w0: a. b~ signal 9; w1: b~ signal 9; w2: c. exit 0 | w0 gets a b c on i0; b again, c again, w1 gets b on i0; b crashed, w2 gets c on i0; returncode of w1, done |
//! | a loss that is made good is none | static 1 instance, a b | w0: a~ signal 9; w1: a. exit 0; w2: b. exit 0 | w0 gets a b on i0; a again, b again, w1 gets a on i0; w2 gets b on i0; done |
//! | lost_limit | static lost_limit=1 1 instance, a b | w0: a~ signal 9; w1: b. exit 0 | w0 gets a b on i0; a crashed, b again, w1 gets b on i0; returncode of w0, done |
//! | status 0 with a test in progress is no good end | dynamic 1 instance, a b | w0: a~ exit 0; w1: b. exit 0; w2: a~ exit 0 | w0 gets a on i0; a again, w1 gets b on i0; w2 gets a on i0; a crashed, done |
//! | groups stay whole | dynamic 1 instance, A1 A2 b | w0: A1. A2~ exit 7; w1: b. exit 0; w2: A2. exit 0 | w0 gets A1 A2 on i0; A2 again, w1 gets b on i0; w2 gets A2 on i0; done |
//! | so does the order of the listing | dynamic 1 instance, A1 b A2 c d e | w0: exit 0; w1: c. d. exit 0; w2: e. exit 0 | w0 gets A1 b A2 on i0; A1 again, b again, A2 again, w1 gets c d on i0; w2 gets e on i0; w3 gets A1 b A2 on i0 |
//! | nothing in progress, something done | dynamic lost_limit=1 1 instance, A1 A2 A3 | w0: A1. exit 7; w1: A2. exit 7; w2: A3. exit 0 | w0 gets A1 A2 A3 on i0; A2 again, A3 again, w1 gets A2 A3 on i0; A3 again, i0 is dead, dispose i0, provision 1; there is no such worker |
//! | nothing done: halves | static +check 1 instance, a b c d | w0: exit 7; check i0: exit 0; w1: exit 7; check i0: exit 0; w2: c. d. exit 0; w3: exit 7; check i0: exit 0; w4: b. exit 0; w5: exit 7 | w0 gets a b c d on i0; a again, b again, c again, d again, check i0; w1 gets a b on i0; a again, b again, check i0; w2 gets c d on i0; w3 gets a on i0; a again, check i0; w4 gets b on i0; w5 gets a on i0; a lost, check i0, returncode of w5, done |
//! | nothing ever done: stopped | static 1 process, a b c d | w0: exit 7; w1: exit 7; w2: exit 7 | w0 gets a b c d; a again, b again, c again, d again, w1 gets a b; a again, b again, w2 gets c d; c again, d again, a lost, b lost, c lost, d lost, returncode of w2, stopped: Fruitless(3, 0) |
//! | stopped, and no runner ended badly | static lost_limit=9 1 process, a | w0: a~ exit 0; w1: a~ exit 0; w2: a~ exit 0 | w0 gets a; a again, w1 gets a; a again, w2 gets a; a again, a lost, stopped: Fruitless(3, 0) |
//! | a test runs out of time | dynamic test_timeout=5 1 instance, A1 A2 A3 | w0: A1. A2~; 5 s later; 3 s later; w0: A1. A2~ signal 9; w1: A2. A3. exit 0 | w0 gets A1 A2 A3 on i0; -; TERM w0; KILL w0; A2 again, A3 again, w1 gets A2 A3 on i0; done |
//! | nothing is written | dynamic no_output_timeout=5 1 instance, a b | w0: a~; 4 s later; w0: a~; 4 s later; 1 s later; w0: a~ signal 15; w1: b. exit 0; w2: a. exit 0 | w0 gets a on i0; -; -; -; -; TERM w0; a again, w1 gets b on i0; w2 gets a on i0; done |
//! | without a grace | static test_timeout=5 grace=0 1 instance, a | w0: a~; woken; woken; w0: a~ signal 9 | w0 gets a on i0; -; TERM w0; KILL w0; a again, w1 gets a on i0 |
//! | failed tests once more, elsewhere | static retries=1 2 instances, a b | w0: a! exit 1; w1: b. exit 0; w2: a. exit 0 | w0 gets a on i0, w1 gets b on i1; -; w2 gets a on i1; done |
//! | fail again | static retries=1 1 instance, a b | w0: a! b. exit 0; w1: a! exit 0 | w0 gets a b on i0; w1 gets a on i0; done |
//! | a loss in a retry | static retries=1 lost_limit=1 1 instance, a b | w0: a! b. exit 1; w1: a~ signal 9 | w0 gets a b on i0; w1 gets a on i0; a failed before, returncode of w0, done |
//! | groups stay whole wherever their tests failed | dynamic retries=1 2 instances, A1 A2 b | w0: A1! A2~ exit 7; w1: b. exit 0; w2: A2! exit 1 | w0 gets A1 A2 on i0, w1 gets b on i1; A2 again; w2 gets A2 on i1; w3 gets A1 A2 on i0 |
//! | max_fail | dynamic max_fail=1 2 instances, a b c d e | w0: a!; w0: a! signal 15; w1: b~ signal 15 | w0 gets a b on i0, w1 gets c on i1; TERM w0, TERM w1; b unknown; c unknown, stopped: Failures(2) |
//! | nobody asks about an instance then | dynamic max_fail=1 +kill +check 2 instances, a b c | w0: a~ exit 255; w1: b!; kill i0: exit 0; w1: b! signal 15 | w0 gets a on i0, w1 gets b on i1; a again, kill i0; TERM w1; -; stopped: Failures(2) |
//! | max_duration | dynamic max_duration=9 1 instance, a b | 9 s later; w0: a~ signal 15 | w0 gets a on i0; TERM w0; a unknown, stopped: Duration(1) |
//! | without a word: dead, replaced | dynamic 1 instance, a | w0: exit 255; provision: i1 exit 0; dispose 0: exit 0; w1: a. exit 0 | w0 gets a on i0; a again, i0 is dead, dispose i0, provision 1; w1 gets a on i1; -; done |
//! | twice in a row | dynamic lost_limit=3 2 instances, a b c d e f | w0: a~ exit 255; w2: b~ exit 255; dispose 0: exit 0; provision: i2 exit 0 | w0 gets a b on i0, w1 gets c on i1; a again, b again, w2 gets b on i0; b again, i0 is dead, dispose i0, provision 1; -; w3 gets d on i2 |
//! | not where enough are left | dynamic lost_limit=9 replace_limit=9 1 instance, a | w0: exit 255; provision: i1 i2 exit 0; dispose 0: exit 0; w1: exit 255 | w0 gets a on i0; a again, i0 is dead, dispose i0, provision 1; w1 gets a on i1; -; a again, i1 is dead, w2 gets a on i2 |
//! | a last one is used on | dynamic replace_limit=0 1 instance, a b | w0: exit 255; w1: b. exit 0; w2: a. exit 0 | w0 gets a on i0; a again, w1 gets b on i0; w2 gets a on i0; done |
//! | a check decides | dynamic +check 1 instance, a | w0: exit 255; check i0: exit 0; w1: a. exit 0 | w0 gets a on i0; a again, check i0; w1 gets a on i0; done |
//! | a check that fails | dynamic +check 2 instances, a b c | w0: a~ exit 255; check i0: exit 1; provision: i2 exit 0; w2: c. exit 0; w1: b. exit 0; w3: a. exit 0 | w0 gets a on i0, w1 gets b on i1; a again, check i0; i0 is dead, dispose i0, provision 1; w2 gets c on i2; w3 gets a on i2; -; done |
//! | what may still run is killed | dynamic +kill 1 instance, a b | w0: a~ exit 255; kill i0: exit 0; w1: b. exit 0; w2: a. exit 0 | w0 gets a on i0; a again, kill i0; w1 gets b on i0; w2 gets a on i0; done |
//! | a kill that fails | dynamic +kill +fence 1 instance, a | w0: a~ exit 255; kill i0: exit 1; fence i0: exit 0; provision: i1 exit 0 | w0 gets a on i0; a again, kill i0; i0 is dead, fence i0, provision 1; dispose i0; w1 gets a on i1 |
//! | none left | dynamic replace_limit=0 +check 1 instance, a b | w0: exit 255; check i0: exit 1; close; dispose 0: exit 0 | w0 gets a on i0; a again, check i0; i0 is dead, a lost, returncode of w0, stopped: no instance, 1 left; dispose i0; done |
//! | its replacement fails | dynamic +check 1 instance, a | w0: a~ exit 255; check i0: exit 1; dispose 0: exit 0; provision: exit 1; close | w0 gets a on i0; a again, check i0; i0 is dead, dispose i0, provision 1; -; a lost, returncode of w0, stopped: no instance, 0 left; done |
//! | provision fails, and is needed no more | listing static instance_ids=streamed 2 instances, a | provision: i0; provision: exit 1; listing: exit 0; run; w0: a. exit 0 | provision 2; list on i0; -; listed; w0 gets a on i0; done |
//! | a probe, until it is good | static +ready 1 instance, a | ready i0: exit 1; 0.05 s later; ready i0: exit 0; w0: a. exit 0 | ready i0; -; ready i0; w0 gets a on i0; done |
//! | a probe, until its limit | static +ready ready_limit=1 1 instance, a | ready i0: exit 1; 1 s later; 3 s later; ready i0: signal 9 | ready i0; -; ready i0; TERM ready i0; i0 is dead, dispose i0, provision 1 |
//! | collected, then disposed of, together | static +collect 2 instances, a b | w0: a. exit 0; w1: b. exit 0; close; collect i0: exit 0; collect i1: exit 1; dispose 0: exit 0 | w0 gets a on i0, w1 gets b on i1; -; done; collect i0, collect i1; -; dispose i0 i1; done |
//! | a disposal that fails | static 1 instance, a | w0: a. exit 0; close; dispose 0: exit 1 | w0 gets a on i0; done; dispose i0; i0 is left, left behind: i0 |
//! | a disposal that hangs | static dispose_limit=5 1 instance, a | w0: a. exit 0; close; 5 s later; 3 s later; dispose 0: signal 9 | w0 gets a on i0; done; dispose i0; TERM dispose(0); KILL dispose(0); i0 is left, left behind: i0 |
//! | kept | static keep=failed 2 instances, a b | w0: a! exit 0; w1: b. exit 0; close; dispose 0: exit 0 | w0 gets a on i0, w1 gets b on i1; -; done; i0 is kept, dispose i1; done |
//! | kept, and told for how long | static keep=always +renew 1 instance, a | 20 s later; renew i0: exit 0; w0: a. exit 0; close; keep i0: exit 0 | w0 gets a on i0; renew i0; -; done; keep i0; i0 is kept, done |
//! | not what was never ready | listing static keep=always max_duration=9 1 instance, a | provision: i0 exit 0; listing: exit 0; run; w0: exit 255; provision: i1; woken; close; provision: signal 15; dispose 0: exit 0 | provision 1; list on i0; listed; w0 gets a on i0; a again, i0 is dead, dispose i0, provision 1; -; TERM provision, stopped: Duration(1); -; -; dispose i1 |
//! | given back early | dynamic instance_release=early 2 instances, a b | w0: a. exit 0; w1: b. exit 0; close; dispose 0: exit 0; dispose 1: exit 0 | w0 gets a on i0, w1 gets b on i1; dispose i0; done; -; dispose i1; done |
//! | the first signal | dynamic +kill +collect 2 instances, a b c | signal; w0: a~ signal 15; 3 s later; w1: signal 9; close; kill i0: exit 0; kill i1: exit 0; collect i0: exit 0; collect i1: exit 0; dispose 0: exit 0 | w0 gets a on i0, w1 gets b on i1; TERM w0, TERM w1; a unknown; KILL w1; b unknown, stopped: Signal; kill i0, kill i1; collect i0; collect i1; -; dispose i0 i1; done |
//! | after it a limit of the run is none | dynamic max_duration=1 1 instance, a | signal; woken | w0 gets a on i0; TERM w0; KILL w0 |
//! | the second signal | dynamic +kill +collect 1 instance, a b | signal; signal; w0: a~ signal 9; close; kill i0: exit 0; dispose 0: exit 0 | w0 gets a on i0; TERM w0; KILL w0; a unknown, stopped: Signal; kill i0; dispose i0; done |
//! | the third signal | dynamic 1 instance, a b | signal; signal; w0: a~ signal 9; close; signal | w0 gets a on i0; TERM w0; KILL w0; a unknown, stopped: Signal; dispose i0; abandoned(["i0"]) |
//! | with all that is left | dynamic instance_release=early 2 instances, a b | w0: a. exit 0; dispose 0: exit 1; signal; signal; signal; close | w0 gets a on i0, w1 gets b on i1; dispose i0; i0 is left; TERM w1; KILL w1; abandoned(["i0", "i1"]); done |
//! | a signal while a replacement is made | dynamic 1 instance, a | w0: exit 255; signal; provision: i1 signal 15; dispose 0: exit 0; close; dispose 1: exit 0 | w0 gets a on i0; a again, i0 is dead, dispose i0, provision 1; TERM provision, stopped: Signal; -; -; dispose i1; done |

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use self::calls::Running;
use self::slots::Slot;
use self::work::Ledger;
use crate::config::Settings;
use crate::event::{Ending, InstanceState, Limit, Loss, WorkerId};
use crate::merge::Account;
use crate::schedule::{Queue, Suite, TestNumber};

mod calls;
mod closing;
mod running;
mod slots;
mod stopping;
mod work;

/// A callout, or the plain command where there are no instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// `instance_provision`.
    Provision,
    /// The test command with its list option, on an instance.
    Listing,
    /// The test command on an instance, with one batch.
    Worker(WorkerId),
    /// Something for the instance with this index.
    Upkeep(Upkeep, usize),
    /// `instance_dispose`, numbered in the order of start.
    Dispose(u32),
}

/// What is done for one instance, beside running tests on it. All of it is optional.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Upkeep {
    /// `instance_ready`: does it take work by now?
    Ready,
    /// `instance_check`: does it still live?
    Check,
    /// `instance_kill`: end what runs there.
    Kill,
    /// `instance_fence`: turn its power off.
    Fence,
    /// `instance_collect`: fetch its logs.
    Collect,
    /// `instance_renew`: it is still in use. The only one that may run beside another callout on the instance.
    Renew,
    /// `instance_renew` for as long as it is kept.
    Keep,
}

impl Upkeep {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Ready, Self::Check, Self::Kill, Self::Fence, Self::Collect, Self::Renew, Self::Keep];

    /// The key in `.testr.conf`.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Ready => "instance_ready",
            Self::Check => "instance_check",
            Self::Kill => "instance_kill",
            Self::Fence => "instance_fence",
            Self::Collect => "instance_collect",
            Self::Renew | Self::Keep => "instance_renew",
        }
    }
}

/// Where a callout runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// As provision printed it.
    pub id: String,
    /// Its place in the order of provisioning, from 0.
    pub index: usize,
}

/// What is to be run.
#[derive(Debug)]
pub struct Work {
    /// The tests; nothing when the runner itself decides what there is to run (a serial run).
    pub tests: Option<(Arc<Suite>, Queue)>,
    /// What comes back is counted against what goes out. Not where the ids may be no tests (`test_id_list_default`).
    pub is_accounted: bool,
    /// Another `lost_limit` than the setting's.
    pub lost_limit: Option<u32>,
    /// No other run follows on these instances.
    pub is_last: bool,
}

impl Work {
    /// These tests; nothing when the runner itself decides.
    #[must_use]
    pub fn new(tests: Option<(Arc<Suite>, Queue)>, is_last: bool) -> Self {
        Self { tests, is_accounted: true, lost_limit: None, is_last }
    }
}

/// The tests that a worker is handed, in order; nothing in a serial run.
pub type Batch = Option<Arc<[TestNumber]>>;

/// Something happened.
#[derive(Debug)]
pub enum Input {
    /// These instances are there already (`--reuse`).
    Adopted(Vec<String>),
    /// The caller wants the listing.
    List,
    /// The caller wants these tests run.
    Run(Work),
    /// The caller wants nothing more: everything is to be given back, or kept.
    Close,
    /// Provision printed this id.
    Printed(String),
    /// A worker wrote something. Told only where a limit depends on it.
    Heard(WorkerId, Heard),
    /// A worker ended, and all its output has been read.
    WorkerEnded(WorkerId, Ending, Account),
    /// Another callout ended, and all its output has been read.
    Ended(Call, Ending),
    /// The user, or the system, wants an end.
    Signal,
    /// The time asked for with [`Action::WakeAt`] has come, or some other moment passed.
    Tick,
}

/// What a worker's output says so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// When the oldest test in progress began.
    pub oldest: Option<Duration>,
    /// How many tests have failed.
    pub failures: u64,
}

/// What to do to the processes of a callout. Only the first two come from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// TERM, to the whole session.
    Term,
    /// KILL, to the whole session.
    Kill,
    /// TSTP: whoever catches it passes it on.
    Suspend,
    /// STOP, for the others.
    Stop,
    /// CONT.
    Continue,
}

/// What becomes of a test that a worker ended without a final status for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes out again.
    Again,
    /// It fails.
    Fails(Loss),
    /// It failed before, was run again, and that run was lost: the failure stands.
    Failed,
    /// Its runners never spoke of it, which is no failure (`not_run=warn`).
    NotRun,
    /// regatta stopped it: nothing is known of it.
    Unknown,
}

/// Something to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask for this many instances.
    Provision(usize),
    /// List the tests.
    List(Option<Instance>),
    /// Run a batch.
    Execute(WorkerId, Option<Instance>, Batch),
    /// Do this for an instance.
    Upkeep(Upkeep, Instance),
    /// Give these instances back.
    Dispose(u32, Vec<String>),
    /// End a callout that runs.
    End(Call, Force),
    /// The worker has failed by its exit status: testr's test `process-returncode`.
    Returncode(WorkerId),
    /// The worker is over. What becomes of the tests that it gave no final status for; told once for each worker, also
    /// when there are none.
    Settle(WorkerId, Vec<(TestNumber, Fate)>),
    /// These tests fail though no worker has them: nothing is left to run them on, and this worker had them last.
    GiveUp(Vec<(TestNumber, WorkerId)>),
    /// Something became of an instance.
    Became(Instance, InstanceState),
    /// An instance is kept: nothing disposes of it until its time is over.
    Keep(Instance),
    /// Something to tell the user.
    Note(String),
    /// Come back with a [`Input::Tick`] at this time, counted as `now` is, if nothing happens before; never mind what
    /// was asked for earlier.
    WakeAt(Option<Duration>),
    /// The goal is over.
    Done(Outcome),
}

/// How a goal ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The listing ended like this.
    Listed(Ending),
    /// Nothing runs any more, and nothing waits; or the run was stopped, for this reason.
    Ran(Option<Stop>),
    /// All is given back that is to be.
    Closed,
    /// Instances were to be disposed of, which ended like this at least once; these are left behind.
    DisposalFailed(Ending, Vec<String>),
    /// Provision failed.
    ProvisionFailed(Ending),
    /// Provision succeeded and printed no id that was not there before.
    ProvisionedNothing {
        /// How many were asked for.
        asked: usize,
        /// How many there are.
        have: usize,
    },
    /// All instances died before anything could be run, the last one for this reason.
    NoInstances(String),
    /// A signal came before the goal was reached.
    Interrupted,
    /// The third signal: these instances are left behind.
    Abandoned(Vec<String>),
}

/// Why a run ended before all was run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A signal.
    Signal,
    /// As many tests failed as may (`max_fail`); so many were left.
    Failures(usize),
    /// It took as long as it may (`max_duration`); so many tests were left.
    Duration(usize),
    /// So many batches in a row gave nothing; so many tests had not been begun.
    Fruitless(usize, usize),
    /// No instance is left, the last one died for this reason; so many tests had not been begun.
    NoInstances(String, usize),
}

/// What the machine is told once.
#[derive(Clone, Debug)]
pub struct Rules {
    /// How many instances, or processes.
    pub concurrency: usize,
    /// Whether instances are provisioned at all.
    pub provisions: bool,
    /// Whether there is a way to dispose of them.
    pub disposes: bool,
    /// What can be done for them.
    pub offers: BTreeSet<Upkeep>,
    /// How often [`Upkeep::Renew`] is due.
    pub renew_every: Duration,
    /// The settings of the run.
    pub settings: Settings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    None,
    List,
    Run,
    Close,
}

/// The state machine.
#[derive(Debug)]
pub struct Supervisor {
    rules: Rules,
    now: Duration,
    goal: Goal,
    slots: Vec<Slot>,
    calls: BTreeMap<Call, Running>,
    ledger: Ledger,
    /// No other run follows.
    is_last: bool,
    workers_started: u32,
    /// When the run has to be over.
    run_until: Option<Duration>,
    stop: Option<Stop>,
    signals: u8,
    provision: Provision,
    disposals: u32,
    /// The first disposal that failed.
    failed_disposal: Option<Ending>,
    woken_at: Option<Duration>,
    actions: Vec<Action>,
}

/// Where provisioning is.
#[derive(Debug, Default)]
struct Provision {
    /// How many were asked for in the call that runs, and how many there were before.
    asked: usize,
    had: usize,
    /// The call that runs is to replace dead instances.
    replaces: bool,
    /// How many dead instances have been replaced, or were tried to be.
    replaced: usize,
    /// It gave nothing more while work went on, and is not asked again for those that are missing.
    gave_up: bool,
}

impl Supervisor {
    /// A machine at rest, without instances.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            now: Duration::ZERO,
            goal: Goal::None,
            slots: Vec::new(),
            calls: BTreeMap::new(),
            ledger: Ledger::default(),
            is_last: true,
            workers_started: 0,
            run_until: None,
            stop: None,
            signals: 0,
            provision: Provision::default(),
            disposals: 0,
            failed_disposal: None,
            woken_at: None,
            actions: Vec::new(),
        }
    }

    /// Whether a signal has come.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.signals > 0
    }

    /// Whether tests that are cut off now are cut off by regatta itself, which is no fault of theirs.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.signals > 0 || self.stop.as_ref().is_some_and(Stop::ends_workers)
    }

    /// The limit for which this callout is being ended, if it is.
    #[must_use]
    pub fn limit(&self, call: Call) -> Option<Limit> {
        self.calls.get(&call)?.over
    }

    /// Whether [`Input::Heard`] is of any use.
    #[must_use]
    pub fn listens(&self) -> bool {
        let settings = &self.rules.settings;
        settings.test_timeout.is_some() || settings.no_output_timeout.is_some() || settings.max_fail.is_some()
    }

    /// Something happened at `now`, a time since any fixed moment that never goes back.
    pub fn on(&mut self, input: Input, now: Duration) -> Vec<Action> {
        self.now = now;
        match input {
            Input::Adopted(ids) => ids.into_iter().for_each(|id| self.admit(id, slots::State::New)),
            Input::List => self.goal = Goal::List,
            Input::Run(work) => self.begin(work),
            Input::Close => self.goal = Goal::Close,
            Input::Printed(id) => self.printed(id),
            Input::Heard(worker, heard) => self.heard(worker, heard),
            Input::WorkerEnded(worker, ending, account) => self.worker_ended(worker, &ending, &account),
            Input::Ended(call, ending) => self.ended(call, ending),
            Input::Signal => self.signal(),
            // Who woke it has forgotten the time.
            Input::Tick => self.woken_at = None,
        }
        self.enforce_limits();
        if self.goal != Goal::None {
            self.tend();
            self.advance();
        }
        let wake = self.next_wake();
        if wake != self.woken_at {
            self.woken_at = wake;
            self.actions.push(Action::WakeAt(wake));
        }
        std::mem::take(&mut self.actions)
    }

    /// Start what can be started for the goal, or say that it is over.
    fn advance(&mut self) {
        match self.goal {
            Goal::None => {}
            Goal::List => self.advance_list(),
            Goal::Run => self.advance_run(),
            Goal::Close => self.advance_close(),
        }
    }

    fn done(&mut self, outcome: Outcome) {
        self.goal = Goal::None;
        self.actions.push(Action::Done(outcome));
    }
}

#[cfg(test)]
mod tests;
