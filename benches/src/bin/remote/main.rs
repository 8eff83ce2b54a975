//! What is behind a slow network: Wharf's `remote:` beside `rclone mount` (and curlftpfs, where there is one,
//! and sshfs).
//!
//! One server (nginx for HTTP and WebDAV, vsftpd for FTP, sshd for SFTP) on loopback, and between it and everybody a
//! proxy that takes 20 ms for a round trip. Each measurement is a fresh mount with options as they come; the programs take
//! turns, and medians are compared. Who has not done it in 30 s counts as having done it then.

mod proxy;
mod sshd;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

const ONE_WAY: Duration = Duration::from_millis(10);
const SMALL_FILES: usize = 1000;
const SMALL_BYTES: usize = 4096;
const READERS: usize = 16;
const LARGE_BYTES: usize = 256 << 20;
const ENTRIES: usize = 10_000;
/// How often each is measured, if no other number is given.
const ROUNDS: usize = 3;
/// What takes longer is not waited for.
const WORK_MAX: Duration = Duration::from_secs(30);

const WEB_PORT: u16 = 18_080;
const FTP_PORT: u16 = 18_021;
const SFTP_PORT: u16 = 18_022;
/// For data connections of FTP.
const FTP_DATA_PORTS: std::ops::Range<u16> = 18_100..18_300;

type Answer<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Answer<()> {
    let wharf = std::env::args_os()
        .nth(1)
        .map(PathBuf::from)
        .ok_or("usage: remote PATH-OF-WHARF [ROUNDS | SERVICE | WORK]...")?;
    let chosen: Vec<String> = std::env::args().skip(2).collect();
    let rounds = chosen.iter().find_map(|word| word.parse().ok()).unwrap_or(ROUNDS).max(1);
    let place = tempdir()?;
    make_files(&place.join("data"))?;
    let servers = [nginx(&place)?, vsftpd(&place)?, sshd::start(&place)?];
    for port in FTP_DATA_PORTS.chain([WEB_PORT, FTP_PORT, SFTP_PORT]) {
        let at = |ip: [u8; 4]| SocketAddr::from((ip, port));
        proxy::start(at([127, 0, 0, 1]), at([127, 0, 0, 2]), ONE_WAY)?;
    }
    thread::sleep(Duration::from_millis(500));
    println!("median of {rounds}, round trips of {:?}; ratio: how much faster wharf is", ONE_WAY * 2);
    // Of each kind those that were named, or all.
    let is_chosen = |name: &str, kind: &[&str]| {
        chosen.iter().any(|chosen| chosen == name) || !chosen.iter().any(|chosen| kind.contains(&&**chosen))
    };
    let works: Vec<Work> =
        WORKS.into_iter().filter(|(short, ..)| is_chosen(short, &WORKS.map(|(short, ..)| short))).collect();
    for service in SERVICES.into_iter().filter(|name| is_chosen(name, &SERVICES)) {
        compare(service, &works, rounds, &wharf, &place)?;
    }
    for mut server in servers {
        let _ = server.kill();
        let _ = server.wait();
    }
    fs::remove_dir_all(place)?;
    Ok(())
}

const SERVICES: [&str; 4] = ["webdav", "http", "ftp", "sftp"];

/// What is measured, in seconds: a word for it, and more.
type Work = (&'static str, &'static str, fn(&Path) -> Answer<()>);

const WORKS: [Work; 3] = [
    ("small", "1,000 small files, 16 readers", small),
    ("large", "256 MiB in one go", large),
    ("list", "listing 10,000 entries", list),
];

fn compare(service: &str, works: &[Work], rounds: usize, wharf: &Path, place: &Path) -> Answer<()> {
    let programs = match service {
        "sftp" => sshd::programs(wharf, place),
        _ => programs(service, wharf),
    };
    for (_, name, work) in works {
        let mut took: Vec<Vec<f64>> = vec![Vec::new(); programs.len()];
        for _ in 0..rounds {
            for (program, took) in programs.iter().zip(&mut took) {
                let point = place.join("mount");
                let mut child = mount(&program.1, &point)?;
                let begun = Instant::now();
                let done = in_time(*work, &point, &mut child);
                let seconds = begun.elapsed().as_secs_f64();
                took.push(seconds);
                unmount(&mut child, &point)?;
                let done = done.map_err(|error| format!("{} over {service}: {error}", program.0))?;
                let end = if done { "" } else { ", not done" };
                eprintln!("{service} {name}: {} {:.3} s{end}", program.0, seconds);
            }
        }
        let mut line = format!("{service:7} {name:30}");
        let medians: Vec<f64> = took.iter_mut().map(|took| median(took)).collect();
        for ((program, median), took) in programs.iter().zip(&medians).zip(&took) {
            let spread = (took[took.len() - 1] - took[0]) / median * 100.0;
            let _ = write!(line, "  {} {median:7.3} s (±{:.0} %)", program.0, spread / 2.0);
        }
        for (program, median) in programs.iter().zip(&medians).skip(1) {
            let _ = write!(line, "  {}: {:.2}×", program.0, median / medians[0]);
        }
        println!("{line}");
    }
    Ok(())
}

/// The programs that mount a service, wharf first, each with the words that do it; `DIR` is the place.
fn programs(service: &str, wharf: &Path) -> Vec<(&'static str, Vec<String>)> {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let port = if service == "ftp" { FTP_PORT } else { WEB_PORT };
    let mut ours = vec![wharf.display().to_string()];
    let user = if service == "ftp" { "anonymous@" } else { "" };
    ours.extend(words(&format!("mount remote:{service}://{user}127.0.0.1:{port}/ DIR --read-only")));
    let rclone = match service {
        "webdav" => format!(":webdav: DIR --webdav-url http://127.0.0.1:{port}/ --webdav-vendor other"),
        "http" => format!(":http: DIR --http-url http://127.0.0.1:{port}/"),
        _ => format!(
            ":ftp: DIR --ftp-host 127.0.0.1 --ftp-port {port} --ftp-user anonymous --ftp-pass {OBSCURED}"
        ),
    };
    let mut programs = vec![
        ("wharf", ours),
        ("rclone", words(&format!("rclone mount {rclone} --read-only --config /dev/null"))),
    ];
    let there =
        Command::new("curlftpfs").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if service == "ftp" && there.is_ok() {
        programs.push(("curlftpfs", words(&format!("curlftpfs -f ftp://127.0.0.1:{port}/ DIR"))));
    }
    programs
}

/// "guest", in the form in which rclone wants it on its command line.
const OBSCURED: &str = "cYMGkUKzvPfqywBR24Y1QC2_4VNu";

fn mount(words: &[String], point: &Path) -> Answer<Child> {
    fs::create_dir_all(point)?;
    let device = fs::metadata(point)?;
    let place = point.display().to_string();
    let words = words.iter().map(|word| if word == "DIR" { &place } else { word });
    let mut words = words.map(String::as_str);
    let program = words.next().ok_or("no program")?;
    let mut child = Command::new(program).args(words).stdout(Stdio::null()).spawn()?;
    let begun = Instant::now();
    loop {
        use std::os::unix::fs::MetadataExt;
        if fs::metadata(point).is_ok_and(|now| now.dev() != device.dev()) {
            return Ok(child);
        }
        if begun.elapsed() > Duration::from_secs(20) || child.try_wait()?.is_some() {
            let _ = child.kill();
            return Err(format!("{program} does not mount").into());
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Does the work; false when it took too long and was ended.
fn in_time(work: fn(&Path) -> Answer<()>, point: &Path, child: &mut Child) -> Answer<bool> {
    let (tell, told) = mpsc::channel();
    let place = point.to_owned();
    let working = thread::spawn(move || {
        let done = work(&place).map_err(|error| error.to_string());
        let _ = tell.send(());
        done
    });
    let in_time = told.recv_timeout(WORK_MAX).is_ok();
    if !in_time {
        // Whoever waits for it is told so by the kernel.
        child.kill()?;
    }
    let done = working.join().map_err(|_| "it panicked")?;
    if in_time { done.map(|()| true).map_err(Into::into) } else { Ok(false) }
}

fn unmount(child: &mut Child, point: &Path) -> Answer<()> {
    let begun = Instant::now();
    while !Command::new("fusermount3").arg("-u").arg(point).stderr(Stdio::null()).status()?.success() {
        if begun.elapsed() > Duration::from_secs(10) {
            Command::new("fusermount3").arg("-uz").arg(point).status()?;
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    while child.try_wait()?.is_none() {
        if begun.elapsed() > Duration::from_secs(20) {
            child.kill()?;
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn small(point: &Path) -> Answer<()> {
    let next = AtomicUsize::new(0);
    let read = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= SMALL_FILES {
                return Ok(());
            }
            let bytes = fs::read(point.join(format!("small/{number:04}")))?;
            if bytes.len() != SMALL_BYTES || bytes[0] != number as u8 {
                return Err(std::io::Error::other("wrong bytes"));
            }
        }
    };
    thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(read)).collect();
        readers.into_iter().try_for_each(|reader| reader.join().expect("no panics"))
    })?;
    Ok(())
}

fn large(point: &Path) -> Answer<()> {
    let mut file = File::open(point.join("large"))?;
    let mut buffer = vec![0; 1 << 20];
    let mut sum = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            len => sum += len,
        }
    }
    if sum == LARGE_BYTES { Ok(()) } else { Err(format!("{sum} bytes").into()) }
}

/// As `ls -l` does: names, and what each is like.
fn list(point: &Path) -> Answer<()> {
    let mut count = 0;
    for entry in fs::read_dir(point.join("many"))? {
        count += usize::from(entry?.metadata()?.is_file());
    }
    if count == ENTRIES { Ok(()) } else { Err(format!("{count} entries").into()) }
}

fn make_files(data: &Path) -> Answer<()> {
    fs::create_dir_all(data.join("small"))?;
    fs::create_dir_all(data.join("many"))?;
    for number in 0..SMALL_FILES {
        fs::write(data.join(format!("small/{number:04}")), vec![number as u8; SMALL_BYTES])?;
    }
    for number in 0..ENTRIES {
        fs::write(data.join(format!("many/entry-{number:05}")), b"x")?;
    }
    fs::write(data.join("large"), vec![7; LARGE_BYTES])?;
    Ok(())
}

fn nginx(place: &Path) -> Answer<Child> {
    let shown = place.display();
    let config = format!(
        "load_module /usr/lib/nginx/modules/ngx_http_dav_ext_module.so;\n\
         user root; daemon off; master_process off; pid {shown}/nginx.pid; error_log {shown}/nginx.log;\n\
         events {{ worker_connections 1024; }}\n\
         http {{ access_log off; sendfile on; keepalive_requests 100000; client_body_temp_path {shown}/b;\n\
         server {{ listen 127.0.0.2:{WEB_PORT}; root {shown}/data; autoindex on;\n\
         location / {{ dav_ext_methods PROPFIND OPTIONS; }} }} }}\n"
    );
    let file = place.join("nginx.conf");
    fs::write(&file, config)?;
    Ok(Command::new("nginx").arg("-c").arg(file).stderr(Stdio::null()).spawn()?)
}

fn vsftpd(place: &Path) -> Answer<Child> {
    let config = format!(
        "listen=YES\nlisten_address=127.0.0.2\nlisten_port={FTP_PORT}\nbackground=NO\nanonymous_enable=YES\n\
         anon_root={}/data\nno_anon_password=YES\npasv_address=127.0.0.1\npasv_min_port={}\npasv_max_port={}\n\
         seccomp_sandbox=NO\nmax_per_ip=0\nmax_clients=0\npasv_promiscuous=YES\n",
        place.display(),
        FTP_DATA_PORTS.start,
        FTP_DATA_PORTS.end - 1,
    );
    let file = place.join("vsftpd.conf");
    fs::write(&file, config)?;
    Ok(Command::new("vsftpd").arg(file).spawn()?)
}

fn tempdir() -> Answer<PathBuf> {
    let place = std::env::temp_dir().join(format!("wharf-bench-remote-{}", std::process::id()));
    fs::create_dir_all(&place)?;
    Ok(place)
}

fn median(took: &mut [f64]) -> f64 {
    took.sort_by(f64::total_cmp);
    took[took.len() / 2]
}
