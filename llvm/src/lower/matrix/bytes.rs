//! Products of matrices of integers: each lane's elements of the result are sums of dot products of what lies side by
//! side in a register, four bytes, eight numbers of 4 bits or 32 bits; the registers are picked from other lanes.

use super::words::Words;
use crate::lower::Lowering;
use crate::sys::{Code, Val};
use hetir::attr::{BitProduct, Element, Sparsity};
use hetir::entity::Inst;
use hetir::op::Op;
use hetir::tensor::{Fragment, Product};
use std::collections::HashMap;

/// Which lane's register holds neighbouring elements of a row (column).
type Places = HashMap<(usize, usize), (usize, usize)>;

/// Functions with more products than these call what computes them.
const MANY: usize = 16;

/// Where each lane takes something from: a lane, and its register.
type Picks = [(usize, usize); 32];

/// What a product does: for an element of the result the lanes and registers that it takes from the first factor and from the
/// second one.
struct Steps<'a> {
    product: &'a Product,
    of_a: usize,
    of_c: usize,
    plan: Vec<(usize, Picks, Picks)>,
}

/// Where registers' elements along the products' sum are; `None` where they are not side by side.
fn registers_along(fragment: &Fragment, along_columns: bool) -> Option<Places> {
    let mut places = Places::new();
    let per = fragment.element().per_register();
    for lane in 0..32 {
        for first in (0..fragment.elements()).step_by(per) {
            let at = |n: usize| {
                let p = fragment.position(lane, first + n);
                if along_columns { (p.row, p.col) } else { (p.col, p.row) }
            };
            let (row, start) = at(0);
            if start % per != 0 || (1..per).any(|n| at(n) != (row, start + n)) {
                return None;
            }
            places.entry((row, start / per)).or_insert((lane, fragment.slot(first).0));
        }
    }
    Some(places)
}

impl<'c> Lowering<'_, '_, 'c> {
    /// A product of integers; false where it is left to its definition.
    pub(super) fn integer_product(&mut self, inst: Inst, product: &Product) -> bool {
        let [_, a, _, _] = product.types.elements();
        let [_, fa, fb, fc] = product.fragments();
        let args = self.body.args(inst).to_vec();
        let (na, nb, nc) = (fa.registers(), fb.registers(), fc.registers());
        let shaped = args.len() == na + nb + nc && fc.elements() == nc;
        if self.mask.is_some() || product.sparsity != Sparsity::Dense || !a.is_integer() || !shaped {
            return false;
        }
        let (Some(rows), Some(columns)) = (registers_along(&fa, true), registers_along(&fb, false)) else {
            return false;
        };
        let depth = product.shape.size().2 / a.per_register();
        let mut plan = Vec::new();
        for n in 0..nc {
            for k in 0..depth {
                let pick = |places: &Places, row: bool| -> Option<Picks> {
                    let mut from = [(0, 0); 32];
                    for (lane, place) in from.iter_mut().enumerate() {
                        let p = fc.position(lane, n);
                        *place = *places.get(&(if row { p.row } else { p.col }, k))?;
                    }
                    Some(from)
                };
                let (Some(x), Some(y)) = (pick(&rows, true), pick(&columns, false)) else { return false };
                if [&x, &y].iter().any(|from| from.iter().any(|p| p.1 != from[0].1)) {
                    return false;
                }
                plan.push((n, x, y));
            }
        }
        let registers: Vec<Val<'c>> = args.iter().map(|v| self.vector(*v)).collect();
        let steps = Steps { product, of_a: na, of_c: nc, plan };
        let sums = match self.products() > MANY {
            true => self.integer_sums_by_call(&steps, &registers),
            false => self.integer_sums(&steps, &registers),
        };
        for (n, sum) in sums.into_iter().enumerate() {
            self.set_vector(inst, n, sum, false);
        }
        true
    }

    /// How many products of matrices the function has.
    fn products(&self) -> usize {
        self.body.blocks.iter().flat_map(|b| &b.insts).filter(|i| self.body.inst(**i).op == Op::Mma).count()
    }

    /// The sums by a function whose code stands once: what a compiler does takes more than twice the time for twice the code.
    fn integer_sums_by_call(&self, steps: &Steps<'_>, registers: &[Val<'c>]) -> Vec<Val<'c>> {
        let e = self.e;
        let Product { shape, types, bits, sat, .. } = steps.product;
        let name = format!("integer.{}.{}.{bits:?}.{sat}", shape.name(), types.name());
        let result = e.structure(&vec![self.column(); steps.of_c]);
        let ty = e.function_ty(&vec![self.column(); registers.len()], result);
        let function = e.function(&name, ty);
        if !e.has_code(function) {
            let here = e.here();
            self.begin_function(function);
            let inside: Vec<_> = (0..registers.len()).map(|n| e.param(function, n as u32)).collect();
            let sums = self.integer_sums(steps, &inside).into_iter().enumerate();
            let all = sums.fold(result.undef(), |all, (n, sum)| e.with_part(all, sum, n as u32));
            e.ret(Some(all));
            e.at(here);
        }
        let sums = e.call(ty, function, registers);
        (0..steps.of_c).map(|n| e.part(sums, n as u32)).collect()
    }

    fn integer_sums(&self, steps: &Steps<'_>, registers: &[Val<'c>]) -> Vec<Val<'c>> {
        let Steps { product, of_a, of_c, plan } = steps;
        let [_, a, b, _] = product.types.elements();
        // Clamped once, and numbers of 4 bits are summed 16 times as large.
        let from_zero = product.sat || a.bits() == 4;
        let starts = &registers[registers.len() - of_c..];
        let zero = self.splat(self.c32(0));
        let mut sums: Vec<Val<'c>> = if from_zero { vec![zero; *of_c] } else { starts.to_vec() };
        let mut picked: HashMap<(usize, [usize; 32]), Val<'c>> = HashMap::new();
        let mut choose = |base: usize, from: &Picks| {
            let lanes = from.map(|p| p.0);
            *picked.entry((base + from[0].1, lanes)).or_insert_with(|| {
                let v = registers[base + from[0].1];
                self.e.shuffle(v, v, &lanes.map(|l| l as u32))
            })
        };
        for (n, x, y) in plan {
            let (x, y) = (choose(0, x), choose(*of_a, y));
            sums[*n] = match a.bits() {
                1 => self.dot_of_bits(x, y, product.bits, sums[*n]),
                4 => self.dot_of_nibbles((x, a), (y, b), sums[*n]),
                _ => self.dot_of_bytes(x, a == Element::S8, y, b == Element::S8, sums[*n]),
            };
        }
        let times_16 = [a, b].into_iter().filter(|e| *e == Element::S4).count() as u32;
        let finished = |(mut sum, start): (Val<'c>, &Val<'c>)| {
            if from_zero {
                sum = Words { e: self.e, count: 32 }.ashr(sum, 4 * times_16);
                sum = if product.sat {
                    self.e.intrinsic("llvm.sadd.sat", &[sum.ty()], &[sum, *start])
                } else {
                    self.e.bin(Code::LLVMAdd, sum, *start)
                };
            }
            sum
        };
        sums.into_iter().zip(starts).map(finished).collect()
    }

    /// c plus how many bits of a and b are both set, or differ, in each lane.
    fn dot_of_bits(&self, a: Val<'c>, b: Val<'c>, how: BitProduct, c: Val<'c>) -> Val<'c> {
        let e = self.e;
        let both = e.bin(if how == BitProduct::And { Code::LLVMAnd } else { Code::LLVMXor }, a, b);
        e.bin(Code::LLVMAdd, c, e.intrinsic("llvm.ctpop", &[both.ty()], &[both]))
    }

    /// c plus the dot product of the eight numbers of a and b; signed ones count 16 times.
    fn dot_of_nibbles(&self, a: (Val<'c>, Element), b: (Val<'c>, Element), c: Val<'c>) -> Val<'c> {
        let w = Words { e: self.e, count: 32 };
        let signed = |e: Element| e == Element::S4;
        // In bytes: those at even places and those at odd ones.
        let bytes = |(v, e): (Val<'c>, Element)| {
            if signed(e) {
                [w.and(w.shl(v, 4), 0xf0f0_f0f0), w.and(v, 0xf0f0_f0f0)]
            } else {
                [w.and(v, 0x0f0f_0f0f), w.and(w.lshr(v, 4), 0x0f0f_0f0f)]
            }
        };
        let pairs = bytes(a).into_iter().zip(bytes(b));
        pairs.fold(c, |sum, (x, y)| self.dot_of_bytes(x, signed(a.1), y, signed(b.1), sum))
    }

    /// c plus the dot product of the four bytes of a and b, in each lane.
    fn dot_of_bytes(&self, a: Val<'c>, a_signed: bool, b: Val<'c>, b_signed: bool, c: Val<'c>) -> Val<'c> {
        let e = self.e;
        let k = |n: u32| self.splat(self.c32(n));
        if !self.unit.byte_products {
            let mut sum = c;
            for n in 0..4 {
                let byte = |v: Val<'c>, signed: bool| {
                    let up = e.bin(Code::LLVMShl, v, k(24 - 8 * n));
                    e.bin(if signed { Code::LLVMAShr } else { Code::LLVMLShr }, up, k(24))
                };
                sum = e.bin(Code::LLVMAdd, sum, e.bin(Code::LLVMMul, byte(a, a_signed), byte(b, b_signed)));
            }
            return sum;
        }
        // The processor multiplies unsigned bytes by signed ones.
        let flip = |v: Val<'c>| e.bin(Code::LLVMXor, v, k(0x8080_8080));
        match (a_signed, b_signed) {
            (false, true) => self.mixed_dot(c, a, b),
            (true, false) => self.mixed_dot(c, b, a),
            // (a + 128) * b - 128 * b
            (true, true) => {
                let over = self.mixed_dot(k(0), k(0x8080_8080), b);
                e.bin(Code::LLVMSub, self.mixed_dot(c, flip(a), b), over)
            }
            // a * (b - 128) + 64 * a + 64 * a
            (false, false) => {
                let under = self.mixed_dot(c, a, flip(b));
                let half = self.mixed_dot(under, a, k(0x4040_4040));
                self.mixed_dot(half, a, k(0x4040_4040))
            }
        }
    }

    fn mixed_dot(&self, c: Val<'c>, unsigned: Val<'c>, signed: Val<'c>) -> Val<'c> {
        let e = self.e;
        let half = |v: Val<'c>, n: u32| e.shuffle(v, v, &(0..16).map(|l| 16 * n + l).collect::<Vec<_>>());
        let [low, high] = [0, 1].map(|n| {
            let args = [half(c, n), half(unsigned, n), half(signed, n)];
            e.intrinsic("llvm.x86.avx512.vpdpbusd.512", &[], &args)
        });
        e.shuffle(low, high, &(0..32).collect::<Vec<_>>())
    }
}
