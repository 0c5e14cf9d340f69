//! The processor that code is made for.

use super::elf::Arch;
use super::{CompileError, Features, sys};
use inkwell::OptimizationLevel;
use inkwell::targets::{
    CodeModel, InitializationConfig, RelocMode, Target, TargetMachine, TargetMachineOptions, TargetTriple,
};
use std::sync::Once;

/// What every x86-64 processor has. Exchanges of 16 bytes are missing in the very first ones alone.
const SSE2: &[&str] = &["sse", "sse2", "cx8", "cx16", "fxsr"];
/// What came up to AVX2, which the processors that have it have altogether.
const AVX2: &[&str] = &[
    "sse3", "ssse3", "sse4.1", "sse4.2", "popcnt", "avx", "avx2", "fma", "f16c", "bmi", "bmi2", "lzcnt", "movbe",
    "xsave",
];
const AVX512: &[&str] = &["avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"];

/// A processor: its kind, and what it can do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Machine {
    pub(super) arch: Arch,
    pub(crate) triple: &'static str,
    pub(crate) cpu: String,
    /// With `+` or `-` before each, between commas.
    pub(crate) features: String,
    /// Bits of the widest vector register to be used.
    pub(crate) vector_bits: u32,
}

impl Machine {
    /// This processor, as far as these features go.
    pub(crate) fn host(features: Features) -> Result<Self, CompileError> {
        let native = TargetMachine::get_host_cpu_features();
        Self::level_of(features, &native.to_string_lossy())
    }

    /// A processor that has `native`, as far as `features` go.
    pub(super) fn level_of(features: Features, native: &str) -> Result<Self, CompileError> {
        let host = Self::of_host(native)?;
        let levels = match features {
            Features::Native => return Ok(host),
            Features::Sse2 => [SSE2, &[], &[]],
            Features::Avx2 => [SSE2, AVX2, &[]],
            Features::Avx512 => [SSE2, AVX2, AVX512],
        };
        let wanted = levels.concat();
        if host.arch != Arch::X86_64 {
            return Err(CompileError::Host(format!("{features:?} is for x86-64, which this processor is not")));
        }
        let missing: Vec<&str> = wanted.iter().copied().filter(|name| !host.has(name)).collect();
        if !missing.is_empty() {
            return Err(CompileError::Host(format!("{features:?} needs {}", missing.join(", "))));
        }
        Ok(Self::level(features, &wanted))
    }

    fn level(features: Features, names: &[&str]) -> Self {
        let mut list: Vec<String> = names.iter().map(|name| format!("+{name}")).collect();
        let (cpu, vector_bits) = match features {
            Features::Avx512 => ("x86-64-v4", 512),
            Features::Avx2 => {
                // Else a gather becomes a branch a lane.
                list.push("+fast-gather".into());
                ("x86-64-v3", 256)
            }
            Features::Sse2 | Features::Native => ("x86-64", 128),
        };
        Self { arch: Arch::X86_64, triple: X86_64, cpu: cpu.into(), features: list.join(","), vector_bits }
    }

    fn of_host(features: &str) -> Result<Self, CompileError> {
        let cpu = TargetMachine::get_host_cpu_name().to_string_lossy().into_owned();
        let features = features.to_string();
        if cfg!(target_arch = "x86_64") {
            let mut machine = Self { arch: Arch::X86_64, triple: X86_64, cpu, features, vector_bits: 128 };
            if AVX512.iter().all(|name| machine.has(name)) {
                machine.vector_bits = 512;
            } else if machine.has("avx2") {
                machine.vector_bits = 256;
                machine.features.push_str(",+fast-gather");
            }
            Ok(machine)
        } else if cfg!(target_arch = "aarch64") {
            Ok(Self { arch: Arch::Aarch64, triple: AARCH64, cpu, features, vector_bits: 128 })
        } else {
            Err(CompileError::Host("code is made for x86-64 and aarch64 alone".into()))
        }
    }

    /// Any aarch64 processor: all have NEON.
    #[cfg(test)]
    pub(super) fn aarch64() -> Self {
        let (cpu, features) = ("generic".into(), "+neon,+fp-armv8".into());
        Self { arch: Arch::Aarch64, triple: AARCH64, cpu, features, vector_bits: 128 }
    }

    /// Whether it has a feature, by LLVM's name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.features.split(',').any(|feature| feature.strip_prefix('+') == Some(name))
    }

    /// LLVM's view of it.
    pub(super) fn target(&self, level: OptimizationLevel) -> Result<TargetMachine, CompileError> {
        initialise(self.arch);
        let triple = TargetTriple::create(self.triple);
        let target = Target::from_triple(&triple).map_err(|error| CompileError::Llvm(error.to_string()))?;
        let options = TargetMachineOptions::new()
            .set_cpu(&self.cpu)
            .set_features(&self.features)
            .set_level(level)
            .set_reloc_mode(RelocMode::PIC)
            .set_code_model(CodeModel::Small);
        target
            .create_target_machine_from_options(&triple, options)
            .ok_or_else(|| CompileError::Llvm(format!("no code generator for {} on {}", self.cpu, self.triple)))
    }
}

const X86_64: &str = "x86_64-unknown-linux-gnu";
const AARCH64: &str = "aarch64-unknown-linux-gnu";

fn initialise(arch: Arch) {
    static OPTIONS: Once = Once::new();
    // The scheduler behind register allocation takes half of the time of a kernel of thousands of instructions, and
    // processors that execute out of order gain nothing by it.
    OPTIONS.call_once(|| sys::set_options(&[c"-post-RA-scheduler=false"]));
    static X86: Once = Once::new();
    static ARM: Once = Once::new();
    let parts = InitializationConfig {
        asm_parser: true,
        asm_printer: true,
        base: true,
        disassembler: false,
        info: true,
        machine_code: true,
    };
    match arch {
        Arch::X86_64 => X86.call_once(|| Target::initialize_x86(&parts)),
        Arch::Aarch64 => ARM.call_once(|| Target::initialize_aarch64(&parts)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_whole_words() {
        let machine = Machine::level(Features::Avx2, &["avx2", "fma"]);
        assert!(machine.has("avx2") && machine.has("fma") && machine.has("fast-gather"));
        assert!(!machine.has("avx") && !machine.has("+fma") && !machine.has(""));
        let without = Machine { features: "-fma,+avx".into(), ..machine };
        assert!(!without.has("fma") && without.has("avx"));
    }
    #[test]
    fn a_level_is_lacking_where_no_code_can_be_made_for_it() {
        for features in [Features::Native, Features::Sse2, Features::Avx2, Features::Avx512] {
            let made = Machine::host(features);
            assert_eq!(made.is_ok(), features.lacking().is_empty(), "{features:?}: {made:?}");
        }
    }
}
