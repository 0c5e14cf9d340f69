//! Addresses: what stands in brackets, and conversions between spaces.

use super::call::Extra;
use super::context::{Context, LOCAL, SHARED};
use super::function::{Printer, Printing};
use super::text::{Operand, Reg, integer};
use super::{Unprintable, constant_name};
use hetir::attr::Space;
use hetir::entity::{GlobalId, Inst, Value};
use hetir::interp::space::{LOCAL_WINDOW, PARAM_WINDOW, SHARED_WINDOW};
use hetir::ir::{InstData, LOCAL_START, slot_places};
use hetir::op::Op;
use hetir::types::Type;

/// What an access names in brackets, and the space that it says.
pub(super) type Place = (Operand, &'static str);

/// A space as a modifier.
const fn modifier(space: Space) -> &'static str {
    match space {
        Space::Generic => "",
        Space::Global => ".global",
        Space::Shared => ".shared",
        Space::Local => ".local",
        Space::Const => ".const",
        Space::Param => ".param",
        Space::Cluster => ".shared::cluster",
    }
}

/// Where an address begins.
enum Base {
    Symbol(String),
    /// Of 32 bits or 64.
    Reg(Reg),
    /// A number of the logical space.
    Number,
}

/// What is added to a logical address in a function, ready for use; lines that nobody needs are left out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deltas {
    /// The hardware's address of shared memory, of 32 bits.
    pub(super) shared: Reg,
    /// From a local address to the hardware's.
    pub(super) local: Reg,
    /// From generic addresses in the windows to the hardware's.
    pub(super) generic: [Reg; 3],
}

impl Printer<'_, '_> {
    fn slot_name(slot: u64) -> String {
        format!("slot_{slot}")
    }

    /// The name of what a value is the address of, in its own space, and an offset in it.
    fn symbol(&mut self, value: Value) -> Option<(String, i64)> {
        let (_, data) = self.def(value)?;
        match data.op {
            Op::GlobalAddr => {
                let id = GlobalId::new(data.imm as usize);
                match self.cx.request.module.globals.get(id.index())?.space {
                    Space::Shared if self.cx.logical() => {
                        let offset = self.cx.layout.offset(id.index()).unwrap_or(0);
                        Some((SHARED.to_string(), offset as i64))
                    }
                    Space::Shared => {
                        self.cx.shared.insert(id.index());
                        Some((Context::shared_name(id), 0))
                    }
                    Space::Const if self.native[self.root(value).index()].is_some() => {
                        self.cx.constants.insert(id.index());
                        Some((constant_name(id), 0))
                    }
                    _ => None,
                }
            }
            Op::SlotAddr if self.cx.logical() && self.function.is_kernel() => {
                let (places, _) = slot_places(&self.function.slots);
                Some((LOCAL.to_string(), places.get(data.imm as usize).copied().unwrap_or(0).into()))
            }
            Op::SlotAddr => Some((Self::slot_name(data.imm), 0)),
            _ => None,
        }
    }

    /// Whether a name stands in the access itself. One that the program has moved to a register stays there: so does it outside of
    /// loops. Logical addresses are numbers anyway.
    fn is_own(&self, value: Value) -> bool {
        self.cx.logical() || self.def(value).is_some_and(|(inst, _)| self.body.spans[inst.index()] == self.span)
    }

    /// The base of an address of a small space, where additions that belong to the access are taken apart.
    fn base(&mut self, value: Value) -> (Base, i64) {
        let value = self.root(value);
        if self.is_own(value)
            && let Some((name, offset)) = self.symbol(value)
        {
            return (Base::Symbol(name), offset);
        }
        if let Some(word) = self.low_words.get(&value) {
            return (Base::Reg(*word), 0);
        }
        if let Some(number) = self.constant(value).filter(|_| self.cx.logical()) {
            return (Base::Number, number as i64);
        }
        let Some((inst, data)) = self.def(value) else { return (Base::Reg(self.reg(value)), 0) };
        let args = self.body.args(inst);
        match data.op {
            Op::Zext if self.ty(args[0]) == Type::I32 => self.word_base(args[0]),
            Op::IAdd if self.cx.logical() && self.constant(args[1]).is_some() => {
                let (base, offset) = self.base(args[0]);
                (base, offset.wrapping_add(self.constant(args[1]).unwrap_or(0) as i64))
            }
            _ => (Base::Reg(self.reg(value)), 0),
        }
    }
    fn word_base(&mut self, value: Value) -> (Base, i64) {
        let value = self.root(value);
        if let Some((inst, data)) = self.def(value) {
            let args = self.body.args(inst);
            match data.op {
                Op::Trunc => {
                    let whole = self.root(args[0]);
                    if self.is_own(whole)
                        && let Some((name, offset)) = self.symbol(whole)
                    {
                        return (Base::Symbol(name), offset);
                    }
                    if let Some(word) = self.low_words.get(&whole) {
                        return (Base::Reg(*word), 0);
                    }
                }
                // An offset that stood in brackets behind a register of 32 bits.
                Op::IAdd if self.body.spans[inst.index()] == self.span && self.constant(args[1]).is_some() => {
                    let (base, offset) = self.word_base(args[0]);
                    return (base, offset + i64::from(self.constant(args[1]).unwrap_or(0) as i32));
                }
                _ => {}
            }
        }
        (Base::Reg(self.reg(value)), 0)
    }
    /// The low 32 bits of an address of a small space.
    pub(super) fn low_word(&mut self, value: Value) -> Option<Operand> {
        let value = self.root(value);
        if let Some(word) = self.low_words.get(&value) {
            return Some((*word).into());
        }
        if self.cx.logical() {
            return None;
        }
        match self.symbol(value) {
            Some((name, 0)) => Some(name.into()),
            _ => None,
        }
    }

    /// An address with an offset. What does not fit behind it is added before.
    fn brackets(&mut self, base: impl Into<Operand>, offset: i64) -> Operand {
        let base = base.into();
        if i32::try_from(offset).is_ok() {
            return Operand::at(base, offset);
        }
        let sum = self.fresh(Type::I64);
        let number = integer(offset as u64, 64);
        self.code.put_free("add.s64", sum, [base, number.into()]);
        Operand::at(sum, 0)
    }

    /// The place of an access.
    pub(super) fn place(&mut self, space: Space, address: Value, offset: u64) -> Result<Place, Unprintable> {
        let offset = offset as i64;
        let name = modifier(space);
        let place = match space {
            Space::Global => {
                let base = self.reg(address);
                (self.brackets(base, offset), name)
            }
            Space::Generic => self.generic_place(address, offset)?,
            Space::Shared | Space::Cluster => {
                let (base, more) = self.base(address);
                let offset = offset.wrapping_add(more);
                let operand = match base {
                    Base::Symbol(_) if self.cx.logical() => Operand::at(self.deltas.shared, offset),
                    Base::Symbol(symbol) => Operand::at(symbol, offset),
                    Base::Reg(reg) if !self.cx.logical() => self.brackets(reg, offset),
                    Base::Reg(reg) => {
                        let native = self.fresh(Type::I32);
                        let word = self.low_half(reg);
                        self.code.put_free("add.s32", native, [word.into(), self.deltas.shared.into()]);
                        Operand::at(native, offset)
                    }
                    Base::Number => Operand::at(self.deltas.shared, offset),
                };
                (operand, name)
            }
            Space::Local => {
                let (base, more) = self.base(address);
                let offset = offset.wrapping_add(more);
                let operand = match base {
                    Base::Symbol(symbol) => Operand::at(symbol, offset),
                    Base::Reg(reg) if !self.cx.logical() => self.brackets(reg, offset),
                    Base::Reg(reg) => {
                        let wide = self.wide(reg);
                        let native = self.fresh(Type::I64);
                        self.code.put_free("add.s64", native, [wide.into(), self.deltas.local.into()]);
                        self.brackets(native, offset)
                    }
                    Base::Number => self.brackets(self.deltas.local, offset),
                };
                (operand, name)
            }
            Space::Const => {
                if self.native[self.root(address).index()].is_some() {
                    let (base, more) = self.base(address);
                    let offset = offset.wrapping_add(more);
                    match base {
                        Base::Symbol(symbol) => (Operand::at(symbol, offset), name),
                        Base::Reg(reg) => (self.brackets(reg, offset), name),
                        Base::Number => return self.lacks("a number as an address of constant memory"),
                    }
                } else {
                    let base = self.reg(address);
                    (self.brackets(base, offset), ".global")
                }
            }
            Space::Param => (self.param_place(address, offset)?, name),
        };
        Ok(place)
    }

    fn low_half(&mut self, reg: Reg) -> Reg {
        if reg.class == super::text::Class::Word {
            return reg;
        }
        let low = self.fresh(Type::I32);
        self.code.put_free("cvt.u32.u64", low, [reg.into()]);
        low
    }
    fn wide(&mut self, reg: Reg) -> Reg {
        if reg.class != super::text::Class::Word {
            return reg;
        }
        let wide = self.fresh(Type::I64);
        self.code.put_free("cvt.u64.u32", wide, [reg.into()]);
        wide
    }

    fn generic_place(&mut self, address: Value, offset: i64) -> Result<Place, Unprintable> {
        if self.cx.logical() && self.cx.windows.any() {
            if let Some((inst, data)) = self.def_by(address, Op::ToGeneric) {
                let inner = self.body.args(inst)[0];
                return self.place(data.attr(), inner, offset as u64);
            }
            let native = self.native_generic(address);
            return Ok((self.brackets(native, offset), ""));
        }
        let base = self.reg(address);
        Ok((self.brackets(base, offset), ""))
    }
    /// The hardware's generic address for a logical one.
    pub(super) fn native_generic(&mut self, address: Value) -> Reg {
        let base = self.reg(address);
        if !self.cx.logical() || !self.cx.windows.any() {
            return base;
        }
        let [high, native] = [self.fresh(Type::I32), self.fresh(Type::I64)];
        self.code.put_free("mov.b64", Operand::Vector(vec![Operand::Sink, high.into()]), [base.into()]);
        let mut delta = Operand::from("0");
        let windows = [self.cx.windows.shared, self.cx.windows.local, self.cx.windows.param];
        for (n, _) in windows.into_iter().enumerate().filter(|(_, may)| *may) {
            let (is, sum) = (self.fresh(Type::B1), self.fresh(Type::I64));
            self.code.put_free("setp.eq.s32", is, [high.into(), (n + 1).to_string().into()]);
            self.code.put_free("selp.b64", sum, [self.deltas.generic[n].into(), delta, is.into()]);
            delta = sum.into();
        }
        self.code.put_free("add.s64", native, [base.into(), delta]);
        native
    }

    // Parameters. Their addresses are their places in the launch's parameters, also as values.

    /// The parameter that a byte of the launch's parameters lies in, by its name, and the place in it.
    fn param_at(&self, offset: i64) -> Option<(String, i64)> {
        let params = self.function.kernel_params();
        let holds = |start: u32, size: u32| (i64::from(start)..i64::from(start) + i64::from(size)).contains(&offset);
        let n = params.iter().position(|p| holds(p.offset, p.size))?;
        Some((param_name(n), offset - i64::from(params[n].offset)))
    }
    fn param_place(&mut self, address: Value, offset: i64) -> Result<Operand, Unprintable> {
        let number = self.constant(address).map(|n| (n as i64).wrapping_add(offset));
        if let Some((name, offset)) = number.and_then(|n| self.param_at(n)) {
            return Ok(Operand::at(name, offset));
        }
        let base = self.first_param()?;
        let own = self.reg(address);
        let native = self.fresh(Type::I64);
        self.code.put_free("add.s64", native, [base.into(), own.into()]);
        Ok(self.brackets(native, offset))
    }
    /// The address of the first parameter.
    fn first_param(&mut self) -> Result<Reg, Unprintable> {
        if self.function.kernel_params().is_empty() {
            return self.lacks("an address of parameters where there are none");
        }
        let base = self.fresh(Type::I64);
        self.code.put_free("mov.b64", base, [param_name(0).into()]);
        Ok(base)
    }

    // Ops.

    pub(super) fn global_address(&mut self, inst: Inst, data: &InstData) -> Printing {
        let to = self.result(inst, 0);
        let own = self.body.results(inst)[0];
        let space = self.cx.request.module.globals.get(data.imm as usize).map(|g| g.space);
        match self.symbol(own) {
            Some((_, offset)) if space == Some(Space::Shared) && self.cx.logical() => {
                self.code.put("mov.b64", to, [offset.to_string().into()]);
            }
            Some((name, _)) => self.code.put("mov.b64", to, [name.into()]),
            None => {
                let name = self.cx.address_constant(GlobalId::new(data.imm as usize));
                self.code.put("ld.const.b64", to, [Operand::at(name, 0)]);
            }
        }
        Ok(())
    }

    pub(super) fn slot_address(&mut self, inst: Inst, data: &InstData) -> Printing {
        let to = self.result(inst, 0);
        if !self.cx.logical() {
            self.code.put("mov.b64", to, [Self::slot_name(data.imm).into()]);
        } else if self.function.is_kernel() {
            let (places, _) = slot_places(&self.function.slots);
            let place = places.get(data.imm as usize).copied().unwrap_or(0);
            self.code.put("mov.b64", to, [place.saturating_add(LOCAL_START).to_string().into()]);
        } else {
            let own = self.fresh(Type::I64);
            self.code.put("mov.b64", own, [Self::slot_name(data.imm).into()]);
            self.code.put("sub.s64", to, [own.into(), self.deltas.local.into()]);
        }
        Ok(())
    }
    /// Declares local memory.
    pub(super) fn declare_slots(&mut self) {
        let slots = &self.function.slots;
        if self.cx.logical() && self.function.is_kernel() {
            let (_, end) = slot_places(slots);
            if end > 0 {
                let align = slots.iter().map(|s| s.align).max().unwrap_or(1).max(16);
                self.code.plain(format!(".local .align {align} .b8 {LOCAL}[{end}];"));
            }
            return;
        }
        for (n, slot) in slots.iter().enumerate() {
            let (align, name) = (slot.align.max(1), Self::slot_name(n as u64));
            self.code.plain(format!(".local .align {align} .b8 {name}[{}];", slot.size.max(1)));
        }
    }

    pub(super) fn generic_from_own(&mut self, inst: Inst, data: &InstData) -> Printing {
        let (to, value) = (self.result(inst, 0), self.body.args(inst)[0]);
        let space = data.attr::<Space>();
        let window = match space {
            Space::Shared | Space::Cluster => Some(SHARED_WINDOW),
            Space::Local => Some(LOCAL_WINDOW),
            Space::Param => Some(PARAM_WINDOW),
            Space::Generic | Space::Global | Space::Const => None,
        };
        if let Some(window) = window.filter(|_| self.cx.logical()) {
            let value = self.word(value);
            self.code.put("add.s64", to, [value, format!("{window:#x}").into()]);
            return Ok(());
        }
        match space {
            Space::Param => {
                let known = self.constant(value).and_then(|n| self.param_at(n as i64));
                let (base, rest): (Operand, Operand) = match known {
                    Some((name, offset)) => (name.into(), offset.to_string().into()),
                    None => (param_name(0).into(), self.word(value)),
                };
                let [own, generic] = [0; 2].map(|_| self.fresh(Type::I64));
                self.code.put("mov.b64", own, [base]);
                if rest == Operand::from("0") {
                    self.code.put("cvta.param.u64", to, [own.into()]);
                } else {
                    self.code.put("cvta.param.u64", generic, [own.into()]);
                    self.code.put("add.s64", to, [generic.into(), rest]);
                }
            }
            Space::Const => {
                let value = self.reg(value);
                self.code.put("mov.b64", to, [value.into()]);
            }
            space => {
                let value = self.reg(value);
                self.code.put(&format!("cvta{}.u64", modifier(space)), to, [value.into()]);
            }
        }
        Ok(())
    }

    pub(super) fn own_from_generic(&mut self, inst: Inst, data: &InstData) -> Printing {
        let (to, value) = (self.result(inst, 0), self.body.args(inst)[0]);
        let (space, value) = (data.attr::<Space>(), self.reg(value));
        let window = match space {
            Space::Shared | Space::Cluster => Some(SHARED_WINDOW),
            Space::Local => Some(LOCAL_WINDOW),
            Space::Param => Some(PARAM_WINDOW),
            Space::Generic | Space::Global | Space::Const => None,
        };
        if let Some(window) = window.filter(|_| self.cx.logical()) {
            self.code.put("sub.s64", to, [value.into(), format!("{window:#x}").into()]);
            return Ok(());
        }
        match space {
            Space::Param => {
                let base = self.first_param()?;
                let generic = self.fresh(Type::I64);
                self.code.put("cvta.param.u64", generic, [base.into()]);
                self.code.put("sub.s64", to, [value.into(), generic.into()]);
            }
            Space::Const => self.code.put("mov.b64", to, [value.into()]),
            space => self.code.put(&format!("cvta.to{}.u64", modifier(space)), to, [value.into()]),
        }
        Ok(())
    }

    pub(super) fn is_space(&mut self, inst: Inst, data: &InstData) -> Printing {
        let (to, value) = (self.result(inst, 0), self.body.args(inst)[0]);
        let (space, address) = (data.attr::<Space>(), self.reg(value));
        let window = match space {
            Space::Shared | Space::Cluster => Some(SHARED_WINDOW),
            Space::Local => Some(LOCAL_WINDOW),
            Space::Param => Some(PARAM_WINDOW),
            Space::Generic | Space::Global | Space::Const => None,
        };
        match space {
            Space::Generic => self.code.put("mov.pred", to, ["1".into()]),
            Space::Const => {
                let is = self.in_constants(address);
                self.code.put("mov.pred", to, [is.into()]);
            }
            Space::Global => {
                let constant = self.in_constants(address);
                let [global, other] = [0; 2].map(|_| self.fresh(Type::B1));
                if self.cx.logical() {
                    let high = self.fresh(Type::I32);
                    let less = self.fresh(Type::I32);
                    self.code.put("mov.b64", Operand::Vector(vec![Operand::Sink, high.into()]), [address.into()]);
                    self.code.put("sub.s32", less, [high.into(), "1".into()]);
                    self.code.put("setp.ge.u32", global, [less.into(), "4".into()]);
                } else {
                    self.code.put("isspacep.global", global, [address.into()]);
                }
                self.code.put("not.pred", other, [constant.into()]);
                self.code.put("and.pred", to, [global.into(), other.into()]);
            }
            space => match window.filter(|_| self.cx.logical()) {
                Some(window) => {
                    let high = self.fresh(Type::I32);
                    self.code.put("mov.b64", Operand::Vector(vec![Operand::Sink, high.into()]), [address.into()]);
                    self.code.put("setp.eq.s32", to, [high.into(), (window >> 32).to_string().into()]);
                }
                None => self.code.put(&format!("isspacep{}", modifier(space)), to, [address.into()]),
            },
        }
        Ok(())
    }
    /// Whether an address lies in a variable of constant memory.
    fn in_constants(&mut self, address: Reg) -> Reg {
        let request = self.cx.request;
        let mut is = self.constant_reg(0, Type::B1);
        for (n, global) in request.module.globals.iter().enumerate().filter(|(_, g)| g.space == Space::Const) {
            let begin = request.globals.get(n).copied().unwrap_or(0);
            let (offset, inside, any) = (self.fresh(Type::I64), self.fresh(Type::B1), self.fresh(Type::B1));
            self.code.put("sub.s64", offset, [address.into(), format!("{begin:#x}").into()]);
            self.code.put("setp.lt.u64", inside, [offset.into(), global.size.to_string().into()]);
            self.code.put("or.pred", any, [is.into(), inside.into()]);
            is = any;
        }
        is
    }

    /// The same in a called function, which is handed what is the kernel's.
    pub(super) fn begin_addresses_given(&mut self) {
        if self.cx.logical() {
            let none = self.constant_reg(0, Type::I64);
            let [local, params] = [Extra::Local, Extra::Params].map(|e| self.extra(e).unwrap_or(none));
            self.begin_addresses(Some([local, params]));
        }
    }
    /// What logical addresses are made the hardware's by. `given` are the parts that a caller hands over.
    pub(super) fn begin_addresses(&mut self, given: Option<[Reg; 2]>) {
        if !self.cx.logical() {
            return;
        }
        let Deltas { shared, local, generic } = self.deltas;
        let [shared_window, local_window, param_window] = [SHARED_WINDOW, LOCAL_WINDOW, PARAM_WINDOW];
        self.code.put("mov.b32", shared, [SHARED.into()]);
        let wide = |p: &mut Self| p.fresh(Type::I64);
        let (base, cast) = (wide(self), wide(self));
        self.code.put("mov.b64", base, [SHARED.into()]);
        self.code.put("cvta.shared.u64", cast, [base.into()]);
        self.code.put("sub.s64", generic[0], [cast.into(), format!("{shared_window:#x}").into()]);
        match given {
            Some([own, params]) => {
                self.code.put("mov.b64", local, [own.into()]);
                self.code.put("mov.b64", generic[2], [params.into()]);
            }
            None => {
                let (base, cast) = (wide(self), wide(self));
                let (_, end) = slot_places(&self.function.slots);
                let start: Operand = if end > 0 { LOCAL.into() } else { LOCAL_START.to_string().into() };
                self.code.put("mov.b64", base, [start]);
                self.code.put("sub.s64", local, [base.into(), LOCAL_START.to_string().into()]);
                let base = wide(self);
                if self.function.kernel_params().is_empty() {
                    self.code.put("mov.b64", generic[2], ["0".into()]);
                } else {
                    self.code.put("mov.b64", base, [param_name(0).into()]);
                    self.code.put("cvta.param.u64", cast, [base.into()]);
                    self.code.put("sub.s64", generic[2], [cast.into(), format!("{param_window:#x}").into()]);
                }
            }
        }
        let (start, cast, less) = (wide(self), wide(self), local_window + u64::from(LOCAL_START));
        self.code.put("add.s64", start, [local.into(), LOCAL_START.to_string().into()]);
        self.code.put("cvta.local.u64", cast, [start.into()]);
        self.code.put("sub.s64", generic[1], [cast.into(), format!("{less:#x}").into()]);
    }
}

/// What a kernel's n-th parameter is called.
pub(super) fn param_name(n: usize) -> String {
    format!("param_{n}")
}
