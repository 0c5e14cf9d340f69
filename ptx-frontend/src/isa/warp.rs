//! Exchange between the lanes of a warp and the threads of a block.

use super::{Form, Lifted, form};
use crate::lift::{Kind, Lifter, Ty};
use hetir::attr::{AbsOperands, Aligned, BarrierOp, Order, PropagateNan, ReduxOp, ShuffleMode, Sign, VoteMode};
use hetir::build::Attrs;
use hetir::diag::Diagnostic;
use hetir::entity::Value;
use hetir::op::Op;
use hetir::types::Type;

const SHUFFLE: &str = "mode=up down bfly idx";
const VOTE: &str = "mode=all any uni";

pub(crate) const FORMS: &[Form] = &[
    form("shfl.sync.mode.b32 d{|p}, a, b, c, mask", &[SHUFFLE], |c| c.shuffle()),
    form("shfl.mode.b32 d{|p}, a, b, c", &[SHUFFLE], |c| c.shuffle()),
    form("vote.sync.mode.pred d, {!}a, mask", &[VOTE], |c| c.vote()),
    form("vote.mode.pred d, {!}a", &[VOTE], |c| c.vote()),
    form("vote.sync.ballot.b32 d, {!}a, mask", &[], |c| c.ballot()),
    form("vote.ballot.b32 d, {!}a", &[], |c| c.ballot()),
    form("match.any.sync.type d, a, mask", &["type=b32 b64"], |c| {
        let ty = c.ty()?;
        let args = [c.src(1, ty)?, c.src_u32(2)?];
        let lanes = c.op(Op::MatchAny, ty.ir, &args);
        c.dst(0, Ty::known("u32"), lanes)
    }),
    form("match.all.sync.type d{|p}, a, mask", &["type=b32 b64"], |c| {
        let ty = c.ty()?;
        let args = [c.src(1, ty)?, c.src_u32(2)?];
        let (lanes, all) = c.op2(Op::MatchAll, ty.ir, &args);
        c.dst_with_predicate("u32", lanes, all)
    }),
    form("redux.sync.op.type d, a, mask", &["op=add min max", "type=u32 s32"], |c| c.redux()),
    form("redux.sync.op.b32 d, a, mask", &["op=and or xor"], |c| c.redux()),
    form("redux.sync.op{.abs}{.NaN}.f32 d, a, mask", &["op=min max"], |c| c.redux()),
    form("activemask.b32 d", &[], |c| {
        let lanes = c.op(Op::ActiveMask, Type::I32, &[]);
        c.dst(0, Ty::known("b32"), lanes)
    }),
    form("elect.sync d|p, mask", &[], |c| {
        let mask = c.src_u32(1)?;
        let (lane, elected) = c.op2(Op::Elect, Type::I32, &[mask]);
        c.dst_with_predicate("u32", lane, elected)
    }),
    form("bar.warp.sync mask", &[], |c| {
        let mask = c.src_u32(0)?;
        c.effect(Op::WarpSync, Type::B1, 0, &[mask]);
        Ok(())
    }),
    form("bar{.cta}.sync a{, b}", &[], |c| c.barrier(true)),
    form("bar{.cta}.arrive a, b", &[], |c| c.barrier_arrive(true)),
    form("bar{.cta}.red.popc.u32 d, a{, b}, {!}c", &[], |c| c.barrier_red(true)),
    form("bar{.cta}.red.op.pred d, a{, b}, {!}c", &["op=and or"], |c| c.barrier_red(true)),
    form("barrier{.cta}.sync{.aligned} a{, b}", &[], |c| {
        let aligned = c.has("aligned");
        c.barrier(aligned)
    }),
    form("barrier{.cta}.arrive{.aligned} a, b", &[], |c| {
        let aligned = c.has("aligned");
        c.barrier_arrive(aligned)
    }),
    form("barrier{.cta}.red.popc{.aligned}.u32 d, a{, b}, {!}c", &[], |c| {
        let aligned = c.has("aligned");
        c.barrier_red(aligned)
    }),
    form("barrier{.cta}.red.op{.aligned}.pred d, a{, b}, {!}c", &["op=and or"], |c| {
        let aligned = c.has("aligned");
        c.barrier_red(aligned)
    }),
    form("barrier.cluster.arrive{.sem}{.aligned}", &["sem=release relaxed"], |c| {
        let order = if c.word("sem") == Some("relaxed") { Order::Relaxed } else { Order::Release };
        c.cluster_barrier(Op::ClusterArrive, order)
    }),
    form("barrier.cluster.wait{.acquire}{.aligned}", &[], |c| c.cluster_barrier(Op::ClusterWait, Order::Acquire)),
];

impl Lifter<'_, '_> {
    /// The member mask operand; for the forms without one, the lanes that execute the instruction together.
    fn members(&mut self, n: usize) -> Result<Value, Box<Diagnostic>> {
        if self.has("sync") { self.src_u32(n) } else { Ok(self.op(Op::ActiveMask, Type::I32, &[])) }
    }
    fn dst_with_predicate(&mut self, ty: &str, value: Value, predicate: Value) -> Lifted {
        let (d, p) = self.pair(0);
        self.write(d, Ty::known(ty), value, false)?;
        self.write(p, Ty::known("pred"), predicate, false)
    }
    fn shuffle(&mut self) -> Lifted {
        let mode = match self.word("mode") {
            Some("up") => ShuffleMode::Up,
            Some("down") => ShuffleMode::Down,
            Some("bfly") => ShuffleMode::Bfly,
            _ => ShuffleMode::Idx,
        };
        let args = [self.src(1, Ty::known("b32"))?, self.src_u32(2)?, self.src_u32(3)?, self.members(4)?];
        let (value, in_range) = self.op2(Attrs::of(Op::Shuffle).with(mode), Type::I32, &args);
        self.dst_with_predicate("b32", value, in_range)
    }
    fn vote(&mut self) -> Lifted {
        let mode = match self.word("mode") {
            Some("all") => VoteMode::All,
            Some("any") => VoteMode::Any,
            _ => VoteMode::Uni,
        };
        let args = [self.src_pred(1)?, self.members(2)?];
        let result = self.op(Attrs::of(Op::Vote).with(mode), Type::B1, &args);
        self.dst(0, Ty::known("pred"), result)
    }
    fn ballot(&mut self) -> Lifted {
        let args = [self.src_pred(1)?, self.members(2)?];
        let lanes = self.op(Op::Ballot, Type::I32, &args);
        self.dst(0, Ty::known("b32"), lanes)
    }
    fn redux(&mut self) -> Lifted {
        // Untyped bits are an integer's here.
        let ty = match self.ty()? {
            ty if ty.kind == Kind::Bits => Ty::known("u32"),
            ty => ty,
        };
        let (float, signed) = (ty.kind == Kind::Float, ty.sign == Sign::S);
        let op = match self.word("op") {
            Some("add") => ReduxOp::Add,
            Some("and") => ReduxOp::And,
            Some("or") => ReduxOp::Or,
            Some("xor") => ReduxOp::Xor,
            Some("min") if float => ReduxOp::FMin,
            Some("min") if signed => ReduxOp::SMin,
            Some("min") => ReduxOp::UMin,
            _ if float => ReduxOp::FMax,
            _ if signed => ReduxOp::SMax,
            _ => ReduxOp::UMax,
        };
        let abs = if self.has("abs") { AbsOperands::Yes } else { AbsOperands::No };
        let nan = if self.has("NaN") { PropagateNan::Yes } else { PropagateNan::No };
        let args = [self.src(1, ty)?, self.src_u32(2)?];
        let result = self.op(Attrs::of(Op::Redux).with(op).with(abs).with(nan), ty.ir, &args);
        self.dst(0, ty, result)
    }
    fn aligned(aligned: bool) -> Aligned {
        if aligned { Aligned::Yes } else { Aligned::No }
    }
    /// Barrier number and thread count; 0 threads where the form leaves the count out.
    fn barrier_operands(&mut self, first: usize, has_count: bool) -> Result<[Value; 2], Box<Diagnostic>> {
        if let Ok(id) = self.constant_operand(first)
            && id > 15
        {
            return Err(self.error(format!("a block has 16 barriers, numbered from 0; there is no barrier {id}")));
        }
        if has_count
            && let Ok(count) = self.constant_operand(first + 1)
            && !count.is_multiple_of(32)
        {
            return Err(self.error(format!("a barrier waits for whole warps, and {count} is no multiple of 32")));
        }
        let id = self.src_u32(first)?;
        let count = if has_count { self.src_u32(first + 1)? } else { self.constant(Type::I32, 0) };
        Ok([id, count])
    }
    fn barrier(&mut self, aligned: bool) -> Lifted {
        let has_count = self.operand_count() == 2;
        let args = self.barrier_operands(0, has_count)?;
        self.effect(Attrs::of(Op::Barrier).with(Self::aligned(aligned)), Type::B1, 0, &args);
        Ok(())
    }
    fn barrier_arrive(&mut self, aligned: bool) -> Lifted {
        if self.constant_operand(1) == Ok(0) {
            return Err(self.error("who arrives without waiting says for how many threads the barrier is"));
        }
        let args = self.barrier_operands(0, true)?;
        self.effect(Attrs::of(Op::BarrierArrive).with(Self::aligned(aligned)), Type::B1, 0, &args);
        Ok(())
    }
    fn barrier_red(&mut self, aligned: bool) -> Lifted {
        let last = self.operand_count() - 1;
        let [id, count] = self.barrier_operands(1, last == 3)?;
        let predicate = self.src_pred(last)?;
        let (op, ty) = match self.word("op") {
            Some("and") => (BarrierOp::And, Ty::known("pred")),
            Some("or") => (BarrierOp::Or, Ty::known("pred")),
            _ => (BarrierOp::Popc, Ty::known("u32")),
        };
        let attrs = Attrs::of(Op::BarrierRed).with(op).with(Self::aligned(aligned));
        let result = self.op(attrs, ty.ir, &[id, count, predicate]);
        self.dst(0, ty, result)
    }
    fn cluster_barrier(&mut self, op: Op, order: Order) -> Lifted {
        let aligned = Self::aligned(self.has("aligned"));
        self.effect(Attrs::of(op).with(order).with(aligned), Type::B1, 0, &[]);
        Ok(())
    }
}
