//! Why a launch ended early, as every engine reports it.

use std::fmt;

/// The kinds of fault that a filetest may expect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultKind {
    OutOfBounds,
    Misaligned,
    Race,
    Uninitialised,
    DivergentBarrier,
    Deadlock,
    Trap,
    Assert,
    Invalid,
    Limit,
}

const TABLE: [(FaultKind, &str); 10] = [
    (FaultKind::OutOfBounds, "out-of-bounds"),
    (FaultKind::Misaligned, "misaligned"),
    (FaultKind::Race, "race"),
    (FaultKind::Uninitialised, "uninitialised"),
    (FaultKind::DivergentBarrier, "divergent-barrier"),
    (FaultKind::Deadlock, "deadlock"),
    (FaultKind::Trap, "trap"),
    (FaultKind::Assert, "assert"),
    (FaultKind::Invalid, "invalid"),
    (FaultKind::Limit, "limit"),
];

impl FaultKind {
    /// The kind of that name.
    pub fn named(name: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    /// All names, for messages.
    pub fn names() -> String {
        TABLE.map(|row| row.1).join(" ")
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(TABLE[*self as usize].1)
    }
}
