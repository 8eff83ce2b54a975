//! Telling a process from those that it has forked, without asking the kernel.

use std::io;

use crate::mapping::Mapping;
use crate::sync::{AtomicU32, Ordering};

/// The process that made it. What is shared with others by its memory is of no use in a child, which has to make its
/// own.
#[derive(Debug)]
pub struct Home {
    page: Mapping,
}

impl Home {
    /// Marks this process.
    ///
    /// # Errors
    /// When there is no memory for a page, or the kernel (before Linux 4.14) cannot wipe it in children.
    pub fn here() -> io::Result<Home> {
        let page = Mapping::anonymous(size_of::<AtomicU32>())?;
        page.wipe_in_children()?;
        let home = Home { page };
        home.word().store(1, Ordering::Relaxed);
        Ok(home)
    }

    /// Whether this is that process, and no fork of it. A child of vfork(2) is it: it has the same memory.
    pub fn is_here(&self) -> bool {
        self.word().load(Ordering::Relaxed) == 1
    }

    fn word(&self) -> &AtomicU32 {
        // SAFETY: the page is mapped while `self` lives, aligned, all zeros at first, and used by this one word only.
        unsafe { AtomicU32::from_ptr(self.page.start().as_ptr().cast()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "nothing is forked there")]
    fn the_mark_is_here_and_is_left_out_of_forks() {
        let home = Home::here().unwrap();
        assert!(home.is_here());
        // What the kernel will do when the process forks, it says beforehand.
        let start = format!("{:x}-", home.page.start().as_ptr() as usize);
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let ours = maps.lines().skip_while(|line| !line.starts_with(&start));
        let flags = ours.skip(1).find(|line| line.starts_with("VmFlags:")).unwrap();
        assert!(flags.split_whitespace().any(|flag| flag == "wf"), "{flags}");
    }
}
