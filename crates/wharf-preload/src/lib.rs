//! A library for `LD_PRELOAD`, with which programs that know nothing of Wharf read its volumes past the kernel.
//!
//! It stands before a handful of the C library's functions (`calls`). A read of a file that is worth it
//! (`evidence`) is answered from memory that is shared with the file's host (`source`); everything else, and
//! whatever is not understood, goes on to the C library as if this library were not there.
//!
//! What makes that right, whatever a program does behind this library's back (raw system calls, stdio, descriptors
//! that come from elsewhere):
//!
//! - *The descriptor is the kernel's.* Nothing is opened, duplicated or numbered here, so nothing has to be
//!   translated for `dup`, `fork`, `exec`, `mmap`, `sendfile` or a message to another process.
//! - *The offset is the kernel's.* A read takes its bytes from the offset that all sharers of the open file move, in
//!   one step (`kernel::claim`). There is no second copy that could be wrong.
//! - *A descriptor's number is a hint.* Before each read from shared memory the kernel says which file the number
//!   stands for now (`kernel::identity`); so a close that was not seen costs time and never bytes.
//! - *Nobody waits.* No lock is waited for, the program's allocator is not used, no signal handler is taken; a signal
//!   handler that interrupts this library and reads is sent to the kernel (`guard`).
//! - *A forked child reads by the kernel* until it runs another program: what is shared with the host belongs to
//!   the process that attached (`guard::at_home`).

#![deny(unsafe_code)]
#![cfg_attr(test, expect(dead_code, reason = "tests stand before no function of the C library"))]

#[cfg(not(test))]
mod calls;
mod evidence;
mod guard;
mod heap;
mod hidden;
mod kernel;
mod reading;
mod report;
mod settings;
mod source;
mod start;
mod table;
#[cfg(all(not(test), target_arch = "x86_64"))]
mod unwinding;
