//! Images: arrays of texels, and what kernels read and write them by.
//!
//! An array is an image of the device, or one level of one. Its texels live as long as a handle, an object over it or
//! work under way needs them.

mod array;
mod copy;
mod object;
mod reference;

pub(crate) use array::Storage;
pub use array::{Array, ArrayDescription, Levels, Notes};
pub(crate) use copy::{CopyStep, PreparedTexels};
pub use copy::{Corner, TexelCopy, TexelSide};
pub use object::{Resource, TextureRequest, View};
pub use reference::{Reference, ReferenceState};

use crate::handle::Table;
use crate::module::Module;
use object::Bound;
use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard};

/// The images of a process.
pub struct Images {
    pub arrays: Table<Array>,
    pub levels: Table<Levels>,
    pub references: Table<Reference>,
    /// Textures and surfaces, by device and handle.
    objects: Mutex<HashMap<(usize, u64), Arc<Bound>>>,
    next_handle: AtomicU64,
}

/// The first handle of a texture or surface: no address of memory, and no handle of another kind.
const FIRST_HANDLE: u64 = 0x7e00_0000_0001;

impl Default for Images {
    fn default() -> Self {
        Self {
            arrays: Table::default(),
            levels: Table::default(),
            references: Table::default(),
            objects: Mutex::default(),
            next_handle: AtomicU64::new(FIRST_HANDLE),
        }
    }
}

impl Images {
    fn objects(&self) -> MutexGuard<'_, HashMap<(usize, u64), Arc<Bound>>> {
        self.objects.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Lets go of everything that belongs to a session. Its work must be finished.
    pub(crate) fn release_session(&self, session: u64) {
        self.references.remove_where(|reference| reference.session.id == session);
        self.objects().retain(|_, object| object.session != session);
        self.levels.remove_where(|levels| levels.session.id == session);
        self.arrays.remove_where(|array| array.session.id == session);
    }

    /// Lets go of the references that are a module's variables. Launches of it must be finished.
    pub(crate) fn release_module(&self, module: &Module) {
        self.references.remove_where(|reference| reference.is_of(module));
    }
}
