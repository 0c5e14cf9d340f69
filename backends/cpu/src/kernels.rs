//! Kernels: what each was compiled to, by block shape.

use hetgpu_llvm::abi::Entry;
use hetgpu_llvm::host::{CompileError, Form, Needs, Shape};
use hetir::entity::FuncId;
use hetir::interp::{Program, SharedLayout};
use hetir::ir::Module;
use std::any::Any;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Machine code.
pub(crate) struct Compiled {
    pub entry: Entry,
    pub needs: Needs,
    /// What `entry` lives in.
    pub code: Option<Arc<dyn Any + Send + Sync>>,
}

/// What makes machine code of kernels.
pub(crate) trait Compile: Send + Sync {
    /// The module is verified.
    fn compile(&self, module: &Module, kernel: FuncId, shape: Shape) -> Result<Compiled, CompileError>;
}

/// A kernel for blocks of one shape.
pub(crate) struct Kernel {
    /// Why it has no machine code, which the interpreter then executes.
    pub code: Result<Compiled, String>,
    pub form: Form,
    /// Warps or blocks may wait for each other.
    pub waits: bool,
    pub layout: SharedLayout,
    /// The addresses of module variables, for those in shared memory the places in it.
    pub globals: Arc<[u64]>,
    /// What the launches took so far, in nanoseconds a block; 0 before the first one.
    block_time: AtomicU64,
}

/// A place for a kernel, which whoever fills it need not hold the others for.
type Slot = Arc<OnceLock<Arc<Kernel>>>;

/// A module.
pub(crate) struct Loaded {
    pub module: Arc<Module>,
    /// For the interpreter.
    pub program: Program,
    globals: Vec<u64>,
    kernels: Mutex<HashMap<(FuncId, [u32; 3]), Slot>>,
}

impl Loaded {
    pub(crate) fn new(module: Arc<Module>, globals: &[u64]) -> Self {
        let program = Program::new(Arc::clone(&module), globals.to_vec());
        Self { module, program, globals: globals.to_vec(), kernels: Mutex::default() }
    }

    /// The kernel for a block shape, compiled by the first who asks, if possible in form `first`; kernels are compiled
    /// side by side.
    pub(crate) fn kernel(
        &self,
        id: FuncId,
        block: [u32; 3],
        first: Form,
        compiler: Option<&dyn Compile>,
    ) -> Arc<Kernel> {
        let slot = {
            let mut all = self.kernels.lock().unwrap_or_else(PoisonError::into_inner);
            let slot = all.entry((id, block)).or_default();
            if let Some(kernel) = slot.get() {
                return Arc::clone(kernel);
            }
            Arc::clone(slot)
        };
        Arc::clone(slot.get_or_init(|| Arc::new(self.compile(id, block, first, compiler))))
    }

    fn compile(&self, id: FuncId, block: [u32; 3], first: Form, compiler: Option<&dyn Compile>) -> Kernel {
        let layout = SharedLayout::of(&self.module, id);
        let places = self.globals.iter().enumerate().map(|(n, &address)| layout.offset(n).unwrap_or(address));
        let globals = places.collect();
        let (code, form) = match self.code(id, block, first, compiler) {
            Ok((code, form)) => (Ok(code), form),
            Err(why) => (Err(why), Form::Warp),
        };
        let waits = code.as_ref().is_ok_and(|c| {
            // Single lanes are strands of their own.
            let lanes = form == Form::Lane;
            let meet = c.needs.barriers && block.iter().product::<u32>() > 32;
            lanes || c.needs.waits || c.needs.lanes_wait || meet
        });
        Kernel { code, form, waits, layout, globals, block_time: AtomicU64::new(0) }
    }

    fn code(
        &self,
        id: FuncId,
        block: [u32; 3],
        first: Form,
        compiler: Option<&dyn Compile>,
    ) -> Result<(Compiled, Form), String> {
        let compiler = compiler.ok_or("nothing here makes machine code")?;
        let with = |form| compiler.compile(&self.module, id, Shape { block, form }).map_err(|e| e.to_string());
        let code = with(first)?;
        if first == Form::Lane || !code.needs.lanes_wait {
            return Ok((code, first));
        }
        Ok((with(Form::Lane)?, Form::Lane))
    }
}

impl Kernel {
    /// Whether a launch is too short for other threads to be of use.
    pub(crate) fn is_short(&self, blocks: u64) -> bool {
        /// Waking a thread takes some of these nanoseconds.
        const SHORT: u64 = 15_000;
        let each = self.block_time.load(Ordering::Relaxed);
        each > 0 && each.saturating_mul(blocks) < SHORT
    }

    /// Remembers how long blocks took.
    pub(crate) fn took(&self, nanoseconds: u64, blocks: u64, workers: u32) {
        let now = (nanoseconds.saturating_mul(workers.into()) / blocks.max(1)).max(1);
        let before = self.block_time.load(Ordering::Relaxed);
        // Half of the weight is the last launch's: programs repeat themselves.
        let mean = if before == 0 { now } else { (before + now).div_ceil(2) };
        self.block_time.store(mean, Ordering::Relaxed);
    }
}
