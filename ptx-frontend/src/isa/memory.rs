//! Loads, stores, atomics, fences, addresses and cache hints.

use super::{Form, Lifted, form, written_for};
use crate::ast::{BaseKind, OperandKind};
use crate::lift::{Address, Kind, Lifter, Piece, Place, Ty, Var};
use hetir::attr::{
    AtomOp, Cache, EvictL1, EvictL2, EvictL2Rest, FenceKind, Level, Order, Path, Policy, Prefetch, Scope, Sign, Space,
    Unified,
};
use hetir::build::Attrs;
use hetir::diag::Diagnostic;
use hetir::entity::Value;
use hetir::op::Op;
use hetir::types::Type;

const LOAD_SPACES: &str = "ss=const global local param::entry param::func param shared shared::cta shared::cluster";
const STORE_SPACES: &str = "ss=global local param::func param shared shared::cta shared::cluster";
/// Memory that other threads see: what accesses stronger than weak may touch.
const STRONG_SPACES: &str = "ss=global shared shared::cta shared::cluster";
const LOAD_COP: &str = "cop=ca cg cs lu cv";
const STORE_COP: &str = "cop=wb cg cs wt";
const L1: &str = "l1=L1::evict_normal L1::evict_unchanged L1::evict_first L1::evict_last L1::no_allocate";
const L2: &str = "l2=L2::evict_normal L2::evict_first L2::evict_last";
const HINT: &str = "hint=L2::cache_hint";
const PREFETCH: &str = "pf=L2::64B L2::128B L2::256B";
const VEC: &str = "vec=v2 v4 v8";
const SCOPE: &str = "scope=cta cluster gpu sys";
const TYPES: &str = "type=b8 b16 b32 b64 b128 u8 u16 u32 u64 s8 s16 s32 s64 f32 f64";
const SPACES: &str = "space=const global local shared shared::cta shared::cluster param param::entry";

pub(crate) const FORMS: &[Form] = &[
    form(
        "ld{.weak}{.ss}{.cop}{.hint}{.pf}{.vec}.type d, [a]{, policy}",
        &[LOAD_SPACES, LOAD_COP, HINT, PREFETCH, VEC, TYPES],
        |c| c.load(Order::Weak, Path::Default),
    ),
    form(
        "ld{.weak}{.global}{.l1}{.l2}{.hint}{.pf}{.vec}.type d, [a]{, policy}",
        &[L1, L2, HINT, PREFETCH, VEC, TYPES],
        |c| c.load(Order::Weak, Path::Default),
    ),
    form("ld.volatile{.ss}{.pf}{.vec}.type d, [a]", &[STRONG_SPACES, PREFETCH, VEC, TYPES], |c| {
        c.load(Order::Volatile, Path::Default)
    }),
    form(
        "ld.relaxed.scope{.ss}{.l1}{.l2}{.hint}{.pf}{.vec}.type d, [a]{, policy}",
        &[SCOPE, STRONG_SPACES, L1, L2, HINT, PREFETCH, VEC, TYPES],
        |c| c.load(Order::Relaxed, Path::Default),
    ),
    form(
        "ld.acquire.scope{.ss}{.l1}{.l2}{.hint}{.pf}{.vec}.type d, [a]{, policy}",
        &[SCOPE, STRONG_SPACES, L1, L2, HINT, PREFETCH, VEC, TYPES],
        |c| c.load(Order::Acquire, Path::Default),
    ),
    form("ld.mmio.relaxed.scope{.global}.type d, [a]", &["scope=sys", TYPES], |c| c.load(Order::Mmio, Path::Default)),
    form(
        "ld.global{.cop}.nc{.hint}{.pf}{.vec}.type d, [a]{, policy}",
        &["cop=ca cg cs", HINT, PREFETCH, VEC, TYPES],
        |c| c.load(Order::Weak, Path::NonCoherent),
    ),
    form(
        "ld.global.nc{.l1}{.l2}{.hint}{.pf}{.vec}.type d, [a]{, policy}",
        &[L1, L2, HINT, PREFETCH, VEC, TYPES],
        |c| c.load(Order::Weak, Path::NonCoherent),
    ),
    form("ldu{.global}{.vec}.type d, [a]", &["vec=v2 v4", TYPES], |c| c.load(Order::Weak, Path::Uniform)),
    form(
        "st{.weak}{.ss}{.cop}{.hint}{.vec}.type [a], b{, policy}",
        &[STORE_SPACES, STORE_COP, HINT, VEC, TYPES],
        |c| c.store(Order::Weak),
    ),
    form("st{.weak}{.global}{.l1}{.l2}{.hint}{.vec}.type [a], b{, policy}", &[L1, L2, HINT, VEC, TYPES], |c| {
        c.store(Order::Weak)
    }),
    form("st.volatile{.ss}{.vec}.type [a], b", &[STRONG_SPACES, VEC, TYPES], |c| c.store(Order::Volatile)),
    form(
        "st.relaxed.scope{.ss}{.l1}{.l2}{.hint}{.vec}.type [a], b{, policy}",
        &[SCOPE, STRONG_SPACES, L1, L2, HINT, VEC, TYPES],
        |c| c.store(Order::Relaxed),
    ),
    form(
        "st.release.scope{.ss}{.l1}{.l2}{.hint}{.vec}.type [a], b{, policy}",
        &[SCOPE, STRONG_SPACES, L1, L2, HINT, VEC, TYPES],
        |c| c.store(Order::Release),
    ),
    form("st.mmio.relaxed.scope{.global}.type [a], b", &["scope=sys", TYPES], |c| c.store(Order::Mmio)),
    form(
        "atom{.sem}{.scope}{.ss}.op{.hint}.type d, [a], b{, policy}",
        &[
            "sem=relaxed acquire release acq_rel",
            SCOPE,
            STRONG_SPACES,
            "op=and or xor exch add inc dec min max",
            HINT,
            "type=b32 b64 u32 u64 s32 s64 f32 f64 b128",
        ],
        |c| c.atom(true),
    ),
    form(
        "atom{.sem}{.scope}{.ss}.cas.type d, [a], b, c",
        &["sem=relaxed acquire release acq_rel", SCOPE, STRONG_SPACES, "type=b16 b32 b64 b128"],
        |c| c.cas(),
    ),
    form(
        "atom{.sem}{.scope}{.ss}.add.noftz{.hint}.type d, [a], b{, policy}",
        &["sem=relaxed acquire release acq_rel", SCOPE, STRONG_SPACES, HINT, "type=f16 f16x2 bf16 bf16x2"],
        |c| c.atom(true),
    ),
    form(
        "atom{.sem}{.scope}{.global}.add{.hint}.vec.type d, [a], b{, policy}",
        &["sem=relaxed acquire release acq_rel", SCOPE, HINT, "vec=v2 v4", "type=f32"],
        |c| c.atom(true),
    ),
    form(
        "atom{.sem}{.scope}{.global}.op.noftz{.hint}.vec.type d, [a], b{, policy}",
        &["sem=relaxed acquire release acq_rel", SCOPE, "op=add min max", HINT, VEC, "type=f16 bf16 f16x2 bf16x2"],
        |c| c.atom(true),
    ),
    form(
        "red{.sem}{.scope}{.ss}.op{.hint}.type [a], b{, policy}",
        &[
            "sem=relaxed release",
            SCOPE,
            STRONG_SPACES,
            "op=and or xor add inc dec min max",
            HINT,
            "type=b32 b64 u32 u64 s32 s64 f32 f64",
        ],
        |c| c.atom(false),
    ),
    form(
        "red{.sem}{.scope}{.ss}.add.noftz{.hint}.type [a], b{, policy}",
        &["sem=relaxed release", SCOPE, STRONG_SPACES, HINT, "type=f16 f16x2 bf16 bf16x2"],
        |c| c.atom(false),
    ),
    form(
        "red{.sem}{.scope}{.global}.add{.hint}.vec.type [a], b{, policy}",
        &["sem=relaxed release", SCOPE, HINT, "vec=v2 v4", "type=f32"],
        |c| c.atom(false),
    ),
    form(
        "red{.sem}{.scope}{.global}.op.noftz{.hint}.vec.type [a], b{, policy}",
        &["sem=relaxed release", SCOPE, "op=add min max", HINT, VEC, "type=f16 bf16 f16x2 bf16x2"],
        |c| c.atom(false),
    ),
    form("fence{.sem}.scope", &["sem=sc acq_rel acquire release", SCOPE], |c| {
        let order = match c.word("sem") {
            Some("sc") => Order::SeqCst,
            Some("acquire") => Order::Acquire,
            Some("release") => Order::Release,
            _ => Order::AcqRel,
        };
        let scope = c.scope();
        c.fence(order, scope, FenceKind::Memory)
    }),
    form("fence.acquire.sync_restrict::shared::cluster.cluster", &[], |c| {
        c.fence(Order::Acquire, Scope::Cluster, FenceKind::SyncRestrictCluster)
    }),
    form("fence.release.sync_restrict::shared::cta.cluster", &[], |c| {
        c.fence(Order::Release, Scope::Cluster, FenceKind::SyncRestrictCta)
    }),
    form("fence.mbarrier_init.release.cluster", &[], |c| {
        c.fence(Order::Release, Scope::Cluster, FenceKind::MbarrierInit)
    }),
    form("fence.proxy.alias", &[], |c| c.fence(Order::AcqRel, Scope::Gpu, FenceKind::Alias)),
    form("fence.proxy.async{.ss}", &["ss=global shared::cta shared::cluster"], |c| {
        let kind = match c.word("ss") {
            Some("global") => FenceKind::AsyncGlobal,
            Some("shared::cta") => FenceKind::AsyncShared,
            Some("shared::cluster") => FenceKind::AsyncCluster,
            _ => FenceKind::Async,
        };
        c.fence(Order::AcqRel, Scope::Gpu, kind)
    }),
    form("fence.proxy.async::generic.acquire.sync_restrict::shared::cluster.cluster", &[], |c| {
        c.fence(Order::Acquire, Scope::Cluster, FenceKind::AsyncRestrictCluster)
    }),
    form("fence.proxy.async::generic.release.sync_restrict::shared::cta.cluster", &[], |c| {
        c.fence(Order::Release, Scope::Cluster, FenceKind::AsyncRestrictCta)
    }),
    form("membar.level", &["level=cta gl sys"], |c| {
        let scope = match c.word("level") {
            Some("cta") => Scope::Cta,
            Some("gl") => Scope::Gpu,
            _ => Scope::Sys,
        };
        c.fence(Order::SeqCst, scope, FenceKind::Memory)
    }),
    form("membar.proxy.alias", &[], |c| c.fence(Order::AcqRel, Scope::Gpu, FenceKind::Alias)),
    // 32-bit addresses went with CUDA 13: neither the assembler nor the driver takes a module that has them.
    form("cvta.space.u64 p, a", &[SPACES], |c| c.convert_address(Op::ToGeneric)),
    form("cvta.to.space.u64 p, a", &[SPACES], |c| c.convert_address(Op::FromGeneric)),
    form("isspacep.space p, a", &[SPACES], |c| {
        let space = c.space("space");
        if matches!(c.operand(1).kind, OperandKind::Ref { offset: 0, .. }) {
            return Err(c.error("the name of a variable where a register is needed"));
        }
        let address = c.address(1)?;
        let value = c.add_offset(address);
        let holds = c.op(Attrs::of(Op::IsSpace).with(space), Type::B1, &[value]);
        c.dst(0, Ty::known("pred"), holds)
    }),
    form("prefetch{.space}.level [a]", &["space=global local", "level=L1 L2"], |c| {
        let level = if c.word("level") == Some("L1") { Level::L1 } else { Level::L2 };
        c.prefetch(level, EvictL2::None)
    }),
    form("prefetch.space.l2 [a]", &["space=global", "l2=L2::evict_last L2::evict_normal"], |c| {
        let evict = if c.word("l2") == Some("L2::evict_last") { EvictL2::Last } else { EvictL2::Normal };
        c.prefetch(Level::L2, evict)
    }),
    form("prefetchu.L1 [a]", &[], |c| c.prefetch(Level::L1Uniform, EvictL2::None)),
    form("discard{.global}.L2 [a], size", &[], |c| {
        let attrs = Attrs::of(Op::Discard).with(Level::L2);
        c.range_hint(attrs)
    }),
    form("applypriority{.global}.L2::evict_normal [a], size", &[], |c| {
        let attrs = Attrs::of(Op::ApplyPriority).with(Level::L2);
        c.range_hint(attrs)
    }),
    form("createpolicy.fractional.primary{.secondary}.b64 d{, fraction}", &[PRIMARY, SECONDARY], |c| {
        let fraction =
            if c.operand_count() == 2 { c.src(1, Ty::known("f32"))? } else { c.constant(Type::F32, 0x3f80_0000) };
        let attrs = c.policy_attrs(Op::CreatePolicy);
        let policy = c.op(attrs, Type::I64, &[fraction]);
        c.dst(0, Ty::known("u64"), policy)
    }),
    form("createpolicy.range{.global}.primary{.secondary}.b64 d, [a], primary, total", &[PRIMARY, SECONDARY], |c| {
        let address = c.address(1)?;
        if !matches!(address.space, None | Some(Space::Global)) {
            return Err(c.error("a policy is for a range of global memory"));
        }
        let address = c.add_offset(address);
        let (primary, total) = (c.src_u32(2)?, c.src_u32(3)?);
        let attrs = c.policy_attrs(Op::CreatePolicyRange);
        let policy = c.op(attrs, Type::I64, &[address, primary, total]);
        c.dst(0, Ty::known("u64"), policy)
    }),
    form("createpolicy.cvt.L2.b64 d, a", &[], |c| {
        let property = c.src(1, Ty::known("u64"))?;
        let policy = c.op(Op::CreatePolicyCvt, Type::I64, &[property]);
        c.dst(0, Ty::known("u64"), policy)
    }),
    form("alloca.type d, size{, align}", &["type=u32 u64"], |c| {
        let ty = c.ty()?;
        let size = c.src(1, ty)?;
        let size = if ty.ir == Type::I32 { c.op(Op::Zext, Type::I64, &[size]) } else { size };
        let align = if c.operand_count() == 3 { c.constant_operand(2)? } else { 8 };
        if !align.is_power_of_two() || align > 1 << 16 {
            return Err(c.error("the alignment is a power of two"));
        }
        let address = c.op_imm(Op::Alloca, Type::I64, align, &[size]);
        c.dst_address(ty, address)
    }),
    form("stacksave.type d", &["type=u32 u64"], |c| {
        let ty = c.ty()?;
        let mark = c.op(Op::StackSave, Type::I64, &[]);
        c.dst_address(ty, mark)
    }),
    form("stackrestore.type a", &["type=u32 u64"], |c| {
        let ty = c.ty()?;
        if !matches!(c.operand(0).kind, OperandKind::Reg { .. }) {
            return Err(c.error("the stack's mark is in a register"));
        }
        let mark = c.src(0, ty)?;
        let mark = if ty.ir == Type::I32 { c.op(Op::Zext, Type::I64, &[mark]) } else { mark };
        c.effect(Op::StackRestore, Type::B1, 0, &[mark]);
        Ok(())
    }),
];

const PRIMARY: &str = "primary=L2::evict_last L2::evict_normal L2::evict_first L2::evict_unchanged";
const SECONDARY: &str = "secondary=L2::evict_first L2::evict_unchanged";

/// A piece of a parameter and the variable that holds it.
type PieceVar = (Piece, Var);
type Pieces = Vec<PieceVar>;

impl Lifter<'_, '_> {
    /// The state space that a part of the opcode names; generic where it is left out.
    pub(crate) fn space(&self, part: &str) -> Space {
        match self.word(part) {
            Some("const") => Space::Const,
            Some("global") => Space::Global,
            Some("local") => Space::Local,
            Some("shared" | "shared::cta") => Space::Shared,
            Some("shared::cluster") => Space::Cluster,
            Some("param" | "param::entry" | "param::func") => Space::Param,
            _ if self.has("global") => Space::Global,
            _ => Space::Generic,
        }
    }
    pub(crate) fn scope(&self) -> Scope {
        match self.word("scope") {
            Some("cta") => Scope::Cta,
            Some("cluster") => Scope::Cluster,
            Some("gpu") => Scope::Gpu,
            Some("sys") => Scope::Sys,
            _ => Scope::None,
        }
    }
    /// Adds the cache hints of an access.
    fn hints(&self, attrs: Attrs) -> Result<Attrs, Box<Diagnostic>> {
        let hint = ["l1", "l2", "pf", "hint"].into_iter().find_map(|part| self.word(part));
        if let Some(hint) = hint
            && !matches!(self.space("ss"), Space::Global | Space::Generic)
        {
            return Err(self.error(format!("`.{hint}` is for global memory")));
        }
        let cache = match self.word("cop") {
            Some("ca") => Cache::Ca,
            Some("cg") => Cache::Cg,
            Some("cs") => Cache::Cs,
            Some("lu") => Cache::Lu,
            Some("cv") => Cache::Cv,
            Some("wb") => Cache::Wb,
            Some("wt") => Cache::Wt,
            _ => Cache::None,
        };
        let l1 = match self.word("l1") {
            Some("L1::evict_normal") => EvictL1::Normal,
            Some("L1::evict_unchanged") => EvictL1::Unchanged,
            Some("L1::evict_first") => EvictL1::First,
            Some("L1::evict_last") => EvictL1::Last,
            Some("L1::no_allocate") => EvictL1::NoAllocate,
            _ => EvictL1::None,
        };
        let l2 = match self.word("l2") {
            Some("L2::evict_normal") => EvictL2::Normal,
            Some("L2::evict_first") => EvictL2::First,
            Some("L2::evict_last") => EvictL2::Last,
            _ => EvictL2::None,
        };
        Ok(attrs.with(cache).with(l1).with(l2))
    }
    /// The policy operand that `.L2::cache_hint` announces, as the last argument.
    pub(crate) fn policy(&mut self, n: usize, attrs: Attrs, args: &mut Vec<Value>) -> Result<Attrs, Box<Diagnostic>> {
        match (self.has("hint"), self.operand_count() > n) {
            (false, false) => Ok(attrs),
            (true, true) => {
                args.push(self.src(n, Ty::known("u64"))?);
                Ok(attrs.with(Policy::Yes))
            }
            (true, false) => Err(self.error("`.L2::cache_hint` needs a cache policy as the last operand")),
            (false, true) => Err(self.error("a cache policy needs `.L2::cache_hint`")),
        }
    }
    pub(crate) fn lanes(&self) -> usize {
        match self.word("vec") {
            Some("v2") => 2,
            Some("v4") => 4,
            Some("v8") => 8,
            _ => 1,
        }
    }
    fn vector_fits(&self, ty: Ty) -> Lifted {
        let (lanes, bits) = (self.lanes(), ty.ir.bits());
        let total = lanes as u32 * bits;
        if lanes > 1 && bits == 128 || total > 256 || (lanes == 8 && bits != 32) {
            return Err(self.error(format!("{lanes} values of .{} are more than one access can move", ty.name)));
        }
        if total == 256 && written_for(self.ast).1 < 100 {
            return Err(self.error("accesses of 256 bits need the target sm_100 or newer"));
        }
        if total == 256 && !matches!(self.space("ss"), Space::Global | Space::Generic) {
            return Err(self.error("accesses of 256 bits are for global memory"));
        }
        if total != 256 && self.has("l2") {
            return Err(self.error("an L2 eviction priority needs an access of 256 bits"));
        }
        Ok(())
    }
    /// The state space of an access: what the opcode says. Parameters of device functions live in local memory where
    /// their address is known only at run time.
    pub(crate) fn access_space(&self, address: &Address, space: Space) -> Result<Space, Box<Diagnostic>> {
        let space = match (space, address.space) {
            (Space::Param, Some(Space::Local)) => Space::Local,
            (Space::Param, None) if !self.function.is_kernel => Space::Local,
            (Space::Generic, Some(own @ (Space::Const | Space::Param))) => {
                return Err(self.error(format!("a variable in {} memory is only accessed with its space", own.name())));
            }
            // A variable's name without a space: the address is the one in the variable's own space.
            (Space::Generic, Some(own)) => own,
            (s, _) => s,
        };
        if let Some(own) = address.space
            && own != space
            && !(own == Space::Shared && space == Space::Cluster)
        {
            return Err(self.error(format!("the variable lies in {} memory, not in {}", own.name(), space.name())));
        }
        Ok(space)
    }
    fn load(&mut self, order: Order, path: Path) -> Lifted {
        let ty = self.ty()?;
        self.vector_fits(ty)?;
        if let Some((pieces, offset)) = self.param_pieces(1)? {
            return self.load_pieces(ty, &pieces, offset);
        }
        let address = self.address(1)?;
        let named = if path == Path::Uniform && !self.has("global") { Space::Generic } else { self.space("ss") };
        let space = self.access_space(&address, named)?;
        let prefetch = match self.word("pf") {
            Some("L2::64B") => Prefetch::B64,
            Some("L2::128B") => Prefetch::B128,
            Some("L2::256B") => Prefetch::B256,
            _ => Prefetch::None,
        };
        let unified = if self.inst.unified { Unified::Yes } else { Unified::No };
        let attrs = self.hints(Attrs::of(Op::Load))?.with(space).with(order).with(self.scope());
        let attrs = attrs.with(prefetch).with(path).with(unified);
        let mut args = vec![address.base];
        let attrs = self.policy(2, attrs, &mut args)?;
        let count = self.lanes();
        let values = self.op_many_imm(attrs, ty.ir, address.offset as u64, &args, &vec![ty.ir; count]);
        self.dst_elements(0, ty, &values, true)
    }
    fn store(&mut self, order: Order) -> Lifted {
        let ty = self.ty()?;
        self.vector_fits(ty)?;
        let count = self.lanes();
        if let Some((pieces, offset)) = self.param_pieces(0)? {
            let values = self.src_elements(1, ty, count, true)?;
            return self.store_pieces(ty, &pieces, offset, &values);
        }
        let address = self.address(0)?;
        let space = self.access_space(&address, self.space("ss"))?;
        if matches!(space, Space::Const | Space::Param) {
            return Err(self.error(format!("{} memory cannot be written", space.name())));
        }
        let attrs = self.hints(Attrs::of(Op::Store))?.with(space).with(order).with(self.scope());
        let mut args = vec![address.base];
        args.extend(self.src_elements(1, ty, count, true)?);
        let attrs = self.policy(2, attrs, &mut args)?;
        self.effect(attrs, ty.ir, address.offset as u64, &args);
        Ok(())
    }

    /// The pieces of a `.param` variable that an address operand names, and the offset in it.
    fn param_pieces(&self, n: usize) -> Result<Option<(Pieces, u32)>, Box<Diagnostic>> {
        if self.space("ss") != Space::Param {
            return Ok(None);
        }
        let OperandKind::Mem { base, offset } = self.operand(n).kind else { return Ok(None) };
        let BaseKind::Var(var) = base.kind() else { return Ok(None) };
        match self.place(var) {
            Place::Pieces(pieces) => {
                let offset = u32::try_from(offset).map_err(|_| self.error("the offset lies outside the parameter"))?;
                Ok(Some((pieces.clone(), offset)))
            }
            _ => Ok(None),
        }
    }
    fn load_pieces(&mut self, ty: Ty, pieces: &[PieceVar], offset: u32) -> Lifted {
        let mut values = Vec::new();
        for n in 0..self.lanes() as u32 {
            let at = offset.saturating_add(n * ty.ir.bytes());
            values.push(self.load_part(pieces, at, ty.ir.as_int())?);
        }
        let values: Vec<Value> = values.into_iter().map(|v| self.cast(v, ty.ir)).collect();
        self.dst_elements(0, ty, &values, true)
    }
    /// A part of a parameter: a piece, a part of one, or several put together.
    fn load_part(&mut self, pieces: &[PieceVar], at: u32, part: Type) -> Result<Value, Box<Diagnostic>> {
        let (piece, var) = self.piece_of(pieces, at)?;
        if piece.ty.bits() > part.bits() && (at - piece.offset).is_multiple_of(part.bytes()) {
            let whole = self.read_var(var);
            let count = (piece.ty.bits() / part.bits()) as usize;
            let parts = self.op_many(Op::Unpack, part, &[whole], &vec![part; count]);
            return Ok(parts[((at - piece.offset) / part.bytes()) as usize]);
        }
        if piece.ty.bits() == part.bits() && at == piece.offset {
            return Ok(self.read_var(var));
        }
        let Some(half) = Type::int(part.bits() / 2) else {
            return Err(self.error("the access does not fit the parameter"));
        };
        let halves = [self.load_part(pieces, at, half)?, self.load_part(pieces, at + half.bytes(), half)?];
        Ok(self.op_many(Op::Pack, part, &halves, &[part])[0])
    }
    fn piece_of(&self, pieces: &[PieceVar], byte: u32) -> Result<PieceVar, Box<Diagnostic>> {
        let found = pieces.iter().copied().find(|(p, _)| (p.offset..p.offset + p.ty.bytes()).contains(&byte));
        found.ok_or_else(|| self.error(format!("byte {byte} lies outside the parameter")))
    }
    fn store_pieces(&mut self, ty: Ty, pieces: &[PieceVar], offset: u32, values: &[Value]) -> Lifted {
        for (n, &value) in (0..).zip(values) {
            let value = self.cast(value, ty.ir.as_int());
            self.store_part(pieces, offset.saturating_add(n * ty.ir.bytes()), value)?;
        }
        Ok(())
    }
    fn store_part(&mut self, pieces: &[PieceVar], at: u32, value: Value) -> Lifted {
        let part = self.body.ty(value);
        let (piece, var) = self.piece_of(pieces, at)?;
        if piece.ty.bits() > part.bits() && (at - piece.offset).is_multiple_of(part.bytes()) {
            let whole = self.read_var(var);
            let count = (piece.ty.bits() / part.bits()) as usize;
            let mut parts = self.op_many(Op::Unpack, part, &[whole], &vec![part; count]);
            parts[((at - piece.offset) / part.bytes()) as usize] = value;
            let whole = self.op_many(Op::Pack, piece.ty, &parts, &[piece.ty])[0];
            self.write_var(var, whole);
            return Ok(());
        }
        if piece.ty.bits() == part.bits() && at == piece.offset {
            self.write_var(var, value);
            return Ok(());
        }
        let Some(half) = Type::int(part.bits() / 2) else {
            return Err(self.error("the access does not fit the parameter"));
        };
        let halves = self.op_many(Op::Unpack, half, &[value], &[half; 2]);
        self.store_part(pieces, at, halves[0])?;
        self.store_part(pieces, at + half.bytes(), halves[1])
    }

    fn atomic_attrs(&self, op: Op) -> Attrs {
        // Without a semantics an atomic is relaxed, without a scope it is the device's.
        let order = match self.word("sem") {
            Some("acquire") => Order::Acquire,
            Some("release") => Order::Release,
            Some("acq_rel") => Order::AcqRel,
            _ => Order::Relaxed,
        };
        let scope = if self.has("scope") { self.scope() } else { Scope::Gpu };
        Attrs::of(op).with(order).with(scope)
    }
    fn atomic_space(&self, address: &Address) -> Result<Space, Box<Diagnostic>> {
        match self.access_space(address, self.space("ss"))? {
            Space::Local => Err(self.error("a local variable has no atomics")),
            space => Ok(space),
        }
    }
    fn atom(&mut self, returns: bool) -> Lifted {
        let ty = self.ty()?;
        let (float, signed) = (ty.kind == Kind::Float, ty.sign == Sign::S);
        let word = self.word("op").unwrap_or("add");
        let op = match word {
            "add" if float => AtomOp::FAdd,
            "min" if float => AtomOp::FMin,
            "max" if float => AtomOp::FMax,
            "add" => AtomOp::Add,
            "and" => AtomOp::And,
            "or" => AtomOp::Or,
            "xor" => AtomOp::Xor,
            "exch" => AtomOp::Exch,
            "inc" => AtomOp::Inc,
            "dec" => AtomOp::Dec,
            "min" => {
                if signed {
                    AtomOp::SMin
                } else {
                    AtomOp::UMin
                }
            }
            _ => {
                if signed {
                    AtomOp::SMax
                } else {
                    AtomOp::UMax
                }
            }
        };
        let legal = match word {
            "and" | "or" | "xor" => matches!(ty.name, "b32" | "b64"),
            "exch" => matches!(ty.name, "b32" | "b64" | "b128"),
            "inc" | "dec" => ty.name == "u32",
            "add" => float || matches!(ty.name, "u32" | "s32" | "u64"),
            _ => matches!(ty.name, "u32" | "s32" | "u64" | "s64") || self.has("noftz"),
        };
        if !legal {
            return Err(self.error(format!("there is no atomic `.{word}` of .{}", ty.name)));
        }
        let count = self.lanes();
        if count as u32 * ty.ir.bits() > 128 {
            return Err(self.error(format!("{count} values of .{} are more than one atomic can take", ty.name)));
        }
        let (place, value_at) = if returns { (1, 2) } else { (0, 1) };
        let address = self.address(place)?;
        let space = self.atomic_space(&address)?;
        let attrs = self.atomic_attrs(Op::Atom).with(op).with(space);
        let values = self.src_elements(value_at, ty, count, false)?;
        let mut policy = Vec::new();
        let attrs = self.policy(value_at + 1, attrs, &mut policy)?;
        let mut old = Vec::new();
        for (n, value) in values.into_iter().enumerate() {
            let mut args = vec![address.base, value];
            args.extend(&policy);
            let offset = address.offset.wrapping_add(n as i64 * i64::from(ty.ir.bytes()));
            old.extend(self.op_many_imm(attrs, ty.ir, offset as u64, &args, &[ty.ir]));
        }
        if returns { self.dst_elements(0, ty, &old, false) } else { Ok(()) }
    }
    fn cas(&mut self) -> Lifted {
        let ty = self.ty()?;
        let address = self.address(1)?;
        let args = [address.base, self.src(2, ty)?, self.src(3, ty)?];
        let attrs = self.atomic_attrs(Op::Cas).with(self.atomic_space(&address)?);
        let old = self.op_imm(attrs, ty.ir, address.offset as u64, &args);
        self.dst(0, ty, old)
    }
    pub(super) fn fence(&mut self, order: Order, scope: Scope, kind: FenceKind) -> Lifted {
        self.effect(Attrs::of(Op::Fence).with(order).with(scope).with(kind), Type::B1, 0, &[]);
        Ok(())
    }
    fn convert_address(&mut self, op: Op) -> Lifted {
        let ty = Ty::known("u64");
        let space = self.space("space");
        let value = match self.operand(1).kind {
            OperandKind::Ref { .. } => {
                let address = self.address(1)?;
                self.access_space(&address, space)?;
                self.add_offset(address)
            }
            _ => self.src(1, ty)?,
        };
        let result = self.op(Attrs::of(op).with(space), Type::I64, &[value]);
        self.dst(0, ty, result)
    }
    pub(super) fn dst_address(&mut self, ty: Ty, value: Value) -> Lifted {
        let value = if ty.ir == Type::I32 { self.op(Op::Trunc, Type::I32, &[value]) } else { value };
        self.dst(0, ty, value)
    }
    fn prefetch(&mut self, level: Level, evict: EvictL2) -> Lifted {
        let space = self.space("space");
        let address = self.address(0)?;
        self.access_space(&address, space)?;
        if level == Level::L1Uniform && !matches!(address.space, None | Some(Space::Global)) {
            return Err(self.error("the uniform cache is for generic addresses"));
        }
        let address = self.add_offset(address);
        self.effect(Attrs::of(Op::PrefetchOp).with(space).with(level).with(evict), Type::B1, 0, &[address]);
        Ok(())
    }
    fn range_hint(&mut self, attrs: Attrs) -> Lifted {
        let space = if self.has("global") { Space::Global } else { Space::Generic };
        let address = self.address(0)?;
        let address = self.add_offset(address);
        let size = self.constant_operand(1)?;
        if size != 128 {
            return Err(self.error("the size must be 128"));
        }
        self.effect(attrs.with(space), Type::B1, size, &[address]);
        Ok(())
    }
    fn policy_attrs(&self, op: Op) -> Attrs {
        let primary = match self.word("primary") {
            Some("L2::evict_last") => EvictL2::Last,
            Some("L2::evict_first") => EvictL2::First,
            Some("L2::evict_unchanged") => EvictL2::Unchanged,
            _ => EvictL2::Normal,
        };
        let rest = match self.word("secondary") {
            Some("L2::evict_first") => EvictL2Rest::First,
            Some("L2::evict_unchanged") => EvictL2Rest::Unchanged,
            _ => EvictL2Rest::None,
        };
        Attrs::of(op).with(primary).with(rest)
    }
}
