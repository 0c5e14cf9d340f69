use super::bench::Bench;
use super::{Check, Stop, Verdict, checks, ensure};

checks! {
    it_has_a_name_and_an_identity
    sizes_are_consistent
    priorities_are_ordered
    images_have_sizes
    free_memory_is_at_most_all_of_it
}

fn it_has_a_name_and_an_identity(bench: &Bench) -> Verdict {
    let caps = bench.caps();
    ensure!(!caps.name.trim().is_empty(), "the device has no name");
    ensure!(caps.uuid != [0; 16], "the device has no identity");
    ensure!(!caps.peers.contains(&caps.uuid), "a device is no peer of its own");
    Ok(())
}

fn sizes_are_consistent(bench: &Bench) -> Verdict {
    let caps = bench.caps();
    ensure!(caps.map_granularity.is_power_of_two(), "a granularity of {}", caps.map_granularity);
    ensure!(caps.memory > 0, "no memory");
    ensure!(caps.compute >= (5, 0), "compute capability {:?}", caps.compute);
    ensure!(caps.multiprocessors > 0, "no multiprocessors");
    ensure!(caps.concurrent_queues > 0, "no queue makes progress");
    ensure!(caps.threads_per_block >= 32, "blocks of {} threads", caps.threads_per_block);
    let block: u64 = caps.block.iter().map(|&n| u64::from(n)).product();
    ensure!(block >= u64::from(caps.threads_per_block), "blocks of {:?}", caps.block);
    ensure!(caps.block[0] <= caps.threads_per_block, "blocks of {:?}", caps.block);
    ensure!(caps.grid.iter().all(|&blocks| blocks >= 65_535), "grids of {:?}", caps.grid);
    ensure!(caps.threads_per_multiprocessor >= caps.threads_per_block, "a block does not fit a multiprocessor");
    ensure!(caps.blocks_per_multiprocessor > 0, "no block fits a multiprocessor");
    ensure!(caps.shared_per_block <= caps.shared_per_block_max, "more shared memory than can be asked for");
    ensure!(caps.shared_per_block_max <= caps.shared_per_multiprocessor, "a block's shared memory does not fit");
    Ok(())
}

fn priorities_are_ordered(bench: &Bench) -> Verdict {
    let (least, greatest) = bench.caps().priorities;
    ensure!(least >= greatest, "priorities from {least} to {greatest}");
    Ok(())
}

fn images_have_sizes(bench: &Bench) -> Verdict {
    let Some(images) = bench.caps().images else { return bench.needs(false, "images") };
    let sizes = [images.width_1d, images.extent_2d[0], images.extent_2d[1], images.width_cube, images.layers];
    ensure!(sizes.iter().chain(&images.extent_3d).all(|&size| size >= 256), "images of {images:?}");
    ensure!(images.alignment.is_power_of_two(), "an alignment of {}", images.alignment);
    ensure!(images.pitch_alignment.is_power_of_two(), "a pitch alignment of {}", images.pitch_alignment);
    Ok(())
}

fn free_memory_is_at_most_all_of_it(bench: &Bench) -> Verdict {
    let Some(free) = bench.device.free_memory() else {
        return Err(Stop::Skipped("the device does not know how much memory is free".into()));
    };
    ensure!(free <= bench.caps().memory, "{free} bytes of {} are free", bench.caps().memory);
    Ok(())
}
