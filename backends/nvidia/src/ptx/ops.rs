//! Every op, and what prints it.

use super::function::{Printer, Printing};
use hetir::entity::Inst;
use hetir::op::Op;

impl Printer<'_, '_> {
    /// Prints an instruction.
    pub(super) fn print(&mut self, inst: Inst) -> Printing {
        use Op::*;
        if self.absorbed[inst.index()] {
            return Ok(());
        }
        self.span = self.body.spans[inst.index()];
        let data = self.body.inst(inst);
        match data.op {
            // Constants stand where they are used, and casts are the same register.
            Const | Bitcast => Ok(()),
            GlobalAddr => self.global_address(inst, data),
            FuncAddr => self.function_address(inst, data),
            SlotAddr => self.slot_address(inst, data),
            Sreg => self.special(inst, data),
            IAdd => self.sum(inst, data),
            IMulWide => self.multiply_wide(inst, data),
            ISub | IMul | IMulHi | IDiv | IRem | INeg | IAbs | IMin | IMax | And | Or | Xor | Not => {
                self.elementwise(inst, data)
            }
            Shl | Shr => self.shift(inst, data),
            Shf | Popc | Clz | Brev | Bfind | Bfe | Bfi | Bmsk | Fns | Szext | Prmt | Dp4a | Dp2a => {
                self.bit_op(inst, data)
            }
            Lop3 => self.lop3(inst, data),
            IAddC | ISubB => self.with_carry(inst, data),
            ICmp => self.compare(inst, data),
            Select => self.select(inst, data),
            FAdd | FSub | FMul | FFma | FDiv | FRcp | FSqrt | FNeg | FAbs | FMin | FMax | FCopysign | FApprox
            | FDivApprox | FRound => self.elementwise(inst, data),
            FTest => self.float_test(inst, data),
            FCmp => self.float_compare(inst, data),
            Trunc if self.same_register(inst) => Ok(()),
            Trunc => self.truncate(inst, data),
            Zext | Sext => self.widen(inst, data),
            FCvt => self.convert_float(inst, data),
            FToI => self.float_to_int(inst, data),
            IToF => self.int_to_float(inst, data),
            ToNarrow => self.narrowed(inst, data),
            FromNarrow => self.widened(inst, data),
            FCvtRs | ToNarrowRs => self.no_form(data),
            Pack => self.pack(inst, data),
            Unpack => self.unpack(inst),
            Load => self.load(inst, data),
            Store => self.store(inst, data),
            Atom => self.atom(inst, data),
            Cas => self.compare_and_swap(inst, data),
            Fence => self.fence(data),
            TensorMapAcquire => self.acquire_map(inst, data),
            ToGeneric => self.generic_from_own(inst, data),
            FromGeneric => self.own_from_generic(inst, data),
            IsSpace => self.is_space(inst, data),
            PrefetchOp | Discard | ApplyPriority => self.hint(inst, data),
            CreatePolicy | CreatePolicyRange | CreatePolicyCvt => self.create_policy(inst, data),
            Alloca | StackSave | StackRestore => self.stack(inst, data),
            CpAsync | CpAsyncCommit | CpAsyncWait | BulkCommit | BulkWait => self.small_copy(inst, data),
            BulkLoad | BulkMulticast | BulkSend | BulkStore | BulkReduceSend | BulkReduceStore | BulkPrefetch => {
                self.bulk(inst, data)
            }
            TensorLoad | TensorStore | TensorReduce | TensorPrefetch | TensorMapReplace => self.boxes(inst, data),
            StoreAsync | RedAsync => self.remote(inst, data),
            CpAsyncArrive | MbarrierInit | MbarrierInval | MbarrierExpect | MbarrierComplete | MbarrierArrive
            | MbarrierArriveExpect | MbarrierTest | MbarrierTry | MbarrierPending => self.mbarrier(inst, data),
            ActiveMask | WarpSync | Elect | Shuffle | Vote | Ballot | MatchAny | MatchAll | Redux => {
                self.warp(inst, data)
            }
            Mma => self.product_of(inst, data),
            GroupMma => self.group_product(inst, data),
            GroupFence => self.group_fence(inst),
            GroupCommit | GroupWait => self.group_order(data),
            WmmaLoad | WmmaStore | LdMatrix | StMatrix => self.matrix_memory(inst, data),
            MovMatrix => self.turn(inst),
            Barrier | BarrierArrive | BarrierRed => self.barrier(inst, data),
            GroupBarrier => self.group_barrier(data),
            StopAsked => self.stop_asked(inst, data),
            StopBarrier => self.stop_barrier(inst, data),
            ClusterArrive | ClusterWait | MapRank | RankOf => self.cluster(inst, data),
            Tex | TexGather => self.texture(inst, data),
            ImageQuery => self.image_query(inst, data),
            IsImage => self.is_image(inst, data),
            SurfLoad | SurfStore | SurfRed => self.surface(inst, data),
            Syscall => self.syscall(inst, data),
            Call => self.call(inst, data),
            CallIndirect => self.call_address(inst, data),
            GridDepWait | GridDepLaunch | NanoSleep | PmEvent | SetMaxReg | Breakpoint | Exit | Trap => {
                self.small_effect(inst, data)
            }
            Ret => {
                self.leave(inst);
                Ok(())
            }
            NoUnroll => {
                self.code.plain(".pragma \"nounroll\";");
                Ok(())
            }
            // They end blocks, which print them.
            Br | BrIf | Switch => Ok(()),
        }
    }

    /// Whether the result has the register of another value.
    fn same_register(&self, inst: Inst) -> bool {
        let result = self.body.results(inst)[0];
        self.root(result) != result
    }
}
