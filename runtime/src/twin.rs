//! Kernels that can be suspended in the middle of their blocks: when they take a kernel's place, and what goes with a
//! launch of one.

use crate::launch::Prepared;
use crate::memory::{Memory, Owner};
use crate::module::Module;
use crate::session::Session;
use crate::system::DeviceState;
use crate::{Error, Result, log};
use hetgpu_device::{DeviceError, ErrorKind, LoadedModule};
use hetir::blocks::Blocks;
use hetir::entity::FuncId;
use hetir::passes::suspend::state::{Areas, Broken, Control, Shape, State};
use hetir::passes::suspend::{self, Density, Plan, Strips};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Which kernels can be suspended in their middle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Suspending {
    /// Those whose blocks take long, as far as that is known, and such as may never end.
    Auto,
    /// All that have sites.
    Always,
    /// None: kernels stop between blocks.
    Never,
}

impl Suspending {
    pub(crate) fn of(text: &str) -> Option<Self> {
        Some(match text {
            "auto" => Self::Auto,
            "always" => Self::Always,
            "never" => Self::Never,
            _ => return None,
        })
    }
}

/// Nanoseconds within which a job is to stand still. A kernel whose blocks take less stops soon enough between them.
const PROMISED: u64 = 1_000_000;

/// Of a kernel that was not launched yet, so many blocks for each processor are few enough to be long ones.
const FEW: u64 = 4;

/// Memory of its own pages is zeroed.
const PAGES: u64 = 2 << 20;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The twins of a kernel, by the shape of the blocks that it is launched in; nothing where it has no sites.
#[derive(Default)]
pub(crate) struct Twins(Mutex<HashMap<[u32; 3], Option<Arc<Twin>>>>);

/// A kernel's other forms.
pub(crate) struct Twin {
    plan: Plan,
    device: Arc<DeviceState>,
    globals: Vec<u64>,
    /// The suspendable form, and the resuming ones by the sites that they begin at.
    loaded: Mutex<HashMap<Option<Vec<u32>>, LoadedModule>>,
    /// Memory that a launch was given and did not touch.
    spare: Mutex<Vec<(Areas, u64)>>,
}

impl Drop for Twin {
    fn drop(&mut self) {
        for (_, loaded) in lock(&self.loaded).drain() {
            self.device.device.unload(loaded);
        }
    }
}

impl Twins {
    fn of(&self, module: &Module, kernel: FuncId, block: [u32; 3]) -> Option<Arc<Twin>> {
        let mut known = lock(&self.0);
        let twin = known.entry(block).or_insert_with(|| {
            // A device that works on its own is one that computes each thread by itself.
            let caps = module.session.device.device.caps();
            let strips = if caps.asynchronous { Strips::Bounded } else { Strips::Counted };
            let plan = Plan::with(&module.code.module, kernel, block, Density::Enough, strips);
            let plan = plan.filter(Plan::has_sites)?;
            Some(Arc::new(Twin {
                plan,
                device: module.session.device.clone(),
                globals: module.variables().map(|(_, address)| address).collect(),
                loaded: Mutex::default(),
                spare: Mutex::default(),
            }))
        });
        twin.clone()
    }
}

/// A launch of a twin.
pub(crate) struct Sitting<'m> {
    twin: Arc<Twin>,
    memory: &'m Memory,
    owner: Owner,
    base: Areas,
    areas: Areas,
    at: u64,
    /// What it goes on from, if it was suspended before.
    earlier: Option<State>,
    pub(crate) module: LoadedModule,
    pub(crate) params: Arc<[u8]>,
}

impl Prepared {
    /// The launch in a form that can be suspended in the middle, where that is worth while and possible.
    pub(crate) fn sit<'m>(&self, session: &Session, memory: &'m Memory) -> Result<Option<Sitting<'m>>> {
        let Self { module, function, kernel, request, suspending, .. } = self;
        let processors = u64::from(session.device.device.caps().multiprocessors.max(1));
        let wanted = match suspending {
            Suspending::Never => return Ok(None),
            Suspending::Always => true,
            Suspending::Auto => match function.pace.of_block(processors) {
                Some(nanoseconds) => nanoseconds > PROMISED,
                // Another form takes longer to compile, which many blocks need not wait for.
                None => self.blocks() <= FEW * processors || suspend::may_be_endless(&module.code.module, *kernel),
            },
        };
        if !wanted || !session.device.device.caps().suspends || request.cluster != [1; 3] {
            return Ok(None);
        }
        let Some(twin) = function.twins.of(module, *kernel, request.block) else { return Ok(None) };
        let shape = Shape { grid: request.grid, block: request.block, dynamic_shared: request.dynamic_shared };
        let Some(base) = twin.plan.areas(&shape) else { return Ok(None) };
        let owner = Owner::system(session.id);
        let spare = {
            let mut spare = lock(&twin.spare);
            let place = spare.iter().position(|(areas, _)| *areas == base);
            place.map(|n| spare.swap_remove(n).1)
        };
        let at = match spare {
            Some(at) => at,
            None => match make(memory, session, owner, &base) {
                Ok(at) => {
                    session.device.device.write(at, &base.control(at))?;
                    at
                }
                // Without room for its state the kernel stops between its blocks.
                Err(why) => {
                    log::about(log::Topic::Jit, format_args!("no memory for a kernel's state: {why}"));
                    return Ok(None);
                }
            },
        };
        let loaded = twin.load(None)?;
        let params = twin.params(&request.params, at);
        Ok(Some(Sitting { memory, owner, areas: base.clone(), base, at, earlier: None, module: loaded, params, twin }))
    }
}

fn damaged(what: &str) -> Error {
    let message = format!("what a suspended kernel left is damaged: {what}");
    DeviceError::new(ErrorKind::LaunchFailed, message).into()
}

fn make(memory: &Memory, session: &Session, owner: Owner, areas: &Areas) -> Result<u64> {
    memory.allocate(session.device.index, owner, areas.bytes.max(PAGES), "state of a kernel")
}

impl Twin {
    fn load(&self, used: Option<Vec<u32>>) -> Result<LoadedModule> {
        let mut known = lock(&self.loaded);
        if let Some(&loaded) = known.get(&used) {
            return Ok(loaded);
        }
        let module = match &used {
            None => self.plan.suspendable(),
            Some(used) => self.plan.resuming(used, false),
        };
        let loaded = self.device.device.load(&Arc::new(module), &self.globals)?;
        known.insert(used, loaded);
        Ok(loaded)
    }

    fn params(&self, given: &[u8], control: u64) -> Arc<[u8]> {
        let (offset, bytes) = self.plan.control_place();
        let mut params = given.to_vec();
        params.resize(bytes as usize, 0);
        params[offset as usize..].copy_from_slice(&control.to_le_bytes());
        params.into()
    }
}

impl Sitting<'_> {
    /// The word that asks it to stop.
    pub(crate) fn stop(&self) -> u64 {
        self.at + Control::Stop as u64
    }

    /// The launch has ended after it was asked to stop, without having begun these blocks. What is to be run now, if
    /// anything is left.
    pub(crate) fn go_on(
        &mut self,
        session: &Session,
        unstarted: &[Range<u64>],
        params: &[u8],
    ) -> Result<Option<Blocks>> {
        let device = &session.device.device;
        let now = self.areas.collect(self.at, |from, out| device.read(from, out)).map_err(|broken| match broken {
            Broken::Memory(error) => Error::from(error),
            Broken::Contents(what) => damaged(&what),
        })?;
        let state = match &self.earlier {
            Some(earlier) => Areas::carry(earlier, unstarted, now),
            None => now,
        };
        self.twin.plan.accepts(&self.base, &state).map_err(|what| damaged(&what))?;
        self.give_back();
        if state.blocks.is_empty() && unstarted.is_empty() {
            return Ok(None);
        }
        self.areas = self.base.resuming(&state);
        self.at = make(self.memory, session, self.owner, &self.areas)?;
        let (control, pieces) = self.areas.resume(self.at, &state);
        device.write(self.at, &control)?;
        for (to, bytes) in &pieces {
            device.write(*to, bytes)?;
        }
        self.module = self.twin.load(Some(self.twin.plan.used_sites(&state)))?;
        self.params = self.twin.params(params, self.at);
        let blocks = Plan::blocks(&state, unstarted);
        self.earlier = Some(state);
        Ok(Some(blocks))
    }

    fn give_back(&mut self) {
        if let Ok(allocation) = self.memory.forget(std::mem::take(&mut self.at), |_| Ok(())) {
            self.memory.release(&allocation);
        }
    }

    /// The launch has ended, and nobody asked it to stop: another one finds its memory as this one did.
    pub(crate) fn untouched(mut self) {
        const MOST: usize = 4;
        let mut spare = lock(&self.twin.spare);
        if self.earlier.is_none() && spare.len() < MOST {
            spare.push((self.base.clone(), std::mem::take(&mut self.at)));
        }
    }
}

impl Drop for Sitting<'_> {
    fn drop(&mut self) {
        if self.at != 0 {
            self.give_back();
        }
    }
}
