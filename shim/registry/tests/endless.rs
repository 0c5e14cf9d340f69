//! Kernels that end only when they are told to are moved in the middle of their blocks, again and again.

use hetgpu_registry::Kinds;
use hetgpu_runtime::{Attributes, Code, LaunchRequest, Launchable, Runtime, Settings, StreamRef, Targets};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);
const THREADS: u32 = 64;
const BLOCKS: u32 = 3;
const FACTOR: u32 = 1_664_525;
const SUMMAND: u32 = 1_013_904_223;

/// Both leave how often they went round, and a number that each turn has changed. In `meet` it depends on a neighbour's, whom
/// the thread meets at two barriers a turn; in `alone` each thread looks for itself whether it is to end.
const TEXT: &str = "
.version 8.0
.target sm_80
.address_size 64
.visible .entry meet(.param .u64 stop, .param .u64 out)
{
    .reg .u64 %s, %o, %q;
    .reg .u32 %t, %x, %y, %n, %f, %own, %next, %at, %g;
    .reg .pred %p;
    .shared .align 4 .u32 cell[64];
    .shared .align 4 .u32 told;
    ld.param.u64 %s, [stop];
    ld.param.u64 %o, [out];
    mov.u32 %t, %tid.x;
    mov.u32 %x, %t;
    mov.u32 %n, 0;
    mov.u32 %at, cell;
    mad.lo.u32 %own, %t, 4, %at;
    add.u32 %next, %t, 1;
    and.b32 %next, %next, 63;
    mad.lo.u32 %next, %next, 4, %at;
    mov.u32 %at, told;
turn:
    st.shared.u32 [%own], %x;
    setp.ne.u32 %p, %t, 0;
    @%p bra read;
    ld.volatile.global.u32 %f, [%s];
    st.shared.u32 [%at], %f;
read:
    bar.sync 0;
    ld.shared.u32 %y, [%next];
    ld.shared.u32 %f, [%at];
    bar.sync 0;
    mad.lo.u32 %x, %x, 1664525, %y;
    add.u32 %n, %n, 1;
    setp.eq.u32 %p, %f, 0;
    @%p bra turn;
    mov.u32 %g, %ctaid.x;
    mad.lo.u32 %g, %g, 64, %t;
    mul.wide.u32 %q, %g, 8;
    add.u64 %o, %o, %q;
    st.global.u32 [%o], %n;
    st.global.u32 [%o+4], %x;
    ret;
}
.visible .entry alone(.param .u64 stop, .param .u64 out)
{
    .reg .u64 %s, %o, %q;
    .reg .u32 %t, %x, %n, %f, %g;
    .reg .pred %p;
    ld.param.u64 %s, [stop];
    ld.param.u64 %o, [out];
    mov.u32 %t, %tid.x;
    mov.u32 %x, %t;
    mov.u32 %n, 0;
turn:
    ld.volatile.global.u32 %f, [%s];
    mad.lo.u32 %x, %x, 1664525, 1013904223;
    add.u32 %n, %n, 1;
    setp.eq.u32 %p, %f, 0;
    @%p bra turn;
    mov.u32 %g, %ctaid.x;
    mad.lo.u32 %g, %g, 64, %t;
    mul.wide.u32 %q, %g, 8;
    add.u64 %o, %o, %q;
    st.global.u32 [%o], %n;
    st.global.u32 [%o+4], %x;
    ret;
}
";

/// Held by the one runtime that there is: two of them in a process would hand out the same addresses, and the word that ends one
/// kernel would end the other.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs a kernel, moves it from device to device while it runs, tells it to end, and gives what its threads left.
fn moved(kernel: &str) -> Vec<(u32, u32)> {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (settings, _) = Settings::read(|_| None);
    let kinds = Kinds(settings.clone());
    let runtime = Runtime::new(settings, vec![kinds.make("cpu").unwrap()]);
    runtime.offer(Arc::new(kinds), vec!["cpu".to_owned()]);
    let context = runtime.retain_primary(0).unwrap();
    runtime.set_current(Some(context)).unwrap();
    let code = Code::from_text(TEXT.to_owned(), "endless.ptx").unwrap_or_else(|e| panic!("{e}"));
    let module = runtime.load_module(&code).unwrap();
    let kernel = Launchable::Function(runtime.function(module, kernel).unwrap());
    let bytes = u64::from(BLOCKS * THREADS) * 8;
    let (stop, out) = (runtime.allocate(4).unwrap(), runtime.allocate(bytes).unwrap());
    let tell = |what: u32| runtime.device(0).unwrap().device.write(stop, &what.to_le_bytes()).unwrap();
    tell(0);
    let request = LaunchRequest {
        grid: [BLOCKS, 1, 1],
        block: [THREADS, 1, 1],
        cluster: [1; 3],
        dynamic_shared: 0,
        cooperative: false,
        attributes: Attributes::default(),
        params: [stop.to_le_bytes(), out.to_le_bytes()].concat().into(),
    };
    runtime.launch(kernel, StreamRef::Default, request).unwrap();
    let _ = runtime.query_stream(StreamRef::Default);
    let start = Instant::now();
    while runtime.status()[0].flights.is_empty() {
        assert!(start.elapsed() < LONG, "the kernel does not begin");
        std::thread::yield_now();
    }
    for to in ["interp", "cpu:sse2", "cpu", "interp", "cpu"] {
        std::thread::sleep(Duration::from_millis(30));
        runtime.pause(None, LONG).unwrap_or_else(|e| panic!("before {to}: {e}"));
        assert_eq!(runtime.status()[0].flights.len(), 1, "the kernel has ended before it was told to");
        runtime.move_to(0, to, Some(LONG), &|_, _| {}).unwrap_or_else(|e| panic!("to {to}: {e}"));
        runtime.resume(None).unwrap();
    }
    tell(1);
    runtime.synchronise_stream(StreamRef::Default).unwrap();
    let left = runtime.read(out, bytes).unwrap();
    let word = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
    left.chunks(8).map(|two| (word(&two[..4]), word(&two[4..]))).collect()
}

#[test]
fn threads_that_meet_at_barriers() {
    let left = moved("meet");
    for block in left.chunks(THREADS as usize) {
        let turns = block[0].0;
        assert!(turns > 0 && block.iter().all(|thread| thread.0 == turns), "threads of one block made other turns");
        let mut x: Vec<u32> = (0..THREADS).collect();
        for _ in 0..turns {
            let first = x[0];
            for n in 0..x.len() {
                let next = x.get(n + 1).copied().unwrap_or(first);
                x[n] = x[n].wrapping_mul(FACTOR).wrapping_add(next);
            }
        }
        assert!(block.iter().map(|thread| thread.1).eq(x), "after {turns} turns");
    }
}

#[test]
fn threads_that_go_round_alone() {
    for (n, (turns, x)) in (0..).zip(moved("alone")) {
        // The turns as one multiplication and one addition, by doubling.
        let (mut all, mut some, mut left) = ((1u32, 0u32), (FACTOR, SUMMAND), turns);
        let then = |a: (u32, u32), b: (u32, u32)| (a.0.wrapping_mul(b.0), a.1.wrapping_mul(b.0).wrapping_add(b.1));
        while left > 0 {
            if left & 1 != 0 {
                all = then(all, some);
            }
            some = then(some, some);
            left >>= 1;
        }
        let wanted = (n % THREADS).wrapping_mul(all.0).wrapping_add(all.1);
        assert!(turns > 0 && x == wanted, "thread {n} after {turns} turns: {x}, and it should be {wanted}");
    }
}
