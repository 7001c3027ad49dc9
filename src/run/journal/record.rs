//! What a journal holds: one line of JSON each.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::event::Stamp;
use crate::run::machine;

/// The format that is written.
pub(super) const FORMAT: u32 = 1;

/// The first line: whose journal it is, and what is needed to give its instances back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The version of the format.
    pub format: u32,
    /// When it was begun.
    pub at: Stamp,
    /// The run's id.
    pub run: String,
    /// The machine's name.
    pub host: String,
    /// What no other start of a machine has.
    pub boot: String,
    /// Where callouts run.
    #[serde(with = "exact")]
    pub directory: PathBuf,
    /// The regatta that ran.
    #[serde(with = "exact")]
    pub program: PathBuf,
    /// The callouts' templates, by their keys.
    #[serde(default)]
    pub templates: BTreeMap<String, String>,
    /// What callouts found in the environment from outside, as far as it has to do with regatta.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

/// Every other line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) at: Stamp,
    #[serde(flatten)]
    pub(super) record: Record,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub(in crate::run) enum Record {
    /// Provision call number `n` begins; what it prints is in `file`.
    Provision { n: u32, file: String },
    /// It is over, and its ids are here.
    Provisioned { n: u32 },
    /// An instance is there. One that was taken over from a run that kept it has that run's lease.
    Instance {
        id: String,
        index: usize,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        taken: Option<Taken>,
    },
    /// A callout runs. `start` is the moment at which its leader began, as the system counts it.
    Started { number: u64, key: String, pid: u32, start: Option<u64>, session: bool },
    /// It ended.
    Ended { number: u64 },
    /// These were given back.
    Disposed { ids: Vec<String> },
    /// These could not be given back.
    Orphaned { ids: Vec<String> },
    /// These stay until then.
    Kept { ids: Vec<String>, until: Stamp, lease: String },
    /// Another run has these now.
    Given { ids: Vec<String>, to: String },
    /// The run ended in good order; what is here was left on purpose, or could not be helped.
    Closed,
    /// Something that a newer version knows.
    #[serde(other)]
    Unknown,
}

impl Record {
    /// A callout was started just now.
    pub(in crate::run) fn started(number: u64, key: &str, pid: u32, session: bool) -> Self {
        let start = machine::process(pid).map(|process| process.start);
        Self::Started { number, key: key.to_owned(), pid, start, session }
    }
}

/// Where an instance was taken over from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// The run that kept it.
    pub run: String,
    /// The name of its lease, which it goes on watching.
    pub lease: String,
}

/// Paths, exactly: text, or bytes where they are no text.
mod exact {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Text(String),
        Bytes(Vec<u8>),
    }

    pub(super) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        match path.to_str() {
            Some(text) => text.serialize(serializer),
            None => path.as_os_str().as_bytes().serialize(serializer),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
        Ok(match Either::deserialize(deserializer)? {
            Either::Text(text) => text.into(),
            Either::Bytes(bytes) => OsString::from_vec(bytes).into(),
        })
    }
}
