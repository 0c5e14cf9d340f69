//! What the functions of one text share: what the kernel reaches, names, and what the text turns out to need.

use super::call::Extra;
use super::{Addresses, Hidden, Part, Request, Unprintable};
use hetir::attr::{Space, Sreg, Syscall};
use hetir::diag::Span;
use hetir::entity::{FuncId, GlobalId, SigId};
use hetir::interp::SharedLayout;
use hetir::ir::{Module, RelocationTarget, Signature};
use hetir::op::Op;
use std::collections::{BTreeSet, HashSet};

/// Names that a text has of its own, or that mean something to the compiler.
pub(super) const SHARED: &str = "hetgpu_shared";
pub(super) const LOCAL: &str = "hetgpu_local";

/// Windows of generic addresses that pointers of the program may lie in.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Windows {
    pub(super) shared: bool,
    pub(super) local: bool,
    pub(super) param: bool,
}

impl Windows {
    pub(super) fn any(self) -> bool {
        self.shared || self.local || self.param
    }
}

/// What one text needs to know.
pub(super) struct Context<'a> {
    pub(super) request: &'a Request<'a>,
    /// Device functions that the kernel reaches, callees first where they do not call each other.
    pub(super) functions: Vec<FuncId>,
    /// Functions whose address is taken.
    taken: BTreeSet<usize>,
    /// Where shared variables lie in hetIR.
    pub(super) layout: SharedLayout,
    pub(super) windows: Windows,
    /// What every called function is given by its caller.
    pub(super) extras: Vec<Extra>,
    /// Numbers of the barriers that the program uses, where all are known.
    pub(super) barriers: Option<BTreeSet<u64>>,
    // What the text needs, found while it is printed.
    pub(super) hidden: BTreeSet<Hidden>,
    pub(super) syscalls: BTreeSet<Syscall>,
    pub(super) shared: BTreeSet<usize>,
    pub(super) constants: BTreeSet<usize>,
    /// Variables whose logical addresses are constants of the text: the compiler would take a number apart for each use.
    pub(super) addresses: BTreeSet<usize>,
    pub(super) separate_samplers: bool,
    /// There is a word behind dynamic shared memory, in which threads tell that they leave.
    pub(super) tells: bool,
}

impl<'a> Context<'a> {
    pub(super) fn of(request: &'a Request<'a>) -> Result<Self, Unprintable> {
        let module = request.module;
        let taken = taken(module);
        let mut walk = Walk { module, taken: &taken, seen: HashSet::new(), order: Vec::new() };
        walk.visit(request.kernel)?;
        let mut functions = walk.order;
        functions.retain(|f| *f != request.kernel);
        let (windows, barriers) = windows(module, &functions, request.kernel);
        let mut cx = Self {
            request,
            extras: Vec::new(),
            functions,
            taken,
            layout: SharedLayout::of(module, request.kernel),
            windows,
            barriers,
            hidden: BTreeSet::new(),
            syscalls: BTreeSet::new(),
            shared: BTreeSet::new(),
            constants: BTreeSet::new(),
            addresses: BTreeSet::new(),
            separate_samplers: false,
            tells: false,
        };
        cx.extras = cx.find_extras();
        Ok(cx)
    }

    fn find_extras(&self) -> Vec<Extra> {
        let mut found = BTreeSet::new();
        if self.logical() {
            found.insert(Extra::Local);
            found.extend(self.windows.param.then_some(Extra::Params));
        }
        let functions = self.functions.iter().filter_map(|f| self.request.module.functions[f.index()].body.as_ref());
        for data in functions.flat_map(|body| body.blocks.iter().flat_map(|b| &b.insts).map(|i| body.inst(*i))) {
            if data.op == Op::Sreg {
                found.extend(self.replaced(data.attr(), data.imm));
            }
        }
        found.into_iter().collect()
    }

    /// What stands for a register that is not the hardware's.
    pub(super) fn replaced(&self, sreg: Sreg, number: u64) -> Option<Extra> {
        use Sreg::*;
        let part = self.request.part != Part::Whole;
        match sreg {
            EnvReg if number == 1 => Some(Extra::Hidden(Hidden::Workspace, 4)),
            EnvReg if number == 2 => Some(Extra::Hidden(Hidden::Workspace, 0)),
            Sreg::GridId => Some(Extra::Hidden(Hidden::GridId, 0)),
            NctaidX | NctaidY | NctaidZ if part => {
                Some(Extra::Hidden(Hidden::Grid, 4 * (sreg as u32 - NctaidX as u32)))
            }
            CtaidX | CtaidY | CtaidZ if part => Some(Extra::Block(sreg as usize - CtaidX as usize)),
            // Parts are launched of grids without clusters, in which each block is one.
            NClusterIdX | NClusterIdY | NClusterIdZ if part => {
                Some(Extra::Hidden(Hidden::Grid, 4 * (sreg as u32 - NClusterIdX as u32)))
            }
            ClusterIdX | ClusterIdY | ClusterIdZ if part => Some(Extra::Block(sreg as usize - ClusterIdX as usize)),
            DynamicSharedSize if self.logical() => Some(Extra::Hidden(Hidden::DynamicShared, 0)),
            _ => None,
        }
    }

    /// Functions whose address is taken.
    pub(super) fn taken(&self) -> &BTreeSet<usize> {
        &self.taken
    }
    pub(super) fn logical(&self) -> bool {
        self.request.addresses == Addresses::Logical
    }
    /// The functions that an address may stand for where it is called with a signature.
    pub(super) fn candidates(&self, signature: SigId) -> Vec<FuncId> {
        let Some(signature) = self.request.module.signatures.get(signature.index()) else { return Vec::new() };
        candidates(self.request.module, &self.taken, signature).collect()
    }
    /// What a function is called in the text.
    pub(super) fn function_name(&self, function: FuncId) -> String {
        let name = &self.request.module.functions[function.index()].name;
        if function == self.request.kernel {
            entry_name(name)
        } else {
            format!("f{}_{}", function.index(), plain(name))
        }
    }
    /// What a shared variable is called.
    pub(super) fn shared_name(global: GlobalId) -> String {
        format!("shared_{}", global.index())
    }
    /// What the constant is called that holds a variable's address.
    pub(super) fn address_constant(&mut self, global: GlobalId) -> String {
        self.addresses.insert(global.index());
        address_name(global.index())
    }
    /// A parameter that the kernel does not know of, by its name in the text.
    pub(super) fn hidden(&mut self, hidden: Hidden) -> String {
        self.hidden.insert(hidden);
        hidden_name(hidden)
    }
    /// Formats of less than a byte, and those of six bits.
    pub(super) fn has_small_formats(&self) -> bool {
        self.request.target.compute.0 >= 10 && self.request.target.architecture_specific
    }
}

pub(super) fn address_name(global: usize) -> String {
    format!("address_{global}")
}

pub(super) fn hidden_name(hidden: Hidden) -> String {
    format!("hetgpu_{hidden:?}").to_lowercase()
}

/// The letters of a name that an identifier may have.
fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect()
}

/// A kernel keeps its name where it can, so that tools show it.
pub(super) fn entry_name(name: &str) -> String {
    let fine = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.len() > 1
        && !name.starts_with("hetgpu_")
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '$'));
    if fine { name.to_string() } else { format!("kernel_{}", plain(name)) }
}

fn taken(module: &Module) -> BTreeSet<usize> {
    let relocations = module.globals.iter().flat_map(|g| &g.relocations).filter_map(|r| match r.target {
        RelocationTarget::Func(f) => Some(f.index()),
        RelocationTarget::Global(_) => None,
    });
    let bodies = module.functions.iter().filter_map(|f| f.body.as_ref());
    let named = bodies.flat_map(|body| body.blocks.iter().flat_map(|b| &b.insts).map(|i| body.inst(*i)));
    let named = named.filter(|data| data.op == Op::FuncAddr).map(|data| data.imm as usize);
    relocations.chain(named).collect()
}

fn candidates<'m>(
    module: &'m Module,
    taken: &'m BTreeSet<usize>,
    signature: &'m Signature,
) -> impl Iterator<Item = FuncId> + 'm {
    let fits = move |f: &usize| {
        module.functions.get(*f).is_some_and(|f| !f.is_kernel() && f.body.is_some() && f.signature == *signature)
    };
    taken.iter().copied().filter(fits).map(FuncId::new)
}

struct Walk<'m> {
    module: &'m Module,
    taken: &'m BTreeSet<usize>,
    seen: HashSet<usize>,
    order: Vec<FuncId>,
}

impl Walk<'_> {
    fn visit(&mut self, start: FuncId) -> Result<(), Unprintable> {
        // A stack of its own: functions may call each other very deep.
        let mut stack = vec![(start, self.callees(start)?)];
        self.seen.insert(start.index());
        while let Some((function, callees)) = stack.last_mut() {
            match callees.pop() {
                Some(next) => {
                    if self.seen.insert(next.index()) {
                        let callees = self.callees(next)?;
                        stack.push((next, callees));
                    }
                }
                None => {
                    self.order.push(*function);
                    stack.pop();
                }
            }
        }
        Ok(())
    }
    fn callees(&self, function: FuncId) -> Result<Vec<FuncId>, Unprintable> {
        let Some(f) = self.module.functions.get(function.index()) else { return Ok(Vec::new()) };
        let Some(body) = &f.body else {
            let what = format!("the function `{}`, which has no body,", f.name);
            return Err(Unprintable { what, function: f.name.clone(), span: Span::default() });
        };
        let mut all = Vec::new();
        for data in body.blocks.iter().flat_map(|b| &b.insts).map(|i| body.inst(*i)) {
            match data.op {
                Op::Call => all.push(FuncId::new(data.imm as usize)),
                Op::CallIndirect => {
                    if let Some(signature) = self.module.signatures.get(data.imm as usize) {
                        all.extend(candidates(self.module, self.taken, signature));
                    }
                }
                _ => {}
            }
        }
        Ok(all)
    }
}

/// Which windows the functions' pointers may lie in, and the numbers of their barriers.
fn windows(module: &Module, functions: &[FuncId], kernel: FuncId) -> (Windows, Option<BTreeSet<u64>>) {
    let mut windows = Windows::default();
    let mut barriers = Some(BTreeSet::new());
    windows.shared = module.globals.iter().flat_map(|g| &g.relocations).any(|r| match r.target {
        RelocationTarget::Global(g) => {
            r.generic && module.globals.get(g.index()).is_some_and(|g| g.space == Space::Shared)
        }
        RelocationTarget::Func(_) => false,
    });
    for function in functions.iter().chain([&kernel]) {
        let Some(body) = module.functions.get(function.index()).and_then(|f| f.body.as_ref()) else { continue };
        for &inst in body.blocks.iter().flat_map(|b| &b.insts) {
            let data = body.inst(inst);
            match data.op {
                Op::ToGeneric => match data.attr() {
                    Space::Shared | Space::Cluster => windows.shared = true,
                    Space::Local => windows.local = true,
                    Space::Param => windows.param = true,
                    Space::Generic | Space::Global | Space::Const => {}
                },
                Op::Barrier | Op::BarrierArrive | Op::BarrierRed => {
                    let number = body.args(inst).first().and_then(|v| body.constant(*v));
                    match (number, &mut barriers) {
                        (Some(number), Some(all)) => _ = all.insert(number),
                        _ => barriers = None,
                    }
                }
                _ => {}
            }
        }
    }
    (windows, barriers)
}
