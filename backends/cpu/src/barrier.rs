//! Barriers of a block, and of a cluster.
//!
//! Threads are counted one by one, but a warp all of whose live threads have arrived counts as 32, as does one whose
//! lanes run together and wait: those that are missing have ended, or cannot come before these go on.

use crate::sys::strand::Arrival;
use hetir::attr::{Attr, BarrierOp};

/// Barriers of a block that programs name.
pub(crate) const COUNT: u32 = 16;
/// Warps of a group, whose barriers stand behind those.
pub(crate) const GROUP: u32 = 4;
const GROUPS: u32 = 8;

#[derive(Clone, Default, Debug)]
struct Barrier {
    /// Threads that complete the phase; 0: all. `None` before the first arrival.
    expected: Option<u32>,
    /// Threads that have arrived, by warp.
    arrived: Vec<u32>,
    /// Strands that wait, and what each is told.
    waiting: Vec<(u16, Option<BarrierOp>)>,
    count: u32,
    all: bool,
    any: bool,
}

/// The barriers of a block.
#[derive(Default, Debug)]
pub(crate) struct Barriers {
    all: Vec<Barrier>,
}

/// A strand that goes on, and what it is told.
pub(crate) type Released = (u16, u32);

impl Barrier {
    fn counted(&self, live: &[u32]) -> u32 {
        let warp = |(&a, &l): (&u32, &u32)| if a != 0 && l & !a == 0 { 32 } else { a.count_ones() };
        self.arrived.iter().zip(live).map(warp).sum()
    }

    fn check(&mut self, live: &[u32], released: &mut Vec<Released>) {
        let done = match self.expected {
            None => false,
            Some(0) => self.arrived.iter().zip(live).all(|(a, l)| l & !a == 0),
            Some(n) => self.counted(live) >= n,
        };
        if done {
            let answer = |op: Option<BarrierOp>| match op {
                None => 0,
                Some(BarrierOp::Popc) => self.count,
                Some(BarrierOp::And) => self.all.into(),
                Some(BarrierOp::Or) => self.any.into(),
            };
            released.extend(self.waiting.iter().map(|&(strand, op)| (strand, answer(op))));
            self.waiting.clear();
            self.arrived.fill(0);
            self.expected = None;
            (self.count, self.all, self.any) = (0, true, false);
        }
    }
}

fn name(place: usize) -> String {
    match place.checked_sub(COUNT as usize) {
        None => format!("barrier {place}"),
        Some(group) => format!("the barrier of warp group {group}"),
    }
}

/// What a reducing barrier of these lanes alone gives.
pub(crate) fn reduce(op: u32, lanes: u32, predicates: u32) -> u32 {
    let holds = predicates & lanes;
    match BarrierOp::from_byte(op as u8) {
        BarrierOp::Popc => holds.count_ones(),
        BarrierOp::And => u32::from(holds == lanes),
        BarrierOp::Or => u32::from(holds != 0),
    }
}

impl Barriers {
    /// A strand of a warp arrives. `together`: the lanes of a warp are one strand. What goes on is added to `released`,
    /// also the strand itself where it waits for nobody else.
    pub(crate) fn arrive(
        &mut self,
        strand: u16,
        warp: usize,
        arrival: &Arrival,
        together: bool,
        live: &[u32],
        released: &mut Vec<Released>,
    ) -> Result<(), String> {
        let Arrival { id, group, threads, lanes, waits, reduces } = *arrival;
        if !group && id >= COUNT {
            return Err(format!("barrier {id}, and a block has {COUNT}"));
        }
        let most = live.len() as u32 * 32;
        if !threads.is_multiple_of(32) || threads > most {
            return Err(format!("a barrier of {threads} threads, which is no multiple of 32 up to {most}"));
        }
        if self.all.is_empty() {
            let new = Barrier { all: true, arrived: vec![0; live.len()], ..Barrier::default() };
            self.all.resize((COUNT + GROUPS) as usize, new);
        }
        let place = (if group { COUNT + id } else { id }) as usize;
        let b = &mut self.all[place];
        let expected = *b.expected.get_or_insert(threads);
        if expected != threads {
            return Err(format!("{} of {threads} threads, at which others wait for {expected}", name(place)));
        }
        if b.arrived[warp] & lanes != 0 {
            return Err(format!("a second arrival in one phase of {}", name(place)));
        }
        b.arrived[warp] |= if together && waits { live[warp] | lanes } else { lanes };
        let op = reduces.map(|(op, predicates)| {
            let holds = predicates & lanes;
            b.count += holds.count_ones();
            b.all &= holds == lanes;
            b.any |= holds != 0;
            BarrierOp::from_byte(op as u8)
        });
        if waits {
            b.waiting.push((strand, op));
        } else {
            released.push((strand, 0));
        }
        b.check(live, released);
        Ok(())
    }

    /// Threads have ended: they no longer count.
    pub(crate) fn ended(&mut self, live: &[u32], released: &mut Vec<Released>) {
        for b in self.all.iter_mut().filter(|b| !b.waiting.is_empty()) {
            b.check(live, released);
        }
    }

    /// What is waited for, for messages.
    pub(crate) fn describe(&self, live: &[u32]) -> String {
        let waits = self.all.iter().enumerate().filter(|(_, b)| !b.waiting.is_empty());
        let texts = waits.map(|(id, b)| {
            let (there, wanted) = match b.expected {
                Some(0) | None => {
                    (b.arrived.iter().map(|m| m.count_ones()).sum(), live.iter().map(|m| m.count_ones()).sum())
                }
                Some(n) => (b.counted(live), n),
            };
            format!("for {}, at which {there} of {wanted} threads have arrived", name(id))
        });
        texts.collect::<Vec<_>>().join("; ")
    }

    /// For the next block.
    pub(crate) fn clear(&mut self) {
        self.all.clear();
    }
}

/// The barrier of a cluster: arriving and waiting are two ops.
#[derive(Default, Debug)]
pub(crate) struct ClusterBarrier {
    /// Phases that are complete.
    complete: u64,
    /// By warp of the cluster: the lanes that have arrived in the phase under way, and the phase that each lane arrived in
    /// last, from 1.
    arrived: Vec<u32>,
    phases: Vec<[u64; 32]>,
    waiting: Vec<u16>,
}

impl ClusterBarrier {
    /// For other threads.
    pub(crate) fn clear(&mut self, warps: usize) {
        self.complete = 0;
        self.arrived.clear();
        self.arrived.resize(warps, 0);
        self.phases.clear();
        self.phases.resize(warps, [0; 32]);
        self.waiting.clear();
    }

    /// Lanes of a warp arrive.
    pub(crate) fn arrive(
        &mut self,
        warp: usize,
        lanes: u32,
        live: &[u32],
        released: &mut Vec<Released>,
    ) -> Result<(), &'static str> {
        if lanes_of(lanes).any(|l| self.phases[warp][l] > self.complete) {
            return Err("a second arrival in one phase of the cluster's barrier");
        }
        self.arrived[warp] |= lanes;
        lanes_of(lanes).for_each(|l| self.phases[warp][l] = self.complete + 1);
        self.check(live, released);
        Ok(())
    }

    /// A strand waits for the phase that its lanes arrived in. `together`: those of its warp that have not arrived have
    /// ended, or cannot come before these go on.
    pub(crate) fn wait(
        &mut self,
        strand: u16,
        warp: usize,
        lanes: u32,
        together: bool,
        live: &[u32],
        released: &mut Vec<Released>,
    ) -> Result<(), &'static str> {
        let phase = lanes_of(lanes).map(|l| self.phases[warp][l]).max().unwrap_or(0);
        if phase == 0 {
            return Err("a wait for the cluster's barrier without an arrival");
        }
        if phase <= self.complete {
            released.push((strand, 0));
            return Ok(());
        }
        if together {
            self.arrived[warp] = u32::MAX;
        }
        self.waiting.push(strand);
        self.check(live, released);
        Ok(())
    }

    /// Threads have ended: they no longer count.
    pub(crate) fn ended(&mut self, live: &[u32], released: &mut Vec<Released>) {
        self.check(live, released);
    }

    fn check(&mut self, live: &[u32], released: &mut Vec<Released>) {
        let any = self.arrived.iter().zip(live).any(|(a, l)| a & l != 0);
        if any && self.arrived.iter().zip(live).all(|(a, l)| l & !a == 0) {
            self.complete += 1;
            self.arrived.fill(0);
            released.extend(self.waiting.drain(..).map(|strand| (strand, 0)));
        }
    }

    /// What is waited for, for messages.
    pub(crate) fn describe(&self, live: &[u32]) -> String {
        if self.waiting.is_empty() {
            return String::new();
        }
        let there: u32 = self.arrived.iter().zip(live).map(|(a, l)| (a & l).count_ones()).sum();
        let all: u32 = live.iter().map(|l| l.count_ones()).sum();
        format!("for the cluster's barrier, at which {there} of {all} threads have arrived")
    }
}

fn lanes_of(mask: u32) -> impl Iterator<Item = usize> {
    (0..32).filter(move |lane| mask >> lane & 1 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: u32 = u32::MAX;

    fn wait(id: u32, threads: u32, lanes: u32) -> Arrival {
        Arrival { id, group: false, threads, lanes, waits: true, reduces: None }
    }

    fn come(b: &mut Barriers, strand: u16, arrival: Arrival, live: &[u32]) -> Vec<u16> {
        let mut released = Vec::new();
        b.arrive(strand, strand.into(), &arrival, true, live, &mut released).unwrap();
        released.iter().map(|r| r.0).collect()
    }

    #[test]
    fn the_last_warp_releases_all_and_ended_ones_do_not_count() {
        let mut b = Barriers::default();
        assert_eq!(come(&mut b, 0, wait(0, 0, ALL), &[ALL; 3]), []);
        assert_eq!(come(&mut b, 1, wait(0, 0, ALL), &[ALL; 3]), []);
        assert_eq!(come(&mut b, 2, wait(0, 0, 0xff), &[ALL; 3]), [0, 1, 2]);
        assert_eq!(come(&mut b, 0, wait(0, 0, ALL), &[ALL, ALL, 0]), []);
        assert_eq!(come(&mut b, 1, wait(0, 0, ALL), &[ALL, ALL, 0]), [0, 1]);
        come(&mut b, 0, wait(0, 0, ALL), &[ALL; 3]);
        let mut released = Vec::new();
        b.ended(&[ALL, 0, ALL], &mut released);
        assert!(released.is_empty());
        b.ended(&[ALL, 0, 0], &mut released);
        assert_eq!(released, [(0, 0)]);
    }

    #[test]
    fn a_producer_arrives_and_a_consumer_waits() {
        let mut b = Barriers::default();
        let live = [ALL; 4];
        assert_eq!(come(&mut b, 1, wait(3, 64, ALL), &live), []);
        assert_eq!(come(&mut b, 0, Arrival { waits: false, ..wait(3, 64, ALL) }, &live), [0, 1]);
        // The next phase is not complete by what came before.
        assert_eq!(come(&mut b, 1, wait(3, 64, ALL), &live), []);
    }

    #[test]
    fn reductions_count_the_lanes_that_take_part() {
        let mut b = Barriers::default();
        let live = [ALL, 0xffff];
        let red = |op: BarrierOp, lanes, predicates| Arrival {
            reduces: Some((op.byte().into(), predicates)),
            ..wait(0, 0, lanes)
        };
        let mut out = Vec::new();
        b.arrive(0, 0, &red(BarrierOp::Popc, ALL, 0x1_000f), true, &live, &mut out).unwrap();
        b.arrive(1, 1, &red(BarrierOp::Popc, 0xffff, 0xf_ffff), true, &live, &mut out).unwrap();
        assert_eq!(out, [(0, 21), (1, 21)]);
        out.clear();
        b.arrive(0, 0, &red(BarrierOp::And, ALL, ALL), true, &live, &mut out).unwrap();
        b.arrive(1, 1, &red(BarrierOp::Or, 0xffff, 0xfffe), true, &live, &mut out).unwrap();
        assert_eq!(out, [(0, 0), (1, 1)]);
    }

    #[test]
    fn single_lanes_are_counted_one_by_one() {
        let mut b = Barriers::default();
        let live = [3, 1];
        let mut out = Vec::new();
        b.arrive(0, 0, &wait(0, 0, 1), false, &live, &mut out).unwrap();
        b.arrive(32, 1, &wait(0, 0, 1), false, &live, &mut out).unwrap();
        assert!(out.is_empty());
        b.arrive(1, 0, &wait(0, 0, 2), false, &live, &mut out).unwrap();
        assert_eq!(out.len(), 3);
    }

    #[test]
    fn a_clusters_barrier_completes_when_all_its_warps_have_arrived() {
        let mut b = ClusterBarrier::default();
        b.clear(3);
        let live = [ALL, ALL, 0xff];
        let mut out = Vec::new();
        assert!(b.wait(0, 0, ALL, true, &live, &mut out).is_err());
        b.arrive(0, ALL, &live, &mut out).unwrap();
        assert!(b.arrive(0, 1, &live, &mut out).is_err());
        b.wait(0, 0, ALL, true, &live, &mut out).unwrap();
        b.arrive(1, ALL, &live, &mut out).unwrap();
        assert!(out.is_empty());
        b.arrive(2, 0xff, &live, &mut out).unwrap();
        assert_eq!(out, [(0, 0)]);
        // Whoever comes to the wait later goes on at once.
        b.wait(1, 1, ALL, true, &live, &mut out).unwrap();
        assert_eq!(out, [(0, 0), (1, 0)]);
        // Of the next phase, and with warps that end.
        out.clear();
        b.arrive(1, ALL, &live, &mut out).unwrap();
        b.wait(1, 1, ALL, true, &live, &mut out).unwrap();
        b.ended(&[0, ALL, 0], &mut out);
        assert_eq!(out, [(1, 0)]);
    }

    #[test]
    fn misuse_is_an_error() {
        let mut b = Barriers::default();
        let mut out = Vec::new();
        let mut come = |arrival: Arrival| b.arrive(0, 0, &arrival, true, &[ALL; 2], &mut out).is_err();
        assert!(come(wait(16, 0, ALL)) && come(wait(0, 33, ALL)) && come(wait(0, 96, ALL)));
        assert!(!come(wait(0, 0, ALL)));
        assert!(come(wait(0, 0, ALL)) && come(wait(0, 32, ALL)));
    }
}
