//! The engines that this build has.

pub mod interp;

use crate::engine::Engine;

static ENGINES: [&dyn Engine; 1] = [&interp::Interp];

/// The engine of that device name.
pub fn named(name: &str) -> Option<&'static dyn Engine> {
    ENGINES.into_iter().find(|engine| engine.name() == name)
}

/// The names of all engines, for messages.
pub fn names() -> String {
    ENGINES.map(|engine| engine.name()).join(" ")
}

/// The engine that says what PTX means.
pub fn oracle() -> &'static dyn Engine {
    &interp::Interp
}
