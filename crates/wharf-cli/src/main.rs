//! The command `wharf`: mounts file systems from a shell.
//!
//! What was typed ([`args`]) becomes what is to be done ([`plan`]), and one match does it. Errors are one
//! sentence with the way out, printed once, here. Exit codes: 0 done, 1 failed, 2 not understood; of `run` those of
//! the program, or 126 and 127 as shells have them.

#![forbid(unsafe_code)]

mod address;
mod args;
mod commands;
mod daemon;
mod drivers;
mod failure;
mod limits;
mod logger;
mod manual;
mod place;
mod plan;
mod probe;
#[cfg(any(feature = "remote", feature = "zip"))]
mod progress;
mod show;
mod signals;
mod sizes;
mod spec;
mod status;
mod volumes;

use std::env;
use std::process::ExitCode;

use failure::Failure;
use plan::Plan;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(sentence) = failure.sentence() {
                eprintln!("wharf: {sentence}");
            }
            failure.code()
        }
    }
}

fn run() -> Result<(), Failure> {
    let Some(args) = args::parse(env::args_os())? else { return Ok(()) };
    // Without a working directory relative paths stay what they are, and fail where they are used.
    match plan::plan(args, &env::current_dir().unwrap_or_default())? {
        Plan::Mount(plan) => commands::mount::run(plan),
        Plan::Unmount(plan) => commands::unmount::run(&plan),
        Plan::Info(plan) => commands::info::run(&plan),
        Plan::Run(plan) => commands::run::run(&plan),
        Plan::Ls(plan) => commands::ls::run(&plan),
        Plan::Cat(plan) => commands::cat::run(&plan),
        Plan::Cp(plan) => commands::cp::run(&plan),
        Plan::Stat(plan) => commands::stat::run(&plan),
        Plan::List { verbose } => commands::list::run(verbose),
        Plan::Answer(point) => probe::answer(&point),
        Plan::Completions(shell) => manual::completions(shell),
        Plan::Manual(command) => manual::page(command.as_deref()),
    }
}
