//! Arrays and the objects over them: how long they live, and copies from and to them.

mod common;

use common::{fill, runtime};
use hetgpu_runtime::{
    Array, ArrayDescription, Channel, Corner, Dimensions, Error, Format, Handle, Notes, Resource, Runtime, Sampler,
    StreamRef, TexelCopy, TexelSide, TextureRequest,
};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Long enough for a thread to do what it must not do.
const A_WHILE: Duration = Duration::from_millis(50);

/// Two rows of four texels of two bytes.
const PLANE: ArrayDescription = ArrayDescription {
    format: Format { channel: Channel::U16, channels: 1 },
    fractions: false,
    dimensions: Dimensions::Two,
    extent: [4, 2, 1],
    layers: 1,
    layered: false,
    writable: true,
    gathered: false,
    notes: Notes { format: 2, flags: 0 },
};
const BYTES: u64 = 16;

fn texture(array: Handle<Array>) -> TextureRequest {
    let (resource, sampler) = (Resource::Array(array), Sampler::default());
    TextureRequest { resource, sampler, normalized_floats: false, view: None }
}

fn memory(at: u64, pitch: u64) -> TexelSide {
    TexelSide::Memory { at, device: true, pitch, slice: 0 }
}

fn copied(runtime: &Runtime, to: TexelSide, from: TexelSide, row: u64, rows: u64) -> Result<(), Error> {
    runtime.copy_texels(StreamRef::Default, TexelCopy { to, from, row, rows, slices: 1 }, true)
}

fn corner(x: u64, y: u64) -> Corner {
    Corner { x, y, z: 0 }
}

#[test]
fn texels_count_as_memory_until_nothing_needs_them() {
    let (runtime, device) = runtime(1 << 20, 1);
    let array = runtime.create_array(PLANE).unwrap();
    let object = runtime.create_texture(texture(array), ()).unwrap();
    assert_eq!((runtime.memory.used(0), device.images()), (BYTES, (1, 1)));
    runtime.destroy_array(array).unwrap();
    assert!(matches!(runtime.destroy_array(array), Err(Error::InvalidHandle("array"))));
    assert_eq!(device.images(), (1, 1), "the texture holds the texels");
    runtime.destroy_image_object(object, true).unwrap();
    assert_eq!((runtime.memory.used(0), device.images()), (0, (0, 0)));
}

#[test]
fn an_array_is_too_large_where_the_memory_is_too_small() {
    let (runtime, device) = runtime(1 << 20, 1);
    let large = ArrayDescription { extent: [1024, 1024, 1], ..PLANE };
    let refused = runtime.create_array(large).unwrap_err();
    assert!(refused.to_string().contains("2097152 bytes wanted"), "{refused}");
    assert_eq!((runtime.memory.used(0), device.images()), (0, (0, 0)));
}

#[test]
fn arrays_and_objects_end_with_their_context() {
    let (runtime, device) = runtime(1 << 20, 1);
    let array = runtime.create_array(PLANE).unwrap();
    let levels = runtime.create_levels(PLANE, 2).unwrap();
    let level = runtime.level(levels, 1).unwrap();
    runtime.create_texture(texture(level), ()).unwrap();
    runtime.create_surface(array, ()).unwrap();
    assert_eq!(device.images(), (2, 2));
    runtime.reset_primary(0).unwrap();
    assert_eq!((runtime.memory.used(0), device.images()), (0, (0, 0)));
    assert!(runtime.images.arrays.get(array).is_err() && runtime.images.arrays.get(level).is_err());
    assert!(runtime.images.levels.get(levels).is_err());
}

#[test]
fn an_array_is_destroyed_after_the_work_that_may_use_it() {
    let (runtime, device) = runtime(1 << 20, 1);
    let at = runtime.allocate(8).unwrap();
    let array = runtime.create_array(PLANE).unwrap();
    device.hold();
    runtime.fill(StreamRef::Default, fill(at, 1, 8), false).unwrap();
    let destroyed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            runtime.destroy_array(array).unwrap();
            destroyed.store(true, Ordering::Release);
        });
        std::thread::sleep(A_WHILE);
        assert!(!destroyed.load(Ordering::Acquire) && device.images() == (1, 0));
        device.release();
    });
    assert_eq!(device.images(), (0, 0));
}

#[test]
fn a_level_lives_as_long_as_its_array() {
    let (runtime, device) = runtime(1 << 20, 1);
    let levels = runtime.create_levels(PLANE, 9).unwrap();
    let level = runtime.level(levels, 1).unwrap();
    assert_eq!(runtime.images.arrays.get(level).unwrap().extents(), [4, 1, 1]);
    assert!(runtime.level(levels, 3).is_err(), "three levels: 4, 2, 1");
    runtime.destroy_array(level).unwrap();
    assert!(runtime.images.arrays.get(level).is_ok());
    runtime.destroy_levels(levels).unwrap();
    assert!(runtime.images.arrays.get(level).is_err());
    assert_eq!((runtime.memory.used(0), device.images()), (0, (0, 0)));
}

#[test]
fn rows_go_to_a_place_of_an_array_and_back() {
    let (runtime, _device) = runtime(1 << 20, 1);
    let at = runtime.allocate(64).unwrap();
    runtime.write(at, (0..64).collect()).unwrap();
    let array = runtime.create_array(PLANE).unwrap();
    copied(&runtime, TexelSide::Array(array, corner(2, 0)), memory(at + 4, 10), 6, 2).unwrap();
    copied(&runtime, memory(at + 32, 8), TexelSide::Array(array, corner(0, 0)), 8, 2).unwrap();
    let rows = runtime.read(at + 32, 16).unwrap();
    assert_eq!(rows, [0, 0, 4, 5, 6, 7, 8, 9, 0, 0, 14, 15, 16, 17, 18, 19]);
    for (x, y, row, rows) in [(4, 0, 6, 1), (0, 1, 8, 2), (u64::MAX, 0, 2, 1)] {
        let refused = copied(&runtime, TexelSide::Array(array, corner(x, y)), memory(at, 8), row, rows);
        assert!(matches!(refused, Err(Error::InvalidValue(_))), "{row} by {rows} at {x}, {y}");
    }
    assert_eq!(copied(&runtime, TexelSide::Array(array, corner(99, 0)), memory(at, 8), 0, 1), Ok(()), "nothing");
}

#[test]
fn a_part_of_a_texel_leaves_its_rest() {
    let (runtime, _device) = runtime(1 << 20, 1);
    let at = runtime.allocate(64).unwrap();
    runtime.write(at, (0..64).collect()).unwrap();
    let (array, other) = (runtime.create_array(PLANE).unwrap(), runtime.create_array(PLANE).unwrap());
    copied(&runtime, TexelSide::Array(array, corner(0, 0)), memory(at + 40, 8), 8, 2).unwrap();
    copied(&runtime, TexelSide::Array(array, corner(1, 0)), memory(at, 3), 3, 2).unwrap();
    copied(&runtime, TexelSide::Array(other, corner(3, 0)), TexelSide::Array(array, corner(0, 0)), 5, 2).unwrap();
    copied(&runtime, memory(at, 8), TexelSide::Array(array, corner(0, 0)), 8, 2).unwrap();
    assert_eq!(runtime.read(at, 16).unwrap(), [40, 0, 1, 2, 44, 45, 46, 47, 48, 3, 4, 5, 52, 53, 54, 55]);
    copied(&runtime, memory(at, 8), TexelSide::Array(other, corner(0, 0)), 8, 2).unwrap();
    assert_eq!(runtime.read(at, 16).unwrap(), [0, 0, 0, 40, 0, 1, 2, 44, 0, 0, 0, 48, 3, 4, 5, 52]);
    copied(&runtime, memory(at, 8), TexelSide::Array(other, corner(3, 1)), 2, 1).unwrap();
    assert_eq!(runtime.read(at, 3).unwrap(), [48, 3, 0]);
}
