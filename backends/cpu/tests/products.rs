//! Compiled products of matrices give the bits that their definition gives: every product that there is, in its layouts
//! and modes, with numbers near each other, far from each other, at the ends of their range, and that are none.

use hetgpu_cpu::{CpuDevice, Features, Options};
use hetgpu_device::{Importance, Launch, Services, SyncDevice};
use hetir::attr::{BitProduct, Element, Layout, MatrixRound, MatrixShape, MatrixTypes, Sparsity};
use hetir::entity::FuncId;
use hetir::tensor::{Column, Product};
use hetir::types::Type;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn all() -> Vec<Product> {
    let mut all = Vec::new();
    let both = [Layout::Row, Layout::Col];
    for &types in MatrixTypes::ALL {
        for &shape in MatrixShape::ALL {
            for sparsity in [Sparsity::Dense, Sparsity::Ordered] {
                for layouts in both.map(|a| both.map(|b| (a, b))).concat() {
                    for selector in 0..4 {
                        for bits in [BitProduct::None, BitProduct::And, BitProduct::Xor] {
                            for round in [MatrixRound::Rn, MatrixRound::Rz, MatrixRound::Rm, MatrixRound::Rp] {
                                for (short, sat) in [(false, false), (false, true), (true, false)] {
                                    let modes =
                                        Product { shape, types, layouts, sparsity, selector, bits, round, short, sat };
                                    all.push(modes);
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    // Where A and B lie in registers depends on their layouts in this shape alone.
    let same = |p: &Product| p.shape != MatrixShape::M8N8K4 && p.layouts != (Layout::Row, Layout::Col);
    all.retain(|product| product.check().is_ok() && !same(product));
    all
}

fn name(product: &Product) -> String {
    let mut name = format!("mma.{}.{}", product.shape.name(), product.types.name());
    let mut add = |word: &str| {
        if !word.is_empty() {
            name = format!("{name}.{word}");
        }
    };
    add(if product.layouts.0 == Layout::Col { "a_col" } else { "" });
    add(if product.layouts.1 == Layout::Row { "b_row" } else { "" });
    add(product.sparsity.name());
    add(["", "sel1", "sel2", "sel3"][product.selector]);
    add(product.bits.name());
    add(product.round.name());
    add(if product.short { "short" } else { "" });
    add(if product.sat { "sat" } else { "" });
    name
}

/// A block computes one product. Registers lie behind each other, 32 cells of 8 bytes each.
fn kernel(product: &Product) -> String {
    let (operands, results) = (product.operands(), product.results());
    let mut lines = Vec::new();
    let mut next = 0;
    let mut add = |ty: &str, text: String| {
        lines.push(format!("    v{next}: {ty} = {text}"));
        next += 1;
        next - 1
    };
    let block = add("i32", "sreg.ctaid.x".into());
    let lane = add("i32", "sreg.laneid".into());
    let mut place = |param: usize, registers: usize| {
        let offset = add("i64", format!("const {}", 8 * param));
        let base = add("i64", format!("load.param v{offset}"));
        let size = add("i32", format!("const {}", registers * 32));
        let first = add("i32", format!("imul v{block}, v{size}"));
        let cell = add("i32", format!("iadd v{first}, v{lane}"));
        let three = add("i32", "const 3".into());
        let byte = add("i32", format!("shl v{cell}, v{three}"));
        let byte = add("i64", format!("zext v{byte}"));
        add("i64", format!("iadd v{base}, v{byte}"))
    };
    let (from, to) = (place(0, operands.len()), place(1, results.len()));
    let values: Vec<String> = operands
        .iter()
        .enumerate()
        .map(|(n, ty)| format!("v{}", add(&ty.to_string(), format!("load.global v{from} + {}", n * 256))))
        .collect();
    let outs: Vec<String> = results.iter().enumerate().map(|(n, ty)| format!("v{}: {ty}", next + n)).collect();
    let mut text = lines.join("\n");
    text += &format!("\n    {} = {} {}\n", outs.join(", "), name(product), values.join(", "));
    for n in 0..results.len() {
        text += &format!("    store.global v{to} + {}, v{}\n", n * 256, next + n);
    }
    format!("visible kernel @k(p0: 8 align 8 at 0, p1: 8 align 8 at 8) {{\nblock0:\n{text}    ret\n}}\n")
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

    /// An element's bits, of a kind.
    fn element(&mut self, element: Element, kind: u64) -> u64 {
        let (mantissa, bits) = match element {
            Element::F64 => (52, 64),
            Element::F32 | Element::Tf32 => (23, 32),
            Element::F16 => (10, 16),
            Element::Bf16 => (7, 16),
            Element::E4m3 => (3, 8),
            Element::E5m2 => (2, 8),
            // Integers: their ends now and then.
            other => {
                let (any, choice) = (self.next(), self.next());
                let end = [0, 1, u64::MAX, 1 << (other.bits() - 1), (1 << (other.bits() - 1)) - 1][choice as usize % 5];
                return if choice >> 32 & 7 < kind { end } else { any };
            }
        };
        let (any, choice) = (self.next(), self.next());
        let sign = any >> 63 << (bits - 1);
        let fraction = any & ((1 << mantissa) - 1);
        let bias = (1u64 << (bits - mantissa - 2)) - 1;
        let infinity = (2 * bias + 1) << mantissa;
        let near = |spread: u64| ((bias + choice % (2 * spread + 1) - spread) << mantissa) + fraction;
        let size = match kind {
            // Near one, and with zeros between.
            0 => near(2.min(bias)),
            1 => [near(3.min(bias)), 0][(choice >> 40) as usize % 2],
            2 => near(14.min(bias)),
            // Any finite number.
            3 => any % infinity,
            // Any bits at all, now and then.
            4 => [near(2), any][usize::from(choice >> 40 & 31 == 0)],
            5 => any,
            // The ends of the normal range, zero, infinity, and what is next to them.
            6 => {
                let ends = [0, infinity, bias << mantissa, 1 << mantissa, infinity - (1 << mantissa)];
                ends[(choice >> 16) as usize % ends.len()].wrapping_add(choice % 5).wrapping_sub(2)
            }
            // Ones, twos and tiny numbers: sums that cancel.
            7 => [bias << mantissa, (bias + 1) << mantissa, 1, (bias + 1) << mantissa | 1][choice as usize % 4],
            // As large as can be within a factor of two, all of one sign.
            8 => return ((bias + 1) << mantissa) - 1 - choice % 2,
            // Small ones.
            9 => fraction + ((choice % 4) << mantissa),
            // Large ones.
            10 => infinity - 1 - fraction - ((choice % 2) << mantissa),
            // Around the square root of the smallest numbers.
            11 => ((bias / 2 + choice % 5) << mantissa) + fraction,
            _ => near(bias - 1),
        };
        sign | size & ((1 << (bits - 1)) - 1)
    }

    fn register(&mut self, element: Element, kind: u64) -> u64 {
        let mut word = 0;
        for n in 0..element.per_register() {
            let bits = self.element(element, kind) & (u64::MAX >> (64 - element.bits()));
            word |= bits << (n * element.bits());
        }
        word
    }

    fn operands(&mut self, product: &Product) -> Vec<Column> {
        const KINDS: u64 = 13;
        let [_, a, b, c] = product.fragments();
        let choice = self.next();
        let kinds = match choice % 4 {
            0 => [choice >> 8, choice >> 16, choice >> 24].map(|k| k % KINDS),
            1 => [choice >> 8, choice >> 8, choice >> 16].map(|k| k % KINDS),
            _ => [(choice >> 8) % KINDS; 3],
        };
        let mut all = Vec::new();
        for (fragment, kind) in [a, b, c].iter().zip(kinds) {
            for _ in 0..fragment.registers() {
                all.push(std::array::from_fn(|_| self.register(fragment.element(), kind)));
            }
        }
        if all.len() < product.operands().len() {
            all.push(std::array::from_fn(|_| self.next() & 0xffff_ffff));
        }
        all
    }
}

const ROOM: u64 = 1 << 24;

fn bytes(columns: &[Column]) -> Vec<u8> {
    columns.iter().flatten().flat_map(|word| word.to_le_bytes()).collect()
}

fn compare(device: &CpuDevice, base: u64, product: &Product, cases: usize, random: &mut Random) {
    let text = kernel(product);
    let module = hetir::text::parse(&text).unwrap_or_else(|errors| panic!("{errors:?}\n{text}"));
    hetir::verify::verify(&module).unwrap_or_else(|errors| panic!("{errors:?}\n{text}"));
    let all: Vec<Vec<Column>> = (0..cases).map(|_| random.operands(product)).collect();
    let input: Vec<u8> = all.iter().flat_map(|operands| bytes(operands)).collect();
    device.write(base, &input).unwrap();
    let id = device.load(&Arc::new(module), &[]).unwrap();
    let params: Vec<u8> = [base, base + ROOM].into_iter().flat_map(u64::to_le_bytes).collect();
    let launch = Launch {
        grid: [cases as u32, 1, 1],
        block: [32, 1, 1],
        params: params.into(),
        ..Launch::new(id, FuncId::new(0))
    };
    device.launch(&launch).unwrap();
    let types: Vec<Type> = product.results();
    let mut output = vec![0; cases * types.len() * 256];
    device.read(base + ROOM, &mut output).unwrap();
    device.unload(id);
    for (case, (operands, found)) in all.iter().zip(output.chunks(types.len() * 256)).enumerate() {
        for (n, (want, found)) in product.eval(operands).iter().zip(found.chunks(256)).enumerate() {
            for lane in 0..32 {
                let cell = found[8 * lane..8 * lane + 8].try_into().unwrap();
                let got = u64::from_le_bytes(cell) & types[n].mask();
                let (want, name) = (want[lane], name(product));
                assert_eq!(
                    got, want,
                    "{name}, case {case}, register {n}, lane {lane}: {got:x}, not {want:x}\n{operands:x?}"
                );
            }
        }
    }
}

/// At one level of instructions; nothing where this processor lacks it.
fn check(features: Features, cases: usize) {
    let interpreted = Arc::new(AtomicBool::new(false));
    let heard = Arc::clone(&interpreted);
    let log = move |importance, text: std::fmt::Arguments<'_>| {
        if importance == Importance::Warning {
            eprintln!("{text}");
            heard.store(true, Ordering::Relaxed);
        }
    };
    let services = Services { log: Some(Arc::new(log)), ..Services::default() };
    let device = CpuDevice::new(Options { features, services, ..Options::default() });
    if interpreted.load(Ordering::Relaxed) {
        return;
    }
    // Tests of one process share their addresses.
    let base = 0x27_0000_0000 + ((features as u64) << 32);
    device.map(base, 2 * ROOM, "matrices").unwrap();
    let mut random = Random(11);
    for product in all() {
        compare(&device, base, &product, cases, &mut random);
    }
    assert!(!interpreted.load(Ordering::Relaxed), "{features:?}: a kernel was not compiled");
}

#[test]
fn products_by_all_that_the_processor_has() {
    check(Features::Native, 48);
}

#[test]
fn products_by_avx512() {
    check(Features::Avx512, 16);
}

#[test]
fn products_by_avx2() {
    check(Features::Avx2, 16);
}

#[test]
fn products_by_sse2() {
    check(Features::Sse2, 16);
}
