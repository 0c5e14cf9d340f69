//! Switching between stacks: what a function's caller relies on is saved on its stack, and the stack pointer is all that
//! is left to remember.

use std::arch::naked_asm;

/// What a new stack begins with: it receives its argument.
pub(super) type Main = unsafe extern "C" fn(*const ());

/// Stores the stack pointer at `save` and goes on where `to` was stored.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
pub(super) unsafe extern "C" fn switch(save: *mut *mut u8, to: *mut u8) {
    // SysV: rbx, rbp and r12 to r15 belong to the caller. So do the control bits of MXCSR, which are the same on all
    // strands: see `Controls`. Compiled code does not use the x87 unit.
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov [rdi], rsp",
        "mov rsp, rsi",
        "jmp {resume}",
        resume = sym resume,
    )
}

/// Goes on with the context that the stack pointer is at. Not called: jumped to.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
pub(super) unsafe extern "C" fn resume() {
    naked_asm!("pop r15", "pop r14", "pop r13", "pop r12", "pop rbx", "pop rbp", "ret",)
}

#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
unsafe extern "C" fn start() {
    naked_asm!("mov rdi, r12", "xor ebp, ebp", "call r13", "ud2")
}

/// Puts a context on an unused stack that will call `main` with `argument`; `main` must not return.
///
/// # Safety
/// The 128 bytes below `top` are writable, and `top` is a multiple of 16.
#[cfg(target_arch = "x86_64")]
pub(super) unsafe fn prepare(top: *mut u8, main: Main, argument: *const ()) -> *mut u8 {
    let context: [u64; 7] =
        [0, 0, main as usize as u64, argument as u64, 0, 0, start as unsafe extern "C" fn() as usize as u64];
    // SAFETY: the caller owns the bytes; 16 more stay zero above as the end of the chain of frames.
    unsafe {
        let sp = top.sub(16 + size_of_val(&context));
        sp.cast::<[u64; 7]>().write(context);
        top.sub(16).cast::<[u64; 2]>().write([0; 2]);
        sp
    }
}

/// The processor's floating-point modes, as compiled code wants them while this exists: to nearest, denormals kept, no
/// exceptions. The thread's own modes come back when it is dropped.
pub(crate) struct Controls {
    #[cfg(target_arch = "x86_64")]
    before: u32,
}

impl Controls {
    pub(crate) fn set() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let mut before = 0u32;
            let wanted = 0x1f80u32;
            // SAFETY: reads and writes MXCSR by way of two variables. The modes are restored before other Rust code of
            // the thread's owner runs; ours computes no floats that other modes would change meanwhile.
            unsafe {
                std::arch::asm!("stmxcsr [{b}]", "ldmxcsr [{w}]", b = in(reg) &raw mut before, w = in(reg) &raw const wanted);
            }
            Self { before }
        }
        #[cfg(not(target_arch = "x86_64"))]
        Self {}
    }
}

impl Drop for Controls {
    fn drop(&mut self) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as in `set`.
        unsafe {
            std::arch::asm!("ldmxcsr [{b}]", b = in(reg) &raw const self.before);
        }
    }
}

/// Stores the stack pointer at `save` and goes on where `to` was stored.
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
pub(super) unsafe extern "C" fn switch(save: *mut *mut u8, to: *mut u8) {
    // AAPCS64: x19 to x30 and the low halves of v8 to v15 belong to the caller.
    naked_asm!(
        "sub sp, sp, #176",
        "stp x19, x20, [sp, #0]",
        "stp x21, x22, [sp, #16]",
        "stp x23, x24, [sp, #32]",
        "stp x25, x26, [sp, #48]",
        "stp x27, x28, [sp, #64]",
        "stp x29, x30, [sp, #80]",
        "stp d8, d9, [sp, #96]",
        "stp d10, d11, [sp, #112]",
        "stp d12, d13, [sp, #128]",
        "stp d14, d15, [sp, #144]",
        "mrs x9, fpcr",
        "str x9, [sp, #160]",
        "mov x9, sp",
        "str x9, [x0]",
        "mov sp, x1",
        "b {resume}",
        resume = sym resume,
    )
}

/// Goes on with the context that the stack pointer is at. Not called: jumped to.
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
pub(super) unsafe extern "C" fn resume() {
    naked_asm!(
        "ldr x9, [sp, #160]",
        "msr fpcr, x9",
        "ldp x19, x20, [sp, #0]",
        "ldp x21, x22, [sp, #16]",
        "ldp x23, x24, [sp, #32]",
        "ldp x25, x26, [sp, #48]",
        "ldp x27, x28, [sp, #64]",
        "ldp x29, x30, [sp, #80]",
        "ldp d8, d9, [sp, #96]",
        "ldp d10, d11, [sp, #112]",
        "ldp d12, d13, [sp, #128]",
        "ldp d14, d15, [sp, #144]",
        "add sp, sp, #176",
        "ret",
    )
}

#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
unsafe extern "C" fn start() {
    naked_asm!("mov x0, x19", "mov x29, xzr", "blr x20", "brk #1")
}

/// Puts a context on an unused stack that will call `main` with `argument`; `main` must not return.
///
/// # Safety
/// The 256 bytes below `top` are writable, and `top` is a multiple of 16.
#[cfg(target_arch = "aarch64")]
pub(super) unsafe fn prepare(top: *mut u8, main: Main, argument: *const ()) -> *mut u8 {
    let mut context = [0u64; 22];
    context[0] = argument as u64;
    context[1] = main as usize as u64;
    context[11] = start as unsafe extern "C" fn() as usize as u64;
    // SAFETY: the caller owns the bytes.
    unsafe {
        let sp = top.sub(16 + size_of_val(&context));
        sp.cast::<[u64; 22]>().write(context);
        top.sub(16).cast::<[u64; 2]>().write([0; 2]);
        sp
    }
}
