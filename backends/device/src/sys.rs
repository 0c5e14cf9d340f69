/// Host memory that a device may reach.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HostSpan {
    start: *mut u8,
    bytes: usize,
}

// SAFETY: it names a range of plain memory that any thread may access; whoever made it answers for that.
unsafe impl Send for HostSpan {}
// SAFETY: as above.
unsafe impl Sync for HostSpan {}

impl HostSpan {
    /// # Safety
    /// The memory stays readable and writable, for any thread, until every device that was given the span has unmapped
    /// it. Others may access it at the same time, so that it must only be touched atomically or by raw pointer.
    pub unsafe fn new(start: *mut u8, bytes: usize) -> Self {
        Self { start, bytes }
    }

    /// Where it begins; the address that a device uses for it too.
    pub fn start(self) -> *mut u8 {
        self.start
    }

    /// How long it is.
    pub fn bytes(self) -> usize {
        self.bytes
    }
}
