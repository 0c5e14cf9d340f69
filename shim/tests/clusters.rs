//! What the driver API says about clusters, and whether launches agree.

#[path = "library/sys.rs"]
mod sys;

use libloading::Library;
use std::ptr::null;
use std::sync::OnceLock;

/// Never closed: its threads outlive a test.
static LIBRARY: OnceLock<Library> = OnceLock::new();

const SUCCESS: u32 = 0;
const NOT_PERMITTED: u32 = 800;
const INVALID_CLUSTER_SIZE: u32 = 912;
const NON_PORTABLE: usize = 14;
const REQUIRED_WIDTH: usize = 11;

const KERNELS: &str = "\
.version 8.5
.target sm_90
.address_size 64
.visible .entry plain() { ret; }
.visible .entry required() .explicitcluster .reqnctapercluster 2, 2 { ret; }
.visible .entry bounded() .maxclusterrank 4 { ret; }
\0";

/// `CUlaunchAttribute` with a cluster's dimensions.
#[repr(C)]
struct Attribute {
    id: u32,
    padding: u32,
    value: [u32; 16],
}

/// `CUlaunchConfig`.
#[repr(C)]
struct Config {
    grid: [u32; 3],
    block: [u32; 3],
    dynamic_shared: u32,
    stream: usize,
    attributes: *const Attribute,
    attribute_count: u32,
}

fn cluster(blocks: u32) -> Attribute {
    const CLUSTER_DIMENSION: u32 = 4;
    let mut value = [0; 16];
    value[..3].copy_from_slice(&[blocks, 1, 1]);
    Attribute { id: CLUSTER_DIMENSION, padding: 0, value }
}

fn config(attributes: &[Attribute], threads: u32) -> Config {
    Config {
        grid: [32, 2, 1],
        block: [threads, 1, 1],
        dynamic_shared: 0,
        stream: 0,
        attributes: attributes.as_ptr(),
        attribute_count: attributes.len() as u32,
    }
}

struct Driver {
    library: &'static Library,
    module: usize,
}

impl Driver {
    fn open() -> Self {
        let path = std::env::current_exe().unwrap().with_file_name("libcuda.so");
        let library = LIBRARY.get_or_init(|| sys::open(&path));
        let mut out = 0usize;
        assert_eq!(sys::symbol::<extern "C" fn(u32) -> u32>(library, "cuInit")(0), SUCCESS);
        let retain: extern "C" fn(&mut usize, i32) -> u32 = sys::symbol(library, "cuDevicePrimaryCtxRetain");
        assert_eq!(retain(&mut out, 0), SUCCESS);
        assert_eq!(sys::symbol::<extern "C" fn(usize) -> u32>(library, "cuCtxSetCurrent")(out), SUCCESS);
        let load: extern "C" fn(&mut usize, *const u8) -> u32 = sys::symbol(library, "cuModuleLoadData");
        assert_eq!(load(&mut out, KERNELS.as_ptr()), SUCCESS);
        Self { library, module: out }
    }

    fn function(&self, name: &std::ffi::CStr) -> usize {
        let mut out = 0;
        let get: extern "C" fn(&mut usize, usize, *const std::ffi::c_char) -> u32 =
            sys::symbol(self.library, "cuModuleGetFunction");
        assert_eq!(get(&mut out, self.module, name.as_ptr()), SUCCESS);
        out
    }

    fn set(&self, function: usize, attribute: usize, value: usize) -> u32 {
        let set: extern "C" fn(usize, usize, usize) -> u32 = sys::symbol(self.library, "cuFuncSetAttribute");
        set(function, attribute, value)
    }

    fn attribute(&self, function: usize, attribute: usize) -> i32 {
        let mut out = -1;
        let get: extern "C" fn(&mut i32, usize, usize) -> u32 = sys::symbol(self.library, "cuFuncGetAttribute");
        assert_eq!(get(&mut out, attribute, function), SUCCESS);
        out
    }

    fn ask(&self, name: &str, function: usize, config: &Config) -> Result<i32, u32> {
        let mut out = -1;
        let ask: extern "C" fn(&mut i32, usize, &Config) -> u32 = sys::symbol(self.library, name);
        match ask(&mut out, function, config) {
            SUCCESS => Ok(out),
            code => Err(code),
        }
    }

    fn largest(&self, function: usize, config: &Config) -> Result<i32, u32> {
        self.ask("cuOccupancyMaxPotentialClusterSize", function, config)
    }

    fn active(&self, function: usize, config: &Config) -> Result<i32, u32> {
        self.ask("cuOccupancyMaxActiveClusters", function, config)
    }

    fn launch(&self, function: usize, config: &Config) -> u32 {
        let launch: extern "C" fn(&Config, usize, *const usize, *const usize) -> u32 =
            sys::symbol(self.library, "cuLaunchKernelEx");
        let code = launch(config, function, null(), null());
        assert_eq!(sys::symbol::<extern "C" fn() -> u32>(self.library, "cuCtxSynchronize")(), SUCCESS);
        code
    }
}

#[test]
fn what_is_said_about_clusters_is_what_can_be_launched() {
    let driver = Driver::open();
    let mut offered = 0;
    let attribute: extern "C" fn(&mut i32, i32, i32) -> u32 = sys::symbol(driver.library, "cuDeviceGetAttribute");
    const CLUSTER_LAUNCH: i32 = 120;
    assert_eq!((attribute(&mut offered, CLUSTER_LAUNCH, 0), offered), (SUCCESS, 1));

    let plain = driver.function(c"plain");
    let (eight, sixteen) = ([cluster(8)], [cluster(16)]);
    assert_eq!(driver.largest(plain, &config(&[], 1024)), Ok(8));
    assert!(driver.active(plain, &config(&eight, 1024)).is_ok_and(|count| count >= 1));
    assert_eq!(driver.launch(plain, &config(&eight, 1024)), SUCCESS);
    assert_eq!(driver.active(plain, &config(&sixteen, 32)), Err(INVALID_CLUSTER_SIZE));
    assert_eq!(driver.launch(plain, &config(&sixteen, 32)), INVALID_CLUSTER_SIZE);

    assert_eq!(driver.attribute(plain, NON_PORTABLE), 0);
    assert_eq!(driver.set(plain, NON_PORTABLE, 1), SUCCESS);
    assert_eq!(driver.attribute(plain, NON_PORTABLE), 1);
    assert_eq!(driver.largest(plain, &config(&[], 32)), Ok(16));
    assert!(driver.active(plain, &config(&sixteen, 1024)).is_ok_and(|count| count >= 1));
    assert_eq!(driver.launch(plain, &config(&sixteen, 1024)), SUCCESS);
    assert_eq!(driver.launch(plain, &config(&[cluster(32)], 32)), INVALID_CLUSTER_SIZE);

    // Twice the blocks a cluster, half the clusters.
    let (two, four) = ([cluster(2)], [cluster(4)]);
    let count = |attributes| driver.active(plain, &config(attributes, 256)).unwrap();
    assert_eq!(count(&two), 2 * count(&four));
}

#[test]
fn kernels_say_which_clusters_they_want() {
    let driver = Driver::open();
    let required = driver.function(c"required");
    assert_eq!((10..=13).map(|id| driver.attribute(required, id)).collect::<Vec<_>>(), [1, 2, 2, 1]);
    assert_eq!(driver.set(required, REQUIRED_WIDTH, 4), NOT_PERMITTED);
    assert_eq!(driver.largest(required, &config(&[], 32)), Ok(4));
    assert_eq!(driver.active(required, &config(&[cluster(4)], 32)), Err(INVALID_CLUSTER_SIZE));
    assert_eq!(driver.launch(required, &config(&[], 32)), SUCCESS);

    let bounded = driver.function(c"bounded");
    assert_eq!((10..=13).map(|id| driver.attribute(bounded, id)).collect::<Vec<_>>(), [0; 4]);
    assert_eq!(driver.largest(bounded, &config(&[], 32)), Ok(4));
    assert_eq!(driver.launch(bounded, &config(&[cluster(4)], 32)), SUCCESS);
    assert_eq!(driver.launch(bounded, &config(&[cluster(8)], 32)), INVALID_CLUSTER_SIZE);
}
