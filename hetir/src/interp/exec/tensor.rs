//! Ops on matrices. All 32 lanes of a warp take part; a group waits until the others are at the same instruction.

use super::memory::Kind;
use super::warp::{gather, scatter};
use super::{Next, Step, Trouble, place, trouble};
use crate::attr::{Element, Layout, Matrix, MatrixShape, Tiles, Transpose};
use crate::interp::FaultKind;
use crate::interp::code::Column;
use crate::interp::warp::State;
use crate::op::Op;
use crate::tensor::{Fragment, Product, tile_from_rows, tile_to_rows};

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
        Op::WmmaLoad => load(step, &operands)?,
        Op::WmmaStore => {
            store(step, &operands)?;
            Vec::new()
        }
        Op::LdMatrix => load_tiles(step, &operands)?,
        Op::StMatrix => {
            store_tiles(step, &operands)?;
            Vec::new()
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

fn misaligned<T>(lane: usize, message: String) -> Result<T, Box<Trouble>> {
    trouble(FaultKind::Misaligned, lane as u32, message)
}

/// Where the elements of a matrix in memory are.
struct Stored {
    fragment: Fragment,
    layout: Layout,
    /// Elements that are accessed together, and their bytes.
    run: usize,
    bytes: usize,
    base: Column,
    stride: Column,
}

impl Stored {
    fn new(step: &Step<'_, '_>, matrix: Matrix, operands: &[Column]) -> Result<Self, Box<Trouble>> {
        let (shape, element): (MatrixShape, Element) = (step.attr(), step.attr());
        let (_, _, k) = shape.size();
        let layout = step.attr();
        let fragment = Fragment::new(matrix, shape, k, element, layout);
        // Elements of less than a byte are neighbours in memory as they are in a register.
        let (run, bytes) = if element.bits() < 8 { (element.per_register(), 4) } else { (1, element.bits() / 8) };
        let offset = step.ins.imm;
        let base = operands.first().map_or([0; 32], |c| c.map(|a| a.wrapping_add(offset)));
        let stride = operands.get(1).copied().unwrap_or([0; 32]);
        // PTX: rows (columns) begin at multiples of the fragment's size. Hardware needs no more than 16 bytes of it for
        // the stride, and programs count on that.
        let size = u64::from(fragment.register().bytes()) * fragment.registers() as u64;
        for lane in 0..32 {
            if !base[lane].is_multiple_of(size) {
                let message = format!("the matrix at {:#x} does not begin at a multiple of {size} bytes", base[lane]);
                return misaligned(lane, message);
            }
            let step_bits = stride[lane] * element.bits() as u64;
            if !step_bits.is_multiple_of(8 * size.min(16)) {
                let (stride, unit) = (stride[lane], size.min(16));
                return misaligned(lane, format!("a stride of {stride} elements is no multiple of {unit} bytes"));
            }
        }
        Ok(Self { fragment, layout, run, bytes, base, stride })
    }
    /// The first elements of all accesses, by their number in a lane.
    fn accesses(&self) -> impl Iterator<Item = usize> + use<> {
        (0..self.fragment.elements()).step_by(self.run)
    }
    fn address(&self, lane: usize, n: usize) -> u64 {
        let p = self.fragment.position(lane, n);
        let (major, minor) = if self.layout == Layout::Row { (p.row, p.col) } else { (p.col, p.row) };
        let element = self.stride[lane] * major as u64 + minor as u64;
        self.base[lane].wrapping_add(element * self.fragment.element().bits() as u64 / 8)
    }
}

fn load(step: &mut Step<'_, '_>, operands: &[Column]) -> Result<Vec<Column>, Box<Trouble>> {
    let matrix = step.attr();
    let stored = Stored::new(step, matrix, operands)?;
    let mut registers = vec![[0; 32]; stored.fragment.registers()];
    for n in stored.accesses() {
        let (register, bit) = stored.fragment.slot(n);
        for (lane, value) in registers[register].iter_mut().enumerate() {
            let mut bytes = [0; 8];
            step.read(lane, stored.address(lane, n), &mut bytes[..stored.bytes], Kind::Read)?;
            *value |= u64::from_le_bytes(bytes) << bit;
        }
    }
    let (distinct, _) = stored.fragment.slot(stored.fragment.elements());
    for n in distinct.max(1)..registers.len() {
        registers[n] = registers[n % distinct.max(1)];
    }
    Ok(registers)
}

fn store(step: &mut Step<'_, '_>, operands: &[Column]) -> Result<(), Box<Trouble>> {
    let stored = Stored::new(step, Matrix::C, operands)?;
    for n in stored.accesses() {
        let (register, bit) = stored.fragment.slot(n);
        let Some(register) = operands.get(2 + register) else { continue };
        for (lane, bits) in register.iter().enumerate() {
            let bytes = (bits >> bit).to_le_bytes();
            step.write(lane, stored.address(lane, n), &bytes[..stored.bytes], Kind::Write)?;
        }
    }
    Ok(())
}

/// Bytes of a row of a tile.
const ROW: usize = 16;

/// The addresses of the rows of tiles; those of the lanes that name no row are of no account.
fn rows(step: &Step<'_, '_>, operands: &[Column]) -> Result<(usize, Column), Box<Trouble>> {
    let count = step.attr::<Tiles>().count();
    let offset = step.ins.imm;
    let addresses = operands.first().map_or([0; 32], |c| c.map(|a| a.wrapping_add(offset)));
    if let Some(lane) = (0..8 * count).find(|&l| !addresses[l].is_multiple_of(ROW as u64)) {
        return misaligned(lane, format!("a row at {:#x}, which is no multiple of {ROW}", addresses[lane]));
    }
    Ok((count, addresses))
}

fn load_tiles(step: &mut Step<'_, '_>, operands: &[Column]) -> Result<Vec<Column>, Box<Trouble>> {
    let transposed = step.attr::<Transpose>() == Transpose::Yes;
    let (count, addresses) = rows(step, operands)?;
    let mut tiles = Vec::with_capacity(count);
    for tile in 0..count {
        let mut elements = [[0; 8]; 8];
        for (row, elements) in elements.iter_mut().enumerate() {
            let lane = 8 * tile + row;
            let mut bytes = [0; ROW];
            step.read(lane, addresses[lane], &mut bytes, Kind::Read)?;
            *elements = std::array::from_fn(|i| u16::from_le_bytes([bytes[2 * i], bytes[2 * i + 1]]));
        }
        tiles.push(tile_from_rows(&elements, transposed));
    }
    Ok(tiles)
}

fn store_tiles(step: &mut Step<'_, '_>, operands: &[Column]) -> Result<(), Box<Trouble>> {
    let transposed = step.attr::<Transpose>() == Transpose::Yes;
    let (count, addresses) = rows(step, operands)?;
    for (tile, register) in operands.iter().skip(1).take(count).enumerate() {
        for (row, elements) in tile_to_rows(register, transposed).iter().enumerate() {
            let lane = 8 * tile + row;
            let mut bytes = [0; ROW];
            for (i, e) in elements.iter().enumerate() {
                bytes[2 * i..2 * i + 2].copy_from_slice(&e.to_le_bytes());
            }
            step.write(lane, addresses[lane], &bytes, Kind::Write)?;
        }
    }
    Ok(())
}
