//! A file system in memory that fails when it is told to, and forgets what was not synchronised: for tests and fuzzers.

use super::{About, Disk, DiskFile};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

/// Bytes that a failing disk writes as a whole or not at all.
const SECTOR: usize = 512;

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The step fails.
    Error,
    /// The step fails, and all that would make anything longer after it.
    Full,
    /// Half of what is to be written or read is.
    Short,
    /// The process dies in the middle of the step: half of a write is done, and nothing after it.
    Death,
}

#[derive(Clone, Default)]
struct Node {
    now: Vec<u8>,
    /// What a failure of power leaves in any case.
    kept: Vec<u8>,
    /// What it may leave or not: where, and what.
    loose: Vec<(usize, Vec<u8>)>,
}

#[derive(Clone)]
enum Naming {
    Made(PathBuf, usize),
    Renamed(PathBuf, PathBuf),
    Removed(PathBuf),
}

#[derive(Clone, Default)]
struct State {
    nodes: Vec<Node>,
    names: BTreeMap<PathBuf, usize>,
    kept_names: BTreeMap<PathBuf, usize>,
    loose_names: Vec<Naming>,
    folders: BTreeSet<PathBuf>,
    steps: u64,
    fault: Option<(u64, Fault)>,
    full: bool,
    dead: bool,
}

impl State {
    fn step(&mut self) -> Result<Option<Fault>> {
        if self.dead {
            return Err(Error::other("the process is dead"));
        }
        self.steps += 1;
        match self.fault.filter(|(at, _)| *at == self.steps) {
            Some((_, Fault::Error)) => Err(Error::other("an error that was asked for")),
            Some((_, Fault::Full)) => {
                self.full = true;
                Err(ErrorKind::StorageFull.into())
            }
            Some((_, fault @ Fault::Death)) => {
                self.dead = true;
                Ok(Some(fault))
            }
            Some((_, fault @ Fault::Short)) => Ok(Some(fault)),
            None => Ok(None),
        }
    }

    /// A step of which no half can be done.
    fn whole_step(&mut self) -> Result<()> {
        match self.step()? {
            Some(Fault::Death) => Err(Error::other("the process is dead")),
            Some(Fault::Short | Fault::Error | Fault::Full) | None => Ok(()),
        }
    }

    fn grow(&mut self) -> Result<()> {
        if self.full { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

fn name(names: &mut BTreeMap<PathBuf, usize>, naming: &Naming) {
    match naming {
        Naming::Made(path, node) => drop(names.insert(path.clone(), *node)),
        Naming::Removed(path) => drop(names.remove(path)),
        Naming::Renamed(from, to) => {
            if let Some(node) = names.remove(from) {
                names.insert(to.clone(), node);
            }
        }
    }
}

/// A file system in memory.
#[derive(Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<State>>);

struct MemoryFile {
    disk: MemoryDisk,
    node: usize,
}

impl MemoryDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Puts a file there that has always been there.
    pub fn put(&self, path: &Path, bytes: Vec<u8>) {
        let mut state = self.state();
        let node = state.nodes.len();
        state.nodes.push(Node { now: bytes.clone(), kept: bytes, loose: Vec::new() });
        state.names.insert(path.into(), node);
        state.kept_names.insert(path.into(), node);
    }

    /// The bytes of a file.
    pub fn get(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        state.names.get(path).map(|&node| state.nodes[node].now.clone())
    }

    /// Steps so far.
    pub fn steps(&self) -> u64 {
        self.state().steps
    }

    /// Lets something go wrong so many steps from now.
    pub fn fail(&self, steps: u64, fault: Fault) {
        let mut state = self.state();
        state.fault = Some((state.steps + steps, fault));
    }

    /// A copy as the next process finds it.
    pub fn after_death(&self) -> Self {
        let mut state = self.state().clone();
        (state.dead, state.full, state.fault) = (false, false, None);
        Self(Arc::new(Mutex::new(state)))
    }

    /// A copy as it may be after a failure of power: of what was not synchronised each sector is there or not, as `choose`
    /// says, and so is each name.
    pub fn after_power_failure(&self, mut choose: impl FnMut() -> bool) -> Self {
        let old = self.after_death();
        let mut state = old.state();
        for node in &mut state.nodes {
            let mut bytes = node.kept.clone();
            for (at, written) in &node.loose {
                for (number, sector) in written.chunks(SECTOR).enumerate() {
                    let from = at + number * SECTOR;
                    if choose() {
                        bytes.resize(bytes.len().max(from + sector.len()), 0);
                        bytes[from..from + sector.len()].copy_from_slice(sector);
                    }
                }
            }
            *node = Node { now: bytes.clone(), kept: bytes, loose: Vec::new() };
        }
        let mut names = state.kept_names.clone();
        for naming in std::mem::take(&mut state.loose_names) {
            if choose() {
                name(&mut names, &naming);
            }
        }
        (state.names, state.kept_names) = (names.clone(), names);
        drop(state);
        old
    }
}

impl DiskFile for MemoryFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<usize> {
        let mut state = self.disk.state();
        let fault = state.step()?;
        let count = if fault.is_some() { bytes.len() / 2 } else { bytes.len() };
        let at = offset as usize;
        if at + count > state.nodes[self.node].now.len() {
            state.grow()?;
        }
        let node = &mut state.nodes[self.node];
        node.now.resize(node.now.len().max(at + count), 0);
        node.now[at..at + count].copy_from_slice(&bytes[..count]);
        node.loose.push((at, bytes[..count].to_vec()));
        match fault {
            Some(Fault::Death) => Err(Error::other("the process is dead")),
            // Whoever is told of nothing written does not try again.
            Some(_) if count == 0 => Err(ErrorKind::Interrupted.into()),
            _ => Ok(count),
        }
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<usize> {
        let mut state = self.disk.state();
        let fault = state.step()?;
        if fault == Some(Fault::Death) {
            return Err(Error::other("the process is dead"));
        }
        let now = &state.nodes[self.node].now;
        let there = usize::try_from(offset).ok().and_then(|at| now.get(at..)).unwrap_or_default();
        let most = if fault.is_some() { bytes.len().div_ceil(2) } else { bytes.len() };
        let count = there.len().min(most);
        bytes[..count].copy_from_slice(&there[..count]);
        Ok(count)
    }

    fn sync(&self) -> Result<()> {
        let mut state = self.disk.state();
        state.whole_step()?;
        let node = &mut state.nodes[self.node];
        node.kept = node.now.clone();
        node.loose.clear();
        Ok(())
    }

    fn resize(&self, bytes: u64) -> Result<()> {
        let mut state = self.disk.state();
        state.whole_step()?;
        let node = &mut state.nodes[self.node];
        node.now.resize(bytes as usize, 0);
        // What lay behind the new end does not come back.
        node.loose.retain(|(at, _)| *at < bytes as usize);
        node.loose.iter_mut().for_each(|(at, written)| written.truncate(bytes as usize - *at));
        Ok(())
    }

    fn about(&self) -> Result<About> {
        let mut state = self.disk.state();
        state.whole_step()?;
        let bytes = state.nodes[self.node].now.len() as u64;
        Ok(About { bytes, owner: 1000, mode: 0o600, is_file: true })
    }
}

impl Disk for MemoryDisk {
    fn make_folder(&self, path: &Path) -> Result<()> {
        let mut state = self.state();
        state.whole_step()?;
        state.folders.insert(path.into());
        Ok(())
    }

    fn about_folder(&self, path: &Path) -> Result<About> {
        let mut state = self.state();
        state.whole_step()?;
        match state.folders.contains(path) {
            true => Ok(About { bytes: 0, owner: 1000, mode: 0o700, is_file: false }),
            false => Err(ErrorKind::NotFound.into()),
        }
    }

    fn names(&self, path: &Path) -> Result<Vec<String>> {
        let mut state = self.state();
        state.whole_step()?;
        let inside = state.names.keys().filter(|name| name.parent() == Some(path));
        Ok(inside.filter_map(|name| Some(name.file_name()?.to_str()?.to_owned())).collect())
    }

    fn create(&self, path: &Path, _: bool) -> Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        state.whole_step()?;
        state.grow()?;
        if state.names.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let node = state.nodes.len();
        state.nodes.push(Node::default());
        state.names.insert(path.into(), node);
        state.loose_names.push(Naming::Made(path.into(), node));
        Ok(Box::new(MemoryFile { disk: self.clone(), node }))
    }

    fn open(&self, path: &Path, _: bool) -> Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        state.whole_step()?;
        let node = *state.names.get(path).ok_or(ErrorKind::NotFound)?;
        Ok(Box::new(MemoryFile { disk: self.clone(), node }))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let mut state = self.state();
        state.whole_step()?;
        if !state.names.contains_key(from) {
            return Err(ErrorKind::NotFound.into());
        }
        let naming = Naming::Renamed(from.into(), to.into());
        name(&mut state.names, &naming);
        state.loose_names.push(naming);
        Ok(())
    }

    fn remove(&self, path: &Path) -> Result<()> {
        let mut state = self.state();
        state.whole_step()?;
        if !state.names.contains_key(path) {
            return Err(ErrorKind::NotFound.into());
        }
        let naming = Naming::Removed(path.into());
        name(&mut state.names, &naming);
        state.loose_names.push(naming);
        Ok(())
    }

    fn sync_folder(&self, _: &Path) -> Result<()> {
        let mut state = self.state();
        state.whole_step()?;
        state.kept_names = state.names.clone();
        state.loose_names.clear();
        Ok(())
    }

    fn user(&self) -> Result<u32> {
        Ok(1000)
    }

    fn runs(&self, _: u32) -> bool {
        false
    }
}
