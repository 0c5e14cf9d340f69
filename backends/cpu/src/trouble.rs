//! What goes wrong in a launch.

use crate::job::Job;
use crate::sys::access::Access;
use crate::sys::signal::Signal;
use crate::sys::strand::{Request, Strand};
use hetgpu_device::{DeviceError, ErrorKind};
use hetgpu_llvm::abi::{Described, Failure as Cause};
use hetir::diag::{Diagnostic, Span};
use hetir::interp::space::SHARED_STRIDE;
use hetir::interp::{Fault, FaultKind, Place};
use hetir::op::Op;

/// Why an op failed that a helper executed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Trouble {
    pub kind: FaultKind,
    /// The lane to blame.
    pub lane: u32,
    pub message: String,
    /// The op: its number, function and place in the text.
    pub at: Option<(u16, u32, u32)>,
}

impl Trouble {
    pub(crate) fn new(kind: FaultKind, lane: usize, message: impl Into<String>) -> Box<Self> {
        Box::new(Self { kind, lane: lane as u32, message: message.into(), at: None })
    }

    pub(crate) fn at(mut self: Box<Self>, described: &Described) -> Box<Self> {
        self.at = Some((described.op, described.function, described.span));
        self
    }
}

/// Why a launch failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Failure {
    pub error: DeviceError,
    /// What the kernel accessed, to be told by the name of the nearest allocation.
    pub address: Option<u64>,
}

/// How to learn more about an access than the processor tells.
pub(crate) const MORE: &str = "HETGPU_CHECK=memory names the thread and the instruction";

impl Failure {
    fn of(fault: &Fault) -> Box<Self> {
        Box::new(Self { error: DeviceError::from(fault), address: None })
    }

    /// A failure without a place in the program.
    pub(crate) fn plain(job: &Job, kind: ErrorKind, code: &'static str, message: String) -> Box<Self> {
        let message = format!("{message}, kernel {}", job.kernel_name());
        let diagnostic = Diagnostic::error(code, message.clone());
        Box::new(Self { error: DeviceError { kind, message, diagnostic: Some(Box::new(diagnostic)) }, address: None })
    }

    /// A block's warps wait for each other.
    pub(crate) fn deadlock(job: &Job, cta: [u32; 3], message: &str) -> Box<Self> {
        let [a, b, c] = cta;
        let message = format!("deadlock: every thread of block ({a}, {b}, {c}) waits{message}");
        Self::plain(job, ErrorKind::Deadlock, FaultKind::Deadlock.code(), message)
    }

    /// No memory for what a block needs.
    pub(crate) fn no_room(job: &Job, why: &std::io::Error) -> Box<Self> {
        let message = format!("no memory to run a block in: {why}");
        Self::plain(job, ErrorKind::OutOfResources, FaultKind::BadLaunch.code(), message)
    }

    /// A strand has stopped for good.
    pub(crate) fn stopped(job: &Job, strand: &Strand, request: Request, place: Option<Accessed>) -> Box<Self> {
        match request {
            Request::Fail { kind, lane, function, span } => {
                let lane = strand.lane().unwrap_or(lane);
                Self::said(job, strand, kind, lane, function, span)
            }
            Request::Signal(signal) => Self::signalled(job, strand, signal, place),
            _ => match strand.take_trouble() {
                Some(t) => {
                    let place = t.at.map(|(op, function, span)| {
                        let op = Op::ALL.get(usize::from(op)).map_or("", |op| op.info().name);
                        job.place(strand, t.lane, op, function, span)
                    });
                    Self::of(&Fault {
                        kind: t.kind,
                        kernel: job.kernel_name().to_owned(),
                        place,
                        message: t.message,
                        related: Vec::new(),
                    })
                }
                None => Self::plain(job, ErrorKind::LaunchFailed, FaultKind::Trap.code(), "the kernel stopped".into()),
            },
        }
    }

    fn said(job: &Job, strand: &Strand, cause: u32, lane: u32, function: u32, span: u32) -> Box<Self> {
        let cause = Cause::from_number(cause);
        let (kind, op, message) = match cause {
            Some(Cause::Trap) => (FaultKind::Trap, "trap", "trap"),
            Some(Cause::Breakpoint) => (FaultKind::Breakpoint, "brkpt", "breakpoint without a debugger"),
            Some(Cause::BadCall) => (FaultKind::BadCall, "calli", "call of what is no function of this signature"),
            Some(Cause::Misaligned) => {
                (FaultKind::Misaligned, "", "an address that is no multiple of the access's size")
            }
            Some(Cause::OutOfBounds) => (FaultKind::OutOfBounds, "", "an access outside of all memory"),
            Some(Cause::StackOverflow) => (FaultKind::StackOverflow, "", "the thread's stack is used up"),
            Some(Cause::BadOperand) => (FaultKind::BadOperand, "", "an operand that the instruction does not take"),
            Some(Cause::WrongSpace) => {
                (FaultKind::OutOfBounds, "", "an address of another state space than the access needs")
            }
            None => (FaultKind::Trap, "", "the kernel stopped"),
        };
        let missing = (cause == Some(Cause::BadCall)).then(|| without_body(job, function, span)).flatten();
        let op = if missing.is_some() { "call" } else { op };
        let mut place = job.place(strand, lane, op, function, span);
        if op.is_empty() {
            // The instruction is known by its place only.
            place.op = "an instruction";
        }
        let mut failure = Self::of(&Fault {
            kind,
            kernel: job.kernel_name().to_owned(),
            place: Some(place),
            message: missing.unwrap_or_else(|| message.to_owned()),
            related: Vec::new(),
        });
        if cause == Some(Cause::WrongSpace) {
            failure.error.kind = ErrorKind::InvalidAddressSpace;
        }
        failure
    }

    fn signalled(job: &Job, strand: &Strand, signal: Signal, place: Option<Accessed>) -> Box<Self> {
        if let (true, None, Some(((op, function, span), access))) = (signal.is_access(), place, strand.lost_access()) {
            let Access { lane, kind, bytes, address } = access;
            let op = Op::ALL.get(usize::from(op)).map_or("", |op| op.info().name);
            let mut failure = Self::of(&Fault {
                kind: FaultKind::OutOfBounds,
                kernel: job.kernel_name().to_owned(),
                place: Some(job.place(strand, lane, op, function, span)),
                message: format!("{bytes}-byte {} of global memory at {address:#x}: no memory is there", kind.name()),
                related: Vec::new(),
            });
            failure.address = Some(address);
            return failure;
        }
        let whom = format!("kernel {}, {}", job.kernel_name(), job.describe(strand));
        let mut address = None;
        let (kind, code, message) = match (signal.is_access(), place) {
            (false, _) => {
                let message = match signal.number {
                    libc::SIGFPE => "an arithmetic exception of the processor",
                    _ => "an instruction that the processor refuses",
                };
                (ErrorKind::IllegalInstruction, FaultKind::BadOperand.code(), message.to_owned())
            }
            (true, Some(Accessed::Stack)) => {
                let message = "too many nested calls: the stack is used up".to_owned();
                (ErrorKind::StackOverflow, FaultKind::StackOverflow.code(), message)
            }
            (true, Some(Accessed::Local)) => {
                let message = "an access outside of local memory".to_owned();
                (ErrorKind::IllegalAddress, FaultKind::OutOfBounds.code(), message)
            }
            (true, Some(Accessed::Shared(offset))) => {
                let rank = offset / SHARED_STRIDE;
                let limit = match rank >= job.together.into() {
                    true => format!("the cluster has no block {rank}"),
                    false => format!("the block has {} bytes of it", job.total_shared),
                };
                let message = format!("an access of shared memory at {offset:#x}, and {limit}");
                (ErrorKind::IllegalAddress, FaultKind::OutOfBounds.code(), message)
            }
            (true, None) if signal.is_anywhere() => {
                let message = "an access at an address that no memory can have".to_owned();
                (ErrorKind::IllegalAddress, FaultKind::OutOfBounds.code(), message)
            }
            (true, None) => {
                address = Some(signal.address);
                let message = format!("an access at {:#x}, where no memory is", signal.address);
                (ErrorKind::IllegalAddress, FaultKind::OutOfBounds.code(), message)
            }
        };
        let message = format!("{message}, {whom}");
        let diagnostic = Diagnostic::error(code, message.clone()).note(MORE);
        let error = DeviceError { kind, message, diagnostic: Some(Box::new(diagnostic)) };
        Box::new(Self { error, address })
    }

    /// The error, with what is near the address.
    pub(crate) fn finish(mut self, nearest: impl FnOnce(u64) -> String) -> DeviceError {
        if let Some(text) = self.address.map(nearest).filter(|t| !t.is_empty()) {
            self.error.message = format!("{} ({text})", self.error.message);
            if let Some(d) = &mut self.error.diagnostic {
                d.message.clone_from(&self.error.message);
            }
        }
        self.error
    }
}

/// What an address belongs to, beside global memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Accessed {
    Stack,
    Local,
    /// The place in the space.
    Shared(u64),
}

/// What is said of a call of a function without a body, if that is what stands at a place.
fn without_body(job: &Job, function: u32, span: u32) -> Option<String> {
    let module = &job.module;
    let body = module.functions.get(function as usize)?.body.as_ref()?;
    let at = body.spans.iter().zip(&body.insts).filter(|(at, inst)| at.start == span && inst.op == Op::Call);
    let mut callees = at.filter_map(|(_, inst)| module.functions.get(inst.imm as usize));
    let callee = callees.find(|callee| callee.body.is_none())?;
    let why = callee.unavailable.first().map(|reason| format!(": {}", reason.message)).unwrap_or_default();
    Some(format!("call of {}, which has no body{why}", callee.name))
}

impl Job {
    pub(crate) fn kernel_name(&self) -> &str {
        self.module.functions.get(self.kernel.index()).map_or("", |f| &f.name)
    }

    fn place(&self, strand: &Strand, lane: u32, op: &'static str, function: u32, span: u32) -> Place {
        let function = self.module.functions.get(function as usize);
        let warp = strand.warp();
        Place {
            function: function.map_or_else(|| self.kernel_name().to_owned(), |f| f.name.clone()),
            span: Span::new(span, span + u32::from(span > 0)),
            op,
            block: warp.cta,
            thread: self.thread_index(warp.warp * 32 + lane % 32),
        }
    }
}
