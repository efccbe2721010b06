//! `temblor doctor`.

use temblor_host::{Capability, State};

use crate::args::Doctor;
use crate::exit::{Exit, Failure};
use crate::terminal::{painted, print, table};

/// Shows what this machine can do, per probe and fault; exits 6 if something is missing.
pub(crate) fn doctor(args: &Doctor) -> Result<Exit, Failure> {
    let mut capabilities = temblor_host::capabilities();
    capabilities.extend(temblor_probes::capabilities());
    capabilities.extend(temblor_runner::capabilities());
    capabilities.sort_by_key(|c| order(c.of));
    let missing = capabilities.iter().any(|c| matches!(c.state, State::Missing { .. }));
    if args.json {
        print(&serde_json::to_string_pretty(&capabilities).map_err(Failure::other)?);
    } else {
        show(&capabilities);
    }
    Ok(if missing { Exit::Missing } else { Exit::Pass })
}

/// The machine first, then probes, faults, the lab.
fn order(of: &str) -> u8 {
    match of.split_whitespace().next() {
        Some("probe") => 1,
        Some("fault") => 2,
        Some("lab") => 3,
        _ => 0,
    }
}

fn show(capabilities: &[Capability]) {
    let rows: Vec<[String; 4]> = capabilities
        .iter()
        .map(|c| {
            let (word, how) = match &c.state {
                State::Available { via } => ("yes", via.clone()),
                State::Fallback { via, lacks } => ("partly", format!("{via}; lacks {lacks}")),
                State::Missing { why, .. } => ("NO", why.clone()),
            };
            [c.of.to_owned(), c.name.to_owned(), word.to_owned(), how]
        })
        .collect();
    let header = ["for", "needs", "there", "by"].map(str::to_owned);
    for line in table(&header, &rows) {
        print(&line);
    }
    for c in capabilities {
        if let State::Missing { how_to_get, .. } = &c.state {
            print(&format!("{}: {}: {how_to_get}", painted("missing", 31), c.name));
        }
    }
}
