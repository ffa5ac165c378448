//! The Node.js addon: the only place that names Node-API, and the only one with `unsafe`.
//!
//! JavaScript's arguments come in (`append`), notices go out (`notices`, `convert`). What belongs to one JavaScript
//! environment, the main thread or a worker, is in its [`Environment`](environment::Environment).

mod append;
mod argument;
mod check;
mod convert;
mod environment;
mod fill;
mod frequent;
mod import;
mod js;
mod load;
mod notices;
mod options;
mod replies;
mod runtime;
#[cfg(target_os = "linux")]
mod socket;
mod surface;
mod template;
#[cfg(target_arch = "x86_64")]
mod transcode;
