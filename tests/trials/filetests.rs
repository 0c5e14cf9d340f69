//! Every filetest as trials: `FILE::runK::DEVICE`, `FILE::ptxas`, `FILE::lift`; a file whose header is wrong is the
//! failing trial `FILE::header`.
//!
//! `--on coverage` gives one trial a form of PTX instead, which fails if no filetest has it, or not with each of its words.
//!
//! `--on DEVICE` (several by commas) chooses the devices; without it `HETGPU_TEST_ON` does; the default is `interp`.
//!
//! Where a fault takes the device from the process for good, each run that is to end with one has a process of its own.

use std::process::{Command, ExitCode};
use std::sync::Arc;

use hetgpu_tests::coverage::{self, Coverage};
use hetgpu_tests::engine::{self, Engine};
use hetgpu_tests::files::{self, File};
use hetgpu_tests::header::Filetest;
use hetgpu_tests::{engines, ptxas, toolkit};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use ptx_frontend::FormInfo;

/// The device name under which ptxas judges the files.
const PTXAS: &str = "ptxas";

/// A variable that is set in a process that runs one trial.
const ALONE: &str = "HETGPU_TEST_ALONE";

/// The device name under which the forms are checked for having a filetest.
const COVERAGE: &str = "coverage";

fn main() -> ExitCode {
    let mut on = std::env::var("HETGPU_TEST_ON").unwrap_or_else(|_| "interp".into());
    let mut rest = Vec::new();
    let mut arguments = std::env::args();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--on" => on = arguments.next().unwrap_or_default(),
            _ => rest.push(argument),
        }
    }
    let devices: Result<Vec<On>, String> = on.split(',').filter(|name| !name.is_empty()).map(On::named).collect();
    let devices = match devices {
        Ok(devices) => devices,
        Err(error) => {
            eprintln!("{error} {PTXAS} {COVERAGE}");
            return ExitCode::FAILURE;
        }
    };
    let files = match files::find(&files::default_root()) {
        Ok(files) => files,
        Err(error) => {
            eprintln!("{}: {error}", files::default_root().display());
            return ExitCode::FAILURE;
        }
    };
    let mut trials: Vec<Trial> = files.iter().flat_map(|file| trials(file, &devices)).collect();
    if devices.iter().any(|device| matches!(device, On::Coverage)) {
        trials.extend(coverage_trials(&files));
    }
    let arguments = Arguments::from_iter(rest);
    let listing = arguments.list;
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !listing {
        for device in &devices {
            if let On::Engine(engine) = device
                && let Some(note) = engine.note()
            {
                println!("{}: {note}", engine.name());
            }
        }
        println!(
            "{} passed, {} failed, {} skipped",
            conclusion.num_passed, conclusion.num_failed, conclusion.num_ignored
        );
    }
    conclusion.exit_code()
}

/// What judges the files.
enum On {
    Engine(Arc<dyn Engine>),
    Ptxas,
    Coverage,
}

impl On {
    fn named(name: &str) -> Result<Self, String> {
        match name {
            PTXAS => Ok(Self::Ptxas),
            COVERAGE => Ok(Self::Coverage),
            name => engines::named(name).map(Self::Engine),
        }
    }
}

fn trials(file: &File, devices: &[On]) -> Vec<Trial> {
    let failing =
        |message: String| vec![Trial::test(format!("{}::header", file.name), move || Err(Failed::from(message)))];
    let source = match std::fs::read_to_string(&file.path) {
        Ok(source) => Arc::new(source),
        Err(error) => return failing(format!("{}: {error}", file.path.display())),
    };
    let filetest = match Filetest::parse(&source) {
        Ok(filetest) => Arc::new(filetest),
        Err(error) => return failing(format!("{}: {error}", file.path.display())),
    };
    let mut out = Vec::new();
    for device in devices {
        let engine = match device {
            On::Engine(engine) => engine,
            On::Ptxas => {
                out.push(judge_trial(file, &filetest));
                continue;
            }
            On::Coverage => continue,
        };
        let oracle = engines::oracle();
        for index in 0..filetest.runs.len() {
            let (source, filetest, engine) = (source.clone(), filetest.clone(), engine.clone());
            let name = format!("{}::run{index}::{}", file.name, engine.name());
            out.push(Trial::ignorable_test(name.clone(), move || {
                let run = &filetest.runs[index];
                if let Some(reason) = engine.skips(&source, run) {
                    return Ok(Completion::ignored_with(reason));
                }
                // It is the hardware, or stands in for it.
                if let Some(reason) = filetest
                    .hardware_skip
                    .as_ref()
                    .or(run.hardware_skip.as_ref())
                    .filter(|_| engine.is_lost_by_faults())
                {
                    return Ok(Completion::ignored_with(reason));
                }
                if run.fault.is_some() && engine.is_lost_by_faults() && std::env::var_os(ALONE).is_none() {
                    return alone(engine.name(), &name).map(|()| Completion::Completed);
                }
                engine::execute(engine.as_ref(), oracle, &source, run)?;
                Ok(Completion::Completed)
            }));
        }
        if engine.name() == oracle.name() && !filetest.errors.is_empty() {
            let (source, filetest) = (source.clone(), filetest.clone());
            out.push(Trial::test(format!("{}::lift", file.name), move || {
                Ok(engines::interp::judge_errors(&source, &filetest.errors)?)
            }));
        }
    }
    out
}

/// Runs a trial in a process of its own.
fn alone(device: &str, trial: &str) -> Result<(), Failed> {
    let mut command = Command::new(std::env::current_exe()?);
    let output = command.args(["--on", device, "--exact", trial]).env(ALONE, "1").output()?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, errors) = (said(&output.stdout), said(&output.stderr));
    match output.status.success() && out.ends_with("1 passed, 0 failed, 0 skipped\n") {
        true => Ok(()),
        false => Err(format!("{}\n{out}{errors}", output.status).into()),
    }
}

fn judge_trial(file: &File, filetest: &Arc<Filetest>) -> Trial {
    let (path, filetest) = (file.path.clone(), filetest.clone());
    Trial::ignorable_test(format!("{}::{PTXAS}", file.name), move || match toolkit::locate("ptxas") {
        Ok(ptxas) => ptxas::judge(&ptxas, &path, &filetest.ptxas).map(|()| Completion::Completed).map_err(Failed::from),
        Err(reason) => Ok(Completion::ignored_with(reason)),
    })
}

fn coverage_trials(files: &[File]) -> Vec<Trial> {
    let mut coverage = Coverage::default();
    for source in files.iter().filter_map(|file| std::fs::read_to_string(&file.path).ok()) {
        if Filetest::parse(&source).is_ok() {
            coverage.add(&coverage::forms_of(&source));
        }
    }
    let verdict = |form: &FormInfo| match (coverage.has(form), coverage.missing(form)) {
        (false, _) => Err(Failed::from("no filetest has it")),
        (true, missing) if missing.is_empty() => Ok(()),
        (true, missing) => Err(Failed::from(format!("no filetest has {missing}"))),
    };
    let trial = |form: FormInfo| {
        let verdict = verdict(&form);
        Trial::test(format!("{}::{COVERAGE}", form.syntax), move || verdict)
    };
    coverage::all().into_iter().map(trial).collect()
}
