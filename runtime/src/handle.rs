//! Handles given to programs: typed, and checked against reuse.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::sync::{Arc, RwLock};

/// An object that programs hold by handle.
pub trait Kind {
    /// Names the kind inside the handle's bits. Below 0x80 and never 0, so that a handle is neither null nor an address
    /// that any processor would accept: a program that dereferences one faults at once.
    const TAG: u8;
    /// What messages call it.
    const NAME: &'static str;
}

/// Names one object of a `Table`. A handle whose object was removed never becomes valid again.
pub struct Handle<T> {
    index: u32,
    generation: u32,
    kind: PhantomData<fn() -> T>,
}

const GENERATION_BITS: u32 = 24;
const GENERATIONS: u32 = 1 << GENERATION_BITS;

impl<T: Kind> Handle<T> {
    /// The handle as a program sees it: tag, generation, index.
    pub fn bits(self) -> u64 {
        u64::from(T::TAG) << 56 | u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// What a program handed in, if it is a handle of this kind at all.
    pub fn from_bits(bits: u64) -> Option<Self> {
        (bits >> 56 == u64::from(T::TAG)).then_some(Self {
            index: bits as u32,
            generation: (bits >> 32) as u32 & (GENERATIONS - 1),
            kind: PhantomData,
        })
    }
}

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Handle<T> {}
impl<T> PartialEq for Handle<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.index, self.generation) == (other.index, other.generation)
    }
}
impl<T> Eq for Handle<T> {}
impl<T> Hash for Handle<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.index, self.generation).hash(state);
    }
}
impl<T: Kind> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}.{}", T::NAME, self.index, self.generation)
    }
}

struct Slot<T> {
    generation: u32,
    object: Option<Arc<T>>,
}

struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

/// The objects of one kind.
pub struct Table<T>(RwLock<Slots<T>>);

impl<T: Kind> Default for Table<T> {
    fn default() -> Self {
        Self(RwLock::new(Slots { slots: Vec::new(), free: Vec::new() }))
    }
}

impl<T: Kind> Table<T> {
    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Slots<T>> {
        self.0.write().unwrap_or_else(|e| e.into_inner())
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Slots<T>> {
        self.0.read().unwrap_or_else(|e| e.into_inner())
    }

    pub fn insert(&self, object: Arc<T>) -> Handle<T> {
        let mut table = self.write();
        let index = match table.free.pop() {
            Some(index) => index,
            None => {
                table.slots.push(Slot { generation: 1, object: None });
                (table.slots.len() - 1) as u32
            }
        };
        let slot = &mut table.slots[index as usize];
        slot.object = Some(object);
        Handle { index, generation: slot.generation, kind: PhantomData }
    }

    pub fn get(&self, handle: Handle<T>) -> crate::Result<Arc<T>> {
        let table = self.read();
        let slot = table.slots.get(handle.index as usize).filter(|slot| slot.generation == handle.generation);
        slot.and_then(|slot| slot.object.clone()).ok_or(crate::Error::InvalidHandle(T::NAME))
    }

    /// Takes the object out; the handle is dead from here on.
    pub fn remove(&self, handle: Handle<T>) -> crate::Result<Arc<T>> {
        let mut table = self.write();
        let slot = table.slots.get_mut(handle.index as usize).filter(|slot| slot.generation == handle.generation);
        let (object, last) = slot
            .and_then(|slot| {
                let object = slot.object.take()?;
                slot.generation += 1;
                Some((object, slot.generation == GENERATIONS))
            })
            .ok_or(crate::Error::InvalidHandle(T::NAME))?;
        // A slot that has used up its generations stays empty: reusing it would revive old handles.
        if !last {
            table.free.push(handle.index);
        }
        Ok(object)
    }

    /// Removes every object that `dead` picks, and returns them.
    pub fn remove_where(&self, dead: impl Fn(&T) -> bool) -> Vec<Arc<T>> {
        let handles: Vec<_> = self.handles_where(dead);
        handles.into_iter().filter_map(|handle| self.remove(handle).ok()).collect()
    }

    pub fn handles_where(&self, wanted: impl Fn(&T) -> bool) -> Vec<Handle<T>> {
        let table = self.read();
        let slots = table.slots.iter().enumerate();
        slots
            .filter(|(_, slot)| slot.object.as_ref().is_some_and(|object| wanted(object)))
            .map(|(index, slot)| Handle { index: index as u32, generation: slot.generation, kind: PhantomData })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Apple(u32);
    impl Kind for Apple {
        const TAG: u8 = 0x41;
        const NAME: &'static str = "apple";
    }
    struct Pear;
    impl Kind for Pear {
        const TAG: u8 = 0x42;
        const NAME: &'static str = "pear";
    }

    #[test]
    fn a_handle_survives_the_trip_through_a_program() {
        let table = Table::<Apple>::default();
        let handle = table.insert(Arc::new(Apple(7)));
        let back = Handle::from_bits(handle.bits()).unwrap();
        assert_eq!(table.get(back).unwrap().0, 7);
        assert!(Handle::<Pear>::from_bits(handle.bits()).is_none(), "a handle of another kind");
        assert!(Handle::<Apple>::from_bits(0).is_none() && Handle::<Apple>::from_bits(2).is_none());
        assert_eq!(format!("{handle:?}"), "apple0.1");
    }

    #[test]
    fn a_removed_handle_stays_dead_when_its_slot_is_reused() {
        let table = Table::<Apple>::default();
        let old = table.insert(Arc::new(Apple(1)));
        assert_eq!(table.remove(old).unwrap().0, 1);
        let new = table.insert(Arc::new(Apple(2)));
        assert_eq!(new.index, old.index);
        assert_eq!(table.get(old).unwrap_err(), crate::Error::InvalidHandle("apple"));
        assert!(table.remove(old).is_err());
        assert_eq!(table.get(new).unwrap().0, 2);
    }

    #[test]
    fn remove_where_takes_only_what_it_is_asked_for() {
        let table = Table::<Apple>::default();
        let handles: Vec<_> = (0..4).map(|n| table.insert(Arc::new(Apple(n)))).collect();
        assert_eq!(table.remove_where(|apple| apple.0 % 2 == 0).len(), 2);
        assert!(table.get(handles[0]).is_err() && table.get(handles[2]).is_err());
        assert!(table.get(handles[1]).is_ok() && table.get(handles[3]).is_ok());
    }
}
