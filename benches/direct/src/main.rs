//! Measures the direct path beside the kernel's, interleaved: `bench-direct [ROUNDS] [PART...]`, as root.
//!
//! Parts: `null`, `deep`, `miss`, `fill`, `stream`, `random`, `list`. Medians over the rounds, the range behind them, and the ratio.

mod kernel;
mod served;

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use wharf_direct::client::{Piece, Reader, Volume};

const SHORT: Duration = Duration::from_millis(700);

/// The process that serves both.
struct Host {
    child: Child,
    lines: BufReader<ChildStdout>,
    socket: PathBuf,
    point: PathBuf,
}

impl Host {
    fn start() -> Host {
        let point = std::env::temp_dir().join(format!("bench-direct-{}", std::process::id()));
        std::fs::create_dir_all(&point).expect("a mount point");
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .arg("serve")
            .arg(&point)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a host");
        let mut lines = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        lines.read_line(&mut line).expect("a line");
        Host { child, lines, socket: line.trim().into(), point }
    }

    fn sections_bytes(&mut self) -> u64 {
        self.child.stdin.as_mut().expect("piped").write_all(b"\n").expect("it listens");
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        line.trim().parse().expect("a number")
    }

    fn file(&self, name: &str) -> File {
        File::open(self.point.join(name)).expect("it is there")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
        let _ = std::fs::remove_dir(&self.point);
    }
}

/// Calls `work` on so many threads for a while. Operations a second, all together.
fn rate(threads: usize, time: Duration, work: impl Fn(usize) -> Box<dyn FnMut() + Send>) -> f64 {
    let until = Instant::now() + time;
    let counts = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|thread| {
                let mut work = work(thread);
                scope.spawn(move || {
                    let mut count = 0u64;
                    while Instant::now() < until {
                        for _ in 0..16 {
                            work();
                        }
                        count += 16;
                    }
                    count
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("it worked")).sum::<u64>()
    });
    counts as f64 / time.as_secs_f64()
}

struct Series(&'static str, Vec<f64>);

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Runs each way once a round, and prints them beside the first.
fn compare(what: &str, unit: &str, rounds: usize, ways: &mut [(&'static str, &mut dyn FnMut() -> f64)]) {
    let mut series: Vec<Series> = ways.iter().map(|(name, _)| Series(name, Vec::new())).collect();
    for _ in 0..rounds {
        for ((_, way), series) in ways.iter_mut().zip(&mut series) {
            series.1.push(way());
        }
    }
    let first = median(&series[0].1);
    for Series(name, values) in &series {
        let (low, high) =
            values.iter().fold((f64::MAX, 0f64), |(low, high), value| (low.min(*value), high.max(*value)));
        let now = median(values);
        println!(
            "{what:34} {name:12} {now:12.2} {unit:6} [{low:.2}..{high:.2}]  direct is {:.2} of it",
            first / now
        );
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next().unwrap_or_else(|| "5".into());
    if first == "serve" {
        return served::serve(&arguments.next().expect("a mount point"));
    }
    let rounds = first.parse().expect("a number of rounds");
    let parts: Vec<String> = arguments.collect();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    let mut host = Host::start();
    let volume = Volume::connect(&host.socket).expect("a connection");
    let file = host.file("asked");
    let reader = Reader::attach_only(&file).expect("a direct path");
    if wanted("null") {
        null(rounds, &volume, &file);
    }
    if wanted("deep") {
        deep(rounds, &host.point, &reader);
    }
    if wanted("miss") {
        miss(rounds, &reader, &file);
    }
    if wanted("fill") {
        fill(rounds, &host);
    }
    if wanted("stream") {
        stream(rounds, &reader, &file);
    }
    if wanted("list") {
        list(rounds, &host, &volume);
    }
    if wanted("random") {
        random(&mut host);
    }
}

fn null(rounds: usize, volume: &Volume, file: &File) {
    for threads in [1, 2, 8] {
        let direct = || {
            rate(threads, SHORT, |_| {
                let volume = volume.clone();
                Box::new(move || volume.ping().expect("an answer"))
            })
        };
        // The least that the kernel passes on: one byte of a file that nobody caches.
        let fuse = || {
            rate(threads, SHORT, |_| {
                let file = file.try_clone().expect("a descriptor");
                Box::new(move || _ = file.read_at(&mut [0], 0).expect("a byte"))
            })
        };
        let socket = || rate(threads, SHORT, |_| kernel::echo());
        let (mut direct, mut fuse, mut socket) = (direct, fuse, socket);
        compare(
            &format!("null request, {threads} threads"),
            "/s",
            rounds,
            &mut [("direct", &mut direct), ("fuse uring", &mut fuse), ("unix socket", &mut socket)],
        );
    }
}

fn deep(rounds: usize, point: &Path, reader: &Reader) {
    let mut direct = || {
        let mut buffers = vec![[0u8; 512]; 32];
        let until = Instant::now() + SHORT;
        let mut count = 0u64;
        while Instant::now() < until {
            let mut pieces: Vec<_> = buffers
                .iter_mut()
                .enumerate()
                .map(|(at, into)| Piece::new((count + at as u64) % 4096 * 4096, into))
                .collect();
            reader.read_many(&mut pieces);
            assert!(pieces.iter().all(|piece| piece.result.is_ok()));
            count += 32;
        }
        count as f64 / SHORT.as_secs_f64()
    };
    let mut fuse = || kernel::deep(&point.join("asked"), 32, 512, SHORT);
    compare(
        "512 bytes, 32 in flight",
        "/s",
        rounds,
        &mut [("direct", &mut direct), ("fuse uring", &mut fuse)],
    );
}

fn miss(rounds: usize, reader: &Reader, file: &File) {
    let at = |count: u64| count.wrapping_mul(0x9E37_79B9_7F4A_7C15) % (served::FILE_BYTES / 65_536) * 65_536;
    for len in [4096, 65_536] {
        let run = |read: &dyn Fn(u64, &mut [u8])| {
            let (mut bytes, mut count) = (vec![0; len], 0u64);
            let until = Instant::now() + SHORT;
            while Instant::now() < until {
                read(at(count), &mut bytes);
                count += 1;
            }
            count as f64 / SHORT.as_secs_f64()
        };
        let mut direct = || run(&|at, into| _ = reader.read_at(at, into).expect("bytes"));
        let mut fuse = || run(&|at, into| _ = file.read_at(into, at).expect("bytes"));
        let what = format!("miss of {len} bytes at random");
        compare(&what, "/s", rounds, &mut [("direct", &mut direct), ("fuse uring", &mut fuse)]);
    }
}

/// A block that is asked for once more is filled whole, to be kept; of it 4 KiB are copied out.
fn fill(rounds: usize, host: &Host) {
    /// A half of what is kept, so that blocks stay until they have been asked for again.
    const BLOCKS: u64 = 2048;
    let (kept, asked) = (host.file("kept"), host.file("asked"));
    let reader = Reader::attach_only(&kept).expect("a direct path");
    let mut first = 0;
    let mut bytes = vec![0; 65_536];
    let shuffled = |first: u64, count: u64| first + count * 1103 % BLOCKS;
    let mut direct = || {
        // All of them once: that alone keeps nothing.
        for block in first..first + BLOCKS {
            assert_eq!(reader.read_at(block * 65_536, &mut bytes[..4096]).expect("bytes"), 4096);
        }
        let begun = Instant::now();
        for at in (0..BLOCKS).map(|count| shuffled(first, count) * 65_536 + 32_768) {
            assert_eq!(reader.read_at(at, &mut bytes[..4096]).expect("bytes"), 4096);
            assert_eq!(bytes[4095], served::byte(at));
        }
        // Others the next time, and round again at the end of the file.
        first = (first + BLOCKS) % (served::FILE_BYTES / 65_536);
        BLOCKS as f64 / begun.elapsed().as_secs_f64()
    };
    let mut from = 0;
    let mut into = vec![0; 65_536];
    let mut fuse = || {
        let begun = Instant::now();
        for at in (0..BLOCKS).map(|count| shuffled(from, count) * 65_536) {
            asked.read_exact_at(&mut into, at).expect("bytes");
        }
        from = (from + BLOCKS) % (served::FILE_BYTES / 65_536);
        BLOCKS as f64 / begun.elapsed().as_secs_f64()
    };
    compare(
        "64 KiB to keep, 4 KiB out",
        "/s",
        rounds,
        &mut [("direct", &mut direct), ("fuse uring", &mut fuse)],
    );
}

fn stream(rounds: usize, reader: &Reader, file: &File) {
    const BYTES: u64 = 1 << 30;
    let run = |read: &dyn Fn(u64, &mut [u8])| {
        let mut bytes = vec![0; 1 << 20];
        let begun = Instant::now();
        for at in (0..BYTES).step_by(bytes.len()) {
            read(at, &mut bytes);
            assert_eq!(bytes[5000], served::byte(at + 5000));
        }
        BYTES as f64 / 1e9 / begun.elapsed().as_secs_f64()
    };
    let mut direct = || run(&|at, into| assert_eq!(reader.read_at(at, into).expect("bytes"), into.len()));
    let mut fuse = || run(&|at, into| file.read_exact_at(into, at).expect("bytes"));
    compare(
        "1 GiB once, by 1 MiB",
        "GB/s",
        rounds,
        &mut [("direct", &mut direct), ("fuse uring", &mut fuse)],
    );
}

/// A directory of 20,000 names that does not change, listed again and again.
fn list(rounds: usize, host: &Host, volume: &Volume) {
    let count = served::NAMES as usize;
    let repeat = |list: &dyn Fn() -> usize| {
        let (begun, mut lists) = (Instant::now(), 0);
        while begun.elapsed() < SHORT {
            assert_eq!(list(), count);
            lists += 1;
        }
        f64::from(lists) / begun.elapsed().as_secs_f64()
    };
    let (root, _) = volume.walk(Path::new("")).expect("the root");
    let snapshot = volume.snapshot(&root).expect("an answer").expect("a snapshot");
    let mut current = || repeat(&|| snapshot.entries().filter_map(Result::ok).count());
    // Of a directory that was not listed before nothing is kept.
    let mut asked = || repeat(&|| volume.list(&volume.root(), b"").expect("a listing").len());
    let mut mount = || repeat(&|| std::fs::read_dir(&host.point).expect("it is there").flatten().count());
    let ways: &mut [(&'static str, &mut dyn FnMut() -> f64)] =
        &mut [("snapshot", &mut current), ("by request", &mut asked), ("fuse, kept", &mut mount)];
    compare("20,000 names listed", "/s", rounds, ways);
    assert!(snapshot.is_current());
}

/// Four clients at random over 2 GiB with room for 256 MiB.
fn random(host: &mut Host) {
    let file = host.file("kept");
    let until = Instant::now() + Duration::from_secs(5);
    let done = std::sync::atomic::AtomicU64::new(0);
    let mut most = 0;
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let (file, done) = (&file, &done);
            scope.spawn(move || {
                let reader = Reader::attach_only(file).expect("a direct path");
                let (mut seed, mut bytes) = (thread + 1, vec![0; 4096]);
                while Instant::now() < until {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let at = (seed >> 33) % (served::FILE_BYTES / 4096) * 4096;
                    assert_eq!(reader.read_at(at, &mut bytes).expect("bytes"), 4096);
                    assert!(bytes.iter().all(|byte| *byte == served::byte(at)), "torn at {at}");
                    done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            });
        }
        while Instant::now() < until {
            std::thread::sleep(Duration::from_millis(50));
            most = most.max(host.sections_bytes());
        }
    });
    let rate = done.load(std::sync::atomic::Ordering::Relaxed) as f64 / 5.0;
    println!(
        "4 clients, 4 KiB at random over 2 GiB, 256 MiB kept: {rate:.0}/s, sections never above {} MiB",
        most >> 20
    );
}
