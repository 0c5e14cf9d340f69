//! Textures and surfaces.

use super::atomic::combine;
use super::memory::Kind;
use super::{Next, Step, Trouble, lanes, trouble};
use crate::attr::{
    AtomOp, Component, Coordinates, DepthCompare, Geometry, ImageKind, ImageQuery, Lod, Outside, SeparateSampler,
    Space, SurfaceUnit, TexelOffset,
};
use crate::interp::FaultKind;
use crate::interp::code::Column;
use crate::interp::texture::{AddressMode, Channel, Compare, Filter, Image, Kind as Object, Sampler, Texture};
use crate::num::{self, Format, Mode};
use crate::types::{Scalar, Type};

/// A texel: bits of f32 or of 32-bit integers.
type Texel = [u32; 4];

/// Steps of a linear weight.
const STEPS: f64 = 256.0;

/// One lane's access of a texture.
struct Access<'a> {
    texture: &'a Texture,
    sampler: Sampler,
    geometry: Geometry,
    lane: usize,
    /// Slice, layer or face; the first of a cube's six.
    slice: u64,
    sample: u64,
    coordinates: [f64; 3],
    offsets: [i64; 3],
    depth: Option<f32>,
}

/// Texels along one dimension: two and the second one's weight.
#[derive(Clone, Copy)]
struct Pair {
    first: i64,
    second: i64,
    weight: f64,
}

/// The operands of an instruction, one after the other.
struct Operands {
    columns: Vec<Column>,
    next: usize,
    lane: usize,
}

impl Operands {
    fn bits(&mut self) -> u64 {
        self.next += 1;
        self.columns.get(self.next - 1).map_or(0, |c| c[self.lane])
    }
    fn int(&mut self) -> i64 {
        i64::from(self.bits() as i32)
    }
    fn float(&mut self) -> f64 {
        f64::from(f32::from_bits(self.bits() as u32))
    }
}

impl<'l> Step<'_, 'l> {
    /// What a handle, or the variable at this address that holds one, stands for.
    fn object(&mut self, handle: u64) -> Option<&'l Object> {
        let launch = self.env.launch;
        let known = |handle| launch.images.iter().find(|o| o.handle == handle).map(|o| &o.kind);
        known(handle).or_else(|| {
            let mut variables = launch.module.globals.iter().zip(launch.globals);
            variables.find(|(g, a)| g.opaque.is_some() && **a == handle)?;
            let mut bytes = [0; 8];
            self.env.memory.read(handle, &mut bytes).ok()?;
            known(u64::from_le_bytes(bytes))
        })
    }
    fn no_object<T>(&self, lane: usize, handle: u64, what: &str) -> Result<T, Box<Trouble>> {
        trouble(FaultKind::BadOperand, lane as u32, format!("{handle:#x} is no {what}"))
    }
    fn texture(&mut self, lane: usize, handle: u64) -> Result<&'l Texture, Box<Trouble>> {
        match self.object(handle) {
            Some(Object::Texture(texture)) if !texture.image.levels.is_empty() => Ok(texture),
            _ => self.no_object(lane, handle, "texture"),
        }
    }
    fn surface(&mut self, lane: usize, handle: u64) -> Result<&'l Image, Box<Trouble>> {
        match self.object(handle) {
            Some(Object::Surface(image)) if !image.levels.is_empty() => Ok(image),
            _ => self.no_object(lane, handle, "surface"),
        }
    }
    /// A sampler; one that a variable's initial value describes needs no handle.
    fn sampler(&mut self, lane: usize, handle: u64, of: &Texture) -> Result<Sampler, Box<Trouble>> {
        if let Some(Object::Sampler(sampler)) = self.object(handle) {
            return Ok(*sampler);
        }
        let launch = self.env.launch;
        let mut variables = launch.module.globals.iter().zip(launch.globals);
        match variables.find(|(g, a)| **a == handle && !g.fields.is_empty()) {
            Some((global, _)) => Ok(described(&global.fields, of.sampler.normalized)),
            None => self.no_object(lane, handle, "sampler"),
        }
    }
    /// The columns of all operands.
    fn operands(&mut self) -> Operands {
        let columns = (0..self.code.args(self.ins).len()).map(|n| self.arg(n)).collect();
        Operands { columns, next: 0, lane: 0 }
    }

    /// A texel of a level; `None` is the border.
    fn texel(&mut self, access: &Access<'_>, level: usize, at: [Option<i64>; 3]) -> Result<Texel, Box<Trouble>> {
        let (texture, image) = (access.texture, &access.texture.image);
        let is_float = image.channel.is_float() || texture.normalized_floats && image.channel.bytes() < 4;
        let one = if is_float { 1f32.to_bits() } else { 1 };
        let mut texel = [0, 0, 0, one];
        let channels = usize::from(image.channels).min(4);
        let [Some(x), Some(y), Some(z)] = at else {
            for (value, border) in texel.iter_mut().zip(access.sampler.border).take(channels) {
                *value = if is_float { border.to_bits() } else { border as i64 as u32 };
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
            return trouble(FaultKind::Unsupported, access.lane as u32, format!("texels of {size} bytes"));
        };
        self.read_space(access.lane, Space::Global, address, bytes, Kind::Read)?;
        for (value, bytes) in texel.iter_mut().zip(bytes.chunks_exact(image.channel.bytes())) {
            let mut word = [0; 4];
            word[..bytes.len()].copy_from_slice(bytes);
            *value = widen(image.channel, texture.normalized_floats, u32::from_le_bytes(word));
        }
        if let Some(depth) = access.depth {
            let passes = compare(access.sampler.compare, depth, f32::from_bits(texel[0]));
            texel = [f32::from(passes).to_bits(); 4];
        }
        Ok(texel)
    }

    /// A texture read at one level.
    fn sample(&mut self, access: &Access<'_>, level: usize) -> Result<Texel, Box<Trouble>> {
        let linear = access.sampler.filter == Filter::Linear && access.is_float();
        let extents = access.texture.image.extents(level);
        let (face, pairs) = access.place(level, linear);
        let count = if access.geometry.is_cube() { 2 } else { access.geometry.dimensions() };
        let placed = Access { slice: access.slice + face, ..*access };
        if !linear {
            let at = access.wrap(extents, count, |d| pairs[d].first);
            return self.texel(&placed, level, at);
        }
        let mut sum = [0.0; 4];
        for corner in 0..1usize << count {
            let far = |d: usize| corner >> d & 1 == 1;
            let weight: f64 =
                (0..count).map(|d| if far(d) { pairs[d].weight } else { 1.0 - pairs[d].weight }).product();
            if weight == 0.0 {
                continue;
            }
            let at = access.wrap(extents, count, |d| if far(d) { pairs[d].second } else { pairs[d].first });
            let texel = self.texel(&placed, level, at)?;
            for (sum, value) in sum.iter_mut().zip(texel) {
                *sum += weight * f64::from(f32::from_bits(value));
            }
        }
        Ok(sum.map(|v| (v as f32).to_bits()))
    }

    /// A texture read between the levels.
    fn sample_levels(&mut self, access: &Access<'_>, level: f64) -> Result<Texel, Box<Trouble>> {
        let last = access.texture.image.levels.len() - 1;
        let [least, most] = access.sampler.level_range.map(f64::from);
        let level = (level + f64::from(access.sampler.level_bias)).max(least).min(most).max(0.0).min(last as f64);
        if access.sampler.mip_filter == Filter::Nearest || !access.is_float() {
            return self.sample(access, (level + 0.5).floor() as usize);
        }
        let steps = (level * STEPS + 0.5).floor();
        let (near, weight) = ((steps / STEPS).floor(), (steps / STEPS).fract());
        let first = self.sample(access, near as usize)?;
        if weight == 0.0 {
            return Ok(first);
        }
        let second = self.sample(access, near as usize + 1)?;
        let mut mixed = first;
        for (value, other) in mixed.iter_mut().zip(second) {
            let [a, b] = [*value, other].map(|bits| f64::from(f32::from_bits(bits)));
            *value = ((a * (1.0 - weight) + b * weight) as f32).to_bits();
        }
        Ok(mixed)
    }

    /// Texel by number: outside there are zeros.
    fn fetch_texel(&mut self, access: &Access<'_>, at: [i64; 3], level: i64) -> Result<Texel, Box<Trouble>> {
        let image = &access.texture.image;
        let Some(level) = usize::try_from(level).ok().filter(|l| *l < image.levels.len()) else {
            return Ok([0; 4]);
        };
        let extents = image.extents(level);
        let mut place = [Some(0); 3];
        for d in 0..access.geometry.dimensions() {
            let at = at[d].saturating_add(access.offsets[d]);
            if at < 0 || at >= i64::from(extents[d]) {
                return Ok([0; 4]);
            }
            place[d] = Some(at);
        }
        self.texel(access, level, place)
    }

    /// Sets the results: residency and the components.
    fn set_texel(&mut self, access: &Access<'_>, texel: Texel) {
        let lane = access.lane;
        self.set(0, lane, 1);
        let ty = self.ins.ty;
        let narrow = |bits: u32| {
            let half = || num::convert(Format::F32, Format::F16, bits.into(), Mode::RN);
            if access.is_float() || access.depth.is_some() { half() } else { u64::from(bits & 0xffff) }
        };
        match (ty.scalar, ty.lanes) {
            (Scalar::F16, 1) => (0..4).for_each(|n| self.set(n + 1, lane, narrow(texel[n]))),
            (Scalar::F16, _) => {
                (0..2).for_each(|n| self.set(n + 1, lane, narrow(texel[2 * n]) | narrow(texel[2 * n + 1]) << 16));
            }
            _ => (0..4).for_each(|n| self.set(n + 1, lane, texel[n].into())),
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
        let (face, coordinates) = if self.geometry.is_cube() { face(self.coordinates) } else { (0, self.coordinates) };
        let normalized = self.sampler.normalized || self.geometry.is_cube();
        let mut pairs = [Pair { first: 0, second: 0, weight: 0.0 }; 3];
        for (d, pair) in pairs.iter_mut().enumerate() {
            let scale = if normalized { f64::from(extents[d]) } else { 1.0 };
            let at = coordinates[d] * scale;
            if linear {
                let steps = ((at - 0.5) * STEPS + 0.5).floor();
                let first = ((steps / STEPS).floor() as i64).saturating_add(self.offsets[d]);
                let weight = (steps / STEPS).fract();
                let weight = if weight < 0.0 { weight + 1.0 } else { weight };
                let weight = if weight.is_finite() { weight } else { 0.0 };
                *pair = Pair { first, second: first.saturating_add(1), weight };
            } else {
                let first = (at.floor() as i64).saturating_add(self.offsets[d]);
                *pair = Pair { first, second: first, weight: 0.0 };
            }
        }
        (face, pairs)
    }
    /// Brings numbers of texels into the image; `None` is the border.
    fn wrap(&self, extents: [u32; 3], count: usize, at: impl Fn(usize) -> i64) -> [Option<i64>; 3] {
        let mut place = [Some(0); 3];
        for d in 0..count {
            let mode = match self.sampler.address[d] {
                _ if self.geometry.is_cube() => AddressMode::Clamp,
                AddressMode::Wrap | AddressMode::Mirror if !self.sampler.normalized => AddressMode::Clamp,
                mode => mode,
            };
            let (at, extent) = (at(d), i64::from(extents[d]));
            place[d] = match mode {
                AddressMode::Clamp => Some(at.clamp(0, extent - 1)),
                AddressMode::Border => Some(at).filter(|at| (0..extent).contains(at)),
                AddressMode::Wrap => Some(at.rem_euclid(extent)),
                AddressMode::Mirror => {
                    let at = at.rem_euclid(2 * extent);
                    Some(if at < extent { at } else { 2 * extent - 1 - at })
                }
            };
        }
        place
    }
}

/// The face that a direction meets, and where: CUDA programming guide, cubemap textures.
fn face([x, y, z]: [f64; 3]) -> (u64, [f64; 3]) {
    let (ax, ay, az) = (x.abs(), y.abs(), z.abs());
    let (face, m, s, t) = if ax > ay && ax > az {
        if x >= 0.0 { (0, ax, -z, -y) } else { (1, ax, z, -y) }
    } else if ay > az {
        if y >= 0.0 { (2, ay, x, z) } else { (3, ay, x, -z) }
    } else if z >= 0.0 {
        (4, az, x, -y)
    } else {
        (5, az, -x, -y)
    };
    (face, [(s / m + 1.0) / 2.0, (t / m + 1.0) / 2.0, 0.0])
}

/// A channel's bits as those of an f32 or of a 32-bit integer.
fn widen(channel: Channel, normalized: bool, bits: u32) -> u32 {
    let signed = match channel {
        Channel::S8 => i32::from(bits as i8),
        Channel::S16 => i32::from(bits as i16),
        _ => bits as i32,
    };
    let unit = |most: i32| (signed.max(-most) as f32 / most as f32).to_bits();
    match channel {
        Channel::F16 => num::convert(Format::F16, Format::F32, bits.into(), Mode::RN) as u32,
        Channel::U8 if normalized => unit(0xff),
        Channel::U16 if normalized => unit(0xffff),
        Channel::S8 if normalized => unit(0x7f),
        Channel::S16 if normalized => unit(0x7fff),
        Channel::U8 | Channel::U16 | Channel::U32 | Channel::S8 | Channel::S16 | Channel::S32 | Channel::F32 => {
            signed as u32
        }
    }
}

/// A component of a formatted store as the bits of a channel: integers are clamped.
fn narrow(channel: Channel, bits: u32) -> u32 {
    match channel {
        Channel::F16 => num::convert(Format::F32, Format::F16, bits.into(), Mode::RN) as u32,
        Channel::U8 => bits.min(0xff),
        Channel::U16 => bits.min(0xffff),
        Channel::S8 => (bits as i32).clamp(-0x80, 0x7f) as u32,
        Channel::S16 => (bits as i32).clamp(-0x8000, 0x7fff) as u32,
        Channel::U32 | Channel::S32 | Channel::F32 => bits,
    }
}

fn compare(how: Compare, depth: f32, texel: f32) -> bool {
    match how {
        Compare::Never => false,
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

/// The level for which a step of a pixel is one texel.
fn level_of(access: &Access<'_>, by_x: [f64; 3], by_y: [f64; 3]) -> f64 {
    let image = &access.texture.image;
    let scale = |d: usize| if access.sampler.normalized { f64::from(image.extents(0)[d]) } else { 1.0 };
    let length = |step: [f64; 3]| (0..3).map(|d| (step[d] * scale(d)).powi(2)).sum::<f64>().sqrt();
    let longest = length(by_x).max(length(by_y));
    if longest > 0.0 { longest.log2() } else { 0.0 }
}

/// The operands that all accesses begin with.
fn begin<'l>(
    step: &mut Step<'_, 'l>,
    operands: &mut Operands,
    geometry: Geometry,
    texels: bool,
) -> Result<(Access<'l>, [i64; 3]), Box<Trouble>> {
    let lane = operands.lane;
    operands.next = 0;
    let handle = operands.bits();
    let texture = step.texture(lane, handle)?;
    let mut sampler = texture.sampler;
    if step.attr::<SeparateSampler>() == SeparateSampler::Yes {
        sampler = step.sampler(lane, operands.bits(), texture)?;
    }
    let mut slice = 0;
    if geometry.is_layered() {
        let per = if geometry.is_cube() { 6 } else { 1 };
        let layers = u64::from(texture.image.layers) / per;
        slice = u64::from(operands.bits() as u32).min(layers.saturating_sub(1)) * per;
    }
    let mut sample = 0;
    if geometry.has_samples() {
        sample = u64::from(operands.bits() as u32).min(u64::from(texture.image.samples).saturating_sub(1));
    }
    let (mut coordinates, mut at) = ([0.0; 3], [0; 3]);
    for d in 0..geometry.dimensions() {
        if texels {
            at[d] = operands.int();
        } else {
            coordinates[d] = operands.float();
        }
    }
    let access = Access { texture, sampler, geometry, lane, slice, sample, coordinates, offsets: [0; 3], depth: None };
    Ok((access, at))
}

/// The operands that all accesses end with.
fn end(step: &Step<'_, '_>, operands: &mut Operands, access: &mut Access<'_>) {
    if step.attr::<TexelOffset>() == TexelOffset::Yes {
        for d in 0..access.geometry.dimensions() {
            access.offsets[d] = operands.int();
        }
    }
    if step.attr::<DepthCompare>() == DepthCompare::Yes {
        access.depth = Some(f32::from_bits(operands.bits() as u32));
    }
}

pub(super) fn fetch(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    let (geometry, lod) = (step.attr::<Geometry>(), step.attr::<Lod>());
    let texels = step.attr::<Coordinates>() == Coordinates::Texel;
    let mut operands = step.operands();
    for lane in lanes(step.lanes) {
        operands.lane = lane;
        let (mut access, at) = begin(step, &mut operands, geometry, texels)?;
        let (mut number, mut level) = (0, None);
        match lod {
            Lod::Base => {}
            Lod::Level if texels => number = operands.int(),
            Lod::Level => level = Some(operands.float()),
            Lod::Grad => {
                let mut steps = [[0.0; 3]; 2];
                for step in &mut steps {
                    step[..geometry.dimensions()].fill_with(|| operands.float());
                }
                level = Some(level_of(&access, steps[0], steps[1]));
            }
        }
        end(step, &mut operands, &mut access);
        let texel = match level {
            _ if texels => step.fetch_texel(&access, at, number)?,
            None => step.sample(&access, 0)?,
            Some(level) => step.sample_levels(&access, level)?,
        };
        step.set_texel(&access, texel);
    }
    Ok(Next::Advance)
}

pub(super) fn gather(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    let geometry = step.attr::<Geometry>();
    let component = match step.attr::<Component>() {
        Component::R => 0,
        Component::G => 1,
        Component::B => 2,
        Component::A => 3,
    };
    let mut operands = step.operands();
    for lane in lanes(step.lanes) {
        operands.lane = lane;
        let (mut access, _) = begin(step, &mut operands, geometry, false)?;
        end(step, &mut operands, &mut access);
        let (face, [x, y, _]) = access.place(0, true);
        access.slice += face;
        let extents = access.texture.image.extents(0);
        let corners = [(x.first, y.second), (x.second, y.second), (x.second, y.first), (x.first, y.first)];
        let mut four = [0; 4];
        for (value, (x, y)) in four.iter_mut().zip(corners) {
            let at = access.wrap(extents, 2, |d| if d == 0 { x } else { y });
            *value = step.texel(&access, 0, at)?[component];
        }
        step.set_texel(&access, four);
    }
    Ok(Next::Advance)
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

fn image_property(image: &Image, normalized: bool, query: ImageQuery, level: usize) -> Option<u32> {
    let [width, height, depth] = image.extents(level);
    Some(match query {
        ImageQuery::Width => width,
        ImageQuery::Height => height,
        ImageQuery::Depth => depth,
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

pub(super) fn query(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    let query = step.attr::<ImageQuery>();
    let (handles, levels) = (step.arg(0), step.arg(1));
    for lane in lanes(step.lanes) {
        let level = levels[lane] as u32 as usize;
        let value = match step.object(handles[lane]) {
            Some(Object::Texture(t)) => image_property(&t.image, t.normalized_floats, query, level)
                .or_else(|| sampler_property(&t.sampler, query)),
            Some(Object::Surface(image)) => image_property(image, false, query, level),
            Some(Object::Sampler(sampler)) => sampler_property(sampler, query),
            None => {
                let launch = step.env.launch;
                let mut variables = launch.module.globals.iter().zip(launch.globals);
                let found = variables.find(|(g, a)| **a == handles[lane] && !g.fields.is_empty());
                found.and_then(|(g, _)| sampler_property(&described(&g.fields, true), query))
            }
        };
        let Some(value) = value else {
            return step.no_object(lane, handles[lane], &format!("object with the property {}", query.name()));
        };
        step.set(0, lane, value.into());
    }
    Ok(Next::Advance)
}

pub(super) fn is_image(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    let kind = step.attr::<ImageKind>();
    let handles = step.arg(0);
    for lane in lanes(step.lanes) {
        let is = matches!(
            (kind, step.object(handles[lane])),
            (ImageKind::Texture, Some(Object::Texture(_)))
                | (ImageKind::Sampler, Some(Object::Sampler(_)))
                | (ImageKind::Surface, Some(Object::Surface(_)))
        );
        step.set(0, lane, is.into());
    }
    Ok(Next::Advance)
}

/// Where a surface is accessed; `None` where nothing is.
fn locate(
    step: &mut Step<'_, '_>,
    lane: usize,
    image: &Image,
    operands: &[Column; 4],
    unit: SurfaceUnit,
    size: usize,
) -> Result<Option<u64>, Box<Trouble>> {
    let geometry = step.attr::<Geometry>();
    let plane = image.levels[0];
    let row = u64::from(image.width) * u64::from(image.samples) * image.texel_bytes() as u64;
    let scale = if unit == SurfaceUnit::Texels { image.texel_bytes() as i64 } else { 1 };
    let int = |n: usize| i64::from(operands[n][lane] as i32);
    let mut at = [int(1) * scale, int(2), int(3)];
    if geometry.is_layered() {
        at[2] = i64::from(operands[3][lane] as u32);
    }
    let slices = if geometry == Geometry::D3 { image.depth } else { image.layers };
    let ends = [row as i64 - size as i64 + 1, i64::from(image.height), i64::from(slices)];
    let outside = (0..3).find(|d| at[*d] < 0 || at[*d] >= ends[*d]);
    if let Some(d) = outside {
        match step.attr::<Outside>() {
            Outside::Zero => return Ok(None),
            Outside::Clamp if ends.iter().all(|e| *e > 0) => {
                (0..3).for_each(|d| at[d] = at[d].clamp(0, ends[d] - 1));
            }
            Outside::Clamp | Outside::Trap => {
                let what = ["byte", "row", "slice"][d];
                let message = format!(
                    "{size}-byte access at {what} {} of a surface that has {}",
                    at[d],
                    [row as i64, ends[1], ends[2]][d]
                );
                return trouble(FaultKind::OutOfBounds, lane as u32, message);
            }
        }
    }
    if scale == 1 && !(at[0] as u64).is_multiple_of(size as u64) {
        let message = format!("{size}-byte access at byte {}, which is no multiple of {size}", at[0]);
        return trouble(FaultKind::Misaligned, lane as u32, message);
    }
    let [x, y, z] = at.map(|n| n as u64);
    Ok(Some(plane.address.wrapping_add(z.wrapping_mul(plane.slice)).wrapping_add(y.wrapping_mul(plane.row)) + x))
}

/// The surface's handle and coordinates.
fn place(step: &mut Step<'_, '_>) -> [Column; 4] {
    [0, 1, 2, 3].map(|n| step.arg(n))
}

/// Most bytes of a surface access.
const MAX_SURFACE_ACCESS: usize = 16;

pub(super) fn load(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    let operands = place(step);
    let one = step.ins.ty.bytes() as usize;
    let count = step.code.results(step.ins).len();
    for lane in lanes(step.lanes) {
        let image = step.surface(lane, operands[0][lane])?;
        let size = (one * count).min(MAX_SURFACE_ACCESS);
        let mut bytes = [0; MAX_SURFACE_ACCESS];
        if let Some(address) = locate(step, lane, image, &operands, SurfaceUnit::Bytes, size)? {
            step.read_space(lane, Space::Global, address, &mut bytes[..size], Kind::Read)?;
        }
        for (n, part) in bytes[..size].chunks_exact(one).enumerate() {
            let mut word = [0; 8];
            word[..one].copy_from_slice(part);
            step.set(n, lane, u64::from_le_bytes(word));
        }
    }
    Ok(Next::Advance)
}

pub(super) fn store(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    let operands = place(step);
    let unit = step.attr::<SurfaceUnit>();
    let values: Vec<Column> = (4..step.code.args(step.ins).len()).map(|n| step.arg(n)).collect();
    for lane in lanes(step.lanes) {
        let image = step.surface(lane, operands[0][lane])?;
        let mut data = Vec::with_capacity(MAX_SURFACE_ACCESS);
        if unit == SurfaceUnit::Texels {
            for n in 0..usize::from(image.channels) {
                let value = values.get(n).map_or(0, |c| c[lane] as u32);
                data.extend_from_slice(&narrow(image.channel, value).to_le_bytes()[..image.channel.bytes()]);
            }
        } else {
            let one = step.ins.ty.bytes() as usize;
            values.iter().for_each(|c| data.extend_from_slice(&c[lane].to_le_bytes()[..one.min(8)]));
        }
        if let Some(address) = locate(step, lane, image, &operands, unit, data.len())? {
            step.write_space(lane, Space::Global, address, &data, Kind::Write)?;
        }
    }
    Ok(Next::Advance)
}

pub(super) fn reduce(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    let operands = place(step);
    let values = step.arg(4);
    let (unit, op, ty): (_, _, Type) = (step.attr::<SurfaceUnit>(), step.attr::<AtomOp>(), step.ins.ty);
    let size = ty.bytes() as usize;
    for lane in lanes(step.lanes) {
        let image = step.surface(lane, operands[0][lane])?;
        if unit == SurfaceUnit::Texels && image.texel_bytes() != size {
            let message = format!("a {size}-byte reduction of texels of {} bytes", image.texel_bytes());
            return trouble(FaultKind::BadOperand, lane as u32, message);
        }
        let op = match op {
            AtomOp::UMin if unit == SurfaceUnit::Texels && image.channel.is_signed() => AtomOp::SMin,
            AtomOp::UMax if unit == SurfaceUnit::Texels && image.channel.is_signed() => AtomOp::SMax,
            op => op,
        };
        let Some(address) = locate(step, lane, image, &operands, unit, size)? else { continue };
        let mut bytes = [0; 16];
        step.read_space(lane, Space::Global, address, &mut bytes[..size], Kind::Atomic)?;
        let new = combine(op, ty, true, u128::from_le_bytes(bytes), values[lane].into());
        step.write_space(lane, Space::Global, address, &new.to_le_bytes()[..size], Kind::Atomic)?;
    }
    Ok(Next::Advance)
}
