//! Lets threads end in kernels only: a function in which one may end returns whether it goes on, as its last result, and
//! whoever called it ends the thread that does not.

use crate::build::Builder;
use crate::entity::{Block, Inst, Value};
use crate::ir::{Body, Function, Module};
use crate::op::Op;
use crate::types::Type;
use std::collections::HashSet;

/// Changes functions in which threads may end, and their calls.
pub fn run(module: &mut Module) -> bool {
    let ending = Ending::of(module);
    if ending.functions.is_empty() {
        return false;
    }
    let signatures: Vec<u64> = (0..module.signatures.len())
        .map(|n| {
            let mut new = module.signatures[n].clone();
            new.results.push(Type::B1);
            if ending.signatures.contains(&n) { module.signature(new).index() as u64 } else { n as u64 }
        })
        .collect();
    for n in 0..module.functions.len() {
        let returns = ending.functions.contains(&n);
        let function = &mut module.functions[n];
        let Some(body) = function.body.as_mut() else { continue };
        let results = function.signature.results.clone();
        if returns {
            function.signature.results.push(Type::B1);
        }
        for block in body.block_ids() {
            if returns {
                end(body, block, &results);
            }
            split(body, block, &ending, &signatures, returns.then_some(&results));
        }
    }
    true
}

/// Functions in which a thread may end, and the signatures that such functions are called by.
struct Ending {
    functions: HashSet<usize>,
    signatures: HashSet<usize>,
}

impl Ending {
    fn of(module: &Module) -> Self {
        let mut ending = Self { functions: HashSet::new(), signatures: HashSet::new() };
        loop {
            let before = (ending.functions.len(), ending.signatures.len());
            for (n, function) in module.functions.iter().enumerate().filter(|(_, f)| !f.is_kernel()) {
                if ending.may_end(module, function) {
                    ending.functions.insert(n);
                    ending.signatures.extend(module.signatures.iter().position(|s| *s == function.signature));
                }
            }
            if before == (ending.functions.len(), ending.signatures.len()) {
                return ending;
            }
        }
    }
    fn may_end(&self, module: &Module, function: &Function) -> bool {
        let Some(body) = &function.body else { return false };
        let alike = |s: &usize| module.signatures[*s] == function.signature;
        self.signatures.iter().any(alike)
            || body.blocks.iter().flat_map(|b| &b.insts).any(|i| {
                let data = body.inst(*i);
                data.op == Op::Exit || self.is_call(data.op, data.imm)
            })
    }
    /// Whether an instruction calls what may end threads.
    fn is_call(&self, op: Op, imm: u64) -> bool {
        match op {
            Op::Call => self.functions.contains(&(imm as usize)),
            Op::CallIndirect => self.signatures.contains(&(imm as usize)),
            _ => false,
        }
    }
}

/// Lets a block that ends the thread or returns say so.
fn end(body: &mut Body, block: Block, results: &[Type]) {
    let Some(&last) = body.blocks[block.index()].insts.last() else { return };
    let op = body.inst(last).op;
    if !matches!(op, Op::Ret | Op::Exit) {
        return;
    }
    let given = (op == Op::Ret).then(|| body.args(last).to_vec());
    body.blocks[block.index()].insts.pop();
    let mut b = Builder { span: body.spans[last.index()], ..Builder::new(body, block) };
    leave(&mut b, given, results);
}

/// Returns these values; without any, the thread ends.
fn leave(b: &mut Builder<'_>, given: Option<Vec<Value>>, results: &[Type]) {
    let goes_on = given.is_some();
    let mut values = given.unwrap_or_else(|| results.iter().map(|ty| b.constant(*ty, 0)).collect());
    values.push(b.constant(Type::B1, goes_on.into()));
    b.effect(Op::Ret, Type::B1, 0, &values);
}

/// Splits a block behind calls that a thread may not come back from. `results` are those of a function that says so itself.
fn split(body: &mut Body, block: Block, ending: &Ending, signatures: &[u64], results: Option<&Vec<Type>>) {
    let insts = std::mem::take(&mut body.blocks[block.index()].insts);
    let mut at = block;
    for inst in insts {
        let data = *body.inst(inst);
        if !ending.is_call(data.op, data.imm) {
            body.append(at, inst);
            continue;
        }
        let (call, goes_on) = call(body, inst, signatures);
        body.append(at, call);
        let (behind, over) = (body.add_block(), body.add_block());
        let span = body.spans[inst.index()];
        Builder { span, ..Builder::new(body, at) }.branch(goes_on, (behind, &[]), (over, &[]));
        let mut b = Builder { span, ..Builder::new(body, over) };
        match results {
            Some(results) => leave(&mut b, None, results),
            None => {
                b.effect(Op::Exit, Type::B1, 0, &[]);
            }
        }
        at = behind;
    }
}

/// The same call with one more result.
fn call(body: &mut Body, inst: Inst, signatures: &[u64]) -> (Inst, Value) {
    let data = *body.inst(inst);
    let (args, mut results) = (body.args(inst).to_vec(), body.results(inst).to_vec());
    let goes_on = body.add_value(Type::B1, crate::ir::Def::None);
    results.push(goes_on);
    let imm = match data.op {
        Op::CallIndirect => signatures.get(data.imm as usize).copied().unwrap_or(data.imm),
        _ => data.imm,
    };
    let span = body.spans[inst.index()];
    (body.make_with_results(data.op, data.ty, data.attrs, imm, &args, &results, span), goes_on)
}

#[cfg(test)]
mod tests {
    use crate::passes::testing::parsed;
    use crate::{text, verify};

    fn check(before: &str, after: &str) {
        let mut module = parsed(before);
        super::run(&mut module);
        verify::verify(&module).unwrap_or_else(|e| panic!("{e:?}\n{module}"));
        assert_eq!(text::print(&module), after);
    }

    #[test]
    fn a_kernel_ends_the_thread_that_its_function_ends() {
        check(
            "visible kernel @k() {
block0:
    v0: b1 = const 1
    v1: i32 = call @f, v0
    v2: i32 = iadd v1, v1
    ret
}

visible func @f(b1) -> (i32) {
block0(v0: b1):
    v1: i32 = const 7
    brif v0, block1, block2
block1:
    exit
block2:
    ret v1
}
",
            "visible kernel @k() {
block0:
    v0: b1 = const 1
    v1: i32, v2: b1 = call @f, v0
    brif v2, block1, block2
block1:
    v3: i32 = iadd v1, v1
    ret
block2:
    exit
}

visible func @f(b1) -> (i32, b1) {
block0(v0: b1):
    v1: i32 = const 7
    brif v0, block1, block2
block1:
    v2: i32 = const 0
    v3: b1 = const 0
    ret v2, v3
block2:
    v4: b1 = const 1
    ret v1, v4
}
",
        );
    }
}
