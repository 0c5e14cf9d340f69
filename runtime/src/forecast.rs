//! What a move would take, as far as that can be told while the job runs.

use crate::flight::Flight;
use crate::migrate::{Stage, Trouble};
use crate::seat::Kind;
use crate::system::{DeviceState, Runtime};
use hetgpu_device::{Device, DeviceError};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes that are copied to see how fast that is, and of one copy.
const TRIAL: u64 = 16 << 20;
const PIECE: u64 = 4 << 20;

/// A move that nobody has begun.
#[derive(Clone, PartialEq, Debug)]
pub struct Forecast {
    /// What speaks against it: nothing where the list is empty.
    pub against: Vec<String>,
    /// Bytes that are on the device, and most of them that would be copied: zeros are not.
    pub bytes: u64,
    pub copied: u64,
    /// Bytes a second that are copied to the other device; none where nothing would be, or it could not be tried.
    pub rate: Option<f64>,
    /// How long the copies take, during which the job stands still, once it has stopped.
    pub copying: Option<Duration>,
    /// Kernels under way, which have to stop first.
    pub flights: Vec<Flight>,
}

impl Runtime {
    /// What speaks against moving the job on a device to another, and what it would take.
    pub fn forecast(&self, device: usize, to: &str) -> Result<Forecast, Trouble> {
        let (device, to) = (&self.picked(Some(device))?[0], self.make_target(to)?);
        let mut against = self.against(device, to.as_ref());
        let (bytes, adopted) = (device.seat.bytes(), to.adopts(device.seat.current().as_ref()));
        let copied = if adopted { 0 } else { bytes };
        if let Some(free) = to.free_memory().filter(|&free| free < copied) {
            against.push(format!("{bytes} bytes are in use, and {} has {free} left", to.caps().name));
        }
        // What cannot be loaded there is known before anything stops.
        for loaded in device.seat.record_now().modules.values() {
            match to.load(&loaded.module, &loaded.globals) {
                Ok(module) => to.unload(module),
                Err(error) => against.push(format!("{} cannot load a module of the program: {error}", to.caps().name)),
            }
        }
        let rate = (copied > 0 && against.is_empty()).then(|| self.tried(device, &to)).flatten();
        let copying = match copied {
            0 => Some(Duration::ZERO),
            _ => rate.map(|rate| Duration::from_secs_f64(copied as f64 / rate)),
        };
        Ok(Forecast { against, bytes, copied, rate, copying, flights: device.flights.list() })
    }

    /// How many bytes a second go from a device to another one.
    fn tried(&self, device: &DeviceState, to: &Arc<dyn Device>) -> Option<f64> {
        let at = self.memory.lock().take_pages(TRIAL).ok()?;
        let trial = to.map(at, TRIAL, "a trial of copies").ok().and_then(|()| {
            // It waits for nobody: a job that stands still is not read.
            let runs = self.stage(device.index) == Stage::Running;
            let rate = copy(device, to.as_ref(), at, runs).ok();
            to.unmap(at);
            rate
        });
        self.memory.lock().give_pages(at, TRIAL);
        trial
    }

    /// Bytes a second of pages that the job on a device changes; none where the device cannot tell. It is watched for a while, so that pages
    /// that it changes again and again count once.
    pub fn changes(&self, device: usize, watch: Duration) -> Result<Option<f64>, Trouble> {
        let device = &self.picked(Some(device))?[0];
        let record = device.seat.record_now();
        let start = Instant::now();
        let changed = self.ledger.watch(&device.seat, &record, watch);
        Ok(changed.map(|bytes| bytes as f64 / start.elapsed().as_secs_f64()))
    }
}

fn copy(device: &DeviceState, to: &dyn Device, at: u64, reads: bool) -> Result<f64, DeviceError> {
    let record = device.seat.record_now();
    let large = |region: &crate::seat::Region| matches!(region.kind, Kind::Own) && region.bytes >= PIECE;
    let source = record.regions.iter().find(|(_, region)| reads && large(region)).map(|(&source, _)| source);
    // Zeros are not copied.
    let mut piece = vec![1; PIECE as usize];
    let start = Instant::now();
    for offset in (0..TRIAL).step_by(PIECE as usize) {
        if let Some(source) = source {
            device.seat.read(source, &mut piece)?;
        }
        to.write(at + offset, &piece)?;
    }
    Ok(TRIAL as f64 / start.elapsed().as_secs_f64())
}
