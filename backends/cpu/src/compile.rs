//! Machine code by LLVM.

use crate::kernels::{Compile, Compiled};
use crate::sys::helpers;
use hetgpu_device::{Importance, Services};
use hetgpu_llvm::host::{CompileError, Features, Jit, Options, Shape};
use hetir::entity::FuncId;
use hetir::ir::Module;

pub(crate) struct Compiler {
    jit: Jit,
    services: Services,
}

impl Compiler {
    pub(crate) fn new(services: Services, features: Features) -> Result<Self, CompileError> {
        let options = Options {
            features,
            cache: services.cache.as_ref().map(|cache| cache.folder.clone()),
            cache_limit: services.cache.as_ref().map_or(0, |cache| cache.limit),
        };
        let compiler = Self { jit: Jit::new(options, &helpers::symbols())?, services };
        compiler.warn();
        Ok(compiler)
    }

    fn warn(&self) {
        if let (Some(log), Some(problem)) = (&self.services.log, self.jit.cache_problem()) {
            log(Importance::Warning, format_args!("{problem}"));
        }
    }
}

impl Compile for Compiler {
    fn compile(&self, module: &Module, kernel: FuncId, shape: Shape) -> Result<Compiled, CompileError> {
        if let Some(folder) = &self.services.dump
            && let Err(error) = self.jit.save(folder, module, kernel, &shape)
            && let Some(log) = &self.services.log
        {
            log(Importance::Warning, format_args!("a kernel is not saved in {}: {error}", folder.display()));
        }
        let code = self.jit.compile(module, kernel, &shape)?;
        self.warn();
        if let Some(log) = &self.services.log {
            let name = module.functions.get(kernel.index()).map_or("", |f| &f.name);
            let ([x, y, z], t) = (shape.block, code.times());
            let milliseconds = |us: u64| us as f64 / 1000.0;
            let how = if t.cached {
                format!("found, {:.1} ms", milliseconds(t.link_us))
            } else {
                let all = [t.lower_us, t.optimise_us, t.emit_us, t.link_us];
                let parts = all.map(|us| format!("{:.1}", milliseconds(us))).join(" + ");
                format!("compiled, {:.1} ms ({parts})", milliseconds(all.iter().sum()))
            };
            let bytes = code.bytes();
            log(Importance::Info, format_args!("jit: {name} for {x} x {y} x {z}: {how}, {bytes} bytes"));
        }
        Ok(Compiled { entry: code.entry(), needs: code.needs(), code: Some(code) })
    }
}
