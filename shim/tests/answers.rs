//! Answers of ours that NVIDIA's driver gives in another way, so that no program of `tests/programs` has them.

#[path = "library/sys.rs"]
mod sys;

use libloading::Library;
use sys::symbol;

type Six = extern "C" fn(usize, usize, usize, usize, usize, usize) -> u32;

struct Driver(Library);

impl Driver {
    fn answer(&self, name: &str, arguments: &[usize]) -> u32 {
        let mut all = [0; 6];
        all[..arguments.len()].copy_from_slice(arguments);
        let [a, b, c, d, e, f] = all;
        symbol::<Six>(&self.0, name)(a, b, c, d, e, f)
    }

    fn call(&self, name: &str, arguments: &[usize]) {
        assert_eq!(self.answer(name, arguments), 0, "{name}{arguments:x?}");
    }

    /// What a call writes to its first argument.
    fn made(&self, name: &str, arguments: &[usize]) -> usize {
        let mut out = 0u64;
        let place = (&raw mut out).expose_provenance();
        self.call(name, &[&[place], arguments].concat());
        out as usize
    }

    /// Whether a call about memory is done when it returns, as far as it can be.
    fn synchronises(&self, memory: usize) -> bool {
        const SYNC_MEMOPS: usize = 6;
        self.made("cuPointerGetAttribute", &[SYNC_MEMOPS, memory]) as u8 != 0
    }

    fn used(&self, pool: usize) -> usize {
        const USED: usize = 7;
        let mut out = 0u64;
        self.call("cuMemPoolGetAttribute", &[pool, USED, (&raw mut out).expose_provenance()]);
        out as usize
    }

    fn free(&self) -> usize {
        let (mut free, mut total) = (0u64, 0u64);
        let places = [(&raw mut free).expose_provenance(), (&raw mut total).expose_provenance()];
        self.call("cuMemGetInfo_v2", &places);
        assert!(free <= total);
        free as usize
    }
}

#[test]
fn answers_of_our_own() {
    let driver = Driver(sys::open(&std::env::current_exe().unwrap().with_file_name("libcuda.so")));
    driver.call("cuInit", &[0]);
    let context = driver.made("cuDevicePrimaryCtxRetain", &[0]);
    driver.call("cuCtxSetCurrent", &[context]);

    // Memory of devices says from the start that its calls wait; the host's does not. Both do what they are told.
    let (memory, pinned) = (driver.made("cuMemAlloc_v2", &[4096]), driver.made("cuMemAllocHost_v2", &[4096]));
    let managed = driver.made("cuMemAllocManaged", &[4096, 1]);
    assert_eq!([memory, pinned, managed].map(|at| driver.synchronises(at)), [true, false, true]);
    for (wanted, at) in [(1u32, pinned), (0, memory)] {
        driver.call("cuPointerSetAttribute", &[(&raw const wanted).expose_provenance(), 6, at]);
        assert_eq!(driver.synchronises(at), wanted != 0);
    }

    // Memory of a pool that is freed at once is not in use any more when the call returns.
    let pool = driver.made("cuDeviceGetDefaultMemPool", &[0]);
    let stream = driver.made("cuStreamCreate", &[1]);
    let pooled = driver.made("cuMemAllocFromPoolAsync", &[5000, pool, stream]);
    assert_eq!(driver.used(pool), 5000);
    driver.call("cuMemFree_v2", &[pooled]);
    assert_eq!(driver.used(pool), 0);

    // Physical memory is taken when it is made, not when it is mapped.
    const BYTES: usize = 4 << 20;
    const PINNED: u32 = 1;
    const ON_DEVICE: u32 = 1;
    let properties = [PINNED, 0, ON_DEVICE, 0, 0, 0, 0, 0u32];
    let before = driver.free();
    let physical = driver.made("cuMemCreate", &[BYTES, properties.as_ptr().expose_provenance(), 0]);
    assert_eq!(driver.free(), before - BYTES);
    driver.call("cuMemRelease", &[physical]);
    assert_eq!(driver.free(), before);

    // What ends the program on an H200 is an error here: a handle that is used once more, a place in front of the parameters.
    const FILE: usize = 1;
    const INVALID_VALUE: u32 = 1;
    const INVALID_HANDLE: u32 = 400;
    let properties = [PINNED, FILE as u32, ON_DEVICE, 0, 0, 0, 0, 0u32];
    let physical = driver.made("cuMemCreate", &[BYTES, properties.as_ptr().expose_provenance(), 0]);
    let file = driver.made("cuMemExportToShareableHandle", &[physical, FILE, 0]);
    let mut description = [0u32; 26];
    (description[0], description[2], description[6]) = (FILE as u32, file as u32, BYTES as u32);
    let external = driver.made("cuImportExternalMemory", &[description.as_ptr().expose_provenance()]);
    driver.call("cuDestroyExternalMemory", &[external]);
    assert_eq!(driver.answer("cuDestroyExternalMemory", &[external]), INVALID_HANDLE);
    driver.call("cuMemRelease", &[physical]);
    let text = c".version 7.0\n.target sm_75\n.address_size 64\n.entry k(.param .b32 p) { ret; }";
    let module = driver.made("cuModuleLoadData", &[text.as_ptr().expose_provenance()]);
    let function = driver.made("cuModuleGetFunction", &[module, c"k".as_ptr().expose_provenance()]);
    assert_eq!(driver.answer("cuParamSeti", &[function, -4i32 as usize, 1]), INVALID_VALUE);
}
