//! Calls a file system without a kernel: for an author's unit tests, and for Wharf's own.
//!
//! A [`Volume`] runs any [`FileSystem`](crate::FileSystem) in this process through the same session that serves real mounts, with
//! requests that are Rust values. What the session does is real: capabilities, node and handle tables,
//! lookup counts, cancellation, panics, draining. What the kernel does is not there: no cache, no permission
//! checks, no locking of directories.
//!
//! ```
//! # use wharf::{*, testing::Volume};
//! # struct Hello;
//! # impl FileSystem for Hello {
//! #     type Node = ();
//! #     type File = ();
//! #     fn capabilities(&self) -> Capabilities { Capabilities::empty() }
//! #     fn root(&self) {}
//! #     async fn lookup(&self, _: &Context, _: &(), op: op::Lookup<'_>) -> Result<Entry<()>> {
//! #         if op.name.as_bytes() != b"hello" { return Err(Error::not_found()) }
//! #         Ok(Entry::new((), Attributes::file(2, 14)))
//! #     }
//! #     async fn getattr(&self, _: &Context, _: &(), _: Option<&()>) -> Result<Attributes> {
//! #         Ok(Attributes::directory(1))
//! #     }
//! #     async fn open(&self, _: &Context, _: &(), _: op::Open) -> Result<Opened<()>> { Ok(Opened::new(())) }
//! #     async fn read(&self, _: &Context, _: &(), op: op::Read, mut into: Window<'_>) -> Result<usize> {
//! #         Ok(into.put(b"Hello, harbour".get(op.offset as usize..).unwrap_or_default()))
//! #     }
//! # }
//! let mut volume = Volume::new(Hello);
//! assert_eq!(volume.read("hello")?, b"Hello, harbour");
//! assert_eq!(volume.stat("goodbye"), Err(Errno::ENOENT));
//! volume.forget_all();
//! assert_eq!(volume.counts(), (0, 0));
//! volume.unmount();
//! # Ok::<(), Errno>(())
//! ```
//!
//! Every call blocks until it is answered, and panics after a [while](Volume::patience). For requests that
//! are to be pending, [`begin`](Volume::begin) an [`Ask`], do what completes it, and [`wait`](Volume::wait).

mod ask;
mod calls;
mod host;
mod volume;
mod wire;

use std::pin::pin;
use std::task::{Context, Poll};

use crate::promise::unpark;

pub use ask::{Ask, Parts};
pub use calls::Open;
pub use volume::{Done, Volume};
pub use wire::Seen;

/// Waits on this thread until `future` is done.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = unpark(std::thread::current());
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}
