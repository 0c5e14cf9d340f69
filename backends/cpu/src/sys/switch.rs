//! Switching between stacks: what a function's caller relies on is saved on its stack, and the stack pointer is all that
//! is left to remember.

use std::arch::naked_asm;

/// What a new stack begins with: it receives its argument.
pub(super) type Main = unsafe extern "C" fn(*const ());

/// Stores the stack pointer at `save` and goes on where `to` was stored.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
pub(super) unsafe extern "C" fn switch(save: *mut *mut u8, to: *mut u8) {
    // SysV: rbx, rbp, r12 to r15 and the control bits of MXCSR and of the x87 unit belong to the caller.
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 8",
        "stmxcsr [rsp]",
        "fnstcw [rsp + 4]",
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
    naked_asm!(
        "ldmxcsr [rsp]",
        "fldcw [rsp + 4]",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
    )
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
    // MXCSR: all exceptions masked, to nearest; x87: the same, 64-bit mantissa.
    const CONTROL: u64 = 0x1f80 | 0x037f << 32;
    let context: [u64; 8] =
        [CONTROL, 0, 0, main as usize as u64, argument as u64, 0, 0, start as unsafe extern "C" fn() as usize as u64];
    // SAFETY: the caller owns the bytes; 16 more stay zero above as the end of the chain of frames.
    unsafe {
        let sp = top.sub(16 + size_of_val(&context));
        sp.cast::<[u64; 8]>().write(context);
        top.sub(16).cast::<[u64; 2]>().write([0; 2]);
        sp
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
