use super::bench::{Bench, host, line, noise, refused, same};
use super::{Check, Stop, Verdict, checks};
use crate::{ErrorKind, Fill, HostBuffer, Pattern, Place, Shape, Transfer, Work};

checks! {
    lines_in_all_directions
    rows_and_slices_to_the_device
    rows_and_slices_to_the_host
    rows_and_slices_within_the_device
    a_line_that_overlaps_itself_is_read_first
    copies_of_nothing_do_nothing
    host_to_host_is_refused
    copies_beyond_a_host_span_are_refused
    copies_past_the_last_address_are_refused
    patterns_of_every_length
    long_fills
    fills_of_rows
    fills_that_are_not_aligned_are_refused
}

/// Bytes around what is copied that must stay.
const GUARD: u8 = 0xa5;

fn lines_in_all_directions(bench: &Bench) -> Verdict {
    for bytes in [1, 3, 16, 4097, (3 << 20) + 5] {
        let data = noise(bytes as u32, bytes);
        let from = HostBuffer::from(data.clone());
        let (first, second) = (bench.map(bytes as u64 + 2)?, bench.map(bytes as u64 + 2)?);
        bench.device.write(second.at, &vec![GUARD; bytes + 2])?;
        let queue = bench.queue()?;
        queue.submit(line(Place::Device(first.at), Place::Host(from.span()), bytes as u64))?;
        queue.submit(line(Place::Device(second.at + 1), Place::Device(first.at), bytes as u64))?;
        let to = host(bytes)?;
        queue.run(line(Place::Host(to.span()), Place::Device(second.at + 1), bytes as u64))?;
        same("there and back", &to.to_vec(), &data)?;
        let got = bench.read(second.at, bytes + 2)?;
        same("with what lies around", &got, &[&[GUARD], data.as_slice(), &[GUARD]].concat())?;
    }
    Ok(())
}

/// 7 bytes a row, 3 rows a slice, 2 slices, with different gaps on both sides.
const BOX: Shape = Shape { row: 7, rows: 3, slices: 2, from_pitch: 10, to_pitch: 16, from_slice: 37, to_slice: 64 };
const ROOM: usize = 128;

/// What `BOX` makes of guards when it copies `from`.
fn boxed(from: &[u8]) -> Vec<u8> {
    let mut to = vec![GUARD; ROOM];
    for slice in 0..2 {
        for row in 0..3 {
            let (to_at, from_at) = (slice * 64 + row * 16, slice * 37 + row * 10);
            to[to_at..to_at + 7].copy_from_slice(&from[from_at..from_at + 7]);
        }
    }
    to
}

fn rows_and_slices_to_the_device(bench: &Bench) -> Verdict {
    let data = noise(1, ROOM);
    let to = bench.filled(&[GUARD; ROOM])?;
    let from = HostBuffer::from(data.clone());
    let transfer = Transfer { to: Place::Device(to.at), from: Place::Host(from.span()), shape: BOX };
    bench.run(Work::Copy(transfer))?;
    same("rows to the device", &bench.read(to.at, ROOM)?, &boxed(&data))
}

fn rows_and_slices_to_the_host(bench: &Bench) -> Verdict {
    let data = noise(2, ROOM);
    let from = bench.filled(&data)?;
    let to = HostBuffer::from(vec![GUARD; ROOM]);
    let transfer = Transfer { to: Place::Host(to.span()), from: Place::Device(from.at), shape: BOX };
    bench.run(Work::Copy(transfer))?;
    same("rows to the host", &to.to_vec(), &boxed(&data))
}

fn rows_and_slices_within_the_device(bench: &Bench) -> Verdict {
    let data = noise(3, ROOM);
    let (from, to) = (bench.filled(&data)?, bench.filled(&[GUARD; ROOM])?);
    bench.run(Work::Copy(Transfer { to: Place::Device(to.at), from: Place::Device(from.at), shape: BOX }))?;
    same("rows within the device", &bench.read(to.at, ROOM)?, &boxed(&data))?;
    same("their source", &bench.read(from.at, ROOM)?, &data)
}

fn a_line_that_overlaps_itself_is_read_first(bench: &Bench) -> Verdict {
    for bytes in [9usize, 4096, 300_000, (2 << 20) + 3] {
        let data = noise(4, bytes);
        for distance in [1, 8, 4093].into_iter().filter(|&distance| distance < bytes) {
            let part = bytes - distance;
            let memory = bench.filled(&data)?;
            let (low, high) = (Place::Device(memory.at), Place::Device(memory.at + distance as u64));
            bench.run(line(high.clone(), low.clone(), part as u64))?;
            let got = bench.read(memory.at, bytes)?;
            same("upwards", &got, &[&data[..distance], &data[..part]].concat())?;
            bench.device.write(memory.at, &data)?;
            bench.run(line(low, high, part as u64))?;
            let got = bench.read(memory.at, bytes)?;
            same("downwards", &got, &[&data[distance..], &data[part..]].concat())?;
        }
    }
    Ok(())
}

fn copies_of_nothing_do_nothing(bench: &Bench) -> Verdict {
    let memory = bench.filled(&[GUARD; 64])?;
    let empty = HostBuffer::from(Vec::new());
    let queue = bench.queue()?;
    queue.run(line(Place::Device(memory.at), Place::Host(empty.span()), 0))?;
    queue.run(line(Place::Host(empty.span()), Place::Device(memory.at), 0))?;
    queue.run(line(Place::Device(memory.at), Place::Device(memory.at + 32), 0))?;
    for shape in [Shape { rows: 0, ..BOX }, Shape { slices: 0, ..BOX }, Shape { row: 0, ..BOX }] {
        queue.run(Work::Copy(Transfer { to: Place::Device(memory.at), from: Place::Host(empty.span()), shape }))?;
    }
    queue.run(Work::Fill(Fill::line(memory.at, Pattern::byte(1), 0)))?;
    queue.run(Work::Fill(Fill { rows: 0, ..Fill::line(memory.at, Pattern::byte(1), 8) }))?;
    same("untouched memory", &bench.read(memory.at, 64)?, &[GUARD; 64])
}

fn host_to_host_is_refused(bench: &Bench) -> Verdict {
    let (to, from) = (host(16)?, host(16)?);
    let work = line(Place::Host(to.span()), Place::Host(from.span()), 16);
    refused("host to host", bench.queue()?.submit(work), &[ErrorKind::NotSupported])
}

fn copies_beyond_a_host_span_are_refused(bench: &Bench) -> Verdict {
    let memory = bench.filled(&[GUARD; 64])?;
    let small = HostBuffer::from(vec![1; 16]);
    let queue = bench.queue()?;
    let invalid = &[ErrorKind::InvalidRequest];
    refused("17 of 16 bytes", queue.submit(line(Place::Device(memory.at), Place::Host(small.span()), 17)), invalid)?;
    refused("17 into 16 bytes", queue.submit(line(Place::Host(small.span()), Place::Device(memory.at), 17)), invalid)?;
    let rows = Shape { row: 4, rows: 3, slices: 1, from_pitch: 8, to_pitch: 4, from_slice: 0, to_slice: 0 };
    let transfer = Transfer { to: Place::Device(memory.at), from: Place::Host(small.span()), shape: rows };
    refused("rows behind the end", queue.submit(Work::Copy(transfer)), invalid)?;
    queue.mark(false)?.wait()?;
    same("untouched memory", &bench.read(memory.at, 64)?, &[GUARD; 64])
}

fn copies_past_the_last_address_are_refused(bench: &Bench) -> Verdict {
    let memory = bench.map(64)?;
    let queue = bench.queue()?;
    let invalid = &[ErrorKind::InvalidRequest];
    let (to, end) = (Place::Device(memory.at), Place::Device(u64::MAX - 3));
    refused("a copy around the end", queue.submit(line(to.clone(), end, 8)), invalid)?;
    let shape = Shape { from_pitch: u64::MAX / 2, ..Shape::packed(8, 4, 1) };
    let transfer = Transfer { to, from: Place::Device(memory.at), shape };
    refused("a pitch around the end", queue.submit(Work::Copy(transfer)), invalid)?;
    let fill = Work::Fill(Fill::line(u64::MAX - 15, Pattern::byte(1), 32));
    refused("a fill around the end", queue.submit(fill), invalid)
}

fn pattern(bytes: &[u8]) -> Result<Pattern, Stop> {
    Ok(Pattern::new(bytes).ok_or("a pattern that is none")?)
}

fn patterns_of_every_length(bench: &Bench) -> Verdict {
    for length in [1usize, 2, 4, 8, 16] {
        let bytes: Vec<u8> = (1..=length as u8).map(|n| n * 15).collect();
        for count in [1usize, 2, 3, 1000, 4099] {
            let memory = bench.filled(&vec![GUARD; length * (count + 2)])?;
            let fill = Fill::line(memory.at + length as u64, pattern(&bytes)?, count as u64);
            bench.run(Work::Fill(fill))?;
            let guard = vec![GUARD; length];
            let want = [guard.clone(), bytes.repeat(count), guard].concat();
            same(&format!("{count} times {length} bytes"), &bench.read(memory.at, want.len())?, &want)?;
        }
    }
    Ok(())
}

fn long_fills(bench: &Bench) -> Verdict {
    for (length, count) in [(1usize, (5 << 20) + 3), (2, (1 << 20) + 1), (4, (1 << 20) + 1), (16, (1 << 17) + 1)] {
        let bytes: Vec<u8> = (1..=length as u8).collect();
        let memory = bench.map((length * count) as u64)?;
        bench.run(Work::Fill(Fill::line(memory.at, pattern(&bytes)?, count as u64)))?;
        same("a long fill", &bench.read(memory.at, length * count)?, &bytes.repeat(count))?;
    }
    Ok(())
}

fn fills_of_rows(bench: &Bench) -> Verdict {
    for length in [1usize, 2, 4, 8, 16] {
        let bytes: Vec<u8> = (1..=length as u8).collect();
        let pitch = length * 5;
        let memory = bench.filled(&vec![GUARD; pitch * 4])?;
        let fill = Fill { at: memory.at, pattern: pattern(&bytes)?, count: 3, rows: 4, pitch: pitch as u64 };
        bench.run(Work::Fill(fill))?;
        let want = [bytes.repeat(3), vec![GUARD; length * 2]].concat().repeat(4);
        same("filled rows", &bench.read(memory.at, want.len())?, &want)?;
    }
    Ok(())
}

fn fills_that_are_not_aligned_are_refused(bench: &Bench) -> Verdict {
    let memory = bench.map(256)?;
    let queue = bench.queue()?;
    for length in [2u64, 4, 8, 16] {
        let pattern = pattern(&vec![1; length as usize])?;
        let fill = Work::Fill(Fill::line(memory.at + length / 2, pattern, 2));
        refused("a fill between two places", queue.submit(fill), &[ErrorKind::InvalidRequest])?;
        let fill = Fill { at: memory.at, pattern, count: 1, rows: 2, pitch: length + length / 2 };
        refused("a pitch between two places", queue.submit(Work::Fill(fill)), &[ErrorKind::InvalidRequest])?;
    }
    same("untouched memory", &bench.read(memory.at, 256)?, &[0; 256])
}
