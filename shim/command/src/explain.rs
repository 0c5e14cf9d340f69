//! `hetgpu explain`.

use crate::images::{self, Contents};
use crate::line::Line;
use crate::{Outcome, Stop, refused, say};
use hetgpu_runtime::{Code, ImageSource, KernelInfo, Settings};
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
    let refused_kernels = code.as_ref().map_or(0, |code| code.kernels.iter().filter(|k| k.refused.is_some()).count());
    if line.has("--json") {
        say(json(&contents, code.as_ref().ok().map(|code| &code.kernels[..]).unwrap_or_default()));
    } else {
        say(format_args!("{path} is {}", contents.kind));
        for image in &contents.images {
            let packed = if image.packed.is_empty() { String::new() } else { format!(", {}", image.packed) };
            let source = if image.source.is_empty() { String::new() } else { format!(", from {}", image.source) };
            say(format_args!("  {} for {}, {} bytes{packed}{source}", image.what, image.target, image.bytes));
        }
        for kernel in code.iter().flat_map(|code| &code.kernels) {
            say("");
            say(text(kernel));
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

fn json(contents: &Contents, kernels: &[KernelInfo]) -> Value {
    let images = contents.images.iter().map(|image| {
        json!({ "what": image.what, "target": image.target, "bytes": image.bytes, "packed": image.packed, "source": image.source })
    });
    let kernels = kernels.iter().map(|kernel| {
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
        })
    });
    json!({ "kind": contents.kind, "images": images.collect::<Vec<_>>(), "kernels": kernels.collect::<Vec<_>>() })
}
