//! `wharf unmount`: takes a mount away, whichever process serves it.

use std::path::Path;
use std::thread;
use std::time::Duration;

use wharf_fuse::mount::{self, Mode, Mounted};

use crate::failure::Failure;
use crate::place::without_links;
use crate::plan::{Manner, Unmount};
use crate::show::quoted;
use crate::status::{self, Found};

/// How long the host may take to finish after its mount is gone.
const HOST_AT_MOST: Duration = Duration::from_secs(10);
/// How long a program such as `df` looks at a mount, and how many of them are waited for.
const GLANCE: Duration = Duration::from_millis(20);
const GLANCES_MAX: u32 = 5;

/// Unmounts as planned.
pub(crate) fn run(plan: &Unmount) -> Result<(), Failure> {
    let mounted = there(&plan.point);
    // Looked up now: when the mount is gone its file may be too.
    let host = mounted.as_ref().map(status::find);
    match plan.manner {
        Manner::Lazy => return Ok(mount::unmount(&plan.point, Mode::Lazy)?),
        Manner::Clean => patiently(|| mount::unmount(&plan.point, Mode::Clean))?,
        Manner::Force => {
            if let Some(mounted) = &mounted {
                mount::abort(mounted.connection)?;
            }
            match mount::unmount(&plan.point, Mode::Lazy) {
                // Its host saw the end of the connection and was faster.
                Err(mount::Error::NotMounted { .. }) if mounted.is_some() => {}
                done => done?,
            }
        }
    }
    if let Some(Found::Served(status, host)) = host
        && !host.wait(HOST_AT_MOST)
    {
        return Err(Failure::Operation(format!(
            "{} is unmounted, but its process {} has not finished yet; see what it does with: ps {1}",
            quoted(&plan.point),
            status.pid
        )));
    }
    Ok(())
}

/// Tries again a few times if nobody is found who keeps it busy: somebody only looked at it.
pub(crate) fn patiently(unmount: impl Fn() -> Result<(), mount::Error>) -> Result<(), mount::Error> {
    for _ in 0..GLANCES_MAX {
        match unmount() {
            Err(mount::Error::Busy { holders, .. }) if holders.is_empty() => thread::sleep(GLANCE),
            done => return done,
        }
    }
    unmount()
}

/// The Wharf mount that one sees at `point`, asking only the directories above it.
fn there(point: &Path) -> Option<Mounted> {
    let place = without_links(point)?;
    mount::list().ok()?.into_iter().rev().find(|mounted| mounted.point == place)
}
