//! Versions of PTX, and targets.

/// Targets below sm_100, which are all known, and newer ones: what stands behind the underscore, and ten times the major
/// version that first has it, and the minor one.
const TARGETS: &[(&str, u32)] = &[
    ("10", 10),
    ("11", 10),
    ("12", 12),
    ("13", 12),
    ("20", 20),
    ("21", 20),
    ("30", 30),
    ("32", 40),
    ("35", 31),
    ("37", 41),
    ("50", 40),
    ("52", 41),
    ("53", 42),
    ("60", 50),
    ("61", 50),
    ("62", 50),
    ("70", 51),
    ("72", 61),
    ("75", 63),
    ("80", 70),
    ("82", 62),
    ("86", 71),
    ("87", 74),
    ("88", 73),
    ("89", 78),
    ("90", 78),
    ("90a", 80),
    ("100", 86),
    ("100f", 88),
    ("103", 88),
    ("110", 90),
    ("120", 87),
    ("120f", 88),
    ("121", 88),
];

/// Versions up to 8.8 are known; what comes after 9.0 is not, and welcome.
pub(super) fn is_version(major: u32, minor: u32) -> bool {
    let last = [5, 3, 2, 3, 1, 5, 8, 8];
    match last.get((major as usize).wrapping_sub(1)) {
        Some(last) => minor <= *last,
        None => major >= 9,
    }
}

/// Whether a word of `.target` is one. Targets from sm_100 on need not be known.
pub(super) fn is_target(name: &str) -> bool {
    if matches!(name, "texmode_unified" | "texmode_independent" | "debug" | "map_f64_to_f32") {
        return true;
    }
    let Some(architecture) = architecture(name) else { return false };
    let number = architecture.strip_suffix(['a', 'f']).unwrap_or(architecture);
    row(architecture).is_some() || number.parse::<u32>().is_ok_and(|n| n >= 100)
}

/// Why a version does not have a target, if so.
pub(super) fn too_old(version: (u32, u32), target: &str) -> Option<String> {
    let architecture = architecture(target)?;
    let least = row(architecture).or_else(|| row(architecture.trim_end_matches(['a', 'f'])))?;
    let least = (least / 10, least % 10);
    (version < least).then(|| format!("`{target}` needs PTX ISA {}.{} or newer", least.0, least.1))
}

/// What stands behind the underscore of `sm_90a` and `compute_90a`.
pub(crate) fn architecture(target: &str) -> Option<&str> {
    target.strip_prefix("sm_").or_else(|| target.strip_prefix("compute_"))
}

fn row(architecture: &str) -> Option<u32> {
    TARGETS.iter().find(|(name, _)| *name == architecture).map(|(_, version)| *version)
}
