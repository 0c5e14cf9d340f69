//! What is asked of the system.

/// The user whose rights this process has.
pub(crate) fn effective_user() -> u32 {
    // SAFETY: it has no conditions.
    unsafe { libc::geteuid() }
}
