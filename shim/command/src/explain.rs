//! `hetgpu explain`.

use crate::images::{self, Contents};
use crate::line::Line;
use crate::{Outcome, Stop, refused, say};
use hetgpu_runtime::{Code, ImageSource, KernelInfo, Settings, Stops};
use serde_json::{Value, json};

/// The file cannot be used as it is.
fn unusable(text: impl Into<String>) -> Stop {
    Stop { status: 1, text: text.into() }
}

pub(crate) fn run(line: &Line) -> Outcome {
    let [path] = &line.arguments[..] else { return Err(refused("explain which file?")) };
    let bytes = std::fs::read(path).map_err(|error| refused(format!("{path}: {error}")))?;
    let contents = images::read(&bytes).map_err(|why| unusable(format!("{path}: {why}")))?;
    let compute = Settings::from_environment().compute;
    let code = Code::load(ImageSource::Bytes(&bytes), path, compute);
    let machine = || Code::load_for(ImageSource::Bytes(&bytes), path, compute, Some(compute.0 * 10 + compute.1)).ok();
    let machine = if code.is_err() { machine() } else { None };
    let refused_kernels = code.as_ref().map_or(0, |code| code.kernels.iter().filter(|k| k.refused.is_some()).count());
    if line.has("--json") {
        say(json(&contents, code.as_deref().ok()));
    } else {
        say(format_args!("{path} is {}", contents.kind));
        for image in &contents.images {
            let packed = if image.packed.is_empty() { String::new() } else { format!(", {}", image.packed) };
            let source = if image.source.is_empty() { String::new() } else { format!(", from {}", image.source) };
            say(format_args!("  {} for {}, {} bytes{packed}{source}", image.what, image.target, image.bytes));
        }
        if let Some(machine) = machine.as_ref().and_then(|code| code.module.machine.as_ref()) {
            say(format_args!(
                "\nmachine code alone: devices of {} run it as it is, pause when a kernel has ended, and keep the job",
                machine.target
            ));
        }
        for kernel in machine.iter().flat_map(|code| &code.kernels) {
            say(format_args!("  kernel {}", kernel.name.to_string_lossy()));
        }
        for (code, kernel) in code.iter().flat_map(|code| code.kernels.iter().map(move |kernel| (code, kernel))) {
            say("");
            say(text(kernel));
            if let Some(stops) = stops(code, kernel) {
                say(stops_text(&stops));
            }
        }
    }
    match code {
        Err(error) => Err(unusable(format!("{path}: {error}"))),
        Ok(_) => Ok(u8::from(refused_kernels > 0)),
    }
}

/// What a kernel says of the blocks that it is launched in.
fn bounds(kernel: &KernelInfo) -> Vec<(&'static str, String)> {
    let three = |sizes: [u32; 3]| sizes.map(|size| size.max(1).to_string()).join(" x ");
    let some = |name, value: Option<String>| value.map(|value| (name, value));
    let said = |sizes: [u32; 3]| sizes.iter().any(|&size| size != 0).then(|| three(sizes));
    let most =
        (kernel.max_threads != 0 && said(kernel.required_threads).is_none()).then(|| kernel.max_threads.to_string());
    [
        some("threads a block", said(kernel.required_threads)),
        some("most threads a block", most),
        some("blocks a cluster", said(kernel.required_cluster)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn text(kernel: &KernelInfo) -> String {
    let mut lines = vec![format!("kernel {}", kernel.name.to_string_lossy())];
    for param in &kernel.params {
        lines.push(format!("  parameter {}: {} bytes at {}", param.name, param.size, param.offset));
    }
    lines.push(format!("  shared memory: {} bytes and what launches add", kernel.static_shared));
    lines.push(format!("  local memory: {} bytes a thread", kernel.local));
    // Devices have registers of their own, and as many as they have: PTX does not say.
    lines.push("  registers: known to no device before it compiles".to_owned());
    lines.extend(bounds(kernel).into_iter().map(|(what, value)| format!("  {what}: {value}")));
    if let Some(reason) = &kernel.refused {
        lines.push("  cannot be launched:".to_owned());
        lines.extend(reason.trim_end().lines().map(|line| format!("    {line}")));
    }
    lines.join("\n")
}

/// Where a kernel can stop: in blocks as it requires them, else in such as are common.
fn stops(code: &Code, kernel: &KernelInfo) -> Option<Stops> {
    let block = match kernel.required_threads {
        [0, 0, 0] => [kernel.max_threads.clamp(1, COMMON_BLOCK), 1, 1],
        required => required.map(|n| n.max(1)),
    };
    let block = if kernel.max_threads == 0 && kernel.required_threads == [0; 3] { [COMMON_BLOCK, 1, 1] } else { block };
    code.stops(kernel, block)
}

/// Threads a block where the kernel does not say.
const COMMON_BLOCK: u32 = 256;

fn stops_text(stops: &Stops) -> String {
    let [x, y, z] = stops.block;
    let mut lines = vec![match stops.sites.len() {
        0 => "  stops between its blocks".to_owned(),
        n => format!(
            "  stops between its blocks and at {n} sites in them (blocks of {x} x {y} x {z}; {} bytes a thread)",
            stops.frame_bytes
        ),
    }];
    let at = |line: usize| if line == 0 { String::new() } else { format!(" in line {line} of the PTX") };
    for (n, site) in stops.sites.iter().enumerate() {
        lines.push(format!(
            "    site {n}: {}{}, {} values stored ({} bytes), {} computed again",
            site.kind,
            at(site.line),
            site.saved,
            site.saved_bytes,
            site.computed
        ));
    }
    for (line, why, whole) in &stops.refusals {
        let what = if *whole { "no site at all" } else { "no site" };
        lines.push(format!("    {what}{}: {why}", at(*line)));
    }
    lines.join("\n")
}

fn stops_json(stops: &Stops) -> Value {
    let sites = stops.sites.iter().map(|site| {
        json!({ "kind": site.kind, "line": site.line, "values": site.saved, "bytes": site.saved_bytes, "computed": site.computed })
    });
    let refusals = stops.refusals.iter().map(|(line, why, whole)| json!({ "line": line, "why": why, "whole": whole }));
    json!({
        "block": stops.block,
        "frame": stops.frame_bytes,
        "sites": sites.collect::<Vec<_>>(),
        "refusals": refusals.collect::<Vec<_>>(),
    })
}

fn json(contents: &Contents, code: Option<&Code>) -> Value {
    let images = contents.images.iter().map(|image| {
        json!({ "what": image.what, "target": image.target, "bytes": image.bytes, "packed": image.packed, "source": image.source })
    });
    let kernels = code.iter().flat_map(|code| code.kernels.iter().map(move |kernel| (code, kernel)));
    let kernels = kernels.map(|(code, kernel)| {
        let params = kernel.params.iter();
        let params = params.map(|p| json!({ "name": p.name, "offset": p.offset, "bytes": p.size }));
        json!({
            "name": kernel.name.to_string_lossy(),
            "parameters": params.collect::<Vec<_>>(),
            "shared": kernel.static_shared,
            "local": kernel.local,
            "max_threads": kernel.max_threads,
            "required_threads": kernel.required_threads,
            "required_cluster": kernel.required_cluster,
            "refused": kernel.refused,
            "stops": stops(code, kernel).map(|stops| stops_json(&stops)),
        })
    });
    json!({ "kind": contents.kind, "images": images.collect::<Vec<_>>(), "kernels": kernels.collect::<Vec<_>>() })
}
