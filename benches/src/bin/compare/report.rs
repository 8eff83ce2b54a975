//! From samples to medians, spreads and ratios, as a table for people and as JSON for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;
use wharf_benches::works::{Goal, Named, Served, WORKS};

use crate::Result;
use crate::client::Sample;
use crate::options::Options;
use crate::servers::{Kind, SERVERS};

pub struct Results {
    /// By work, then by server, one per round.
    samples: BTreeMap<&'static str, BTreeMap<&'static str, Vec<Sample>>>,
    failures: BTreeMap<(String, String), String>,
    pub idle: Vec<(&'static str, f64)>,
    about: String,
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

fn median(values: Vec<f64>) -> f64 {
    let values = sorted(values);
    match values.len() {
        0 => 0.0,
        count if count % 2 == 1 => values[count / 2],
        count => (values[count / 2 - 1] + values[count / 2]) / 2.0,
    }
}

/// Three digits and a unit that a reader takes in at once.
fn short(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{:.2} M", v / 1e6),
        v if v >= 1e5 => format!("{:.0} k", v / 1e3),
        v if v >= 1e4 => format!("{:.1} k", v / 1e3),
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

fn kind(server: &str) -> Kind {
    SERVERS.iter().find(|known| known.name == server).map_or(Kind::Extra, |known| known.kind)
}

type Rates = BTreeMap<&'static str, Vec<f64>>;

/// The ratio of two servers round by round: its median, least and most.
struct Ratio([f64; 3]);

impl Ratio {
    fn of(ours: &[f64], theirs: &[f64]) -> Option<Self> {
        let values = sorted(ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect());
        Some(Self([median(values.clone()), *values.first()?, *values.last()?]))
    }
}

impl std::fmt::Display for Ratio {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "{:.2} ({:.2}…{:.2})", self.0[0], self.0[1], self.0[2])
    }
}

fn best(rates: &Rates, of: Kind) -> Option<(&'static str, &[f64])> {
    let of_kind = rates.iter().filter(|(server, _)| kind(server) == of);
    let best = of_kind.max_by(|(_, a), (_, b)| median(a.to_vec()).total_cmp(&median(b.to_vec())));
    best.map(|(server, rates)| (*server, rates.as_slice()))
}

impl Results {
    pub fn new(options: &Options) -> Self {
        let kernel = rustix::system::uname();
        let about = format!(
            "Linux {}, {} CPUs; {} rounds of {} s, a sample repeated up to {} times while others used more than \
             {:.0} % of the machine.",
            kernel.release().to_string_lossy(),
            wharf_benches::clock::cpus(),
            options.rounds,
            options.seconds,
            options.tries,
            options.calm * 100.0,
        );
        Self { samples: BTreeMap::new(), failures: BTreeMap::new(), idle: Vec::new(), about }
    }

    pub fn add(&mut self, work: &'static str, server: &'static str, sample: Sample) {
        self.samples.entry(work).or_default().entry(server).or_default().push(sample);
    }

    pub fn failed(&mut self, work: &str, server: &str, why: &str) {
        self.failures.insert((work.to_owned(), server.to_owned()), why.to_owned());
    }

    fn rates(&self, work: &Named) -> Rates {
        let rate = |sample: &Sample| {
            if work.work.is_told_in_bytes() { sample.gb_per_s } else { sample.operations_per_s }
        };
        let Some(servers) = self.samples.get(work.name) else { return Rates::new() };
        servers.iter().map(|(server, samples)| (*server, samples.iter().map(rate).collect())).collect()
    }

    fn works(&self) -> impl Iterator<Item = &'static Named> {
        WORKS.iter().filter(|work| self.samples.contains_key(work.name))
    }

    pub fn markdown(&self) -> String {
        let mut text = format!("{}\n\n", self.about);
        self.summary(&mut text);
        for work in self.works() {
            self.detail(work, &mut text);
        }
        if !self.idle.is_empty() {
            let _ = write!(text, "\nCPU of an idle volume in 5 s, ms:");
            for (server, ms) in &self.idle {
                let _ = write!(text, " {server} {ms:.1};");
            }
            text.push('\n');
        }
        for ((work, server), why) in &self.failures {
            let _ = writeln!(text, "\n{work} on {server} failed: {why}");
        }
        text
    }

    fn summary(&self, text: &mut String) {
        text.push_str(
            "Ratios are medians of the rounds' own ratios (least…most). Goal: of the best peer, if nothing else is \
             said. Large transfers in GB/s, all else per second.\n",
        );
        let tiny = [["wharf-dev", "dev"], ["wharf-uring", "uring"], ["wharf-auto", "auto"]];
        let mirror = [["mirror-dev", "dev"], ["mirror-uring", "uring"], ["mirror-through", "passthrough"]];
        self.summary_of(tiny, |served| served != Served::Mirror, text);
        self.summary_of(mirror, |served| served == Served::Mirror, text);
    }

    /// `columns` are servers of Wharf and how they are headed; the last is the one that a user gets unasked.
    fn summary_of(&self, columns: [[&str; 2]; 3], belongs: impl Fn(Served) -> bool, text: &mut String) {
        let works: Vec<_> = self.works().filter(|work| belongs(work.served)).collect();
        if works.is_empty() {
            return;
        }
        let [a, b, c] = columns.map(|[_, head]| head);
        let _ = write!(
            text,
            "\n| work | {a} | {b} | {c} | best peer | {c} ÷ peer | best Wharf ÷ peer | ÷ native | goal | |\n\
             |---|--:|--:|--:|---|--:|--:|--:|---|---|\n"
        );
        for work in works {
            let rates = self.rates(work);
            let of = |server: &str| rates.get(server).map_or("".into(), |rates| short(median(rates.clone())));
            let wharf = best(&rates, Kind::Wharf);
            let peer = best(&rates, Kind::Peer);
            let native =
                rates.get("tmpfs").map(|rates| ("tmpfs", rates.as_slice())).or(best(&rates, Kind::Native));
            let over = |ours: Option<&[f64]>, theirs: Option<(&str, &[f64])>| Ratio::of(ours?, theirs?.1);
            let show = |ratio: &Option<Ratio>| ratio.as_ref().map_or(String::new(), Ratio::to_string);
            let ours = wharf.map(|(_, rates)| rates);
            let auto = rates.get(columns[2][0]).map(Vec::as_slice);
            let (reached, goal) = match work.goal {
                Goal::BestPeer(goal) => (over(ours, peer), format!("{goal}")),
                Goal::Peer(name, goal) => (
                    over(ours, rates.get(name).map(|rates| (name, rates.as_slice()))),
                    format!("{goal} of {name}"),
                ),
                Goal::Native(goal) => (over(ours, native), format!("{goal} of native")),
                Goal::Ideal(goal) => {
                    let ideal =
                        vec![work.work.ideal_per_second().unwrap_or(1.0); ours.map_or(0, <[f64]>::len)];
                    (over(ours, Some(("", &ideal))), format!("{goal} of ideal"))
                }
                Goal::None => (None, String::new()),
            };
            let wanted: f64 = goal.split(' ').next().and_then(|goal| goal.parse().ok()).unwrap_or_default();
            let verdict = match &reached {
                None => String::new(),
                Some(ratio) if ratio.0[0] >= wanted => "reached".into(),
                Some(ratio) => format!("**{:.2}**", ratio.0[0]),
            };
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} {} | {} | {} | {} | {goal} | {verdict} |",
                work.what,
                of(columns[0][0]),
                of(columns[1][0]),
                of(columns[2][0]),
                peer.map_or("", |(server, _)| server),
                peer.map_or(String::new(), |(_, rates)| short(median(rates.to_vec()))),
                show(&over(auto, peer)),
                show(&over(ours, peer)),
                show(&over(ours, native)),
            );
        }
    }

    fn detail(&self, work: &Named, text: &mut String) {
        let Some(servers) = self.samples.get(work.name) else { return };
        let unit = if work.work.is_told_in_bytes() { "GB/s" } else { "per s" };
        let _ = write!(
            text,
            "\n### {} (`{}`)\n\n| server | {unit} | least…most | p50 us | p99 us | server CPU us | client CPU us \
             | threads | others |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|\n",
            work.what, work.name
        );
        let mut rows: Vec<_> = self.rates(work).into_iter().collect();
        rows.sort_by(|(_, a), (_, b)| median(b.clone()).total_cmp(&median(a.clone())));
        for (server, rates) in rows {
            let samples = &servers[server];
            let of = |field: fn(&Sample) -> f64| median(samples.iter().map(field).collect());
            let rates = sorted(rates);
            let _ = writeln!(
                text,
                "| {server} | {} | {}…{} | {:.1} | {:.1} | {:.2} | {:.2} | {} | {:.0} % |",
                short(median(rates.clone())),
                short(*rates.first().unwrap_or(&0.0)),
                short(*rates.last().unwrap_or(&0.0)),
                of(|sample| sample.p50_us),
                of(|sample| sample.p99_us),
                of(|sample| sample.server_cpu_us),
                of(|sample| sample.client_cpu_us),
                of(|sample| sample.server_threads),
                of(|sample| sample.others) * 100.0,
            );
        }
    }

    pub fn save(&self, out: &Path) -> Result<()> {
        let sample = |sample: &Sample| {
            json!({
                "operations_per_s": sample.operations_per_s,
                "gb_per_s": sample.gb_per_s,
                "p50_us": sample.p50_us,
                "p99_us": sample.p99_us,
                "server_cpu_us_per_operation": sample.server_cpu_us,
                "client_cpu_us_per_operation": sample.client_cpu_us,
                "server_threads": sample.server_threads,
                "others": sample.others,
            })
        };
        let works: serde_json::Map<_, _> = self
            .samples
            .iter()
            .map(|(work, servers)| {
                let servers: serde_json::Map<_, _> = servers
                    .iter()
                    .map(|(server, samples)| ((*server).to_owned(), samples.iter().map(sample).collect()))
                    .collect();
                ((*work).to_owned(), servers.into())
            })
            .collect();
        let failures: Vec<_> = self
            .failures
            .iter()
            .map(|((work, server), why)| json!({ "work": work, "server": server, "why": why }))
            .collect();
        let idle: serde_json::Map<_, _> =
            self.idle.iter().map(|(server, ms)| ((*server).to_owned(), json!(ms))).collect();
        let all =
            json!({ "about": self.about, "works": works, "failures": failures, "idle_cpu_ms_in_5_s": idle });
        std::fs::write(out.join("compare.json"), serde_json::to_string_pretty(&all)?)?;
        std::fs::write(out.join("compare.md"), self.markdown())?;
        Ok(())
    }
}
