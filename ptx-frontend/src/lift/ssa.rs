//! Registers become SSA values while instructions are appended (Braun et al., "Simple and Efficient Construction of
//! SSA Form"): each block remembers its last value of each variable; a block whose predecessors are not all known yet
//! gets a parameter, whose incoming values are looked up when they are. Superfluous parameters are removed at the end.

use hetir::entity::{Block, Inst, Value};
use hetir::ir::{Body, Def};
use hetir::types::Type;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A variable: a register, one lane of a vector register, a piece of a parameter, or the carry flag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Var(pub(crate) u32);

/// A multiply hash for keys that are numbers already.
#[derive(Default)]
struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }
    fn write(&mut self, bytes: &[u8]) {
        for &b in bytes {
            self.write_u64(u64::from(b));
        }
    }
    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0 ^ n).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

type NumberMap<V> = HashMap<u64, V, BuildHasherDefault<NumberHasher>>;

/// Where control comes from.
#[derive(Clone, Copy)]
struct Edge {
    from: Block,
    inst: Inst,
    target: usize,
}

#[derive(Default)]
struct BlockState {
    sealed: bool,
    edges: Vec<Edge>,
    /// Phis of this block that wait for it to be sealed.
    waiting: Vec<usize>,
}

struct Phi {
    block: Block,
    var: Var,
    value: Value,
    incoming: Vec<Value>,
}

/// The state of the construction.
#[derive(Default)]
pub(crate) struct Ssa {
    /// Type of each variable.
    pub(crate) types: Vec<Type>,
    blocks: Vec<BlockState>,
    defs: NumberMap<Value>,
    phis: Vec<Phi>,
    /// Zeros for variables that are read and never written.
    zeros: Vec<Inst>,
}

fn key(block: Block, var: Var) -> u64 {
    ((block.index() as u64) << 32) | u64::from(var.0)
}

impl Ssa {
    /// A new variable.
    pub(crate) fn add_var(&mut self, ty: Type) -> Var {
        self.types.push(ty);
        Var(self.types.len() as u32 - 1)
    }
    fn state(&mut self, block: Block) -> &mut BlockState {
        let n = block.index();
        if self.blocks.len() <= n {
            self.blocks.resize_with(n + 1, BlockState::default);
        }
        &mut self.blocks[n]
    }
    /// Notes the edges of a terminator that has its targets.
    pub(crate) fn add_edges(&mut self, body: &Body, from: Block, inst: Inst) {
        for (target, t) in body.targets(inst).iter().enumerate() {
            self.state(t.block).edges.push(Edge { from, inst, target });
        }
    }
    /// How many edges lead to a block so far.
    pub(crate) fn edge_count(&mut self, block: Block) -> usize {
        self.state(block).edges.len()
    }
    /// The variable's value from here on in the block.
    pub(crate) fn write(&mut self, block: Block, var: Var, value: Value) {
        self.defs.insert(key(block, var), value);
    }
    /// The variable's value at the end of what the block has so far.
    pub(crate) fn read(&mut self, body: &mut Body, block: Block, var: Var) -> Value {
        let first_new = self.phis.len();
        let value = self.look_up(body, block, var);
        // Phis made on the way have all their predecessors known: fill them, which may make more.
        let mut next = first_new;
        while next < self.phis.len() {
            if self.state(self.phis[next].block).sealed {
                self.fill(body, next);
            }
            next += 1;
        }
        value
    }
    fn fill(&mut self, body: &mut Body, phi: usize) {
        let (block, var) = (self.phis[phi].block, self.phis[phi].var);
        let edges: Vec<Block> = self.state(block).edges.iter().map(|e| e.from).collect();
        let incoming = edges.into_iter().map(|from| self.look_up(body, from, var)).collect();
        self.phis[phi].incoming = incoming;
    }
    fn look_up(&mut self, body: &mut Body, start: Block, var: Var) -> Value {
        let mut block = start;
        let blocks = body.blocks.len();
        let mut passed = Vec::new();
        let value = loop {
            if let Some(&value) = self.defs.get(&key(block, var)) {
                break value;
            }
            let state = self.state(block);
            let only = state.edges.first().map(|e| e.from).filter(|_| state.sealed && state.edges.len() == 1);
            // A chain longer than there are blocks is a loop that nothing leads into.
            if let Some(from) = only.filter(|_| passed.len() <= blocks) {
                passed.push(block);
                block = from;
                continue;
            }
            if state.sealed && (only.is_some() || state.edges.is_empty()) {
                passed.push(block);
                break self.zero(body, var);
            }
            let ty = self.types[var.0 as usize];
            let value = body.add_value(ty, Def::Param(block));
            let phi = self.phis.len();
            let state = self.state(block);
            if !state.sealed {
                state.waiting.push(phi);
            }
            self.phis.push(Phi { block, var, value, incoming: Vec::new() });
            passed.push(block);
            break value;
        };
        for block in passed {
            self.defs.insert(key(block, var), value);
        }
        value
    }
    /// What a variable holds that was never written: zero, so that every device agrees.
    fn zero(&mut self, body: &mut Body, var: Var) -> Value {
        let ty = self.types[var.0 as usize];
        let (op, args, ty) = match ty {
            Type::I128 => {
                let half =
                    body.make(hetir::op::Op::Const, Type::I64, [0; 12], 0, &[], &[Type::I64], Default::default());
                self.zeros.push(half);
                let half = body.results(half)[0];
                (hetir::op::Op::Pack, vec![half, half], ty)
            }
            _ => (hetir::op::Op::Const, Vec::new(), ty),
        };
        let inst = body.make(op, ty, [0; 12], 0, &args, &[ty], Default::default());
        self.zeros.push(inst);
        body.results(inst)[0]
    }
    /// Declares that all edges to the block are known.
    pub(crate) fn seal(&mut self, body: &mut Body, block: Block) {
        let state = self.state(block);
        if state.sealed {
            return;
        }
        state.sealed = true;
        let mut next = self.phis.len();
        for phi in std::mem::take(&mut self.state(block).waiting) {
            self.fill(body, phi);
        }
        while next < self.phis.len() {
            if self.state(self.phis[next].block).sealed {
                self.fill(body, next);
            }
            next += 1;
        }
    }
    /// Seals what is open, removes superfluous phis and turns the others into block parameters.
    pub(crate) fn finish(mut self, body: &mut Body) {
        for n in 0..body.blocks.len() {
            self.seal(body, Block::new(n));
        }
        let replaced = self.resolve(body.values.len());
        if replaced.iter().enumerate().any(|(n, &v)| v.index() != n) {
            body.replace_values(|v| replaced[v.index()]);
        }
        let live = self.live_phis(body, &replaced);
        for (phi, live) in self.phis.iter().zip(&live) {
            if *live {
                body.blocks[phi.block.index()].params.push(phi.value);
            } else {
                body.values[phi.value.index()].def = Def::None;
            }
        }
        // The arguments of an edge: its place in each live phi of the target, in the order of the parameters.
        let mut of_block: Vec<Vec<usize>> = vec![Vec::new(); self.blocks.len()];
        for (n, phi) in self.phis.iter().enumerate().filter(|(n, _)| live[*n]) {
            of_block[phi.block.index()].push(n);
        }
        for (block, phis) in of_block.iter().enumerate().filter(|(_, p)| !p.is_empty()) {
            for (place, edge) in self.blocks[block].edges.iter().enumerate() {
                let args: Vec<Value> = phis.iter().map(|&n| replaced[self.phis[n].incoming[place].index()]).collect();
                body.set_target_args(edge.inst, edge.target, &args);
            }
        }
        let entry = &mut body.blocks[Body::ENTRY.index()].insts;
        entry.splice(0..0, self.zeros);
    }
    /// For each value what it really is: a phi whose incoming values are one value beside itself is that value.
    fn resolve(&self, values: usize) -> Vec<Value> {
        let mut same: Vec<Value> = (0..values).map(Value::new).collect();
        fn find(same: &mut [Value], v: Value) -> Value {
            let mut root = v;
            while same[root.index()] != root {
                root = same[root.index()];
            }
            let mut v = v;
            while same[v.index()] != root {
                let next = same[v.index()];
                same[v.index()] = root;
                v = next;
            }
            root
        }
        let mut users: NumberMap<Vec<usize>> = NumberMap::default();
        let of_value: NumberMap<usize> =
            self.phis.iter().enumerate().map(|(n, p)| (p.value.index() as u64, n)).collect();
        for (n, phi) in self.phis.iter().enumerate() {
            for v in &phi.incoming {
                if of_value.contains_key(&(v.index() as u64)) && *v != phi.value {
                    users.entry(v.index() as u64).or_default().push(n);
                }
            }
        }
        let mut work: Vec<usize> = (0..self.phis.len()).rev().collect();
        while let Some(n) = work.pop() {
            let phi = &self.phis[n];
            if same[phi.value.index()] != phi.value {
                continue;
            }
            let mut only = None;
            let trivial = phi.incoming.iter().all(|&v| {
                let v = find(&mut same, v);
                v == phi.value || *only.get_or_insert(v) == v
            });
            if let (true, Some(only)) = (trivial, only) {
                same[phi.value.index()] = only;
                // Those that used this phi now use `only`: they may have become trivial, and watch it from now on.
                let mine = users.remove(&(phi.value.index() as u64)).unwrap_or_default();
                work.extend(&mine);
                if of_value.contains_key(&(only.index() as u64)) {
                    users.entry(only.index() as u64).or_default().extend(mine);
                }
            }
        }
        (0..values).map(|v| find(&mut same, Value::new(v))).collect()
    }
    /// Phis that an instruction needs, directly or by way of other phis.
    fn live_phis(&self, body: &Body, replaced: &[Value]) -> Vec<bool> {
        let mut of_value = vec![usize::MAX; body.values.len()];
        for (n, p) in self.phis.iter().enumerate() {
            if replaced[p.value.index()] == p.value {
                of_value[p.value.index()] = n;
            }
        }
        let mut live = vec![false; self.phis.len()];
        let mut work = Vec::new();
        let mut reach = |v: Value, work: &mut Vec<usize>| {
            let n = of_value[v.index()];
            if n != usize::MAX && !live[n] {
                live[n] = true;
                work.push(n);
            }
        };
        for block in &body.blocks {
            for &inst in &block.insts {
                for &v in body.args(inst) {
                    reach(v, &mut work);
                }
                for &t in body.targets(inst) {
                    for &v in body.target_args(t) {
                        reach(v, &mut work);
                    }
                }
            }
        }
        while let Some(n) = work.pop() {
            for v in &self.phis[n].incoming {
                reach(replaced[v.index()], &mut work);
            }
        }
        live
    }
}
