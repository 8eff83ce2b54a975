//! What a mounted file system is held against: cases, real programs, and somebody else's suite.
//!
//! Everything here takes the path of a directory and knows nothing about Wharf, so the same rules run on
//! ext4 and tmpfs. There they are their own control: a case that a native file system fails is a wrong case.
//!
//! - [`cases`]: small rules of POSIX and Linux, one function each, every one in a process of its own.
//! - [`programs`]: git, sqlite, rsync and others, run as their users run them, and asked whether they are content.
//! - [`pjd`]: pjdfstest, and a comparison of two of its runs.
//! - [`needs`]: what a case asks of a file system, and what the native ones offer.
//! - [`child`], [`dir`], [`sys`]: what the cases are written with.
//! - [`sshd`]: OpenSSH's server, killed and stopped as a test likes.
//! - [`own`], [`supervise`], [`report`]: children, their deadlines, and the table at the end.
//!
//! A hung mount must not hang whoever asks about it. So the process that reports never touches the directory
//! under test: only children do, and a child that cannot even be killed is left behind and called hung.

#![deny(unsafe_code)]

pub mod cases;
pub mod child;
pub mod dir;
pub mod kernel_log;
pub mod needs;
pub mod options;
pub mod own;
pub mod pjd;
pub mod programs;
pub mod report;
pub mod sshd;
pub mod supervise;
pub mod sys;
