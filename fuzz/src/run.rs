//! The loop: mutate, run, watch.

use std::collections::HashSet;
use std::io::{Seek, SeekFrom, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use crate::mutate::mutate;
use crate::random::Random;
use crate::targets::{Answer, Target};

/// An input that takes longer is a finding.
const PATIENCE: Duration = Duration::from_secs(10);

/// Most inputs kept for their answers.
const CORPUS: usize = 20_000;

/// What a run of a target gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    pub inputs: u64,
    pub answers: u64,
    pub findings: u64,
}

/// When to stop.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    Time(Duration),
    Inputs(u64),
}

/// The last panic's message, which `catch_unwind` does not give with its place.
static PANIC: Mutex<String> = Mutex::new(String::new());

/// When the input in hand was begun, and where it is.
static IN_HAND: Mutex<Option<(Instant, PathBuf)>> = Mutex::new(None);

fn in_hand() -> MutexGuard<'static, Option<(Instant, PathBuf)>> {
    IN_HAND.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Fuzzes a target. Findings are written below `folder`, as is the input in hand, so that it is there if the process dies.
pub fn fuzz(target: &Target, seed: u64, until: Until, folder: &Path) -> std::io::Result<Summary> {
    std::fs::create_dir_all(folder)?;
    let path = folder.join(format!("{}.input", target.name));
    let mut file = std::fs::File::create(&path)?;
    std::panic::set_hook(Box::new(|info| {
        *PANIC.lock().unwrap_or_else(PoisonError::into_inner) = info.to_string();
    }));
    let start = Instant::now();
    static WATCH: Once = Once::new();
    WATCH.call_once(|| drop(std::thread::spawn(watch)));
    let mut random = Random(seed);
    let mut corpus = (target.seeds)();
    let own = corpus.len();
    let mut seen: HashSet<Answer> = HashSet::new();
    let mut places: HashSet<String> = HashSet::new();
    let mut summary = Summary::default();
    loop {
        let done = match until {
            Until::Time(time) => start.elapsed() >= time,
            Until::Inputs(inputs) => summary.inputs >= inputs + own as u64,
        };
        if done {
            break;
        }
        // The seeds themselves come first.
        let input = match corpus.get(summary.inputs as usize) {
            Some(seed) if summary.inputs < own as u64 => seed.clone(),
            _ => mutate(&mut random, &corpus),
        };
        // Written in place: a file that is replaced is flushed to the disk each time.
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&input)?;
        file.set_len(input.len() as u64)?;
        *in_hand() = Some((Instant::now(), path.clone()));
        let answer = catch_unwind(AssertUnwindSafe(|| (target.run)(&input)));
        *in_hand() = None;
        summary.inputs += 1;
        match answer {
            Ok(answer) => {
                if seen.insert(answer) {
                    summary.answers += 1;
                    if summary.inputs > own as u64 && corpus.len() < CORPUS {
                        corpus.push(input);
                    }
                }
            }
            Err(_) => {
                let message = PANIC.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let place = message.lines().next().unwrap_or_default().to_string();
                if places.insert(place) {
                    summary.findings += 1;
                    let kept = folder.join(format!("{}.{}.finding", target.name, summary.findings));
                    std::fs::write(&kept, &input)?;
                    println!("{}: {message}\n  input: {}", target.name, kept.display());
                }
            }
        }
    }
    let _ = std::panic::take_hook();
    std::fs::remove_file(&path)?;
    Ok(summary)
}

/// Ends the process where one input takes too long.
fn watch() {
    loop {
        std::thread::sleep(Duration::from_millis(500));
        if let Some((begun, path)) = in_hand().as_ref().filter(|(begun, _)| begun.elapsed() > PATIENCE) {
            println!("an input takes more than {:.0} seconds: {}", begun.elapsed().as_secs_f64(), path.display());
            std::process::exit(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_kept() {
        let run: fn(&[u8]) -> Answer = |bytes| {
            assert!(!bytes.starts_with(b"bad"), "it is bad");
            Answer::NONE.with(&String::from_utf8_lossy(bytes))
        };
        let target = Target { name: "sample", seeds: || vec![b"bad seed".to_vec(), b"good seed".to_vec()], run };
        let folder = std::env::temp_dir().join(format!("hetgpu-fuzz-{}", std::process::id()));
        let summary = fuzz(&target, 1, Until::Inputs(500), &folder).unwrap();
        assert_eq!((summary.inputs, summary.findings), (502, 1));
        assert!(summary.answers > 50);
        assert_eq!(std::fs::read(folder.join("sample.1.finding")).unwrap(), b"bad seed");
        assert!(!folder.join("sample.input").exists());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
