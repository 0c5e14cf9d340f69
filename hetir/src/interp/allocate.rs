//! Which register each value of a function has. Values that are never live together share one.
//!
//! Blocks are visited so that definitions come before uses; at each place the live values have registers of their own,
//! which for SSA form needs no more registers than the largest number of live values (Hack, Grund, Goos 2006). A
//! result may get the register of an operand that dies there: every op reads its operands before it writes.

use super::code::{Reg, width};
use crate::entity::{Block, Value};
use crate::ir::Body;

/// Where a value's bits are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Home {
    /// Nowhere: it is not used, or never defined.
    None,
    /// A constant's column.
    Constant(Reg),
    /// Where this other value's bits are.
    Same(Value),
    /// A register of its own.
    Own,
}

/// Registers by value, `u32::MAX` where there is none, and how many there are.
pub(super) fn allocate(body: &Body, order: &[Block], homes: &[Home]) -> (Vec<Reg>, u32) {
    let live = Live::new(body, order, homes);
    let mut registers =
        Registers { of: vec![Reg::MAX; body.values.len()], free: [Vec::new(), Vec::new()], pairs: Vec::new() };
    // Uses that are left in the block, by value.
    let mut left = vec![0u32; body.values.len()];
    let mut stays = vec![u32::MAX; body.values.len()];
    for &block in order {
        let b = block.index();
        registers.begin(&live.at_entry[b]);
        for &v in &live.at_exit[b] {
            stays[v.index()] = b as u32;
        }
        let used = |values: &[Value]| values.iter().filter_map(|&v| resolve(homes, v)).collect::<Vec<_>>();
        let data = &body.blocks[b];
        let uses = |inst| used(body.args(inst));
        for &inst in &data.insts {
            for v in uses(inst) {
                left[v.index()] += 1;
            }
        }
        let define = |registers: &mut Registers, left: &[u32], stays: &[u32], values: &[Value]| {
            let own: Vec<Value> = values.iter().copied().filter(|v| homes[v.index()] == Home::Own).collect();
            for &v in &own {
                registers.take(body, v);
            }
            for v in own {
                if left[v.index()] == 0 && stays[v.index()] != b as u32 {
                    registers.give(body, v);
                }
            }
        };
        define(&mut registers, &left, &stays, &data.params);
        for &inst in &data.insts {
            for v in uses(inst) {
                left[v.index()] -= 1;
                if left[v.index()] == 0 && stays[v.index()] != b as u32 {
                    registers.give(body, v);
                }
            }
            define(&mut registers, &left, &stays, body.results(inst));
        }
    }
    (registers.of, registers.pairs.len() as u32)
}

/// The value whose register holds a value's bits.
pub(super) fn resolve(homes: &[Home], v: Value) -> Option<Value> {
    let mut v = v;
    loop {
        match homes[v.index()] {
            Home::Same(other) => v = other,
            Home::Own => return Some(v),
            Home::Constant(_) | Home::None => return None,
        }
    }
}

struct Registers {
    of: Vec<Reg>,
    /// Free registers, and free pairs.
    free: [Vec<Reg>; 2],
    /// For each register whether it begins a pair; `None` for the second of a pair.
    pairs: Vec<Option<bool>>,
}

impl Registers {
    /// All are free but those of the values given.
    fn begin(&mut self, live: &[Value]) {
        let mut taken = vec![false; self.pairs.len()];
        for &v in live {
            if let Some(t) = taken.get_mut(self.of[v.index()] as usize) {
                *t = true;
            }
        }
        // The lowest register is taken first.
        let open = |pair: bool| {
            let all = (0..taken.len()).rev();
            all.filter(|&r| !taken[r] && self.pairs[r] == Some(pair)).map(|r| r as Reg).collect()
        };
        self.free = [open(false), open(true)];
    }
    fn take(&mut self, body: &Body, v: Value) {
        let pair = width(body.ty(v)) == 2;
        self.of[v.index()] = self.free[usize::from(pair)].pop().unwrap_or_else(|| {
            let r = self.pairs.len() as Reg;
            self.pairs.push(Some(pair));
            if pair {
                self.pairs.push(None);
            }
            r
        });
    }
    fn give(&mut self, body: &Body, v: Value) {
        let r = self.of[v.index()];
        if r != Reg::MAX {
            self.free[width(body.ty(v)) as usize - 1].push(r);
        }
    }
}

/// Values live where blocks begin and end, by block.
struct Live {
    at_entry: Vec<Vec<Value>>,
    at_exit: Vec<Vec<Value>>,
}

impl Live {
    /// Follows each use backwards to the definition.
    fn new(body: &Body, order: &[Block], homes: &[Home]) -> Self {
        let count = body.blocks.len();
        let mut predecessors = vec![Vec::new(); count];
        let mut defined_in = vec![u32::MAX; body.values.len()];
        // Uses by value: the block, and whether it is the block's exit.
        let mut uses: Vec<Vec<(u32, bool)>> = vec![Vec::new(); body.values.len()];
        for &block in order {
            let b = block.index() as u32;
            for s in body.successors(block) {
                predecessors[s.index()].push(b);
            }
            let data = &body.blocks[block.index()];
            let mut note = |values: &[Value], exit: bool| {
                for v in values.iter().filter_map(|&v| resolve(homes, v)) {
                    if uses[v.index()].last() != Some(&(b, exit)) {
                        uses[v.index()].push((b, exit));
                    }
                }
            };
            for &inst in &data.insts {
                note(body.args(inst), false);
                for &target in body.targets(inst) {
                    note(body.target_args(target), true);
                }
            }
            let results = data.insts.iter().flat_map(|&i| body.results(i));
            for v in data.params.iter().chain(results) {
                defined_in[v.index()] = b;
            }
        }
        let mut live = Self { at_entry: vec![Vec::new(); count], at_exit: vec![Vec::new(); count] };
        // The last value found live at a block's entry and exit.
        let mut entry_mark = vec![u32::MAX; count];
        let mut exit_mark = vec![u32::MAX; count];
        let mut work = Vec::new();
        for (v, places) in uses.iter().enumerate() {
            let value = Value::new(v);
            work.extend_from_slice(places);
            while let Some((b, exit)) = work.pop() {
                let at = b as usize;
                if exit {
                    if exit_mark[at] == v as u32 {
                        continue;
                    }
                    exit_mark[at] = v as u32;
                    live.at_exit[at].push(value);
                }
                if defined_in[v] != b && entry_mark[at] != v as u32 {
                    entry_mark[at] = v as u32;
                    live.at_entry[at].push(value);
                    work.extend(predecessors[at].iter().map(|&p| (p, true)));
                }
            }
        }
        live
    }
}
