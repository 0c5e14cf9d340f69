use super::bench::{Bench, Params, host, launch, noise, refused, same, same_numbers};
use super::{Check, Stop, Verdict, checks};
use crate::{DIGEST_CHUNK, ErrorKind};

checks! {
    mapped_memory_is_zeroed
    mapped_memory_is_zeroed_again
    bytes_come_back_at_any_place_and_of_any_number
    mappings_do_not_touch_each_other
    digests_tell_what_is_there
    memory_is_mapped_only_once
    more_memory_than_there_is_is_refused
    what_is_not_mapped_is_not_copied
    the_host_and_a_kernel_share_memory
    shared_memory_is_refused_by_name
    several_spans_are_shared_at_once
    unknown_peers_are_refused
    threads_map_at_the_same_time
}

fn mapped_memory_is_zeroed(bench: &Bench) -> Verdict {
    for bytes in [1, 4096, 3 << 20] {
        let mapped = bench.map(bytes)?;
        let got = bench.read(mapped.at, mapped.bytes as usize)?;
        same("fresh memory", &got, &vec![0; mapped.bytes as usize])?;
    }
    Ok(())
}

fn mapped_memory_is_zeroed_again(bench: &Bench) -> Verdict {
    let bytes = 4096u64.next_multiple_of(bench.caps().map_granularity);
    let at = bench.addresses(bytes);
    for round in 0..3 {
        bench.device.map(at, bytes, "again")?;
        let got = bench.read(at, bytes as usize)?;
        bench.device.write(at, &noise(round, bytes as usize))?;
        bench.device.unmap(at);
        same("memory mapped once more", &got, &vec![0; bytes as usize])?;
    }
    Ok(())
}

fn bytes_come_back_at_any_place_and_of_any_number(bench: &Bench) -> Verdict {
    const ALL: usize = 5 << 20;
    let mapped = bench.map(ALL as u64)?;
    let mut want = vec![0; ALL];
    for (seed, (offset, bytes)) in
        [(0, 1), (1, 2), (3, 5), (15, 17), (4095, 2), (4097, 8191), (1 << 20, (1 << 20) + 1), (ALL - 1, 1), (7, 0)]
            .into_iter()
            .enumerate()
    {
        let data = noise(seed as u32 + 1, bytes);
        bench.device.write(mapped.at + offset as u64, &data)?;
        want[offset..offset + bytes].copy_from_slice(&data);
        same("what was written", &bench.read(mapped.at + offset as u64, bytes)?, &data)?;
    }
    same("all of it", &bench.read(mapped.at, ALL)?, &want)
}

fn mappings_do_not_touch_each_other(bench: &Bench) -> Verdict {
    const COUNT: usize = 64;
    let mut all = Vec::new();
    for seed in 0..COUNT {
        all.push((seed, bench.filled(&noise(seed as u32, 1000))?));
    }
    // Every third goes, and others stay what they are.
    all.retain(|(seed, _)| seed % 3 != 0);
    for seed in COUNT..COUNT + COUNT / 3 {
        all.push((seed, bench.filled(&noise(seed as u32, 1000))?));
    }
    all.iter().try_for_each(|(seed, mapped)| {
        same("one of many mappings", &bench.read(mapped.at, 1000)?, &noise(*seed as u32, 1000))
    })
}

fn digests_tell_what_is_there(bench: &Bench) -> Verdict {
    let chunk = DIGEST_CHUNK as usize;
    let bytes = (5 * DIGEST_CHUNK).next_multiple_of(bench.caps().map_granularity).next_multiple_of(DIGEST_CHUNK);
    let mapped = bench.map(bytes)?;
    let digests = || Ok::<_, Stop>(bench.device.digests(mapped.at, bytes)?);
    if digests()?.is_none() {
        return Err(Stop::Skipped("the device tells no digests".into()));
    }
    let write = |place: usize, data: &[u8]| bench.device.write(mapped.at + (place * chunk) as u64, data);
    for place in [1, 3] {
        write(place, &noise(1, chunk))?;
    }
    write(4, &noise(2, chunk))?;
    let first = digests()?.unwrap_or_default();
    same_numbers("digests", &[first.len() as u32], &[(bytes / DIGEST_CHUNK) as u32])?;
    let alike = |all: &[[u8; 32]]| [(1, 3), (0, 2), (0, 1), (1, 4)].map(|(a, b)| u32::from(all[a] == all[b]));
    same_numbers("which contents are alike", &alike(&first), &[1, 1, 0, 0])?;
    // The last byte of all is one of them, too.
    let last = first.len() - 1;
    let end = mapped.at + bytes - 1;
    let before = bench.read(end, 1)?;
    bench.device.write(end, &[before[0] ^ 1])?;
    let second = digests()?.unwrap_or_default();
    let changed = |all: &[[u8; 32]]| (0..=last).map(|place| u32::from(all[place] != first[place])).collect::<Vec<_>>();
    let only_last: Vec<u32> = (0..=last).map(|place| u32::from(place == last)).collect();
    same_numbers("what has changed", &changed(&second), &only_last)?;
    bench.device.write(end, &before)?;
    same_numbers("what has changed back", &changed(&digests()?.unwrap_or_default()), &vec![0; last + 1])
}

fn memory_is_mapped_only_once(bench: &Bench) -> Verdict {
    let data = noise(1, 4096);
    let mapped = bench.filled(&data)?;
    let again = bench.device.map(mapped.at, mapped.bytes, "again");
    refused("mapping over memory", again, &[ErrorKind::InvalidRequest])?;
    same("what was mapped first", &bench.read(mapped.at, 4096)?, &data)
}

fn more_memory_than_there_is_is_refused(bench: &Bench) -> Verdict {
    let bytes = (bench.caps().memory + 1).next_multiple_of(bench.caps().map_granularity);
    let at = bench.addresses(bytes);
    refused("a mapping larger than the device", bench.device.map(at, bytes, "all"), &[ErrorKind::OutOfMemory])?;
    let mapped = bench.filled(&[1, 2, 3])?;
    same("a mapping after it", &bench.read(mapped.at, 3)?, &[1, 2, 3])
}

fn what_is_not_mapped_is_not_copied(bench: &Bench) -> Verdict {
    if !bench.caps().survives_faults {
        return Err(Stop::Skipped("a fault takes the device with it".into()));
    }
    let mapped = bench.map(4096)?;
    let illegal = &[ErrorKind::IllegalAddress];
    let end = mapped.at + mapped.bytes;
    refused("a write behind memory", bench.device.write(end, &[1]), illegal)?;
    refused("a write over its end", bench.device.write(end - 2, &[1; 4]), illegal)?;
    refused("a read behind memory", bench.device.read(end, &mut [0]), illegal)?;
    refused("a read at 0", bench.device.read(0, &mut [0; 8]), illegal)?;
    let at = mapped.at;
    drop(mapped);
    refused("a read of unmapped memory", bench.device.read(at, &mut [0]), illegal)
}

fn the_host_and_a_kernel_share_memory(bench: &Bench) -> Verdict {
    bench.needs(bench.caps().shares_host_memory, "shared host memory")?;
    let kernels = bench.load(super::bench::KERNELS)?;
    let (buffer, at) = (host(8192)?, |buffer: &crate::HostBuffer| buffer.address());
    bench.device.share(buffer.span())?;
    buffer.write(4096, &7u32.to_le_bytes());
    bench.run(launch(kernels.launch("add", Params::new().u64(at(&buffer) + 4096).u32(5))?))?;
    let value = buffer.to_vec();
    same("what the host sees of a kernel", &value[4096..4100], &12u32.to_le_bytes())?;
    same("the same by a copy", &bench.read(at(&buffer) + 4096, 4)?, &12u32.to_le_bytes())?;
    bench.device.write(at(&buffer), &[9; 16])?;
    same("what the host sees of a copy", &buffer.to_vec()[..17], &[[9; 16].as_slice(), &[0]].concat())?;
    bench.device.unmap(at(&buffer));
    if bench.caps().survives_faults {
        let gone = bench.device.read(at(&buffer), &mut [0]);
        refused("memory that is shared no more", gone, &[ErrorKind::IllegalAddress])?;
    }
    Ok(())
}

fn shared_memory_is_refused_by_name(bench: &Bench) -> Verdict {
    if bench.caps().shares_host_memory {
        return Err(Stop::Skipped("the device shares host memory".into()));
    }
    refused("sharing", bench.device.share(host(4096)?.span()), &[ErrorKind::NotSupported])
}

fn several_spans_are_shared_at_once(bench: &Bench) -> Verdict {
    bench.needs(bench.caps().shares_host_memory, "shared host memory")?;
    let buffers = (0..5).map(|_| host(4096)).collect::<Result<Vec<_>, _>>()?;
    for (n, buffer) in buffers.iter().enumerate() {
        bench.device.share(buffer.span())?;
        buffer.write(0, &[n as u8 + 1; 64]);
    }
    bench.device.unmap(buffers[2].address());
    for (n, buffer) in buffers.iter().enumerate().filter(|(n, _)| *n != 2) {
        let got = bench.read(buffer.address(), 64);
        bench.device.unmap(buffer.address());
        same("one of several spans", &got?, &[n as u8 + 1; 64])?;
    }
    Ok(())
}

fn unknown_peers_are_refused(bench: &Bench) -> Verdict {
    let at = bench.addresses(1);
    let kinds = [ErrorKind::NotSupported, ErrorKind::InvalidRequest];
    refused("a peer that there is not", bench.device.reach([0xee; 16], at), &kinds)
}

fn threads_map_at_the_same_time(bench: &Bench) -> Verdict {
    let kernels = bench.load(super::bench::KERNELS)?;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8u32)
            .map(|thread| {
                let kernels = &kernels;
                scope.spawn(move || -> Verdict {
                    for round in 0..20u32 {
                        let mapped = bench.numbers(&[thread, round])?;
                        bench.run(launch(kernels.launch("add", Params::new().u64(mapped.at).u32(100))?))?;
                        let got = bench.read_numbers(mapped.at, 2)?;
                        same_numbers("memory of a thread", &got, &[thread + 100, round])?;
                    }
                    Ok(())
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| Err("a thread panicked".into())))
    })
}
