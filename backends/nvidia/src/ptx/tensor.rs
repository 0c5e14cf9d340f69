//! Products of matrices, and matrices in memory.

use super::function::{Printer, Printing, suffix};
use super::text::Operand;
use hetir::attr::{
    BitProduct, Element, Layout, Matrix, MatrixRound, MatrixShape, MatrixTypes, Sparsity, Tiles, Transpose,
};
use hetir::entity::{Inst, Value};
use hetir::ir::InstData;
use hetir::op::Op;
use hetir::tensor::Product;

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
