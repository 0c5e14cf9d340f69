//! Products of warp groups as products of their warps, for devices that have none: with `ldmatrix` from where descriptors say,
//! in the order in which [`crate::tensor::GroupProduct`] computes.
//!
//! A product happens when it is issued, so that nothing is left to be waited for, but for the other warps of the group:
//! behind a wait, shared memory may be written that they read.

use super::Renames;
use crate::attr::{Aligned, IntCmp, LayoutA, LayoutB, MatrixSum, Sat, Selector, Sign, Space, Sreg, Tiles, Transpose};
use crate::build::Attrs;
use crate::diag::Span;
use crate::entity::{Inst, Value};
use crate::ir::Body;
use crate::op::Op;
use crate::tensor::GroupProduct;
use crate::tensor::group::{PLACES, signs};
use crate::types::Type;

fn is_of_groups(op: Op) -> bool {
    matches!(op, Op::GroupMma | Op::GroupFence | Op::GroupCommit | Op::GroupWait)
}

/// Whether a body has anything to rewrite.
pub fn has_any(body: &Body) -> bool {
    body.blocks.iter().flat_map(|b| &b.insts).any(|i| is_of_groups(body.inst(*i).op))
}

/// Rewrites all ops of warp groups.
pub fn run(body: &mut Body) -> bool {
    if !has_any(body) {
        return false;
    }
    let mut renames = Renames::new(body);
    for block in body.block_ids() {
        let insts = std::mem::take(&mut body.blocks[block.index()].insts);
        let mut rewriter = Rewriter { body, out: Vec::with_capacity(insts.len()), span: Span::default() };
        for inst in insts {
            let data = *rewriter.body.inst(inst);
            rewriter.span = rewriter.body.spans[inst.index()];
            match data.op {
                Op::GroupFence | Op::GroupCommit => {}
                Op::GroupWait => {
                    let attrs = Attrs::of(Op::GroupBarrier).with(data.attr::<Aligned>());
                    rewriter.many(attrs, Type::B1, &[], &[]);
                }
                Op::GroupMma => {
                    let Some(results) = rewriter.product(inst) else {
                        rewriter.out.push(inst);
                        continue;
                    };
                    renames.to.extend((renames.to.len()..rewriter.body.values.len()).map(Value::new));
                    let old = rewriter.body.results(inst).to_vec();
                    old.into_iter().zip(results).for_each(|(old, new)| renames.set(old, new));
                }
                _ => rewriter.out.push(inst),
            }
        }
        body.blocks[block.index()].insts = rewriter.out;
    }
    renames.to.extend((renames.to.len()..body.values.len()).map(Value::new));
    renames.apply(body);
    true
}

struct Rewriter<'a> {
    body: &'a mut Body,
    out: Vec<Inst>,
    span: Span,
}

/// A matrix in shared memory, in units of 16 bytes: [`crate::tensor::group`] says how it lies there.
struct Described {
    /// Of the first line of each lane's tile, by the lane's number in the tile.
    lines: Value,
    along: Value,
    across: Value,
    base: Value,
    log: Value,
    mask: Value,
}

/// The lanes' lines: lane `8i + r` names line `r` of tile `i`.
#[derive(Clone, Copy)]
struct Lane {
    line: Value,
    tile: Value,
}

impl Rewriter<'_> {
    fn many(&mut self, attrs: impl Into<Attrs>, ty: Type, args: &[Value], results: &[Type]) -> Vec<Value> {
        let attrs = attrs.into();
        let ty = if attrs.op().info().is_typed() { ty } else { Type::B1 };
        let inst = self.body.make(attrs.op(), ty, attrs.bytes(), 0, args, results, self.span);
        self.out.push(inst);
        self.body.results(inst).to_vec()
    }
    fn op(&mut self, attrs: impl Into<Attrs>, ty: Type, args: &[Value]) -> Value {
        self.many(attrs, ty, args, &[ty])[0]
    }
    fn constant(&mut self, ty: Type, bits: u64) -> Value {
        let inst = self.body.make(Op::Const, ty, Attrs::of(Op::Const).bytes(), bits, &[], &[ty], self.span);
        self.out.push(inst);
        self.body.results(inst)[0]
    }
    fn word(&mut self, op: impl Into<Attrs>, a: Value, b: Value) -> Value {
        self.op(op, Type::I32, &[a, b])
    }
    fn with_number(&mut self, op: impl Into<Attrs>, a: Value, n: u64) -> Value {
        let n = self.constant(Type::I32, n);
        self.word(op, a, n)
    }
    fn shr(&mut self, a: Value, n: u64) -> Value {
        self.with_number(Attrs::of(Op::Shr).with(Sign::U), a, n)
    }
    fn bits(&mut self, word: Value, first: u64, mask: u64) -> Value {
        let down = if first == 0 { word } else { self.shr(word, first) };
        self.with_number(Op::And, down, mask)
    }

    /// Takes a descriptor apart. Its matrix is stored along k, or along its other side where `turned`.
    fn described(&mut self, descriptor: Value, turned: bool, lane: Lane) -> Described {
        let places = PLACES.into();
        let low = self.many(Op::Trunc, Type::I32, &[descriptor], &[Type::I32])[0];
        let half = self.constant(Type::I32, 32);
        let high = self.op(Attrs::of(Op::Shr).with(Sign::U), Type::I64, &[descriptor, half]);
        let high = self.many(Op::Trunc, Type::I32, &[high], &[Type::I32])[0];
        let (start, leading) = (self.bits(low, 0, places), self.bits(low, 16, places));
        let (stride, base) = (self.bits(high, 0, places), self.bits(high, 17, 7));
        let mode = self.bits(high, 30, 3);
        // Modes 1, 2 and 3 are of 8, 4 and 2 units, mode 0 of one.
        let zero = self.constant(Type::I32, 0);
        let log = self.word(Op::ISub, zero, mode);
        let log = self.with_number(Op::And, log, 3);
        let one = self.constant(Type::I32, 1);
        let width = self.word(Op::Shl, one, log);
        let mask = self.word(Op::ISub, width, one);
        let line = self.word(Op::Shl, lane.line, log);
        let lines = self.word(Op::IAdd, start, line);
        let (mut along, mut across) = (leading, stride);
        if turned {
            // Without a swizzle, the two distances change their meaning.
            let compare = Attrs::of(Op::ICmp).with(IntCmp::Eq);
            let plain = self.many(compare, Type::I32, &[mode, zero], &[Type::B1])[0];
            along = self.op(Op::Select, Type::I32, &[plain, stride, leading]);
            across = self.op(Op::Select, Type::I32, &[plain, leading, stride]);
        }
        Described { lines, along, across, base, log, mask }
    }
    /// How far a unit is from the first one of its line.
    fn unit(&mut self, m: &Described, unit: Value) -> Value {
        let block = self.word(Attrs::of(Op::Shr).with(Sign::U), unit, m.log);
        let block = self.word(Op::IMul, block, m.along);
        let inside = self.word(Op::And, unit, m.mask);
        self.word(Op::IAdd, block, inside)
    }
    /// Reads tiles whose lines begin so far from the first ones.
    fn tiles_at(&mut self, m: &Described, tiles: Tiles, turned: bool, distances: [Value; 2]) -> Vec<Value> {
        let at = self.word(Op::IAdd, distances[0], distances[1]);
        let at = self.word(Op::IAdd, at, m.lines);
        let line = self.shr(at, 3);
        let line = self.word(Op::ISub, line, m.base);
        let swizzle = self.word(Op::And, line, m.mask);
        let at = self.word(Op::Xor, at, swizzle);
        let at = self.with_number(Op::And, at, PLACES.into());
        let at = self.with_number(Op::Shl, at, 4);
        let at = self.many(Op::Zext, Type::I64, &[at], &[Type::I64])[0];
        let transpose = if turned { Transpose::Yes } else { Transpose::No };
        let attrs = Attrs::of(Op::LdMatrix).with(tiles).with(transpose).with(Space::Shared);
        self.many(attrs, Type::I32, &[at], &vec![Type::I32; tiles.count()])
    }

    /// What stands in for the results of a product; `None` where there is no such product.
    fn product(&mut self, inst: Inst) -> Option<Vec<Value>> {
        let group = GroupProduct::of(self.body.inst(inst)).ok()?;
        let product = &group.product;
        let attrs = Attrs::of(Op::Mma)
            .with(product.shape)
            .with(product.types)
            .with(LayoutA::Row)
            .with(LayoutB::Col)
            .with(product.sparsity)
            .with(*Selector::ALL.get(product.selector)?)
            .with(product.bits)
            .with(product.round)
            .with(if product.short { MatrixSum::Short } else { MatrixSum::Full })
            .with(if product.sat { Sat::Yes } else { Sat::No });
        let args = self.body.args(inst).to_vec();
        let [of_a, of_b, of_c] = group.registers();
        let (a, rest) = args.split_at_checked(of_a)?;
        let (&descriptor, rest) = rest.split_first()?;
        let (sums, rest) = rest.split_at_checked(of_c)?;
        let (&keeps, metadata) = rest.split_last()?;
        let fc = product.fragments()[3].clone();

        let number = self.op(Attrs::of(Op::Sreg).with(Sreg::LaneId), Type::I32, &[]);
        let lane = Lane { line: self.bits(number, 0, 7), tile: self.bits(number, 3, 3) };
        let mut factor = if group.in_registers { a.to_vec() } else { self.rows_of_warp(a[0], group.turned.0, lane) };
        if group.negated {
            let sign = signs(product.types.elements()[1]);
            factor = factor.into_iter().map(|v| self.with_number(Op::Xor, v, sign)).collect();
        }
        let turned = group.turned.1;
        let m = self.described(descriptor, turned, lane);
        // Dense, two tiles of columns are read at once, of two units along k each; else one, of four.
        let (tile, unit) = match group.at_once() {
            1 => (self.constant(Type::I32, 0), lane.tile),
            _ => (self.shr(lane.tile, 1), self.with_number(Op::And, lane.tile, 1)),
        };
        let along_k = if turned { self.word(Op::IMul, unit, m.across) } else { self.unit(&m, unit) };
        let mut results = Vec::with_capacity(sums.len());
        let starts: Vec<&[Value]> = sums.chunks(fc.registers()).collect();
        for (n, pair) in starts.chunks(group.at_once()).enumerate() {
            let column = self.with_number(Op::IAdd, tile, (n * group.at_once()) as u64);
            let column = if turned { self.unit(&m, column) } else { self.word(Op::IMul, column, m.across) };
            let tiles = if pair.len() * of_b == 4 { Tiles::X4 } else { Tiles::X2 };
            let columns = self.tiles_at(&m, tiles, turned, [column, along_k]);
            for (b, c) in columns.chunks(of_b).zip(pair) {
                let mut args = factor.clone();
                args.extend(b);
                for &c in *c {
                    let zero = self.constant(fc.register(), 0);
                    args.push(self.op(Op::Select, fc.register(), &[keeps, c, zero]));
                }
                args.extend(metadata);
                let types: Vec<Type> = fc.types().collect();
                results.extend(self.many(attrs, Type::B1, &args, &types));
            }
        }
        Some(results)
    }

    /// The sixteen rows of A that are the warp's.
    fn rows_of_warp(&mut self, descriptor: Value, turned: bool, lane: Lane) -> Vec<Value> {
        let m = self.described(descriptor, turned, lane);
        let warp = self.op(Attrs::of(Op::Sreg).with(Sreg::WarpId), Type::I32, &[]);
        let warp = self.bits(warp, 0, 3);
        let first = self.with_number(Op::Shl, warp, 1);
        let (row, unit) = (self.bits(lane.tile, 0, 1), self.bits(lane.tile, 1, 1));
        let row = self.word(Op::IAdd, first, row);
        let distances = match turned {
            true => [self.unit(&m, row), self.word(Op::IMul, unit, m.across)],
            false => [self.word(Op::IMul, row, m.across), self.unit(&m, unit)],
        };
        self.tiles_at(&m, Tiles::X4, turned, distances)
    }
}

#[cfg(test)]
mod tests {
    use super::run;
    use crate::op::Op;
    use crate::passes::testing::parsed;
    use crate::verify::verify;

    /// What it computes, the filetests compare on devices that rewrite and on those that do not.
    #[test]
    fn ops_of_groups_become_those_of_warps() {
        let source = "func @f(i64, f32, b1) {\nblock0(v0: i64, v1: f32, v2: b1):\n    group_fence\n    \
                      v3: f32, v4: f32, v5: f32, v6: f32 = group_mma.f32.f16.f16.f32 v0, v0, v1, v1, v1, v1, v2, 8\n    \
                      group_commit\n    group_wait.aligned 0\n    ret\n}\n";
        let mut module = parsed(source);
        let body = module.functions[0].body.as_mut().unwrap();
        assert!(run(body) && !run(body));
        let ops: Vec<Op> = body.blocks.iter().flat_map(|b| &b.insts).map(|i| body.inst(*i).op).collect();
        let count = |op| ops.iter().filter(|o| **o == op).count();
        assert_eq!([Op::Mma, Op::LdMatrix, Op::GroupBarrier, Op::GroupWait].map(count), [1, 2, 1, 0]);
        verify(&module).unwrap();
    }
}
