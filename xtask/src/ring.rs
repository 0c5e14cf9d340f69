//! Filetests whose kernels are suspended in the middle of their blocks again and again, each time to go on on the next device
//! of a ring; what they write is what they write without that.

use crate::report::Counts;
use crate::tool::{cargo, counted};

/// The rings, what part of the filetests runs on each, and how many pauses of how many launches there are at least.
const RINGS: &[(&str, &str, u64, u64)] =
    &[("ring:interp", "", 2000, 100), ("ring:cpu+interp+cpu-avx2", "suspend/", 300, 40)];

/// Runs the filetests that have one of these names in theirs, or those of each ring.
pub(crate) fn run(names: &[String]) -> Result<Counts, String> {
    let mut counts = Counts::default();
    for &(ring, part, pauses, launches) in RINGS {
        let chosen: Vec<&str> = if names.is_empty() { vec![part] } else { names.iter().map(String::as_str).collect() };
        let (mut seen, mut moved) = (0, 0);
        for name in chosen {
            let mut command = cargo();
            command.args(["test", "--quiet", "--package", "hetgpu-tests", "--test", "filetests", "--", "--on", ring]);
            command.args(["--format", "terse"]).args(Some(name).filter(|name| !name.is_empty()));
            counts += counted(&mut command, |line| {
                if let Some((more, of)) = note(line) {
                    (seen, moved) = (seen + more, moved + of);
                }
                Counts::closing_line(line)
            })?;
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
