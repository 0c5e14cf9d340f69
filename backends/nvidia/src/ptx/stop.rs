//! Stopping in the middle of blocks.
//!
//! The verdict of a `stop_barrier` is the or of what its threads say. It has to be the same for all, to hold only once the launch is
//! asked to stop, and to hold where a thread of the block has left by itself before. So a thread that leaves says so at the
//! barrier that the others come to: it arrives there before it ends. What the word holds may be told late; in a loop it is what
//! was read behind the barrier of the turn before, which costs no waiting.
//!
//! One thread reads the word, the first of the block, where it cannot have ended while others come to such a barrier; else all
//! do.

use super::Hidden;
use super::function::{Printer, Printing};
use super::text::{Guard, Operand, Reg};
use hetir::analysis::cfg::Cfg;
use hetir::analysis::dom::{Dominators, PostDominators};
use hetir::analysis::loops::LoopForest;
use hetir::analysis::uniform::{Uniform, Uniformity};
use hetir::entity::{Block, Inst, Value};
use hetir::ir::{Body, Def, Function, InstData};
use hetir::op::Op;
use hetir::types::Type;

/// What a kernel with such barriers keeps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopping {
    /// The word, as it was read behind the last barrier in a loop.
    word: Reg,
    /// The thread leaves, and has not told the others.
    leaves: Option<Reg>,
    /// It is the block's first thread, and only that one reads the word.
    leader: Option<Reg>,
}

/// Where a launch that stops leads.
pub(super) struct Sites {
    /// Blocks that are executed only when it does.
    pub(super) cold: Vec<bool>,
    /// Barriers at which it is asked, in blocks that are executed always.
    barriers: Vec<Block>,
    /// Threads may leave by themselves.
    leave_alone: bool,
}

/// Whether a value says that the launch is asked to stop.
fn says_so(body: &Body, value: Value) -> bool {
    let Def::Result(inst) = body.values[value.index()].def else { return false };
    match body.inst(inst).op {
        Op::StopAsked | Op::StopBarrier => true,
        Op::Vote => says_so(body, body.args(inst)[0]),
        _ => false,
    }
}

impl Sites {
    pub(super) fn of(body: &Body, cfg: &Cfg) -> Option<Self> {
        let has = |op: Op| body.blocks.iter().flat_map(|b| &b.insts).any(|i| body.inst(*i).op == op);
        let (barrier, alone) = (has(Op::StopBarrier), has(Op::StopAsked));
        if !barrier && !alone {
            return None;
        }
        let dominators = Dominators::of(cfg);
        let mut cold = vec![false; body.blocks.len()];
        for &block in cfg.order() {
            let Some(branch) = body.terminator(block).filter(|t| body.inst(*t).op == Op::BrIf) else { continue };
            if !says_so(body, body.args(branch)[0]) {
                continue;
            }
            let first = body.targets(branch)[0].block;
            let own = cfg.predecessors(first).len() == 1;
            for &b in cfg.order().iter().filter(|b| own && dominators.dominates(first, **b)) {
                cold[b.index()] = true;
            }
        }
        // What all of them lead to is cold, too.
        for &block in cfg.order() {
            let mut before = cfg.predecessors(block).iter().peekable();
            if block != Body::ENTRY && before.peek().is_some() && before.all(|e| cold[e.from.index()]) {
                cold[block.index()] = true;
            }
        }
        let holds = |b: &Block| body.blocks[b.index()].insts.iter().any(|i| body.inst(*i).op == Op::StopBarrier);
        let barriers = cfg.order().iter().copied().filter(|b| !cold[b.index()] && holds(b)).collect();
        Some(Self { cold, barriers, leave_alone: alone && barrier })
    }

    /// Whether the block's first thread is there at each of the barriers: no branch that parts threads leads on one way to the
    /// end and on another to a barrier.
    fn leader_lives(&self, function: &Function, body: &Body, cfg: &Cfg) -> bool {
        let loops = LoopForest::of(cfg, &Dominators::of(cfg));
        let uniform = Uniform::of(function, cfg, &PostDominators::of(cfg), &loops);
        let back = |from: &mut dyn Iterator<Item = Block>, through: &dyn Fn(Block) -> bool| {
            let mut seen = vec![false; body.blocks.len()];
            let mut work: Vec<Block> = from.collect();
            while let Some(block) = work.pop() {
                if !std::mem::replace(&mut seen[block.index()], true) {
                    work.extend(cfg.predecessors(block).iter().map(|e| e.from).filter(|b| through(*b)));
                }
            }
            seen
        };
        let is_barrier = |b: Block| self.barriers.contains(&b);
        let ends = |b: &Block| {
            let op = body.terminator(*b).map(|t| body.inst(t).op);
            !self.cold[b.index()] && matches!(op, Some(Op::Ret | Op::Exit))
        };
        let to_end = back(&mut cfg.order().iter().copied().filter(ends), &|b| !is_barrier(b));
        let to_barrier = back(&mut self.barriers.iter().copied(), &|_| true);
        cfg.order().iter().all(|b| {
            let parts = uniform.branch(*b) != Uniformity::Block && !self.cold[b.index()];
            let both = to_end[b.index()] && to_barrier[b.index()];
            !(parts && both)
        })
    }
}

impl Printer<'_, '_> {
    /// Prepares for the barriers, where a kernel has some.
    pub(super) fn begin_stopping(&mut self) {
        let cfg = Cfg::of(self.body);
        let Some(sites) = Sites::of(self.body, &cfg).filter(|s| !s.barriers.is_empty() || s.leave_alone) else {
            return;
        };
        let word = self.fresh(Type::I32);
        self.code.put("mov.b32", word, ["0".into()]);
        let leaves = sites.leave_alone.then(|| self.fresh(Type::B1));
        if let Some(leaves) = leaves {
            self.code.put("mov.pred", leaves, ["0".into()]);
        }
        let lives = sites.leader_lives(self.function, self.body, &cfg);
        let leader = lives.then(|| self.first_thread());
        self.stopping = Some(Stopping { word, leaves, leader });
    }
    /// Whether this is the block's first thread.
    pub(super) fn first_thread(&mut self) -> Reg {
        let [x, y, z] = ["%tid.x", "%tid.y", "%tid.z"].map(|name| {
            let reg = self.fresh(Type::I32);
            self.code.put("mov.u32", reg, [name.into()]);
            Operand::Reg(reg)
        });
        let [any, all] = [0; 2].map(|_| self.fresh(Type::I32));
        let first = self.fresh(Type::B1);
        self.code.put("or.b32", any, [x, y]);
        self.code.put("or.b32", all, [any.into(), z]);
        self.code.put("setp.eq.s32", first, [all.into(), "0".into()]);
        first
    }
    /// Reads the word that asks the launch to stop.
    pub(super) fn read_word(&mut self, word: Reg, leader: Option<Reg>) {
        let address = self.fresh(Type::I64);
        let name = self.cx.hidden(Hidden::Stop);
        self.code.put("ld.param.b64", address, [Operand::at(name, 0)]);
        let outer = self.code.guard;
        if let Some(pred) = leader {
            self.code.guard = Some(Guard { pred, negated: false });
        }
        self.code.act("ld.relaxed.sys.global.b32", [word.into()], [Operand::at(address, 0)]);
        self.code.guard = outer;
    }

    pub(super) fn stop_asked(&mut self, inst: Inst, data: &InstData) -> Printing {
        if !self.function.is_kernel() {
            return self.no_form(data);
        }
        let (to, word) = (self.result(inst, 0), self.fresh(Type::I32));
        self.read_word(word, None);
        self.code.put("setp.ne.s32", to, [word.into(), "0".into()]);
        if let Some(leaves) = self.stopping.and_then(|s| s.leaves) {
            self.code.put("or.pred", leaves, [leaves.into(), to.into()]);
        }
        Ok(())
    }

    pub(super) fn stop_barrier(&mut self, inst: Inst, data: &InstData) -> Printing {
        let Some(Stopping { word, leaves, leader }) = self.stopping else { return self.no_form(data) };
        let verdict = self.result(inst, 0);
        let mut asked = self.fresh(Type::B1);
        let again = self.in_loop;
        if again {
            self.code.put("setp.ne.s32", asked, [word.into(), "0".into()]);
        } else {
            let now = self.fresh(Type::I32);
            self.code.put("mov.b32", now, ["0".into()]);
            self.read_word(now, leader);
            self.code.put("setp.ne.s32", asked, [now.into(), "0".into()]);
        }
        if let Some(leaves) = leaves {
            let either = self.fresh(Type::B1);
            self.code.put("or.pred", either, [asked.into(), leaves.into()]);
            asked = either;
        }
        self.code.act("barrier.red.or.pred", [verdict.into()], ["0".into(), asked.into()]);
        if let Some(leaves) = leaves {
            self.code.put("mov.pred", leaves, ["0".into()]);
        }
        if again {
            self.read_word(word, leader);
        }
        Ok(())
    }

    /// Tells the others, before a thread ends that leaves by itself.
    pub(super) fn tell_others(&mut self) {
        if let Some(leaves) = self.stopping.and_then(|s| s.leaves) {
            let unused = self.fresh(Type::B1);
            let outer = self.code.guard.replace(Guard { pred: leaves, negated: false });
            self.code.act("barrier.red.or.pred", [unused.into()], ["0".into(), leaves.into()]);
            self.code.guard = outer;
        }
    }
}
