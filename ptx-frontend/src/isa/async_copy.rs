//! Asynchronous copies, and the barriers in memory that they complete at.

use super::{Form, Lifted, form};
use crate::ast::{self, OperandKind};
use crate::lift::{Kind, Lifter, Ty};
use hetir::attr::{AtomOp, Cache, Drop, Elements, NoComplete, NoInc, Order, Prefetch, ReadsOnly, Scope, Sign, Space};
use hetir::build::Attrs;
use hetir::diag::Diagnostic;
use hetir::entity::Value;
use hetir::op::Op;
use hetir::types::Type;

const STATE: &str = "state=shared shared::cta";
const SPACE: &str = "space=shared shared::cta shared::cluster";
const HINT: &str = "hint=L2::cache_hint";
const PREFETCH: &str = "pf=L2::64B L2::128B L2::256B";
const ARRIVE_ORDER: &str = "sem=release relaxed";
const WAIT_ORDER: &str = "sem=acquire relaxed";
const SCOPE: &str = "scope=cta cluster";
const LOGIC: &str = "op=and or xor";
const COUNTING: &str = "op=inc dec";
const EXTREMES: &str = "op=min max";

pub(crate) const FORMS: &[Form] = &[
    form("cp.async.ca.state.global{.hint}{.pf} [dst], [src], size{, reads}{, policy}", &[STATE, HINT, PREFETCH], |c| {
        c.cp_async(Cache::Ca)
    }),
    form("cp.async.cg.state.global{.hint}{.pf} [dst], [src], size{, reads}{, policy}", &[STATE, HINT, PREFETCH], |c| {
        c.cp_async(Cache::Cg)
    }),
    form("cp.async.commit_group", &[], |c| c.group(Op::CpAsyncCommit, 0)),
    form("cp.async.wait_group n", &[], |c| c.wait_group(Op::CpAsyncWait.into())),
    form("cp.async.wait_all", &[], |c| {
        c.group(Op::CpAsyncCommit, 0)?;
        c.group(Op::CpAsyncWait, 0)
    }),
    form("cp.async.mbarrier.arrive{.noinc}{.state}.b64 [addr]", &[STATE], |c| {
        let noinc = if c.has("noinc") { NoInc::Yes } else { NoInc::No };
        let attrs = Attrs::of(Op::CpAsyncArrive).with(noinc);
        c.at_mbarrier(attrs, 0, "state", &[]).map(|_| ())
    }),
    form("mbarrier.init{.state}.b64 [addr], count", &[STATE], |c| {
        let count = c.src_u32(1)?;
        c.at_mbarrier(Op::MbarrierInit.into(), 0, "state", &[count]).map(|_| ())
    }),
    form("mbarrier.inval{.state}.b64 [addr]", &[STATE], |c| {
        c.at_mbarrier(Op::MbarrierInval.into(), 0, "state", &[]).map(|_| ())
    }),
    form("mbarrier.expect_tx{.sem}{.scope}{.space}.b64 [addr], bytes", &["sem=relaxed", SCOPE, SPACE], |c| {
        c.bytes_awaited(Op::MbarrierExpect)
    }),
    form("mbarrier.complete_tx{.sem}{.scope}{.space}.b64 [addr], bytes", &["sem=relaxed", SCOPE, SPACE], |c| {
        c.bytes_awaited(Op::MbarrierComplete)
    }),
    form("mbarrier.arrive{.sem}{.scope}{.state}.b64 d, [addr]{, count}", &[ARRIVE_ORDER, SCOPE, STATE], |c| {
        c.arrive(Op::MbarrierArrive, Drop::No, NoComplete::No)
    }),
    form("mbarrier.arrive{.sem}{.scope}.shared::cluster.b64 d, [addr]{, count}", &[ARRIVE_ORDER, SCOPE], |c| {
        c.arrive(Op::MbarrierArrive, Drop::No, NoComplete::No)
    }),
    form("mbarrier.arrive.expect_tx{.sem}{.scope}{.state}.b64 d, [addr], bytes", &[ARRIVE_ORDER, SCOPE, STATE], |c| {
        c.arrive(Op::MbarrierArriveExpect, Drop::No, NoComplete::No)
    }),
    form("mbarrier.arrive.expect_tx{.sem}{.scope}.shared::cluster.b64 d, [addr], bytes", &[ARRIVE_ORDER, SCOPE], |c| {
        c.arrive(Op::MbarrierArriveExpect, Drop::No, NoComplete::No)
    }),
    form("mbarrier.arrive.noComplete{.sem}{.scope}{.state}.b64 d, [addr], count", NO_COMPLETE, |c| {
        c.arrive(Op::MbarrierArrive, Drop::No, NoComplete::Yes)
    }),
    form("mbarrier.arrive_drop{.sem}{.scope}{.state}.b64 d, [addr]{, count}", &[ARRIVE_ORDER, SCOPE, STATE], |c| {
        c.arrive(Op::MbarrierArrive, Drop::Yes, NoComplete::No)
    }),
    form("mbarrier.arrive_drop{.sem}{.scope}.shared::cluster.b64 d, [addr]{, count}", &[ARRIVE_ORDER, SCOPE], |c| {
        c.arrive(Op::MbarrierArrive, Drop::Yes, NoComplete::No)
    }),
    form(
        "mbarrier.arrive_drop.expect_tx{.state}{.sem}{.scope}.b64 d, [addr], bytes",
        &[STATE, ARRIVE_ORDER, SCOPE],
        |c| c.arrive(Op::MbarrierArriveExpect, Drop::Yes, NoComplete::No),
    ),
    form(
        "mbarrier.arrive_drop.expect_tx.shared::cluster{.sem}{.scope}.b64 d, [addr], bytes",
        &[ARRIVE_ORDER, SCOPE],
        |c| c.arrive(Op::MbarrierArriveExpect, Drop::Yes, NoComplete::No),
    ),
    form("mbarrier.arrive_drop.noComplete{.sem}{.scope}{.state}.b64 d, [addr], count", NO_COMPLETE, |c| {
        c.arrive(Op::MbarrierArrive, Drop::Yes, NoComplete::Yes)
    }),
    form("mbarrier.test_wait{.sem}{.scope}{.state}.b64 p, [addr], phase", &[WAIT_ORDER, SCOPE, STATE], |c| {
        c.wait(Op::MbarrierTest, "b64")
    }),
    form("mbarrier.test_wait.parity{.sem}{.scope}{.state}.b64 p, [addr], phase", &[WAIT_ORDER, SCOPE, STATE], |c| {
        c.wait(Op::MbarrierTest, "u32")
    }),
    form("mbarrier.try_wait{.sem}{.scope}{.state}.b64 p, [addr], phase{, time}", &[WAIT_ORDER, SCOPE, STATE], |c| {
        c.wait(Op::MbarrierTry, "b64")
    }),
    form(
        "mbarrier.try_wait.parity{.sem}{.scope}{.state}.b64 p, [addr], phase{, time}",
        &[WAIT_ORDER, SCOPE, STATE],
        |c| c.wait(Op::MbarrierTry, "u32"),
    ),
    form("mbarrier.pending_count.b64 d, state", &[], |c| {
        let state = c.src(1, Ty::known("b64"))?;
        let pending = c.op(Op::MbarrierPending, Type::I32, &[state]);
        c.dst(0, Ty::known("u32"), pending)
    }),
    form(
        "cp.async.bulk.dst.global.mbarrier::complete_tx::bytes{.hint} [dst], [src], size, [mbar]{, policy}",
        &["dst=shared::cta shared::cluster", HINT],
        |c| {
            let space = c.space("dst");
            let mut args = c.bulk(Space::Global, space, true)?;
            let attrs = c.policy(4, Attrs::of(Op::BulkLoad).with(space), &mut args)?;
            c.effect(attrs, Type::B1, 0, &args);
            Ok(())
        },
    ),
    form(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster{.hint} [dst], [src], size, [mbar], mask{, policy}",
        &[HINT],
        |c| {
            let mut args = c.bulk(Space::Global, Space::Cluster, true)?;
            args.push(c.src(4, Ty::known("b16"))?);
            let attrs = c.policy(5, Op::BulkMulticast.into(), &mut args)?;
            c.effect(attrs, Type::B1, 0, &args);
            Ok(())
        },
    ),
    form(
        "cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [dst], [src], size, [mbar]",
        &[],
        |c| {
            let args = c.bulk(Space::Shared, Space::Cluster, true)?;
            c.effect(Op::BulkSend, Type::B1, 0, &args);
            Ok(())
        },
    ),
    form("cp.async.bulk.global.shared::cta.bulk_group{.hint} [dst], [src], size{, policy}", &[HINT], |c| {
        let mut args = c.bulk(Space::Shared, Space::Global, false)?;
        let attrs = c.policy(3, Op::BulkStore.into(), &mut args)?;
        c.effect(attrs, Type::B1, 0, &args);
        Ok(())
    }),
    form("cp.async.bulk.commit_group", &[], |c| c.group(Op::BulkCommit, 0)),
    form("cp.async.bulk.wait_group{.read} n", &[], |c| {
        let reads = if c.has("read") { ReadsOnly::Yes } else { ReadsOnly::No };
        c.wait_group(Attrs::of(Op::BulkWait).with(reads))
    }),
    form("cp.async.bulk.prefetch.L2.global{.hint} [src], size{, policy}", &[HINT], |c| {
        let mut args = vec![c.whole_address(0, Space::Global)?, c.bulk_size(1)?];
        let attrs = c.policy(2, Op::BulkPrefetch.into(), &mut args)?;
        c.effect(attrs, Type::B1, 0, &args);
        Ok(())
    }),
    form(
        "cp.reduce.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes.op.b32 [dst], [src], size, [mbar]",
        &[LOGIC],
        |c| c.reduce_send(),
    ),
    form(
        "cp.reduce.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes.add.type [dst], [src], size, [mbar]",
        &["type=u32 s32 u64"],
        |c| c.reduce_send(),
    ),
    form(
        "cp.reduce.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes.op.u32 [dst], [src], size, [mbar]",
        &[COUNTING],
        |c| c.reduce_send(),
    ),
    form(
        "cp.reduce.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes.op.type [dst], [src], size, [mbar]",
        &[EXTREMES, "type=u32 s32"],
        |c| c.reduce_send(),
    ),
    form(
        "cp.reduce.async.bulk.global.shared::cta.bulk_group{.hint}.op.type [dst], [src], size{, policy}",
        &[HINT, LOGIC, "type=b32 b64"],
        |c| c.reduce_store(),
    ),
    form(
        "cp.reduce.async.bulk.global.shared::cta.bulk_group{.hint}.add.type [dst], [src], size{, policy}",
        &[HINT, "type=u32 s32 u64 f32 f64"],
        |c| c.reduce_store(),
    ),
    form(
        "cp.reduce.async.bulk.global.shared::cta.bulk_group{.hint}.op.u32 [dst], [src], size{, policy}",
        &[HINT, COUNTING],
        |c| c.reduce_store(),
    ),
    form(
        "cp.reduce.async.bulk.global.shared::cta.bulk_group{.hint}.op.type [dst], [src], size{, policy}",
        &[HINT, EXTREMES, "type=u32 s32 u64 s64 f16 bf16"],
        |c| c.reduce_store(),
    ),
    form(
        "cp.reduce.async.bulk.global.shared::cta.bulk_group{.hint}.add.noftz.type [dst], [src], size{, policy}",
        &[HINT, "type=f16 bf16"],
        |c| c.reduce_store(),
    ),
    form(
        "st.async{.weak}{.shared::cluster}.mbarrier::complete_tx::bytes{.vec}.type [a], b, [mbar]",
        &["vec=v2 v4", "type=b32 b64 u32 u64 s32 s64 f32 f64"],
        |c| c.store_async(),
    ),
    form(
        "red.async.relaxed.cluster{.shared::cluster}.mbarrier::complete_tx::bytes.op.u32 [a], b, [mbar]",
        &[COUNTING],
        |c| c.red_async(),
    ),
    form(
        "red.async.relaxed.cluster{.shared::cluster}.mbarrier::complete_tx::bytes.op.type [a], b, [mbar]",
        &[EXTREMES, "type=u32 s32"],
        |c| c.red_async(),
    ),
    form(
        "red.async.relaxed.cluster{.shared::cluster}.mbarrier::complete_tx::bytes.op.b32 [a], b, [mbar]",
        &[LOGIC],
        |c| c.red_async(),
    ),
    form(
        "red.async.relaxed.cluster{.shared::cluster}.mbarrier::complete_tx::bytes.add.type [a], b, [mbar]",
        &["type=u32 s32 u64 s64"],
        |c| c.red_async(),
    ),
];

const NO_COMPLETE: &[&str] = &["sem=release", "scope=cta", STATE];

impl Lifter<'_, '_> {
    /// An address of a space as one value.
    pub(super) fn whole_address(&mut self, n: usize, space: Space) -> Result<Value, Box<Diagnostic>> {
        let address = self.address(n)?;
        let actual = self.access_space(&address, space)?;
        let value = self.add_offset(address);
        let named = space == Space::Generic && actual != Space::Generic;
        Ok(if named { self.op(Attrs::of(Op::ToGeneric).with(actual), Type::I64, &[value]) } else { value })
    }
    /// Appends an op whose first operand is the address of an mbarrier.
    fn at_mbarrier(
        &mut self,
        attrs: Attrs,
        n: usize,
        part: &str,
        more: &[Value],
    ) -> Result<Vec<Value>, Box<Diagnostic>> {
        let named = if self.has("shared::cluster") { Space::Cluster } else { self.space(part) };
        let address = self.address(n)?;
        let space = self.access_space(&address, named)?;
        let mut args = vec![address.base];
        args.extend(more);
        let op = attrs.op();
        let ty = more.last().map_or(Type::B1, |v| self.body.ty(*v));
        let (ty, results): (_, &[Type]) = match op {
            Op::MbarrierTest | Op::MbarrierTry => (ty, &[Type::B1]),
            Op::MbarrierArrive | Op::MbarrierArriveExpect => (Type::B1, &[Type::I64]),
            _ => (Type::B1, &[]),
        };
        Ok(self.op_many_imm(attrs.with(space), ty, address.offset as u64, &args, results))
    }
    /// The order and scope that the opcode names together, or those of an op without them.
    fn order_and_scope(&self, order: Order) -> Result<(Order, Scope), Box<Diagnostic>> {
        let named = match self.word("sem") {
            Some("relaxed") => Order::Relaxed,
            Some("acquire") => Order::Acquire,
            Some("release") => Order::Release,
            _ if self.has("scope") => return Err(self.error("a scope needs an order such as `.relaxed`")),
            _ => return Ok((order, Scope::Cta)),
        };
        if self.has("scope") {
            return Ok((named, self.scope()));
        }
        Err(self.error(format!("`.{}` needs a scope", named.name())))
    }
    fn bytes_awaited(&mut self, op: Op) -> Lifted {
        let (_, scope) = self.order_and_scope(Order::Relaxed)?;
        let bytes = self.src_u32(1)?;
        self.at_mbarrier(Attrs::of(op).with(scope), 0, "space", &[bytes]).map(|_| ())
    }
    fn arrive(&mut self, op: Op, drop: Drop, no_complete: NoComplete) -> Lifted {
        let state = self.operand(0);
        if self.has("shared::cluster") && state.kind != OperandKind::Sink {
            return Err(self.error_at(state.span, "an arrival in `.shared::cluster` gives no state: this must be `_`"));
        }
        let (order, scope) = self.order_and_scope(Order::Release)?;
        let number = if self.operand_count() == 3 { self.src_u32(2)? } else { self.constant(Type::I32, 1) };
        let mut attrs = Attrs::of(op).with(drop).with(order).with(scope);
        if op == Op::MbarrierArrive {
            attrs = attrs.with(no_complete);
        }
        let given = self.at_mbarrier(attrs, 1, "state", &[number])?;
        self.dst(0, Ty::known("b64"), given[0])
    }
    fn wait(&mut self, op: Op, phase: &'static str) -> Lifted {
        let (order, scope) = self.order_and_scope(Order::Acquire)?;
        let phase = self.src(2, Ty::known(phase))?;
        let attrs = Attrs::of(op).with(order).with(scope);
        let complete = if op == Op::MbarrierTry {
            let time = if self.operand_count() == 4 { self.src_u32(3)? } else { self.constant(Type::I32, 0) };
            self.at_mbarrier(attrs, 1, "state", &[time, phase])?
        } else {
            self.at_mbarrier(attrs, 1, "state", &[phase])?
        };
        self.dst(0, Ty::known("pred"), complete[0])
    }

    fn group(&mut self, op: Op, left: u64) -> Lifted {
        self.effect(op, Type::B1, left, &[]);
        Ok(())
    }
    fn wait_group(&mut self, attrs: Attrs) -> Lifted {
        let left = self.constant_operand(0)?;
        self.effect(attrs, Type::B1, left, &[]);
        Ok(())
    }
    fn cp_async(&mut self, cache: Cache) -> Lifted {
        let size = self.constant_operand(2)?;
        if !matches!(size, 4 | 8 | 16) || (cache == Cache::Cg && size != 16) {
            let sizes = if cache == Cache::Cg { "16 bytes" } else { "4, 8 or 16 bytes" };
            return Err(self.error(format!("this copies {sizes}, not {size}")));
        }
        let (to, from) = (self.whole_address(0, Space::Shared)?, self.whole_address(1, Space::Global)?);
        let policy_at = self.operand_count() - usize::from(self.has("hint"));
        let reads = if policy_at > 3 { self.bytes_read(3, size)? } else { self.constant(Type::I32, size) };
        let prefetch = match self.word("pf") {
            Some("L2::64B") => Prefetch::B64,
            Some("L2::128B") => Prefetch::B128,
            Some("L2::256B") => Prefetch::B256,
            _ => Prefetch::None,
        };
        let mut args = vec![to, from, reads];
        let attrs = Attrs::of(Op::CpAsync).with(cache).with(prefetch);
        let attrs = self.policy(policy_at.clamp(3, 4), attrs, &mut args)?;
        self.effect(attrs, Type::B1, size, &args);
        Ok(())
    }
    /// How much of the source is read: a number, or nothing where a predicate holds.
    fn bytes_read(&mut self, n: usize, size: u64) -> Result<Value, Box<Diagnostic>> {
        let operand = self.operand(n);
        let is_predicate = match operand.kind {
            OperandKind::Reg { reg, .. } => self.function.var(self.code.regs[reg.index()].var).ty == ast::Type::Pred,
            OperandKind::Int { bits, .. } if bits > size => {
                return Err(self.error_at(operand.span, format!("{bits} bytes are more than the {size} copied")));
            }
            _ => false,
        };
        if !is_predicate {
            return self.src_u32(n);
        }
        let ignore = self.src_pred(n)?;
        let (none, all) = (self.constant(Type::I32, 0), self.constant(Type::I32, size));
        Ok(self.op(Op::Select, Type::I32, &[ignore, none, all]))
    }
    fn bulk_size(&mut self, n: usize) -> Result<Value, Box<Diagnostic>> {
        if let Ok(size) = self.constant_operand(n)
            && !size.is_multiple_of(16)
        {
            let span = self.operand(n).span;
            return Err(self.error_at(span, format!("the size is a multiple of 16, not {size}")));
        }
        self.src_u32(n)
    }
    /// Destination, source and size of a bulk copy, and the mbarrier, which lies in the destination's space.
    fn bulk(&mut self, source: Space, target: Space, completes: bool) -> Result<Vec<Value>, Box<Diagnostic>> {
        let (to, from) = (self.whole_address(0, target)?, self.whole_address(1, source)?);
        let mut args = vec![to, from, self.bulk_size(2)?];
        if completes {
            args.push(self.whole_address(3, target)?);
        }
        Ok(args)
    }
    fn reduction_op(&self, ty: Ty) -> AtomOp {
        let (float, signed) = (ty.kind == Kind::Float, ty.sign == Sign::S);
        match self.word("op") {
            Some("and") => AtomOp::And,
            Some("or") => AtomOp::Or,
            Some("xor") => AtomOp::Xor,
            Some("inc") => AtomOp::Inc,
            Some("dec") => AtomOp::Dec,
            Some("min") if float => AtomOp::FMin,
            Some("min") if signed => AtomOp::SMin,
            Some("min") => AtomOp::UMin,
            Some("max") if float => AtomOp::FMax,
            Some("max") if signed => AtomOp::SMax,
            Some("max") => AtomOp::UMax,
            _ if float => AtomOp::FAdd,
            _ => AtomOp::Add,
        }
    }
    fn bulk_reduction(&mut self, op: Op) -> Result<Attrs, Box<Diagnostic>> {
        let ty = self.ty()?;
        let elements = Elements::ALL.iter().copied().find(|e| e.name() == ty.ir.to_string());
        let Some(elements) = elements else { return Err(self.error(format!("no reduction of .{}", ty.name))) };
        Ok(Attrs::of(op).with(self.reduction_op(ty)).with(elements))
    }
    fn reduce_send(&mut self) -> Lifted {
        let attrs = self.bulk_reduction(Op::BulkReduceSend)?;
        let args = self.bulk(Space::Shared, Space::Cluster, true)?;
        self.effect(attrs, Type::B1, 0, &args);
        Ok(())
    }
    fn reduce_store(&mut self) -> Lifted {
        let attrs = self.bulk_reduction(Op::BulkReduceStore)?;
        let mut args = self.bulk(Space::Shared, Space::Global, false)?;
        let attrs = self.policy(3, attrs, &mut args)?;
        self.effect(attrs, Type::B1, 0, &args);
        Ok(())
    }
    /// The address and the mbarrier of a store, and their space.
    fn async_target(&mut self) -> Result<(Space, Value, Value), Box<Diagnostic>> {
        let named = if self.has("shared::cluster") { Space::Cluster } else { Space::Generic };
        Ok((named, self.whole_address(0, named)?, self.whole_address(2, named)?))
    }
    fn store_async(&mut self) -> Lifted {
        let (ty, count) = (self.ty()?, self.lanes());
        if ty.ir.bits() as usize * count > 128 {
            return Err(self.error("one store writes 16 bytes at most"));
        }
        let (space, to, signal) = self.async_target()?;
        let mut args = vec![to, signal];
        args.extend(self.src_elements(1, ty, count, false)?);
        self.effect(Attrs::of(Op::StoreAsync).with(space), ty.ir, 0, &args);
        Ok(())
    }
    fn red_async(&mut self) -> Lifted {
        let ty = self.ty()?;
        let (space, to, signal) = self.async_target()?;
        let value = self.src(1, ty)?;
        let attrs = Attrs::of(Op::RedAsync).with(self.reduction_op(ty)).with(space);
        self.effect(attrs, ty.ir, 0, &[to, signal, value]);
        Ok(())
    }
}
