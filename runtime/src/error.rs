use hetgpu_device::{DeviceError, ErrorKind};
use std::fmt;

pub type Result<T> = std::result::Result<T, Error>;

/// Why a request was refused. The interface maps each variant to its own code in one place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Error {
    /// An argument that cannot be right; the text says which.
    InvalidValue(String),
    /// A handle that was never given out, or whose object is gone.
    InvalidHandle(&'static str),
    /// No context where one is needed, or one that is gone.
    InvalidContext,
    /// A context that was destroyed while the thread still had it current.
    ContextDestroyed,
    /// No such device.
    InvalidDevice,
    /// Nothing of that name.
    NotFound(String),
    /// Not finished yet.
    NotReady,
    /// Known, and not offered.
    NotSupported(String),
    /// The flags of an active primary context cannot be changed.
    PrimaryActive,
    /// Host memory is registered already.
    AlreadyRegistered,
    /// Host memory is not registered.
    NotRegistered,
    /// Not an image, or a damaged one.
    InvalidImage(String),
    /// An image without code for this device.
    NoBinary(String),
    /// Code that does not parse, verify or lift; the text is what the user sees.
    InvalidCode(String),
    /// A file that cannot be read.
    FileNotFound(String),
    /// All blocks of a cooperative launch must be resident, and they are too many.
    CooperativeTooLarge(String),
    /// Clusters that the device or the kernel does not allow.
    InvalidCluster(String),
    /// Parts of a device that it cannot be divided into, or that do not go together.
    InsufficientResources(String),
    /// What a stream that is being captured does not allow.
    Capture(CaptureError),
    /// What is wrong with reaching another device's memory.
    Peer(PeerError),
    /// An operation that the object's present state does not allow.
    IllegalState(String),
    /// An answer in that form would leave something out.
    Lossy(String),
    /// An executable graph that cannot become what it was asked to be.
    UpdateRefused(String),
    /// Somebody who is waited for is gone.
    Gone(String),
    /// What the operating system said.
    System(String),
    /// What the device said.
    Device(DeviceError),
}

/// Why a capture, or a call during one, fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CaptureError {
    /// Not while a stream is captured.
    Unsupported,
    /// An earlier error has ended the capture.
    Invalidated,
    /// Two captures would become one.
    Merge,
    /// Ended in another stream than it was begun in.
    Unmatched,
    /// Work of another stream that the first one does not wait for.
    Unjoined,
    /// Captured work would wait for work that is not captured.
    Isolation,
    /// The default stream would wait for a captured one.
    Implicit,
    /// The event was last recorded in a captured stream.
    Event,
    /// Ended by another thread than it was begun by.
    WrongThread,
}

/// Why a context cannot reach another's memory, or can already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeerError {
    Unsupported,
    AlreadyEnabled,
    NotEnabled,
}

impl fmt::Display for PeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unsupported => "the devices do not reach each other's memory",
            Self::AlreadyEnabled => "the context reaches the other's memory already",
            Self::NotEnabled => "the context does not reach the other's memory",
        })
    }
}

impl From<PeerError> for Error {
    fn from(error: PeerError) -> Self {
        Self::Peer(error)
    }
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unsupported => "not while a stream is captured",
            Self::Invalidated => "an earlier error has ended the capture",
            Self::Merge => "two captures would become one",
            Self::Unmatched => "the capture was begun in another stream",
            Self::Unjoined => "the stream does not wait for all captured work; join the other streams by events",
            Self::Isolation => "captured work cannot wait for work that is not captured",
            Self::Implicit => "the default stream would wait for a stream that is captured",
            Self::Event => "the event was recorded in a stream that is captured",
            Self::WrongThread => "the capture was begun by another thread",
        })
    }
}

impl Error {
    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::InvalidValue(text.into())
    }

    pub(crate) fn out_of_memory(text: impl Into<String>) -> Self {
        Self::Device(DeviceError::new(ErrorKind::OutOfMemory, text))
    }
}

impl From<CaptureError> for Error {
    fn from(error: CaptureError) -> Self {
        Self::Capture(error)
    }
}

impl From<DeviceError> for Error {
    fn from(error: DeviceError) -> Self {
        Self::Device(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidValue(text)
            | Self::NotFound(text)
            | Self::NotSupported(text)
            | Self::InvalidImage(text)
            | Self::NoBinary(text)
            | Self::InvalidCode(text)
            | Self::FileNotFound(text)
            | Self::CooperativeTooLarge(text)
            | Self::IllegalState(text)
            | Self::Lossy(text)
            | Self::UpdateRefused(text)
            | Self::System(text)
            | Self::InsufficientResources(text)
            | Self::Gone(text)
            | Self::InvalidCluster(text) => f.write_str(text),
            Self::InvalidHandle(kind) => write!(f, "not a valid {kind} handle"),
            Self::InvalidContext => f.write_str("no context is current, or it is gone"),
            Self::ContextDestroyed => f.write_str("the current context was destroyed"),
            Self::InvalidDevice => f.write_str("no such device"),
            Self::NotReady => f.write_str("not finished yet"),
            Self::PrimaryActive => f.write_str("the primary context is active"),
            Self::AlreadyRegistered => f.write_str("the host memory is registered already"),
            Self::NotRegistered => f.write_str("the host memory is not registered"),
            Self::Capture(error) => error.fmt(f),
            Self::Peer(error) => error.fmt(f),
            Self::Device(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}
