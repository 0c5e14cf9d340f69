//! Which addresses of constant memory stay inside of the instructions that read it. Those are the hardware's, in variables
//! that the text declares; all others are logical ones, and what they point to is read from global memory.

use hetir::analysis::cfg::Cfg;
use hetir::attr::Space;
use hetir::entity::Value;
use hetir::ir::{Body, Def, Module};
use hetir::op::Op;

/// Values that come from each other, and what is known of all of them together.
struct Families {
    parent: Vec<usize>,
    /// The variable that all begin at; `None` where there is none yet.
    variable: Vec<Option<usize>>,
    /// Some is used as a number, or comes from elsewhere.
    escapes: Vec<bool>,
}

impl Families {
    fn find(&mut self, value: usize) -> usize {
        let mut at = value;
        while self.parent[at] != at {
            self.parent[at] = self.parent[self.parent[at]];
            at = self.parent[at];
        }
        at
    }
    fn join(&mut self, a: Value, b: Value) {
        let (a, b) = (self.find(a.index()), self.find(b.index()));
        if a == b {
            return;
        }
        self.parent[b] = a;
        self.escapes[a] |= self.escapes[b];
        match (self.variable[a], self.variable[b]) {
            (Some(x), Some(y)) if x != y => self.escapes[a] = true,
            (None, other) => self.variable[a] = other,
            _ => {}
        }
    }
    fn escape(&mut self, value: Value) {
        let root = self.find(value.index());
        self.escapes[root] = true;
    }
}

/// For each value the constant variable whose native address it holds, plus any number.
pub(super) fn native(module: &Module, body: &Body) -> Vec<Option<usize>> {
    let count = body.values.len();
    let is_constant =
        |imm: u64| module.globals.get(imm as usize).is_some_and(|g| g.space == Space::Const && g.opaque.is_none());
    let insts = || body.blocks.iter().flat_map(|b| &b.insts).copied();
    if !insts().any(|i| body.inst(i).op == Op::GlobalAddr && is_constant(body.inst(i).imm)) {
        return vec![None; count];
    }
    let mut families =
        Families { parent: (0..count).collect(), variable: vec![None; count], escapes: vec![false; count] };
    for inst in insts().filter(|i| body.inst(*i).op == Op::GlobalAddr && is_constant(body.inst(*i).imm)) {
        families.variable[body.results(inst)[0].index()] = Some(body.inst(inst).imm as usize);
    }
    // Sums belong to the operand that is an address, which is known in the order of the graph but for what goes back; an
    // address on both sides is a number.
    let cfg = Cfg::of(body);
    let mut addresses: Vec<bool> = families.variable.iter().map(Option::is_some).collect();
    let mut changed = true;
    while changed {
        changed = false;
        let mut mark = |value: Value, addresses: &mut Vec<bool>| {
            changed |= !std::mem::replace(&mut addresses[value.index()], true);
        };
        for &block in cfg.order() {
            for &inst in &body.blocks[block.index()].insts {
                let args = body.args(inst);
                let is = |n: usize, addresses: &[bool]| addresses[args[n].index()];
                let from = match body.inst(inst).op {
                    Op::IAdd => is(0, &addresses) || is(1, &addresses),
                    Op::ISub => is(0, &addresses),
                    Op::Select => is(1, &addresses) || is(2, &addresses),
                    Op::Bitcast => is(0, &addresses),
                    _ => false,
                };
                if from {
                    mark(body.results(inst)[0], &mut addresses);
                }
                for target in body.targets(inst) {
                    let params = &body.blocks[target.block.index()].params;
                    for (param, arg) in params.iter().zip(body.target_args(*target)) {
                        if addresses[arg.index()] {
                            mark(*param, &mut addresses);
                        }
                    }
                }
            }
        }
    }
    for inst in insts() {
        let (data, args) = (body.inst(inst), body.args(inst));
        let is = |v: &Value| addresses[v.index()];
        let mut escape_all = || args.iter().filter(|v| is(v)).for_each(|v| families.escape(*v));
        match data.op {
            Op::IAdd if args.iter().filter(|v| is(v)).count() == 1 => {
                let address = if is(&args[0]) { args[0] } else { args[1] };
                families.join(address, body.results(inst)[0]);
            }
            Op::ISub if is(&args[0]) && !is(&args[1]) => families.join(args[0], body.results(inst)[0]),
            Op::Select if is(&args[1]) && is(&args[2]) => {
                families.join(args[1], args[2]);
                families.join(args[1], body.results(inst)[0]);
            }
            Op::Load if data.attr::<Space>() == Space::Const => {}
            Op::IAdd | Op::ISub | Op::Select | Op::Bitcast => {
                escape_all();
                body.results(inst).iter().filter(|v| is(v)).for_each(|v| families.escape(*v));
            }
            _ => escape_all(),
        }
        for target in body.targets(inst) {
            let params = &body.blocks[target.block.index()].params;
            for (param, arg) in params.iter().zip(body.target_args(*target)) {
                match (is(param), is(arg)) {
                    (true, true) => families.join(*param, *arg),
                    (true, false) => families.escape(*param),
                    _ => {}
                }
            }
        }
    }
    (0..count)
        .map(|n| {
            let root = families.find(n);
            let known = matches!(body.values[n].def, Def::Result(_) | Def::Param(_));
            families.variable[root].filter(|_| known && addresses[n] && !families.escapes[root])
        })
        .collect()
}
