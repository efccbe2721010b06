//! What a lab's file must hold beyond its shape.

use serde_saphyr::Spanned;

use super::{Health, Lab, Service, variable};
use crate::template;

/// A lab is for one machine.
const SERVICES_MAX: usize = 32;

/// A problem: its line and what is wrong.
type Problem = (u64, String);

pub(super) fn check(lab: &Lab) -> Result<(), Problem> {
    check_services(lab)?;
    check_optional(lab)
}

fn check_services(lab: &Lab) -> Result<(), Problem> {
    if lab.services.is_empty() || lab.services.len() > SERVICES_MAX {
        let count = lab.services.len();
        return Err((0, format!("a lab has 1 to {SERVICES_MAX} services, this one {count}")));
    }
    for (index, service) in lab.services.iter().enumerate() {
        check_name(service, &lab.services[..index])?;
        check_after(lab, service)?;
        check_health(lab, service)?;
        check_init(service)?;
        check_times(service)?;
        check_variables(lab, service)?;
    }
    check_order(lab)
}

fn line<T>(spanned: &Spanned<T>) -> u64 {
    spanned.referenced.line()
}

fn check_name(service: &Service, earlier: &[Service]) -> Result<(), Problem> {
    let name = &service.name.value;
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let named = (1..=40).contains(&name.len())
        && name.bytes().all(good)
        && name.starts_with(|c: char| c.is_ascii_lowercase());
    if !named {
        let message = format!(
            "{name:?} cannot name a service: a lower-case letter, then up to 39 of a-z, 0-9 and -"
        );
        return Err((line(&service.name), message));
    }
    if earlier.iter().any(|other| other.name.value == *name) {
        return Err((line(&service.name), format!("there are two services named {name}")));
    }
    if service.port.value == 0 {
        return Err((line(&service.port), format!("{name}: a port is between 1 and 65535")));
    }
    if service.program.is_empty() || service.program.contains('/') {
        let message = format!(
            "{name}: {:?} is no program's file name; where it is looked for is said by `from`",
            service.program
        );
        return Err((line(&service.name), message));
    }
    Ok(())
}

fn check_after(lab: &Lab, service: &Service) -> Result<(), Problem> {
    for after in &service.after {
        if !lab.services.iter().any(|s| s.name.value == after.value) {
            let known: Vec<_> = lab.services.iter().map(|s| s.name.value.as_str()).collect();
            let message = format!(
                "{} waits for {:?}, which is no service of this lab; there are {}",
                service.name.value,
                after.value,
                known.join(", ")
            );
            return Err((line(after), message));
        }
    }
    Ok(())
}

fn check_health(lab: &Lab, service: &Service) -> Result<(), Problem> {
    let name = &service.name.value;
    let problem = match &service.health.value {
        Health::Http(path) if !path.starts_with('/') => {
            Some(format!("{name}: the health path {path:?} must begin with /"))
        }
        Health::Command(command) if command.first().is_none_or(String::is_empty) => {
            Some(format!("{name}: the health command names no program"))
        }
        Health::Command(command) => command.iter().find_map(|argument| {
            let unknown = template::fill(argument, known(lab)).err()?;
            Some(unknown_variable(name, unknown))
        }),
        _ => None,
    };
    problem.map_or(Ok(()), |message| Err((line(&service.health), message)))
}

fn check_init(service: &Service) -> Result<(), Problem> {
    if service.init.iter().any(|init| init.run.first().is_none_or(|p| p.value.is_empty())) {
        let message = format!("{}: an init command names no program", service.name.value);
        return Err((line(&service.name), message));
    }
    Ok(())
}

fn check_times(service: &Service) -> Result<(), Problem> {
    let restart = &service.restart;
    let orderly = restart.backoff_initial_ms >= 1
        && restart.backoff_initial_ms <= restart.backoff_max_ms
        && restart.backoff_max_ms <= 3_600_000;
    if !orderly {
        let message = format!(
            "{}: 1 <= backoffInitialMs <= backoffMaxMs <= 3600000 is wanted",
            service.name.value
        );
        return Err((line(&service.name), message));
    }
    if !(100..=60_000).contains(&service.health_every_ms) {
        let message = format!("{}: healthEveryMs is between 100 and 60000", service.name.value);
        return Err((line(&service.name), message));
    }
    if service.limits.memory_mib.is_some_and(|mib| !(1..=1 << 24).contains(&mib)) {
        let message = format!("{}: memoryMib is between 1 and 16777216", service.name.value);
        return Err((line(&service.name), message));
    }
    Ok(())
}

fn check_variables(lab: &Lab, service: &Service) -> Result<(), Problem> {
    let texts = service
        .args
        .iter()
        .chain(service.init.iter().flat_map(|init| &init.run))
        .chain(service.files.values());
    for text in texts {
        if let Err(unknown) = template::fill(&text.value, known(lab)) {
            return Err((line(text), unknown_variable(&service.name.value, unknown)));
        }
    }
    for (path, text) in &service.files {
        let owned = ["{data}/", "{run}/"].iter().any(|dir| path.starts_with(dir));
        if !owned || path.contains("..") {
            let message = format!(
                "{}: the file {path:?} must lie in {{data}}/ or {{run}}/",
                service.name.value
            );
            return Err((line(text), message));
        }
    }
    Ok(())
}

fn known(lab: &Lab) -> impl Fn(&str) -> Option<String> {
    |name| variable(lab, name).then(String::new)
}

fn unknown_variable(service: &str, name: &str) -> String {
    format!(
        "{service}: {{{name}}} stands for nothing; there are {{data}}, {{run}}, {{addr}}, {{port}}, \
         {{addr.SERVICE}}, {{port.SERVICE}}, {{network}} and {{host}}"
    )
}

/// Without any one of its optional services the lab is as sound as with it. That is enough for any
/// number of them: what one needs of another is seen when the other is missing.
fn check_optional(lab: &Lab) -> Result<(), Problem> {
    for left_out in lab.services.iter().filter(|service| service.optional) {
        let mut rest = lab.clone();
        rest.services.retain(|service| service.name != left_out.name);
        if rest.services.iter().all(|service| service.optional) {
            let message = "a lab has at least one service that is not optional".to_owned();
            return Err((line(&left_out.name), message));
        }
        check_services(&rest).map_err(|(line, message)| {
            (line, format!("{} is optional, and without it: {message}", left_out.name.value))
        })?;
    }
    Ok(())
}

/// Every round starts whoever waits for nobody any more; a round that starts none has found a
/// circle.
fn check_order(lab: &Lab) -> Result<(), Problem> {
    let mut started: Vec<&str> = Vec::new();
    while started.len() < lab.services.len() {
        let before = started.len();
        for service in &lab.services {
            let name = service.name.value.as_str();
            let ready = service.after.iter().all(|a| started.contains(&a.value.as_str()));
            if ready && !started.contains(&name) {
                started.push(name);
            }
        }
        if started.len() == before {
            let waiting = lab.services.iter().filter(|s| !started.contains(&s.name.value.as_str()));
            let names: Vec<_> = waiting.clone().map(|s| s.name.value.as_str()).collect();
            let at = waiting.clone().next().map_or(0, |s| line(&s.name));
            return Err((at, format!("{} wait for one another", names.join(", "))));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::*;

    #[test]
    fn the_built_in_lab_is_good_and_has_the_agreed_names_and_ports() {
        let lab = Lab::exchange().unwrap();
        let found: Vec<_> =
            lab.services.iter().map(|s| (s.name.value.as_str(), s.port.value)).collect();
        let expected = [
            ("postgres", 5432),
            ("redis", 6379),
            ("trading-api", 8080),
            ("market-simulator", 8081),
            ("order-flow-simulator", 8082),
            ("nginx", 80),
            ("prometheus", 9090),
        ];
        assert_eq!(found, expected);
        let optional: Vec<_> = lab.services.iter().filter(|s| s.optional).collect();
        assert_eq!(optional.len(), 1);
        assert_eq!(optional[0].name.value, "prometheus");
    }

    /// A service that is added is not forgotten: those that are ours have metrics.
    #[test]
    fn every_service_of_ours_is_scraped() {
        let lab = Lab::exchange().unwrap();
        let prometheus = lab.services.iter().find(|s| s.name.value == "prometheus").unwrap();
        let config = &prometheus.files["{run}/prometheus.yml"].value;
        let ours: Vec<_> =
            lab.services.iter().filter(|s| s.from == ProgramSource::Exchange).collect();
        assert!(!ours.is_empty());
        for service in ours {
            let name = &service.name.value;
            let target = format!("\"{{addr.{name}}}:{{port.{name}}}\"");
            let label = format!("labels: {{service: {name}}}");
            assert!(config.contains(&target) && config.contains(&label), "{name}:\n{config}");
        }
    }

    /// A good service in eight lines, the first of them line 3; `{}` takes one more.
    fn with(more: &str) -> String {
        format!(
            "name: t\nservices:\n  - name: a\n    program: p\n    user: nobody\n    port: 1\n    health: tcp\n{more}"
        )
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        assert!(Lab::parse("f", &with("")).is_ok());
        let cases = [
            (with("    colour: red\n"), 8, "colour"),
            (with("    after: [b]\n"), 8, "no service of this lab; there are a"),
            (with("    args: ['{data}',\n      '{nope}']\n"), 9, "{nope} stands for nothing"),
            (with("    args: ['{addr.b}']\n"), 8, "{addr.b} stands for nothing"),
            (with("    files: {/etc/passwd: x}\n"), 8, "must lie in {data}/ or {run}/"),
            (with("    files: {'{run}/../x': x}\n"), 8, "must lie in {data}/ or {run}/"),
            (with("    after: [a]\n"), 3, "wait for one another"),
            (with("    restart: {backoffInitialMs: 9, backoffMaxMs: 3}\n"), 3, "backoffInitialMs"),
            (with("").replace("port: 1", "port: 0"), 6, "between 1 and 65535"),
            (with("").replace("port: 1", "port: 70000"), 6, ""),
            (with("").replace("health: tcp", "health: {http: x}"), 7, "must begin with /"),
            (with("").replace("health: tcp", "health: {command: []}"), 7, "names no program"),
            (with("").replace("name: a", "name: A"), 3, "cannot name a service"),
            (with("").replace("    port: 1\n", ""), 6, "missing field `port`"),
            (
                with("  - name: a\n    program: p\n    user: u\n    port: 2\n    health: tcp\n"),
                8,
                "two services",
            ),
            (with("    optional: true\n"), 3, "not optional"),
            (
                with(
                    "    after: [b]\n  - {name: b, program: p, user: u, port: 2, health: tcp, optional: true}\n",
                ),
                8,
                "b is optional, and without it: a waits for \"b\"",
            ),
            ("name: t\nservices: []\n".into(), 0, "1 to 32 services"),
            ("name: [\n".into(), 1, ""),
        ];
        for (text, line, said) in cases {
            let error = Lab::parse("lab.yaml", &text).unwrap_err();
            let shown = error.to_string();
            assert!(shown.starts_with("lab.yaml:"), "{shown}");
            assert!(shown.contains(said), "{said:?} is not in {shown:?}\n{text}");
            assert_eq!(error.line, line, "{shown}\n{text}");
        }
    }

    #[test]
    fn only_what_is_optional_can_be_left_out() {
        let lab = Lab::exchange().unwrap();
        let count = lab.services.len();
        let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let rest = lab.clone().without(&names(&["prometheus"])).unwrap();
        assert_eq!(rest.services.len(), count - 1);
        assert_eq!(rest.services[..], lab.services[..count - 1], "the others keep their addresses");
        assert_eq!(lab.clone().without(&[]).unwrap(), lab);
        for wrong in ["postgres", "promteheus"] {
            let said = lab.clone().without(&names(&["prometheus", wrong])).unwrap_err();
            assert!(said.contains(wrong) && said.ends_with("there is prometheus"), "{said}");
        }
        let said = Lab::parse("f", &with("")).unwrap().without(&names(&["a"])).unwrap_err();
        assert!(said.ends_with("there is none"), "{said}");
    }
}
