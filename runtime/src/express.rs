//! The short way of a launch: what a thread has launched before, in the same stream, as it is set now.
//!
//! Each thread keeps what it found out at earlier launches. It is as good as the epoch: whatever could make it wrong and is seen nowhere
//! else begins a new one.

use crate::context::Context;
use crate::flight;
use crate::handle::Handle;
use crate::launch::{self, LaunchShape, Launchable};
use crate::module::Function;
use crate::queue::{Express, Lane, Ticket};
use crate::session::Session;
use crate::stream::StreamRef;
use crate::{Error, Runtime, log};
use hetgpu_device::{LoadedModule, ParamPointers};
use hetir::entity::FuncId;
use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

static EPOCH: AtomicU64 = AtomicU64::new(0);

/// A module was unloaded, or a kernel is set otherwise.
pub(crate) fn begin_epoch() {
    EPOCH.fetch_add(1, Ordering::AcqRel);
}

/// A launch of a thread, and what decides where it goes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    runtime: usize,
    what: u64,
    stream: StreamRef,
    context: Option<Handle<Context>>,
}

struct Found {
    key: Key,
    epoch: u64,
    /// None where such launches go the usual way.
    ticket: Option<(Weak<Express>, Weak<Ticket>)>,
}

/// So many launches a thread remembers.
const PLACES: usize = 256;

thread_local! {
    static FOUND: RefCell<Vec<Option<Found>>> = const { RefCell::new(Vec::new()) };
}

impl Key {
    fn new(runtime: &Runtime, what: u64, stream: StreamRef) -> Self {
        Self { runtime: std::ptr::from_ref(runtime).addr(), what, stream, context: runtime.current() }
    }

    fn place(&self) -> usize {
        let stream = match self.stream {
            StreamRef::Default => 1,
            StreamRef::Thread => 2,
            StreamRef::Handle(stream) => stream.bits(),
        };
        // The index of a handle is in its low bits.
        (self.what.wrapping_mul(31) ^ stream.wrapping_mul(7)) as usize % PLACES
    }
}

/// A launch of the usual kind that could go the short way the next time.
pub(crate) struct Candidate {
    key: Key,
    epoch: u64,
    function: Arc<Function>,
    loaded: LoadedModule,
    kernel: FuncId,
}

impl Runtime {
    /// Launches a kernel that this thread has launched in this stream before, where nothing stands in the way. None where it did not.
    ///
    /// `what` is the handle that names the kernel, as its bits. `params` is asked for as many pointers as the kernel has parameters.
    pub fn launch_at_once(
        &self,
        what: u64,
        stream: StreamRef,
        shape: &LaunchShape,
        params: impl FnOnce(usize) -> Option<ParamPointers>,
    ) -> Option<crate::Result<()>> {
        let key = Key::new(self, what, stream);
        let (express, ticket) = FOUND.with_borrow(|found| {
            let found = found.get(key.place())?.as_ref().filter(|found| found.key == key)?;
            let (express, ticket) = found.ticket.as_ref().filter(|_| found.epoch == EPOCH.load(Ordering::Acquire))?;
            Some((express.upgrade()?, ticket.upgrade()?))
        })?;
        let Ticket { known, function, settings, session, .. } = &*ticket;
        if !self.captures.none() || !session.is_well() {
            return None;
        }
        let (caps, blocks) = (session.device.device.caps(), shape.blocks());
        let guess = function.pace.of(blocks).filter(|&guess| guess <= flight::SHORT)?;
        launch::check_shape(caps, function.info(), *settings, shape, caps.multiprocessors).ok()?;
        let params = params(function.info().params.len())?;
        let launched = express.launch(ticket.place, blocks, guess, || {
            known.launch(shape.grid, shape.block, shape.dynamic_shared, params)
        })?;
        Some(launched.map_err(|error| {
            // Who asks hears of it; others do where nothing can be launched any more.
            if error.kind.poisons() {
                log::error(format_args!("{error}"));
                session.poison(Error::from(error.clone()));
            }
            Error::from(error)
        }))
    }

    /// What is to be remembered of a launch that went the usual way; none where it is known whether it can go the short one.
    pub(crate) fn candidate(
        &self,
        what: Launchable,
        stream: StreamRef,
        function: &Arc<Function>,
        loaded: LoadedModule,
        kernel: FuncId,
    ) -> Option<Candidate> {
        let bits = match what {
            Launchable::Function(handle) => handle.bits(),
            Launchable::Kernel(handle) => handle.bits(),
        };
        let (key, epoch) = (Key::new(self, bits, stream), EPOCH.load(Ordering::Acquire));
        let known = FOUND.with_borrow(|found| {
            let found = found.get(key.place()).and_then(Option::as_ref);
            found.is_some_and(|found| {
                let alive = |(express, ticket): &(Weak<Express>, Weak<Ticket>)| {
                    express.strong_count() > 0 && ticket.strong_count() > 0
                };
                found.key == key && found.epoch == epoch && found.ticket.as_ref().is_none_or(alive)
            })
        });
        (!known).then(|| Candidate { key, epoch, function: Arc::clone(function), loaded, kernel })
    }

    /// Remembers a launch.
    pub(crate) fn remember(&self, session: &Arc<Session>, lane: Lane, candidate: Candidate) {
        let Candidate { key, epoch, function, loaded, kernel } = candidate;
        // What is unknown is known after the first launch.
        if function.pace.of(1).is_none() {
            return;
        }
        let queue = &session.device.queue;
        let Some(express) = queue.express(lane, session) else { return };
        let settings = function.settings();
        let ticket = queue.known(lane, loaded, kernel).map(|known| {
            let ticket = express.ticket(session, &function, settings, known);
            (Arc::downgrade(&express), Arc::downgrade(&ticket))
        });
        FOUND.with_borrow_mut(|found| {
            found.resize_with(PLACES, || None);
            found[key.place()] = Some(Found { key, epoch, ticket });
        });
    }
}
