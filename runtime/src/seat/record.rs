//! What was asked of a device and still holds: all that another device must be told to take its place.

use hetgpu_device::{
    Access, DeviceError, ErrorKind, HostSpan, ImageDescription, ImageId, ImageObject, ImagePlace, ImageView,
    LoadedModule, NumberMap, PHYSICAL_GRANULARITY, PhysicalId, Place, Texels, Work,
};
use hetir::ir::Module;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// What lies at an address.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// The device's own memory.
    Own,
    /// The host's.
    Host(HostSpan),
    /// Physical memory, and what may be done with it there.
    Physical { memory: PhysicalId, access: Access },
    /// A peer's.
    Peer,
}

#[derive(Clone, Debug)]
pub(crate) struct Region {
    /// Names it and no other, also where another lies at its address later.
    pub(crate) number: u64,
    pub(crate) bytes: u64,
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

/// Physical memory, which is there as long as somebody names it or it is mapped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bulk {
    /// What the present device calls it.
    pub(crate) here: PhysicalId,
    pub(crate) bytes: u64,
    /// Where its contents lie in snapshots: beyond all addresses, and nowhere near other memory's, ever.
    pub(crate) place: u64,
    pub(crate) named: bool,
    /// The number of the file by which other processes have it, or may.
    pub(crate) shared: Option<u64>,
}

/// A range that was made physical memory where it lay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Exposure {
    pub(crate) bytes: u64,
    /// The number of the file that it is.
    pub(crate) file: u64,
}

/// Where the places of physical memory begin.
pub(crate) const PLACES: u64 = 1 << 61;

/// A module, and what the present device calls it.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    pub(crate) module: Arc<Module>,
    pub(crate) globals: Arc<[u64]>,
    pub(crate) here: LoadedModule,
}

/// An image, and what the present device calls it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Picture {
    pub(crate) description: ImageDescription,
    pub(crate) here: ImageId,
}

#[derive(Clone, Default, Debug)]
pub(crate) struct Record {
    pub(crate) regions: BTreeMap<u64, Region>,
    pub(crate) physical: BTreeMap<PhysicalId, Bulk>,
    pub(crate) exposed: BTreeMap<u64, Exposure>,
    pub(crate) modules: NumberMap<LoadedModule, Loaded>,
    pub(crate) images: HashMap<ImageId, Picture>,
    pub(crate) objects: BTreeMap<u64, ImageObject>,
    /// Of what is named here. Names are never used again, whatever device they were made on.
    next: u64,
    /// Bytes of places that were given out.
    placed: u64,
}

fn unknown(what: &str) -> DeviceError {
    DeviceError::new(ErrorKind::InvalidRequest, format!("there is no such {what}"))
}

impl Record {
    pub(crate) fn name(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Notes what lies at an address now.
    pub(crate) fn put(&mut self, at: u64, bytes: u64, name: &str, kind: Kind) {
        let region = Region { number: self.name(), bytes, name: name.to_owned(), kind };
        self.regions.insert(at, region);
    }

    pub(crate) fn module(&self, module: LoadedModule) -> Result<LoadedModule, DeviceError> {
        let known = self.modules.get(&module);
        known
            .map(|known| known.here)
            .ok_or_else(|| DeviceError::new(ErrorKind::InvalidImage, "the module is not loaded"))
    }

    pub(crate) fn image(&self, image: ImageId) -> Result<ImageId, DeviceError> {
        self.images.get(&image).map(|known| known.here).ok_or_else(|| unknown("image"))
    }

    pub(crate) fn memory(&self, memory: PhysicalId) -> Result<Bulk, DeviceError> {
        self.physical.get(&memory).copied().ok_or_else(|| unknown("physical memory"))
    }

    /// Notes physical memory.
    pub(crate) fn bulk(&mut self, here: PhysicalId, bytes: u64, shared: Option<u64>) -> PhysicalId {
        let name = PhysicalId(self.name());
        let place = PLACES + self.placed;
        self.placed += bytes.next_multiple_of(PHYSICAL_GRANULARITY);
        self.physical.insert(name, Bulk { here, bytes, place, named: true, shared });
        name
    }

    /// Forgets physical memory that nobody names and that is mapped nowhere; what the present device calls it.
    pub(crate) fn drop_bulk(&mut self, memory: PhysicalId) -> Option<PhysicalId> {
        let mapped = |region: &Region| matches!(region.kind, Kind::Physical { memory: here, .. } if here == memory);
        let gone = self.physical.get(&memory).is_some_and(|bulk| !bulk.named) && !self.regions.values().any(mapped);
        if gone { self.physical.remove(&memory).map(|bulk| bulk.here) } else { None }
    }

    /// An object as the present device is told of it.
    pub(crate) fn object(&self, object: &ImageObject) -> Result<ImageObject, DeviceError> {
        object_with(object, |image| self.image(image))
    }

    /// Work as the present device is told of it.
    pub(crate) fn work(&self, mut work: Work) -> Result<Work, DeviceError> {
        match &mut work {
            Work::Launch(launch) => launch.module = self.module(launch.module)?,
            Work::Copy(transfer) => {
                for place in [&mut transfer.to, &mut transfer.from] {
                    if let Place::Image(ImagePlace { image, .. }) = place {
                        *image = self.image(*image)?;
                    }
                }
            }
            Work::Fill(_) => {}
        }
        Ok(work)
    }

    /// The file that the memory of a region is which other processes have too.
    pub(crate) fn exposure_of(&self, at: u64) -> Option<u64> {
        let (&start, exposure) = self.exposed.range(..=at).next_back()?;
        (at - start < exposure.bytes).then_some(exposure.file)
    }

    /// The files of memory that other processes have, or may have.
    pub(crate) fn shared(&self) -> BTreeSet<u64> {
        let exposed = self.exposed.values().map(|exposure| exposure.file);
        exposed.chain(self.physical.values().filter_map(|bulk| bulk.shared)).collect()
    }

    /// Bytes of memory and images that the device gives.
    pub(crate) fn bytes(&self) -> u64 {
        let own = self.regions.values().filter(|region| matches!(region.kind, Kind::Own)).map(|region| region.bytes);
        let apart = self.physical.values().filter(|bulk| bulk.shared.is_none()).map(|bulk| bulk.bytes);
        own.chain(apart).chain(self.images.values().map(|picture| image_bytes(&picture.description))).sum()
    }
}

/// An object over the images that `image` gives for its own.
pub(crate) fn object_with(
    object: &ImageObject,
    image: impl Fn(ImageId) -> Result<ImageId, DeviceError>,
) -> Result<ImageObject, DeviceError> {
    let texels = |texels: Texels| {
        Ok::<_, DeviceError>(match texels {
            Texels::Image { image: of, first_level } => Texels::Image { image: image(of)?, first_level },
            Texels::View(view) => Texels::View(ImageView { image: image(view.image)?, ..view }),
            Texels::Linear(linear) => Texels::Linear(linear),
        })
    };
    Ok(match *object {
        ImageObject::Texture { texels: of, sampler, normalized_floats } => {
            ImageObject::Texture { texels: texels(of)?, sampler, normalized_floats }
        }
        ImageObject::Sampler(sampler) => ImageObject::Sampler(sampler),
        ImageObject::Surface(of) => ImageObject::Surface(texels(of)?),
    })
}

fn image_bytes(description: &ImageDescription) -> u64 {
    let ImageDescription { format, samples, levels, .. } = *description;
    let texel = format.texel_bytes() as u64 * u64::from(samples);
    let texels = |level| description.extents(level).into_iter().map(u64::from).fold(texel, u64::saturating_mul);
    (0..levels).map(texels).sum()
}
