//! What every device must do: a list of trials, each of which checks a promise of this crate on a device.
//!
//! A trial that needs what the device says it lacks is skipped, with the reason. Trials are made to be run one after the
//! other: a device that does not survive faults is reset behind those that cause one.

mod bench;
mod copies;
mod faults;
mod images;
mod launches;
mod memory;
mod physical;
mod properties;
mod queues;

use crate::{Device, DeviceError};
use bench::Bench;
pub use bench::noise;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// One check of a device.
pub struct Trial {
    /// Group and what is promised.
    pub name: String,
    check: Check,
    device: Arc<dyn Device>,
}

type Check = fn(&Bench) -> Verdict;

/// What a check comes to.
type Verdict = Result<(), Stop>;

/// Why a trial did not pass.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stop {
    /// The device does not offer what the trial is about.
    Skipped(String),
    /// The device broke its promise.
    Failed(String),
    /// All that could be tried was, and the device is gone for this process.
    Enough,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skipped(reason) => write!(f, "skipped: {reason}"),
            Self::Failed(reason) => f.write_str(reason),
            Self::Enough => f.write_str("passed, and the device is gone"),
        }
    }
}

impl From<DeviceError> for Stop {
    fn from(error: DeviceError) -> Self {
        Self::Failed(format!("{:?}: {error}", error.kind))
    }
}

impl From<String> for Stop {
    fn from(text: String) -> Self {
        Self::Failed(text)
    }
}

impl From<&str> for Stop {
    fn from(text: &str) -> Self {
        Self::Failed(text.into())
    }
}

impl Trial {
    /// Runs it. A panic is a failure.
    pub fn run(self) -> Result<(), Stop> {
        let Self { check, device, .. } = self;
        let survives = device.caps().survives_faults;
        let ran = catch_unwind(AssertUnwindSafe(|| {
            let bench = Bench::new(device.clone());
            let verdict = check(&bench);
            let recovered = if !survives && bench.was_hurt() { bench.recover() } else { Ok(()) };
            match (verdict, recovered) {
                (Ok(()) | Err(Stop::Enough), Ok(()) | Err(Stop::Enough)) => Ok(()),
                (Ok(()) | Err(Stop::Enough), failed) => failed,
                (verdict, _) => verdict,
            }
        }));
        ran.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<&str>().copied();
            let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            Err(Stop::Failed(format!("a panic: {}", text.unwrap_or("without a message"))))
        })
    }
}

/// Every check, for one device.
pub fn trials(device: &Arc<dyn Device>) -> Vec<Trial> {
    let groups = [
        ("properties", properties::CHECKS),
        ("memory", memory::CHECKS),
        ("physical", physical::CHECKS),
        ("copies", copies::CHECKS),
        ("queues", queues::CHECKS),
        ("launches", launches::CHECKS),
        ("faults", faults::CHECKS),
        ("images", images::CHECKS),
    ];
    let trial = |group: &str, &(name, check): &(&str, Check)| Trial {
        name: format!("{group}::{name}"),
        check,
        device: device.clone(),
    };
    groups.iter().flat_map(|(group, checks)| checks.iter().map(move |check| trial(group, check))).collect()
}

/// Fails with the text where the condition does not hold.
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        let holds: bool = $condition;
        if !holds {
            return Err(Stop::Failed(format!($($text)+)));
        }
    };
}
use ensure;

/// Names of functions and the functions.
macro_rules! checks {
    ($($name:ident)+) => {
        pub(super) const CHECKS: &[(&str, Check)] = &[$((stringify!($name), $name)),+];
    };
}
use checks;
