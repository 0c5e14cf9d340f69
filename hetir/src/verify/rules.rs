//! What holds of a verified module.

macro_rules! rules {
    ($($variant:ident $code:literal $text:literal;)*) => {
        /// The invariants of a module. An error's code names the one that is broken.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Rule { $(#[doc = $text] $variant),* }

        impl Rule {
            /// Every rule, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            /// The code of the errors that it gives.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => concat!("verify::", $code)),* }
            }
            /// What holds.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
            /// Its number, from 1.
            pub const fn number(self) -> usize {
                self as usize + 1
            }
        }
    };
}

rules! {
    // Modules
    Names "names" "Functions and variables have names, all of them different.";
    GlobalSpace "global-space" "A variable lies in `global`, `const` or `shared` space; a managed or opaque one in `global`.";
    GlobalSize "global-size" "A variable's size is at most 4 GiB, 16 MiB in `shared` space; its alignment is a power of two of at most 64 KiB.";
    GlobalInit "global-init" "Initial bytes fit the variable; one that is `extern` or in `shared` space has none.";
    Relocations "relocations" "A relocation writes 1 to 8 bytes inside of the variable, shifts by less than 64, and refers to a function, or to a variable that is not in `shared` space.";

    Types "types" "A type has 1, 2 or 4 lanes, and 64 bits at most where it has more than one; b1 has one.";

    // Functions
    KernelSignature "kernel-signature" "A kernel has neither parameters nor results in its signature.";
    KernelParams "kernel-params" "A kernel's parameters follow each other without overlap, each at a multiple of its alignment (a power of two of at most 64 KiB), and end within 32 KiB.";
    Slots "slots" "A function's slots have 16 MiB together; their alignments are powers of two of at most 64 KiB.";
    Bodiless "bodiless" "A function that is `extern` or unavailable has no body; a function without a body has no slots.";

    // Bodies
    Blocks "blocks" "A body has a block; a block ends in a terminator, and holds no other.";
    Placement "placement" "An instruction stands in one place at most, and has a span.";
    Definitions "definitions" "A value that is used is defined in one place, and its data says where: it is a parameter of that block or a result of that instruction.";
    Targets "targets" "`br` has one target, `brif` two, `switch` one or more, and other ops none; targets exist, and are handed values of their parameters' types.";
    Entry "entry" "Nothing leads to the entry block; its parameters are those of the function's signature.";
    Dominance "dominance" "A value's definition dominates its uses. In unreachable code, only the order within a block counts.";

    // Instructions
    Operands "operands" "Operands are as many, and of the types, as the op's row says; with the attribute `policy` an i64 stands behind them.";
    Results "results" "Results are as many, and of the types, as the op's row says.";
    TypeClass "type-class" "The types that `T` and `U` stand for are of the classes in the op's row; an op without `T` has the controlling type b1.";
    Attributes "attributes" "Attributes are in their range; the bytes behind the op's attributes are 0.";
    Immediate "immediate" "An immediate that names an entity names one that exists; a constant fits its type, a truth table 8 bits; where the row has no immediate it is 0.";

    // Single ops
    Bitcast "bitcast" "`bitcast` keeps the width.";
    Pack "pack" "`pack` and `unpack` have parts that are together as wide as the whole, and not of type b1.";
    Extend "extend" "`trunc` narrows; `zext` and `sext` widen a one-lane value that is no i128; `imulwide` takes at most i32.";
    Wide "i128" "An i128 is compared by `eq` and `ne` only, and not computed with; `icmp` compares one lane.";
    Away "rna" "Only `to_narrow` to tf32 rounds ties away from zero.";
    Contract "contract" "What may be joined with another op is rounded to nearest.";
    Narrow "narrow" "`to_narrow` gives an f32 for tf32 and an i8 otherwise; the other conversions of storage formats have no tf32; `from_narrow` from ue8m0 does not give an f16; `fcvt_rs` gives an f16 or bf16.";
    Approx "approx" "`fapprox` knows `rcp` and `rsqrt` of f32 and f64, `sqrt`, `sin`, `cos` and `lg2` of f32, `ex2` and `tanh` of f32, f16 and bf16; `fdiv_approx` divides f32.";
    SpecialRegister "sreg" "A special register has its own width; its number is below 32 for `envreg`, below 8 for `pm` and `pm64`, and else 0.";
    Access "access" "`load` and `store` move 1, 2, 4 or 8 values of 32 bytes at most together; no b1 is in memory.";
    Spaces "spaces" "`const` and `param` space are not written; `atom` and `cas` are in `generic`, `global`, `shared` or `cluster` space; `nc` and `ldu` loads are weak, in `generic` or `global` space; `to_generic`, `from_generic` and `isspace` name a space other than `generic`.";
    Order "order" "A load is weak, relaxed, acquire, volatile or mmio, a store release in the place of acquire; atomics are relaxed, acquire, release or acq_rel; a fence is acquire, release, acq_rel or sc; `cluster_arrive` is release or relaxed, `cluster_wait` acquire.";
    Scope "scope" "What is weak or volatile has no scope; everything else has one, and mmio has `sys`.";
    Atomic "atomic" "`atom` has `add` and integer minima and maxima, `and`, `or`, `xor` of i32 and i64; `exch` also of i128; `inc` and `dec` of i32; `fadd`, `fmin` and `fmax` of floats. `cas` is of i16, i32, i64 or i128.";
    Mbarrier "mbarrier" "An mbarrier is in `generic`, `shared` or `cluster` space; one that is made, ended or waited for, or a `no_complete` arrival's, is not in `cluster` space. Arrivals are release or relaxed, waits acquire or relaxed, all in the scope `cta` or `cluster`; a `no_complete` arrival is release in `cta`.";
    AsyncCopy "async-copy" "`cp_async` copies 4, 8 or 16 bytes, 16 with `cg`, and has no other cache operator than `ca` and `cg`. `bulk_load` is to `shared` or `cluster` space, `store_async` and `red_async` to `generic` or `cluster`. `store_async` writes 1, 2 or 4 values of i32, i64, f32 or f64, of 16 bytes at most together.";
    AsyncReduce "async-reduce" "Reductions in shared memory are `add`, minima and maxima, `and`, `or`, `xor`, `inc` and `dec` of i32, and `add` of i64; in global memory also `and`, `or`, `xor`, minima and maxima of i64, `fadd` of floats, `fmin` and `fmax` of f16 and bf16.";
    ClusterSpace "cluster-space" "`map_rank` and `rank_of` are of `generic` or `cluster` space.";
    Hints "hints" "`discard` and `applypriority` are of 128 bytes; a policy names its primary priority; `setmaxnreg` is a multiple of 8 from 24 to 256; `pmevent` is a mask of 16 bits.";
    Alloca "alloca" "The alignment of `alloca` is a power of two of at most 64 KiB.";
    Redux "redux" "`redux` has `fmin` and `fmax` of f32, the others of i32; only the former have `abs` and `nan`.";
    Product "product" "`mma` has a shape, types and modes that go together; its operands are the fragments of A, B and C, with an i32 behind them where A is sparse, and its results that of D.";
    Fragment "fragment" "`wmma_load` and `wmma_store` move a fragment of a product whose shape and types go together, in `generic`, `global` or `shared` space; elements of less than 8 bits are stored by rows of A and columns of B.";
    Tiles "tiles" "`ldmatrix` and `stmatrix` have an i32 for each tile, and are in `generic` or `shared` space.";
    BarrierRed "barrier-red" "`barrier_red` gives an i32 for `popc` and a b1 otherwise.";
    Texture "texture" "The operands of `tex` and `tex_gather` are those that the attributes name, and the results four components: i32, f32 or f16, or two pairs of f16. Samples have whole coordinates and one level, cubes neither whole coordinates nor offsets; depths are not compared at whole coordinates or in 3d; four texels are read of `2d`, `a2d`, `cube` and `acube`.";
    Surface "surface" "A surface is `1d`, `2d`, `3d`, `a1d` or `a2d`; 1, 2 or 4 integers of at most 16 bytes together are loaded and stored, texels of i32; `surf_red` has `add`, `and`, `or`, minima and maxima.";
    Call "call" "A call's operands and results are those of the signature; what is called is no kernel. A library call has its own signature.";
    Return "return" "`ret` hands back the results of the function's signature.";
}

#[cfg(test)]
mod tests {
    use super::Rule;

    #[test]
    fn codes_differ_and_texts_are_sentences() {
        for (i, rule) in Rule::ALL.iter().enumerate() {
            assert_eq!(rule.number(), i + 1);
            assert!(rule.text().ends_with('.'), "{rule:?}");
            assert!(Rule::ALL[..i].iter().all(|r| r.code() != rule.code()), "{rule:?}");
        }
    }
}
