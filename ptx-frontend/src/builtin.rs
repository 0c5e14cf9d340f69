//! Functions that programs declare and that the driver, not the program, defines: here as PTX of our own.
//!
//! They are the grid barrier of cooperative launches as the device runtime library (`cudaCGSynchronize` and its like)
//! wants it. Its workspace is the one that `%envreg1` and `%envreg2` name; the barrier that compiled programs bring along
//! uses the first words of it.

use crate::join;

/// What the names of the functions here begin with.
const PREFIX: &str = "__cuda_syscall_CGS_";

/// Each block adds 1 to a counter, but one of them what is missing to the top bit: the bit turns over when all have come.
const GRID_BARRIER: &str = ".version 7.0
.target sm_70
.address_size 64
.visible .func (.param .b64 handle) __cuda_syscall_CGS_get_intrinsic_handle(.param .b32 scope)
{
	.reg .b32 %high, %low;
	.reg .b64 %handle;
	mov.u32 %high, %envreg1;
	mov.u32 %low, %envreg2;
	mov.b64 %handle, {%low, %high};
	st.param.b64 [handle], %handle;
	ret;
}
.visible .func (.param .b32 status) __cuda_syscall_CGS_sync(.param .b64 handle, .param .b32 flags)
{
	.reg .b32 %flags, %x, %y, %z, %first, %blocks, %add, %before, %now;
	.reg .b64 %counter;
	.reg .pred %alone, %other, %last, %waits;
	ld.param.b64 %counter, [handle];
	ld.param.b32 %flags, [flags];
	add.u64 %counter, %counter, 64;
	// The low bit says that one thread comes for its whole block.
	and.b32 %flags, %flags, 1;
	setp.ne.u32 %alone, %flags, 0;
	@%alone bra come;
	bar.sync 0;
	mov.u32 %x, %tid.x;
	mov.u32 %y, %tid.y;
	mov.u32 %z, %tid.z;
	or.b32 %x, %x, %y;
	or.b32 %x, %x, %z;
	setp.ne.u32 %other, %x, 0;
	@%other bra together;
come:
	mov.u32 %x, %nctaid.x;
	mov.u32 %y, %nctaid.y;
	mov.u32 %z, %nctaid.z;
	mul.lo.u32 %blocks, %x, %y;
	mul.lo.u32 %blocks, %blocks, %z;
	mov.u32 %x, %ctaid.x;
	mov.u32 %y, %ctaid.y;
	mov.u32 %z, %ctaid.z;
	or.b32 %first, %x, %y;
	or.b32 %first, %first, %z;
	sub.u32 %add, 0x80000001, %blocks;
	setp.eq.u32 %last, %first, 0;
	selp.u32 %add, %add, 1, %last;
	fence.acq_rel.gpu;
	atom.add.acq_rel.gpu.u32 %before, [%counter], %add;
again:
	ld.acquire.gpu.u32 %now, [%counter];
	xor.b32 %now, %now, %before;
	setp.ge.s32 %waits, %now, 0;
	@%waits bra again;
	fence.acq_rel.gpu;
	@%alone bra done;
together:
	bar.sync 0;
done:
	st.param.b32 [status], 0;
	ret;
}
.visible .func (.param .b32 status) __cuda_syscall_CGS_get_size(.param .b64 threads, .param .b64 grids, .param .b64 handle)
{
	.reg .b32 %n, %of;
	.reg .b64 %at;
	.reg .pred %none;
	mov.u32 %n, %ntid.x;
	mov.u32 %of, %ntid.y;
	mul.lo.u32 %n, %n, %of;
	mov.u32 %of, %ntid.z;
	mul.lo.u32 %n, %n, %of;
	mov.u32 %of, %nctaid.x;
	mul.lo.u32 %n, %n, %of;
	mov.u32 %of, %nctaid.y;
	mul.lo.u32 %n, %n, %of;
	mov.u32 %of, %nctaid.z;
	mul.lo.u32 %n, %n, %of;
	ld.param.b64 %at, [threads];
	setp.eq.u64 %none, %at, 0;
	@!%none st.u32 [%at], %n;
	ld.param.b64 %at, [grids];
	setp.eq.u64 %none, %at, 0;
	@!%none st.u32 [%at], 1;
	st.param.b32 [status], 0;
	ret;
}
.visible .func (.param .b32 status) __cuda_syscall_CGS_get_rank(.param .b64 thread, .param .b64 grid, .param .b64 handle)
{
	.reg .b32 %block, %rank, %n, %x;
	.reg .b64 %at;
	.reg .pred %none;
	mov.u32 %block, %ctaid.z;
	mov.u32 %n, %nctaid.y;
	mov.u32 %x, %ctaid.y;
	mad.lo.u32 %block, %block, %n, %x;
	mov.u32 %n, %nctaid.x;
	mov.u32 %x, %ctaid.x;
	mad.lo.u32 %block, %block, %n, %x;
	mov.u32 %n, %ntid.z;
	mov.u32 %x, %tid.z;
	mad.lo.u32 %rank, %block, %n, %x;
	mov.u32 %n, %ntid.y;
	mov.u32 %x, %tid.y;
	mad.lo.u32 %rank, %rank, %n, %x;
	mov.u32 %n, %ntid.x;
	mov.u32 %x, %tid.x;
	mad.lo.u32 %rank, %rank, %n, %x;
	ld.param.b64 %at, [thread];
	setp.eq.u64 %none, %at, 0;
	@!%none st.u32 [%at], %rank;
	ld.param.b64 %at, [grid];
	setp.eq.u64 %none, %at, 0;
	@!%none st.u32 [%at], 0;
	st.param.b32 [status], 0;
	ret;
}
";

/// The text, with those functions in it if it speaks of one.
pub fn complete(text: String) -> String {
    match text.contains(PREFIX) {
        true => join::join(&[text, GRID_BARRIER.to_owned()]),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, lift_text};

    const CALLER: &str = ".version 8.0
.target sm_90
.address_size 64
.extern .func (.param .b32 status) __cuda_syscall_CGS_sync
(
	.param .b64 handle,
	.param .b32 flags
)
;
.visible .entry k() { ret; }
";

    #[test]
    fn what_a_text_declares_gets_a_body() {
        let module = lift_text(&complete(CALLER.to_owned()), Options::default()).into_result().unwrap();
        let found = module.functions.iter().find(|function| function.name == "__cuda_syscall_CGS_sync").unwrap();
        assert!(found.body.is_some());
        assert!(complete(CALLER.to_owned()).starts_with(".version 8.0\n.target sm_90\n"));
    }

    #[test]
    fn other_texts_stay_as_they_are() {
        let text = ".version 8.0\n.target sm_90\n.address_size 64\n.visible .entry k() { ret; }\n";
        assert_eq!(complete(text.to_owned()), text);
    }
}
