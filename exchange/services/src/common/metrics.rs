//! Metrics that every service has, and how any are written out.

use std::time::Instant;

use prometheus::{
    Encoder, Gauge, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry,
    TextEncoder,
};

use super::clock::monotonic;

/// The content type of the classic text format.
pub const CLASSIC_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// From half a millisecond to ten seconds: one fsync up to one time-out.
const DURATION_BUCKETS: [f64; 13] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Requests and uptime.
#[derive(Clone, Debug)]
pub struct HttpMetrics {
    /// Requests answered.
    pub requests: IntCounterVec,
    /// From the request's head to the answer's.
    pub duration: HistogramVec,
    /// Requests that wait for their answer, scrapes left out.
    pub in_flight: IntGauge,
    uptime: Gauge,
    started: Instant,
}

impl HttpMetrics {
    /// Declares the metrics in `registry`.
    ///
    /// # Errors
    /// A name that is taken: a mistake in the program.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let requests = IntCounterVec::new(
            Opts::new("http_requests_total", "HTTP requests answered."),
            &["method", "route", "status"],
        )?;
        let duration = HistogramVec::new(
            HistogramOpts::new(
                "http_request_duration_seconds",
                "Time from the end of a request's head to the head of its answer.",
            )
            .buckets(DURATION_BUCKETS.to_vec()),
            &["method", "route"],
        )?;
        let in_flight = IntGauge::new(
            "http_requests_in_flight",
            "HTTP requests whose answer is not there yet; scrapes are left out.",
        )?;
        let uptime = Gauge::new("service_uptime_seconds", "Time since the service started.")?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(duration.clone()))?;
        registry.register(Box::new(in_flight.clone()))?;
        registry.register(Box::new(uptime.clone()))?;
        Ok(Self { requests, duration, in_flight, uptime, started: monotonic() })
    }

    /// How long the service has run.
    #[must_use]
    pub fn uptime_seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Brings the uptime up to date; called before each scrape.
    pub fn refresh(&self) {
        self.uptime.set(self.uptime_seconds());
    }
}

/// Everything in `registry` in the classic text format.
///
/// # Errors
/// A metric that cannot be written: a mistake in the program.
pub(super) fn encode(registry: &Registry) -> prometheus::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(8 * 1024);
    TextEncoder::new().encode(&registry.gather(), &mut text)?;
    Ok(text)
}
