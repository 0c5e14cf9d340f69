//! What devices there are and what they can do.

use crate::abi::{Call, In, Out, Text};
use crate::attributes;
#[cfg(feature = "integrity")]
use crate::integrity::Identity;
use crate::result::{Code, Failure, Outcome};
use hetgpu_device::Caps;
use std::ffi::c_char;

/// `CUdevprop`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct DeviceProperties {
    threads_per_block: i32,
    block: [i32; 3],
    grid: [i32; 3],
    shared_per_block: i32,
    constant: i32,
    warp: i32,
    pitch: i32,
    registers: i32,
    clock: i32,
    texture_alignment: i32,
}

pub(crate) fn index(device: i32) -> Outcome<usize> {
    usize::try_from(device).map_err(|_| Failure::new(Code::ERROR_INVALID_DEVICE, format!("device {device}")))
}

fn caps(call: &Call, device: i32) -> Outcome<&'static Caps> {
    Ok(call.runtime()?.device(index(device)?)?.device.caps())
}

fn value(device: i32, caps: &Caps, id: i32) -> Outcome<i32> {
    attributes::get(caps, index(device)?, id)
        .ok_or_else(|| Failure::new(Code::ERROR_INVALID_VALUE, format!("attribute {id}")))
}

const PCI_BUS: i32 = 33;
const PCI_DEVICE: i32 = 34;
const PCI_DOMAIN: i32 = 50;

/// What the integrity check says of a device: the same as the attributes say.
#[cfg(feature = "integrity")]
pub(crate) fn identity(device: usize) -> Outcome<Identity> {
    let runtime = crate::state::runtime()?;
    let caps = runtime.device(device)?.device.caps();
    let value = |id| value(device as i32, caps, id);
    Ok(Identity {
        uuid: caps.uuid,
        pci_domain: value(PCI_DOMAIN)?,
        pci_bus: value(PCI_BUS)?,
        pci_device: value(PCI_DEVICE)?,
    })
}

pub(crate) fn count(call: &Call, count: Out<i32>) -> Outcome {
    count.set(call.runtime()?.device_count() as i32)
}

pub(crate) fn get(call: &Call, device: Out<i32>, ordinal: i32) -> Outcome {
    call.runtime()?.device(index(ordinal)?)?;
    device.set(ordinal)
}

pub(crate) fn name(call: &Call, name: Out<c_char>, room: i32, device: i32) -> Outcome {
    name.set_text(&caps(call, device)?.name, usize::try_from(room).unwrap_or(0))
}

pub(crate) fn uuid(call: &Call, uuid: Out<[u8; 16]>, device: i32) -> Outcome {
    uuid.set(caps(call, device)?.uuid)
}

pub(crate) fn total_memory(call: &Call, bytes: Out<usize>, device: i32) -> Outcome {
    bytes.set(caps(call, device)?.memory as usize)
}

pub(crate) fn attribute(call: &Call, out: Out<i32>, attribute: i32, device: i32) -> Outcome {
    out.set(value(device, caps(call, device)?, attribute)?)
}

pub(crate) fn compute_capability(call: &Call, major: Out<i32>, minor: Out<i32>, device: i32) -> Outcome {
    let compute = caps(call, device)?.compute;
    major.set(compute.0 as i32)?;
    minor.set(compute.1 as i32)
}

pub(crate) fn properties(call: &Call, properties: Out<DeviceProperties>, device: i32) -> Outcome {
    let caps = caps(call, device)?;
    let value = |id| value(device, caps, id);
    properties.set(DeviceProperties {
        threads_per_block: value(1)?,
        block: [value(2)?, value(3)?, value(4)?],
        grid: [value(5)?, value(6)?, value(7)?],
        shared_per_block: value(8)?,
        constant: value(9)?,
        warp: value(10)?,
        pitch: value(11)?,
        registers: value(12)?,
        clock: value(13)?,
        texture_alignment: value(14)?,
    })
}

fn bus_id(call: &Call, device: i32) -> Outcome<String> {
    let caps = caps(call, device)?;
    let value = |id| value(device, caps, id);
    Ok(format!("{:04X}:{:02X}:{:02X}.0", value(PCI_DOMAIN)?, value(PCI_BUS)?, value(PCI_DEVICE)?))
}

pub(crate) fn pci_bus_id(call: &Call, text: Out<c_char>, room: i32, device: i32) -> Outcome {
    text.set_text(&bus_id(call, device)?, usize::try_from(room).unwrap_or(0))
}

/// Takes the forms domain:bus:device.function, bus:device.function and bus:device.
pub(crate) fn by_pci_bus_id(call: &Call, device: Out<i32>, text: Text) -> Outcome {
    let wanted = text.get()?;
    let parsed = parse_bus_id(&wanted);
    let parsed =
        parsed.ok_or_else(|| Failure::new(Code::ERROR_INVALID_VALUE, format!("'{wanted}' is not a bus id")))?;
    for index in 0..call.runtime()?.device_count() as i32 {
        if parse_bus_id(&bus_id(call, index)?) == Some(parsed) {
            return device.set(index);
        }
    }
    Err(Failure::new(Code::ERROR_INVALID_DEVICE, format!("no device at {wanted}")))
}

fn parse_bus_id(text: &str) -> Option<(u32, u32, u32)> {
    let text = text.split_once('.').map_or(text, |(text, _function)| text);
    let parts: Vec<u32> = text.split(':').map(|part| u32::from_str_radix(part, 16)).collect::<Result<_, _>>().ok()?;
    match parts[..] {
        [domain, bus, device] => Some((domain, bus, device)),
        [bus, device] => Some((0, bus, device)),
        _ => None,
    }
}

/// Whether a device can be let reach another's memory.
pub(crate) fn can_access_peer(call: &Call, can: Out<i32>, device: i32, peer: i32) -> Outcome {
    can.set(call.runtime()?.can_reach(index(device)?, index(peer)?)?.into())
}

pub(crate) fn peer_attribute(call: &Call, out: Out<i32>, attribute: u32, from: i32, to: i32) -> Outcome {
    /// A smaller number is a better connection, and 0 the best.
    const RANK: u32 = 1;
    const ACCESS: u32 = 2;
    const ATOMICS: u32 = 3;
    /// Arrays are not reached.
    const ARRAYS: u32 = 4;
    const SOME_ATOMICS: u32 = 5;
    let reached = pair(call, from, to)?;
    let atomics = reached && caps(call, from)?.host_atomics && caps(call, to)?.host_atomics;
    out.set(match attribute {
        RANK | ARRAYS | SOME_ATOMICS => 0,
        ACCESS => reached.into(),
        ATOMICS => atomics.into(),
        other => {
            let text = format!("attribute {other} between {from} and {to}");
            return Err(Failure::new(Code::ERROR_INVALID_VALUE, text));
        }
    })
}

/// Whether the first of two different devices can be let reach the other's memory.
fn pair(call: &Call, from: i32, to: i32) -> Outcome<bool> {
    let reached = call.runtime()?.can_reach(index(from)?, index(to)?)?;
    if from == to {
        return Err(Failure::new(Code::ERROR_INVALID_DEVICE, format!("device {from} and itself")));
    }
    Ok(reached)
}

/// What a kernel's atomic operation on memory of somebody else can be, where there are any: all that PTX has.
fn atomic_capabilities(operation: u32) -> Outcome<u32> {
    const SIGNED: u32 = 1;
    const UNSIGNED: u32 = 2;
    const REDUCTION: u32 = 4;
    const BITS_32: u32 = 8;
    const BITS_64: u32 = 16;
    const BOTH: u32 = REDUCTION | BITS_32 | BITS_64;
    Ok(match operation {
        // Sums, minimum, maximum.
        0..=2 => SIGNED | UNSIGNED | BOTH,
        // Counting up and down in a circle.
        3 | 4 => UNSIGNED | REDUCTION | BITS_32,
        // And, or, exclusive or.
        5..=7 => UNSIGNED | BOTH,
        // Exchange and comparison, whose results are always wanted.
        8 | 9 => UNSIGNED | BITS_32 | BITS_64,
        // Sums of floats. Minimum and maximum are of integers alone.
        10 => SIGNED | BOTH,
        11 | 12 => 0,
        other => return Err(Failure::new(Code::ERROR_INVALID_VALUE, format!("atomic operation {other}"))),
    })
}

fn tell_atomics(out: Out<u32>, operations: In<u32>, count: u32, any: bool) -> Outcome {
    if out.is_null() || operations.is_null() || count == 0 {
        return Err(Failure::new(Code::ERROR_INVALID_VALUE, "no operations, or no place for what they can be"));
    }
    let found = operations.list(count as usize)?.into_iter().map(atomic_capabilities).collect::<Outcome<Vec<_>>>()?;
    found.into_iter().enumerate().try_for_each(|(at, can)| out.at(at).set(if any { can } else { 0 }))
}

pub(crate) fn host_atomics(call: &Call, out: Out<u32>, operations: In<u32>, count: u32, device: i32) -> Outcome {
    let any = caps(call, device)?.host_atomics;
    tell_atomics(out, operations, count, any)
}

pub(crate) fn peer_atomics(call: &Call, out: Out<u32>, operations: In<u32>, count: u32, from: i32, to: i32) -> Outcome {
    let any = pair(call, from, to)? && caps(call, from)?.host_atomics && caps(call, to)?.host_atomics;
    tell_atomics(out, operations, count, any)
}

pub(crate) fn texture_1d_linear_width(
    call: &Call,
    width: Out<usize>,
    _format: u32,
    _channels: u32,
    device: i32,
) -> Outcome {
    const MAXIMUM_TEXTURE1D_LINEAR_WIDTH: i32 = 69;
    width.set(value(device, caps(call, device)?, MAXIMUM_TEXTURE1D_LINEAR_WIDTH)? as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bus_ids_in_every_form() {
        assert_eq!(parse_bus_id("0000:0A:1f.0"), Some((0, 10, 31)));
        assert_eq!(parse_bus_id("0a:1f.0"), Some((0, 10, 31)));
        assert_eq!(parse_bus_id("0a:1f"), Some((0, 10, 31)));
        assert_eq!(parse_bus_id("gpu"), None);
        assert_eq!(parse_bus_id("1"), None);
    }
}
