//! The functions of the C library that this one stands before, each with the types of its manual page.
//!
//! Few, and none that opens: what a number stands for is asked when it is read. Reads that the C library does for
//! itself (stdio) do not pass here, and need not: they move the same offset.

mod descriptors;
mod privileges;
mod reads;
mod real;

/// Finds the functions behind all of them.
pub(crate) fn find() {
    reads::find();
    descriptors::find();
    privileges::find();
}
