//! Compiled floating-point ops give the bits that their definitions give.

use hetgpu_cpu::{CpuDevice, Features, Options};
use hetgpu_device::{Launch, SyncDevice};
use hetir::entity::FuncId;
use hetir::eval::Pure;
use hetir::ir::Module;
use hetir::op::Op;
use hetir::types::Type;
use std::sync::Arc;

/// An op with its attributes, result and operands: types by name.
struct Case {
    op: String,
    result: &'static str,
    operands: Vec<&'static str>,
}

impl Case {
    fn new(op: impl Into<String>, result: &'static str, operands: &[&'static str]) -> Self {
        Self { op: op.into(), result, operands: operands.to_vec() }
    }
}

fn bytes_of(ty: &str) -> u32 {
    match ty {
        "f64" | "f32x2" => 8,
        "f32" | "f16x2" | "bf16x2" => 4,
        _ => 2,
    }
}

/// Applies the op to the operands that a thread's index chooses, or a block's.
fn kernel(name: &str, case: &Case, by_block: bool) -> String {
    let mut lines = Vec::new();
    let mut next = 0;
    let mut add = |ty: &str, text: String| {
        lines.push(format!("    v{next}: {ty} = {text}"));
        next += 1;
        next - 1
    };
    let mut index = add("i32", "sreg.ctaid.x".into());
    if !by_block {
        let size = add("i32", "sreg.ntid.x".into());
        let thread = add("i32", "sreg.tid.x".into());
        let first = add("i32", format!("imul v{index}, v{size}"));
        index = add("i32", format!("iadd v{first}, v{thread}"));
    }
    let mut address = |n: usize, ty: &str| {
        let offset = add("i64", format!("const {}", n * 8));
        let base = add("i64", format!("load.param v{offset}"));
        let shift = add("i32", format!("const {}", bytes_of(ty).ilog2()));
        let place = add("i32", format!("shl v{index}, v{shift}"));
        let place = add("i64", format!("zext v{place}"));
        add("i64", format!("iadd v{base}, v{place}"))
    };
    let places: Vec<_> = case.operands.iter().enumerate().map(|(n, ty)| address(n, ty)).collect();
    let out = address(3, case.result);
    // Vectors pass through memory as integers.
    let word = |ty: &str| ty.ends_with("x2").then(|| format!("i{}", bytes_of(ty) * 8));
    let values: Vec<_> = places
        .iter()
        .zip(&case.operands)
        .map(|(at, ty)| match word(ty) {
            Some(word) => {
                let bits = add(&word, format!("load.global v{at}"));
                add(ty, format!("bitcast v{bits}"))
            }
            None => add(ty, format!("load.global v{at}")),
        })
        .collect();
    let values = values.iter().map(|v| format!("v{v}")).collect::<Vec<_>>().join(", ");
    let mut result = add(case.result, format!("{} {values}", case.op));
    if let Some(word) = word(case.result) {
        result = add(&word, format!("bitcast v{result}"));
    }
    lines.push(format!("    store.global v{out}, v{result}"));
    lines.push("    ret".into());
    let params: Vec<_> = (0..4).map(|n| format!("p{n}: 8 align 8 at {}", n * 8)).collect();
    format!("visible kernel @{name}({}) {{\nblock0:\n{}\n}}\n", params.join(", "), lines.join("\n"))
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
    /// A number of the format: any bits, an edge, or of common size.
    fn pattern(&mut self, ty: &str) -> u64 {
        let (mantissa, bits) = match ty {
            "f64" => (52, 64),
            "f32" => (23, 32),
            "f16" => (10, 16),
            "bf16" => (7, 16),
            "f32x2" => return self.pattern("f32") | self.pattern("f32") << 32,
            "f16x2" => return self.pattern("f16") | self.pattern("f16") << 16,
            _ => return self.pattern("bf16") | self.pattern("bf16") << 16,
        };
        let (any, choice) = (self.next(), self.next());
        let sign = any >> 63 << (bits - 1);
        let one = ((1u64 << (bits - mantissa - 2)) - 1) << mantissa;
        let fields = match choice % 8 {
            // Zero, infinity, one, the ends of the normal range, and what is next to them.
            0 => {
                let infinity = one * 2 + (1 << (mantissa + 1));
                let edges = [0, infinity, one, 1 << mantissa, one * 2, infinity - (1 << (mantissa + 1))];
                let near = (choice >> 8) % 5;
                edges[(choice >> 16) as usize % edges.len()].wrapping_add(near).wrapping_sub(2)
            }
            1 | 2 => any,
            // Exponents within 8 of one, or close to the smallest.
            3 => (any & ((1 << mantissa) - 1)) + (((choice >> 8) % 4) << mantissa),
            _ => {
                one.wrapping_add(((choice >> 8) % 17) << mantissa).wrapping_sub(8 << mantissa)
                    ^ any & ((1 << mantissa) - 1)
            }
        };
        sign | fields & ((1 << (bits - 1)) - 1)
    }
}

const FUNCTIONS: [&str; 8] = ["rcp", "rsqrt", "sqrt", "sin", "cos", "lg2", "ex2", "tanh"];

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for ftz in ["", ".ftz"] {
        for fun in FUNCTIONS {
            cases.push(Case::new(format!("fapprox.{fun}{ftz}"), "f32", &["f32"]));
        }
        for how in ["approx", "full"] {
            cases.push(Case::new(format!("fdiv_approx.{how}{ftz}"), "f32", &["f32", "f32"]));
        }
        for ty in ["f16", "bf16", "f16x2", "bf16x2"] {
            cases.push(Case::new(format!("fapprox.ex2{ftz}"), ty, &[ty]));
            cases.push(Case::new(format!("fapprox.tanh{ftz}"), ty, &[ty]));
        }
        for sat in ["", ".sat"] {
            cases.push(Case::new(format!("fcvt.rn{ftz}{sat}"), "f32", &["f32"]));
        }
        for (from, to) in
            [("f16", "f32"), ("bf16", "f32"), ("f32", "f16"), ("f32", "bf16"), ("f32", "f64"), ("f64", "f32")]
        {
            cases.push(Case::new(format!("fcvt.rn{ftz}"), to, &[from]));
        }
        for round in ["rn", "rm", "rp", "rz"] {
            for op in ["fadd", "fsub", "fmul", "fdiv"] {
                cases.push(Case::new(format!("{op}.{round}{ftz}"), "f32", &["f32", "f32"]));
            }
            for op in ["frcp", "fsqrt"] {
                cases.push(Case::new(format!("{op}.{round}{ftz}"), "f32", &["f32"]));
            }
            cases.push(Case::new(format!("ffma.{round}{ftz}"), "f32", &["f32", "f32", "f32"]));
            cases.push(Case::new(format!("ffma.{round}{ftz}.sat"), "f32", &["f32", "f32", "f32"]));
            cases.push(Case::new(format!("ffma.{round}{ftz}"), "f32x2", &["f32x2", "f32x2", "f32x2"]));
        }
    }
    for round in ["rn", "rm", "rp", "rz"] {
        for op in ["fadd", "fsub", "fmul", "fdiv"] {
            cases.push(Case::new(format!("{op}.{round}"), "f64", &["f64", "f64"]));
        }
        for op in ["frcp", "fsqrt"] {
            cases.push(Case::new(format!("{op}.{round}"), "f64", &["f64"]));
        }
        cases.push(Case::new(format!("ffma.{round}"), "f64", &["f64", "f64", "f64"]));
    }
    cases
}

const BASE: u64 = 0x26_0000_0000;
/// Operands and results each have so many bytes.
const ROOM: u64 = 1 << 21;

/// The results of a kernel for the operands, by its code and by definition.
fn compare(device: &CpuDevice, case: &Case, by_block: bool, count: u32, random: &mut Random) {
    let text = kernel("k", case, by_block);
    let module = hetir::text::parse(&text).unwrap_or_else(|errors| panic!("{errors:?}\n{text}"));
    hetir::verify::verify(&module).unwrap_or_else(|errors| panic!("{errors:?}\n{text}"));
    let operands: Vec<Vec<u64>> =
        case.operands.iter().map(|ty| (0..count).map(|_| random.pattern(ty)).collect()).collect();
    for (n, (ty, values)) in case.operands.iter().zip(&operands).enumerate() {
        let size = bytes_of(ty) as usize;
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()[..size].to_vec()).collect();
        device.write(BASE + n as u64 * ROOM, &bytes).unwrap();
    }
    let module = Arc::new(module);
    let id = device.load(&module, &[]).unwrap();
    let params: Vec<u8> = (0..4).flat_map(|n| (BASE + n * ROOM).to_le_bytes()).collect();
    let (grid, block) = if by_block { (count, 32) } else { (count / 256, 256) };
    let launch =
        Launch { grid: [grid, 1, 1], block: [block, 1, 1], params: params.into(), ..Launch::new(id, FuncId::new(0)) };
    device.launch(&launch).unwrap();
    let size = bytes_of(case.result) as usize;
    let mut bytes = vec![0; count as usize * size];
    device.read(BASE + 3 * ROOM, &mut bytes).unwrap();
    device.unload(id);
    let pure = pure(&module);
    for (n, got) in bytes.chunks(size).enumerate() {
        let mut word = [0; 8];
        word[..size].copy_from_slice(got);
        let got = u128::from(u64::from_le_bytes(word));
        let args: Vec<u128> = operands.iter().map(|o| o[n].into()).collect();
        let mut want = [0];
        pure.eval(&args, &mut want);
        assert_eq!(got, want[0], "{} of {args:x?}: {got:x}, not {:x}", case.op, want[0]);
    }
}

/// The last op in front of the store, but for casts.
fn pure(module: &Module) -> Pure {
    let body = module.functions[0].body.as_ref().unwrap();
    let mut insts = body.blocks[0].insts.iter().map(|i| (*i, body.inst(*i)));
    let (inst, data) = insts.rfind(|(_, data)| !matches!(data.op, Op::Store | Op::Bitcast | Op::Ret)).unwrap();
    let src: Type = body.ty(body.args(inst)[0]);
    Pure::of(data, src).unwrap()
}

#[test]
fn compiled_floats_are_what_they_are_defined_to_be() {
    let device = CpuDevice::new(Options::default());
    device.map(BASE, 4 * ROOM, "floats").unwrap();
    let mut random = Random(7);
    for case in cases() {
        let many = if case.op.starts_with("fapprox") { 1 << 17 } else { 1 << 14 };
        compare(&device, &case, false, many, &mut random);
        compare(&device, &case, true, 256, &mut random);
    }
}

/// Every bf16 comes out as it went in, whatever instructions the processor has for it: lanes read eight each, by addresses
/// that are the same or only look as if they differed, and write them to one place behind a branch.
#[test]
fn bf16_keeps_its_bits_on_its_way() {
    for lanes in [0, 32] {
        keeps_bits(lanes);
    }
}

fn keeps_bits(lanes: u32) {
    let text = format!(
        "visible kernel @k(from: 8 align 8 at 0, to: 8 align 8 at 8) {{
block0:
    v0: i32 = sreg.ctaid.x
    v1: i32 = {}
    v2: i32 = const 4
    v3: i32 = shl v0, v2
    v4: i64 = zext v3
    v5: i32 = const 32
    v6: i32 = and v1, v5
    v7: i64 = zext v6
    v8: i64 = const 0
    v9: i64 = load.param v8
    v10: i64 = const 8
    v11: i64 = load.param v10
    v12: i64 = iadd v9, v4
    v13: i64 = iadd v12, v7
    v14: i64 = iadd v11, v4
    v15: bf16, v16: bf16, v17: bf16, v18: bf16, v19: bf16, v20: bf16, v21: bf16, v22: bf16 = load.global v13
    v23: bf16 = fmul.rz v15, v15
    v24: i32 = const 3
    v25: i32 = and v0, v24
    switch v25, [block1, block2]
block1:
    store.global v14 + 2, v16
    br block3(v15)
block2:
    store.global v14 + 2, v16
    br block3(v15)
block3(v26: bf16):
    store.global v14, v26
    store.global v14 + 4, v17
    store.global v14 + 6, v18
    store.global v14 + 8, v19
    store.global v14 + 10, v20
    store.global v14 + 12, v21
    store.global v14 + 14, v22
    ret
}}
",
        if lanes == 0 { "const 0" } else { "sreg.tid.x" }
    );
    let text = text.as_str();
    let module = hetir::text::parse(text).unwrap_or_else(|errors| panic!("{errors:?}"));
    hetir::verify::verify(&module).unwrap_or_else(|errors| panic!("{errors:?}"));
    let module = Arc::new(module);
    let all: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    let levels = [Features::Native, Features::Sse2, Features::Avx2, Features::Avx512];
    for (base, features) in (0x28_0000_0000u64..).step_by(1 << 32).zip(levels) {
        let device = CpuDevice::new(Options { features, ..Options::default() });
        device.map(base, 2 * all.len() as u64, "numbers").unwrap();
        device.write(base, &all).unwrap();
        let id = device.load(&module, &[]).unwrap();
        let params: Vec<u8> = [base, base + all.len() as u64].iter().flat_map(|at| at.to_le_bytes()).collect();
        let launch =
            Launch { grid: [8192, 1, 1], block: [32, 1, 1], params: params.into(), ..Launch::new(id, FuncId::new(0)) };
        device.launch(&launch).unwrap();
        let mut out = vec![0; all.len()];
        device.read(base + all.len() as u64, &mut out).unwrap();
        let differs = (0..all.len() / 2).find(|n| all[2 * n..2 * n + 2] != out[2 * n..2 * n + 2]);
        assert_eq!(differs, None, "{features:?}");
    }
}
