//! The chart: a line a kernel, on it a full dot for the plain form and a hollow one for that which can be suspended.

use serde_json::Value;

const WIDTH: f64 = 860.0;
const LABELS: f64 = 150.0;
const RIGHT: f64 = 20.0;
const LINE: f64 = 16.0;
const TOP: f64 = 64.0;
/// The ratio at the right edge; what is beyond is drawn there, as what is below 0 would be at the left one.
const MOST: f64 = 1.25;

const DARK: &str = "#1b1f24";
const GREY: &str = "#57606a";
const PALE: &str = "#d0d7de";

fn x(ratio: f64) -> f64 {
    LABELS + ratio.clamp(0.0, MOST) / MOST * (WIDTH - LABELS - RIGHT)
}

fn text(x: f64, y: f64, anchor: &str, colour: &str, text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{text}</text>\n")
}

fn colour(ratio: f64) -> &'static str {
    match ratio {
        ratio if ratio >= 0.99 => "#2da44e",
        ratio if ratio >= 0.95 => "#d4a72c",
        _ => "#cf222e",
    }
}

/// Of rows with `name`, `ratio`, `suspendable_ratio` and `right`. Those that are wrong have no dots.
pub(super) fn draw(title: &str, rows: &[Value]) -> String {
    let bottom = TOP + LINE * rows.len() as f64;
    let height = bottom + 30.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    out += &text(10.0, 20.0, "start", DARK, "Native time by ours: right of 1 we are faster");
    out += &text(10.0, 38.0, "start", GREY, title);
    for tenths in [0, 25, 50, 75, 95, 100, 125] {
        let (ratio, colour) = (f64::from(tenths) / 100.0, if tenths == 100 { DARK } else { PALE });
        let x = x(ratio);
        out += &format!(
            "<line x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\" stroke=\"{colour}\"/>\n",
            TOP - 6.0
        );
        // 0.95 stands too near to 1 to be named.
        if tenths != 95 {
            out += &text(x, bottom + 16.0, "middle", GREY, &ratio.to_string());
        }
    }
    for (index, row) in rows.iter().enumerate() {
        let y = TOP + LINE * (index as f64 + 0.5);
        let right = row["right"].as_bool() == Some(true);
        let name = row["name"].as_str().unwrap_or_default();
        out += &text(LABELS - 8.0, y + 4.0, "end", if right { DARK } else { "#cf222e" }, name);
        if !right {
            continue;
        }
        if let Some(ratio) = row["suspendable_ratio"].as_f64() {
            let (x, colour) = (x(ratio), colour(ratio));
            out += &format!(
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"#ffffff\" stroke=\"{colour}\" stroke-width=\"1.5\"/>\n"
            );
        }
        if let Some(ratio) = row["ratio"].as_f64() {
            out += &format!("<circle cx=\"{:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{}\"/>\n", x(ratio), colour(ratio));
        }
    }
    out + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn dots_stand_where_ratios_are() {
        let row = |right| json!({ "name": "a<b", "ratio": 1.0, "suspendable_ratio": 9.0, "right": right });
        let drawn = draw("a card", &[row(true)]);
        let at_one = LABELS + (WIDTH - LABELS - RIGHT) / MOST;
        assert!(
            drawn.contains(&format!("<circle cx=\"{at_one:.1}\" cy=\"72.0\" r=\"3\" fill=\"#2da44e\"/>")),
            "{drawn}"
        );
        // What is beyond the edge stands at it.
        assert!(
            drawn.contains(&format!("<circle cx=\"{:.1}\" cy=\"72.0\" r=\"4\"", WIDTH - RIGHT))
                && drawn.contains("a&lt;b")
        );
        assert!(!draw("a card", &[row(false)]).contains("circle"));
    }
}
