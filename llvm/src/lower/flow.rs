//! Control flow: masks of blocks, edges, loops that lanes leave one by one, and the ends of functions.

use super::plan::{Flow, Mask, Next};
use super::shape::Shape;
use super::{Lowering, Result, unsupported};
use crate::abi::Failure;
use crate::sys::{Blk, Code, Int, Val};
use hetir::analysis::loops::LoopId;
use hetir::entity::{Block, Inst, Value};
use hetir::op::Op;
use hetir::types::Type;

/// Stores that an edge makes; all are computed before the first is made, since they may exchange values.
#[derive(Default)]
struct Moves<'c> {
    stores: Vec<(Val<'c>, Val<'c>)>,
}

impl<'c> Lowering<'_, '_, 'c> {
    /// The code before the entry block.
    pub(super) fn enter(&mut self, kernel: bool) -> Result<()> {
        let e = self.e;
        if self.lanes > 1 {
            let none = self.i(1).vector(32);
            for &block in &self.plan.order {
                if self.plan.masks[block.index()] == Mask::Own {
                    let variable = e.alloca(self.entry, none);
                    let first = block == hetir::ir::Body::ENTRY;
                    let all = self.entered.unwrap_or_else(|| none.ones());
                    e.store(if first { all } else { none.zero() }, variable, 4);
                    self.masks.insert(block, variable);
                }
            }
        }
        if !kernel {
            for ty in &self.function.signature.results {
                let ty = self.wide(self.element(*ty));
                let variable = e.alloca(self.entry, ty);
                self.results.push(variable);
            }
            let entry = &self.body.blocks[0].params;
            for (n, &param) in entry.clone().iter().enumerate() {
                let given = e.param(self.code, self.unit.first_param() + n as u32);
                let variable = self.variable(param, None);
                e.store(given, variable, 1);
            }
        }
        if self.frame_end > 0 {
            let local = self.warp_field(self.i(32), std::mem::offset_of!(crate::abi::Warp, local_bytes));
            let end = e.bin(Code::LLVMAdd, self.frame, self.c32(self.frame_end));
            let over = e.icmp(Int::LLVMIntUGT, end, local);
            let (bad, good) = (e.block(self.code, "no.room"), e.block(self.code, "room"));
            e.cond_br_likely(e.icmp(Int::LLVMIntEQ, over, self.i(1).int(0)), good, bad);
            e.at(bad);
            let span = self.function.span.start;
            let (kind, id) = (self.c32(Failure::StackOverflow as u32), self.c32(self.id.index() as u32));
            self.helper(&crate::abi::FAIL, &[kind, self.c32(0), id, self.c32(span)]);
            e.unreachable();
            e.at(good);
            let bytes = self.frame_end;
            if kernel {
                self.unit.need(|n| n.local_bytes = n.local_bytes.max(super::LOCAL_START + bytes));
            }
        }
        self.begin_stack();
        e.br(self.blocks[0].0);
        Ok(())
    }

    /// The code at the start of a block: which lanes are here.
    pub(super) fn begin(&mut self, block: Block) {
        let e = self.e;
        self.block = block;
        self.held.clear();
        self.vectors.clear();
        self.strict.clear();
        let (guard, inside) = self.blocks[block.index()];
        e.at(guard);
        if self.lanes == 1 {
            self.mask = None;
            return;
        }
        self.mask = match self.plan.masks[block.index()] {
            Mask::Entry => self.entered,
            Mask::Own => {
                let variable = self.masks[&block];
                let ty = self.i(1).vector(32);
                let lanes = e.load(ty, variable, 4);
                let any = e.icmp(Int::LLVMIntNE, e.cast(Code::LLVMBitCast, lanes, self.i(32)), self.c32(0));
                let skip = self.to(self.plan.skips[block.index()]);
                e.cond_br(any, inside, skip);
                e.at(inside);
                let lanes = e.load(ty, variable, 4);
                e.store(ty.zero(), variable, 4);
                // Blocks that share the mask find it here.
                let kept = self.kept_mask(block);
                e.store(lanes, kept, 4);
                Some(lanes)
            }
            Mask::Of(other) => {
                let kept = self.kept_mask(other);
                Some(e.load(self.i(1).vector(32), kept, 4))
            }
        };
    }
    fn kept_mask(&mut self, block: Block) -> Val<'c> {
        if let Some(&v) = self.kept.get(&block) {
            return v;
        }
        let v = self.e.alloca(self.entry, self.i(1).vector(32));
        self.kept.insert(block, v);
        v
    }

    pub(super) fn to(&self, next: Next) -> Blk<'c> {
        match next {
            Next::Block(b) => self.blocks[b.index()].0,
            Next::Check(l) => self.checks[&l],
            Next::End => self.end,
        }
    }

    pub(super) fn terminator(&mut self, inst: Inst) -> Result<()> {
        let e = self.e;
        let data = *self.body.inst(inst);
        let args = self.body.args(inst).to_vec();
        match data.op {
            Op::Ret if !self.function.is_kernel() => {
                for (n, &arg) in args.iter().enumerate() {
                    let v = self.visible(arg, false);
                    let blended = self.blend(self.results[n], v);
                    e.store(blended, self.results[n], 1);
                }
            }
            Op::Exit if self.function.is_kernel() => {}
            Op::Exit => return unsupported("exit in a function that is called"),
            Op::Trap => {
                self.fail(Failure::Trap, inst, None);
                e.unreachable();
                return Ok(());
            }
            _ => {}
        }
        let targets = self.body.targets(inst).to_vec();
        match self.plan.flows[self.block.index()].clone() {
            Flow::Fold(next) => {
                let conditions = self.conditions(data.op, &args, targets.len());
                if let Some(out) = self.way_out_of_a_strip(data.op, &args, inst)
                    && let Some(leaves) = conditions[out]
                {
                    self.unless_any(leaves, inst, 1 - out, next);
                }
                let mut moves = Moves::default();
                for (n, condition) in conditions.into_iter().enumerate() {
                    self.edge(inst, n, condition, &mut moves);
                }
                self.make(moves);
                e.br(self.to(next));
            }
            Flow::Branch(ways) => {
                let edges: Vec<Blk<'c>> = if ways.len() == 1 {
                    Vec::new()
                } else {
                    ways.iter().map(|_| e.block(self.code, "edge")).collect()
                };
                match data.op {
                    Op::BrIf => {
                        let condition = self.one(args[0]);
                        if self.facts.leaving.contains(&targets[0].block) || self.ends_strip(targets[0].block) {
                            let stays = e.bin(Code::LLVMXor, condition, condition.ty().ones());
                            e.cond_br_likely(stays, edges[1], edges[0]);
                        } else {
                            e.cond_br(condition, edges[0], edges[1]);
                        }
                    }
                    Op::Switch if ways.len() > 1 => {
                        let number = self.one(args[0]);
                        let last = ways.len() - 1;
                        let cases: Vec<_> =
                            edges[..last].iter().enumerate().map(|(n, b)| (self.c32(n as u32), *b)).collect();
                        e.switch(number, edges[last], &cases);
                    }
                    _ => {}
                }
                for (n, way) in ways.iter().enumerate() {
                    if let Some(&edge) = edges.get(n) {
                        e.at(edge);
                        // What an edge loads is not there on the others.
                        let (held, vectors, strict) = (self.held.clone(), self.vectors.clone(), self.strict.clone());
                        self.whole_edge(inst, n, *way);
                        (self.held, self.vectors, self.strict) = (held, vectors, strict);
                    } else {
                        self.whole_edge(inst, n, *way);
                    }
                }
            }
        }
        Ok(())
    }

    /// The way by which lanes leave a loop of a kernel that can be suspended, where they do so in the same turn for the most: they compare
    /// what is alike for them, or a constant distance apart.
    fn way_out_of_a_strip(&self, op: Op, args: &[Value], inst: Inst) -> Option<usize> {
        if op != Op::BrIf || self.lanes == 1 || self.facts.leaving.is_empty() {
            return None;
        }
        let insts = &self.body.blocks[self.block.index()].insts;
        let compares = insts.iter().find(|other| self.body.results(**other).contains(&args[0]))?;
        let alike = |value: &Value| self.shapes.get(*value) != Shape::Varying;
        if self.body.inst(*compares).op != Op::ICmp || !self.body.args(*compares).iter().all(alike) {
            return None;
        }
        let l = self.facts.loops.innermost(self.block).filter(|l| self.plan.divergent[l.index()])?;
        let stays = self.body.targets(inst).iter().map(|target| self.facts.loops.contains(l, target.block));
        match stays.collect::<Vec<_>>()[..] {
            [false, true] => Some(0),
            [true, false] => Some(1),
            _ => None,
        }
    }

    /// Where none of these lanes is there, all active ones take the other edge, and nothing has to be kept for those that did not.
    fn unless_any(&mut self, leave: Val<'c>, inst: Inst, other: usize, next: Next) {
        let e = self.e;
        let (stay, go) = (e.block(self.code, "stay"), e.block(self.code, "go"));
        let none = e.icmp(Int::LLVMIntEQ, e.cast(Code::LLVMBitCast, leave, self.i(32)), self.c32(0));
        e.cond_br_likely(none, stay, go);
        e.at(stay);
        let (held, vectors, strict) = (self.held.clone(), self.vectors.clone(), self.strict.clone());
        let mut moves = Moves::default();
        self.edge(inst, other, None, &mut moves);
        self.make(moves);
        let to = self.body.targets(inst)[other].block;
        // There are active lanes, so that nobody has to look whether there are.
        e.br(if next == Next::Block(to) { self.blocks[to.index()].1 } else { self.to(next) });
        (self.held, self.vectors, self.strict) = (held, vectors, strict);
        e.at(go);
    }

    /// Whether control comes to a block seldom: out of a loop that leaves it now and then to look whether it is asked to stop.
    pub(super) fn ends_strip(&self, to: Block) -> bool {
        let asks = self.body.terminator(to).is_some_and(|t| {
            self.body.targets(t).first().is_some_and(|first| self.facts.leaving.contains(&first.block))
        });
        asks && self.facts.left(self.block, to).next().is_some()
    }

    /// An edge that all active lanes take.
    fn whole_edge(&mut self, inst: Inst, n: usize, way: Next) {
        if self.ends_turn(inst, n) {
            return;
        }
        let mut moves = Moves::default();
        self.edge(inst, n, None, &mut moves);
        self.make(moves);
        let target = self.body.targets(inst)[n].block;
        self.poll(target);
        // What is left of a divergent loop goes on behind it without another look at who that is.
        let left =
            self.facts.left(self.block, target).next().filter(|l| self.lanes > 1 && self.plan.divergent[l.index()]);
        match left.filter(|l| self.facts.nobody_stays(self.block, *l)).map(|l| (l, self.plan.after[l.index()])) {
            Some((_, Next::Block(behind))) if behind == target => self.e.br(self.blocks[target.index()].1),
            Some((l, behind)) if way == Next::Check(l) => self.e.br(self.to(behind)),
            // Who goes round a loop in strips is there.
            _ if self.lanes > 1 && !self.facts.leaving.is_empty() && self.goes_round(target, way) => {
                self.e.br(self.blocks[target.index()].1);
            }
            _ => self.e.br(self.to(way)),
        }
    }

    /// Whether an edge leads back to the header of the loop whose check comes next.
    fn goes_round(&self, target: Block, way: Next) -> bool {
        let l = self.facts.loops.headed_by(target).filter(|l| way == Next::Check(*l));
        l.is_some_and(|l| self.facts.loops.contains(l, self.block) && !self.in_turns.contains(&l))
    }

    /// An edge that these lanes have taken.
    pub(super) fn edge_of(&mut self, inst: Inst, n: usize, lanes: Val<'c>) {
        let mut moves = Moves::default();
        self.edge(inst, n, Some(lanes), &mut moves);
        self.make(moves);
    }

    /// Which active lanes take each edge; none stands for all of them.
    fn conditions(&mut self, op: Op, args: &[Value], count: usize) -> Vec<Option<Val<'c>>> {
        let e = self.e;
        match op {
            Op::BrIf => {
                let yes = self.vector(args[0]);
                let no = e.bin(Code::LLVMXor, yes, yes.ty().ones());
                vec![Some(self.active(yes)), Some(self.active(no))]
            }
            Op::Switch if count > 1 => {
                let number = self.vector(args[0]);
                let mut conditions = Vec::new();
                for n in 0..count - 1 {
                    let same = e.icmp(Int::LLVMIntEQ, number, self.splat(self.c32(n as u32)));
                    conditions.push(Some(self.active(same)));
                }
                let beyond = e.icmp(Int::LLVMIntUGE, number, self.splat(self.c32(count as u32 - 1)));
                conditions.push(Some(self.active(beyond)));
                conditions
            }
            _ => vec![None; count],
        }
    }

    /// What lanes take along an edge.
    fn edge(&mut self, inst: Inst, n: usize, condition: Option<Val<'c>>, moves: &mut Moves<'c>) {
        let e = self.e;
        let target = self.body.targets(inst)[n];
        let to = target.block;
        let taken = condition.or(self.mask);
        let params = self.body.blocks[to.index()].params.clone();
        let args = self.body.target_args(target).to_vec();
        for (&param, &arg) in params.iter().zip(&args) {
            let strict = self.body.ty(param) == Type::F32 && !self.shapes.is_loose(param);
            let v = match self.shapes.get(param) {
                Shape::Varying if strict => self.visible(arg, false),
                Shape::Varying => self.vector(arg),
                _ if strict && self.is_uniform(arg) => self.visible(arg, true),
                _ => self.held(arg),
            };
            let variable = self.variable(param, None);
            let blended = if self.shapes.get(param) == Shape::Varying && self.is_blended(to) {
                self.blend_with(variable, v, taken, moves)
            } else {
                v
            };
            moves.stores.push((variable, blended));
        }
        if self.lanes == 1 {
            return;
        }
        for value in self.live.live_in(to).to_vec() {
            let (there, here) = (self.facts.view(value, to), self.facts.view(value, self.block));
            if there.is_some() && there != here {
                let v = self.vector(value);
                let variable = self.variable(value, there);
                let blended = self.blend_with(variable, v, taken, moves);
                moves.stores.push((variable, blended));
            }
        }
        if let Some(&mask) = self.masks.get(&to) {
            let ty = self.i(1).vector(32);
            let lanes = taken.unwrap_or_else(|| ty.ones());
            // The edges of one branch are handled one after the other, so this store need not wait.
            let before = e.load(ty, mask, 4);
            e.store(e.bin(Code::LLVMOr, before, lanes), mask, 4);
        }
    }

    fn make(&mut self, moves: Moves<'c>) {
        for (variable, value) in moves.stores {
            self.e.store(value, variable, 1);
        }
    }

    /// Whether lanes may come to a block one edge after the other, so that what an edge brings is for its lanes only.
    fn is_blended(&self, block: Block) -> bool {
        if self.lanes == 1 {
            return false;
        }
        let edges = self.facts.cfg.predecessors(block);
        let back = match self.facts.loops.headed_by(block) {
            Some(l) => self.facts.loops.get(l).latches.len(),
            None => 0,
        };
        // Lanes leave a divergent loop along one edge in different iterations, but where all that are left do.
        let left = |from: Block| self.facts.left(from, block).any(|l| self.plan.divergent[l.index()]);
        if edges.iter().any(|edge| left(edge.from)) {
            return !matches!(edges, [edge] if self.facts.leave_together(edge.from, block));
        }
        let one_each = edges.len() - back <= 1 && back <= 1;
        // Where control branches, one edge alone is taken.
        let branched = edges.iter().all(|edge| match &self.plan.flows[edge.from.index()] {
            Flow::Branch(ways) => ways.get(edge.target) == Some(&Next::Block(block)),
            Flow::Fold(_) => false,
        });
        !one_each && !branched
    }
    fn blend(&mut self, variable: Val<'c>, v: Val<'c>) -> Val<'c> {
        self.blend_with(variable, v, self.mask, &Moves::default())
    }
    fn blend_with(&mut self, variable: Val<'c>, v: Val<'c>, lanes: Option<Val<'c>>, moves: &Moves<'c>) -> Val<'c> {
        match lanes {
            Some(lanes) if self.lanes > 1 => {
                // Another edge of the same branch may have brought values for other lanes.
                let earlier = moves.stores.iter().rev().find(|(to, _)| *to == variable);
                let old = earlier.map_or_else(|| self.e.load(v.ty(), variable, 1), |(_, value)| *value);
                self.e.select(lanes, v, old)
            }
            _ => v,
        }
    }

    /// The checks behind divergent loops, and the end of the function.
    pub(super) fn finish(&mut self) {
        let e = self.e;
        for (l, check) in self.checks.clone() {
            if self.in_turns.contains(&l) {
                continue;
            }
            e.at(check);
            let header = self.facts.loops.get(l).header;
            let lanes = e.load(self.i(1).vector(32), self.masks[&header], 4);
            let any = e.icmp(Int::LLVMIntNE, e.cast(Code::LLVMBitCast, lanes, self.i(32)), self.c32(0));
            let again = e.block(self.code, "again");
            e.cond_br(any, again, self.to(self.plan.after[l.index()]));
            e.at(again);
            self.poll_loop(l);
            e.br(self.blocks[header.index()].1);
        }
        e.at(self.end);
        if self.results.is_empty() {
            e.ret(None);
        } else {
            let types: Vec<_> = self.function.signature.results.iter().map(|t| self.wide(self.element(*t))).collect();
            let mut all = e.structure(&types).undef();
            for (n, (&variable, &ty)) in self.results.iter().zip(&types).enumerate() {
                all = e.with_part(all, e.load(ty, variable, 1), n as u32);
            }
            e.ret(Some(all));
        }
    }

    /// On the way back to a header: a loop that may wait for another thread lets others run now and then.
    fn poll(&mut self, target: Block) {
        if let Some(l) = self.facts.loops.headed_by(target).filter(|l| self.facts.loops.contains(*l, self.block)) {
            self.poll_loop(l);
        }
    }
    fn poll_loop(&mut self, l: LoopId) {
        if !self.may_wait(l) {
            return;
        }
        let e = self.e;
        self.unit.need(|n| n.waits = true);
        let at = e.offset(self.warp, self.c64(std::mem::offset_of!(crate::abi::Warp, patience) as u64));
        let left = e.load(self.i(32), at, 4);
        let less = e.bin(Code::LLVMSub, left, self.c32(1));
        e.store(less, at, 4);
        let (wait, on) = (e.block(self.code, "wait"), e.block(self.code, "on"));
        e.cond_br_likely(e.icmp(Int::LLVMIntNE, less, self.c32(0)), on, wait);
        e.at(wait);
        self.helper(&crate::abi::YIELD, &[]);
        e.br(on);
        e.at(on);
    }
    /// Whether what a loop reads may decide when it ends: it reads memory that others write, atomically or in a way
    /// that the compiler must not take for constant.
    fn may_wait(&self, l: LoopId) -> bool {
        use hetir::attr::Order;
        let blocks = self.facts.loops.blocks(l).iter().filter(|b| !self.facts.leaving.contains(b));
        blocks.flat_map(|b| &self.body.blocks[b.index()].insts).any(|inst| {
            let data = self.body.inst(*inst);
            match data.op {
                Op::Load => data.attr::<Order>() != Order::Weak,
                Op::Atom | Op::Cas | Op::NanoSleep | Op::MbarrierTest | Op::MbarrierTry => true,
                Op::Call | Op::CallIndirect => true,
                _ => false,
            }
        })
    }
}
