//! The driver API as a program sees it: functions by name, and a kernel to launch.
#![allow(non_snake_case, dead_code, reason = "names are the API's, and each test file uses its part")]

use super::sys;
use libloading::Library;
use std::sync::OnceLock;

pub(crate) const SUCCESS: u32 = 0;
pub(crate) const INVALID_VALUE: u32 = 1;
pub(crate) const INVALID_HANDLE: u32 = 400;
pub(crate) const NOT_READY: u32 = 600;
pub(crate) const NOT_PERMITTED: u32 = 800;

/// `add` adds a number to each of `count` words.
const KERNELS: &str = "\
.version 8.5
.target sm_70
.address_size 64
.visible .entry add(.param .u64 words, .param .u32 count, .param .u32 number) {
    .reg .pred %p; .reg .b32 %r<6>; .reg .b64 %d<3>;
    ld.param.u64 %d0, [words]; ld.param.u32 %r0, [count]; ld.param.u32 %r1, [number];
    mov.u32 %r2, %ctaid.x; mov.u32 %r3, %ntid.x; mov.u32 %r4, %tid.x;
    mad.lo.u32 %r2, %r2, %r3, %r4;
    setp.ge.u32 %p, %r2, %r0;
    @%p ret;
    mul.wide.u32 %d1, %r2, 4; add.u64 %d2, %d0, %d1;
    ld.global.u32 %r5, [%d2]; add.u32 %r5, %r5, %r1; st.global.u32 [%d2], %r5;
    ret;
}
\0";

pub(crate) type HostFunction = extern "C" fn(*mut u64);

macro_rules! api {
    ($($name:ident($($argument:ty),*);)*) => {
        pub(crate) struct Api {
            $(pub(crate) $name: extern "C" fn($($argument),*) -> u32,)*
        }

        impl Api {
            fn load(library: &Library) -> Self {
                Self { $($name: sys::symbol(library, stringify!($name)),)* }
            }
        }
    };
}

api! {
    cuInit(u32);
    cuDevicePrimaryCtxRetain(&mut usize, i32);
    cuDeviceGetAttribute(&mut i32, i32, i32);
    cuCtxSetCurrent(usize);
    cuCtxCreate_v2(&mut usize, u32, i32);
    cuCtxDestroy_v2(usize);
    cuCtxSynchronize();
    cuCtxRecordEvent(usize, usize);
    cuCtxWaitEvent(usize, usize);
    cuModuleLoadData(&mut usize, *const u8);
    cuModuleGetFunction(&mut usize, usize, *const u8);
    cuLaunchKernel(usize, u32, u32, u32, u32, u32, u32, u32, usize, *const *const u64, usize);
    cuLaunchHostFunc(usize, HostFunction, *mut u64);
    cuStreamCreate(&mut usize, u32);
    cuStreamDestroy_v2(usize);
    cuStreamSynchronize(usize);
    cuStreamQuery(usize);
    cuStreamWaitEvent(usize, usize, u32);
    cuStreamGetPriority(usize, &mut i32);
    cuStreamGetAttribute(usize, u32, &mut [u32; 16]);
    cuStreamSetAttribute(usize, u32, &[u32; 16]);
    cuStreamCopyAttributes(usize, usize);
    cuStreamWaitValue32_v2(usize, u64, u32, u32);
    cuStreamWaitValue64_v2(usize, u64, u64, u32);
    cuStreamWriteValue32(usize, u64, u32, u32);
    cuStreamWriteValue32_v2(usize, u64, u32, u32);
    cuStreamWriteValue64_v2(usize, u64, u64, u32);
    cuStreamBatchMemOp_v2(usize, u32, *const [u64; 6], u32);
    cuEventCreate(&mut usize, u32);
    cuEventDestroy_v2(usize);
    cuEventRecord(usize, usize);
    cuEventQuery(usize);
    cuEventSynchronize(usize);
    cuEventElapsedTime(&mut f32, usize, usize);
    cuIpcGetEventHandle(&mut [u64; 8], usize);
    cuIpcOpenEventHandle(&mut usize, Ticket);
    cuMemAlloc_v2(&mut u64, usize);
    cuMemAllocHost_v2(&mut u64, usize);
    cuMemFree_v2(u64);
    cuMemFreeHost(u64);
    cuMemsetD32Async(u64, u32, usize, usize);
    cuMemcpyHtoDAsync_v2(u64, *const u32, usize, usize);
    cuMemcpyDtoH_v2(*mut u32, u64, usize);
}

/// `CUipcEventHandle`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Ticket(pub(crate) [u64; 8]);

/// The library, never closed: its threads outlive a test. The context is current on the calling thread.
pub(crate) struct Driver {
    pub(crate) api: Api,
    pub(crate) context: usize,
    pub(crate) add: usize,
}

static DRIVER: OnceLock<Driver> = OnceLock::new();
static LIBRARY: OnceLock<Library> = OnceLock::new();

pub(crate) fn driver() -> &'static Driver {
    let driver = DRIVER.get_or_init(|| {
        let path = std::env::current_exe().unwrap().with_file_name("libcuda.so");
        let api = Api::load(LIBRARY.get_or_init(|| sys::open(&path)));
        let (mut context, mut module, mut add) = (0, 0, 0);
        assert_eq!((api.cuInit)(0), SUCCESS);
        assert_eq!((api.cuDevicePrimaryCtxRetain)(&mut context, 0), SUCCESS);
        assert_eq!((api.cuCtxSetCurrent)(context), SUCCESS);
        assert_eq!((api.cuModuleLoadData)(&mut module, KERNELS.as_ptr()), SUCCESS);
        assert_eq!((api.cuModuleGetFunction)(&mut add, module, c"add".as_ptr().cast()), SUCCESS);
        Driver { api, context, add }
    });
    assert_eq!((driver.api.cuCtxSetCurrent)(driver.context), SUCCESS);
    driver
}

/// The driver where a test has opened it already.
pub(crate) fn loaded() -> &'static Driver {
    DRIVER.get().expect("a test opened it")
}

impl Driver {
    pub(crate) fn stream(&self) -> usize {
        let mut stream = 0;
        assert_eq!((self.api.cuStreamCreate)(&mut stream, 1), SUCCESS);
        stream
    }

    pub(crate) fn event(&self, flags: u32) -> usize {
        let mut event = 0;
        assert_eq!((self.api.cuEventCreate)(&mut event, flags), SUCCESS);
        event
    }

    /// Zeroed words of the device.
    pub(crate) fn words(&self, count: usize) -> u64 {
        let mut at = 0;
        assert_eq!((self.api.cuMemAlloc_v2)(&mut at, count * 4), SUCCESS);
        at
    }

    /// Adds a number to words, in a stream.
    pub(crate) fn add(&self, stream: usize, words: u64, count: u32, number: u32) -> u32 {
        let values = [words, count.into(), number.into()];
        let parameters: [*const u64; 3] = std::array::from_fn(|n| &raw const values[n]);
        let blocks = count.div_ceil(64);
        (self.api.cuLaunchKernel)(self.add, blocks, 1, 1, 64, 1, 1, 0, stream, parameters.as_ptr(), 0)
    }

    pub(crate) fn read(&self, words: u64, count: usize) -> Vec<u32> {
        let mut out = vec![0; count];
        assert_eq!((self.api.cuMemcpyDtoH_v2)(out.as_mut_ptr(), words, count * 4), SUCCESS);
        out
    }
}
