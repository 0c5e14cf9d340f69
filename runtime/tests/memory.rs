//! Allocation: addresses, mapping granularity, limits, and who may free what.

mod common;

use common::{copy, fill, runtime};
use hetgpu_runtime::{Error, StreamRef};

const PAGE: u64 = 2 << 20;

fn is_out_of_memory(error: &Error) -> bool {
    matches!(error, Error::Device(error) if error.kind == hetgpu_device::ErrorKind::OutOfMemory)
}

#[test]
fn small_allocations_share_a_page_and_large_ones_have_their_own() {
    let (runtime, device) = runtime(1 << 30, PAGE);
    let small: Vec<u64> = (0..4).map(|_| runtime.allocate(100).unwrap()).collect();
    assert_eq!(device.mapped().len(), 1, "one page for all of them");
    for (index, &at) in small.iter().enumerate() {
        assert_eq!(at % 512, 0);
        assert_eq!(at / PAGE, small[0] / PAGE);
        assert!(small[..index].iter().all(|&other| other.abs_diff(at) >= 512));
    }
    let large = runtime.allocate(3 * PAGE + 1).unwrap();
    assert_eq!(large % PAGE, 0);
    assert!(device.mapped().contains(&(large, 4 * PAGE)));
    runtime.free(large).unwrap();
    assert_eq!(device.mapped().len(), 1);
}

#[test]
fn a_device_of_fine_granularity_maps_each_allocation_as_asked() {
    let (runtime, device) = runtime(1 << 30, 1);
    let at = runtime.allocate(100).unwrap();
    let large = runtime.allocate(PAGE + 1).unwrap();
    assert_eq!(device.mapped(), [(at, 100), (large, PAGE + 1)]);
    runtime.free(at).unwrap();
    assert_eq!(device.mapped(), [(large, PAGE + 1)]);
}

#[test]
fn memory_that_is_used_again_is_zero() {
    for granularity in [1, PAGE] {
        let (runtime, _) = runtime(1 << 30, granularity);
        let first = runtime.allocate(64).unwrap();
        runtime.fill(StreamRef::Default, fill(first, 0xff, 64), true).unwrap();
        runtime.free(first).unwrap();
        let second = runtime.allocate(64).unwrap();
        assert_eq!(second, first, "the lowest free address is taken");
        assert_eq!(runtime.read(second, 64).unwrap(), [0; 64]);
    }
}

#[test]
fn addresses_are_never_those_of_host_objects() {
    let (runtime, _) = runtime(1 << 30, PAGE);
    let at = runtime.allocate(PAGE).unwrap();
    assert!((0x10_0000_0000..0x5000_0000_0000).contains(&at));
    let (other, _) = common::runtime(1 << 30, PAGE);
    let beside = other.allocate(PAGE).unwrap();
    assert_ne!(at, beside, "two runtimes of one process do not hand out the same address");
}

#[test]
fn the_limit_is_the_devices_memory_and_freeing_gives_it_back() {
    let (runtime, _) = runtime(4 * PAGE, PAGE);
    assert!(is_out_of_memory(&runtime.allocate(4 * PAGE + 1).unwrap_err()));
    let all = runtime.allocate(4 * PAGE).unwrap();
    assert_eq!(runtime.memory.used(0), 4 * PAGE);
    assert!(is_out_of_memory(&runtime.allocate(1).unwrap_err()));
    runtime.free(all).unwrap();
    assert_eq!(runtime.memory.used(0), 0);
    assert!(is_out_of_memory(&runtime.allocate(u64::MAX).unwrap_err()));
    assert!(matches!(runtime.allocate(0), Err(Error::InvalidValue(_))));
}

#[test]
fn only_the_start_of_a_live_allocation_can_be_freed() {
    let (runtime, _) = runtime(1 << 30, PAGE);
    let at = runtime.allocate(100).unwrap();
    assert!(matches!(runtime.free(at + 4), Err(Error::InvalidValue(_))));
    runtime.free(at).unwrap();
    assert!(matches!(runtime.free(at), Err(Error::InvalidValue(_))));
}

#[test]
fn copies_and_fills_stay_inside_their_allocation() {
    let (runtime, _) = runtime(1 << 30, PAGE);
    let (a, b) = (runtime.allocate(100).unwrap(), runtime.allocate(100).unwrap());
    let refused = |request| matches!(runtime.copy(StreamRef::Default, request, true), Err(Error::InvalidValue(_)));
    assert!(refused(copy(a, b, 101)) && refused(copy(a + 1, b, 100)) && refused(copy(0x1234, b, 1)));
    assert!(runtime.copy(StreamRef::Default, copy(a, b, 100), true).is_ok());
    assert!(runtime.copy(StreamRef::Default, copy(0, 0, 0), true).is_ok(), "nothing is copied");
    assert!(runtime.fill(StreamRef::Default, fill(a, 1, 101), true).is_err());
    runtime.free(b).unwrap();
    assert!(refused(copy(a, b, 1)));
}

#[test]
fn memory_dies_with_its_context() {
    let (runtime, device) = runtime(1 << 30, 1);
    let kept = runtime.allocate(10).unwrap();
    let context = runtime.create_context(0, 0, 0).unwrap();
    runtime.allocate(20).unwrap();
    assert_eq!(device.mapped().len(), 2);
    runtime.destroy_context(context).unwrap();
    assert_eq!(device.mapped(), [(kept, 10)]);
    runtime.release_primary(0).unwrap();
    assert_eq!(device.mapped(), []);
}
