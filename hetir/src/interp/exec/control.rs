//! Calls and the ends of threads.

use super::{Next, Step, Trouble, lanes, trouble};
use crate::entity::{FuncId, SigId};
use crate::interp::FaultKind;
use crate::interp::space::function_at;
use crate::interp::warp::NO_FRAME;

pub(super) fn call(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    enter(step, FuncId::new(step.ins.imm as usize), 0)
}

pub(super) fn call_indirect(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    let targets = step.arg(0);
    let first = step.lanes.trailing_zeros();
    // Lanes with another target make the same call as a group of their own.
    let same = lanes(step.lanes).filter(|&l| targets[l] == targets[first as usize]).fold(0, |m, l| m | 1u32 << l);
    if same != step.lanes {
        let rest = step.lanes & !same;
        step.divide(rest);
        step.lanes = same;
    }
    let target = targets[first as usize];
    let module = step.env.launch.module;
    let Some((id, f)) = function_at(target).and_then(|f| Some((FuncId::new(f), module.functions.get(f)?))) else {
        return trouble(FaultKind::BadCall, first, format!("call of {target:#x}, which is no function"));
    };
    let signature = module.signatures.get(SigId::new(step.ins.imm as usize).index());
    if f.is_kernel() || signature != Some(&f.signature) {
        return trouble(FaultKind::BadCall, first, format!("call of {}, which has another signature", f.name));
    }
    enter(step, id, 1)
}

/// Begins an activation with the operands from `skip` on as its parameters.
fn enter(step: &mut Step<'_, '_>, id: FuncId, skip: usize) -> Result<Next, Box<Trouble>> {
    let first = step.lanes.trailing_zeros();
    let Some(code) = step.env.code(id) else {
        let f = step.env.launch.module.functions.get(id.index());
        let name = f.map_or("a function", |f| &f.name);
        let why = f.and_then(|f| f.unavailable.first()).map(|d| format!(": {}", d.message)).unwrap_or_default();
        return trouble(FaultKind::BadCall, first, format!("call of {name}, which has no body{why}"));
    };
    let args: Vec<_> = step
        .code
        .args(step.ins)
        .iter()
        .skip(skip)
        .copied()
        .collect::<Vec<_>>()
        .into_iter()
        .map(|r| step.get(r))
        .collect();
    let group = *step.group();
    let frame = match step.warp.enter(step.env, code, group.frame, group.pc, step.lanes) {
        Ok(frame) => frame,
        Err((lane, why)) => return trouble(FaultKind::StackOverflow, lane, why),
    };
    let registers = &mut step.warp.frames[frame as usize].registers;
    for (&param, values) in code.params.iter().zip(&args) {
        registers[param as usize] = *values;
    }
    let group = step.group();
    group.frame = frame;
    group.pc = 0;
    Ok(Next::Moved)
}

pub(super) fn ret(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    let frame = step.group().frame;
    let (parent, call) = {
        let f = &step.warp.frames[frame as usize];
        (f.parent, f.call)
    };
    if parent == NO_FRAME {
        return exit(step);
    }
    let values: Vec<_> = (0..usize::from(step.ins.args)).map(|n| step.arg(n)).collect();
    let mask = step.lanes;
    let caller = &mut step.warp.frames[parent as usize];
    if let Some(call) = caller.code.ins.get(call as usize) {
        for (&to, from) in caller.code.results(call).iter().zip(&values) {
            for lane in lanes(mask) {
                caller.registers[to as usize][lane] = from[lane];
            }
        }
    }
    step.warp.leave(step.env, frame, mask);
    let group = step.group();
    group.frame = parent;
    group.pc = call + 1;
    Ok(Next::Moved)
}

pub(super) fn exit(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    let mask = step.lanes;
    step.cluster.barrier.threads_ended(&step.warp.cluster_phase, mask);
    step.warp.end_lanes(step.env, step.group);
    step.block.live[step.warp.id as usize] = step.warp.live;
    step.block.barriers.threads_ended(&step.block.live, step.env);
    super::warp::members_ended(step.block, step.warp);
    super::barrier::converge(step)?;
    Ok(Next::Moved)
}

pub(super) fn trap(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    trouble(FaultKind::Trap, step.lanes.trailing_zeros(), "trap")
}

pub(super) fn breakpoint(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    trouble(FaultKind::Breakpoint, step.lanes.trailing_zeros(), "breakpoint without a debugger")
}

impl Step<'_, '_> {
    /// Splits lanes off into a group of their own at the same instruction.
    pub(super) fn divide(&mut self, rest: u32) {
        let group = *self.group();
        self.group().lanes = group.lanes & !rest;
        self.warp.groups.push(crate::interp::warp::Group { lanes: rest, ..group });
    }
}
