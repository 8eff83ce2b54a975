//! `wharf mount`: makes the file system, mounts it, and serves it until somebody ends it.

use std::path::PathBuf;

use wharf::{Capabilities, Defaults, FileSystem};
use wharf_direct::server::Server;
use wharf_fuse::mount::{self, Options};
use wharf_fuse::{Transport, Volume};

use crate::failure::Failure;
use crate::plan::{Mount, Presence};
use crate::show::{moment, plain, print, quoted};
use crate::signals::{self, Ending};
use crate::spec::Spec;
use crate::status::{self, Found, Published, Status};
use crate::{daemon, drivers, logger};

/// Mounts, and returns when the mount has ended; with `--daemon`, when it answers.
pub(crate) fn run(plan: Mount) -> Result<(), Failure> {
    match plan.presence {
        Presence::Daemon => return daemon::start(),
        Presence::Detached => daemon::detach()?,
        Presence::Foreground => {}
    }
    logger::start(&plan.log)?;
    let ending = signals::watch().map_err(|error| {
        Failure::Operation(format!(
            "signals cannot be received ({error}); raise the limits of this process: ulimit"
        ))
    })?;
    let read_ahead = plan.read_ahead.or_else(|| drivers::read_ahead(&plan.spec));
    let plan = Mount { read_ahead, ..plan };
    match &plan.spec {
        #[cfg(feature = "mirror")]
        Spec::Mirror(source) => {
            let fs = drivers::mirror::for_mount(source, &plan)?;
            let defaults = fs.defaults();
            serve(fs, defaults, &plan, &ending)
        }
        #[cfg(feature = "memory")]
        Spec::Memory(size) => serve(drivers::memory::make(*size), Defaults::default(), &plan, &ending),
        #[cfg(feature = "fat")]
        Spec::Fat(fat) => {
            let fs = drivers::fat::for_mount(fat, &plan)?;
            let defaults = fs.defaults();
            serve(fs, defaults, &plan, &ending)
        }
        #[cfg(feature = "remote")]
        Spec::Remote(remote) => {
            let fs = drivers::remote::for_mount(remote, &plan)?;
            let (defaults, uploads) = (fs.defaults(), fs.uploads());
            serve_until(fs, defaults, &plan, &ending, move || drivers::remote::finish(&uploads))
        }
        #[cfg(feature = "zip")]
        Spec::Zip(zip) => {
            let fs = drivers::zip::open(zip)?;
            let defaults = fs.defaults();
            serve(fs, defaults, &plan, &ending)
        }
        #[cfg(not(all(
            feature = "fat",
            feature = "memory",
            feature = "mirror",
            feature = "remote",
            feature = "zip"
        )))]
        spec => Err(drivers::left_out(spec)),
    }
}

fn serve<F: FileSystem>(fs: F, defaults: Defaults, plan: &Mount, ending: &Ending) -> Result<(), Failure> {
    serve_until(fs, defaults, plan, ending, || {})
}

/// Serves, and does something `last`, when nobody uses the volume any more and before it ends.
fn serve_until<F: FileSystem>(
    fs: F,
    defaults: Defaults,
    plan: &Mount,
    ending: &Ending,
    last: impl FnOnce() + Send + 'static,
) -> Result<(), Failure> {
    let volume = mounted(fs, defaults, plan).map_err(|error| explained(&error))?;
    if ending.mounted(volume.handle()) {
        signals::end(&volume);
        return Ok(());
    }
    let direct = plan.direct.then(|| direct(&volume)).flatten();
    volume.at_end(last);
    let published = publish(&volume, direct);
    if let Err(failure) = announce(plan, &volume) {
        // Whoever asked for it does not know that it is there.
        signals::end(&volume);
        return Err(failure);
    }
    volume.wait();
    // Those who wait for this process to end wait for the file.
    drop(volume);
    drop(published);
    if ending.hurried() { Err(Failure::Told) } else { Ok(()) }
}

fn mounted<F: FileSystem>(fs: F, defaults: Defaults, plan: &Mount) -> Result<Volume, wharf_fuse::Error> {
    let mut options = Options::new(plan.spec.driver(), &plan.source)?;
    options.allow = plan.allow;
    options.access = plan.access;
    options.auto_unmount = plan.auto_unmount;
    // Somebody has to check; the file system says whether it does.
    options.default_permissions = !fs.capabilities().contains(Capabilities::ACCESS);
    let mount = wharf_fuse::Mount::new(fs, options)
        .transport(plan.transport)
        .limits(plan.limits)
        .defaults(defaults)
        .passthrough(plan.passthrough)
        .low_latency(plan.low_latency)
        .large_pages(drivers::reads_discs(&plan.spec));
    let mount = match plan.read_ahead {
        Some(bytes) => mount.read_ahead(bytes),
        None => mount,
    };
    mount.at(&plan.point)
}

/// Lets programs read past the kernel. Without it everything works, only not as fast.
fn direct(volume: &Volume) -> Option<PathBuf> {
    let started = Server::start(volume.session(), &status::own_directory());
    let server =
        started.inspect_err(|error| log::warn!("programs read through the kernel only: {error}")).ok()?;
    let path = server.path().to_owned();
    volume.at_end(move || server.end());
    Some(path)
}

fn publish(volume: &Volume, direct: Option<PathBuf>) -> Option<Published> {
    let published = status::publish(&Status { direct, ..Status::of(volume) }, volume.connection());
    published.inspect_err(|error| log::info!("`wharf list` will know little of this mount: {error}")).ok()
}

fn announce(plan: &Mount, volume: &Volume) -> Result<(), Failure> {
    let source = plain(&plan.source);
    let point = quoted(volume.point());
    let transport = match (plan.transport, volume.transport()) {
        (Transport::Auto, Transport::Dev) => format!("dev, as {}", volume.transport_reason()),
        (_, transport) => transport.to_string(),
    };
    let by_hand = match plan.presence {
        Presence::Foreground => " Ctrl-C or",
        Presence::Daemon | Presence::Detached => "",
    };
    let line = format!(
        "{source} is mounted at {point} ({transport}); end it with{by_hand}: wharf unmount {point}\n"
    );
    match plan.presence {
        Presence::Foreground => print(&line),
        Presence::Daemon | Presence::Detached => report(plan, &line),
    }
}

/// Tells the process that started this one, and lets go of it.
fn report(plan: &Mount, line: &str) -> Result<(), Failure> {
    use std::io::Write as _;
    let told = std::io::stdout().write_all(line.as_bytes()).and_then(|()| std::io::stdout().flush());
    // If it is gone somebody has interrupted it, and wants no mount.
    told.and_then(|()| daemon::let_go(plan.log.file.as_deref())).map_err(|error| {
        Failure::Operation(format!("nobody waits for this mount any more ({error}); mount it again"))
    })
}

fn explained(error: &wharf_fuse::Error) -> Failure {
    let wharf_fuse::Error::Mount(mount::Error::AlreadyMounted { point, source }) = error else {
        return Failure::operation(error);
    };
    let list = mount::list().unwrap_or_default();
    match list.iter().rev().find(|mounted| mounted.point == *point).map(status::find) {
        Some(Found::Served(status, _)) => Failure::Operation(format!(
            "{0} is already a mount of {1} (since {2}); unmount it with: wharf unmount {0}",
            quoted(point),
            plain(source),
            moment(status.since)
        )),
        // The kernel may still answer for it, from what it remembers.
        Some(Found::Ended) => mount::Error::PointDead { point: point.clone() }.into(),
        Some(Found::Unknown) | None => Failure::operation(error),
    }
}
