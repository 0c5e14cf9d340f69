//! Textures and surfaces. A texture, sampler or surface is named by its handle in a 64-bit register, or by a variable.

use super::{Form, Lifted, form};
use crate::ast::{Operand, OperandKind};
use crate::lift::{Kind, Lifter, Ty};
use hetir::attr::{
    AtomOp, Cache, Component, Coordinates, DepthCompare, Geometry, ImageKind, ImageQuery, Lod, Outside,
    SeparateSampler, Sign, Space, SurfaceUnit, TexelOffset,
};
use hetir::build::Attrs;
use hetir::diag::Diagnostic;
use hetir::entity::Value;
use hetir::op::Op;
use hetir::types::Type;

const GEOMETRY: &str = "geom=1d 2d 3d a1d a2d cube acube 2dms a2dms";
const LEVEL_GEOMETRY: &str = "geom=1d 2d 3d a1d a2d cube acube";
const SURFACE: &str = "geom=1d 2d 3d a1d a2d";
const DIMENSIONS: &str = "geom=1d 2d 3d";
const DTYPE: &str = "dtype=u32 s32 f16 f32";
const CTYPE: &str = "ctype=s32 f32";
const VEC: &str = "vec=v2 v4";
const BITS: &str = "type=b8 b16 b32 b64";
const MODE: &str = "mode=trap clamp zero";

pub(crate) const FORMS: &[Form] = &[
    form("tex{.base}.geom.v4.dtype.ctype d{|p}, [a]{, e}{, f}", &[GEOMETRY, DTYPE, CTYPE], |c| c.tex(Lod::Base)),
    form("tex{.base}.geom.v2.f16x2.ctype d{|p}, [a]{, e}{, f}", &[GEOMETRY, CTYPE], |c| c.tex(Lod::Base)),
    form("tex.level.geom.v4.dtype.ctype d{|p}, [a], lod{, e}{, f}", &[LEVEL_GEOMETRY, DTYPE, CTYPE], |c| {
        c.tex(Lod::Level)
    }),
    form("tex.level.geom.v2.f16x2.ctype d{|p}, [a], lod{, e}{, f}", &[LEVEL_GEOMETRY, CTYPE], |c| c.tex(Lod::Level)),
    form("tex.grad.geom.v4.dtype.ctype d{|p}, [a], dx, dy{, e}{, f}", &[LEVEL_GEOMETRY, DTYPE, CTYPE], |c| {
        c.tex(Lod::Grad)
    }),
    form("tex.grad.geom.v2.f16x2.ctype d{|p}, [a], dx, dy{, e}{, f}", &[LEVEL_GEOMETRY, CTYPE], |c| c.tex(Lod::Grad)),
    form(
        "tld4.comp.geom.v4.dtype.f32 d{|p}, [a]{, e}{, f}",
        &["comp=r g b a", "geom=2d a2d cube acube", "dtype=u32 s32 f32"],
        |c| c.gather(),
    ),
    form(
        "txq.query.b32 d, [a]",
        &["query=width height depth channel_data_type channel_order normalized_coords array_size num_mipmap_levels \
             num_samples force_unnormalized_coords filter_mode addr_mode_0 addr_mode_1 addr_mode_2"],
        |c| c.image_query(),
    ),
    form("txq.level.query.b32 d, [a], lod", &["query=width height depth"], |c| c.image_query()),
    form(
        "suq.query.b32 d, [a]",
        &["query=width height depth channel_data_type channel_order array_size memory_layout"],
        |c| c.image_query(),
    ),
    form("istypep.type p, a", &["type=texref samplerref surfref"], |c| {
        let kind = match c.word("type") {
            Some("texref") => ImageKind::Texture,
            Some("samplerref") => ImageKind::Sampler,
            _ => ImageKind::Surface,
        };
        let handle = c.src(1, Ty::known("u64"))?;
        let is = c.op(Attrs::of(Op::IsImage).with(kind), Type::I64, &[handle]);
        c.dst(0, Ty::known("pred"), is)
    }),
    form("suld.b.geom{.cop}{.vec}.type.mode d, [a]", &[SURFACE, "cop=ca cg cs cv", VEC, BITS, MODE], |c| {
        let ty = c.part_ty("type")?;
        let (args, attrs) = c.surface(Op::SurfLoad)?;
        let results = vec![ty.ir; c.surface_count()];
        let values = c.op_many(attrs, ty.ir, &args, &results);
        c.dst_elements(0, ty, &values, true)
    }),
    form("sust.b.geom{.cop}{.vec}.type.mode [a], c", &[SURFACE, "cop=wb cg cs wt", VEC, BITS, MODE], |c| {
        c.surface_store(SurfaceUnit::Bytes)
    }),
    form("sust.p.geom{.vec}.type.mode [a], c", &[DIMENSIONS, VEC, "type=b32", MODE], |c| {
        c.surface_store(SurfaceUnit::Texels)
    }),
    form("sured.b.add.geom.type.mode [a], c", &[DIMENSIONS, "type=u32 s32 u64", MODE], |c| {
        c.surface_reduction(SurfaceUnit::Bytes)
    }),
    form("sured.b.op.geom.type.mode [a], c", &["op=min max", DIMENSIONS, "type=u32 s32 u64 s64", MODE], |c| {
        c.surface_reduction(SurfaceUnit::Bytes)
    }),
    form("sured.b.op.geom.type.mode [a], c", &["op=and or", DIMENSIONS, "type=b32", MODE], |c| {
        c.surface_reduction(SurfaceUnit::Bytes)
    }),
    form("sured.p.op.geom.type.mode [a], c", &["op=add and or", DIMENSIONS, "type=b32", MODE], |c| {
        c.surface_reduction(SurfaceUnit::Texels)
    }),
    form("sured.p.op.geom.type.mode [a], c", &["op=min max", DIMENSIONS, "type=b32 b64", MODE], |c| {
        c.surface_reduction(SurfaceUnit::Texels)
    }),
];

type Values = Result<Vec<Value>, Box<Diagnostic>>;

impl Lifter<'_, '_> {
    fn geometry(&self) -> Geometry {
        let word = self.word("geom");
        Geometry::ALL.iter().copied().find(|g| Some(g.name()) == word).unwrap_or(Geometry::D1)
    }
    /// What names a texture, sampler or surface: a handle, or the address of a variable that holds one.
    fn handle(&mut self, operand: Operand) -> Result<Value, Box<Diagnostic>> {
        let address = self.address_of(operand)?;
        if address.space == Some(Space::Param) {
            let load = Attrs::of(Op::Load).with(Space::Param);
            return Ok(self.op_many_imm(load, Type::I64, address.offset as u64, &[address.base], &[Type::I64])[0]);
        }
        Ok(self.add_offset(address))
    }
    /// The parts of `[a, c]` or `[a, b, c]`.
    fn image_parts(&self, n: usize, most: usize) -> Result<Vec<Operand>, Box<Diagnostic>> {
        let operand = self.operand(n);
        match operand.kind {
            OperandKind::MemList(range) if range.len as usize <= most => Ok(self.code.operands(range).to_vec()),
            _ => Err(self.error_at(operand.span, "a handle and coordinates are needed here")),
        }
    }
    /// Reads a vector of 1, 2 or 4 elements, of which `count` have a meaning.
    fn coordinates(&mut self, operand: Operand, types: &[Ty]) -> Values {
        let elements = self.elements_of(operand);
        let count = if types.len() == 3 { 4 } else { types.len() };
        if elements.len() != count {
            return Err(
                self.error_at(operand.span, format!("{count} values are needed here, found {}", elements.len()))
            );
        }
        elements.into_iter().zip(types).map(|(e, ty)| self.read(e, *ty, false)).collect()
    }
    /// Texture, sampler, layer, sample and coordinates; and whether there is a sampler.
    fn texture_operands(&mut self, geometry: Geometry, coordinate: Ty) -> Result<(Vec<Value>, bool), Box<Diagnostic>> {
        let parts = self.image_parts(1, 3)?;
        let mut types = Vec::new();
        types.extend(geometry.is_layered().then_some(Ty::known("u32")));
        types.extend(geometry.has_samples().then_some(Ty::known("u32")));
        types.extend(vec![coordinate; geometry.dimensions()]);
        let mut args = Vec::new();
        for part in &parts[..parts.len() - 1] {
            args.push(self.handle(*part)?);
        }
        let separate = args.len() > 1;
        args.extend(self.coordinates(parts[parts.len() - 1], &types)?);
        Ok((args, separate))
    }
    /// Offsets and depth: the operands from the n-th on. Which a lone scalar is, its type says.
    fn texture_options(
        &mut self,
        n: usize,
        geometry: Geometry,
        args: &mut Vec<Value>,
    ) -> Result<(TexelOffset, DepthCompare), Box<Diagnostic>> {
        let (mut offset, mut compare) = (TexelOffset::No, DepthCompare::No);
        for n in n..self.operand_count() {
            let operand = self.operand(n);
            let is_float = match operand.kind {
                OperandKind::Reg { reg, .. } => {
                    let declared = self.function.var(self.code.regs[reg.index()].var);
                    declared.lanes == 1 && Ty::of_declared(declared.ty) == Type::F32
                }
                OperandKind::F32(_) | OperandKind::F64(_) => true,
                _ => false,
            };
            let last = n + 1 == self.operand_count();
            if last && (is_float || offset == TexelOffset::Yes) {
                args.push(self.read(operand, Ty::known("f32"), false)?);
                compare = DepthCompare::Yes;
            } else if offset == TexelOffset::No && !geometry.is_cube() {
                let types = vec![Ty::known("s32"); geometry.dimensions()];
                args.extend(self.coordinates(operand, &types)?);
                offset = TexelOffset::Yes;
            } else {
                return Err(self.error_at(operand.span, "neither an offset nor a depth can stand here"));
            }
        }
        Ok((offset, compare))
    }
    /// Writes residency and components.
    fn dst_texel(&mut self, ty: Ty, results: &[Value]) -> Lifted {
        let (texel, resident) = self.pair(0);
        self.write(resident, Ty::known("pred"), results[0], false)?;
        if matches!(texel.kind, OperandKind::Sink) {
            return Ok(());
        }
        let elements = self.elements_of(texel);
        if elements.len() + 1 != results.len() {
            let message = format!("{} registers are needed here, found {}", results.len() - 1, elements.len());
            return Err(self.error_at(texel.span, message));
        }
        elements.into_iter().zip(&results[1..]).try_for_each(|(e, value)| self.write(e, ty, *value, false))
    }
    fn tex(&mut self, lod: Lod) -> Lifted {
        let geometry = self.geometry();
        let coordinate = self.part_ty("ctype")?;
        let texels = coordinate.kind == Kind::Integer;
        if geometry.is_cube() && texels {
            return Err(self.error("a cube's coordinates are .f32"));
        }
        if geometry.has_samples() && !texels {
            return Err(self.error("coordinates of samples are .s32"));
        }
        let (mut args, separate) = self.texture_operands(geometry, coordinate)?;
        let mut next = 2;
        match lod {
            Lod::Base => {}
            Lod::Level => {
                args.push(self.src(2, coordinate)?);
                next = 3;
            }
            Lod::Grad => {
                let types = vec![Ty::known("f32"); geometry.dimensions()];
                for n in 2..4 {
                    let operand = self.operand(n);
                    args.extend(self.coordinates(operand, &types)?);
                }
                next = 4;
            }
        }
        let (offset, compare) = self.texture_options(next, geometry, &mut args)?;
        if compare == DepthCompare::Yes && (texels || geometry == Geometry::D3) {
            return Err(self.error("a depth is compared at .f32 coordinates of a texture that is not .3d"));
        }
        let pairs = self.has("f16x2");
        let ty = if pairs { Ty::known("f16x2") } else { self.part_ty("dtype")? };
        let mut results = vec![Type::B1];
        results.extend(vec![ty.ir; if pairs { 2 } else { 4 }]);
        let attrs = Attrs::of(Op::Tex)
            .with(geometry)
            .with(if texels { Coordinates::Texel } else { Coordinates::Float })
            .with(lod)
            .with(if separate { SeparateSampler::Yes } else { SeparateSampler::No })
            .with(offset)
            .with(compare);
        let results = self.op_many(attrs, ty.ir, &args, &results);
        self.dst_texel(ty, &results)
    }
    fn gather(&mut self) -> Lifted {
        let (geometry, ty) = (self.geometry(), self.part_ty("dtype")?);
        let component = match self.word("comp") {
            Some("r") => Component::R,
            Some("g") => Component::G,
            Some("b") => Component::B,
            _ => Component::A,
        };
        let (mut args, separate) = self.texture_operands(geometry, Ty::known("f32"))?;
        let (offset, compare) = self.texture_options(2, geometry, &mut args)?;
        let attrs = Attrs::of(Op::TexGather)
            .with(geometry)
            .with(component)
            .with(if separate { SeparateSampler::Yes } else { SeparateSampler::No })
            .with(offset)
            .with(compare);
        let results = self.op_many(attrs, ty.ir, &args, &[Type::B1, ty.ir, ty.ir, ty.ir, ty.ir]);
        self.dst_texel(ty, &results)
    }
    fn image_query(&mut self) -> Lifted {
        let word = self.word("query");
        let query = ImageQuery::ALL.iter().copied().find(|q| Some(q.name()) == word).unwrap_or(ImageQuery::Width);
        let operand = self.operand(1);
        let handle = self.handle(operand)?;
        let level = if self.has("level") { self.src_u32(2)? } else { self.constant(Type::I32, 0) };
        let value = self.op(Attrs::of(Op::ImageQuery).with(query), Type::I32, &[handle, level]);
        self.dst(0, Ty::known("b32"), value)
    }

    /// How many values a surface access moves.
    fn surface_count(&self) -> usize {
        match self.word("vec") {
            Some("v2") => 2,
            Some("v4") => 4,
            _ => 1,
        }
    }
    /// Surface and coordinates, and the attributes that all accesses have.
    fn surface(&mut self, op: Op) -> Result<(Vec<Value>, Attrs), Box<Diagnostic>> {
        let geometry = self.geometry();
        let n = usize::from(op == Op::SurfLoad);
        let parts = self.image_parts(n, 2)?;
        let layers = usize::from(geometry.is_layered());
        let types = vec![Ty::known("s32"); geometry.dimensions() + layers];
        let mut given = self.coordinates(parts[1], &types)?;
        if layers == 1 {
            // The layer stands first, and comes last in the op.
            given.rotate_left(1);
        }
        let zero = self.constant(Type::I32, 0);
        let mut args = vec![self.handle(parts[0])?, zero, zero, zero];
        let last = given.len() - 1;
        for (d, value) in given.into_iter().enumerate() {
            args[if layers == 1 && d == last { 3 } else { d + 1 }] = value;
        }
        let outside = match self.word("mode") {
            Some("clamp") => Outside::Clamp,
            Some("zero") => Outside::Zero,
            _ => Outside::Trap,
        };
        let attrs = Attrs::of(op).with(geometry).with(outside);
        if op == Op::SurfRed {
            return Ok((args, attrs));
        }
        let word = self.word("cop");
        let cache = Cache::ALL.iter().copied().find(|c| Some(c.name()) == word).unwrap_or(Cache::None);
        if self.part_ty("type")?.ir.bytes() as usize * self.surface_count() > 16 {
            return Err(self.error("one access of a surface has 16 bytes at most"));
        }
        Ok((args, attrs.with(cache)))
    }
    fn surface_store(&mut self, unit: SurfaceUnit) -> Lifted {
        let ty = self.part_ty("type")?;
        let (mut args, attrs) = self.surface(Op::SurfStore)?;
        let count = self.surface_count();
        args.extend(self.src_elements(1, ty, count, true)?);
        self.effect(attrs.with(unit), ty.ir, 0, &args);
        Ok(())
    }
    fn surface_reduction(&mut self, unit: SurfaceUnit) -> Lifted {
        let ty = self.part_ty("type")?;
        let (mut args, attrs) = self.surface(Op::SurfRed)?;
        let op = match (self.word("op"), ty.sign) {
            (Some("and"), _) => AtomOp::And,
            (Some("or"), _) => AtomOp::Or,
            (Some("min"), Sign::S) => AtomOp::SMin,
            (Some("min"), Sign::U) => AtomOp::UMin,
            (Some("max"), Sign::S) => AtomOp::SMax,
            (Some("max"), Sign::U) => AtomOp::UMax,
            _ => AtomOp::Add,
        };
        args.push(self.src(1, ty)?);
        self.effect(attrs.with(unit).with(op), ty.ir, 0, &args);
        Ok(())
    }
}
