//! What an engine is, and how one run of a filetest is judged on it.

use std::fmt;

use crate::compare::mismatch;
use crate::fault::{self, FaultKind};
use crate::header::{Arg, Expect, ExpectedFault, Run};

/// Something that executes PTX.
pub trait Engine: Send + Sync {
    /// The device name of trial names and `xfail`.
    fn name(&self) -> &str;

    /// Why a run of a PTX text is not tried.
    fn skips(&self, ptx: &str, run: &Run) -> Option<String> {
        let _ = (ptx, run);
        None
    }

    /// What is worth saying when all runs are done.
    fn note(&self) -> Option<String> {
        None
    }

    /// Runs one launch of a PTX text. `buffers` is the memory of the buffer arguments in their order: contents before
    /// the launch on entry, after it on return. `seed` chooses among the schedules that the engine can tell apart.
    fn run(&self, ptx: &str, run: &Run, seed: u32, buffers: &mut [Vec<u8>]) -> Result<Printed, Failure>;

    /// True if the engine looks at the text and executes nothing, so that there is no memory to compare.
    fn judges_only_text(&self) -> bool {
        false
    }

    /// True if nothing can be run any more in this process once a kernel has ended with a fault.
    fn is_lost_by_faults(&self) -> bool {
        false
    }

    /// True if the engine's results depend on the seed; else one seed is tried.
    fn has_seeds(&self) -> bool {
        false
    }
}

/// What the kernel printed; `None` from an engine that cannot know.
pub type Printed = Option<String>;

/// Why there is no result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The text was not accepted; the log says why.
    Refused { log: String },
    /// The kernel started and ended early.
    Fault { kind: FaultKind, message: String },
    /// The engine itself did not work.
    Broken(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { log } => write!(f, "refused:\n{log}"),
            Self::Fault { kind, message } => write!(f, "fault `{}`: {message}", fault::name(*kind)),
            Self::Broken(message) => write!(f, "the engine failed: {message}"),
        }
    }
}

/// What the buffers of a run hold before the launch.
pub fn initial_buffers(run: &Run) -> Vec<Vec<u8>> {
    run.args
        .iter()
        .filter_map(|arg| match arg {
            Arg::Buffer(buffer) => Some(buffer.initial.clone()),
            Arg::Value(_) | Arg::Sampler(_) => None,
        })
        .collect()
}

/// True if the run is compared with what the interpreter computes.
pub fn needs_oracle(run: &Run) -> bool {
    run.args.iter().any(|arg| matches!(arg, Arg::Buffer(b) if b.expect == Expect::Oracle))
}

/// Runs and judges one run; `Err` says what is wrong. `oracle` is asked where the run needs it, unless it is the engine.
pub fn execute(engine: &dyn Engine, oracle: &dyn Engine, ptx: &str, run: &Run) -> Result<(), String> {
    with_xfail(run, engine.name(), execute_seeds(engine, oracle, ptx, run))
}

/// Turns the verdict on a device around where the header says that the run must fail there.
pub fn with_xfail(run: &Run, device: &str, verdict: Result<(), String>) -> Result<(), String> {
    // A device with fewer instructions is the same device.
    match (run.xfail.get(device.split('-').next().unwrap_or(device)), verdict) {
        (None, verdict) => verdict,
        (Some(_), Err(_)) => Ok(()),
        (Some(reason), Ok(())) => Err(format!("unexpected pass: the header says that it fails here because: {reason}")),
    }
}

fn execute_seeds(engine: &dyn Engine, oracle: &dyn Engine, ptx: &str, run: &Run) -> Result<(), String> {
    if engine.judges_only_text() {
        return engine.run(ptx, run, 0, &mut []).map(|_| ()).map_err(|failure| failure.to_string());
    }
    let reference = if needs_oracle(run) && oracle.name() != engine.name() {
        let mut buffers = initial_buffers(run);
        oracle.run(ptx, run, 0, &mut buffers).map_err(|failure| format!("the oracle itself: {failure}"))?;
        Some(buffers)
    } else {
        None
    };
    for seed in 0..if engine.has_seeds() { run.seeds } else { 1 } {
        let mut buffers = initial_buffers(run);
        let result = engine.run(ptx, run, seed, &mut buffers);
        judge(run, result, &buffers, reference.as_deref()).map_err(|wrong| match run.seeds {
            1 => wrong,
            _ => format!("with seed {seed}: {wrong}"),
        })?;
    }
    Ok(())
}

/// Compares the outcome of one launch with the header.
pub fn judge(
    run: &Run,
    result: Result<Printed, Failure>,
    buffers: &[Vec<u8>],
    reference: Option<&[Vec<u8>]>,
) -> Result<(), String> {
    match (&run.fault, result) {
        (Some(expected), Err(Failure::Fault { kind, message })) => judge_fault(expected, kind, &message),
        (Some(expected), Ok(_)) => {
            Err(format!("expected the fault `{}`, but the kernel ran to its end", fault::name(expected.kind)))
        }
        (_, Err(failure)) => Err(failure.to_string()),
        (None, Ok(printed)) => {
            judge_memory(run, buffers, reference)?;
            match (&run.prints, printed) {
                (Some(expected), Some(printed)) if *expected != printed => {
                    Err(format!("expected it to print {expected:?}, it printed {printed:?}"))
                }
                (None, Some(printed)) if !printed.is_empty() => Err(format!("it printed {printed:?}")),
                _ => Ok(()),
            }
        }
    }
}

fn judge_fault(expected: &ExpectedFault, kind: FaultKind, message: &str) -> Result<(), String> {
    if expected.kind != kind {
        return Err(format!(
            "expected the fault `{}`, got `{}`: {message}",
            fault::name(expected.kind),
            fault::name(kind)
        ));
    }
    if !message.contains(&expected.message) {
        return Err(format!("the fault's message does not contain {:?}: {message}", expected.message));
    }
    Ok(())
}

fn judge_memory(run: &Run, buffers: &[Vec<u8>], reference: Option<&[Vec<u8>]>) -> Result<(), String> {
    let mut wrong = Vec::new();
    let mut next = 0;
    for (index, arg) in run.args.iter().enumerate() {
        let Arg::Buffer(buffer) = arg else { continue };
        let oracle = reference.map(|all| all[next].as_slice());
        wrong.extend(mismatch(&format!("arg{index}"), buffer, &buffers[next], oracle));
        next += 1;
    }
    if wrong.is_empty() { Ok(()) } else { Err(format!("wrong memory after `{}`:\n{}", run.kernel, wrong.join("\n"))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::Filetest;

    /// Leaves in the last buffer the sum of the first one and the seed.
    struct Adder {
        name: &'static str,
        offset: u8,
        prints: Option<&'static str>,
        failure: Option<Failure>,
    }

    impl Engine for Adder {
        fn name(&self) -> &str {
            self.name
        }
        fn run(&self, _: &str, _: &Run, seed: u32, buffers: &mut [Vec<u8>]) -> Result<Printed, Failure> {
            let sum = buffers[0].iter().sum::<u8>() + self.offset + seed as u8;
            if let Some(last) = buffers.last_mut() {
                last[0] = sum;
            }
            self.failure.clone().map_or(Ok(self.prints.map(String::from)), Err)
        }
        fn has_seeds(&self) -> bool {
            true
        }
    }

    fn adder(name: &'static str, offset: u8) -> Adder {
        Adder { name, offset, prints: None, failure: None }
    }

    fn run(extra: &str, output: &str) -> Run {
        let header = format!(
            "//! [[run]]\n//! kernel = \"k\"\n//! grid = 1\n//! block = 1\n//! {extra}\n\
             //! args = [{{ buf = \"u8\", in = [1, 2] }}, {{ u32 = 1 }}, {{ buf = \"u8\", {output} }}]\n"
        );
        Filetest::parse(&header).unwrap().runs.remove(0)
    }

    fn on(engine: &Adder, run: &Run) -> Result<(), String> {
        execute(engine, &adder("interp", 0), "", run)
    }

    #[test]
    fn memory_is_judged() {
        assert_eq!(on(&adder("cpu", 0), &run("", "expect = [3]")), Ok(()));
        let wrong = on(&adder("cpu", 1), &run("", "expect = [3]")).unwrap_err();
        assert!(wrong.contains("arg2[0]: expected 3 (0x03), got 4 (0x04)"), "{wrong}");
    }

    #[test]
    fn an_expected_failure_must_fail() {
        let xfail = "xfail = { cpu = \"adds one too many\" }";
        assert_eq!(on(&adder("cpu", 1), &run(xfail, "expect = [3]")), Ok(()));
        let wrong = on(&adder("cpu", 0), &run(xfail, "expect = [3]")).unwrap_err();
        assert!(wrong.starts_with("unexpected pass") && wrong.ends_with("adds one too many"), "{wrong}");
        assert!(on(&adder("amd", 1), &run(xfail, "expect = [3]")).is_err());
    }

    #[test]
    fn the_oracle_gives_the_reference() {
        let oracle = run("", "len = 64, expect = \"oracle\"");
        assert_eq!(on(&adder("cpu", 0), &oracle), Ok(()));
        assert!(on(&adder("cpu", 1), &oracle).is_err());
        // The oracle is not compared with itself.
        assert_eq!(on(&adder("interp", 1), &oracle), Ok(()));
    }

    #[test]
    fn each_seed_is_judged() {
        let wrong = on(&adder("cpu", 0), &run("seeds = 3", "expect = [3]")).unwrap_err();
        assert!(wrong.starts_with("with seed 1: "), "{wrong}");
    }

    #[test]
    fn what_is_printed_is_judged() {
        let printing = |text| Adder { prints: Some(text), ..adder("cpu", 0) };
        let expected = run("prints = \"a\\n\"", "expect = [3]");
        assert_eq!(on(&printing("a\n"), &expected), Ok(()));
        assert!(on(&printing("b\n"), &expected).unwrap_err().contains("expected it to print \"a\\n\""));
        assert!(on(&printing("b"), &run("", "expect = [3]")).unwrap_err().contains("it printed"));
        assert_eq!(on(&adder("cpu", 0), &expected), Ok(()));
    }

    #[test]
    fn faults_are_judged() {
        let trap = |message: &str| Adder {
            failure: Some(Failure::Fault { kind: FaultKind::Trap, message: message.into() }),
            ..adder("cpu", 0)
        };
        let expected = run("fault = { kind = \"trap\", message = \"line 3\" }", "len = 1");
        assert_eq!(on(&trap("at line 3"), &expected), Ok(()));
        assert!(on(&trap("at line 4"), &expected).unwrap_err().contains("does not contain"));
        assert!(on(&adder("cpu", 0), &expected).unwrap_err().contains("ran to its end"));
        let race = run("fault = \"race\"", "len = 1");
        assert!(on(&trap(""), &race).unwrap_err().contains("expected the fault `race`, got `trap`"));
        assert!(on(&trap("why"), &run("", "expect = [3]")).unwrap_err().contains("fault `trap`: why"));
        let refused = Adder { failure: Some(Failure::Refused { log: "no".into() }), ..adder("cpu", 0) };
        assert!(on(&refused, &race).unwrap_err().contains("refused"));
    }
}
