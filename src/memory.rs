//! Memory that was freed, back to the system. A dashboard reads a million rows once and
//! then sits there for days, and a commit makes and drops batches of megabytes on several
//! threads: glibc would keep what that took.

/// Gives back what is free. Takes milliseconds: for when much was freed.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
// There is no other way to ask the allocator.
#[allow(unsafe_code)]
pub fn give_back() {
    // SAFETY: it takes a number, touches free memory only, and may be called by any thread.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators do so by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn give_back() {}
