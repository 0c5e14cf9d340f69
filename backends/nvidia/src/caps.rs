//! What a card is, as the driver tells.

use crate::driver::Card;
use hetgpu_device::{Caps, DeviceError, ImageCaps, PHYSICAL_GRANULARITY, Pci, SurfaceCaps};

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
        images: Some(images(card)),
        asynchronous: true,
        concurrent_queues: 16,
        copy_engines: number(40),
        machine: Some(number(75) * 10 + number(76)),
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

fn images(card: &Card) -> ImageCaps {
    let number = |attribute| card.attribute(attribute);
    let two = |first: i32| [number(first), number(first + 1)];
    let three = |first: i32| [number(first), number(first + 1), number(first + 2)];
    ImageCaps {
        chooses_handles: false,
        linear: true,
        multisample: false,
        alignment: number(14),
        pitch_alignment: number(51),
        width_1d: number(21),
        width_1d_linear: number(69),
        extent_2d: two(22),
        extent_2d_linear: three(70),
        extent_3d: three(24),
        width_cube: number(52),
        layers: number(29),
        width_1d_layered: number(42),
        extent_2d_layered: two(27),
        width_cube_layered: number(53),
        layers_cube: number(54),
        extent_2d_gather: two(45),
        extent_3d_alternate: three(47),
        width_1d_levels: number(77),
        extent_2d_levels: two(73),
        surface: SurfaceCaps {
            alignment: number(30),
            width_1d: number(55),
            extent_2d: two(56),
            extent_3d: three(58),
            width_1d_layered: number(61),
            extent_2d_layered: two(63),
            width_cube: number(66),
            width_cube_layered: number(67),
            layers: number(62),
            layers_cube: number(68),
        },
    }
}

/// What its instructions are.
pub(crate) fn target(card: &Card) -> (u32, u32) {
    (card.attribute(75), card.attribute(76))
}
