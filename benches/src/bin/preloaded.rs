//! What `wharf run` gains and costs: programs on a warm tree of 1 GiB, run by themselves and with the library.
//!
//! `preloaded WHARF [--on memory|zip] [--rounds N] [--mib N] [--kept MIB] [--only TEXT]`, as root: WHARF is the built
//! command, beside its library. The archive's members are stored. `--kept` is what the host keeps in sections at the most.
//! Each round runs every work both ways, one right after the other and in turns; a ratio is formed within a round, and
//! the medians are printed with the least and the most.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

/// A name, and a line for a shell in the tree.
const WORKS: [(&str, &str); 8] = [
    ("true", "exec true"),
    ("rg, files of 64 KiB", "exec rg -c --no-mmap needle small"),
    ("rg, files of 16 MiB", "exec rg -c --no-mmap needle large"),
    ("md5sum", "exec md5sum large/*"),
    ("cat", "exec cat large/*"),
    ("dd, 1 MiB reads", "for file in large/*; do dd if=$file bs=1M status=none; done"),
    ("read 30 times by 64K", "exec python3 -c \"$AGAIN\" 65536 30 large/0 large/1 large/2 large/3"),
    ("read 30 times by 1M", "exec python3 -c \"$AGAIN\" 1048576 30 large/0 large/1 large/2 large/3"),
];

/// Reads each of some files so many times, by one descriptor.
const AGAIN: &str = "
import os, sys
into = [bytearray(int(sys.argv[1]))]
for name in sys.argv[3:]:
    fd = os.open(name, os.O_RDONLY)
    for count in range(int(sys.argv[2])):
        at = 0
        while read := os.preadv(fd, into, at): at += read
    os.close(fd)
";

struct Asked {
    wharf: PathBuf,
    rounds: usize,
    mib: usize,
    on: String,
    kept_mib: Option<usize>,
    only: String,
}

fn main() -> ExitCode {
    match asked().and_then(|asked| run(&asked)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("preloaded: {error}");
            ExitCode::FAILURE
        }
    }
}

fn asked() -> Result<Asked, String> {
    let mut words = std::env::args().skip(1);
    let wharf = words.next().ok_or("say where the command is: preloaded WHARF")?;
    let wharf = Path::new(&wharf).canonicalize().map_err(|error| format!("{wharf}: {error}"))?;
    let (on, only) = ("memory".into(), String::new());
    let mut asked = Asked { wharf, rounds: 9, mib: 1024, on, kept_mib: None, only };
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        let number = || value.parse().map_err(|_| format!("{value} is no number"));
        match &*word {
            "--rounds" => asked.rounds = number()?,
            "--mib" => asked.mib = number()?,
            "--on" => asked.on = value,
            "--kept" => asked.kept_mib = Some(number()?),
            "--only" => asked.only = value,
            _ => return Err(format!("what is {word}?")),
        }
    }
    Ok(asked)
}

fn run(asked: &Asked) -> Result<(), String> {
    let room = std::env::temp_dir().join(format!("preloaded.{}", std::process::id()));
    let point = room.join("point");
    fs::create_dir_all(&point).map_err(|error| format!("{}: {error}", point.display()))?;
    let measured = mounted(asked, &room, &point).and_then(|()| measure(asked, &point));
    let _ = done(Command::new(&asked.wharf).arg("unmount").arg(&point));
    // Not what may still be mounted.
    let _ = fs::remove_dir(&point).and_then(|()| fs::remove_dir_all(&room));
    measured
}

/// Mounts the tree.
fn mounted(asked: &Asked, room: &Path, point: &Path) -> Result<(), String> {
    let failed = |error| format!("the tree: {error}");
    let spec = match &*asked.on {
        "memory" => "memory:size=4G".into(),
        "zip" => {
            let (source, archive) = (room.join("source"), room.join("archive.zip"));
            fs::create_dir(&source).and_then(|()| plant(&source, asked.mib)).map_err(failed)?;
            done(Command::new("zip").args(["-q", "-0", "-r"]).arg(&archive).arg(".").current_dir(&source))?;
            fs::remove_dir_all(&source).map_err(failed)?;
            format!("zip:{}", archive.display())
        }
        other => return Err(format!("what is {other}? memory or zip")),
    };
    let mut mount = Command::new(&asked.wharf);
    mount.args(["mount", &spec]).arg(point).arg("--daemon").stdout(Stdio::null());
    if let Some(mib) = asked.kept_mib {
        mount.args(["--limit", &format!("sections_bytes_max={mib}M")]);
    }
    done(&mut mount)?;
    if asked.on == "memory" {
        plant(point, asked.mib).map_err(failed)?;
    }
    warm(point).map_err(failed)
}

fn measure(asked: &Asked, tree: &Path) -> Result<(), String> {
    println!(
        "{:20} {:>10} {:>10}   faster by (least..most) of {} rounds, on {}",
        "", "alone ms", "run ms", asked.rounds, asked.on
    );
    for (name, line) in WORKS.into_iter().filter(|(name, _)| name.contains(&asked.only)) {
        let mut samples = Vec::new();
        // The first round warms both.
        for round in 0..=asked.rounds {
            let mut times = [0.0; 2];
            for turn in 0..2 {
                let preloaded = (round + turn) % 2;
                times[preloaded] = time(asked, tree, line, preloaded == 1)?;
            }
            if round > 0 {
                samples.push(times);
            }
        }
        let alone = median(samples.iter().map(|times| times[0]));
        let preloaded = median(samples.iter().map(|times| times[1]));
        let ratios: Vec<f64> = samples.iter().map(|times| times[0] / times[1]).collect();
        let least = ratios.iter().copied().fold(f64::MAX, f64::min);
        let most = ratios.iter().copied().fold(0.0, f64::max);
        let ratio = median(ratios.iter().copied());
        println!(
            "{name:20} {alone:10.2} {preloaded:10.2}   {ratio:.3} ({least:.3}..{most:.3}){}",
            told(asked, tree, line)?
        );
    }
    Ok(())
}

/// Half of it in files of 64 KiB, half in files of 16 MiB.
fn plant(tree: &Path, mib: usize) -> std::io::Result<()> {
    let mut seed = 1_u64;
    let mut text = Vec::with_capacity(16 << 20);
    while text.len() < 16 << 20 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let word = if seed.is_multiple_of(4099) { "needle" } else { "straw" };
        text.extend_from_slice(format!("{seed:016x} {word} and more of it\n").as_bytes());
    }
    for directory in ["small", "large"] {
        fs::create_dir(tree.join(directory))?;
    }
    for file in 0..mib * 8 {
        let from = (file * 64 % (16 << 10)) << 10;
        fs::write(tree.join(format!("small/{file}")), &text[from..from + (64 << 10)])?;
    }
    for file in 0..mib / 32 {
        fs::write(tree.join(format!("large/{file}")), &text[..16 << 20])?;
    }
    Ok(())
}

/// Reads all of it, so that the kernel has it.
fn warm(tree: &Path) -> std::io::Result<()> {
    for directory in ["small", "large"] {
        for entry in fs::read_dir(tree.join(directory))? {
            fs::read(entry?.path())?;
        }
    }
    Ok(())
}

fn command(asked: &Asked, tree: &Path, line: &str, preloaded: bool, report: Option<&Path>) -> Command {
    let mut command = if preloaded { Command::new(&asked.wharf) } else { Command::new("sh") };
    if preloaded {
        command.arg("run");
        if let Some(report) = report {
            command.arg("--report").arg(report);
        }
        command.arg("sh");
    }
    command.args(["-c", line]).current_dir(tree).env("AGAIN", AGAIN).stdout(Stdio::null());
    command
}

/// Milliseconds.
fn time(asked: &Asked, tree: &Path, line: &str, preloaded: bool) -> Result<f64, String> {
    let begun = Instant::now();
    done(&mut command(asked, tree, line, preloaded, None))?;
    Ok(begun.elapsed().as_secs_f64() * 1000.0)
}

/// What came past the kernel.
fn told(asked: &Asked, tree: &Path, line: &str) -> Result<String, String> {
    let report = std::env::temp_dir().join(format!("preloaded.{}.report", std::process::id()));
    done(&mut command(asked, tree, line, true, Some(&report)))?;
    let text = fs::read_to_string(&report).unwrap_or_default();
    let _ = fs::remove_file(&report);
    let bytes = text.lines().filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum::<u64>();
    Ok(format!("   {} MiB past the kernel", bytes >> 20))
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn done(command: &mut Command) -> Result<(), String> {
    let status = command.status().map_err(|error| format!("{command:?}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}")) }
}
