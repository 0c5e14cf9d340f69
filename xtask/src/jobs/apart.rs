//! Runs a command where processes have numbers of their own, and jobs a place of their own to announce themselves. There nobody else has the
//! number of a process that comes back, and one that has ended is forgotten at once: a machine's first process may take seconds to
//! ask about the children that were left to it.

use super::transfers;
use crate::report::Counts;
use crate::tool::counted;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::Command;

/// The word that says that this is where the command was sent.
pub(super) const APART: &str = "--apart";
/// Where its jobs announce themselves, a folder for each bench.
const PLACE: &str = "HETGPU_JOBS_APART";

/// Runs this program's command there. None where that cannot be, or where this is there.
pub(super) fn run(name: &str, words: &[String]) -> Result<Option<Counts>, String> {
    if words.iter().any(|word| word == APART) || !transfers::possible() {
        return Ok(None);
    }
    let trouble = |error: std::io::Error| format!("{name}: {error}");
    let place = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
    std::fs::DirBuilder::new().mode(0o700).create(&place).map_err(trouble)?;
    // What this shell is left by others it asks about.
    let script = format!("{}; \"$@\"; exit $?", super::CLOSED);
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "bash", "-c", &script, "bash"]);
    command.arg(std::env::current_exe().map_err(trouble)?).arg(name).args(words).arg(APART).env(PLACE, &place);
    let done = counted(&mut command, Counts::closing_line);
    let _ = std::fs::remove_dir_all(place);
    done.map(Some)
}

/// A place for the jobs of a bench; none where this runs among others.
pub(super) fn sockets(name: &str) -> Result<Option<PathBuf>, String> {
    let Some(place) = std::env::var_os(PLACE).map(|place| PathBuf::from(place).join(name)) else { return Ok(None) };
    let made = std::fs::DirBuilder::new().mode(0o700).create(&place);
    made.map_err(|error| format!("{}: {error}", place.display()))?;
    Ok(Some(place))
}
