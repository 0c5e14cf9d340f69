//! Loads, stores, atomics, fences and hints.

use super::Unprintable;
use super::function::{Printer, Printing, bits_name, class, float_name};
use super::int::int_name;
use super::text::Operand;
use hetir::attr::{
    AtomOp, Cache, EvictL1, EvictL2, EvictL2Rest, FenceKind, Level, Order, Path, Prefetch, Scope, Sign, Space,
};
use hetir::entity::{Inst, Value};
use hetir::ir::InstData;
use hetir::op::Op;
use hetir::types::Type;

/// The scope as a modifier.
pub(super) const fn scope(scope: Scope) -> &'static str {
    match scope {
        Scope::None => "",
        Scope::Cta => ".cta",
        Scope::Cluster => ".cluster",
        Scope::Gpu => ".gpu",
        Scope::Sys => ".sys",
    }
}

/// Order and scope as modifiers.
fn ordered(data: &InstData) -> String {
    let scope = scope(data.attr());
    match data.attr::<Order>() {
        Order::Weak => String::new(),
        Order::Volatile => ".volatile".into(),
        Order::Mmio => ".mmio.relaxed.sys".into(),
        order => format!(".{}{scope}", order.name()),
    }
}

pub(super) const fn prefetch_size(prefetch: Prefetch) -> &'static str {
    match prefetch {
        Prefetch::None => "",
        Prefetch::B64 => ".L2::64B",
        Prefetch::B128 => ".L2::128B",
        Prefetch::B256 => ".L2::256B",
    }
}

const fn evict_l1(evict: EvictL1) -> &'static str {
    match evict {
        EvictL1::None => "",
        EvictL1::Normal => ".L1::evict_normal",
        EvictL1::Unchanged => ".L1::evict_unchanged",
        EvictL1::First => ".L1::evict_first",
        EvictL1::Last => ".L1::evict_last",
        EvictL1::NoAllocate => ".L1::no_allocate",
    }
}

const fn evict_l2(evict: EvictL2) -> &'static str {
    match evict {
        EvictL2::None => "",
        EvictL2::Normal => ".L2::evict_normal",
        EvictL2::First => ".L2::evict_first",
        EvictL2::Last => ".L2::evict_last",
        EvictL2::Unchanged => ".L2::evict_unchanged",
    }
}

/// One value, or several in braces.
pub(super) fn vector(mut all: Vec<Operand>) -> Operand {
    if all.len() == 1 { all.remove(0) } else { Operand::Vector(all) }
}

fn lanes(count: usize) -> &'static str {
    match count {
        1 => "",
        2 => ".v2",
        4 => ".v4",
        _ => ".v8",
    }
}

impl Printer<'_, '_> {
    /// The cache policy as an operand.
    pub(super) fn policy(&mut self, inst: Inst, operands: &mut Vec<Operand>) -> &'static str {
        match self.body.args_and_policy(inst).1 {
            Some(policy) => {
                let policy = self.reg(policy);
                operands.push(policy.into());
                ".L2::cache_hint"
            }
            None => "",
        }
    }
    fn cache(&self, data: &InstData, space: &str) -> String {
        let (cache, l1) = (data.attr::<Cache>(), data.attr::<EvictL1>());
        if cache != Cache::None {
            format!(".{}", cache.name())
        } else if matches!(space, ".global" | "") {
            evict_l1(l1).to_string()
        } else {
            String::new()
        }
    }

    pub(super) fn load(&mut self, inst: Inst, data: &InstData) -> Printing {
        let body = self.body;
        let (args, _) = body.args_and_policy(inst);
        let address = args[0];
        let count = body.results(inst).len();
        let most = (16 / data.ty.bytes().max(1)) as usize;
        // Longer vectors are for later targets; they were never one access.
        let step = count.min(most.max(1));
        for first in (0..count).step_by(step) {
            let offset = data.imm.wrapping_add((first as u64) * u64::from(data.ty.bytes()));
            self.load_part(inst, data, address, offset, first..first + step)?;
        }
        Ok(())
    }
    fn load_part(
        &mut self,
        inst: Inst,
        data: &InstData,
        address: Value,
        offset: u64,
        range: std::ops::Range<usize>,
    ) -> Printing {
        let (ty, count) = (data.ty, range.len());
        let (place, space) = self.place(data.attr(), address, offset)?;
        let mut operands = vec![place];
        let hint = self.policy(inst, &mut operands);
        let prefetch = prefetch_size(data.attr());
        let order = ordered(data);
        let (results, kind) = match self.extended_results(inst, range.clone()) {
            Some(found) => found,
            None => (range.map(|n| self.result(inst, n).into()).collect(), bits_name(ty).to_string()),
        };
        let output = vector(results);
        let vec = lanes(count);
        let was_constant = data.attr::<Space>() == Space::Const && space == ".global";
        let head = match data.attr::<Path>() {
            Path::Uniform => format!("ldu{space}{vec}.{kind}"),
            Path::Default if was_constant => format!("ld.global.nc{vec}.{kind}"),
            Path::Default => format!("ld{order}{space}{}{hint}{prefetch}{vec}.{kind}", self.cache(data, space)),
            // It is said of global memory, also where the address is a generic one.
            Path::NonCoherent => match data.attr::<Cache>() {
                Cache::None => format!("ld.global.nc{}{hint}{prefetch}{vec}.{kind}", evict_l1(data.attr())),
                cache => format!("ld.global.{}.nc{hint}{prefetch}{vec}.{kind}", cache.name()),
            },
        };
        if matches!(data.attr(), Space::Param | Space::Const) {
            self.code.put(&head, output, operands);
        } else {
            self.code.act(&head, [output], operands);
        }
        Ok(())
    }
    /// Where small integers are only used extended, all in one way, they are loaded so: the registers, and the type.
    fn extended_results(&mut self, inst: Inst, range: std::ops::Range<usize>) -> Option<(Vec<Operand>, String)> {
        let body = self.body;
        let data = body.inst(inst);
        if !matches!(data.ty, Type::I8 | Type::I16) {
            return None;
        }
        let mut found: Option<(Op, Type)> = None;
        let mut extensions = Vec::new();
        for &result in &body.results(inst)[range] {
            if self.uses(result) == 0 {
                extensions.push(None);
                continue;
            }
            let user = self.only_user(result)?;
            let extension = body.inst(user);
            let same_place = body.spans[user.index()] == body.spans[inst.index()];
            let how = (extension.op, extension.ty);
            let fine = matches!(extension.op, Op::Zext | Op::Sext)
                && extension.ty != Type::I128
                && (same_place || data.ty == Type::I8);
            if !fine || *found.get_or_insert(how) != how {
                return None;
            }
            extensions.push(Some(user));
        }
        let (op, wide) = found?;
        let sign = if op == Op::Sext { Sign::S } else { Sign::U };
        let registers = extensions.into_iter().map(|user| match user {
            Some(user) => {
                self.absorbed[user.index()] = true;
                self.result(user, 0).into()
            }
            None => self.fresh(wide).into(),
        });
        Some((registers.collect(), int_name(data.ty, sign)))
    }

    pub(super) fn store(&mut self, inst: Inst, data: &InstData) -> Printing {
        let body = self.body;
        let (args, _) = body.args_and_policy(inst);
        let (address, values) = (args[0], &args[1..]);
        let most = ((16 / data.ty.bytes().max(1)) as usize).max(1);
        for (n, part) in values.chunks(most).enumerate() {
            let offset = data.imm.wrapping_add((n * most) as u64 * u64::from(data.ty.bytes()));
            let (place, space) = self.place(data.attr(), address, offset)?;
            let mut operands = vec![place, self.stored(part)];
            let hint = self.policy(inst, &mut operands);
            let (order, vec) = (ordered(data), lanes(part.len()));
            let head = format!("st{order}{space}{}{hint}{vec}.{}", self.cache(data, space), bits_name(data.ty));
            self.code.act(&head, [], operands);
        }
        Ok(())
    }
    /// Values as a store takes them: what was cut to a small integer may be stored as it was.
    fn stored(&mut self, values: &[Value]) -> Operand {
        let whole = |p: &Self, v: Value| match p.def_by(v, Op::Trunc) {
            Some((inst, data)) if matches!(data.ty, Type::I8 | Type::I16) => {
                Some(p.body.args(inst)[0]).filter(|v| p.ty(*v).bits() <= 64)
            }
            _ => None,
        };
        let wide: Option<Vec<Value>> = values.iter().map(|v| whole(self, *v)).collect();
        let wide = wide.filter(|all| all.iter().all(|v| class(self.ty(*v)) == class(self.ty(all[0]))));
        let values = wide.unwrap_or_else(|| values.to_vec());
        if let [one] = values[..] {
            if self.ty(one) == Type::I8 {
                return match self.constant(one) {
                    Some(bits) => (bits & 0xff).to_string().into(),
                    None => self.reg(one).into(),
                };
            }
            return self.bits(one);
        }
        Operand::Vector(values.iter().map(|v| self.reg(*v).into()).collect())
    }

    pub(super) fn atom(&mut self, inst: Inst, data: &InstData) -> Printing {
        let group = self.atom_group(inst, data);
        let (op, ty) = (data.attr::<AtomOp>(), data.ty);
        let small = ty.scalar.is_float() && ty.scalar.bits() == 16;
        if matches!(op, AtomOp::FMin | AtomOp::FMax) && (!small || group.len() == 1)
            || ty.lanes > 1 && !matches!(ty, Type::F16X2 | Type::BF16X2)
        {
            return self.no_form(data);
        }
        let (name, kind) = match op {
            AtomOp::Add => ("add", int_name(ty, Sign::U)),
            AtomOp::And | AtomOp::Or | AtomOp::Xor | AtomOp::Exch => (op.name(), bits_name(ty).into()),
            AtomOp::Inc | AtomOp::Dec => (op.name(), "u32".into()),
            AtomOp::SMin => ("min", int_name(ty, Sign::S)),
            AtomOp::SMax => ("max", int_name(ty, Sign::S)),
            AtomOp::UMin => ("min", int_name(ty, Sign::U)),
            AtomOp::UMax => ("max", int_name(ty, Sign::U)),
            AtomOp::FAdd => ("add", float_name(ty).into()),
            AtomOp::FMin => ("min", float_name(ty).into()),
            AtomOp::FMax => ("max", float_name(ty).into()),
        };
        let flush = if small { ".noftz" } else { "" };
        let (args, _) = self.body.args_and_policy(inst);
        let (place, space) = self.place(data.attr(), args[0], data.imm)?;
        let values: Vec<Operand> = group
            .iter()
            .map(|i| {
                let value = self.body.args(*i)[1];
                if group.len() == 1 && !ty.scalar.is_float() && ty != Type::I128 {
                    self.word(value)
                } else if group.len() == 1 && matches!(ty, Type::F32 | Type::F64) {
                    let source = self.source(value);
                    self.float(source, ty)
                } else {
                    self.reg(value).into()
                }
            })
            .collect();
        let mut operands = vec![place, vector(values)];
        let hint = self.policy(inst, &mut operands);
        let unused = group.iter().all(|i| self.uses(self.body.results(*i)[0]) == 0);
        let order = data.attr::<Order>();
        let reduces = unused && matches!(order, Order::Relaxed | Order::Release) && op != AtomOp::Exch;
        let (order, vec) = (ordered(data), lanes(group.len()));
        let rest = format!("{order}{space}.{name}{flush}{hint}{vec}.{kind}");
        if reduces {
            self.code.act(&format!("red{rest}"), [], operands);
        } else {
            let results = group.iter().map(|i| self.result(*i, 0).into()).collect();
            self.code.act(&format!("atom{rest}"), [vector(results)], operands);
        }
        group[1..].iter().for_each(|i| self.absorbed[i.index()] = true);
        Ok(())
    }
    /// The atomics on neighbours that one instruction of the program's text is, this one the first.
    fn atom_group(&self, inst: Inst, data: &InstData) -> Vec<Inst> {
        let body = self.body;
        let alone = vec![inst];
        let float = matches!(data.attr(), AtomOp::FAdd | AtomOp::FMin | AtomOp::FMax);
        let global = matches!(data.attr(), Space::Global | Space::Generic);
        if !float || !global || data.ty == Type::F64 {
            return alone;
        }
        let Some(at) = self.here.iter().position(|i| *i == inst) else { return alone };
        let mut group = alone.clone();
        for &next in &self.here[at + 1..] {
            let other = body.inst(next);
            let offset = data.imm.wrapping_add(group.len() as u64 * u64::from(data.ty.bytes()));
            let follows = other.op == Op::Atom
                && other.attrs == data.attrs
                && other.ty == data.ty
                && other.imm == offset
                && body.spans[next.index()] == body.spans[inst.index()]
                && body.args(next)[0] == body.args(inst)[0];
            if !follows {
                break;
            }
            group.push(next);
        }
        let most = if matches!(data.ty, Type::F16 | Type::BF16) { 8 } else { 4 };
        match group.len() {
            2 | 4 => group,
            8 if most == 8 => group,
            _ => alone,
        }
    }

    pub(super) fn compare_and_swap(&mut self, inst: Inst, data: &InstData) -> Printing {
        let (args, _) = self.body.args_and_policy(inst);
        if !data.ty.scalar.is_int() {
            return self.no_form(data);
        }
        let (place, space) = self.place(data.attr(), args[0], data.imm)?;
        let mut operands = vec![place];
        for value in &args[1..] {
            operands.push(if data.ty == Type::I128 { self.reg(*value).into() } else { self.word(*value) });
        }
        let hint = self.policy(inst, &mut operands);
        let to = self.result(inst, 0);
        let head = format!("atom{}{space}.cas{hint}.{}", ordered(data), bits_name(data.ty));
        self.code.act(&head, [to.into()], operands);
        Ok(())
    }

    pub(super) fn fence(&mut self, data: &InstData) -> Printing {
        let (order, within) = (data.attr::<Order>(), scope(data.attr()));
        let name = order.name();
        let head = match data.attr::<FenceKind>() {
            FenceKind::Memory => format!("fence.{name}{within}"),
            FenceKind::Alias => "fence.proxy.alias".into(),
            FenceKind::Async => "fence.proxy.async".into(),
            FenceKind::AsyncGlobal => "fence.proxy.async.global".into(),
            FenceKind::AsyncShared => "fence.proxy.async.shared::cta".into(),
            FenceKind::AsyncCluster => "fence.proxy.async.shared::cluster".into(),
            FenceKind::TensorMap if order == Order::Release => {
                format!("fence.proxy.tensormap::generic.release{within}")
            }
            // The instruction names the map.
            FenceKind::TensorMap => return self.no_form(data),
            FenceKind::MbarrierInit => "fence.mbarrier_init.release.cluster".into(),
            FenceKind::SyncRestrictCta => "fence.release.sync_restrict::shared::cta.cluster".into(),
            FenceKind::SyncRestrictCluster => "fence.acquire.sync_restrict::shared::cluster.cluster".into(),
            FenceKind::AsyncRestrictCta => {
                "fence.proxy.async::generic.release.sync_restrict::shared::cta.cluster".into()
            }
            FenceKind::AsyncRestrictCluster => {
                "fence.proxy.async::generic.acquire.sync_restrict::shared::cluster.cluster".into()
            }
        };
        self.code.act(&head, [], []);
        Ok(())
    }

    pub(super) fn acquire_map(&mut self, inst: Inst, data: &InstData) -> Printing {
        let map = self.native_generic(self.body.args(inst)[0]);
        let head = format!("fence.proxy.tensormap::generic.acquire{}", scope(data.attr()));
        self.code.act(&head, [], [Operand::at(map, 0), "128".into()]);
        Ok(())
    }

    /// Hints on a place in memory.
    pub(super) fn hint(&mut self, inst: Inst, data: &InstData) -> Printing {
        let address = self.body.args(inst)[0];
        if data.op == Op::PrefetchOp && data.attr::<Level>() == Level::TensorMap {
            // The instruction names no space but where that is constant, or of parameters.
            let map = self.native_generic(address);
            self.code.act("prefetch.tensormap", [], [Operand::at(map, 0)]);
            return Ok(());
        }
        let (place, space) = self.place(data.attr(), address, 0)?;
        let (head, size) = match data.op {
            Op::Discard => (format!("discard{space}.L2"), true),
            Op::ApplyPriority => (format!("applypriority{space}.L2::evict_normal"), true),
            _ => match (data.attr::<Level>(), data.attr::<EvictL2>()) {
                (Level::L1Uniform, _) => ("prefetchu.L1".into(), false),
                (Level::L1, _) => (format!("prefetch{space}.L1"), false),
                (Level::TensorMap, _) => return self.no_form(data),
                (Level::L2, EvictL2::None) => (format!("prefetch{space}.L2"), false),
                (Level::L2, evict) => (format!("prefetch{space}{}", evict_l2(evict)), false),
            },
        };
        let mut operands = vec![place];
        operands.extend(size.then(|| data.imm.to_string().into()));
        self.code.act(&head, [], operands);
        Ok(())
    }

    pub(super) fn create_policy(&mut self, inst: Inst, data: &InstData) -> Printing {
        let (to, args) = (self.result(inst, 0), self.body.args(inst));
        let primary = evict_l2(data.attr());
        let rest = match data.attr::<EvictL2Rest>() {
            EvictL2Rest::None => "",
            EvictL2Rest::Unchanged => ".L2::evict_unchanged",
            EvictL2Rest::First => ".L2::evict_first",
        };
        match data.op {
            Op::CreatePolicy => {
                let source = self.source(args[0]);
                let fraction = self.float(source, Type::F32);
                self.code.put(&format!("createpolicy.fractional{primary}{rest}.b64"), to, [fraction]);
            }
            Op::CreatePolicyRange => {
                let (place, _) = self.place(Space::Global, args[0], 0)?;
                let [size, total] = [args[1], args[2]].map(|v| self.word(v));
                self.code.put(&format!("createpolicy.range.global{primary}{rest}.b64"), to, [place, size, total]);
            }
            _ => {
                let property = self.reg(args[0]);
                self.code.put("createpolicy.cvt.L2.b64", to, [property.into()]);
            }
        }
        Ok(())
    }

    /// The thread's stack.
    pub(super) fn stack(&mut self, inst: Inst, data: &InstData) -> Result<(), Unprintable> {
        let logical = self.cx.logical();
        let delta = self.deltas.local;
        if data.op == Op::StackRestore {
            let mut mark = self.reg(self.body.args(inst)[0]);
            if logical {
                let native = self.fresh(Type::I64);
                self.code.put("add.s64", native, [mark.into(), delta.into()]);
                mark = native;
            }
            self.code.act("stackrestore.u64", [], [mark.into()]);
            return Ok(());
        }
        let to = self.result(inst, 0);
        let native = if logical { self.fresh(Type::I64) } else { to };
        if data.op == Op::Alloca {
            let size = self.word(self.body.args(inst)[0]);
            self.code.act("alloca.u64", [native.into()], [size, data.imm.to_string().into()]);
        } else {
            self.code.act("stacksave.u64", [native.into()], []);
        }
        if logical {
            self.code.put("sub.s64", to, [native.into(), delta.into()]);
        }
        Ok(())
    }
}
