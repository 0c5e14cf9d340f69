//! Special registers, addresses, the stack, and ops that the program cannot tell did anything.

use super::{Next, Step, Trouble, lanes, trouble};
use crate::attr::{Space, Sreg};
use crate::interp::FaultKind;
use crate::interp::space::{LOCAL_WINDOW, PARAM_WINDOW, SHARED_STRIDE, SHARED_WINDOW, WINDOW_SIZE, Window, window};
use crate::interp::warp::State;

type Done = Result<Next, Box<Trouble>>;

pub(super) fn nothing(_: &mut Step<'_, '_>) -> Done {
    Ok(Next::Advance)
}

pub(super) fn zero(step: &mut Step<'_, '_>) -> Done {
    step.set_all(0, &[0; 32]);
    Ok(Next::Advance)
}

pub(super) fn shared_address(step: &mut Step<'_, '_>) -> Done {
    let address = u64::from(step.block.rank) * SHARED_STRIDE + step.ins.imm;
    step.set_all(0, &[address; 32]);
    Ok(Next::Advance)
}

pub(super) fn slot_address(step: &mut Step<'_, '_>) -> Done {
    let frame = step.group().frame as usize;
    let addresses = step.warp.frames[frame].base.map(|b| u64::from(b) + step.ins.imm);
    step.set_all(0, &addresses);
    Ok(Next::Advance)
}

pub(super) fn alloca(step: &mut Step<'_, '_>) -> Done {
    let sizes = step.arg(0);
    let align = u32::try_from(step.ins.imm).ok().filter(|a| a.is_power_of_two()).unwrap_or(1);
    for lane in lanes(step.lanes) {
        let start = step.warp.top[lane].checked_next_multiple_of(align);
        let end = start.and_then(|s| s.checked_add(u32::try_from(sizes[lane]).ok()?));
        match (start, end) {
            (Some(start), Some(end)) if end <= step.env.stack_bytes => {
                step.warp.grow(lane, end);
                step.set(0, lane, start.into());
            }
            _ => {
                let message = format!("{} bytes more than the thread's stack has room for", sizes[lane]);
                return trouble(FaultKind::StackOverflow, lane as u32, message);
            }
        }
    }
    Ok(Next::Advance)
}

pub(super) fn stack_save(step: &mut Step<'_, '_>) -> Done {
    let tops = step.warp.top.map(u64::from);
    step.set_all(0, &tops);
    Ok(Next::Advance)
}

pub(super) fn stack_restore(step: &mut Step<'_, '_>) -> Done {
    let marks = step.arg(0);
    let frame = step.group().frame as usize;
    for lane in lanes(step.lanes) {
        let (low, high) = (step.warp.frames[frame].slots_end[lane], step.warp.top[lane]);
        match u32::try_from(marks[lane]) {
            Ok(mark) if (low..=high).contains(&mark) => step.warp.top[lane] = mark,
            _ => {
                let message = format!("{:#x} is no mark of this activation's stack", marks[lane]);
                return trouble(FaultKind::BadOperand, lane as u32, message);
            }
        }
    }
    Ok(Next::Advance)
}

pub(super) fn to_generic(step: &mut Step<'_, '_>) -> Done {
    let addresses = step.arg(0);
    let rank = u64::from(step.block.rank) * SHARED_STRIDE;
    let space = step.ins.space;
    let values = addresses.map(|a| match space {
        Space::Shared => SHARED_WINDOW + (a & (WINDOW_SIZE - 1) & (SHARED_STRIDE - 1) | rank),
        Space::Cluster => SHARED_WINDOW + (a & (WINDOW_SIZE - 1)),
        Space::Local => LOCAL_WINDOW + (a & (WINDOW_SIZE - 1)),
        Space::Param => PARAM_WINDOW + (a & (WINDOW_SIZE - 1)),
        Space::Generic | Space::Global | Space::Const => a,
    });
    step.set_all(0, &values);
    Ok(Next::Advance)
}

pub(super) fn from_generic(step: &mut Step<'_, '_>) -> Done {
    let addresses = step.arg(0);
    let space = step.ins.space;
    let values = addresses.map(|a| match space {
        Space::Shared | Space::Cluster => a.wrapping_sub(SHARED_WINDOW),
        Space::Local => a.wrapping_sub(LOCAL_WINDOW),
        Space::Param => a.wrapping_sub(PARAM_WINDOW),
        Space::Generic | Space::Global | Space::Const => a,
    });
    step.set_all(0, &values);
    Ok(Next::Advance)
}

pub(super) fn is_space(step: &mut Step<'_, '_>) -> Done {
    let addresses = step.arg(0);
    let space = step.ins.space;
    let launch = step.env.launch;
    let constant = |a: u64| {
        let mut variables = launch.module.globals.iter().zip(launch.globals);
        variables.any(|(g, &base)| g.space == Space::Const && a >= base && a - base < g.size)
    };
    let rank = u64::from(step.block.rank);
    let ranks = step.cluster.shared.len() as u64;
    let values = addresses.map(|a| {
        let (w, offset) = window(a);
        u64::from(match space {
            Space::Shared => w == Window::Shared && offset / SHARED_STRIDE == rank,
            Space::Cluster => w == Window::Shared && offset / SHARED_STRIDE < ranks,
            Space::Local => w == Window::Local,
            Space::Param => w == Window::Param,
            Space::Const => w == Window::Global && constant(a),
            Space::Global => w == Window::Global && !constant(a),
            Space::Generic => true,
        })
    });
    step.set_all(0, &values);
    Ok(Next::Advance)
}

pub(super) fn nanosleep(step: &mut Step<'_, '_>) -> Done {
    let group = step.group();
    group.state = State::Paused;
    group.pc += 1;
    Ok(Next::Moved)
}

pub(super) fn register(step: &mut Step<'_, '_>) -> Done {
    let which = step.attr::<Sreg>();
    let mask = step.ins.ty.mask();
    let values = read(step, which).map(|v| v & mask);
    step.set_all(0, &values);
    Ok(Next::Advance)
}

/// The value of a special register in every lane.
fn read(step: &Step<'_, '_>, which: Sreg) -> [u64; 32] {
    let launch = step.env.launch;
    let first = step.warp.id * 32;
    let tid = |d: usize| -> [u64; 32] {
        let [x, y, _] = launch.block;
        std::array::from_fn(|lane| {
            let t = first + lane as u32;
            u64::from([t % x, t / x % y, t / (x * y)][d])
        })
    };
    let same = |v: u32| [u64::from(v); 32];
    let lane = |f: fn(u32) -> u32| std::array::from_fn(|l| u64::from(f(l as u32)));
    let cluster = launch.cluster;
    let index = step.block.index;
    let clock = step.env.clock;
    // A fixed date, so that a launch gives the same result every time; a step counts as a nanosecond.
    let timer = 1_700_000_000_000_000_000 + clock;
    match which {
        Sreg::TidX => tid(0),
        Sreg::TidY => tid(1),
        Sreg::TidZ => tid(2),
        Sreg::NtidX => same(launch.block[0]),
        Sreg::NtidY => same(launch.block[1]),
        Sreg::NtidZ => same(launch.block[2]),
        Sreg::CtaidX => same(index[0]),
        Sreg::CtaidY => same(index[1]),
        Sreg::CtaidZ => same(index[2]),
        Sreg::NctaidX => same(launch.grid[0]),
        Sreg::NctaidY => same(launch.grid[1]),
        Sreg::NctaidZ => same(launch.grid[2]),
        Sreg::LaneId => lane(|l| l),
        Sreg::WarpId => same(step.warp.id),
        // Not the block's warps: how many warps a multiprocessor holds (64 on an H200).
        Sreg::NWarpId => same(64),
        Sreg::LaneMaskEq => lane(|l| 1 << l),
        Sreg::LaneMaskLe => lane(|l| u32::MAX >> (31 - l)),
        Sreg::LaneMaskLt => lane(|l| (1 << l) - 1),
        Sreg::LaneMaskGe => lane(|l| u32::MAX << l),
        Sreg::LaneMaskGt => lane(|l| (u32::MAX - 1) << l),
        Sreg::SmId => same(0),
        Sreg::NSmId => same(1),
        Sreg::GridId => [launch.grid_id; 32],
        Sreg::Clock | Sreg::Clock64 => [clock; 32],
        Sreg::ClockHi => [clock >> 32; 32],
        Sreg::GlobalTimer | Sreg::GlobalTimerLo => [timer; 32],
        Sreg::GlobalTimerHi => [timer >> 32; 32],
        Sreg::DynamicSharedSize => same(launch.dynamic_shared),
        Sreg::TotalSharedSize | Sreg::AggrSharedSize => same(step.env.shared_bytes),
        Sreg::CurrentGraphExec | Sreg::Pm | Sreg::Pm64 => same(0),
        Sreg::IsExplicitCluster => same(u32::from(cluster != [1; 3])),
        Sreg::ClusterIdX => same(index[0] / cluster[0]),
        Sreg::ClusterIdY => same(index[1] / cluster[1]),
        Sreg::ClusterIdZ => same(index[2] / cluster[2]),
        Sreg::NClusterIdX => same(launch.grid[0] / cluster[0]),
        Sreg::NClusterIdY => same(launch.grid[1] / cluster[1]),
        Sreg::NClusterIdZ => same(launch.grid[2] / cluster[2]),
        Sreg::ClusterCtaIdX => same(index[0] % cluster[0]),
        Sreg::ClusterCtaIdY => same(index[1] % cluster[1]),
        Sreg::ClusterCtaIdZ => same(index[2] % cluster[2]),
        Sreg::ClusterNCtaIdX => same(cluster[0]),
        Sreg::ClusterNCtaIdY => same(cluster[1]),
        Sreg::ClusterNCtaIdZ => same(cluster[2]),
        Sreg::ClusterCtaRank => same(step.block.rank),
        Sreg::ClusterNCtaRank => same(cluster.iter().product()),
        Sreg::EnvReg => match step.ins.imm {
            1 => [launch.workspace >> 32; 32],
            2 => [launch.workspace & 0xffff_ffff; 32],
            _ => same(0),
        },
    }
}
