//! Memory that Wharf lends out, or shares with strangers.
//!
//! *Lent to operations*: the bytes of one request or reply, owned by a transport and filled or read by a file
//! system, from any thread, without a copy.
//!
//! - [`Payload`] is the transport's: the right to use one span of memory again and again.
//! - [`Lease`] is one operation's: it borrows the payload until the operation has ended.
//! - [`Window`] is the file system's: a bounded span to fill. [`Data`] is a bounded span to read.
//!   Both can be [detached](Window::detach) and carried to another thread or into the kernel;
//!   the payload knows, and is not used again before they are dropped.
//!
//! *Shared with other processes*, which may be hostile: mechanism only, no sockets, no policy.
//!
//! - [`Shared`] is a memfd that is made in one size, keeps it, and is handed out read-only.
//! - [`Section`] is one file's bytes in such memory, with a map of what is valid; [`SectionReader`] is a client's
//!   side of it.
//!
//! - [`Pinned`] is a range of it that a client looks at where it is, held by one of its [`Pins`].
//! - [`Channels`] carry requests and answers: a [`ClientChannel`] at one end, a [`HostChannel`] at the other.
//! - [`Snapshot`] is handed out whole and says when it is right no more, [`SnapshotReader`] maps it.
//! - [`Home`] tells a process from its forks, which have to make connections of their own.
//! - [`Arena`] has the bytes of answers that travel once, [`Inbox`] those that a client sends.
//!
//! All unsafe code of lending and sharing is here, argued next to the lines that make it true. No reference is
//! ever made to bytes that a stranger may write.

mod arena;
mod channel;
mod copy;
mod futex;
#[cfg(not(loom))]
mod home;
mod large;
mod mapping;
mod opaque;
mod payload;
mod pins;
mod residency;
mod section;
mod shared;
mod snapshot;
pub mod sync;
mod system;
mod window;
mod words;

pub use arena::{Arena, ArenaReader, Inbox, InboxWriter};
pub use channel::{
    BODY_WORDS, CHANNELS_MAX, Channels, ClientChannel, HostChannel, Pending, SLOTS, Sleep, Slot, Taken,
    TakenRequest, Waited, ring_own,
};
pub use copy::copy_streams;
#[cfg(not(loom))]
pub use home::Home;
pub use mapping::{Access, Mapping};
pub use payload::{Lease, Payload};
pub use pins::{PINS_BYTES, PINS_MAX, PinTable, Pins};
pub use residency::{BLOCK_BYTES, PAGE_BYTES, PAGES_PER_BLOCK};
pub use section::{Fill, Filling, HandedOut, Pinned, Read, Section, SectionReader};
pub use shared::Shared;
pub use snapshot::{Snapshot, SnapshotReader};
pub use window::{Data, OwnedData, OwnedWindow, Window};
