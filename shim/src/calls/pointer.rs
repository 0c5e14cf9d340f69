//! What is known about an address.

use super::location::wrong;
use crate::abi::{Call, In, Out, Pointer};
use crate::result::Outcome;
use hetgpu_runtime::{Allocation, AllocationKind, Context, Handle, Origin, Runtime};

const CONTEXT: u32 = 1;
const MEMORY_TYPE: u32 = 2;
const DEVICE_POINTER: u32 = 3;
const HOST_POINTER: u32 = 4;
const P2P_TOKENS: u32 = 5;
const SYNC_MEMOPS: u32 = 6;
const BUFFER_ID: u32 = 7;
const IS_MANAGED: u32 = 8;
const DEVICE_ORDINAL: u32 = 9;
const IS_LEGACY_IPC_CAPABLE: u32 = 10;
const RANGE_START: u32 = 11;
const RANGE_SIZE: u32 = 12;
const MAPPED: u32 = 13;
const ALLOWED_HANDLE_TYPES: u32 = 14;
const IS_GPU_DIRECT_RDMA_CAPABLE: u32 = 15;
const ACCESS_FLAGS: u32 = 16;
const MEMPOOL_HANDLE: u32 = 17;
const MAPPING_SIZE: u32 = 18;
const MAPPING_BASE: u32 = 19;
const MEMORY_BLOCK_ID: u32 = 20;
const IS_HW_DECOMPRESS_CAPABLE: u32 = 21;

/// `CU_DEVICE_INVALID`.
const NO_DEVICE: i32 = -2;

/// What an attribute of a pointer is worth; what kind of number is written depends on the attribute.
enum Attribute {
    /// A word too, seen on the hardware's driver.
    Flag(bool),
    Word(u32),
    Long(u64),
    /// `CUDA_POINTER_ATTRIBUTE_P2P_TOKENS`: a long and a word.
    Tokens(u64, u32),
}
use Attribute::{Flag, Long, Tokens, Word};

fn unknown(pointer: Pointer) -> crate::result::Failure {
    wrong(format!("{pointer:?} lies in no allocation"))
}

/// Of a range of addresses that is reserved, with nothing there.
fn of_reserved(range: (u64, u64), attribute: u32, pointer: Pointer) -> Outcome<Attribute> {
    match attribute {
        RANGE_START => Ok(Long(range.0)),
        RANGE_SIZE => Ok(Long(range.1)),
        MAPPED => Ok(Flag(false)),
        _ => Err(unknown(pointer)),
    }
}

fn attribute_of(runtime: &Runtime, attribute: u32, pointer: Pointer) -> Outcome<Attribute> {
    match (runtime.memory.find(pointer.0), runtime.reserved_around(pointer.0)) {
        (Some(found), _) => of_allocation(runtime, &found, attribute, pointer),
        (None, Some(range)) => of_reserved(range, attribute, pointer),
        (None, None) => Err(unknown(pointer)),
    }
}

fn of_allocation(runtime: &Runtime, found: &Allocation, attribute: u32, pointer: Pointer) -> Outcome<Attribute> {
    const HOST: u32 = 1;
    const DEVICE: u32 = 2;
    const READ_AND_WRITE: u32 = 3;
    let caps = runtime.device(found.device)?.device.caps();
    let host_memory = matches!(found.kind, AllocationKind::Pinned | AllocationKind::Registered);
    let range = match &found.origin {
        Origin::Mapping(mapping) => mapping.reserved,
        Origin::Own | Origin::Pool(_) | Origin::Foreign(_) | Origin::Module => (found.start, found.bytes),
    };
    Ok(match attribute {
        CONTEXT => {
            let own = matches!(found.origin, Origin::Own);
            let owner = if own { runtime.owner_of(found.owner.session) } else { None };
            Long(owner.map_or(0, |handle: Handle<Context>| handle.bits()))
        }
        MEMORY_TYPE => Word(if host_memory { HOST } else { DEVICE }),
        DEVICE_POINTER if found.host_visible() && !caps.shares_host_memory => {
            return Err(wrong("this device cannot reach host memory"));
        }
        DEVICE_POINTER => Long(pointer.0),
        HOST_POINTER if !found.host_visible() => return Err(wrong("device memory has no host address")),
        HOST_POINTER => Long(pointer.0),
        P2P_TOKENS if host_memory => return Err(wrong("host memory has no tokens")),
        // Nobody else may reach the memory by them.
        P2P_TOKENS => Tokens(0, 0),
        SYNC_MEMOPS => Word(found.synchronises.into()),
        BUFFER_ID | MEMORY_BLOCK_ID => Long(found.id),
        IS_MANAGED => Flag(found.kind == AllocationKind::Managed),
        DEVICE_ORDINAL => Word(found.device as u32),
        IS_LEGACY_IPC_CAPABLE => {
            Flag(found.kind == AllocationKind::Device && matches!(found.origin, Origin::Own) && caps.physical)
        }
        RANGE_START => Long(range.0),
        RANGE_SIZE => Long(range.1),
        MAPPED => Flag(true),
        ALLOWED_HANDLE_TYPES => Long(match &found.origin {
            Origin::Pool(pool) => pool.traits.handle_types.into(),
            Origin::Mapping(mapping) => mapping.memory.traits.handle_types.into(),
            Origin::Own | Origin::Foreign(_) | Origin::Module => 0,
        }),
        // Direct access by other devices, and decompression, are not offered.
        IS_GPU_DIRECT_RDMA_CAPABLE | IS_HW_DECOMPRESS_CAPABLE => Flag(false),
        ACCESS_FLAGS => Word(match &found.origin {
            Origin::Mapping(mapping) => super::vmm::flags_of(mapping.access(found.device)),
            Origin::Own | Origin::Pool(_) | Origin::Foreign(_) | Origin::Module => READ_AND_WRITE,
        }),
        MEMPOOL_HANDLE => Long(match &found.origin {
            Origin::Pool(pool) => pool.handle().map_or(0, Handle::bits),
            Origin::Own | Origin::Mapping(_) | Origin::Foreign(_) | Origin::Module => 0,
        }),
        MAPPING_SIZE => Long(found.block().1),
        MAPPING_BASE => Long(found.block().0),
        _ => return Err(wrong(format!("no pointer attribute {attribute}"))),
    })
}

fn put(value: Out<u64>, attribute: Attribute) -> Outcome {
    match attribute {
        Flag(flag) => value.cast::<u32>().set(flag.into()),
        Word(word) => value.cast::<u32>().set(word),
        Long(long) => value.set(long),
        Tokens(long, word) => {
            value.set(long)?;
            value.at(1).cast::<u32>().set(word)
        }
    }
}

pub(crate) fn attribute(call: &Call, value: Out<u64>, attribute: u32, pointer: Pointer) -> Outcome {
    let runtime = call.runtime()?;
    put(value, attribute_of(runtime, attribute, pointer)?)
}

/// Unlike the single query this succeeds for any address: what is not known reads as 0, the device as none.
pub(crate) fn attributes(
    call: &Call,
    count: u32,
    attributes: In<u32>,
    values: In<Out<u64>>,
    pointer: Pointer,
) -> Outcome {
    let runtime = call.runtime()?;
    for index in 0..count as usize {
        let (attribute, value) = (attributes.at(index)?, values.at(index)?);
        let nothing = match attribute {
            DEVICE_ORDINAL => Word(NO_DEVICE as u32),
            P2P_TOKENS => Tokens(0, 0),
            IS_MANAGED | IS_LEGACY_IPC_CAPABLE | MAPPED | IS_GPU_DIRECT_RDMA_CAPABLE | IS_HW_DECOMPRESS_CAPABLE => {
                Flag(false)
            }
            MEMORY_TYPE | SYNC_MEMOPS | ACCESS_FLAGS => Word(0),
            CONTEXT..=MEMORY_BLOCK_ID => Long(0),
            _ => return Err(wrong(format!("no pointer attribute {attribute}"))),
        };
        put(value, attribute_of(runtime, attribute, pointer).unwrap_or(nothing))?;
    }
    Ok(())
}

pub(crate) fn set_attribute(call: &Call, value: In<i32>, attribute: u32, pointer: Pointer) -> Outcome {
    let memory = &call.runtime()?.memory;
    memory.find(pointer.0).ok_or_else(|| unknown(pointer))?;
    match attribute {
        SYNC_MEMOPS => {
            memory.set_synchronises(pointer.0, value.get()? != 0);
            Ok(())
        }
        _ => Err(wrong(format!("pointer attribute {attribute} cannot be set"))),
    }
}
