//! Texture and surface objects.

use super::array::Storage;
use super::{Array, ArrayDescription, Levels};
use crate::handle::Handle;
use crate::session::Session;
use crate::{Error, Result, Runtime};
use hetgpu_device::{Device, Dimensions, Format, ImageCaps, ImageObject, ImageView, LinearImage, Sampler, Texels};
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What an object is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resource {
    Array(Handle<Array>),
    Levels(Handle<Levels>),
    Memory(LinearImage),
}

/// A part of an array that a texture sees: levels and layers, first and last, and its format where that is another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct View {
    pub format: Option<Format>,
    pub levels: (u32, u32),
    pub layers: (u32, u32),
}

/// A texture as asked for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct TextureRequest {
    pub resource: Resource,
    pub sampler: Sampler,
    pub normalized_floats: bool,
    pub view: Option<View>,
}

/// What an object keeps alive, and what it is to the device.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) texels: Texels,
    pub(super) storage: Option<Arc<Storage>>,
}

/// An object that the device knows. Its handle goes when nobody holds it, and its texels after that.
pub(super) struct Bound {
    device: Arc<dyn Device>,
    pub(super) session: u64,
    pub(super) handle: u64,
    is_texture: bool,
    /// What the interface wants to remember.
    note: Box<dyn Any + Send + Sync>,
    _storage: Option<Arc<Storage>>,
}

impl Drop for Bound {
    fn drop(&mut self) {
        self.device.unbind(self.handle);
    }
}

impl Resource {
    /// The array's description and number of levels.
    pub fn described(self, runtime: &Runtime) -> Result<Option<(ArrayDescription, u32)>> {
        Ok(match self {
            Self::Array(handle) => Some((runtime.images.arrays.get(handle)?.description, 1)),
            Self::Levels(handle) => {
                let levels = runtime.images.levels.get(handle)?;
                Some((levels.description, levels.count))
            }
            Self::Memory(_) => None,
        })
    }

    /// All of it, or the part that a view names.
    pub(super) fn target(self, runtime: &Runtime, session: &Session, view: Option<View>) -> Result<Target> {
        let (of, storage, first, count, description) = match self {
            Self::Memory(linear) => {
                check_linear(&linear, &session.device.device.caps().images.unwrap_or_default())?;
                return Ok(Target { texels: Texels::Linear(linear), storage: None });
            }
            Self::Array(handle) => {
                let array = runtime.images.arrays.get(handle)?;
                (array.session.device.index, array.storage.clone(), array.level, 1, array.description)
            }
            Self::Levels(handle) => {
                let levels = runtime.images.levels.get(handle)?;
                (levels.session.device.index, levels.storage.clone(), 0, levels.count, levels.description)
            }
        };
        if of != session.device.index {
            return Err(Error::invalid("an array of another device"));
        }
        let view = view.unwrap_or(View { format: None, levels: (0, count - 1), layers: (0, description.layers - 1) });
        let part = |(first, last): (u32, u32), all: u32, what: &str| match first <= last && last < all {
            true => Ok((first, last - first + 1)),
            false => Err(Error::invalid(format!("{what} {first} to {last} of {all}"))),
        };
        let levels = part(view.levels, count, "levels")?;
        let layers = part(view.layers, description.layers, "layers")?;
        if description.dimensions == Dimensions::Cube && (layers.0 % 6 != 0 || layers.1 % 6 != 0) {
            return Err(Error::invalid("a part of a cube's faces"));
        }
        let format = view.format.unwrap_or(description.format);
        if format.texel_bytes() != description.format.texel_bytes() {
            return Err(Error::invalid("a view with texels of another size"));
        }
        let levels = (first + levels.0, levels.1);
        let texels = Texels::View(ImageView { image: storage.image, format, levels, layers });
        Ok(Target { texels, storage: Some(storage) })
    }
}

/// Whether texels in memory are where and as many as a device allows.
fn check_linear(linear: &LinearImage, caps: &ImageCaps) -> Result<()> {
    let wrong = |text: String| Err(Error::InvalidValue(text));
    let LinearImage { format, at, width, height, pitch } = *linear;
    // The hardware takes longer lines than it says.
    let line = pitch == 0;
    let most = if line { [u32::MAX, 1] } else { [caps.extent_2d_linear[0], caps.extent_2d_linear[1]] };
    if !caps.linear {
        return Err(Error::NotSupported("this device has no textures in plain memory".into()));
    }
    if width == 0 || height == 0 || width > most[0] || height > most[1] {
        return wrong(format!("texels {width} by {height} in memory, at most {most:?}"));
    }
    if at == 0 || !at.is_multiple_of(caps.alignment.into()) {
        return wrong(format!("texels at {at:#x}, which is no multiple of {}", caps.alignment));
    }
    let row = u64::from(width) * format.texel_bytes() as u64;
    if !line && (pitch < row || !pitch.is_multiple_of(caps.pitch_alignment.into())) {
        return wrong(format!("a pitch of {pitch} for rows of {row} bytes; a multiple of {}", caps.pitch_alignment));
    }
    if pitch > caps.extent_2d_linear[2].into() {
        return wrong(format!("a pitch of {pitch}, at most {}", caps.extent_2d_linear[2]));
    }
    Ok(())
}

impl Runtime {
    /// Tells the device of an object.
    pub(super) fn bind(
        &self,
        session: &Session,
        object: &ImageObject,
        storage: Option<Arc<Storage>>,
        note: Box<dyn Any + Send + Sync>,
    ) -> Result<Bound> {
        let device = session.device.device.clone();
        let chooses = device.caps().images.is_some_and(|images| images.chooses_handles);
        let wanted = chooses.then(|| self.images.next_handle.fetch_add(1, Ordering::Relaxed));
        let handle = device.bind(wanted, object)?;
        let is_texture = matches!(object, ImageObject::Texture { .. });
        Ok(Bound { device, session: session.id, handle, is_texture, note, _storage: storage })
    }

    fn keep(&self, session: &Session, bound: Bound) -> u64 {
        let handle = bound.handle;
        self.images.objects().insert((session.device.index, handle), Arc::new(bound));
        handle
    }

    /// A texture of the current context; its handle is what kernels name it by.
    pub fn create_texture(&self, request: TextureRequest, note: impl Any + Send + Sync) -> Result<u64> {
        let session = self.session()?;
        let TextureRequest { resource, sampler, normalized_floats, view } = request;
        let Target { texels, storage } = resource.target(self, &session, view)?;
        let object = ImageObject::Texture { texels, sampler, normalized_floats };
        let bound = self.bind(&session, &object, storage, Box::new(note))?;
        Ok(self.keep(&session, bound))
    }

    /// A surface of the current context over an array.
    pub fn create_surface(&self, handle: Handle<Array>, note: impl Any + Send + Sync) -> Result<u64> {
        let session = self.session()?;
        let Target { texels, storage } = Resource::Array(handle).target(self, &session, None)?;
        let bound = self.bind(&session, &ImageObject::Surface(texels), storage, Box::new(note))?;
        Ok(self.keep(&session, bound))
    }

    /// What the interface remembers of an object of the current context's device.
    pub fn image_object<T: Any + Clone>(&self, handle: u64, is_texture: bool) -> Result<T> {
        let session = self.session()?;
        let objects = self.images.objects();
        let object = objects.get(&(session.device.index, handle)).filter(|object| object.is_texture == is_texture);
        let note = object.and_then(|object| object.note.downcast_ref::<T>()).cloned();
        note.ok_or_else(|| {
            let what = if is_texture { "texture object" } else { "surface object" };
            Error::invalid(format!("{handle:#x} is no {what}"))
        })
    }

    /// Destroys an object, if there is one, after all work that may use it.
    pub fn destroy_image_object(&self, handle: u64, is_texture: bool) -> Result<()> {
        let session = self.session()?;
        let key = (session.device.index, handle);
        let mut objects = self.images.objects();
        if objects.get(&key).is_none_or(|object| object.is_texture != is_texture) {
            return Ok(());
        }
        let object = objects.remove(&key);
        drop(objects);
        session.drain();
        drop(object);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hetgpu_device::Channel;

    #[test]
    fn texels_in_memory_are_aligned_and_bounded() {
        let caps = ImageCaps { linear: true, ..ImageCaps::default() };
        let line = LinearImage {
            format: Format { channel: Channel::F32, channels: 1 },
            at: 0x1000,
            width: 16,
            height: 1,
            pitch: 0,
        };
        assert_eq!(check_linear(&line, &caps), Ok(()));
        for wrong in [
            LinearImage { at: 0x1020, ..line },
            LinearImage { at: 0, ..line },
            LinearImage { width: 0, ..line },
            LinearImage { pitch: 32, ..line },
            LinearImage { pitch: 68, ..line },
            LinearImage { pitch: 64, height: 65_001, ..line },
            LinearImage { pitch: 2_097_152, ..line },
        ] {
            assert!(check_linear(&wrong, &caps).is_err(), "{wrong:?}");
        }
        assert_eq!(check_linear(&LinearImage { pitch: 64, height: 4, ..line }, &caps), Ok(()));
    }
}
