//! Ops that compiled code leaves to the device: one file a family. Those without effects are computed from their
//! definition in `hetir::eval`.

mod atomic;
mod collective;
mod copy;
mod image;
mod matrix;
mod mbarrier;
mod syscall;
mod tensor;

use crate::sys::strand::Strand;
use crate::trouble::Trouble;
use hetgpu_llvm::abi::{Column, Described};
use hetir::attr::{Attr, Space};
use hetir::eval::Pure;
use hetir::interp::FaultKind;
use hetir::interp::space::{Window, window};
use hetir::ir::InstData;
use hetir::op::{Effects, Imm, Op};
use hetir::types::{Scalar, Type};
use std::cell::Cell;

pub(crate) use collective::{meet, tell};

/// What became of an op.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// Its results are there.
    Finished,
    /// Another thread must run first; then it is executed once more.
    Again,
}

type Done = Result<Outcome, Box<Trouble>>;

/// An op with effects, for lanes of a strand.
pub(crate) struct Call<'a> {
    pub strand: &'a Strand,
    pub inst: InstData,
    pub lanes: u32,
    args: &'a [Column],
    results: &'a mut [Column],
    /// How often it was executed in vain.
    pub turns: u32,
}

/// The lanes of a mask, lowest first.
pub(crate) fn lanes(mask: u32) -> impl Iterator<Item = usize> {
    (0..32).filter(move |lane| mask >> lane & 1 != 0)
}

fn ty([scalar, lanes]: [u8; 2]) -> Option<Type> {
    Some(Type { scalar: *Scalar::ALL.get(usize::from(scalar))?, lanes })
}

fn instruction(d: &Described) -> Option<(InstData, Type)> {
    let op = *Op::ALL.get(usize::from(d.op))?;
    Some((InstData::alone(op, ty(d.ty)?, d.attrs, d.imm), ty(d.src)?))
}

/// True for an op at which lanes that run by themselves meet.
pub(crate) fn meets(d: &Described) -> bool {
    let alone = [Op::ClusterArrive, Op::ClusterWait, Op::SetMaxReg];
    Op::ALL.get(usize::from(d.op)).is_some_and(|op| op.info().effects.has(Effects::CONVERGENT) && !alone.contains(op))
}

/// True for the op by which lanes ask who is with them: nobody has to come.
pub(crate) fn asks(d: &Described) -> bool {
    Op::ALL.get(usize::from(d.op)) == Some(&Op::ActiveMask)
}

/// True for the wait for the cluster's barrier, false for the arrival at it, none for other ops.
pub(crate) fn is_cluster_barrier(d: &Described) -> Option<bool> {
    match Op::ALL.get(usize::from(d.op)) {
        Some(Op::ClusterWait) => Some(true),
        Some(Op::ClusterArrive) => Some(false),
        _ => None,
    }
}

impl<'a> Call<'a> {
    /// `None` where the description is none.
    pub(crate) fn new(
        strand: &'a Strand,
        d: &Described,
        mask: u32,
        args: &'a [Column],
        results: &'a mut [Column],
    ) -> Option<Self> {
        let (inst, _) = instruction(d)?;
        Some(Self { strand, inst, lanes: mask, args, results, turns: 0 })
    }

    /// The n-th operand column in a lane; 0 where there is none.
    fn arg(&self, n: usize, lane: usize) -> u64 {
        self.args.get(n).map_or(0, |c| c[lane])
    }

    fn set(&mut self, n: usize, lane: usize, value: u64) {
        if let Some(column) = self.results.get_mut(n) {
            column[lane] = value;
        }
    }

    fn set_all(&mut self, n: usize, values: &Column) {
        for lane in lanes(self.lanes) {
            self.set(n, lane, values[lane]);
        }
    }

    fn attr<A: Attr>(&self) -> A {
        self.inst.attr()
    }

    fn space(&self) -> Space {
        self.inst.attr()
    }

    /// The address operand in a lane, the immediate added where it is an offset.
    fn address(&self, lane: usize) -> u64 {
        let offset = if self.inst.op.info().imm == Imm::Offset { self.inst.imm } else { 0 };
        self.arg(0, lane).wrapping_add(offset)
    }

    fn read(&self, lane: usize, address: u64, out: &mut [u8]) -> Result<(), Box<Trouble>> {
        self.strand.read(lane, self.space(), address, out)
    }

    fn write(&self, lane: usize, address: u64, data: &[u8]) -> Result<(), Box<Trouble>> {
        self.strand.write(lane, self.space(), address, data)
    }
}

/// Computes an op without effects, lane by lane.
pub(crate) fn eval(d: &Described, mask: u32, args: &[Column], results: &mut [Column]) {
    let Some(pure) = decode(d) else { return };
    let narrow = d.wide_args == 0 && d.wide_results == 0 && !pure.is_wide();
    if narrow && results.len() == 1 && args.len() <= 4 && !matches!(pure.op, Op::Unpack | Op::Pack) {
        let column = |n: usize| args.get(n).unwrap_or(&[0; 32]);
        let (a, b, c, e) = (column(0), column(1), column(2), column(3));
        for lane in lanes(mask) {
            results[0][lane] = pure.word([a[lane], b[lane], c[lane], e[lane]]);
        }
        return;
    }
    let (mut from, mut to) = ([0u128; 16], [0u128; 16]);
    let (from, to) = (&mut from[..usize::from(d.args).min(16)], &mut to[..usize::from(d.results).min(16)]);
    for lane in lanes(mask) {
        let mut columns = args.iter().map(|c| u128::from(c[lane]));
        for (n, value) in from.iter_mut().enumerate() {
            *value = columns.next().unwrap_or(0);
            if d.wide_args >> n & 1 != 0 {
                *value |= columns.next().unwrap_or(0) << 64;
            }
        }
        pure.eval(from, to);
        let mut columns = results.iter_mut().map(|c| &mut c[lane]);
        for (n, &value) in to.iter().enumerate() {
            let halves = if d.wide_results >> n & 1 != 0 { 2 } else { 1 };
            for half in 0..halves {
                if let Some(place) = columns.next() {
                    *place = (value >> (64 * half)) as u64;
                }
            }
        }
    }
}

/// Descriptions that were taken apart last, by where they lie: code calls with the same ones again and again.
const KNOWN: usize = 16;

thread_local! {
    static DECODED: [Cell<Option<(Described, Pure)>>; KNOWN] = const { [const { Cell::new(None) }; KNOWN] };
}

fn decode(d: &Described) -> Option<Pure> {
    DECODED.with(|all| {
        let place = &all[std::ptr::from_ref(d).addr() / size_of::<Described>() % KNOWN];
        if let Some((known, pure)) = place.get()
            && known == *d
        {
            return Some(pure);
        }
        let (inst, src) = instruction(d)?;
        let pure = Pure::of(&inst, src)?;
        place.set(Some((*d, pure)));
        Some(pure)
    })
}

/// Tells constants from other global memory.
fn is_space(call: &mut Call<'_>) {
    let job = call.strand.job();
    let space = call.space();
    for lane in lanes(call.lanes) {
        let address = call.arg(0, lane);
        let mut variables = job.module.globals.iter().zip(job.globals.iter());
        let constant =
            variables.any(|(g, &base)| g.space == Space::Const && address >= base && address - base < g.size);
        let global = window(address).0 == Window::Global;
        call.set(0, lane, (global && constant == (space == Space::Const)).into());
    }
}

/// Executes an op with effects for all lanes of the call.
pub(crate) fn execute(call: &mut Call<'_>) -> Done {
    match call.inst.op {
        Op::Atom => atomic::atom(call)?,
        Op::Cas => atomic::cas(call)?,
        Op::Load => atomic::load(call)?,
        Op::Store => atomic::store(call)?,
        Op::Syscall => syscall::syscall(call)?,
        Op::ActiveMask => call.set_all(0, &[call.lanes.into(); 32]),
        Op::WarpSync | Op::Elect | Op::Shuffle | Op::Vote | Op::Ballot | Op::MatchAny | Op::MatchAll | Op::Redux => {
            collective::together(call)?;
        }
        Op::Mma | Op::WmmaLoad | Op::WmmaStore | Op::LdMatrix | Op::StMatrix | Op::MovMatrix => matrix::matrix(call)?,
        Op::CpAsync => copy::cp_async(call)?,
        Op::CpAsyncArrive => copy::arrive(call)?,
        Op::BulkLoad | Op::BulkSend | Op::BulkReduceSend => copy::bulk_send(call)?,
        Op::BulkMulticast => copy::bulk_multicast(call)?,
        Op::BulkStore | Op::BulkReduceStore => copy::bulk_store(call)?,
        Op::TensorLoad => tensor::load(call)?,
        Op::TensorStore | Op::TensorReduce => tensor::store(call)?,
        Op::TensorMapReplace => tensor::replace(call)?,
        Op::StoreAsync | Op::RedAsync => copy::store_async(call)?,
        Op::MbarrierInit | Op::MbarrierInval => mbarrier::set(call)?,
        Op::MbarrierExpect | Op::MbarrierComplete => mbarrier::expect(call)?,
        Op::MbarrierArrive | Op::MbarrierArriveExpect => mbarrier::arrive(call)?,
        Op::MbarrierTest => mbarrier::test(call)?,
        Op::MbarrierTry => return mbarrier::try_wait(call),
        Op::Tex | Op::TexGather | Op::ImageQuery | Op::IsImage | Op::SurfLoad | Op::SurfStore | Op::SurfRed => {
            hetir::interp::texture::execute(call)?
        }
        Op::IsSpace => is_space(call),
        Op::Fence | Op::TensorMapAcquire => std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst),
        // Copies happen when they are issued; the others are hints.
        Op::CpAsyncCommit
        | Op::CpAsyncWait
        | Op::BulkCommit
        | Op::BulkWait
        | Op::BulkPrefetch
        | Op::TensorPrefetch
        | Op::PrefetchOp
        | Op::Discard
        | Op::ApplyPriority
        | Op::PmEvent
        | Op::NoUnroll
        | Op::SetMaxReg
        | Op::GridDepWait
        | Op::GridDepLaunch => {}
        op => {
            let message = format!("no way to execute `{}` here", op.info().name);
            return Err(Trouble::new(FaultKind::Unsupported, call.lanes.trailing_zeros() as usize & 31, message));
        }
    }
    Ok(Outcome::Finished)
}
