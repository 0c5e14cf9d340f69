//! Where a kernel's shared variables lie in a block's shared memory.

use crate::attr::Space;
use crate::entity::FuncId;
use crate::ir::{Module, RelocationTarget};
use crate::op::Op;
use std::collections::HashMap;

/// Offsets of the shared variables that a kernel, or a function that it may call, refers to.
#[derive(Clone, Debug, Default)]
pub struct SharedLayout {
    offsets: HashMap<usize, u64>,
    /// Bytes of the variables of known size.
    pub static_bytes: u64,
    /// Where the open-ended `extern` arrays begin, all at the same place.
    pub dynamic_offset: u64,
}

/// Dynamic shared memory begins at a multiple of this, as `extern` arrays of any vector type may be laid over it.
const DYNAMIC_ALIGN: u64 = 16;

impl SharedLayout {
    /// The layout for a kernel.
    pub fn of(module: &Module, kernel: FuncId) -> Self {
        let mut used = vec![false; module.globals.len()];
        let mut seen = vec![false; module.functions.len()];
        let mut work = vec![kernel.index()];
        // A function whose address stands in a variable may be called from wherever an address is called.
        let in_memory = module.globals.iter().flat_map(|g| &g.relocations).filter_map(|r| match r.target {
            RelocationTarget::Func(f) => Some(f.index()),
            RelocationTarget::Global(_) => None,
        });
        while let Some(f) = work.pop() {
            if seen.get(f).is_none_or(|&s| s) {
                continue;
            }
            seen[f] = true;
            let Some(body) = &module.functions[f].body else { continue };
            for inst in body.blocks.iter().flat_map(|b| &b.insts) {
                let data = body.inst(*inst);
                match data.op {
                    Op::Call | Op::FuncAddr => work.push(data.imm as usize),
                    Op::CallIndirect => work.extend(in_memory.clone()),
                    Op::GlobalAddr => {
                        if let Some(u) = used.get_mut(data.imm as usize) {
                            *u = true;
                        }
                    }
                    _ => {}
                }
            }
        }
        let mut layout = Self::default();
        let mut open = Vec::new();
        let mut open_align = DYNAMIC_ALIGN;
        for (id, g) in module.globals.iter().enumerate().filter(|(id, g)| g.space == Space::Shared && used[*id]) {
            let align = u64::from(g.align.max(1));
            if g.size == 0 {
                open.push(id);
                open_align = open_align.max(align);
            } else {
                let offset = layout.static_bytes.next_multiple_of(align);
                layout.offsets.insert(id, offset);
                layout.static_bytes = offset.saturating_add(g.size);
            }
        }
        layout.dynamic_offset = layout.static_bytes.checked_next_multiple_of(open_align).unwrap_or(u64::MAX);
        layout.offsets.extend(open.into_iter().map(|id| (id, layout.dynamic_offset)));
        layout
    }
    /// Where a variable begins; `None` where it is not shared or the kernel does not refer to it.
    pub fn offset(&self, global: usize) -> Option<u64> {
        self.offsets.get(&global).copied()
    }
    /// Bytes that a block needs with so much dynamic shared memory.
    pub fn total(&self, dynamic: u32) -> u64 {
        if dynamic == 0 && !self.offsets.values().any(|&o| o == self.dynamic_offset) {
            self.static_bytes
        } else {
            self.dynamic_offset.saturating_add(dynamic.into())
        }
    }
}
