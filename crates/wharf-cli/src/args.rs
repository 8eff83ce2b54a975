//! What can be typed. Nothing here knows what it means; that is [`plan`](crate::plan).
//!
//! Help, completions and the manual are all made from these definitions.

mod volume;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser, ValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Parser, Subcommand, ValueEnum};

use crate::failure::Failure;
use crate::limits;
use crate::sizes;
use crate::spec::{Setting, Spec};

pub(crate) use volume::{Cat, Cp, Ls, Stat};

const EXAMPLES: &str = "\
Examples:
  wharf mount mirror:/srv/data /mnt/data
  wharf mount memory:size=1G /mnt/scratch --daemon
  wharf mount zip:photos.zip /mnt/photos
  wharf info mirror:/srv/data
  wharf list
  wharf ls '/mnt/data:src/*.rs'
  wharf cp -r /mnt/photos:2024 here
  wharf unmount /mnt/data";

/// Mounts file systems that run in user space.
#[derive(Debug, Parser)]
#[command(name = "wharf", version, after_help = EXAMPLES, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Mount(Mount),
    Unmount(Unmount),
    List(List),
    Info(Info),
    Run(Run),
    Ls(Ls),
    Cat(Cat),
    Cp(Cp),
    Stat(Stat),
    /// Asks DIR for a sign of life, in a process that may hang for it
    #[command(hide = true)]
    Answers {
        /// Where to ask
        dir: PathBuf,
    },
    /// Prints completions for a shell
    #[command(hide = true)]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Prints the manual page, or that of one command
    #[command(hide = true)]
    Man {
        /// Which command
        command: Option<String>,
    },
}

/// Mounts SPEC on DIR and serves it until it is unmounted
#[derive(Debug, clap::Args)]
#[command(after_long_help = limits::help())]
pub(crate) struct Mount {
    /// What to mount: mirror:PATH, fat:IMAGE, remote:URL, zip:FILE or memory:size=BYTES,inodes=NUMBER
    ///
    /// mirror:PATH shows the directory PATH as it is, with everything that is done to it.
    ///
    /// memory: is a new file system in memory, whose contents go when it is unmounted. size=512M limits the
    /// bytes that it holds, inodes=1000 the number of files and directories.
    ///
    /// fat:IMAGE is the FAT volume in an image or on a device; behind IMAGE may stand @OFFSET in bytes or #PARTITION.
    /// It is read only unless --option write is given.
    ///
    /// remote:URL is what is behind a service: https, http, webdavs, webdav, s3, sftp, ftps, ftp or file. Passwords
    /// come from WHARF_REMOTE_PASSWORD or a file named by --option credentials=FILE, never from the URL; sftp uses
    /// the keys, the agent and the known hosts of ssh.
    ///
    /// zip:FILE shows a zip archive, to be read. `--option cache=512M` limits the bytes of packed files that are
    /// held unpacked at a time; without it that is a quarter of the machine's memory. Larger ones are unpacked as
    /// they are read.
    #[arg(value_parser = spec())]
    pub(crate) spec: Spec,

    /// Set an option of the file system, as size=1G of memory: may be given several times
    #[arg(long = "option", short = 'o', value_name = "NAME=VALUE", value_parser = setting())]
    pub(crate) settings: Vec<Setting>,

    /// Where to mount it: an existing directory
    pub(crate) dir: PathBuf,

    /// How requests come from the kernel
    #[arg(long, value_enum, value_name = "WAY", default_value_t = Transport::Auto)]
    pub(crate) transport: Transport,

    /// Refuse every change
    #[arg(long)]
    pub(crate) read_only: bool,

    /// Let all users in, not only the one who mounts
    #[arg(long, conflicts_with = "allow_root")]
    pub(crate) allow_other: bool,

    /// Let root in too, and nobody else
    #[arg(long)]
    pub(crate) allow_root: bool,

    /// Nobody else changes what is shown: let the kernel keep what it knows for long
    #[arg(long)]
    pub(crate) exclusive: bool,

    /// Return when the mount answers, and serve it in the background
    #[arg(long)]
    pub(crate) daemon: bool,

    /// Said to the process that `--daemon` starts.
    #[arg(long, hide = true)]
    pub(crate) detached: bool,

    /// Free DIR even if this process is killed
    #[arg(long)]
    pub(crate) auto_unmount: bool,

    /// Never let the kernel read and write backing files by itself
    #[arg(long)]
    pub(crate) no_passthrough: bool,

    /// Do not let programs read past the kernel, through shared memory
    #[arg(long)]
    pub(crate) no_direct: bool,

    /// Keep idle processors from deep sleep while the mount is in use: answers come sooner, at a cost of power; for root
    #[arg(long)]
    pub(crate) low_latency: bool,

    /// How far the kernel reads ahead in files that are read from their start on, as in 1M; more than the usual 128K needs root
    #[arg(long, value_name = "SIZE", value_parser = sizes::bytes)]
    pub(crate) read_ahead: Option<u64>,

    /// Change a limit of the volume; may be given several times
    #[arg(long = "limit", value_name = "NAME=VALUE", value_parser = limits::Choice::parse)]
    pub(crate) limits: Vec<limits::Choice>,

    /// How much to say about what happens
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = Level::Warn)]
    pub(crate) log: Level,

    /// Where to say it, instead of the terminal
    #[arg(long, value_name = "FILE")]
    pub(crate) log_file: Option<PathBuf>,
}

/// Unmounts what is on DIR
///
/// Waits until the process that serves it has finished, for ten seconds at most.
#[derive(Debug, clap::Args)]
pub(crate) struct Unmount {
    /// Where it is mounted
    pub(crate) dir: PathBuf,

    /// Take it out of sight now, and end it when nobody uses it any more
    #[arg(long)]
    pub(crate) lazy: bool,

    /// End it now, whoever uses it: what was not written yet is lost
    #[arg(long, conflicts_with = "lazy")]
    pub(crate) force: bool,
}

/// Lists what is mounted
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// Tell everything that is known, with the limits
    #[arg(long, short)]
    pub(crate) verbose: bool,
}

/// Tells what is inside SPEC, without mounting it
#[derive(Debug, clap::Args)]
pub(crate) struct Info {
    /// What to look into, as for mount
    #[arg(value_parser = spec())]
    pub(crate) spec: Spec,

    /// Set an option of the file system, as for mount
    #[arg(long = "option", short = 'o', value_name = "NAME=VALUE", value_parser = setting())]
    pub(crate) settings: Vec<Setting>,
}

/// Runs a program that reads files of mounts past the kernel, where that is possible
///
/// The program need not know of it. What it reads again of long files comes from memory that is shared with the
/// process that serves the mount, unless somebody has them open for writing; everything else works as ever. Programs
/// that are linked statically or change users as they start are run and gain nothing.
#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// Add a line to FILE at the end of each process: how many files, reads and bytes came past the kernel
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,

    /// Read past the kernel whatever is read twice, also where that does not pay
    #[arg(long, hide = true)]
    pub(crate) eager: bool,

    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

/// The ways of a request from the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Transport {
    /// uring where the kernel offers it, else dev
    Auto,
    /// By reads and writes of /dev/fuse
    Dev,
    /// By rings that are shared with the kernel
    Uring,
}

/// How much a log says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

fn spec() -> ValueParser {
    OsStringValueParser::new().try_map(|typed: OsString| Spec::parse(&typed)).into()
}

fn setting() -> ValueParser {
    OsStringValueParser::new().try_map(|typed: OsString| Setting::parse(&typed)).into()
}

/// Reads the command line. `Ok(None)`: help or the version was asked for and is printed.
pub(crate) fn parse(typed: impl IntoIterator<Item = OsString>) -> Result<Option<Args>, Failure> {
    let typed = Vec::from_iter(typed);
    if let Some(run) = plain_run(&typed) {
        return Ok(Some(Args { command: Command::Run(run) }));
    }
    match Args::try_parse_from(typed) {
        Ok(args) => Ok(Some(args)),
        Err(asked) if !asked.use_stderr() => {
            // Nobody listens if this fails.
            let _ = asked.print();
            Ok(None)
        }
        Err(error) => Err(Failure::Usage(sentence(&error))),
    }
}

/// `wharf run` without options. It is in front of programs that take a millisecond, and to set up the parser takes a
/// fifth of one.
fn plain_run(typed: &[OsString]) -> Option<Run> {
    let (_, [run, rest @ ..]) = typed.split_first()? else { return None };
    let is = |word: &OsString, text: &str| word.as_os_str() == text;
    let command = match rest {
        [dashes, command @ ..] if is(dashes, "--") => command,
        [option, ..] if option.as_encoded_bytes().starts_with(b"-") => return None,
        command => command,
    };
    let is_complete = is(run, "run") && !command.is_empty();
    is_complete.then(|| Run { report: None, eager: false, command: command.to_vec() })
}

/// Makes one sentence of the parser's paragraphs.
fn sentence(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::ValueValidation
        && let Some(own) = std::error::Error::source(error)
    {
        return own.to_string();
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "say what to do: mount, unmount, list or info; see: wharf --help".into();
    }
    let rendered = error.render().to_string();
    let told = rendered.split("\n\nUsage:").next().unwrap_or_default();
    let told = told.split("\n\nFor more information").next().unwrap_or_default();
    let mut text = String::new();
    for line in told.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let line = line.strip_prefix("error: ").unwrap_or(line);
        let line = line.strip_prefix("tip: ").unwrap_or(line);
        let between = match text.chars().last() {
            None => "",
            Some(':') => " ",
            Some(_) => {
                if line.starts_with(['<', '-', '[']) {
                    ", "
                } else {
                    "; "
                }
            }
        };
        text += between;
        text += line;
    }
    let command = match error.get(ContextKind::Usage) {
        Some(ContextValue::StyledStr(usage)) => command_of(&usage.to_string()),
        _ => "wharf".to_owned(),
    };
    format!("{text}; see: {command} --help")
}

/// `wharf mount` of `Usage: wharf mount [OPTIONS] <SPEC> <DIR>`.
fn command_of(usage: &str) -> String {
    let words = usage.split_whitespace().skip_while(|word| *word != "wharf");
    let names = words.take_while(|word| word.chars().all(|letter| letter.is_ascii_lowercase()));
    Vec::from_iter(names).join(" ")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn refusal(line: &str) -> String {
        let typed = line.split(' ').map(OsString::from);
        match parse(typed) {
            Err(Failure::Usage(sentence)) => sentence,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn the_definitions_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_run_without_options_is_what_the_parser_makes_of_it() {
        for (line, is_plain) in [
            ("wharf run ls", true),
            ("wharf run -- ls", true),
            ("wharf run ls -la --report x -- y", true),
            ("wharf run -- -x -- --help", true),
            ("wharf run -- --", true),
            ("wharf run help", true),
            ("wharf run  x", true),
            ("wharf run --", false),
            ("wharf run", false),
            ("wharf run -x", false),
            ("wharf run - x", false),
            ("wharf run --report x ls", false),
            ("wharf runs ls", false),
            ("wharf", false),
        ] {
            let typed = Vec::from_iter(line.split(' ').map(OsString::from));
            let plain = plain_run(&typed);
            assert_eq!(plain.is_some(), is_plain, "{line}");
            if let Some(plain) = plain {
                let parsed = Args::try_parse_from(&typed).expect(line);
                let Command::Run(parsed) = parsed.command else { panic!("{line}: to be run") };
                assert_eq!(format!("{plain:?}"), format!("{parsed:?}"), "{line}");
            }
        }
        assert!(plain_run(&[]).is_none());
    }

    #[test]
    fn every_refusal_is_one_sentence_with_a_way_out() {
        for (line, start, way_out) in [
            ("wharf", "say what to do", "see: wharf --help"),
            ("wharf mnt", "unrecognized subcommand 'mnt'", "see: wharf --help"),
            (
                "wharf mount",
                "the following required arguments were not provided: <SPEC>, <DIR>",
                "wharf mount --help",
            ),
            (
                "wharf mount memory:",
                "the following required arguments were not provided: <DIR>",
                "wharf mount --help",
            ),
            ("wharf mount tar:a /mnt", "`tar:` is no file system known here", "use mirror:PATH"),
            (
                "wharf mount memory: /mnt --transport tcp",
                "invalid value 'tcp' for '--transport <WAY>'",
                "auto, dev, uring",
            ),
            (
                "wharf mount memory: /mnt --readonly",
                "unexpected argument '--readonly' found",
                "'--read-only'",
            ),
            ("wharf mount memory: /mnt --limit x=1", "there is no limit `x`", "requests_max"),
            (
                "wharf mount memory: /mnt --allow-other --allow-root",
                "the argument '--allow-other' cannot be used with",
                "wharf mount --help",
            ),
            (
                "wharf unmount",
                "the following required arguments were not provided: <DIR>",
                "wharf unmount --help",
            ),
            (
                "wharf unmount /mnt --lazy --force",
                "the argument '--lazy' cannot be used with",
                "wharf unmount --help",
            ),
            ("wharf completions csh", "invalid value 'csh'", "bash"),
        ] {
            let sentence = refusal(line);
            assert!(sentence.starts_with(start), "{line}: {sentence}");
            assert!(sentence.contains(way_out), "{line}: {sentence}");
            assert!(!sentence.contains('\n') && !sentence.ends_with('.'), "one sentence: {sentence}");
        }
    }
}
