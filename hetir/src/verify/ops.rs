//! Rules of single ops. Every op stands in the match of [`check`], also those without a rule of their own.

use super::body::Checker;
use super::{MAX_ALIGN, Rule};
use crate::attr::{
    AbsOperands, ApproxFn, AtomOp, Attr, BarrierOp, Cache, Contract, Coordinates, DepthCompare, Element, Elements,
    EvictL2, Geometry, Lod, Matrix, MatrixShape, Multicast, Narrow, NoComplete, Order, Path, PropagateNan, ReduxOp,
    Round, Scope, SeparateSampler, Space, Sreg, SurfaceUnit, Syscall, TexelOffset, Tiles,
};
use crate::entity::{Inst, Value};
use crate::ir::{InstData, Signature};
use crate::op::Op;
use crate::tensor::{Fragment, GroupProduct, Product};
use crate::tensor_map::MAX_RANK;
use crate::types::{Scalar, Type};

/// An instruction whose operands and results are what its row says.
pub(super) struct Context<'a> {
    pub(super) inst: Inst,
    pub(super) data: &'a InstData,
    /// Operands without the cache policy.
    pub(super) args: &'a [Value],
    pub(super) t: Type,
    pub(super) u: Type,
}

impl Context<'_> {
    fn attr<A: Attr>(&self) -> A {
        self.data.attr()
    }
}

type Checked = Result<(), (Rule, String)>;

fn need(rule: Rule, holds: bool, message: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err((rule, message())) }
}

/// The type of a special register.
pub const fn sreg_type(sreg: Sreg) -> Type {
    match sreg {
        Sreg::Clock64 | Sreg::GlobalTimer | Sreg::GridId | Sreg::CurrentGraphExec | Sreg::Pm64 => Type::I64,
        _ => Type::I32,
    }
}

/// The parameters and results of a library call.
pub const fn syscall_signature(call: Syscall) -> (&'static [Type], &'static [Type]) {
    match call {
        Syscall::Vprintf => (&[Type::I64, Type::I64], &[Type::I32]),
        Syscall::Malloc => (&[Type::I64], &[Type::I64]),
        Syscall::Free => (&[Type::I64], &[]),
        Syscall::AssertFail => (&[Type::I64, Type::I64, Type::I32, Type::I64, Type::I64], &[]),
    }
}

pub(super) fn check(c: &Checker<'_>, x: &Context<'_>) -> Checked {
    let (t, u) = (x.t, x.u);
    match x.data.op {
        Op::Const
        | Op::GlobalAddr
        | Op::FuncAddr
        | Op::SlotAddr
        | Op::IAdd
        | Op::ISub
        | Op::IMul
        | Op::IMulHi
        | Op::IDiv
        | Op::IRem
        | Op::INeg
        | Op::IAbs
        | Op::IMin
        | Op::IMax
        | Op::Shl
        | Op::Shr
        | Op::Shf
        | Op::Popc
        | Op::Clz
        | Op::Brev
        | Op::Bfind
        | Op::Bfe
        | Op::Bfi
        | Op::Bmsk
        | Op::Fns
        | Op::Szext
        | Op::Prmt
        | Op::Dp4a
        | Op::Dp2a
        | Op::IAddC
        | Op::ISubB
        | Op::Select
        | Op::FNeg
        | Op::FAbs
        | Op::FMin
        | Op::FMax
        | Op::FCopysign
        | Op::FTest
        | Op::FCmp
        | Op::PrefetchOp
        | Op::CreatePolicyCvt
        | Op::StackSave
        | Op::StackRestore
        | Op::CpAsyncCommit
        | Op::CpAsyncWait
        | Op::BulkMulticast
        | Op::BulkSend
        | Op::BulkStore
        | Op::BulkCommit
        | Op::BulkWait
        | Op::BulkPrefetch
        | Op::MbarrierPending
        | Op::ActiveMask
        | Op::WarpSync
        | Op::Elect
        | Op::Shuffle
        | Op::Vote
        | Op::Ballot
        | Op::MatchAny
        | Op::MatchAll
        | Op::MovMatrix
        | Op::Barrier
        | Op::BarrierArrive
        | Op::GroupBarrier
        | Op::GroupFence
        | Op::GroupCommit
        | Op::GroupWait
        | Op::StopAsked
        | Op::StopBarrier
        | Op::GridDepWait
        | Op::GridDepLaunch
        | Op::NanoSleep
        | Op::ImageQuery
        | Op::IsImage
        | Op::NoUnroll
        | Op::Breakpoint
        | Op::Br
        | Op::BrIf
        | Op::Switch
        | Op::Exit
        | Op::Trap => Ok(()),
        Op::Lop3 => need(Rule::Immediate, x.data.imm < 256, || format!("{} is no truth table", x.data.imm)),
        Op::Sreg => sreg(x),
        Op::And | Op::Or | Op::Xor | Op::Not => {
            need(Rule::Wide, t.scalar != Scalar::I128, || "an i128 is not computed with".into())
        }
        Op::ICmp => {
            need(Rule::Wide, t.lanes == 1, || format!("{t} has more than one lane"))?;
            let equality = matches!(x.attr(), crate::attr::IntCmp::Eq | crate::attr::IntCmp::Ne);
            need(Rule::Wide, equality || t.scalar != Scalar::I128, || "an i128 has no order".into())
        }
        Op::IMulWide => need(Rule::Extend, t.bits() <= 32, || format!("the product of two {t} has no type")),
        Op::FAdd | Op::FSub | Op::FMul | Op::FFma | Op::FDiv | Op::FRcp | Op::FSqrt | Op::FCvt | Op::FRound => round(x),
        Op::FToI | Op::IToF => round(x),
        Op::FApprox => {
            let known = match x.attr() {
                ApproxFn::Rcp | ApproxFn::Rsqrt => matches!(t.scalar, Scalar::F32 | Scalar::F64),
                ApproxFn::Sqrt | ApproxFn::Sin | ApproxFn::Cos | ApproxFn::Lg2 => t.scalar == Scalar::F32,
                ApproxFn::Ex2 | ApproxFn::Tanh => t.scalar != Scalar::F64,
            };
            need(Rule::Approx, known, || format!("there is no {} of {t}", x.attr::<ApproxFn>().name()))
        }
        Op::FDivApprox => need(Rule::Approx, t == Type::F32, || format!("no approximate division of {t}")),
        Op::Trunc => need(Rule::Extend, u.bits() > t.bits(), || format!("{u} is not wider than {t}")),
        Op::Zext | Op::Sext => {
            let fine = u.lanes == 1 && u.scalar != Scalar::I128 && u.bits() < t.bits();
            need(Rule::Extend, fine, || format!("{u} does not extend to {t}"))
        }
        Op::Bitcast => need(Rule::Bitcast, t.bits() == u.bits(), || format!("{u} is not as wide as {t}")),
        Op::ToNarrow => {
            round(x)?;
            let tf32 = x.attr::<Narrow>() == Narrow::Tf32;
            let wanted = if tf32 { Type::F32 } else { Type::I8 };
            need(Rule::Narrow, t == wanted && (!tf32 || u == Type::F32), || {
                format!("{} is no conversion from {u} to {t}", x.attr::<Narrow>().name())
            })
        }
        Op::FromNarrow => {
            let format = x.attr::<Narrow>();
            let fine = format != Narrow::Tf32 && (format != Narrow::Ue8m0 || t != Type::F16);
            need(Rule::Narrow, fine, || format!("{} is no conversion to {t}", format.name()))
        }
        Op::ToNarrowRs => {
            need(Rule::Narrow, x.attr::<Narrow>() != Narrow::Tf32, || "tf32 is not a storage format here".into())
        }
        Op::FCvtRs => {
            need(Rule::Narrow, matches!(t, Type::F16 | Type::BF16), || format!("{t} is not rounded by random bits"))
        }
        Op::Pack => parts(u, x.args.len(), t),
        Op::Unpack => parts(t, c.body.results(x.inst).len(), u),
        Op::Load => {
            access(t, c.body.results(x.inst).len())?;
            order(x, &[Order::Weak, Order::Relaxed, Order::Acquire, Order::Volatile, Order::Mmio])?;
            let special = x.attr::<Path>() != Path::Default;
            let plain = x.attr::<Order>() == Order::Weak && matches!(x.attr(), Space::Generic | Space::Global);
            need(Rule::Spaces, !special || plain, || {
                format!("{} is for weak loads of global memory", x.attr::<Path>().name())
            })
        }
        Op::Store => {
            access(t, x.args.len() - 1)?;
            order(x, &[Order::Weak, Order::Relaxed, Order::Release, Order::Volatile, Order::Mmio])?;
            let space = x.attr::<Space>();
            need(Rule::Spaces, !matches!(space, Space::Const | Space::Param), || {
                format!("{} space is not written", space.name())
            })
        }
        Op::Atom => {
            atomic(x)?;
            let op = x.attr::<AtomOp>();
            let word = matches!(t, Type::I32 | Type::I64);
            let known = match op {
                AtomOp::Add | AtomOp::And | AtomOp::Or | AtomOp::Xor => word,
                AtomOp::SMin | AtomOp::SMax | AtomOp::UMin | AtomOp::UMax => word,
                AtomOp::Exch => word || t == Type::I128,
                AtomOp::Inc | AtomOp::Dec => t == Type::I32,
                AtomOp::FAdd | AtomOp::FMin | AtomOp::FMax => t.scalar.is_float(),
            };
            need(Rule::Atomic, known, || format!("there is no atomic {} of {t}", op.name()))
        }
        Op::Cas => {
            atomic(x)?;
            let known = matches!(t, Type::I16 | Type::I32 | Type::I64 | Type::I128);
            need(Rule::Atomic, known, || format!("there is no cas of {t}"))
        }
        Op::Fence => order(x, &[Order::Acquire, Order::Release, Order::AcqRel, Order::SeqCst]),
        Op::TensorMapAcquire => need(Rule::Scope, x.attr::<Scope>() != Scope::None, || "a fence needs a scope".into()),
        Op::ToGeneric | Op::FromGeneric | Op::IsSpace => {
            need(Rule::Spaces, x.attr::<Space>() != Space::Generic, || "generic is no window".into())
        }
        Op::CpAsync => {
            let cache = x.attr::<Cache>();
            let fine = matches!(x.data.imm, 4 | 8 | 16) && matches!(cache, Cache::Ca | Cache::Cg);
            need(Rule::AsyncCopy, fine && (cache == Cache::Ca || x.data.imm == 16), || {
                format!("{} bytes are not copied with {:?}", x.data.imm, cache.name())
            })
        }
        Op::BulkLoad => async_space(x, &[Space::Shared, Space::Cluster]),
        Op::TensorLoad => {
            async_space(x, &[Space::Shared, Space::Cluster])?;
            let fine = x.attr::<Multicast>() == Multicast::No || x.attr::<Space>() == Space::Cluster;
            need(Rule::AsyncCopy, fine, || "several blocks are only in cluster space".into())?;
            coordinates(x, 4)
        }
        Op::TensorStore | Op::TensorReduce => coordinates(x, 2),
        Op::TensorPrefetch => coordinates(x, 1),
        Op::TensorMapReplace => {
            let space = x.attr::<Space>();
            let fine = matches!(space, Space::Generic | Space::Global | Space::Shared);
            need(Rule::Spaces, fine, || format!("no tensor map is changed in {} space", space.name()))
        }
        Op::StoreAsync => {
            async_space(x, &[Space::Generic, Space::Cluster])?;
            let count = x.args.len() - 2;
            let known = matches!(t, Type::I32 | Type::I64 | Type::F32 | Type::F64);
            let fine = known && matches!(count, 1 | 2 | 4) && t.bytes() as usize * count <= 16;
            need(Rule::AsyncCopy, fine, || format!("{count} values of {t} are not one asynchronous store"))
        }
        Op::RedAsync => {
            async_space(x, &[Space::Generic, Space::Cluster])?;
            let element = if t == Type::I32 { Elements::I32 } else { Elements::I64 };
            reduction(x, element, false)
        }
        Op::BulkReduceSend => reduction(x, x.attr(), false),
        Op::BulkReduceStore => reduction(x, x.attr(), true),
        Op::MbarrierInit | Op::MbarrierInval | Op::CpAsyncArrive => mbarrier_space(x, false),
        Op::MbarrierExpect | Op::MbarrierComplete => {
            mbarrier_space(x, true)?;
            mbarrier_scope(x)
        }
        Op::MbarrierArrive | Op::MbarrierArriveExpect => {
            let no_complete = x.attr::<NoComplete>() == NoComplete::Yes;
            mbarrier_space(x, !no_complete)?;
            mbarrier_scope(x)?;
            let order = x.attr::<Order>();
            let fine = match order {
                Order::Release => !no_complete || x.attr::<Scope>() == Scope::Cta,
                _ => order == Order::Relaxed && !no_complete,
            };
            need(Rule::Mbarrier, fine, || format!("{} is no order of this arrival", order.name()))
        }
        Op::MbarrierTest | Op::MbarrierTry => {
            mbarrier_space(x, false)?;
            mbarrier_scope(x)?;
            let order = x.attr::<Order>();
            let fine = matches!(order, Order::Acquire | Order::Relaxed);
            need(Rule::Mbarrier, fine, || format!("{} is no order of a wait", order.name()))
        }
        Op::MapRank | Op::RankOf => {
            let space = x.attr::<Space>();
            let fine = matches!(space, Space::Generic | Space::Cluster);
            need(Rule::ClusterSpace, fine, || format!("{} space has no ranks", space.name()))
        }
        Op::Discard | Op::ApplyPriority => {
            need(Rule::Hints, x.data.imm == 128, || format!("{} bytes are not 128", x.data.imm))
        }
        Op::CreatePolicy | Op::CreatePolicyRange => {
            need(Rule::Hints, x.attr::<EvictL2>() != EvictL2::None, || "a policy needs a primary priority".into())
        }
        Op::Alloca => {
            let fine = x.data.imm.is_power_of_two() && x.data.imm <= MAX_ALIGN.into();
            need(Rule::Alloca, fine, || format!("{} is no alignment", x.data.imm))
        }
        Op::Redux => {
            let op = x.attr::<ReduxOp>();
            let float = matches!(op, ReduxOp::FMin | ReduxOp::FMax);
            let wanted = if float { Type::F32 } else { Type::I32 };
            need(Rule::Redux, t == wanted, || format!("{} is of {wanted}, not {t}", op.name()))?;
            let special = x.attr::<AbsOperands>() == AbsOperands::Yes || x.attr::<PropagateNan>() == PropagateNan::Yes;
            need(Rule::Redux, float || !special, || format!("{} has neither abs nor nan", op.name()))
        }
        Op::Mma => {
            let product = Product::of(x.data).map_err(|message| (Rule::Product, message))?;
            let (have, want) = (types(c, x.args), product.operands());
            need(Rule::Product, have == want, || format!("operands are {want:?}, not {have:?}"))?;
            let (have, want) = (types(c, c.body.results(x.inst)), product.results());
            need(Rule::Product, have == want, || format!("results are {want:?}, not {have:?}"))
        }
        Op::GroupMma => {
            let product = GroupProduct::of(x.data).map_err(|message| (Rule::Product, message))?;
            let (have, want) = (types(c, x.args), product.operands());
            need(Rule::Product, have == want, || format!("operands are {want:?}, not {have:?}"))?;
            let (have, want) = (types(c, c.body.results(x.inst)), product.results());
            need(Rule::Product, have == want, || format!("results are {want:?}, not {have:?}"))
        }
        Op::WmmaLoad => fragment(x, x.attr(), c.body.results(x.inst).len()),
        Op::WmmaStore => fragment(x, Matrix::C, x.args.len() - 2),
        Op::LdMatrix => tiles(x, c.body.results(x.inst).len()),
        Op::StMatrix => tiles(x, x.args.len() - 1),
        Op::BarrierRed => {
            let op = x.attr::<BarrierOp>();
            let wanted = if op == BarrierOp::Popc { Type::I32 } else { Type::B1 };
            need(Rule::BarrierRed, t == wanted, || format!("{} gives {wanted}, not {t}", op.name()))
        }
        Op::ClusterArrive => known_order(x, &[Order::Release, Order::Relaxed]),
        Op::ClusterWait => known_order(x, &[Order::Acquire]),
        Op::PmEvent => need(Rule::Hints, x.data.imm <= 0xffff, || format!("{} is no mask of 16 bits", x.data.imm)),
        Op::SetMaxReg => {
            let fine = x.data.imm.is_multiple_of(8) && (24..=256).contains(&x.data.imm);
            need(Rule::Hints, fine, || format!("{} is no count of registers", x.data.imm))
        }
        Op::Tex | Op::TexGather => texture(c, x),
        Op::SurfLoad | Op::SurfStore => {
            let load = x.data.op == Op::SurfLoad;
            let count = if load { c.body.results(x.inst).len() } else { x.args.len() - 4 };
            surface(x.attr(), !load && x.attr::<SurfaceUnit>() == SurfaceUnit::Texels, t)?;
            let fine = t.scalar.is_int() && matches!(count, 1 | 2 | 4) && t.bytes() as usize * count <= 16;
            need(Rule::Surface, fine, || format!("{count} values of {t} are not one access of a surface"))
        }
        Op::SurfRed => {
            surface(x.attr(), false, t)?;
            let op = x.attr::<AtomOp>();
            let known = matches!(
                op,
                AtomOp::Add | AtomOp::And | AtomOp::Or | AtomOp::SMin | AtomOp::SMax | AtomOp::UMin | AtomOp::UMax
            );
            need(Rule::Surface, known, || format!("surfaces know no {}", op.name()))
        }
        Op::Syscall => {
            let (params, results) = syscall_signature(x.attr());
            signature(c, x, x.attr::<Syscall>().name(), x.args, params, results)
        }
        Op::Call => {
            let Some(callee) = c.module.functions.get(x.data.imm as usize) else { return Ok(()) };
            need(Rule::Call, !callee.is_kernel(), || format!("@{} is a kernel", callee.name))?;
            let Signature { params, results } = &callee.signature;
            signature(c, x, &format!("@{}", callee.name), x.args, params, results)
        }
        Op::CallIndirect => {
            let Some(callee) = c.module.signatures.get(x.data.imm as usize) else { return Ok(()) };
            signature(c, x, &format!("sig{}", x.data.imm), &x.args[1..], &callee.params, &callee.results)
        }
        Op::Ret => {
            let have = types(c, x.args);
            let wanted: &[Type] = if c.function.is_kernel() { &[] } else { &c.function.signature.results };
            need(Rule::Return, have == wanted, || format!("{have:?} is returned, not {wanted:?}"))
        }
    }
}

fn texture(c: &Checker<'_>, x: &Context<'_>) -> Checked {
    let geometry = x.attr::<Geometry>();
    let gather = x.data.op == Op::TexGather;
    let texels = !gather && x.attr::<Coordinates>() == Coordinates::Texel;
    let lod = if gather { Lod::Base } else { x.attr() };
    let (offset, compare) =
        (x.attr::<TexelOffset>() == TexelOffset::Yes, x.attr::<DepthCompare>() == DepthCompare::Yes);
    let (samples, cube) = (geometry.has_samples(), geometry.is_cube());
    let wrong = |message: &str| Err((Rule::Texture, format!("{}: {message}", geometry.name())));
    if gather && !matches!(geometry, Geometry::D2 | Geometry::A2) && !cube {
        return wrong("no four texels are read of it");
    }
    if samples && (!texels || lod != Lod::Base) {
        return wrong("samples have whole coordinates and one level");
    }
    if cube && (texels || offset) {
        return wrong("a cube has neither whole coordinates nor offsets");
    }
    if compare && (texels || geometry == Geometry::D3) {
        return wrong("no depth is compared here");
    }
    let count = geometry.dimensions();
    let coordinate = if texels { Type::I32 } else { Type::F32 };
    let mut wanted = vec![Type::I64];
    wanted.extend((x.attr::<SeparateSampler>() == SeparateSampler::Yes).then_some(Type::I64));
    wanted.extend(geometry.is_layered().then_some(Type::I32));
    wanted.extend(samples.then_some(Type::I32));
    wanted.extend(vec![coordinate; count]);
    match lod {
        Lod::Base => {}
        Lod::Level => wanted.push(coordinate),
        Lod::Grad => wanted.extend(vec![Type::F32; 2 * count]),
    }
    wanted.extend(vec![Type::I32; if offset { count } else { 0 }]);
    wanted.extend(compare.then_some(Type::F32));
    let given = types(c, x.args);
    need(Rule::Texture, given == wanted, || format!("the operands have types {given:?}, not {wanted:?}"))?;
    let results = c.body.results(x.inst).len() - 1;
    let fine = match x.t {
        Type::I32 | Type::F32 => results == 4,
        Type::F16 => results == 4 && !gather,
        Type::F16X2 => results == 2 && !gather,
        _ => false,
    };
    need(Rule::Texture, fine, || format!("{results} values of {} are not four components", x.t))
}

fn surface(geometry: Geometry, texels: bool, t: Type) -> Checked {
    let known = matches!(geometry, Geometry::D1 | Geometry::D2 | Geometry::D3 | Geometry::A1 | Geometry::A2);
    need(Rule::Surface, known, || format!("there are no surfaces of the shape {}", geometry.name()))?;
    need(Rule::Surface, !texels || t == Type::I32, || format!("texels are written as i32, not {t}"))
}

fn types(c: &Checker<'_>, values: &[Value]) -> Vec<Type> {
    values.iter().map(|v| c.ty(*v)).collect()
}

fn signature(
    c: &Checker<'_>,
    x: &Context<'_>,
    name: &str,
    args: &[Value],
    params: &[Type],
    results: &[Type],
) -> Checked {
    let (given, taken) = (types(c, args), types(c, c.body.results(x.inst)));
    need(Rule::Call, given == params, || format!("{name} has parameters {params:?}, not {given:?}"))?;
    need(Rule::Call, taken == results, || format!("{name} has results {results:?}, not {taken:?}"))
}

fn fragment(x: &Context<'_>, matrix: Matrix, count: usize) -> Checked {
    let (shape, element) = (x.attr::<MatrixShape>(), x.attr::<Element>());
    let fragment = Fragment::in_memory(matrix, shape, element, x.attr()).ok_or_else(|| {
        let message = format!("there is no matrix {} of {} in shape {}", matrix.name(), element.name(), shape.name());
        (Rule::Fragment, message)
    })?;
    let (t, registers) = (fragment.register(), fragment.registers());
    need(Rule::Fragment, (x.t, count) == (t, registers), || {
        format!("the fragment has {registers} times {t}, not {count} times {}", x.t)
    })?;
    let space = x.attr::<Space>();
    let fine = matches!(space, Space::Generic | Space::Global | Space::Shared);
    need(Rule::Fragment, fine, || format!("no matrices are in {} space", space.name()))
}

fn tiles(x: &Context<'_>, count: usize) -> Checked {
    let tiles = x.attr::<Tiles>().count();
    need(Rule::Tiles, (x.t, count) == (Type::I32, tiles), || {
        format!("{tiles} tiles are {tiles} times i32, not {count} times {}", x.t)
    })?;
    let space = x.attr::<Space>();
    need(Rule::Tiles, matches!(space, Space::Generic | Space::Shared), || {
        format!("no tiles are in {} space", space.name())
    })
}

fn sreg(x: &Context<'_>) -> Checked {
    let sreg = x.attr::<Sreg>();
    let wanted = sreg_type(sreg);
    need(Rule::SpecialRegister, x.t == wanted, || format!("{} is an {wanted}, not {}", sreg.name(), x.t))?;
    let count = match sreg {
        Sreg::EnvReg => 32,
        Sreg::Pm | Sreg::Pm64 => 8,
        _ => 1,
    };
    need(Rule::SpecialRegister, x.data.imm < count, || format!("there is no {} {}", sreg.name(), x.data.imm))
}

fn round(x: &Context<'_>) -> Checked {
    let tf32 = x.data.op == Op::ToNarrow && x.attr::<Narrow>() == Narrow::Tf32;
    need(Rule::Away, tf32 || x.attr::<Round>() != Round::Rna, || "rna is only for conversions to tf32".into())?;
    let free = x.attr::<Contract>() == Contract::No || x.attr::<Round>() == Round::Rn;
    need(Rule::Contract, free, || "what may be joined is rounded to nearest".into())
}

fn parts(part: Type, count: usize, whole: Type) -> Checked {
    let fine = part != Type::B1 && part.bits() as usize * count == whole.bits() as usize;
    need(Rule::Pack, fine, || format!("{count} times {part} do not make up {whole}"))
}

fn access(t: Type, count: usize) -> Checked {
    need(Rule::Access, t != Type::B1, || "no b1 is in memory".into())?;
    let bytes = t.bytes() as usize * count;
    let fine = matches!(count, 1 | 2 | 4 | 8) && bytes <= 32;
    need(Rule::Access, fine, || format!("{count} values of {t} are not one access"))
}

fn known_order(x: &Context<'_>, orders: &[Order]) -> Checked {
    let order = x.attr::<Order>();
    need(Rule::Order, orders.contains(&order), || {
        let name = if order == Order::Weak { "weak" } else { order.name() };
        format!("{} cannot be {name}", x.data.op.info().name)
    })
}

fn order(x: &Context<'_>, orders: &[Order]) -> Checked {
    known_order(x, orders)?;
    let scope = x.attr::<Scope>();
    match x.attr::<Order>() {
        Order::Weak | Order::Volatile => {
            need(Rule::Scope, scope == Scope::None, || format!("{} needs an order", scope.name()))
        }
        Order::Mmio => need(Rule::Scope, scope == Scope::Sys, || "mmio has the scope sys".into()),
        Order::Relaxed | Order::Acquire | Order::Release | Order::AcqRel | Order::SeqCst => {
            need(Rule::Scope, scope != Scope::None, || format!("{} needs a scope", x.attr::<Order>().name()))
        }
    }
}

fn mbarrier_space(x: &Context<'_>, cluster: bool) -> Checked {
    let space = x.attr::<Space>();
    let fine = matches!(space, Space::Generic | Space::Shared) || (cluster && space == Space::Cluster);
    need(Rule::Mbarrier, fine, || {
        format!("{} does not take an mbarrier in {} space", x.data.op.info().name, space.name())
    })
}

fn mbarrier_scope(x: &Context<'_>) -> Checked {
    let scope = x.attr::<Scope>();
    let fine = matches!(scope, Scope::Cta | Scope::Cluster);
    need(Rule::Mbarrier, fine, || format!("an mbarrier's scope is cta or cluster_scope, not {:?}", scope.name()))
}

fn async_space(x: &Context<'_>, spaces: &[Space]) -> Checked {
    let space = x.attr::<Space>();
    need(Rule::AsyncCopy, spaces.contains(&space), || {
        format!("{} does not write {} space", x.data.op.info().name, space.name())
    })
}

fn reduction(x: &Context<'_>, element: Elements, global: bool) -> Checked {
    let op = x.attr::<AtomOp>();
    let known = match op {
        AtomOp::Add => matches!(element, Elements::I32 | Elements::I64),
        AtomOp::And | AtomOp::Or | AtomOp::Xor | AtomOp::SMin | AtomOp::SMax | AtomOp::UMin | AtomOp::UMax => {
            element == Elements::I32 || (global && element == Elements::I64)
        }
        AtomOp::Inc | AtomOp::Dec => element == Elements::I32,
        AtomOp::FAdd => global && !matches!(element, Elements::I32 | Elements::I64),
        AtomOp::FMin | AtomOp::FMax => global && matches!(element, Elements::F16 | Elements::Bf16),
        AtomOp::Exch => false,
    };
    need(Rule::AsyncReduce, known, || format!("there is no asynchronous {} of {} here", op.name(), element.name()))
}

fn atomic(x: &Context<'_>) -> Checked {
    order(x, &[Order::Relaxed, Order::Acquire, Order::Release, Order::AcqRel])?;
    let space = x.attr::<Space>();
    let fine = matches!(space, Space::Generic | Space::Global | Space::Shared | Space::Cluster);
    need(Rule::Spaces, fine, || format!("there are no atomics in {} space", space.name()))
}

/// The coordinates of a box, which are the operands from one on.
fn coordinates(x: &Context<'_>, first: usize) -> Checked {
    let count = x.args.len() - first;
    need(Rule::AsyncCopy, x.data.ty == Type::I32 && count <= MAX_RANK, || {
        format!("{count} values of {} are no coordinates", x.data.ty)
    })
}
