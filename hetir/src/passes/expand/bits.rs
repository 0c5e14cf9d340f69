//! Bit fields, counts and permutations.

use super::Rewriter;
use crate::attr::{Direction, IntCmp, Permute, Sign, Wrap};
use crate::entity::Value;
use crate::types::Type;

impl Rewriter<'_> {
    /// The low `length` bits; all of them where it is the width or more.
    fn low_ones(&mut self, t: Type, length: Value) -> Value {
        let ones = self.constant(t, u64::MAX);
        let above = self.shl(t, ones, length);
        self.not(t, above)
    }

    /// Sign extension from the lowest `length` bits, which are at most the width; 0 where there are none.
    fn sign_extend_from(&mut self, t: Type, a: Value, length: Value) -> Value {
        let width = self.word(t.bits().into());
        let unused = self.sub(Type::I32, width, length);
        let high = self.shl(t, a, unused);
        self.shr(t, Sign::S, high, unused)
    }

    /// A position or length: 32-bit fields take them modulo 256.
    fn field_place(&mut self, t: Type, n: Value) -> Value {
        if t == Type::I32 { self.and_bits(Type::I32, n, 0xff) } else { n }
    }

    pub(super) fn bfe(&mut self, t: Type, sign: Sign, a: Value, position: Value, length: Value) -> Value {
        let (position, length) = (self.field_place(t, position), self.field_place(t, length));
        let field = self.shr(t, sign, a, position);
        if sign == Sign::U {
            let mask = self.low_ones(t, length);
            return self.and(t, field, mask);
        }
        let length = self.min(Type::I32, length, t.bits().into());
        self.sign_extend_from(t, field, length)
    }

    pub(super) fn bfi(&mut self, t: Type, field: Value, into: Value, position: Value, length: Value) -> Value {
        let (position, length) = (self.field_place(t, position), self.field_place(t, length));
        let ones = self.low_ones(t, length);
        let mask = self.shl(t, ones, position);
        let field = self.shl(t, field, position);
        let field = self.and(t, field, mask);
        let rest = self.not(t, mask);
        let rest = self.and(t, into, rest);
        self.or(t, field, rest)
    }

    fn limited(&mut self, wrap: Wrap, n: Value) -> Value {
        match wrap {
            Wrap::Wrap => self.and_bits(Type::I32, n, 31),
            Wrap::Clamp => self.min(Type::I32, n, 32),
        }
    }

    pub(super) fn bmsk(&mut self, wrap: Wrap, position: Value, length: Value) -> Value {
        let (position, length) = (self.limited(wrap, position), self.limited(wrap, length));
        let ones = self.low_ones(Type::I32, length);
        self.shl(Type::I32, ones, position)
    }

    pub(super) fn szext(&mut self, sign: Sign, wrap: Wrap, a: Value, length: Value) -> Value {
        let length = self.limited(wrap, length);
        if sign == Sign::S {
            return self.sign_extend_from(Type::I32, a, length);
        }
        let mask = self.low_ones(Type::I32, length);
        self.and(Type::I32, a, mask)
    }

    pub(super) fn shf(&mut self, direction: Direction, wrap: Wrap, lo: Value, hi: Value, amount: Value) -> Value {
        let amount = self.limited(wrap, amount);
        let both = self.pack(Type::I64, &[lo, hi]);
        let word = match direction {
            Direction::Left => {
                let moved = self.shl(Type::I64, both, amount);
                self.shr_by(Type::I64, Sign::U, moved, 32)
            }
            Direction::Right => self.shr(Type::I64, Sign::U, both, amount),
        };
        self.trunc(Type::I32, word)
    }

    /// Counts in pairs of bits, then in fours, then in bytes; a product adds the bytes up in the highest one.
    pub(super) fn popc(&mut self, t: Type, a: Value) -> Value {
        let half = self.shr_by(t, Sign::U, a, 1);
        let half = self.and_bits(t, half, 0x5555_5555_5555_5555);
        let pairs = self.sub(t, a, half);
        let even = self.and_bits(t, pairs, 0x3333_3333_3333_3333);
        let odd = self.shr_by(t, Sign::U, pairs, 2);
        let odd = self.and_bits(t, odd, 0x3333_3333_3333_3333);
        let fours = self.add(t, even, odd);
        let high = self.shr_by(t, Sign::U, fours, 4);
        let bytes = self.add(t, fours, high);
        let bytes = self.and_bits(t, bytes, 0x0f0f_0f0f_0f0f_0f0f);
        let every = self.constant(t, 0x0101_0101_0101_0101);
        let sum = self.mul(t, bytes, every);
        let count = self.shr_by(t, Sign::U, sum, u64::from(t.bits()) - 8);
        self.trunc(Type::I32, count)
    }

    pub(super) fn clz(&mut self, t: Type, a: Value) -> Value {
        let (mut rest, mut count) = (a, self.word(0));
        let mut step = u64::from(t.bits()) / 2;
        while step > 0 {
            let high = self.shr_by(t, Sign::U, rest, u64::from(t.bits()) - step);
            let empty = self.compare_to(t, IntCmp::Eq, high, 0);
            let moved = self.shl_by(t, rest, step);
            rest = self.select(t, empty, moved, rest);
            let step_word = self.word(step);
            let more = self.add(Type::I32, count, step_word);
            count = self.select(Type::I32, empty, more, count);
            step /= 2;
        }
        // The highest bit is set now unless there was none.
        let empty = self.compare_to(t, IntCmp::Eq, rest, 0);
        let one = self.number(Type::I32, empty);
        self.add(Type::I32, count, one)
    }

    pub(super) fn bfind(&mut self, t: Type, sign: Sign, a: Value) -> Value {
        let mut a = a;
        if sign == Sign::S {
            let signs = self.shr_by(t, Sign::S, a, u64::from(t.bits()) - 1);
            a = self.xor(t, a, signs);
        }
        let zeros = self.one(crate::op::Op::Clz, t, &[a], Type::I32);
        let last = self.word(u64::from(t.bits()) - 1);
        self.sub(Type::I32, last, zeros)
    }

    /// Swaps neighbouring bits, pairs, and so on.
    pub(super) fn brev(&mut self, t: Type, a: Value) -> Value {
        const MASKS: [u64; 6] = [
            0x5555_5555_5555_5555,
            0x3333_3333_3333_3333,
            0x0f0f_0f0f_0f0f_0f0f,
            0x00ff_00ff_00ff_00ff,
            0x0000_ffff_0000_ffff,
            0x0000_0000_ffff_ffff,
        ];
        let mut a = a;
        for (n, mask) in MASKS.into_iter().enumerate().take(t.bits().ilog2() as usize) {
            let low = self.and_bits(t, a, mask);
            let low = self.shl_by(t, low, 1 << n);
            let high = self.shr_by(t, Sign::U, a, 1 << n);
            let high = self.and_bits(t, high, mask);
            a = self.or(t, low, high);
        }
        a
    }

    /// Counting downwards from the base is counting upwards in the reversed word. The position is then found bit by
    /// bit: where the lower half has too few set bits, it lies in the upper half.
    pub(super) fn fns(&mut self, mask: Value, base: Value, offset: Value) -> Value {
        let t = Type::I32;
        let ones = self.word(u64::MAX);
        let from_base = self.shl(t, ones, base);
        let one = self.word(1);
        let at_base = self.shl(t, one, base);
        let behind_base = self.xor(t, from_base, at_base);
        let up_to_base = self.not(t, behind_base);
        let zero = self.word(0);
        let down = self.compare(t, IntCmp::Lt, Sign::S, offset, zero);
        let here = self.compare(t, IntCmp::Eq, Sign::U, offset, zero);
        let range = self.select(t, down, up_to_base, from_base);
        let range = self.select(t, here, at_base, range);
        let candidates = self.and(t, mask, range);
        let reversed = self.op(crate::op::Op::Brev, t, &[candidates]);
        let bits = self.select(t, down, reversed, candidates);

        let negative = self.sub(t, zero, offset);
        let count = self.select(t, down, negative, offset);
        let count = self.select(t, here, one, count);
        let all = self.one(crate::op::Op::Popc, t, &[bits], t);
        let enough = self.compare(t, IntCmp::Le, Sign::U, count, all);
        let inside = self.compare_to(t, IntCmp::Lt, base, 32);
        let found = self.and(Type::B1, enough, inside);

        let (mut position, mut wanted) = (zero, count);
        for step in [16, 8, 4, 2, 1] {
            let rest = self.shr(t, Sign::U, bits, position);
            let half = self.and_bits(t, rest, (1 << step) - 1);
            let held = self.one(crate::op::Op::Popc, t, &[half], t);
            let above = self.compare(t, IntCmp::Gt, Sign::U, wanted, held);
            let less = self.sub(t, wanted, held);
            wanted = self.select(t, above, less, wanted);
            let step = self.word(step);
            let further = self.add(t, position, step);
            position = self.select(t, above, further, position);
        }
        let last = self.word(31);
        let mirrored = self.sub(t, last, position);
        let position = self.select(t, down, mirrored, position);
        let position = self.select(t, found, position, ones);
        let smallest = self.word(0x8000_0000);
        let no_count = self.compare(t, IntCmp::Eq, Sign::U, offset, smallest);
        self.select(t, no_count, zero, position)
    }

    /// Where a holds, the table's upper half decides, else its lower half.
    pub(super) fn lop3(&mut self, table: u64, a: Value, b: Value, c: Value) -> Value {
        let (yes, no) = (table >> 4 & 15, table & 15);
        if yes == no {
            return self.table(yes, b, c);
        }
        if yes == no ^ 15 {
            let other = self.table(no, b, c);
            return self.xor(Type::I32, a, other);
        }
        let t = Type::I32;
        let (yes, no) = (self.table(yes, b, c), self.table(no, b, c));
        let yes = self.and(t, a, yes);
        let rest = self.not(t, a);
        let no = self.and(t, rest, no);
        self.or(t, yes, no)
    }

    /// A function of two operands by its truth table: bit 2b+c.
    fn table(&mut self, table: u64, b: Value, c: Value) -> Value {
        let t = Type::I32;
        match table & 15 {
            0 => self.word(0),
            6 => self.xor(t, b, c),
            8 => self.and(t, b, c),
            10 => c,
            12 => b,
            2 => {
                let b = self.not(t, b);
                self.and(t, b, c)
            }
            4 => {
                let c = self.not(t, c);
                self.and(t, b, c)
            }
            14 => self.or(t, b, c),
            // The others are the complements of those.
            odd => {
                let complement = self.table(odd ^ 15, b, c);
                self.not(t, complement)
            }
        }
    }

    pub(super) fn prmt(&mut self, mode: Permute, a: Value, b: Value, selector: Value) -> Value {
        let t = Type::I32;
        let bytes = self.pack(Type::I64, &[a, b]);
        let low = self.and_bits(t, selector, 3);
        let mut result = self.word(0);
        for n in 0..4u64 {
            let index = match mode {
                Permute::Index => self.shr_by(t, Sign::U, selector, 4 * n),
                Permute::F4e => {
                    let n = self.word(n);
                    self.add(t, low, n)
                }
                Permute::B4e => {
                    let n = self.word(n);
                    self.sub(t, low, n)
                }
                Permute::Rc8 => low,
                Permute::Ecl => {
                    let at_least = self.compare_to(t, IntCmp::Ge, low, n);
                    let n = self.word(n);
                    self.select(t, at_least, low, n)
                }
                Permute::Ecr => self.min(t, low, n),
                Permute::Rc16 => {
                    let half = self.and_bits(t, low, 1);
                    let first = self.shl_by(t, half, 1);
                    let n = self.word(n & 1);
                    self.add(t, first, n)
                }
            };
            let place = self.and_bits(t, index, 7);
            let shift = self.shl_by(t, place, 3);
            let moved = self.shr(Type::I64, Sign::U, bytes, shift);
            let word = self.trunc(t, moved);
            let mut byte = self.and_bits(t, word, 0xff);
            if mode == Permute::Index {
                // Bit 3 of an index asks for the byte's sign in all of its bits.
                let wanted = self.and_bits(t, index, 8);
                let plain = self.compare_to(t, IntCmp::Eq, wanted, 0);
                let negative = self.compare_to(t, IntCmp::Ge, byte, 0x80);
                let (ones, zero) = (self.word(0xff), self.word(0));
                let signs = self.select(t, negative, ones, zero);
                byte = self.select(t, plain, byte, signs);
            }
            let moved = self.shl_by(t, byte, 8 * n);
            result = self.or(t, result, moved);
        }
        result
    }
}
