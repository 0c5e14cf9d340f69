//! From a kernel to code in memory.

use super::elf::Object;
use super::key::key;
use super::link::Layout;
use super::machine::Machine;
use super::pipeline::{self, Stage};
use super::runtime;
use super::sys::{Memory, Protection, page};
use super::{CompileError, Needs, Options, Shape, Times};
use crate::abi;
use crate::cache::Entry;
use crate::lower;
use hetgpu_cache::{Cache, Digest};
use hetir::entity::FuncId;
use hetir::ir::Module;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Compiles kernels. Threads may do so at the same time.
#[derive(Debug)]
pub struct Jit {
    machine: Machine,
    symbols: HashMap<&'static str, usize>,
    cache: Option<Cache>,
    problem: Mutex<Option<String>>,
}

/// A kernel's code. It is gone when this is dropped.
#[derive(Debug)]
pub struct Code {
    memory: Memory,
    entry: abi::Entry,
    needs: Needs,
    times: Times,
    bytes: usize,
}

impl Code {
    /// Where it begins. Must not be called once this is dropped.
    pub fn entry(&self) -> abi::Entry {
        self.entry
    }

    /// What the device must do for it.
    pub fn needs(&self) -> Needs {
        self.needs
    }

    /// How long it took to make.
    pub fn times(&self) -> Times {
        self.times
    }

    /// Bytes of instructions.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether an address, such as that of an instruction that failed, is in it.
    pub fn contains(&self, address: usize) -> bool {
        self.memory.addresses().contains(&address)
    }
}

impl Jit {
    /// Code may call these functions, by name and address: [`abi::HELPERS`].
    pub fn new(options: Options, symbols: &[(&'static str, usize)]) -> Result<Self, CompileError> {
        let machine = Machine::host(options.features)?;
        let mut problem = None;
        let cache = options.cache.and_then(|folder| match Cache::open(&folder, options.cache_limit) {
            Ok(cache) => Some(cache),
            Err(error) => {
                problem = Some(format!("compiled code is not kept: {error}"));
                None
            }
        });
        let symbols = runtime::functions().into_iter().chain(symbols.iter().copied()).collect();
        Ok(Self { machine, symbols, cache, problem: Mutex::new(problem) })
    }

    /// Why compiled code could not be kept lately, told once.
    pub fn cache_problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take()
    }

    /// Compiles a kernel, or finds its code in the cache. The module must be verified.
    pub fn compile(&self, module: &Module, kernel: FuncId, shape: &Shape) -> Result<Arc<Code>, CompileError> {
        let make = || {
            pipeline::object(&self.machine, |context, machine| lower::kernel(context, module, kernel, shape, machine))
        };
        let key = || self.key(module, kernel, shape);
        self.obtain(key, make).map(Arc::new)
    }

    fn obtain(
        &self,
        key: impl FnOnce() -> Digest,
        make: impl FnOnce() -> Result<(Entry, Times), CompileError>,
    ) -> Result<Code, CompileError> {
        let Some(cache) = &self.cache else {
            let (entry, times) = make()?;
            return self.load(&entry, times);
        };
        let key = key();
        if let Some(entry) = cache.load(&key).and_then(Entry::decode) {
            let cached = Times { cached: true, ..Times::default() };
            match self.load(&entry, cached) {
                Ok(code) => return Ok(code),
                // It may need a helper that there was when it was made.
                Err(_) => cache.remove(&key),
            }
        }
        let (entry, times) = make()?;
        let code = self.load(&entry, times)?;
        if let Err(error) = cache.store(&key, &entry.encode()) {
            let message = format!("compiled code is not kept: {error}");
            *self.problem.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(message);
        }
        Ok(code)
    }

    /// What names a kernel's code.
    pub(super) fn key(&self, module: &Module, kernel: FuncId, shape: &Shape) -> Digest {
        key(module, kernel, shape, &self.machine)
    }

    pub(super) fn machine(&self) -> &Machine {
        &self.machine
    }

    /// What a kernel becomes on the way to code, as text.
    pub fn text(&self, module: &Module, kernel: FuncId, shape: &Shape, stage: Stage) -> Result<String, CompileError> {
        pipeline::text(&self.machine, stage, |context, machine| lower::kernel(context, module, kernel, shape, machine))
    }

    /// Puts an object file into memory.
    fn load(&self, entry: &Entry, mut times: Times) -> Result<Code, CompileError> {
        let start = Instant::now();
        let llvm = |message: String| CompileError::Llvm(message);
        let object = Object::parse(&entry.object).map_err(|error| llvm(format!("an object file: {error}")))?;
        if object.arch != self.machine.arch {
            return Err(llvm("an object file for another processor".into()));
        }
        let layout = Layout::new(&object, page()).map_err(llvm)?;
        let memory = |error| CompileError::Host(format!("no memory for code: {error}"));
        let mut place = Memory::new(layout.size()).map_err(memory)?;
        let base = place.addresses().start as u64;
        layout.write(place.bytes(), base, |name| self.symbols.get(name).copied()).map_err(llvm)?;
        let [code, _, data] = layout.parts.clone();
        place.seal(&[(code.clone(), Protection::Execute), (data, Protection::ReadWrite)]).map_err(memory)?;
        let start_of_code = layout.symbol(abi::ENTRY).filter(|at| code.contains(at)).and_then(|at| place.entry(at));
        let start_of_code = start_of_code.ok_or_else(|| llvm(format!("the code has no `{}`", abi::ENTRY)))?;
        times.link_us = start.elapsed().as_micros() as u64;
        Ok(Code { memory: place, entry: start_of_code, needs: entry.needs, times, bytes: code.len() })
    }
}

#[cfg(test)]
mod tests;
