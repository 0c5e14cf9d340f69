//! Puts bodies of functions in the place of their calls.

use crate::build::Builder;
use crate::entity::{Block, FuncId, Inst, Value};
use crate::ir::{Body, Def, Function, Module};
use crate::op::Op;

/// Replaces calls in a function of others that are `wanted` and do not come to call themselves, those in what is put in as well,
/// as long as the function does not grow beyond so many instructions.
pub fn run(module: &mut Module, into: FuncId, most: usize, wanted: impl Fn(FuncId) -> bool) -> bool {
    let mut changed = false;
    let Some(mut function) = module.functions.get(into.index()).cloned() else { return false };
    while let Some((block, place, callee)) = next_call(module, &function, most, &wanted) {
        let Some(called) = module.functions.get(callee.index()) else { break };
        replace(&mut function, block, place, called);
        changed = true;
    }
    if changed {
        module.functions[into.index()] = function;
    }
    changed
}

fn size(body: &Body) -> usize {
    body.blocks.iter().map(|block| block.insts.len()).sum()
}

/// A call to be replaced: its block, its place there, and whom it calls.
fn next_call(
    module: &Module,
    function: &Function,
    most: usize,
    wanted: &dyn Fn(FuncId) -> bool,
) -> Option<(Block, usize, FuncId)> {
    let body = function.body.as_ref()?;
    let room = most.checked_sub(size(body))?;
    body.block_ids().find_map(|block| {
        let insts = body.blocks[block.index()].insts.iter().enumerate();
        insts.filter(|(_, inst)| body.inst(**inst).op == Op::Call).find_map(|(place, inst)| {
            let callee = FuncId::new(body.inst(*inst).imm as usize);
            let called = module.functions.get(callee.index())?.body.as_ref()?;
            let fits = size(called) <= room && wanted(callee) && !calls_itself(module, callee);
            fits.then_some((block, place, callee))
        })
    })
}

/// Whether a call of a function may lead to another one of it.
fn calls_itself(module: &Module, function: FuncId) -> bool {
    let (mut seen, mut work) = (vec![false; module.functions.len()], vec![function]);
    while let Some(at) = work.pop() {
        let Some(body) = module.functions.get(at.index()).and_then(|f| f.body.as_ref()) else { continue };
        for data in body.blocks.iter().flat_map(|b| &b.insts).map(|i| body.inst(*i)) {
            match data.op {
                Op::CallIndirect => return true,
                Op::Call if data.imm as usize == function.index() => return true,
                Op::Call if !std::mem::replace(&mut seen[data.imm as usize], true) => {
                    work.push(FuncId::new(data.imm as usize));
                }
                _ => {}
            }
        }
    }
    false
}

/// Puts a body in the place of a call.
fn replace(function: &mut Function, block: Block, place: usize, called: &Function) {
    let slots = function.slots.len() as u64;
    function.slots.extend(&called.slots);
    let (Some(body), Some(source)) = (function.body.as_mut(), called.body.as_ref()) else { return };
    let mut rest = body.blocks[block.index()].insts.split_off(place);
    let call: Inst = rest.remove(0);
    let behind = body.add_block();
    body.blocks[behind.index()].insts = rest;
    // What the call gave comes to the block behind it.
    let results = body.results(call).to_vec();
    for &result in &results {
        body.values[result.index()].def = Def::Param(behind);
    }
    body.blocks[behind.index()].params = results;
    let blocks: Vec<Block> = source.blocks.iter().map(|_| body.add_block()).collect();
    let mut values: Vec<Option<Value>> = vec![None; source.values.len()];
    for (old, &new) in source.blocks.iter().zip(&blocks) {
        for &param in &old.params {
            values[param.index()] = Some(body.add_param(new, source.ty(param)));
        }
        for &inst in &old.insts {
            for &result in source.results(inst) {
                values[result.index()] = Some(body.add_value(source.ty(result), Def::None));
            }
        }
    }
    let value = |v: &Value| values[v.index()].unwrap_or(*v);
    for (old, &new) in source.blocks.iter().zip(&blocks) {
        for &inst in &old.insts {
            let data = *source.inst(inst);
            let span = source.spans[inst.index()];
            let args: Vec<Value> = source.args(inst).iter().map(value).collect();
            if data.op == Op::Ret {
                Builder { span, ..Builder::new(body, new) }.jump(behind, &args);
                continue;
            }
            let results: Vec<Value> = source.results(inst).iter().map(value).collect();
            let imm = if data.op == Op::SlotAddr { data.imm + slots } else { data.imm };
            let copy = body.make_with_results(data.op, data.ty, data.attrs, imm, &args, &results, span);
            let targets: Vec<(Block, Vec<Value>)> = source
                .targets(inst)
                .iter()
                .map(|t| (blocks[t.block.index()], source.target_args(*t).iter().map(value).collect()))
                .collect();
            let targets: Vec<(Block, &[Value])> = targets.iter().map(|(b, args)| (*b, args.as_slice())).collect();
            body.set_targets(copy, &targets);
            body.append(new, copy);
        }
    }
    let (span, args) = (body.spans[call.index()], body.args(call).to_vec());
    Builder { span, ..Builder::new(body, block) }.jump(blocks[0], &args);
}

#[cfg(test)]
mod tests {
    use super::run;
    use crate::entity::FuncId;
    use crate::passes::testing::parsed;
    use crate::text;
    use crate::verify::verify;

    const TWO: &str = "\
visible kernel @k(out: 8 align 8 at 0) {
block0:
    v0: i64 = const 0
    v1: i64 = load.param v0
    v2: i32 = const 5
    v3: i32 = call @twice, v2
    v4: i32 = call @twice, v3
    store.global v1, v4
    ret
}
func @twice(i32) -> (i32) {
block0(v0: i32):
    v1: i32 = iadd v0, v0
    ret v1
}
func @again(i32) -> (i32) {
block0(v0: i32):
    v1: i32 = call @again, v0
    ret v1
}
";

    #[test]
    fn calls_become_what_they_call() {
        let mut module = parsed(TWO);
        assert!(run(&mut module, FuncId::new(0), 100, |_| true));
        verify(&module).unwrap_or_else(|e| panic!("{e:?}\n{module}"));
        let kernel = text::print(&module).split("func @twice").next().unwrap_or_default().to_owned();
        assert!(!kernel.contains("call") && kernel.matches("iadd").count() == 2, "{kernel}");
        assert!(!run(&mut module, FuncId::new(0), 100, |_| true));
    }

    #[test]
    fn what_is_too_large_or_calls_itself_stays_a_call() {
        let mut module = parsed(TWO);
        assert!(!run(&mut module, FuncId::new(0), 8, |_| true), "there is no room");
        assert!(!run(&mut module, FuncId::new(2), 100, |_| true), "it calls itself");
    }
}
