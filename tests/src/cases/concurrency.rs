//! Many at once: whatever the order, every step is whole, and nobody sees half of one.

use std::{
    io::Write,
    os::unix::fs::MetadataExt,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

use super::{Case, case};
use crate::{
    child::Child,
    dir::{Dir, pattern, same_bytes, size, write_at},
    sys::Mapping,
};

pub(super) const CASES: &[Case] = &[
    case!(eight_threads_fill_one_directory),
    case!(eight_processes_fill_one_directory),
    case!(one_of_eight_creates_a_file),
    case!(one_of_eight_makes_a_directory),
    case!(one_of_eight_removes_a_file),
    case!(one_of_eight_renames_a_file),
    case!(a_reader_sees_the_old_file_or_the_new_one),
    case!(a_name_that_is_always_replaced_is_always_there),
    case!(renames_back_and_forth_lose_nothing),
    case!(directories_that_move_into_each_other_make_no_circle),
    case!(opening_races_with_removing),
    case!(link_counts_survive_a_race, LINKS),
    case!(writers_of_different_parts_do_not_meet),
    case!(appending_processes_lose_nothing),
    case!(growing_and_cutting_leave_zeroes_or_bytes),
    case!(stores_and_writes_of_different_pages_both_arrive, MMAP),
    case!(trees_are_made_and_removed_side_by_side),
];

const THREADS: usize = 8;

/// Runs `work` in as many threads, with their numbers, and panics if one of them does.
#[track_caller]
fn at_once(work: impl Fn(usize) + Sync) {
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..THREADS).map(|number| scope.spawn(move || work(number))).collect();
        for thread in threads {
            assert!(thread.join().is_ok(), "a thread panicked");
        }
    });
}

/// Runs `attempt` in as many threads at once; exactly one may succeed, the others must fail with `others`.
#[track_caller]
fn one_wins(attempt: impl Fn(usize) -> rustix::io::Result<()> + Sync, others: Errno) {
    let winners = AtomicUsize::new(0);
    let start = std::sync::Barrier::new(THREADS);
    at_once(|number| {
        start.wait();
        match attempt(number) {
            Ok(()) => drop(winners.fetch_add(1, Relaxed)),
            Err(errno) => assert_eq!(errno, others),
        }
    });
    assert_eq!(winners.into_inner(), 1, "so many succeeded");
}

fn eight_threads_fill_one_directory(dir: &Dir) {
    at_once(|thread| {
        for number in 0..50 {
            let name = format!("{thread}-{number}");
            dir.file(&name, &name);
            assert_eq!(dir.bytes(&name), name.as_bytes());
            if number % 3 == 0 {
                dir.unlink(&name);
            }
        }
    });
    assert_eq!(dir.names().len(), THREADS * 33);
}

fn eight_processes_fill_one_directory(dir: &Dir) {
    let child = |process: usize| {
        Child::run(move || {
            for number in 0..50 {
                dir.file(format!("{process}-{number}"), "x");
            }
        })
    };
    let children: Vec<Child> = (0..THREADS).map(child).collect();
    children.into_iter().for_each(Child::join);
    assert_eq!(dir.names().len(), THREADS * 50);
}

fn one_of_eight_creates_a_file(dir: &Dir) {
    for round in 0..50 {
        let name = format!("file{round}");
        let create = |_| dir.try_open(&name, OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY).map(drop);
        one_wins(create, Errno::EXIST);
    }
}

fn one_of_eight_makes_a_directory(dir: &Dir) {
    for round in 0..50 {
        let path = dir.path(format!("directory{round}"));
        one_wins(|_| rustix::fs::mkdir(&path, Mode::from(0o755)), Errno::EXIST);
    }
}

fn one_of_eight_removes_a_file(dir: &Dir) {
    for _ in 0..50 {
        dir.file("file", "");
        one_wins(|_| rustix::fs::unlink(dir.path("file")), Errno::NOENT);
    }
}

fn one_of_eight_renames_a_file(dir: &Dir) {
    for round in 0..50 {
        dir.file("file", "");
        let rename = |thread| rustix::fs::rename(dir.path("file"), dir.path(format!("{round}-{thread}")));
        one_wins(rename, Errno::NOENT);
    }
    assert_eq!(dir.names().len(), 50);
}

/// Runs `reader` in three threads again and again until `writer` is done.
#[track_caller]
fn meanwhile(writer: impl FnOnce() + Send, reader: impl Fn() + Sync) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    while !done.load(Relaxed) {
                        reader();
                    }
                })
            })
            .collect();
        let written = scope.spawn(writer).join();
        done.store(true, Relaxed);
        let read: Vec<_> = readers.into_iter().map(|reader| reader.join()).collect();
        assert!(written.is_ok() && read.iter().all(Result::is_ok), "a thread panicked");
    });
}

fn a_reader_sees_the_old_file_or_the_new_one(dir: &Dir) {
    let version = |number: u8| vec![number; 10_000 + usize::from(number)];
    dir.file("file", version(0));
    meanwhile(
        || {
            for number in 1..=100 {
                dir.file("next", version(number));
                dir.rename("next", "file");
            }
        },
        || {
            let bytes = dir.bytes("file");
            same_bytes(&bytes, &version(bytes[0]));
        },
    );
}

fn a_name_that_is_always_replaced_is_always_there(dir: &Dir) {
    dir.file("file", "");
    meanwhile(
        || {
            for _ in 0..200 {
                dir.file("next", "");
                dir.rename("next", "file");
            }
        },
        || {
            dir.stat("file");
            assert!(dir.names().contains(std::ffi::OsStr::new("file")), "the name is not listed");
        },
    );
}

fn renames_back_and_forth_lose_nothing(dir: &Dir) {
    let (one, two) = (dir.sub("one"), dir.sub("two"));
    at_once(|thread| {
        let name = format!("file{thread}");
        one.file(&name, &name);
        for _ in 0..50 {
            dir.rename(format!("one/{name}"), format!("two/{name}"));
            assert_eq!(two.bytes(&name), name.as_bytes());
            dir.rename(format!("two/{name}"), format!("one/{name}"));
        }
    });
    assert_eq!((one.names().len(), two.names().len()), (THREADS, 0));
}

fn directories_that_move_into_each_other_make_no_circle(dir: &Dir) {
    for _ in 0..30 {
        dir.sub("one");
        dir.sub("two");
        let start = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            for (from, to) in [("one", "two/one"), ("two", "one/two")] {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    match rustix::fs::rename(dir.path(from), dir.path(to)) {
                        Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
                        Err(errno) => panic!("{from} to {to}: {errno}"),
                    }
                });
            }
        });
        let top = dir.names();
        assert_eq!(top.len(), 1, "both moved, so both are lost");
        std::fs::remove_dir_all(dir.path(top.first().expect("one is left"))).expect("to clean up");
    }
}

fn opening_races_with_removing(dir: &Dir) {
    meanwhile(
        || {
            for round in 0..300_u32 {
                dir.file("file", round.to_le_bytes());
                dir.unlink("file");
            }
        },
        || match dir.try_open("file", OFlags::RDONLY) {
            Ok(file) => {
                // Between making and writing it is empty; never anything else.
                assert!(matches!(size(&file), 0 | 4));
                assert!(file.metadata().expect("fstat").nlink() <= 1);
            }
            Err(errno) => assert_eq!(errno, Errno::NOENT),
        },
    );
}

fn link_counts_survive_a_race(dir: &Dir) {
    dir.file("file", "");
    at_once(|thread| {
        for number in 0..50 {
            dir.link("file", format!("{thread}-{number}"));
        }
        for number in 0..49 {
            dir.unlink(format!("{thread}-{number}"));
        }
    });
    assert_eq!(dir.stat("file").nlink(), THREADS as u64 + 1);
    assert_eq!(dir.names().len(), THREADS + 1);
}

fn writers_of_different_parts_do_not_meet(dir: &Dir) {
    // Parts that share pages, so that nobody may write a page back with old bytes of another.
    const PART: usize = 1000;
    let file = dir.create("file");
    at_once(|thread| {
        for round in 0..100 {
            let bytes = pattern((thread * 1000 + round) as u64, PART);
            write_at(&file, ((round * THREADS + thread) * PART) as u64, &bytes);
        }
    });
    let bytes = dir.bytes("file");
    for round in 0..100 {
        for thread in 0..THREADS {
            let at = (round * THREADS + thread) * PART;
            same_bytes(&bytes[at..at + PART], &pattern((thread * 1000 + round) as u64, PART));
        }
    }
}

fn appending_processes_lose_nothing(dir: &Dir) {
    let child = |process: usize| {
        Child::run(move || {
            let mut log = dir.open("log", OFlags::CREATE | OFlags::WRONLY | OFlags::APPEND);
            for number in 0..200 {
                let line = format!("{process}:{number:04}:{}\n", "x".repeat(process * 10));
                assert_eq!(log.write(line.as_bytes()).expect("to append"), line.len());
            }
        })
    };
    let children: Vec<Child> = (0..4).map(child).collect();
    children.into_iter().for_each(Child::join);
    let log = String::from_utf8(dir.bytes("log")).expect("whole lines");
    for process in 0..4 {
        let own: Vec<&str> = log.lines().filter(|line| line.starts_with(&format!("{process}:"))).collect();
        assert_eq!(own.len(), 200, "lines of process {process}");
        assert!(own.is_sorted(), "lines of process {process} are out of order");
    }
    assert_eq!(log.lines().count(), 800);
}

fn growing_and_cutting_leave_zeroes_or_bytes(dir: &Dir) {
    let file = dir.create("file");
    meanwhile(
        || {
            for round in 0..200_u64 {
                write_at(&file, (round % 5) * 3000, &[b'x'; 3000]);
                rustix::fs::ftruncate(&file, (round % 3) * 2000).expect("to cut");
            }
        },
        || {
            let bytes = dir.bytes("file");
            assert!(bytes.iter().all(|byte| matches!(byte, 0 | b'x')), "bytes from nowhere");
        },
    );
}

fn stores_and_writes_of_different_pages_both_arrive(dir: &Dir) {
    const PAGES: usize = 64;
    rustix::fs::ftruncate(dir.create("file"), (PAGES * 4096) as u64).expect("to grow");
    let file = dir.open("file", OFlags::RDWR);
    let mapping = Mapping::shared(&file, 0, PAGES * 4096, true).expect("a mapping");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for page in (0..PAGES).step_by(2) {
                write_at(&file, (page * 4096) as u64, &pattern(page as u64, 4096));
            }
        });
        scope.spawn(move || {
            for page in (1..PAGES).step_by(2) {
                mapping.write(page * 4096, &pattern(page as u64, 4096));
            }
        });
    });
    let bytes = dir.bytes("file");
    for page in 0..PAGES {
        same_bytes(&bytes[page * 4096..][..4096], &pattern(page as u64, 4096));
    }
}

fn trees_are_made_and_removed_side_by_side(dir: &Dir) {
    at_once(|thread| {
        for round in 0..3 {
            let tree = dir.sub(format!("tree{thread}"));
            for branch in 0..4 {
                let branch = tree.sub(format!("branch{branch}"));
                for leaf in 0..4 {
                    branch.file(format!("leaf{leaf}"), format!("{round}"));
                }
            }
            std::fs::remove_dir_all(tree.path("")).expect("to remove the tree");
        }
    });
    assert!(dir.names().is_empty());
}
