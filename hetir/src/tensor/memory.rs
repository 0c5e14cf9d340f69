//! Matrices in memory.

use super::{Column, Fragment, tile_from_rows, tile_to_rows};
use crate::attr::{Element, Layout, Matrix, MatrixShape, Tiles, Transpose};
use crate::ir::InstData;
use crate::op::Op;

/// Memory as the ops on matrices access it: in the instruction's state space.
pub trait Tiled {
    /// What a failed access gives.
    type Error;
    /// Reads a lane's bytes.
    fn read(&mut self, lane: usize, address: u64, out: &mut [u8]) -> Result<(), Self::Error>;
    /// Writes a lane's bytes.
    fn write(&mut self, lane: usize, address: u64, data: &[u8]) -> Result<(), Self::Error>;
    /// What an address or stride that the op does not take gives.
    fn misaligned(&self, lane: usize, message: String) -> Self::Error;
}

/// Executes `wmma_load`, `wmma_store`, `ldmatrix` or `stmatrix` for all lanes of a warp; the results.
///
/// # Errors
/// What memory says.
pub fn access<M: Tiled>(inst: &InstData, operands: &[Column], memory: &mut M) -> Result<Vec<Column>, M::Error> {
    match inst.op {
        Op::WmmaLoad => load(inst, operands, memory),
        Op::WmmaStore => store(inst, operands, memory).map(|()| Vec::new()),
        Op::StMatrix => store_tiles(inst, operands, memory).map(|()| Vec::new()),
        _ => load_tiles(inst, operands, memory),
    }
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
    fn new<M: Tiled>(inst: &InstData, matrix: Matrix, operands: &[Column], memory: &M) -> Result<Self, M::Error> {
        let (shape, element): (MatrixShape, Element) = (inst.attr(), inst.attr());
        let (_, _, k) = shape.size();
        let layout = inst.attr();
        let fragment = Fragment::new(matrix, shape, k, element, layout);
        // Elements of less than a byte are neighbours in memory as they are in a register.
        let (run, bytes) = if element.bits() < 8 { (element.per_register(), 4) } else { (1, element.bits() / 8) };
        let offset = inst.imm;
        let base = operands.first().map_or([0; 32], |c| c.map(|a| a.wrapping_add(offset)));
        let stride = operands.get(1).copied().unwrap_or([0; 32]);
        // PTX: rows (columns) begin at multiples of the fragment's size. Hardware needs no more than 16 bytes of it for
        // the stride, and programs count on that.
        let size = u64::from(fragment.register().bytes()) * fragment.registers() as u64;
        for lane in 0..32 {
            if !base[lane].is_multiple_of(size) {
                let message = format!("the matrix at {:#x} does not begin at a multiple of {size} bytes", base[lane]);
                return Err(memory.misaligned(lane, message));
            }
            let step_bits = stride[lane] * element.bits() as u64;
            if !step_bits.is_multiple_of(8 * size.min(16)) {
                let (stride, unit) = (stride[lane], size.min(16));
                return Err(
                    memory.misaligned(lane, format!("a stride of {stride} elements is no multiple of {unit} bytes"))
                );
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

fn load<M: Tiled>(inst: &InstData, operands: &[Column], memory: &mut M) -> Result<Vec<Column>, M::Error> {
    let stored = Stored::new(inst, inst.attr(), operands, memory)?;
    let mut registers = vec![[0; 32]; stored.fragment.registers()];
    for n in stored.accesses() {
        let (register, bit) = stored.fragment.slot(n);
        for (lane, value) in registers[register].iter_mut().enumerate() {
            let mut bytes = [0; 8];
            memory.read(lane, stored.address(lane, n), &mut bytes[..stored.bytes])?;
            *value |= u64::from_le_bytes(bytes) << bit;
        }
    }
    let (distinct, _) = stored.fragment.slot(stored.fragment.elements());
    for n in distinct.max(1)..registers.len() {
        registers[n] = registers[n % distinct.max(1)];
    }
    Ok(registers)
}

fn store<M: Tiled>(inst: &InstData, operands: &[Column], memory: &mut M) -> Result<(), M::Error> {
    let stored = Stored::new(inst, Matrix::C, operands, memory)?;
    for n in stored.accesses() {
        let (register, bit) = stored.fragment.slot(n);
        let Some(register) = operands.get(2 + register) else { continue };
        for (lane, bits) in register.iter().enumerate() {
            let bytes = (bits >> bit).to_le_bytes();
            memory.write(lane, stored.address(lane, n), &bytes[..stored.bytes])?;
        }
    }
    Ok(())
}

/// Bytes of a row of a tile.
const ROW: usize = 16;

/// The addresses of the rows of tiles; those of the lanes that name no row are of no account.
fn rows<M: Tiled>(inst: &InstData, operands: &[Column], memory: &M) -> Result<(usize, Column), M::Error> {
    let count = inst.attr::<Tiles>().count();
    let offset = inst.imm;
    let addresses = operands.first().map_or([0; 32], |c| c.map(|a| a.wrapping_add(offset)));
    if let Some(lane) = (0..8 * count).find(|&l| !addresses[l].is_multiple_of(ROW as u64)) {
        return Err(memory.misaligned(lane, format!("a row at {:#x}, which is no multiple of {ROW}", addresses[lane])));
    }
    Ok((count, addresses))
}

fn load_tiles<M: Tiled>(inst: &InstData, operands: &[Column], memory: &mut M) -> Result<Vec<Column>, M::Error> {
    let transposed = inst.attr::<Transpose>() == Transpose::Yes;
    let (count, addresses) = rows(inst, operands, memory)?;
    tiles_of(&addresses, count, transposed, memory)
}

/// Tiles whose rows are where the lanes say, eight after the other.
pub(super) fn tiles_of<M: Tiled>(
    addresses: &Column,
    count: usize,
    transposed: bool,
    memory: &mut M,
) -> Result<Vec<Column>, M::Error> {
    let mut tiles = Vec::with_capacity(count);
    for tile in 0..count {
        let mut elements = [[0; 8]; 8];
        for (row, elements) in elements.iter_mut().enumerate() {
            let lane = 8 * tile + row;
            let mut bytes = [0; ROW];
            memory.read(lane, addresses[lane], &mut bytes)?;
            *elements = std::array::from_fn(|i| u16::from_le_bytes([bytes[2 * i], bytes[2 * i + 1]]));
        }
        tiles.push(tile_from_rows(&elements, transposed));
    }
    Ok(tiles)
}

fn store_tiles<M: Tiled>(inst: &InstData, operands: &[Column], memory: &mut M) -> Result<(), M::Error> {
    let transposed = inst.attr::<Transpose>() == Transpose::Yes;
    let (count, addresses) = rows(inst, operands, memory)?;
    for (tile, register) in operands.iter().skip(1).take(count).enumerate() {
        for (row, elements) in tile_to_rows(register, transposed).iter().enumerate() {
            let lane = 8 * tile + row;
            let mut bytes = [0; ROW];
            for (i, e) in elements.iter().enumerate() {
                bytes[2 * i..2 * i + 2].copy_from_slice(&e.to_le_bytes());
            }
            memory.write(lane, addresses[lane], &bytes)?;
        }
    }
    Ok(())
}
