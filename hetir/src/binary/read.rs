//! From bytes.

use super::write::opaque;
use crate::attr::{Attr, Space};
use crate::diag::Span;
use crate::entity::{Block, FuncId, GlobalId, Inst, Value};
use crate::ir::{
    BlockData, Body, DebugLine, Def, Function, FunctionKind, Global, InstData, KernelParam, LaunchBounds, Linkage,
    MAX_ATTRS, Module, Opaque, Relocation, RelocationTarget, Signature, Slice, SlotData, Target, ValueData,
};
use crate::op::Op;
use crate::types::{Scalar, Type};

/// Reads what a [`Writer`](super::Writer) wrote. Nothing comes where the bytes are none of those.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    left: &'a [u8],
}

fn behind(before: u32, distance: u64) -> Option<u32> {
    let apart = (distance >> 1) as i64 ^ -((distance & 1) as i64);
    u32::try_from(i64::from(before).checked_add(apart)?).ok()
}

impl<'a> Reader<'a> {
    /// At the beginning.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }
    /// Whether all was read.
    pub fn is_at_end(&self) -> bool {
        self.left.is_empty()
    }
    fn byte(&mut self) -> Option<u8> {
        let (first, left) = self.left.split_first()?;
        self.left = left;
        Some(*first)
    }
    /// A number.
    pub fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return None;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }
    /// A number of 32 bits.
    pub fn word(&mut self) -> Option<u32> {
        self.number()?.try_into().ok()
    }
    /// A yes or no.
    pub fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
    /// Bytes.
    pub fn field(&mut self) -> Option<&'a [u8]> {
        let count = usize::try_from(self.number()?).ok()?;
        let (field, left) = self.left.split_at_checked(count)?;
        self.left = left;
        Some(field)
    }
    /// A text.
    pub fn text(&mut self) -> Option<String> {
        String::from_utf8(self.field()?.to_vec()).ok()
    }
    /// A list.
    pub fn list<T>(&mut self, mut each: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = usize::try_from(self.number()?).ok()?;
        // Everything takes a byte at least, so that no more room is made than there can be things.
        if count > self.left.len() {
            return None;
        }
        let mut list = Vec::with_capacity(count);
        for _ in 0..count {
            list.push(each(self)?);
        }
        Some(list)
    }
    fn place(&mut self, before: &mut u32) -> Option<u32> {
        *before = behind(*before, self.number()?)?;
        Some(*before)
    }
    fn span(&mut self, before: &mut u32) -> Option<Span> {
        let start = self.place(before)?;
        Some(Span::new(start, behind(start, self.number()?)?))
    }
    fn ty(&mut self) -> Option<Type> {
        let byte = self.byte()?;
        Some(Type { scalar: *Scalar::ALL.get(usize::from(byte & 15))?, lanes: byte >> 4 })
    }
    fn three(&mut self) -> Option<[u32; 3]> {
        Some([self.word()?, self.word()?, self.word()?])
    }

    /// A module.
    pub fn module(&mut self) -> Option<Module> {
        let globals = self.list(Self::global)?;
        let functions = self.list(Self::function)?;
        let signatures = self.list(Self::signature)?;
        let files = self.list(|r| Some((r.word()?, r.text()?)))?;
        let mut before = 0;
        let lines = self.list(|r| {
            let start = r.place(&mut before)?;
            let [file, line, column] = r.three()?;
            Some(DebugLine { start, file, line, column })
        })?;
        Some(Module { functions, globals, signatures, files, lines, machine: None })
    }

    fn global(&mut self) -> Option<Global> {
        let (name, space, size, align) = (self.text()?, self.space()?, self.number()?, self.word()?);
        let (linkage, managed) = (self.linkage()?, self.flag()?);
        let relocations = self.list(Self::relocation)?;
        let opaque = self.opaque()?;
        let fields = self.list(|r| Some((r.text()?, r.text()?)))?;
        let span = self.span(&mut 0)?;
        let init = self.field()?.to_vec();
        Some(Global { name, space, size, align, linkage, managed, init, relocations, opaque, fields, span })
    }

    fn space(&mut self) -> Option<Space> {
        let byte = self.byte()?;
        Some(Space::from_byte(byte)).filter(|space| space.byte() == byte)
    }

    fn relocation(&mut self) -> Option<Relocation> {
        let offset = self.number()?;
        let target = self.number()?;
        let index = u32::try_from(target / 2).ok()? as usize;
        let target = match target % 2 {
            0 => RelocationTarget::Global(GlobalId::new(index)),
            _ => RelocationTarget::Func(FuncId::new(index)),
        };
        let addend = self.number()? as i64;
        Some(Relocation { offset, target, addend, size: self.byte()?, shift: self.byte()?, generic: self.flag()? })
    }

    fn opaque(&mut self) -> Option<Option<Opaque>> {
        let byte = self.byte()?;
        [None, Some(Opaque::Texture), Some(Opaque::Sampler), Some(Opaque::Surface)]
            .into_iter()
            .find(|kind| opaque(*kind) == byte)
    }

    fn linkage(&mut self) -> Option<Linkage> {
        Linkage::NAMES.get(usize::from(self.byte()?)).map(|(linkage, _)| *linkage)
    }

    fn signature(&mut self) -> Option<Signature> {
        Some(Signature { params: self.list(Self::ty)?, results: self.list(Self::ty)? })
    }

    fn function(&mut self) -> Option<Function> {
        let name = self.text()?;
        let kind = match self.flag()? {
            false => FunctionKind::Device,
            true => FunctionKind::Kernel { params: self.list(Self::param)?, bounds: self.bounds()? },
        };
        let linkage = self.linkage()?;
        let signature = self.signature()?;
        let slots = self.list(|r| Some(SlotData { size: r.word()?, align: r.word()? }))?;
        let span = self.span(&mut 0)?;
        let body = match self.flag()? {
            true => Some(self.body()?),
            false => None,
        };
        Some(Function { name, kind, linkage, signature, slots, body, unavailable: Vec::new(), span })
    }

    fn param(&mut self) -> Option<KernelParam> {
        let name = self.text()?;
        let [offset, size, align] = self.three()?;
        Some(KernelParam { name, offset, size, align, opaque: self.opaque()? })
    }

    fn bounds(&mut self) -> Option<LaunchBounds> {
        let (max_threads, required_threads, required_cluster) = (self.three()?, self.three()?, self.three()?);
        let [min_blocks, max_registers, max_cluster] = self.three()?;
        Some(LaunchBounds {
            max_threads,
            required_threads,
            min_blocks,
            max_registers,
            required_cluster,
            max_cluster,
            explicit_cluster: self.flag()?,
        })
    }

    fn values(&mut self) -> Option<Vec<Value>> {
        let mut before = 0;
        self.list(|r| Some(Value::new(r.place(&mut before)? as usize)))
    }

    fn slice(&mut self, end: &mut u32) -> Option<Slice> {
        let start = self.place(end)?;
        let len = self.word()?;
        *end = start.checked_add(len)?;
        Some(Slice { start, len })
    }

    fn inst(&mut self, end: &mut u32, target: &mut u32) -> Option<InstData> {
        let op = *Op::ALL.get(usize::try_from(self.number()?).ok()?)?;
        let ty = self.ty()?;
        let given = self.field()?;
        let mut attrs = [0; MAX_ATTRS];
        attrs.get_mut(..given.len())?.copy_from_slice(given);
        let imm = self.number()?;
        let (args, results, targets) = (self.slice(end)?, self.slice(end)?, self.slice(target)?);
        Some(InstData { op, ty, attrs, imm, args, results, targets })
    }

    fn body(&mut self) -> Option<Body> {
        let blocks = self.list(|r| {
            let params = r.values()?;
            let mut before = 0;
            let insts = r.list(|r| Some(Inst::new(r.place(&mut before)? as usize)))?;
            Some(BlockData { params, insts })
        })?;
        let mut before = 0;
        let values = self.list(|r| {
            let ty = r.ty()?;
            let def = r.number()?;
            let def = match def % 3 {
                0 => Def::None,
                1 => Def::Param(Block::new(u32::try_from(def / 3).ok()? as usize)),
                _ => {
                    before = behind(before, def / 3)?;
                    Def::Result(Inst::new(before as usize))
                }
            };
            Some(ValueData { ty, def })
        })?;
        let (mut end, mut target) = (0, 0);
        let insts = self.list(|r| r.inst(&mut end, &mut target))?;
        let mut before = 0;
        let spans = self.list(|r| r.span(&mut before))?;
        let pool = self.values()?;
        let mut end = 0;
        let targets =
            self.list(|r| Some(Target { block: Block::new(r.word()? as usize), args: r.slice(&mut end)? }))?;
        let body = Body { blocks, values, insts, spans, pool, targets };
        body.is_whole().then_some(body)
    }
}

impl Body {
    /// Whether everything that instructions and blocks name is there.
    fn is_whole(&self) -> bool {
        let within = |slice: Slice, count: usize| slice.start as usize + slice.len as usize <= count;
        let inst = |inst: &InstData| {
            within(inst.args, self.pool.len())
                && within(inst.results, self.pool.len())
                && within(inst.targets, self.targets.len())
        };
        let holds = |block: &BlockData| block.insts.iter().all(|inst| inst.index() < self.insts.len());
        self.spans.len() == self.insts.len()
            && self.insts.iter().all(inst)
            && self.targets.iter().all(|target| within(target.args, self.pool.len()))
            && self.blocks.iter().all(holds)
    }
}
