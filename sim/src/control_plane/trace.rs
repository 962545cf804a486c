//! What happened, to be read and to be compared: the same seed plays twice in the same way.

use std::fmt::Write as _;
use std::time::Duration;

use http::{Method, StatusCode};

/// The story so far.
#[derive(Default)]
pub(super) struct Trace {
    now: Duration,
    lines: String,
    requests: u64,
    /// Of all requests, renewals of Leases and reads among them, which are too many to print.
    digest: u64,
}

impl Trace {
    /// Time has passed.
    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    /// Something happens that the seed wants.
    pub(super) fn tell(&mut self, what: &str) {
        let _ = writeln!(self.lines, "{:>9.1} s  {what}", self.now.as_secs_f64());
    }

    /// A request is answered.
    pub(super) fn request(&mut self, who: &str, method: &Method, path: &str, code: StatusCode) {
        self.requests += 1;
        let kind = kind(path);
        let told = format!("{who}: {method} {kind} -> {}", code.as_u16());
        for byte in told.bytes().chain(self.now.as_millis().to_le_bytes()) {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3); // FNV
        }
        if *method != Method::GET && kind != "leases" {
            self.tell(&told);
        }
    }

    /// The story, with a last line that differs if any request did.
    pub(super) fn end(&self) -> String {
        let Trace { lines, requests, digest, .. } = self;
        format!("{lines}{requests} requests ({digest:016x})\n")
    }
}

/// The kind in a path such as `/apis/ottla.io/v1alpha1/namespaces/default/kafkatopics/a/status`.
pub(super) fn kind(path: &str) -> &str {
    path.split('/').skip_while(|part| *part != "namespaces").nth(2).unwrap_or("other")
}
