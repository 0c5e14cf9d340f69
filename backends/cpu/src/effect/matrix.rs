//! Ops on matrices, which all 32 lanes of a warp hold together.

use super::Call;
use crate::sys::strand::Strand;
use crate::trouble::Trouble;
use hetir::attr::Space;
use hetir::interp::FaultKind;
use hetir::op::Op;
use hetir::tensor::{Product, Tiled, access, tile_from_rows, tile_to_rows};

struct Memory<'s> {
    strand: &'s Strand,
    space: Space,
}

impl Tiled for Memory<'_> {
    type Error = Box<Trouble>;

    fn read(&mut self, lane: usize, address: u64, out: &mut [u8]) -> Result<(), Self::Error> {
        self.strand.read(lane, self.space, address, out)
    }

    fn write(&mut self, lane: usize, address: u64, data: &[u8]) -> Result<(), Self::Error> {
        self.strand.write(lane, self.space, address, data)
    }

    fn misaligned(&self, lane: usize, message: String) -> Self::Error {
        Trouble::new(FaultKind::Misaligned, lane, message)
    }
}

pub(super) fn matrix(call: &mut Call<'_>) -> Result<(), Box<Trouble>> {
    let op = call.inst.op;
    if call.lanes != u32::MAX {
        let message = format!("{} needs all 32 lanes, of which only {:#010x} are there", op.info().name, call.lanes);
        return Err(Trouble::new(FaultKind::BadMask, call.lanes.trailing_zeros() as usize & 31, message));
    }
    let results = match op {
        Op::Mma => match Product::of(&call.inst) {
            Ok(product) => product.eval(call.args),
            Err(message) => return Err(Trouble::new(FaultKind::Unsupported, 0, message)),
        },
        Op::WmmaLoad | Op::WmmaStore | Op::LdMatrix | Op::StMatrix => {
            let mut memory = Memory { strand: call.strand, space: call.space() };
            access(&call.inst, call.args, &mut memory)?
        }
        _ => call.args.first().map(|tile| tile_from_rows(&tile_to_rows(tile, false), true)).into_iter().collect(),
    };
    for (n, column) in results.iter().enumerate() {
        call.set_all(n, column);
    }
    Ok(())
}
