//! From hetIR to LLVM: see "The CPU device" in ARCHITECTURE.md.
//!
//! A function of hetIR becomes one of LLVM, which the lanes of a warp execute together, or one lane alone. Values that
//! are used in another block than their own pass through variables, which LLVM turns into values again.

mod approx;
mod atomic;
mod call;
mod convert;
mod copy;
mod float;
mod flow;
mod int;
mod matrix;
mod memory;
mod multiple;
mod plan;
mod rows;
mod shape;
mod space;
mod stack;
mod turns;
mod value;
mod wait;
mod warp;

use crate::abi::Warp;
use crate::host::{CompileError, Form, Machine, Needs, Shape as Launch, reached_functions};
use crate::sys::{Blk, Code, Emit, Ty, Val};
use hetir::analysis::cfg::Cfg;
use hetir::analysis::dom::{Dominators, PostDominators};
use hetir::analysis::live::{Liveness, defining_blocks};
use hetir::analysis::loops::{LoopForest, LoopId};
use hetir::analysis::uniform::{Assumptions, Uniform};
use hetir::attr::Space;
use hetir::entity::{Block, FuncId, Inst, Value};
use hetir::interp::SharedLayout;
use hetir::ir::{Body, Function, Module};
use hetir::op::Op;
use hetir::passes;
use inkwell::context::Context;
use plan::{Facts, Mask, Plan};
use shape::{Shape, Shapes};
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::mem::offset_of;

/// A kernel in LLVM's form.
#[derive(Debug)]
pub(crate) struct Lowered<'c> {
    /// The module; its one visible function is [`crate::abi::ENTRY`].
    pub(crate) module: inkwell::module::Module<'c>,
    pub(crate) needs: Needs,
}

/// Frames begin at multiples of it.
const LOCAL_START: u32 = hetir::ir::LOCAL_START;

/// Why a function cannot be lowered.
type Result<T> = std::result::Result<T, CompileError>;

fn unsupported<T>(what: impl Into<String>) -> Result<T> {
    Err(CompileError::Unsupported(what.into()))
}

/// What all functions of a kernel share.
struct Unit<'m, 'c> {
    e: Emit<'c>,
    module: &'m Module,
    kernel: FuncId,
    shape: &'m Launch,
    /// AVX-512 F, BW, DQ and VL; half precision arithmetic.
    avx512: bool,
    half: bool,
    /// Dot products of bytes.
    byte_products: bool,
    /// Conversions between f16 and f32.
    half_conversions: bool,
    vector_bits: u32,
    layout: SharedLayout,
    /// 32, or 1 for one lane at a time.
    lanes: u32,
    /// The kernel has to do with the other blocks of its cluster.
    clusters: bool,
    /// Functions that are called and have no body yet.
    wanted: RefCell<Vec<FuncId>>,
    made: RefCell<HashSet<FuncId>>,
    needs: Cell<Needs>,
    sums: matrix::Plans,
}

/// Lowers a kernel and what it calls.
pub(crate) fn kernel<'c>(
    context: &'c Context,
    module: &Module,
    kernel: FuncId,
    shape: &Launch,
    machine: &Machine,
) -> Result<Lowered<'c>> {
    let out = context.create_module("kernel");
    let module = &*threads_end_in_kernels(module);
    let clusters = knows_clusters(module, kernel);
    let unit = Unit {
        e: Emit::new(context, &out),
        module,
        kernel,
        shape,
        avx512: ["avx512f", "avx512bw", "avx512dq", "avx512vl"].iter().all(|f| machine.has(f)),
        half: machine.has("avx512fp16"),
        byte_products: machine.has("avx512vnni"),
        half_conversions: machine.has("f16c"),
        vector_bits: machine.vector_bits,
        layout: SharedLayout::of(module, kernel),
        lanes: if shape.form == Form::Warp { 32 } else { 1 },
        clusters,
        wanted: RefCell::new(vec![kernel]),
        made: RefCell::default(),
        needs: Cell::new(Needs { clusters, ..Needs::default() }),
        sums: matrix::Plans::default(),
    };
    loop {
        let Some(next) = unit.wanted.borrow_mut().pop() else { break };
        if unit.made.borrow_mut().insert(next) {
            unit.function(next)?;
        }
    }
    let needs = unit.needs.get();
    drop(unit);
    Ok(Lowered { module: out, needs })
}

/// The module, in which no function but a kernel ends a thread.
fn threads_end_in_kernels(module: &Module) -> Cow<'_, Module> {
    let ends = |f: &Function| {
        let insts = f.body.iter().flat_map(|body| body.blocks.iter().flat_map(|b| &b.insts).map(|i| body.inst(*i).op));
        !f.is_kernel() && insts.into_iter().any(|op| op == Op::Exit)
    };
    if !module.functions.iter().any(ends) {
        return Cow::Borrowed(module);
    }
    let mut changed = module.clone();
    passes::return_exits::run(&mut changed);
    Cow::Owned(changed)
}

/// Whether a kernel does anything with the other blocks of its cluster.
fn knows_clusters(module: &Module, kernel: FuncId) -> bool {
    let functions = reached_functions(module, kernel);
    let bodies = functions.iter().filter_map(|id| module.functions.get(id.index())?.body.as_ref());
    bodies.into_iter().any(|body| {
        body.blocks.iter().flat_map(|b| &b.insts).map(|i| body.inst(*i)).any(|data| match data.op {
            Op::MapRank
            | Op::RankOf
            | Op::ClusterArrive
            | Op::ClusterWait
            | Op::BulkMulticast
            | Op::BulkSend
            | Op::BulkReduceSend => true,
            _ => data.attr::<Space>() == Space::Cluster,
        })
    })
}

impl<'m, 'c> Unit<'m, 'c> {
    fn need(&self, change: impl FnOnce(&mut Needs)) {
        let mut needs = self.needs.get();
        change(&mut needs);
        self.needs.set(needs);
    }

    fn function(&self, id: FuncId) -> Result<()> {
        let mut function = Cow::Borrowed(&self.module.functions[id.index()]);
        if function.body.as_ref().is_some_and(has_two_entries) {
            function.to_mut().body.as_mut().map(passes::reduce_loops::run);
        }
        if function.body.as_ref().is_some_and(passes::group_products::has_any) {
            function.to_mut().body.as_mut().map(passes::group_products::run);
        }
        let function = &*function;
        let Some(body) = function.body.as_ref() else {
            return unsupported(format!("a call of {}, which has no body", function.name));
        };
        let cfg = Cfg::of(body);
        let dom = Dominators::of(&cfg);
        let post = PostDominators::of(&cfg);
        let loops = LoopForest::of(&cfg, &dom);
        let definitions = defining_blocks(body);
        let assumptions = Assumptions { block: Some(self.shape.block), lockstep: true };
        let uniform = (self.lanes > 1).then(|| Uniform::under(assumptions, function, &cfg, &post, &loops));
        let leaving = leaving(body, &cfg, &dom);
        let facts = Facts {
            leaving: &leaving,
            cfg: &cfg,
            dom: &dom,
            post: &post,
            loops: &loops,
            uniform: uniform.as_ref(),
            definitions: &definitions,
        };
        let plan = Plan::of(&facts);
        let shapes = Shapes::of(body, &facts, self.shape.block, self.clusters);
        if self.lanes > 1 && wait::lanes_wait(body, &facts, &plan, &shapes) {
            self.need(|n| n.lanes_wait = true);
        }
        let live = Liveness::of(body, &cfg);
        Lowering::new(self, id, function, body, &facts, &plan, &shapes, &live)?.run()
    }
}

/// Blocks that control comes to only where the launch is asked to stop.
fn leaving(body: &Body, cfg: &Cfg, dom: &Dominators) -> HashSet<Block> {
    let asks = |value: Value| {
        let mut at = value;
        while let hetir::ir::Def::Result(inst) = body.values[at.index()].def {
            match body.inst(inst).op {
                Op::StopAsked | Op::StopBarrier => return true,
                Op::Vote => at = body.args(inst)[0],
                _ => return false,
            }
        }
        false
    };
    let order = cfg.order();
    let branches = order.iter().filter_map(|b| body.terminator(*b)).filter(|t| body.inst(*t).op == Op::BrIf);
    let firsts = branches.filter(|t| asks(body.args(*t)[0])).map(|t| body.targets(t)[0].block);
    let firsts: Vec<Block> = firsts.filter(|b| cfg.predecessors(*b).len() == 1).collect();
    order.iter().copied().filter(|b| firsts.iter().any(|first| dom.dominates(*first, *b))).collect()
}

/// Whether a loop is entered at more than one block.
fn has_two_entries(body: &Body) -> bool {
    let cfg = Cfg::of(body);
    LoopForest::of(&cfg, &Dominators::of(&cfg)).is_irreducible()
}

/// One function under way.
struct Lowering<'u, 'm, 'c> {
    unit: &'u Unit<'m, 'c>,
    e: &'u Emit<'c>,
    id: FuncId,
    function: &'u Function,
    body: &'u Body,
    facts: &'u Facts<'u>,
    plan: &'u Plan,
    shapes: &'u Shapes,
    live: &'u Liveness,
    lanes: u32,
    /// LLVM's function, its first block, and the warp that it is given.
    code: Val<'c>,
    entry: Blk<'c>,
    warp: Val<'c>,
    /// Where the block's shared memory, the kernel's parameters, the warp's local memory and the table of module
    /// variables begin.
    shared: Val<'c>,
    params: Val<'c>,
    local: Val<'c>,
    globals: Val<'c>,
    /// Where the function's local memory begins.
    frame: Val<'c>,
    /// Where each lane's stack ends, where the function moves it.
    top: Option<Val<'c>>,
    /// Places of slots in it, and its end.
    slots: Vec<u32>,
    frame_end: u32,
    /// The lanes that entered; none where all 32 are known to be there.
    entered: Option<Val<'c>>,
    /// Values used in other blocks than their own.
    crossing: HashSet<Value>,
    /// Values that anything uses.
    used: HashSet<Value>,
    /// Variables of values, as seen from outside the loop if one is named.
    variables: HashMap<(Value, Option<LoopId>), Val<'c>>,
    /// Variables of blocks' masks.
    masks: HashMap<Block, Val<'c>>,
    /// Masks while the block is executed and behind it.
    kept: HashMap<Block, Val<'c>>,
    /// Where operands of what is done out of line lie meanwhile.
    rare: [Cell<Option<Val<'c>>>; 3],
    /// Memory for helpers' operands and results, by columns.
    areas: HashMap<(u8, u64), Val<'c>>,
    /// What lanes return.
    results: Vec<Val<'c>>,
    /// Where each block begins: with the test of its mask, and behind it.
    blocks: Vec<(Blk<'c>, Blk<'c>)>,
    checks: BTreeMap<LoopId, Blk<'c>>,
    /// Loops whose lanes take turns, and the turn that this code is for.
    in_turns: BTreeSet<LoopId>,
    turn: Option<turns::Turn<'c>>,
    end: Blk<'c>,
    // The block under way.
    block: Block,
    /// The lanes that execute it; none for all 32.
    mask: Option<Val<'c>>,
    /// Values as they are held, as vectors, and with canonical NaN, so far as they have been made in this block.
    held: HashMap<Value, Val<'c>>,
    vectors: HashMap<Value, Val<'c>>,
    strict: HashMap<Value, Val<'c>>,
    factors: matrix::Factors<'c>,
}

impl<'u, 'm, 'c> Lowering<'u, 'm, 'c> {
    fn new(
        unit: &'u Unit<'m, 'c>,
        id: FuncId,
        function: &'u Function,
        body: &'u Body,
        facts: &'u Facts<'u>,
        plan: &'u Plan,
        shapes: &'u Shapes,
        live: &'u Liveness,
    ) -> Result<Self> {
        let e = &unit.e;
        let (code, frame_is_given) = unit.declare(id);
        let entry = e.block(code, "entry");
        e.at(entry);
        let warp = e.param(code, 0);
        let pointer = |offset: usize| {
            let at = e.offset(warp, e.int_ty(64).int(offset as u64));
            e.load_invariant(e.ptr(), at, 8)
        };
        let shared = pointer(offset_of!(Warp, shared));
        let params = pointer(offset_of!(Warp, params));
        let local = pointer(offset_of!(Warp, local));
        let globals = pointer(offset_of!(Warp, globals));
        let (slots, end) = hetir::ir::slot_places(&function.slots);
        let frame_end = end.checked_next_multiple_of(LOCAL_START).unwrap_or(u32::MAX);
        let i32t = e.int_ty(32);
        let frame = if frame_is_given { e.param(code, 2) } else { i32t.int(LOCAL_START.into()) };
        let largest = function.slots.iter().map(|slot| slot.align).max().unwrap_or(1);
        let frame = if largest > LOCAL_START {
            let up = e.bin(Code::LLVMAdd, frame, i32t.int(u64::from(largest) - 1));
            e.bin(Code::LLVMAnd, up, i32t.int(!(u64::from(largest) - 1)))
        } else {
            frame
        };
        let mut lowering = Self {
            unit,
            e,
            id,
            function,
            body,
            facts,
            plan,
            shapes,
            live,
            lanes: unit.lanes,
            code,
            entry,
            warp,
            shared,
            params,
            local,
            globals,
            frame,
            top: None,
            slots,
            frame_end,
            entered: None,
            crossing: HashSet::new(),
            used: HashSet::new(),
            variables: HashMap::new(),
            masks: HashMap::new(),
            areas: HashMap::new(),
            kept: HashMap::new(),
            rare: Default::default(),
            results: Vec::new(),
            blocks: Vec::new(),
            checks: BTreeMap::new(),
            in_turns: BTreeSet::new(),
            turn: None,
            end: e.block(code, "end"),
            block: Body::ENTRY,
            mask: None,
            held: HashMap::new(),
            vectors: HashMap::new(),
            strict: HashMap::new(),
            factors: matrix::Factors::default(),
        };
        lowering.find_crossing();
        Ok(lowering)
    }

    fn find_crossing(&mut self) {
        for &block in &self.plan.order {
            for &inst in &self.body.blocks[block.index()].insts {
                hetir::analysis::live::for_each_use(self.body, inst, |v| {
                    self.used.insert(v);
                    if self.facts.definitions[v.index()] != Some(block) {
                        self.crossing.insert(v);
                    }
                    // What a distance refers to is used wherever the value is.
                    if let Shape::Affine(a) = self.shapes.get(v) {
                        self.crossing.extend(a.values());
                    }
                });
            }
        }
    }

    fn run(mut self) -> Result<()> {
        let e = self.e;
        let kernel = self.function.is_kernel();
        self.entered = if self.lanes == 1 {
            None
        } else if !kernel {
            Some(e.param(self.code, 1))
        } else if self.unit.shape.block.iter().product::<u32>() % 32 == 0 {
            None
        } else {
            let bits = self.warp_field(e.int_ty(32), offset_of!(Warp, mask));
            Some(e.cast(Code::LLVMBitCast, bits, e.int_ty(1).vector(32)))
        };
        let count = self.body.blocks.len();
        for n in 0..count {
            let guard = e.block(self.code, &format!("block{n}"));
            let own = matches!(self.plan.masks[n], Mask::Own) && self.lanes > 1;
            let inside = if own { e.block(self.code, &format!("block{n}.lanes")) } else { guard };
            self.blocks.push((guard, inside));
        }
        for l in self.facts.loops.ids() {
            if self.plan.divergent[l.index()] {
                let check = e.block(self.code, &format!("check{}", l.index()));
                self.checks.insert(l, check);
            }
        }
        self.enter(kernel)?;
        self.find_turns();
        for &block in &self.plan.order {
            let inside = self.facts.loops.innermost(block).filter(|l| self.in_turns.contains(l));
            match inside {
                Some(l) if self.facts.loops.get(l).header == block => {
                    self.begin(block);
                    self.take_turns(l)?;
                }
                Some(_) => {}
                None => self.lower_block(block)?,
            }
        }
        // Nothing leads to the others.
        for n in (0..count).filter(|n| !self.facts.cfg.is_reachable(Block::new(*n))) {
            let (guard, inside) = self.blocks[n];
            e.at(guard);
            e.unreachable();
            if matches!(self.plan.masks[n], Mask::Own) && self.lanes > 1 {
                e.at(inside);
                e.unreachable();
            }
        }
        self.finish();
        Ok(())
    }

    fn lower_block(&mut self, block: Block) -> Result<()> {
        self.begin(block);
        let insts = &self.body.blocks[block.index()].insts;
        let Some((&last, others)) = insts.split_last() else { return unsupported("an empty block") };
        for &inst in others {
            self.instruction(inst)?;
        }
        self.terminator(last)
    }

    fn instruction(&mut self, inst: Inst) -> Result<()> {
        let data = *self.body.inst(inst);
        match data.op {
            Op::Load
            | Op::Store
            | Op::Atom
            | Op::Cas
            | Op::Fence
            | Op::TensorMapAcquire
            | Op::PrefetchOp
            | Op::Discard
            | Op::ApplyPriority => self.memory(inst),
            Op::GlobalAddr | Op::FuncAddr | Op::SlotAddr | Op::Sreg => self.address(inst),
            Op::ToGeneric | Op::FromGeneric | Op::IsSpace | Op::MapRank | Op::RankOf => self.space_op(inst),
            Op::Alloca | Op::StackSave | Op::StackRestore => {
                self.stack_op(inst);
                Ok(())
            }
            Op::Call | Op::CallIndirect => self.call(inst),
            Op::ActiveMask
            | Op::WarpSync
            | Op::Elect
            | Op::Shuffle
            | Op::Vote
            | Op::Ballot
            | Op::MatchAny
            | Op::MatchAll
            | Op::Redux
            | Op::Barrier
            | Op::BarrierArrive
            | Op::BarrierRed
            | Op::GroupBarrier
            | Op::StopAsked
            | Op::StopBarrier
            | Op::NanoSleep => self.warp_op(inst),
            Op::Mma | Op::MovMatrix | Op::LdMatrix | Op::StMatrix | Op::WmmaLoad | Op::WmmaStore => self.matrix(inst),
            // Asynchronous copies happen when they are issued; the others are hints.
            Op::CpAsyncCommit
            | Op::CpAsyncWait
            | Op::BulkCommit
            | Op::BulkWait
            | Op::PmEvent
            | Op::NoUnroll
            | Op::SetMaxReg
            | Op::GridDepWait
            | Op::GridDepLaunch
            | Op::BulkPrefetch
            | Op::TensorPrefetch => Ok(()),
            Op::CreatePolicy | Op::CreatePolicyRange | Op::CreatePolicyCvt => {
                let zero = self.result_ty(inst, 0).zero();
                self.set(inst, 0, zero);
                Ok(())
            }
            Op::Syscall => self.effect(inst),
            Op::CpAsync => self.copy_op(inst),
            Op::CpAsyncArrive
            | Op::TensorLoad
            | Op::TensorStore
            | Op::TensorReduce
            | Op::TensorMapReplace
            | Op::BulkLoad
            | Op::BulkMulticast
            | Op::BulkSend
            | Op::BulkStore
            | Op::BulkReduceSend
            | Op::BulkReduceStore
            | Op::StoreAsync
            | Op::RedAsync
            | Op::MbarrierInit
            | Op::MbarrierInval
            | Op::MbarrierExpect
            | Op::MbarrierComplete
            | Op::MbarrierArrive
            | Op::MbarrierArriveExpect => self.effect(inst),
            // The memory that they read or wait for is changed by others.
            Op::MbarrierTest | Op::MbarrierTry | Op::ClusterArrive | Op::ClusterWait => {
                self.unit.need(|n| n.waits = true);
                self.effect(inst)
            }
            Op::Tex | Op::TexGather | Op::ImageQuery | Op::IsImage | Op::SurfLoad | Op::SurfStore | Op::SurfRed => {
                self.unit.need(|n| n.images = true);
                self.effect(inst)
            }
            Op::Breakpoint => {
                self.fail(crate::abi::Failure::Breakpoint, inst, None);
                Ok(())
            }
            op if hetir::eval::is_pure(op) => self.pure(inst),
            op => unsupported(op.info().name),
        }
    }

    /// An op whose result follows from its operands.
    fn pure(&mut self, inst: Inst) -> Result<()> {
        if self.int_op(inst) || self.float_op(inst) || self.convert_op(inst) {
            return Ok(());
        }
        self.evaluate(inst);
        Ok(())
    }

    /// The element that values of a type are held in.
    fn element(&self, ty: hetir::types::Type) -> Ty<'c> {
        value::element(self.e, ty)
    }
}
