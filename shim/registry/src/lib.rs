//! Which devices there are. The only room that names a backend.
//!
//! Describing a device makes nothing: what only lists devices asks for descriptions.
#![forbid(unsafe_code)]

mod visible;

use hetgpu_cpu::{CpuDevice, Features};
use hetgpu_device::{Cache, Caps, Device, Importance, Pci, Queued, Services};
use hetgpu_interp::InterpDevice;
use hetgpu_nvidia::NvidiaDevice;
use hetgpu_runtime::log::{self, Topic};
use hetgpu_runtime::{Check, Settings, Targets};
use std::sync::Arc;

pub use hetgpu_cpu::default_cache;
pub use visible::{Repeated, VISIBLE};

/// Where the host does not say how much memory it has.
const LITTLE_MEMORY: u64 = 2 << 30;

/// Most bytes of compiled code that are kept from run to run.
const CACHE_BYTES: u64 = 1 << 30;

/// Where a device stands among those that the settings name.
#[derive(Clone)]
struct Seat {
    kind: usize,
    /// Which of its kind it is, and how many there are.
    number: u32,
    count: u32,
}

impl Seat {
    /// The only one of its kind.
    fn alone(kind: usize) -> Self {
        Self { kind, number: 0, count: 1 }
    }
}

/// From rows of a name, what describes a device and what makes it, two tables: what only describes devices is then not linked
/// with what makes them.
macro_rules! devices {
    ($($name:literal: describe $describe:expr, make $make:expr;)+) => {
        /// What settings call each kind, and its description.
        const DESCRIPTIONS: &[(&str, fn(&Settings, &Seat) -> Result<Caps, String>)] = &[$(($name, $describe)),+];

        /// The kinds in the same order.
        const MAKERS: &[fn(&Settings, &Seat) -> Result<Arc<dyn Device>, String>] = &[$($make),+];
    };
}

devices! {
    "cpu":
        describe |settings, seat| Ok(CpuDevice::describe(&cpu(settings, seat, Features::Native))),
        make |settings, seat| Ok(Arc::new(Queued::new(CpuDevice::new(cpu(settings, seat, Features::Native)))));
    "cpu:avx512":
        describe |settings, seat| level(settings, seat, Features::Avx512),
        make |settings, seat| Ok(Arc::new(Queued::new(CpuDevice::new(cpu(settings, seat, Features::Avx512)))));
    "cpu:avx2":
        describe |settings, seat| level(settings, seat, Features::Avx2),
        make |settings, seat| Ok(Arc::new(Queued::new(CpuDevice::new(cpu(settings, seat, Features::Avx2)))));
    "cpu:sse2":
        describe |settings, seat| level(settings, seat, Features::Sse2),
        make |settings, seat| Ok(Arc::new(Queued::new(CpuDevice::new(cpu(settings, seat, Features::Sse2)))));
    "interp":
        describe |settings, _| Ok(InterpDevice::describe(interpreted_memory(), &interp(settings))),
        make |settings, _| Ok(Arc::new(Queued::new(InterpDevice::new(interpreted_memory(), interp(settings)))));
    "nvidia":
        describe |settings, seat| NvidiaDevice::describe(&nvidia(settings, seat)).map_err(|why| format!(
            "{why}; HETGPU_VENDOR_DRIVER can name the driver's file, and HETGPU_DEVICE=cpu needs none"
        )),
        make |settings, seat| Ok(Arc::new(NvidiaDevice::new(&nvidia(settings, seat))?));
}

/// The kind where the settings name none that there is.
const LAST_RESORT: &str = "interp";

fn kind(name: &str) -> Option<usize> {
    DESCRIPTIONS.iter().position(|row| row.0 == name)
}

/// The devices that the settings name.
fn seats(settings: &Settings) -> Vec<Seat> {
    let mut kinds = Vec::new();
    for name in &settings.devices {
        match kind(name) {
            Some(kind) => kinds.push(kind),
            None => log::warn(format_args!("HETGPU_DEVICE: no device '{name}'; there are {}", names().join(", "))),
        }
    }
    if kinds.is_empty() {
        kinds.extend(kind(LAST_RESORT));
    }
    let of_kind = |kinds: &[usize], kind| kinds.iter().filter(|&&other| other == kind).count() as u32;
    let seat = |(at, &kind): (usize, &usize)| {
        let (number, count) = (of_kind(&kinds[..at], kind), of_kind(&kinds, kind));
        Seat { kind, number, count }
    };
    kinds.iter().enumerate().map(seat).collect()
}

/// What settings call the devices that can be had.
pub fn names() -> Vec<&'static str> {
    DESCRIPTIONS.iter().map(|row| row.0).collect()
}

/// What settings call the devices that this machine has.
pub fn there(settings: &Settings) -> Vec<&'static str> {
    let kinds = DESCRIPTIONS.iter().enumerate();
    kinds.filter(|(kind, row)| (row.1)(settings, &Seat::alone(*kind)).is_ok()).map(|(_, row)| row.0).collect()
}

/// A device that could be made.
pub struct Description {
    /// What settings call it.
    pub name: &'static str,
    pub caps: Caps,
}

/// What a device is; nothing, and a line in the log, where this machine has none of the kind.
fn described(seat: &Seat, settings: &Settings) -> Option<Description> {
    let (name, describe) = DESCRIPTIONS[seat.kind];
    let caps = describe(settings, seat).inspect_err(|why| {
        log::warn(format_args!("HETGPU_DEVICE: no device '{name}': {why}"));
    });
    Some(Description { name, caps: caps.ok()? })
}

/// The devices that the settings name, without making them.
pub fn descriptions(settings: &Settings) -> Vec<Description> {
    seats(settings).iter().filter_map(|seat| described(seat, settings)).collect()
}

/// The devices that a program of this process's environment sees, in the order in which it numbers them.
fn seen_seats(settings: &Settings) -> Result<Vec<(Seat, Description)>, Repeated> {
    let seats = seats(settings).into_iter();
    let mut there: Vec<_> =
        seats.filter_map(|seat| Some((seat.clone(), described(&seat, settings)?))).map(Some).collect();
    let uuids: Vec<_> = there.iter().flatten().map(|(_, description)| description.caps.uuid).collect();
    let seen = visible::of(&uuids, std::env::var(VISIBLE).ok().as_deref())?;
    Ok(seen.into_iter().filter_map(|index| there[index].take()).collect())
}

/// The devices that a program of this process's environment sees, without making them.
pub fn seen(settings: &Settings) -> Result<Vec<Description>, Repeated> {
    Ok(seen_seats(settings)?.into_iter().map(|(_, description)| description).collect())
}

/// The devices that this program sees.
pub fn devices(settings: &Settings) -> Result<Vec<Arc<dyn Device>>, Repeated> {
    let made = seen_seats(settings)?.into_iter().filter_map(|(seat, _)| make(settings, &seat));
    Ok(made.collect())
}

fn make(settings: &Settings, seat: &Seat) -> Option<Arc<dyn Device>> {
    let name = DESCRIPTIONS[seat.kind].0;
    let made = MAKERS[seat.kind](settings, seat);
    made.inspect_err(|why| log::warn(format_args!("the device '{name}' could not be opened: {why}"))).ok()
}

/// The devices that a job can be moved to: a new one of each kind.
pub struct Kinds(pub Settings);

impl Targets for Kinds {
    /// Asked of running jobs: a card's driver is not begun for it.
    fn names(&self) -> Vec<String> {
        let may_be = |name: &&str| match *name {
            "nvidia" => hetgpu_nvidia::is_installed(self.0.vendor_driver.as_deref()),
            name => self.caps(name).is_some(),
        };
        names().into_iter().filter(may_be).map(str::to_owned).collect()
    }

    fn caps(&self, name: &str) -> Option<Caps> {
        DESCRIPTIONS[kind(name)?].1(&self.0, &Seat::alone(kind(name)?)).ok()
    }

    fn make(&self, name: &str) -> Option<Arc<dyn Device>> {
        make(&self.0, &Seat::alone(kind(name)?))
    }
}

/// Where programs are told that a device sits; one that sits on no bus is told apart by its number.
pub fn place(caps: &Caps, index: usize) -> Pci {
    caps.pci.unwrap_or(Pci { bus: index as u8, ..Pci::default() })
}

/// An identity as programs spell it, without what stands in front of it: 8, 4, 4, 4 and 12 digits.
pub fn spelled(uuid: &[u8; 16]) -> String {
    let hex: String = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

fn interpreted_memory() -> u64 {
    // The interpreter's memory is the host's: three quarters leave room for the program itself.
    host_memory().map_or(LITTLE_MEMORY, |bytes| bytes / 4 * 3)
}

fn interp(settings: &Settings) -> hetgpu_interp::Options {
    let (check, compute) = (settings.check == Check::All, Some(settings.compute));
    hetgpu_interp::Options { seed: settings.seed, check, compute }
}

fn nvidia(settings: &Settings, seat: &Seat) -> hetgpu_nvidia::Options {
    let (library, services) = (settings.vendor_driver.clone(), services(settings));
    let arena = u64::from(settings.arena) << 20;
    hetgpu_nvidia::Options { library, number: seat.number, arena, services, ..Default::default() }
}

fn cpu(settings: &Settings, seat: &Seat, features: Features) -> hetgpu_cpu::Options {
    let check = match settings.check {
        Check::Off => hetgpu_cpu::Check::Hardware,
        Check::Memory => hetgpu_cpu::Check::Memory,
        Check::All => hetgpu_cpu::Check::All,
    };
    let (threads, seed, compute) = (settings.cpu_threads, settings.seed, Some(settings.compute));
    let Seat { number, count, .. } = *seat;
    let services = services(settings);
    hetgpu_cpu::Options { check, threads, seed, features, compute, services, number, count, ..Default::default() }
}

/// A CPU device of certain instructions, where this processor has them.
fn level(settings: &Settings, seat: &Seat, features: Features) -> Result<Caps, String> {
    match features.lacking().as_slice() {
        [] => Ok(CpuDevice::describe(&cpu(settings, seat, features))),
        lacking => Err(format!("this processor lacks {}", lacking.join(", "))),
    }
}

/// What this process offers to its devices.
fn services(settings: &Settings) -> Services {
    let cache = default_cache().map(|folder| Cache { folder, limit: CACHE_BYTES });
    if let Some(cache) = &cache {
        hetgpu_runtime::keep_modules(cache);
    }
    let log = |importance, line: std::fmt::Arguments<'_>| match importance {
        Importance::Warning => log::warn(line),
        Importance::Info => log::about(Topic::Jit, line),
    };
    Services { cache, log: Some(Arc::new(log)), dump: settings.dump.clone() }
}

fn host_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_described_is_what_is_made() {
        let (settings, _) = Settings::read(|name| match name {
            "HETGPU_DEVICE" => Some("cpu,interp".into()),
            "HETGPU_COMPUTE" => Some("8.6".into()),
            _ => None,
        });
        let described = descriptions(&settings);
        assert_eq!(described.iter().map(|device| device.name).collect::<Vec<_>>(), ["cpu", "interp"]);
        for (description, seat) in described.iter().zip(seats(&settings)) {
            let made = MAKERS[seat.kind](&settings, &seat).expect("these devices need nothing");
            assert_eq!(made.caps(), &description.caps, "{}", description.name);
            assert_eq!(description.caps.compute, (8, 6));
        }
    }

    #[test]
    fn devices_of_one_kind_are_told_apart_and_are_peers() {
        let (settings, _) = Settings::read(|name| (name == "HETGPU_DEVICE").then(|| "cpu,interp,cpu".into()));
        let described = descriptions(&settings);
        let [one, other, two] = [0, 1, 2].map(|at: usize| &described[at].caps);
        assert_eq!((&one.peers, &two.peers), (&vec![two.uuid], &vec![one.uuid]));
        assert!(other.peers.is_empty() && one.uuid != two.uuid);
    }

    #[test]
    fn devices_of_instructions_that_the_processor_lacks_are_not_there() {
        let (settings, _) = Settings::read(|_| None);
        for (name, features) in
            [("cpu:sse2", Features::Sse2), ("cpu:avx2", Features::Avx2), ("cpu:avx512", Features::Avx512)]
        {
            let lacking = features.lacking();
            assert_eq!(there(&settings).contains(&name), lacking.is_empty(), "{name} lacks {lacking:?}");
        }
    }

    #[test]
    fn identities_are_spelled_in_five_parts() {
        let uuid = std::array::from_fn(|at| at as u8 * 0x11);
        assert_eq!(spelled(&uuid), "00112233-4455-6677-8899-aabbccddeeff");
    }
}
