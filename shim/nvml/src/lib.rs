//! `libnvidia-ml.so.1`: the management interface that tools use to list devices, see what uses them, and how much.
//!
//! - `entry.rs` is the one table of exported names, and which function serves each.
//! - `abi.rs` holds what crosses the C boundary.
//! - `calls.rs` does the work, `load.rs` measures how busy devices are.
//!
//! What it says of a device is what `libcuda.so.1` says of it: both ask `hetgpu-registry`. Nothing here makes a device.
#![warn(unreachable_pub)]
#![allow(non_snake_case, reason = "the interface spells its functions so")]

mod abi;
mod calls;
mod entry;
mod load;
mod result;
mod state;
