//! A lab's description made concrete on this machine: programs, users, addresses, directories.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use temblor_host::cgroup::Limits;
use temblor_host::programs;

use crate::error::{Error, Result};
use crate::options::Options;
use crate::range::Range;
use crate::spec::{Health, Lab, ProgramSource, Restart, Service, Stop};
use crate::template;

/// A lab that could be started here.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) lab: String,
    pub(crate) network: Range,
    pub(crate) host_address: Ipv4Addr,
    pub(crate) services: Vec<ServicePlan>,
}

#[derive(Debug, Clone)]
pub(crate) struct ServicePlan {
    pub(crate) name: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) port: u16,
    pub(crate) command: Command,
    /// Where the program is copied from before it is run from the lab's own directory.
    pub(crate) copied_from: Option<PathBuf>,
    pub(crate) init: Vec<(Command, String)>,
    pub(crate) files: Vec<(PathBuf, String)>,
    pub(crate) user: User,
    pub(crate) data: PathBuf,
    pub(crate) run: PathBuf,
    pub(crate) log: PathBuf,
    pub(crate) health: HealthPlan,
    pub(crate) health_every_ms: u64,
    /// Indices of the services it waits for.
    pub(crate) after: Vec<usize>,
    pub(crate) stop: Signal,
    pub(crate) restart: Restart,
    pub(crate) limits: Limits,
}

#[derive(Debug, Clone)]
pub(crate) struct Command {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
}

#[derive(Debug, Clone)]
pub(crate) enum HealthPlan {
    Tcp,
    Http(String),
    Command(Command),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Plan {
    pub(crate) fn new(lab: &Lab, options: &Options, network: Range) -> Result<Self> {
        let wanted = u32::try_from(lab.services.len()).unwrap_or(u32::MAX).saturating_add(1);
        let Some(host_address) = network.host(1).filter(|_| network.hosts() >= wanted) else {
            return Err(Error::Option(format!(
                "{network} has {} addresses, and {} services with the host need {wanted}",
                network.hosts(),
                lab.services.len()
            )));
        };
        let mut seeker = Seeker { options, missing: Vec::new() };
        let services: Vec<_> = (2..)
            .zip(&lab.services)
            .map(|(n, service)| {
                let address = network.host(n).unwrap_or(host_address);
                seeker.service(lab, service, network, address)
            })
            .collect();
        seeker.finish()?;
        Ok(Self { lab: lab.name.clone(), network, host_address, services })
    }
}

/// Looks for programs and users, and goes on when one is missing, so that all are named at once.
struct Seeker<'a> {
    options: &'a Options,
    missing: Vec<(String, String)>,
}

impl Seeker<'_> {
    fn service(
        &mut self,
        lab: &Lab,
        service: &Service,
        network: Range,
        address: Ipv4Addr,
    ) -> ServicePlan {
        let name = service.name.value.clone();
        let data = self.options.data_dir.join("services").join(&name);
        let run = self.options.runtime_dir.join("run").join(&name);
        let value = |variable: &str| {
            Some(match variable.split_once('.') {
                None => match variable {
                    "data" => data.display().to_string(),
                    "run" => run.display().to_string(),
                    "addr" => address.to_string(),
                    "port" => service.port.value.to_string(),
                    "network" => network.to_string(),
                    "host" => network.host(1)?.to_string(),
                    _ => return None,
                },
                Some((what, other)) => {
                    let index = lab.services.iter().position(|s| s.name.value == other)?;
                    match what {
                        "addr" => network.host(u32::try_from(index).ok()? + 2)?.to_string(),
                        "port" => lab.services[index].port.value.to_string(),
                        _ => return None,
                    }
                }
            })
        };
        // The file was checked: every name in it is known.
        let fill = |text: &str| template::fill(text, value).unwrap_or_else(|_| text.to_owned());
        let found = self.program(&service.program, service);
        let copied = service.from == ProgramSource::Exchange;
        let program = if copied {
            self.options.data_dir.join("bin").join(&service.program)
        } else {
            found.clone()
        };
        let command_of = |program: PathBuf, args: &[&str]| Command {
            program,
            args: args.iter().map(|arg| fill(arg)).collect(),
        };
        let init = service
            .init
            .iter()
            .map(|init| {
                let run: Vec<_> = init.run.iter().map(|arg| arg.value.as_str()).collect();
                let program = self.program(run[0], service);
                (command_of(program, &run[1..]), init.input.clone())
            })
            .collect();
        let health = match &service.health.value {
            Health::Tcp => HealthPlan::Tcp,
            Health::Http(path) => HealthPlan::Http(path.clone()),
            Health::Command(command) => {
                let run: Vec<_> = command.iter().map(String::as_str).collect();
                let program = self.program(run[0], service);
                HealthPlan::Command(command_of(program, &run[1..]))
            }
        };
        let args: Vec<_> = service.args.iter().map(|arg| arg.value.as_str()).collect();
        let files = service.files.iter();
        ServicePlan {
            command: command_of(program, &args),
            copied_from: copied.then_some(found),
            init,
            files: files.map(|(path, text)| (fill(path).into(), fill(&text.value))).collect(),
            user: self.user(&service.user),
            log: self.options.log_dir().join(format!("{name}.log")),
            health,
            health_every_ms: service.health_every_ms,
            after: service
                .after
                .iter()
                .filter_map(|a| lab.services.iter().position(|s| s.name.value == a.value))
                .collect(),
            stop: match service.stop {
                Stop::Term => Signal::TERM,
                Stop::Int => Signal::INT,
                Stop::Quit => Signal::QUIT,
            },
            restart: service.restart,
            limits: Limits {
                memory_bytes: service.limits.memory_mib.map(|mib| mib << 20),
                pids: service.limits.pids,
            },
            address,
            port: service.port.value,
            name,
            data,
            run,
        }
    }

    fn program(&mut self, name: &str, service: &Service) -> PathBuf {
        let found = match service.from {
            ProgramSource::Path => programs::find(name),
            ProgramSource::Postgresql => programs::find_postgresql(name),
            ProgramSource::Exchange => {
                let dirs = self.options.exchange_dirs();
                programs::find_in(name, dirs.iter().map(PathBuf::as_path))
            }
        };
        found.unwrap_or_else(|| {
            let mut how = match service.from {
                ProgramSource::Exchange => {
                    "build the exchange (`make build`), or name its directory in TEMBLOR_EXCHANGE_BIN"
                        .to_owned()
                }
                ProgramSource::Postgresql => "install the package postgresql".to_owned(),
                ProgramSource::Path => format!("install the package that has {name}"),
            };
            if service.optional {
                let service = &service.name.value;
                how = format!("{how}, or go without it: TEMBLOR_LAB_WITHOUT={service}");
            }
            self.miss(format!("the program {name}"), how);
            PathBuf::new()
        })
    }

    fn user(&mut self, name: &str) -> User {
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        find_user(&passwd, name).unwrap_or_else(|| {
            let how = format!("install the package that makes it, or: useradd --system {name}");
            self.miss(format!("the user {name}"), how);
            User { uid: 0, gid: 0 }
        })
    }

    fn miss(&mut self, what: String, how: String) {
        if !self.missing.iter().any(|(known, _)| *known == what) {
            self.missing.push((what, how));
        }
    }

    fn finish(self) -> Result<()> {
        if self.missing.is_empty() {
            return Ok(());
        }
        let (what, mut how): (Vec<_>, Vec<_>) = self.missing.into_iter().unzip();
        how.dedup();
        Err(Error::Missing { what: what.join(", "), how: how.join("; ") })
    }
}

/// A line is `name:password:uid:gid:…`.
fn find_user(passwd: &str, name: &str) -> Option<User> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut ids = line.split(':').skip(2);
    Some(User { uid: ids.next()?.parse().ok()?, gid: ids.next()?.parse().ok()? })
}

/// The first directory above `path` that others may not pass through.
pub(crate) fn closed_to_others(path: &Path) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let is_closed =
        |dir: &&Path| fs::metadata(dir).is_ok_and(|meta| meta.permissions().mode() & 0o001 == 0);
    path.ancestors().skip(1).find(is_closed).map(Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_their_whole_name() {
        let passwd = "root:x:0:0::/root:/bin/sh\npostgres2:x:7:7::/:\npostgres:x:101:104::/:\n";
        assert_eq!(find_user(passwd, "postgres"), Some(User { uid: 101, gid: 104 }));
        assert_eq!(find_user(passwd, "post"), None);
        assert_eq!(find_user("broken:x:a:b", "broken"), None);
    }

    #[test]
    fn everything_that_is_missing_is_named_at_once() {
        let service = |name: &str| {
            format!(
                "  - {{name: {name}, program: no-such-{name}, user: nobody, port: 1, health: tcp}}\n"
            )
        };
        let text = format!("name: t\nservices:\n{}{}", service("a"), service("b"));
        let lab = Lab::parse("t", &text).unwrap();
        let network = "10.9.0.0/24".parse().unwrap();
        let error = Plan::new(&lab, &Options::default(), network).unwrap_err();
        assert_eq!(error.kind(), crate::Kind::Machine);
        let said = error.to_string();
        assert!(said.contains("no-such-a") && said.contains("no-such-b"), "{said}");
        assert!(!said.contains("TEMBLOR_LAB_WITHOUT"), "{said}");
        let optional = text.replace("name: b,", "name: b, optional: true,");
        let lab = Lab::parse("t", &optional).unwrap();
        let said = Plan::new(&lab, &Options::default(), network).unwrap_err().to_string();
        assert!(said.ends_with("no-such-b, or go without it: TEMBLOR_LAB_WITHOUT=b"), "{said}");
    }

    #[test]
    fn a_range_that_is_too_small_is_refused() {
        let service = |n: u32| {
            format!("  - {{name: s{n}, program: sh, user: nobody, port: 1, health: tcp}}\n")
        };
        let check = |count: u32| {
            let services: String = (0..count).map(service).collect();
            let lab = Lab::parse("t", &format!("name: t\nservices:\n{services}")).unwrap();
            Plan::new(&lab, &Options::default(), "10.9.0.0/29".parse().unwrap())
        };
        let plan = check(5).unwrap();
        assert_eq!(plan.services[4].address, Ipv4Addr::new(10, 9, 0, 6));
        assert_eq!(check(6).unwrap_err().kind(), crate::Kind::Input);
    }
}
