//! Memory of one device in reach of another's kernels.

use crate::context::Context;
use crate::error::PeerError;
use crate::handle::Handle;
use crate::memory::{Allocation, Origin};
use crate::session::Session;
use crate::{Error, Result, Runtime};
use hetgpu_device::Access;

impl Runtime {
    /// Whether a device can be let reach another's memory. Where it can, no devices take the places of the two from then on that cannot.
    pub fn can_reach(&self, device: usize, peer: usize) -> Result<bool> {
        let (own, other) = (self.device(device)?, self.device(peer)?);
        if device == peer || !own.seat.began_as().peers.contains(&other.seat.began_as().uuid) {
            return Ok(false);
        }
        let both = [&own.seat, &other.seat];
        Ok(both.iter().all(|seat| seat.is_neighbourly(false)) && both.iter().all(|seat| seat.is_neighbourly(true)))
    }

    /// Lets the current context reach what there is and will be in another's memory.
    pub fn enable_peer(&self, peer: Handle<Context>) -> Result<()> {
        let session = self.session()?;
        let theirs = self.contexts.get(peer)?.session()?;
        if theirs.id == session.id {
            return Err(Error::InvalidContext);
        }
        let (own, other) = (session.device.index, theirs.device.index);
        if !self.can_reach(own, other)? {
            return Err(PeerError::Unsupported.into());
        }
        if !session.add_peer(theirs.id, other) {
            return Err(PeerError::AlreadyEnabled.into());
        }
        self.memory.link(own, other).inspect_err(|_| _ = session.remove_peer(theirs.id))
    }

    /// Undoes `enable_peer`, after all work that may use the memory.
    pub fn disable_peer(&self, peer: Handle<Context>) -> Result<()> {
        let session = self.session()?;
        let theirs = self.contexts.get(peer)?.session()?;
        let other = session.remove_peer(theirs.id).ok_or(PeerError::NotEnabled)?;
        session.drain();
        self.memory.unlink(session.device.index, other);
        Ok(())
    }

    /// What a session let itself reach ends with it.
    pub(crate) fn leave_peers(&self, session: &Session) {
        for other in session.take_peers() {
            self.memory.unlink(session.device.index, other);
        }
    }

    /// Whether the device of a session reaches an allocation, be it another's.
    pub(crate) fn reaches(&self, session: &Session, allocation: &Allocation) -> bool {
        let device = session.device.index;
        if allocation.host_visible() || allocation.device == device {
            return true;
        }
        match &allocation.origin {
            Origin::Own => self.memory.is_linked(device, allocation.device),
            Origin::Pool(pool) => pool.is_reached(device),
            Origin::Mapping(mapping) => mapping.access(device) != Access::None,
            Origin::Foreign(_) | Origin::Module => false,
        }
    }
}
