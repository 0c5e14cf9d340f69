//! How many lane-ops a second the interpreter executes, by kind of kernel. Run with `--release`.

use hetir::entity::FuncId;
use hetir::interp::{Arena, Launch, Options, run};
use hetir::ir::Module;
use std::time::Instant;

/// 100,000 times: a small chain of integer ops.
const INTEGER: &str = r"
visible kernel @k(data: 8 align 8 at 0) {
block0:
    v0: i32 = sreg.tid.x
    v1: i32 = const 0
    v2: i32 = const 1664525
    v3: i32 = const 1013904223
    v4: i32 = const 13
    v5: i32 = const 100000
    v6: i32 = const 1
    br block1(v0, v1)
block1(v10: i32, v11: i32):
    v12: i32 = imul v10, v2
    v13: i32 = iadd v12, v3
    v14: i32 = shr.u v13, v4
    v15: i32 = xor v13, v14
    v16: i32 = iadd v11, v6
    v17: b1 = icmp.lt.u v16, v5
    brif v17, block1(v15, v16), block2
block2:
    v20: i64 = const 0
    v21: i64 = load.param v20
    store.global v21, v15
    ret
}
";

/// 100,000 times: four independent fused multiply-adds.
const FLOAT: &str = r"
visible kernel @k(data: 8 align 8 at 0) {
block0:
    v0: i32 = sreg.tid.x
    v1: i32 = const 0
    v2: f32 = itof.s.rn v0
    v3: f32 = const 0x3f7fffff
    v4: f32 = const 0x3a83126f
    v5: i32 = const 100000
    v6: i32 = const 1
    br block1(v2, v2, v3, v4, v1)
block1(v10: f32, v11: f32, v12: f32, v13: f32, v14: i32):
    v15: f32 = ffma.rn v10, v3, v4
    v16: f32 = ffma.rn v11, v3, v4
    v17: f32 = ffma.rn v12, v3, v4
    v18: f32 = ffma.rn v13, v3, v4
    v19: i32 = iadd v14, v6
    v20: b1 = icmp.lt.u v19, v5
    brif v20, block1(v15, v16, v17, v18, v19), block2
block2:
    v30: f32 = fadd.rn v15, v16
    v31: f32 = fadd.rn v17, v18
    v32: f32 = fadd.rn v30, v31
    v33: i64 = const 0
    v34: i64 = load.param v33
    store.global v34, v32
    ret
}
";

/// y = 2x + y, an element a thread.
const SAXPY: &str = r"
visible kernel @k(data: 8 align 8 at 0) {
block0:
    v0: i32 = sreg.tid.x
    v1: i32 = sreg.ctaid.x
    v2: i32 = sreg.ntid.x
    v3: i32 = imul v1, v2
    v4: i32 = iadd v3, v0
    v5: i64 = zext v4
    v6: i32 = const 2
    v7: i64 = shl v5, v6
    v8: i64 = const 0
    v9: i64 = load.param v8
    v10: i64 = iadd v9, v7
    v11: f32 = load.global v10
    v12: f32 = load.global v10 + 4194304
    v13: f32 = const 0x40000000
    v14: f32 = ffma.rn v11, v13, v12
    store.global v10 + 4194304, v14
    ret
}
";

/// 16x16 tiles in shared memory, two barriers a tile; 64 tiles.
const MATMUL: &str = r"
shared @a: 1024 align 16
shared @b: 1024 align 16
visible kernel @k(data: 8 align 8 at 0) {
block0:
    v0: i32 = sreg.tid.x
    v1: i32 = sreg.tid.y
    v2: i32 = const 4
    v3: i32 = shl v1, v2
    v4: i32 = iadd v3, v0
    v5: i64 = zext v4
    v6: i32 = const 2
    v7: i64 = shl v5, v6
    v8: i64 = const 0
    v9: i64 = load.param v8
    v10: i64 = iadd v9, v7
    v11: i64 = global_addr @a
    v12: i64 = global_addr @b
    v13: i64 = iadd v11, v7
    v14: i64 = iadd v12, v7
    v15: i64 = zext v1
    v16: i32 = const 6
    v17: i64 = shl v15, v16
    v18: i64 = iadd v11, v17
    v19: i64 = zext v0
    v20: i64 = shl v19, v6
    v21: i64 = iadd v12, v20
    v22: i32 = const 0
    v23: f32 = const 0x00000000
    v24: i32 = const 64
    v25: i32 = const 1
    v26: i32 = const 16
    v27: i64 = const 4
    v28: i64 = const 64
    br block1(v22, v23)
block1(v30: i32, v31: f32):
    v32: f32 = load.global v10
    store.shared v13, v32
    v33: f32 = load.global v10 + 1024
    store.shared v14, v33
    barrier.aligned v22, v22
    br block2(v22, v31, v18, v21)
block2(v40: i32, v41: f32, v42: i64, v43: i64):
    v44: f32 = load.shared v42
    v45: f32 = load.shared v43
    v46: f32 = ffma.rn v44, v45, v41
    v47: i64 = iadd v42, v27
    v48: i64 = iadd v43, v28
    v49: i32 = iadd v40, v25
    v50: b1 = icmp.lt.u v49, v26
    brif v50, block2(v49, v46, v47, v48), block3
block3:
    barrier.aligned v22, v22
    v60: i32 = iadd v30, v25
    v61: b1 = icmp.lt.u v60, v24
    brif v61, block1(v60, v46), block4
block4:
    store.global v10 + 2048, v46
    ret
}
";

/// Collatz sequences: every lane another number of steps, and a branch that divides the warp.
const DIVERGENT: &str = r"
visible kernel @k(data: 8 align 8 at 0) {
block0:
    v0: i32 = sreg.tid.x
    v1: i32 = sreg.ctaid.x
    v2: i32 = sreg.ntid.x
    v3: i32 = imul v1, v2
    v4: i32 = iadd v3, v0
    v5: i32 = const 1
    v6: i32 = iadd v4, v5
    v7: i32 = const 0
    v8: i32 = const 3
    br block1(v6, v7)
block1(v10: i32, v11: i32):
    v12: b1 = icmp.gt.u v10, v5
    brif v12, block2, block5
block2:
    v20: i32 = and v10, v5
    v21: b1 = icmp.eq.u v20, v7
    brif v21, block3, block4
block3:
    v30: i32 = shr.u v10, v5
    v31: i32 = iadd v11, v5
    br block1(v30, v31)
block4:
    v40: i32 = imul v10, v8
    v41: i32 = iadd v40, v5
    v42: i32 = iadd v11, v5
    br block1(v41, v42)
block5:
    v50: i64 = zext v4
    v51: i32 = const 2
    v52: i64 = shl v50, v51
    v53: i64 = const 0
    v54: i64 = load.param v53
    v55: i64 = iadd v54, v52
    store.global v55, v11
    ret
}
";

/// A warp's sum by shuffles, 1000 times.
const SHUFFLE: &str = r"
visible kernel @k(data: 8 align 8 at 0) {
block0:
    v0: i32 = sreg.tid.x
    v1: i32 = const 1
    v2: i32 = const 2
    v3: i32 = const 4
    v4: i32 = const 31
    v5: i32 = const -1
    v6: i32 = const 0
    v7: i32 = const 1000
    br block1(v0, v6)
block1(v10: i32, v11: i32):
    v12: i32, v13: b1 = shuffle.bfly v10, v1, v4, v5
    v14: i32 = iadd v10, v12
    v15: i32, v16: b1 = shuffle.bfly v14, v2, v4, v5
    v17: i32 = iadd v14, v15
    v18: i32, v19: b1 = shuffle.bfly v17, v3, v4, v5
    v20: i32 = iadd v17, v18
    v21: i32 = iadd v11, v1
    v22: b1 = icmp.lt.u v21, v7
    brif v22, block1(v20, v21), block2
block2:
    v30: i64 = const 0
    v31: i64 = load.param v30
    store.global v31, v20
    ret
}
";

fn main() {
    let cases: [(&str, &str, u32, [u32; 3]); 6] = [
        ("integer", INTEGER, 1, [256, 1, 1]),
        ("float", FLOAT, 1, [256, 1, 1]),
        ("saxpy", SAXPY, 4096, [256, 1, 1]),
        ("matmul", MATMUL, 64, [16, 16, 1]),
        ("divergent", DIVERGENT, 256, [256, 1, 1]),
        ("shuffle", SHUFFLE, 16, [256, 1, 1]),
    ];
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    for (name, source, grid, block) in cases {
        if !wanted.is_empty() && !wanted.iter().any(|w| w == name) {
            continue;
        }
        match hetir::text::parse(source) {
            Ok(module) => measure(name, &module, grid, block),
            Err(errors) => println!("{}", hetir::diag::render(&errors, name, source)),
        }
    }
}

fn measure(name: &str, module: &Module, grid: u32, block: [u32; 3]) {
    if let Err(errors) = hetir::verify::verify(module) {
        println!("{}", hetir::diag::render(&errors, name, ""));
        return;
    }
    let mut memory = Arena::new();
    let data = memory.alloc("data", vec![0; 16 << 20]);
    let params = data.to_le_bytes();
    let globals = vec![0; module.globals.len()];
    let launch =
        Launch { grid: [grid, 1, 1], block, params: &params, globals: &globals, ..Launch::new(module, FuncId::new(0)) };
    let start = Instant::now();
    match run(&launch, &mut memory, &mut Options::default()) {
        Ok(report) => {
            let seconds = start.elapsed().as_secs_f64();
            let rate = report.steps as f64 / seconds / 1e6;
            println!("{name:10} {:>12} lane-ops in {seconds:6.3} s: {rate:6.0} M/s", report.steps);
        }
        Err(fault) => println!("{name}: {fault}"),
    }
}
