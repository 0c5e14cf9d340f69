use super::bench::{Bench, KERNELS, Params, launch, noise, refused, same};
use super::{Check, Stop, Verdict, checks, ensure};
use crate::{Access, ErrorKind, PHYSICAL_GRANULARITY, PhysicalId, PhysicalMemory};

checks! {
    caps_say_whether_there_is_physical_memory
    physical_memory_appears_at_several_addresses
    physical_memory_without_access_is_not_copied
    physical_memory_that_may_be_read_is_not_written
    kernels_fault_where_access_is_not_allowed
    physical_memory_goes_with_its_last_mapping
    copies_cross_from_one_mapping_to_the_next
    wrong_requests_for_physical_memory_are_refused
    exposed_memory_stays_and_is_shared
    memory_that_comes_into_an_exposed_range_is_zeroed
    memory_becomes_that_of_a_file
    a_file_stands_for_physical_memory
    a_file_of_known_size_stands_for_its_memory
    files_that_are_no_memory_are_refused
}

const BYTES: u64 = PHYSICAL_GRANULARITY;

fn physical(bench: &Bench) -> Result<&dyn PhysicalMemory, Stop> {
    bench.needs(bench.caps().physical, "memory apart from its addresses")?;
    bench.device.physical().ok_or_else(|| "caps promise physical memory, and there is none".into())
}

/// Physical memory at an address; unmapped when it goes.
struct Shown<'b> {
    bench: &'b Bench,
    at: u64,
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        self.bench.device.unmap(self.at);
    }
}

fn show(bench: &Bench, memory: PhysicalId, access: Access) -> Result<Shown<'_>, Stop> {
    let at = bench.addresses(BYTES);
    show_at(bench, memory, at, access)
}

fn show_at(bench: &Bench, memory: PhysicalId, at: u64, access: Access) -> Result<Shown<'_>, Stop> {
    let physical = physical(bench)?;
    physical.map(memory, at, "physical memory")?;
    let shown = Shown { bench, at };
    physical.allow(at, access)?;
    Ok(shown)
}

fn caps_say_whether_there_is_physical_memory(bench: &Bench) -> Verdict {
    ensure!(bench.caps().physical == bench.device.physical().is_some(), "caps and device differ");
    Ok(())
}

fn physical_memory_appears_at_several_addresses(bench: &Bench) -> Verdict {
    let kernels = bench.load(KERNELS)?;
    let memory = physical(bench)?.create(BYTES)?;
    let (one, two) = (show(bench, memory, Access::ReadWrite)?, show(bench, memory, Access::ReadWrite)?);
    physical(bench)?.destroy(memory);
    same("fresh memory", &bench.read(two.at, 64)?, &[0; 64])?;
    let data = noise(1, 5000);
    bench.device.write(one.at + 100, &data)?;
    same("what was written at another address", &bench.read(two.at + 100, 5000)?, &data)?;
    bench.device.write(one.at, &7u32.to_le_bytes())?;
    bench.run(launch(kernels.launch("add", Params::new().u64(two.at).u32(5))?))?;
    same("what a kernel wrote at another address", &bench.read(one.at, 4)?, &12u32.to_le_bytes())
}

fn physical_memory_without_access_is_not_copied(bench: &Bench) -> Verdict {
    let memory = physical(bench)?.create(BYTES)?;
    let shown = show(bench, memory, Access::None)?;
    physical(bench)?.destroy(memory);
    bench.needs(bench.caps().survives_faults, "faults that are survived")?;
    let illegal = &[ErrorKind::IllegalAddress];
    refused("a read", bench.device.read(shown.at, &mut [0]), illegal)?;
    refused("a write", bench.device.write(shown.at, &[1]), illegal)?;
    physical(bench)?.allow(shown.at, Access::ReadWrite)?;
    same("memory that may be read now", &bench.read(shown.at, 1)?, &[0])
}

fn physical_memory_that_may_be_read_is_not_written(bench: &Bench) -> Verdict {
    let memory = physical(bench)?.create(BYTES)?;
    let (shown, other) = (show(bench, memory, Access::Read)?, show(bench, memory, Access::ReadWrite)?);
    physical(bench)?.destroy(memory);
    bench.device.write(other.at, &[5])?;
    same("memory that may be read", &bench.read(shown.at, 1)?, &[5])?;
    bench.needs(bench.caps().survives_faults, "faults that are survived")?;
    refused("a write", bench.device.write(shown.at, &[1]), &[ErrorKind::IllegalAddress])?;
    same("memory that may be read", &bench.read(shown.at, 1)?, &[5])
}

fn kernels_fault_where_access_is_not_allowed(bench: &Bench) -> Verdict {
    bench.needs(bench.caps().survives_faults, "faults that are survived")?;
    let kernels = bench.load(KERNELS)?;
    let memory = physical(bench)?.create(BYTES)?;
    let shown = show(bench, memory, Access::ReadWrite)?;
    physical(bench)?.destroy(memory);
    for access in [Access::None, Access::Read] {
        physical(bench)?.allow(shown.at, access)?;
        let run = bench.run_raw(launch(kernels.launch("add", Params::new().u64(shown.at).u32(5))?));
        refused("a kernel that writes", run, &[ErrorKind::IllegalAddress])?;
    }
    physical(bench)?.allow(shown.at, Access::ReadWrite)?;
    same("memory that faults spared", &bench.read(shown.at, 4)?, &[0; 4])
}

fn physical_memory_goes_with_its_last_mapping(bench: &Bench) -> Verdict {
    let most = bench.caps().memory / BYTES * BYTES;
    for _ in 0..3 {
        let memory = physical(bench)?.create(most / 2 / BYTES * BYTES)?;
        let at = bench.addresses(most);
        physical(bench)?.map(memory, at, "half of all")?;
        physical(bench)?.allow(at, Access::ReadWrite)?;
        physical(bench)?.destroy(memory);
        let written = bench.device.write(at, &[1, 2, 3]);
        let got = bench.read(at, 3);
        bench.device.unmap(at);
        written?;
        same("memory whose id is gone", &got?, &[1, 2, 3])?;
    }
    Ok(())
}

fn copies_cross_from_one_mapping_to_the_next(bench: &Bench) -> Verdict {
    let physical = physical(bench)?;
    let (one, two) = (physical.create(BYTES)?, physical.create(BYTES)?);
    let at = bench.addresses(2 * BYTES);
    let _first = show_at(bench, one, at, Access::ReadWrite)?;
    let _second = show_at(bench, two, at + BYTES, Access::ReadWrite)?;
    physical.destroy(one);
    physical.destroy(two);
    let data = noise(3, 10_000);
    bench.device.write(at + BYTES - 5000, &data)?;
    same("what crosses two mappings", &bench.read(at + BYTES - 5000, 10_000)?, &data)
}

fn wrong_requests_for_physical_memory_are_refused(bench: &Bench) -> Verdict {
    let physical = physical(bench)?;
    let wrong = &[ErrorKind::InvalidRequest];
    refused("no bytes", physical.create(0), wrong)?;
    refused("a size between two units", physical.create(BYTES + 1), wrong)?;
    let most = (bench.caps().memory + 1).next_multiple_of(BYTES);
    refused("more than there is", physical.create(most), &[ErrorKind::OutOfMemory])?;
    let memory = physical.create(BYTES)?;
    let shown = show(bench, memory, Access::ReadWrite)?;
    refused("a mapping over another", physical.map(memory, shown.at, "again"), wrong)?;
    physical.destroy(memory);
    refused("memory that is gone", physical.map(memory, bench.addresses(BYTES), "gone"), wrong)?;
    refused("access where nothing is", physical.allow(shown.at + BYTES, Access::Read), wrong)?;
    refused("exposing nothing", physical.expose(bench.addresses(BYTES), BYTES), wrong)
}

fn exposed_memory_stays_and_is_shared(bench: &Bench) -> Verdict {
    let physical = physical(bench)?;
    let (at, granularity) = (bench.addresses(BYTES), bench.caps().map_granularity);
    let small = 1000u64.next_multiple_of(granularity);
    let data = noise(9, small as usize);
    bench.device.map(at, small, "exposed")?;
    bench.device.write(at, &data)?;
    let exposed = physical.expose(at, BYTES);
    let checked = exposed.map_err(Stop::from).and_then(|memory| {
        let other = show(bench, memory, Access::ReadWrite)?;
        same("exposed memory where it was", &bench.read(at, data.len())?, &data)?;
        same("exposed memory elsewhere", &bench.read(other.at, data.len())?, &data)?;
        bench.device.write(other.at + 3, &[1, 2, 3])?;
        same("what was written elsewhere", &bench.read(at + 3, 3)?, &[1, 2, 3])?;
        physical.destroy(memory);
        let again = physical.expose(at, BYTES)?;
        let third = show(bench, again, Access::ReadWrite)?;
        physical.destroy(again);
        same("memory exposed twice", &bench.read(third.at + 3, 3)?, &[1, 2, 3])
    });
    bench.device.unmap(at);
    checked
}

fn memory_that_comes_into_an_exposed_range_is_zeroed(bench: &Bench) -> Verdict {
    let physical = physical(bench)?;
    let at = bench.addresses(BYTES);
    let small = 8192u64.next_multiple_of(bench.caps().map_granularity);
    bench.needs(2 * small <= BYTES, "small mappings")?;
    bench.device.map(at, small, "first")?;
    let exposed = physical.expose(at, BYTES);
    let checked = exposed.map_err(Stop::from).and_then(|memory| {
        let other = show(bench, memory, Access::ReadWrite)?;
        physical.destroy(memory);
        bench.device.write(other.at + small, &[7; 100])?;
        bench.device.map(at + small, small, "second")?;
        let checked = bench.read(at + small, 100).and_then(|got| {
            same("new memory in an exposed range", &got, &[0; 100])?;
            bench.device.write(at + small, &[8; 4])?;
            same("the same elsewhere", &bench.read(other.at + small, 4)?, &[8; 4])
        });
        bench.device.unmap(at + small);
        checked
    });
    bench.device.unmap(at);
    checked
}

fn memory_becomes_that_of_a_file(bench: &Bench) -> Verdict {
    let physical = physical(bench)?;
    bench.needs(physical.has_host_files(), "files of the host's memory")?;
    let memory = physical.create(BYTES)?;
    let other = show(bench, memory, Access::ReadWrite)?;
    bench.device.write(other.at + 3, &[1, 2, 3])?;
    let (at, file) = (bench.addresses(BYTES), physical.export(memory)?);
    physical.destroy(memory);
    let small = 8192u64.next_multiple_of(bench.caps().map_granularity);
    bench.device.map(at, small, "of a file")?;
    bench.device.write(at, &[9; 100])?;
    let same_file = physical.expose_as(at, BYTES, file).and_then(|()| physical.expose(at, BYTES));
    let checked = same_file.map_err(Stop::from).and_then(|again| {
        let third = show(bench, again, Access::ReadWrite)?;
        physical.destroy(again);
        same("what the file held", &bench.read(at, 8)?, &[0, 0, 0, 1, 2, 3, 0, 0])?;
        bench.device.write(at + 5, &[7])?;
        same("what was written there", &bench.read(other.at + 3, 3)?, &[1, 2, 7])?;
        same("the same, exposed again", &bench.read(third.at + 3, 3)?, &[1, 2, 7])
    });
    bench.device.unmap(at);
    checked
}

fn a_file_stands_for_physical_memory(bench: &Bench) -> Verdict {
    let physical = physical(bench)?;
    let memory = physical.create(BYTES)?;
    let one = show(bench, memory, Access::ReadWrite)?;
    let file = physical.export(memory)?;
    physical.destroy(memory);
    let (imported, bytes) = physical.import(file)?;
    ensure!(bytes == BYTES, "{bytes} bytes were imported");
    let two = show(bench, imported, Access::ReadWrite)?;
    physical.destroy(imported);
    bench.device.write(one.at + 77, &[4, 5, 6])?;
    same("imported memory", &bench.read(two.at + 77, 3)?, &[4, 5, 6])
}

fn a_file_of_known_size_stands_for_its_memory(bench: &Bench) -> Verdict {
    let physical = physical(bench)?;
    let memory = physical.create(BYTES)?;
    let one = show(bench, memory, Access::ReadWrite)?;
    let (file, again) = (physical.export(memory)?, physical.export(memory)?);
    physical.destroy(memory);
    let imported = physical.import_known(file, BYTES)?;
    let two = show(bench, imported, Access::ReadWrite)?;
    physical.destroy(imported);
    bench.device.write(one.at + 77, &[4, 5, 6])?;
    same("imported memory", &bench.read(two.at + 77, 3)?, &[4, 5, 6])?;
    // A device that cannot tell sees it when all of it is to be mapped.
    let Ok(longer) = physical.import_known(again, 2 * BYTES) else { return Ok(()) };
    let at = bench.addresses(2 * BYTES);
    let mapped = physical.map(longer, at, "longer than it is");
    physical.destroy(longer);
    ensure!(mapped.is_err(), "twice as much memory as there is was mapped");
    Ok(())
}

fn files_that_are_no_memory_are_refused(bench: &Bench) -> Verdict {
    let physical = physical(bench)?;
    let file = std::fs::File::open("/dev/null").map_err(|e| format!("/dev/null: {e}"))?;
    refused("a file that is no memory", physical.import(file.into()), &[ErrorKind::InvalidRequest])
}
