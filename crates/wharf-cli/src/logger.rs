//! The log: a line per event, with the time, to standard error or a file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::sync::{Mutex, PoisonError};

use log::{Level, LevelFilter, Metadata, Record};

use crate::failure::Failure;
use crate::plan::Log;

struct Logger {
    level: LevelFilter,
    file: Option<Mutex<File>>,
}

/// Sends what the libraries say where `plan` wants it.
pub(crate) fn start(plan: &Log) -> Result<(), Failure> {
    let open = |file| OpenOptions::new().create(true).append(true).open(file);
    let file = match &plan.file {
        None => None,
        Some(path) => Some(Mutex::new(open(path).map_err(|error| {
            let path = path.display();
            Failure::Operation(format!(
                "the log {path} cannot be opened ({error}); choose another with --log-file"
            ))
        })?)),
    };
    let logger = Logger { level: plan.level, file };
    log::set_max_level(plan.level);
    log::set_boxed_logger(Box::new(logger)).map_err(Failure::operation)
}

impl log::Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Libraries that talk to servers tell all that they send, passwords included, when asked for details.
        let is_ours = metadata.target().starts_with("wharf");
        metadata.level() <= self.level && (is_ours || metadata.level() <= Level::Info)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        // A log that cannot be written is no reason to stop serving.
        let _ = match &self.file {
            None => io::stderr()
                .write_all(format!("wharf: {}: {}\n", word(record.level()), record.args()).as_bytes()),
            Some(file) => {
                let line = line(record, jiff::Zoned::now());
                file.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes())
            }
        };
    }

    fn flush(&self) {}
}

fn line(record: &Record<'_>, now: jiff::Zoned) -> String {
    let time = now.strftime("%Y-%m-%d %H:%M:%S%.3f%:z");
    // Names of files may hold anything; a line of the log is one line.
    let text = record.args().to_string().replace('\n', "\\n");
    format!("{time} {:5} {}: {text}\n", word(record.level()), record.target())
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_tell_in_detail_is_not_logged() {
        use log::Log as _;
        let logger = Logger { level: LevelFilter::Trace, file: None };
        let enabled =
            |target, level| logger.enabled(&Metadata::builder().target(target).level(level).build());
        assert!(enabled("wharf_drivers::remote", Level::Trace) && enabled("suppaftp", Level::Warn));
        assert!(!enabled("suppaftp", Level::Debug) && !enabled("opendal", Level::Trace));
    }

    #[test]
    fn a_line_has_the_time_the_level_and_no_second_line() {
        let now = "2026-11-21T10:42:07.5+01:00[+01:00]".parse().expect("a time");
        let mut record = Record::builder();
        record.level(Level::Info).target("wharf_fuse::builder");
        let text = line(&record.args(format_args!("a\nb")).build(), now);
        assert_eq!(text, "2026-11-21 10:42:07.500+01:00 info  wharf_fuse::builder: a\\nb\n");
    }
}
