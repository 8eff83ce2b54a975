//! Completions and manual pages, made from the definitions in [`args`](crate::args).

use clap::CommandFactory as _;

use crate::args::Args;
use crate::failure::Failure;
use crate::show::print;

/// Prints what a shell reads to complete `wharf`.
pub(crate) fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "wharf", &mut text);
    print(&String::from_utf8_lossy(&text))
}

/// Prints the page of `wharf`, or of one of its commands.
pub(crate) fn page(command: Option<&str>) -> Result<(), Failure> {
    print(&text(command)?)
}

fn text(command: Option<&str>) -> Result<String, Failure> {
    let mut all = Args::command();
    // Names subcommands in full, as in `wharf-mount(1)`.
    all.build();
    let chosen = match command {
        None => all,
        Some(name) => all.find_subcommand(name).cloned().ok_or_else(|| {
            Failure::Usage(format!(
                "there is no command `{name}` to describe; see those there are with: wharf --help"
            ))
        })?,
    };
    let mut page = Vec::new();
    clap_mangen::Man::new(chosen).render(&mut page).map_err(Failure::operation)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_has_every_option() {
        let page = text(Some("mount")).expect("a page");
        assert!(page.contains(".TH wharf-mount 1"), "{page}");
        for option in ["transport", "read\\-only", "allow\\-other", "daemon", "limit", "log\\-file"] {
            assert!(page.contains(option), "{option}: {page}");
        }
        assert!(!page.contains("detached"), "{page}");
        assert!(text(None).expect("a page").contains("wharf\\-unmount"));
        assert!(matches!(text(Some("fly")), Err(Failure::Usage(_))));
    }
}
