//! The resuming kernel: a suspendable one, before which each thread finds out where it left.
//!
//! Blocks that begin anew run the suspendable kernel as it is. Threads that left go on in a copy of it, which they enter at
//! their sites. What was true of the kernel's control flow has to be true of the copy, or lanes of a warp that come to an
//! op together there would not do so here:
//! - **Loops are entered at their headers.** The turn of a loop that threads left in is not a part of the loop: they finish it in
//!   blocks of its own, which lead to the header. Else a loop that is entered in its middle would look as though what is around
//!   it were inside, and lanes that leave the inner one would go round the outer one while others are held back.
//! - **Who left alone comes to the others first.** Some threads left in a loop while others were at a barrier already, or
//!   before an op of their warp, in the same turn or the next one of a loop around. Those come to it in blocks that stand
//!   before it, and meet the others there.

use super::code::{Code, compute_again, stored};
use super::state::Control;
use super::{FRAME_HEADER, Plan, SiteKind, local_range};
use crate::analysis::cfg::Cfg;
use crate::analysis::dom::Dominators;
use crate::analysis::live::defining_blocks;
use crate::analysis::loops::LoopForest;
use crate::attr::{IntCmp, Space};
use crate::build::{Attrs, Builder};
use crate::entity::{Block, Inst, Value};
use crate::ir::{Body, Def, SlotData};
use crate::op::Op;
use crate::passes::{prune_params, ssa};
use crate::types::Type;
use std::collections::{BTreeMap, HashMap};

/// Puts the beginning before a suspendable body.
pub(super) fn begin_at_sites(plan: &Plan, body: &mut Body, control: u32, slots: &[SlotData], used: &[u32]) {
    // The entry's part moves, since nothing may lead to the entry itself.
    let fresh = body.add_block();
    body.blocks[fresh.index()].insts = std::mem::take(&mut body.blocks[Body::ENTRY.index()].insts);
    Builder::new(body, Body::ENTRY).jump(fresh, &[]);
    let mut copies = Copies::of(plan, body);
    body.blocks[Body::ENTRY.index()].insts.clear();

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

    let mut ways: Vec<Made> = Vec::new();
    let dispatch = code.b.block;
    for &number in used {
        let Some(known) = plan.sites.get(number as usize) else { continue };
        let block = code.b.body.add_block();
        (code.b.block, code.b.span) = (block, known.span);
        let mut names = HashMap::new();
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
        let there = plan.places[number as usize];
        let target = copies.block(code.b.body, copies.left_at(there));
        let params = code.b.body.blocks[there.index()].params.clone();
        let args: Vec<Value> = params.iter().map(|p| names.get(p).copied().unwrap_or(*p)).collect();
        code.b.jump(target, &args);
        ways.push(Made { block, names });
    }
    (code.b.block, code.b.span) = (dispatch, Default::default());
    let stray = code.b.body.add_block();
    let mut at = dispatch;
    for (&number, way) in used.iter().zip(&ways) {
        code.b.block = at;
        let wanted = code.number(Type::I32, number.into());
        let here = code.b.op(Attrs::of(Op::ICmp).with(IntCmp::Eq), Type::I32, &[site, wanted]);
        let next = code.b.body.add_block();
        code.b.branch(here, (way.block, &[]), (next, &[]));
        at = next;
    }
    code.b.block = at;
    code.b.jump(stray, &[]);
    // A site that was not among those told.
    code.b.block = stray;
    code.b.effect(Op::Trap, Type::B1, 0, &[]);
    copies.finish(body);
    let mut definitions = copies.definitions();
    for (value, any) in &copies.any {
        let loaded = ways.iter().filter_map(|way| Some((way.block, *way.names.get(value)?)));
        definitions.entry(*any).or_default().extend(loaded);
    }
    ssa::repair(body, &definitions);
    prune_params::run(body);
    body.remove_unreachable();
}

/// A block of the copy that threads go on in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Place {
    block: Block,
    /// Threads that left alone come here, which have not met the others yet.
    apart: bool,
    /// Of the loops around the block, so many from the outside in are only the rest of the turn that threads left in.
    begun: u32,
}

/// A block that was made, and what it calls the values that it defines.
struct Made {
    block: Block,
    names: HashMap<Value, Value>,
}

/// The copy.
struct Copies {
    forest: LoopForest,
    homes: Vec<Option<Block>>,
    /// Sites at which the threads of a warp or a block are together.
    meets: Vec<bool>,
    /// Blocks from which control may come to such sites.
    before: Vec<bool>,
    blocks: BTreeMap<Place, Block>,
    /// Those that have no instructions yet, and by the block that they were made from those that do.
    empty: Vec<(Place, Made)>,
    full: BTreeMap<Block, Vec<Made>>,
    /// What stands for a value that is used in another block than it is defined in, until it is known which definition comes there.
    any: BTreeMap<Value, Value>,
}

impl Copies {
    fn of(plan: &Plan, body: &Body) -> Self {
        let cfg = Cfg::of(body);
        let forest = LoopForest::of(&cfg, &Dominators::of(&cfg));
        let mut meets = vec![false; body.blocks.len()];
        for (site, block) in plan.sites.iter().zip(&plan.places) {
            meets[block.index()] = site.kind != SiteKind::Loop;
        }
        let mut before = vec![false; body.blocks.len()];
        let mut work: Vec<Block> = cfg.order().iter().copied().filter(|b| meets[b.index()]).collect();
        while let Some(block) = work.pop() {
            if !std::mem::replace(&mut before[block.index()], true) {
                work.extend(cfg.predecessors(block).iter().map(|e| e.from));
            }
        }
        let homes = defining_blocks(body);
        let (blocks, empty, full, any) = (BTreeMap::new(), Vec::new(), BTreeMap::new(), BTreeMap::new());
        Self { forest, homes, meets, before, blocks, empty, full, any }
    }

    fn depth(&self, block: Block) -> u32 {
        self.forest.innermost(block).map_or(0, |l| self.forest.get(l).depth)
    }

    /// Where threads go on that left at a block.
    fn left_at(&self, block: Block) -> Place {
        let apart = self.before[block.index()] && !self.meets[block.index()];
        Place { block, apart, begun: self.depth(block) }
    }

    /// Where an edge leads.
    fn behind(&self, from: Place, to: Block) -> Place {
        let depth = self.depth(to);
        if from.apart && self.meets[to.index()] {
            return Place { block: to, apart: false, begun: depth };
        }
        let again = self.forest.headed_by(to).is_some_and(|l| self.forest.contains(l, from.block));
        let begun = from.begun.min(if again { depth - 1 } else { depth });
        Place { block: to, apart: from.apart && self.before[to.index()], begun }
    }

    /// The block for a place.
    fn block(&mut self, body: &mut Body, place: Place) -> Block {
        if let Some(known) = self.blocks.get(&place) {
            return *known;
        }
        let block = body.add_block();
        let mut names = HashMap::new();
        for param in body.blocks[place.block.index()].params.clone() {
            let ty = body.ty(param);
            names.insert(param, body.add_param(block, ty));
        }
        self.blocks.insert(place, block);
        self.empty.push((place, Made { block, names }));
        block
    }

    /// Makes all blocks that those lead to that were asked for.
    fn finish(&mut self, body: &mut Body) {
        while let Some((place, mut made)) = self.empty.pop() {
            for inst in body.blocks[place.block.index()].insts.clone() {
                self.copy(body, place, &mut made, inst);
            }
            self.full.entry(place.block).or_default().push(made);
        }
    }

    fn copy(&mut self, body: &mut Body, place: Place, made: &mut Made, inst: Inst) {
        let (data, span) = (*body.inst(inst), body.spans[inst.index()]);
        let args = self.named(body, &made.names, body.args(inst).to_vec());
        let results = body.results(inst).to_vec();
        let types: Vec<Type> = results.iter().map(|v| body.ty(*v)).collect();
        let new = body.make(data.op, data.ty, data.attrs, data.imm, &args, &types, span);
        made.names.extend(results.into_iter().zip(body.results(new).iter().copied()));
        let mut targets = Vec::new();
        for target in body.targets(inst).to_vec() {
            let args = self.named(body, &made.names, body.target_args(target).to_vec());
            targets.push((self.block(body, self.behind(place, target.block)), args));
        }
        let targets: Vec<(Block, &[Value])> = targets.iter().map(|(b, args)| (*b, args.as_slice())).collect();
        body.set_targets(new, &targets);
        body.append(made.block, new);
    }

    fn named(&mut self, body: &mut Body, names: &HashMap<Value, Value>, values: Vec<Value>) -> Vec<Value> {
        let mut name = |value: Value| match names.get(&value) {
            Some(own) => *own,
            None => *self.any.entry(value).or_insert_with(|| body.add_value(body.ty(value), Def::None)),
        };
        values.into_iter().map(&mut name).collect()
    }

    /// What defines the values that are used in other blocks than their own.
    fn definitions(&self) -> ssa::Definitions {
        let of = |value: &Value| {
            let made = self.homes[value.index()].and_then(|home| self.full.get(&home));
            made.into_iter().flatten().map(|made| (made.block, made.names[value])).collect()
        };
        self.any.iter().map(|(value, any)| (*any, of(value))).collect()
    }
}
