//! Contexts, memory, streams, events, modules and launches: everything between a programming interface and a device.
//!
//! Nothing here knows how the interface spells its calls, and nothing here knows which device it drives.
//!
//! - `Runtime` owns the devices and the tables that turn handles into objects.
//! - A `Context` is what a program holds on to; its `Session` is what dies when the context is destroyed or reset.
//! - Work goes through one `Queue` a device: lanes (streams) of operations, each with the operations that it waits for.
//! - A fault inside a kernel poisons its session: later work is dropped, later calls get the same error.

pub mod control;
pub mod log;
pub mod presence;

mod capture;
mod code;
mod context;
mod draft;
mod dump;
mod error;
mod event;
mod express;
mod external;
mod flight;
mod forecast;
mod graph;
pub mod group;
mod handle;
mod host;
mod image;
mod ipc;
mod launch;
mod lifted;
mod link;
mod managed;
mod memory;
mod migrate;
mod module;
mod partition;
mod parts;
mod peer;
mod place;
mod pool;
mod queue;
mod seat;
mod session;
mod settings;
mod share;
mod snapshot;
mod space;
mod stream;
mod sys;
mod system;
mod twin;
mod vmm;
mod word;

pub use capture::{CaptureInfo, CaptureMode, CaptureStatus, exchange_capture_mode};
pub use code::{Code, ImageSource, KernelInfo, Param, Stop, Stops, UNNAMED};
pub use context::{Context, ContextFlags};
pub use draft::Draft;
pub use error::{CaptureError, Error, PeerError, Result};
pub use event::Event;
pub use external::ExternalMemory;
pub use flight::{Flight, FlightStops};
pub use forecast::Forecast;
pub use graph::{
    AsGiven, Attributes, BatchNode, Block, Body, BranchKind, Condition, Conditional, CopyNode, Dependency, DotDetail,
    Edge, Executable, FillNode, Graph, GraphMemory, HostCall, InstantiateError, KernelNode, Node, NodeRequest,
    NodeType, UpdateProblem, UpdateReport, UserObject,
};
pub use handle::{Handle, Kind, Table};
pub use hetgpu_device::{
    Access, AddressMode, Channel, Dimensions, Filter, Format, LinearImage, ParamPointers, Sampler, Shape,
};
pub use hetir::tensor_map::{
    ALIGN as TENSOR_MAP_ALIGN, BYTES as TENSOR_MAP_BYTES, Columns as TensorColumns, Form as TensorForm,
    MAX_RANK as MAX_TENSOR_RANK, MapElement, TensorMap,
};
pub use host::HostRange;
pub use image::{
    Array, ArrayDescription, Corner, Images, Levels, Notes, Reference, ReferenceState, Resource, TexelCopy, TexelSide,
    TextureRequest, View,
};
pub use ipc::EventTicket;
pub use launch::{
    LaunchRequest, LaunchShape, Launchable, check, check_cluster, cluster_limit, cluster_of, dynamic_shared_limit,
    resident_blocks, threads_limit,
};
pub use lifted::keep_modules;
pub use link::Linker;
pub use managed::{Advise, Location, Wishes};
pub use memory::{Allocation, AllocationKind, Memory, Origin, Owner};
pub use migrate::{DeviceStatus, MoveProgress, Moved, Stage, Targets, Trouble, TroubleKind};
pub use module::{Function, FunctionSettings, Kernel, Library, Module};
pub use partition::{GreenContext, Multiprocessors, Part, ResourceDescription, indivisible};
pub use place::Place;
pub use pool::{Level, Pool, PoolTraits, Reuse};
pub use queue::{Lane, in_host_function};
pub use session::{Attribute, Limits, Local, Session};
pub use settings::{Check, SETTINGS, Setting, Settings};
pub use share::{Ticket, adopt_program_file, program_file};
pub use snapshot::{Filed, MemoryFile, SaveRequest, Saved, Then, memory_file, named_pipe};
pub use stream::{Stream, StreamRef};
pub use system::{CopyAsked, CopyRequest, DeviceState, FillRequest, Runtime};
pub use twin::Suspending;
pub use vmm::{Mapping, Physical, PhysicalTraits, VMM_GRANULARITY};
pub use word::{Compare, Word, WordOperation};
