//! A module whose kernels are decoded once for many launches.

use super::code::{Code, decode};
use super::{Launch, SharedLayout};
use crate::entity::FuncId;
use crate::ir::Module;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// A verified module and the places of its variables. What launches of [`Program::launch`] need is made ready once.
pub struct Program {
    module: Arc<Module>,
    globals: Vec<u64>,
    kernels: Vec<OnceLock<Kernel>>,
}

impl Program {
    /// `globals` is where the module's variables are, by `GlobalId`.
    pub fn new(module: Arc<Module>, globals: Vec<u64>) -> Self {
        let kernels = module.functions.iter().map(|_| OnceLock::new()).collect();
        Self { module, globals, kernels }
    }

    /// The module.
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// A launch of one block of one thread without parameters.
    pub fn launch(&self, kernel: FuncId) -> Launch<'_> {
        Launch { globals: &self.globals, program: Some(self), ..Launch::new(&self.module, kernel) }
    }

    /// The kernel of a launch, if it is a launch of this program.
    pub(super) fn kernel(&self, launch: &Launch<'_>) -> Option<&Kernel> {
        let own = std::ptr::eq(launch.module, &*self.module) && std::ptr::eq(launch.globals, &*self.globals);
        let slot = self.kernels.get(launch.kernel.index()).filter(|_| own)?;
        Some(slot.get_or_init(|| Kernel::new(launch)))
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("functions", &self.kernels.len()).finish_non_exhaustive()
    }
}

/// A kernel with the functions that it has called so far. They depend on it by the places of shared variables.
pub(super) struct Kernel {
    pub layout: SharedLayout,
    codes: Vec<OnceLock<Code>>,
}

impl Kernel {
    pub(super) fn new(launch: &Launch<'_>) -> Self {
        let codes = launch.module.functions.iter().map(|_| OnceLock::new()).collect();
        Self { layout: SharedLayout::of(launch.module, launch.kernel), codes }
    }

    /// The code of a function; `None` where it has no body.
    pub(super) fn code(&self, launch: &Launch<'_>, id: FuncId) -> Option<&Code> {
        let f = launch.module.functions.get(id.index())?;
        let body = f.body.as_ref()?;
        Some(self.codes.get(id.index())?.get_or_init(|| decode(launch.globals, &self.layout, id, f, body)))
    }
}
