//! Machine code without PTX is taken for devices that run it, and refused by the others with what it is.

use hetgpu_registry::Kinds;
use hetgpu_runtime::{Code, Error, ImageSource, Runtime, Settings, Targets};

const CUBIN: &[u8] = include_bytes!("../../../ptx-frontend/tests/data/container/kinds.sm_90.cubin");

fn load(machine: Option<u32>) -> Result<std::sync::Arc<Code>, Error> {
    Code::load_for(ImageSource::Bytes(CUBIN), "kinds", (9, 0), machine)
}

#[test]
fn it_is_code_for_devices_of_its_kind_alone() {
    let code = load(Some(90)).unwrap();
    let machine = code.module.machine.as_ref().unwrap();
    assert_eq!((machine.target.as_str(), machine.image.as_slice()), ("sm_90", CUBIN));
    let names: Vec<_> = code.kernels.iter().map(|kernel| kernel.name.to_str().unwrap()).collect();
    assert_eq!(names.len(), 3);
    let small = &code.kernels[code.kernel("small").unwrap()];
    let params: Vec<_> = small.params.iter().map(|param| (param.offset, param.size)).collect();
    assert_eq!((params, small.param_bytes, small.static_shared), (vec![(0, 1), (8, 16), (24, 8)], 32, 128));
    assert_eq!(code.kernels[code.kernel("big").unwrap()].max_threads, 128);
    assert_eq!(code.kernels[code.kernel("clustered").unwrap()].required_cluster, [2, 1, 1]);
    for machine in [None, Some(80), Some(100)] {
        assert!(matches!(load(machine), Err(Error::NoBinary(text)) if text.contains("sm_90")), "{machine:?}");
    }
}

#[test]
fn other_devices_say_what_it_is() {
    let code = load(Some(90)).unwrap();
    for device in ["cpu", "interp"] {
        let (settings, _) = Settings::read(|_| None);
        let kinds = Kinds(settings.clone());
        let runtime = Runtime::new(settings, vec![kinds.make(device).unwrap()]);
        let context = runtime.retain_primary(0).unwrap();
        runtime.set_current(Some(context)).unwrap();
        let refused = runtime.load_module(&code).unwrap_err().to_string();
        assert!(refused.contains("machine code for sm_90") && refused.contains("no PTX"), "{device}: {refused}");
    }
}
