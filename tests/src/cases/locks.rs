//! Locks: byte ranges of processes and of descriptions, and `flock(2)`, which is a third kind.

use std::{
    fs::File,
    time::{Duration, Instant},
};

use rustix::{
    fs::{FlockOperation, OFlags, flock},
    io::{Errno, Result},
    process::Signal,
};

use super::{Case, case};
use crate::{
    child::{Child, Gate, own_pid},
    dir::{Dir, must_fail},
    sys::{self, Held, Kind, Owner, let_interrupt, lock_in_the_way},
};

pub(super) const CASES: &[Case] = &[
    case!(a_write_lock_keeps_others_out, LOCKS),
    case!(read_locks_are_shared, LOCKS),
    case!(locks_that_do_not_overlap_do_not_meet, LOCKS),
    case!(a_lock_to_the_end_covers_what_is_not_there_yet, LOCKS),
    case!(unlocking_the_middle_leaves_both_ends, LOCKS),
    case!(a_lock_is_converted_in_place, LOCKS),
    case!(the_one_in_the_way_is_told_with_its_process, LOCKS),
    case!(nothing_is_in_the_own_way, LOCKS),
    case!(closing_any_descriptor_drops_the_locks_of_a_process, LOCKS),
    case!(a_dead_process_holds_no_locks, LOCKS),
    case!(a_child_does_not_inherit_locks, LOCKS),
    case!(a_waiting_lock_gets_its_turn, LOCKS),
    case!(a_signal_ends_waiting_for_a_lock, LOCKS),
    case!(a_kill_ends_waiting_for_a_lock, LOCKS),
    case!(two_who_wait_for_each_other_are_told, LOCKS | LOCKS_DEADLOCK),
    case!(a_lock_needs_a_descriptor_that_could_do_it, LOCKS),
    case!(locks_outlive_names, LOCKS),
    case!(descriptions_hold_locks_of_their_own, LOCKS),
    case!(a_duplicate_shares_the_locks_of_its_description, LOCKS),
    case!(descriptions_and_processes_respect_each_other, LOCKS),
    case!(a_signal_ends_waiting_for_a_description_lock, LOCKS),
    case!(flock_keeps_other_descriptions_out, FLOCK),
    case!(flock_is_shared_by_readers_and_converted, FLOCK),
    case!(flock_goes_with_the_last_duplicate, FLOCK),
    case!(flock_and_byte_ranges_do_not_meet, FLOCK | LOCKS),
    case!(a_waiting_flock_gets_its_turn, FLOCK),
    case!(a_signal_ends_waiting_for_flock, FLOCK),
    case!(a_directory_can_be_flocked, FLOCK),
    case!(a_counter_under_locks_misses_no_turn, LOCKS),
];

/// How soon a signal must end a wait.
const PROMPT: Duration = Duration::from_secs(2);

fn open(dir: &Dir) -> File {
    dir.open("file", OFlags::RDWR | OFlags::CREATE)
}

fn try_lock(file: &File, kind: Kind, start: i64, length: i64) -> Result<()> {
    sys::lock(file, Owner::Process, false, kind, start, length)
}

/// Runs `check` in another process, with a descriptor of its own.
#[track_caller]
fn elsewhere(dir: &Dir, check: impl FnOnce(&File)) {
    Child::run(|| check(&open(dir))).join();
}

fn a_write_lock_keeps_others_out(dir: &Dir) {
    let file = open(dir);
    try_lock(&file, Kind::Write, 100, 50).expect("a free range");
    elsewhere(dir, |other| {
        must_fail(try_lock(other, Kind::Write, 149, 1), Errno::AGAIN);
        must_fail(try_lock(other, Kind::Read, 0, 0), Errno::AGAIN);
        must_fail(try_lock(other, Kind::Write, 50, 51), Errno::AGAIN);
    });
    try_lock(&file, Kind::Unlock, 100, 50).expect("to unlock");
    elsewhere(dir, |other| try_lock(other, Kind::Write, 0, 0).expect("a range that is free again"));
}

fn read_locks_are_shared(dir: &Dir) {
    let file = open(dir);
    try_lock(&file, Kind::Read, 0, 10).expect("a free range");
    elsewhere(dir, |other| {
        try_lock(other, Kind::Read, 5, 10).expect("a second reader");
        must_fail(try_lock(other, Kind::Write, 5, 10), Errno::AGAIN);
    });
}

fn locks_that_do_not_overlap_do_not_meet(dir: &Dir) {
    let file = open(dir);
    try_lock(&file, Kind::Write, 10, 10).expect("a free range");
    elsewhere(dir, |other| {
        try_lock(other, Kind::Write, 0, 10).expect("the range before");
        try_lock(other, Kind::Write, 20, 0).expect("all behind");
    });
}

fn a_lock_to_the_end_covers_what_is_not_there_yet(dir: &Dir) {
    let file = open(dir);
    try_lock(&file, Kind::Write, 1000, 0).expect("to the end of any file");
    elsewhere(dir, |other| {
        must_fail(try_lock(other, Kind::Write, 1 << 40, 1), Errno::AGAIN);
        must_fail(try_lock(other, Kind::Write, i64::MAX, 1), Errno::AGAIN);
        try_lock(other, Kind::Write, 0, 1000).expect("the range before");
    });
}

fn unlocking_the_middle_leaves_both_ends(dir: &Dir) {
    let file = open(dir);
    try_lock(&file, Kind::Write, 0, 30).expect("a free range");
    try_lock(&file, Kind::Unlock, 10, 10).expect("to unlock the middle");
    elsewhere(dir, |other| {
        must_fail(try_lock(other, Kind::Write, 9, 1), Errno::AGAIN);
        try_lock(other, Kind::Write, 10, 10).expect("the middle");
        must_fail(try_lock(other, Kind::Write, 20, 1), Errno::AGAIN);
    });
}

fn a_lock_is_converted_in_place(dir: &Dir) {
    let file = open(dir);
    try_lock(&file, Kind::Write, 0, 30).expect("a free range");
    try_lock(&file, Kind::Read, 0, 30).expect("down to a read lock");
    elsewhere(dir, |other| try_lock(other, Kind::Read, 0, 30).expect("a second reader"));
    try_lock(&file, Kind::Write, 0, 30).expect("up to a write lock");
    elsewhere(dir, |other| must_fail(try_lock(other, Kind::Read, 0, 30), Errno::AGAIN));
}

fn the_one_in_the_way_is_told_with_its_process(dir: &Dir) {
    let file = open(dir);
    try_lock(&file, Kind::Write, 100, 50).expect("a free range");
    try_lock(&file, Kind::Read, 200, 50).expect("a free range");
    let holder = own_pid();
    elsewhere(dir, |other| {
        let ask = |kind, start, length| lock_in_the_way(other, Owner::Process, kind, start, length);
        let held = |kind, start| Held { kind, start, length: 50, pid: holder };
        assert_eq!(ask(Kind::Read, 0, 0), Ok(Some(held(Kind::Write, 100))));
        assert_eq!(ask(Kind::Write, 210, 1), Ok(Some(held(Kind::Read, 200))));
        assert_eq!(ask(Kind::Read, 210, 1), Ok(None));
        assert_eq!(ask(Kind::Write, 0, 100), Ok(None));
    });
}

fn nothing_is_in_the_own_way(dir: &Dir) {
    let (file, again) = (open(dir), open(dir));
    try_lock(&file, Kind::Write, 0, 0).expect("a free range");
    assert_eq!(lock_in_the_way(&again, Owner::Process, Kind::Write, 0, 0), Ok(None));
    try_lock(&again, Kind::Write, 0, 0).expect("the own lock once more");
}

fn closing_any_descriptor_drops_the_locks_of_a_process(dir: &Dir) {
    let file = open(dir);
    try_lock(&file, Kind::Write, 0, 0).expect("a free range");
    elsewhere(dir, |other| must_fail(try_lock(other, Kind::Write, 0, 0), Errno::AGAIN));
    // Strange, but POSIX: this close drops a lock that was taken through the other descriptor.
    drop(open(dir));
    elsewhere(dir, |other| try_lock(other, Kind::Write, 0, 0).expect("a range that is free again"));
    drop(file);
}

fn a_dead_process_holds_no_locks(dir: &Dir) {
    let held = Gate::new();
    let holder = Child::run(|| {
        let file = open(dir);
        try_lock(&file, Kind::Write, 0, 0).expect("a free range");
        held.open();
        std::thread::sleep(Duration::from_secs(60));
    });
    held.pass();
    let file = open(dir);
    must_fail(try_lock(&file, Kind::Write, 0, 0), Errno::AGAIN);
    holder.signal(Signal::KILL);
    holder.end();
    sys::lock(&file, Owner::Process, true, Kind::Write, 0, 0).expect("what a dead process held");
}

fn a_child_does_not_inherit_locks(dir: &Dir) {
    let file = open(dir);
    try_lock(&file, Kind::Write, 0, 0).expect("a free range");
    Child::run(|| {
        must_fail(try_lock(&file, Kind::Write, 0, 0), Errno::AGAIN);
        drop(file.try_clone());
    })
    .join();
    elsewhere(dir, |other| must_fail(try_lock(other, Kind::Write, 0, 0), Errno::AGAIN));
}

/// How long to give a child to begin waiting. If that is too short nothing fails that should not.
const SOON: Duration = Duration::from_millis(50);

/// A child that waits with `wait` gets what it waits for after `release`, and not before.
#[track_caller]
fn gets_its_turn(wait: impl FnOnce() -> Result<()>, release: impl FnOnce()) {
    let (ready, got) = (Gate::new(), Gate::new());
    let waiting = Child::run(|| {
        ready.open();
        wait().expect("to get the lock in the end");
        got.open();
    });
    ready.pass();
    std::thread::sleep(SOON);
    assert!(!got.is_open(), "it did not wait");
    release();
    waiting.join();
}

/// A child that waits with `wait` must come back with EINTR soon after a signal.
#[track_caller]
fn is_interrupted(wait: impl FnOnce() -> Result<()>) {
    let ready = Gate::new();
    let waiting = Child::run(|| {
        let_interrupt(Signal::USR1).expect("a handler");
        ready.open();
        must_fail(wait(), Errno::INTR);
    });
    ready.pass();
    std::thread::sleep(SOON);
    let started = Instant::now();
    // Again and again: a signal that came before the wait did not end it.
    while !waiting.is_over() {
        assert!(started.elapsed() < PROMPT, "signals did not end the wait");
        waiting.signal(Signal::USR1);
        std::thread::sleep(Duration::from_millis(10));
    }
    waiting.join();
}

fn wait_for_range(dir: &Dir, owner: Owner) -> Result<()> {
    sys::lock(open(dir), owner, true, Kind::Write, 0, 10)
}

fn a_waiting_lock_gets_its_turn(dir: &Dir) {
    let file = open(dir);
    try_lock(&file, Kind::Write, 0, 10).expect("a free range");
    gets_its_turn(
        || wait_for_range(dir, Owner::Process),
        || try_lock(&file, Kind::Unlock, 0, 10).expect("to unlock"),
    );
}

fn a_signal_ends_waiting_for_a_lock(dir: &Dir) {
    let file = open(dir);
    try_lock(&file, Kind::Write, 0, 10).expect("a free range");
    is_interrupted(|| wait_for_range(dir, Owner::Process));
    // Who gave up is not in the queue any more.
    try_lock(&file, Kind::Unlock, 0, 10).expect("to unlock");
    elsewhere(dir, |other| try_lock(other, Kind::Write, 0, 10).expect("a range that is free again"));
}

fn a_kill_ends_waiting_for_a_lock(dir: &Dir) {
    let file = open(dir);
    try_lock(&file, Kind::Write, 0, 10).expect("a free range");
    let ready = Gate::new();
    let waiting = Child::run(|| {
        ready.open();
        let _ = wait_for_range(dir, Owner::Process);
    });
    ready.pass();
    std::thread::sleep(SOON);
    let started = Instant::now();
    waiting.signal(Signal::KILL);
    assert_eq!(waiting.end().terminating_signal(), Some(Signal::KILL.as_raw()));
    assert!(started.elapsed() < PROMPT, "death took {} ms", started.elapsed().as_millis());
    try_lock(&file, Kind::Unlock, 0, 10).expect("to unlock");
    elsewhere(dir, |other| try_lock(other, Kind::Write, 0, 10).expect("what nobody holds"));
}

fn two_who_wait_for_each_other_are_told(dir: &Dir) {
    let file = open(dir);
    try_lock(&file, Kind::Write, 0, 1).expect("a free range");
    let (ready, told) = (Gate::new(), Gate::new());
    // Waits for a byte while it holds another one; whether it was told that this has no end.
    let hopeless = |file: &File, holds: i64, wants: i64| {
        let waited = sys::lock(file, Owner::Process, true, Kind::Write, wants, 1);
        try_lock(file, Kind::Unlock, holds, 1).expect("to unlock");
        match waited {
            Ok(()) => false,
            Err(errno) => errno == Errno::DEADLK || panic!("failed with «{errno}»"),
        }
    };
    let other = Child::run(|| {
        let file = open(dir);
        try_lock(&file, Kind::Write, 1, 1).expect("a free range");
        ready.open();
        if hopeless(&file, 1, 0) {
            told.open();
        }
    });
    ready.pass();
    let told_here = hopeless(&file, 0, 1);
    try_lock(&file, Kind::Unlock, 0, 0).expect("to unlock");
    other.join();
    assert!(told_here != told.is_open(), "one is told, and the other gets its turn");
}

fn a_lock_needs_a_descriptor_that_could_do_it(dir: &Dir) {
    dir.file("file", "");
    must_fail(try_lock(&dir.open("file", OFlags::RDONLY), Kind::Write, 0, 0), Errno::BADF);
    must_fail(try_lock(&dir.open("file", OFlags::WRONLY), Kind::Read, 0, 0), Errno::BADF);
    must_fail(try_lock(&open(dir), Kind::Write, -1, 0), Errno::INVAL);
}

fn locks_outlive_names(dir: &Dir) {
    let file = open(dir);
    let other = open(dir);
    try_lock(&file, Kind::Write, 0, 10).expect("a free range");
    dir.rename("file", "renamed");
    Child::run(|| must_fail(try_lock(&other, Kind::Write, 0, 10), Errno::AGAIN)).join();
    dir.unlink("renamed");
    Child::run(|| must_fail(try_lock(&other, Kind::Write, 0, 10), Errno::AGAIN)).join();
    // A new file of the old name is another file.
    elsewhere(dir, |new| try_lock(new, Kind::Write, 0, 10).expect("a range of a new file"));
}

fn try_description(file: &File, kind: Kind, start: i64, length: i64) -> Result<()> {
    sys::lock(file, Owner::Description, false, kind, start, length)
}

fn descriptions_hold_locks_of_their_own(dir: &Dir) {
    let (one, two) = (open(dir), open(dir));
    try_description(&one, Kind::Write, 0, 10).expect("a free range");
    must_fail(try_description(&two, Kind::Write, 5, 10), Errno::AGAIN);
    let held = lock_in_the_way(&two, Owner::Description, Kind::Read, 0, 0);
    assert_eq!(held, Ok(Some(Held { kind: Kind::Write, start: 0, length: 10, pid: -1 })));
    // Closing another description of the file drops nothing.
    drop(open(dir));
    must_fail(try_description(&two, Kind::Write, 5, 10), Errno::AGAIN);
    drop(one);
    try_description(&two, Kind::Write, 5, 10).expect("a range that is free again");
}

fn a_duplicate_shares_the_locks_of_its_description(dir: &Dir) {
    let (one, two) = (open(dir), open(dir));
    let duplicate = one.try_clone().expect("a duplicate");
    try_description(&one, Kind::Write, 0, 10).expect("a free range");
    try_description(&duplicate, Kind::Write, 0, 10).expect("the own lock once more");
    drop(one);
    must_fail(try_description(&two, Kind::Write, 0, 10), Errno::AGAIN);
    // A child has the description, too.
    Child::run(|| {
        try_description(&duplicate, Kind::Unlock, 0, 10).expect("to unlock from a child");
    })
    .join();
    try_description(&two, Kind::Write, 0, 10).expect("a range that is free again");
}

fn descriptions_and_processes_respect_each_other(dir: &Dir) {
    let (one, two) = (open(dir), open(dir));
    try_description(&one, Kind::Write, 0, 10).expect("a free range");
    must_fail(try_lock(&two, Kind::Write, 0, 10), Errno::AGAIN);
    must_fail(try_lock(&one, Kind::Write, 0, 10), Errno::AGAIN);
    try_lock(&two, Kind::Write, 10, 10).expect("a free range");
    must_fail(try_description(&two, Kind::Write, 10, 10), Errno::AGAIN);
}

fn a_signal_ends_waiting_for_a_description_lock(dir: &Dir) {
    let file = open(dir);
    try_description(&file, Kind::Write, 0, 10).expect("a free range");
    is_interrupted(|| wait_for_range(dir, Owner::Description));
}

fn flock_keeps_other_descriptions_out(dir: &Dir) {
    let (one, two) = (open(dir), open(dir));
    flock(&one, FlockOperation::LockExclusive).expect("a free file");
    must_fail(flock(&two, FlockOperation::NonBlockingLockExclusive), Errno::AGAIN);
    must_fail(flock(&two, FlockOperation::NonBlockingLockShared), Errno::AGAIN);
    elsewhere(dir, |other| must_fail(flock(other, FlockOperation::NonBlockingLockShared), Errno::AGAIN));
    flock(&one, FlockOperation::Unlock).expect("to unlock");
    flock(&two, FlockOperation::NonBlockingLockExclusive).expect("a file that is free again");
}

fn flock_is_shared_by_readers_and_converted(dir: &Dir) {
    let (one, two) = (open(dir), open(dir));
    flock(&one, FlockOperation::LockShared).expect("a free file");
    flock(&two, FlockOperation::LockShared).expect("a second reader");
    must_fail(flock(&one, FlockOperation::NonBlockingLockExclusive), Errno::AGAIN);
    flock(&two, FlockOperation::Unlock).expect("to unlock");
    flock(&one, FlockOperation::NonBlockingLockExclusive).expect("up, alone");
    // Whoever could only read may lock, too.
    let reader = dir.open("file", OFlags::RDONLY);
    must_fail(flock(&reader, FlockOperation::NonBlockingLockExclusive), Errno::AGAIN);
    drop(one);
    flock(&reader, FlockOperation::NonBlockingLockExclusive).expect("a file that is free again");
}

fn flock_goes_with_the_last_duplicate(dir: &Dir) {
    let (one, two) = (open(dir), open(dir));
    flock(&one, FlockOperation::LockExclusive).expect("a free file");
    let duplicate = one.try_clone().expect("a duplicate");
    // Closing another description, unlike with byte ranges, drops nothing.
    drop(open(dir));
    drop(one);
    must_fail(flock(&two, FlockOperation::NonBlockingLockExclusive), Errno::AGAIN);
    drop(duplicate);
    flock(&two, FlockOperation::NonBlockingLockExclusive).expect("a file that is free again");
}

fn flock_and_byte_ranges_do_not_meet(dir: &Dir) {
    let file = open(dir);
    flock(&file, FlockOperation::LockExclusive).expect("a free file");
    elsewhere(dir, |other| {
        try_lock(other, Kind::Write, 0, 0).expect("a byte range of a flocked file");
        must_fail(flock(other, FlockOperation::NonBlockingLockShared), Errno::AGAIN);
    });
    flock(&file, FlockOperation::Unlock).expect("to unlock");
    try_lock(&file, Kind::Write, 0, 0).expect("a free range");
    elsewhere(dir, |other| {
        flock(other, FlockOperation::NonBlockingLockExclusive).expect("flock of a file with a locked range");
        must_fail(try_lock(other, Kind::Write, 0, 0), Errno::AGAIN);
    });
}

fn a_waiting_flock_gets_its_turn(dir: &Dir) {
    let file = open(dir);
    flock(&file, FlockOperation::LockExclusive).expect("a free file");
    gets_its_turn(
        || flock(open(dir), FlockOperation::LockExclusive),
        || flock(&file, FlockOperation::Unlock).expect("to unlock"),
    );
}

fn a_signal_ends_waiting_for_flock(dir: &Dir) {
    let file = open(dir);
    flock(&file, FlockOperation::LockExclusive).expect("a free file");
    is_interrupted(|| flock(open(dir), FlockOperation::LockExclusive));
}

fn a_directory_can_be_flocked(dir: &Dir) {
    let open = || dir.open(".", OFlags::RDONLY | OFlags::DIRECTORY);
    let (one, two) = (open(), open());
    flock(&one, FlockOperation::LockExclusive).expect("a free directory");
    must_fail(flock(&two, FlockOperation::NonBlockingLockExclusive), Errno::AGAIN);
}

fn a_counter_under_locks_misses_no_turn(dir: &Dir) {
    const TURNS: u32 = 100;
    dir.file("file", 0_u32.to_le_bytes());
    let count = || {
        let file = open(dir);
        for _ in 0..TURNS {
            sys::lock(&file, Owner::Process, true, Kind::Write, 0, 4).expect("a turn");
            let bytes = crate::dir::read_at(&file, 0, 4);
            let before = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            crate::dir::write_at(&file, 0, &(before + 1).to_le_bytes());
            try_lock(&file, Kind::Unlock, 0, 4).expect("to unlock");
        }
    };
    let others: Vec<Child> = (0..4).map(|_| Child::run(count)).collect();
    others.into_iter().for_each(Child::join);
    assert_eq!(dir.bytes("file"), (4 * TURNS).to_le_bytes());
}
