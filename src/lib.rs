//! regatta runs tests on *instances*: containers, chroots, machines, batch jobs, isolated local processes.
//!
//! It does what `testr run --parallel` does, from the same `.testr.conf` and into the same `.testrepository`, and keeps
//! four promises that follow from running on machines that can die: no result is lost and no verdict is wrong, no
//! instance is left behind, the wall time is near the best possible, and a person can see what happened.
//!
//! This page is the map. The README says how to use the program.
//!
//! # Bird's eye
//!
//! ```text
//!  .testr.conf -> config -> template ---+
//!  a listing, or a list of ids ---------+--> schedule --> run::supervisor <----- signals, timers
//!  repository (times, failing) ---------+                   |  actions   ^
//!                                                           v            | what came of them
//!        instance <--> execute callout --> run::process --> wire --> merge --> RunEvent --> outlet: sinks
//!                                                                                           repository, report
//! ```
//!
//! A command line ([`cli`]) becomes a command ([`commands`]), which reads the configuration, opens the repository and
//! hands a source of instances and a sink to a [`run::Session`]. The session asks [`run::supervisor`] what to do, does
//! it, and tells it what came of it. What workers write is scanned ([`wire`]) and put into one stream ([`merge`]),
//! which goes to the sinks on a thread of their own.
//!
//! # Where to begin reading
//!
//! - [`event`]: everything that can happen in a run, and the trait of those who are told.
//! - [`run::supervisor`]: every rule about instances, batches, losses and signals, without a process in sight, as a table
//!   that the tests play.
//! - [`run::Session`]: the one loop.
//! - [`wire::Scanner`]: how packets are found in a stream that may hold anything.
//! - [`commands`]: one file for each verb; `run` shows how the rooms are joined.
//!
//! # Rooms, and who may know whom
//!
//! ```text
//! main -> cli, commands, error -> run, repository, report -> merge, schedule, summary, wire, config, template
//!                                                                              -> event, attachment, test_id, pattern
//! ```
//!
//! An arrow is a permission; there are no cycles. `tests/tidy.rs` reads the sources and keeps these rules:
//!
//! - The rooms [`config`], [`template`], [`pattern`], [`schedule`], [`merge`], [`summary`], [`wire`] and
//!   [`run::supervisor`] are *pure*: no clock, no file, no process, no environment, no runtime. They can be tried with
//!   millions of inputs.
//! - [`run`] knows neither [`repository`] nor [`report`]: it is handed a [`event::Sink`]. [`report`] knows nothing of
//!   [`run`] and of tokio, and no sink reads a clock: events carry their time.
//! - Only [`wire`] names the crate `subunit`; only [`cli`] and `main` name `clap`; only [`pattern`], and
//!   [`test_id`] for its errors, name `fancy_regex`.
//! - Nothing prints but `main` and [`report`].
//!
//! # Invariants
//!
//! - An instance is used by one callout at a time, and is disposed of exactly once, after its last callout ended,
//!   unless the user gave up (the third signal), who is then told what is left.
//! - What has to be given back or ended is in the journal ([`run::journal`]) before it is used, and off it once it is
//!   gone. A journal whose regatta died is seen to by the next command ([`run::recovery`]), and by one only.
//! - Every test that was handed out ends with exactly one verdict. Attempts that did not decide are kept apart.
//! - A worker's exit status alone is never believed: what was handed out is counted against what came back.
//! - What comes from an instance is hostile until [`wire`] has checked it. The configuration is the user's own shell.
//! - Memory grows with the number of test ids, never with the bytes that pass through: what waits is bounded
//!   ([`run`]'s outlet, [`report::OpenTests`]) and holds the workers back.
//! - stdout is testr's text, line for line; whatever regatta has to say beside it goes to stderr.
//!
//! # What is absent on purpose
//!
//! - No daemon and no scheduler for many users: where a suite outgrows a machine, callouts go to a scheduler that
//!   exists.
//! - No test runner of its own but for `regatta scripts`: tests are run by whatever `test_command` says.
//! - No polling: everything that is waited for wakes the loop.

pub mod attachment;
pub mod cli;
pub mod commands;
pub mod config;
pub mod error;
pub mod event;
pub mod merge;
pub mod pattern;
pub mod report;
pub mod repository;
pub mod run;
pub mod schedule;
pub mod summary;
pub mod template;
pub mod test_id;
pub mod wire;
