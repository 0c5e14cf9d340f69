//! Computes what follows from constants, by the ops' own definition, and drops operations that give back an operand.
//!
//! Approximate functions are left to the device: its bits may differ from the interpreter's within the bound.

use super::Renames;
use crate::analysis::cfg::Cfg;
use crate::entity::{Inst, Value};
use crate::eval::Pure;
use crate::ir::{Body, MAX_ATTRS};
use crate::op::Op;
use crate::types::Scalar;

/// Folds constants.
pub fn run(body: &mut Body) -> bool {
    let cfg = Cfg::of(body);
    let mut renames = Renames::new(body);
    let mut changed = false;
    for &block in cfg.order() {
        let insts = std::mem::take(&mut body.blocks[block.index()].insts);
        let mut kept = Vec::with_capacity(insts.len());
        for inst in insts {
            if let Some(constants) = constants(body, &renames, inst) {
                changed = true;
                for (n, bits) in constants.into_iter().enumerate() {
                    let result = body.results(inst)[n];
                    let (ty, span) = (body.ty(result), body.spans[inst.index()]);
                    let new = body.make(Op::Const, ty, [0; MAX_ATTRS], bits, &[], &[ty], span);
                    kept.push(new);
                    renames.to.push(Value::new(renames.to.len()));
                    renames.set(result, body.results(new)[0]);
                }
            } else if let Some(same) = identity(body, &renames, inst) {
                changed = true;
                renames.set(body.results(inst)[0], same);
            } else {
                kept.push(inst);
            }
        }
        body.blocks[block.index()].insts = kept;
    }
    if changed {
        renames.apply(body);
    }
    changed
}

fn constant(body: &Body, renames: &Renames, value: Value) -> Option<u64> {
    body.constant(renames.get(value))
}

/// The results' bits where all operands are constants.
fn constants(body: &Body, renames: &Renames, inst: Inst) -> Option<Vec<u64>> {
    let data = body.inst(inst);
    let args = body.args(inst);
    if matches!(data.op, Op::Const | Op::FApprox | Op::FDivApprox) {
        return None;
    }
    let operands: Vec<u128> =
        args.iter().map(|v| constant(body, renames, *v).map(u128::from)).collect::<Option<_>>()?;
    let results = body.results(inst);
    if results.iter().any(|r| body.ty(*r).scalar == Scalar::I128) {
        return None;
    }
    let pure = Pure::of(data, args.first().map_or(data.ty, |v| body.ty(*v)))?;
    let mut bits = vec![0; results.len()];
    pure.eval(&operands, &mut bits);
    Some(bits.iter().zip(results).map(|(b, r)| *b as u64 & body.ty(*r).mask()).collect())
}

/// The operand that an instruction gives back whatever the others are.
fn identity(body: &Body, renames: &Renames, inst: Inst) -> Option<Value> {
    let data = body.inst(inst);
    let args = body.args(inst);
    let is = |n: usize, bits: u64| args.get(n).is_some_and(|v| constant(body, renames, *v) == Some(bits));
    let ones = data.ty.mask();
    let one = if data.ty.lanes == 1 { Some(1) } else { None };
    let same = |n: usize| args.get(n).copied();
    match data.op {
        Op::IAdd | Op::Or | Op::Xor if is(0, 0) => same(1),
        Op::IAdd | Op::ISub | Op::Or | Op::Xor | Op::Shl | Op::Shr if is(1, 0) => same(0),
        Op::And if data.ty.scalar != Scalar::I128 && is(0, ones) => same(1),
        Op::And if data.ty.scalar != Scalar::I128 && is(1, ones) => same(0),
        Op::IMul if one.is_some_and(|one| is(0, one)) => same(1),
        Op::IMul | Op::IDiv if one.is_some_and(|one| is(1, one)) => same(0),
        Op::Select => {
            let [condition, yes, no] = *args else { return None };
            match constant(body, renames, condition) {
                Some(0) => Some(no),
                Some(_) => Some(yes),
                None => (renames.get(yes) == renames.get(no)).then_some(yes),
            }
        }
        Op::Bitcast if body.ty(args[0]) == data.ty => same(0),
        Op::Pack if args.len() == 1 && body.ty(args[0]) == data.ty => same(0),
        Op::Not => operand_of(body, renames, args[0], Op::Not),
        Op::Trunc => {
            let extended = operand_of(body, renames, args[0], Op::Zext)
                .or_else(|| operand_of(body, renames, args[0], Op::Sext))?;
            (body.ty(extended) == data.ty).then_some(extended)
        }
        _ => None,
    }
}

/// The first operand of the instruction that gives a value, where it is of this op.
fn operand_of(body: &Body, renames: &Renames, value: Value, op: Op) -> Option<Value> {
    match body.values[renames.get(value).index()].def {
        crate::ir::Def::Result(inst) if body.inst(inst).op == op => body.args(inst).first().copied(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::passes::testing::check;

    #[test]
    fn constants_and_identities() {
        check(
            super::run,
            "func @f(i32, b1) -> (i32, i32, i32, f32, i32, i16) {
block0(v0: i32, v1: b1):
    v2: i32 = const 6
    v3: i32 = const 7
    v4: i32 = imul v2, v3
    v5: i32 = iadd v4, v0
    v6: i32 = const 0
    v7: i32 = iadd v5, v6
    v8: i32 = select v1, v7, v5
    v9: b1 = icmp.lt.s v2, v3
    v10: i32 = select v9, v0, v8
    v11: f32 = itof.s.rn v4
    v12: f32 = fapprox.rcp v11
    v13: i16, v14: i16 = unpack v3
    v15: i32 = not v0
    v16: i32 = not v15
    ret v4, v8, v10, v12, v16, v13
}
",
            "func @f(i32, b1) -> (i32, i32, i32, f32, i32, i16) {
block0(v0: i32, v1: b1):
    v2: i32 = const 6
    v3: i32 = const 7
    v4: i32 = const 42
    v5: i32 = iadd v4, v0
    v6: i32 = const 0
    v7: b1 = const 1
    v8: f32 = const 0x42280000
    v9: f32 = fapprox.rcp v8
    v10: i16 = const 7
    v11: i16 = const 0
    v12: i32 = not v0
    ret v4, v5, v0, v9, v0, v10
}
",
        );
    }

    #[test]
    fn what_is_known_of_128_bits_stays() {
        let same = "func @f() -> (i128, i64) {
block0:
    v0: i64 = const 1
    v1: i128 = pack v0, v0
    v2: i64, v3: i64 = unpack v1
    ret v1, v2
}
";
        check(super::run, same, same);
    }
}
