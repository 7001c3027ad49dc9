//! Python's `dbm.dumb`: values in `times.dbm.dat`, and in `times.dbm.dir` a line for each key that says where.
//!
//! Python keeps its values in blocks of 512 bytes and overwrites them in place, so that after a crash its index tells
//! the lengths of old values where new ones are. A time is short, so here a new one goes into the other half of its
//! block, and the old one is whole until the new index is renamed and points to the new one. Python reads that
//! as its own, and a value that it overwrites stays within its block.
//!
//! Memory is for the ids of the caller only: the index is copied line by line. Takes no lock. Called by [`super`].

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::index::{self, Place};
use super::{seconds, windows};
use crate::repository::error::RepositoryError;
use crate::repository::id_table::{IdTable, Number};

/// Python's block, in bytes.
const BLOCK: u64 = 512;
/// What is used of it at a time.
const HALF: u64 = BLOCK / 2;
/// Times with an index longer than this, in bytes, are synced to the disk. Those of some hundred tests are soon learnt
/// anew after a power cut, and the syncs would take longer than all else that is done at the end of a run.
const WORTH_A_SYNC: u64 = 32 << 10;
/// The longest value that can be a time, with room for spaces: a longer one is not read.
const LONGEST_READ: u64 = 64;

/// The files of a `dbm.dumb`, which may not be there yet.
#[derive(Debug)]
pub(super) struct Dumb {
    dat: PathBuf,
    dir: PathBuf,
    bak: PathBuf,
}

/// A time that is to be written.
struct Change {
    position: u64,
    size: u32,
    number: Number,
}

impl Dumb {
    /// The one with this name, to which suffixes are added.
    pub(super) fn new(name: &Path) -> Self {
        let with = |suffix: &str| super::with_suffix(name, suffix);
        Self { dat: with(".dat"), dir: with(".dir"), bak: with(".bak") }
    }

    /// Whether it was made.
    pub(super) fn exists(&self) -> bool {
        self.dir.exists()
    }

    /// See [`super::Times::read`].
    pub(super) fn read(&self, ids: &IdTable) -> Result<Vec<Option<f64>>, RepositoryError> {
        let mut places = vec![None; ids.len()];
        self.read_index(|key, place, _| {
            if let Some(number) = ids.find(key) {
                places[number as usize] = Some(place);
            }
            Ok(())
        })
        .map_err(RepositoryError::io("read", &self.dir))?;
        let mut found: Vec<(Range<u64>, usize)> = places
            .into_iter()
            .enumerate()
            .filter_map(|(n, place)| {
                let place: Place = place.filter(|place| place.size <= LONGEST_READ)?;
                Some((place.position..place.end(), n))
            })
            .collect();
        found.sort_unstable_by_key(|(span, _)| span.start);
        let (spans, numbers): (Vec<_>, Vec<_>) = found.into_iter().unzip();

        let mut times = vec![None; ids.len()];
        let Some(dat) = open_if_there(&self.dat).map_err(RepositoryError::io("read", &self.dat))? else {
            return Ok(times);
        };
        windows::read(&dat, &spans, |group, start, bytes| {
            for n in group {
                let part = |at: u64| usize::try_from(at - start).ok();
                let value = part(spans[n].start).zip(part(spans[n].end)).and_then(|(from, to)| bytes.get(from..to));
                times[numbers[n]] = value.and_then(seconds::parse);
            }
        })
        .map_err(RepositoryError::io("read", &self.dat))?;
        Ok(times)
    }

    /// See [`super::Times::update`].
    pub(super) fn update(&self, ids: &IdTable, times: &[Option<f64>], scratch: &Path) -> Result<(), RepositoryError> {
        // A run without times still makes the files, as testr's does.
        if times.iter().all(Option::is_none) && self.dir.exists() {
            return Ok(());
        }
        let new_dir = scratch.join("times.dbm.dir.new");
        let dat_error = || RepositoryError::io("write", &self.dat);
        let dat = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&self.dat);
        let dat = dat.map_err(dat_error())?;
        let had = dat.metadata().map_err(dat_error())?.len();

        let out = File::create(&new_dir).map_err(RepositoryError::io("write", &new_dir))?;
        let mut changes = self.write_index(ids, times, had, &out).map_err(RepositoryError::io("write", &new_dir))?;
        write_values(&dat, &mut changes, times).map_err(dat_error())?;
        if out.metadata().is_ok_and(|metadata| metadata.len() > WORTH_A_SYNC) {
            dat.sync_data().map_err(dat_error())?;
            out.sync_data().map_err(RepositoryError::io("write", &new_dir))?;
        }
        self.replace_index(&new_dir).map_err(RepositoryError::io("write", &self.dir))
    }

    /// Write the new index: the old one with changed places for ids that have a new time, then new ids.
    ///
    /// `had` is the length of the data file. Values beyond it are gone, and their lines go too: the places would
    /// be given to others.
    fn write_index(&self, ids: &IdTable, times: &[Option<f64>], had: u64, out: &File) -> io::Result<Vec<Change>> {
        let mut out = BufWriter::with_capacity(1 << 18, out);
        let mut changes: Vec<Change> = Vec::with_capacity(ids.len());
        let mut is_placed = vec![false; ids.len()];
        let mut free = had.next_multiple_of(BLOCK);
        let mut text = Vec::new();
        let mut place = |number: Number, key: &[u8], old: Option<Place>, out: &mut BufWriter<&File>| {
            let seconds = times[number as usize].expect("only ids with a time are placed");
            let position = old.and_then(other_half).unwrap_or_else(|| {
                free += BLOCK;
                free - BLOCK
            });
            let size = u32::try_from(seconds::format(seconds).len()).expect("a time is short");
            text.clear();
            index::write_line(key, Place { position, size: size.into() }, &mut text);
            changes.push(Change { position, size, number });
            out.write_all(&text)
        };

        self.read_index(|key, old, line| {
            if old.end() > had {
                return Ok(());
            }
            match ids.find(key).filter(|number| times[*number as usize].is_some()) {
                None => {
                    out.write_all(line)?;
                    out.write_all(b"\n")
                }
                // A key that comes twice has its last line's value, so one line is enough.
                Some(number) if std::mem::replace(&mut is_placed[number as usize], true) => Ok(()),
                Some(number) => place(number, key, Some(old), &mut out),
            }
        })?;
        for (number, is_placed) in (0..).zip(&is_placed) {
            if !is_placed && times[number as usize].is_some() {
                place(number, ids.id(number), None, &mut out)?;
            }
        }
        out.flush()?;
        Ok(changes)
    }

    /// Call `each` with the key, the place and the text of every line of the index that is one.
    fn read_index(&self, mut each: impl FnMut(&[u8], Place, &[u8]) -> io::Result<()>) -> io::Result<()> {
        let Some(file) = open_if_there(&self.dir)? else { return Ok(()) };
        let mut lines = BufReader::with_capacity(1 << 18, file);
        let (mut line, mut key) = (Vec::new(), Vec::new());
        while lines.read_until(b'\n', &mut line)? > 0 {
            let text = line.trim_ascii_end();
            if let Some(place) = index::read_line(text, &mut key) {
                each(&key, place, text)?;
            }
            line.clear();
        }
        Ok(())
    }

    /// Put the new index in the old one's place, which Python keeps as `.bak`; at no time is there none.
    fn replace_index(&self, new: &Path) -> io::Result<()> {
        if self.dir.exists() {
            match fs::remove_file(&self.bak) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            // Not every file system has links.
            fs::hard_link(&self.dir, &self.bak).or_else(|_| fs::copy(&self.dir, &self.bak).map(drop))?;
        }
        fs::rename(new, &self.dir)
    }
}

/// Where a new time goes when the old one is here; nothing when its block may not be of the usual kind.
fn other_half(old: Place) -> Option<u64> {
    let fits = old.size > 0 && old.size <= HALF && old.position.is_multiple_of(HALF);
    fits.then_some(old.position ^ HALF)
}

fn write_values(dat: &File, changes: &mut [Change], times: &[Option<f64>]) -> io::Result<()> {
    changes.sort_unstable_by_key(|change| change.position);
    let spans: Vec<_> = changes.iter().map(|c| c.position..c.position + u64::from(c.size)).collect();
    windows::write(dat, &spans, |group, start, bytes| {
        for n in group {
            let from = usize::try_from(spans[n].start - start).expect("a window is short");
            let value = seconds::format(times[changes[n].number as usize].expect("it was placed for its time"));
            bytes[from..from + value.len()].copy_from_slice(value.as_bytes());
        }
    })
}

fn open_if_there(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
