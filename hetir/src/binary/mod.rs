//! Modules as bytes, for what is kept on disk from run to run, and for digests.
//!
//! What comes back is what was given, down to the numbers of values and to instructions that no block holds. Numbers are short where
//! they are small, and places are told by their distance from the one before. The bytes mean something to the build that wrote them
//! alone: whoever keeps them names them by that, and knows by a digest that they are whole. [`decode`] then is as good as what was
//! encoded; of other bytes it makes nothing or a module that was not verified, and does not panic.

mod read;
mod write;

pub use read::Reader;
pub use write::Writer;

use crate::ir::Module;

/// A module as bytes; none where a function was refused, since the reasons are for who has the text, and none of machine code, which
/// was never lifted.
pub fn encode(module: &Module) -> Option<Vec<u8>> {
    let whole = module.machine.is_none() && module.functions.iter().all(|function| function.unavailable.is_empty());
    whole.then(|| {
        let mut writer = Writer::default();
        writer.module(module);
        writer.bytes
    })
}

/// The module of such bytes.
pub fn decode(bytes: &[u8]) -> Option<Module> {
    let mut reader = Reader::new(bytes);
    let module = reader.module()?;
    reader.is_at_end().then_some(module)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Config, Source, program};

    fn shown(module: &Module) -> String {
        format!("{module:?}")
    }

    #[test]
    fn random_programs_come_back_as_they_were() {
        for seed in 0..200 {
            let config = Config { statements: 1 + seed as usize % 12, ..Config::default() };
            let module = program(&mut Source::from_seed(seed), &config).module;
            let bytes = encode(&module).unwrap();
            let back = decode(&bytes).unwrap_or_else(|| panic!("seed {seed}"));
            assert_eq!(shown(&back), shown(&module), "seed {seed}");
        }
    }

    #[test]
    fn everything_that_a_module_has_comes_back() {
        use crate::attr::Space;
        use crate::diag::Span;
        use crate::entity::{FuncId, GlobalId};
        use crate::ir::*;
        let param = |name: &str, offset, opaque| KernelParam { name: name.into(), offset, size: 8, align: 4, opaque };
        let bounds = LaunchBounds {
            max_threads: [1, 2, 3],
            required_threads: [4, 5, 6],
            min_blocks: 7,
            max_registers: 8,
            required_cluster: [9, 10, 11],
            max_cluster: 12,
            explicit_cluster: true,
        };
        let params = vec![param("a", 0, None), param("b", 8, Some(Opaque::Surface))];
        let mut kernel = Function::new("kernel", FunctionKind::Kernel { params, bounds });
        kernel.slots = vec![SlotData { size: 1 << 20, align: 16 }];
        kernel.span = Span::new(77, u32::MAX);
        let mut declared = Function::new("declared", FunctionKind::Device);
        declared.linkage = Linkage::Extern;
        declared.signature = Signature { params: crate::types::Type::ALL.to_vec(), results: Vec::new() };
        let relocation =
            |target, generic| Relocation { offset: 3, target, addend: i64::MIN, size: 8, shift: 9, generic };
        let globals = Linkage::NAMES.iter().enumerate().map(|(n, (linkage, _))| Global {
            name: format!("global é {n}"),
            space: [Space::Global, Space::Const, Space::Shared][n % 3],
            size: u64::MAX - n as u64,
            align: 128,
            linkage: *linkage,
            managed: n == 1,
            init: vec![n as u8; n * 100],
            relocations: vec![
                relocation(RelocationTarget::Func(FuncId::new(n)), n == 2),
                relocation(RelocationTarget::Global(GlobalId::new(300)), false),
            ],
            opaque: [None, Some(Opaque::Texture), Some(Opaque::Sampler)][n % 3],
            fields: vec![("width".into(), n.to_string())],
            span: Span::new(5, 4),
        });
        let module = Module {
            globals: globals.collect(),
            functions: vec![kernel, declared.clone()],
            signatures: vec![declared.signature.clone(), Signature::default()],
            files: vec![(7, "a.cu".into())],
            machine: None,
            lines: vec![
                DebugLine { start: 9, file: 7, line: 1, column: 2 },
                DebugLine { start: 2, file: 1, line: 0, column: 0 },
            ],
        };
        let back = decode(&encode(&module).unwrap()).unwrap();
        assert_eq!(shown(&back), shown(&module));

        let code = MachineCode { image: vec![1], target: "a target".into(), variables: Vec::new() };
        assert!(encode(&Module { machine: Some(std::sync::Arc::new(code)), ..module.clone() }).is_none());
        let mut refused = module;
        refused.functions[1].unavailable.push(crate::diag::Diagnostic::error("a::b", "why"));
        assert!(encode(&refused).is_none());
    }

    #[test]
    fn damaged_bytes_do_not_panic() {
        let module = program(&mut Source::from_seed(3), &Config::default()).module;
        let good = encode(&module).unwrap();
        for length in 0..good.len() {
            assert!(decode(&good[..length]).is_none(), "{length} bytes");
        }
        assert!(decode(&[&good[..], &[0]].concat()).is_none());
        for at in 0..good.len() {
            for bits in [1, 0x7f, 0x80, 0xff] {
                let mut bytes = good.clone();
                bytes[at] ^= bits;
                drop(decode(&bytes));
            }
        }
    }
}
