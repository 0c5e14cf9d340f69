//! Work that was put together, on whatever device is there.

use super::{Inner, SeatQueue};
use hetgpu_device::{Assembly, DeviceError, ErrorKind, Step};
use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard};

/// An assembly of a device that can become another one.
pub(super) struct SeatAssembly {
    steps: Vec<Step>,
    /// The present device's; none where it has not been needed there, or the device has no such.
    here: Mutex<Option<Arc<dyn Assembly>>>,
}

impl Assembly for SeatAssembly {}

impl SeatAssembly {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<dyn Assembly>>> {
        self.here.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The device that it was made on goes.
    pub(super) fn leave(&self) {
        let gone = self.lock().take();
        drop(gone);
    }
}

impl Inner {
    /// What the present device makes of steps. The caller has passed the gate.
    fn assemble_here(&self, steps: &[Step]) -> Result<Option<Arc<dyn Assembly>>, DeviceError> {
        let record = self.record();
        let told = |step: &Step| Ok(Step { work: record.work(step.work.clone())?, after: step.after.clone() });
        let steps = steps.iter().map(told).collect::<Result<Vec<_>, DeviceError>>()?;
        drop(record);
        self.present().assemble(&steps)
    }

    pub(super) fn assemble_steps(&self, steps: &[Step]) -> Result<Option<Arc<dyn Assembly>>, DeviceError> {
        let Some(here) = self.assemble_here(steps)? else { return Ok(None) };
        let assembly = Arc::new(SeatAssembly { steps: steps.to_vec(), here: Mutex::new(Some(here)) });
        let mut all = self.assemblies();
        all.retain(|known| known.strong_count() > 0);
        all.push(Arc::downgrade(&assembly));
        Ok(Some(assembly))
    }
}

impl SeatQueue {
    /// The caller has passed the gate.
    pub(super) fn submit_steps(&self, assembly: &Arc<dyn Assembly>) -> Result<(), DeviceError> {
        let any: &dyn Any = assembly.as_ref();
        let other = || DeviceError::new(ErrorKind::InvalidRequest, "an assembly of another device");
        let assembly = any.downcast_ref::<SeatAssembly>().ok_or_else(other)?;
        let queue = self.here()?;
        let mut here = assembly.lock();
        if here.is_none() {
            *here = self.seat.assemble_here(&assembly.steps)?;
        }
        let known = here.clone();
        drop(here);
        match known {
            Some(known) => queue.submit_assembly(&known),
            None => assembly.steps.iter().try_for_each(|step| {
                let work = self.seat.record().work(step.work.clone())?;
                queue.submit(work)
            }),
        }
    }
}
