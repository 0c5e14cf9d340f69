use hetir::diag::{Diagnostic, Severity};
use hetir::interp::{Fault, FaultKind};
use std::fmt;

/// Why a device could not do what it was asked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ErrorKind {
    /// No memory left, on the device or for it.
    OutOfMemory,
    /// A kernel or a copy touched memory that is not mapped.
    IllegalAddress,
    /// An access at an address that is not a multiple of its size.
    Misaligned,
    /// A generic or typed access in a state space where it may not be.
    InvalidAddressSpace,
    /// A failed device assertion.
    Assert,
    /// The kernel executed a trap, or stopped for a reason that has no kind of its own.
    LaunchFailed,
    /// An instruction that cannot be executed as it stands.
    IllegalInstruction,
    /// A call of something that is not a function.
    InvalidCall,
    /// Too many nested calls, or too much local memory.
    StackOverflow,
    /// Blocks or threads wait for each other and nothing can run.
    Deadlock,
    /// The kernel exceeded the time or the number of steps that it was given.
    Timeout,
    /// The launch wants more threads, registers or shared memory than there are.
    OutOfResources,
    /// The module cannot be loaded.
    InvalidImage,
    /// The device lacks what is asked for.
    NotSupported,
    /// A request that no device could fulfil: overlapping mappings, a copy past the end of a host range.
    InvalidRequest,
    /// The device was lost, to a fault of other work or for a reason of its own.
    Lost,
}

impl ErrorKind {
    /// True where the fault happened inside a kernel, so that what the kernel wrote cannot be trusted.
    pub fn poisons(self) -> bool {
        match self {
            Self::IllegalAddress
            | Self::Misaligned
            | Self::InvalidAddressSpace
            | Self::Assert
            | Self::LaunchFailed
            | Self::IllegalInstruction
            | Self::InvalidCall
            | Self::StackOverflow
            | Self::Deadlock
            | Self::Timeout
            | Self::Lost => true,
            Self::OutOfMemory
            | Self::OutOfResources
            | Self::InvalidImage
            | Self::NotSupported
            | Self::InvalidRequest => false,
        }
    }
}

/// What went wrong on a device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeviceError {
    /// The class, which decides what the program is told.
    pub kind: ErrorKind,
    /// For a person: kernel, instruction, thread, address, and what can be done.
    pub message: String,
    /// The same with its place in the kernel's source, if that is known.
    pub diagnostic: Option<Box<Diagnostic>>,
}

impl DeviceError {
    /// An error of `kind` that says `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), diagnostic: None }
    }
}

/// What became of a launch that the interpreter, or a device in its words, ended.
impl From<&Fault> for DeviceError {
    fn from(fault: &Fault) -> Self {
        let kind = match fault.kind {
            FaultKind::OutOfBounds => ErrorKind::IllegalAddress,
            FaultKind::Misaligned => ErrorKind::Misaligned,
            FaultKind::Deadlock => ErrorKind::Deadlock,
            FaultKind::AssertFail => ErrorKind::Assert,
            FaultKind::StackOverflow => ErrorKind::StackOverflow,
            FaultKind::StepLimit | FaultKind::Interrupted => ErrorKind::Timeout,
            FaultKind::BadCall => ErrorKind::InvalidCall,
            FaultKind::BadLaunch => ErrorKind::OutOfResources,
            FaultKind::BadOperand => ErrorKind::IllegalInstruction,
            FaultKind::Unsupported => ErrorKind::NotSupported,
            _ => ErrorKind::LaunchFailed,
        };
        let diagnostic = Some(Box::new(fault.diagnostic(Severity::Error)));
        Self { kind, message: fault.to_string(), diagnostic }
    }
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DeviceError {}
