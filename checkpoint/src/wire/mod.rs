//! What a snapshot says about a job. These types are written as they stand and never change their meaning: live types are
//! others, and whoever saves or restores translates.
//!
//! Handles and addresses are the numbers that the program knows, and keep their values. Devices are numbered as the
//! program numbers them; lanes are a device's, points are places in a lane's order. A `Blob` is contents without an address.

mod code;
mod context;
mod graph;
mod launch;
mod manifest;
mod memory;
mod texels;
mod work;

pub use code::*;
pub use context::*;
pub use graph::*;
pub use launch::*;
pub use manifest::*;
pub use memory::*;
pub use texels::*;
pub use work::*;

use crate::Digest;
use crate::codec::{Flaw, Reader, Wire};
use serde_json::Value;
use std::fmt;

macro_rules! hexadecimal {
    ($($(#[$about:meta])* $name:ident;)+) => {$(
        $(#[$about])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u64);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }

        impl Wire for $name {
            const LEAST: usize = 8;

            fn put(&self, out: &mut Vec<u8>) {
                self.0.put(out);
            }

            fn take(from: &mut Reader<'_>) -> Result<Self, Flaw> {
                u64::take(from).map(Self)
            }

            fn show(&self) -> Value {
                Value::from(self.to_string())
            }
        }
    )+};
}
hexadecimal! {
    /// A logical address, or one of the host.
    Address;
    /// A handle as the program has it.
    Handle;
}

/// Contents without an address, by their place in the snapshot's list of such.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Blob(pub u32);

impl Wire for Blob {
    const LEAST: usize = 4;

    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, Flaw> {
        u32::take(from).map(Self)
    }

    fn show(&self) -> Value {
        Value::from(format!("blob {}", self.0))
    }
}

impl Job {
    /// Names this record and no other. A snapshot that is written anew elsewhere, with the same record, has another identity.
    pub fn digest(&self) -> Digest {
        Digest::of(&crate::transport::encode_job(self))
    }
}

/// Everything about a job but the contents of its memory.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Job {
    /// Whose snapshot it is.
    pub manifest: Manifest,
    /// Contexts and threads.
    pub contexts: Contexts,
    /// Addresses.
    pub memory: Memory,
    /// Modules, libraries, links.
    pub code: CodeTables,
    /// Streams and what they hold.
    pub streams: Streams,
    /// Events.
    pub events: Vec<Event>,
    /// Arrays, textures, surfaces.
    pub texels: TexelTables,
    /// Graphs and captures.
    pub graphs: Graphs,
    /// Launches that have begun and not ended, and those that wait.
    pub launches: Vec<Launch>,
    /// What suspended launches left.
    pub frames: Vec<Frames>,
}
