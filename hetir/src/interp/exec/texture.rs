//! Textures and surfaces.

use super::memory::Kind;
use super::{Next, Step, Trouble, column};
use crate::attr::Space;
use crate::interp::FaultKind;
use crate::interp::texture::{Machine, Object, execute};
use crate::ir::{InstData, Module};

impl<'l> Machine<'l> for Step<'_, 'l> {
    type Error = Box<Trouble>;

    fn fail(&self, kind: FaultKind, lane: usize, message: String) -> Self::Error {
        Box::new(Trouble { kind, lane: lane as u32, message, related: Vec::new(), place: None })
    }
    fn inst(&self) -> InstData {
        let body = self.env.launch.module.functions[self.code.id.index()].body.as_ref();
        let alone = || InstData::alone(self.ins.op, self.ins.ty, Default::default(), self.ins.imm);
        body.map_or_else(alone, |b| *b.inst(self.ins.inst))
    }
    fn lanes(&self) -> u32 {
        self.lanes
    }
    fn counts(&self) -> (usize, usize) {
        (self.code.args(self.ins).len(), self.code.results(self.ins).len())
    }
    fn arg(&self, n: usize, lane: usize) -> u64 {
        let frame = self.warp.groups[self.group].frame;
        let registers = &self.warp.frames[frame as usize].registers;
        self.code.args(self.ins).get(n).map_or(0, |r| column(registers, &self.code.constants, *r)[lane])
    }
    fn set(&mut self, n: usize, lane: usize, value: u64) {
        Step::set(self, n, lane, value);
    }
    fn objects(&self) -> &'l [Object] {
        self.env.launch.images
    }
    fn module(&self) -> &'l Module {
        self.env.launch.module
    }
    fn globals(&self) -> &'l [u64] {
        self.env.launch.globals
    }
    fn held(&mut self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.env.memory.read(address, &mut bytes).ok()?;
        Some(u64::from_le_bytes(bytes))
    }
    fn read(&mut self, lane: usize, address: u64, out: &mut [u8]) -> Result<(), Self::Error> {
        self.read_space(lane, Space::Global, address, out, Kind::Read)
    }
    fn write(&mut self, lane: usize, address: u64, data: &[u8]) -> Result<(), Self::Error> {
        self.write_space(lane, Space::Global, address, data, Kind::Write)
    }
    fn update(
        &mut self,
        lane: usize,
        address: u64,
        bytes: usize,
        change: &dyn Fn(u128) -> u128,
    ) -> Result<(), Self::Error> {
        let mut old = [0; 16];
        self.read_space(lane, Space::Global, address, &mut old[..bytes], Kind::Atomic)?;
        let new = change(u128::from_le_bytes(old));
        self.write_space(lane, Space::Global, address, &new.to_le_bytes()[..bytes], Kind::Atomic)
    }
}

pub(super) fn access(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    execute(step)?;
    Ok(Next::Advance)
}
