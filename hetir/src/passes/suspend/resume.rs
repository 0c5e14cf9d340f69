//! The resuming kernel: a suspendable one, before which each thread finds out where it left.
//!
//! Blocks that begin anew run the suspendable kernel as it is. Threads that left go on in a copy of it, which they enter at
//! their sites.

use super::code::{Code, compute_again, stored};
use super::state::Control;
use super::{FRAME_HEADER, Plan, local_range};
use crate::attr::{IntCmp, Space};
use crate::build::{Attrs, Builder};
use crate::entity::{Block, Value};
use crate::ir::{Body, Def, SlotData};
use crate::op::Op;
use crate::passes::ssa;
use crate::types::Type;
use std::collections::BTreeMap;

/// Puts the beginning before a suspendable body.
pub(super) fn begin_at_sites(plan: &Plan, body: &mut Body, control: u32, slots: &[SlotData], used: &[u32]) {
    // The entry's part moves, since nothing may lead to the entry itself.
    let fresh = body.add_block();
    body.blocks[fresh.index()].insts = std::mem::take(&mut body.blocks[Body::ENTRY.index()].insts);
    let copy = copy_of(body);
    let place = |block: Block| if block == Body::ENTRY { fresh } else { block };

    let mut code = Code { b: Builder::new(body, Body::ENTRY), control };
    let found = code.b.body.add_block();
    let at = code.control();
    let table = code.field(at, Control::Blocks);
    let number = code.block_number();
    let offset = code.times(number, 4);
    let entry = code.add(table, offset);
    let entry = code.load(Space::Global, Type::I32, entry, 0);
    let zero = code.number(Type::I32, 0);
    let begins = code.b.op(Attrs::of(Op::ICmp).with(IntCmp::Eq), Type::I32, &[entry, zero]);
    code.b.branch(begins, (fresh, &[]), (found, &[]));

    code.b.block = found;
    let minus_one = code.number(Type::I32, u64::MAX);
    let which = code.add(entry, minus_one);
    let which = code.wide(which);
    let thread = code.thread_number();
    let threads = code.threads();
    if plan.has_shared {
        let of = (code.wide(thread), code.wide(threads));
        code.copy_shared(at, Control::OldShared, which, false, of);
        code.b.effect(Op::Barrier, Type::B1, 0, &[zero, zero]);
    }
    let table = code.field(at, Control::Threads);
    let all = code.wide(threads);
    let before = code.b.op(Op::IMul, Type::I64, &[which, all]);
    let own = code.wide(thread);
    let index = code.add(before, own);
    let offset = code.times(index, 4);
    let entry = code.add(table, offset);
    let entry = code.load(Space::Global, Type::I32, entry, 0);
    let (left, ended) = (code.b.body.add_block(), code.b.body.add_block());
    let has_ended = code.b.op(Attrs::of(Op::ICmp).with(IntCmp::Eq), Type::I32, &[entry, zero]);
    code.b.branch(has_ended, (ended, &[]), (left, &[]));
    code.b.block = ended;
    code.b.effect(Op::Exit, Type::B1, 0, &[]);

    code.b.block = left;
    let which = code.add(entry, minus_one);
    let which = code.wide(which);
    let offset = code.times(which, plan.frame_bytes.into());
    let area = code.field(at, Control::OldFrames);
    let frame = code.add(area, offset);
    if let Some(bytes) = local_range(slots) {
        let header = code.number(Type::I64, FRAME_HEADER.into());
        let from = code.add(frame, header);
        let (to, range) = code.local(bytes);
        code.copy(Type::I32, (Space::Global, from), (Space::Local, to), range);
    }
    let site = code.load(Space::Global, Type::I32, frame, 12);

    let mut definitions = ssa::Definitions::new();
    let mut ways: Vec<Block> = Vec::new();
    let dispatch = code.b.block;
    for &number in used {
        let Some(known) = plan.sites.get(number as usize) else { continue };
        let block = code.b.body.add_block();
        (code.b.block, code.b.span) = (block, known.span);
        ways.push(block);
        let mut names: BTreeMap<Value, Value> = BTreeMap::new();
        for saved in &known.saved {
            let ty = stored(saved.ty);
            let value = code.load(Space::Global, ty, frame, saved.offset);
            let value = match saved.ty {
                Type::B1 => {
                    let none = code.number(Type::I8, 0);
                    code.b.op(Attrs::of(Op::ICmp).with(IntCmp::Ne), Type::I8, &[value, none])
                }
                own if own != ty => code.b.op(Op::Bitcast, own, &[value]),
                _ => value,
            };
            names.insert(saved.value, value);
        }
        compute_again(&mut code.b, &plan.again[number as usize], &mut names);
        // Into the copy, whose values have other names.
        let there = place(plan.places[number as usize]);
        let target = copy.block(there);
        let params = code.b.body.blocks[there.index()].params.clone();
        let args: Vec<Value> = params.iter().map(|p| names.get(p).copied().unwrap_or(*p)).collect();
        code.b.jump(target, &args);
        for (old, new) in names {
            if !params.contains(&old) {
                definitions.entry(copy.value(old)).or_default().push((block, new));
            }
        }
    }
    (code.b.block, code.b.span) = (dispatch, Default::default());
    let stray = code.b.body.add_block();
    let mut at = dispatch;
    for (&number, &way) in used.iter().zip(&ways) {
        code.b.block = at;
        let wanted = code.number(Type::I32, number.into());
        let here = code.b.op(Attrs::of(Op::ICmp).with(IntCmp::Eq), Type::I32, &[site, wanted]);
        let next = code.b.body.add_block();
        code.b.branch(here, (way, &[]), (next, &[]));
        at = next;
    }
    code.b.block = at;
    code.b.jump(stray, &[]);
    // A site that was not among those told.
    code.b.block = stray;
    code.b.effect(Op::Trap, Type::B1, 0, &[]);
    ssa::repair(body, &definitions);
    body.remove_unreachable();
}

/// A copy of all blocks but the entry.
struct Copied {
    blocks: Vec<Block>,
    values: Vec<Value>,
}

impl Copied {
    fn block(&self, block: Block) -> Block {
        self.blocks[block.index()]
    }
    fn value(&self, value: Value) -> Value {
        self.values.get(value.index()).copied().unwrap_or(value)
    }
}

fn copy_of(body: &mut Body) -> Copied {
    let (count, old_values) = (body.blocks.len(), body.values.len());
    let mut copied =
        Copied { blocks: (0..count).map(Block::new).collect(), values: (0..old_values).map(Value::new).collect() };
    for n in 1..count {
        let block = body.add_block();
        copied.blocks[n] = block;
        for param in body.blocks[n].params.clone() {
            let ty = body.ty(param);
            copied.values[param.index()] = body.add_param(block, ty);
        }
    }
    // Results first: an instruction may use what a later block in the list defines.
    for n in 1..count {
        for inst in body.blocks[n].insts.clone() {
            for result in body.results(inst).to_vec() {
                let ty = body.ty(result);
                copied.values[result.index()] = body.add_value(ty, Def::None);
            }
        }
    }
    for n in 1..count {
        let block = copied.blocks[n];
        for inst in body.blocks[n].insts.clone() {
            let data = *body.inst(inst);
            let span = body.spans[inst.index()];
            let args: Vec<Value> = body.args(inst).iter().map(|v| copied.value(*v)).collect();
            let results: Vec<Value> = body.results(inst).iter().map(|v| copied.value(*v)).collect();
            let new = body.make_with_results(data.op, data.ty, data.attrs, data.imm, &args, &results, span);
            let targets: Vec<(Block, Vec<Value>)> = body
                .targets(inst)
                .iter()
                .map(|t| (copied.block(t.block), body.target_args(*t).iter().map(|v| copied.value(*v)).collect()))
                .collect();
            let targets: Vec<(Block, &[Value])> = targets.iter().map(|(b, args)| (*b, args.as_slice())).collect();
            body.set_targets(new, &targets);
            body.append(block, new);
        }
    }
    copied
}
