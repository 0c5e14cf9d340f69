//! The runtime as a whole: devices, tables, and the requests that need several of them.

use crate::capture::{Captures, Target};
use crate::context::Context;
use crate::error::CaptureError;
use crate::event::Event;
use crate::external::ExternalMemory;
use crate::flight::Flights;
use crate::graph::Graphs;
use crate::handle::{Handle, Table};
use crate::image::{CopyStep, Images, PreparedTexels, TexelCopy};
use crate::link::Linker;
use crate::memory::{AllocationKind, Memory, Origin, Owner};
use crate::migrate::Control;
use crate::module::{Function, Kernel, Library, Module};
use crate::partition::{GreenContext, Part, ResourceDescription};
use crate::place::{self, Place};
use crate::pool::{Pool, Pools};
use crate::presence::{self, Presence};
use crate::queue::{Operation, Queue};
use crate::seat::Seat;
use crate::session::Session;
use crate::snapshot::Ledger;
use crate::stream::{Stream, StreamRef};
use crate::vmm::{Physical, Reservations};
use crate::{Error, Result, Settings, dump, log};
use hetgpu_checkpoint::Snapshot;
use hetgpu_device::{Access, Device, Fill, HostBuffer, Pattern, Shape};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

/// A device and the order of its work.
pub struct DeviceState {
    pub index: usize,
    pub device: Arc<dyn Device>,
    pub(crate) queue: Queue,
    /// The same device, as one that can be exchanged.
    pub(crate) seat: Seat,
    pub(crate) flights: Flights,
    primary: OnceLock<Handle<Context>>,
}

impl DeviceState {
    pub(crate) fn primary(&self) -> Handle<Context> {
        *self.primary.get().expect("set before the runtime is handed out")
    }
}

/// Everything that a process has.
pub struct Runtime {
    pub settings: Settings,
    pub memory: Arc<Memory>,
    pub contexts: Table<Context>,
    pub greens: Table<GreenContext>,
    pub descriptions: Table<ResourceDescription>,
    pub streams: Table<Stream>,
    pub events: Table<Event>,
    pub external: Table<ExternalMemory>,
    pub modules: Table<Module>,
    pub libraries: Table<Library>,
    pub functions: Table<Function>,
    pub kernels: Table<Kernel>,
    pub images: Images,
    pub linkers: Table<Linker>,
    pub(crate) graphs: Graphs,
    pub(crate) captures: Captures,
    pub pools: Table<Pool>,
    pub physical: Table<Physical>,
    pub(crate) reservations: Reservations,
    pub(crate) known_pools: Pools,
    pub(crate) control: Control,
    pub(crate) ledger: Ledger,
    /// The last snapshot of the running job, which the next is built on.
    pub(crate) latest: Mutex<Option<Arc<Snapshot>>>,
    devices: Vec<Arc<DeviceState>>,
    ids: Arc<AtomicU64>,
}

impl Runtime {
    pub fn new(settings: Settings, devices: Vec<Arc<dyn Device>>) -> Self {
        if let Some(folder) = &settings.dump {
            dump::into(folder);
        }
        let seats: Vec<Seat> = devices.into_iter().map(Seat::new).collect();
        let devices: Vec<Arc<dyn Device>> = seats.iter().map(|seat| Arc::new(seat.clone()) as _).collect();
        let memory = Arc::new(Memory::new(devices.clone(), settings.check));
        let states = devices.into_iter().zip(seats).enumerate().map(|(index, (device, seat))| {
            let (queue, flights) = (Queue::new(device.clone()), Flights::default());
            Arc::new(DeviceState { index, device, queue, seat, flights, primary: OnceLock::new() })
        });
        let runtime = Self {
            settings,
            memory,
            contexts: Table::default(),
            greens: Table::default(),
            descriptions: Table::default(),
            streams: Table::default(),
            events: Table::default(),
            external: Table::default(),
            modules: Table::default(),
            libraries: Table::default(),
            functions: Table::default(),
            kernels: Table::default(),
            images: Images::default(),
            linkers: Table::default(),
            graphs: Graphs::default(),
            captures: Captures::default(),
            pools: Table::default(),
            physical: Table::default(),
            reservations: Reservations::default(),
            known_pools: Pools::default(),
            control: Control::default(),
            ledger: Ledger::default(),
            latest: Mutex::default(),
            devices: states.collect(),
            ids: Arc::new(AtomicU64::new(1)),
        };
        for state in &runtime.devices {
            let context = runtime.new_context(state, true, 0, Part::whole());
            let _ = state.primary.set(runtime.contexts.insert(context));
        }
        runtime
    }

    /// Says to tools of this user that the process uses its devices, and how much of them.
    pub fn announce(&self) {
        let uuids: Vec<_> = self.devices.iter().map(|state| state.device.caps().uuid).collect();
        let folder = presence::folder();
        // Whoever looks cleans up; so does whoever comes.
        presence::processes(&folder);
        match Presence::announce(&folder, &uuids) {
            Ok(presence) => self.memory.tell(presence),
            Err(error) => log::info(format_args!("tools will not see this process: {}: {error}", folder.display())),
        }
    }

    /// A number that names nothing else.
    pub(crate) fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Where those numbers come from.
    pub(crate) fn ids(&self) -> Arc<AtomicU64> {
        self.ids.clone()
    }

    pub fn device_count(&self) -> usize {
        self.devices.len()
    }

    pub fn device(&self, index: usize) -> Result<&Arc<DeviceState>> {
        self.devices.get(index).ok_or(Error::InvalidDevice)
    }

    /// Device memory for the current context.
    pub fn allocate(&self, bytes: u64) -> Result<u64> {
        self.allocate_named(bytes, "an allocation")
    }

    /// The same, with a name that messages about accesses near it use.
    pub fn allocate_named(&self, bytes: u64, name: &str) -> Result<u64> {
        let session = self.session()?;
        self.memory.allocate(session.device.index, Owner::program(session.id), bytes, name)
    }

    /// Frees device or managed memory, after all work that may use it.
    pub fn free(&self, start: u64) -> Result<()> {
        let session = self.session()?;
        if let Some(block) = self.graphs.blocks.end(start)? {
            session.drain();
            drop(block);
            return session.check();
        }
        let allocation = self.memory.forget(start, |allocation| match (allocation.kind, &allocation.origin) {
            _ if !allocation.owner.program => Err(Error::invalid("the program did not allocate this memory")),
            (_, Origin::Foreign(foreign)) if !foreign.pooled() => {
                Err(Error::invalid("memory of another process is closed"))
            }
            (AllocationKind::Device | AllocationKind::Managed, _) | (_, Origin::Pool(_)) => Ok(()),
            (AllocationKind::Pinned | AllocationKind::Registered, _) => {
                Err(Error::invalid("host memory is freed as such"))
            }
            (AllocationKind::Mapped, _) => Err(Error::invalid("mapped memory is unmapped")),
        })?;
        session.drain();
        self.memory.release(&allocation);
        session.check()
    }

    /// Frees pinned memory, or forgets registered memory, after all work that may use it.
    pub fn free_host(&self, start: u64, kind: AllocationKind) -> Result<()> {
        let session = self.session()?;
        let known = self.memory.find(start).is_some();
        let allocation = self.memory.forget(start, |allocation| match &allocation.origin {
            Origin::Own if allocation.kind == kind => Ok(()),
            _ => Err(Error::invalid("host memory of another kind")),
        });
        let allocation = match kind {
            AllocationKind::Registered if !known => return Err(Error::NotRegistered),
            _ => allocation?,
        };
        session.drain();
        self.memory.release(&allocation);
        session.check()
    }

    /// Whether a range lies in memory of one kind: an allocation, or mappings without a gap between them that its devices
    /// may access. None where nothing lies at its start.
    fn within(&self, address: u64, bytes: u64, needs: Access) -> Result<Option<Found>> {
        let mut found: Option<Found> = None;
        let mut at = address;
        loop {
            let Some(allocation) = self.memory.find(at) else { break };
            if let Origin::Mapping(mapping) = &allocation.origin
                && mapping.most() < needs
            {
                return Err(Error::invalid(format!("{at:#x} may not be accessed so")));
            }
            let first =
                found.get_or_insert(Found { device: allocation.device, host_visible: allocation.host_visible() });
            if first.device != allocation.device {
                break;
            }
            match allocation.end().checked_sub(address) {
                Some(held) if held >= bytes => return Ok(found),
                _ if allocation.kind != AllocationKind::Mapped => break,
                _ => at = allocation.end(),
            }
        }
        match found {
            Some(_) => {
                Err(Error::invalid(format!("{bytes} bytes at {address:#x} reach past the end of what lies there")))
            }
            None => Ok(None),
        }
    }

    /// What an address stands for, and whether it is memory that the program may reuse as soon as a call returns.
    pub(crate) fn locate(
        &self,
        session: &Session,
        range: (u64, u64),
        device_only: bool,
        needs: Access,
    ) -> Result<(Place, bool)> {
        let (address, bytes) = range;
        match self.within(address, bytes, needs)? {
            Some(found) if found.host_visible => Ok((Place::Host(address), false)),
            Some(found) if found.device != session.device.index => {
                Ok((Place::Elsewhere(self.device(found.device)?.device.clone(), address), false))
            }
            Some(_) => Ok((Place::Device(address), false)),
            None if device_only => Err(Error::invalid(format!("{address:#x} is not an address of device memory"))),
            None if address == 0 => Err(Error::invalid("a copy from or to a null pointer")),
            None => Ok((Place::Host(address), true)),
        }
    }

    /// Copies. With `wait` the copy is done when the call returns; without, memory that is not pinned is read before the
    /// call returns, and written before it returns.
    pub fn copy(&self, stream: StreamRef, request: CopyRequest, wait: bool) -> Result<()> {
        let (session, lane) = match self.target(stream)? {
            Target::Lane(session, lane) => (session, lane),
            Target::Capture(capture) => return self.capture_copy(&capture, CopyAsked::Rows(request), wait),
        };
        let Some(PreparedCopy { to, mut from, shape, pageable }) = self.prepare_copy(&session, &request)? else {
            return Ok(());
        };
        let wait = wait || pageable.1;
        if pageable.0 && !wait {
            from = from.captured(&shape)?;
        }
        let point = session.push(lane, Vec::new(), CopyStep { to, from, shape }.operation())?;
        if wait {
            session.wait(point)?;
        }
        Ok(())
    }

    /// Checks a copy; none where nothing is copied.
    pub(crate) fn prepare_copy(&self, session: &Session, request: &CopyRequest) -> Result<Option<PreparedCopy>> {
        let CopyRequest { to, to_device, from, from_device, shape } = *request;
        place::check(&shape)?;
        let (from_span, to_span) = (place::span(shape.from_span())?, place::span(shape.to_span())?);
        if shape.is_empty() {
            return Ok(None);
        }
        let (from, from_pageable) = self.locate(session, (from, from_span), from_device, Access::Read)?;
        let (to, to_pageable) = self.locate(session, (to, to_span), to_device, Access::ReadWrite)?;
        Ok(Some(PreparedCopy { to, from, shape, pageable: (from_pageable, to_pageable) }))
    }

    pub(crate) fn prepare_any(&self, session: &Session, asked: &CopyAsked) -> Result<Option<CopyWork>> {
        Ok(match asked {
            CopyAsked::Rows(request) => self.prepare_copy(session, request)?.map(CopyWork::Rows),
            CopyAsked::Texels(copy) => self.prepare_texels(session, copy)?.map(CopyWork::Texels),
        })
    }

    /// Copies that are all right, or none of them: the number of the first that is wrong comes with the error. Without
    /// `now` sources are read when the stream gets there; pageable memory is written then in any case.
    pub fn copy_batch(
        &self,
        stream: StreamRef,
        requests: &[(CopyAsked, bool)],
    ) -> std::result::Result<(), (Option<usize>, Error)> {
        let (session, lane) = match self.target(stream).map_err(|error| (None, error))? {
            Target::Lane(session, lane) => (session, lane),
            // The capture goes on without it.
            Target::Capture(_) => return Err((None, CaptureError::Unsupported.into())),
        };
        let mut ready = Vec::with_capacity(requests.len());
        for (index, (asked, now)) in requests.iter().enumerate() {
            let mut operations = || {
                match self.prepare_any(&session, asked)? {
                    None => {}
                    Some(CopyWork::Rows(PreparedCopy { to, from, shape, pageable })) => {
                        let from = if pageable.0 && *now { from.captured(&shape)? } else { from };
                        ready.push(CopyStep { to, from, shape }.operation());
                    }
                    Some(CopyWork::Texels(texels)) => {
                        let texels = if *now { texels.captured()? } else { texels };
                        ready.extend(texels.steps()?.into_iter().map(CopyStep::operation));
                    }
                }
                Ok(())
            };
            operations().map_err(|error| (Some(index), error))?;
        }
        for operation in ready {
            session.push(lane, Vec::new(), operation).map_err(|error| (None, error))?;
        }
        Ok(())
    }

    /// Writes bytes to device memory, in the order of the default stream.
    pub fn write(&self, at: u64, data: Vec<u8>) -> Result<()> {
        let (session, lane) = self.lane(StreamRef::Default)?;
        let shape = Shape::line(data.len() as u64);
        let (to, _) = self.locate(&session, (at, shape.row), true, Access::ReadWrite)?;
        let from = Place::Bytes(HostBuffer::from(data));
        let point = session.push(lane, Vec::new(), CopyStep { to, from, shape }.operation())?;
        session.wait(point)
    }

    /// Reads bytes of device memory, after all work of the context.
    pub fn read(&self, at: u64, bytes: u64) -> Result<Vec<u8>> {
        let session = self.session()?;
        session.synchronise()?;
        self.locate(&session, (at, bytes), true, Access::Read)?;
        let mut data = vec![0; bytes as usize];
        session.device.device.read(at, &mut data)?;
        Ok(data)
    }

    /// Repeats a pattern of 1, 2 or 4 bytes over `rows` rows of `count` elements.
    pub fn fill(&self, stream: StreamRef, request: FillRequest, wait: bool) -> Result<()> {
        let (session, lane) = match self.target(stream)? {
            Target::Lane(session, lane) => (session, lane),
            Target::Capture(capture) => return self.capture_fill(&capture, request, wait),
        };
        let Some(fill) = self.prepare_fill(&request)? else { return Ok(()) };
        let found = self.memory.find(fill.at);
        if found.is_some_and(|found| !self.reaches(&session, &found)) {
            return Err(Error::invalid(format!("{:#x} is memory of another device", fill.at)));
        }
        let operation = Operation::Fill(fill);
        let point = session.push(lane, Vec::new(), operation)?;
        if wait {
            session.wait(point)?;
        }
        Ok(())
    }

    /// Checks a fill; none where nothing is filled.
    pub(crate) fn prepare_fill(&self, request: &FillRequest) -> Result<Option<Fill>> {
        let FillRequest { at, count, rows, pitch, .. } = *request;
        let size = request.pattern.len() as u64;
        let pattern = Pattern::new(&request.pattern);
        let pattern = pattern.ok_or_else(|| Error::invalid(format!("a pattern of {size} bytes")))?;
        let row = count.checked_mul(size).ok_or_else(|| Error::invalid("a fill that is too long"))?;
        let shape = Shape { rows, to_pitch: pitch, from_pitch: row, ..Shape::line(row) };
        place::check(&shape)?;
        let span = place::span(shape.to_span())?;
        if shape.is_empty() {
            return Ok(None);
        }
        if at % size != 0 || (rows > 1 && pitch % size != 0) {
            return Err(Error::invalid("a fill that is not aligned to its pattern"));
        }
        if self.within(at, span, Access::ReadWrite)?.is_none() {
            return Err(Error::invalid(format!("{at:#x} is not an address of device memory")));
        }
        Ok(Some(Fill { at, pattern, count, rows, pitch }))
    }
}

/// A copy that was checked.
#[derive(Clone, Debug)]
pub(crate) struct PreparedCopy {
    pub(crate) to: Place,
    pub(crate) from: Place,
    pub(crate) shape: Shape,
    /// Whether source and destination are memory that the program may reuse as soon as a call returns.
    pub(crate) pageable: (bool, bool),
}

/// A copy of either kind as asked for.
#[derive(Clone, Copy, Debug)]
pub enum CopyAsked {
    Rows(CopyRequest),
    Texels(TexelCopy),
}

/// A copy of either kind that was checked.
#[derive(Clone, Debug)]
pub(crate) enum CopyWork {
    Rows(PreparedCopy),
    Texels(PreparedTexels),
}

impl CopyWork {
    pub(crate) fn run(&self, queue: &dyn hetgpu_device::Queue) -> Result<()> {
        match self {
            Self::Rows(copy) => place::copy(queue, &copy.to, &copy.from, &copy.shape),
            Self::Texels(copy) => copy.steps()?.iter().try_for_each(|step| step.run(queue)),
        }
    }

    /// Destination and source.
    pub(crate) fn places(&self) -> (&Place, &Place) {
        match self {
            Self::Rows(copy) => (&copy.to, &copy.from),
            Self::Texels(copy) => copy.places(),
        }
    }

    pub(crate) fn shape(&self) -> &Shape {
        match self {
            Self::Rows(copy) => &copy.shape,
            Self::Texels(copy) => &copy.shape,
        }
    }
}

/// What a range lies in.
#[derive(Clone, Copy)]
struct Found {
    device: usize,
    host_visible: bool,
}

/// A copy as asked for.
#[derive(Clone, Copy, Debug)]
pub struct CopyRequest {
    pub to: u64,
    /// The caller says that `to` is device memory, so that anything else is a mistake.
    pub to_device: bool,
    pub from: u64,
    pub from_device: bool,
    pub shape: Shape,
}

/// A fill as asked for.
#[derive(Clone, Debug)]
pub struct FillRequest {
    pub at: u64,
    pub pattern: Vec<u8>,
    /// Elements in a row.
    pub count: u64,
    pub rows: u64,
    /// Bytes from one row to the next.
    pub pitch: u64,
}
