//! Memory that is shown to other processes for the first time while another thread writes to it: nothing that was written is
//! lost, although its pages move.

#[path = "library/sys.rs"]
mod sys;

use libloading::Library;
use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, Ordering};
use sys::symbol;

type Eleven = extern "C" fn(usize, usize, usize, usize, usize, usize, usize, usize, usize, usize, usize) -> u32;

/// Writes a value to all words of a block.
const SET: &CStr = c".version 7.0
.target sm_75
.address_size 64
.visible .entry set(.param .u64 at, .param .u32 value, .param .u32 words)
{
    .reg .b32 %r<5>;
    .reg .b64 %rd<4>;
    .reg .pred %p;
    ld.param.u64 %rd1, [at];
    cvta.to.global.u64 %rd1, %rd1;
    ld.param.u32 %r1, [value];
    ld.param.u32 %r2, [words];
    mov.u32 %r3, %tid.x;
    mov.u32 %r4, %ntid.x;
next:
    mul.wide.u32 %rd2, %r3, 4;
    add.s64 %rd3, %rd1, %rd2;
    st.global.u32 [%rd3], %r1;
    add.u32 %r3, %r3, %r4;
    setp.lt.u32 %p, %r3, %r2;
    @%p bra next;
    ret;
}
";

fn call(library: &Library, name: &str, arguments: &[usize]) {
    let mut all = [0; 11];
    all[..arguments.len()].copy_from_slice(arguments);
    let [a, b, c, d, e, f, g, h, i, j, k] = all;
    assert_eq!(symbol::<Eleven>(library, name)(a, b, c, d, e, f, g, h, i, j, k), 0, "{name}{arguments:x?}");
}

fn made(library: &Library, name: &str, arguments: &[usize]) -> usize {
    let mut out = 0u64;
    let place = (&raw mut out).expose_provenance();
    call(library, name, &[&[place], arguments].concat());
    out as usize
}

#[test]
fn nothing_is_lost_when_memory_is_exposed() {
    const BLOCKS: usize = 40;
    const BYTES: usize = 2 << 20;
    let library = sys::open(&std::env::current_exe().unwrap().with_file_name("libcuda.so"));
    call(&library, "cuInit", &[0]);
    let context = made(&library, "cuDevicePrimaryCtxRetain", &[0]);
    call(&library, "cuCtxSetCurrent", &[context]);
    let module = made(&library, "cuModuleLoadData", &[SET.as_ptr().expose_provenance()]);
    let set = made(&library, "cuModuleGetFunction", &[module, c"set".as_ptr().expose_provenance()]);
    for _ in 0..BLOCKS {
        let block = made(&library, "cuMemAlloc_v2", &[BYTES]);
        let (begun, over) = (AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let (library, begun, over) = (&library, &begun, &over);
            let writer = scope.spawn(move || {
                call(library, "cuCtxSetCurrent", &[context]);
                let stream = made(library, "cuStreamCreate", &[1]);
                let mut found = vec![0u32; BYTES / 4];
                let mut value = 0u32;
                while !over.load(Ordering::Relaxed) || value < 3 {
                    value += 1;
                    begun.store(true, Ordering::Relaxed);
                    let words = (BYTES / 4) as u32;
                    let params = [&raw const block as usize, &raw const value as usize, &raw const words as usize];
                    let params = params.as_ptr().expose_provenance();
                    call(library, "cuLaunchKernel", &[set, 1, 1, 1, 256, 1, 1, 0, stream, params, 0]);
                    call(library, "cuStreamSynchronize", &[stream]);
                    call(library, "cuMemcpyDtoH_v2", &[found.as_mut_ptr().expose_provenance(), block, BYTES]);
                    let lost = found.iter().filter(|&&word| word != value).count();
                    assert_eq!(lost, 0, "words of launch {value}");
                }
                call(library, "cuStreamDestroy_v2", &[stream]);
            });
            // A writer that has failed lets the test end.
            while !begun.load(Ordering::Relaxed) && !writer.is_finished() {
                std::hint::spin_loop();
            }
            let mut handle = [0u64; 8];
            call(library, "cuIpcGetMemHandle", &[handle.as_mut_ptr().expose_provenance(), block]);
            over.store(true, Ordering::Relaxed);
            writer.join().unwrap();
        });
        call(&library, "cuMemFree_v2", &[block]);
    }
}
