//! Settings from the environment: one row each, parsed once.

use crate::twin::Suspending;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// One setting, as documentation shows it.
pub struct Setting {
    pub variable: &'static str,
    pub default: &'static str,
    pub doc: &'static str,
}

macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $field:ident: $type:ty = $variable:literal, $default:literal, $parse:expr;)+) => {
        /// The parsed settings.
        #[derive(Clone, Debug)]
        pub struct Settings { $($(#[doc = $doc])+ pub $field: $type),+ }

        /// Every setting, in the order of the documentation.
        pub const SETTINGS: &[Setting] = &[
            Setting { variable: "HETGPU_LOG", default: "warn", doc: "what is logged: off, error, warn, info or trace, and topics: api (every call, its result and its time), jit (what is compiled); as in info,api; with :PATH appended, where to" },
            $(Setting { variable: $variable, default: $default, doc: concat!($($doc),+).trim_ascii() }),+
        ];

        impl Settings {
            /// Reads them through `get`, which is the environment outside tests. What cannot be parsed is reported and
            /// the default taken.
            pub fn read(get: impl Fn(&str) -> Option<String>) -> (Self, Vec<String>) {
                let mut complaints = Vec::new();
                let settings = Self { $($field: {
                    let parse: fn(&str) -> Option<$type> = $parse;
                    let default = parse($default).expect("the default of a setting parses");
                    match get($variable) {
                        None => default,
                        Some(text) => parse(&text).unwrap_or_else(|| {
                            complaints.push(format!("{}: '{text}' is not understood; taking {}", $variable, $default));
                            default
                        }),
                    }
                }),+ };
                (settings, complaints)
            }
        }
    };
}

/// What kernels are checked for beyond what a device notices by itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Check {
    Off,
    /// Accesses of memory, to the byte.
    Memory,
    /// Also races, and reads of memory that nothing has written.
    All,
}

settings! {
    /// a folder in which every module is saved: the image, its PTX, its hetIR, and what kernels are compiled to; nowhere if empty
    dump: Option<PathBuf> = "HETGPU_DUMP", "", |text| Some((!text.is_empty()).then(|| text.into()));
    /// the version of CUDA that programs are told: 1000 times the major, 10 times the minor
    driver_version: i32 = "HETGPU_DRIVER_VERSION", "13000", |text| text.parse().ok().filter(|version| (1000..100_000).contains(version));
    /// the compute capability that programs are told: which PTX of an image is taken, at most 12.1
    compute: (u32, u32) = "HETGPU_COMPUTE", "9.0", capability;
    /// memory: find accesses outside an allocation by a single byte; 1: also races and uninitialised reads (both slower)
    check: Check = "HETGPU_CHECK", "0", check;
    /// devices by name, in the order in which programs number them: cpu, as often as wanted (cpu:avx512, cpu:avx2, cpu:sse2),
    /// interp, nvidia, as often as there are cards
    devices: Vec<String> = "HETGPU_DEVICE", "cpu", names;
    /// kernels that can be paused in the middle of their blocks: auto (those whose blocks take over a millisecond, or may
    /// never end), always, never
    suspending: Suspending = "HETGPU_SUSPEND", "auto", Suspending::of;
    /// the program that saves processes for whole checkpoints: CRIU 4.2 or newer; the first criu in PATH if empty
    criu: Option<PathBuf> = "HETGPU_CRIU", "", |text| Some((!text.is_empty()).then(|| text.into()));
    /// threads of the CPU device; 0: as many as there are processors
    cpu_threads: u32 = "HETGPU_CPU_THREADS", "0", |text| text.parse().ok();
    /// the driver library of a card's vendor, by its absolute path; found where the system keeps it if empty
    vendor_driver: Option<PathBuf> = "HETGPU_VENDOR_DRIVER", "", |text| Some((!text.is_empty()).then(|| text.into()));
    /// MiB of host memory that are pinned when a card becomes a device, and kept until the process ends, as is the card's context: memory
    /// of the card that is set aside lies in it, and is copied at the speed of the bus; 0: a little, when it is first needed, and what is
    /// set aside is copied once more
    arena: u32 = "HETGPU_ARENA", "0", |text| text.parse().ok();
    /// order in which the interpreter runs threads that are free to run in any order
    seed: u64 = "HETGPU_SEED", "0", |text| text.parse().ok();
}

fn check(text: &str) -> Option<Check> {
    match text {
        "0" | "" | "off" | "no" => Some(Check::Off),
        "memory" => Some(Check::Memory),
        "1" | "on" | "yes" | "all" => Some(Check::All),
        _ => None,
    }
}

/// `9.0` or `90`. Programs for later targets than those whose PTX is read would be refused anyway.
fn capability(text: &str) -> Option<(u32, u32)> {
    const RANGE: RangeInclusive<(u32, u32)> = (5, 0)..=(12, 1);
    let (major, minor) = match text.split_once('.') {
        Some(parts) => parts,
        None => text.split_at_checked(text.len().checked_sub(1)?)?,
    };
    let capability = (major.parse().ok()?, minor.parse().ok().filter(|&minor| minor < 10)?);
    RANGE.contains(&capability).then_some(capability)
}

fn names(text: &str) -> Option<Vec<String>> {
    let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
    names.iter().all(|name| !name.is_empty()).then_some(names)
}

impl Settings {
    pub fn from_environment() -> Self {
        let (settings, complaints) = Self::read(|name| std::env::var(name).ok());
        for complaint in complaints {
            crate::log::warn(format_args!("{complaint}"));
        }
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_have_two_numbers() {
        for (text, expected) in [("9.0", (9, 0)), ("75", (7, 5)), ("100", (10, 0)), ("12.1", (12, 1))] {
            assert_eq!(capability(text), Some(expected), "{text}");
        }
        for text in ["", "9", "9.", ".5", "9.10", "13.0", "2.0", "sm_90", "\u{e9}5"] {
            assert_eq!(capability(text), None, "{text}");
        }
    }

    #[test]
    fn unset_means_the_default_and_nonsense_is_reported() {
        let (settings, complaints) = Settings::read(|_| None);
        assert!(settings.check == Check::Off && settings.seed == 0 && complaints.is_empty());
        assert_eq!(settings.devices, ["cpu"]);
        let (settings, complaints) = Settings::read(|name| {
            Some(match name {
                "HETGPU_CHECK" => "memory".into(),
                "HETGPU_DEVICE" => "cpu, interp".into(),
                "HETGPU_DUMP" => "/tmp/modules".into(),
                "HETGPU_DRIVER_VERSION" => "12080".into(),
                "HETGPU_COMPUTE" => "8.6".into(),
                _ => "many".into(),
            })
        });
        assert_eq!(settings.check, Check::Memory);
        assert_eq!(settings.devices, ["cpu", "interp"]);
        assert_eq!(settings.seed, 0);
        assert_eq!(settings.dump, Some("/tmp/modules".into()));
        assert_eq!((settings.driver_version, settings.compute), (12080, (8, 6)));
        let numbers = ["HETGPU_CPU_THREADS", "HETGPU_ARENA", "HETGPU_SEED"].map(|name| (name, "0"));
        let expected = [&[("HETGPU_SUSPEND", "auto")][..], &numbers].concat();
        let expected: Vec<String> = expected
            .into_iter()
            .map(|(name, default)| format!("{name}: 'many' is not understood; taking {default}"))
            .collect();
        assert_eq!(complaints, expected);
    }
}
