//! What `options.js` has read and checked, as the core's configuration.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use napi::bindgen_prelude::Buffer;
use napi_derive::napi;

use crate::config::{
    AutoExec, Config, Encoding, Login, Replies, Resend, Retry, Secret, Server, Throttle, Tls, Transaction,
    Verification, WaitReplicas, WhenFull,
};

/// All options of a pipeline, complete; `index.d.ts` describes them.
#[napi(object, object_to_js = false)]
pub struct NativeOptions {
    pub host: String,
    pub port: u16,
    pub path: Option<String>,
    pub username: Option<String>,
    pub password: Option<String>,
    pub db: u32,
    pub client_name: Option<String>,
    pub tls: Option<NativeTls>,
    pub connect_timeout_ms: u32,
    pub stall_timeout_ms: u32,
    pub retry: NativeRetry,
    #[napi(ts_type = "'check' | 'collect' | 'off'")]
    pub replies: String,
    #[napi(ts_type = "'utf8' | 'buffer'")]
    pub encoding: String,
    pub transaction: bool,
    pub auto_exec: Option<NativeAutoExec>,
    pub max_buffered_bytes: f64,
    #[napi(ts_type = "'throw' | 'block'")]
    pub when_full: String,
    pub max_in_flight_bytes: f64,
    pub reconnect_every: u32,
    #[napi(ts_type = "'idempotent' | 'all' | 'none'")]
    pub resend: String,
    pub checkpoint: Option<String>,
    pub wait_replicas: Option<NativeWaitReplicas>,
    pub max_failures: u32,
    pub throttle: Option<NativeThrottle>,
}

#[napi(object, object_to_js = false)]
pub struct NativeWaitReplicas {
    pub count: u32,
    pub timeout_ms: u32,
}

#[napi(object, object_to_js = false)]
pub struct NativeThrottle {
    pub commands_per_second: Option<u32>,
    pub bytes_per_second: Option<f64>,
}

#[napi(object, object_to_js = false)]
pub struct NativeTls {
    pub ca: Option<Buffer>,
    pub cert: Option<Buffer>,
    pub key: Option<Buffer>,
    pub servername: Option<String>,
    pub reject_unauthorized: bool,
}

#[napi(object, object_to_js = false)]
pub struct NativeRetry {
    pub first_connect: u32,
    pub attempts: Option<u32>,
    pub max_elapsed_ms: u32,
    pub min_delay_ms: u32,
    pub max_delay_ms: u32,
}

#[napi(object, object_to_js = false)]
pub struct NativeAutoExec {
    pub bytes: Option<f64>,
    pub commands: Option<u32>,
}

impl From<NativeOptions> for (Config, Encoding) {
    fn from(options: NativeOptions) -> Self {
        let max_buffered = bytes(options.max_buffered_bytes);
        let config = Config {
            server: match options.path {
                Some(path) => Server::Unix {
                    path: PathBuf::from(path),
                },
                None => Server::Tcp {
                    host: options.host,
                    port: options.port,
                },
            },
            tls: options.tls.map(Tls::from),
            login: Login {
                username: options.username,
                password: options.password.map(Secret::new),
                db: options.db,
                client_name: options.client_name,
            },
            connect_timeout: milliseconds(options.connect_timeout_ms),
            stall_timeout: milliseconds(options.stall_timeout_ms),
            retry: Retry {
                first_connect: options.retry.first_connect,
                attempts: options.retry.attempts,
                max_elapsed: milliseconds(options.retry.max_elapsed_ms),
                min_delay: milliseconds(options.retry.min_delay_ms),
                max_delay: milliseconds(options.retry.max_delay_ms),
            },
            replies: match options.replies.as_str() {
                "collect" => Replies::Collect,
                "off" => Replies::Off,
                _ => Replies::Check,
            },
            // Progress is stored with what it is of, or not at all.
            transaction: if options.transaction || options.checkpoint.is_some() {
                Transaction::EachBatch
            } else {
                Transaction::Off
            },
            auto_exec: options.auto_exec.map(|auto| AutoExec {
                bytes: auto
                    .bytes
                    .map_or(usize::MAX, |threshold| reachable(bytes(threshold), max_buffered)),
                commands: auto.commands.map_or(u64::MAX, u64::from),
            }),
            max_buffered,
            when_full: if options.when_full == "block" {
                WhenFull::Block
            } else {
                WhenFull::Throw
            },
            max_in_flight: bytes(options.max_in_flight_bytes),
            reconnect_every: options.reconnect_every,
            resend: match options.resend.as_str() {
                "all" => Resend::All,
                "none" => Resend::None,
                _ => Resend::Idempotent,
            },
            checkpoint: options.checkpoint.map(String::into_bytes),
            wait_replicas: options.wait_replicas.map(|wait| WaitReplicas {
                count: wait.count,
                timeout: milliseconds(wait.timeout_ms),
            }),
            max_failures: options.max_failures as usize,
            throttle: options.throttle.map(Throttle::from).unwrap_or_default(),
        };
        let encoding = if options.encoding == "buffer" {
            Encoding::Buffer
        } else {
            Encoding::Utf8
        };
        (config, encoding)
    }
}

impl From<NativeTls> for Tls {
    fn from(tls: NativeTls) -> Self {
        Self {
            ca: tls.ca.map(|ca| ca.to_vec()),
            cert: tls.cert.map(|cert| cert.to_vec()),
            key: tls.key.map(|key| Secret::new(key.to_vec())),
            server_name: tls.servername,
            verification: if tls.reject_unauthorized {
                Verification::Full
            } else {
                Verification::Off
            },
        }
    }
}

impl From<NativeThrottle> for Throttle {
    fn from(throttle: NativeThrottle) -> Self {
        Self {
            commands_per_second: throttle
                .commands_per_second
                .and_then(|count| NonZeroU64::new(count.into())),
            bytes_per_second: throttle
                .bytes_per_second
                .and_then(|count| NonZeroU64::new(bytes(count) as u64)),
        }
    }
}

/// A threshold that the ceiling would be reached before is lowered to half of that.
fn reachable(threshold: usize, ceiling: usize) -> usize {
    if threshold < ceiling {
        threshold
    } else {
        (ceiling / 2).max(1)
    }
}

fn milliseconds(milliseconds: u32) -> Duration {
    Duration::from_millis(u64::from(milliseconds))
}

fn bytes(bytes: f64) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an integer from 1 to 2^40"
    )]
    let bytes = bytes as usize;
    bytes
}
