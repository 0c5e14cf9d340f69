//! Products of matrices, and matrices in memory.

use super::function::{Printer, Printing, suffix};
use super::text::Operand;
use hetir::attr::{
    BitProduct, Element, IntCmp, Layout, Matrix, MatrixRound, MatrixShape, MatrixTypes, Sparsity, Tiles, Transpose,
};
use hetir::entity::{Inst, Value};
use hetir::ir::InstData;
use hetir::op::Op;
use hetir::tensor::{GroupProduct, Product};
use hetir::types::Type;
use std::collections::HashSet;

impl Printer<'_, '_> {
    fn registers(&mut self, values: &[Value]) -> Operand {
        Operand::Vector(values.iter().map(|v| self.reg(*v).into()).collect())
    }
    fn results(&mut self, inst: Inst) -> Operand {
        let count = self.body.results(inst).len();
        Operand::Vector((0..count).map(|n| self.result(inst, n).into()).collect())
    }

    pub(super) fn product_of(&mut self, inst: Inst, data: &InstData) -> Printing {
        let product = match Product::of(data) {
            Ok(product) => product,
            Err(why) => return self.lacks(why),
        };
        if product.short {
            return self.lacks("a product with short sums");
        }
        let [_, a, b, c] = product.fragments();
        let args = self.body.args(inst);
        let (a, rest) = args.split_at(a.registers());
        let (b, rest) = rest.split_at(b.registers());
        let (c, metadata) = rest.split_at(c.registers());
        let mut operands = vec![self.registers(a), self.registers(b), self.registers(c)];
        if let [metadata] = metadata {
            operands.push(self.reg(*metadata).into());
            operands.push(product.selector.to_string().into());
        }
        let to = self.results(inst);
        let (shape, types) = (product.shape.name(), product.types.name());
        let layouts = format!("{}.{}", product.layouts.0.name(), product.layouts.1.name());
        let sat = if product.sat { ".satfinite" } else { "" };
        let round = if product.round == MatrixRound::Rn { String::new() } else { format!(".{}", product.round.name()) };
        let turned = product.layouts != (Layout::Row, Layout::Col) && product.types == MatrixTypes::F64;
        let head = if product.shape.is_wmma_only() || !round.is_empty() || turned {
            let halves = matches!(
                product.types,
                MatrixTypes::F16AccF16 | MatrixTypes::F32AccF16 | MatrixTypes::F16AccF32 | MatrixTypes::F32AccF32
            );
            // Products of f16 name the types of the sums alone.
            let [d, _, _, c] = product.types.elements();
            let types = if halves { format!("{}.{}", d.name(), c.name()) } else { types.to_string() };
            format!("wmma.mma.sync.aligned.{layouts}.{shape}{round}.{types}{sat}")
        } else {
            let sparse = match product.sparsity {
                Sparsity::Dense => "",
                Sparsity::Sparse => ".sp",
                Sparsity::Ordered => ".sp::ordered_metadata",
            };
            let bits = match product.bits {
                BitProduct::None => "",
                BitProduct::Xor => ".xor.popc",
                BitProduct::And => ".and.popc",
            };
            format!("mma{sparse}.sync.aligned.{shape}.{layouts}{sat}.{types}{bits}")
        };
        self.code.act(&head, [to], operands);
        Ok(())
    }

    /// Products of warp groups. The registers of the sums are those of the result: what they begin with is moved there.
    pub(super) fn group_product(&mut self, inst: Inst, data: &InstData) -> Printing {
        let group = match GroupProduct::of(data) {
            Ok(group) => group,
            Err(why) => return self.lacks(why),
        };
        let target = self.cx.request.target;
        if target.compute != (9, 0) || !target.architecture_specific {
            return self.no_form(data);
        }
        let product = &group.product;
        let args = self.body.args(inst).to_vec();
        let [of_a, _, of_c] = group.registers();
        let sparse = product.sparsity != Sparsity::Dense;
        let (sums, rest) = (&args[of_a + 1..][..of_c], &args[of_a + 1 + of_c..]);
        let keeps = rest[usize::from(sparse)];
        let known = self.known(keeps);
        if known != Some(false) {
            for (n, sum) in sums.iter().enumerate() {
                self.begin_sum(inst, n, *sum);
            }
        }
        let to = self.results(inst);
        let a = if group.in_registers { self.registers(&args[..of_a]) } else { self.descriptor(args[0]) };
        let mut operands = vec![a, self.descriptor(args[of_a])];
        if sparse {
            operands.push(self.reg(rest[0]).into());
            operands.push(product.selector.to_string().into());
        }
        operands.push(match known {
            Some(keeps) => u8::from(keeps).to_string().into(),
            None => self.reg(keeps).into(),
        });
        let [d, a, b, _] = product.types.elements();
        if !a.is_integer() {
            operands.extend([if group.negated { "-1" } else { "1" }.into(), "1".into()]);
        }
        if a.bits() == 16 {
            let flags = [group.turned.0, group.turned.1].map(|turned| Operand::from(if turned { "1" } else { "0" }));
            operands.extend(flags.into_iter().skip(usize::from(group.in_registers)));
        }
        let (_, _, k) = product.shape.size();
        let head = format!(
            "wgmma.mma_async{}.sync.aligned.m64n{}k{k}{}.{}.{}.{}{}",
            if sparse { ".sp" } else { "" },
            group.columns,
            if product.sat { ".satfinite" } else { "" },
            d.name(),
            a.name(),
            b.name(),
            if product.bits == BitProduct::And { ".and.popc" } else { "" }
        );
        if known == Some(false) {
            self.code.act(&head, [to], operands);
        } else {
            self.code.update(&head, [to], operands);
        }
        Ok(())
    }
    /// A condition that is the same always: programs say so by a comparison of two numbers.
    fn known(&self, condition: Value) -> Option<bool> {
        if let Some(bits) = self.constant(condition) {
            return Some(bits & 1 == 1);
        }
        let (inst, data) = self.def_by(condition, Op::ICmp)?;
        let [a, b] = [0, 1].map(|n| self.constant(self.body.args(inst)[n]));
        let same = a? == b?;
        match data.attr() {
            IntCmp::Eq => Some(same),
            IntCmp::Ne => Some(!same),
            _ => None,
        }
    }
    /// What a sum begins with is moved to its register, once.
    fn begin_sum(&mut self, inst: Inst, n: usize, sum: Value) {
        if self.begun_sums.insert(self.body.results(inst)[n]) {
            let (to, from) = (self.result(inst, n), self.source(sum));
            self.move_to(to, from, self.ty(sum));
        }
    }
    /// A fence. Behind it nothing but products may write sums, else the compiler lets each product wait for the one before:
    /// so what the sums of the products behind it begin with is moved here, where it is known.
    pub(super) fn group_fence(&mut self, inst: Inst) -> Printing {
        let (body, here) = (self.body, self.here);
        let behind = here.iter().skip_while(|i| **i != inst).skip(1);
        let behind: Vec<Inst> = behind.copied().take_while(|i| body.inst(*i).op != Op::GroupFence).collect();
        let later: HashSet<Value> = behind.iter().flat_map(|i| body.results(*i)).copied().collect();
        for &product in behind.iter().filter(|i| body.inst(**i).op == Op::GroupMma) {
            let Ok(group) = GroupProduct::of(body.inst(product)) else { continue };
            let ([of_a, _, of_c], args) = (group.registers(), body.args(product));
            if args.last().and_then(|keeps| self.known(*keeps)) == Some(false) {
                continue;
            }
            for (n, &sum) in args[of_a + 1..][..of_c].iter().enumerate() {
                if !later.contains(&self.root(sum)) {
                    self.begin_sum(product, n, sum);
                }
            }
        }
        self.code.act("wgmma.fence.sync.aligned", [], []);
        Ok(())
    }
    /// A matrix descriptor, whose address is made the hardware's.
    fn descriptor(&mut self, value: Value) -> Operand {
        let own = self.reg(value);
        if !self.cx.logical() {
            return own.into();
        }
        // The address is the low 14 bits, in units of 16 bytes.
        let [low, high, units, sum, native] = [0; 5].map(|_| self.fresh(Type::I32));
        let whole = self.fresh(Type::I64);
        self.code.put("mov.b64", Operand::Vector(vec![low.into(), high.into()]), [own.into()]);
        self.code.put("shr.u32", units, [self.deltas.shared.into(), "4".into()]);
        self.code.put("add.s32", sum, [low.into(), units.into()]);
        self.code.put("bfi.b32", native, [sum.into(), low.into(), "0".into(), "14".into()]);
        self.code.put("mov.b64", whole, [Operand::Vector(vec![native.into(), high.into()])]);
        whole.into()
    }
    pub(super) fn group_order(&mut self, data: &InstData) -> Printing {
        match data.op {
            Op::GroupCommit => self.code.act("wgmma.commit_group.sync.aligned", [], []),
            _ => self.code.act("wgmma.wait_group.sync.aligned", [], [data.imm.to_string().into()]),
        }
        Ok(())
    }

    pub(super) fn matrix_memory(&mut self, inst: Inst, data: &InstData) -> Printing {
        let args = self.body.args(inst);
        let (place, space) = self.place(data.attr(), args[0], data.imm)?;
        match data.op {
            Op::WmmaLoad | Op::WmmaStore => {
                let (shape, element) = (data.attr::<MatrixShape>().name(), data.attr::<Element>().name());
                let layout = data.attr::<Layout>().name();
                let stride = self.word(args[1]);
                if data.op == Op::WmmaLoad {
                    let (matrix, to) = (data.attr::<Matrix>().name(), self.results(inst));
                    let head = format!("wmma.load.{matrix}.sync.aligned.{layout}.{shape}{space}.{element}");
                    self.code.act(&head, [to], [place, stride]);
                } else {
                    let values = self.registers(&args[2..]);
                    let head = format!("wmma.store.d.sync.aligned.{layout}.{shape}{space}.{element}");
                    self.code.act(&head, [], [place, values, stride]);
                }
            }
            _ => {
                let (tiles, turned) = (data.attr::<Tiles>().name(), suffix::<Transpose>(data));
                if data.op == Op::LdMatrix {
                    let to = self.results(inst);
                    let head = format!("ldmatrix.sync.aligned.m8n8.{tiles}{turned}{space}.b16");
                    self.code.act(&head, [to], [place]);
                } else {
                    let values = self.registers(&args[1..]);
                    let head = format!("stmatrix.sync.aligned.m8n8.{tiles}{turned}{space}.b16");
                    self.code.act(&head, [], [place, values]);
                }
            }
        }
        Ok(())
    }

    pub(super) fn turn(&mut self, inst: Inst) -> Printing {
        let (to, tile) = (self.result(inst, 0), self.reg(self.body.args(inst)[0]));
        self.code.act("movmatrix.sync.aligned.m8n8.trans.b16", [to.into()], [tile.into()]);
        Ok(())
    }
}
