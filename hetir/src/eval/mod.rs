//! What each op that computes from its operands alone means: one definition, for the interpreter and for folding.

mod atomic;
mod bits;
mod flags;
mod float;
mod int;
#[cfg(test)]
mod tests;
mod warp;

pub use atomic::combine;
pub use flags::Flags;
pub use warp::{Modes, exchange};

use crate::ir::InstData;
use crate::op::Op;
use crate::types::{Scalar, Type};

/// An op whose results follow from its operands, with everything that it needs to know about itself.
///
/// Values are bit patterns, all lanes together; bits beyond the type are zero. An `f32` add:
/// `Pure::of(inst, ty).eval(&[a, b], &mut [result])`.
#[derive(Clone, Copy, Debug)]
pub struct Pure {
    /// The op.
    pub op: Op,
    /// The controlling type.
    pub ty: Type,
    /// The type of the first operand.
    pub src: Type,
    /// Attributes.
    pub flags: Flags,
    /// The immediate.
    pub imm: u64,
}

impl Pure {
    /// An instruction whose first operand is of type `src` (its controlling type where it has no operand); `None`
    /// where its results depend on more than its operands.
    pub fn of(inst: &InstData, src: Type) -> Option<Self> {
        is_pure(inst.op).then(|| Self { op: inst.op, ty: inst.ty, src, flags: Flags::of(inst), imm: inst.imm })
    }

    /// Computes the results. Operands and results are as many as the instruction has; missing operands count as 0.
    pub fn eval(&self, args: &[u128], results: &mut [u128]) {
        let arg = |i: usize| args.get(i).copied().unwrap_or(0);
        match self.op {
            Op::Unpack => {
                let width = self.ty.bits();
                for (i, r) in results.iter_mut().enumerate() {
                    *r = bits::field(arg(0), i as u32 * width, width);
                }
            }
            Op::IAddC | Op::ISubB => {
                let (value, carry) =
                    int::with_carry(self.op == Op::ISubB, self.ty, arg(0) as u64, arg(1) as u64, arg(2) != 0);
                for (r, v) in results.iter_mut().zip([u128::from(value), u128::from(carry)]) {
                    *r = v;
                }
            }
            _ => {
                let value = if self.is_wide() {
                    self.wide(args)
                } else if self.op == Op::Pack {
                    u128::from(self.pack(args.iter().map(|&a| a as u64)))
                } else {
                    u128::from(self.word([arg(0) as u64, arg(1) as u64, arg(2) as u64, arg(3) as u64]))
                };
                if let Some(r) = results.first_mut() {
                    *r = value;
                }
            }
        }
    }

    /// True where an operand or the result has 128 bits.
    pub fn is_wide(&self) -> bool {
        self.ty.scalar == Scalar::I128
            || self.src.scalar == Scalar::I128
            || (self.op == Op::IMulWide && self.ty.scalar == Scalar::I64)
    }

    /// Operands side by side in at most 64 bits.
    pub fn pack(&self, args: impl Iterator<Item = u64>) -> u64 {
        let width = self.src.bits();
        let mut value = 0;
        for (i, a) in args.enumerate() {
            value |= a.checked_shl(i as u32 * width).unwrap_or(0);
        }
        value & self.ty.mask()
    }

    fn wide(&self, args: &[u128]) -> u128 {
        let arg = |i: usize| args.get(i).copied().unwrap_or(0);
        let (a, b) = (arg(0), arg(1));
        let mask = bits::mask128(self.ty.bits());
        match self.op {
            Op::And => a & b,
            Op::Or => a | b,
            Op::Xor => a ^ b,
            Op::Not => !a & mask,
            Op::ICmp => u128::from(int::compare128(self.flags.int_cmp, self.flags.signed, a, b)),
            Op::Select => {
                if a != 0 {
                    b
                } else {
                    arg(2)
                }
            }
            Op::Sext => bits::sign_extend128(a, self.src.bits()) & mask,
            Op::IMulWide if self.flags.signed => (i128::from(a as i64) * i128::from(b as i64)) as u128,
            Op::IMulWide => u128::from(a as u64) * u128::from(b as u64),
            Op::Pack => {
                args.iter().enumerate().fold(0, |v, (i, &a)| v | a.checked_shl(i as u32 * self.src.bits()).unwrap_or(0))
            }
            _ => a & mask,
        }
    }

    /// The result of an op with one result, at most four operands, and none of them wider than 64 bits.
    #[inline]
    pub fn word(&self, v: [u64; 4]) -> u64 {
        let ty = self.ty;
        let f = &self.flags;
        let [a, b, c, d] = v;
        match self.op {
            Op::Const => self.imm & ty.mask(),

            Op::IAdd | Op::ISub | Op::IMul | Op::INeg | Op::IAbs | Op::IMin | Op::IMax => {
                if ty.lanes == 1 {
                    int::lane(self.op, ty.scalar.bits(), f, a, b)
                } else {
                    by_lanes(ty, |at| int::lane(self.op, ty.scalar.bits(), f, at(a), at(b)))
                }
            }
            Op::And => a & b,
            Op::Or => a | b,
            Op::Xor => a ^ b,
            Op::Not => !a & ty.mask(),
            Op::IMulHi => int::mul_high(ty.bits(), f.signed, a, b),
            Op::IMulWide => int::mul_wide(ty.bits(), f.signed, a, b),
            Op::IDiv => int::div(ty.bits(), f.signed, a, b),
            Op::IRem => int::rem(ty.bits(), f.signed, a, b),
            Op::Shl => int::shl(ty.bits(), a, b),
            Op::Shr => int::shr(ty.bits(), f.signed, a, b),
            Op::ICmp => u64::from(int::compare(f.int_cmp, f.signed, ty.bits(), a, b)),
            Op::Select => {
                if a != 0 {
                    b
                } else {
                    c
                }
            }
            Op::Shf => bits::funnel(f.right, f.wrap, a, b, c),
            Op::Popc => u64::from(a.count_ones()),
            Op::Clz => u64::from(a.leading_zeros() - (64 - ty.bits())),
            Op::Brev => a.reverse_bits() >> (64 - ty.bits()),
            Op::Bfind => bits::find(ty.bits(), f.signed, a),
            Op::Bfe => bits::extract(ty.bits(), f.signed, a, b, c),
            Op::Bfi => bits::insert(ty.bits(), a, b, c, d),
            Op::Bmsk => bits::make_mask(f.wrap, a, b),
            Op::Fns => bits::nth_set(a, b, c),
            Op::Szext => bits::extend(f.signed, f.wrap, a, b),
            Op::Lop3 => bits::lop3(self.imm, a, b, c),
            Op::Prmt => bits::permute(f.permute, a, b, c),
            Op::Dp4a => bits::dot4(f.signed, f.signed_b, a, b, c),
            Op::Dp2a => bits::dot2(f.signed, f.signed_b, f.high, a, b, c),

            Op::FAdd
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
            | Op::FApprox
            | Op::FDivApprox
            | Op::FRound => match float::format(ty.scalar) {
                Some(format) if ty.lanes == 1 => float::lane(self.op, format, f, a, b, c),
                Some(format) => by_lanes(ty, |at| float::lane(self.op, format, f, at(a), at(b), at(c))),
                None => 0,
            },
            Op::FTest | Op::FCmp => float::format(ty.scalar).map_or(0, |t| float::test(self.op, t, f, a, b)),

            Op::Trunc | Op::Zext | Op::Bitcast => a & ty.mask(),
            Op::Sext => bits::sign_extend(a, self.src.bits()) as u64 & ty.mask(),
            Op::FCvt | Op::FToI | Op::IToF | Op::ToNarrow | Op::FromNarrow | Op::FCvtRs | Op::ToNarrowRs => {
                float::convert(self.op, self.src, ty, f, a, b)
            }

            Op::MbarrierPending => u64::from(crate::mbarrier::pending_in(a)),

            // Several results or any number of operands: `eval` and `pack` compute these.
            Op::Unpack | Op::IAddC | Op::ISubB | Op::Pack => 0,

            // These depend on more than their operands; `of` refuses them.
            Op::GlobalAddr
            | Op::FuncAddr
            | Op::SlotAddr
            | Op::Sreg
            | Op::Load
            | Op::Store
            | Op::Atom
            | Op::Cas
            | Op::Fence
            | Op::TensorMapAcquire
            | Op::ToGeneric
            | Op::FromGeneric
            | Op::IsSpace
            | Op::PrefetchOp
            | Op::Discard
            | Op::ApplyPriority
            | Op::CreatePolicy
            | Op::CreatePolicyRange
            | Op::CreatePolicyCvt
            | Op::Alloca
            | Op::StackSave
            | Op::StackRestore
            | Op::CpAsync
            | Op::CpAsyncCommit
            | Op::CpAsyncWait
            | Op::CpAsyncArrive
            | Op::TensorLoad
            | Op::TensorStore
            | Op::TensorReduce
            | Op::TensorPrefetch
            | Op::TensorMapReplace
            | Op::BulkLoad
            | Op::BulkMulticast
            | Op::BulkSend
            | Op::BulkStore
            | Op::BulkReduceSend
            | Op::BulkReduceStore
            | Op::BulkCommit
            | Op::BulkWait
            | Op::BulkPrefetch
            | Op::StoreAsync
            | Op::RedAsync
            | Op::MbarrierInit
            | Op::MbarrierInval
            | Op::MbarrierExpect
            | Op::MbarrierComplete
            | Op::MbarrierArrive
            | Op::MbarrierArriveExpect
            | Op::MbarrierTest
            | Op::MbarrierTry
            | Op::MapRank
            | Op::RankOf
            | Op::ActiveMask
            | Op::WarpSync
            | Op::Elect
            | Op::Shuffle
            | Op::Vote
            | Op::Ballot
            | Op::MatchAny
            | Op::MatchAll
            | Op::Redux
            | Op::Mma
            | Op::WmmaLoad
            | Op::WmmaStore
            | Op::LdMatrix
            | Op::StMatrix
            | Op::MovMatrix
            | Op::Barrier
            | Op::BarrierArrive
            | Op::BarrierRed
            | Op::GroupBarrier
            | Op::GroupMma
            | Op::GroupFence
            | Op::GroupCommit
            | Op::GroupWait
            | Op::StopAsked
            | Op::StopBarrier
            | Op::ClusterArrive
            | Op::ClusterWait
            | Op::GridDepWait
            | Op::GridDepLaunch
            | Op::NanoSleep
            | Op::PmEvent
            | Op::NoUnroll
            | Op::SetMaxReg
            | Op::Tex
            | Op::TexGather
            | Op::ImageQuery
            | Op::IsImage
            | Op::SurfLoad
            | Op::SurfStore
            | Op::SurfRed
            | Op::Syscall
            | Op::Call
            | Op::CallIndirect
            | Op::Breakpoint
            | Op::Br
            | Op::BrIf
            | Op::Switch
            | Op::Ret
            | Op::Exit
            | Op::Trap => 0,
        }
    }
}

/// True where an op's results follow from its operands, attributes and immediate.
pub fn is_pure(op: Op) -> bool {
    op.info().effects.mergeable()
        && !matches!(
            op,
            Op::GlobalAddr
                | Op::FuncAddr
                | Op::SlotAddr
                | Op::ToGeneric
                | Op::FromGeneric
                | Op::IsSpace
                | Op::MapRank
                | Op::RankOf
                | Op::CreatePolicy
                | Op::CreatePolicyRange
                | Op::CreatePolicyCvt
        )
}

/// Applies a function to each lane; it is given a way to cut its lane out of an operand.
#[inline]
fn by_lanes(ty: Type, one: impl Fn(&dyn Fn(u64) -> u64) -> u64) -> u64 {
    let (width, mask) = (ty.scalar.bits(), ty.lane_mask());
    let mut value = 0;
    for lane in 0..u32::from(ty.lanes) {
        let shift = lane * width;
        value |= (one(&|v| v >> shift & mask) & mask) << shift;
    }
    value
}

impl Pure {
    /// Which operands, by position, have 128 bits.
    pub fn arg_registers(&self) -> impl Fn(usize) -> bool + use<> {
        let (op, wide_result, wide_first) = (self.op, self.ty.scalar == Scalar::I128, self.src.scalar == Scalar::I128);
        move |n| match op {
            Op::Select => n > 0 && wide_result,
            _ => wide_first,
        }
    }
    /// True where the results have 128 bits each.
    pub fn result_is_wide(&self) -> bool {
        match self.op {
            Op::ICmp => false,
            Op::IMulWide => self.ty.scalar == Scalar::I64,
            _ => self.ty.scalar == Scalar::I128,
        }
    }
}
