//! One file per command; each does what a plan says.

pub(crate) mod info;
pub(crate) mod list;
pub(crate) mod mount;
pub(crate) mod run;
pub(crate) mod unmount;
