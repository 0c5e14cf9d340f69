//! The host's processors as a device.
