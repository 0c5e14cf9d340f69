//! What compiled code calls, by the names of `abi::HELPERS`. All run on a strand.

use super::strand::{Arrival, Meeting, Request, Strand};
use crate::barrier::GROUP;
use crate::effect::{self, Call, Outcome};
use crate::sregs;
use hetgpu_llvm::abi::{self, Column, Described, Warp};
use std::slice;

/// The helpers with their addresses.
pub(crate) fn symbols() -> Vec<(&'static str, usize)> {
    type Op = unsafe extern "C" fn(*mut Warp, *const Described, u32, *const Column, *mut Column);
    vec![
        (abi::EVAL.name, eval as Op as usize),
        (abi::EFFECT.name, effect as Op as usize),
        (abi::BARRIER.name, barrier as unsafe extern "C" fn(*mut Warp, u32, u32, u32) as usize),
        (abi::BARRIER_ARRIVE.name, barrier_arrive as unsafe extern "C" fn(*mut Warp, u32, u32, u32) as usize),
        (
            abi::BARRIER_RED.name,
            barrier_red as unsafe extern "C" fn(*mut Warp, u32, u32, u32, u32, u32) -> u32 as usize,
        ),
        (abi::GROUP_BARRIER.name, group_barrier as unsafe extern "C" fn(*mut Warp, u32) as usize),
        (abi::YIELD.name, yield_ as unsafe extern "C" fn(*mut Warp) as usize),
        (abi::SLEEP.name, sleep as unsafe extern "C" fn(*mut Warp, u32) as usize),
        (abi::FAIL.name, fail as unsafe extern "C" fn(*mut Warp, u32, u32, u32, u32) as usize),
        (abi::SREG.name, sreg as unsafe extern "C" fn(*mut Warp, u32) -> u64 as usize),
    ]
}

/// The strand that a helper runs on.
unsafe fn strand<'s>(warp: *mut Warp) -> &'s Strand {
    // SAFETY: `Strand::begin` put the strand's own address there, and the strand outlives what runs on it.
    unsafe { &*(*warp).host.cast_const().cast::<Strand>() }
}

/// How many columns the operands and results take.
fn columns(d: &Described) -> (usize, usize) {
    (
        usize::from(d.args) + d.wide_args.count_ones() as usize,
        usize::from(d.results) + d.wide_results.count_ones() as usize,
    )
}

unsafe fn parts<'s>(d: &Described, args: *const Column, results: *mut Column) -> (&'s [Column], &'s mut [Column]) {
    let (a, r) = columns(d);
    // SAFETY: compiled code gives as many columns as it describes, all initialised, operands apart from results. Where
    // there are none the pointer means nothing.
    unsafe {
        (
            if a == 0 { &[] } else { slice::from_raw_parts(args, a) },
            if r == 0 { &mut [] } else { slice::from_raw_parts_mut(results, r) },
        )
    }
}

pub(crate) unsafe extern "C" fn eval(
    _: *mut Warp,
    described: *const Described,
    mask: u32,
    args: *const Column,
    results: *mut Column,
) {
    // SAFETY: by the agreement with compiled code, see `parts`.
    let (d, (args, results)) = unsafe { (&*described, parts(&*described, args, results)) };
    effect::eval(d, mask, args, results);
}

pub(crate) unsafe extern "C" fn effect(
    warp: *mut Warp,
    described: *const Described,
    mask: u32,
    args: *const Column,
    results: *mut Column,
) {
    // SAFETY: by the agreement with compiled code, see `parts`.
    let (strand, d, (args, results)) = unsafe { (strand(warp), &*described, parts(&*described, args, results)) };
    if strand.lane().is_some() && effect::meets(d) {
        let slot = mask.trailing_zeros() as usize & 31;
        let words = args.iter().map(|c| c[slot]).collect();
        strand.meeting().replace(Some(Meeting { described: *d, words }));
        strand.leave(Request::Meet);
        if let Some(meeting) = strand.meeting().take() {
            results.iter_mut().zip(&meeting.words).for_each(|(to, &from)| to[slot] = from);
        }
        return;
    }
    if let Some(waits) = effect::is_cluster_barrier(d) {
        let lanes = strand.lane().map_or(mask, |l| 1 << l);
        return strand.leave(Request::Cluster { waits, lanes });
    }
    let Some(mut call) = Call::new(strand, d, mask, args, results) else { return };
    strand.executes(Some((d.op, d.function, d.span)));
    loop {
        match effect::execute(&mut call) {
            Ok(Outcome::Finished) => return strand.executes(None),
            Ok(Outcome::Again) => strand.leave(Request::Yield),
            Err(trouble) => return strand.fail(trouble.at(d)),
        }
    }
}

fn arrive(strand: &Strand, arrival: Arrival) -> u32 {
    let job = strand.job();
    // The only warp of its block waits for nobody.
    let named = arrival.id < crate::barrier::COUNT && !arrival.group;
    if !job.waits && job.warps == 1 && named && matches!(arrival.threads, 0 | 32) {
        strand.set_asked(job.is_asked_to_stop());
        return arrival.reduces.map_or(0, |(op, predicates)| crate::barrier::reduce(op, arrival.lanes, predicates));
    }
    let lanes = strand.lane().map_or(arrival.lanes, |l| 1 << l);
    let reduces = arrival.reduces.map(|(op, p)| match strand.lane() {
        Some(lane) => (op, u32::from(p & arrival.lanes != 0) << lane),
        None => (op, p),
    });
    strand.leave(Request::Barrier(Arrival { lanes, reduces, ..arrival }));
    strand.answer()
}

pub(crate) unsafe extern "C" fn barrier(warp: *mut Warp, id: u32, threads: u32, mask: u32) {
    // SAFETY: compiled code gives its warp.
    let strand = unsafe { strand(warp) };
    if id == 0 && threads == 0 && strand.is_in_step() {
        strand.leave_in_step(mask);
    } else {
        arrive(strand, Arrival { id, group: false, threads, lanes: mask, waits: true, reduces: None });
    }
}

pub(crate) unsafe extern "C" fn barrier_arrive(warp: *mut Warp, id: u32, threads: u32, mask: u32) {
    // SAFETY: compiled code gives its warp.
    let strand = unsafe { strand(warp) };
    arrive(strand, Arrival { id, group: false, threads, lanes: mask, waits: false, reduces: None });
}

pub(crate) unsafe extern "C" fn barrier_red(
    warp: *mut Warp,
    id: u32,
    threads: u32,
    op: u32,
    mask: u32,
    predicates: u32,
) -> u32 {
    // SAFETY: compiled code gives its warp.
    let strand = unsafe { strand(warp) };
    arrive(strand, Arrival { id, group: false, threads, lanes: mask, waits: true, reduces: Some((op, predicates)) })
}

pub(crate) unsafe extern "C" fn group_barrier(warp: *mut Warp, mask: u32) {
    // SAFETY: compiled code gives its warp.
    let (strand, number) = unsafe { (strand(warp), (*warp).warp) };
    let (id, threads) = (number / GROUP, 32 * GROUP);
    arrive(strand, Arrival { id, group: true, threads, lanes: mask, waits: true, reduces: None });
}

pub(crate) unsafe extern "C" fn yield_(warp: *mut Warp) {
    // SAFETY: compiled code gives its warp.
    let strand = unsafe { strand(warp) };
    strand.restore_patience();
    if strand.job().waits {
        strand.leave(Request::Yield);
    }
}

pub(crate) unsafe extern "C" fn sleep(warp: *mut Warp, _nanoseconds: u32) {
    // SAFETY: compiled code gives its warp.
    let strand = unsafe { strand(warp) };
    if strand.job().waits {
        strand.leave(Request::Yield);
    }
}

pub(crate) unsafe extern "C" fn fail(warp: *mut Warp, kind: u32, lane: u32, function: u32, span: u32) {
    // SAFETY: compiled code gives its warp.
    let strand = unsafe { strand(warp) };
    strand.leave(Request::Fail { kind, lane, function, span });
    // A strand that has failed does not run again.
    std::process::abort()
}

pub(crate) unsafe extern "C" fn sreg(warp: *mut Warp, which: u32) -> u64 {
    // SAFETY: compiled code gives its warp.
    let strand = unsafe { strand(warp) };
    sregs::read(strand, which)
}
