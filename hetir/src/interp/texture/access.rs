//! What the instructions of textures and surfaces do, for whatever executes them.

use super::filter;
use super::{AddressMode, Channel, Compare, Filter, Image, Kind, Object, Sampler, Texture};
use crate::attr::{
    AtomOp, Attr, Component, Coordinates, DepthCompare, Geometry, ImageKind, ImageQuery, Lod, Outside, SeparateSampler,
    SurfaceUnit, TexelOffset,
};
use crate::eval::combine;
use crate::interp::FaultKind;
use crate::ir::{InstData, Module};
use crate::num::{self, Format, Mode};
use crate::op::Op;
use crate::types::Scalar;

/// What executes an instruction of textures or surfaces for lanes of a warp.
pub trait Machine<'l> {
    /// Why an instruction failed.
    type Error;

    /// A failure on behalf of a lane.
    fn fail(&self, kind: FaultKind, lane: usize, message: String) -> Self::Error;
    /// The instruction.
    fn inst(&self) -> InstData;
    /// The lanes that execute it.
    fn lanes(&self) -> u32;
    /// How many operands and results it has.
    fn counts(&self) -> (usize, usize);
    /// An operand in a lane; 0 where there is none.
    fn arg(&self, n: usize, lane: usize) -> u64;
    /// Sets a result in a lane.
    fn set(&mut self, n: usize, lane: usize, value: u64);
    /// What handles stand for.
    fn objects(&self) -> &'l [Object];
    /// The program.
    fn module(&self) -> &'l Module;
    /// Where its variables are.
    fn globals(&self) -> &'l [u64];
    /// The handle that the variable at an address holds.
    fn held(&mut self, address: u64) -> Option<u64>;
    /// Reads global memory.
    ///
    /// # Errors
    /// No memory is there.
    fn read(&mut self, lane: usize, address: u64, out: &mut [u8]) -> Result<(), Self::Error>;
    /// Writes global memory.
    ///
    /// # Errors
    /// No memory is there.
    fn write(&mut self, lane: usize, address: u64, data: &[u8]) -> Result<(), Self::Error>;
    /// Replaces so many bytes of global memory by a function of themselves, as one step.
    ///
    /// # Errors
    /// No memory is there.
    fn update(
        &mut self,
        lane: usize,
        address: u64,
        bytes: usize,
        change: &dyn Fn(u128) -> u128,
    ) -> Result<(), Self::Error>;
}

/// Executes the instruction.
///
/// # Errors
/// What the instruction does not allow, and accesses of no memory.
pub fn execute<'l, M: Machine<'l>>(machine: &mut M) -> Result<(), M::Error> {
    let step = &mut Step(machine, std::marker::PhantomData);
    match step.0.inst().op {
        Op::Tex => fetch(step),
        Op::TexGather => gather(step),
        Op::ImageQuery => query(step),
        Op::IsImage => is_image(step),
        Op::SurfLoad => load(step),
        Op::SurfStore => store(step),
        Op::SurfRed => reduce(step),
        op => {
            let message = format!("`{}` is no access of a texture or surface", op.info().name);
            Err(step.0.fail(FaultKind::Unsupported, 0, message))
        }
    }
}

/// The instruction under way.
struct Step<'s, 'l, M>(&'s mut M, std::marker::PhantomData<&'l ()>);

fn lanes(mask: u32) -> impl Iterator<Item = usize> {
    (0..32).filter(move |lane| mask >> lane & 1 != 0)
}

/// A texel: bits of f32 or of 32-bit integers, or of channels.
pub(super) type Texel = [u32; 4];

/// One lane's access of a texture.
struct Access<'a> {
    texture: &'a Texture,
    sampler: Sampler,
    geometry: Geometry,
    lane: usize,
    /// Slice, layer or face; the first of a cube's six.
    slice: u64,
    /// The layer is none of the image's; the last one stands for it.
    is_beyond: bool,
    sample: u64,
    coordinates: [f64; 3],
    offsets: [i64; 3],
    depth: Option<f32>,
}

/// Texels along one dimension: two, `None` being the border, and the weight of the second one.
#[derive(Clone, Copy)]
pub(super) struct Pair {
    pub(super) texels: [Option<i64>; 2],
    pub(super) weight: i64,
}

/// No dimension.
const ALONE: Pair = Pair { texels: [Some(0); 2], weight: 0 };

impl<'l, M: Machine<'l>> Step<'_, 'l, M> {
    fn attr<A: Attr>(&self) -> A {
        self.0.inst().attr()
    }
    fn trouble<T>(&self, kind: FaultKind, lane: usize, message: impl Into<String>) -> Result<T, M::Error> {
        Err(self.0.fail(kind, lane, message.into()))
    }
    /// The module's variables and their addresses.
    fn variables(&self) -> impl Iterator<Item = (&'l crate::ir::Global, u64)> + use<'l, M> {
        self.0.module().globals.iter().zip(self.0.globals().iter().copied())
    }
    /// What a handle, or the variable at this address that holds one, stands for.
    fn object(&mut self, handle: u64) -> Option<&'l Kind> {
        let objects = self.0.objects();
        let known = |handle| objects.iter().find(|o| o.handle == handle).map(|o| &o.kind);
        known(handle).or_else(|| {
            self.variables().find(|(g, a)| g.opaque.is_some() && *a == handle)?;
            known(self.0.held(handle)?)
        })
    }
    fn no_object<T>(&self, lane: usize, handle: u64, what: &str) -> Result<T, M::Error> {
        self.trouble(FaultKind::BadOperand, lane, format!("{handle:#x} is no {what}"))
    }
    fn texture(&mut self, lane: usize, handle: u64) -> Result<&'l Texture, M::Error> {
        match self.object(handle) {
            Some(Kind::Texture(texture)) if !texture.image.levels.is_empty() => Ok(texture),
            _ => self.no_object(lane, handle, "texture"),
        }
    }
    fn surface(&mut self, lane: usize, handle: u64) -> Result<&'l Image, M::Error> {
        match self.object(handle) {
            Some(Kind::Surface(image)) if !image.levels.is_empty() => Ok(image),
            _ => self.no_object(lane, handle, "surface"),
        }
    }
    /// A sampler; one that a variable's initial value describes needs no handle.
    fn sampler(&mut self, lane: usize, handle: u64, of: &Texture) -> Result<Sampler, M::Error> {
        if let Some(Kind::Sampler(sampler)) = self.object(handle) {
            return Ok(*sampler);
        }
        match self.variables().find(|(g, a)| *a == handle && !g.fields.is_empty()) {
            Some((global, _)) => Ok(described(&global.fields, of.sampler.normalized)),
            None => self.no_object(lane, handle, "sampler"),
        }
    }
    /// The bits of a texel's channels; `None` is the border. Channels that the image has not are 0.
    fn texel(&mut self, access: &Access<'_>, level: usize, at: [Option<i64>; 3]) -> Result<Texel, M::Error> {
        let (texture, image) = (access.texture, &access.texture.image);
        let mut texel = [0; 4];
        let channels = usize::from(image.channels).min(4);
        let [Some(x), Some(y), Some(z)] = at else {
            for (value, border) in texel.iter_mut().zip(access.sampler.border).take(channels) {
                *value = encode(image.channel, texture.normalized_floats, border);
            }
            return Ok(texel);
        };
        let plane = image.levels[level.min(image.levels.len() - 1)];
        let size = image.texel_bytes();
        let column = (x as u64).wrapping_mul(image.samples.into()).wrapping_add(access.sample);
        let address = plane
            .address
            .wrapping_add(plane.slice.wrapping_mul(access.slice.wrapping_add(z as u64)))
            .wrapping_add(plane.row.wrapping_mul(y as u64))
            .wrapping_add(column.wrapping_mul(size as u64));
        let mut bytes = [0; 16];
        let Some(bytes) = bytes.get_mut(..size) else {
            return self.trouble(FaultKind::Unsupported, access.lane, format!("texels of {size} bytes"));
        };
        self.0.read(access.lane, address, bytes)?;
        for (value, bytes) in texel.iter_mut().zip(bytes.chunks_exact(image.channel.bytes())) {
            let mut word = [0; 4];
            word[..bytes.len()].copy_from_slice(bytes);
            *value = u32::from_le_bytes(word);
        }
        Ok(texel)
    }

    /// A texel as it is read.
    fn point(&mut self, access: &Access<'_>, level: usize, at: [Option<i64>; 3]) -> Result<Texel, M::Error> {
        let (channel, normalized) = (access.texture.image.channel, access.texture.normalized_floats);
        let texel = self.texel(access, level, at)?.map(|bits| filter::widen(channel, normalized, bits));
        Ok(match access.depth {
            Some(depth) => {
                let passes = compare(access.sampler.compare, depth, f32::from_bits(texel[0]));
                [f32::from(passes).to_bits(); 4]
            }
            None => texel,
        })
    }

    /// A texture read at one level or, if the second one has a weight, between two.
    fn sample(&mut self, access: &Access<'_>, levels: [usize; 2], second: i64) -> Result<Texel, M::Error> {
        let linear = access.sampler.filter == Filter::Linear && access.is_float();
        if !linear && second == 0 {
            let (face, pairs) = access.place(levels[0], false);
            let placed = Access { slice: access.slice + face, ..*access };
            return self.point(&placed, levels[0], pairs.map(|pair| pair.texels[0]));
        }
        // Of two levels and two slices each. Nothing is held that would be lost if an access of memory did not come back.
        let (mut all, mut count) = ([filter::Quad::default(); 4], 0);
        for (level, weight) in [(levels[0], filter::WHOLE - second), (levels[1], second)] {
            if weight == 0 {
                continue;
            }
            let (face, [x, y, z]) = access.place(level, linear);
            let placed = Access { slice: access.slice + face, ..*access };
            let far = weight - filter::part(weight, filter::WHOLE - z.weight);
            for (z, weight) in [(z.texels[0], weight - far), (z.texels[1], far)] {
                if weight == 0 {
                    continue;
                }
                let mut quad =
                    filter::Quad { weights: filter::weights(weight, x.weight, y.weight), ..Default::default() };
                // A weight may be 0 by rounding: then the texel is still read, as NaNs show.
                for (n, texel) in quad.texels.iter_mut().enumerate() {
                    if (n & 1 == 0 || x.weight != 0) && (n < 2 || y.weight != 0) {
                        *texel = self.texel(&placed, level, [x.texels[n & 1], y.texels[n >> 1], z])?;
                    }
                }
                all[count] = quad;
                count += 1;
            }
        }
        let quads = &mut all[..count];
        let (channel, normalized) = (access.texture.image.channel, access.texture.normalized_floats);
        if let Some(depth) = access.depth {
            let passes = |texel: Texel| {
                let texel = f32::from_bits(filter::widen(channel, normalized, texel[0]));
                [f32::from(compare(access.sampler.compare, depth, texel)).to_bits(); 4]
            };
            quads.iter_mut().for_each(|quad| quad.texels = quad.texels.map(passes));
            return Ok(filter::mix(Channel::F32, quads));
        }
        Ok(filter::mix(channel, quads))
    }

    /// A texture read between the levels; without a level, at the least one that the sampler allows.
    fn sample_levels(&mut self, access: &Access<'_>, level: Option<f64>) -> Result<Texel, M::Error> {
        let last = access.texture.image.levels.len() - 1;
        let steps = |level: f64| (level * filter::WHOLE as f64).floor() as i64;
        let signed = |level: f64| (level * filter::WHOLE as f64) as i64;
        let bias = signed(access.sampler.level_bias.into());
        let [least, most] = access.sampler.level_range.map(|level| steps(level.into()));
        let wanted = level.map_or(0, |level| signed(level).saturating_add(bias));
        let level = wanted.min(most).max(least).clamp(0, last as i64 * filter::WHOLE);
        if access.sampler.mip_filter == Filter::Nearest || !access.is_float() {
            return self.sample(access, [((level + 0x80) >> 8) as usize; 2], 0);
        }
        let near = (level >> 8) as usize;
        self.sample(access, [near, near + 1], level & 0xff)
    }

    /// Texel by number: outside there are zeros, or where a level is named the nearest texel.
    fn fetch_texel(&mut self, access: &Access<'_>, at: [i64; 3], level: i64) -> Result<Texel, M::Error> {
        let image = &access.texture.image;
        let Some(level) = usize::try_from(level).ok().filter(|l| *l < image.levels.len()) else {
            return Ok([0; 4]);
        };
        let extents = image.extents(level);
        let is_clamped = self.attr::<Lod>() == Lod::Level;
        if access.is_beyond && !is_clamped {
            return Ok([0; 4]);
        }
        let mut place = [Some(0); 3];
        for d in 0..access.geometry.dimensions() {
            // A line is plain memory there, and knows no offset.
            let offset = if access.geometry == Geometry::D1 { 0 } else { access.offsets[d] };
            let (at, last) = (at[d].saturating_add(offset), i64::from(extents[d]) - 1);
            if at != at.clamp(0, last) && !is_clamped {
                return Ok([0; 4]);
            }
            place[d] = Some(at.clamp(0, last));
        }
        self.point(access, level, place)
    }

    /// Sets the results: residency and the components.
    fn set_texel(&mut self, access: &Access<'_>, texel: Texel) {
        let lane = access.lane;
        self.0.set(0, lane, 1);
        let ty = self.0.inst().ty;
        // Also integers are converted as if they were floats.
        let narrow = |bits: u32| num::convert(Format::F32, Format::F16, bits.into(), Mode::RN);
        match (ty.scalar, ty.lanes) {
            (Scalar::F16, 1) => (0..4).for_each(|n| self.0.set(n + 1, lane, narrow(texel[n]))),
            (Scalar::F16, _) => {
                (0..2).for_each(|n| self.0.set(n + 1, lane, narrow(texel[2 * n]) | narrow(texel[2 * n + 1]) << 16));
            }
            _ => (0..4).for_each(|n| self.0.set(n + 1, lane, texel[n].into())),
        }
    }
}

impl Access<'_> {
    fn is_float(&self) -> bool {
        let channel = self.texture.image.channel;
        channel.is_float() || self.texture.normalized_floats && channel.bytes() < 4
    }
    /// The face of a cube, and where the coordinates lie in a level.
    fn place(&self, level: usize, linear: bool) -> (u64, [Pair; 3]) {
        let extents = self.texture.image.extents(level);
        let cube = self.geometry.is_cube();
        let (face, coordinates) = if cube { face(self.coordinates) } else { (0, self.coordinates) };
        let normalized = self.sampler.normalized || cube;
        let count = if cube { 2 } else { self.geometry.dimensions() };
        let mut pairs = [ALONE; 3];
        for (d, pair) in pairs.iter_mut().enumerate() {
            let mode = match self.sampler.address[d] {
                AddressMode::Wrap | AddressMode::Mirror if !normalized => AddressMode::Clamp,
                mode => mode,
            };
            // A line lies at the upper edge of its only row, so that half of the border belongs to it.
            if d < count || d == 1 && self.geometry == Geometry::D1 && mode == AddressMode::Border {
                let at = filter::scale(coordinates[d], extents[d], normalized, mode);
                *pair = filter::pair(at, extents[d].into(), mode, self.offsets[d], linear);
            }
        }
        (face, pairs)
    }
}

/// The face that a direction meets, and where: CUDA programming guide, cubemap textures.
///
/// The hardware scales the longest part to 1 first, so that one whose reciprocal is subnormal makes the others 0 and an
/// infinite one a NaN, as a direction without length is as a whole. NaNs are never the longest part, and count as 0.
fn face(direction: [f64; 3]) -> (u64, [f64; 3]) {
    const LONGEST: f64 = 8.507059173023462e37;
    let longest = direction.iter().fold(0.0, |longest: f64, part| longest.max(part.abs()));
    let scaled = direction.map(|part| match () {
        () if longest > 0.0 && longest <= LONGEST => part,
        () if longest == 0.0 => f64::NAN,
        () if part.is_finite() => 0.0,
        () => f64::NAN,
    });
    let [ax, ay, az] = scaled.map(|part| if part.is_nan() { -1.0 } else { part.abs() });
    let [x, y, z] = scaled.map(|part| if part.is_nan() { 0.0 } else { part });
    let (face, m, s, t) = if ax > ay && ax > az {
        if x >= 0.0 { (0, ax, -z, -y) } else { (1, ax, z, -y) }
    } else if ay > az {
        if y >= 0.0 { (2, ay, x, z) } else { (3, ay, x, -z) }
    } else if z >= 0.0 {
        (4, az, x, -y)
    } else {
        (5, az, -x, -y)
    };
    // Subnormal parts count as 0; of others a tiny distance to the left of the middle would be lost in the sum.
    let along = |part: f64| match part / m {
        at if at.is_nan() || at.abs() < f64::from(f32::MIN_POSITIVE) => 0.5,
        at if at < 0.0 => (at + 1.0).min(1.0 - f64::EPSILON) / 2.0,
        at => (at + 1.0) / 2.0,
    };
    (face, [along(s), along(t), 0.0])
}

/// A border's component as the bits of a channel.
fn encode(channel: Channel, normalized: bool, border: f32) -> u32 {
    // To the nearest fraction; of two the one nearer to 0.
    let unit = |most: f64, least: f64| {
        let scaled = f64::from(border).clamp(least, 1.0) * most;
        let nearest = (scaled.abs() - 0.5).ceil().copysign(scaled);
        nearest as i32 as u32
    };
    match channel {
        Channel::U8 if normalized => unit(255.0, 0.0),
        Channel::U16 if normalized => unit(65535.0, 0.0),
        Channel::S8 if normalized => unit(127.0, -1.0) & 0xff,
        Channel::S16 if normalized => unit(32767.0, -1.0) & 0xffff,
        Channel::F16 => cut(border.to_bits()),
        Channel::U8 | Channel::S8 => border.to_bits() & 0xff,
        Channel::U16 | Channel::S16 => border.to_bits() & 0xffff,
        Channel::U32 | Channel::S32 | Channel::F32 => border.to_bits(),
    }
}

/// A float without the bits that an f16 has no place for; what is too large becomes the largest number.
fn cut(bits: u32) -> u32 {
    match f32::from_bits(bits).is_nan() {
        true => bits >> 16 & 0x8000 | 0x7c00 | bits >> 13 & 0x3ff,
        false => num::convert(Format::F32, Format::F16, bits.into(), Mode::new(num::Round::Rz)) as u32,
    }
}

/// A component of a formatted store as the bits of a channel: integers are clamped.
fn narrow(channel: Channel, bits: u32) -> u32 {
    match channel {
        Channel::F16 => cut(bits),
        Channel::U8 => bits.min(0xff),
        Channel::U16 => bits.min(0xffff),
        Channel::S8 => (bits as i32).clamp(-0x80, 0x7f) as u32,
        Channel::S16 => (bits as i32).clamp(-0x8000, 0x7fff) as u32,
        Channel::U32 | Channel::S32 | Channel::F32 => bits,
    }
}

fn compare(how: Compare, depth: f32, texel: f32) -> bool {
    match how {
        Compare::Off | Compare::Never => false,
        Compare::Less => depth < texel,
        Compare::Equal => depth == texel,
        Compare::LessEqual => depth <= texel,
        Compare::Greater => depth > texel,
        Compare::NotEqual => depth != texel,
        Compare::GreaterEqual => depth >= texel,
        Compare::Always => true,
    }
}

/// The sampler of a variable's initial value.
fn described(fields: &[(String, String)], normalized: bool) -> Sampler {
    let field = |name: &str| fields.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value.as_str());
    let address = |name: &str| match field(name) {
        "wrap" => AddressMode::Wrap,
        "mirror" => AddressMode::Mirror,
        "clamp_to_border" => AddressMode::Border,
        _ => AddressMode::Clamp,
    };
    Sampler {
        address: ["addr_mode_0", "addr_mode_1", "addr_mode_2"].map(address),
        filter: if field("filter_mode") == "linear" { Filter::Linear } else { Filter::Nearest },
        normalized: normalized && !matches!(field("force_unnormalized_coords"), "1" | "true"),
        ..Sampler::default()
    }
}

/// The level for which a step of a pixel is one texel: by the larger axis of the ellipse that the steps span, which the
/// hardware finds to about 0.15 of a level; in one dimension, by the sum that stands for its length there.
fn level_of(access: &Access<'_>, by_x: [f64; 3], by_y: [f64; 3]) -> f64 {
    let image = &access.texture.image;
    let scaled = |step: [f64; 3]| {
        let scale = |d: usize| if access.sampler.normalized { f64::from(image.extents(0)[d]) } else { 1.0 };
        // NaNs count as 0.
        [0, 1, 2].map(|d| if step[d].is_nan() { 0.0 } else { step[d] * scale(d) })
    };
    let (x, y) = (scaled(by_x), scaled(by_y));
    let dot = |a: [f64; 3], b: [f64; 3]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let (xx, yy, xy) = (dot(x, x), dot(y, y), dot(x, y));
    let longest = if access.geometry.dimensions() == 1 {
        let (x, y) = (x[0].abs(), y[0].abs());
        x.max(y).max((x + y) * 0.6875)
    } else {
        ((xx + yy + (xx - yy).hypot(2.0 * xy)) / 2.0).sqrt()
    };
    // Infinite steps may have cancelled.
    let longest = if longest.is_nan() { f64::INFINITY } else { longest };
    // To the nearest of the steps between levels.
    if longest > 0.0 { longest.log2() + 0.5 / filter::WHOLE as f64 } else { 0.0 }
}

/// The operands of a lane, one after the other.
struct Operands {
    next: usize,
    lane: usize,
}

impl Operands {
    fn bits<'l, M: Machine<'l>>(&mut self, step: &Step<'_, 'l, M>) -> u64 {
        self.next += 1;
        step.0.arg(self.next - 1, self.lane)
    }
    fn int<'l, M: Machine<'l>>(&mut self, step: &Step<'_, 'l, M>) -> i64 {
        i64::from(self.bits(step) as i32)
    }
    fn float<'l, M: Machine<'l>>(&mut self, step: &Step<'_, 'l, M>) -> f64 {
        f64::from(f32::from_bits(self.bits(step) as u32))
    }
}

/// The operands that all accesses begin with.
fn begin<'l, M: Machine<'l>>(
    step: &mut Step<'_, 'l, M>,
    operands: &mut Operands,
    geometry: Geometry,
    texels: bool,
) -> Result<(Access<'l>, [i64; 3]), M::Error> {
    let lane = operands.lane;
    let handle = operands.bits(step);
    let texture = step.texture(lane, handle)?;
    let mut sampler = texture.sampler;
    if step.attr::<SeparateSampler>() == SeparateSampler::Yes {
        sampler = {
            let handle = operands.bits(step);
            step.sampler(lane, handle, texture)?
        };
    }
    let (mut slice, mut is_beyond) = (0, false);
    if geometry.is_layered() {
        let per = if geometry.is_cube() { 6 } else { 1 };
        let layers = u64::from(texture.image.layers) / per;
        let layer = u64::from(operands.bits(step) as u32);
        is_beyond = layer >= layers;
        slice = layer.min(layers.saturating_sub(1)) * per;
    }
    let mut sample = 0;
    if geometry.has_samples() {
        sample = u64::from(operands.bits(step) as u32).min(u64::from(texture.image.samples).saturating_sub(1));
    }
    let (mut coordinates, mut at) = ([0.0; 3], [0; 3]);
    for d in 0..geometry.dimensions() {
        if texels {
            at[d] = operands.int(step);
        } else {
            coordinates[d] = operands.float(step);
        }
    }
    let access = Access {
        texture,
        sampler,
        geometry,
        lane,
        slice,
        is_beyond,
        sample,
        coordinates,
        offsets: [0; 3],
        depth: None,
    };
    Ok((access, at))
}

/// The operands that all accesses end with.
///
/// Of an offset so many bits count, one of which is the sign.
fn end<'l, M: Machine<'l>>(step: &Step<'_, 'l, M>, operands: &mut Operands, access: &mut Access<'_>, bits: u32) {
    if step.attr::<TexelOffset>() == TexelOffset::Yes {
        for d in 0..access.geometry.dimensions() {
            let offset = operands.int(step);
            access.offsets[d] = offset << (64 - bits) >> (64 - bits);
            if access.geometry == Geometry::D1 {
                // The bits behind are the offset of the row, although there is but one.
                access.offsets[1] = offset << 56 >> 60;
            }
        }
    }
    if step.attr::<DepthCompare>() == DepthCompare::Yes {
        let depth = f32::from_bits(operands.bits(step) as u32);
        access.depth = Some(depth).filter(|_| access.sampler.compare != Compare::Off);
    }
}

fn fetch<'l, M: Machine<'l>>(step: &mut Step<'_, 'l, M>) -> Result<(), M::Error> {
    let (geometry, lod) = (step.attr::<Geometry>(), step.attr::<Lod>());
    let texels = step.attr::<Coordinates>() == Coordinates::Texel;
    for lane in lanes(step.0.lanes()) {
        let operands = &mut Operands { next: 0, lane };
        let (mut access, at) = begin(step, operands, geometry, texels)?;
        let (mut number, mut level) = (0, None);
        match lod {
            Lod::Base => {}
            Lod::Level if texels => number = operands.int(step),
            Lod::Level => level = Some(operands.float(step)),
            Lod::Grad => {
                let mut steps = [[0.0; 3]; 2];
                for along in &mut steps {
                    along[..geometry.dimensions()].fill_with(|| operands.float(step));
                }
                level = Some(level_of(&access, steps[0], steps[1]));
            }
        }
        end(step, operands, &mut access, 4);
        let texel = match level {
            // Seen on the hardware: steps find no level there.
            _ if texels && lod == Lod::Grad => [0; 4],
            _ if texels => step.fetch_texel(&access, at, number)?,
            level => step.sample_levels(&access, level)?,
        };
        step.set_texel(&access, texel);
    }
    Ok(())
}

fn gather<'l, M: Machine<'l>>(step: &mut Step<'_, 'l, M>) -> Result<(), M::Error> {
    let geometry = step.attr::<Geometry>();
    let component = match step.attr::<Component>() {
        Component::R => 0,
        Component::G => 1,
        Component::B => 2,
        Component::A => 3,
    };
    for lane in lanes(step.0.lanes()) {
        let operands = &mut Operands { next: 0, lane };
        let (mut access, _) = begin(step, operands, geometry, false)?;
        end(step, operands, &mut access, 6);
        let (face, [pair_x, pair_y, _]) = access.place(0, true);
        access.slice += face;
        let mut four = [0; 4];
        for (value, (x, y)) in four.iter_mut().zip([(0, 1), (1, 1), (1, 0), (0, 0)]) {
            let at = [pair_x.texels[x], pair_y.texels[y], Some(0)];
            let image = &access.texture.image;
            *value = if image.channel == Channel::S8 && access.is_float() {
                let texel = step.texel(&access, 0, at)?;
                filter::mix(Channel::S8, &[filter::Quad { texels: [texel; 4], weights: [filter::WHOLE, 0, 0, 0] }])
            } else {
                step.point(&access, 0, at)?
            }[component];
        }
        step.set_texel(&access, four);
    }
    Ok(())
}

/// PTX, channel data type and channel order fields: the numbers are OpenCL's.
fn data_type(image: &Image, normalized: bool) -> u32 {
    match image.channel {
        Channel::S8 if normalized => 0x10d0,
        Channel::S16 if normalized => 0x10d1,
        Channel::U8 if normalized => 0x10d2,
        Channel::U16 if normalized => 0x10d3,
        Channel::S8 => 0x10d7,
        Channel::S16 => 0x10d8,
        Channel::S32 => 0x10d9,
        Channel::U8 => 0x10da,
        Channel::U16 => 0x10db,
        Channel::U32 => 0x10dc,
        Channel::F16 => 0x10dd,
        Channel::F32 => 0x10de,
    }
}

/// Layers count as rows of lines and as slices of planes; a dimension that an image has not is 0, but for the height of a
/// texture, and so are the extents of a level that it has not.
fn image_property(image: &Image, normalized: bool, query: ImageQuery, level: usize, is_texture: bool) -> Option<u32> {
    let [width, height, depth] = image.extents(level);
    let is_there = u32::from(level < image.levels.len());
    Some(match query {
        ImageQuery::Width => width * is_there,
        ImageQuery::Height if image.height == 1 && image.layers > 1 => image.layers * is_there,
        ImageQuery::Height if image.height == 1 && image.depth == 1 && !is_texture => 0,
        ImageQuery::Height => height * is_there,
        ImageQuery::Depth if image.depth > 1 => depth * is_there,
        ImageQuery::Depth if image.height > 1 && image.layers > 1 => image.layers * is_there,
        ImageQuery::Depth => 0,
        ImageQuery::ChannelDataType => data_type(image, normalized),
        ImageQuery::ChannelOrder => match image.channels {
            1 => 0x10b0,
            2 => 0x10b2,
            _ => 0x10b5,
        },
        ImageQuery::ArraySize => image.layers,
        ImageQuery::MipLevels => image.levels.len() as u32,
        ImageQuery::Samples => image.samples,
        // 1 stands for rows that follow each other.
        ImageQuery::MemoryLayout => 1,
        ImageQuery::NormalizedCoords
        | ImageQuery::ForceUnnormalized
        | ImageQuery::FilterMode
        | ImageQuery::AddressX
        | ImageQuery::AddressY
        | ImageQuery::AddressZ => return None,
    })
}

/// PTX, addressing and filter fields: `wrap mirror clamp_ogl clamp_to_edge clamp_to_border`, `nearest linear`.
fn sampler_property(sampler: &Sampler, query: ImageQuery) -> Option<u32> {
    let address = |d: usize| match sampler.address[d] {
        AddressMode::Wrap => 0,
        AddressMode::Mirror => 1,
        AddressMode::Clamp => 3,
        AddressMode::Border => 4,
    };
    Some(match query {
        ImageQuery::NormalizedCoords => u32::from(sampler.normalized),
        ImageQuery::ForceUnnormalized => u32::from(!sampler.normalized),
        ImageQuery::FilterMode => u32::from(sampler.filter == Filter::Linear),
        ImageQuery::AddressX => address(0),
        ImageQuery::AddressY => address(1),
        ImageQuery::AddressZ => address(2),
        ImageQuery::Width
        | ImageQuery::Height
        | ImageQuery::Depth
        | ImageQuery::ChannelDataType
        | ImageQuery::ChannelOrder
        | ImageQuery::ArraySize
        | ImageQuery::MipLevels
        | ImageQuery::Samples
        | ImageQuery::MemoryLayout => return None,
    })
}

fn query<'l, M: Machine<'l>>(step: &mut Step<'_, 'l, M>) -> Result<(), M::Error> {
    let query = step.attr::<ImageQuery>();
    for lane in lanes(step.0.lanes()) {
        let (handle, level) = (step.0.arg(0, lane), step.0.arg(1, lane) as u32 as usize);
        let value = match step.object(handle) {
            Some(Kind::Texture(t)) => image_property(&t.image, t.normalized_floats, query, level, true)
                .or_else(|| sampler_property(&t.sampler, query)),
            Some(Kind::Surface(image)) => image_property(image, false, query, level, false),
            Some(Kind::Sampler(sampler)) => sampler_property(sampler, query),
            None => {
                let found = step.variables().find(|(g, a)| *a == handle && !g.fields.is_empty());
                found.and_then(|(g, _)| sampler_property(&described(&g.fields, true), query))
            }
        };
        let Some(value) = value else {
            return step.no_object(lane, handle, &format!("object with the property {}", query.name()));
        };
        step.0.set(0, lane, value.into());
    }
    Ok(())
}

fn is_image<'l, M: Machine<'l>>(step: &mut Step<'_, 'l, M>) -> Result<(), M::Error> {
    let kind = step.attr::<ImageKind>();
    for lane in lanes(step.0.lanes()) {
        let handle = step.0.arg(0, lane);
        // Of a handle nothing can be told.
        let is_variable = step.variables().any(|(g, a)| g.opaque.is_some() && a == handle);
        let is = is_variable
            && matches!(
                (kind, step.object(handle)),
                (ImageKind::Texture, Some(Kind::Texture(_)))
                    | (ImageKind::Sampler, Some(Kind::Sampler(_)))
                    | (ImageKind::Surface, Some(Kind::Surface(_)))
            );
        step.0.set(0, lane, is.into());
    }
    Ok(())
}

/// Where a surface is accessed; `None` where nothing is.
fn locate<'l, M: Machine<'l>>(
    step: &Step<'_, 'l, M>,
    lane: usize,
    image: &Image,
    unit: SurfaceUnit,
    size: usize,
) -> Result<Option<u64>, M::Error> {
    let geometry = step.attr::<Geometry>();
    let plane = image.levels[0];
    let row = u64::from(image.width) * u64::from(image.samples) * image.texel_bytes() as u64;
    let scale = if unit == SurfaceUnit::Texels { image.texel_bytes() as i64 } else { 1 };
    let int = |n: usize| i64::from(step.0.arg(n, lane) as i32);
    let mut at = [int(1) * scale, int(2), int(3)];
    if geometry.is_layered() {
        // The layer has 16 bits and a sign beyond them.
        at[2] = i64::from(step.0.arg(3, lane) as u16);
    }
    let slices = if geometry == Geometry::D3 { image.depth } else { image.layers };
    let ends = [row as i64 - size as i64 + 1, i64::from(image.height), i64::from(slices)];
    let outside = (0..3).find(|d| at[*d] < 0 || at[*d] >= ends[*d]);
    if let Some(d) = outside {
        match step.attr::<Outside>() {
            Outside::Zero => return Ok(None),
            Outside::Clamp if ends.iter().all(|e| *e > 0) => {
                (0..3).for_each(|d| at[d] = at[d].clamp(0, ends[d] - 1));
                at[0] -= at[0] % size as i64;
            }
            Outside::Clamp | Outside::Trap => {
                let what = ["byte", "row", "slice"][d];
                let message = format!(
                    "{size}-byte access at {what} {} of a surface that has {}",
                    at[d],
                    [row as i64, ends[1], ends[2]][d]
                );
                return step.trouble(FaultKind::OutOfBounds, lane, message);
            }
        }
    }
    if scale == 1 && !(at[0] as u64).is_multiple_of(size as u64) {
        let message = format!("{size}-byte access at byte {}, which is no multiple of {size}", at[0]);
        return step.trouble(FaultKind::Misaligned, lane, message);
    }
    let [x, y, z] = at.map(|n| n as u64);
    Ok(Some(plane.address.wrapping_add(z.wrapping_mul(plane.slice)).wrapping_add(y.wrapping_mul(plane.row)) + x))
}

/// Most bytes of a surface access.
const MAX_SURFACE_ACCESS: usize = 16;

fn load<'l, M: Machine<'l>>(step: &mut Step<'_, 'l, M>) -> Result<(), M::Error> {
    let one = step.0.inst().ty.bytes() as usize;
    let (_, count) = step.0.counts();
    for lane in lanes(step.0.lanes()) {
        let image = step.surface(lane, step.0.arg(0, lane))?;
        let size = (one * count).min(MAX_SURFACE_ACCESS);
        let mut bytes = [0; MAX_SURFACE_ACCESS];
        if let Some(address) = locate(step, lane, image, SurfaceUnit::Bytes, size)? {
            step.0.read(lane, address, &mut bytes[..size])?;
        }
        for (n, part) in bytes[..size].chunks_exact(one).enumerate() {
            let mut word = [0; 8];
            word[..one].copy_from_slice(part);
            step.0.set(n, lane, u64::from_le_bytes(word));
        }
    }
    Ok(())
}

fn store<'l, M: Machine<'l>>(step: &mut Step<'_, 'l, M>) -> Result<(), M::Error> {
    let unit = step.attr::<SurfaceUnit>();
    let (count, _) = step.0.counts();
    for lane in lanes(step.0.lanes()) {
        let image = step.surface(lane, step.0.arg(0, lane))?;
        let (mut data, mut size) = ([0; MAX_SURFACE_ACCESS], 0);
        let mut put = |bytes: &[u8]| {
            if let Some(place) = data.get_mut(size..size + bytes.len()) {
                place.copy_from_slice(bytes);
                size += bytes.len();
            }
        };
        if unit == SurfaceUnit::Texels {
            for n in 0..usize::from(image.channels) {
                let value = step.0.arg(4 + n, lane) as u32;
                put(&narrow(image.channel, value).to_le_bytes()[..image.channel.bytes()]);
            }
        } else {
            let one = (step.0.inst().ty.bytes() as usize).min(8);
            (4..count).for_each(|n| put(&step.0.arg(n, lane).to_le_bytes()[..one]));
        }
        if let Some(address) = locate(step, lane, image, unit, size)? {
            step.0.write(lane, address, &data[..size])?;
        }
    }
    Ok(())
}

fn reduce<'l, M: Machine<'l>>(step: &mut Step<'_, 'l, M>) -> Result<(), M::Error> {
    let (unit, op, ty) = (step.attr::<SurfaceUnit>(), step.attr::<AtomOp>(), step.0.inst().ty);
    let size = ty.bytes() as usize;
    for lane in lanes(step.0.lanes()) {
        let image = step.surface(lane, step.0.arg(0, lane))?;
        if unit == SurfaceUnit::Texels && image.texel_bytes() != size {
            let message = format!("a {size}-byte reduction of texels of {} bytes", image.texel_bytes());
            return step.trouble(FaultKind::BadOperand, lane, message);
        }
        let op = match op {
            AtomOp::UMin if unit == SurfaceUnit::Texels && image.channel.is_signed() => AtomOp::SMin,
            AtomOp::UMax if unit == SurfaceUnit::Texels && image.channel.is_signed() => AtomOp::SMax,
            op => op,
        };
        let Some(address) = locate(step, lane, image, unit, size)? else { continue };
        let value = step.0.arg(4, lane).into();
        step.0.update(lane, address, size, &|old| combine(op, ty, true, old, value))?;
    }
    Ok(())
}
