//! Settings from the environment: one row each, parsed once.

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
            Setting { variable: "HETGPU_LOG", default: "warn", doc: "what is logged: off, error, warn, info, trace; with :PATH appended, where to" },
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
    /// memory: find accesses outside an allocation by a single byte; 1: also races and uninitialised reads (both slower)
    check: Check = "HETGPU_CHECK", "0", check;
    /// devices by name, in the order in which programs number them: cpu, interp
    devices: Vec<String> = "HETGPU_DEVICE", "cpu", names;
    /// threads of the CPU device; 0: as many as there are processors
    cpu_threads: u32 = "HETGPU_CPU_THREADS", "0", |text| text.parse().ok();
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
    fn unset_means_the_default_and_nonsense_is_reported() {
        let (settings, complaints) = Settings::read(|_| None);
        assert!(settings.check == Check::Off && settings.seed == 0 && complaints.is_empty());
        assert_eq!(settings.devices, ["cpu"]);
        let (settings, complaints) = Settings::read(|name| {
            Some(match name {
                "HETGPU_CHECK" => "memory".into(),
                "HETGPU_DEVICE" => "cpu, interp".into(),
                _ => "many".into(),
            })
        });
        assert_eq!(settings.check, Check::Memory);
        assert_eq!(settings.devices, ["cpu", "interp"]);
        assert_eq!(settings.seed, 0);
        let expected =
            ["HETGPU_CPU_THREADS", "HETGPU_SEED"].map(|name| format!("{name}: 'many' is not understood; taking 0"));
        assert_eq!(complaints, expected);
    }
}
