//! subunit v1, the text in which testr keeps runs: `.testrepository/N` and `failing`.  (pure)
//!
//! A test is `test: ID`, an outcome line, and between ` [ multipart` and `]` its files, chunked as HTTP does it; `time:`
//! and `tags:` lines stand between (subunit's README, "Version 1"). Files of testr and of other writers are read, ours
//! can be read by testr. Nothing here opens a file: the report that stores runs hands in a writer, and the commands that
//! look at runs hand in a reader.

mod escape;
mod lines;
mod mime;
mod read;
mod write;

pub use read::Reader;
pub use write::write_test;

use crate::event::Status;

/// The line that ends a test's files.
const END: &[u8] = b"]\n";

/// How many bytes of an attachment are in memory at once, at most, when it is written or read.
const PIECE: usize = 64 * 1024;

/// The word that testr writes for a status. `Exists` is never stored, and a test without an end failed.
fn outcome_word(status: Option<Status>) -> &'static str {
    match status {
        Some(Status::Success) => "successful",
        Some(Status::UnexpectedSuccess) => "uxsuccess",
        Some(Status::Skip) => "skip",
        Some(Status::ExpectedFail) => "xfail",
        None | Some(Status::Exists | Status::InProgress | Status::Fail) => "failure",
    }
}

/// What an outcome's word means; nothing when it is no outcome.
fn outcome_status(word: &[u8]) -> Option<Status> {
    Some(match word {
        b"success" | b"successful" => Status::Success,
        b"failure" | b"error" => Status::Fail,
        b"skip" => Status::Skip,
        b"xfail" => Status::ExpectedFail,
        b"uxsuccess" => Status::UnexpectedSuccess,
        _ => return None,
    })
}
