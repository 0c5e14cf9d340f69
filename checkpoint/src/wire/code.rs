//! Modules, libraries, links.

use super::{Address, Blob, Handle};
use crate::Digest;
use crate::codec::wire;

wire! {
    /// Modules, libraries, links.
    pub struct CodeTables {
        /// Texts, each once.
        pub codes: Vec<Code>,
        /// Code loaded into contexts.
        pub modules: Vec<Module>,
        /// Code of no context.
        pub libraries: Vec<Library>,
        /// Links under way.
        pub linkers: Vec<Linker>,
    }

    /// What was loaded.
    pub struct Code {
        /// What messages call it.
        pub name: String,
        /// The image as the program gave it, where it is still known.
        pub image: Option<Blob>,
        /// Its text, which every device can be given.
        pub text: Blob,
        /// Of the text of its hetIR. Frames fit no other code.
        pub hetir: Digest,
    }

    /// Code in a context.
    pub struct Module {
        /// Its handle.
        pub handle: Handle,
        /// Its session.
        pub session: u64,
        /// Its text, by its place in the list.
        pub code: u32,
        /// The library that it is an instance of.
        pub library: Option<Handle>,
        /// The address of each variable, by its id.
        pub globals: Vec<Address>,
        /// Kernels that the program has handles of.
        pub functions: Vec<KernelHandle>,
    }

    /// Code of no context.
    pub struct Library {
        /// Its handle.
        pub handle: Handle,
        /// Its text, by its place in the list.
        pub code: u32,
        /// Addresses of variables that all contexts share; 0 for the others.
        pub managed: Vec<Address>,
        /// Instances: session and module.
        pub instances: Vec<(u64, Handle)>,
        /// Kernels that the program has handles of.
        pub kernels: Vec<KernelHandle>,
    }

    /// A kernel that the program has a handle of.
    pub struct KernelHandle {
        /// The handle.
        pub handle: Handle,
        /// Which kernel of the code.
        pub index: u32,
        /// Its name.
        pub name: String,
        /// Dynamic shared memory that launches may ask for, where the program said so.
        pub max_dynamic_shared: Option<u32>,
        /// A hint about the split between shared memory and cache.
        pub carveout: Option<i32>,
        /// Its clusters may be larger than every device takes.
        pub large_clusters: bool,
    }

    /// A link under way.
    pub struct Linker {
        /// Its handle.
        pub handle: Handle,
        /// For which compute capability.
        pub compute: [u32; 2],
        /// The texts so far.
        pub inputs: Vec<Blob>,
        /// What came of it.
        pub image: Option<Blob>,
    }
}
