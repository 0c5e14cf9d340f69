//! Module variables in memory.

use super::memory::{Memory, MemoryFault};
use super::space::{SHARED_WINDOW, function_address};
use crate::attr::Space;
use crate::ir::{Global, Module, RelocationTarget};

/// Gives every variable of `global` and `const` space an address by calling `alloc`, and writes the initial values.
/// The list is indexed by `GlobalId`; shared variables have their offset, which is 0 until a kernel is chosen.
pub fn place_globals(
    module: &Module,
    mut alloc: impl FnMut(&Global) -> u64,
    memory: &mut dyn Memory,
) -> Result<Vec<u64>, MemoryFault> {
    let addresses: Vec<u64> =
        module.globals.iter().map(|g| if g.space == Space::Shared { 0 } else { alloc(g) }).collect();
    for (global, &address) in module.globals.iter().zip(&addresses) {
        if global.space != Space::Shared {
            write_initial(module, global, address, &addresses, memory)?;
        }
    }
    Ok(addresses)
}

/// The bytes that a variable begins with, given where all variables are.
pub fn initial_image(module: &Module, global: &Global, addresses: &[u64]) -> Vec<u8> {
    let mut image = beginning(module, global, addresses);
    image.resize(global.size as usize, 0);
    image
}

/// The bytes up to the last one that an initial value gives.
fn beginning(module: &Module, global: &Global, addresses: &[u64]) -> Vec<u8> {
    let mut image = global.init.clone();
    let ends = global.relocations.iter().map(|r| r.offset.saturating_add(r.size.into()));
    let end = ends.max().unwrap_or(0).max(image.len() as u64).min(global.size);
    image.resize(end as usize, 0);
    for r in &global.relocations {
        let target = match r.target {
            RelocationTarget::Func(f) => function_address(f.index()),
            RelocationTarget::Global(g) => {
                let shared = r.generic && module.globals.get(g.index()).is_some_and(|g| g.space == Space::Shared);
                addresses.get(g.index()).copied().unwrap_or(0) + if shared { SHARED_WINDOW } else { 0 }
            }
        };
        let value = target.wrapping_add_signed(r.addend).checked_shr(r.shift.into()).unwrap_or(0).to_le_bytes();
        let size = usize::from(r.size.min(8));
        if let Some(place) = usize::try_from(r.offset).ok().and_then(|o| image.get_mut(o..o.checked_add(size)?)) {
            place.copy_from_slice(&value[..size]);
        }
    }
    image
}

/// Zeros are written in pieces of this size.
const ZEROS: usize = 1 << 16;

fn write_initial(
    module: &Module,
    global: &Global,
    address: u64,
    addresses: &[u64],
    memory: &mut dyn Memory,
) -> Result<(), MemoryFault> {
    let image = beginning(module, global, addresses);
    if !image.is_empty() {
        memory.write(address, &image)?;
    }
    let mut at = image.len() as u64;
    while at < global.size {
        let piece = ZEROS.min((global.size - at) as usize);
        memory.write(address.wrapping_add(at), &[0; ZEROS][..piece])?;
        at += piece as u64;
    }
    Ok(())
}
