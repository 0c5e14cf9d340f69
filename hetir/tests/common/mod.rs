//! Comparing modules without the help of their text.
#![allow(dead_code)]

use hetir::entity::Value;
use hetir::ir::{Body, Function, Module};
use std::collections::HashMap;

/// A seeded generator of numbers (xorshift64*).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    pub(crate) fn below(&mut self, n: usize) -> usize {
        ((self.next() >> 32) as usize * n) >> 32
    }
}

/// Panics where two modules differ in anything but spans, the numbers of values, and instructions in no block.
pub(crate) fn assert_same(a: &Module, b: &Module) {
    assert_eq!(a.signatures, b.signatures);
    let strip = |m: &Module| {
        let mut globals = m.globals.clone();
        globals.iter_mut().for_each(|g| g.span = Default::default());
        globals
    };
    assert_eq!(strip(a), strip(b));
    assert_eq!(a.functions.len(), b.functions.len());
    for (f, g) in a.functions.iter().zip(&b.functions) {
        same_function(f, g);
    }
}

fn same_function(f: &Function, g: &Function) {
    assert_eq!((&f.name, &f.kind, f.linkage), (&g.name, &g.kind, g.linkage));
    assert_eq!((&f.signature, &f.slots), (&g.signature, &g.slots));
    let reasons = |f: &Function| f.unavailable.iter().map(|d| d.message.clone()).collect::<Vec<_>>();
    assert_eq!(reasons(f), reasons(g));
    match (&f.body, &g.body) {
        (Some(f), Some(g)) => same_body(f, g),
        (f, g) => assert_eq!(f.is_some(), g.is_some()),
    }
}

fn same_body(f: &Body, g: &Body) {
    let mut map: HashMap<Value, Value> = HashMap::new();
    assert_eq!(f.blocks.len(), g.blocks.len());
    for (x, y) in f.blocks.iter().zip(&g.blocks) {
        assert_eq!(x.params.len(), y.params.len());
        assert_eq!(x.insts.len(), y.insts.len());
        map.extend(x.params.iter().copied().zip(y.params.iter().copied()));
        for (&i, &j) in x.insts.iter().zip(&y.insts) {
            assert_eq!(f.results(i).len(), g.results(j).len());
            map.extend(f.results(i).iter().copied().zip(g.results(j).iter().copied()));
        }
    }
    let mapped = |values: &[Value]| values.iter().map(|v| map[v]).collect::<Vec<_>>();
    for (v, w) in &map {
        assert_eq!(f.ty(*v), g.ty(*w));
    }
    for (x, y) in f.blocks.iter().zip(&g.blocks) {
        for (&i, &j) in x.insts.iter().zip(&y.insts) {
            let (d, e) = (f.inst(i), g.inst(j));
            assert_eq!((d.op, d.ty, d.attrs, d.imm), (e.op, e.ty, e.attrs, e.imm));
            assert_eq!(mapped(f.args(i)), g.args(j));
            assert_eq!(f.targets(i).len(), g.targets(j).len());
            for (s, t) in f.targets(i).iter().zip(g.targets(j)) {
                assert_eq!(s.block, t.block);
                assert_eq!(mapped(f.target_args(*s)), g.target_args(*t));
            }
        }
    }
}

/// A value of a type, often one at an edge: small, near a power of two, or a special float.
pub(crate) fn edge_value(random: &mut Random, ty: hetir::types::Type) -> u64 {
    const FLOATS: [u64; 12] = [
        0x7f80_0000,
        0x7fc0_0000,
        0x7fff_ffff,
        0x3f80_0000,
        0x0000_0001,
        0x007f_ffff,
        0x7c00_3c00,
        0x7e00_0001,
        0x7ff0_0000_0000_0000,
        0x3ff0_0000_0000_0000,
        0x000f_ffff_ffff_ffff,
        0x7f80_3f80,
    ];
    let bits = match random.below(8) {
        0 => random.below(40) as u64,
        1 => (random.below(40) as u64).wrapping_neg(),
        2 => 1 << random.below(64),
        3 => (1u64 << random.below(64)).wrapping_sub(1),
        4 => FLOATS[random.below(FLOATS.len())] ^ (random.next() & 0x8000_0000_8000_8000),
        5 => random.next() & random.next() & random.next(),
        _ => random.next(),
    };
    bits & ty.mask()
}
