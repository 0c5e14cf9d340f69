//! A graph as text for Graphviz.

use super::order::from_the_ends;
use super::snapshot::Snapshot;
use super::{Body, BranchKind, Edge, Graph};
use crate::handle::Handle;
use crate::place::Place;
use crate::system::CopyAsked;
use crate::word::WordOperation;
use crate::{Result, Runtime};
use std::fmt::Write;

/// What of the nodes is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DotDetail {
    pub kernels: bool,
    pub kernel_attributes: bool,
    pub copies: bool,
    pub fills: bool,
    pub host: bool,
    pub events: bool,
    pub handles: bool,
    pub allocations: bool,
    pub frees: bool,
    pub batches: bool,
    pub conditionals: bool,
    /// The place of edges and nodes in the order in which graphs are compared.
    pub order: bool,
}

/// Text of a label: what would end it or mean something in it is escaped.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        if matches!(char, '"' | '\\' | '<' | '>' | '{' | '}' | '|') {
            out.push('\\');
        }
        out.push(char);
    }
    out
}

fn side(place: &Place) -> char {
    match place {
        Place::Device(_) | Place::Elsewhere(..) => 'D',
        Place::Image(..) => 'A',
        Place::Host(_) | Place::Bytes(_) | Place::Staged(..) => 'H',
    }
}

impl Runtime {
    /// The text, graphs that belong to nodes included.
    pub fn graph_dot(&self, graph: Handle<Graph>, detail: DotDetail) -> Result<String> {
        let mut text = String::from("digraph dot {\n");
        self.dot(graph, detail, &mut text)?;
        text.push_str("}\n");
        Ok(text)
    }

    fn dot(&self, graph: Handle<Graph>, detail: DotDetail, text: &mut String) -> Result<()> {
        let snapshot = self.snapshot(graph)?;
        let name = graph_name(graph);
        let _ = writeln!(text, "subgraph cluster_{name} {{\nlabel=\"{name}\" graph[style=\"dashed\"];");
        let mut place = vec![None; snapshot.nodes.len()];
        for (at, index) in from_the_ends(&snapshot.nodes).into_iter().enumerate() {
            place[index] = Some(at);
        }
        for (index, node) in snapshot.nodes.iter().enumerate() {
            let shape = match node.body {
                Body::Kernel(_) => "octagon",
                Body::Copy(_) => "trapezium",
                Body::Fill(_) => "invtrapezium",
                Body::Conditional(_) => "diamond",
                _ => "rectangle",
            };
            let order = place[index].filter(|_| detail.order).map_or(String::new(), |at| format!(" (order {at})"));
            let mut lines = vec![format!("{index}{order}")];
            self.describe(&node.body, detail, &mut lines);
            if detail.handles {
                lines.push(format!("node {:#x}", node.handle.bits()));
            }
            let label: Vec<String> = lines.iter().map(|line| escaped(line)).collect();
            let _ = writeln!(
                text,
                "\"{name}_node_{index}\"[style=\"solid\" shape=\"{shape}\" label=\"{}\"];",
                label.join("\\n")
            );
        }
        edges(&snapshot, &name, detail, text);
        text.push_str("}\n");
        let inner: Vec<Handle<Graph>> = snapshot.nodes.iter().flat_map(|node| node.body.embedded().to_vec()).collect();
        inner.into_iter().try_for_each(|inner| self.dot(inner, detail, text))
    }

    fn describe(&self, body: &Body, detail: DotDetail, lines: &mut Vec<String>) {
        match body {
            Body::Kernel(kernel) => {
                let request = kernel.request();
                lines.push(kernel.info().name.to_string_lossy().into_owned());
                if detail.kernels {
                    let ([x, y, z], [a, b, c]) = (request.grid, request.block);
                    lines.push(format!("<<<{x}x{y}x{z}, {a}x{b}x{c}, {}>>>", request.dynamic_shared));
                }
                if detail.kernel_attributes {
                    lines.push(format!("cooperative {}", u32::from(request.cooperative)));
                    lines.push(format!("cluster {:?}", request.cluster));
                }
                if detail.handles
                    && let Ok(function) = kernel.function(self)
                {
                    lines.push(format!("function {:#x}", function.bits()));
                }
            }
            Body::Copy(copy) => {
                lines.push("MEMCPY".into());
                let ((to, from), shape) = (copy.work.places(), copy.work.shape());
                let bytes = shape.row * shape.rows * shape.slices;
                lines.push(format!("({}to{}, {bytes})", side(from), side(to)));
                if detail.copies {
                    match &copy.asked {
                        CopyAsked::Rows(request) => {
                            lines.push(format!("from {:#x} pitch {}", request.from, shape.from_pitch));
                            lines.push(format!("to {:#x} pitch {}", request.to, shape.to_pitch));
                        }
                        CopyAsked::Texels(copy) => {
                            lines.push(format!("from {:?}", copy.from));
                            lines.push(format!("to {:?}", copy.to));
                        }
                    }
                    lines.push(format!("{} x {} x {}", shape.row, shape.rows, shape.slices));
                }
            }
            Body::Fill(fill) => {
                let request = &fill.request;
                let value = request.pattern.iter().rev().fold(0u32, |value, &byte| value << 8 | u32::from(byte));
                let bytes = request.count * request.rows * request.pattern.len() as u64;
                lines.push("MEMSET".into());
                lines.push(format!("({value}, {bytes})"));
                if detail.fills {
                    lines.push(format!("at {:#x} pitch {}", request.at, request.pitch));
                    lines.push(format!(
                        "{} elements of {}, {} rows",
                        request.count,
                        request.pattern.len(),
                        request.rows
                    ));
                }
            }
            Body::Host(call) => {
                lines.push("HOST".into());
                if detail.host {
                    lines.push(format!("fn {:#x}", call.function));
                    lines.push(format!("userData {:#x}", call.data));
                }
            }
            Body::Child(graph) => lines.push(graph_name(*graph)),
            Body::Empty => lines.push("EMPTY".into()),
            Body::EventRecord(event) | Body::EventWait(event) => {
                let what = if matches!(body, Body::EventRecord(_)) { "EVENT_RECORD" } else { "EVENT_WAIT" };
                lines.push(what.into());
                if detail.events {
                    lines.push(format!("event {:#x}", event.bits()));
                }
            }
            Body::Allocate(block) => {
                lines.push("MEM_ALLOC".into());
                if detail.allocations {
                    lines.push(format!("{} bytes at {:#x} on device {}", block.bytes, block.start, block.device));
                }
            }
            Body::Free(block) => {
                lines.push("MEM_FREE".into());
                if detail.frees {
                    lines.push(format!("{:#x}", block.start));
                }
            }
            Body::Batch(batch) => {
                lines.push("BATCH_MEM_OP".into());
                for operation in batch.operations.iter().filter(|_| detail.batches) {
                    lines.push(match operation {
                        WordOperation::Wait(word, compare, value) => {
                            format!("wait {:#x} {compare:?} {value}", word.at)
                        }
                        WordOperation::Write(word, value) => format!("write {:#x} {value}", word.at),
                        WordOperation::Barrier => "barrier".into(),
                    });
                }
            }
            Body::Conditional(conditional) => {
                lines.push(
                    match conditional.kind {
                        BranchKind::If => "IF",
                        BranchKind::While => "WHILE",
                        BranchKind::Switch => "SWITCH",
                    }
                    .into(),
                );
                lines.extend(conditional.bodies.iter().map(|&body| graph_name(body)));
                if detail.conditionals {
                    let condition = &conditional.condition;
                    lines.push(format!("handle {:#x}, default {:?}", condition.address, condition.default));
                }
            }
        }
    }
}

fn graph_name(graph: Handle<Graph>) -> String {
    format!("graph_{}", graph.bits() as u32)
}

fn edges(snapshot: &Snapshot, name: &str, detail: DotDetail, text: &mut String) {
    for (to, node) in snapshot.nodes.iter().enumerate() {
        for (number, &(from, edge)) in node.before.iter().enumerate() {
            let mut marks = Vec::new();
            if detail.order {
                marks.push(format!("headlabel=\"{number}\""));
            }
            if edge != Edge::default() {
                marks.push("style=\"dashed\"".to_owned());
            }
            let marks = if marks.is_empty() { String::new() } else { format!(" [{}]", marks.join(" ")) };
            let _ = writeln!(text, "\"{name}_node_{from}\" -> \"{name}_node_{to}\"{marks};");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_cannot_end_early() {
        assert_eq!(escaped("a<b> \"c\" {d|e}\\"), "a\\<b\\> \\\"c\\\" \\{d\\|e\\}\\\\");
        assert_eq!(side(&Place::Host(1)), 'H');
    }
}
