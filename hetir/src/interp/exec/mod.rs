//! Execution: what each op does to a group of lanes. One file a family; [`select`] says who executes which op.
//!
//! To add an op: a function of the type [`Handler`] in its family's file, and its line in [`select`]. It reads operands
//! by [`Step::arg`], writes results by [`Step::set`], reads and writes memory by `Step::read` and `Step::write`, and
//! gives [`Next::Advance`]. All operands are read before a result is written: they may share a register. An op that
//! waits sets its group's state and gives [`Next::Moved`]; what ends the wait moves the group on. An op without effects
//! is defined in [`crate::eval`] instead and needs no line here beyond the list of those.

mod async_copy;
mod atomic;
mod barrier;
mod checks;
mod cluster;
mod control;
mod hot;
mod mbarrier;
mod memory;
mod special;
mod syscall;
mod tensor;
mod tensor_copy;
mod texture;
mod warp;

pub(super) use async_copy::{Copies, hurry, poll};
pub(super) use barrier::{Barriers, ClusterBarrier, wake};
pub(super) use hot::run_group;
pub(super) use mbarrier::time_out;

use super::code::{CONSTANT, Code, Column, Ins, Reg};
use super::machine::{Block, Common, Env};
use super::warp::{Group, Warp};
use super::{Fault, FaultKind, Place};
use crate::attr::{Attr, IntCmp, Round};
use crate::eval::Pure;
use crate::ir::InstData;
use crate::op::Op;
use crate::types::Type;

/// What an instruction without a loop of its own is executed by.
pub(super) type Handler = for<'s, 'l> fn(&mut Step<'s, 'l>) -> Result<Next, Box<Trouble>>;

/// How an instruction is executed: by a loop of its own over the lanes, or by a function of its family.
#[derive(Clone, Copy)]
pub(super) enum Exec {
    /// Copies a column.
    Move,
    /// Goes on elsewhere.
    Jump,
    /// The jump at the end of an edge's moves; it belongs to the branch.
    EdgeJump,
    BrIf,
    Switch,
    Add32,
    Add64,
    Sub32,
    Sub64,
    Mul32,
    Mul64,
    MulWideU32,
    MulWideS32,
    And,
    Or,
    Xor,
    Shl32,
    Shl64,
    ShrU32,
    ShrU64,
    ShrS32,
    ShrS64,
    MinS32,
    MaxS32,
    MinU32,
    MaxU32,
    CmpU(IntCmp),
    CmpS32(IntCmp),
    CmpS64(IntCmp),
    Select,
    Mask,
    Sext32,
    AddF32,
    SubF32,
    MulF32,
    FmaF32,
    AddF64,
    SubF64,
    MulF64,
    FmaF64,
    /// An op without effects, with one result and at most four operands of 64 bits.
    Word,
    /// Any op without effects.
    Many,
    /// A function.
    Run(Handler),
}

/// Where a group goes after an instruction.
pub(super) enum Next {
    /// To the next instruction.
    Advance,
    /// The group's place has been set, or the group is gone.
    Moved,
}

/// What a function of a family works on: one instruction and one group of lanes.
pub(super) struct Step<'s, 'l> {
    pub env: &'s mut Env<'l>,
    pub cluster: &'s mut Common,
    pub block: &'s mut Block,
    pub warp: &'s mut Warp<'l>,
    /// Which group of the warp.
    pub group: usize,
    pub lanes: u32,
    pub code: &'l Code,
    pub ins: &'l Ins,
}

/// Why an instruction failed, and which lane is to blame.
#[derive(Debug)]
pub(super) struct Trouble {
    pub kind: FaultKind,
    pub lane: u32,
    pub message: String,
    pub related: Vec<(Place, String)>,
    /// Where, if not at the instruction executed.
    pub place: Option<Place>,
}

/// A failure.
pub(super) fn trouble<T>(kind: FaultKind, lane: u32, message: impl Into<String>) -> Result<T, Box<Trouble>> {
    Err(Box::new(Trouble { kind, lane, message: message.into(), related: Vec::new(), place: None }))
}

/// The lanes of a mask, lowest first.
pub(super) fn lanes(mask: u32) -> impl Iterator<Item = usize> {
    let mut left = mask;
    std::iter::from_fn(move || {
        let lane = left.trailing_zeros();
        left &= left.wrapping_sub(1);
        (lane < 32).then_some(lane as usize)
    })
}

impl Step<'_, '_> {
    /// The registers of the activation.
    pub(crate) fn registers(&mut self) -> &mut [Column] {
        let frame = self.warp.groups[self.group].frame;
        &mut self.warp.frames[frame as usize].registers
    }
    /// A register's lanes.
    fn get(&mut self, r: Reg) -> Column {
        let code = self.code;
        *column(self.registers(), &code.constants, r)
    }
    /// The n-th operand register's lanes; zeros where there is none.
    fn arg(&mut self, n: usize) -> Column {
        match self.code.args(self.ins).get(n) {
            Some(&r) => self.get(r),
            None => [0; 32],
        }
    }
    /// Sets the n-th result register's lanes.
    fn set(&mut self, n: usize, lane: usize, value: u64) {
        if let Some(&r) = self.code.results(self.ins).get(n) {
            self.registers()[r as usize][lane] = value;
        }
    }
    /// Sets the n-th result register for all lanes of the group.
    fn set_all(&mut self, n: usize, values: &Column) {
        for lane in lanes(self.lanes) {
            self.set(n, lane, values[lane]);
        }
    }
    /// An attribute of the instruction.
    fn attr<A: Attr>(&self) -> A {
        let body = self.env.launch.module.functions[self.code.id.index()].body.as_ref();
        body.map_or(A::from_byte(0), |b| b.inst(self.ins.inst).attr())
    }
    fn group(&mut self) -> &mut Group {
        &mut self.warp.groups[self.group]
    }
}

/// A register's or constant's lanes.
#[inline]
pub(super) fn column<'c>(registers: &'c [Column], constants: &'c [Column], r: Reg) -> &'c Column {
    if r & CONSTANT == 0 { &registers[r as usize] } else { &constants[(r & !CONSTANT) as usize] }
}

/// Where an instruction of a warp's lane is.
pub(super) fn place(env: &Env<'_>, block: &Block, warp: &Warp<'_>, code: &Code, ins: Option<&Ins>, lane: u32) -> Place {
    let f = &env.launch.module.functions[code.id.index()];
    let span = ins.and_then(|i| f.body.as_ref()?.spans.get(i.inst.index()).copied());
    Place {
        function: f.name.clone(),
        span: span.unwrap_or_default(),
        op: ins.map_or("", |i| i.op.info().name),
        block: block.index,
        thread: env.thread_index(warp.id * 32 + lane),
    }
}

/// A trouble with its place.
pub(super) fn locate(
    t: Trouble,
    env: &Env<'_>,
    block: &Block,
    warp: &Warp<'_>,
    code: &Code,
    ins: Option<&Ins>,
) -> Box<Fault> {
    Box::new(Fault {
        kind: t.kind,
        kernel: env.kernel_name().to_owned(),
        place: Some(t.place.unwrap_or_else(|| place(env, block, warp, code, ins, t.lane))),
        message: t.message,
        related: t.related,
    })
}

/// What executes an instruction.
pub(super) fn select(data: &InstData, pure: Option<&Pure>) -> Exec {
    if let Some(pure) = pure {
        return select_pure(pure);
    }
    match data.op {
        Op::Br => Exec::Jump,
        Op::BrIf => Exec::BrIf,
        Op::Switch => Exec::Switch,
        Op::Ret => Exec::Run(control::ret),
        Op::Exit => Exec::Run(control::exit),
        Op::Trap => Exec::Run(control::trap),
        Op::Breakpoint => Exec::Run(control::breakpoint),
        Op::Call => Exec::Run(control::call),
        Op::CallIndirect => Exec::Run(control::call_indirect),
        Op::Syscall => Exec::Run(syscall::syscall),

        Op::GlobalAddr => Exec::Run(special::shared_address),
        Op::SlotAddr => Exec::Run(special::slot_address),
        Op::Sreg => Exec::Run(special::register),
        Op::Alloca => Exec::Run(special::alloca),
        Op::StackSave => Exec::Run(special::stack_save),
        Op::StackRestore => Exec::Run(special::stack_restore),
        Op::ToGeneric => Exec::Run(special::to_generic),
        Op::FromGeneric => Exec::Run(special::from_generic),
        Op::IsSpace => Exec::Run(special::is_space),
        Op::NanoSleep => Exec::Run(special::nanosleep),
        // Hints: the program cannot tell that they did something.
        Op::PrefetchOp
        | Op::Discard
        | Op::ApplyPriority
        | Op::PmEvent
        | Op::NoUnroll
        | Op::SetMaxReg
        | Op::GridDepWait
        | Op::GridDepLaunch
        | Op::BulkPrefetch
        | Op::GroupFence
        | Op::GroupCommit
        | Op::TensorPrefetch => Exec::Run(special::nothing),
        // The bits of a policy mean nothing.
        Op::CreatePolicy | Op::CreatePolicyRange | Op::CreatePolicyCvt => Exec::Run(special::zero),

        Op::Load => Exec::Run(memory::load),
        Op::Store => Exec::Run(memory::store),
        Op::Fence | Op::TensorMapAcquire => Exec::Run(checks::fence),
        Op::Atom => Exec::Run(atomic::atom),
        Op::Cas => Exec::Run(atomic::cas),

        Op::CpAsync => Exec::Run(async_copy::cp_async),
        Op::CpAsyncCommit => Exec::Run(async_copy::cp_async_commit),
        Op::CpAsyncWait => Exec::Run(async_copy::cp_async_wait),
        Op::CpAsyncArrive => Exec::Run(async_copy::cp_async_arrive),
        Op::BulkLoad | Op::BulkSend | Op::BulkReduceSend => Exec::Run(async_copy::bulk_send),
        Op::BulkMulticast => Exec::Run(async_copy::bulk_multicast),
        Op::BulkStore | Op::BulkReduceStore => Exec::Run(async_copy::bulk_store),
        Op::BulkCommit => Exec::Run(async_copy::bulk_commit),
        Op::BulkWait => Exec::Run(async_copy::bulk_wait),
        Op::TensorLoad => Exec::Run(tensor_copy::load),
        Op::TensorStore | Op::TensorReduce => Exec::Run(tensor_copy::store),
        Op::TensorMapReplace => Exec::Run(tensor_copy::replace),
        Op::StoreAsync | Op::RedAsync => Exec::Run(async_copy::store),
        Op::MbarrierInit | Op::MbarrierInval => Exec::Run(mbarrier::set),
        Op::MbarrierExpect | Op::MbarrierComplete => Exec::Run(mbarrier::expect),
        Op::MbarrierArrive | Op::MbarrierArriveExpect => Exec::Run(mbarrier::arrive),
        Op::MbarrierTest => Exec::Run(mbarrier::test),
        Op::MbarrierTry => Exec::Run(mbarrier::try_wait),
        Op::MapRank => Exec::Run(cluster::map_rank),
        Op::RankOf => Exec::Run(cluster::rank_of),

        Op::ActiveMask => Exec::Run(warp::active_mask),
        Op::WarpSync | Op::Elect | Op::Shuffle | Op::Vote | Op::Ballot | Op::MatchAny | Op::MatchAll | Op::Redux => {
            Exec::Run(warp::collective)
        }
        Op::Mma | Op::GroupMma | Op::WmmaLoad | Op::WmmaStore | Op::LdMatrix | Op::StMatrix | Op::MovMatrix => {
            Exec::Run(tensor::matrix)
        }

        Op::StopAsked => Exec::Run(barrier::stop_asked),
        Op::Barrier
        | Op::BarrierArrive
        | Op::BarrierRed
        | Op::GroupBarrier
        | Op::GroupWait
        | Op::StopBarrier
        | Op::ClusterArrive
        | Op::ClusterWait => Exec::Run(barrier::barrier),

        Op::Tex | Op::TexGather | Op::ImageQuery | Op::IsImage | Op::SurfLoad | Op::SurfStore | Op::SurfRed => {
            Exec::Run(texture::access)
        }

        // Folded away, or chosen above by being without effects.
        Op::FuncAddr
        | Op::Const
        | Op::IAdd
        | Op::ISub
        | Op::IMul
        | Op::IMulHi
        | Op::IMulWide
        | Op::IDiv
        | Op::IRem
        | Op::INeg
        | Op::IAbs
        | Op::IMin
        | Op::IMax
        | Op::And
        | Op::Or
        | Op::Xor
        | Op::Not
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
        | Op::Lop3
        | Op::Prmt
        | Op::Dp4a
        | Op::Dp2a
        | Op::IAddC
        | Op::ISubB
        | Op::ICmp
        | Op::Select
        | Op::FAdd
        | Op::FSub
        | Op::FMul
        | Op::FFma
        | Op::FDiv
        | Op::FRcp
        | Op::FSqrt
        | Op::FNeg
        | Op::FAbs
        | Op::FMin
        | Op::FMax
        | Op::FCopysign
        | Op::FTest
        | Op::FCmp
        | Op::FApprox
        | Op::FDivApprox
        | Op::Trunc
        | Op::Zext
        | Op::Sext
        | Op::Bitcast
        | Op::FCvt
        | Op::FRound
        | Op::FToI
        | Op::IToF
        | Op::ToNarrow
        | Op::FromNarrow
        | Op::FCvtRs
        | Op::ToNarrowRs
        | Op::Pack
        | Op::Unpack
        | Op::MbarrierPending => Exec::Many,
    }
}

/// The loop for an op without effects.
fn select_pure(p: &Pure) -> Exec {
    let f = &p.flags;
    if p.is_wide() || matches!(p.op, Op::Unpack | Op::Pack | Op::IAddC | Op::ISubB) {
        return Exec::Many;
    }
    let plain = !f.sat && !f.ftz && !f.relu && !f.oob && f.round == Round::Rn;
    let pick = |ty: Type, narrow, wide| match ty {
        Type::I32 => narrow,
        Type::I64 => wide,
        _ => Exec::Word,
    };
    let float = |narrow, wide| match p.ty {
        Type::F32 if plain => narrow,
        Type::F64 if plain => wide,
        _ => Exec::Word,
    };
    match p.op {
        Op::IAdd if !f.sat => pick(p.ty, Exec::Add32, Exec::Add64),
        Op::ISub if !f.sat => pick(p.ty, Exec::Sub32, Exec::Sub64),
        Op::IMul => pick(p.ty, Exec::Mul32, Exec::Mul64),
        Op::IMulWide if p.ty == Type::I32 => {
            if f.signed {
                Exec::MulWideS32
            } else {
                Exec::MulWideU32
            }
        }
        Op::And => Exec::And,
        Op::Or => Exec::Or,
        Op::Xor => Exec::Xor,
        Op::Shl => pick(p.ty, Exec::Shl32, Exec::Shl64),
        Op::Shr if f.signed => pick(p.ty, Exec::ShrS32, Exec::ShrS64),
        Op::Shr => pick(p.ty, Exec::ShrU32, Exec::ShrU64),
        Op::IMin | Op::IMax if p.ty == Type::I32 && !f.relu => match (p.op == Op::IMin, f.signed) {
            (true, true) => Exec::MinS32,
            (false, true) => Exec::MaxS32,
            (true, false) => Exec::MinU32,
            (false, false) => Exec::MaxU32,
        },
        Op::ICmp if !f.signed || matches!(f.int_cmp, IntCmp::Eq | IntCmp::Ne) => Exec::CmpU(f.int_cmp),
        Op::ICmp => match p.ty {
            Type::I32 => Exec::CmpS32(f.int_cmp),
            Type::I64 => Exec::CmpS64(f.int_cmp),
            _ => Exec::Word,
        },
        Op::Select => Exec::Select,
        Op::Trunc => Exec::Mask,
        Op::Sext if p.src == Type::I32 && p.ty == Type::I64 => Exec::Sext32,
        Op::FAdd => float(Exec::AddF32, Exec::AddF64),
        Op::FSub => float(Exec::SubF32, Exec::SubF64),
        Op::FMul => float(Exec::MulF32, Exec::MulF64),
        Op::FFma => float(Exec::FmaF32, Exec::FmaF64),
        _ => Exec::Word,
    }
}
