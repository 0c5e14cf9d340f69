//! Devices and what they can do.

use crate::abi::{In, Out, Text};
use crate::calls::device::{self, DeviceProperties};
use crate::calls::green::{self, Resource};
use std::ffi::c_char;

#[rustfmt::skip]
super::entries! {
    "cuDeviceGetCount": cuDeviceGetCount 2000 Legacy => device::count(count: Out<i32>);
    "cuDeviceGet": cuDeviceGet 2000 Legacy => device::get(device: Out<i32>, ordinal: i32);
    "cuDeviceGetName": cuDeviceGetName 2000 Legacy => device::name(name: Out<c_char>, room: i32, device: i32);
    "cuDeviceGetUuid": cuDeviceGetUuid 9020 Legacy, cuDeviceGetUuid_v2 11040 Legacy => device::uuid(uuid: Out<[u8; 16]>, device: i32);
    "cuDeviceTotalMem": cuDeviceTotalMem_v2 3020 Legacy => device::total_memory(bytes: Out<usize>, device: i32);
    "cuDeviceGetAttribute": cuDeviceGetAttribute 2000 Legacy => device::attribute(value: Out<i32>, attribute: i32, device: i32);
    "cuDeviceComputeCapability": cuDeviceComputeCapability 2000 Legacy => device::compute_capability(major: Out<i32>, minor: Out<i32>, device: i32);
    "cuDeviceGetProperties": cuDeviceGetProperties 2000 Legacy => device::properties(properties: Out<DeviceProperties>, device: i32);
    "cuDeviceGetPCIBusId": cuDeviceGetPCIBusId 4010 Legacy => device::pci_bus_id(text: Out<c_char>, room: i32, device: i32);
    "cuDeviceGetByPCIBusId": cuDeviceGetByPCIBusId 4010 Legacy => device::by_pci_bus_id(device: Out<i32>, text: Text);
    "cuDeviceCanAccessPeer": cuDeviceCanAccessPeer 4000 Legacy => device::can_access_peer(can: Out<i32>, device: i32, peer: i32);
    "cuDeviceGetP2PAttribute": cuDeviceGetP2PAttribute 8000 Legacy => device::peer_attribute(value: Out<i32>, attribute: u32, from: i32, to: i32);
    "cuDeviceGetExecAffinitySupport": cuDeviceGetExecAffinitySupport 11040 Legacy => green::affinity_support(supported: Out<i32>, kind: u32, device: i32);
    "cuDeviceGetTexture1DLinearMaxWidth": cuDeviceGetTexture1DLinearMaxWidth 11010 Legacy => device::texture_1d_linear_width(width: Out<usize>, format: u32, channels: u32, device: i32);
    "cuDeviceGetDevResource": cuDeviceGetDevResource 12040 Legacy => green::device_resource(device: i32, resource: Out<Resource>, kind: u32);
    "cuDeviceGetHostAtomicCapabilities": cuDeviceGetHostAtomicCapabilities 13000 Legacy => device::host_atomics(capabilities: Out<u32>, operations: In<u32>, count: u32, device: i32);
    "cuDeviceGetLuid": cuDeviceGetLuid 10000 Legacy;
    "cuDeviceGetP2PAtomicCapabilities": cuDeviceGetP2PAtomicCapabilities 13000 Legacy => device::peer_atomics(capabilities: Out<u32>, operations: In<u32>, count: u32, from: i32, to: i32);
    "cuDeviceRegisterAsyncNotification": cuDeviceRegisterAsyncNotification 12040 Legacy;
    "cuDeviceTotalMem": cuDeviceTotalMem 2000 Legacy;
    "cuDeviceUnregisterAsyncNotification": cuDeviceUnregisterAsyncNotification 12040 Legacy;
}
