//! Which places become sites.

use super::{Refusal, SiteKind, split};
use crate::analysis::cfg::{Cfg, Edge};
use crate::analysis::dom::{Dominators, PostDominators};
use crate::analysis::live::defining_blocks;
use crate::analysis::loops::{LoopForest, LoopId};
use crate::analysis::uniform::{Assumptions, Uniform, Uniformity};
use crate::attr::{IntCmp, Order, Sign, Space};
use crate::build::Builder;
use crate::diag::Span;
use crate::entity::{Block, FuncId, Inst, Value};
use crate::ir::{Body, Def, Function, Module};
use crate::op::{Effects, Op};
use crate::passes::reduce_loops;
use std::collections::{BTreeMap, BTreeSet};

/// A site in the body that [`choose`] has changed: its block ends in a jump behind the site.
pub(super) struct Place {
    pub(super) kind: SiteKind,
    pub(super) block: Block,
    pub(super) span: Span,
}

#[derive(Default)]
pub(super) struct Found {
    pub(super) places: Vec<Place>,
    pub(super) refusals: Vec<Refusal>,
}

/// Instructions that a thread executes in a loop that needs no site: so few take no time.
const SHORT: u64 = 20_000;

/// Gives each site of the kernel a block of its own. Barriers that are sites stand in none any more.
pub(super) fn choose(module: &mut Module, kernel: FuncId, block: [u32; 3]) -> Found {
    let mut found = Found::default();
    let (calls, has_shared) = (Calls::of(module), super::has_shared(module));
    let function = &mut module.functions[kernel.index()];
    let Some(body) = function.body.as_mut() else { return found };
    let cfg = Cfg::of(body);
    if LoopForest::of(&cfg, &Dominators::of(&cfg)).is_irreducible() {
        reduce_loops::run(body);
    }
    if let Some((span, why)) = forbidden(body, &calls) {
        found.refusals.push(Refusal { span, why, whole: true });
        return found;
    }
    let mut places = barriers(body);
    let loops = Loops::of(function, block, &calls, &places, has_shared);
    if let Some((span, why)) = loops.whole() {
        found.refusals = loops.refusals;
        found.refusals.push(Refusal { span, why, whole: true });
        return found;
    }
    found.refusals.clone_from(&loops.refusals);
    let Some(body) = function.body.as_mut() else { return found };
    places.extend(loops.before_warp_ops(body));
    places.extend(loops.at_ends(body));
    found.places = places;
    found
}

/// What functions that are called do.
struct Calls {
    /// By function: it, or what it calls, has ops that a warp executes together; barriers; loops that may wait.
    warp: Vec<bool>,
    barrier: Vec<bool>,
    waits: Vec<bool>,
}

impl Calls {
    fn of(module: &Module) -> Self {
        let own = |test: &dyn Fn(&Body) -> bool| -> Vec<bool> {
            let mut found: Vec<bool> = module.functions.iter().map(|f| f.body.as_ref().is_some_and(test)).collect();
            // What is called indirectly may be any of them.
            loop {
                let before = found.clone();
                for (n, f) in module.functions.iter().enumerate() {
                    let Some(body) = &f.body else { continue };
                    found[n] |= insts(body).any(|i| match body.inst(i).op {
                        Op::Call => found.get(body.inst(i).imm as usize).is_some_and(|f| *f),
                        Op::CallIndirect => before.iter().zip(&module.functions).any(|(b, f)| *b && !f.is_kernel()),
                        _ => false,
                    });
                }
                if found == before {
                    return found;
                }
            }
        };
        Self {
            warp: own(&|body| insts(body).any(|i| is_warp_op(body, i))),
            barrier: own(&|body| insts(body).any(|i| is_barrier(body.inst(i).op))),
            waits: own(&|body| insts(body).any(|i| reads_others(body, i)) && has_loop(body)),
        }
    }
    fn any(list: &[bool], body: &Body, inst: Inst) -> bool {
        match body.inst(inst).op {
            Op::Call => list.get(body.inst(inst).imm as usize).is_some_and(|f| *f),
            Op::CallIndirect => list.iter().any(|f| *f),
            _ => false,
        }
    }
}

/// Whether a loop has no way out, or reads what other threads write.
pub(super) fn may_be_endless(body: &Body) -> bool {
    let cfg = Cfg::of(body);
    let loops = LoopForest::of(&cfg, &Dominators::of(&cfg));
    let reads = |b: &Block| body.blocks[b.index()].insts.iter().any(|i| reads_others(body, *i));
    let mut each = loops.ids();
    loops.is_irreducible() || each.any(|l| loops.exits(&cfg, l).is_empty() || loops.blocks(l).iter().any(reads))
}

fn has_loop(body: &Body) -> bool {
    let cfg = Cfg::of(body);
    let loops = LoopForest::of(&cfg, &Dominators::of(&cfg));
    !loops.is_empty() || loops.is_irreducible()
}

fn insts(body: &Body) -> impl Iterator<Item = Inst> + '_ {
    body.blocks.iter().flat_map(|b| b.insts.iter().copied())
}

fn is_barrier(op: Op) -> bool {
    matches!(op, Op::Barrier | Op::BarrierRed | Op::BarrierArrive | Op::GroupBarrier)
}

/// Whether lanes of a warp execute it together, those of its mask at least.
fn is_warp_op(body: &Body, inst: Inst) -> bool {
    let op = body.inst(inst).op;
    let apart = matches!(op, Op::ActiveMask | Op::SetMaxReg | Op::Call | Op::CallIndirect | Op::StopBarrier);
    op.info().effects.has(Effects::CONVERGENT) && !is_barrier(op) && !apart
}

/// Whether what an instruction reads may be changed by another thread meanwhile.
fn reads_others(body: &Body, inst: Inst) -> bool {
    let data = body.inst(inst);
    match data.op {
        Op::Load => data.attr::<Order>() != Order::Weak && !matches!(data.attr(), Space::Local | Space::Param),
        Op::Atom | Op::Cas | Op::NanoSleep => true,
        _ => false,
    }
}

/// What no kernel may have in which threads stop in the middle.
fn forbidden(body: &Body, calls: &Calls) -> Option<(Span, String)> {
    let why = |inst: Inst| -> Option<&'static str> {
        let data = body.inst(inst);
        Some(match data.op {
            Op::GroupBarrier => "groups of warps wait for each other",
            Op::BarrierArrive => "threads arrive at a barrier without waiting",
            Op::Barrier | Op::BarrierRed => {
                let all = body.args(inst)[..2].iter().all(|v| body.constant(*v) == Some(0));
                return (!all).then_some("a barrier is not that of the whole block");
            }
            Op::ClusterArrive | Op::ClusterWait | Op::MapRank | Op::RankOf => "the blocks of a cluster work together",
            Op::MbarrierInit
            | Op::MbarrierInval
            | Op::MbarrierExpect
            | Op::MbarrierComplete
            | Op::MbarrierArrive
            | Op::MbarrierArriveExpect
            | Op::MbarrierTest
            | Op::MbarrierTry
            | Op::CpAsyncArrive => "barriers in memory count copies under way",
            Op::BulkLoad
            | Op::BulkMulticast
            | Op::BulkSend
            | Op::BulkStore
            | Op::BulkReduceSend
            | Op::BulkReduceStore
            | Op::StoreAsync
            | Op::RedAsync => "bulk copies may be under way",
            Op::Alloca | Op::StackSave | Op::StackRestore => "the size of its stack is not known beforehand",
            Op::Call | Op::CallIndirect if Calls::any(&calls.barrier, body, inst) => {
                "a function that is called has a barrier"
            }
            Op::Call | Op::CallIndirect if Calls::any(&calls.waits, body, inst) => {
                "a function that is called waits for other threads"
            }
            _ if data.attr::<Space>() == Space::Cluster => "the blocks of a cluster work together",
            _ => return None,
        })
    };
    insts(body).find_map(|i| Some((body.spans[i.index()], why(i)?.to_owned())))
}

/// Splits blocks at the barriers of the whole block. One without result is a part of its site, one with a result stands
/// behind it.
fn barriers(body: &mut Body) -> Vec<Place> {
    let mut places = Vec::new();
    for block in body.block_ids() {
        let mut at = block;
        while let Some(place) = body.blocks[at.index()].insts.iter().position(|i| {
            let op = body.inst(*i).op;
            op == Op::Barrier || op == Op::BarrierRed && body.blocks[at.index()].insts.first() != Some(i)
        }) {
            let inst = body.blocks[at.index()].insts[place];
            let span = body.spans[inst.index()];
            let reduces = body.inst(inst).op == Op::BarrierRed;
            if !reduces {
                body.blocks[at.index()].insts.remove(place);
            }
            let site = split(body, at, place);
            let behind = split(body, site, 0);
            places.push(Place { kind: SiteKind::Barrier, block: site, span });
            at = behind;
        }
        // A reduction that begins its block has no site before it yet.
        let first = body.blocks[block.index()].insts.first().copied();
        if let Some(inst) = first.filter(|i| body.inst(*i).op == Op::BarrierRed) {
            let span = body.spans[inst.index()];
            let site = split(body, block, 0);
            split(body, site, 0);
            places.push(Place { kind: SiteKind::Barrier, block: site, span });
        }
    }
    places
}

/// What a loop becomes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Site(SiteKind),
    /// It has a barrier in each turn, or ends soon.
    None,
    /// It cannot have one.
    Refused,
}

struct Loops {
    headers: BTreeMap<Block, Fate>,
    /// Ops before which warps meet.
    meets: BTreeSet<(Block, Inst)>,
    refusals: Vec<Refusal>,
    /// A loop that waits for other threads and is none.
    waiting: Option<Span>,
}

impl Loops {
    fn of(function: &Function, block: [u32; 3], calls: &Calls, barriers: &[Place], has_shared: bool) -> Self {
        let mut result = Self { headers: BTreeMap::new(), meets: BTreeSet::new(), refusals: Vec::new(), waiting: None };
        let Some(body) = &function.body else { return result };
        let cfg = Cfg::of(body);
        let dom = Dominators::of(&cfg);
        let forest = LoopForest::of(&cfg, &dom);
        let uniform = among_the_living(function, block);
        let warp_op = |i: Inst| is_warp_op(body, i) || Calls::any(&calls.warp, body, i);
        let together = insts(body).any(warp_op);
        let is_site: BTreeSet<Block> = barriers.iter().map(|p| p.block).collect();
        let definitions = defining_blocks(body);
        let mut costs = Costs { body, cfg: &cfg, dom: &dom, forest: &forest, definitions: &definitions };
        for l in forest.ids() {
            let header = forest.get(l).header;
            let every_turn = |b: &Block| forest.get(l).latches.iter().all(|e| dom.dominates(*b, e.from));
            let met = forest.blocks(l).iter().filter(|b| is_site.contains(b)).any(every_turn);
            let waits =
                forest.blocks(l).iter().flat_map(|b| &body.blocks[b.index()].insts).any(|i| reads_others(body, *i));
            let fate = if met || !waits && costs.of(l).is_some_and(|cost| cost <= SHORT) {
                Fate::None
            } else if together && uniform.control(header) <= Uniformity::Warp && uniform.exits(l) <= Uniformity::Warp {
                Fate::Site(SiteKind::WarpLoop)
            } else {
                Fate::Site(SiteKind::Loop)
            };
            result.headers.insert(header, fate);
        }
        if together {
            for l in forest.ids() {
                let header = forest.get(l).header;
                if result.headers[&header] == Fate::Site(SiteKind::Loop) {
                    match met_behind(body, &cfg, header, &is_site, &uniform, &warp_op) {
                        Ok(meets) if has_shared && !meets.is_empty() => {
                            result.headers.insert(header, Fate::Refused);
                            let why = "lanes that stay in this loop would wait for the others of their block, to store its shared \
                                       memory, and these for them before an op of their warp";
                            result.refusals.push(Refusal {
                                span: span_of(body, header),
                                why: why.into(),
                                whole: false,
                            });
                        }
                        Ok(meets) => result.meets.extend(meets),
                        Err(inst) => {
                            result.headers.insert(header, Fate::Refused);
                            let why = format!(
                                "lanes that stay in this loop would be missed by `{}` behind it, which not all of their warp \
                                 come to",
                                body.inst(inst).op.info().name
                            );
                            result.refusals.push(Refusal { span: span_of(body, header), why, whole: false });
                        }
                    }
                }
            }
        }
        result.waiting = forest.ids().find_map(|l| {
            let header = forest.get(l).header;
            let waits =
                forest.blocks(l).iter().flat_map(|b| &body.blocks[b.index()].insts).any(|i| reads_others(body, *i));
            (waits && result.headers[&header] == Fate::Refused).then(|| span_of(body, header))
        });
        result
    }

    /// Why the kernel has no sites after all.
    fn whole(&self) -> Option<(Span, String)> {
        self.waiting.map(|span| (span, "a loop that may wait for other threads cannot be left".to_owned()))
    }

    /// Sites before ops that warps execute together.
    fn before_warp_ops(&self, body: &mut Body) -> Vec<Place> {
        let mut places = Vec::new();
        // From the last to the first of a block, so that the first part keeps its number.
        let mut by_block: BTreeMap<Block, Vec<usize>> = BTreeMap::new();
        for (block, inst) in &self.meets {
            let place = body.blocks[block.index()].insts.iter().position(|i| i == inst);
            by_block.entry(*block).or_default().extend(place);
        }
        for (block, mut all) in by_block {
            all.sort_unstable();
            for place in all.into_iter().rev() {
                let span = body.spans[body.blocks[block.index()].insts[place].index()];
                let site = split(body, block, place);
                split(body, site, 0);
                places.push(Place { kind: SiteKind::Warp, block: site, span });
            }
        }
        places
    }

    /// Sites at the ends of loops.
    fn at_ends(&self, body: &mut Body) -> Vec<Place> {
        let cfg = Cfg::of(body);
        let forest = LoopForest::of(&cfg, &Dominators::of(&cfg));
        let mut places = Vec::new();
        for l in forest.ids() {
            let header = forest.get(l).header;
            let Some(Fate::Site(kind)) = self.headers.get(&header).copied() else { continue };
            let block = merge(body, header, &forest.get(l).latches);
            places.push(Place { kind, block, span: span_of(body, header) });
        }
        places
    }
}

/// Leads the edges that go back to a loop's header through a new block.
fn merge(body: &mut Body, header: Block, latches: &[Edge]) -> Block {
    let span = span_of(body, header);
    let new = body.add_block();
    let types: Vec<_> = body.blocks[header.index()].params.iter().map(|p| body.ty(*p)).collect();
    let params: Vec<Value> = types.into_iter().map(|ty| body.add_param(new, ty)).collect();
    for latch in latches {
        if let Some(branch) = body.terminator(latch.from) {
            body.targets_mut(branch)[latch.target].block = new;
        }
    }
    Builder { span, ..Builder::new(body, new) }.jump(header, &params);
    new
}

fn span_of(body: &Body, block: Block) -> Span {
    let mut spans = body.blocks[block.index()].insts.iter().map(|i| body.spans[i.index()]);
    spans.find(|s| *s != Span::default()).unwrap_or_default()
}

/// The ops of warps that lanes come to when others have left in a loop, each the first on its way: those before which the
/// warp can meet, or one where it cannot.
fn met_behind(
    body: &Body,
    cfg: &Cfg,
    header: Block,
    is_site: &BTreeSet<Block>,
    uniform: &Uniform,
    warp_op: &dyn Fn(Inst) -> bool,
) -> Result<Vec<(Block, Inst)>, Inst> {
    let (mut seen, mut work, mut meets) = (BTreeSet::new(), vec![header], Vec::new());
    while let Some(block) = work.pop() {
        if is_site.contains(&block) || !seen.insert(block) {
            continue;
        }
        match body.blocks[block.index()].insts.iter().copied().find(|i| warp_op(*i)) {
            Some(inst) if uniform.control(block) <= Uniformity::Warp => meets.push((block, inst)),
            Some(inst) => return Err(inst),
            None => work.extend(cfg.successors(block)),
        }
    }
    Ok(meets)
}

/// The uniformity among the threads that have not ended: a branch on which one side only ends the thread keeps those
/// together that take the other.
fn among_the_living(function: &Function, block: [u32; 3]) -> Uniform {
    let mut living = function.clone();
    if let Some(body) = living.body.as_mut() {
        let ends: Vec<bool> = body.block_ids().map(|b| only_ends(body, b)).collect();
        for block in body.block_ids() {
            let Some(branch) = body.terminator(block).filter(|t| body.inst(*t).op == Op::BrIf) else { continue };
            let [yes, no] = [0, 1].map(|n| body.targets(branch)[n]);
            let stays = match (ends[yes.block.index()], ends[no.block.index()]) {
                (true, false) => no,
                (false, true) => yes,
                _ => continue,
            };
            let args = body.target_args(stays).to_vec();
            let span = body.spans[branch.index()];
            body.blocks[block.index()].insts.pop();
            Builder { span, ..Builder::new(body, block) }.jump(stays.block, &args);
        }
    }
    let none = Body::default();
    let body = living.body.as_ref().unwrap_or(&none);
    let cfg = Cfg::of(body);
    let (post, forest) = (PostDominators::of(&cfg), LoopForest::of(&cfg, &Dominators::of(&cfg)));
    let assumptions = Assumptions { block: Some(block), lockstep: false };
    Uniform::under(assumptions, &living, &cfg, &post, &forest)
}

/// Whether a thread that comes to a block ends there without having to do with others.
fn only_ends(body: &Body, block: Block) -> bool {
    let insts = &body.blocks[block.index()].insts;
    let ends = insts.last().is_some_and(|t| matches!(body.inst(*t).op, Op::Ret | Op::Exit));
    ends && insts.iter().all(|i| !body.inst(*i).op.info().effects.has(Effects::CONVERGENT))
}

/// How long loops take that count to a constant.
struct Costs<'a> {
    body: &'a Body,
    cfg: &'a Cfg,
    dom: &'a Dominators,
    forest: &'a LoopForest,
    definitions: &'a [Option<Block>],
}

impl Costs<'_> {
    /// Instructions that a thread executes in a loop, where that can be told.
    fn of(&mut self, l: LoopId) -> Option<u64> {
        let turns = self.turns(l)?;
        let mut turn = 0u64;
        for &block in self.forest.blocks(l) {
            let insts = &self.body.blocks[block.index()].insts;
            if insts.iter().any(|i| matches!(self.body.inst(*i).op, Op::Call | Op::CallIndirect | Op::Syscall)) {
                return None;
            }
            match self.forest.innermost(block) {
                Some(inner) if inner == l => turn += insts.len() as u64,
                Some(inner) if self.forest.get(inner).header == block && self.forest.get(inner).parent == Some(l) => {
                    turn = turn.checked_add(self.of(inner)?)?;
                }
                _ => {}
            }
        }
        turns.checked_mul(turn)
    }

    /// At most so many turns: a parameter of the header counts in constant steps from a constant towards another, and the
    /// loop is left when it gets there.
    fn turns(&self, l: LoopId) -> Option<u64> {
        let header = self.forest.get(l).header;
        let latches = &self.forest.get(l).latches;
        let exits = self.forest.exits(self.cfg, l);
        let every_turn = |b: Block| latches.iter().all(|e| self.dom.dominates(b, e.from));
        let limits = exits.iter().filter(|(e, _)| every_turn(e.from));
        limits.filter_map(|(edge, _)| self.count(header, l, *edge, latches)).min()
    }

    fn count(&self, header: Block, l: LoopId, exit: Edge, latches: &[Edge]) -> Option<u64> {
        let body = self.body;
        let branch = body.terminator(exit.from).filter(|t| body.inst(*t).op == Op::BrIf)?;
        let Def::Result(compare) = body.values[body.args(branch)[0].index()].def else { return None };
        if body.inst(compare).op != Op::ICmp {
            return None;
        }
        let (a, b) = (body.args(compare)[0], body.args(compare)[1]);
        let (counted, limit) = match (body.constant(a), body.constant(b)) {
            (None, Some(limit)) => (a, limit),
            (Some(limit), None) => (b, limit),
            _ => return None,
        };
        let ty = body.ty(counted);
        let signed = |v: u64| -> i64 {
            let shift = 64 - ty.bits().min(64);
            ((v << shift) as i64) >> shift
        };
        // The parameter itself, or what it will be in the next turn.
        let params = &body.blocks[header.index()].params;
        let own = |v: Value| params.iter().position(|p| *p == v);
        let place = own(counted).or_else(|| own(self.added(counted)?.0))?;
        let mut step = None;
        for latch in latches {
            let branch = body.terminator(latch.from)?;
            let next = body.target_args(body.targets(branch)[latch.target])[place];
            let (from, by) = self.added(next)?;
            if from != params[place] || step.is_some_and(|s| s != by) {
                return None;
            }
            step = Some(by);
        }
        let step = signed(step?);
        let mut starts = self.cfg.predecessors(header).iter().filter(|e| !self.forest.contains(l, e.from));
        let start = starts.try_fold(None::<i64>, |known, edge| {
            let branch = body.terminator(edge.from)?;
            let start = signed(body.constant(body.target_args(body.targets(branch)[edge.target])[place])?);
            Some(Some(known.map_or(start, |k| if step > 0 { k.min(start) } else { k.max(start) })))
        })??;
        let way = i128::from(signed(limit)) - i128::from(start);
        // An equality that steps pass by, or a comparison the other way round, would go on for long.
        let exact = matches!(body.inst(compare).attr::<IntCmp>(), IntCmp::Eq | IntCmp::Ne);
        let unsigned = !exact && body.inst(compare).attr::<Sign>() == Sign::U;
        if step == 0
            || unsigned && step < 0
            || way.signum() * i128::from(step.signum()) < 0
            || exact && way % i128::from(step) != 0
        {
            return None;
        }
        let stays = body.targets(branch).iter().position(|t| self.forest.contains(l, t.block))?;
        let goes_on_while_less = match body.inst(compare).attr::<IntCmp>() {
            IntCmp::Ne => stays == 0,
            IntCmp::Eq => stays == 1,
            IntCmp::Lt | IntCmp::Le => {
                (stays == 0) == (counted == a) && step > 0 || (stays == 1) == (counted == a) && step < 0
            }
            IntCmp::Gt | IntCmp::Ge => {
                (stays == 0) == (counted == a) && step < 0 || (stays == 1) == (counted == a) && step > 0
            }
        };
        goes_on_while_less.then(|| u64::try_from(way / i128::from(step) + 2).unwrap_or(u64::MAX))
    }

    /// The value and the constant that a value is the sum of.
    fn added(&self, value: Value) -> Option<(Value, u64)> {
        let Def::Result(inst) = self.body.values[value.index()].def else { return None };
        self.definitions[value.index()]?;
        let args = self.body.args(inst);
        match self.body.inst(inst).op {
            Op::IAdd => match (self.body.constant(args[0]), self.body.constant(args[1])) {
                (None, Some(by)) => Some((args[0], by)),
                (Some(by), None) => Some((args[1], by)),
                _ => None,
            },
            Op::ISub => Some((args[0], self.body.constant(args[1])?.wrapping_neg() & self.body.ty(value).mask())),
            _ => None,
        }
    }
}
