//! Who may reach a device now.
//!
//! Every call at a device passes its gate. Where it is closed, the caller stays in front of it until it opens: he has
//! asked for something that will be done, perhaps by another device.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// Who passes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub(crate) enum Mode {
    /// Everybody.
    Open,
    /// Calls of the program, which may be what an operation under way waits for; operations stay in front.
    Calls,
    /// Nobody.
    Closed,
}

/// Operations of a queue that stay where nothing of them reaches a device.
#[derive(Debug, Default)]
pub(crate) struct Held(AtomicU32);

impl Held {
    pub(crate) fn count(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }

    /// Counts the operation that the caller runs as held, while `wait` lasts; once, however often it is said.
    pub(crate) fn during<R>(&self, wait: impl FnOnce() -> R) -> R {
        struct Counted<'h>(Option<&'h Held>);
        impl Drop for Counted<'_> {
            fn drop(&mut self) {
                if let Some(held) = self.0 {
                    held.0.fetch_sub(1, Ordering::SeqCst);
                    let _ = COUNTED.try_with(|counted| counted.set(false));
                }
            }
        }
        // A thread that ends the process counts once more than it has to, which makes nobody wait.
        let already = COUNTED.try_with(|counted| counted.replace(true)).unwrap_or(false);
        if !already {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
        let _counted = Counted((!already).then_some(self));
        wait()
    }
}

thread_local! {
    /// Where the operation that the thread runs is counted, if it runs one.
    static OPERATION: RefCell<Option<Arc<Held>>> = const { RefCell::new(None) };
    /// Whether that operation is counted as held now.
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

/// The calling thread runs an operation of that queue until this is dropped.
pub(crate) struct InOperation(Option<Arc<Held>>);

impl InOperation {
    pub(crate) fn begin(of: &Arc<Held>) -> Self {
        // A thread that ends the process runs what is left when this is gone: nobody pauses it any more.
        Self(OPERATION.try_with(|here| here.replace(Some(Arc::clone(of)))).unwrap_or_default())
    }
}

impl Drop for InOperation {
    fn drop(&mut self) {
        let before = self.0.take();
        let _ = OPERATION.try_with(|here| here.replace(before));
    }
}

fn operation() -> Option<Arc<Held>> {
    OPERATION.try_with(|here| here.borrow().clone()).unwrap_or_default()
}

fn is_operation() -> bool {
    OPERATION.try_with(|here| here.borrow().is_some()).unwrap_or(false)
}

fn is_held() -> bool {
    COUNTED.try_with(Cell::get).unwrap_or(true)
}

/// Does what the operation that the thread runs has to do between two pieces of work. Of devices it uses single calls, in front of which
/// it stays in a pause: so a pause does not wait for all of it.
pub(crate) fn aside<R>(act: impl FnOnce() -> R) -> R {
    match operation() {
        Some(held) => held.during(act),
        None => act(),
    }
}

#[derive(Debug)]
pub(crate) struct Gate {
    mode: AtomicU8,
    /// Calls that have passed and have not come back.
    inside: AtomicU32,
    lock: Mutex<()>,
    opened: Condvar,
}

/// A call that has passed; it has come back when this is dropped.
pub(crate) struct Inside<'g>(&'g Gate);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Gate {
    pub(crate) fn new() -> Self {
        let (mode, inside) = (AtomicU8::new(Mode::Open as u8), AtomicU32::new(0));
        Self { mode, inside, lock: Mutex::default(), opened: Condvar::new() }
    }

    fn guard(&self) -> MutexGuard<'_, ()> {
        self.lock.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn admits(&self) -> bool {
        match self.mode.load(Ordering::SeqCst) {
            mode if mode == Mode::Open as u8 => true,
            mode if mode == Mode::Calls as u8 => !is_operation(),
            _ => false,
        }
    }

    /// Passes, when that may be.
    pub(crate) fn enter(&self) -> Inside<'_> {
        let entered = self.enter_settled(&|| Ok::<(), std::convert::Infallible>(()));
        entered.unwrap_or_else(|never| match never {})
    }

    /// Passes, when that may be. An operation that stays in front does something first: until that is done it does not count as held, and
    /// who closes the gate waits for it.
    pub(crate) fn enter_settled<E>(&self, settle: &dyn Fn() -> Result<(), E>) -> Result<Inside<'_>, E> {
        loop {
            // Counted before it looks: who closes the gate looks at the count afterwards.
            self.inside.fetch_add(1, Ordering::SeqCst);
            let inside = Inside(self);
            if self.admits() {
                return Ok(inside);
            }
            drop(inside);
            match operation() {
                Some(held) => {
                    if !is_held() {
                        settle()?;
                    }
                    held.during(|| self.stay());
                }
                None => self.stay(),
            }
        }
    }

    fn stay(&self) {
        /// A signal handler of the program may have cost us a call; nobody looks at it more often than that.
        const LOOK: Duration = Duration::from_secs(1);
        let mut guard = self.guard();
        while !self.admits() {
            guard = self.opened.wait_timeout(guard, LOOK).unwrap_or_else(|e| e.into_inner()).0;
        }
    }

    /// Who passes from now on. Those inside are not touched.
    pub(crate) fn set(&self, mode: Mode) {
        let _guard = self.guard();
        self.mode.store(mode as u8, Ordering::SeqCst);
        self.opened.notify_all();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.inside.load(Ordering::SeqCst) == 0
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.mode.load(Ordering::SeqCst) == Mode::Closed as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    const SOON: Duration = Duration::from_millis(50);

    #[test]
    fn calls_pass_where_operations_stay_and_nobody_passes_a_closed_gate() {
        let (gate, held) = (Arc::new(Gate::new()), Arc::new(Held::default()));
        let (sender, passed) = channel();
        gate.set(Mode::Calls);
        drop(gate.enter());
        let (to, of, says) = (Arc::clone(&gate), Arc::clone(&held), sender.clone());
        std::thread::spawn(move || {
            let _operation = InOperation::begin(&of);
            drop(to.enter());
            says.send("operation").unwrap();
        });
        assert!(passed.recv_timeout(SOON).is_err());
        assert_eq!(held.count(), 1);
        gate.set(Mode::Closed);
        let to = Arc::clone(&gate);
        std::thread::spawn(move || {
            drop(to.enter());
            sender.send("call").unwrap();
        });
        assert!(passed.recv_timeout(SOON).is_err());
        assert!(gate.is_closed() && gate.is_empty());
        gate.set(Mode::Open);
        let mut both = [passed.recv().unwrap(), passed.recv().unwrap()];
        both.sort_unstable();
        assert_eq!((both, held.count()), (["call", "operation"], 0));
    }

    #[test]
    fn who_is_inside_is_seen() {
        let gate = Gate::new();
        let inside = gate.enter();
        gate.set(Mode::Closed);
        assert!(!gate.is_empty());
        drop(inside);
        assert!(gate.is_empty());
    }
}
