//! Which values are still needed where. Values are followed from their uses back to their definitions, so that the
//! cost is that of the answer.

use super::cfg::{Cfg, Lists};
use crate::entity::{Block, Value};
use crate::ir::{Body, Def};

/// The values that are live where blocks begin and end. Unreachable blocks have none.
#[derive(Clone, Debug)]
pub struct Liveness {
    live_in: Vec<Vec<Value>>,
    live_out: Vec<Vec<Value>>,
}

/// The block that defines each value; `None` where nothing does.
pub fn defining_blocks(body: &Body) -> Vec<Option<Block>> {
    let mut of_inst = vec![None; body.insts.len()];
    for block in body.block_ids() {
        for &inst in &body.blocks[block.index()].insts {
            of_inst[inst.index()] = Some(block);
        }
    }
    let block_of = |def| match def {
        Def::Param(block) => Some(block),
        Def::Result(inst) => of_inst[inst.index()],
        Def::None => None,
    };
    body.values.iter().map(|v| block_of(v.def)).collect()
}

/// Calls `visit` with every value that an instruction uses, those handed to targets included.
pub fn for_each_use(body: &Body, inst: crate::entity::Inst, mut visit: impl FnMut(Value)) {
    body.args(inst).iter().copied().for_each(&mut visit);
    for target in body.targets(inst) {
        body.target_args(*target).iter().copied().for_each(&mut visit);
    }
}

impl Liveness {
    /// The liveness of a body's values.
    pub fn of(body: &Body, cfg: &Cfg) -> Self {
        let mut pairs: Vec<(usize, Block)> = Vec::new();
        for &block in cfg.order() {
            for &inst in &body.blocks[block.index()].insts {
                for_each_use(body, inst, |v| pairs.push((v.index(), block)));
            }
        }
        let users = Lists::new(body.values.len(), pairs.iter().copied());
        let definitions = defining_blocks(body);
        let count = body.blocks.len();
        let mut live = Self { live_in: vec![Vec::new(); count], live_out: vec![Vec::new(); count] };
        let mut work: Vec<Block> = Vec::new();
        for (index, &definition) in definitions.iter().enumerate() {
            let value = Value::new(index);
            // All uses of one value come in a row: a list has the value already where it is the list's last.
            work.extend(users.get(index).iter().filter(|b| Some(**b) != definition));
            while let Some(block) = work.pop() {
                if !push(&mut live.live_in[block.index()], value) {
                    continue;
                }
                for edge in cfg.predecessors(block) {
                    if cfg.is_reachable(edge.from) {
                        push(&mut live.live_out[edge.from.index()], value);
                        if Some(edge.from) != definition {
                            work.push(edge.from);
                        }
                    }
                }
            }
        }
        live
    }

    /// Values defined elsewhere that the block or one behind it uses, in order. The block's own parameters are not
    /// among them.
    pub fn live_in(&self, block: Block) -> &[Value] {
        &self.live_in[block.index()]
    }
    /// Values that blocks behind this one use, in order. What the block hands to its targets is used by itself.
    pub fn live_out(&self, block: Block) -> &[Value] {
        &self.live_out[block.index()]
    }
    /// The values that are live just before an instruction of a block, given by its place there, in order: defined
    /// before it, and used by it or behind it.
    pub fn before(&self, body: &Body, block: Block, place: usize) -> Vec<Value> {
        let mut live: std::collections::BTreeSet<Value> = self.live_out(block).iter().copied().collect();
        for &inst in body.blocks[block.index()].insts[place..].iter().rev() {
            for result in body.results(inst) {
                live.remove(result);
            }
            for_each_use(body, inst, |v| {
                live.insert(v);
            });
        }
        live.into_iter().collect()
    }
}

/// Adds a value unless it is the last one; true where it was added.
fn push(list: &mut Vec<Value>, value: Value) -> bool {
    let new = list.last() != Some(&value);
    if new {
        list.push(value);
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text;

    const LOOP: &str = "func @f(i32, i32) -> (i32) {
block0(v0: i32, v1: i32):
    v2: i32 = iadd v0, v1
    br block1(v0)
block1(v3: i32):
    v4: i32 = isub v3, v1
    v5: b1 = icmp.gt.s v4, v2
    brif v5, block1(v4), block2
block2:
    v6: i32 = iadd v4, v4
    ret v6
block3:
    ret v2
}";

    #[test]
    fn live_values_of_a_loop() {
        let module = text::parse(LOOP).unwrap();
        let body = module.functions[0].body.as_ref().unwrap();
        let live = Liveness::of(body, &Cfg::of(body));
        let v = |list: &[usize]| list.iter().map(|&n| Value::new(n)).collect::<Vec<_>>();
        let at = |b| (live.live_in(Block::new(b)).to_vec(), live.live_out(Block::new(b)).to_vec());
        assert_eq!(at(0), (v(&[]), v(&[1, 2])));
        assert_eq!(at(1), (v(&[1, 2]), v(&[1, 2, 4])));
        assert_eq!(at(2), (v(&[4]), v(&[])));
        assert_eq!(at(3), (v(&[]), v(&[])));
        assert_eq!(live.before(body, Block::new(0), 0), v(&[0, 1]));
        assert_eq!(live.before(body, Block::new(0), 1), v(&[0, 1, 2]));
        assert_eq!(live.before(body, Block::new(1), 0), v(&[1, 2, 3]));
        assert_eq!(live.before(body, Block::new(1), 2), v(&[1, 2, 4, 5]));
        assert_eq!(live.before(body, Block::new(2), 1), v(&[6]));
    }
}
