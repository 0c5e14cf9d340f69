//! Faults of compiled code. They arrive as signals; the handler makes the thread go on as if the strand had stopped by
//! itself. Signals that are not a strand's go where they went before.

use super::strand::Strand;
use super::switch;
use std::cell::{Cell, RefCell};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicPtr, Ordering};

/// A signal that ended a strand.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Signal {
    /// Its number.
    pub number: i32,
    /// `si_code`.
    pub code: i32,
    /// The address accessed, where there is one.
    pub address: u64,
}

impl Signal {
    /// True for an access of memory.
    pub(crate) fn is_access(self) -> bool {
        matches!(self.number, libc::SIGSEGV | libc::SIGBUS)
    }
    /// True where the processor does not tell the address: x86 has no page fault for one with its high bits mixed.
    pub(crate) fn is_anywhere(self) -> bool {
        // SI_KERNEL: sent by the kernel for something other than a page fault.
        self.code == 0x80
    }
}

thread_local! {
    static CURRENT: Cell<*const Strand> = const { Cell::new(ptr::null()) };
    static ALTERNATE: RefCell<Option<Alternate>> = const { RefCell::new(None) };
}

/// Says which strand the thread runs from now on; none where null.
#[inline]
pub(super) fn set_current(strand: *const Strand) {
    CURRENT.set(strand);
}

const SIGNALS: [i32; 4] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL];

/// What handled each signal before.
static BEFORE: [AtomicPtr<libc::sigaction>; 4] = [const { AtomicPtr::new(ptr::null_mut()) }; 4];
static INSTALLING: Mutex<()> = Mutex::new(());

type Handler = unsafe extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);

/// Makes the handler the process's, also where the program has put its own in the meantime.
pub(crate) fn install() {
    if is_ours(libc::SIGSEGV) {
        return;
    }
    let _one = INSTALLING.lock().unwrap_or_else(|e| e.into_inner());
    for (&signal, before) in SIGNALS.iter().zip(&BEFORE) {
        if is_ours(signal) {
            continue;
        }
        let mut action = MaybeUninit::<libc::sigaction>::zeroed();
        let mut old = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: an all-zero `sigaction` is valid, and the handler has the signature that SA_SIGINFO asks for. The old
        // action is leaked: a handler on another thread may be reading it.
        unsafe {
            let new = action.assume_init_mut();
            new.sa_sigaction = handle as Handler as usize;
            new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigemptyset(&mut new.sa_mask);
            if libc::sigaction(signal, new, old.as_mut_ptr()) == 0 {
                before.store(Box::into_raw(Box::new(old.assume_init())), Ordering::Release);
            }
        }
    }
}

fn is_ours(signal: i32) -> bool {
    let mut now = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a query into memory of the right type.
    unsafe {
        libc::sigaction(signal, ptr::null(), now.as_mut_ptr()) == 0
            && now.assume_init().sa_sigaction == handle as Handler as usize
    }
}

unsafe extern "C" fn handle(number: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let strand = CURRENT.get();
    // SAFETY: the kernel gives a valid `siginfo`.
    let code = unsafe { (*info).si_code };
    // Sent by a process, it is no fault.
    if strand.is_null() || code <= 0 {
        // SAFETY: the arguments are those of this call.
        return unsafe { pass_on(number, info, context) };
    }
    CURRENT.set(ptr::null());
    // SAFETY: a non-null strand is running on this thread, and stopped right here; its worker waits in `Strand::run`, so
    // that `home` is a context that `resume` can go on with. Nothing on the strand's stack is used any more.
    unsafe {
        let address = (*info).si_addr().addr() as u64;
        let home = (*strand).interrupted(Signal { number, code, address });
        let resume = switch::resume as unsafe extern "C" fn() as usize;
        let context = context.cast::<libc::ucontext_t>();
        go_on(&mut *context, resume, home);
    }
}

#[cfg(target_arch = "x86_64")]
fn go_on(context: &mut libc::ucontext_t, at: usize, stack: *mut u8) {
    let registers = &mut context.uc_mcontext.gregs;
    registers[libc::REG_RIP as usize] = at as i64;
    registers[libc::REG_RSP as usize] = stack.addr() as i64;
    // The direction flag is clear between functions.
    registers[libc::REG_EFL as usize] &= !0x400;
}

#[cfg(target_arch = "aarch64")]
fn go_on(context: &mut libc::ucontext_t, at: usize, stack: *mut u8) {
    context.uc_mcontext.pc = at as u64;
    context.uc_mcontext.sp = stack.addr() as u64;
}

/// Does what would have been done without us.
unsafe fn pass_on(number: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let before = SIGNALS.iter().position(|&s| s == number).map(|n| BEFORE[n].load(Ordering::Acquire));
    // SAFETY: what was stored is never freed. The program's handler is called with what the kernel gave, by the signature that
    // its flags say. Without one the default action is set, and the instruction fails again.
    unsafe {
        match before.and_then(|b| b.as_ref()) {
            Some(old) if old.sa_sigaction != libc::SIG_DFL && old.sa_sigaction != libc::SIG_IGN => {
                if old.sa_flags & libc::SA_SIGINFO != 0 {
                    let handler = std::mem::transmute::<usize, Handler>(old.sa_sigaction);
                    handler(number, info, context);
                } else {
                    let handler = std::mem::transmute::<usize, unsafe extern "C" fn(i32)>(old.sa_sigaction);
                    handler(number);
                }
            }
            Some(old) if old.sa_sigaction == libc::SIG_IGN && (*info).si_code <= 0 => {}
            _ => {
                let mut default = MaybeUninit::<libc::sigaction>::zeroed();
                default.assume_init_mut().sa_sigaction = libc::SIG_DFL;
                libc::sigaction(number, default.as_ptr(), ptr::null_mut());
                if (*info).si_code <= 0 {
                    libc::raise(number);
                }
            }
        }
    }
}

/// A stack for signal handlers of threads that have none: a strand's own may be what has ended.
struct Alternate {
    memory: super::map::Reservation,
}

/// Enough for the registers of AVX-512 and AMX, and the handlers of others.
const ALTERNATE_BYTES: usize = 256 << 10;
const ALTERNATE_GUARD: usize = 16 << 10;

impl Alternate {
    fn new() -> Option<Self> {
        let memory = super::map::Reservation::new(ALTERNATE_GUARD + ALTERNATE_BYTES).ok()?;
        memory.protect(ALTERNATE_GUARD, ALTERNATE_BYTES, true).ok()?;
        Some(Self { memory })
    }
}

impl Drop for Alternate {
    fn drop(&mut self) {
        let off = libc::stack_t { ss_sp: ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: ALTERNATE_BYTES };
        let mut now = MaybeUninit::<libc::stack_t>::zeroed();
        // SAFETY: turned off only where it is still this one, before its memory goes.
        unsafe {
            let known = libc::sigaltstack(ptr::null(), now.as_mut_ptr()) == 0;
            if known && now.assume_init().ss_sp == self.memory.base().wrapping_add(ALTERNATE_GUARD).cast() {
                libc::sigaltstack(&off, ptr::null_mut());
            }
        }
    }
}

/// Gives this thread a stack for signal handlers where it has none.
pub(crate) fn prepare_thread() {
    ALTERNATE.with_borrow_mut(|mine| {
        if mine.is_some() {
            return;
        }
        let mut now = MaybeUninit::<libc::stack_t>::zeroed();
        // SAFETY: a query into memory of the right type.
        let known = unsafe { libc::sigaltstack(ptr::null(), now.as_mut_ptr()) } == 0;
        // SAFETY: all-zero is valid, and it was filled where known.
        let now = unsafe { now.assume_init() };
        if known && now.ss_flags & libc::SS_DISABLE == 0 && now.ss_size >= MINIMUM {
            return;
        }
        let Some(new) = Alternate::new() else { return };
        let stack = libc::stack_t {
            ss_sp: new.memory.base().wrapping_add(ALTERNATE_GUARD).cast(),
            ss_flags: 0,
            ss_size: ALTERNATE_BYTES,
        };
        // SAFETY: the memory is the thread's until `Drop` has turned it off.
        if unsafe { libc::sigaltstack(&stack, ptr::null_mut()) } == 0 {
            *mine = Some(new);
        }
    });
}

/// Smaller ones are no use: the frame of a signal holds AVX-512 registers.
const MINIMUM: usize = 8 << 10;

/// Leaves the program's signals to the program's threads.
pub(crate) fn block_foreign_signals() {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the set is filled before it is used; the mask is this thread's own.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        for signal in SIGNALS {
            libc::sigdelset(set.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), ptr::null_mut());
    }
}
