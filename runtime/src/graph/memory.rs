//! Memory of graphs: its address is known when the node is made, and it is the program's between the launch of a graph that
//! allocates it and whatever frees it.

use crate::memory::{Memory, Owner};
use crate::session::Session;
use crate::{Error, Result, Runtime};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

/// Memory of an allocation node. It is given back when neither a graph, an executable, a launch nor the program has it.
pub struct Block {
    pub start: u64,
    pub bytes: u64,
    pub device: usize,
    session: u64,
    id: u64,
    memory: Arc<Memory>,
    records: Arc<Mutex<Records>>,
}

impl Drop for Block {
    fn drop(&mut self) {
        let mut records = lock(&self.records);
        let launched = records.known.remove(&self.start).is_some_and(|known| known.launched);
        if launched {
            records.usage(self.device).used -= self.bytes;
        }
        drop(records);
        let ours = |id| if id == self.id { Ok(()) } else { Err(Error::invalid("another allocation")) };
        if let Ok(allocation) = self.memory.forget(self.start, |allocation| ours(allocation.id)) {
            self.memory.release(&allocation);
        }
    }
}

struct Known {
    block: Weak<Block>,
    /// Held for the program: a launch allocated it, and nothing has freed it.
    live: Option<Arc<Block>>,
    launched: bool,
}

#[derive(Clone, Copy, Default)]
struct Usage {
    used: u64,
    high: u64,
}

#[derive(Default)]
struct Records {
    known: HashMap<u64, Known>,
    usage: HashMap<usize, Usage>,
}

impl Records {
    fn usage(&mut self, device: usize) -> &mut Usage {
        self.usage.entry(device).or_default()
    }
}

fn lock(records: &Mutex<Records>) -> MutexGuard<'_, Records> {
    records.lock().unwrap_or_else(|e| e.into_inner())
}

/// Every block of the process.
#[derive(Default)]
pub(crate) struct Blocks(Arc<Mutex<Records>>);

/// Bytes of a device that graphs which were launched hold, now and at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GraphMemory {
    pub used: u64,
    pub high: u64,
}

impl Blocks {
    /// The block that begins at an address.
    pub(crate) fn find(&self, start: u64) -> Result<Arc<Block>> {
        let records = lock(&self.0);
        let block = records.known.get(&start).and_then(|known| known.block.upgrade());
        drop(records);
        block.ok_or_else(|| Error::invalid(format!("{start:#x} is not memory of a graph")))
    }

    /// Frees a block for the program; none where the address is no graph's.
    pub(crate) fn end(&self, start: u64) -> Result<Option<Arc<Block>>> {
        let mut records = lock(&self.0);
        let Some(known) = records.known.get_mut(&start) else { return Ok(None) };
        let block = known.live.take();
        block.map(Some).ok_or_else(|| Error::invalid("the graph that allocates this memory was not launched"))
    }

    /// The blocks of a session that has ended: their memory is gone.
    pub(crate) fn forget_session(&self, session: u64) {
        let mut records = lock(&self.0);
        // A block that goes takes the lock, so that all are held until it is free.
        let all: Vec<Arc<Block>> = records.known.values().filter_map(|known| known.block.upgrade()).collect();
        let mut forgotten = Vec::new();
        for block in all.iter().filter(|block| block.session == session) {
            let Some(known) = records.known.remove(&block.start) else { continue };
            if known.launched {
                records.usage(block.device).used -= block.bytes;
            }
            forgotten.push(known);
        }
        drop(records);
        drop((all, forgotten));
    }

    /// What a launch does to memory: `allocated` becomes live unless `freed` again; the others of `freed` were live and no
    /// longer are. They are returned, to be kept until the launch is done.
    pub(crate) fn launch(
        &self,
        allocated: &[Arc<Block>],
        freed: &[Arc<Block>],
        again: bool,
    ) -> Result<Vec<Arc<Block>>> {
        let mut records = lock(&self.0);
        let is_live =
            |records: &Records, block: &Block| records.known.get(&block.start).is_some_and(|k| k.live.is_some());
        let own = |block: &Arc<Block>| allocated.iter().any(|other| Arc::ptr_eq(other, block));
        if !again && allocated.iter().any(|block| is_live(&records, block)) {
            return Err(Error::invalid("memory that the last launch allocated was not freed"));
        }
        if freed.iter().any(|block| !own(block) && !is_live(&records, block)) {
            return Err(Error::invalid("the graph frees memory that is not allocated"));
        }
        for block in allocated {
            let Some(known) = records.known.get_mut(&block.start) else { continue };
            known.live = Some(block.clone());
            if !std::mem::replace(&mut known.launched, true) {
                let usage = records.usage(block.device);
                usage.used += block.bytes;
                usage.high = usage.high.max(usage.used);
            }
        }
        let mut ended = Vec::new();
        for block in freed {
            ended.extend(records.known.get_mut(&block.start).and_then(|known| known.live.take()));
        }
        Ok(ended)
    }
}

impl Runtime {
    pub(crate) fn graph_block(&self, session: &Session, bytes: u64) -> Result<Arc<Block>> {
        let device = session.device.index;
        let start = self.memory.allocate(device, Owner::system(session.id), bytes, "memory of a graph")?;
        let id = self.memory.find(start).map_or(0, |allocation| allocation.id);
        let records = self.graphs.blocks.0.clone();
        let block =
            Arc::new(Block { start, bytes, device, session: session.id, id, memory: self.memory.clone(), records });
        let known = Known { block: Arc::downgrade(&block), live: None, launched: false };
        lock(&block.records).known.insert(start, known);
        Ok(block)
    }

    pub fn graph_memory(&self, device: usize) -> Result<GraphMemory> {
        self.device(device)?;
        let Usage { used, high } = *lock(&self.graphs.blocks.0).usage(device);
        Ok(GraphMemory { used, high })
    }

    /// Counts only memory that is the program's now.
    pub fn trim_graph_memory(&self, device: usize) -> Result<()> {
        self.device(device)?;
        // A block that goes takes the lock.
        let mut held = Vec::new();
        let mut records = lock(&self.graphs.blocks.0);
        let Records { known, usage } = &mut *records;
        for known in known.values_mut().filter(|known| known.launched && known.live.is_none()) {
            if let Some(block) = known.block.upgrade().filter(|block| block.device == device) {
                known.launched = false;
                usage.entry(device).or_default().used -= block.bytes;
                held.push(block);
            }
        }
        drop(records);
        Ok(())
    }

    /// Forgets what was used at most.
    pub fn reset_graph_memory(&self, device: usize) -> Result<()> {
        self.device(device)?;
        let mut records = lock(&self.graphs.blocks.0);
        let usage = records.usage(device);
        usage.high = usage.used;
        Ok(())
    }
}

/// A session on a device: the current one where it is there.
pub(crate) fn session_on(runtime: &Runtime, device: usize) -> Result<Arc<Session>> {
    runtime.device(device).map_err(|_| Error::invalid("no such device"))?;
    let session = runtime.session()?;
    match session.device.index == device {
        true => Ok(session),
        false => runtime.contexts.get(runtime.primary_context(device)?)?.session(),
    }
}
