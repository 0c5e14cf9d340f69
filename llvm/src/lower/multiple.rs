//! By which power of two uniform values, and the bases of affine ones, can be divided.
//!
//! An index that begins at a multiple of 32 in each warp, and grows by such, never leaves its range inside of a warp: it can be
//! made wider without looking whether it does. LLVM sees that in simple loops alone.

use super::shape::{Shape, sreg_offsets};
use hetir::analysis::cfg::Cfg;
use hetir::attr::{Sat, Sreg};
use hetir::entity::{Inst, Value};
use hetir::ir::Body;
use hetir::op::Op;

/// What nothing is known of yet, and zero, can be divided by anything.
const ALL: u32 = u64::BITS;

/// By value: that many bits at its lower end are zero, or all bits that it has.
pub(super) struct Multiples(Vec<u32>);

impl Multiples {
    pub(super) fn of(body: &Body, cfg: &Cfg, block: [u32; 3], shape: impl Fn(Value) -> Shape) -> Self {
        let mut multiples = Self(vec![ALL; body.values.len()]);
        if let Some(entry) = cfg.order().first() {
            body.blocks[entry.index()].params.iter().for_each(|p| multiples.0[p.index()] = 0);
        }
        loop {
            let mut changed = false;
            let mut lower = |multiples: &mut Self, value: Value, bits: u32| {
                let known = &mut multiples.0[value.index()];
                changed |= bits < *known;
                *known = bits.min(*known);
            };
            for inst in cfg.order().iter().flat_map(|b| &body.blocks[b.index()].insts).copied() {
                for &result in body.results(inst) {
                    let bits = match (body.results(inst).len(), shape(result)) {
                        (1, shape_of_it @ (Shape::Uniform | Shape::Affine(_))) => {
                            // The bases of what differs from lane to lane tell nothing of a result that does not.
                            let uniform = shape_of_it == Shape::Uniform;
                            let tells = |v: &Value| !uniform || shape(*v) == Shape::Uniform;
                            if body.args(inst).iter().all(tells) { multiples.result(body, inst, block) } else { 0 }
                        }
                        _ => 0,
                    };
                    lower(&mut multiples, result, bits);
                }
                for target in body.targets(inst) {
                    let params = &body.blocks[target.block.index()].params;
                    for (&param, &arg) in params.iter().zip(body.target_args(*target)) {
                        let same = shape(param) == shape(arg);
                        let bits = if same { multiples.0[arg.index()] } else { 0 };
                        lower(&mut multiples, param, bits);
                    }
                }
            }
            if !changed {
                return multiples;
            }
        }
    }

    /// That many bits of the value, or of its base, are zero.
    pub(super) fn zero_bits(&self, value: Value) -> u32 {
        self.0[value.index()]
    }

    /// Of an instruction's one result.
    fn result(&self, body: &Body, inst: Inst, block: [u32; 3]) -> u32 {
        let data = body.inst(inst);
        let args = body.args(inst);
        let of = |n: usize| self.zero_bits(args[n]);
        let all = || args.iter().map(|a| self.zero_bits(*a)).min().unwrap_or(0);
        match data.op {
            Op::Const if data.ty.lanes == 1 => data.imm.trailing_zeros(),
            Op::Sreg => {
                // The lanes of a warp follow each other, or cover whole rows.
                let first_is_zero = match data.attr() {
                    Sreg::LaneId => true,
                    Sreg::TidX => block[0] < 32 && block[1..] != [1, 1],
                    _ => return 0,
                };
                match sreg_offsets(data.attr(), block) {
                    Some(_) if first_is_zero => ALL,
                    Some(_) => 5,
                    None => 0,
                }
            }
            Op::IAdd | Op::ISub if data.attr::<Sat>() == Sat::No && data.ty.lanes == 1 => all(),
            Op::Or | Op::Xor if data.ty.lanes == 1 => all(),
            Op::And if data.ty.lanes == 1 => of(0).max(of(1)),
            Op::IMul | Op::IMulWide if data.ty.lanes == 1 => (of(0) + of(1)).min(ALL),
            Op::Shl => match body.constant(args[1]) {
                Some(by) if by < u64::from(ALL) => (of(0) + by as u32).min(ALL),
                _ => of(0),
            },
            Op::Sext | Op::Zext | Op::Trunc if data.ty.lanes == 1 => of(0),
            Op::Select => of(1).min(of(2)),
            _ => 0,
        }
    }
}
