//! Asynchronous copies, and the barriers in memory that they complete at.

use super::Unprintable;
use super::function::{Printer, Printing, bits_name, suffix};
use super::memory::{prefetch_size, scope, vector};
use super::text::Operand;
use hetir::attr::{
    AtomOp, Cache, Drop, Elements, MapField, MapReduction, Multicast, NoComplete, NoInc, Order, ReadsOnly, Scope, Space,
};
use hetir::entity::{Inst, Value};
use hetir::ir::InstData;
use hetir::op::Op;
use hetir::types::{Scalar, Type};

/// An operation of a reducing copy, with the type of its elements.
fn reduction(op: AtomOp, element: Elements) -> String {
    let bits = element.element().bits();
    let float = matches!(element, Elements::F16 | Elements::Bf16 | Elements::F32 | Elements::F64);
    let name = element.name();
    match op {
        AtomOp::Add => format!("add.u{bits}"),
        AtomOp::And | AtomOp::Or | AtomOp::Xor | AtomOp::Exch => format!("{}.b{bits}", op.name()),
        AtomOp::Inc | AtomOp::Dec => format!("{}.u{bits}", op.name()),
        AtomOp::SMin => format!("min.s{bits}"),
        AtomOp::SMax => format!("max.s{bits}"),
        AtomOp::UMin => format!("min.u{bits}"),
        AtomOp::UMax => format!("max.u{bits}"),
        AtomOp::FAdd if float && bits == 16 => format!("add.noftz.{name}"),
        AtomOp::FAdd => format!("add.{name}"),
        AtomOp::FMin => format!("min.{name}"),
        AtomOp::FMax => format!("max.{name}"),
    }
}

/// A constant, also as a wider one.
fn number(printer: &Printer<'_, '_>, value: Value) -> Option<u64> {
    printer.constant(value).or_else(|| {
        let (inst, _) = printer.def_by(value, Op::Zext)?;
        printer.constant(printer.body.args(inst)[0])
    })
}

impl Printer<'_, '_> {
    fn at(&mut self, space: Space, address: Value) -> Result<Operand, Unprintable> {
        self.place(space, address, 0).map(|(operand, _)| operand)
    }

    /// Copies of few bytes, and groups of copies.
    pub(super) fn small_copy(&mut self, inst: Inst, data: &InstData) -> Printing {
        match data.op {
            Op::CpAsync => {
                let (args, _) = self.body.args_and_policy(inst);
                let (to, from) = (self.at(Space::Shared, args[0])?, self.at(Space::Global, args[1])?);
                let mut operands = vec![to, from, data.imm.to_string().into()];
                if self.constant(args[2]) != Some(data.imm) {
                    operands.push(self.bytes_read(args[2], data.imm));
                }
                let hint = self.policy(inst, &mut operands);
                let cache = if data.attr::<Cache>() == Cache::Cg { "cg" } else { "ca" };
                let prefetch = prefetch_size(data.attr());
                self.code.act(&format!("cp.async.{cache}.shared.global{hint}{prefetch}"), [], operands);
            }
            Op::CpAsyncCommit => self.code.act("cp.async.commit_group", [], []),
            Op::CpAsyncWait => self.code.act("cp.async.wait_group", [], [data.imm.to_string().into()]),
            Op::BulkCommit => self.code.act("cp.async.bulk.commit_group", [], []),
            Op::BulkWait => {
                let read = if data.attr::<ReadsOnly>() == ReadsOnly::Yes { ".read" } else { "" };
                self.code.act(&format!("cp.async.bulk.wait_group{read}"), [], [data.imm.to_string().into()]);
            }
            _ => return self.no_form(data),
        }
        Ok(())
    }
    /// How much is read: a number, or a condition that says that it is nothing.
    fn bytes_read(&mut self, value: Value, size: u64) -> Operand {
        if let Some((inst, _)) = self.def_by(value, Op::Select) {
            let args = self.body.args(inst);
            let (condition, negated) = self.positive(args[0]);
            let all_or_nothing = self.constant(args[1]) == Some(0) && self.constant(args[2]) == Some(size);
            if all_or_nothing && !negated && self.body.spans[inst.index()] == self.span {
                return self.reg(condition).into();
            }
        }
        self.word(value)
    }

    /// Copies of many bytes.
    pub(super) fn bulk(&mut self, inst: Inst, data: &InstData) -> Printing {
        const COMPLETES: &str = "mbarrier::complete_tx::bytes";
        let (args, _) = self.body.args_and_policy(inst);
        let space = match data.op {
            Op::BulkLoad => data.attr::<Space>(),
            _ => Space::Cluster,
        };
        match data.op {
            Op::BulkLoad | Op::BulkMulticast => {
                let (to, from) = (self.at(space, args[0])?, self.at(Space::Global, args[1])?);
                let mut operands = vec![to, from, self.word(args[2]), self.at(space, args[3])?];
                let mut cast = "";
                if data.op == Op::BulkMulticast {
                    operands.push(self.reg(args[4]).into());
                    cast = ".multicast::cluster";
                }
                let hint = self.policy(inst, &mut operands);
                let within = if space == Space::Cluster { "shared::cluster" } else { "shared::cta" };
                self.code.act(&format!("cp.async.bulk.{within}.global.{COMPLETES}{cast}{hint}"), [], operands);
            }
            Op::BulkSend | Op::BulkReduceSend => {
                let (to, from) = (self.at(Space::Cluster, args[0])?, self.at(Space::Shared, args[1])?);
                let operands = vec![to, from, self.word(args[2]), self.at(Space::Cluster, args[3])?];
                let head = match data.op {
                    Op::BulkSend => format!("cp.async.bulk.shared::cluster.shared::cta.{COMPLETES}"),
                    _ => {
                        let what = reduction(data.attr(), data.attr());
                        format!("cp.reduce.async.bulk.shared::cluster.shared::cta.{COMPLETES}.{what}")
                    }
                };
                self.code.act(&head, [], operands);
            }
            Op::BulkStore | Op::BulkReduceStore => {
                let (to, from) = (self.at(Space::Global, args[0])?, self.at(Space::Shared, args[1])?);
                let mut operands = vec![to, from, self.word(args[2])];
                let hint = self.policy(inst, &mut operands);
                let head = match data.op {
                    Op::BulkStore => format!("cp.async.bulk.global.shared::cta.bulk_group{hint}"),
                    _ => {
                        let what = reduction(data.attr(), data.attr());
                        format!("cp.reduce.async.bulk.global.shared::cta.bulk_group{hint}.{what}")
                    }
                };
                self.code.act(&head, [], operands);
            }
            Op::BulkPrefetch => {
                let mut operands = vec![self.at(Space::Global, args[0])?, self.word(args[1])];
                let hint = self.policy(inst, &mut operands);
                self.code.act(&format!("cp.async.bulk.prefetch.L2.global{hint}"), [], operands);
            }
            _ => return self.no_form(data),
        }
        Ok(())
    }

    /// Copies of boxes of tensors.
    pub(super) fn boxes(&mut self, inst: Inst, data: &InstData) -> Printing {
        let args = self.body.args_and_policy(inst).0.to_vec();
        let (first, space) = match data.op {
            Op::TensorMapReplace => return self.replace_field(&args, data),
            Op::TensorLoad => (4, data.attr::<Space>()),
            Op::TensorPrefetch => (1, Space::Shared),
            _ => (2, Space::Shared),
        };
        let map = self.native_generic(args[0]);
        let coordinates: Vec<Operand> = args[first..].iter().map(|v| self.reg(*v).into()).collect();
        let dimensions = coordinates.len();
        let box_of = Operand::Image(vec![map.into(), Operand::Vector(coordinates)]);
        let mut operands = match data.op {
            Op::TensorLoad => vec![self.at(space, args[1])?, box_of, self.at(space, args[2])?],
            Op::TensorPrefetch => vec![box_of],
            _ => vec![box_of, self.at(space, args[1])?],
        };
        let multicast = data.op == Op::TensorLoad && data.attr::<Multicast>() == Multicast::Yes;
        if multicast {
            operands.push(self.reg(args[3]).into());
        }
        let cast = if multicast { ".multicast::cluster" } else { "" };
        let within = if space == Space::Cluster { "shared::cluster" } else { "shared::cta" };
        let hint = self.policy(inst, &mut operands);
        let head = match data.op {
            Op::TensorLoad => format!(
                "cp.async.bulk.tensor.{dimensions}d.{within}.global.tile.mbarrier::complete_tx::bytes{cast}{hint}"
            ),
            Op::TensorStore => {
                format!("cp.async.bulk.tensor.{dimensions}d.global.shared::cta.tile.bulk_group{hint}")
            }
            Op::TensorReduce => {
                let op = data.attr::<MapReduction>().name();
                format!("cp.reduce.async.bulk.tensor.{dimensions}d.global.shared::cta.{op}.tile.bulk_group{hint}")
            }
            Op::TensorPrefetch => format!("cp.async.bulk.prefetch.tensor.{dimensions}d.L2.global.tile{hint}"),
            _ => return self.no_form(data),
        };
        self.code.act(&head, [], operands);
        Ok(())
    }
    fn replace_field(&mut self, args: &[Value], data: &InstData) -> Printing {
        let (place, _) = self.place(data.attr(), args[0], data.imm)?;
        let space = match data.attr::<Space>() {
            Space::Generic => "",
            Space::Global => ".global",
            _ => ".shared::cta",
        };
        let field = data.attr::<MapField>();
        if field == MapField::SwizzleAtomicity && self.cx.request.target.compute.0 < 10 {
            return self.no_form(data);
        }
        let mut operands = vec![place];
        if matches!(field, MapField::BoxDim | MapField::GlobalDim | MapField::GlobalStride | MapField::ElementStride) {
            let Some(ordinal) = self.constant(args[1]) else { return self.no_form(data) };
            operands.push(ordinal.to_string().into());
        }
        let wide = matches!(field, MapField::GlobalAddress | MapField::GlobalStride);
        let value: Operand = match (number(self, args[2]), self.def_by(args[2], Op::Zext)) {
            (Some(number), _) => number.to_string().into(),
            (None, Some((inst, _))) if !wide => self.reg(self.body.args(inst)[0]).into(),
            _ if wide => self.reg(args[2]).into(),
            _ => {
                let (low, value) = (self.fresh(Type::I32), self.reg(args[2]));
                self.code.put("cvt.u32.u64", low, [value.into()]);
                low.into()
            }
        };
        operands.push(value);
        let bits = if wide { "b64" } else { "b32" };
        self.code.act(&format!("tensormap.replace.tile.{}{space}.b1024.{bits}", field.name()), [], operands);
        Ok(())
    }

    /// Stores and reductions that complete at a barrier.
    pub(super) fn remote(&mut self, inst: Inst, data: &InstData) -> Printing {
        let args = self.body.args(inst).to_vec();
        let space = data.attr::<Space>();
        let (to, signal) = (self.at(space, args[0])?, self.at(space, args[1])?);
        let name = if space == Space::Cluster { ".shared::cluster" } else { "" };
        let values = vector(args[2..].iter().map(|v| self.reg(*v).into()).collect());
        let head = match data.op {
            Op::StoreAsync => {
                let vec = match args.len() - 2 {
                    1 => "",
                    2 => ".v2",
                    _ => ".v4",
                };
                format!("st.async.weak{name}.mbarrier::complete_tx::bytes{vec}.{}", bits_name(data.ty))
            }
            _ => {
                let element = if data.ty.scalar == Scalar::I64 { Elements::I64 } else { Elements::I32 };
                let what = reduction(data.attr(), element);
                format!("red.async.relaxed.cluster{name}.mbarrier::complete_tx::bytes.{what}")
            }
        };
        self.code.act(&head, [], [to, values, signal]);
        Ok(())
    }

    /// Barriers in memory.
    pub(super) fn mbarrier(&mut self, inst: Inst, data: &InstData) -> Printing {
        let args = self.body.args(inst).to_vec();
        if data.op == Op::MbarrierPending {
            let (to, state) = (self.result(inst, 0), self.reg(args[0]));
            self.code.put("mbarrier.pending_count.b64", to, [state.into()]);
            return Ok(());
        }
        let (place, space) = self.place(data.attr(), args[0], data.imm)?;
        // What order and scope are where nothing is said.
        let usual = match data.op {
            Op::MbarrierTest | Op::MbarrierTry => Order::Acquire,
            _ => Order::Release,
        };
        let (order, within) = (data.attr::<Order>(), data.attr::<Scope>());
        let said = match (order, within) {
            (order, Scope::Cta) if order == usual => String::new(),
            (order, within) => format!(".{}{}", order.name(), scope(within)),
        };
        match data.op {
            Op::CpAsyncArrive => {
                let noinc = suffix::<NoInc>(data);
                self.code.act(&format!("cp.async.mbarrier.arrive{noinc}{space}.b64"), [], [place]);
            }
            Op::MbarrierInit => {
                let count = self.word(args[1]);
                self.code.act(&format!("mbarrier.init{space}.b64"), [], [place, count]);
            }
            Op::MbarrierInval => self.code.act(&format!("mbarrier.inval{space}.b64"), [], [place]),
            Op::MbarrierExpect | Op::MbarrierComplete => {
                let name = if data.op == Op::MbarrierExpect { "expect_tx" } else { "complete_tx" };
                let bytes = self.word(args[1]);
                let head = format!("mbarrier.{name}.relaxed{}{space}.b64", scope(within));
                self.code.act(&head, [], [place, bytes]);
            }
            Op::MbarrierArrive | Op::MbarrierArriveExpect => {
                let expects = data.op == Op::MbarrierArriveExpect;
                let no_complete = !expects && data.attr::<NoComplete>() == NoComplete::Yes;
                let drop = if data.attr::<Drop>() == Drop::Yes { "_drop" } else { "" };
                let more = match (expects, no_complete) {
                    (true, _) => ".expect_tx",
                    (_, true) => ".noComplete",
                    _ => "",
                };
                let remote = data.attr::<Space>() == Space::Cluster;
                let state = self.body.results(inst)[0];
                let unused = self.uses(state) == 0;
                if remote && !unused {
                    let to = self.result(inst, 0);
                    self.code.put("mov.b64", to, ["0".into()]);
                }
                let output = if remote || unused { Operand::Sink } else { self.result(inst, 0).into() };
                let mut operands = vec![place];
                if expects || no_complete || self.constant(args[1]) != Some(1) {
                    operands.push(self.word(args[1]));
                }
                self.code.act(&format!("mbarrier.arrive{drop}{more}{said}{space}.b64"), [output], operands);
            }
            Op::MbarrierTest | Op::MbarrierTry => {
                let tries = data.op == Op::MbarrierTry;
                let name = if tries { "try_wait" } else { "test_wait" };
                let parity = if data.ty == Type::I32 { ".parity" } else { "" };
                let phase = self.word(args[if tries { 2 } else { 1 }]);
                let mut operands = vec![place, phase];
                if tries && self.constant(args[1]) != Some(0) {
                    operands.push(self.word(args[1]));
                }
                let to = self.result(inst, 0);
                self.code.act(&format!("mbarrier.{name}{parity}{said}{space}.b64"), [to.into()], operands);
            }
            _ => return self.no_form(data),
        }
        Ok(())
    }
}
