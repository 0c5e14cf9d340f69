//! A process that holds one contestant: what it loads cannot disturb the others, and may crash.
//!
//! It answers each line of its input with one line: `ok` and numbers, or `error` and a text.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::case::{Case, Size};
use super::cases;
use super::engine::{Engine, Prepared};
use crate::sys::cuda::Cuda;
use crate::sys::opencl::OpenCl;

/// The words of the command line: `cuda LIBRARY FOLDER` or `opencl LIBRARY FOLDER`.
pub(crate) fn run(words: &[&str]) -> Result<(), String> {
    let (engine, extension, folder): (Result<Box<dyn Engine>, String>, _, _) = match *words {
        ["cuda", library, folder] => {
            (Cuda::open(library.as_ref()).map(|engine| Box::new(engine) as Box<dyn Engine>), "ptx", folder)
        }
        ["opencl", library, folder] => {
            (OpenCl::open(library).map(|engine| Box::new(engine) as Box<dyn Engine>), "cl", folder)
        }
        _ => return Err("worker: cuda LIBRARY FOLDER, or opencl LIBRARY FOLDER".into()),
    };
    let engine = match engine {
        Ok(engine) => engine,
        Err(error) => {
            answer(&Err(error));
            return Ok(());
        }
    };
    answer(&Ok(engine.device()));
    let sources = Sources { folder: folder.into(), extension };
    let mut current = None;
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|error| error.to_string())?;
        let words: Vec<&str> = line.split(' ').collect();
        answer(&obey(&words, &*engine, &sources, &mut current));
    }
    Ok(())
}

fn answer(result: &Result<String, String>) {
    let line = match result {
        Ok(text) => format!("ok {text}"),
        Err(text) => format!("error {}", text.split_whitespace().collect::<Vec<_>>().join(" ")),
    };
    // A parent that is gone needs no answer; the input will end.
    let _ = writeln!(std::io::stdout(), "{line}");
}

struct Sources {
    folder: PathBuf,
    extension: &'static str,
}

impl Sources {
    fn read(&self, name: &str) -> Result<String, String> {
        let path = self.folder.join(name).with_extension(self.extension);
        std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
    }
}

struct Current<'a> {
    case: Case,
    prepared: Box<dyn Prepared + 'a>,
}

impl Current<'_> {
    /// One launch, in seconds. Data that a launch changes is not set again: that would leave it in the caches, and no
    /// kernel's time depends on what it finds there.
    fn time(&mut self) -> Result<f64, String> {
        let start = Instant::now();
        self.prepared.enqueue()?;
        self.prepared.finish()?;
        Ok(start.elapsed().as_secs_f64())
    }
}

fn obey<'a>(
    words: &[&str],
    engine: &'a dyn Engine,
    sources: &Sources,
    current: &mut Option<Current<'a>>,
) -> Result<String, String> {
    match *words {
        ["load", name, size, results] => {
            *current = None;
            let (loaded, line) = load(name, Size::parse(size)?, results.as_ref(), engine, sources)?;
            *current = Some(loaded);
            Ok(line)
        }
        ["time", count] => {
            let current = current.as_mut().ok_or("nothing is loaded")?;
            let count: usize = count.parse().map_err(|_| "time: a number")?;
            let times: Result<Vec<String>, String> =
                (0..count).map(|_| current.time().map(|seconds| format!("{seconds:e}"))).collect();
            Ok(times?.join(" "))
        }
        ["overhead", count] => {
            let current = current.as_mut().ok_or("nothing is loaded")?;
            overhead(current, count.parse().map_err(|_| "overhead: a number")?)
        }
        ["drop"] => {
            *current = None;
            Ok(String::new())
        }
        _ => Err(format!("unknown command {}", words.join(" "))),
    }
}

/// Loads the fastest form of a kernel and writes the results of a launch to a file. Answers with the seconds from the
/// source to the end of the first launch, those of a second launch, and the form.
fn load<'a>(
    name: &str,
    size: Size,
    results: &Path,
    engine: &'a dyn Engine,
    sources: &Sources,
) -> Result<(Current<'a>, String), String> {
    let kernel = cases::find(name)?;
    let source = sources.read(name)?;
    let forms: &[&str] = if sources.extension == "ptx" { &[""] } else { kernel.forms };
    let form = match forms {
        [only] => only,
        _ => fastest(forms, |form| {
            let case = (kernel.case)(size);
            let mut current = Current { prepared: engine.prepare(&source, form, &case)?, case };
            (0..4).map(|_| current.time()).try_fold(f64::INFINITY, |best, time| time.map(|time| best.min(time)))
        })?,
    };
    let case = (kernel.case)(size);
    let start = Instant::now();
    let mut current = Current { prepared: engine.prepare(&source, form, &case)?, case };
    current.time()?;
    let first = start.elapsed().as_secs_f64();
    current.prepared.reset(&current.case)?;
    let again = current.time()?;
    let mut file = std::fs::File::create(results).map_err(|error| format!("{}: {error}", results.display()))?;
    for index in current.case.outputs().collect::<Vec<_>>() {
        let bytes = current.prepared.read(index)?;
        file.write_all(&bytes).map_err(|error| format!("{}: {error}", results.display()))?;
    }
    Ok((current, format!("{first:e} {again:e} {form}")))
}

/// The form that takes the least time; forms that a peer does not build are left out.
fn fastest<'a>(forms: &[&'a str], time: impl Fn(&str) -> Result<f64, String>) -> Result<&'a str, String> {
    let (mut best, mut refused) = (None, Vec::new());
    for form in forms {
        match time(form) {
            Ok(time) if best.is_none_or(|(least, _)| time < least) => best = Some((time, *form)),
            Ok(_) => {}
            Err(error) => refused.push(format!("[{form}] {error}")),
        }
    }
    best.map(|(_, form)| form).ok_or_else(|| refused.join(" "))
}

/// The seconds that a launch takes the caller, and that launching and waiting takes.
fn overhead(current: &mut Current, count: usize) -> Result<String, String> {
    let mut waits = Vec::with_capacity(count);
    for _ in 0..count {
        waits.push(current.time()?);
    }
    waits.sort_by(f64::total_cmp);
    let start = Instant::now();
    for _ in 0..count {
        current.prepared.enqueue()?;
    }
    let enqueue = start.elapsed().as_secs_f64() / count as f64;
    current.prepared.finish()?;
    Ok(format!("{enqueue:e} {:e}", waits[count / 2]))
}
