//! The text around the functions: what it is for, variables, declarations, the kernel's parameters and bounds.

use super::address::param_name;
use super::call::{library, prototype};
use super::context::{Context, SHARED, address_name, entry_name, hidden_name};
use super::function::Printer;
use super::stop::TOLD_BYTES;
use super::{Hidden, Part, Printed, Request, Unprintable, coalesce, constant_name};
use hetir::diag::Span;
use hetir::entity::{FuncId, GlobalId};
use hetir::ir::{FunctionKind, KernelParam, LaunchBounds};
use std::fmt::Write as _;

pub(super) fn print(request: &Request<'_>) -> Result<Printed, Unprintable> {
    let Some(function) = request.module.functions.get(request.kernel.index()) else {
        return Err(Unprintable { what: "no such kernel".into(), function: String::new(), span: Span::default() });
    };
    let FunctionKind::Kernel { params, bounds } = &function.kind else {
        let what = "a function that is no kernel".into();
        return Err(Unprintable { what, function: function.name.clone(), span: function.span });
    };
    let mut cx = Context::of(request)?;
    let clustered = bounds.required_cluster != [0; 3] || bounds.explicit_cluster || bounds.max_cluster > 0;
    if request.part != Part::Whole && clustered {
        let what = "a part of a grid of clusters".into();
        return Err(Unprintable { what, function: function.name.clone(), span: function.span });
    }
    if request.part == Part::Cuboid && request.stops {
        let what = "a part that stops, but as a list".into();
        return Err(Unprintable { what, function: function.name.clone(), span: function.span });
    }
    let mut functions = String::new();
    let reached = cx.functions.clone();
    for id in &reached {
        let text = body(&mut cx, *id)?;
        let _ = write!(functions, "\n{}\n{text}", prototype(&cx, *id));
    }
    let kernel = body(&mut cx, request.kernel)?;
    let (hidden, param_bytes) = place_hidden(params, &cx);
    let entry = entry_name(&function.name);

    let mut text = String::new();
    let (major, minor) = request.target.isa;
    let _ = writeln!(text, ".version {major}.{minor}");
    let independent = if cx.separate_samplers { ", texmode_independent" } else { "" };
    let _ = writeln!(text, ".target {}{independent}", request.target);
    let _ = writeln!(text, ".address_size 64");
    for call in &cx.syscalls {
        let _ = writeln!(text, "{}", library(*call));
    }
    let globals = &request.module.globals;
    for &n in &cx.constants {
        let (global, name) = (&globals[n], constant_name(GlobalId::new(n)));
        let _ = writeln!(text, ".visible .const .align {} .b8 {name}[{}];", global.align.max(1), global.size.max(1));
    }
    for &n in &cx.addresses {
        let (address, name) = (request.globals.get(n).copied().unwrap_or(0), address_name(n));
        let _ = writeln!(text, ".const .align 8 .b64 {name} = {address:#x};");
    }
    let mut static_shared = 0u64;
    if cx.logical() {
        // Swizzles go by the low bits of addresses, which are to be those of hetIR.
        let _ = writeln!(text, ".extern .shared .align 1024 .b8 {SHARED}[];");
    }
    for &n in &cx.shared {
        let (global, name) = (&globals[n], Context::shared_name(GlobalId::new(n)));
        let align = global.align.max(1);
        if global.size == 0 {
            let _ = writeln!(text, ".extern .shared .align {} .b8 {name}[];", align.max(16));
        } else {
            let _ = writeln!(text, ".shared .align {align} .b8 {name}[{}];", global.size);
            static_shared = static_shared.next_multiple_of(align.into()) + global.size;
        }
    }
    if reached.len() > 1 {
        for id in &reached {
            let _ = writeln!(text, "{};", prototype(&cx, *id));
        }
    }
    text.push_str(&functions);
    let _ = write!(text, "\n.visible .entry {entry}({})\n", declared(params, &hidden));
    text.push_str(&launch_bounds(bounds));
    text.push_str(&kernel);
    Ok(Printed {
        text,
        entry,
        param_offsets: params.iter().map(|p| p.offset).chain(hidden.iter().map(|(_, at)| *at)).collect(),
        hidden,
        param_bytes,
        constants: cx.constants.iter().map(|n| GlobalId::new(*n)).collect(),
        static_shared: u32::try_from(static_shared).unwrap_or(u32::MAX),
        own_shared: if cx.tells { TOLD_BYTES } else { 0 },
        dynamic_base: if cx.logical() { u32::try_from(cx.layout.dynamic_offset).unwrap_or(u32::MAX) } else { 0 },
    })
}

/// A function's body, braces included.
fn body(cx: &mut Context<'_>, id: FuncId) -> Result<String, Unprintable> {
    let function = &cx.request.module.functions[id.index()];
    let Some(body) = &function.body else { return Ok(String::new()) };
    let mut printer = Printer::new(cx, id, body);
    printer.declare_slots();
    if function.is_kernel() {
        printer.begin_addresses(None);
        printer.begin_block();
        printer.begin_stopping();
        printer.gather_extras();
    } else {
        printer.enter();
        printer.begin_addresses_given();
    }
    printer.blocks()?;
    printer.code.prune();
    coalesce::run(&mut printer.code);
    coalesce::forget_repeated(&mut printer.code);
    let mut text = "{\n".to_string();
    printer.code.finish(&mut text);
    text.push_str("}\n");
    Ok(text)
}

/// Where hidden parameters are, and the bytes of all.
fn place_hidden(params: &[KernelParam], cx: &Context<'_>) -> (Vec<(Hidden, u32)>, u32) {
    let mut end = params.iter().map(|p| p.offset + p.size).max().unwrap_or(0);
    let mut placed = Vec::new();
    for &hidden in &cx.hidden {
        let at = end.next_multiple_of(hidden.align());
        placed.push((hidden, at));
        end = at + hidden.bytes();
    }
    (placed, end)
}

fn declared(params: &[KernelParam], hidden: &[(Hidden, u32)]) -> String {
    let own = params.iter().enumerate().map(|(n, p)| {
        let name = param_name(n);
        match p.size {
            1 | 2 | 4 | 8 if p.align == p.size => format!("\n\t.param .b{} {name}", 8 * p.size),
            size => format!("\n\t.param .align {} .b8 {name}[{size}]", p.align.max(1)),
        }
    });
    let hidden = hidden.iter().map(|(h, _)| {
        let name = hidden_name(*h);
        match h.bytes() {
            12 => format!("\n\t.param .align 4 .b8 {name}[12]"),
            bytes => format!("\n\t.param .b{} {name}", 8 * bytes),
        }
    });
    own.chain(hidden).collect::<Vec<_>>().join(",")
}

fn launch_bounds(bounds: &LaunchBounds) -> String {
    let mut text = String::new();
    let dimensions = |d: [u32; 3]| format!("{}, {}, {}", d[0].max(1), d[1].max(1), d[2].max(1));
    if bounds.max_threads != [0; 3] {
        let _ = writeln!(text, ".maxntid {}", dimensions(bounds.max_threads));
    }
    if bounds.required_threads != [0; 3] {
        let _ = writeln!(text, ".reqntid {}", dimensions(bounds.required_threads));
    }
    if bounds.min_blocks > 0 {
        let _ = writeln!(text, ".minnctapersm {}", bounds.min_blocks);
    }
    if bounds.max_registers > 0 {
        let _ = writeln!(text, ".maxnreg {}", bounds.max_registers);
    }
    if bounds.explicit_cluster {
        let _ = writeln!(text, ".explicitcluster");
    }
    if bounds.required_cluster != [0; 3] {
        let _ = writeln!(text, ".reqnctapercluster {}", dimensions(bounds.required_cluster));
    }
    if bounds.max_cluster > 0 {
        let _ = writeln!(text, ".maxclusterrank {}", bounds.max_cluster);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::context::LOCAL;
    use super::*;

    #[test]
    fn names_of_our_own_are_not_taken() {
        assert_eq!(entry_name("saxpy"), "saxpy");
        assert_eq!(entry_name(SHARED), format!("kernel_{SHARED}"));
        assert_eq!(entry_name(LOCAL), format!("kernel_{LOCAL}"));
        assert_eq!(entry_name("a b"), "kernel_a_b");
    }
}
