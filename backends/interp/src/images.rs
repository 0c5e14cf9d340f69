//! Images and the handles that kernels name them by.
//!
//! An image lies in the device's memory at an address that no pointer of a program has.

use hetgpu_device::{DeviceError, ErrorKind, ImageDescription, ImageId, ImageObject, ImagePlace, LinearImage, Texels};
use hetir::interp::Arena;
use hetir::interp::texture::{Image, Kind, Object, Plane, Texture};
use std::collections::HashMap;

/// Where images lie: beyond the addresses that processors have.
const FIRST_ADDRESS: u64 = 0xff00_0000_0000_0000;
/// Between two images.
const GAP: u64 = 1 << 20;
/// The first handle that is chosen here.
const FIRST_HANDLE: u64 = 0x7e00_0000_0001;

pub(crate) struct Images {
    images: HashMap<ImageId, Image>,
    objects: Vec<Object>,
    next_image: u64,
    next_address: u64,
    next_handle: u64,
}

impl Default for Images {
    fn default() -> Self {
        Self {
            images: HashMap::new(),
            objects: Vec::new(),
            next_image: 1,
            next_address: FIRST_ADDRESS,
            next_handle: FIRST_HANDLE,
        }
    }
}

fn wrong(text: &str) -> DeviceError {
    DeviceError::new(ErrorKind::InvalidRequest, text)
}

impl Images {
    /// What all handles stand for.
    pub(crate) fn objects(&self) -> &[Object] {
        &self.objects
    }

    pub(crate) fn create(
        &mut self,
        arena: &mut Arena,
        description: &ImageDescription,
        zeroed: impl FnOnce(u64) -> Result<Vec<u8>, DeviceError>,
    ) -> Result<ImageId, DeviceError> {
        let ImageDescription { format, extent, layers, levels, samples, .. } = *description;
        let base = self.next_address;
        let image = Image::packed(base, format.channel, format.channels, extent, layers, samples, levels);
        let bytes = image.packed_bytes();
        let end = base.checked_add(bytes).and_then(|end| end.checked_add(GAP));
        let end = end.ok_or_else(|| DeviceError::new(ErrorKind::OutOfMemory, "no addresses for an image"))?;
        if !arena.map(base, "an image", zeroed(bytes)?) {
            return Err(wrong("there is memory where the image would lie"));
        }
        self.next_address = end.next_multiple_of(GAP);
        let id = ImageId(self.next_image);
        self.next_image += 1;
        self.images.insert(id, image);
        Ok(id)
    }

    pub(crate) fn destroy(&mut self, arena: &mut Arena, image: ImageId) {
        if let Some(base) = self.images.remove(&image).and_then(|image| image.levels.first().map(|level| level.address))
        {
            arena.unmap(base);
        }
    }

    fn image(&self, image: ImageId) -> Result<&Image, DeviceError> {
        self.images.get(&image).ok_or_else(|| wrong("there is no such image"))
    }

    /// Where texels of a row lie.
    pub(crate) fn address(&self, place: ImagePlace, bytes: usize) -> Result<u64, DeviceError> {
        let image = self.image(place.image)?;
        let plane = image.levels.get(place.level as usize).ok_or_else(|| wrong("the image has no such level"))?;
        let [width, height, depth] = image.extents(place.level as usize);
        let texel = image.texel_bytes() * image.samples as usize;
        let [x, y, z] = place.origin;
        let fits = bytes.is_multiple_of(texel)
            && bytes / texel <= width.saturating_sub(x) as usize
            && y < height
            && u64::from(z) < u64::from(depth) * u64::from(image.layers);
        match fits {
            true => {
                Ok(plane.address + u64::from(z) * plane.slice + u64::from(y) * plane.row + u64::from(x) * texel as u64)
            }
            false => Err(wrong("texels beyond the image")),
        }
    }

    fn texels(&self, texels: &Texels) -> Result<Image, DeviceError> {
        match *texels {
            Texels::Image { image, first_level } => {
                let image = self.image(image)?;
                let levels = image.levels.get(first_level as usize..).filter(|levels| !levels.is_empty());
                let levels = levels.ok_or_else(|| wrong("the image has no such level"))?.to_vec();
                let [width, height, depth] = image.extents(first_level as usize);
                Ok(Image { width, height, depth, levels, ..image.clone() })
            }
            Texels::Linear(LinearImage { format, at, width, height, pitch }) => {
                let row = u64::from(width) * format.texel_bytes() as u64;
                if width == 0 || height == 0 || (height > 1 && pitch < row) {
                    return Err(wrong("texels that overlap, or none"));
                }
                let plane = Plane { address: at, row: pitch, slice: pitch.saturating_mul(height.into()) };
                let (channel, channels, levels) = (format.channel, format.channels, vec![plane]);
                Ok(Image { channel, channels, width, height, depth: 1, layers: 1, samples: 1, levels })
            }
        }
    }

    pub(crate) fn bind(&mut self, handle: Option<u64>, object: &ImageObject) -> Result<u64, DeviceError> {
        let kind = match object {
            ImageObject::Texture { texels, sampler, normalized_floats } => Kind::Texture(Texture {
                image: self.texels(texels)?,
                sampler: *sampler,
                normalized_floats: *normalized_floats,
            }),
            ImageObject::Sampler(sampler) => Kind::Sampler(*sampler),
            ImageObject::Surface(texels) => Kind::Surface(self.texels(texels)?),
        };
        let taken = |handle: u64| self.objects.iter().any(|object| object.handle == handle);
        let handle = match handle {
            Some(0) => return Err(wrong("0 is no handle")),
            Some(handle) if taken(handle) => return Err(wrong("the handle is bound already")),
            Some(handle) => handle,
            None => {
                while taken(self.next_handle) {
                    self.next_handle += 1;
                }
                self.next_handle += 1;
                self.next_handle - 1
            }
        };
        self.objects.push(Object { handle, kind });
        Ok(handle)
    }

    pub(crate) fn unbind(&mut self, handle: u64) {
        self.objects.retain(|object| object.handle != handle);
    }
}
