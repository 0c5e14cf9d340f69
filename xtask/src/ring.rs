//! Kernels that are suspended in the middle of their blocks again and again, each time to go on on the next device of a ring;
//! what they write is what they write without that. Filetests are tried, and the kernels of the CPU suite; and whole programs, which are
//! moved by `hetgpu-migrate`'s way all the time, and print what they print without that.

use crate::report::Counts;
use crate::tool::{cargo, counted, root};
use std::process::Command;

/// A ring of devices.
struct Ring {
    name: &'static str,
    /// The part of the filetests that runs on it, and how often, suspended at other places each time.
    part: &'static str,
    times: u64,
    /// How often the kernels of the suite run, and the programs.
    suite: u64,
    programs: u64,
    /// Pauses of launches that there are at least.
    pauses: u64,
    launches: u64,
}

impl Ring {
    /// For a page.
    fn what(&self) -> String {
        let times = |times: u64, what: &str| match times {
            0 => None,
            1 => Some(what.to_owned()),
            _ => Some(format!("{what}, {times} times")),
        };
        let part = if self.part.is_empty() { "filetests".to_owned() } else { format!("filetests `{}`", self.part) };
        let all = [times(self.times, &part), times(self.suite, "the suite"), times(self.programs, "programs")];
        all.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }
}

const RINGS: &[Ring] = &[
    Ring { name: "ring:interp", part: "", times: 5, suite: 2, programs: 0, pauses: 10_000, launches: 500 },
    Ring {
        name: "ring:cpu+interp+cpu-avx2",
        part: "suspend/",
        times: 1,
        suite: 0,
        programs: 0,
        pauses: 300,
        launches: 40,
    },
    // Lanes of a warp leave at different places, and meet at barriers in loops around.
    Ring { name: "ring:cpu", part: "loops_of_functions", times: 20, suite: 0, programs: 0, pauses: 100, launches: 20 },
    Ring { name: PROGRAMS, part: "", times: 0, suite: 0, programs: 1, pauses: 200, launches: 30 },
];

/// Programs are moved at times, not at sites: where there are too few moves, as on loaded machines, they run again, so often at most.
const AGAIN: u64 = 4;

/// What programs are moved around: longer on devices that are fast.
const PROGRAMS: &str = "ring:cpu+cpu:sse2+cpu:avx2+interp+cpu+cpu:avx2";

/// The rings of the long run, whose outcome is a page of the documentation.
const LONG: &[Ring] = &[
    Ring { name: "ring:interp", part: "", times: 60, suite: 20, programs: 0, pauses: 100_000, launches: 5_000 },
    Ring {
        name: "ring:cpu+interp+cpu-sse2+cpu-avx2",
        part: "suspend/",
        times: 1,
        suite: 0,
        programs: 0,
        pauses: 1_000,
        launches: 60,
    },
    // Each launch is stopped at other places: what is compiled once is run with many seeds.
    Ring { name: "ring:cpu+interp", part: "suspend/", times: 8, suite: 0, programs: 0, pauses: 3_000, launches: 400 },
    Ring { name: "ring:cpu", part: "suspend/", times: 8, suite: 0, programs: 0, pauses: 3_000, launches: 400 },
    Ring {
        name: "ring:cpu",
        part: "loops_of_functions",
        times: 200,
        suite: 0,
        programs: 0,
        pauses: 1_000,
        launches: 200,
    },
    Ring { name: "ring:cpu+interp+cpu-avx2", part: "", times: 0, suite: 1, programs: 0, pauses: 80, launches: 10 },
    Ring { name: PROGRAMS, part: "", times: 0, suite: 0, programs: 10, pauses: 2_000, launches: 300 },
];

const PAGE: &str = "docs/ring.md";

/// The flag that asks for the long run.
const FLAG: &str = "--long";

/// Runs what has one of these names in its own, or all that each ring has.
pub(crate) fn run(arguments: &[String]) -> Result<Counts, String> {
    let (flags, names): (Vec<&String>, Vec<&String>) = arguments.iter().partition(|name| name.starts_with('-'));
    let long = match flags[..] {
        [] => false,
        [flag] if flag == FLAG && names.is_empty() => true,
        _ => return Err(format!("ring takes parts of names, or {FLAG}")),
    };
    let mut counts = Counts::default();
    let mut rows = Vec::new();
    for ring in if long { LONG } else { RINGS } {
        let outcome = on(ring, &names)?;
        let failed = outcome.counts.failed;
        counts += outcome.counts;
        let (pauses, launches) = (outcome.pauses, outcome.launches);
        if names.is_empty() {
            let enough = pauses >= ring.pauses && launches >= ring.launches;
            if !enough {
                let (wanted, of) = (ring.pauses, ring.launches);
                eprintln!(
                    "{}: {pauses} pauses of {launches} launches; at least {wanted} of {of} are wanted",
                    ring.name
                );
            }
            counts += Counts::one(enough);
        }
        let devices = ring.name.trim_start_matches("ring:").replace('+', ", ");
        rows.push(format!("| {devices} | {} | {launches} | {pauses} | {failed} |\n", ring.what()));
    }
    if long {
        let text = format!(
            "# Kernels that move in the middle of their blocks\n\nWritten by `cargo xtask ring {FLAG}`. Filetests and the kernels of the \
             CPU suite are suspended at sites chosen at random, again and\nagain, and go on on the next device of a ring each time; \
             memory is compared byte for byte with what it is without that.\nThe last ring is that of programs (`tests/programs`), which are moved at random times; what they print is compared.\n\n| ring | what | launches | pauses | differences |\n\
             |---|---|---|---|---|\n{}",
            rows.concat()
        );
        std::fs::write(root().join(PAGE), text).map_err(|error| format!("{PAGE}: {error}"))?;
    }
    Ok(counts)
}

#[derive(Default)]
struct Outcome {
    counts: Counts,
    pauses: u64,
    launches: u64,
}

impl Outcome {
    fn add(&mut self, mut command: Command) -> Result<(), String> {
        let (mut pauses, mut launches) = (0, 0);
        let told = counted(&mut command, |line| {
            if let Some((more, of)) = note(line) {
                (pauses, launches) = (pauses + more, launches + of);
            }
            Counts::closing_line(line)
        })?;
        // Most kernels have no place to be suspended at: enough others is what is asked for.
        self.counts += Counts { skipped: 0, ..told };
        self.pauses += pauses;
        self.launches += launches;
        Ok(())
    }
}

/// All that a ring has.
fn on(ring: &Ring, names: &[&String]) -> Result<Outcome, String> {
    let chosen: Vec<&str> = if names.is_empty() { vec![ring.part] } else { names.iter().map(|n| n.as_str()).collect() };
    let mut outcome = Outcome::default();
    for (seed, name) in (0..ring.times).flat_map(|seed| chosen.iter().map(move |name| (seed, *name))) {
        let mut command = cargo();
        command.env("HETGPU_RING_SEED", seed.to_string());
        command.args(["test", "--quiet", "--package", "hetgpu-tests", "--test", "filetests", "--", "--on", ring.name]);
        command.args(["--format", "terse"]).args(Some(name).filter(|name| !name.is_empty()));
        outcome.add(command)?;
    }
    let most = if names.is_empty() { ring.programs * AGAIN } else { 0 };
    for seed in 0..most {
        if seed >= ring.programs && (outcome.pauses >= ring.pauses || outcome.counts.failed > 0) {
            break;
        }
        let mut command = cargo();
        command.env("HETGPU_RING", ring.name).env("HETGPU_RING_SEED", seed.to_string());
        command.args(["test", "--quiet", "--package", "hetgpu-shim", "--test", "programs", "--", "--format", "terse"]);
        outcome.add(command)?;
    }
    if names.is_empty() && ring.suite > 0 {
        let mut command = cargo();
        command.args(["run", "--quiet", "--package", "hetgpu-bench", "--", "ring", ring.name, &ring.suite.to_string()]);
        outcome.add(command)?;
    }
    Ok(outcome)
}

/// The numbers of a line such as `ring:interp: 150 pauses of 40 launches`.
fn note(line: &str) -> Option<(u64, u64)> {
    let text = line.strip_prefix("ring:")?.split_once(": ")?.1;
    let (pauses, launches) = text.trim_end().strip_suffix(" launches")?.split_once(" pauses of ")?;
    Some((pauses.parse().ok()?, launches.parse().ok()?))
}

#[cfg(test)]
mod tests {
    #[test]
    fn notes_are_read() {
        assert_eq!(super::note("ring:cpu+interp: 150 pauses of 40 launches"), Some((150, 40)));
        assert_eq!(super::note("150 passed, 0 failed, 0 skipped"), None);
    }
}
