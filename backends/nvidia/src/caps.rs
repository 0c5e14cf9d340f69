//! What a card is, as the driver tells.

use crate::driver::Card;
use hetgpu_device::{Caps, DeviceError, PHYSICAL_GRANULARITY, Pci};

/// What programs are told of it. `compute` is what the settings say instead of the card's own capability.
pub(crate) fn of(card: &Card, compute: Option<(u32, u32)>) -> Result<Caps, DeviceError> {
    let number = |attribute| card.attribute(attribute);
    let is = |attribute| number(attribute) != 0;
    let three = |first: i32| [number(first), number(first + 1), number(first + 2)];
    let (major, minor) = (number(75), number(76));
    Ok(Caps {
        name: card.name()?,
        uuid: card.uuid()?,
        compute: compute.unwrap_or((major, minor)),
        pci: Some(Pci { domain: number(50) as u16, bus: number(33) as u8, device: number(34) as u8 }),
        integrated: is(18),
        ecc: is(32),
        time_limit: is(17),
        memory: card.memory()?,
        map_granularity: PHYSICAL_GRANULARITY,
        // Registered memory has the host's address.
        shares_host_memory: is(19) && is(91),
        host_atomics: is(86),
        physical: is(102) && is(103),
        asynchronous: true,
        concurrent_queues: 16,
        copy_engines: number(40),
        priorities: (0, 0),
        survives_faults: false,
        suspends: true,
        cooperative: is(95),
        cluster_blocks: if is(120) { 16 } else { 0 },
        multiprocessors: number(16),
        clock_khz: number(13),
        memory_clock_khz: number(36),
        memory_bus_bits: number(37),
        l2_bytes: number(38),
        single_to_double: number(87),
        threads_per_block: number(1),
        threads_per_multiprocessor: number(39),
        blocks_per_multiprocessor: number(106),
        block: three(2),
        grid: three(5),
        shared_per_block: number(8),
        shared_per_block_max: number(97),
        shared_per_multiprocessor: number(81),
        shared_reserved_per_block: number(111),
        registers: number(12),
        constant_bytes: number(9),
        ..Caps::default()
    })
}

/// What its instructions are.
pub(crate) fn target(card: &Card) -> (u32, u32) {
    (card.attribute(75), card.attribute(76))
}
