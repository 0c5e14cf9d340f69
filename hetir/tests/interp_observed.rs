//! Launches whose outcome the manual leaves open or hardly says; the values were seen on an H200.

use hetir::diag::render;
use hetir::entity::FuncId;
use hetir::interp::{Arena, Fault, FaultKind, Launch, Options, place_globals, run};

/// Runs the first kernel with a buffer as its parameter and gives the buffer back.
fn go(source: &str, block: u32, buffer: &[u64]) -> Result<Vec<u64>, Box<Fault>> {
    let module = match hetir::text::parse(source) {
        Ok(module) => module,
        Err(errors) => panic!("{}", render(&errors, "test", source)),
    };
    if let Err(errors) = hetir::verify::verify(&module) {
        panic!("{}", render(&errors, "test", source));
    }
    let mut memory = Arena::new();
    let data = memory.alloc("data", buffer.iter().flat_map(|v| v.to_le_bytes()).collect());
    let globals = place_globals(&module, |_| 0, &mut memory).expect("only shared variables");
    let params = data.to_le_bytes();
    let launch =
        Launch { block: [block, 1, 1], params: &params, globals: &globals, ..Launch::new(&module, FuncId::new(0)) };
    run(&launch, &mut memory, &mut Options { max_steps: Some(100_000), ..Options::default() })?;
    let data = &memory.region(data).expect("it was mapped").data;
    Ok(data.chunks_exact(8).map(|c| u64::from_le_bytes(c.try_into().expect("8 bytes"))).collect())
}

/// Threads below `limit` wait at a barrier of 64 threads; `barrier` may name another place for half of a warp.
fn counted(limit: u32, barrier: &str) -> String {
    format!(
        "visible kernel @k(data: 8 align 8 at 0) {{
block0:
    v0: i32 = sreg.tid.x
    v1: i32 = const {limit}
    v2: i32 = const 1
    v3: i32 = const 64
    v4: i32 = const 16
    v5: b1 = icmp.lt.u v0, v1
    brif v5, block1, block3
block1:
    {barrier}
block3:
    ret
}}
"
    )
}

#[test]
fn a_warp_that_has_arrived_counts_as_32_threads() {
    let plain = "barrier v2, v3\n    br block3";
    // The second warp has 16 threads, or 16 of its threads have ended.
    assert!(go(&counted(48, plain), 48, &[0]).is_ok());
    assert!(go(&counted(48, plain), 64, &[0]).is_ok());
    // A warp without a live thread does not count.
    assert_eq!(go(&counted(32, plain), 64, &[0]).unwrap_err().kind, FaultKind::Deadlock);
    // Half a warp counts its threads, so that two halves are no 64.
    let halves = "v6: b1 = icmp.lt.u v0, v4
    brif v6, block4, block5
block4:
    barrier v2, v3
    br block3
block5:
    barrier v2, v3
    br block3";
    assert_eq!(go(&counted(32, halves), 64, &[0]).unwrap_err().kind, FaultKind::Deadlock);
    assert!(go(&counted(64, halves), 64, &[0]).is_ok());
}

#[test]
fn the_leader_is_the_lowest_lane_that_lives() {
    let source = "visible kernel @k(data: 8 align 8 at 0) {
block0:
    v0: i32 = sreg.tid.x
    v1: i32 = const 4
    v2: b1 = icmp.lt.u v0, v1
    brif v2, block1, block2
block1:
    exit
block2:
    v3: i32 = const -1
    v4: i32, v5: b1 = elect v3
    brif v5, block3, block1
block3:
    v6: i64 = const 0
    v7: i64 = load.param v6
    store.global v7, v4
    store.global v7 + 4, v0
    ret
}
";
    assert_eq!(go(source, 32, &[0]).unwrap(), [4 << 32 | 4]);
}

#[test]
fn a_shuffle_from_a_lane_that_ended_gives_0() {
    let source = "visible kernel @k(data: 8 align 8 at 0) {
block0:
    v0: i32 = sreg.tid.x
    v1: i32 = const 16
    v2: b1 = icmp.ge.u v0, v1
    brif v2, block1, block2
block1:
    exit
block2:
    v3: i32 = const 65535
    v4: i32 = const 20
    v5: i32 = const 31
    v6: i32 = iadd v0, v4
    v7: i32, v8: b1 = shuffle.idx v6, v4, v5, v3
    v9: i64 = const 0
    v10: i64 = load.param v9
    v11: i32 = const 7
    v12: i32 = select v8, v7, v11
    store.global v10, v12
    ret
}
";
    assert_eq!(go(source, 32, &[99]).unwrap(), [0]);
}

/// One thread adds `operand` to what the first element holds, in global memory or by way of shared memory.
fn sum(ty: &str, shared: bool, operand: u64, memory: u64) -> u64 {
    let space = if shared { "shared" } else { "global" };
    let address = if shared { "v2" } else { "v1" };
    let zero = if ty == "f32" { format!("0x{operand:08x}") } else { format!("0x{operand:016x}") };
    let source = format!(
        "shared @s: 8 align 8
visible kernel @k(data: 8 align 8 at 0) {{
block0:
    v0: i64 = const 0
    v1: i64 = load.param v0
    v2: i64 = global_addr @s
    v3: i64 = load.global v1
    store.{space} {address}, v3
    v4: {ty} = const {zero}
    v5: {ty} = atom.fadd.{space}.relaxed.gpu {address}, v4
    v6: i64 = load.{space} {address}
    store.global v1, v6
    ret
}}
"
    );
    go(&source, 1, &[memory]).unwrap()[0]
}

#[test]
fn f32_sums_flush_subnormals_in_global_memory_alone() {
    assert_eq!(sum("f32", false, 1, 0x0040_0000), 0);
    assert_eq!(sum("f32", true, 1, 0x0040_0000), 0x0040_0001);
    // A normal number less another one leaves a subnormal.
    assert_eq!(sum("f32", false, 0x8080_0000, 0x0080_0001), 0);
    assert_eq!(sum("f32", true, 0x8080_0000, 0x0080_0001), 1);
    for shared in [false, true] {
        assert_eq!(sum("f32", shared, 0x0080_0000, 0xffc1_2345), 0x7fff_ffff);
    }
}

#[test]
fn f64_sums_keep_the_operands_nan() {
    const ONE: u64 = 0x3ff0_0000_0000_0000;
    const SIGNALLING: u64 = 0x7ff4_0000_0000_0001;
    const QUIET: u64 = 0xfff8_0000_0000_0077;
    const INFINITY: u64 = 0x7ff0_0000_0000_0000;
    assert_eq!(sum("f64", false, ONE, SIGNALLING), SIGNALLING);
    assert_eq!(sum("f64", false, QUIET, SIGNALLING), QUIET);
    assert_eq!(sum("f64", false, SIGNALLING, QUIET), SIGNALLING);
    assert_eq!(sum("f64", true, ONE, SIGNALLING), 0x7ffc_0000_0000_0001);
    assert_eq!(sum("f64", true, QUIET, SIGNALLING), QUIET);
    assert_eq!(sum("f64", true, SIGNALLING, QUIET), 0x7ffc_0000_0000_0001);
    for shared in [false, true] {
        assert_eq!(sum("f64", shared, INFINITY | 1 << 63, INFINITY), 0xfff8_0000_0000_0000);
    }
}
