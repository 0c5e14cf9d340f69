//! Launches under way, and the words that ask them to stop.

use crate::Result;
use crate::launch::LaunchRequest;
use crate::memory::Memory;
use crate::module::Function;
use crate::system::DeviceState;
use hetgpu_checkpoint::wire;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

/// Between two stop words, so that each is on a line of its own.
const STRIDE: u64 = 64;
/// Nanoseconds; who asks a shorter kernel to stop waits for its end.
pub(crate) const SHORT: u64 = 2_000_000;
/// Bytes of all stop words of a device; launches beyond them run to their end.
const BYTES: u64 = 4096;

/// Where a launch can stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlightStops {
    /// Nowhere.
    AtItsEnd,
    Between,
    /// Also in the middle of its blocks.
    Inside,
}

impl FlightStops {
    pub fn name(self) -> &'static str {
        match self {
            Self::AtItsEnd => "end",
            Self::Between => "blocks",
            Self::Inside => "inside",
        }
    }

    /// For a person, of a kernel.
    pub fn phrase(self) -> &'static str {
        match self {
            Self::AtItsEnd => "has to run to its end",
            Self::Between => "can stop between two blocks only",
            Self::Inside => "can stop in the middle of its blocks",
        }
    }
}

/// A launch under way, as it is shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Flight {
    pub kernel: String,
    /// How long it has been under way, pauses included.
    pub since: Duration,
    /// Blocks of its grid, threads of a block, blocks of a cluster.
    pub shape: [[u32; 3]; 3],
    pub dynamic_shared: u32,
    pub cooperative: bool,
    pub stops: FlightStops,
    /// Blocks that have not begun, where it was stopped.
    pub unstarted: Option<u64>,
}

impl Flight {
    /// Blocks of its grid.
    pub fn blocks(&self) -> u64 {
        self.shape[0].iter().fold(1, |blocks, &n| blocks.saturating_mul(n.into()))
    }

    /// How many blocks have begun and how many have not, where only such as have ended and such as have not begun are left.
    pub(crate) fn frames(&self, launch: u64) -> Option<wire::Frames> {
        let fresh = self.unstarted.filter(|_| self.stops == FlightStops::Between)?;
        Some(wire::Frames { launch, fresh, done: self.blocks().saturating_sub(fresh), ..wire::Frames::default() })
    }

    /// As a snapshot has it.
    pub(crate) fn describe(self, number: u64, device: u32) -> wire::Launch {
        let left = self.unstarted;
        let [grid, block, cluster] = self.shape;
        let (dynamic_shared, cooperative) = (self.dynamic_shared, self.cooperative);
        let shape = wire::LaunchShape { grid, block, cluster, dynamic_shared, cooperative, params: Vec::new() };
        let suspended = |left| wire::Progress::Suspended { suspension: wire::Suspension::default(), left };
        let progress = left.map_or(wire::Progress::Waiting, suspended);
        let session = device.into();
        wire::Launch { number, session, device, name: self.kernel, shape, progress, ..wire::Launch::default() }
    }
}

struct Entry {
    function: Arc<Function>,
    begun: Instant,
    shape: [[u32; 3]; 3],
    dynamic_shared: u32,
    cooperative: bool,
    stops: FlightStops,
    unstarted: Option<u64>,
    word: Option<u64>,
    /// The word may be set.
    set: bool,
}

#[derive(Default)]
struct State {
    next: u64,
    entries: HashMap<u64, Entry>,
    /// Words that no launch has, and whether each is set.
    free: Vec<(u64, bool)>,
}

/// The launches of a device.
#[derive(Default)]
pub(crate) struct Flights {
    state: Mutex<State>,
    /// Whether there are words.
    page: OnceLock<()>,
}

/// A launch under way; it is over when this is dropped.
pub(crate) struct InFlight<'f> {
    of: &'f DeviceState,
    number: u64,
    /// The address of its stop word, or 0.
    pub(crate) stop: u64,
    /// The word is one of those that launches share.
    shared: bool,
}

impl Flights {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Asks all launches to stop.
    pub(crate) fn stop(&self, device: &DeviceState) -> Result<()> {
        let mut state = self.lock();
        state.entries.values_mut().for_each(|entry| entry.set = true);
        let words: Vec<u64> = state.entries.values().filter_map(|entry| entry.word).collect();
        // A word that belongs to a launch alone is there for as long as the launch is.
        words.into_iter().try_for_each(|word| Ok(device.device.write(word, &1u32.to_le_bytes())?))
    }

    /// Those that there are, the oldest first.
    pub(crate) fn list(&self) -> Vec<Flight> {
        let state = self.lock();
        let mut all: Vec<_> = state.entries.iter().collect();
        all.sort_unstable_by_key(|(number, _)| **number);
        let show = |entry: &Entry| Flight {
            kernel: entry.function.info().name.to_string_lossy().into_owned(),
            since: entry.begun.elapsed(),
            shape: entry.shape,
            dynamic_shared: entry.dynamic_shared,
            cooperative: entry.cooperative,
            stops: entry.stops,
            unstarted: entry.unstarted,
        };
        all.into_iter().map(|(_, entry)| show(entry)).collect()
    }
}

impl DeviceState {
    /// A launch begins that takes about so many nanoseconds, where that is known. It gets a word by which it is asked to
    /// stop, if one is left. `own` is the address of a word that it has already.
    pub(crate) fn take_off(
        &self,
        memory: &Memory,
        function: &Arc<Function>,
        request: &LaunchRequest,
        guess: Option<u64>,
        own: Option<u64>,
    ) -> Result<InFlight<'_>> {
        let caps = self.device.caps();
        // Where that takes another form of the kernel, it is worth while for what is known to be long.
        let worth_while = !caps.asynchronous || guess.is_some_and(|nanoseconds| nanoseconds > SHORT);
        // The blocks of a cooperative launch wait for each other: none may be left for later, but where all can stop.
        let stops = !request.cooperative && worth_while && own.is_none() && caps.suspends;
        if stops {
            self.flights.page.get_or_init(|| {
                // Without words launches run to their end, as on devices that know of none.
                if let Ok(page) = memory.own_page(self.index, BYTES, "stop words") {
                    let words = (0..BYTES / STRIDE).rev().map(|n| (page + n * STRIDE, false));
                    self.flights.lock().free.extend(words);
                }
            });
        }
        let mut state = self.flights.lock();
        let taken = if stops { state.free.pop() } else { None };
        state.next += 1;
        let (number, word) = (state.next, own.or(taken.map(|(word, _)| word)));
        let entry = Entry {
            function: Arc::clone(function),
            begun: Instant::now(),
            shape: [request.grid, request.block, request.cluster],
            dynamic_shared: request.dynamic_shared,
            cooperative: request.cooperative,
            stops: match (own, word) {
                (Some(_), _) => FlightStops::Inside,
                (None, Some(_)) => FlightStops::Between,
                (None, None) => FlightStops::AtItsEnd,
            },
            unstarted: None,
            word,
            set: false,
        };
        state.entries.insert(number, entry);
        drop(state);
        let flight = InFlight { of: self, number, stop: word.unwrap_or(0), shared: own.is_none() };
        if let Some((_, true)) = taken {
            flight.go_on()?;
        }
        Ok(flight)
    }
}

impl InFlight<'_> {
    /// Its word is no longer one, and is not written any more; whether it was asked to stop.
    pub(crate) fn retire(&self) -> bool {
        let mut state = self.of.flights.lock();
        let Some(entry) = state.entries.get_mut(&self.number) else { return false };
        entry.word = None;
        std::mem::take(&mut entry.set)
    }

    /// Whether it is asked to stop.
    pub(crate) fn is_asked(&self) -> bool {
        self.of.flights.lock().entries.get(&self.number).is_some_and(|entry| entry.set)
    }

    /// It has stopped, and so many of its blocks have not begun.
    pub(crate) fn stopped(&self, unstarted: u64) {
        if let Some(entry) = self.of.flights.lock().entries.get_mut(&self.number) {
            entry.unstarted = Some(unstarted);
        }
    }

    /// It goes on with another word of its own.
    pub(crate) fn other_word(&mut self, word: u64) {
        self.stop = word;
        if let Some(entry) = self.of.flights.lock().entries.get_mut(&self.number) {
            entry.word = Some(word);
        }
    }

    /// Takes back that it was asked to stop. A pause that begins meanwhile finds it in front of the gate.
    pub(crate) fn go_on(&self) -> Result<()> {
        if self.stop == 0 {
            return Ok(());
        }
        if let Some(entry) = self.of.flights.lock().entries.get_mut(&self.number) {
            entry.set = false;
        }
        Ok(self.of.device.write(self.stop, &0u32.to_le_bytes())?)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let mut state = self.of.flights.lock();
        let entry = state.entries.remove(&self.number);
        if self.stop != 0 && self.shared {
            state.free.push((self.stop, entry.is_some_and(|entry| entry.set)));
        }
    }
}
