//! To bytes.

use crate::attr::Attr;
use crate::diag::Span;
use crate::entity::Value;
use crate::ir::{
    Body, Def, Function, FunctionKind, Global, KernelParam, LaunchBounds, Linkage, Module, Opaque, RelocationTarget,
    Signature, Slice,
};
use crate::types::Type;

/// Writes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Writer {
    /// What was written.
    pub bytes: Vec<u8>,
}

/// The distance from one number to another, as a number that is small where it is.
fn distance(from: u32, to: u32) -> u64 {
    let apart = i64::from(to) - i64::from(from);
    ((apart << 1) ^ (apart >> 63)) as u64
}

pub(super) const fn opaque(opaque: Option<Opaque>) -> u8 {
    match opaque {
        None => 0,
        Some(Opaque::Texture) => 1,
        Some(Opaque::Sampler) => 2,
        Some(Opaque::Surface) => 3,
    }
}

impl Writer {
    /// A number.
    pub fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }
    /// A yes or no.
    pub fn flag(&mut self, flag: bool) {
        self.bytes.push(flag.into());
    }
    /// Bytes, with their count.
    pub fn field(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }
    /// A text.
    pub fn text(&mut self, text: &str) {
        self.field(text.as_bytes());
    }
    /// A list, with its count.
    pub fn list<T>(&mut self, list: &[T], mut each: impl FnMut(&mut Self, &T)) {
        self.number(list.len() as u64);
        list.iter().for_each(|item| each(self, item));
    }
    fn place(&mut self, before: &mut u32, place: u32) {
        self.number(distance(std::mem::replace(before, place), place));
    }
    fn span(&mut self, before: &mut u32, span: Span) {
        self.place(before, span.start);
        self.number(distance(span.start, span.end));
    }
    fn ty(&mut self, ty: Type) {
        self.bytes.push(ty.scalar as u8 | ty.lanes << 4);
    }
    fn three(&mut self, numbers: [u32; 3]) {
        numbers.iter().for_each(|n| self.number((*n).into()));
    }

    /// A module, without machine code.
    pub fn module(&mut self, module: &Module) {
        let Module { functions, globals, signatures, files, lines, machine: _ } = module;
        self.list(globals, Self::global);
        self.list(functions, Self::function);
        self.list(signatures, Self::signature);
        self.list(files, |w, (number, name)| {
            w.number((*number).into());
            w.text(name);
        });
        let mut before = 0;
        self.list(lines, |w, line| {
            w.place(&mut before, line.start);
            w.three([line.file, line.line, line.column]);
        });
    }

    /// A variable.
    pub fn global(&mut self, global: &Global) {
        self.global_outline(global);
        self.field(&global.init);
    }

    /// A variable without its initial bytes.
    pub fn global_outline(&mut self, global: &Global) {
        let Global { name, space, size, align, linkage, managed, init: _, relocations, opaque: kind, fields, span } =
            global;
        self.text(name);
        self.bytes.push(space.byte());
        self.number(*size);
        self.number((*align).into());
        self.linkage(*linkage);
        self.flag(*managed);
        self.list(relocations, |w, r| {
            w.number(r.offset);
            match r.target {
                RelocationTarget::Global(global) => w.number(2 * global.index() as u64),
                RelocationTarget::Func(function) => w.number(2 * function.index() as u64 + 1),
            }
            w.number(r.addend as u64);
            w.bytes.extend([r.size, r.shift, r.generic.into()]);
        });
        self.bytes.push(opaque(*kind));
        self.list(fields, |w, (name, value)| {
            w.text(name);
            w.text(value);
        });
        self.span(&mut 0, *span);
    }

    fn linkage(&mut self, linkage: Linkage) {
        let place = Linkage::NAMES.iter().position(|(known, _)| *known == linkage);
        self.bytes.push(place.unwrap_or_default() as u8);
    }

    /// Types of parameters and results.
    pub fn signature(&mut self, signature: &Signature) {
        self.list(&signature.params, |w, ty| w.ty(*ty));
        self.list(&signature.results, |w, ty| w.ty(*ty));
    }

    /// A function, without the reasons why it was refused.
    pub fn function(&mut self, function: &Function) {
        self.outline(function);
        self.flag(function.body.is_some());
        if let Some(body) = &function.body {
            self.body(body);
        }
    }

    /// A function without its body.
    pub fn outline(&mut self, function: &Function) {
        let Function { name, kind, linkage, signature, slots, body: _, unavailable: _, span } = function;
        self.text(name);
        self.flag(function.is_kernel());
        match kind {
            FunctionKind::Device => {}
            FunctionKind::Kernel { params, bounds } => {
                self.list(params, Self::param);
                self.bounds(bounds);
            }
        }
        self.linkage(*linkage);
        self.signature(signature);
        self.list(slots, |w, slot| {
            w.number(slot.size.into());
            w.number(slot.align.into());
        });
        self.span(&mut 0, *span);
    }

    fn param(&mut self, param: &KernelParam) {
        let KernelParam { name, offset, size, align, opaque: kind } = param;
        self.text(name);
        self.three([*offset, *size, *align]);
        self.bytes.push(opaque(*kind));
    }

    fn bounds(&mut self, bounds: &LaunchBounds) {
        let LaunchBounds {
            max_threads,
            required_threads,
            min_blocks,
            max_registers,
            required_cluster,
            max_cluster,
            explicit_cluster,
        } = bounds;
        self.three(*max_threads);
        self.three(*required_threads);
        self.three(*required_cluster);
        self.three([*min_blocks, *max_registers, *max_cluster]);
        self.flag(*explicit_cluster);
    }

    fn values(&mut self, before: &mut u32, values: &[Value]) {
        self.list(values, |w, value| w.place(before, value.index() as u32));
    }

    /// A part of the pool, by its distance from the end of the one before.
    fn slice(&mut self, end: &mut u32, slice: Slice) {
        self.place(end, slice.start);
        self.number(slice.len.into());
        *end = slice.start.wrapping_add(slice.len);
    }

    fn body(&mut self, body: &Body) {
        let Body { blocks, values, insts, spans, pool, targets } = body;
        self.list(blocks, |w, block| {
            w.values(&mut 0, &block.params);
            let mut before = 0;
            w.list(&block.insts, |w, inst| w.place(&mut before, inst.index() as u32));
        });
        let mut before = 0;
        self.list(values, |w, value| {
            w.ty(value.ty);
            match value.def {
                Def::None => w.number(0),
                Def::Param(block) => w.number(3 * block.index() as u64 + 1),
                Def::Result(inst) => {
                    let inst = inst.index() as u32;
                    w.number(3 * distance(std::mem::replace(&mut before, inst), inst) + 2);
                }
            }
        });
        let (mut end, mut target) = (0, 0);
        self.list(insts, |w, inst| {
            w.number(inst.op as u64);
            w.ty(inst.ty);
            let last = inst.attrs.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            w.field(&inst.attrs[..last]);
            w.number(inst.imm);
            w.slice(&mut end, inst.args);
            w.slice(&mut end, inst.results);
            w.slice(&mut target, inst.targets);
        });
        let mut before = 0;
        self.list(spans, |w, span| w.span(&mut before, *span));
        self.values(&mut 0, pool);
        let mut end = 0;
        self.list(targets, |w, target| {
            w.number(target.block.index() as u64);
            w.slice(&mut end, target.args);
        });
    }
}
