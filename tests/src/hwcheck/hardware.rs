//! One run of a filetest on the GPU.

use hetgpu_tests::engine::{Failure, Printed};
use hetgpu_tests::fault::{self, FaultKind};
use hetgpu_tests::header::{Arg, DEFAULT_ARCH, ExpectedFault, Filetest, Run, View};

use hetir::interp::texture::Compare;

use crate::driver::{Array, Driver, DriverError, ImageShape, Memory, Resource, Shape};

/// The device name in `xfail` where the driver is NVIDIA's.
pub(crate) const HARDWARE: &str = "hardware";

/// Why a run is not tried. `images` is why the driver has no textures.
pub(crate) fn skipped(filetest: &Filetest, run: &Run, device: &str, images: &Result<(), String>) -> Option<String> {
    let unreported = run.fault.as_ref().filter(|fault| !fault.everywhere && !reports(fault.kind));
    if let Some(fault) = unreported {
        return Some(format!("the driver does not report the fault `{}`", fault::name(fault.kind)));
    }
    if let Some(reason) = run.args.iter().find_map(|arg| unbindable(arg, images)) {
        return Some(reason);
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

/// Why the driver API cannot make an argument.
fn unbindable(arg: &Arg, images: &Result<(), String>) -> Option<String> {
    match arg {
        Arg::Value(_) => None,
        Arg::Sampler(_) => Some("the driver API has no samplers apart from textures".into()),
        Arg::Buffer(buffer) => {
            let view = &buffer.view.as_ref()?.what;
            if view.image.samples > 1 {
                return Some("the driver API makes no images with several samples".into());
            }
            if view.texture.is_some_and(|(sampler, _)| sampler.compare != Compare::Off) {
                return Some("the driver API has no comparison of depths".into());
            }
            images.clone().err()
        }
    }
}

/// What the extents of an image say of its dimensions.
fn shape(view: &View) -> ImageShape {
    let image = &view.image;
    match (image.layers, image.height, image.depth) {
        (6, ..) if view.cube => ImageShape::Cube,
        _ if view.cube => ImageShape::ACube,
        (1, 1, 1) => ImageShape::D1,
        (1, _, 1) => ImageShape::D2,
        (1, ..) => ImageShape::D3,
        (_, 1, _) => ImageShape::A1d,
        _ => ImageShape::A2d,
    }
}

/// Where the contents of an argument are.
enum Place<'d> {
    Memory(Memory<'d>),
    Image(Array<'d>),
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
    let mut places = Vec::new();
    for arg in &run.args {
        let Arg::Buffer(buffer) = arg else { continue };
        let contents = &buffers[places.len()];
        let place = match &buffer.view {
            None => driver.memory(contents).map(Place::Memory),
            Some(view) => {
                let view = &view.what;
                let resource = if view.linear { Resource::Linear } else { Resource::Array };
                Array::new(driver, &view.image, shape(view), resource, contents).map(Place::Image)
            }
        };
        places.push(place.map_err(broken)?);
    }
    let mut arguments = Vec::new();
    let mut objects = Vec::new();
    let mut next = places.iter();
    for arg in &run.args {
        match arg {
            Arg::Value(bytes) => arguments.push(bytes.clone()),
            Arg::Sampler(_) => return Err(Failure::Broken("a sampler is no argument here".into())),
            Arg::Buffer(buffer) => match (next.next(), &buffer.view) {
                (Some(Place::Memory(memory)), _) => arguments.push(memory.address.to_le_bytes().to_vec()),
                (Some(Place::Image(array)), Some(view)) => match (&view.variable, &view.what.texture) {
                    (None, texture) => {
                        let object = match texture {
                            Some((sampler, normalized_floats)) => array.texture(sampler, *normalized_floats),
                            None => array.surface(),
                        };
                        let object = object.map_err(broken)?;
                        arguments.push(object.handle.to_le_bytes().to_vec());
                        objects.push(object);
                    }
                    (Some(name), Some((sampler, normalized_floats))) => {
                        array.bind_texture(&module, name, sampler, *normalized_floats).map_err(broken)?;
                    }
                    (Some(name), None) => array.bind_surface(&module, name).map_err(broken)?,
                },
                _ => return Err(Failure::Broken("an image has no view".into())),
            },
        }
    }
    let Run { grid, block, cluster, shared, cooperative, .. } = *run;
    let shape = Shape { grid, block, cluster, shared, cooperative };
    driver.launch(&function, &shape, &arguments).map_err(|error| failure(run.fault.as_ref(), error))?;
    for (place, buffer) in places.iter().zip(buffers) {
        let contents = match place {
            Place::Memory(memory) => memory.read(),
            Place::Image(array) => array.read(),
        };
        *buffer = contents.map_err(broken)?;
    }
    Ok(None)
}

/// The fault behind an error of the driver. It names a group of faults at most, and no place: where the expected
/// fault is of the group, it counts as met, message included.
fn failure(expected: Option<&ExpectedFault>, error: DriverError) -> Failure {
    let group: &[FaultKind] = match error.code {
        700 | 717 => &[FaultKind::OutOfBounds],
        710 => &[FaultKind::AssertFail],
        715 if expected.is_some_and(|fault| fault.kind == FaultKind::BadOperand) => &[FaultKind::BadOperand],
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
        let expected = ExpectedFault { kind: FaultKind::Breakpoint, message: "line 3".into(), everywhere: false };
        let met = Failure::Fault { kind: FaultKind::Breakpoint, message: "line 3".into() };
        assert_eq!(failure(Some(&expected), error(719)), met);
        let other = Failure::Fault { kind: FaultKind::Misaligned, message: "error 716".into() };
        assert_eq!(failure(Some(&expected), error(716)), other);
        let illegal = ExpectedFault { kind: FaultKind::BadOperand, message: "a part".into(), everywhere: true };
        let met = Failure::Fault { kind: FaultKind::BadOperand, message: "a part".into() };
        assert_eq!(failure(Some(&illegal), error(715)), met);
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
            skipped(&filetest, &filetest.runs[0], HARDWARE, &Ok(()))
        };
        assert_eq!(reason("", "fault = \"trap\""), None);
        assert_eq!(reason("", "fault = \"race\"").unwrap(), "the driver does not report the fault `race`");
        assert_eq!(reason("", "fault = { kind = \"race\", message = \"\", everywhere = true }"), None);
        assert_eq!(reason("ptxas = { arch = \"sm_100a\" }", "fault = \"trap\"").unwrap(), "needs sm_100a");
        assert_eq!(reason("hardware = { skip = \"some reason\" }", "fault = \"trap\"").unwrap(), "some reason");
        let elsewhere = filetest("hardware = { skip = \"some reason\" }", "fault = \"trap\"");
        assert_eq!(skipped(&elsewhere, &elsewhere.runs[0], "interp", &Ok(())), None);
        assert!(reason("ptxas = { refuse = \"some reason\" }", "fault = \"trap\"").is_some());
    }
}
