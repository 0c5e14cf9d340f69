//! Modules that were taken, and the kernels of them that were compiled.

use crate::driver::{self, Context, Function, Image};
use crate::kept::Kept;
use crate::ptx::{self, Addresses, Hidden, Part, Printed, Request, Target};
use crate::sys;
use hetgpu_device::{DeviceError, ErrorKind, Importance, Launch, Services};
use hetir::entity::FuncId;
use hetir::ir;
use hetir::op::Op;
use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::CString;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

/// Shared memory that a kernel has without having asked for more.
const PLAIN_SHARED: u32 = 48 << 10;
/// Blocks of a cluster that every card of the kind has room for.
const PORTABLE_CLUSTER: u32 = 8;

/// How a kernel is printed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Form {
    pub(crate) part: Part,
    pub(crate) stops: bool,
}

impl Form {
    /// The whole grid, to its end.
    pub(crate) const WHOLE: Self = Self { part: Part::Whole, stops: false };
}

/// A variable of constant memory.
pub(crate) struct Constant {
    /// Where programs see it.
    pub(crate) logical: Range<u64>,
    /// Where the kernel reads it.
    pub(crate) native: u64,
}

/// A kernel as the card runs it.
pub(crate) struct Kernel {
    pub(crate) name: String,
    pub(crate) function: Function,
    pub(crate) printed: Printed,
    pub(crate) constants: Vec<Constant>,
    /// Tells it from all others of the process.
    pub(crate) id: u64,
    /// Dynamic shared memory and blocks a cluster that it was allowed.
    allowed: [AtomicU32; 2],
}

/// A kernel that is compiled once, by whoever comes first.
type Slot = Arc<OnceLock<Result<Arc<Kernel>, DeviceError>>>;

/// A module.
pub(crate) struct Loaded {
    pub(crate) module: Arc<ir::Module>,
    globals: Vec<u64>,
    kernels: Mutex<HashMap<(FuncId, Form), Slot>>,
    /// By number, those that were launched whole: nobody looks for them among the others at each launch.
    whole: Box<[OnceLock<Arc<Kernel>>]>,
    /// The driver's module, where it is machine code.
    machine: Option<Arc<driver::Module>>,
}

/// What compiling needs.
pub(crate) struct Compiler {
    pub(crate) context: Arc<Context>,
    pub(crate) target: Target,
    pub(crate) services: Services,
    pub(crate) kept: Kept,
}

impl Loaded {
    /// Machine code is loaded at once; the rest waits until its kernels are wanted.
    pub(crate) fn new(module: &Arc<ir::Module>, globals: &[u64], context: &Arc<Context>) -> Result<Self, DeviceError> {
        let machine = module.machine.as_ref().map(|machine| context.load(Image::Cubin(&machine.image)));
        let whole = module.functions.iter().map(|_| OnceLock::new()).collect();
        let (module, globals, kernels) = (Arc::clone(module), globals.to_vec(), Mutex::default());
        Ok(Self { module, globals, kernels, whole, machine: machine.transpose()?.map(Arc::new) })
    }

    /// Where a variable of machine code lies, and its bytes.
    pub(crate) fn variable(&self, name: &str) -> Result<(u64, u64), DeviceError> {
        let none = || DeviceError::new(ErrorKind::InvalidRequest, format!("no variable named {name}"));
        self.machine.as_ref().ok_or_else(none)?.variable(name)
    }

    /// Whether its kernels run as they are, to their ends.
    pub(crate) fn is_machine_code(&self) -> bool {
        self.machine.is_some()
    }

    /// A kernel in a form, compiled where it is not yet.
    pub(crate) fn kernel(&self, kernel: FuncId, form: Form, compiler: &Compiler) -> Result<Arc<Kernel>, DeviceError> {
        let form = if self.is_machine_code() { Form::WHOLE } else { form };
        let whole = self.whole.get(kernel.index()).filter(|_| form == Form::WHOLE);
        if let Some(known) = whole.and_then(OnceLock::get) {
            return Ok(Arc::clone(known));
        }
        let slot = {
            let mut kernels = self.kernels.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(kernels.entry((kernel, form)).or_default())
        };
        let compiled = slot.get_or_init(|| compiler.compile(self, kernel, form).map(Arc::new)).clone()?;
        whole.map(|whole| whole.set(Arc::clone(&compiled)));
        Ok(compiled)
    }
}

/// Whether threads of the kernel may be stored and go on elsewhere, with the addresses that they hold.
pub(crate) fn threads_move(module: &ir::Module, kernel: FuncId) -> bool {
    let body = module.functions.get(kernel.index()).and_then(|function| function.body.as_ref());
    let insts = body
        .into_iter()
        .flat_map(|body| body.blocks.iter().flat_map(|block| &block.insts).map(|&inst| body.inst(inst).op));
    insts.into_iter().any(|op| matches!(op, Op::StopAsked | Op::StopBarrier))
}

impl Compiler {
    fn compile(&self, loaded: &Loaded, kernel: FuncId, form: Form) -> Result<Kernel, DeviceError> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let begun = Instant::now();
        if let Some(machine) = &loaded.machine {
            return self.as_it_is(loaded, machine, kernel, NEXT.fetch_add(1, Ordering::Relaxed));
        }
        let module = &*loaded.module;
        let addresses = if threads_move(module, kernel) { Addresses::Logical } else { Addresses::Native };
        let request = Request {
            module,
            kernel,
            globals: &loaded.globals,
            target: &self.target,
            addresses,
            part: form.part,
            stops: form.stops,
        };
        let function = module.functions.get(kernel.index()).filter(|function| function.is_kernel());
        let function = function.ok_or_else(|| DeviceError::new(ErrorKind::InvalidImage, "there is no such kernel"))?;
        let name = function.name.clone();
        let (printed, known) = self.kept.print(&request).map_err(|why| {
            DeviceError::new(ErrorKind::NotSupported, format!("{name} cannot run on this device: {why}"))
        })?;
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        self.dump(&name, id, &printed.text);
        let text = CString::new(printed.text.as_str());
        let text = text.map_err(|_| DeviceError::new(ErrorKind::InvalidImage, format!("{name}: a NUL in its text")))?;
        let native = Arc::new(self.context.load(Image::Text(&text)).map_err(|mut error| {
            error.message = format!("{name}: {}", error.message);
            error
        })?);
        let constants = printed.constants.iter().map(|&global| {
            let at = loaded.globals.get(global.index()).copied().unwrap_or(0);
            let bytes = module.globals.get(global.index()).map_or(0, |global| global.size);
            Ok(Constant {
                logical: at..at.saturating_add(bytes),
                native: native.variable(&ptx::constant_name(global))?.0,
            })
        });
        let constants = constants.collect::<Result<Vec<_>, DeviceError>>()?;
        let function = native.function(&printed.entry)?;
        // Whoever asks for this makes the driver load the kernel now: at its first launch it would wait for others to end.
        let _ = function.attribute(sys::FUNCTION_REGISTERS)?;
        if let Some(log) = &self.services.log {
            let took = begun.elapsed().as_secs_f64() * 1e3;
            let known = if known { ", its text was kept" } else { "" };
            log(
                Importance::Info,
                format_args!("{name}: compiled by the driver in {took:.1} ms ({addresses:?}, {form:?}{known})"),
            );
        }
        Ok(Kernel { name, function, printed, constants, id, allowed: Default::default() })
    }

    /// A kernel of machine code.
    fn as_it_is(
        &self,
        loaded: &Loaded,
        machine: &Arc<driver::Module>,
        kernel: FuncId,
        id: u64,
    ) -> Result<Kernel, DeviceError> {
        let none = || DeviceError::new(ErrorKind::InvalidImage, "there is no such kernel");
        let known = loaded.module.functions.get(kernel.index()).ok_or_else(none)?;
        let printed = Printed {
            text: String::new(),
            entry: known.name.clone(),
            hidden: Vec::new(),
            param_offsets: known.kernel_params().iter().map(|param| param.offset).collect(),
            param_bytes: known.param_bytes(),
            constants: Vec::new(),
            static_shared: 0,
            dynamic_base: 0,
            own_shared: 0,
        };
        let function = machine.function(&known.name)?;
        let static_shared = function.attribute(sys::FUNCTION_SHARED)?;
        let printed = Printed { static_shared, ..printed };
        Ok(Kernel {
            name: known.name.clone(),
            function,
            printed,
            constants: Vec::new(),
            id,
            allowed: Default::default(),
        })
    }

    fn dump(&self, name: &str, id: u64, text: &str) {
        let Some(folder) = &self.services.dump else { return };
        let short: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(80).collect();
        let path = folder.join(format!("{short}.{id}.ptx"));
        if let (Err(error), Some(log)) = (std::fs::write(&path, text), &self.services.log) {
            log(Importance::Warning, format_args!("{}: {error}", path.display()));
        }
    }
}

impl Kernel {
    /// Whether a range of memory has a byte in common with its constants, as programs see them.
    pub(crate) fn reads_constants(&self, range: &Range<u64>) -> bool {
        let mut constants = self.constants.iter().map(|constant| &constant.logical);
        constants.any(|constant| constant.start < range.end && range.start < constant.end)
    }

    /// Sees to it that a launch may have what it asks for.
    pub(crate) fn allow(&self, shared: u32, cluster: u32) -> Result<(), DeviceError> {
        let raise = |place: usize, attribute, wanted, value| -> Result<(), DeviceError> {
            if self.allowed[place].load(Ordering::Relaxed) < wanted {
                self.function.set(attribute, value)?;
                self.allowed[place].fetch_max(wanted, Ordering::Relaxed);
            }
            Ok(())
        };
        if shared.saturating_add(self.printed.static_shared) > PLAIN_SHARED {
            raise(0, sys::FUNCTION_DYNAMIC_SHARED, shared, shared)?;
        }
        if cluster > PORTABLE_CLUSTER {
            raise(1, sys::FUNCTION_LARGE_CLUSTERS, cluster, 1)?;
        }
        Ok(())
    }

    /// The bytes of a launch's parameters, those included that the kernel does not know of.
    pub(crate) fn params<'l>(
        &self,
        launch: &'l Launch,
        corner: [u32; 3],
        value: impl Fn(Hidden) -> u64,
    ) -> Cow<'l, [u8]> {
        let all = self.printed.param_bytes as usize;
        if self.printed.hidden.is_empty() && launch.params.len() == all {
            return Cow::Borrowed(&launch.params);
        }
        let mut params = launch.params.to_vec();
        params.resize(all, 0);
        for &(hidden, offset) in &self.printed.hidden {
            let mut put = |offset: u32, bytes: &[u8]| {
                if let Some(place) = params.get_mut(offset as usize..offset as usize + bytes.len()) {
                    place.copy_from_slice(bytes);
                }
            };
            let mut triple = |numbers: [u32; 3]| {
                numbers.iter().zip(0..).for_each(|(n, place)| put(offset + place * 4, &n.to_le_bytes()));
            };
            match hidden {
                Hidden::Grid => triple(launch.grid),
                Hidden::Corner => triple(corner),
                other => put(offset, &value(other).to_le_bytes()[..other.bytes() as usize]),
            }
        }
        params.into()
    }
}
