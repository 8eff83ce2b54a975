//! One request as a value.

use std::fmt;
use std::sync::Arc;

use wharf_mem::Data;

use crate::error::Errno;
use crate::session::{Operation, Request};
use crate::{Caller, Name, NodeId};

type Make = dyn for<'a> Fn(&mut Parts<'a>) -> Result<Operation<'a>, Errno> + Send + Sync;

/// One request, as a kernel would send it. It may be sent again and again.
#[derive(Clone)]
pub struct Ask {
    pub(super) shared: Arc<Shared>,
    pub(super) caller: Option<Caller>,
    /// Length and bytes of each string, one after the other.
    pub(super) strings: Vec<u8>,
    pub(super) data: Option<Vec<u8>>,
}

/// What decoding needs; the strings come with the request's head.
pub(super) struct Shared {
    pub(super) name: &'static str,
    node: NodeId,
    make: Box<Make>,
}

impl Ask {
    /// A request about `node`. `make` composes the operation, with the strings and data that were added in
    /// the order in which they were added.
    ///
    /// ```
    /// # use wharf::{NodeId, op, session::Operation, testing::Ask};
    /// Ask::new("lookup", NodeId::ROOT, |parts| Ok(Operation::Lookup { op: op::Lookup { name: parts.name()? } }))
    ///     .string("hello");
    /// ```
    pub fn new(
        name: &'static str,
        node: NodeId,
        make: impl for<'a> Fn(&mut Parts<'a>) -> Result<Operation<'a>, Errno> + Send + Sync + 'static,
    ) -> Ask {
        let shared = Arc::new(Shared { name, node, make: Box::new(make) });
        Ask { shared, caller: None, strings: Vec::new(), data: None }
    }

    /// Adds a name, a target, a value.
    pub fn string(mut self, string: impl AsRef<[u8]>) -> Ask {
        let string = string.as_ref();
        self.strings.extend((string.len() as u32).to_le_bytes());
        self.strings.extend(string);
        self
    }

    /// Adds the bytes of a write.
    pub fn data(self, data: impl Into<Vec<u8>>) -> Ask {
        Ask { data: Some(data.into()), ..self }
    }

    /// Asks on behalf of somebody else than the volume's usual caller.
    pub fn caller(self, caller: Caller) -> Ask {
        Ask { caller: Some(caller), ..self }
    }
}

impl Shared {
    pub(super) fn decode<'a>(
        &self,
        caller: Caller,
        strings: &'a [u8],
        data: Option<Data<'a>>,
    ) -> Result<Request<'a>, Errno> {
        let operation = (self.make)(&mut Parts { strings, data })?;
        Ok(Request { node: self.node, caller, operation })
    }
}

impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ask({} of {})", self.shared.name, self.shared.node)
    }
}

/// The strings and data of a request, while its operation is composed.
#[derive(Debug)]
pub struct Parts<'a> {
    strings: &'a [u8],
    data: Option<Data<'a>>,
}

impl<'a> Parts<'a> {
    /// The next string.
    ///
    /// # Errors
    /// `EINVAL` if there is none.
    pub fn string(&mut self) -> Result<&'a [u8], Errno> {
        let (len, rest) = self.strings.split_first_chunk().ok_or(Errno::EINVAL)?;
        let (string, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize).ok_or(Errno::EINVAL)?;
        self.strings = rest;
        Ok(string)
    }

    /// The next string, as a name.
    ///
    /// # Errors
    /// `EINVAL` if there is none, or it is no name.
    pub fn name(&mut self) -> Result<Name<'a>, Errno> {
        Name::new(self.string()?).ok_or(Errno::EINVAL)
    }

    /// The bytes of a write.
    ///
    /// # Errors
    /// `EINVAL` if there are none.
    pub fn data(&mut self) -> Result<Data<'a>, Errno> {
        self.data.take().ok_or(Errno::EINVAL)
    }
}
