//! Reading a file while it is written: what provision prints, which has to be found also by others, should regatta die.
//!
//! Waits for nothing by looking again and again: the system tells of each write.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::oneshot;

use writes::Writes;

/// How much is read at once.
const READ_SIZE: usize = 16 * 1024;

/// Read a file from its start. Its end is waited at until [`Finish::finish`] says that no more comes.
///
/// Where the system cannot tell of writes, what is written is seen when no more comes.
///
/// # Errors
/// When the file cannot be opened.
///
/// # Panics
/// Outside a tokio runtime.
pub fn follow(path: &Path) -> io::Result<(Follow, Finish)> {
    // Before the file is looked into, so that nothing is written in between unnoticed.
    let writes =
        Writes::to(path).inspect_err(|error| tracing::warn!("{} is read at its end: {error}", path.display())).ok();
    let file = File::open(path)?;
    let (finish, finished) = oneshot::channel();
    Ok((Follow { file, writes, finished: Some(finished) }, Finish(finish)))
}

/// Says that no more comes; dropping it says the same.
#[derive(Debug)]
pub struct Finish(oneshot::Sender<()>);

impl Finish {
    /// Whoever wrote has ended: what is in the file is all.
    pub fn finish(self) {
        // An error means that nobody reads.
        let _ = self.0.send(());
    }
}

/// A file that is read while it is written.
#[derive(Debug)]
pub struct Follow {
    file: File,
    writes: Option<Writes>,
    /// Nothing once it has come.
    finished: Option<oneshot::Receiver<()>>,
}

impl AsyncRead for Follow {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            // In this order: what was written before the end was told is read after it.
            if let Some(finished) = &mut self.finished
                && Pin::new(finished).poll(cx).is_ready()
            {
                self.finished = None;
            }
            let room = buf.remaining().min(READ_SIZE);
            let read = self.file.read(buf.initialize_unfilled_to(room));
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Poll::Ready(Err(error)),
                Ok(0) if self.finished.is_some() && room > 0 => {}
                Ok(n) => {
                    buf.advance(n);
                    return Poll::Ready(Ok(()));
                }
            }
            match &mut self.writes {
                Some(writes) => ready!(writes.poll(cx))?,
                None => return Poll::Pending,
            }
        }
    }
}

#[cfg(target_os = "linux")]
mod writes {
    use std::io;
    use std::os::fd::OwnedFd;
    use std::path::Path;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
    use tokio::io::{AsyncRead, ReadBuf};
    use tokio::net::unix::pipe::Receiver;

    /// Tells of writes to a file: a descriptor that has something to read after each. That is all that a pipe has to
    /// do, too.
    #[derive(Debug)]
    pub(super) struct Writes(Receiver);

    impl Writes {
        pub(super) fn to(path: &Path) -> io::Result<Self> {
            let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
            inotify.add_watch(path, AddWatchFlags::IN_MODIFY)?;
            Receiver::from_owned_fd_unchecked(OwnedFd::from(inotify)).map(Self)
        }

        /// Whether something was written since this was last so.
        pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            // An event is 16 bytes, and like ones that nobody has read are one.
            let mut events = [0; 1024];
            Pin::new(&mut self.0).poll_read(cx, &mut ReadBuf::new(&mut events))
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod writes {
    use std::io;
    use std::path::Path;
    use std::task::{Context, Poll};

    /// There is none.
    #[derive(Debug)]
    pub(super) enum Writes {}

    impl Writes {
        pub(super) fn to(_: &Path) -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(super) fn poll(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            match *self {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::PathBuf;

    use tokio::io::AsyncReadExt;

    use super::*;

    struct Written {
        _dir: tempfile::TempDir,
        path: PathBuf,
        file: File,
    }

    impl Written {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("out");
            let file = File::options().append(true).create_new(true).open(&path).unwrap();
            Self { _dir: dir, path, file }
        }

        fn write(&mut self, text: &str) {
            self.file.write_all(text.as_bytes()).unwrap();
        }
    }

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
    }

    async fn next(from: &mut Follow) -> String {
        let mut bytes = Vec::new();
        from.read_buf(&mut bytes).await.unwrap();
        String::from_utf8(bytes).unwrap()
    }

    /// Whether it waits, and for good unless something happens.
    async fn waits(from: &mut Follow) -> bool {
        let mut bytes = Vec::new();
        tokio::select! {
            biased;
            _ = from.read_buf(&mut bytes) => false,
            () = async { for _ in 0..100 { tokio::task::yield_now().await } } => true,
        }
    }

    #[test]
    fn what_is_written_arrives_as_it_is() {
        run(async {
            let mut out = Written::new();
            out.write("before ");
            let (mut follow, finish) = follow(&out.path).unwrap();
            assert_eq!(next(&mut follow).await, "before ");
            for text in ["i1\n", "i2", "\n"] {
                assert!(waits(&mut follow).await, "before {text:?}");
                out.write(text);
                assert_eq!(next(&mut follow).await, text);
            }
            out.write("last");
            finish.finish();
            assert_eq!(next(&mut follow).await, "last");
            assert_eq!(next(&mut follow).await, "");
        });
    }

    #[test]
    fn a_reader_that_waits_is_woken_by_a_write_and_by_the_end() {
        run(async {
            let mut out = Written::new();
            let (mut follow, finish) = follow(&out.path).unwrap();
            let first = tokio::spawn(async move { (next(&mut follow).await, follow) });
            tokio::task::yield_now().await;
            // From another thread, as whoever writes is another process.
            std::thread::spawn(move || out.write("i1\n"));
            let (text, mut follow) = first.await.unwrap();
            assert_eq!(text, "i1\n");
            let last = tokio::spawn(async move { next(&mut follow).await });
            tokio::task::yield_now().await;
            finish.finish();
            assert_eq!(last.await.unwrap(), "");
        });
    }

    #[test]
    fn without_word_of_writes_all_is_read_at_the_end() {
        run(async {
            let mut out = Written::new();
            let (mut follow, finish) = follow(&out.path).unwrap();
            follow.writes = None;
            assert!(waits(&mut follow).await);
            out.write("i1\n");
            finish.finish();
            assert_eq!(next(&mut follow).await, "i1\n");
            assert_eq!(next(&mut follow).await, "");
        });
    }

    #[test]
    fn a_file_longer_than_a_read_arrives_whole() {
        run(async {
            let mut out = Written::new();
            let text: String = (0..20_000).map(|n| format!("instance-{n}\n")).collect();
            out.write(&text);
            let (mut follow, finish) = follow(&out.path).unwrap();
            finish.finish();
            let mut all = String::new();
            follow.read_to_string(&mut all).await.unwrap();
            assert_eq!(all, text);
        });
    }
}
