//! Contexts, and which of them is current on a thread.

use crate::handle::{Handle, Kind};
use crate::partition::Part;
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
    /// How often a primary context was retained, or another one attached beyond its creation.
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
    /// What of the session it speaks for.
    pub part: Arc<Part>,
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
    pub(crate) fn new_context(
        &self,
        device: &Arc<DeviceState>,
        primary: bool,
        version: u32,
        part: Arc<Part>,
    ) -> Arc<Context> {
        Arc::new(Context {
            id: self.next_id(),
            device: device.clone(),
            primary,
            version,
            part,
            flags: AtomicU32::new(0),
            state: Mutex::default(),
        })
    }

    /// A context of its own, current on the calling thread from now on.
    pub fn create_context(&self, device: usize, flags: ContextFlags, version: u32) -> Result<Handle<Context>> {
        let device = self.device(device)?;
        let session = Session::new(self.next_id(), device.clone());
        let context = self.new_context(device, false, version, Part::whole());
        context.set_flags(flags);
        context.state().session = Some(session);
        self.control.used();
        let handle = self.contexts.insert(context);
        self.push_current(handle)?;
        Ok(handle)
    }

    /// The form of a green context that calls take as a context.
    pub(crate) fn insert_green_context(
        &self,
        device: &Arc<DeviceState>,
        session: &Arc<Session>,
        part: &Arc<Part>,
    ) -> Handle<Context> {
        const VERSION: u32 = 3020;
        let context = self.new_context(device, false, VERSION, part.clone());
        context.state().session = Some(session.clone());
        self.contexts.insert(context)
    }

    /// The context that a session is of, and no green one.
    pub fn owner_of(&self, session: u64) -> Option<Handle<Context>> {
        let is_owner =
            |context: &Context| context.part.is_whole() && context.session().is_ok_and(|own| own.id == session);
        self.contexts.handles_where(is_owner).first().copied()
    }

    /// Ends a context that is not a primary one. If it is current on the calling thread, it no longer is.
    pub fn destroy_context(&self, handle: Handle<Context>) -> Result<()> {
        let context = self.contexts.get(handle)?;
        if context.primary || !context.part.is_whole() {
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

    /// Another user of the current context, who detaches it.
    pub fn attach_current(&self) -> Result<Handle<Context>> {
        let handle = self.current().ok_or(Error::InvalidContext)?;
        let context = self.current_context()?;
        context.session()?.check()?;
        context.state().retained += 1;
        Ok(handle)
    }

    /// Undoes the creation of the current context, or one `attach_current`; the last one ends it.
    pub fn detach_current(&self, handle: Handle<Context>) -> Result<()> {
        let context = self.contexts.get(handle).map_err(|_| Error::InvalidContext)?;
        if self.current() != Some(handle) {
            return Err(Error::InvalidContext);
        }
        if context.primary {
            return self.release_primary(context.device.index);
        }
        if !context.part.is_whole() {
            return Err(Error::InvalidContext);
        }
        let mut state = context.state();
        match state.retained.checked_sub(1) {
            Some(left) => {
                state.retained = left;
                Ok(())
            }
            None => {
                drop(state);
                self.destroy_context(handle)
            }
        }
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
            self.control.used();
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
        self.leave_peers(session);
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

    /// The session of the current context, if no fault has happened in it, and what of it the context speaks for.
    pub fn scope(&self) -> Result<(Arc<Session>, Arc<Part>)> {
        let context = self.current_context()?;
        let session = context.session()?;
        session.check()?;
        Ok((session, context.part.clone()))
    }

    /// The session of the current context, if no fault has happened in it.
    pub fn session(&self) -> Result<Arc<Session>> {
        let session = self.current_context()?.session()?;
        session.check()?;
        Ok(session)
    }
}
