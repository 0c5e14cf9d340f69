//! Rewrites of bodies. Each is a file with a function `run` that says whether it changed anything, keeps verified bodies
//! verified, and keeps what a program means; `contract` alone decides what a text has left open. Instructions that a pass drops stay in the body's list; no block holds
//! them any more.

pub mod contract;
pub mod dce;
pub mod expand;
pub mod fold;
pub mod group_products;
pub mod inline;
pub mod prune_params;
pub mod reduce_loops;
pub mod return_exits;
pub mod simplify_cfg;
mod ssa;
pub mod suspend;

use crate::entity::Value;
use crate::ir::{Body, Module};

/// Rounds after which [`cleanup`] and passes that repeat themselves stop; a round that changes nothing ends them before.
const ROUNDS: usize = 16;

/// Folds, simplifies and drops until nothing changes.
pub fn cleanup(module: &mut Module) -> bool {
    let mut changed = false;
    for body in module.functions.iter_mut().filter_map(|f| f.body.as_mut()) {
        changed |= cleanup_body(body);
    }
    changed
}

/// [`cleanup`] of one body.
pub fn cleanup_body(body: &mut Body) -> bool {
    let mut changed = false;
    for _ in 0..ROUNDS {
        let mut round = fold::run(body);
        round |= simplify_cfg::run(body);
        round |= prune_params::run(body);
        round |= dce::run(body);
        changed |= round;
        if !round {
            break;
        }
    }
    changed
}

/// Values that others stand in for.
#[derive(Debug)]
struct Renames {
    to: Vec<Value>,
}

impl Renames {
    fn new(body: &Body) -> Self {
        Self { to: (0..body.values.len()).map(Value::new).collect() }
    }
    /// What stands in for a value in the end.
    fn get(&self, value: Value) -> Value {
        let mut at = value;
        while let Some(&next) = self.to.get(at.index()).filter(|n| **n != at) {
            at = next;
        }
        at
    }
    /// [`Self::get`], which makes the next look-up shorter.
    fn find(&mut self, value: Value) -> Value {
        let mut at = value;
        while let Some(&next) = self.to.get(at.index()).filter(|n| **n != at) {
            let further = self.to[next.index()];
            self.to[at.index()] = further;
            at = further;
        }
        at
    }
    /// Lets what stands in for `new` stand in for `old`, too; `old` stands for itself up to now.
    fn set(&mut self, old: Value, new: Value) {
        self.to[old.index()] = self.find(new);
    }
    /// Puts the replacements into the body.
    fn apply(&mut self, body: &mut Body) {
        for n in 0..self.to.len() {
            self.to[n] = self.find(Value::new(n));
        }
        body.replace_values(|v| self.to.get(v.index()).copied().unwrap_or(v));
    }
}

#[cfg(test)]
mod testing {
    use crate::ir::{Body, Module};
    use crate::text;
    use crate::verify::verify;

    pub(super) fn parsed(source: &str) -> Module {
        let module = text::parse(source).unwrap_or_else(|e| panic!("{e:?}"));
        verify(&module).unwrap_or_else(|e| panic!("{e:?}\n{source}"));
        module
    }

    /// Runs a pass over the first function, and again, which must find nothing left.
    pub(super) fn check(run: impl Fn(&mut Body) -> bool, before: &str, after: &str) {
        let mut module = parsed(before);
        let changed = module.functions[0].body.as_mut().map(&run);
        verify(&module).unwrap_or_else(|e| panic!("{e:?}\n{module}"));
        assert_eq!(text::print(&module), after);
        assert_eq!(changed, Some(before != after));
        assert_eq!(module.functions[0].body.as_mut().map(&run), Some(false), "the second run changes more");
    }
}
