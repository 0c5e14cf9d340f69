//! The cases of surfaces. Each input is a store's own row or column, so that no two stores meet.

use hetir::interp::texture::Channel;

use super::super::{Case, Random};
use super::{CHANNELS, Cases, Content, Shape, channel_name, dimensions, image, is_layered, texels, word};
use crate::driver::Resource;

/// Inputs of one case.
const COUNT: u32 = 64;

const SHAPES: [Shape; 5] = [Shape::D1, Shape::D2, Shape::D3, Shape::A1d, Shape::A2d];

/// Coordinates in front of a value's operands: `{layer, x, y, z}` as the shape has them.
fn place(shape: Shape) -> (String, usize) {
    let count = dimensions(shape) + usize::from(is_layered(shape));
    let mut names: Vec<String> = (0..count).map(|n| format!("%r{n}")).collect();
    if count == 3 {
        names.push("%r2".into());
    }
    (format!("[%t, {{{}}}]", names.join(", ")), count)
}

/// A number of a byte, row or slice; `step` divides the ones in and near the image.
fn number(random: &mut Random, extent: u32, step: u32, may_leave: bool) -> u32 {
    let steps = extent.div_ceil(step).max(1);
    if !may_leave {
        return random.bits() % (extent / step).max(1) * step;
    }
    match random.bits() % 8 {
        0 => random.pick(&[0x4000_0000, 0x8000_0000, 0x7fff_ff00, 0xffff_ff00, 0x1_0000, 0x1000]) / step * step,
        _ => (random.bits() % (steps + 4)).wrapping_sub(2).wrapping_mul(step),
    }
}

struct Access {
    shape: Shape,
    channel: (Channel, u8),
    extents: [u32; 3],
    layers: u32,
    body: String,
    outputs: usize,
    /// Bytes or texels to which the first coordinate is a multiple; 0 where it counts texels.
    unit: u32,
    /// Which coordinate is the number of the input.
    own: Option<usize>,
    may_leave: bool,
    values: usize,
}

fn push(all: &mut Cases, name: String, access: Access) {
    let mut random = all.random(&name);
    let image = image(access.shape, access.channel.0, access.channel.1, access.extents, access.layers, 1);
    let texels = texels(&image, Content::Uniform, &mut random);
    let [w, h, d] = [image.width, image.height, image.depth];
    let first = if access.unit == 0 { w } else { w * image.texel_bytes() as u32 };
    let mut data = Vec::new();
    let which = access.own;
    for n in 0..COUNT {
        if is_layered(access.shape) {
            data.push(number(&mut random, image.layers, 1, access.may_leave));
        }
        let layered = usize::from(is_layered(access.shape));
        let ends = [first, h, d];
        for (dimension, end) in ends.into_iter().enumerate().take(dimensions(access.shape)) {
            let step = if dimension == 0 { access.unit.max(1) } else { 1 };
            data.push(match which {
                Some(own) if own == dimension => n * step,
                _ => number(&mut random, end, step, access.may_leave),
            });
        }
        if which == Some(usize::MAX) && layered == 1 {
            let last = data.len() - 1 - dimensions(access.shape);
            data[last] = n;
        }
        for _ in 0..access.values {
            let edges = [0, 1, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x1_0000, 0x7fff_ffff, 0x8000_0000];
            data.push(match random.bits() % 6 {
                0 => random.pick(&edges),
                1 => random.pick(&edges).wrapping_neg(),
                2 => random.bits() % 600,
                3 => (random.between(-2.0, 70000.0) as f32).to_bits(),
                _ => random.bits(),
            });
        }
    }
    let inputs = data.len() / COUNT as usize;
    all.push(Case {
        name,
        image,
        shape: access.shape,
        resource: Resource::Array,
        texels,
        texture: None,
        body: access.body,
        inputs,
        outputs: access.outputs,
        data,
    });
}

/// Registers of a value, what fills them from the inputs behind the coordinates, what hands them out.
fn value(ty: &str, count: usize, first: usize) -> (String, String, String) {
    let (mut names, mut fill, mut out) = (Vec::new(), String::new(), String::new());
    for n in 0..count {
        match ty {
            "b8" | "b16" => {
                names.push(format!("%h{n}"));
                fill += &format!("cvt.u16.u32 %h{n}, %r{}; ", first + n);
                out += &format!("cvt.u32.u16 %o{n}, %h{n}; ");
            }
            "b32" => {
                names.push(format!("%v{n}"));
                fill += &format!("mov.b32 %v{n}, %r{}; ", first + n);
                out += &format!("mov.b32 %o{n}, %v{n}; ");
            }
            _ => {
                names.push(format!("%q{n}"));
                fill += &format!("mov.b64 %q{n}, {{%r{}, %r{}}}; ", first + 2 * n, first + 2 * n + 1);
                out += &format!("mov.b64 {{%o{}, %o{}}}, %q{n}; ", 2 * n, 2 * n + 1);
            }
        }
    }
    let list = if count == 1 { names[0].clone() } else { format!("{{{}}}", names.join(", ")) };
    (list, fill, out)
}

const TYPES: [(&str, u32); 4] = [("b8", 1), ("b16", 2), ("b32", 4), ("b64", 8)];
const COUNTS: [(&str, usize); 3] = [("", 1), (".v2", 2), (".v4", 4)];

pub(super) fn cases(all: &mut Cases) {
    for shape in SHAPES {
        let (place, first) = place(shape);
        for mode in ["zero", "clamp", "trap"] {
            let may_leave = mode != "trap";
            for (ty, bytes) in TYPES {
                for (vec, count) in COUNTS {
                    let unit = bytes * count as u32;
                    if unit > 16 {
                        continue;
                    }
                    let images: &[(Channel, u8, u32)] = if shape == Shape::D2 {
                        &[(Channel::U32, 1, 12), (Channel::U8, 1, 19), (Channel::U32, 4, 6), (Channel::U16, 2, 11)]
                    } else {
                        &[(Channel::U32, 1, 12)]
                    };
                    for &(channel, channels, width) in images {
                        let (list, fill, out) = value(ty, count, first);
                        let geometry = word(shape);
                        let on = format!("{}x{channels}", channel_name(channel));
                        let values = (bytes as usize).div_ceil(4) * count;
                        let load = Access {
                            shape,
                            channel: (channel, channels),
                            extents: [width, 5, 4],
                            layers: 3,
                            body: format!("suld.b.{geometry}{vec}.{ty}.{mode} {list}, {place}; {out}"),
                            outputs: values,
                            unit,
                            own: None,
                            may_leave,
                            values: 0,
                        };
                        push(all, format!("surfaces/suld/{geometry}/{mode}/{ty}{vec}/{on}"), load);
                        let body = format!("{fill}sust.b.{geometry}{vec}.{ty}.{mode} {place}, {list};");
                        // In turn the row, the column and the slice or layer are the thread's own.
                        for own in owns(shape) {
                            let extents = match own {
                                0 => [
                                    (COUNT * unit)
                                        .div_ceil(image(shape, channel, channels, [1; 3], 1, 1).texel_bytes() as u32),
                                    5,
                                    4,
                                ],
                                1 => [width, COUNT, 4],
                                2 => [width, 5, COUNT],
                                _ => [width, 5, 4],
                            };
                            let store = Access {
                                shape,
                                channel: (channel, channels),
                                extents,
                                layers: if own == usize::MAX { COUNT } else { 3 },
                                body: body.clone(),
                                outputs: 0,
                                unit,
                                own: Some(own),
                                may_leave,
                                values,
                            };
                            let own = if own == usize::MAX { "layer".into() } else { own.to_string() };
                            push(all, format!("surfaces/sust/{geometry}/{mode}/{ty}{vec}/{on}/{own}"), store);
                        }
                    }
                }
            }
        }
    }
    formatted(all);
    reductions(all);
    odd(all);
}

fn owns(shape: Shape) -> Vec<usize> {
    match shape {
        Shape::D1 => vec![0],
        Shape::D2 => vec![0, 1],
        Shape::D3 => vec![0, 1, 2],
        Shape::A1d => vec![0, usize::MAX],
        _ => vec![0, 1, usize::MAX],
    }
}

fn formatted(all: &mut Cases) {
    for channel in CHANNELS {
        for channels in [1u8, 2, 4] {
            for (vec, count) in COUNTS {
                for mode in ["trap", "zero", "clamp"] {
                    let (list, fill, _) = value("b32", count, 2);
                    let body = format!("{fill}sust.p.2d{vec}.b32.{mode} [%t, {{%r0, %r1}}], {list};");
                    let access = Access {
                        shape: Shape::D2,
                        channel: (channel, channels),
                        extents: [5, COUNT, 1],
                        layers: 1,
                        body,
                        outputs: 0,
                        unit: 0,
                        own: Some(1),
                        may_leave: mode != "trap",
                        values: count,
                    };
                    push(all, format!("surfaces/sust.p/{}x{channels}{vec}/{mode}", channel_name(channel)), access);
                }
            }
        }
    }
}

fn reductions(all: &mut Cases) {
    let mut one = |shape: Shape, op: &str, form: &str, ty: &str, mode: &str, channel: (Channel, u8)| {
        let (place, first) = place(shape);
        let bytes: u32 = if ty.ends_with("64") { 8 } else { 4 };
        let (list, fill, _) = value(if bytes == 8 { "b64" } else { "b32" }, 1, first);
        let geometry = word(shape);
        for own in owns(shape) {
            let extents = match own {
                0 => [2 * COUNT, 5, 4],
                1 => [12, COUNT, 4],
                _ => [12, 5, COUNT],
            };
            let access = Access {
                shape,
                channel,
                extents,
                layers: 1,
                body: format!("{fill}sured.{form}.{op}.{geometry}.{ty}.{mode} {place}, {list};"),
                outputs: 0,
                unit: if form == "b" { bytes } else { 0 },
                own: Some(own),
                may_leave: mode != "trap",
                values: bytes as usize / 4,
            };
            let on = format!("{}x{}", channel_name(channel.0), channel.1);
            push(all, format!("surfaces/sured.{form}/{geometry}/{op}/{ty}/{mode}/{on}/{own}"), access);
        }
    };
    let word = (Channel::U32, 1);
    for mode in ["trap", "zero", "clamp"] {
        for shape in [Shape::D1, Shape::D2, Shape::D3] {
            for (op, types) in [
                ("add", &["u32", "s32", "u64"][..]),
                ("min", &["u32", "s32", "u64", "s64"]),
                ("max", &["u32", "s32", "u64", "s64"]),
                ("and", &["b32"]),
                ("or", &["b32"]),
            ] {
                for ty in types {
                    one(shape, op, "b", ty, mode, word);
                }
            }
            for op in ["add", "and", "or", "min", "max"] {
                for channel in [word, (Channel::S32, 1)] {
                    one(shape, op, "p", "b32", mode, channel);
                }
            }
            for op in ["min", "max"] {
                for channel in [(Channel::U32, 2), (Channel::S32, 2)] {
                    one(shape, op, "p", "b64", mode, channel);
                }
            }
        }
    }
}

/// Accesses at places that are no multiples of their size, and outside where that stops the kernel.
fn odd(all: &mut Cases) {
    for (mode, unit) in [("zero", 2), ("clamp", 2), ("trap", 2), ("trap", 4)] {
        let (list, fill, out) = value("b32", 1, 2);
        let load = |body: String, outputs, values| Access {
            shape: Shape::D2,
            channel: (Channel::U32, 1),
            extents: [12, COUNT, 1],
            layers: 1,
            body,
            outputs,
            unit,
            own: Some(1),
            may_leave: mode != "trap" || unit == 4,
            values,
        };
        let body = format!("suld.b.2d.b32.{mode} {list}, [%t, {{%r0, %r1}}]; {out}");
        push(all, format!("surfaces/odd/suld/{mode}/{unit}"), load(body, 1, 0));
        let body = format!("{fill}sust.b.2d.b32.{mode} [%t, {{%r0, %r1}}], {list};");
        push(all, format!("surfaces/odd/sust/{mode}/{unit}"), load(body, 0, 1));
        let body = format!("{fill}sured.b.add.2d.u32.{mode} [%t, {{%r0, %r1}}], {list};");
        push(all, format!("surfaces/odd/sured/{mode}/{unit}"), load(body, 0, 1));
    }
}
