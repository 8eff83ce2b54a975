//! One sample: the client, or fio, run once on one server, again if others were busy meanwhile.

use std::fmt;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use wharf_benches::clock;
use wharf_benches::works::{Named, Work, source};

use crate::mounts;
use crate::options::Options;
use crate::servers::Running;

/// Beyond what the work itself takes, before it is called hung.
const GRACE: Duration = Duration::from_secs(30);
const GLANCE: Duration = Duration::from_millis(60);

#[derive(Clone, Debug, Default)]
pub struct Sample {
    pub operations_per_s: f64,
    pub gb_per_s: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub server_cpu_us: f64,
    pub client_cpu_us: f64,
    pub server_threads: f64,
    /// The part of the machine that neither server nor client used.
    pub others: f64,
}

#[derive(Debug)]
pub struct Error {
    what: String,
    pub hung: bool,
}

impl fmt::Display for Error {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.what)
    }
}

fn error(what: impl fmt::Display) -> Error {
    Error { what: what.to_string(), hung: false }
}

pub struct Client {
    program: PathBuf,
    seconds: f64,
    archive: PathBuf,
    calm: f64,
    patience: Duration,
    tries: usize,
}

impl Client {
    pub fn new(options: &Options) -> Self {
        Self {
            program: options.places.programs.join("client"),
            seconds: options.seconds,
            archive: options.places.archive(),
            calm: options.calm,
            patience: Duration::from_secs_f64(options.patience),
            tries: options.tries,
        }
    }

    /// `renew` gives a freshly mounted server before each try of a work that wants one.
    pub fn measure(
        &self,
        work: &Named,
        on: &mut Running,
        renew: impl Fn(&mut Running) -> crate::Result<()>,
    ) -> Result<Sample, Error> {
        let mut calmest: Option<Sample> = None;
        for _ in 0..self.tries.max(1) {
            if work.fresh {
                renew(on).map_err(|error| Error { what: error.to_string(), hung: true })?;
            }
            self.wait_for_calm();
            let sample = match work.work {
                Work::Fio { bytes, depth } => self.fio(bytes, depth, on)?,
                _ => self.own(work.name, on)?,
            };
            let calm = sample.others <= self.calm;
            if calmest.as_ref().is_none_or(|calmest| sample.others < calmest.others) {
                calmest = Some(sample);
            }
            if calm {
                break;
            }
        }
        calmest.ok_or_else(|| error("not measured"))
    }

    fn wait_for_calm(&self) {
        let until = Instant::now() + self.patience;
        while Instant::now() < until {
            let before = clock::machine_busy();
            std::thread::sleep(GLANCE);
            let busy = clock::machine_busy().saturating_sub(before).as_secs_f64();
            if busy <= self.calm * GLANCE.as_secs_f64() * clock::cpus() as f64 {
                return;
            }
        }
    }

    fn own(&self, name: &str, on: &Running) -> Result<Sample, Error> {
        let mut command = Command::new(&self.program);
        command.arg(name).arg(&on.point).arg(self.seconds.to_string()).env(source::ARCHIVE_AT, &self.archive);
        if let Some(pid) = on.pid() {
            command.arg(pid.to_string());
        }
        let said = self.run(command, on)?;
        let number = |key: &str| said[key].as_f64().unwrap_or_default();
        Ok(Sample {
            operations_per_s: number("operations_per_s"),
            gb_per_s: number("gb_per_s"),
            p50_us: number("p50_us"),
            p99_us: number("p99_us"),
            server_cpu_us: number("server_cpu_us_per_operation"),
            client_cpu_us: number("client_cpu_us_per_operation"),
            server_threads: number("server_threads"),
            others: number("others"),
        })
    }

    /// Its start and end are inside the CPU figures: those of our own client are the exact ones.
    fn fio(&self, bytes: usize, depth: usize, on: &Running) -> Result<Sample, Error> {
        let mut command = Command::new("fio");
        command.args(["--name=bench", "--ioengine=io_uring", "--direct=1", "--rw=randread", "--thread"]);
        command.args(["--time_based", "--ramp_time=0.2", "--output-format=json", "--norandommap"]);
        command.arg(format!("--runtime={}", self.seconds)).arg(format!("--bs={bytes}"));
        command.arg(format!("--iodepth={depth}")).arg("--filename").arg(on.point.join("big"));
        let server = || on.pid().and_then(clock::process_cpu).unwrap_or_default();
        let (before, own, machine) = (server(), clock::own_cpu(), clock::machine_busy());
        let began = Instant::now();
        let said = self.run(command, on)?;
        let spent = (server() - before).as_secs_f64();
        let wall = began.elapsed().as_secs_f64();
        let client = clock::own_cpu().saturating_sub(own).as_secs_f64();
        let machine = clock::machine_busy().saturating_sub(machine).as_secs_f64();
        let job = &said["jobs"][0];
        let number = |value: &Value| value.as_f64().unwrap_or_default();
        let operations = number(&job["read"]["total_ios"]).max(1.0);
        let quantiles = &job["read"]["clat_ns"]["percentile"];
        Ok(Sample {
            operations_per_s: number(&job["read"]["iops"]),
            gb_per_s: number(&job["read"]["bw_bytes"]) / 1e9,
            p50_us: number(&quantiles["50.000000"]) / 1e3,
            p99_us: number(&quantiles["99.000000"]) / 1e3,
            server_cpu_us: spent * 1e6 / operations,
            client_cpu_us: client * 1e6 / operations,
            server_threads: on.pid().map_or(0, clock::process_threads) as f64,
            others: ((machine - spent - client) / wall / clock::cpus() as f64).max(0.0),
        })
    }

    /// Runs it to its end or to ours.
    fn run(&self, mut command: Command, on: &Running) -> Result<Value, Error> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(error)?;
        let (mut out, mut complaints) = (child.stdout.take(), child.stderr.take());
        let read = std::thread::spawn(move || {
            let mut text = String::new();
            if let Some(out) = &mut out {
                let _ = out.read_to_string(&mut text);
            }
            text
        });
        let until = Instant::now() + Duration::from_secs_f64(self.seconds) * 2 + GRACE;
        let status = loop {
            match child.try_wait().map_err(error)? {
                Some(status) => break status,
                None if Instant::now() < until => std::thread::sleep(Duration::from_millis(3)),
                None => {
                    if let Some(connection) = mounts::connection_at(&on.point) {
                        mounts::abort(connection);
                    }
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(Error { what: "hung".into(), hung: true });
                }
            }
        };
        let text = read.join().unwrap_or_default();
        if !status.success() {
            let mut said = String::new();
            if let Some(complaints) = &mut complaints {
                let _ = complaints.read_to_string(&mut said);
            }
            return Err(error(said.trim()));
        }
        serde_json::from_str(&text).map_err(error)
    }
}
