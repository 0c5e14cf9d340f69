//! Which values and branches are the same for all lanes of a warp, or all threads of a block.
//!
//! Two threads are compared where they execute the same instance of an instruction: in loops, the same iteration. A
//! value is divergent because of what it is computed from, because threads came to its block on different ways
//! (parameters of blocks where the ways behind a divergent branch join), or because threads left a loop in different
//! iterations (values of the loop that are used behind it). The answer errs towards divergent: memory that may be
//! written while the kernel runs, results of calls, clocks, and arguments of device functions are.

use super::cfg::{Cfg, Lists};
use super::dom::PostDominators;
use super::live::defining_blocks;
use super::loops::{LoopForest, LoopId};
use crate::attr::{Path, ShuffleMode, Space, Sreg};
use crate::entity::{Block, Inst, Value};
use crate::ir::{Body, Def, Function};
use crate::op::{Effects, Op};

/// Among which threads something is the same. What is the same for a block is so for each of its warps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Uniformity {
    /// The threads of a block.
    Block,
    /// The lanes of a warp.
    Warp,
    /// It may differ from lane to lane.
    Divergent,
}

use Uniformity::{Divergent, Warp};

/// What is known of the launch and of how lanes are executed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Assumptions {
    /// Threads a block, by dimension.
    pub block: Option<[u32; 3]>,
    /// Lanes that come to an instruction together execute it at one moment: what they read at one address is one value,
    /// also of memory that changes and of clocks.
    pub lockstep: bool,
}

/// The uniformity of a body's values and branches.
#[derive(Clone, Debug)]
pub struct Uniform {
    values: Vec<Uniformity>,
    branches: Vec<Uniformity>,
    control: Vec<Uniformity>,
    temporal: Vec<Uniformity>,
    meets: Vec<Uniformity>,
    definitions: Vec<Option<Block>>,
    loops: LoopForest,
}

impl Uniform {
    /// The uniformity in a function; the other analyses are those of its body.
    pub fn of(function: &Function, cfg: &Cfg, post: &PostDominators, loops: &LoopForest) -> Self {
        Self::under(Assumptions::default(), function, cfg, post, loops)
    }

    /// The same where more is known.
    pub fn under(
        assumptions: Assumptions,
        function: &Function,
        cfg: &Cfg,
        post: &PostDominators,
        loops: &LoopForest,
    ) -> Self {
        let none = Body::default();
        let body = function.body.as_ref().unwrap_or(&none);
        let definitions = defining_blocks(body);
        let blocks = body.blocks.len();
        let mut uses: Vec<(usize, (Block, Inst))> = Vec::new();
        for &block in cfg.order() {
            for &inst in &body.blocks[block.index()].insts {
                super::live::for_each_use(body, inst, |v| uses.push((v.index(), (block, inst))));
            }
        }
        let result = Self {
            values: vec![Uniformity::Block; body.values.len()],
            branches: vec![Uniformity::Block; blocks],
            control: vec![Uniformity::Block; blocks],
            temporal: vec![Uniformity::Block; loops.len()],
            meets: vec![Uniformity::Block; blocks],
            definitions,
            loops: loops.clone(),
        };
        let users = Lists::new(body.values.len(), uses.iter().copied());
        let mut analysis =
            Analysis { body, kernel: function.is_kernel(), assumptions, cfg, post, users, result, work: Vec::new() };
        analysis.run();
        analysis.result
    }

    /// A value, where it is defined and in the loops that it is defined in.
    pub fn value(&self, value: Value) -> Uniformity {
        self.values[value.index()]
    }
    /// A value as a block sees it: what was computed in a loop that threads leave in different iterations differs
    /// behind it.
    pub fn value_in(&self, value: Value, block: Block) -> Uniformity {
        let own = self.values[value.index()];
        let Some(definition) = self.definitions[value.index()] else { return own };
        let left = self.loops.around(definition).take_while(|l| !self.loops.contains(*l, block));
        left.map(|l| self.temporal[l.index()]).fold(own, Uniformity::max)
    }
    /// Where a block's terminator goes on: uniform where it has no choice.
    pub fn branch(&self, block: Block) -> Uniformity {
        self.branches[block.index()]
    }
    /// Which threads execute a block: uniform where either all that entered the function together do, or none.
    pub fn control(&self, block: Block) -> Uniformity {
        self.control[block.index()]
    }
    /// Whether threads may come to a block on different ways, so that its parameters differ.
    pub fn meets(&self, block: Block) -> Uniformity {
        self.meets[block.index()]
    }
    /// Whether threads leave a loop in different iterations.
    pub fn exits(&self, id: LoopId) -> Uniformity {
        self.temporal[id.index()]
    }
}

struct Analysis<'a> {
    body: &'a Body,
    kernel: bool,
    assumptions: Assumptions,
    cfg: &'a Cfg,
    post: &'a PostDominators,
    users: Lists<(Block, Inst)>,
    result: Uniform,
    work: Vec<(Block, Inst)>,
}

impl Analysis<'_> {
    fn run(&mut self) {
        let body = self.body;
        if let Some(entry) = body.blocks.first() {
            for &param in &entry.params {
                self.raise(param, Divergent);
            }
        }
        for &block in self.cfg.order().iter().rev() {
            self.work.extend(body.blocks[block.index()].insts.iter().rev().map(|i| (block, *i)));
        }
        while let Some((block, inst)) = self.work.pop() {
            self.visit(block, inst);
        }
    }

    fn raise(&mut self, value: Value, to: Uniformity) {
        let current = &mut self.result.values[value.index()];
        if to > *current {
            *current = to;
            self.work.extend(self.users.get(value.index()));
        }
    }

    fn visit(&mut self, block: Block, inst: Inst) {
        let body = self.body;
        let op = body.inst(inst).op;
        if op.is_terminator() {
            let choice = body.args(inst).first().filter(|_| body.targets(inst).len() > 1);
            let level = choice.map_or(Uniformity::Block, |v| self.result.value_in(*v, block));
            if level > self.result.branches[block.index()] {
                self.result.branches[block.index()] = level;
                self.influence(block, level);
            }
            for target in body.targets(inst) {
                let params = &body.blocks[target.block.index()].params;
                let together = self.leave_together(block, target.block);
                for (&param, &arg) in params.iter().zip(body.target_args(*target)) {
                    let apart = self.result.value_in(arg, target.block);
                    let level = match together {
                        true => apart.min(self.result.value_in(arg, block).max(self.result.branches[block.index()])),
                        false => apart,
                    };
                    self.raise(param, level);
                }
            }
            return;
        }
        let levels = self.results(block, inst);
        for (n, &result) in body.results(inst).iter().enumerate() {
            self.raise(result, levels[n.min(1)]);
        }
    }

    /// Whether threads that leave a loop along an edge do so in the same iteration, where the branch is the same for them: all that
    /// are still in the loop come to it in every turn.
    fn leave_together(&self, from: Block, to: Block) -> bool {
        let mut left = self.result.loops.around(from).take_while(|l| !self.result.loops.contains(*l, to));
        let (Some(id), None) = (left.next(), left.next()) else { return false };
        self.result.loops.get(id).latches.iter().all(|edge| edge.from == from)
    }

    /// The levels of an instruction's first and of its other results, as far as its operands are known.
    fn results(&self, block: Block, inst: Inst) -> [Uniformity; 2] {
        let body = self.body;
        let data = body.inst(inst);
        let args = body.args(inst);
        let level = |v: Value| self.result.value_in(v, block);
        let operands = || args.iter().map(|v| level(*v)).max().unwrap_or(Uniformity::Block);
        // What the members of a mask share is the same for the warp's lanes where they name the same members.
        let shared = |members: Value| if level(members) <= Warp { Warp } else { Divergent };
        let both = |u| [u, u];
        match data.op {
            Op::Sreg => both(sreg(data.attr(), self.assumptions)),
            Op::Load => {
                let constant = matches!(data.attr(), Space::Const | Space::Param);
                match data.attr::<Path>() {
                    Path::Uniform => both(level(args[0]).min(Warp)),
                    Path::NonCoherent => both(level(args[0])),
                    Path::Default if constant => both(level(args[0])),
                    Path::Default if self.assumptions.lockstep => match data.attr() {
                        // Each lane has memory of its own behind one address.
                        Space::Local | Space::Generic => both(Divergent),
                        Space::Global | Space::Shared | Space::Cluster | Space::Const | Space::Param => {
                            both(level(args[0]).max(Warp))
                        }
                    },
                    Path::Default => both(Divergent),
                }
            }
            Op::MbarrierTest | Op::MbarrierTry if self.assumptions.lockstep => both(operands().max(Warp)),
            Op::ToGeneric | Op::FromGeneric if data.attr::<Space>() == Space::Local => both(Divergent),
            Op::Vote | Op::Ballot | Op::Redux | Op::MatchAll => both(shared(args[1])),
            Op::Elect => [shared(args[0]), Divergent],
            Op::Shuffle => {
                let whole_warp = body.constant(args[2]).is_some_and(|c| c & 0x1f1f == 0x1f);
                let one_lane = data.attr::<ShuffleMode>() == ShuffleMode::Idx && level(args[1]) <= Warp;
                both(if whole_warp && one_lane { shared(args[3]) } else { Divergent })
            }
            Op::BarrierRed => {
                let all = body.constant(args[1]) == Some(0) && level(args[0]) == Uniformity::Block;
                both(if all { Uniformity::Block } else { Divergent })
            }
            Op::StopBarrier => both(Uniformity::Block),
            Op::StopAsked => both(if self.assumptions.lockstep { Warp } else { Divergent }),
            // Elsewhere the address depends on how much stack the callers have taken.
            Op::SlotAddr if !self.kernel => both(Divergent),
            op if op.info().effects == Effects::PURE => both(operands()),
            _ => both(Divergent),
        }
    }

    /// What a branch does to which threads that do not agree.
    fn influence(&mut self, branch: Block, level: Uniformity) {
        if self.result.loops.is_irreducible() {
            self.give_up(level);
            return;
        }
        let (end, region) = self.meeting(branch);
        for &block in &region {
            let control = &mut self.result.control[block.index()];
            *control = level.max(*control);
        }
        for join in self.joins(branch, end, &region) {
            let meets = &mut self.result.meets[join.index()];
            *meets = level.max(*meets);
            for &param in &self.body.blocks[join.index()].params {
                self.raise(param, level);
            }
        }
        let left: Vec<LoopId> = self.result.loops.around(branch).collect();
        for id in left {
            if end.is_some_and(|end| self.result.loops.contains(id, end)) {
                break;
            }
            if level > self.result.temporal[id.index()] {
                self.result.temporal[id.index()] = level;
                self.revisit(id);
            }
        }
    }

    /// Looks again at what uses values of a loop.
    fn revisit(&mut self, id: LoopId) {
        for &block in self.result.loops.blocks(id) {
            let data = &self.body.blocks[block.index()];
            let results = data.insts.iter().flat_map(|i| self.body.results(*i));
            for value in data.params.iter().chain(results) {
                self.work.extend(self.users.get(value.index()));
            }
        }
    }

    /// Where threads that go different ways from a branch meet again in the same iterations of the loops around it, and the
    /// blocks before that.
    fn meeting(&self, branch: Block) -> (Option<Block>, Vec<Block>) {
        let loops = &self.result.loops;
        let mut end = self.post.immediate(branch);
        let mut region = self.region(branch, end);
        for id in loops.around(branch) {
            // Some begin another iteration before they come to where the others are.
            let header = loops.get(id).header;
            let goes_round = region.contains(&header) && end.is_some_and(|end| loops.contains(id, end));
            if goes_round {
                while let Some(inside) = end.filter(|end| loops.contains(id, *end)) {
                    end = self.post.immediate(inside);
                }
                region = self.region(branch, end);
            }
        }
        (end, region)
    }

    /// The blocks between a branch and where all ways from it meet again, in the order of the graph.
    fn region(&self, branch: Block, end: Option<Block>) -> Vec<Block> {
        let mut seen = vec![false; self.body.blocks.len()];
        let mut region = Vec::new();
        let mut work: Vec<Block> = self.cfg.successors(branch).to_vec();
        while let Some(block) = work.pop() {
            if Some(block) != end && !std::mem::replace(&mut seen[block.index()], true) {
                region.push(block);
                work.extend(self.cfg.successors(block));
            }
        }
        region.sort_by_key(|b| self.cfg.place(*b));
        region
    }

    /// The blocks that threads reach on different ways from a branch: every edge that leaves it is a way, and where
    /// two ways join another begins.
    fn joins(&self, branch: Block, end: Option<Block>, region: &[Block]) -> Vec<Block> {
        const NONE: u32 = u32::MAX;
        let count = self.body.blocks.len();
        let mut way = vec![NONE; count];
        let mut inside = vec![false; count];
        let mut joined = vec![false; count];
        region.iter().for_each(|b| inside[b.index()] = true);
        let mut joins = Vec::new();
        loop {
            let mut changed = false;
            for &block in region.iter().chain(&end) {
                let at = block.index();
                let mut new = NONE;
                for edge in self.cfg.predecessors(block) {
                    let from = edge.from.index();
                    let incoming = if edge.from == branch {
                        (count + edge.target) as u32
                    } else if inside[from] {
                        way[from]
                    } else {
                        NONE
                    };
                    if incoming != NONE && new != NONE && incoming != new && !joined[at] {
                        joined[at] = true;
                        joins.push(block);
                    } else if new == NONE {
                        new = incoming;
                    }
                }
                if joined[at] {
                    new = at as u32;
                }
                changed |= way[at] != new;
                way[at] = new;
            }
            if !changed {
                return joins;
            }
        }
    }

    /// Nothing is known of cycles that are no loops: every value that is computed from others is as divergent as the
    /// branch.
    fn give_up(&mut self, level: Uniformity) {
        for n in 0..self.body.values.len() {
            let computed = match self.body.values[n].def {
                Def::Param(_) => true,
                Def::Result(inst) => !self.body.args(inst).is_empty(),
                Def::None => false,
            };
            if computed {
                self.raise(Value::new(n), level);
            }
        }
        for control in &mut self.result.control {
            *control = level.max(*control);
        }
    }
}

fn sreg(sreg: Sreg, assumptions: Assumptions) -> Uniformity {
    let whole_warps = |threads: u32| threads != 0 && threads.is_multiple_of(32);
    match (sreg, assumptions.block) {
        (Sreg::TidY, Some([x, ..])) if whole_warps(x) => return Warp,
        (Sreg::TidZ, Some([x, y, _])) if whole_warps(x * y) => return Warp,
        _ => {}
    }
    match sreg {
        Sreg::TidX
        | Sreg::TidY
        | Sreg::TidZ
        | Sreg::LaneId
        | Sreg::LaneMaskEq
        | Sreg::LaneMaskLe
        | Sreg::LaneMaskLt
        | Sreg::LaneMaskGe
        | Sreg::LaneMaskGt => Divergent,
        // These may change between two reads.
        Sreg::WarpId
        | Sreg::SmId
        | Sreg::Clock
        | Sreg::ClockHi
        | Sreg::Clock64
        | Sreg::GlobalTimer
        | Sreg::GlobalTimerLo
        | Sreg::GlobalTimerHi
        | Sreg::Pm
        | Sreg::Pm64 => {
            if assumptions.lockstep {
                Warp
            } else {
                Divergent
            }
        }
        Sreg::NtidX
        | Sreg::NtidY
        | Sreg::NtidZ
        | Sreg::CtaidX
        | Sreg::CtaidY
        | Sreg::CtaidZ
        | Sreg::NctaidX
        | Sreg::NctaidY
        | Sreg::NctaidZ
        | Sreg::NWarpId
        | Sreg::NSmId
        | Sreg::GridId
        | Sreg::DynamicSharedSize
        | Sreg::TotalSharedSize
        | Sreg::AggrSharedSize
        | Sreg::IsExplicitCluster
        | Sreg::ClusterIdX
        | Sreg::ClusterIdY
        | Sreg::ClusterIdZ
        | Sreg::NClusterIdX
        | Sreg::NClusterIdY
        | Sreg::NClusterIdZ
        | Sreg::ClusterCtaIdX
        | Sreg::ClusterCtaIdY
        | Sreg::ClusterCtaIdZ
        | Sreg::ClusterNCtaIdX
        | Sreg::ClusterNCtaIdY
        | Sreg::ClusterNCtaIdZ
        | Sreg::ClusterCtaRank
        | Sreg::ClusterNCtaRank
        | Sreg::CurrentGraphExec
        | Sreg::EnvReg => Uniformity::Block,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::dom::Dominators;
    use crate::text;
    use crate::verify::verify;

    fn analyse(body_text: &str) -> (crate::ir::Module, Uniform) {
        let source = format!("kernel @k(p: 8 align 8 at 0) {{\n{body_text}}}\n");
        let module = text::parse(&source).unwrap_or_else(|e| panic!("{e:?}"));
        verify(&module).unwrap_or_else(|e| panic!("{e:?}"));
        let function = &module.functions[0];
        let cfg = Cfg::of(function.body.as_ref().unwrap());
        let loops = LoopForest::of(&cfg, &Dominators::of(&cfg));
        let uniform = Uniform::of(function, &cfg, &PostDominators::of(&cfg), &loops);
        (module, uniform)
    }

    /// One letter a value of the range: b(lock), w(arp) or d(ivergent).
    fn letters(u: &Uniform, values: std::ops::Range<usize>) -> String {
        let letter = |u| match u {
            Uniformity::Block => 'b',
            Warp => 'w',
            Divergent => 'd',
        };
        values.map(|n| letter(u.value(Value::new(n)))).collect()
    }

    #[test]
    fn straight_lines() {
        let (_, u) = analyse(
            "block0:
    v0: i32 = sreg.tid.x
    v1: i32 = sreg.ctaid.x
    v2: i32 = iadd v1, v1
    v3: i32 = iadd v1, v0
    v4: i64 = const 0
    v5: i64 = load.param v4
    v6: i32 = load.global v5
    v7: i32 = load.global.nc v5
    v8: i32 = const -1
    v9: b1 = icmp.eq.u v0, v1
    v10: i32 = ballot v9, v8
    v11: i32 = ballot v9, v0
    v12: i32 = const 31
    v13: i32, v14: b1 = shuffle.idx v0, v1, v12, v8
    v15: i32, v16: b1 = shuffle.idx v0, v0, v12, v8
    v17: i32, v18: b1 = shuffle.bfly v0, v1, v12, v8
    v19: i32, v20: b1 = elect v8
    v21: i32 = const 0
    v22: b1 = barrier_red.or v21, v21, v9
    v23: b1 = barrier_red.or v21, v12, v9
    v24: i32 = activemask
    v25: i32 = redux.add v0, v8
    v26: i32 = iadd v25, v1
    v27: i32 = load.global.ldu v5
    ret
",
        );
        assert_eq!(letters(&u, 0..28), "dbbdbbdbbdwdbwwddddwdbbddwwb");
    }

    #[test]
    fn joins_behind_a_divergent_branch_diverge_and_others_do_not() {
        let (_, u) = analyse(
            "block0:
    v0: i32 = sreg.tid.x
    v1: i32 = sreg.ctaid.x
    v2: b1 = icmp.lt.u v0, v1
    v3: b1 = icmp.lt.u v1, v1
    v4: i32 = const 7
    v5: i32 = const 8
    brif v2, block1, block4(v1)
block1:
    brif v3, block2, block3(v1)
block2:
    br block3(v4)
block3(v6: i32):
    br block4(v6)
block4(v7: i32):
    brif v3, block5(v1), block5(v5)
block5(v8: i32):
    brif v2, block6(v1), block6(v5)
block6(v9: i32):
    ret
",
        );
        let value = |n| letters(&u, n..n + 1);
        assert_eq!(letters(&u, 0..6), "dbdbbb");
        assert_eq!(value(6), "b", "joins two ways of a uniform branch");
        assert_eq!(value(7), "d", "joins two ways of a divergent branch");
        assert_eq!(value(8), "b", "two edges of a uniform branch");
        assert_eq!(value(9), "d", "two edges of a divergent branch");
        let control: Vec<_> = (0..7).map(|b| u.control(Block::new(b)) == Divergent).collect();
        assert_eq!(control, [false, true, true, true, false, false, false]);
        assert_eq!(u.branch(Block::new(1)), Uniformity::Block);
        assert_eq!(u.branch(Block::new(0)), Divergent);
    }

    const LOOP: &str = "block0:
    v0: i32 = sreg.tid.x
    v1: i32 = sreg.ntid.x
    v2: i32 = const 1
    br block1(v2)
block1(v3: i32):
    v4: i32 = iadd v3, v2
    v5: b1 = icmp.lt.u v4, BOUND
    brif v5, block1(v4), block2(v2)
block2(v6: i32):
    v7: i32 = iadd v4, v2
    v8: b1 = icmp.eq.u v4, v2
    brif v8, block3, block4
block3:
    br block4
block4:
    ret
";

    #[test]
    fn values_of_a_loop_diverge_behind_it_where_its_exit_does() {
        let (_, u) = analyse(&LOOP.replace("BOUND", "v1"));
        assert_eq!(letters(&u, 1..9), "bbbbbbbb");
        let (_, u) = analyse(&LOOP.replace("BOUND", "v0"));
        assert_eq!(letters(&u, 1..9), "bbbbdbdd");
        let counter = Value::new(4);
        assert_eq!(u.value_in(counter, Block::new(1)), Uniformity::Block);
        assert_eq!(u.value_in(counter, Block::new(2)), Divergent);
        assert_eq!(u.control(Block::new(1)), Divergent);
        assert_eq!(u.control(Block::new(2)), Uniformity::Block);
        assert_eq!(u.control(Block::new(3)), Divergent);
        assert_eq!(u.control(Block::new(4)), Uniformity::Block);
    }

    #[test]
    fn a_break_on_a_warps_own_value_diverges_between_warps_only() {
        let text = LOOP.replace("    br block1(v2)\n", "    v9: i32 = redux.add v0, v2\n    br block1(v2)\n");
        let (_, u) = analyse(&text.replace("BOUND", "v9"));
        // v9 is the fourth value in the text.
        assert_eq!(letters(&u, 0..10), "dbbwbbwbww");
        assert_eq!(u.branch(Block::new(1)), Warp);
        assert_eq!(u.control(Block::new(3)), Warp);
    }

    #[test]
    fn two_exits_of_a_loop_join_divergently() {
        // A divergent break and a uniform one lead to the same block.
        let (_, u) = analyse(
            "block0:
    v0: i32 = sreg.tid.x
    v1: i32 = sreg.ntid.x
    v2: i32 = const 1
    v3: i32 = const 2
    v4: b1 = icmp.eq.u v0, v2
    v5: b1 = icmp.eq.u v1, v2
    br block1
block1:
    brif v4, block3(v2), block2
block2:
    brif v5, block3(v3), block1
block3(v6: i32):
    ret
",
        );
        assert_eq!(letters(&u, 0..7), "dbbbdbd");
    }

    #[test]
    fn threads_that_return_early_make_the_rest_divergent_in_control_only() {
        let (_, u) = analyse(
            "block0:
    v0: i32 = sreg.tid.x
    v1: i32 = sreg.ntid.x
    v2: b1 = icmp.eq.u v0, v1
    brif v2, block1, block2(v1)
block1:
    ret
block2(v3: i32):
    br block3(v3)
block3(v4: i32):
    ret
",
        );
        assert_eq!(letters(&u, 0..5), "dbdbb");
        assert_eq!(u.control(Block::new(3)), Divergent);
    }

    #[test]
    fn cycles_that_are_no_loops_are_given_up() {
        let (_, u) = analyse(
            "block0:
    v0: i32 = sreg.tid.x
    v1: i32 = sreg.ntid.x
    v2: b1 = icmp.eq.u v0, v1
    v3: b1 = icmp.eq.u v1, v1
    brif v3, block1, block2
block1:
    brif v2, block2, block3
block2:
    v4: i32 = iadd v1, v1
    br block1
block3:
    ret
",
        );
        assert_eq!(letters(&u, 0..5), "dbddd");
        assert_eq!(u.control(Block::new(0)), Divergent);
    }
}
