//! The table of ops. Everything that speaks of "all ops" is derived from [`crate::for_each_op!`].

use crate::attr::AttrKind;
use crate::types::{Scalar, Type};
use std::sync::OnceLock;

/// Which types a signature's variable may stand for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// Every type.
    Any,
    /// Every one-lane type.
    One,
    /// Integers of 8 to 64 bits, any lanes.
    Int,
    /// One-lane integers of 8 to 64 bits.
    Int1,
    /// `i32` and `i64`.
    Word,
    /// `b1` and integers, any lanes.
    Bits,
    /// Floats, any lanes.
    Float,
    /// One-lane floats.
    Float1,
    /// Any but `i128`.
    Small,
}

impl Class {
    /// Whether the class holds this type.
    pub const fn holds(self, t: Type) -> bool {
        let one = t.lanes == 1;
        let int = t.scalar.is_int() && !matches!(t.scalar, Scalar::I128);
        match self {
            Self::Any => true,
            Self::One => one,
            Self::Int => int,
            Self::Int1 => int && one,
            Self::Word => one && matches!(t.scalar, Scalar::I32 | Scalar::I64),
            Self::Bits => int || matches!(t.scalar, Scalar::B1 | Scalar::I128),
            Self::Float => t.scalar.is_float(),
            Self::Float1 => t.scalar.is_float() && one,
            Self::Small => !matches!(t.scalar, Scalar::I128),
        }
    }
    /// What a message calls it.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Any => "any type",
            Self::One => "a one-lane type",
            Self::Int => "an integer of 8 to 64 bits",
            Self::Int1 => "a one-lane integer of 8 to 64 bits",
            Self::Word => "i32 or i64",
            Self::Bits => "b1 or an integer",
            Self::Float => "a floating-point type",
            Self::Float1 => "a one-lane floating-point type",
            Self::Small => "any type but i128",
        }
    }
}

/// One place of a signature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pattern {
    /// The op's controlling type.
    T,
    /// The op's second type.
    U,
    /// The integer of twice the controlling type's width.
    Wide,
    /// This type.
    Is(Type),
    /// Any number of values of the controlling type, at least one.
    ManyT,
    /// Any number of values of the second type, at least one.
    ManyU,
    /// Any number of values of any types.
    Rest,
}

/// What the immediate of an instruction is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Imm {
    /// There is none.
    None,
    /// A number; for constants the value's bits.
    Int,
    /// A signed byte offset that is added to the address operand.
    Offset,
    /// A module variable.
    Global,
    /// A function.
    Func,
    /// A slot.
    Slot,
    /// A signature.
    Sig,
}

/// What an op does beside computing its results.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Effects(u8);

impl Effects {
    /// Nothing: it may be removed, repeated, moved and merged.
    pub const PURE: Self = Self(0);
    /// Reads memory.
    pub const READ: Self = Self(1);
    /// Writes memory or another state that others see.
    pub const WRITE: Self = Self(2);
    /// Reads and writes memory.
    pub const READ_WRITE: Self = Self(3);
    /// Exchanges data with, or waits for, other threads: never moved across control flow.
    pub const CONVERGENT: Self = Self(4 | 3);
    /// Ends a block.
    pub const TERMINATOR: Self = Self(8);
    /// The result depends on when it is asked: not merged with another, but removed where unused.
    pub const VARIES: Self = Self(16);

    /// True where all of `other`'s effects are among these.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
    /// True where an unused result makes the op superfluous.
    pub const fn removable(self) -> bool {
        self.0 & (2 | 8) == 0
    }
    /// True where two ops of the same operands may be merged.
    pub const fn mergeable(self) -> bool {
        self.0 == 0
    }
}

/// The row of an op.
#[derive(Debug)]
pub struct OpInfo {
    /// Its name in the text format.
    pub name: &'static str,
    /// Operands.
    pub args: Vec<Pattern>,
    /// Results.
    pub results: Vec<Pattern>,
    /// What `T` may be.
    pub t: Class,
    /// What `U` may be.
    pub u: Class,
    /// Attributes, in the order in which they are stored and written.
    pub attrs: &'static [AttrKind],
    /// The immediate.
    pub imm: Imm,
    /// Effects.
    pub effects: Effects,
    /// What it means.
    pub doc: &'static str,
}

impl OpInfo {
    /// True where `T` occurs in the operands or results.
    pub fn is_typed(&self) -> bool {
        self.args.iter().chain(&self.results).any(|p| matches!(p, Pattern::T | Pattern::ManyT | Pattern::Wide))
    }
}

/// Calls `$m!` with every row: `Variant "name" "operands -> results" T-class U-class [attributes] immediate effects "meaning"`.
///
/// In a signature `T` is the controlling type, `U` a second one, `wide` the integer of twice T's width, `T+` one or
/// more values, `*` any number of values of any types.
#[macro_export]
macro_rules! for_each_op {
    ($m:ident) => {
        $m! {
            // Constants and addresses
            Const "const" "-> T" Small Any [] Int PURE "The bits given, all lanes together.";
            GlobalAddr "global_addr" "-> i64" Any Any [] Global PURE "The address of a module variable in its own state space.";
            FuncAddr "func_addr" "-> i64" Any Any [] Func PURE "The address of a function, for `calli`.";
            SlotAddr "slot_addr" "-> i64" Any Any [] Slot PURE "The address of a slot in `local` space.";
            Sreg "sreg" "-> T" Word Any [Sreg] Int VARIES "A special register; the immediate numbers those that come in rows.";

            // Integers
            IAdd "iadd" "T T -> T" Int Any [Sat] None PURE "Sum, wrapping; `sat` clamps to the signed range.";
            ISub "isub" "T T -> T" Int Any [Sat] None PURE "Difference, wrapping; `sat` clamps to the signed range.";
            IMul "imul" "T T -> T" Int Any [] None PURE "Low half of the product.";
            IMulHi "imulhi" "T T -> T" Int1 Any [Sign] None PURE "High half of the product.";
            IMulWide "imulwide" "T T -> wide" Int1 Any [Sign] None PURE "The whole product; T is at most i32.";
            IDiv "idiv" "T T -> T" Int1 Any [Sign] None PURE "Quotient towards zero. By zero: all ones. The smallest signed number by -1: itself.";
            IRem "irem" "T T -> T" Int1 Any [Sign] None PURE "a - idiv(a, b) * b. By zero: all ones.";
            INeg "ineg" "T -> T" Int Any [] None PURE "0 - a, wrapping.";
            IAbs "iabs" "T -> T" Int Any [] None PURE "Magnitude of a signed number, wrapping.";
            IMin "imin" "T T -> T" Int Any [Sign Relu] None PURE "The smaller; `relu` clamps a negative result to 0.";
            IMax "imax" "T T -> T" Int Any [Sign Relu] None PURE "The larger; `relu` clamps a negative result to 0.";
            And "and" "T T -> T" Bits Any [] None PURE "Bitwise and.";
            Or "or" "T T -> T" Bits Any [] None PURE "Bitwise or.";
            Xor "xor" "T T -> T" Bits Any [] None PURE "Bitwise exclusive or.";
            Not "not" "T -> T" Bits Any [] None PURE "Bitwise complement.";
            Shl "shl" "T i32 -> T" Int1 Any [] None PURE "Shift left; an unsigned amount of the width or more gives 0.";
            Shr "shr" "T i32 -> T" Int1 Any [Sign] None PURE "Shift right; an unsigned amount of the width or more gives 0, or the sign in every bit.";
            Shf "shf" "i32 i32 i32 -> i32" Any Any [Direction Wrap] None PURE "Funnel shift of hi:lo given as (lo, hi, amount): `l` gives the high word of the left shift, `r` the low word of the right shift; `clamp` limits the amount to 32, `wrap` takes it modulo 32.";
            Popc "popc" "T -> i32" Word Any [] None PURE "Number of one bits.";
            Clz "clz" "T -> i32" Word Any [] None PURE "Number of leading zero bits.";
            Brev "brev" "T -> T" Word Any [] None PURE "Bits in reverse order.";
            Bfind "bfind" "T -> i32" Word Any [Sign] None PURE "Position of the highest bit that differs from the sign (of the highest one bit where unsigned), or -1.";
            Bfe "bfe" "T i32 i32 -> T" Word Any [Sign] None PURE "Bit field (value, position, length), the last two taken modulo 256 where T is i32; bits beyond the value are its sign (0 where unsigned); length 0 gives 0.";
            Bfi "bfi" "T T i32 i32 -> T" Word Any [] None PURE "Inserts (field, into, position, length), the last two taken modulo 256 where T is i32; bits beyond the value are lost.";
            Bmsk "bmsk" "i32 i32 -> i32" Any Any [Wrap] None PURE "Mask of (position, length): `clamp` limits both to 32, `wrap` takes both modulo 32.";
            Fns "fns" "i32 i32 i32 -> i32" Any Any [] None PURE "Position of the n-th set bit of (mask, base, offset): counted upwards from base where offset is positive, downwards where negative, the bit at base itself where 0; all ones where there is none, and 0 for the smallest offset.";
            Szext "szext" "i32 i32 -> i32" Any Any [Sign Wrap] None PURE "Sign or zero extension from the lowest n bits of (value, n); `clamp` limits n to 32, `wrap` takes it modulo 32; n = 0 gives 0.";
            Lop3 "lop3" "i32 i32 i32 -> i32" Any Any [] Int PURE "Bitwise function by truth table: bit 4a+2b+c of the immediate.";
            Prmt "prmt" "i32 i32 i32 -> i32" Any Any [Permute] None PURE "Picks four of the eight bytes of b:a given as (a, b, selector).";
            Dp4a "dp4a" "i32 i32 i32 -> i32" Any Any [Sign SignB] None PURE "c plus the dot product of the four bytes of a and b.";
            Dp2a "dp2a" "i32 i32 i32 -> i32" Any Any [Sign SignB Half] None PURE "c plus the dot product of the two halves of a and two bytes of b.";
            IAddC "iaddc" "T T b1 -> T b1" Word Any [] None PURE "Sum with carry in; carry out.";
            ISubB "isubb" "T T b1 -> T b1" Word Any [] None PURE "Difference with borrow in; borrow out.";
            ICmp "icmp" "T T -> b1" Bits Any [IntCmp Sign] None PURE "Integer comparison; one lane.";
            Select "select" "b1 T T -> T" Any Any [] None PURE "The first value where the condition holds, else the second.";

            // Floating point
            FAdd "fadd" "T T -> T" Float Any [Round Ftz Sat Contract] None PURE "Sum.";
            FSub "fsub" "T T -> T" Float Any [Round Ftz Sat Contract] None PURE "Difference.";
            FMul "fmul" "T T -> T" Float Any [Round Ftz Sat Contract] None PURE "Product.";
            FFma "ffma" "T T T -> T" Float Any [Round Ftz Sat Relu Oob] None PURE "a * b + c, rounded once.";
            FDiv "fdiv" "T T -> T" Float1 Any [Round Ftz] None PURE "Quotient.";
            FRcp "frcp" "T -> T" Float1 Any [Round Ftz] None PURE "1 / a.";
            FSqrt "fsqrt" "T -> T" Float1 Any [Round Ftz] None PURE "Square root.";
            FNeg "fneg" "T -> T" Float Any [Ftz] None PURE "Sign changed.";
            FAbs "fabs" "T -> T" Float Any [Ftz] None PURE "Sign cleared.";
            FMin "fmin" "T T -> T" Float Any [Ftz PropagateNan XorSign AbsOperands] None PURE "The smaller, -0 below +0; a NaN operand loses unless `nan`.";
            FMax "fmax" "T T -> T" Float Any [Ftz PropagateNan XorSign AbsOperands] None PURE "The larger, -0 below +0; a NaN operand loses unless `nan`.";
            FCopysign "fcopysign" "T T -> T" Float Any [] None PURE "The second operand with the sign of the first.";
            FTest "ftest" "T -> b1" Float1 Any [FloatClass] None PURE "Whether the number is of the class.";
            FCmp "fcmp" "T T -> b1" Float1 Any [FloatCmp Ftz] None PURE "Floating-point comparison.";
            FApprox "fapprox" "T -> T" Float Any [ApproxFn Ftz] None PURE "An approximate function, within the bound that PTX states.";
            FDivApprox "fdiv_approx" "T T -> T" Float1 Any [ApproxDiv Ftz] None PURE "An approximate quotient, within the bound that PTX states.";

            // Conversions
            Trunc "trunc" "U -> T" Int1 Int1 [] None PURE "The low bits.";
            Zext "zext" "U -> T" Int1 Bits [] None PURE "Extension by zeros.";
            Sext "sext" "U -> T" Int1 Bits [] None PURE "Extension by the sign.";
            Bitcast "bitcast" "U -> T" Any Any [] None PURE "The same bits as another type of the same width.";
            FCvt "fcvt" "U -> T" Float1 Float1 [Round Ftz Sat Relu SatFinite] None PURE "Float to float.";
            FRound "fround" "T -> T" Float1 Any [Round Ftz Sat] None PURE "To an integral value.";
            FToI "ftoi" "U -> T" Int1 Float1 [Sign Round Ftz] None PURE "Float to integer, rounded and clamped to the range.";
            IToF "itof" "U -> T" Float1 Int1 [Sign Round Sat] None PURE "Integer to float.";
            ToNarrow "to_narrow" "U -> T" Small Float1 [Narrow Round SatFinite Relu Sat] None PURE "Float to a storage format: an i8 (in its low bits), or an f32 with a short mantissa for tf32.";
            FromNarrow "from_narrow" "i8 -> T" Float1 Any [Narrow] None PURE "Storage format (in the low bits) to float; exact.";
            FCvtRs "fcvt_rs" "f32 i32 -> T" Float1 Any [SatFinite Relu] None PURE "Float to float, rounded by the random bits given.";
            ToNarrowRs "to_narrow_rs" "f32 i32 -> i8" Any Any [Narrow Relu] None PURE "Float to a storage format, rounded by the random bits given; overflow gives the largest finite value.";
            Pack "pack" "U+ -> T" Any Any [] None PURE "Values side by side, the first in the low bits.";
            Unpack "unpack" "U -> T+" Any Any [] None PURE "The parts of a value, the low bits first.";

            // Memory
            Load "load" "i64 -> T+" One Any [Space Order Scope Cache Rare EvictL1 EvictL2 Prefetch Path Unified Policy] Offset READ "Reads consecutive values; the address is a multiple of their size together.";
            Store "store" "i64 T+ -> " One Any [Space Order Scope Cache Rare EvictL1 EvictL2 Policy] Offset WRITE "Writes consecutive values; the address is a multiple of their size together.";
            Atom "atom" "i64 T -> T" Any Any [AtomOp Space Order Scope Policy] Offset READ_WRITE "Replaces memory by op(memory, operand); gives the old value.";
            Cas "cas" "i64 T T -> T" One Any [Space Order Scope Policy] Offset READ_WRITE "Replaces memory by the third operand where it equals the second; gives the old value.";
            Fence "fence" " -> " Any Any [Order Scope FenceKind] None READ_WRITE "Orders this thread's accesses.";
            ToGeneric "to_generic" "i64 -> i64" Any Any [Space] None PURE "The generic address of an address in a space.";
            FromGeneric "from_generic" "i64 -> i64" Any Any [Space] None PURE "The address in a space of a generic address into its window.";
            IsSpace "isspace" "i64 -> b1" Any Any [Space] None PURE "Whether a generic address lies in a space's window.";
            PrefetchOp "prefetch" "i64 -> " Any Any [Space Level EvictL2] None READ "A hint that memory will be used.";
            Discard "discard" "i64 -> " Any Any [Space Level] Int WRITE "A hint that the bytes (as many as the immediate) may lose their value.";
            ApplyPriority "applypriority" "i64 -> " Any Any [Space Level] Int READ "A hint on eviction.";
            CreatePolicy "createpolicy" "f32 -> i64" Any Any [EvictL2 EvictL2Rest] None PURE "A cache policy for a fraction of the accesses; its bits mean nothing.";
            CreatePolicyRange "createpolicy_range" "i64 i32 i32 -> i64" Any Any [EvictL2 EvictL2Rest] None PURE "A cache policy for a range (address, primary size, total size); its bits mean nothing.";
            CreatePolicyCvt "createpolicy_cvt" "i64 -> i64" Any Any [] None PURE "A cache policy of an access property; its bits mean nothing.";
            Alloca "alloca" "i64 -> i64" Any Any [] Int WRITE "Takes bytes from the thread's stack until the activation ends; the immediate is the alignment.";
            StackSave "stacksave" " -> i64" Any Any [] None VARIES "The mark of the thread's stack.";
            StackRestore "stackrestore" "i64 -> " Any Any [] None WRITE "Frees what was taken since the mark.";

            // Asynchronous copies. A copy happens at some time between its issue and the end of the wait for it; until then
            // its source must not be written, nor its destination read or written.
            CpAsync "cp_async" "i64 i64 i32 -> " Any Any [Cache Prefetch Policy] Int READ_WRITE "Copies (to, from, bytes read) from global to shared memory: as many bytes as the immediate, 4, 8 or 16, with zeros for those that are not read. The copy is of the thread's open group.";
            CpAsyncCommit "cp_async_commit" " -> " Any Any [] None READ_WRITE "Closes the thread's open group of `cp_async` and opens another.";
            CpAsyncWait "cp_async_wait" " -> " Any Any [] Int READ_WRITE "Waits for the thread's closed groups but for the last ones, as many as the immediate.";
            CpAsyncArrive "cp_async_arrive" "i64 -> " Any Any [NoInc Space] Offset READ_WRITE "Arrives at an mbarrier once all `cp_async` that the thread has issued are done; unless `noinc` one more arrival is pending from now on.";
            BulkLoad "bulk_load" "i64 i64 i32 i64 -> " Any Any [Space Policy] None READ_WRITE "Copies (to, from, bytes, mbarrier) from global to shared memory, then completes as many bytes at the mbarrier, which is in the destination's block. The space is that of the destination and the mbarrier.";
            BulkMulticast "bulk_multicast" "i64 i64 i32 i64 i16 -> " Any Any [Policy] None READ_WRITE "`bulk_load` (to, from, bytes, mbarrier, blocks) for each block of the cluster whose rank's bit is set, at the same places of its shared memory.";
            BulkSend "bulk_send" "i64 i64 i32 i64 -> " Any Any [] None READ_WRITE "Copies (to, from, bytes, mbarrier) from the block's shared memory to one of the cluster, then completes as many bytes at the mbarrier, which is in the destination's block.";
            BulkStore "bulk_store" "i64 i64 i32 -> " Any Any [Policy] None READ_WRITE "Copies (to, from, bytes) from shared to global memory. The copy is of the thread's open bulk group.";
            BulkReduceSend "bulk_reduce_send" "i64 i64 i32 i64 -> " Any Any [AtomOp Elements] None READ_WRITE "`bulk_send` that replaces each element of the destination by op(destination, source), atomically element by element.";
            BulkReduceStore "bulk_reduce_store" "i64 i64 i32 -> " Any Any [AtomOp Elements Policy] None READ_WRITE "`bulk_store` that replaces each element of the destination by op(destination, source), atomically element by element.";
            BulkCommit "bulk_commit" " -> " Any Any [] None READ_WRITE "Closes the thread's open bulk group and opens another.";
            BulkWait "bulk_wait" " -> " Any Any [ReadsOnly] Int READ_WRITE "Waits for the thread's closed bulk groups but for the last ones, as many as the immediate; with `reads` only until they have read their sources.";
            BulkPrefetch "bulk_prefetch" "i64 i32 -> " Any Any [Policy] None READ "A hint that so many bytes of global memory will be used.";
            TensorLoad "tensor_load" "i64 i64 i64 i16 T+ -> " Word Any [Space Multicast Policy] None READ_WRITE "Copies (map, to, mbarrier, blocks, coordinates...) a box of a tensor, as the module `tensor_map` says, to shared memory, then completes its bytes at the mbarrier, which is in the destination's block; with `multicast` for each block of the cluster whose rank's bit is set. The space is that of the destination and the mbarrier.";
            TensorStore "tensor_store" "i64 i64 T+ -> " Word Any [Policy] None READ_WRITE "Copies (map, from, coordinates...) shared memory to a box of a tensor. The copy is of the thread's open bulk group.";
            TensorReduce "tensor_reduce" "i64 i64 T+ -> " Word Any [MapReduction Policy] None READ_WRITE "`tensor_store` that replaces each element of the tensor by op(element, source), atomically element by element.";
            TensorPrefetch "tensor_prefetch" "i64 T+ -> " Word Any [Policy] None READ "A hint that a box (map, coordinates...) of a tensor will be used.";
            TensorMapReplace "tensor_map_replace" "i64 i32 i64 -> " Any Any [MapField Space] Offset READ_WRITE "Changes (address, number of the dimension, value) a field of a tensor map in memory.";
            StoreAsync "store_async" "i64 i64 T+ -> " One Any [Space] None READ_WRITE "Writes (address, mbarrier, values...) consecutive values to shared memory, then completes their bytes at the mbarrier, which is in the same block.";
            RedAsync "red_async" "i64 i64 T -> " Word Any [AtomOp Space] None READ_WRITE "Replaces (address, mbarrier, operand) shared memory by op(memory, operand), then completes the bytes at the mbarrier, which is in the same block.";

            TensorMapAcquire "tensormap_acquire" "i64 -> " Any Any [Scope] None READ_WRITE "A fence behind which copies by the tensor map at a generic address see what was released of it.";

            // Barriers in memory: the module `mbarrier` says what their 64 bits mean
            MbarrierInit "mbarrier_init" "i64 i32 -> " Any Any [Space] Offset READ_WRITE "Makes an mbarrier of 8 bytes of shared memory: phase 0, (address, arrivals) expected in each phase.";
            MbarrierInval "mbarrier_inval" "i64 -> " Any Any [Space] Offset READ_WRITE "Ends an mbarrier; its memory holds zeros.";
            MbarrierExpect "mbarrier_expect" "i64 i32 -> " Any Any [Space Scope] Offset READ_WRITE "The phase waits for so many more bytes.";
            MbarrierComplete "mbarrier_complete" "i64 i32 -> " Any Any [Space Scope] Offset READ_WRITE "So many bytes that the phase waits for are there.";
            MbarrierArrive "mbarrier_arrive" "i64 i32 -> i64" Any Any [Drop NoComplete Space Order Scope] Offset READ_WRITE "(address, count): so many of the arrivals that the phase waits for; with `drop` the later phases expect as many fewer; with `no_complete` it is not the last one. Gives the state before, but 0 in `cluster` space.";
            MbarrierArriveExpect "mbarrier_arrive_expect" "i64 i32 -> i64" Any Any [Drop Space Order Scope] Offset READ_WRITE "(address, bytes): `mbarrier_expect`, then `mbarrier_arrive` once.";
            MbarrierTest "mbarrier_test" "i64 T -> b1" Word Any [Space Order Scope] Offset READ_WRITE "Whether a phase is complete: the one that a state (i64) was taken in, or the last one of a parity (i32).";
            MbarrierTry "mbarrier_try" "i64 i32 T -> b1" Word Any [Space Order Scope] Offset READ_WRITE "`mbarrier_test` that may wait some time for the phase. The second operand suggests how many nanoseconds; 0: as the device likes.";
            MbarrierPending "mbarrier_pending" "i64 -> i32" Any Any [] None PURE "The arrivals that were pending in a state that a `no_complete` arrival gave.";

            // Warp: 32 lanes, each op with the mask of the lanes that take part
            ActiveMask "activemask" " -> i32" Any Any [] None CONVERGENT "The lanes that execute this together.";
            WarpSync "warpsync" "i32 -> " Any Any [] None CONVERGENT "Waits for the lanes of the mask; orders their memory accesses.";
            Elect "elect" "i32 -> i32 b1" Any Any [] None CONVERGENT "The lowest lane of the mask, and whether this is it.";
            Shuffle "shuffle" "i32 i32 i32 i32 -> i32 b1" Any Any [ShuffleMode] None CONVERGENT "(value, lane selector, clamp and segment mask, members): the value of another lane, and whether that lane lay in range.";
            Vote "vote" "b1 i32 -> b1" Any Any [VoteMode] None CONVERGENT "Whether the predicate holds in all or any of the members, or is the same in all.";
            Ballot "ballot" "b1 i32 -> i32" Any Any [] None CONVERGENT "The members in which the predicate holds.";
            MatchAny "match_any" "T i32 -> i32" Word Any [] None CONVERGENT "The members with the same value as this one.";
            MatchAll "match_all" "T i32 -> i32 b1" Word Any [] None CONVERGENT "All members and true where they hold one value, else 0 and false.";
            Redux "redux" "T i32 -> T" Any Any [ReduxOp AbsOperands PropagateNan] None CONVERGENT "The reduction over the members; i32 or f32.";

            // Matrices, held together by the 32 lanes of a warp
            Mma "mma" "* -> *" Any Any [MatrixShape MatrixTypes LayoutA LayoutB Sparsity Selector BitProduct MatrixRound MatrixSum Sat] None CONVERGENT "D = A * B + C of the fragments A, B, C, behind which the metadata stands where A is sparse.";
            GroupMma "group_mma" "* -> *" Any Any [MatrixTypes FactorA LayoutA LayoutB Sparsity Selector Negate Sat] Int CONVERGENT "The rows of D = A * B + C that are the warp's, of a product of 64 rows of its group; the immediate is the columns. (A or its descriptor, the descriptor of B, C, metadata where A is sparse, whether C counts and is not zero.) D may be used behind the next `group_wait`; until then what is read of shared memory must not be written.";
            GroupFence "group_fence" " -> " Any Any [] None CONVERGENT "Orders registers, and what the thread wrote of shared memory, before the products of warp groups that follow.";
            GroupCommit "group_commit" " -> " Any Any [] None CONVERGENT "Closes the warp's open group of products and opens another.";
            GroupWait "group_wait" " -> " Any Any [Aligned] Int CONVERGENT "Waits for the warp's closed groups of products but for the last ones, as many as the immediate, and for the warps of its group: behind it shared memory may be written that they read.";
            WmmaLoad "wmma_load" "i64 i32 -> T+" One Any [Matrix MatrixShape Element Layout Space] Offset CONVERGENT "The fragment of a matrix in memory, given the elements from one row (column) to the next.";
            WmmaStore "wmma_store" "i64 i32 T+ -> " One Any [MatrixShape Element Layout Space] Offset CONVERGENT "Writes the fragment of a result to memory, given the elements from one row (column) to the next.";
            LdMatrix "ldmatrix" "i64 -> T+" Word Any [Tiles Transpose Space] Offset CONVERGENT "Tiles of 8 by 8 elements of 16 bits, a register each; lane 8i + r gives the address of row r of tile i.";
            StMatrix "stmatrix" "i64 T+ -> " Word Any [Tiles Transpose Space] Offset CONVERGENT "Writes tiles as `ldmatrix` reads them.";
            MovMatrix "movmatrix" "i32 -> i32" Any Any [] None CONVERGENT "The transpose of a tile of 8 by 8 elements of 16 bits.";

            // Block, cluster, grid
            Barrier "barrier" "i32 i32 -> " Any Any [Aligned] None CONVERGENT "(id, threads): waits until so many threads of the block have arrived, or all that have not exited where 0.";
            BarrierArrive "barrier_arrive" "i32 i32 -> " Any Any [Aligned] None CONVERGENT "(id, threads): arrives and does not wait.";
            BarrierRed "barrier_red" "i32 i32 b1 -> T" Any Any [BarrierOp Aligned] None CONVERGENT "(id, threads, predicate): a barrier that gives every thread the count (i32), and, or or (b1) of all predicates.";
            GroupBarrier "group_barrier" " -> " Any Any [Aligned] None CONVERGENT "Waits for all threads of the warp's group: the four warps from a multiple of four on.";
            StopAsked "stop_asked" " -> b1" Any Any [] None READ "Whether the launch is asked to stop. Once true, it stays so for as long as the launch runs.";
            StopBarrier "stop_barrier" " -> b1" Any Any [] None CONVERGENT "`barrier` 0 of all threads of the block, and the same for all of them: whether the launch was asked to stop when the last of them arrived.";
            ClusterArrive "cluster_arrive" " -> " Any Any [Order Aligned] None CONVERGENT "Arrives at the cluster's barrier.";
            ClusterWait "cluster_wait" " -> " Any Any [Order Aligned] None CONVERGENT "Waits for the cluster's barrier.";
            MapRank "map_rank" "i64 i32 -> i64" Any Any [Space] None PURE "The same place of the shared memory of the cluster's block of this rank. The space, `generic` or `cluster`, is that of the address and of the result.";
            RankOf "rank_of" "i64 -> i32" Any Any [Space] None PURE "The rank of the block whose shared memory an address of `generic` or `cluster` space is in.";
            GridDepWait "griddep_wait" " -> " Any Any [] None READ_WRITE "Waits for the grids that this one depends on.";
            GridDepLaunch "griddep_launch" " -> " Any Any [] None READ_WRITE "Lets dependent grids start.";
            NanoSleep "nanosleep" "i32 -> " Any Any [] None WRITE "Waits about so many nanoseconds.";
            PmEvent "pmevent" " -> " Any Any [] Int WRITE "Triggers performance events; no effect on the program.";
            SetMaxReg "setmaxnreg" " -> " Any Any [SetMaxReg] Int CONVERGENT "A hint on registers a thread; no effect on the program.";

            // Textures and surfaces: named by the handle that the host was given, or by the address of a variable that holds it
            Tex "tex" "i64 * -> b1 T+" Any Any [Geometry Coordinates Lod SeparateSampler TexelOffset DepthCompare] None READ "(texture, sampler, layer, sample, coordinates, level or derivatives by x and by y, offsets, depth), each where there is one: whether the data is resident, and the four components, in pairs where T has two lanes.";
            TexGather "tex_gather" "i64 * -> b1 T+" One Any [Geometry Component SeparateSampler TexelOffset DepthCompare] None READ "(texture, sampler, layer, coordinates, offsets, depth), each where there is one: whether the data is resident, and one component of the four texels that linear filtering would read, counterclockwise from the lower left.";
            ImageQuery "image_query" "i64 i32 -> i32" Any Any [ImageQuery] None READ "A property of what a handle stands for, at a mip level.";
            IsImage "is_image" "i64 -> b1" Any Any [ImageKind] None READ "Whether a handle stands for a texture, sampler or surface.";
            SurfLoad "surf_load" "i64 i32 i32 i32 -> T+" One Any [Geometry Outside Cache] None READ "(surface, byte in the row, row, layer or slice): consecutive values.";
            SurfStore "surf_store" "i64 i32 i32 i32 T+ -> " One Any [Geometry SurfaceUnit Outside Cache] None WRITE "(surface, byte or texel in the row, row, layer or slice, values): writes them.";
            SurfRed "surf_red" "i64 i32 i32 i32 T -> " Word Any [Geometry SurfaceUnit AtomOp Outside] None READ_WRITE "(surface, byte or texel in the row, row, slice, operand): replaces the value there by op(value, operand); of texels, minima and maxima have the format's sign.";

            // Calls and control flow
            Syscall "syscall" "* -> *" Any Any [Syscall] None READ_WRITE "A library call that every device provides.";
            Call "call" "* -> *" Any Any [] Func CONVERGENT "Calls a function of the module.";
            CallIndirect "calli" "i64 * -> *" Any Any [] Sig CONVERGENT "Calls the function at an address, which has the signature named.";
            NoUnroll "nounroll" " -> " Any Any [] None VARIES "The loop that begins with this block is not to be unrolled: a hint.";
            Breakpoint "brkpt" " -> " Any Any [] None WRITE "Stops under a debugger; faults without one.";
            Br "br" " -> " Any Any [] None TERMINATOR "Goes on at the target.";
            BrIf "brif" "b1 -> " Any Any [] None TERMINATOR "Goes on at the first target where the condition holds, else at the second.";
            Switch "switch" "i32 -> " Any Any [] None TERMINATOR "Goes on at the target of this number; beyond the list, at the last.";
            Ret "ret" "* -> " Any Any [] None TERMINATOR "Returns; a kernel's thread ends.";
            Exit "exit" " -> " Any Any [] None TERMINATOR "The thread ends.";
            Trap "trap" " -> " Any Any [] None TERMINATOR "The launch fails.";
        }
    };
}

macro_rules! define {
    ($($variant:ident $name:literal $sig:literal $t:ident $u:ident [$($attr:ident)*] $imm:ident $effects:ident $doc:literal;)*) => {
        /// An op of the table.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u16)]
        pub enum Op { $(#[doc = $doc] $variant),* }

        impl Op {
            /// Every op.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The op's row.
            pub fn info(self) -> &'static OpInfo {
                static TABLE: OnceLock<Vec<OpInfo>> = OnceLock::new();
                &TABLE.get_or_init(|| vec![$({
                    let (args, results) = parse_signature($sig);
                    OpInfo {
                        name: $name,
                        args,
                        results,
                        t: Class::$t,
                        u: Class::$u,
                        attrs: &[$(AttrKind::$attr),*],
                        imm: Imm::$imm,
                        effects: Effects::$effects,
                        doc: $doc,
                    }
                }),*])[self as usize]
            }
        }
    };
}
for_each_op!(define);

impl Op {
    /// The op of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        static NAMES: OnceLock<std::collections::HashMap<&'static str, Op>> = OnceLock::new();
        NAMES.get_or_init(|| Self::ALL.iter().map(|&op| (op.info().name, op)).collect()).get(name).copied()
    }
    /// True where the op ends a block.
    pub fn is_terminator(self) -> bool {
        self.info().effects == Effects::TERMINATOR
    }
}

fn parse_signature(text: &str) -> (Vec<Pattern>, Vec<Pattern>) {
    let (args, results) = text.split_once("->").expect("a signature has an arrow");
    let side = |s: &str| -> Vec<Pattern> {
        s.split_whitespace()
            .map(|word| match word {
                "T" => Pattern::T,
                "U" => Pattern::U,
                "wide" => Pattern::Wide,
                "T+" => Pattern::ManyT,
                "U+" => Pattern::ManyU,
                "*" => Pattern::Rest,
                name => Pattern::Is(Type::from_name(name).expect("a signature names types that exist")),
            })
            .collect()
    };
    (side(args), side(results))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::MAX_ATTRS;

    #[test]
    fn every_row_is_well_formed() {
        for &op in Op::ALL {
            let info = op.info();
            assert_eq!(Op::from_name(info.name), Some(op), "{} is named twice", info.name);
            assert!(info.attrs.len() <= MAX_ATTRS, "{}", info.name);
            let many = |p: &[Pattern]| {
                p.iter().filter(|p| matches!(p, Pattern::ManyT | Pattern::ManyU | Pattern::Rest)).count()
            };
            assert!(many(&info.args) <= 1 && many(&info.results) <= 1, "{}", info.name);
            assert!(
                info.args.iter().rev().skip(1).all(|p| many(&[*p]) == 0),
                "{}: only the last operand repeats",
                info.name
            );
            let mut words: Vec<&str> =
                info.attrs.iter().flat_map(|k| k.spellings()).copied().filter(|s| !s.is_empty()).collect();
            words.sort_unstable();
            let count = words.len();
            words.dedup();
            assert_eq!(words.len(), count, "{}: two attributes share a spelling", info.name);
            assert!(info.doc.ends_with('.'), "{}", info.name);
        }
    }
}
