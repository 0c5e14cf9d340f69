//! The table and the JSON.

use serde_json::{Map, Value, json};

use super::case::{Outcome, Size, today};
use super::limits::Limits;

/// The contestant that the others are compared with.
const OURS: &str = "ours";

/// A load from which measurements suffer.
const BUSY: f64 = 0.5;

/// What a contestant took for a kernel, in seconds.
#[derive(Clone, Default)]
pub(super) struct Stats {
    pub(super) median: f64,
    pub(super) best: f64,
    /// Half the distance between the quartiles, as a share of the median.
    pub(super) spread: f64,
    pub(super) launches: usize,
    /// From the source to the end of the first launch.
    pub(super) first: f64,
    /// The largest deviation in units of the tolerance.
    pub(super) error: f64,
    /// Build options of the form that was fastest.
    pub(super) form: String,
}

impl Stats {
    pub(super) fn of(mut times: Vec<f64>) -> Option<Self> {
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times.get((share * (times.len().saturating_sub(1)) as f64).round() as usize).copied();
        let median = at(0.5)?;
        let spread = (at(0.75)? - at(0.25)?) / 2.0 / median;
        Some(Self { median, best: at(0.0)?, spread, launches: times.len(), ..Self::default() })
    }
}

pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) stats: Vec<(&'static str, Stats)>,
    /// The largest deviation between two contestants, in units of what the tolerance lets them have.
    pub(super) agreement: f64,
    tolerance: Vec<String>,
    bytes: f64,
    flops: f64,
    integer_ops: f64,
}

impl Row {
    pub(super) fn new(name: &'static str, bytes: f64, outcome: &Outcome) -> Self {
        let tolerance = outcome.expected.iter().map(|expected| expected.tolerance()).collect();
        let (flops, integer_ops) = (outcome.flops, outcome.integer_ops);
        Self { name, stats: Vec::new(), agreement: 0.0, tolerance, bytes, flops, integer_ops }
    }

    pub(super) fn of(&self, contestant: &str) -> Option<&Stats> {
        self.stats.iter().find(|(name, _)| *name == contestant).map(|(_, stats)| stats)
    }

    fn peers(&self) -> impl Iterator<Item = &(&'static str, Stats)> {
        self.stats.iter().filter(|(name, _)| *name != OURS)
    }

    /// The better peer's time through ours.
    pub(super) fn ratio(&self) -> Option<f64> {
        let best = self.peers().map(|(_, stats)| stats.median).reduce(f64::min)?;
        Some(best / self.of(OURS)?.median)
    }
}

pub(super) struct Overhead {
    pub(super) enqueue: f64,
    pub(super) wait: f64,
}

pub(super) struct Scaling {
    pub(super) one: f64,
    pub(super) all: f64,
}

pub(super) struct Report {
    pub(super) size: Size,
    pub(super) limits: Limits,
    pub(super) machine: String,
    pub(super) date: String,
    /// Programs that wanted a processor in the minute before.
    load: f64,
    pub(super) devices: Vec<(&'static str, String)>,
    pub(super) rows: Vec<Row>,
    pub(super) overheads: Vec<(&'static str, Overhead)>,
    pub(super) scalings: Vec<(&'static str, Scaling)>,
    pub(super) errors: Vec<String>,
}

impl Report {
    pub(super) fn new(size: Size, limits: Limits) -> Self {
        let (devices, rows, overheads) = (Vec::new(), Vec::new(), Vec::new());
        let machine = machine(limits.processors);
        Self {
            size,
            limits,
            machine,
            date: today(),
            load: load(),
            devices,
            rows,
            overheads,
            scalings: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// The geometric mean of the ratios.
    pub(super) fn mean(&self) -> Option<f64> {
        let logs: Vec<f64> = self.rows.iter().filter_map(Row::ratio).map(f64::ln).collect();
        if logs.is_empty() { None } else { Some((logs.iter().sum::<f64>() / logs.len() as f64).exp()) }
    }

    pub(super) fn head(&self) -> String {
        let mut out = format!("{}, size {}\n", self.machine, self.size.name());
        let limits = &self.limits;
        out += &format!(
            "limits: read {:.1} GB/s, update {:.1} GB/s, triad {:.1} GB/s, fma {:.0} GFLOP/s, integer {:.0} Gop/s\n",
            limits.read_bytes / 1e9,
            limits.update_bytes / 1e9,
            limits.triad_bytes / 1e9,
            limits.flops / 1e9,
            limits.integer_ops / 1e9
        );
        if self.load > BUSY {
            out += &format!("load {:.1}: other programs are running, which makes every figure worse\n", self.load);
        }
        for (name, device) in &self.devices {
            out += &format!("{name}: {device}\n");
        }
        out += &format!("\n{:<15}", "milliseconds");
        for (name, _) in &self.devices {
            out += &format!(" {name:>16}");
        }
        out + &format!(" {:>7}  {:<18} {}\n", "ratio", "ours of limit", "best peer of limit")
    }

    pub(super) fn line(&self, row: &Row) -> String {
        let mut out = format!("{:<15}", row.name);
        for (name, _) in &self.devices {
            out += &row.of(name).map_or(format!(" {:>16}", "-"), |stats| {
                format!(" {:>10} {:>5}", digits(stats.median * 1e3), format!("±{:.0}%", stats.spread * 100.0))
            });
        }
        out += &row.ratio().map_or(format!(" {:>7}", "-"), |ratio| format!(" {:>7}", digits(ratio)));
        let near = |stats: Option<&Stats>| {
            stats.map_or("-".into(), |stats| {
                let near = self.limits.nearness(stats.median, row.bytes, row.flops, row.integer_ops);
                format!("{:>5.1}% {}", near.share * 100.0, near.limit)
            })
        };
        let best = row.peers().map(|(_, stats)| stats).min_by(|a, b| a.median.total_cmp(&b.median));
        out + &format!("  {:<18} {}", near(row.of(OURS)), near(best))
    }

    pub(super) fn tail(&self) -> String {
        let mut out = String::new();
        if let Some(mean) = self.mean() {
            out += &format!("geometric mean of the ratios {}\n", digits(mean));
        }
        for (name, overhead) in &self.overheads {
            let (enqueue, wait) = (overhead.enqueue * 1e6, overhead.wait * 1e6);
            out += &format!("empty kernel on {name}: {enqueue:.2} us to launch, {wait:.2} us to launch and wait\n");
        }
        for (name, scaling) in &self.scalings {
            let (processors, factor) = (self.limits.processors, scaling.one / scaling.all);
            out += &format!("1 to {processors} processors on {name}: {factor:.2} times as fast\n");
        }
        out
    }

    pub(super) fn json(&self) -> Value {
        let limits = &self.limits;
        let kernels: Vec<Value> = self.rows.iter().map(|row| self.kernel(row)).collect();
        let overheads = self.overheads.iter().map(|(name, overhead)| {
            let value = json!({ "launch_us": overhead.enqueue * 1e6, "launch_and_wait_us": overhead.wait * 1e6 });
            (name.to_string(), value)
        });
        let scalings = self.scalings.iter().map(|(name, scaling)| {
            let factor = scaling.one / scaling.all;
            (name.to_string(), json!({ "one_ms": scaling.one * 1e3, "all_ms": scaling.all * 1e3, "factor": factor }))
        });
        let devices = self.devices.iter().map(|(name, device)| (name.to_string(), device.clone().into()));
        json!({
            "kernels": kernels,
            "geometric_mean": self.mean(),
            "machine": self.machine,
            "date": self.date,
            "load_before": self.load,
            "size": self.size.name(),
            "devices": devices.collect::<Map<_, _>>(),
            "limits": {
                "processors": limits.processors,
                "read_bytes_per_second": limits.read_bytes,
                "update_bytes_per_second": limits.update_bytes,
                "triad_bytes_per_second": limits.triad_bytes,
                "flops_per_second": limits.flops,
                "integer_ops_per_second": limits.integer_ops,
            },
            "empty_kernel": overheads.collect::<Map<_, _>>(),
            "scaling": scalings.collect::<Map<_, _>>(),
            "errors": self.errors,
        })
    }

    fn kernel(&self, row: &Row) -> Value {
        let peers = row.peers().map(|(name, stats)| (name.to_string(), json!(stats.median * 1e3)));
        let details = row.stats.iter().map(|(name, stats)| {
            let near = self.limits.nearness(stats.median, row.bytes, row.flops, row.integer_ops);
            let value = json!({
                "ms": stats.median * 1e3, "best_ms": stats.best * 1e3, "spread": stats.spread, "launches": stats.launches,
                "first_ms": stats.first * 1e3, "form": stats.form, "error_per_tolerance": stats.error,
                "limit": near.limit, "share_of_limit": near.share,
            });
            (name.to_string(), value)
        });
        json!({
            "name": row.name,
            "ours_ms": row.of(OURS).map(|stats| stats.median * 1e3),
            "peers_ms": peers.collect::<Map<_, _>>(),
            "ratio": row.ratio(),
            "bytes": row.bytes,
            "flops": row.flops,
            "integer_ops": row.integer_ops,
            "tolerance": row.tolerance,
            "agreement_per_tolerance": row.agreement,
            "details": details.collect::<Map<_, _>>(),
        })
    }
}

/// Three significant digits where there is no more before the point.
pub(super) fn digits(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value if value >= 1.0 => format!("{value:.2}"),
        value => format!("{value:.3}"),
    }
}

pub(crate) fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or_default()
}

/// The processor's name, how many of them there are, and the widest vectors.
pub(crate) fn machine(processors: usize) -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name));
        line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim()).unwrap_or_default()
    };
    let (name, flags) = (field("model name"), field("flags"));
    let widest = ["avx512f", "avx2", "avx", "sse2"];
    let vectors = widest.into_iter().find(|known| flags.split(' ').any(|flag| flag == *known)).unwrap_or_default();
    let plural = if processors == 1 { "" } else { "s" };
    let details = [(field("cpu family"), "family "), (field("model"), "model "), (vectors, "")];
    let details: Vec<String> =
        details.iter().filter(|(value, _)| !value.is_empty()).map(|(value, title)| format!("{title}{value}")).collect();
    format!("{name} ({}), {processors} processor{plural}", details.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_spreads() {
        let stats = Stats::of(vec![5.0, 1.0, 2.0, 4.0, 3.0]).unwrap();
        assert_eq!((stats.median, stats.best, stats.launches), (3.0, 1.0, 5));
        // The quartiles are 2 and 4.
        assert_eq!(stats.spread, 1.0 / 3.0);
        assert!(Stats::of(Vec::new()).is_none());
    }

    #[test]
    fn the_better_peer_counts() {
        let mut row = Row::new("x", 0.0, &Outcome::new(Vec::new()));
        let stats = |median| Stats { median, ..Stats::default() };
        row.stats.push(("pocl", stats(6.0)));
        assert_eq!(row.ratio(), None);
        row.stats.push(("ours", stats(2.0)));
        assert_eq!(row.ratio(), Some(3.0));
        row.stats.push(("intel", stats(1.0)));
        assert_eq!(row.ratio(), Some(0.5));
    }
}
