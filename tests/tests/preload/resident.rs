//! What is read past the kernel or not at all, where its host has little room.

use std::fs::{self, File};

use wharf::Limits;
use wharf_direct::client::Resident;
use wharf_direct::server::Server;
use wharf_drivers::memory::{Memory, Options};
use wharf_fuse::mount::{Mode, Options as MountOptions};
use wharf_fuse::{Mount, Transport};

use crate::served::settle;

const BLOCK: u64 = 64 << 10;
const BLOCKS: u64 = 128;

#[test]
fn what_is_only_read_past_the_kernel_stays_while_others_come_and_go() {
    let [point, place] = [(), ()].map(|()| tempfile::tempdir().expect("a directory"));
    let limits = Limits { sections_bytes_max: 2 << 20, ..Limits::default() };
    let memory = Memory::new(Options::new(64 << 20));
    let options = MountOptions::new("memory", "test:").expect("good names");
    let mount = Mount::new(memory, options).transport(Transport::Dev).limits(limits);
    let volume = mount.at(point.path()).expect("a mount");
    let server = Server::start(volume.session(), place.path()).expect("a server");
    let [hot, cold] = [("hot", 1), ("cold", BLOCKS)].map(|(name, blocks)| {
        let path = point.path().join(name);
        fs::write(&path, vec![7; (blocks * BLOCK) as usize]).expect("a file");
        settle(&path);
        Resident::attach(File::open(&path).expect("it is there")).expect("a host")
    });
    hot.fetch(0..1);
    let mut bytes = [0; 100];
    // Not one after the other: what is fetched ahead could fill all the room twice between two reads.
    for block in (0..BLOCKS).map(|step| step * 37 % BLOCKS) {
        assert_eq!(hot.read_at(100, &mut bytes), Some(100), "before block {block}");
        cold.fetch(block * BLOCK..block * BLOCK + 1);
    }
    let kept = (0..BLOCKS).filter(|block| cold.has(block * BLOCK..block * BLOCK + 1)).count();
    assert!(kept < 40, "{kept} of the others are there: nothing had to go");
    drop((hot, cold));
    server.end();
    volume.unmount(Mode::Clean).expect("unmounted");
}
