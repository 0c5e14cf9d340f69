//! Attributes: what an op needs to know beside its operands. Each kind is an enum whose variants have one spelling;
//! an empty spelling is the silent default, and an attribute without a silent default is always written.

use crate::types::Type;

/// One kind of attribute, as stored in an instruction (a byte).
pub trait Attr: Copy + Sized {
    /// Which kind.
    const KIND: AttrKind;
    /// The variant of this number; the first one where the number is unknown.
    fn from_byte(byte: u8) -> Self;
    /// Its number.
    fn byte(self) -> u8;
}

macro_rules! attributes {
    ($($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident $text:literal),* $(,)? })*) => {
        /// The kinds of attributes.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum AttrKind { $($(#[$doc])* $name),* }

        impl AttrKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];
            /// The spellings of this kind's variants, by number.
            pub const fn spellings(self) -> &'static [&'static str] {
                match self { $(Self::$name => &[$($text),*]),* }
            }
        }

        $($(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum $name { $($(#[$vdoc])* #[doc = concat!("`", $text, "`")] $variant),* }

        impl $name {
            /// Every variant.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            /// Its spelling.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }

        impl Attr for $name {
            const KIND: AttrKind = AttrKind::$name;
            fn from_byte(byte: u8) -> Self {
                Self::ALL.get(byte as usize).copied().unwrap_or(Self::ALL[0])
            }
            fn byte(self) -> u8 {
                self as u8
            }
        })*
    };
}

attributes! {
    /// Signedness of an integer op.
    Sign { U "u", S "s" }
    /// Signedness of the second operand.
    SignB { U "bu", S "bs" }
    /// Rounding of a floating-point result.
    Round {
        /// To nearest, ties to even.
        Rn "rn",
        /// Towards zero.
        Rz "rz",
        /// Towards minus infinity.
        Rm "rm",
        /// Towards plus infinity.
        Rp "rp",
        /// To nearest, ties away from zero.
        Rna "rna",
    }
    /// Denormal operands and results become zero of the same sign.
    Ftz { No "", Yes "ftz" }
    /// Saturation: floats to [0, 1] with NaN as +0, integers to their type's range.
    Sat { No "", Yes "sat" }
    /// The program leaves it to the compiler to join the product with a sum, the sum with a product. To whoever computes
    /// it, it means nothing: see `passes/contract.rs`.
    Contract { No "", Yes "contract" }
    /// Negative results and -0 become +0, NaN becomes the canonical NaN.
    Relu { No "", Yes "relu" }
    /// A conversion's overflow gives the largest finite value.
    SatFinite { No "", Yes "satfinite" }
    /// An out-of-bounds NaN operand makes the result +0.
    Oob { No "", Yes "oob" }
    /// A NaN operand makes the result NaN.
    PropagateNan { No "", Yes "nan" }
    /// The result's sign is the exclusive or of the operands', and magnitudes are compared.
    XorSign { No "", Yes "xorsign" }
    /// Magnitudes are taken before the op.
    AbsOperands { No "", Yes "abs" }
    /// Integer comparison.
    IntCmp { Eq "eq", Ne "ne", Lt "lt", Le "le", Gt "gt", Ge "ge" }
    /// Floating-point comparison; the `u` forms are also true where an operand is NaN.
    FloatCmp {
        Eq "eq", Ne "ne", Lt "lt", Le "le", Gt "gt", Ge "ge",
        Equ "equ", Neu "neu", Ltu "ltu", Leu "leu", Gtu "gtu", Geu "geu",
        /// Both operands are numbers.
        Num "num",
        /// An operand is NaN.
        Nan "isnan",
    }
    /// Class tested by `ftest`.
    FloatClass {
        Finite "finite", Infinite "infinite", Number "number", NotANumber "notanumber", Normal "normal",
        Subnormal "subnormal",
    }
    /// Approximate functions.
    ApproxFn {
        Rcp "rcp", Rsqrt "rsqrt", Sqrt "sqrt", Sin "sin", Cos "cos", Lg2 "lg2", Ex2 "ex2", Tanh "tanh",
    }
    /// Approximate divisions.
    ApproxDiv {
        /// Division by way of the approximate reciprocal.
        Approx "approx",
        /// The full-range approximate division.
        Full "full",
    }
    /// Storage formats that are converted to and from, never computed with.
    Narrow {
        E4m3 "e4m3", E5m2 "e5m2", E2m3 "e2m3", E3m2 "e3m2", E2m1 "e2m1", Ue8m0 "ue8m0", Tf32 "tf32",
    }
    /// What a shift or field amount beyond the width means.
    Wrap { Clamp "clamp", Wrap "wrap" }
    /// Direction of a funnel shift.
    Direction { Left "l", Right "r" }
    /// Byte selection of `prmt`.
    Permute { Index "", F4e "f4e", B4e "b4e", Rc8 "rc8", Ecl "ecl", Ecr "ecr", Rc16 "rc16" }
    /// Which half of a long product or operand.
    Half { Lo "lo", Hi "hi" }
    /// State space of an access. Addresses in `generic` may point into any window.
    Space {
        Generic "generic", Global "global", Shared "shared", Local "local", Const "const", Param "param",
        /// Shared memory of any block of the cluster.
        Cluster "cluster",
    }
    /// Ordering and strength of an access.
    Order {
        Weak "", Relaxed "relaxed", Acquire "acquire", Release "release", AcqRel "acq_rel", SeqCst "sc",
        Volatile "volatile", Mmio "mmio",
    }
    /// Threads among which an access or fence is ordered.
    Scope { None "", Cta "cta", Cluster "cluster_scope", Gpu "gpu", Sys "sys" }
    /// Cache operator: a hint.
    Cache { None "", Ca "ca", Cg "cg", Cs "cs", Lu "lu", Cv "cv", Wb "wb", Wt "wt" }
    /// How often it is executed: a hint.
    Rare {
        No "",
        /// Seldom, so that its code is to be short, not fast.
        Yes "rare",
    }
    /// L1 eviction priority: a hint.
    EvictL1 {
        None "", Normal "l1_normal", Unchanged "l1_unchanged", First "l1_first", Last "l1_last",
        NoAllocate "l1_no_allocate",
    }
    /// L2 eviction priority: a hint.
    EvictL2 {
        None "", Normal "l2_normal", First "l2_first", Last "l2_last", Unchanged "l2_unchanged",
    }
    /// L2 eviction priority of the accesses outside a policy's fraction: a hint.
    EvictL2Rest { None "", Unchanged "rest_unchanged", First "rest_first" }
    /// A cache policy stands behind the other operands.
    Policy { No "", Yes "policy" }
    /// Direction of a register count hint.
    SetMaxReg { Inc "inc", Dec "dec" }
    /// L2 prefetch size: a hint.
    Prefetch { None "", B64 "pf64", B128 "pf128", B256 "pf256" }
    /// Load path.
    Path {
        Default "",
        /// Read-only data for the kernel's whole run.
        NonCoherent "nc",
        /// The same address in all threads of the warp.
        Uniform "ldu",
    }
    /// The address is the same on every device of the system: a hint.
    Unified { No "", Yes "unified" }
    /// Atomic operation.
    AtomOp {
        Add "add", And "and", Or "or", Xor "xor", Exch "exch", Inc "inc", Dec "dec", SMin "smin", SMax "smax",
        UMin "umin", UMax "umax", FAdd "fadd", FMin "fmin", FMax "fmax",
    }
    /// What the elements of a range of memory are.
    Elements { I32 "i32", I64 "i64", F16 "f16", Bf16 "bf16", F32 "f32", F64 "f64" }
    /// What a fence orders beyond ordinary accesses.
    FenceKind {
        Memory "", Alias "alias", Async "async", AsyncGlobal "async_global", AsyncShared "async_shared",
        AsyncCluster "async_cluster", TensorMap "tensormap", MbarrierInit "mbarrier_init",
        SyncRestrictCta "restrict_cta", SyncRestrictCluster "restrict_cluster",
        AsyncRestrictCta "async_restrict_cta", AsyncRestrictCluster "async_restrict_cluster",
    }
    /// Lane selection of a shuffle.
    ShuffleMode { Up "up", Down "down", Bfly "bfly", Idx "idx" }
    /// What a vote computes.
    VoteMode { All "all", Any "any", Uni "uni" }
    /// Whole-warp reductions.
    ReduxOp {
        Add "add", SMin "smin", SMax "smax", UMin "umin", UMax "umax", And "and", Or "or", Xor "xor", FMin "fmin",
        FMax "fmax",
    }
    /// What a reducing barrier computes.
    BarrierOp { Popc "popc", And "and", Or "or" }
    /// All threads of a warp execute the barrier together.
    Aligned { No "", Yes "aligned" }
    /// The arrivals are not expected in later phases.
    Drop { No "", Yes "drop" }
    /// The arrival does not complete the phase.
    NoComplete { No "", Yes "no_complete" }
    /// The arrival was counted on from the start.
    NoInc { No "", Yes "noinc" }
    /// Only the reads of a copy's source are waited for.
    ReadsOnly { No "", Yes "reads" }
    /// What is fetched into.
    Level {
        L1 "l1", L2 "l2", L1Uniform "l1_uniform",
        /// That of tensor maps.
        TensorMap "tensormap",
    }
    /// Shape of a matrix product: rows of A, columns of B, and how many products are summed.
    MatrixShape {
        M8N8K4 "m8n8k4", M8N8K16 "m8n8k16", M8N8K32 "m8n8k32", M8N8K128 "m8n8k128",
        M16N8K4 "m16n8k4", M16N8K8 "m16n8k8", M16N8K16 "m16n8k16", M16N8K32 "m16n8k32", M16N8K64 "m16n8k64",
        M16N8K128 "m16n8k128", M16N8K256 "m16n8k256",
        M16N16K8 "m16n16k8", M16N16K16 "m16n16k16", M8N32K16 "m8n32k16", M32N8K16 "m32n8k16",
    }
    /// Elements of the matrices D, A, B and C of a product, in this order.
    MatrixTypes {
        F16AccF16 "f16.f16.f16.f16", F32AccF16 "f32.f16.f16.f16", F16AccF32 "f16.f16.f16.f32",
        F32AccF32 "f32.f16.f16.f32",
        Bf16 "f32.bf16.bf16.f32", Tf32 "f32.tf32.tf32.f32",
        E4m3E4m3AccF16 "f16.e4m3.e4m3.f16", E4m3E5m2AccF16 "f16.e4m3.e5m2.f16",
        E5m2E4m3AccF16 "f16.e5m2.e4m3.f16", E5m2E5m2AccF16 "f16.e5m2.e5m2.f16",
        E4m3E4m3AccF32 "f32.e4m3.e4m3.f32", E4m3E5m2AccF32 "f32.e4m3.e5m2.f32",
        E5m2E4m3AccF32 "f32.e5m2.e4m3.f32", E5m2E5m2AccF32 "f32.e5m2.e5m2.f32",
        F64 "f64.f64.f64.f64",
        S8S8 "s32.s8.s8.s32", S8U8 "s32.s8.u8.s32", U8S8 "s32.u8.s8.s32", U8U8 "s32.u8.u8.s32",
        S4S4 "s32.s4.s4.s32", S4U4 "s32.s4.u4.s32", U4S4 "s32.u4.s4.s32", U4U4 "s32.u4.u4.s32",
        B1 "s32.b1.b1.s32",
    }
    /// Elements of one matrix.
    Element {
        F16 "f16", Bf16 "bf16", Tf32 "tf32", E4m3 "e4m3", E5m2 "e5m2", F32 "f32", F64 "f64", S8 "s8", U8 "u8", S4 "s4",
        U4 "u4", B1 "b1", S32 "s32",
    }
    /// Where A is.
    FactorA {
        /// In shared memory, where a descriptor says.
        Shared "",
        Registers "a_registers",
    }
    /// The product is subtracted.
    Negate { No "", Yes "neg" }
    /// Which matrix of a product.
    Matrix { A "a", B "b", C "c" }
    /// Which elements of a matrix are neighbours in memory.
    Layout { Row "row", Col "col" }
    /// Layout of A.
    LayoutA { Row "", Col "a_col" }
    /// Layout of B.
    LayoutB { Col "", Row "b_row" }
    /// Whether A is stored without half of its zeros.
    Sparsity {
        /// Every element is stored.
        Dense "",
        /// Metadata says where the stored elements belong.
        Sparse "sparse",
        /// The same, and the indices of a chunk are in increasing order.
        Ordered "ordered",
    }
    /// Which lanes of each four hold the metadata of a sparse matrix.
    Selector { First "", Second "sel1", Third "sel2", Fourth "sel3" }
    /// How bits are multiplied before they are counted.
    BitProduct { None "", Xor "xor", And "and" }
    /// Rounding of products of f64 matrices.
    MatrixRound { Rn "", Rz "rz", Rm "rm", Rp "rp" }
    /// How many places the summands of a product keep.
    MatrixSum { Full "", Short "short" }
    /// Tiles of 8 by 8 elements that are moved.
    Tiles { X1 "x1", X2 "x2", X4 "x4" }
    /// Rows and columns change places.
    Transpose { No "", Yes "trans" }
    /// A field of a tensor map.
    MapField {
        GlobalAddress "global_address", Rank "rank", BoxDim "box_dim", GlobalDim "global_dim",
        GlobalStride "global_stride", ElementStride "element_stride", ElemType "elemtype",
        Interleave "interleave_layout", SwizzleMode "swizzle_mode", SwizzleAtomicity "swizzle_atomicity",
        FillMode "fill_mode",
    }
    /// What a reducing copy does with each element of a tensor, whose type its map says.
    MapReduction { Add "add", Min "min", Max "max", Inc "inc", Dec "dec", And "and", Or "or", Xor "xor" }
    /// A copy is made for each block of a set.
    Multicast { No "", Yes "multicast" }
    /// Shape of an access of a texture or surface.
    Geometry {
        D1 "1d", D2 "2d", D3 "3d",
        /// Layers of one dimension.
        A1 "a1d",
        /// Layers of two dimensions.
        A2 "a2d",
        Cube "cube",
        /// Layers of cubes.
        ACube "acube",
        /// Several samples a texel.
        Ms "2dms",
        /// Layers of several samples a texel.
        AMs "a2dms",
    }
    /// Coordinates of a texture access.
    Coordinates {
        /// Filtered, wrapped and scaled as the sampler says.
        Float "sampled",
        /// Numbers of texels: neither filtered nor wrapped nor scaled.
        Texel "texel",
    }
    /// How the mip level is chosen.
    Lod { Base "", Level "level", Grad "grad" }
    /// A sampler of its own follows the texture.
    SeparateSampler { No "", Yes "sampler" }
    /// Offsets in texels.
    TexelOffset { No "", Yes "offset" }
    /// The first component is compared with a depth, which gives 1 or 0.
    DepthCompare { No "", Yes "compare" }
    /// One component of a texel.
    Component { R "r", G "g", B "b", A "a" }
    /// What an access outside of a surface does.
    Outside {
        /// It fails.
        Trap "trap",
        /// It is moved to the nearest place inside.
        Clamp "clamp",
        /// It reads zeros and writes nothing.
        Zero "zero",
    }
    /// What the lowest coordinate of a surface counts.
    SurfaceUnit {
        /// Bytes; the bits are moved as they are.
        Bytes "bytes",
        /// Texels; values are converted to the surface's format.
        Texels "texels",
    }
    /// A property of a texture, sampler or surface.
    ImageQuery {
        Width "width", Height "height", Depth "depth", ChannelDataType "channel_data_type",
        ChannelOrder "channel_order", NormalizedCoords "normalized_coords", ArraySize "array_size",
        MipLevels "num_mipmap_levels", Samples "num_samples", MemoryLayout "memory_layout",
        ForceUnnormalized "force_unnormalized_coords", FilterMode "filter_mode", AddressX "addr_mode_0",
        AddressY "addr_mode_1", AddressZ "addr_mode_2",
    }
    /// What a handle may stand for.
    ImageKind { Texture "texture", Sampler "sampler", Surface "surface" }
    /// Library calls that every device provides.
    Syscall {
        /// `vprintf(format, arguments)`.
        Vprintf "vprintf",
        /// `malloc(bytes)`.
        Malloc "malloc",
        /// `free(address)`.
        Free "free",
        /// `__assertfail(message, file, line, function, char size)`.
        AssertFail "assertfail",
    }
    /// Special registers, read by `sreg`. The first group is fixed by the launch and the thread's place in it.
    Sreg {
        TidX "tid.x", TidY "tid.y", TidZ "tid.z",
        NtidX "ntid.x", NtidY "ntid.y", NtidZ "ntid.z",
        CtaidX "ctaid.x", CtaidY "ctaid.y", CtaidZ "ctaid.z",
        NctaidX "nctaid.x", NctaidY "nctaid.y", NctaidZ "nctaid.z",
        LaneId "laneid", WarpId "warpid", NWarpId "nwarpid",
        LaneMaskEq "lanemask_eq", LaneMaskLe "lanemask_le", LaneMaskLt "lanemask_lt", LaneMaskGe "lanemask_ge",
        LaneMaskGt "lanemask_gt",
        SmId "smid", NSmId "nsmid", GridId "gridid",
        Clock "clock", ClockHi "clock_hi", Clock64 "clock64",
        GlobalTimer "globaltimer", GlobalTimerLo "globaltimer_lo", GlobalTimerHi "globaltimer_hi",
        DynamicSharedSize "dynamic_smem_size", TotalSharedSize "total_smem_size", AggrSharedSize "aggr_smem_size",
        IsExplicitCluster "is_explicit_cluster",
        ClusterIdX "clusterid.x", ClusterIdY "clusterid.y", ClusterIdZ "clusterid.z",
        NClusterIdX "nclusterid.x", NClusterIdY "nclusterid.y", NClusterIdZ "nclusterid.z",
        ClusterCtaIdX "cluster_ctaid.x", ClusterCtaIdY "cluster_ctaid.y", ClusterCtaIdZ "cluster_ctaid.z",
        ClusterNCtaIdX "cluster_nctaid.x", ClusterNCtaIdY "cluster_nctaid.y", ClusterNCtaIdZ "cluster_nctaid.z",
        ClusterCtaRank "cluster_ctarank", ClusterNCtaRank "cluster_nctarank",
        CurrentGraphExec "current_graph_exec",
        /// `%envreg<imm>`: 0 but for the two that hold the grid barrier's workspace.
        EnvReg "envreg",
        /// `%pm<imm>`: 0.
        Pm "pm",
        /// `%pm<imm>_64`: 0.
        Pm64 "pm64",
    }
}

impl IntCmp {
    /// What holds where this does not.
    pub const fn opposite(self) -> Self {
        match self {
            Self::Eq => Self::Ne,
            Self::Ne => Self::Eq,
            Self::Lt => Self::Ge,
            Self::Le => Self::Gt,
            Self::Gt => Self::Le,
            Self::Ge => Self::Lt,
        }
    }
    /// The same with its sides exchanged.
    pub const fn swapped(self) -> Self {
        match self {
            Self::Lt => Self::Gt,
            Self::Le => Self::Ge,
            Self::Gt => Self::Lt,
            Self::Ge => Self::Le,
            equal => equal,
        }
    }
}

impl Elements {
    /// The type of one.
    pub const fn element(self) -> Type {
        match self {
            Self::I32 => Type::I32,
            Self::I64 => Type::I64,
            Self::F16 => Type::F16,
            Self::Bf16 => Type::BF16,
            Self::F32 => Type::F32,
            Self::F64 => Type::F64,
        }
    }
}

impl Geometry {
    /// How many coordinates there are, beside layer and sample.
    pub const fn dimensions(self) -> usize {
        match self {
            Self::D1 | Self::A1 => 1,
            Self::D2 | Self::A2 | Self::Ms | Self::AMs => 2,
            Self::D3 | Self::Cube | Self::ACube => 3,
        }
    }
    /// Whether there are layers.
    pub const fn is_layered(self) -> bool {
        matches!(self, Self::A1 | Self::A2 | Self::ACube | Self::AMs)
    }
    /// Whether a texel has several samples.
    pub const fn has_samples(self) -> bool {
        matches!(self, Self::Ms | Self::AMs)
    }
    /// Whether the coordinates are a direction.
    pub const fn is_cube(self) -> bool {
        matches!(self, Self::Cube | Self::ACube)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_variant_may_be_silent_and_spellings_differ() {
        for &kind in AttrKind::ALL {
            let names = kind.spellings();
            assert!(names[1..].iter().all(|n| !n.is_empty()), "{kind:?}");
            for (i, n) in names.iter().enumerate() {
                assert!(!names[..i].contains(n), "{kind:?} has {n} twice");
            }
        }
    }
}
