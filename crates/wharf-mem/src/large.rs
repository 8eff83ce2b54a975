//! Whether shared memory comes in pieces as large as a block of a section, where it is asked for.
//!
//! That is an administrator's to allow, for the whole system. Nothing here ever changes it.

use std::fs;

/// The setting for pieces of one block, and the one that it may refer to.
const OF_BLOCKS: &str = "/sys/kernel/mm/transparent_hugepage/hugepages-64kB/shmem_enabled";
const OF_ALL: &str = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";

/// What memory has to be aligned to for such a piece.
const ALIGNMENT: usize = crate::BLOCK_BYTES as usize;

/// Mappings of so many bytes begin where such a piece may. It is also what it takes to find a place for one.
pub(crate) const PLACE_BYTES: usize = 2 * ALIGNMENT;

/// How far behind an address the next one is where a mapping may begin: at an odd multiple of the alignment. There the
/// kernel puts no larger pieces, which it would have whole when one block is filled: sections would take more than they are
/// counted for.
pub(crate) fn place_after(address: usize) -> usize {
    (3 * ALIGNMENT - address % PLACE_BYTES) % PLACE_BYTES
}

/// Whether the system gives such pieces now.
pub(crate) fn is_given() -> bool {
    if cfg!(miri) {
        // There are no pages at all.
        return false;
    }
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let of_blocks = read(OF_BLOCKS);
    // Most systems end here.
    !matches!(chosen(&of_blocks), "never" | "") && allows(&of_blocks, &read(OF_ALL))
}

fn allows(of_blocks: &str, of_all: &str) -> bool {
    let asked = |setting| matches!(setting, "always" | "within_size" | "advise");
    match (chosen(of_blocks), chosen(of_all)) {
        (_, "deny") => false,
        ("inherit", "force") => true,
        ("inherit", all) => asked(all),
        (blocks, _) => asked(blocks),
    }
}

/// The word in brackets.
fn chosen(setting: &str) -> &str {
    let chosen = setting.split_once('[').and_then(|(_, behind)| behind.split_once(']'));
    chosen.map_or("", |(chosen, _)| chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_begin_where_a_block_may_and_nothing_larger() {
        for address in [0, 1, 4096, ALIGNMENT - 1, ALIGNMENT, ALIGNMENT + 1, PLACE_BYTES, 0x7fff_1234_5000] {
            let behind = place_after(address);
            assert!(behind < PLACE_BYTES && (address + behind) % PLACE_BYTES == ALIGNMENT, "{address:x}");
        }
    }

    #[test]
    fn what_the_system_gives_is_what_stands_in_brackets() {
        let all = "always within_size advise [never] deny force\n";
        assert!(allows("always inherit within_size [advise] never\n", all));
        assert!(allows("[always] inherit within_size advise never\n", all));
        assert!(!allows("always inherit within_size advise [never]\n", all));
        assert!(!allows("always [inherit] within_size advise never\n", all));
        assert!(allows("always [inherit] within_size advise never\n", "always within_size [advise] never"));
        assert!(!allows("always inherit within_size [advise] never\n", "always advise never [deny] force"));
        assert!(!allows("", all) && !allows("[", "]"), "nothing is known of it");
    }
}
