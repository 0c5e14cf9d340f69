//! What devices there are and what they can do.

use crate::abi::{Call, Out, Text};
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

/// Devices do not reach each other's memory.
pub(crate) fn can_access_peer(call: &Call, can: Out<i32>, device: i32, peer: i32) -> Outcome {
    caps(call, device)?;
    caps(call, peer)?;
    can.set(0)
}

pub(crate) fn peer_attribute(call: &Call, out: Out<i32>, attribute: u32, from: i32, to: i32) -> Outcome {
    caps(call, from)?;
    caps(call, to)?;
    if from == to {
        return Err(Failure::new(Code::ERROR_INVALID_DEVICE, format!("device {from} and itself")));
    }
    if !(1..=5).contains(&attribute) {
        return Err(Failure::new(Code::ERROR_INVALID_VALUE, format!("attribute {attribute} between {from} and {to}")));
    }
    out.set(0)
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
