//! What the printer of PTX makes of the filetests: whether NVIDIA's assembler takes it, and whether it still means the same.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use hetgpu_nvidia::ptx::{self, Addresses, Hidden, Part, Request, Target, constant_name};
use hetir::attr::Space;
use hetir::entity::FuncId;
use hetir::interp::{Arena, initial_image};
use hetir::ir::Module;
use hetir::passes::suspend::{Density, Plan, Strips};

use super::interp::{self, Executed, lift};
use crate::engine::{Engine, Failure, Printed};
use crate::header::{DEFAULT_ARCH, Ptxas, Run};
use crate::{ptxas, toolkit};

/// What texts are written for: the hardware that `DEFAULT_ARCH` names.
const TARGET: Target = Target { compute: (9, 0), architecture_specific: true, isa: (9, 0) };

/// Where variables are said to be, where nothing is executed.
const SOMEWHERE: u64 = 0x12_3450_0000;

fn refused(why: impl ToString) -> Failure {
    Failure::Refused { log: why.to_string() }
}

/// The engine that assembles what is printed: each kernel in all forms that a device asks for.
pub struct Assemble {
    /// Kernels that were assembled before.
    done: Mutex<HashSet<u64>>,
    files: AtomicU64,
}

impl Assemble {
    /// The engine's name.
    pub const NAME: &str = "print";

    pub fn new() -> Self {
        Self { done: Mutex::default(), files: AtomicU64::new(0) }
    }

    fn assemble(&self, module: &Module, kernel: FuncId, globals: &[u64], addresses: Addresses) -> Result<(), Failure> {
        let whole = module.functions[kernel.index()]
            .kernel_bounds()
            .is_none_or(|b| b.required_cluster == [0; 3] && b.max_cluster == 0 && !b.explicit_cluster);
        for (part, stops) in [(Part::Whole, false), (Part::Cuboid, false), (Part::List, true)] {
            let parted = part != Part::Whole;
            if parted && !whole {
                continue;
            }
            let request = Request { module, kernel, globals, target: &TARGET, addresses, part, stops };
            let printed = match ptx::print(&request) {
                Ok(printed) => printed,
                // Clusters are not cut, and do not move.
                Err(why) if (parted || addresses == Addresses::Logical) && why.what.contains("cluster") => continue,
                Err(why) => return Err(refused(why)),
            };
            self.judge(&printed.text)?;
        }
        Ok(())
    }

    fn judge(&self, text: &str) -> Result<(), Failure> {
        let ptxas = toolkit::locate("ptxas").map_err(Failure::Broken)?;
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        let file: PathBuf = std::env::temp_dir().join(format!("hetgpu-print-{}-{number}.ptx", std::process::id()));
        std::fs::write(&file, text).map_err(|e| Failure::Broken(format!("{}: {e}", file.display())))?;
        let verdict = ptxas::judge(&ptxas, &file, &Ptxas { arch: DEFAULT_ARCH.into(), accepts: true });
        let _ = std::fs::remove_file(&file);
        verdict.map_err(|why| Failure::Broken(format!("{why}\n{text}")))
    }
}

impl Default for Assemble {
    fn default() -> Self {
        Self::new()
    }
}

impl Engine for Assemble {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn skips(&self, _: &str, run: &Run) -> Option<String> {
        toolkit::locate("ptxas").err().or_else(|| run.fault.as_ref().map(|_| "what faults is not asked".into()))
    }

    fn judges_only_text(&self) -> bool {
        true
    }

    fn run(&self, ptx: &str, run: &Run, _: u32, _: &mut [Vec<u8>]) -> Result<Printed, Failure> {
        let mut hasher = DefaultHasher::new();
        (ptx, &run.kernel).hash(&mut hasher);
        if !self.done.lock().unwrap_or_else(PoisonError::into_inner).insert(hasher.finish()) {
            return Ok(None);
        }
        let module = lift(ptx)?;
        let Some(kernel) = module.function(&run.kernel) else {
            return Err(Failure::Broken(format!("there is no kernel `{}`", run.kernel)));
        };
        let globals: Vec<u64> = (0..module.globals.len() as u64).map(|n| SOMEWHERE + (n << 20)).collect();
        for addresses in [Addresses::Native, Addresses::Logical] {
            self.assemble(&module, kernel, &globals, addresses)?;
        }
        let plan = Plan::with(&module, kernel, run.block, Density::Enough, Strips::Bounded);
        if let Some(plan) = plan.filter(Plan::has_sites) {
            let sites: Vec<u32> = (0..plan.sites.len() as u32).collect();
            for twin in [plan.suspendable(), plan.resuming(&sites, false)] {
                self.assemble(&twin, kernel, &globals, Addresses::Logical)?;
            }
        }
        Ok(None)
    }
}

/// The engine that reads what is printed, and lets the interpreter execute it.
pub struct Reprint;

impl Reprint {
    /// The engine's name.
    pub const NAME: &str = "reprint";

    fn again(
        module: &Module,
        kernel: usize,
        globals: &[u64],
        workspace: u64,
        memory: &mut Arena,
    ) -> Result<Executed, Failure> {
        let request = Request {
            module,
            kernel: FuncId::new(kernel),
            globals,
            target: &TARGET,
            addresses: Addresses::Native,
            part: Part::Whole,
            stops: false,
        };
        let printed = ptx::print(&request).map_err(refused)?;
        let text = &printed.text;
        let again = lift(text).map_err(|why| Failure::Broken(format!("{why}\n{text}")))?;
        let Some(kernel) = again.function(&printed.entry) else {
            return Err(Failure::Broken(format!("the text has no kernel `{}`", printed.entry)));
        };
        let offsets: Vec<u32> = again.functions[kernel.index()].kernel_params().iter().map(|p| p.offset).collect();
        if offsets != printed.param_offsets {
            let said = &printed.param_offsets;
            return Err(Failure::Broken(format!("parameters at {offsets:?}, and said to be at {said:?}\n{text}")));
        }
        let constant = |name: &str| printed.constants.iter().find(|c| constant_name(**c) == name).copied();
        let globals = again.globals.iter().map(|g| match (g.space, constant(&g.name)) {
            (Space::Shared, _) => 0,
            (_, Some(id)) => globals[id.index()],
            // What the text has of its own.
            (_, None) => memory.alloc(g.name.clone(), initial_image(&again, g, &[])),
        });
        let globals = globals.collect();
        let mut hidden = Vec::new();
        for &(what, at) in &printed.hidden {
            let bytes = match what {
                Hidden::Workspace => workspace.to_le_bytes(),
                Hidden::GridId => 0u64.to_le_bytes(),
                other => return Err(Failure::Broken(format!("a whole launch asks for {other:?}"))),
            };
            hidden.push((at, bytes.to_vec()));
        }
        Ok(Executed { module: again, kernel: kernel.index(), globals, hidden })
    }
}

impl Engine for Reprint {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn has_seeds(&self) -> bool {
        true
    }

    fn run(&self, ptx: &str, run: &Run, seed: u32, buffers: &mut [Vec<u8>]) -> Result<Printed, Failure> {
        interp::execute(ptx, run, seed, buffers, |module, kernel, globals, workspace, memory| {
            Self::again(&module, kernel, &globals, workspace, memory)
        })
    }
}
