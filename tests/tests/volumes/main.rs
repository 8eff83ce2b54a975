//! The same cases, programs and suite on every driver over every transport of the kernel's.
//!
//! Needs root, `/dev/fuse`, and FUSE over io_uring switched on; without them these tests fail and say so.

mod disc;
mod ends;
mod fixture;
mod prepared;

use std::time::Duration;

use fixture::{DRIVERS, Driver, Mounted, TRANSPORTS};
use wharf_fuse::Transport;

use wharf_tests::pjd::{self, Who};
use wharf_tests::{cases, programs};

fn cases_hold(driver: Driver, transport: Transport) {
    let mounted = Mounted::new(driver, transport);
    let report = cases::run_some(mounted.path(), driver.offers(), |case| driver.is_asked(case));
    println!("{report:#}");
    report.expect_clean();
    mounted.end();
}

#[test]
fn cases_hold_on_memory_over_dev() {
    cases_hold(Driver::Memory, Transport::Dev);
}

#[test]
fn cases_hold_on_memory_over_uring() {
    cases_hold(Driver::Memory, Transport::Uring);
}

#[test]
fn cases_hold_on_a_mirror_over_dev() {
    cases_hold(Driver::Mirror, Transport::Dev);
}

#[test]
fn cases_hold_on_a_mirror_over_uring() {
    cases_hold(Driver::Mirror, Transport::Uring);
}

#[test]
fn cases_hold_on_a_remote_over_dev() {
    cases_hold(Driver::Remote, Transport::Dev);
}

#[test]
fn cases_hold_on_a_remote_over_uring() {
    cases_hold(Driver::Remote, Transport::Uring);
}

#[test]
fn cases_hold_on_sftp() {
    cases_hold(Driver::Sftp, Transport::Dev);
}

#[test]
fn cases_hold_on_a_mirror_that_nothing_is_passed_through_for() {
    for transport in TRANSPORTS {
        cases_hold(Driver::MirrorWithoutPassthrough, transport);
    }
}

fn cases_hold_on_fat(transport: Transport) {
    let mounted = Mounted::new(Driver::Fat, transport);
    let report = cases::run_some(mounted.path(), Driver::Fat.offers(), |case| Driver::Fat.is_asked(case));
    report.expect_clean();
    mounted.end();
    mounted.expect_clean_image();
}

#[test]
fn cases_hold_on_fat_over_dev() {
    cases_hold_on_fat(Transport::Dev);
}

#[test]
fn cases_hold_on_fat_over_uring() {
    cases_hold_on_fat(Transport::Uring);
}

#[test]
#[ignore = "builds pjdfstest; run it with --include-ignored"]
fn pjdfstest_finds_nothing_that_it_does_not_find_on_ext4() {
    let control = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory on ext4");
    fixture::open_to_all(control.path());
    for who in [Who::Root, Who::Nobody] {
        let native = pjd::run(control.path(), who).unwrap_or_else(|error| panic!("{who:?} on ext4: {error}"));
        for (driver, transport) in DRIVERS.into_iter().flat_map(|driver| TRANSPORTS.map(|way| (driver, way)))
        {
            let mounted = Mounted::new(driver, transport);
            let place = format!("{who:?} on {driver:?} over {transport}");
            let found = pjd::run(mounted.path(), who).unwrap_or_else(|error| panic!("{place}: {error}"));
            println!("{place}: {} passed, {} failed", found.passed.len(), found.failed.len());
            found.expect_no_worse_than(&native);
            mounted.end();
        }
    }
}

fn programs_are_content(driver: Driver, transport: Transport) {
    let mounted = Mounted::new(driver, transport);
    programs::run(mounted.path(), driver.offers()).expect_clean();
    mounted.end();
}

#[test]
#[ignore = "takes two minutes; run it with --include-ignored"]
fn programs_are_content_on_memory_over_dev() {
    programs_are_content(Driver::Memory, Transport::Dev);
}

#[test]
#[ignore = "takes two minutes; run it with --include-ignored"]
fn programs_are_content_on_memory_over_uring() {
    programs_are_content(Driver::Memory, Transport::Uring);
}

#[test]
#[ignore = "takes two minutes; run it with --include-ignored"]
fn programs_are_content_on_a_mirror_over_dev() {
    programs_are_content(Driver::Mirror, Transport::Dev);
}

#[test]
#[ignore = "takes two minutes; run it with --include-ignored"]
fn programs_are_content_on_a_mirror_over_uring() {
    programs_are_content(Driver::Mirror, Transport::Uring);
}

#[test]
fn nothing_is_remembered_of_a_volume_that_was_emptied() {
    for (driver, transport) in DRIVERS.into_iter().flat_map(|driver| TRANSPORTS.map(|way| (driver, way))) {
        let mounted = Mounted::new(driver, transport);
        for at in 0..500 {
            std::fs::write(mounted.path().join(format!("file-{at}")), b"contents").expect("to write");
        }
        for at in 0..500 {
            std::fs::remove_file(mounted.path().join(format!("file-{at}"))).expect("to remove");
        }
        fixture::until("every node is forgotten", Duration::from_secs(10), || {
            mounted.volume().counts() == (0, 0)
        });
        mounted.end();
    }
}
