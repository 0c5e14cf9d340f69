//! The kernel by which a card tells what its memory holds, on the devices that there are everywhere.

use hetgpu_device::DIGEST_CHUNK;
use hetgpu_nvidia::digest_kernel;
use hetgpu_registry::Kinds;
use hetgpu_runtime::{Attributes, Code, LaunchRequest, Launchable, Runtime, Settings, StreamRef, Targets};

/// What the function itself makes of the chunks of `contents`.
const EXPECTED: [&str; 4] = [
    "3bdeaf8f8e98780b318106aafdc3ca257f73df123d97b69112b26044c91a7d56",
    "57fa6904f7892d4b49401286184f6f4820bcd897330f0edc76edb65dd95484a0",
    "f1a7ac4ecaa656acfbc190b4c94b1d30a0002b6c50c9bd02b7e79fe59b96bc21",
    "fcb5c133311ca5b286f62dc9d41e96e792566e8119c2c60c13d9052b0a50d269",
];

/// Chunks of zeros, of one byte that is none, and of bytes that follow no rule.
fn contents() -> Vec<u8> {
    let mut state = 1u64;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let mut all = vec![0; 2 * DIGEST_CHUNK as usize];
    all[DIGEST_CHUNK as usize + 4711] = 1;
    all.extend(std::iter::repeat_with(&mut next).take(2 * DIGEST_CHUNK as usize));
    all
}

fn told_by(device: &str, memory: &[u8]) -> Vec<u8> {
    let (settings, _) = Settings::read(|name| (name == "HETGPU_DEVICE").then(|| device.to_owned()));
    let runtime = Runtime::new(settings.clone(), vec![Kinds(settings).make(device).unwrap()]);
    let context = runtime.retain_primary(0).unwrap();
    runtime.set_current(Some(context)).unwrap();
    let code = Code::from_text(digest_kernel(), "digests.ptx").unwrap();
    let module = runtime.load_module(&code).unwrap();
    let kernel = Launchable::Function(runtime.function(module, "hetgpu_digests").unwrap());
    let chunks = memory.len() as u64 / DIGEST_CHUNK;
    let (from, to) = (runtime.allocate(memory.len() as u64).unwrap(), runtime.allocate(chunks * 32).unwrap());
    runtime.write(from, memory.to_vec()).unwrap();
    let request = LaunchRequest {
        grid: [chunks as u32, 1, 1],
        block: [64, 1, 1],
        cluster: [1; 3],
        dynamic_shared: 0,
        cooperative: false,
        params: [from, to].map(u64::to_le_bytes).concat().into(),
        attributes: Attributes::default(),
    };
    runtime.launch(kernel, StreamRef::Default, request).unwrap();
    runtime.read(to, chunks * 32).unwrap()
}

#[test]
fn digests_are_those_of_snapshots() {
    let memory = contents();
    for device in ["cpu", "interp"] {
        let told = told_by(device, &memory);
        let told: Vec<String> =
            told.chunks(32).map(|one| one.iter().map(|byte| format!("{byte:02x}")).collect()).collect();
        assert_eq!(told, EXPECTED, "{device}");
    }
}
