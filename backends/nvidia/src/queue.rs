//! Queues of work, and points in them.

use crate::assembly::Assembled;
use crate::device::Inner;
use crate::driver::{Event, LaunchShape, Scratch, Side, Stream};
use crate::kernels::{Form, Kernel};
use crate::ptx::{Hidden, Part};
use crate::slots::{Begun, Slot};
use hetgpu_device::{
    Assembly, DeviceError, ErrorKind, Fill, HostBuffer, HostSpan, KnownLaunch, Launch, Listener, LoadedModule, Mark,
    Outcome, ParamPointers, Place, Queue, Transfer, WORKSPACE_BYTES, Work,
};
use hetir::blocks::{Blocks, Cuboid};
use hetir::entity::FuncId;
use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Grids with more blocks run to their end: the list of those that were begun would be too long.
const MOST_BLOCKS: u64 = 1 << 26;

/// What must be there until the device has done what it belongs to, and who is told then.
#[derive(Default)]
pub(crate) struct Pending {
    serial: u64,
    flight: Option<Flight>,
    /// In most launches there is none of it.
    held: Option<Box<Held>>,
}

#[derive(Default)]
struct Held {
    hosts: Vec<HostSpan>,
    scratch: Vec<Scratch>,
    assembly: Option<Arc<dyn Assembly>>,
}

impl Pending {
    /// Nobody is told of a launch.
    pub(crate) fn lands(&mut self) {
        self.flight = None;
    }

    fn held(&mut self) -> &mut Held {
        self.held.get_or_insert_default()
    }

    /// What it is, where it can have a fault.
    fn name(&self) -> Option<String> {
        let assembly = self.held.as_ref().and_then(|held| held.assembly.as_ref());
        let assembly = assembly.map(|assembly| assembly.as_ref() as &dyn Any);
        let assembled = assembly.and_then(|assembly| assembly.downcast_ref::<Assembled>());
        let flight = self.flight.as_ref().map(|flight| flight.kernel.name.clone());
        flight.or_else(|| assembled.map(Assembled::name))
    }
}

/// A launch under way.
struct Flight {
    listener: Arc<dyn Listener>,
    kernel: Arc<Kernel>,
    stopping: Option<Box<Stopping>>,
}

/// How it is found out which blocks a launch did not begin.
struct Stopping {
    /// What the stop word was at the end.
    slot: Slot,
    /// For each block of the grid, the last launch that began it.
    begun: Begun,
    number: u32,
    blocks: Blocks,
    grid: u64,
}

#[derive(Default)]
struct State {
    /// How many pieces of work were appended.
    serial: u64,
    pending: VecDeque<Pending>,
    /// Which state of each kernel's constants this line has seen to.
    constants: HashMap<u64, u64>,
}

/// A stream, and what is to be done when the device has come to a point of it.
pub(crate) struct Line {
    inner: Arc<Inner>,
    pub(crate) stream: Stream,
    state: Mutex<State>,
    /// The first fault of what it was given.
    failed: OnceLock<DeviceError>,
    /// Kernels that were launched without a note of each launch, the last ones; and the number of the last.
    known: Mutex<VecDeque<Arc<Kernel>>>,
    last_known: AtomicU64,
    /// Held by who tells what has ended, so that nobody sees it as passed before that is told.
    settling: Mutex<()>,
    priority: i32,
    /// For every other part of a launch, so that the next begins where the one before it leaves room.
    beside: OnceLock<Arc<Line>>,
}

impl Line {
    pub(crate) fn new(inner: &Arc<Inner>, priority: i32) -> Result<Arc<Self>, DeviceError> {
        let stream = inner.context.stream(priority)?;
        let (inner, state, settling) = (Arc::clone(inner), Mutex::default(), Mutex::default());
        let (failed, beside) = (OnceLock::new(), OnceLock::new());
        let (known, last_known) = (Mutex::default(), AtomicU64::new(0));
        Ok(Arc::new(Self { inner, stream, state, failed, known, last_known, settling, priority, beside }))
    }

    fn beside(&self) -> Result<&Arc<Self>, DeviceError> {
        match self.beside.get() {
            Some(known) => Ok(known),
            None => {
                let made = Self::new(&self.inner, self.priority)?;
                Ok(self.beside.get_or_init(|| made))
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The device has done everything up to a piece of work.
    fn settle(&self, serial: u64) -> Result<(), DeviceError> {
        let _settling = self.settling.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.state();
        let done = state.pending.partition_point(|pending| pending.serial <= serial);
        let done: Vec<Pending> = state.pending.drain(..done).collect();
        drop(state);
        for flight in done.iter().filter_map(|done| done.flight.as_ref()) {
            match flight.outcome(&self.inner) {
                Ok(outcome) => flight.listener.ended(outcome),
                Err(error) => _ = self.failed.set(error),
            }
        }
        self.check()
    }

    /// What the driver says of the device's state is a fault of the kernel that was under way, if one was.
    fn blame(&self, mut error: DeviceError) -> DeviceError {
        if let Some(failed) = self.failed.get() {
            return failed.clone();
        }
        let mut names: Vec<String> = self.state().pending.iter().find_map(Pending::name).into_iter().collect();
        // Of these it is not known whether they are still under way.
        let known = self.known_names();
        names.extend(known.into_iter().filter(|name| names.first() != Some(name)).collect::<Vec<_>>());
        if !names.is_empty() {
            error.message = format!("{}: {}", names.join(" or "), error.message);
        }
        if error.kind.poisons() {
            let _ = self.failed.set(error.clone());
        }
        error
    }

    /// A kernel is launched of which no other note is taken.
    fn note_known(&self, kernel: &Arc<Kernel>) {
        const MOST: usize = 4;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|other| other.id != kernel.id);
        known.push_back(Arc::clone(kernel));
        if known.len() > MOST {
            known.pop_front();
        }
        self.last_known.store(kernel.id, Ordering::Relaxed);
    }

    /// The last of those of which no other note was taken.
    fn known_names(&self) -> Vec<String> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().map(|kernel| kernel.name.clone()).collect()
    }

    /// Gives the driver a piece of work. What comes back stays until that is done.
    pub(crate) fn append(&self, work: &Work) -> Result<Pending, DeviceError> {
        match work {
            Work::Copy(transfer) => self.copy(transfer),
            Work::Fill(fill) => self.fill(fill),
            Work::Launch(launch) => self.launch(launch),
        }
    }

    /// Notes that something is under way which has been given to the driver.
    fn note(&self, mut pending: Pending) {
        let mut state = self.state();
        state.serial += 1;
        pending.serial = state.serial;
        state.pending.push_back(pending);
    }

    fn check(&self) -> Result<(), DeviceError> {
        self.failed.get().cloned().map_or(Ok(()), Err)
    }

    fn launch_assembly(&self, assembled: &Assembled) -> Result<(), DeviceError> {
        for range in &assembled.writes {
            self.inner.constants_written(range.start, range.end - range.start);
        }
        assembled.kernels.iter().try_for_each(|kernel| self.refresh(kernel))?;
        self.stream.launch_graph(&assembled.graph)
    }

    fn copy(&self, transfer: &Transfer) -> Result<Pending, DeviceError> {
        let Transfer { to, from, shape } = transfer;
        let mut pending = Pending::default();
        if shape.is_empty() {
            return Ok(pending);
        }
        for place in [to, from] {
            if let Place::Image(place) = place
                && !self.inner.image(place.image)?.description.holds(place, shape)
            {
                return Err(DeviceError::new(ErrorKind::InvalidRequest, "texels beyond the image, or parts of texels"));
            }
        }
        let lines = Lines::of(transfer);
        for slice in 0..lines.slices {
            for row in 0..lines.rows {
                let to_offset = slice * shape.to_slice + row * shape.to_pitch;
                let from_offset = slice * shape.from_slice + row * shape.from_pitch;
                let at = [row, slice];
                self.copy_rows((to, to_offset), (from, from_offset), at, transfer, &lines, &mut pending)?;
            }
        }
        Ok(pending)
    }

    /// Copies `rows` rows of `bytes` each; offsets count for memory, row and slice for images.
    fn copy_rows(
        &self,
        (to, to_offset): (&Place, u64),
        (from, from_offset): (&Place, u64),
        at: [u64; 2],
        transfer: &Transfer,
        lines: &Lines,
        pending: &mut Pending,
    ) -> Result<(), DeviceError> {
        let (shape, bytes, rows) = (&transfer.shape, lines.row, lines.rows_at_once);
        if let Place::Device(at) = to {
            self.inner.constants_written(at + to_offset, shape.to_pitch * (rows - 1) + bytes);
        }
        let hold = |span: &HostSpan, pending: &mut Pending| pending.held().hosts.push(span.clone());
        if rows > 1 || matches!(to, Place::Image(_)) || matches!(from, Place::Image(_)) {
            let mut side = |place: &Place, offset: u64, pitch: u64| -> Result<Side, DeviceError> {
                match place {
                    Place::Device(at) => Ok(Side::Device(at + offset, pitch.max(bytes))),
                    Place::Host(span) => {
                        pending.held().hosts.push(span.clone());
                        Ok(Side::Host(span.clone(), offset, pitch.max(bytes)))
                    }
                    Place::Image(place) => {
                        let array = self.inner.image(place.image)?;
                        let [x, y, z] = place.origin.map(u64::from);
                        let column = x * array.description.format.texel_bytes() as u64;
                        Ok(Side::Array(array, place.level, [column, y + at[0], z + at[1]]))
                    }
                }
            };
            let (to, from) = (side(to, to_offset, shape.to_pitch)?, side(from, from_offset, shape.from_pitch)?);
            return self.stream.copy_rows(to, from, bytes, rows);
        }
        let part = |span: &HostSpan, offset: u64| {
            let part = span.part(offset as usize, bytes as usize);
            part.ok_or_else(|| DeviceError::new(ErrorKind::InvalidRequest, "a copy past the end of host memory"))
        };
        match (to, from) {
            (Place::Device(to), Place::Device(from)) => {
                let (to, from) = (to + to_offset, from + from_offset);
                if to < from + bytes && from < to + bytes {
                    // It is to arrive as if it had been read first.
                    let between = self.inner.context.scratch(bytes)?;
                    self.stream.copy(between.at, from, bytes)?;
                    self.stream.copy(to, between.at, bytes)?;
                    pending.held().scratch.push(between);
                    return Ok(());
                }
                self.stream.copy(to, from, bytes)
            }
            (Place::Device(to), Place::Host(from)) => {
                let part = part(from, from_offset)?;
                self.stream.copy_in(to + to_offset, &part)?;
                hold(&part, pending);
                Ok(())
            }
            (Place::Host(to), Place::Device(from)) => {
                let part = part(to, to_offset)?;
                self.stream.copy_out(&part, from + from_offset)?;
                hold(&part, pending);
                Ok(())
            }
            // Images were copied above; what is the host's on both sides is checked before.
            _ => Err(DeviceError::new(ErrorKind::NotSupported, "a copy between two places of the host")),
        }
    }

    fn fill(&self, fill: &Fill) -> Result<Pending, DeviceError> {
        let Fill { at, pattern, count, rows, pitch } = *fill;
        let bytes = pattern.bytes();
        let mut pending = Pending::default();
        if count == 0 || rows == 0 {
            return Ok(pending);
        }
        for row in 0..rows {
            let at = at + row * pitch;
            let all = bytes.len() as u64 * count;
            self.inner.constants_written(at, all);
            if bytes.len() <= 4 {
                self.stream.fill(at, bytes, count)?;
                continue;
            }
            // Longer patterns double, beginning with one.
            let first = HostBuffer::from(bytes.to_vec());
            self.stream.copy_in(at, &first.span())?;
            pending.held().hosts.push(first.span());
            let mut done = bytes.len() as u64;
            while done < all {
                let more = done.min(all - done);
                self.stream.copy(at + done, at, more)?;
                done += more;
            }
        }
        Ok(pending)
    }

    fn launch(&self, launch: &Launch) -> Result<Pending, DeviceError> {
        let inner = &self.inner;
        let loaded = inner.loaded(launch.module)?;
        let grid: u64 = launch.grid.iter().map(|&n| u64::from(n)).product();
        if launch.grid.iter().chain(&launch.block).any(|&n| n == 0) {
            return Err(DeviceError::new(ErrorKind::InvalidRequest, "a launch without blocks or threads"));
        }
        let clusters = launch.cluster != [1; 3];
        let (some, whole) = (!launch.blocks.are_all(), clusters || loaded.is_machine_code());
        if some && (whole || !launch.blocks.are_within(grid)) {
            return Err(DeviceError::new(
                ErrorKind::InvalidRequest,
                "blocks that the grid does not have, or a part of what cannot be parted",
            ));
        }
        // What cannot be asked to stop runs to its end.
        let stops = launch.stop != 0 && !whole && grid <= MOST_BLOCKS;
        let count = launch.blocks.count(grid);
        let ranges = if some { launch.blocks.between(0..count) } else { Vec::new() };
        let cuboid = match &ranges[..] {
            [range] if !stops => Cuboid::of(launch.grid, range),
            _ => None,
        };
        let part = match cuboid {
            Some(_) => Part::Cuboid,
            None if some => Part::List,
            None => Part::Whole,
        };
        let kernel = loaded.kernel(launch.kernel, Form { part, stops }, &inner.compiler)?;
        let mut pending = Pending::default();
        let flight =
            |stopping| Flight { listener: Arc::clone(&launch.listener), kernel: Arc::clone(&kernel), stopping };
        if count == 0 {
            pending.flight = Some(flight(None));
            return Ok(pending);
        }
        self.refresh(&kernel)?;
        let shared = kernel.printed.shared_bytes(launch.dynamic_shared);
        kernel.allow(shared, launch.cluster.iter().product())?;
        let mut stopping = None;
        if stops {
            let begun = inner.begun(grid, &self.stream)?;
            let (slot, number) = (inner.slots.take()?, inner.launches.fetch_add(1, Ordering::Relaxed));
            stopping = Some(Box::new(Stopping { slot, begun, number, blocks: launch.blocks.clone(), grid }));
        }
        // Neighbours need no list.
        let list = match &ranges[..] {
            [] | [_] => None,
            ranges => {
                let numbers = ranges.iter().cloned().flatten().flat_map(|n| (n as u32).to_le_bytes());
                let numbers = HostBuffer::from(numbers.collect::<Vec<u8>>());
                let list = inner.context.scratch(count * 4)?;
                self.stream.copy_in(list.at, &numbers.span())?;
                pending.held().hosts.push(numbers.span());
                Some(list)
            }
        };
        let first = if list.is_some() { 0 } else { ranges.first().map_or(0, |range| range.start) };
        let corner = cuboid.map_or([0; 3], |cuboid| cuboid.corner);
        let params = kernel.params(launch, corner, |hidden| match hidden {
            Hidden::Stop => launch.stop,
            Hidden::Begun => stopping.as_ref().map_or(0, |s| s.begun.at()),
            Hidden::Launch => stopping.as_ref().map_or(0, |s| s.number.into()),
            Hidden::Blocks => list.as_ref().map_or(0, |list| list.at),
            Hidden::First => first,
            Hidden::GridId => launch.grid_id,
            Hidden::Workspace => launch.workspace,
            Hidden::DynamicShared => launch.dynamic_shared.into(),
            Hidden::Grid | Hidden::Corner => 0,
        });
        let native = match part {
            Part::Whole => launch.grid,
            Part::Cuboid => cuboid.map_or(launch.grid, |cuboid| cuboid.size),
            Part::List => [count as u32, 1, 1],
        };
        let (block, cluster, cooperative) = (launch.block, launch.cluster, launch.cooperative);
        let shape = LaunchShape { grid: native, block, cluster, shared, cooperative };
        if launch.clears_workspace {
            self.stream.fill(launch.workspace, &[0], WORKSPACE_BYTES)?;
        }
        self.stream.launch(&kernel.function, &shape, &params, &kernel.printed.param_offsets)?;
        if let Some(stopping) = &stopping {
            self.stream.copy_out(&stopping.slot.span(), launch.stop)?;
        }
        if let Some(list) = list {
            pending.held().scratch.push(list);
        }
        pending.flight = Some(flight(stopping));
        Ok(pending)
    }

    /// A kernel's constants are seen to by somebody else.
    pub(crate) fn knows_constants(&self, kernel: &Kernel) {
        if !kernel.constants.is_empty() {
            self.state().constants.insert(kernel.id, self.inner.constants_of(kernel));
        }
    }

    /// Brings the constants that a kernel reads to where it reads them.
    fn refresh(&self, kernel: &Kernel) -> Result<(), DeviceError> {
        if kernel.constants.is_empty() {
            return Ok(());
        }
        let now = self.inner.constants_of(kernel);
        if self.state().constants.insert(kernel.id, now) == Some(now) {
            return Ok(());
        }
        kernel.constants.iter().filter(|constant| !constant.logical.is_empty()).try_for_each(|constant| {
            self.stream.copy(constant.native, constant.logical.start, constant.logical.end - constant.logical.start)
        })
    }
}

/// How the rows of a copy are taken: one by one, or all of a slice at once.
struct Lines {
    row: u64,
    rows_at_once: u64,
    rows: u64,
    slices: u64,
}

impl Lines {
    fn of(transfer: &Transfer) -> Self {
        /// The largest pitch that the driver takes.
        const MOST_PITCH: u64 = i32::MAX as u64;
        let shape = &transfer.shape;
        // The pitch of an image's side is the image's business.
        let fits = [(&transfer.to, shape.to_pitch), (&transfer.from, shape.from_pitch)]
            .iter()
            .all(|(place, pitch)| matches!(place, Place::Image(_)) || (*pitch >= shape.row && *pitch <= MOST_PITCH));
        match fits && shape.rows > 1 {
            true => Self { row: shape.row, rows_at_once: shape.rows, rows: 1, slices: shape.slices },
            false => Self { row: shape.row, rows_at_once: 1, rows: shape.rows, slices: shape.slices },
        }
    }
}

impl Flight {
    fn outcome(&self, inner: &Inner) -> Result<Outcome, DeviceError> {
        let Some(stopping) = &self.stopping else { return Ok(Outcome::Finished) };
        if stopping.slot.value() == 0 {
            return Ok(Outcome::Finished);
        }
        let mut begun = vec![0; stopping.grid as usize * 4];
        inner.read(stopping.begun.at(), &mut begun)?;
        let is_begun =
            |n: u64| begun.get(n as usize * 4..).is_some_and(|b| b.starts_with(&stopping.number.to_le_bytes()));
        let mut unstarted: Vec<Range<u64>> = Vec::new();
        for n in stopping.blocks.between(0..stopping.blocks.count(stopping.grid)).into_iter().flatten() {
            match unstarted.last_mut() {
                _ if is_begun(n) => {}
                Some(last) if last.end == n => last.end += 1,
                _ => unstarted.push(n..n + 1),
            }
        }
        Ok(Outcome::of(unstarted))
    }
}

/// A queue of the device.
pub(crate) struct NvidiaQueue(pub(crate) Arc<Line>);

impl Drop for NvidiaQueue {
    fn drop(&mut self) {
        if self.0.state().pending.is_empty() {
            return;
        }
        // What is under way is still done; whoever calls the device next looks after it.
        if let Ok(end) = point(&self.0, false) {
            self.0.inner.close(end);
        }
    }
}

fn point(line: &Arc<Line>, timed: bool) -> Result<Point, DeviceError> {
    let event = line.inner.context.event(timed).map_err(|error| line.blame(error))?;
    let state = line.state();
    let serial = state.serial;
    let recorded = line.stream.record(&event);
    drop(state);
    recorded.map_err(|error| line.blame(error))?;
    Ok(Point { line: Arc::clone(line), event, serial })
}

/// Parts of a launch that a line and the one beside it run at the same time: one runs, and the next begins where that leaves room.
const PARTS_AT_ONCE: usize = 2;

impl Line {
    fn submit(&self, work: &Work) -> Result<(), DeviceError> {
        work.check()?;
        self.check()?;
        let appended = self.append(work);
        let pending = appended.map_err(|error| if error.kind.poisons() { self.blame(error) } else { error })?;
        self.note(pending);
        Ok(())
    }
}

/// Runs parts of a launch in two lines, in turn. What is under way when one fails is in `under_way` still.
fn run_parts(
    lines: [&Arc<Line>; PARTS_AT_ONCE],
    launch: &Launch,
    under_way: &mut VecDeque<Point>,
    next: &mut dyn FnMut() -> Option<Range<u64>>,
) -> Result<(), DeviceError> {
    // Everything before the launch is in the first line.
    lines[1].stream.follow(&point(lines[0], false)?.event)?;
    for line in lines.into_iter().cycle() {
        if under_way.len() == PARTS_AT_ONCE
            && let Some(first) = under_way.pop_front()
        {
            first.wait()?;
        }
        let Some(part) = next() else { break };
        line.submit(&Work::Launch(Box::new(launch.part(part))))?;
        under_way.push_back(point(line, false)?);
    }
    Ok(())
}

impl Queue for NvidiaQueue {
    fn submit(&self, work: Work) -> Result<(), DeviceError> {
        self.0.inner.sweep();
        self.0.submit(&work)
    }

    fn run_parts(&self, launch: &Launch, next: &mut dyn FnMut() -> Option<Range<u64>>) -> Result<(), DeviceError> {
        let line = &self.0;
        line.inner.sweep();
        line.check()?;
        let mut under_way = VecDeque::new();
        let mut run = run_parts([line, line.beside()?], launch, &mut under_way, next);
        for part in under_way {
            run = run.and(part.wait());
        }
        run.inspect_err(|error| {
            if error.kind.poisons() {
                let _ = line.failed.set(error.clone());
            }
        })
    }

    fn submit_assembly(&self, assembly: &Arc<dyn Assembly>) -> Result<(), DeviceError> {
        let line = &self.0;
        line.inner.sweep();
        line.check()?;
        let any: &dyn Any = assembly.as_ref();
        let other = || DeviceError::new(ErrorKind::InvalidRequest, "an assembly of another device");
        let assembled = any.downcast_ref::<Assembled>().ok_or_else(other)?;
        line.launch_assembly(assembled)
            .map_err(|error| if error.kind.poisons() { line.blame(error) } else { error })?;
        let mut pending = Pending::default();
        pending.held().assembly = Some(Arc::clone(assembly));
        line.note(pending);
        Ok(())
    }

    fn known(&self, module: LoadedModule, kernel: FuncId) -> Option<Arc<dyn KnownLaunch>> {
        let inner = &self.0.inner;
        let kernel = inner.loaded(module).ok()?.kernel(kernel, Form::WHOLE, &inner.compiler).ok()?;
        let simple = kernel.printed.hidden.is_empty() && kernel.constants.is_empty();
        simple.then(|| Arc::new(Known { line: Arc::clone(&self.0), kernel }) as Arc<dyn KnownLaunch>)
    }

    fn finish(&self) -> Result<(), DeviceError> {
        let line = &self.0;
        line.check()?;
        let serial = line.state().serial;
        line.stream.synchronize().map_err(|error| line.blame(error))?;
        line.settle(serial)
    }

    fn mark(&self, timed: bool) -> Result<Arc<dyn Mark>, DeviceError> {
        self.0.check()?;
        Ok(Arc::new(point(&self.0, timed)?))
    }

    fn follow(&self, mark: &dyn Mark) -> Result<(), DeviceError> {
        let mark: &dyn Any = mark;
        let point = mark.downcast_ref::<Point>();
        let point = point.ok_or_else(|| DeviceError::new(ErrorKind::InvalidRequest, "a mark of another device"))?;
        self.0.stream.follow(&point.event).map_err(|error| self.0.blame(error))
    }
}

/// Launches of a kernel in a line, of which the line takes no note but of the last kernel.
struct Known {
    line: Arc<Line>,
    kernel: Arc<Kernel>,
}

impl KnownLaunch for Known {
    fn launch(
        &self,
        grid: [u32; 3],
        block: [u32; 3],
        dynamic_shared: u32,
        params: ParamPointers,
    ) -> Result<(), DeviceError> {
        let Self { line, kernel } = self;
        line.check()?;
        let shared = kernel.printed.shared_bytes(dynamic_shared);
        kernel.allow(shared, 1)?;
        if line.last_known.load(Ordering::Relaxed) != kernel.id {
            line.note_known(kernel);
        }
        let shape = LaunchShape { grid, block, cluster: [1; 3], shared, cooperative: false };
        let launched = line.stream.launch_known(&kernel.function, &shape, params);
        launched.map_err(|error| if error.kind.poisons() { line.blame(error) } else { error })
    }
}

/// A point in a line.
pub(crate) struct Point {
    line: Arc<Line>,
    event: Event,
    serial: u64,
}

impl Mark for Point {
    fn poll(&self) -> Result<bool, DeviceError> {
        match self.event.is_passed() {
            Ok(true) => self.line.settle(self.serial).map(|()| true),
            Ok(false) => Ok(false),
            Err(error) => Err(self.line.blame(error)),
        }
    }

    fn wait(&self) -> Result<(), DeviceError> {
        self.event.wait().map_err(|error| self.line.blame(error))?;
        self.line.settle(self.serial)
    }

    fn since(&self, earlier: &dyn Mark) -> Result<i64, DeviceError> {
        let earlier: &dyn Any = earlier;
        let earlier = earlier.downcast_ref::<Self>();
        let without = || DeviceError::new(ErrorKind::InvalidRequest, "marks without times, or not passed");
        let earlier = earlier.ok_or_else(without)?;
        self.event.since(&earlier.event)?.ok_or_else(without)
    }
}
