//! The runtime as a whole: devices, tables, and the requests that need several of them.

use crate::context::Context;
use crate::event::Event;
use crate::handle::{Handle, Table};
use crate::memory::{Allocation, AllocationKind, Memory, Owner};
use crate::module::{Function, Kernel, Library, Module};
use crate::place::{self, Place};
use crate::queue::{Operation, Queue};
use crate::session::Session;
use crate::stream::{Stream, StreamRef};
use crate::{Error, Result, Settings};
use hetgpu_device::{Device, Fill, HostBuffer, Pattern, Shape};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// A device and the order of its work.
pub struct DeviceState {
    pub index: usize,
    pub device: Arc<dyn Device>,
    pub(crate) queue: Queue,
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
    pub streams: Table<Stream>,
    pub events: Table<Event>,
    pub modules: Table<Module>,
    pub libraries: Table<Library>,
    pub functions: Table<Function>,
    pub kernels: Table<Kernel>,
    devices: Vec<Arc<DeviceState>>,
    ids: AtomicU64,
}

impl Runtime {
    pub fn new(settings: Settings, devices: Vec<Arc<dyn Device>>) -> Self {
        let memory = Arc::new(Memory::new(devices.clone()));
        let states = devices.into_iter().enumerate().map(|(index, device)| {
            let queue = Queue::new(device.clone());
            Arc::new(DeviceState { index, device, queue, primary: OnceLock::new() })
        });
        let runtime = Self {
            settings,
            memory,
            contexts: Table::default(),
            streams: Table::default(),
            events: Table::default(),
            modules: Table::default(),
            libraries: Table::default(),
            functions: Table::default(),
            kernels: Table::default(),
            devices: states.collect(),
            ids: AtomicU64::new(1),
        };
        for state in &runtime.devices {
            let context = runtime.new_context(state, true, 0);
            let _ = state.primary.set(runtime.contexts.insert(context));
        }
        runtime
    }

    /// A number that names nothing else.
    pub(crate) fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
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
        let allocation = self.memory.forget(start, |allocation| match allocation.kind {
            _ if !allocation.owner.program => Err(Error::invalid("the program did not allocate this memory")),
            AllocationKind::Device | AllocationKind::Managed => Ok(()),
            AllocationKind::Pinned | AllocationKind::Registered => Err(Error::invalid("host memory is freed as such")),
        })?;
        session.drain();
        self.memory.release(&allocation);
        session.check()
    }

    /// Device memory, usable from this point of the stream on.
    pub fn allocate_in(&self, stream: StreamRef, bytes: u64) -> Result<u64> {
        let (session, _) = self.lane(stream)?;
        self.memory.allocate(session.device.index, Owner::program(session.id), bytes, "an allocation")
    }

    /// Frees memory when the stream gets there.
    pub fn free_in(&self, stream: StreamRef, start: u64) -> Result<()> {
        let (session, lane) = self.lane(stream)?;
        let allocation = self.memory.forget(start, |allocation| match allocation.kind {
            AllocationKind::Device if allocation.owner.program => Ok(()),
            _ => Err(Error::invalid("only device memory is freed in the order of a stream")),
        })?;
        let memory = self.memory.clone();
        let release = Box::new(move |_: Option<Error>| memory.release(&allocation));
        session.push(lane, Vec::new(), Operation::Call(release))?;
        Ok(())
    }

    /// Frees pinned memory, or forgets registered memory, after all work that may use it.
    pub fn free_host(&self, start: u64, kind: AllocationKind) -> Result<()> {
        let session = self.session()?;
        let allocation = self.memory.forget(start, |allocation| match (allocation.kind == kind, kind) {
            (true, _) => Ok(()),
            (false, _) => Err(Error::InvalidHandle("allocation")),
        });
        let allocation = match (allocation, kind) {
            (Err(Error::InvalidValue(_)), AllocationKind::Registered) => return Err(Error::NotRegistered),
            (Err(Error::InvalidHandle(_)), _) => return Err(Error::invalid("host memory of another kind")),
            (other, _) => other?,
        };
        session.drain();
        self.memory.release(&allocation);
        session.check()
    }

    fn within(&self, address: u64, bytes: u64) -> Result<Option<Allocation>> {
        let Some(allocation) = self.memory.find(address) else { return Ok(None) };
        match allocation.end() - address >= bytes {
            true => Ok(Some(allocation)),
            false => Err(Error::invalid(format!(
                "{bytes} bytes at {address:#x} reach past the end of the allocation at {:#x} of {} bytes",
                allocation.start, allocation.bytes
            ))),
        }
    }

    /// What an address stands for, and whether it is memory that the program may reuse as soon as a call returns.
    fn locate(&self, session: &Session, address: u64, bytes: u64, device_only: bool) -> Result<(Place, bool)> {
        match self.within(address, bytes)? {
            Some(allocation) if allocation.host_visible() => Ok((Place::Host(address), false)),
            Some(allocation) if allocation.device != session.device.index => {
                Err(Error::NotSupported("a copy between two devices".into()))
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
        let CopyRequest { to, to_device, from, from_device, shape } = request;
        let (session, lane) = self.lane(stream)?;
        place::check(&shape)?;
        let (from_span, to_span) = (place::span(shape.from_span())?, place::span(shape.to_span())?);
        if shape.is_empty() {
            return Ok(());
        }
        let (mut from, from_pageable) = self.locate(&session, from, from_span, from_device)?;
        let (to, to_pageable) = self.locate(&session, to, to_span, to_device)?;
        let wait = wait || to_pageable;
        if from_pageable && !wait {
            from = from.captured(&shape)?;
        }
        let point = session.push(lane, Vec::new(), Operation::Copy { to, from, shape })?;
        if wait {
            session.wait(point)?;
        }
        Ok(())
    }

    /// Writes bytes to device memory, in the order of the default stream.
    pub fn write(&self, at: u64, data: Vec<u8>) -> Result<()> {
        let (session, lane) = self.lane(StreamRef::Default)?;
        let shape = Shape::line(data.len() as u64);
        let (to, _) = self.locate(&session, at, shape.row, true)?;
        let point = session.push(
            lane,
            Vec::new(),
            Operation::Copy { to, from: Place::Bytes(HostBuffer::from(data)), shape },
        )?;
        session.wait(point)
    }

    /// Reads bytes of device memory, after all work of the context.
    pub fn read(&self, at: u64, bytes: u64) -> Result<Vec<u8>> {
        let session = self.session()?;
        session.synchronise()?;
        self.locate(&session, at, bytes, true)?;
        let mut data = vec![0; bytes as usize];
        session.device.device.read(at, &mut data)?;
        Ok(data)
    }

    /// Repeats a pattern of 1, 2 or 4 bytes over `rows` rows of `count` elements.
    pub fn fill(&self, stream: StreamRef, request: FillRequest, wait: bool) -> Result<()> {
        let FillRequest { at, pattern, count, rows, pitch } = request;
        let (session, lane) = self.lane(stream)?;
        let size = pattern.len() as u64;
        let pattern = Pattern::new(&pattern).ok_or_else(|| Error::invalid(format!("a pattern of {size} bytes")))?;
        let row = count.checked_mul(size).ok_or_else(|| Error::invalid("a fill that is too long"))?;
        let shape = Shape { rows, to_pitch: pitch, from_pitch: row, ..Shape::line(row) };
        place::check(&shape)?;
        let span = place::span(shape.to_span())?;
        if shape.is_empty() {
            return Ok(());
        }
        if at % size != 0 || (rows > 1 && pitch % size != 0) {
            return Err(Error::invalid("a fill that is not aligned to its pattern"));
        }
        if self.within(at, span)?.is_none() {
            return Err(Error::invalid(format!("{at:#x} is not an address of device memory")));
        }
        let fill = Fill { at, pattern, count, rows, pitch };
        let point = session.push(lane, Vec::new(), Operation::Fill(fill))?;
        if wait {
            session.wait(point)?;
        }
        Ok(())
    }
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
