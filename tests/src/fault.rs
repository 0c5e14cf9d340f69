//! The names of faults in headers: the interpreter's, which every device reports under.

pub use hetir::interp::FaultKind;

/// What the codes of a launch's faults begin with.
const PREFIX: &str = "run::";

/// The name of a kind, such as `out-of-bounds`.
pub fn name(kind: FaultKind) -> &'static str {
    kind.code().strip_prefix(PREFIX).unwrap_or(kind.code())
}

/// The kind of that name.
pub fn named(text: &str) -> Option<FaultKind> {
    FaultKind::ALL.into_iter().find(|kind| name(*kind) == text)
}

/// All names, for messages.
pub fn names() -> String {
    FaultKind::ALL.map(name).join(" ")
}
