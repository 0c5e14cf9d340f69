//! Library calls that every device provides.

use super::memory::Kind;
use super::{Next, Step, Trouble, lanes, trouble};
use crate::attr::{Space, Syscall};
use crate::interp::FaultKind;
use crate::printf::{Argument, format};

/// Longest string that is read.
const MAX_STRING: usize = 1 << 16;

pub(super) fn syscall(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    match step.attr::<Syscall>() {
        Syscall::Vprintf => vprintf(step)?,
        Syscall::Malloc => {
            let sizes = step.arg(0);
            for lane in lanes(step.lanes) {
                let address = step.env.heap.as_mut().map_or(0, |h| h.alloc(sizes[lane]));
                step.set(0, lane, address);
            }
        }
        Syscall::Free => {
            let addresses = step.arg(0);
            for lane in lanes(step.lanes).filter(|&l| addresses[l] != 0) {
                if !step.env.heap.as_mut().is_some_and(|h| h.free(addresses[lane])) {
                    let message = format!("free of {:#x}, which is no allocation", addresses[lane]);
                    return trouble(FaultKind::BadOperand, lane as u32, message);
                }
            }
        }
        Syscall::AssertFail => return assert_fail(step),
    }
    Ok(Next::Advance)
}

/// The bytes up to a zero.
fn string(step: &mut Step<'_, '_>, lane: usize, address: u64) -> Result<Vec<u8>, Box<Trouble>> {
    let mut text = Vec::new();
    while text.len() < MAX_STRING {
        let mut byte = [0];
        step.read_space(lane, Space::Generic, address.wrapping_add(text.len() as u64), &mut byte, Kind::Read)?;
        if byte[0] == 0 {
            break;
        }
        text.push(byte[0]);
    }
    Ok(text)
}

fn print(step: &mut Step<'_, '_>, text: &[u8]) {
    if let Some(print) = &mut step.env.print {
        print(text);
    }
}

fn vprintf(step: &mut Step<'_, '_>) -> Result<(), Box<Trouble>> {
    let (formats, arguments) = (step.arg(0), step.arg(1));
    for lane in lanes(step.lanes) {
        if formats[lane] == 0 {
            step.set(0, lane, u64::from(u32::MAX));
            continue;
        }
        let text = string(step, lane, formats[lane])?;
        let mut at = arguments[lane];
        let (out, count) = format(&text, |argument| {
            let size = match argument {
                Argument::Word => 4,
                Argument::Long | Argument::Float | Argument::Text => 8,
            };
            at = at.next_multiple_of(size);
            let mut bytes = [0; 8];
            step.read_space(lane, Space::Generic, at, &mut bytes[..size as usize], Kind::Read)?;
            at = at.wrapping_add(size);
            let value = u64::from_le_bytes(bytes);
            let text = if argument == Argument::Text { string(step, lane, value)? } else { Vec::new() };
            Ok::<_, Box<Trouble>>((value, text))
        })?;
        print(step, &out);
        step.set(0, lane, u64::from(count));
    }
    Ok(())
}

fn assert_fail(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    let (messages, files, numbers, functions) = (step.arg(0), step.arg(1), step.arg(2), step.arg(3));
    let mut first = None;
    for lane in lanes(step.lanes) {
        let mut text = |address: u64| -> Result<String, Box<Trouble>> {
            Ok(String::from_utf8_lossy(&string(step, lane, address)?).into_owned())
        };
        let (message, file, function) = (text(messages[lane])?, text(files[lane])?, text(functions[lane])?);
        let [a, b, c] = step.block.index;
        let [x, y, z] = step.env.thread_index(step.warp.id * 32 + lane as u32);
        let line = format!(
            "{file}:{}: {function}: block: [{a},{b},{c}], thread: [{x},{y},{z}] Assertion `{message}` failed.",
            numbers[lane] as u32
        );
        let text = format!("{line}\n");
        match &mut step.env.complain {
            Some(complain) => complain(text.as_bytes()),
            None => print(step, text.as_bytes()),
        }
        first.get_or_insert(line);
    }
    trouble(FaultKind::AssertFail, step.lanes.trailing_zeros(), first.unwrap_or_default())
}
