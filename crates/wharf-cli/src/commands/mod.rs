//! One file per command; each does what a plan says.

pub(crate) mod cat;
pub(crate) mod cp;
pub(crate) mod info;
pub(crate) mod list;
pub(crate) mod ls;
pub(crate) mod mount;
pub(crate) mod run;
pub(crate) mod stat;
pub(crate) mod unmount;
