//! The images of a device whose kernels are executed by the interpreter, and the handles that kernels name them by.

use crate::{
    DeviceError, ErrorKind, ImageDescription, ImageId, ImageObject, ImagePlace, ImageView, LinearImage, Texels,
};
use hetir::interp::texture::{Image, Kind, Object, Plane, Texture};
use std::collections::HashMap;

/// The first handle that is chosen here.
const FIRST_HANDLE: u64 = 0x7e00_0000_0001;

/// What images and objects there are. Texels lie row by row in memory that the device sees to.
#[derive(Debug)]
pub struct Images {
    images: HashMap<ImageId, Image>,
    objects: Vec<Object>,
    next_image: u64,
    next_handle: u64,
}

impl Default for Images {
    fn default() -> Self {
        Self { images: HashMap::new(), objects: Vec::new(), next_image: 1, next_handle: FIRST_HANDLE }
    }
}

fn wrong(text: &str) -> DeviceError {
    DeviceError::new(ErrorKind::InvalidRequest, text)
}

impl Images {
    /// What all handles stand for.
    pub fn objects(&self) -> &[Object] {
        &self.objects
    }

    /// Makes an image; `place` gives the address of so many zeroed bytes.
    ///
    /// # Errors
    /// What `place` says.
    pub fn create(
        &mut self,
        description: &ImageDescription,
        place: impl FnOnce(u64) -> Result<u64, DeviceError>,
    ) -> Result<ImageId, DeviceError> {
        let ImageDescription { format, extent, layers, levels, samples, .. } = *description;
        let at = |base| Image::packed(base, format.channel, format.channels, extent, layers, samples, levels);
        let base = place(at(0).packed_bytes())?;
        let id = ImageId(self.next_image);
        self.next_image += 1;
        self.images.insert(id, at(base));
        Ok(id)
    }

    /// Forgets an image; the address of its bytes.
    pub fn destroy(&mut self, image: ImageId) -> Option<u64> {
        self.images.remove(&image)?.levels.first().map(|level| level.address)
    }

    fn image(&self, image: ImageId) -> Result<&Image, DeviceError> {
        self.images.get(&image).ok_or_else(|| wrong("there is no such image"))
    }

    /// Where texels of a row lie.
    ///
    /// # Errors
    /// There are no such texels.
    pub fn address(&self, place: ImagePlace, bytes: usize) -> Result<u64, DeviceError> {
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
            Texels::View(view) => self.view(&view),
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

    fn view(&self, view: &ImageView) -> Result<Image, DeviceError> {
        let image = self.image(view.image)?;
        if view.format.texel_bytes() != image.texel_bytes() {
            return Err(wrong("a view with texels of another size"));
        }
        let (first_level, levels) = view.levels;
        let (first_layer, layers) = view.layers;
        let levels = first_level.checked_add(levels).filter(|_| levels != 0);
        let levels = levels.and_then(|end| image.levels.get(first_level as usize..end as usize));
        let levels = levels.ok_or_else(|| wrong("the image has no such level"))?;
        if layers == 0 || first_layer.checked_add(layers).is_none_or(|end| end > image.layers) {
            return Err(wrong("the image has no such layer"));
        }
        let within = |level: &Plane| Plane { address: level.address + u64::from(first_layer) * level.slice, ..*level };
        let [width, height, depth] = image.extents(first_level as usize);
        let (channel, channels) = (view.format.channel, view.format.channels);
        let levels = levels.iter().map(within).collect();
        Ok(Image { channel, channels, width, height, depth, layers, levels, ..*image })
    }

    /// Gives an object a handle, the one named or a new one.
    ///
    /// # Errors
    /// The handle is taken, or the object refers to what there is not.
    pub fn bind(&mut self, handle: Option<u64>, object: &ImageObject) -> Result<u64, DeviceError> {
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

    /// Takes a handle back.
    pub fn unbind(&mut self, handle: u64) {
        self.objects.retain(|object| object.handle != handle);
    }
}
