//! Contexts, and which of them is current on a thread.

use crate::handle::{Handle, Kind};
use crate::session::Session;
use crate::system::DeviceState;
use crate::{Error, Result, Runtime};
use std::cell::RefCell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// Flags of a context; the interface gives them their meaning.
pub type ContextFlags = u32;

#[derive(Default)]
struct State {
    session: Option<Arc<Session>>,
    /// How often a primary context was retained.
    retained: u32,
}

/// What a program holds on to. The primary context of a device exists as long as the process and has a session only
/// while somebody retains it; other contexts have one from creation to destruction.
pub struct Context {
    pub id: u64,
    pub device: Arc<DeviceState>,
    pub primary: bool,
    /// The interface version it was made with.
    pub version: u32,
    flags: AtomicU32,
    state: Mutex<State>,
}

impl Kind for Context {
    const TAG: u8 = 0x43;
    const NAME: &'static str = "context";
}

impl Context {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub fn flags(&self) -> ContextFlags {
        self.flags.load(Ordering::Relaxed)
    }

    pub fn set_flags(&self, flags: ContextFlags) {
        self.flags.store(flags, Ordering::Relaxed);
    }

    pub fn is_active(&self) -> bool {
        self.state().session.is_some()
    }

    /// The session, healthy or not.
    pub fn session(&self) -> Result<Arc<Session>> {
        self.state().session.clone().ok_or(Error::ContextDestroyed)
    }
}

thread_local! {
    static CURRENT: RefCell<Vec<Handle<Context>>> = const { RefCell::new(Vec::new()) };
}

impl Runtime {
    pub(crate) fn new_context(&self, device: &Arc<DeviceState>, primary: bool, version: u32) -> Arc<Context> {
        Arc::new(Context {
            id: self.next_id(),
            device: device.clone(),
            primary,
            version,
            flags: AtomicU32::new(0),
            state: Mutex::default(),
        })
    }

    /// A context of its own, current on the calling thread from now on.
    pub fn create_context(&self, device: usize, flags: ContextFlags, version: u32) -> Result<Handle<Context>> {
        let device = self.device(device)?;
        let context = self.new_context(device, false, version);
        context.set_flags(flags);
        context.state().session = Some(Session::new(self.next_id(), device.clone()));
        let handle = self.contexts.insert(context);
        self.push_current(handle)?;
        Ok(handle)
    }

    /// Ends a context that is not a primary one. If it is current on the calling thread, it no longer is.
    pub fn destroy_context(&self, handle: Handle<Context>) -> Result<()> {
        if self.contexts.get(handle)?.primary {
            return Err(Error::InvalidContext);
        }
        let context = self.contexts.remove(handle)?;
        let session = context.state().session.take();
        if let Some(session) = session {
            self.end_session(&session);
        }
        CURRENT.with_borrow_mut(|stack| {
            if stack.last() == Some(&handle) {
                stack.pop();
            }
        });
        Ok(())
    }

    /// The handle of a device's primary context, active or not.
    pub fn primary_context(&self, device: usize) -> Result<Handle<Context>> {
        Ok(self.device(device)?.primary())
    }

    fn primary(&self, device: usize) -> Result<Arc<Context>> {
        self.contexts.get(self.primary_context(device)?)
    }

    pub fn retain_primary(&self, device: usize) -> Result<Handle<Context>> {
        let context = self.primary(device)?;
        let mut state = context.state();
        state.retained += 1;
        if state.session.is_none() {
            state.session = Some(Session::new(self.next_id(), context.device.clone()));
        }
        Ok(context.device.primary())
    }

    /// Undoes one `retain_primary`; the last one ends the session.
    pub fn release_primary(&self, device: usize) -> Result<()> {
        let context = self.primary(device)?;
        let mut state = context.state();
        state.retained = state.retained.checked_sub(1).ok_or(Error::InvalidContext)?;
        let ended = if state.retained == 0 { state.session.take() } else { None };
        drop(state);
        if let Some(session) = ended {
            self.end_session(&session);
        }
        Ok(())
    }

    /// Ends the session, whoever retains the context. Those who do still have to release it.
    pub fn reset_primary(&self, device: usize) -> Result<()> {
        let session = self.primary(device)?.state().session.take();
        if let Some(session) = session {
            self.end_session(&session);
        }
        Ok(())
    }

    /// Flags and whether it is active.
    pub fn primary_state(&self, device: usize) -> Result<(ContextFlags, bool)> {
        let context = self.primary(device)?;
        Ok((context.flags(), context.is_active()))
    }

    pub fn set_primary_flags(&self, device: usize, flags: ContextFlags) -> Result<()> {
        self.primary(device)?.set_flags(flags);
        Ok(())
    }

    fn end_session(&self, session: &Arc<Session>) {
        session.end();
        self.streams.remove_where(|stream| stream.session.id == session.id);
        self.events.remove_where(|event| event.session.id == session.id);
        self.images.release_session(session.id);
        for module in self.modules.remove_where(|module| module.session.id == session.id) {
            self.dismantle(&module);
        }
        self.graphs.blocks.forget_session(session.id);
        self.memory.release_session(session.id);
    }

    /// The current context of the calling thread.
    pub fn current(&self) -> Option<Handle<Context>> {
        CURRENT.with_borrow(|stack| stack.last().copied())
    }

    /// Replaces the current context; `None` leaves the thread with the one below, or with none.
    pub fn set_current(&self, handle: Option<Handle<Context>>) -> Result<()> {
        if let Some(handle) = handle {
            self.contexts.get(handle).map_err(|_| Error::InvalidContext)?;
        }
        CURRENT.with_borrow_mut(|stack| {
            stack.pop();
            stack.extend(handle);
        });
        Ok(())
    }

    pub fn push_current(&self, handle: Handle<Context>) -> Result<()> {
        self.contexts.get(handle).map_err(|_| Error::InvalidContext)?;
        CURRENT.with_borrow_mut(|stack| stack.push(handle));
        Ok(())
    }

    pub fn pop_current(&self) -> Result<Handle<Context>> {
        CURRENT.with_borrow_mut(Vec::pop).ok_or(Error::InvalidContext)
    }

    pub fn current_context(&self) -> Result<Arc<Context>> {
        let handle = self.current().ok_or(Error::InvalidContext)?;
        self.contexts.get(handle).map_err(|_| Error::ContextDestroyed)
    }

    /// The session of the current context, if no fault has happened in it.
    pub fn session(&self) -> Result<Arc<Session>> {
        let session = self.current_context()?.session()?;
        session.check()?;
        Ok(session)
    }
}
