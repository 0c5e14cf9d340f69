//! The engines that this build has.

use crate::engine::Engine;

static ENGINES: [&dyn Engine; 0] = [];

/// The engine of that device name.
pub fn named(name: &str) -> Option<&'static dyn Engine> {
    ENGINES.iter().copied().find(|engine| engine.name() == name)
}

/// The names of all engines, for messages.
pub fn names() -> String {
    ENGINES.iter().map(|engine| engine.name()).collect::<Vec<_>>().join(" ")
}

/// The engine that says what PTX means.
pub fn oracle() -> Option<&'static dyn Engine> {
    named("interp")
}
