//! Loops whose lanes take turns: one lane after the other runs such a loop to its end, as code for a single lane.
//!
//! It pays where lanes leave one by one and most of the work is to fetch what lies in a different place for each: a gather
//! takes as long as its lanes' loads do, also for lanes that have left. Lanes must not notice, so there is nothing in such a
//! loop by which they could see each other but ordinary accesses, which nothing orders.

use super::plan::{Facts, Plan};
use super::shape::{Shape, Shapes};
use super::{Lowering, Result};
use crate::sys::{Blk, Code, Int, Ty, Val};
use hetir::analysis::live::for_each_use;
use hetir::analysis::loops::LoopId;
use hetir::analysis::uniform::Uniformity;
use hetir::attr::{Order, Space};
use hetir::entity::{Block, Inst, Value};
use hetir::op::{Effects, Op};
use hetir::types::Type;
use std::collections::{BTreeMap, HashMap};

/// The turn of one lane.
#[derive(Clone)]
pub(super) struct Turn<'c> {
    pub(super) lane: Val<'c>,
    lanes_loop: LoopId,
    /// By the edge's block and the number of its target.
    exits: BTreeMap<(Block, usize), Exit<'c>>,
    /// Where the next lane has its turn.
    next: Blk<'c>,
}

/// An edge out of the loop.
#[derive(Clone)]
struct Exit<'c> {
    /// A byte for each lane, which is 1 for those that took it.
    lanes: Val<'c>,
    /// Values of the loop that are needed behind it, and where each lane leaves its own.
    left: Vec<(Value, Val<'c>)>,
}

/// What a loop's instructions cost.
#[derive(Default)]
struct Work {
    /// Accesses that go to a different place in each lane, by element.
    scattered: u32,
    /// Everything else that is done for each lane.
    other: u32,
}

/// A gather takes as long as so many operations gain by being done for all lanes at once, where some lanes have left.
const OPERATIONS_A_GATHER: u32 = 10;

impl<'m, 'c> Lowering<'_, 'm, 'c> {
    /// The loops whose lanes take turns.
    pub(super) fn find_turns(&mut self) {
        let Some(uniform) = self.facts.uniform else { return };
        let loops = self.facts.loops;
        let innermost = |l: LoopId| loops.ids().all(|other| loops.get(other).parent != Some(l));
        for l in loops.ids() {
            if self.plan.divergent[l.index()]
                && uniform.exits(l) == Uniformity::Divergent
                && innermost(l)
                && let Some(work) = self.work(l)
                && work.scattered > 0
                && work.other <= OPERATIONS_A_GATHER * work.scattered
            {
                self.in_turns.insert(l);
            }
        }
    }

    /// What a loop does; none where it may not be taken apart.
    fn work(&self, l: LoopId) -> Option<Work> {
        let mut work = Work::default();
        for &inst in self.facts.loops.blocks(l).iter().flat_map(|b| &self.body.blocks[b.index()].insts) {
            let data = self.body.inst(inst);
            let results = self.body.results(inst);
            match data.op {
                Op::Load | Op::Store => {
                    let known = matches!(data.attr(), Space::Global | Space::Shared | Space::Const | Space::Param);
                    if !known || data.attr::<Order>() != Order::Weak {
                        return None;
                    }
                    let (args, _) = self.body.args_and_policy(inst);
                    let elements = results.len().max(args.len() - 1) as u32;
                    match self.shapes.get(args[0]) {
                        Shape::Varying => work.scattered += elements,
                        Shape::Affine(_) => work.other += elements,
                        Shape::Uniform => {}
                    }
                }
                Op::Br | Op::BrIf | Op::Switch => work.other += 1,
                Op::NoUnroll => {}
                op if op.info().effects == Effects::PURE && hetir::eval::is_pure(op) => {
                    if results.iter().all(|r| self.shapes.get(*r) == Shape::Varying) {
                        work.other += self.weight(inst);
                    }
                }
                _ => return None,
            }
        }
        Some(work)
    }

    fn weight(&self, inst: Inst) -> u32 {
        match self.body.inst(inst).op {
            Op::Const => 0,
            Op::FDiv | Op::FRcp | Op::FSqrt | Op::FApprox | Op::FDivApprox | Op::IDiv | Op::IRem => 8,
            _ => 1,
        }
    }

    fn is_of(&self, l: LoopId, value: Value) -> bool {
        let definition = self.facts.definitions[value.index()];
        self.body.constant(value).is_none() && definition.is_some_and(|b| self.facts.loops.contains(l, b))
    }

    /// What a lane's value is in memory.
    fn stored(&self, value: Value) -> Ty<'c> {
        let ty = self.body.ty(value);
        if ty == Type::B1 { self.i(8) } else { self.element(ty) }
    }
    /// A buffer for a value of each lane.
    fn lanes_of(&self, value: Value) -> Val<'c> {
        self.e.buffer(self.entry, self.stored(value).vector(32), self.buffer_alignment())
    }
    /// A lane's place in it.
    fn own(&self, buffer: Val<'c>, value: Value, lane: Val<'c>) -> Val<'c> {
        let e = self.e;
        let lane = e.cast(Code::LLVMZExt, lane, self.i(64));
        e.offset(buffer, e.bin(Code::LLVMMul, lane, self.c64(self.body.ty(value).bytes().into())))
    }

    /// A loop that control has just come to: its header's lanes are known.
    pub(super) fn take_turns(&mut self, l: LoopId) -> Result<()> {
        let e = self.e;
        let header = self.facts.loops.get(l).header;
        let blocks = self.facts.loops.blocks(l).to_vec();
        // What lanes bring, as a number or as a vector in memory.
        let mut brought: BTreeMap<Value, (Val<'c>, bool)> = BTreeMap::new();
        let mut wanted: Vec<Value> = self.body.blocks[header.index()].params.clone();
        for &inst in blocks.iter().flat_map(|b| &self.body.blocks[b.index()].insts) {
            for_each_use(self.body, inst, |v| {
                if !self.is_of(l, v) && self.body.constant(v).is_none() {
                    wanted.push(v);
                }
            });
        }
        for value in wanted {
            if brought.contains_key(&value) {
                continue;
            }
            if self.is_uniform(value) {
                let one = self.held(value);
                brought.insert(value, (one, true));
            } else {
                let v = self.vector(value);
                let v = e.cast(Code::LLVMZExt, v, self.stored(value).vector(32));
                let buffer = self.lanes_of(value);
                e.store(v, buffer, self.buffer_alignment());
                brought.insert(value, (buffer, false));
            }
        }
        let exits = self.exits(l);
        for exit in exits.values() {
            e.store(self.i(8).vector(32).zero(), exit.lanes, self.buffer_alignment());
        }
        // One lane after the other.
        let bits = self.mask_bits();
        let start = e.here();
        let turn = e.block(self.code, "turn");
        let next = e.block(self.code, "turn.over");
        let done = e.block(self.code, "turns.over");
        e.br(turn);
        e.at(turn);
        let left = e.phi(self.i(32), &[(bits, start)]);
        let lane = e.intrinsic("llvm.cttz", &[self.i(32)], &[left, self.i(1).int(0)]);
        let lane = e.bin(Code::LLVMAnd, lane, self.c32(31));
        let turns = Turn { lane, lanes_loop: l, exits: exits.clone(), next };
        self.one_lane(&blocks, header, &brought, turns)?;
        e.at(next);
        let less = e.bin(Code::LLVMAnd, left, e.bin(Code::LLVMSub, left, self.c32(1)));
        e.add_incoming(left, less, next);
        e.cond_br(e.icmp(Int::LLVMIntNE, less, self.c32(0)), turn, done);
        e.at(done);
        self.after_turns(&exits);
        let after = self.to(self.plan.after[l.index()]);
        e.br(after);
        // Control comes to the loop's other blocks, and back to its header, within turns alone.
        for &block in &blocks {
            let (guard, inside) = self.blocks[block.index()];
            for part in [guard, inside] {
                if block != header {
                    e.at(part);
                    e.unreachable();
                    if guard == inside {
                        break;
                    }
                }
            }
        }
        // Where nobody comes to the loop.
        e.at(self.checks[&l]);
        e.br(after);
        Ok(())
    }

    /// The edges out of a loop and what is left at them.
    fn exits(&self, l: LoopId) -> BTreeMap<(Block, usize), Exit<'c>> {
        let mut buffers: HashMap<Value, Val<'c>> = HashMap::new();
        let mut exits = BTreeMap::new();
        for (edge, to) in self.facts.loops.exits(self.facts.cfg, l) {
            let last = self.last(edge.from);
            let mut values: Vec<Value> = self.body.target_args(self.body.targets(last)[edge.target]).to_vec();
            values.extend(self.live.live_in(to));
            values.retain(|v| self.is_of(l, *v));
            values.sort();
            values.dedup();
            let left = values.into_iter().map(|v| (v, *buffers.entry(v).or_insert_with(|| self.lanes_of(v)))).collect();
            let lanes = self.e.buffer(self.entry, self.i(8).vector(32), self.buffer_alignment());
            exits.insert((edge.from, edge.target), Exit { lanes, left });
        }
        exits
    }
    fn last(&self, block: Block) -> Inst {
        let insts = &self.body.blocks[block.index()].insts;
        insts[insts.len() - 1]
    }

    /// The loop as code for one lane, from where the lane's turn begins.
    fn one_lane(
        &mut self,
        blocks: &[Block],
        header: Block,
        brought: &BTreeMap<Value, (Val<'c>, bool)>,
        turn: Turn<'c>,
    ) -> Result<()> {
        let e = self.e;
        let facts = Facts { uniform: None, ..*self.facts };
        let plan = Plan::of(&facts);
        let shapes = Shapes::of(self.body, &facts, self.unit.shape.block, false);
        let mut parts = self.blocks.clone();
        for &block in blocks {
            let own = e.block(self.code, &format!("turn.block{}", block.index()));
            parts[block.index()] = (own, own);
        }
        let lane = turn.lane;
        let mut one = Lowering {
            unit: self.unit,
            e,
            id: self.id,
            function: self.function,
            body: self.body,
            facts: &facts,
            plan: &plan,
            shapes: &shapes,
            live: self.live,
            lanes: 1,
            code: self.code,
            entry: self.entry,
            warp: self.warp,
            shared: self.shared,
            params: self.params,
            local: self.local,
            globals: self.globals,
            frame: self.frame,
            slots: self.slots.clone(),
            frame_end: self.frame_end,
            top: None,
            entered: None,
            crossing: self.crossing.clone(),
            used: self.used.clone(),
            variables: HashMap::new(),
            masks: HashMap::new(),
            kept: HashMap::new(),
            rare: Default::default(),
            areas: HashMap::new(),
            results: Vec::new(),
            blocks: parts,
            checks: BTreeMap::new(),
            in_turns: Default::default(),
            turn: Some(turn),
            end: self.end,
            block: header,
            mask: None,
            held: HashMap::new(),
            vectors: HashMap::new(),
            strict: HashMap::new(),
            factors: Default::default(),
        };
        for (&value, &(from, once)) in brought {
            let v = if once {
                from
            } else {
                let bytes = one.body.ty(value).bytes();
                let v = e.load(one.stored(value), one.own(from, value, lane), bytes);
                e.cast(Code::LLVMTrunc, v, one.element(one.body.ty(value)))
            };
            let variable = one.variable(value, None);
            e.store(v, variable, 1);
        }
        e.br(one.blocks[header.index()].0);
        for &block in self.plan.order.iter().filter(|b| blocks.contains(b)) {
            one.lower_block(block)?;
        }
        Ok(())
    }

    /// Ends a lane's turn where an edge leaves the loop; false where it does not.
    pub(super) fn ends_turn(&mut self, inst: Inst, n: usize) -> bool {
        let to = self.body.targets(inst)[n].block;
        let Some(turn) = self.turn.as_ref().filter(|t| !self.facts.loops.contains(t.lanes_loop, to)).cloned() else {
            return false;
        };
        let e = self.e;
        if let Some(exit) = turn.exits.get(&(self.block, n)) {
            for &(value, buffer) in &exit.left {
                let v = self.held(value);
                let v = e.cast(Code::LLVMZExt, v, self.stored(value));
                e.store(v, self.own(buffer, value, turn.lane), self.body.ty(value).bytes());
            }
            let own = e.offset(exit.lanes, e.cast(Code::LLVMZExt, turn.lane, self.i(64)));
            e.store(self.i(8).int(1), own, 1);
        }
        e.br(turn.next);
        true
    }

    /// Lanes go on behind the loop with what they left.
    fn after_turns(&mut self, exits: &BTreeMap<(Block, usize), Exit<'c>>) {
        let e = self.e;
        let header = self.block;
        for (&(from, n), exit) in exits {
            self.block = from;
            let lanes = e.load(self.i(8).vector(32), exit.lanes, self.buffer_alignment());
            let lanes = e.icmp(Int::LLVMIntNE, lanes, lanes.ty().zero());
            let last = self.last(from);
            let seldom = self.ends_strip(self.body.targets(last)[n].block).then(|| e.block(self.code, "turns.on"));
            let known = seldom.map(|_| (self.held.clone(), self.vectors.clone(), self.strict.clone()));
            if let Some(on) = seldom {
                let none = e.icmp(Int::LLVMIntEQ, e.cast(Code::LLVMBitCast, lanes, self.i(32)), self.c32(0));
                let taken = e.block(self.code, "turns.taken");
                e.cond_br_likely(none, on, taken);
                e.at(taken);
            }
            for &(value, buffer) in &exit.left {
                let v = e.load(self.stored(value).vector(32), buffer, self.buffer_alignment());
                let v = if self.body.ty(value) == Type::B1 { e.icmp(Int::LLVMIntNE, v, v.ty().zero()) } else { v };
                self.vectors.insert(value, v);
                self.strict.remove(&value);
            }
            self.edge_of(last, n, lanes);
            // What was loaded there is not there on the other way.
            if let (Some(on), Some(known)) = (seldom, known) {
                (self.held, self.vectors, self.strict) = known;
                e.br(on);
                e.at(on);
            }
        }
        self.block = header;
    }
}
