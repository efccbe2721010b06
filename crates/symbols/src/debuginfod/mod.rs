//! Debug files from servers that keep those of whole distributions, by build id: elfutils'
//! debuginfod. Nobody is asked unless the environment names a server.

mod client;
mod settings;
#[cfg(test)]
mod tests;

pub use client::Debuginfod;
pub use settings::DebuginfodSettings;
