//! The cases of the texture sweep.

use hetir::interp::texture::{AddressMode, Channel, Filter, Image, Sampler};
use hetir::num::{self, Format, Mode};

use super::{Case, Random};
use crate::driver::{ImageShape as Shape, Resource};

const CHANNELS: [Channel; 8] =
    [Channel::U8, Channel::S8, Channel::U16, Channel::S16, Channel::U32, Channel::S32, Channel::F16, Channel::F32];
const MODES: [AddressMode; 4] = [AddressMode::Clamp, AddressMode::Border, AddressMode::Wrap, AddressMode::Mirror];
const SHAPES: [Shape; 7] = [Shape::D1, Shape::D2, Shape::D3, Shape::A1d, Shape::A2d, Shape::Cube, Shape::ACube];

/// Bounds on the values of a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Content {
    /// The texel's number.
    Iota,
    /// The level's number.
    Level,
    /// From -1 to 1; of integers any.
    Uniform,
    /// Exponents from -20 to 20.
    Wide,
    /// Any bits, half of them zeros, infinities, NaNs, the largest and the smallest numbers.
    Edges,
    /// Column, row, slice or layer, 1.
    Place,
    /// The channel's number by its bits.
    Count,
}

fn word(shape: Shape) -> &'static str {
    match shape {
        Shape::D1 => "1d",
        Shape::D2 => "2d",
        Shape::D3 => "3d",
        Shape::A1d => "a1d",
        Shape::A2d => "a2d",
        Shape::Cube => "cube",
        Shape::ACube => "acube",
    }
}

const fn is_layered(shape: Shape) -> bool {
    matches!(shape, Shape::A1d | Shape::A2d | Shape::ACube)
}

const fn is_cube(shape: Shape) -> bool {
    matches!(shape, Shape::Cube | Shape::ACube)
}

/// Coordinates without the layer.
const fn dimensions(shape: Shape) -> usize {
    match shape {
        Shape::D1 | Shape::A1d => 1,
        Shape::D2 | Shape::A2d => 2,
        Shape::D3 | Shape::Cube | Shape::ACube => 3,
    }
}

/// Rows and columns that an image has.
const fn extents_of(shape: Shape) -> usize {
    match shape {
        Shape::D1 | Shape::A1d => 1,
        Shape::D2 | Shape::A2d | Shape::Cube | Shape::ACube => 2,
        Shape::D3 => 3,
    }
}

fn channel_name(channel: Channel) -> String {
    format!("{channel:?}").to_lowercase()
}

fn image(shape: Shape, channel: Channel, channels: u8, size: [u32; 3], layers: u32, levels: u32) -> Image {
    let mut extents = [1; 3];
    let count = extents_of(shape);
    extents[..count].copy_from_slice(&size[..count]);
    let layers = match shape {
        Shape::A1d | Shape::A2d => layers,
        Shape::Cube => 6,
        Shape::ACube => 6 * layers,
        Shape::D1 | Shape::D2 | Shape::D3 => 1,
    };
    Image::packed(0, channel, channels, extents, layers, 1, levels)
}

fn float(channel: Channel, value: f64) -> u32 {
    let bits = value.to_bits();
    match channel {
        Channel::F16 => num::convert(Format::F64, Format::F16, bits, Mode::RN) as u32,
        _ => (value as f32).to_bits(),
    }
}

fn value(channel: Channel, content: Content, random: &mut Random, number: u64, place: [u64; 4], level: u64) -> u32 {
    let is_float = channel.is_float();
    let plain = |n: u64| if is_float { float(channel, n as f64) } else { n as u32 };
    match content {
        Content::Iota => plain(number),
        Content::Level => plain(level),
        Content::Count => number as u32,
        Content::Place => plain(place[(number % 4) as usize]),
        Content::Uniform | Content::Wide | Content::Edges if !is_float => random.bits(),
        Content::Uniform => float(channel, random.unit() * 2.0 - 1.0),
        Content::Wide => {
            let span = if channel == Channel::F16 { 12.0 } else { 20.0 };
            let magnitude = (random.between(-span, span)).exp2() * (1.0 + random.unit());
            float(channel, if random.bits() & 1 == 0 { magnitude } else { -magnitude })
        }
        Content::Edges => {
            let (half, sign) = (channel == Channel::F16, random.bits() & 1);
            let edges: [u32; 10] = if half {
                [0, 1, 0x3ff, 0x400, 0x3c00, 0x7bff, 0x7c00, 0x7c01, 0x7e00, 0x7fff]
            } else {
                [
                    0,
                    1,
                    0x7f_ffff,
                    0x80_0000,
                    0x3f80_0000,
                    0x7f7f_ffff,
                    0x7f80_0000,
                    0x7f80_0001,
                    0x7fc0_0000,
                    0x7fff_ffff,
                ]
            };
            match random.bits() % 2 {
                0 => random.pick(&edges) | sign << if half { 15 } else { 31 },
                _ => random.bits(),
            }
        }
    }
}

fn texels(image: &Image, content: Content, random: &mut Random) -> Vec<u8> {
    let mut out = Vec::new();
    let mut number = 0;
    for level in 0..image.levels.len() {
        let [w, h, d] = image.extents(level);
        for z in 0..d.max(image.layers) {
            for y in 0..h {
                for x in 0..w {
                    for channel in 0..u64::from(image.channels) {
                        let place = [x.into(), y.into(), z.into(), 1];
                        let number = if content == Content::Place { channel } else { number };
                        let bits = value(image.channel, content, random, number, place, level as u64);
                        out.extend_from_slice(&bits.to_le_bytes()[..image.channel.bytes()]);
                    }
                    number += 1;
                }
            }
        }
    }
    out
}

/// What an instruction reads besides its coordinates.
#[derive(Clone, Copy, Default)]
struct Form {
    /// `tex`, `tex.level`, `tex.grad` or `tld4.r`.
    op: &'static str,
    dtype: &'static str,
    texels: bool,
    offset: bool,
    depth: bool,
}

const TEX: Form = Form { op: "tex", dtype: "f32", texels: false, offset: false, depth: false };

/// The instruction with its operands in `%r0` and so on: layer, coordinates, level or steps, offsets, depth. Also gives
/// their number.
fn instruction(shape: Shape, form: Form) -> (String, usize) {
    let mut next = 0;
    let mut take = |count: usize| -> Vec<String> {
        next += count;
        (next - count..next).map(|n| format!("%r{n}")).collect()
    };
    let vector = |mut all: Vec<String>| {
        if all.len() == 3 {
            all.push(all[2].clone());
        }
        format!("{{{}}}", all.join(", "))
    };
    let mut place = if is_layered(shape) { take(1) } else { Vec::new() };
    place.extend(take(dimensions(shape)));
    let mut operands = format!("[%t, {}]", vector(place));
    match form.op {
        "tex.level" => operands += &format!(", {}", take(1)[0]),
        "tex.grad" => {
            for _ in 0..2 {
                operands += &format!(", {}", vector(take(dimensions(shape))));
            }
        }
        _ => {}
    }
    if form.offset {
        operands += &format!(", {}", vector(take(dimensions(shape))));
    }
    let mut before = String::new();
    if form.depth {
        before = format!("mov.b32 %f0, {}; ", take(1)[0]);
        operands += ", %f0";
    }
    let ctype = if form.texels { "s32" } else { "f32" };
    let geometry = word(shape);
    let text = match form.dtype {
        "f16" => format!(
            "{before}{}.{geometry}.v4.f16.{ctype} {{%h0, %h1, %h2, %h3}}, {operands}; mov.b32 %o0, {{%h0, %h1}}; \
             mov.b32 %o1, {{%h2, %h3}};",
            form.op
        ),
        "f16x2" => format!("{before}{}.{geometry}.v2.f16x2.{ctype} {{%o0, %o1}}, {operands};", form.op),
        dtype => format!("{before}{}.{geometry}.v4.{dtype}.{ctype} {{%o0, %o1, %o2, %o3}}, {operands};", form.op),
    };
    (text, next)
}

/// A coordinate: near a boundary between steps, in the image, around it, far away, or special.
fn coordinate(random: &mut Random, extent: u32, normalized: bool) -> f32 {
    let extent = f64::from(extent);
    let scale = if normalized { extent } else { 1.0 };
    let nudge = |random: &mut Random, x: f32| {
        let near = f32::from_bits((x.to_bits()).wrapping_add(random.bits() % 7).wrapping_sub(3));
        if near.is_finite() { near } else { x }
    };
    match random.bits() % 20 {
        0..6 => {
            let steps = random.between(-0.6 * extent * 512.0, 1.6 * extent * 512.0).floor();
            let near = (steps / 512.0 / scale) as f32;
            nudge(random, near)
        }
        6..10 => (random.unit() * extent / scale) as f32,
        10..15 => (random.between(-1.5, 2.5) * extent / scale) as f32,
        15 => (random.between(-100.0, 100.0) * extent / scale) as f32,
        16 => {
            let whole = random.between(-5.0, 5.0).floor() as f32;
            nudge(random, whole)
        }
        17 => {
            let sign = if random.bits() & 1 == 0 { 1.0 } else { -1.0 };
            (sign * random.between(-30.0, 30.0).exp2()) as f32
        }
        18 => f32::from_bits(random.bits()),
        _ => random.pick(&[
            0.0,
            -0.0,
            1.0,
            -1.0,
            0.5,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
            f32::MAX,
            f32::MIN,
            f32::MIN_POSITIVE,
            2147483648.0,
            -2147483648.0,
            16777216.0,
        ]),
    }
}

/// A number of a texel.
fn number(random: &mut Random, extent: u32) -> u32 {
    match random.bits() % 8 {
        0 => {
            random.pick(&[u32::MAX, 0x8000_0000, 0x7fff_ffff, extent, extent + 1, 0x1_0000, 0x10_0000, 0xffff, 0x8000])
        }
        1 => random.bits(),
        _ => (random.bits() % (2 * extent)).wrapping_sub(extent / 2),
    }
}

fn sampler(filter: Filter, normalized: bool, mode: AddressMode) -> Sampler {
    Sampler { filter, normalized, address: [mode; 3], ..Sampler::default() }
}

struct Cases {
    all: Vec<Case>,
    seed: u64,
    count: usize,
    /// So many times the inputs, where a rule has many inputs itself.
    times: usize,
}

/// What the operands of a case are made of besides coordinates.
struct Extent {
    size: [u32; 3],
    layers: u32,
    levels: u32,
}

const fn size(x: u32, y: u32, z: u32) -> Extent {
    Extent { size: [x, y, z], layers: 3, levels: 1 }
}

impl Cases {
    fn random(&self, name: &str) -> Random {
        Random::named(name, self.seed)
    }

    fn push(&mut self, case: Case) {
        self.all.push(case);
    }

    #[expect(clippy::too_many_arguments, reason = "each is a dimension of the sweep")]
    fn texture(
        &mut self,
        name: String,
        shape: Shape,
        channel: (Channel, u8),
        extent: &Extent,
        content: Content,
        how: (Sampler, bool),
        form: Form,
        outputs: usize,
        operands: impl Fn(&mut Random, &mut Vec<u32>),
    ) -> &mut Case {
        let mut random = self.random(&name);
        let image = image(shape, channel.0, channel.1, extent.size, extent.layers, extent.levels);
        let texels = texels(&image, content, &mut random);
        let (body, inputs) = instruction(shape, form);
        let mut data = Vec::new();
        for _ in 0..self.count * self.times {
            let before = data.len();
            if is_layered(shape) {
                let layers = image.layers / if is_cube(shape) { 6 } else { 1 };
                data.push(number(&mut random, layers));
            }
            for d in 0..dimensions(shape) {
                data.push(match () {
                    () if form.texels => number(&mut random, image.extents(0)[d]),
                    () if is_cube(shape) => direction(&mut random),
                    () => coordinate(&mut random, image.extents(0)[d], how.0.normalized).to_bits(),
                });
            }
            operands(&mut random, &mut data);
            debug_assert_eq!(data.len() - before, inputs, "{name}");
        }
        let resource = Resource::Array;
        let texture = Some(how);
        self.push(Case { name, image, shape, resource, texels, texture, body, inputs, outputs, data });
        let last = self.all.len() - 1;
        &mut self.all[last]
    }
}

/// A part of a direction.
fn direction(random: &mut Random) -> u32 {
    let value = match random.bits() % 16 {
        0 => random.pick(&[0.0, -0.0, 1.0, -1.0, f32::INFINITY, f32::NAN, f32::MAX, f32::MIN_POSITIVE]),
        1 => random.pick(&[0.5, -0.5, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0]),
        2 => (random.between(-30.0, 30.0).exp2()) as f32,
        3 => (f64::from(random.bits() as i32 % 17) / 16.0) as f32,
        _ => random.between(-1.0, 1.0) as f32,
    };
    value.to_bits()
}

/// Every case; `count` is the number of inputs of most.
pub(crate) fn cases(seed: u64, count: usize) -> Vec<Case> {
    let mut all = Cases { all: Vec::new(), seed, count, times: 1 };
    channels(&mut all);
    positions(&mut all);
    all.times = 4;
    weights(&mut all);
    all.times = 1;
    outside(&mut all);
    fetches(&mut all);
    offsets(&mut all);
    layers_and_cubes(&mut all);
    levels(&mut all);
    all.times = 2;
    steps(&mut all);
    all.times = 1;
    gathers(&mut all);
    depths(&mut all);
    queries(&mut all);
    surfaces::cases(&mut all);
    all.all
}

const fn nothing(_: &mut Random, _: &mut Vec<u32>) {}

/// What texels of each type are read as, by each result type.
fn channels(all: &mut Cases) {
    let exact = sampler(Filter::Nearest, false, AddressMode::Clamp);
    for channel in CHANNELS {
        let small = channel.bytes() < 4;
        for normalized in [false, true] {
            if normalized && !small {
                continue;
            }
            let kind = format!("{}{}", channel_name(channel), if normalized { "n" } else { "" });
            // Every value of the small ones.
            if small {
                let (w, h) = (256, if channel.bytes() == 2 { 256 } else { 1 });
                let form = Form { texels: true, ..TEX };
                let how = (exact, normalized);
                let name = format!("values/{kind}");
                let case =
                    all.texture(name, Shape::D2, (channel, 1), &size(w, h, 1), Content::Count, how, form, 1, nothing);
                case.data = (0..h).flat_map(|y| (0..w).flat_map(move |x| [x, y])).collect();
            }
            for channels in [1, 2, 4] {
                for dtype in ["f32", "u32", "s32", "f16", "f16x2"] {
                    if dtype.starts_with("f16") && channels == 2 {
                        continue;
                    }
                    let form = Form { dtype, ..TEX };
                    let outputs = if dtype.starts_with("f16") { 2 } else { 4 };
                    for content in [Content::Wide, Content::Edges] {
                        let name = format!("channels/{kind}x{channels}/{dtype}/{content:?}");
                        let extent = size(64, 1, 1);
                        let how = (exact, normalized);
                        let case = all.texture(
                            name,
                            Shape::D1,
                            (channel, channels),
                            &extent,
                            content,
                            how,
                            form,
                            outputs,
                            nothing,
                        );
                        case.data = (0..64).map(|n| (n as f32 + 0.5).to_bits()).collect();
                    }
                }
            }
        }
    }
    for dtype in ["f32", "f16"] {
        // Rounding of results: mixtures as f16.
        for channel in [Channel::F32, Channel::F16, Channel::U8] {
            let how = (sampler(Filter::Linear, false, AddressMode::Clamp), channel == Channel::U8);
            let name = format!("results/{}/{dtype}", channel_name(channel));
            let form = Form { dtype, ..TEX };
            let outputs = if dtype == "f16" { 2 } else { 4 };
            let extent = size(64, 1, 1);
            all.texture(name, Shape::D1, (channel, 4), &extent, Content::Wide, how, form, outputs, nothing);
        }
    }
}

/// Where coordinates lie: the texel's number is its value.
fn positions(all: &mut Cases) {
    for filter in [Filter::Linear, Filter::Nearest] {
        for width in [1, 2, 3, 4, 7, 100, 256, 1000, 1500, 3000, 5000, 8000, 10000, 12000, 16384, 20000, 32768] {
            for normalized in [false, true] {
                for mode in MODES {
                    let how = sampler(filter, normalized, mode);
                    let name = format!("positions/{filter:?}/{width}/{}{mode:?}", if normalized { "n" } else { "" });
                    let extent = size(width, 1, 1);
                    all.texture(
                        name,
                        Shape::D1,
                        (Channel::F32, 1),
                        &extent,
                        Content::Iota,
                        (how, false),
                        TEX,
                        1,
                        nothing,
                    );
                }
            }
        }
        // Each dimension with a mode of its own.
        for (n, modes) in [[0, 1, 2], [2, 3, 0], [3, 2, 1], [1, 0, 3]].into_iter().enumerate() {
            let how = Sampler { address: modes.map(|m: usize| MODES[m]), ..sampler(filter, true, MODES[0]) };
            for shape in [Shape::D2, Shape::D3, Shape::A2d] {
                let name = format!("positions/{filter:?}/{}/{n}", word(shape));
                let extent = size(7, 5, 3);
                let channel = (Channel::F32, 4);
                all.texture(name, shape, channel, &extent, Content::Place, (how, false), TEX, 4, nothing);
            }
        }
    }
    // Rows in plain memory.
    for filter in [Filter::Linear, Filter::Nearest] {
        let how = sampler(filter, true, AddressMode::Wrap);
        let name = format!("positions/{filter:?}/pitch");
        let channel = (Channel::F32, 4);
        let extent = size(7, 5, 3);
        all.texture(name, Shape::D2, channel, &extent, Content::Place, (how, false), TEX, 4, nothing).resource =
            Resource::Pitch;
    }
}

/// How texels are mixed.
fn weights(all: &mut Cases) {
    let how = sampler(Filter::Linear, false, AddressMode::Clamp);
    // A single one among zeros shows its weight.
    for (channel, one) in [(Channel::F32, 1f32.to_bits()), (Channel::U8, 0xff), (Channel::U16, 0xffff)] {
        for corner in 0..4usize {
            let name = format!("weights/{}/corner{corner}", channel_name(channel));
            let extent = size(2, 2, 1);
            let fractions = |random: &mut Random, data: &mut Vec<u32>| {
                let last = data.len();
                for place in &mut data[last - 2..] {
                    *place = (0.5 + f64::from(random.bits() % 257) / 256.0).to_bits_f32();
                }
            };
            let case =
                all.texture(name, Shape::D2, (channel, 1), &extent, Content::Iota, (how, true), TEX, 1, fractions);
            let size = channel.bytes();
            case.texels.fill(0);
            case.texels[corner * size..][..size].copy_from_slice(&one.to_le_bytes()[..size]);
        }
        let name = format!("weights/{}/line", channel_name(channel));
        let extent = size(2, 1, 1);
        let case = all.texture(name, Shape::D1, (channel, 1), &extent, Content::Iota, (how, true), TEX, 1, nothing);
        case.texels.fill(0);
        let size = channel.bytes();
        case.texels[size..].copy_from_slice(&one.to_le_bytes()[..size]);
        case.data = (0..4096).map(|n| (0.4375 + f64::from(n) * 1.125 / 4096.0).to_bits_f32()).collect();
    }
    for channel in [Channel::F32, Channel::F16, Channel::U8, Channel::S8, Channel::U16, Channel::S16] {
        for shape in [Shape::D1, Shape::D2, Shape::D3] {
            for content in [Content::Uniform, Content::Wide, Content::Edges] {
                if !channel.is_float() && content != Content::Uniform {
                    continue;
                }
                for channels in [1, 4] {
                    if channels == 4 && (shape == Shape::D3 || content == Content::Edges) {
                        continue;
                    }
                    let name = format!("mixtures/{}x{channels}/{}/{content:?}", channel_name(channel), word(shape));
                    let extent = match shape {
                        Shape::D1 => size(2048, 1, 1),
                        Shape::D2 => size(64, 32, 1),
                        _ => size(16, 16, 8),
                    };
                    let inside = move |random: &mut Random, data: &mut Vec<u32>| {
                        let last = data.len();
                        let count = dimensions(shape);
                        for (place, extent) in data[last - count..].iter_mut().zip(extent.size) {
                            *place = (random.unit() * f64::from(extent)).to_bits_f32();
                        }
                    };
                    let extent = match shape {
                        Shape::D1 => size(2048, 1, 1),
                        Shape::D2 => size(64, 32, 1),
                        _ => size(16, 16, 8),
                    };
                    let outputs = usize::from(channels);
                    all.texture(name, shape, (channel, channels), &extent, content, (how, true), TEX, outputs, inside);
                }
            }
        }
    }
}

trait F32Bits {
    fn to_bits_f32(self) -> u32;
}

impl F32Bits for f64 {
    fn to_bits_f32(self) -> u32 {
        (self as f32).to_bits()
    }
}

/// Borders, and images that cannot be mixed.
fn outside(all: &mut Cases) {
    let borders = [[0.25, -1.5, 300.7, 1e10], [2.0, -3.0, 0.5, 70000.0], [1.0, 0.0, -128.5, f32::NAN]];
    for channel in CHANNELS {
        for normalized in [false, true] {
            if normalized && (channel.bytes() == 4 || channel.is_float()) {
                continue;
            }
            let kind = format!("{}{}", channel_name(channel), if normalized { "n" } else { "" });
            for (n, border) in borders.into_iter().enumerate() {
                for channels in [1, 2, 4] {
                    for filter in [Filter::Nearest, Filter::Linear] {
                        if filter == Filter::Linear && !(normalized || channel.is_float()) {
                            continue;
                        }
                        let how = Sampler { border, ..sampler(filter, false, AddressMode::Border) };
                        let name = format!("border/{kind}x{channels}/{filter:?}/{n}");
                        let extent = size(4, 4, 1);
                        let case = all.texture(
                            name,
                            Shape::D2,
                            (channel, channels),
                            &extent,
                            Content::Uniform,
                            (how, normalized),
                            TEX,
                            4,
                            nothing,
                        );
                        case.data.truncate(2 * 256);
                    }
                }
            }
        }
    }
}

/// Texels by number.
fn fetches(all: &mut Cases) {
    let linear = sampler(Filter::Linear, true, AddressMode::Border);
    let colour = Sampler { border: [0.5, 2.0, 3.0, 4.0], ..linear };
    let plain = sampler(Filter::Nearest, false, AddressMode::Clamp);
    for shape in [Shape::D1, Shape::D2, Shape::D3, Shape::A1d, Shape::A2d] {
        for (n, how) in [plain, colour].into_iter().enumerate() {
            let kinds: &[(Channel, bool, u8)] = &[
                (Channel::F32, false, 4),
                (Channel::F32, false, 1),
                (Channel::U8, false, 2),
                (Channel::S16, true, 1),
                (Channel::S32, false, 4),
            ];
            for &(channel, normalized, channels) in kinds {
                if n == 1 && !channel.is_float() {
                    continue;
                }
                for offset in [false, true] {
                    let form = Form { texels: true, offset, ..TEX };
                    let kind = format!("{}x{channels}{}", channel_name(channel), if offset { "/offset" } else { "" });
                    let name = format!("fetch/{}/{kind}/{n}", word(shape));
                    let extent = size(5, 4, 3);
                    let case = all.texture(
                        name,
                        shape,
                        (channel, channels),
                        &extent,
                        Content::Uniform,
                        (how, normalized),
                        form,
                        4,
                        |random, data| {
                            if offset {
                                (0..dimensions(shape)).for_each(|_| data.push((random.bits() % 16).wrapping_sub(8)));
                            }
                        },
                    );
                    let inputs = case.inputs;
                    case.data.truncate(inputs * 1024);
                }
            }
        }
        let form = Form { op: "tex.level", texels: true, ..TEX };
        let how = Sampler { normalized: true, ..plain };
        let name = format!("fetch/{}/levels", word(shape));
        let extent = Extent { levels: 3, ..size(9, 6, 5) };
        let channel = (Channel::F32, 1);
        all.texture(name, shape, channel, &extent, Content::Iota, (how, false), form, 4, |random, data| {
            data.push(random.pick(&[0, 1, 2, 3, 4, 100, u32::MAX, 0x8000_0000]));
        });
        // What decides whether the nearest texel is read outside: the operation, the levels, or the sampler.
        for (op, levels, normalized, mode) in [
            ("tex.level", 1, false, AddressMode::Clamp),
            ("tex.level", 1, true, AddressMode::Clamp),
            ("tex", 1, true, AddressMode::Clamp),
            ("tex", 3, true, AddressMode::Clamp),
            ("tex", 3, true, AddressMode::Border),
            ("tex.level", 3, true, AddressMode::Border),
            ("tex.level", 3, true, AddressMode::Wrap),
            ("tex", 1, true, AddressMode::Wrap),
        ] {
            let how = Sampler { border: [7.0; 4], ..sampler(Filter::Nearest, normalized, mode) };
            let form = Form { op, texels: true, ..TEX };
            let name = format!("fetch/{}/{op}/{levels}/{normalized}{mode:?}", word(shape));
            let extent = Extent { levels, ..size(9, 6, 5) };
            let channel = (Channel::F32, 2);
            all.texture(name, shape, channel, &extent, Content::Uniform, (how, false), form, 4, |random, data| {
                if op == "tex.level" {
                    data.push(random.bits() % 4);
                }
            });
        }
        let bounded = Sampler { level_range: [1.0, 1.5], level_bias: 1.0, ..how };
        let name = format!("fetch/{}/bounded-levels", word(shape));
        all.texture(name, shape, channel, &extent, Content::Iota, (bounded, false), form, 4, |random, data| {
            data.push(random.pick(&[0, 1, 2, 3, 4, 100, u32::MAX, 0x8000_0000]));
        });
    }
    for channel in [Channel::F32, Channel::U8] {
        let form = Form { texels: true, ..TEX };
        let name = format!("fetch/memory/{}", channel_name(channel));
        let extent = size(100, 1, 1);
        let how = (plain, channel == Channel::U8);
        let case = all.texture(name, Shape::D1, (channel, 1), &extent, Content::Uniform, how, form, 4, nothing);
        case.resource = Resource::Linear;
    }
}

fn offsets(all: &mut Cases) {
    for filter in [Filter::Linear, Filter::Nearest] {
        for normalized in [false, true] {
            for mode in MODES {
                for shape in [Shape::D1, Shape::D2, Shape::D3, Shape::A1d, Shape::A2d] {
                    let how = sampler(filter, normalized, mode);
                    let kind = if normalized { "n" } else { "" };
                    let name = format!("offsets/{filter:?}/{}/{kind}{mode:?}", word(shape));
                    let form = Form { offset: true, ..TEX };
                    let extent = size(7, 5, 3);
                    let channel = (Channel::F32, 4);
                    let place = (how, false);
                    let case =
                        all.texture(name, shape, channel, &extent, Content::Place, place, form, 3, |random, data| {
                            for _ in 0..dimensions(shape) {
                                data.push(match random.bits() % 16 {
                                    0 => random.bits() % 256,
                                    1 => random.bits(),
                                    _ => (random.bits() % 16).wrapping_sub(8),
                                });
                            }
                        });
                    let inputs = case.inputs;
                    case.data.truncate(inputs * 1024);
                }
            }
        }
    }
}

fn layers_and_cubes(all: &mut Cases) {
    for shape in [Shape::Cube, Shape::ACube] {
        for filter in [Filter::Nearest, Filter::Linear] {
            for width in [1, 2, 3, 16, 64] {
                for mode in MODES {
                    if mode != AddressMode::Clamp && (width != 3 || shape == Shape::ACube) {
                        continue;
                    }
                    let name = format!("cubes/{filter:?}/{}/{width}/{mode:?}", word(shape));
                    let how = (sampler(filter, true, mode), false);
                    let extent = size(width, width, 1);
                    let channel = (Channel::F32, 4);
                    all.texture(name, shape, channel, &extent, Content::Place, how, TEX, 3, nothing);
                }
            }
        }
        let name = format!("cubes/{}/unnormalized", word(shape));
        let how = (sampler(Filter::Nearest, false, AddressMode::Clamp), false);
        let extent = size(8, 8, 1);
        let channel = (Channel::F32, 4);
        all.texture(name, shape, channel, &extent, Content::Place, how, TEX, 3, nothing);
    }
    for shape in [Shape::A1d, Shape::A2d] {
        let name = format!("layers/{}", word(shape));
        let how = (sampler(Filter::Linear, true, AddressMode::Wrap), false);
        let channel = (Channel::F32, 4);
        let extent = size(7, 5, 1);
        all.texture(name, shape, channel, &extent, Content::Place, how, TEX, 3, nothing);
    }
}

/// A level.
fn level(random: &mut Random, levels: u32) -> u32 {
    let most = f64::from(levels);
    let value = match random.bits() % 8 {
        0 => random.pick(&[0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX, 1e-30, -1.0]),
        1 | 2 => {
            let steps = random.between(-256.0, most * 512.0).floor();
            let near = (steps / 512.0) as f32;
            f32::from_bits(near.to_bits().wrapping_add(random.bits() % 5).wrapping_sub(2))
        }
        _ => random.between(-2.0, most + 2.0) as f32,
    };
    value.to_bits()
}

fn levels(all: &mut Cases) {
    let linear = Sampler { mip_filter: Filter::Linear, ..sampler(Filter::Linear, true, AddressMode::Clamp) };
    let bounds: [(&str, f32, [f32; 2]); 8] = [
        ("all", 0.0, [0.0, f32::MAX]),
        ("bias0.3", 0.3, [0.0, f32::MAX]),
        ("bias-1.7", -1.7, [0.0, f32::MAX]),
        ("bias1/512", 1.0 / 512.0, [0.0, f32::MAX]),
        ("bias100", 100.0, [0.0, f32::MAX]),
        ("range0.3-2.7", 0.0, [0.3, 2.7]),
        ("range3-1", 0.0, [3.0, 1.0]),
        ("range1.001-1.999", 0.5, [1.001, 1.999]),
    ];
    for filter in [Filter::Nearest, Filter::Linear] {
        for (bound, level_bias, level_range) in bounds {
            for shape in [Shape::D2, Shape::D1, Shape::Cube] {
                if shape != Shape::D2 && bound != "all" {
                    continue;
                }
                let form = Form { op: "tex.level", ..TEX };
                let extent = Extent { levels: 7, ..size(64, 64, 1) };
                let channel = (Channel::F32, 1);
                for inner in [Filter::Nearest, Filter::Linear] {
                    let how = (Sampler { mip_filter: filter, filter: inner, level_bias, level_range, ..linear }, false);
                    let name = format!("levels/{}/{filter:?}/{inner:?}/{bound}", word(shape));
                    all.texture(name, shape, channel, &extent, Content::Level, how, form, 1, |random, data| {
                        data.push(level(random, 7));
                    });
                }
                // A plain read, on the same image.
                if shape == Shape::D2 {
                    let how = (Sampler { mip_filter: filter, level_bias, level_range, ..linear }, false);
                    let name = format!("levels/base/{filter:?}/{bound}");
                    let case = all.texture(name, shape, channel, &extent, Content::Level, how, TEX, 1, nothing);
                    case.data.truncate(2 * 64);
                }
            }
        }
        // Positions in levels of odd extents, with the weights of both.
        for shape in SHAPES {
            for content in [Content::Place, Content::Wide] {
                for inner in [Filter::Nearest, Filter::Linear] {
                    let how = Sampler { mip_filter: filter, filter: inner, ..linear };
                    let name = format!("levels/{}/{filter:?}/{inner:?}/{content:?}", word(shape));
                    let form = Form { op: "tex.level", ..TEX };
                    let extent = Extent { levels: 4, ..size(13, if is_cube(shape) { 13 } else { 9 }, 5) };
                    let channel = (Channel::F32, 4);
                    all.texture(name, shape, channel, &extent, content, (how, false), form, 3, |random, data| {
                        data.push(level(random, 4));
                    });
                }
            }
        }
    }
}

/// A step of a coordinate.
fn step(random: &mut Random) -> u32 {
    let value = match random.bits() % 16 {
        0 => random.pick(&[0.0, -0.0, 1.0, f32::INFINITY, f32::NAN, f32::MAX, f32::MIN_POSITIVE]),
        1 | 2 => 0.0,
        3 => (random.between(-12.0, 3.0).floor().exp2()) as f32,
        _ => {
            let sign = if random.bits() & 1 == 0 { 1.0 } else { -1.0 };
            (sign * random.between(-11.0, 2.0).exp2()) as f32
        }
    };
    value.to_bits()
}

fn steps(all: &mut Cases) {
    let linear = Sampler { mip_filter: Filter::Linear, ..sampler(Filter::Linear, true, AddressMode::Clamp) };
    for shape in SHAPES {
        for (x, y) in [(256u32, 256u32), (256, 16)] {
            if x != y && (is_cube(shape) || extents_of(shape) == 1) {
                continue;
            }
            let name = format!("steps/{}/{x}x{y}", word(shape));
            let form = Form { op: "tex.grad", ..TEX };
            let (x, y) = if shape == Shape::D3 { (x / 4, y / 4) } else { (x, y) };
            let extent = Extent { levels: x.ilog2() + 1, layers: 1, ..size(x, y, 8) };
            let channel = (Channel::F32, 1);
            let how = (linear, false);
            all.texture(name, shape, channel, &extent, Content::Level, how, form, 1, |random, data| {
                // Sometimes one step alone in one dimension.
                let alone = random.bits().is_multiple_of(3);
                let which = random.bits() as usize % (2 * dimensions(shape));
                for n in 0..2 * dimensions(shape) {
                    let value = step(random);
                    data.push(if alone && n != which { 0 } else { value });
                }
            });
        }
    }
}

fn gathers(all: &mut Cases) {
    for shape in [Shape::D2, Shape::A2d, Shape::Cube, Shape::ACube] {
        for (n, op) in ["tld4.r", "tld4.g", "tld4.b", "tld4.a"].into_iter().enumerate() {
            for mode in MODES {
                for normalized in [false, true] {
                    if is_cube(shape) && (!normalized || mode != AddressMode::Clamp) || n > 1 && mode != MODES[1] {
                        continue;
                    }
                    for offset in [false, true] {
                        if offset && is_cube(shape) {
                            continue;
                        }
                        for filter in [Filter::Nearest, Filter::Linear] {
                            if filter == Filter::Linear && n > 0 {
                                continue;
                            }
                            let border = [-2.0, -3.0, -4.0, -5.0];
                            let how = Sampler { border, ..sampler(filter, normalized, mode) };
                            let kind = if normalized { "n" } else { "" };
                            let flag = if offset { "/offset" } else { "" };
                            let name = format!("gathers/{op}/{}/{filter:?}/{kind}{mode:?}{flag}", word(shape));
                            let form = Form { op, offset, ..TEX };
                            let extent = size(7, if is_cube(shape) { 7 } else { 5 }, 1);
                            let channel = (Channel::F32, 4);
                            let place = (how, false);
                            let case = all.texture(
                                name,
                                shape,
                                channel,
                                &extent,
                                Content::Iota,
                                place,
                                form,
                                4,
                                |random, data| {
                                    if offset {
                                        for _ in 0..dimensions(shape) {
                                            data.push(match random.bits() % 16 {
                                                0 => random.bits() % 256,
                                                1 => random.bits(),
                                                _ => (random.bits() % 16).wrapping_sub(8),
                                            });
                                        }
                                    }
                                },
                            );
                            let inputs = case.inputs;
                            case.data.truncate(inputs * 2048);
                        }
                    }
                }
            }
        }
    }
    for channel in CHANNELS {
        for normalized in [false, true] {
            if normalized && channel.bytes() == 4 {
                continue;
            }
            for channels in [1, 2, 4] {
                for op in ["tld4.r", "tld4.g", "tld4.a"] {
                    let kind = format!("{}{}x{channels}", channel_name(channel), if normalized { "n" } else { "" });
                    let name = format!("gathers/{op}/{kind}");
                    let border = [0.5, 2.0, 3.0, 4.0];
                    let how = Sampler { border, ..sampler(Filter::Nearest, false, AddressMode::Border) };
                    let dtype = if channel.is_float() || normalized { "f32" } else { "u32" };
                    let form = Form { op, dtype, ..TEX };
                    let extent = size(7, 5, 1);
                    let case = all.texture(
                        name,
                        Shape::D2,
                        (channel, channels),
                        &extent,
                        Content::Uniform,
                        (how, normalized),
                        form,
                        4,
                        nothing,
                    );
                    case.data.truncate(2 * 256);
                }
            }
        }
    }
}

/// What is compared with depths: the driver API has no word for the comparison.
fn depths(all: &mut Cases) {
    for resource in [Resource::Array, Resource::DepthArray] {
        for shape in [Shape::D1, Shape::D2, Shape::A1d, Shape::A2d, Shape::Cube, Shape::ACube] {
            for filter in [Filter::Nearest, Filter::Linear] {
                for op in ["tex", "tex.level", "tld4.r"] {
                    for channel in [Channel::F32, Channel::U16] {
                        if op == "tld4.r" && matches!(shape, Shape::D1 | Shape::A1d) {
                            continue;
                        }
                        let form = Form { op, depth: true, ..TEX };
                        let kind = format!("{}/{filter:?}/{}", word(shape), channel_name(channel));
                        let name = format!("depths/{resource:?}/{op}/{kind}");
                        let how = (sampler(filter, true, AddressMode::Clamp), channel == Channel::U16);
                        let extent = size(4, 4, 1);
                        let place = (channel, 1);
                        let case =
                            all.texture(name, shape, place, &extent, Content::Uniform, how, form, 4, |random, data| {
                                if op == "tex.level" {
                                    data.push(0);
                                }
                                data.push(random.between(-1.2, 1.2).to_bits_f32());
                            });
                        case.resource = resource;
                        let inputs = case.inputs;
                        case.data.truncate(inputs * 512);
                    }
                }
            }
        }
    }
}

fn queries(all: &mut Cases) {
    let of_textures = [
        "width",
        "height",
        "depth",
        "channel_data_type",
        "channel_order",
        "normalized_coords",
        "array_size",
        "num_mipmap_levels",
        "num_samples",
        "force_unnormalized_coords",
        "filter_mode",
        "addr_mode_0",
        "addr_mode_1",
        "addr_mode_2",
    ];
    let of_surfaces = ["width", "height", "depth", "channel_data_type", "channel_order", "array_size", "memory_layout"];
    let modes = [AddressMode::Wrap, AddressMode::Mirror, AddressMode::Border];
    let one = |name: String, body: String, shape, image: Image, texture| {
        let texels = vec![0; image.packed_bytes() as usize];
        let resource = Resource::Array;
        Case { name, image, shape, resource, texels, texture, body, inputs: 1, outputs: 1, data: vec![0] }
    };
    for shape in SHAPES {
        let wide = image(shape, Channel::F32, 1, [12, 12, 5], 3, 1);
        let deep = image(shape, Channel::U8, 4, [12, 12, 5], 3, 3);
        for (n, (image, how)) in [
            (wide, (sampler(Filter::Nearest, false, AddressMode::Clamp), false)),
            (deep, (Sampler { address: modes, ..sampler(Filter::Linear, true, AddressMode::Wrap) }, true)),
        ]
        .into_iter()
        .enumerate()
        {
            for query in of_textures {
                let name = format!("queries/txq.{query}/{}/{n}", word(shape));
                all.push(one(name, format!("txq.{query}.b32 %o0, [%t];"), shape, image.clone(), Some(how)));
            }
            for query in ["width", "height", "depth"] {
                let name = format!("queries/txq.level.{query}/{}/{n}", word(shape));
                let body = format!("txq.level.{query}.b32 %o0, [%t], %r0;");
                let mut case = one(name, body, shape, image.clone(), Some(how));
                case.data = vec![0, 1, 2, 3, 4, 15, 16, 32, u32::MAX];
                all.push(case);
            }
            if n == 0 {
                for query in of_surfaces {
                    let name = format!("queries/suq.{query}/{}", word(shape));
                    all.push(one(name, format!("suq.{query}.b32 %o0, [%t];"), shape, image.clone(), None));
                }
            }
        }
    }
    for channel in CHANNELS {
        for channels in [1, 2, 4] {
            for normalized in [false, true] {
                for query in ["channel_data_type", "channel_order"] {
                    let image = image(Shape::D2, channel, channels, [4, 4, 1], 1, 1);
                    let how = (sampler(Filter::Nearest, false, AddressMode::Clamp), normalized);
                    let kind = format!("{}x{channels}{}", channel_name(channel), if normalized { "n" } else { "" });
                    let name = format!("queries/txq.{query}/{kind}");
                    let body = format!("txq.{query}.b32 %o0, [%t];");
                    all.push(one(name, body, Shape::D2, image.clone(), Some(how)));
                    if !normalized {
                        let name = format!("queries/suq.{query}/{kind}");
                        all.push(one(name, format!("suq.{query}.b32 %o0, [%t];"), Shape::D2, image, None));
                    }
                }
            }
        }
    }
    for mode in MODES {
        for query in ["addr_mode_0", "addr_mode_1", "addr_mode_2"] {
            let image = image(Shape::D3, Channel::F32, 1, [4, 4, 4], 1, 1);
            let how = (sampler(Filter::Nearest, true, mode), false);
            let name = format!("queries/txq.{query}/{mode:?}");
            all.push(one(name, format!("txq.{query}.b32 %o0, [%t];"), Shape::D3, image, Some(how)));
        }
    }
    for kind in ["texref", "surfref", "samplerref"] {
        for texture in [None, Some((sampler(Filter::Nearest, false, AddressMode::Clamp), false))] {
            let image = image(Shape::D2, Channel::F32, 1, [4, 4, 1], 1, 1);
            let name = format!("queries/istypep.{kind}/{}", if texture.is_some() { "texture" } else { "surface" });
            let body = format!("istypep.{kind} %p0, %t; selp.b32 %o0, 1, 0, %p0;");
            all.push(one(name, body, Shape::D2, image, texture));
        }
    }
}

#[path = "surfaces.rs"]
mod surfaces;
