use wharf::{Capabilities, Errno};
use wharf_mem::Payload;
use zerocopy::IntoBytes;

use super::{about, named, request, terms, terms_for, with_header};
use crate::wire::abi::{
    AccessIn, CopyFileRangeIn, CreateIn, ExtHeader, FallocateIn, FileLock, FlushIn, GetattrIn, GetxattrIn,
    InHeader, IoctlIn, LinkIn, LkIn, LseekIn, MknodIn, OpenIn, PollIn, ReadIn, ReleaseIn, Rename2In,
    RenameIn, Secctx, SetattrIn, SetxattrIn, StatxIn, WriteIn,
};
use crate::wire::{Control, Opcode, Terms, control, decode, header, reply_room};

fn told(head: &[u8], terms: &Terms) -> String {
    match decode(head, None, terms) {
        Ok(request) => format!("{:?}", request.operation),
        Err(errno) => named(errno).into(),
    }
}

/// What becomes of a request about node 5 with these parts.
fn decoded(opcode: Opcode, parts: &[&[u8]]) -> String {
    told(&request(opcode, parts), &terms())
}

fn check(opcode: Opcode, parts: &[&[u8]], expected: &str) {
    assert_eq!(decoded(opcode, parts), expected, "{}", opcode.name());
}

/// That the text of an operation has this in it.
fn check_part(opcode: Opcode, parts: &[&[u8]], expected: &str) {
    let operation = decoded(opcode, parts);
    assert!(operation.contains(expected), "{expected} in {operation}");
}

#[test]
fn the_header_tells_what_makes_an_operation_as_its_body_does() {
    for opcode in Opcode::ALL {
        let head = request(*opcode, &[]);
        let told = header(&head).map(|header| header.makes_operation());
        assert_eq!(told, Some(matches!(control(&head), Ok(None))), "{}", opcode.name());
    }
}

#[test]
fn a_name_is_one_that_a_directory_can_hold() {
    use Opcode::Lookup;
    check(Lookup, &[b"a b\0"], "Lookup { op: Lookup { name: \"a b\" } }");
    check(Lookup, &[b"no end"], "EIO");
    check(Lookup, &[], "EIO");
    check(Lookup, &[b"a\0b\0"], "EIO");
    check(Lookup, &[b"\0"], "EINVAL");
    check(Lookup, &[b"a/b\0"], "EINVAL");
    check(Lookup, &[b".\0"], "ESTALE");
    check(Lookup, &[b"..\0"], "ESTALE");
    check(Opcode::Unlink, &[b"..\0"], "EINVAL");
    check(Opcode::Rmdir, &[b"a\0"], "RemoveDirectory { op: Remove { name: \"a\" } }");
}

#[test]
fn the_caller_is_who_the_header_says() {
    let head = request(Opcode::Statfs, &[]);
    let request = decode(&head, None, &terms()).expect("it is complete");
    assert_eq!((request.caller.uid, request.caller.gid, request.caller.pid), (1000, 100, 77));
    assert_eq!(request.node.get(), 5);
}

#[test]
fn a_request_is_as_long_as_it_says() {
    let mut head = request(Opcode::Statfs, &[]);
    assert_eq!(told(&head, &terms()), "Statfs");
    head.push(0);
    assert_eq!(told(&head, &terms()), "EIO");
    assert_eq!(told(&head[..20], &terms()), "EIO");
    assert_eq!(told(&[], &terms()), "EIO");
}

#[test]
fn what_is_not_known_is_not_implemented() {
    for opcode in [0, 7, 19, 48, 49, 54, 4096, u32::MAX] {
        let head = with_header(InHeader { opcode, nodeid: 1, ..InHeader::default() }, &[b"anything"]);
        assert_eq!(told(&head, &terms()), "ENOSYS", "{opcode}");
        assert!(matches!(control(&head), Ok(None)), "{opcode}");
    }
}

#[test]
fn an_operation_is_about_a_node() {
    assert_eq!(told(&about(0, Opcode::Statfs, &[]), &terms()), "EINVAL");
}

#[test]
fn every_operation_needs_all_its_bytes() {
    let bare = [Opcode::Readlink, Opcode::Statfs, Opcode::Syncfs, Opcode::Destroy, Opcode::Init].as_slice();
    for opcode in Opcode::ALL.iter().filter(|opcode| !bare.contains(opcode)) {
        let head = request(*opcode, &[]);
        assert_eq!(told(&head, &terms()), "EIO", "{}", opcode.name());
        assert!(!matches!(control(&head), Ok(Some(_))), "{}", opcode.name());
    }
}

#[test]
fn a_symlink_leads_somewhere() {
    check_part(Opcode::Symlink, &[b"n\0", b"../to\0"], "target: [46, 46, 47, 116, 111]");
    check(Opcode::Symlink, &[b"n\0", b"\0"], "ENOENT");
    check(Opcode::Symlink, &[b"n\0", &[b'x'; 4096], b"\0"], "ENAMETOOLONG");
    check(Opcode::Symlink, &[b"n\0", b"x"], "EIO");
}

#[test]
fn a_node_is_made_of_a_kind_that_mknod_makes() {
    let made = |mode, rdev| {
        let raw = MknodIn { mode, rdev, umask: 0o22, padding: 0 };
        decoded(Opcode::Mknod, &[raw.as_bytes(), b"n\0"])
    };
    assert!(made(0o100_644, 7).contains("permissions: 420, umask: 18"));
    assert!(made(0o100_644, 7).ends_with("kind: File, device: 0 } }"));
    assert!(made(0o020_600, 0x0103).ends_with("kind: CharDevice, device: 259 } }"));
    assert!(made(0o010_600, 0).ends_with("kind: Fifo, device: 0 } }"));
    assert_eq!(made(0o040_755, 0), "EINVAL");
    assert_eq!(made(0o120_777, 0), "EINVAL");
    assert_eq!(made(0o150_000, 0), "EINVAL");
}

#[test]
fn a_rename_has_one_of_the_combinations_that_mean_something() {
    let raw = RenameIn { newdir: 9 };
    check(
        Opcode::Rename,
        &[raw.as_bytes(), b"a\0b\0"],
        "Rename { new_parent: NodeId(9), op: Rename { from: \"a\", to: \"b\", how: Replace } }",
    );
    check(Opcode::Rename, &[RenameIn { newdir: 0 }.as_bytes(), b"a\0b\0"], "EINVAL");
    check(Opcode::Rename, &[raw.as_bytes(), b"a\0b\0c"], "EIO");
    let how = |flags| {
        let raw = Rename2In { newdir: 9, flags, padding: 0 };
        let told = decoded(Opcode::Rename2, &[raw.as_bytes(), b"a\0b\0"]);
        told.split("how: ").last().unwrap_or_default().trim_end_matches([' ', '}']).to_owned()
    };
    let expected = [
        "Replace",
        "NoReplace",
        "Exchange",
        "EINVAL",
        "ReplaceWhiteout",
        "NoReplaceWhiteout",
        "EINVAL",
        "EINVAL",
        "EINVAL",
    ];
    assert_eq!((0..9).map(how).collect::<Vec<_>>(), expected);
}

#[test]
fn a_link_names_two_nodes() {
    let raw = LinkIn { oldnodeid: 8 };
    check(Opcode::Link, &[raw.as_bytes(), b"n\0"], "Link { node: NodeId(8), op: Link { name: \"n\" } }");
    check(Opcode::Link, &[LinkIn { oldnodeid: 0 }.as_bytes(), b"n\0"], "EINVAL");
}

/// A security context, then a group, as the kernel appends them.
fn extensions(context: &[u8], groups: &[u32]) -> Vec<u8> {
    let name = b"security.selinux\0";
    let mut record = [Secctx { size: context.len() as u32, padding: 0 }.as_bytes(), name, context].concat();
    record.resize(record.len().next_multiple_of(8), 0);
    let header = ExtHeader { size: 8 + record.len() as u32, r#type: 1 };
    let mut all = [header.as_bytes(), &record].concat();
    let mut record = [(groups.len() as u32).as_bytes(), groups.as_bytes()].concat();
    record.resize(record.len().next_multiple_of(8), 0);
    let header = ExtHeader { size: 8 + record.len() as u32, r#type: 32 };
    all.extend_from_slice(header.as_bytes());
    all.extend_from_slice(&record);
    all
}

fn extended(opcode: Opcode, parts: &[&[u8]], extensions: &[u8]) -> Vec<u8> {
    let header = InHeader {
        nodeid: 5,
        opcode: opcode as u32,
        total_extlen: (extensions.len() / 8) as u16,
        ..InHeader::default()
    };
    with_header(header, &[parts, &[extensions]].concat())
}

#[test]
fn whoever_makes_something_may_be_told_its_label_and_group() {
    let create = CreateIn { flags: 0o102, mode: 0o100_600, umask: 0, open_flags: 1 };
    let made = [
        (Opcode::Create, create.as_bytes()),
        (Opcode::Mknod, &[0; 16][..]),
        (Opcode::Mkdir, &[0; 8]),
        (Opcode::Symlink, b"name\0"),
    ];
    for (opcode, fixed) in made {
        let head = extended(opcode, &[fixed, b"n\0"], &extensions(b"label", &[44]));
        let told = told(&head, &terms());
        let expected = "security: Some((\"security.selinux\", [108, 97, 98, 101, 108])), group: Some(44)";
        assert!(told.contains(expected), "{told}");
    }
    let plain = decoded(Opcode::Create, &[create.as_bytes(), b"n\0"]);
    assert!(plain.contains("security: None, group: None"), "{plain}");
    assert!(plain.contains("kill_privileges: true"), "{plain}");
}

#[test]
fn an_extension_of_an_unknown_type_is_skipped_and_a_broken_one_refused() {
    let told = |bytes: &[u8]| told(&extended(Opcode::Mkdir, &[&[0; 8], b"n\0"], bytes), &terms());
    let header = |size, kind| [size, kind].as_bytes().to_vec();
    assert!(told(&header(8, 99)).contains("security: None, group: None"));
    assert!(told(&header(8, 0)).contains("security: None, group: None"));
    assert_eq!(told(&header(4, 99)), "EIO");
    assert_eq!(told(&header(16, 99)), "EIO");
    assert_eq!(told(&header(8, 1)), "EIO");
    assert_eq!(told(&header(8, 2)), "EOPNOTSUPP");
    assert_eq!(told(&header(u32::MAX, 32)), "EIO");
    assert_eq!(told(&extensions(b"label", &[1, 2])), "EIO");
    // More extensions than there are bytes at all.
    let beyond = InHeader { nodeid: 5, opcode: 9, total_extlen: 9, ..InHeader::default() };
    assert_eq!(super::decode::told(&with_header(beyond, &[&[0; 8], b"n\0"]), &terms()), "EIO");
}

#[test]
fn kernels_that_had_no_length_for_labels_are_understood() {
    let mut terms = terms_for(Capabilities::POSIX | Capabilities::SECURITY_CONTEXT);
    let mut labels = extensions(b"label", &[]);
    labels.truncate(labels.len() - 16);
    let head = request(Opcode::Mkdir, &[&[0; 8], b"n\0", &labels]);
    assert_eq!(told(&head, &terms), "EIO");
    terms.minor = 37;
    assert!(told(&head, &terms).contains("security.selinux"));
}

#[test]
fn only_attributes_that_are_marked_change() {
    let all = SetattrIn {
        valid: 0,
        fh: 3,
        size: 10,
        atime: (-5i64).cast_unsigned(),
        mtime: 6,
        ctime: 7,
        atimensec: 1,
        mtimensec: 2,
        ctimensec: 3,
        mode: 0o104_755,
        uid: 1,
        gid: 2,
        ..SetattrIn::default()
    };
    let told = |valid| decoded(Opcode::Setattr, &[SetattrIn { valid, ..all }.as_bytes()]);
    assert_eq!(told(0).matches("None").count(), 8, "{}", told(0));
    assert!(told(1).contains("permissions: Some(2541)"), "{}", told(1));
    assert!(told(1 << 3).contains("size: Some(10)"));
    assert!(told(1 << 4).contains("accessed: Some(At(Time { seconds: -5, nanoseconds: 1 }))"));
    assert!(told(1 << 4 | 1 << 7).contains("accessed: Some(Now)"));
    assert!(told(1 << 10).contains("changed: Some(Time { seconds: 7, nanoseconds: 3 })"));
    assert!(told(1 << 6).contains("handle: Some(HandleId(3))"));
    assert!(told(1 << 11).contains("kill_privileges: true"));
    assert_eq!(told(1 << 12), "EINVAL");
    let refused = |raw: SetattrIn| decoded(Opcode::Setattr, &[raw.as_bytes()]);
    assert_eq!(refused(SetattrIn { valid: 1 << 1, uid: u32::MAX, ..all }), "EINVAL");
    assert_eq!(refused(SetattrIn { valid: 1 << 3, size: 1 << 63, ..all }), "EFBIG");
    assert_eq!(refused(SetattrIn { valid: 1 << 5, mtimensec: 1_000_000_000, ..all }), "EINVAL");
}

#[test]
fn attributes_are_asked_with_a_handle_if_there_is_one() {
    let raw = GetattrIn { getattr_flags: 1, dummy: 0, fh: 4 };
    check(Opcode::Getattr, &[raw.as_bytes()], "GetAttributes { handle: Some(HandleId(4)) }");
    let raw = GetattrIn { getattr_flags: 0, dummy: 0, fh: 4 };
    check(Opcode::Getattr, &[raw.as_bytes()], "GetAttributes { handle: None }");
    let raw = StatxIn { getattr_flags: 1, reserved: 0, fh: 4, sx_flags: 0x2000, sx_mask: 0xfff };
    check(
        Opcode::Statx,
        &[raw.as_bytes()],
        "Statx { handle: Some(HandleId(4)), op: Statx { mask: 4095, flags: 8192 } }",
    );
}

#[test]
fn opening_to_execute_is_told() {
    let raw = OpenIn { flags: 0o100_000 | 0x20, open_flags: 1 };
    let told = decoded(Opcode::Open, &[raw.as_bytes()]);
    assert!(told.contains("EXEC") && told.contains("kill_privileges: true"), "{told}");
    let raw = OpenIn { flags: 0o100_002, open_flags: 0 };
    assert!(!decoded(Opcode::Opendir, &[raw.as_bytes()]).contains("EXEC"));
}

#[test]
fn a_read_has_a_place_and_a_size_that_fit() {
    let raw = ReadIn { fh: 1, offset: 8192, size: 4096, read_flags: 2, lock_owner: 6, ..ReadIn::default() };
    check_part(Opcode::Read, &[raw.as_bytes()], "offset: 8192, size: 4096");
    check_part(Opcode::Read, &[raw.as_bytes()], "owner: Some(LockOwner(6))");
    let last_page = ReadIn { offset: i64::MAX as u64 - 4095, ..raw };
    check_part(Opcode::Read, &[last_page.as_bytes()], "size: 4096");
    check(Opcode::Read, &[ReadIn { offset: 1 << 63, ..raw }.as_bytes()], "EINVAL");
    check(Opcode::Read, &[ReadIn { size: terms().payload_bytes + 1, ..raw }.as_bytes()], "EINVAL");
    check(Opcode::Readdir, &[ReadIn { size: u32::MAX, ..raw }.as_bytes()], "EINVAL");
    let cursor = ReadIn { fh: 2, offset: u64::MAX, size: 100, ..ReadIn::default() };
    check(
        Opcode::Readdirplus,
        &[cursor.as_bytes()],
        &format!(
            "List {{ handle: HandleId(2), op: List {{ cursor: {} }}, size: 100, entries: true, pattern: None }}",
            u64::MAX
        ),
    );
}

/// What becomes of a write of `bytes` whose struct is this.
fn written(raw: WriteIn, bytes: &[u8]) -> String {
    let mut payload = Payload::anonymous(bytes.len()).expect("there is memory");
    payload.bytes_mut().expect("nobody else has it")[..bytes.len()].copy_from_slice(bytes);
    let mut lease = payload.lease().expect("nobody else has it");
    let data = lease.data(bytes.len()).expect("nobody else has it");
    let mut head = request(Opcode::Write, &[raw.as_bytes()]);
    let len = (head.len() + bytes.len()) as u32;
    head[..4].copy_from_slice(&len.to_ne_bytes());
    match decode(&head, Some(data), &terms()) {
        Ok(request) => format!("{:?}", request.operation),
        Err(errno) => named(errno).into(),
    }
}

#[test]
fn a_write_brings_as_many_bytes_as_it_says() {
    let raw = WriteIn { fh: 1, offset: 5, size: 3, write_flags: 7, lock_owner: 2, ..WriteIn::default() };
    let told = written(raw, b"abc");
    assert!(told.contains("offset: 5") && told.contains("owner: Some(LockOwner(2))"), "{told}");
    assert!(told.contains("from_cache: true, kill_privileges: true"), "{told}");
    assert_eq!(written(raw, b"abcd"), "EIO");
    assert_eq!(written(raw, b"ab"), "EIO");
    assert_eq!(written(WriteIn { offset: i64::MAX as u64 - 2, ..raw }, b"abc"), "EFBIG");
    assert_eq!(written(WriteIn { offset: u64::MAX, ..raw }, b"abc"), "EFBIG");
    let too_long = vec![0; terms().max_write as usize + 1];
    assert_eq!(written(WriteIn { size: too_long.len() as u32, ..raw }, &too_long), "EINVAL");
    check(Opcode::Write, &[raw.as_bytes()], "EIO");
}

#[test]
fn only_a_write_brings_data() {
    let mut payload = Payload::anonymous(8).expect("there is memory");
    let mut lease = payload.lease().expect("nobody else has it");
    let data = lease.data(0);
    let head = request(Opcode::Statfs, &[]);
    assert_eq!(decode(&head, data, &terms()).map(|_| ()), Err(Errno::EIO));
}

#[test]
fn whose_locks_a_closing_descriptor_gives_up_is_told() {
    let raw = FlushIn { fh: 1, lock_owner: 9, ..FlushIn::default() };
    check(
        Opcode::Flush,
        &[raw.as_bytes()],
        "Flush { handle: HandleId(1), op: Flush { owner: LockOwner(9) } }",
    );
    let release = |release_flags| {
        let raw = ReleaseIn { fh: 1, flags: 0, release_flags, lock_owner: 9 };
        decoded(Opcode::Release, &[raw.as_bytes()])
    };
    assert!(release(0).contains("owner: None, unlock_flock: false"));
    assert!(release(1).contains("owner: Some(LockOwner(9)), unlock_flock: false"));
    assert!(release(2).contains("owner: Some(LockOwner(9)), unlock_flock: true"));
}

fn locked(opcode: Opcode, lk_flags: u32, kind: u32, start: u64, end: u64) -> String {
    let lk = FileLock { start, end, r#type: kind, pid: 3 };
    let told = decoded(opcode, &[LkIn { fh: 1, owner: 2, lk, lk_flags, padding: 0 }.as_bytes()]);
    told.replace("handle: HandleId(1), op: ", "").replace("owner: LockOwner(2), ", "")
}

#[test]
fn locks_of_ranges_and_of_whole_files_are_told_apart() {
    assert_eq!(
        locked(Opcode::Setlk, 0, 0, 10, 19),
        "SetLock { SetLock { lock: Lock { kind: Shared, range: 10..20, pid: 3 }, wait: false } }"
    );
    let to_the_end = locked(Opcode::Setlkw, 0, 1, 10, i64::MAX as u64);
    assert!(to_the_end.contains(&format!("kind: Exclusive, range: 10..{}", u64::MAX)), "{to_the_end}");
    assert!(to_the_end.contains("wait: true"), "{to_the_end}");
    assert_eq!(locked(Opcode::Setlkw, 1, 1, 7, 3), "Flock { Flock { kind: Exclusive, wait: true } }");
    assert_eq!(locked(Opcode::Setlk, 1, 2, 0, 0), "Flock { Flock { kind: Unlock, wait: false } }");
    assert!(locked(Opcode::Getlk, 0, 1, 0, 0).starts_with("GetLock { GetLock { lock: Lock"));
    assert_eq!(locked(Opcode::Getlk, 1, 1, 0, 0), "EINVAL");
    assert_eq!(locked(Opcode::Setlk, 0, 3, 0, 0), "EINVAL");
    assert_eq!(locked(Opcode::Setlk, 0, 0, 5, 4), "EINVAL");
    assert_eq!(locked(Opcode::Setlk, 0, 0, 1 << 63, u64::MAX), "EINVAL");
}

#[test]
fn access_asks_for_nothing_unheard_of() {
    check(
        Opcode::Access,
        &[AccessIn { mask: 7, padding: 0 }.as_bytes()],
        "Access { op: Access { mask: 7 } }",
    );
    check(Opcode::Access, &[AccessIn { mask: 8, padding: 0 }.as_bytes()], "EINVAL");
    check(Opcode::Access, &[AccessIn { mask: 256, padding: 0 }.as_bytes()], "EINVAL");
}

#[test]
fn an_extended_attribute_has_a_name_and_the_value_it_says() {
    let raw = SetxattrIn { size: 2, flags: 1, setxattr_flags: 1, padding: 0 };
    let long = [raw.as_bytes(), b"user.a/b\0", b"xy"].concat();
    let expected =
        "SetXattr { op: SetXattr { name: \"user.a/b\", value: [120, 121], how: Create, kill_setgid: true } }";
    check(Opcode::Setxattr, &[&long], expected);
    check(Opcode::Setxattr, &[&long, b"z"], "EIO");
    check(Opcode::Setxattr, &[&long[..long.len() - 1]], "EIO");
    check(Opcode::Setxattr, &[SetxattrIn { flags: 3, ..raw }.as_bytes(), b"a\0", b"xy"], "EINVAL");
    // Without the agreement it is eight bytes shorter.
    let short = request(Opcode::Setxattr, &[&raw.as_bytes()[..8], b"user.a\0", b"xy"]);
    let told = told(&short, &terms_for(Capabilities::empty()));
    assert!(told.contains("how: Create, kill_setgid: false"), "{told}");

    let raw = GetxattrIn { size: 0, padding: 0 };
    check(
        Opcode::Getxattr,
        &[raw.as_bytes(), b"user.a\0"],
        "GetXattr { op: GetXattr { name: \"user.a\" }, size: 0 }",
    );
    check(Opcode::Getxattr, &[raw.as_bytes(), b"\0"], "EINVAL");
    check(Opcode::Getxattr, &[raw.as_bytes(), &[b'x'; 256], b"\0"], "ERANGE");
    check(Opcode::Listxattr, &[GetxattrIn { size: u32::MAX, padding: 0 }.as_bytes()], "EINVAL");
    check(Opcode::Removexattr, &[b"user.a\0"], "RemoveXattr { op: RemoveXattr { name: \"user.a\" } }");
}

#[test]
fn space_is_given_and_taken_in_combinations_that_mean_something() {
    let told = |mode, offset, length| {
        let raw = FallocateIn { fh: 1, offset, length, mode, padding: 0 };
        let told = decoded(Opcode::Fallocate, &[raw.as_bytes()]);
        told.split("mode: ").last().unwrap_or_default().trim_end_matches([' ', '}']).to_owned()
    };
    assert_eq!(told(0, 0, 1), "Allocate, keep_size: false");
    assert_eq!(told(1, 0, 1), "Allocate, keep_size: true");
    assert_eq!(told(3, 0, 1), "PunchHole, keep_size: true");
    assert_eq!(told(0x10, 0, 1), "Zero, keep_size: false");
    assert_eq!(told(0x11, 0, 1), "Zero, keep_size: true");
    assert_eq!(told(0x08, 0, 1), "Collapse, keep_size: false");
    assert_eq!(told(0x20, 0, 1), "Insert, keep_size: false");
    for nonsense in [2, 0x09, 0x21, 0x12, 0x18, 0x80, 1 << 31] {
        assert_eq!(told(nonsense, 0, 1), "EOPNOTSUPP", "{nonsense:#x}");
    }
    assert_eq!(told(0, 0, 0), "EINVAL");
    assert_eq!(told(0, i64::MAX as u64, 1), "EFBIG");
    assert_eq!(told(0, u64::MAX, u64::MAX), "EFBIG");
}

#[test]
fn only_data_and_holes_are_sought_here() {
    let told =
        |offset, whence| decoded(Opcode::Lseek, &[LseekIn { fh: 1, offset, whence, padding: 0 }.as_bytes()]);
    assert!(told(7, 3).contains("offset: 7, what: Data"));
    assert!(told(7, 4).contains("what: Hole"));
    for whence in [0, 1, 2, 5] {
        assert_eq!(told(7, whence), "EINVAL");
    }
    assert_eq!(told(1 << 63, 3), "ENXIO");
}

#[test]
fn the_short_form_of_a_copy_is_cut_to_what_its_answer_can_tell() {
    let raw =
        CopyFileRangeIn { fh_in: 1, off_in: 2, nodeid_out: 3, fh_out: 4, off_out: 5, len: 1 << 40, flags: 0 };
    check_part(Opcode::CopyFileRange, &[raw.as_bytes()], "len: 4294967295 }, long: false");
    check_part(Opcode::CopyFileRange64, &[raw.as_bytes()], "len: 1099511627776 }, long: true");
    check(Opcode::CopyFileRange64, &[CopyFileRangeIn { flags: 1, ..raw }.as_bytes()], "EINVAL");
    check(Opcode::CopyFileRange64, &[CopyFileRangeIn { nodeid_out: 0, ..raw }.as_bytes()], "EINVAL");
    check(Opcode::CopyFileRange64, &[CopyFileRangeIn { off_out: u64::MAX, ..raw }.as_bytes()], "EINVAL");
}

#[test]
fn an_ioctl_brings_what_it_says_and_reaches_nowhere_else() {
    let raw = IoctlIn { fh: 1, flags: 1 | 16, cmd: 2, arg: 3, in_size: 2, out_size: 8 };
    check(
        Opcode::Ioctl,
        &[raw.as_bytes(), b"in"],
        "Ioctl { handle: HandleId(1), directory: true, op: Ioctl { command: 2, argument: 3, \
         input: [105, 110], output_bytes_max: 8, compat: true } }",
    );
    check(Opcode::Ioctl, &[raw.as_bytes(), b"i"], "EIO");
    check(Opcode::Ioctl, &[raw.as_bytes(), b"in", b"!"], "EIO");
    check(Opcode::Ioctl, &[IoctlIn { flags: 2, ..raw }.as_bytes(), b"in"], "EINVAL");
    check(Opcode::Ioctl, &[IoctlIn { out_size: u32::MAX, ..raw }.as_bytes(), b"in"], "EINVAL");
}

#[test]
fn a_poll_may_want_to_be_woken() {
    let told = |flags| decoded(Opcode::Poll, &[PollIn { fh: 1, kh: 8, flags, events: 4 }.as_bytes()]);
    assert!(told(0).contains("events: 4, wake: None"));
    assert!(told(1).contains("wake: Some(PollWaker(8))"));
}

#[test]
fn an_answer_has_room_for_what_was_asked_if_it_may_be_asked() {
    let room = |opcode, parts: &[&[u8]]| reply_room(&request(opcode, parts), &terms());
    let read = |size| ReadIn { size, ..ReadIn::default() };
    assert_eq!(room(Opcode::Read, &[read(4096).as_bytes()]), 4096);
    assert_eq!(room(Opcode::Readdirplus, &[read(100).as_bytes()]), 100);
    assert_eq!(room(Opcode::Read, &[read(u32::MAX).as_bytes()]), 0);
    assert_eq!(room(Opcode::Read, &[&[0; 39]]), 0);
    assert_eq!(room(Opcode::Getxattr, &[GetxattrIn { size: 9, padding: 0 }.as_bytes(), b"a\0"]), 9);
    assert_eq!(room(Opcode::Ioctl, &[IoctlIn { out_size: 7, ..IoctlIn::default() }.as_bytes()]), 7);
    assert_eq!(room(Opcode::Readlink, &[]), 4095);
    assert_eq!(room(Opcode::Statfs, &[]), 0);
    assert_eq!(reply_room(&[1; 10], &terms()), 0);
}

#[test]
fn what_is_no_operation_is_told_apart() {
    let control_of = |nodeid, opcode, parts: &[&[u8]]| {
        let head = about(nodeid, opcode, parts);
        assert_eq!(told(&head, &terms_for(Capabilities::empty())) == "EIO", nodeid != 0);
        match control(&head) {
            Ok(Some(Control::BatchForget(forgets))) => format!("{:?}", forgets.collect::<Vec<_>>()),
            Ok(Some(control)) => format!("{control:?}"),
            Ok(None) => "an operation".into(),
            Err(errno) => named(errno).into(),
        }
    };
    assert_eq!(
        control_of(5, Opcode::Forget, &[&[3, 0, 0, 0, 0, 0, 0, 0]]),
        "Forget { node: NodeId(5), count: 3 }"
    );
    assert_eq!(control_of(0, Opcode::Forget, &[&[0; 8]]), "EINVAL");
    assert_eq!(control_of(5, Opcode::Forget, &[&[0; 7]]), "EIO");
    let forgets = [5u64, 2, 0, 9, 6, 1];
    let count = |count: u32| [count, 0];
    assert_eq!(
        control_of(0, Opcode::BatchForget, &[count(3).as_bytes(), forgets.as_bytes()]),
        "[(NodeId(5), 2), (NodeId(6), 1)]"
    );
    assert_eq!(control_of(0, Opcode::BatchForget, &[count(4).as_bytes(), forgets.as_bytes()]), "EIO");
    assert_eq!(control_of(0, Opcode::BatchForget, &[count(u32::MAX).as_bytes()]), "EIO");
    assert_eq!(
        control_of(0, Opcode::Interrupt, &[&[6, 0, 0, 0, 0, 0, 0, 0]]),
        "Interrupt { target: RequestId(6) }"
    );
    assert_eq!(control_of(0, Opcode::Destroy, &[]), "Destroy");
    assert_eq!(control_of(0, Opcode::Init, &[]), "Init");
}

#[test]
fn retrieved_bytes_come_with_the_number_of_their_notice() {
    let raw = crate::wire::abi::RetrieveIn { offset: 100, size: 3, ..Default::default() };
    let head = request(Opcode::NotifyReply, &[raw.as_bytes(), b"abc"]);
    let Ok(Some(Control::NotifyReply { unique, offset, bytes })) = control(&head) else {
        panic!("it is complete")
    };
    assert_eq!((unique.0, offset, bytes), (12, 100, &b"abc"[..]));
    let short = request(Opcode::NotifyReply, &[raw.as_bytes(), b"ab"]);
    assert!(matches!(control(&short), Err(Errno::EIO)));
}
