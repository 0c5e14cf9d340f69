//! Modules, functions, blocks and instructions.

use crate::attr::{Attr, AttrKind, Policy, Space};
use crate::diag::{Diagnostic, Span};
use crate::entity::{Block, FuncId, GlobalId, Inst, SigId, Slot, Value};
use crate::op::{Imm, Op};
use crate::types::Type;
use std::sync::Arc;

/// Most attributes that an op has.
pub const MAX_ATTRS: usize = 12;

/// A compilation unit.
#[derive(Clone, Debug, Default)]
pub struct Module {
    /// Functions, kernels among them.
    pub functions: Vec<Function>,
    /// Module variables.
    pub globals: Vec<Global>,
    /// Signatures of indirect calls.
    pub signatures: Vec<Signature>,
    /// Source files by the number that lines use.
    pub files: Vec<(u32, String)>,
    /// Lines of the program's own source, sorted by where they begin in the text that spans refer to.
    pub lines: Vec<DebugLine>,
    /// What devices of one kind run as it is. The functions of such a module are declarations, and it has no variables.
    pub machine: Option<Arc<MachineCode>>,
}

/// Machine code of which nothing else is there: no other kind of device runs it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MachineCode {
    /// The file that holds it.
    pub image: Vec<u8>,
    /// What it is for, as users know it.
    pub target: String,
    /// Names of its variables, which lie where the device puts them.
    pub variables: Vec<String>,
}

/// From this place of the text on, instructions come from this line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DebugLine {
    /// Byte offset in the text that spans refer to.
    pub start: u32,
    /// Number of a file of the module.
    pub file: u32,
    /// Line, from 1.
    pub line: u32,
    /// Column.
    pub column: u32,
}

impl Module {
    /// The function of this name.
    pub fn function(&self, name: &str) -> Option<FuncId> {
        self.functions.iter().position(|f| f.name == name).map(FuncId::new)
    }
    /// The module variable of this name.
    pub fn global(&self, name: &str) -> Option<GlobalId> {
        self.globals.iter().position(|g| g.name == name).map(GlobalId::new)
    }
    /// The signature, added where it is new.
    pub fn signature(&mut self, signature: Signature) -> SigId {
        let index = self.signatures.iter().position(|s| *s == signature).unwrap_or_else(|| {
            self.signatures.push(signature);
            self.signatures.len() - 1
        });
        SigId::new(index)
    }
}

/// Types of parameters and results.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Signature {
    /// Parameters.
    pub params: Vec<Type>,
    /// Results.
    pub results: Vec<Type>,
}

/// Who sees a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Linkage {
    /// This module.
    #[default]
    Local,
    /// Every module.
    Visible,
    /// Every module, and another definition wins.
    Weak,
    /// Every module; definitions of the same name are one variable.
    Common,
    /// Defined elsewhere.
    Extern,
}

impl Linkage {
    /// Spellings, the silent default first.
    pub const NAMES: [(Self, &'static str); 5] = [
        (Self::Local, ""),
        (Self::Visible, "visible"),
        (Self::Weak, "weak"),
        (Self::Common, "common"),
        (Self::Extern, "extern"),
    ];
    /// Its spelling.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(l, _)| *l == self).map_or("", |(_, n)| n)
    }
}

/// A module variable.
#[derive(Clone, PartialEq, Debug)]
pub struct Global {
    /// Its name.
    pub name: String,
    /// `global`, `const` or `shared`.
    pub space: Space,
    /// Size in bytes; 0 for an open-ended `extern` shared array, which is as long as the launch's dynamic memory.
    pub size: u64,
    /// Alignment in bytes, a power of two.
    pub align: u32,
    /// Who sees it.
    pub linkage: Linkage,
    /// Also accessible to the host at the same address.
    pub managed: bool,
    /// Initial bytes; the rest is zero.
    pub init: Vec<u8>,
    /// Addresses that are written into the initial bytes.
    pub relocations: Vec<Relocation>,
    /// What kind of opaque reference it is, if it is one.
    pub opaque: Option<Opaque>,
    /// Properties of an opaque reference, by name.
    pub fields: Vec<(String, String)>,
    /// Where it is declared.
    pub span: Span,
}

/// References to textures, samplers and surfaces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opaque {
    /// A texture reference.
    Texture,
    /// A sampler reference.
    Sampler,
    /// A surface reference.
    Surface,
}

/// An address inside an initial value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Relocation {
    /// Where in the variable.
    pub offset: u64,
    /// Of what.
    pub target: RelocationTarget,
    /// Added to the address.
    pub addend: i64,
    /// How many bytes are written: 1 to 8.
    pub size: u8,
    /// By how many bits the address is shifted right first (sub-byte masks).
    pub shift: u8,
    /// The generic address, not the one in the variable's own space.
    pub generic: bool,
}

/// What a relocation refers to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RelocationTarget {
    /// A module variable.
    Global(GlobalId),
    /// A function.
    Func(FuncId),
}

/// A parameter of a kernel, in the bytes that a launch is given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KernelParam {
    /// Its name.
    pub name: String,
    /// Where it begins.
    pub offset: u32,
    /// Its size in bytes.
    pub size: u32,
    /// Its alignment.
    pub align: u32,
    /// What kind of opaque reference it is, if it is one.
    pub opaque: Option<Opaque>,
}

/// What a kernel asks of its launches. Zero: nothing asked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LaunchBounds {
    /// Most threads a block, by dimension.
    pub max_threads: [u32; 3],
    /// Exact threads a block.
    pub required_threads: [u32; 3],
    /// Least resident blocks.
    pub min_blocks: u32,
    /// Registers a thread.
    pub max_registers: u32,
    /// Exact blocks a cluster.
    pub required_cluster: [u32; 3],
    /// Most blocks a cluster.
    pub max_cluster: u32,
    /// Launched in clusters also where none is asked for.
    pub explicit_cluster: bool,
}

/// What a function is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FunctionKind {
    /// Called from other functions.
    Device,
    /// Launched. Parameters are bytes in `param` space.
    Kernel {
        /// Parameters.
        params: Vec<KernelParam>,
        /// What its launches must keep to.
        bounds: LaunchBounds,
    },
}

/// A function.
#[derive(Clone, Debug)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Kernel or not.
    pub kind: FunctionKind,
    /// Who sees it.
    pub linkage: Linkage,
    /// Parameters and results; a kernel has none.
    pub signature: Signature,
    /// Pieces of local memory.
    pub slots: Vec<SlotData>,
    /// The body; `None` where it is only declared.
    pub body: Option<Body>,
    /// Why it cannot be used, where it was refused.
    pub unavailable: Vec<Diagnostic>,
    /// Where it is defined.
    pub span: Span,
}

impl Function {
    /// A declaration.
    pub fn new(name: impl Into<String>, kind: FunctionKind) -> Self {
        Self {
            name: name.into(),
            kind,
            linkage: Linkage::Visible,
            signature: Signature::default(),
            slots: Vec::new(),
            body: None,
            unavailable: Vec::new(),
            span: Span::default(),
        }
    }
    /// True for a kernel.
    pub fn is_kernel(&self) -> bool {
        matches!(self.kind, FunctionKind::Kernel { .. })
    }
    /// Bytes of a launch's parameters.
    pub fn param_bytes(&self) -> u32 {
        match &self.kind {
            FunctionKind::Kernel { params, .. } => params.iter().map(|p| p.offset + p.size).max().unwrap_or(0),
            FunctionKind::Device => 0,
        }
    }
    /// What a kernel asks of its launches.
    pub fn kernel_bounds(&self) -> Option<&LaunchBounds> {
        match &self.kind {
            FunctionKind::Kernel { bounds, .. } => Some(bounds),
            FunctionKind::Device => None,
        }
    }
    /// A kernel's parameters.
    pub fn kernel_params(&self) -> &[KernelParam] {
        match &self.kind {
            FunctionKind::Kernel { params, .. } => params,
            FunctionKind::Device => &[],
        }
    }
}

/// Size and alignment of a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlotData {
    /// Bytes.
    pub size: u32,
    /// A power of two.
    pub align: u32,
}

/// Where a kernel's first slot may begin in local space, so that a null pointer into it is one. It is the same on every
/// device, since addresses of slots are kept by a thread that moves.
pub const LOCAL_START: u32 = 64;

/// Where the slots of an activation lie behind its beginning, and where they end: whole words, so that words can be copied.
pub fn slot_places(slots: &[SlotData]) -> (Vec<u32>, u32) {
    let mut end = 0u32;
    let places = slots.iter().map(|slot| {
        let place = end.checked_next_multiple_of(slot.align.max(4)).unwrap_or(u32::MAX);
        end = place.saturating_add(slot.size);
        place
    });
    let places = places.collect();
    (places, end.checked_next_multiple_of(4).unwrap_or(u32::MAX))
}

/// Where a value comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Def {
    /// A parameter of a block.
    Param(Block),
    /// A result of an instruction.
    Result(Inst),
    /// Nothing: the value is not used, or not defined yet.
    None,
}

/// Type and origin of a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ValueData {
    /// Its type.
    pub ty: Type,
    /// Its origin.
    pub def: Def,
}

/// A part of a pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Slice {
    pub(crate) start: u32,
    pub(crate) len: u32,
}

impl Slice {
    fn range(self) -> std::ops::Range<usize> {
        self.start as usize..(self.start + self.len) as usize
    }
}

/// An instruction. Operands, results and targets are in pools of the body.
#[derive(Clone, Copy, Debug)]
pub struct InstData {
    /// The op.
    pub op: Op,
    /// The controlling type; `b1` where the op has none.
    pub ty: Type,
    /// Attributes, in the order of the op's row.
    pub attrs: [u8; MAX_ATTRS],
    /// The immediate; what it is stands in the op's row.
    pub imm: u64,
    pub(crate) args: Slice,
    pub(crate) results: Slice,
    pub(crate) targets: Slice,
}

impl InstData {
    /// An instruction that no body holds, without operands: what its attributes say can be asked.
    pub fn alone(op: Op, ty: Type, attrs: [u8; MAX_ATTRS], imm: u64) -> Self {
        let none = Slice::default();
        Self { op, ty, attrs, imm, args: none, results: none, targets: none }
    }
    /// The attribute of this kind; its first variant where the op has no such attribute.
    pub fn attr<A: Attr>(&self) -> A {
        let place = self.op.info().attrs.iter().position(|k| *k == A::KIND);
        A::from_byte(place.map_or(0, |p| self.attrs[p]))
    }
}

/// Where control goes, and the values handed to the block's parameters.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The block.
    pub block: Block,
    pub(crate) args: Slice,
}

/// Parameters and instructions of a block. The last instruction is the only terminator.
#[derive(Clone, Debug, Default)]
pub struct BlockData {
    /// Parameters.
    pub params: Vec<Value>,
    /// Instructions.
    pub insts: Vec<Inst>,
}

/// The blocks of a function. Block 0 is the entry; its parameters are the function's.
#[derive(Clone, Debug, Default)]
pub struct Body {
    /// Blocks.
    pub blocks: Vec<BlockData>,
    /// Values.
    pub values: Vec<ValueData>,
    /// Instructions, also such as no block holds any more.
    pub insts: Vec<InstData>,
    /// Where each instruction comes from.
    pub spans: Vec<Span>,
    pub(crate) pool: Vec<Value>,
    pub(crate) targets: Vec<Target>,
}

impl Body {
    /// The entry block.
    pub const ENTRY: Block = Block::new(0);

    /// Adds an empty block.
    pub fn add_block(&mut self) -> Block {
        self.blocks.push(BlockData::default());
        Block::new(self.blocks.len() - 1)
    }
    /// Adds a parameter to a block.
    pub fn add_param(&mut self, block: Block, ty: Type) -> Value {
        let value = self.add_value(ty, Def::Param(block));
        self.blocks[block.index()].params.push(value);
        value
    }
    /// Adds a value.
    pub fn add_value(&mut self, ty: Type, def: Def) -> Value {
        self.values.push(ValueData { ty, def });
        Value::new(self.values.len() - 1)
    }
    fn put(&mut self, values: &[Value]) -> Slice {
        let start = self.pool.len() as u32;
        self.pool.extend_from_slice(values);
        Slice { start, len: values.len() as u32 }
    }
    /// Makes an instruction with fresh results of the types given; it is in no block yet.
    pub fn make(
        &mut self,
        op: Op,
        ty: Type,
        attrs: [u8; MAX_ATTRS],
        imm: u64,
        args: &[Value],
        results: &[Type],
        span: Span,
    ) -> Inst {
        let inst = Inst::new(self.insts.len());
        let args = self.put(args);
        let start = self.pool.len() as u32;
        for &ty in results {
            let value = self.add_value(ty, Def::Result(inst));
            self.pool.push(value);
        }
        let results = Slice { start, len: results.len() as u32 };
        self.insts.push(InstData { op, ty, attrs, imm, args, results, targets: Slice::default() });
        self.spans.push(span);
        inst
    }
    /// Makes an instruction whose results exist already (the text format names them).
    pub fn make_with_results(
        &mut self,
        op: Op,
        ty: Type,
        attrs: [u8; MAX_ATTRS],
        imm: u64,
        args: &[Value],
        results: &[Value],
        span: Span,
    ) -> Inst {
        let inst = self.make(op, ty, attrs, imm, args, &[], span);
        for &r in results {
            self.values[r.index()].def = Def::Result(inst);
        }
        let results = self.put(results);
        self.insts[inst.index()].results = results;
        inst
    }
    /// Appends an instruction to a block.
    pub fn append(&mut self, block: Block, inst: Inst) {
        self.blocks[block.index()].insts.push(inst);
    }
    /// An instruction.
    pub fn inst(&self, inst: Inst) -> &InstData {
        &self.insts[inst.index()]
    }
    /// Its operands.
    pub fn args(&self, inst: Inst) -> &[Value] {
        &self.pool[self.insts[inst.index()].args.range()]
    }
    /// Its operands, to be changed.
    pub fn args_mut(&mut self, inst: Inst) -> &mut [Value] {
        &mut self.pool[self.insts[inst.index()].args.range()]
    }
    /// Its results.
    pub fn results(&self, inst: Inst) -> &[Value] {
        &self.pool[self.insts[inst.index()].results.range()]
    }
    /// Its targets.
    pub fn targets(&self, inst: Inst) -> &[Target] {
        &self.targets[self.insts[inst.index()].targets.range()]
    }
    /// Its targets, to be changed.
    pub fn targets_mut(&mut self, inst: Inst) -> &mut [Target] {
        let range = self.insts[inst.index()].targets.range();
        &mut self.targets[range]
    }
    /// The values that a target hands over.
    pub fn target_args(&self, target: Target) -> &[Value] {
        &self.pool[target.args.range()]
    }
    /// The values that an instruction's n-th target hands over, to be changed.
    pub fn target_args_mut(&mut self, inst: Inst, n: usize) -> &mut [Value] {
        let range = self.targets(inst)[n].args.range();
        &mut self.pool[range]
    }
    /// Replaces the values that an instruction's n-th target hands over.
    pub fn set_target_args(&mut self, inst: Inst, n: usize, args: &[Value]) {
        let args = self.put(args);
        self.targets_mut(inst)[n].args = args;
    }
    /// Gives an instruction its targets.
    pub fn set_targets(&mut self, inst: Inst, targets: &[(Block, &[Value])]) {
        let start = self.targets.len() as u32;
        for (block, args) in targets {
            let args = self.put(args);
            self.targets.push(Target { block: *block, args });
        }
        self.insts[inst.index()].targets = Slice { start, len: targets.len() as u32 };
    }
    /// Replaces an instruction's operands.
    pub fn set_args(&mut self, inst: Inst, args: &[Value]) {
        let args = self.put(args);
        self.insts[inst.index()].args = args;
    }
    /// The type of a value.
    pub fn ty(&self, value: Value) -> Type {
        self.values[value.index()].ty
    }
    /// The last instruction of a block.
    pub fn terminator(&self, block: Block) -> Option<Inst> {
        self.blocks[block.index()].insts.last().copied()
    }
    /// Where control may go from a block.
    pub fn successors(&self, block: Block) -> impl Iterator<Item = Block> + '_ {
        self.terminator(block).into_iter().flat_map(|t| self.targets(t).iter().map(|t| t.block))
    }
    /// All blocks.
    pub fn block_ids(&self) -> impl Iterator<Item = Block> + use<> {
        (0..self.blocks.len()).map(Block::new)
    }
    /// The bits of a value that is a constant.
    pub fn constant(&self, value: Value) -> Option<u64> {
        match self.values[value.index()].def {
            Def::Result(inst) if self.inst(inst).op == Op::Const => Some(self.inst(inst).imm),
            _ => None,
        }
    }
    /// The operands of an instruction without a trailing cache policy, and the policy.
    pub fn args_and_policy(&self, inst: Inst) -> (&[Value], Option<Value>) {
        let args = self.args(inst);
        match (self.inst(inst).attr::<Policy>(), args.split_last()) {
            (Policy::Yes, Some((&policy, rest))) => (rest, Some(policy)),
            _ => (args, None),
        }
    }
    /// Drops the blocks that control cannot reach and numbers the others anew, in their order. What the dropped ones
    /// defined is left without an origin.
    pub fn remove_unreachable(&mut self) {
        let mut reached = vec![false; self.blocks.len()];
        let mut work = vec![Self::ENTRY];
        while let Some(block) = work.pop() {
            if std::mem::replace(&mut reached[block.index()], true) {
                continue;
            }
            work.extend(self.successors(block));
        }
        if reached.iter().all(|r| *r) {
            return;
        }
        let mut new = Vec::with_capacity(reached.len());
        let mut count = 0;
        for &r in &reached {
            new.push(Block::new(count));
            count += usize::from(r);
        }
        for (n, _) in reached.iter().enumerate().filter(|(_, r)| !**r) {
            let dropped = std::mem::take(&mut self.blocks[n]);
            let results = dropped.insts.iter().flat_map(|&i| self.results(i).to_vec()).collect::<Vec<_>>();
            for value in dropped.params.into_iter().chain(results) {
                self.values[value.index()].def = Def::None;
            }
        }
        // Parameters and targets that nothing uses any more may name blocks that were dropped before.
        let renumber = |block: Block| new.get(block.index()).copied().unwrap_or(Self::ENTRY);
        for value in &mut self.values {
            if let Def::Param(block) = &mut value.def {
                *block = renumber(*block);
            }
        }
        for target in &mut self.targets {
            target.block = renumber(target.block);
        }
        let mut n = 0;
        self.blocks.retain(|_| {
            n += 1;
            reached[n - 1]
        });
    }
    /// Replaces values everywhere by what the map says.
    pub fn replace_values(&mut self, map: impl Fn(Value) -> Value) {
        for inst in 0..self.insts.len() {
            for a in &mut self.pool[self.insts[inst].args.range()] {
                *a = map(*a);
            }
        }
        for t in 0..self.targets.len() {
            for a in &mut self.pool[self.targets[t].args.range()] {
                *a = map(*a);
            }
        }
    }
}

/// Bytes of attributes from a list of (kind, byte), placed as the op's row orders them. Kinds that the op does not
/// have are an error of the caller and are left out; the verifier cannot see them.
pub fn attr_bytes(op: Op, list: &[(AttrKind, u8)]) -> [u8; MAX_ATTRS] {
    let mut bytes = [0; MAX_ATTRS];
    for (kind, byte) in list {
        let place = op.info().attrs.iter().position(|k| k == kind);
        debug_assert!(place.is_some(), "{op:?} has no {kind:?}");
        if let Some(place) = place {
            bytes[place] = *byte;
        }
    }
    bytes
}

/// True where the op's immediate names an entity that must exist.
pub fn imm_is_entity(op: Op) -> bool {
    matches!(op.info().imm, Imm::Global | Imm::Func | Imm::Slot | Imm::Sig)
}

/// The slot that an immediate names.
pub fn imm_slot(imm: u64) -> Slot {
    Slot::new(imm as usize)
}
