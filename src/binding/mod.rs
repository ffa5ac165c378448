//! The Node.js addon: the only place that names Node-API, and the only one with `unsafe`.
//!
//! JavaScript's arguments come in (`append`), notices go out (`notices`, `convert`), and everything by way of `call`. What
//! belongs to one evaluation of `index.js` is in its [`Instance`](instance::Instance): there may be several in a thread.

mod append;
mod argument;
mod call;
mod check;
mod convert;
mod fill;
mod import;
mod instance;
mod js;
mod load;
mod notices;
mod options;
mod replies;
mod runtime;
mod slot;
#[cfg(target_os = "linux")]
mod socket;
mod surface;
mod template;
#[cfg(target_arch = "x86_64")]
mod transcode;
