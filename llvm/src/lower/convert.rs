//! Conversions between numbers of different types.

use super::Lowering;
use super::float::Floats;
use crate::sys::{Code, Real, Ty, Val};
use hetir::attr::{Ftz, Relu, Round, Sat, SatFinite, Sign};
use hetir::entity::Inst;
use hetir::op::Op;
use hetir::types::{Scalar, Type};

impl<'c> Lowering<'_, '_, 'c> {
    /// Lowers a conversion; false where it is left to its definition.
    pub(super) fn convert_op(&mut self, inst: Inst) -> bool {
        let data = *self.body.inst(inst);
        let args = self.body.args(inst).to_vec();
        let once = self.once(inst);
        let e = self.e;
        let ftz = data.attr::<Ftz>() == Ftz::Yes;
        match data.op {
            Op::IToF => {
                let from = self.body.ty(args[0]);
                let exact = matches!(data.ty, Type::F32 | Type::F64);
                if !exact || data.attr::<Round>() != Round::Rn || data.attr::<Sat>() == Sat::Yes || from.bits() > 64 {
                    return false;
                }
                let f = self.floats(data.ty, once);
                let code = if data.attr::<Sign>() == Sign::S { Code::LLVMSIToFP } else { Code::LLVMUIToFP };
                let a = self.arg(args[0], once);
                let v = e.cast(code, a, f.ty);
                self.set_vector(inst, 0, v, once);
                true
            }
            Op::FToI => {
                let from = self.body.ty(args[0]);
                if !matches!(from, Type::F32 | Type::F64) || !matches!(data.ty, Type::I32 | Type::I64) {
                    return false;
                }
                let f = self.floats(from, once);
                let mut a = self.arg(args[0], once);
                if ftz && from == Type::F32 {
                    a = self.flushed(f, a);
                }
                let whole = match data.attr::<Round>() {
                    Round::Rz => a,
                    Round::Rn => e.intrinsic("llvm.roundeven", &[f.ty], &[a]),
                    Round::Rm => e.intrinsic("llvm.floor", &[f.ty], &[a]),
                    Round::Rp => e.intrinsic("llvm.ceil", &[f.ty], &[a]),
                    Round::Rna => return false,
                };
                let signed = data.attr::<Sign>() == Sign::S;
                let name = if signed { "llvm.fptosi.sat" } else { "llvm.fptoui.sat" };
                let to = if f.count == 1 { self.i(data.ty.bits()) } else { self.i(data.ty.bits()).vector(f.count) };
                let v = if f.count == 1 {
                    e.intrinsic(name, &[to, f.ty], &[whole])
                } else {
                    self.saturating(f, whole, to, data.ty.bits(), signed)
                };
                // NaN: zero from f32 to 32 bits, else the number with the top bit alone.
                let v = if from == Type::F64 || data.ty == Type::I64 {
                    let top = self.i(data.ty.bits()).int(1 << (data.ty.bits() - 1));
                    let top = if f.count == 1 { top } else { self.splat(top) };
                    e.select(e.fcmp(Real::LLVMRealUNO, a, a), top, v)
                } else {
                    v
                };
                self.set_vector(inst, 0, v, once);
                true
            }
            Op::FCvt => {
                let from = self.body.ty(args[0]);
                let sat = data.attr::<Sat>() == Sat::Yes;
                let same = from == Type::F32 && data.ty == Type::F32;
                let special = data.attr::<Relu>() == Relu::Yes || data.attr::<SatFinite>() == SatFinite::Yes;
                if special || (sat && !same) {
                    return false;
                }
                let (a, b) = (self.floats(from, once), self.floats(data.ty, once));
                let nearest = data.attr::<Round>() == Round::Rn;
                // Conversions to f16 flush nothing, and no f16 becomes a denormal f32.
                let v = match (from.scalar, data.ty.scalar) {
                    (Scalar::F32, Scalar::F32) => {
                        let v = self.visible(args[0], once);
                        let v = if ftz { self.flushed(a, v) } else { v };
                        match (sat, ftz) {
                            (true, _) => self.saturated(a, v),
                            (false, true) => {
                                let nan = e.fcmp(Real::LLVMRealUNO, v, v);
                                e.select(nan, self.float_of(a, 0x7fff_ffff), v)
                            }
                            (false, false) => v,
                        }
                    }
                    (Scalar::F16, Scalar::F32) => {
                        let v = self.arg(args[0], once);
                        e.cast(Code::LLVMFPExt, v, b.ty)
                    }
                    (Scalar::Bf16, Scalar::F32) if !ftz => {
                        let v = self.arg(args[0], once);
                        self.to_single(a, v)
                    }
                    (Scalar::F32, Scalar::F16) if nearest => {
                        let v = self.arg(args[0], once);
                        let nan = e.fcmp(Real::LLVMRealUNO, v, v);
                        let v = e.cast(Code::LLVMFPTrunc, v, b.ty);
                        e.select(nan, self.float_of(b, 0x7fff), v)
                    }
                    (Scalar::F32, Scalar::Bf16) if nearest && !ftz => {
                        let v = self.arg(args[0], once);
                        self.to_bfloat(b, v)
                    }
                    (Scalar::F32, Scalar::F64) if !ftz => {
                        // Sign and payload are kept, and the NaN made quiet: as the processor does, of what is seen.
                        let v = self.visible(args[0], once);
                        e.cast(Code::LLVMFPExt, v, b.ty)
                    }
                    (Scalar::F64, Scalar::F32) if nearest && !ftz => {
                        let v = self.arg(args[0], once);
                        // A NaN keeps its sign and the upper bits of its payload: as the processor does it.
                        e.cast(Code::LLVMFPTrunc, v, b.ty)
                    }
                    _ => return false,
                };
                self.set_vector(inst, 0, v, once);
                true
            }
            Op::FRound => {
                if !matches!(data.ty, Type::F32 | Type::F64) || data.attr::<Sat>() == Sat::Yes {
                    return false;
                }
                let name = match data.attr::<Round>() {
                    Round::Rn => "llvm.roundeven",
                    Round::Rz => "llvm.trunc",
                    Round::Rm => "llvm.floor",
                    Round::Rp => "llvm.ceil",
                    Round::Rna => return false,
                };
                let f = self.floats(data.ty, once);
                let mut a = self.arg(args[0], once);
                if ftz {
                    a = self.flushed(f, a);
                }
                let mut v = e.intrinsic(name, &[f.ty], &[a]);
                if data.ty == Type::F64 {
                    let quiet = e.bin(Code::LLVMOr, e.cast(Code::LLVMBitCast, a, f.bits), self.pattern(f, 1 << 51));
                    let nan = e.fcmp(Real::LLVMRealUNO, a, a);
                    v = e.select(nan, e.cast(Code::LLVMBitCast, quiet, f.ty), v);
                }
                self.set_vector(inst, 0, v, once);
                true
            }
            _ => false,
        }
    }

    /// Whole numbers to integers of so many bits, lanes beyond their range to its ends and NaN to zero. LLVM's own form of
    /// this takes vectors apart.
    fn saturating(&self, f: Floats<'c>, v: Val<'c>, to: Ty<'c>, bits: u32, signed: bool) -> Val<'c> {
        let e = self.e;
        let float = |n: f64| self.each(f, self.element(Type { scalar: f.scalar, lanes: 1 }).real(n));
        let int = |n: u64| self.each(f, self.i(bits).int(n));
        let (code, low, high) = if signed {
            let top = 2f64.powi(bits as i32 - 1);
            (Code::LLVMFPToSI, e.fcmp(Real::LLVMRealOLT, v, float(-top)), float(top))
        } else {
            (Code::LLVMFPToUI, e.fcmp(Real::LLVMRealOLE, v, float(-1.0)), float(2f64.powi(bits as i32)))
        };
        let (least, most) = if signed { (1 << (bits - 1), (1 << (bits - 1)) - 1) } else { (0, u64::MAX) };
        let inside = e.cast(code, v, to);
        let inside = e.select(e.fcmp(Real::LLVMRealOGE, v, high), int(most), inside);
        let inside = e.select(low, int(least), inside);
        e.select(e.fcmp(Real::LLVMRealUNO, v, v), to.zero(), inside)
    }
}
