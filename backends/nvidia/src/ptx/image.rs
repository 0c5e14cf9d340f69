//! Textures and surfaces, named by handles in registers.

use super::function::{Printer, Printing, bits_name, float_name};
use super::memory::vector;
use super::text::{Class, Operand, Reg};
use hetir::attr::{
    AtomOp, Cache, Component, Coordinates, DepthCompare, Geometry, ImageKind, ImageQuery, Lod, Outside,
    SeparateSampler, SurfaceUnit, TexelOffset,
};
use hetir::entity::{Inst, Value};
use hetir::ir::InstData;
use hetir::op::Op;
use hetir::types::{Scalar, Type};

/// A vector of 1, 2 or 4 elements.
fn padded(mut all: Vec<Operand>) -> Operand {
    if all.len() == 3 {
        all.push(all[2].clone());
    }
    Operand::Vector(all)
}

impl Printer<'_, '_> {
    /// A handle: a value, or what stands in the variable that the value is the address of.
    fn handle(&mut self, value: Value) -> Reg {
        let handle = self.reg(value);
        if !self.names_variable(value) {
            return handle;
        }
        let held = self.fresh(Type::I64);
        self.code.put("ld.global.nc.b64", held, [Operand::at(handle, 0)]);
        held
    }
    fn names_variable(&self, value: Value) -> bool {
        let Some((inst, data)) = self.def(value) else { return false };
        match data.op {
            Op::GlobalAddr => true,
            Op::IAdd => self.body.args(inst).iter().any(|v| self.names_variable(*v)),
            _ => false,
        }
    }

    /// Whether the data is resident, behind the components where somebody wants it.
    fn texel(&mut self, inst: Inst) -> Operand {
        let results = self.body.results(inst);
        let texel = Operand::Vector((1..results.len()).map(|n| self.result(inst, n).into()).collect());
        if self.uses(results[0]) == 0 {
            return texel;
        }
        let resident = self.result(inst, 0);
        Operand::pair(texel, resident)
    }

    pub(super) fn texture(&mut self, inst: Inst, data: &InstData) -> Printing {
        let args = self.body.args(inst).to_vec();
        let geometry = data.attr::<Geometry>();
        let gather = data.op == Op::TexGather;
        let mut at = 0;
        let mut parts = vec![Operand::Reg(self.handle(args[at]))];
        at += 1;
        if data.attr::<SeparateSampler>() == SeparateSampler::Yes {
            self.cx.separate_samplers = true;
            parts.push(self.handle(args[at]).into());
            at += 1;
        }
        let mut take = |p: &mut Self, count: usize| -> Vec<Operand> {
            let taken = args[at..at + count].iter().map(|v| p.reg(*v).into()).collect();
            at += count;
            taken
        };
        let dimensions = geometry.dimensions();
        let places = usize::from(geometry.is_layered()) + usize::from(geometry.has_samples()) + dimensions;
        let place = take(self, places);
        parts.push(padded(place));
        let mut operands = vec![Operand::Image(parts)];
        let lod = if gather { Lod::Base } else { data.attr() };
        match lod {
            Lod::Base => {}
            Lod::Level => operands.extend(take(self, 1)),
            Lod::Grad => {
                for _ in 0..2 {
                    let derivative = take(self, dimensions);
                    operands.push(padded(derivative));
                }
            }
        }
        if data.attr::<TexelOffset>() == TexelOffset::Yes {
            let offset = take(self, dimensions);
            operands.push(padded(offset));
        }
        if data.attr::<DepthCompare>() == DepthCompare::Yes {
            let depth = self.code.reg(Class::Single);
            let value = take(self, 1);
            self.code.put_free("mov.f32", depth, value);
            operands.push(depth.into());
        }
        let to = self.texel(inst);
        let ty = match data.ty.scalar {
            Scalar::I32 => "u32",
            _ => float_name(data.ty),
        };
        let shape = geometry.name();
        let head = if gather {
            let component = match data.attr::<Component>() {
                Component::R => "r",
                Component::G => "g",
                Component::B => "b",
                Component::A => "a",
            };
            format!("tld4.{component}.{shape}.v4.{ty}.f32")
        } else {
            let level = match lod {
                Lod::Base => "",
                Lod::Level => ".level",
                Lod::Grad => ".grad",
            };
            let coordinates = if data.attr::<Coordinates>() == Coordinates::Texel { "s32" } else { "f32" };
            let vec = if data.ty.lanes > 1 { "v2" } else { "v4" };
            format!("tex{level}.{shape}.{vec}.{ty}.{coordinates}")
        };
        self.code.put(&head, to, operands);
        Ok(())
    }

    pub(super) fn image_query(&mut self, inst: Inst, data: &InstData) -> Printing {
        let args = self.body.args(inst);
        let (to, handle) = (self.result(inst, 0), self.handle(args[0]));
        let query = data.attr::<ImageQuery>();
        let mut operands = vec![Operand::at(handle, 0)];
        let mut head = match query {
            ImageQuery::MemoryLayout => "suq",
            _ => "txq",
        }
        .to_string();
        if self.constant(args[1]) != Some(0) {
            if !matches!(query, ImageQuery::Width | ImageQuery::Height | ImageQuery::Depth) {
                return self.no_form(data);
            }
            head.push_str(".level");
            operands.push(self.word(args[1]));
        }
        self.code.put(&format!("{head}.{}.b32", query.name()), to, operands);
        Ok(())
    }

    pub(super) fn is_image(&mut self, inst: Inst, data: &InstData) -> Printing {
        let kind = match data.attr::<ImageKind>() {
            ImageKind::Texture => "texref",
            ImageKind::Sampler => "samplerref",
            ImageKind::Surface => "surfref",
        };
        let (to, handle) = (self.result(inst, 0), self.reg(self.body.args(inst)[0]));
        self.code.put(&format!("istypep.{kind}"), to, [handle.into()]);
        Ok(())
    }

    pub(super) fn surface(&mut self, inst: Inst, data: &InstData) -> Printing {
        let args = self.body.args(inst).to_vec();
        let geometry = data.attr::<Geometry>();
        let handle = self.handle(args[0]);
        let mut place: Vec<Operand> = args[1..1 + geometry.dimensions()].iter().map(|v| self.reg(*v).into()).collect();
        if geometry.is_layered() {
            place.insert(0, self.reg(args[3]).into());
        }
        let image = Operand::Image(vec![handle.into(), padded(place)]);
        let outside = match data.attr::<Outside>() {
            Outside::Trap => "trap",
            Outside::Clamp => "clamp",
            Outside::Zero => "zero",
        };
        let shape = geometry.name();
        let unit = if data.attr::<SurfaceUnit>() == SurfaceUnit::Texels { "p" } else { "b" };
        let cache = match data.op {
            Op::SurfRed => String::new(),
            _ if data.attr::<Cache>() == Cache::None => String::new(),
            _ => format!(".{}", data.attr::<Cache>().name()),
        };
        let vec = |count: usize| match count {
            1 => "",
            2 => ".v2",
            _ => ".v4",
        };
        match data.op {
            Op::SurfLoad => {
                let count = self.body.results(inst).len();
                let to = vector((0..count).map(|n| self.result(inst, n).into()).collect());
                let head = format!("suld.b.{shape}{cache}{}.{}.{outside}", vec(count), bits_name(data.ty));
                self.code.act(&head, [to], [image]);
            }
            Op::SurfStore => {
                let values: Vec<Operand> = args[4..].iter().map(|v| self.reg(*v).into()).collect();
                let (vec, ty) = (vec(values.len()), bits_name(data.ty));
                let head = format!("sust.{unit}.{shape}{cache}{vec}.{ty}.{outside}");
                self.code.act(&head, [], [image, vector(values)]);
            }
            _ => {
                let value = self.reg(args[4]);
                let bits = data.ty.bits();
                let texels = unit == "p";
                let (name, ty) = match data.attr::<AtomOp>() {
                    AtomOp::Add => ("add", if texels { "b" } else { "u" }),
                    AtomOp::And => ("and", "b"),
                    AtomOp::Or => ("or", "b"),
                    AtomOp::SMin => ("min", if texels { "b" } else { "s" }),
                    AtomOp::SMax => ("max", if texels { "b" } else { "s" }),
                    AtomOp::UMin => ("min", if texels { "b" } else { "u" }),
                    AtomOp::UMax => ("max", if texels { "b" } else { "u" }),
                    _ => return self.no_form(data),
                };
                let head = format!("sured.{unit}.{name}.{shape}.{ty}{bits}.{outside}");
                self.code.act(&head, [], [image, value.into()]);
            }
        }
        Ok(())
    }
}
