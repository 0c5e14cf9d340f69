//! The loop that everything runs in.

use super::{Exec, Next, Step, column, locate};
use crate::attr::IntCmp;
use crate::eval::Pure;
use crate::interp::code::{Code, Column, Ins};
use crate::interp::machine::{Block, Common, Env};
use crate::interp::warp::{Group, State, Warp};
use crate::interp::{Fault, FaultKind};
use crate::num::{self, Format};

/// Lanes that a value for each lane goes to.
#[inline(always)]
fn put(to: &mut Column, mask: u32, value: impl Fn(usize) -> u64) {
    if mask == u32::MAX {
        for (lane, to) in to.iter_mut().enumerate() {
            *to = value(lane);
        }
    } else {
        for (lane, to) in to.iter_mut().enumerate() {
            if mask >> lane & 1 != 0 {
                *to = value(lane);
            }
        }
    }
}

#[inline(always)]
fn f32_result(v: f32) -> u64 {
    if v.is_nan() { num::canonical_nan(Format::F32) } else { u64::from(v.to_bits()) }
}

#[inline(always)]
fn f32_of(v: u64) -> f32 {
    f32::from_bits(v as u32)
}

/// Runs a group until it has executed about `budget` instructions, waits, ends, splits, or comes to a block that
/// begins at `stop_at` or behind it. Returns how many instructions it executed.
pub(in crate::interp) fn run_group<'l>(
    env: &mut Env<'l>,
    cluster: &mut Common,
    block: &mut Block,
    warp: &mut Warp<'l>,
    group: usize,
    budget: u32,
    stop_at: u32,
) -> Result<u32, Box<Fault>> {
    let Group { lanes: mask, frame, mut pc, .. } = warp.groups[group];
    let frame = frame as usize;
    let code: &'l Code = warp.frames[frame].code;
    let weight = u64::from(mask.count_ones());
    let mut done = 0u32;
    let mut registers = &mut warp.frames[frame].registers[..];

    macro_rules! operand {
        ($r:expr) => {
            *column(registers, &code.constants, $r)
        };
    }
    macro_rules! unary {
        ($i:ident, |$a:ident| $e:expr) => {{
            let x = operand!($i.a);
            put(&mut registers[$i.d as usize], mask, |l| {
                let $a = x[l];
                $e
            });
            pc += 1;
        }};
    }
    macro_rules! binary {
        ($i:ident, |$a:ident, $b:ident| $e:expr) => {{
            let (x, y) = (operand!($i.a), operand!($i.b));
            put(&mut registers[$i.d as usize], mask, |l| {
                let ($a, $b) = (x[l], y[l]);
                $e
            });
            pc += 1;
        }};
    }
    macro_rules! ternary {
        ($i:ident, |$a:ident, $b:ident, $c:ident| $e:expr) => {{
            let (x, y, z) = (operand!($i.a), operand!($i.b), operand!($i.c));
            put(&mut registers[$i.d as usize], mask, |l| {
                let ($a, $b, $c) = (x[l], y[l], z[l]);
                $e
            });
            pc += 1;
        }};
    }
    macro_rules! compare {
        ($i:ident, $cmp:ident, |$a:ident| $e:expr) => {{
            match $cmp {
                IntCmp::Eq => binary!($i, |x, y| u64::from(x == y)),
                IntCmp::Ne => binary!($i, |x, y| u64::from(x != y)),
                IntCmp::Lt => binary!($i, |x, y| {
                    let (p, q) = (
                        {
                            let $a = x;
                            $e
                        },
                        {
                            let $a = y;
                            $e
                        },
                    );
                    u64::from(p < q)
                }),
                IntCmp::Le => binary!($i, |x, y| {
                    let (p, q) = (
                        {
                            let $a = x;
                            $e
                        },
                        {
                            let $a = y;
                            $e
                        },
                    );
                    u64::from(p <= q)
                }),
                IntCmp::Gt => binary!($i, |x, y| {
                    let (p, q) = (
                        {
                            let $a = x;
                            $e
                        },
                        {
                            let $a = y;
                            $e
                        },
                    );
                    u64::from(p > q)
                }),
                IntCmp::Ge => binary!($i, |x, y| {
                    let (p, q) = (
                        {
                            let $a = x;
                            $e
                        },
                        {
                            let $a = y;
                            $e
                        },
                    );
                    u64::from(p >= q)
                }),
            }
        }};
    }
    macro_rules! enter {
        ($to:expr) => {{
            pc = $to;
            if pc >= stop_at || done >= budget {
                warp.groups[group].pc = pc;
                break;
            }
        }};
    }

    loop {
        let Some(i) = code.ins.get(pc as usize) else {
            warp.groups[group].pc = pc;
            return end_of_code(env, block, warp, code, mask);
        };
        done += 1;
        match i.exec {
            Exec::Move => {
                done -= 1;
                unary!(i, |a| a);
            }
            Exec::EdgeJump => {
                done -= 1;
                enter!(i.a);
            }
            Exec::Jump => enter!(i.a),
            Exec::BrIf => {
                let condition = column(registers, &code.constants, i.a);
                let mut yes = 0u32;
                for (lane, c) in condition.iter().enumerate() {
                    yes |= ((*c & 1) as u32) << lane;
                }
                yes &= mask;
                if yes == mask {
                    enter!(i.b);
                } else if yes == 0 {
                    enter!(i.c);
                } else {
                    warp.groups[group].pc = i.b;
                    warp.groups[group].lanes = yes;
                    warp.groups.push(Group { lanes: mask & !yes, pc: i.c, ..warp.groups[group] });
                    break;
                }
            }
            Exec::Switch => {
                let selector = operand!(i.a);
                let list = &code.lists[i.list as usize..i.list as usize + i.imm as usize];
                if split(&mut warp.groups, group, mask, |lane| {
                    list.get(selector[lane] as usize).or(list.last()).copied().unwrap_or(0)
                }) {
                    break;
                }
                enter!(warp.groups[group].pc);
            }

            Exec::Add32 => binary!(i, |a, b| u64::from((a as u32).wrapping_add(b as u32))),
            Exec::Add64 => binary!(i, |a, b| a.wrapping_add(b)),
            Exec::Sub32 => binary!(i, |a, b| u64::from((a as u32).wrapping_sub(b as u32))),
            Exec::Sub64 => binary!(i, |a, b| a.wrapping_sub(b)),
            Exec::Mul32 => binary!(i, |a, b| u64::from((a as u32).wrapping_mul(b as u32))),
            Exec::Mul64 => binary!(i, |a, b| a.wrapping_mul(b)),
            Exec::MulWideU32 => binary!(i, |a, b| u64::from(a as u32) * u64::from(b as u32)),
            Exec::MulWideS32 => binary!(i, |a, b| (i64::from(a as i32) * i64::from(b as i32)) as u64),
            Exec::And => binary!(i, |a, b| a & b),
            Exec::Or => binary!(i, |a, b| a | b),
            Exec::Xor => binary!(i, |a, b| a ^ b),
            Exec::Shl32 => binary!(i, |a, b| if b < 32 { u64::from((a as u32) << (b as u32 & 31)) } else { 0 }),
            Exec::Shl64 => binary!(i, |a, b| if b < 64 { a << (b & 63) } else { 0 }),
            Exec::ShrU32 => binary!(i, |a, b| if b < 32 { u64::from((a as u32) >> (b as u32 & 31)) } else { 0 }),
            Exec::ShrU64 => binary!(i, |a, b| if b < 64 { a >> (b & 63) } else { 0 }),
            Exec::ShrS32 => binary!(i, |a, b| u64::from(((a as i32) >> b.min(31)) as u32)),
            Exec::ShrS64 => binary!(i, |a, b| ((a as i64) >> b.min(63)) as u64),
            Exec::MinS32 => binary!(i, |a, b| u64::from((a as i32).min(b as i32) as u32)),
            Exec::MaxS32 => binary!(i, |a, b| u64::from((a as i32).max(b as i32) as u32)),
            Exec::MinU32 => binary!(i, |a, b| a.min(b)),
            Exec::MaxU32 => binary!(i, |a, b| a.max(b)),
            Exec::CmpU(cmp) => compare!(i, cmp, |a| a),
            Exec::CmpS32(cmp) => compare!(i, cmp, |a| a as i32),
            Exec::CmpS64(cmp) => compare!(i, cmp, |a| a as i64),
            Exec::Select => ternary!(i, |a, b, c| if a & 1 != 0 { b } else { c }),
            Exec::Mask => {
                let keep = i.ty.mask();
                unary!(i, |a| a & keep);
            }
            Exec::Sext32 => unary!(i, |a| i64::from(a as i32) as u64),
            Exec::AddF32 => binary!(i, |a, b| f32_result(f32_of(a) + f32_of(b))),
            Exec::SubF32 => binary!(i, |a, b| f32_result(f32_of(a) - f32_of(b))),
            Exec::MulF32 => binary!(i, |a, b| f32_result(f32_of(a) * f32_of(b))),
            Exec::FmaF32 => ternary!(i, |a, b, c| f32_result(f32_of(a).mul_add(f32_of(b), f32_of(c)))),
            Exec::AddF64 => binary!(i, |a, b| num::add(Format::F64, a, b, num::Mode::RN)),
            Exec::SubF64 => binary!(i, |a, b| num::sub(Format::F64, a, b, num::Mode::RN)),
            Exec::MulF64 => binary!(i, |a, b| num::mul(Format::F64, a, b, num::Mode::RN)),
            Exec::FmaF64 => ternary!(i, |a, b, c| num::fma(Format::F64, a, b, c, num::Mode::RN)),
            Exec::Word => {
                word(registers, code, i, mask);
                pc += 1;
            }
            Exec::Many => {
                many(registers, code, i, mask);
                pc += 1;
            }

            Exec::Run(handler) => {
                warp.groups[group].pc = pc;
                env.clock = env.steps + u64::from(done) * weight;
                let mut step = Step { env, cluster, block, warp, group, lanes: mask, code, ins: i };
                match handler(&mut step) {
                    Ok(Next::Advance) => pc += 1,
                    Ok(Next::Moved) => break,
                    Err(t) => return Err(locate(*t, env, block, warp, code, Some(i))),
                }
                registers = &mut warp.frames[frame].registers[..];
            }
        }
    }
    env.steps += u64::from(done) * weight;
    Ok(done)
}

/// Gives each lane a place; where they differ, a group for each place, and true.
pub(super) fn split(groups: &mut Vec<Group>, group: usize, mask: u32, to: impl Fn(usize) -> u32) -> bool {
    let mut left = mask;
    let mut parts: Vec<(u32, u32)> = Vec::new();
    while left != 0 {
        let target = to(left.trailing_zeros() as usize);
        let same = super::lanes(left).filter(|&l| to(l) == target).fold(0, |m, l| m | 1u32 << l);
        parts.push((target, same));
        left &= !same;
    }
    for (n, &(pc, lanes)) in parts.iter().enumerate() {
        if n == 0 {
            groups[group].pc = pc;
            groups[group].lanes = lanes;
        } else {
            groups.push(Group { pc, lanes, state: State::Ready, ..groups[group] });
        }
    }
    parts.len() > 1
}

#[cold]
fn end_of_code(env: &Env<'_>, block: &Block, warp: &Warp<'_>, code: &Code, mask: u32) -> Result<u32, Box<Fault>> {
    let lane = mask.trailing_zeros();
    match super::trouble(FaultKind::Unsupported, lane, "a block without a terminator") {
        Ok(never) => Ok(never),
        Err(t) => Err(locate(*t, env, block, warp, code, None)),
    }
}

/// An op with one result and at most four operands.
fn word(registers: &mut [Column], code: &Code, i: &Ins, mask: u32) {
    let pure: &Pure = &code.pures[i.imm as usize];
    let at = |n: usize, or: u32| code.args(i).get(n).copied().unwrap_or(or);
    if i.args == 0 {
        put(&mut registers[i.d as usize], mask, |_| pure.word([0; 4]));
        return;
    }
    let x = *column(registers, &code.constants, i.a);
    match i.args {
        1 => put(&mut registers[i.d as usize], mask, |l| pure.word([x[l], 0, 0, 0])),
        2 => {
            let y = *column(registers, &code.constants, i.b);
            put(&mut registers[i.d as usize], mask, |l| pure.word([x[l], y[l], 0, 0]));
        }
        _ => {
            let y = *column(registers, &code.constants, i.b);
            let z = *column(registers, &code.constants, i.c);
            let w = *column(registers, &code.constants, at(3, i.a));
            put(&mut registers[i.d as usize], mask, |l| pure.word([x[l], y[l], z[l], w[l]]));
        }
    }
}

/// Any op without effects, by its definition on 128-bit patterns.
fn many(registers: &mut [Column], code: &Code, i: &Ins, mask: u32) {
    let pure: &Pure = &code.pures[i.imm as usize];
    let (args, results) = (code.args(i), code.results(i));
    let two = |wide: bool| if wide { 2 } else { 1 };
    let (arg_width, result_width) = (pure.arg_registers(), two(pure.result_is_wide()));
    let mut values: Vec<u128> = Vec::with_capacity(args.len());
    let mut out = vec![0u128; results.len() / result_width];
    for lane in super::lanes(mask) {
        values.clear();
        let mut next = args.iter().map(|&r| u128::from(column(registers, &code.constants, r)[lane]));
        let mut index = 0;
        while let Some(low) = next.next() {
            let high = if two(arg_width(index)) == 2 { next.next().unwrap_or(0) } else { 0 };
            values.push(high << 64 | low);
            index += 1;
        }
        pure.eval(&values, &mut out);
        for (n, value) in out.iter().enumerate() {
            for half in 0..result_width {
                registers[results[n * result_width + half] as usize][lane] = (value >> (64 * half)) as u64;
            }
        }
    }
}
