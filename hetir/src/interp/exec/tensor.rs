//! Ops on matrices. All 32 lanes of a warp take part; a group waits until the others are at the same instruction.

use super::memory::Kind;
use super::warp::{gather, scatter};
use super::{Next, Step, Trouble, place, trouble};
use crate::attr::Space;
use crate::interp::FaultKind;
use crate::interp::code::Column;
use crate::interp::warp::State;
use crate::op::Op;
use crate::tensor::{GroupProduct, Product, Tiled, access, tile_from_rows, tile_to_rows};

const ALL: u32 = u32::MAX;

pub(super) fn matrix(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    let name = step.ins.op.info().name;
    if step.warp.live != ALL {
        let message = format!(
            "{name} needs all 32 lanes of warp {}, of which only {:#010x} have not ended",
            step.warp.id, step.warp.live
        );
        return trouble(FaultKind::BadMask, step.lanes.trailing_zeros(), message);
    }
    if step.lanes == ALL {
        let group = step.group;
        execute(step, &[group])?;
        return Ok(Next::Advance);
    }
    step.group().state = State::Warp;
    let waiting: Vec<usize> =
        (0..step.warp.groups.len()).filter(|&n| step.warp.groups[n].state == State::Warp).collect();
    let at = |n: usize| {
        let g = &step.warp.groups[n];
        (step.warp.frames[g.frame as usize].code, g.pc)
    };
    let here = at(step.group);
    if let Some(&other) = waiting.iter().find(|&&n| (at(n).0.id, at(n).1) != (here.0.id, here.1)) {
        let (a, b) = (step.warp.groups[step.group], step.warp.groups[other]);
        let message = format!(
            "the lanes {:#010x} of warp {} are at {name}, and the lanes {:#010x} at another op of the whole warp",
            a.lanes, step.warp.id, b.lanes
        );
        let (code, pc) = at(other);
        let lane = b.lanes.trailing_zeros();
        let place = place(step.env, step.block, step.warp, code, code.ins.get(pc as usize), lane);
        return Err(Box::new(Trouble {
            kind: FaultKind::BadMask,
            lane: a.lanes.trailing_zeros(),
            message,
            related: vec![(place, "the other op".into())],
            place: None,
        }));
    }
    if waiting.iter().fold(0, |m, &n| m | step.warp.groups[n].lanes) == ALL {
        let own = std::mem::replace(&mut step.lanes, ALL);
        execute(step, &waiting)?;
        step.lanes = own;
        for n in waiting {
            let g = &mut step.warp.groups[n];
            g.state = State::Ready;
            g.pc += 1;
        }
    }
    Ok(Next::Moved)
}

/// Executes the op for all lanes, which are those of the groups.
fn execute(step: &mut Step<'_, '_>, groups: &[usize]) -> Result<(), Box<Trouble>> {
    let operands: Vec<Column> = (0..usize::from(step.ins.args)).map(|n| gather(step.warp, groups, n)).collect();
    let results = match step.ins.op {
        Op::Mma => product(step, &operands)?,
        Op::GroupMma => group_product(step, &operands)?,
        Op::WmmaLoad | Op::WmmaStore | Op::LdMatrix | Op::StMatrix => {
            let Some(body) = step.env.launch.module.functions[step.code.id.index()].body.as_ref() else {
                return Ok(());
            };
            access(body.inst(step.ins.inst), &operands, step)?
        }
        _ => operands.first().map(|tile| tile_from_rows(&tile_to_rows(tile, false), true)).into_iter().collect(),
    };
    for (n, column) in results.iter().enumerate() {
        scatter(step.warp, groups, n, column);
    }
    Ok(())
}

fn product(step: &Step<'_, '_>, operands: &[Column]) -> Result<Vec<Column>, Box<Trouble>> {
    let body = step.env.launch.module.functions[step.code.id.index()].body.as_ref();
    match body.map(|b| Product::of(b.inst(step.ins.inst))) {
        Some(Ok(product)) => Ok(product.eval(operands)),
        Some(Err(message)) => trouble(FaultKind::Unsupported, 0, message),
        None => Ok(Vec::new()),
    }
}

fn group_product(step: &mut Step<'_, '_>, operands: &[Column]) -> Result<Vec<Column>, Box<Trouble>> {
    let body = step.env.launch.module.functions[step.code.id.index()].body.as_ref();
    match body.map(|b| GroupProduct::of(b.inst(step.ins.inst))) {
        Some(Ok(product)) => {
            let warp = step.warp.id;
            product.eval(operands, warp, &mut InShared(step))
        }
        Some(Err(message)) => trouble(FaultKind::Unsupported, 0, message),
        None => Ok(Vec::new()),
    }
}

/// The block's shared memory, whatever the instruction says.
struct InShared<'s, 'b, 'e>(&'s mut Step<'b, 'e>);

impl Tiled for InShared<'_, '_, '_> {
    type Error = Box<Trouble>;

    fn read(&mut self, lane: usize, address: u64, out: &mut [u8]) -> Result<(), Self::Error> {
        self.0.read_space(lane, Space::Shared, address, out, Kind::Read)
    }

    fn write(&mut self, lane: usize, address: u64, data: &[u8]) -> Result<(), Self::Error> {
        self.0.write_space(lane, Space::Shared, address, data, Kind::Write)
    }

    fn misaligned(&self, lane: usize, message: String) -> Self::Error {
        self.0.misaligned(lane, message)
    }
}

impl Tiled for Step<'_, '_> {
    type Error = Box<Trouble>;

    fn read(&mut self, lane: usize, address: u64, out: &mut [u8]) -> Result<(), Self::Error> {
        Step::read(self, lane, address, out, Kind::Read)
    }

    fn write(&mut self, lane: usize, address: u64, data: &[u8]) -> Result<(), Self::Error> {
        Step::write(self, lane, address, data, Kind::Write)
    }

    fn misaligned(&self, lane: usize, message: String) -> Self::Error {
        Box::new(Trouble { kind: FaultKind::Misaligned, lane: lane as u32, message, related: Vec::new(), place: None })
    }
}
