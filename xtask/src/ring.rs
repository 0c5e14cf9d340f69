//! Filetests whose kernels are suspended in the middle of their blocks again and again, each time to go on on the next device
//! of a ring; what they write is what they write without that.

use crate::report::Counts;
use crate::tool::{cargo, counted};

/// A ring of devices.
struct Ring {
    name: &'static str,
    /// The part of the filetests that runs on it, and how often, suspended at other places each time.
    part: &'static str,
    times: u64,
    /// Pauses of launches that there are at least.
    pauses: u64,
    launches: u64,
}

const RINGS: &[Ring] = &[
    Ring { name: "ring:interp", part: "", times: 5, pauses: 10_000, launches: 500 },
    Ring { name: "ring:cpu+interp+cpu-avx2", part: "suspend/", times: 1, pauses: 300, launches: 40 },
];

/// Runs the filetests that have one of these names in theirs, or those of each ring.
pub(crate) fn run(names: &[String]) -> Result<Counts, String> {
    let mut counts = Counts::default();
    for &Ring { name: ring, part, times, pauses, launches } in RINGS {
        let chosen: Vec<&str> = if names.is_empty() { vec![part] } else { names.iter().map(String::as_str).collect() };
        let (mut seen, mut moved) = (0, 0);
        for (seed, name) in (0..times).flat_map(|seed| chosen.iter().map(move |name| (seed, *name))) {
            let mut command = cargo();
            command.env("HETGPU_RING_SEED", seed.to_string());
            command.args(["test", "--quiet", "--package", "hetgpu-tests", "--test", "filetests", "--", "--on", ring]);
            command.args(["--format", "terse"]).args(Some(name).filter(|name| !name.is_empty()));
            let told = counted(&mut command, |line| {
                if let Some((more, of)) = note(line) {
                    (seen, moved) = (seen + more, moved + of);
                }
                Counts::closing_line(line)
            })?;
            // Most kernels have no place to be suspended at: enough others is what is asked for below.
            counts += Counts { skipped: 0, ..told };
        }
        if names.is_empty() {
            let enough = seen >= pauses && moved >= launches;
            if !enough {
                eprintln!("{ring}: {seen} pauses of {moved} launches; at least {pauses} of {launches} are wanted");
            }
            counts += Counts::one(enough);
        }
    }
    Ok(counts)
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
