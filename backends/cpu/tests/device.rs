//! The device as the runtime sees it, whoever executes a kernel.

use hetgpu_cpu::{Check, CpuDevice, Options};
use hetgpu_device::{DeviceError, ErrorKind, Heap, Launch, Listener, SyncDevice};
use hetir::entity::FuncId;
use hetir::ir::Module;
use std::sync::{Arc, Mutex};

fn parsed(text: &str) -> Arc<Module> {
    let module = hetir::text::parse(text).unwrap();
    hetir::verify::verify(&module).unwrap();
    Arc::new(module)
}

/// Adds one to a word of each thread.
const ADD: &str = "visible kernel @add(data: 8 align 8 at 0) {
block0:
    v0: i64 = const 0
    v1: i64 = load.param v0
    v2: i32 = sreg.tid.x
    v3: i32 = sreg.ctaid.x
    v4: i32 = sreg.ntid.x
    v5: i32 = imul v3, v4
    v6: i32 = iadd v5, v2
    v7: i32 = const 2
    v8: i32 = shl v6, v7
    v9: i64 = zext v8
    v10: i64 = iadd v1, v9
    v11: i32 = load.global v10
    v12: i32 = const 1
    v13: i32 = iadd v11, v12
    store.global v10, v13
    ret
}
";

#[derive(Default)]
struct Heard(Mutex<Vec<(char, String)>>);

impl Heard {
    fn put(&self, kind: char, bytes: &[u8]) {
        self.0.lock().unwrap().push((kind, String::from_utf8_lossy(bytes).into_owned()));
    }
}

impl Listener for Heard {
    fn print(&self, bytes: &[u8]) {
        self.put('p', bytes);
    }
    fn complain(&self, bytes: &[u8]) {
        self.put('c', bytes);
    }
}

fn words(device: &CpuDevice, at: u64, count: usize) -> Vec<u32> {
    let mut bytes = vec![0; count * 4];
    device.read(at, &mut bytes).unwrap();
    bytes.chunks(4).map(|w| u32::from_le_bytes(w.try_into().unwrap())).collect()
}

#[test]
fn kernels_run_and_bad_accesses_are_errors_in_every_mode() {
    for (n, check) in [Check::Hardware, Check::Memory, Check::All].into_iter().enumerate() {
        let device = CpuDevice::new(Options { check, ..Options::default() });
        let base = 0x20_0000_0000 + ((n as u64) << 32);
        device.map(base, 4096, "numbers").unwrap();
        let module = device.load(&parsed(ADD), &[]).unwrap();
        device.prepare(module, FuncId::new(0), [64, 1, 1]).unwrap();
        let launch = |at: u64, blocks: u32| Launch {
            grid: [blocks, 1, 1],
            block: [64, 1, 1],
            params: at.to_le_bytes().into(),
            ..Launch::new(module, FuncId::new(0))
        };
        device.launch(&launch(base, 10)).unwrap();
        device.launch(&launch(base + 4, 1)).unwrap();
        let mut expected = vec![1; 640];
        expected[1..65].fill(2);
        expected.resize(1024, 0);
        assert_eq!(words(&device, base, 1024), expected, "{check:?}");
        // The last block's threads have no memory.
        let error = device.launch(&launch(base, 17)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::IllegalAddress, "{error}");
        assert!(error.message.contains("\"numbers\"") && error.message.contains("kernel add"), "{error}");
        device.launch(&launch(base, 1)).unwrap();
        device.unload(module);
        let error = device.launch(&launch(base, 1)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidImage);
        device.unmap(base);
        assert!(device.read(base, &mut [0]).is_err());
    }
}

#[test]
fn checked_mode_sees_single_bytes_and_names_the_thread() {
    let device = CpuDevice::new(Options { check: Check::Memory, ..Options::default() });
    let base = 0x24_0000_0000;
    device.map(base, 100, "short").unwrap();
    let module = device.load(&parsed(ADD), &[]).unwrap();
    let launch = Launch { block: [32, 1, 1], params: base.to_le_bytes().into(), ..Launch::new(module, FuncId::new(0)) };
    let error = device.launch(&launch).unwrap_err();
    assert!(error.message.contains("thread (25, 0, 0)") && error.message.contains("\"short\""), "{error}");
}

#[test]
fn launches_that_do_not_fit_are_refused() {
    let device = CpuDevice::new(Options::default());
    let module = device.load(&parsed(ADD), &[]).unwrap();
    let refused = |change: fn(&mut Launch)| -> DeviceError {
        let mut launch = Launch { params: Arc::new([0; 8]), ..Launch::new(module, FuncId::new(0)) };
        change(&mut launch);
        device.launch(&launch).unwrap_err()
    };
    for error in [
        refused(|l| l.block = [1025, 1, 1]),
        refused(|l| l.grid = [0, 1, 1]),
        refused(|l| l.dynamic_shared = 1 << 20),
        refused(|l| l.params = Arc::new([0; 4])),
        refused(|l| l.kernel = FuncId::new(1)),
    ] {
        assert_eq!(error.kind, ErrorKind::OutOfResources, "{error}");
    }
    assert!(device.kernel(module, FuncId::new(1)).is_err() && device.kernel(module, FuncId::new(0)).is_ok());
}

#[test]
fn host_memory_is_reached_at_its_own_address() {
    let device = CpuDevice::new(Options::default());
    let buffer = hetgpu_device::HostBuffer::new(256).unwrap();
    device.share(buffer.span()).unwrap();
    let module = device.load(&parsed(ADD), &[]).unwrap();
    let params = buffer.address().to_le_bytes();
    let launch = Launch { block: [32, 1, 1], params: params.into(), ..Launch::new(module, FuncId::new(0)) };
    device.launch(&launch).unwrap();
    assert!(buffer.to_vec()[..128].chunks(4).all(|w| w == [1, 0, 0, 0]));
    device.unmap(buffer.address());
    assert!(device.write(buffer.address(), &[1]).is_err());
}

const TALKS: &str = "global @text: 16 align 1 {
    bytes \"68692025750a00\"
}
visible kernel @talks(heap: 8 align 8 at 0) {
    slot0: 8 align 8
block0:
    v0: i64 = global_addr @text
    v1: i64 = slot_addr slot0
    v2: i32 = sreg.ctaid.x
    store.local v1, v2
    v3: i64 = to_generic.local v1
    v4: i32 = syscall.vprintf v0, v3
    v5: i64 = const 8
    v6: i64 = syscall.malloc v5
    store.global v6, v5
    v7: i64 = const 0
    v8: i32 = const 3
    syscall.assertfail v0, v0, v8, v0, v7
    ret
}
";

#[test]
fn what_kernels_say_is_heard_in_order() {
    let base = 0x25_0000_0000;
    for check in [Check::Hardware, Check::Memory] {
        let device = CpuDevice::new(Options { check, ..Options::default() });
        device.map(base, 1 << 16, "module and heap").unwrap();
        device.write(base, b"hi %u\n\0").unwrap();
        let module = device.load(&parsed(TALKS), &[base]).unwrap();
        let heard = Arc::new(Heard::default());
        let launch = Launch {
            params: Arc::new([0; 8]),
            heap: Some(Heap { base: base + 4096, bytes: 4096 }),
            listener: heard.clone(),
            ..Launch::new(module, FuncId::new(0))
        };
        let error = device.launch(&launch).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Assert, "{error}");
        let heard = heard.0.lock().unwrap();
        assert_eq!(heard[0], ('p', "hi 0\n".to_owned()));
        assert_eq!(heard.len(), 2);
        assert!(heard[1].0 == 'c' && heard[1].1.contains("Assertion `hi %u\n` failed."), "{heard:?}");
        assert_eq!(words(&device, base + 4096, 1), [8]);
    }
}
