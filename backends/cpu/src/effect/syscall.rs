//! Library calls that every device provides.

use super::{Call, lanes};
use crate::job::Said;
use crate::trouble::Trouble;
use hetir::attr::{Space, Syscall};
use hetir::interp::FaultKind;
use hetir::printf::{Argument, format};

/// Longest string that is read.
const MAX_STRING: usize = 1 << 16;

type Done = Result<(), Box<Trouble>>;

pub(super) fn syscall(call: &mut Call<'_>) -> Done {
    match call.attr::<Syscall>() {
        Syscall::Vprintf => vprintf(call),
        Syscall::Malloc => {
            for lane in lanes(call.lanes) {
                let heap = call.strand.job().heap.as_ref();
                let bytes = call.arg(0, lane);
                let address = heap.map_or(0, |h| h.lock().unwrap_or_else(|e| e.into_inner()).alloc(bytes));
                call.set(0, lane, address);
            }
            Ok(())
        }
        Syscall::Free => {
            for lane in lanes(call.lanes) {
                let address = call.arg(0, lane);
                let heap = call.strand.job().heap.as_ref();
                let freed = heap.is_some_and(|h| h.lock().unwrap_or_else(|e| e.into_inner()).free(address));
                if address != 0 && !freed {
                    let message = format!("free of {address:#x}, which is no allocation");
                    return Err(Trouble::new(FaultKind::BadOperand, lane, message));
                }
            }
            Ok(())
        }
        Syscall::AssertFail => assert_fail(call),
    }
}

/// The bytes up to a zero.
fn string(call: &Call<'_>, lane: usize, address: u64) -> Result<Vec<u8>, Box<Trouble>> {
    // Found first and allocated then: a fault on the way would leak what is held.
    let mut length = 0;
    let mut byte = [1];
    while length < MAX_STRING {
        call.strand.read(lane, Space::Generic, address.wrapping_add(length as u64), &mut byte)?;
        if byte[0] == 0 {
            break;
        }
        length += 1;
    }
    let mut text = vec![0; length];
    call.strand.read(lane, Space::Generic, address, &mut text)?;
    Ok(text)
}

fn vprintf(call: &mut Call<'_>) -> Done {
    for lane in lanes(call.lanes) {
        let (text, mut at) = (call.arg(0, lane), call.arg(1, lane));
        if text == 0 {
            call.set(0, lane, u64::from(u32::MAX));
            continue;
        }
        let text = string(call, lane, text)?;
        let (out, count) = format(&text, |argument| {
            let size = match argument {
                Argument::Word => 4,
                Argument::Long | Argument::Float | Argument::Text => 8,
            };
            at = at.next_multiple_of(size);
            let mut bytes = [0; 8];
            call.strand.read(lane, Space::Generic, at, &mut bytes[..size as usize])?;
            at = at.wrapping_add(size);
            let value = u64::from_le_bytes(bytes);
            let text = if argument == Argument::Text { string(call, lane, value)? } else { Vec::new() };
            Ok::<_, Box<Trouble>>((value, text))
        })?;
        call.strand.job().say(Said::Printed(out));
        call.set(0, lane, u64::from(count));
    }
    Ok(())
}

fn assert_fail(call: &Call<'_>) -> Done {
    let job = call.strand.job();
    let warp = call.strand.warp();
    let mut first = None;
    for lane in lanes(call.lanes) {
        let text = |n: usize| -> Result<String, Box<Trouble>> {
            Ok(String::from_utf8_lossy(&string(call, lane, call.arg(n, lane))?).into_owned())
        };
        let (message, file, function) = (text(0)?, text(1)?, text(3)?);
        let [a, b, c] = warp.cta;
        let number = call.strand.lane().unwrap_or(lane as u32);
        let [x, y, z] = job.thread_index(warp.warp * 32 + number);
        let line = format!(
            "{file}:{}: {function}: block: [{a},{b},{c}], thread: [{x},{y},{z}] Assertion `{message}` failed.",
            call.arg(2, lane) as u32
        );
        job.say(Said::Complained(format!("{line}\n").into_bytes()));
        first.get_or_insert(line);
    }
    let lane = call.lanes.trailing_zeros() as usize & 31;
    Err(Trouble::new(FaultKind::AssertFail, lane, first.unwrap_or_default()))
}
