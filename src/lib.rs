//! respipe loads data into Redis and Valkey as fast as the server takes it, and says truthfully what arrived.
//!
//! The walk of the data, which is also the order of the modules:
//!
//! ```text
//!   binding      JavaScript's arguments come in; promises are settled            (feature `napi`)
//!   pipeline     the open batch, its ceiling, automatic execution                (JavaScript's thread ends here)
//!   load         rows, batch by batch: what comes from which row
//!   source       rows of files, parsed on a thread of their own
//!   template     commands with holes, encoded around their values
//!   resp         request: the only producer of RESP; reply: the only consumer
//!   batch        sealed bytes, and how many commands they are
//!   loader       one task a pipeline: connects, retries, gives up, reports
//!   connection   opened, logged in, served; `state` is a pure machine
//!   outcome      what became of the commands
//!   table        entries by number, as JavaScript calls them
//! ```
//!
//! Down once, up once: between the append and the outcome nothing runs on the JavaScript thread.

pub mod batch;
pub mod command;
pub mod config;
pub mod connection;
pub mod error;
pub mod load;
pub mod loader;
pub mod outcome;
pub mod pipeline;
pub mod resp;
pub mod retry;
pub mod rows;
#[cfg(test)]
mod simulation;
pub mod source;
pub mod table;
pub mod template;

#[cfg(all(feature = "napi", not(test)))]
#[expect(unsafe_code, reason = "Node-API is a C interface; each block says why it is sound")]
mod binding;
