//! The remote driver against real servers, on loopback, that behave and that do not.

mod dav;
mod disc_cache;
mod ends;
mod ftp;
mod ftp_server;
mod mounted;
mod network;
mod patience;
mod reading;
mod server;
mod services;
mod sftp;
mod writing;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use wharf::testing::Volume;
use wharf_drivers::remote::{Location, Remote};

/// Has what the driver logs shown with a test that fails, and kept.
struct Shown;

static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// The lines of the log that speak of something. All tests write to one log.
fn logged(what: &str) -> Vec<String> {
    let lines = LOGGED.lock().unwrap_or_else(PoisonError::into_inner);
    lines.iter().filter(|line| line.contains(what)).cloned().collect()
}

impl log::Log for Shown {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        if record.target().starts_with("wharf") {
            println!("{}: {}", record.level(), record.args());
            let line = format!("{}: {}", record.level(), record.args());
            LOGGED.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    }
    fn flush(&self) {}
}

/// What is behind a URL, with options.
fn remote(url: &str, options: &[(&str, &str)]) -> Remote {
    let _ = log::set_logger(&Shown).map(|()| log::set_max_level(log::LevelFilter::Debug));
    let mut location = Location::parse(url).unwrap_or_else(|error| panic!("{error}"));
    for (name, value) in options {
        location.options.set(name, value).unwrap_or_else(|error| panic!("{error}"));
    }
    Remote::new(&location).unwrap_or_else(|error| panic!("{error}"))
}

fn volume(url: &str, options: &[(&str, &str)]) -> Volume<Remote> {
    patient(Volume::new(remote(url, options)))
}

/// Services are threads of this machine, which may have much else to do.
fn patient(mut volume: Volume<Remote>) -> Volume<Remote> {
    volume.patience(Duration::from_secs(60));
    volume
}

/// Bytes of which no two blocks are alike.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
