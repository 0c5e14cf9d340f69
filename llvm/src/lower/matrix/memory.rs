//! Matrices in memory. What neighbours in memory is one vector access, and a shuffle brings it where the registers have it.
//!
//! The rows of a tile are where the lanes say. A fragment's tile is cut into lines in the same way, by the distance
//! of its rows (columns), which must be the same in all lanes. What is unusual, misaligned for one, is left to the
//! definition, which also knows what to say about it.

use crate::lower::Lowering;
use crate::lower::shape::Shape;
use crate::sys::{Code, Int, Val};
use hetir::attr::{Element, Layout, Matrix, MatrixShape, Space, Tiles, Transpose};
use hetir::entity::{Inst, Value};
use hetir::interp::space::SHARED_WINDOW;
use hetir::ir::Def;
use hetir::op::Op;
use hetir::tensor::Fragment;
use std::collections::BTreeSet;

/// Bytes of a row of a tile.
const ROW: u64 = 16;

/// The halves of a register of a tile, in the order of the transposed tile's.
fn turned() -> Vec<u32> {
    (0..64)
        .map(|half: u32| {
            let (lane, i) = (half / 2, half % 2);
            let (g, k) = (lane / 4, lane % 4 * 2 + i);
            k * 8 + g
        })
        .collect()
}

/// Elements of a fragment that share registers, and the lines in memory that hold them and nothing else.
struct Block {
    registers: Vec<usize>,
    /// Rows (columns) as they lie in memory, and the part of each.
    lines: Vec<usize>,
    start: usize,
    cells: usize,
    /// For each cell of the lines, one behind the other: the place in the registers, one behind the other.
    places: Vec<usize>,
}

/// A fragment in memory.
struct Stored {
    blocks: Vec<Block>,
    /// Registers, and those before the first one that repeats another.
    registers: usize,
    distinct: usize,
    /// What is accessed as one: an element, or a register of smaller ones. Its bits, and elements.
    cell_bits: u32,
    run: usize,
    element_bits: usize,
    /// Rows (columns) in memory, and elements of each.
    size: (usize, usize),
    /// What the matrix begins at a multiple of.
    unit: u64,
}

impl Stored {
    /// `None` where lines of memory are not taken whole.
    fn of(matrix: Matrix, shape: MatrixShape, element: Element, layout: Layout) -> Option<Self> {
        let fragment = Fragment::in_memory(matrix, shape, element, layout)?;
        let run = if element.bits() < 8 { element.per_register() } else { 1 };
        let cell_bits = if element.bits() < 8 { 32 } else { element.bits() as u32 };
        let per_register = element.per_register() / run;
        let (distinct, _) = fragment.slot(fragment.elements());
        let distinct = distinct.max(1);
        // Of a result, two elements of a lane are neighbours.
        let together = if matrix == Matrix::C { 2usize.div_ceil(per_register) } else { 1 };
        let at = |lane: usize, register: usize, cell: usize| {
            let p = fragment.position(lane, (register * per_register + cell) * run);
            if layout == Layout::Row { (p.row, p.col / run) } else { (p.col, p.row / run) }
        };
        let mut blocks = Vec::new();
        for first in (0..distinct).step_by(together) {
            let registers: Vec<usize> = (first..(first + together).min(distinct)).collect();
            let mut cells = Vec::new();
            for &register in &registers {
                for lane in 0..32 {
                    cells.extend((0..per_register).map(|cell| at(lane, register, cell)));
                }
            }
            let lines: Vec<usize> = cells.iter().map(|c| c.0).collect::<BTreeSet<_>>().into_iter().collect();
            let columns: BTreeSet<usize> = cells.iter().map(|c| c.1).collect();
            let (start, width) = (*columns.first()?, columns.len());
            let mut places = vec![usize::MAX; lines.len() * width];
            for (place, (line, column)) in cells.iter().enumerate() {
                let line = lines.binary_search(line).ok()?;
                *places.get_mut(line * width + (column - start))? = place;
            }
            if places.len() != cells.len() || places.contains(&usize::MAX) {
                return None;
            }
            blocks.push(Block { registers, lines, start, cells: width, places });
        }
        let (rows, cols) = fragment.size();
        let size = if layout == Layout::Row { (rows, cols) } else { (cols, rows) };
        let unit = u64::from(fragment.register().bytes()) * fragment.registers() as u64;
        let registers = fragment.registers();
        Some(Self { blocks, registers, distinct, cell_bits, run, element_bits: element.bits(), size, unit })
    }
}

impl<'c> Lowering<'_, '_, 'c> {
    /// `movmatrix`.
    pub(super) fn turn(&mut self, inst: Inst) -> bool {
        let Some(&arg) = self.body.args(inst).first() else { return false };
        if self.mask.is_some() {
            return false;
        }
        let v = self.vector(arg);
        let v = self.turned(v);
        self.set_vector(inst, 0, v, false);
        true
    }
    fn turned(&self, v: Val<'c>) -> Val<'c> {
        let e = self.e;
        let halves = e.cast(Code::LLVMBitCast, v, self.i(16).vector(64));
        e.cast(Code::LLVMBitCast, e.shuffle(halves, halves, &turned()), self.i(32).vector(32))
    }

    fn also(&self, a: Option<Val<'c>>, b: Val<'c>) -> Option<Val<'c>> {
        Some(a.map_or(b, |a| self.e.bin(Code::LLVMAnd, a, b)))
    }

    /// One way where a condition holds, if there is one, else by the definition.
    fn if_usual(&mut self, inst: Inst, usual: Option<Val<'c>>, fast: impl FnOnce(&mut Self) -> Vec<Val<'c>>) {
        let results = self.body.results(inst).to_vec();
        let types: Vec<_> = results.iter().map(|r| self.wide(self.element(self.body.ty(*r)))).collect();
        let way = |this: &mut Self| -> Vec<(Val<'c>, bool)> {
            let values = fast(this);
            values.into_iter().zip(&types).map(|(v, ty)| (this.e.cast(Code::LLVMBitCast, v, *ty), false)).collect()
        };
        let values = match usual {
            None => way(self),
            Some(usual) => self.either(usual, &types, way, |this| this.by_device(inst)),
        };
        for (n, (v, _)) in values.into_iter().enumerate() {
            self.set_vector(inst, n, v, false);
        }
    }

    /// Whether a value was shifted so far that it is a multiple of a power of two.
    fn is_multiple(&self, value: Value, of: u64) -> bool {
        let Def::Result(inst) = self.body.values[value.index()].def else { return false };
        let args = self.body.args(inst);
        match self.body.inst(inst).op {
            Op::Zext => self.is_multiple(args[0], of),
            Op::Shl => self.body.constant(args[1]).is_some_and(|bits| bits < 64 && (1u64 << bits).is_multiple_of(of)),
            _ => false,
        }
    }

    /// `ldmatrix` and `stmatrix`.
    pub(super) fn tiles(&mut self, inst: Inst) -> bool {
        let data = *self.body.inst(inst);
        let (space, count) = (data.attr::<Space>(), data.attr::<Tiles>().count());
        let args = self.body.args(inst).to_vec();
        if !matches!(space, Space::Shared | Space::Global) || args.is_empty() {
            return false;
        }
        let e = self.e;
        let mut usual = self.all_there();
        let mut places = Vec::new();
        match self.shape(args[0]) {
            Shape::Affine(a) if a.is_multiple_of(ROW as i64) => {
                let base = self.held(args[0]);
                let low = e.bin(Code::LLVMAdd, base, self.c64(data.imm));
                let rest = e.bin(Code::LLVMAnd, low, self.c64(ROW - 1));
                usual = self.also(usual, e.icmp(Int::LLVMIntEQ, rest, self.c64(0)));
                if let Some(fits) = self.guessed_right(&a) {
                    usual = self.also(usual, fits);
                }
                let terms = self.terms(inst);
                for lane in 0..8 * count {
                    let mut at = base;
                    for (v, n) in terms.iter().zip(a.distance.class(lane)).filter(|(_, n)| *n != 0) {
                        at = e.bin(Code::LLVMAdd, at, e.bin(Code::LLVMMul, *v, self.c64(n as u64)));
                    }
                    let behind = data.imm.wrapping_add(a.distance.offsets[lane] as u64);
                    places.push(self.host(space, at, behind, false));
                }
            }
            _ => {
                let all = self.vector(args[0]);
                let at = e.bin(Code::LLVMAdd, all, self.splat(self.c64(data.imm)));
                let rest = e.bin(Code::LLVMAnd, at, self.splat(self.c64(ROW - 1)));
                let good = e.icmp(Int::LLVMIntEQ, rest, self.splat(self.c64(0)));
                let good = e.cast(Code::LLVMBitCast, good, self.i(32));
                let named = (u32::MAX) >> (32 - 8 * count as u32);
                let good = e.bin(Code::LLVMOr, good, self.c32(!named));
                if !(self.is_multiple(args[0], ROW) && data.imm.is_multiple_of(ROW)) {
                    usual = self.also(usual, e.icmp(Int::LLVMIntEQ, good, self.c32(u32::MAX)));
                }
                let pointers = self.host(space, all, data.imm, true);
                for lane in 0..8 * count {
                    places.push(e.extract(pointers, self.c32(lane as u32)));
                }
            }
        }
        let transposed = data.attr::<Transpose>() == Transpose::Yes;
        let registers: Vec<Val<'c>> = args[1..].iter().map(|v| self.vector(*v)).collect();
        let four = self.i(32).vector(4);
        self.if_usual(inst, usual, |this| {
            let turn = |v: Val<'c>| if transposed { this.turned(v) } else { v };
            if data.op == Op::LdMatrix {
                let load = |rows: &[Val<'c>]| {
                    let rows: Vec<_> = rows.iter().map(|at| e.load(four, *at, ROW as u32)).collect();
                    turn(this.joined(&rows, 4))
                };
                return places.chunks(8).map(load).collect();
            }
            for (rows, register) in places.chunks(8).zip(&registers) {
                let register = turn(*register);
                for (n, at) in rows.iter().enumerate() {
                    let lanes: Vec<u32> = (0..4).map(|i| 4 * n as u32 + i).collect();
                    e.store(e.shuffle(register, register, &lanes), *at, ROW as u32);
                }
            }
            Vec::new()
        });
        true
    }

    /// Vectors of so many elements one behind the other; the last ones are filled up.
    fn joined(&self, parts: &[Val<'c>], count: u32) -> Val<'c> {
        let mut parts = parts.to_vec();
        let mut count = count;
        while parts.len() > 1 {
            let order: Vec<u32> = (0..2 * count).collect();
            let pair = |two: &[Val<'c>]| self.e.shuffle(two[0], two.get(1).copied().unwrap_or(two[0]), &order);
            parts = parts.chunks(2).map(pair).collect();
            count *= 2;
        }
        parts[0]
    }

    /// A number that all lanes have, and whether they do, where that is not known.
    fn common(&mut self, value: Value) -> (Val<'c>, Option<Val<'c>>) {
        if self.is_uniform(value) {
            return (self.held(value), None);
        }
        let e = self.e;
        let all = self.vector(value);
        let first = e.extract(all, self.c32(0));
        let same = e.icmp(Int::LLVMIntEQ, all, self.splat(first));
        let same = e.cast(Code::LLVMBitCast, same, self.i(32));
        (first, Some(e.icmp(Int::LLVMIntEQ, same, self.c32(u32::MAX))))
    }

    /// `wmma_load` and `wmma_store`.
    pub(super) fn lines(&mut self, inst: Inst) -> bool {
        let e = self.e;
        let data = *self.body.inst(inst);
        let load = data.op == Op::WmmaLoad;
        let matrix = if load { data.attr() } else { Matrix::C };
        let Some(stored) = Stored::of(matrix, data.attr(), data.attr(), data.attr()) else { return false };
        let space: Space = data.attr();
        let args = self.body.args(inst).to_vec();
        let registers = if load { self.body.results(inst).len() } else { args.len().saturating_sub(2) };
        if registers != stored.registers || !matches!(space, Space::Shared | Space::Global | Space::Generic) {
            return false;
        }
        let mut usual = self.all_there();
        let [(base, one_base), (stride, one_stride)] = [args[0], args[1]].map(|v| self.common(v));
        for same in [one_base, one_stride].into_iter().flatten() {
            usual = self.also(usual, same);
        }
        let base = e.bin(Code::LLVMAdd, base, self.c64(data.imm));
        let stride = e.cast(Code::LLVMZExt, stride, self.i(64));
        let multiple = |v: Val<'c>, of: u64| {
            let rest = e.bin(Code::LLVMURem, v, self.c64(of));
            e.icmp(Int::LLVMIntEQ, rest, self.c64(0))
        };
        let begins = multiple(base, stored.unit);
        let bits = e.bin(Code::LLVMMul, stride, self.c64(stored.element_bits as u64));
        let steps = multiple(bits, 8 * stored.unit.min(16));
        // Else lines may overlap, and the order of the accesses counts.
        let apart = e.icmp(Int::LLVMIntUGE, stride, self.c64(stored.size.1 as u64));
        for condition in [begins, steps, apart] {
            usual = self.also(usual, condition);
        }
        let step = e.bin(Code::LLVMLShr, bits, self.c64(3));
        let mut in_shared = None;
        if space == Space::Generic {
            // All of it in shared memory, or nothing of it in a window.
            let last = e.bin(Code::LLVMAdd, base, e.bin(Code::LLVMMul, step, self.c64(stored.size.0 as u64)));
            let window = |v: Val<'c>| e.bin(Code::LLVMLShr, v, self.c64(32));
            let (first, last) = (window(base), window(last));
            let shared = e.icmp(Int::LLVMIntEQ, first, self.c64(SHARED_WINDOW >> 32));
            let same = e.icmp(Int::LLVMIntEQ, first, last);
            let outside = e.icmp(Int::LLVMIntUGT, first, self.c64(4));
            let none = e.bin(Code::LLVMAnd, outside, e.icmp(Int::LLVMIntUGE, last, first));
            usual = self.also(usual, e.bin(Code::LLVMOr, e.bin(Code::LLVMAnd, shared, same), none));
            in_shared = Some(shared);
        }
        let values: Vec<Val<'c>> = if load {
            Vec::new()
        } else {
            args[2..]
                .iter()
                .map(|v| {
                    let bits = self.body.ty(*v).bits();
                    let v = self.visible(*v, false);
                    e.cast(Code::LLVMBitCast, v, self.wide(self.i(bits)))
                })
                .collect()
        };
        self.if_usual(inst, usual, |this| {
            let place = |line: usize, cell: usize| {
                let along = e.bin(Code::LLVMMul, step, this.c64(line as u64));
                let at = e.bin(Code::LLVMAdd, base, along);
                let behind = (cell * stored.run * stored.element_bits / 8) as u64;
                match in_shared {
                    None => this.host(space, at, behind, false),
                    Some(shared) => {
                        let inside = this.host(Space::Shared, at, behind, false);
                        e.select(shared, inside, this.host(Space::Global, at, behind, false))
                    }
                }
            };
            let cell = this.i(stored.cell_bits);
            let align = stored.cell_bits / 8;
            let register = this.i(stored.cell_bits.max(32)).vector(32);
            let mut registers = vec![register.zero(); if load { stored.registers } else { 0 }];
            for block in &stored.blocks {
                let all = cell.vector(block.places.len() as u32);
                let width = block.cells as u32;
                let own = (block.places.len() / block.registers.len()) as u32;
                if load {
                    let lines: Vec<_> = block
                        .lines
                        .iter()
                        .map(|line| e.load(cell.vector(width), place(*line, block.start), align))
                        .collect();
                    let lines = this.joined(&lines, width);
                    let mut from = vec![0; block.places.len()];
                    for (n, &place) in block.places.iter().enumerate() {
                        from[place] = n as u32;
                    }
                    for (own, &n) in from.chunks(own as usize).zip(&block.registers) {
                        let v = e.shuffle(lines, lines, own);
                        registers[n] = e.cast(Code::LLVMBitCast, v, register);
                    }
                } else {
                    let parts: Vec<_> = block
                        .registers
                        .iter()
                        .map(|n| e.cast(Code::LLVMBitCast, values[*n], cell.vector(own)))
                        .collect();
                    let joined = this.joined(&parts, own);
                    let joined = e.cast(Code::LLVMBitCast, joined, all);
                    for (places, line) in block.places.chunks(block.cells).zip(&block.lines) {
                        let order: Vec<u32> = places.iter().map(|p| *p as u32).collect();
                        e.store(e.shuffle(joined, joined, &order), place(*line, block.start), align);
                    }
                }
            }
            for n in stored.distinct..registers.len() {
                registers[n] = registers[n % stored.distinct];
            }
            registers
        });
        true
    }
}
