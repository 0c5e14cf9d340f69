//! Products whose elements are chains of operations that the processor has: of f64 matrices, and those of shape m8n8k4.

use super::words::Words;
use crate::lower::Lowering;
use crate::sys::{Code, Int, Real, Val};
use hetir::attr::{Element, MatrixRound, MatrixShape, Sparsity};
use hetir::entity::{Inst, Value};
use hetir::tensor::{Fragment, Product};
use std::collections::HashMap;

/// For each lane, an element and the lane that holds it.
type Pick = [(usize, usize); 32];

/// What lanes need of a factor for their element `n` of the result.
fn picks(fragment: &Fragment, rows: bool, result: &Fragment, n: usize, depth: usize) -> Option<Vec<Pick>> {
    let mut places = HashMap::new();
    for lane in 0..32 {
        for element in 0..fragment.elements() {
            let p = fragment.position(lane, element);
            places
                .entry((p.product, if rows { p.row } else { p.col }, if rows { p.col } else { p.row }))
                .or_insert((element, lane));
        }
    }
    let mut all = Vec::new();
    for k in 0..depth {
        let mut pick = [(0, 0); 32];
        for (lane, from) in pick.iter_mut().enumerate() {
            let p = result.position(lane, n);
            *from = *places.get(&(p.product, if rows { p.row } else { p.col }, k))?;
        }
        all.push(pick);
    }
    Some(all)
}

impl<'c> Lowering<'_, '_, 'c> {
    /// False where the product is left to its definition.
    pub(super) fn chained_product(&mut self, inst: Inst, product: &Product) -> bool {
        let [fd, fa, fb, fc] = product.fragments();
        let double = fa.element() == Element::F64;
        let args = self.body.args(inst).to_vec();
        let known = double || product.shape == MatrixShape::M8N8K4;
        let shaped = args.len() == fa.registers() + fb.registers() + fc.registers();
        let plain = product.sparsity == Sparsity::Dense && product.round == MatrixRound::Rn;
        if self.mask.is_some() || !known || !shaped || !plain {
            return false;
        }
        let depth = product.shape.size().2;
        let mut needs = Vec::new();
        for n in 0..fc.elements() {
            // D of f16 and C of f32, and the other way round, are not in the same lanes.
            let of = if double { &fc } else { &fd };
            let (Some(a), Some(b)) = (picks(&fa, true, of, n, depth), picks(&fb, false, of, n, depth)) else {
                return false;
            };
            needs.push((a, b));
        }
        let (a, rest) = args.split_at(fa.registers());
        let (b, c) = rest.split_at(fb.registers());
        if double {
            self.doubles(inst, needs, [a, b, c]);
            return true;
        }
        let starts: Option<Vec<Pick>> = (0..fd.elements())
            .map(|n| {
                let mut pick = [(0, 0); 32];
                for (lane, from) in pick.iter_mut().enumerate() {
                    let p = fd.position(lane, n);
                    *from = (0..fc.elements())
                        .flat_map(|e| (0..32).map(move |l| (e, l)))
                        .find(|&(e, l)| fc.position(l, e) == p)?;
                }
                Some(pick)
            })
            .collect();
        let Some(starts) = starts else { return false };
        self.steps_of_singles(inst, product, needs, starts, [a, b, c]);
        true
    }

    /// The lanes' picks of elements.
    fn picked(&self, elements: &[Val<'c>], pick: &Pick) -> Val<'c> {
        let e = self.e;
        let lanes = pick.map(|(_, lane)| lane as u32);
        let mut result: Option<Val<'c>> = None;
        for (n, v) in elements.iter().enumerate() {
            if pick.iter().all(|(element, _)| *element != n) {
                continue;
            }
            result = Some(match result {
                None => e.shuffle(*v, *v, &lanes),
                Some(others) => {
                    let own = e.shuffle(*v, *v, &lanes);
                    let from: Vec<u32> = (0..32).map(|l| if pick[l as usize].0 == n { 32 + l } else { l }).collect();
                    e.shuffle(others, own, &from)
                }
            });
        }
        result.unwrap_or(elements[0])
    }

    fn doubles(&mut self, inst: Inst, needs: Vec<(Vec<Pick>, Vec<Pick>)>, [a, b, c]: [&[Value]; 3]) {
        let e = self.e;
        let [a, b, c] = [a, b, c].map(|all| all.iter().map(|v| self.vector(*v)).collect::<Vec<_>>());
        let ty = e.double().vector(32);
        let mut sums = Vec::new();
        let mut nan = self.i(1).vector(32).zero();
        for ((of_a, of_b), start) in needs.iter().zip(&c) {
            let terms = of_a.iter().zip(of_b);
            let sum = terms.fold(*start, |sum, (x, y)| {
                e.intrinsic("llvm.fma", &[ty], &[self.picked(&a, x), self.picked(&b, y), sum])
            });
            nan = e.bin(Code::LLVMOr, nan, e.fcmp(Real::LLVMRealUNO, sum, sum));
            sums.push(sum);
        }
        // Which NaN comes out is the definition's matter.
        let none = e.icmp(Int::LLVMIntEQ, e.cast(Code::LLVMBitCast, nan, self.i(32)), self.c32(0));
        let types = vec![ty; sums.len()];
        let values =
            self.either(none, &types, |_| sums.into_iter().map(|v| (v, false)).collect(), |this| this.by_device(inst));
        for (n, (v, _)) in values.into_iter().enumerate() {
            self.set_vector(inst, n, v, false);
        }
    }

    /// The elements of fragments of f16 or f32, as f32.
    fn as_singles(&mut self, element: Element, registers: &[Value]) -> Vec<Val<'c>> {
        let e = self.e;
        let w = Words { e, count: 32 };
        let mut all = Vec::new();
        for &register in registers {
            let v = self.vector(register);
            if element != Element::F16 {
                all.push(v);
                continue;
            }
            for half in [w.and(v, 0xffff), w.lshr(v, 16)] {
                let half = e.cast(Code::LLVMTrunc, half, self.i(16).vector(32));
                let half = e.cast(Code::LLVMBitCast, half, e.half().vector(32));
                all.push(e.cast(Code::LLVMFPExt, half, w.floats()));
            }
        }
        all
    }

    fn steps_of_singles(
        &mut self,
        inst: Inst,
        product: &Product,
        needs: Vec<(Vec<Pick>, Vec<Pick>)>,
        starts: Vec<Pick>,
        [a, b, c]: [&[Value]; 3],
    ) {
        let e = self.e;
        let w = Words { e, count: 32 };
        let [d_element, a_element, b_element, c_element] = product.types.elements();
        let a = self.as_singles(a_element, a);
        let b = self.as_singles(b_element, b);
        let c = self.as_singles(c_element, c);
        let fma = |x: Val<'c>, y: Val<'c>, z: Val<'c>| e.intrinsic("llvm.fma", &[w.floats()], &[x, y, z]);
        let add = |x: Val<'c>, y: Val<'c>| e.bin(Code::LLVMFAdd, x, y);
        let mut results = Vec::new();
        for ((of_a, of_b), start) in needs.iter().zip(&starts) {
            let term = |k: usize| (self.picked(&a, &of_a[k]), self.picked(&b, &of_b[k]));
            let start = self.picked(&c, start);
            if d_element == Element::F32 {
                let sum = (0..of_a.len()).fold(w.floats().zero(), |sum, k| {
                    let (x, y) = term(k);
                    fma(x, y, sum)
                });
                results.push(self.canonical(add(start, sum)));
                continue;
            }
            let pair = |k: usize| {
                let ((x, y), (u, v)) = (term(k), term(k + 1));
                fma(u, v, e.bin(Code::LLVMFMul, x, y))
            };
            let sum = add(add(start, pair(0)), pair(2));
            let nan = e.fcmp(Real::LLVMRealUNO, sum, sum);
            let half = w.single_to_half(w.as_int(sum));
            results.push(e.select(nan, w.int(0x7fff), half));
        }
        if d_element == Element::F16 {
            let pair = |two: &[Val<'c>]| e.bin(Code::LLVMOr, two[0], w.shl(two[1], 16));
            results = results.chunks_exact(2).map(pair).collect();
        }
        for (n, v) in results.into_iter().enumerate() {
            self.set_vector(inst, n, v, false);
        }
    }
}
