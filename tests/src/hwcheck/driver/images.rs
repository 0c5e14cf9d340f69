//! Arrays, texture objects, surface objects, and the references that a module's variables are.

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::ptr;

use hetir::interp::texture::{AddressMode, Channel, Filter, Image, Sampler};
use libloading::Library;

use super::{DevicePointer, Driver, DriverError, Handle, Memory, Module, Result32, c_string, table};

const LAYERED: c_uint = 1;
const SURFACE: c_uint = 2;
const CUBE: c_uint = 4;
const GATHER: c_uint = 8;
const DEPTH: c_uint = 16;

const MEMORY_HOST: c_uint = 1;
const MEMORY_ARRAY: c_uint = 3;

const RESOURCE_ARRAY: c_uint = 0;
const RESOURCE_LEVELS: c_uint = 1;
const RESOURCE_LINEAR: c_uint = 2;
const RESOURCE_PITCH: c_uint = 3;

const READ_AS_INTEGER: c_uint = 1;
const NORMALIZED_COORDINATES: c_uint = 2;
const OVERRIDE_FORMAT: c_uint = 1;

/// The largest level that a sampler's 4.8 bits hold.
const MOST_LEVEL: f32 = 4095.0 / 256.0;

/// How the dimensions of an image are meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shape {
    D1,
    D2,
    D3,
    A1d,
    A2d,
    Cube,
    ACube,
}

/// What a texture lies in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Resource {
    Array,
    /// An array for depths.
    DepthArray,
    /// Memory without rows.
    Linear,
    /// Memory with rows.
    Pitch,
}

/// Bytes a row and numbers of rows and slices.
pub(crate) type Extents = [usize; 3];

/// A texture's or surface's handle, as kernels take it.
pub(crate) type Handle64 = u64;

#[repr(C)]
struct ArrayDescriptor {
    extents: [usize; 3],
    format: c_uint,
    channels: c_uint,
    flags: c_uint,
}

/// One end of a copy.
#[repr(C)]
#[derive(Clone, Copy)]
struct CopyEnd {
    x: usize,
    y: usize,
    z: usize,
    level: usize,
    memory: c_uint,
    host: *mut c_void,
    device: DevicePointer,
    array: Handle,
    reserved: *mut c_void,
    pitch: usize,
    height: usize,
}

#[repr(C)]
struct Copy3d {
    from: CopyEnd,
    to: CopyEnd,
    extents: [usize; 3],
}

/// The union is an array's handle, or an address with what describes its contents.
#[repr(C)]
struct ResourceDescriptor {
    kind: c_uint,
    pointer: u64,
    format: c_uint,
    channels: c_uint,
    sizes: [usize; 3],
    rest: [u64; 11],
    flags: c_uint,
}

const _: () = assert!(std::mem::size_of::<ResourceDescriptor>() == 144);

#[repr(C)]
struct TextureDescriptor {
    address: [c_uint; 3],
    filter: c_uint,
    flags: c_uint,
    anisotropy: c_uint,
    level_filter: c_uint,
    level_bias: f32,
    level_range: [f32; 2],
    border: [f32; 4],
    reserved: [c_int; 12],
}

const _: () = assert!(std::mem::size_of::<TextureDescriptor>() == 104);

table! {
    ImageTable
    array_create = "cuArray3DCreate_v2": fn(*mut Handle, *const ArrayDescriptor);
    array_destroy = "cuArrayDestroy": fn(Handle);
    levels_create = "cuMipmappedArrayCreate": fn(*mut Handle, *const ArrayDescriptor, c_uint);
    levels_get = "cuMipmappedArrayGetLevel": fn(*mut Handle, Handle, c_uint);
    levels_destroy = "cuMipmappedArrayDestroy": fn(Handle);
    copy = "cuMemcpy3D_v2": fn(*const Copy3d);
    texture_create = "cuTexObjectCreate":
        fn(*mut Handle64, *const ResourceDescriptor, *const TextureDescriptor, *const c_void);
    texture_destroy = "cuTexObjectDestroy": fn(Handle64);
    surface_create = "cuSurfObjectCreate": fn(*mut Handle64, *const ResourceDescriptor);
    surface_destroy = "cuSurfObjectDestroy": fn(Handle64);
    texture_variable = "cuModuleGetTexRef": fn(*mut Handle, Handle, *const c_char);
    surface_variable = "cuModuleGetSurfRef": fn(*mut Handle, Handle, *const c_char);
    reference_array = "cuTexRefSetArray": fn(Handle, Handle, c_uint);
    reference_levels = "cuTexRefSetMipmappedArray": fn(Handle, Handle, c_uint);
    reference_address = "cuTexRefSetAddressMode": fn(Handle, c_int, c_uint);
    reference_filter = "cuTexRefSetFilterMode": fn(Handle, c_uint);
    reference_flags = "cuTexRefSetFlags": fn(Handle, c_uint);
    reference_border = "cuTexRefSetBorderColor": fn(Handle, *const f32);
    reference_level_filter = "cuTexRefSetMipmapFilterMode": fn(Handle, c_uint);
    reference_level_bias = "cuTexRefSetMipmapLevelBias": fn(Handle, f32);
    reference_level_range = "cuTexRefSetMipmapLevelClamp": fn(Handle, f32, f32);
    surface_array = "cuSurfRefSetArray": fn(Handle, Handle, c_uint);
}

const fn format(channel: Channel) -> c_uint {
    match channel {
        Channel::U8 => 0x01,
        Channel::U16 => 0x02,
        Channel::U32 => 0x03,
        Channel::S8 => 0x08,
        Channel::S16 => 0x09,
        Channel::S32 => 0x0a,
        Channel::F16 => 0x10,
        Channel::F32 => 0x20,
    }
}

const fn filter(filter: Filter) -> c_uint {
    match filter {
        Filter::Nearest => 0,
        Filter::Linear => 1,
    }
}

const fn address(mode: AddressMode) -> c_uint {
    match mode {
        AddressMode::Wrap => 0,
        AddressMode::Clamp => 1,
        AddressMode::Mirror => 2,
        AddressMode::Border => 3,
    }
}

fn flags(sampler: &Sampler, normalized_floats: bool) -> c_uint {
    let integers = if normalized_floats { 0 } else { READ_AS_INTEGER };
    integers | if sampler.normalized { NORMALIZED_COORDINATES } else { 0 }
}

impl Driver {
    /// Why there are no textures and surfaces.
    pub(crate) fn has_images(&self) -> Result<(), String> {
        self.images.as_ref().map(|_| ()).map_err(|error| format!("the driver has no textures: {error}"))
    }

    fn image_table(&self) -> Result<&ImageTable, DriverError> {
        self.images.as_ref().map_err(|message| DriverError { code: 1, message: message.clone() })
    }
}

/// An array, mipmapped where the image has several levels; or memory that holds the texels.
pub(crate) struct Array<'d> {
    driver: &'d Driver,
    image: Image,
    shape: Shape,
    storage: Storage<'d>,
}

enum Storage<'d> {
    Array(Handle),
    Levels(Handle),
    /// With the bytes a row.
    Memory(Memory<'d>, Resource, usize),
}

/// Rows of memory begin at multiples of this.
const PITCH: usize = 512;

impl<'d> Array<'d> {
    /// An array with these texels, which lie as `Image::packed` has them.
    pub(crate) fn new(
        driver: &'d Driver,
        image: &Image,
        shape: Shape,
        resource: Resource,
        texels: &[u8],
    ) -> Result<Self, DriverError> {
        let table = driver.image_table()?;
        if matches!(resource, Resource::Linear | Resource::Pitch) {
            let row = image.width as usize * image.texel_bytes();
            let (mut bytes, mut pitch) = (texels.to_vec(), row);
            if resource == Resource::Pitch {
                pitch = row.next_multiple_of(PITCH);
                bytes = vec![0; pitch * image.height as usize];
                for (to, from) in bytes.chunks_exact_mut(pitch).zip(texels.chunks_exact(row)) {
                    to[..row].copy_from_slice(from);
                }
            }
            let storage = Storage::Memory(driver.memory(&bytes)?, resource, pitch);
            return Ok(Self { driver, image: image.clone(), shape, storage });
        }
        let [w, h, d] = [image.width, image.height, image.depth].map(|n| n as usize);
        let layers = image.layers as usize;
        let (extents, flags) = match shape {
            Shape::D1 => ([w, 0, 0], SURFACE),
            Shape::D2 => ([w, h, 0], SURFACE | GATHER),
            Shape::D3 => ([w, h, d], SURFACE),
            Shape::A1d => ([w, 0, layers], SURFACE | LAYERED),
            Shape::A2d => ([w, h, layers], SURFACE | LAYERED),
            Shape::Cube => ([w, h, layers], SURFACE | CUBE),
            Shape::ACube => ([w, h, layers], SURFACE | CUBE | LAYERED),
        };
        let flags = if resource == Resource::DepthArray { flags & !SURFACE | DEPTH } else { flags };
        let (format, channels) = (format(image.channel), image.channels.into());
        let descriptor = ArrayDescriptor { extents, format, channels, flags };
        let mut handle = ptr::null_mut();
        let storage = if image.levels.len() > 1 {
            // SAFETY: the handle is a local variable, the descriptor is read during the call.
            let code = unsafe { (table.levels_create)(&mut handle, &descriptor, image.levels.len() as c_uint) };
            driver.check("cuMipmappedArrayCreate", code)?;
            Storage::Levels(handle)
        } else {
            // SAFETY: as above.
            let code = unsafe { (table.array_create)(&mut handle, &descriptor) };
            driver.check("cuArray3DCreate", code)?;
            Storage::Array(handle)
        };
        let array = Self { driver, image: image.clone(), shape, storage };
        let mut texels = texels.to_vec();
        array.copy(&mut texels, true)?;
        Ok(array)
    }

    /// The texels; of memory with rows, zeros.
    pub(crate) fn read(&self) -> Result<Vec<u8>, DriverError> {
        if let Storage::Memory(memory, Resource::Linear, _) = &self.storage {
            return memory.read();
        }
        let mut texels = vec![0; self.image.packed_bytes() as usize];
        self.copy(&mut texels, false)?;
        Ok(texels)
    }

    /// Bytes, rows and slices of a level.
    fn extents(&self, level: usize) -> Extents {
        let [w, h, d] = self.image.extents(level).map(|n| n as usize);
        let slices = if self.shape == Shape::D3 { d } else { self.image.layers as usize };
        [w * self.image.texel_bytes(), h, slices]
    }

    /// Copies all levels to or from packed texels.
    fn copy(&self, texels: &mut [u8], into: bool) -> Result<(), DriverError> {
        let table = self.driver.image_table()?;
        let mut rest = texels;
        for level in 0..self.image.levels.len() {
            let [row, rows, slices] = self.extents(level);
            let Some((here, behind)) = rest.split_at_mut_checked(row * rows * slices) else {
                return Err(DriverError { code: 1, message: "there are fewer texels than the image has".into() });
            };
            rest = behind;
            let array = match &self.storage {
                Storage::Array(handle) => *handle,
                Storage::Levels(handle) => {
                    let mut array = ptr::null_mut();
                    // SAFETY: the mipmapped array exists and has that many levels.
                    let code = unsafe { (table.levels_get)(&mut array, *handle, level as c_uint) };
                    self.driver.check("cuMipmappedArrayGetLevel", code)?;
                    array
                }
                Storage::Memory(..) => return Ok(()),
            };
            let nothing = CopyEnd {
                x: 0,
                y: 0,
                z: 0,
                level: 0,
                memory: 0,
                host: ptr::null_mut(),
                device: 0,
                array: ptr::null_mut(),
                reserved: ptr::null_mut(),
                pitch: 0,
                height: 0,
            };
            let host =
                CopyEnd { memory: MEMORY_HOST, host: here.as_mut_ptr().cast(), pitch: row, height: rows, ..nothing };
            let array = CopyEnd { memory: MEMORY_ARRAY, array, ..nothing };
            let (from, to) = if into { (host, array) } else { (array, host) };
            let copy = Copy3d { from, to, extents: [row, rows, slices] };
            // SAFETY: the slice has as many bytes as the extents say, and the level has these extents.
            let code = unsafe { (table.copy)(&copy) };
            self.driver.check("cuMemcpy3D", code)?;
        }
        Ok(())
    }

    fn resource(&self) -> ResourceDescriptor {
        let mut out = ResourceDescriptor {
            kind: RESOURCE_ARRAY,
            pointer: 0,
            format: 0,
            channels: 0,
            sizes: [0; 3],
            rest: [0; 11],
            flags: 0,
        };
        match &self.storage {
            Storage::Array(handle) => out.pointer = handle.addr() as u64,
            Storage::Levels(handle) => (out.kind, out.pointer) = (RESOURCE_LEVELS, handle.addr() as u64),
            Storage::Memory(memory, resource, pitch) => {
                out.pointer = memory.address;
                (out.format, out.channels) = (format(self.image.channel), self.image.channels.into());
                let (width, height) = (self.image.width as usize, self.image.height as usize);
                if *resource == Resource::Linear {
                    (out.kind, out.sizes) = (RESOURCE_LINEAR, [width * self.image.texel_bytes(), 0, 0]);
                } else {
                    (out.kind, out.sizes) = (RESOURCE_PITCH, [width, height, *pitch]);
                }
            }
        }
        out
    }

    /// A texture object over it.
    pub(crate) fn texture(&self, sampler: &Sampler, normalized_floats: bool) -> Result<Object<'_>, DriverError> {
        let table = self.driver.image_table()?;
        let how = TextureDescriptor {
            address: sampler.address.map(address),
            filter: filter(sampler.filter),
            flags: flags(sampler, normalized_floats),
            anisotropy: 0,
            level_filter: filter(sampler.mip_filter),
            level_bias: sampler.level_bias,
            level_range: sampler.level_range.map(|level| level.min(MOST_LEVEL)),
            border: sampler.border,
            reserved: [0; 12],
        };
        let mut handle = 0;
        // SAFETY: both descriptors are read during the call; there is no view.
        let code = unsafe { (table.texture_create)(&mut handle, &self.resource(), &how, ptr::null()) };
        self.driver.check("cuTexObjectCreate", code)?;
        Ok(Object { driver: self.driver, handle, destroy: table.texture_destroy, _array: self })
    }

    /// A surface object over it.
    pub(crate) fn surface(&self) -> Result<Object<'_>, DriverError> {
        let table = self.driver.image_table()?;
        let mut handle = 0;
        // SAFETY: the descriptor is read during the call.
        let code = unsafe { (table.surface_create)(&mut handle, &self.resource()) };
        self.driver.check("cuSurfObjectCreate", code)?;
        Ok(Object { driver: self.driver, handle, destroy: table.surface_destroy, _array: self })
    }

    /// Binds a texture variable of a module to it.
    pub(crate) fn bind_texture(
        &self,
        module: &Module<'_>,
        name: &str,
        sampler: &Sampler,
        normalized_floats: bool,
    ) -> Result<(), DriverError> {
        let table = self.driver.image_table()?;
        let name = c_string(name)?;
        let mut reference = ptr::null_mut();
        let check = |what, code| self.driver.check(what, code);
        // SAFETY: the module is loaded and the name ends with a NUL; then the reference is the module's, and every
        // pointer is to a value that lives during the call.
        unsafe {
            check("cuModuleGetTexRef", (table.texture_variable)(&mut reference, module.handle, name.as_ptr()))?;
            for (dimension, mode) in (0..).zip(sampler.address) {
                let code = (table.reference_address)(reference, dimension, address(mode));
                check("cuTexRefSetAddressMode", code)?;
            }
            let code = (table.reference_filter)(reference, filter(sampler.filter));
            check("cuTexRefSetFilterMode", code)?;
            let code = (table.reference_flags)(reference, flags(sampler, normalized_floats));
            check("cuTexRefSetFlags", code)?;
            let code = (table.reference_border)(reference, sampler.border.as_ptr());
            check("cuTexRefSetBorderColor", code)?;
            let code = match &self.storage {
                Storage::Array(handle) => (table.reference_array)(reference, *handle, OVERRIDE_FORMAT),
                Storage::Levels(handle) => {
                    let [low, high] = sampler.level_range.map(|level| level.min(MOST_LEVEL));
                    check("level filter", (table.reference_level_filter)(reference, filter(sampler.mip_filter)))?;
                    check("level bias", (table.reference_level_bias)(reference, sampler.level_bias))?;
                    check("level clamp", (table.reference_level_range)(reference, low, high))?;
                    (table.reference_levels)(reference, *handle, OVERRIDE_FORMAT)
                }
                Storage::Memory(..) => 1,
            };
            check("cuTexRefSetArray", code)
        }
    }

    /// Binds a surface variable of a module to it.
    pub(crate) fn bind_surface(&self, module: &Module<'_>, name: &str) -> Result<(), DriverError> {
        let table = self.driver.image_table()?;
        let name = c_string(name)?;
        let mut reference = ptr::null_mut();
        // SAFETY: the module is loaded and the name ends with a NUL.
        let code = unsafe { (table.surface_variable)(&mut reference, module.handle, name.as_ptr()) };
        self.driver.check("cuModuleGetSurfRef", code)?;
        let Storage::Array(array) = &self.storage else {
            return Err(DriverError { code: 1, message: "a surface has one level".into() });
        };
        // SAFETY: the reference is the module's, the array exists.
        let code = unsafe { (table.surface_array)(reference, *array, 0) };
        self.driver.check("cuSurfRefSetArray", code)
    }
}

impl Drop for Array<'_> {
    fn drop(&mut self) {
        let Ok(table) = self.driver.image_table() else { return };
        // SAFETY: the handle is an array's and is used nowhere else afterwards.
        let _ = unsafe {
            match &self.storage {
                Storage::Array(handle) => (table.array_destroy)(*handle),
                Storage::Levels(handle) => (table.levels_destroy)(*handle),
                Storage::Memory(..) => 0,
            }
        };
    }
}

/// A texture or surface object over an array.
pub(crate) struct Object<'a> {
    driver: &'a Driver,
    pub(crate) handle: Handle64,
    destroy: unsafe extern "C" fn(Handle64) -> Result32,
    _array: &'a Array<'a>,
}

impl Drop for Object<'_> {
    fn drop(&mut self) {
        // SAFETY: the function destroys objects of this kind; the handle is used nowhere else afterwards.
        let code = unsafe { (self.destroy)(self.handle) };
        let _ = self.driver.check("destroy", code);
    }
}
