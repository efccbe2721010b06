//! `temblor lab`.

use temblor_lab::{Options, State};

use crate::args::LabCommand;
use crate::exit::{Exit, Failure};
use crate::terminal::{print, say};

/// Starts, stops or shows the lab.
pub(crate) fn lab(command: LabCommand) -> Result<Exit, Failure> {
    match command {
        LabCommand::Up { network, json } => {
            let mut options = Options::from_env()?;
            options.network = network.or(options.network);
            let up = temblor_lab::up(&options)?;
            for line in &up.cleaned {
                say(&format!("cleared away: {line}"));
            }
            if up.already_up {
                say("the lab was up already");
            }
            show(&up.state, json)?;
        }
        LabCommand::Down => {
            let report = temblor_lab::down(&Options::from_env()?)?;
            for line in &report.cleaned {
                say(&format!("cleared away: {line}"));
            }
            if report.was_up {
                print(&format!("the lab is down: {} services stopped", report.stopped.len()));
            } else {
                print("the lab was not up");
            }
        }
        LabCommand::Status { json } => match temblor_lab::status(&Options::from_env()?)? {
            Some(state) => show(&state, json)?,
            None if json => print("null"),
            None => print("the lab is down"),
        },
        LabCommand::Supervise => temblor_lab::supervise(&Options::handed_over()?)?,
    }
    Ok(Exit::Pass)
}

fn show(state: &State, json: bool) -> Result<(), Failure> {
    if json {
        print(&serde_json::to_string_pretty(state).map_err(Failure::other)?);
        return Ok(());
    }
    print(&format!(
        "the lab {} is {} on {} (this machine is {} on {})",
        state.lab,
        word(&state.phase),
        state.network.range,
        state.network.host_address,
        state.network.link,
    ));
    let rows: Vec<[String; 5]> = state
        .services
        .iter()
        .map(|s| {
            [
                s.name.clone(),
                word(&s.state),
                format!("{}:{}", s.address, s.port),
                s.pid.map_or_else(|| "-".into(), |pid| pid.to_string()),
                s.restarts.to_string(),
            ]
        })
        .collect();
    let header = ["service", "state", "address", "pid", "restarts"].map(str::to_owned);
    for line in crate::terminal::table(&header, &rows) {
        print(&format!("  {line}"));
    }
    for service in &state.services {
        if let Some(problem) = &service.problem {
            print(&format!("  {}: {problem} (log: {})", service.name, service.log.display()));
        }
    }
    Ok(())
}

/// The name of a state as it is in JSON.
fn word(state: &impl serde::Serialize) -> String {
    serde_json::to_value(state).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}
