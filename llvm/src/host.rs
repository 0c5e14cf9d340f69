//! Kernels for the processor that this runs on, compiled in process.

mod dump;
mod elf;
mod jit;
mod key;
mod link;
mod machine;
mod outline;
mod pipeline;
mod runtime;
pub(crate) mod sys;

pub use jit::{Code, Jit};
pub(crate) use key::reached_functions;
pub(crate) use machine::Machine;
pub use pipeline::Stage;

use std::fmt;
use std::path::PathBuf;

/// Which instructions compiled code may use.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Features {
    /// Whatever this processor has.
    #[default]
    Native,
    /// SSE2 alone on x86-64.
    Sse2,
    /// AVX2 and FMA on x86-64.
    Avx2,
    /// AVX-512 F, CD, BW, DQ and VL on x86-64.
    Avx512,
}

impl Features {
    /// What this processor lacks of what tells the level from others, as it is called in documents; a compiler asks for all that
    /// belongs to it.
    pub fn lacking(self) -> Vec<&'static str> {
        #[cfg(target_arch = "x86_64")]
        {
            macro_rules! lacking {
                ($($name:tt)+) => {
                    [$(($name, std::arch::is_x86_feature_detected!($name))),+]
                        .into_iter()
                        .filter_map(|(name, there)| (!there).then_some(name))
                };
            }
            let avx2 = lacking!("avx2" "fma" "f16c" "bmi1" "bmi2" "lzcnt" "movbe" "popcnt");
            let avx512 = lacking!("avx512f" "avx512cd" "avx512bw" "avx512dq" "avx512vl");
            match self {
                Self::Native | Self::Sse2 => Vec::new(),
                Self::Avx2 => avx2.collect(),
                Self::Avx512 => avx2.chain(avx512).collect(),
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        match self {
            Self::Native => Vec::new(),
            _ => vec!["x86-64"],
        }
    }
}

/// How code is compiled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Instructions.
    pub features: Features,
    /// Where compiled code is kept from run to run; nowhere if none.
    pub cache: Option<PathBuf>,
    /// Most bytes that are kept there.
    pub cache_limit: u64,
}

/// The form of a kernel's code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Form {
    /// The 32 lanes of a warp together.
    Warp,
    /// Each lane by itself, so that lanes of a warp may wait for one another.
    Lane,
}

/// What a kernel is compiled for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Shape {
    /// Threads of a block.
    pub block: [u32; 3],
    /// One warp or one lane at a time.
    pub form: Form,
}

/// What the device needs to know to run a kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Needs {
    /// Warps of a block wait for each other.
    pub barriers: bool,
    /// Loops may wait for another thread.
    pub waits: bool,
    /// Lanes of one warp may wait for each other: only [`Form::Lane`] is right.
    pub lanes_wait: bool,
    /// Bytes of local memory that each lane has at least, before nested calls.
    pub local_bytes: u32,
    /// Textures or surfaces are accessed.
    pub images: bool,
    /// The blocks of a cluster have to do with each other: they run together, and `Warp::rank` counts.
    pub clusters: bool,
    /// Functions may call themselves, or are called by address: the stack is as deep as the program makes it.
    pub recursive: bool,
}

/// Why a kernel has no code.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CompileError {
    /// It uses an op that is not lowered: its name.
    Unsupported(String),
    /// LLVM refused what it was given, which is an error of this crate.
    Llvm(String),
    /// This processor or system cannot do what is asked.
    Host(String),
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(what) => write!(f, "no machine code for {what}"),
            Self::Llvm(message) => write!(f, "LLVM: {message}"),
            Self::Host(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for CompileError {}

/// How long a compilation took, by part.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Times {
    /// From hetIR to LLVM's form.
    pub lower_us: u64,
    /// Optimisation.
    pub optimise_us: u64,
    /// Machine code.
    pub emit_us: u64,
    /// Into memory.
    pub link_us: u64,
    /// It came from the cache.
    pub cached: bool,
}
