//! A standard stream of the process that can be given up when whoever reads it has stalled.
//!
//! All sinks run on one thread, so a write(2) that blocks for ever on a stopped terminal or a pipe that nobody reads would
//! keep results from being stored and the run from ending. The descriptor is shared with other processes, which its
//! non-blocking flag would hurt too: so the same pipe or terminal is opened once more, for us alone. Where that can't be
//! done (a socket, another user's terminal, a system without `/proc/self/fd`) small pieces are written when there is room.
//! What never keeps a writer waiting, as a file, is written to as it is.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, PipeReader, PipeWriter, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Where bytes go.
#[derive(Debug)]
pub(super) struct Stream {
    file: File,
    way: Way,
    /// Less than all was taken last time, so the next write has to wait.
    is_full: bool,
    /// It was given up, and something was dropped: nothing may follow that.
    is_cut: bool,
}

#[derive(Debug)]
enum Way {
    /// Writing waits for as long as it takes.
    Plain,
    /// The open file is ours alone and never keeps us waiting.
    Own(Arc<Abandon>),
    /// Others have it too: a write waits when there is less room than it needs.
    Shared(Arc<Abandon>),
}

/// Whether the stream was given up, and what wakes the one who waits for it.
#[derive(Debug)]
struct Abandon {
    is_so: AtomicBool,
    wake: PipeWriter,
    woken: PipeReader,
}

impl Stream {
    /// The stream with this descriptor.
    pub(super) fn of(stream: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self { file: File::from(stream.try_clone_to_owned()?), way: Way::Plain, is_full: false, is_cut: false })
    }

    /// From now on the stream can be given up, by what is returned. After that no write waits any more: what is taken at
    /// once still goes out, and with the first piece that is not, all the rest is dropped.
    pub(super) fn abandoner(&mut self) -> io::Result<impl Fn() + Send + use<>> {
        let abandon = if self.can_stall()? {
            let (woken, wake) = io::pipe()?;
            let abandon = Arc::new(Abandon { is_so: AtomicBool::new(false), wake, woken });
            self.way = match open_again(&self.file) {
                Ok(file) => {
                    self.file = file;
                    Way::Own(Arc::clone(&abandon))
                }
                Err(_) => Way::Shared(Arc::clone(&abandon)),
            };
            Some(abandon)
        } else {
            None
        };
        Ok(move || abandon.iter().for_each(|abandon| abandon.now()))
    }

    fn can_stall(&self) -> io::Result<bool> {
        let kind = self.file.metadata()?.file_type();
        Ok(kind.is_fifo() || kind.is_socket() || self.file.is_terminal())
    }

    /// Drop what can't be written at once, and all that follows.
    fn cut(&mut self, bytes: &[u8]) -> usize {
        self.is_cut = true;
        bytes.len()
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_cut {
            return Ok(bytes.len());
        }
        loop {
            match &self.way {
                Way::Plain => return self.file.write(bytes),
                Way::Own(abandon) => {
                    if std::mem::take(&mut self.is_full) {
                        abandon.wait_for(&self.file)?;
                    }
                    match self.file.write(bytes) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Ok(n) => {
                            self.is_full = n < bytes.len();
                            return Ok(n);
                        }
                        error => return error,
                    }
                    if abandon.is_so.load(Ordering::Acquire) {
                        return Ok(self.cut(bytes));
                    }
                    self.is_full = true;
                }
                Way::Shared(abandon) => {
                    let has_room = abandon.wait_for(&self.file)?;
                    // Somebody else may take the room before us, and then the write waits.
                    if abandon.is_so.load(Ordering::Acquire) {
                        return Ok(self.cut(bytes));
                    }
                    if has_room {
                        return self.file.write(&bytes[..bytes.len().min(libc::PIPE_BUF)]);
                    }
                }
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Abandon {
    fn now(&self) {
        if !self.is_so.swap(true, Ordering::AcqRel) {
            // One byte in a pipe of ours always has room.
            let _ = (&self.wake).write(&[0]);
        }
    }

    /// Wait until there is room in the file, or something is wrong with it, or the stream was given up. Whether the file
    /// has something to say.
    fn wait_for(&self, file: &File) -> io::Result<bool> {
        loop {
            let mut both =
                [PollFd::new(file.as_fd(), PollFlags::POLLOUT), PollFd::new(self.woken.as_fd(), PollFlags::POLLIN)];
            match poll(&mut both, PollTimeout::NONE) {
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
                Ok(_) => return Ok(both[0].revents().is_some_and(|flags| !flags.is_empty())),
            }
        }
    }
}

/// Open the same pipe or terminal once more, so that its flags are ours.
fn open_again(file: &File) -> io::Result<File> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc::channel;
    use std::thread;
    use std::time::Duration;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    /// Write without end until it is given up, then more; true when that ended.
    #[track_caller]
    fn check_abandon(fd: BorrowedFd<'_>) {
        let mut stream = Stream::of(fd).unwrap();
        let abandon = stream.abandoner().unwrap();
        let (sender, ended) = channel();
        thread::spawn(move || {
            while !stream.is_cut {
                stream.write_all(&[b'x'; 100_000]).unwrap();
            }
            stream.write_all(b"more").unwrap();
            sender.send(()).unwrap();
        });
        assert!(ended.recv_timeout(Duration::from_millis(100)).is_err(), "it waits for whoever reads");
        abandon();
        abandon();
        ended.recv_timeout(LIMIT).expect("it was given up");
    }

    #[test]
    fn a_pipe_that_nobody_reads_can_be_given_up() {
        let (_reader, writer) = io::pipe().unwrap();
        check_abandon(writer.as_fd());
        // The flags of the one that others have were left alone.
        let flags = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", writer.as_raw_fd()));
        if let Ok(flags) = flags {
            let flags = flags.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
            assert_eq!(i32::from_str_radix(flags, 8).unwrap() & libc::O_NONBLOCK, 0);
        }
    }

    #[test]
    fn a_socket_that_nobody_reads_can_be_given_up() {
        let (_reader, writer) = UnixStream::pair().unwrap();
        check_abandon(writer.as_fd());
    }

    #[test]
    fn all_comes_through_a_slow_reader() {
        let (from_pipe, to_pipe) = io::pipe().unwrap();
        let (from_socket, to_socket) = UnixStream::pair().unwrap();
        let readers: [Box<dyn Read>; 2] = [Box::new(from_pipe), Box::new(from_socket)];
        for (mut reader, writer) in readers.into_iter().zip([to_pipe.as_fd(), to_socket.as_fd()]) {
            let mut stream = Stream::of(writer).unwrap();
            let _abandon = stream.abandoner().unwrap();
            let sent: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
            let copy = sent.clone();
            let thread = thread::spawn(move || stream.write_all(&copy).unwrap());
            let mut read = vec![0; sent.len()];
            for piece in read.chunks_mut(999) {
                reader.read_exact(piece).unwrap();
            }
            thread.join().unwrap();
            assert!(read == sent);
        }
    }

    #[test]
    fn what_is_taken_at_once_still_goes_out_when_it_was_given_up() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut stream = Stream::of(writer.as_fd()).unwrap();
        stream.abandoner().unwrap()();
        stream.write_all(b"last words").unwrap();
        drop((stream, writer));
        let mut read = String::new();
        reader.read_to_string(&mut read).unwrap();
        assert!(read == "last words" || !cfg!(target_os = "linux"), "{read}");
    }

    #[test]
    fn a_reader_who_has_gone_is_an_error_and_a_file_takes_all() {
        let (reader, writer) = io::pipe().unwrap();
        let mut stream = Stream::of(writer.as_fd()).unwrap();
        let _abandon = stream.abandoner().unwrap();
        drop(reader);
        assert_eq!(stream.write_all(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        let mut stream = Stream::of(writer.as_fd()).unwrap();
        let _abandon = stream.abandoner().unwrap();
        assert_eq!(stream.write_all(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);

        let mut file = tempfile::tempfile().unwrap();
        let mut stream = Stream::of(file.as_fd()).unwrap();
        stream.abandoner().unwrap()();
        stream.write_all(b"all of it").unwrap();
        io::Seek::rewind(&mut file).unwrap();
        assert_eq!(io::read_to_string(file).unwrap(), "all of it");
    }
}
