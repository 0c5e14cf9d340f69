//! Work that a stream takes note of instead of having it done, and the driver's graph that comes of it.

use super::{Context, Stream};
use crate::sys::{self, Handle};
use hetgpu_device::DeviceError;
use std::ptr;
use std::sync::Arc;

/// A graph that can be launched.
pub(crate) struct Graph {
    context: Arc<Context>,
    handle: Handle,
}

// SAFETY: the driver's handles may be used from any thread; launches of one graph are ordered by the driver.
unsafe impl Send for Graph {}
// SAFETY: as above.
unsafe impl Sync for Graph {}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: the handle is used nowhere else afterwards.
        let _ = self.context.call("cuGraphExecDestroy", |f| unsafe { (f.graph_exec_destroy)(self.handle) });
    }
}

/// A node of a graph that is being made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Node(Handle);

/// A stream takes notes; what it has noted is forgotten when this is dropped.
pub(crate) struct Notes<'s> {
    stream: &'s Stream,
    open: bool,
}

impl Drop for Notes<'_> {
    fn drop(&mut self) {
        if self.open
            && let Ok(graph) = self.close()
        {
            self.forget(graph);
        }
    }
}

impl Stream {
    /// What the stream is given from now on is noted, and the driver refuses nothing else meanwhile.
    pub(crate) fn take_notes(&self) -> Result<Notes<'_>, DeviceError> {
        // SAFETY: the handle is alive.
        let begun = self
            .context
            .call("cuStreamBeginCapture", |f| unsafe { (f.capture_begin)(self.handle, sys::CAPTURE_RELAXED) });
        begun?;
        Ok(Notes { stream: self, open: true })
    }

    pub(crate) fn launch_graph(&self, graph: &Graph) -> Result<(), DeviceError> {
        // SAFETY: both handles are alive.
        self.context.call("cuGraphLaunch", |f| unsafe { (f.graph_launch)(graph.handle, self.handle) })
    }
}

impl Notes<'_> {
    /// What the next piece of work would be done behind.
    pub(crate) fn ends(&self) -> Result<Vec<Node>, DeviceError> {
        let (mut status, mut nodes, mut count) = (0, ptr::null(), 0usize);
        let stream = self.stream;
        // SAFETY: the results are local variables, and what is not wanted is null.
        stream.context.call("cuStreamGetCaptureInfo", |f| unsafe {
            let (id, graph) = (ptr::null_mut(), ptr::null_mut());
            (f.capture_info)(stream.handle, &mut status, id, graph, &mut nodes, &mut count)
        })?;
        if nodes.is_null() || count == 0 {
            return Ok(Vec::new());
        }
        // SAFETY: the driver's array holds so many nodes until the stream is used again.
        let nodes = unsafe { std::slice::from_raw_parts(nodes, count) };
        Ok(nodes.iter().map(|&node| Node(node)).collect())
    }

    /// The next piece of work is done behind these, and behind nothing else.
    pub(crate) fn follow(&self, nodes: &[Node]) -> Result<(), DeviceError> {
        let mut handles: Vec<Handle> = nodes.iter().map(|node| node.0).collect();
        let stream = self.stream;
        // SAFETY: the nodes are of the graph that the stream is making, and as many as is said.
        stream.context.call("cuStreamUpdateCaptureDependencies", |f| unsafe {
            (f.capture_update)(stream.handle, handles.as_mut_ptr(), handles.len(), sys::CAPTURE_SET)
        })
    }

    fn close(&mut self) -> Result<Handle, DeviceError> {
        self.open = false;
        let mut graph = ptr::null_mut();
        let stream = self.stream;
        // SAFETY: the result is a local variable.
        stream.context.call("cuStreamEndCapture", |f| unsafe { (f.capture_end)(stream.handle, &mut graph) })?;
        Ok(graph)
    }

    fn forget(&self, graph: Handle) {
        // SAFETY: the handle came from `close` and is used nowhere else afterwards.
        let _ = self.stream.context.call("cuGraphDestroy", |f| unsafe { (f.graph_destroy)(graph) });
    }

    /// Makes a graph of what was noted.
    pub(crate) fn graph(mut self) -> Result<Graph, DeviceError> {
        let noted = self.close()?;
        let mut handle = ptr::null_mut();
        let context = &self.stream.context;
        // SAFETY: the result is a local variable, and the graph is alive.
        let made = context.call("cuGraphInstantiate", |f| unsafe { (f.graph_instantiate)(&mut handle, noted, 0) });
        self.forget(noted);
        made?;
        Ok(Graph { context: Arc::clone(context), handle })
    }
}
