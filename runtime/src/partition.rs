//! Parts of a device: its multiprocessors are shared out, and contexts are kept to a share.
//!
//! A green context is a part of the primary context of its device: it has memory, modules and events in common with it, and
//! streams and multiprocessors of its own.

use crate::context::Context;
use crate::handle::{Handle, Kind};
use crate::session::Session;
use crate::{Error, Event, Result, Runtime, Stream};
use hetgpu_device::Caps;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// Words of a set of multiprocessors.
const WORDS: usize = 8;

/// Some multiprocessors of a device. Where there are more than a set has bits, a bit stands for several.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Multiprocessors {
    pub device: usize,
    /// The division that it came out of; 0 if none.
    pub division: u64,
    pub set: [u64; WORDS],
}

/// Multiprocessors that cannot be parted.
pub fn indivisible(caps: &Caps) -> u32 {
    caps.multiprocessors.div_ceil(WORDS as u32 * u64::BITS).max(1)
}

fn refused(text: impl Into<String>) -> Error {
    Error::InsufficientResources(text.into())
}

impl Multiprocessors {
    /// All of a device.
    pub fn all(device: usize, caps: &Caps) -> Self {
        Self::first(device, caps.multiprocessors / indivisible(caps))
    }

    /// The first so many units.
    fn first(device: usize, units: u32) -> Self {
        let set = std::array::from_fn(|word| {
            let bits = units.saturating_sub(word as u32 * u64::BITS).min(u64::BITS);
            u64::MAX.checked_shr(u64::BITS - bits).unwrap_or(0)
        });
        Self { device, division: 0, set }
    }

    fn units(&self) -> impl Iterator<Item = u32> {
        let set = self.set;
        (0..WORDS as u32 * u64::BITS).filter(move |bit| set[(bit / u64::BITS) as usize] >> (bit % u64::BITS) & 1 != 0)
    }

    fn with(&self, division: u64, units: impl Iterator<Item = u32>) -> Self {
        let mut set = [0; WORDS];
        units.for_each(|bit| set[(bit / u64::BITS) as usize] |= 1 << (bit % u64::BITS));
        Self { device: self.device, division, set }
    }

    /// How many they are.
    pub fn count(&self, caps: &Caps) -> u32 {
        self.set.iter().map(|word| word.count_ones()).sum::<u32>() * indivisible(caps)
    }

    /// Whether they are some of a device, and not none.
    pub fn is_of(&self, caps: &Caps) -> bool {
        let all = Self::all(self.device, caps);
        self.set != [0; WORDS] && self.set.iter().zip(all.set).all(|(word, all)| word & !all == 0)
    }

    /// Their numbers.
    fn numbers(&self, caps: &Caps) -> Arc<[u32]> {
        let each = indivisible(caps);
        self.units().flat_map(|unit| unit * each..(unit + 1) * each).collect()
    }

    /// Groups of the same size, of at least `least` each, and what is left over. `most`: groups at most.
    pub fn divided(&self, caps: &Caps, division: u64, most: usize, least: u32) -> Result<(Vec<Self>, Self)> {
        if self.division != 0 {
            return Err(refused("a group cannot be divided before a context was made of it"));
        }
        let have = self.count(caps);
        if least > have {
            return Err(refused(format!("groups of {least} multiprocessors, and there are {have}")));
        }
        let each = least.div_ceil(indivisible(caps)).max(1) as usize;
        let units: Vec<u32> = self.units().collect();
        let groups = units.chunks_exact(each).take(most);
        let groups: Vec<_> = groups.map(|group| self.with(division, group.iter().copied())).collect();
        let rest = self.with(division, units[groups.len() * each..].iter().copied());
        Ok((groups, rest))
    }

    /// Several groups in one.
    pub fn joined(groups: &[Self]) -> Result<Self> {
        let (first, rest) = groups.split_first().ok_or_else(|| Error::invalid("no resources"))?;
        let mut joined = *first;
        for group in rest {
            let meet = joined.set.iter().zip(group.set).any(|(a, b)| a & b != 0);
            if group.device != first.device || meet {
                return Err(refused("resources of several devices, or one of them twice"));
            }
            joined.set.iter_mut().zip(group.set).for_each(|(a, b)| *a |= b);
        }
        Ok(joined)
    }
}

/// What a green context will have.
pub struct ResourceDescription {
    pub multiprocessors: Multiprocessors,
}

impl Kind for ResourceDescription {
    const TAG: u8 = 0x44;
    const NAME: &'static str = "resource description";
}

/// What of a session a context speaks for: the whole, or what a green context is of it.
pub struct Part {
    /// 0: the whole.
    pub id: u64,
    green: OnceLock<Handle<GreenContext>>,
    /// Where its kernels run; none for everywhere.
    pub share: Option<Multiprocessors>,
    /// The numbers of those.
    pub(crate) processors: Option<Arc<[u32]>>,
    over: AtomicBool,
}

impl Part {
    pub(crate) fn whole() -> Arc<Self> {
        Arc::new(Self { id: 0, green: OnceLock::new(), share: None, processors: None, over: AtomicBool::new(false) })
    }

    /// The green context that it is.
    pub fn green(&self) -> Option<Handle<GreenContext>> {
        self.green.get().copied()
    }

    pub fn is_whole(&self) -> bool {
        self.id == 0
    }

    /// Fails where the green context is gone.
    pub(crate) fn check(&self) -> Result<()> {
        if self.over.load(Ordering::Acquire) { Err(Error::ContextDestroyed) } else { Ok(()) }
    }
}

/// A part of a device's primary context.
pub struct GreenContext {
    pub id: u64,
    /// The context that it is where calls take one.
    pub context: Handle<Context>,
    pub part: Arc<Part>,
    pub session: Arc<Session>,
}

impl Kind for GreenContext {
    const TAG: u8 = 0x57;
    const NAME: &'static str = "green context";
}

impl Runtime {
    /// Divides multiprocessors. The groups are disjoint.
    pub fn divide(
        &self,
        whole: &Multiprocessors,
        most: usize,
        least: u32,
    ) -> Result<(Vec<Multiprocessors>, Multiprocessors)> {
        let caps = self.device(whole.device)?.device.caps();
        whole.divided(caps, self.next_id(), most, least)
    }

    /// What a context has.
    pub fn context_multiprocessors(&self, context: &Context) -> Multiprocessors {
        let device = &context.device;
        context.part.share.unwrap_or_else(|| Multiprocessors::all(device.index, device.device.caps()))
    }

    /// Whether a context is that of a green one.
    pub fn is_green(&self, context: &Context) -> bool {
        context.part.share.is_some()
    }

    /// How many multiprocessors work of the calling thread's context has, if that is one of this session.
    pub fn multiprocessors_of(&self, session: &Session) -> u32 {
        let caps = session.device.device.caps();
        match self.scope() {
            Ok((current, part)) if current.id == session.id => {
                part.share.map_or(caps.multiprocessors, |share| share.count(caps))
            }
            _ => caps.multiprocessors,
        }
    }

    pub fn describe_resources(&self, groups: &[Multiprocessors]) -> Result<Handle<ResourceDescription>> {
        let multiprocessors = Multiprocessors::joined(groups)?;
        Ok(self.descriptions.insert(Arc::new(ResourceDescription { multiprocessors })))
    }

    /// A part of a device's primary context, which it retains.
    pub fn create_green(
        &self,
        description: Option<Handle<ResourceDescription>>,
        device: usize,
    ) -> Result<Handle<GreenContext>> {
        let state = self.device(device)?;
        let share = match description {
            Some(description) => self.descriptions.get(description)?.multiprocessors,
            None => Multiprocessors::all(device, state.device.caps()),
        };
        if share.device != device {
            return Err(Error::invalid("resources of another device"));
        }
        let primary = self.contexts.get(self.retain_primary(device)?)?;
        let session = primary.session()?;
        let (id, processors) = (self.next_id(), Some(share.numbers(state.device.caps())));
        // What comes out of a green context can be divided again.
        let share = Some(Multiprocessors { division: 0, ..share });
        let part = Arc::new(Part { id, green: OnceLock::new(), share, processors, over: AtomicBool::new(false) });
        session.add_part(&part);
        let context = self.insert_green_context(state, &session, &part);
        let green = self.greens.insert(Arc::new(GreenContext { id, context, part: part.clone(), session }));
        let _ = part.green.set(green);
        Ok(green)
    }

    /// Ends a green context after its work. Streams of it are of no use from here on.
    pub fn destroy_green(&self, handle: Handle<GreenContext>) -> Result<()> {
        let green = self.greens.remove(handle)?;
        green.session.drain_part(green.part.id);
        green.part.over.store(true, Ordering::Release);
        green.session.close_part(green.part.id);
        self.contexts.remove(green.context)?;
        // A primary context that was reset has nobody left who retains it.
        let _ = self.release_primary(green.session.device.index);
        Ok(())
    }

    /// The green context that a handle names, or that is current.
    pub fn green(&self, handle: Option<Handle<GreenContext>>) -> Result<Arc<GreenContext>> {
        let handle = match handle {
            Some(handle) => handle,
            None => self.scope()?.1.green().ok_or(Error::InvalidContext)?,
        };
        self.greens.get(handle)
    }

    /// A stream of a green context, which does not synchronise with a default stream.
    pub fn create_green_stream(
        &self,
        green: Handle<GreenContext>,
        flags: u32,
        priority: i32,
    ) -> Result<Handle<Stream>> {
        let green = self.greens.get(green)?;
        green.session.check()?;
        self.open_stream(&green.session, &green.part, false, flags, priority)
    }

    /// Records what a green context has been given so far.
    pub fn record_green(&self, green: Handle<GreenContext>, event: Handle<Event>) -> Result<()> {
        let green = self.greens.get(green)?;
        self.record_part(&green.session, &green.part, event)
    }

    /// What a green context is given from now on waits for an event.
    pub fn green_wait(&self, green: Handle<GreenContext>, event: Handle<Event>) -> Result<()> {
        let green = self.greens.get(green)?;
        self.part_wait(&green.session, &green.part, event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(multiprocessors: u32) -> Caps {
        Caps { multiprocessors, ..Caps::default() }
    }

    #[test]
    fn groups_are_of_one_size_and_disjoint_and_nothing_is_lost() {
        let caps = caps(14);
        let all = Multiprocessors::all(3, &caps);
        assert_eq!((all.count(&caps), all.device), (14, 3));
        let (groups, rest) = all.divided(&caps, 9, usize::MAX, 4).unwrap();
        assert_eq!(groups.iter().map(|group| group.count(&caps)).collect::<Vec<_>>(), [4, 4, 4]);
        assert_eq!(*groups[1].numbers(&caps), [4, 5, 6, 7]);
        assert_eq!(*rest.numbers(&caps), [12, 13]);
        let (groups, rest) = all.divided(&caps, 9, 1, 4).unwrap();
        assert_eq!((groups.len(), rest.count(&caps)), (1, 10));
        assert!(all.divided(&caps, 9, 1, 15).is_err());
        assert_eq!(all.divided(&caps, 9, usize::MAX, 0).unwrap().0.len(), 14, "as small as can be");
        assert!(groups[0].divided(&caps, 10, 1, 1).is_err(), "not before there is a context of it");
    }

    #[test]
    fn groups_are_joined_that_have_nothing_in_common() {
        let caps = caps(8);
        let all = Multiprocessors::all(0, &caps);
        let (one, _) = all.divided(&caps, 1, usize::MAX, 2).unwrap();
        let (two, _) = all.divided(&caps, 2, usize::MAX, 2).unwrap();
        assert_eq!(*Multiprocessors::joined(&[one[2], one[0]]).unwrap().numbers(&caps), [0, 1, 4, 5]);
        assert_eq!(*Multiprocessors::joined(&[one[0], two[1]]).unwrap().numbers(&caps), [0, 1, 2, 3]);
        assert!(Multiprocessors::joined(&[one[0], two[0]]).is_err());
        assert!(Multiprocessors::joined(&[one[0], one[0]]).is_err() && Multiprocessors::joined(&[]).is_err());
        assert!(Multiprocessors::joined(&[all, all]).is_err());
    }

    #[test]
    fn a_bit_stands_for_several_where_there_are_many() {
        let caps = caps(1030);
        let all = Multiprocessors::all(0, &caps);
        assert_eq!((indivisible(&caps), all.count(&caps)), (3, 1029));
        let (groups, _) = all.divided(&caps, 1, 2, 4).unwrap();
        assert_eq!(*groups[1].numbers(&caps), [6, 7, 8, 9, 10, 11]);
        assert!(all.is_of(&caps) && !all.is_of(&self::caps(8)));
    }
}
