//! Writers that check what they wrote: a program that writes through mappings, and fio.

use rustix::fs::OFlags;

use super::{Program, Scene, Tool};
use crate::{
    child::Child,
    dir::{Dir, pattern, same_bytes},
    needs::Needs,
    sys::Mapping,
};

pub(super) const MMAP: Program =
    Program { name: "mmap", tools: &[], needs: Needs::WRITE.union(Needs::MMAP), deadline_s: 60, run: mmap };

pub(super) const FIO: Program =
    Program { name: "fio", tools: &[("fio", "fio")], needs: Needs::WRITE, deadline_s: 240, run: fio };

const PAGE: usize = 4096;
const PAGES: usize = 4096;
const WRITERS: usize = 2;

/// Two processes write every second page of one file each, through mappings of their own.
fn mmap(scene: &Scene) {
    rustix::fs::ftruncate(scene.dir.create("file"), (PAGES * PAGE) as u64).expect("to grow");
    let page = |round: usize, page: usize| pattern((round * PAGES + page) as u64, PAGE);
    let map = |dir: &Dir, writable| {
        let flags = if writable { OFlags::RDWR } else { OFlags::RDONLY };
        Mapping::shared(dir.open("file", flags), 0, PAGES * PAGE, writable).expect("a mapping")
    };
    for round in 0..3 {
        let writer = |number: usize| {
            Child::run(move || {
                let mapping = map(&scene.dir, true);
                for at in (number..PAGES).step_by(WRITERS) {
                    // In an order that no read-ahead guesses.
                    let at = (at * 1237 + number) % PAGES / WRITERS * WRITERS + number;
                    mapping.write(at * PAGE, &page(round, at));
                }
                if round == 1 {
                    mapping.sync().expect("msync");
                }
            })
        };
        let writers: Vec<Child> = (0..WRITERS).map(writer).collect();
        writers.into_iter().for_each(Child::join);
        let written = Child::run(|| {
            let (mapping, bytes) = (map(&scene.dir, false), scene.dir.bytes("file"));
            same_bytes(&bytes, &mapping.read(0, PAGES * PAGE));
            for at in 0..PAGES {
                same_bytes(&bytes[at * PAGE..][..PAGE], &page(round, at));
            }
        });
        written.join();
    }
}

fn fio(scene: &Scene) {
    let at = scene.dir.path("");
    let job = |name: &str, words: &[&str]| {
        let name = format!("--name={name}");
        let directory = format!("--directory={}", at.display());
        Tool::new(&at, "fio")
            .args(&[&name, &directory, "--output-format=terse", "--verify=crc32c", "--verify_fatal=1"])
            .args(&["--do_verify=1", "--size=64m", "--group_reporting", "--fallocate=none"])
            .args(words)
            .run();
        scene.dir.names().into_iter().for_each(|file| scene.dir.unlink(file));
    };
    job(
        "buffered",
        &["--rw=randwrite", "--bsrange=512-128k", "--bs_unaligned=0", "--ioengine=psync", "--end_fsync=1"],
    );
    job("appended", &["--rw=write", "--bs=1m", "--ioengine=psync", "--fsync=16"]);
    job("two", &["--rw=randwrite", "--bs=4k", "--ioengine=psync", "--numjobs=2", "--size=32m"]);
    if scene.have.contains(Needs::DIRECT) {
        job("direct", &["--rw=randwrite", "--bsrange=4k-128k", "--ioengine=psync", "--direct=1"]);
        job("deep", &["--rw=randwrite", "--bs=16k", "--ioengine=io_uring", "--iodepth=16", "--direct=1"]);
    }
    if scene.have.contains(Needs::MMAP) {
        job("mapped", &["--rw=randwrite", "--bs=4k", "--ioengine=mmap"]);
    }
}
