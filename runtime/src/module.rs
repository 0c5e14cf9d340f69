//! Code loaded into a context, and its kernels.

use crate::code::{Code, KernelInfo};
use crate::draft::Draft;
use crate::express::begin_epoch;
use crate::handle::{Handle, Kind};
use crate::launch::Pace;
use crate::memory::Owner;
use crate::session::Session;
use crate::twin::Twins;
use crate::{Error, Result, Runtime, sys};
use hetgpu_device::{Listener, LoadedModule};
use hetir::attr::Space;
use hetir::ir::Global;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

/// Code in a context: its variables have addresses.
pub struct Module {
    pub session: Arc<Session>,
    pub code: Arc<Code>,
    /// The library that it is an instance of.
    pub library: Option<Handle<Library>>,
    pub(crate) loaded: LoadedModule,
    /// Address of each variable, by its id.
    globals: Vec<u64>,
    /// Variables of machine code: name, address and size.
    machine: Vec<(String, u64, u64)>,
    functions: OnceLock<Vec<Handle<Function>>>,
}

/// Code that belongs to no context; contexts get an instance when they need one.
pub struct Library {
    pub code: Arc<Code>,
    kernels: OnceLock<Vec<Handle<Kernel>>>,
    /// Addresses of managed variables, which all contexts share; 0 for the others. Empty until they are needed.
    managed: Mutex<Vec<u64>>,
    /// Instances, by session.
    instances: Mutex<Vec<(u64, Handle<Module>)>>,
}

/// What a program may set for a kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FunctionSettings {
    /// Dynamic shared memory that launches may ask for; none: what every block may have.
    pub max_dynamic_shared: Option<u32>,
    /// A hint about the split between shared memory and cache.
    pub carveout: Option<i32>,
    /// Clusters may have more blocks than every device with clusters takes.
    pub large_clusters: bool,
    /// Blocks a cluster of launches that do not say, by dimension; all 0: no clusters.
    pub cluster: [u32; 3],
    /// A hint about where the blocks of a cluster go.
    pub cluster_scheduling: u32,
}

/// A kernel of a module.
pub struct Function {
    pub module: Handle<Module>,
    pub code: Arc<Code>,
    pub index: usize,
    /// The library's kernel that it is an instance of.
    kernel: Option<Arc<Kernel>>,
    /// What was set for it and not for its kernel.
    settings: Mutex<Option<FunctionSettings>>,
    pub(crate) draft: Mutex<Draft>,
    pub(crate) pace: Pace,
    pub(crate) twins: Twins,
    /// Hears what launches of it say whose outcome nobody asks for.
    pub(crate) ears: OnceLock<Arc<dyn Listener>>,
}

/// A kernel of a library.
pub struct Kernel {
    pub library: Handle<Library>,
    pub code: Arc<Code>,
    pub index: usize,
    settings: Mutex<FunctionSettings>,
    /// The function that it was last launched as, and the session.
    latest: Mutex<Option<(u64, Handle<Function>)>>,
}

macro_rules! kinds {
    ($($type:ty: $tag:literal $name:literal;)+) => {$(
        impl Kind for $type {
            const TAG: u8 = $tag;
            const NAME: &'static str = $name;
        }
    )+};
}
kinds! {
    Module: 0x4d "module";
    Library: 0x4c "library";
    Function: 0x46 "function";
    Kernel: 0x4b "kernel";
}

impl Function {
    pub fn info(&self) -> &KernelInfo {
        &self.code.kernels[self.index]
    }

    /// What was set for the function goes before what was set for its kernel.
    pub fn settings(&self) -> FunctionSettings {
        lock(&self.settings).unwrap_or_else(|| self.inherited())
    }

    pub fn change_settings(&self, change: impl FnOnce(&mut FunctionSettings)) {
        change(lock(&self.settings).get_or_insert_with(|| self.inherited()));
        begin_epoch();
    }

    fn inherited(&self) -> FunctionSettings {
        self.kernel.as_ref().map(|kernel| kernel.settings()).unwrap_or_default()
    }
}

impl Kernel {
    pub fn info(&self) -> &KernelInfo {
        &self.code.kernels[self.index]
    }

    pub fn settings(&self) -> FunctionSettings {
        *lock(&self.settings)
    }

    pub fn change_settings(&self, change: impl FnOnce(&mut FunctionSettings)) {
        change(&mut lock(&self.settings));
        begin_epoch();
    }
}

/// Managed memory that every stream may use, which is how variables begin.
const MANAGED_BY_ALL: u32 = 1;
/// The owner of what belongs to no context; sessions are numbered from 1.
const NO_SESSION: u64 = 0;

/// The addresses that an instance does not share.
fn own(globals: &[u64], shared: &[u64]) -> Vec<u64> {
    globals.iter().filter(|address| !shared.contains(address)).copied().collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

impl Module {
    /// Its variables with their addresses.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&Global, u64)> {
        self.code.module.globals.iter().zip(self.globals.iter().copied())
    }

    /// Address and size of a variable.
    pub fn global(&self, name: &str) -> Result<(u64, u64)> {
        if let Some(&(_, address, bytes)) = self.machine.iter().find(|variable| variable.0 == name) {
            return Ok((address, bytes));
        }
        let visible = |global: &Global| global.space != Space::Shared && global.name == name;
        let globals = &self.code.module.globals;
        let index = globals.iter().position(visible);
        let index = index.ok_or_else(|| Error::NotFound(format!("no variable named {name}")))?;
        Ok((self.globals[index], globals[index].size))
    }
}

impl Runtime {
    /// Loads code into the current context.
    pub fn load_module(&self, code: &Arc<Code>) -> Result<Handle<Module>> {
        let (session, _) = self.scope()?;
        let managed = self.place_managed(session.device.index, Owner::system(session.id), code)?;
        let module = self.instantiate(&session, code, None, &managed);
        module.inspect_err(|_| self.release_globals(&managed))
    }

    /// Addresses for the managed variables, with their initial contents; 0 for the others.
    fn place_managed(&self, device: usize, owner: Owner, code: &Code) -> Result<Vec<u64>> {
        let globals = &code.module.globals;
        let mut addresses = vec![0; globals.len()];
        for (global, address) in globals.iter().zip(&mut addresses).filter(|(global, _)| global.managed) {
            // Whatever was placed before stays with its owner where this fails.
            *address = self.memory.allocate_managed(device, owner, global.size.max(1), MANAGED_BY_ALL)?;
        }
        for (global, &address) in globals.iter().zip(&addresses).filter(|(global, _)| global.managed) {
            sys::write(address, &hetir::interp::initial_image(&code.module, global, &addresses));
        }
        Ok(addresses)
    }

    fn instantiate(
        &self,
        session: &Arc<Session>,
        code: &Arc<Code>,
        library: Option<Handle<Library>>,
        managed: &[u64],
    ) -> Result<Handle<Module>> {
        let mut globals = Vec::with_capacity(code.module.globals.len());
        let placed = code.module.globals.iter().zip(managed).try_for_each(|(global, &managed)| {
            globals.push(if managed != 0 { managed } else { self.place(session, global)? });
            Ok(())
        });
        let loaded = placed.and_then(|()| self.initialise(session, code, &globals));
        let loaded = loaded.inspect_err(|_| self.release_globals(&own(&globals, managed)))?;
        let machine = self.note_machine(session, code, loaded);
        let module = Module {
            session: session.clone(),
            code: code.clone(),
            library,
            loaded,
            globals,
            machine,
            functions: OnceLock::new(),
        };
        let module = Arc::new(module);
        let handle = self.modules.insert(module.clone());
        let kernels = library.and_then(|library| self.kernels_of(library).ok()).unwrap_or_default();
        let function = |index| {
            let kernel = kernels.get(index).and_then(|&kernel| self.kernels.get(kernel).ok());
            let (code, settings, draft, pace) = (code.clone(), Mutex::default(), Mutex::default(), Pace::default());
            Function {
                module: handle,
                code,
                index,
                kernel,
                settings,
                draft,
                pace,
                twins: Twins::default(),
                ears: OnceLock::new(),
            }
        };
        let functions = (0..code.kernels.len()).map(|index| self.functions.insert(Arc::new(function(index))));
        let _ = module.functions.set(functions.collect());
        Ok(handle)
    }

    /// Looks where the device has put variables of machine code. What it does not know no program can ask for.
    fn note_machine(&self, session: &Session, code: &Code, loaded: LoadedModule) -> Vec<(String, u64, u64)> {
        let names = code.module.machine.iter().flat_map(|machine| &machine.variables);
        let known = names.filter_map(|name| {
            let (address, bytes) = session.device.device.variable(loaded, name).ok()?;
            Some((name.clone(), address, bytes))
        });
        let known: Vec<_> = known.collect();
        for &(_, address, bytes) in known.iter().filter(|(_, _, bytes)| *bytes > 0) {
            self.memory.note(session.device.index, Owner::system(session.id), address, bytes);
        }
        known
    }

    /// An address for a variable; 0 for one that has none.
    fn place(&self, session: &Session, global: &Global) -> Result<u64> {
        let owner = Owner::system(session.id);
        match global.space {
            Space::Shared => Ok(0),
            _ => self.memory.allocate(session.device.index, owner, global.size.max(1), &global.name),
        }
    }

    fn initialise(&self, session: &Session, code: &Code, globals: &[u64]) -> Result<LoadedModule> {
        let device = &session.device.device;
        for (global, &address) in code.module.globals.iter().zip(globals) {
            let is_zero = global.init.is_empty() && global.relocations.is_empty();
            if address != 0 && !global.managed && !is_zero && global.size != 0 {
                device.write(address, &hetir::interp::initial_image(&code.module, global, globals))?;
            }
        }
        Ok(device.load(&code.module, globals)?)
    }

    fn release_globals(&self, globals: &[u64]) {
        for &address in globals.iter().filter(|&&address| address != 0) {
            if let Ok(allocation) = self.memory.forget(address, |_| Ok(())) {
                self.memory.release(&allocation);
            }
        }
    }

    /// Unloads a module after the work of its context.
    pub fn unload_module(&self, handle: Handle<Module>) -> Result<()> {
        let module = self.modules.remove(handle)?;
        module.session.device.queue.forget_tickets(handle);
        module.session.drain();
        self.dismantle(&module);
        Ok(())
    }

    /// Lets go of what a module has besides its handle. Its work must be finished.
    pub(crate) fn dismantle(&self, module: &Module) {
        self.images.release_module(module);
        for &function in module.functions.get().into_iter().flatten() {
            let _ = self.functions.remove(function);
        }
        begin_epoch();
        self.release_globals(&module.machine.iter().map(|&(_, address, _)| address).collect::<Vec<_>>());
        module.session.device.device.unload(module.loaded);
        match module.library.map(|library| self.libraries.get(library)) {
            // What the library shares outlives this instance.
            Some(Ok(library)) => self.release_globals(&own(&module.globals, &lock(&library.managed))),
            Some(Err(_)) | None => self.release_globals(&module.globals),
        }
    }

    pub fn functions_of(&self, module: Handle<Module>) -> Result<Vec<Handle<Function>>> {
        Ok(self.modules.get(module)?.functions.get().cloned().unwrap_or_default())
    }

    /// The kernel of that name, if it can be launched.
    pub fn function(&self, module: Handle<Module>, name: &str) -> Result<Handle<Function>> {
        let module = self.modules.get(module)?;
        let index = module.code.kernel(name)?;
        usable(&module.code.kernels[index])?;
        module.functions.get().and_then(|functions| functions.get(index).copied()).ok_or(Error::InvalidHandle("module"))
    }

    pub fn load_library(&self, code: &Arc<Code>) -> Handle<Library> {
        let library = Arc::new(Library {
            code: code.clone(),
            kernels: OnceLock::new(),
            managed: Mutex::default(),
            instances: Mutex::default(),
        });
        let handle = self.libraries.insert(library.clone());
        let kernel = |index| Kernel {
            library: handle,
            code: code.clone(),
            index,
            settings: Mutex::default(),
            latest: Mutex::default(),
        };
        let kernels = (0..code.kernels.len()).map(|index| self.kernels.insert(Arc::new(kernel(index))));
        let _ = library.kernels.set(kernels.collect());
        handle
    }

    /// Unloads a library and its instances in all contexts.
    pub fn unload_library(&self, handle: Handle<Library>) -> Result<()> {
        let library = self.libraries.get(handle)?;
        for &kernel in library.kernels.get().into_iter().flatten() {
            let _ = self.kernels.remove(kernel);
        }
        begin_epoch();
        let instances = std::mem::take(&mut *lock(&library.instances));
        for (_, module) in instances {
            // Gone already where its context is.
            let _ = self.unload_module(module);
        }
        self.release_globals(&lock(&library.managed));
        self.libraries.remove(handle).map(drop)
    }

    /// Address and size of a managed variable; it needs no context.
    pub fn library_managed(&self, handle: Handle<Library>, name: &str) -> Result<(u64, u64)> {
        let library = self.libraries.get(handle)?;
        if library.code.module.machine.is_some() {
            // The driver has them, in each context. Without a current one the first device's is meant, which begins here and stays.
            let first = self.contexts.get(self.primary_context(0)?)?;
            let begin = |_| self.retain_primary(0).and_then(|_| first.session());
            let session = self.session().or_else(|_| first.session()).or_else(begin)?;
            return self.modules.get(self.library_instance(handle, &session)?)?.global(name);
        }
        let addresses = self.shared_variables(&library)?;
        let mut globals = library.code.module.globals.iter().zip(addresses);
        let found = globals.find(|(global, _)| global.managed && global.name == name);
        let (global, address) = found.ok_or_else(|| Error::NotFound(format!("no managed variable named {name}")))?;
        Ok((address, global.size))
    }

    fn shared_variables(&self, library: &Library) -> Result<Vec<u64>> {
        let mut managed = lock(&library.managed);
        if managed.is_empty() {
            *managed = self.place_managed(0, Owner::system(NO_SESSION), &library.code)?;
        }
        Ok(managed.clone())
    }

    /// The library's instance in the current context.
    pub fn library_module(&self, handle: Handle<Library>) -> Result<Handle<Module>> {
        let session = self.session()?;
        self.library_instance(handle, &session)
    }

    fn library_instance(&self, handle: Handle<Library>, session: &Arc<Session>) -> Result<Handle<Module>> {
        let library = self.libraries.get(handle)?;
        let mut instances = lock(&library.instances);
        instances.retain(|&(_, module)| self.modules.get(module).is_ok());
        if let Some(&(_, module)) = instances.iter().find(|instance| instance.0 == session.id) {
            return Ok(module);
        }
        let managed = self.shared_variables(&library)?;
        let module = self.instantiate(session, &library.code, Some(handle), &managed)?;
        instances.push((session.id, module));
        Ok(module)
    }

    pub fn kernels_of(&self, library: Handle<Library>) -> Result<Vec<Handle<Kernel>>> {
        Ok(self.libraries.get(library)?.kernels.get().cloned().unwrap_or_default())
    }

    /// The kernel of that name, if it can be launched.
    pub fn kernel(&self, library: Handle<Library>, name: &str) -> Result<Handle<Kernel>> {
        let library = self.libraries.get(library)?;
        let index = library.code.kernel(name)?;
        usable(&library.code.kernels[index])?;
        library.kernels.get().and_then(|kernels| kernels.get(index).copied()).ok_or(Error::InvalidHandle("library"))
    }

    /// A library's kernel as a function of the current context.
    pub fn kernel_function(&self, handle: Handle<Kernel>) -> Result<Handle<Function>> {
        let session = self.session()?;
        self.kernel_function_in(handle, &session)
    }

    pub(crate) fn kernel_function_in(
        &self,
        handle: Handle<Kernel>,
        session: &Arc<Session>,
    ) -> Result<Handle<Function>> {
        let kernel = self.kernels.get(handle)?;
        let known = *lock(&kernel.latest);
        // A context may have ended meanwhile, and its functions with it.
        let there = |(id, function): &(u64, _)| *id == session.id && self.functions.get(*function).is_ok();
        if let Some((_, function)) = known.filter(there) {
            return Ok(function);
        }
        let module = self.modules.get(self.library_instance(kernel.library, session)?)?;
        let functions = module.functions.get();
        let function = functions.and_then(|functions| functions.get(kernel.index).copied());
        let function = function.ok_or(Error::InvalidHandle("kernel"))?;
        *lock(&kernel.latest) = Some((session.id, function));
        Ok(function)
    }
}

fn usable(info: &KernelInfo) -> Result<()> {
    match &info.refused {
        None => Ok(()),
        Some(reason) => Err(Error::InvalidCode(reason.clone())),
    }
}
