//! Everything unsafe of this device: address space, stacks, switching between them, signals, and what compiled code
//! calls.

pub(crate) mod access;
pub(crate) mod helpers;
pub(crate) mod map;
pub(crate) mod memory;
pub(crate) mod room;
pub(crate) mod signal;
pub(crate) mod strand;
pub(crate) mod switch;
mod track;

#[cfg(test)]
mod tests;
