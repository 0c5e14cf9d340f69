//! Objects of the program that graphs keep alive.

use crate::graph::Graph;
use crate::handle::{Handle, Kind};
use crate::{Error, Result, Runtime};
use std::sync::{Arc, Mutex, MutexGuard};

type Destroy = Box<dyn FnOnce() + Send>;

/// Counts references, and destroys the program's object when the last one goes.
pub struct UserObject(Mutex<Counted>);

struct Counted {
    /// Of the program and of graphs.
    count: u64,
    destroy: Option<Destroy>,
}

impl Kind for UserObject {
    const TAG: u8 = 0x55;
    const NAME: &'static str = "user object";
}

impl UserObject {
    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn retain(&self, count: u64) {
        self.lock().count += count;
    }

    /// True where nothing is left of it.
    fn release(&self, count: u64) -> bool {
        let mut counted = self.lock();
        counted.count = counted.count.saturating_sub(count);
        let gone = counted.count == 0;
        let destroy = if gone { counted.destroy.take() } else { None };
        drop(counted);
        if let Some(destroy) = destroy {
            destroy();
        }
        gone
    }
}

/// References that a graph holds, or an executable.
pub(crate) struct Retained {
    object: Arc<UserObject>,
    count: u64,
}

impl Clone for Retained {
    fn clone(&self) -> Self {
        self.object.retain(self.count);
        Self { object: self.object.clone(), count: self.count }
    }
}

impl Drop for Retained {
    fn drop(&mut self) {
        self.object.release(self.count);
    }
}

impl Runtime {
    pub fn create_user_object(&self, count: u32, destroy: Destroy) -> Result<Handle<UserObject>> {
        if count == 0 {
            return Err(Error::invalid("an object without references"));
        }
        let counted = Counted { count: u64::from(count), destroy: Some(destroy) };
        Ok(self.graphs.objects.insert(Arc::new(UserObject(Mutex::new(counted)))))
    }

    pub fn retain_user_object(&self, object: Handle<UserObject>, count: u32) -> Result<()> {
        if count == 0 {
            return Err(Error::invalid("no references"));
        }
        self.graphs.objects.get(object)?.retain(u64::from(count));
        Ok(())
    }

    pub fn release_user_object(&self, object: Handle<UserObject>, count: u32) -> Result<()> {
        if count == 0 {
            return Err(Error::invalid("no references"));
        }
        let found = self.graphs.objects.get(object)?;
        if found.release(u64::from(count)) {
            self.graphs.objects.remove(object)?;
        }
        Ok(())
    }

    /// References for a graph, new ones or those of the caller.
    pub fn graph_retain(
        &self,
        graph: Handle<Graph>,
        object: Handle<UserObject>,
        count: u32,
        moved: bool,
    ) -> Result<()> {
        let (graph, found) = (self.graph(graph)?, self.graphs.objects.get(object)?);
        if count == 0 {
            return Err(Error::invalid("no references"));
        }
        if !moved {
            found.retain(u64::from(count));
        }
        let mut state = graph.lock();
        let none = || Retained { object: found.clone(), count: 0 };
        state.objects.entry(object.bits()).or_insert_with(none).count += u64::from(count);
        Ok(())
    }

    /// Lets go of references of a graph; of none where it does not have so many.
    pub fn graph_release(&self, graph: Handle<Graph>, object: Handle<UserObject>, count: u32) -> Result<()> {
        let (graph, found) = (self.graph(graph)?, self.graphs.objects.get(object)?);
        let mut state = graph.lock();
        let held = state.objects.get_mut(&object.bits()).ok_or_else(|| Error::invalid("the graph has none"))?;
        let released = u64::from(count);
        if released > held.count {
            return Ok(());
        }
        held.count -= released;
        if held.count == 0 {
            state.objects.remove(&object.bits());
        }
        drop(state);
        found.release(released);
        Ok(())
    }
}
