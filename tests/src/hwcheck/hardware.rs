//! One run of a filetest on the GPU.

use hetgpu_tests::engine::{Failure, Printed};
use hetgpu_tests::fault::{self, FaultKind};
use hetgpu_tests::header::{Arg, DEFAULT_ARCH, ExpectedFault, Filetest, Run};

use crate::driver::{Driver, DriverError, Shape};

/// The device name in `xfail` where the driver is NVIDIA's.
pub(crate) const HARDWARE: &str = "hardware";

/// Also hetGPU's own driver has no calls that make textures.
const UNSUPPORTED: &str = "textures and surfaces are not set up through the driver";

/// Why a run is not tried.
pub(crate) fn skipped(filetest: &Filetest, run: &Run, device: &str) -> Option<String> {
    let fault = run.fault.as_ref().map(|fault| fault.kind).filter(|kind| !reports(*kind));
    if let Some(kind) = fault {
        return Some(format!("the driver does not report the fault `{}`", fault::name(kind)));
    }
    let has_handle = |arg: &Arg| match arg {
        Arg::Value(_) => false,
        Arg::Buffer(buffer) => buffer.view.is_some(),
        Arg::Sampler(_) => true,
    };
    if run.args.iter().any(has_handle) {
        return Some(UNSUPPORTED.into());
    }
    if device != HARDWARE {
        return None;
    }
    let reason = filetest.hardware_skip.as_ref().or(run.hardware_skip.as_ref());
    if let Some(reason) = reason {
        return Some(reason.clone());
    }
    if !filetest.ptxas.accepts {
        return Some("ptxas refuses the file".into());
    }
    (filetest.ptxas.arch != DEFAULT_ARCH).then(|| format!("needs {}", filetest.ptxas.arch))
}

/// Whether the hardware stops a kernel for this reason wherever it happens. An access out of bounds is only noticed
/// where no page is mapped.
fn reports(kind: FaultKind) -> bool {
    matches!(kind, FaultKind::Misaligned | FaultKind::Trap | FaultKind::Breakpoint | FaultKind::AssertFail)
}

/// Runs one launch; `buffers` as in `Engine::run`.
pub(crate) fn run(driver: &Driver, ptx: &str, run: &Run, buffers: &mut [Vec<u8>]) -> Result<Printed, Failure> {
    let broken = |error: DriverError| Failure::Broken(error.message);
    let module = driver.load(ptx).map_err(|error| Failure::Refused { log: error.message })?;
    let function = module.function(&run.kernel).map_err(broken)?;
    let mut memory = Vec::new();
    let mut arguments = Vec::new();
    for arg in &run.args {
        arguments.push(match arg {
            Arg::Value(bytes) => bytes.clone(),
            Arg::Sampler(_) => return Err(Failure::Broken(UNSUPPORTED.into())),
            Arg::Buffer(_) => {
                let allocation = driver.memory(&buffers[memory.len()]).map_err(broken)?;
                let address = allocation.address.to_le_bytes().to_vec();
                memory.push(allocation);
                address
            }
        });
    }
    let Run { grid, block, cluster, shared, cooperative, .. } = *run;
    let shape = Shape { grid, block, cluster, shared, cooperative };
    driver.launch(&function, &shape, &arguments).map_err(|error| failure(run.fault.as_ref(), error))?;
    for (allocation, buffer) in memory.iter().zip(buffers) {
        *buffer = allocation.read().map_err(broken)?;
    }
    Ok(None)
}

/// The fault behind an error of the driver. It names a group of faults at most, and no place: where the expected
/// fault is of the group, it counts as met, message included.
fn failure(expected: Option<&ExpectedFault>, error: DriverError) -> Failure {
    let group: &[FaultKind] = match error.code {
        700 | 717 => &[FaultKind::OutOfBounds],
        710 => &[FaultKind::AssertFail],
        715 | 719 => &[FaultKind::Trap, FaultKind::Breakpoint, FaultKind::StackOverflow, FaultKind::BadCall],
        716 => &[FaultKind::Misaligned],
        718 => &[FaultKind::BadCall],
        _ => return Failure::Broken(error.message),
    };
    match expected.filter(|expected| group.contains(&expected.kind)) {
        Some(expected) => Failure::Fault { kind: expected.kind, message: expected.message.clone() },
        None => Failure::Fault { kind: group[0], message: error.message },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: i32) -> DriverError {
        DriverError { code, message: format!("error {code}") }
    }

    #[test]
    fn errors_name_groups_of_faults() {
        let expected = ExpectedFault { kind: FaultKind::Breakpoint, message: "line 3".into() };
        let met = Failure::Fault { kind: FaultKind::Breakpoint, message: "line 3".into() };
        assert_eq!(failure(Some(&expected), error(719)), met);
        let other = Failure::Fault { kind: FaultKind::Misaligned, message: "error 716".into() };
        assert_eq!(failure(Some(&expected), error(716)), other);
        assert_eq!(failure(None, error(1)), Failure::Broken("error 1".into()));
    }

    #[test]
    fn what_is_skipped() {
        let filetest = |head: &str, run: &str| {
            let header =
                format!("//! {head}\n//! [[run]]\n//! kernel = \"k\"\n//! grid = 1\n//! block = 1\n//! {run}\n");
            Filetest::parse(&header).unwrap()
        };
        let reason = |head, run| {
            let filetest = filetest(head, run);
            skipped(&filetest, &filetest.runs[0], HARDWARE)
        };
        assert_eq!(reason("", "fault = \"trap\""), None);
        assert_eq!(reason("", "fault = \"race\"").unwrap(), "the driver does not report the fault `race`");
        assert_eq!(reason("ptxas = { arch = \"sm_100a\" }", "fault = \"trap\"").unwrap(), "needs sm_100a");
        assert_eq!(reason("hardware = { skip = \"some reason\" }", "fault = \"trap\"").unwrap(), "some reason");
        let elsewhere = filetest("hardware = { skip = \"some reason\" }", "fault = \"trap\"");
        assert_eq!(skipped(&elsewhere, &elsewhere.runs[0], "interp"), None);
        assert!(reason("ptxas = { refuse = \"some reason\" }", "fault = \"trap\"").is_some());
    }
}
