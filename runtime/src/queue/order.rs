//! What stands in the lanes of a device, and what of it may run. Nothing here waits or runs anything.
//!
//! A lane is idle, running, or looks at its front: an operation that waits for another lane is noted there once, and is
//! looked at again when that lane gets so far. What waits for nothing is ready, and what waits for a condition that
//! nobody announces is polled.
//!
//! An operation that was taken is done when it is finished, or is handed to the device, which goes on by itself. Behind what
//! was handed over only such goes on that may be handed over too; the rest waits until it has arrived.

use std::collections::{BTreeSet, VecDeque};

/// A line of operations that run in order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Lane {
    slot: u32,
    generation: u32,
}

/// A point in a lane: everything up to and including its `count`-th operation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Point {
    pub(crate) lane: Lane,
    pub(crate) count: u64,
}

/// What stands in a lane.
pub(super) trait Item {
    /// Whether it begins only when a condition holds that nobody announces.
    fn is_polled(&self) -> bool;

    /// Whether the device may be given it while it still does what stands before it in the lane.
    fn follows(&self) -> bool;
}

struct Entry<W> {
    after: Vec<Point>,
    /// Place in the order of all requests to this device.
    order: u64,
    work: W,
}

/// What a lane that has something to do is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Front {
    /// Nothing is there.
    Nothing,
    /// Its first operation was taken.
    Running,
    /// Its first operation may be taken.
    Ready,
    /// Its first operation waits for a condition.
    Polled,
    /// Its first operation waits for what was handed to the device.
    Draining,
    /// Its first operation waits for a point of another lane.
    Behind(Point),
}

/// What stands before a point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Before {
    Nothing,
    /// Something that may be taken.
    Ready(Lane),
    Running(Lane),
    /// Something that waits for a condition.
    Polled,
    /// What was handed to the device.
    Handed(Lane),
}

struct LaneState<W> {
    /// Of the device's queue; lower ones go first.
    priority: i32,
    waiting: VecDeque<Entry<W>>,
    front: Front,
    issued: u64,
    /// Handed to the device, behind those that are done.
    handed: u64,
    done: u64,
    /// Nothing will be added; the lane goes when it is empty.
    closed: bool,
    /// Lanes whose front waits for this one, and how far.
    followers: Vec<(u64, Lane)>,
}

struct Slot<W> {
    generation: u32,
    lane: Option<LaneState<W>>,
}

pub(super) struct Order<W> {
    slots: Vec<Slot<W>>,
    free: Vec<u32>,
    next_order: u64,
    /// Priority, place in the order of requests, lane.
    ready: BTreeSet<(i32, u64, Lane)>,
    polled: Vec<Lane>,
}

impl<W> Default for Order<W> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), next_order: 0, ready: BTreeSet::new(), polled: Vec::new() }
    }
}

impl<W: Item> Order<W> {
    fn get(&self, lane: Lane) -> Option<&LaneState<W>> {
        self.slots.get(lane.slot as usize).filter(|slot| slot.generation == lane.generation)?.lane.as_ref()
    }

    fn get_mut(&mut self, lane: Lane) -> Option<&mut LaneState<W>> {
        self.slots.get_mut(lane.slot as usize).filter(|slot| slot.generation == lane.generation)?.lane.as_mut()
    }

    pub(super) fn open(&mut self, priority: i32) -> Lane {
        let state = LaneState {
            priority,
            waiting: VecDeque::new(),
            front: Front::Nothing,
            issued: 0,
            handed: 0,
            done: 0,
            closed: false,
            followers: Vec::new(),
        };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 1, lane: None });
            (self.slots.len() - 1) as u32
        });
        let place = &mut self.slots[slot as usize];
        place.lane = Some(state);
        Lane { slot, generation: place.generation }
    }

    /// No more for this lane. What it holds still runs. True where it held nothing, and is gone.
    pub(super) fn close(&mut self, lane: Lane) -> bool {
        let Some(found) = self.get_mut(lane) else { return false };
        found.closed = true;
        let gone = found.done == found.issued;
        if gone {
            self.remove(lane);
        }
        gone
    }

    fn remove(&mut self, lane: Lane) {
        let Some(slot) = self.slots.get_mut(lane.slot as usize) else { return };
        slot.lane = None;
        // A slot that has used up its generations stays empty: reusing it would revive lanes that are gone.
        if let Some(next) = slot.generation.checked_add(1) {
            slot.generation = next;
            self.free.push(lane.slot);
        }
    }

    pub(super) fn exists(&self, lane: Lane) -> bool {
        self.get(lane).is_some()
    }

    pub(super) fn priority(&self, lane: Lane) -> i32 {
        self.get(lane).map_or(0, |lane| lane.priority)
    }

    pub(super) fn set_priority(&mut self, lane: Lane, priority: i32) {
        let Some(state) = self.get_mut(lane) else { return };
        let before = std::mem::replace(&mut state.priority, priority);
        if let (Front::Ready, Some(order)) = (state.front, state.waiting.front().map(|entry| entry.order)) {
            self.ready.remove(&(before, order, lane));
            self.ready.insert((priority, order, lane));
        }
    }

    /// A lane that is gone has finished everything.
    pub(super) fn passed(&self, point: Point) -> bool {
        self.get(point.lane).is_none_or(|lane| lane.done >= point.count)
    }

    /// The end of a lane as it is now.
    pub(super) fn end(&self, lane: Lane) -> Point {
        Point { lane, count: self.get(lane).map_or(0, |lane| lane.issued) }
    }

    /// Appends, to run after these points, all of which exist already. None where the lane takes nothing any more.
    pub(super) fn push(&mut self, lane: Lane, mut after: Vec<Point>, work: W) -> Option<Point> {
        after.retain(|point| point.lane != lane && !self.passed(*point));
        let order = self.next_order;
        let found = self.get_mut(lane).filter(|lane| !lane.closed)?;
        found.waiting.push_back(Entry { after, order, work });
        found.issued += 1;
        let point = Point { lane, count: found.issued };
        let first = found.front == Front::Nothing;
        self.next_order += 1;
        if first {
            self.look(lane);
        }
        Some(point)
    }

    /// Whether nothing stands in a lane that was not begun, and something may be appended.
    pub(super) fn is_idle(&self, lane: Lane) -> bool {
        self.get(lane).is_some_and(|state| state.front == Front::Nothing && !state.closed)
    }

    /// Appends what is taken at once, since nothing stands before it. None where something does.
    pub(super) fn begin(&mut self, lane: Lane) -> Option<Point> {
        let state = self.get_mut(lane).filter(|state| state.front == Front::Nothing && !state.closed)?;
        state.front = Front::Running;
        state.issued += 1;
        let count = state.issued;
        self.next_order += 1;
        Some(Point { lane, count })
    }

    /// So many operations were given to the device past a lane in which nothing stands. Which of the lane the last one is.
    pub(super) fn pass(&mut self, lane: Lane, operations: u64) -> u64 {
        let Some(state) = self.get_mut(lane) else { return 0 };
        debug_assert_eq!(state.front, Front::Nothing);
        state.issued += operations;
        state.handed += operations;
        state.done + state.handed
    }

    /// Whether a point is with the device, or passed.
    pub(super) fn is_handed(&self, point: Point) -> bool {
        self.get(point.lane).is_none_or(|lane| lane.done + lane.handed >= point.count)
    }

    /// Finds out what the front of a lane waits for.
    fn look(&mut self, lane: Lane) {
        let Some(state) = self.get(lane) else { return };
        let front = match state.waiting.front() {
            None => Front::Nothing,
            Some(Entry { after, order, work }) => match after.iter().find(|point| !self.passed(**point)).copied() {
                Some(point) => {
                    if let Some(other) = self.get_mut(point.lane) {
                        other.followers.push((point.count, lane));
                    }
                    Front::Behind(point)
                }
                None if state.handed > 0 && !work.follows() => Front::Draining,
                None if work.is_polled() => {
                    self.polled.push(lane);
                    Front::Polled
                }
                None => {
                    let key = (state.priority, *order, lane);
                    self.ready.insert(key);
                    Front::Ready
                }
            },
        };
        if let Some(state) = self.get_mut(lane) {
            state.front = front;
        }
    }

    /// How many lanes have something that may be taken.
    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// The lane whose operation should be taken next.
    pub(super) fn first_ready(&self) -> Option<Lane> {
        self.ready.first().map(|&(_, _, lane)| lane)
    }

    pub(super) fn is_ready(&self, lane: Lane) -> bool {
        self.get(lane).is_some_and(|state| state.front == Front::Ready)
    }

    /// What stands before a point that is not passed: in the point's own lane, or in one that it waits for.
    pub(super) fn before(&self, point: Point) -> Before {
        let mut point = point;
        // What is waited for was asked for earlier, so that this ends.
        loop {
            let lane = point.lane;
            let Some(state) = self.get(lane) else { return Before::Nothing };
            if state.handed > 0 && state.done + state.handed >= point.count {
                return Before::Handed(lane);
            }
            match state.front {
                Front::Nothing | Front::Draining if state.handed > 0 => return Before::Handed(lane),
                Front::Nothing | Front::Draining => return Before::Nothing,
                Front::Ready => return Before::Ready(lane),
                Front::Running => return Before::Running(lane),
                Front::Polled => return Before::Polled,
                Front::Behind(other) => point = other,
            }
        }
    }

    /// What a lane would do next.
    pub(super) fn next(&self, lane: Lane) -> Option<&W> {
        self.get(lane)?.waiting.front().map(|entry| &entry.work)
    }

    /// Takes the operation of a lane that is ready. It runs until `finish`.
    pub(super) fn take(&mut self, lane: Lane) -> Option<W> {
        let state = self.get_mut(lane).filter(|state| state.front == Front::Ready)?;
        let entry = state.waiting.pop_front()?;
        state.front = Front::Running;
        let key = (state.priority, entry.order, lane);
        self.ready.remove(&key);
        Some(entry.work)
    }

    /// The operation that was taken is with the device. Which of its lane it is.
    pub(super) fn hand(&mut self, lane: Lane) -> u64 {
        let Some(state) = self.get_mut(lane) else { return 0 };
        state.handed += 1;
        let count = state.done + state.handed;
        self.look(lane);
        count
    }

    /// The operation that was taken is done. True where the lane is gone with it.
    pub(super) fn finish(&mut self, lane: Lane) -> bool {
        self.done(lane, 1, 0)
    }

    /// The first operations of what was handed over are done. True where the lane is gone with them.
    pub(super) fn arrive(&mut self, lane: Lane, operations: u64) -> bool {
        self.done(lane, operations, operations)
    }

    /// Whether something waits for what a lane has handed over.
    pub(super) fn is_wanted(&self, lane: Lane) -> bool {
        self.get(lane).is_some_and(|state| {
            state.handed > 0 && (state.front == Front::Draining || state.closed || !state.followers.is_empty())
        })
    }

    fn done(&mut self, lane: Lane, operations: u64, handed: u64) -> bool {
        let Some(state) = self.get_mut(lane) else { return false };
        state.done += operations;
        state.handed -= handed;
        let (done, gone) = (state.done, state.closed && state.done == state.issued);
        let followers: Vec<Lane> = match state.followers.iter().any(|&(count, _)| count <= done) {
            true => state.followers.extract_if(.., |&mut (count, _)| count <= done).map(|(_, lane)| lane).collect(),
            false => Vec::new(),
        };
        if gone {
            self.remove(lane);
        } else if handed == 0 || self.get(lane).is_some_and(|state| state.handed == 0 && state.front == Front::Draining)
        {
            self.look(lane);
        }
        followers.into_iter().for_each(|follower| self.look(follower));
        gone
    }

    /// Whether anything waits for a condition.
    pub(super) fn polls(&self) -> bool {
        !self.polled.is_empty()
    }

    /// Makes ready what waited for a condition that holds.
    pub(super) fn poll(&mut self, mut holds: impl FnMut(&W) -> bool) {
        let mut at = 0;
        while let Some(&lane) = self.polled.get(at) {
            let Some(state) = self.get_mut(lane) else {
                self.polled.swap_remove(at);
                continue;
            };
            let key = state.waiting.front().filter(|entry| holds(&entry.work)).map(|e| (state.priority, e.order, lane));
            match key {
                Some(key) => {
                    state.front = Front::Ready;
                    self.ready.insert(key);
                    self.polled.swap_remove(at);
                }
                None => at += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests;
