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

/// From now on what is large gets memory of its own, which goes back when it is freed. By itself
/// glibc takes ever larger pieces out of its heaps, which then stay full of holes.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
pub fn settle_down() {
    const LARGE: libc::c_int = 128 << 10;
    // SAFETY: it takes numbers, sets a number, and may be called by any thread.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) };
}

/// Other allocators do so by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn give_back() {}

/// Other allocators do so by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn settle_down() {}
