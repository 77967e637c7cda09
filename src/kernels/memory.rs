//! Large memory from the system: zeroed, aligned, and in huge pages where the system has them.
//!
//! A step reads all weights and much of the KV cache once. With 4 KiB pages the walks through the
//! page tables take up to a third of the memory's bandwidth; with 2 MiB pages nearly nothing.

use std::fmt;
use std::io;
use std::marker::PhantomData;

/// Numbers for which any bytes, zeros among them, are a value.
pub trait Plain: Copy + Send + Sync + sealed::Sealed + 'static {}

mod sealed {
    pub trait Sealed {}
}

macro_rules! plain {
    ($($number:ty),*) => {
        $(impl sealed::Sealed for $number {} impl Plain for $number {})*
    };
}
plain!(u8, i8, u16, i16, f32);

/// `len` numbers, zero at first. Pages that were never written take no memory.
pub struct Memory<T> {
    region: system::Region,
    len: usize,
    numbers: PhantomData<T>,
}

impl<T: Plain> Memory<T> {
    /// Takes the memory from the system.
    pub fn zeroed(len: usize) -> io::Result<Memory<T>> {
        let bytes = len.checked_mul(size_of::<T>()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Memory { region: system::Region::new(bytes)?, len, numbers: PhantomData })
    }
}

impl<T: Plain> std::ops::Deref for Memory<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the region holds `len` numbers, is aligned for them, and any bytes are a value.
        unsafe { std::slice::from_raw_parts(self.region.start().cast(), self.len) }
    }
}

impl<T: Plain> std::ops::DerefMut for Memory<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and `&mut self` is the only way to it.
        unsafe { std::slice::from_raw_parts_mut(self.region.start().cast(), self.len) }
    }
}

impl<T> fmt::Debug for Memory<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Memory({} × {} B)", self.len, size_of::<T>())
    }
}

#[cfg(unix)]
mod system {
    use std::ffi::{c_int, c_long, c_void};
    use std::io;

    /// Size and alignment of a huge page on x86-64 and most of arm64.
    const HUGE_BYTES: usize = 2 << 20;
    const READ_WRITE: c_int = 1 | 2;
    #[cfg(target_os = "linux")]
    const PRIVATE_ANONYMOUS: c_int = 0x22;
    #[cfg(not(target_os = "linux"))]
    const PRIVATE_ANONYMOUS: c_int = 0x1002;

    // The standard library links the C library already; these two are all we need of it.
    unsafe extern "C" {
        fn mmap(
            address: *mut c_void,
            len: usize,
            protection: c_int,
            flags: c_int,
            file: c_int,
            offset: c_long,
        ) -> *mut c_void;
        fn munmap(address: *mut c_void, len: usize) -> c_int;
        #[cfg(target_os = "linux")]
        fn madvise(address: *mut c_void, len: usize, advice: c_int) -> c_int;
    }

    /// A private mapping that nobody else has.
    pub(super) struct Region {
        mapped: *mut c_void,
        mapped_bytes: usize,
        start: *mut u8,
    }

    // SAFETY: the region owns its mapping, as a box owns its heap block.
    unsafe impl Send for Region {}
    // SAFETY: shared references only read.
    unsafe impl Sync for Region {}

    impl Region {
        pub(super) fn new(bytes: usize) -> io::Result<Region> {
            let mapped_bytes =
                bytes.max(1).checked_add(HUGE_BYTES).ok_or(io::ErrorKind::OutOfMemory)?;
            // SAFETY: a new anonymous mapping touches nothing that exists.
            let mapped = unsafe {
                mmap(std::ptr::null_mut(), mapped_bytes, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0)
            };
            if mapped as isize == -1 {
                return Err(io::Error::last_os_error());
            }
            let skip = mapped.cast::<u8>().align_offset(HUGE_BYTES);
            // SAFETY: `skip` is less than the huge page that was mapped beyond `bytes`.
            let start = unsafe { mapped.cast::<u8>().add(skip) };
            #[cfg(target_os = "linux")]
            if bytes >= HUGE_BYTES {
                const HUGEPAGE: c_int = 14;
                // SAFETY: within our own mapping; advice changes no contents. Refusal is fine.
                unsafe { madvise(start.cast(), bytes, HUGEPAGE) };
            }
            Ok(Region { mapped, mapped_bytes, start })
        }

        pub(super) fn start(&self) -> *mut u8 {
            self.start
        }
    }

    impl Drop for Region {
        fn drop(&mut self) {
            // SAFETY: the mapping is ours, and no reference into it can outlive us.
            unsafe { munmap(self.mapped, self.mapped_bytes) };
        }
    }
}

#[cfg(not(unix))]
mod system {
    use std::io;

    /// A cache line, so that no vector load crosses two.
    #[repr(C, align(64))]
    #[derive(Clone, Copy)]
    struct Line([u8; 64]);

    pub(super) struct Region {
        lines: Vec<Line>,
    }

    impl Region {
        pub(super) fn new(bytes: usize) -> io::Result<Region> {
            let mut lines = Vec::new();
            lines.try_reserve_exact(bytes.div_ceil(64)).map_err(|_| io::ErrorKind::OutOfMemory)?;
            lines.resize(bytes.div_ceil(64), Line([0; 64]));
            Ok(Region { lines })
        }

        pub(super) fn start(&self) -> *mut u8 {
            self.lines.as_ptr().cast_mut().cast()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_zero_aligned_and_writable_to_its_end() {
        for len in [0, 1, 63, 4096, (2 << 20) + 5] {
            let mut memory = Memory::<f32>::zeroed(len).expect("is there");
            assert_eq!(memory.len(), len);
            assert!(memory.iter().all(|&number| number == 0.0));
            assert!(memory.as_ptr().addr().is_multiple_of(64));
            memory.fill(1.0);
            assert_eq!(memory.iter().sum::<f32>(), len as f32);
        }
    }

    #[test]
    fn more_than_the_address_space_is_refused() {
        assert!(Memory::<f32>::zeroed(usize::MAX / 2).is_err());
        assert!(Memory::<u8>::zeroed(usize::MAX).is_err());
    }
}
