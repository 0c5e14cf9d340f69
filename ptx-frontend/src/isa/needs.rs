//! Which PTX version and which target an instruction needs, by the words of its opcode: as the assembler has it, which
//! differs from the manual in places. What is not here is as old as the oldest modules that are read.

use crate::ast::{Module, split_opcode};
use crate::parse::architecture;

/// A need. It holds for an opcode that has one of the alternatives.
struct Need {
    base: &'static str,
    /// Alternatives, separated by spaces; each one word, or several with `+` between them. Words with dots in them end
    /// the opcode. None: it always holds.
    words: &'static str,
    /// Ten times the major version, and the minor one; 0 where any will do.
    version: u32,
    /// Number of the target; 0 where any will do.
    target: u32,
}

const fn need(base: &'static str, words: &'static str, version: u32, target: u32) -> Need {
    Need { base, words, version, target }
}

const NEEDS: &[Need] = &[
    need("abs", "f16 f16x2", 65, 53),
    need("abs", "bf16 bf16x2", 70, 80),
    need("activemask", "", 62, 0),
    need("add", "f16 f16x2", 42, 53),
    need("add", "cc+s64 cc+u64", 43, 0),
    need("add", "bf16 bf16x2", 78, 90),
    need("add", "s16x2 u16x2", 80, 90),
    need("add", "f32x2 f32+f16 f32+bf16", 86, 100),
    need("addc", "cc+s64 cc+u64", 43, 0),
    need("alloca", "", 73, 52),
    need("atom", "cta f64 gpu sys", 50, 60),
    need("atom", "acq_rel acquire relaxed release", 60, 70),
    need("atom", "noftz", 62, 60),
    need("atom", "b16 f16", 63, 70),
    need("atom", "L2::cache_hint", 74, 80),
    need("atom", "shared::cta", 78, 0),
    need("atom", "bf16 bf16x2 cluster shared::cluster", 78, 90),
    need("atom", "v2 v4 v8", 81, 90),
    need("atom", "b128", 83, 90),
    need("atom", "b128+sys", 84, 0),
    need("bar", "warp", 60, 0),
    need("bar", "cta", 78, 0),
    need("barrier", "", 60, 0),
    need("barrier", "cta", 78, 0),
    need("barrier", "cluster", 78, 90),
    need("barrier", "acquire relaxed release", 80, 0),
    need("bmsk", "", 76, 70),
    need("clusterlaunchcontrol", "", 86, 100),
    need("cp", "", 70, 80),
    need("cp", "shared::cta", 78, 0),
    need("cp", "bulk", 80, 90),
    need("createpolicy", "", 74, 80),
    need("cvt", "e2m1x2 e2m3x2 e3m2x2 ue8m0x2 rs rn+tf32+satfinite rz+tf32+satfinite", 86, 100),
    need("cvt", "s2 s4 u2 u4", 0, 75),
    need("cvt", "pack", 65, 72),
    need("cvt", "bf16 bf16x2 f16x2 relu tf32", 70, 80),
    need("cvt", "bf16+f16 bf16+f64 bf16+s16 bf16+s32 bf16+s64 bf16+u16 bf16+u32 bf16+u64 bf16.bf16", 78, 90),
    need("cvt", "rn+tf32 rz+tf32", 78, 90),
    need("cvt", "e4m3x2 e5m2x2", 78, 89),
    need("cvt", "satfinite+f16.f32 satfinite+f16x2.f32 satfinite+bf16.f32 satfinite+bf16x2.f32", 81, 70),
    need("cvt", "satfinite+tf32.f32", 81, 70),
    need("cvta", "param", 77, 70),
    need("cvta", "shared::cta", 78, 0),
    need("cvta", "shared::cluster", 78, 90),
    need("cvta", "param::entry", 83, 70),
    need("dp2a", "", 50, 61),
    need("dp4a", "", 50, 61),
    need("elect", "", 80, 90),
    need("ex2", "f16 f16x2", 70, 75),
    need("ex2", "bf16 bf16x2", 78, 90),
    need("fence", "", 60, 70),
    need("fence", "alias", 75, 0),
    need("fence", "cluster", 78, 90),
    need("fence", "mbarrier_init", 80, 0),
    need("fence", "async", 80, 90),
    need("fence", "tensormap::generic", 83, 90),
    need("fence", "async::generic sync_restrict::shared::cluster sync_restrict::shared::cta", 86, 0),
    need("fma", "f16 f16x2", 42, 53),
    need("fma", "bf16 bf16x2 relu", 70, 80),
    need("fma", "oob", 81, 90),
    need("fma", "f32x2 f32+f16 f32+bf16", 86, 100),
    need("fns", "", 60, 0),
    need("getctarank", "", 78, 90),
    need("griddepcontrol", "", 78, 90),
    need("isspacep", "param", 77, 70),
    need("isspacep", "shared::cta", 78, 0),
    need("isspacep", "shared::cluster", 78, 90),
    need("isspacep", "param::entry", 83, 70),
    need("ld", "acquire relaxed", 0, 70),
    need("ld", "gpu sys", 60, 0),
    need("ld", "cta weak", 60, 70),
    need("ld", "L1::evict_first L1::evict_last L1::evict_normal L1::evict_unchanged L1::no_allocate", 74, 70),
    need("ld", "L2::128B L2::64B", 74, 75),
    need("ld", "L2::256B L2::cache_hint", 74, 80),
    need("ld", "shared::cta", 78, 0),
    need("ld", "cluster shared::cluster", 78, 90),
    need("ld", "mmio", 82, 0),
    need("ld", "param::entry param::func", 83, 0),
    need("ld", "b128", 83, 70),
    need("ld", "b128+sys", 84, 0),
    need("ldmatrix", "", 65, 75),
    need("ldmatrix", "shared::cta", 78, 0),
    need("ldu", "b128", 83, 70),
    need("lop3", "", 43, 0),
    need("lop3", "and or", 82, 70),
    need("mad", "cc+s64 cc+u64", 43, 0),
    need("madc", "cc+s64 cc+u64", 43, 0),
    need("mapa", "", 78, 90),
    need("match", "", 60, 70),
    need("max", "NaN bf16 bf16x2 f16 f16x2", 70, 80),
    need("max", "abs", 72, 86),
    need("max", "relu s16x2 u16x2", 80, 90),
    need("mbarrier", "relaxed", 0, 90),
    need("mbarrier", "", 70, 80),
    need("mbarrier", "parity", 71, 0),
    need("mbarrier", "shared::cta", 78, 0),
    need("mbarrier", "try_wait", 78, 90),
    need("mbarrier", "cta", 80, 0),
    need("mbarrier", "cluster complete_tx expect_tx shared::cluster", 80, 90),
    need("mbarrier", "arrive+relaxed arrive_drop+relaxed relaxed+test_wait relaxed+try_wait", 86, 0),
    need("membar", "alias", 75, 60),
    need("min", "NaN bf16 bf16x2 f16 f16x2", 70, 80),
    need("min", "abs", 72, 86),
    need("min", "relu s16x2 u16x2", 80, 90),
    need("mma", "m16n8k128 m16n8k256", 0, 80),
    need("mma", "", 64, 70),
    need("mma", "m16n8k8 s32", 65, 75),
    need("mma", "b1", 70, 0),
    need("mma", "bf16 f64 m16n8k16 m16n8k32 m16n8k64 tf32", 70, 80),
    need("mma", "f64+m16n8k4 f64+m16n8k8 f64+m16n8k16", 78, 90),
    need("mma", "sp", 71, 0),
    need("mma", "and", 71, 80),
    need("mma", "e4m3 e5m2", 84, 89),
    need("mma", "sp::ordered_metadata", 85, 0),
    need("mma", "e4m3+f16 e4m3+m16n8k16 e5m2+f16 e5m2+m16n8k16", 87, 0),
    need("mov", "b128", 83, 70),
    need("movmatrix", "", 78, 75),
    need("mul", "f16 f16x2", 42, 53),
    need("mul", "bf16 bf16x2", 78, 90),
    need("mul", "f32x2", 86, 100),
    need("multimem", "", 81, 90),
    need("multimem", "acc::f32", 82, 0),
    need("nanosleep", "", 62, 70),
    need("neg", "f16 f16x2", 60, 53),
    need("neg", "bf16 bf16x2", 70, 80),
    need("prefetch", "L2::evict_last L2::evict_normal", 74, 80),
    need("prefetch", "tensormap", 80, 90),
    need("red", "cta f64 gpu sys", 50, 60),
    need("red", "relaxed release", 60, 70),
    need("red", "noftz", 62, 60),
    need("red", "f16", 63, 70),
    need("red", "L2::cache_hint", 74, 80),
    need("red", "shared::cta", 78, 0),
    need("red", "bf16 bf16x2 cluster shared::cluster", 78, 90),
    need("red", "async", 81, 0),
    need("red", "v2 v4 v8", 81, 90),
    need("redux", "f32", 86, 100),
    need("redux", "", 70, 80),
    need("set", "f16 f16x2", 42, 53),
    need("set", "s16.f16 u16.f16 s32.f16 u32.f16 s32.f16x2 u32.f16x2", 65, 0),
    need("set", "bf16 bf16x2", 78, 90),
    need("setp", "f16 f16x2", 42, 53),
    need("setp", "bf16 bf16x2", 78, 90),
    need("setmaxnreg", "", 80, 90),
    need("shfl", "sync", 60, 0),
    need("st", "cta relaxed release weak", 60, 70),
    need("st", "L1::evict_first L1::evict_last L1::evict_normal L1::evict_unchanged L1::no_allocate", 74, 70),
    need("st", "L2::cache_hint", 74, 80),
    need("st", "shared::cta", 78, 0),
    need("st", "cluster shared::cluster", 78, 90),
    need("st", "async", 81, 90),
    need("st", "mmio", 82, 0),
    need("st", "b128", 83, 70),
    need("st", "b128+sys", 84, 0),
    need("stackrestore", "", 73, 52),
    need("stacksave", "", 73, 52),
    need("stmatrix", "", 78, 90),
    need("sub", "f16 f16x2", 42, 53),
    need("sub", "cc+s64 cc+u64", 43, 0),
    need("sub", "bf16 bf16x2", 78, 90),
    need("sub", "f32x2 f32+f16 f32+bf16", 86, 100),
    need("subc", "cc+s64 cc+u64", 43, 0),
    need("szext", "", 76, 70),
    need("tanh", "", 70, 75),
    need("tanh", "bf16 bf16x2", 78, 90),
    need("tcgen05", "", 86, 100),
    need("tensormap", "swizzle_atomicity", 86, 100),
    need("tensormap", "", 83, 90),
    need("vote", "sync", 60, 0),
    need("wgmma", "", 80, 90),
    need("wmma", "s32 s8 u8", 0, 72),
    need("wmma", "m8n8k128 m8n8k32", 0, 75),
    need("wmma", "", 63, 70),
    need("wmma", "bf16 m16n16k8 m8n8k4", 70, 80),
    need("wmma", "and", 71, 80),
    need("wmma", "shared::cta", 78, 0),
];

/// What only targets of one architecture or family have, such as `sm_90a` and `sm_100f`: the opcode, a word of it, and
/// the numbers of the first and the last target.
const SPECIFIC: &[(&str, &str, u32, u32)] = &[
    ("setmaxnreg", "", 90, u32::MAX),
    ("tcgen05", "", 100, u32::MAX),
    ("tensormap", "replace", 90, u32::MAX),
    ("wgmma", "", 90, 90),
];

/// The version that brought 8-bit floats to sm_89; sm_90 has always had them.
const SHORT_FLOATS_ON_89: u32 = 81;

/// From this version and target on, the lanes that take part must be named.
const SYNC: (u32, u32) = (64, 70);

/// What a module says it is written for. What it does not say is as new as can be.
pub(crate) fn written_for(module: &Module<'_>) -> (u32, u32) {
    let version = module.version.map_or(u32::MAX, |v| v.major.saturating_mul(10).saturating_add(v.minor));
    let number = |name: &str| name.trim_end_matches(['a', 'f']).parse().ok();
    (version, target_of(module).and_then(number).unwrap_or(u32::MAX))
}

/// What a module's target has behind the underscore.
fn target_of<'a>(module: &'a Module<'_>) -> Option<&'a str> {
    module.targets.iter().find_map(|target| architecture(module.name(target.symbol)))
}

/// Why an opcode is not for the version and target of a module, if so.
pub(crate) fn unmet(module: &Module<'_>, opcode: &str) -> Option<String> {
    let (version, target) = written_for(module);
    let (base, modifiers) = split_opcode(opcode);
    let has = |word: &str| match word.contains('.') {
        true => opcode.strip_suffix(word).is_some_and(|rest| rest.ends_with('.')),
        false => modifiers.clone().any(|m| m == word),
    };
    let holds = |need: &&Need| {
        need.base == base && (need.words.is_empty() || need.words.split(' ').any(|all| all.split('+').all(has)))
    };
    for need in NEEDS.iter().filter(holds) {
        if need.version > version {
            return Some(format!("`{opcode}` needs PTX ISA {}.{} or newer", need.version / 10, need.version % 10));
        }
        if need.target > target {
            return Some(format!("`{opcode}` needs the target sm_{} or newer", need.target));
        }
    }
    let short = base == "cvt" && (has("e4m3x2") || has("e5m2x2"));
    if short && target < 90 && version < SHORT_FLOATS_ON_89 {
        return Some(format!("`{opcode}` needs PTX ISA 8.1 or newer, or the target sm_90"));
    }
    let specific = SPECIFIC.iter().find(|(of, word, ..)| *of == base && (word.is_empty() || has(word)));
    if let (Some((_, _, first, last)), Some(name)) = (specific, target_of(module))
        && !(name.ends_with(['a', 'f']) && (*first..=*last).contains(&target))
    {
        return Some(format!("`{opcode}` needs a target such as sm_{first}a"));
    }
    if matches!(base, "shfl" | "vote") && !has("sync") && version >= SYNC.0 && target >= SYNC.1 {
        return Some(format!("`{opcode}` needs `.sync` from PTX ISA 6.4 and sm_70 on"));
    }
    None
}
