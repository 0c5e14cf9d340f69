//! Optional checks of accesses.

use super::memory::{Kind, Place, element};
use super::{Next, Step, Trouble, lanes, trouble};
use crate::attr::Order;
use crate::interp::check::{Access, Conflict, Standing};
use crate::interp::{Fault, FaultKind, Place as Where};
use crate::op::Op;

/// Most warnings of a launch.
const MAX_WARNINGS: usize = 100;

/// A fence orders nothing that is not in order already; it counts where races are looked for.
pub(super) fn fence(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    if step.block.clocks.active() {
        for lane in lanes(step.lanes) {
            step.block.clocks.fence(step.warp.id * 32 + lane as u32);
        }
    }
    Ok(Next::Advance)
}

impl Step<'_, '_> {
    /// Everything before is visible to whoever goes on from the cluster's barrier.
    pub(super) fn release_all(&mut self) {
        if !self.block.clocks.active() {
            return;
        }
        let release = self.env.releases.entry(self.block.clocks.number).or_default();
        for lane in lanes(self.lanes) {
            self.block.clocks.release(release, self.warp.id * 32 + lane as u32, true, self.env.clock);
        }
    }

    /// Checks a lane's access before it happens. `data` is what is written.
    pub(super) fn check_access(
        &mut self,
        lane: usize,
        place: Place,
        offset: u64,
        len: usize,
        kind: Kind,
        data: Option<&[u8]>,
    ) -> Result<(), Box<Trouble>> {
        self.check_copies(lane, place, offset, len, kind)?;
        if self.env.checks.uninitialised {
            self.check_written(lane, place, offset, len, kind, data.is_some())?;
        }
        // An atomic's read is checked as the whole of it.
        if self.env.checks.races && !(kind == Kind::Atomic && data.is_some()) {
            self.check_race(lane, place, offset, len, kind, data)?;
        }
        Ok(())
    }

    fn check_written(
        &mut self,
        lane: usize,
        place: Place,
        offset: u64,
        len: usize,
        kind: Kind,
        writes: bool,
    ) -> Result<(), Box<Trouble>> {
        let (written, name) = match place {
            Place::Shared(rank) => (self.cluster.written.get_mut(rank as usize), "shared"),
            Place::Local => (self.warp.written.get_mut(lane), "local"),
            Place::Global | Place::Param => return Ok(()),
        };
        let (Some(written), Ok(at)) = (written, usize::try_from(offset)) else { return Ok(()) };
        if writes {
            written.write(at, len);
            return Ok(());
        }
        let size = if self.ins.op == Op::Load { element(self.ins.ty.scalar, self.ins.ty.bytes()) } else { len };
        // What is out of bounds is reported as that.
        let inside = match place {
            Place::Shared(_) => at.saturating_add(len) <= self.env.shared_bytes as usize,
            _ => at.saturating_add(len) <= self.warp.top[lane] as usize,
        };
        if inside && written.misses(at, len, size) {
            let message =
                format!("{len}-byte {} of {name} memory at {offset:#x}, which nothing has written", kind.name());
            return trouble(FaultKind::Uninitialised, lane as u32, message);
        }
        Ok(())
    }

    fn check_race(
        &mut self,
        lane: usize,
        place: Place,
        offset: u64,
        len: usize,
        kind: Kind,
        data: Option<&[u8]>,
    ) -> Result<(), Box<Trouble>> {
        let thread = self.warp.id * 32 + lane as u32;
        let order = if matches!(self.ins.op, Op::Load | Op::Store) { self.attr::<Order>() } else { Order::Weak };
        let strong = kind == Kind::Atomic || order != Order::Weak;
        let writes = kind != Kind::Read;
        let time = self.env.clock;
        let access = Access {
            block: self.block.clocks.number,
            thread,
            clock: self.block.clocks.clock(thread),
            function: self.code.id.index() as u32,
            inst: self.ins.inst.index() as u32,
            time,
            strong,
        };
        if strong && kind != Kind::Write {
            self.block.clocks.acquire(thread, time);
        }
        let (cells, name) = match place {
            Place::Global => (Some(&mut self.env.cells), "global"),
            Place::Shared(rank) => (self.cluster.cells.get_mut(rank as usize), "shared"),
            Place::Local | Place::Param => return Ok(()),
        };
        let Some(cells) = cells else { return Ok(()) };
        let (clocks, releases) = (&self.block.clocks, &self.env.releases);
        let standing = |earlier: &Access| -> Standing {
            clocks.standing(earlier, thread, releases.get(&earlier.block).copied().unwrap_or_default())
        };
        let found = cells.access(offset, len as u64, writes, access, &standing);
        if strong && writes {
            let release = self.env.releases.entry(access.block).or_default();
            // The order of an atomic is not looked at: its address orders what others do at it.
            let releasing = kind == Kind::Atomic || order == Order::Release;
            self.block.clocks.release(release, thread, releasing, time);
        }
        match found {
            Some(conflict) => self.report(lane, (place, name), offset, len, kind, data, conflict),
            None => Ok(()),
        }
    }

    #[cold]
    fn report(
        &mut self,
        lane: usize,
        (place, name): (Place, &str),
        offset: u64,
        len: usize,
        kind: Kind,
        data: Option<&[u8]>,
        conflict: Conflict,
    ) -> Result<(), Box<Trouble>> {
        let other = conflict.other;
        let there = self.where_was(&other.clone());
        let verb = if conflict.other_writes { "write" } else { "read" };
        let ([a, b, c], [x, y, z]) = (there.block, there.thread);
        let same_value = kind == Kind::Write && conflict.other_writes && self.holds(place, offset, data);
        let why = if same_value {
            ", of the same value"
        } else if conflict.presumed {
            ", which only a relaxed access without a fence orders"
        } else {
            ""
        };
        let message = format!(
            "race: {len}-byte {} of {name} memory at {offset:#x} and a {verb} by block ({a}, {b}, {c}), thread ({x}, {y}, {z}){why}",
            kind.name()
        );
        let related = vec![(there, format!("the {verb}"))];
        let trouble = Trouble { kind: FaultKind::Race, lane: lane as u32, message, related, place: None };
        if !same_value && !conflict.presumed {
            return Err(Box::new(trouble));
        }
        let pair = [other.function, other.inst, self.code.id.index() as u32, self.ins.inst.index() as u32];
        if self.env.warnings.len() < MAX_WARNINGS && self.env.warned.insert(pair) {
            let fault: Box<Fault> = super::locate(trouble, self.env, self.block, self.warp, self.code, Some(self.ins));
            self.env.warnings.push(*fault);
        }
        Ok(())
    }

    /// Where an earlier access was.
    fn where_was(&self, access: &Access) -> Where {
        let f = self.env.launch.module.functions.get(access.function as usize);
        let body = f.and_then(|f| f.body.as_ref());
        let inst = access.inst as usize;
        let [gx, gy, _] = self.env.launch.grid.map(u64::from);
        Where {
            function: f.map(|f| f.name.clone()).unwrap_or_default(),
            span: body.and_then(|b| b.spans.get(inst)).copied().unwrap_or_default(),
            op: body.and_then(|b| b.insts.get(inst)).map_or("", |i| i.op.info().name),
            block: [access.block % gx, access.block / gx % gy, access.block / (gx * gy)].map(|v| v as u32),
            thread: self.env.thread_index(access.thread),
        }
    }

    /// Whether memory already has what is to be written.
    fn holds(&mut self, place: Place, offset: u64, data: Option<&[u8]>) -> bool {
        let Some(data) = data else { return false };
        match place {
            Place::Global => {
                let mut now = vec![0; data.len()];
                self.env.memory.read(offset, &mut now).is_ok() && now == data
            }
            Place::Shared(rank) => {
                let at = offset as usize;
                let shared = self.cluster.shared.get(rank as usize);
                shared.and_then(|s| s.get(at..at.saturating_add(data.len()))) == Some(data)
            }
            Place::Local | Place::Param => false,
        }
    }
}
