//! Special registers that the device knows.

use crate::sys::strand::Strand;
use hetir::attr::Sreg;
use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Warps that a multiprocessor can hold.
pub(crate) const WARPS_PER_MULTIPROCESSOR: u32 = 64;

/// Counts nanoseconds: the device says that its clock has 1 GHz.
fn clock() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

fn timer() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_nanos() as u64)
}

/// The value of a register, of those that differ from lane to lane the first lane's.
pub(crate) fn read(strand: &Strand, which: u32) -> u64 {
    let Some(&which) = Sreg::ALL.get(which as usize) else { return 0 };
    let warp = strand.warp();
    let job = strand.job();
    let lane = strand.lane().unwrap_or_else(|| warp.mask.trailing_zeros() & 31);
    let tid = job.thread_index(warp.warp * 32 + lane);
    let cluster = job.cluster.map(|n| n.max(1));
    let inside: [u32; 3] = std::array::from_fn(|d| warp.cta[d] % cluster[d]);
    let value = match which {
        Sreg::TidX => tid[0],
        Sreg::TidY => tid[1],
        Sreg::TidZ => tid[2],
        Sreg::NtidX => warp.block[0],
        Sreg::NtidY => warp.block[1],
        Sreg::NtidZ => warp.block[2],
        Sreg::CtaidX => warp.cta[0],
        Sreg::CtaidY => warp.cta[1],
        Sreg::CtaidZ => warp.cta[2],
        Sreg::NctaidX => warp.grid[0],
        Sreg::NctaidY => warp.grid[1],
        Sreg::NctaidZ => warp.grid[2],
        Sreg::ClusterIdX => warp.cta[0] / cluster[0],
        Sreg::ClusterIdY => warp.cta[1] / cluster[1],
        Sreg::ClusterIdZ => warp.cta[2] / cluster[2],
        Sreg::NClusterIdX => warp.grid[0] / cluster[0],
        Sreg::NClusterIdY => warp.grid[1] / cluster[1],
        Sreg::NClusterIdZ => warp.grid[2] / cluster[2],
        Sreg::ClusterCtaIdX => inside[0],
        Sreg::ClusterCtaIdY => inside[1],
        Sreg::ClusterCtaIdZ => inside[2],
        Sreg::ClusterNCtaIdX => cluster[0],
        Sreg::ClusterNCtaIdY => cluster[1],
        Sreg::ClusterNCtaIdZ => cluster[2],
        Sreg::ClusterCtaRank => inside[0] + cluster[0] * (inside[1] + cluster[1] * inside[2]),
        Sreg::ClusterNCtaRank => cluster.iter().product(),
        Sreg::IsExplicitCluster => u32::from(cluster != [1; 3]),
        Sreg::LaneId => lane,
        Sreg::WarpId => warp.warp,
        Sreg::NWarpId => WARPS_PER_MULTIPROCESSOR,
        Sreg::LaneMaskEq => 1 << lane,
        Sreg::LaneMaskLe => u32::MAX >> (31 - lane),
        Sreg::LaneMaskLt => (1 << lane) - 1,
        Sreg::LaneMaskGe => u32::MAX << lane,
        Sreg::LaneMaskGt => (u32::MAX - 1) << lane,
        Sreg::SmId => job.multiprocessor(strand.worker()),
        Sreg::NSmId => job.multiprocessors,
        Sreg::DynamicSharedSize => warp.dynamic_shared,
        Sreg::TotalSharedSize | Sreg::AggrSharedSize => warp.total_shared,
        Sreg::CurrentGraphExec
        | Sreg::Pm
        | Sreg::Pm64
        // Its number would have to come along; the workspace that two of them hold stands in the warp.
        | Sreg::EnvReg => 0,
        Sreg::GridId => return warp.grid_id,
        Sreg::Clock | Sreg::Clock64 => return clock(),
        Sreg::ClockHi => return clock() >> 32,
        Sreg::GlobalTimer | Sreg::GlobalTimerLo => return timer(),
        Sreg::GlobalTimerHi => return timer() >> 32,
    };
    value.into()
}
