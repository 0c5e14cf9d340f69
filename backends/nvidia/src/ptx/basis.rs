//! All that a text depends on, as bytes, and a printed kernel as bytes: for texts that are kept from run to run.

use super::context::Context;
use super::{Addresses, Hidden, Printed, Request, Unprintable};
use hetir::binary::{Reader, Writer};
use hetir::entity::GlobalId;
use std::collections::BTreeSet;

/// What decides the text of a request, but for the code here and in hetIR: requests of the same bytes are printed alike.
///
/// # Errors
/// Some of what there is no PTX for.
pub fn basis(request: &Request<'_>) -> Result<Vec<u8>, Unprintable> {
    let cx = Context::of(request)?;
    let Request { module, kernel, globals, target, addresses, part, stops } = request;
    let mut w = Writer::default();
    w.text(&target.to_string());
    for number in [target.isa.0, target.isa.1, kernel.index() as u32] {
        w.number(number.into());
    }
    for flag in [*addresses == Addresses::Logical, *stops] {
        w.flag(flag);
    }
    w.number(*part as u64);
    w.list(globals, |w, address| w.number(*address));
    // What variables begin with is no part of a text.
    w.list(&module.globals, Writer::global_outline);
    w.list(&module.signatures, Writer::signature);
    let reached: BTreeSet<usize> = cx.functions.iter().chain([kernel]).map(|function| function.index()).collect();
    let taken = cx.taken();
    for n in reached.union(taken) {
        w.number(*n as u64);
        let Some(function) = module.functions.get(*n) else { continue };
        w.flag(taken.contains(n));
        if reached.contains(n) {
            w.function(function);
        } else {
            w.outline(function);
            w.flag(function.body.is_some());
        }
    }
    Ok(w.bytes)
}

const HIDDEN: [Hidden; 10] = [
    Hidden::Stop,
    Hidden::Begun,
    Hidden::Launch,
    Hidden::Blocks,
    Hidden::First,
    Hidden::Corner,
    Hidden::Grid,
    Hidden::GridId,
    Hidden::Workspace,
    Hidden::DynamicShared,
];

impl Printed {
    /// As bytes that [`Self::decode`] of the same build reads.
    pub fn encode(&self) -> Vec<u8> {
        let Self {
            text,
            entry,
            hidden,
            param_offsets,
            param_bytes,
            constants,
            static_shared,
            dynamic_base,
            own_shared,
        } = self;
        let mut w = Writer::default();
        w.text(text);
        w.text(entry);
        w.list(hidden, |w, (hidden, offset)| {
            w.number(HIDDEN.iter().position(|known| known == hidden).unwrap_or(HIDDEN.len()) as u64);
            w.number((*offset).into());
        });
        w.list(param_offsets, |w, offset| w.number((*offset).into()));
        w.list(constants, |w, global| w.number(global.index() as u64));
        for number in [*param_bytes, *static_shared, *dynamic_base, *own_shared] {
            w.number(number.into());
        }
        w.bytes
    }

    /// From such bytes.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut r = Reader::new(bytes);
        let (text, entry) = (r.text()?, r.text()?);
        let hidden = r.list(|r| Some((*HIDDEN.get(r.word()? as usize)?, r.word()?)))?;
        let param_offsets = r.list(Reader::word)?;
        let constants = r.list(|r| Some(GlobalId::new(r.word()? as usize)))?;
        let printed = Self {
            text,
            entry,
            hidden,
            param_offsets,
            constants,
            param_bytes: r.word()?,
            static_shared: r.word()?,
            dynamic_base: r.word()?,
            own_shared: r.word()?,
        };
        r.is_at_end().then_some(printed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Part, Target};
    use super::*;
    use hetir::entity::FuncId;
    use hetir::ir::{Module, Relocation, RelocationTarget};
    use hetir::random::{Config, Source, program};

    fn target() -> Target {
        Target { compute: (9, 0), architecture_specific: true, isa: (8, 0) }
    }

    #[test]
    fn printed_kernels_come_back_as_they_were() {
        let hidden = HIDDEN.iter().zip(0..).map(|(hidden, n)| (*hidden, n * 1000)).collect();
        let printed = Printed {
            text: "a text".into(),
            entry: "entry".into(),
            hidden,
            param_offsets: vec![0, 8, 4000],
            param_bytes: 4004,
            constants: vec![GlobalId::new(0), GlobalId::new(200)],
            static_shared: 1,
            dynamic_base: 2,
            own_shared: u32::MAX,
        };
        let bytes = printed.encode();
        assert_eq!(Printed::decode(&bytes), Some(printed));
        for length in 0..bytes.len() {
            assert_eq!(Printed::decode(&bytes[..length]), None, "{length} bytes");
        }
        assert_eq!(Printed::decode(&[&bytes[..], &[0]].concat()), None);
    }

    /// Every kind of parameter has a number.
    #[test]
    fn every_hidden_parameter_is_known() {
        for (n, hidden) in HIDDEN.iter().enumerate() {
            // A new one is to be added to the list.
            match hidden {
                Hidden::Stop | Hidden::Begun | Hidden::Launch | Hidden::Blocks | Hidden::First | Hidden::Corner => {}
                Hidden::Grid | Hidden::GridId | Hidden::Workspace | Hidden::DynamicShared => {}
            }
            assert!(!HIDDEN[..n].contains(hidden));
        }
    }

    /// A module, where a function is called by its address, and its kernel.
    fn sample(seed: u64) -> (Module, FuncId) {
        let made = program(&mut Source::from_seed(seed), &Config::default());
        (made.module, made.kernel)
    }

    #[test]
    fn whatever_changes_a_text_changes_its_basis() {
        let mut printed = 0;
        for seed in 0..40 {
            let (module, kernel) = sample(seed);
            let globals = vec![0x1000; module.globals.len()];
            let target = target();
            let request = Request {
                module: &module,
                kernel,
                globals: &globals,
                target: &target,
                addresses: Addresses::Native,
                part: Part::Whole,
                stops: false,
            };
            let Ok(first) = basis(&request) else { continue };
            assert_eq!(basis(&request).as_ref(), Ok(&first), "seed {seed}");
            let differs = |other: &Request<'_>, what: &str| {
                if let Ok(other) = basis(other) {
                    assert_ne!(other, first, "seed {seed}: {what}");
                }
            };
            differs(&Request { addresses: Addresses::Logical, ..request }, "addresses");
            differs(&Request { part: Part::List, ..request }, "a list");
            differs(&Request { part: Part::Cuboid, ..request }, "a part");
            differs(&Request { stops: true, ..request }, "stops");
            differs(&Request { target: &Target { isa: (8, 1), ..target }, ..request }, "version");
            differs(&Request { target: &Target { architecture_specific: false, ..target }, ..request }, "architecture");
            if !globals.is_empty() {
                let mut elsewhere = globals.clone();
                elsewhere[globals.len() - 1] += 16;
                differs(&Request { globals: &elsewhere, ..request }, "addresses of variables");
                let mut other = module.clone();
                let (offset, addend, size, shift) = (0, 0, 8, 0);
                let taken = RelocationTarget::Func(kernel);
                let relocation = Relocation { offset, target: taken, addend, size, shift, generic: true };
                other.globals[0].relocations.push(relocation);
                differs(&Request { module: &other, ..request }, "an address in memory");
            }
            // Each instruction of the kernel, by what it is and where it comes from.
            for n in 0..module.functions[kernel.index()].body.as_ref().map_or(0, |body| body.insts.len()) {
                let mut other = module.clone();
                if let Some(body) = &mut other.functions[kernel.index()].body {
                    body.spans[n].end += 1;
                }
                differs(&Request { module: &other, ..request }, "a span");
            }
            printed += 1;
        }
        assert!(printed >= 20, "{printed}");
    }
}
