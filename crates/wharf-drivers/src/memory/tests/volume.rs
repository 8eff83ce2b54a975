//! The trait, through the session that serves real mounts: what the plain methods do not decide.

use wharf::op::{OpenFlags, SetAttributes, SetXattrHow};
use wharf::session::{Operation, Reply};
use wharf::testing::{Ask, Open, Volume};
use wharf::{Cache, Caller, Errno, NodeId, op};

use super::{Memory, Options};

const ROOT: Caller = Caller { uid: 0, gid: 0, pid: 1 };
const USER: Caller = Caller { uid: 1000, gid: 1000, pid: 2 };

fn volume() -> Volume<Memory> {
    let mut volume = Volume::new(Memory::new(Options::new(16 << 20)));
    volume.caller(ROOT);
    volume
}

fn create(volume: &mut Volume<Memory>, name: &str, flags: OpenFlags) -> Result<(u64, Cache), Errno> {
    let ask = Ask::new("create", NodeId::ROOT, move |parts| {
        let new =
            op::New { name: parts.name()?, permissions: 0o666, umask: 0o022, security: None, group: None };
        Ok(Operation::Create { op: op::Create { new, flags, kill_privileges: false } })
    });
    match volume.call(&ask.string(name))? {
        Reply::Created(entry, open) => {
            volume.saw(entry.node);
            Ok((entry.attributes.size, open.cache))
        }
        reply => panic!("{reply:?}"),
    }
}

fn cache_of(volume: &mut Volume<Memory>, path: &str, flags: OpenFlags) -> Cache {
    let node = volume.walk(path).unwrap();
    let op = op::Open { flags, kill_privileges: false };
    let ask = Ask::new("open", node, move |_| Ok(Operation::Open { op }));
    match volume.call(&ask).unwrap() {
        Reply::Opened(open) => open.cache,
        reply => panic!("{reply:?}"),
    }
}

#[test]
fn a_file_that_is_there_is_created_only_by_who_insists() {
    let mut volume = volume();
    volume.write("a", b"bytes").unwrap();
    volume.mkdir("dir").unwrap();
    let both = OpenFlags::READ_WRITE;
    assert_eq!(create(&mut volume, "a", both | OpenFlags::EXCLUSIVE), Err(Errno::EEXIST));
    assert_eq!(create(&mut volume, "a", both).unwrap().0, 5);
    assert_eq!(create(&mut volume, "a", both | OpenFlags::TRUNCATE).unwrap().0, 0);
    assert_eq!(create(&mut volume, "dir", both), Err(Errno::EISDIR));
    assert_eq!(create(&mut volume, &"n".repeat(256), both), Err(Errno::ENAMETOOLONG));
    assert_eq!(create(&mut volume, "b", both | OpenFlags::EXCLUSIVE), Ok((0, Cache::Keep)));
}

#[test]
fn the_cache_is_dropped_only_where_the_time_of_access_is_due() {
    let mut volume = volume();
    volume.write("a", b"bytes").unwrap();
    let read = OpenFlags::empty();
    assert_eq!(cache_of(&mut volume, "a", OpenFlags::WRITE_ONLY), Cache::Keep);
    assert_eq!(cache_of(&mut volume, "a", read | OpenFlags::NO_ATIME), Cache::Keep);
    assert_eq!(cache_of(&mut volume, "a", read), Cache::WhileOpen);
    let before = volume.stat("a").unwrap();
    volume.read("a").unwrap();
    assert!(volume.stat("a").unwrap().accessed > before.accessed);
    assert_eq!(cache_of(&mut volume, "a", read), Cache::Keep);
}

#[test]
fn a_removed_file_is_there_until_it_is_closed_and_forgotten() {
    let mut volume = volume();
    volume.write("a", &[7; 100_000]).unwrap();
    let free = |volume: &mut Volume<Memory>| {
        let statfs = volume.statfs().unwrap();
        (statfs.blocks_free, statfs.files_free)
    };
    let full = free(&mut volume);
    let open = volume.open("a", OpenFlags::READ_WRITE).unwrap();
    volume.unlink("a").unwrap();
    assert_eq!(volume.read_at(open, 99_999, 10).unwrap(), [7]);
    volume.write_at(open, 0, b"x").unwrap();
    assert_eq!(volume.getattr(open.node, None).unwrap().links, 0);
    volume.close(open).unwrap();
    volume.forget_all();
    let empty = free(&mut volume);
    // The name was rounded up to a block too.
    assert_eq!((empty.0 - full.0, empty.1 - full.1), (26, 1));
    assert_eq!(volume.unmount(), 0);
}

#[test]
fn both_forms_of_a_listing_show_the_same() {
    let mut volume = volume();
    for number in 0..500 {
        volume.write(&format!("file {number}"), b"").unwrap();
    }
    let plain = volume.list_entries("", false).unwrap();
    let whole = volume.list_entries("", true).unwrap();
    let names =
        |lines: &[wharf::testing::Seen]| lines.iter().map(|line| line.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&plain), names(&whole));
    assert_eq!(volume.list("").unwrap().len(), 500);
    volume.forget_all();
    assert_eq!(volume.unmount(), 0);
}

#[test]
fn a_listing_ends_though_everything_in_it_is_renamed() {
    let mut volume = volume();
    for number in 0..300 {
        volume.write(&format!("{number}"), b"").unwrap();
    }
    let op = op::Open { flags: OpenFlags::empty(), kill_privileges: false };
    let opendir = Ask::new("opendir", NodeId::ROOT, move |_| Ok(Operation::OpenDirectory { op }));
    let Ok(Reply::Opened(reply)) = volume.call(&opendir) else { panic!("the root does not open") };
    let open = Open { node: NodeId::ROOT, handle: reply.handle };
    let (mut cursor, mut seen) = (0, 0);
    loop {
        let lines = volume.list_part(open, cursor, false).unwrap();
        let Some(last) = lines.last() else { break };
        cursor = last.cursor;
        for line in lines.into_iter().filter(|line| !line.name.starts_with(b".")) {
            let name = String::from_utf8(line.name).unwrap();
            seen += 1;
            assert!(seen <= 300, "{name} was not there at the start");
            volume.rename(&name, &format!("x{name}"), op::RenameHow::Replace).unwrap();
        }
    }
    assert_eq!(seen, 300);
}

#[test]
fn only_root_is_told_of_trusted_attributes() {
    let mut volume = volume();
    volume.write("a", b"").unwrap();
    volume.setxattr("a", "user.one", b"1", SetXattrHow::Any).unwrap();
    volume.setxattr("a", "trusted.two", b"2", SetXattrHow::Any).unwrap();
    assert_eq!(volume.listxattr("a").unwrap(), ["trusted.two", "user.one"]);
    assert_eq!(volume.getxattr("a", "user.one").unwrap(), b"1");
    assert_eq!(volume.getxattr("a", "user.two"), Err(Errno::ENODATA));
    assert_eq!(volume.getxattr("a", "system.two"), Err(Errno::EOPNOTSUPP));
    volume.caller(USER);
    assert_eq!(volume.listxattr("a").unwrap(), ["user.one"]);
}

#[test]
fn supplementary_groups_keep_setgid() {
    let mut volume = volume();
    volume.mkdir("dir").unwrap();
    let shared = SetAttributes { gid: Some(7), permissions: Some(0o2777), ..SetAttributes::default() };
    volume.setattr("dir", shared).unwrap();
    volume.caller(USER);
    volume.groups(USER.pid, &[7]);
    volume.write("dir/a", b"").unwrap();
    assert_eq!(volume.stat("dir/a").unwrap().gid, 7);
    let given = SetAttributes { uid: Some(5), kill_privileges: true, ..SetAttributes::default() };
    let set = SetAttributes { permissions: Some(0o6744), ..SetAttributes::default() };
    volume.setattr("dir/a", set).unwrap();
    assert_eq!(volume.setattr("dir/a", given).unwrap().permissions, 0o2744);
    volume.groups(USER.pid, &[]);
    assert_eq!(volume.setattr("dir/a", given).unwrap().permissions, 0o744);
}

#[test]
fn links_lead_where_they_were_told_and_files_without_names_get_one() {
    let mut volume = volume();
    volume.symlink("there/and back", "link").unwrap();
    assert_eq!(volume.readlink("link").unwrap(), b"there/and back");
    volume.write("a", b"").unwrap();
    assert_eq!(volume.readlink("a"), Err(Errno::EINVAL));
    let open = volume.tmpfile("").unwrap();
    volume.write_at(open, 0, b"bytes").unwrap();
    volume.link_node(open.node, "named").unwrap();
    assert_eq!(volume.read("named").unwrap(), b"bytes");
    volume.fsync(open).unwrap();
}
