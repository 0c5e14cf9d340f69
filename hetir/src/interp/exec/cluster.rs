//! Addresses of the shared memory of a cluster's blocks.

use super::{Next, Step, Trouble};
use crate::interp::space::SHARED_STRIDE;

/// Ranks that an address has room for.
const RANKS: u64 = 256;

pub(super) fn map_rank(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    let (addresses, ranks) = (step.arg(0), step.arg(1));
    let keep = !((RANKS - 1) * SHARED_STRIDE);
    let values = std::array::from_fn(|l| (addresses[l] & keep) | (ranks[l] % RANKS * SHARED_STRIDE));
    step.set_all(0, &values);
    Ok(Next::Advance)
}

pub(super) fn rank_of(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    let ranks = step.arg(0).map(|a| a / SHARED_STRIDE % RANKS);
    step.set_all(0, &ranks);
    Ok(Next::Advance)
}
