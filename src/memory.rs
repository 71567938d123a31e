//! Memory: what was freed goes back to the system, and what happens when there is none left.
//! A dashboard reads a million rows once and then sits there for days, and a commit makes and
//! drops batches of megabytes on several threads: glibc would keep what that took.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::time::Duration;

/// What is said when there is none left.
pub const EXHAUSTED: &str =
    "memory ran out: allow more (ulimit -v, the limits of the container), then run this again";
/// What a dashboard holds back, to end a scan in order. Never touched, so it is address
/// space and no memory.
const RESERVE: usize = 32 << 20;

/// Whether the reserve was used.
static SHORT: AtomicBool = AtomicBool::new(false);
/// The reserve, where there is one.
static HELD: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
/// What is done before the process ends for want of memory.
static LAST: OnceLock<fn()> = OnceLock::new();

/// The system's allocator. Where it has nothing more, the reserve is given up; without one
/// the process ends with a sentence rather than with a core dump. It can end anywhere: what is
/// acknowledged is on disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct Allocator;

// There is no other way to learn of a failed allocation.
#[allow(unsafe_code)]
// SAFETY: everything is passed on to the system's allocator with the arguments as they came.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are passed on.
        again(|| unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are passed on.
        again(|| unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promises are passed on; what failed has left `old` as it was.
        again(|| unsafe { System.realloc(old, layout, size) })
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(memory, layout) };
    }
}

fn again(allocate: impl Fn() -> *mut u8) -> *mut u8 {
    let memory = allocate();
    if !memory.is_null() {
        return memory;
    }
    if give_up_reserve() {
        let memory = allocate();
        if !memory.is_null() {
            return memory;
        }
    }
    end()
}

/// Says why and ends the process, without allocating anything.
fn end() -> ! {
    static ENDING: AtomicBool = AtomicBool::new(false);
    thread_local! {
        // Without a destructor, which would want memory to be registered.
        static HERE: Cell<bool> = const { Cell::new(false) };
    }
    if ENDING.swap(true, Ordering::SeqCst) {
        // One sentence: where another thread is at it, this one waits for the end. On the thread
        // that is at it, what is done last needed memory too.
        while !HERE.get() {
            // Unlike `park`, it allocates nothing.
            std::thread::sleep(Duration::from_secs(1));
        }
    } else {
        HERE.set(true);
        if let Some(last) = LAST.get() {
            last();
        }
    }
    for part in ["evaltop: ", EXHAUSTED, "\n"] {
        // Past every lock and buffer.
        let _ = rustix::io::write(rustix::stdio::stderr(), part.as_bytes());
    }
    // Nothing may run any more that could allocate.
    exit()
}

#[allow(unsafe_code)]
fn exit() -> ! {
    // SAFETY: it takes a number and ends the process.
    unsafe { libc::_exit(1) }
}

fn reserve_layout() -> Option<Layout> {
    Layout::from_size_align(RESERVE, 8).ok()
}

/// Holds memory back for the end of a scan; false where there is none to hold.
#[allow(unsafe_code)]
fn hold_reserve() -> bool {
    let Some(layout) = reserve_layout() else {
        return false;
    };
    if !HELD.load(Ordering::SeqCst).is_null() {
        return true;
    }
    // SAFETY: the layout has a size.
    let memory = unsafe { System.alloc(layout) };
    if memory.is_null() {
        return false;
    }
    let before = HELD.swap(memory, Ordering::SeqCst);
    free_reserve(before);
    true
}

fn give_up_reserve() -> bool {
    let memory = HELD.swap(ptr::null_mut(), Ordering::SeqCst);
    if memory.is_null() {
        return false;
    }
    SHORT.store(true, Ordering::SeqCst);
    free_reserve(memory);
    true
}

#[allow(unsafe_code)]
fn free_reserve(memory: *mut u8) {
    if let Some(layout) = reserve_layout().filter(|_| !memory.is_null()) {
        // SAFETY: it came from the system's allocator with this layout, and whoever swapped it
        // out is the only one to have it.
        unsafe { System.dealloc(memory, layout) };
    }
}

/// Whether memory ran short: work ends at its next safe point.
pub fn is_short() -> bool {
    SHORT.load(Ordering::Relaxed)
}

/// Tries to be as before; false while there is still too little.
pub fn recover() -> bool {
    if !is_short() {
        return true;
    }
    give_back();
    let held = hold_reserve();
    if held {
        SHORT.store(false, Ordering::SeqCst);
    }
    held
}

/// From now on a shortage of memory ends scans and jobs rather than the process, as far as the
/// reserve goes. Where it does not, `last` is called before the process ends; it must not
/// wait for anything.
pub fn prepare(last: fn()) {
    let _ = LAST.set(last);
    hold_reserve();
}

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
