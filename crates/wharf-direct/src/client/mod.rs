//! A reader's end.
//!
//! [`Reader::attach`] takes an open file. Where the file is one of a volume that offers a direct path the reader
//! uses that; everywhere else it reads the file itself, and the caller sees no difference but the time it takes.

mod connection;
mod direct;
mod fallback;
mod many;
mod reader;
mod resident;
mod snapshot;
mod ticket;
mod view;
mod volume;

pub use many::Piece;
pub use reader::Reader;
pub use resident::Resident;
pub use snapshot::{Entries, Snapshot};
pub use view::View;
pub use volume::{Node, Volume};

pub use crate::layout::{Listed, Record};
