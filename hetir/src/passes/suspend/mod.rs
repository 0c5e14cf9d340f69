//! Suspending a kernel in the middle of its blocks, and going on elsewhere.
//!
//! From a kernel two others are made. The *suspendable* one looks at its sites whether the launch is asked to stop; a
//! thread that sees it stores what it needs and ends. The *resuming* one begins where threads have left, and can be
//! suspended again. Both are ordinary hetIR but for [`Op::StopAsked`] and [`Op::StopBarrier`], and have one parameter more: the
//! address of a [`state::Control`].
//!
//! **Sites** are the barriers of the whole block, and the ends of loops that have none. All threads of a block decide
//! alike at a barrier. At the end of a loop each decides by itself; who waits for it at a barrier learns there that it is
//! not to go on, since the barrier completes by the thread's end and the launch is asked to stop since before that. Warps
//! are different: where a thread has left in a loop, and others of its warp come to an op that needs all of them, there is a
//! site before that op, at which the warp meets and decides alike. Where that is not possible, the loop has no site.
//!
//! **No thread may wait for one that has left**: a loop that waits for other threads is a site or the kernel has none; a
//! kernel one of whose barriers cannot be a site has none.
//!
//! **What is kept** of a thread: its site, the values that are live there and cannot be computed again, and its local memory;
//! of a block its shared memory. The layout follows from the kernel alone and is the same on every device.

mod code;
mod cost;
mod resume;
mod sites;
pub mod state;
mod strip;

use crate::blocks::Blocks;
use crate::diag::Span;
use crate::entity::{Block, FuncId, Inst, Value};
use crate::ir::{Body, Function, FunctionKind, KernelParam, Module, SlotData};
use crate::types::Type;

#[cfg(doc)]
use crate::op::Op;

/// Where a kernel can stop, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Site {
    /// What is there.
    pub kind: SiteKind,
    /// Where in the source.
    pub span: Span,
    /// What is stored for a thread that stops there, and where in its frame.
    pub saved: Vec<Saved>,
    /// Values that are computed again.
    pub computed: usize,
}

/// How many sites a kernel gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Density {
    /// As many as are needed to stop within about a millisecond, so that they cost little.
    Enough,
    /// All that there can be, which tests want.
    Every,
    /// The same, but for loops that are asked every few turns only.
    Strips,
}

/// How loops are cut into strips.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Strips {
    /// By counting turns: all lanes come to the end of a strip together, which devices want that compute them as vectors.
    Counted,
    /// By a nearer bound, where a loop counts towards one: a turn is what it was, which devices want that compute each thread by itself.
    Bounded,
}

/// Kinds of sites.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum SiteKind {
    /// A barrier of the whole block.
    Barrier,
    /// The end of a loop that each thread leaves by itself.
    Loop,
    /// The end of a loop that the lanes of a warp leave together.
    WarpLoop,
    /// Before an op that the lanes of a warp execute together.
    Warp,
}

impl SiteKind {
    /// What messages call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Barrier => "barrier",
            Self::Loop => "loop",
            Self::WarpLoop => "loop of whole warps",
            Self::Warp => "warp",
        }
    }
}

/// A value in a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Saved {
    /// The value, in the kernel as it is with its sites.
    pub value: Value,
    /// Its type.
    pub ty: Type,
    /// Where in the frame.
    pub offset: u32,
}

/// Why there is no site where one might be expected.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// Where.
    pub span: Span,
    /// Why.
    pub why: String,
    /// The kernel has no sites at all for that.
    pub whole: bool,
}

/// Bytes of a frame before local memory: the block (8), the thread in it (4), the site (4).
pub const FRAME_HEADER: u32 = 16;

/// A kernel with its sites.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The sites, by number.
    pub sites: Vec<Site>,
    /// Loops and barriers without one.
    pub refusals: Vec<Refusal>,
    /// Bytes of a thread's frame.
    pub frame_bytes: u32,
    /// Bytes of local memory in it.
    pub local_bytes: u32,
    /// The kernel, or what it calls, has variables in shared memory.
    pub has_shared: bool,
    kernel: FuncId,
    module: Module,
    /// Where each site is: a block that ends in a jump behind the site.
    places: Vec<Block>,
    /// The sites at which lanes that have stored themselves there meet the others of their warp, by the block.
    meetings: Vec<Option<Block>>,
    /// Instructions that compute values again, by site, in order.
    again: Vec<Vec<Inst>>,
}

impl Plan {
    /// The sites of a kernel of a verified module when it is launched in blocks of that shape.
    pub fn of(module: &Module, kernel: FuncId, block: [u32; 3]) -> Option<Self> {
        Self::with(module, kernel, block, Density::Enough, Strips::Counted)
    }

    /// The same with as many sites as wanted, and strips of a kind.
    pub fn with(module: &Module, kernel: FuncId, block: [u32; 3], density: Density, strips: Strips) -> Option<Self> {
        let function = module.functions.get(kernel.index()).filter(|f| f.is_kernel() && f.unavailable.is_empty())?;
        function.body.as_ref()?;
        let mut module = reached(module, kernel);
        sites::enter_calls(&mut module, kernel);
        let found = sites::choose(&mut module, kernel, block, density, strips);
        let function = &module.functions[kernel.index()];
        let (_, local_bytes) = crate::ir::slot_places(&function.slots);
        let mut plan = Self {
            sites: Vec::new(),
            refusals: found.refusals,
            frame_bytes: 0,
            local_bytes,
            has_shared: has_shared(&module),
            kernel,
            places: Vec::new(),
            meetings: Vec::new(),
            again: Vec::new(),
            module,
        };
        code::lay_out(&mut plan, &found.places);
        Some(plan)
    }

    /// Instructions of the kernel itself.
    pub fn instructions(&self) -> usize {
        let body = self.module.functions[self.kernel.index()].body.iter();
        body.flat_map(|body| &body.blocks).map(|block| block.insts.len()).sum()
    }

    /// True where threads can stop in the middle.
    pub fn has_sites(&self) -> bool {
        !self.sites.is_empty()
    }

    /// A module in which the kernel is the suspendable one. Functions and variables have the numbers that they had.
    pub fn suspendable(&self) -> Module {
        self.stoppable(false)
    }

    /// The same, but the kernel asks itself to stop at one of the sites that its threads come to: the one that
    /// [`state::Control::Force`] counts to.
    pub fn forced(&self) -> Module {
        self.stoppable(true)
    }

    fn stoppable(&self, forced: bool) -> Module {
        let mut module = self.module.clone();
        let function = &mut module.functions[self.kernel.index()];
        let control = add_control(function);
        let slots = function.slots.clone();
        if let Some(body) = function.body.as_mut() {
            code::stop_at_sites(self, body, control, &slots, forced);
        }
        module
    }

    /// A module in which the kernel is the resuming one, for threads that have left at these sites. `forced` as above.
    pub fn resuming(&self, used: &[u32], forced: bool) -> Module {
        let mut module = self.stoppable(forced);
        let control = self.control_offset();
        let function = &mut module.functions[self.kernel.index()];
        let slots = function.slots.clone();
        if let Some(body) = function.body.as_mut() {
            resume::begin_at_sites(self, body, control, &slots, used);
        }
        module
    }

    /// Where the address of the control block stands in the parameters of the two, and how many bytes these have.
    pub fn control_place(&self) -> (u32, u32) {
        let offset = self.control_offset();
        (offset, offset + 8)
    }

    fn control_offset(&self) -> u32 {
        self.module.functions[self.kernel.index()].param_bytes().next_multiple_of(8)
    }

    /// Bytes of shared memory of a block with so much dynamic shared memory, as far as it must be kept.
    pub fn shared_bytes(&self, dynamic: u32) -> u64 {
        match self.has_shared {
            true => crate::interp::SharedLayout::of(&self.module, self.kernel).total(dynamic),
            false => 0,
        }
    }

    /// The blocks to run when these were suspended and those not begun, which may be among the suspended ones, too. Who may be
    /// waited for comes first.
    pub fn blocks(state: &state::State, unstarted: &[std::ops::Range<u64>]) -> Blocks {
        let mut ranges: Vec<std::ops::Range<u64>> = state.blocks.keys().map(|b| *b..b + 1).collect();
        for range in unstarted {
            let mut from = range.start;
            for (&block, _) in state.blocks.range(range.clone()) {
                ranges.push(from..block);
                from = block + 1;
            }
            ranges.push(from..range.end);
        }
        Blocks::some(ranges)
    }
}

/// Whether a loop of a kernel has no end, or one that depends on what other threads do.
pub fn may_be_endless(module: &Module, kernel: FuncId) -> bool {
    module.functions.get(kernel.index()).and_then(|f| f.body.as_ref()).is_some_and(sites::may_be_endless)
}

/// The parameter that says where the control block is.
fn add_control(function: &mut Function) -> u32 {
    let offset = function.param_bytes().next_multiple_of(8);
    if let FunctionKind::Kernel { params, .. } = &mut function.kind {
        params.push(KernelParam { name: "hetgpu_control".into(), offset, size: 8, align: 8, opaque: None });
    }
    offset
}

/// The module without what the kernel does not reach.
fn reached(module: &Module, kernel: FuncId) -> Module {
    let mut keep = vec![false; module.functions.len()];
    let mut work = vec![kernel.index()];
    let in_memory = module.globals.iter().flat_map(|g| &g.relocations).filter_map(|r| match r.target {
        crate::ir::RelocationTarget::Func(f) => Some(f.index()),
        crate::ir::RelocationTarget::Global(_) => None,
    });
    while let Some(f) = work.pop() {
        if keep.get(f).is_none_or(|k| *k) {
            continue;
        }
        keep[f] = true;
        let Some(body) = &module.functions[f].body else { continue };
        for data in body.blocks.iter().flat_map(|b| &b.insts).map(|i| body.inst(*i)) {
            match data.op {
                crate::op::Op::Call | crate::op::Op::FuncAddr => work.push(data.imm as usize),
                crate::op::Op::CallIndirect => work.extend(in_memory.clone()),
                _ => {}
            }
        }
    }
    let functions = module.functions.iter().zip(keep).map(|(f, keep)| match keep {
        true => f.clone(),
        false => Function {
            signature: f.signature.clone(),
            linkage: f.linkage,
            unavailable: f.unavailable.clone(),
            span: f.span,
            ..Function::new(f.name.clone(), f.kind.clone())
        },
    });
    Module {
        functions: functions.collect(),
        globals: module.globals.clone(),
        signatures: module.signatures.clone(),
        files: module.files.clone(),
        lines: module.lines.clone(),
        machine: module.machine.clone(),
    }
}

fn has_shared(module: &Module) -> bool {
    let bodies = module.functions.iter().filter_map(|f| f.body.as_ref());
    bodies.into_iter().any(|body| {
        body.blocks.iter().flat_map(|b| &b.insts).map(|i| body.inst(*i)).any(|data| {
            data.op == crate::op::Op::GlobalAddr
                && module.globals.get(data.imm as usize).is_some_and(|g| g.space == crate::attr::Space::Shared)
        })
    })
}

/// Where slots begin in local space, and their bytes.
fn local_range(slots: &[SlotData]) -> Option<u32> {
    let (_, end) = crate::ir::slot_places(slots);
    (end > 0).then_some(end)
}

/// Splits a block before an instruction: what follows goes to a new block, which the old one jumps to.
fn split(body: &mut Body, block: Block, place: usize) -> Block {
    let rest = body.blocks[block.index()].insts.split_off(place);
    let span = rest.first().map(|i| body.spans[i.index()]).unwrap_or_default();
    let behind = body.add_block();
    body.blocks[behind.index()].insts = rest;
    crate::build::Builder { span, ..crate::build::Builder::new(body, block) }.jump(behind, &[]);
    behind
}
