//! What was typed, as what is to be done. Pure: nothing is looked at, opened or printed.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use log::LevelFilter;
use wharf::Limits;
use wharf_fuse::Transport;
use wharf_fuse::mount::{Access, Allow};

use crate::address::Address;
use crate::args::{self, Args};
use crate::failure::Failure;
use crate::limits;
use crate::spec::{Setting, Spec};

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    Mount(Mount),
    Unmount(Unmount),
    Info(Info),
    Run(Run),
    Ls(Ls),
    Cat(Cat),
    Cp(Cp),
    Stat(Stat),
    List {
        verbose: bool,
    },
    /// Ask a mount for a sign of life, and hang if it does.
    Answer(PathBuf),
    Completions(clap_complete::Shell),
    Manual(Option<String>),
}

/// A mount to be made and served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) spec: Spec,
    pub(crate) source: OsString,
    pub(crate) point: PathBuf,
    pub(crate) transport: Transport,
    pub(crate) access: Access,
    pub(crate) allow: Allow,
    /// Nobody changes the source but through this mount.
    pub(crate) exclusive: bool,
    pub(crate) passthrough: bool,
    /// Programs may read past the kernel.
    pub(crate) direct: bool,
    /// Processors do not sleep deeply while the mount is in use.
    pub(crate) low_latency: bool,
    /// Bytes that the kernel reads ahead, if it is not to choose.
    pub(crate) read_ahead: Option<u32>,
    pub(crate) auto_unmount: bool,
    pub(crate) limits: Limits,
    pub(crate) log: Log,
    pub(crate) presence: Presence,
}

/// Which process serves, and who sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// This one, in front.
    Foreground,
    /// Another, which this one starts and waits for until the mount answers.
    Daemon,
    /// This one; it is that other process.
    Detached,
}

/// What is said about what happens, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Log {
    pub(crate) level: LevelFilter,
    /// Else to standard error.
    pub(crate) file: Option<PathBuf>,
}

/// A source to be looked into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Info {
    pub(crate) spec: Spec,
}

/// A program to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) program: OsString,
    pub(crate) arguments: Vec<OsString>,
    /// Attach every file that is read twice.
    pub(crate) eager: bool,
    pub(crate) report: Option<PathBuf>,
}

/// Names of a volume to be listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ls {
    pub(crate) address: Address,
    /// With what each is like.
    pub(crate) long: bool,
    /// Those with a dot in front too.
    pub(crate) all: bool,
}

/// Files of a volume to be printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cat {
    pub(crate) addresses: Vec<Address>,
}

/// Files of a volume to be copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cp {
    pub(crate) addresses: Vec<Address>,
    pub(crate) local: PathBuf,
    /// Directories too.
    pub(crate) recursive: bool,
    /// What is there may be replaced.
    pub(crate) force: bool,
}

/// A file of a volume to be described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) address: Address,
}

/// A mount to be taken away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unmount {
    pub(crate) point: PathBuf,
    pub(crate) manner: Manner,
}

/// How a mount is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// If nobody uses it.
    Clean,
    /// From sight.
    Lazy,
    /// With everything that is still going on.
    Force,
}

/// Says what `args` mean to somebody in `working_directory`.
pub(crate) fn plan(args: Args, working_directory: &Path) -> Result<Plan, Failure> {
    Ok(match args.command {
        args::Command::Mount(typed) => Plan::Mount(mount(typed, working_directory)?),
        args::Command::Unmount(typed) => Plan::Unmount(Unmount {
            point: typed.dir,
            manner: match (typed.lazy, typed.force) {
                (_, true) => Manner::Force,
                (true, false) => Manner::Lazy,
                (false, false) => Manner::Clean,
            },
        }),
        args::Command::Info(typed) => {
            Plan::Info(Info { spec: spec(typed.spec, typed.settings, working_directory)? })
        }
        args::Command::Run(typed) => {
            let mut command = typed.command.into_iter();
            Plan::Run(Run {
                // The parser asks for one word at least.
                program: command.next().unwrap_or_default(),
                arguments: command.collect(),
                eager: typed.eager,
                // The program may go elsewhere.
                report: typed.report.map(|file| working_directory.join(file)),
            })
        }
        args::Command::Ls(args::Ls { address, long, all }) => Plan::Ls(Ls { address, long, all }),
        args::Command::Cat(args::Cat { addresses }) => Plan::Cat(Cat { addresses }),
        args::Command::Cp(args::Cp { addresses, local, recursive, force }) => {
            Plan::Cp(Cp { addresses, local, recursive, force })
        }
        args::Command::Stat(args::Stat { address }) => Plan::Stat(Stat { address }),
        args::Command::List(args::List { verbose }) => Plan::List { verbose },
        args::Command::Answers { dir } => Plan::Answer(dir),
        args::Command::Completions { shell } => Plan::Completions(shell),
        args::Command::Man { command } => Plan::Manual(command),
    })
}

fn mount(typed: args::Mount, working_directory: &Path) -> Result<Mount, Failure> {
    let spec = spec(typed.spec, typed.settings, working_directory)?;
    let only_reads = spec.only_reads();
    Ok(Mount {
        source: spec.source(),
        spec,
        point: working_directory.join(typed.dir),
        transport: match typed.transport {
            args::Transport::Auto => Transport::Auto,
            args::Transport::Dev => Transport::Dev,
            args::Transport::Uring => Transport::Uring,
        },
        access: if typed.read_only || only_reads { Access::Read } else { Access::ReadWrite },
        allow: match (typed.allow_other, typed.allow_root) {
            (true, _) => Allow::Everyone,
            (false, true) => Allow::Root,
            (false, false) => Allow::Owner,
        },
        exclusive: typed.exclusive,
        passthrough: !typed.no_passthrough,
        direct: !typed.no_direct,
        low_latency: typed.low_latency,
        read_ahead: typed.read_ahead.map(read_ahead).transpose()?,
        auto_unmount: typed.auto_unmount,
        limits: limits::with(&typed.limits),
        log: Log { level: level(typed.log), file: typed.log_file.map(|file| working_directory.join(file)) },
        presence: match (typed.detached, typed.daemon) {
            (true, _) => Presence::Detached,
            (false, true) => Presence::Daemon,
            (false, false) => Presence::Foreground,
        },
    })
}

/// The spec with its options. The table of mounts is read by people in other directories, and a detached
/// process leaves this one: so its paths do not depend on where we are.
fn spec(typed: Spec, settings: Vec<Setting>, working_directory: &Path) -> Result<Spec, Failure> {
    let mut spec = typed.absolute(working_directory);
    for setting in settings {
        spec.set(&setting).map_err(Failure::Usage)?;
    }
    Ok(spec)
}

fn level(typed: args::Level) -> LevelFilter {
    match typed {
        args::Level::Off => LevelFilter::Off,
        args::Level::Error => LevelFilter::Error,
        args::Level::Warn => LevelFilter::Warn,
        args::Level::Info => LevelFilter::Info,
        args::Level::Debug => LevelFilter::Debug,
        args::Level::Trace => LevelFilter::Trace,
    }
}

/// The kernel counts these bytes in 32 bits.
fn read_ahead(bytes: u64) -> Result<u32, Failure> {
    u32::try_from(bytes).map_err(|_| Failure::Usage("--read-ahead takes less than 4G, as in 1M".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Memory;

    fn planned(line: &str) -> Plan {
        let args = args::parse(line.split(' ').map(OsString::from)).expect(line).expect(line);
        plan(args, Path::new("/home/me")).expect(line)
    }

    fn mounted(line: &str) -> Mount {
        match planned(line) {
            Plan::Mount(mount) => mount,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn a_mount_without_options_is_the_careful_one() {
        let plan = mounted("wharf mount mirror:data /mnt/data");
        let expected = Mount {
            spec: Spec::Mirror("/home/me/data".into()),
            source: "mirror:/home/me/data".into(),
            point: "/mnt/data".into(),
            transport: Transport::Auto,
            access: Access::ReadWrite,
            allow: Allow::Owner,
            exclusive: false,
            passthrough: true,
            direct: true,
            low_latency: false,
            read_ahead: None,
            auto_unmount: false,
            limits: Limits::default(),
            log: Log { level: LevelFilter::Warn, file: None },
            presence: Presence::Foreground,
        };
        assert_eq!(plan, expected);
    }

    #[test]
    fn every_option_of_mount_means_something() {
        let plan = mounted(
            "wharf mount memory:size=1G,inodes=9 scratch --transport=dev --read-only --allow-other --daemon \
             --auto-unmount --exclusive --no-passthrough --no-direct --low-latency --read-ahead 1M \
             --limit requests_max=7 --log debug --log-file x.log",
        );
        let expected = Mount {
            spec: Spec::Memory(Memory { bytes_max: Some(1 << 30), inodes_max: Some(9) }),
            source: "memory:size=1G,inodes=9".into(),
            point: "/home/me/scratch".into(),
            transport: Transport::Dev,
            access: Access::Read,
            allow: Allow::Everyone,
            exclusive: true,
            passthrough: false,
            direct: false,
            low_latency: true,
            read_ahead: Some(1 << 20),
            auto_unmount: true,
            limits: Limits { requests_max: 7, ..Limits::default() },
            log: Log { level: LevelFilter::Debug, file: Some("/home/me/x.log".into()) },
            presence: Presence::Daemon,
        };
        assert_eq!(plan, expected);
        assert_eq!(mounted("wharf mount memory: m --transport uring").transport, Transport::Uring);
        assert_eq!(mounted("wharf mount zip:a m").access, Access::Read);
        assert_eq!(mounted("wharf mount memory: m --allow-root").allow, Allow::Root);
    }

    #[test]
    fn the_process_behind_a_daemon_serves_and_starts_no_other() {
        let plan = mounted("wharf mount --detached memory: m --daemon");
        assert_eq!(plan.presence, Presence::Detached);
    }

    #[test]
    fn unmounting_is_clean_unless_told_otherwise() {
        for (line, manner) in [
            ("wharf unmount /mnt", Manner::Clean),
            ("wharf unmount --lazy /mnt", Manner::Lazy),
            ("wharf unmount /mnt --force", Manner::Force),
        ] {
            assert_eq!(planned(line), Plan::Unmount(Unmount { point: "/mnt".into(), manner }), "{line}");
        }
    }

    #[test]
    fn an_option_of_a_file_system_may_stand_beside_its_spec() {
        let plan = mounted("wharf mount memory:inodes=9 m --option size=1G");
        assert_eq!(plan.spec, Spec::Memory(Memory { bytes_max: Some(1 << 30), inodes_max: Some(9) }));
        assert_eq!(plan.source, "memory:size=1G,inodes=9");
        let args = ["wharf", "mount", "mirror:a", "m", "-o", "size=1G"].map(OsString::from);
        let args = args::parse(args).expect("understood").expect("no help");
        let Err(Failure::Usage(sentence)) = super::plan(args, Path::new("/")) else { panic!("refused") };
        assert!(sentence.contains("takes no options"), "{sentence}");
    }

    #[test]
    fn a_read_ahead_that_the_kernel_cannot_count_is_refused() {
        assert_eq!(mounted("wharf mount memory: m --read-ahead 4095M").read_ahead, Some(4095 << 20));
        let args = ["wharf", "mount", "memory:", "m", "--read-ahead", "4G"].map(OsString::from);
        let args = args::parse(args).expect("understood").expect("no help");
        let Err(Failure::Usage(sentence)) = super::plan(args, Path::new("/")) else { panic!("refused") };
        assert!(sentence.contains("less than 4G"), "{sentence}");
    }

    #[test]
    fn what_follows_run_is_the_programs_own() {
        let run = |program: &str, arguments: &[&str], report: Option<&str>| {
            let arguments = arguments.iter().map(OsString::from).collect();
            Plan::Run(Run {
                program: program.into(),
                arguments,
                eager: false,
                report: report.map(PathBuf::from),
            })
        };
        assert_eq!(planned("wharf run -- grep -r --help x"), run("grep", &["-r", "--help", "x"], None));
        assert_eq!(planned("wharf run grep --report x"), run("grep", &["--report", "x"], None));
        assert_eq!(planned("wharf run --report x cat -- y"), run("cat", &["--", "y"], Some("/home/me/x")));
    }

    #[test]
    fn of_what_cp_names_the_last_is_local() {
        let address = |typed: &str| Address::parse(typed.into()).expect(typed);
        let Plan::Cp(plan) = planned("wharf cp -r /m:a /m:b c:d") else { panic!("to be copied") };
        let addresses = vec![address("/m:a"), address("/m:b")];
        assert_eq!(plan, Cp { addresses, local: "c:d".into(), recursive: true, force: false });
        let ls = Ls { address: address("/m:"), long: true, all: true };
        assert_eq!(planned("wharf ls -la /m:"), Plan::Ls(ls));
    }

    #[test]
    fn the_rest_is_taken_as_it_is() {
        assert_eq!(planned("wharf list"), Plan::List { verbose: false });
        let spec = Spec::Mirror("/home/me/data".into());
        assert_eq!(planned("wharf info mirror:data"), Plan::Info(Info { spec }));
        assert_eq!(planned("wharf list -v"), Plan::List { verbose: true });
        assert_eq!(planned("wharf man mount"), Plan::Manual(Some("mount".into())));
        assert_eq!(planned("wharf completions bash"), Plan::Completions(clap_complete::Shell::Bash));
    }
}
