//! What of a product's factors each lane needs for its elements of the result, and where that is put down for it.
//!
//! A factor is prepared once for all products that it is part of: its numbers and their exponents are written to memory
//! as the lanes will read them, a slot each. Where the lanes' needs repeat from four to four, four are kept.

use hetir::attr::{Element, Sparsity};
use hetir::tensor::{Fragment, Product};
use std::collections::HashMap;

/// For each lane the lane that it needs something of.
pub(super) type Lanes = [u8; 32];

/// What a slot is made of in the lane that holds it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Word {
    /// An element's number, as f32.
    Value(usize),
    /// Exponents of elements, each so many bits up.
    Exponents(Vec<(usize, u32)>),
}

/// Words of lanes, put together.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Slot {
    pub(super) pieces: Vec<(Word, Lanes)>,
}

impl Slot {
    /// Whether lanes need what the fourth lane before them needs.
    pub(super) fn repeats(&self) -> bool {
        self.pieces.iter().all(|(_, lanes)| repeats(lanes))
    }
}

fn repeats(lanes: &Lanes) -> bool {
    (4..32).all(|l| lanes[l] == lanes[l - 4])
}

/// Bytes in front of the slots: whether there are infinities or NaNs.
pub(super) const HEADER: u32 = 64;
/// What a side in memory begins at a multiple of.
pub(super) const ALIGN: u32 = 64;
/// Bytes of what 32 lanes need, and of what repeats.
pub(super) const WHOLE: u32 = 128;
pub(super) const QUARTER: u32 = 16;

/// Slots that are written together: one that is whole, or up to eight that repeat and differ in their lanes alone.
pub(super) struct Batch {
    pub(super) slots: Vec<usize>,
    pub(super) offset: u32,
}

/// What an element of the result, or a group of them, needs of a factor for one k.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Need {
    pub(super) slot: usize,
    /// The lane of its own four that each lane takes it from, where it is not its own.
    pub(super) of_four: Option<u8>,
}

/// k that are taken together in a turn of a loop.
pub(super) const TOGETHER: usize = 4;

/// Where what is needed for every fourth k lies: the first place, from one to the next, and whose it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stride {
    pub(super) first: u32,
    pub(super) step: u32,
    pub(super) of_four: Option<u8>,
}

/// One of the two factors.
#[derive(Default)]
pub(super) struct Side {
    pub(super) slots: Vec<Slot>,
    pub(super) batches: Vec<Batch>,
    /// Where each slot is.
    pub(super) offsets: Vec<u32>,
    pub(super) bytes: u32,
    /// By k and the lanes' element of the result: the slot of the number.
    pub(super) values: Vec<Vec<Need>>,
    /// By k and group of elements of the result: the slot of the exponents.
    pub(super) exponents: Vec<Vec<Need>>,
}

/// Where elements of a factor are: the lane and its element, by product, row (column) and k.
type Places = HashMap<(usize, usize, usize), (usize, usize)>;

fn places(fragment: &Fragment, rows: bool) -> Places {
    let mut places = Places::new();
    for lane in 0..32 {
        for n in 0..fragment.elements() {
            let p = fragment.position(lane, n);
            let key = if rows { (p.product, p.row, p.col) } else { (p.product, p.col, p.row) };
            places.entry(key).or_insert((lane, n));
        }
    }
    places
}

impl Side {
    fn need(&mut self, mut slot: Slot) -> Need {
        // Where all take it from one lane of their four, it is written as it is held.
        let of_four = match &mut slot.pieces[..] {
            [(_, lanes)] => {
                let of = lanes[0];
                let within = of < 4 && (0..32).all(|l| lanes[l] == (l / 4 * 4) as u8 + of);
                if within {
                    *lanes = std::array::from_fn(|l| l as u8);
                }
                within.then_some(of)
            }
            _ => None,
        };
        let slot = self.slots.iter().position(|s| *s == slot).unwrap_or_else(|| {
            self.slots.push(slot);
            self.slots.len() - 1
        });
        Need { slot, of_four }
    }

    /// `None` where the lanes need different elements of their sources.
    fn of(places: &Places, rows: bool, result: &Fragment, order: &[usize], per_word: usize) -> Option<Self> {
        let mut side =
            Self { values: vec![Vec::new(); order.len()], exponents: vec![Vec::new(); order.len()], ..Self::default() };
        let bits = 32 / per_word as u32;
        for &k in order {
            let needs: Vec<(usize, Lanes)> =
                (0..result.elements()).map(|n| need(places, rows, result, n, k)).collect::<Option<_>>()?;
            let values =
                needs.iter().map(|&(e, lanes)| side.need(Slot { pieces: vec![(Word::Value(e), lanes)] })).collect();
            side.values[k] = values;
            let mut groups = Vec::new();
            for first in (0..needs.len()).step_by(per_word) {
                let mut pieces: Vec<(Vec<(usize, u32)>, Lanes)> = Vec::new();
                for n in 0..per_word {
                    let (e, lanes) = needs[(first + n).min(needs.len() - 1)];
                    let part = (e, n as u32 * bits);
                    match pieces.iter_mut().find(|(_, l)| *l == lanes) {
                        Some((word, _)) => word.push(part),
                        None => pieces.push((vec![part], lanes)),
                    }
                }
                let pieces = pieces.into_iter().map(|(word, lanes)| (Word::Exponents(word), lanes)).collect();
                groups.push(side.need(Slot { pieces }));
            }
            side.exponents[k] = groups;
        }
        side.place(order);
        Some(side)
    }

    /// Gives each slot its place: those that one element of the result needs follow each other in the order of k.
    fn place(&mut self, order: &[usize]) {
        let mut sequence: Vec<usize> = Vec::new();
        for table in [&self.values, &self.exponents] {
            let count = table.first().map_or(0, Vec::len);
            sequence.extend((0..count).flat_map(|n| order.iter().map(move |k| table[*k][n].slot)));
        }
        let mut placed = vec![false; self.slots.len()];
        let mut batches: Vec<Vec<usize>> = Vec::new();
        let words = |n: usize| self.slots[n].pieces.iter().map(|(word, _)| word);
        for &n in &sequence {
            if placed[n] {
                continue;
            }
            let batch: Vec<usize> = if self.slots[n].repeats() {
                // Those that differ in their lanes alone.
                let same = |m: &usize| self.slots[*m].repeats() && !placed[*m] && words(*m).eq(words(n));
                let mut batch: Vec<usize> = (0..self.slots.len()).filter(same).collect();
                batch.truncate(8);
                batch
            } else {
                vec![n]
            };
            for &m in &batch {
                placed[m] = true;
            }
            batches.push(batch);
        }
        self.offsets = vec![0; self.slots.len()];
        let mut offset = HEADER;
        for slots in batches {
            if !self.slots[slots[0]].repeats() {
                offset = offset.next_multiple_of(ALIGN);
            }
            for (n, &slot) in slots.iter().enumerate() {
                self.offsets[slot] = offset + n as u32 * QUARTER;
            }
            self.batches.push(Batch { offset, slots });
            let last = &self.batches[self.batches.len() - 1];
            let repeats = self.slots[last.slots[0]].repeats();
            offset += if repeats { last.slots.len() as u32 * QUARTER } else { WHOLE };
        }
        self.bytes = offset.next_multiple_of(ALIGN);
    }

    /// Where what an element of the result needs lies, for k in this order.
    pub(super) fn strides(&self, table: &[Vec<Need>], n: usize, order: &[usize]) -> Option<[Stride; TOGETHER]> {
        let mut strides = [Stride { first: 0, step: 0, of_four: None }; TOGETHER];
        if !order.len().is_multiple_of(TOGETHER) {
            return None;
        }
        for (r, stride) in strides.iter_mut().enumerate() {
            let needs: Vec<Need> = order.iter().skip(r).step_by(TOGETHER).map(|k| table[*k][n]).collect();
            let at = |i: usize| self.offsets[needs[i].slot];
            let (first, of_four) = (at(0), needs[0].of_four);
            let step = if needs.len() > 1 { at(1).wrapping_sub(first) } else { 0 };
            *stride = Stride { first, step, of_four };
            let even = (0..needs.len()).all(|i| at(i) == first.wrapping_add(step.wrapping_mul(i as u32)));
            if !even || needs.iter().any(|need| need.of_four != of_four) {
                return None;
            }
        }
        Some(strides)
    }
}

/// The element that all lanes need of their sources for element `n` of the result, and the sources.
fn need(places: &Places, rows: bool, result: &Fragment, n: usize, k: usize) -> Option<(usize, Lanes)> {
    let mut lanes = [0; 32];
    let mut element = None;
    for (lane, from) in lanes.iter_mut().enumerate() {
        let p = result.position(lane, n);
        let (source, e) = *places.get(&(p.product, if rows { p.row } else { p.col }, k))?;
        if *element.get_or_insert(e) != e {
            return None;
        }
        *from = source as u8;
    }
    element.map(|e| (e, lanes))
}

/// How a matrix unit forms its sums of floats.
pub(super) struct Plan {
    pub(super) product: Product,
    /// Elements of D, A, B and C.
    pub(super) elements: [Element; 4],
    pub(super) fragments: [Fragment; 4],
    pub(super) a: Side,
    pub(super) b: Side,
    /// The k that are summed at once, step by step.
    pub(super) steps: Vec<Vec<usize>>,
    /// Exponents of a word.
    pub(super) per_word: usize,
}

impl Plan {
    /// `None` where the product is not one of these.
    pub(super) fn of(product: &Product) -> Option<Self> {
        use hetir::attr::MatrixShape;
        let elements = product.types.elements();
        let fragments = product.fragments();
        let depth = product.shape.size().2;
        let all = || (0..depth).collect::<Vec<_>>();
        let (mut steps, per_word) = match elements[1] {
            _ if product.sparsity != Sparsity::Dense || product.shape == MatrixShape::M8N8K4 => return None,
            Element::F16 => (vec![all()], 4),
            Element::Bf16 => (vec![all()], 2),
            Element::Tf32 if product.shape == MatrixShape::M16N16K8 => {
                (all().chunks(4).map(<[_]>::to_vec).collect(), 2)
            }
            Element::Tf32 => (vec![all()], 2),
            Element::E4m3 | Element::E5m2 if product.short => (vec![all()], 4),
            Element::E4m3 | Element::E5m2 => (
                vec![
                    all().into_iter().filter(|k| k % 4 < 2).collect(),
                    all().into_iter().filter(|k| k % 4 >= 2).collect(),
                ],
                4,
            ),
            _ => return None,
        };
        // More products at once would not fit into 32 bits.
        let most = if product.short { 32 } else { 16 };
        if steps.iter().any(|step| step.len() > most) {
            return None;
        }
        let [_, fa, fb, fc] = &fragments;
        let (pa, pb) = (places(fa, true), places(fb, false));
        // The order does not matter to a sum of integers: elements that repeat are written together.
        for step in &mut steps {
            let mut keys = Vec::new();
            for &k in step.iter() {
                let (a, b) = (need(&pa, true, fc, 0, k)?, need(&pb, false, fc, 0, k)?);
                let (e, _) = if repeats(&a.1) { a } else { b };
                keys.push((e, k));
            }
            keys.sort_unstable();
            *step = keys.into_iter().map(|(_, k)| k).collect();
        }
        let order = steps.concat();
        let a = Side::of(&pa, true, fc, &order, per_word)?;
        let b = Side::of(&pb, false, fc, &order, per_word)?;
        let even = |side: &Side, step: &[usize]| {
            [&side.values, &side.exponents]
                .iter()
                .all(|table| (0..table[0].len()).all(|n| side.strides(table, n, step).is_some()))
        };
        let all_even = steps.iter().all(|step| even(&a, step) && even(&b, step));
        all_even.then_some(Self { product: *product, elements, fragments, a, b, steps, per_word })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hetir::attr::{BitProduct, Layout, MatrixRound, MatrixShape, MatrixTypes};

    #[test]
    fn dense_products_of_short_floats_have_plans() {
        let kinds = MatrixTypes::ALL.iter().flat_map(|&types| [(types, false), (types, true)]);
        for (types, short) in kinds {
            for &shape in MatrixShape::ALL {
                let product = Product {
                    shape,
                    types,
                    layouts: (Layout::Row, Layout::Col),
                    sparsity: Sparsity::Dense,
                    selector: 0,
                    bits: BitProduct::None,
                    round: MatrixRound::Rn,
                    short,
                    sat: false,
                };
                let [_, a, _, _] = types.elements();
                let float = !a.is_integer() && a != Element::F64;
                if product.check().is_ok() && float && shape != MatrixShape::M8N8K4 {
                    let plan = Plan::of(&product);
                    assert!(plan.is_some_and(|p| p.a.bytes.max(p.b.bytes) <= 1 << 15), "{product:?}");
                }
            }
        }
    }
}
