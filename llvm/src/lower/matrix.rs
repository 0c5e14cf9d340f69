//! Products of matrices of bytes, as vector code: each lane's elements of the result are sums of dot products of four
//! bytes, whose factors are picked from other lanes' registers. Other products are left to their definition.

use super::Lowering;
use crate::sys::{Code, Val};
use hetir::attr::{Element, Layout, Matrix, Sparsity};
use hetir::entity::Inst;
use hetir::tensor::{Fragment, Product};
use std::collections::HashMap;

/// Which lane's register holds four neighbouring bytes of a row (column).
type Places = HashMap<(usize, usize), (usize, usize)>;

/// Where fours of bytes along the products' sum are; `None` where they are not side by side in registers.
fn fours(fragment: &Fragment, along_columns: bool) -> Option<Places> {
    let mut places = Places::new();
    for lane in 0..32 {
        for first in (0..fragment.elements()).step_by(4) {
            let at = |n: usize| {
                let p = fragment.position(lane, first + n);
                if along_columns { (p.row, p.col) } else { (p.col, p.row) }
            };
            let (row, start) = at(0);
            if start % 4 != 0 || (1..4).any(|n| at(n) != (row, start + n)) || fragment.slot(first).1 != 0 {
                return None;
            }
            places.entry((row, start / 4)).or_insert((lane, fragment.slot(first).0));
        }
    }
    Some(places)
}

impl<'c> Lowering<'_, '_, 'c> {
    /// Lowers a product; false where it is left to its definition.
    pub(super) fn byte_product(&mut self, inst: Inst) -> bool {
        let Ok(product) = Product::of(self.body.inst(inst)) else { return false };
        let [_, a, b, _] = product.types.elements();
        let bytes = |e: Element| matches!(e, Element::S8 | Element::U8);
        if self.lanes == 1
            || self.mask.is_some()
            || product.sparsity != Sparsity::Dense
            || product.sat
            || !(bytes(a) && bytes(b))
        {
            return false;
        }
        let k = product.shape.size().2;
        let of = |matrix, element, layout| Fragment::new(matrix, product.shape, k, element, layout);
        let (fa, fb) = (of(Matrix::A, a, Layout::Row), of(Matrix::B, b, Layout::Col));
        let fc = of(Matrix::C, Element::S32, Layout::Row);
        let args = self.body.args(inst).to_vec();
        let results = self.body.results(inst).len();
        let (na, nb, nc) = (fa.registers(), fb.registers(), fc.registers());
        if args.len() != na + nb + nc || results != nc || fc.elements() != nc {
            return false;
        }
        let (Some(rows), Some(columns)) = (fours(&fa, true), fours(&fb, false)) else { return false };
        let mut plan = Vec::new();
        for n in 0..nc {
            for four in 0..k / 4 {
                let pick = |places: &Places, row: bool| -> Option<[(usize, usize); 32]> {
                    let mut from = [(0, 0); 32];
                    for (lane, place) in from.iter_mut().enumerate() {
                        let p = fc.position(lane, n);
                        *place = *places.get(&(if row { p.row } else { p.col }, four))?;
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
        let mut sums: Vec<Val<'c>> = registers[na + nb..].to_vec();
        let mut picked: HashMap<(usize, [usize; 32]), Val<'c>> = HashMap::new();
        let mut choose = |this: &Self, base: usize, from: &[(usize, usize); 32]| {
            let lanes = from.map(|p| p.0);
            *picked.entry((base + from[0].1, lanes)).or_insert_with(|| {
                let v = registers[base + from[0].1];
                this.e.shuffle(v, v, &lanes.map(|l| l as u32))
            })
        };
        for (n, x, y) in plan {
            let (x, y) = (choose(self, 0, &x), choose(self, na, &y));
            sums[n] = self.dot_of_bytes(x, a == Element::S8, y, b == Element::S8, sums[n]);
        }
        for (n, sum) in sums.into_iter().enumerate() {
            self.set_vector(inst, n, sum, false);
        }
        true
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
