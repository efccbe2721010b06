//! Faults of the processor: a target gets less of it.

mod limit;
mod quota;
mod refusal;
mod stress;
mod throttled;

pub use quota::{Amount, Quota};
pub use refusal::CpuRefusal;
pub use stress::Stress;
