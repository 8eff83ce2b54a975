//! What can go wrong: a kind for programs, words for people, and the one place that makes a number of it.

use std::error::Error as StdError;
use std::fmt;
use std::io;

/// The result of a file system's operation.
pub type Result<T> = std::result::Result<T, Error>;

/// A number that Linux knows as an error. Always between 1 and 4095.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Errno(u16);

macro_rules! errnos {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        impl Errno {
            $($(#[$doc])* pub const $name: Errno = Errno($value);)*
        }
    };
}

errnos! {
    /// Operation not permitted.
    EPERM = 1;
    /// No such file or directory.
    ENOENT = 2;
    /// Interrupted.
    EINTR = 4;
    /// Input/output error.
    EIO = 5;
    /// No such device or address (also: nothing more to seek to).
    ENXIO = 6;
    /// Argument list too long: more was asked than fits.
    E2BIG = 7;
    /// Bad file handle.
    EBADF = 9;
    /// Try again.
    EAGAIN = 11;
    /// Out of memory.
    ENOMEM = 12;
    /// Permission denied.
    EACCES = 13;
    /// Device or resource busy.
    EBUSY = 16;
    /// File exists.
    EEXIST = 17;
    /// Cross-device link.
    EXDEV = 18;
    /// No such device.
    ENODEV = 19;
    /// Not a directory.
    ENOTDIR = 20;
    /// Is a directory.
    EISDIR = 21;
    /// Invalid argument.
    EINVAL = 22;
    /// Not a typewriter: an unknown ioctl.
    ENOTTY = 25;
    /// Text file busy.
    ETXTBSY = 26;
    /// File too large.
    EFBIG = 27;
    /// No space left on device.
    ENOSPC = 28;
    /// Read-only file system.
    EROFS = 30;
    /// Too many links.
    EMLINK = 31;
    /// Numerical result out of range.
    ERANGE = 34;
    /// Deadlock would occur.
    EDEADLK = 35;
    /// File name too long.
    ENAMETOOLONG = 36;
    /// Function not implemented.
    ENOSYS = 38;
    /// Directory not empty.
    ENOTEMPTY = 39;
    /// Too many levels of symbolic links.
    ELOOP = 40;
    /// No such attribute.
    ENODATA = 61;
    /// Value too large.
    EOVERFLOW = 75;
    /// Operation not supported.
    EOPNOTSUPP = 95;
    /// Timed out.
    ETIMEDOUT = 110;
    /// Stale file handle.
    ESTALE = 116;
    /// Disc quota exceeded.
    EDQUOT = 122;
    /// Cancelled.
    ECANCELED = 125;
}

impl Errno {
    /// `None` unless `raw` is a positive number that the kernel takes as an error.
    pub fn new(raw: i32) -> Option<Errno> {
        u16::try_from(raw).ok().filter(|raw| (1..4096).contains(raw)).map(Errno)
    }

    /// The positive number.
    pub fn get(self) -> i32 {
        self.0.into()
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        io::Error::from_raw_os_error(self.get()).fmt(f)
    }
}

/// Why an operation failed, in terms a program can act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// There is no such file, directory or entry.
    NotFound,
    /// There is already something of this name.
    Exists,
    /// The caller may not do this.
    PermissionDenied,
    /// Nobody may do this, or only root.
    NotPermitted,
    /// A directory was needed.
    NotADirectory,
    /// A directory is not what was needed.
    IsADirectory,
    /// The directory still has entries.
    NotEmpty,
    /// The request makes no sense for this object.
    Invalid,
    /// The file system does not do this, or not for this object.
    NotSupported,
    /// The file system cannot be changed.
    ReadOnly,
    /// There is no room left.
    NoSpace,
    /// A quota is used up.
    Quota,
    /// A file would become larger than the file system allows.
    TooLarge,
    /// A name or a target is longer than the file system allows.
    NameTooLong,
    /// There are as many links to it as there can be.
    TooManyLinks,
    /// Links lead in a circle.
    Loop,
    /// The two places are on different volumes.
    CrossDevice,
    /// There is no such extended attribute.
    NoAttribute,
    /// The buffer is too small for the answer.
    OutOfRange,
    /// Nothing of that sort follows (the answer to a seek beyond the end).
    NothingThere,
    /// Somebody else holds it.
    Busy,
    /// It would have to wait, and was asked not to.
    WouldBlock,
    /// Waiting would never end.
    Deadlock,
    /// The caller gave up, usually because of a signal.
    Interrupted,
    /// It took longer than it may.
    TimedOut,
    /// The object is no longer what it was.
    Stale,
    /// There is not enough memory.
    OutOfMemory,
    /// A device, a server or a file behind this one failed.
    Io,
    /// What another system said, passed on.
    Os(Errno),
}

impl Kind {
    /// The number for the kernel. The only place that makes one.
    pub fn errno(self) -> Errno {
        match self {
            Kind::NotFound => Errno::ENOENT,
            Kind::Exists => Errno::EEXIST,
            Kind::PermissionDenied => Errno::EACCES,
            Kind::NotPermitted => Errno::EPERM,
            Kind::NotADirectory => Errno::ENOTDIR,
            Kind::IsADirectory => Errno::EISDIR,
            Kind::NotEmpty => Errno::ENOTEMPTY,
            Kind::Invalid => Errno::EINVAL,
            Kind::NotSupported => Errno::EOPNOTSUPP,
            Kind::ReadOnly => Errno::EROFS,
            Kind::NoSpace => Errno::ENOSPC,
            Kind::Quota => Errno::EDQUOT,
            Kind::TooLarge => Errno::EFBIG,
            Kind::NameTooLong => Errno::ENAMETOOLONG,
            Kind::TooManyLinks => Errno::EMLINK,
            Kind::Loop => Errno::ELOOP,
            Kind::CrossDevice => Errno::EXDEV,
            Kind::NoAttribute => Errno::ENODATA,
            Kind::OutOfRange => Errno::ERANGE,
            Kind::NothingThere => Errno::ENXIO,
            Kind::Busy => Errno::EBUSY,
            Kind::WouldBlock => Errno::EAGAIN,
            Kind::Deadlock => Errno::EDEADLK,
            Kind::Interrupted => Errno::EINTR,
            Kind::TimedOut => Errno::ETIMEDOUT,
            Kind::Stale => Errno::ESTALE,
            Kind::OutOfMemory => Errno::ENOMEM,
            Kind::Io => Errno::EIO,
            Kind::Os(errno) => errno,
        }
    }
}

/// A failed operation: its kind, what was being done, and the cause if there is one.
///
/// Only the kind reaches the program that asked. The rest goes to the log, and only for kinds that mean
/// something is broken ([`Kind::Io`] and the like): a missing file is an answer, not news.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    doing: &'static str,
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

macro_rules! shorthands {
    ($($(#[$doc:meta])* $name:ident => $kind:ident;)*) => {
        impl Error {
            $($(#[$doc])* pub fn $name() -> Error { Error::new(Kind::$kind) })*
        }
    };
}

shorthands! {
    /// There is no such entry.
    not_found => NotFound;
    /// There is already something of this name.
    exists => Exists;
    /// The caller may not do this.
    permission_denied => PermissionDenied;
    /// Nobody may do this, or only root.
    not_permitted => NotPermitted;
    /// A directory was needed.
    not_a_directory => NotADirectory;
    /// A directory is not what was needed.
    is_a_directory => IsADirectory;
    /// The directory still has entries.
    not_empty => NotEmpty;
    /// The request makes no sense for this object.
    invalid => Invalid;
    /// The file system does not do this.
    not_supported => NotSupported;
    /// The file system cannot be changed.
    read_only => ReadOnly;
    /// There is no room left.
    no_space => NoSpace;
    /// There is no such extended attribute.
    no_attribute => NoAttribute;
    /// The caller gave up.
    interrupted => Interrupted;
}

impl Error {
    /// An error of this kind.
    pub fn new(kind: Kind) -> Error {
        Error { kind, doing: "", cause: None }
    }

    /// Something behind the file system failed while `doing` this.
    pub fn io(doing: &'static str) -> Error {
        Error::new(Kind::Io).doing(doing)
    }

    /// What another system said, as a number; [`Kind::Io`] if it is not one of Linux's.
    pub fn os(raw: i32) -> Error {
        Error::new(Errno::new(raw).map_or(Kind::Io, Kind::Os))
    }

    /// Says what was being done.
    pub fn doing(self, doing: &'static str) -> Error {
        Error { doing, ..self }
    }

    /// Says what caused it.
    pub fn because(self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        Error { cause: Some(cause.into()), ..self }
    }

    /// What programs act on.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The number for the kernel.
    pub fn errno(&self) -> Errno {
        self.kind.errno()
    }

    /// Whether somebody should read of it: something is broken, rather than merely absent or refused.
    pub(crate) fn is_news(&self) -> bool {
        matches!(self.errno(), Errno::EIO | Errno::ENOMEM | Errno::ETIMEDOUT | Errno::ESTALE)
            && (self.cause.is_some() || !self.doing.is_empty())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.doing.is_empty() {
            write!(f, "{}: ", self.doing)?;
        }
        write!(f, "{}", self.errno())?;
        match &self.cause {
            Some(cause) => write!(f, " ({cause})"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause.as_deref().map(|cause| cause as &(dyn StdError + 'static))
    }
}

impl From<io::Error> for Error {
    /// Keeps the number if there is one, else the nearest kind; the error itself becomes the cause.
    fn from(error: io::Error) -> Error {
        if let Some(raw) = error.raw_os_error() {
            return Error::os(raw);
        }
        let kind = match error.kind() {
            io::ErrorKind::NotFound => Kind::NotFound,
            io::ErrorKind::PermissionDenied => Kind::PermissionDenied,
            io::ErrorKind::AlreadyExists => Kind::Exists,
            io::ErrorKind::WouldBlock => Kind::WouldBlock,
            io::ErrorKind::InvalidInput => Kind::Invalid,
            io::ErrorKind::TimedOut => Kind::TimedOut,
            io::ErrorKind::Interrupted => Kind::Interrupted,
            io::ErrorKind::Unsupported => Kind::NotSupported,
            io::ErrorKind::OutOfMemory => Kind::OutOfMemory,
            io::ErrorKind::StorageFull => Kind::NoSpace,
            _ => Kind::Io,
        };
        Error::new(kind).because(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_system_keeps_its_number() {
        let error = Error::from(io::Error::from_raw_os_error(39));
        assert_eq!(error.errno(), Errno::ENOTEMPTY);
        assert_eq!(Error::os(-7).errno(), Errno::EIO);
        assert_eq!(Error::os(0).errno(), Errno::EIO);
    }

    #[test]
    fn an_error_reads_as_a_sentence() {
        let error = Error::io("reading a part").because("connection reset");
        assert_eq!(error.to_string(), "reading a part: Input/output error (os error 5) (connection reset)");
        assert!(error.is_news());
        assert!(!Error::not_found().is_news());
    }
}
