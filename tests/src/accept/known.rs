//! Where the front end and the assembler differ, and why.

/// Who accepts what the other one refuses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Side {
    /// The front end.
    Ours,
    /// The assembler.
    Theirs,
}

/// A difference that stays.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Who accepts.
    pub side: Side,
    /// The opcode; an asterisk at its end stands for anything.
    pub opcode: &'static str,
    /// A part of what the other one says.
    pub message: &'static str,
    /// A part of the instruction.
    pub part: &'static str,
    /// Why.
    pub reason: &'static str,
    /// An instruction that they must go on to differ about.
    pub example: &'static str,
}

const fn known(
    side: Side,
    opcode: &'static str,
    message: &'static str,
    part: &'static str,
    reason: &'static str,
    example: &'static str,
) -> Known {
    Known { side, opcode, message, part, reason, example }
}

/// All of them.
pub const KNOWN: &[Known] = &[
    known(
        Side::Theirs,
        "*",
        "no form of",
        "",
        "the assembler overlooks words that are repeated, or that mean nothing there",
        "add.sat.sat.s32 %r0, %r0, %r0;",
    ),
    known(
        Side::Theirs,
        "*",
        "has no modifier",
        "",
        "the assembler overlooks words that mean nothing there, such as .pred",
        "add.sat.s32.pred %r0, %r0, %r0;",
    ),
    known(
        Side::Theirs,
        "*",
        "an address where a",
        "",
        "the assembler takes a function's name, or a sum of a name or register and a number, as any operand",
        "add.f32 %r0, %r0, f;",
    ),
    known(
        Side::Theirs,
        "*",
        "the operands do not fit",
        "",
        "the assembler takes `p|_` for a predicate, and a plain operand for an mbarrier's address",
        "and.pred %p0|_, %p0, %p0;",
    ),
    known(
        Side::Theirs,
        "*",
        "an address register holds an integer",
        "",
        "the assembler takes registers of any width as addresses",
        "ld.b8 %r0, [%h0];",
    ),
    known(
        Side::Theirs,
        "mma*",
        "",
        "",
        "the assembler does not check operands of matrix products that have no register type of their own",
        "mma.sp.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%r0,%r1,%r2,%r3}, {%r0,%r1}, {%r0,%r1}, {%r0,%r1,%r2,%r3}, %p0, 0;",
    ),
    known(
        Side::Theirs,
        "wmma*",
        "",
        "",
        "the assembler does not check operands of matrix products that have no register type of their own",
        "wmma.mma.xor.popc.sync.aligned.row.col.m8n8k128.s32.b1.b1.s32 {%r0,_}, {%r0}, {%r0}, {%r0,%r1};",
    ),
    known(
        Side::Theirs,
        "movmatrix*",
        "",
        "",
        "the assembler does not check the operands",
        "movmatrix.sync.aligned.m8n8.trans.b16 %r0, %p0;",
    ),
    known(
        Side::Theirs,
        "*",
        "the result needs a register",
        "",
        "the assembler takes vectors for .bf16 results",
        "min.bf16 {%h0,%h1}, %h0, %h0;",
    ),
    known(
        Side::Theirs,
        "*",
        "a .bf16",
        "",
        "the assembler takes vectors for .bf16 operands",
        "max.bf16 %h0, %h0, {%h0,%h1};",
    ),
    known(
        Side::Theirs,
        "set*",
        "register, and a .bf16",
        "",
        "the assembler does not check registers of .bf16",
        "set.eq.bf16.f32 %sh0, %r0, %r0;",
    ),
    known(
        Side::Theirs,
        "set*",
        "a vector register",
        "",
        "the assembler does not check registers of .bf16x2",
        "set.eq.bf16x2.bf16x2 %vr, %r0, %r0;",
    ),
    known(
        Side::Theirs,
        "*",
        "is a .f16x2 register, and a .pred",
        "",
        "the assembler takes registers of .f16x2 for predicates",
        "not.pred %p0, %kk0;",
    ),
    known(Side::Theirs, "*", "is a .b128 register", "", "nothing is extended to 128 bits", "ld.b8 %q0, [%d0];"),
    known(
        Side::Theirs,
        "cvt*",
        "64 register",
        "",
        "conversions that pack have registers of 32 bits",
        "cvt.rn.f16x2.f32 %r0, %d0, %r0;",
    ),
    known(
        Side::Theirs,
        "cvt*",
        "a special register where",
        "",
        "a special register has no byte",
        "cvt.u8.u8 %r0, %tid.x;",
    ),
    known(Side::Theirs, "mov*", "values are needed", "", "a vector is moved from a vector", "mov.v2.b16 {%h0,%h1}, 1;"),
    known(
        Side::Theirs,
        "lop3*",
        "the truth table",
        "",
        "a truth table has eight bits",
        "lop3.b32 %r0, %r0, %r0, %r0, 256;",
    ),
    known(
        Side::Theirs,
        "mbarrier*",
        "a .u32 value",
        "",
        "the assembler takes a vector for a count",
        "mbarrier.arrive.noComplete.release.cta.shared.b64 %d0, [%d0], {%r0,%r1};",
    ),
    known(
        Side::Theirs,
        "st.async*",
        "",
        "",
        "the assembler does not check what is stored",
        "st.async.mbarrier::complete_tx::bytes.b32 [%d0], {%k0,%k1}, [%d0];",
    ),
    known(Side::Theirs, "*", "there is no barrier", "", "a barrier's number has 32 bits", "bar.sync 0x100000000;"),
    known(
        Side::Theirs,
        "fns*",
        "is needed",
        "",
        "the assembler takes floats for an offset",
        "fns.b32 %r0, %r0, %r0, %f0;",
    ),
    known(
        Side::Theirs,
        "fns*",
        "a floating-point constant",
        "",
        "the assembler takes floats for an offset",
        "fns.b32 %r0, %r0, %r0, 0f3f800000;",
    ),
    known(
        Side::Theirs,
        "shfl*",
        "is a .f32 register",
        "",
        "the assembler takes floats for a lane",
        "shfl.sync.up.b32 %r0|%p0, %r0, %f0, %r0, %r0;",
    ),
    known(
        Side::Theirs,
        "*",
        "a local variable has no atomics",
        "",
        "no other thread sees a local variable; the assembler crashes on some of these",
        "red.add.noftz.v2.f16 [l], {%h0,%h1};",
    ),
    known(
        Side::Theirs,
        "atom*",
        "2 registers are needed",
        "",
        "results are discarded one by one",
        "atom.add.v2.f32 _, [%d0], {%r0,%r1};",
    ),
    known(
        Side::Ours,
        "*",
        "Arguments mismatch",
        " g[4]",
        "an element of an array stands for its address without brackets in loads and stores only",
        "atom.cas.b16 %h0, g[4], %h0, %h0;",
    ),
    known(
        Side::Ours,
        "*",
        "Arguments mismatch",
        "%kk0",
        "the assembler takes registers of .f16x2 for integers in some instructions",
        "bfe.u32 %r0, %r0, %kk0, %r0;",
    ),
    known(
        Side::Ours,
        "*",
        "Arguments mismatch",
        " f",
        "the assembler takes addresses for numbers in some instructions",
        "shr.b16 %h0, %h0, f;",
    ),
    known(
        Side::Ours,
        "*",
        "Arguments mismatch",
        "+",
        "the assembler takes sums for numbers in some instructions",
        "redux.sync.add.u32 %r0, %d0+8, %r0;",
    ),
    known(
        Side::Ours,
        "mma*",
        "",
        "",
        "operands and the places of words in products are not all checked",
        "mma.sync.aligned.m8n8k4.col.row.f64.f64.f64.f64 {%d0,%d1}, {%d0}, {%d0}, {%d0,%d1};",
    ),
    known(
        Side::Ours,
        "wmma*",
        "",
        "",
        "operands and the places of words in products are not all checked",
        "wmma.mma.sync.aligned.row.row.m16n16k16.s32.s8.s8.s32 {%r0,%r1,%r2,%r3,%r4,%r5,%r6,%r7}, {%f0,%f1}, {%r0,%r1}, {%r0,%r1,%r2,%r3,%r4,%r5,%r6,%r7};",
    ),
    known(
        Side::Ours,
        "mbarrier*",
        "",
        "",
        "the space and the constants of operands are not checked",
        "mbarrier.complete_tx.b64 [g], %r0;",
    ),
    known(
        Side::Ours,
        "cp.*",
        "",
        "",
        "sizes are not bounded, and spaces may be exchanged",
        "cp.async.bulk.prefetch.L2.global [%d0], 0x80000000;",
    ),
    known(
        Side::Ours,
        "cvt*",
        "Special register",
        "",
        "special registers may be converted, here also by forms that the assembler leaves out",
        "cvt.pack.sat.u16.s32 %r0, %r0, %tid.x;",
    ),
    known(
        Side::Ours,
        "*",
        "out of range",
        "",
        "constants are taken modulo what the instruction takes",
        "bfe.u32 %r0, %r0, %r0, 0x80000000;",
    ),
    known(
        Side::Ours,
        "atom*",
        "cannot be applied",
        "",
        "a hint has no effect on shared memory",
        "atom.shared.add.noftz.L2::cache_hint.f16 %h0, [%d0], %h0, %d0;",
    ),
    known(
        Side::Ours,
        "lop3*",
        "Predicate output expected",
        "",
        "a discarded pair is a sink",
        "lop3.or.b32 _, %r0, %r0, %r0, 0, %p0;",
    ),
    known(
        Side::Ours,
        "mov*",
        "Indirect access to texture",
        "",
        "a texture's name stands for its handle",
        "mov.b64 %d0, tex;",
    ),
    known(
        Side::Ours,
        "shfl*",
        "Result discard",
        "",
        "both results may be discarded",
        "shfl.sync.up.b32 _|%p0, %r0, %r0, %r0, %r0;",
    ),
    known(
        Side::Ours,
        "max*",
        "Arguments mismatch",
        "",
        "constants stand for packed integers",
        "max.relu.s16x2 %r0, 0, %r0;",
    ),
    known(
        Side::Ours,
        "min*",
        "Arguments mismatch",
        "",
        "constants stand for packed integers",
        "min.relu.s16x2 %r0, %r0, 16;",
    ),
    known(
        Side::Ours,
        "set*",
        "Arguments mismatch",
        "",
        "constants stand for predicates",
        "setp.eq.and.bf16 %p0, %h0, %h0, 128;",
    ),
    known(
        Side::Ours,
        "*",
        "Vector is not expected",
        "",
        "a vector of one register is that register",
        "red.and.b32 [%d0], {%r0};",
    ),
    known(
        Side::Ours,
        "cvt*",
        "Arguments mismatch",
        "",
        "special registers, constants and typed registers stand for untyped ones in the newer conversions",
        "cvt.rn.relu.f16x2.e4m3x2 %r0, 1;",
    ),
    known(
        Side::Ours,
        "movmatrix*",
        "Arguments mismatch",
        "",
        "a constant is as good as a register that holds it",
        "movmatrix.sync.aligned.m8n8.trans.b16 %r0, 256;",
    ),
    known(
        Side::Ours,
        "*",
        "Illegal expression",
        "%vr",
        "a vector in a vector stands for its parts",
        "atom.add.v2.f32 {%r0,%r1}, [%d0], {%vr};",
    ),
    known(
        Side::Ours,
        "*",
        "32-bit address",
        "[%r0",
        "a generic address in 32 bits makes the assembler take the module for one with 32-bit addresses, but not \
         where the instruction has no effect",
        "ld.volatile.b8 %r0, [%r0+4];",
    ),
    known(
        Side::Ours,
        "div.*",
        "Parsing error",
        "",
        "the instructions that the assembler makes of a division do not take a part of a vector or a sum",
        "div.rp.ftz.f32 %r0, %r0, %vf.y;",
    ),
];

/// The difference that explains a case.
pub fn explain(side: Side, line: &str, message: &str) -> Option<&'static Known> {
    let opcode = super::generate::opcode(line);
    KNOWN.iter().find(|known| {
        let fits = match known.opcode.strip_suffix('*') {
            Some(start) => opcode.starts_with(start),
            None => opcode == known.opcode,
        };
        known.side == side && fits && message.contains(known.message) && line.contains(known.part)
    })
}
