//! Stopping in the middle of blocks.
//!
//! The verdict of a `stop_barrier` is the or of what its threads say. It has to be the same for all, to hold only once the launch is
//! asked to stop, and to hold where a thread of the block has left by itself before. So a thread that leaves says so at the
//! barrier that the others come to: it arrives there before it ends. What the word holds may be told late; in a loop it is what
//! was read behind the barrier of the turn before, which costs no waiting.
//!
//! All threads read the word: where only one does, ptxas 13.0 takes what the loop around computes for different in each thread, and the
//! loop of an n-body program in `f64` takes a tenth longer. They do so every [`PAUSE`] only, by the clock: each time, it would take
//! a product of matrices in tiles twice as long.
//!
//! **Where lanes leave one by one**, those of a warp come to the same barrier at different instructions. The hardware lets them, but
//! then not all of them get the result of a `barrier.red`: the code that ptxas 13.0 makes brings the lanes of the warp together at one of
//! these instructions, and only that one's predicate is written. So the verdict is a word of shared memory there: the number
//! of the first barrier at which a thread said that it leaves. Threads count the barriers, which they all pass, so that a
//! word that is written for the next one tells nothing to who still reads it for this.

use super::Hidden;
use super::function::{Printer, Printing};
use super::text::{Guard, Operand, Reg};
use hetir::analysis::cfg::Cfg;
use hetir::analysis::dom::Dominators;
use hetir::entity::{Block, Inst, Value};
use hetir::ir::{Body, Def, InstData};
use hetir::op::Op;
use hetir::types::Type;
use std::collections::HashMap;

/// Cycles between two times that threads read the word in a loop: some ten microseconds.
const PAUSE: u32 = 1 << 15;

/// What a kernel with such barriers keeps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopping {
    /// The word, as it was read behind a barrier in a loop, and when that was.
    word: Reg,
    read: Reg,
    /// The thread leaves, and has not told the others.
    leaves: Option<Reg>,
    /// Verdicts are a word of shared memory.
    told: Option<Told>,
}

/// A verdict that is told in shared memory.
#[derive(Clone, Copy, Debug)]
struct Told {
    /// The address of the number of the barrier at which threads leave.
    at: Reg,
    /// How many barriers this thread has come to.
    barriers: Reg,
}

/// Bytes of that word, which stands behind the launch's dynamic shared memory.
pub(super) const TOLD_BYTES: u32 = 4;

/// Where a launch that stops leads.
pub(super) struct Sites {
    /// Blocks that are executed only when it does.
    pub(super) cold: Vec<bool>,
    /// It is asked at a barrier in a block that is executed always.
    at_barriers: bool,
    /// Threads may leave by themselves.
    leave_alone: bool,
    /// Not with all lanes of their warp, too.
    one_by_one: bool,
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
        let at_barriers = cfg.order().iter().any(|b| !cold[b.index()] && holds(b));
        let voted = |value: &Value| {
            let insts = body.blocks.iter().flat_map(|b| &b.insts).filter(|i| body.inst(**i).op == Op::Vote);
            insts.flat_map(|i| body.args(*i)).any(|arg| arg == value)
        };
        let asks = body.blocks.iter().flat_map(|b| &b.insts).filter(|i| body.inst(**i).op == Op::StopAsked);
        let one_by_one = asks.flat_map(|i| body.results(*i)).any(|asked| !voted(asked));
        let leave_alone = alone && barrier;
        Some(Self { cold, at_barriers, leave_alone, one_by_one: leave_alone && one_by_one })
    }
}

/// Branches by a word or a verdict that a branch before them has looked at already, and which way they go. The form of kernels that
/// stop has some, where other devices want loops to hold all that is executed in them.
pub(super) fn decided(body: &Body, cfg: &Cfg, dom: &Dominators) -> HashMap<Block, usize> {
    let condition = |block: Block| {
        let branch = body.terminator(block).filter(|t| body.inst(*t).op == Op::BrIf)?;
        Some(body.args(branch)[0]).filter(|condition| says_so(body, *condition))
    };
    let way = |block: Block| {
        let looked_at = condition(block)?;
        let mut at = block;
        loop {
            if let [edge] = cfg.predecessors(at)
                && condition(edge.from) == Some(looked_at)
            {
                return Some(edge.target);
            }
            at = dom.immediate(at)?;
        }
    };
    cfg.order().iter().filter_map(|&block| Some((block, way(block)?))).collect()
}

/// Whether all lanes of a warp that come to a branch by such a word take the same way.
pub(super) fn together(body: &Body, condition: Value) -> bool {
    let Def::Result(inst) = body.values[condition.index()].def else { return false };
    says_so(body, condition) && body.inst(inst).op != Op::StopAsked
}

impl Printer<'_, '_> {
    /// Prepares for the barriers, where a kernel has some.
    pub(super) fn begin_stopping(&mut self) {
        let cfg = Cfg::of(self.body);
        let Some(sites) = Sites::of(self.body, &cfg).filter(|s| s.at_barriers || s.leave_alone) else {
            return;
        };
        let word = self.fresh(Type::I32);
        self.code.put("mov.b32", word, ["0".into()]);
        let read = self.fresh(Type::I32);
        self.code.put("mov.u32", read, ["%clock".into()]);
        let leaves = sites.leave_alone.then(|| self.fresh(Type::B1));
        if let Some(leaves) = leaves {
            self.code.put("mov.pred", leaves, ["0".into()]);
        }
        let told = (sites.one_by_one && self.cx.logical()).then(|| self.begin_telling());
        self.stopping = Some(Stopping { word, read, leaves, told });
    }
    /// Nobody leaves yet.
    fn begin_telling(&mut self) -> Told {
        let [dynamic, end, offset, at, barriers] = [0; 5].map(|_| self.fresh(Type::I32));
        let (name, base) = (self.cx.hidden(Hidden::DynamicShared), self.cx.layout.dynamic_offset);
        self.cx.tells = true;
        self.code.put("ld.param.b32", dynamic, [Operand::at(name, 0)]);
        self.code.put("add.s32", end, [dynamic.into(), (base + u64::from(TOLD_BYTES) - 1).to_string().into()]);
        self.code.put("and.b32", offset, [end.into(), format!("-{TOLD_BYTES}").into()]);
        self.code.put("add.s32", at, [offset.into(), self.deltas.shared.into()]);
        self.code.put("mov.b32", barriers, ["0".into()]);
        let first = self.first_thread();
        let outer = self.code.guard.replace(Guard { pred: first, negated: false });
        self.code.act("st.relaxed.cta.shared.b32", [], [Operand::at(at, 0), "-1".into()]);
        self.code.guard = outer;
        self.code.act("bar.sync", [], ["0".into()]);
        Told { at, barriers }
    }
    /// Comes to the next barrier, and says there whether this thread leaves.
    fn tell(&mut self, told: Told, leaves: Reg) {
        self.code.put("add.s32", told.barriers, [told.barriers.into(), "1".into()]);
        let outer = self.code.guard.replace(Guard { pred: leaves, negated: false });
        self.code.act("st.relaxed.cta.shared.b32", [], [Operand::at(told.at, 0), told.barriers.into()]);
        self.code.guard = outer;
        self.code.act("barrier.sync", [], ["0".into()]);
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
    /// Reads the word that asks the launch to stop; in some threads only, where a condition is given.
    pub(super) fn read_word(&mut self, word: Reg, only: Option<Reg>) {
        let address = self.fresh(Type::I64);
        let name = self.cx.hidden(Hidden::Stop);
        self.code.put("ld.param.b64", address, [Operand::at(name, 0)]);
        let outer = self.code.guard;
        if let Some(pred) = only {
            self.code.guard = Some(Guard { pred, negated: false });
        }
        self.code.act("ld.relaxed.sys.global.b32", [word.into()], [Operand::at(address, 0)]);
        self.code.guard = outer;
    }

    /// Reads the word where it was not read for a while.
    fn read_again(&mut self, word: Reg, read: Reg) {
        let [now, since] = [0; 2].map(|_| self.fresh(Type::I32));
        let due = self.fresh(Type::B1);
        self.code.put("mov.u32", now, ["%clock".into()]);
        self.code.put("sub.s32", since, [now.into(), read.into()]);
        self.code.put("setp.gt.u32", due, [since.into(), PAUSE.to_string().into()]);
        let outer = self.code.guard.replace(Guard { pred: due, negated: false });
        self.code.put("mov.b32", read, [now.into()]);
        self.code.guard = outer;
        self.read_word(word, Some(due));
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
        let Some(Stopping { word, read, leaves, told }) = self.stopping else { return self.no_form(data) };
        let verdict = self.result(inst, 0);
        let mut asked = self.fresh(Type::B1);
        let again = self.in_loop;
        if again {
            self.code.put("setp.ne.s32", asked, [word.into(), "0".into()]);
        } else {
            let now = self.fresh(Type::I32);
            self.code.put("mov.b32", now, ["0".into()]);
            self.read_word(now, None);
            self.code.put("setp.ne.s32", asked, [now.into(), "0".into()]);
        }
        if let Some(leaves) = leaves {
            let either = self.fresh(Type::B1);
            self.code.put("or.pred", either, [asked.into(), leaves.into()]);
            asked = either;
        }
        match told {
            Some(told) => {
                self.tell(told, asked);
                let number = self.fresh(Type::I32);
                self.code.act("ld.relaxed.cta.shared.b32", [number.into()], [Operand::at(told.at, 0)]);
                self.code.put("setp.le.u32", verdict, [number.into(), told.barriers.into()]);
            }
            None => self.code.act("barrier.red.or.pred", [verdict.into()], ["0".into(), asked.into()]),
        }
        if let Some(leaves) = leaves {
            self.code.put("mov.pred", leaves, ["0".into()]);
        }
        if again {
            self.read_again(word, read);
        }
        Ok(())
    }

    /// Tells the others, before a thread ends that leaves by itself.
    pub(super) fn tell_others(&mut self) {
        let Some(Stopping { leaves: Some(leaves), told, .. }) = self.stopping else { return };
        let outer = self.code.guard.replace(Guard { pred: leaves, negated: false });
        match told {
            Some(told) => self.tell(told, leaves),
            None => {
                let unused = self.fresh(Type::B1);
                self.code.act("barrier.red.or.pred", [unused.into()], ["0".into(), leaves.into()]);
            }
        }
        self.code.guard = outer;
    }
}
