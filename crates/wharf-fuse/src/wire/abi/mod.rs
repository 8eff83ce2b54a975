//! The structs of `<linux/fuse.h>` with the field names of that header, and nothing else.
//!
//! They hold whatever bytes came; `decode` makes values of them that can only be valid. A test compares
//! sizes and offsets with the header of the system, as far as that knows them.

mod replies;
mod requests;

pub(super) use replies::*;
pub(super) use requests::*;

/// One struct of the header as the layout test needs it.
#[cfg(test)]
pub(in crate::wire) struct Layout {
    pub(in crate::wire) name: &'static str,
    pub(in crate::wire) bytes: usize,
    /// The first minor version whose header has it.
    pub(in crate::wire) since: u32,
    /// Name, offset and first minor version of each field.
    pub(in crate::wire) fields: &'static [(&'static str, usize, u32)],
}

/// First the name of the struct in the header, then its size, then the minor version that brought it where
/// that is later than the oldest header we are tested with. Fields can be younger than their struct.
macro_rules! structs {
    ($(
        $(#[$doc:meta])*
        $name:ident = $c:literal, $bytes:literal bytes $(since $since:literal)? {
            $($field:ident: $type:ty $(, since $field_since:literal)?;)*
        }
    )*) => {
        $(
            $(#[$doc])*
            #[derive(
                Clone, Copy, Debug, Default,
                zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::KnownLayout, zerocopy::Immutable,
            )]
            #[repr(C)]
            pub(in crate::wire) struct $name {
                $(pub(in crate::wire) $field: $type,)*
            }
            const _: () = assert!(size_of::<$name>() == $bytes);
        )*

        #[cfg(test)]
        pub(super) const LAYOUTS: &[super::Layout] = &[$(
            super::Layout {
                name: $c,
                bytes: $bytes,
                since: 0 $(+ $since)?,
                fields: &[$((
                    stringify!($field),
                    std::mem::offset_of!($name, $field),
                    0 $(+ $field_since)?,
                ),)*],
            },
        )*];
    };
}
use structs;

/// All structs, for the layout test.
#[cfg(test)]
pub(super) fn layouts() -> impl Iterator<Item = &'static Layout> {
    requests::LAYOUTS.iter().chain(replies::LAYOUTS)
}

/// Bytes that a record of variable length takes: the next multiple of eight.
pub(super) const fn record_bytes(len: usize) -> usize {
    len.next_multiple_of(8)
}
