//! Every op without effects gives in a launch what its definition gives, for all types and many attributes: the
//! interpreter's short cuts must not show.

mod common;

use common::Random;
use hetir::attr::{AttrKind, IntCmp, Sign, Space, Sreg};
use hetir::build::{Attrs, Builder};
use hetir::entity::{FuncId, Value};
use hetir::eval::{Pure, is_pure};
use hetir::interp::{Arena, Launch, Options, run};
use hetir::ir::{Body, Function, FunctionKind, KernelParam, LaunchBounds, MAX_ATTRS, Module};
use hetir::op::{Imm, Op, Pattern};
use hetir::types::{Scalar, Type};

/// Bytes of a thread's operands and results, and where the results begin.
const STRIDE: u64 = 512;
const RESULTS: u64 = 256;
/// A full warp and a part of one.
const THREADS: u32 = 39;

struct Case {
    op: Op,
    ty: Type,
    attrs: [u8; MAX_ATTRS],
    imm: u64,
    args: Vec<Type>,
    results: Vec<Type>,
}

/// Types of the operands and results; `None` where they do not fit each other.
fn types(op: Op, t: Type, u: Type) -> Option<(Vec<Type>, Vec<Type>)> {
    let count = |many: Type, whole: Type| {
        (whole.bits().is_multiple_of(many.bits()) && whole.bits() / many.bits() <= 8)
            .then(|| whole.bits() / many.bits())
    };
    let side = |patterns: &[Pattern]| -> Option<Vec<Type>> {
        let mut list = Vec::new();
        for p in patterns {
            match p {
                Pattern::T => list.push(t),
                Pattern::U => list.push(u),
                Pattern::Wide => list.push(t.widened()?),
                Pattern::Is(t) => list.push(*t),
                Pattern::ManyT => list.extend(std::iter::repeat_n(t, count(t, u)? as usize)),
                Pattern::ManyU => list.extend(std::iter::repeat_n(u, count(u, t)? as usize)),
                Pattern::Rest => return None,
            }
        }
        Some(list)
    };
    let info = op.info();
    Some((side(&info.args)?, side(&info.results)?))
}

/// A kernel that loads the operands of each thread, executes the op, and stores the results.
fn module(case: &Case) -> (Module, Pure) {
    let param = KernelParam { name: "data".into(), offset: 0, size: 8, align: 8, opaque: None };
    let kind = FunctionKind::Kernel { params: vec![param], bounds: LaunchBounds::default() };
    let mut f = Function::new("k", kind);
    let mut body = Body::default();
    let entry = body.add_block();
    let mut b = Builder::new(&mut body, entry);
    let zero = b.constant(Type::I64, 0);
    let load = |b: &mut Builder<'_>, space: Space, ty: Type, at: Value, offset: u64| {
        let inst = b.inst_with(Attrs::of(Op::Load).with(space), ty, offset, &[at], &[ty]);
        b.body.results(inst)[0]
    };
    let base = load(&mut b, Space::Param, Type::I64, zero, 0);
    let tid = b.op(Attrs::of(Op::Sreg).with(Sreg::TidX), Type::I32, &[]);
    let wide = b.inst_with(Op::Zext, Type::I64, 0, &[tid], &[Type::I64]);
    let wide = b.body.results(wide)[0];
    let stride = b.constant(Type::I64, STRIDE);
    let offset = b.op(Op::IMul, Type::I64, &[wide, stride]);
    let mine = b.op(Op::IAdd, Type::I64, &[base, offset]);
    let mut args = Vec::new();
    for (n, &ty) in case.args.iter().enumerate() {
        // A b1 has no place in memory.
        let stored = if ty == Type::B1 { Type::I8 } else { ty };
        let value = load(&mut b, Space::Global, stored, mine, n as u64 * 16);
        args.push(if ty == Type::B1 {
            let no = b.constant(Type::I8, 0);
            let attrs = Attrs::of(Op::ICmp).with(IntCmp::Ne).with(Sign::U);
            b.op(attrs, Type::I8, &[value, no])
        } else {
            value
        });
    }
    let inst = b.body.make(case.op, case.ty, case.attrs, case.imm, &args, &case.results, Default::default());
    b.body.append(entry, inst);
    let pure = Pure::of(b.body.inst(inst), case.args.first().copied().unwrap_or(case.ty)).expect("a pure op");
    for n in 0..case.results.len() {
        let mut r = b.body.results(inst)[n];
        let mut ty = case.results[n];
        if ty == Type::B1 {
            let (yes, no) = (b.constant(Type::I8, 1), b.constant(Type::I8, 0));
            r = b.op(Op::Select, Type::I8, &[r, yes, no]);
            ty = Type::I8;
        }
        let attrs = Attrs::of(Op::Store).with(Space::Global);
        b.effect(attrs, ty, RESULTS + n as u64 * 16, &[mine, r]);
    }
    b.effect(Op::Ret, Type::B1, 0, &[]);
    f.body = Some(body);
    (Module { functions: vec![f], ..Module::default() }, pure)
}

/// Patterns at which ops have something special to do, and random ones.
fn pattern(random: &mut Random, ty: Type) -> u128 {
    let bits = ty.scalar.bits();
    let lane_mask = u128::MAX >> (128 - bits);
    let mut value = 0u128;
    for lane in 0..u32::from(ty.lanes) {
        let kind = random.below(8);
        let one = match (kind, ty.scalar) {
            (0, _) => random.below(70) as u128,
            (1, _) => lane_mask,
            (2, _) => 1 << (bits - 1),
            (3, _) => lane_mask >> 1,
            (4, Scalar::F16) => special(random, 5, 10),
            (4, Scalar::Bf16) => special(random, 8, 7),
            (4, Scalar::F32) => special(random, 8, 23),
            (4, Scalar::F64) => special(random, 11, 52),
            _ => u128::from(random.next()) << 64 | u128::from(random.next()),
        };
        value |= (one & lane_mask) << (lane * bits);
    }
    value
}

/// Infinity, NaN, the smallest and largest subnormal, one.
fn special(random: &mut Random, exponent: u32, mantissa: u32) -> u128 {
    let infinity = ((1u128 << exponent) - 1) << mantissa;
    match random.below(5) {
        0 => infinity,
        1 => infinity | 1 << (mantissa - 1),
        2 => 1,
        3 => (1u128 << mantissa) - 1,
        _ => ((1u128 << (exponent - 1)) - 1) << mantissa,
    }
}

fn attributes(random: &mut Random, op: Op) -> [u8; MAX_ATTRS] {
    let mut bytes = [0; MAX_ATTRS];
    for (byte, kind) in bytes.iter_mut().zip(op.info().attrs) {
        let kind: AttrKind = *kind;
        *byte = random.below(kind.spellings().len()) as u8;
    }
    bytes
}

fn check(case: &Case, random: &mut Random) -> bool {
    let (module, pure) = module(case);
    if hetir::verify::verify(&module).is_err() {
        return false;
    }
    let mut data = vec![0u8; (u64::from(THREADS) * STRIDE) as usize];
    let mut inputs: Vec<Vec<u128>> = Vec::new();
    for t in 0..THREADS as usize {
        let values: Vec<u128> = case.args.iter().map(|&ty| pattern(random, ty)).collect();
        for (n, (v, ty)) in values.iter().zip(&case.args).enumerate() {
            let at = t * STRIDE as usize + n * 16;
            let size = ty.bytes() as usize;
            data[at..at + size].copy_from_slice(&v.to_le_bytes()[..size]);
        }
        inputs.push(values);
    }
    let mut memory = Arena::new();
    let base = memory.alloc("data", data);
    let params = base.to_le_bytes();
    let launch = Launch { block: [THREADS, 1, 1], params: &params, ..Launch::new(&module, FuncId::new(0)) };
    if let Err(fault) = run(&launch, &mut memory, &mut Options::default()) {
        panic!("{:?} {}: {fault}", case.op, case.ty);
    }
    let data = &memory.region(base).expect("it was mapped").data;
    for (t, values) in inputs.iter().enumerate() {
        let mut expected = vec![0u128; case.results.len()];
        pure.eval(values, &mut expected);
        for (n, (e, ty)) in expected.iter().zip(&case.results).enumerate() {
            let at = t * STRIDE as usize + RESULTS as usize + n * 16;
            let mut bytes = [0; 16];
            let size = ty.bytes() as usize;
            bytes[..size].copy_from_slice(&data[at..at + size]);
            let got = u128::from_le_bytes(bytes);
            assert!(
                got == *e,
                "{:?} {} attributes {:?} of {values:x?}: the launch gives {got:#x}, the definition {e:#x}",
                case.op,
                case.ty,
                case.attrs
            );
            assert!(ty.bits() == 128 || e >> ty.bits() == 0, "{:?} {}: bits beyond the type", case.op, case.ty);
        }
    }
    true
}

#[test]
fn launches_and_definitions_agree() {
    let mut random = Random(1);
    let mut missing = Vec::new();
    let mut all = 0;
    for &op in Op::ALL.iter().filter(|&&op| is_pure(op)) {
        let info = op.info();
        let uses_u = info.args.iter().any(|p| matches!(p, Pattern::U | Pattern::ManyU));
        let mut accepted = 0;
        let ts: Vec<Type> = if info.is_typed() {
            Type::ALL.iter().copied().filter(|&t| info.t.holds(t)).collect()
        } else {
            vec![Type::B1]
        };
        for &ty in &ts {
            for &u in Type::ALL.iter().filter(|&&u| if uses_u { info.u.holds(u) } else { u == Type::B1 }) {
                let Some((args, results)) = types(op, ty, u) else { continue };
                let rounds = if info.attrs.is_empty() { 2 } else { 12 };
                for round in 0..rounds {
                    let attrs = if round == 0 { [0; MAX_ATTRS] } else { attributes(&mut random, op) };
                    let imm = if info.imm == Imm::Int { random.next() & 0xff & ty.mask() } else { 0 };
                    let imm = if op == Op::Lop3 { random.next() & 0xff } else { imm };
                    let case = Case { op, ty, attrs, imm, args: args.clone(), results: results.clone() };
                    accepted += u32::from(check(&case, &mut random));
                }
            }
        }
        all += accepted;
        if accepted == 0 {
            missing.push(op);
        }
    }
    assert!(all > 1000, "only {all} cases pass the verifier");
    assert!(missing.is_empty(), "no case of {missing:?} passes the verifier");
}
