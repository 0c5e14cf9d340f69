//! Textures and surfaces: as hetIR defines them.

use super::Call;
use crate::trouble::Trouble;
use hetir::attr::Space;
use hetir::interp::FaultKind;
use hetir::interp::texture::{Machine, Object};
use hetir::ir::{InstData, Module};

impl<'a> Machine<'a> for Call<'a> {
    type Error = Box<Trouble>;

    fn fail(&self, kind: FaultKind, lane: usize, message: String) -> Self::Error {
        Trouble::new(kind, lane, message)
    }
    fn inst(&self) -> InstData {
        self.inst
    }
    fn lanes(&self) -> u32 {
        self.lanes
    }
    fn counts(&self) -> (usize, usize) {
        (self.args.len(), self.results.len())
    }
    fn arg(&self, n: usize, lane: usize) -> u64 {
        Call::arg(self, n, lane)
    }
    fn set(&mut self, n: usize, lane: usize, value: u64) {
        Call::set(self, n, lane, value);
    }
    fn objects(&self) -> &'a [Object] {
        &self.strand.job().images
    }
    fn module(&self) -> &'a Module {
        &self.strand.job().module
    }
    fn globals(&self) -> &'a [u64] {
        &self.strand.job().globals
    }
    fn held(&mut self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.strand.read(0, Space::Global, address, &mut bytes).ok()?;
        Some(u64::from_le_bytes(bytes))
    }
    fn read(&mut self, lane: usize, address: u64, out: &mut [u8]) -> Result<(), Self::Error> {
        self.strand.read(lane, Space::Global, address, out)
    }
    fn write(&mut self, lane: usize, address: u64, data: &[u8]) -> Result<(), Self::Error> {
        self.strand.write(lane, Space::Global, address, data)
    }
    fn update(
        &mut self,
        lane: usize,
        address: u64,
        bytes: usize,
        change: &dyn Fn(u128) -> u128,
    ) -> Result<(), Self::Error> {
        self.strand.update(lane, Space::Global, address, bytes, |old| Some(change(old))).map(drop)
    }
}
