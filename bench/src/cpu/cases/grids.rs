//! Images and grids.

use super::super::case::{Argument, Case, Expected, Outcome, Random, Size, of_f32s};
use super::blocks;
use Argument::{Buffer, F32, U32};

pub(super) fn stencil(size: Size) -> Case {
    let (width, height) = size.pick((100, 50), (500, 300), (4096, 4096u32));
    let cells = (width * height) as usize;
    let grid = Random::new(12).f32s(cells, -1.0, 1.0);
    let bytes = of_f32s(&grid);
    let reference = move || {
        let at = |x: i64, y: i64| {
            let (x, y) = (x.clamp(0, i64::from(width) - 1), y.clamp(0, i64::from(height) - 1));
            f64::from(grid[(y * i64::from(width) + x) as usize])
        };
        let star = |x, y, far| at(x - far, y) + at(x + far, y) + at(x, y - far) + at(x, y + far);
        let rows = 0..i64::from(height);
        let out = rows.flat_map(|y| (0..i64::from(width)).map(move |x| (x, y)));
        let out = out.map(|(x, y)| 0.5 * at(x, y) + 0.09375 * star(x, y, 1) + 0.03125 * star(x, y, 2));
        Outcome::new(vec![Expected::near(out, 1e-6, 1e-6)]).flops(11.0 * cells as f64)
    };
    Case::new(reference).read(bytes).write(cells).step(
        "stencil",
        [blocks(width, 32), blocks(height, 8), 1],
        [32, 8, 1],
        &[U32(width), U32(height), Buffer(0), Buffer(1)],
    )
}

pub(super) fn transpose(size: Size) -> Case {
    let (width, height) = size.pick((64, 96), (512, 256), (4096, 4096u32));
    let cells = (width * height) as usize;
    let matrix = Random::new(13).f32s(cells, -1.0, 1.0);
    let bytes = of_f32s(&matrix);
    let reference = move || {
        let (width, height) = (width as usize, height as usize);
        let out = (0..cells).map(|i| matrix[i % height * width + i / height].to_bits()).collect();
        Outcome::new(vec![Expected::Exact(out)])
    };
    Case::new(reference).read(bytes).write(cells).step(
        "transpose",
        [width / 32, height / 32, 1],
        [32, 8, 1],
        &[U32(width), U32(height), Buffer(0), Buffer(1)],
    )
}

pub(super) fn mandelbrot(size: Size) -> Case {
    let (width, height, limit) = size.pick((64, 48, 50), (256, 192, 200), (1024, 1024, 500u32));
    let (left, top, step) = (-2.0f32, -1.25f32, 2.5 / height as f32);
    let reference = move || {
        let mut counts = Vec::with_capacity((width * height) as usize);
        for py in 0..height {
            for px in 0..width {
                counts.push(escape((px as f32).mul_add(step, left), (py as f32).mul_add(step, top), limit));
            }
        }
        // Eight operations an iteration: three fused ones of two, and two others.
        let iterations: f64 = counts.iter().map(|count| f64::from(*count)).sum();
        Outcome::new(vec![Expected::Exact(counts)]).flops(9.0 * iterations)
    };
    let arguments = [U32(width), U32(height), U32(limit), F32(left), F32(top), F32(step), Buffer(0)];
    let grid = [blocks(width, 32), blocks(height, 8), 1];
    Case::new(reference).write((width * height) as usize).step("mandelbrot", grid, [32, 8, 1], &arguments)
}

/// The kernel's loop, rounding for rounding.
fn escape(cx: f32, cy: f32, limit: u32) -> u32 {
    let (mut x, mut y, mut count) = (0.0f32, 0.0f32, 0);
    while count < limit {
        let yy = y * y;
        if x.mul_add(x, yy) > 4.0 {
            break;
        }
        let next = x.mul_add(x, -yy) + cx;
        y = (x + x).mul_add(y, cy);
        x = next;
        count += 1;
    }
    count
}

pub(super) fn convolution(size: Size) -> Case {
    let (channels, features, edge) = size.pick((2, 8, 16), (4, 8, 32), (32, 32, 128usize));
    let pitch = edge + 2;
    let mut random = Random::new(14);
    let image = random.f32s(channels * pitch * pitch, -1.0, 1.0);
    let weights = random.f32s(features * channels * 9, -1.0, 1.0);
    let inputs = [of_f32s(&image), of_f32s(&weights)];
    let reference = move || {
        let mut out = vec![0.0; features * edge * edge];
        for (i, weight) in weights.iter().enumerate() {
            let (feature, channel, tap) = (i / 9 / channels, i / 9 % channels, i % 9);
            for y in 0..edge {
                let from = (channel * pitch + y + tap / 3) * pitch + tap % 3;
                let to = (feature * edge + y) * edge;
                for (out, pixel) in out[to..to + edge].iter_mut().zip(&image[from..from + edge]) {
                    *out += f64::from(*weight) * f64::from(*pixel);
                }
            }
        }
        let flops = 2.0 * 9.0 * (channels * features * edge * edge) as f64;
        Outcome::new(vec![Expected::near(out, 1e-5, 1e-4)]).flops(flops)
    };
    let grid = [edge as u32 / 16, edge as u32 / 16, features as u32 / 8];
    let arguments = [U32(channels as u32), U32(edge as u32), Buffer(0), Buffer(1), Buffer(2)];
    let case = inputs.into_iter().fold(Case::new(reference), Case::read).write(features * edge * edge);
    case.step("convolution", grid, [16, 16, 1], &arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_escape() {
        // 0 stays; 2 goes to 2, 6: its third value is beyond the bound; 3 is beyond it at once.
        assert_eq!(escape(0.0, 0.0, 100), 100);
        assert_eq!(escape(2.0, 0.0, 100), 2);
        assert_eq!(escape(3.0, 0.0, 100), 1);
        assert_eq!(escape(-2.0, 0.0, 100), 100);
    }
}
