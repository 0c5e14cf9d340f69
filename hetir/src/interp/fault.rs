//! What a launch can fail with, and where.

use crate::diag::{Diagnostic, Severity, Span};
use std::fmt;

/// What went wrong.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum FaultKind {
    /// An access outside the memory that there is, or that may be accessed in this way.
    OutOfBounds,
    /// An access at an address that is not a multiple of its size.
    Misaligned,
    /// Conflicting accesses of two threads that nothing orders.
    Race,
    /// A read of shared or local memory that nothing has written.
    Uninitialised,
    /// Threads of one warp at different aligned barriers.
    DivergentBarrier,
    /// A barrier used with thread counts or numbers that cannot work.
    BadBarrier,
    /// A warp op whose member mask does not hold the lane that executes it.
    BadMask,
    /// All threads wait.
    Deadlock,
    /// `trap`.
    Trap,
    /// `brkpt`.
    Breakpoint,
    /// A failed device-side assertion.
    AssertFail,
    /// Too many nested calls, or the stack is used up.
    StackOverflow,
    /// More steps than allowed.
    StepLimit,
    /// The launch was asked to stop.
    Interrupted,
    /// A call of an address that is no function of the signature, or of a function without a body.
    BadCall,
    /// A launch that does not fit its kernel.
    BadLaunch,
    /// An operand outside what the op allows.
    BadOperand,
    /// An op that the interpreter does not execute in this form.
    Unsupported,
}

impl FaultKind {
    /// Every kind.
    pub const ALL: [Self; 18] = [
        Self::OutOfBounds,
        Self::Misaligned,
        Self::Race,
        Self::Uninitialised,
        Self::DivergentBarrier,
        Self::BadBarrier,
        Self::BadMask,
        Self::Deadlock,
        Self::Trap,
        Self::Breakpoint,
        Self::AssertFail,
        Self::StackOverflow,
        Self::StepLimit,
        Self::Interrupted,
        Self::BadCall,
        Self::BadLaunch,
        Self::BadOperand,
        Self::Unsupported,
    ];

    /// A stable short name.
    pub const fn code(self) -> &'static str {
        match self {
            Self::OutOfBounds => "run::out-of-bounds",
            Self::Misaligned => "run::misaligned",
            Self::Race => "run::race",
            Self::Uninitialised => "run::uninitialised",
            Self::DivergentBarrier => "run::divergent-barrier",
            Self::BadBarrier => "run::bad-barrier",
            Self::BadMask => "run::bad-mask",
            Self::Deadlock => "run::deadlock",
            Self::Trap => "run::trap",
            Self::Breakpoint => "run::breakpoint",
            Self::AssertFail => "run::assert",
            Self::StackOverflow => "run::stack-overflow",
            Self::StepLimit => "run::step-limit",
            Self::Interrupted => "run::interrupted",
            Self::BadCall => "run::bad-call",
            Self::BadLaunch => "run::bad-launch",
            Self::BadOperand => "run::bad-operand",
            Self::Unsupported => "run::unsupported",
        }
    }
}

/// Where in the launch something happened.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Place {
    /// The function, where it is not the kernel itself.
    pub function: String,
    /// The instruction's origin.
    pub span: Span,
    /// The instruction's op.
    pub op: &'static str,
    /// The block's index.
    pub block: [u32; 3],
    /// The thread's index.
    pub thread: [u32; 3],
}

/// A launch's failure, or a warning about one that went on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// The kernel launched.
    pub kernel: String,
    /// Where; `None` where the launch did not begin.
    pub place: Option<Place>,
    /// What exactly, without a full stop.
    pub message: String,
    /// Other places concerned: the other side of a race, where threads wait.
    pub related: Vec<(Place, String)>,
}

impl Fault {
    /// As a diagnostic: an error, or a warning.
    pub fn diagnostic(&self, severity: Severity) -> Diagnostic {
        let mut d = Diagnostic { severity, ..Diagnostic::error(self.kind.code(), self.to_string()) };
        if let Some(place) = self.place.as_ref().filter(|p| !p.span.is_empty()) {
            d = d.at(place.span, "");
        }
        for (place, text) in &self.related {
            d = if place.span.is_empty() { d.note(text.clone()) } else { d.at(place.span, text.clone()) };
        }
        d
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        if let Some(p) = self.place.as_ref().filter(|p| !p.op.is_empty()) {
            let ([a, b, c], [x, y, z]) = (p.block, p.thread);
            write!(f, " at `{}` in ", p.op)?;
            if p.function != self.kernel {
                write!(f, "function {}, ", p.function)?;
            }
            write!(f, "kernel {}, block ({a}, {b}, {c}), thread ({x}, {y}, {z})", self.kernel)
        } else {
            write!(f, ", kernel {}", self.kernel)
        }
    }
}

impl std::error::Error for Fault {}
