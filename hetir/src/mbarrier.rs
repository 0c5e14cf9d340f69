//! The 64 bits of an mbarrier, a barrier that lies in shared memory.
//!
//! | bits | meaning |
//! |---|---|
//! | 0 | 0 |
//! | 1 to 20 | 2^20 minus the arrivals expected in each phase |
//! | 21 to 41 | minus the bytes that the phase still waits for, in two's complement; negative where more have come than were announced so far |
//! | 42 | 0 |
//! | 43 to 62 | 2^20 minus the arrivals still pending; 0 where none is |
//! | 63 | parity of the phase: 0 in the first one |
//!
//! A phase is complete when neither arrivals are pending nor bytes awaited; the next one begins at once. These are the
//! places that NVIDIA's sm_90 has them in, so that states mean the same there; but an ordinary load of an mbarrier gives
//! 0 on an H200, and a program must not load or store one in use. All zeros, the state of memory that was never used,
//! expect no arrival: no mbarrier is like that while it is in use.
//!
//! A *state*, as an arrival gives it, has the bits 43 to 63 as they were before that arrival, and zeros below.

/// Most arrivals of a phase, and most bytes that it waits for.
pub const MAX: u32 = (1 << 20) - 1;

const FIELD: u64 = (1 << 20) - 1;
const EXPECTED: u32 = 1;
const BYTES: u32 = 21;
const BYTES_FIELD: u64 = (1 << 21) - 1;
const PENDING: u32 = 43;
const PHASE: u32 = 63;

/// Why an operation is refused; the program is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Misuse {
    /// A count outside of 1 to [`MAX`].
    Count(u32),
    /// There is no mbarrier.
    Absent,
    /// More arrivals than are pending, which are so many.
    TooMany(u32),
    /// The last arrival, though it was said not to be.
    Completes,
    /// A number of bytes beyond [`MAX`].
    Bytes(i64),
}

impl std::fmt::Display for Misuse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Count(n) => write!(f, "{n} arrivals, and 1 to {MAX} are possible"),
            Self::Absent => f.write_str("there is no mbarrier in use"),
            Self::TooMany(n) => write!(f, "more arrivals than the {n} that are pending"),
            Self::Completes => f.write_str("the last arrival of a phase, which `no_complete` excludes"),
            Self::Bytes(n) => write!(f, "{n} bytes awaited, and at most {MAX} are possible"),
        }
    }
}

/// The bits of an mbarrier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mbarrier(pub u64);

impl Mbarrier {
    /// An mbarrier of so many arrivals a phase.
    ///
    /// # Errors
    /// A count that is not possible.
    pub const fn new(count: u32) -> Result<Self, Misuse> {
        if count == 0 || count > MAX {
            return Err(Misuse::Count(count));
        }
        Ok(Self(0).with(EXPECTED, FIELD, -(count as i64)).with(PENDING, FIELD, -(count as i64)))
    }
    const fn with(self, at: u32, field: u64, value: i64) -> Self {
        Self(self.0 & !(field << at) | (value as u64 & field) << at)
    }
    const fn count(self, at: u32) -> u32 {
        ((self.0 >> at & FIELD).wrapping_neg() & FIELD) as u32
    }
    /// Arrivals expected in each phase.
    pub const fn expected(self) -> u32 {
        self.count(EXPECTED)
    }
    /// Arrivals pending in this phase.
    pub const fn pending(self) -> u32 {
        self.count(PENDING)
    }
    /// Bytes that this phase waits for.
    pub const fn bytes(self) -> i64 {
        let unused = 64 - 21;
        -((((self.0 >> BYTES & BYTES_FIELD) << unused) as i64) >> unused)
    }
    /// The parity of this phase.
    pub const fn parity(self) -> u32 {
        (self.0 >> PHASE) as u32
    }
    /// What an arrival gives, taken before it.
    pub const fn state(self) -> u64 {
        self.0 >> PENDING << PENDING
    }
    /// Whether the phase of this parity, the current one or the one before, is complete.
    pub const fn is_complete(self, parity: u32) -> bool {
        self.parity() != parity & 1
    }
    /// Whether the phase that a state was taken in is complete.
    pub const fn is_past(self, state: u64) -> bool {
        self.is_complete((state >> PHASE) as u32)
    }
    /// True where there is no mbarrier.
    pub const fn is_absent(self) -> bool {
        self.expected() == 0 && self.pending() == 0
    }

    /// Waits for more bytes (fewer, where negative); the phase may be complete then.
    ///
    /// # Errors
    /// More bytes than are possible, or no mbarrier.
    pub const fn expect(self, bytes: i64) -> Result<Self, Misuse> {
        if self.is_absent() {
            return Err(Misuse::Absent);
        }
        let sum = self.bytes() + bytes;
        if bytes.unsigned_abs() > MAX as u64 || sum.unsigned_abs() > MAX as u64 {
            return Err(Misuse::Bytes(sum));
        }
        Ok(self.with(BYTES, BYTES_FIELD, -sum).finish())
    }
    /// One more arrival is pending.
    ///
    /// # Errors
    /// More arrivals than are possible, or no mbarrier.
    pub const fn add_pending(self) -> Result<Self, Misuse> {
        let pending = self.pending() + 1;
        if self.is_absent() {
            return Err(Misuse::Absent);
        }
        if pending > MAX {
            return Err(Misuse::Count(pending));
        }
        Ok(self.with(PENDING, FIELD, -(pending as i64)))
    }
    /// So many arrivals; the phase may be complete then. With `drop` the later phases expect as many fewer.
    ///
    /// # Errors
    /// A count that is not possible, or no mbarrier.
    pub const fn arrive(self, count: u32, drop: bool) -> Result<Self, Misuse> {
        if self.is_absent() {
            return Err(Misuse::Absent);
        }
        if count == 0 || count > MAX {
            return Err(Misuse::Count(count));
        }
        let (pending, expected) = (self.pending(), self.expected());
        if count > pending || (drop && count > expected) {
            return Err(Misuse::TooMany(if count > pending { pending } else { expected }));
        }
        let mut next = self.with(PENDING, FIELD, count as i64 - pending as i64);
        if drop {
            next = next.with(EXPECTED, FIELD, count as i64 - expected as i64);
        }
        Ok(next.finish())
    }
    /// Begins the next phase where this one is complete.
    const fn finish(self) -> Self {
        if self.pending() != 0 || self.bytes() != 0 {
            return self;
        }
        Self(self.with(PENDING, FIELD, -(self.expected() as i64)).0 ^ 1 << PHASE)
    }
}

/// The arrivals that were pending in a state.
pub const fn pending_in(state: u64) -> u32 {
    // None pending is no state that an arrival can be in; the difference is taken as it stands.
    (FIELD as u32 + 1) - (state >> PENDING & FIELD) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_where_sm_90_has_them() {
        assert_eq!(Mbarrier::new(5).unwrap().0, 0x7fff_d800_001f_fff6);
        assert_eq!(Mbarrier::new(5).unwrap().state(), 0x7fff_d800_0000_0000);
        assert_eq!(Mbarrier::new(1).unwrap().state(), 0x7fff_f800_0000_0000);
        assert_eq!(Mbarrier::new(100).unwrap().state(), 0x7ffc_e000_0000_0000);
        // Minus 16 in the field of bytes, whose low bits are cut from this.
        let one = Mbarrier::new(1).unwrap().expect(16).unwrap();
        assert_eq!(one.0 >> 32, 0x7fff_fbff);
        assert_eq!(pending_in(0x7fff_f000_0000_0001), 2);
        assert_eq!(pending_in(0), 1 << 20);
    }

    #[test]
    fn arrivals_and_bytes_complete_a_phase() {
        let b = Mbarrier::new(2).unwrap();
        let b = b.arrive(1, false).unwrap();
        assert_eq!((b.pending(), b.parity()), (1, 0));
        let b = b.expect(32).unwrap().arrive(1, false).unwrap();
        assert_eq!((b.pending(), b.bytes(), b.parity()), (0, 32, 0));
        assert!(!b.is_complete(0) && b.is_complete(1));
        let b = b.expect(-32).unwrap();
        assert_eq!((b.pending(), b.expected(), b.bytes(), b.parity()), (2, 2, 0, 1));
        assert!(b.is_complete(0) && !b.is_complete(1));
        assert!(b.is_past(Mbarrier::new(2).unwrap().state()) && !b.is_past(b.state()));
    }

    #[test]
    fn bytes_may_come_before_they_are_announced() {
        let b = Mbarrier::new(1).unwrap().expect(-64).unwrap();
        assert_eq!((b.bytes(), b.parity()), (-64, 0));
        let b = b.expect(64).unwrap();
        assert_eq!((b.bytes(), b.parity()), (0, 0));
        assert_eq!(b.arrive(1, false).unwrap().parity(), 1);
    }

    #[test]
    fn dropping_lowers_what_later_phases_expect() {
        let b = Mbarrier::new(3).unwrap().arrive(1, true).unwrap();
        assert_eq!((b.pending(), b.expected()), (2, 2));
        let b = b.arrive(2, false).unwrap();
        assert_eq!((b.pending(), b.expected(), b.parity()), (2, 2, 1));
        let b = b.arrive(2, true).unwrap();
        assert_eq!((b.0, b.is_absent()), (0, true));
    }

    #[test]
    fn misuse_is_refused() {
        assert_eq!(Mbarrier::new(0), Err(Misuse::Count(0)));
        assert_eq!(Mbarrier::new(MAX + 1), Err(Misuse::Count(1 << 20)));
        assert_eq!(Mbarrier::new(MAX).unwrap().pending(), MAX);
        assert_eq!(Mbarrier(0).arrive(1, false), Err(Misuse::Absent));
        let b = Mbarrier::new(2).unwrap();
        assert_eq!(b.arrive(3, false), Err(Misuse::TooMany(2)));
        assert_eq!(b.arrive(0, false), Err(Misuse::Count(0)));
        assert_eq!(b.expect(1 << 20), Err(Misuse::Bytes(1 << 20)));
        assert_eq!(b.expect(MAX.into()).unwrap().expect(1), Err(Misuse::Bytes(1 << 20)));
        assert_eq!(b.expect(-i64::from(MAX)).unwrap().bytes(), -i64::from(MAX));
    }
}
