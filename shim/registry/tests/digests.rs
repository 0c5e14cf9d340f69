//! The kernel by which a card tells what its memory holds, on the devices that there are everywhere.

use hetgpu_checkpoint::Digest;
use hetgpu_device::DIGEST_CHUNK;
use hetgpu_nvidia::digest_kernel;
use hetgpu_registry::Kinds;
use hetgpu_runtime::{Attributes, Code, LaunchRequest, Launchable, Runtime, Settings, StreamRef, Targets};

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
    let expected: Vec<u8> = memory.chunks(DIGEST_CHUNK as usize).flat_map(|chunk| Digest::of(chunk).0).collect();
    for device in ["cpu", "interp"] {
        assert_eq!(told_by(device, &memory), expected, "{device}");
    }
}
