//! `hetgpu devices`.

use crate::line::Line;
use crate::{Outcome, refused, say};
use hetgpu_registry::{self as registry, Description, place, spelled};
use hetgpu_runtime::Settings;
use serde_json::{Value, json};

pub(crate) fn run(line: &Line) -> Outcome {
    if let Some(extra) = line.arguments.first() {
        return Err(refused(format!("devices takes no '{extra}'")));
    }
    let settings = Settings::from_environment();
    let devices = registry::seen(&settings).map_err(|repeated| refused(repeated.to_string()))?;
    if line.has("--json") {
        say(Value::from(devices.iter().enumerate().map(|(number, device)| value(number, device)).collect::<Vec<_>>()));
    } else {
        table(&devices, &settings);
    }
    Ok(0)
}

fn value(number: usize, device: &Description) -> Value {
    let caps = &device.caps;
    let pci = place(caps, number);
    json!({
        "number": number,
        "name": device.name,
        "device": caps.name,
        "memory": caps.memory,
        "compute": format!("{}.{}", caps.compute.0, caps.compute.1),
        "multiprocessors": caps.multiprocessors,
        "uuid": format!("GPU-{}", spelled(&caps.uuid)),
        "bus": format!("{:04X}:{:02X}:{:02X}.0", pci.domain, pci.bus, pci.device),
    })
}

fn table(devices: &[Description], settings: &Settings) {
    let gibibytes = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    let mut rows = vec![["", "NAME", "DEVICE", "MEMORY", "COMPUTE", "PROCESSORS", "UUID"].map(str::to_owned)];
    rows.extend(devices.iter().enumerate().map(|(number, Description { name, caps })| {
        [
            number.to_string(),
            (*name).to_owned(),
            caps.name.clone(),
            format!("{:.1} GiB", gibibytes(caps.memory)),
            format!("{}.{}", caps.compute.0, caps.compute.1),
            caps.multiprocessors.to_string(),
            format!("GPU-{}", spelled(&caps.uuid)),
        ]
    }));
    say(columns(&rows));
    let others: Vec<_> = registry::there(settings)
        .into_iter()
        .filter(|name| devices.iter().all(|device| device.name != *name))
        .collect();
    if !others.is_empty() {
        say(format_args!("\nHETGPU_DEVICE can also name {}.", others.join(", ")));
    }
}

/// Rows as columns of one width each.
pub(crate) fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let widths: Vec<_> =
        (0..N).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a", "long", "x"], ["wide", "b", ""]].map(|row| row.map(str::to_owned));
        assert_eq!(columns(&rows), "a     long  x\nwide  b");
    }
}
