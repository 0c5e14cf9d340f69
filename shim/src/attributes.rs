//! The attributes of a device: for each id, a fixed answer or where it comes from.
//!
//! Limits that a device does not state are those of a device of compute capability 9.0. Attributes that say whether something can be done are 1 only where it can.

use hetgpu_device::{Caps, ImageCaps, Pci as Place};

enum Value {
    Fixed(i32),
    /// Read off the device.
    Caps(fn(&Caps) -> u32),
    /// 1 if the device can.
    Can(fn(&Caps) -> bool),
    /// Read off what the device says about images.
    Image(fn(&ImageCaps) -> u32),
    /// Read off the device's place on the bus.
    Pci(fn(&Place) -> u32),
    /// Which device it is.
    Index,
}
use Value::{Can, Caps as Of, Fixed, Image, Index, Pci};

/// In the order of the ids; 0 is not one.
const ATTRIBUTES: &[(i32, Value)] = &[
    (1, Of(|caps| caps.threads_per_block)),
    (2, Of(|caps| caps.block[0])),
    (3, Of(|caps| caps.block[1])),
    (4, Of(|caps| caps.block[2])),
    (5, Of(|caps| caps.grid[0])),
    (6, Of(|caps| caps.grid[1])),
    (7, Of(|caps| caps.grid[2])),
    (8, Of(|caps| caps.shared_per_block)),
    (9, Of(|caps| caps.constant_bytes)),
    (10, Fixed(32)),       // warp size
    (11, Fixed(i32::MAX)), // largest pitch
    (12, Of(|caps| caps.registers)),
    (13, Of(|caps| caps.clock_khz)),
    (14, Image(|images| images.alignment)),  // texture alignment
    (15, Can(|caps| caps.copy_engines > 0)), // copies overlap kernels
    (16, Of(|caps| caps.multiprocessors)),
    (17, Can(|caps| caps.time_limit)), // kernels have a time limit
    (18, Can(|caps| caps.integrated)), // integrated
    (19, Can(|caps| caps.shares_host_memory)),
    (20, Fixed(0)),                        // compute mode: default
    (21, Image(|images| images.width_1d)), // 21 to 30: textures and surfaces
    (22, Image(|images| images.extent_2d[0])),
    (23, Image(|images| images.extent_2d[1])),
    (24, Image(|images| images.extent_3d[0])),
    (25, Image(|images| images.extent_3d[1])),
    (26, Image(|images| images.extent_3d[2])),
    (27, Image(|images| images.extent_2d_layered[0])),
    (28, Image(|images| images.extent_2d_layered[1])),
    (29, Image(|images| images.layers)),
    (30, Image(|images| images.surface.alignment)),
    (31, Fixed(1)),                     // concurrent kernels
    (32, Can(|caps| caps.ecc)),         // ECC
    (33, Pci(|pci| pci.bus.into())),    // PCI bus
    (34, Pci(|pci| pci.device.into())), // PCI device
    (35, Fixed(0)),                     // TCC driver
    (36, Of(|caps| caps.memory_clock_khz)),
    (37, Of(|caps| caps.memory_bus_bits)),
    (38, Of(|caps| caps.l2_bytes)),
    (39, Of(|caps| caps.threads_per_multiprocessor)),
    (40, Of(|caps| caps.copy_engines)),            // copy engines
    (41, Fixed(1)),                                // unified addressing
    (42, Image(|images| images.width_1d_layered)), // 42 to 49: textures
    (43, Image(|images| images.layers)),
    (44, Fixed(1)),
    (45, Image(|images| images.extent_2d_gather[0])),
    (46, Image(|images| images.extent_2d_gather[1])),
    (47, Image(|images| images.extent_3d_alternate[0])),
    (48, Image(|images| images.extent_3d_alternate[1])),
    (49, Image(|images| images.extent_3d_alternate[2])),
    (50, Pci(|pci| pci.domain.into())),           // PCI domain
    (51, Image(|images| images.pitch_alignment)), // 51 to 74: textures and surfaces
    (52, Image(|images| images.width_cube)),
    (53, Image(|images| images.width_cube_layered)),
    (54, Image(|images| images.layers_cube)),
    (55, Image(|images| images.surface.width_1d)),
    (56, Image(|images| images.surface.extent_2d[0])),
    (57, Image(|images| images.surface.extent_2d[1])),
    (58, Image(|images| images.surface.extent_3d[0])),
    (59, Image(|images| images.surface.extent_3d[1])),
    (60, Image(|images| images.surface.extent_3d[2])),
    (61, Image(|images| images.surface.width_1d_layered)),
    (62, Image(|images| images.surface.layers)),
    (63, Image(|images| images.surface.extent_2d_layered[0])),
    (64, Image(|images| images.surface.extent_2d_layered[1])),
    (65, Image(|images| images.surface.layers)),
    (66, Image(|images| images.surface.width_cube)),
    (67, Image(|images| images.surface.width_cube_layered)),
    (68, Image(|images| images.surface.layers_cube)),
    (69, Image(|images| images.width_1d_linear)),
    (70, Image(|images| images.extent_2d_linear[0])),
    (71, Image(|images| images.extent_2d_linear[1])),
    (72, Image(|images| images.extent_2d_linear[2])),
    (73, Image(|images| images.extent_2d_levels[0])),
    (74, Image(|images| images.extent_2d_levels[1])),
    (75, Of(|caps| caps.compute.0)),
    (76, Of(|caps| caps.compute.1)),
    (77, Image(|images| images.width_1d_levels)), // texture
    (78, Fixed(1)),                               // stream priorities
    (79, Fixed(1)),                               // level 1 cache for global memory
    (80, Fixed(1)),                               // level 1 cache for local memory
    (81, Of(|caps| caps.shared_per_multiprocessor)),
    (82, Of(|caps| caps.registers)),
    (83, Can(|caps| caps.shares_host_memory)), // managed memory
    (84, Fixed(0)),                            // several GPUs on one board
    (85, Index),                               // which board
    (86, Can(|caps| caps.host_atomics)),       // native atomics between host and device
    (87, Of(|caps| caps.single_to_double)),    // single to double precision performance
    (88, Fixed(0)),                            // pageable memory access
    (89, Can(|caps| caps.shares_host_memory)), // managed memory used by both at once
    (90, Fixed(0)),                            // preemption
    (91, Can(|caps| caps.shares_host_memory)), // registered memory at the host's address
    (92, Fixed(1)),                            // 92 to 94: stream memory operations, first version
    (93, Fixed(1)),
    (94, Fixed(1)),
    (95, Can(|caps| caps.cooperative)),
    (96, Fixed(0)), // cooperative launch on several devices
    (97, Of(|caps| caps.shared_per_block_max)),
    (98, Fixed(1)),                   // flush of remote writes
    (99, Fixed(1)),                   // host registration
    (100, Fixed(0)),                  // pageable memory by the host's page tables
    (101, Fixed(0)),                  // host reaches managed memory on the device
    (102, Can(|caps| caps.physical)), // virtual memory management
    (103, Can(|caps| caps.physical)), // 103 to 105: handles: file descriptors of POSIX alone
    (104, Fixed(0)),
    (105, Fixed(0)),
    (106, Of(|caps| caps.blocks_per_multiprocessor)),
    (107, Fixed(0)), // compressible memory
    (108, Fixed(0)), // persisting level 2 cache
    (109, Fixed(0)), // access policy window
    (110, Fixed(0)), // direct access by other devices
    (111, Of(|caps| caps.shared_reserved_per_block)),
    (112, Fixed(0)),                            // sparse arrays
    (113, Can(|caps| caps.shares_host_memory)), // read-only host registration
    (114, Fixed(0)),                            // timeline semaphores
    (115, Fixed(1)),                            // memory pools
    (116, Fixed(0)),                            // direct access by other devices
    (117, Fixed(0)),
    (118, Fixed(0)),
    (119, Can(|caps| caps.physical)), // handle types of memory pools: file descriptors of POSIX
    (120, Can(|caps| caps.cluster_blocks > 1)),
    (121, Fixed(0)), // deferred mapping of arrays
    (122, Fixed(1)), // 64-bit stream memory operations
    (123, Fixed(1)),
    (124, Fixed(0)),  // dma_buf
    (125, Fixed(1)),  // events across processes
    (126, Fixed(1)),  // memory synchronisation domains
    (127, Fixed(1)),  // tensor maps
    (128, Fixed(0)),  // fabric handles
    (129, Fixed(0)),  // unified function pointers
    (130, Fixed(0)),  // NUMA configuration: none
    (131, Fixed(-1)), // NUMA node of the memory
    (132, Fixed(0)),  // multicast
    (133, Fixed(0)),  // MPS
    (134, Fixed(-1)), // NUMA node of the host
    (135, Fixed(0)),  // graphics interoperation
    (136, Fixed(0)),  // decompression
    (137, Fixed(0)),
    (138, Fixed(0)),
    (139, Fixed(0)), // PCI ids of the chip and the board
    (140, Fixed(0)),
    (141, Fixed(0)),                            // virtual memory management on nodes of the host
    (142, Fixed(0)),                            // memory pools on nodes of the host
    (143, Fixed(0)),                            // memory of other nodes
    (144, Can(|caps| caps.shares_host_memory)), // memory pools on the host
    (145, Fixed(0)),                            // virtual memory management on the host
    (146, Fixed(0)),                            // dma_buf of host memory
    (147, Fixed(0)),                            // some native atomics between host and device
];

/// The value of attribute `id` of the device with that index; none for an id that CUDA 13.0 does not know.
pub(crate) fn get(caps: &Caps, index: usize, id: i32) -> Option<i32> {
    let at = ATTRIBUTES.binary_search_by_key(&id, |row| row.0).ok()?;
    Some(match &ATTRIBUTES[at].1 {
        Fixed(value) => *value,
        Of(value) => i32::try_from(value(caps)).unwrap_or(i32::MAX),
        Can(value) => i32::from(value(caps)),
        Image(value) => i32::try_from(value(&caps.images.unwrap_or_default())).unwrap_or(i32::MAX),
        Pci(value) => value(&hetgpu_registry::place(caps, index)) as i32,
        Index => index as i32,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launches_in_clusters_are_offered_where_there_are_clusters() {
        const CLUSTER_LAUNCH: i32 = 120;
        let mut caps = hetgpu_registry::descriptions(&hetgpu_runtime::Settings::from_environment())[0].caps.clone();
        for (blocks, offered) in [(0, 0), (1, 0), (8, 1)] {
            caps.cluster_blocks = blocks;
            assert_eq!(get(&caps, 0, CLUSTER_LAUNCH), Some(offered));
        }
    }

    #[test]
    fn every_id_up_to_147_has_a_row_and_no_other_has() {
        assert!(ATTRIBUTES.iter().map(|row| row.0).eq(1..=147));
    }
}
