//! Pausing a job, and moving it to another device.
//!
//! ```text
//! running ──pause──► pausing ──► paused ──resume──► running
//!    ▲                  │         │ ▲ ▲ │
//!    └── deadline, abort┘         ▼ │ │ ▼
//!                              moving released
//!                              saving
//! ```
//! In a pause no operation is begun, those that were begun have ended or stay where they are, and whoever calls for the
//! device stays in front of its gate. `seat` says how a device is exchanged then. A job whose device was released has all that
//! was there in memory of the host, or in a snapshot (`snapshot`), until it is restored.

use crate::flight::Flight;
use crate::seat::{Contents, Mode, Progress, Vault};
use crate::snapshot::Filed;
use crate::system::DeviceState;
use crate::{Runtime, log};
use hetgpu_device::{Caps, Device, DeviceError, ErrorKind, Queued};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

/// What a job is at, on one device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Stage {
    #[default]
    Running,
    Pausing,
    Paused,
    Moving,
    /// What is on the device is written to a file.
    Saving,
    /// Its device was released.
    Released,
}

impl Stage {
    /// Neither paused nor released.
    fn is_under_way(self) -> bool {
        !matches!(self, Self::Paused | Self::Released)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Pausing => "pausing",
            Self::Paused => "paused",
            Self::Moving => "moving",
            Self::Saving => "saving",
            Self::Released => "released",
        }
    }
}

/// Why something did not come about. The job goes on as it was, unless it says otherwise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trouble {
    pub kind: TroubleKind,
    /// For a person.
    pub text: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TroubleKind {
    /// There is no such device.
    NoDevice,
    /// The job's stage does not allow it.
    Stage,
    /// Work did not stop in time.
    Held,
    /// The other device cannot take the job.
    Unfit,
    /// It was asked to give up.
    Aborted,
    /// It took longer than was allowed.
    TooLong,
    /// A device failed.
    Failed,
    /// A snapshot could not be written, or not be used.
    Snapshot,
}

impl TroubleKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::NoDevice => "no-device",
            Self::Stage => "stage",
            Self::Held => "held",
            Self::Unfit => "unfit",
            Self::Aborted => "aborted",
            Self::TooLong => "too-long",
            Self::Failed => "failed",
            Self::Snapshot => "snapshot",
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Trouble {}

pub(crate) fn trouble(kind: TroubleKind, text: impl Into<String>) -> Trouble {
    Trouble { kind, text: text.into() }
}

/// Devices that a job can be moved to.
pub trait Targets: Send + Sync {
    fn names(&self) -> Vec<String>;
    /// What it will be.
    fn caps(&self, name: &str) -> Option<Caps>;
    /// A new one, with nothing on it.
    fn make(&self, name: &str) -> Option<Arc<dyn Device>>;
}

/// What a move did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moved {
    /// How long the job stood still.
    pub freeze: Duration,
    /// How long it took to stop it.
    pub stop: Duration,
    /// Bytes that changed devices, and how many of them were copied.
    pub bytes: u64,
    pub copied: u64,
}

/// How far a move is: bytes of contents, done and in all.
pub type MoveProgress<'p> = &'p dyn Fn(u64, u64);

/// A job on one of its devices, as it is shown.
#[derive(Clone, Debug)]
pub struct DeviceStatus {
    pub index: usize,
    /// What settings call the device that is there now.
    pub name: String,
    /// What programs are told.
    pub shown: String,
    pub stage: Stage,
    /// Bytes of memory and images.
    pub bytes: u64,
    pub flights: Vec<Flight>,
    /// Files of memory that other processes have too, or may.
    pub shared: BTreeSet<u64>,
    /// Where its contents are, if it was released for a snapshot.
    pub filed: Option<Filed>,
}

/// What runtimes know about their devices' stages.
#[derive(Default)]
pub(crate) struct Control {
    /// Called when the first context is used.
    first_use: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    targets: OnceLock<Arc<dyn Targets>>,
    devices: Mutex<Vec<Entry>>,
    /// Counts those who took charge of the job: who has it stop or go on, saves it, or puts it back.
    turns: AtomicU64,
    /// Where the contents were that were put on devices last, and what these were called before.
    pub(crate) loaded: Mutex<Option<(Filed, Vec<String>)>>,
}

#[derive(Clone, Default)]
pub(crate) struct Entry {
    stage: Stage,
    pub(crate) name: String,
    abort: Arc<AtomicBool>,
    pub(crate) filed: Option<Filed>,
}

impl Control {
    /// Somebody takes charge of the job.
    pub(crate) fn next_turn(&self) -> u64 {
        self.turns.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Somebody uses a device.
    pub(crate) fn used(&self) {
        let first = self.first_use.lock().unwrap_or_else(|e| e.into_inner()).take();
        if let Some(first) = first {
            first();
        }
    }

    fn lock(&self, count: usize) -> MutexGuard<'_, Vec<Entry>> {
        let mut devices = self.devices.lock().unwrap_or_else(|e| e.into_inner());
        if devices.len() < count {
            devices.resize_with(count, Entry::default);
        }
        devices
    }
}

/// Waits until something has come about: awake for a short time, then with sleeps of a part of what it has waited by then.
fn wait_for(until: Instant, abort: &[Arc<AtomicBool>], done: impl Fn() -> bool) -> Result<(), TroubleKind> {
    const AWAKE: Duration = Duration::from_micros(50);
    const LONGEST: Duration = Duration::from_millis(1);
    let start = Instant::now();
    loop {
        if done() {
            return Ok(());
        }
        if abort.iter().any(|abort| abort.load(Ordering::Relaxed)) {
            return Err(TroubleKind::Aborted);
        }
        let now = Instant::now();
        if now >= until {
            return Err(TroubleKind::Held);
        }
        if now - start < AWAKE {
            std::thread::yield_now();
        } else {
            std::thread::sleep(((now - start) / 8).min(LONGEST).min(until - now));
        }
    }
}

impl Runtime {
    /// Says what a job can be moved to, and what the devices that there are are called.
    pub fn offer(&self, targets: Arc<dyn Targets>, names: Vec<String>) {
        let mut devices = self.control.lock(self.device_count());
        for (entry, name) in devices.iter_mut().zip(names) {
            entry.name = name;
        }
        let _ = self.control.targets.set(targets);
    }

    /// What is done when a device is used for the first time.
    pub fn when_used(&self, first: impl FnOnce() + Send + 'static) {
        *self.control.first_use.lock().unwrap_or_else(|e| e.into_inner()) = Some(Box::new(first));
    }

    pub fn targets(&self) -> Option<&Arc<dyn Targets>> {
        self.control.targets.get()
    }

    pub(crate) fn control_entries(&self) -> Vec<Entry> {
        self.control.lock(self.device_count()).clone()
    }

    pub(crate) fn set_name(&self, device: usize, name: String) {
        self.control.lock(self.device_count())[device].name = name;
    }

    /// Notes where the contents of devices are.
    pub(crate) fn set_filed(&self, devices: &[Arc<DeviceState>], filed: Option<Filed>) {
        let mut entries = self.control.lock(self.device_count());
        devices.iter().for_each(|device| entries[device.index].filed.clone_from(&filed));
    }

    pub(crate) fn picked(&self, device: Option<usize>) -> Result<Vec<Arc<DeviceState>>, Trouble> {
        let no = |index: usize| trouble(TroubleKind::NoDevice, format!("the program has no device {index}"));
        match device {
            Some(index) => Ok(vec![self.device(index).map_err(|_| no(index))?.clone()]),
            None => {
                (0..self.device_count()).map(|index| Ok(self.device(index).map_err(|_| no(index))?.clone())).collect()
            }
        }
    }

    /// Changes the stage of devices, all of which must be at one of `from`.
    pub(crate) fn change_stage(&self, devices: &[Arc<DeviceState>], from: &[Stage], to: Stage) -> Result<(), Trouble> {
        let mut entries = self.control.lock(self.device_count());
        for device in devices {
            let stage = entries[device.index].stage;
            if !from.contains(&stage) {
                let text = format!("the job is {} on device {}", stage.name(), device.index);
                return Err(trouble(TroubleKind::Stage, text));
            }
        }
        devices.iter().for_each(|device| entries[device.index].stage = to);
        Ok(())
    }

    pub fn stage(&self, device: usize) -> Stage {
        self.control.lock(self.device_count()).get(device).map_or(Stage::Running, |entry| entry.stage)
    }

    /// Pauses the job on a device, or on all: the number of this turn. Where work does not stop within a time, it goes on.
    pub fn pause(&self, device: Option<usize>, within: Duration) -> Result<u64, Trouble> {
        let devices = self.picked(device)?;
        self.change_stage(&devices, &[Stage::Running], Stage::Pausing)?;
        let stopped = self.stop(&devices, Instant::now() + within);
        let stage = if stopped.is_ok() { Stage::Paused } else { Stage::Running };
        let turn = self.control.next_turn();
        let _ = self.change_stage(&devices, &[Stage::Pausing], stage);
        stopped.map(|()| turn)
    }

    /// The turn of who has the job stand still.
    pub fn turn_of_pause(&self, device: Option<usize>) -> Result<u64, Trouble> {
        let devices = self.picked(device)?;
        let turn = self.control.turns.load(Ordering::Acquire);
        match devices
            .iter()
            .map(|device| (device.index, self.stage(device.index)))
            .find(|(_, stage)| stage.is_under_way())
        {
            Some((index, stage)) => {
                Err(trouble(TroubleKind::Stage, format!("the job is {} on device {index}", stage.name())))
            }
            None => Ok(turn),
        }
    }

    /// Lets a job go on that stands still since a turn, on devices as it had. Whether it was still that turn.
    pub fn end_turn(&self, device: Option<usize>, turn: u64) -> Result<bool, Trouble> {
        if self.control.turns.load(Ordering::Acquire) != turn {
            return Ok(false);
        }
        if self.picked(device)?.iter().any(|device| self.stage(device.index) == Stage::Released) {
            self.restore_devices(device)?;
        }
        self.resume(device)?;
        log::warn(format_args!("the job goes on: who had it stand still did not let it within his limit"));
        Ok(true)
    }

    /// Lets a paused job go on.
    pub fn resume(&self, device: Option<usize>) -> Result<(), Trouble> {
        let devices = self.picked(device)?;
        self.change_stage(&devices, &[Stage::Paused], Stage::Running)?;
        self.control.next_turn();
        // From here on what it has is not what was put there.
        *self.control.loaded.lock().unwrap_or_else(|e| e.into_inner()) = None;
        go_on(&devices);
        Ok(())
    }

    /// Asks a pause or a move that is under way to give up. Whether there was one.
    pub fn abort(&self, device: Option<usize>) -> Result<bool, Trouble> {
        let devices = self.picked(device)?;
        let entries = self.control.lock(self.device_count());
        let under_way = devices.iter().map(|device| &entries[device.index]);
        let under_way = under_way.filter(|entry| matches!(entry.stage, Stage::Pausing | Stage::Moving | Stage::Saving));
        Ok(under_way.map(|entry| entry.abort.store(true, Ordering::Relaxed)).count() > 0)
    }

    pub(crate) fn aborts(&self, devices: &[Arc<DeviceState>]) -> Vec<Arc<AtomicBool>> {
        let entries = self.control.lock(self.device_count());
        let aborts: Vec<_> = devices.iter().map(|device| Arc::clone(&entries[device.index].abort)).collect();
        aborts.iter().for_each(|abort| abort.store(false, Ordering::Relaxed));
        aborts
    }

    pub(crate) fn stop(&self, devices: &[Arc<DeviceState>], until: Instant) -> Result<(), Trouble> {
        let aborts = self.aborts(devices);
        for device in devices {
            device.queue.pause();
            // A function of the program that is under way may wait for what another thread asks of the device.
            device.seat.gate().set(Mode::Calls);
        }
        let asked = devices.iter().try_for_each(|device| device.flights.stop(device));
        let stopped = match asked {
            Err(error) => Err(trouble(TroubleKind::Failed, error.to_string())),
            Ok(()) => wait_for(until, &aborts, || devices.iter().all(|device| device.queue.busy().is_empty()))
                .and_then(|()| {
                    devices.iter().for_each(|device| device.seat.gate().set(Mode::Closed));
                    wait_for(until, &aborts, || devices.iter().all(|device| device.seat.gate().is_empty()))
                })
                .map_err(|kind| {
                    trouble(kind, if kind == TroubleKind::Aborted { ABORTED.into() } else { held(devices) })
                }),
        };
        if stopped.is_err() {
            go_on(devices);
        }
        stopped
    }

    /// What speaks against a device in the place of another: nothing where the list is empty.
    pub(crate) fn against(&self, device: &DeviceState, to: &dyn Device) -> Vec<String> {
        let mut against = device.seat.unfit(to);
        let mut others = (0..self.device_count()).filter(|&index| index != device.index);
        if others.any(|index| self.device(index).is_ok_and(|other| other.seat.reaches_peers())) {
            against.push("another device of the program reaches its memory".to_owned());
        }
        against
    }

    pub(crate) fn make_target(&self, name: &str) -> Result<Arc<dyn Device>, Trouble> {
        let targets = self.targets().ok_or_else(|| trouble(TroubleKind::NoDevice, "there are no other devices"))?;
        let known = || format!("there is no device '{name}'; there are {}", targets.names().join(", "));
        targets.make(name).ok_or_else(|| trouble(TroubleKind::NoDevice, known()))
    }

    /// Moves the job on a device to another, named as settings name it.
    pub fn move_to(
        &self,
        device: usize,
        to: &str,
        most: Option<Duration>,
        progress: MoveProgress<'_>,
    ) -> Result<Moved, Trouble> {
        let target = self.make_target(to)?;
        let moved = self.move_onto(device, target, most, progress)?;
        self.set_name(device, to.to_owned());
        log::info(format_args!(
            "device {device} is '{to}' now: {} bytes, {} of them copied, the job stood still for {:.3} ms",
            moved.bytes,
            moved.copied,
            moved.freeze.as_secs_f64() * 1e3
        ));
        Ok(moved)
    }

    /// Moves the job on a device to another one, on which nothing is yet. A paused job stays paused. Where something fails
    /// or takes longer than `most`, it goes on where it was.
    pub fn move_onto(
        &self,
        device: usize,
        to: Arc<dyn Device>,
        most: Option<Duration>,
        progress: MoveProgress<'_>,
    ) -> Result<Moved, Trouble> {
        let devices = self.picked(Some(device))?;
        let was_paused = self.stage(device) == Stage::Paused;
        let from = if was_paused { Stage::Paused } else { Stage::Running };
        let unfit = self.against(&devices[0], to.as_ref());
        if !unfit.is_empty() {
            return Err(trouble(TroubleKind::Unfit, unfit.join("; ")));
        }
        self.change_stage(&devices, &[from], Stage::Moving)?;
        let moved = self.exchange(&devices, &to, was_paused, most.unwrap_or(LONGEST_FREEZE), progress);
        let _ = self.change_stage(&devices, &[Stage::Moving], from);
        moved
    }

    fn exchange(
        &self,
        devices: &[Arc<DeviceState>],
        to: &Arc<dyn Device>,
        was_paused: bool,
        most: Duration,
        progress: MoveProgress<'_>,
    ) -> Result<Moved, Trouble> {
        let (device, start) = (&devices[0], Instant::now());
        if !was_paused {
            self.stop(devices, start + most)?;
        }
        let stop = start.elapsed();
        let aborts = self.aborts(devices);
        let told = AtomicU64::new(0);
        let watched = |done: u64, all: u64| {
            let given_up = |kind, text: &str| {
                told.store(kind as u64 + 1, Ordering::Relaxed);
                DeviceError::new(ErrorKind::Timeout, text)
            };
            if aborts.iter().any(|abort| abort.load(Ordering::Relaxed)) {
                return Err(given_up(TroubleKind::Aborted, ABORTED));
            }
            if start.elapsed() > most {
                let text = format!("the job stood still for {} ms, which is all that was allowed", most.as_millis());
                return Err(given_up(TroubleKind::TooLong, &text));
            }
            progress(done, all);
            Ok(())
        };
        // What the program did since it was looked at the first time may speak against it.
        let unfit = self.against(device, to.as_ref());
        let exchanged = match unfit.is_empty() {
            true => device.seat.exchange(to, Contents::Copied, &watched).map_err(|error| {
                let kind = match told.load(Ordering::Relaxed) {
                    n if n == TroubleKind::Aborted as u64 + 1 => TroubleKind::Aborted,
                    n if n == TroubleKind::TooLong as u64 + 1 => TroubleKind::TooLong,
                    _ => TroubleKind::Failed,
                };
                trouble(kind, error.to_string())
            }),
            false => Err(trouble(TroubleKind::Unfit, unfit.join("; "))),
        };
        let freeze = start.elapsed();
        if !was_paused {
            go_on(devices);
        }
        exchanged.map(|done| Moved { freeze, stop, bytes: done.bytes, copied: done.copied })
    }

    /// Releases the devices of a paused job: what is there is kept in memory of the host.
    pub fn release_devices(&self, device: Option<usize>) -> Result<(), Trouble> {
        let devices = self.picked(device)?;
        // Who saves the process finds no file of it open.
        *self.latest.lock().unwrap_or_else(|e| e.into_inner()) = None;
        let vault = |device: &DeviceState| Ok(Arc::new(Queued::new(Vault::new(device.device.caps()))) as _);
        self.change_all(&devices, Stage::Paused, Stage::Released, vault)
    }

    /// Puts a released job on new devices like those that it had. It is paused then.
    pub fn restore_devices(&self, device: Option<usize>) -> Result<(), Trouble> {
        let devices = self.picked(device)?;
        let entries = self.control_entries();
        if entries.iter().any(|entry| entry.filed.is_some()) {
            return self.load(None, &[], &|_, _| {}).map(drop);
        }
        let fresh = |device: &DeviceState| self.make_target(&entries[device.index].name);
        self.change_all(&devices, Stage::Released, Stage::Paused, fresh)?;
        // Somebody else may have saved the process meanwhile and brought it back, as engines of containers do.
        if self.memory.is_told_wrong() {
            self.memory.hide();
            self.announce();
        }
        Ok(())
    }

    /// Exchanges the devices of a job that stands still, all or none, with all contents.
    fn change_all(
        &self,
        devices: &[Arc<DeviceState>],
        from: Stage,
        to: Stage,
        make: impl Fn(&DeviceState) -> Result<Arc<dyn Device>, Trouble>,
    ) -> Result<(), Trouble> {
        self.change_stage(devices, &[from], Stage::Moving)?;
        let copied = |_: &DeviceState| Contents::Copied;
        let changed = self.change_each(devices, make, copied, copied, &|_, _| Ok(()));
        let _ = self.change_stage(devices, &[Stage::Moving], if changed.is_ok() { to } else { from });
        changed
    }

    /// Exchanges devices, all or none. `undone` is what becomes of contents where one has to be put back.
    pub(crate) fn change_each<'c>(
        &self,
        devices: &[Arc<DeviceState>],
        make: impl Fn(&DeviceState) -> Result<Arc<dyn Device>, Trouble>,
        contents: impl Fn(&DeviceState) -> Contents<'c>,
        undone: impl Fn(&DeviceState) -> Contents<'c>,
        progress: Progress<'_>,
    ) -> Result<(), Trouble> {
        let mut before: Vec<(&Arc<DeviceState>, Arc<dyn Device>)> = Vec::new();
        let mut change = || {
            for device in devices {
                let next = make(device)?;
                let unfit = self.against(device, next.as_ref());
                if !unfit.is_empty() {
                    return Err(trouble(TroubleKind::Unfit, unfit.join("; ")));
                }
                let last = device.seat.current();
                let failed = |error: DeviceError| trouble(TroubleKind::Failed, error.to_string());
                device.seat.exchange(&next, contents(device), progress).map_err(failed)?;
                before.push((device, last));
            }
            Ok(())
        };
        let changed = change();
        if changed.is_err() {
            for (device, last) in before {
                // It has let go of everything, and there was room for it before.
                if let Err(error) = device.seat.exchange(&last, undone(device), &|_, _| Ok(())) {
                    log::error(format_args!("device {} could not be put back: {error}", device.index));
                }
            }
        }
        changed
    }

    /// The job on each of its devices.
    pub fn status(&self) -> Vec<DeviceStatus> {
        let entries = self.control_entries();
        let show = |(index, entry): (usize, Entry)| {
            let device = self.device(index).ok()?;
            if entry.stage == Stage::Released {
                device.seat.number_files();
            }
            Some(DeviceStatus {
                index,
                name: entry.name,
                shown: device.device.caps().name.clone(),
                stage: entry.stage,
                bytes: device.seat.bytes(),
                flights: device.flights.list(),
                shared: device.seat.shared(),
                filed: entry.filed,
            })
        };
        entries.into_iter().enumerate().filter_map(show).collect()
    }
}

pub(crate) const ABORTED: &str = "it was aborted";
/// Where nobody says how long a job may stand still.
pub(crate) const LONGEST_FREEZE: Duration = Duration::from_secs(600);

pub(crate) fn go_on(devices: &[Arc<DeviceState>]) {
    devices.iter().for_each(|device| device.seat.gate().set(Mode::Open));
    devices.iter().for_each(|device| device.queue.resume());
}

/// What does not stop, for a person.
fn held(devices: &[Arc<DeviceState>]) -> String {
    let mut what: Vec<String> = Vec::new();
    for device in devices {
        let busy = device.queue.busy();
        let flights = device.flights.list();
        for flight in &flights {
            let how = flight.stops.phrase();
            let (kernel, since) = (&flight.kernel, flight.since.as_secs_f64());
            what.push(format!("kernel {kernel}, which {how}, under way for {since:.3} s"));
        }
        let others = busy.iter().filter(|what| !["a kernel", "a part of a graph"].contains(what) || flights.is_empty());
        what.extend(others.map(|what| (*what).to_owned()));
        if busy.is_empty() && !device.seat.gate().is_empty() {
            what.push("a call of the program".to_owned());
        }
    }
    match what.is_empty() {
        true => "the job did not stop in time".to_owned(),
        false => format!("the job did not stop in time, by reason of {}", what.join("; ")),
    }
}
