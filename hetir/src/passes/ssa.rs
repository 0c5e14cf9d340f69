//! Lets values have several definitions: each use gets the one that reaches it, through new block parameters where
//! several do.

use crate::analysis::cfg::Cfg;
use crate::analysis::live::defining_blocks;
use crate::entity::{Block, Value};
use crate::ir::Body;
use std::collections::{BTreeMap, HashMap};

/// What stands for values at the ends of blocks that define them once more.
pub(super) type Definitions = BTreeMap<Value, Vec<(Block, Value)>>;

/// Gives every use of the values the definition that reaches it. A value need not have one of its own. A block that defines a
/// value once more has no use of it, and wherever the value is used, every way there comes through a definition.
pub(super) fn repair(body: &mut Body, definitions: &Definitions) {
    let cfg = Cfg::of(body);
    let original = defining_blocks(body);
    let used = users(body, &cfg, definitions);
    for (&value, others) in definitions {
        let mut ends: HashMap<Block, Value> = others.iter().copied().collect();
        let home = original[value.index()];
        ends.extend(home.map(|home| (home, value)));
        let mut repair = Repair { cfg: &cfg, value, ends, starts: HashMap::new() };
        for &block in used.get(&value).into_iter().flatten().filter(|b| Some(**b) != home) {
            let at = repair.start(body, block);
            for inst in body.blocks[block.index()].insts.clone() {
                for arg in body.args_mut(inst).iter_mut().filter(|a| **a == value) {
                    *arg = at;
                }
                for n in 0..body.targets(inst).len() {
                    // What an edge hands to the parameters made here was found at the block's end already.
                    for arg in body.target_args_mut(inst, n).iter_mut().filter(|a| **a == value) {
                        *arg = at;
                    }
                }
            }
        }
    }
}

/// The blocks that use each value, as they stand before any changes.
fn users(body: &Body, cfg: &Cfg, definitions: &Definitions) -> HashMap<Value, Vec<Block>> {
    let mut users: HashMap<Value, Vec<Block>> = HashMap::new();
    for &block in cfg.order() {
        for &inst in &body.blocks[block.index()].insts {
            crate::analysis::live::for_each_use(body, inst, |value| {
                if definitions.contains_key(&value) {
                    let blocks = users.entry(value).or_default();
                    if blocks.last() != Some(&block) {
                        blocks.push(block);
                    }
                }
            });
        }
    }
    users
}

struct Repair<'a> {
    cfg: &'a Cfg,
    value: Value,
    /// What stands for the value at the end of a block that defines it.
    ends: HashMap<Block, Value>,
    /// And at the start of those that do not, as far as it is known.
    starts: HashMap<Block, Value>,
}

impl Repair<'_> {
    fn start(&mut self, body: &mut Body, block: Block) -> Value {
        // Chains of blocks are walked, not recursed into.
        let mut chain = Vec::new();
        let mut at = block;
        let found = loop {
            if let Some(&known) = self.starts.get(&at) {
                break known;
            }
            let edges: Vec<_> =
                self.cfg.predecessors(at).iter().copied().filter(|e| self.cfg.is_reachable(e.from)).collect();
            if let [edge] = edges[..] {
                chain.push(at);
                if let Some(&end) = self.ends.get(&edge.from) {
                    break end;
                }
                at = edge.from;
                continue;
            }
            let param = body.add_param(at, body.ty(self.value));
            self.starts.insert(at, param);
            for edge in edges {
                let given = self.end(body, edge.from);
                let Some(branch) = body.terminator(edge.from) else { continue };
                let mut args = body.target_args(body.targets(branch)[edge.target]).to_vec();
                args.push(given);
                body.set_target_args(branch, edge.target, &args);
            }
            break param;
        };
        for block in chain {
            self.starts.insert(block, found);
        }
        found
    }

    fn end(&mut self, body: &mut Body, block: Block) -> Value {
        match self.ends.get(&block) {
            Some(&value) => value,
            None => self.start(body, block),
        }
    }
}
