//! Which places become sites.

use super::cost::Costs;
use super::{Density, Refusal, SiteKind, Strips, split, strip};
use crate::analysis::cfg::{Cfg, Edge};
use crate::analysis::dom::{Dominators, PostDominators};
use crate::analysis::live::{Liveness, defining_blocks};
use crate::analysis::loops::LoopForest;
use crate::analysis::uniform::{Assumptions, Uniform, Uniformity};
use crate::analysis::wait::{Sides, Waiter};
use crate::attr::{Order, Space};
use crate::build::Builder;
use crate::diag::Span;
use crate::entity::{Block, FuncId, Inst, Value};
use crate::ir::{Body, Function, Module};
use crate::op::{Effects, Op};
use crate::passes::{inline, reduce_loops, ssa};
use crate::types::Type;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// A site in the body that [`choose`] has changed: its block ends in a jump behind the site.
pub(super) struct Place {
    pub(super) kind: SiteKind,
    pub(super) block: Block,
    pub(super) span: Span,
    /// Of a barrier: the block that leads here, the one behind, and the barrier, if that is a part of the site.
    around: Option<(Block, Block, Option<Inst>)>,
    /// The site at which a lane that has stored itself meets the others of its warp, so that all of it leaves; of such a site,
    /// itself.
    pub(super) meeting: Option<Block>,
}

#[derive(Default)]
pub(super) struct Found {
    pub(super) places: Vec<Place>,
    pub(super) refusals: Vec<Refusal>,
}

/// Instructions that all warps of a block execute one after the other in about the time in which a kernel is to stop, a
/// millisecond, on a processor that takes some nanoseconds for each.
const BLOCK_BUDGET: u64 = 200_000;

/// Most instructions that a thread executes between two sites, and fewest, whatever the block's size.
const MOST_BUDGET: u64 = 20_000;
const LEAST_BUDGET: u64 = 4_000;

/// The part of it that goes by between two looks of a loop without others inside.
const STRIP: u64 = 16;

/// Turns between two looks where a test wants some.
const FEW_TURNS: u64 = 3;

/// Turns between two looks of a loop with such loops inside.
const OUTER_TURNS: u64 = 8;

/// Instructions of a thread of blocks of that shape that need no site among them.
fn budget(block: [u32; 3]) -> u64 {
    let warps = block.iter().map(|&n| u64::from(n)).product::<u64>().div_ceil(32).max(1);
    (BLOCK_BUDGET / warps).clamp(LEAST_BUDGET, MOST_BUDGET)
}

/// Gives each site of the kernel a block of its own. Barriers that are sites stand in none any more.
pub(super) fn choose(module: &mut Module, kernel: FuncId, block: [u32; 3], density: Density, strips: Strips) -> Found {
    let mut found = Found::default();
    let (calls, has_shared) = (Calls::of(module), super::has_shared(module));
    let function = &mut module.functions[kernel.index()];
    let Some(body) = function.body.as_mut() else { return found };
    let cfg = Cfg::of(body);
    if LoopForest::of(&cfg, &Dominators::of(&cfg)).is_irreducible() {
        reduce_loops::run(body);
    }
    if let Some((span, why)) = forbidden(body, &calls).or_else(|| barriers_apart(function, block)) {
        found.refusals.push(Refusal { span, why, whole: true });
        return found;
    }
    let Some(body) = function.body.as_mut() else { return found };
    enclose_loops(body);
    let mut places = barriers(body);
    let loops = Loops::of(function, block, &calls, &places, has_shared, density);
    if let Some((span, why)) = loops.whole() {
        found.refusals = loops.refusals;
        found.refusals.push(Refusal { span, why, whole: true });
        return found;
    }
    found.refusals.clone_from(&loops.refusals);
    let Some(body) = function.body.as_mut() else { return found };
    if density == Density::Enough {
        loops.keep_enough(body, &mut places);
    }
    places.extend(loops.before_warp_ops(body));
    places.extend(loops.behind(body));
    places.extend(loops.at_ends(body, strips));
    if loops.short {
        let why = format!("each block ends soon: its threads execute at most {} instructions", budget(block));
        found.refusals.push(Refusal { span: span_of(body, Body::ENTRY), why, whole: false });
    }
    found.places = places;
    found
}

/// Instructions of a kernel with what it calls, beyond which calls stay what they are.
const MOST_INSTRUCTIONS: usize = 4_000;

/// Puts functions in the place of their calls that have a loop or a barrier: threads can stop in kernels only.
pub(super) fn enter_calls(module: &mut Module, kernel: FuncId) {
    let functions = module.functions.len();
    let mut lengthy: Vec<bool> = module
        .functions
        .iter()
        .map(|f| f.body.as_ref().is_some_and(|body| has_loop(body) || insts(body).any(|i| is_barrier(body.inst(i).op))))
        .collect();
    // Those that call such, too.
    for _ in 0..functions {
        let before = lengthy.clone();
        for (n, body) in module.functions.iter().enumerate().filter_map(|(n, f)| Some((n, f.body.as_ref()?))) {
            lengthy[n] |= insts(body).any(|i| body.inst(i).op == Op::Call && before[body.inst(i).imm as usize]);
        }
        if lengthy == before {
            break;
        }
    }
    let none = Calls { warp: vec![false; functions], barrier: vec![false; functions], waits: vec![false; functions] };
    let bodies = module.functions.iter().map(|f| f.body.as_ref());
    let allowed: Vec<bool> = bodies.map(|body| body.is_some_and(|body| forbidden(body, &none).is_none())).collect();
    inline::run(module, kernel, MOST_INSTRUCTIONS, |f| lengthy[f.index()] && allowed[f.index()]);
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
    matches!(op, Op::Barrier | Op::BarrierRed | Op::BarrierArrive | Op::GroupBarrier | Op::GroupWait)
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
            Op::GroupBarrier | Op::GroupWait => "groups of warps wait for each other",
            Op::GroupMma => "products of warp groups may be under way",
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
            | Op::TensorLoad
            | Op::TensorStore
            | Op::TensorReduce
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

/// Barriers that parts of a warp wait at while others wait at another one: what is a site for them would have to be one of all.
fn barriers_apart(function: &Function, block: [u32; 3]) -> Option<(Span, String)> {
    let body = function.body.as_ref()?;
    let cfg = Cfg::of(body);
    let (post, forest) = (PostDominators::of(&cfg), LoopForest::of(&cfg, &Dominators::of(&cfg)));
    let assumptions = Assumptions { block: Some(block), lockstep: true };
    let uniform = Uniform::under(assumptions, function, &cfg, &post, &forest);
    let sides = Sides { cfg: &cfg, post: &post, left_out: &HashSet::new() };
    let parts = |block: Block| uniform.branch(block) == Uniformity::Divergent;
    let branch = body.terminator(sides.between_barriers(body, parts)?)?;
    Some((
        body.spans[branch.index()],
        "lanes of a warp that part here may wait at different barriers at a time".to_owned(),
    ))
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
            let around = Some((at, behind, (!reduces).then_some(inst)));
            places.push(Place { kind: SiteKind::Barrier, block: site, span, around, meeting: None });
            at = behind;
        }
        // A reduction that begins its block has no site before it yet.
        let first = body.blocks[block.index()].insts.first().copied();
        if let Some(inst) = first.filter(|i| body.inst(*i).op == Op::BarrierRed) {
            let span = body.spans[inst.index()];
            let site = split(body, block, 0);
            let behind = split(body, site, 0);
            places.push(Place {
                kind: SiteKind::Barrier,
                block: site,
                span,
                around: Some((block, behind, None)),
                meeting: None,
            });
        }
    }
    places
}

/// What a loop becomes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// A site that is looked at every so many turns.
    Site(SiteKind, u32),
    /// It has a barrier in each turn, which is a site.
    Met,
    /// It ends soon.
    Short,
    /// It cannot have one.
    Refused,
}

#[derive(Default)]
struct Loops {
    headers: BTreeMap<Block, Fate>,
    /// Ops before which warps meet.
    meets: BTreeSet<(Block, Inst)>,
    /// Where the lanes of a warp meet behind a loop that they leave one by one, by its header.
    meetings: BTreeMap<Block, Block>,
    refusals: Vec<Refusal>,
    /// A loop that waits for other threads and is none.
    waiting: Option<Span>,
    /// Blocks end soon.
    short: bool,
}

impl Loops {
    fn of(
        function: &Function,
        block: [u32; 3],
        calls: &Calls,
        barriers: &[Place],
        has_shared: bool,
        density: Density,
    ) -> Self {
        let mut result = Self::default();
        let Some(body) = &function.body else { return result };
        let cfg = Cfg::of(body);
        let dom = Dominators::of(&cfg);
        let forest = LoopForest::of(&cfg, &dom);
        let living = Living::of(function, block);
        let uniform = &living.uniform;
        let warp_op = |i: Inst| is_warp_op(body, i) || Calls::any(&calls.warp, body, i);
        let together = insts(body).any(warp_op);
        let is_site: BTreeSet<Block> = barriers.iter().map(|p| p.block).collect();
        let definitions = defining_blocks(body);
        let mut costs = Costs {
            body,
            cfg: &cfg,
            dom: &dom,
            forest: &forest,
            definitions: &definitions,
            shape: block,
            known: HashMap::new(),
        };
        let budget = budget(block);
        let waits = |blocks: &[Block]| {
            blocks.iter().flat_map(|b| &body.blocks[b.index()].insts).any(|i| reads_others(body, *i))
        };
        let waiting = forest.ids().any(|l| waits(forest.blocks(l)));
        // What a lane waits for others may do behind a loop: they do not wait for it there.
        let waiter = |id| Waiter { body, cfg: &cfg, loops: &forest, definitions: &definitions, id };
        let meet = !forest.ids().any(|l| waiter(l).waits());
        if density == Density::Enough && !waiting && costs.whole().is_some_and(|cost| cost <= budget) {
            result.short = true;
            return result;
        }
        let mut inner_first: Vec<_> = forest.ids().collect();
        inner_first.sort_by_key(|l| std::cmp::Reverse(forest.get(*l).depth));
        for &l in &inner_first {
            let header = forest.get(l).header;
            let every_turn = |b: &Block| forest.get(l).latches.iter().all(|e| dom.dominates(*b, e.from));
            let is_met = |b: &&Block| is_site.contains(*b) || result.meetings.values().any(|m| m == *b);
            let met = forest.blocks(l).iter().filter(is_met).any(every_turn);
            let short = density == Density::Enough
                && !waits(forest.blocks(l))
                && costs.of(l).is_some_and(|cost| cost <= budget);
            let turns = match (density, costs.turn(l)) {
                (Density::Every, _) => 1,
                (Density::Strips, _) => FEW_TURNS,
                (Density::Enough, Some(turn)) => budget / STRIP / turn.max(1),
                (Density::Enough, None)
                    if forest.ids().all(|i| forest.get(i).parent != Some(l) || costs.turn(i).is_some()) =>
                {
                    OUTER_TURNS
                }
                (Density::Enough, None) => 1,
            };
            let turns = if turns < 3 { 1 } else { turns as u32 };
            let fate = if short {
                Fate::Short
            } else if met {
                Fate::Met
            } else if uniform.control(header) <= Uniformity::Warp && uniform.exits(l) <= Uniformity::Warp {
                Fate::Site(SiteKind::WarpLoop, turns)
            } else {
                let meeting = if meet { living.meeting(body, &forest, header) } else { None };
                let behind = match together {
                    true => met_behind(body, &cfg, header, &is_site, meeting, uniform, &warp_op),
                    false => Ok(Vec::new()),
                };
                let missed = match behind {
                    Ok(meets) if has_shared && !meets.is_empty() => Some(
                        "lanes that stay in this loop would wait for the others of their block, to store its shared memory, and                          these for them before an op of their warp"
                            .to_owned(),
                    ),
                    Ok(meets) => {
                        result.meets.extend(meets);
                        None
                    }
                    Err(inst) => Some(format!(
                        "lanes that stay in this loop would be missed by `{}` behind it, which not all of their warp come to",
                        body.inst(inst).op.info().name
                    )),
                };
                match missed {
                    Some(why) => {
                        result.refusals.push(Refusal { span: span_of(body, header), why, whole: false });
                        Fate::Refused
                    }
                    None => {
                        result.meetings.extend(meeting.map(|m| (header, m)));
                        Fate::Site(SiteKind::Loop, turns)
                    }
                }
            };
            result.headers.insert(header, fate);
        }
        result.waiting = forest.ids().find_map(|l| {
            let header = forest.get(l).header;
            (waits(forest.blocks(l)) && result.headers[&header] == Fate::Refused).then(|| span_of(body, header))
        });
        result
    }

    /// Makes ordinary barriers again of those that need not be sites: the block stops soon without them, and no thread that waits
    /// there waits for one that has left.
    fn keep_enough(&self, body: &mut Body, places: &mut Vec<Place>) {
        let cfg = Cfg::of(body);
        let dom = Dominators::of(&cfg);
        let forest = LoopForest::of(&cfg, &dom);
        let mut kept: BTreeSet<Block> = BTreeSet::new();
        // Behind a place that threads leave alone, all are sites.
        let alone = self.headers.iter().filter(|(_, fate)| matches!(fate, Fate::Site(..))).map(|(header, _)| *header);
        let mut work: Vec<Block> = alone.chain(self.meets.iter().map(|(block, _)| *block)).collect();
        let mut behind: BTreeSet<Block> = BTreeSet::new();
        while let Some(block) = work.pop() {
            if behind.insert(block) {
                work.extend(cfg.successors(block));
            }
        }
        kept.extend(places.iter().map(|p| p.block).filter(|b| behind.contains(b)));
        for l in forest.ids().filter(|l| self.headers.get(&forest.get(*l).header) == Some(&Fate::Met)) {
            let every_turn = |b: Block| forest.get(l).latches.iter().all(|e| dom.dominates(b, e.from));
            let inside: Vec<Block> =
                places.iter().map(|p| p.block).filter(|b| forest.contains(l, *b) && every_turn(*b)).collect();
            if inside.iter().any(|b| kept.contains(b)) {
                continue;
            }
            // The last one, outside of loops inside.
            let depth = |b: Block| forest.innermost(b) != Some(l);
            let last = inside.iter().copied().reduce(|a, b| match (depth(a), depth(b)) {
                (true, false) => b,
                (false, true) => a,
                _ if dom.dominates(a, b) => b,
                _ => a,
            });
            kept.extend(last);
        }
        // Where it is not known how long the rest takes, they are better than nothing.
        if kept.is_empty() && behind.is_empty() && !self.short {
            return;
        }
        // From the last to the first, since each leads to the next.
        for place in places.extract_if(.., |p| !kept.contains(&p.block)).collect::<Vec<_>>().into_iter().rev() {
            let Some((before, behind, barrier)) = place.around else { continue };
            body.blocks[before.index()].insts.pop();
            body.blocks[before.index()].insts.extend(barrier);
            let rest = std::mem::take(&mut body.blocks[behind.index()].insts);
            body.blocks[before.index()].insts.extend(rest);
            body.blocks[place.block.index()].insts.clear();
            for unused in [place.block, behind] {
                Builder { span: place.span, ..Builder::new(body, unused) }.effect(Op::Exit, Type::B1, 0, &[]);
            }
        }
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
                places.push(Place { kind: SiteKind::Warp, block: site, span, around: None, meeting: None });
            }
        }
        places
    }

    /// Sites at which warps meet behind loops. What is computed in a loop comes to them as a parameter, so that lanes that have
    /// stored themselves bring nothing.
    fn behind(&self, body: &mut Body) -> Vec<Place> {
        let mut places = Vec::new();
        for block in self.meetings.values().copied().collect::<BTreeSet<Block>>() {
            let span = span_of(body, block);
            split(body, block, 0);
            let cfg = Cfg::of(body);
            let dom = Dominators::of(&cfg);
            let homes = defining_blocks(body);
            let headers: Vec<Block> = self.meetings.iter().filter(|(_, m)| **m == block).map(|(h, _)| *h).collect();
            let mut definitions = ssa::Definitions::new();
            for &value in Liveness::of(body, &cfg).live_in(block) {
                let Some(home) = homes[value.index()] else { continue };
                if headers.iter().all(|header| home != *header && dom.dominates(home, *header)) {
                    continue;
                }
                let param = body.add_param(block, body.ty(value));
                for edge in cfg.predecessors(block) {
                    let Some(branch) = body.terminator(edge.from) else { continue };
                    let mut args = body.target_args(body.targets(branch)[edge.target]).to_vec();
                    args.push(value);
                    body.set_target_args(branch, edge.target, &args);
                }
                definitions.insert(value, vec![(block, param)]);
            }
            ssa::repair(body, &definitions);
            places.push(Place { kind: SiteKind::Warp, block, span, around: None, meeting: Some(block) });
        }
        places
    }

    /// Sites at the ends of loops.
    fn at_ends(&self, body: &mut Body, strips: Strips) -> Vec<Place> {
        let cfg = Cfg::of(body);
        let forest = LoopForest::of(&cfg, &Dominators::of(&cfg));
        let homes = defining_blocks(body);
        let mut places = Vec::new();
        for l in forest.ids() {
            let header = forest.get(l).header;
            let Some(Fate::Site(kind, turns)) = self.headers.get(&header).copied() else { continue };
            let latches = &forest.get(l).latches;
            let block = if turns > 1 {
                let entries = cfg.predecessors(header).iter().filter(|e| !forest.contains(l, e.from));
                let entries: Vec<Edge> = entries.copied().collect();
                let contains = |block| forest.contains(l, block);
                let is_before =
                    |value: Value| homes.get(value.index()).copied().flatten().is_some_and(|home| !contains(home));
                let cut = strip::Loop {
                    cfg: &cfg,
                    header,
                    entries: &entries,
                    latches,
                    contains: &contains,
                    is_before: &is_before,
                };
                cut.cut(body, turns, strips)
            } else {
                merge(body, header, latches)
            };
            let meeting = self.meetings.get(&header).copied();
            places.push(Place { kind, block, span: span_of(body, header), around: None, meeting });
        }
        places
    }
}

/// Gives each loop a block before it and one at its end.
fn enclose_loops(body: &mut Body) {
    let cfg = Cfg::of(body);
    let forest = LoopForest::of(&cfg, &Dominators::of(&cfg));
    for l in forest.ids() {
        let header = forest.get(l).header;
        let entries: Vec<Edge> =
            cfg.predecessors(header).iter().filter(|e| !forest.contains(l, e.from)).copied().collect();
        merge(body, header, &entries);
        merge(body, header, &forest.get(l).latches);
    }
}

/// Leads edges through a new block; it has the parameters that their target had, and no end yet.
pub(super) fn lead(body: &mut Body, target: Block, edges: &[Edge]) -> (Block, Vec<Value>) {
    let new = body.add_block();
    let types: Vec<_> = body.blocks[target.index()].params.iter().map(|p| body.ty(*p)).collect();
    let params: Vec<Value> = types.into_iter().map(|ty| body.add_param(new, ty)).collect();
    for edge in edges {
        if let Some(branch) = body.terminator(edge.from) {
            body.targets_mut(branch)[edge.target].block = new;
        }
    }
    (new, params)
}

/// Leads edges through a new block that only goes on.
fn merge(body: &mut Body, header: Block, latches: &[Edge]) -> Block {
    let span = span_of(body, header);
    let (new, params) = lead(body, header, latches);
    Builder { span, ..Builder::new(body, new) }.jump(header, &params);
    new
}

pub(super) fn span_of(body: &Body, block: Block) -> Span {
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
    meeting: Option<Block>,
    uniform: &Uniform,
    warp_op: &dyn Fn(Inst) -> bool,
) -> Result<Vec<(Block, Inst)>, Inst> {
    let (mut seen, mut work, mut meets) = (BTreeSet::new(), vec![header], Vec::new());
    while let Some(block) = work.pop() {
        if is_site.contains(&block) || meeting == Some(block) || !seen.insert(block) {
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

/// The body as the threads see it that have not ended: a branch on which one side only ends the thread keeps those together that
/// take the other.
struct Living {
    uniform: Uniform,
    post: PostDominators,
}

impl Living {
    fn of(function: &Function, block: [u32; 3]) -> Self {
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
        Self { uniform: Uniform::under(assumptions, &living, &cfg, &post, &forest), post }
    }

    /// Where all lanes of a warp meet again that have come to a loop, if they do so before their end.
    fn meeting(&self, body: &Body, forest: &LoopForest, header: Block) -> Option<Block> {
        let mut at = self.post.immediate(header);
        while let Some(block) = at {
            let here = forest.around(block).all(|l| forest.contains(l, header));
            if here && self.uniform.control(block) <= Uniformity::Warp {
                return Some(block).filter(|block| !only_ends(body, *block));
            }
            at = self.post.immediate(block);
        }
        None
    }
}

/// Whether a thread that comes to a block ends there without having to do with others.
fn only_ends(body: &Body, block: Block) -> bool {
    let insts = &body.blocks[block.index()].insts;
    let ends = insts.last().is_some_and(|t| matches!(body.inst(*t).op, Op::Ret | Op::Exit));
    ends && insts.iter().all(|i| !body.inst(*i).op.info().effects.has(Effects::CONVERGENT))
}
