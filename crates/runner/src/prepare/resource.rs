//! Faults of what a server runs out of.

use temblor_faults::resource::{Connections, FileLimit, Files, Speak};

use super::Faults;
use super::values::Values;
use crate::error::RunnerError;

pub(super) fn prepare(values: &Values<'_>) -> Result<Faults, RunnerError> {
    match values.name() {
        "resource.connections" => {
            let port = *values.ports("port").first().ok_or_else(|| values.lacks("port"))?;
            let speak = speak(values)?;
            let from = values.other("from")?.cloned();
            values.on_each(|target| {
                Ok(Connections {
                    target,
                    port,
                    hold: values.count("hold").and_then(|hold| u32::try_from(hold).ok()),
                    speak: speak.clone(),
                    from: from.clone(),
                })
            })
        }
        "resource.files" => {
            let limit = match (values.count("to"), values.count("spare")) {
                (Some(to), _) => FileLimit::To(to),
                (None, Some(spare)) => FileLimit::Spare(spare),
                (None, None) => return Err(values.lacks("to")),
            };
            values.on_each(|target| Ok(Files { target, limit }))
        }
        _ => Err(values.unknown()),
    }
}

fn speak(values: &Values<'_>) -> Result<Speak, RunnerError> {
    let text = |name: &'static str| {
        values.text(name).map(str::to_owned).ok_or_else(|| {
            RunnerError::Input(format!(
                "{}: `speak: postgres` wants `{name}`, so that the server takes the connection",
                values.name()
            ))
        })
    };
    Ok(match values.text("speak") {
        Some("postgres") => Speak::Postgres { user: text("user")?, database: text("database")? },
        Some("redis") => Speak::Redis,
        Some("http") => Speak::Http,
        _ => Speak::Tcp,
    })
}
