//! Values worked out by hand from the op table's and the PTX manual's words.

use super::Pure;
use crate::attr::{
    ApproxFn, Direction, FloatClass, FloatCmp, Ftz, Half, IntCmp, Narrow, Oob, Permute, PropagateNan, Relu, Round, Sat,
    SatFinite, Sign, SignB, Wrap, XorSign,
};
use crate::build::Attrs;
use crate::ir::Body;
use crate::op::Op;
use crate::types::Type;

fn many(op: impl Into<Attrs>, ty: Type, src: Type, imm: u64, args: &[u128], results: usize) -> Vec<u128> {
    let attrs = op.into();
    let mut body = Body::default();
    let inst = body.make(attrs.op(), ty, attrs.bytes(), imm, &[], &[], Default::default());
    let mut out = vec![0; results];
    Pure::of(body.inst(inst), src).expect("a pure op").eval(args, &mut out);
    out
}

/// An op whose operands are of its controlling type.
fn one(op: impl Into<Attrs>, ty: Type, args: &[u128]) -> u128 {
    many(op, ty, ty, 0, args, 1)[0]
}

/// An op on i32 without a controlling type.
fn bits(op: impl Into<Attrs>, args: &[u128]) -> u128 {
    many(op, Type::B1, Type::I32, 0, args, 1)[0]
}

const I8: Type = Type::I8;
const I16: Type = Type::I16;
const I32: Type = Type::I32;
const I64: Type = Type::I64;

#[test]
fn integer_arithmetic_wraps_and_saturates() {
    assert_eq!(one(Op::IAdd, I8, &[0xff, 2]), 1);
    assert_eq!(one(Op::IAdd, I64, &[u64::MAX.into(), 1]), 0);
    assert_eq!(one(Attrs::of(Op::IAdd).with(Sat::Yes), I32, &[0x7fff_ffff, 1]), 0x7fff_ffff);
    assert_eq!(one(Attrs::of(Op::ISub).with(Sat::Yes), I32, &[0x8000_0000, 1]), 0x8000_0000);
    assert_eq!(one(Op::IAdd, Type::I16X2, &[0xffff_7fff, 0x0001_0001]), 0x0000_8000);
    assert_eq!(one(Op::IMul, Type::I8X4, &[0x10_02_ff_03, 0x10_80_ff_05]), 0x00_00_01_0f);
    assert_eq!(one(Op::INeg, I16, &[0x8000]), 0x8000);
    assert_eq!(one(Op::IAbs, I16, &[0x8000]), 0x8000);
    assert_eq!(one(Op::IAbs, I8, &[0xfe]), 2);
}

#[test]
fn products_have_their_halves() {
    let signed = |op| Attrs::of(op).with(Sign::S);
    assert_eq!(one(Op::IMulHi, I32, &[0xffff_ffff, 0xffff_ffff]), 0xffff_fffe);
    assert_eq!(one(signed(Op::IMulHi), I32, &[0xffff_ffff, 0xffff_ffff]), 0);
    assert_eq!(one(signed(Op::IMulHi), I64, &[1 << 63, 2]), u64::MAX.into());
    assert_eq!(one(Op::IMulWide, I16, &[0xffff, 0xffff]), 0xfffe_0001);
    assert_eq!(one(signed(Op::IMulWide), I16, &[0xffff, 3]), 0xffff_fffd);
    assert_eq!(one(signed(Op::IMulWide), I32, &[0xffff_ffff, 2]), 0xffff_ffff_ffff_fffe);
}

#[test]
fn division_has_no_exceptions() {
    let signed = |op| Attrs::of(op).with(Sign::S);
    assert_eq!(one(Op::IDiv, I32, &[7, 0]), 0xffff_ffff);
    assert_eq!(one(Op::IRem, I32, &[7, 0]), 0xffff_ffff);
    assert_eq!(one(signed(Op::IDiv), I32, &[0x8000_0000, 0xffff_ffff]), 0x8000_0000);
    assert_eq!(one(signed(Op::IRem), I32, &[0x8000_0000, 0xffff_ffff]), 0);
    assert_eq!(one(signed(Op::IDiv), I32, &[0xffff_fff9, 2]), 0xffff_fffd);
    assert_eq!(one(signed(Op::IRem), I32, &[0xffff_fff9, 2]), 0xffff_ffff);
    assert_eq!(one(Op::IDiv, I64, &[u64::MAX.into(), 2]), 0x7fff_ffff_ffff_ffff);
}

#[test]
fn shifts_beyond_the_width() {
    let signed = Attrs::of(Op::Shr).with(Sign::S);
    assert_eq!(one(Op::Shl, I32, &[1, 31]), 0x8000_0000);
    assert_eq!(one(Op::Shl, I32, &[1, 32]), 0);
    assert_eq!(one(Op::Shl, I64, &[1, 0xffff_ffff]), 0);
    assert_eq!(one(Op::Shl, I16, &[0xffff, 8]), 0xff00);
    assert_eq!(one(Op::Shr, I32, &[0x8000_0000, 32]), 0);
    assert_eq!(one(signed, I32, &[0x8000_0000, 99]), 0xffff_ffff);
    assert_eq!(one(signed, I16, &[0x8000, 15]), 0xffff);
    assert_eq!(one(signed, I64, &[1 << 62, 64]), 0);
}

#[test]
fn funnel_shifts() {
    let shf =
        |d: Direction, w: Wrap, lo: u128, hi: u128, n: u128| bits(Attrs::of(Op::Shf).with(d).with(w), &[lo, hi, n]);
    assert_eq!(shf(Direction::Left, Wrap::Wrap, 0x8000_0000, 1, 1), 3);
    assert_eq!(shf(Direction::Left, Wrap::Wrap, 5, 7, 32), 7);
    assert_eq!(shf(Direction::Left, Wrap::Clamp, 5, 7, 99), 5);
    assert_eq!(shf(Direction::Right, Wrap::Wrap, 2, 1, 1), 0x8000_0001);
    assert_eq!(shf(Direction::Right, Wrap::Clamp, 5, 7, 32), 7);
    assert_eq!(shf(Direction::Right, Wrap::Wrap, 5, 7, 33), 0x8000_0002);
}

#[test]
fn counting_and_finding_bits() {
    assert_eq!(one(Op::Popc, I64, &[u64::MAX.into()]), 64);
    assert_eq!(one(Op::Clz, I32, &[1]), 31);
    assert_eq!(one(Op::Clz, I32, &[0]), 32);
    assert_eq!(one(Op::Clz, I64, &[0]), 64);
    assert_eq!(one(Op::Brev, I32, &[0b1101]), 0xb000_0000);
    assert_eq!(one(Op::Bfind, I32, &[0]), 0xffff_ffff);
    assert_eq!(one(Op::Bfind, I64, &[1 << 40]), 40);
    let signed = Attrs::of(Op::Bfind).with(Sign::S);
    assert_eq!(one(signed, I32, &[0xffff_ffff]), 0xffff_ffff);
    assert_eq!(one(signed, I32, &[0xffff_fff0]), 3);
    assert_eq!(bits(Op::Fns, &[0b1011_0100, 3, 2]), 5);
    assert_eq!(bits(Op::Fns, &[0b1011_0100, 4, 1]), 4);
    assert_eq!(bits(Op::Fns, &[0b1011_0100, 3, (-1i32) as u32 as u128]), 2);
    assert_eq!(bits(Op::Fns, &[0b1011_0100, 4, 0]), 4);
    assert_eq!(bits(Op::Fns, &[0b1011_0100, 3, 0]), 0xffff_ffff);
    assert_eq!(bits(Op::Fns, &[0b1011_0100, 3, 5]), 0xffff_ffff);
}

#[test]
fn bit_fields() {
    let signed = Attrs::of(Op::Bfe).with(Sign::S);
    assert_eq!(one(Op::Bfe, I32, &[0xabcd_1234, 8, 12]), 0xd12);
    assert_eq!(one(signed, I32, &[0xabcd_1234, 8, 12]), 0xffff_fd12);
    assert_eq!(one(signed, I32, &[0x8000_0000, 28, 10]), 0xffff_fff8);
    assert_eq!(one(Op::Bfe, I32, &[0xffff_ffff, 28, 10]), 0xf);
    assert_eq!(one(signed, I32, &[0x8000_0000, 40, 4]), 0xffff_ffff);
    assert_eq!(one(signed, I32, &[0xffff_ffff, 3, 0]), 0);
    assert_eq!(one(Op::Bfe, I32, &[0xffff_ffff, 0, 0x104]), 0xf);
    assert_eq!(one(Op::Bfe, I64, &[u64::MAX.into(), 0, 0x104]), u64::MAX.into());
    assert_eq!(one(Op::Bfi, I32, &[0xf, 0, 4, 3]), 0x70);
    assert_eq!(one(Op::Bfi, I32, &[0, 0xffff_ffff, 28, 99]), 0x0fff_ffff);
    assert_eq!(one(Op::Bfi, I32, &[5, 9, 3, 0]), 9);
    assert_eq!(one(Op::Bfi, I32, &[5, 9, 32, 8]), 9);
}

#[test]
fn masks_and_extensions() {
    let wrap = |op| Attrs::of(op).with(Wrap::Wrap);
    assert_eq!(bits(Op::Bmsk, &[4, 8]), 0xff0);
    assert_eq!(bits(Op::Bmsk, &[28, 8]), 0xf000_0000);
    assert_eq!(bits(Op::Bmsk, &[0, 32]), 0xffff_ffff);
    assert_eq!(bits(Op::Bmsk, &[99, 1]), 0);
    assert_eq!(bits(wrap(Op::Bmsk), &[33, 34]), 6);
    assert_eq!(bits(Attrs::of(Op::Szext).with(Sign::S), &[0x0000_0080, 8]), 0xffff_ff80);
    assert_eq!(bits(Op::Szext, &[0xffff_ffff, 8]), 0xff);
    assert_eq!(bits(Op::Szext, &[0x8000_0001, 99]), 0x8000_0001);
    assert_eq!(bits(Attrs::of(Op::Szext).with(Sign::S), &[0xffff_ffff, 0]), 0);
    assert_eq!(bits(wrap(Op::Szext).with(Sign::S), &[3, 34]), 0xffff_ffff);
}

#[test]
fn truth_tables_and_bytes() {
    let lop3 = |table: u64| many(Op::Lop3, Type::B1, I32, table, &[0xf0f0_f0f0, 0xcccc_cccc, 0xaaaa_aaaa], 1)[0];
    // Of these operands bit n of every byte is row n of the table.
    assert_eq!(lop3(0x96), 0x9696_9696);
    assert_eq!(lop3(0x01), 0x0101_0101);
    let prmt =
        |mode: Permute, selector: u128| bits(Attrs::of(Op::Prmt).with(mode), &[0x83_02_01_00, 0x07_06_05_04, selector]);
    assert_eq!(prmt(Permute::Index, 0x7654), 0x0706_0504);
    assert_eq!(prmt(Permute::Index, 0x00bb), 0x0000_ffff);
    assert_eq!(prmt(Permute::F4e, 2), 0x0504_8302);
    assert_eq!(prmt(Permute::B4e, 1), 0x0607_0001);
    assert_eq!(prmt(Permute::Rc8, 2), 0x0202_0202);
    assert_eq!(prmt(Permute::Ecl, 1), 0x8302_0101);
    assert_eq!(prmt(Permute::Ecr, 2), 0x0202_0100);
    assert_eq!(prmt(Permute::Rc16, 3), 0x8302_8302);
}

#[test]
fn dot_products() {
    let dp4a = |a: Sign, b: SignB, args: &[u128]| bits(Attrs::of(Op::Dp4a).with(a).with(b), args);
    assert_eq!(dp4a(Sign::U, SignB::U, &[0x01_02_03_ff, 0x01_01_01_02, 10]), 10 + 510 + 3 + 2 + 1);
    assert_eq!(dp4a(Sign::S, SignB::U, &[0x0000_00ff, 0x0000_00ff, 0]), u128::from((-255i32) as u32));
    let dp2a =
        |h: Half| bits(Attrs::of(Op::Dp2a).with(Sign::S).with(SignB::S).with(h), &[0xffff_0003, 0x01_02_03_04, 0]);
    assert_eq!(dp2a(Half::Lo), 3 * 4 - 3);
    assert_eq!(dp2a(Half::Hi), 3 * 2 - 1);
}

#[test]
fn carries_go_in_and_out() {
    assert_eq!(many(Op::IAddC, I32, I32, 0, &[0xffff_ffff, 0, 1], 2), [0, 1]);
    assert_eq!(many(Op::IAddC, I32, I32, 0, &[0xffff_ffff, 0xffff_ffff, 1], 2), [0xffff_ffff, 1]);
    assert_eq!(many(Op::ISubB, I64, I64, 0, &[0, 0, 1], 2), [u64::MAX.into(), 1]);
    assert_eq!(many(Op::ISubB, I64, I64, 0, &[5, 4, 1], 2), [0, 0]);
}

#[test]
fn comparisons_and_moves() {
    let cmp = |c: IntCmp, s: Sign, ty: Type, a: u128, b: u128| one(Attrs::of(Op::ICmp).with(c).with(s), ty, &[a, b]);
    assert_eq!(cmp(IntCmp::Lt, Sign::S, I8, 0xff, 0), 1);
    assert_eq!(cmp(IntCmp::Lt, Sign::U, I8, 0xff, 0), 0);
    assert_eq!(cmp(IntCmp::Ge, Sign::S, Type::I128, 1 << 127, 0), 0);
    assert_eq!(cmp(IntCmp::Ne, Sign::U, Type::I128, 1 << 127, 1 << 126), 1);
    assert_eq!(many(Op::Select, Type::I128, Type::B1, 0, &[0, 1, 1 << 100], 1), [1 << 100]);
    assert_eq!(one(Op::IMin, I32, &[0xffff_ffff, 1]), 1);
    assert_eq!(one(Attrs::of(Op::IMin).with(Sign::S), I32, &[0xffff_ffff, 1]), 0xffff_ffff);
    assert_eq!(one(Attrs::of(Op::IMin).with(Sign::S).with(Relu::Yes), I32, &[0xffff_ffff, 1]), 0);
    assert_eq!(one(Attrs::of(Op::IMax).with(Sign::S), Type::I16X2, &[0x8000_0001, 0x0000_0002]), 2);
}

#[test]
fn conversions_among_integers() {
    assert_eq!(many(Op::Sext, I64, I8, 0, &[0x80], 1), [0xffff_ffff_ffff_ff80]);
    assert_eq!(many(Op::Sext, Type::I128, I32, 0, &[0x8000_0000], 1), [u128::MAX << 31]);
    assert_eq!(many(Op::Zext, Type::I128, I64, 0, &[u64::MAX.into()], 1), [u64::MAX.into()]);
    assert_eq!(many(Op::Trunc, I16, I64, 0, &[0x1234_5678], 1), [0x5678]);
    assert_eq!(many(Op::Pack, I32, I8, 0, &[1, 2, 3, 4], 1), [0x0403_0201]);
    assert_eq!(many(Op::Pack, Type::I128, I64, 0, &[1, 2], 1), [2 << 64 | 1]);
    assert_eq!(many(Op::Unpack, I64, Type::I128, 0, &[2 << 64 | 1], 2), [1, 2]);
    assert_eq!(many(Op::Unpack, I8, I32, 0, &[0x0403_0201], 4), [1, 2, 3, 4]);
}

fn f32s(op: impl Into<Attrs>, args: &[f32]) -> f32 {
    let args: Vec<u128> = args.iter().map(|a| a.to_bits().into()).collect();
    f32::from_bits(one(op, Type::F32, &args) as u32)
}

#[test]
fn floats_round_flush_and_saturate() {
    assert_eq!(f32s(Op::FAdd, &[1.0, 2f32.powi(-24)]), 1.0);
    let up = f32s(Attrs::of(Op::FAdd).with(Round::Rp), &[1.0, 2f32.powi(-24)]);
    assert_eq!(up, 1.0 + f32::EPSILON);
    assert_eq!(f32s(Attrs::of(Op::FMul).with(Ftz::Yes), &[f32::MIN_POSITIVE, 0.5]).to_bits(), 0);
    assert_eq!(f32s(Attrs::of(Op::FSub).with(Sat::Yes), &[1.0, 3.0]).to_bits(), 0);
    assert_eq!(f32s(Attrs::of(Op::FAdd).with(Sat::Yes), &[1.0, 3.0]), 1.0);
    // (1 + 2^-12)^2 - 1 - 2^-11 is 2^-24: only a sum rounded once keeps it.
    let x = 1.0 + 2f32.powi(-12);
    assert_eq!(f32s(Op::FFma, &[x, x, -1.0 - 2f32.powi(-11)]), 2f32.powi(-24));
    assert_eq!(one(Op::FAdd, Type::F16X2, &[0x3c00_4000, 0x3c00_3c00]), 0x4000_4200);
    assert_eq!(one(Attrs::of(Op::FFma).with(Relu::Yes), Type::F16, &[0x3c00, 0xbc00, 0]), 0);
    assert_eq!(one(Attrs::of(Op::FFma).with(Oob::Yes), Type::F16, &[0xfff7, 0x3c00, 0x3c00]), 0);
    assert_eq!(one(Attrs::of(Op::FFma).with(Oob::Yes), Type::F16, &[0x3c00, 0x3c00, 0xfff7]), 0x7fff);
    assert_eq!(one(Op::FNeg, Type::F64, &[0]), 1 << 63);
}

#[test]
fn minima_order_zeros_and_lose_nans() {
    assert_eq!(f32s(Op::FMin, &[0.0, -0.0]).to_bits(), 0x8000_0000);
    assert_eq!(f32s(Op::FMax, &[f32::NAN, 2.0]), 2.0);
    assert!(f32s(Attrs::of(Op::FMax).with(PropagateNan::Yes), &[f32::NAN, 2.0]).is_nan());
    assert_eq!(f32s(Attrs::of(Op::FMin).with(XorSign::Yes), &[-3.0, 2.0]), -2.0);
}

#[test]
fn floats_compare_and_classify() {
    let cmp = |c: FloatCmp, a: f32, b: f32| {
        one(Attrs::of(Op::FCmp).with(c), Type::F32, &[a.to_bits().into(), b.to_bits().into()])
    };
    assert_eq!(cmp(FloatCmp::Eq, 0.0, -0.0), 1);
    assert_eq!(cmp(FloatCmp::Ne, f32::NAN, 0.0), 0);
    assert_eq!(cmp(FloatCmp::Neu, f32::NAN, 0.0), 1);
    assert_eq!(cmp(FloatCmp::Num, 1.0, f32::NAN), 0);
    assert_eq!(cmp(FloatCmp::Nan, 1.0, f32::NAN), 1);
    assert_eq!(one(Attrs::of(Op::FTest).with(FloatClass::Subnormal), Type::F64, &[1]), 1);
    assert_eq!(f32s(Attrs::of(Op::FApprox).with(ApproxFn::Ex2), &[3.0]), 8.0);
}

#[test]
fn conversions_with_floats() {
    let to_int = |s: Sign, r: Round, v: f32| {
        many(Attrs::of(Op::FToI).with(s).with(r), I32, Type::F32, 0, &[v.to_bits().into()], 1)[0]
    };
    assert_eq!(to_int(Sign::S, Round::Rz, -1.5), 0xffff_ffff);
    assert_eq!(to_int(Sign::S, Round::Rn, 2.5), 2);
    assert_eq!(to_int(Sign::U, Round::Rz, -1.5), 0);
    assert_eq!(to_int(Sign::S, Round::Rz, 1e20), 0x7fff_ffff);
    assert_eq!(many(Attrs::of(Op::IToF).with(Sign::S), Type::F32, I32, 0, &[0xffff_ffff], 1), [0xbf80_0000]);
    assert_eq!(many(Op::FCvt, Type::F16, Type::F32, 0, &[0x7f7f_ffff], 1), [0x7c00]);
    assert_eq!(many(Attrs::of(Op::FCvt).with(SatFinite::Yes), Type::F16, Type::F32, 0, &[0x7f7f_ffff], 1), [0x7bff]);
    let narrow = Attrs::of(Op::ToNarrow).with(Narrow::E4m3).with(SatFinite::Yes);
    assert_eq!(many(narrow, I8, Type::F32, 0, &[1f32.to_bits().into()], 1), [0x38]);
    assert_eq!(many(narrow, I8, Type::F32, 0, &[1e9f32.to_bits().into()], 1), [0x7e]);
    let wide = Attrs::of(Op::FromNarrow).with(Narrow::E5m2);
    assert_eq!(many(wide, Type::F16, I8, 0, &[0x3c], 1), [0x3c00]);
    let random = Attrs::of(Op::ToNarrowRs).with(Narrow::E5m2);
    assert_eq!(many(random, Type::B1, Type::F32, 0, &[1f32.to_bits().into(), 0xffff], 1), [0x3c]);
}
