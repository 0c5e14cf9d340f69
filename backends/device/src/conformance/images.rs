use super::bench::{
    Bench, Kernels, Params, TEXTURES, bytes_of, host, launch, noise, numbers_of, refused, same, same_numbers,
};
use super::{Check, Stop, Verdict, checks, ensure};
use crate::{
    AddressMode, Channel, Dimensions, ErrorKind, Filter, Format, HostBuffer, ImageDescription, ImageId, ImageObject,
    ImagePlace, ImageView, Launch, LinearImage, Place, Sampler, Shape, Texels, Transfer, Work,
};

checks! {
    devices_without_images_say_so
    integers_of_every_format_are_read
    numbers_of_every_format_are_read
    integers_are_read_as_fractions
    one_dimension
    three_dimensions
    layers
    levels
    a_texture_begins_at_a_level
    a_view_is_a_part_in_another_format
    parts_are_copied
    images_are_copied_to_images
    device_memory_is_copied_to_images
    nothing_is_copied_beyond_an_image
    surfaces_are_written
    surfaces_of_levels_are_written
    textures_of_memory
    texels_around_a_place_are_mixed
    places_beyond_an_image
    samplers_of_their_own
    handles_are_given
    handles_are_chosen
    wrong_images_are_refused
    too_large_images_are_refused
    images_come_and_go
}

const fn format(channel: Channel, channels: u8) -> Format {
    Format { channel, channels }
}

const WORD: Format = format(Channel::U32, 1);
const NUMBER: Format = format(Channel::F32, 1);

fn ready(bench: &Bench) -> Result<Kernels<'_>, Stop> {
    bench.needs(bench.caps().images.is_some(), "images")?;
    bench.load(TEXTURES)
}

/// An image of a trial; it goes with the trial.
struct Pixels<'b> {
    bench: &'b Bench,
    id: ImageId,
    description: ImageDescription,
}

impl Drop for Pixels<'_> {
    fn drop(&mut self) {
        self.bench.device.destroy_image(self.id);
    }
}

/// A handle of a trial.
struct Handle<'b> {
    bench: &'b Bench,
    value: u64,
}

impl Drop for Handle<'_> {
    fn drop(&mut self) {
        self.bench.device.unbind(self.value);
    }
}

impl<'b> Pixels<'b> {
    fn new(bench: &'b Bench, description: ImageDescription) -> Result<Self, Stop> {
        Ok(Self { bench, id: bench.device.create_image(&description)?, description })
    }

    fn place(&self, level: u32, origin: [u32; 3]) -> Place {
        Place::Image(ImagePlace { image: self.id, level, origin })
    }

    /// The rows of a whole level.
    fn shape(&self, level: u32) -> Shape {
        let [width, rows, slices] = self.description.extents(level).map(u64::from);
        Shape::packed(width * self.description.format.texel_bytes() as u64, rows, slices)
    }

    fn write(&self, level: u32, data: &[u8]) -> Verdict {
        let (to, shape) = (self.place(level, [0; 3]), self.shape(level));
        ensure!(data.len() as u64 == shape.row * shape.rows * shape.slices, "the trial's own data is too short");
        let from = Place::Host(HostBuffer::from(data.to_vec()).span());
        self.bench.run(Work::Copy(Transfer { to, from, shape }))
    }

    fn read(&self, level: u32) -> Result<Vec<u8>, Stop> {
        let (from, shape) = (self.place(level, [0; 3]), self.shape(level));
        let buffer = host((shape.row * shape.rows * shape.slices) as usize)?;
        self.bench.run(Work::Copy(Transfer { to: Place::Host(buffer.span()), from, shape }))?;
        Ok(buffer.to_vec())
    }

    fn texels(&self, first_level: u32) -> Texels {
        Texels::Image { image: self.id, first_level }
    }
}

fn bind<'b>(bench: &'b Bench, object: &ImageObject) -> Result<Handle<'b>, Stop> {
    let value = bench.device.bind(None, object)?;
    ensure!(value != 0, "a handle of 0");
    Ok(Handle { bench, value })
}

fn texture(texels: Texels) -> ImageObject {
    ImageObject::Texture { texels, sampler: Sampler::default(), normalized_floats: false }
}

/// What a kernel with a thread for each texel leaves: four values a thread.
fn seen(bench: &Bench, kernels: &Kernels<'_>, kernel: &str, handle: u64, block: [u32; 3]) -> Result<Vec<u32>, Stop> {
    seen_with(bench, kernels, kernel, block, |params, out| params.u64(handle).u64(out))
}

fn seen_with(
    bench: &Bench,
    kernels: &Kernels<'_>,
    kernel: &str,
    block: [u32; 3],
    params: impl FnOnce(Params, u64) -> Params,
) -> Result<Vec<u32>, Stop> {
    let threads = block.iter().product::<u32>() as usize;
    let out = bench.map(threads as u64 * 16)?;
    let description = kernels.launch(kernel, params(Params::new(), out.at))?;
    bench.run(launch(Launch { block, ..description }))?;
    bench.read_numbers(out.at, threads * 4)
}

/// The first of each thread's four values.
fn firsts(values: &[u32]) -> Vec<u32> {
    values.chunks_exact(4).map(|four| four[0]).collect()
}

fn devices_without_images_say_so(bench: &Bench) -> Verdict {
    if bench.caps().images.is_some() {
        return Err(Stop::Skipped("the device has images".into()));
    }
    let description = ImageDescription::new(WORD, Dimensions::Two, [4, 4, 1]);
    let unsupported = &[ErrorKind::NotSupported];
    refused("an image", bench.device.create_image(&description), unsupported)?;
    refused("a sampler", bench.device.bind(None, &ImageObject::Sampler(Sampler::default())), unsupported)
}

/// The present channels of what a kernel saw of a 5 by 3 image.
fn every_texel(
    bench: &Bench,
    kernels: &Kernels<'_>,
    kernel: &str,
    format: Format,
    data: &[u8],
) -> Result<Vec<u32>, Stop> {
    let image = Pixels::new(bench, ImageDescription::new(format, Dimensions::Two, [5, 3, 1]))?;
    image.write(0, data)?;
    same(&format!("{format:?} read back"), &image.read(0)?, data)?;
    let handle = bind(bench, &texture(image.texels(0)))?;
    let values = seen(bench, kernels, kernel, handle.value, [5, 3, 1])?;
    Ok(values.chunks_exact(4).flat_map(|four| four[..usize::from(format.channels)].to_vec()).collect())
}

fn integers_of_every_format_are_read(bench: &Bench) -> Verdict {
    let kernels = ready(bench)?;
    for channel in [Channel::U8, Channel::S8, Channel::U16, Channel::S16, Channel::U32, Channel::S32] {
        for channels in [1, 2, 4] {
            let format = format(channel, channels);
            let data = noise(u32::from(channels), 15 * format.texel_bytes());
            let want = data.chunks_exact(channel.bytes()).map(|bytes| match (channel, bytes) {
                (Channel::U8, &[a]) => u32::from(a),
                (Channel::S8, &[a]) => i32::from(a as i8) as u32,
                (Channel::U16, &[a, b]) => u32::from(u16::from_le_bytes([a, b])),
                (Channel::S16, &[a, b]) => i32::from(i16::from_le_bytes([a, b])) as u32,
                (_, bytes) => numbers_of(bytes).first().copied().unwrap_or_default(),
            });
            let want: Vec<u32> = want.collect();
            let got = every_texel(bench, &kernels, "texels_2d", format, &data)?;
            same_numbers(&format!("{format:?}"), &got, &want)?;
        }
    }
    Ok(())
}

fn numbers_of_every_format_are_read(bench: &Bench) -> Verdict {
    let kernels = ready(bench)?;
    // 16-bit numbers and what they are: 1, -2, the largest, a subnormal, 1/3 rounded, infinity, -0.
    const HALVES: [(u16, f32); 7] = [
        (0x3c00, 1.0),
        (0xc000, -2.0),
        (0x7bff, 65_504.0),
        (0x0001, 5.960_464_5e-8),
        (0x3555, 0.333_251_95),
        (0x7c00, f32::INFINITY),
        (0x8000, -0.0),
    ];
    for channels in [1usize, 2, 4] {
        let halves: Vec<_> = HALVES.iter().cycle().take(15 * channels).collect();
        let data: Vec<u8> = halves.iter().flat_map(|half| half.0.to_le_bytes()).collect();
        let want: Vec<u32> = halves.iter().map(|half| half.1.to_bits()).collect();
        let got = every_texel(bench, &kernels, "numbers_2d", format(Channel::F16, channels as u8), &data)?;
        same_numbers(&format!("{channels} of 16 bits"), &got, &want)?;
        let numbers: Vec<u32> = (0..15 * channels).map(|n| (n as f32 * 1.1 - 7.0).to_bits()).collect();
        let format = format(Channel::F32, channels as u8);
        let got = every_texel(bench, &kernels, "numbers_2d", format, &bytes_of(&numbers))?;
        same_numbers(&format!("{channels} of 32 bits"), &got, &numbers)?;
    }
    Ok(())
}

fn integers_are_read_as_fractions(bench: &Bench) -> Verdict {
    let kernels = ready(bench)?;
    // Channel, bits, and the fraction that they are.
    let cases: [(Channel, [u8; 2], f32); 9] = [
        (Channel::U8, [255, 0], 1.0),
        (Channel::U8, [51, 0], 0.2),
        (Channel::U8, [0, 0], 0.0),
        (Channel::S8, [127, 0], 1.0),
        (Channel::S8, [0x81, 0], -1.0),
        (Channel::S8, [0x80, 0], -1.0),
        (Channel::U16, [0xff, 0xff], 1.0),
        (Channel::U16, [0x33, 0x33], 0.2),
        (Channel::S16, [0x01, 0x80], -1.0),
    ];
    for (channel, bytes, want) in cases {
        let image = Pixels::new(bench, ImageDescription::new(format(channel, 1), Dimensions::Two, [1, 1, 1]))?;
        image.write(0, &bytes[..channel.bytes()])?;
        let object =
            ImageObject::Texture { texels: image.texels(0), sampler: Sampler::default(), normalized_floats: true };
        let handle = bind(bench, &object)?;
        let got = f32::from_bits(seen(bench, &kernels, "numbers_2d", handle.value, [1, 1, 1])?[0]);
        ensure!((got - want).abs() <= 1e-6, "{channel:?} {bytes:?} is {got}, expected {want}");
    }
    Ok(())
}

fn one_dimension(bench: &Bench) -> Verdict {
    let kernels = ready(bench)?;
    let image = Pixels::new(bench, ImageDescription::new(WORD, Dimensions::One, [100, 1, 1]))?;
    let numbers: Vec<u32> = (0..100).map(|n| n * 7).collect();
    image.write(0, &bytes_of(&numbers))?;
    let handle = bind(bench, &texture(image.texels(0)))?;
    let got = seen(bench, &kernels, "texels_1d", handle.value, [100, 1, 1])?;
    same_numbers("a row of texels", &firsts(&got), &numbers)
}

fn three_dimensions(bench: &Bench) -> Verdict {
    let kernels = ready(bench)?;
    let image = Pixels::new(bench, ImageDescription::new(WORD, Dimensions::Three, [5, 4, 3]))?;
    let numbers: Vec<u32> = (0..60).map(|n| n * n).collect();
    image.write(0, &bytes_of(&numbers))?;
    let handle = bind(bench, &texture(image.texels(0)))?;
    let got = seen(bench, &kernels, "texels_3d", handle.value, [5, 4, 3])?;
    same_numbers("a box of texels", &firsts(&got), &numbers)?;
    same("the same read back", &image.read(0)?, &bytes_of(&numbers))
}

fn layers(bench: &Bench) -> Verdict {
    let kernels = ready(bench)?;
    let description = ImageDescription { layers: 3, ..ImageDescription::new(WORD, Dimensions::Two, [5, 4, 1]) };
    let image = Pixels::new(bench, description)?;
    let numbers: Vec<u32> = (0..60).map(|n| n * n + 1).collect();
    image.write(0, &bytes_of(&numbers))?;
    let handle = bind(bench, &texture(image.texels(0)))?;
    let got = seen(bench, &kernels, "layers_2d", handle.value, [5, 4, 3])?;
    same_numbers("layers of texels", &firsts(&got), &numbers)
}

/// An image of 8 by 8 texels with 3 levels that each hold their number.
fn stack(bench: &Bench, writable: bool) -> Result<Pixels<'_>, Stop> {
    let plain = ImageDescription::new(WORD, Dimensions::Two, [8, 8, 1]);
    let image = Pixels::new(bench, ImageDescription { levels: 3, writable, ..plain })?;
    for (level, texels) in [(0, 64), (1, 16), (2, 4)] {
        image.write(level, &bytes_of(&vec![level + 100; texels]))?;
    }
    Ok(image)
}

fn at_level(bench: &Bench, kernels: &Kernels<'_>, texels: Texels, level: f32) -> Result<u32, Stop> {
    // Levels need coordinates from 0 to 1 on some hardware.
    let sampler = Sampler { normalized: true, ..Sampler::default() };
    let handle = bind(bench, &ImageObject::Texture { texels, sampler, normalized_floats: false })?;
    let params = |params: Params, out| params.u64(handle.value).u64(out).f32(level);
    Ok(seen_with(bench, kernels, "level_2d", [1, 1, 1], params)?[0])
}

fn levels(bench: &Bench) -> Verdict {
    let kernels = ready(bench)?;
    let image = stack(bench, false)?;
    for level in 0..3u32 {
        let got = at_level(bench, &kernels, image.texels(0), level as f32)?;
        ensure!(got == level + 100, "level {level} holds {got}");
    }
    let beyond = at_level(bench, &kernels, image.texels(0), 9.0)?;
    ensure!(beyond == 102, "the level behind the last holds {beyond}");
    same("the last level read back", &image.read(2)?, &bytes_of(&[102; 4]))
}

fn a_texture_begins_at_a_level(bench: &Bench) -> Verdict {
    let kernels = ready(bench)?;
    let image = stack(bench, false)?;
    for (level, want) in [(0.0, 101), (1.0, 102), (5.0, 102)] {
        let got = at_level(bench, &kernels, image.texels(1), level)?;
        ensure!(got == want, "level {level} from the second on holds {got}, expected {want}");
    }
    refused(
        "a level that there is not",
        bench.device.bind(None, &texture(image.texels(3))),
        &[ErrorKind::InvalidRequest],
    )
}

fn a_view_is_a_part_in_another_format(bench: &Bench) -> Verdict {
    let kernels = ready(bench)?;
    let layered = ImageDescription { layers: 4, levels: 2, ..ImageDescription::new(WORD, Dimensions::Two, [2, 2, 1]) };
    let image = Pixels::new(bench, layered)?;
    let words: Vec<u32> = (0..4u32).map(|layer| 0x0403_0201 + layer * 0x1010_1010).collect();
    image.write(0, &bytes_of(&words.iter().flat_map(|&word| [word; 4]).collect::<Vec<_>>()))?;
    image.write(1, &bytes_of(&words))?;
    let bytes = format(Channel::U8, 4);
    let view = ImageView { image: image.id, format: bytes, levels: (1, 1), layers: (1, 2) };
    let handle = bind(bench, &texture(Texels::View(view)))?;
    let got = seen(bench, &kernels, "layers_2d", handle.value, [1, 1, 2])?;
    same_numbers("bytes of two layers", &got, &[0x11, 0x12, 0x13, 0x14, 0x21, 0x22, 0x23, 0x24])?;
    for wrong in [
        ImageView { format: format(Channel::U8, 2), ..view },
        ImageView { levels: (1, 2), ..view },
        ImageView { levels: (0, 0), ..view },
        ImageView { layers: (3, 2), ..view },
        ImageView { layers: (0, 0), ..view },
    ] {
        let bound = bench.device.bind(None, &texture(Texels::View(wrong)));
        refused(&format!("{wrong:?}"), bound, &[ErrorKind::InvalidRequest])?;
    }
    Ok(())
}

fn parts_are_copied(bench: &Bench) -> Verdict {
    ready(bench)?;
    let image = Pixels::new(bench, ImageDescription::new(format(Channel::U8, 2), Dimensions::Three, [6, 5, 4]))?;
    let mut want = vec![0x11; 6 * 5 * 4 * 2];
    image.write(0, &want)?;
    // 3 texels of 2 rows of 2 slices, from a pitched source, to (2, 1, 1).
    let shape = Shape { row: 6, rows: 2, slices: 2, from_pitch: 9, from_slice: 31, ..Shape::default() };
    let data = noise(8, 60);
    let from = Place::Host(HostBuffer::from(data.clone()).span());
    bench.run(Work::Copy(Transfer { to: image.place(0, [2, 1, 1]), from, shape }))?;
    for slice in 0..2 {
        for row in 0..2 {
            let to = ((slice + 1) * 5 + row + 1) * 12 + 4;
            want[to..to + 6].copy_from_slice(&data[slice * 31 + row * 9..][..6]);
        }
    }
    same("an image with a part replaced", &image.read(0)?, &want)?;
    let back = HostBuffer::from(vec![0xa5; 64]);
    let shape = Shape { row: 6, rows: 2, slices: 2, to_pitch: 8, to_slice: 20, ..Shape::default() };
    bench.run(Work::Copy(Transfer { to: Place::Host(back.span()), from: image.place(0, [2, 1, 1]), shape }))?;
    let mut part = vec![0xa5; 64];
    for slice in 0..2 {
        for row in 0..2 {
            part[slice * 20 + row * 8..][..6].copy_from_slice(&data[slice * 31 + row * 9..][..6]);
        }
    }
    same("the part read back", &back.to_vec(), &part)
}

fn images_are_copied_to_images(bench: &Bench) -> Verdict {
    ready(bench)?;
    let description = ImageDescription::new(WORD, Dimensions::Two, [4, 4, 1]);
    let (from, to) = (Pixels::new(bench, description)?, Pixels::new(bench, description)?);
    let numbers: Vec<u32> = (0..16).collect();
    from.write(0, &bytes_of(&numbers))?;
    to.write(0, &bytes_of(&[99; 16]))?;
    let shape = Shape { row: 8, rows: 3, slices: 1, ..Shape::default() };
    bench.run(Work::Copy(Transfer { to: to.place(0, [2, 1, 0]), from: from.place(0, [1, 0, 0]), shape }))?;
    let want = [99, 99, 99, 99, 99, 99, 1, 2, 99, 99, 5, 6, 99, 99, 9, 10];
    same_numbers("texels of another image", &numbers_of(&to.read(0)?), &want)
}

fn device_memory_is_copied_to_images(bench: &Bench) -> Verdict {
    ready(bench)?;
    let image = Pixels::new(bench, ImageDescription::new(WORD, Dimensions::Two, [3, 2, 1]))?;
    let from = bench.numbers(&[1, 2, 3, 0, 4, 5, 6, 0])?;
    let to = bench.numbers(&[9; 8])?;
    let pitched = Shape { row: 12, rows: 2, slices: 1, from_pitch: 16, to_pitch: 16, ..Shape::default() };
    let queue = bench.queue()?;
    let (place, memory) = (image.place(0, [0; 3]), Place::Device(from.at));
    queue.submit(Work::Copy(Transfer { to: place.clone(), from: memory, shape: pitched }))?;
    queue.run(Work::Copy(Transfer { to: Place::Device(to.at), from: place, shape: pitched }))?;
    same_numbers("memory by way of an image", &bench.read_numbers(to.at, 8)?, &[1, 2, 3, 9, 4, 5, 6, 9])
}

fn nothing_is_copied_beyond_an_image(bench: &Bench) -> Verdict {
    ready(bench)?;
    let image = Pixels::new(bench, ImageDescription::new(WORD, Dimensions::Two, [4, 4, 1]))?;
    image.write(0, &[7; 64])?;
    let memory = bench.map(256)?;
    let (from, texels) = (Place::Device(memory.at), |width: u64, rows| Shape::packed(width * 4, rows, 1));
    let gone = ImagePlace { image: ImageId(u64::MAX - 1), level: 0, origin: [0; 3] };
    for (to, shape) in [
        (image.place(0, [0; 3]), texels(5, 1)),
        (image.place(0, [1, 0, 0]), texels(4, 1)),
        (image.place(0, [0; 3]), texels(4, 5)),
        (image.place(0, [0, 4, 0]), texels(1, 1)),
        (image.place(0, [0, 0, 1]), texels(1, 1)),
        (image.place(1, [0; 3]), texels(1, 1)),
        (image.place(0, [0; 3]), Shape::line(3)),
        (Place::Image(gone), texels(1, 1)),
    ] {
        let copied = bench.run_raw(Work::Copy(Transfer { to, from: from.clone(), shape }));
        refused(&format!("{shape:?}"), copied, &[ErrorKind::InvalidRequest])?;
    }
    same("an untouched row", &image.read(0)?[48..], &[7; 16])
}

fn surfaces_are_written(bench: &Bench) -> Verdict {
    let kernels = ready(bench)?;
    let description = ImageDescription { writable: true, ..ImageDescription::new(WORD, Dimensions::Two, [6, 5, 1]) };
    let image = Pixels::new(bench, description)?;
    let numbers: Vec<u32> = (0..30).map(|n| n * 3).collect();
    image.write(0, &bytes_of(&numbers))?;
    let surface = bind(bench, &ImageObject::Surface(image.texels(0)))?;
    let texture = bind(bench, &texture(image.texels(0)))?;
    ensure!(surface.value != texture.value, "a surface and a texture have one handle");
    for round in 1..=3 {
        let description = kernels.launch("increment", Params::new().u64(surface.value))?;
        bench.run(launch(Launch { block: [6, 5, 1], ..description }))?;
        let want: Vec<u32> = numbers.iter().map(|n| n + round).collect();
        same_numbers("texels read back", &numbers_of(&image.read(0)?), &want)?;
        let got = seen(bench, &kernels, "texels_2d", texture.value, [6, 5, 1])?;
        same_numbers("texels that a texture sees", &firsts(&got), &want)?;
    }
    Ok(())
}

fn surfaces_of_levels_are_written(bench: &Bench) -> Verdict {
    let kernels = ready(bench)?;
    let image = stack(bench, true)?;
    let surface = bind(bench, &ImageObject::Surface(image.texels(1)))?;
    let description = kernels.launch("increment", Params::new().u64(surface.value))?;
    bench.run(launch(Launch { block: [4, 4, 1], ..description }))?;
    for (level, texels, want) in [(0, 64, 100), (1, 16, 102), (2, 4, 102)] {
        same_numbers("a level", &numbers_of(&image.read(level)?), &vec![want; texels])?;
    }
    Ok(())
}

fn textures_of_memory(bench: &Bench) -> Verdict {
    let kernels = ready(bench)?;
    let Some(caps) = bench.caps().images.filter(|images| images.linear) else {
        return bench.needs(false, "textures of memory");
    };
    let pitch = 40u64.next_multiple_of(caps.pitch_alignment.into());
    let words = pitch as usize / 4;
    let numbers: Vec<u32> = (0..3 * words as u32).map(|n| n * 5).collect();
    let memory = bench.numbers(&numbers)?;
    let plain = LinearImage { format: WORD, at: memory.at, width: 10, height: 3, pitch };
    let flat = bind(bench, &texture(Texels::Linear(plain)))?;
    let want = |numbers: &[u32]| -> Vec<u32> { numbers.chunks(words).flat_map(|row| row[..10].to_vec()).collect() };
    let got = seen(bench, &kernels, "texels_2d", flat.value, [10, 3, 1])?;
    same_numbers("rows in memory", &firsts(&got), &want(&numbers))?;
    let row = LinearImage { width: 3 * words as u32, height: 1, ..plain };
    let long = bind(bench, &texture(Texels::Linear(row)))?;
    let got = seen(bench, &kernels, "texels_1d", long.value, [words as u32 * 2, 1, 1])?;
    same_numbers("a row in memory", &firsts(&got), &numbers[..words * 2])?;
    let others: Vec<u32> = numbers.iter().map(|n| n + 1).collect();
    bench.device.write(memory.at, &bytes_of(&others))?;
    let got = seen(bench, &kernels, "texels_2d", flat.value, [10, 3, 1])?;
    same_numbers("memory that was written", &firsts(&got), &want(&others))
}

/// What a texture of the numbers gives at places from `x` on, one apart, in the first row.
fn sampled(
    bench: &Bench,
    kernels: &Kernels<'_>,
    numbers: &[f32],
    sampler: Sampler,
    x: f32,
    count: u32,
) -> Result<Vec<f32>, Stop> {
    let image = Pixels::new(bench, ImageDescription::new(NUMBER, Dimensions::Two, [numbers.len() as u32, 1, 1]))?;
    image.write(0, &bytes_of(&numbers.iter().map(|n| n.to_bits()).collect::<Vec<_>>()))?;
    let object = ImageObject::Texture { texels: image.texels(0), sampler, normalized_floats: false };
    let handle = bind(bench, &object)?;
    let params = |params: Params, out| params.u64(handle.value).u64(out).f32(x).f32(0.5);
    let values = seen_with(bench, kernels, "sampled_2d", [count, 1, 1], params)?;
    Ok(firsts(&values).into_iter().map(f32::from_bits).collect())
}

fn texels_around_a_place_are_mixed(bench: &Bench) -> Verdict {
    let kernels = ready(bench)?;
    let numbers = [0.0, 8.0, 16.0, 64.0];
    let linear = Sampler { filter: Filter::Linear, ..Sampler::default() };
    // The centre of texel n is at n + 0.5; weights are multiples of 1/256.
    for (x, want) in [(0.5, [0.0, 8.0, 16.0, 64.0]), (1.0, [4.0, 12.0, 40.0, 64.0]), (0.75, [2.0, 10.0, 28.0, 64.0])] {
        let got = sampled(bench, &kernels, &numbers, linear, x, 4)?;
        ensure!(got == want, "from {x} on {got:?}, expected {want:?}");
    }
    let got = sampled(bench, &kernels, &numbers, Sampler::default(), 0.75, 4)?;
    ensure!(got == numbers, "the nearest texels are {got:?}");
    Ok(())
}

fn places_beyond_an_image(bench: &Bench) -> Verdict {
    let kernels = ready(bench)?;
    let numbers = [1.0, 2.0, 3.0, 4.0];
    let clamp = sampled(bench, &kernels, &numbers, Sampler::default(), -1.5, 8)?;
    ensure!(clamp == [1.0, 1.0, 1.0, 2.0, 3.0, 4.0, 4.0, 4.0], "clamped: {clamp:?}");
    let border = Sampler { address: [AddressMode::Border; 3], ..Sampler::default() };
    let border = sampled(bench, &kernels, &numbers, border, -1.5, 8)?;
    ensure!(border == [0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 0.0, 0.0], "with a border: {border:?}");
    for (address, want) in [(AddressMode::Wrap, [2.0, 2.0, 2.0]), (AddressMode::Mirror, [2.0, 3.0, 2.0])] {
        let sampler = Sampler { address: [address; 3], normalized: true, ..Sampler::default() };
        // 0.375 is in the middle of the second of four texels.
        let got = sampled(bench, &kernels, &numbers, sampler, 0.375, 3)?;
        ensure!(got == want, "{address:?}: {got:?}, expected {want:?}");
    }
    Ok(())
}

fn samplers_of_their_own(bench: &Bench) -> Verdict {
    let kernels = ready(bench)?;
    let image = Pixels::new(bench, ImageDescription::new(NUMBER, Dimensions::Two, [2, 1, 1]))?;
    image.write(0, &bytes_of(&[1f32.to_bits(), 3f32.to_bits()]))?;
    let texture = bind(bench, &texture(image.texels(0)))?;
    for (filter, want) in [(Filter::Nearest, 3.0), (Filter::Linear, 2.0)] {
        let object = ImageObject::Sampler(Sampler { filter, ..Sampler::default() });
        let sampler = match bench.device.bind(None, &object) {
            Ok(value) => Handle { bench, value },
            Err(error) if error.kind == ErrorKind::NotSupported => {
                return Err(Stop::Skipped("the device has no samplers of their own".into()));
            }
            Err(error) => return Err(error.into()),
        };
        let params = |params: Params, out| params.u64(texture.value).u64(out).u64(sampler.value).f32(1.0).f32(0.5);
        let got = f32::from_bits(seen_with(bench, &kernels, "with_sampler", [1, 1, 1], params)?[0]);
        ensure!(got == want, "{filter:?} gives {got}, expected {want}");
    }
    Ok(())
}

fn handles_are_given(bench: &Bench) -> Verdict {
    let kernels = ready(bench)?;
    let image = Pixels::new(bench, ImageDescription::new(WORD, Dimensions::Two, [1, 1, 1]))?;
    image.write(0, &[1, 0, 0, 0])?;
    let mut handles = Vec::new();
    for round in 0..40usize {
        handles.push(bind(bench, &texture(image.texels(0)))?);
        if round % 4 == 3 {
            handles.remove(round / 4);
        }
    }
    let mut values: Vec<u64> = handles.iter().map(|handle| handle.value).collect();
    values.sort_unstable();
    values.dedup();
    ensure!(values.len() == handles.len(), "two objects have one handle");
    for handle in &handles {
        ensure!(seen(bench, &kernels, "texels_2d", handle.value, [1, 1, 1])?[0] == 1, "a handle that does not work");
    }
    let stranger = texture(Texels::Image { image: ImageId(u64::MAX - 1), first_level: 0 });
    refused("an image that there is not", bench.device.bind(None, &stranger), &[ErrorKind::InvalidRequest])
}

fn handles_are_chosen(bench: &Bench) -> Verdict {
    let kernels = ready(bench)?;
    let image = Pixels::new(bench, ImageDescription::new(WORD, Dimensions::Two, [1, 1, 1]))?;
    image.write(0, &[5, 0, 0, 0])?;
    let object = texture(image.texels(0));
    const CHOSEN: u64 = 0x1234_5678_9abc;
    if !bench.caps().images.is_some_and(|images| images.chooses_handles) {
        return refused("a handle", bench.device.bind(Some(CHOSEN), &object), &[ErrorKind::NotSupported]);
    }
    for value in [CHOSEN, 1, u64::MAX, CHOSEN + 1] {
        let given = bench.device.bind(Some(value), &object)?;
        let handle = Handle { bench, value: given };
        ensure!(given == value, "{value:#x} was chosen, {given:#x} was given");
        ensure!(seen(bench, &kernels, "texels_2d", value, [1, 1, 1])?[0] == 5, "a handle that does not work");
        let again = bench.device.bind(Some(value), &object);
        refused("a handle that is bound", again, &[ErrorKind::InvalidRequest])?;
        drop(handle);
        let again = Handle { bench, value: bench.device.bind(Some(value), &object)? };
        ensure!(seen(bench, &kernels, "texels_2d", again.value, [1, 1, 1])?[0] == 5, "a handle that was bound before");
    }
    refused("the handle 0", bench.device.bind(Some(0), &object), &[ErrorKind::InvalidRequest])
}

fn wrong_images_are_refused(bench: &Bench) -> Verdict {
    bench.needs(bench.caps().images.is_some(), "images")?;
    let two = ImageDescription::new(WORD, Dimensions::Two, [4, 4, 1]);
    for wrong in [
        ImageDescription { extent: [0, 4, 1], ..two },
        ImageDescription { extent: [4, 4, 2], ..two },
        ImageDescription { layers: 0, ..two },
        ImageDescription { levels: 0, ..two },
        ImageDescription { levels: 4, ..two },
        ImageDescription { samples: 3, ..two },
        ImageDescription { format: format(Channel::U8, 3), ..two },
        ImageDescription { layers: 2, ..ImageDescription::new(WORD, Dimensions::Three, [4, 4, 4]) },
        ImageDescription { extent: [4, 5, 1], ..ImageDescription::new(WORD, Dimensions::Cube, [4, 4, 1]) },
        ImageDescription { layers: 5, ..ImageDescription::new(WORD, Dimensions::Cube, [4, 4, 1]) },
        ImageDescription::new(WORD, Dimensions::One, [4, 2, 1]),
    ] {
        refused(&format!("{wrong:?}"), bench.device.create_image(&wrong), &[ErrorKind::InvalidRequest])?;
    }
    Pixels::new(bench, ImageDescription { levels: 3, ..two })?;
    Pixels::new(bench, ImageDescription::new(WORD, Dimensions::Cube, [4, 4, 1])).map(drop)
}

fn too_large_images_are_refused(bench: &Bench) -> Verdict {
    let Some(caps) = bench.caps().images else { return bench.needs(false, "images") };
    let byte = format(Channel::U8, 1);
    for large in [
        ImageDescription::new(byte, Dimensions::One, [caps.width_1d + 1, 1, 1]),
        ImageDescription::new(byte, Dimensions::Two, [caps.extent_2d[0] + 1, 1, 1]),
        ImageDescription::new(byte, Dimensions::Two, [1, caps.extent_2d[1] + 1, 1]),
        ImageDescription::new(byte, Dimensions::Three, [caps.extent_3d[0].max(caps.extent_3d_alternate[0]) + 1, 1, 1]),
        ImageDescription::new(byte, Dimensions::Three, [1, 1, caps.extent_3d[2].max(caps.extent_3d_alternate[2]) + 1]),
        ImageDescription::new(byte, Dimensions::Cube, [caps.width_cube + 1, caps.width_cube + 1, 1]),
        ImageDescription { layers: caps.layers + 1, ..ImageDescription::new(byte, Dimensions::Two, [1, 1, 1]) },
    ] {
        refused(&format!("{large:?}"), bench.device.create_image(&large), &[ErrorKind::NotSupported])?;
    }
    Ok(())
}

fn images_come_and_go(bench: &Bench) -> Verdict {
    let kernels = ready(bench)?;
    let mut kept = Vec::new();
    for round in 0..60u32 {
        let side = round % 7 + 1;
        let image = Pixels::new(bench, ImageDescription::new(WORD, Dimensions::Two, [side, side, 1]))?;
        image.write(0, &bytes_of(&vec![round; (side * side) as usize]))?;
        if round % 3 == 0 {
            kept.push((round, side, image));
        }
    }
    for (round, side, image) in &kept {
        let handle = bind(bench, &texture(image.texels(0)))?;
        let got = seen(bench, &kernels, "texels_2d", handle.value, [*side, *side, 1])?;
        same_numbers("one of many images", &firsts(&got), &vec![*round; (side * side) as usize])?;
    }
    Ok(())
}
