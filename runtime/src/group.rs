//! Jobs that belong together: processes that have the same memory.
//!
//! Memory that several processes have is a file of the host's memory, whatever devices they are on (`MemoryFile`): a device that takes
//! another's place, and the vault of a job that let its devices go, have the same file, so that nothing of it is ever copied from one
//! process's device to another's, and nobody is left with memory of his own. It is there as long as one of the processes has it open.
//!
//! - *Who belongs together* is what the system says: the processes that have such a file open (`holders`), and what they say of the
//!   files that they have (`DeviceStatus::shared`), until nobody new is found.
//! - *Who acts on a job acts on its group*: he holds all of them (`control::session`), locks the files, so that nobody opens one
//!   meanwhile, and looks whether somebody has come to the group since. Who finds a process held by another gives up: nobody waits for
//!   anybody, in whatever order they ask.
//! - *All of a group or none of it*: what has been done to a process is undone when he who did it is gone, unless he has decided. He
//!   decides for all by one byte in a file that all of them have open.
//! - *A snapshot* of a group is one of each process, all of the same moment. Each file of memory is in one of them, that of the first
//!   process that has it; contents that the processes themselves keep are not read from there.

use crate::migrate::{Trouble, TroubleKind, trouble};
use crate::system::DeviceState;
use crate::{Runtime, Stage, control};
use hetgpu_device::MEMORY_FILE;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Files of memory that processes have open: process, number of the file, and where it can be opened.
fn open_files() -> impl Iterator<Item = (u32, u64, PathBuf)> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    processes.flat_map(|pid| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        files.filter_map(move |entry| {
            let path = entry.path();
            let link = fs::read_link(&path).ok()?;
            link.to_str()?.starts_with(MEMORY_FILE).then_some(())?;
            Some((pid, fs::metadata(&path).ok()?.ino(), path))
        })
    })
}

/// The processes that have one of these files of memory open, as far as this one may know.
pub fn holders(files: &BTreeSet<u64>) -> BTreeSet<u32> {
    let found = open_files().filter(|(_, number, _)| files.contains(number));
    found.map(|(pid, ..)| pid).collect()
}

/// Keeps processes from opening files of memory, as long as it lives.
#[derive(Debug)]
pub struct Locks {
    _files: Vec<File>,
}

/// Waits for those who are opening one of these files, and keeps others from it. None where somebody else does so already.
pub fn lock(files: &BTreeSet<u64>) -> Option<Locks> {
    let places: BTreeMap<u64, PathBuf> =
        open_files().filter(|(_, file, _)| files.contains(file)).map(|(_, file, path)| (file, path)).collect();
    const TURNS: u32 = 500;
    const TURN: Duration = Duration::from_millis(2);
    let mut locked = Vec::new();
    for path in places.values() {
        // Whoever had it is gone by now, and nobody gets it from there.
        let Ok(file) = File::open(path) else { continue };
        let mut turns = 0;
        while file.try_lock().is_err() {
            turns += 1;
            if turns == TURNS {
                return None;
            }
            std::thread::sleep(TURN);
        }
        locked.push(file);
    }
    Some(Locks { _files: locked })
}

/// The others of a set of processes, for a person.
pub fn named(pids: impl IntoIterator<Item = u32>) -> String {
    let all: Vec<String> = pids.into_iter().map(|pid| pid.to_string()).collect();
    match &all[..] {
        [one] => format!("process {one}"),
        all => format!("processes {}", all.join(", ")),
    }
}

impl Runtime {
    /// The other processes that have memory of this one's, and the number of files of it.
    fn others(&self, devices: &[Arc<DeviceState>]) -> (BTreeSet<u32>, usize) {
        let files: BTreeSet<u64> = devices.iter().flat_map(|device| device.seat.shared()).collect();
        let mut others = if files.is_empty() { BTreeSet::new() } else { holders(&files) };
        others.remove(&std::process::id());
        (others, files.len())
    }

    /// Whether no other process has memory of this one's, or may get it.
    pub(crate) fn alone(&self, devices: &[Arc<DeviceState>]) -> Result<(), Trouble> {
        match self.others(devices) {
            (_, 0) => Ok(()),
            (others, _) => {
                let who = if others.is_empty() { "other processes".into() } else { named(others) };
                let text = format!("the program shares memory with {who}, and is not saved or put back without them");
                Err(trouble(TroubleKind::Unfit, text))
            }
        }
    }

    /// Whether all others that have memory of this job's stand still.
    pub(crate) fn others_stand_still(&self) -> Result<(), Trouble> {
        const PATIENCE: Duration = Duration::from_secs(10);
        let moves = |pid: &u32| {
            let status = control::ask(*pid, &json!({ "request": "status" }), PATIENCE, &|_| {});
            let devices = status.ok().and_then(|status| status["devices"].as_array().cloned()).unwrap_or_default();
            devices.iter().any(|device| {
                let shares = device["shared"].as_array().is_some_and(|files| !files.is_empty());
                shares && !["paused", "released"].contains(&device["stage"].as_str().unwrap_or_default())
            })
        };
        let (others, _) = self.others(&self.picked(None)?);
        let moving: Vec<u32> = others.into_iter().filter(moves).collect();
        match moving.is_empty() {
            true => Ok(()),
            false => {
                let text = format!("the program shares memory with {}, which must be paused before", named(moving));
                Err(trouble(TroubleKind::Unfit, text))
            }
        }
    }

    /// Pauses the job, if it runs; what it was at. It must be at the same on all devices.
    pub(crate) fn hold(&self, within: Duration) -> Result<Stage, Trouble> {
        let devices = self.picked(None)?;
        let stages: BTreeSet<&str> = devices.iter().map(|device| self.stage(device.index).name()).collect();
        let stage = devices.first().map_or(Stage::Running, |device| self.stage(device.index));
        match stage {
            _ if stages.len() > 1 => {
                let all: Vec<&str> = stages.into_iter().collect();
                let text = format!("the job is {} on one device and {} on another", all[0], all[1]);
                Err(trouble(TroubleKind::Stage, text))
            }
            Stage::Running => self.pause(None, within).map(|_| Stage::Running),
            Stage::Paused | Stage::Released => {
                self.control.next_turn();
                Ok(stage)
            }
            Stage::Pausing | Stage::Moving | Stage::Saving => {
                Err(trouble(TroubleKind::Stage, format!("the job is {}", stage.name())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hetgpu_device::MemoryFile;

    #[test]
    fn who_has_a_file_is_found_and_only_one_has_its_lock() {
        let (one, two) = (MemoryFile::new(4096).unwrap(), MemoryFile::new(4096).unwrap());
        let number = |file: &MemoryFile| crate::sys::inode(&file.export().unwrap()).unwrap();
        let files = BTreeSet::from([number(&one), number(&two)]);
        assert_eq!(holders(&files), BTreeSet::from([std::process::id()]));
        let locks = lock(&files).unwrap();
        assert!(lock(&BTreeSet::from([number(&two)])).is_none());
        drop(locks);
        assert!(lock(&files).is_some());
        drop(one);
        assert!(holders(&BTreeSet::from([*files.first().unwrap()])).len() < 2);
    }
}
