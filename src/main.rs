//! The program: arguments, a command, an exit status.

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use regatta::cli::Cli;
use regatta::commands::{Exit, perform};
use regatta::report::note;

fn main() -> ExitCode {
    log_to_stderr();
    match perform(Cli::parse()) {
        Ok(Exit::Passed) => ExitCode::SUCCESS,
        Ok(Exit::Failed) => ExitCode::from(1),
        Ok(Exit::Conflicts) => ExitCode::from(3),
        Ok(Exit::Signalled(signal)) => die_of(signal),
        Err(error) => {
            note(&error.to_string());
            ExitCode::from(error.kind.exit_status())
        }
    }
}

/// `REGATTA_LOG=debug` says more; nothing is logged otherwise.
fn log_to_stderr() {
    if let Ok(filter) = EnvFilter::try_from_env("REGATTA_LOG") {
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    }
}

/// End as if the signal had not been caught, so that a shell, or make, sees what it was.
fn die_of(signal: i32) -> ExitCode {
    let _ = signal_hook::low_level::emulate_default_handler(signal);
    // Only where the signal's default is not to end the process.
    ExitCode::from(u8::try_from(128 + signal).unwrap_or(1))
}
