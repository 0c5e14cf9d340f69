//! What it costs that kernels can be suspended in the middle of their blocks, and how soon they stop.
//!
//! Both forms of each kernel of the suite run in this process, on the CPU device, in alternating order and on the same data;
//! then launches are asked to stop at random times. How fast code is depends on where it and its data lie, by as much as a tenth, which no
//! number of rounds shows: so all of it is made anew several times, each time elsewhere.

mod stage;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::cpu::case::{Argument, Case, Outcome, Random, Size, Step, of_u32s, today};
use crate::cpu::{cases, report};
use stage::{Form, Scene, Stage};

/// What is promised: the mean and the worst of the suspendable form's time through the plain one's, and the longest pause.
const MEAN: f64 = 1.02;
const WORST: f64 = 1.05;
const LATENCY: f64 = 5e-3;

/// Seconds that each form gets in a round, and the most launches that may be.
const TURN: f64 = 0.03;
const LAUNCHES: f64 = 20.0;

/// Threads of each block of the kernels without an end, and their blocks.
const ENDLESS_BLOCK: u32 = 128;
const ENDLESS_GRID: u32 = 16;

pub(crate) struct Options {
    pub(crate) size: Size,
    pub(crate) only: Vec<String>,
    pub(crate) rounds: usize,
    /// How often code and data are made anew.
    pub(crate) places: usize,
    /// Requests to stop a kernel.
    pub(crate) pauses: usize,
    /// Of the device; 0 for as many as there are processors.
    pub(crate) threads: u32,
    /// A folder with the kernels in PTX.
    pub(crate) ptx: PathBuf,
    pub(crate) json: Option<PathBuf>,
    /// The same as a page.
    pub(crate) page: Option<PathBuf>,
}

/// A kernel of the suite.
struct Row {
    name: &'static str,
    sites: usize,
    /// Seconds of the plain form and of the other, and how much they vary: half the distance between the quartiles.
    medians: [f64; 2],
    spreads: [f64; 2],
    /// Of the processor time that the forms take: the median of the places' ratios, each the median of its rounds'; the least and the
    /// largest of the places' ratios.
    ratio: f64,
    between: [f64; 2],
    /// Seconds to compile each form, as it took in the place where it took least.
    compile: [f64; 2],
}

/// What was measured in one place.
struct Place {
    /// Seconds of each launch, by form.
    times: [Vec<f64>; 2],
    /// The median of the rounds' ratios.
    ratio: f64,
    compile: [f64; 2],
}

/// How soon a kernel stopped.
struct Latency {
    name: String,
    /// Whether the form was the one that can be suspended.
    inside: bool,
    /// Requests that met the kernel running.
    pauses: usize,
    median: f64,
    high: f64,
    most: f64,
    /// Threads that left in the middle, on the average.
    frames: f64,
}

pub(crate) fn run(options: &Options) -> Result<(), String> {
    let load = report::load();
    let mut stage = Stage::new(options.threads);
    let mut random = Random::new(1);
    let (mut rows, mut latencies) = (Vec::new(), Vec::new());
    println!(
        "{:<16} {:>5} {:>10} {:>10} {:>7} {:>15} {:>7} {:>9} {:>9}",
        "kernel", "sites", "plain ms", "sites ms", "ratio", "places", "spread", "compile", "compile"
    );
    let wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    for kernel in cases::KERNELS.iter().filter(|kernel| wanted(kernel.name)) {
        let case = (kernel.case)(options.size);
        let source = options.ptx.join(kernel.name).with_extension("ptx");
        let mut places = Vec::new();
        for _ in 1..options.places {
            places.push(measure(kernel.name, options, &Scene::new(&mut stage, &source, &case)?, &case, false)?);
        }
        let mut scene = Scene::new(&mut stage, &source, &case)?;
        places.push(measure(kernel.name, options, &scene, &case, true)?);
        let row = Row::of(kernel.name, scene.sites(), places);
        println!("{}", row.line());
        let longest = scene.longest(row.medians[1])?;
        latencies.push(latency(kernel.name, &mut stage, &mut scene, longest, options.pauses, &mut random)?);
        rows.push(row);
    }
    for name in ["meeting", "alone", "grid"].into_iter().filter(|name| wanted(name)) {
        let source = options.ptx.join("endless.ptx");
        let mut scene = Scene::new(&mut stage, &source, &endless(name))?;
        let called = format!("{name}, endless");
        latencies.push(latency(&called, &mut stage, &mut scene, (0, 0.02), options.pauses, &mut random)?);
    }
    let mean = mean(&rows);
    let worst = rows.iter().map(|row| row.ratio).fold(0.0, f64::max);
    println!("\n{:<20} {:>7} {:>10} {:>10} {:>10} {:>10}", "pauses", "met", "p50 us", "p99 us", "most us", "frames");
    latencies.iter().for_each(|latency| println!("{}", latency.line()));
    println!("\ngeometric mean {mean:.4} (at most {MEAN} is promised), worst {worst:.4} (at most {WORST})");
    let report = Report { options, rows, latencies, mean, worst, load };
    if let Some(path) = &options.json {
        write(path, &format!("{:#}\n", report.json()))?;
    }
    if let Some(path) = &options.page {
        write(path, &report.page())?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

fn machine() -> String {
    report::machine(std::thread::available_parallelism().map_or(1, usize::from))
}

fn mean(rows: &[Row]) -> f64 {
    (rows.iter().map(|row| row.ratio.ln()).sum::<f64>() / rows.len().max(1) as f64).exp()
}

/// The value below which such a share of the sorted ones lies.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((share * last as f64).round() as usize).copied().unwrap_or(0.0)
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

/// Checks that both forms compute the same, and, if that is wanted, what is right, and measures them in turns.
fn measure(name: &'static str, options: &Options, scene: &Scene, case: &Case, right: bool) -> Result<Place, String> {
    let mut results = Vec::new();
    let mut first = [0.0; 2];
    for (form, first) in [Form::Plain, Form::Suspendable].into_iter().zip(&mut first) {
        // Twice: the time of the first has page faults in it.
        scene.time(form)?;
        scene.reset(case)?;
        *first = scene.time(form)?;
        let outputs: Result<Vec<_>, String> = case.outputs().map(|index| scene.read(index)).collect();
        results.push(outputs?);
        scene.reset(case)?;
    }
    if results[0] != results[1] {
        return Err(format!("{name}: the forms compute different results"));
    }
    if right {
        let outcome = (case_again(name, options.size)?.reference)();
        for (expected, bytes) in outcome.expected.iter().zip(&results[0]) {
            expected.check(bytes).map_err(|error| format!("{name}: {error}"))?;
        }
    }
    let launches = (TURN / first[0]).clamp(1.0, LAUNCHES) as usize;
    let (mut times, mut ratios) = ([Vec::new(), Vec::new()], Vec::new());
    for round in 0..options.rounds {
        let mut used = [0.0; 2];
        let forms = [Form::Plain, Form::Suspendable, Form::Suspendable, Form::Plain];
        for form in (0..4).map(|turn| forms[(turn + 2 * (round % 2)) % 4]) {
            let before = processor_time()?;
            for _ in 0..launches.div_ceil(2) {
                times[form as usize].push(scene.time(form)?);
            }
            used[form as usize] += processor_time()? - before;
        }
        ratios.push(used[1] / used[0]);
    }
    // Where there are no sites, the forms are the same code.
    let ratio = if scene.sites() == 0 { 1.0 } else { quantile(&sorted(ratios), 0.5) };
    Ok(Place { times, ratio, compile: scene.compile })
}

/// Seconds that all threads of this process have run up to now: what else the machine does is not in it.
fn processor_time() -> Result<f64, String> {
    let tasks = std::fs::read_dir("/proc/self/task").map_err(|error| format!("/proc/self/task: {error}"))?;
    let mut sum = 0.0;
    for task in tasks.flatten() {
        // A thread may end meanwhile.
        let Ok(text) = std::fs::read_to_string(task.path().join("schedstat")) else { continue };
        sum += text.split(' ').next().and_then(|first| first.parse::<f64>().ok()).unwrap_or(0.0);
    }
    Ok(sum * 1e-9)
}

fn case_again(name: &str, size: Size) -> Result<Case, String> {
    Ok((cases::find(name)?.case)(size))
}

/// Asks launches to stop at random times of the step that takes `longest` seconds.
fn latency(
    name: &str,
    stage: &mut Stage,
    scene: &mut Scene,
    (step, longest): (usize, f64),
    pauses: usize,
    random: &mut Random,
) -> Result<Latency, String> {
    let (mut latencies, mut frames) = (Vec::new(), 0);
    for _ in 0..pauses {
        let after = f64::from(random.f32(0.0, 1.0)) * longest;
        let pause = scene.pause(stage, step, Duration::from_secs_f64(after))?;
        if let Some(left) = pause.frames {
            latencies.push(pause.latency.as_secs_f64());
            frames += left;
        }
    }
    let latencies = sorted(latencies);
    Ok(Latency {
        name: name.into(),
        inside: scene.is_suspended(),
        pauses: latencies.len(),
        median: quantile(&latencies, 0.5),
        high: quantile(&latencies, 0.99),
        most: quantile(&latencies, 1.0),
        frames: frames as f64 / latencies.len().max(1) as f64,
    })
}

/// A kernel of `endless.cu`.
fn endless(function: &'static str) -> Case {
    let threads = (ENDLESS_BLOCK * ENDLESS_GRID) as usize;
    let mut case = Case::new(|| Outcome::new(Vec::new())).read(of_u32s(&[0])).write(threads);
    case.steps.push(Step {
        function,
        grid: [ENDLESS_GRID, 1, 1],
        block: [ENDLESS_BLOCK, 1, 1],
        arguments: vec![Argument::Buffer(0), Argument::Buffer(1)],
        cooperative: function == "grid",
    });
    case
}

impl Row {
    fn of(name: &'static str, sites: usize, places: Vec<Place>) -> Self {
        let ratios = sorted(places.iter().map(|place| place.ratio).collect());
        let compile = [0, 1].map(|form| places.iter().map(|place| place.compile[form]).fold(f64::INFINITY, f64::min));
        let mut times = [Vec::new(), Vec::new()];
        for place in places {
            times.iter_mut().zip(place.times).for_each(|(all, more)| all.extend(more));
        }
        let times = times.map(sorted);
        Self {
            name,
            sites,
            medians: [0, 1].map(|form: usize| quantile(&times[form], 0.5)),
            spreads: [0, 1].map(|form: usize| (quantile(&times[form], 0.75) - quantile(&times[form], 0.25)) / 2.0),
            ratio: quantile(&ratios, 0.5),
            between: [0.0, 1.0].map(|share| quantile(&ratios, share)),
            compile,
        }
    }

    fn line(&self) -> String {
        let [plain, other] = self.medians.map(|seconds| seconds * 1e3);
        let [first, second] = self.compile.map(|seconds| seconds * 1e3);
        format!(
            "{:<16} {:>5} {plain:>10.3} {other:>10.3} {:>7.4} {:>7.3} {:>7.3} {:>6.1}% {first:>6.0} ms {second:>6.0} ms",
            self.name,
            self.sites,
            self.ratio,
            self.between[0],
            self.between[1],
            100.0 * self.spreads[0] / self.medians[0],
        )
    }
}

impl Latency {
    fn line(&self) -> String {
        let [median, high, most] = [self.median, self.high, self.most].map(|seconds| seconds * 1e6);
        format!(
            "{:<20} {:>7} {median:>10.1} {high:>10.1} {most:>10.1} {:>10.1}{}",
            self.name,
            self.pauses,
            self.frames,
            if self.inside { "" } else { "  between blocks only" }
        )
    }
}

struct Report<'o> {
    options: &'o Options,
    rows: Vec<Row>,
    latencies: Vec<Latency>,
    mean: f64,
    worst: f64,
    load: f64,
}

impl Report<'_> {
    fn json(&self) -> Value {
        let ms = |seconds: [f64; 2]| seconds.map(|s| s * 1e3);
        let rows = self.rows.iter().map(|row| {
            let ([plain, other], [plain_spread, spread]) = (ms(row.medians), ms(row.spreads));
            let [plain_compile, compile] = ms(row.compile);
            json!({ "name": row.name, "sites": row.sites, "ratio": row.ratio, "ratios_of_places": row.between,
                "plain": { "ms": plain, "spread_ms": plain_spread, "compile_ms": plain_compile },
                "suspendable": { "ms": other, "spread_ms": spread, "compile_ms": compile } })
        });
        let pauses = self.latencies.iter().map(|latency| {
            json!({ "name": latency.name, "inside_of_blocks": latency.inside, "pauses": latency.pauses,
                "p50_us": latency.median * 1e6, "p99_us": latency.high * 1e6, "most_us": latency.most * 1e6,
                "frames": latency.frames })
        });
        json!({ "date": today(), "machine": machine(), "load": self.load, "size": self.options.size.name(), "rounds": self.options.rounds,
            "places": self.options.places,
            "geometric_mean": self.mean, "worst": self.worst,
            "promised": { "geometric_mean": MEAN, "worst": WORST, "pause_ms": LATENCY * 1e3 },
            "kernels": rows.collect::<Vec<_>>(), "pauses": pauses.collect::<Vec<_>>() })
    }

    fn page(&self) -> String {
        let mut out = format!(
            "# Suspending kernels: what it costs\n\nWritten by `cargo xtask bench suspend` ({}, {}).\nEach kernel of the CPU suite in \
             its plain form and in the one that can be\nsuspended inside of its blocks, in one process, in turns. The times are medians; the ratio is of \
             the processor time that the forms\ntake. How fast code is depends on where it and its data lie: both are made anew {} times, \
             and the ratio is the median\nof these places, each the median of {} rounds; the least and the largest stand behind it. {:.1} programs wanted a processor when it began. Geometric mean {:.3} (at most\n{MEAN} is promised), worst {:.3} (at most {WORST}).\n\n\
             | kernel | sites | plain, ms | suspendable, ms | ratio | places | compiled in, ms |\n|---|---|---|---|---|---|---|\n",
            machine(),
            today(),
            self.options.places,
            self.options.rounds,
            self.load,
            self.mean,
            self.worst
        );
        for row in &self.rows {
            let ([plain, other], [first, second]) = (row.medians, row.compile);
            out += &format!(
                "| {} | {} | {:.3} ± {:.3} | {:.3} ± {:.3} | {:.3} | {:.2} to {:.2} | {:.0}, {:.0} |\n",
                row.name,
                row.sites,
                plain * 1e3,
                row.spreads[0] * 1e3,
                other * 1e3,
                row.spreads[1] * 1e3,
                row.ratio,
                row.between[0],
                row.between[1],
                first * 1e3,
                second * 1e3
            );
        }
        out += &format!(
            "\nFrom a request at a random time to the end of the launch; at most {:.0} ms is promised. Launches that had ended by \
             themselves\nare not counted.\n\n| kernel | stops | pauses | p50, µs | p99, µs | longest, µs | threads that left inside |\n\
             |---|---|---|---|---|---|---|\n",
            LATENCY * 1e3
        );
        for latency in &self.latencies {
            out += &format!(
                "| {} | {} | {} | {:.0} | {:.0} | {:.0} | {:.0} |\n",
                latency.name,
                if latency.inside { "inside of blocks" } else { "between blocks" },
                latency.pauses,
                latency.median * 1e6,
                latency.high * 1e6,
                latency.most * 1e6,
                latency.frames
            );
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_there_are() {
        let values = sorted(vec![3.0, 1.0, 2.0, 5.0, 4.0]);
        assert_eq!([0.0, 0.5, 0.99, 1.0].map(|share| quantile(&values, share)), [1.0, 3.0, 5.0, 5.0]);
        assert_eq!(quantile(&[], 0.5), 0.0);
    }

    #[test]
    fn the_forms_of_small_kernels_agree_and_stop() {
        let options = Options {
            size: Size::Tiny,
            only: ["reduce", "mandelbrot", "alone"].map(String::from).to_vec(),
            rounds: 1,
            places: 2,
            pauses: 3,
            threads: 2,
            ptx: Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels"),
            json: None,
            page: None,
        };
        run(&options).unwrap_or_else(|error| panic!("{error}"));
    }
}
