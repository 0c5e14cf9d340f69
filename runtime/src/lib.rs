//! Contexts, memory, streams, events, modules and launches: everything between a programming interface and a device.
//!
//! Nothing here knows how the interface spells its calls, and nothing here knows which device it drives.
//!
//! - `Runtime` owns the devices and the tables that turn handles into objects.
//! - A `Context` is what a program holds on to; its `Session` is what dies when the context is destroyed or reset.
//! - Work goes through one `Queue` a device: lanes (streams) of operations, each with the operations that it waits for.
//! - A fault inside a kernel poisons its session: later work is dropped, later calls get the same error.

pub mod log;

mod code;
mod context;
mod error;
mod event;
mod handle;
mod host;
mod launch;
mod memory;
mod module;
mod place;
mod queue;
mod session;
mod settings;
mod space;
mod stream;
mod sys;
mod system;

pub use code::{Code, ImageSource, KernelInfo, Param, UNNAMED};
pub use context::{Context, ContextFlags};
pub use error::{Error, Result};
pub use event::Event;
pub use handle::{Handle, Kind, Table};
pub use hetgpu_device::Shape;
pub use host::HostRange;
pub use launch::{
    LaunchRequest, Launchable, check, check_cluster, cluster_limit, cluster_of, dynamic_shared_limit, resident_blocks,
    threads_limit,
};
pub use memory::{Allocation, AllocationKind, Memory, Owner};
pub use module::{Function, FunctionSettings, Kernel, Library, Module};
pub use place::Place;
pub use queue::Lane;
pub use session::{Limits, Local, Session};
pub use settings::{Check, SETTINGS, Setting, Settings};
pub use stream::{Stream, StreamRef};
pub use system::{CopyRequest, DeviceState, FillRequest, Runtime};
