use wharf::{Capabilities, Limits};
use zerocopy::{FromBytes, IntoBytes};

use super::{about, agreed, init};
use crate::wire::abi::{InitIn, InitOut};
use crate::wire::{InitFlags, InitReply, Opcode, Wanted, negotiate};

fn wanted(capabilities: Capabilities) -> Wanted {
    Wanted::new(capabilities, Limits::default())
}

fn out(reply: &InitReply) -> InitOut {
    InitOut::read_from_bytes(reply.bytes()).expect("the long form")
}

fn flags(wanted: &Wanted) -> InitFlags {
    let (terms, reply) = agreed(45, wanted);
    let out = out(&reply);
    let told = u64::from(out.flags) | u64::from(out.flags2) << 32;
    assert_eq!(told, terms.flags.bits(), "the kernel is told what is in force");
    terms.flags
}

#[test]
fn the_kernel_reads_ahead_as_far_as_both_sides_like() {
    for (read_ahead, told) in
        [(None, 131_072), (Some(0), 0), (Some(16_384), 16_384), (Some(1 << 20), 131_072)]
    {
        let (terms, reply) = agreed(45, &Wanted { read_ahead, ..wanted(Capabilities::POSIX) });
        assert_eq!((out(&reply).max_readahead, terms.read_ahead), (told, told), "{read_ahead:?}");
    }
}

#[test]
fn a_capability_asks_for_its_flags_and_no_others() {
    use Capabilities as C;
    use InitFlags as I;
    let plain = flags(&wanted(C::empty()));
    let rules = [
        (C::POSIX_LOCKS, I::POSIX_LOCKS),
        (C::FLOCK, I::FLOCK_LOCKS),
        (C::TRUNCATE_ON_OPEN, I::ATOMIC_O_TRUNC),
        (C::UMASK, I::DONT_MASK),
        (C::IOCTL, I::HAS_IOCTL_DIR),
        (C::LIST_ENTRIES, I::DO_READDIRPLUS | I::READDIRPLUS_AUTO),
        (C::WRITEBACK, I::WRITEBACK_CACHE),
        (C::STATELESS_FILES, I::NO_OPEN_SUPPORT),
        (C::STATELESS_DIRECTORIES, I::NO_OPENDIR_SUPPORT),
        (C::ACLS, I::POSIX_ACL),
        (C::CACHE_SYMLINKS, I::CACHE_SYMLINKS),
        (C::KILL_PRIVILEGES, I::HANDLE_KILLPRIV_V2),
        (C::XATTRS, I::SETXATTR_EXT),
        (C::SECURITY_CONTEXT, I::SECURITY_CTX),
        (C::CREATE_GROUP, I::CREATE_SUPP_GROUP),
        (C::DIRECT_MMAP, I::DIRECT_IO_ALLOW_MMAP),
        (C::EXPORT, I::EXPORT_SUPPORT | I::NO_EXPORT_SUPPORT),
        (C::EXPLICIT_INVALIDATION, I::EXPLICIT_INVAL_DATA | I::AUTO_INVAL_DATA),
        // These need nothing of INIT.
        (C::WRITE | C::LINKS | C::SYMLINKS | C::STATX | C::TMPFILE | C::FSYNC | C::COPY_RANGE, I::empty()),
    ];
    for (claimed, changed) in rules {
        assert_eq!(flags(&wanted(claimed)) ^ plain, changed, "{claimed:?}");
    }
    let always =
        I::ASYNC_READ | I::BIG_WRITES | I::ASYNC_DIO | I::PARALLEL_DIROPS | I::MAX_PAGES | I::INIT_EXT;
    let told_only = I::HAS_EXPIRE_ONLY | I::HAS_RESEND;
    assert_eq!(plain, always | told_only | I::AUTO_INVAL_DATA | I::NO_EXPORT_SUPPORT);
}

#[test]
fn what_makes_no_sense_here_is_never_asked_for() {
    let everything = Wanted {
        offer_uring: true,
        offer_passthrough: true,
        default_permissions: true,
        request_timeout_s: 1,
        ..wanted(Capabilities::all())
    };
    let never = InitFlags::FILE_OPS
        | InitFlags::SPLICE_WRITE
        | InitFlags::SPLICE_MOVE
        | InitFlags::SPLICE_READ
        | InitFlags::HANDLE_KILLPRIV
        | InitFlags::ABORT_ERROR
        | InitFlags::MAP_ALIGNMENT
        | InitFlags::SUBMOUNTS
        | InitFlags::HAS_INODE_DAX;
    assert!(!flags(&everything).intersects(never));
}

#[test]
fn nothing_is_asked_for_that_the_kernel_does_not_offer() {
    let (terms, _) = negotiate(&init(45, InitFlags::empty()), &wanted(Capabilities::all())).expect("INIT");
    assert_eq!(terms.flags, InitFlags::empty());
    // The upper half means nothing without its mark.
    let upper = InitFlags::from_bits_retain(!0 << 32);
    let (terms, _) = negotiate(&init(45, upper), &wanted(Capabilities::all())).expect("INIT");
    assert_eq!(terms.flags, InitFlags::empty());
}

#[test]
fn io_uring_and_passthrough_are_the_transports_to_offer() {
    let (terms, reply) = agreed(45, &wanted(Capabilities::POSIX));
    assert!(!terms.uring && !terms.passthrough);
    assert_eq!(out(&reply).max_stack_depth, 0);
    let offered = Wanted { offer_uring: true, offer_passthrough: true, ..wanted(Capabilities::POSIX) };
    let (terms, reply) = agreed(45, &offered);
    assert!(terms.uring && terms.passthrough);
    assert_eq!(out(&reply).max_stack_depth, 1);
    let cached = Wanted { capabilities: Capabilities::WRITEBACK, ..offered };
    assert!(!agreed(45, &cached).0.passthrough);
}

#[test]
fn ids_are_mapped_only_where_the_kernel_checks_permissions() {
    let plain = wanted(Capabilities::IDMAP);
    assert!(!flags(&plain).contains(InitFlags::ALLOW_IDMAP));
    let checked = Wanted { default_permissions: true, ..plain };
    assert!(flags(&checked).contains(InitFlags::ALLOW_IDMAP));
    assert!(flags(&wanted(Capabilities::IDMAP | Capabilities::ACLS)).contains(InitFlags::ALLOW_IDMAP));
}

#[test]
fn a_timeout_is_asked_for_only_if_wanted() {
    assert_eq!(out(&agreed(45, &wanted(Capabilities::POSIX)).1).request_timeout, 0);
    let hasty = Wanted { request_timeout_s: 30, ..wanted(Capabilities::POSIX) };
    assert!(flags(&hasty).contains(InitFlags::REQUEST_TIMEOUT));
    assert_eq!(out(&agreed(45, &hasty).1).request_timeout, 30);
}

#[test]
fn sizes_are_whole_pages_of_what_the_volume_allows() {
    let sized = |payload_bytes_max, page_bytes| {
        let limits = Limits { payload_bytes_max, background_max: 100, ..Limits::default() };
        let (terms, reply) = agreed(45, &Wanted { page_bytes, ..Wanted::new(Capabilities::POSIX, limits) });
        let out = out(&reply);
        assert_eq!(out.max_write, terms.max_write);
        assert_eq!((out.max_background, out.congestion_threshold), (100, 75));
        assert!(terms.request_bytes_max() >= 80 + terms.max_write as usize);
        (out.max_pages, terms.max_write, terms.payload_bytes)
    };
    assert_eq!(sized(1 << 20, 4096), (256, 1 << 20, 1 << 20));
    assert_eq!(sized(100_000, 4096), (24, 98_304, 98_304));
    assert_eq!(sized(1 << 20, 65_536), (16, 1 << 20, 1 << 20));
    // An extended attribute must fit, whatever the limit, and there is a least write.
    assert_eq!(sized(0, 4096), (1, 4096, 65_536));
    assert_eq!(sized(u32::MAX, 4096), (65_535, 65_535 * 4096, 65_535 * 4096));
}

#[test]
fn a_kernel_that_does_not_agree_on_pages_has_32() {
    let without = InitFlags::all() - InitFlags::MAX_PAGES;
    let (terms, reply) = negotiate(&init(27, without), &wanted(Capabilities::POSIX)).expect("INIT");
    assert_eq!((terms.max_write, out(&reply).max_pages), (131_072, 0));
}

#[test]
fn both_speak_the_older_of_two_minor_versions() {
    assert_eq!(agreed(99, &wanted(Capabilities::POSIX)).0.minor, 45);
    let (terms, reply) = agreed(31, &wanted(Capabilities::POSIX));
    assert_eq!((terms.minor, out(&reply).minor, out(&reply).major), (31, 31, 7));
    assert!(reply.is_final());
}

#[test]
fn an_old_kernel_gets_the_answer_it_knows() {
    assert_eq!(agreed(22, &wanted(Capabilities::POSIX)).1.bytes().len(), 24);
    assert_eq!(agreed(23, &wanted(Capabilities::POSIX)).1.bytes().len(), 64);
    let errno = negotiate(&init(11, InitFlags::all()), &wanted(Capabilities::POSIX)).expect_err("too old");
    assert_eq!(errno.get(), 71);
}

#[test]
fn a_later_major_version_is_told_ours_and_asks_again() {
    let raw = InitIn { major: 8, ..InitIn::default() };
    let head = about(0, Opcode::Init, &[&raw.as_bytes()[..8]]);
    let (_, reply) = negotiate(&head, &wanted(Capabilities::POSIX)).expect("a dialogue");
    assert!(!reply.is_final());
    assert_eq!(reply.bytes()[..4], 7u32.to_ne_bytes());
    let raw = InitIn { major: 6, minor: 50, ..InitIn::default() };
    assert!(negotiate(&about(0, Opcode::Init, &[raw.as_bytes()]), &wanted(Capabilities::POSIX)).is_err());
}

#[test]
fn what_is_no_init_is_refused() {
    let wanted = wanted(Capabilities::POSIX);
    assert!(negotiate(&[], &wanted).is_err());
    assert!(negotiate(&about(0, Opcode::Init, &[]), &wanted).is_err());
    assert!(negotiate(&about(0, Opcode::Init, &[&[7, 0, 0, 0, 45, 0, 0, 0, 0]]), &wanted).is_err());
    assert!(negotiate(&about(0, Opcode::Statfs, &[&[7; 64]]), &wanted).is_err());
}
