//! Matrix products, and matrices in memory.

use super::{Form, Lifted, Refused, form};
use crate::ast::OperandKind;
use crate::lift::{Kind, Lifter, Ty};
use hetir::attr::{
    BitProduct, Element, Layout, LayoutA, LayoutB, Matrix, MatrixRound, MatrixShape, MatrixSum, MatrixTypes, Sat,
    Selector, Sign, Sparsity, Tiles, Transpose,
};
use hetir::build::Attrs;
use hetir::diag::Diagnostic;
use hetir::entity::Value;
use hetir::op::Op;
use hetir::tensor::{Fragment, Product};
use hetir::types::Type;

const ACC: [&str; 2] = ["dtype=f16 f32", "ctype=f16 f32"];
const FP8: [&str; 2] = ["atype=e4m3 e5m2", "btype=e4m3 e5m2"];
const I8: [&str; 2] = ["atype=s8 u8", "btype=s8 u8"];
const I4: [&str; 2] = ["atype=s4 u4", "btype=s4 u4"];
const LAYOUTS: [&str; 2] = ["alayout=row col", "blayout=row col"];
const SP: &str = "variant=sp sp::ordered_metadata";
const WMMA: &str = "shape=m16n16k16 m8n32k16 m32n8k16";
const SS: &str = "ss=global shared shared::cta";
const SHARED: &str = "ss=shared shared::cta";
const TILES: &str = "num=x1 x2 x4";
const OP: &str = "op=xor and";
const RND: &str = "rnd=rn rz rm rp";

pub(crate) const FORMS: &[Form] = &[
    form(
        "mma.sync.aligned.shape.alayout.blayout.dtype.f16.f16.ctype d, a, b, c",
        &["shape=m8n8k4", LAYOUTS[0], LAYOUTS[1], ACC[0], ACC[1]],
        |c| c.product(["dtype", "f16", "f16", "ctype"]),
    ),
    form(
        "mma.sync.aligned.shape.row.col.dtype.f16.f16.ctype d, a, b, c",
        &["shape=m16n8k8 m16n8k16", ACC[0], ACC[1]],
        |c| c.product(["dtype", "f16", "f16", "ctype"]),
    ),
    form("mma.sync.aligned.shape.row.col.f32.bf16.bf16.f32 d, a, b, c", &["shape=m16n8k8 m16n8k16"], |c| {
        c.product(["f32", "bf16", "bf16", "f32"])
    }),
    form("mma.sync.aligned.shape.row.col.f32.tf32.tf32.f32 d, a, b, c", &["shape=m16n8k4 m16n8k8"], |c| {
        c.product(["f32", "tf32", "tf32", "f32"])
    }),
    form(
        "mma.sync.aligned.shape.row.col.dtype.atype.btype.ctype d, a, b, c",
        &["shape=m16n8k16 m16n8k32", ACC[0], ACC[1], FP8[0], FP8[1]],
        |c| c.product(["dtype", "atype", "btype", "ctype"]),
    ),
    form(
        "mma.sync.aligned.shape.row.col.f64.f64.f64.f64 d, a, b, c",
        &["shape=m8n8k4 m16n8k4 m16n8k8 m16n8k16"],
        |c| c.product(["f64", "f64", "f64", "f64"]),
    ),
    form(
        "mma.sync.aligned.shape.row.col{.satfinite}.s32.atype.btype.s32 d, a, b, c",
        &["shape=m8n8k16 m16n8k16 m16n8k32", I8[0], I8[1]],
        |c| c.product(["s32", "atype", "btype", "s32"]),
    ),
    form(
        "mma.sync.aligned.shape.row.col{.satfinite}.s32.atype.btype.s32 d, a, b, c",
        &["shape=m8n8k32 m16n8k32 m16n8k64", I4[0], I4[1]],
        |c| c.product(["s32", "atype", "btype", "s32"]),
    ),
    form(
        "mma.sync.aligned.shape.row.col.s32.b1.b1.s32.op.popc d, a, b, c",
        &["shape=m8n8k128 m16n8k128 m16n8k256", OP],
        |c| c.product(["s32", "b1", "b1", "s32"]),
    ),
    form(
        "mma.variant.sync.aligned.shape.row.col.dtype.f16.f16.ctype d, a, b, c, e, f",
        &[SP, "shape=m16n8k16 m16n8k32", ACC[0], ACC[1]],
        |c| c.product(["dtype", "f16", "f16", "ctype"]),
    ),
    form(
        "mma.variant.sync.aligned.shape.row.col.f32.bf16.bf16.f32 d, a, b, c, e, f",
        &[SP, "shape=m16n8k16 m16n8k32"],
        |c| c.product(["f32", "bf16", "bf16", "f32"]),
    ),
    form(
        "mma.variant.sync.aligned.shape.row.col.f32.tf32.tf32.f32 d, a, b, c, e, f",
        &[SP, "shape=m16n8k8 m16n8k16"],
        |c| c.product(["f32", "tf32", "tf32", "f32"]),
    ),
    form(
        "mma.variant.sync.aligned.shape.row.col.f32.atype.btype.f32 d, a, b, c, e, f",
        &[SP, "shape=m16n8k64", FP8[0], FP8[1]],
        |c| c.product(["f32", "atype", "btype", "f32"]),
    ),
    form(
        "mma.variant.sync.aligned.shape.row.col{.satfinite}.s32.atype.btype.s32 d, a, b, c, e, f",
        &[SP, "shape=m16n8k32 m16n8k64", I8[0], I8[1]],
        |c| c.product(["s32", "atype", "btype", "s32"]),
    ),
    form(
        "mma.variant.sync.aligned.shape.row.col{.satfinite}.s32.atype.btype.s32 d, a, b, c, e, f",
        &[SP, "shape=m16n8k64 m16n8k128", I4[0], I4[1]],
        |c| c.product(["s32", "atype", "btype", "s32"]),
    ),
    form(
        "wmma.mma.sync.aligned.alayout.blayout.shape.dtype.ctype d, a, b, c",
        &[LAYOUTS[0], LAYOUTS[1], WMMA, ACC[0], ACC[1]],
        |c| c.product(["dtype", "f16", "f16", "ctype"]),
    ),
    form(
        "wmma.mma.sync.aligned.alayout.blayout.shape.f32.bf16.bf16.f32 d, a, b, c",
        &[LAYOUTS[0], LAYOUTS[1], WMMA],
        |c| c.product(["f32", "bf16", "bf16", "f32"]),
    ),
    form(
        "wmma.mma.sync.aligned.alayout.blayout.shape.f32.tf32.tf32.f32 d, a, b, c",
        &[LAYOUTS[0], LAYOUTS[1], "shape=m16n16k8"],
        |c| c.product(["f32", "tf32", "tf32", "f32"]),
    ),
    form(
        "wmma.mma.sync.aligned.alayout.blayout.shape{.rnd}.f64.f64.f64.f64 d, a, b, c",
        &[LAYOUTS[0], LAYOUTS[1], "shape=m8n8k4", RND],
        |c| c.product(["f64", "f64", "f64", "f64"]),
    ),
    form(
        "wmma.mma.sync.aligned.alayout.blayout.shape.s32.atype.btype.s32{.satfinite} d, a, b, c",
        &[LAYOUTS[0], LAYOUTS[1], WMMA, I8[0], I8[1]],
        |c| c.integer_product(),
    ),
    form(
        "wmma.mma.sync.aligned.row.col.shape.s32.atype.btype.s32{.satfinite} d, a, b, c",
        &["shape=m8n8k32", I4[0], I4[1]],
        |c| c.integer_product(),
    ),
    form("wmma.mma.op.popc.sync.aligned.row.col.shape.s32.b1.b1.s32 d, a, b, c", &["shape=m8n8k128", OP], |c| {
        c.product(["s32", "b1", "b1", "s32"])
    }),
    form(
        "wmma.load.matrix.sync.aligned.layout.shape{.ss}.type d, [a]{, b}",
        &["matrix=a b", "layout=row col", WMMA, SS, "type=f16 bf16 s8 u8"],
        |c| c.load_matrix(),
    ),
    form(
        "wmma.load.matrix.sync.aligned.layout.shape{.ss}.type d, [a]{, b}",
        &["matrix=a b", "layout=row col", "shape=m16n16k8", SS, "type=tf32"],
        |c| c.load_matrix(),
    ),
    form(
        "wmma.load.matrix.sync.aligned.layout.shape{.ss}.type d, [a]{, b}",
        &["matrix=a b", "layout=row col", "shape=m8n8k4", SS, "type=f64"],
        |c| c.load_matrix(),
    ),
    form(
        "wmma.load.matrix.sync.aligned.layout.shape{.ss}.type d, [a]{, b}",
        &["matrix=a b", "layout=row col", "shape=m8n8k32", SS, "type=s4 u4"],
        |c| c.load_matrix(),
    ),
    form(
        "wmma.load.matrix.sync.aligned.layout.shape{.ss}.type d, [a]{, b}",
        &["matrix=a b", "layout=row col", "shape=m8n8k128", SS, "type=b1"],
        |c| c.load_matrix(),
    ),
    form(
        "wmma.load.matrix.sync.aligned.layout.shape{.ss}.type d, [a]{, b}",
        &["matrix=c", "layout=row col", WMMA, SS, "type=f16 f32 s32"],
        |c| c.load_matrix(),
    ),
    form(
        "wmma.load.matrix.sync.aligned.layout.shape{.ss}.type d, [a]{, b}",
        &["matrix=c", "layout=row col", "shape=m16n16k8 m8n8k4 m8n8k32 m8n8k128", SS, "type=f32 f64 s32"],
        |c| c.load_matrix(),
    ),
    form(
        "wmma.store.d.sync.aligned.layout.shape{.ss}.type [a], b{, c}",
        &["layout=row col", WMMA, SS, "type=f16 f32 s32"],
        |c| c.store_matrix(),
    ),
    form(
        "wmma.store.d.sync.aligned.layout.shape{.ss}.type [a], b{, c}",
        &["layout=row col", "shape=m16n16k8 m8n8k4 m8n8k32 m8n8k128", SS, "type=f32 f64 s32"],
        |c| c.store_matrix(),
    ),
    form("ldmatrix.sync.aligned.m8n8.num{.trans}{.ss}.b16 d, [a]", &[TILES, SHARED], |c| c.load_tiles()),
    form("stmatrix.sync.aligned.m8n8.num{.trans}{.ss}.b16 [a], b", &[TILES, SHARED], |c| c.store_tiles()),
    form("movmatrix.sync.aligned.m8n8.trans.b16 d, a", &[], |c| {
        let tile = c.src(1, Ty::known("b32"))?;
        let turned = c.op(Op::MovMatrix, Type::B1, &[tile]);
        c.dst(0, Ty::known("b32"), turned)
    }),
];

/// What newer architectures add.
pub(crate) const REFUSED: &[Refused] = &[
    Refused { base: "mma", modifier: "kind::", reason: "products of these kinds need sm_100 or newer" },
    Refused { base: "mma", modifier: "block_scale", reason: "products with block scaling need sm_100 or newer" },
    Refused { base: "ldmatrix", modifier: "m16n16", reason: "tiles of this shape need sm_100 or newer" },
    Refused { base: "ldmatrix", modifier: "m8n16", reason: "tiles of this shape need sm_100 or newer" },
    Refused { base: "stmatrix", modifier: "m16n8", reason: "tiles of this shape need sm_100 or newer" },
];

/// The operand type of a register of such elements. Registers of packed values are untyped; integers may have any
/// type but a floating-point one.
pub(super) fn register(element: Element) -> Ty {
    match element {
        Element::F32 => Ty::known("f32"),
        Element::F64 => Ty::known("f64"),
        Element::S32 => Ty::known("s32"),
        Element::F16 => Ty::known("f16x2"),
        Element::S8 | Element::U8 | Element::S4 | Element::U4 | Element::B1 => Ty::known("b32"),
        Element::Bf16 | Element::Tf32 | Element::E4m3 | Element::E5m2 => {
            Ty { ir: Type::I32, sign: Sign::U, kind: Kind::Float, name: "b32" }
        }
    }
}

impl Lifter<'_, '_> {
    /// The attribute whose spelling the opcode has in a part.
    fn attribute<A: Copy>(&self, part: &str, all: &[A], name: impl Fn(A) -> &'static str) -> A {
        let word = self.word(part);
        all.iter().copied().find(|a| Some(name(*a)) == word).unwrap_or(all[0])
    }
    fn shape(&self) -> MatrixShape {
        self.attribute("shape", MatrixShape::ALL, MatrixShape::name)
    }
    fn layout(&self, part: &str, absent: Layout) -> Layout {
        match self.word(part) {
            Some("row") => Layout::Row,
            Some(_) => Layout::Col,
            None => absent,
        }
    }
    /// Registers of a matrix stand in braces, also where there is only one.
    pub(super) fn in_braces(&self, n: usize) -> Lifted {
        let operand = self.operand(n);
        match operand.kind {
            OperandKind::Vector(_) => Ok(()),
            _ if self.elements(n).len() > 1 => Ok(()),
            _ => Err(self.error_at(operand.span, "the registers of a matrix stand in braces")),
        }
    }
    pub(super) fn fragment_in(&mut self, n: usize, fragment: &Fragment) -> Result<Vec<Value>, Box<Diagnostic>> {
        self.in_braces(n)?;
        let values = self.src_elements(n, register(fragment.element()), fragment.registers(), false)?;
        Ok(values.into_iter().map(|v| self.cast(v, fragment.register())).collect())
    }
    fn fragment_out(&mut self, n: usize, fragment: &Fragment, values: &[Value]) -> Lifted {
        self.in_braces(n)?;
        let ty = register(fragment.element());
        let values: Vec<Value> = values.iter().map(|v| self.cast(*v, ty.ir)).collect();
        self.dst_elements(n, ty, &values, false)
    }

    /// A product of integers of `wmma.mma`: both factors are of the same type.
    fn integer_product(&mut self) -> Lifted {
        if self.word("atype") != self.word("btype") {
            return Err(self.error("A and B are of the same type here"));
        }
        self.product(["s32", "atype", "btype", "s32"])
    }
    /// The op of a product; `None` where there is no such selector.
    fn product_attributes(product: &Product) -> Option<Attrs> {
        let selected = *Selector::ALL.get(product.selector)?;
        let attrs = Attrs::of(Op::Mma)
            .with(product.shape)
            .with(product.types)
            .with(if product.layouts.0 == Layout::Row { LayoutA::Row } else { LayoutA::Col })
            .with(if product.layouts.1 == Layout::Col { LayoutB::Col } else { LayoutB::Row })
            .with(product.sparsity)
            .with(selected)
            .with(product.bits)
            .with(product.round)
            .with(if product.short { MatrixSum::Short } else { MatrixSum::Full })
            .with(if product.sat { Sat::Yes } else { Sat::No });
        Some(attrs)
    }
    /// A product; types are the names of parts or of types.
    fn product(&mut self, types: [&'static str; 4]) -> Lifted {
        let words = types.map(|t| self.word(t).unwrap_or(t));
        let name = words.join(".");
        let Some(types) = MatrixTypes::ALL.iter().copied().find(|t| t.name() == name) else {
            return Err(self.error(format!("there is no product of types .{name}")));
        };
        let sparsity = match self.word("variant") {
            None => Sparsity::Dense,
            Some("sp") => Sparsity::Sparse,
            Some(_) => Sparsity::Ordered,
        };
        let selector = if sparsity == Sparsity::Dense { 0 } else { self.constant_operand(5)? };
        let product = Product {
            shape: self.shape(),
            types,
            layouts: (self.layout("alayout", Layout::Row), self.layout("blayout", Layout::Col)),
            sparsity,
            selector: selector as usize,
            bits: match self.word("op") {
                None => BitProduct::None,
                Some("xor") => BitProduct::Xor,
                Some(_) => BitProduct::And,
            },
            round: match self.word("rnd") {
                Some("rz") => MatrixRound::Rz,
                Some("rm") => MatrixRound::Rm,
                Some("rp") => MatrixRound::Rp,
                _ => MatrixRound::Rn,
            },
            short: false,
            sat: self.has("satfinite"),
        };
        let Some(attrs) = Self::product_attributes(&product) else {
            return Err(self.error(format!("{selector} is no sparsity selector")));
        };
        product.check().map_err(|message| self.error(message))?;
        let [d, a, b, c] = product.fragments();
        let mut args = self.fragment_in(1, &a)?;
        args.extend(self.fragment_in(2, &b)?);
        args.extend(self.fragment_in(3, &c)?);
        if sparsity != Sparsity::Dense {
            args.push(self.src(4, Ty::known("b32"))?);
        }
        let results: Vec<Type> = d.types().collect();
        let values = self.op_many(attrs, Type::B1, &args, &results);
        self.fragment_out(0, &d, &values)
    }

    /// The fragment that an opcode moves, and the attributes that say so.
    fn moved(&mut self, op: Op, matrix: Matrix) -> Result<(Fragment, Attrs), Box<Diagnostic>> {
        let (shape, layout) = (self.shape(), self.layout("layout", Layout::Row));
        let element = self.attribute("type", Element::ALL, Element::name);
        let Some(fragment) = Fragment::in_memory(matrix, shape, element, layout) else {
            let (what, shape) = (matrix.name(), shape.name());
            let message =
                format!("there is no matrix {what} of .{} in shape .{shape}, or not so stored", element.name());
            return Err(self.error(message));
        };
        Ok((fragment, Attrs::of(op).with(shape).with(element).with(layout)))
    }
    /// The elements from one row (column) of a matrix in memory to the next.
    fn stride(&mut self, n: usize, fragment: &Fragment) -> Result<Value, Box<Diagnostic>> {
        if self.operand_count() > n {
            return self.src_u32(n);
        }
        let (rows, cols) = fragment.size();
        let default = if self.layout("layout", Layout::Row) == Layout::Row { cols } else { rows };
        Ok(self.constant(Type::I32, default as u64))
    }
    fn load_matrix(&mut self) -> Lifted {
        let matrix = self.attribute("matrix", Matrix::ALL, Matrix::name);
        let (fragment, attrs) = self.moved(Op::WmmaLoad, matrix)?;
        let address = self.address(1)?;
        let space = self.access_space(&address, self.space("ss"))?;
        let args = [address.base, self.stride(2, &fragment)?];
        let results: Vec<Type> = fragment.types().collect();
        let attrs = attrs.with(matrix).with(space);
        let values = self.op_many_imm(attrs, fragment.register(), address.offset as u64, &args, &results);
        self.fragment_out(0, &fragment, &values)
    }
    fn store_matrix(&mut self) -> Lifted {
        let (fragment, attrs) = self.moved(Op::WmmaStore, Matrix::C)?;
        let address = self.address(0)?;
        let space = self.access_space(&address, self.space("ss"))?;
        let mut args = vec![address.base, self.stride(2, &fragment)?];
        args.extend(self.fragment_in(1, &fragment)?);
        self.effect(attrs.with(space), fragment.register(), address.offset as u64, &args);
        Ok(())
    }

    /// Attributes and address of an op on tiles.
    fn tiles(&mut self, op: Op, n: usize) -> Result<(Tiles, Attrs, Value, u64), Box<Diagnostic>> {
        let tiles = self.attribute("num", Tiles::ALL, Tiles::name);
        let transpose = if self.has("trans") { Transpose::Yes } else { Transpose::No };
        let address = self.address(n)?;
        let space = self.access_space(&address, self.space("ss"))?;
        let attrs = Attrs::of(op).with(tiles).with(transpose).with(space);
        Ok((tiles, attrs, address.base, address.offset as u64))
    }
    fn load_tiles(&mut self) -> Lifted {
        let (tiles, attrs, base, offset) = self.tiles(Op::LdMatrix, 1)?;
        self.in_braces(0)?;
        let results = vec![Type::I32; tiles.count()];
        let values = self.op_many_imm(attrs, Type::I32, offset, &[base], &results);
        self.dst_elements(0, Ty::known("b32"), &values, false)
    }
    fn store_tiles(&mut self) -> Lifted {
        let (tiles, attrs, base, offset) = self.tiles(Op::StMatrix, 0)?;
        self.in_braces(1)?;
        let mut args = vec![base];
        args.extend(self.src_elements(1, Ty::known("b32"), tiles.count(), false)?);
        self.effect(attrs, Type::I32, offset, &args);
        Ok(())
    }
}
