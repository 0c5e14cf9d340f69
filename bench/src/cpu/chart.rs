//! The chart: a bar a kernel, as long as the ratio on a logarithmic scale.

use super::report::{Report, Row, digits};

const WIDTH: f64 = 860.0;
const LABELS: f64 = 140.0;
const NUMBERS: f64 = 60.0;
const LINE: f64 = 24.0;
const TOP: f64 = 64.0;

/// The scale's ends, as powers of two around every ratio.
struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    fn of(ratios: &[f64]) -> Self {
        let logs = ratios.iter().map(|ratio| ratio.log2());
        let (low, high) = logs.fold((-1.0f64, 1.0f64), |(low, high), log| (low.min(log), high.max(log)));
        Self { low: low.floor(), high: high.ceil() }
    }

    fn x(&self, ratio: f64) -> f64 {
        LABELS + (ratio.log2() - self.low) / (self.high - self.low) * (WIDTH - LABELS - NUMBERS)
    }
}

pub(super) fn draw(report: &Report) -> String {
    let rows: Vec<(&Row, f64)> = report.rows.iter().filter_map(|row| Some((row, row.ratio()?))).collect();
    let ratios: Vec<f64> = rows.iter().map(|(_, ratio)| *ratio).collect();
    let scale = Scale::of(&ratios);
    let bottom = TOP + LINE * rows.len() as f64;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
        height = bottom + 40.0
    );
    let title = format!("Time of the better peer through ours ({}): longer is better for us", report.size.name());
    out += &text(10.0, 20.0, "start", "#1b1f24", &title);
    let mean = report.mean().map(|mean| format!(", geometric mean {}", digits(mean))).unwrap_or_default();
    out += &text(10.0, 38.0, "start", "#57606a", &format!("{}, {}{mean}", report.machine, report.date));
    let step = ((scale.high - scale.low) / 12.0).ceil().max(1.0) as i32;
    for power in (scale.low as i32..=scale.high as i32).filter(|power| power % step == 0) {
        let (ratio, colour) = (f64::from(power).exp2(), if power == 0 { "#1b1f24" } else { "#d0d7de" });
        let x = scale.x(ratio);
        out += &format!(
            "<line x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\" stroke=\"{colour}\"/>\n",
            TOP - 6.0
        );
        out += &text(x, bottom + 18.0, "middle", "#57606a", &label(power));
    }
    for (index, (row, ratio)) in rows.iter().enumerate() {
        let y = TOP + LINE * index as f64;
        let (from, to) = (scale.x(1.0).min(scale.x(*ratio)), scale.x(1.0).max(scale.x(*ratio)));
        let colour = match ratio {
            ratio if *ratio >= 1.0 => "#2da44e",
            ratio if *ratio >= 0.5 => "#d4a72c",
            _ => "#cf222e",
        };
        out += &format!(
            "<rect x=\"{from:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>\n",
            y + 4.0,
            to - from,
            LINE - 8.0
        );
        out += &text(LABELS - 8.0, y + 16.0, "end", "#1b1f24", row.name);
        out += &text(WIDTH - 8.0, y + 16.0, "end", "#1b1f24", &digits(*ratio));
    }
    out + "</svg>\n"
}

fn label(power: i32) -> String {
    if power < 0 { format!("1/{}", 2f64.powi(-power)) } else { 2f64.powi(power).to_string() }
}

fn text(x: f64, y: f64, anchor: &str, colour: &str, text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{text}</text>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_holds_every_ratio() {
        let scale = Scale::of(&[0.3, 5.0]);
        assert_eq!((scale.low, scale.high), (-2.0, 3.0));
        assert_eq!(scale.x(0.25), LABELS);
        assert_eq!(scale.x(8.0), WIDTH - NUMBERS);
        assert_eq!((label(-2), label(0), label(3)), ("1/4".into(), "1".into(), "8".into()));
    }
}
