//! Kernels written by hand, as compiled code would be.

use super::helpers;
use super::memory::Memory;
use super::room::Rooms;
use super::signal;
use crate::device::{CpuDevice, Options};
use crate::job::{Job, Said};
use crate::kernels::{Compile, Compiled};
use crate::pool::Pool;
use crate::sched;
use crate::trouble::Failure;
use hetgpu_device::{DeviceError, ErrorKind, Launch, SyncDevice};
use hetgpu_llvm::abi::{Column, Described, Entry, Failure as Cause, Warp};
use hetgpu_llvm::host::{CompileError, Form, Needs, Shape};
use hetir::attr::{AtomOp, Attr, BarrierOp, Order, ReduxOp, Scope, ShuffleMode, Space, Sreg, Syscall, VoteMode};
use hetir::entity::FuncId;
use hetir::interp::Heap;
use hetir::ir::{Function, FunctionKind, LaunchBounds, MAX_ATTRS, Module};
use hetir::op::Op;
use hetir::types::{Scalar, Type};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

fn module() -> Arc<Module> {
    let kind = FunctionKind::Kernel { params: Vec::new(), bounds: LaunchBounds::default() };
    Arc::new(Module { functions: vec![Function::new("by_hand", kind)], ..Module::default() })
}

fn job(entry: Entry, grid: u32, block: u32, params: &[u64]) -> Job {
    let bytes: Vec<u8> = params.iter().flat_map(|p| p.to_ne_bytes()).collect();
    Job::new(entry, module(), FuncId::new(0)).shaped([grid, 1, 1], [block, 1, 1]).with_params(&bytes)
}

/// Runs a launch on two workers.
fn run(mut job: Job) -> (Result<(), DeviceError>, Arc<Job>) {
    job.workers = 2;
    job.multiprocessors = 2;
    let job = Arc::new(job);
    Pool::new(2).run(&job);
    let result = match job.take_failure() {
        Some(failure) => Err(failure.finish(|_| String::new())),
        None => Ok(()),
    };
    (result, job)
}

unsafe fn param<'w>(warp: *mut Warp, n: usize) -> &'w [AtomicU32] {
    // SAFETY: the tests' kernels are given addresses of arrays of at least 4096 words.
    unsafe {
        let address = (*warp).params.cast::<u64>().add(n).read();
        std::slice::from_raw_parts(std::ptr::with_exposed_provenance(address as usize), 4096)
    }
}

fn words() -> (Box<[AtomicU32]>, u64) {
    let all: Box<[AtomicU32]> = (0..4096).map(|_| AtomicU32::new(0)).collect();
    let address = all.as_ptr().expose_provenance() as u64;
    (all, address)
}

fn lanes(mask: u32) -> impl Iterator<Item = usize> {
    (0..32).filter(move |l| mask >> l & 1 != 0)
}

unsafe extern "C" fn nothing(_: *mut Warp) {}

/// Counts each thread in its own word.
unsafe extern "C" fn count(warp: *mut Warp) {
    // SAFETY: as in `param`; the tests stay below 4096 threads.
    let (w, out) = unsafe { (*warp, param(warp, 0)) };
    for lane in lanes(w.mask) {
        let thread = w.cta[0] * w.block[0] + w.warp * 32 + lane as u32;
        out[thread as usize].fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn every_thread_runs_once_in_all_forms() {
    for waits in [false, true] {
        let (out, address) = words();
        let (result, _) = run(Job { waits, ..job(count, 30, 70, &[address]) });
        assert_eq!(result, Ok(()));
        assert!(out[..2100].iter().all(|n| n.load(Ordering::Relaxed) == 1), "{waits}");
        assert!(out[2100..].iter().all(|n| n.load(Ordering::Relaxed) == 0));
    }
    let (out, address) = words();
    let (result, _) = run(Job { waits: true, form: Form::Lane, ..job(count, 3, 70, &[address]) });
    assert_eq!(result, Ok(()));
    assert!(out[..210].iter().all(|n| n.load(Ordering::Relaxed) == 1));
    assert_eq!(out[210].load(Ordering::Relaxed), 0);
}

#[test]
fn coordinates_go_by_x_first() {
    let job = job(nothing, 1, 1, &[]).shaped([3, 4, 5], [8, 4, 2]);
    assert_eq!(job.block_index(0), [0, 0, 0]);
    assert_eq!(job.block_index(3 * 4 * 2 + 3 + 2), [2, 1, 2]);
    assert_eq!(job.thread_index(8 * 4 + 9), [1, 1, 1]);
    assert_eq!((job.warps, job.lanes(0), job.lanes(1), job.blocks), (2, u32::MAX, u32::MAX, 60));
}

/// Each warp adds to a shared word, waits for the others, and copies it.
unsafe extern "C" fn meet(warp: *mut Warp) {
    // SAFETY: the launch has 4 bytes of shared memory or more; `param` as there.
    unsafe {
        let out = param(warp, 0);
        let total = AtomicU32::from_ptr((*warp).shared.cast());
        if (*warp).warp == 0 {
            total.store(0, Ordering::Relaxed);
        }
        for round in 1..=10 {
            helpers::barrier(warp, 0, 0, (*warp).mask);
            total.fetch_add((*warp).mask.count_ones(), Ordering::Relaxed);
            helpers::barrier(warp, 0, 0, (*warp).mask);
            if total.load(Ordering::Relaxed) == round * (*warp).block[0] {
                out[((*warp).cta[0] * 4 + (*warp).warp) as usize].fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

#[test]
fn warps_wait_for_each_other_at_barriers() {
    let (out, address) = words();
    let (result, _) = run(Job { waits: true, total_shared: 16, ..job(meet, 100, 128, &[address]) });
    assert_eq!(result, Ok(()));
    assert!(out[..400].iter().all(|n| n.load(Ordering::Relaxed) == 10));
}

/// Odd warps end at once, the others count those that are left.
unsafe extern "C" fn half_ends(warp: *mut Warp) {
    // SAFETY: `param` as there.
    unsafe {
        if (*warp).warp.is_multiple_of(2) {
            let predicates = 0x0000_ffff;
            let op = BarrierOp::Popc.byte().into();
            let count = helpers::barrier_red(warp, 3, 0, op, (*warp).mask, predicates);
            param(warp, 0)[(*warp).warp as usize].store(count, Ordering::Relaxed);
        }
    }
}

#[test]
fn ended_warps_do_not_count_and_barriers_reduce() {
    let (out, address) = words();
    let (result, _) = run(Job { waits: true, ..job(half_ends, 1, 256, &[address]) });
    assert_eq!(result, Ok(()));
    let all: Vec<u32> = out[..8].iter().map(|n| n.load(Ordering::Relaxed)).collect();
    assert_eq!(all, [64, 0, 64, 0, 64, 0, 64, 0]);
}

#[test]
fn a_block_of_one_warp_needs_no_stack_for_its_barriers() {
    let (out, address) = words();
    let (result, _) = run(job(half_ends, 1, 32, &[address]));
    assert_eq!((result, out[0].load(Ordering::Relaxed)), (Ok(()), 16));
}

unsafe extern "C" fn lonely(warp: *mut Warp) {
    // SAFETY: a strand's warp.
    unsafe { helpers::barrier(warp, 1, 64, (*warp).mask) };
}

#[test]
fn a_barrier_that_nobody_completes_is_a_deadlock() {
    for (waits, block) in [(true, 32), (false, 32), (true, 96)] {
        let result = run(Job { waits, ..job(lonely, 2, block, &[]) }).0;
        let error = result.unwrap_err();
        let wrong = block == 32;
        let right = if wrong && waits { ErrorKind::LaunchFailed } else { ErrorKind::Deadlock };
        assert_eq!(error.kind, right, "{error}");
        assert!(error.message.contains("barrier"), "{error}");
    }
}

/// Waits until the block before has run.
unsafe extern "C" fn look_back(warp: *mut Warp) {
    // SAFETY: `param` as there; the grid is smaller than its array.
    unsafe {
        let out = param(warp, 0);
        let me = (*warp).cta[0] as usize;
        let next = out.len() - 1 - me;
        // The later a block, the fewer wait for it: the last one must run for the first one to end.
        while me + 1 < (*warp).grid[0] as usize && out[next - 1].load(Ordering::Acquire) == 0 {
            helpers::yield_(warp);
        }
        out[next].store(1, Ordering::Release);
    }
}

#[test]
fn blocks_that_wait_for_later_ones_end_on_two_workers() {
    let (out, address) = words();
    let start = Instant::now();
    let (result, _) = run(Job { waits: true, ..job(look_back, 1000, 64, &[address]) });
    assert_eq!(result, Ok(()));
    assert!(out[3096..].iter().all(|n| n.load(Ordering::Relaxed) == 1));
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

/// Lane by lane takes a lock that the lanes of its warp fight for.
unsafe extern "C" fn spin_lock(warp: *mut Warp) {
    // SAFETY: `param` as there.
    unsafe {
        let (lock, counter) = (&param(warp, 0)[0], &param(warp, 0)[1]);
        while lock.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            helpers::yield_(warp);
        }
        let seen = counter.load(Ordering::Relaxed);
        helpers::yield_(warp);
        counter.store(seen + 1, Ordering::Relaxed);
        lock.store(0, Ordering::Release);
    }
}

#[test]
fn lanes_that_run_by_themselves_may_wait_for_each_other() {
    let (out, address) = words();
    let (result, _) = run(Job { waits: true, form: Form::Lane, ..job(spin_lock, 4, 64, &[address]) });
    assert_eq!((result, out[1].load(Ordering::Relaxed)), (Ok(()), 256));
}

unsafe extern "C" fn wild_store(warp: *mut Warp) {
    // SAFETY: not at all: this is what is caught. The first parameter is the address.
    unsafe {
        let at = (*warp).params.cast::<u64>().read();
        std::ptr::with_exposed_provenance_mut::<u32>(at as usize).write_volatile(1);
    }
}

unsafe extern "C" fn shared_store(warp: *mut Warp) {
    // SAFETY: as in `wild_store`, at an offset in shared memory.
    unsafe {
        let at = (*warp).params.cast::<u64>().read();
        (*warp).shared.wrapping_add(at as usize).write_volatile(1);
    }
}

unsafe extern "C" fn local_store(warp: *mut Warp) {
    // SAFETY: as in `wild_store`, at an offset in local memory.
    unsafe {
        let at = (*warp).params.cast::<u64>().read() as usize;
        (*warp).local.wrapping_add(at / 4 * 128).write_volatile(1);
    }
}

#[allow(unconditional_recursion, reason = "that is the test")]
fn deeper(n: &mut u64) -> u64 {
    let mut more = [std::hint::black_box(*n); 16];
    deeper(&mut more[3]) + more[2]
}

unsafe extern "C" fn bottomless(_: *mut Warp) {
    deeper(&mut 1);
}

unsafe extern "C" fn traps(warp: *mut Warp) {
    // SAFETY: a strand's warp.
    unsafe { helpers::fail(warp, Cause::Trap as u32, 5, 0, 77) };
}

#[test]
fn faults_end_the_launch_and_the_next_one_works() {
    use ErrorKind::{IllegalAddress, LaunchFailed, StackOverflow};
    let cases: [(Entry, u64, ErrorKind, &str); 10] = [
        (wild_store, 0x10, IllegalAddress, "0x10,"),
        (wild_store, 0x7000_0000_0124, IllegalAddress, "0x700000000124"),
        (wild_store, 0x8000_0000_0000_0000, IllegalAddress, "no memory can have"),
        (shared_store, 4096, IllegalAddress, "shared memory at 0x1000, and the block has 64 bytes"),
        (shared_store, 0xffff_fffc, IllegalAddress, "shared memory at 0xfffffffc"),
        (local_store, 0x10_0000, IllegalAddress, "local memory"),
        (local_store, 0xffff_fffc, IllegalAddress, "local memory"),
        (bottomless, 0, StackOverflow, "nested calls"),
        (traps, 0, LaunchFailed, "trap at `trap` in kernel by_hand, block (0, 0, 0), thread (5, 0, 0)"),
        (nothing, 0, LaunchFailed, ""),
    ];
    for waits in [false, true] {
        for (entry, at, kind, text) in cases {
            let (result, _) = run(Job { waits, total_shared: 64, ..job(entry, 1, 32, &[at]) });
            if text.is_empty() {
                assert_eq!(result, Ok(()));
                continue;
            }
            let error = result.unwrap_err();
            assert_eq!(error.kind, kind, "{error}");
            assert!(error.message.contains(text) && error.message.contains("kernel by_hand"), "{error}");
            let (out, address) = words();
            assert_eq!(run(Job { waits, ..job(count, 2, 64, &[address]) }).0, Ok(()));
            assert!(out[..128].iter().all(|n| n.load(Ordering::Relaxed) == 1));
        }
    }
}

#[test]
fn a_trap_has_its_place_in_the_text() {
    let error = run(job(traps, 1, 32, &[])).0.unwrap_err();
    assert_eq!(error.diagnostic.unwrap().span().unwrap().start, 77);
}

#[test]
fn many_threads_launch_and_fail_at_the_same_time() {
    std::thread::scope(|scope| {
        for n in 0..4u64 {
            scope.spawn(move || {
                for turn in 0..50 {
                    if (turn + n) % 2 == 0 {
                        let error = run(job(wild_store, 3, 64, &[8 * n])).0.unwrap_err();
                        assert_eq!(error.kind, ErrorKind::IllegalAddress);
                    } else {
                        let (out, address) = words();
                        assert_eq!(run(job(count, 8, 64, &[address])).0, Ok(()));
                        assert!(out[..512].iter().all(|n| n.load(Ordering::Relaxed) == 1));
                    }
                }
            });
        }
    });
}

/// The description of an instruction.
fn described(op: Op, ty: Type, src: Type, attrs: &[u8], imm: u64, args: u8, results: u8) -> Described {
    let number = |s: Scalar| Scalar::ALL.iter().position(|&x| x == s).unwrap() as u8;
    let mut all = [0; MAX_ATTRS];
    all[..attrs.len()].copy_from_slice(attrs);
    let wide = |ty: Type| u16::from(ty == Type::I128);
    Described {
        imm,
        op: op as u16,
        args,
        results,
        ty: [number(ty.scalar), ty.lanes],
        src: [number(src.scalar), src.lanes],
        attrs: all,
        // In the tests every operand but an address is of the controlling type.
        wide_args: if wide(ty) == 1 { ((1 << args) - 1) & !wide(Type::I64) & !u16::from(src == Type::I64) } else { 0 },
        wide_results: if wide(ty) == 1 { (1 << results) - 1 } else { 0 },
        function: 0,
        span: 40,
    }
}

/// What the kernel `one_op` executes, and what came out.
struct Scene {
    described: Described,
    args: Vec<Column>,
    results: Vec<Column>,
}

unsafe extern "C" fn one_op(warp: *mut Warp) {
    // SAFETY: the first parameter is the address of a mutex that outlives the launch.
    unsafe {
        let at = (*warp).params.cast::<u64>().read() as usize;
        let scene = &*std::ptr::with_exposed_provenance::<Mutex<Scene>>(at);
        let (d, args, mut results) = {
            let scene = scene.lock().unwrap();
            (scene.described, scene.args.clone(), scene.results.clone())
        };
        helpers::effect(warp, &d, (*warp).mask, args.as_ptr(), results.as_mut_ptr());
        let mut scene = scene.lock().unwrap();
        for (to, from) in scene.results.iter_mut().zip(&results) {
            lanes((*warp).mask).for_each(|l| to[l] = from[l]);
        }
    }
}

/// Executes an op in a block of one warp; its results.
fn perform(
    form: Form,
    d: Described,
    args: Vec<Column>,
    change: impl FnOnce(Job) -> Job,
) -> (Result<Vec<Column>, DeviceError>, Arc<Job>) {
    let count = usize::from(d.results) + d.wide_results.count_ones() as usize;
    let scene = Mutex::new(Scene { described: d, args, results: vec![[0xdead; 32]; count] });
    let address = (&raw const scene).expose_provenance() as u64;
    let plain = Job { form, waits: form == Form::Lane, total_shared: 1024, ..job(one_op, 1, 32, &[address]) };
    let (result, job) = run(change(plain));
    (result.map(|()| scene.into_inner().unwrap().results), job)
}

const FORMS: [Form; 2] = [Form::Warp, Form::Lane];

#[test]
fn shuffles_votes_and_reductions_in_both_forms() {
    let ids: Column = std::array::from_fn(|l| l as u64);
    let all: Column = [u64::from(u32::MAX); 32];
    for form in FORMS {
        let go = |d, args| perform(form, d, args, |j| j).0.unwrap();
        let d = described(Op::Shuffle, Type::B1, Type::I32, &[ShuffleMode::Bfly.byte()], 0, 4, 2);
        let out = go(d, vec![ids.map(|l| l * 10), [3; 32], [31; 32], all]);
        assert_eq!(out[0], ids.map(|l| (l ^ 3) * 10));
        assert_eq!(out[1], [1; 32]);
        let d = described(Op::Redux, Type::I32, Type::I32, &[ReduxOp::Add.byte()], 0, 2, 1);
        assert_eq!(go(d, vec![ids, all]), [[496; 32]]);
        let d = described(Op::Vote, Type::B1, Type::B1, &[VoteMode::Any.byte()], 0, 2, 1);
        assert_eq!(go(d, vec![ids.map(|l| u64::from(l == 7)), all]), [[1; 32]]);
        // Two groups of members, each by itself.
        let halves: Column = std::array::from_fn(|l| if l < 16 { 0xffff } else { 0xffff_0000 });
        let d = described(Op::Redux, Type::I32, Type::I32, &[ReduxOp::UMax.byte()], 0, 2, 1);
        let expected: Column = std::array::from_fn(|l| if l < 16 { 15 } else { 31 });
        assert_eq!(go(d, vec![ids, halves]), [expected]);
        let error = perform(form, d, vec![ids, [0xfffe; 32]], |j| j).0.unwrap_err();
        assert!(error.message.contains("not among the members") && error.message.contains("redux"), "{error}");
    }
}

fn atom(op: AtomOp, space: Space) -> [u8; 4] {
    [op.byte(), space.byte(), Order::Relaxed.byte(), Scope::Gpu.byte()]
}

#[test]
fn atomics_of_all_widths_in_all_spaces() {
    let (out, address) = words();
    for form in FORMS {
        out.iter().for_each(|w| w.store(0, Ordering::Relaxed));
        let go = |d, args| perform(form, d, args, |j| j).0.unwrap();
        let d = described(Op::Atom, Type::I32, Type::I64, &atom(AtomOp::Add, Space::Global), 8, 2, 1);
        let mut old = go(d, vec![[address; 32], [2; 32]]).remove(0);
        old.sort_unstable();
        assert_eq!(old, std::array::from_fn(|l| 2 * l as u64));
        assert_eq!(out[2].load(Ordering::Relaxed), 64);
        // 1.5 + 32 * 0.25, in f32.
        out[4].store(1.5f32.to_bits(), Ordering::Relaxed);
        let d = described(Op::Atom, Type::F32, Type::I64, &atom(AtomOp::FAdd, Space::Generic), 0, 2, 1);
        go(d, vec![[address + 16; 32], [u64::from(0.25f32.to_bits()); 32]]);
        assert_eq!(f32::from_bits(out[4].load(Ordering::Relaxed)), 9.5);
        // Two f16 at once: 1 each from 32 lanes.
        let d = described(Op::Atom, Type::F16X2, Type::I64, &atom(AtomOp::FAdd, Space::Global), 0, 2, 1);
        go(d, vec![[address + 24; 32], [0x3c00_3c00; 32]]);
        assert_eq!(out[6].load(Ordering::Relaxed), 0x5000_5000);
        // 16 bits: the neighbour stays.
        out[7].store(0xaaaa_0005, Ordering::Relaxed);
        let cas = [Space::Global.byte(), Order::Relaxed.byte(), Scope::Gpu.byte()];
        let d = described(Op::Cas, Type::I16, Type::I64, &cas, 0, 3, 1);
        go(d, vec![[address + 28; 32], [5; 32], [9; 32]]);
        assert_eq!(out[7].load(Ordering::Relaxed), 0xaaaa_0009);
        // 128 bits.
        let (low, high) = (address.next_multiple_of(16) + 64, [0x1111; 32]);
        let d = described(Op::Atom, Type::I128, Type::I64, &atom(AtomOp::Exch, Space::Global), 0, 2, 1);
        let ids: Column = std::array::from_fn(|l| l as u64 + 1);
        let olds = go(d, vec![[low; 32], ids, high]);
        let nth = ((low - address) / 4) as usize;
        let last = u64::from(out[nth].load(Ordering::Relaxed));
        let mut seen: Vec<u64> = olds[0].iter().copied().chain([last]).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..=32).collect::<Vec<u64>>());
        assert_eq!(out[nth + 2].load(Ordering::Relaxed), 0x1111);
        assert_eq!(olds[1].iter().filter(|&&h| h == 0).count(), 1);
        // Local memory is each lane's own, also by its generic address.
        let d = described(Op::Atom, Type::I64, Type::I64, &atom(AtomOp::Exch, Space::Generic), 0, 2, 1);
        let local = hetir::interp::space::LOCAL_WINDOW + 0x38;
        go(d, vec![[local; 32], ids]);
        // Shared memory.
        let d = described(Op::Atom, Type::I32, Type::I64, &atom(AtomOp::UMax, Space::Shared), 4, 2, 1);
        go(d, vec![[96; 32], ids]);
    }
}

#[test]
fn accesses_outside_of_a_space_and_misaligned_ones_are_told() {
    for form in FORMS {
        let fail = |d, args| perform(form, d, args, |j| j).0.unwrap_err();
        let d = described(Op::Atom, Type::I32, Type::I64, &atom(AtomOp::Add, Space::Shared), 0, 2, 1);
        let error = fail(d, vec![[1024; 32], [1; 32]]);
        assert_eq!(error.kind, ErrorKind::IllegalAddress);
        assert!(error.message.contains("the block has 1024 bytes of shared memory"), "{error}");
        assert!(error.message.contains("at `atom` in kernel by_hand"), "{error}");
        assert_eq!(error.diagnostic.unwrap().span().unwrap().start, 40);
        assert_eq!(fail(d, vec![[2; 32], [1; 32]]).kind, ErrorKind::Misaligned);
        let d = described(Op::Atom, Type::I32, Type::I64, &atom(AtomOp::Add, Space::Global), 0, 2, 1);
        let error = fail(d, vec![[64; 32], [1; 32]]);
        assert_eq!(error.kind, ErrorKind::IllegalAddress);
        assert!(error.message.contains("0x40"), "{error}");
    }
}

#[test]
fn printf_malloc_and_assertions() {
    let text = std::ffi::CString::new("%d apples, %s\n").unwrap();
    let more = std::ffi::CString::new("more").unwrap();
    let arguments = [7u64, more.as_ptr().expose_provenance() as u64];
    let call = |s: Syscall, args, results| described(Op::Syscall, Type::B1, Type::I64, &[s.byte()], 0, args, results);
    let pointers = (text.as_ptr().expose_provenance() as u64, arguments.as_ptr().expose_provenance() as u64);
    for form in FORMS {
        let small = |j: Job| j.shaped([1; 3], [2, 1, 1]);
        let d = call(Syscall::Vprintf, 2, 1);
        let (result, job) = perform(form, d, vec![[pointers.0; 32], [pointers.1; 32]], small);
        assert_eq!(result.unwrap()[0][..2], [2, 2]);
        assert_eq!(job.heard(), [(); 2].map(|()| Said::Printed(b"7 apples, more\n".to_vec())));
        let heap = Arc::new(Mutex::new(Heap::new(0x1000, 48)));
        let with = |j: Job| Job { heap: Some(Arc::clone(&heap)), ..j.shaped([1; 3], [4, 1, 1]) };
        let mut got = perform(form, call(Syscall::Malloc, 1, 1), vec![[16; 32]], with).0.unwrap()[0][..4].to_vec();
        got.sort_unstable();
        assert_eq!(got, [0, 0x1000, 0x1010, 0x1020]);
        let with = |j: Job| Job { heap: Some(Arc::clone(&heap)), ..small(j) };
        let error = perform(form, call(Syscall::Free, 1, 0), vec![[0x1010; 32]], with).0.unwrap_err();
        assert!(error.message.contains("free of 0x1010, which is no allocation"), "{error}");
        let args = vec![[pointers.0; 32], [arguments[1]; 32], [12; 32], [arguments[1]; 32], [1; 32]];
        let (result, job) = perform(form, call(Syscall::AssertFail, 5, 0), args, |j| j.shaped([1; 3], [1, 1, 1]));
        assert_eq!(result.unwrap_err().kind, ErrorKind::Assert);
        let line = "more:12: more: block: [0,0,0], thread: [0,0,0] Assertion `%d apples, %s\n` failed.\n";
        assert_eq!(job.heard(), [Said::Complained(line.into())]);
    }
}

#[test]
fn ops_without_effects_are_computed_lane_by_lane() {
    let a: Column = std::array::from_fn(|l| l as u64 * 3);
    let mut out = [[7; 32]];
    let d = described(Op::IMul, Type::I32, Type::I32, &[], 0, 2, 1);
    // SAFETY: the columns are as many as described.
    unsafe { helpers::eval(std::ptr::null_mut(), &d, 0xffff, [a, [5; 32]].as_ptr(), out.as_mut_ptr()) };
    assert_eq!(out[0], std::array::from_fn(|l| if l < 16 { l as u64 * 15 } else { 7 }));
    // A carry is a second result.
    let d = described(Op::IAddC, Type::I32, Type::I32, &[], 0, 3, 2);
    let mut out = [[7; 32]; 2];
    // SAFETY: as above.
    unsafe {
        helpers::eval(std::ptr::null_mut(), &d, 1, [[u32::MAX.into(); 32], [1; 32], [1; 32]].as_ptr(), out.as_mut_ptr())
    };
    assert_eq!((out[0][0], out[1][0], out[0][1]), (1, 1, 7));
    // 128 bits: low halves and high halves are columns of their own.
    let d = described(Op::Xor, Type::I128, Type::I128, &[], 0, 2, 1);
    let mut out = [[0; 32]; 2];
    // SAFETY: as above.
    unsafe {
        helpers::eval(std::ptr::null_mut(), &d, 1, [[1; 32], [2; 32], [4; 32], [8; 32]].as_ptr(), out.as_mut_ptr())
    };
    assert_eq!((out[0][0], out[1][0]), (5, 10));
}

#[test]
fn special_registers_know_the_place_in_the_grid() {
    static SEEN: AtomicU64 = AtomicU64::new(0);
    unsafe extern "C" fn kernel(warp: *mut Warp) {
        // SAFETY: a strand's warp.
        let read = |s: Sreg| unsafe { helpers::sreg(warp, u32::from(s.byte())) };
        let right = read(Sreg::CtaidY) == 2 && read(Sreg::NctaidX) == 3 && read(Sreg::NtidX) == 40;
        let clocks = read(Sreg::Clock64) <= read(Sreg::Clock64) && read(Sreg::GlobalTimer) > 1_600_000_000_000_000_000;
        if right && clocks && read(Sreg::SmId) < read(Sreg::NSmId) && read(Sreg::WarpId) < 2 {
            SEEN.fetch_add(1, Ordering::Relaxed);
        }
    }
    let (result, _) = run(job(kernel, 1, 1, &[]).shaped([3, 4, 1], [40, 1, 1]));
    assert_eq!((result, SEEN.load(Ordering::Relaxed)), (Ok(()), 6));
}

#[test]
fn rooms_are_used_again() {
    let mut rooms = Rooms::default();
    let first = rooms.room(Form::Warp).unwrap();
    let top = first.stack(0);
    rooms.keep(first);
    assert_eq!(rooms.room(Form::Warp).unwrap().stack(0), top);
    let lanes = rooms.room(Form::Lane).unwrap();
    assert_ne!(lanes.stack(0), lanes.stack(1));
    signal::prepare_thread();
}

#[test]
fn a_lost_room_fails_the_launch() {
    let job = job(nothing, 1, 1, &[]);
    job.fail(Failure::no_room(&job, &std::io::ErrorKind::OutOfMemory.into()));
    sched::work(&job, 0, &mut Rooms::default());
    assert_eq!(job.take_failure().unwrap().error.kind, ErrorKind::OutOfResources);
}

#[test]
fn small_regions_share_pages_and_large_ones_do_not() {
    let memory = Memory::new(8 << 20);
    let base = 0x18_0000_0000;
    memory.map(base, 512, "a").unwrap();
    memory.map(base + 512, 9000, "b").unwrap();
    assert_eq!(memory.map(base + 600, 8, "c").unwrap_err().kind, ErrorKind::InvalidRequest);
    memory.write(base + 512 + 8990, &[1; 10]).unwrap();
    let error = memory.write(base + 512 + 8990, &[1; 11]).unwrap_err();
    assert!(error.message.contains("\"b\""), "{error}");
    memory.unmap(base);
    let mut back = [9; 10];
    memory.read(base + 512 + 8990, &mut back).unwrap();
    assert_eq!(back, [1; 10]);
    // The same place again, in a page that has stayed.
    memory.write(base + 512, &[5; 8]).unwrap();
    memory.unmap(base + 512);
    memory.map(base + 1024, 8, "d").unwrap();
    memory.map(base + 512, 8, "e").unwrap();
    memory.read(base + 512, &mut back[..8]).unwrap();
    assert_eq!(back[..8], [0; 8]);
    assert_eq!(memory.map(base + (1 << 30), 8 << 20, "g").unwrap_err().kind, ErrorKind::OutOfMemory);
    memory.unmap(base + 1024);
    memory.unmap(base + 512);
    memory.map(base + (1 << 30), 8 << 20, "g").unwrap();
    memory.unmap(base + (1 << 30));
    memory.map(base, 8, "h").unwrap();
    // Another device has no place there.
    assert!(Memory::new(8 << 20).map(base, 4096, "f").is_err());
}

#[test]
fn fills_and_copies() {
    let memory = Memory::new(8 << 20);
    let base = 0x19_0000_0000;
    memory.map(base, 1 << 20, "x").unwrap();
    memory.fill(base + 4, &[1, 2, 3, 4], 50_000).unwrap();
    let mut back = vec![0; 200_008];
    memory.read(base, &mut back).unwrap();
    assert!(back[4..200_004].chunks(4).all(|c| c == [1, 2, 3, 4]));
    assert_eq!((&back[..4], &back[200_004..]), (&[0; 4][..], &[0; 4][..]));
    memory.copy(base + 6, base + 4, 8).unwrap();
    memory.read(base + 4, &mut back[..10]).unwrap();
    assert_eq!(back[..10], [1, 2, 1, 2, 3, 4, 1, 2, 3, 4]);
    assert!(memory.fill(base, &[0], (1 << 20) + 1).is_err());
    assert!(memory.copy(base, base + 1, 1 << 20).is_err());
}

/// Gives every kernel the same code.
struct ByHand(Entry, Needs);

impl Compile for ByHand {
    fn compile(&self, _: &Module, _: FuncId, _: Shape) -> Result<Compiled, CompileError> {
        Ok(Compiled { entry: self.0, needs: self.1, code: None })
    }
}

fn device(entry: Entry) -> CpuDevice {
    CpuDevice::with_compiler(Options::default(), Some(Box::new(ByHand(entry, Needs::default()))))
}

fn parsed(text: &str) -> Arc<Module> {
    let module = hetir::text::parse(text).unwrap();
    hetir::verify::verify(&module).unwrap();
    Arc::new(module)
}

#[test]
fn a_fault_names_the_nearest_allocation() {
    let device = device(wild_store);
    let base = 0x1a_0000_0000u64;
    device.map(base, 4096, "the table").unwrap();
    let module = device.load(&parsed("visible kernel @k(data: 8 align 8 at 0) {\nblock0:\n    ret\n}\n"), &[]).unwrap();
    let launch = |at: u64| Launch { params: at.to_ne_bytes().into(), ..Launch::new(module, FuncId::new(0)) };
    device.launch(&launch(base + 8)).unwrap();
    let mut word = [0; 4];
    device.read(base + 8, &mut word).unwrap();
    assert_eq!(word, [1, 0, 0, 0]);
    let error = device.launch(&launch(base + 4096 + 16)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::IllegalAddress);
    assert!(error.message.contains("16 bytes after the end of \"the table\" (0x1a00000000, 4096 bytes)"), "{error}");
    assert!(error.diagnostic.unwrap().notes[0].contains("HETGPU_CHECK=memory"));
    device.launch(&launch(base)).unwrap();
}

#[test]
fn empty_kernels_are_launched_at_once() {
    let device = device(nothing);
    let module = device.load(&module(), &[]).unwrap();
    for (grid, most) in [(1, 5), (100, 20)] {
        let launch = Launch { grid: [grid, 1, 1], block: [256, 1, 1], ..Launch::new(module, FuncId::new(0)) };
        device.launch(&launch).unwrap();
        let one = |_| {
            let start = Instant::now();
            (0..100).for_each(|_| device.launch(&launch).map(drop).unwrap());
            start.elapsed() / 100
        };
        // The best of many: other tests run at the same time.
        let best = (0..30).map(one).min().unwrap();
        assert!(best < Duration::from_micros(most), "{grid} blocks: {best:?}");
        println!("{grid} blocks: {best:?}");
    }
}
