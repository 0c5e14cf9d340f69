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
    /// What the device said.
    Device(DeviceError),
}

impl Error {
    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::InvalidValue(text.into())
    }

    pub(crate) fn out_of_memory(text: impl Into<String>) -> Self {
        Self::Device(DeviceError::new(ErrorKind::OutOfMemory, text))
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
            | Self::InvalidCluster(text) => f.write_str(text),
            Self::InvalidHandle(kind) => write!(f, "not a valid {kind} handle"),
            Self::InvalidContext => f.write_str("no context is current, or it is gone"),
            Self::ContextDestroyed => f.write_str("the current context was destroyed"),
            Self::InvalidDevice => f.write_str("no such device"),
            Self::NotReady => f.write_str("not finished yet"),
            Self::PrimaryActive => f.write_str("the primary context is active"),
            Self::AlreadyRegistered => f.write_str("the host memory is registered already"),
            Self::NotRegistered => f.write_str("the host memory is not registered"),
            Self::Device(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}
