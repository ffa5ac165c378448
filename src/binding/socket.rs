//! The one system call for sockets that no library offers without `unsafe`.

use std::os::fd::{AsRawFd, BorrowedFd};

/// Sets from how many unread bytes on a socket is readable; tells whether that worked.
pub(super) fn set_low_water(socket: BorrowedFd<'_>, bytes: usize) -> bool {
    let Ok(bytes) = libc::c_int::try_from(bytes) else {
        return false;
    };
    let Ok(size) = libc::socklen_t::try_from(size_of_val(&bytes)) else {
        return false;
    };
    // SAFETY: the descriptor is open while it is borrowed; the option is an int, which is read from `bytes` alone.
    let status = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVLOWAT,
            (&raw const bytes).cast(),
            size,
        )
    };
    status == 0
}
