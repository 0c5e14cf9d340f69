use super::bench::{Bench, Ears, KERNELS, Params, bytes_of, launch, refused, same, same_numbers};
use super::{Check, Stop, Verdict, checks, ensure};
use crate::{ErrorKind, Extent, Fill, Heap, Launch, LoadedModule, Outcome, Pattern, Work};
use hetir::blocks::Blocks;
use hetir::entity::FuncId;
use std::sync::Arc;

checks! {
    every_thread_of_every_shape_runs_once
    parameters_arrive
    blocks_share_memory
    a_block_has_as_much_shared_memory_as_the_caps_say
    variables_live_from_launch_to_launch
    a_module_is_loaded_twice
    many_modules_are_loaded
    kernels_have_attributes
    what_is_no_kernel_has_no_attributes
    kernels_are_prepared_ahead
    what_is_unloaded_is_not_launched
    one_kernel_runs_in_many_threads
    parts_of_grids_are_refused_where_they_do_not_work
    parts_of_grids_run
    a_grid_runs_in_parts_behind_what_came_before
    a_launch_that_is_asked_to_stop_says_what_it_did_not_begin
    a_launch_stops_between_its_blocks_and_goes_on
    threads_print_whole_lines
    memory_is_taken_and_given_back
    cooperative_blocks_wait_for_each_other
    clusters_have_ranks
    grids_are_large
}

fn shapes(bench: &Bench) -> Vec<([u32; 3], [u32; 3])> {
    let most = bench.caps().threads_per_block;
    vec![
        ([1, 1, 1], [1, 1, 1]),
        ([3, 1, 1], [33, 1, 1]),
        ([2, 3, 4], [5, 1, 1]),
        ([1, 1, 1], [7, 5, 3]),
        ([2, 2, 2], [16, 2, 2]),
        ([1, 70, 1], [1, 8, 1]),
        ([1, 1, 9], [1, 1, 31]),
        ([2, 1, 1], [most, 1, 1]),
        ([1, 2, 1], [32, most / 32, 1]),
    ]
}

fn every_thread_of_every_shape_runs_once(bench: &Bench) -> Verdict {
    let kernels = bench.load(KERNELS)?;
    for (grid, block) in shapes(bench) {
        let threads = grid.iter().chain(&block).product::<u32>() as usize;
        let memory = bench.map(threads as u64 * 4)?;
        bench.run(launch(Launch { grid, block, ..kernels.launch("index", Params::new().u64(memory.at))? }))?;
        let want: Vec<u32> = (1..=threads as u32).collect();
        let got = bench.read_numbers(memory.at, threads)?;
        same_numbers(&format!("{grid:?} blocks of {block:?}"), &got, &want)?;
    }
    Ok(())
}

fn parameters_arrive(bench: &Bench) -> Verdict {
    let kernels = bench.load(KERNELS)?;
    let from: Vec<u32> = (0..200).map(|n| n * n).collect();
    let (from_memory, to) = (bench.numbers(&from)?, bench.numbers(&[7; 200])?);
    // 150 of 200, so that the last parameter counts too.
    let params = Params::new().u64(to.at).u64(from_memory.at).u32(0x0101_0101).u32(150);
    bench.run(launch(Launch { grid: [4, 1, 1], block: [64, 1, 1], ..kernels.launch("scale", params)? }))?;
    let want = from.iter().enumerate().map(|(n, &v)| if n < 150 { v.wrapping_mul(0x0101_0101) } else { 7 });
    same_numbers("scaled numbers", &bench.read_numbers(to.at, 200)?, &want.collect::<Vec<_>>())?;
    same("their source", &bench.read(from_memory.at, 800)?, &bytes_of(&from))
}

fn blocks_share_memory(bench: &Bench) -> Verdict {
    let kernels = bench.load(KERNELS)?;
    for threads in [1u32, 32, 48, 256] {
        let numbers: Vec<u32> = (0..threads * 5).map(|n| n * 3).collect();
        let memory = bench.numbers(&numbers)?;
        let description = kernels.launch("reverse", Params::new().u64(memory.at))?;
        let dynamic_shared = threads * 4;
        bench.run(launch(Launch { grid: [5, 1, 1], block: [threads, 1, 1], dynamic_shared, ..description }))?;
        let want: Vec<u32> = numbers.chunks(threads as usize).flat_map(|block| block.iter().rev().copied()).collect();
        same_numbers("reversed blocks", &bench.read_numbers(memory.at, want.len())?, &want)?;
    }
    Ok(())
}

fn a_block_has_as_much_shared_memory_as_the_caps_say(bench: &Bench) -> Verdict {
    let kernels = bench.load(KERNELS)?;
    let memory = bench.numbers(&[1, 2, 3, 4])?;
    for dynamic_shared in [bench.caps().shared_per_block, bench.caps().shared_per_block_max] {
        let description = kernels.launch("reverse", Params::new().u64(memory.at))?;
        bench.run(launch(Launch { block: [4, 1, 1], dynamic_shared, ..description }))?;
    }
    same_numbers("reversed twice", &bench.read_numbers(memory.at, 4)?, &[1, 2, 3, 4])
}

fn variables_live_from_launch_to_launch(bench: &Bench) -> Verdict {
    let kernels = bench.load(KERNELS)?;
    let out = bench.map(64 * 4)?;
    for round in 1..=3 {
        let description = kernels.launch("variables", Params::new().u64(out.at))?;
        bench.run(launch(Launch { block: [64, 1, 1], ..description }))?;
        let counter = bench.read_numbers(kernels.variable("counter")?, 2)?;
        same_numbers("a counter", &counter, &[0, 64 * round])?;
    }
    let want: Vec<u32> = (0..64).map(|n| n % 4 * 10 + 10).collect();
    same_numbers("a table of constants", &bench.read_numbers(out.at, 64)?, &want)
}

fn a_module_is_loaded_twice(bench: &Bench) -> Verdict {
    let (first, second) = (bench.load(KERNELS)?, bench.load(KERNELS)?);
    let out = bench.map(4)?;
    ensure!(first.loaded != second.loaded, "two loaded modules have one name");
    bench.run(launch(first.launch("variables", Params::new().u64(out.at))?))?;
    for _ in 0..2 {
        bench.run(launch(second.launch("variables", Params::new().u64(out.at))?))?;
    }
    same_numbers("the first one's counter", &bench.read_numbers(first.variable("counter")?, 2)?, &[0, 1])?;
    same_numbers("the second one's counter", &bench.read_numbers(second.variable("counter")?, 2)?, &[0, 2])?;
    drop(first);
    bench.run(launch(second.launch("variables", Params::new().u64(out.at))?))?;
    same_numbers("the counter of what is left", &bench.read_numbers(second.variable("counter")?, 2)?, &[0, 3])
}

fn many_modules_are_loaded(bench: &Bench) -> Verdict {
    let memory = bench.map(4)?;
    let mut loaded = Vec::new();
    for round in 0..30u32 {
        let kernels = bench.load(KERNELS)?;
        bench.run(launch(kernels.launch("add", Params::new().u64(memory.at).u32(1))?))?;
        if round % 3 == 0 {
            loaded.push(kernels);
        }
    }
    for kernels in &loaded {
        bench.run(launch(kernels.launch("add", Params::new().u64(memory.at).u32(1))?))?;
    }
    same_numbers("what many modules added", &bench.read_numbers(memory.at, 1)?, &[40])
}

fn kernels_have_attributes(bench: &Bench) -> Verdict {
    let kernels = bench.load(KERNELS)?;
    for name in ["index", "reverse", "deep"] {
        let attributes = bench.device.kernel(kernels.loaded, kernels.id(name)?)?;
        if let Some(threads) = attributes.max_threads {
            ensure!((1..=bench.caps().threads_per_block).contains(&threads), "{name}: {threads} threads a block");
        }
        ensure!(attributes.registers != Some(0), "{name}: no registers");
        ensure!(attributes.binary_bytes != Some(0), "{name}: no code");
        if let Some(blocks) = bench.device.resident_blocks(kernels.loaded, kernels.id(name)?, 32, 0) {
            ensure!((1..=bench.caps().blocks_per_multiprocessor).contains(&blocks), "{name}: {blocks} blocks");
        }
    }
    Ok(())
}

fn what_is_no_kernel_has_no_attributes(bench: &Bench) -> Verdict {
    let kernels = bench.load(KERNELS)?;
    let invalid = &[ErrorKind::InvalidImage];
    let attributes = |function| bench.device.kernel(kernels.loaded, function);
    refused("a function of the device", attributes(kernels.id("endless")?), invalid)?;
    refused("a function that there is not", attributes(FuncId::new(10_000)), invalid)?;
    let stranger = LoadedModule(u64::MAX - 1);
    refused("a module that there is not", bench.device.kernel(stranger, kernels.id("index")?), invalid)?;
    refused("preparing it", bench.device.prepare(stranger, kernels.id("index")?, [32, 1, 1], Extent::Whole), invalid)
}

fn kernels_are_prepared_ahead(bench: &Bench) -> Verdict {
    let kernels = bench.load(KERNELS)?;
    let id = kernels.id("index")?;
    let memory = bench.map(256)?;
    for block in [[64, 1, 1], [8, 8, 1], [64, 1, 1]] {
        bench.device.prepare(kernels.loaded, id, block, Extent::Whole)?;
    }
    // One that was prepared, and one that was not.
    for (grid, block) in [([1, 1, 1], [8, 8, 1]), ([1, 1, 1], [4, 4, 4])] {
        bench.run(launch(Launch { grid, block, ..kernels.launch("index", Params::new().u64(memory.at))? }))?;
    }
    let want: Vec<u32> = (1..=64).map(|n| 2 * n).collect();
    same_numbers("two launches", &bench.read_numbers(memory.at, 64)?, &want)
}

fn what_is_unloaded_is_not_launched(bench: &Bench) -> Verdict {
    let kernels = bench.load(KERNELS)?;
    let memory = bench.map(4)?;
    let stale = kernels.launch("add", Params::new().u64(memory.at).u32(1))?;
    drop(kernels);
    refused("a module that is gone", bench.run_raw(launch(stale)), &[ErrorKind::InvalidImage])?;
    same_numbers("untouched memory", &bench.read_numbers(memory.at, 1)?, &[0])
}

fn one_kernel_runs_in_many_threads(bench: &Bench) -> Verdict {
    let kernels = bench.load(KERNELS)?;
    let memory = bench.map(4)?;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| -> Verdict {
                    for _ in 0..25 {
                        let description = kernels.launch("add", Params::new().u64(memory.at).u32(1))?;
                        bench.run(launch(Launch { grid: [3, 1, 1], block: [40, 1, 1], ..description }))?;
                    }
                    Ok(())
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| Err("a thread panicked".into())))
    })?;
    same_numbers("what all threads added", &bench.read_numbers(memory.at, 1)?, &[8 * 25 * 120])
}

fn parts_of_grids_are_refused_where_they_do_not_work(bench: &Bench) -> Verdict {
    if bench.caps().suspends {
        return Err(Stop::Skipped("the device suspends kernels".into()));
    }
    let kernels = bench.load(KERNELS)?;
    let memory = bench.map(4)?;
    let queue = bench.queue()?;
    for (stop, blocks) in [(memory.at, Blocks::default()), (0, Blocks::some([]))] {
        let description = kernels.launch("add", Params::new().u64(memory.at).u32(1))?;
        let submitted = queue.submit(launch(Launch { stop, blocks, ..description }));
        refused("what the device lacks", submitted, &[ErrorKind::NotSupported])?;
    }
    queue.run(launch(kernels.launch("add", Params::new().u64(memory.at).u32(4))?))?;
    same_numbers("what the queue did then", &bench.read_numbers(memory.at, 1)?, &[4])
}

fn parts_of_grids_run(bench: &Bench) -> Verdict {
    bench.needs(bench.caps().suspends, "launches of a part of a grid")?;
    let kernels = bench.load(KERNELS)?;
    let memory = bench.map(4 * 4 * 6)?;
    let description = kernels.launch("index", Params::new().u64(memory.at))?;
    let description = Launch { grid: [3, 2, 1], block: [4, 1, 1], ..description };
    bench.run(launch(Launch { blocks: Blocks::some([4..6, 1..2]), ..description.clone() }))?;
    let block = |n: u32| n * 4 + 1..n * 4 + 5;
    let want: Vec<u32> =
        (0..6).flat_map(|n| block(n).map(move |v| if [1, 4, 5].contains(&n) { v } else { 0 })).collect();
    same_numbers("three blocks of six", &bench.read_numbers(memory.at, 24)?, &want)?;
    let queue = bench.queue()?;
    let beyond = queue.run(launch(Launch { blocks: Blocks::some([5..6, 6..7]), ..description }));
    ensure!(beyond.is_err(), "a block beyond the grid was run");
    Ok(())
}

fn a_grid_runs_in_parts_behind_what_came_before(bench: &Bench) -> Verdict {
    const GRID: [u32; 3] = [3, 4, 5];
    const THREADS: u32 = 4;
    bench.needs(bench.caps().suspends, "launches of a part of a grid")?;
    let kernels = bench.load(KERNELS)?;
    let count = GRID.iter().product::<u32>();
    let memory = bench.map(u64::from(4 * THREADS * count))?;
    let queue = bench.queue()?;
    let description = kernels.launch("index", Params::new().u64(memory.at))?;
    let description = Launch { grid: GRID, block: [THREADS, 1, 1], ..description };
    let number = |n: u32| n * THREADS + 1..n * THREADS + 1 + THREADS;
    // Blocks of a row, rows, planes, and such as are none of these.
    for parts in [&[0..2, 2..3, 3..12, 12..60][..], &[0..12, 12..36, 36..42, 42..60], &[1..5, 20..50, 7..8]] {
        queue.submit(Work::Fill(Fill {
            at: memory.at,
            pattern: Pattern::new(&[0; 4]).ok_or("a pattern of four bytes")?,
            count: u64::from(THREADS * count),
            rows: 1,
            pitch: 0,
        }))?;
        let mut named = parts.iter().cloned();
        queue.run_parts(&description, &mut || named.next())?;
        let ran = |n: u64| parts.iter().any(|part| part.contains(&n));
        let want: Vec<u32> = (0..count)
            .flat_map(|n| number(n).map(move |v| (n, v)))
            .map(|(n, v)| if ran(n.into()) { v } else { 0 })
            .collect();
        same_numbers(&format!("blocks {parts:?}"), &bench.read_numbers(memory.at, want.len())?, &want)?;
    }
    Ok(())
}

fn a_launch_that_is_asked_to_stop_says_what_it_did_not_begin(bench: &Bench) -> Verdict {
    bench.needs(bench.caps().suspends, "launches that can be asked to stop")?;
    let kernels = bench.load(KERNELS)?;
    let (memory, stop) = (bench.map(4)?, bench.numbers(&[1])?);
    let ears = Arc::new(Ears::default());
    let description = kernels.launch("add", Params::new().u64(memory.at).u32(1))?;
    let listener = ears.clone();
    bench.run(launch(Launch { grid: [2, 5, 3], stop: stop.at, listener, ..description }))?;
    ensure!(
        matches!(&ears.heard().ends[..], [Outcome::Stopped { unstarted }] if unstarted.iter().cloned().flatten().eq(0..30)),
        "the end of a launch that was asked to stop before it began: {:?}",
        ears.heard().ends
    );
    same_numbers("what it did", &bench.read_numbers(memory.at, 1)?, &[0])
}

fn a_launch_stops_between_its_blocks_and_goes_on(bench: &Bench) -> Verdict {
    const BLOCKS: u32 = 40_000;
    bench.needs(bench.caps().suspends, "launches that can be asked to stop")?;
    let kernels = bench.load(KERNELS)?;
    let (memory, stop) = (bench.map(4)?, bench.numbers(&[0])?);
    let (mut blocks, mut stops) = (Blocks::default(), 0);
    loop {
        let ears = Arc::new(Ears::default());
        let description = kernels.launch("add", Params::new().u64(memory.at).u32(1))?;
        let listener = ears.clone();
        let queue = bench.queue()?;
        bench.device.write(stop.at, &0u32.to_le_bytes())?;
        let work = Launch { grid: [BLOCKS, 1, 1], stop: stop.at, blocks, listener, ..description };
        std::thread::scope(|scope| {
            let running = scope.spawn(|| queue.run(launch(work)));
            std::thread::sleep(std::time::Duration::from_micros(50 * (stops + 1)));
            let asked = bench.device.write(stop.at, &1u32.to_le_bytes());
            running.join().map_err(|_| Stop::Failed("a launch panicked".into()))??;
            asked.map_err(Stop::from)
        })?;
        match ears.heard().ends.pop() {
            Some(Outcome::Finished) => break,
            Some(Outcome::Stopped { unstarted }) => blocks = Blocks::some(unstarted),
            None => return Err(Stop::Failed("a launch has no end".into())),
        }
        stops += 1;
    }
    same_numbers(&format!("blocks after {stops} stops"), &bench.read_numbers(memory.at, 1)?, &[BLOCKS])
}

fn threads_print_whole_lines(bench: &Bench) -> Verdict {
    let kernels = bench.load(KERNELS)?;
    let ears = Arc::new(Ears::default());
    let description = Launch { listener: ears.clone(), ..kernels.launch("say", Params::new())? };
    bench.run(launch(Launch { grid: [3, 1, 1], block: [40, 1, 1], ..description }))?;
    let heard = ears.heard();
    let text = String::from_utf8_lossy(&heard.printed).into_owned();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    let mut want: Vec<String> = (0..120).map(|n| format!("thread {}", n % 40)).collect();
    want.sort_unstable();
    ensure!(lines == want, "the lines that were printed: {text}");
    ensure!(heard.ends == [Outcome::Finished], "the ends of a launch: {:?}", heard.ends);
    Ok(())
}

fn memory_is_taken_and_given_back(bench: &Bench) -> Verdict {
    const BYTES: u64 = 1 << 20;
    const THREADS: u32 = 64;
    let kernels = bench.load(KERNELS)?;
    let (heap, out) = (bench.map(BYTES)?, bench.map(u64::from(THREADS) * 8)?);
    let heap = Heap { base: heap.at, bytes: BYTES };
    let block = [THREADS, 1, 1];
    let take = |bytes: u64| -> Result<Vec<u64>, Stop> {
        let description = kernels.launch("take", Params::new().u64(out.at).u64(bytes))?;
        bench.run(launch(Launch { block, heap: Some(heap), ..description }))?;
        let bytes = bench.read(out.at, THREADS as usize * 8)?;
        Ok(bytes.chunks_exact(8).map(|b| u64::from_le_bytes(b.try_into().unwrap_or_default())).collect())
    };
    // Half of the heap at a time, so that the second round needs what the first one gave back.
    for round in 0..4 {
        let mut taken = take(BYTES / 2 / u64::from(THREADS) - 64)?;
        taken.sort_unstable();
        for pair in taken.windows(2) {
            ensure!(pair[1] - pair[0] >= BYTES / 2 / u64::from(THREADS) - 64, "two pieces overlap in round {round}");
        }
        for &piece in &taken {
            let offset = piece.wrapping_sub(heap.base);
            ensure!(offset < BYTES && piece % 16 == 0, "a piece at {piece:#x}, the heap is at {:#x}", heap.base);
        }
        let description = kernels.launch("give", Params::new().u64(out.at))?;
        bench.run(launch(Launch { block, heap: Some(heap), ..description }))?;
    }
    ensure!(take(2 * BYTES)?.iter().all(|&piece| piece == 0), "more was taken than there is");
    Ok(())
}

fn cooperative_blocks_wait_for_each_other(bench: &Bench) -> Verdict {
    bench.needs(bench.caps().cooperative, "cooperative launches")?;
    let kernels = bench.load(KERNELS)?;
    let blocks = bench.caps().multiprocessors.clamp(2, 64);
    let (at, workspace, out) = (bench.map(4)?, bench.map(4096)?, bench.map(u64::from(blocks) * 4)?);
    let params = Params::new().u64(at.at).u64(out.at).u32(blocks);
    let description = kernels.launch("gather", params)?;
    let (grid, workspace) = ([blocks, 1, 1], workspace.at);
    bench.run(launch(Launch { grid, cooperative: true, workspace, ..description }))?;
    let want = vec![blocks; blocks as usize];
    same_numbers("what blocks saw of each other", &bench.read_numbers(out.at, want.len())?, &want)
}

fn clusters_have_ranks(bench: &Bench) -> Verdict {
    bench.needs(bench.caps().cluster_blocks >= 2, "clusters")?;
    let kernels = bench.load(KERNELS)?;
    let out = bench.map(32)?;
    let description = kernels.launch("rank", Params::new().u64(out.at))?;
    bench.run(launch(Launch { grid: [8, 1, 1], cluster: [2, 1, 1], block: [32, 1, 1], ..description }))?;
    same_numbers("ranks of blocks", &bench.read_numbers(out.at, 8)?, &[0, 1, 0, 1, 0, 1, 0, 1])
}

fn grids_are_large(bench: &Bench) -> Verdict {
    let kernels = bench.load(KERNELS)?;
    let memory = bench.map(4)?;
    let description = kernels.launch("add", Params::new().u64(memory.at).u32(1))?;
    bench.run(launch(Launch { grid: [70_000, 1, 1], ..description.clone() }))?;
    bench.run(launch(Launch { grid: [2, 5_000, 3], ..description }))?;
    same_numbers("blocks that ran", &bench.read_numbers(memory.at, 1)?, &[100_000])
}
