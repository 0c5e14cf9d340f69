//! What a snapshot says about a job, from what the runtime has.

use super::Held;
use crate::Runtime;
use crate::seat::{Kind, PLACES, Record, slices};
use hetgpu_checkpoint::{Digest, Writer, wire};
use hetgpu_device::{
    AddressMode, Channel, Compare, DeviceError, Dimensions, Filter, Format, ImageDescription, ImageObject, PhysicalId,
    Sampler, Texels,
};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Texts of modules, each once.
#[derive(Default)]
pub(super) struct Texts {
    codes: Vec<wire::Code>,
    /// Their places, by the module's own.
    places: HashMap<usize, u32>,
    known: HashMap<Digest, u32>,
    /// Kept so that nothing else takes their places.
    modules: Vec<Arc<hetir::ir::Module>>,
}

impl Texts {
    /// Writes those of a device's modules that have not been written.
    pub(super) fn write(&mut self, record: &Record, writer: &mut Writer) -> hetgpu_checkpoint::Result<()> {
        for loaded in record.modules.values() {
            let place = Arc::as_ptr(&loaded.module).addr();
            if self.places.contains_key(&place) {
                continue;
            }
            let text = hetir::text::print(&loaded.module);
            let hetir = Digest::of(text.as_bytes());
            let code = match self.known.get(&hetir) {
                Some(&code) => code,
                None => {
                    let text = writer.blob(text.as_bytes())?;
                    self.codes.push(wire::Code { name: String::new(), image: None, text, hetir });
                    self.known.insert(hetir, self.codes.len() as u32 - 1);
                    self.codes.len() as u32 - 1
                }
            };
            self.places.insert(place, code);
            self.modules.push(Arc::clone(&loaded.module));
        }
        Ok(())
    }
}

/// The texels of an image, level by level.
pub(super) struct Levels {
    pub(super) device: usize,
    pub(super) contents: Vec<Vec<u8>>,
}

/// Texels of all images, device by device in the order of names.
pub(super) fn levels(held: &[Held]) -> Result<Vec<Levels>, DeviceError> {
    let mut all = Vec::new();
    for held in held {
        let queue = held.device.open_queue(0)?;
        for (_, picture) in pictures(&held.record) {
            let mut contents: Vec<Vec<u8>> = vec![Vec::new(); picture.description.levels as usize];
            for slice in slices(&picture.description) {
                let buffer = slice.buffer()?;
                slice.read(queue.as_ref(), picture.here, &buffer)?;
                contents[slice.level as usize].extend(buffer.to_vec());
            }
            all.push(Levels { device: held.index, contents });
        }
    }
    Ok(all)
}

fn pictures(record: &Record) -> Vec<(u64, crate::seat::Picture)> {
    let mut all: Vec<_> = record.images.iter().map(|(name, picture)| (name.0, *picture)).collect();
    all.sort_unstable_by_key(|(name, _)| *name);
    all
}

impl Runtime {
    /// Everything but contents. `levels` are those of `levels`, once they are written.
    pub(super) fn job_record(
        &self,
        held: &[Held],
        texts: &Texts,
        levels: &[(usize, Vec<wire::Blob>)],
        frozen: Duration,
    ) -> wire::Job {
        let mut job = wire::Job { manifest: self.manifest(frozen), ..wire::Job::default() };
        job.code.codes.clone_from(&texts.codes);
        let mut levels = levels.iter();
        for held in held {
            let device = held.index as u32;
            let own = |(&at, region): (&u64, &crate::seat::Region)| wire::Allocation {
                start: wire::Address(at),
                bytes: region.bytes,
                reserved: region.bytes,
                kind: match region.kind {
                    Kind::Own => wire::MemoryKind::Device,
                    Kind::Physical { .. } => wire::MemoryKind::Mapped,
                    Kind::Host(_) | Kind::Peer => wire::MemoryKind::Registered,
                },
                device,
                id: region.number,
                program: true,
                name: region.name.clone(),
                ..wire::Allocation::default()
            };
            job.memory.allocations.extend(held.record.regions.iter().map(own));
            // Physical memory itself, at the place of its contents.
            let apart = |(name, bulk): (&PhysicalId, &crate::seat::Bulk)| wire::Allocation {
                start: wire::Address(bulk.place),
                bytes: bulk.bytes,
                reserved: bulk.bytes,
                kind: wire::MemoryKind::Mapped,
                device,
                id: name.0,
                program: true,
                name: match bulk.shared {
                    Some(_) => "memory that other processes have too".into(),
                    None => "physical memory".into(),
                },
                ..wire::Allocation::default()
            };
            job.memory.allocations.extend(held.record.physical.iter().map(apart));
            let mut modules: Vec<_> = held.record.modules.iter().collect();
            modules.sort_unstable_by_key(|(name, _)| name.0);
            job.code.modules.extend(modules.into_iter().map(|(name, loaded)| wire::Module {
                handle: wire::Handle(name.0),
                session: device.into(),
                code: texts.places.get(&Arc::as_ptr(&loaded.module).addr()).copied().unwrap_or(0),
                globals: loaded.globals.iter().map(|&at| wire::Address(at)).collect(),
                ..wire::Module::default()
            }));
            for (id, picture) in pictures(&held.record) {
                // While the job runs there are none.
                let contents = levels.next().map(|(_, blobs)| blobs.clone()).unwrap_or_default();
                let (description, levels) = (array(&picture.description), picture.description.levels);
                job.texels.storages.push(wire::Storage { id, device, description, levels, contents });
            }
            let seen = |(&handle, object): (&u64, &ImageObject)| object_of(handle, device, object);
            job.texels.objects.extend(held.record.objects.iter().map(seen));
            let Ok(state) = self.device(held.index) else { continue };
            for flight in state.flights.list() {
                let number = job.launches.len() as u64;
                job.frames.extend(flight.frames(number));
                job.launches.push(flight.describe(number, device));
            }
        }
        job
    }

    fn manifest(&self, frozen: Duration) -> wire::Manifest {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let program = text("/proc/self/cmdline");
        let names = self.control_entries();
        let note = |index: usize| {
            let state = self.device(index).ok()?;
            let caps = state.device.caps();
            Some(wire::DeviceNote {
                kind: names.get(index).map(|entry| entry.name.clone()).unwrap_or_default(),
                name: caps.name.clone(),
                uuid: caps.uuid,
                compute: [caps.compute.0, caps.compute.1],
                memory: caps.memory,
                used: state.seat.bytes(),
                multiprocessors: caps.multiprocessors,
            })
        };
        let mut settings: Vec<(String, String)> =
            std::env::vars().filter(|(name, _)| name.starts_with("HETGPU_")).collect();
        settings.sort();
        wire::Manifest {
            written_by: concat!("hetGPU ", env!("CARGO_PKG_VERSION")).into(),
            written_at: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            host: text("/proc/sys/kernel/hostname").trim().into(),
            process: std::process::id(),
            program: program.split_terminator('\0').map(str::to_owned).collect(),
            job: String::new(),
            devices: (0..self.device_count()).filter_map(note).collect(),
            settings,
            next_id: 0,
            frozen: frozen.as_micros() as u64,
        }
    }
}

/// Why a snapshot's contents cannot be put back into a job that went on, if they cannot.
pub(super) fn against_rewind(job: &wire::Job, held: &[Held]) -> Option<String> {
    if job.manifest.process != std::process::id() {
        return Some(format!("it is a snapshot of process {}", job.manifest.process));
    }
    if !job.launches.is_empty() {
        return Some("a kernel was under way when the snapshot was made, and the process has gone on".into());
    }
    if held.iter().any(|held| !held.device.heaps().is_empty()) {
        return Some("kernels have allocated memory, and what they hold is not in the snapshot".into());
    }
    for one in job.memory.allocations.iter().filter(|one| one.kind == wire::MemoryKind::Device) {
        let there = held.iter().find(|held| held.index as u32 == one.device);
        let region = there.and_then(|held| held.record.regions.get(&one.start.0));
        if region.is_none_or(|region| region.number != one.id || region.bytes != one.bytes) {
            return Some(format!("memory of {} bytes at {} has been freed since the snapshot", one.bytes, one.start));
        }
    }
    for one in job.memory.allocations.iter().filter(|one| one.start.0 >= PLACES) {
        let there = held.iter().find(|held| held.index as u32 == one.device);
        let same = |held: &Held| held.record.physical.values().any(|bulk| bulk.place == one.start.0);
        if !there.is_some_and(same) {
            return Some("memory apart from its addresses has been released since the snapshot".into());
        }
    }
    for one in &job.texels.storages {
        let there = held.iter().find(|held| held.index as u32 == one.device);
        if there.is_none_or(|held| !held.record.images.keys().any(|name| name.0 == one.id)) {
            return Some("an array has been destroyed since the snapshot".into());
        }
    }
    None
}

fn channel(channel: Channel) -> wire::Channel {
    match channel {
        Channel::U8 => wire::Channel::U8,
        Channel::U16 => wire::Channel::U16,
        Channel::U32 => wire::Channel::U32,
        Channel::S8 => wire::Channel::S8,
        Channel::S16 => wire::Channel::S16,
        Channel::S32 => wire::Channel::S32,
        Channel::F16 => wire::Channel::F16,
        Channel::F32 => wire::Channel::F32,
    }
}

fn array(description: &ImageDescription) -> wire::ArrayDescription {
    let ImageDescription { format: Format { channel: kind, channels }, dimensions, extent, layers, .. } = *description;
    wire::ArrayDescription {
        channel: channel(kind),
        channels,
        dimensions: match dimensions {
            Dimensions::One => wire::Dimensions::One,
            Dimensions::Two => wire::Dimensions::Two,
            Dimensions::Three => wire::Dimensions::Three,
            Dimensions::Cube => wire::Dimensions::Cube,
        },
        extent,
        layers,
        layered: layers > 1,
        writable: description.writable,
        ..wire::ArrayDescription::default()
    }
}

fn seen(texels: &Texels) -> wire::Seen {
    match texels {
        // All of an image, from a level on: the program's own format and extents.
        Texels::Image { image, first_level } => wire::Seen::Part {
            storage: image.0,
            channel: wire::Channel::default(),
            channels: 0,
            levels: [*first_level, 0],
            layers: [0, 0],
        },
        Texels::View(view) => wire::Seen::Part {
            storage: view.image.0,
            channel: channel(view.format.channel),
            channels: view.format.channels,
            levels: [view.levels.0, view.levels.1],
            layers: [view.layers.0, view.layers.1],
        },
        Texels::Linear(linear) => wire::Seen::Linear {
            at: wire::Address(linear.at),
            channel: channel(linear.format.channel),
            channels: linear.format.channels,
            width: linear.width,
            height: linear.height,
            pitch: linear.pitch,
        },
    }
}

fn sampler(sampler: &Sampler) -> wire::Sampler {
    let address = |mode| match mode {
        AddressMode::Clamp => 0,
        AddressMode::Border => 1,
        AddressMode::Wrap => 2,
        AddressMode::Mirror => 3,
    };
    wire::Sampler {
        address: sampler.address.map(address),
        linear: sampler.filter == Filter::Linear,
        linear_levels: sampler.mip_filter == Filter::Linear,
        normalized: sampler.normalized,
        border: sampler.border,
        level_bias: sampler.level_bias,
        level_range: sampler.level_range,
        compare: match sampler.compare {
            Compare::Off => 0,
            Compare::Never => 1,
            Compare::Less => 2,
            Compare::Equal => 3,
            Compare::LessEqual => 4,
            Compare::Greater => 5,
            Compare::NotEqual => 6,
            Compare::GreaterEqual => 7,
            Compare::Always => 8,
        },
    }
}

fn object_of(handle: u64, device: u32, object: &ImageObject) -> wire::TexelObject {
    let of = |texture, texels, sampler, normalized_floats| wire::TexelObject {
        handle: wire::Handle(handle),
        device,
        texture,
        texels,
        sampler,
        normalized_floats,
        ..wire::TexelObject::default()
    };
    match object {
        ImageObject::Texture { texels, sampler: how, normalized_floats } => {
            of(true, seen(texels), sampler(how), *normalized_floats)
        }
        ImageObject::Sampler(how) => of(true, wire::Seen::Nothing, sampler(how), false),
        ImageObject::Surface(texels) => of(false, seen(texels), wire::Sampler::default(), false),
    }
}
