//! Warps, blocks, clusters, and what a thread can read of its place in them.

use super::call::Extra;
use super::function::{Printer, Printing, suffix};
use super::text::{Guard, Operand, Reg};
use super::{Hidden, Part};
use hetir::attr::{
    AbsOperands, Aligned, BarrierOp, Order, PropagateNan, ReduxOp, SetMaxReg, ShuffleMode, Space, Sreg, VoteMode,
};
use hetir::entity::{Inst, Value};
use hetir::ir::InstData;
use hetir::op::Op;
use hetir::types::Type;

impl Printer<'_, '_> {
    /// The first result, with the second one behind it where somebody wants it.
    fn with_predicate(&mut self, inst: Inst) -> Operand {
        let first = self.result(inst, 0);
        if self.uses(self.body.results(inst)[1]) == 0 {
            return first.into();
        }
        let second = self.result(inst, 1);
        Operand::pair(first, second)
    }

    pub(super) fn warp(&mut self, inst: Inst, data: &InstData) -> Printing {
        let args = self.body.args(inst);
        match data.op {
            Op::ActiveMask => {
                let to = self.result(inst, 0);
                self.code.act("activemask.b32", [to.into()], []);
            }
            Op::WarpSync => {
                let mask = self.word(args[0]);
                self.code.act("bar.warp.sync", [], [mask]);
            }
            Op::Elect => {
                let (lane, is) = (self.result(inst, 0), self.result(inst, 1));
                let mask = self.word(args[0]);
                self.code.act("elect.sync", [Operand::pair(lane, is)], [mask]);
            }
            Op::Shuffle => {
                let value = self.reg(args[0]);
                let [lane, clamp, mask] = [args[1], args[2], args[3]].map(|v| self.word(v));
                let to = self.with_predicate(inst);
                let head = format!("shfl.sync.{}.b32", data.attr::<ShuffleMode>().name());
                self.code.act(&head, [to], [value.into(), lane, clamp, mask]);
            }
            Op::Vote | Op::Ballot => {
                let (condition, mask) = (self.condition(args[0]), self.word(args[1]));
                let to = self.result(inst, 0);
                let head = match data.op {
                    Op::Vote => format!("vote.sync.{}.pred", data.attr::<VoteMode>().name()),
                    _ => "vote.sync.ballot.b32".into(),
                };
                self.code.act(&head, [to.into()], [condition, mask]);
            }
            Op::MatchAny => {
                let (to, value, mask) = (self.result(inst, 0), self.reg(args[0]), self.word(args[1]));
                self.code.act(&format!("match.any.sync.b{}", data.ty.bits()), [to.into()], [value.into(), mask]);
            }
            Op::MatchAll => {
                let (to, value, mask) = (self.with_predicate(inst), self.reg(args[0]), self.word(args[1]));
                self.code.act(&format!("match.all.sync.b{}", data.ty.bits()), [to], [value.into(), mask]);
            }
            Op::Redux => {
                let (name, ty) = match data.attr::<ReduxOp>() {
                    ReduxOp::Add => ("add", "s32"),
                    ReduxOp::SMin => ("min", "s32"),
                    ReduxOp::SMax => ("max", "s32"),
                    ReduxOp::UMin => ("min", "u32"),
                    ReduxOp::UMax => ("max", "u32"),
                    ReduxOp::And => ("and", "b32"),
                    ReduxOp::Or => ("or", "b32"),
                    ReduxOp::Xor => ("xor", "b32"),
                    ReduxOp::FMin => ("min", "f32"),
                    ReduxOp::FMax => ("max", "f32"),
                };
                if ty == "f32" && self.cx.request.target.compute.0 < 10 {
                    return self.no_form(data);
                }
                let abs = if data.attr::<AbsOperands>() == AbsOperands::Yes { ".abs" } else { "" };
                let nan = if data.attr::<PropagateNan>() == PropagateNan::Yes { ".NaN" } else { "" };
                let (to, value, mask) = (self.result(inst, 0), self.reg(args[0]), self.word(args[1]));
                self.code.act(&format!("redux.sync.{name}{abs}{nan}.{ty}"), [to.into()], [value.into(), mask]);
            }
            _ => return self.no_form(data),
        }
        Ok(())
    }

    /// A barrier's number, and for how many threads it is, where it says so.
    fn barrier_operands(&mut self, args: &[Value]) -> Vec<Operand> {
        let mut operands = vec![self.word(args[0])];
        match self.constant(args[1]) {
            Some(0) => {}
            // As a number the assembler refuses it.
            Some(count) if count % 32 != 0 => operands.push(self.reg(args[1]).into()),
            _ => operands.push(self.word(args[1])),
        }
        operands
    }
    pub(super) fn barrier(&mut self, inst: Inst, data: &InstData) -> Printing {
        let args = self.body.args(inst);
        let name = if data.attr::<Aligned>() == Aligned::Yes { "bar" } else { "barrier" };
        let mut operands = self.barrier_operands(args);
        match data.op {
            Op::Barrier => self.code.act(&format!("{name}.sync"), [], operands),
            Op::BarrierArrive => {
                if operands.len() == 1 {
                    return self.no_form(data);
                }
                self.code.act(&format!("{name}.arrive"), [], operands);
            }
            _ => {
                operands.push(self.condition(args[2]));
                let to = self.result(inst, 0);
                let op = match data.attr::<BarrierOp>() {
                    BarrierOp::Popc => "popc.u32",
                    BarrierOp::And => "and.pred",
                    BarrierOp::Or => "or.pred",
                };
                self.code.act(&format!("{name}.red.{op}"), [to.into()], operands);
            }
        }
        Ok(())
    }

    /// A barrier of four warps: one of those that the program does not use, a number for each group that a block may have.
    pub(super) fn group_barrier(&mut self, data: &InstData) -> Printing {
        let Some(first) = self.cx.barriers.as_ref().and_then(|used| {
            // Eight groups have room in a block.
            (1..=8u64).rev().find(|first| (*first..first + 8).all(|n| !used.contains(&n)))
        }) else {
            return self.no_form(data);
        };
        let [x, y, z, nx, ny] = ["%tid.x", "%tid.y", "%tid.z", "%ntid.x", "%ntid.y"].map(|name| {
            let reg = self.fresh(Type::I32);
            self.code.put("mov.u32", reg, [name.into()]);
            Operand::Reg(reg)
        });
        let [row, thread, group, number] = [0; 4].map(|_| self.fresh(Type::I32));
        self.code.put("mad.lo.s32", row, [z, ny, y]);
        self.code.put("mad.lo.s32", thread, [row.into(), nx, x]);
        self.code.put("shr.u32", group, [thread.into(), "7".into()]);
        self.code.put("add.s32", number, [group.into(), first.to_string().into()]);
        let aligned = if data.attr::<Aligned>() == Aligned::Yes { "bar" } else { "barrier" };
        self.code.act(&format!("{aligned}.sync"), [], [number.into(), "128".into()]);
        Ok(())
    }

    pub(super) fn cluster(&mut self, inst: Inst, data: &InstData) -> Printing {
        let args = self.body.args(inst);
        let aligned = if data.attr::<Aligned>() == Aligned::Yes { ".aligned" } else { "" };
        if self.cx.logical() {
            return self.no_form(data);
        }
        match data.op {
            Op::ClusterArrive => {
                let order = if data.attr::<Order>() == Order::Relaxed { ".relaxed" } else { ".release" };
                self.code.act(&format!("barrier.cluster.arrive{order}{aligned}"), [], []);
            }
            Op::ClusterWait => self.code.act(&format!("barrier.cluster.wait.acquire{aligned}"), [], []),
            Op::MapRank => {
                let rank = self.word(args[1]);
                let to = self.result(inst, 0);
                if data.attr::<Space>() == Space::Generic {
                    let address = self.reg(args[0]);
                    self.code.put("mapa.u64", to, [address.into(), rank]);
                    return Ok(());
                }
                // In 32 bits where the address is one of 32.
                if let Some(word) = self.word_of(args[0]) {
                    let low = self.fresh(Type::I32);
                    self.code.put("mapa.shared::cluster.u32", low, [word, rank]);
                    self.code.put("cvt.u64.u32", to, [low.into()]);
                    let own = self.root(self.body.results(inst)[0]);
                    self.low_words.insert(own, low);
                } else {
                    let address = self.reg(args[0]);
                    self.code.put("mapa.shared::cluster.u64", to, [address.into(), rank]);
                }
            }
            _ => {
                let to = self.result(inst, 0);
                let space = if data.attr::<Space>() == Space::Generic { "" } else { ".shared::cluster" };
                match self.word_of(args[0]).filter(|_| !space.is_empty()) {
                    Some(word) => self.code.put(&format!("getctarank{space}.u32"), to, [word]),
                    None => {
                        let address = self.reg(args[0]);
                        self.code.put(&format!("getctarank{space}.u64"), to, [address.into()]);
                    }
                }
            }
        }
        Ok(())
    }
    /// The 32 bits that an address of shared memory is the extension of.
    fn word_of(&mut self, address: Value) -> Option<Operand> {
        if let Some((inst, _)) = self.def_by(address, Op::Zext) {
            let word = self.body.args(inst)[0];
            return (self.ty(word) == Type::I32).then(|| self.reg(word).into());
        }
        self.low_words.get(&self.root(address)).map(|reg| (*reg).into())
    }

    pub(super) fn special(&mut self, inst: Inst, data: &InstData) -> Printing {
        let (to, sreg) = (self.result(inst, 0), data.attr::<Sreg>());
        let bits = data.ty.bits();
        if let Some(extra) = self.cx.replaced(sreg, data.imm) {
            return self.instead(to, extra);
        }
        let name = match sreg {
            Sreg::IsExplicitCluster => {
                let is = self.fresh(Type::B1);
                self.code.put("mov.pred", is, ["%is_explicit_cluster".into()]);
                self.code.put("selp.b32", to, ["1".into(), "0".into(), is.into()]);
                return Ok(());
            }
            Sreg::EnvReg | Sreg::Pm => format!("%{}{}", sreg.name(), data.imm),
            Sreg::Pm64 => format!("%pm{}_64", data.imm),
            _ => format!("%{}", sreg.name()),
        };
        self.code.put(&format!("mov.u{bits}"), to, [name.into()]);
        Ok(())
    }
    /// What stands for a register.
    fn instead(&mut self, to: Reg, extra: Extra) -> Printing {
        if !self.function.is_kernel() {
            let Some(given) = self.extra(extra) else {
                return self.lacks("a register that the caller does not hand over");
            };
            self.move_to(to, given.into(), extra.ty());
            return Ok(());
        }
        match extra {
            Extra::Hidden(hidden, place) => {
                let name = self.cx.hidden(hidden);
                self.code.put(&format!("ld.param.b{}", extra.ty().bits()), to, [Operand::at(name, place.into())]);
            }
            Extra::Block(dimension) => match self.block_place {
                Some(place) => self.move_to(to, place[dimension].into(), Type::I32),
                None => return self.lacks("a block without a place"),
            },
            Extra::Local | Extra::Params => return self.lacks("an address as a register"),
        }
        Ok(())
    }

    pub(super) fn small_effect(&mut self, inst: Inst, data: &InstData) -> Printing {
        match data.op {
            Op::GridDepWait => self.code.act("griddepcontrol.wait", [], []),
            Op::GridDepLaunch => self.code.act("griddepcontrol.launch_dependents", [], []),
            Op::NanoSleep => {
                let time = self.word(self.body.args(inst)[0]);
                self.code.act("nanosleep.u32", [], [time]);
            }
            Op::PmEvent => self.code.act("pmevent.mask", [], [data.imm.to_string().into()]),
            Op::SetMaxReg => {
                let action = suffix::<SetMaxReg>(data);
                self.code.act(&format!("setmaxnreg{action}.sync.aligned.u32"), [], [data.imm.to_string().into()]);
            }
            Op::Breakpoint => self.code.act("brkpt", [], []),
            Op::Exit => {
                self.tell_others();
                self.code.act("exit", [], []);
            }
            Op::Trap => {
                self.code.act("trap", [], []);
                self.code.act("exit", [], []);
            }
            _ => return self.no_form(data),
        }
        Ok(())
    }

    // Stopping, and parts of grids.

    /// What a block does before everything else: it finds its place in the grid, and whether it is to begin.
    pub(super) fn begin_block(&mut self) {
        let (part, stops) = (self.cx.request.part, self.cx.request.stops);
        let asked = stops.then(|| self.ask_before());
        let number = match part {
            Part::Whole => None,
            Part::Cuboid => {
                self.moved_block();
                None
            }
            Part::List => Some(self.listed_block()),
        };
        let Some(asked) = asked else { return };
        let verdict = self.fresh(Type::B1);
        self.code.act("bar.red.or.pred", [verdict.into()], ["0".into(), asked.1.into()]);
        let outer = self.code.guard.replace(Guard { pred: verdict, negated: false });
        self.code.act("exit", [], []);
        self.code.guard = outer;
        let number = number.unwrap_or_else(|| {
            let [x, y, z, nx, ny] = ["%ctaid.x", "%ctaid.y", "%ctaid.z", "%nctaid.x", "%nctaid.y"].map(|name| {
                let reg = self.fresh(Type::I32);
                self.code.put("mov.u32", reg, [name.into()]);
                Operand::Reg(reg)
            });
            let [row, number] = [0; 2].map(|_| self.fresh(Type::I32));
            self.code.put("mad.lo.s32", row, [z, ny, y]);
            self.code.put("mad.lo.s32", number, [row.into(), nx, x]);
            number
        });
        let [begun, place] = [0; 2].map(|_| self.fresh(Type::I64));
        let launch = self.fresh(Type::I32);
        let names = [Hidden::Begun, Hidden::Launch].map(|h| self.cx.hidden(h));
        let [array, own] = names;
        self.code.put("ld.param.b64", begun, [Operand::at(array, 0)]);
        self.code.put("ld.param.b32", launch, [Operand::at(own, 0)]);
        self.code.put("mad.wide.u32", place, [number.into(), "4".into(), begun.into()]);
        let outer = self.code.guard.replace(Guard { pred: asked.0, negated: false });
        self.code.act("st.global.b32", [], [Operand::at(place, 0), launch.into()]);
        self.code.guard = outer;
    }
    /// Whether this is the block's first thread, and whether that one is asked to stop.
    fn ask_before(&mut self) -> (Reg, Reg) {
        let (first, word, asked) = (self.first_thread(), self.fresh(Type::I32), self.fresh(Type::B1));
        self.code.put("mov.b32", word, ["0".into()]);
        self.read_word(word, Some(first));
        self.code.put("setp.ne.s32", asked, [word.into(), "0".into()]);
        (first, asked)
    }
    /// The block's coordinates, of a part that begins at a corner.
    fn moved_block(&mut self) {
        let corner = self.cx.hidden(Hidden::Corner);
        let place = [("%ctaid.x", 0), ("%ctaid.y", 4), ("%ctaid.z", 8)].map(|(name, offset)| {
            let [own, first, place] = [0; 3].map(|_| self.fresh(Type::I32));
            self.code.put("mov.u32", own, [name.into()]);
            self.code.put("ld.param.b32", first, [Operand::at(corner.as_str(), offset)]);
            self.code.put("add.s32", place, [own.into(), first.into()]);
            place
        });
        self.block_place = Some(place);
    }
    /// The number of the block in the launch's grid; its coordinates are kept.
    fn listed_block(&mut self) -> Reg {
        let [own, first, place, number] = [0; 4].map(|_| self.fresh(Type::I32));
        let [list, entry] = [0; 2].map(|_| self.fresh(Type::I64));
        let listed = self.fresh(Type::B1);
        let [blocks, begin, grid] = [Hidden::Blocks, Hidden::First, Hidden::Grid].map(|h| self.cx.hidden(h));
        self.code.put("mov.u32", own, ["%ctaid.x".into()]);
        self.code.put("ld.param.b32", first, [Operand::at(begin, 0)]);
        self.code.put("ld.param.b64", list, [Operand::at(blocks, 0)]);
        self.code.put("add.s32", place, [own.into(), first.into()]);
        self.code.put("setp.ne.s64", listed, [list.into(), "0".into()]);
        self.code.put("mad.wide.u32", entry, [place.into(), "4".into(), list.into()]);
        self.code.put("mov.b32", number, [place.into()]);
        let outer = self.code.guard.replace(Guard { pred: listed, negated: false });
        self.code.put("ld.global.nc.b32", number, [Operand::at(entry, 0)]);
        self.code.guard = outer;
        let [nx, ny, rows, rest] = [0; 4].map(|_| self.fresh(Type::I32));
        let [x, y, z] = [0; 3].map(|_| self.fresh(Type::I32));
        let line = self.fresh(Type::B1);
        self.code.put("ld.param.b32", nx, [Operand::at(grid.as_str(), 0)]);
        self.code.put("ld.param.b32", ny, [Operand::at(grid.as_str(), 4)]);
        self.code.put("mov.b32", x, [number.into()]);
        self.code.put("mov.b32", y, ["0".into()]);
        self.code.put("mov.b32", z, ["0".into()]);
        self.code.put("setp.lt.u32", line, [number.into(), nx.into()]);
        let behind = self.own_label();
        self.code.branch(Guard { pred: line, negated: false }, &behind);
        self.code.put("div.u32", rows, [number.into(), nx.into()]);
        self.code.put("mul.lo.u32", rest, [rows.into(), nx.into()]);
        self.code.put("sub.u32", x, [number.into(), rest.into()]);
        self.code.put("div.u32", z, [rows.into(), ny.into()]);
        let planes = self.fresh(Type::I32);
        self.code.put("mul.lo.u32", planes, [z.into(), ny.into()]);
        self.code.put("sub.u32", y, [rows.into(), planes.into()]);
        self.code.label(behind);
        self.block_place = Some([x, y, z]);
        number
    }
}
