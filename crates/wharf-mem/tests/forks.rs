//! What a forked child does with what its parent made: nothing that the parent or the host would notice.

use wharf_mem::{BLOCK_BYTES, PinTable, Pins, Section, SectionReader};

/// Runs `act` in a forked child, and says whether it ended by itself and found what it wanted.
fn in_a_child(act: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child only looks at memory that is there and drops values without freeing any, and ends at once.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let found = act();
        // SAFETY: it ends this process.
        unsafe { libc::_exit(i32::from(!found)) };
    }
    assert!(child > 0, "there is no process left");
    let mut status = 0;
    // SAFETY: the status is a number of ours.
    let ended = unsafe { libc::waitpid(child, &raw mut status, 0) };
    ended == child && libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
}

#[test]
fn a_pin_that_a_child_drops_is_its_parents_and_stays() {
    const SECTION: u64 = 9;
    let section = Section::create(2 * BLOCK_BYTES, 2 * BLOCK_BYTES).expect("memory");
    section.put(0, &[1; 2 * BLOCK_BYTES as usize]).expect("memory");
    section.publish(0..2 * BLOCK_BYTES);
    let reader = SectionReader::new(section.hand_out().expect("descriptors")).expect("a section");
    let table = PinTable::create().expect("memory");
    let pins = Pins::of_host(table.hand_out().expect("a descriptor")).expect("pins");
    let mut pinned = reader.pin(&pins, SECTION, 0..100);
    assert!(pinned.is_some());
    assert!(in_a_child(|| {
        // The pins are not mapped here, and dropping this would let its parent's go.
        drop(pinned.take());
        true
    }));
    assert!(table.holds(SECTION, 0) && !table.holds(SECTION, 1));
    assert_eq!(section.evict(0..2, |block| table.holds(SECTION, block)), BLOCK_BYTES);
    let mut bytes = [0; 4];
    let pinned = pinned.expect("the child had a copy");
    assert_eq!((pinned.copy_to(0, &mut bytes), bytes), (4, [1; 4]));
    drop(pinned);
    assert!(!table.holds(SECTION, 0));
}
