//! The function that sums products as the matrix unit does (`hetir::tensor::sum`), of factors that are prepared.
//!
//! With `top` the largest exponent, a product times 2^(25 - top) is cut by its conversion to an integer of 32 bits, and
//! so is c. At most 16 products of less than 4 * 2^25 fit into such an integer; the sum with c may not, which is found
//! out. Its conversion to f32 towards zero and a multiplication by a power of two give the result. With V = 255 - T and
//! T = top + 127, the exponents' fields of the two powers of two are V + 24 and 230 - V.
//!
//! Short sums are of 32 products, cut at 13 places instead of 25; so is their result.
//!
//! What this cannot do is left to the definition, for all lanes: infinities and NaNs, sums that do not fit, and exponents
//! beyond what f32 can scale. The last is a matter of bf16 and tf32, and of sums that are close to the ends of the range.

use super::plan::{ALIGN, Plan, Stride, TOGETHER};
use super::words::Words;
use crate::sys::{Code, Int, Val};
use hetir::attr::Element;
use hetir::tensor::sum::{FRACTION, SHORT_FRACTION};

/// The largest V: what is below has no products but zeros, or is left to the definition.
const LAST: u32 = 229;
/// Of 16 bits, words below this are exponents of numbers other than zero.
const ZEROS: u32 = 0x200;
/// What words of 16 bits are more than V.
const EXCESS: u32 = 126;

/// What a processor can do.
#[derive(Clone, Copy)]
pub(super) struct Abilities {
    pub(super) avx512: bool,
    pub(super) half_conversions: bool,
}

/// Elements of the result that are computed together: number `n` in some of the lanes each.
struct Part<'c> {
    chunk: u32,
    places: [Place<'c>; 2],
    scale: Val<'c>,
    back: Val<'c>,
    v: Val<'c>,
    sum: Val<'c>,
}

/// Where something of a factor lies, from k to k.
struct Place<'c> {
    base: Val<'c>,
    strides: [Stride; TOGETHER],
    repeats: bool,
}

pub(super) struct Summing<'a, 'c> {
    function: Val<'c>,
    pub(super) w: Words<'a, 'c>,
    pub(super) plan: &'a Plan,
    pub(super) can: Abilities,
    pub(super) a: Val<'c>,
    pub(super) b: Val<'c>,
    /// What shows in its lanes' top bits that the definition is needed.
    bad: Val<'c>,
    /// The unit sums into f16.
    short: bool,
}

impl<'a, 'c> Summing<'a, 'c> {
    pub(super) fn new(w: Words<'a, 'c>, plan: &'a Plan, can: Abilities, function: Val<'c>) -> Self {
        let [a, b] = [0, 1].map(|n| w.e.param(function, n));
        let bad = w.int(0);
        let [d, _, _, c] = plan.elements;
        let short = d == Element::F16 && c == Element::F16;
        Self { function, w, plan, can, a, b, bad, short }
    }

    /// What lies at a place in a factor for the `r`-th k of a turn, as seen by a chunk of lanes.
    fn read(&self, place: &Place<'c>, r: usize, turn: Val<'c>, chunk: u32) -> Val<'c> {
        let w = &self.w;
        let e = w.e;
        let Stride { first, step, of_four } = place.strides[r];
        let at = |more: u32| {
            let first = e.offset(place.base, e.int_ty(64).int((first + more).into()));
            e.offset(first, e.bin(Code::LLVMMul, turn, e.int_ty(64).int(step.into())))
        };
        if !place.repeats {
            let v = e.load(w.ints(), at(chunk * w.count * 4), ALIGN.min(w.count * 4));
            return match of_four {
                Some(of) => e.shuffle(v, v, &(0..w.count).map(|l| l / 4 * 4 + u32::from(of)).collect::<Vec<_>>()),
                None => v,
            };
        }
        let four = e.load(e.int_ty(32).vector(4), at(0), 16);
        if w.count == 4 {
            return four;
        }
        e.shuffle(four, four, &(0..w.count).map(|l| l % 4).collect::<Vec<_>>())
    }

    /// Where the numbers or exponents of a step lie for an element, or group of them, of the result.
    fn places(&self, values: bool, n: usize, step: &[usize]) -> [Place<'c>; 2] {
        [(self.a, &self.plan.a), (self.b, &self.plan.b)].map(|(base, side)| {
            let table = if values { &side.values } else { &side.exponents };
            // A plan without even strides is none.
            let none = Stride { first: 0, step: 0, of_four: None };
            let strides = side.strides(table, n, step).unwrap_or([none; TOGETHER]);
            Place { base, strides, repeats: side.slots[table[step[0]][n].slot].repeats() }
        })
    }

    /// Does something for each k of a step, given the turn and the number in it, and values that go from k to k.
    fn each(
        &self,
        count: usize,
        first: &[Val<'c>],
        mut body: impl FnMut(Val<'c>, usize, &[Val<'c>]) -> Vec<Val<'c>>,
    ) -> Vec<Val<'c>> {
        let e = self.w.e;
        let i64t = e.int_ty(64);
        let before = e.here();
        let (turn, behind) = (e.block(self.function, "turns"), e.block(self.function, "behind"));
        e.br(turn);
        e.at(turn);
        let number = e.phi(i64t, &[(i64t.int(0), before)]);
        let phis: Vec<Val<'c>> = first.iter().map(|v| e.phi(v.ty(), &[(*v, before)])).collect();
        let next = (0..TOGETHER).fold(phis.clone(), |values, r| body(number, r, &values));
        let after = e.bin(Code::LLVMAdd, number, i64t.int(1));
        let end = e.here();
        e.add_incoming(number, after, end);
        for (phi, v) in phis.iter().zip(&next) {
            e.add_incoming(*phi, *v, end);
        }
        e.cond_br(e.icmp(Int::LLVMIntEQ, after, i64t.int((count / TOGETHER) as u64)), behind, turn);
        e.at(behind);
        next
    }

    /// The smallest words of exponents of a step, for groups of elements and chunks of lanes.
    fn exponents(&self, step: &[usize], which: &[(usize, u32)]) -> Vec<Val<'c>> {
        let w = &self.w;
        let e = w.e;
        let bits = 32 / self.plan.per_word as u32;
        let ty = e.int_ty(bits).vector(w.count * self.plan.per_word as u32);
        let all = |n: u32| Val::const_vector(&vec![e.int_ty(bits).int(n.into()); (w.count * 32 / bits) as usize]);
        let places: Vec<_> = which.iter().map(|(group, _)| self.places(false, *group, step)).collect();
        // Of 8 bits, nothing is beyond the last one.
        let first = vec![if bits == 8 { all(LAST) } else { ty.ones() }; which.len()];
        let least = self.each(step.len(), &first, |turn, r, least| {
            let parts = places.iter().zip(which).zip(least);
            parts
                .map(|((places, &(_, chunk)), least)| {
                    let [a, b] = [0, 1].map(|n| e.cast(Code::LLVMBitCast, self.read(&places[n], r, turn, chunk), ty));
                    let sum = e.intrinsic("llvm.uadd.sat", &[ty], &[a, b]);
                    e.intrinsic("llvm.umin", &[ty], &[*least, sum])
                })
                .collect()
        });
        let excess = |v| if bits == 8 { v } else { e.intrinsic("llvm.usub.sat", &[ty], &[v, all(EXCESS)]) };
        least.into_iter().map(|v| w.as_int(excess(v))).collect()
    }

    fn note(&mut self, bad: Val<'c>) {
        self.bad = self.w.e.bin(Code::LLVMOr, self.bad, bad);
    }
    fn note_where(&mut self, bad: Val<'c>) {
        let bits = self.w.e.cast(Code::LLVMSExt, bad, self.w.ints());
        self.note(bits);
    }

    /// 23 bits up: V of c.
    fn of_start(&mut self, c: Val<'c>) -> Val<'c> {
        let w = &self.w;
        let e = w.e;
        let not = e.bin(Code::LLVMXor, c, w.int(u32::MAX));
        if !self.short {
            return w.and(not, 0x7f80_0000);
        }
        let field = w.and(w.lshr(c, 10), 0x1f);
        let least = e.intrinsic("llvm.umax", &[w.ints()], &[field, w.int(1)]);
        let v = e.bin(Code::LLVMSub, w.int(255 - 112), least);
        let zero = e.icmp(Int::LLVMIntEQ, w.and(c, 0x7fff), w.int(0));
        let v = w.shl(e.select(zero, w.int(LAST), v), 23);
        let special = e.icmp(Int::LLVMIntEQ, field, w.int(0x1f));
        self.note_where(special);
        v
    }

    /// 23 bits up: V, of the products' word and c.
    fn of_all(&mut self, word: Val<'c>, n: usize, c: Val<'c>) -> Val<'c> {
        let of_start = self.of_start(c);
        let w = &self.w;
        let e = w.e;
        if self.plan.per_word == 4 {
            let byte = match n % 4 {
                3 => w.lshr(word, 1),
                n => w.shl(word, 23 - 8 * n as u32),
            };
            let v = w.min(w.and(byte, 0x7f80_0000), of_start);
            if !self.short {
                // c is no number.
                let none = e.icmp(Int::LLVMIntEQ, v, w.int(0));
                self.note_where(none);
            }
            return v;
        }
        let products = if n.is_multiple_of(2) { w.and(word, 0xffff) } else { w.lshr(word, 16) };
        let v = w.min(products, w.lshr(of_start, 23));
        let large = e.icmp(Int::LLVMIntULT, v, w.int(3));
        let small = e.icmp(Int::LLVMIntUGE, v, w.int(LAST));
        let there = e.icmp(Int::LLVMIntULT, products, w.int(ZEROS));
        let v = w.shl(w.min(v, w.int(LAST)), 23);
        let small = e.bin(Code::LLVMAnd, small, there);
        self.note_where(large);
        self.note_where(small);
        v
    }

    /// Places that summands keep.
    fn fraction(&self) -> u32 {
        (if self.plan.product.short { SHORT_FRACTION } else { FRACTION }) as u32
    }

    /// The integer that a number is cut to; poison where there is none.
    fn cut(&self, number: Val<'c>, scale: Val<'c>) -> Val<'c> {
        let e = self.w.e;
        let scaled = e.bin(Code::LLVMFMul, number, scale);
        e.cast(Code::LLVMFPToSI, scaled, self.w.ints())
    }

    /// An integer as f32, towards zero.
    fn to_single(&self, v: Val<'c>) -> Val<'c> {
        let w = &self.w;
        let e = w.e;
        if self.can.avx512 && w.count == 16 {
            let towards_zero = e.int_ty(32).int(11);
            return e.intrinsic("llvm.x86.avx512.sitofp.round", &[w.floats(), w.ints()], &[v, towards_zero]);
        }
        // Without the bits that might round it up.
        let sign = w.ashr(v, 31);
        let signed = |v: Val<'c>| e.bin(Code::LLVMSub, e.bin(Code::LLVMXor, v, sign), sign);
        let size = signed(v);
        let rest = e.bin(Code::LLVMXor, w.lshr(size, 24), w.int(u32::MAX));
        e.cast(Code::LLVMSIToFP, signed(e.bin(Code::LLVMAnd, size, rest)), w.floats())
    }

    /// A step of the unit: products and c to d, bits of the unit's format. Elements `n` of the lanes of a chunk each.
    fn step(&mut self, step: &[usize], which: &[(usize, u32)], starts: &[Val<'c>]) -> Vec<Val<'c>> {
        let e = self.w.e;
        let mut groups: Vec<(usize, u32)> = which.iter().map(|&(n, chunk)| (n / self.plan.per_word, chunk)).collect();
        groups.sort_unstable();
        groups.dedup();
        let words = self.exponents(step, &groups);
        let mut parts: Vec<Part<'c>> = Vec::new();
        for (&(n, chunk), &c) in which.iter().zip(starts) {
            let group = groups.iter().position(|g| *g == (n / self.plan.per_word, chunk)).unwrap_or(0);
            let v = self.of_all(words[group], n, c);
            let w = &self.w;
            let places = self.fraction();
            let scale = w.as_float(e.bin(Code::LLVMAdd, v, w.int((places - 1) << 23)));
            let back = w.as_float(e.bin(Code::LLVMSub, w.int((255 - places) << 23), v));
            parts.push(Part { chunk, scale, back, v, sum: w.int(0), places: self.places(true, n, step) });
        }
        let first: Vec<_> = parts.iter().map(|part| part.sum).collect();
        let sums = self.each(step.len(), &first, |turn, r, sums| {
            let next = |(part, sum): (&Part<'c>, &Val<'c>)| {
                let [a, b] = [0, 1].map(|n| self.w.as_float(self.read(&part.places[n], r, turn, part.chunk)));
                let cut = self.cut(e.bin(Code::LLVMFMul, a, b), part.scale);
                e.bin(Code::LLVMAdd, *sum, cut)
            };
            parts.iter().zip(sums).map(next).collect()
        });
        for (part, sum) in parts.iter_mut().zip(sums) {
            part.sum = sum;
        }
        for part in &mut parts {
            part.sum = e.freeze(part.sum);
        }
        parts.iter().zip(starts).map(|(part, &c)| self.finish(part, c, step.len())).collect()
    }

    fn finish(&mut self, part: &Part<'c>, c: Val<'c>, products: usize) -> Val<'c> {
        let e = self.w.e;
        let start = if self.short { self.w.half_to_single(c, self.can.half_conversions) } else { c };
        let start = self.w.as_float(start);
        let of_start = e.freeze(self.cut(start, part.scale));
        let sum = e.bin(Code::LLVMAdd, part.sum, of_start);
        if products > 15 {
            // Both have a sign that the sum has not.
            let first = e.bin(Code::LLVMXor, part.sum, sum);
            let second = e.bin(Code::LLVMXor, of_start, sum);
            self.note(e.bin(Code::LLVMAnd, first, second));
        }
        let w = &self.w;
        let single = self.to_single(sum);
        if self.short {
            // What was cut off makes the last bit odd, so that rounding sees it.
            let again = e.cast(Code::LLVMFPToSI, single, w.ints());
            let odd = e.bin(Code::LLVMOr, w.as_int(single), w.int(1));
            let same = e.icmp(Int::LLVMIntEQ, again, sum);
            let single = w.as_float(e.select(same, w.as_int(single), odd));
            let result = e.bin(Code::LLVMFMul, single, part.back);
            return w.single_to_half(w.as_int(result));
        }
        let result = e.bin(Code::LLVMFMul, single, part.back);
        // All products are zero, and c is too small to be scaled.
        let alone = e.icmp(Int::LLVMIntEQ, part.v, w.int(LAST << 23));
        let plus_zero = e.bin(Code::LLVMFAdd, start, w.floats().zero());
        let result = w.as_int(e.select(alone, plus_zero, result));
        if !self.plan.product.short {
            return result;
        }
        // What is cut to nothing has no sign left.
        let cut = w.as_float(w.and(result, u32::MAX << (23 - SHORT_FRACTION)));
        w.as_int(e.bin(Code::LLVMFAdd, cut, w.floats().zero()))
    }

    /// c of an element as the unit's format has it.
    fn start(&mut self, c: &[Val<'c>], n: usize, chunk: u32) -> Val<'c> {
        let w = &self.w;
        let short = self.plan.elements[3] == Element::F16;
        let register = if short { c[n / 2] } else { c[n] };
        let lanes: Vec<u32> = (chunk * w.count..(chunk + 1) * w.count).collect();
        let v = w.e.shuffle(register, register, &lanes);
        if !short {
            return v;
        }
        let v = if n.is_multiple_of(2) { w.and(v, 0xffff) } else { w.lshr(v, 16) };
        if self.short {
            return v;
        }
        let single = w.half_to_single(v, self.can.half_conversions);
        if !self.can.half_conversions {
            let special = w.e.icmp(Int::LLVMIntEQ, w.and(v, 0x7c00), w.int(0x7c00));
            self.note_where(special);
        }
        single
    }

    /// The registers of D, given those of C; and whether the definition is needed instead, as an `i1`.
    pub(super) fn run(mut self, c: &[Val<'c>]) -> (Vec<Val<'c>>, Val<'c>) {
        let e = self.w.e;
        let count = self.plan.fragments[3].elements();
        let chunks = 32 / self.w.count;
        let together = if self.w.count == 16 { 2 } else { 1 };
        let fp8 = matches!(self.plan.elements[1], Element::E4m3 | Element::E5m2) && !self.plan.product.short;
        let mut results: Vec<Vec<Val<'c>>> = vec![Vec::new(); count];
        for first in (0..count).step_by(4) {
            for chunk in (0..chunks).step_by(together) {
                let numbers = first..(first + 4).min(count);
                let lanes = chunk..chunk + together as u32;
                let which: Vec<(usize, u32)> =
                    numbers.flat_map(|n| lanes.clone().map(move |chunk| (n, chunk))).collect();
                let starts: Vec<_> = which.iter().map(|&(n, chunk)| self.start(c, n, chunk)).collect();
                let mut sums = if fp8 { vec![self.w.int(0); which.len()] } else { starts.clone() };
                let plan = self.plan;
                for step in &plan.steps {
                    sums = self.step(step, &which, &sums);
                }
                for ((n, _), (sum, start)) in which.into_iter().zip(sums.into_iter().zip(starts)) {
                    let d = self.result(sum, fp8.then_some(start));
                    results[n].push(d);
                }
            }
        }
        let w = &self.w;
        let flags = [self.a, self.b].map(|at| e.load(e.int_ty(32), at, ALIGN));
        let special = e.bin(Code::LLVMOr, flags[0], flags[1]);
        let special = e.icmp(Int::LLVMIntNE, special, e.int_ty(32).int(0));
        let negative = e.icmp(Int::LLVMIntSLT, self.bad, w.int(0));
        let lanes = e.int_ty(w.count);
        let any = e.icmp(Int::LLVMIntNE, e.cast(Code::LLVMBitCast, negative, lanes), lanes.int(0));
        let bad = e.bin(Code::LLVMOr, special, any);
        let elements: Vec<Val<'c>> = results.iter().map(|chunks| join(w, chunks)).collect();
        let whole = Words { e, count: 32 };
        let registers = if self.plan.elements[0] == Element::F16 {
            let pair = |two: &[Val<'c>]| match two {
                [low, high, ..] => e.bin(Code::LLVMOr, *low, whole.shl(*high, 16)),
                _ => two[0],
            };
            elements.chunks(2).map(pair).collect()
        } else {
            elements
        };
        (registers, bad)
    }

    /// Bits of D's format from those of the unit's. An element of fp8 gets its c now.
    fn result(&mut self, sum: Val<'c>, c: Option<Val<'c>>) -> Val<'c> {
        let e = self.w.e;
        let mut sum = sum;
        if let Some(c) = c {
            // An infinity or a NaN: the sum would have another NaN.
            let (bits, field) = if self.short { (0x7c00, 0x7c00) } else { (0x7f80_0000, 0x7f80_0000) };
            let special = e.icmp(Int::LLVMIntEQ, self.w.and(c, bits), self.w.int(field));
            self.note_where(special);
            if self.short && !self.can.half_conversions {
                let large = e.icmp(Int::LLVMIntEQ, self.w.and(sum, bits), self.w.int(field));
                self.note_where(large);
            }
            let w = &self.w;
            let wide =
                |v: Val<'c>| w.as_float(if self.short { w.half_to_single(v, self.can.half_conversions) } else { v });
            let both = w.as_int(e.bin(Code::LLVMFAdd, wide(sum), wide(c)));
            sum = if self.short { w.single_to_half(both) } else { both };
        }
        if self.plan.elements[0] == Element::F16 && !self.short { self.w.single_to_half(sum) } else { sum }
    }
}

/// Chunks one behind the other.
fn join<'c>(w: &Words<'_, 'c>, chunks: &[Val<'c>]) -> Val<'c> {
    let mut parts = chunks.to_vec();
    let mut count = w.count;
    while parts.len() > 1 {
        let order: Vec<u32> = (0..2 * count).collect();
        parts = parts.chunks(2).map(|two| w.e.shuffle(two[0], two[1], &order)).collect();
        count *= 2;
    }
    parts[0]
}
