//! What each entry point does.

use crate::abi::{Out, Text};
use crate::result::{Code, Outcome};
use crate::state::{self, State, processes};
use hetgpu_device::{Caps, Pci};
use hetgpu_registry::{place, spelled};
use std::ffi::c_char;

/// `nvmlDevice_t`: which device, made unlike a small number.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Device(u64);

impl Device {
    const TAG: u64 = 0x4445_5600_0000;

    fn new(index: usize) -> Self {
        Self(Self::TAG + index as u64)
    }

    fn index(self) -> Option<usize> {
        self.0.checked_sub(Self::TAG).map(|index| index as usize)
    }
}

/// Runs `work` with the device of a handle.
fn of<T>(device: Device, work: impl FnOnce(&mut State, usize) -> Outcome<T>) -> Outcome<T> {
    state::with(|state| {
        let index = device.index().filter(|&index| index < state.devices.len()).ok_or(Code::INVALID_ARGUMENT)?;
        work(state, index)
    })
}

fn caps<T>(device: Device, read: impl FnOnce(&Caps, usize) -> T) -> Outcome<T> {
    of(device, |state, index| Ok(read(&state.devices[index], index)))
}

pub(crate) fn init() -> Outcome {
    state::init()
}

/// Every flag asks for less than everything, which is given anyway.
pub(crate) fn init_with_flags(_flags: u32) -> Outcome {
    state::init()
}

pub(crate) fn shutdown() -> Outcome {
    state::shutdown()
}

/// The first driver of each release of CUDA: programs ask whether a driver is new enough.
const DRIVERS: &[(i32, &str)] = &[
    (13000, "580.65.06"),
    (12090, "575.51.03"),
    (12080, "570.26"),
    (12060, "560.28.03"),
    (12050, "555.42.02"),
    (12040, "550.54.14"),
    (12030, "545.23.06"),
    (12020, "535.54.03"),
    (12010, "530.30.02"),
    (12000, "525.60.13"),
    (0, "520.61.05"),
];

fn driver(cuda: i32) -> &'static str {
    DRIVERS.iter().find(|row| row.0 <= cuda).map_or("", |row| row.1)
}

pub(crate) fn driver_version(text: Out<c_char>, room: u32) -> Outcome {
    state::with(|state| text.set_text(driver(state.settings.driver_version), room))
}

/// The major version of CUDA, then the driver's.
pub(crate) fn library_version(text: Out<c_char>, room: u32) -> Outcome {
    state::with(|state| {
        let cuda = state.settings.driver_version;
        text.set_text(&format!("{}.{}", cuda / 1000, driver(cuda)), room)
    })
}

pub(crate) fn cuda_version(version: Out<i32>) -> Outcome {
    state::with(|state| version.set(state.settings.driver_version))
}

/// Its command line as far as there is room, parts ended by NULs.
pub(crate) fn process_name(pid: u32, text: Out<c_char>, room: u32) -> Outcome {
    state::with(|_| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).map_err(|_| Code::NOT_FOUND)?;
        text.set_bytes(&line, room)
    })
}

pub(crate) fn count(count: Out<u32>) -> Outcome {
    state::with(|state| count.set(state.devices.len() as u32))
}

pub(crate) fn none(count: Out<u32>) -> Outcome {
    state::with(|_| count.set(0))
}

fn find(device: Out<Device>, wanted: impl Fn(&Caps, usize) -> bool, otherwise: Code) -> Outcome {
    state::with(|state| {
        let found = state.devices.iter().enumerate().position(|(index, caps)| wanted(caps, index));
        device.set(Device::new(found.ok_or(otherwise)?))
    })
}

pub(crate) fn by_index(index: u32, device: Out<Device>) -> Outcome {
    find(device, |_, other| other == index as usize, Code::INVALID_ARGUMENT)
}

pub(crate) fn by_uuid(uuid: Text, device: Out<Device>) -> Outcome {
    let uuid = uuid.get()?;
    find(device, |caps, _| uuid_text(caps).eq_ignore_ascii_case(&uuid), Code::NOT_FOUND)
}

pub(crate) fn by_bus_id(text: Text, device: Out<Device>) -> Outcome {
    let wanted = bus_id(&text.get()?).ok_or(Code::INVALID_ARGUMENT)?;
    find(device, |caps, index| place(caps, index) == wanted, Code::NOT_FOUND)
}

/// Takes domain:bus:device.function and bus:device.function.
fn bus_id(text: &str) -> Option<Pci> {
    let (text, _function) = text.split_once('.').unwrap_or((text, ""));
    let parts: Vec<u32> = text.split(':').map(|part| u32::from_str_radix(part, 16)).collect::<Result<_, _>>().ok()?;
    let (domain, bus, device) = match parts[..] {
        [domain, bus, device] => (domain, bus, device),
        [bus, device] => (0, bus, device),
        _ => return None,
    };
    Some(Pci { domain: domain.try_into().ok()?, bus: bus.try_into().ok()?, device: device.try_into().ok()? })
}

pub(crate) fn index(device: Device, index: Out<u32>) -> Outcome {
    index.set(caps(device, |_, index| index as u32)?)
}

pub(crate) fn name(device: Device, text: Out<c_char>, room: u32) -> Outcome {
    text.set_text(&caps(device, |caps, _| caps.name.clone())?, room)
}

fn uuid_text(caps: &Caps) -> String {
    format!("GPU-{}", spelled(&caps.uuid))
}

pub(crate) fn uuid(device: Device, text: Out<c_char>, room: u32) -> Outcome {
    text.set_text(&caps(device, |caps, _| uuid_text(caps))?, room)
}

/// None of the brands that there are names.
pub(crate) fn brand(device: Device, brand: Out<u32>) -> Outcome {
    const UNKNOWN: u32 = 0;
    brand.set(caps(device, |_, _| UNKNOWN)?)
}

pub(crate) fn architecture(device: Device, architecture: Out<u32>) -> Outcome {
    architecture.set(caps(device, |caps, _| architecture_of(caps.compute))?)
}

fn architecture_of(compute: (u32, u32)) -> u32 {
    const UNKNOWN: u32 = u32::MAX;
    match compute {
        (5, _) => 3,
        (6, _) => 4,
        (7, minor) if minor < 5 => 5,
        (7, _) => 6,
        (8, 9) => 8,
        (8, _) => 7,
        (9, _) => 9,
        (10..=12, _) => 10,
        _ => UNKNOWN,
    }
}

pub(crate) fn compute_capability(device: Device, major: Out<i32>, minor: Out<i32>) -> Outcome {
    let compute = caps(device, |caps, _| caps.compute)?;
    major.set(compute.0 as i32)?;
    minor.set(compute.1 as i32)
}

/// `nvmlPciInfo_t` in its third form; the first form ends behind `chip`, the second has other things behind `board`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct PciInfo {
    second: PciInfo2,
    id: [u8; 32],
}

#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct PciInfo2 {
    first: PciInfo1,
    board: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct PciInfo1 {
    legacy_id: [u8; 16],
    domain: u32,
    bus: u32,
    device: u32,
    chip: u32,
}

fn text_of<const N: usize>(text: &str) -> [u8; N] {
    let mut out = [0; N];
    out.iter_mut().zip(text.bytes()).take(N - 1).for_each(|(out, byte)| *out = byte);
    out
}

fn pci_of(device: Device) -> Outcome<PciInfo> {
    let Pci { domain, bus, device } = caps(device, place)?;
    let spelled = |digits: usize| format!("{domain:0digits$X}:{bus:02X}:{device:02X}.0");
    let (domain, bus, device) = (domain.into(), bus.into(), device.into());
    // No bus, so that chip and board have no number on it.
    let first = PciInfo1 { legacy_id: text_of(&spelled(4)), domain, bus, device, chip: 0 };
    Ok(PciInfo { second: PciInfo2 { first, board: 0 }, id: text_of(&spelled(8)) })
}

pub(crate) fn pci_1(device: Device, info: Out<PciInfo1>) -> Outcome {
    info.set(pci_of(device)?.second.first)
}

pub(crate) fn pci_2(device: Device, info: Out<PciInfo2>) -> Outcome {
    info.set(pci_of(device)?.second)
}

pub(crate) fn pci_3(device: Device, info: Out<PciInfo>) -> Outcome {
    info.set(pci_of(device)?)
}

#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct MemoryInfo {
    total: u64,
    free: u64,
    used: u64,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct MemoryInfo2 {
    version: u32,
    total: u64,
    reserved: u64,
    free: u64,
    used: u64,
}

fn memory_of(device: Device) -> Outcome<MemoryInfo> {
    caps(device, |caps, _| {
        let used = users(caps.uuid).iter().map(|user| user.1).sum();
        MemoryInfo { total: caps.memory, free: caps.memory.saturating_sub(used), used }
    })
}

pub(crate) fn memory(device: Device, info: Out<MemoryInfo>) -> Outcome {
    info.set(memory_of(device)?)
}

/// The caller says which form it means, by the form's size and number.
fn version<T>(number: u32) -> u32 {
    size_of::<T>() as u32 | number << 24
}

pub(crate) fn memory_2(device: Device, info: Out<MemoryInfo2>) -> Outcome {
    let asked: Out<u32> = info.cast();
    let wanted = version::<MemoryInfo2>(2);
    if asked.get()? != wanted {
        return Err(Code::ARGUMENT_VERSION_MISMATCH);
    }
    let MemoryInfo { total, free, used } = memory_of(device)?;
    info.set(MemoryInfo2 { version: wanted, total, reserved: 0, free, used })
}

#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Utilization {
    gpu: u32,
    memory: u32,
}

/// Processors that execute kernels have the memory to themselves and are never seen without it, so that it counts as busy as
/// they are. What is not the host's processors is not measured.
pub(crate) fn utilization(device: Device, rates: Out<Utilization>) -> Outcome {
    let busy = of(device, |state, index| {
        let caps = &state.devices[index];
        if !caps.shares_host_memory {
            return Err(Code::NOT_SUPPORTED);
        }
        Ok(state.load.percent(&processes(), caps.uuid, caps.multiprocessors))
    })?;
    rates.set(Utilization { gpu: busy, memory: busy })
}

/// Processes that use a device, and how many bytes of it.
fn users(uuid: [u8; 16]) -> Vec<(u32, u64)> {
    let mut found = Vec::new();
    for process in processes() {
        let mut uses = process.devices.iter().filter(|device| device.uuid == uuid).peekable();
        if uses.peek().is_some() {
            found.push((process.pid, uses.map(|device| device.bytes).sum()));
        }
    }
    found
}

#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct ProcessInfo {
    pid: u32,
    bytes: u64,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct ProcessInfo2 {
    first: ProcessInfo,
    instance: u32,
    compute_instance: u32,
}

fn running<T: Copy>(device: Device, count: Out<u32>, infos: Out<T>, info: impl Fn(ProcessInfo) -> T) -> Outcome {
    let found = users(caps(device, |caps, _| caps.uuid)?);
    let room = count.get()? as usize;
    count.set(found.len() as u32)?;
    if room < found.len() {
        return Err(Code::INSUFFICIENT_SIZE);
    }
    let mut places = found.into_iter().enumerate();
    places.try_for_each(|(place, (pid, bytes))| infos.set_at(place, info(ProcessInfo { pid, bytes })))
}

pub(crate) fn processes_1(device: Device, count: Out<u32>, infos: Out<ProcessInfo>) -> Outcome {
    running(device, count, infos, |info| info)
}

pub(crate) fn processes_2(device: Device, count: Out<u32>, infos: Out<ProcessInfo2>) -> Outcome {
    /// What the device is, not a part of one.
    const WHOLE: u32 = u32::MAX;
    running(device, count, infos, |first| ProcessInfo2 { first, instance: WHOLE, compute_instance: WHOLE })
}

/// Graphics, and processes behind a server that shares devices: there are none.
pub(crate) fn no_processes(device: Device, count: Out<u32>, _infos: Out<ProcessInfo2>) -> Outcome {
    caps(device, |_, _| ())?;
    count.set(0)
}

/// Any number of processes may compute.
pub(crate) fn compute_mode(device: Device, mode: Out<u32>) -> Outcome {
    const DEFAULT: u32 = 0;
    mode.set(caps(device, |_, _| DEFAULT)?)
}

/// The device is there whether or not anybody uses it.
pub(crate) fn persistence_mode(device: Device, mode: Out<u32>) -> Outcome {
    const ENABLED: u32 = 1;
    mode.set(caps(device, |_, _| ENABLED)?)
}

/// What no device of ours has: displays, fans, a second device on its board, a virtual machine that it is passed to.
pub(crate) fn absent(device: Device, value: Out<u32>) -> Outcome {
    value.set(caps(device, |_, _| 0)?)
}

pub(crate) fn same_board(device: Device, other: Device, same: Out<i32>) -> Outcome {
    caps(other, |_, _| ())?;
    same.set(caps(device, |_, _| i32::from(device == other))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_are_as_large_as_in_the_header() {
        assert_eq!([size_of::<PciInfo1>(), size_of::<PciInfo2>(), size_of::<PciInfo>()], [32, 36, 68]);
        assert_eq!([size_of::<MemoryInfo>(), size_of::<MemoryInfo2>()], [24, 40]);
        assert_eq!(version::<MemoryInfo2>(2), 0x0200_0028);
        assert_eq!([size_of::<ProcessInfo>(), size_of::<ProcessInfo2>()], [16, 24]);
    }

    #[test]
    fn bus_ids_in_every_form() {
        let place = Pci { domain: 0, bus: 10, device: 31 };
        for text in ["0000:0A:1f.0", "00000000:0a:1F.0", "0a:1f.0", "0a:1f"] {
            assert_eq!(bus_id(text), Some(place), "{text}");
        }
        for text in ["", "x", "1", "1:2:3:4.0", "0:100:0.0"] {
            assert_eq!(bus_id(text), None, "{text}");
        }
    }

    #[test]
    fn drivers_and_architectures_belong_to_versions() {
        assert_eq!(driver(13000), "580.65.06");
        assert_eq!(driver(12085), "570.26");
        assert_eq!(driver(11080), "520.61.05");
        for (compute, architecture) in [((7, 0), 5), ((7, 5), 6), ((8, 6), 7), ((8, 9), 8), ((9, 0), 9), ((12, 0), 10)]
        {
            assert_eq!(architecture_of(compute), architecture, "{compute:?}");
        }
    }
}
