//! Ops on matrices as vector code. What has none is left to its definition: see [`Lowering::product`].

mod bytes;
mod chain;
mod memory;
mod plan;
mod prepare;
mod sum;
mod words;

use super::{Lowering, Result};
use crate::sys::{Code, Int, Ty, Val};
use hetir::entity::{Block, Inst, Value};
use hetir::op::Op;
use hetir::tensor::Product;
use plan::{ALIGN, Plan, Side};
use std::cell::RefCell;
use std::rc::Rc;
use sum::{Abilities, Summing};
use words::Words;

/// The plans of a kernel's products, whose functions are there.
#[derive(Default)]
pub(super) struct Plans(RefCell<Vec<(Product, Option<Rc<Plan>>)>>);

/// A factor that lies prepared in memory.
struct Factor {
    block: Block,
    /// The function that prepared it, and of what.
    function: String,
    registers: Vec<Value>,
    area: usize,
}

/// Factors that are prepared, and where.
#[derive(Default)]
pub(super) struct Factors<'c> {
    there: Vec<Factor>,
    areas: Vec<Area<'c>>,
    turn: u64,
}

struct Area<'c> {
    at: Val<'c>,
    bytes: u32,
    /// When it was used last.
    used: u64,
}

/// Most areas of a size: those of a warp ought to stay in the nearest cache.
fn most_areas(bytes: u32) -> usize {
    (32 << 10) / bytes.max(1 << 10) as usize
}

impl<'c> Lowering<'_, '_, 'c> {
    /// An op on matrices. One lane at a time leaves it to the device.
    pub(super) fn matrix(&mut self, inst: Inst) -> Result<()> {
        let done = self.lanes > 1
            && match self.body.inst(inst).op {
                Op::Mma => self.product(inst),
                Op::MovMatrix => self.turn(inst),
                Op::LdMatrix | Op::StMatrix => self.tiles(inst),
                _ => self.lines(inst),
            };
        if done { Ok(()) } else { self.warp_op(inst) }
    }

    /// Lowers a product; false where it is left to its definition.
    fn product(&mut self, inst: Inst) -> bool {
        let Ok(product) = Product::of(self.body.inst(inst)) else { return false };
        if self.integer_product(inst, &product) || self.chained_product(inst, &product) {
            return true;
        }
        let Some(plan) = self.plan_of(&product) else { return false };
        let results = self.body.results(inst).to_vec();
        let types: Vec<_> = results.iter().map(|r| self.wide(self.element(self.body.ty(*r)))).collect();
        let values = match self.all_there() {
            None => self.sum(inst, &plan, &types),
            Some(all) => {
                // What is prepared on one side of a branch is not there behind it.
                self.factors.there.clear();
                let values =
                    self.either(all, &types, |this| this.sum(inst, &plan, &types), |this| this.by_device(inst));
                self.factors.there.clear();
                values
            }
        };
        for (n, (v, _)) in values.into_iter().enumerate() {
            self.set_vector(inst, n, v, false);
        }
        true
    }

    /// Whether all lanes are active, where that is not known.
    fn all_there(&self) -> Option<Val<'c>> {
        let mask = self.mask?;
        let bits = self.e.cast(Code::LLVMBitCast, mask, self.i(32));
        Some(self.e.icmp(Int::LLVMIntEQ, bits, self.c32(u32::MAX)))
    }

    /// The plan of a product, whose functions are made when it is asked for first.
    fn plan_of(&self, product: &Product) -> Option<Rc<Plan>> {
        let known = self.unit.sums.0.borrow().iter().find(|(p, _)| p == product).map(|(_, plan)| plan.clone());
        known.unwrap_or_else(|| {
            let plan = Plan::of(product).map(Rc::new);
            if let Some(plan) = &plan {
                self.make_functions(plan);
            }
            self.unit.sums.0.borrow_mut().push((*product, plan.clone()));
            plan
        })
    }

    fn column(&self) -> Ty<'c> {
        self.i(32).vector(32)
    }
    fn side_ty(&self, registers: usize) -> Ty<'c> {
        let mut params = vec![self.column(); registers];
        params.push(self.e.ptr());
        self.e.function_ty(&params, self.e.void())
    }
    fn sum_ty(&self, plan: &Plan) -> Ty<'c> {
        let [fd, _, _, fc] = &plan.fragments;
        let mut params = vec![self.e.ptr(); 2];
        params.extend(vec![self.column(); fc.registers()]);
        let mut results = vec![self.column(); fd.registers()];
        results.push(self.i(1));
        self.e.function_ty(&params, self.e.structure(&results))
    }

    fn make_functions(&self, plan: &Plan) {
        let e = self.e;
        let here = e.here();
        for rows in [true, false] {
            let (fragment, side) = if rows { (&plan.fragments[1], &plan.a) } else { (&plan.fragments[2], &plan.b) };
            let count = fragment.registers();
            let function = e.function(&side_name(plan, rows), self.side_ty(count));
            self.begin_function(function);
            let registers = (0..count).map(|n| e.param(function, n as u32)).collect();
            let to = e.param(function, count as u32);
            let w = Words { e, count: 32 };
            let element = fragment.element();
            let how = (self.unit.half_conversions, plan.product.short);
            prepare::prepare(&w, side, (element, rows), how, fragment.elements(), registers, to);
            e.ret(None);
        }
        let ty = self.sum_ty(plan);
        let function = e.function(&sum_name(plan), ty);
        self.begin_function(function);
        let words = self.unit.vector_bits / 32;
        let can = Abilities { avx512: self.unit.avx512, half_conversions: self.unit.half_conversions };
        let c: Vec<_> = (0..plan.fragments[3].registers()).map(|n| e.param(function, 2 + n as u32)).collect();
        let summing = Summing::new(Words { e, count: words }, plan, can, function);
        let (registers, bad) = summing.run(&c);
        let results = plan.fragments[0].registers();
        let mut all = e.structure(&[vec![self.column(); results], vec![self.i(1)]].concat()).undef();
        for (n, register) in registers.into_iter().enumerate() {
            all = e.with_part(all, register, n as u32);
        }
        e.ret(Some(e.with_part(all, bad, results as u32)));
        e.at(here);
    }
    fn begin_function(&self, function: Val<'c>) {
        let e = self.e;
        e.make_internal(function);
        e.attribute(function, "noinline", "");
        e.attribute(function, "nounwind", "");
        e.at(e.block(function, "entry"));
    }

    fn columns(&mut self, values: &[Value]) -> Vec<Val<'c>> {
        values
            .iter()
            .map(|v| {
                let v = self.vector(*v);
                self.e.cast(Code::LLVMBitCast, v, self.column())
            })
            .collect()
    }

    /// Calls the unit, and the definition where the unit says so.
    fn sum(&mut self, inst: Inst, plan: &Plan, types: &[Ty<'c>]) -> Vec<(Val<'c>, bool)> {
        let e = self.e;
        let args = self.body.args(inst).to_vec();
        let [_, fa, fb, _] = &plan.fragments;
        let (a, rest) = args.split_at(fa.registers().min(args.len()));
        let (b, c) = rest.split_at(fb.registers().min(rest.len()));
        let mut all =
            vec![self.prepared(side_name(plan, true), &plan.a, a), self.prepared(side_name(plan, false), &plan.b, b)];
        all.extend(self.columns(c));
        let ty = self.sum_ty(plan);
        let result = e.call(ty, e.function(&sum_name(plan), ty), &all);
        let parts: Vec<_> = (0..types.len()).map(|n| e.part(result, n as u32)).collect();
        let bad = e.part(result, types.len() as u32);
        let good = e.icmp(Int::LLVMIntEQ, bad, self.i(1).int(0));
        self.either(
            good,
            types,
            |_| parts.iter().zip(types).map(|(v, ty)| (e.cast(Code::LLVMBitCast, *v, *ty), false)).collect(),
            |this| this.by_device(inst),
        )
    }

    /// Where a factor lies prepared.
    fn prepared(&mut self, function: String, side: &Side, registers: &[Value]) -> Val<'c> {
        self.factors.turn += 1;
        let turn = self.factors.turn;
        let block = self.block;
        let known =
            self.factors.there.iter().find(|f| f.block == block && f.function == function && f.registers == registers);
        if let Some(factor) = known {
            let area = &mut self.factors.areas[factor.area];
            area.used = turn;
            return area.at;
        }
        let area = self.area_of(side.bytes);
        self.factors.areas[area].used = turn;
        let at = self.factors.areas[area].at;
        self.factors.there.retain(|f| f.area != area);
        let mut all = self.columns(registers);
        all.push(at);
        let ty = self.side_ty(registers.len());
        self.e.call(ty, self.e.function(&function, ty), &all);
        self.factors.there.push(Factor { block, function, registers: registers.to_vec(), area });
        at
    }
    /// An area of a size: a new one, or the one that has not been used for the longest time.
    fn area_of(&mut self, bytes: u32) -> usize {
        let areas = &self.factors.areas;
        let same = || areas.iter().enumerate().filter(|(_, area)| area.bytes == bytes);
        let oldest = same().min_by_key(|(_, area)| area.used).map(|(n, _)| n);
        if let Some(n) = oldest.filter(|_| same().count() >= most_areas(bytes)) {
            return n;
        }
        let ty = self.i(32).vector(ALIGN / 4).array(u64::from(bytes.div_ceil(ALIGN)));
        let at = self.e.alloca(self.entry, ty);
        self.factors.areas.push(Area { at, bytes, used: 0 });
        self.factors.areas.len() - 1
    }
}

fn side_name(plan: &Plan, rows: bool) -> String {
    format!("{}.{}", if rows { "a" } else { "b" }, sum_name(plan))
}

fn sum_name(plan: &Plan) -> String {
    let p = &plan.product;
    let layout = |l| if l == hetir::attr::Layout::Row { "row" } else { "col" };
    let sum = if p.short { ".short" } else { "" };
    format!("{}.{}.{}.{}{sum}", p.shape.name(), p.types.name(), layout(p.layouts.0), layout(p.layouts.1))
}
