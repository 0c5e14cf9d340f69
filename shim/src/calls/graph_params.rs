//! Parameters of nodes, as C programs have them, and what they ask for.

use super::copy::Copy3d;
use super::launch::target;
use super::stream::host_call;
use super::words::{self, Origin, Parameters, Version};
use crate::abi::{Call, Cu, CuContext, CuEvent, CuFunction, CuGraph, CuKernel, HostFunction, In, Pointer};
use crate::result::{Code, Failure, Outcome};
use hetgpu_runtime::{
    BatchNode, Body, BranchKind, Context, CopyAsked, CopyNode, FillNode, FillRequest, Handle, KernelNode,
    LaunchRequest, NodeRequest, Runtime,
};
use std::sync::Arc;

/// `CUDA_KERNEL_NODE_PARAMS_v1`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct KernelParams {
    function: CuFunction,
    grid: [u32; 3],
    block: [u32; 3],
    shared: u32,
    params: Pointer,
    extra: Pointer,
}

/// The later forms, which can name a kernel and a context instead of a function.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct KernelParams2 {
    base: KernelParams,
    kernel: CuKernel,
    context: CuContext,
}

/// `CUDA_MEMSET_NODE_PARAMS_v1`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct FillParams {
    at: Pointer,
    pitch: usize,
    value: u32,
    element: u32,
    width: usize,
    height: usize,
}

/// `CUDA_MEMSET_NODE_PARAMS_v2`.
#[derive(Clone, Copy)]
#[repr(C)]
struct FillParams2 {
    base: FillParams,
    context: CuContext,
}

/// `CUDA_HOST_NODE_PARAMS`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct HostParams {
    function: HostFunction,
    data: Pointer,
}

/// The same, to be written: the function is a number there.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct HostParamsOut {
    pub(crate) function: u64,
    pub(crate) data: u64,
}

/// `CUDA_MEMCPY_NODE_PARAMS`.
#[derive(Clone, Copy)]
#[repr(C)]
struct CopyParams {
    flags: i32,
    reserved: i32,
    context: CuContext,
    copy: Copy3d,
}

/// `CUDA_CHILD_GRAPH_NODE_PARAMS`.
#[derive(Clone, Copy)]
#[repr(C)]
struct ChildParams {
    graph: CuGraph,
    ownership: u32,
}

/// `CUDA_MEM_ALLOC_NODE_PARAMS`, with the properties of a pool inside.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct AllocParams {
    kind: u32,
    handles: u32,
    location: u32,
    device: i32,
    security: Pointer,
    most: usize,
    usage: u16,
    reserved: [u16; 27],
    accesses: Pointer,
    access_count: usize,
    bytes: usize,
    start: Pointer,
}

/// `CUDA_BATCH_MEM_OP_NODE_PARAMS`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct BatchParams {
    context: CuContext,
    count: u32,
    operations: In<Parameters>,
    flags: u32,
}

/// `CUDA_CONDITIONAL_NODE_PARAMS`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct ConditionalParams {
    handle: u64,
    kind: u32,
    count: u32,
    graphs: Pointer,
    context: CuContext,
}

/// The beginning of `CUgraphNodeParams`; a union follows.
#[derive(Clone, Copy)]
#[repr(C)]
struct Head {
    kind: u32,
    reserved: [u32; 3],
}

/// Where the union is.
pub(crate) const UNION: u64 = size_of::<Head>() as u64;

fn wrong(text: impl Into<String>) -> Failure {
    Failure::new(Code::ERROR_INVALID_VALUE, text)
}

/// Null stands for the current context.
pub(crate) fn optional(context: CuContext) -> Outcome<Option<Handle<Context>>> {
    if context.is_null() { Ok(None) } else { Ok(Some(context.get()?)) }
}

impl KernelParams {
    pub(crate) fn request(&self, call: &Call) -> Outcome<NodeRequest> {
        self.in_context(call, self.function, CuContext::NULL)
    }

    fn in_context(&self, call: &Call, function: CuFunction, context: CuContext) -> Outcome<NodeRequest> {
        let Self { grid, block, shared, params, extra, .. } = *self;
        let (what, params) = target(call.runtime()?, function, params.as_in(), extra.as_in())?;
        let (cluster, cooperative) = ([1; 3], false);
        let (dynamic_shared, attributes) = (shared, Default::default());
        let request = LaunchRequest { grid, block, cluster, dynamic_shared, cooperative, params, attributes };
        Ok(NodeRequest::Kernel { what, context: optional(context)?, request })
    }

    pub(crate) fn of(runtime: &Runtime, node: &KernelNode) -> Outcome<Self> {
        let request = node.request();
        let none = node.info().params.is_empty();
        Ok(Self {
            function: Cu::new(node.function(runtime)?),
            grid: request.grid,
            block: request.block,
            shared: request.dynamic_shared,
            params: Pointer(if none { 0 } else { node.parameters() }),
            extra: Pointer(0),
        })
    }
}

impl KernelParams2 {
    pub(crate) fn request(&self, call: &Call) -> Outcome<NodeRequest> {
        match self.base.function.is_null() && !self.kernel.is_null() {
            true => self.base.in_context(call, CuFunction::from_bits(self.kernel.0), self.context),
            false => self.base.request(call),
        }
    }

    pub(crate) fn of(runtime: &Runtime, node: &KernelNode) -> Outcome<Self> {
        let context = runtime.owner_of(node.session().id).map_or(CuContext::NULL, Cu::new);
        let kernel = node.kernel(runtime).map_or(CuKernel::NULL, Cu::new);
        Ok(Self { base: KernelParams::of(runtime, node)?, kernel, context })
    }
}

impl FillParams {
    pub(crate) fn request(&self, context: CuContext) -> Outcome<NodeRequest> {
        let Self { at, pitch, value, element, width, height } = *self;
        if !matches!(element, 1 | 2 | 4) {
            return Err(wrong(format!("elements of {element} bytes")));
        }
        let pattern = value.to_ne_bytes()[..element as usize].to_vec();
        let (count, rows, pitch) = (width as u64, height as u64, pitch as u64);
        let request = FillRequest { at: at.0, pattern, count, rows, pitch };
        Ok(NodeRequest::Fill { request, context: optional(context)? })
    }

    pub(crate) fn of(node: &FillNode) -> Self {
        let FillRequest { at, pattern, count, rows, pitch } = &node.request;
        Self {
            at: Pointer(*at),
            pitch: *pitch as usize,
            value: pattern.iter().rev().fold(0, |value, &byte| value << 8 | u32::from(byte)),
            element: pattern.len() as u32,
            width: *count as usize,
            height: *rows as usize,
        }
    }
}

impl HostParams {
    pub(crate) fn request(&self) -> Outcome<NodeRequest> {
        Ok(NodeRequest::Host(host_call(self.function, self.data)?))
    }
}

pub(crate) fn copy_request(copy: &Copy3d, context: CuContext) -> Outcome<NodeRequest> {
    let origin: hetgpu_runtime::AsGiven = Arc::new(*copy);
    Ok(NodeRequest::Copy { asked: copy.asked()?, origin: Some(origin), context: optional(context)? })
}

/// A copy as it was asked for; one that was captured in the form that it would have.
pub(crate) fn copy_of(node: &CopyNode) -> Copy3d {
    let origin = node.origin.as_ref().and_then(|origin| origin.downcast_ref::<Copy3d>());
    origin.copied().unwrap_or_else(|| match &node.asked {
        CopyAsked::Rows(request) => Copy3d::of(request),
        CopyAsked::Texels(copy) => Copy3d::of_texels(copy),
    })
}

impl AllocParams {
    pub(crate) fn request(&self) -> Outcome<NodeRequest> {
        const PINNED: u32 = 1;
        const ON_DEVICE: u32 = 1;
        if self.handles != 0 {
            return Err(Failure::new(Code::ERROR_NOT_SUPPORTED, "graph memory that is shared with other processes"));
        }
        if (self.kind, self.location) != (PINNED, ON_DEVICE) || self.bytes == 0 {
            return Err(wrong("graph memory is pinned memory of a device, and not empty"));
        }
        let device = usize::try_from(self.device).map_err(|_| wrong("no such device"))?;
        Ok(NodeRequest::Allocate { device, bytes: self.bytes as u64 })
    }

    /// The same with the address that the memory got.
    pub(crate) fn at(self, start: u64) -> Self {
        Self { start: Pointer(start), ..self }
    }

    pub(crate) fn of(start: u64, bytes: u64, device: usize) -> Self {
        Self {
            kind: 1,
            handles: 0,
            location: 1,
            device: device as i32,
            security: Pointer(0),
            most: 0,
            usage: 0,
            reserved: [0; 27],
            accesses: Pointer(0),
            access_count: 0,
            bytes: bytes as usize,
            start: Pointer(start),
        }
    }
}

impl BatchParams {
    pub(crate) fn request(&self) -> Outcome<NodeRequest> {
        if self.flags != 0 || self.count == 0 {
            return Err(wrong("a batch without operations, or with flags"));
        }
        let list = self.operations.list(self.count as usize)?;
        let operations = words::operations_of(&list, Version::Node)?;
        let origin = Arc::<Origin>::new((self.context.0, list));
        Ok(NodeRequest::Batch { operations, origin, context: optional(self.context)? })
    }

    /// The array lives as long as the node is what it is.
    pub(crate) fn of(node: &BatchNode) -> Self {
        let origin = node.origin.downcast_ref::<Origin>();
        let (context, list) = origin.map_or((0, &[][..]), |(context, list)| (*context, list.as_slice()));
        Self {
            context: CuContext::from_bits(context),
            count: list.len() as u32,
            operations: Pointer(list.as_ptr().expose_provenance() as u64).as_in(),
            flags: 0,
        }
    }
}

impl ConditionalParams {
    fn request(&self) -> Outcome<NodeRequest> {
        let kind = match self.kind {
            0 => BranchKind::If,
            1 => BranchKind::While,
            2 => BranchKind::Switch,
            other => return Err(wrong(format!("conditional node of type {other}"))),
        };
        if self.context.is_null() {
            return Err(Code::ERROR_INVALID_CONTEXT.into());
        }
        self.context.get()?;
        Ok(NodeRequest::Conditional { handle: self.handle, kind, bodies: self.count })
    }
}

/// What a `CUgraphNodeParams` asks for.
pub(crate) fn request(call: &Call, params: Pointer) -> Outcome<NodeRequest> {
    let head = params.as_in::<Head>().get()?;
    if head.reserved != [0; 3] {
        return Err(wrong("reserved words must be 0"));
    }
    let union = Pointer(params.0 + UNION);
    match head.kind {
        0 => union.as_in::<KernelParams2>().get()?.request(call),
        1 => {
            let CopyParams { flags, reserved, context, copy } = union.as_in().get()?;
            match flags == 0 && reserved == 0 {
                true => copy_request(&copy, context),
                false => Err(wrong("flags of a copy must be 0")),
            }
        }
        2 => {
            let FillParams2 { base, context } = union.as_in().get()?;
            base.request(context)
        }
        3 => union.as_in::<HostParams>().get()?.request(),
        4 => {
            let ChildParams { graph, ownership } = union.as_in().get()?;
            match ownership {
                0 | 1 => Ok(NodeRequest::Child { graph: graph.get()?, moved: ownership == 1 }),
                _ => Err(wrong(format!("ownership {ownership}"))),
            }
        }
        5 => Ok(NodeRequest::Empty),
        6 => Ok(NodeRequest::EventWait(event(union.as_in().get()?)?)),
        7 => Ok(NodeRequest::EventRecord(event(union.as_in().get()?)?)),
        8 | 9 => Err(Failure::new(Code::ERROR_NOT_SUPPORTED, "external semaphores")),
        10 => union.as_in::<AllocParams>().get()?.request(),
        11 => Ok(NodeRequest::Free(union.as_in::<u64>().get()?)),
        12 => union.as_in::<BatchParams>().get()?.request(),
        13 => union.as_in::<ConditionalParams>().get()?.request(),
        other => Err(wrong(format!("node type {other}"))),
    }
}

/// An event of a node; null is a wrong value there.
pub(crate) fn event(event: CuEvent) -> Outcome<Handle<hetgpu_runtime::Event>> {
    if event.is_null() { Err(wrong("no event")) } else { Ok(event.get()?) }
}

/// Tells a program what it cannot know of a node that was made from its `CUgraphNodeParams`.
pub(crate) fn tell(body: &Body, params: Pointer) -> Outcome {
    use std::mem::offset_of;
    let union = params.0 + UNION;
    match body {
        Body::Allocate(block) => Pointer(union + offset_of!(AllocParams, start) as u64).as_out().set(block.start),
        Body::Conditional(conditional) => {
            Pointer(union + offset_of!(ConditionalParams, graphs) as u64).as_out().set(conditional.shown())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::{offset_of, size_of};

    /// Sizes and offsets on a 64-bit system.
    #[test]
    fn the_structures_are_laid_out_as_in_c() {
        assert_eq!((size_of::<KernelParams>(), size_of::<KernelParams2>()), (56, 72));
        assert_eq!(offset_of!(KernelParams, params), 40);
        assert_eq!((size_of::<FillParams>(), size_of::<FillParams2>()), (40, 48));
        assert_eq!(size_of::<CopyParams>(), 216);
        assert_eq!((size_of::<AllocParams>(), offset_of!(AllocParams, start)), (120, 112));
        assert_eq!(size_of::<BatchParams>(), 32);
        assert_eq!((size_of::<ConditionalParams>(), offset_of!(ConditionalParams, graphs)), (32, 16));
        assert_eq!((size_of::<HostParams>(), size_of::<ChildParams>(), UNION), (16, 16, 16));
    }
}
