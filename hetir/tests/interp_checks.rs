//! Races and reads of unwritten memory: what must be reported, and what must not.

use hetir::diag::render;
use hetir::entity::FuncId;
use hetir::interp::{Arena, Checks, Fault, FaultKind, Launch, Options, Report, place_globals, run};

/// Runs the first kernel of a text with a zeroed buffer of 4 KiB as its parameter.
fn go(source: &str, grid: u32, block: u32) -> Result<Report, Box<Fault>> {
    go_with(source, grid, block, Checks::ALL)
}

fn go_with(source: &str, grid: u32, block: u32, checks: Checks) -> Result<Report, Box<Fault>> {
    let module = match hetir::text::parse(source) {
        Ok(module) => module,
        Err(errors) => panic!("{}", render(&errors, "test", source)),
    };
    if let Err(errors) = hetir::verify::verify(&module) {
        panic!("{}", render(&errors, "test", source));
    }
    let mut memory = Arena::new();
    let data = memory.alloc("data", vec![0; 4096]);
    let globals = place_globals(&module, |_| 0, &mut memory).expect("only shared variables");
    let params = data.to_le_bytes();
    let launch = Launch {
        grid: [grid, 1, 1],
        block: [block, 1, 1],
        params: &params,
        globals: &globals,
        ..Launch::new(&module, FuncId::new(0))
    };
    let mut options = Options { checks, max_steps: Some(10_000_000), ..Options::default() };
    run(&launch, &mut memory, &mut options)
}

fn clean(source: &str, grid: u32, block: u32) {
    match go(source, grid, block) {
        Ok(report) => assert_eq!(report.warnings, []),
        Err(fault) => panic!("{fault}"),
    }
}

fn fault(source: &str, grid: u32, block: u32, kind: FaultKind) -> Box<Fault> {
    match go(source, grid, block) {
        Ok(report) => panic!("nothing was reported but {:?}", report.warnings),
        Err(fault) => {
            assert_eq!(fault.kind, kind, "{fault}");
            fault
        }
    }
}

/// Every thread writes its word of shared memory and reads its neighbour's; `between` stands in the middle.
fn neighbours(between: &str) -> String {
    format!(
        "shared @tile: 4096 align 16
visible kernel @k(data: 8 align 8 at 0) {{
block0:
    v0: i32 = sreg.tid.x
    v1: i32 = const 2
    v2: i64 = zext v0
    v3: i64 = shl v2, v1
    v4: i64 = global_addr @tile
    v5: i64 = iadd v4, v3
    v6: i32 = const 0
    v7: i32 = const -1
    v8: i64 = const 4
    v9: i64 = xor v5, v8
    v13: i32 = const 64
    v14: i32 = const 1
    store.shared v5, v0
    {between}
    v10: i32 = load.shared v9
    v11: i64 = const 0
    v12: i64 = load.param v11
    v15: i64 = iadd v12, v3
    store.global v15, v10
    ret
}}
"
    )
}

#[test]
fn a_missing_barrier_is_a_race() {
    let f = fault(&neighbours(""), 1, 64, FaultKind::Race);
    assert!(f.message.starts_with("race: 4-byte read of shared memory at 0x4 and a write by"), "{f}");
    assert_eq!((f.place.as_ref().unwrap().op, f.related[0].0.op), ("load", "store"));
    assert_eq!(f.place.as_ref().unwrap().thread, [0, 0, 0]);
    assert_eq!(f.related[0].0.thread, [1, 0, 0]);
}

#[test]
fn barriers_order() {
    clean(&neighbours("barrier.aligned v6, v6"), 1, 128);
    clean(&neighbours("barrier v6, v6"), 1, 64);
    clean(&neighbours("barrier.aligned v14, v13"), 1, 64);
    clean(&neighbours("barrier_arrive.aligned v14, v13\n    barrier.aligned v6, v6"), 1, 64);
}

#[test]
fn a_warpsync_orders_the_lanes_of_its_warp() {
    clean(&neighbours("warpsync v7"), 1, 64);
}

#[test]
fn a_barrier_of_another_half_orders_nothing() {
    // Each warp has a barrier of its own, and the neighbour is in the other warp.
    let source = neighbours(
        "v20: i32 = sreg.warpid
    v21: i32 = iadd v20, v14
    v22: i32 = const 32
    barrier.aligned v21, v22",
    )
    .replace("v8: i64 = const 4", "v8: i64 = const 128");
    let races = Checks { races: true, ..Checks::default() };
    assert_eq!(go_with(&source, 1, 64, races).unwrap_err().kind, FaultKind::Race);
    clean(&source.replace("v22: i32 = const 32", "v22: i32 = const 64").replace("iadd v20, v14", "or v14, v14"), 1, 64);
}

#[test]
fn arriving_does_not_order_what_the_arriving_thread_reads() {
    // The second warp writes and arrives, the first one waits and reads: that is ordered. The other way round is not.
    let half = |writer: &str, reader: &str| {
        format!(
            "shared @tile: 4096 align 16
visible kernel @k(data: 8 align 8 at 0) {{
block0:
    v0: i32 = sreg.warpid
    v1: i32 = const 0
    v2: i32 = const 1
    v3: i32 = const 64
    v4: i64 = global_addr @tile
    v5: i32 = sreg.laneid
    v6: i64 = zext v5
    v7: i32 = const 2
    v8: i64 = shl v6, v7
    v9: i64 = iadd v4, v8
    v10: b1 = icmp.eq.u v0, v1
    brif v10, block1, block2
block1:
    store.shared v9, v5
    {writer}.aligned v2, v3
    ret
block2:
    {reader}.aligned v2, v3
    v20: i32 = load.shared v9
    v21: i64 = const 0
    v22: i64 = load.param v21
    v23: i64 = iadd v22, v8
    store.global v23, v20
    ret
}}
"
        )
    };
    clean(&half("barrier_arrive", "barrier"), 1, 64);
    fault(&half("barrier", "barrier_arrive"), 1, 64, FaultKind::Race);
}

/// Adds to a counter under a spin lock; all threads of all blocks.
const LOCK: &str = "visible kernel @k(data: 8 align 8 at 0) {
block0:
    v0: i64 = const 0
    v1: i64 = load.param v0
    v2: i32 = const 0
    v3: i32 = const 1
    br block1
block1:
    v4: i32 = cas.global.relaxed.gpu v1, v2, v3
    v5: b1 = icmp.eq.u v4, v2
    brif v5, block2, block1
block2:
    fence.acq_rel.gpu
    v6: i32 = load.global v1 + 4
    v7: i32 = iadd v6, v3
    store.global v1 + 4, v7
    fence.acq_rel.gpu
    v8: i32 = atom.exch.global.relaxed.gpu v1, v2
    ret
}
";

#[test]
fn locks_order() {
    clean(LOCK, 3, 40);
}

#[test]
fn an_update_without_a_lock_is_a_race() {
    let source = "visible kernel @k(data: 8 align 8 at 0) {
block0:
    v0: i64 = const 0
    v1: i64 = load.param v0
    v3: i32 = sreg.ctaid.x
    v6: i32 = load.global v1 + 4
    v7: i32 = iadd v6, v3
    store.global v1 + 4, v7
    ret
}
";
    let f = fault(source, 2, 1, FaultKind::Race);
    assert!(f.message.contains("of global memory"), "{f}");
    assert_eq!((f.place.as_ref().unwrap().block, f.related[0].0.block), ([1, 0, 0], [0, 0, 0]));
}

/// Each block writes its part, then counts; the last one reads all parts.
const LAST_BLOCK: &str = "shared @last: 4 align 4
visible kernel @k(data: 8 align 8 at 0) {
block0:
    v0: i64 = const 0
    v1: i64 = load.param v0
    v2: i32 = sreg.tid.x
    v3: i32 = sreg.ctaid.x
    v4: i32 = const 5
    v5: i32 = shl v3, v4
    v6: i32 = iadd v5, v2
    v7: i64 = zext v6
    v8: i32 = const 2
    v9: i64 = shl v7, v8
    v10: i64 = iadd v1, v9
    v11: i32 = const 0
    v12: i64 = global_addr @last
    store.global v10 + 64, v2
    fence.seq.gpu
    barrier.aligned v11, v11
    v13: b1 = icmp.eq.u v2, v11
    brif v13, block1, block2
block1:
    v14: i32 = const 1
    v15: i32 = atom.add.global.relaxed.gpu v1, v14
    store.shared v12, v15
    br block2
block2:
    barrier.aligned v11, v11
    v16: i32 = load.shared v12
    v17: i32 = const 3
    v18: b1 = icmp.eq.u v16, v17
    brif v18, block3, block4
block3:
    v20: i32 = load.global v1 + 64
    v21: i32 = load.global v1 + 192
    v22: i32 = load.global v1 + 320
    v23: i32 = iadd v20, v21
    v24: i32 = iadd v22, v23
    store.shared v12, v24
    br block4
block4:
    ret
}
";

#[test]
fn the_last_block_may_read_what_the_others_wrote() {
    let source = LAST_BLOCK.replace("fence.seq.gpu", "fence.sc.gpu");
    // The last statement is a race of its own: all threads write one word. It goes for this test.
    clean(&source.replace("    store.shared v12, v24\n", ""), 4, 32);
    // Without the count nothing orders the parts.
    let source = source.replace("v15: i32 = atom.add.global.relaxed.gpu v1, v14", "v15: i32 = iadd v3, v11");
    fault(&source.replace("    store.shared v12, v24\n", ""), 4, 32, FaultKind::Race);
}

/// One block sets a flag, the other waits for it and reads the data.
fn flag(fence: &str, store: &str) -> String {
    format!(
        "visible kernel @k(data: 8 align 8 at 0) {{
block0:
    v0: i64 = const 0
    v1: i64 = load.param v0
    v2: i32 = sreg.ctaid.x
    v3: i32 = const 0
    v4: i32 = const 1
    v5: b1 = icmp.eq.u v2, v3
    brif v5, block1, block2
block1:
    store.global v1 + 4, v4
    {fence}
    store.global.{store} v1, v4
    ret
block2:
    v6: i32 = load.global.volatile v1
    v7: b1 = icmp.eq.u v6, v4
    brif v7, block3, block2
block3:
    v8: i32 = load.global v1 + 4
    store.global v1 + 8, v8
    ret
}}
"
    )
}

#[test]
fn a_flag_behind_a_fence_orders_and_one_without_is_a_warning() {
    clean(&flag("fence.sc.gpu", "volatile"), 2, 1);
    clean(&flag("", "release.gpu"), 2, 1);
    let report = go(&flag("", "volatile"), 2, 1).unwrap();
    assert_eq!(report.warnings.len(), 1);
    assert_eq!(report.warnings[0].kind, FaultKind::Race);
    assert!(report.warnings[0].message.contains("without a fence"), "{}", report.warnings[0]);
}

#[test]
fn writes_of_the_same_value_are_a_warning() {
    let source = |value: &str| {
        format!(
            "visible kernel @k(data: 8 align 8 at 0) {{
block0:
    v0: i64 = const 0
    v1: i64 = load.param v0
    v2: i32 = {value}
    store.global v1, v2
    ret
}}
"
        )
    };
    let report = go(&source("const 7"), 1, 64).unwrap();
    assert_eq!(report.warnings.len(), 1);
    assert!(report.warnings[0].message.ends_with("of the same value"), "{}", report.warnings[0].message);
    fault(&source("sreg.tid.x"), 1, 64, FaultKind::Race);
}

#[test]
fn threads_may_write_bytes_side_by_side() {
    let source = "visible kernel @k(data: 8 align 8 at 0) {
block0:
    v0: i64 = const 0
    v1: i64 = load.param v0
    v2: i32 = sreg.tid.x
    v3: i64 = zext v2
    v4: i64 = iadd v1, v3
    v5: i8 = trunc v2
    store.global v4, v5
    v6: i8 = load.global v4
    store.global v4 + 256, v6
    ret
}
";
    clean(source, 1, 128);
}

#[test]
fn unwritten_shared_memory_is_reported() {
    let source = neighbours("barrier.aligned v6, v6").replace("const 4\n", "const 1024\n");
    let f = fault(&source, 1, 64, FaultKind::Uninitialised);
    assert!(
        f.message.starts_with("4-byte read of shared memory at 0x4")
            && f.message.ends_with("which nothing has written"),
        "{f}"
    );
}

#[test]
fn unwritten_stacks_are_reported_also_where_an_earlier_call_wrote() {
    let source = "visible kernel @k(data: 8 align 8 at 0) {
block0:
    v0: i32 = const 1
    v1: i32 = call @f, v0
    v2: i32 = const 0
    v3: i32 = call @f, v2
    ret
}
func @f(i32) -> (i32) {
    slot0: 8 align 8
block0(v0: i32):
    v1: i64 = slot_addr slot0
    v2: i32 = const 0
    v3: b1 = icmp.ne.u v0, v2
    brif v3, block1, block2
block1:
    store.local v1 + 4, v0
    br block2
block2:
    v4: i32 = load.local v1 + 4
    ret v4
}
";
    let f = fault(source, 1, 32, FaultKind::Uninitialised);
    assert_eq!(f.place.as_ref().unwrap().function, "f");
    clean(&source.replace("v2: i32 = const 0\n    v3: i32 = call", "v2: i32 = const 5\n    v3: i32 = call"), 1, 32);
}
