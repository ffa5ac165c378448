//! The one runtime of the process: started by the first pipeline, shared by all instances, never shut down.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Handle, Runtime};

use crate::error::Error;

/// Names are looked up on threads of their own; two at a time are plenty.
const LOOKUP_THREADS: usize = 2;

/// Where tasks are spawned.
///
/// # Errors
/// Where the system gives no thread.
pub(super) fn handle() -> Result<&'static Handle, Error> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime.handle());
    }
    // The thread outlives every environment; without this, Node.js would unload its code with the last of them.
    napi::bindgen_prelude::retain_current_module_for_unload_safety();
    #[cfg(target_os = "linux")]
    crate::connection::stream::lend_low_water(super::socket::set_low_water);
    // One thread moves more bytes than a server executes commands.
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(LOOKUP_THREADS)
        .thread_name("respipe")
        .enable_all()
        .build()
        .map_err(|error| Error::Internal(format!("no thread for the connections: {error}")))?;
    Ok(RUNTIME.get_or_init(|| runtime).handle())
}
