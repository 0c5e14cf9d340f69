//! Tensor maps, and copies of boxes of tensors by them.

use super::{Form, Lifted, form};
use crate::ast::{Operand, OperandKind};
use crate::lift::{Lifter, Ty};
use hetir::attr::{FenceKind, Level, MapField, MapReduction, Multicast, Order, Policy, Space, Sreg};
use hetir::build::Attrs;
use hetir::diag::Diagnostic;
use hetir::entity::Value;
use hetir::op::Op;
use hetir::tensor_map::BYTES;
use hetir::types::Type;

const DIM: &str = "dim=1d 2d 3d 4d 5d";
const TILE: &str = "load_mode=tile";
const HINT: &str = "level::cache_hint=L2::cache_hint";
const SCOPE: &str = "scope=cta cluster gpu sys";
const SPACE: &str = "ss=global shared::cta";

pub(crate) const FORMS: &[Form] = &[
    form(
        "tensormap.replace.tile.field{.ss}.b1024.type [addr], value",
        &["field=global_address", SPACE, "type=b64"],
        |c| c.replace_field(false),
    ),
    form(
        "tensormap.replace.tile.field{.ss}.b1024.type [addr], value",
        &["field=rank elemtype interleave_layout swizzle_mode swizzle_atomicity fill_mode", SPACE, "type=b32"],
        |c| c.replace_field(false),
    ),
    form(
        "tensormap.replace.tile.field{.ss}.b1024.type [addr], ord, value",
        &["field=global_stride", SPACE, "type=b64"],
        |c| c.replace_field(true),
    ),
    form(
        "tensormap.replace.tile.field{.ss}.b1024.type [addr], ord, value",
        &["field=box_dim global_dim element_stride", SPACE, "type=b32"],
        |c| c.replace_field(true),
    ),
    form(
        "tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release.scope.sync.aligned [dst], [src], size",
        &[SCOPE],
        |c| c.copy_map(),
    ),
    form("fence.proxy.tensormap::generic.release.scope", &[SCOPE], |c| {
        let scope = c.scope();
        c.fence(Order::Release, scope, FenceKind::TensorMap)
    }),
    form("fence.proxy.tensormap::generic.acquire.scope [addr], size", &[SCOPE], |c| {
        let map = c.whole_address(0, Space::Generic)?;
        c.whole_map(1)?;
        let scope = c.scope();
        c.effect(Attrs::of(Op::TensorMapAcquire).with(scope), Type::B1, 0, &[map]);
        Ok(())
    }),
    form("prefetch{.space}.tensormap [a]", &["space=const param"], |c| {
        let operand = c.operand(0);
        let map = c.map_at(operand)?;
        let attrs = Attrs::of(Op::PrefetchOp).with(Space::Generic).with(Level::TensorMap);
        c.effect(attrs, Type::B1, 0, &[map]);
        Ok(())
    }),
    form(
        "cp.async.bulk.tensor.dim.dst.global{.load_mode}.mbarrier::complete_tx::bytes{.multicast::cluster}{.level::cache_hint} [dst], [map, coordinates], [mbar]{, mask}{, policy}",
        &[DIM, "dst=shared::cta shared::cluster", TILE, HINT],
        |c| c.load_box(),
    ),
    form(
        "cp.async.bulk.tensor.dim.global.shared::cta{.load_mode}.bulk_group{.level::cache_hint} [map, coordinates], [src]{, policy}",
        &[DIM, TILE, HINT],
        |c| c.store_box(Op::TensorStore.into()),
    ),
    form(
        "cp.async.bulk.prefetch.tensor.dim.L2.global{.load_mode}{.level::cache_hint} [map, coordinates]{, policy}",
        &[DIM, TILE, HINT],
        |c| {
            c.has_operands(1)?;
            let (map, coordinates) = c.boxed(0)?;
            let mut args = vec![map];
            args.extend(coordinates);
            let attrs = c.hint(Op::TensorPrefetch.into(), &mut args)?;
            c.effect(attrs, Type::I32, 0, &args);
            Ok(())
        },
    ),
    form(
        "cp.reduce.async.bulk.tensor.dim.global.shared::cta.op{.load_mode}.bulk_group{.level::cache_hint} [map, coordinates], [src]{, policy}",
        &[DIM, "op=add min max inc dec and or xor", TILE, HINT],
        |c| {
            let word = c.word("op");
            let op = MapReduction::ALL.iter().copied().find(|op| Some(op.name()) == word);
            c.store_box(Attrs::of(Op::TensorReduce).with(op.unwrap_or(MapReduction::Add)))
        },
    ),
];

impl Lifter<'_, '_> {
    fn whole_map(&self, n: usize) -> Lifted {
        match self.constant_operand(n)? {
            size if size == BYTES as u64 => Ok(()),
            size => Err(self.error_at(self.operand(n).span, format!("a tensor map has {BYTES} bytes, not {size}"))),
        }
    }
    /// The generic address of a map, which may be a kernel's parameter.
    fn map_at(&mut self, operand: Operand) -> Result<Value, Box<Diagnostic>> {
        let address = self.address_of(operand)?;
        let named = match (self.word("space"), address.space) {
            (Some("param"), _) => Some(Space::Param),
            (Some(_), _) => Some(Space::Const),
            (None, own) => own,
        };
        let value = self.add_offset(address);
        Ok(match named {
            Some(space) => self.op(Attrs::of(Op::ToGeneric).with(space), Type::I64, &[value]),
            None => value,
        })
    }
    /// A map and as many coordinates as the opcode has dimensions.
    fn boxed(&mut self, n: usize) -> Result<(Value, Vec<Value>), Box<Diagnostic>> {
        let operand = self.operand(n);
        let parts = match operand.kind {
            OperandKind::MemList(range) if range.len == 2 => self.code.operands(range).to_vec(),
            _ => return Err(self.error_at(operand.span, "a tensor map and coordinates are needed here")),
        };
        let map = self.map_at(parts[0])?;
        let elements = self.elements_of(parts[1]);
        let wanted = self.word("dim").and_then(|dim| dim.trim_end_matches('d').parse().ok()).unwrap_or(1);
        if elements.len() != wanted {
            let message = format!("{wanted} coordinates are needed here, found {}", elements.len());
            return Err(self.error_at(parts[1].span, message));
        }
        let coordinates = elements.into_iter().map(|e| self.read(e, Ty::known("s32"), false));
        Ok((map, coordinates.collect::<Result<_, _>>()?))
    }
    /// Whether there are so many operands, and a cache policy behind them where there is to be one.
    fn has_operands(&self, before: usize) -> Lifted {
        match before + usize::from(self.has("level::cache_hint")) {
            wanted if wanted == self.operand_count() => Ok(()),
            wanted => Err(self.error(format!("{wanted} operands are needed here, found {}", self.operand_count()))),
        }
    }
    /// Appends the cache policy, which stands at the end.
    fn hint(&mut self, attrs: Attrs, args: &mut Vec<Value>) -> Result<Attrs, Box<Diagnostic>> {
        if !self.has("level::cache_hint") {
            return Ok(attrs);
        }
        args.push(self.src(self.operand_count() - 1, Ty::known("b64"))?);
        Ok(attrs.with(Policy::Yes))
    }
    fn load_box(&mut self) -> Lifted {
        let space = self.space("dst");
        let multicast = self.has("multicast::cluster");
        if multicast && space != Space::Cluster {
            return Err(self.error("only in `.shared::cluster` are there several blocks to copy to"));
        }
        self.has_operands(3 + usize::from(multicast))?;
        let to = self.whole_address(0, space)?;
        let (map, coordinates) = self.boxed(1)?;
        let signal = self.whole_address(2, space)?;
        let blocks = if multicast { self.src(3, Ty::known("b16"))? } else { self.constant(Type::I16, 0) };
        let mut args = vec![map, to, signal, blocks];
        args.extend(coordinates);
        let attrs = Attrs::of(Op::TensorLoad).with(space);
        let attrs = attrs.with(if multicast { Multicast::Yes } else { Multicast::No });
        let attrs = self.hint(attrs, &mut args)?;
        self.effect(attrs, Type::I32, 0, &args);
        Ok(())
    }
    fn store_box(&mut self, attrs: Attrs) -> Lifted {
        self.has_operands(2)?;
        let (map, coordinates) = self.boxed(0)?;
        let mut args = vec![map, self.whole_address(1, Space::Shared)?];
        args.extend(coordinates);
        let attrs = self.hint(attrs, &mut args)?;
        self.effect(attrs, Type::I32, 0, &args);
        Ok(())
    }
    /// A constant up to a number, where there is one.
    fn at_most(&self, n: usize, most: Option<u64>) -> Lifted {
        let Some(most) = most else { return Ok(()) };
        match self.constant_operand(n)? {
            value if value <= most => Ok(()),
            value => Err(self.error_at(self.operand(n).span, format!("{value} is not among 0 to {most}"))),
        }
    }
    fn replace_field(&mut self, has_ordinal: bool) -> Lifted {
        let word = self.word("field");
        let field = MapField::ALL.iter().copied().find(|field| Some(field.name()) == word);
        let field = field.unwrap_or(MapField::GlobalAddress);
        let address = self.address(0)?;
        let named = match self.word("ss") {
            Some("global") => Space::Global,
            Some(_) => Space::Shared,
            None => Space::Generic,
        };
        let space = self.access_space(&address, named)?;
        let ordinal = if has_ordinal { self.constant_operand(1)? } else { 0 };
        let value_at = 1 + usize::from(has_ordinal);
        self.at_most(1, has_ordinal.then_some(4))?;
        self.at_most(
            value_at,
            match field {
                MapField::ElemType => Some(12),
                MapField::Interleave => Some(2),
                MapField::SwizzleMode | MapField::SwizzleAtomicity => Some(3),
                MapField::FillMode => Some(1),
                _ => None,
            },
        )?;
        let value = match self.word("type") {
            Some("b64") => self.src(value_at, Ty::known("b64"))?,
            _ => {
                let value = self.src(value_at, Ty::known("b32"))?;
                self.op(Op::Zext, Type::I64, &[value])
            }
        };
        let ordinal = self.constant(Type::I32, ordinal);
        let attrs = Attrs::of(Op::TensorMapReplace).with(field).with(space);
        self.effect(attrs, Type::B1, address.offset as u64, &[address.base, ordinal, value]);
        Ok(())
    }
    /// Copies a map: each lane of the warp a word of it.
    fn copy_map(&mut self) -> Lifted {
        self.whole_map(2)?;
        let lane = self.op(Attrs::of(Op::Sreg).with(Sreg::LaneId), Type::I32, &[]);
        let two = self.constant(Type::I32, 2);
        let ahead = self.op(Op::Shl, Type::I32, &[lane, two]);
        let ahead = self.op(Op::Zext, Type::I64, &[ahead]);
        let (to, from) = (self.whole_address(0, Space::Global)?, self.whole_address(1, Space::Shared)?);
        let to = self.op(Op::IAdd, Type::I64, &[to, ahead]);
        let from = self.op(Op::IAdd, Type::I64, &[from, ahead]);
        let load = Attrs::of(Op::Load).with(Space::Shared);
        let word = self.op_many(load, Type::I32, &[from], &[Type::I32]);
        self.effect(Attrs::of(Op::Store).with(Space::Global), Type::I32, 0, &[to, word[0]]);
        // The lanes go on together.
        let all = self.constant(Type::I32, u32::MAX.into());
        self.effect(Op::WarpSync, Type::B1, 0, &[all]);
        let scope = self.scope();
        self.fence(Order::Release, scope, FenceKind::TensorMap)
    }
}
