use std::time::Duration;

use wharf::session::{BackingId, EntryForm, EntryReply, Line, ListForm, OpenReply, Reply};
use wharf::{Attributes, Cache, Capabilities, Extended, HandleId, IoctlDone, Kind, NodeId, Statfs, Time, op};
use wharf_mem::Payload;
use zerocopy::FromBytes;

use super::{terms, terms_for};
use crate::wire::abi::{
    AttrOut, CreateOut, Dirent, Direntplus, EntryOut, FileLock, IoctlOut, Kstatfs, OpenOut, StatxOut,
};
use crate::wire::{DirentForm, Terms, encode};

/// The fixed part of an answer that has nothing else.
fn fixed<T: FromBytes>(reply: &Reply) -> T {
    let encoded = encode(reply, &terms());
    assert_eq!((encoded.fixed().len(), encoded.payload_bytes()), (size_of::<T>(), 0));
    match T::read_from_bytes(encoded.fixed()) {
        Ok(part) => part,
        Err(_) => unreachable!("the size was compared"),
    }
}

fn number(reply: &Reply) -> u64 {
    fixed(reply)
}

fn attributes() -> Attributes {
    Attributes {
        permissions: 0o640,
        uid: 1,
        gid: 2,
        device: 0x0abc_de12,
        accessed: Time { seconds: -1, nanoseconds: 5 },
        born: Some(Time { seconds: 9, nanoseconds: 8 }),
        ..Attributes::file(77, 1000)
    }
}

fn entry() -> EntryReply {
    EntryReply {
        node: NodeId::new(40).expect("not zero"),
        attributes: attributes(),
        entry_lifetime: Duration::from_millis(1500),
        attributes_lifetime: Duration::MAX,
    }
}

fn opened() -> OpenReply {
    OpenReply {
        handle: HandleId(3),
        cache: Cache::WhileOpen,
        stream: false,
        parallel_direct_writes: false,
        no_flush: false,
        directory: false,
        backing: None,
    }
}

#[test]
fn an_entry_has_its_node_attributes_and_lifetimes() {
    let out: EntryOut = fixed(&Reply::Entry(entry()));
    assert_eq!((out.nodeid, out.generation), (40, 0));
    assert_eq!((out.entry_valid, out.entry_valid_nsec), (1, 500_000_000));
    assert_eq!((out.attr.ino, out.attr.size, out.attr.blocks), (77, 1000, 2));
    assert_eq!((out.attr.mode, out.attr.uid, out.attr.gid), (0o100_640, 1, 2));
    assert_eq!((out.attr.atime.cast_signed(), out.attr.atimensec), (-1, 5));
}

#[test]
fn a_lifetime_without_end_is_a_century() {
    let out: AttrOut = fixed(&Reply::Attributes(attributes(), Duration::MAX));
    assert_eq!((out.attr_valid, out.attr_valid_nsec), (3_153_600_000, 0));
}

#[test]
fn absence_is_an_entry_for_nothing() {
    let out: EntryOut = fixed(&Reply::Absent(Duration::from_secs(4)));
    assert_eq!((out.nodeid, out.entry_valid, out.attr_valid), (0, 4, 0));
}

#[test]
fn statx_has_what_stat_lacks() {
    let extended = Extended { attributes: attributes(), flags: 0x10, flags_known: 0x30 };
    let out: StatxOut = fixed(&Reply::Extended(extended, Duration::from_secs(1)));
    assert_eq!((out.attr_valid, out.stat.mask), (1, 0xfff));
    assert_eq!((out.stat.btime.tv_sec, out.stat.btime.tv_nsec), (9, 8));
    assert_eq!((out.stat.attributes, out.stat.attributes_mask), (0x10, 0x30));
    assert_eq!((out.stat.rdev_major, out.stat.rdev_minor), (0xcde, 0xab12));
    let unborn = Attributes { born: None, ..attributes() };
    let extended = Extended { attributes: unborn, flags: 0, flags_known: 0 };
    let out: StatxOut = fixed(&Reply::Extended(extended, Duration::ZERO));
    assert_eq!((out.stat.mask, out.stat.btime.tv_sec), (0x7ff, 0));
}

fn open_flags(opened: OpenReply, terms: &Terms) -> u32 {
    let encoded = encode(&Reply::Opened(opened), terms);
    OpenOut::read_from_bytes(encoded.fixed()).expect("the part has its size").open_flags
}

#[test]
fn the_cache_rule_of_an_open_file_is_told_in_flags() {
    const DIRECT_IO: u32 = 1;
    const KEEP_CACHE: u32 = 2;
    const CACHE_DIR: u32 = 8;
    let flags = |cache, directory| open_flags(OpenReply { cache, directory, ..opened() }, &terms());
    assert_eq!(flags(Cache::WhileOpen, false), 0);
    assert_eq!(flags(Cache::Keep, false), KEEP_CACHE);
    assert_eq!(flags(Cache::Direct, false), DIRECT_IO);
    assert_eq!(flags(Cache::WhileOpen, true), 0);
    assert_eq!(flags(Cache::Keep, true), KEEP_CACHE | CACHE_DIR);
    assert_eq!(flags(Cache::Direct, true), 0);
    assert_eq!(open_flags(OpenReply { stream: true, ..opened() }, &terms()), 16 | 4);
    assert_eq!(open_flags(OpenReply { parallel_direct_writes: true, ..opened() }, &terms()), 64);
}

#[test]
fn flush_is_not_waived_where_it_gives_up_locks() {
    let quiet = OpenReply { no_flush: true, ..opened() };
    assert_eq!(open_flags(quiet, &terms()), 32);
    assert_eq!(open_flags(quiet, &terms_for(Capabilities::POSIX_LOCKS)), 0);
}

#[test]
fn passthrough_is_told_only_where_it_was_agreed_on_and_alone() {
    let backed = OpenReply { backing: Some(BackingId(6)), cache: Cache::Keep, stream: true, ..opened() };
    assert_eq!(open_flags(backed, &terms()), 2 | 16 | 4);
    let agreed = Terms { passthrough: true, ..terms() };
    assert_eq!(open_flags(backed, &agreed), 128);
    assert_eq!(open_flags(OpenReply { cache: Cache::Direct, ..backed }, &agreed), 128 | 1);
    let encoded = encode(&Reply::Opened(backed), &agreed);
    assert_eq!(OpenOut::read_from_bytes(encoded.fixed()).expect("the part has its size").backing_id, 6);
}

#[test]
fn what_was_made_and_opened_is_told_one_after_the_other() {
    let out: CreateOut = fixed(&Reply::Created(entry(), opened()));
    assert_eq!((out.entry.nodeid, out.open.fh), (40, 3));
}

#[test]
fn counts_are_as_wide_as_their_answer() {
    assert_eq!(number(&Reply::Written(9)), 9);
    assert_eq!(number(&Reply::Length(70_000)), 70_000);
    assert_eq!(number(&Reply::Copied(1 << 40, true)), 1 << 40);
    assert_eq!(number(&Reply::Copied(1 << 40, false)), u32::MAX.into());
    assert_eq!(number(&Reply::Offset(1 << 40)), 1 << 40);
    assert_eq!(number(&Reply::Block(4)), 4);
    assert_eq!(number(&Reply::Events(5)), 5);
}

#[test]
fn a_block_is_the_unit_of_a_volume() {
    let statfs = Statfs { block_size: 512, blocks: 9, name_bytes_max: 255, ..Statfs::default() };
    let out: Kstatfs = fixed(&Reply::Statfs(statfs));
    assert_eq!((out.bsize, out.frsize, out.blocks, out.namelen), (512, 512, 9, 255));
}

#[test]
fn a_lock_in_the_way_ends_with_its_last_byte() {
    let lock = |range| op::Lock { kind: op::LockKind::Exclusive, range, pid: 8 };
    let out: FileLock = fixed(&Reply::Lock(Some(lock(10..20))));
    assert_eq!((out.start, out.end, out.r#type, out.pid), (10, 19, 1, 8));
    let out: FileLock = fixed(&Reply::Lock(Some(lock(10..u64::MAX))));
    assert_eq!(out.end, i64::MAX as u64);
    let out: FileLock = fixed(&Reply::Lock(Some(lock(u64::MAX..u64::MAX))));
    assert_eq!((out.start, out.end), (i64::MAX as u64, i64::MAX as u64));
    let out: FileLock = fixed(&Reply::Lock(Some(lock(7..7))));
    assert_eq!((out.start, out.end), (7, 7));
    let out: FileLock = fixed(&Reply::Lock(None));
    assert_eq!(out.r#type, 2);
}

#[test]
fn payload_follows_the_fixed_part_of_an_ioctl_and_is_all_of_a_read() {
    let encoded = encode(&Reply::Ioctl(IoctlDone { result: -3, bytes: 8 }), &terms());
    assert_eq!((encoded.payload_bytes(), encoded.body_bytes()), (8, 24));
    assert_eq!(IoctlOut::read_from_bytes(encoded.fixed()).expect("the part has its size").result, -3);
    let encoded = encode(&Reply::Bytes(100), &terms());
    assert_eq!((encoded.fixed().len(), encoded.payload_bytes()), (0, 100));
    assert_eq!(encode(&Reply::Nothing, &terms()).body_bytes(), 0);
}

/// A listing of one line, written between other bytes.
fn listed(name: &[u8], form: EntryForm, entry: Option<&EntryReply>) -> Vec<u8> {
    let mut payload = Payload::anonymous(4096).expect("there is memory");
    payload.bytes_mut().expect("nobody else has it").fill(0xee);
    let mut lease = payload.lease().expect("nobody else has it");
    let mut window = lease.window(4096).expect("nobody else has it");
    let attributes = entry.map(|entry| &entry.attributes);
    let line = Line { name, inode: 5, kind: Kind::Directory, cursor: 6, form, entry, attributes };
    DirentForm.put(&mut window, 8, &line);
    let bytes = DirentForm.bytes(name.len(), form);
    window.fill(|buffer| {
        assert!(buffer[..8].iter().all(|byte| *byte == 0xee), "written before its place");
        assert!(buffer[8 + bytes..].iter().all(|byte| *byte == 0xee), "written behind its place");
        buffer[8..8 + bytes].to_vec()
    })
}

#[test]
fn a_line_of_a_listing_is_padded_with_zeros_to_eight_bytes() {
    let bytes = listed(b"abc", EntryForm::Plain, None);
    let (dirent, name) = Dirent::read_from_prefix(&bytes).expect("there are enough bytes");
    assert_eq!((dirent.ino, dirent.off, dirent.namelen, dirent.r#type), (5, 6, 3, 4));
    assert_eq!(name, b"abc\0\0\0\0\0");
    assert_eq!(listed(b"12345678", EntryForm::Plain, None).len(), 32);
}

#[test]
fn a_line_counts_as_a_lookup_only_if_it_names_a_node() {
    let plus = |entry: Option<EntryReply>| {
        let bytes = listed(b"n", EntryForm::Whole, entry.as_ref());
        assert_eq!(bytes.len(), 160);
        let (plus, name) = Direntplus::read_from_prefix(&bytes).expect("there are enough bytes");
        assert_eq!((plus.dirent.namelen, name), (1, &b"n\0\0\0\0\0\0\0"[..]));
        plus.entry_out
    };
    let out = plus(Some(entry()));
    assert_eq!((out.nodeid, out.attr.ino), (40, 77));
    assert_eq!(plus(None).nodeid, 0);
}
